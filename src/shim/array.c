/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays and mipmapped arrays.  Their handles and sizes are known here: a
 * creation is judged and charged at the call and travels one-way, questions are
 * answered at home, and copies go as boxes (copy3d.c).
 */
#include "shim/shim.h"

static_assert(sizeof(struct mp_array) <= MP_SLOT_SIZE, "an array fits its slot");

static void list_add(struct mp_array *a)
{
	pthread_mutex_lock(&mp_objects);
	a->next = a->ctx->arrays;
	a->prev = &a->ctx->arrays;
	if (a->next)
		a->next->prev = &a->next;
	a->ctx->arrays = a;
	pthread_mutex_unlock(&mp_objects);
}

/* The handle and those of its levels are no longer. */
static void drop(struct mp_array *a)
{
	unsigned i;

	if (a->prev) {
		pthread_mutex_lock(&mp_objects);
		*a->prev = a->next;
		if (a->next)
			a->next->prev = a->prev;
		pthread_mutex_unlock(&mp_objects);
	}
	for (i = 0; i < MP_LEVELS_MAX; i++)
		if (a->level[i])
			mp_slot_free(a->level[i]);
	mp_slot_free(a);
}

static void desc_put(struct mp_array_desc *m, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	*m = (struct mp_array_desc){.width = d->Width, .height = d->Height, .depth = d->Depth,
				    .format = (uint32_t)d->Format, .channels = d->NumChannels, .flags = d->Flags};
}

/* ---- Making ---- */

