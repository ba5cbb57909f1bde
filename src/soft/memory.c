/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory: cuMemAlloc and what else takes pieces of a device.
 *
 * A device's slice of the window is cut into granules of 2 MiB.  Large
 * allocations own whole granules; small ones (up to half a granule) share
 * granules in units of 512 bytes.  The device's account is charged by the
 * granule, so memory information and out-of-memory are exact for all processes.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define UNIT	    512u
#define UNITS	    (MP_GRANULE / UNIT)
#define SMALL_LIMIT (MP_GRANULE / 2)

/* A granule shared by small allocations. */
struct chunk {
	uint64_t addr;
	unsigned used; /* units */
	bool charged;
	uint64_t bits[UNITS / 64];
	struct chunk *next;
};

struct mp_arena_dev {
	struct mp_extents granules;
	struct chunk *chunks;
};

CUresult mp_memory_init(struct mp_device *d)
{
	d->arena = calloc(1, sizeof(*d->arena));
	if (!d->arena || !mp_extents_init(&d->arena->granules,
					  mp_window_device_base(d->index) / MP_GRANULE,
					  MP_WINDOW_DEVICE_SIZE / MP_GRANULE))
		return CUDA_ERROR_OUT_OF_MEMORY;
	d->default_pool = d->pool = mp_pool_new(d);
	return d->pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static uint64_t granules_get(struct mp_device *d, uint64_t count, uint64_t align, bool charged)
{
	uint64_t first, bytes = count * MP_GRANULE;

	if (charged && !mp_soft_account_charge(d->account, bytes))
		return 0;
	if (mp_extents_take(&d->arena->granules, count, align, &first)) {
		if (mp_window_back(first * MP_GRANULE, bytes))
			return first * MP_GRANULE;
		mp_extents_put(&d->arena->granules, first, count);
	}
	if (charged)
		mp_soft_account_release(d->account, bytes);
	return 0;
}

static void granules_put(struct mp_device *d, uint64_t addr, uint64_t count, bool charged)
{
	mp_window_unback(addr, count * MP_GRANULE);
	mp_extents_put(&d->arena->granules, addr / MP_GRANULE, count);
	if (charged)
		mp_soft_account_release(d->account, count * MP_GRANULE);
}

/* First run of n clear bits at a multiple of align; UNITS when there is none. */
static unsigned bits_find(const struct chunk *c, unsigned n, unsigned align)
{
	unsigned i = 0, run = 0;

	while (i < UNITS) {
		if (!run && i % align) {
			i = (unsigned)mp_align_up(i, align);
			continue;
		}
		if (!run && !(i % 64) && c->bits[i / 64] == UINT64_MAX) {
			i += 64;
			continue;
		}
		if (c->bits[i / 64] >> (i % 64) & 1)
			run = 0;
		else if (++run == n)
			return i + 1 - n;
		i++;
	}
	return UNITS;
}

static void bits_set(struct chunk *c, unsigned from, unsigned n, bool on)
{
	unsigned i;

	for (i = from; i < from + n; i++) {
		uint64_t bit = 1ull << (i % 64);

		assert(!(c->bits[i / 64] & bit) == on);
		c->bits[i / 64] ^= bit;
	}
	c->used = on ? c->used + n : c->used - n;
}

static uint64_t small_get(struct mp_device *d, uint64_t size, uint64_t align, bool charged)
{
	unsigned n = (unsigned)((size + UNIT - 1) / UNIT), at = UNITS;
	unsigned units = align > UNIT ? (unsigned)(align / UNIT) : 1;
	struct chunk *c;

	for (c = d->arena->chunks; c; c = c->next) {
		if (c->charged != charged || c->used + n > UNITS)
			continue;
		at = bits_find(c, n, units);
		if (at < UNITS)
			break;
	}
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return 0;
		c->charged = charged;
		c->addr = granules_get(d, 1, 1, charged);
		if (!c->addr) {
			free(c);
			return 0;
		}
		c->next = d->arena->chunks;
		d->arena->chunks = c;
		at = 0;
	}
	bits_set(c, at, n, true);
	return c->addr + (uint64_t)at * UNIT;
}

static void small_put(struct mp_device *d, uint64_t addr, uint64_t span)
{
	struct chunk **at = &d->arena->chunks, *c;

	while (*at && addr - (*at)->addr >= MP_GRANULE)
		at = &(*at)->next;
	c = *at;
	assert(c);
	bits_set(c, (unsigned)((addr - c->addr) / UNIT), (unsigned)(span / UNIT), false);
	if (c->used)
		return;
	*at = c->next;
	granules_put(d, c->addr, 1, c->charged);
	free(c);
}

