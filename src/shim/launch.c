/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches: no lock, no look-up, no allocation, one record.
 *
 * What a driver rejects at once is rejected here, from what is known about the
 * device and the kernel.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

#define ATTRS_MOST 16

CUresult mp_launch_check(struct mp_ctx *c, struct mp_func *f, unsigned gx, unsigned gy, unsigned gz,
			 unsigned bx, unsigned by, unsigned bz, unsigned shared)
{
	const int *a = mp_shim.device[c->device].attr;

	if (MP_UNLIKELY(!gx || !gy || !gz || !bx || !by || !bz))
		return CUDA_ERROR_INVALID_VALUE;
	if (MP_UNLIKELY(gx > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X] ||
			gy > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y] ||
			gz > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z] ||
			bx > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X] ||
			by > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y] ||
			bz > (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z] ||
			(uint64_t)bx * by * bz >
				(unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK]))
		return CUDA_ERROR_INVALID_VALUE;
	if (MP_UNLIKELY((uint64_t)bx * by * bz > f->max_threads)) {
		/* More than the kernel was compiled for, or than it has registers for. */
		if (f->info->reqntid[0])
			return CUDA_ERROR_INVALID_VALUE;
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	}
	if (MP_UNLIKELY(shared > f->max_dynamic))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* The same question of a launch that is in order, which nearly all are; 0 wraps to the largest. */
static inline bool launch_fits(const struct mp_ctx *c, const struct mp_func *f, unsigned gx,
			       unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
			       unsigned shared)
{
	const unsigned *a = (const unsigned *)mp_shim.device[c->device].attr;

	return gx - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X] &&
	       gy - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y] &&
	       gz - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z] &&
	       bx - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X] &&
	       by - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y] &&
	       bz - 1 < a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z] &&
	       (uint64_t)bx * by * bz <= f->max_threads && shared <= f->max_dynamic;
}

/* The buffer form: pairs of a marker and a value, ended by CU_LAUNCH_PARAM_END. */
static CUresult params_extra(struct mp_func *f, void **extra, const void **ret, size_t *ret_n)
{
	const void *p = NULL;
	size_t n = 0;
	int i;

	for (i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
		if (i > 8)
			return CUDA_ERROR_INVALID_VALUE;
		if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER)
			p = extra[i + 1];
		else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE)
			n = *(const size_t *)extra[i + 1];
		else
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (f->param_bytes && (!p || n < f->param_bytes))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = p;
	*ret_n = n;
	return CUDA_SUCCESS;
}

static inline bool params_there(struct mp_func *f, void **params)
{
	uint32_t i;

	for (i = 0; i < f->nparams; i++)
		if (MP_UNLIKELY(!params[i]))
			return false;
	return true;
}

void mp_params_plan(struct mp_func *f)
{
	static const uint32_t order[] = {8, 4, 2, 1, 0};
	struct mp_step *s = f->step;
	uint8_t *count[] = {&f->n8, &f->n4, &f->n2, &f->n1, &f->nother};
	uint32_t i, k;

	if (f->nparams > MP_STEPS)
		return;
	for (i = 0; i < f->nparams; i++)
		if (f->params[i].size > UINT8_MAX || f->params[i].offset > UINT16_MAX)
			return;
	for (k = 0; k < MP_ARRAY_LEN(order); k++)
		for (i = 0; i < f->nparams; i++) {
			uint32_t size = f->params[i].size;
			bool other = size != 8 && size != 4 && size != 2 && size != 1;

			if ((other ? 0 : size) != order[k])
				continue;
			*s++ = (struct mp_step){.param = (uint8_t)i, .size = (uint8_t)size,
						.offset = (uint16_t)f->params[i].offset};
			++*count[k];
		}
	assert(s == f->step + f->nparams);
}

/* Structures, or all of a kernel with very many parameters. */
static __attribute__((noinline)) void params_gather_odd(const struct mp_func *f,
							 const struct mp_step *s, void **params,
							 uint8_t *to)
{
	const struct mp_step *end = s + f->nother;
	uint32_t i;

	for (; s != end; s++)
		memcpy(to + s->offset, params[s->param], s->size);
	if (s == f->step) /* no steps were made */
		for (i = 0; i < f->nparams; i++)
			memcpy(to + f->params[i].offset, params[i], f->params[i].size);
}

