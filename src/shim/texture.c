/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface objects.  Device code reads their handles, so the server
 * says which they are: one round trip each.
 *
 * Programs make and destroy the same objects around every launch.  So a
 * destroyed texture rests here for a while, and who asks for one just like it
 * gets it without asking the server.  What it is of must be what it was then: an
 * array that is destroyed takes the resting textures of it along.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS	  256
#define REST_MOST 64

struct texture {
	struct texture *next;	   /* of its bucket */
	struct texture *newer, *older; /* at rest */
	uint64_t handle;
	struct mp_ctx *ctx;
	bool surface, has_view, resting;
	struct mp_msg_cuTexObjectCreate m; /* as it was asked for: texture and view are 0 for a surface */
	CUDA_RESOURCE_DESC res;
	CUDA_TEXTURE_DESC tex;
	CUDA_RESOURCE_VIEW_DESC view;
};

static pthread_mutex_t textures = PTHREAD_MUTEX_INITIALIZER; /* leaf */
static struct texture *bucket[BUCKETS] MP_GUARDED_BY(textures);
static struct texture *newest, *oldest MP_GUARDED_BY(textures);
static unsigned resting MP_GUARDED_BY(textures);

static struct texture **place(uint64_t handle)
{
	return &bucket[(handle ^ handle >> 8 ^ handle >> 20) % BUCKETS];
}

/* Textures lock held, for all of these. */
static struct texture *find(uint64_t handle, bool surface)
{
	struct texture *x;

	for (x = *place(handle); x; x = x->next)
		if (x->handle == handle && x->surface == surface && !x->resting)
			return x;
	return NULL;
}

static void rest_remove(struct texture *x)
{
	*(x->newer ? &x->newer->older : &newest) = x->older;
	*(x->older ? &x->older->newer : &oldest) = x->newer;
	x->newer = x->older = NULL;
	x->resting = false;
	resting--;
}

static void rest_add(struct texture *x)
{
	x->older = newest;
	*(newest ? &newest->newer : &oldest) = x;
	newest = x;
	x->resting = true;
	resting++;
}

static void forget(struct texture *x)
{
	struct texture **at = place(x->handle);

	if (x->resting)
		rest_remove(x);
	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	free(x);
}

/* The server's object goes. */
static CUresult end(struct mp_thread *t, struct texture *x)
{
	struct mp_msg_cuTexObjectDestroy tm = {.texObject = x->handle};
	struct mp_msg_cuSurfObjectDestroy sm = {.surfObject = x->handle};
	struct mp_out o;
	CUresult r = x->surface ? MP_SEND(&o, t, MP_CALL_cuSurfObjectDestroy, cuSurfObjectDestroy, &sm, x->ctx->head.id)
				: MP_SEND(&o, t, MP_CALL_cuTexObjectDestroy, cuTexObjectDestroy, &tm, x->ctx->head.id);

	forget(x);
	return r;
}

void mp_texture_context_gone(struct mp_thread *t, struct mp_ctx *c)
{
	struct texture *x, *next;
	unsigned i;

	pthread_mutex_lock(&textures);
	for (i = 0; i < BUCKETS; i++)
		for (x = bucket[i]; x; x = next) {
			next = x->next;
			if (x->ctx == c)
				(void)end(t, x);
		}
	pthread_mutex_unlock(&textures);
}

void mp_texture_array_gone(struct mp_thread *t, enum mp_kind kind, uint32_t id)
{
	struct texture *x, *older;

	pthread_mutex_lock(&textures);
	for (x = newest; x; x = older) {
		older = x->older;
		if ((kind == MP_KIND_array ? x->m.res.array : x->m.res.mipmap) == id)
			(void)end(t, x);
	}
	pthread_mutex_unlock(&textures);
}

/* ---- What is asked for ---- */

