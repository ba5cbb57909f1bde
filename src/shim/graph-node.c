/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of graphs: added one-way with a handle invented here, their parameters
 * kept so that they can be asked for.  Here: what all kinds have in common,
 * kernels, children, empty nodes, and the call for any kind.
 */
#include "shim/graph-node.h"

#include <stdlib.h>
#include <string.h>

#include "mp-convert.h"

CUresult mp_adding_begin(struct mp_adding *a, enum mp_call call, CUgraphNode *ret, CUgraph h,
			  const CUgraphNode *deps, size_t n, CUgraphNodeType type)
{
	const uint32_t *ids;
	CUresult r = mp_enter(call, &a->t);

	memset(&a->g, 0, sizeof(*a) - offsetof(struct mp_adding, g));
	if (r)
		return r;
	a->g = mp_graph_get(h);
	if (!a->g || !ret)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_nodes_ids(a->t, a->g, deps, n, &ids);
	if (r)
		return r;
	/* Scratch is wanted again for parameters. */
	a->own_deps = malloc((n + 1) * sizeof(*a->own_deps));
	a->n = mp_slot_new(MP_KIND_node);
	if (!a->n || !a->own_deps) {
		if (a->n)
			mp_slot_free(a->n);
		a->n = NULL;
		free(a->own_deps);
		a->own_deps = NULL;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (n)
		memcpy(a->own_deps, ids, n * sizeof(*ids));
	a->deps = a->own_deps;
	a->ndeps = n;
	a->n->graph = a->g;
	a->n->type = type;
	a->n->typed = true;
	return CUDA_SUCCESS;
}

/* ... and the end: the node is the program's, or gone. */
CUresult mp_adding_end(struct mp_adding *a, CUresult r, struct mp_out *o, CUgraphNode *ret)
{
	if (!r) {
		a->n->ticket = o->ticket;
		r = mp_out_end(o);
	}
	free(a->own_deps);
	if (r) {
		if (a->n)
			mp_node_free(a->n);
		return r;
	}
	mp_node_add(a->g, a->n);
	*ret = (CUgraphNode)a->n;
	return CUDA_SUCCESS;
}

uint32_t mp_node_ctx(struct mp_thread *t, CUcontext h)
{
	struct mp_ctx *c = h ? mp_ctx_find(h) : t->ctx;

	return c ? c->head.id : t->ctx->head.id;
}

/* A node of this type; what a capture made is known only to the server. */
CUresult mp_node_of(enum mp_call call, CUgraphNode h, CUgraphNodeType type, bool known,
			 struct mp_thread **t, struct mp_node **ret)
{
	struct mp_node *n = mp_node_get(h);
	CUgraphNodeType is;
	CUresult r = mp_enter(call, t);

	if (r)
		return r;
	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	if (!n->typed && (r = mp_shim_cuGraphNodeGetType(h, &is)))
		return r;
	if (n->type != type)
		return CUDA_ERROR_INVALID_VALUE;
	if (known && !n->known)
		return mp_refused(call);
	*ret = n;
	return CUDA_SUCCESS;
}

/* Executable graph and node of a change. */
CUresult mp_node_in_exec(enum mp_call call, CUgraphExec x, CUgraphNode h, CUgraphNodeType type,
			  struct mp_thread **t, uint32_t *exec, struct mp_node **n)
{
	struct mp_exec *e = mp_object(x, MP_KIND_exec);
	CUresult r = mp_node_of(call, h, type, false, t, n);

	if (!r && !e)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*exec = e->head.id;
	return r;
}

/* ---- Kernels ---- */

/* Keep a copy of the parameters, and pointers to it as a program expects them. */
static CUresult kernel_keep(struct mp_node *n, const CUDA_KERNEL_NODE_PARAMS *p, struct mp_func *f,
			    const struct mp_kernel_call *call)
{
	size_t head = (f->nparams + 1) * sizeof(void *);
	uint8_t *keep = malloc(head + call->params_len + 8);
	void **ptr = (void **)keep;
	uint32_t i;

	if (!keep)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (call->params_len)
		memcpy(keep + head, call->params, call->params_len);
	for (i = 0; i < f->nparams; i++)
		ptr[i] = keep + head + f->params[i].offset;
	free(n->own_params);
	n->own_params = keep;
	n->func = f;
	n->p.kernel = *p;
	n->p.kernel.kernelParams = f->nparams ? ptr : NULL;
	n->p.kernel.extra = NULL;
	n->known = true;
	return CUDA_SUCCESS;
}

static CUresult kernel_take(struct mp_thread *t, const CUDA_KERNEL_NODE_PARAMS *p,
			    struct mp_kernel_call *call, struct mp_func **ret)
{
	void *h = p->kern ? (void *)p->kern : (void *)p->func;

	*ret = mp_func_get(h);
	if (!*ret)
		return CUDA_ERROR_INVALID_VALUE;
	return mp_kernel_call(t, h, p->gridDimX, p->gridDimY, p->gridDimZ, p->blockDimX, p->blockDimY,
			      p->blockDimZ, p->sharedMemBytes, p->kernelParams, p->extra, call);
}

CUresult mp_shim_cuGraphAddKernelNode_v2(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps,
					 size_t n, const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphAddKernelNode_v2 m;
	struct mp_adding a;
	struct mp_func *f;
	struct mp_out o;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddKernelNode_v2, ret, h, deps, n,
			       CU_GRAPH_NODE_TYPE_KERNEL);

	if (r)
		return r;
	r = p ? kernel_take(a.t, p, &m.call, &f) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = kernel_keep(a.n, p, f, &m.call);
	if (!r) {
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.dependencies_count = (uint32_t)n;
		m.ctx = mp_node_ctx(a.t, p->ctx);
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddKernelNode_v2, cuGraphAddKernelNode_v2, &m,
			   a.t->ctx->head.id);
	}
	return mp_adding_end(&a, r, &o, ret);
}

