/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts.  The stack of current contexts is the thread's; the server only
 * learns of a context's birth and end, and each record names its context.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

struct mp_ctx *mp_ctx_find(CUcontext ctx)
{
	return mp_object(ctx, MP_KIND_context);
}

/* Its legacy stream exists as long as it does. */
static int legacy_make(struct mp_ctx *c)
{
	if (c->legacy)
		return 0;
	/* Id 0 on the wire: the legacy stream of the record's context. */
	c->legacy = mp_slot_new_id(MP_KIND_stream, 0x80000000u);
	if (!c->legacy)
		return -1;
	c->legacy->head.id = 0;
	c->legacy->ctx = c;
	c->legacy->legacy = true;
	c->legacy->uid = atomic_fetch_add(&mp_shim.uid, 1) + 1;
	return 0;
}

CUresult mp_ctx_activate(struct mp_thread *t, struct mp_ctx *c)
{
	struct mp_msg_context m = {.context = c->head.id,
				   .device = mp_shim.device[c->device].wire,
				   .flags = c->flags,
				   .primary = c->primary};
	struct mp_out o;
	CUresult r;

	if (legacy_make(c))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = MP_SEND(&o, t, MP_REC_context, context, &m, 0);
	if (r)
		return r;
	atomic_store(&c->sticky, 0);
	atomic_store(&c->latched, 0);
	c->live = true;
	atomic_store(&c->attention, 0);
	return CUDA_SUCCESS;
}

/* Everything in it ends with it. The handle of a primary context stays. */
static CUresult context_end(struct mp_thread *t, struct mp_ctx *c)
{
	struct mp_msg_context_end m = {.context = c->head.id};
	struct mp_out o;
	CUresult r;

	mp_cls_context_gone((CUcontext)c);
	mp_mirror_ctx_gone(t, c);
	mp_memory_ctx_gone(t, c);
	/* The server knows which streams are the context's; of the rest each id is given back. */
	while (c->events) {
		struct mp_msg_cuEventDestroy_v2 d = {.hEvent = c->events->head.id};

		(void)MP_SEND(&o, t, MP_CALL_cuEventDestroy_v2, cuEventDestroy_v2, &d, c->head.id);
		mp_event_drop(c->events);
	}
	mp_texture_context_gone(t, c);
	mp_array_context_gone(t, c);
	while (c->modules) {
		(void)mp_module_unload(t, c->modules);
		mp_module_gone(c->modules);
	}
	r = MP_SEND(&o, t, MP_REC_context_end, context_end, &m, 0);
	c->live = false;
	atomic_store(&c->attention, 1);
	while (c->streams)
		mp_stream_drop(c->streams);
	mp_stream_forget(c->legacy);
	if (c->primary) {
		/* What it had is over; a new life begins with the next retain. */
		mp_max(&c->legacy->completed, atomic_load(&c->legacy->issued));
		c->uid = atomic_fetch_add(&mp_shim.uid, 1) + 1;
		c->retains = 0;
		memset(c->limits_known, 0, sizeof(c->limits_known));
		c->peers = 0;
		atomic_store(&c->captures, 0);
	} else {
		struct mp_ctx **p;

		c->legacy->head.id = 0x80000000u; /* its id was nobody's */
		mp_slot_free(c->legacy);
		pthread_mutex_lock(&mp_objects);
		for (p = &mp_shim.contexts; *p && *p != c; p = &(*p)->next)
			;
		if (*p)
			*p = c->next;
		pthread_mutex_unlock(&mp_objects);
		mp_slot_free(c);
	}
	return r;
}

/* ---- Primary contexts ---- */

static CUresult primary_get(enum mp_call call, CUdevice dev, struct mp_thread **t,
			    struct mp_ctx **ret)
{
	CUresult r = mp_enter_init(call, t);

	if (r)
		return r;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*ret = mp_shim.device[dev].primary;
	return CUDA_SUCCESS;
}

static pthread_mutex_t primaries = PTHREAD_MUTEX_INITIALIZER; /* guards retains and live */

CUresult mp_shim_cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = primary_get(MP_CALL_cuDevicePrimaryCtxRetain, dev, &t, &c);

	if (r)
		return r;
	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&primaries);
	if (!c->live) {
		c->flags = mp_shim.device[dev].primary_flags;
		r = mp_ctx_activate(t, c);
	} else {
		r = (CUresult)atomic_load(&c->sticky);
	}
	if (!r) {
		c->retains++;
		*pctx = (CUcontext)c;
	}
	pthread_mutex_unlock(&primaries);
	return r;
}

