/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An explicit graph: kernels, memset, copies, a host function; launched several
 * times, its kernel's parameters changed, updated as a whole, cloned.
 */
#include "call.h"

#define N 3000

struct ticks {
	unsigned n;
};

static void CUDA_CB tick(void *data)
{
	((struct ticks *)data)->n++;
}

static CUDA_KERNEL_NODE_PARAMS kernel(const char *name, unsigned n, void **params)
{
	CUDA_KERNEL_NODE_PARAMS k = {
		.func = call_function(name), .gridDimX = (n + 255) / 256, .gridDimY = 1, .gridDimZ = 1,
		.blockDimX = 256, .blockDimY = 1, .blockDimZ = 1, .kernelParams = params};

	return k;
}

static void linear_copy(CUDA_MEMCPY3D *c, CUmemorytype from, CUmemorytype to, size_t n)
{
	memset(c, 0, sizeof(*c));
	c->srcMemoryType = from;
	c->dstMemoryType = to;
	c->WidthInBytes = n;
	c->Height = c->Depth = 1;
	c->srcPitch = c->dstPitch = n;
	c->srcHeight = c->dstHeight = 1;
}

static void shape(CUgraph g)
{
	CUgraphNode nodes[16];
	size_t n = 0, roots = 0, edges = 0, i;
	unsigned kinds[16] = {0};

	SAY(cuGraphGetNodes(g, NULL, &n));
	SAY(cuGraphGetRootNodes(g, NULL, &roots));
	SAY(cuGraphGetEdges(g, NULL, NULL, &edges));
	if (n <= COUNT(nodes) && cuGraphGetNodes(g, nodes, &n) == CUDA_SUCCESS)
		for (i = 0; i < n; i++) {
			CUgraphNodeType type;

			MUST(cuGraphNodeGetType(nodes[i], &type));
			if ((unsigned)type < COUNT(kinds))
				kinds[type]++;
		}
	call_line("nodes=%zu roots=%zu edges=%zu kernels=%u copies=%u memsets=%u hosts=%u empty=%u", n, roots, edges,
		  kinds[CU_GRAPH_NODE_TYPE_KERNEL], kinds[CU_GRAPH_NODE_TYPE_MEMCPY],
		  kinds[CU_GRAPH_NODE_TYPE_MEMSET], kinds[CU_GRAPH_NODE_TYPE_HOST],
		  kinds[CU_GRAPH_NODE_TYPE_EMPTY]);
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr a = call_alloc(N * 4), b = call_alloc(N * 4);
	unsigned n = N, factor = 3, add = 1, i, *host;
	void *step_a[] = {&a, &n, &factor, &add}, *move[] = {&b, &a, &n};
	CUDA_KERNEL_NODE_PARAMS k;
	CUDA_MEMSET_NODE_PARAMS set = {.dst = a, .value = 2, .elementSize = 4, .width = N, .height = 1};
	CUDA_MEMCPY3D copy;
	struct ticks ticks = {0};
	CUDA_HOST_NODE_PARAMS call = {tick, &ticks};
	CUgraph g, clone;
	CUgraphNode node[7];
	CUgraphExec x, y;
	CUgraphExecUpdateResultInfo info;
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocHost((void **)&host, N * 4));
	memset(host, 0, N * 4);
	SAY(cuGraphCreate(&g, 0));
	SAY(cuGraphAddMemsetNode(&node[0], g, NULL, 0, &set, ctx));
	k = kernel("step", N, step_a);
	SAY(cuGraphAddKernelNode(&node[1], g, &node[0], 1, &k));
	factor = 5, add = 7;
	SAY(cuGraphAddKernelNode(&node[2], g, &node[1], 1, &k));
	k = kernel("words", N, move);
	SAY(cuGraphAddKernelNode(&node[3], g, &node[2], 1, &k));
	linear_copy(&copy, CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST, N * 4);
	copy.srcDevice = b;
	copy.dstHost = host;
	SAY(cuGraphAddMemcpyNode(&node[4], g, &node[3], 1, &copy, ctx));
	SAY(cuGraphAddHostNode(&node[5], g, &node[4], 1, &call));
	SAY(cuGraphAddEmptyNode(&node[6], g, &node[1], 1));
	shape(g);
	SAY(cuGraphInstantiate(&x, g, 0));
	for (i = 0; i < 3; i++) {
		SAY(cuGraphLaunch(x, s));
		SAY(cuStreamSynchronize(s));
		call_line("launch %u: host[0]=%u host[%u]=%u ticks=%u", i, host[0], N - 1, host[N - 1], ticks.n);
	}
	/* Another parameter in the second step. */
	k = kernel("step", N, step_a);
	factor = 11, add = 13;
	SAY(cuGraphExecKernelNodeSetParams(x, node[2], &k));
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("changed: host[0]=%u ticks=%u", host[0], ticks.n);
	/* The graph itself changes, the executable follows. */
	factor = 2, add = 0;
	SAY(cuGraphKernelNodeSetParams(node[1], &k));
	memset(&info, 0, sizeof(info));
	SAY(cuGraphExecUpdate(x, g, &info));
	call_line("update result %d", info.result);
	SAY(cuGraphLaunch(x, s));
	SAY(cuStreamSynchronize(s));
	call_line("updated: host[0]=%u ticks=%u", host[0], ticks.n);
	SAY(cuGraphClone(&clone, g));
	shape(clone);
	SAY(cuGraphDestroy(g));
	SAY(cuGraphInstantiate(&y, clone, 0));
	SAY(cuGraphDestroy(clone));
	/* Ten launches in a row, then one wait. */
	for (i = 0; i < 10; i++)
		MUST(cuGraphLaunch(y, s));
	SAY(cuStreamSynchronize(s));
	call_line("ten: host[0]=%u ticks=%u sum=%016llx", host[0], ticks.n,
		  (unsigned long long)call_sum(host, N * 4));
	SAY(cuGraphExecDestroy(x));
	SAY(cuGraphExecDestroy(y));
	MUST(cuMemFreeHost(host));
	return call_end(ctx);
}
