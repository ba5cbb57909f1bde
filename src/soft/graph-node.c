/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graph nodes: adding each kind, and reading and setting what they hold.
 *
 * Every call first makes the mp_work that its parameters describe, checked as
 * the stream call of the same kind would be; graph-exec.c uses the same makers
 * for executable graphs.
 */
#include "graph-node.h"

#include <stdlib.h>
#include <string.h>

/* The context for a node: the one named, else the current one. */
static CUresult context_for(CUcontext named, struct CUctx_st **ret)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!named)
		return mp_context_current(ret);
	if (!mp_context_live(named) || !named->active)
		return CUDA_ERROR_INVALID_CONTEXT;
	*ret = named;
	return CUDA_SUCCESS;
}

/* ---- Parameters to work ---- */

CUresult mp_make_kernel(const CUDA_KERNEL_NODE_PARAMS *p, struct mp_work *w)
{
	struct CUctx_st *ctx;
	CUfunction f;
	CUresult r;

	memset(w, 0, sizeof(*w));
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	f = p->func ? p->func : (CUfunction)p->kern;
	r = context_for(p->func && !p->kern && mp_handle_live(MP_FUNCTION, p->func)
				? p->func->module->ctx
				: p->ctx,
			&ctx);
	if (r)
		return r;
	*w = (struct mp_work){
		.kind = MP_WORK_KERNEL,
		.ctx = ctx,
		.kernel = {.grid = {p->gridDimX, p->gridDimY, p->gridDimZ},
			   .block = {p->blockDimX, p->blockDimY, p->blockDimZ},
			   .cluster = {1, 1, 1},
			   .shared = p->sharedMemBytes},
	};
	r = mp_function_find(ctx, f, &w->kernel.function, &w->kernel.kernel);
	if (r)
		return f ? r : CUDA_ERROR_INVALID_VALUE;
	if (mp_handle_live(MP_KERNEL, p->kern))
		w->kernel.kernel = p->kern;
	r = mp_launch_check(ctx, &w->kernel);
	if (!r)
		r = cuFuncLoad(w->kernel.function);
	return r ? r : mp_launch_pack(&w->kernel, p->kernelParams, p->extra);
}

CUresult mp_make_copy(const CUDA_MEMCPY3D *p, CUcontext named, struct mp_work *w)
{
	struct CUctx_st *ctx;
	CUresult r = context_for(named, &ctx);

	memset(w, 0, sizeof(*w));
	if (!r)
		r = p ? mp_copy_check(p) : CUDA_ERROR_INVALID_VALUE;
	w->kind = MP_WORK_COPY;
	if (r)
		return r;
	w->ctx = ctx;
	w->copy.desc = *p;
	return CUDA_SUCCESS;
}

