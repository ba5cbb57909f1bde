/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of graphs that move data or time: copies, memsets, host functions, events. */
#include "shim/graph-node.h"

#include <stdlib.h>
#include <string.h>

#include "mp-convert.h"

/* ---- Copies ---- */

/* What the launches of the graph will ask for or deliver. */
static CUresult copy_host(struct mp_graph *g, uint64_t ticket, const struct mp_shape *shape, int host)
{
	int e = 0;

	if (host == 1)
		e = mp_pull_add(ticket, shape, true);
	else if (host == 2)
		e = mp_rpc_download_kept(mp_shim.rpc, ticket, shape);
	if (host)
		g->host = true;
	return e ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult copy_keep(struct mp_node *n, const CUDA_MEMCPY3D *p)
{
	CUDA_MEMCPY3D *keep = n->known ? n->p.own_copy : malloc(sizeof(*keep));

	if (!keep)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*keep = *p;
	n->p.own_copy = keep;
	n->known = true;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphAddMemcpyNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				      const CUDA_MEMCPY3D *p, CUcontext ctx)
{
	struct mp_msg_cuGraphAddMemcpyNode m = {0};
	struct mp_shape shape;
	struct mp_adding a;
	struct mp_out o;
	int host = 0;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddMemcpyNode, ret, h, deps, n,
			       CU_GRAPH_NODE_TYPE_MEMCPY);

	if (r)
		return r;
	r = p ? mp_box(a.t, p, &m.copy, &shape, &host) : CUDA_ERROR_INVALID_VALUE;
	if (!r && host == 3)
		r = mp_refused(MP_CALL_cuGraphAddMemcpyNode);
	if (!r && host && a.g->body)
		r = mp_refused(MP_CALL_cuGraphAddMemcpyNode); /* its host half is a host function, which a body may not have */
	if (!r)
		r = copy_keep(a.n, p);
	if (!r) {
		a.n->host_end = host;
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.dependencies_count = (uint32_t)n;
		m.srcHost = host == 1 ? (uintptr_t)shape.base : 0;
		m.dstHost = host == 2 ? (uintptr_t)shape.base : 0;
		m.ctx = mp_node_ctx(a.t, ctx);
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddMemcpyNode, cuGraphAddMemcpyNode, &m,
			   a.t->ctx->head.id);
		if (!r && copy_host(a.g, o.ticket, &shape, host))
			mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
	}
	return mp_adding_end(&a, r, &o, ret);
}

CUresult mp_shim_cuGraphMemcpyNodeGetParams(CUgraphNode h, CUDA_MEMCPY3D *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemcpyNodeGetParams, h, CU_GRAPH_NODE_TYPE_MEMCPY, true, &t,
			      &n);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	*p = *n->p.own_copy;
	return CUDA_SUCCESS;
}

/* The host end may not change: the server has it by the ticket of the node's record. */
static CUresult copy_same(struct mp_thread *t, struct mp_node *n, const CUDA_MEMCPY3D *p,
			  struct mp_copy3d *c, enum mp_call call)
{
	struct mp_shape now, was;
	struct mp_copy3d old;
	int host, had;
	CUresult r = p ? mp_box(t, p, c, &now, &host) : CUDA_ERROR_INVALID_VALUE;

	if (!r)
		r = mp_box(t, n->p.own_copy, &old, &was, &had);
	if (r)
		return r;
	if (host != had || (host && memcmp(&now, &was, sizeof(now))))
		return mp_refused(call);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphMemcpyNodeSetParams(CUgraphNode h, const CUDA_MEMCPY3D *p)
{
	struct mp_msg_cuGraphMemcpyNodeSetParams m = {0};
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemcpyNodeSetParams, h, CU_GRAPH_NODE_TYPE_MEMCPY, true, &t,
			      &n);

	if (!r)
		r = copy_same(t, n, p, &m.copy, MP_CALL_cuGraphMemcpyNodeSetParams);
	if (!r)
		r = copy_keep(n, p);
	if (r)
		return r;
	m.hNode = n->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphMemcpyNodeSetParams, cuGraphMemcpyNodeSetParams, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphExecMemcpyNodeSetParams(CUgraphExec x, CUgraphNode h, const CUDA_MEMCPY3D *p,
						CUcontext ctx)
{
	struct mp_msg_cuGraphExecMemcpyNodeSetParams m = {0};
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecMemcpyNodeSetParams, x, h, CU_GRAPH_NODE_TYPE_MEMCPY,
			       &t, &m.hGraphExec, &n);

	if (!r && !n->known)
		r = mp_refused(MP_CALL_cuGraphExecMemcpyNodeSetParams);
	if (!r)
		r = copy_same(t, n, p, &m.copy, MP_CALL_cuGraphExecMemcpyNodeSetParams);
	if (r)
		return r;
	m.hNode = n->head.id;
	m.ctx = mp_node_ctx(t, ctx);
	return MP_SEND(&o, t, MP_CALL_cuGraphExecMemcpyNodeSetParams, cuGraphExecMemcpyNodeSetParams, &m,
		       t->ctx->head.id);
}

