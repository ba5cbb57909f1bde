/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture and surface references.  The client changes one only when it knows the
 * work of its context to be done, so none of these calls waits.
 */
#include "worker/inside.h"

#include <string.h>

CUresult mp_do_cuModuleGetTexRef(struct mp_job *job, const struct mp_msg_cuModuleGetTexRef *m)
{
	CUtexref ref;
	void *mod;
	CUresult e = mp_job_get(job, MP_KIND_module, m->hmod, &mod);

	if (e)
		return e;
	if (!m->name || !job->w->drv.cuModuleGetTexRef)
		return CUDA_ERROR_INVALID_VALUE;
	e = job->w->drv.cuModuleGetTexRef(&ref, mod, m->name);
	if (!e)
		e = mp_job_bind(job, MP_KIND_texref, m->pTexRef, ref);
	if (!e)
		mp_object_find(job->w, MP_KIND_texref, m->pTexRef)->own = mp_owner_word(MP_KIND_module, m->hmod);
	return e;
}

CUresult mp_do_cuModuleGetSurfRef(struct mp_job *job, const struct mp_msg_cuModuleGetSurfRef *m)
{
	CUsurfref ref;
	void *mod;
	CUresult e = mp_job_get(job, MP_KIND_module, m->hmod, &mod);

	if (e)
		return e;
	if (!m->name || !job->w->drv.cuModuleGetSurfRef)
		return CUDA_ERROR_INVALID_VALUE;
	e = job->w->drv.cuModuleGetSurfRef(&ref, mod, m->name);
	if (!e)
		e = mp_job_bind(job, MP_KIND_surfref, m->pSurfRef, ref);
	if (!e)
		mp_object_find(job->w, MP_KIND_surfref, m->pSurfRef)->own = mp_owner_word(MP_KIND_module, m->hmod);
	return e;
}

CUresult mp_do_cuTexRefCreate(struct mp_job *job, const struct mp_msg_cuTexRefCreate *m)
{
	CUtexref ref;
	CUresult e = job->w->drv.cuTexRefCreate ? job->w->drv.cuTexRefCreate(&ref) : CUDA_ERROR_NOT_SUPPORTED;

	return e ? e : mp_job_bind(job, MP_KIND_texref, m->pTexRef, ref);
}

/* The driver's reference; `call` says whether the driver has what is to be done with it. */
static CUresult get(struct mp_job *job, uint32_t id, bool call, CUtexref *ret)
{
	void *h;
	CUresult e = id ? mp_job_get(job, MP_KIND_texref, id, &h) : CUDA_ERROR_INVALID_HANDLE;

	*ret = e ? NULL : h;
	return e ? e : call ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult mp_do_cuTexRefDestroy(struct mp_job *job, const struct mp_msg_cuTexRefDestroy *m)
{
	CUtexref ref;
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefDestroy, &ref);

	if (!e)
		e = job->w->drv.cuTexRefDestroy(ref);
	mp_job_unbind(job, MP_KIND_texref, m->hTexRef);
	return e;
}

CUresult mp_do_cuTexRefSetArray(struct mp_job *job, const struct mp_msg_cuTexRefSetArray *m)
{
	CUtexref ref;
	void *array;
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefSetArray, &ref);

	if (!e)
		e = m->hArray ? mp_job_get(job, MP_KIND_array, m->hArray, &array) : CUDA_ERROR_INVALID_HANDLE;
	return e ? e : job->w->drv.cuTexRefSetArray(ref, array, m->Flags);
}

CUresult mp_do_cuTexRefSetMipmappedArray(struct mp_job *job, const struct mp_msg_cuTexRefSetMipmappedArray *m)
{
	CUtexref ref;
	void *array;
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefSetMipmappedArray, &ref);

	if (!e)
		e = m->hMipmappedArray ? mp_job_get(job, MP_KIND_mipmap, m->hMipmappedArray, &array)
				       : CUDA_ERROR_INVALID_HANDLE;
	return e ? e : job->w->drv.cuTexRefSetMipmappedArray(ref, array, m->Flags);
}

CUresult mp_do_cuTexRefSetAddress_v2(struct mp_job *job, const struct mp_msg_cuTexRefSetAddress_v2 *m,
				     struct mp_rep_cuTexRefSetAddress_v2 *r)
{
	CUtexref ref;
	size_t offset = 0;
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefSetAddress_v2, &ref);

	if (!e)
		e = job->w->drv.cuTexRefSetAddress_v2(&offset, ref, m->dptr, m->bytes);
	r->ByteOffset = offset;
	return e;
}

CUresult mp_do_cuTexRefSetAddress2D_v3(struct mp_job *job, const struct mp_msg_cuTexRefSetAddress2D_v3 *m)
{
	CUDA_ARRAY_DESCRIPTOR d = {.Width = m->desc.width, .Height = m->desc.height,
				   .Format = (CUarray_format)m->desc.format, .NumChannels = m->desc.channels};
	CUtexref ref;
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefSetAddress2D_v3, &ref);

	return e ? e : job->w->drv.cuTexRefSetAddress2D_v3(ref, &d, m->dptr, m->Pitch);
}

/* Calls that pass their numbers on. */
#define SET(X, ...)                                                                                \
	CUresult mp_do_##X(struct mp_job *job, const struct mp_msg_##X *m)                         \
	{                                                                                          \
		CUtexref ref;                                                                      \
		CUresult e = get(job, m->hTexRef, job->w->drv.X, &ref);                            \
                                                                                                   \
		return e ? e : job->w->drv.X(ref, __VA_ARGS__);                                    \
	}
SET(cuTexRefSetFormat, (CUarray_format)m->fmt, m->NumPackedComponents)
SET(cuTexRefSetAddressMode, m->dim, (CUaddress_mode)m->am)
SET(cuTexRefSetFilterMode, (CUfilter_mode)m->fm)
SET(cuTexRefSetFlags, m->Flags)
SET(cuTexRefSetMaxAnisotropy, m->maxAniso)
SET(cuTexRefSetMipmapFilterMode, (CUfilter_mode)m->fm)
SET(cuTexRefSetMipmapLevelBias, m->bias)
SET(cuTexRefSetMipmapLevelClamp, m->minMipmapLevelClamp, m->maxMipmapLevelClamp)

CUresult mp_do_cuTexRefSetBorderColor(struct mp_job *job, const struct mp_msg_cuTexRefSetBorderColor *m)
{
	CUtexref ref;
	float color[4];
	CUresult e = get(job, m->hTexRef, job->w->drv.cuTexRefSetBorderColor, &ref);

	memcpy(color, m->color, sizeof(color));
	return e ? e : job->w->drv.cuTexRefSetBorderColor(ref, color);
}

CUresult mp_do_cuSurfRefSetArray(struct mp_job *job, const struct mp_msg_cuSurfRefSetArray *m)
{
	void *ref, *array;
	CUresult e = m->hSurfRef ? mp_job_get(job, MP_KIND_surfref, m->hSurfRef, &ref) : CUDA_ERROR_INVALID_HANDLE;

	if (!e)
		e = m->hArray ? mp_job_get(job, MP_KIND_array, m->hArray, &array) : CUDA_ERROR_INVALID_HANDLE;
	if (!e && !job->w->drv.cuSurfRefSetArray)
		e = CUDA_ERROR_NOT_SUPPORTED;
	return e ? e : job->w->drv.cuSurfRefSetArray(ref, array, m->Flags);
}
