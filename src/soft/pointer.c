/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a pointer. */
#include "inside.h"

#include <string.h>

#define VALUE(type, v)                                                                             \
	do {                                                                                       \
		*(type *)data = (type)(v);                                                         \
		return CUDA_SUCCESS;                                                               \
	} while (0)

static bool is_host(const struct mp_range *r)
{
	return r->kind == MP_RANGE_HOST || r->kind == MP_RANGE_REGISTERED;
}

static unsigned access_of(const struct mp_range *r)
{
	return is_host(r) ? (r->flags & CU_MEMHOSTREGISTER_READ_ONLY
				     ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READ
				     : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE)
			  : r->access;
}

static CUresult answer(void *data, CUpointer_attribute a, CUdeviceptr ptr, const struct mp_range *r)
{
	bool vmm = r->kind == MP_RANGE_VMM;

	switch ((int)a) {
	case CU_POINTER_ATTRIBUTE_CONTEXT:
		if (vmm || r->kind == MP_RANGE_POOL)
			VALUE(CUcontext, NULL);
		VALUE(CUcontext, r->ctx);
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		VALUE(unsigned, is_host(r) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: VALUE(CUdeviceptr, ptr);
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		if (!is_host(r) && r->kind != MP_RANGE_MANAGED)
			return CUDA_ERROR_INVALID_VALUE;
		VALUE(void *, ptr);
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: VALUE(unsigned, r->sync_memops);
	case CU_POINTER_ATTRIBUTE_BUFFER_ID: VALUE(unsigned long long, r->id);
	case CU_POINTER_ATTRIBUTE_IS_MANAGED: VALUE(unsigned, r->kind == MP_RANGE_MANAGED);
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: VALUE(int, r->device ? r->device->ordinal : 0);
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: VALUE(unsigned, 0);
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: VALUE(CUdeviceptr, r->addr);
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE: VALUE(size_t, r->size);
	case CU_POINTER_ATTRIBUTE_MAPPED: VALUE(unsigned, !vmm || r->access);
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: VALUE(unsigned long long, vmm ? 1 : 0);
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE: VALUE(unsigned, 0);
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: VALUE(unsigned, access_of(r));
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: VALUE(CUmemoryPool, r->pool);
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: VALUE(size_t, r->size);
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: VALUE(CUdeviceptr, r->addr);
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: VALUE(unsigned long long, r->id);
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: VALUE(unsigned, 0);
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
	struct mp_range r;
	CUresult err = mp_soft_ready();

	if (err)
		return err;
	if (!data)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_span(ptr, 1, &r) || r.hidden)
		return CUDA_ERROR_INVALID_VALUE;
	return answer(data, attribute, ptr, &r);
}

static size_t size_of(CUpointer_attribute a)
{
	switch ((int)a) {
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_MAPPED:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return 4;
	default: return 8;
	}
}

/* Unlike the single question, pointers that nobody knows are answered with zeroes. */
CUresult cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes,
				void **data, CUdeviceptr ptr)
{
	/* One address space for all contexts: a thread without one may ask, too, and programs do. */
	CUresult err = mp_soft_ready();
	struct mp_range r;
	unsigned i;
	bool known;

	if (err)
		return err;
	if (!numAttributes || !attributes || !data)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < numAttributes; i++)
		if (attributes[i] < CU_POINTER_ATTRIBUTE_CONTEXT ||
		    attributes[i] > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE ||
		    attributes[i] == CU_POINTER_ATTRIBUTE_P2P_TOKENS || !data[i])
			return CUDA_ERROR_INVALID_VALUE;
	known = mp_memory_span(ptr, 1, &r) && !r.hidden;
	for (i = 0; i < numAttributes; i++) {
		if (known && !answer(data[i], attributes[i], ptr, &r))
			continue;
		memset(data[i], 0, size_of(attributes[i]));
		if (!known && attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
			*(int *)data[i] = CU_DEVICE_INVALID;
	}
	return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr ptr)
{
	struct mp_range *r;
	CUresult err = CUDA_ERROR_INVALID_VALUE;
	MP_ENTER(ctx);

	(void)ctx;
	if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	r = mp_range_find(ptr);
	if (r && !r->hidden && mp_memory_is_device(r)) {
		r->sync_memops = *(const unsigned *)value;
		err = CUDA_SUCCESS;
	}
	mp_memory_unlock();
	return err;
}

CUresult cuMemRangeGetAttribute(void *data, size_t dataSize, CUmem_range_attribute attribute,
				CUdeviceptr devPtr, size_t count)
{
	struct mp_range r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!data || !count || !mp_memory_span(devPtr, count, &r) || r.kind != MP_RANGE_MANAGED)
		return CUDA_ERROR_INVALID_VALUE;
	return mp_advice_get(&r.advice, attribute, data, dataSize);
}

CUresult cuMemRangeGetAttributes(void **data, size_t *dataSizes, CUmem_range_attribute *attributes,
				 size_t numAttributes, CUdeviceptr devPtr, size_t count)
{
	CUresult err = numAttributes && data && dataSizes && attributes ? CUDA_SUCCESS
									: CUDA_ERROR_INVALID_VALUE;
	size_t i;

	for (i = 0; i < numAttributes && !err; i++)
		err = cuMemRangeGetAttribute(data[i], dataSizes[i], attributes[i], devPtr, count);
	return err;
}
