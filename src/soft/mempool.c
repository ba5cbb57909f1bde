/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory pools: allocations that are made and freed in stream order.
 *
 * An address is chosen at the call and freed when its stream gets there.  A
 * pool charges the device for what is used, and for what it keeps below its
 * release threshold after a free, so that the numbers are a driver's.
 */
#include "inside.h"

#include <stdlib.h>

#include "graph.h"

struct CUmemPoolHandle_st {
	struct mp_object object;
	struct mp_device *device;
	bool is_default, dying;
	uint64_t max, threshold, used, used_high, kept, reserved_high; MP_GUARDED_BY(memory)
	uint32_t access; /* bit per device that may read and write, beside its own */
	int reuse[3];
};

struct CUmemPoolHandle_st *mp_pool_new(struct mp_device *d)
{
	struct CUmemPoolHandle_st *p = mp_handle_new(MP_POOL, sizeof(*p));

	if (p) {
		p->device = d;
		p->is_default = true;
		p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
	}
	return p;
}

static void keep(struct CUmemPoolHandle_st *p, uint64_t bytes)
{
	uint64_t rounded = mp_align_up(bytes, MP_GRANULE);

	if (p->used + p->kept + rounded <= p->threshold &&
	    mp_soft_account_charge(p->device->account, rounded))
		p->kept += rounded;
}

/* Give kept memory back until at most `most` is kept. Memory lock held. */
static void settle(struct CUmemPoolHandle_st *p, uint64_t most)
{
	if (p->kept <= most)
		return;
	mp_soft_account_release(p->device->account, p->kept - most);
	p->kept = most;
}

void mp_pool_settle(struct CUctx_st *ctx)
{
	struct CUmemPoolHandle_st *p = ctx->device->pool;

	if (MP_LIKELY(!p->kept))
		return;
	mp_memory_lock();
	if (p->used + p->kept > p->threshold)
		settle(p, p->threshold > p->used
				  ? (p->threshold - p->used) / MP_GRANULE * MP_GRANULE
				  : 0);
	mp_memory_unlock();
}

void mp_pool_free_now(uint64_t addr)
{
	struct CUmemPoolHandle_st *p = NULL;
	struct mp_range *r;
	uint64_t size = 0;

	mp_memory_lock();
	r = mp_range_find(addr);
	if (r && r->addr == addr && r->kind == MP_RANGE_POOL) {
		p = r->pool;
		size = r->size;
	}
	mp_memory_unlock();
	if (!p || !mp_memory_release(addr, MP_RANGE_POOL))
		return;
	mp_memory_lock();
	p->used -= size;
	keep(p, size);
	if (p->dying && !p->used) {
		settle(p, 0);
		mp_handle_free(MP_POOL, p);
	}
	mp_memory_unlock();
}

static CUresult pool_get(struct CUctx_st *ctx, struct CUmemPoolHandle_st *p, uint64_t size,
			 uint64_t *ret)
{
	struct mp_range *range;
	CUresult r;

	mp_memory_lock();
	settle(p, p->kept > size ? (p->kept - size) / MP_GRANULE * MP_GRANULE : 0);
	r = p->max && (size > p->max || p->used > p->max - size) ? CUDA_ERROR_OUT_OF_MEMORY
								 : CUDA_SUCCESS;
	mp_memory_unlock();
	if (!r)
		r = mp_memory_alloc(ctx, p->device, size, 512, MP_RANGE_POOL, true, ret);
	if (r)
		return r;
	mp_memory_lock();
	range = mp_range_find(*ret);
	range->pool = p;
	p->used += size;
	if (p->used > p->used_high)
		p->used_high = p->used;
	if (p->used + p->kept > p->reserved_high)
		p->reserved_high = mp_align_up(p->used + p->kept, MP_GRANULE);
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
				 CUstream hStream)
{
	struct CUstream_st *s;
	uint64_t addr;
	CUresult r;
	MP_ENTER(ctx);

	if (!dptr || !bytesize)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_POOL, pool) || pool->dying)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	if (mp_stream_capturing(s))
		return mp_graph_capture_alloc(s, pool->device, bytesize, dptr);
	r = pool_get(s->ctx, pool, bytesize, &addr);
	if (r) {
		/* What the stream frees before this call may be used by it. */
		mp_stream_wait(s);
		mp_queue_join(s->ctx);
		mp_memory_lock();
		settle(pool, 0);
		mp_memory_unlock();
		r = pool_get(s->ctx, pool, bytesize, &addr);
	}
	if (!r)
		*dptr = addr;
	return r;
}

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
	struct CUstream_st *s;
	CUresult r;
	MP_ENTER(ctx);

	r = mp_stream_find(ctx, hStream, &s);
	return r ? r : cuMemAllocFromPoolAsync(dptr, bytesize, s->ctx->device->pool, hStream);
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
	struct mp_work w = {.kind = MP_WORK_FREE};
	struct CUstream_st *s;
	struct mp_range *range;
	CUresult r;
	MP_ENTER(ctx);

	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	if (!dptr)
		return CUDA_SUCCESS;
	mp_memory_lock();
	range = mp_range_find(dptr);
	if (!range || range->addr != dptr || range->hidden ||
	    (range->kind != MP_RANGE_POOL && range->kind != MP_RANGE_GRAPH)) {
		mp_memory_unlock();
		return CUDA_ERROR_INVALID_VALUE;
	}
	w.free.addr = dptr;
	w.free.pooled = range->kind == MP_RANGE_POOL;
	if (w.free.pooled) {
		if (mp_stream_capturing(s)) {
			/* A graph may not free what it did not allocate. */
			mp_memory_unlock();
			return CUDA_ERROR_INVALID_VALUE;
		}
		range->hidden = true;
	}
	mp_memory_unlock();
	if (!w.free.pooled) {
		w.free.block = mp_graph_block_find(dptr);
		if (!w.free.block)
			return CUDA_ERROR_INVALID_VALUE;
	}
	w.ctx = s->ctx;
	return mp_stream_submit(s, &w, NULL);
}