static CUresult create(enum mp_call call, enum mp_kind kind, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels,
		       void **ret)
{
	struct mp_thread *t;
	struct mp_array *a;
	struct mp_out o;
	size_t bytes;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	if (!ret || !d)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_array_judge(mp_shim.device[t->ctx->device].attr, d, kind == MP_KIND_mipmap);
	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	levels = kind == MP_KIND_mipmap ? mp_array_levels(d, levels) : 1;
	if (!mp_array_bytes(d, levels, &bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = mp_memory_charge(t, t->ctx->device, bytes);
	if (r)
		return r;
	a = mp_slot_new(kind);
	if (!a) {
		mp_memory_uncharge(t->ctx->device, bytes);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	a->ctx = t->ctx;
	a->desc = *d;
	a->nlevels = levels;
	if (kind == MP_KIND_mipmap) {
		struct mp_msg_cuMipmappedArrayCreate m = {.pHandle = a->head.id, .levels = levels};

		desc_put(&m.desc, d);
		r = MP_SEND(&o, t, MP_CALL_cuMipmappedArrayCreate, cuMipmappedArrayCreate, &m, t->ctx->head.id);
	} else {
		struct mp_msg_cuArray3DCreate_v2 m = {.pHandle = a->head.id};

		desc_put(&m.desc, d);
		r = MP_SEND(&o, t, MP_CALL_cuArray3DCreate_v2, cuArray3DCreate_v2, &m, t->ctx->head.id);
	}
	if (r) {
		mp_slot_waste(a);
		return r;
	}
	list_add(a);
	*ret = a;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuArray3DCreate_v2(CUarray *ret, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	return create(MP_CALL_cuArray3DCreate_v2, MP_KIND_array, d, 1, (void **)ret);
}

CUresult mp_shim_cuArrayCreate_v2(CUarray *ret, const CUDA_ARRAY_DESCRIPTOR *d)
{
	CUDA_ARRAY3D_DESCRIPTOR w = {0};

	if (d)
		w = (CUDA_ARRAY3D_DESCRIPTOR){
			.Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels};
	return create(MP_CALL_cuArrayCreate_v2, MP_KIND_array, d ? &w : NULL, 1, (void **)ret);
}

CUresult mp_shim_cuArray3DCreate(CUarray *ret, const CUDA_ARRAY3D_DESCRIPTOR_v1 *d)
{
	CUDA_ARRAY3D_DESCRIPTOR w = {0};

	if (d)
		w = (CUDA_ARRAY3D_DESCRIPTOR){d->Width, d->Height, d->Depth, d->Format, d->NumChannels, d->Flags};
	return create(MP_CALL_cuArray3DCreate, MP_KIND_array, d ? &w : NULL, 1, (void **)ret);
}

CUresult mp_shim_cuArrayCreate(CUarray *ret, const CUDA_ARRAY_DESCRIPTOR_v1 *d)
{
	CUDA_ARRAY3D_DESCRIPTOR w = {0};

	if (d)
		w = (CUDA_ARRAY3D_DESCRIPTOR){
			.Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels};
	return create(MP_CALL_cuArrayCreate, MP_KIND_array, d ? &w : NULL, 1, (void **)ret);
}

CUresult mp_shim_cuMipmappedArrayCreate(CUmipmappedArray *ret, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned int levels)
{
	return create(MP_CALL_cuMipmappedArrayCreate, MP_KIND_mipmap, d, levels, (void **)ret);
}

CUresult mp_shim_cuMipmappedArrayGetLevel(CUarray *ret, CUmipmappedArray h, unsigned int level)
{
	struct mp_thread *t;
	struct mp_array *a, *l;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuMipmappedArrayGetLevel, &t);

	if (r)
		return r;
	a = mp_object(h, MP_KIND_mipmap);
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	if (level >= a->nlevels)
		return CUDA_ERROR_INVALID_VALUE;
	if (!a->level[level]) {
		struct mp_msg_cuMipmappedArrayGetLevel m = {.hMipmappedArray = a->head.id, .level = level};

		l = mp_slot_new(MP_KIND_array);
		if (!l)
			return CUDA_ERROR_OUT_OF_MEMORY;
		l->ctx = a->ctx;
		l->desc = mp_array_level(&a->desc, level);
		l->nlevels = 1;
		l->parent = a;
		m.pLevelArray = l->head.id;
		r = MP_SEND(&o, t, MP_CALL_cuMipmappedArrayGetLevel, cuMipmappedArrayGetLevel, &m, a->ctx->head.id);
		if (r) {
			mp_slot_waste(l);
			return r;
		}
		a->level[level] = l;
	}
	*ret = (CUarray)a->level[level];
	return CUDA_SUCCESS;
}

/* ---- Destroying ---- */

static CUresult array_end(struct mp_thread *t, struct mp_array *a)
{
	struct mp_msg_cuArrayDestroy one = {.hArray = a->head.id};
	struct mp_msg_cuMipmappedArrayDestroy many = {.hMipmappedArray = a->head.id};
	enum mp_kind kind = (enum mp_kind)atomic_load(&a->head.kind);
	struct mp_out o;
	unsigned i;
	CUresult r;

	mp_texture_array_gone(t, kind, a->head.id);
	for (i = 0; i < a->nlevels; i++) {
		struct mp_msg_cuArrayDestroy level;

		if (!a->level[i])
			continue;
		/* Its id is used again soon: the server is to forget it now, not when the array goes. */
		level.hArray = a->level[i]->head.id;
		mp_texture_array_gone(t, MP_KIND_array, level.hArray);
		(void)MP_SEND(&o, t, MP_CALL_cuArrayDestroy, cuArrayDestroy, &level, a->ctx->head.id);
	}
	if (kind == MP_KIND_mipmap)
		r = MP_SEND(&o, t, MP_CALL_cuMipmappedArrayDestroy, cuMipmappedArrayDestroy, &many, a->ctx->head.id);
	else
		r = MP_SEND(&o, t, MP_CALL_cuArrayDestroy, cuArrayDestroy, &one, a->ctx->head.id);
	if (!r)
		drop(a);
	return r;
}

static CUresult destroy(enum mp_call call, enum mp_kind kind, const void *h)
{
	struct mp_thread *t;
	struct mp_array *a;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	a = mp_object(h, kind);
	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	return a->parent ? CUDA_ERROR_INVALID_VALUE : array_end(t, a);
}

CUresult mp_shim_cuArrayDestroy(CUarray h)
{
	return destroy(MP_CALL_cuArrayDestroy, MP_KIND_array, h);
}

CUresult mp_shim_cuMipmappedArrayDestroy(CUmipmappedArray h)
{
	return destroy(MP_CALL_cuMipmappedArrayDestroy, MP_KIND_mipmap, h);
}

void mp_array_context_gone(struct mp_thread *t, struct mp_ctx *c)
{
	while (c->arrays)
		if (array_end(t, c->arrays))
			drop(c->arrays); /* the server is lost */
}

/* ---- Questions ---- */

static CUresult ask(enum mp_call call, CUarray h, const void *out, struct mp_array **ret)
{
	struct mp_thread *t;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = mp_array_get(h);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult mp_shim_cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *d, CUarray h)
{
	struct mp_array *a;
	CUresult r = ask(MP_CALL_cuArray3DGetDescriptor_v2, h, d, &a);

	if (!r)
		*d = a->desc;
	return r;
}

CUresult mp_shim_cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *d, CUarray h)
{
	struct mp_array *a;
	CUresult r = ask(MP_CALL_cuArrayGetDescriptor_v2, h, d, &a);

	if (!r)
		*d = (CUDA_ARRAY_DESCRIPTOR){a->desc.Width, a->desc.Height, a->desc.Format, a->desc.NumChannels};
	return r;
}

CUresult mp_shim_cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *d, CUarray h)
{
	struct mp_array *a;
	CUresult r = ask(MP_CALL_cuArray3DGetDescriptor, h, d, &a);

	if (!r)
		*d = (CUDA_ARRAY3D_DESCRIPTOR_v1){(unsigned)a->desc.Width, (unsigned)a->desc.Height,
						  (unsigned)a->desc.Depth, a->desc.Format, a->desc.NumChannels,
						  a->desc.Flags};
	return r;
}

CUresult mp_shim_cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *d, CUarray h)
{
	struct mp_array *a;
	CUresult r = ask(MP_CALL_cuArrayGetDescriptor, h, d, &a);

	if (!r)
		*d = (CUDA_ARRAY_DESCRIPTOR_v1){(unsigned)a->desc.Width, (unsigned)a->desc.Height, a->desc.Format,
						a->desc.NumChannels};
	return r;
}

