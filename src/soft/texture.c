/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface objects.  A handle is a number that kernels get as an
 * argument and look up without a lock: its low bits are the place in a table.
 *
 * A destroyed object stays readable until the work that its context had then is
 * done, as kernels that were launched before may still use it.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define PLACES	 (1u << 20)
#define PLACE_OF(handle) ((unsigned)(handle) & (PLACES - 1))
#define TRSF_SEAMLESS 0x40u
#define TRSF_KNOWN                                                                                 \
	(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |                 \
	 CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | TRSF_SEAMLESS)

struct texture {
	uint64_t handle;
	struct CUctx_st *ctx;
	CUDA_RESOURCE_DESC res;
	CUDA_TEXTURE_DESC tex;
	CUDA_RESOURCE_VIEW_DESC view;
	bool has_view;
	_Atomic bool dead; /* destroyed; kernels may still use it */
	struct mp_exec_texture device;
	struct texture *next, **back; MP_GUARDED_BY(textures)
};

static pthread_mutex_t textures = PTHREAD_MUTEX_INITIALIZER; /* leaf */
static _Atomic(struct texture *) place[PLACES];
static uint16_t turn[PLACES]; MP_GUARDED_BY(textures) /* of the place: handles differ */
static unsigned used = 1, free_place[4096], nfree; MP_GUARDED_BY(textures)
static struct texture *all MP_GUARDED_BY(textures);

/* ---- What device code gets ---- */

static void texel_set(struct mp_exec_texture *t, const struct mp_texel *x)
{
	t->channels = x->channels;
	t->bits = x->bits;
	t->kind = x->kind;
}

static struct mp_exec_level level_of(const struct CUarray_st *a)
{
	bool layers = a->desc.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);

	return (struct mp_exec_level){
		.base = a->addr, .pitch = a->pitch, .slice = a->pitch * a->height,
		.width = (uint32_t)a->desc.Width, .height = (uint32_t)a->height,
		.depth = layers ? 1 : (uint32_t)a->depth,
	};
}

static uint32_t layers_of(const struct CUarray_st *a)
{
	return a->desc.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP) ? (uint32_t)a->depth : 1;
}

/* Device memory that the context reaches, all in one piece. */
static bool memory_good(CUdeviceptr p, size_t n)
{
	struct mp_range r;

	return n && mp_window_has(p) && mp_window_has(p + n - 1) && mp_memory_span(p, n, &r) && !r.hidden;
}

static CUresult linear_resolve(struct CUctx_st *ctx, const CUDA_RESOURCE_DESC *d, struct mp_texel *x,
			       struct mp_exec_texture *t)
{
	const int *a = ctx->device->attributes;
	uint64_t align = (uint64_t)a[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT], p = d->res.linear.devPtr;
	size_t n = d->res.linear.sizeInBytes;

	if (!mp_texel_of(x, d->res.linear.format, d->res.linear.numChannels) || p % align ||
	    n / x->bytes > (size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH] ||
	    n < x->bytes || !memory_good(p, n))
		return CUDA_ERROR_INVALID_VALUE;
	t->levels[0] = (struct mp_exec_level){.base = p, .pitch = n, .slice = n,
					      .width = (uint32_t)(n / x->bytes), .height = 1, .depth = 1};
	return CUDA_SUCCESS;
}

static CUresult pitch_resolve(struct CUctx_st *ctx, const CUDA_RESOURCE_DESC *d, struct mp_texel *x,
			      struct mp_exec_texture *t)
{
	const int *a = ctx->device->attributes;
	size_t w = d->res.pitch2D.width, h = d->res.pitch2D.height, pitch = d->res.pitch2D.pitchInBytes;
	uint64_t p = d->res.pitch2D.devPtr;

	if (!mp_texel_of(x, d->res.pitch2D.format, d->res.pitch2D.numChannels) || !w || !h ||
	    p % (uint64_t)a[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT] ||
	    pitch % (size_t)a[CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT] ||
	    w > (size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH] ||
	    h > (size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT] ||
	    pitch > (size_t)a[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH] || w * x->bytes > pitch ||
	    !memory_good(p, (h - 1) * pitch + w * x->bytes))
		return CUDA_ERROR_INVALID_VALUE;
	t->levels[0] = (struct mp_exec_level){.base = p, .pitch = pitch, .slice = pitch * h,
					      .width = (uint32_t)w, .height = (uint32_t)h, .depth = 1};
	return CUDA_SUCCESS;
}

