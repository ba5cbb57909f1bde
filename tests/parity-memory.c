/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the error-parity table: devices, contexts, memory, copies, VMM, pools, modules, the rest. */
#include "parity.h"

/* ---- Devices and contexts ---- */

ROW(init_flags, "cuInit", "flags 1", 1, NOW, LISTED, "must be 0")
{
	return cuInit(1);
}
ROW(device_99, "cuDeviceGet", "ordinal 99", 101, NOW, TEXT, "not a valid device ordinal")
{
	CUdevice d;

	return cuDeviceGet(&d, 99);
}
ROW(device_negative, "cuDeviceGet", "ordinal -1", 101, NOW, TEXT, "not a valid device ordinal")
{
	CUdevice d;

	return cuDeviceGet(&d, -1);
}
ROW(device_null, "cuDeviceGet", "device NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuDeviceGet(NULL, 0);
}
ROW(count_null, "cuDeviceGetCount", "count NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuDeviceGetCount(NULL);
}
ROW(attribute, "cuDeviceGetAttribute", "attribute 9999", 1, NOW, LISTED, "INVALID_VALUE")
{
	int n;

	return cuDeviceGetAttribute(&n, (CUdevice_attribute)9999, on.dev);
}
ROW(attribute_device, "cuDeviceGetAttribute", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	int n;

	return cuDeviceGetAttribute(&n, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 99);
}
ROW(memory_device, "cuDeviceTotalMem", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	size_t n;

	return cuDeviceTotalMem(&n, 99);
}
ROW(name_device, "cuDeviceGetName", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	char name[8];

	return cuDeviceGetName(name, sizeof(name), 99);
}
ROW(version_null, "cuDriverGetVersion", "NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuDriverGetVersion(NULL);
}
ROW(create_device, "cuCtxCreate", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	CUcontext c;

	return cuCtxCreate(&c, 0, 99);
}
ROW(create_flags, "cuCtxCreate", "flags 0x10000", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUcontext c;

	return cuCtxCreate(&c, 0x10000, on.dev);
}
ROW(primary_device, "cuDevicePrimaryCtxRetain", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	CUcontext c;

	return cuDevicePrimaryCtxRetain(&c, 99);
}
ROW(primary_release, "cuDevicePrimaryCtxRelease", "not retained", 201, NOW, LISTED, "INVALID_CONTEXT")
{
	return cuDevicePrimaryCtxRelease(on.dev);
}
ROW(limit, "cuCtxGetLimit", "limit 77", 215, NOW, LISTED, "UNSUPPORTED_LIMIT")
{
	size_t n;

	return cuCtxGetLimit(&n, (CUlimit)77);
}
ROW(peer_self, "cuCtxEnablePeerAccess", "the current context", 201, NOW, TEXT, "INVALID_CONTEXT")
{
	return cuCtxEnablePeerAccess(on.ctx, 0);
}
ROW(peer_device, "cuDeviceCanAccessPeer", "device 99", 101, NOW, TEXT, "INVALID_DEVICE")
{
	int n;

	return cuDeviceCanAccessPeer(&n, on.dev, 99);
}