/* Planar, deferred and sparse arrays, which alone have what these ask for, are refused at creation. */
static CUresult none(enum mp_call call, enum mp_kind kind, const void *h, const void *out, CUdevice dev)
{
	struct mp_thread *t;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	return mp_object(h, kind) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

CUresult mp_shim_cuArrayGetPlane(CUarray *ret, CUarray h, unsigned int plane)
{
	(void)plane;
	(void)ret;
	return none(MP_CALL_cuArrayGetPlane, MP_KIND_array, h, &plane, 0);
}

CUresult mp_shim_cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *q, CUarray h, CUdevice dev)
{
	return none(MP_CALL_cuArrayGetMemoryRequirements, MP_KIND_array, h, q, dev);
}

CUresult mp_shim_cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *p, CUarray h)
{
	return none(MP_CALL_cuArrayGetSparseProperties, MP_KIND_array, h, p, 0);
}

CUresult mp_shim_cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *q, CUmipmappedArray h,
						       CUdevice dev)
{
	return none(MP_CALL_cuMipmappedArrayGetMemoryRequirements, MP_KIND_mipmap, h, q, dev);
}

CUresult mp_shim_cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *p, CUmipmappedArray h)
{
	return none(MP_CALL_cuMipmappedArrayGetSparseProperties, MP_KIND_mipmap, h, p, 0);
}

/* ---- Batches of boxes ---- */

static size_t element_of(const CUmemcpy3DOperand *o)
{
	struct mp_array *a = o->type == CU_MEMCPY_OPERAND_TYPE_ARRAY ? mp_array_get(o->op.array.array) : NULL;
	struct mp_texel t;

	return a && mp_texel_of(&t, a->desc.Format, a->desc.NumChannels) ? t.bytes : 0;
}

CUresult mp_shim_cuMemcpy3DBatchAsync(size_t n, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *fail, unsigned long long flags,
				      CUstream h)
{
	CUDA_MEMCPY3D c;
	struct mp_thread *t;
	size_t i, element;
	CUresult r = mp_enter(MP_CALL_cuMemcpy3DBatchAsync, &t);

	if (r)
		return r;
	if (!n || !ops || flags || !h || h == CU_STREAM_LEGACY)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < n && !r; i++) {
		element = element_of(&ops[i].src);
		if (!element)
			element = element_of(&ops[i].dst);
		r = mp_box_of_op(&c, &ops[i], element ? element : 1) ? mp_shim_cuMemcpy3DAsync_v2(&c, h)
								      : CUDA_ERROR_INVALID_VALUE;
		if (r && fail)
			*fail = i;
	}
	return r;
}

CUresult mp_shim_cuMemcpy3DBatchAsync_v2(size_t n, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags, CUstream h)
{
	return mp_shim_cuMemcpy3DBatchAsync(n, ops, NULL, flags, h);
}