/* ---- Views: the same memory as other texels, levels and layers ---- */

static bool view_plain(CUresourceViewFormat f, struct mp_texel *x)
{
	static const uint8_t channels[3] = {1, 2, 4};
	unsigned i = (unsigned)f - CU_RES_VIEW_FORMAT_UINT_1X8;

	if (f < CU_RES_VIEW_FORMAT_UINT_1X8 || f > CU_RES_VIEW_FORMAT_FLOAT_4X32)
		return false;
	/* 8, 16, 32 bits of unsigned and signed integers in threes; then floats of 16 and 32 */
	x->channels = channels[i % 3];
	x->bits = i < 18 ? (uint8_t)(8 << i / 6) : i < 21 ? 16 : 32;
	x->kind = i < 18 ? i / 3 % 2 : 2;
	x->normal = false;
	x->bytes = (unsigned)x->channels * x->bits / 8;
	return true;
}

/* The number of a block compression, or 0; whether it is of 8 bytes, and signed. */
static unsigned view_block(CUresourceViewFormat f, bool *small, bool *sign)
{
	*small = f == CU_RES_VIEW_FORMAT_UNSIGNED_BC1 || f == CU_RES_VIEW_FORMAT_UNSIGNED_BC4 ||
		 f == CU_RES_VIEW_FORMAT_SIGNED_BC4;
	*sign = f == CU_RES_VIEW_FORMAT_SIGNED_BC4 || f == CU_RES_VIEW_FORMAT_SIGNED_BC5 ||
		f == CU_RES_VIEW_FORMAT_SIGNED_BC6H;
	switch (f) {
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC1: return 1;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC2: return 2;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC3: return 3;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC4:
	case CU_RES_VIEW_FORMAT_SIGNED_BC4: return 4;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC5:
	case CU_RES_VIEW_FORMAT_SIGNED_BC5: return 5;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC6H:
	case CU_RES_VIEW_FORMAT_SIGNED_BC6H: return 6;
	case CU_RES_VIEW_FORMAT_UNSIGNED_BC7: return 7;
	default: return 0;
	}
}

static CUresult view_format(const CUDA_RESOURCE_VIEW_DESC *v, struct mp_texel *x, struct mp_exec_texture *t)
{
	struct mp_texel as;
	bool small, sign;
	unsigned block, i;

	if (v->format == CU_RES_VIEW_FORMAT_NONE)
		return CUDA_SUCCESS;
	block = view_block(v->format, &small, &sign);
	if (!block) {
		if (!view_plain(v->format, &as) || as.bytes != x->bytes)
			return CUDA_ERROR_INVALID_VALUE;
		*x = as;
		return CUDA_SUCCESS;
	}
	/* A block is a texel of two or four 32-bit integers, and four texels wide and high. */
	if (x->bits != 32 || x->kind || x->channels != (small ? 2 : 4))
		return CUDA_ERROR_INVALID_VALUE;
	if (block > 5)
		return CUDA_ERROR_NOT_SUPPORTED;
	t->block = (uint8_t)block;
	for (i = 0; i < t->nlevels; i++) {
		t->levels[i].width *= 4;
		t->levels[i].height *= 4;
	}
	*x = (struct mp_texel){.channels = block < 4 ? 4 : (uint8_t)(block - 3), .bits = 8, .kind = sign,
			       .normal = true};
	return CUDA_SUCCESS;
}

