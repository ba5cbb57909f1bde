/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Less common parts of graphs: waits and writes of values, nodes switched off,
 * attributes of kernel nodes, the calls for any type, user objects, nodes added
 * to a capture that is on; and the log of errors.
 */
#include "call.h"

#include <unistd.h>

static CUDA_KERNEL_NODE_PARAMS step_of(void **params)
{
	return (CUDA_KERNEL_NODE_PARAMS){.func = call_function("step"), .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1,
					 .blockDimX = 32, .blockDimY = 1, .blockDimZ = 1, .kernelParams = params};
}

static unsigned word(CUdeviceptr p)
{
	unsigned v;

	MUST(cuMemcpyDtoH(&v, p, sizeof(v)));
	return v;
}

static CUstreamBatchMemOpParams write_op(CUdeviceptr p, unsigned value)
{
	CUstreamBatchMemOpParams o = {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = p,
						     .value = value}};

	return o;
}

static void memops(CUstream s, CUdeviceptr p)
{
	CUstreamBatchMemOpParams ops[3] = {
		write_op(p, 11),
		{.waitValue = {.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32, .address = p + 4, .value = 5,
			       .flags = CU_STREAM_WAIT_VALUE_EQ}},
		write_op(p + 8, 12),
	};
	CUDA_BATCH_MEM_OP_NODE_PARAMS params = {NULL, 3, ops, 0}, got;
	CUgraphNodeType type;
	CUgraphNode node;
	CUgraphExec x;
	CUstream t;
	CUgraph g;

	MUST(cuCtxGetCurrent(&params.ctx));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MUST(cuMemsetD32(p, 0, 4));
	MUST(cuGraphCreate(&g, 0));
	SAY(cuGraphAddBatchMemOpNode(&node, g, NULL, 0, &params));
	SAY(cuGraphNodeGetType(node, &type));
	memset(&got, 0, sizeof(got));
	SAY(cuGraphBatchMemOpNodeGetParams(node, &got));
	call_line("type %d count %u value %u", type, got.count, got.count ? got.paramArray[0].writeValue.value : 0);
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamWriteValue32_v2(t, p + 4, 5, 0));
	SAY(cuStreamSynchronize(s));
	call_line("values %u %u", word(p), word(p + 8));
	ops[0] = write_op(p, 21);
	params.count = 1;
	SAY(cuGraphExecBatchMemOpNodeSetParams(x, node, &params));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("values %u %u", word(p), word(p + 8));
	ops[0] = write_op(p + 8, 31);
	SAY(cuGraphBatchMemOpNodeSetParams(node, &params));
	SAY(cuGraphExecDestroy(x));
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("values %u %u", word(p), word(p + 8));
	params.count = 0;
	SAY(cuGraphBatchMemOpNodeSetParams(node, &params));
	params.count = 1;
	params.flags = 1;
	SAY(cuGraphAddBatchMemOpNode(&node, g, NULL, 0, &params));
	params.flags = 0;
	ops[0] = write_op(p + 1, 1); /* not aligned */
	SAY(cuGraphAddBatchMemOpNode(&node, g, NULL, 0, &params));
	ops[0].operation = 77;
	SAY(cuGraphAddBatchMemOpNode(&node, g, NULL, 0, &params));
	SAY(cuGraphBatchMemOpNodeGetParams(node, NULL));
	MUST(cuGraphExecDestroy(x));
	MUST(cuGraphDestroy(g));
	MUST(cuStreamDestroy(t));
}

