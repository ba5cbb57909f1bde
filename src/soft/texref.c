/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface references: what textures were before there were objects.
 * A .texref or .surfref variable of a module is the object that its instructions
 * name, by its address; the reference says what it stands for at present.
 *
 * A launch sees what was bound at its call.  So a change waits until the work of
 * the context is done; programs change references between launches, not beside
 * them.
 */
#include "inside.h"

#include <string.h>

#define OVERRIDE_FORMAT 1u /* CU_TRSA_OVERRIDE_FORMAT */

struct CUtexref_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	struct CUmod_st *module; /* NULL: of cuTexRefCreate */
	uint64_t address;	 /* of the variable, or 0 */
	bool bound, good;	 /* good: device is what the rest says */
	CUDA_RESOURCE_DESC res;
	CUDA_TEXTURE_DESC tex;
	CUarray_format format;
	unsigned channels;
	struct mp_exec_texture device;
	struct CUtexref_st *next, **back; MP_GUARDED_BY(references)
};

struct CUsurfref_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	struct CUmod_st *module;
	uint64_t address;
	CUarray array;
	bool good;
	struct mp_exec_texture device;
	struct CUsurfref_st *next, **back; MP_GUARDED_BY(references)
};

static pthread_mutex_t references = PTHREAD_MUTEX_INITIALIZER; /* leaf */
static struct CUtexref_st *textures MP_GUARDED_BY(references);
static struct CUsurfref_st *surfaces MP_GUARDED_BY(references);

#define LINK(list, r)                                                                              \
	do {                                                                                       \
		pthread_mutex_lock(&references);                                                   \
		(r)->next = list;                                                                  \
		(r)->back = &list;                                                                 \
		if (list)                                                                          \
			list->back = &(r)->next;                                                   \
		list = (r);                                                                        \
		pthread_mutex_unlock(&references);                                                 \
	} while (0)
#define UNLINK_LOCKED(r)                                                                           \
	do {                                                                                       \
		*(r)->back = (r)->next;                                                            \
		if ((r)->next)                                                                     \
			(r)->next->back = (r)->back;                                               \
	} while (0)

const struct mp_exec_texture *mp_texref_find(struct CUctx_st *ctx, uint64_t address)
{
	const struct mp_exec_texture *found = NULL;
	struct CUtexref_st *t;
	struct CUsurfref_st *s;

	pthread_mutex_lock(&references);
	for (t = textures; t && !found; t = t->next)
		if (t->address == address && t->ctx == ctx && t->good)
			found = &t->device;
	for (s = surfaces; s && !found; s = s->next)
		if (s->address == address && s->ctx == ctx && s->good)
			found = &s->device;
	pthread_mutex_unlock(&references);
	return found;
}

void mp_texref_module_gone(struct CUmod_st *m)
{
	struct CUtexref_st *t, *next;
	struct CUsurfref_st *s, *after;

	pthread_mutex_lock(&references);
	for (t = textures; t; t = next) {
		next = t->next;
		if (t->module != m)
			continue;
		UNLINK_LOCKED(t);
		mp_handle_free(MP_TEXREF, t);
	}
	for (s = surfaces; s; s = after) {
		after = s->next;
		if (s->module != m)
			continue;
		UNLINK_LOCKED(s);
		mp_handle_free(MP_SURFREF, s);
	}
	pthread_mutex_unlock(&references);
}

/* ---- Textures ---- */

static struct CUtexref_st *texref_new(struct CUctx_st *ctx, struct CUmod_st *m, uint64_t address)
{
	struct CUtexref_st *t = mp_handle_new(MP_TEXREF, sizeof(*t));

	if (!t)
		return NULL;
	t->ctx = ctx;
	t->module = m;
	t->address = address;
	t->format = CU_AD_FORMAT_FLOAT;
	t->channels = 1;
	LINK(textures, t);
	return t;
}

CUresult cuModuleGetTexRef(CUtexref *pTexRef, CUmodule hmod, const char *name)
{
	struct CUtexref_st *t;
	uint64_t address;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_handle_live(MP_MODULE, hmod))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!pTexRef || !name)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_exec_module_reference(hmod->exec, name, false, &address))
		return CUDA_ERROR_NOT_FOUND;
	pthread_mutex_lock(&references);
	for (t = textures; t && (t->module != hmod || t->address != address); t = t->next)
		;
	pthread_mutex_unlock(&references);
	if (!t)
		t = texref_new(hmod->ctx, hmod, address);
	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*pTexRef = t;
	return CUDA_SUCCESS;
}

