/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the error-parity table: launches, faults, streams, events, captures, graphs. */
#include "parity.h"

#include <pthread.h>

static CUresult launch(CUfunction f, unsigned gx, unsigned gy, unsigned bx, unsigned by, unsigned bz,
		       unsigned shared, void **params)
{
	return cuLaunchKernel(f, gx, gy, 1, bx, by, bz, shared, on.s, params, NULL);
}

/* ---- Launches that are refused ---- */

ROW(grid_zero, "cuLaunchKernel", "gridDimX 0", 1, NOW, OBSERVED, "590-series driver: at once, not sticky")
{
	return launch(on.nothing, 0, 1, 1, 1, 1, 0, NULL);
}
ROW(block_2048, "cuLaunchKernel", "blockDimX 2048", 1, NOW, OBSERVED, "590-series driver: at once, not sticky")
{
	return launch(on.nothing, 1, 1, 2048, 1, 1, 0, NULL);
}
ROW(block_zero, "cuLaunchKernel", "blockDimX 0", 1, NOW, LISTED, "INVALID_VALUE")
{
	return launch(on.nothing, 1, 1, 0, 1, 1, 0, NULL);
}
ROW(grid_y, "cuLaunchKernel", "gridDimY 65536", 1, NOW, LISTED, "INVALID_VALUE; above the attribute")
{
	return launch(on.nothing, 1, 65536, 1, 1, 1, 0, NULL);
}
ROW(block_z, "cuLaunchKernel", "blockDimZ 65", 1, NOW, LISTED, "INVALID_VALUE; above the attribute")
{
	return launch(on.nothing, 1, 1, 1, 1, 65, 0, NULL);
}
ROW(block_product, "cuLaunchKernel", "33 x 32 threads", 1, NOW, LISTED, "INVALID_VALUE; above the attribute")
{
	return launch(on.nothing, 1, 1, 33, 32, 1, 0, NULL);
}
ROW(shared_much, "cuLaunchKernel", "10 MiB of dynamic shared memory", 1, NOW, LISTED, "INVALID_VALUE")
{
	return launch(on.nothing, 1, 1, 1, 1, 1, 10 << 20, NULL);
}
ROW(shared_no_optin, "cuLaunchKernel", "60000 bytes of dynamic shared memory without opting in", 1, NOW, LISTED,
    "INVALID_VALUE; above the function's attribute")
{
	return launch(on.nothing, 1, 1, 1, 1, 1, 60000, NULL);
}
ROW(params_twice, "cuLaunchKernel", "kernelParams and extra", 1, NOW, TEXT, "INVALID_VALUE when both are non-NULL")
{
	unsigned value = 1;
	void *params[] = {&on.p, &value};
	char block[12] = "";
	size_t size = sizeof(block);
	void *extra[] = {(void *)1, block, (void *)2, &size, NULL}; /* BUFFER_POINTER, BUFFER_SIZE, END */

	return cuLaunchKernel(on.poke, 1, 1, 1, 1, 1, 1, 0, on.s, params, extra);
}
ROW(launch_null, "cuLaunchKernel", "f NULL", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return launch(NULL, 1, 1, 1, 1, 1, 0, NULL);
}
ROW(cooperative_large, "cuLaunchCooperativeKernel", "more blocks than fit", 720, NOW, TEXT,
    "COOPERATIVE_LAUNCH_TOO_LARGE")
{
	return cuLaunchCooperativeKernel(on.nothing, 1 << 20, 1, 1, 1024, 1, 1, 0, on.s, NULL);
}

/* ---- Faults of kernels ---- */

