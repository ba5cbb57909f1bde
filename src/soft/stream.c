/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: an order of operations, kept as the last operation of each.
 *
 * The legacy default stream waits for every blocking stream of its context and
 * they for it; a per-thread default stream is a blocking stream that each
 * thread makes when it first uses one.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_LIMIT 16384 /* ops of a context; a program that is this far ahead waits */

static _Atomic uint64_t next_id = 1;

/* The per-thread streams of this thread. */
static __thread struct own {
	struct CUctx_st *ctx;
	uint64_t ctx_id;
	struct CUstream_st *stream;
	struct own *next;
} *own_streams;

struct CUstream_st *mp_stream_new(struct CUctx_st *ctx, unsigned flags, int priority)
{
	struct CUstream_st *s = mp_handle_new(MP_STREAM, sizeof(*s));

	if (!s)
		return NULL;
	s->ctx = ctx;
	s->flags = flags;
	s->priority = priority < -5 ? -5 : priority > 0 ? 0 : priority;
	s->id = next_id++;
	mp_queue_lock();
	s->next = ctx->streams;
	s->back = &ctx->streams;
	if (s->next)
		s->next->back = &s->next;
	ctx->streams = s;
	mp_queue_unlock();
	return s;
}

/* A stream may go while it has work: the context remembers its tail. Queue lock held. */
static void orphan(struct CUctx_st *ctx, struct mp_op *own_tail)
{
	unsigned i, n = 0;

	for (i = 0; i < ctx->norphans; i++) {
		if (ctx->orphans[i]->state == MP_OP_DONE)
			mp_op_unref(ctx->orphans[i]);
		else
			ctx->orphans[n++] = ctx->orphans[i];
	}
	ctx->norphans = n;
	if (!own_tail || own_tail->state == MP_OP_DONE) {
		mp_op_unref(own_tail);
		return;
	}
	if (n == ctx->orphan_cap) {
		unsigned cap = n ? n * 2 : 16;
		struct mp_op **p = realloc(ctx->orphans, cap * sizeof(*p));

		if (!p) {
			mp_op_unref(own_tail);
			return;
		}
		ctx->orphans = p;
		ctx->orphan_cap = cap;
	}
	ctx->orphans[ctx->norphans++] = own_tail;
}

void mp_stream_free(struct CUstream_st *own_stream)
{
	struct CUstream_st *s = own_stream;

	mp_capture_stream_gone(s);
	mp_queue_lock();
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
	orphan(s->ctx, s->tail);
	s->tail = NULL;
	mp_queue_unlock();
	mp_handle_free(MP_STREAM, s);
}

static struct CUstream_st *per_thread(struct CUctx_st *ctx)
{
	struct own *o;

	for (o = own_streams; o; o = o->next)
		if (o->ctx == ctx && o->ctx_id == ctx->id)
			return o->stream;
	o = malloc(sizeof(*o));
	if (!o)
		return NULL;
	*o = (struct own){ctx, ctx->id, mp_stream_new(ctx, CU_STREAM_DEFAULT, 0), own_streams};
	if (!o->stream) {
		free(o);
		return NULL;
	}
	o->stream->per_thread = true;
	own_streams = o;
	return o->stream;
}

void mp_context_thread_exit(void)
{
	struct own *o;

	while ((o = own_streams)) {
		own_streams = o->next;
		pthread_mutex_lock(&mp_soft.state);
		if (mp_context_live(o->ctx) && o->ctx->active && o->ctx->id == o->ctx_id &&
		    mp_handle_live(MP_STREAM, o->stream))
			mp_stream_free(o->stream);
		pthread_mutex_unlock(&mp_soft.state);
		free(o);
	}
}

