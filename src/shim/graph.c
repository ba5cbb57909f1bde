/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs and executable graphs.  Building and launching are one-way; making one
 * executable, updating one and asking for what the server alone knows (nodes that
 * a capture made, edges) each cost an answer.
 *
 * A node that the server names by an id with the top bit set has none of ours yet:
 * it gets a handle when it is first seen.
 */
#include "shim/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mp-convert.h"

static_assert(sizeof(struct mp_graph) <= MP_SLOT_SIZE, "a graph fits its slot");
static_assert(sizeof(struct mp_exec) <= MP_SLOT_SIZE, "an executable graph fits its slot");
static_assert(sizeof(struct mp_node) <= MP_SLOT_SIZE, "a node fits its slot");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the lists of nodes */

struct mp_graph *mp_graph_new(void)
{
	return mp_slot_new(MP_KIND_graph);
}

struct mp_graph *mp_graph_get(CUgraph h)
{
	return mp_object(h, MP_KIND_graph);
}

struct mp_node *mp_node_get(CUgraphNode h)
{
	return mp_object(h, MP_KIND_node);
}

void mp_node_free(struct mp_node *n)
{
	unsigned i;

	/* The graphs inside it are its own. */
	if (n->known && n->type == CU_GRAPH_NODE_TYPE_GRAPH)
		mp_graph_gone((struct mp_graph *)n->p.child);
	if (n->known && n->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
		for (i = 0; i < n->p.cond.size; i++)
			mp_graph_gone((struct mp_graph *)n->p.cond.phGraph_out[i]);
	if (n->known && n->type == CU_GRAPH_NODE_TYPE_MEMCPY)
		free(n->p.own_copy);
	if (n->known && n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
		free(n->p.own_alloc);
	if (n->typed && (n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->type == CU_GRAPH_NODE_TYPE_MEM_FREE))
		mp_blocks_drop(&n->graph->blocks, n);
	free(n->own_params);
	mp_slot_free(n);
}

void mp_graph_gone(struct mp_graph *g)
{
	struct mp_node *n, *list;

	pthread_mutex_lock(&lock);
	list = g->nodes;
	g->nodes = NULL;
	pthread_mutex_unlock(&lock);
	while ((n = list)) {
		list = n->next;
		mp_node_free(n);
	}
	mp_blocks_drop(&g->blocks, NULL);
	mp_users_drop(&g->users);
	mp_slot_free(g);
}

void mp_graph_destroy_quiet(struct mp_thread *t, struct mp_graph *g)
{
	struct mp_msg_cuGraphDestroy m = {.hGraph = g->head.id};
	struct mp_out o;

	(void)MP_SEND(&o, t, MP_CALL_cuGraphDestroy, cuGraphDestroy, &m, t->ctx->head.id);
	mp_graph_gone(g);
}

void mp_node_add(struct mp_graph *g, struct mp_node *n)
{
	pthread_mutex_lock(&lock);
	n->graph = g;
	n->next = g->nodes;
	g->nodes = n;
	pthread_mutex_unlock(&lock);
}

void mp_node_remove(struct mp_node *n)
{
	struct mp_node **p;

	pthread_mutex_lock(&lock);
	for (p = &n->graph->nodes; *p && *p != n; p = &(*p)->next)
		;
	if (*p)
		*p = n->next;
	pthread_mutex_unlock(&lock);
	mp_node_free(n);
}

struct mp_node *mp_node_named(struct mp_graph *g, uint32_t id)
{
	struct mp_node *n;

	if (!id)
		return NULL;
	pthread_mutex_lock(&lock);
	for (n = g->nodes; n && n->head.id != id; n = n->next)
		;
	if (!n && id >> 31 && (n = mp_slot_new_id(MP_KIND_node, id))) {
		n->graph = g;
		n->next = g->nodes;
		g->nodes = n;
	}
	pthread_mutex_unlock(&lock);
	return n;
}

CUresult mp_nodes_ids(struct mp_thread *t, struct mp_graph *g, const CUgraphNode *deps, size_t n,
		      const uint32_t **ret)
{
	uint32_t *id;
	size_t i;

	*ret = NULL;
	if (!n)
		return CUDA_SUCCESS;
	if (!deps || n > MP_RECORD_LARGEST / 8)
		return CUDA_ERROR_INVALID_VALUE;
	id = mp_scratch(t, n * sizeof(*id));
	if (!id)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n; i++) {
		struct mp_node *d = mp_node_get(deps[i]);

		if (!d || (g && d->graph != g))
			return CUDA_ERROR_INVALID_VALUE;
		id[i] = d->head.id;
	}
	*ret = id;
	return CUDA_SUCCESS;
}

static CUresult begin(enum mp_call call, struct mp_thread **t, CUgraph h, struct mp_graph **g)
{
	CUresult r = mp_enter(call, t);

	if (r)
		return r;
	*g = mp_graph_get(h);
	return *g ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuGraphCreate(CUgraph *ret, unsigned int flags)
{
	struct mp_msg_cuGraphCreate m = {.flags = flags};
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphCreate, &t);

	if (r)
		return r;
	if (!ret || flags)
		return CUDA_ERROR_INVALID_VALUE;
	g = mp_graph_new();
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.phGraph = g->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphCreate, cuGraphCreate, &m, t->ctx->head.id);
	if (r) {
		mp_graph_gone(g);
		return r;
	}
	*ret = (CUgraph)g;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphDestroy(CUgraph h)
{
	struct mp_msg_cuGraphDestroy m;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = begin(MP_CALL_cuGraphDestroy, &t, h, &g);

	if (r)
		return r;
	if (g->child) /* belongs to its node */
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraph = g->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphDestroy, cuGraphDestroy, &m, t->ctx->head.id);
	if (!r)
		mp_graph_gone(g);
	return r;
}

