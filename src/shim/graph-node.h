/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about nodes of graphs share. Not a door. */
#ifndef MP_SHIM_GRAPH_NODE_H
#define MP_SHIM_GRAPH_NODE_H

#include "shim/mirror.h"

/* The beginning of every cuGraphAdd...Node. */
struct mp_adding {
	struct mp_thread *t;
	struct mp_graph *g;
	struct mp_node *n;
	const uint32_t *deps;
	uint32_t *own_deps;
	size_t ndeps;
};
CUresult mp_adding_begin(struct mp_adding *a, enum mp_call call, CUgraphNode *ret, CUgraph h,
			 const CUgraphNode *deps, size_t n, CUgraphNodeType type);
/* ... and the end: the node is the program's, or gone. */
CUresult mp_adding_end(struct mp_adding *a, CUresult r, struct mp_out *o, CUgraphNode *ret);
/* Id of the context that a node's parameters name, or of the current one. */
uint32_t mp_node_ctx(struct mp_thread *t, CUcontext h);
/* A node of this type; what a capture made is known only to the server. */
CUresult mp_node_of(enum mp_call call, CUgraphNode h, CUgraphNodeType type, bool known,
		    struct mp_thread **t, struct mp_node **ret);
/* Executable graph and node of a change. */
CUresult mp_node_in_exec(enum mp_call call, CUgraphExec x, CUgraphNode h, CUgraphNodeType type,
			 struct mp_thread **t, uint32_t *exec, struct mp_node **n);

/* graph-condition.c; p gets the bodies. */
CUresult mp_condition_add(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
			  CUDA_CONDITIONAL_NODE_PARAMS *p);

#endif