static CUresult poke(CUdeviceptr where)
{
	unsigned value = 1;
	void *params[] = {&where, &value};

	MUST(launch(on.poke, 1, 1, 1, 1, 1, 0, params));
	return cuStreamSynchronize(on.s);
}
ROW(address, "kernel", "store to address 16", 700, LATE, TEXT, "invalid memory address; any further work fails")
{
	return poke(16);
}
ROW(address_host, "kernel", "store to memory of the host", 700, LATE, TEXT, "invalid memory address")
{
	static unsigned victim;

	return poke((uintptr_t)&victim);
}
ROW(address_freed, "kernel", "store to freed VMM memory", 700, LATE, TEXT, "invalid memory address")
{
	CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
				    .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};
	CUmemAccessDesc access = {.location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	CUmemGenericAllocationHandle h;
	CUdeviceptr p;
	size_t g;

	MUST(cuMemGetAllocationGranularity(&g, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	MUST(cuMemCreate(&h, g, &prop, 0));
	MUST(cuMemAddressReserve(&p, g, 0, 0, 0));
	MUST(cuMemMap(p, g, 0, h, 0));
	MUST(cuMemSetAccess(p, g, &access, 1));
	MUST(cuMemUnmap(p, g));
	return poke(p);
}
ROW(misaligned, "kernel", "word store to an odd address", 716, LATE, TEXT, "MISALIGNED_ADDRESS; any further work fails")
{
	return poke(on.p + 1);
}
ROW(trap, "kernel", "trap", 719, LATE, GUESS, "LAUNCH_FAILED is what programs report")
{
	MUST(launch(call_function("stop"), 1, 1, 1, 1, 1, 0, NULL));
	return cuStreamSynchronize(on.s);
}
ROW(address_event, "cuEventSynchronize", "behind a faulting kernel", 700, LATE, TEXT, "errors of earlier launches")
{
	CUdeviceptr where = 16;
	unsigned value = 1;
	void *params[] = {&where, &value};
	CUevent e;

	MUST(cuEventCreate(&e, 0));
	MUST(launch(on.poke, 1, 1, 1, 1, 1, 0, params));
	(void)cuEventRecord(e, on.s); /* may be the one that says it */
	return cuEventSynchronize(e);
}
ROW(address_copy, "cuMemcpyDtoH", "behind a faulting kernel of the legacy stream", 700, LATE, TEXT,
    "errors of earlier launches")
{
	CUdeviceptr where = 16;
	unsigned value = 1;
	void *params[] = {&where, &value};

	MUST(cuLaunchKernel(on.poke, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	return cuMemcpyDtoH(&value, on.p, 4);
}

/* ---- Streams and events ---- */

ROW(stream_flags, "cuStreamCreate", "flags 77", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUstream s;

	return cuStreamCreate(&s, 77);
}
ROW(stream_null, "cuStreamCreate", "phStream NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuStreamCreate(NULL, 0);
}
ROW(stream_busy, "cuStreamQuery", "work is queued", 600, NOW, TEXT, "NOT_READY if not")
{
	CUresult r;

	hold();
	r = cuStreamQuery(on.s);
	release();
	return r;
}
ROW(stream_destroy_null, "cuStreamDestroy", "the legacy stream", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return cuStreamDestroy(NULL);
}
ROW(event_busy, "cuEventQuery", "work before it is queued", 600, NOW, TEXT, "NOT_READY")
{
	CUresult r;
	CUevent e;

	MUST(cuEventCreate(&e, 0));
	hold();
	MUST(cuEventRecord(e, on.s));
	r = cuEventQuery(e);
	release();
	MUST(cuEventDestroy(e));
	return r;
}
ROW(event_flags, "cuEventCreate", "flags 0x100", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUevent e;

	return cuEventCreate(&e, 0x100);
}
ROW(event_null, "cuEventCreate", "phEvent NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuEventCreate(NULL, 0);
}
ROW(event_interprocess, "cuEventCreate", "INTERPROCESS without DISABLE_TIMING", 1, NOW, TEXT,
    "must be specified together; INVALID_VALUE")
{
	CUevent e;

	return cuEventCreate(&e, CU_EVENT_INTERPROCESS);
}
ROW(record_null, "cuEventRecord", "hEvent NULL", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return cuEventRecord(NULL, on.s);
}
ROW(wait_null, "cuStreamWaitEvent", "hEvent NULL", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return cuStreamWaitEvent(on.s, NULL, 0);
}
ROW(wait_flags, "cuStreamWaitEvent", "flags 99", 1, NOW, GUESS, "flags are checked")
{
	CUresult r;
	CUevent e;

	MUST(cuEventCreate(&e, 0));
	r = cuStreamWaitEvent(on.s, e, 99);
	MUST(cuEventDestroy(e));
	return r;
}
ROW(event_query_null, "cuEventQuery", "hEvent NULL", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return cuEventQuery(NULL);
}
ROW(event_destroy_null, "cuEventDestroy", "hEvent NULL", 400, NOW, LISTED, "INVALID_HANDLE")
{
	return cuEventDestroy(NULL);
}
ROW(record_elsewhere, "cuEventRecord", "event and stream of different contexts", 400, NOW, TEXT, "INVALID_HANDLE")
{
	CUcontext other, back;
	CUresult r;
	CUevent e;

	MUST(cuCtxCreate(&other, 0, on.dev));
	MUST(cuEventCreate(&e, 0));
	MUST(cuCtxPopCurrent(&back));
	r = cuEventRecord(e, on.s);
	MUST(cuCtxDestroy(other));
	return r;
}

static CUresult elapsed(unsigned flags, int record, int busy)
{
	CUevent a, b;
	CUresult r;
	float ms;

	MUST(cuEventCreate(&a, flags));
	MUST(cuEventCreate(&b, 0));
	if (record)
		MUST(cuEventRecord(a, on.s));
	if (busy)
		hold();
	MUST(cuEventRecord(b, on.s));
	if (!busy)
		MUST(cuStreamSynchronize(on.s));
	r = cuEventElapsedTime_v2(&ms, a, b);
	if (busy)
		release();
	MUST(cuEventDestroy(a));
	MUST(cuEventDestroy(b));
	return r;
}
ROW(elapsed_untimed, "cuEventElapsedTime", "DISABLE_TIMING", 400, NOW, TEXT, "INVALID_HANDLE")
{
	return elapsed(CU_EVENT_DISABLE_TIMING, 1, 0);
}
ROW(elapsed_unrecorded, "cuEventElapsedTime", "never recorded", 400, NOW, TEXT, "INVALID_HANDLE")
{
	return elapsed(0, 0, 0);
}
ROW(elapsed_busy, "cuEventElapsedTime", "not there yet", 600, NOW, TEXT, "NOT_READY")
{
	return elapsed(0, 1, 1);
}
ROW(host_null, "cuLaunchHostFunc", "fn NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuLaunchHostFunc(on.s, NULL, NULL);
}
static void CUDA_CB callback(CUstream s, CUresult status, void *data)
{
}
ROW(callback_flags, "cuStreamAddCallback", "flags 1", 1, NOW, GUESS, "reserved, must be 0")
{
	return cuStreamAddCallback(on.s, callback, NULL, 1);
}
static void CUDA_CB calls_back(CUstream s, CUresult status, void *data)
{
	CUdeviceptr p;

	*(CUresult *)data = cuMemAlloc(&p, 16);
}
ROW(callback_calls, "cuMemAlloc", "inside a stream callback", 800, NOW, TEXT, "will result in NOT_PERMITTED")
{
	CUresult r = CUDA_SUCCESS;

	MUST(cuStreamAddCallback(on.s, calls_back, &r, 0));
	MUST(cuStreamSynchronize(on.s));
	return r;
}

/* ---- Captures ---- */

static CUstream blocking(void)
{
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_DEFAULT));
	return s;
}

/* Ends whatever capture there is and forgets its graph. */
static void forget(CUstream s)
{
	CUgraph g = NULL;

	if (cuStreamEndCapture(s, &g) == CUDA_SUCCESS && g)
		MUST(cuGraphDestroy(g));
}

ROW(capture_legacy, "cuStreamBeginCapture", "the legacy stream", 900, NOW, LISTED, "may not be the legacy stream")
{
	return cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL);
}
ROW(capture_twice, "cuStreamBeginCapture", "already capturing", 401, NOW, GUESS, "may only begin when not capturing")
{
	CUresult r;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	r = cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED);
	forget(on.s);
	return r;
}
ROW(capture_mode, "cuStreamBeginCapture", "mode 9", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuStreamBeginCapture(on.s, (CUstreamCaptureMode)9);
}
ROW(capture_end, "cuStreamEndCapture", "not capturing", 401, NOW, GUESS, "must have been initiated")
{
	CUgraph g;

	return cuStreamEndCapture(on.s, &g);
}
ROW(capture_alloc, "cuMemAlloc", "while this thread captures in global mode", 900, NOW, TEXT,
    "not permitted while capturing")
{
	CUdeviceptr p;
	CUresult r;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	r = cuMemAlloc(&p, 16);
	forget(on.s);
	return r;
}
ROW(capture_sync, "cuStreamSynchronize", "the stream is capturing", 900, NOW, TEXT, "not permitted while capturing")
{
	CUresult r;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	r = cuStreamSynchronize(on.s);
	forget(on.s);
	return r;
}
ROW(capture_query, "cuStreamQuery", "the stream is capturing", 900, NOW, TEXT, "not permitted while capturing")
{
	CUresult r;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	r = cuStreamQuery(on.s);
	forget(on.s);
	return r;
}
ROW(capture_broken, "cuStreamEndCapture", "the capture was broken by a wait", 901, NOW, TEXT,
    "invalidated due to a previous error")
{
	CUgraph g;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	(void)cuStreamSynchronize(on.s);
	return cuStreamEndCapture(on.s, &g);
}
ROW(capture_broken_use, "cuMemsetD8Async", "the capture was broken", 901, NOW, TEXT,
    "invalidated due to a previous error")
{
	CUresult r;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	(void)cuStreamSynchronize(on.s);
	r = cuMemsetD8Async(on.p, 0, 16, on.s);
	forget(on.s);
	return r;
}
ROW(capture_unjoined, "cuStreamEndCapture", "a fork that was not joined", 904, NOW, TEXT, "UNJOINED")
{
	CUstream t = blocking();
	CUresult r;
	CUevent e;
	CUgraph g;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuEventRecord(e, on.s));
	MUST(cuStreamWaitEvent(t, e, 0));
	MUST(cuMemsetD8Async(on.p, 0, 16, t));
	r = cuStreamEndCapture(on.s, &g);
	MUST(cuEventDestroy(e));
	MUST(cuStreamDestroy(t));
	return r;
}
ROW(capture_legacy_use, "cuMemsetD8Async", "on the legacy stream while a blocking stream captures", 906, NOW, TEXT,
    "disallowed implicit dependency")
{
	CUstream t = blocking();
	CUresult r;

	MUST(cuStreamBeginCapture(t, CU_STREAM_CAPTURE_MODE_RELAXED));
	r = cuMemsetD8Async(on.p, 0, 16, NULL);
	forget(t);
	MUST(cuStreamDestroy(t));
	return r;
}
ROW(capture_merge, "cuStreamWaitEvent", "an event of another capture", 902, NOW, TEXT, "merge of two captures")
{
	CUstream t = blocking();
	CUresult r;
	CUevent e;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuStreamBeginCapture(t, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuEventRecord(e, on.s));
	r = cuStreamWaitEvent(t, e, 0);
	forget(on.s);
	forget(t);
	MUST(cuEventDestroy(e));
	MUST(cuStreamDestroy(t));
	return r;
}
ROW(capture_isolation, "cuStreamWaitEvent", "an event from outside the capture", 905, NOW, TEXT,
    "a dependency that crosses the border")
{
	CUstream t = blocking();
	CUresult r;
	CUevent e;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuEventRecord(e, t));
	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	r = cuStreamWaitEvent(on.s, e, 0);
	forget(on.s);
	MUST(cuEventDestroy(e));
	MUST(cuStreamDestroy(t));
	return r;
}

