/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA graphs and captures, call by call; no kernels. */
#include "test-fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic int step;
static int seen[8];

static void note(void *arg)
{
	seen[(intptr_t)arg] = ++step;
}

static void reset(void)
{
	step = 0;
	memset(seen, 0, sizeof(seen));
}

static CUDA_MEMCPY3D down(void *host, CUdeviceptr dev, size_t n)
{
	return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = dev,
			       .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = host,
			       .WidthInBytes = n, .Height = 1, .Depth = 1};
}

MP_TEST(explicit_graph)
{
	CUDA_MEMSET_NODE_PARAMS set = {.value = 7, .elementSize = 4, .width = 256, .height = 1};
	CUDA_HOST_NODE_PARAMS h = {note, (void *)1};
	CUcontext ctx = fixture_context();
	unsigned out[256], i;
	CUgraphNode a, b, c, list[4], from[4], to[4];
	CUDA_MEMCPY3D cp;
	CUgraphExec x;
	CUgraph g;
	CUgraphNodeType type;
	CUdeviceptr d;
	CUstream s;
	size_t n = 4;

	reset();
	memset(out, 0, sizeof(out));
	MP_OK(cuMemAlloc_v2(&d, 1024));
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuGraphCreate(&g, 0));
	set.dst = d;
	cp = down(out, d, 1024);
	MP_OK(cuGraphAddMemsetNode(&a, g, NULL, 0, &set, ctx));
	MP_OK(cuGraphAddMemcpyNode(&b, g, &a, 1, &cp, ctx));
	MP_OK(cuGraphAddHostNode(&c, g, &b, 1, &h));
	MP_IS(cuGraphAddHostNode(&c, g, NULL, 1, &h), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuGraphGetNodes(g, list, &n));
	MP_CHECK(n == 3 && list[0] == a && list[2] == c);
	n = 4;
	MP_OK(cuGraphGetEdges(g, from, to, &n));
	MP_CHECK(n == 2 && from[0] == a && to[0] == b);
	n = 4;
	MP_OK(cuGraphGetRootNodes(g, list, &n));
	MP_CHECK(n == 1 && list[0] == a);
	MP_OK(cuGraphNodeGetType(b, &type));
	MP_CHECK_EQ(type, CU_GRAPH_NODE_TYPE_MEMCPY);
	MP_OK(cuGraphInstantiateWithFlags(&x, g, 0));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	for (i = 0; i < 256 && out[i] == 7; i++)
		;
	MP_CHECK_EQ(i, 256);
	MP_CHECK_EQ(seen[1], 1);
	/* The executable graph is its own: parameters change there and only there. */
	set.value = 9;
	MP_OK(cuGraphExecMemsetNodeSetParams(x, a, &set, ctx));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK_EQ(out[200], 9);
	MP_CHECK_EQ(step, 3);
	MP_OK(cuGraphMemsetNodeGetParams(a, &set));
	MP_CHECK_EQ(set.value, 7);
	MP_OK(cuGraphNodeSetEnabled(x, b, 0));
	MP_OK(cuMemsetD32_v2(d, 1, 256));
	out[0] = 5;
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK_EQ(out[0], 5);
	/* A cycle is found when it matters. */
	MP_OK(cuGraphAddDependencies(g, &c, &a, 1));
	MP_IS(cuGraphInstantiateWithFlags(&x, g, 0), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuGraphRemoveDependencies(g, &c, &a, 1));
	MP_OK(cuGraphExecDestroy(x));
	MP_IS(cuGraphLaunch(x, s), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuGraphDestroyNode(b));
	n = 4;
	MP_OK(cuGraphGetEdges(g, NULL, NULL, &n));
	MP_CHECK_EQ(n, 0);
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuStreamDestroy_v2(s));
	MP_OK(cuMemFree_v2(d));
	fixture_done();
}

MP_TEST(children_and_clones)
{
	CUDA_HOST_NODE_PARAMS h0 = {note, (void *)0}, h1 = {note, (void *)1}, h2 = {note, (void *)2};
	CUgraph child, g, clone;
	CUgraphNode a, b, c, in, found;
	CUgraphExec x;

	fixture_context();
	reset();
	MP_OK(cuGraphCreate(&child, 0));
	MP_OK(cuGraphAddHostNode(&in, child, NULL, 0, &h1));
	MP_OK(cuGraphCreate(&g, 0));
	MP_OK(cuGraphAddHostNode(&a, g, NULL, 0, &h0));
	MP_OK(cuGraphAddChildGraphNode(&b, g, &a, 1, child));
	MP_OK(cuGraphAddHostNode(&c, g, &b, 1, &h2));
	MP_OK(cuGraphClone(&clone, g));
	MP_OK(cuGraphNodeFindInClone(&found, c, clone));
	MP_OK(cuGraphDestroy(child));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuGraphInstantiateWithFlags(&x, clone, 0));
	MP_OK(cuGraphLaunch(x, NULL));
	MP_OK(cuStreamSynchronize(NULL));
	MP_CHECK(seen[0] == 1 && seen[1] == 2 && seen[2] == 3);
	MP_OK(cuGraphExecDestroy(x));
	MP_OK(cuGraphDestroy(clone));
	fixture_done();
}

