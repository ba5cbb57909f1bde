/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: cuInit, how many there are, and everything a program may ask of one.
 *
 * Attribute values follow from the compute capability and the SM count, so that
 * they agree with one another; an attribute says "yes" only to what this room
 * carries.  Made once by cuInit, read-only afterwards, except for the pool.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct mp_soft mp_soft = {.state = PTHREAD_MUTEX_INITIALIZER};

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;

/* What differs between the generations (CUDA programming guide, compute capabilities). */
struct generation {
	unsigned from; /* capability, 75 = 7.5 */
	int shared_optin, shared_sm, threads_sm, blocks_sm, l2;
	bool clusters;
};

static const struct generation generations[] = {
	{75, 65536, 65536, 1024, 16, 4 << 20, false},
	{80, 166912, 167936, 2048, 32, 40 << 20, false},
	{86, 101376, 102400, 1536, 16, 6 << 20, false},
	{87, 166912, 167936, 1536, 16, 4 << 20, false},
	{89, 101376, 102400, 1536, 24, 48 << 20, false},
	{90, 232448, 233472, 2048, 32, 50 << 20, true},
	{120, 101376, 102400, 1536, 24, 48 << 20, true},
};

static const struct generation *generation_of(unsigned capability)
{
	const struct generation *g = generations;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(generations); i++)
		if (generations[i].from <= capability)
			g = &generations[i];
	return g;
}

#define A(name) [CU_DEVICE_ATTRIBUTE_##name]

/* The same for every soft device. What is not listed is 0. */
static const int constant_attributes[CU_DEVICE_ATTRIBUTE_MAX] = {
	A(MAX_THREADS_PER_BLOCK) = 1024, A(MAX_BLOCK_DIM_X) = 1024, A(MAX_BLOCK_DIM_Y) = 1024,
	A(MAX_BLOCK_DIM_Z) = 64, A(MAX_GRID_DIM_X) = 0x7fffffff, A(MAX_GRID_DIM_Y) = 65535,
	A(MAX_GRID_DIM_Z) = 65535, A(MAX_SHARED_MEMORY_PER_BLOCK) = 49152,
	A(TOTAL_CONSTANT_MEMORY) = 65536, A(WARP_SIZE) = 32, A(MAX_PITCH) = 0x7fffffff,
	A(MAX_REGISTERS_PER_BLOCK) = 65536, A(CLOCK_RATE) = 1500000, A(TEXTURE_ALIGNMENT) = 512,
	A(GPU_OVERLAP) = 1, A(CAN_MAP_HOST_MEMORY) = 1, A(MAXIMUM_TEXTURE1D_WIDTH) = 131072,
	A(MAXIMUM_TEXTURE2D_WIDTH) = 131072, A(MAXIMUM_TEXTURE2D_HEIGHT) = 65536,
	A(MAXIMUM_TEXTURE3D_WIDTH) = 16384, A(MAXIMUM_TEXTURE3D_HEIGHT) = 16384,
	A(MAXIMUM_TEXTURE3D_DEPTH) = 16384, A(MAXIMUM_TEXTURE2D_LAYERED_WIDTH) = 32768,
	A(MAXIMUM_TEXTURE2D_LAYERED_HEIGHT) = 32768, A(MAXIMUM_TEXTURE2D_LAYERED_LAYERS) = 2048,
	A(SURFACE_ALIGNMENT) = 512, A(CONCURRENT_KERNELS) = 1, A(MEMORY_CLOCK_RATE) = 8000000,
	A(GLOBAL_MEMORY_BUS_WIDTH) = 256, A(ASYNC_ENGINE_COUNT) = 2, A(UNIFIED_ADDRESSING) = 1,
	A(MAXIMUM_TEXTURE1D_LAYERED_WIDTH) = 32768, A(MAXIMUM_TEXTURE1D_LAYERED_LAYERS) = 2048,
	A(CAN_TEX2D_GATHER) = 1, A(MAXIMUM_TEXTURE2D_GATHER_WIDTH) = 32768,
	A(MAXIMUM_TEXTURE2D_GATHER_HEIGHT) = 32768, A(MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE) = 8192,
	A(MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE) = 8192, A(MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE) = 32768,
	A(TEXTURE_PITCH_ALIGNMENT) = 32, A(MAXIMUM_TEXTURECUBEMAP_WIDTH) = 32768,
	A(MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH) = 32768,
	A(MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS) = 2046, A(MAXIMUM_SURFACE1D_WIDTH) = 32768,
	A(MAXIMUM_SURFACE2D_WIDTH) = 131072, A(MAXIMUM_SURFACE2D_HEIGHT) = 65536,
	A(MAXIMUM_SURFACE3D_WIDTH) = 16384, A(MAXIMUM_SURFACE3D_HEIGHT) = 16384,
	A(MAXIMUM_SURFACE3D_DEPTH) = 16384, A(MAXIMUM_SURFACE1D_LAYERED_WIDTH) = 32768,
	A(MAXIMUM_SURFACE1D_LAYERED_LAYERS) = 2048, A(MAXIMUM_SURFACE2D_LAYERED_WIDTH) = 32768,
	A(MAXIMUM_SURFACE2D_LAYERED_HEIGHT) = 32768, A(MAXIMUM_SURFACE2D_LAYERED_LAYERS) = 2048,
	A(MAXIMUM_SURFACECUBEMAP_WIDTH) = 32768, A(MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH) = 32768,
	A(MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS) = 2046,
	A(MAXIMUM_TEXTURE1D_LINEAR_WIDTH) = 268435456, A(MAXIMUM_TEXTURE2D_LINEAR_WIDTH) = 131072,
	A(MAXIMUM_TEXTURE2D_LINEAR_HEIGHT) = 65000, A(MAXIMUM_TEXTURE2D_LINEAR_PITCH) = 2097120,
	A(MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH) = 32768,
	A(MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT) = 32768,
	A(MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH) = 32768, A(STREAM_PRIORITIES_SUPPORTED) = 1,
	A(GLOBAL_L1_CACHE_SUPPORTED) = 1, A(LOCAL_L1_CACHE_SUPPORTED) = 1,
	A(MAX_REGISTERS_PER_MULTIPROCESSOR) = 65536, A(MANAGED_MEMORY) = 1,
	A(SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO) = 2, A(COMPUTE_PREEMPTION_SUPPORTED) = 1,
	A(CAN_USE_STREAM_MEM_OPS_V1) = 1, A(CAN_USE_64_BIT_STREAM_MEM_OPS_V1) = 1,
	A(CAN_USE_STREAM_WAIT_VALUE_NOR_V1) = 1, A(CAN_USE_64_BIT_STREAM_MEM_OPS) = 1,
	A(CAN_USE_STREAM_WAIT_VALUE_NOR) = 1, A(COOPERATIVE_LAUNCH) = 1,
	A(HOST_REGISTER_SUPPORTED) = 1, A(VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) = 1,
	A(HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED) = 1,
	A(RESERVED_SHARED_MEMORY_PER_BLOCK) = 1024, A(READ_ONLY_HOST_REGISTER_SUPPORTED) = 1,
	A(MEMORY_POOLS_SUPPORTED) = 1, A(MULTI_GPU_BOARD_GROUP_ID) = 0, A(NUMA_ID) = -1,
	A(MEM_SYNC_DOMAIN_COUNT) = 1,
};

