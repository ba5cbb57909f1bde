/* SPDX-License-Identifier: Apache-2.0 */
/* Mipmapped arrays: one piece of memory in which the levels, which are arrays, lie after one another. */
#include "inside.h"

static struct CUmipmappedArray_st *all MP_GUARDED_BY(arrays);

static void drop(struct CUmipmappedArray_st *m)
{
	unsigned i;

	for (i = 0; i < m->nlevels; i++)
		if (m->level[i])
			mp_array_drop(m->level[i]);
	mp_array_lock();
	*m->back = m->next;
	if (m->next)
		m->next->back = m->back;
	mp_array_unlock();
	mp_handle_free(MP_MIPMAP, m);
}

void mp_mipmap_context_gone(struct CUctx_st *ctx)
{
	struct CUmipmappedArray_st *m;

	for (;;) {
		mp_array_lock();
		for (m = all; m && m->ctx != ctx; m = m->next)
			;
		mp_array_unlock();
		if (!m)
			return;
		drop(m);
	}
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pMipmappedArrayDesc,
				unsigned int numMipmapLevels)
{
	const CUDA_ARRAY3D_DESCRIPTOR *d = pMipmappedArrayDesc;
	struct CUmipmappedArray_st *m;
	size_t bytes, at;
	unsigned i;
	CUresult r;
	MP_ENTER(ctx);

	if (!pHandle || !d)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_array_judge(ctx->device->attributes, d, true);
	if (!r)
		r = mp_capture_unsafe();
	if (r)
		return r;
	m = mp_handle_new(MP_MIPMAP, sizeof(*m));
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->ctx = ctx;
	m->desc = *d;
	m->nlevels = mp_array_levels(d, numMipmapLevels);
	mp_array_lock();
	m->next = all;
	m->back = &all;
	if (all)
		all->back = &m->next;
	all = m;
	mp_array_unlock();
	for (i = 0; i < m->nlevels && !r; i++) {
		CUDA_ARRAY3D_DESCRIPTOR l = mp_array_level(d, i);

		m->level[i] = mp_array_new(ctx, &l);
		if (m->level[i])
			m->level[i]->mipmap = m;
		else
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (!r && !mp_array_bytes(d, m->nlevels, &bytes))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (!r)
		r = mp_memory_alloc(ctx, ctx->device, bytes, MP_ARRAY_ALIGN, MP_RANGE_ARRAY, true, &m->addr);
	if (r) {
		drop(m);
		return r;
	}
	for (i = 0; i < m->nlevels; i++) {
		m->level[i]->addr = m->addr;
		if (i && mp_array_bytes(d, i, &at))
			m->level[i]->addr += at;
	}
	*pHandle = m;
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray hMipmappedArray)
{
	struct CUmipmappedArray_st *m = hMipmappedArray;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_handle_live(MP_MIPMAP, m))
		return CUDA_ERROR_INVALID_HANDLE;
	if (mp_context_live(m->ctx) && mp_queue_pending(m->ctx))
		mp_queue_join(m->ctx);
	mp_memory_release(m->addr, MP_RANGE_ARRAY);
	drop(m);
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayGetLevel(CUarray *pLevelArray, CUmipmappedArray hMipmappedArray, unsigned int level)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!pLevelArray)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_MIPMAP, hMipmappedArray))
		return CUDA_ERROR_INVALID_HANDLE;
	if (level >= hMipmappedArray->nlevels)
		return CUDA_ERROR_INVALID_VALUE;
	*pLevelArray = hMipmappedArray->level[level];
	return CUDA_SUCCESS;
}

/* As for arrays: only deferred ones answer, and there are none. */
CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
					       CUmipmappedArray mipmap, CUdevice device)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!memoryRequirements)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_device_find(device))
		return CUDA_ERROR_INVALID_DEVICE;
	return mp_handle_live(MP_MIPMAP, mipmap) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUmipmappedArray mipmap)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!sparseProperties)
		return CUDA_ERROR_INVALID_VALUE;
	return mp_handle_live(MP_MIPMAP, mipmap) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}