MP_TEST(captured_graph)
{
	unsigned host[64];
	CUstream s, t;
	CUevent fork_event, join_event;
	CUstreamCaptureStatus st;
	const CUgraphNode *deps;
	cuuint64_t id = 0;
	CUgraph g, g2;
	CUgraphExec x;
	CUgraphExecUpdateResultInfo info;
	CUdeviceptr d;
	size_t n;

	fixture_context();
	reset();
	memset(host, 0, sizeof(host));
	MP_OK(cuMemAlloc_v2(&d, 256));
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MP_OK(cuEventCreate(&fork_event, 0));
	MP_OK(cuEventCreate(&join_event, 0));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	MP_IS(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_ERROR_ILLEGAL_STATE);
	MP_OK(cuMemsetD32Async(d, 3, 64, s));
	MP_OK(cuEventRecord(fork_event, s));
	MP_OK(cuStreamWaitEvent(t, fork_event, 0));
	MP_OK(cuMemcpyDtoHAsync_v2(host, d, 256, t));
	MP_OK(cuLaunchHostFunc(s, note, (void *)4));
	MP_OK(cuStreamIsCapturing(t, &st));
	MP_CHECK_EQ(st, CU_STREAM_CAPTURE_STATUS_ACTIVE);
	MP_OK(cuEventRecord(join_event, t));
	MP_OK(cuStreamWaitEvent(s, join_event, 0));
	MP_OK(cuStreamGetCaptureInfo_v2(s, &st, &id, NULL, &deps, &n));
	MP_CHECK(n == 2 && id);
	MP_IS(cuStreamEndCapture(t, &g), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_ILLEGAL_STATE);
	MP_CHECK_EQ(step, 0);
	for (n = 0; n < 2; n++) {
		MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
		MP_OK(cuMemsetD32Async(d, n ? 4 : 3, 64, s));
		MP_OK(cuEventRecord(fork_event, s));
		MP_OK(cuStreamWaitEvent(t, fork_event, 0));
		MP_OK(cuMemcpyDtoHAsync_v2(host, d, 256, t));
		MP_OK(cuLaunchHostFunc(s, note, (void *)4));
		MP_OK(cuEventRecord(join_event, t));
		MP_OK(cuStreamWaitEvent(s, join_event, 0));
		MP_OK(cuStreamEndCapture(s, n ? &g2 : &g));
	}
	MP_CHECK_EQ(host[0], 0);
	MP_OK(cuGraphInstantiateWithFlags(&x, g, 0));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK(host[63] == 3 && seen[4] == 1);
	MP_OK(cuGraphExecUpdate_v2(x, g2, &info));
	MP_CHECK_EQ(info.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK_EQ(host[63], 4);
	MP_OK(cuGraphExecDestroy(x));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuGraphDestroy(g2));
	MP_OK(cuEventDestroy_v2(fork_event));
	MP_OK(cuEventDestroy_v2(join_event));
	MP_OK(cuStreamDestroy_v2(s));
	MP_OK(cuStreamDestroy_v2(t));
	MP_OK(cuMemFree_v2(d));
	fixture_done();
}

struct other {
	CUresult alloc, end;
	CUcontext ctx;
	CUstream s;
};

static void *other_thread(void *arg)
{
	struct other *o = arg;
	CUdeviceptr d = 0;
	CUgraph g;

	cuCtxSetCurrent(o->ctx);
	o->alloc = cuMemAlloc_v2(&d, 16);
	o->end = cuStreamEndCapture(o->s, &g);
	if (!o->alloc)
		cuMemFree_v2(d);
	return NULL;
}

