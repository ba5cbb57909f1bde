/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, pointers, mappings and pools, call by call. */
#include "test-fixture.h"

#include <sys/wait.h>

#include "soft.h"

#define MIB ((size_t)1 << 20)

MP_TEST(before_init)
{
	CUdeviceptr p;
	int n;

	MP_IS(cuMemAlloc_v2(&p, 16), CUDA_ERROR_NOT_INITIALIZED);
	MP_IS(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
	MP_IS(cuInit(1), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuInit(0));
	MP_OK(cuInit(0));
	MP_IS(cuMemAlloc_v2(&p, 16), CUDA_ERROR_INVALID_CONTEXT);
}

MP_TEST(devices)
{
	CUuuid a, b;
	int n = 0, v;
	char name[64], bus[32];
	CUdevice d;

	MP_OK(cuInit(0));
	MP_OK(cuDeviceGetCount(&n));
	MP_CHECK_EQ(n, 2);
	MP_IS(cuDeviceGet(&d, 2), CUDA_ERROR_INVALID_DEVICE);
	MP_OK(cuDeviceGetName(name, sizeof(name), 0));
	MP_OK(cuDeviceGetUuid_v2(&a, 0));
	MP_OK(cuDeviceGetUuid_v2(&b, 1));
	MP_CHECK(memcmp(&a, &b, sizeof(a)));
	MP_OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
	MP_CHECK_EQ(v, 32);
	MP_OK(cuDeviceGetAttribute(&v, (CUdevice_attribute)MP_SOFT_ATTRIBUTE_RUNS_CUBINS, 0));
	MP_CHECK_EQ(v, 0);
	MP_IS(cuDeviceGetAttribute(&v, (CUdevice_attribute)100000, 0), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuDeviceGetPCIBusId(bus, sizeof(bus), 1));
	MP_OK(cuDeviceGetByPCIBusId(&d, bus));
	MP_CHECK_EQ(d, 1);
}

MP_TEST(alloc_and_copy)
{
	unsigned char in[5000], out[5000];
	CUdeviceptr p = 0, q = 0, base;
	size_t size, i;

	fixture_context();
	for (i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 7);
	MP_OK(cuMemAlloc_v2(&p, 5000));
	MP_OK(cuMemAlloc_v2(&q, 3 * MIB));
	MP_CHECK(p >= MP_SOFT_WINDOW_BASE && p < MP_SOFT_WINDOW_BASE + MP_SOFT_WINDOW_SIZE);
	MP_OK(cuMemcpyHtoD_v2(p, in, 5000));
	MP_OK(cuMemcpyDtoD_v2(q + MIB, p, 5000));
	MP_OK(cuMemcpyDtoH_v2(out, q + MIB, 5000));
	MP_CHECK(!memcmp(in, out, 5000));
	MP_OK(cuMemGetAddressRange_v2(&base, &size, q + 77));
	MP_CHECK(base == q && size == 3 * MIB);
	/* Fresh memory is zero. */
	MP_OK(cuMemcpyDtoH_v2(out, q, 5000));
	for (i = 0; i < 5000 && !out[i]; i++)
		;
	MP_CHECK_EQ(i, 5000);
	MP_IS(cuMemcpyHtoD_v2(p + 4000, in, 5000), CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuMemcpyHtoD_v2(0x1000, in, 4), CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuMemFree_v2(p + 1), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemFree_v2(p));
	MP_IS(cuMemFree_v2(p), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemFree_v2(q));
	MP_OK(cuMemFree_v2(0));
	MP_IS(cuMemAlloc_v2(&p, 0), CUDA_ERROR_INVALID_VALUE);
	fixture_done();
}

MP_TEST(two_dimensions)
{
	unsigned char src[64 * 40], dst[64 * 40];
	CUDA_MEMCPY2D c = {0};
	CUdeviceptr p;
	size_t pitch, i, j;

	fixture_context();
	for (i = 0; i < sizeof(src); i++)
		src[i] = (unsigned char)i;
	memset(dst, 0, sizeof(dst));
	MP_OK(cuMemAllocPitch_v2(&p, &pitch, 48, 40, 4));
	MP_CHECK(pitch >= 48 && pitch % 256 == 0);
	c.srcMemoryType = CU_MEMORYTYPE_HOST;
	c.srcHost = src;
	c.srcPitch = 64;
	c.srcXInBytes = 8;
	c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
	c.dstDevice = p;
	c.dstPitch = pitch;
	c.WidthInBytes = 48;
	c.Height = 40;
	MP_OK(cuMemcpy2D_v2(&c));
	c = (CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = p, .srcPitch = pitch,
			    .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = dst, .dstPitch = 64,
			    .WidthInBytes = 48, .Height = 40};
	MP_OK(cuMemcpy2D_v2(&c));
	for (i = 0; i < 40; i++)
		for (j = 0; j < 48; j++)
			if (dst[i * 64 + j] != src[i * 64 + j + 8])
				goto differ;
	MP_OK(cuMemsetD2D8_v2(p, pitch, 0xaa, 10, 3));
	MP_OK(cuMemcpyDtoH_v2(dst, p + pitch, 12));
	MP_CHECK(dst[9] == 0xaa && dst[10] == src[64 + 8 + 10]);
	MP_IS(cuMemsetD32_v2(p + 2, 1, 4), CUDA_ERROR_INVALID_VALUE);
	c.WidthInBytes = 65;
	MP_IS(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemFree_v2(p));
	fixture_done();
	return;
differ:
	MP_CHECK(!"rows differ");
}

MP_TEST(exact_account)
{
	size_t before, after, total, n;
	CUdeviceptr p[1024], big;

	fixture_context();
	MP_OK(cuMemGetInfo_v2(&before, &total));
	MP_CHECK_EQ(total, 1024 * MIB);
	MP_CHECK_EQ(before, (1024 - 64) * MIB);
	for (n = 0; n < 1024 && !cuMemAlloc_v2(&p[n], 2 * MIB); n++)
		;
	MP_CHECK_EQ(n, before / (2 * MIB));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, 0);
	MP_IS(cuMemAlloc_v2(&big, 1), CUDA_ERROR_OUT_OF_MEMORY);
	while (n)
		MP_OK(cuMemFree_v2(p[--n]));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	MP_IS(cuMemAlloc_v2(&big, before + 1), CUDA_ERROR_OUT_OF_MEMORY);
	MP_OK(cuMemAlloc_v2(&big, before));
	MP_OK(cuMemFree_v2(big));
	fixture_done();
}