static CUresult captured(CUresult (*call)(CUevent))
{
	CUresult r;
	CUevent e;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuEventRecord(e, on.s));
	r = call(e);
	forget(on.s);
	MUST(cuEventDestroy(e));
	return r;
}
ROW(captured_query, "cuEventQuery", "recorded in a capturing stream", 907, NOW, TEXT, "CAPTURED_EVENT")
{
	return captured(cuEventQuery);
}
ROW(captured_wait, "cuEventSynchronize", "recorded in a capturing stream", 907, NOW, TEXT, "CAPTURED_EVENT")
{
	return captured(cuEventSynchronize);
}

static void *end_here(void *arg)
{
	CUgraph g;

	MUST(cuCtxSetCurrent(on.ctx));
	*(CUresult *)arg = cuStreamEndCapture(on.s, &g);
	return NULL;
}
ROW(capture_thread, "cuStreamEndCapture", "from another thread", 908, NOW, TEXT, "WRONG_THREAD unless relaxed")
{
	CUresult r = CUDA_SUCCESS;
	pthread_t t;

	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	if (!pthread_create(&t, NULL, end_here, &r))
		pthread_join(t, NULL);
	forget(on.s);
	return r;
}
ROW(capture_other_end, "cuStreamEndCapture", "a stream that was forked into", 903, NOW, TEXT,
    "the capture was not initiated in this stream")
{
	CUstream t = blocking();
	CUresult r;
	CUevent e;
	CUgraph g;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuStreamBeginCapture(on.s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuEventRecord(e, on.s));
	MUST(cuStreamWaitEvent(t, e, 0));
	r = cuStreamEndCapture(t, &g);
	forget(on.s);
	MUST(cuEventDestroy(e));
	MUST(cuStreamDestroy(t));
	return r;
}

