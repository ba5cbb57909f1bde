/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs whose parts run as device code says: a loop, a choice of two, a choice
 * of several, a loop in a loop; bodies by nodes and by capture; what is refused.
 */
#include "call.h"

static CUDA_KERNEL_NODE_PARAMS kernel(const char *name, unsigned blocks, unsigned threads, void **params)
{
	return (CUDA_KERNEL_NODE_PARAMS){.func = call_function(name), .gridDimX = blocks, .gridDimY = 1,
					 .gridDimZ = 1, .blockDimX = threads, .blockDimY = 1, .blockDimZ = 1,
					 .kernelParams = params};
}

static CUresult conditional(CUgraphNode *ret, CUgraph g, const CUgraphNode *deps, size_t n,
			    CUgraphConditionalHandle handle, CUgraphConditionalNodeType type, unsigned size,
			    CUgraph *bodies)
{
	CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
	CUresult r;
	unsigned i;

	p.conditional.handle = handle;
	p.conditional.type = type;
	p.conditional.size = size;
	r = cuGraphAddNode(ret, g, deps, n, &p);
	for (i = 0; r == CUDA_SUCCESS && i < size; i++)
		bodies[i] = p.conditional.phGraph_out[i];
	return r;
}

/* A step of p[1] and a countdown of p[0]. */
static void loop_body(CUgraph body, CUgraphConditionalHandle handle, CUdeviceptr p, unsigned factor, unsigned add)
{
	CUdeviceptr value = p + 4;
	unsigned one = 1;
	void *step[] = {&value, &one, &factor, &add}, *down[] = {&handle, &p};
	CUDA_KERNEL_NODE_PARAMS k = kernel("step", 1, 32, step);
	CUgraphNode node[2];

	MUST(cuGraphAddKernelNode(&node[0], body, NULL, 0, &k));
	k = kernel("count_down", 1, 1, down);
	MUST(cuGraphAddKernelNode(&node[1], body, &node[0], 1, &k));
}

static void run(CUgraphExec x, CUstream s, CUdeviceptr p, unsigned first, const char *what)
{
	unsigned v[2] = {first, 1};

	MUST(cuMemcpyHtoD(p, v, sizeof(v)));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	MUST(cuMemcpyDtoH(v, p, sizeof(v)));
	call_line("%s from %u: %u %u", what, first, v[0], v[1]);
}

static void loop(CUstream s, CUdeviceptr p)
{
	CUgraphConditionalHandle handle;
	CUgraphNode node, list[4];
	CUgraphNodeType type;
	CUgraph g, body, copy;
	CUgraphExec x;
	size_t n = 4;

	SAY(cuGraphCreate(&g, 0));
	SAY(cuGraphConditionalHandleCreate(&handle, g, NULL, 1, CU_GRAPH_COND_ASSIGN_DEFAULT));
	SAY(conditional(&node, g, NULL, 0, handle, CU_GRAPH_COND_TYPE_WHILE, 1, &body));
	loop_body(body, handle, p, 3, 1);
	SAY(cuGraphNodeGetType(node, &type));
	SAY(cuGraphGetNodes(body, list, &n));
	call_line("type %d, %zu nodes in the body", type, n);
	SAY(cuGraphDestroy(body)); /* its node owns it */
	SAY(cuGraphInstantiate(&x, g, 0));
	run(x, s, p, 1, "loop");
	run(x, s, p, 5, "loop");
	run(x, s, p, 700, "loop");
	SAY(cuGraphClone(&copy, g));
	SAY(cuGraphDestroy(g));
	SAY(cuGraphExecDestroy(x));
	SAY(cuGraphInstantiate(&x, copy, 0));
	run(x, s, p, 4, "copy");
	SAY(cuGraphExecDestroy(x));
	SAY(cuGraphDestroy(copy));
}

static void choice(CUstream s, CUdeviceptr p, CUgraphConditionalNodeType type, unsigned size)
{
	CUgraphConditionalHandle handle;
	CUdeviceptr value = p + 4;
	unsigned one = 1, factor = 10, add, i;
	void *choose[] = {&handle, &p}, *step[] = {&value, &one, &factor, &add};
	CUDA_KERNEL_NODE_PARAMS k;
	CUgraphNode first, node, end, inner;
	CUgraph g, body[4];
	CUgraphExec x;

	MUST(cuGraphCreate(&g, 0));
	SAY(cuGraphConditionalHandleCreate(&handle, g, NULL, 0, 0));
	k = kernel("choose", 1, 1, choose);
	MUST(cuGraphAddKernelNode(&first, g, NULL, 0, &k));
	SAY(conditional(&node, g, &first, 1, handle, type, size, body));
	for (i = 0; i < size; i++) {
		add = i + 1;
		k = kernel("step", 1, 32, step);
		MUST(cuGraphAddKernelNode(&inner, body[i], NULL, 0, &k));
	}
	add = 7;
	k = kernel("step", 1, 32, step);
	MUST(cuGraphAddKernelNode(&end, g, &node, 1, &k));
	SAY(cuGraphInstantiate(&x, g, 0));
	for (i = 0; i < 5; i++)
		run(x, s, p, i, type == CU_GRAPH_COND_TYPE_IF ? "if" : "switch");
	MUST(cuGraphExecDestroy(x));
	MUST(cuGraphDestroy(g));
}