/* ---- Pools ---- */

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps)
{
	struct CUmemPoolHandle_st *p;
	struct mp_device *d;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!pool || !poolProps || poolProps->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (poolProps->handleTypes || poolProps->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	d = mp_device_find(poolProps->location.id);
	if (!d)
		return CUDA_ERROR_INVALID_VALUE;
	p = mp_pool_new(d);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p->is_default = false;
	p->max = poolProps->maxSize;
	*pool = p;
	return CUDA_SUCCESS;
}

#define POOL(p, h)                                                                                 \
	struct CUmemPoolHandle_st *p = h;                                                          \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		if (!mp_handle_live(MP_POOL, p))                                                   \
			return CUDA_ERROR_INVALID_VALUE;                                           \
	} while (0)

CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
	POOL(p, pool);
	if (p->is_default)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	if (p->device->pool == p)
		p->device->pool = p->device->default_pool;
	settle(p, 0);
	p->threshold = 0;
	p->dying = true;
	/* It goes with its last allocation. */
	if (!p->used)
		mp_handle_free(MP_POOL, p);
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t minBytesToKeep)
{
	POOL(p, pool);
	mp_memory_lock();
	settle(p, minBytesToKeep > p->used
			  ? (minBytesToKeep - p->used) / MP_GRANULE * MP_GRANULE
			  : 0);
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
	CUresult r = CUDA_SUCCESS;
	POOL(p, pool);

	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	switch ((int)attr) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		*(int *)value = p->reuse[attr - 1];
		break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *(uint64_t *)value = p->threshold; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
		*(uint64_t *)value = mp_align_up(p->used + p->kept, MP_GRANULE);
		break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: *(uint64_t *)value = p->reserved_high; break;
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = p->used; break;
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *(uint64_t *)value = p->used_high; break;
	default: r = CUDA_ERROR_INVALID_VALUE;
	}
	mp_memory_unlock();
	return r;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
	CUresult r = CUDA_SUCCESS;
	POOL(p, pool);

	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	switch ((int)attr) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		p->reuse[attr - 1] = *(int *)value != 0;
		break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: p->threshold = *(uint64_t *)value; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		if (*(uint64_t *)value)
			r = CUDA_ERROR_INVALID_VALUE;
		else if (attr == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
			p->used_high = p->used;
		else
			p->reserved_high = mp_align_up(p->used + p->kept, MP_GRANULE);
		break;
	default: r = CUDA_ERROR_INVALID_VALUE;
	}
	mp_memory_unlock();
	return r;
}

CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
	size_t i;
	POOL(p, pool);

	if (!map || !count)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < count; i++) {
		struct mp_device *d = mp_device_find(map[i].location.id);

		if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || !d)
			return CUDA_ERROR_INVALID_DEVICE;
		if (d == p->device && map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return CUDA_ERROR_INVALID_VALUE; /* its own device always may */
		mp_memory_lock();
		if (map[i].flags)
			p->access |= 1u << d->ordinal;
		else
			p->access &= ~(1u << d->ordinal);
		mp_memory_unlock();
	}
	return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool memPool, CUmemLocation *location)
{
	struct mp_device *d;
	POOL(p, memPool);

	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	d = mp_device_find(location->id);
	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	*flags = d == p->device || (p->access >> d->ordinal & 1)
			 ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
			 : CU_MEM_ACCESS_FLAGS_PROT_NONE;
	return CUDA_SUCCESS;
}

/* ---- A device's pool ---- */

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool_out, CUdevice dev)
{
	struct mp_device *d = mp_device_find(dev);
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	if (!pool_out)
		return CUDA_ERROR_INVALID_VALUE;
	*pool_out = d->default_pool;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
	CUresult r = cuDeviceGetDefaultMemPool(pool, dev);

	if (!r)
		*pool = mp_device_find(dev)->pool;
	return r;
}

CUresult cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
	struct mp_device *d = mp_device_find(dev);
	POOL(p, pool);

	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	if (p->device != d)
		return CUDA_ERROR_INVALID_VALUE;
	d->pool = p;
	return CUDA_SUCCESS;
}

static CUresult location_device(const CUmemLocation *l, CUmemAllocationType type, CUdevice *ret)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!l || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (l->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	*ret = l->id;
	return CUDA_SUCCESS;
}

CUresult cuMemGetDefaultMemPool(CUmemoryPool *pool_out, CUmemLocation *location,
				CUmemAllocationType type)
{
	CUdevice dev;
	CUresult r = location_device(location, type, &dev);

	return r ? r : cuDeviceGetDefaultMemPool(pool_out, dev);
}

CUresult cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	CUdevice dev;
	CUresult r = location_device(location, type, &dev);

	return r ? r : cuDeviceGetMemPool(pool, dev);
}

CUresult cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
	CUdevice dev;
	CUresult r = location_device(location, type, &dev);

	return r ? r : cuDeviceSetMemPool(dev, pool);
}