static CUresult primary_release(CUdevice dev, enum mp_call call, bool reset)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = primary_get(call, dev, &t, &c);

	if (r)
		return r;
	pthread_mutex_lock(&primaries);
	if (!reset && !c->retains) {
		r = CUDA_ERROR_INVALID_CONTEXT;
	} else if (reset || !--c->retains) {
		if (c->live)
			r = context_end(t, c);
	}
	pthread_mutex_unlock(&primaries);
	return r;
}

CUresult mp_shim_cuDevicePrimaryCtxRelease(CUdevice dev)
{
	return primary_release(dev, MP_CALL_cuDevicePrimaryCtxRelease, false);
}

CUresult mp_shim_cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
	return primary_release(dev, MP_CALL_cuDevicePrimaryCtxRelease_v2, false);
}

CUresult mp_shim_cuDevicePrimaryCtxReset(CUdevice dev)
{
	return primary_release(dev, MP_CALL_cuDevicePrimaryCtxReset, true);
}

CUresult mp_shim_cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
	return primary_release(dev, MP_CALL_cuDevicePrimaryCtxReset_v2, true);
}

static CUresult primary_flags(CUdevice dev, enum mp_call call, unsigned flags)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = primary_get(call, dev, &t, &c);

	if (r)
		return r;
	if (flags & ~(unsigned)CU_CTX_FLAGS_MASK || (flags & CU_CTX_SCHED_MASK) > 4 ||
	    (flags & CU_CTX_SCHED_MASK) == 3)
		return CUDA_ERROR_INVALID_VALUE;
	mp_shim.device[dev].primary_flags = flags;
	if (c->live) /* scheduling of waits is the client's own affair */
		c->flags = flags;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
	return primary_flags(dev, MP_CALL_cuDevicePrimaryCtxSetFlags, flags);
}

CUresult mp_shim_cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
	return primary_flags(dev, MP_CALL_cuDevicePrimaryCtxSetFlags_v2, flags);
}

CUresult mp_shim_cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = primary_get(MP_CALL_cuDevicePrimaryCtxGetState, dev, &t, &c);

	if (r)
		return r;
	if (flags)
		*flags = mp_shim.device[dev].primary_flags;
	if (active)
		*active = c->live;
	return CUDA_SUCCESS;
}

/* ---- Other contexts ---- */

static CUresult create(CUcontext *pctx, unsigned flags, CUdevice dev, enum mp_call call)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	if (!pctx || flags & ~(unsigned)CU_CTX_FLAGS_MASK || (flags & CU_CTX_SCHED_MASK) > 4 ||
	    (flags & CU_CTX_SCHED_MASK) == 3)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	if (t->depth == MP_STACK_MOST || !(c = mp_slot_new(MP_KIND_context)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->device = dev;
	c->flags = flags;
	c->uid = atomic_fetch_add(&mp_shim.uid, 1) + 1;
	r = mp_ctx_activate(t, c);
	if (r) {
		mp_slot_free(c);
		return r;
	}
	pthread_mutex_lock(&mp_objects);
	c->next = mp_shim.contexts;
	mp_shim.contexts = c;
	pthread_mutex_unlock(&mp_objects);
	t->stack[t->depth++] = c;
	t->ctx = c;
	*pctx = (CUcontext)c;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxCreate(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
	return create(pctx, flags, dev, MP_CALL_cuCtxCreate);
}

CUresult mp_shim_cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
	return create(pctx, flags, dev, MP_CALL_cuCtxCreate_v2);
}

CUresult mp_shim_cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *params, int n,
				unsigned int flags, CUdevice dev)
{
	if (n)
		return mp_refused(MP_CALL_cuCtxCreate_v3);
	return create(pctx, flags, dev, MP_CALL_cuCtxCreate_v3);
}

CUresult mp_shim_cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *params, unsigned int flags,
				CUdevice dev)
{
	if (params && (params->numExecAffinityParams || params->cigParams))
		return mp_refused(MP_CALL_cuCtxCreate_v4);
	return create(pctx, flags, dev, MP_CALL_cuCtxCreate_v4);
}

CUresult mp_shim_cuCtxDestroy_v2(CUcontext ctx)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxDestroy_v2, &t);
	struct mp_ctx *c;

	if (r)
		return r;
	c = mp_ctx_find(ctx);
	if (!c || c->primary)
		return CUDA_ERROR_INVALID_CONTEXT;
	r = context_end(t, c);
	if (t->ctx == c) { /* popped from this thread, as if by cuCtxPopCurrent */
		t->depth--;
		t->ctx = t->depth ? t->stack[t->depth - 1] : NULL;
	}
	return r;
}