/* ---- Graphs ---- */

ROW(graph_flags, "cuGraphCreate", "flags 5", 1, NOW, LISTED, "must be 0")
{
	CUgraph g;

	return cuGraphCreate(&g, 5);
}
static CUgraph graph_of_two(CUgraphNode n[2])
{
	CUgraph g;

	MUST(cuGraphCreate(&g, 0));
	MUST(cuGraphAddEmptyNode(&n[0], g, NULL, 0));
	MUST(cuGraphAddEmptyNode(&n[1], g, &n[0], 1));
	return g;
}
ROW(graph_edge_twice, "cuGraphAddDependencies", "an edge that is there", 1, NOW, TEXT,
    "an existing dependency returns an error")
{
	CUgraphNode n[2];
	CUgraph g = graph_of_two(n);
	CUresult r = cuGraphAddDependencies(g, &n[0], &n[1], 1);

	MUST(cuGraphDestroy(g));
	return r;
}
ROW(graph_self, "cuGraphAddDependencies", "a node on itself", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUgraphNode n[2];
	CUgraph g = graph_of_two(n);
	CUresult r = cuGraphAddDependencies(g, &n[1], &n[1], 1);

	MUST(cuGraphDestroy(g));
	return r;
}
ROW(graph_kind, "cuGraphKernelNodeGetParams", "an empty node", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUDA_KERNEL_NODE_PARAMS k;
	CUgraphNode n[2];
	CUgraph g = graph_of_two(n);
	CUresult r = cuGraphKernelNodeGetParams(n[0], &k);

	MUST(cuGraphDestroy(g));
	return r;
}
ROW(graph_foreign, "cuGraphAddEmptyNode", "depends on a node of another graph", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUgraphNode n[2], m[2], x;
	CUgraph g = graph_of_two(n), h = graph_of_two(m);
	CUresult r = cuGraphAddEmptyNode(&x, g, &m[0], 1);

	MUST(cuGraphDestroy(g));
	MUST(cuGraphDestroy(h));
	return r;
}
ROW(graph_update, "cuGraphExecUpdate", "another shape", 910, NOW, TEXT, "GRAPH_EXEC_UPDATE_FAILURE")
{
	CUgraphExecUpdateResultInfo info;
	CUgraphNode n[2], x;
	CUgraph g = graph_of_two(n);
	CUgraphExec exec;
	CUresult r;

	MUST(cuGraphInstantiate(&exec, g, 0));
	MUST(cuGraphAddEmptyNode(&x, g, NULL, 0));
	r = cuGraphExecUpdate(exec, g, &info);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(g));
	return r;
}
ROW(graph_launch_null, "cuGraphLaunch", "hGraphExec NULL", 1, NOW, LISTED, "INVALID_VALUE")
{
	return cuGraphLaunch(NULL, on.s);
}
ROW(graph_grid, "cuGraphAddKernelNode", "blockDimX 2048", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUDA_KERNEL_NODE_PARAMS k = {.func = on.nothing, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1,
				     .blockDimX = 2048, .blockDimY = 1, .blockDimZ = 1};
	CUgraphExec exec = NULL;
	CUgraphNode n;
	CUgraph g;
	CUresult r;

	MUST(cuGraphCreate(&g, 0));
	r = cuGraphAddKernelNode(&n, g, NULL, 0, &k);
	if (r == CUDA_SUCCESS)
		r = cuGraphInstantiate(&exec, g, 0);
	MUST(cuGraphDestroy(g));
	return r;
}