static CUresult memory_check(CUdeviceptr p, size_t n)
{
	return mp_device_range(p, n) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult resource(const CUDA_RESOURCE_DESC *d, struct mp_resource *m)
{
	struct mp_array *a;

	m->type = (uint32_t)d->resType;
	m->flags = d->flags;
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		if (!(a = mp_array_get(d->res.array.hArray)))
			return CUDA_ERROR_INVALID_HANDLE;
		m->array = a->head.id;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		if (!(a = mp_object(d->res.mipmap.hMipmappedArray, MP_KIND_mipmap)))
			return CUDA_ERROR_INVALID_HANDLE;
		m->mipmap = a->head.id;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_LINEAR:
		m->address = d->res.linear.devPtr;
		m->format = (uint32_t)d->res.linear.format;
		m->channels = d->res.linear.numChannels;
		m->bytes = d->res.linear.sizeInBytes;
		return m->bytes ? memory_check(m->address, m->bytes) : CUDA_ERROR_INVALID_VALUE;
	case CU_RESOURCE_TYPE_PITCH2D:
		m->address = d->res.pitch2D.devPtr;
		m->format = (uint32_t)d->res.pitch2D.format;
		m->channels = d->res.pitch2D.numChannels;
		m->width = d->res.pitch2D.width;
		m->height = d->res.pitch2D.height;
		m->pitch = d->res.pitch2D.pitchInBytes;
		/* The rest is the server's to say. */
		return m->height && m->pitch && m->height < 1u << 20 && m->pitch < 1u << 30
			       ? memory_check(m->address, (m->height - 1) * m->pitch + 1)
			       : CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_ERROR_INVALID_VALUE;
}

static void sampling(const CUDA_TEXTURE_DESC *d, struct mp_texture *m)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		m->address[i] = (uint32_t)d->addressMode[i];
	m->filter = (uint32_t)d->filterMode;
	m->flags = d->flags;
	m->anisotropy = d->maxAnisotropy;
	m->mip_filter = (uint32_t)d->mipmapFilterMode;
	m->mip_bias = d->mipmapLevelBias;
	m->mip_min = d->minMipmapLevelClamp;
	m->mip_max = d->maxMipmapLevelClamp;
	memcpy(m->border, d->borderColor, sizeof(m->border));
}

static void seen_as(const CUDA_RESOURCE_VIEW_DESC *d, struct mp_view *m)
{
	m->present = 1;
	m->format = (uint32_t)d->format;
	m->width = d->width;
	m->height = d->height;
	m->depth = d->depth;
	m->first_level = d->firstMipmapLevel;
	m->last_level = d->lastMipmapLevel;
	m->first_layer = d->firstLayer;
	m->last_layer = d->lastLayer;
}

/* A resting one just like it. */
static bool again(struct texture *x)
{
	struct texture *r;

	pthread_mutex_lock(&textures);
	for (r = newest; r; r = r->older)
		if (r->ctx == x->ctx && r->surface == x->surface && !memcmp(&r->m, &x->m, sizeof(x->m)))
			break;
	if (r) {
		rest_remove(r);
		r->res = x->res;
		r->tex = x->tex;
		r->view = x->view;
		x->handle = r->handle;
	}
	pthread_mutex_unlock(&textures);
	return r;
}

static CUresult ask(struct mp_thread *t, struct texture *x)
{
	struct mp_rep_cuTexObjectCreate tr;
	struct mp_rep_cuSurfObjectCreate sr;
	struct mp_answer a;
	struct mp_out o;
	CUresult r;

	if (x->surface) {
		struct mp_msg_cuSurfObjectCreate m = {.res = x->m.res};

		r = MP_PUT(&o, t, MP_CALL_cuSurfObjectCreate, cuSurfObjectCreate, &m, t->ctx->head.id);
	} else {
		r = MP_PUT(&o, t, MP_CALL_cuTexObjectCreate, cuTexObjectCreate, &x->m, t->ctx->head.id);
	}
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && x->surface)
		r = mp_get_rep_cuSurfObjectCreate(a.own_data, a.size, &sr) ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
	else if (!r)
		r = mp_get_rep_cuTexObjectCreate(a.own_data, a.size, &tr) ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
	if (!r)
		x->handle = x->surface ? sr.pSurfObject : tr.pTexObject;
	free(a.own_data);
	return r;
}

static CUresult create(struct mp_thread *t, struct texture *own_x, uint64_t *ret)
{
	CUresult r;

	own_x->ctx = t->ctx;
	if (again(own_x)) {
		*ret = own_x->handle;
		free(own_x);
		return CUDA_SUCCESS;
	}
	r = ask(t, own_x);
	if (r) {
		free(own_x);
		return r;
	}
	*ret = own_x->handle;
	pthread_mutex_lock(&textures);
	own_x->next = *place(own_x->handle);
	*place(own_x->handle) = own_x;
	pthread_mutex_unlock(&textures);
	return CUDA_SUCCESS;
}

