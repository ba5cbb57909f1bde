/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions and stream callbacks: order with device work, the thread they run in, several streams. */
#include "call.h"

#include <pthread.h>
#include <unistd.h>

#define N 512

struct seen {
	pthread_t main;
	unsigned *pinned, n, value[8], own_thread, status_bad;
};

static void CUDA_CB look(void *data)
{
	struct seen *s = data;

	s->own_thread += pthread_equal(s->main, pthread_self()) != 0;
	if (s->n < COUNT(s->value))
		s->value[s->n++] = s->pinned[0];
}

static void CUDA_CB slow(void *data)
{
	usleep(3000);
	look(data);
}

static void CUDA_CB called(CUstream stream, CUresult status, void *data)
{
	struct seen *s = data;

	s->status_bad += status != CUDA_SUCCESS;
	look(data);
}

static void print(const struct seen *s, const char *what)
{
	unsigned i;

	printf("%s:", what);
	for (i = 0; i < s->n; i++)
		printf(" %u", s->value[i]);
	call_line(" (in the main thread: %u, bad status: %u)", s->own_thread, s->status_bad);
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(N * 4);
	struct seen a = {.main = pthread_self()}, b = a;
	unsigned i;
	CUstream s, t;
	CUevent e;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_DEFAULT));
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemAllocHost((void **)&a.pinned, N * 4));
	b.pinned = a.pinned;
	memset(a.pinned, 0, N * 4);
	call_iota(p, N, 1, s);
	for (i = 0; i < 4; i++) {
		call_step(p, N, 3, i, s);
		MUST(cuMemcpyDtoHAsync(a.pinned, p, N * 4, s));
		MUST(cuLaunchHostFunc(s, i & 1 ? slow : look, &a));
	}
	MUST(cuStreamSynchronize(s));
	print(&a, "host functions");
	/* A host function writes, the copy behind it must see it. */
	for (i = 0; i < 3; i++) {
		call_step(p, N, 5, i, s);
		MUST(cuMemcpyDtoHAsync(a.pinned, p, N * 4, s));
		MUST(cuStreamAddCallback(s, called, &b, 0));
	}
	MUST(cuEventRecord(e, s));
	MUST(cuEventSynchronize(e));
	print(&b, "callbacks");
	/* Behind an event of another stream. */
	a.n = 0;
	call_step(p, N, 7, 1, s);
	MUST(cuMemcpyDtoHAsync(a.pinned, p, N * 4, s));
	MUST(cuEventRecord(e, s));
	MUST(cuStreamWaitEvent(t, e, 0));
	MUST(cuLaunchHostFunc(t, look, &a));
	MUST(cuLaunchHostFunc(NULL, slow, &a));
	MUST(cuCtxSynchronize());
	print(&a, "two streams");
	SAY(cuLaunchHostFunc(s, NULL, NULL));
	SAY(cuStreamAddCallback(s, NULL, NULL, 0));
	SAY(cuStreamAddCallback(s, called, &b, 1));
	call_line("sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	MUST(cuMemFreeHost(a.pinned));
	return call_end(ctx);
}