CUresult cuTexRefCreate(CUtexref *pTexRef)
{
	MP_ENTER(ctx);
	if (!pTexRef)
		return CUDA_ERROR_INVALID_VALUE;
	*pTexRef = texref_new(ctx, NULL, 0);
	return *pTexRef ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Those of modules go with them. */
CUresult cuTexRefDestroy(CUtexref hTexRef)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!mp_handle_live(MP_TEXREF, hTexRef))
		return CUDA_ERROR_INVALID_HANDLE;
	if (hTexRef->module)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&references);
	UNLINK_LOCKED(hTexRef);
	pthread_mutex_unlock(&references);
	mp_handle_free(MP_TEXREF, hTexRef);
	return CUDA_SUCCESS;
}

/* What the reference says, for launches from now on; the error of a bad resource. */
static CUresult apply(struct CUtexref_st *t)
{
	struct mp_exec_texture device;
	CUresult r;

	if (!t->bound)
		return CUDA_SUCCESS;
	if (mp_context_live(t->ctx) && mp_queue_pending(t->ctx))
		mp_queue_join(t->ctx);
	r = mp_texture_resolve(t->ctx, &t->res, &t->tex, NULL, &device);
	t->good = false;
	if (r)
		return r;
	t->device = device;
	t->good = true;
	return CUDA_SUCCESS;
}

#define TEXREF(h)                                                                                  \
	MP_ENTER(ctx);                                                                             \
	(void)ctx;                                                                                 \
	if (!mp_handle_live(MP_TEXREF, h))                                                         \
	return CUDA_ERROR_INVALID_HANDLE

CUresult cuTexRefSetArray(CUtexref hTexRef, CUarray hArray, unsigned int Flags)
{
	TEXREF(hTexRef);
	if (Flags & ~OVERRIDE_FORMAT)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_ARRAY, hArray))
		return CUDA_ERROR_INVALID_HANDLE;
	hTexRef->format = hArray->desc.Format;
	hTexRef->channels = hArray->desc.NumChannels;
	hTexRef->res = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = hArray};
	hTexRef->bound = true;
	return apply(hTexRef);
}

CUresult cuTexRefSetMipmappedArray(CUtexref hTexRef, CUmipmappedArray hMipmappedArray, unsigned int Flags)
{
	TEXREF(hTexRef);
	if (Flags & ~OVERRIDE_FORMAT)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_MIPMAP, hMipmappedArray))
		return CUDA_ERROR_INVALID_HANDLE;
	hTexRef->format = hMipmappedArray->desc.Format;
	hTexRef->channels = hMipmappedArray->desc.NumChannels;
	hTexRef->res = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY,
					    .res.mipmap.hMipmappedArray = hMipmappedArray};
	hTexRef->bound = true;
	(void)apply(hTexRef); /* its coordinates may be said to be normalised later */
	return CUDA_SUCCESS;
}

CUresult cuTexRefSetAddress_v2(size_t *ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes)
{
	size_t align, off;
	TEXREF(hTexRef);

	align = (size_t)ctx->device->attributes[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT];
	off = dptr % align;
	if (!dptr || (off && !ByteOffset))
		return CUDA_ERROR_INVALID_VALUE;
	if (ByteOffset)
		*ByteOffset = off;
	hTexRef->res = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_LINEAR};
	hTexRef->res.res.linear.devPtr = dptr - off;
	hTexRef->res.res.linear.format = hTexRef->format;
	hTexRef->res.res.linear.numChannels = hTexRef->channels;
	hTexRef->res.res.linear.sizeInBytes = bytes + off;
	hTexRef->bound = true;
	return apply(hTexRef);
}

CUresult cuTexRefSetAddress2D_v3(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr dptr, size_t Pitch)
{
	TEXREF(hTexRef);
	if (!desc)
		return CUDA_ERROR_INVALID_VALUE;
	hTexRef->format = desc->Format;
	hTexRef->channels = desc->NumChannels;
	hTexRef->res = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_PITCH2D};
	hTexRef->res.res.pitch2D.devPtr = dptr;
	hTexRef->res.res.pitch2D.format = desc->Format;
	hTexRef->res.res.pitch2D.numChannels = desc->NumChannels;
	hTexRef->res.res.pitch2D.width = desc->Width;
	hTexRef->res.res.pitch2D.height = desc->Height;
	hTexRef->res.res.pitch2D.pitchInBytes = Pitch;
	hTexRef->bound = true;
	return apply(hTexRef);
}

CUresult cuTexRefSetAddress2D_v2(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr dptr, size_t Pitch)
{
	return cuTexRefSetAddress2D_v3(hTexRef, desc, dptr, Pitch);
}

