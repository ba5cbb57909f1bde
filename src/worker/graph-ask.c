/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs: copies of them, making them executable, and questions about their nodes. */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#include "mp-convert.h"

CUresult mp_do_cuGraphClone(struct mp_job *job, const struct mp_msg_cuGraphClone *m)
{
	CUgraph clone;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->originalGraph, &g);

	if (!job->w->drv.cuGraphClone)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuGraphClone(&clone, g);
	return e ? e : mp_job_bind(job, MP_KIND_graph, m->phGraphClone, clone);
}

CUresult mp_do_cuGraphInstantiateWithFlags(struct mp_job *job, const struct mp_msg_cuGraphInstantiateWithFlags *m,
					   struct mp_rep_cuGraphInstantiateWithFlags *r)
{
	CUgraphExec x;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!job->w->drv.cuGraphInstantiateWithFlags)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuGraphInstantiateWithFlags(&x, g, m->flags);
	return e ? e : mp_job_bind(job, MP_KIND_exec, m->phGraphExec, x);
}

CUresult mp_do_cuGraphInstantiateWithParams(struct mp_job *job, const struct mp_msg_cuGraphInstantiateWithParams *m,
					    struct mp_rep_cuGraphInstantiateWithParams *r)
{
	CUDA_GRAPH_INSTANTIATE_PARAMS p = {.flags = m->flags};
	CUgraphExec x;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!job->w->drv.cuGraphInstantiateWithParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (e)
		return e;
	p.hUploadStream = job->stream->handle;
	e = job->w->drv.cuGraphInstantiateWithParams(&x, g, &p);
	r->instantiateResult = (uint32_t)p.result_out;
	if (e && p.hErrNode_out)
		r->errNode = mp_node_id(job->w, p.hErrNode_out, m->hGraph);
	return e ? e : mp_job_bind(job, MP_KIND_exec, m->phGraphExec, x);
}

CUresult mp_do_cuGraphExecUpdate_v2(struct mp_job *job, const struct mp_msg_cuGraphExecUpdate_v2 *m,
				    struct mp_rep_cuGraphExecUpdate_v2 *r)
{
	CUgraphExecUpdateResultInfo info = {0};
	void *x, *g;
	CUresult e = mp_job_get(job, MP_KIND_exec, m->hGraphExec, &x);

	if (!job->w->drv.cuGraphExecUpdate_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);
	if (e)
		return e;
	e = job->w->drv.cuGraphExecUpdate_v2(x, g, &info);
	r->updateResult = (uint32_t)info.result;
	if (info.errorNode)
		r->errorNode = mp_node_id(job->w, info.errorNode, m->hGraph);
	if (info.errorFromNode)
		r->errorFromNode = mp_node_id(job->w, info.errorFromNode, m->hGraph);
	/* What differs is part of the answer, which travels only with a good result; the client makes 910 of it. */
	return e == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE ? CUDA_SUCCESS : e;
}

CUresult mp_do_cuGraphNodeGetType(struct mp_job *job, const struct mp_msg_cuGraphNodeGetType *m,
				  struct mp_rep_cuGraphNodeGetType *r)
{
	CUgraphNodeType type = 0;
	CUgraphNode node;
	CUresult e = mp_node_core(job, m->hNode, &node);

	if (!job->w->drv.cuGraphNodeGetType)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuGraphNodeGetType(node, &type);
	r->type = (uint32_t)type;
	return e;
}

/*
 * A copy with a host end is two nodes of the driver, also in captured and cloned
 * graphs: pull -> copy, or copy -> push.  The client sees the copy alone, with
 * the edges of both.
 */
enum half { HALF_NONE, HALF_PULL, HALF_PUSH };

static enum half half_of(const struct mp_drv *drv, CUgraphNode node)
{
	CUDA_HOST_NODE_PARAMS p = {0};
	CUgraphNodeType type = 0;

	if (!drv->cuGraphHostNodeGetParams || drv->cuGraphNodeGetType(node, &type) ||
	    type != CU_GRAPH_NODE_TYPE_HOST || drv->cuGraphHostNodeGetParams(node, &p))
		return HALF_NONE;
	return mp_box_is_pull(p.fn) ? HALF_PULL : mp_box_is_push(p.fn) ? HALF_PUSH : HALF_NONE;
}

typedef CUresult ask_fn(CUgraphNode, CUgraphNode *, CUgraphEdgeData *, size_t *);

static CUgraphNode only(ask_fn *ask, CUgraphNode node)
{
	CUgraphEdgeData data = {0};
	CUgraphNode other = NULL;
	size_t n = 1;

	if (!ask || ask(node, &other, &data, &n))
		return NULL;
	return other;
}

