/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captured graphs: fork to a second stream and join, copies, memsets and a host
 * function inside, replayed; what is not allowed while capturing; a broken capture.
 */
#include "call.h"

#define N 2500

static void CUDA_CB tick(void *data)
{
	(*(unsigned *)data)++;
}

static void fork_join(void)
{
	CUdeviceptr a = call_alloc(N * 4), b = call_alloc(N * 4);
	unsigned ticks = 0, i, *host;
	CUstream s, t;
	CUevent fork, join;
	CUgraph g;
	CUgraphExec x;
	CUstreamCaptureStatus status;
	cuuint64_t id;
	size_t n = 0;

	MUST(cuMemAllocHost((void **)&host, 2 * N * 4));
	memset(host, 0, 2 * N * 4);
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
	MUST(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	SAY(cuStreamIsCapturing(s, &status));
	call_line("status %d", status);
	SAY(cuStreamIsCapturing(t, &status));
	call_line("status %d", status);
	SAY(cuMemsetD32Async(a, 3, N, s));
	SAY(cuEventRecord(fork, s));
	SAY(cuStreamWaitEvent(t, fork, 0));
	SAY(cuStreamIsCapturing(t, &status));
	call_line("status %d", status);
	call_iota(b, N, 100, t);
	call_step(b, N, 2, 1, t);
	call_step(a, N, 7, 5, s);
	SAY(cuEventRecord(join, t));
	SAY(cuStreamWaitEvent(s, join, 0));
	SAY(cuMemcpyDtoHAsync(host, a, N * 4, s));
	SAY(cuMemcpyDtoHAsync(host + N, b, N * 4, s));
	SAY(cuLaunchHostFunc(s, tick, &ticks));
	SAY(cuStreamGetCaptureInfo(s, &status, &id, NULL, NULL, NULL));
	call_line("status %d", status);
	SAY(cuStreamEndCapture(s, &g));
	SAY(cuStreamIsCapturing(t, &status));
	call_line("status %d", status);
	SAY(cuGraphGetNodes(g, NULL, &n));
	call_line("nodes %zu, nothing ran: host[0]=%u ticks=%u", n, host[0], ticks);
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphDestroy(g));
	for (i = 0; i < 4; i++) {
		memset(host, 0, 2 * N * 4);
		MUST(cuGraphLaunch(x, s));
		MUST(cuStreamSynchronize(s));
		call_line("replay %u: ticks=%u sum=%016llx", i, ticks, (unsigned long long)call_sum(host, 2 * N * 4));
	}
	SAY(cuGraphExecDestroy(x));
	MUST(cuEventDestroy(fork));
	MUST(cuEventDestroy(join));
	MUST(cuStreamDestroy(s));
	MUST(cuStreamDestroy(t));
	MUST(cuMemFreeHost(host));
	MUST(cuMemFree(a));
	MUST(cuMemFree(b));
}

static void forbidden(void)
{
	CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
	CUdeviceptr p = call_alloc(N * 4), q = 0;
	CUstreamCaptureStatus status;
	CUstream s, t;
	CUevent e;
	CUgraph g = NULL;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	SAY(cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL));
	SAY(cuStreamEndCapture(s, &g));
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	SAY(cuMemAlloc(&q, 1000)); /* potentially unsafe: breaks no capture, but is refused */
	SAY(cuStreamEndCapture(s, &g));
	call_line("graph: %d", g != NULL);
	if (g)
		MUST(cuGraphDestroy(g));
	/* A wait of the capturing stream breaks the capture. */
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	call_step(p, N, 1, 1, s);
	SAY(cuStreamSynchronize(s));
	SAY(cuStreamIsCapturing(s, &status));
	call_line("status %d", status);
	g = NULL;
	SAY(cuStreamEndCapture(s, &g));
	call_line("graph: %d", g != NULL);
	/* A fork that is never joined. */
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	SAY(cuEventRecord(e, s));
	SAY(cuStreamWaitEvent(t, e, 0));
	call_step(p, N, 1, 1, t);
	g = NULL;
	SAY(cuStreamEndCapture(s, &g));
	call_line("graph: %d", g != NULL);
	/* Relaxed lets an allocation through. */
	SAY(cuThreadExchangeStreamCaptureMode(&mode));
	call_line("mode before %d", mode);
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	SAY(cuMemAlloc(&q, 1000));
	SAY(cuStreamEndCapture(s, &g));
	SAY(cuThreadExchangeStreamCaptureMode(&mode));
	call_line("mode before %d", mode);
	if (q)
		MUST(cuMemFree(q));
	MUST(cuStreamSynchronize(s));
	MUST(cuMemFree(p));
}

int main(void)
{
	CUcontext ctx = call_begin();

	fork_join();
	forbidden();
	return call_end(ctx);
}