static void attributes_fill(struct mp_device *d)
{
	const struct mp_soft_config *c = &mp_soft.config;
	const struct generation *g = generation_of(c->major * 10 + c->minor);
	int *a = d->attributes;

	memcpy(a, constant_attributes, sizeof(constant_attributes));
	a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = (int)c->sms;
	a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = (int)c->major;
	a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] = (int)c->minor;
	a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] = g->shared_optin;
	a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR] = g->shared_sm;
	a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] = g->threads_sm;
	a[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR] = g->blocks_sm;
	a[CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE] = g->l2;
	a[CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH] = g->clusters;
	if (c->major >= 8) {
		/* Hints about the cache are taken, and change nothing. */
		a[CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE] = g->l2 / 4 * 3;
		a[CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE] = 128 << 20;
	}
	a[CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES] = 0;
	/* One host bridge, a bus per device: numbers that no two soft devices share. */
	a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = (int)(0x10 + d->index);
	a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] = 0;
	a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = 0;
}

/* ---- cuInit ---- */

static bool uuid_matches(unsigned index, const char *prefix, size_t n)
{
	unsigned char u[16];
	char text[48];

	mp_soft_config_uuid(index, u);
	snprintf(text, sizeof(text),
		 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
		 u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
		 u[14], u[15]);
	return n > 4 && n <= strlen(text) && !strncasecmp(text, prefix, n);
}

/*
 * CUDA_VISIBLE_DEVICES: a list of numbers or UUID prefixes; the first entry
 * that names no device, or one named before, ends the list.
 */
