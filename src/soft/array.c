/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of one, two and three dimensions, of layers and of cube faces: memory
 * that copies, textures and surfaces reach.  Layout is linear: rows without
 * gaps, slices after one another, layers and faces being slices.
 */
#include "inside.h"

#define A3D_DEPTH_TEXTURE    0x10u
#define A3D_COLOR_ATTACHMENT 0x20u
#define A3D_SPARSE	     0x40u
#define A3D_DEFERRED	     0x80u
#define A3D_VIDEO	     0x100u
#define A3D_KNOWN                                                                                  \
	(CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |                 \
	 CUDA_ARRAY3D_TEXTURE_GATHER | A3D_DEPTH_TEXTURE | A3D_COLOR_ATTACHMENT | A3D_SPARSE |     \
	 A3D_DEFERRED | A3D_VIDEO)

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

bool mp_texel_of(struct mp_texel *t, CUarray_format format, unsigned channels)
{
	unsigned f = (unsigned)format;

	*t = (struct mp_texel){.channels = (uint8_t)channels};
	switch (format) {
	case CU_AD_FORMAT_UNSIGNED_INT8: t->bits = 8; break;
	case CU_AD_FORMAT_UNSIGNED_INT16: t->bits = 16; break;
	case CU_AD_FORMAT_UNSIGNED_INT32: t->bits = 32; break;
	case CU_AD_FORMAT_SIGNED_INT8: t->bits = 8, t->kind = 1; break;
	case CU_AD_FORMAT_SIGNED_INT16: t->bits = 16, t->kind = 1; break;
	case CU_AD_FORMAT_SIGNED_INT32: t->bits = 32, t->kind = 1; break;
	case CU_AD_FORMAT_HALF: t->bits = 16, t->kind = 2; break;
	case CU_AD_FORMAT_FLOAT: t->bits = 32, t->kind = 2; break;
	case CU_AD_FORMAT_UNORM_INT_101010_2:
		t->bits = 10, t->normal = true, t->bytes = 4;
		return channels == 4;
	default:
		if (f < CU_AD_FORMAT_UNORM_INT8X1 || f > CU_AD_FORMAT_SNORM_INT16X4)
			return false;
		f -= CU_AD_FORMAT_UNORM_INT8X1; /* x1 x2 x4 of unsigned 8, 16, signed 8, 16 */
		t->bits = f / 3 % 2 ? 16 : 8;
		t->kind = f / 6;
		t->normal = true;
		if (channels != 1u << f % 3)
			return false;
	}
	t->bytes = channels * t->bits / 8;
	return channels == 1 || channels == 2 || channels == 4;
}

/* ---- What may be made ---- */

#define LIMIT(name) ((size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_##name])

static bool fits(const int *a, const CUDA_ARRAY3D_DESCRIPTOR *d, bool surface)
{
	size_t w = d->Width, h = d->Height, n = d->Depth;

	if (d->Flags & CUDA_ARRAY3D_CUBEMAP) {
		size_t most = surface ? LIMIT(SURFACECUBEMAP_WIDTH) : LIMIT(TEXTURECUBEMAP_WIDTH);

		return w <= most && n <= LIMIT(TEXTURECUBEMAP_LAYERED_LAYERS);
	}
	if (d->Flags & CUDA_ARRAY3D_LAYERED) {
		if (!h)
			return w <= LIMIT(TEXTURE1D_LAYERED_WIDTH) && n <= LIMIT(TEXTURE1D_LAYERED_LAYERS);
		return w <= LIMIT(TEXTURE2D_LAYERED_WIDTH) && h <= LIMIT(TEXTURE2D_LAYERED_HEIGHT) &&
		       n <= LIMIT(TEXTURE2D_LAYERED_LAYERS);
	}
	if (n)
		return (w <= LIMIT(TEXTURE3D_WIDTH) && h <= LIMIT(TEXTURE3D_HEIGHT) &&
			n <= LIMIT(TEXTURE3D_DEPTH)) ||
		       (!surface && w <= LIMIT(TEXTURE3D_WIDTH_ALTERNATE) &&
			h <= LIMIT(TEXTURE3D_HEIGHT_ALTERNATE) && n <= LIMIT(TEXTURE3D_DEPTH_ALTERNATE));
	if (!h)
		return w <= (surface ? LIMIT(SURFACE1D_WIDTH) : LIMIT(TEXTURE1D_WIDTH));
	if (d->Flags & CUDA_ARRAY3D_TEXTURE_GATHER)
		return w <= LIMIT(TEXTURE2D_GATHER_WIDTH) && h <= LIMIT(TEXTURE2D_GATHER_HEIGHT);
	return w <= LIMIT(TEXTURE2D_WIDTH) && h <= LIMIT(TEXTURE2D_HEIGHT);
}

/* The rules of cuArray3DCreate and cuMipmappedArrayCreate in the driver API's manual. */
CUresult mp_array_check(struct CUctx_st *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d, bool mipmapped)
{
	const int *a = ctx->device->attributes;
	bool cube = d->Flags & CUDA_ARRAY3D_CUBEMAP, layered = d->Flags & CUDA_ARRAY3D_LAYERED;
	struct mp_texel t;

	if (!d->Width || d->Flags & ~A3D_KNOWN || (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4))
		return CUDA_ERROR_INVALID_VALUE;
	if (layered || cube ? !d->Depth : d->Depth && !d->Height)
		return CUDA_ERROR_INVALID_VALUE;
	if (cube && (d->Width != d->Height || (layered ? d->Depth % 6 : d->Depth != 6)))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Flags & CUDA_ARRAY3D_TEXTURE_GATHER && (!d->Height || (d->Depth && !layered && !cube)))
		return CUDA_ERROR_INVALID_VALUE;
	if (!fits(a, d, d->Flags & CUDA_ARRAY3D_SURFACE_LDST))
		return CUDA_ERROR_INVALID_VALUE;
	if (mipmapped && !layered && !cube && !d->Depth &&
	    (d->Height ? d->Width > LIMIT(TEXTURE2D_MIPMAPPED_WIDTH) || d->Height > LIMIT(TEXTURE2D_MIPMAPPED_HEIGHT)
		       : d->Width > LIMIT(TEXTURE1D_MIPMAPPED_WIDTH)))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Flags & (A3D_DEPTH_TEXTURE | A3D_SPARSE | A3D_DEFERRED | A3D_VIDEO))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!mp_texel_of(&t, d->Format, d->NumChannels)) {
		/* Planar and block-compressed ones there are; we have none. */
		return (unsigned)d->Format > CU_AD_FORMAT_FLOAT && (unsigned)d->Format < 256
			       ? CUDA_ERROR_NOT_SUPPORTED
			       : CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

/* ---- Making and dropping ---- */

struct CUarray_st *mp_array_new(struct CUctx_st *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d, size_t *ret_bytes)
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
	if (!mp_mul(a->pitch * a->height, a->depth, ret_bytes))
		*ret_bytes = SIZE_MAX;
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
	r = mp_array_check(ctx, pAllocateArray, false);
	if (!r)
		r = mp_capture_unsafe();
	if (r)
		return r;
	a = mp_array_new(ctx, pAllocateArray, &bytes);
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
