/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUDA graphs: nodes and the edges between them, cloning, printing.
 *
 * A node holds work and the list of nodes it follows.  All graphs are guarded
 * by one lock, since captures change graphs from any thread.
 */
#include "graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t graph = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t next_id = 1;

void mp_graph_lock(void)
{
	pthread_mutex_lock(&graph);
}

void mp_graph_unlock(void)
{
	pthread_mutex_unlock(&graph);
}

struct CUgraph_st *mp_graph_new(void)
{
	struct CUgraph_st *g = mp_handle_new(MP_GRAPH, sizeof(*g));

	if (g)
		g->id = next_id++;
	return g;
}

CUresult mp_node_depend(struct CUgraphNode_st *n, struct CUgraphNode_st *dep)
{
	size_t i;

	for (i = 0; i < n->ndeps; i++)
		if (n->deps[i] == dep)
			return CUDA_SUCCESS;
	if (n->ndeps == n->cap_deps) {
		size_t cap = n->cap_deps ? n->cap_deps * 2 : 4;
		struct CUgraphNode_st **p = realloc(n->deps, cap * sizeof(*p));

		if (!p)
			return CUDA_ERROR_OUT_OF_MEMORY;
		n->deps = p;
		n->cap_deps = cap;
	}
	n->deps[n->ndeps++] = dep;
	return CUDA_SUCCESS;
}

struct CUgraphNode_st *mp_graph_add(struct CUgraph_st *g, struct mp_work *own_work,
				    struct CUgraphNode_st *const *deps, size_t ndeps)
{
	struct CUgraphNode_st *n = mp_handle_new(MP_NODE, sizeof(*n));
	size_t i;

	if (!n) {
		mp_work_fini(own_work);
		return NULL;
	}
	n->work = *own_work;
	own_work->kind = MP_WORK_EMPTY;
	for (i = 0; i < ndeps; i++) {
		if (mp_node_depend(n, deps[i])) {
			mp_work_fini(&n->work);
			free(n->deps);
			mp_handle_free(MP_NODE, n);
			return NULL;
		}
	}
	n->graph = g;
	n->id = next_id++;
	n->prev = g->last;
	if (g->last)
		g->last->next = n;
	else
		g->first = n;
	g->last = n;
	g->count++;
	if (n->work.kind == MP_WORK_CHILD)
		n->work.child->parent = n;
	for (i = 0; n->work.kind == MP_WORK_CONDITION && i < n->work.cond.size; i++)
		n->work.cond.own_bodies[i]->parent = n;
	return n;
}

void mp_node_free(struct CUgraphNode_st *own_node)
{
	struct CUgraphNode_st *n = own_node;
	struct CUgraph_st *g = n->graph;

	*(n->prev ? &n->prev->next : &g->first) = n->next;
	*(n->next ? &n->next->prev : &g->last) = n->prev;
	g->count--;
	mp_work_fini(&n->work);
	free(n->deps);
	free(n->args);
	mp_handle_free(MP_NODE, n);
}

void mp_graph_free(struct CUgraph_st *own_graph)
{
	struct CUgraph_st *g = own_graph;
	size_t i;

	if (!g)
		return;
	while (g->last)
		mp_node_free(g->last);
	for (i = 0; i < g->nusers; i++)
		mp_user_release(g->users[i].object, g->users[i].count);
	free(g->users);
	for (i = 0; i < g->nconditions; i++)
		mp_condition_unref(g->conditions[i]);
	free(g->conditions);
	mp_handle_free(MP_GRAPH, g);
}

void mp_graph_number(struct CUgraph_st *g)
{
	struct CUgraphNode_st *n;
	size_t i = 0;

	for (n = g->first; n; n = n->next)
		n->index = i++;
}

struct CUgraph_st *mp_graph_clone(const struct CUgraph_st *g)
{
	struct CUgraph_st *c = mp_graph_new();
	struct CUgraphNode_st *n, **map = calloc(g->count + 1, sizeof(*map));
	size_t i, made = 0;

