/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory pools: allocation in stream order is suballocation here, without a
 * record.  A pool is a name, a set of thresholds and counters; its memory is the
 * context's arena.
 */
#include "shim/shim.h"

#include <string.h>

struct mp_pool {
	struct mp_head head;
	int device;
	bool standard;
	uint64_t threshold, reserved_high, used, used_high;
	int reuse[3];
	uint64_t max_size;
};
static_assert(sizeof(struct mp_pool) <= MP_SLOT_SIZE, "a pool fits its slot");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mp_pool *standard[16], *current[16] MP_GUARDED_BY(lock);

static struct mp_pool *pool_new(int device)
{
	struct mp_pool *p = mp_slot_new(MP_KIND_pool);

	if (p) {
		p->device = device;
		p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
	}
	return p;
}

static struct mp_pool *pool_standard(int device)
{
	pthread_mutex_lock(&lock);
	if (!standard[device] && (standard[device] = pool_new(device)))
		standard[device]->standard = true;
	pthread_mutex_unlock(&lock);
	return standard[device];
}

static struct mp_pool *pool_current(int device)
{
	return current[device] ? current[device] : pool_standard(device);
}

CUmemoryPool mp_pool_of(int device)
{
	return (CUmemoryPool)pool_current(device);
}

/* Memory of the graph that is being captured. */
static CUresult captured(struct mp_thread *t, struct mp_stream *s, const struct mp_pool *p,
			 CUdeviceptr *dptr, size_t n)
{
	struct mp_capture *c = atomic_load(&s->capture);
	uint64_t at;
	CUresult r;

	if (!c || (p && p->device != s->ctx->device))
		return CUDA_ERROR_INVALID_VALUE;
	if (!n) {
		*dptr = 0;
		return CUDA_SUCCESS;
	}
	r = mp_block_alloc(t, &c->blocks, NULL, n, &at);
	if (!r)
		*dptr = at;
	return r;
}

static CUresult alloc(struct mp_thread *t, struct mp_pool *p, CUdeviceptr *dptr, size_t n, CUstream h)
{
	struct mp_stream *s;
	uint64_t at;
	CUresult r = mp_stream_get(t, h, &s);

	if (!r)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	if (!dptr)
		return CUDA_ERROR_INVALID_VALUE;
	if (atomic_load(&s->capture))
		return captured(t, s, p, dptr, n);
	if (!p || p->device != s->ctx->device)
		return p ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
	if (!n) {
		*dptr = 0;
		return CUDA_SUCCESS;
	}
	if (p->max_size && n > p->max_size - p->used)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = mp_memory_alloc(t, t->ctx, n, s, p, &at);
	if (r)
		return r;
	pthread_mutex_lock(&lock);
	p->used += n;
	if (p->used > p->used_high)
		p->used_high = p->used;
	pthread_mutex_unlock(&lock);
	*dptr = at;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemAllocAsync(CUdeviceptr *dptr, size_t n, CUstream h)
{
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemAllocAsync, &t);

	return r ? r : alloc(t, pool_current(t->ctx->device), dptr, n, h);
}

static CUresult pool_get(enum mp_call call, CUmemoryPool pool, struct mp_thread **t,
			 struct mp_pool **ret)
{
	CUresult r = mp_enter_init(call, t);

	if (r)
		return r;
	*ret = mp_object(pool, MP_KIND_pool);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t n, CUmemoryPool pool, CUstream h)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = mp_enter(MP_CALL_cuMemAllocFromPoolAsync, &t);

	if (!r)
		r = pool_get(MP_CALL_cuMemAllocFromPoolAsync, pool, &t, &p);
	return r ? r : alloc(t, p, dptr, n, h);
}

CUresult mp_shim_cuMemFreeAsync(CUdeviceptr dptr, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_capture *c;
	struct mp_range range;
	struct mp_pool *p;
	CUresult r = mp_enter(MP_CALL_cuMemFreeAsync, &t);

	if (!r)
		r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (r || !dptr)
		return r;
	if ((c = atomic_load(&s->capture))) /* a graph may not free what no graph allocated */
		return mp_block_free(&c->blocks, NULL, dptr);
	if (mp_block_free_now(dptr))
		return CUDA_SUCCESS;
	if (!mp_memory_find(dptr, &range) || range.base != dptr)
		return CUDA_ERROR_INVALID_VALUE;
	p = mp_object(range.pool, MP_KIND_pool);
	if (p) {
		pthread_mutex_lock(&lock);
		p->used -= p->used < range.size ? p->used : range.size;
		pthread_mutex_unlock(&lock);
	}
	return mp_memory_free(t, dptr, s);
}