CUresult mp_make_fill(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext named, struct mp_work *w)
{
	struct mp_range range;
	struct CUctx_st *ctx;
	CUresult r = context_for(named, &ctx);

	memset(w, 0, sizeof(*w));
	if (r || !p)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	*w = (struct mp_work){.kind = MP_WORK_FILL,
			      .ctx = ctx,
			      .fill = {p->dst, p->pitch, p->width, p->height, p->value,
				       p->elementSize}};
	return p->width && p->height ? mp_fill_check(&w->fill, &range) : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_make_host(const CUDA_HOST_NODE_PARAMS *p, struct mp_work *w)
{
	struct CUctx_st *ctx;
	CUresult r = context_for(NULL, &ctx);

	memset(w, 0, sizeof(*w));
	if (r || !p || !p->fn)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	w->kind = MP_WORK_HOST;
	w->ctx = ctx;
	w->host.fn = p->fn;
	w->host.data = p->userData;
	return CUDA_SUCCESS;
}

CUresult mp_make_event(enum mp_work_kind kind, CUevent event, struct mp_work *w)
{
	CUresult r = mp_soft_ready();

	memset(w, 0, sizeof(*w));
	if (r)
		return r;
	if (!mp_handle_live(MP_EVENT, event))
		return CUDA_ERROR_INVALID_HANDLE;
	w->kind = kind;
	w->ctx = event->ctx;
	w->event = event;
	return CUDA_SUCCESS;
}

CUresult mp_make_memops(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, struct mp_work *w)
{
	struct CUctx_st *ctx;
	CUresult r;

	memset(w, 0, sizeof(*w));
	if (!p || !p->count || p->count > 256 || !p->paramArray || p->flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = context_for(p->ctx, &ctx);
	if (!r)
		r = mp_memops_check(p->paramArray, p->count);
	if (r)
		return r;
	w->kind = MP_WORK_MEMOPS;
	w->ctx = ctx;
	w->memops.count = p->count;
	w->memops.own_ops = malloc(p->count * sizeof(*p->paramArray));
	if (!w->memops.own_ops) {
		w->kind = MP_WORK_EMPTY;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	memcpy(w->memops.own_ops, p->paramArray, p->count * sizeof(*p->paramArray));
	return CUDA_SUCCESS;
}

/* ---- Adding ---- */

static CUresult add(CUgraphNode *ret, CUgraph g, const CUgraphNode *deps, size_t n,
		    struct mp_work *own_work, CUresult made)
{
	struct CUgraphNode_st *node;
	size_t i, j;

	if (made) {
		/* Makers leave nothing behind when they fail, except a kernel's attributes. */
		return made;
	}
	if (!ret || !mp_handle_live(MP_GRAPH, g) || (n && !deps))
		goto bad;
	for (i = 0; i < n; i++) {
		if (!mp_handle_live(MP_NODE, deps[i]) || deps[i]->graph != g)
			goto bad;
		for (j = 0; j < i; j++)
			if (deps[j] == deps[i])
				goto bad;
	}
	mp_graph_lock();
	node = mp_graph_add(g, own_work, deps, n);
	mp_graph_unlock();
	if (!node)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret = node;
	return CUDA_SUCCESS;
bad:
	mp_work_fini(own_work);
	return CUDA_ERROR_INVALID_VALUE;
}

#define DEPS const CUgraphNode *dependencies, size_t numDependencies
#define ADD(w, made) add(phGraphNode, hGraph, dependencies, numDependencies, w, made)

CUresult cuGraphAddKernelNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
				 const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	return ADD(&w, mp_make_kernel(nodeParams, &w));
}

static CUDA_KERNEL_NODE_PARAMS kernel_v2(const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS v2 = {0};

	memcpy(&v2, p, sizeof(*p)); /* version 2 begins with version 1 */
	return v2;
}

CUresult cuGraphAddKernelNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
			      const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
	CUDA_KERNEL_NODE_PARAMS p;

	if (!nodeParams)
		return CUDA_ERROR_INVALID_VALUE;
	p = kernel_v2(nodeParams);
	return cuGraphAddKernelNode_v2(phGraphNode, hGraph, dependencies, numDependencies, &p);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
			      const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
	struct mp_work w;
	return ADD(&w, mp_make_copy(copyParams, ctx, &w));
}

CUresult cuGraphAddMemsetNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
			      const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx)
{
	struct mp_work w;
	return ADD(&w, mp_make_fill(memsetParams, ctx, &w));
}

CUresult cuGraphAddHostNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
			    const CUDA_HOST_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	return ADD(&w, mp_make_host(nodeParams, &w));
}

CUresult cuGraphAddEmptyNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS)
{
	struct mp_work w = {.kind = MP_WORK_EMPTY};
	CUresult r = context_for(NULL, &w.ctx);
	return ADD(&w, r);
}

CUresult cuGraphAddEventRecordNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS, CUevent event)
{
	struct mp_work w;
	return ADD(&w, mp_make_event(MP_WORK_RECORD, event, &w));
}

CUresult cuGraphAddEventWaitNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS, CUevent event)
{
	struct mp_work w;
	return ADD(&w, mp_make_event(MP_WORK_WAIT, event, &w));
}

CUresult cuGraphAddBatchMemOpNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
				  const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	return ADD(&w, mp_make_memops(nodeParams, &w));
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
				  CUgraph childGraph)
{
	struct mp_work w = {.kind = MP_WORK_CHILD};
	CUresult r = context_for(NULL, &w.ctx);

	if (!r && (!mp_handle_live(MP_GRAPH, childGraph) || childGraph == hGraph))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		mp_graph_lock();
		w.child = mp_graph_clone(childGraph);
		mp_graph_unlock();
		if (!w.child)
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	return ADD(&w, r);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
				CUDA_MEM_ALLOC_NODE_PARAMS *nodeParams)
{
	struct mp_work w = {.kind = MP_WORK_ALLOC};
	struct mp_device *d;
	CUresult r = context_for(NULL, &w.ctx);

	if (r)
		return r;
	if (!nodeParams || !nodeParams->bytesize ||
	    nodeParams->poolProps.allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
	    nodeParams->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	d = mp_device_find(nodeParams->poolProps.location.id);
	if (!d)
		return CUDA_ERROR_INVALID_VALUE;
	w.alloc.block = mp_graph_block_new(w.ctx, d, nodeParams->bytesize);
	if (!w.alloc.block)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w.alloc.addr = nodeParams->dptr = w.alloc.block->addr;
	w.alloc.params = *nodeParams;
	w.alloc.params.accessDescs = NULL;
	w.alloc.params.accessDescCount = 0;
	return ADD(&w, r);
}

CUresult cuGraphAddMemFreeNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS, CUdeviceptr dptr)
{
	struct mp_work w = {.kind = MP_WORK_FREE};
	CUresult r = context_for(NULL, &w.ctx);

	if (!r) {
		w.free.addr = dptr;
		w.free.block = mp_graph_block_find(dptr);
		if (!w.free.block)
			r = CUDA_ERROR_INVALID_VALUE;
	}
	return ADD(&w, r);
}

/* ---- The one call for all kinds ---- */

CUresult mp_make_any(CUgraphNodeParams *p, struct mp_work *w)
{
	CUDA_KERNEL_NODE_PARAMS k;
	CUDA_MEMSET_NODE_PARAMS m;
	CUDA_HOST_NODE_PARAMS h;
	CUDA_BATCH_MEM_OP_NODE_PARAMS b;

	memset(w, 0, sizeof(*w));
	switch ((int)p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
		memcpy(&k, &p->kernel, sizeof(k)); /* versions 2 and 3 have one layout */
		return mp_make_kernel(&k, w);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return mp_make_copy(&p->memcpy.copyParams, p->memcpy.copyCtx, w);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		memcpy(&m, &p->memset, sizeof(m));
		return mp_make_fill(&m, p->memset.ctx, w);
	case CU_GRAPH_NODE_TYPE_HOST:
		h = (CUDA_HOST_NODE_PARAMS){p->host.fn, p->host.userData};
		return mp_make_host(&h, w);
	case CU_GRAPH_NODE_TYPE_EMPTY:
		w->kind = MP_WORK_EMPTY;
		return context_for(NULL, &w->ctx);
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
		return mp_make_event(MP_WORK_RECORD, p->eventRecord.event, w);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
		return mp_make_event(MP_WORK_WAIT, p->eventWait.event, w);
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		memcpy(&b, &p->memOp, sizeof(b));
		return mp_make_memops(&b, w);
	default: return CUDA_ERROR_NOT_SUPPORTED;
	}
}

CUresult cuGraphAddNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph,
			   const CUgraphNode *dependencies, const CUgraphEdgeData *dependencyData,
			   size_t numDependencies, CUgraphNodeParams *nodeParams)
{
	CUDA_MEM_ALLOC_NODE_PARAMS alloc;
	struct mp_work w;
	CUresult r = mp_soft_ready();
	size_t i;

	if (r)
		return r;
	if (!nodeParams)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; dependencyData && i < numDependencies; i++)
		if (dependencyData[i].type > CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC)
			return CUDA_ERROR_INVALID_VALUE;
	switch ((int)nodeParams->type) {
	case CU_GRAPH_NODE_TYPE_GRAPH:
		return cuGraphAddChildGraphNode(phGraphNode, hGraph, dependencies, numDependencies,
						nodeParams->graph.graph);
	case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
		memcpy(&alloc, &nodeParams->alloc, sizeof(alloc));
		r = cuGraphAddMemAllocNode(phGraphNode, hGraph, dependencies, numDependencies,
					   &alloc);
		nodeParams->alloc.dptr = alloc.dptr;
		return r;
	case CU_GRAPH_NODE_TYPE_CONDITIONAL:
		r = ADD(&w, mp_make_condition(hGraph, &nodeParams->conditional, &w));
		if (!r) {
			(*phGraphNode)->work.cond.condition->used = true;
			nodeParams->conditional.phGraph_out = (*phGraphNode)->work.cond.own_bodies;
		}
		return r;
	case CU_GRAPH_NODE_TYPE_MEM_FREE:
		return cuGraphAddMemFreeNode(phGraphNode, hGraph, dependencies, numDependencies,
					     nodeParams->free.dptr);
	default: return ADD(&w, mp_make_any(nodeParams, &w));
	}
}