static CUresult view_apply(const CUDA_RESOURCE_VIEW_DESC *v, struct mp_texel *x, struct mp_exec_texture *t)
{
	unsigned i;
	CUresult r;

	if (v->firstMipmapLevel > v->lastMipmapLevel || v->lastMipmapLevel >= t->nlevels ||
	    v->firstLayer > v->lastLayer || v->lastLayer >= t->layers)
		return CUDA_ERROR_INVALID_VALUE;
	r = view_format(v, x, t);
	if (r)
		return r;
	if (v->width != t->levels[0].width || (v->height && v->height != t->levels[0].height) ||
	    (!v->height && t->levels[0].height != 1) ||
	    (t->layers == 1 && v->depth && v->depth != t->levels[0].depth))
		return CUDA_ERROR_INVALID_VALUE;
	t->nlevels = v->lastMipmapLevel - v->firstMipmapLevel + 1;
	memmove(t->levels, t->levels + v->firstMipmapLevel, t->nlevels * sizeof(t->levels[0]));
	for (i = 0; i < t->nlevels; i++)
		t->levels[i].base += v->firstLayer * t->levels[i].slice;
	t->layers = v->lastLayer - v->firstLayer + 1;
	return CUDA_SUCCESS;
}

/* ---- Textures ---- */

static CUresult resource_resolve(struct CUctx_st *ctx, const CUDA_RESOURCE_DESC *d, struct mp_texel *x,
				 struct mp_exec_texture *t, unsigned *flags)
{
	const struct CUarray_st *a;
	const struct CUmipmappedArray_st *m;

	t->nlevels = t->layers = 1;
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		a = d->res.array.hArray;
		if (!mp_handle_live(MP_ARRAY, a))
			return CUDA_ERROR_INVALID_HANDLE;
		t->levels[0] = level_of(a);
		break;
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		m = d->res.mipmap.hMipmappedArray;
		if (!mp_handle_live(MP_MIPMAP, m))
			return CUDA_ERROR_INVALID_HANDLE;
		a = m->level[0];
		for (t->nlevels = 0; t->nlevels < m->nlevels; t->nlevels++)
			t->levels[t->nlevels] = level_of(m->level[t->nlevels]);
		break;
	case CU_RESOURCE_TYPE_LINEAR: return linear_resolve(ctx, d, x, t);
	case CU_RESOURCE_TYPE_PITCH2D: return pitch_resolve(ctx, d, x, t);
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	*x = a->texel;
	*flags = a->desc.Flags;
	t->layers = layers_of(a);
	t->layered = *flags & CUDA_ARRAY3D_LAYERED;
	return CUDA_SUCCESS;
}

static bool description_good(const CUDA_TEXTURE_DESC *d, bool mipmapped)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		if ((unsigned)d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
			return false;
	return (unsigned)d->filterMode <= CU_TR_FILTER_MODE_LINEAR &&
	       (unsigned)d->mipmapFilterMode <= CU_TR_FILTER_MODE_LINEAR && !(d->flags & ~TRSF_KNOWN) &&
	       (!mipmapped || d->flags & CU_TRSF_NORMALIZED_COORDINATES);
}

CUresult mp_texture_resolve(struct CUctx_st *ctx, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *tex,
			    const CUDA_RESOURCE_VIEW_DESC *view, struct mp_exec_texture *t)
{
	bool linear_memory = res->resType == CU_RESOURCE_TYPE_LINEAR;
	bool arrays = res->resType == CU_RESOURCE_TYPE_ARRAY || res->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
	unsigned flags = 0, i;
	struct mp_texel x;
	CUresult r;

	memset(t, 0, sizeof(*t));
	if (res->flags || !description_good(tex, res->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY) || (view && !arrays))
		return CUDA_ERROR_INVALID_VALUE;
	r = resource_resolve(ctx, res, &x, t, &flags);
	if (!r && view)
		r = view_apply(view, &x, t);
	if (r)
		return r;
	texel_set(t, &x);
	t->read_normalized = x.normal || (x.kind < 2 && x.bits < 32 && !(tex->flags & CU_TRSF_READ_AS_INTEGER));
	if (linear_memory) { /* its texels are fetched by number, and what lies outside is zero */
		t->address[0] = t->address[1] = t->address[2] = CU_TR_ADDRESS_MODE_BORDER;
		return CUDA_SUCCESS;
	}
	/* Integers that stay integers cannot be weighted. */
	if (x.kind < 2 && !t->read_normalized &&
	    (tex->filterMode == CU_TR_FILTER_MODE_LINEAR ||
	     (t->nlevels > 1 && tex->mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR)))
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < 3; i++)
		t->address[i] = (uint8_t)tex->addressMode[i];
	memcpy(t->border, tex->borderColor, sizeof(t->border));
	t->linear = tex->filterMode == CU_TR_FILTER_MODE_LINEAR;
	t->mip_linear = tex->mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR;
	t->normalized_coords = tex->flags & CU_TRSF_NORMALIZED_COORDINATES || flags & CUDA_ARRAY3D_CUBEMAP;
	t->srgb = tex->flags & CU_TRSF_SRGB && t->read_normalized && x.bits == 8 && x.kind == 0;
	t->seamless = tex->flags & TRSF_SEAMLESS;
	t->mip_bias = tex->mipmapLevelBias;
	t->mip_min = tex->minMipmapLevelClamp;
	t->mip_max = tex->maxMipmapLevelClamp;
	return CUDA_SUCCESS;
}

