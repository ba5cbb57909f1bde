/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs: nodes whose parameters need translation, and questions about them.
 *
 * A node remembers its graph, so that the end of a graph ends its nodes' ids.
 * Nodes that a capture made have no id of the client: when it asks for them
 * they get one of ours, with the top bit set.  A copy node with a host end is
 * two nodes of the driver; the client sees one.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

#include "mp-convert.h"

#define SERVER_ID 0x80000000u

struct node {
	CUgraphNode handle; /* what depends on it, depends on this one */
	CUgraphNode core;   /* the one with its parameters */
	uint32_t graph;
	uint64_t charged;
	unsigned device;
	struct graph_copy *copy;
	/* Graphs that belong to it and have ids: they go with it. */
	uint32_t *graphs, graph_count;
	CUgraph *bodies; /* of a conditional node, the driver's */
	uint32_t body_count;
};

/* ---- Ids of nodes ---- */

CUresult mp_node_bind(struct mp_job *job, struct object *o)
{
	struct node *n = calloc(1, sizeof(*n));
	unsigned i;

	if (!n) {
		o->state = OBJECT_FAILED;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	n->handle = n->core = o->handle;
	for (i = 0; i < job->info->ids; i++)
		if (job->info->id[i].kind == MP_KIND_graph && !job->info->id[i].flags) {
			memcpy(&n->graph, (const uint8_t *)(job->rec + 1) + job->info->id[i].offset, 4);
			break;
		}
	o->own = n;
	return CUDA_SUCCESS;
}

void mp_node_drop(struct mp_worker *w, struct object *o)
{
	struct node *n = o->own;

	o->own = NULL; /* before its graphs, whose nodes are searched for among all */
	if (n && n->charged)
		mp_account_put(w, n->device, n->charged);
	while (n && n->graph_count) {
		uint32_t id = n->graphs[--n->graph_count];

		mp_graph_sweep(w, id);
		mp_object_drop(w, MP_KIND_graph, id);
	}
	if (n)
		free(n->graphs);
	free(n);
}

/* A graph inside a node gets an id. */
static CUresult inner_bind(struct mp_job *job, struct node *n, uint32_t id, CUgraph g)
{
	uint32_t *p = realloc(n->graphs, (n->graph_count + 1) * sizeof(*p));
	CUresult e;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	n->graphs = p;
	e = mp_job_bind(job, MP_KIND_graph, id, g);
	if (!e)
		n->graphs[n->graph_count++] = id;
	return e;
}

/* The graph is gone, and its nodes with it. */
void mp_graph_sweep(struct mp_worker *w, uint32_t graph)
{
	struct object_table *t = &w->table[MP_KIND_node];
	uint32_t page, i;

	for (page = 0; page < MP_ARRAY_LEN(t->page); page++)
		for (i = 0; t->page[page] && i < 256; i++) {
			struct object *o = &t->page[page][i];
			struct node *n = o->state == OBJECT_LIVE ? o->own : NULL;

			if (n && n->graph == graph)
				mp_object_drop(w, MP_KIND_node, page * 256 + i);
		}
	for (i = 0; i < w->server_node_count; i++)
		if (w->server_nodes[i].graph == graph)
			w->server_nodes[i].handle = NULL;
}

CUresult mp_node_server(struct mp_worker *w, uint32_t id, void **ret)
{
	uint32_t i = id & ~SERVER_ID;

	if (i >= w->server_node_count || !w->server_nodes[i].handle)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = w->server_nodes[i].handle;
	return CUDA_SUCCESS;
}

/* The id of a driver's node; 0: out of memory. */
uint32_t mp_node_id(struct mp_worker *w, CUgraphNode h, uint32_t graph)
{
	struct object_table *t = &w->table[MP_KIND_node];
	uint32_t page, i;

	for (page = 0; page < MP_ARRAY_LEN(t->page); page++)
		for (i = 0; t->page[page] && i < 256; i++) {
			struct object *o = &t->page[page][i];
			struct node *n = o->state == OBJECT_LIVE ? o->own : NULL;

			if (n && (n->handle == h || n->core == h))
				return page * 256 + i;
		}
	for (i = 0; i < w->server_node_count; i++)
		if (w->server_nodes[i].handle == h)
			return i | SERVER_ID;
	if (w->server_node_count == w->server_node_cap) {
		uint32_t cap = w->server_node_cap ? w->server_node_cap * 2 : 64;
		struct server_node *p = cap > 1u << 22 ? NULL : realloc(w->server_nodes, cap * sizeof(*p));

		if (!p)
			return 0;
		w->server_nodes = p;
		w->server_node_cap = cap;
	}
	w->server_nodes[w->server_node_count] = (struct server_node){h, graph};
	return w->server_node_count++ | SERVER_ID;
}

static struct node *node_own(struct mp_job *job, uint32_t id)
{
	struct object *o = id & SERVER_ID ? NULL : mp_object_find(job->w, MP_KIND_node, id);

	return o && o->state == OBJECT_LIVE ? o->own : NULL;
}

/* The node that has the parameters. */
CUresult mp_node_core(struct mp_job *job, uint32_t id, CUgraphNode *ret)
{
	struct node *n = node_own(job, id);
	void *h;
	CUresult e = mp_job_get(job, MP_KIND_node, id, &h);

	*ret = n ? n->core : h;
	return e;
}

static CUresult nodes_in(struct mp_job *job, const uint32_t *ids, size_t n, CUgraphNode **ret)
{
	CUgraphNode *nodes = mp_job_scratch(job, (n + 1) * sizeof(*nodes));
	size_t i;

	if (!nodes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n; i++) {
		void *h;
		CUresult e = mp_job_get(job, MP_KIND_node, ids[i], &h);

		if (e)
			return e;
		nodes[i] = h;
	}
	*ret = nodes;
	return CUDA_SUCCESS;
}

/* Graph and dependencies of a node that is added. */
static CUresult where(struct mp_job *job, uint32_t graph, const uint32_t *ids, size_t n, CUgraph *ret_graph,
		      CUgraphNode **ret)
{
	void *h;
	CUresult e = mp_job_get(job, MP_KIND_graph, graph, &h);

	if (!e && !h)
		e = CUDA_ERROR_INVALID_VALUE;
	*ret_graph = h;
	return e ? e : nodes_in(job, ids, n, ret);
}

static CUresult context_handle(struct mp_job *job, uint32_t id, CUcontext *ret)
{
	void *h;
	CUresult e = mp_job_get(job, MP_KIND_context, id, &h);

	*ret = h ? h : job->ctx ? job->ctx->handle : NULL;
	return e;
}

/* ---- Kernel nodes ---- */

struct kernel_params {
	CUDA_KERNEL_NODE_PARAMS p;
	void *extra[5];
	size_t size;
};

static CUresult kernel_params(struct mp_job *job, const struct mp_kernel_call *k, uint32_t ctx,
			      struct kernel_params *b)
{
	void *f;
	CUresult e = mp_job_get(job, MP_KIND_function, k->func, &f);

	if (e || !f)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	b->p = (CUDA_KERNEL_NODE_PARAMS){
		.gridDimX = k->gridDimX, .gridDimY = k->gridDimY, .gridDimZ = k->gridDimZ,
		.blockDimX = k->blockDimX, .blockDimY = k->blockDimY, .blockDimZ = k->blockDimZ,
		.sharedMemBytes = k->sharedMemBytes,
	};
	/* A kernel of a library belongs into `kern`, a function of a module into `func`. */
	if (mp_function_is_kernel(job->w, k->func))
		b->p.kern = f;
	else
		b->p.func = f;
	if (k->params_len) {
		b->size = k->params_len;
		b->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
		b->extra[1] = (void *)(uintptr_t)k->params;
		b->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
		b->extra[3] = &b->size;
		b->extra[4] = CU_LAUNCH_PARAM_END;
		b->p.extra = b->extra;
	}
	return context_handle(job, ctx, &b->p.ctx);
}

CUresult mp_do_cuGraphAddKernelNode_v2(struct mp_job *job, const struct mp_msg_cuGraphAddKernelNode_v2 *m)
{
	struct kernel_params b;
	CUgraphNode *deps, node;
	CUgraph g;
	CUresult e = where(job, m->hGraph, m->dependencies, m->dependencies_count, &g, &deps);

	if (!job->w->drv.cuGraphAddKernelNode_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = kernel_params(job, &m->call, m->ctx, &b);
	if (!e)
		e = job->w->drv.cuGraphAddKernelNode_v2(&node, g, deps, m->dependencies_count, &b.p);
	return e ? e : mp_job_bind(job, MP_KIND_node, m->phGraphNode, node);
}

CUresult mp_do_cuGraphKernelNodeSetParams_v2(struct mp_job *job, const struct mp_msg_cuGraphKernelNodeSetParams_v2 *m)
{
	struct kernel_params b;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphKernelNodeSetParams_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = kernel_params(job, &m->call, m->ctx, &b);
	return e ? e : job->w->drv.cuGraphKernelNodeSetParams_v2(node, &b.p);
}

CUresult mp_do_cuGraphExecKernelNodeSetParams_v2(struct mp_job *job,
						 const struct mp_msg_cuGraphExecKernelNodeSetParams_v2 *m)
{
	struct kernel_params b;
	CUgraphNode node;
	void *x;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphExecKernelNodeSetParams_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_job_get(job, MP_KIND_exec, m->hGraphExec, &x);
	if (!e)
		e = kernel_params(job, &m->call, m->ctx, &b);
	return e ? e : job->w->drv.cuGraphExecKernelNodeSetParams_v2(x, node, &b.p);
}

CUresult mp_do_cuGraphKernelNodeSetAttribute(struct mp_job *job, const struct mp_msg_cuGraphKernelNodeSetAttribute *m)
{
	CUlaunchAttribute *a;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphKernelNodeSetAttribute)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_launch_attrs(job, &m->attr, 1, &a);
	return e ? e : job->w->drv.cuGraphKernelNodeSetAttribute(node, a->id, &a->value);
}

CUresult mp_do_cuGraphKernelNodeGetAttribute(struct mp_job *job, const struct mp_msg_cuGraphKernelNodeGetAttribute *m,
					     struct mp_rep_cuGraphKernelNodeGetAttribute *r)
{
	CUkernelNodeAttrValue v;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	static_assert(sizeof(v) == sizeof(r->value), "an attribute's value is 64 bytes");
	memset(&v, 0, sizeof(v));
	if (!job->w->drv.cuGraphKernelNodeGetAttribute)
		return CUDA_ERROR_NOT_SUPPORTED;
	switch ((CUkernelNodeAttrID)m->attr) {
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT: /* hold handles of the driver */
	case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
	case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
		return CUDA_ERROR_NOT_SUPPORTED;
	default:
		break;
	}
	if (!e)
		e = job->w->drv.cuGraphKernelNodeGetAttribute(node, (CUkernelNodeAttrID)m->attr, &v);
	memcpy(r->value, &v, sizeof(v));
	return e;
}

/* ---- Copy nodes ---- */

CUresult mp_do_cuGraphAddMemcpyNode(struct mp_job *job, const struct mp_msg_cuGraphAddMemcpyNode *m)
{
	struct mp_worker *w = job->w;
	bool in = m->copy.srcMemoryType == CU_MEMORYTYPE_HOST, out = m->copy.dstMemoryType == CU_MEMORYTYPE_HOST;
	CUDA_HOST_NODE_PARAMS hp = {0};
	struct graph_copy *gc = NULL;
	CUgraphNode *deps, node = NULL, other = NULL;
	CUDA_MEMCPY3D d;
	struct node *n;
	CUcontext ctx;
	CUgraph g;
	CUresult e = where(job, m->hGraph, m->dependencies, m->dependencies_count, &g, &deps);

	if (!w->drv.cuGraphAddMemcpyNode || !w->drv.cuGraphAddHostNode || (in && out))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = context_handle(job, m->ctx, &ctx);
	if (e)
		return e;
	if (in || out) {
		gc = mp_graph_copy_new(w, job->ticket, mp_box_bytes(&m->copy), in);
		if (!gc)
			return CUDA_ERROR_OUT_OF_MEMORY;
		hp.fn = gc->fn;
		hp.userData = gc;
	}
	e = mp_box_driver(job, &m->copy, gc ? gc->packed : NULL, &d);
	if (!e && in)
		e = w->drv.cuGraphAddHostNode(&other, g, deps, m->dependencies_count, &hp);
	if (!e)
		e = w->drv.cuGraphAddMemcpyNode(&node, g, in ? &other : deps, in ? 1 : m->dependencies_count, &d,
						ctx);
	if (!e && out)
		e = w->drv.cuGraphAddHostNode(&other, g, &node, 1, &hp);
	if (!e)
		e = mp_job_bind(job, MP_KIND_node, m->phGraphNode, out ? other : node);
	if (e)
		return e;
	n = node_own(job, m->phGraphNode);
	n->core = node;
	n->copy = gc;
	return CUDA_SUCCESS;
}

/* The host end stays where it is, and as large. */
static CUresult copy_again(struct mp_job *job, uint32_t id, const struct mp_copy3d *c, CUgraphNode *node,
			   CUDA_MEMCPY3D *d)
{
	struct node *n = node_own(job, id);
	bool host = c->srcMemoryType == CU_MEMORYTYPE_HOST || c->dstMemoryType == CU_MEMORYTYPE_HOST;
	CUresult e = mp_node_core(job, id, node);

	if (e)
		return e;
	if (host && (!n || !n->copy || n->copy->n != mp_box_bytes(c)))
		return CUDA_ERROR_NOT_SUPPORTED;
	return mp_box_driver(job, c, host ? n->copy->packed : NULL, d);
}

CUresult mp_do_cuGraphMemcpyNodeSetParams(struct mp_job *job, const struct mp_msg_cuGraphMemcpyNodeSetParams *m)
{
	CUgraphNode node;
	CUDA_MEMCPY3D d;
	CUresult e = copy_again(job, m->hNode, &m->copy, &node, &d);

	if (!job->w->drv.cuGraphMemcpyNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	return e ? e : job->w->drv.cuGraphMemcpyNodeSetParams(node, &d);
}

CUresult mp_do_cuGraphExecMemcpyNodeSetParams(struct mp_job *job,
					      const struct mp_msg_cuGraphExecMemcpyNodeSetParams *m)
{
	CUgraphNode node;
	CUDA_MEMCPY3D d;
	CUcontext ctx;
	void *x;
	CUresult e = copy_again(job, m->hNode, &m->copy, &node, &d);

	if (!job->w->drv.cuGraphExecMemcpyNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_job_get(job, MP_KIND_exec, m->hGraphExec, &x);
	if (!e)
		e = context_handle(job, m->ctx, &ctx);
	return e ? e : job->w->drv.cuGraphExecMemcpyNodeSetParams(x, node, &d, ctx);
}

/* ---- Host nodes: `fn` is the serial that CALL names ---- */

static CUresult host_params(struct mp_job *job, uint64_t serial, CUDA_HOST_NODE_PARAMS *p)
{
	struct host_call *h = mp_host_new(job->w, job->ticket, serial);

	if (!h)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p->fn = mp_host_fn();
	p->userData = h;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuGraphAddHostNode(struct mp_job *job, const struct mp_msg_cuGraphAddHostNode *m)
{
	CUDA_HOST_NODE_PARAMS p;
	CUgraphNode *deps, node;
	CUgraph g;
	CUresult e = where(job, m->hGraph, m->dependencies, m->dependencies_count, &g, &deps);

	if (!job->w->drv.cuGraphAddHostNode)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = host_params(job, m->fn, &p);
	if (!e)
		e = job->w->drv.cuGraphAddHostNode(&node, g, deps, m->dependencies_count, &p);
	return e ? e : mp_job_bind(job, MP_KIND_node, m->phGraphNode, node);
}

CUresult mp_do_cuGraphHostNodeSetParams(struct mp_job *job, const struct mp_msg_cuGraphHostNodeSetParams *m)
{
	CUDA_HOST_NODE_PARAMS p;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphHostNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = host_params(job, m->fn, &p);
	return e ? e : job->w->drv.cuGraphHostNodeSetParams(node, &p);
}

CUresult mp_do_cuGraphExecHostNodeSetParams(struct mp_job *job, const struct mp_msg_cuGraphExecHostNodeSetParams *m)
{
	CUDA_HOST_NODE_PARAMS p;
	CUgraphNode node;
	void *x;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphExecHostNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_job_get(job, MP_KIND_exec, m->hGraphExec, &x);
	if (!e)
		e = host_params(job, m->fn, &p);
	return e ? e : job->w->drv.cuGraphExecHostNodeSetParams(x, node, &p);
}

/* ---- Nodes of waits and writes ---- */

static CUresult batch_params(struct mp_job *job, const struct mp_mem_op *ops, uint32_t n, uint32_t ctx,
			     uint32_t flags, CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	CUresult e = mp_mem_ops(job, ops, n, &p->paramArray);

	p->count = n;
	p->flags = flags;
	return e ? e : context_handle(job, ctx, &p->ctx);
}

CUresult mp_do_cuGraphAddBatchMemOpNode(struct mp_job *job, const struct mp_msg_cuGraphAddBatchMemOpNode *m)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS p;
	CUgraphNode *deps, node;
	CUgraph g;
	CUresult e = where(job, m->hGraph, m->dependencies, m->dependencies_count, &g, &deps);

	if (!job->w->drv.cuGraphAddBatchMemOpNode)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = batch_params(job, m->ops, m->ops_count, m->ctx, m->flags, &p);
	if (!e)
		e = job->w->drv.cuGraphAddBatchMemOpNode(&node, g, deps, m->dependencies_count, &p);
	return e ? e : mp_job_bind(job, MP_KIND_node, m->phGraphNode, node);
}

CUresult mp_do_cuGraphBatchMemOpNodeSetParams(struct mp_job *job,
					      const struct mp_msg_cuGraphBatchMemOpNodeSetParams *m)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS p;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphBatchMemOpNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = batch_params(job, m->ops, m->ops_count, m->ctx, m->flags, &p);
	return e ? e : job->w->drv.cuGraphBatchMemOpNodeSetParams(node, &p);
}

CUresult mp_do_cuGraphExecBatchMemOpNodeSetParams(struct mp_job *job,
						  const struct mp_msg_cuGraphExecBatchMemOpNodeSetParams *m)
{
	CUDA_BATCH_MEM_OP_NODE_PARAMS p;
	CUgraphNode node;
	void *x;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphExecBatchMemOpNodeSetParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_job_get(job, MP_KIND_exec, m->hGraphExec, &x);
	if (!e)
		e = batch_params(job, m->ops, m->ops_count, m->ctx, m->flags, &p);
	return e ? e : job->w->drv.cuGraphExecBatchMemOpNodeSetParams(x, node, &p);
}

/* ---- Graphs inside nodes ---- */

CUresult mp_do_cuGraphChildGraphNodeGetGraph(struct mp_job *job, const struct mp_msg_cuGraphChildGraphNodeGetGraph *m)
{
	struct node *n = node_own(job, m->hNode);
	CUgraphNode node;
	CUgraph g;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphChildGraphNodeGetGraph)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuGraphChildGraphNodeGetGraph(node, &g);
	if (e)
		return e;
	/* A node that a capture made has no place for it: the id lives as long as the session. */
	return n ? inner_bind(job, n, m->phGraph, g) : mp_job_bind(job, MP_KIND_graph, m->phGraph, g);
}

CUresult mp_do_graph_condition(struct mp_job *job, const struct mp_msg_graph_condition *m,
			       struct mp_rep_graph_condition *r)
{
	CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
	const struct mp_drv *drv = &job->w->drv;
	CUgraphNode *deps, node;
	struct node *n;
	CUgraph g;
	CUresult e = where(job, m->hGraph, m->dependencies, m->dependencies_count, &g, &deps);

	p.conditional = (CUDA_CONDITIONAL_NODE_PARAMS){
		.handle = m->handle, .type = (CUgraphConditionalNodeType)m->type, .size = m->size};
	if (!drv->cuGraphAddNode_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e && (!m->size || m->size > 1024))
		e = CUDA_ERROR_INVALID_VALUE;
	if (!e)
		e = context_handle(job, m->ctx, &p.conditional.ctx);
	if (!e)
		e = drv->cuGraphAddNode_v2(&node, g, deps, NULL, m->dependencies_count, &p);
	if (!e)
		e = mp_job_bind(job, MP_KIND_node, m->phGraphNode, node);
	if (e)
		return e;
	n = node_own(job, m->phGraphNode);
	n->bodies = p.conditional.phGraph_out; /* the driver's, as long as the node lives */
	n->body_count = m->size;
	return CUDA_SUCCESS;
}

CUresult mp_do_graph_body(struct mp_job *job, const struct mp_msg_graph_body *m)
{
	struct node *n = node_own(job, m->hNode);

	if (!n || !n->bodies || m->index >= n->body_count)
		return CUDA_ERROR_INVALID_VALUE;
	return inner_bind(job, n, m->phGraph, n->bodies[m->index]);
}