CUresult cuTexRefSetFormat(CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents)
{
	struct mp_texel x;
	TEXREF(hTexRef);

	if (NumPackedComponents < 1 || !mp_texel_of(&x, fmt, (unsigned)NumPackedComponents))
		return CUDA_ERROR_INVALID_VALUE;
	hTexRef->format = fmt;
	hTexRef->channels = (unsigned)NumPackedComponents;
	if (hTexRef->res.resType == CU_RESOURCE_TYPE_LINEAR) {
		hTexRef->res.res.linear.format = fmt;
		hTexRef->res.res.linear.numChannels = hTexRef->channels;
	} else if (hTexRef->res.resType == CU_RESOURCE_TYPE_PITCH2D) {
		hTexRef->res.res.pitch2D.format = fmt;
		hTexRef->res.res.pitch2D.numChannels = hTexRef->channels;
	}
	(void)apply(hTexRef);
	return CUDA_SUCCESS;
}

/* What one call sets may be bad only together with what another sets later: judged at use. */
#define SET(check, what)                                                                           \
	TEXREF(hTexRef);                                                                           \
	if (!(check))                                                                              \
		return CUDA_ERROR_INVALID_VALUE;                                                   \
	what;                                                                                      \
	(void)apply(hTexRef);                                                                      \
	return CUDA_SUCCESS

CUresult cuTexRefSetAddressMode(CUtexref hTexRef, int dim, CUaddress_mode am)
{
	SET(dim >= 0 && dim < 3 && (unsigned)am <= CU_TR_ADDRESS_MODE_BORDER, hTexRef->tex.addressMode[dim] = am);
}

CUresult cuTexRefSetFilterMode(CUtexref hTexRef, CUfilter_mode fm)
{
	SET((unsigned)fm <= CU_TR_FILTER_MODE_LINEAR, hTexRef->tex.filterMode = fm);
}

CUresult cuTexRefSetFlags(CUtexref hTexRef, unsigned int Flags)
{
	SET(!(Flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
			CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION)), hTexRef->tex.flags = Flags);
}

CUresult cuTexRefSetMaxAnisotropy(CUtexref hTexRef, unsigned int maxAniso)
{
	SET(true, hTexRef->tex.maxAnisotropy = maxAniso);
}

CUresult cuTexRefSetMipmapFilterMode(CUtexref hTexRef, CUfilter_mode fm)
{
	SET((unsigned)fm <= CU_TR_FILTER_MODE_LINEAR, hTexRef->tex.mipmapFilterMode = fm);
}

CUresult cuTexRefSetMipmapLevelBias(CUtexref hTexRef, float bias)
{
	SET(true, hTexRef->tex.mipmapLevelBias = bias);
}

CUresult cuTexRefSetMipmapLevelClamp(CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp)
{
	SET(true, hTexRef->tex.minMipmapLevelClamp = minMipmapLevelClamp;
	    hTexRef->tex.maxMipmapLevelClamp = maxMipmapLevelClamp);
}

CUresult cuTexRefSetBorderColor(CUtexref hTexRef, float *pBorderColor)
{
	SET(pBorderColor, memcpy(hTexRef->tex.borderColor, pBorderColor, sizeof(hTexRef->tex.borderColor)));
}

#define GET(check, what)                                                                           \
	TEXREF(hTexRef);                                                                           \
	if (!(check))                                                                              \
		return CUDA_ERROR_INVALID_VALUE;                                                   \
	what;                                                                                      \
	return CUDA_SUCCESS

#define BOUND(kind) (hTexRef->bound && hTexRef->res.resType == CU_RESOURCE_TYPE_##kind)

CUresult cuTexRefGetAddress_v2(CUdeviceptr *pdptr, CUtexref hTexRef)
{
	GET(pdptr && (BOUND(LINEAR) || BOUND(PITCH2D)),
	    *pdptr = BOUND(LINEAR) ? hTexRef->res.res.linear.devPtr : hTexRef->res.res.pitch2D.devPtr);
}

CUresult cuTexRefGetArray(CUarray *phArray, CUtexref hTexRef)
{
	GET(phArray && BOUND(ARRAY), *phArray = hTexRef->res.res.array.hArray);
}

CUresult cuTexRefGetMipmappedArray(CUmipmappedArray *phMipmappedArray, CUtexref hTexRef)
{
	GET(phMipmappedArray && BOUND(MIPMAPPED_ARRAY), *phMipmappedArray = hTexRef->res.res.mipmap.hMipmappedArray);
}