/* The node that the client sees in place of this one. */
static CUgraphNode seen(const struct mp_drv *drv, CUgraphNode node)
{
	CUgraphNode other = NULL;

	switch (half_of(drv, node)) {
	case HALF_PULL:
		other = only(drv->cuGraphNodeGetDependentNodes_v2, node);
		break;
	case HALF_PUSH:
		other = only(drv->cuGraphNodeGetDependencies_v2, node);
		break;
	case HALF_NONE:
		break;
	}
	return other ? other : node;
}

uint32_t mp_node_seen_id(struct mp_job *job, CUgraphNode node, uint32_t graph)
{
	const struct mp_drv *drv = &job->w->drv;

	return mp_node_id(job->w, drv->cuGraphNodeGetType ? seen(drv, node) : node, graph);
}

/* Ids of the driver's nodes; `roots`: a pull stands for its copy, else it is left out. */
static uint32_t *ids_of(struct mp_job *job, const CUgraphNode *node, size_t n, uint32_t graph, bool roots,
			uint32_t *ret_n)
{
	const struct mp_drv *drv = &job->w->drv;
	uint32_t *id = mp_job_scratch(job, (n + 1) * sizeof(*id)), k = 0;
	size_t i;

	for (i = 0; id && i < n; i++) {
		if (!roots && half_of(drv, node[i]))
			continue;
		id[k] = mp_node_id(job->w, seen(drv, node[i]), graph);
		if (!id[k++])
			return NULL;
	}
	*ret_n = k;
	return id;
}

CUresult mp_do_cuGraphGetNodes(struct mp_job *job, const struct mp_msg_cuGraphGetNodes *m,
			       struct mp_rep_cuGraphGetNodes *r)
{
	const struct mp_drv *drv = &job->w->drv;
	CUgraphNode *node;
	uint32_t *types, i;
	size_t n = 0;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!drv->cuGraphGetNodes || !drv->cuGraphNodeGetType)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = drv->cuGraphGetNodes(g, NULL, &n);
	if (e)
		return e;
	node = mp_job_scratch(job, (n + 1) * sizeof(*node));
	types = mp_job_scratch(job, (n + 1) * sizeof(*types));
	if (!node || !types)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (n && (e = drv->cuGraphGetNodes(g, node, &n)))
		return e;
	r->nodes = ids_of(job, node, n, m->hGraph, false, &r->nodes_count);
	if (!r->nodes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < r->nodes_count; i++) {
		CUgraphNodeType type = 0;
		CUgraphNode core;

		if (!mp_node_core(job, r->nodes[i], &core))
			(void)drv->cuGraphNodeGetType(core, &type);
		types[i] = (uint32_t)type;
	}
	r->types = types;
	r->types_count = r->nodes_count;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuGraphGetRootNodes(struct mp_job *job, const struct mp_msg_cuGraphGetRootNodes *m,
				   struct mp_rep_cuGraphGetRootNodes *r)
{
	const struct mp_drv *drv = &job->w->drv;
	CUgraphNode *node;
	size_t n = 0;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!drv->cuGraphGetRootNodes || !drv->cuGraphNodeGetType)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = drv->cuGraphGetRootNodes(g, NULL, &n);
	if (e)
		return e;
	node = mp_job_scratch(job, (n + 1) * sizeof(*node));
	if (!node)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (n && (e = drv->cuGraphGetRootNodes(g, node, &n)))
		return e;
	r->nodes = ids_of(job, node, n, m->hGraph, true, &r->nodes_count);
	return r->nodes ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_do_cuGraphGetEdges_v2(struct mp_job *job, const struct mp_msg_cuGraphGetEdges_v2 *m,
				  struct mp_rep_cuGraphGetEdges_v2 *r)
{
	const struct mp_drv *drv = &job->w->drv;
	CUgraphNode *from, *to;
	CUgraphEdgeData *data;
	struct mp_edge_data *out;
	uint32_t *a, *b, k = 0;
	size_t n = 0, i;
	void *g;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!drv->cuGraphGetEdges_v2 || !drv->cuGraphNodeGetType)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = drv->cuGraphGetEdges_v2(g, NULL, NULL, NULL, &n);
	if (e)
		return e;
	from = mp_job_scratch(job, (n + 1) * sizeof(*from));
	to = mp_job_scratch(job, (n + 1) * sizeof(*to));
	data = mp_job_scratch(job, (n + 1) * sizeof(*data));
	out = mp_job_scratch(job, (n + 1) * sizeof(*out));
	a = mp_job_scratch(job, (n + 1) * sizeof(*a));
	b = mp_job_scratch(job, (n + 1) * sizeof(*b));
	if (!from || !to || !data || !out || !a || !b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (n && (e = drv->cuGraphGetEdges_v2(g, from, to, data, &n)))
		return e;
	for (i = 0; i < n; i++) {
		a[k] = mp_node_id(job->w, seen(drv, from[i]), m->hGraph);
		b[k] = mp_node_id(job->w, seen(drv, to[i]), m->hGraph);
		if (!a[k] || !b[k])
			return CUDA_ERROR_OUT_OF_MEMORY;
		/* The two halves of a copy with a host end are one node. */
		if (a[k] == b[k])
			continue;
		mp_from_edge_data(&out[k], &data[i]);
		k++;
	}
	r->from = a;
	r->to = b;
	r->edgeData = out;
	r->from_count = r->to_count = r->edgeData_count = k;
	return CUDA_SUCCESS;
}

