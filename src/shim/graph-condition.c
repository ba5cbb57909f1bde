/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditional nodes: graphs that run if, while or as a value says that device
 * code sets.  The value's handle is the server's, since device code reads it; a
 * node's bodies are graphs of the client like any other, that belong to the node.
 */
#include "shim/graph-node.h"

#include <stdlib.h>
#include <string.h>

CUresult mp_shim_cuGraphConditionalHandleCreate(CUgraphConditionalHandle *ret, CUgraph h, CUcontext ctx,
						unsigned int value, unsigned int flags)
{
	struct mp_msg_cuGraphConditionalHandleCreate m = {.defaultLaunchValue = value, .flags = flags};
	struct mp_rep_cuGraphConditionalHandleCreate reply;
	struct mp_graph *g = mp_graph_get(h);
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphConditionalHandleCreate, &t);

	if (r)
		return r;
	if (!ret || !g || flags & ~1u)
		return CUDA_ERROR_INVALID_VALUE;
	if (ctx && !mp_ctx_find(ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	m.hGraph = g->head.id;
	m.ctx = mp_node_ctx(t, ctx);
	r = MP_PUT(&o, t, MP_CALL_cuGraphConditionalHandleCreate, cuGraphConditionalHandleCreate, &m,
		   t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphConditionalHandleCreate(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r)
		*ret = reply.pHandle_out;
	free(a.own_data);
	return r;
}

/* Bodies get ids of ours; what they hold is added by the calls for any graph. */
static CUresult bodies_make(struct mp_thread *t, struct mp_node *n)
{
	CUgraph *body = calloc(n->p.cond.size, sizeof(*body));
	CUresult r = CUDA_SUCCESS;
	unsigned i;

	if (!body)
		return CUDA_ERROR_OUT_OF_MEMORY;
	n->own_params = body;
	for (i = 0; i < n->p.cond.size && !r; i++) {
		struct mp_msg_graph_body m = {.hNode = n->head.id, .index = i};
		struct mp_graph *g = mp_graph_new();
		struct mp_out o;

		if (!g) {
			r = CUDA_ERROR_OUT_OF_MEMORY;
			break;
		}
		g->child = g->body = true;
		m.phGraph = g->head.id;
		r = MP_SEND(&o, t, MP_REC_graph_body, graph_body, &m, t->ctx->head.id);
		if (r)
			mp_graph_gone(g);
		else
			body[i] = (CUgraph)g;
	}
	n->p.cond.size = r ? i : n->p.cond.size; /* what there is goes with the node */
	n->p.cond.phGraph_out = body;
	n->known = true;
	return r;
}

CUresult mp_condition_add(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
			  CUDA_CONDITIONAL_NODE_PARAMS *p)
{
	struct mp_msg_graph_condition m = {.handle = p->handle, .type = p->type, .size = p->size};
	struct mp_adding a;
	struct mp_answer answer;
	struct mp_out o;
	unsigned most = p->type == CU_GRAPH_COND_TYPE_IF ? 2 : p->type == CU_GRAPH_COND_TYPE_WHILE ? 1 : 1024;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddNode_v2, ret, h, deps, n,
				     CU_GRAPH_NODE_TYPE_CONDITIONAL);

	if (r)
		return r;
	if ((unsigned)p->type > CU_GRAPH_COND_TYPE_SWITCH || !p->size || p->size > most)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.dependencies_count = (uint32_t)n;
		m.ctx = mp_node_ctx(a.t, p->ctx);
		r = MP_PUT(&o, a.t, MP_REC_graph_condition, graph_condition, &m, a.t->ctx->head.id);
	}
	if (!r) {
		r = mp_out_ask(&o, &answer);
		free(answer.own_data);
	}
	free(a.own_deps);
	if (r) {
		mp_slot_waste(a.n);
		return r;
	}
	a.n->p.cond = *p;
	r = bodies_make(a.t, a.n);
	mp_node_add(a.g, a.n);
	if (r)
		return r;
	p->phGraph_out = a.n->p.cond.phGraph_out;
	*ret = (CUgraphNode)a.n;
	return CUDA_SUCCESS;
}