CUresult mp_surface_resolve(const CUDA_RESOURCE_DESC *res, struct mp_exec_texture *t)
{
	const struct CUarray_st *a = res->res.array.hArray;

	memset(t, 0, sizeof(*t));
	if (res->resType != CU_RESOURCE_TYPE_ARRAY || res->flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_ARRAY, a))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!(a->desc.Flags & CUDA_ARRAY3D_SURFACE_LDST))
		return CUDA_ERROR_INVALID_VALUE;
	texel_set(t, &a->texel);
	t->read_normalized = a->texel.normal;
	t->levels[0] = level_of(a);
	t->nlevels = 1;
	t->layers = layers_of(a);
	t->layered = a->desc.Flags & CUDA_ARRAY3D_LAYERED;
	t->surface = true;
	return CUDA_SUCCESS;
}

/* ---- The table ---- */

const struct mp_exec_texture *mp_texture_find(void *ctx, uint64_t object)
{
	struct texture *t;

	if (mp_window_has(object))
		return mp_texref_find(ctx, object);
	t = atomic_load_explicit(&place[PLACE_OF(object)], memory_order_acquire);
	return t && t->handle == object && t->ctx == ctx ? &t->device : NULL;
}

/* Textures lock held. */
static void unlink_locked(struct texture *t)
{
	unsigned at = PLACE_OF(t->handle);

	atomic_store(&place[at], NULL);
	*t->back = t->next;
	if (t->next)
		t->next->back = t->back;
	if (nfree < MP_ARRAY_LEN(free_place))
		free_place[nfree++] = at;
	free(t);
}

/* Those of the context that were destroyed, when nothing runs that could use them. */
static void sweep(struct CUctx_st *ctx)
{
	struct texture *t, *next;
	bool dead = false;

	pthread_mutex_lock(&textures);
	for (t = all; t && !dead; t = t->next)
		dead = t->ctx == ctx && t->dead;
	pthread_mutex_unlock(&textures);
	if (!dead || mp_queue_pending(ctx))
		return;
	pthread_mutex_lock(&textures);
	for (t = all; t; t = next) {
		next = t->next;
		if (t->ctx == ctx && t->dead)
			unlink_locked(t);
	}
	pthread_mutex_unlock(&textures);
}

static CUresult add(struct texture *own_t, uint64_t *ret)
{
	CUresult r = CUDA_ERROR_OUT_OF_MEMORY;
	unsigned at = 0;

	pthread_mutex_lock(&textures);
	if (nfree)
		at = free_place[--nfree];
	else if (used < PLACES)
		at = used++;
	if (at) {
		own_t->handle = (uint64_t)turn[at]++ << 20 | at;
		own_t->next = all;
		own_t->back = &all;
		if (all)
			all->back = &own_t->next;
		all = own_t;
		atomic_store_explicit(&place[at], own_t, memory_order_release);
		*ret = own_t->handle;
		r = CUDA_SUCCESS;
	}
	pthread_mutex_unlock(&textures);
	if (r)
		free(own_t);
	return r;
}

