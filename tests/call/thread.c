/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads of one context.  Each works on its per-thread default stream and
 * on a stream of its own; then they pass one buffer around, ordered by nothing but
 * the return of each other's calls and one event.
 */
#include "call.h"

#include <pthread.h>

#define THREADS 8
#define N 1500

struct job {
	CUcontext ctx;
	unsigned id;
	uint64_t sum[2];
	CUresult worst;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static CUdeviceptr shared;
static CUevent handed;
static CUfunction step;

static void keep(struct job *j, CUresult r)
{
	if (r != CUDA_SUCCESS)
		j->worst = r;
}

static CUresult launch(CUdeviceptr p, unsigned factor, unsigned add, CUstream s)
{
	unsigned n = N;
	void *params[] = {&p, &n, &factor, &add};

	return call_launch(step, N, s, params);
}

static void *work(void *arg)
{
	struct job *j = arg;
	CUstream own, per_thread = (CUstream)2; /* CU_STREAM_PER_THREAD */
	CUdeviceptr p[2];
	unsigned k, *back = malloc(N * 4);
	CUpointer_attribute which = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
	unsigned one = 0, many = 0;
	void *to[] = {&many};

	/* What a pointer is may be asked without a context: one address space for all. */
	keep(j, cuPointerGetAttribute(&one, which, shared));
	keep(j, cuPointerGetAttributes(1, &which, to, shared));
	if (one != CU_MEMORYTYPE_DEVICE || many != CU_MEMORYTYPE_DEVICE)
		keep(j, CUDA_ERROR_UNKNOWN);
	keep(j, cuCtxSetCurrent(j->ctx));
	keep(j, cuStreamCreate(&own, CU_STREAM_NON_BLOCKING));
	keep(j, cuMemAlloc(&p[0], N * 4));
	keep(j, cuMemAlloc(&p[1], N * 4));
	keep(j, cuMemsetD32Async(p[0], j->id, N, per_thread));
	keep(j, cuMemsetD32Async(p[1], j->id + 100, N, own));
	for (k = 0; k < 60; k++) {
		keep(j, launch(p[0], 3, k, per_thread));
		keep(j, launch(p[1], 5, k, own));
		if (k % 20 == 19) {
			keep(j, cuStreamSynchronize(own));
			keep(j, cuStreamSynchronize(per_thread));
		}
	}
	keep(j, cuMemcpyDtoHAsync(back, p[0], N * 4, per_thread));
	keep(j, cuStreamSynchronize(per_thread));
	j->sum[0] = call_sum(back, N * 4);
	keep(j, cuMemcpyDtoH(back, p[1], N * 4));
	j->sum[1] = call_sum(back, N * 4);
	for (k = 0; k < 25; k++) {
		pthread_mutex_lock(&turn);
		keep(j, cuStreamWaitEvent(own, handed, 0));
		/* The same factor and addend, so that the order of threads does not show. */
		keep(j, launch(shared, 3, 1, own));
		keep(j, cuEventRecord(handed, own));
		pthread_mutex_unlock(&turn);
	}
	keep(j, cuStreamSynchronize(own));
	keep(j, cuStreamDestroy(own));
	keep(j, cuMemFree(p[0]));
	keep(j, cuMemFree(p[1]));
	free(back);
	return NULL;
}

int main(void)
{
	CUcontext ctx = call_begin();
	struct job jobs[THREADS];
	pthread_t threads[THREADS];
	unsigned i, want = 1, got = 0;

	step = call_function("step");
	shared = call_alloc(N * 4);
	MUST(cuEventCreate(&handed, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemsetD32(shared, 1, N));
	MUST(cuEventRecord(handed, NULL));
	for (i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){.ctx = ctx, .id = i};
		if (pthread_create(&threads[i], NULL, work, &jobs[i]))
			exit(1);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		call_line("thread %u: code %d, %016llx %016llx", i, jobs[i].worst,
			  (unsigned long long)jobs[i].sum[0], (unsigned long long)jobs[i].sum[1]);
	}
	for (i = 0; i < THREADS * 25; i++)
		want = want * 3 + 1;
	MUST(cuMemcpyDtoH(&got, shared, 4));
	call_line("shared %u, expected %u", got, want);
	return call_end(ctx);
}