/* ---- Clones ---- */

CUresult mp_shim_cuGraphClone(CUgraph *ret, CUgraph h)
{
	struct mp_msg_cuGraphClone m;
	struct mp_graph *g, *c;
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = begin(MP_CALL_cuGraphClone, &t, h, &g);

	if (r)
		return r;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	c = mp_graph_new();
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->host = g->host;
	if (mp_blocks_copy(&c->blocks, &g->blocks) || mp_users_copy(&c->users, g->users)) {
		mp_graph_gone(c);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	m.phGraphClone = c->head.id;
	m.originalGraph = g->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphClone, cuGraphClone, &m, t->ctx->head.id);
	if (r) {
		mp_graph_gone(c);
		return r;
	}
	*ret = (CUgraph)c;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphNodeFindInClone(CUgraphNode *ret, CUgraphNode node, CUgraph h)
{
	struct mp_msg_cuGraphNodeFindInClone m;
	struct mp_node *n = mp_node_get(node), *c;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = begin(MP_CALL_cuGraphNodeFindInClone, &t, h, &g);

	if (r)
		return r;
	if (!ret || !n || n->graph == g)
		return CUDA_ERROR_INVALID_VALUE;
	c = mp_slot_new(MP_KIND_node);
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.phNode = c->head.id;
	m.hOriginalNode = n->head.id;
	m.hClonedGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphNodeFindInClone, cuGraphNodeFindInClone, &m,
		   t->ctx->head.id);
	if (!r) {
		r = mp_out_ask(&o, &a);
		free(a.own_data);
	}
	if (r) {
		mp_slot_waste(c);
		return r;
	}
	c->type = n->type;
	c->typed = n->typed;
	mp_node_add(g, c);
	*ret = (CUgraphNode)c;
	return CUDA_SUCCESS;
}

/* ---- Making executable ---- */

