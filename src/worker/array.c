/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays and mipmapped arrays: charged by the bytes that their descriptors come
 * to before the driver is called, and destroyed when all work of their context
 * is done, since a driver would wait for that in the call.
 */
#include "worker/inside.h"

#include <stdlib.h>

#include "abi/array.h"

/* Beside the object of either kind. */
struct array {
	struct array *next, **prev;
	struct context *ctx;
	enum mp_kind kind;
	uint32_t id;
	size_t bytes;
	uint32_t level[MP_LEVELS_MAX]; /* of a mipmapped one: ids of the levels that were asked for */
	struct array *parent; /* of a level */
	unsigned at;
};

void mp_array_desc(CUDA_ARRAY3D_DESCRIPTOR *ret, const struct mp_array_desc *d)
{
	*ret = (CUDA_ARRAY3D_DESCRIPTOR){
		.Width = d->width, .Height = d->height, .Depth = d->depth,
		.Format = (CUarray_format)d->format, .NumChannels = d->channels, .Flags = d->flags};
}

static struct array *add(struct mp_worker *w, struct context *c, enum mp_kind kind, uint32_t id)
{
	struct array *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->ctx = c;
	a->kind = kind;
	a->id = id;
	a->next = w->arrays;
	a->prev = &w->arrays;
	if (a->next)
		a->next->prev = &a->next;
	w->arrays = a;
	return a;
}

static void drop(struct mp_worker *w, struct array *a)
{
	struct object *o;
	unsigned i;

	for (i = 0; i < MP_LEVELS_MAX; i++)
		if (a->level[i] && (o = mp_object_find(w, MP_KIND_array, a->level[i])) && o->own)
			drop(w, o->own);
	mp_object_drop(w, a->kind, a->id);
	mp_account_put(w, (unsigned)a->ctx->device, a->bytes);
	*a->prev = a->next;
	if (a->next)
		a->next->prev = a->prev;
	free(a);
}

void mp_array_context_gone(struct mp_worker *w, struct context *c)
{
	struct array *a = w->arrays;

	while (a) {
		if (a->ctx != c || a->parent) {
			a = a->next;
			continue;
		}
		drop(w, a);
		a = w->arrays; /* levels went with it */
	}
}

/* ---- Making ---- */

static CUresult create(struct mp_job *job, enum mp_kind kind, uint32_t id, const struct mp_array_desc *m,
		       uint32_t levels)
{
	struct mp_worker *w = job->w;
	struct context *c = job->ctx;
	CUDA_ARRAY3D_DESCRIPTOR d;
	void *handle = NULL;
	struct array *a;
	size_t bytes;
	CUresult e;

	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!w->drv.cuArray3DCreate_v2 || !w->drv.cuMipmappedArrayCreate)
		return CUDA_ERROR_NOT_SUPPORTED;
	mp_array_desc(&d, m);
	if (!mp_array_bytes(&d, kind == MP_KIND_mipmap ? mp_array_levels(&d, levels) : 1, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	if (mp_memory_charge(w, (unsigned)c->device, bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = kind == MP_KIND_mipmap ? w->drv.cuMipmappedArrayCreate((CUmipmappedArray *)&handle, &d, levels)
				   : w->drv.cuArray3DCreate_v2((CUarray *)&handle, &d);
	a = e ? NULL : add(w, c, kind, id);
	if (!e && !a)
		e = CUDA_ERROR_OUT_OF_MEMORY;
	if (!e)
		e = mp_job_bind(job, kind, id, handle);
	if (!e) {
		mp_object_find(w, kind, id)->own = a;
		a->bytes = bytes;
		return CUDA_SUCCESS;
	}
	if (handle && kind == MP_KIND_mipmap)
		(void)w->drv.cuMipmappedArrayDestroy(handle);
	else if (handle)
		(void)w->drv.cuArrayDestroy(handle);
	if (a) {
		*a->prev = a->next;
		if (a->next)
			a->next->prev = a->prev;
		free(a);
	}
	mp_account_put(w, (unsigned)c->device, bytes);
	return e;
}

CUresult mp_do_cuArray3DCreate_v2(struct mp_job *job, const struct mp_msg_cuArray3DCreate_v2 *m)
{
	return create(job, MP_KIND_array, m->pHandle, &m->desc, 1);
}

CUresult mp_do_cuMipmappedArrayCreate(struct mp_job *job, const struct mp_msg_cuMipmappedArrayCreate *m)
{
	return create(job, MP_KIND_mipmap, m->pHandle, &m->desc, m->levels);
}

/* The object's own part; a null handle is no array. */
static CUresult find(struct mp_job *job, enum mp_kind kind, uint32_t id, void **ret_handle, struct array **ret)
{
	CUresult e = mp_job_get(job, kind, id, ret_handle);
	struct object *o = mp_object_find(job->w, kind, id);

	if (e || !o || !o->own)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	*ret = o->own;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMipmappedArrayGetLevel(struct mp_job *job, const struct mp_msg_cuMipmappedArrayGetLevel *m)
{
	struct mp_worker *w = job->w;
	struct array *parent, *a;
	CUarray level;
	void *handle;
	CUresult e = find(job, MP_KIND_mipmap, m->hMipmappedArray, &handle, &parent);

	if (e)
		return e;
	if (m->level >= MP_LEVELS_MAX || parent->level[m->level])
		return CUDA_ERROR_INVALID_VALUE;
	e = w->drv.cuMipmappedArrayGetLevel(&level, handle, m->level);
	if (e)
		return e;
	a = add(w, parent->ctx, MP_KIND_array, m->pLevelArray);
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = mp_job_bind(job, MP_KIND_array, m->pLevelArray, level);
	if (e) {
		*a->prev = a->next;
		if (a->next)
			a->next->prev = a->prev;
		free(a);
		return e;
	}
	a->parent = parent;
	a->at = m->level;
	mp_object_find(w, MP_KIND_array, m->pLevelArray)->own = a;
	parent->level[m->level] = m->pLevelArray;
	return CUDA_SUCCESS;
}

/* ---- Destroying ---- */

static void array_passed(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct array *a = job->state;
	struct object *o = mp_object_find(w, a->kind, a->id);
	CUresult e;

	assert(o && o->own == a);
	e = a->kind == MP_KIND_mipmap ? w->drv.cuMipmappedArrayDestroy(o->handle) : w->drv.cuArrayDestroy(o->handle);
	drop(w, a);
	mp_job_finish(job, e);
}

static CUresult destroy(struct mp_job *job, enum mp_kind kind, uint32_t id)
{
	struct array *a;
	void *handle;
	CUresult e = find(job, kind, id, &handle, &a);

	if (e) {
		mp_object_drop(job->w, kind, id); /* it may be one whose creation failed */
		return e;
	}
	if (a->parent) { /* the client forgets it, before it destroys what it is a level of */
		a->parent->level[a->at] = 0;
		drop(job->w, a);
		return CUDA_SUCCESS;
	}
	job->state = a;
	if (mp_job_hold(job, array_passed))
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_context_barrier(job, a->ctx, -1);
	return CUDA_SUCCESS;
}

CUresult mp_do_cuArrayDestroy(struct mp_job *job, const struct mp_msg_cuArrayDestroy *m)
{
	return destroy(job, MP_KIND_array, m->hArray);
}

CUresult mp_do_cuMipmappedArrayDestroy(struct mp_job *job, const struct mp_msg_cuMipmappedArrayDestroy *m)
{
	return destroy(job, MP_KIND_mipmap, m->hMipmappedArray);
}