CUresult mp_stream_find(struct CUctx_st *ctx, CUstream h, struct CUstream_st **ret)
{
	if (MP_LIKELY((uintptr_t)h > 2)) {
		if (!mp_handle_live(MP_STREAM, h))
			return CUDA_ERROR_INVALID_HANDLE;
		*ret = h;
		return CUDA_SUCCESS;
	}
	if (h == CU_STREAM_PER_THREAD || (!h && mp_default_stream)) {
		*ret = per_thread(ctx);
		return *ret ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret = ctx->legacy;
	return ctx->legacy ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult mp_stream_chain(struct CUstream_st *s, struct mp_op *op)
{
	struct CUctx_st *ctx = s->ctx;
	CUresult r = mp_op_after(op, s->tail);

	if (s->legacy) {
		struct CUstream_st *t;
		unsigned i;

		for (t = ctx->streams; t && !r; t = t->next)
			if (!(t->flags & CU_STREAM_NON_BLOCKING))
				r = mp_op_after(op, t->tail);
		for (i = 0; i < ctx->norphans && !r; i++)
			r = mp_op_after(op, ctx->orphans[i]);
	} else if (!(s->flags & CU_STREAM_NON_BLOCKING) && ctx->legacy) {
		if (!r)
			r = mp_op_after(op, ctx->legacy->tail);
	}
	mp_op_unref(s->tail);
	s->tail = mp_op_ref(op);
	return r;
}

CUresult mp_stream_submit(struct CUstream_st *s, struct mp_work *own_work, struct mp_op **ret_op)
{
	struct mp_op *op;
	bool ready;
	CUresult r;
	int c = mp_capture_work(s, own_work);

	if (ret_op)
		*ret_op = NULL;
	if (MP_UNLIKELY(c))
		return c > 0 ? CUDA_SUCCESS : (CUresult)-c;
	if (MP_UNLIKELY(mp_soft.config.null_mode) &&
	    (own_work->kind == MP_WORK_KERNEL || own_work->kind == MP_WORK_COPY ||
	     own_work->kind == MP_WORK_FILL)) {
		/* Done at once, and nothing. */
		mp_work_fini(own_work);
		return CUDA_SUCCESS;
	}
	if (MP_UNLIKELY(s->ctx->pending > QUEUE_LIMIT) && !mp_in_callback) {
		mp_queue_lock();
		op = s->tail ? mp_op_ref(s->tail) : NULL;
		mp_queue_unlock();
		mp_op_wait(op);
		mp_op_unref(op);
	}
	op = mp_op_new(own_work);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->here = ret_op != NULL;
	mp_queue_lock();
	r = mp_stream_chain(s, op);
	if (r) /* an order that cannot be kept must not run: empty it */
		op->work.kind = MP_WORK_EMPTY;
	ready = mp_op_commit_locked(op);
	if (!ready)
		op->here = false;
	mp_queue_unlock();
	if (ready)
		mp_op_run(op);
	if (ret_op)
		*ret_op = op;
	else
		mp_op_unref(op);
	return r;
}

CUresult mp_stream_wait(struct CUstream_st *s)
{
	struct mp_op *op;

	if (s->legacy) {
		/* An empty op gathers what the legacy stream would wait for. */
		struct mp_work w = {.kind = MP_WORK_EMPTY, .ctx = s->ctx};
		CUresult r = mp_stream_submit(s, &w, &op);

		if (r)
			return r;
	} else {
		mp_queue_lock();
		op = s->tail ? mp_op_ref(s->tail) : NULL;
		mp_queue_unlock();
	}
	mp_op_wait(op);
	mp_op_unref(op);
	return (CUresult)s->ctx->error;
}

/* ---- The calls ---- */

#define STREAM(s, h)                                                                               \
	struct CUstream_st *s;                                                                     \
	MP_ENTER(ctx);                                                                             \
	do {                                                                                       \
		CUresult mp_r = mp_stream_find(ctx, h, &s);                                        \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
	} while (0)

CUresult cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority)
{
	MP_ENTER(ctx);
	if (!phStream || flags > CU_STREAM_NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	*phStream = mp_stream_new(ctx, flags, priority);
	return *phStream ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamCreate(CUstream *phStream, unsigned int Flags)
{
	return cuStreamCreateWithPriority(phStream, Flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream hStream)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mp_handle_live(MP_STREAM, hStream) || hStream->legacy || hStream->per_thread)
		return CUDA_ERROR_INVALID_HANDLE;
	mp_stream_free(hStream);
	return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream hStream)
{
	return cuStreamDestroy_v2(hStream);
}

CUresult cuStreamSynchronize(CUstream hStream)
{
	CUresult r;
	STREAM(s, hStream);

	r = mp_capture_forbid(s);
	if (r)
		return r;
	r = mp_stream_wait(s);
	mp_pool_settle(s->ctx);
	mp_print_flush(s->ctx);
	return r;
}

CUresult cuStreamQuery(CUstream hStream)
{
	bool busy;
	CUresult r;
	STREAM(s, hStream);

	r = mp_capture_forbid(s);
	if (r)
		return r;
	mp_queue_lock();
	busy = s->tail && s->tail->state != MP_OP_DONE;
	if (s->legacy) {
		struct CUstream_st *t;

		for (t = s->ctx->streams; t && !busy; t = t->next)
			busy = !(t->flags & CU_STREAM_NON_BLOCKING) && t->tail &&
			       t->tail->state != MP_OP_DONE;
	}
	mp_queue_unlock();
	if (s->ctx->error)
		return (CUresult)s->ctx->error;
	return busy ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream hStream, int *priority)
{
	STREAM(s, hStream);
	if (!priority)
		return CUDA_ERROR_INVALID_VALUE;
	*priority = s->priority;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetFlags(CUstream hStream, unsigned int *flags)
{
	STREAM(s, hStream);
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = s->flags;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream hStream, unsigned long long *streamId)
{
	STREAM(s, hStream);
	if (!streamId)
		return CUDA_ERROR_INVALID_VALUE;
	*streamId = s->id;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream hStream, CUcontext *pctx)
{
	STREAM(s, hStream);
	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	*pctx = s->ctx;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx_v2(CUstream hStream, CUcontext *pCtx, CUgreenCtx *pGreenCtx)
{
	CUresult r = cuStreamGetCtx(hStream, pCtx);

	if (!r && pGreenCtx)
		*pGreenCtx = NULL;
	return r;
}

CUresult cuStreamGetDevice(CUstream hStream, CUdevice *device)
{
	STREAM(s, hStream);
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = s->ctx->device->ordinal;
	return CUDA_SUCCESS;
}

static bool stream_attribute(CUstreamAttrID a)
{
	return a == CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW ||
	       a == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY ||
	       a == CU_LAUNCH_ATTRIBUTE_PRIORITY || a == CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN ||
	       a == CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP;
}

CUresult cuStreamSetAttribute(CUstream hStream, CUstreamAttrID attr, const CUstreamAttrValue *param)
{
	STREAM(s, hStream);
	if (!param || !stream_attribute(attr))
		return CUDA_ERROR_INVALID_VALUE;
	mp_queue_lock();
	s->attrs[attr] = *param;
	if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY)
		s->priority = param->priority < -5 ? -5 : param->priority > 0 ? 0 : param->priority;
	mp_queue_unlock();
	return CUDA_SUCCESS;
}

CUresult cuStreamGetAttribute(CUstream hStream, CUstreamAttrID attr, CUstreamAttrValue *value)
{
	STREAM(s, hStream);
	if (!value || !stream_attribute(attr))
		return CUDA_ERROR_INVALID_VALUE;
	*value = s->attrs[attr];
	if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY)
		value->priority = s->priority;
	if (attr == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY && !value->syncPolicy)
		value->syncPolicy = CU_SYNC_POLICY_AUTO;
	return CUDA_SUCCESS;
}

CUresult cuStreamCopyAttributes(CUstream dstStream, CUstream srcStream)
{
	struct CUstream_st *d;
	CUresult r;
	STREAM(s, srcStream);

	r = mp_stream_find(ctx, dstStream, &d);
	if (r)
		return r;
	mp_queue_lock();
	memcpy(d->attrs, s->attrs, sizeof(d->attrs));
	mp_queue_unlock();
	return CUDA_SUCCESS;
}

CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length,
				unsigned int flags)
{
	struct mp_range range;
	struct mp_work w = {.kind = MP_WORK_EMPTY};
	STREAM(s, hStream);

	if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
	    flags != CU_MEM_ATTACH_SINGLE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_span(dptr, length ? length : 1, &range) || range.kind != MP_RANGE_MANAGED)
		return CUDA_ERROR_INVALID_VALUE;
	w.ctx = s->ctx;
	return mp_stream_submit(s, &w, NULL);
}

static CUresult host_submit(CUstream h, enum mp_work_kind kind, CUhostFn fn,
			    CUstreamCallback callback, void *data)
{
	struct mp_work w = {.kind = kind};
	STREAM(s, h);

	if (!fn && !callback)
		return CUDA_ERROR_INVALID_VALUE;
	if (kind == MP_WORK_CALLBACK) {
		CUresult r = mp_capture_forbid(s); /* callbacks cannot be captured */

		if (r)
			return r;
	}
	w.ctx = s->ctx;
	w.host.fn = fn;
	w.host.callback = callback;
	w.host.data = data;
	w.host.stream = h;
	return mp_stream_submit(s, &w, NULL);
}

CUresult cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void *userData)
{
	return host_submit(hStream, MP_WORK_HOST, fn, NULL, userData);
}

CUresult cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void *userData,
			     unsigned int flags)
{
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	return host_submit(hStream, MP_WORK_CALLBACK, NULL, callback, userData);
}