/* ---- Memsets ---- */

static CUresult memset_check(const CUDA_MEMSET_NODE_PARAMS *p)
{
	size_t row, all;

	if (!p || (p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) || !p->width ||
	    !p->height || p->dst % p->elementSize || !mp_mul(p->width, p->elementSize, &row) ||
	    !mp_mul(p->pitch, p->height - 1, &all) || !mp_add(all, row, &all) ||
	    (p->height > 1 && p->pitch < row))
		return CUDA_ERROR_INVALID_VALUE;
	return mp_device_range(p->dst, all);
}

CUresult mp_shim_cuGraphAddMemsetNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				      const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
	struct mp_msg_cuGraphAddMemsetNode m;
	struct mp_adding a;
	struct mp_out o;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddMemsetNode, ret, h, deps, n,
			       CU_GRAPH_NODE_TYPE_MEMSET);

	if (r)
		return r;
	r = memset_check(p);
	if (!r) {
		a.n->p.memset = *p;
		a.n->known = true;
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.numDependencies = n;
		mp_from_memset_node(&m.memsetParams, p);
		m.ctx = mp_node_ctx(a.t, ctx);
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddMemsetNode, cuGraphAddMemsetNode, &m,
			   a.t->ctx->head.id);
	}
	return mp_adding_end(&a, r, &o, ret);
}

CUresult mp_shim_cuGraphMemsetNodeGetParams(CUgraphNode h, CUDA_MEMSET_NODE_PARAMS *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemsetNodeGetParams, h, CU_GRAPH_NODE_TYPE_MEMSET, true, &t,
			      &n);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	*p = n->p.memset;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphMemsetNodeSetParams(CUgraphNode h, const CUDA_MEMSET_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphMemsetNodeSetParams m;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemsetNodeSetParams, h, CU_GRAPH_NODE_TYPE_MEMSET, false,
			      &t, &n);

	if (!r)
		r = memset_check(p);
	if (r)
		return r;
	n->p.memset = *p;
	n->known = true;
	m.hNode = n->head.id;
	mp_from_memset_node(&m.nodeParams, p);
	return MP_SEND(&o, t, MP_CALL_cuGraphMemsetNodeSetParams, cuGraphMemsetNodeSetParams, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphExecMemsetNodeSetParams(CUgraphExec x, CUgraphNode h,
						const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
	struct mp_msg_cuGraphExecMemsetNodeSetParams m;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecMemsetNodeSetParams, x, h, CU_GRAPH_NODE_TYPE_MEMSET,
			       &t, &m.hGraphExec, &n);

	if (!r)
		r = memset_check(p);
	if (r)
		return r;
	m.hNode = n->head.id;
	mp_from_memset_node(&m.memsetParams, p);
	m.ctx = mp_node_ctx(t, ctx);
	return MP_SEND(&o, t, MP_CALL_cuGraphExecMemsetNodeSetParams, cuGraphExecMemsetNodeSetParams, &m,
		       t->ctx->head.id);
}

/* ---- Host functions ---- */

CUresult mp_shim_cuGraphAddHostNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				    const CUDA_HOST_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphAddHostNode m = {0};
	struct mp_adding a;
	struct mp_out o;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddHostNode, ret, h, deps, n, CU_GRAPH_NODE_TYPE_HOST);

	if (r)
		return r;
	r = p && p->fn ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (!r && !(m.fn = mp_hostcall_new(p->fn, p->userData, NULL, NULL, true)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (!r) {
		a.n->p.host = *p;
		a.n->known = true;
		a.g->host = true;
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.dependencies_count = (uint32_t)n;
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddHostNode, cuGraphAddHostNode, &m,
			   a.t->ctx->head.id);
	}
	return mp_adding_end(&a, r, &o, ret);
}

CUresult mp_shim_cuGraphHostNodeGetParams(CUgraphNode h, CUDA_HOST_NODE_PARAMS *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r =
		mp_node_of(MP_CALL_cuGraphHostNodeGetParams, h, CU_GRAPH_NODE_TYPE_HOST, true, &t, &n);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	*p = n->p.host;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphHostNodeSetParams(CUgraphNode h, const CUDA_HOST_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphHostNodeSetParams m = {0};
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r =
		mp_node_of(MP_CALL_cuGraphHostNodeSetParams, h, CU_GRAPH_NODE_TYPE_HOST, false, &t, &n);

	if (r)
		return r;
	if (!p || !p->fn)
		return CUDA_ERROR_INVALID_VALUE;
	m.fn = mp_hostcall_new(p->fn, p->userData, NULL, NULL, true);
	if (!m.fn)
		return CUDA_ERROR_OUT_OF_MEMORY;
	n->p.host = *p;
	n->known = true;
	m.hNode = n->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphHostNodeSetParams, cuGraphHostNodeSetParams, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphExecHostNodeSetParams(CUgraphExec x, CUgraphNode h,
					      const CUDA_HOST_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphExecHostNodeSetParams m = {0};
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecHostNodeSetParams, x, h, CU_GRAPH_NODE_TYPE_HOST, &t,
			       &m.hGraphExec, &n);

	if (r)
		return r;
	if (!p || !p->fn)
		return CUDA_ERROR_INVALID_VALUE;
	m.fn = mp_hostcall_new(p->fn, p->userData, NULL, NULL, true);
	if (!m.fn)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.hNode = n->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphExecHostNodeSetParams, cuGraphExecHostNodeSetParams, &m,
		       t->ctx->head.id);
}

