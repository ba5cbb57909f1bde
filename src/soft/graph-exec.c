/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executable graphs: instantiation, launch, update.
 *
 * An executable graph is a private clone in topological order.  A launch makes
 * an operation of each node, between one that follows the stream and the
 * earlier launch, and one that becomes the stream's tail.
 */
#include "graph-node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY()                                                                                    \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
	} while (0)

/* ---- Instantiation ---- */

/*
 * What may not stand in a body: CUDA C++ Programming Guide, "Conditional Graph
 * Nodes": kernels, copies, memsets, empty nodes, child graphs and conditional nodes.
 */
static CUresult bodies_check(const struct CUgraph_st *g, bool body)
{
	const struct CUgraphNode_st *n;
	CUresult r = mp_conditions_unused(g) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	unsigned i;

	for (n = g->first; n && !r; n = n->next) {
		switch (n->work.kind) {
		case MP_WORK_KERNEL:
		case MP_WORK_COPY:
		case MP_WORK_FILL:
		case MP_WORK_EMPTY:
			break;
		case MP_WORK_CHILD:
			r = bodies_check(n->work.child, body);
			break;
		case MP_WORK_CONDITION:
			for (i = 0; i < n->work.cond.size && !r; i++)
				r = bodies_check(n->work.cond.own_bodies[i], true);
			break;
		default:
			r = body ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
		}
	}
	return r;
}

static CUresult instantiate(CUgraphExec *ret, CUgraph g, uint64_t flags)
{
	struct CUgraphExec_st *x;
	bool cycle = false;
	CUresult r;

	READY();
	if (!ret || !mp_handle_live(MP_GRAPH, g) || flags & ~15ull)
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)
		return CUDA_ERROR_NOT_SUPPORTED;
	mp_graph_lock();
	r = bodies_check(g, false);
	mp_graph_unlock();
	if (r)
		return r;
	x = mp_handle_new(MP_GRAPH_EXEC, sizeof(*x));
	if (!x)
		return CUDA_ERROR_OUT_OF_MEMORY;
	x->flags = flags;
	mp_graph_lock();
	x->graph = mp_graph_clone(g);
	if (x->graph)
		x->order = mp_graph_order(x->graph, &cycle);
	if (!x->order) {
		mp_graph_free(x->graph);
		mp_handle_free(MP_GRAPH_EXEC, x);
		x = NULL;
	}
	mp_graph_unlock();
	if (!x)
		return cycle ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
	*ret = x;
	return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
				     unsigned long long flags)
{
	return instantiate(phGraphExec, hGraph, flags);
}

CUresult cuGraphInstantiate_v2(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
			       char *logBuffer, size_t bufferSize)
{
	CUresult r = instantiate(phGraphExec, hGraph, 0);

	if (phErrorNode)
		*phErrorNode = NULL;
	if (logBuffer && bufferSize)
		snprintf(logBuffer, bufferSize, "%s", r ? mp_error_string(r) : "");
	return r;
}