static CUDA_KERNEL_NODE_PARAMS kernel_v2(const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	return (CUDA_KERNEL_NODE_PARAMS){
		.func = p->func, .gridDimX = p->gridDimX, .gridDimY = p->gridDimY,
		.gridDimZ = p->gridDimZ, .blockDimX = p->blockDimX, .blockDimY = p->blockDimY,
		.blockDimZ = p->blockDimZ, .sharedMemBytes = p->sharedMemBytes,
		.kernelParams = p->kernelParams, .extra = p->extra};
}

CUresult mp_shim_cuGraphAddKernelNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				      const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS v;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	v = kernel_v2(p);
	return mp_shim_cuGraphAddKernelNode_v2(ret, h, deps, n, &v);
}

CUresult mp_shim_cuGraphKernelNodeGetParams_v2(CUgraphNode h, CUDA_KERNEL_NODE_PARAMS *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphKernelNodeGetParams_v2, h, CU_GRAPH_NODE_TYPE_KERNEL, true,
			      &t, &n);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	*p = n->p.kernel;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphKernelNodeGetParams(CUgraphNode h, CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS v;
	CUresult r = mp_shim_cuGraphKernelNodeGetParams_v2(h, &v);

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	p->func = v.func ? v.func : (CUfunction)v.kern;
	p->gridDimX = v.gridDimX;
	p->gridDimY = v.gridDimY;
	p->gridDimZ = v.gridDimZ;
	p->blockDimX = v.blockDimX;
	p->blockDimY = v.blockDimY;
	p->blockDimZ = v.blockDimZ;
	p->sharedMemBytes = v.sharedMemBytes;
	p->kernelParams = v.kernelParams;
	p->extra = v.extra;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphKernelNodeSetParams_v2(CUgraphNode h, const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphKernelNodeSetParams_v2 m;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_func *f;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphKernelNodeSetParams_v2, h, CU_GRAPH_NODE_TYPE_KERNEL,
			      false, &t, &n);

	if (!r)
		r = p ? kernel_take(t, p, &m.call, &f) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = kernel_keep(n, p, f, &m.call);
	if (r)
		return r;
	m.hNode = n->head.id;
	m.ctx = mp_node_ctx(t, p->ctx);
	return MP_SEND(&o, t, MP_CALL_cuGraphKernelNodeSetParams_v2, cuGraphKernelNodeSetParams_v2, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphKernelNodeSetParams(CUgraphNode h, const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS v;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	v = kernel_v2(p);
	return mp_shim_cuGraphKernelNodeSetParams_v2(h, &v);
}

CUresult mp_shim_cuGraphExecKernelNodeSetParams_v2(CUgraphExec x, CUgraphNode h,
						   const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct mp_msg_cuGraphExecKernelNodeSetParams_v2 m;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_func *f;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecKernelNodeSetParams_v2, x, h,
			       CU_GRAPH_NODE_TYPE_KERNEL, &t, &m.hGraphExec, &n);

	if (!r)
		r = p ? kernel_take(t, p, &m.call, &f) : CUDA_ERROR_INVALID_VALUE;
	if (r)
		return r;
	m.hNode = n->head.id;
	m.ctx = mp_node_ctx(t, p->ctx);
	return MP_SEND(&o, t, MP_CALL_cuGraphExecKernelNodeSetParams_v2,
		       cuGraphExecKernelNodeSetParams_v2, &m, t->ctx->head.id);
}

CUresult mp_shim_cuGraphExecKernelNodeSetParams(CUgraphExec x, CUgraphNode h,
						const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS v;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	v = kernel_v2(p);
	return mp_shim_cuGraphExecKernelNodeSetParams_v2(x, h, &v);
}

CUresult mp_shim_cuGraphKernelNodeSetAttribute(CUgraphNode h, CUkernelNodeAttrID id,
					       const CUkernelNodeAttrValue *v)
{
	struct mp_msg_cuGraphKernelNodeSetAttribute m;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphKernelNodeSetAttribute, h, CU_GRAPH_NODE_TYPE_KERNEL, false,
			      &t, &n);

	if (!r)
		r = v ? mp_launch_attr(t, id, v, &m.attr) : CUDA_ERROR_INVALID_VALUE;
	if (r)
		return r;
	m.hNode = n->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphKernelNodeSetAttribute, cuGraphKernelNodeSetAttribute, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphKernelNodeGetAttribute(CUgraphNode h, CUkernelNodeAttrID id,
					       CUkernelNodeAttrValue *v)
{
	struct mp_msg_cuGraphKernelNodeGetAttribute m = {.attr = (uint32_t)id};
	struct mp_rep_cuGraphKernelNodeGetAttribute reply;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphKernelNodeGetAttribute, h, CU_GRAPH_NODE_TYPE_KERNEL, false,
			      &t, &n);

	if (r)
		return r;
	if (!v || (unsigned)id >= CU_LAUNCH_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	m.hNode = n->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphKernelNodeGetAttribute, cuGraphKernelNodeGetAttribute, &m,
		   t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphKernelNodeGetAttribute(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r)
		memcpy(v, reply.value, sizeof(*v));
	free(a.own_data);
	return r;
}

CUresult mp_shim_cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
	struct mp_msg_cuGraphKernelNodeCopyAttributes m;
	struct mp_thread *t;
	struct mp_node *d, *s;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphKernelNodeCopyAttributes, dst, CU_GRAPH_NODE_TYPE_KERNEL,
			      false, &t, &d);

	if (!r)
		r = mp_node_of(MP_CALL_cuGraphKernelNodeCopyAttributes, src, CU_GRAPH_NODE_TYPE_KERNEL,
			     false, &t, &s);
	if (r)
		return r;
	m.dst = d->head.id;
	m.src = s->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphKernelNodeCopyAttributes, cuGraphKernelNodeCopyAttributes,
		       &m, t->ctx->head.id);
}