/* With no context current. */
static CUresult without(CUresult (*call)(void))
{
	CUcontext back;
	CUresult r;

	MUST(cuCtxPopCurrent(&back));
	r = call();
	MUST(cuCtxPushCurrent(back));
	return r;
}
static CUresult alloc_16(void)
{
	CUdeviceptr p;

	return cuMemAlloc(&p, 16);
}
ROW(alloc_no_context, "cuMemAlloc", "no context is current", 201, NOW, TEXT, "no context bound to the thread")
{
	return without(alloc_16);
}
ROW(sync_no_context, "cuCtxSynchronize", "no context is current", 201, NOW, TEXT, "no context bound to the thread")
{
	return without(cuCtxSynchronize);
}
static CUresult pop(void)
{
	CUcontext c;

	return cuCtxPopCurrent(&c);
}
ROW(pop_empty, "cuCtxPopCurrent", "an empty stack", 201, NOW, LISTED, "INVALID_CONTEXT")
{
	return without(pop);
}
static CUresult stream(void)
{
	CUstream s;

	return cuStreamCreate(&s, 0);
}
ROW(stream_no_context, "cuStreamCreate", "no context is current", 201, NOW, TEXT, "no context bound to the thread")
{
	return without(stream);
}
static CUresult load(void)
{
	CUmodule m;

	return cuModuleLoadData(&m, call_ptx);
}
ROW(load_no_context, "cuModuleLoadData", "no context is current", 201, NOW, TEXT, "no context bound to the thread")
{
	return without(load);
}
static CUresult info(void)
{
	size_t a, b;

	return cuMemGetInfo(&a, &b);
}
ROW(info_no_context, "cuMemGetInfo", "no context is current", 201, NOW, TEXT, "no context bound to the thread")
{
	return without(info);
}

/* ---- Memory ---- */

ROW(alloc_zero, "cuMemAlloc", "0 bytes", 1, NOW, TEXT, "INVALID_VALUE")
{
	CUdeviceptr p;

	return cuMemAlloc(&p, 0);
}
ROW(alloc_huge, "cuMemAlloc", "1 PiB", 2, NOW, TEXT, "unable to allocate enough memory")
{
	CUdeviceptr p;

	return cuMemAlloc(&p, 1ull << 50);
}
ROW(alloc_null, "cuMemAlloc", "dptr NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemAlloc(NULL, 16);
}
ROW(pitch_element, "cuMemAllocPitch", "elements of 3 bytes", 1, NOW, LISTED, "4, 8 or 16")
{
	CUdeviceptr p;
	size_t pitch;

	return cuMemAllocPitch(&p, &pitch, 64, 4, 3);
}
ROW(pitch_zero, "cuMemAllocPitch", "width 0", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUdeviceptr p;
	size_t pitch;

	return cuMemAllocPitch(&p, &pitch, 0, 4, 4);
}
ROW(free_inside, "cuMemFree", "inside an allocation", 1, NOW, LISTED, "must have been returned by an allocation")
{
	return cuMemFree(on.p + 256);
}
ROW(free_unknown, "cuMemFree", "an address nobody allocated", 1, NOW, LISTED,
    "must have been returned by an allocation")
{
	return cuMemFree(0x1234);
}
ROW(free_twice, "cuMemFree", "twice", 1, NOW, LISTED, "must have been returned by an allocation")
{
	CUdeviceptr p = call_alloc(64);

	MUST(cuMemFree(p));
	return cuMemFree(p);
}
ROW(host_free, "cuMemFreeHost", "memory of malloc", 1, NOW, LISTED, "must have been returned by cuMemAllocHost")
{
	char c[16];

	return cuMemFreeHost(c);
}
ROW(host_flags, "cuMemHostAlloc", "flags 0x100", 1, NOW, LISTED, "INVALID_VALUE")
{
	void *p;

	return cuMemHostAlloc(&p, 16, 0x100);
}
ROW(register_twice, "cuMemHostRegister", "registered already", 712, NOW, TEXT, "HOST_MEMORY_ALREADY_REGISTERED")
{
	static char page[8192] __attribute__((aligned(4096)));
	CUresult r;

	MUST(cuMemHostRegister(page, sizeof(page), 0));
	r = cuMemHostRegister(page, sizeof(page), 0);
	MUST(cuMemHostUnregister(page));
	return r;
}
ROW(unregister, "cuMemHostUnregister", "not registered", 713, NOW, TEXT, "HOST_MEMORY_NOT_REGISTERED")
{
	static char page[8192] __attribute__((aligned(4096)));

	return cuMemHostUnregister(page);
}
ROW(register_zero, "cuMemHostRegister", "0 bytes", 1, NOW, LISTED, "INVALID_VALUE")
{
	static char page[4096] __attribute__((aligned(4096)));

	return cuMemHostRegister(page, 0, 0);
}
ROW(register_null, "cuMemHostRegister", "NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemHostRegister(NULL, 4096, 0);
}
ROW(host_device_pointer, "cuMemHostGetDevicePointer", "memory of malloc", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUdeviceptr p;
	char c[16];

	return cuMemHostGetDevicePointer(&p, c, 0);
}
ROW(host_get_flags, "cuMemHostGetFlags", "memory of malloc", 1, NOW, LISTED, "fails for other memory")
{
	unsigned flags;
	char c[16];

	return cuMemHostGetFlags(&flags, c);
}
ROW(range_unknown, "cuMemGetAddressRange", "an address nobody allocated", 500, NOW, LISTED, "NOT_FOUND")
{
	CUdeviceptr base;
	size_t size;

	return cuMemGetAddressRange(&base, &size, 0x1234);
}
ROW(pointer_pageable, "cuPointerGetAttribute", "memory type of memory of malloc", 1, NOW, TEXT, "INVALID_VALUE")
{
	unsigned type, word;

	return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)&word);
}
ROW(pointer_context, "cuPointerGetAttribute", "context of memory of malloc", 1, NOW, TEXT, "INVALID_VALUE")
{
	CUcontext c;
	unsigned word;

	return cuPointerGetAttribute(&c, CU_POINTER_ATTRIBUTE_CONTEXT, (uintptr_t)&word);
}
ROW(pointer_attribute, "cuPointerGetAttribute", "attribute 999", 1, NOW, LISTED, "INVALID_VALUE")
{
	int n;

	return cuPointerGetAttribute(&n, (CUpointer_attribute)999, on.p);
}

