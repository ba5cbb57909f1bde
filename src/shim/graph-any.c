/* SPDX-License-Identifier: Apache-2.0 */
/* The calls for nodes of any type: each becomes the call of its type. */
#include "shim/graph-node.h"

#include <string.h>

static_assert(sizeof(CUDA_KERNEL_NODE_PARAMS) == sizeof(CUDA_KERNEL_NODE_PARAMS_v3), "the same shape under two names");
static_assert(sizeof(CUDA_BATCH_MEM_OP_NODE_PARAMS) == sizeof(CUDA_BATCH_MEM_OP_NODE_PARAMS_v2),
	      "the same shape under two names");

static CUDA_KERNEL_NODE_PARAMS kernel_of(const CUgraphNodeParams *p)
{
	CUDA_KERNEL_NODE_PARAMS k;

	memcpy(&k, &p->kernel, sizeof(k));
	return k;
}

static CUDA_MEMSET_NODE_PARAMS memset_of(const CUgraphNodeParams *p)
{
	return (CUDA_MEMSET_NODE_PARAMS){.dst = p->memset.dst, .pitch = p->memset.pitch,
					 .value = p->memset.value, .elementSize = p->memset.elementSize,
					 .width = p->memset.width, .height = p->memset.height};
}

static CUDA_HOST_NODE_PARAMS host_of(const CUgraphNodeParams *p)
{
	return (CUDA_HOST_NODE_PARAMS){p->host.fn, p->host.userData};
}

static CUDA_BATCH_MEM_OP_NODE_PARAMS memop_of(const CUgraphNodeParams *p)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS m;

	memcpy(&m, &p->memOp, sizeof(m));
	return m;
}

static CUresult add(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n, CUgraphNodeParams *p)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS ops;
	CUDA_KERNEL_NODE_PARAMS kernel;
	CUDA_MEMSET_NODE_PARAMS set;
	CUDA_HOST_NODE_PARAMS host;
	CUDA_MEM_ALLOC_NODE_PARAMS alloc;
	CUresult r;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
		kernel = kernel_of(p);
		return mp_shim_cuGraphAddKernelNode_v2(ret, h, deps, n, &kernel);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return mp_shim_cuGraphAddMemcpyNode(ret, h, deps, n, &p->memcpy.copyParams, p->memcpy.copyCtx);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		set = memset_of(p);
		return mp_shim_cuGraphAddMemsetNode(ret, h, deps, n, &set, p->memset.ctx);
	case CU_GRAPH_NODE_TYPE_HOST:
		host = host_of(p);
		return mp_shim_cuGraphAddHostNode(ret, h, deps, n, &host);
	case CU_GRAPH_NODE_TYPE_GRAPH:
		return mp_shim_cuGraphAddChildGraphNode(ret, h, deps, n, p->graph.graph);
	case CU_GRAPH_NODE_TYPE_EMPTY:
		return mp_shim_cuGraphAddEmptyNode(ret, h, deps, n);
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
		return mp_shim_cuGraphAddEventRecordNode(ret, h, deps, n, p->eventRecord.event);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
		return mp_shim_cuGraphAddEventWaitNode(ret, h, deps, n, p->eventWait.event);
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		ops = memop_of(p);
		return mp_shim_cuGraphAddBatchMemOpNode(ret, h, deps, n, &ops);
	case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
		memcpy(&alloc, &p->alloc, sizeof(alloc));
		r = mp_shim_cuGraphAddMemAllocNode(ret, h, deps, n, &alloc);
		p->alloc.dptr = alloc.dptr;
		return r;
	case CU_GRAPH_NODE_TYPE_MEM_FREE:
		return mp_shim_cuGraphAddMemFreeNode(ret, h, deps, n, p->free.dptr);
	case CU_GRAPH_NODE_TYPE_CONDITIONAL:
		return mp_condition_add(ret, h, deps, n, &p->conditional);
	default:
		return mp_refused(MP_CALL_cuGraphAddNode_v2);
	}
}