static __attribute__((noinline)) void params_gather_rest(const struct mp_func *f,
							  const struct mp_step *s, void **params,
							  uint8_t *to)
{
	const struct mp_step *end;

	for (end = s + f->n2; s != end; s++)
		memcpy(to + s->offset, params[s->param], 2);
	for (end = s + f->n1; s != end; s++)
		memcpy(to + s->offset, params[s->param], 1);
	if (MP_UNLIKELY(f->nother || s == f->step))
		params_gather_odd(f, s, params, to);
}

/* A pointer that is none faults here, in the caller's thread, as in any driver. */
static inline void params_gather(const struct mp_func *f, void **params, uint8_t *to)
{
	const struct mp_step *s = f->step, *end;

	for (end = s + f->n8; s != end; s++)
		memcpy(to + s->offset, params[s->param], 8);
	for (end = s + f->n4; s != end; s++)
		memcpy(to + s->offset, params[s->param], 4);
	/* Also when no steps were made, since there are more parameters then. */
	if (s != f->step + f->nparams)
		params_gather_rest(f, s, params, to);
}

CUresult mp_params_pack(struct mp_thread *t, struct mp_func *f, void **params, void **extra,
			const void **ret, size_t *ret_n)
{
	uint8_t *p;

	if (params && extra)
		return CUDA_ERROR_INVALID_VALUE;
	if (extra)
		return params_extra(f, extra, ret, ret_n);
	*ret_n = f->param_bytes;
	*ret = NULL;
	if (!f->nparams)
		return CUDA_SUCCESS;
	if (!params || !params_there(f, params))
		return CUDA_ERROR_INVALID_VALUE;
	p = mp_scratch(t, f->param_bytes + 8);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memset(p, 0, f->param_bytes);
	*ret = p;
	params_gather(f, params, p);
	return CUDA_SUCCESS;
}

static CUresult after(struct mp_thread *t, struct mp_stream *s, struct mp_out *o)
{
	CUresult r;

	if (atomic_load_explicit(&s->capture, memory_order_relaxed))
		return mp_out_end(o);
	mp_stream_issue(s, o->ticket);
	r = mp_out_end(o);
	if (MP_UNLIKELY(mp_shim.launch_blocking && !r))
		r = mp_stream_wait(t, o->call, s);
	return r;
}

/* The launch's record; the parameters are in `packed`, or still where the program has them. */
static inline struct mp_record *launch_put(struct mp_out *o, const struct mp_msg_cuLaunchKernel *m,
					   const struct mp_func *f, void **params,
					   const void *packed, size_t n)
{
	/* As mp_put_cuLaunchKernel would, but for the parameters, which go straight in. */
	size_t head = mp_size_cuLaunchKernel(m);
	uint64_t len = n;
	uint8_t *p;

	if (MP_UNLIKELY(mp_out_begin(o, o->thread, MP_CALL_cuLaunchKernel, head + mp_tail_size(n),
				     o->thread->ctx->head.id)))
		return NULL;
	p = (uint8_t *)(o->rec + 1);
	mp_put_cuLaunchKernel(p, m);
	memcpy(p + head - 8, &len, sizeof(len));
	if (MP_UNLIKELY(packed != NULL))
		memcpy(p + head, packed, n);
	else
		params_gather(f, params, p + head);
	return o->rec;
}