static CUresult instantiate(enum mp_call call, CUgraphExec *ret, CUgraph h, unsigned long long flags)
{
	struct mp_msg_cuGraphInstantiateWithFlags m = {.flags = flags};
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_exec *x;
	struct mp_out o;
	CUresult r = begin(call, &t, h, &g);

	if (r)
		return r;
	if (!ret || flags & ~15ull)
		return CUDA_ERROR_INVALID_VALUE;
	x = mp_slot_new(MP_KIND_exec);
	if (!x)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.phGraphExec = x->head.id;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags, &m,
		   t->ctx->head.id);
	if (!r) {
		r = mp_out_ask(&o, &a);
		free(a.own_data);
	}
	if (r) {
		mp_slot_waste(x);
		return r;
	}
	x->host = g->host;
	(void)mp_blocks_copy(&x->blocks, &g->blocks);
	(void)mp_users_copy(&x->users, g->users);
	x->flags = flags;
	*ret = (CUgraphExec)x;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphInstantiateWithFlags(CUgraphExec *ret, CUgraph h, unsigned long long flags)
{
	return instantiate(MP_CALL_cuGraphInstantiateWithFlags, ret, h, flags);
}

CUresult mp_shim_cuGraphInstantiate(CUgraphExec *ret, CUgraph h, CUgraphNode *error, char *log,
				    size_t size)
{
	if (error)
		*error = NULL;
	if (log && size)
		*log = 0;
	return instantiate(MP_CALL_cuGraphInstantiate, ret, h, 0);
}

CUresult mp_shim_cuGraphInstantiate_v2(CUgraphExec *ret, CUgraph h, CUgraphNode *error, char *log,
				       size_t size)
{
	return mp_shim_cuGraphInstantiate(ret, h, error, log, size);
}

