/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of one, two and three dimensions, of layers and of cube faces: memory
 * that copies, textures and surfaces reach.  Layout is linear: rows without
 * gaps, slices after one another, layers and faces being slices.
 */
#include "inside.h"

static pthread_mutex_t arrays = PTHREAD_MUTEX_INITIALIZER; /* leaf: the lists of a context's */
static struct CUarray_st *all MP_GUARDED_BY(arrays);

void mp_array_lock(void)
{
	pthread_mutex_lock(&arrays);
}

void mp_array_unlock(void)
{
	pthread_mutex_unlock(&arrays);
}

/* ---- Making and dropping ---- */

struct CUarray_st *mp_array_new(struct CUctx_st *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	struct CUarray_st *a = mp_handle_new(MP_ARRAY, sizeof(*a));
	bool known;

	if (!a)
		return NULL;
	a->ctx = ctx;
	a->desc = *d;
	known = mp_texel_of(&a->texel, d->Format, d->NumChannels);
	assert(known);
	(void)known;
	a->pitch = d->Width * a->texel.bytes;
	a->height = d->Height ? d->Height : 1;
	a->depth = d->Depth ? d->Depth : 1;
	mp_array_lock();
	a->next = all;
	a->back = &all;
	if (all)
		all->back = &a->next;
	all = a;
	mp_array_unlock();
	return a;
}

void mp_array_drop(struct CUarray_st *a)
{
	mp_array_lock();
	*a->back = a->next;
	if (a->next)
		a->next->back = a->back;
	mp_array_unlock();
	mp_handle_free(MP_ARRAY, a);
}

/* Levels go with their mipmapped array, memory with the context's. */
void mp_array_context_gone(struct CUctx_st *ctx)
{
	struct CUarray_st *a, *next;

	mp_mipmap_context_gone(ctx);
	for (;;) {
		mp_array_lock();
		for (a = all; a && a->ctx != ctx; a = next)
			next = a->next;
		mp_array_unlock();
		if (!a)
			return;
		mp_array_drop(a);
	}
}

/* ---- Calls ---- */

CUresult cuArray3DCreate_v2(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray)
{
	struct CUarray_st *a;
	size_t bytes;
	CUresult r;
	MP_ENTER(ctx);

	if (!pHandle || !pAllocateArray)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_array_judge(ctx->device->attributes, pAllocateArray, false);
	if (!r)
		r = mp_capture_unsafe();
	if (r)
		return r;
	a = mp_array_bytes(pAllocateArray, 1, &bytes) ? mp_array_new(ctx, pAllocateArray) : NULL;
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = mp_memory_alloc(ctx, ctx->device, bytes, 512, MP_RANGE_ARRAY, true, &a->addr);
	if (r)
		mp_array_drop(a);
	else
		*pHandle = a;
	return r;
}

CUresult cuArrayCreate_v2(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR *pAllocateArray)
{
	CUDA_ARRAY3D_DESCRIPTOR d;

	if (!pAllocateArray)
		return mp_soft_ready() ? mp_soft_ready() : CUDA_ERROR_INVALID_VALUE;
	d = (CUDA_ARRAY3D_DESCRIPTOR){
		.Width = pAllocateArray->Width, .Height = pAllocateArray->Height,
		.Format = pAllocateArray->Format, .NumChannels = pAllocateArray->NumChannels,
	};
	return cuArray3DCreate_v2(pHandle, &d);
}

CUresult cuArrayDestroy(CUarray hArray)
{
	struct CUctx_st *owner;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_handle_live(MP_ARRAY, hArray))
		return CUDA_ERROR_INVALID_HANDLE;
	if (hArray->mipmap) /* its mipmapped array destroys it */
		return CUDA_ERROR_INVALID_VALUE;
	owner = hArray->ctx;
	if (mp_context_live(owner) && mp_queue_pending(owner))
		mp_queue_join(owner);
	mp_memory_release(hArray->addr, MP_RANGE_ARRAY);
	mp_array_drop(hArray);
	return CUDA_SUCCESS;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!pArrayDescriptor)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_ARRAY, hArray))
		return CUDA_ERROR_INVALID_HANDLE;
	*pArrayDescriptor = hArray->desc;
	return CUDA_SUCCESS;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUresult r;

	if (!pArrayDescriptor)
		return CUDA_ERROR_INVALID_VALUE;
	r = cuArray3DGetDescriptor_v2(&d, hArray);
	if (!r)
		*pArrayDescriptor =
			(CUDA_ARRAY_DESCRIPTOR){d.Width, d.Height, d.Format, d.NumChannels};
	return r;
}

/* Only arrays of several planes have planes, and there are none. */
CUresult cuArrayGetPlane(CUarray *pPlaneArray, CUarray hArray, unsigned int planeIdx)
{
	MP_ENTER(ctx);
	(void)ctx;
	(void)planeIdx;
	if (!mp_handle_live(MP_ARRAY, hArray))
		return CUDA_ERROR_INVALID_HANDLE;
	(void)pPlaneArray;
	return CUDA_ERROR_INVALID_VALUE;
}

/* Only arrays made with CUDA_ARRAY3D_DEFERRED_MAPPING answer, and there are none. */
CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
				      CUarray array, CUdevice device)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!memoryRequirements)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_device_find(device))
		return CUDA_ERROR_INVALID_DEVICE;
	return mp_handle_live(MP_ARRAY, array) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

/* The same with CUDA_ARRAY3D_SPARSE. */
CUresult cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUarray array)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!sparseProperties)
		return CUDA_ERROR_INVALID_VALUE;
	return mp_handle_live(MP_ARRAY, array) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

/* ---- The calls of 32-bit sizes, which are as good as the others ---- */

CUresult cuArray3DCreate(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR_v1 *d)
{
	CUDA_ARRAY3D_DESCRIPTOR w;

	if (!d)
		return cuArray3DCreate_v2(pHandle, NULL);
	w = (CUDA_ARRAY3D_DESCRIPTOR){d->Width, d->Height, d->Depth, d->Format, d->NumChannels, d->Flags};
	return cuArray3DCreate_v2(pHandle, &w);
}

CUresult cuArrayCreate(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR_v1 *d)
{
	CUDA_ARRAY_DESCRIPTOR w;

	if (!d)
		return cuArrayCreate_v2(pHandle, NULL);
	w = (CUDA_ARRAY_DESCRIPTOR){d->Width, d->Height, d->Format, d->NumChannels};
	return cuArrayCreate_v2(pHandle, &w);
}

CUresult cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUresult r = cuArray3DGetDescriptor_v2(pArrayDescriptor ? &d : NULL, hArray);

	if (!r)
		*pArrayDescriptor = (CUDA_ARRAY3D_DESCRIPTOR_v1){
			(unsigned)d.Width, (unsigned)d.Height, (unsigned)d.Depth, d.Format, d.NumChannels, d.Flags};
	return r;
}

CUresult cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUresult r = cuArray3DGetDescriptor_v2(pArrayDescriptor ? &d : NULL, hArray);

	if (!r)
		*pArrayDescriptor = (CUDA_ARRAY_DESCRIPTOR_v1){(unsigned)d.Width, (unsigned)d.Height, d.Format,
							       d.NumChannels};
	return r;
}