CUresult cuGraphAddNode(CUgraphNode *phGraphNode, CUgraph hGraph, DEPS,
			CUgraphNodeParams *nodeParams)
{
	return cuGraphAddNode_v2(phGraphNode, hGraph, dependencies, NULL, numDependencies,
				 nodeParams);
}

/* ---- Reading and setting ---- */

static CUresult node_of(CUgraphNode h, enum mp_work_kind kind)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	return mp_handle_live(MP_NODE, h) && h->work.kind == kind ? CUDA_SUCCESS
								  : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_node_replace(struct CUgraphNode_st *n, struct mp_work *own_work, CUresult made)
{
	if (made)
		return made;
	mp_graph_lock();
	if (own_work->kind == MP_WORK_KERNEL && n->work.kind == MP_WORK_KERNEL &&
	    !own_work->kernel.own_attrs) {
		/* Attributes stay with the node. */
		struct mp_work_kernel *from = &n->work.kernel, *to = &own_work->kernel;

		to->own_attrs = from->own_attrs;
		to->nattrs = from->nattrs;
		to->cooperative = from->cooperative;
		to->priority = from->priority;
		memcpy(to->cluster, from->cluster, sizeof(to->cluster));
		from->own_attrs = NULL;
		from->nattrs = 0;
	}
	mp_work_fini(&n->work);
	n->work = *own_work;
	free(n->args);
	n->args = NULL;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type)
{
	static const CUgraphNodeType types[MP_WORK_KINDS] = {
		[MP_WORK_EMPTY] = CU_GRAPH_NODE_TYPE_EMPTY,
		[MP_WORK_KERNEL] = CU_GRAPH_NODE_TYPE_KERNEL,
		[MP_WORK_COPY] = CU_GRAPH_NODE_TYPE_MEMCPY,
		[MP_WORK_FILL] = CU_GRAPH_NODE_TYPE_MEMSET,
		[MP_WORK_HOST] = CU_GRAPH_NODE_TYPE_HOST,
		[MP_WORK_CALLBACK] = CU_GRAPH_NODE_TYPE_HOST,
		[MP_WORK_RECORD] = CU_GRAPH_NODE_TYPE_EVENT_RECORD,
		[MP_WORK_WAIT] = CU_GRAPH_NODE_TYPE_WAIT_EVENT,
		[MP_WORK_MEMOPS] = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
		[MP_WORK_ALLOC] = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
		[MP_WORK_FREE] = CU_GRAPH_NODE_TYPE_MEM_FREE,
		[MP_WORK_CHILD] = CU_GRAPH_NODE_TYPE_GRAPH,
		[MP_WORK_CONDITION] = CU_GRAPH_NODE_TYPE_CONDITIONAL,
	};
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!type || !mp_handle_live(MP_NODE, hNode))
		return CUDA_ERROR_INVALID_VALUE;
	*type = types[hNode->work.kind];
	return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
	const struct mp_exec_kernel_info *info;
	struct mp_work_kernel *k;
	uint32_t i;
	CUresult r = node_of(hNode, MP_WORK_KERNEL);

	if (r || !nodeParams)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	k = &hNode->work.kernel;
	info = k->function->info;
	mp_graph_lock();
	if (!hNode->args && info->nparams) {
		hNode->args = calloc(info->nparams, sizeof(void *));
		for (i = 0; hNode->args && i < info->nparams; i++)
			hNode->args[i] = k->own_params + info->param_offset[i];
	}
	*nodeParams = (CUDA_KERNEL_NODE_PARAMS){
		.func = k->function,
		.gridDimX = k->grid[0], .gridDimY = k->grid[1], .gridDimZ = k->grid[2],
		.blockDimX = k->block[0], .blockDimY = k->block[1], .blockDimZ = k->block[2],
		.sharedMemBytes = k->shared, .kernelParams = hNode->args,
		.kern = k->kernel, .ctx = hNode->work.ctx,
	};
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
	CUDA_KERNEL_NODE_PARAMS p;
	CUresult r = nodeParams ? cuGraphKernelNodeGetParams_v2(hNode, &p)
				: CUDA_ERROR_INVALID_VALUE;

	if (!r)
		memcpy(nodeParams, &p, sizeof(*nodeParams));
	return r;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	CUresult r = node_of(hNode, MP_WORK_KERNEL);

	return r ? r : mp_node_replace(hNode, &w, mp_make_kernel(nodeParams, &w));
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams)
{
	CUDA_KERNEL_NODE_PARAMS p;

	if (!nodeParams)
		return CUDA_ERROR_INVALID_VALUE;
	p = kernel_v2(nodeParams);
	return cuGraphKernelNodeSetParams_v2(hNode, &p);
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode hNode, CUDA_MEMCPY3D *nodeParams)
{
	CUresult r = node_of(hNode, MP_WORK_COPY);

	if (!r && !nodeParams)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*nodeParams = hNode->work.copy.desc;
	return r;
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode hNode, const CUDA_MEMCPY3D *nodeParams)
{
	struct mp_work w;
	CUresult r = node_of(hNode, MP_WORK_COPY);

	return r ? r
		 : mp_node_replace(hNode, &w, mp_make_copy(nodeParams, hNode->work.ctx, &w));
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode hNode, CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
	CUresult r = node_of(hNode, MP_WORK_FILL);
	const struct mp_work_fill *f;

	if (r || !nodeParams)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	f = &hNode->work.fill;
	*nodeParams = (CUDA_MEMSET_NODE_PARAMS){f->dst, f->pitch, f->value, f->element, f->width,
						f->height};
	return CUDA_SUCCESS;
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	CUresult r = node_of(hNode, MP_WORK_FILL);

	return r ? r
		 : mp_node_replace(hNode, &w, mp_make_fill(nodeParams, hNode->work.ctx, &w));
}