CUresult cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
			    char *logBuffer, size_t bufferSize)
{
	return cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *phGraphExec, CUgraph hGraph,
				      CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
	CUDA_GRAPH_INSTANTIATE_PARAMS *p = instantiateParams;
	CUresult r;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	p->hErrNode_out = NULL;
	r = instantiate(phGraphExec, hGraph, p->flags);
	p->result_out = !r ? CUDA_GRAPH_INSTANTIATE_SUCCESS
			: r == CUDA_ERROR_NOT_SUPPORTED
				? CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED
			: r == CUDA_ERROR_INVALID_VALUE ? CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE
							: CUDA_GRAPH_INSTANTIATE_ERROR;
	if (!r && p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
		r = cuGraphUpload(*phGraphExec, p->hUploadStream);
	return r;
}

struct users {
	struct mp_user_ref *own_refs;
	size_t n;
};

static void users_release(void *arg)
{
	struct users *u = arg;
	size_t i;

	for (i = 0; i < u->n; i++)
		mp_user_release(u->own_refs[i].object, u->own_refs[i].count);
	free(u->own_refs);
	free(u);
}

/* What a running graph keeps alive goes when it is over. Graph lock held. */
static void users_later(struct CUgraphExec_st *x)
{
	struct mp_work w = {.kind = MP_WORK_EMPTY, .ctx = x->ctx};
	struct users *u = malloc(sizeof(*u));
	struct mp_op *op = u ? mp_op_new(&w) : NULL;
	CUresult r;
	bool ready;

	if (!op) {
		free(u);
		return;
	}
	*u = (struct users){x->graph->users, x->graph->nusers};
	x->graph->users = NULL;
	x->graph->nusers = 0;
	op->delayed = true;
	op->after = users_release;
	op->after_arg = u;
	mp_queue_lock();
	r = mp_op_after(op, x->last);
	ready = mp_op_commit_locked(op);
	mp_queue_unlock();
	(void)r; /* without memory it goes at once */
	if (ready)
		mp_op_run(op);
	mp_op_unref(op);
}

CUresult cuGraphExecDestroy(CUgraphExec hGraphExec)
{
	struct CUgraphExec_st *x = hGraphExec;

	READY();
	if (!mp_handle_live(MP_GRAPH_EXEC, x))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	if (x->graph->nusers && !mp_op_done(x->last))
		users_later(x);
	/* Launched ops have their own copies of the work; memory blocks are counted. */
	mp_graph_free(x->graph);
	free(x->order);
	mp_op_unref(x->last);
	mp_handle_free(MP_GRAPH_EXEC, x);
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphExecGetFlags(CUgraphExec hGraphExec, cuuint64_t *flags)
{
	READY();
	if (!flags || !mp_handle_live(MP_GRAPH_EXEC, hGraphExec))
		return CUDA_ERROR_INVALID_VALUE;
	*flags = hGraphExec->flags;
	return CUDA_SUCCESS;
}

/* ---- Launch ---- */

struct launch {
	struct mp_op **ops; /* each counted once */
	size_t n, cap;
};

static struct mp_op *op_add(struct launch *l, struct mp_work *own_work)
{
	struct mp_op *op;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct mp_op **p = realloc(l->ops, cap * sizeof(*p));

		if (!p) {
			mp_work_fini(own_work);
			return NULL;
		}
		l->ops = p;
		l->cap = cap;
	}
	op = mp_op_new(own_work);
	if (op)
		l->ops[l->n++] = op;
	return op;
}

static struct mp_op *empty_op(struct launch *l, struct CUctx_st *ctx)
{
	struct mp_work w = {.kind = MP_WORK_EMPTY, .ctx = ctx};
	struct mp_op *op = op_add(l, &w);

	if (op)
		op->delayed = true;
	return op;
}

static CUresult build(struct launch *l, struct CUgraph_st *g, struct CUgraphNode_st **order,
		      struct CUctx_st *ctx, struct mp_op *begin, struct mp_op *end);

static CUresult build_child(struct launch *l, struct CUgraphNode_st *n, struct mp_op **ret_begin)
{
	struct CUgraphNode_st **order;
	struct mp_op *begin;
	bool cycle;
	CUresult r;

	begin = empty_op(l, n->work.ctx);
	n->op = empty_op(l, n->work.ctx);
	if (!begin || !n->op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	order = mp_graph_order(n->work.child, &cycle);
	if (!order)
		return cycle ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
	r = build(l, n->work.child, order, n->work.ctx, begin, n->op);
	free(order);
	*ret_begin = begin;
	return r;
}

/* Values that begin anew with every run of a graph are set before anything else of it. */
static CUresult build_defaults(struct launch *l, struct CUgraph_st *g, struct CUctx_st *ctx, struct mp_op **begin)
{
	struct mp_work w = {.kind = MP_WORK_DEFAULTS, .ctx = ctx};
	struct CUgraphNode_st *n;
	struct mp_op *op;
	unsigned k = 0;
	CUresult r;

	for (n = g->first; n; n = n->next)
		k += n->work.kind == MP_WORK_CONDITION && n->work.cond.condition->assign_default;
	if (!k)
		return CUDA_SUCCESS;
	w.defaults.own_list = calloc(k, sizeof(*w.defaults.own_list));
	if (!w.defaults.own_list)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (n = g->first; n; n = n->next)
		if (n->work.kind == MP_WORK_CONDITION && n->work.cond.condition->assign_default) {
			mp_condition_ref(n->work.cond.condition);
			w.defaults.own_list[w.defaults.n++] = n->work.cond.condition;
		}
	op = op_add(l, &w);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = mp_op_after(op, *begin);
	*begin = op;
	return r;
}

/*
 * Make the ops of a graph between begin and end.  The ops are nobody else's
 * yet, so their dependencies are made without the queue's lock.
 */
static CUresult build(struct launch *l, struct CUgraph_st *g, struct CUgraphNode_st **order,
		      struct CUctx_st *ctx, struct mp_op *begin, struct mp_op *end)
{
	size_t i, j;
	CUresult r = build_defaults(l, g, ctx, &begin);

	if (!r)
		r = mp_op_after(end, begin);
	for (i = 0; i < g->count; i++)
		order[i]->mark = 0;
	for (i = 0; i < g->count && !r; i++) {
		struct CUgraphNode_st *n = order[i];
		struct mp_op *first;

		if (n->work.kind == MP_WORK_CHILD && !n->disabled) {
			r = build_child(l, n, &first);
		} else {
			struct mp_work w = {.kind = MP_WORK_EMPTY, .ctx = n->work.ctx};

			if (!n->disabled)
				r = mp_work_copy(&w, &n->work);
			n->op = first = r ? NULL : op_add(l, &w);
			if (!first)
				r = CUDA_ERROR_OUT_OF_MEMORY;
		}
		if (!r && !n->ndeps)
			r = mp_op_after(first, begin);
		for (j = 0; j < n->ndeps && !r; j++) {
			r = mp_op_after(first, n->deps[j]->op);
			n->deps[j]->mark = 1; /* is not a leaf */
		}
	}
	for (i = 0; i < g->count && !r; i++)
		if (!order[i]->mark)
			r = mp_op_after(end, order[i]->op);
	return r;
}

/* All ops that were made go into the queue; those that are ready start. Returns with no lock held. */
static void release(struct launch *l, CUresult r)
{
	struct mp_op *list = NULL;
	size_t i;

	/* Ops that were made must run to be freed; after a failure they do nothing. */
	for (i = 0; i < l->n; i++) {
		if (r && l->ops[i]->work.kind != MP_WORK_EMPTY)
			mp_work_fini(&l->ops[i]->work);
		if (mp_op_commit_locked(l->ops[i])) {
			l->ops[i]->next = list;
			list = l->ops[i];
		}
	}
	mp_queue_unlock();
	mp_graph_unlock();
	while (list) {
		struct mp_op *next = list->next;

		mp_op_run(list);
		list = next;
	}
	for (i = 0; i < l->n; i++)
		mp_op_unref(l->ops[i]);
	free(l->ops);
}

CUresult mp_graph_body_start(struct CUctx_st *ctx, struct CUgraph_st *g, void (*after)(void *), void *arg)
{
	struct CUgraphNode_st **order;
	struct launch l = {0};
	struct mp_op *begin, *end;
	bool cycle;
	CUresult r;

	mp_graph_lock();
	begin = empty_op(&l, ctx);
	end = empty_op(&l, ctx);
	order = mp_graph_order(g, &cycle);
	r = begin && end && order ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	if (!r)
		r = build(&l, g, order, ctx, begin, end);
	free(order);
	if (end) {
		end->after = after;
		end->after_arg = arg;
	}
	if (r)
		mp_context_fail(ctx, r);
	mp_queue_lock();
	release(&l, r);
	/* Without an end nobody would be told; the caller goes on by itself then. */
	return end ? CUDA_SUCCESS : r;
}

/* An allocation that this graph does not free must have been freed since the last launch. */
static CUresult blocks_check(struct CUgraphExec_st *x)
{
	struct CUgraphNode_st *n, *m;

	for (n = x->graph->first; n; n = n->next) {
		if (n->work.kind != MP_WORK_ALLOC)
			continue;
		for (m = x->graph->first; m; m = m->next)
			if (m->work.kind == MP_WORK_FREE &&
			    m->work.free.block == n->work.alloc.block)
				break;
		if (m)
			continue;
		if (n->work.alloc.block->live &&
		    !(x->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH))
			return CUDA_ERROR_INVALID_VALUE;
		mp_graph_block_alloc_run(n->work.alloc.block);
	}
	return CUDA_SUCCESS;
}

/* The ops meet the rest of the queue: stream, earlier launch, events. Queue lock held. */
static CUresult enter_queue(struct launch *l, struct CUstream_st *s, struct CUgraphExec_st *x)
{
	struct mp_op *begin = l->ops[0], *end = l->ops[1], *old;
	CUresult r = mp_stream_chain(s, begin);
	size_t i;

	if (!r)
		r = mp_op_after(begin, x->last);
	for (i = 0; i < l->n && !r; i++) {
		struct mp_op *op = l->ops[i];

		if (op->work.kind == MP_WORK_WAIT && mp_handle_live(MP_EVENT, op->work.event)) {
			r = mp_op_after(op, op->work.event->op);
		} else if (op->work.kind == MP_WORK_RECORD &&
			   mp_handle_live(MP_EVENT, op->work.event)) {
			old = op->work.event->op;
			op->work.event->op = mp_op_ref(op);
			mp_op_unref(old);
		}
	}
	old = s->tail;
	s->tail = mp_op_ref(end);
	mp_op_unref(old);
	old = x->last;
	x->last = mp_op_ref(end);
	mp_op_unref(old);
	return r;
}

static CUresult launch(struct CUgraphExec_st *x, struct CUstream_st *s)
{
	struct launch l = {0};
	struct mp_op *begin, *end;
	CUresult r;

	mp_graph_lock();
	x->ctx = s->ctx;
	begin = empty_op(&l, s->ctx);
	end = empty_op(&l, s->ctx);
	r = begin && end ? blocks_check(x) : CUDA_ERROR_OUT_OF_MEMORY;
	if (!r)
		r = build(&l, x->graph, x->order, s->ctx, begin, end);
	mp_queue_lock();
	if (!r)
		r = enter_queue(&l, s, x);
	release(&l, r);
	return r;
}

CUresult cuGraphLaunch(CUgraphExec hGraph, CUstream hStream)
{
	struct mp_work w = {.kind = MP_WORK_CHILD};
	struct CUstream_st *s;
	CUresult r;
	MP_ENTER(ctx);

	if (!mp_handle_live(MP_GRAPH_EXEC, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	if (MP_UNLIKELY(mp_stream_capturing(s))) {
		/* In a capture a launch is a child graph. */
		w.ctx = s->ctx;
		mp_graph_lock();
		w.child = mp_graph_clone(hGraph->graph);
		mp_graph_unlock();
		return w.child ? mp_stream_submit(s, &w, NULL) : CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (s->legacy && s->ctx->captures) {
		r = mp_capture_implicit(s->ctx);
		if (r)
			return r;
	}
	return launch(hGraph, s);
}

CUresult cuGraphUpload(CUgraphExec hGraph, CUstream hStream)
{
	struct CUstream_st *s;
	MP_ENTER(ctx);

	if (!mp_handle_live(MP_GRAPH_EXEC, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	return mp_stream_find(ctx, hStream, &s);
}

/* ---- Changing what is executable ---- */

/* The executable graph's node for a node of the graph it was made from; child graphs included. */
static struct CUgraphNode_st *find_in(struct CUgraph_st *g, struct CUgraphNode_st *origin)
{
	struct CUgraphNode_st *n, *found;
	unsigned i;

	for (n = g->first; n; n = n->next) {
		if (n->origin == origin)
			return n;
		if (n->work.kind == MP_WORK_CHILD) {
			found = find_in(n->work.child, origin);
			if (found)
				return found;
		}
		for (i = 0; n->work.kind == MP_WORK_CONDITION && i < n->work.cond.size; i++) {
			found = find_in(n->work.cond.own_bodies[i], origin);
			if (found)
				return found;
		}
	}
	return NULL;
}

static CUresult exec_node(CUgraphExec x, CUgraphNode h, int kind, struct CUgraphNode_st **ret)
{
	READY();
	if (!mp_handle_live(MP_GRAPH_EXEC, x) || !mp_handle_live(MP_NODE, h))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	*ret = find_in(x->graph, h);
	mp_graph_unlock();
	return *ret && (kind < 0 || (*ret)->work.kind == (unsigned)kind) ? CUDA_SUCCESS
									 : CUDA_ERROR_INVALID_VALUE;
}

#define EXEC_SET(kind, make)                                                                       \
	struct CUgraphNode_st *n;                                                                  \
	struct mp_work w;                                                                          \
	CUresult r = exec_node(hGraphExec, hNode, kind, &n);                                       \
	return r ? r : mp_node_replace(n, &w, make)

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec hGraphExec, CUgraphNode hNode,
					   const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
	EXEC_SET(MP_WORK_KERNEL, mp_make_kernel(nodeParams, &w));
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
					const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
	CUDA_KERNEL_NODE_PARAMS p = {0};

	if (!nodeParams)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&p, nodeParams, sizeof(*nodeParams));
	return cuGraphExecKernelNodeSetParams_v2(hGraphExec, hNode, &p);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
					const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
	EXEC_SET(MP_WORK_COPY, mp_make_copy(copyParams, ctx, &w));
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
					const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx)
{
	EXEC_SET(MP_WORK_FILL, mp_make_fill(memsetParams, ctx, &w));
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
				      const CUDA_HOST_NODE_PARAMS *nodeParams)
{
	EXEC_SET(MP_WORK_HOST, mp_make_host(nodeParams, &w));
}

CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode,
					    CUevent event)
{
	EXEC_SET(MP_WORK_RECORD, mp_make_event(MP_WORK_RECORD, event, &w));
}

CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode, CUevent event)
{
	EXEC_SET(MP_WORK_WAIT, mp_make_event(MP_WORK_WAIT, event, &w));
}

CUresult cuGraphExecBatchMemOpNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
					    const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
	EXEC_SET(MP_WORK_MEMOPS, mp_make_memops(nodeParams, &w));
}

CUresult cuGraphExecNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
				  CUgraphNodeParams *nodeParams)
{
	CUgraphNodeType type;
	CUresult t = cuGraphNodeGetType(hNode, &type);

	if (!t && (!nodeParams || nodeParams->type != type))
		t = CUDA_ERROR_INVALID_VALUE;
	if (t)
		return t;
	{
		EXEC_SET(-1, mp_make_any(nodeParams, &w));
	}
}

CUresult cuGraphNodeSetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int isEnabled)
{
	struct CUgraphNode_st *n;
	CUresult r = exec_node(hGraphExec, hNode, -1, &n);

	if (r)
		return r;
	if (n->work.kind != MP_WORK_KERNEL && n->work.kind != MP_WORK_COPY &&
	    n->work.kind != MP_WORK_FILL)
		return CUDA_ERROR_INVALID_VALUE;
	n->disabled = !isEnabled;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int *isEnabled)
{
	struct CUgraphNode_st *n;
	CUresult r = exec_node(hGraphExec, hNode, -1, &n);

	if (!r && !isEnabled)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*isEnabled = !n->disabled;
	return r;
}

