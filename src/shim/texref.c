/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface references, of programs from before there were objects.
 * Their state is kept here and questions are answered at home; what binds one is
 * answered by the server.  Launches that are under way must not see a change, so
 * a change waits for the context first.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

struct ref {
	struct mp_head head; /* kind texref or surfref */
	struct mp_ctx *ctx;
	struct mp_module *module; /* NULL: of cuTexRefCreate */
	char *own_name;
	struct ref *next;
	unsigned bound; /* a CUresourcetype and 1 */
	void *array;	/* handle of an array or mipmapped array */
	uint64_t address;
	CUDA_TEXTURE_DESC tex;
	CUarray_format format;
	int channels;
};
static_assert(sizeof(struct ref) <= MP_SLOT_SIZE, "a reference fits its slot");

static pthread_mutex_t references = PTHREAD_MUTEX_INITIALIZER; /* leaf */
static struct ref *all MP_GUARDED_BY(references);

static void drop(struct ref *r)
{
	struct ref **at;

	pthread_mutex_lock(&references);
	for (at = &all; *at && *at != r; at = &(*at)->next)
		;
	if (*at)
		*at = r->next;
	pthread_mutex_unlock(&references);
	free(r->own_name);
	mp_slot_free(r);
}

void mp_texref_module_gone(struct mp_module *m)
{
	struct ref *r;

	do {
		pthread_mutex_lock(&references);
		for (r = all; r && r->module != m; r = r->next)
			;
		pthread_mutex_unlock(&references);
		if (r)
			drop(r);
	} while (r);
}

static struct ref *ref_new(enum mp_kind kind, struct mp_ctx *c, struct mp_module *m, const char *name)
{
	struct ref *r = mp_slot_new(kind);

	if (!r)
		return NULL;
	r->ctx = c;
	r->module = m;
	r->format = CU_AD_FORMAT_FLOAT;
	r->channels = 1;
	if (name && !(r->own_name = strdup(name))) {
		mp_slot_free(r);
		return NULL;
	}
	return r;
}

static void publish(struct ref *r)
{
	pthread_mutex_lock(&references);
	r->next = all;
	all = r;
	pthread_mutex_unlock(&references);
}

/* ---- Of modules ---- */

static CUresult of_module(enum mp_call call, enum mp_kind kind, CUmodule h, const char *name, void **ret)
{
	struct mp_module *m;
	struct mp_answer a;
	struct mp_thread *t;
	struct mp_out o;
	struct ref *ref;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	m = mp_object(h, MP_KIND_module);
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!ret || !name)
		return CUDA_ERROR_INVALID_VALUE;
	if (m->of_library) /* their server object is a library's */
		return CUDA_ERROR_NOT_FOUND;
	pthread_mutex_lock(&references);
	for (ref = all; ref && (ref->module != m || atomic_load(&ref->head.kind) != kind || strcmp(ref->own_name, name));
	     ref = ref->next)
		;
	pthread_mutex_unlock(&references);
	if (ref) {
		*ret = ref;
		return CUDA_SUCCESS;
	}
	ref = ref_new(kind, m->ctx, m, name);
	if (!ref)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (kind == MP_KIND_texref) {
		struct mp_msg_cuModuleGetTexRef msg = {.pTexRef = ref->head.id, .hmod = m->head.id, .name = name};

		r = MP_PUT(&o, t, call, cuModuleGetTexRef, &msg, m->ctx->head.id);
	} else {
		struct mp_msg_cuModuleGetSurfRef msg = {.pSurfRef = ref->head.id, .hmod = m->head.id, .name = name};

		r = MP_PUT(&o, t, call, cuModuleGetSurfRef, &msg, m->ctx->head.id);
	}
	if (!r) {
		r = mp_out_ask(&o, &a);
		free(a.own_data);
	}
	if (r) {
		free(ref->own_name);
		mp_slot_waste(ref);
		return r;
	}
	publish(ref);
	*ret = ref;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuModuleGetTexRef(CUtexref *ret, CUmodule h, const char *name)
{
	return of_module(MP_CALL_cuModuleGetTexRef, MP_KIND_texref, h, name, (void **)ret);
}

CUresult mp_shim_cuModuleGetSurfRef(CUsurfref *ret, CUmodule h, const char *name)
{
	return of_module(MP_CALL_cuModuleGetSurfRef, MP_KIND_surfref, h, name, (void **)ret);
}

