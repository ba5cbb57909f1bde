/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: order inside one, order between two through events, the legacy stream
 * against blocking and non-blocking ones, queries, priorities, flags, identity.
 */
#include "call.h"

#define N 2048

static void chain(void)
{
	CUstream s[4];
	CUdeviceptr p[4];
	unsigned i, k;

	for (i = 0; i < 4; i++) {
		MUST(cuStreamCreate(&s[i], i & 1 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
		p[i] = call_alloc(N * 4);
		call_iota(p[i], N, i, s[i]);
	}
	for (k = 0; k < 50; k++)
		for (i = 0; i < 4; i++)
			call_step(p[i], N, 3 + i, k, s[i]);
	for (i = 0; i < 4; i++) {
		MUST(cuStreamSynchronize(s[i]));
		call_line("stream %u sum=%016llx", i, (unsigned long long)call_sum_device(p[i], N * 4));
		SAY(cuStreamQuery(s[i]));
		SAY(cuStreamDestroy(s[i]));
		MUST(cuMemFree(p[i]));
	}
}

/* A ring of three streams that hand one buffer on through events. */
static void ring(void)
{
	CUstream s[3];
	CUevent e[3];
	CUdeviceptr p = call_alloc(N * 4);
	unsigned i, k;

	for (i = 0; i < 3; i++) {
		MUST(cuStreamCreate(&s[i], CU_STREAM_NON_BLOCKING));
		MUST(cuEventCreate(&e[i], CU_EVENT_DISABLE_TIMING));
	}
	call_iota(p, N, 7, s[0]);
	for (k = 0; k < 60; k++) {
		i = k % 3;
		call_step(p, N, 5, k, s[i]);
		MUST(cuEventRecord(e[i], s[i]));
		MUST(cuStreamWaitEvent(s[(i + 1) % 3], e[i], 0));
	}
	MUST(cuStreamSynchronize(s[0]));
	call_line("ring sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	for (i = 0; i < 3; i++) {
		SAY(cuEventQuery(e[i]));
		MUST(cuEventDestroy(e[i]));
		MUST(cuStreamDestroy(s[i]));
	}
	MUST(cuMemFree(p));
}

/* The legacy stream waits for blocking streams and they for it, without a word. */
static void legacy(void)
{
	CUstream s[2];
	CUdeviceptr p = call_alloc(N * 4);
	unsigned k;

	MUST(cuStreamCreate(&s[0], CU_STREAM_DEFAULT));
	MUST(cuStreamCreate(&s[1], CU_STREAM_DEFAULT));
	call_iota(p, N, 1, s[0]);
	for (k = 0; k < 30; k++) {
		call_step(p, N, 7, k, NULL);
		call_step(p, N, 9, k, s[k & 1]);
		call_step(p, N, 11, k, (CUstream)1); /* CU_STREAM_LEGACY */
	}
	call_line("legacy sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	MUST(cuStreamDestroy(s[0]));
	MUST(cuStreamDestroy(s[1]));
	MUST(cuMemFree(p));
}

static void properties(CUcontext ctx)
{
	int least, greatest, priority;
	unsigned flags;
	unsigned long long id, other;
	CUcontext c = NULL;
	CUstream s, t;

	SAY(cuCtxGetStreamPriorityRange(&least, &greatest));
	call_line("least=%d greatest<=0: %d", least, greatest <= 0);
	MUST(cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, greatest));
	MUST(cuStreamCreate(&t, 0));
	SAY(cuStreamGetPriority(s, &priority));
	call_line("priority is the greatest: %d", priority == greatest);
	SAY(cuStreamGetFlags(s, &flags));
	call_line("flags=%u", flags);
	SAY(cuStreamGetFlags(t, &flags));
	call_line("flags=%u", flags);
	SAY(cuStreamGetCtx(s, &c));
	call_line("context: %d", c == ctx);
	SAY(cuStreamGetId(s, &id));
	SAY(cuStreamGetId(t, &other));
	call_line("ids differ: %d", id != other);
	SAY(cuStreamCreate(&s, 77));
	SAY(cuStreamSynchronize(NULL));
	SAY(cuStreamQuery(NULL));
}

/* A stream that is destroyed with work queued finishes it. */
static void destroyed(void)
{
	CUstream s;
	CUdeviceptr p = call_alloc(N * 4);
	unsigned k;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	call_iota(p, N, 3, s);
	for (k = 0; k < 20; k++)
		call_step(p, N, 13, k, s);
	MUST(cuStreamDestroy(s));
	MUST(cuCtxSynchronize());
	call_line("destroyed sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	MUST(cuMemFree(p));
}

int main(void)
{
	CUcontext ctx = call_begin();

	chain();
	ring();
	legacy();
	properties(ctx);
	destroyed();
	return call_end(ctx);
}