/* ---- Children, empty nodes, events ---- */

CUresult mp_shim_cuGraphAddChildGraphNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps,
					  size_t n, CUgraph child)
{
	struct mp_msg_cuGraphAddChildGraphNode m;
	struct mp_graph *c = mp_graph_get(child);
	struct mp_adding a;
	struct mp_out o;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddChildGraphNode, ret, h, deps, n,
			       CU_GRAPH_NODE_TYPE_GRAPH);

	if (r)
		return r;
	r = c && c != a.g ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		a.g->host |= c->host;
		if (mp_users_copy(&a.g->users, c->users))
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (!r) {
		m.phGraphNode = a.n->head.id;
		m.hGraph = a.g->head.id;
		m.dependencies = a.deps;
		m.numDependencies = n;
		m.childGraph = c->head.id;
		r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddChildGraphNode, cuGraphAddChildGraphNode, &m,
			   a.t->ctx->head.id);
	}
	return mp_adding_end(&a, r, &o, ret);
}

CUresult mp_shim_cuGraphChildGraphNodeGetGraph(CUgraphNode h, CUgraph *ret)
{
	struct mp_msg_cuGraphChildGraphNodeGetGraph m;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_of(MP_CALL_cuGraphChildGraphNodeGetGraph, h, CU_GRAPH_NODE_TYPE_GRAPH, false,
			      &t, &n);

	if (r)
		return r;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	if (n->known) {
		*ret = n->p.child;
		return CUDA_SUCCESS;
	}
	g = mp_graph_new();
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->child = true;
	m.hNode = n->head.id;
	m.phGraph = g->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph, &m,
		    t->ctx->head.id);
	if (r) {
		mp_graph_gone(g);
		return r;
	}
	n->p.child = *ret = (CUgraph)g;
	n->known = true;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphExecChildGraphNodeSetParams(CUgraphExec x, CUgraphNode h, CUgraph child)
{
	struct mp_msg_cuGraphExecChildGraphNodeSetParams m;
	struct mp_graph *c = mp_graph_get(child);
	struct mp_thread *t;
	struct mp_node *n;
	struct mp_out o;
	CUresult r = mp_node_in_exec(MP_CALL_cuGraphExecChildGraphNodeSetParams, x, h,
			       CU_GRAPH_NODE_TYPE_GRAPH, &t, &m.hGraphExec, &n);

	if (r)
		return r;
	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	m.hNode = n->head.id;
	m.childGraph = c->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphExecChildGraphNodeSetParams,
		       cuGraphExecChildGraphNodeSetParams, &m, t->ctx->head.id);
}

