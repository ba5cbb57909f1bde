/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of graphs.  A node that allocates owns its address from the moment it is
 * added, or captured, until the last graph and executable graph that names it is
 * gone; the address comes out of the client's own memory like any other.  What the
 * server's graph has in the place of the node is an empty one, or, after a capture,
 * nothing.  Launches only say whether the memory counts as allocated.
 */
#include "shim/graph-node.h"

#include <stdlib.h>
#include <string.h>

struct mp_block {
	struct mp_block *next;
	uint64_t addr, size;
	int device;
	unsigned refs;
	bool live; /* a launch has allocated it, and nobody has freed it since */
};

/* A graph's or executable graph's use of a block. */
struct mp_block_use {
	struct mp_block_use *next;
	struct mp_block *block;
	const struct mp_node *node; /* NULL: captured */
	bool frees;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mp_block *blocks MP_GUARDED_BY(lock);
static uint64_t used[16], high[16] MP_GUARDED_BY(lock);
static _Atomic uint32_t count;

/* ---- Blocks; the lock is held ---- */

static struct mp_block *find(uint64_t addr)
{
	struct mp_block *b;

	for (b = blocks; b && b->addr != addr; b = b->next)
		;
	return b;
}

static void live_set(struct mp_block *b, bool live)
{
	if (b->live == live)
		return;
	b->live = live;
	used[b->device] += live ? b->size : -b->size;
	if (used[b->device] > high[b->device])
		high[b->device] = used[b->device];
}

/* One reference less; *ret_gone is to be freed once the lock is let go. */
static void unref(struct mp_block *b, struct mp_block **ret_gone)
{
	struct mp_block **p;

	if (--b->refs)
		return;
	live_set(b, false);
	for (p = &blocks; *p != b; p = &(*p)->next)
		assert(*p);
	*p = b->next;
	b->next = *ret_gone;
	*ret_gone = b;
	atomic_fetch_sub(&count, 1);
}

/* Work that was launched may use it still: it rests like any freed memory. */
static void free_all(struct mp_block *b)
{
	struct mp_block *next;

	for (; b; b = next) {
		next = b->next;
		(void)mp_memory_free(mp_thread_get(), b->addr, NULL);
		free(b);
	}
}

static struct mp_block_use *use_add(struct mp_block_use **list, struct mp_block *b,
				    const struct mp_node *node, bool frees)
{
	struct mp_block_use *u = calloc(1, sizeof(*u));

	if (u) {
		*u = (struct mp_block_use){.next = *list, .block = b, .node = node, .frees = frees};
		b->refs++;
		*list = u;
	}
	return u;
}

/* ---- Used by graphs ---- */

void mp_blocks_drop(struct mp_block_use **list, const struct mp_node *node)
{
	struct mp_block_use **p, *u;
	struct mp_block *gone = NULL;

	if (!*list)
		return;
	pthread_mutex_lock(&lock);
	for (p = list; (u = *p);) {
		if (node && u->node != node) {
			p = &u->next;
			continue;
		}
		*p = u->next;
		unref(u->block, &gone);
		free(u);
	}
	pthread_mutex_unlock(&lock);
	free_all(gone);
}

int mp_blocks_copy(struct mp_block_use **to, struct mp_block_use *const *from)
{
	const struct mp_block_use *u;
	int e = 0;

	if (!*from)
		return 0;
	pthread_mutex_lock(&lock);
	for (u = *from; u && !e; u = u->next)
		e = use_add(to, u->block, NULL, u->frees) ? 0 : -1;
	pthread_mutex_unlock(&lock);
	return e;
}

/* What a launch allocates and does not free itself must have been freed since the last one. */
CUresult mp_blocks_launch(struct mp_block_use *list, uint64_t flags)
{
	struct mp_block_use *u, *f;
	CUresult r = CUDA_SUCCESS;

	if (!list)
		return CUDA_SUCCESS;
	pthread_mutex_lock(&lock);
	for (u = list; u && !r; u = u->next) {
		for (f = list; f && !(f->frees && f->block == u->block); f = f->next)
			;
		if (u->frees)
			continue;
		if (!f && u->block->live && !(flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH))
			r = CUDA_ERROR_INVALID_VALUE;
	}
	for (u = list; u && !r; u = u->next)
		if (!u->frees)
			live_set(u->block, true);
	for (u = list; u && !r; u = u->next)
		if (u->frees)
			live_set(u->block, false);
	pthread_mutex_unlock(&lock);
	return r;
}

/* ---- Allocating and freeing ---- */

CUresult mp_block_alloc(struct mp_thread *t, struct mp_block_use **list, const struct mp_node *node,
			size_t n, uint64_t *ret)
{
	struct mp_block *b = calloc(1, sizeof(*b));
	CUresult r = b ? mp_memory_alloc(t, t->ctx, n, NULL, &mp_memory_graph, &b->addr)
		       : CUDA_ERROR_OUT_OF_MEMORY;

	if (r) {
		free(b);
		return r;
	}
	b->size = n;
	b->device = t->ctx->device;
	pthread_mutex_lock(&lock);
	if (use_add(list, b, node, false)) {
		b->next = blocks;
		blocks = b;
		*ret = b->addr;
		b = NULL;
		atomic_fetch_add(&count, 1);
	}
	pthread_mutex_unlock(&lock);
	if (!b)
		return CUDA_SUCCESS;
	(void)mp_memory_free(t, b->addr, NULL);
	free(b);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_block_free(struct mp_block_use **list, const struct mp_node *node, uint64_t addr)
{
	struct mp_block *b;
	CUresult r = CUDA_ERROR_INVALID_VALUE;

	pthread_mutex_lock(&lock);
	b = find(addr);
	if (b)
		r = use_add(list, b, node, true) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_unlock(&lock);
	return r;
}

bool mp_block_free_now(uint64_t addr)
{
	struct mp_block *b;

	if (!atomic_load_explicit(&count, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&lock);
	b = find(addr);
	if (b)
		live_set(b, false);
	pthread_mutex_unlock(&lock);
	return b;
}

/* ---- Nodes ---- */

/* The server's graph gets an empty node in its place. */
static CUresult node_put(struct mp_adding *a, CUresult r, CUgraphNode *ret)
{
	struct mp_msg_cuGraphAddEmptyNode m;
	struct mp_out o;

	if (!r) {
		m.phGraphNode = a->n->head.id;
		m.hGraph = a->g->head.id;
		m.dependencies = a->deps;
		m.numDependencies = a->ndeps;
		r = MP_PUT(&o, a->t, MP_CALL_cuGraphAddEmptyNode, cuGraphAddEmptyNode, &m,
			   a->t->ctx->head.id);
	}
	if (r && a->n)
		mp_blocks_drop(&a->g->blocks, a->n);
	return mp_adding_end(a, r, &o, ret);
}

CUresult mp_shim_cuGraphAddMemAllocNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
					CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	struct mp_adding a;
	uint64_t at;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddMemAllocNode, ret, h, deps, n,
				     CU_GRAPH_NODE_TYPE_MEM_ALLOC);

	if (r)
		return r;
	if (!p || !p->bytesize || p->poolProps.allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
	    p->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    p->poolProps.location.id < 0 || p->poolProps.location.id >= mp_shim.ndevices)
		r = CUDA_ERROR_INVALID_VALUE;
	else if (p->poolProps.location.id != a.t->ctx->device)
		r = CUDA_ERROR_NOT_SUPPORTED;
	if (!r && !(a.n->p.own_alloc = malloc(sizeof(*p))))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	a.n->known = a.n->p.own_alloc;
	if (!r)
		r = mp_block_alloc(a.t, &a.g->blocks, a.n, p->bytesize, &at);
	if (!r) {
		p->dptr = at;
		*a.n->p.own_alloc = *p;
		a.n->p.own_alloc->accessDescs = NULL;
		a.n->p.own_alloc->accessDescCount = 0;
	}
	return node_put(&a, r, ret);
}

CUresult mp_shim_cuGraphMemAllocNodeGetParams(CUgraphNode h, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemAllocNodeGetParams, h, CU_GRAPH_NODE_TYPE_MEM_ALLOC,
				true, &t, &n);