/* ---- Copies and memsets ---- */

ROW(copy_from_nowhere, "cuMemcpyDtoH", "an address nobody allocated", 1, NOW, LISTED, "INVALID_VALUE")
{
	char c[16];

	return cuMemcpyDtoH(c, 0x1234, sizeof(c));
}
ROW(copy_past_end, "cuMemcpyHtoD", "past the end of the allocation's mapping", 1, NOW, LISTED, "INVALID_VALUE")
{
	static char c[4096];

	return cuMemcpyHtoD(on.p + (1ull << 44), c, sizeof(c));
}
ROW(copy_null, "cuMemcpyHtoD", "srcHost NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemcpyHtoD(on.p, NULL, 16);
}
ROW(copy_device_null, "cuMemcpyDtoD", "srcDevice 0", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemcpyDtoD(on.p, 0, 16);
}
static CUDA_MEMCPY2D rectangle(char *host)
{
	CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = 64,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = on.p, .dstPitch = 64,
			   .WidthInBytes = 64, .Height = 4};

	return c;
}
ROW(copy2d_pitch, "cuMemcpy2D", "dstPitch below the width", 1, NOW, TEXT, "must be at least WidthInBytes + dstXInBytes")
{
	static char host[4096];
	CUDA_MEMCPY2D c = rectangle(host);

	c.dstPitch = 32;
	return cuMemcpy2D(&c);
}
ROW(copy2d_source_pitch, "cuMemcpy2D", "srcPitch below the width", 1, NOW, TEXT,
    "must be at least WidthInBytes + srcXInBytes")
{
	static char host[4096];
	CUDA_MEMCPY2D c = rectangle(host);

	c.srcXInBytes = 8;
	return cuMemcpy2D(&c);
}
ROW(copy2d_type, "cuMemcpy2D", "memory type 99", 1, NOW, LISTED, "INVALID_VALUE")
{
	static char host[4096];
	CUDA_MEMCPY2D c = rectangle(host);

	c.dstMemoryType = (CUmemorytype)99;
	return cuMemcpy2D(&c);
}
ROW(copy2d_null, "cuMemcpy2D", "pCopy NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemcpy2D(NULL);
}
ROW(copy3d_height, "cuMemcpy3D", "srcHeight below the height", 1, NOW, TEXT, "must be at least Height + srcY")
{
	static char host[4096];
	CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = 64, .srcHeight = 2,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = on.p, .dstPitch = 64, .dstHeight = 4,
			   .WidthInBytes = 64, .Height = 4, .Depth = 2};

	return cuMemcpy3D(&c);
}
ROW(set32_odd, "cuMemsetD32", "address not a multiple of 4", 1, NOW, TEXT, "must be four byte aligned")
{
	return cuMemsetD32(on.p + 2, 0, 4);
}
ROW(set16_odd, "cuMemsetD16", "odd address", 1, NOW, TEXT, "must be two byte aligned")
{
	return cuMemsetD16(on.p + 1, 0, 4);
}
ROW(set_nowhere, "cuMemsetD8", "an address nobody allocated", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemsetD8(0x1234, 0, 16);
}
ROW(set_async_odd, "cuMemsetD32Async", "address not a multiple of 4", 1, NOW, TEXT, "must be four byte aligned")
{
	return cuMemsetD32Async(on.p + 1, 0, 4, on.s);
}