CUresult mp_memory_alloc(struct CUctx_st *ctx, struct mp_device *d, uint64_t size, uint64_t align,
			 enum mp_range_kind kind, bool charged, uint64_t *ret_addr)
{
	struct mp_range r = {.size = size, .kind = kind, .ctx = ctx, .device = d,
			     .access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE, .flags = charged};

	assert(size && align && !(align & (align - 1)));
	if (size > MP_WINDOW_DEVICE_SIZE || align > MP_WINDOW_DEVICE_SIZE)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_memory_lock();
	if (size <= SMALL_LIMIT && align <= SMALL_LIMIT) {
		r.span = mp_align_up(size, UNIT);
		r.addr = small_get(d, size, align, charged);
	} else {
		r.span = mp_align_up(size, MP_GRANULE);
		r.addr = granules_get(d, r.span / MP_GRANULE,
				      align > MP_GRANULE ? align / MP_GRANULE : 1, charged);
	}
	r.id = mp_range_id();
	if (r.addr && !mp_range_add(&r)) {
		if (r.span < MP_GRANULE)
			small_put(d, r.addr, r.span);
		else
			granules_put(d, r.addr, r.span / MP_GRANULE, charged);
		r.addr = 0;
	}
	mp_memory_unlock();
	*ret_addr = r.addr;
	return r.addr ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Memory lock held. */
static void release_locked(struct mp_range *r)
{
	struct mp_device *d = r->device;
	uint64_t addr = r->addr, span = r->span;
	bool charged = r->flags & 1;

	mp_range_remove(addr);
	if (span < MP_GRANULE)
		small_put(d, addr, span);
	else
		granules_put(d, addr, span / MP_GRANULE, charged);
}

static bool from_arena(const struct mp_range *r)
{
	return r->kind == MP_RANGE_DEVICE || r->kind == MP_RANGE_POOL ||
	       r->kind == MP_RANGE_GRAPH || r->kind == MP_RANGE_ARRAY ||
	       r->kind == MP_RANGE_MANAGED || r->kind == MP_RANGE_MODULE;
}

bool mp_memory_release(uint64_t addr, int kind)
{
	struct mp_range *r;
	bool found;

	mp_memory_lock();
	r = mp_range_find(addr);
	found = r && r->addr == addr && from_arena(r) && (kind < 0 || r->kind == (unsigned)kind);
	if (found)
		release_locked(r);
	mp_memory_unlock();
	return found;
}

void mp_memory_context_gone(struct CUctx_st *ctx)
{
	struct mp_range *r;
	size_t i;

	mp_memory_lock();
	for (i = 0; (r = mp_range_at(i));) {
		if (r->ctx != ctx || r->kind == MP_RANGE_MODULE) {
			i++;
		} else if (r->kind == MP_RANGE_POOL) {
			uint64_t addr = r->addr;

			mp_memory_unlock();
			mp_pool_free_now(addr);
			mp_memory_lock();
			i = 0;
		} else if (from_arena(r)) {
			release_locked(r);
		} else if (r->kind == MP_RANGE_REGISTERED) {
			mp_range_remove(r->addr);
		} else {
			i++;
		}
	}
	mp_memory_unlock();
}

/* ---- The calls ---- */

CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
	uint64_t addr;
	CUresult r;
	MP_ENTER(ctx);

	if (!dptr || !bytesize)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_capture_unsafe();
	if (r)
		return r;
	r = mp_memory_alloc(ctx, ctx->device, bytesize, UNIT, MP_RANGE_DEVICE, true, &addr);
	if (!r)
		*dptr = addr;
	return r;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
			    unsigned int ElementSizeBytes)
{
	size_t pitch, total;
	CUresult r;

	if (!dptr || !pPitch || !WidthInBytes || !Height)
		return CUDA_ERROR_INVALID_VALUE;
	if (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16)
		return CUDA_ERROR_INVALID_VALUE;
	if (WidthInBytes > 0x7fffffff)
		return CUDA_ERROR_INVALID_VALUE;
	pitch = mp_align_up(WidthInBytes, 512);
	if (!mp_mul(pitch, Height, &total))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = cuMemAlloc_v2(dptr, total);
	if (!r)
		*pPitch = pitch;
	return r;
}