CUresult mp_shim_cuGraphAddNode_v2(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps,
				   const CUgraphEdgeData *data, size_t n, CUgraphNodeParams *p)
{
	size_t i;

	for (i = 0; data && i < n; i++)
		if (data[i].from_port || data[i].to_port || data[i].type)
			return mp_refused(MP_CALL_cuGraphAddNode_v2);
	return add(ret, h, deps, n, p);
}

CUresult mp_shim_cuGraphAddNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				CUgraphNodeParams *p)
{
	return add(ret, h, deps, n, p);
}

static CUresult type_check(CUgraphNode h, const CUgraphNodeParams *p)
{
	CUgraphNodeType type;
	CUresult r = p ? mp_shim_cuGraphNodeGetType(h, &type) : CUDA_ERROR_INVALID_VALUE;

	return !r && type != p->type ? CUDA_ERROR_INVALID_VALUE : r;
}

CUresult mp_shim_cuGraphNodeSetParams(CUgraphNode h, CUgraphNodeParams *p)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS ops;
	CUDA_KERNEL_NODE_PARAMS kernel;
	CUDA_MEMSET_NODE_PARAMS set;
	CUDA_HOST_NODE_PARAMS host;
	CUresult r = type_check(h, p);

	if (r)
		return r;
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
		kernel = kernel_of(p);
		return mp_shim_cuGraphKernelNodeSetParams_v2(h, &kernel);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return mp_shim_cuGraphMemcpyNodeSetParams(h, &p->memcpy.copyParams);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		set = memset_of(p);
		return mp_shim_cuGraphMemsetNodeSetParams(h, &set);
	case CU_GRAPH_NODE_TYPE_HOST:
		host = host_of(p);
		return mp_shim_cuGraphHostNodeSetParams(h, &host);
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
		return mp_shim_cuGraphEventRecordNodeSetEvent(h, p->eventRecord.event);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
		return mp_shim_cuGraphEventWaitNodeSetEvent(h, p->eventWait.event);
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		ops = memop_of(p);
		return mp_shim_cuGraphBatchMemOpNodeSetParams(h, &ops);
	default:
		return mp_refused(MP_CALL_cuGraphNodeSetParams);
	}
}

CUresult mp_shim_cuGraphExecNodeSetParams(CUgraphExec x, CUgraphNode h, CUgraphNodeParams *p)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS ops;
	CUDA_KERNEL_NODE_PARAMS kernel;
	CUDA_MEMSET_NODE_PARAMS set;
	CUDA_HOST_NODE_PARAMS host;
	CUresult r = type_check(h, p);

	if (r)
		return r;
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
		kernel = kernel_of(p);
		return mp_shim_cuGraphExecKernelNodeSetParams_v2(x, h, &kernel);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return mp_shim_cuGraphExecMemcpyNodeSetParams(x, h, &p->memcpy.copyParams, p->memcpy.copyCtx);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		set = memset_of(p);
		return mp_shim_cuGraphExecMemsetNodeSetParams(x, h, &set, p->memset.ctx);
	case CU_GRAPH_NODE_TYPE_HOST:
		host = host_of(p);
		return mp_shim_cuGraphExecHostNodeSetParams(x, h, &host);
	case CU_GRAPH_NODE_TYPE_GRAPH:
		return mp_shim_cuGraphExecChildGraphNodeSetParams(x, h, p->graph.graph);
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
		return mp_shim_cuGraphExecEventRecordNodeSetEvent(x, h, p->eventRecord.event);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
		return mp_shim_cuGraphExecEventWaitNodeSetEvent(x, h, p->eventWait.event);
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		ops = memop_of(p);
		return mp_shim_cuGraphExecBatchMemOpNodeSetParams(x, h, &ops);
	default:
		return mp_refused(MP_CALL_cuGraphExecNodeSetParams);
	}
}