CUresult mp_shim_cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *props)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = mp_enter_init(MP_CALL_cuMemPoolCreate, &t);

	if (r)
		return r;
	if (!pool || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (props->handleTypes || props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (props->location.id < 0 || props->location.id >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	p = pool_new(props->location.id);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p->max_size = props->maxSize;
	*pool = (CUmemoryPool)p;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemPoolDestroy(CUmemoryPool pool)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuMemPoolDestroy, pool, &t, &p);

	if (r)
		return r;
	if (p->standard)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	if (current[p->device] == p)
		current[p->device] = NULL;
	pthread_mutex_unlock(&lock);
	mp_slot_free(p);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuMemPoolTrimTo, pool, &t, &p);

	/* Idle granules count as free memory already, and go back when somebody wants them. */
	return r;
}

CUresult mp_shim_cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute a, void *value)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuMemPoolGetAttribute, pool, &t, &p);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		*(int *)value = p->reuse[a - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
		return CUDA_SUCCESS;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
		*(cuuint64_t *)value = p->threshold;
		return CUDA_SUCCESS;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
		*(cuuint64_t *)value = p->used;
		return CUDA_SUCCESS;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		*(cuuint64_t *)value = p->used_high;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult mp_shim_cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute a, void *value)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuMemPoolSetAttribute, pool, &t, &p);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		p->reuse[a - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = *(int *)value != 0;
		return CUDA_SUCCESS;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
		p->threshold = *(cuuint64_t *)value;
		return CUDA_SUCCESS;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		if (*(cuuint64_t *)value)
			return CUDA_ERROR_INVALID_VALUE;
		p->used_high = p->used;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult mp_shim_cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t n)
{
	struct mp_thread *t;
	struct mp_pool *p;
	size_t i;
	CUresult r = pool_get(MP_CALL_cuMemPoolSetAccess, pool, &t, &p);

	if (r)
		return r;
	for (i = 0; i < n; i++) {
		if (!map || map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE)
			return CUDA_ERROR_INVALID_VALUE;
		if (map[i].location.id != p->device && map[i].flags)
			return CUDA_ERROR_INVALID_DEVICE; /* no peer access */
		if (map[i].location.id == p->device && !map[i].flags)
			return CUDA_ERROR_INVALID_VALUE; /* a device cannot lose its own */
	}
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool,
				    CUmemLocation *location)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuMemPoolGetAccess, pool, &t, &p);

	if (r)
		return r;
	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = location->id == p->device ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
					   : CU_MEM_ACCESS_FLAGS_PROT_NONE;
	return CUDA_SUCCESS;
}

static CUresult device_pool(enum mp_call call, CUmemoryPool *pool, CUdevice dev, bool std)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	if (!pool)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*pool = (CUmemoryPool)(std ? pool_standard(dev) : pool_current(dev));
	return *pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_shim_cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice dev)
{
	return device_pool(MP_CALL_cuDeviceGetDefaultMemPool, pool, dev, true);
}

CUresult mp_shim_cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
	return device_pool(MP_CALL_cuDeviceGetMemPool, pool, dev, false);
}

CUresult mp_shim_cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
	struct mp_thread *t;
	struct mp_pool *p;
	CUresult r = pool_get(MP_CALL_cuDeviceSetMemPool, pool, &t, &p);

	if (r)
		return r;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	if (p->device != dev)
		return CUDA_ERROR_INVALID_DEVICE;
	current[dev] = p;
	return CUDA_SUCCESS;
}

static CUresult located(CUmemLocation *l, CUmemAllocationType type)
{
	if (!l || l->type != CU_MEM_LOCATION_TYPE_DEVICE || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *l, CUmemAllocationType type)
{
	CUresult r = located(l, type);

	return r ? r : device_pool(MP_CALL_cuMemGetDefaultMemPool, pool, l->id, true);
}

CUresult mp_shim_cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *l, CUmemAllocationType type)
{
	CUresult r = located(l, type);

	return r ? r : device_pool(MP_CALL_cuMemGetMemPool, pool, l->id, false);
}

CUresult mp_shim_cuMemSetMemPool(CUmemLocation *l, CUmemAllocationType type, CUmemoryPool pool)
{
	CUresult r = located(l, type);

	return r ? r : mp_shim_cuDeviceSetMemPool(l->id, pool);
}