/* What another process holds is not free here, and comes back when it is killed. */
MP_TEST(two_processes)
{
	size_t before, during, after, total;
	char self[256], c;
	int fd[2];
	pid_t pid;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	MP_CHECK(n > 0);
	self[n > 0 ? n : 0] = 0;
	fixture_context();
	MP_OK(cuMemGetInfo_v2(&before, &total));
	MP_CHECK(!pipe(fd));
	pid = fork();
	if (!pid) {
		dup2(fd[1], 3);
		setenv("TEST_HOLD", fixture_dir, 1);
		execl(self, self, "hold_memory", (char *)NULL);
		_exit(1);
	}
	close(fd[1]);
	MP_CHECK_EQ(read(fd[0], &c, 1), 1);
	MP_OK(cuMemGetInfo_v2(&during, &total));
	MP_CHECK_EQ(before - during, (64 + 100) * MIB);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	usleep(150000);
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	close(fd[0]);
	fixture_done();
}

MP_TEST(hold_memory)
{
	CUdeviceptr p;

	if (!getenv("TEST_HOLD")) {
		MP_SKIP("is the other process of two_processes");
		return;
	}
	setenv("MOTORPOOL_SOFT_DIR", getenv("TEST_HOLD"), 1);
	fixture_context();
	MP_OK(cuMemAlloc_v2(&p, 100 * MIB));
	MP_CHECK_EQ(write(3, "x", 1), 1);
	pause();
}

MP_TEST(pinned)
{
	CUdeviceptr d, dp;
	unsigned *h, type, flags, i;
	CUpointer_attribute what[3] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
				       CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
				       CU_POINTER_ATTRIBUTE_HOST_POINTER};
	void *host, *data[3] = {&type, &dp, &host};
	char *own = malloc(100000);

	fixture_context();
	MP_OK(cuMemHostAlloc((void **)&h, 4096 * 4, CU_MEMHOSTALLOC_PORTABLE));
	MP_OK(cuMemAlloc_v2(&d, 4096 * 4));
	for (i = 0; i < 4096; i++)
		h[i] = i;
	MP_OK(cuMemcpyHtoDAsync_v2(d, h, 4096 * 4, NULL));
	MP_OK(cuStreamSynchronize(NULL));
	MP_OK(cuMemsetD32_v2((CUdeviceptr)h, 0, 4096));
	MP_OK(cuMemcpyDtoHAsync_v2(h, d, 4096 * 4, NULL));
	MP_OK(cuStreamSynchronize(NULL));
	MP_CHECK_EQ(h[4095], 4095);
	MP_OK(cuMemHostGetFlags(&flags, h));
	MP_OK(cuMemHostGetDevicePointer_v2(&dp, h, 0));
	MP_OK(cuPointerGetAttributes(3, what, data, (CUdeviceptr)h + 8));
	MP_CHECK(type == CU_MEMORYTYPE_HOST && host == (char *)h + 8);
	MP_OK(cuPointerGetAttributes(3, what, data, (CUdeviceptr)own));
	MP_CHECK(!type && !dp && !host);
	MP_IS(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)own),
	      CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemHostRegister_v2(own, 100000, 0));
	MP_IS(cuMemHostRegister_v2(own + 4096, 10, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	MP_OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)own));
	MP_CHECK_EQ(type, CU_MEMORYTYPE_HOST);
	MP_OK(cuMemHostUnregister(own));
	MP_IS(cuMemHostUnregister(own), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	MP_OK(cuMemFreeHost(h));
	MP_IS(cuMemFreeHost(h), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemFree_v2(d));
	free(own);
	fixture_done();
}