CUresult mp_shim_cuCtxDestroy(CUcontext ctx)
{
	return mp_shim_cuCtxDestroy_v2(ctx);
}

CUresult mp_shim_cuCtxAttach(CUcontext *pctx, unsigned int flags)
{
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuCtxAttach, &t);

	if (r)
		return r;
	if (!pctx || flags)
		return CUDA_ERROR_INVALID_VALUE;
	t->ctx->retains++;
	*pctx = (CUcontext)t->ctx;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxDetach(CUcontext ctx)
{
	struct mp_ctx *c = mp_ctx_find(ctx);

	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (c->retains) {
		c->retains--;
		return CUDA_SUCCESS;
	}
	return mp_shim_cuCtxDestroy_v2(ctx);
}

/* ---- The stack ---- */

CUresult mp_shim_cuCtxPushCurrent_v2(CUcontext ctx)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxPushCurrent_v2, &t);
	struct mp_ctx *c = mp_ctx_find(ctx);

	if (r)
		return r;
	if (!c)
		return ctx ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
	if (t->depth == MP_STACK_MOST)
		return CUDA_ERROR_OUT_OF_MEMORY;
	t->stack[t->depth++] = c;
	t->ctx = c;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxPushCurrent(CUcontext ctx)
{
	return mp_shim_cuCtxPushCurrent_v2(ctx);
}

CUresult mp_shim_cuCtxPopCurrent_v2(CUcontext *pctx)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxPopCurrent_v2, &t);

	if (r)
		return r;
	if (!t->depth)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (pctx)
		*pctx = (CUcontext)t->ctx;
	t->depth--;
	t->ctx = t->depth ? t->stack[t->depth - 1] : NULL;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxPopCurrent(CUcontext *pctx)
{
	return mp_shim_cuCtxPopCurrent_v2(pctx);
}

CUresult mp_shim_cuCtxSetCurrent(CUcontext ctx)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxSetCurrent, &t);
	struct mp_ctx *c = ctx ? mp_ctx_find(ctx) : NULL;

	if (r)
		return r;
	if (ctx && !c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (c) {
		if (!t->depth)
			t->depth = 1;
		t->stack[t->depth - 1] = c;
	} else if (t->depth) {
		t->depth--;
		c = t->depth ? t->stack[t->depth - 1] : NULL;
	}
	t->ctx = c;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetCurrent(CUcontext *pctx)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxGetCurrent, &t);

	if (r)
		return r;
	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	*pctx = (CUcontext)t->ctx;
	return CUDA_SUCCESS;
}

/* ---- Questions ---- */

/* The current context, for questions that no latched error answers. */
static CUresult current(enum mp_call call, struct mp_thread **t)
{
	CUresult r = mp_enter_init(call, t);

	if (!r && !(*t)->ctx)
		r = CUDA_ERROR_INVALID_CONTEXT;
	if (!r && atomic_load(&(*t)->ctx->head.kind) != MP_KIND_context)
		r = CUDA_ERROR_CONTEXT_IS_DESTROYED;
	return r;
}

CUresult mp_shim_cuCtxGetDevice(CUdevice *device)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetDevice, &t);

	if (r)
		return r;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = t->ctx->device;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx)
{
	struct mp_ctx *c = mp_ctx_find(ctx);

	if (!ctx)
		return mp_shim_cuCtxGetDevice(device);
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = c->device;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetFlags(unsigned int *flags)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetFlags, &t);

	if (r)
		return r;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = t->ctx->flags;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetId(CUcontext ctx, unsigned long long *id)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxGetId, &t);
	struct mp_ctx *c;

	if (r)
		return r;
	c = ctx ? mp_ctx_find(ctx) : t->ctx;
	if (!c)
		return ctx ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = c->uid;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuCtxGetApiVersion, &t);
	struct mp_ctx *c;

	if (r)
		return r;
	c = ctx ? mp_ctx_find(ctx) : t->ctx;
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = 3020;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetStreamPriorityRange, &t);

	if (r)
		return r;
	if (least)
		*least = 0;
	if (greatest)
		*greatest = mp_shim.device[t->ctx->device]
					    .attr[CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED]
				    ? -5
				    : 0;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxGetCacheConfig(CUfunc_cache *config)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetCacheConfig, &t);

	if (r)
		return r;
	if (!config)
		return CUDA_ERROR_INVALID_VALUE;
	*config = (CUfunc_cache)t->ctx->cache_config;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxSetCacheConfig(CUfunc_cache config)
{
	struct mp_msg_cuCtxSetCacheConfig m = {.config = config};
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuCtxSetCacheConfig, &t);

	if (r)
		return r;
	if ((unsigned)config > 3)
		return CUDA_ERROR_INVALID_VALUE;
	t->ctx->cache_config = config;
	return MP_SEND(&o, t, MP_CALL_cuCtxSetCacheConfig, cuCtxSetCacheConfig, &m, t->ctx->head.id);
}

