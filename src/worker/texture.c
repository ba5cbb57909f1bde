/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface objects, and references.  An object's handle is the
 * driver's, as kernels read it; what a client says to be one is looked up before
 * the driver sees it.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

struct object_of_device {
	struct object_of_device *next;
	uint64_t handle;
	struct context *ctx;
	bool surface;
};

static struct object_of_device **bucket(struct mp_worker *w, uint64_t handle)
{
	return &w->textures[(handle ^ handle >> 8 ^ handle >> 20) % MP_ARRAY_LEN(w->textures)];
}

static struct object_of_device **find(struct mp_worker *w, uint64_t handle, bool surface)
{
	struct object_of_device **at;

	for (at = bucket(w, handle); *at; at = &(*at)->next)
		if ((*at)->handle == handle && (*at)->surface == surface)
			return at;
	return NULL;
}

static CUresult remember(struct mp_job *job, uint64_t handle, bool surface)
{
	struct object_of_device *o = calloc(1, sizeof(*o)), **at = bucket(job->w, handle);

	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*o = (struct object_of_device){.next = *at, .handle = handle, .ctx = job->ctx, .surface = surface};
	*at = o;
	return CUDA_SUCCESS;
}

/* The driver ends them with the context. */
void mp_texture_context_gone(struct mp_worker *w, struct context *c)
{
	unsigned i;

	for (i = 0; i < MP_ARRAY_LEN(w->textures); i++) {
		struct object_of_device **at = &w->textures[i], *o;

		while ((o = *at)) {
			if (o->ctx != c) {
				at = &o->next;
				continue;
			}
			*at = o->next;
			free(o);
		}
	}
}

/* ---- Objects ---- */

static CUresult resource(struct mp_job *job, const struct mp_resource *m, CUDA_RESOURCE_DESC *d)
{
	void *handle;
	CUresult e;

	memset(d, 0, sizeof(*d));
	d->resType = (CUresourcetype)m->type;
	d->flags = m->flags;
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		e = m->array ? mp_job_get(job, MP_KIND_array, m->array, &handle) : CUDA_ERROR_INVALID_HANDLE;
		if (e)
			return e;
		d->res.array.hArray = handle;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		e = m->mipmap ? mp_job_get(job, MP_KIND_mipmap, m->mipmap, &handle) : CUDA_ERROR_INVALID_HANDLE;
		if (e)
			return e;
		d->res.mipmap.hMipmappedArray = handle;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_LINEAR:
		d->res.linear.devPtr = m->address;
		d->res.linear.format = (CUarray_format)m->format;
		d->res.linear.numChannels = m->channels;
		d->res.linear.sizeInBytes = m->bytes;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_PITCH2D:
		d->res.pitch2D.devPtr = m->address;
		d->res.pitch2D.format = (CUarray_format)m->format;
		d->res.pitch2D.numChannels = m->channels;
		d->res.pitch2D.width = m->width;
		d->res.pitch2D.height = m->height;
		d->res.pitch2D.pitchInBytes = m->pitch;
		return CUDA_SUCCESS;
	}
	return CUDA_ERROR_INVALID_VALUE;
}

static void texture(const struct mp_texture *m, CUDA_TEXTURE_DESC *d)
{
	unsigned i;

	memset(d, 0, sizeof(*d));
	for (i = 0; i < 3; i++)
		d->addressMode[i] = (CUaddress_mode)m->address[i];
	d->filterMode = (CUfilter_mode)m->filter;
	d->flags = m->flags;
	d->maxAnisotropy = m->anisotropy;
	d->mipmapFilterMode = (CUfilter_mode)m->mip_filter;
	d->mipmapLevelBias = m->mip_bias;
	d->minMipmapLevelClamp = m->mip_min;
	d->maxMipmapLevelClamp = m->mip_max;
	memcpy(d->borderColor, m->border, sizeof(d->borderColor));
}

CUresult mp_do_cuTexObjectCreate(struct mp_job *job, const struct mp_msg_cuTexObjectCreate *m,
				 struct mp_rep_cuTexObjectCreate *r)
{
	struct mp_worker *w = job->w;
	CUDA_RESOURCE_VIEW_DESC view = {
		.format = (CUresourceViewFormat)m->view.format, .width = m->view.width, .height = m->view.height,
		.depth = m->view.depth, .firstMipmapLevel = m->view.first_level,
		.lastMipmapLevel = m->view.last_level, .firstLayer = m->view.first_layer,
		.lastLayer = m->view.last_layer};
	CUDA_RESOURCE_DESC res;
	CUDA_TEXTURE_DESC tex;
	CUtexObject handle;
	CUresult e = resource(job, &m->res, &res);

	if (e)
		return e;
	if (!w->drv.cuTexObjectCreate)
		return CUDA_ERROR_NOT_SUPPORTED;
	texture(&m->tex, &tex);
	e = w->drv.cuTexObjectCreate(&handle, &res, &tex, m->view.present ? &view : NULL);
	if (!e && (e = remember(job, handle, false)))
		(void)w->drv.cuTexObjectDestroy(handle);
	if (!e)
		r->pTexObject = handle;
	return e;
}

CUresult mp_do_cuSurfObjectCreate(struct mp_job *job, const struct mp_msg_cuSurfObjectCreate *m,
				  struct mp_rep_cuSurfObjectCreate *r)
{
	struct mp_worker *w = job->w;
	CUDA_RESOURCE_DESC res;
	CUsurfObject handle;
	CUresult e = resource(job, &m->res, &res);

	if (e)
		return e;
	if (!w->drv.cuSurfObjectCreate)
		return CUDA_ERROR_NOT_SUPPORTED;
	e = w->drv.cuSurfObjectCreate(&handle, &res);
	if (!e && (e = remember(job, handle, true)))
		(void)w->drv.cuSurfObjectDestroy(handle);
	if (!e)
		r->pSurfObject = handle;
	return e;
}

static CUresult destroy(struct mp_job *job, uint64_t handle, bool surface)
{
	struct object_of_device **at = find(job->w, handle, surface), *o;

	if (!at)
		return CUDA_ERROR_INVALID_VALUE;
	o = *at;
	*at = o->next;
	free(o);
	return surface ? job->w->drv.cuSurfObjectDestroy(handle) : job->w->drv.cuTexObjectDestroy(handle);
}

CUresult mp_do_cuTexObjectDestroy(struct mp_job *job, const struct mp_msg_cuTexObjectDestroy *m)
{
	return destroy(job, m->texObject, false);
}

CUresult mp_do_cuSurfObjectDestroy(struct mp_job *job, const struct mp_msg_cuSurfObjectDestroy *m)
{
	return destroy(job, m->surfObject, true);
}