MP_TEST(capture_rules)
{
	struct other other;
	CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
	CUstream s, t;
	CUevent e, f;
	CUdeviceptr d;
	CUgraph g;
	CUlibrary lib;
	pthread_t thread;

	other.ctx = fixture_context();
	MP_OK(cuStreamCreate(&s, CU_STREAM_DEFAULT));
	MP_OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MP_OK(cuEventCreate(&e, 0));
	MP_OK(cuEventCreate(&f, 0));
	other.s = s;
	MP_IS(cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL),
	      CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_ILLEGAL_STATE);
	/* Unsafe call. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_IS(cuMemAlloc_v2(&d, 16), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	/* The same, relaxed. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuThreadExchangeStreamCaptureMode(&mode));
	MP_CHECK_EQ(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
	MP_OK(cuMemAlloc_v2(&d, 16));
	MP_OK(cuMemFree_v2(d));
	MP_OK(cuThreadExchangeStreamCaptureMode(&mode));
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphDestroy(g));
	/* The runtime loads a library at the first launch of one of its kernels, captured or not. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuLibraryLoadData(&lib, ".version 8.0\n.target sm_75\n.address_size 64\n"
				".entry k() { ret; }\n", NULL, NULL, 0, NULL, NULL, 0));
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuLibraryUnload(lib));
	/* Another thread, against a global capture and a thread-local one. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	pthread_create(&thread, NULL, other_thread, &other);
	pthread_join(thread, NULL);
	MP_CHECK_EQ(other.alloc, CUDA_SUCCESS);
	MP_CHECK_EQ(other.end, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	pthread_create(&thread, NULL, other_thread, &other);
	pthread_join(thread, NULL);
	MP_CHECK_EQ(other.alloc, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	/* Synchronising, the legacy stream, captured events, isolation, merging, joining. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_IS(cuStreamSynchronize(s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	MP_IS(cuLaunchHostFunc(s, note, NULL), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_IS(cuLaunchHostFunc(NULL, note, NULL), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_OK(cuEventRecord(e, s));
	MP_IS(cuEventQuery(e), CUDA_ERROR_CAPTURED_EVENT);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_OK(cuEventRecord(f, t));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_IS(cuStreamWaitEvent(s, f, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_OK(cuStreamBeginCapture_v2(t, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_OK(cuEventRecord(e, s));
	MP_IS(cuStreamWaitEvent(t, e, 0), CUDA_ERROR_STREAM_CAPTURE_MERGE);
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_IS(cuStreamEndCapture(t, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MP_OK(cuEventRecord(e, s));
	MP_OK(cuStreamWaitEvent(t, e, 0));
	MP_OK(cuLaunchHostFunc(t, note, NULL));
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
	MP_OK(cuStreamSynchronize(t));
	MP_OK(cuStreamSynchronize(NULL));
	/* A stream that was joined may be destroyed before the capture ends; one that was not, may not. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuEventRecord(e, s));
	MP_OK(cuStreamWaitEvent(t, e, 0));
	MP_OK(cuLaunchHostFunc(t, note, NULL));
	MP_OK(cuEventRecord(f, t));
	MP_OK(cuStreamWaitEvent(s, f, 0));
	MP_OK(cuStreamDestroy_v2(t));
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuEventRecord(e, s));
	MP_OK(cuStreamWaitEvent(t, e, 0));
	MP_OK(cuLaunchHostFunc(t, note, NULL));
	MP_OK(cuStreamDestroy_v2(t));
	MP_IS(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
	MP_OK(cuEventDestroy_v2(e));
	MP_OK(cuEventDestroy_v2(f));
	MP_OK(cuStreamDestroy_v2(s));
	fixture_done();
}

MP_TEST(graph_memory)
{
	CUdeviceptr p = 0;
	CUgraphExec x;
	CUgraph g;
	CUstream s;
	uint64_t used = 1;
	unsigned v = 0;
	size_t before, after, total;

	fixture_context();
	MP_OK(cuMemGetInfo_v2(&before, &total));
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuMemAllocAsync(&p, 1 << 20, s));
	MP_OK(cuMemsetD32Async(p, 11, 16, s));
	MP_OK(cuMemcpyDtoHAsync_v2(&v, p, 4, s));
	MP_OK(cuMemFreeAsync(p, s));
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphInstantiateWithFlags(&x, g, 0));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK_EQ(v, 11);
	MP_OK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
	MP_CHECK_EQ(used, 0);
	MP_OK(cuGraphExecDestroy(x));
	MP_OK(cuGraphDestroy(g));
	/* An allocation that outlives its launch. */
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuMemAllocAsync(&p, 1 << 20, s));
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphInstantiateWithFlags(&x, g, 0));
	MP_OK(cuGraphLaunch(x, s));
	MP_IS(cuGraphLaunch(x, s), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuMemsetD32Async(p, 12, 16, s));
	MP_OK(cuMemFreeAsync(p, s));
	MP_OK(cuStreamSynchronize(s));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuStreamSynchronize(s));
	MP_OK(cuMemFree_v2(p));
	MP_OK(cuGraphExecDestroy(x));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuMemGetInfo_v2(&after, &total));
	MP_CHECK_EQ(after, before);
	MP_OK(cuStreamDestroy_v2(s));
	fixture_done();
}

static int destroyed;

static void destroy(void *p)
{
	destroyed += *(int *)p;
}

MP_TEST(user_objects)
{
	CUuserObject o;
	CUgraph g, clone;
	int one = 1;

	fixture_context();
	destroyed = 0;
	MP_OK(cuUserObjectCreate(&o, &one, destroy, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	MP_OK(cuGraphCreate(&g, 0));
	MP_OK(cuGraphRetainUserObject(g, o, 1, CU_GRAPH_USER_OBJECT_MOVE));
	MP_OK(cuGraphClone(&clone, g));
	MP_OK(cuGraphDestroy(g));
	MP_CHECK_EQ(destroyed, 0);
	MP_OK(cuGraphDestroy(clone));
	MP_CHECK_EQ(destroyed, 1);
	fixture_done();
}

MP_TEST_MAIN()