	if (!c || !map)
		goto fail;
	c->origin = (struct CUgraph_st *)g;
	mp_graph_number((struct CUgraph_st *)g);
	for (n = g->first; n; n = n->next) {
		struct mp_work w;

		if (mp_work_copy(&w, &n->work))
			goto fail;
		map[made] = mp_graph_add(c, &w, NULL, 0);
		if (!map[made])
			goto fail;
		map[made]->origin = n;
		map[made]->index = made;
		map[made]->disabled = n->disabled;
		made++;
	}
	for (n = g->first; n; n = n->next)
		for (i = 0; i < n->ndeps; i++)
			if (mp_node_depend(map[n->index], map[n->deps[i]->index]))
				goto fail;
	if (g->nusers) {
		c->users = calloc(g->nusers, sizeof(*c->users));
		if (!c->users)
			goto fail;
		for (i = 0; i < g->nusers; i++) {
			c->users[c->nusers++] = g->users[i];
			mp_user_retain(g->users[i].object, g->users[i].count);
		}
	}
	free(map);
	return c;
fail:
	free(map);
	mp_graph_free(c);
	return NULL;
}

struct CUgraphNode_st **mp_graph_order(struct CUgraph_st *g, bool *ret_cycle)
{
	struct CUgraphNode_st **order = malloc((g->count + 1) * sizeof(*order)), *n;
	size_t done = 0, before, i;

	*ret_cycle = false;
	if (!order)
		return NULL;
	for (n = g->first; n; n = n->next)
		n->mark = 0;
	/* Nodes are mostly made after what they follow, so few passes are needed. */
	do {
		before = done;
		for (n = g->first; n; n = n->next) {
			if (n->mark)
				continue;
			for (i = 0; i < n->ndeps && n->deps[i]->mark; i++)
				;
			if (i < n->ndeps)
				continue;
			n->mark = 1;
			order[done++] = n;
		}
	} while (done > before && done < g->count);
	if (done < g->count) {
		*ret_cycle = true;
		free(order);
		return NULL;
	}
	return order;
}

/* ---- The calls ---- */

#define READY()                                                                                    \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
	} while (0)