CUresult cuMemFree_v2(CUdeviceptr dptr)
{
	struct mp_range range;
	CUresult r;
	MP_ENTER(ctx);

	if (!dptr)
		return CUDA_SUCCESS;
	r = mp_capture_unsafe();
	if (r)
		return r;
	if (!mp_memory_span(dptr, 1, &range) || range.addr != dptr || range.hidden)
		return CUDA_ERROR_INVALID_VALUE;
	/* Freeing waits for the device, as NVIDIA's driver does: work may still use the memory. */
	if (range.ctx && mp_queue_pending(range.ctx))
		mp_queue_join(range.ctx);
	if (range.ctx != ctx && mp_queue_pending(ctx))
		mp_queue_join(ctx);
	if (range.kind == MP_RANGE_MANAGED && !range.ctx)
		return CUDA_ERROR_INVALID_VALUE; /* a variable */
	switch (range.kind) {
	case MP_RANGE_DEVICE:
	case MP_RANGE_MANAGED:
		return mp_memory_release(dptr, (int)range.kind) ? CUDA_SUCCESS
								: CUDA_ERROR_INVALID_VALUE;
	case MP_RANGE_POOL: mp_pool_free_now(dptr); return CUDA_SUCCESS;
	case MP_RANGE_GRAPH: mp_graph_block_free(dptr); return CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned int flags)
{
	uint64_t addr;
	CUresult r;
	MP_ENTER(ctx);

	if (!dptr || !bytesize ||
	    (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_capture_unsafe();
	if (r)
		return r;
	/* Host and device are the same memory here: nothing ever has to migrate. */
	r = mp_memory_alloc(ctx, ctx->device, bytesize, 4096, MP_RANGE_MANAGED, true, &addr);
	if (!r)
		*dptr = addr;
	return r;
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total)
{
	uint64_t all, used;
	MP_ENTER(ctx);

	if (!free || !total)
		return CUDA_ERROR_INVALID_VALUE;
	mp_soft_account_read(ctx->device->account, &all, &used);
	*total = all;
	*free = all - used;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr)
{
	struct mp_range r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_memory_span(dptr, 1, &r) || r.hidden)
		return CUDA_ERROR_NOT_FOUND;
	if (pbase)
		*pbase = r.addr;
	if (psize)
		*psize = r.size;
	return CUDA_SUCCESS;
}

static CUresult managed_range(CUdeviceptr p, size_t n)
{
	struct mp_range r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!n || !mp_memory_span(p, n, &r) || r.kind != MP_RANGE_MANAGED)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult advise(CUdeviceptr p, size_t n, CUmem_advise advice, const CUmemLocation *l,
		       bool prefetch)
{
	CUresult r = managed_range(p, n);
	struct mp_range *kept;

	if (r)
		return r;
	mp_memory_lock();
	kept = mp_range_find(p);
	if (!kept)
		r = CUDA_ERROR_INVALID_VALUE;
	else if (prefetch)
		kept->advice.prefetched = *l;
	else
		r = mp_advice_take(&kept->advice, advice, l, (int)mp_soft.ndevices);
	mp_memory_unlock();
	return r;
}

CUresult cuMemAdvise_v2(CUdeviceptr devPtr, size_t count, CUmem_advise advice,
			CUmemLocation location)
{
	return advise(devPtr, count, advice, &location, false);
}

CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device)
{
	return cuMemAdvise_v2(devPtr, count, advice, mp_advice_location(device));
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr devPtr, size_t count, CUmemLocation location,
			       unsigned int flags, CUstream hStream)
{
	struct CUctx_st *ctx;
	struct CUstream_st *s;
	struct mp_work w = {.kind = MP_WORK_EMPTY};
	CUresult r = flags ? CUDA_ERROR_INVALID_VALUE : managed_range(devPtr, count);

	if (!r)
		r = mp_advice_place(&location, (int)mp_soft.ndevices);
	if (!r)
		r = mp_context_enter(&ctx);
	if (!r)
		r = mp_stream_find(ctx, hStream, &s);
	if (!r)
		r = advise(devPtr, count, 0, &location, true);
	if (r)
		return r;
	w.ctx = s->ctx;
	return mp_stream_submit(s, &w, NULL);
}

CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream)
{
	return cuMemPrefetchAsync_v2(devPtr, count, mp_advice_location(dstDevice), 0, hStream);
}
