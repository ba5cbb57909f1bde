/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed memory: a mirror (mirror.h) whose device side is allocated like any
 * device memory.
 *
 * It is honoured as on a device without concurrent managed access, and a little
 * more: the program may touch it while kernels run, at the price of fetching it
 * again.  Memory that is attached to a stream is touched by work of that stream
 * alone.  Advice is remembered, not followed.
 */
#include "shim/mirror.h"

#include <string.h>

CUresult mp_shim_cuMemAllocManaged(CUdeviceptr *dptr, size_t n, unsigned int flags)
{
	struct mp_mirror_new m = {.kind = MP_MIRROR_MANAGED, .size = n, .attach = flags};
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemAllocManaged, &t);

	if (!r && (!dptr || !n || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (n > mp_shim.device[t->ctx->device].memory)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = mp_memory_alloc(t, t->ctx, mp_mirror_slot(n), NULL, &mp_memory_managed, &m.base);
	if (r)
		return r;
	m.host = m.device = m.base;
	m.pages = (n + MP_PAGE - 1) / MP_PAGE;
	m.ctx = t->ctx;
	r = mp_mirror_new(t, &m);
	if (r)
		(void)mp_memory_free(t, m.base, NULL);
	else
		*dptr = m.base;
	return r;
}

/* All of [p, p + n) lies in one managed allocation, or in a managed variable. */
static CUresult managed(uint64_t p, size_t n, struct mp_mirror *ret)
{
	if (!n || !mp_mirror_find(p, ret) ||
	    (ret->kind != MP_MIRROR_MANAGED && ret->kind != MP_MIRROR_VARIABLE))
		return CUDA_ERROR_INVALID_VALUE;
	if (ret->kind == MP_MIRROR_VARIABLE)
		return n > ret->host + ret->pages * MP_PAGE - p ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	return p - ret->base >= ret->size || n > ret->size - (p - ret->base) ? CUDA_ERROR_INVALID_VALUE
									   : CUDA_SUCCESS;
}

/* ---- Advice ---- */

struct advising {
	CUmem_advise advice;
	CUmemLocation location;
	CUresult r;
};

static void advise(struct mp_mirror *m, void *arg)
{
	struct advising *a = arg;

	a->r = mp_advice_take(&m->advice, a->advice, &a->location, mp_shim.ndevices);
}

static void prefetched(struct mp_mirror *m, void *arg)
{
	m->advice.prefetched = *(CUmemLocation *)arg;
}

CUresult mp_shim_cuMemAdvise_v2(CUdeviceptr p, size_t n, CUmem_advise advice, CUmemLocation location)
{
	struct advising a = {.advice = advice, .location = location};
	struct mp_mirror m;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemAdvise_v2, &t);

	if (!r)
		r = managed(p, n, &m);
	if (!r && !mp_mirror_change(p, advise, &a))
		r = CUDA_ERROR_INVALID_VALUE;
	return r ? r : a.r;
}

CUresult mp_shim_cuMemAdvise(CUdeviceptr p, size_t n, CUmem_advise advice, CUdevice device)
{
	return mp_shim_cuMemAdvise_v2(p, n, advice, mp_advice_location(device));
}

CUresult mp_shim_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute,
					CUdeviceptr p, size_t n)
{
	struct mp_mirror m;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemRangeGetAttribute, &t);

	if (!r)
		r = data ? managed(p, n, &m) : CUDA_ERROR_INVALID_VALUE;
	return r ? r : mp_advice_get(&m.advice, attribute, data, size);
}

CUresult mp_shim_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes,
					 size_t count, CUdeviceptr p, size_t n)
{
	CUresult r = count && data && sizes && attributes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	size_t i;

	for (i = 0; i < count && !r; i++)
		r = mp_shim_cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], p, n);
	return r;
}

/* ---- In the order of a stream ---- */

/*
 * To a device: what the program wrote goes there now.  To the host: it is fetched when it is
 * touched, which costs no more than fetching it ahead would.
 */
CUresult mp_shim_cuMemPrefetchAsync_v2(CUdeviceptr p, size_t n, CUmemLocation location,
				       unsigned int flags, CUstream h)
{
	struct mp_mirror m;
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = mp_enter(MP_CALL_cuMemPrefetchAsync_v2, &t);

	if (!r)
		r = flags ? CUDA_ERROR_INVALID_VALUE : managed(p, n, &m);
	if (!r)
		r = mp_advice_place(&location, mp_shim.ndevices);
	if (!r)
		r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	(void)mp_mirror_change(p, prefetched, &location);
	if (location.type != CU_MEM_LOCATION_TYPE_DEVICE || atomic_load(&s->capture))
		return CUDA_SUCCESS;
	return mp_mirror_copy(t, p, n, false);
}

CUresult mp_shim_cuMemPrefetchAsync(CUdeviceptr p, size_t n, CUdevice device, CUstream h)
{
	return mp_shim_cuMemPrefetchAsync_v2(p, n, mp_advice_location(device), 0, h);
}

struct attaching {
	unsigned flags;
	struct mp_stream *stream;
};

static void attach(struct mp_mirror *m, void *arg)
{
	const struct attaching *a = arg;

	m->attach = a->flags;
	m->stream = a->flags == CU_MEM_ATTACH_SINGLE ? a->stream : NULL;
	m->stream_generation = m->stream ? m->stream->head.generation : 0;
}

/*
 * It holds for work that is launched from now on; what was launched before had the memory made
 * stale already.
 */
CUresult mp_shim_cuStreamAttachMemAsync(CUstream h, CUdeviceptr p, size_t n, unsigned int flags)
{
	struct attaching a = {.flags = flags};
	struct mp_mirror m;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuStreamAttachMemAsync, &t);

	if (!r && flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
	    flags != CU_MEM_ATTACH_SINGLE)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = mp_stream_get(t, h, &a.stream);
	if (!r)
		r = managed(p, n ? n : 1, &m);
	if (!r)
		r = mp_stream_may(t, a.stream);
	if (!r && !atomic_load(&a.stream->capture))
		(void)mp_mirror_change(p, attach, &a);
	return r;
}
