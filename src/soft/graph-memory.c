/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of graphs: an allocation node owns its address from the moment it is
 * added until the last graph that names it is gone.  Launches only say whether
 * it counts as allocated.
 */
#include "graph.h"

#include <stdlib.h>

static struct mp_graph_block **blocks MP_GUARDED_BY(memory);
static size_t nblocks, cap_blocks;

static void count_used(struct mp_device *d, uint64_t size, bool more)
{
	mp_memory_lock();
	if (more) {
		d->graph_used += size;
		if (d->graph_used > d->graph_high)
			d->graph_high = d->graph_used;
	} else {
		d->graph_used -= size;
	}
	mp_memory_unlock();
}

struct mp_graph_block *mp_graph_block_new(struct CUctx_st *ctx, struct mp_device *d, uint64_t size)
{
	struct mp_graph_block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->refs = 1;
	b->device = d;
	b->size = size;
	if (mp_memory_alloc(ctx, d, size, 512, MP_RANGE_GRAPH, true, &b->addr)) {
		free(b);
		return NULL;
	}
	mp_memory_lock();
	if (nblocks == cap_blocks) {
		size_t cap = cap_blocks ? cap_blocks * 2 : 16;
		struct mp_graph_block **p = realloc(blocks, cap * sizeof(*p));

		if (!p) {
			mp_memory_unlock();
			mp_memory_release(b->addr, MP_RANGE_GRAPH);
			free(b);
			return NULL;
		}
		blocks = p;
		cap_blocks = cap;
	}
	blocks[nblocks++] = b;
	mp_memory_unlock();
	return b;
}

struct mp_graph_block *mp_graph_block_find(uint64_t addr)
{
	struct mp_graph_block *b = NULL;
	size_t i;

	mp_memory_lock();
	for (i = 0; i < nblocks && !b; i++)
		if (blocks[i]->addr == addr)
			b = blocks[i];
	if (b)
		b->refs++;
	mp_memory_unlock();
	return b;
}

void mp_graph_block_ref(struct mp_graph_block *b)
{
	if (b)
		b->refs++;
}

void mp_graph_block_unref(struct mp_graph_block *b)
{
	size_t i;

	if (!b)
		return;
	mp_memory_lock();
	if (--b->refs) {
		mp_memory_unlock();
		return;
	}
	for (i = 0; blocks[i] != b; i++)
		assert(i + 1 < nblocks);
	blocks[i] = blocks[--nblocks];
	mp_memory_unlock();
	if (b->live)
		count_used(b->device, b->size, false);
	mp_memory_release(b->addr, MP_RANGE_GRAPH);
	free(b);
}

void mp_graph_block_alloc_run(struct mp_graph_block *b)
{
	if (!atomic_exchange(&b->live, true))
		count_used(b->device, b->size, true);
}

void mp_graph_block_free_run(struct mp_graph_block *b)
{
	if (b && atomic_exchange(&b->live, false))
		count_used(b->device, b->size, false);
}

void mp_graph_block_free(uint64_t addr)
{
	struct mp_graph_block *b = mp_graph_block_find(addr);

	mp_graph_block_free_run(b);
	mp_graph_block_unref(b);
}

CUresult mp_graph_capture_alloc(struct CUstream_st *s, struct mp_device *d, size_t size,
				CUdeviceptr *ret)
{
	struct mp_work w = {.kind = MP_WORK_ALLOC, .ctx = s->ctx};
	CUresult r;

	w.alloc.block = mp_graph_block_new(s->ctx, d, size);
	if (!w.alloc.block)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w.alloc.addr = w.alloc.block->addr;
	w.alloc.params = (CUDA_MEM_ALLOC_NODE_PARAMS){
		.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
			      .location = {CU_MEM_LOCATION_TYPE_DEVICE, d->ordinal}},
		.bytesize = size,
		.dptr = w.alloc.addr,
	};
	*ret = w.alloc.addr;
	r = mp_stream_submit(s, &w, NULL);
	return r;
}

/* ---- The calls ---- */

static CUresult device_of(CUdevice dev, struct mp_device **ret)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	*ret = mp_device_find(dev);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
	struct mp_device *d;
	CUresult r = device_of(device, &d);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	switch ((int)attr) {
	case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = d->graph_used; break;
	case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: *(uint64_t *)value = d->graph_high; break;
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT:
		*(uint64_t *)value = mp_align_up(d->graph_used, MP_GRANULE);
		break;
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH:
		*(uint64_t *)value = mp_align_up(d->graph_high, MP_GRANULE);
		break;
	default: r = CUDA_ERROR_INVALID_VALUE;
	}
	mp_memory_unlock();
	return r;
}

CUresult cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
	struct mp_device *d;
	CUresult r = device_of(device, &d);

	if (r)
		return r;
	if (!value || *(uint64_t *)value ||
	    (attr != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH && attr != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH))
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	d->graph_high = d->graph_used;
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuDeviceGraphMemTrim(CUdevice device)
{
	struct mp_device *d;

	/* Nothing is cached: memory goes with the last graph that names it. */
	return device_of(device, &d);
}
