/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: everything is in the snapshot that came with the welcome. */
#include "shim/shim.h"

#include <stdio.h>
#include <string.h>

static CUresult device_get(enum mp_call call, CUdevice dev, struct mp_device **ret)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*ret = &mp_shim.device[dev];
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuInit(unsigned int flags)
{
	struct mp_thread *t = mp_thread_get();

	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	t->calls[MP_CALL_cuInit]++;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	return mp_shim_open();
}

CUresult mp_shim_cuDriverGetVersion(int *version)
{
	struct mp_thread *t;

	mp_enter_init(MP_CALL_cuDriverGetVersion, &t);
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	/* Asked before cuInit too: then it is what this library can carry. */
	*version = mp_shim.driver_version ? mp_shim.driver_version : CUDA_VERSION;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetCount(int *count)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuDeviceGetCount, &t);

	if (r)
		return r;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = mp_shim.ndevices;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGet(CUdevice *device, int ordinal)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuDeviceGet, &t);

	if (r)
		return r;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (ordinal < 0 || ordinal >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetName(char *name, int len, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetName, dev, &d);

	if (r)
		return r;
	if (!name || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(name, (size_t)len, "%s", d->name);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetUuid_v2, dev, &d);

	if (r)
		return r;
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	*uuid = d->uuid;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetUuid(CUuuid *uuid, CUdevice dev)
{
	return mp_shim_cuDeviceGetUuid_v2(uuid, dev);
}

CUresult mp_shim_cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceTotalMem_v2, dev, &d);

	if (r)
		return r;
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	*bytes = d->memory;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceTotalMem(unsigned int *bytes, CUdevice dev)
{
	size_t n;
	CUresult r = bytes ? mp_shim_cuDeviceTotalMem_v2(&n, dev) : CUDA_ERROR_INVALID_VALUE;

	if (!r)
		*bytes = n > UINT32_MAX ? UINT32_MAX : (unsigned)n;
	return r;
}

CUresult mp_shim_cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetAttribute, dev, &d);

	if (r)
		return r;
	if (!pi || (int)attrib < 1 || attrib >= CU_DEVICE_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	*pi = d->attr[attrib];
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetProperties(CUdevprop *p, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetProperties, dev, &d);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	p->maxThreadsPerBlock = d->attr[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
	p->maxThreadsDim[0] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X];
	p->maxThreadsDim[1] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y];
	p->maxThreadsDim[2] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z];
	p->maxGridSize[0] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X];
	p->maxGridSize[1] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y];
	p->maxGridSize[2] = d->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z];
	p->sharedMemPerBlock = d->attr[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK];
	p->totalConstantMemory = d->attr[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY];
	p->SIMDWidth = d->attr[CU_DEVICE_ATTRIBUTE_WARP_SIZE];
	p->memPitch = d->attr[CU_DEVICE_ATTRIBUTE_MAX_PITCH];
	p->regsPerBlock = d->attr[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK];
	p->clockRate = d->attr[CU_DEVICE_ATTRIBUTE_CLOCK_RATE];
	p->textureAlign = d->attr[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT];
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceComputeCapability, dev, &d);

	if (r)
		return r;
	if (!major || !minor)
		return CUDA_ERROR_INVALID_VALUE;
	*major = d->major;
	*minor = d->minor;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetPCIBusId(char *id, int len, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetPCIBusId, dev, &d);

	if (r)
		return r;
	if (!id || len < 13)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(id, (size_t)len, "%04x:%02x:%02x.0", d->domain, d->bus, d->device);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetByPCIBusId(CUdevice *dev, const char *id)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuDeviceGetByPCIBusId, &t);
	unsigned a[4] = {0};
	int i, k;

	if (r)
		return r;
	if (!dev || !id)
		return CUDA_ERROR_INVALID_VALUE;
	k = sscanf(id, "%x:%x:%x.%x", &a[0], &a[1], &a[2], &a[3]);
	if (k < 3) {
		a[0] = 0;
		k = sscanf(id, "%x:%x.%x", &a[1], &a[2], &a[3]);
		if (k < 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	for (i = 0; i < mp_shim.ndevices; i++)
		if (mp_shim.device[i].domain == (int)a[0] && mp_shim.device[i].bus == (int)a[1] &&
		    mp_shim.device[i].device == (int)a[2]) {
			*dev = i;
			return CUDA_SUCCESS;
		}
	return CUDA_ERROR_INVALID_DEVICE;
}

CUresult mp_shim_cuDeviceGetExecAffinitySupport(int *pi, CUexecAffinityType type, CUdevice dev)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetExecAffinitySupport, dev, &d);

	if (r)
		return r;
	if (!pi)
		return CUDA_ERROR_INVALID_VALUE;
	*pi = 0;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceCanAccessPeer(int *can, CUdevice dev, CUdevice peer)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceCanAccessPeer, dev, &d);

	if (r)
		return r;
	if (!can)
		return CUDA_ERROR_INVALID_VALUE;
	if (peer < 0 || peer >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	/* The granules of the window are mapped for their own device only: copies yes, access no. */
	*can = 0;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice src,
					 CUdevice dst)
{
	struct mp_device *d;
	CUresult r = device_get(MP_CALL_cuDeviceGetP2PAttribute, src, &d);

	if (r)
		return r;
	if (!value || (int)attrib < 1 || (int)attrib > 5)
		return CUDA_ERROR_INVALID_VALUE;
	if (dst < 0 || dst >= mp_shim.ndevices || src == dst)
		return CUDA_ERROR_INVALID_DEVICE;
	*value = 0;
	return CUDA_SUCCESS;
}