CUresult cuGraphHostNodeGetParams(CUgraphNode hNode, CUDA_HOST_NODE_PARAMS *nodeParams)
{
	CUresult r = node_of(hNode, MP_WORK_HOST);

	if (r || !nodeParams)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	*nodeParams = (CUDA_HOST_NODE_PARAMS){hNode->work.host.fn, hNode->work.host.data};
	return CUDA_SUCCESS;
}

CUresult cuGraphHostNodeSetParams(CUgraphNode hNode, const CUDA_HOST_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	CUresult r = node_of(hNode, MP_WORK_HOST);

	return r ? r : mp_node_replace(hNode, &w, mp_make_host(nodeParams, &w));
}

static CUresult event_get(CUgraphNode h, enum mp_work_kind kind, CUevent *ret)
{
	CUresult r = node_of(h, kind);

	if (!r && !ret)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*ret = h->work.event;
	return r;
}

static CUresult event_set(CUgraphNode h, enum mp_work_kind kind, CUevent event)
{
	struct mp_work w;
	CUresult r = node_of(h, kind);

	return r ? r : mp_node_replace(h, &w, mp_make_event(kind, event, &w));
}

CUresult cuGraphEventRecordNodeGetEvent(CUgraphNode hNode, CUevent *event_out)
{
	return event_get(hNode, MP_WORK_RECORD, event_out);
}

CUresult cuGraphEventRecordNodeSetEvent(CUgraphNode hNode, CUevent event)
{
	return event_set(hNode, MP_WORK_RECORD, event);
}

CUresult cuGraphEventWaitNodeGetEvent(CUgraphNode hNode, CUevent *event_out)
{
	return event_get(hNode, MP_WORK_WAIT, event_out);
}