static CUresult neighbours(struct mp_job *job, uint32_t id, ask_fn *ask, enum half beyond, uint32_t **ret,
			   struct mp_edge_data **ret_data, uint32_t *ret_n)
{
	const struct mp_drv *drv = &job->w->drv;
	CUgraphNode *node, core, other;
	CUgraphEdgeData *data;
	size_t n = 0, i;
	CUresult e = mp_node_core(job, id, &core);

	if (!ask || !drv->cuGraphNodeGetType)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (e)
		return e;
	/* Past the other half of the node itself. */
	other = only(ask, core);
	if (other && half_of(drv, other) == beyond && seen(drv, other) == core)
		core = other;
	e = ask(core, NULL, NULL, &n);
	if (e)
		return e;
	node = mp_job_scratch(job, (n + 1) * sizeof(*node));
	data = mp_job_scratch(job, (n + 1) * sizeof(*data));
	*ret_data = mp_job_scratch(job, (n + 1) * sizeof(**ret_data));
	*ret = mp_job_scratch(job, (n + 1) * sizeof(**ret));
	if (!node || !data || !*ret_data || !*ret)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (n && (e = ask(core, node, data, &n)))
		return e;
	for (i = 0; i < n; i++) {
		(*ret)[i] = mp_node_id(job->w, seen(drv, node[i]), 0);
		if (!(*ret)[i])
			return CUDA_ERROR_OUT_OF_MEMORY;
		mp_from_edge_data(&(*ret_data)[i], &data[i]);
	}
	*ret_n = (uint32_t)n;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuGraphNodeGetDependencies_v2(struct mp_job *job, const struct mp_msg_cuGraphNodeGetDependencies_v2 *m,
					     struct mp_rep_cuGraphNodeGetDependencies_v2 *r)
{
	uint32_t *ids = NULL, n = 0;
	struct mp_edge_data *data = NULL;
	CUresult e = neighbours(job, m->hNode, job->w->drv.cuGraphNodeGetDependencies_v2, HALF_PULL, &ids, &data, &n);

	r->dependencies = ids;
	r->edgeData = data;
	r->dependencies_count = r->edgeData_count = n;
	return e;
}

CUresult mp_do_cuGraphNodeGetDependentNodes_v2(struct mp_job *job,
					       const struct mp_msg_cuGraphNodeGetDependentNodes_v2 *m,
					       struct mp_rep_cuGraphNodeGetDependentNodes_v2 *r)
{
	uint32_t *ids = NULL, n = 0;
	struct mp_edge_data *data = NULL;
	CUresult e = neighbours(job, m->hNode, job->w->drv.cuGraphNodeGetDependentNodes_v2, HALF_PUSH, &ids, &data, &n);

	r->dependentNodes = ids;
	r->edgeData = data;
	r->dependentNodes_count = r->edgeData_count = n;
	return e;
}

/* The driver writes a file; it gets one in memory. */
CUresult mp_do_cuGraphDebugDotPrint(struct mp_job *job, const struct mp_msg_cuGraphDebugDotPrint *m,
				    struct mp_rep_cuGraphDebugDotPrint *r)
{
	char path[40], *text;
	ssize_t n;
	void *g;
	int fd;
	CUresult e = mp_job_get(job, MP_KIND_graph, m->hGraph, &g);

	if (!job->w->drv.cuGraphDebugDotPrint)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (e)
		return e;
	fd = memfd_create("dot", MFD_CLOEXEC);
	if (fd < 0)
		return CUDA_ERROR_OPERATING_SYSTEM;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	e = job->w->drv.cuGraphDebugDotPrint(g, path, m->flags);
	text = mp_job_scratch(job, 4u << 20);
	n = !e && text ? pread(fd, text, 4u << 20, 0) : 0;
	close(fd);
	if (!e && n >= 0) {
		r->text = text;
		r->text_len = (uint64_t)n;
	}
	return e;
}