CUresult mp_shim_cuGraphAddEmptyNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n)
{
	struct mp_msg_cuGraphAddEmptyNode m;
	struct mp_adding a;
	struct mp_out o;
	CUresult r =
		mp_adding_begin(&a, MP_CALL_cuGraphAddEmptyNode, ret, h, deps, n, CU_GRAPH_NODE_TYPE_EMPTY);

	if (r)
		return r;
	m.phGraphNode = a.n->head.id;
	m.hGraph = a.g->head.id;
	m.dependencies = a.deps;
	m.numDependencies = n;
	r = MP_PUT(&o, a.t, MP_CALL_cuGraphAddEmptyNode, cuGraphAddEmptyNode, &m, a.t->ctx->head.id);
	return mp_adding_end(&a, r, &o, ret);
}

/* ---- Nodes in general ---- */

CUresult mp_shim_cuGraphDestroyNode(CUgraphNode h)
{
	struct mp_msg_cuGraphDestroyNode m;
	struct mp_node *n = mp_node_get(h);
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphDestroyNode, &t);

	if (r)
		return r;
	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	m.hNode = n->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphDestroyNode, cuGraphDestroyNode, &m, t->ctx->head.id);
	if (!r)
		mp_node_remove(n);
	return r;
}

CUresult mp_shim_cuGraphNodeSetEnabled(CUgraphExec x, CUgraphNode h, unsigned int on)
{
	struct mp_msg_cuGraphNodeSetEnabled m = {.isEnabled = on};
	struct mp_exec *e = mp_object(x, MP_KIND_exec);
	struct mp_node *n = mp_node_get(h);
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphNodeSetEnabled, &t);

	if (r)
		return r;
	if (!e || !n)
		return CUDA_ERROR_INVALID_VALUE;
	if (n->typed && n->type != CU_GRAPH_NODE_TYPE_KERNEL && n->type != CU_GRAPH_NODE_TYPE_MEMSET &&
	    n->type != CU_GRAPH_NODE_TYPE_MEMCPY)
		return CUDA_ERROR_INVALID_VALUE;
	if (n->host_end)
		return mp_refused(MP_CALL_cuGraphNodeSetEnabled); /* its host half would go on */
	m.hGraphExec = e->head.id;
	m.hNode = n->head.id;
	return MP_SEND(&o, t, MP_CALL_cuGraphNodeSetEnabled, cuGraphNodeSetEnabled, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuGraphNodeGetEnabled(CUgraphExec x, CUgraphNode h, unsigned int *on)
{
	struct mp_msg_cuGraphNodeGetEnabled m;
	struct mp_rep_cuGraphNodeGetEnabled reply;
	struct mp_exec *e = mp_object(x, MP_KIND_exec);
	struct mp_node *n = mp_node_get(h);
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphNodeGetEnabled, &t);

	if (r)
		return r;
	if (!e || !n || !on)
		return CUDA_ERROR_INVALID_VALUE;
	if (n->host_end) { /* cannot be disabled */
		*on = 1;
		return CUDA_SUCCESS;
	}
	m.hGraphExec = e->head.id;
	m.hNode = n->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphNodeGetEnabled, cuGraphNodeGetEnabled, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphNodeGetEnabled(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r)
		*on = reply.isEnabled;
	free(a.own_data);
	return r;
}