/* The outer loop runs p[0] times; the inner one p[2] times, from a copy of p[3]. */
static void nested(CUstream s, CUdeviceptr p)
{
	CUgraphConditionalHandle outer, inner;
	CUdeviceptr turns = p + 8, from = p + 12;
	unsigned v[4] = {3, 1, 0, 2}, one = 1;
	void *again[] = {&turns, &from, &one};
	CUDA_KERNEL_NODE_PARAMS k = kernel("words", 1, 32, again);
	CUgraphNode node, set, in;
	CUgraph g, body, deep;
	CUgraphExec x;
	CUstream t;

	MUST(cuGraphCreate(&g, 0));
	SAY(cuGraphConditionalHandleCreate(&outer, g, NULL, 1, CU_GRAPH_COND_ASSIGN_DEFAULT));
	SAY(conditional(&node, g, NULL, 0, outer, CU_GRAPH_COND_TYPE_WHILE, 1, &body));
	SAY(cuGraphConditionalHandleCreate(&inner, body, NULL, 1, CU_GRAPH_COND_ASSIGN_DEFAULT));
	MUST(cuGraphAddKernelNode(&set, body, NULL, 0, &k));
	SAY(conditional(&in, body, &set, 1, inner, CU_GRAPH_COND_TYPE_WHILE, 1, &deep));
	{
		void *down[] = {&inner, &turns}, *end[] = {&outer, &p};

		/* The inner body by capture. */
		MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
		SAY(cuStreamBeginCaptureToGraph(t, deep, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
		call_step(p + 4, 1, 2, 1, t);
		MUST(cuLaunchKernel(call_function("count_down"), 1, 1, 1, 1, 1, 1, 0, t, down, NULL));
		SAY(cuStreamEndCapture(t, &deep));
		k = kernel("count_down", 1, 1, end);
		MUST(cuGraphAddKernelNode(&node, body, &in, 1, &k));
	}
	SAY(cuGraphInstantiate(&x, g, 0));
	MUST(cuMemcpyHtoD(p, v, sizeof(v)));
	SAY(cuGraphLaunch(x, s));
	MUST(cuStreamSynchronize(s));
	MUST(cuMemcpyDtoH(v, p, sizeof(v)));
	call_line("nested: %u %u %u %u", v[0], v[1], v[2], v[3]);
	SAY(cuGraphExecDestroy(x));
	MUST(cuStreamDestroy(t));
	MUST(cuGraphDestroy(g));
}

static void refused(void)
{
	CUgraphConditionalHandle handle;
	CUgraphNode node, other;
	CUgraph g, h, body[2];
	CUgraphExec x;
	CUevent e;

	MUST(cuGraphCreate(&g, 0));
	MUST(cuGraphCreate(&h, 0));
	SAY(cuGraphConditionalHandleCreate(NULL, g, NULL, 1, 0));
	SAY(cuGraphConditionalHandleCreate(&handle, NULL, NULL, 1, 0));
	SAY(cuGraphConditionalHandleCreate(&handle, g, NULL, 1, 2));
	SAY(cuGraphConditionalHandleCreate(&handle, g, NULL, 1, 0));
	SAY(cuGraphInstantiate(&x, g, 0)); /* nobody uses the handle */
	SAY(conditional(&node, h, NULL, 0, handle, CU_GRAPH_COND_TYPE_IF, 1, body)); /* of another graph */
	SAY(conditional(&node, g, NULL, 0, handle + 1, CU_GRAPH_COND_TYPE_IF, 1, body));
	SAY(conditional(&node, g, NULL, 0, handle, CU_GRAPH_COND_TYPE_WHILE, 2, body));
	SAY(conditional(&node, g, NULL, 0, handle, CU_GRAPH_COND_TYPE_IF, 0, body));
	SAY(conditional(&node, g, NULL, 0, handle, CU_GRAPH_COND_TYPE_IF, 1, body));
	SAY(conditional(&other, g, NULL, 0, handle, CU_GRAPH_COND_TYPE_IF, 1, body + 1)); /* again */
	SAY(cuGraphInstantiate(&x, g, 0));
	SAY(cuGraphExecDestroy(x));
	MUST(cuEventCreate(&e, 0));
	MUST(cuGraphAddEventRecordNode(&other, body[0], NULL, 0, e));
	SAY(cuGraphInstantiate(&x, g, 0)); /* no events in bodies */
	SAY(cuGraphDestroyNode(node));
	MUST(cuGraphDestroy(g));
	MUST(cuGraphDestroy(h));
	MUST(cuEventDestroy(e));
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(64);
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	loop(s, p);
	choice(s, p, CU_GRAPH_COND_TYPE_IF, 1);
	choice(s, p, CU_GRAPH_COND_TYPE_IF, 2);
	choice(s, p, CU_GRAPH_COND_TYPE_SWITCH, 3);
	refused();
	nested(s, p);
	return call_end(ctx);
}
