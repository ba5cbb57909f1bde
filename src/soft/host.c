/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned host memory: allocated in the host part of the window, where device
 * code reaches it directly, or the program's own memory, registered.
 */
#include "inside.h"

#define PAGE 4096u

static struct mp_extents pages MP_GUARDED_BY(memory);

CUresult cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
	struct mp_range r = {.kind = MP_RANGE_HOST, .flags = Flags, .size = bytesize};
	uint64_t first, count;
	CUresult err;
	MP_ENTER(ctx);

	if (!pp || !bytesize || Flags & ~7u)
		return CUDA_ERROR_INVALID_VALUE;
	err = mp_capture_unsafe();
	if (err)
		return err;
	if (bytesize > mp_window_host_size())
		return CUDA_ERROR_OUT_OF_MEMORY;
	count = mp_align_up(bytesize, PAGE) / PAGE;
	r.ctx = ctx;
	r.device = ctx->device;
	r.span = count * PAGE;
	mp_memory_lock();
	if (!pages.cap && !mp_extents_init(&pages, mp_window_host_base() / PAGE,
					   mp_window_host_size() / PAGE))
		goto none;
	/* Large pieces start at a granule, so that huge pages can be had. */
	if (!mp_extents_take(&pages, count, r.span >= MP_GRANULE ? MP_GRANULE / PAGE : 1, &first))
		goto none;
	r.addr = first * PAGE;
	r.id = mp_range_id();
	if (!mp_window_back(r.addr, r.span) || !mp_range_add(&r)) {
		mp_window_unback(r.addr, r.span);
		mp_extents_put(&pages, first, count);
		goto none;
	}
	mp_memory_unlock();
	*pp = (void *)r.addr;
	return CUDA_SUCCESS;
none:
	mp_memory_unlock();
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAllocHost_v2(void **pp, size_t bytesize)
{
	return cuMemHostAlloc(pp, bytesize, 0);
}

/* The host allocation or registration that starts at p. */
static bool find(void *p, enum mp_range_kind kind, struct mp_range *ret)
{
	return mp_memory_span((uint64_t)p, 1, ret) && ret->addr == (uint64_t)p && ret->kind == kind;
}

CUresult cuMemFreeHost(void *p)
{
	struct mp_range r;
	CUresult err;
	MP_ENTER(ctx);

	if (!p)
		return CUDA_SUCCESS;
	err = mp_capture_unsafe();
	if (err)
		return err;
	if (!find(p, MP_RANGE_HOST, &r))
		return CUDA_ERROR_INVALID_VALUE;
	if (mp_context_live(r.ctx) && mp_queue_pending(r.ctx))
		mp_queue_join(r.ctx);
	if (ctx != r.ctx && mp_queue_pending(ctx))
		mp_queue_join(ctx);
	mp_memory_lock();
	mp_range_remove(r.addr);
	mp_window_unback(r.addr, r.span);
	mp_extents_put(&pages, r.addr / PAGE, r.span / PAGE);
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
	struct mp_range r = {.kind = MP_RANGE_REGISTERED, .addr = (uint64_t)p, .size = bytesize,
			     .span = bytesize, .flags = Flags};
	CUresult err = CUDA_SUCCESS;
	uint64_t end;
	size_t i;
	MP_ENTER(ctx);

	if (!p || !bytesize || Flags & ~15u || __builtin_add_overflow(r.addr, bytesize, &end))
		return CUDA_ERROR_INVALID_VALUE;
	if (Flags & CU_MEMHOSTREGISTER_IOMEMORY)
		return CUDA_ERROR_NOT_SUPPORTED;
	err = mp_capture_unsafe();
	if (err)
		return err;
	r.ctx = ctx;
	r.device = ctx->device;
	mp_memory_lock();
	i = mp_range_index(r.addr);
	if (mp_range_find(r.addr) || (mp_range_at(i) && mp_range_at(i)->addr < end))
		err = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	r.id = mp_range_id();
	if (!err && !mp_range_add(&r))
		err = CUDA_ERROR_OUT_OF_MEMORY;
	mp_memory_unlock();
	return err;
}

CUresult cuMemHostRegister(void *p, size_t bytesize, unsigned int Flags)
{
	return cuMemHostRegister_v2(p, bytesize, Flags);
}

CUresult cuMemHostUnregister(void *p)
{
	struct mp_range r;
	CUresult err;
	MP_ENTER(ctx);

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	err = mp_capture_unsafe();
	if (err)
		return err;
	if (!find(p, MP_RANGE_REGISTERED, &r))
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	if (mp_queue_pending(ctx))
		mp_queue_join(ctx);
	mp_memory_lock();
	mp_range_remove(r.addr);
	mp_memory_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *pdptr, void *p, unsigned int Flags)
{
	struct mp_range r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!pdptr || Flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_span((uint64_t)p, 1, &r) ||
	    (r.kind != MP_RANGE_HOST && r.kind != MP_RANGE_REGISTERED))
		return CUDA_ERROR_INVALID_VALUE;
	*pdptr = (CUdeviceptr)p;
	return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *pFlags, void *p)
{
	struct mp_range r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!pFlags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_span((uint64_t)p, 1, &r) ||
	    (r.kind != MP_RANGE_HOST && r.kind != MP_RANGE_REGISTERED))
		return CUDA_ERROR_INVALID_VALUE;
	*pFlags = r.flags | CU_MEMHOSTALLOC_DEVICEMAP; /* with unified addresses all is mapped */
	return CUDA_SUCCESS;
}