/* ---- Virtual memory ---- */

static const CUmemAllocationProp device_memory = {
	.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};

static size_t granule(void)
{
	size_t g;

	MUST(cuMemGetAllocationGranularity(&g, &device_memory, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	return g;
}
ROW(create_size, "cuMemCreate", "not a multiple of the granularity", 1, NOW, TEXT, "must be a multiple; INVALID_VALUE")
{
	CUmemGenericAllocationHandle h;

	return cuMemCreate(&h, granule() + 1, &device_memory, 0);
}
ROW(create_zero, "cuMemCreate", "0 bytes", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUmemGenericAllocationHandle h;

	return cuMemCreate(&h, 0, &device_memory, 0);
}
ROW(create_vmm_flags, "cuMemCreate", "flags 1", 1, NOW, LISTED, "must be zero")
{
	CUmemGenericAllocationHandle h;

	return cuMemCreate(&h, granule(), &device_memory, 1);
}
ROW(create_location, "cuMemCreate", "device 99", 101, NOW, LISTED, "INVALID_DEVICE")
{
	CUmemAllocationProp prop = device_memory;
	CUmemGenericAllocationHandle h;

	prop.location.id = 99;
	return cuMemCreate(&h, granule(), &prop, 0);
}
ROW(reserve_zero, "cuMemAddressReserve", "0 bytes", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUdeviceptr p;

	return cuMemAddressReserve(&p, 0, 0, 0, 0);
}
ROW(reserve_flags, "cuMemAddressReserve", "flags 1", 1, NOW, LISTED, "must be zero")
{
	CUdeviceptr p;

	return cuMemAddressReserve(&p, granule(), 0, 0, 1);
}
ROW(reserve_alignment, "cuMemAddressReserve", "alignment 3", 1, NOW, TEXT, "a power of two; INVALID_VALUE")
{
	CUdeviceptr p;

	return cuMemAddressReserve(&p, granule(), 3, 0, 0);
}

/* With one granule reserved and one created; `mapped`: and mapped there. */
static CUresult with_map(CUresult (*call)(CUdeviceptr, size_t, CUmemGenericAllocationHandle), int mapped)
{
	size_t g = granule();
	CUmemGenericAllocationHandle h;
	CUdeviceptr p;
	CUresult r;

	MUST(cuMemAddressReserve(&p, 2 * g, 0, 0, 0));
	MUST(cuMemCreate(&h, g, &device_memory, 0));
	if (mapped)
		MUST(cuMemMap(p, g, 0, h, 0));
	r = call(p, g, h);
	if (mapped)
		MUST(cuMemUnmap(p, g));
	MUST(cuMemRelease(h));
	MUST(cuMemAddressFree(p, 2 * g));
	return r;
}
static CUresult map_offset(CUdeviceptr p, size_t g, CUmemGenericAllocationHandle h)
{
	return cuMemMap(p, g, g, h, 0);
}
ROW(map_offset, "cuMemMap", "an offset", 1, NOW, LISTED, "must be zero")
{
	return with_map(map_offset, 0);
}
static CUresult map_flags(CUdeviceptr p, size_t g, CUmemGenericAllocationHandle h)
{
	return cuMemMap(p, g, 0, h, 1);
}
ROW(map_flags, "cuMemMap", "flags 1", 1, NOW, LISTED, "must be zero")
{
	return with_map(map_flags, 0);
}
static CUresult map_again(CUdeviceptr p, size_t g, CUmemGenericAllocationHandle h)
{
	return cuMemMap(p, g, 0, h, 0);
}
ROW(map_again, "cuMemMap", "where something is mapped", 1, NOW, LISTED, "INVALID_VALUE")
{
	return with_map(map_again, 1);
}
static CUresult unmap_part(CUdeviceptr p, size_t g, CUmemGenericAllocationHandle h)
{
	return cuMemUnmap(p + g, g);
}
ROW(unmap_nothing, "cuMemUnmap", "nothing is mapped", 1, NOW, LISTED, "must be the range that was mapped")
{
	return with_map(unmap_part, 1);
}
static CUresult access_unmapped(CUdeviceptr p, size_t g, CUmemGenericAllocationHandle h)
{
	CUmemAccessDesc access = {.location = device_memory.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

	return cuMemSetAccess(p + g, g, &access, 1);
}
ROW(access_unmapped, "cuMemSetAccess", "nothing is mapped", 1, NOW, LISTED, "INVALID_VALUE")
{
	return with_map(access_unmapped, 1);
}
ROW(release_unknown, "cuMemRelease", "a handle nobody made", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemRelease(0x123456789ull);
}

/* ---- Pools ---- */

ROW(pool_huge, "cuMemAllocAsync", "1 PiB", 2, NOW, TEXT, "unable to allocate enough memory")
{
	CUdeviceptr p;

	return cuMemAllocAsync(&p, 1ull << 50, on.s);
}
ROW(pool_free, "cuMemFreeAsync", "an address nobody allocated", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuMemFreeAsync(0x1234, on.s);
}
ROW(pool_destroy_default, "cuMemPoolDestroy", "the device's default pool", 1, NOW, LISTED, "cannot be destroyed")
{
	CUmemoryPool pool;

	MUST(cuDeviceGetDefaultMemPool(&pool, on.dev));
	return cuMemPoolDestroy(pool);
}
ROW(pool_attribute, "cuMemPoolGetAttribute", "attribute 99", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUmemoryPool pool;
	cuuint64_t v;

	MUST(cuDeviceGetDefaultMemPool(&pool, on.dev));
	return cuMemPoolGetAttribute(pool, (CUmemPool_attribute)99, &v);
}

/* ---- Modules and functions ---- */

ROW(module_syntax, "cuModuleLoadData", "PTX that does not parse", 218, NOW, TEXT, "a PTX JIT compilation failed")
{
	CUmodule m;

	return cuModuleLoadData(&m, ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry f( {\n");
}
ROW(module_version, "cuModuleLoadData", "PTX of version 99.9", 222, NOW, TEXT, "UNSUPPORTED_PTX_VERSION")
{
	CUmodule m;

	return cuModuleLoadData(&m, ".version 99.9\n.target sm_75\n.address_size 64\n");
}
ROW(module_file, "cuModuleLoad", "no such file", 301, NOW, TEXT, "FILE_NOT_FOUND")
{
	CUmodule m;

	return cuModuleLoad(&m, "/nonexistent/file.ptx");
}
ROW(module_null, "cuModuleLoadData", "image NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUmodule m;

	return cuModuleLoadData(&m, NULL);
}
ROW(function_absent, "cuModuleGetFunction", "no such function", 500, NOW, TEXT, "NOT_FOUND")
{
	CUfunction f;

	return cuModuleGetFunction(&f, call_module, "absent");
}
ROW(global_absent, "cuModuleGetGlobal", "no such variable", 500, NOW, TEXT, "NOT_FOUND")
{
	CUdeviceptr p;
	size_t n;

	return cuModuleGetGlobal(&p, &n, call_module, "absent");
}
ROW(kernel_absent, "cuLibraryGetKernel", "no such kernel", 500, NOW, LISTED, "NOT_FOUND")
{
	CUlibrary lib;
	CUkernel k;
	CUresult r;

	MUST(cuLibraryLoadData(&lib, call_ptx, NULL, NULL, 0, NULL, NULL, 0));
	r = cuLibraryGetKernel(&k, lib, "absent");
	MUST(cuLibraryUnload(lib));
	return r;
}
ROW(function_attribute, "cuFuncGetAttribute", "attribute 999", 1, NOW, LISTED, "INVALID_VALUE")
{
	int n;

	return cuFuncGetAttribute(&n, (CUfunction_attribute)999, on.nothing);
}
ROW(function_shared, "cuFuncSetAttribute", "10 MiB of dynamic shared memory", 1, NOW, LISTED,
    "above the device's limit")
{
	return cuFuncSetAttribute(on.nothing, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 10 << 20);
}
ROW(function_read_only, "cuFuncSetAttribute", "an attribute that cannot be set", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuFuncSetAttribute(on.nothing, CU_FUNC_ATTRIBUTE_NUM_REGS, 3);
}
ROW(parameter, "cuFuncGetParamInfo", "past the last parameter", 1, NOW, TEXT, "must be less than their number")
{
	size_t a, b;

	return cuFuncGetParamInfo(on.poke, 2, &a, &b);
}
ROW(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor", "blocks of 0 threads", 1, NOW, LISTED, "INVALID_VALUE")
{
	int n;

	return cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, on.nothing, 0, 0);
}

/* ---- The rest ---- */

ROW(error_name, "cuGetErrorName", "code 12345", 1, NOW, TEXT, "INVALID_VALUE, and NULL")
{
	const char *name = "";
	CUresult r = cuGetErrorName((CUresult)12345, &name);

	return name ? CUDA_ERROR_UNKNOWN : r;
}
ROW(error_string, "cuGetErrorString", "code 12345", 1, NOW, TEXT, "INVALID_VALUE, and NULL")
{
	const char *text = "";
	CUresult r = cuGetErrorString((CUresult)12345, &text);

	return text ? CUDA_ERROR_UNKNOWN : r;
}
ROW(address_flags, "cuGetProcAddress", "flags 8", 1, NOW, OBSERVED, "550-series driver")
{
	CUdriverProcAddressQueryResult status;
	void *f;

	return cuGetProcAddress_v2("cuInit", &f, 13000, 8, &status);
}
ROW(address_absent, "cuGetProcAddress (first version)", "no such name", 500, NOW, OBSERVED,
    "550-series driver; the pointer stays as it was")
{
	void *f = &f;
	CUresult r = cuGetProcAddress("cuNoSuchCall", &f, 12000, 0);

	return f == &f ? r : CUDA_ERROR_UNKNOWN;
}
ROW(address_suffix, "cuGetProcAddress (first version)", "a name with its suffix", 500, NOW, OBSERVED,
    "550-series driver")
{
	void *f;

	return cuGetProcAddress("cuMemAlloc_v2", &f, 12000, 0);
}
ROW(table_unknown, "cuGetExportTable", "an unknown table", 1, NOW, OBSERVED, "550-series driver")
{
	static const CUuuid id = {"\x01\x02\x03\x04 not a table"};
	const void *table;

	return cuGetExportTable(&table, &id);
}