static unsigned visible_devices(unsigned ordinals[MP_SOFT_MAX_DEVICES])
{
	const char *s = getenv("CUDA_VISIBLE_DEVICES");
	unsigned n = 0, i, total = mp_soft.config.devices;

	if (!s) {
		for (n = 0; n < total; n++)
			ordinals[n] = n;
		return n;
	}
	while (*s && n < MP_SOFT_MAX_DEVICES) {
		size_t len = strcspn(s, ",");
		unsigned index = total;
		char *end;

		while (len && *s == ' ')
			s++, len--;
		if (len > 4 && !strncasecmp(s, "GPU-", 4)) {
			for (index = 0; index < total && !uuid_matches(index, s, len); index++)
				;
		} else if (len && *s >= '0' && *s <= '9') {
			unsigned long v = strtoul(s, &end, 10);

			if (v < total && (*end == ',' || !*end || *end == ' '))
				index = (unsigned)v;
		}
		for (i = 0; i < n; i++)
			if (ordinals[i] == index)
				index = total;
		if (index >= total)
			break;
		ordinals[n++] = index;
		s += len;
		s += *s == ',';
	}
	return n;
}

static void forked_child(void)
{
	if (mp_soft.ready)
		mp_soft.ready = -1;
}

CUresult mp_device_init(void)
{
	unsigned ordinals[MP_SOFT_MAX_DEVICES], i, n;

	mp_soft_config_read(&mp_soft.config);
	mp_check_init();
	n = visible_devices(ordinals);
	if (!n)
		return CUDA_ERROR_NO_DEVICE;
	if (!mp_window_init())
		return CUDA_ERROR_OPERATING_SYSTEM;
	for (i = 0; i < n; i++) {
		struct mp_device *d = &mp_soft.devices[i];
		CUresult r;

		d->ordinal = (int)i;
		d->index = ordinals[i];
		mp_soft_config_uuid(d->index, (unsigned char *)d->uuid.bytes);
		attributes_fill(d);
		d->account = mp_soft_account_open(mp_soft.config.dir, d->index,
						  mp_soft.config.memory);
		if (!d->account)
			return CUDA_ERROR_OPERATING_SYSTEM;
		r = mp_memory_init(d);
		if (r)
			return r;
	}
	mp_soft.ndevices = n;
	mp_log(MP_LOG_INFO, "soft", "init", "devices=%u memory=%llu capability=%u.%u", n,
	       (unsigned long long)mp_soft.config.memory, mp_soft.config.major,
	       mp_soft.config.minor);
	return CUDA_SUCCESS;
}

CUresult cuInit(unsigned int Flags)
{
	CUresult r = CUDA_SUCCESS;

	if (Flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (mp_soft.ready == 1)
		return CUDA_SUCCESS;
	if (mp_soft.ready < 0)
		return CUDA_ERROR_NOT_INITIALIZED;
	pthread_mutex_lock(&init_lock);
	if (!mp_soft.ready) {
		mp_log_open(MP_LOG_NONE);
		r = mp_device_init();
		if (!r) {
			pthread_atfork(NULL, NULL, forked_child);
			/* Runs before what was registered earlier, the CUDA runtime's included. */
			atexit(mp_context_exit);
			mp_soft.ready = 1;
		}
	}
	pthread_mutex_unlock(&init_lock);
	return r;
}

CUresult mp_soft_ready(void)
{
	if (MP_UNLIKELY(mp_soft.ready != 1))
		return CUDA_ERROR_NOT_INITIALIZED;
	return mp_in_callback ? CUDA_ERROR_NOT_PERMITTED : CUDA_SUCCESS;
}

struct mp_exec *mp_soft_exec(void)
{
	struct mp_exec *e = __atomic_load_n(&mp_soft.exec, __ATOMIC_ACQUIRE);

	if (e)
		return e;
	pthread_mutex_lock(&init_lock);
	if (!mp_soft.exec)
		__atomic_store_n(&mp_soft.exec, mp_exec_new(mp_soft.config.threads),
				 __ATOMIC_RELEASE);
	e = mp_soft.exec;
	pthread_mutex_unlock(&init_lock);
	return e;
}

struct mp_device *mp_device_find(CUdevice dev)
{
	return dev >= 0 && (unsigned)dev < mp_soft.ndevices ? &mp_soft.devices[dev] : NULL;
}

/* ---- The calls ---- */

#define DEVICE(d, dev)                                                                             \
	struct mp_device *d;                                                                       \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		d = mp_device_find(dev);                                                           \
		if (!d)                                                                            \
			return CUDA_ERROR_INVALID_DEVICE;                                          \
	} while (0)