CUresult cuTexRefGetAddressMode(CUaddress_mode *pam, CUtexref hTexRef, int dim)
{
	GET(pam && dim >= 0 && dim < 3, *pam = hTexRef->tex.addressMode[dim]);
}

CUresult cuTexRefGetFilterMode(CUfilter_mode *pfm, CUtexref hTexRef)
{
	GET(pfm, *pfm = hTexRef->tex.filterMode);
}

CUresult cuTexRefGetFlags(unsigned int *pFlags, CUtexref hTexRef)
{
	GET(pFlags, *pFlags = hTexRef->tex.flags);
}

CUresult cuTexRefGetFormat(CUarray_format *pFormat, int *pNumChannels, CUtexref hTexRef)
{
	GET(pFormat || pNumChannels, if (pFormat) *pFormat = hTexRef->format;
	    if (pNumChannels) *pNumChannels = (int)hTexRef->channels);
}

CUresult cuTexRefGetMaxAnisotropy(int *pmaxAniso, CUtexref hTexRef)
{
	GET(pmaxAniso, *pmaxAniso = (int)hTexRef->tex.maxAnisotropy);
}

CUresult cuTexRefGetMipmapFilterMode(CUfilter_mode *pfm, CUtexref hTexRef)
{
	GET(pfm, *pfm = hTexRef->tex.mipmapFilterMode);
}

CUresult cuTexRefGetMipmapLevelBias(float *pbias, CUtexref hTexRef)
{
	GET(pbias, *pbias = hTexRef->tex.mipmapLevelBias);
}

CUresult cuTexRefGetMipmapLevelClamp(float *pminMipmapLevelClamp, float *pmaxMipmapLevelClamp, CUtexref hTexRef)
{
	GET(pminMipmapLevelClamp && pmaxMipmapLevelClamp, *pminMipmapLevelClamp = hTexRef->tex.minMipmapLevelClamp;
	    *pmaxMipmapLevelClamp = hTexRef->tex.maxMipmapLevelClamp);
}

CUresult cuTexRefGetBorderColor(float *pBorderColor, CUtexref hTexRef)
{
	GET(pBorderColor, memcpy(pBorderColor, hTexRef->tex.borderColor, sizeof(hTexRef->tex.borderColor)));
}

/* The module knows which references its kernels use. */
CUresult cuParamSetTexRef(CUfunction hfunc, int texunit, CUtexref hTexRef)
{
	TEXREF(hTexRef);
	(void)hfunc;
	return texunit == -1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; /* CU_PARAM_TR_DEFAULT */
}

/* ---- Surfaces ---- */

CUresult cuModuleGetSurfRef(CUsurfref *pSurfRef, CUmodule hmod, const char *name)
{
	struct CUsurfref_st *s;
	uint64_t address;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_handle_live(MP_MODULE, hmod))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!pSurfRef || !name)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_exec_module_reference(hmod->exec, name, true, &address))
		return CUDA_ERROR_NOT_FOUND;
	pthread_mutex_lock(&references);
	for (s = surfaces; s && (s->module != hmod || s->address != address); s = s->next)
		;
	pthread_mutex_unlock(&references);
	if (!s) {
		s = mp_handle_new(MP_SURFREF, sizeof(*s));
		if (!s)
			return CUDA_ERROR_OUT_OF_MEMORY;
		s->ctx = hmod->ctx;
		s->module = hmod;
		s->address = address;
		LINK(surfaces, s);
	}
	*pSurfRef = s;
	return CUDA_SUCCESS;
}

CUresult cuSurfRefSetArray(CUsurfref hSurfRef, CUarray hArray, unsigned int Flags)
{
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = hArray};
	struct mp_exec_texture device;
	CUresult r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!mp_handle_live(MP_SURFREF, hSurfRef))
		return CUDA_ERROR_INVALID_HANDLE;
	if (Flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_surface_resolve(&res, &device);
	if (r)
		return r;
	if (mp_context_live(hSurfRef->ctx) && mp_queue_pending(hSurfRef->ctx))
		mp_queue_join(hSurfRef->ctx);
	hSurfRef->array = hArray;
	hSurfRef->device = device;
	hSurfRef->good = true;
	return CUDA_SUCCESS;
}

CUresult cuSurfRefGetArray(CUarray *phArray, CUsurfref hSurfRef)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!mp_handle_live(MP_SURFREF, hSurfRef))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!phArray || !hSurfRef->good)
		return CUDA_ERROR_INVALID_VALUE;
	*phArray = hSurfRef->array;
	return CUDA_SUCCESS;
}