CUresult cuGraphEventWaitNodeSetEvent(CUgraphNode hNode, CUevent event)
{
	return event_set(hNode, MP_WORK_WAIT, event);
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode hNode, CUgraph *phGraph)
{
	CUresult r = node_of(hNode, MP_WORK_CHILD);

	if (!r && !phGraph)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*phGraph = hNode->work.child;
	return r;
}

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode hNode, CUDA_MEM_ALLOC_NODE_PARAMS *params_out)
{
	CUresult r = node_of(hNode, MP_WORK_ALLOC);

	if (!r && !params_out)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*params_out = hNode->work.alloc.params;
	return r;
}

CUresult cuGraphMemFreeNodeGetParams(CUgraphNode hNode, CUdeviceptr *dptr_out)
{
	CUresult r = node_of(hNode, MP_WORK_FREE);

	if (!r && !dptr_out)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*dptr_out = hNode->work.free.addr;
	return r;
}

CUresult cuGraphBatchMemOpNodeGetParams(CUgraphNode hNode,
					CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams_out)
{
	CUresult r = node_of(hNode, MP_WORK_MEMOPS);

	if (!r && !nodeParams_out)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*nodeParams_out = (CUDA_BATCH_MEM_OP_NODE_PARAMS){
			hNode->work.ctx, hNode->work.memops.count, hNode->work.memops.own_ops, 0};
	return r;
}

CUresult cuGraphBatchMemOpNodeSetParams(CUgraphNode hNode,
					const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams)
{
	struct mp_work w;
	CUresult r = node_of(hNode, MP_WORK_MEMOPS);

	return r ? r : mp_node_replace(hNode, &w, mp_make_memops(nodeParams, &w));
}

CUresult cuGraphNodeSetParams(CUgraphNode hNode, CUgraphNodeParams *nodeParams)
{
	CUgraphNodeType type;
	struct mp_work w;
	CUresult r = cuGraphNodeGetType(hNode, &type);

	if (!r && (!nodeParams || nodeParams->type != type))
		r = CUDA_ERROR_INVALID_VALUE;
	return r ? r : mp_node_replace(hNode, &w, mp_make_any(nodeParams, &w));
}

/* ---- Attributes of kernel nodes ---- */

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
				       const CUkernelNodeAttrValue *value)
{
	struct mp_work_kernel *k, probe;
	CUlaunchAttribute one = {.id = attr}, *all;
	uint32_t i;
	CUresult r = node_of(hNode, MP_WORK_KERNEL);

	if (r || !value)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	one.value = *value;
	mp_graph_lock();
	k = &hNode->work.kernel;
	probe = *k;
	probe.own_attrs = NULL;
	r = mp_launch_attributes(&probe, &one, 1);
	free(probe.own_attrs);
	for (i = 0; i < k->nattrs && k->own_attrs[i].id != attr; i++)
		;
	if (!r && i == k->nattrs) {
		all = realloc(k->own_attrs, (i + 1) * sizeof(*all));
		if (all) {
			k->own_attrs = all;
			k->nattrs++;
		} else {
			r = CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	if (!r) {
		k->own_attrs[i] = one;
		k->cooperative = probe.cooperative;
		k->priority = probe.priority;
		memcpy(k->cluster, probe.cluster, sizeof(k->cluster));
	}
	mp_graph_unlock();
	return r;
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
				       CUkernelNodeAttrValue *value_out)
{
	const struct mp_work_kernel *k;
	uint32_t i;
	CUresult r = node_of(hNode, MP_WORK_KERNEL);

	if (r || !value_out || (unsigned)attr >= CU_LAUNCH_ATTRIBUTE_MAX)
		return r ? r : CUDA_ERROR_INVALID_VALUE;
	memset(value_out, 0, sizeof(*value_out));
	mp_graph_lock();
	k = &hNode->work.kernel;
	if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY)
		value_out->priority = k->priority;
	if (attr == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
		value_out->cooperative = k->cooperative;
	for (i = 0; i < k->nattrs; i++)
		if (k->own_attrs[i].id == attr)
			*value_out = k->own_attrs[i].value;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
	uint32_t i;
	CUresult r = node_of(dst, MP_WORK_KERNEL);

	if (!r)
		r = node_of(src, MP_WORK_KERNEL);
	for (i = 0; !r && i < src->work.kernel.nattrs; i++)
		r = cuGraphKernelNodeSetAttribute(dst, src->work.kernel.own_attrs[i].id,
						  &src->work.kernel.own_attrs[i].value);
	return r;
}