CUresult mp_shim_cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetSharedMemConfig, &t);

	if (r)
		return r;
	if (!config)
		return CUDA_ERROR_INVALID_VALUE;
	*config = (CUsharedconfig)t->ctx->shared_config;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	struct mp_msg_cuCtxSetSharedMemConfig m = {.config = config};
	struct mp_thread *t;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuCtxSetSharedMemConfig, &t);

	if (r)
		return r;
	if ((unsigned)config > 2)
		return CUDA_ERROR_INVALID_VALUE;
	t->ctx->shared_config = config;
	return MP_SEND(&o, t, MP_CALL_cuCtxSetSharedMemConfig, cuCtxSetSharedMemConfig, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuCtxGetLimit(size_t *value, CUlimit limit)
{
	struct mp_thread *t;
	CUresult r = current(MP_CALL_cuCtxGetLimit, &t);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	if ((unsigned)limit >= MP_ARRAY_LEN(t->ctx->limits))
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	*value = t->ctx->limits_known[limit] ? t->ctx->limits[limit]
					     : mp_shim.device[t->ctx->device].limit[limit];
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuCtxSetLimit(CUlimit limit, size_t value)
{
	struct mp_msg_cuCtxSetLimit m = {.limit = limit, .value = value};
	struct mp_thread *t;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuCtxSetLimit, &t);

	if (r)
		return r;
	if ((unsigned)limit >= MP_ARRAY_LEN(t->ctx->limits))
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	/* The driver rounds: what it made of the value is asked for, once. */
	r = MP_PUT(&o, t, MP_CALL_cuCtxSetLimit, cuCtxSetLimit, &m, t->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	free(a.own_data);
	if (!r) {
		struct mp_msg_cuCtxGetLimit q = {.limit = limit};
		struct mp_rep_cuCtxGetLimit reply;

		t->ctx->limits[limit] = value;
		t->ctx->limits_known[limit] = true;
		if (!MP_PUT(&o, t, MP_CALL_cuCtxGetLimit, cuCtxGetLimit, &q, t->ctx->head.id)) {
			if (!mp_out_ask(&o, &a) && !mp_get_rep_cuCtxGetLimit(a.own_data, a.size, &reply))
				t->ctx->limits[limit] = reply.pvalue;
			free(a.own_data);
		}
	}
	return r;
}

CUresult mp_shim_cuCtxGetExecAffinity(CUexecAffinityParam *p, CUexecAffinityType type)
{
	return mp_refused(MP_CALL_cuCtxGetExecAffinity);
}

CUresult mp_shim_cuCtxSynchronize_v2(CUcontext ctx)
{
	struct mp_thread *t;
	CUresult r;
	struct mp_ctx *c;

	if (!ctx) {
		r = mp_enter(MP_CALL_cuCtxSynchronize_v2, &t);
		c = r ? NULL : t->ctx;
	} else {
		r = mp_enter_init(MP_CALL_cuCtxSynchronize_v2, &t);
		c = mp_ctx_find(ctx);
		if (!r && !c)
			r = CUDA_ERROR_INVALID_CONTEXT;
		if (!r)
			r = mp_ctx_error(c);
	}
	if (!r && atomic_load(&c->captures))
		r = mp_safe(t);
	return r ? r : mp_ctx_wait(t, MP_CALL_cuCtxSynchronize_v2, c);
}

CUresult mp_shim_cuCtxSynchronize(void)
{
	return mp_shim_cuCtxSynchronize_v2(NULL);
}

CUresult mp_shim_cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
	struct mp_thread *t;
	struct mp_ctx *c;
	CUresult r = mp_enter(MP_CALL_cuCtxEnablePeerAccess, &t);

	if (r)
		return r;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	c = mp_ctx_find(peer);
	if (!c || c == t->ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
}

CUresult mp_shim_cuCtxDisablePeerAccess(CUcontext peer)
{
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuCtxDisablePeerAccess, &t);

	if (r)
		return r;
	return mp_ctx_find(peer) ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED : CUDA_ERROR_INVALID_CONTEXT;
}