static void switched(CUstream s, CUdeviceptr p)
{
	unsigned n = 1, factor = 2, add = 1, on = 7;
	void *params[] = {&p, &n, &factor, &add};
	CUDA_KERNEL_NODE_PARAMS k = step_of(params);
	CUkernelNodeAttrValue v;
	CUgraphNodeParams any;
	CUgraphNode node, empty;
	CUgraphExec x;
	CUgraph g;

	MUST(cuMemsetD32(p, 1, 1));
	MUST(cuGraphCreate(&g, 0));
	MUST(cuGraphAddKernelNode(&node, g, NULL, 0, &k));
	MUST(cuGraphAddEmptyNode(&empty, g, &node, 1));
	memset(&v, 0, sizeof(v));
	v.priority = -1;
	SAY(cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
	memset(&v, 0, sizeof(v));
	SAY(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
	call_line("priority %d", v.priority);
	SAY(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &v));
	call_line("cooperative %d", v.cooperative);
	SAY(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, NULL));
	SAY(cuGraphKernelNodeGetAttribute(node, (CUkernelNodeAttrID)999, &v));
	SAY(cuGraphKernelNodeGetAttribute(empty, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
	MUST(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphNodeGetEnabled(x, node, &on));
	call_line("enabled %u", on);
	SAY(cuGraphNodeSetEnabled(x, node, 0));
	SAY(cuGraphNodeGetEnabled(x, node, &on));
	call_line("enabled %u", on);
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("off: %u", word(p));
	SAY(cuGraphNodeSetEnabled(x, node, 1));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("on: %u", word(p));
	SAY(cuGraphNodeGetEnabled(x, node, NULL));
	SAY(cuGraphNodeGetEnabled(NULL, node, &on));
	memset(&any, 0, sizeof(any));
	any.type = CU_GRAPH_NODE_TYPE_KERNEL;
	add = 100;
	memcpy(&any.kernel, &k, sizeof(k));
	SAY(cuGraphExecNodeSetParams(x, node, &any));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("changed: %u", word(p));
	any.type = CU_GRAPH_NODE_TYPE_MEMSET;
	SAY(cuGraphExecNodeSetParams(x, node, &any));
	SAY(cuGraphNodeSetParams(node, &any));
	SAY(cuGraphNodeSetParams(node, NULL));
	memset(&any, 0, sizeof(any));
	any.type = CU_GRAPH_NODE_TYPE_MEMSET;
	any.memset = (CUDA_MEMSET_NODE_PARAMS_v2){.dst = p, .value = 9, .elementSize = 4, .width = 1, .height = 1};
	SAY(cuGraphAddNode(&empty, g, &node, 1, &any));
	any.memset.value = 8;
	SAY(cuGraphNodeSetParams(empty, &any));
	MUST(cuGraphExecDestroy(x));
	MUST(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("set: %u", word(p));
	MUST(cuGraphExecDestroy(x));
	MUST(cuGraphDestroy(g));
}

static _Atomic unsigned ended;

static void CUDA_CB destroy(void *data)
{
	ended += *(unsigned *)data;
}

static void CUDA_CB wait_for(void *data)
{
	while (!*(volatile _Atomic unsigned *)data)
		usleep(100);
}

static void users(CUstream s)
{
	static unsigned one = 1, ten = 10, hundred = 100;
	static _Atomic unsigned go;
	CUDA_HOST_NODE_PARAMS call = {wait_for, (void *)&go};
	CUuserObject a, b, c;
	CUgraphNode node;
	CUgraph g, copy;
	CUgraphExec x;
	unsigned i;

	SAY(cuUserObjectCreate(&a, &one, destroy, 2, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectCreate(&b, &ten, destroy, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectCreate(&c, &hundred, destroy, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectCreate(&c, &hundred, destroy, 1, 0));
	SAY(cuUserObjectCreate(&c, &hundred, NULL, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectCreate(NULL, &hundred, destroy, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectCreate(&c, &hundred, destroy, 0, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	SAY(cuUserObjectRelease(a, 1));
	call_line("ended %u", ended);
	SAY(cuUserObjectRetain(a, 2));
	SAY(cuUserObjectRelease(a, 2));
	SAY(cuUserObjectRelease(a, 1));
	call_line("ended %u", ended);
	MUST(cuGraphCreate(&g, 0));
	SAY(cuGraphRetainUserObject(g, b, 1, CU_GRAPH_USER_OBJECT_MOVE));
	SAY(cuGraphRetainUserObject(g, c, 1, 0));
	SAY(cuGraphRetainUserObject(g, c, 0, 0));
	SAY(cuGraphRetainUserObject(g, NULL, 1, 0));
	SAY(cuGraphReleaseUserObject(g, c, 2));
	SAY(cuGraphReleaseUserObject(g, c, 1));
	SAY(cuUserObjectRelease(c, 1));
	call_line("ended %u", ended);
	MUST(cuGraphAddHostNode(&node, g, NULL, 0, &call));
	SAY(cuGraphClone(&copy, g));
	SAY(cuGraphDestroy(copy));
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphDestroy(g));
	call_line("ended %u", ended);
	SAY(cuGraphLaunch(x, s));
	SAY(cuGraphExecDestroy(x)); /* it runs still */
	call_line("ended %u", ended);
	go = 1;
	SAY(cuStreamSynchronize(s));
	for (i = 0; i < 5000 && ended < 111; i++)
		usleep(1000);
	call_line("ended %u", ended);
}

static void within(CUstream s, CUdeviceptr p)
{
	CUDA_MEMSET_NODE_PARAMS set = {.dst = p + 4, .value = 6, .elementSize = 4, .width = 1, .height = 1};
	CUstreamCaptureStatus status;
	const CUgraphNode *deps;
	CUgraph g = NULL, same = NULL;
	CUgraphNode node;
	CUcontext ctx;
	CUgraphExec x;
	cuuint64_t id;
	size_t n = 77;

	MUST(cuCtxGetCurrent(&ctx));
	MUST(cuMemsetD32(p, 2, 2));
	SAY(cuStreamUpdateCaptureDependencies(s, NULL, 0, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	call_step(p, 1, 3, 1, s);
	SAY(cuStreamGetCaptureInfo_v2(s, &status, &id, &g, &deps, &n));
	call_line("status %d graph %d dependencies %zu", status, g != NULL, n);
	SAY(cuGraphAddMemsetNode(&node, g, deps, n, &set, ctx));
	SAY(cuStreamUpdateCaptureDependencies(s, &node, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
	call_step(p + 4, 1, 10, 1, s);
	SAY(cuStreamGetCaptureInfo_v2(s, &status, &id, &same, &deps, &n));
	call_line("the same graph %d dependencies %zu", g == same, n);
	SAY(cuStreamUpdateCaptureDependencies(s, &node, 1, CU_STREAM_ADD_CAPTURE_DEPENDENCIES));
	SAY(cuStreamUpdateCaptureDependencies(s, &node, 1, 7));
	SAY(cuStreamGetCaptureInfo_v2(s, &status, &id, NULL, NULL, &n));
	call_line("dependencies %zu", n);
	SAY(cuStreamEndCapture(s, &same));
	call_line("the same graph %d", g == same);
	SAY(cuGraphGetNodes(g, NULL, &n));
	call_line("nodes %zu", n);
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("values %u %u", word(p), word(p + 4));
	MUST(cuGraphExecDestroy(x));
	SAY(cuGraphDestroy(g));
	/* One that is spoilt after it was asked for. */
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	call_step(p, 1, 3, 1, s);
	SAY(cuStreamGetCaptureInfo_v2(s, &status, &id, &g, &deps, &n));
	SAY(cuStreamSynchronize(s));
	SAY(cuStreamEndCapture(s, &same));
	call_line("graph %d", same != NULL);
	SAY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	SAY(cuStreamEndCapture(s, &same));
	SAY(cuGraphDestroy(same));
}

static _Atomic unsigned lines;

static void heard(void *data, CUlogLevel level, char *message, size_t length)
{
	if (data == &lines && level == CU_LOG_LEVEL_ERROR && message && length == strlen(message))
		lines++;
}

static void logs(void)
{
	CUdeviceptr bad = 16;
	unsigned value = 1;
	void *params[] = {&bad, &value};
	CUlogsCallbackHandle h;
	CUlogIterator begin, end;
	static char text[30000];
	size_t n = sizeof(text);

	SAY(cuLogsCurrent(&begin, 0));
	SAY(cuLogsCurrent(NULL, 0));
	SAY(cuLogsCurrent(&begin, 1));
	SAY(cuLogsRegisterCallback(heard, &lines, &h));
	SAY(cuLogsRegisterCallback(NULL, NULL, &h));
	MUST(cuLaunchKernel(call_function("poke"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuCtxSynchronize());
	call_line("heard %d", lines > 0);
	SAY(cuLogsCurrent(&end, 0));
	call_line("advanced %d", end != begin);
	SAY(cuLogsDumpToMemory(&begin, text, &n, 0));
	call_line("text %d, terminated %d, iterator %d", n > 20, text[n] == 0, begin == end);
	n = sizeof(text);
	SAY(cuLogsDumpToMemory(&begin, text, &n, 0));
	call_line("nothing new: %zu", n);
	SAY(cuLogsDumpToMemory(NULL, text, NULL, 0));
	SAY(cuLogsDumpToFile(NULL, "/dev/null", 0));
	SAY(cuLogsDumpToFile(NULL, NULL, 0));
	SAY(cuLogsUnregisterCallback(h));
	SAY(cuLogsUnregisterCallback(h));
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(64);
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	memops(s, p);
	switched(s, p);
	users(s);
	within(s, p);
	logs();
	(void)ctx;
	return 0;
}
