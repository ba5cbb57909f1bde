/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA graphs inside the room: nodes that hold work, and what they allocate. */
#ifndef MP_SOFT_GRAPH_H
#define MP_SOFT_GRAPH_H

#include "inside.h"

struct CUgraphNode_st {
	struct mp_object object;
	struct CUgraph_st *graph;
	struct mp_work work;
	struct CUgraphNode_st **deps; /* nodes before this one */
	size_t ndeps, cap_deps;
	struct CUgraphNode_st *next, *prev; /* in the graph, in the order of creation */
	struct CUgraphNode_st *origin;	    /* the node this one was cloned from */
	size_t index;			    /* in that order, when the graph was last numbered */
	uint64_t id;
	bool disabled;	 /* in an executable graph */
	unsigned mark;	 /* scratch of walks */
	void **args;	 /* what GetParams hands out: pointers into the parameters */
	struct mp_op *op; /* scratch of a launch */
};

struct mp_user_ref {
	struct CUuserObject_st *object;
	unsigned count;
};

struct CUgraph_st {
	struct mp_object object;
	struct CUgraphNode_st *first, *last;
	size_t count;
	struct CUgraphNode_st *parent; /* the child-graph node that owns it, or NULL */
	struct CUgraph_st *origin;     /* cloned from */
	struct mp_user_ref *users;
	size_t nusers;
	struct mp_condition **conditions; /* whose handles were made for it */
	size_t nconditions;
	uint64_t id;
};

struct CUgraphExec_st {
	struct mp_object object;
	struct CUgraph_st *graph; /* owned clone */
	struct CUgraphNode_st **order; /* topological */
	uint64_t flags;
	struct CUctx_st *ctx; /* of the latest launch */
	struct mp_op *last; /* launches of one executable graph follow each other */
};

/* Memory of allocation nodes: shared by a node, its clones and what frees it. */
struct mp_graph_block {
	_Atomic unsigned refs;
	struct mp_device *device;
	uint64_t addr, size;
	_Atomic bool live; /* allocated by a launch and not freed since */
};

struct CUgraph_st *mp_graph_new(void);
/* Graph lock held for all of these. */
struct CUgraph_st *mp_graph_clone(const struct CUgraph_st *g);
void mp_graph_free(struct CUgraph_st *own_graph);
void mp_graph_number(struct CUgraph_st *g);
void mp_node_free(struct CUgraphNode_st *own_node);
CUresult mp_node_depend(struct CUgraphNode_st *n, struct CUgraphNode_st *dep);
/* Nodes in an order in which each follows its dependencies; NULL: a cycle, or no memory. malloc'd. */
struct CUgraphNode_st **mp_graph_order(struct CUgraph_st *g, bool *ret_cycle);

/* Make a graph's ops and let them run; `after` is called once it is over, whatever became of it. */
CUresult mp_graph_body_start(struct CUctx_st *ctx, struct CUgraph_st *g, void (*after)(void *), void *arg);

/* A value that decides about a conditional node. */
struct mp_condition {
	_Atomic unsigned refs;
	uint64_t handle;
	const struct CUgraph_st *graph; /* that the handle was made for; only compared */
	uint32_t default_value;
	bool assign_default, used;
	_Atomic uint32_t value;
};
/* NULL: there is none. */
struct mp_condition *mp_condition_find(uint64_t handle);
/* Handles of a graph that no node uses. */
bool mp_conditions_unused(const struct CUgraph_st *g);
CUresult mp_make_condition(CUgraph g, const CUDA_CONDITIONAL_NODE_PARAMS *p, struct mp_work *w);

struct mp_graph_block *mp_graph_block_new(struct CUctx_st *ctx, struct mp_device *d, uint64_t size);
struct mp_graph_block *mp_graph_block_find(uint64_t addr); /* counted, or NULL */
void mp_graph_block_ref(struct mp_graph_block *b);
void mp_graph_block_unref(struct mp_graph_block *b);
void mp_graph_block_alloc_run(struct mp_graph_block *b);
void mp_graph_block_free_run(struct mp_graph_block *b);
CUresult mp_graph_capture_alloc(struct CUstream_st *s, struct mp_device *d, size_t size,
				CUdeviceptr *ret);

void mp_user_retain(struct CUuserObject_st *o, unsigned n);
void mp_user_release(struct CUuserObject_st *o, unsigned n);

#endif