/* ---- Calls ---- */

CUresult mp_shim_cuTexObjectCreate(CUtexObject *ret, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *tex,
				   const CUDA_RESOURCE_VIEW_DESC *view)
{
	struct mp_thread *t;
	struct texture *x;
	uint64_t handle;
	CUresult r = mp_enter(MP_CALL_cuTexObjectCreate, &t);

	if (r)
		return r;
	if (!ret || !res || !tex)
		return CUDA_ERROR_INVALID_VALUE;
	x = calloc(1, sizeof(*x));
	if (!x)
		return CUDA_ERROR_OUT_OF_MEMORY;
	x->res = *res;
	x->tex = *tex;
	sampling(tex, &x->m.tex);
	if (view) {
		x->has_view = true;
		x->view = *view;
		seen_as(view, &x->m.view);
	}
	r = resource(res, &x->m.res);
	if (r) {
		free(x);
		return r;
	}
	r = create(t, x, &handle);
	if (!r)
		*ret = handle;
	return r;
}

CUresult mp_shim_cuSurfObjectCreate(CUsurfObject *ret, const CUDA_RESOURCE_DESC *res)
{
	struct mp_thread *t;
	struct texture *x;
	uint64_t handle;
	CUresult r = mp_enter(MP_CALL_cuSurfObjectCreate, &t);

	if (r)
		return r;
	if (!ret || !res || res->resType != CU_RESOURCE_TYPE_ARRAY)
		return CUDA_ERROR_INVALID_VALUE;
	x = calloc(1, sizeof(*x));
	if (!x)
		return CUDA_ERROR_OUT_OF_MEMORY;
	x->surface = true;
	x->res = *res;
	r = resource(res, &x->m.res);
	if (r) {
		free(x);
		return r;
	}
	r = create(t, x, &handle);
	if (!r)
		*ret = handle;
	return r;
}

static CUresult destroy(enum mp_call call, uint64_t handle, bool surface)
{
	struct mp_thread *t;
	struct texture *x;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	pthread_mutex_lock(&textures);
	x = find(handle, surface);
	if (!x) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		rest_add(x);
		if (resting > REST_MOST)
			r = end(t, oldest);
	}
	pthread_mutex_unlock(&textures);
	return r;
}

CUresult mp_shim_cuTexObjectDestroy(CUtexObject handle)
{
	return destroy(MP_CALL_cuTexObjectDestroy, handle, false);
}

CUresult mp_shim_cuSurfObjectDestroy(CUsurfObject handle)
{
	return destroy(MP_CALL_cuSurfObjectDestroy, handle, true);
}

/* ---- Questions ---- */

static CUresult copy_of(enum mp_call call, uint64_t handle, bool surface, void *out, struct texture *ret)
{
	struct mp_thread *t;
	struct texture *x;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	pthread_mutex_lock(&textures);
	x = find(handle, surface);
	if (x)
		*ret = *x;
	pthread_mutex_unlock(&textures);
	return x && out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *d, CUtexObject handle)
{
	struct texture x;
	CUresult r = copy_of(MP_CALL_cuTexObjectGetResourceDesc, handle, false, d, &x);

	if (!r)
		*d = x.res;
	return r;
}

CUresult mp_shim_cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *d, CUtexObject handle)
{
	struct texture x;
	CUresult r = copy_of(MP_CALL_cuTexObjectGetTextureDesc, handle, false, d, &x);

	if (!r)
		*d = x.tex;
	return r;
}

CUresult mp_shim_cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *d, CUtexObject handle)
{
	struct texture x;
	CUresult r = copy_of(MP_CALL_cuTexObjectGetResourceViewDesc, handle, false, d, &x);

	if (!r && !x.has_view)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*d = x.view;
	return r;
}

CUresult mp_shim_cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *d, CUsurfObject handle)
{
	struct texture x;
	CUresult r = copy_of(MP_CALL_cuSurfObjectGetResourceDesc, handle, true, d, &x);

	if (!r)
		*d = x.res;
	return r;
}