/* ---- Events ---- */

#define EVENT_NODE(Kind, TYPE)                                                                     \
	CUresult mp_shim_cuGraphAddEvent##Kind##Node(CUgraphNode *ret, CUgraph h,                  \
						     const CUgraphNode *deps, size_t n,            \
						     CUevent event)                                \
	{                                                                                          \
		struct mp_msg_cuGraphAddEvent##Kind##Node m;                                       \
		struct mp_event *e = mp_object(event, MP_KIND_event);                              \
		struct mp_adding a;                                                                   \
		struct mp_out o;                                                                   \
		CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddEvent##Kind##Node, ret, h, deps, n,   \
				       TYPE);                                                      \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		r = e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;                                   \
		if (!r) {                                                                          \
			a.n->p.event = event;                                                      \
			a.n->known = true;                                                         \
			m.phGraphNode = a.n->head.id;                                              \
			m.hGraph = a.g->head.id;                                                   \
			m.dependencies = a.deps;                                                   \
			m.numDependencies = n;                                                     \
			m.event = e->head.id;                                                      \
			r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddEvent##Kind##Node,                   \
				   cuGraphAddEvent##Kind##Node, &m, a.t->ctx->head.id);            \
		}                                                                                  \
		return mp_adding_end(&a, r, &o, ret);                                                    \
	}                                                                                          \
	CUresult mp_shim_cuGraphEvent##Kind##NodeGetEvent(CUgraphNode h, CUevent *ret)             \
	{                                                                                          \
		struct mp_thread *t;                                                               \
		struct mp_node *n;                                                                 \
		CUresult r = mp_node_of(MP_CALL_cuGraphEvent##Kind##NodeGetEvent, h, TYPE, true, &t, \
				      &n);                                                         \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!ret)                                                                          \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		*ret = n->p.event;                                                                 \
		return CUDA_SUCCESS;                                                               \
	}                                                                                          \
	CUresult mp_shim_cuGraphEvent##Kind##NodeSetEvent(CUgraphNode h, CUevent event)            \
	{                                                                                          \
		struct mp_msg_cuGraphEvent##Kind##NodeSetEvent m;                                  \
		struct mp_event *e = mp_object(event, MP_KIND_event);                              \
		struct mp_thread *t;                                                               \
		struct mp_node *n;                                                                 \
		struct mp_out o;                                                                   \
		CUresult r = mp_node_of(MP_CALL_cuGraphEvent##Kind##NodeSetEvent, h, TYPE, false,    \
				      &t, &n);                                                     \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!e)                                                                            \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		n->p.event = event;                                                                \
		n->known = true;                                                                   \
		m.hNode = n->head.id;                                                              \
		m.event = e->head.id;                                                              \
		return MP_SEND(&o, t, MP_CALL_cuGraphEvent##Kind##NodeSetEvent,                    \
			       cuGraphEvent##Kind##NodeSetEvent, &m, t->ctx->head.id);             \
	}                                                                                          \
	CUresult mp_shim_cuGraphExecEvent##Kind##NodeSetEvent(CUgraphExec x, CUgraphNode h,        \
							      CUevent event)                       \
	{                                                                                          \
		struct mp_msg_cuGraphExecEvent##Kind##NodeSetEvent m;                              \
		struct mp_event *e = mp_object(event, MP_KIND_event);                              \
		struct mp_thread *t;                                                               \
		struct mp_node *n;                                                                 \
		struct mp_out o;                                                                   \
		CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecEvent##Kind##NodeSetEvent, x, h, TYPE,   \
				       &t, &m.hGraphExec, &n);                                     \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!e)                                                                            \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		m.hNode = n->head.id;                                                              \
		m.event = e->head.id;                                                              \
		return MP_SEND(&o, t, MP_CALL_cuGraphExecEvent##Kind##NodeSetEvent,                \
			       cuGraphExecEvent##Kind##NodeSetEvent, &m, t->ctx->head.id);         \
	}

EVENT_NODE(Record, CU_GRAPH_NODE_TYPE_EVENT_RECORD)
EVENT_NODE(Wait, CU_GRAPH_NODE_TYPE_WAIT_EVENT)
