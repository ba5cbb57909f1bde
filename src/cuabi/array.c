/* SPDX-License-Identifier: Apache-2.0 */
/* Which arrays may be made: the rules of cuArray3DCreate and cuMipmappedArrayCreate in the driver API's manual. */
#include "cuabi/cuabi.h"

#define KNOWN                                                                                      \
	(CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |                 \
	 CUDA_ARRAY3D_TEXTURE_GATHER | MP_ARRAY_DEPTH | MP_ARRAY_COLOR | MP_ARRAY_SPARSE |         \
	 MP_ARRAY_DEFERRED | MP_ARRAY_VIDEO)

#define LIMIT(name) ((size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_##name])

static bool fits(const int *a, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	size_t w = d->Width, h = d->Height, n = d->Depth;
	bool surface = d->Flags & CUDA_ARRAY3D_SURFACE_LDST;

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

CUresult mp_array_judge(const int *a, const CUDA_ARRAY3D_DESCRIPTOR *d, bool mipmapped)
{
	bool cube = d->Flags & CUDA_ARRAY3D_CUBEMAP, layered = d->Flags & CUDA_ARRAY3D_LAYERED;
	unsigned format = (unsigned)d->Format;
	struct mp_texel t;

	if (!d->Width || d->Flags & ~KNOWN || (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4))
		return CUDA_ERROR_INVALID_VALUE;
	if (layered || cube ? !d->Depth : d->Depth && !d->Height)
		return CUDA_ERROR_INVALID_VALUE;
	if (cube && (d->Width != d->Height || (layered ? d->Depth % 6 : d->Depth != 6)))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Flags & CUDA_ARRAY3D_TEXTURE_GATHER && (!d->Height || (d->Depth && !layered && !cube)))
		return CUDA_ERROR_INVALID_VALUE;
	if (!fits(a, d))
		return CUDA_ERROR_INVALID_VALUE;
	if (mipmapped && !layered && !cube && !d->Depth &&
	    (d->Height ? d->Width > LIMIT(TEXTURE2D_MIPMAPPED_WIDTH) || d->Height > LIMIT(TEXTURE2D_MIPMAPPED_HEIGHT)
		       : d->Width > LIMIT(TEXTURE1D_MIPMAPPED_WIDTH)))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Flags & (MP_ARRAY_DEPTH | MP_ARRAY_SPARSE | MP_ARRAY_DEFERRED | MP_ARRAY_VIDEO))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (mp_texel_of(&t, d->Format, d->NumChannels))
		return CUDA_SUCCESS;
	/* Planar and block-compressed formats there are; we have none. */
	return format > CU_AD_FORMAT_FLOAT && format < 256 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
}