MP_TEST(mappings)
{
	CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
				    .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
	CUmemAccessDesc rw = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	CUmemGenericAllocationHandle a, b, again;
	CUdeviceptr va, hint, fixed = MP_SOFT_WINDOW_BASE + MP_SOFT_WINDOW_SIZE / 16;
	size_t g, before, after, total;
	unsigned v = 0;

	fixture_context();
	MP_OK(cuMemGetInfo_v2(&before, &total));
	MP_OK(cuMemGetAllocationGranularity(&g, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	MP_CHECK_EQ(g, 2 * MIB);
	MP_OK(cuMemAddressReserve(&hint, 4 * g, 0, MP_SOFT_WINDOW_BASE, 0));
	MP_CHECK(hint == MP_SOFT_WINDOW_BASE);
	MP_OK(cuMemAddressFree(hint, 4 * g));
	MP_OK(cuMemAddressReserve(&va, 8 * g, 0, 0, 0));
	MP_OK(cuMemAddressReserve(&hint, 4 * g, 0, fixed, 0));
	MP_CHECK(hint == fixed);
	MP_IS(cuMemCreate(&a, g + 1, &prop, 0), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemCreate(&a, 2 * g, &prop, 0));
	MP_OK(cuMemCreate(&b, g, &prop, 0));
	MP_OK(cuMemMap(va, 2 * g, 0, a, 0));
	MP_OK(cuMemMap(va + 2 * g, g, 0, b, 0));
	MP_OK(cuMemMap(hint, g, g, a, 0)); /* the second half of a, once more */
	MP_IS(cuMemMap(va, g, 0, b, 0), CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuMemcpyHtoD_v2(va, &v, 4), CUDA_ERROR_INVALID_VALUE); /* no access yet */
	MP_OK(cuMemSetAccess(va, 3 * g, &rw, 1));
	MP_OK(cuMemSetAccess(hint, g, &rw, 1));
	/* Over the seam of two mappings, and seen through the other address. */
	MP_OK(cuMemsetD32_v2(va + g, 0x1234, (g + 64) / 4));
	MP_OK(cuMemcpyDtoH_v2(&v, hint + 4096, 4));
	MP_CHECK_EQ(v, 0x1234);
	MP_OK(cuMemcpyDtoH_v2(&v, va + 2 * g + 60, 4));
	MP_CHECK_EQ(v, 0x1234);
	MP_OK(cuMemRetainAllocationHandle(&again, (void *)(va + 5)));
	MP_CHECK(again == a);
	MP_OK(cuMemRelease(again));
	MP_OK(cuMemRelease(a));
	MP_OK(cuMemRelease(b));
	MP_IS(cuMemAddressFree(va, 8 * g), CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuMemUnmap(va, g), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemUnmap(va, 3 * g));
	MP_OK(cuMemcpyDtoH_v2(&v, hint, 4));
	MP_OK(cuMemUnmap(hint, g));
	MP_OK(cuMemAddressFree(va, 8 * g));
	MP_OK(cuMemAddressFree(hint, 4 * g));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	fixture_done();
}

MP_TEST(pools)
{
	CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
	CUmemoryPool def, pool;
	uint64_t used = 1, threshold = 64 * MIB, reserved;
	size_t before, after, total;
	CUdeviceptr p, q;
	CUstream s;

	fixture_context();
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuMemGetInfo_v2(&before, &total));
	MP_OK(cuDeviceGetDefaultMemPool(&def, 0));
	MP_OK(cuMemAllocAsync(&p, 10 * MIB, s));
	MP_OK(cuMemsetD8Async(p, 1, 10 * MIB, s));
	MP_OK(cuMemPoolGetAttribute(def, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
	MP_CHECK_EQ(used, 10 * MIB);
	MP_OK(cuMemFreeAsync(p, s));
	MP_IS(cuMemFreeAsync(p, s), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuStreamSynchronize(s));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	MP_OK(cuMemPoolCreate(&pool, &props));
	MP_OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
	MP_OK(cuMemAllocFromPoolAsync(&q, 20 * MIB, pool, s));
	MP_OK(cuMemFreeAsync(q, s));
	MP_OK(cuStreamSynchronize(s));
	MP_OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &reserved));
	MP_CHECK_EQ(reserved, 20 * MIB);
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(before - after, 20 * MIB);
	MP_OK(cuMemPoolTrimTo(pool, 0));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	MP_OK(cuMemPoolDestroy(pool));
	MP_IS(cuMemPoolDestroy(pool), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuStreamDestroy_v2(s));
	fixture_done();
}

MP_TEST(forked_child)
{
	int status = 0;
	pid_t pid;

	fixture_context();
	pid = fork();
	if (!pid) {
		CUdeviceptr p;

		_exit(cuMemAlloc_v2(&p, 16) == CUDA_ERROR_NOT_INITIALIZED &&
				      cuInit(0) == CUDA_ERROR_NOT_INITIALIZED
			      ? 0
			      : 1);
	}
	waitpid(pid, &status, 0);
	MP_CHECK_EQ(status, 0);
	fixture_done();
}

MP_TEST_MAIN()
