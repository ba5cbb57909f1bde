/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, events, host functions and waits on memory: order, call by call. */
#include "test-fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic int gate, step;
static _Atomic int seen[8];

static void wait_gate(void *unused)
{
	while (!gate)
		usleep(100);
}

static void note(void *arg)
{
	seen[(intptr_t)arg] = ++step;
}

static void reset(void)
{
	int i;

	gate = 0;
	step = 0;
	for (i = 0; i < 8; i++)
		seen[i] = 0;
}

MP_TEST(order_in_a_stream)
{
	CUstream s;

	fixture_context();
	reset();
	MP_OK(cuStreamCreate(&s, CU_STREAM_DEFAULT));
	MP_OK(cuLaunchHostFunc(s, wait_gate, NULL));
	MP_OK(cuLaunchHostFunc(s, note, (void *)0));
	MP_OK(cuLaunchHostFunc(s, note, (void *)1));
	MP_IS(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
	MP_CHECK_EQ(step, 0);
	gate = 1;
	MP_OK(cuStreamSynchronize(s));
	MP_OK(cuStreamQuery(s));
	MP_CHECK(seen[0] == 1 && seen[1] == 2);
	MP_OK(cuStreamDestroy_v2(s));
	MP_IS(cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
	fixture_done();
}

MP_TEST(legacy_stream_rules)
{
	CUstream blocking, free_stream;

	fixture_context();
	reset();
	MP_OK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
	MP_OK(cuStreamCreate(&free_stream, CU_STREAM_NON_BLOCKING));
	MP_OK(cuLaunchHostFunc(blocking, wait_gate, NULL));
	MP_OK(cuLaunchHostFunc(NULL, note, (void *)0));	       /* waits for blocking */
	MP_OK(cuLaunchHostFunc(free_stream, note, (void *)1)); /* does not wait */
	MP_OK(cuLaunchHostFunc(blocking, note, (void *)2));    /* waits for legacy */
	MP_OK(cuStreamSynchronize(free_stream));
	MP_CHECK_EQ(seen[1], 1);
	MP_CHECK_EQ(step, 1);
	MP_IS(cuStreamQuery(NULL), CUDA_ERROR_NOT_READY);
	gate = 1;
	MP_OK(cuCtxSynchronize());
	MP_CHECK(seen[0] == 2 && seen[2] == 3);
	/* A destroyed stream's work still counts. */
	reset();
	MP_OK(cuLaunchHostFunc(blocking, wait_gate, NULL));
	MP_OK(cuLaunchHostFunc(blocking, note, (void *)0));
	MP_OK(cuStreamDestroy_v2(blocking));
	MP_OK(cuLaunchHostFunc(NULL, note, (void *)1));
	gate = 1;
	MP_OK(cuStreamSynchronize(NULL));
	MP_CHECK(seen[0] == 1 && seen[1] == 2);
	MP_OK(cuStreamDestroy_v2(free_stream));
	fixture_done();
}

MP_TEST(events)
{
	CUstream a, b;
	CUevent e, f, plain;
	float ms = -1;

	fixture_context();
	reset();
	MP_OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	MP_OK(cuEventCreate(&e, 0));
	MP_OK(cuEventCreate(&f, 0));
	MP_OK(cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
	MP_OK(cuEventQuery(e));
	MP_OK(cuEventSynchronize(e));
	MP_IS(cuEventElapsedTime(&ms, e, f), CUDA_ERROR_INVALID_HANDLE);
	MP_OK(cuEventRecord(e, b));
	MP_OK(cuEventSynchronize(e)); /* with random delays it may be late */
	MP_OK(cuLaunchHostFunc(a, wait_gate, NULL));
	MP_OK(cuEventRecord(f, a));
	MP_OK(cuStreamWaitEvent(b, f, 0));
	MP_OK(cuLaunchHostFunc(b, note, (void *)0));
	MP_IS(cuEventQuery(f), CUDA_ERROR_NOT_READY);
	MP_IS(cuEventElapsedTime(&ms, e, f), CUDA_ERROR_NOT_READY);
	MP_IS(cuStreamQuery(b), CUDA_ERROR_NOT_READY);
	usleep(20000);
	MP_CHECK_EQ(step, 0);
	gate = 1;
	MP_OK(cuEventSynchronize(f));
	MP_OK(cuEventElapsedTime(&ms, e, f));
	MP_CHECK(ms >= 15.0f && ms < 5000.0f);
	MP_OK(cuStreamSynchronize(b));
	MP_CHECK_EQ(seen[0], 1);
	MP_OK(cuEventRecord(plain, a));
	MP_OK(cuEventSynchronize(plain));
	MP_IS(cuEventElapsedTime(&ms, e, plain), CUDA_ERROR_INVALID_HANDLE);
	MP_OK(cuEventDestroy_v2(e));
	MP_IS(cuEventQuery(e), CUDA_ERROR_INVALID_HANDLE);
	MP_OK(cuEventDestroy_v2(f));
	MP_OK(cuEventDestroy_v2(plain));
	MP_OK(cuStreamDestroy_v2(a));
	MP_OK(cuStreamDestroy_v2(b));
	fixture_done();
}

static CUresult inside;
static CUcontext callback_ctx;

static void call_cuda(CUstream s, CUresult status, void *arg)
{
	size_t a, b;

	(void)s;
	*(CUresult *)arg = status;
	inside = cuMemGetInfo_v2(&a, &b);
}

MP_TEST(callbacks_may_not_call)
{
	CUresult status = CUDA_ERROR_UNKNOWN;

	callback_ctx = fixture_context();
	MP_OK(cuStreamAddCallback(NULL, call_cuda, &status, 0));
	MP_IS(cuStreamAddCallback(NULL, call_cuda, &status, 1), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuStreamSynchronize(NULL));
	MP_CHECK_EQ(status, CUDA_SUCCESS);
	MP_CHECK_EQ(inside, CUDA_ERROR_NOT_PERMITTED);
	fixture_done();
}

MP_TEST(values_in_memory)
{
	_Atomic uint32_t *h;
	CUdeviceptr d;
	CUstream a, b;
	uint64_t wide = 0;

	fixture_context();
	reset();
	MP_OK(cuMemHostAlloc((void **)&h, 4096, 0));
	MP_OK(cuMemAlloc_v2(&d, 4096));
	MP_OK(cuMemsetD8_v2(d, 0, 4096));
	MP_OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamWaitValue32_v2(a, (CUdeviceptr)h, 5, CU_STREAM_WAIT_VALUE_GEQ));
	MP_OK(cuLaunchHostFunc(a, note, (void *)0));
	MP_OK(cuStreamWaitValue64_v2(b, d, 7, CU_STREAM_WAIT_VALUE_EQ));
	MP_OK(cuLaunchHostFunc(b, note, (void *)1));
	usleep(5000);
	MP_CHECK_EQ(step, 0);
	*h = 6;
	MP_OK(cuStreamSynchronize(a));
	MP_CHECK_EQ(seen[0], 1);
	MP_OK(cuStreamWriteValue64_v2(a, d, 7, 0));
	MP_OK(cuStreamSynchronize(b));
	MP_CHECK_EQ(seen[1], 2);
	MP_OK(cuMemcpyDtoH_v2(&wide, d, 8));
	MP_CHECK_EQ(wide, 7);
	MP_IS(cuStreamWriteValue32_v2(a, d + 2, 7, 0), CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuStreamWriteValue32_v2(a, 0, 7, 0), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuStreamDestroy_v2(a));
	MP_OK(cuStreamDestroy_v2(b));
	MP_OK(cuMemFree_v2(d));
	MP_OK(cuMemFreeHost((void *)h));
	fixture_done();
}

static void *thread_run(void *arg)
{
	CUstream s;
	CUdeviceptr d;
	unsigned i, v;

	MP_OK(cuCtxSetCurrent(arg));
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuMemAlloc_v2(&d, 1 << 20));
	for (i = 0; i < 200; i++) {
		MP_OK(cuMemsetD32Async(d, i, 1 << 18, s));
		MP_OK(cuMemcpyDtoHAsync_v2(&v, d + 4 * i, 4, s));
		MP_CHECK_EQ(v, i);
		MP_OK(cuLaunchHostFunc(CU_STREAM_PER_THREAD, note, (void *)3));
	}
	MP_OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
	MP_OK(cuMemFree_v2(d));
	MP_OK(cuStreamDestroy_v2(s));
	return NULL;
}

MP_TEST(eight_threads)
{
	CUcontext ctx = fixture_context();
	pthread_t t[8];
	int i;

	reset();
	for (i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, thread_run, ctx);
	for (i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	MP_CHECK_EQ(step, 1600);
	fixture_done();
}

MP_TEST(contexts)
{
	CUcontext a, b, now;
	CUdevice d;
	int active;
	unsigned flags;

	MP_OK(cuInit(0));
	MP_OK(cuCtxCreate_v2(&a, 0, 0));
	MP_OK(cuCtxCreate_v2(&b, CU_CTX_SCHED_SPIN, 1));
	MP_OK(cuCtxGetCurrent(&now));
	MP_CHECK(now == b);
	MP_OK(cuCtxGetDevice(&d));
	MP_CHECK_EQ(d, 1);
	MP_OK(cuCtxPopCurrent_v2(&now));
	MP_CHECK(now == b);
	MP_OK(cuCtxEnablePeerAccess(b, 0));
	MP_IS(cuCtxEnablePeerAccess(b, 0), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
	MP_OK(cuCtxDisablePeerAccess(b));
	MP_IS(cuCtxDisablePeerAccess(b), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
	MP_OK(cuCtxDestroy_v2(b));
	MP_IS(cuCtxSetCurrent(b), CUDA_ERROR_INVALID_CONTEXT);
	MP_OK(cuCtxDestroy_v2(a));
	MP_OK(cuCtxGetCurrent(&now));
	MP_CHECK(!now);
	MP_IS(cuCtxPopCurrent_v2(&now), CUDA_ERROR_INVALID_CONTEXT);
	MP_IS(cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
	MP_OK(cuDevicePrimaryCtxRetain(&a, 0));
	MP_OK(cuDevicePrimaryCtxRetain(&b, 0));
	MP_CHECK(a == b);
	MP_OK(cuDevicePrimaryCtxRelease_v2(0));
	MP_OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	MP_CHECK_EQ(active, 1);
	MP_OK(cuDevicePrimaryCtxRelease_v2(0));
	MP_OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	MP_CHECK_EQ(active, 0);
	MP_OK(cuCtxSetCurrent(a));
	{
		CUdeviceptr p;

		MP_IS(cuMemAlloc_v2(&p, 4), CUDA_ERROR_CONTEXT_IS_DESTROYED);
	}
	MP_OK(cuCtxSetCurrent(NULL));
}

MP_TEST_MAIN()