/* The live object, which only this call's caller may destroy meanwhile; NULL: none. */
static struct texture *live(uint64_t handle, bool surface)
{
	struct texture *t = atomic_load(&place[PLACE_OF(handle)]);

	return t && t->handle == handle && !t->dead && t->device.surface == surface ? t : NULL;
}

void mp_texture_context_gone(struct CUctx_st *ctx)
{
	struct texture *t, *next;

	pthread_mutex_lock(&textures);
	for (t = all; t; t = next) {
		next = t->next;
		if (t->ctx == ctx)
			unlink_locked(t);
	}
	pthread_mutex_unlock(&textures);
}

/* ---- Calls ---- */

CUresult cuTexObjectCreate(CUtexObject *pTexObject, const CUDA_RESOURCE_DESC *pResDesc,
			   const CUDA_TEXTURE_DESC *pTexDesc, const CUDA_RESOURCE_VIEW_DESC *pResViewDesc)
{
	struct texture *t;
	uint64_t handle;
	CUresult r;
	MP_ENTER(ctx);

	if (!pTexObject || !pResDesc || !pTexDesc)
		return CUDA_ERROR_INVALID_VALUE;
	sweep(ctx);
	t = calloc(1, sizeof(*t));
	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	t->ctx = ctx;
	t->res = *pResDesc;
	t->tex = *pTexDesc;
	if (pResViewDesc) {
		t->view = *pResViewDesc;
		t->has_view = true;
	}
	r = mp_texture_resolve(ctx, pResDesc, pTexDesc, pResViewDesc, &t->device);
	if (r) {
		free(t);
		return r;
	}
	r = add(t, &handle);
	if (!r)
		*pTexObject = handle;
	return r;
}

CUresult cuSurfObjectCreate(CUsurfObject *pSurfObject, const CUDA_RESOURCE_DESC *pResDesc)
{
	struct texture *t;
	uint64_t handle;
	CUresult r;
	MP_ENTER(ctx);

	if (!pSurfObject || !pResDesc)
		return CUDA_ERROR_INVALID_VALUE;
	sweep(ctx);
	t = calloc(1, sizeof(*t));
	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	t->ctx = ctx;
	t->res = *pResDesc;
	r = mp_surface_resolve(pResDesc, &t->device);
	if (r) {
		free(t);
		return r;
	}
	r = add(t, &handle);
	if (!r)
		*pSurfObject = handle;
	return r;
}

static CUresult destroy(uint64_t handle, bool surface)
{
	struct texture *t;
	MP_ENTER(ctx);

	(void)ctx;
	t = live(handle, surface);
	if (!t)
		return CUDA_ERROR_INVALID_VALUE;
	t->dead = true;
	sweep(t->ctx);
	return CUDA_SUCCESS;
}

CUresult cuTexObjectDestroy(CUtexObject texObject)
{
	return destroy(texObject, false);
}

CUresult cuSurfObjectDestroy(CUsurfObject surfObject)
{
	return destroy(surfObject, true);
}

/* The object that is asked about; `ret` is where the program wants the answer. */
static CUresult asked(uint64_t object, bool surface, const void *ret, struct texture **ret_texture)
{
	MP_ENTER(ctx);

	(void)ctx;
	*ret_texture = live(object, surface);
	return ret && *ret_texture ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUtexObject texObject)
{
	struct texture *t;
	CUresult r = asked(texObject, false, pResDesc, &t);

	if (!r)
		*pResDesc = t->res;
	return r;
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *pTexDesc, CUtexObject texObject)
{
	struct texture *t;
	CUresult r = asked(texObject, false, pTexDesc, &t);

	if (!r)
		*pTexDesc = t->tex;
	return r;
}

/* An object without a view has none to tell. */
CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *pResViewDesc, CUtexObject texObject)
{
	struct texture *t;
	CUresult r = asked(texObject, false, pResViewDesc, &t);

	if (!r && !t->has_view)
		return CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*pResViewDesc = t->view;
	return r;
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUsurfObject surfObject)
{
	struct texture *t;
	CUresult r = asked(surfObject, true, pResDesc, &t);

	if (!r)
		*pResDesc = t->res;
	return r;
}