CUresult mp_shim_cuTexRefCreate(CUtexref *ret)
{
	struct mp_msg_cuTexRefCreate m;
	struct mp_thread *t;
	struct mp_out o;
	struct ref *ref;
	CUresult r = mp_enter(MP_CALL_cuTexRefCreate, &t);

	if (r)
		return r;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	ref = ref_new(MP_KIND_texref, t->ctx, NULL, NULL);
	if (!ref)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.pTexRef = ref->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuTexRefCreate, cuTexRefCreate, &m, t->ctx->head.id);
	if (r) {
		mp_slot_waste(ref);
		return r;
	}
	publish(ref);
	*ret = (CUtexref)ref;
	return CUDA_SUCCESS;
}

/* ---- Changes ---- */

static CUresult enter(enum mp_call call, const void *h, struct mp_thread **t, struct ref **ret)
{
	CUresult r = mp_enter(call, t);

	if (r)
		return r;
	*ret = mp_object(h, MP_KIND_texref);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* Before a change: what was launched has used what was bound. */
static CUresult settled(struct mp_thread *t, enum mp_call call, struct ref *ref)
{
	return ref->bound ? mp_ctx_wait(t, call, ref->ctx) : CUDA_SUCCESS;
}

static CUresult answer(struct mp_out *o)
{
	struct mp_answer a;
	CUresult r = mp_out_ask(o, &a);

	free(a.own_data);
	return r;
}

/* Settle, fill the message and send it one-way, or ask. */
#define SEND_REF(X, fields)                                                                        \
	__extension__({                                                                            \
		struct mp_msg_##X m_ = {.hTexRef = ref->head.id};                                  \
		struct mp_out o_;                                                                  \
		CUresult e_ = settled(t, MP_CALL_##X, ref);                                        \
		fields;                                                                            \
		e_ ? e_ : MP_SEND(&o_, t, MP_CALL_##X, X, &m_, ref->ctx->head.id);                 \
	})
#define ASK_REF(X, fields)                                                                         \
	__extension__({                                                                            \
		struct mp_msg_##X m_ = {.hTexRef = ref->head.id};                                  \
		struct mp_out o_;                                                                  \
		CUresult e_ = settled(t, MP_CALL_##X, ref);                                        \
		fields;                                                                            \
		if (!e_)                                                                           \
			e_ = MP_PUT(&o_, t, MP_CALL_##X, X, &m_, ref->ctx->head.id);               \
		e_ ? e_ : answer(&o_);                                                             \
	})

CUresult mp_shim_cuTexRefDestroy(CUtexref h)
{
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = enter(MP_CALL_cuTexRefDestroy, h, &t, &ref);

	if (!r && ref->module)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = SEND_REF(cuTexRefDestroy, (void)0);
	if (!r)
		drop(ref);
	return r;
}

/* What both kinds of arrays are asked before they are bound. */
static CUresult bindable(CUresult entered, const struct mp_array *a, unsigned flags)
{
	if (entered)
		return entered;
	if (flags & ~1u)
		return CUDA_ERROR_INVALID_VALUE;
	return a ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* A driver binds it even when what the reference says does not fit it yet. */
static void bound(struct ref *ref, CUresourcetype type, struct mp_array *a)
{
	ref->bound = type + 1;
	ref->array = a;
	ref->format = a->desc.Format;
	ref->channels = (int)a->desc.NumChannels;
}

CUresult mp_shim_cuTexRefSetArray(CUtexref h, CUarray array, unsigned int flags)
{
	struct mp_array *a = mp_array_get(array);
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = bindable(enter(MP_CALL_cuTexRefSetArray, h, &t, &ref), a, flags);

	if (r)
		return r;
	r = ASK_REF(cuTexRefSetArray, (m_.hArray = a->head.id, m_.Flags = flags));
	bound(ref, CU_RESOURCE_TYPE_ARRAY, a);
	return r;
}

CUresult mp_shim_cuTexRefSetMipmappedArray(CUtexref h, CUmipmappedArray array, unsigned int flags)
{
	struct mp_array *a = mp_object(array, MP_KIND_mipmap);
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = bindable(enter(MP_CALL_cuTexRefSetMipmappedArray, h, &t, &ref), a, flags);

	if (r)
		return r;
	r = ASK_REF(cuTexRefSetMipmappedArray, (m_.hMipmappedArray = a->head.id, m_.Flags = flags));
	bound(ref, CU_RESOURCE_TYPE_MIPMAPPED_ARRAY, a);
	return r;
}

CUresult mp_shim_cuTexRefSetAddress_v2(size_t *offset, CUtexref h, CUdeviceptr p, size_t n)
{
	size_t align, off;
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = enter(MP_CALL_cuTexRefSetAddress_v2, h, &t, &ref);

	if (r)
		return r;
	align = (size_t)mp_shim.device[ref->ctx->device].attr[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT];
	off = align ? p % align : 0;
	if (!p || (off && !offset))
		return CUDA_ERROR_INVALID_VALUE;
	if (offset)
		*offset = off;
	ref->bound = CU_RESOURCE_TYPE_LINEAR + 1;
	ref->address = p - off;
	if (!n || mp_device_range(p, n))
		return CUDA_ERROR_INVALID_VALUE;
	return ASK_REF(cuTexRefSetAddress_v2, (m_.dptr = p, m_.bytes = n));
}

CUresult mp_shim_cuTexRefSetAddress2D_v3(CUtexref h, const CUDA_ARRAY_DESCRIPTOR *d, CUdeviceptr p, size_t pitch)
{
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = enter(MP_CALL_cuTexRefSetAddress2D_v3, h, &t, &ref);

	if (r)
		return r;
	if (!d)
		return CUDA_ERROR_INVALID_VALUE;
	ref->format = d->Format;
	ref->channels = (int)d->NumChannels;
	ref->bound = CU_RESOURCE_TYPE_PITCH2D + 1;
	ref->address = p;
	return ASK_REF(cuTexRefSetAddress2D_v3,
		       (m_.desc.width = d->Width, m_.desc.height = d->Height, m_.desc.format = (uint32_t)d->Format,
			m_.desc.channels = d->NumChannels, m_.dptr = p, m_.Pitch = pitch));
}

CUresult mp_shim_cuTexRefSetAddress2D_v2(CUtexref h, const CUDA_ARRAY_DESCRIPTOR *d, CUdeviceptr p, size_t pitch)
{
	return mp_shim_cuTexRefSetAddress2D_v3(h, d, p, pitch);
}

CUresult mp_shim_cuTexRefSetFormat(CUtexref h, CUarray_format format, int channels)
{
	struct mp_texel x;
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = enter(MP_CALL_cuTexRefSetFormat, h, &t, &ref);

	if (r)
		return r;
	if (channels < 1 || !mp_texel_of(&x, format, (unsigned)channels))
		return CUDA_ERROR_INVALID_VALUE;
	ref->format = format;
	ref->channels = channels;
	return ASK_REF(cuTexRefSetFormat, (m_.fmt = (uint32_t)format, m_.NumPackedComponents = channels));
}

/* What is checked, kept and sent. */
#define SETTER(X, args, check, keep, fields)                                                       \
	CUresult mp_shim_##X args                                                                  \
	{                                                                                          \
		struct mp_thread *t;                                                               \
		struct ref *ref;                                                                   \
		CUresult r = enter(MP_CALL_##X, h, &t, &ref);                                      \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!(check))                                                                      \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		keep;                                                                              \
		return SEND_REF(X, fields);                                                        \
	}
#define FLAGS                                                                                      \
	(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |                 \
	 CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION)

SETTER(cuTexRefSetAddressMode, (CUtexref h, int dim, CUaddress_mode am),
       dim >= 0 && dim < 3 && (unsigned)am <= CU_TR_ADDRESS_MODE_BORDER, ref->tex.addressMode[dim] = am,
       (m_.dim = dim, m_.am = (uint32_t)am))
SETTER(cuTexRefSetFilterMode, (CUtexref h, CUfilter_mode fm), (unsigned)fm <= CU_TR_FILTER_MODE_LINEAR,
       ref->tex.filterMode = fm, m_.fm = (uint32_t)fm)
SETTER(cuTexRefSetFlags, (CUtexref h, unsigned int flags), !(flags & ~FLAGS), ref->tex.flags = flags, m_.Flags = flags)
SETTER(cuTexRefSetMaxAnisotropy, (CUtexref h, unsigned int n), true, ref->tex.maxAnisotropy = n, m_.maxAniso = n)
SETTER(cuTexRefSetMipmapFilterMode, (CUtexref h, CUfilter_mode fm), (unsigned)fm <= CU_TR_FILTER_MODE_LINEAR,
       ref->tex.mipmapFilterMode = fm, m_.fm = (uint32_t)fm)
SETTER(cuTexRefSetMipmapLevelBias, (CUtexref h, float bias), true, ref->tex.mipmapLevelBias = bias, m_.bias = bias)
SETTER(cuTexRefSetMipmapLevelClamp, (CUtexref h, float low, float high), true,
       (ref->tex.minMipmapLevelClamp = low, ref->tex.maxMipmapLevelClamp = high),
       (m_.minMipmapLevelClamp = low, m_.maxMipmapLevelClamp = high))
SETTER(cuTexRefSetBorderColor, (CUtexref h, float *color), color,
       memcpy(ref->tex.borderColor, color, sizeof(ref->tex.borderColor)), memcpy(m_.color, color, sizeof(m_.color)))

/* ---- Questions ---- */

#define GETTER(X, args, check, what)                                                               \
	CUresult mp_shim_##X args                                                                  \
	{                                                                                          \
		struct mp_thread *t;                                                               \
		struct ref *ref;                                                                   \
		CUresult r = enter(MP_CALL_##X, h, &t, &ref);                                      \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		if (!(check))                                                                      \
			return CUDA_ERROR_INVALID_VALUE;                                           \
		what;                                                                              \
		return CUDA_SUCCESS;                                                               \
	}
#define BOUND(type) (ref->bound == CU_RESOURCE_TYPE_##type + 1)

GETTER(cuTexRefGetAddress_v2, (CUdeviceptr *p, CUtexref h), p && (BOUND(LINEAR) || BOUND(PITCH2D)), *p = ref->address)
GETTER(cuTexRefGetArray, (CUarray *a, CUtexref h), a && BOUND(ARRAY), *a = ref->array)
GETTER(cuTexRefGetMipmappedArray, (CUmipmappedArray *a, CUtexref h), a && BOUND(MIPMAPPED_ARRAY), *a = ref->array)
GETTER(cuTexRefGetAddressMode, (CUaddress_mode *am, CUtexref h, int dim), am && dim >= 0 && dim < 3,
       *am = ref->tex.addressMode[dim])
GETTER(cuTexRefGetFilterMode, (CUfilter_mode *fm, CUtexref h), fm, *fm = ref->tex.filterMode)
GETTER(cuTexRefGetFlags, (unsigned int *flags, CUtexref h), flags, *flags = ref->tex.flags)
GETTER(cuTexRefGetFormat, (CUarray_format *format, int *channels, CUtexref h), format || channels,
       if (format) *format = ref->format; if (channels) *channels = ref->channels)
GETTER(cuTexRefGetMaxAnisotropy, (int *n, CUtexref h), n, *n = (int)ref->tex.maxAnisotropy)
GETTER(cuTexRefGetMipmapFilterMode, (CUfilter_mode *fm, CUtexref h), fm, *fm = ref->tex.mipmapFilterMode)
GETTER(cuTexRefGetMipmapLevelBias, (float *bias, CUtexref h), bias, *bias = ref->tex.mipmapLevelBias)
GETTER(cuTexRefGetMipmapLevelClamp, (float *low, float *high, CUtexref h), low && high,
       *low = ref->tex.minMipmapLevelClamp; *high = ref->tex.maxMipmapLevelClamp)
GETTER(cuTexRefGetBorderColor, (float *color, CUtexref h), color,
       memcpy(color, ref->tex.borderColor, sizeof(ref->tex.borderColor)))

CUresult mp_shim_cuParamSetTexRef(CUfunction f, int unit, CUtexref h)
{
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = enter(MP_CALL_cuParamSetTexRef, h, &t, &ref);

	(void)f;
	return r ? r : unit == -1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; /* CU_PARAM_TR_DEFAULT */
}

/* ---- Surfaces ---- */

CUresult mp_shim_cuSurfRefSetArray(CUsurfref h, CUarray array, unsigned int flags)
{
	struct mp_array *a = mp_array_get(array);
	struct mp_msg_cuSurfRefSetArray m;
	struct mp_thread *t;
	struct mp_out o;
	struct ref *ref;
	CUresult r = mp_enter(MP_CALL_cuSurfRefSetArray, &t);

	if (r)
		return r;
	ref = mp_object(h, MP_KIND_surfref);
	if (!ref)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	m = (struct mp_msg_cuSurfRefSetArray){.hSurfRef = ref->head.id, .hArray = a->head.id};
	r = settled(t, MP_CALL_cuSurfRefSetArray, ref);
	if (!r)
		r = MP_PUT(&o, t, MP_CALL_cuSurfRefSetArray, cuSurfRefSetArray, &m, ref->ctx->head.id);
	if (!r)
		r = answer(&o);
	if (!r) {
		ref->bound = CU_RESOURCE_TYPE_ARRAY + 1;
		ref->array = a;
	}
	return r;
}

CUresult mp_shim_cuSurfRefGetArray(CUarray *ret, CUsurfref h)
{
	struct mp_thread *t;
	struct ref *ref;
	CUresult r = mp_enter(MP_CALL_cuSurfRefGetArray, &t);

	if (r)
		return r;
	ref = mp_object(h, MP_KIND_surfref);
	if (!ref)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!ret || !ref->bound)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = ref->array;
	return CUDA_SUCCESS;
}
