/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of graphs that wait for values in memory and write them. */
#include "shim/graph-node.h"

#include <stdlib.h>
#include <string.h>

/* Looked at as a stream's operations are, and kept for the node. */
static CUresult take(struct mp_thread *t, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, struct mp_mem_op *op,
		     CUstreamBatchMemOpParams **ret_keep)
{
	CUresult r;

	*ret_keep = NULL;
	if (!p || !p->count || p->count > MP_MEM_OPS_MOST || !p->paramArray || p->flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_mem_ops_pack(t, p->paramArray, p->count, op);
	if (r)
		return r;
	*ret_keep = malloc(p->count * sizeof(**ret_keep));
	if (!*ret_keep)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(*ret_keep, p->paramArray, p->count * sizeof(**ret_keep));
	return CUDA_SUCCESS;
}

static void keep(struct mp_thread *t, struct mp_node *n, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p,
		 CUstreamBatchMemOpParams *own_ops)
{
	free(n->own_params);
	n->own_params = own_ops;
	n->p.memop = *p;
	n->p.memop.paramArray = own_ops;
	if (!n->p.memop.ctx)
		n->p.memop.ctx = (CUcontext)t->ctx;
	n->known = true;
}

CUresult mp_shim_cuGraphAddBatchMemOpNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
					  const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphAddBatchMemOpNode m = {0};
	struct mp_mem_op op[MP_MEM_OPS_MOST];
	CUstreamBatchMemOpParams *own_ops;
	struct mp_adding a;
	struct mp_out o;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddBatchMemOpNode, ret, h, deps, n,
				     CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);

	if (r)
		return r;
	r = take(a.t, p, op, &own_ops);
	if (!r) {
		keep(a.t, a.n, p, own_ops);
		a.g->host = true; /* what waits may wait for the program */
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.dependencies_count = (uint32_t)n;
		m.ctx = mp_node_ctx(a.t, p->ctx);
		m.ops = op;
		m.ops_count = p->count;
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddBatchMemOpNode, cuGraphAddBatchMemOpNode, &m,
			   a.t->ctx->head.id);
	}
	return mp_adding_end(&a, r, &o, ret);
}

CUresult mp_shim_cuGraphBatchMemOpNodeGetParams(CUgraphNode h, CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphBatchMemOpNodeGetParams, h, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
				true, &t, &n);

	if (!r && !p)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*p = n->p.memop;
	return r;
}

CUresult mp_shim_cuGraphBatchMemOpNodeSetParams(CUgraphNode h, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphBatchMemOpNodeSetParams m = {0};
	struct mp_mem_op op[MP_MEM_OPS_MOST];
	CUstreamBatchMemOpParams *own_ops;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphBatchMemOpNodeSetParams, h, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
				false, &t, &n);

	if (!r)
		r = take(t, p, op, &own_ops);
	if (r)
		return r;
	keep(t, n, p, own_ops);
	m.hNode = n->head.id;
	m.ctx = mp_node_ctx(t, p->ctx);
	m.ops = op;
	m.ops_count = p->count;
	return MP_SEND(&o, t, MP_CALL_cuGraphBatchMemOpNodeSetParams, cuGraphBatchMemOpNodeSetParams, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphExecBatchMemOpNodeSetParams(CUgraphExec x, CUgraphNode h,
						    const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphExecBatchMemOpNodeSetParams m = {0};
	struct mp_mem_op op[MP_MEM_OPS_MOST];
	CUstreamBatchMemOpParams *own_ops;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecBatchMemOpNodeSetParams, x, h,
				     CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &t, &m.hGraphExec, &n);

	if (!r)
		r = take(t, p, op, &own_ops);
	if (r)
		return r;
	free(own_ops);
	m.hNode = n->head.id;
	m.ctx = mp_node_ctx(t, p->ctx);
	m.ops = op;
	m.ops_count = p->count;
	return MP_SEND(&o, t, MP_CALL_cuGraphExecBatchMemOpNodeSetParams,
		       cuGraphExecBatchMemOpNodeSetParams, &m, t->ctx->head.id);
}