CUresult cuGraphCreate(CUgraph *phGraph, unsigned int flags)
{
	READY();
	if (!phGraph || flags)
		return CUDA_ERROR_INVALID_VALUE;
	*phGraph = mp_graph_new();
	return *phGraph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphDestroy(CUgraph hGraph)
{
	READY();
	if (!mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	if (hGraph->parent)
		return CUDA_ERROR_INVALID_VALUE; /* its node owns it */
	mp_graph_lock();
	mp_graph_free(hGraph);
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph)
{
	READY();
	if (!phGraphClone || !mp_handle_live(MP_GRAPH, originalGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	*phGraphClone = mp_graph_clone(originalGraph);
	mp_graph_unlock();
	return *phGraphClone ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphNodeFindInClone(CUgraphNode *phNode, CUgraphNode hOriginalNode,
				CUgraph hClonedGraph)
{
	struct CUgraphNode_st *n;

	READY();
	if (!phNode || !mp_handle_live(MP_NODE, hOriginalNode) ||
	    !mp_handle_live(MP_GRAPH, hClonedGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	for (n = hClonedGraph->first; n && n->origin != hOriginalNode; n = n->next)
		;
	mp_graph_unlock();
	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	*phNode = n;
	return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes)
{
	struct CUgraphNode_st *n;
	size_t i = 0;

	READY();
	if (!numNodes || !mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	if (nodes) {
		for (n = hGraph->first; n && i < *numNodes; n = n->next)
			nodes[i++] = n;
		for (; i < *numNodes; i++)
			nodes[i] = NULL;
		if (*numNodes > hGraph->count)
			*numNodes = hGraph->count;
	} else {
		*numNodes = hGraph->count;
	}
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphGetRootNodes(CUgraph hGraph, CUgraphNode *rootNodes, size_t *numRootNodes)
{
	struct CUgraphNode_st *n;
	size_t i = 0, room;

	READY();
	if (!numRootNodes || !mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	room = rootNodes ? *numRootNodes : 0;
	for (n = hGraph->first; n; n = n->next) {
		if (n->ndeps)
			continue;
		if (i < room)
			rootNodes[i] = n;
		i++;
	}
	*numRootNodes = rootNodes && i > room ? room : i;
	for (; i < room; i++)
		rootNodes[i] = NULL;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphGetEdges_v2(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to,
			    CUgraphEdgeData *edgeData, size_t *numEdges)
{
	struct CUgraphNode_st *n;
	size_t i, e = 0, room;

	READY();
	if (!numEdges || !from != !to || !mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	room = from ? *numEdges : 0;
	for (n = hGraph->first; n; n = n->next) {
		for (i = 0; i < n->ndeps; i++, e++) {
			if (e >= room)
				continue;
			from[e] = n->deps[i];
			to[e] = n;
			if (edgeData)
				memset(&edgeData[e], 0, sizeof(*edgeData));
		}
	}
	*numEdges = from && e > room ? room : e;
	for (; e < room; e++)
		from[e] = to[e] = NULL;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphGetEdges(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, size_t *numEdges)
{
	return cuGraphGetEdges_v2(hGraph, from, to, NULL, numEdges);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode hNode, CUgraphNode *dependencies,
				       CUgraphEdgeData *edgeData, size_t *numDependencies)
{
	size_t i, room;

	READY();
	if (!numDependencies || !mp_handle_live(MP_NODE, hNode))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	room = dependencies ? *numDependencies : 0;
	for (i = 0; i < room; i++)
		dependencies[i] = i < hNode->ndeps ? hNode->deps[i] : NULL;
	if (edgeData && room)
		memset(edgeData, 0, room * sizeof(*edgeData));
	*numDependencies = dependencies && hNode->ndeps > room ? room : hNode->ndeps;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetDependencies(CUgraphNode hNode, CUgraphNode *dependencies,
				    size_t *numDependencies)
{
	return cuGraphNodeGetDependencies_v2(hNode, dependencies, NULL, numDependencies);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode hNode, CUgraphNode *dependentNodes,
					 CUgraphEdgeData *edgeData, size_t *numDependentNodes)
{
	struct CUgraphNode_st *n;
	size_t i, found = 0, room;

	READY();
	if (!numDependentNodes || !mp_handle_live(MP_NODE, hNode))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	room = dependentNodes ? *numDependentNodes : 0;
	for (n = hNode->graph->first; n; n = n->next) {
		for (i = 0; i < n->ndeps; i++) {
			if (n->deps[i] != hNode)
				continue;
			if (found < room)
				dependentNodes[found] = n;
			found++;
		}
	}
	if (edgeData && room)
		memset(edgeData, 0, room * sizeof(*edgeData));
	*numDependentNodes = dependentNodes && found > room ? room : found;
	for (; found < room; found++)
		dependentNodes[found] = NULL;
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode hNode, CUgraphNode *dependentNodes,
				      size_t *numDependentNodes)
{
	return cuGraphNodeGetDependentNodes_v2(hNode, dependentNodes, NULL, numDependentNodes);
}

static bool plain_edges(const CUgraphEdgeData *e, size_t n)
{
	size_t i;

	/* Programmatic edges only allow an earlier start: keeping the full order is right. */
	for (i = 0; e && i < n; i++)
		if (e[i].type > CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC)
			return false;
	return true;
}

static CUresult edges_check(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, size_t n)
{
	size_t i;

	if (!mp_handle_live(MP_GRAPH, g) || (n && (!from || !to)))
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < n; i++)
		if (!mp_handle_live(MP_NODE, from[i]) || !mp_handle_live(MP_NODE, to[i]) ||
		    from[i]->graph != g || to[i]->graph != g || from[i] == to[i])
			return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
				   const CUgraphEdgeData *edgeData, size_t numDependencies)
{
	CUresult r;
	size_t i, j;

	READY();
	r = edges_check(hGraph, from, to, numDependencies);
	if (r || !plain_edges(edgeData, numDependencies))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	for (i = 0; i < numDependencies && !r; i++)
		for (j = 0; j < to[i]->ndeps; j++)
			if (to[i]->deps[j] == from[i])
				r = CUDA_ERROR_INVALID_VALUE; /* is there already */
	for (i = 0; i < numDependencies && !r; i++)
		r = mp_node_depend(to[i], from[i]);
	mp_graph_unlock();
	return r;
}

CUresult cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
				size_t numDependencies)
{
	return cuGraphAddDependencies_v2(hGraph, from, to, NULL, numDependencies);
}

CUresult cuGraphRemoveDependencies_v2(CUgraph hGraph, const CUgraphNode *from,
				      const CUgraphNode *to, const CUgraphEdgeData *edgeData,
				      size_t numDependencies)
{
	CUresult r;
	size_t i, j;

	(void)edgeData;
	READY();
	r = edges_check(hGraph, from, to, numDependencies);
	if (r)
		return r;
	mp_graph_lock();
	for (i = 0; i < numDependencies && !r; i++) {
		for (j = 0; j < to[i]->ndeps && to[i]->deps[j] != from[i]; j++)
			;
		if (j == to[i]->ndeps)
			r = CUDA_ERROR_INVALID_VALUE;
		else
			to[i]->deps[j] = to[i]->deps[--to[i]->ndeps];
	}
	mp_graph_unlock();
	return r;
}

CUresult cuGraphRemoveDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
				   size_t numDependencies)
{
	return cuGraphRemoveDependencies_v2(hGraph, from, to, NULL, numDependencies);
}

CUresult cuGraphDestroyNode(CUgraphNode hNode)
{
	struct CUgraphNode_st *n;
	size_t i;

	READY();
	if (!mp_handle_live(MP_NODE, hNode))
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	for (n = hNode->graph->first; n; n = n->next)
		for (i = 0; i < n->ndeps; i++)
			if (n->deps[i] == hNode)
				n->deps[i--] = n->deps[--n->ndeps];
	mp_node_free(hNode);
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

/* ---- A picture ---- */

static const char *const kind_names[MP_WORK_KINDS] = {
	[MP_WORK_EMPTY] = "EMPTY", [MP_WORK_KERNEL] = "KERNEL", [MP_WORK_COPY] = "MEMCPY",
	[MP_WORK_FILL] = "MEMSET", [MP_WORK_HOST] = "HOST", [MP_WORK_CALLBACK] = "HOST",
	[MP_WORK_RECORD] = "EVENT_RECORD", [MP_WORK_WAIT] = "EVENT_WAIT",
	[MP_WORK_MEMOPS] = "BATCH_MEM_OP", [MP_WORK_ALLOC] = "MEM_ALLOC",
	[MP_WORK_FREE] = "MEM_FREE", [MP_WORK_CHILD] = "GRAPH",
	[MP_WORK_CONDITION] = "CONDITIONAL",
};

static void dot_node(FILE *f, const struct CUgraphNode_st *n)
{
	const struct mp_work *w = &n->work;

	fprintf(f, "\"node_%zu\" [shape=\"record\" label=\"{%s|id %zu", n->index,
		kind_names[w->kind], n->index);
	if (w->kind == MP_WORK_KERNEL)
		fprintf(f, "|%s|grid %u,%u,%u block %u,%u,%u shared %u",
			w->kernel.function->info->name, w->kernel.grid[0], w->kernel.grid[1],
			w->kernel.grid[2], w->kernel.block[0], w->kernel.block[1],
			w->kernel.block[2], w->kernel.shared);
	if (w->kind == MP_WORK_COPY)
		fprintf(f, "|%zu x %zu x %zu bytes", w->copy.desc.WidthInBytes, w->copy.desc.Height,
			w->copy.desc.Depth);
	if (w->kind == MP_WORK_FILL)
		fprintf(f, "|%zu x %zu of %u bytes value %u", w->fill.width, w->fill.height,
			w->fill.element, w->fill.value);
	fprintf(f, "}\"];\n");
}

CUresult cuGraphDebugDotPrint(CUgraph hGraph, const char *path, unsigned int flags)
{
	struct CUgraphNode_st *n;
	size_t i;
	FILE *f;

	(void)flags;
	READY();
	if (!path || !mp_handle_live(MP_GRAPH, hGraph))
		return CUDA_ERROR_INVALID_VALUE;
	f = fopen(path, "we");
	if (!f)
		return CUDA_ERROR_OPERATING_SYSTEM;
	mp_graph_lock();
	mp_graph_number(hGraph);
	fprintf(f, "digraph dot {\nsubgraph cluster_1 {\nlabel=\"graph_%llu\"\n",
		(unsigned long long)hGraph->id);
	for (n = hGraph->first; n; n = n->next)
		dot_node(f, n);
	for (n = hGraph->first; n; n = n->next)
		for (i = 0; i < n->ndeps; i++)
			fprintf(f, "\"node_%zu\" -> \"node_%zu\";\n", n->deps[i]->index, n->index);
	fprintf(f, "}\n}\n");
	mp_graph_unlock();
	return fclose(f) ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}