/* ---- Less common nodes ---- */

static void CUDA_CB nothing(void *data)
{
}
ROW(user_flags, "cuUserObjectCreate", "flags 0", 1, NOW, TEXT, "flags must be NO_DESTRUCTOR_SYNC")
{
	CUuserObject o;

	return cuUserObjectCreate(&o, &on, nothing, 1, 0);
}
ROW(user_count, "cuUserObjectRelease", "more references than there are", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUuserObject o;
	CUresult r;

	MUST(cuUserObjectCreate(&o, &on, nothing, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	r = cuUserObjectRelease(o, 2);
	MUST(cuUserObjectRelease(o, 1));
	return r;
}
ROW(graph_release_user, "cuGraphReleaseUserObject", "an object that the graph does not hold", 1, NOW, LISTED,
    "INVALID_VALUE")
{
	CUuserObject o;
	CUgraph g;
	CUresult r;

	MUST(cuGraphCreate(&g, 0));
	MUST(cuUserObjectCreate(&o, &on, nothing, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	r = cuGraphReleaseUserObject(g, o, 1);
	MUST(cuUserObjectRelease(o, 1));
	MUST(cuGraphDestroy(g));
	return r;
}
ROW(memop_none, "cuGraphAddBatchMemOpNode", "count 0", 1, NOW, LISTED, "INVALID_VALUE")
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS p = {NULL, 0, NULL, 0};
	CUgraphNode n;
	CUgraph g;
	CUresult r;

	MUST(cuGraphCreate(&g, 0));
	r = cuGraphAddBatchMemOpNode(&n, g, NULL, 0, &p);
	MUST(cuGraphDestroy(g));
	return r;
}
ROW(condition_flags, "cuGraphConditionalHandleCreate", "flags 2", 1, NOW, TEXT, "flags: ASSIGN_DEFAULT or 0")
{
	CUgraphConditionalHandle h;
	CUgraph g;
	CUresult r;

	MUST(cuGraphCreate(&g, 0));
	r = cuGraphConditionalHandleCreate(&h, g, NULL, 0, 2);
	MUST(cuGraphDestroy(g));
	return r;
}
ROW(condition_unused, "cuGraphInstantiate", "a conditional handle without a node", 1, NOW, GUESS,
    "instantiation names it as a result of its own; the code is a guess")
{
	CUgraphConditionalHandle h;
	CUgraphExec x;
	CUgraph g;
	CUresult r;

	MUST(cuGraphCreate(&g, 0));
	MUST(cuGraphConditionalHandleCreate(&h, g, NULL, 0, 0));
	r = cuGraphInstantiate(&x, g, 0);
	MUST(cuGraphDestroy(g));
	return r;
}
ROW(capture_update, "cuStreamUpdateCaptureDependencies", "a stream that does not capture", 401, NOW, TEXT,
    "ILLEGAL_STATE")
{
	return cuStreamUpdateCaptureDependencies(on.s, NULL, 0, 0);
}
ROW(logs_flags, "cuLogsCurrent", "flags 1", 1, NOW, TEXT, "reserved, must be 0")
{
	CUlogIterator i;

	return cuLogsCurrent(&i, 1);
}