/* ---- Update as a whole ---- */

static bool same_edges(const struct CUgraphNode_st *a, const struct CUgraphNode_st *b)
{
	size_t i, j;

	if (a->ndeps != b->ndeps)
		return false;
	for (i = 0; i < a->ndeps; i++) {
		for (j = 0; j < b->ndeps && b->deps[j]->index != a->deps[i]->index; j++)
			;
		if (j == b->ndeps)
			return false;
	}
	return true;
}

static CUgraphExecUpdateResult compare(struct CUgraph_st *old, struct CUgraph_st *new,
				       struct CUgraphNode_st **ret_bad);

static CUgraphExecUpdateResult compare_bodies(struct CUgraphNode_st *a, struct CUgraphNode_st *b)
{
	CUgraphExecUpdateResult r = CU_GRAPH_EXEC_UPDATE_SUCCESS;
	struct CUgraphNode_st *bad;
	unsigned i;

	if (a->work.cond.type != b->work.cond.type || a->work.cond.size != b->work.cond.size)
		return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
	for (i = 0; i < a->work.cond.size && !r; i++)
		r = compare(a->work.cond.own_bodies[i], b->work.cond.own_bodies[i], &bad);
	return r;
}

/* Nodes are paired in the order of creation. Graph lock held. */
static CUgraphExecUpdateResult compare(struct CUgraph_st *old, struct CUgraph_st *new,
				       struct CUgraphNode_st **ret_bad)
{
	struct CUgraphNode_st *a, *b;