	if (!r && !p)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*p = *n->p.own_alloc;
	return r;
}

CUresult mp_shim_cuGraphAddMemFreeNode(CUgraphNode *ret, CUgraph h, const CUgraphNode *deps, size_t n,
				       CUdeviceptr dptr)
{
	struct mp_adding a;
	CUresult r = mp_adding_begin(&a, MP_CALL_cuGraphAddMemFreeNode, ret, h, deps, n,
				     CU_GRAPH_NODE_TYPE_MEM_FREE);

	if (r)
		return r;
	a.n->p.dptr = dptr;
	a.n->known = true;
	return node_put(&a, mp_block_free(&a.g->blocks, a.n, dptr), ret);
}

CUresult mp_shim_cuGraphMemFreeNodeGetParams(CUgraphNode h, CUdeviceptr *ret)
{
	struct mp_thread *t;
	struct mp_node *n;
	CUresult r = mp_node_of(MP_CALL_cuGraphMemFreeNodeGetParams, h, CU_GRAPH_NODE_TYPE_MEM_FREE, true,
				&t, &n);

	if (!r && !ret)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*ret = n->p.dptr;
	return r;
}

/* ---- Attributes ---- */

#define GRANULE ((uint64_t)2 << 20)

static CUresult device_of(enum mp_call call, CUdevice dev)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(call, &t);

	return !r && (dev < 0 || dev >= mp_shim.ndevices) ? CUDA_ERROR_INVALID_DEVICE : r;
}

CUresult mp_shim_cuDeviceGetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attr, void *value)
{
	CUresult r = device_of(MP_CALL_cuDeviceGetGraphMemAttribute, dev);
	uint64_t v = 0;

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	switch ((int)attr) {
	case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT: v = used[dev]; break;
	case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: v = high[dev]; break;
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: v = mp_align_up(used[dev], GRANULE); break;
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: v = mp_align_up(high[dev], GRANULE); break;
	default: r = CUDA_ERROR_INVALID_VALUE;
	}
	pthread_mutex_unlock(&lock);
	if (!r)
		*(uint64_t *)value = v;
	return r;
}

CUresult mp_shim_cuDeviceSetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attr, void *value)
{
	CUresult r = device_of(MP_CALL_cuDeviceSetGraphMemAttribute, dev);

	if (r)
		return r;
	if (!value || *(uint64_t *)value ||
	    (attr != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH && attr != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH))
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	high[dev] = used[dev];
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}