CUresult mp_shim_cuLaunchKernel(CUfunction func, unsigned int gx, unsigned int gy, unsigned int gz,
				unsigned int bx, unsigned int by, unsigned int bz,
				unsigned int shared, CUstream h, void **params, void **extra)
{
	struct mp_msg_cuLaunchKernel m = {
		.gridDimX = gx, .gridDimY = gy, .gridDimZ = gz, .blockDimX = bx, .blockDimY = by,
		.blockDimZ = bz, .sharedMemBytes = shared};
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_func *f;
	struct mp_out o;
	size_t n;
	const void *packed = NULL;
	CUresult r = mp_enter(MP_CALL_cuLaunchKernel, &t);

	if (MP_UNLIKELY(r))
		return r;
	f = mp_func_get(func);
	if (MP_UNLIKELY(!f || (f->module->ctx && f->module->ctx != t->ctx)))
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_stream_get(t, h, &s);
	if (MP_UNLIKELY(r))
		return r;
	if (MP_UNLIKELY(!launch_fits(t->ctx, f, gx, gy, gz, bx, by, bz, shared))) {
		r = mp_launch_check(t->ctx, f, gx, gy, gz, bx, by, bz, shared);
		if (r)
			return r;
	}
	r = mp_stream_may(t, s);
	if (MP_UNLIKELY(r))
		return r;
	n = f->param_bytes;
	if (MP_UNLIKELY(extra || (f->nparams && !params) ||
			atomic_load_explicit(&mp_shim.mirrors, memory_order_relaxed))) {
		/* Parameters may lie in mirrored memory: reading them must not wait between here and there. */
		r = mp_params_pack(t, f, params, extra, &packed, &n);
		if (!r)
			r = mp_mirror_launch(t, s, packed, n);
		if (r)
			return r;
	}
	m.f = f->head.id;
	m.hStream = s->head.id;
	o.thread = t;
	if (MP_UNLIKELY(!launch_put(&o, &m, f, params, packed, n)))
		return mp_state_error();
	/* A stream of a context in which none captures does not capture. */
	if (MP_UNLIKELY(mp_shim.launch_slow ||
			atomic_load_explicit(&t->ctx->captures, memory_order_relaxed)))
		return after(t, s, &o);
	mp_stream_issue(s, o.ticket);
	mp_out_send(&o);
	return CUDA_SUCCESS;
}

/* A kernel call as it travels in other records; the parameters lie in scratch. */
CUresult mp_kernel_call(struct mp_thread *t, CUfunction func, unsigned gx, unsigned gy, unsigned gz,
			unsigned bx, unsigned by, unsigned bz, unsigned shared, void **params,
			void **extra, struct mp_kernel_call *ret)
{
	struct mp_func *f = mp_func_get(func);
	size_t n = 0;
	CUresult r;

	if (!f || (f->module->ctx && f->module->ctx != t->ctx))
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_launch_check(t->ctx, f, gx, gy, gz, bx, by, bz, shared);
	if (!r)
		r = mp_params_pack(t, f, params, extra, &ret->params, &n);
	if (!r && atomic_load_explicit(&mp_shim.mirrors, memory_order_relaxed))
		r = mp_mirror_params(t, ret->params, n);
	if (r)
		return r;
	ret->func = f->head.id;
	ret->gridDimX = gx;
	ret->gridDimY = gy;
	ret->gridDimZ = gz;
	ret->blockDimX = bx;
	ret->blockDimY = by;
	ret->blockDimZ = bz;
	ret->sharedMemBytes = shared;
	ret->params_len = n;
	return CUDA_SUCCESS;
}

CUresult mp_launch_attr(struct mp_thread *t, CUlaunchAttributeID id, const CUlaunchAttributeValue *v,
			struct mp_launch_attr *ret)
{
	struct mp_event *e;