	mp_graph_number(old);
	mp_graph_number(new);
	*ret_bad = NULL;
	if (old->count != new->count)
		return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
	for (a = old->first, b = new->first; a; a = a->next, b = b->next) {
		*ret_bad = b;
		if (a->work.kind != b->work.kind)
			return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
		if (!same_edges(a, b))
			return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
		if (a->work.ctx != b->work.ctx)
			return a->work.kind == MP_WORK_KERNEL
				       ? CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE
				       : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
		if (a->work.kind == MP_WORK_ALLOC &&
		    a->work.alloc.block->size != b->work.alloc.block->size)
			return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
		if (a->work.kind == MP_WORK_CHILD) {
			struct CUgraphNode_st *bad;
			CUgraphExecUpdateResult r = compare(a->work.child, b->work.child, &bad);

			if (r)
				return r;
		}
		if (a->work.kind == MP_WORK_CONDITION) {
			CUgraphExecUpdateResult r = compare_bodies(a, b);

			if (r)
				return r;
		}
	}
	*ret_bad = NULL;
	return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

static CUresult take_work(struct CUgraph_st *old, struct CUgraph_st *new)
{
	struct CUgraphNode_st *a, *b;
	CUresult r = CUDA_SUCCESS;
	unsigned i;

	for (a = old->first, b = new->first; a && !r; a = a->next, b = b->next) {
		struct mp_work w;

		if (a->work.kind == MP_WORK_CHILD) {
			r = take_work(a->work.child, b->work.child);
			continue;
		}
		if (a->work.kind == MP_WORK_CONDITION) {
			mp_condition_ref(b->work.cond.condition);
			mp_condition_unref(a->work.cond.condition);
			a->work.cond.condition = b->work.cond.condition;
			for (i = 0; i < a->work.cond.size && !r; i++)
				r = take_work(a->work.cond.own_bodies[i], b->work.cond.own_bodies[i]);
			continue;
		}
		if (a->work.kind == MP_WORK_ALLOC || a->work.kind == MP_WORK_FREE)
			continue;
		r = mp_work_copy(&w, &b->work);
		if (!r) {
			mp_work_fini(&a->work);
			a->work = w;
		}
	}
	return r;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
			      CUgraphExecUpdateResultInfo *resultInfo)
{
	struct CUgraphNode_st *bad;
	CUgraphExecUpdateResult how;
	CUresult r = CUDA_SUCCESS;

	READY();
	if (!resultInfo || !mp_handle_live(MP_GRAPH_EXEC, hGraphExec) ||
	    !mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	how = compare(hGraphExec->graph, hGraph, &bad);
	if (!how)
		r = take_work(hGraphExec->graph, hGraph);
	mp_graph_unlock();
	memset(resultInfo, 0, sizeof(*resultInfo));
	resultInfo->result = r ? CU_GRAPH_EXEC_UPDATE_ERROR : how;
	resultInfo->errorNode = bad;
	return how ? CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE : r;
}

CUresult cuGraphExecUpdate(CUgraphExec hGraphExec, CUgraph hGraph, CUgraphNode *hErrorNode_out,
			   CUgraphExecUpdateResult *updateResult_out)
{
	CUgraphExecUpdateResultInfo info = {0};
	CUresult r = cuGraphExecUpdate_v2(hGraphExec, hGraph, &info);

	if (hErrorNode_out)
		*hErrorNode_out = info.errorNode;
	if (updateResult_out)
		*updateResult_out = info.result;
	return r;
}

CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
					    CUgraph childGraph)
{
	struct CUgraphNode_st *n, *bad;
	CUresult r = exec_node(hGraphExec, hNode, MP_WORK_CHILD, &n);

	if (r)
		return r;
	if (!mp_handle_live(MP_GRAPH, childGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	if (compare(n->work.child, childGraph, &bad))
		r = CUDA_ERROR_INVALID_VALUE;
	else
		r = take_work(n->work.child, childGraph);
	mp_graph_unlock();
	return r;
}