CUresult cuDriverGetVersion(int *driverVersion)
{
	if (!driverVersion)
		return CUDA_ERROR_INVALID_VALUE;
	*driverVersion = MP_SOFT_DRIVER_VERSION;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = (int)mp_soft.ndevices;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_device_find(ordinal))
		return CUDA_ERROR_INVALID_DEVICE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int len, CUdevice dev)
{
	DEVICE(d, dev);
	if (!name || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(name, (size_t)len, "%s", mp_soft.config.model);
	(void)d;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
	DEVICE(d, dev);
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	*uuid = d->uuid;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice dev)
{
	return cuDeviceGetUuid_v2(uuid, dev);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
	DEVICE(d, dev);
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	*bytes = mp_soft.config.memory;
	(void)d;
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(unsigned int *bytes, CUdevice dev)
{
	size_t n;
	CUresult r = bytes ? cuDeviceTotalMem_v2(&n, dev) : CUDA_ERROR_INVALID_VALUE;

	if (!r)
		*bytes = n > 0xffffffffu ? 0xffffffffu : (unsigned)n;
	return r;
}

/* The attributes of our own; false: not one of them, or not to be answered. */
static bool attribute_private(unsigned number, int *ret)
{
	uint64_t cost = mp_soft.config.context_memory;

	switch (number) {
	case MP_SOFT_ATTRIBUTE_RUNS_CUBINS:
		*ret = 0;
		return true;
	case MP_SOFT_ATTRIBUTE_FRESH_IS_ZERO:
		*ret = !mp_soft.config.dirty_memory;
		return true;
	case MP_SOFT_ATTRIBUTE_CONTEXT_MEMORY:
		*ret = (int)(cost >> 20);
		return !(cost & ((1u << 20) - 1)) && cost >> 20 <= INT32_MAX;
	default:
		return false;
	}
}

CUresult cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev)
{
	DEVICE(d, dev);
	if (!pi)
		return CUDA_ERROR_INVALID_VALUE;
	if (attribute_private((unsigned)attrib, pi))
		return CUDA_SUCCESS;
	if ((int)attrib <= 0 || attrib >= CU_DEVICE_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	*pi = d->attributes[attrib];
	return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
	DEVICE(d, dev);
	if (!major || !minor)
		return CUDA_ERROR_INVALID_VALUE;
	*major = d->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
	*minor = d->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetProperties(CUdevprop *prop, CUdevice dev)
{
	const int *a;
	DEVICE(d, dev);

	if (!prop)
		return CUDA_ERROR_INVALID_VALUE;
	a = d->attributes;
	*prop = (CUdevprop){
		.maxThreadsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.maxThreadsDim = {a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X],
				  a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
				  a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z]},
		.maxGridSize = {a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X],
				a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
				a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z]},
		.sharedMemPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
		.totalConstantMemory = a[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY],
		.SIMDWidth = a[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
		.memPitch = a[CU_DEVICE_ATTRIBUTE_MAX_PITCH],
		.regsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
		.clockRate = a[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
		.textureAlign = a[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT],
	};
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *pciBusId, int len, CUdevice dev)
{
	DEVICE(d, dev);
	if (!pciBusId || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(pciBusId, (size_t)len, "%04x:%02x:%02x.0",
		 d->attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
		 d->attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
		 d->attributes[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *dev, const char *pciBusId)
{
	unsigned domain = 0, bus = 0, device = 0, i;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!dev || !pciBusId)
		return CUDA_ERROR_INVALID_VALUE;
	if (sscanf(pciBusId, "%x:%x:%x", &domain, &bus, &device) != 3) {
		domain = 0;
		if (sscanf(pciBusId, "%x:%x", &bus, &device) != 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	for (i = 0; i < mp_soft.ndevices; i++) {
		const int *a = mp_soft.devices[i].attributes;

		if ((unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] == domain &&
		    (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] == bus &&
		    (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] == device) {
			*dev = (CUdevice)i;
			return CUDA_SUCCESS;
		}
	}
	return CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceCanAccessPeer(int *canAccessPeer, CUdevice dev, CUdevice peerDev)
{
	DEVICE(d, dev);
	DEVICE(peer, peerDev);
	if (!canAccessPeer)
		return CUDA_ERROR_INVALID_VALUE;
	*canAccessPeer = d != peer;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
				 CUdevice dstDevice)
{
	DEVICE(s, srcDevice);
	DEVICE(d, dstDevice);
	if (!value || s == d)
		return s == d ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE;
	switch ((int)attrib) {
	case CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK: *value = 0; break;
	case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED:
	case CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED:
	case CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED: *value = 1; break;
	case CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED: *value = 0; break;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetExecAffinitySupport(int *pi, CUexecAffinityType type, CUdevice dev)
{
	DEVICE(d, dev);
	if (!pi || type != CU_EXEC_AFFINITY_TYPE_SM_COUNT)
		return CUDA_ERROR_INVALID_VALUE;
	*pi = 0;
	(void)d;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetTexture1DLinearMaxWidth(size_t *maxWidthInElements, CUarray_format format,
					    unsigned numChannels, CUdevice dev)
{
	DEVICE(d, dev);
	if (!maxWidthInElements || !numChannels || numChannels > 4)
		return CUDA_ERROR_INVALID_VALUE;
	*maxWidthInElements =
		(size_t)d->attributes[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH];
	(void)format;
	return CUDA_SUCCESS;
}