CUresult mp_shim_cuGraphInstantiateWithParams(CUgraphExec *ret, CUgraph h,
					      CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
	CUresult r;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	p->hErrNode_out = NULL;
	p->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
	r = instantiate(MP_CALL_cuGraphInstantiateWithParams, ret, h,
			p->flags & ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD);
	if (!r)
		p->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
	if (!r && p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
		r = mp_shim_cuGraphUpload(*ret, p->hUploadStream);
	return r;
}

static CUresult exec_get(enum mp_call call, struct mp_thread **t, CUgraphExec h, struct mp_exec **x)
{
	CUresult r = mp_enter(call, t);

	if (r)
		return r;
	*x = mp_object(h, MP_KIND_exec);
	return *x ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuGraphExecGetFlags(CUgraphExec h, cuuint64_t *flags)
{
	struct mp_thread *t;
	struct mp_exec *x;
	CUresult r = exec_get(MP_CALL_cuGraphExecGetFlags, &t, h, &x);

	if (r)
		return r;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = x->flags;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphExecDestroy(CUgraphExec h)
{
	struct mp_msg_cuGraphExecDestroy m;
	struct mp_thread *t;
	struct mp_exec *x;
	struct mp_out o;
	CUresult r = exec_get(MP_CALL_cuGraphExecDestroy, &t, h, &x);

	if (r)
		return r;
	m.hGraphExec = x->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuGraphExecDestroy, cuGraphExecDestroy, &m, t->ctx->head.id);
	if (!r) {
		mp_blocks_drop(&x->blocks, NULL);
		mp_users_drop_after(t, x);
		mp_slot_free(x);
	}
	return r;
}

CUresult mp_shim_cuGraphLaunch(CUgraphExec h, CUstream stream)
{
	struct mp_msg_cuGraphLaunch m;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_exec *x;
	struct mp_out o;
	CUresult r = exec_get(MP_CALL_cuGraphLaunch, &t, h, &x);

	if (!r)
		r = mp_stream_get(t, stream, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	r = mp_mirror_before(t, s);
	if (!r)
		r = mp_blocks_launch(x->blocks, x->flags);
	if (r)
		return r;
	m.hGraph = x->head.id;
	m.hStream = s->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphLaunch, cuGraphLaunch, &m, t->ctx->head.id);
	if (r)
		return r;
	if (!atomic_load(&s->capture)) {
		mp_stream_issue(s, o.ticket);
		x->stream = s;
		x->stream_generation = s->head.generation;
		x->ticket = o.ticket;
		if (x->host)
			mp_stream_host(s, o.ticket);
	} else if (x->host) {
		mp_capture_host(s);
	}
	r = mp_out_end(&o);
	if (!r && mp_shim.launch_blocking && !atomic_load(&s->capture))
		r = mp_stream_wait(t, MP_CALL_cuGraphLaunch, s);
	return r;
}

CUresult mp_shim_cuGraphUpload(CUgraphExec h, CUstream stream)
{
	struct mp_msg_cuGraphUpload m;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_exec *x;
	struct mp_out o;
	CUresult r = exec_get(MP_CALL_cuGraphUpload, &t, h, &x);

	if (!r)
		r = mp_stream_get(t, stream, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	m.hGraph = x->head.id;
	m.hStream = s->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphUpload, cuGraphUpload, &m, t->ctx->head.id);
	if (r)
		return r;
	if (!atomic_load(&s->capture))
		mp_max(&s->issued, o.ticket);
	return mp_out_end(&o);
}

CUresult mp_shim_cuGraphExecUpdate_v2(CUgraphExec h, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
	struct mp_msg_cuGraphExecUpdate_v2 m;
	struct mp_rep_cuGraphExecUpdate_v2 reply;
	struct mp_graph *g = mp_graph_get(graph);
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_exec *x;
	struct mp_out o;
	CUresult r = exec_get(MP_CALL_cuGraphExecUpdate_v2, &t, h, &x);

	if (r)
		return r;
	if (!g || !info)
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraphExec = x->head.id;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphExecUpdate_v2, cuGraphExecUpdate_v2, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphExecUpdate_v2(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r) {
		info->result = (CUgraphExecUpdateResult)reply.updateResult;
		info->errorNode = (CUgraphNode)mp_node_named(g, reply.errorNode);
		info->errorFromNode = (CUgraphNode)mp_node_named(g, reply.errorFromNode);
		if (info->result != CU_GRAPH_EXEC_UPDATE_SUCCESS)
			r = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
		else
			x->host |= g->host;
		if (!r)
			(void)mp_blocks_copy(&x->blocks, &g->blocks);
	}
	free(a.own_data);
	return r;
}

CUresult mp_shim_cuGraphExecUpdate(CUgraphExec h, CUgraph graph, CUgraphNode *error,
				   CUgraphExecUpdateResult *result)
{
	CUgraphExecUpdateResultInfo info = {0};
	CUresult r = mp_shim_cuGraphExecUpdate_v2(h, graph, &info);

	if (error)
		*error = info.errorNode;
	if (result)
		*result = info.result;
	return r;
}

/* ---- Questions ---- */

/* Hand out at most *n of k handles; a NULL list asks for the number. */
static void hand_out(struct mp_graph *g, const uint32_t *ids, uint32_t k, CUgraphNode *list, size_t *n)
{
	size_t i;

	if (!list) {
		*n = k;
		return;
	}
	for (i = 0; i < *n; i++)
		list[i] = i < k ? (CUgraphNode)mp_node_named(g, ids[i]) : NULL;
	if (*n > k)
		*n = k;
}

CUresult mp_shim_cuGraphGetNodes(CUgraph h, CUgraphNode *list, size_t *n)
{
	struct mp_msg_cuGraphGetNodes m;
	struct mp_rep_cuGraphGetNodes reply;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	uint32_t i;
	CUresult r = begin(MP_CALL_cuGraphGetNodes, &t, h, &g);

	if (r)
		return r;
	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphGetNodes, cuGraphGetNodes, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphGetNodes(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	for (i = 0; !r && i < reply.nodes_count && i < reply.types_count; i++) {
		struct mp_node *node = mp_node_named(g, reply.nodes[i]);

		if (node && !node->typed) {
			node->type = (CUgraphNodeType)reply.types[i];
			node->typed = true;
		}
	}
	if (!r)
		hand_out(g, reply.nodes, reply.nodes_count, list, n);
	free(a.own_data);
	return r;
}

CUresult mp_shim_cuGraphGetRootNodes(CUgraph h, CUgraphNode *list, size_t *n)
{
	struct mp_msg_cuGraphGetRootNodes m;
	struct mp_rep_cuGraphGetRootNodes reply;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = begin(MP_CALL_cuGraphGetRootNodes, &t, h, &g);

	if (r)
		return r;
	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphGetRootNodes, cuGraphGetRootNodes, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphGetRootNodes(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r)
		hand_out(g, reply.nodes, reply.nodes_count, list, n);
	free(a.own_data);
	return r;
}

static void edge_out(CUgraphEdgeData *to, const struct mp_edge_data *from)
{
	memset(to, 0, sizeof(*to));
	to->from_port = from->from_port;
	to->to_port = from->to_port;
	to->type = from->type;
}

CUresult mp_shim_cuGraphGetEdges_v2(CUgraph h, CUgraphNode *from, CUgraphNode *to,
				    CUgraphEdgeData *data, size_t *n)
{
	struct mp_msg_cuGraphGetEdges_v2 m;
	struct mp_rep_cuGraphGetEdges_v2 reply;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	size_t i, k;
	CUresult r = begin(MP_CALL_cuGraphGetEdges_v2, &t, h, &g);

	if (r)
		return r;
	if (!n || !from != !to)
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphGetEdges_v2, cuGraphGetEdges_v2, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && (mp_get_rep_cuGraphGetEdges_v2(a.own_data, a.size, &reply) ||
		   reply.from_count != reply.to_count))
		r = CUDA_ERROR_UNKNOWN;
	if (!r) {
		k = *n;
		for (i = 0; data && from && i < k && i < reply.edgeData_count; i++)
			edge_out(&data[i], &reply.edgeData[i]);
		hand_out(g, reply.from, reply.from_count, from, &k);
		hand_out(g, reply.to, reply.to_count, to, n);
	}
	free(a.own_data);
	return r;
}

CUresult mp_shim_cuGraphGetEdges(CUgraph h, CUgraphNode *from, CUgraphNode *to, size_t *n)
{
	return mp_shim_cuGraphGetEdges_v2(h, from, to, NULL, n);
}

#define NEIGHBOURS(X, field)                                                                       \
	CUresult mp_shim_##X##_v2(CUgraphNode h, CUgraphNode *list, CUgraphEdgeData *data,         \
				  size_t *n)                                                       \
	{                                                                                          \
		struct mp_msg_##X##_v2 m;                                                          \
		struct mp_rep_##X##_v2 reply;                                                      \
		struct mp_node *node = mp_node_get(h);                                             \
		struct mp_thread *t;                                                               \
		struct mp_answer a;                                                                \
		struct mp_out o;                                                                   \
		size_t i;                                                                          \
		CUresult r = mp_enter(MP_CALL_##X##_v2, &t);                                       \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!node || !n)                                                                   \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		m.hNode = node->head.id;                                                           \
		r = MP_PUT(&o, t, MP_CALL_##X##_v2, X##_v2, &m, t->ctx->head.id);                  \
		if (r)                                                                             \
			return r;                                                                  \
		r = mp_out_ask(&o, &a);                                                            \
		if (!r && mp_get_rep_##X##_v2(a.own_data, a.size, &reply))                         \
			r = CUDA_ERROR_UNKNOWN;                                                    \
		for (i = 0; !r && list && data && i < *n && i < reply.edgeData_count; i++)         \
			edge_out(&data[i], &reply.edgeData[i]);                                    \
		if (!r)                                                                            \
			hand_out(node->graph, reply.field, reply.field##_count, list, n);          \
		free(a.own_data);                                                                  \
		return r;                                                                          \
	}                                                                                          \
	CUresult mp_shim_##X(CUgraphNode h, CUgraphNode *list, size_t *n)                          \
	{                                                                                          \
		return mp_shim_##X##_v2(h, list, NULL, n);                                         \
	}

NEIGHBOURS(cuGraphNodeGetDependencies, dependencies)
NEIGHBOURS(cuGraphNodeGetDependentNodes, dependentNodes)

CUresult mp_shim_cuGraphNodeGetType(CUgraphNode h, CUgraphNodeType *type)
{
	struct mp_msg_cuGraphNodeGetType m;
	struct mp_rep_cuGraphNodeGetType reply;
	struct mp_node *n = mp_node_get(h);
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuGraphNodeGetType, &t);

	if (r)
		return r;
	if (!n || !type)
		return CUDA_ERROR_INVALID_VALUE;
	if (!n->typed) {
		m.hNode = n->head.id;
		r = MP_PUT(&o, t, MP_CALL_cuGraphNodeGetType, cuGraphNodeGetType, &m,
			   t->ctx->head.id);
		if (r)
			return r;
		r = mp_out_ask(&o, &a);
		if (!r && mp_get_rep_cuGraphNodeGetType(a.own_data, a.size, &reply))
			r = CUDA_ERROR_UNKNOWN;
		free(a.own_data);
		if (r)
			return r;
		n->type = (CUgraphNodeType)reply.type;
		n->typed = true;
	}
	*type = n->type;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuGraphDebugDotPrint(CUgraph h, const char *path, unsigned int flags)
{
	struct mp_msg_cuGraphDebugDotPrint m = {.flags = flags};
	struct mp_rep_cuGraphDebugDotPrint reply;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	FILE *f;
	CUresult r = begin(MP_CALL_cuGraphDebugDotPrint, &t, h, &g);

	if (r)
		return r;
	if (!path)
		return CUDA_ERROR_INVALID_VALUE;
	m.hGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuGraphDebugDotPrint, cuGraphDebugDotPrint, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuGraphDebugDotPrint(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r) {
		f = fopen(path, "we");
		if (!f || fwrite(reply.text, 1, reply.text_len, f) != reply.text_len)
			r = CUDA_ERROR_OPERATING_SYSTEM;
		if (f && fclose(f))
			r = CUDA_ERROR_OPERATING_SYSTEM;
	}
	free(a.own_data);
	return r;
}

/* ---- Edges ---- */

#define EDGES(X)                                                                                   \
	CUresult mp_shim_##X(CUgraph h, const CUgraphNode *from, const CUgraphNode *to, size_t n)  \
	{                                                                                          \
		struct mp_msg_##X m = {.numDependencies = n};                                      \
		struct mp_graph *g;                                                                \
		struct mp_thread *t;                                                               \
		const uint32_t *a;                                                                 \
		uint32_t *b = NULL;                                                                \
		struct mp_answer answer;                                                           \
		struct mp_out o;                                                                   \
		size_t i;                                                                          \
		CUresult r = begin(MP_CALL_##X, &t, h, &g);                                        \
                                                                                                   \
		if (!r)                                                                            \
			r = mp_nodes_ids(t, g, from, n, &a);                                       \
		if (r || !n)                                                                       \
			return r;                                                                  \
		b = malloc(n * sizeof(*b));                                                        \
		if (!b)                                                                            \
			return CUDA_ERROR_OUT_OF_MEMORY;                                           \
		memcpy(b, a, n * sizeof(*b));                                                      \
		r = mp_nodes_ids(t, g, to, n, &a);                                                 \
		m.hGraph = g->head.id;                                                             \
		m.from = b;                                                                        \
		m.to = a;                                                                          \
		for (i = 0; !r && i < n; i++)                                                      \
			r = a[i] == b[i] ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;                \
		/* Whether an edge is there is the server's to say. */                             \
		if (!r)                                                                            \
			r = MP_PUT(&o, t, MP_CALL_##X, X, &m, t->ctx->head.id);                    \
		if (!r) {                                                                          \
			r = mp_out_ask(&o, &answer);                                               \
			free(answer.own_data);                                                     \
		}                                                                                  \
		free(b);                                                                           \
		return r;                                                                          \
	}                                                                                          \
	CUresult mp_shim_##X##_v2(CUgraph h, const CUgraphNode *from, const CUgraphNode *to,       \
				  const CUgraphEdgeData *data, size_t n)                           \
	{                                                                                          \
		size_t i;                                                                          \
                                                                                                   \
		for (i = 0; data && i < n; i++)                                                    \
			if (data[i].from_port || data[i].to_port || data[i].type)                  \
				return mp_refused(MP_CALL_##X##_v2);                               \
		return mp_shim_##X(h, from, to, n);                                                \
	}

EDGES(cuGraphAddDependencies)
EDGES(cuGraphRemoveDependencies)
