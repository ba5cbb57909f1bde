/* SPDX-License-Identifier: Apache-2.0 */
/* Stream-ordered allocation: the default pool, an own pool, attributes, use across streams, trimming. */
#include "call.h"

#define N 4000

static void churn(CUstream s)
{
	CUdeviceptr p, q;
	unsigned i;
	uint64_t h = 0;

	for (i = 0; i < 30; i++) {
		size_t bytes = (N + i * 100) * 4;

		MUST(cuMemAllocAsync(&p, bytes, s));
		MUST(cuMemAllocAsync(&q, bytes, s));
		call_iota(p, N + i * 100, i, s);
		MUST(cuMemcpyDtoDAsync(q, p, bytes, s));
		MUST(cuMemFreeAsync(p, s));
		call_step(q, N + i * 100, 3, i, s);
		MUST(cuStreamSynchronize(s));
		h = h * 31 + call_sum_device(q, bytes);
		MUST(cuMemFreeAsync(q, s));
	}
	call_line("churn %016llx", (unsigned long long)h);
}

static void own(CUstream s, CUstream t)
{
	CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};
	CUmemoryPool pool, was;
	CUdeviceptr p;
	CUevent e;
	cuuint64_t value = 0;
	int flag = -1;

	SAY(cuMemPoolCreate(&pool, &props));
	value = 1 << 20;
	SAY(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &value));
	value = 0;
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &value));
	call_line("threshold %llu", (unsigned long long)value);
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, &flag));
	call_line("follow %d", flag);
	SAY(cuMemAllocFromPoolAsync(&p, N * 4, pool, s));
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &value));
	call_line("used covers it: %d", value >= N * 4);
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	call_iota(p, N, 5, s);
	MUST(cuEventRecord(e, s));
	MUST(cuStreamWaitEvent(t, e, 0));
	call_step(p, N, 9, 2, t);
	MUST(cuStreamSynchronize(t));
	call_line("sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	SAY(cuMemFreeAsync(p, t));
	SAY(cuStreamSynchronize(t));
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &value));
	call_line("used %llu", (unsigned long long)value);
	SAY(cuMemPoolTrimTo(pool, 0));
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &value));
	call_line("reserved %llu", (unsigned long long)value);
	MUST(cuDeviceGetMemPool(&was, 0));
	SAY(cuDeviceSetMemPool(0, pool));
	MUST(cuMemAllocAsync(&p, 100, s));
	SAY(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &value));
	call_line("the device's pool is ours: %d", value > 0);
	MUST(cuMemFreeAsync(p, s));
	MUST(cuStreamSynchronize(s));
	SAY(cuDeviceSetMemPool(0, was));
	SAY(cuMemPoolDestroy(pool));
	MUST(cuEventDestroy(e));
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUmemoryPool pool, again;
	CUdeviceptr p = 0;
	CUstream s, t;
	int has = 0;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	SAY(cuDeviceGetAttribute(&has, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0));
	call_line("pools: %d", has);
	SAY(cuDeviceGetDefaultMemPool(&pool, 0));
	SAY(cuDeviceGetMemPool(&again, 0));
	call_line("the default one is current: %d", pool == again);
	churn(s);
	churn(NULL);
	own(s, t);
	SAY(cuMemAllocAsync(&p, 1ull << 50, s));
	SAY(cuMemFreeAsync(0x10, s));
	SAY(cuMemPoolDestroy(pool));
	/* Allocated in order, freed at once. */
	MUST(cuMemAllocAsync(&p, N * 4, s));
	call_iota(p, N, 1, s);
	MUST(cuStreamSynchronize(s));
	SAY(cuMemFree(p));
	return call_end(ctx);
}
