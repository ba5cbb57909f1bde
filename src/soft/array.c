/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays: memory that is copied to and from, row by row.  Layout is linear.
 * Textures and surfaces over them are not carried.
 */
#include "inside.h"

static unsigned format_bytes(CUarray_format f)
{
	switch ((int)f) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8: return 1;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF: return 2;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT: return 4;
	default: return 0;
	}
}

CUresult cuArray3DCreate_v2(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray)
{
	const CUDA_ARRAY3D_DESCRIPTOR *d = pAllocateArray;
	struct CUarray_st *a;
	size_t bytes, row;
	CUresult r;
	MP_ENTER(ctx);

	if (!pHandle || !d || !d->Width || !format_bytes(d->Format))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4)
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Width > 131072 || d->Height > 65536 || d->Depth > 16384)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_capture_unsafe();
	if (r)
		return r;
	a = mp_handle_new(MP_ARRAY, sizeof(*a));
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	a->ctx = ctx;
	a->desc = *d;
	row = d->Width * format_bytes(d->Format) * d->NumChannels;
	a->pitch = row;
	a->height = d->Height ? d->Height : 1;
	a->depth = d->Depth ? d->Depth : 1;
	if (!mp_mul(row * a->height, a->depth, &bytes))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	else
		r = mp_memory_alloc(ctx, ctx->device, bytes, 512, MP_RANGE_ARRAY, true, &a->addr);
	if (r)
		mp_handle_free(MP_ARRAY, a);
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
	owner = hArray->ctx;
	if (mp_context_live(owner) && mp_queue_pending(owner))
		mp_queue_join(owner);
	mp_memory_release(hArray->addr, MP_RANGE_ARRAY);
	mp_handle_free(MP_ARRAY, hArray);
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

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
				      CUarray array, CUdevice device)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!memoryRequirements || !mp_device_find(device))
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_ARRAY, array))
		return CUDA_ERROR_INVALID_HANDLE;
	*memoryRequirements = (CUDA_ARRAY_MEMORY_REQUIREMENTS){
		.size = array->pitch * array->height * array->depth, .alignment = 512};
	return CUDA_SUCCESS;
}