	memset(ret, 0, sizeof(*ret));
	ret->id = id;
	switch (id) {
	case CU_LAUNCH_ATTRIBUTE_IGNORE:
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
		if (mp_shim.device[t->ctx->device].attr[CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH])
			break;
		/* A cluster of one is what every launch has. */
		if (v->clusterDim.x * v->clusterDim.y * v->clusterDim.z > 1)
			return CUDA_ERROR_NOT_SUPPORTED;
		ret->id = CU_LAUNCH_ATTRIBUTE_IGNORE;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
		e = mp_object(v->programmaticEvent.event, MP_KIND_event);
		if (!e)
			return CUDA_ERROR_INVALID_HANDLE;
		ret->event = e->head.id;
		break;
	case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
		e = mp_object(v->launchCompletionEvent.event, MP_KIND_event);
		if (!e)
			return CUDA_ERROR_INVALID_HANDLE;
		ret->event = e->head.id;
		break;
	case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
		return CUDA_ERROR_NOT_SUPPORTED;
	default:
		break;
	}
	memcpy(ret->value, v, sizeof(ret->value));
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction func, void **params,
				  void **extra)
{
	struct mp_launch_attr attrs[ATTRS_MOST];
	struct mp_msg_cuLaunchKernelEx m;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	unsigned i, k = 0;
	CUresult r;

	if (c && !c->numAttrs)
		return mp_shim_cuLaunchKernel(func, c->gridDimX, c->gridDimY, c->gridDimZ,
					      c->blockDimX, c->blockDimY, c->blockDimZ,
					      c->sharedMemBytes, c->hStream, params, extra);
	r = mp_enter(MP_CALL_cuLaunchKernelEx, &t);
	if (r)
		return r;
	if (!c || !c->attrs || c->numAttrs > ATTRS_MOST)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_get(t, c->hStream, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (!r)
		r = mp_kernel_call(t, func, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX,
				   c->blockDimY, c->blockDimZ, c->sharedMemBytes, params, extra,
				   &m.call);
	for (i = 0; i < c->numAttrs && !r; i++) {
		r = mp_launch_attr(t, c->attrs[i].id, &c->attrs[i].value, &attrs[k]);
		if (!r && attrs[k].id != CU_LAUNCH_ATTRIBUTE_IGNORE)
			k++;
	}
	if (!r)
		r = mp_mirror_before(t, s);
	if (r)
		return r;
	m.hStream = s->head.id;
	m.attrs = attrs;
	m.attrs_count = k;
	r = MP_PUT(&o, t, MP_CALL_cuLaunchKernelEx, cuLaunchKernelEx, &m, t->ctx->head.id);
	if (r)
		return r;
	for (i = 0; i < c->numAttrs; i++) { /* events that the launch records */
		struct mp_event *e = NULL;

		if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT)
			e = mp_object(c->attrs[i].value.programmaticEvent.event, MP_KIND_event);
		if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT)
			e = mp_object(c->attrs[i].value.launchCompletionEvent.event, MP_KIND_event);
		if (e && !atomic_load(&s->capture)) {
			e->stream = s;
			e->stream_generation = s->head.generation;
			atomic_store(&e->recorded, o.ticket);
		}
	}
	return after(t, s, &o);
}

/* All of it must be resident at once: that is known, and refused, here. */
static CUresult cooperative_check(struct mp_thread *t, struct mp_kernel_call *c, CUfunction func)
{
	struct mp_func *f = mp_func_get(func);
	const int *dev = mp_shim.device[t->ctx->device].attr;
	int blocks = 0;
	CUresult r;

	if (!dev[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH])
		return CUDA_ERROR_NOT_SUPPORTED;
	r = mp_func_attributes(t, MP_CALL_cuLaunchCooperativeKernel, f);
	if (!r)
		r = mp_occupancy_blocks(dev, f->own_attr,
					(int)(c->blockDimX * c->blockDimY * c->blockDimZ),
					c->sharedMemBytes, 0, &blocks);
	if (r)
		return r;
	if ((uint64_t)c->gridDimX * c->gridDimY * c->gridDimZ >
	    (uint64_t)blocks * (unsigned)dev[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT])
		return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuLaunchCooperativeKernel(CUfunction func, unsigned int gx, unsigned int gy,
					   unsigned int gz, unsigned int bx, unsigned int by,
					   unsigned int bz, unsigned int shared, CUstream h,
					   void **params)
{
	struct mp_msg_cuLaunchCooperativeKernel m;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuLaunchCooperativeKernel, &t);

	if (!r)
		r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (!r)
		r = mp_kernel_call(t, func, gx, gy, gz, bx, by, bz, shared, params, NULL, &m.call);
	if (!r)
		r = cooperative_check(t, &m.call, func);
	if (!r)
		r = mp_mirror_before(t, s);
	if (r)
		return r;
	m.hStream = s->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuLaunchCooperativeKernel, cuLaunchCooperativeKernel, &m,
		   t->ctx->head.id);
	return r ? r : after(t, s, &o);
}
