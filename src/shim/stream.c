/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: created and destroyed one-way; questions and waits on finished work stay at home. */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

struct mp_stream *mp_stream_new(struct mp_ctx *c, unsigned flags, int priority)
{
	struct mp_stream *s = mp_slot_new(MP_KIND_stream);

	if (!s)
		return NULL;
	s->ctx = c;
	s->flags = flags;
	s->priority = priority;
	s->uid = atomic_fetch_add(&mp_shim.uid, 1) + 1;
	pthread_mutex_lock(&mp_objects);
	s->next = c->streams;
	s->prev = &c->streams;
	if (s->next)
		s->next->prev = &s->next;
	c->streams = s;
	pthread_mutex_unlock(&mp_objects);
	return s;
}

void mp_stream_drop(struct mp_stream *s)
{
	pthread_mutex_lock(&mp_objects);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	pthread_mutex_unlock(&mp_objects);
	mp_stream_forget(s);
	mp_slot_free(s);
}

/* The per-thread default stream: a blocking stream of this thread and context. */
static CUresult own_stream(struct mp_thread *t, struct mp_stream **ret)
{
	struct mp_msg_cuStreamCreate m = {.Flags = CU_STREAM_DEFAULT};
	struct mp_own_stream *own = NULL;
	struct mp_stream *s;
	struct mp_out o;
	unsigned i;
	CUresult r;

	for (i = 0; i < t->nown; i++) {
		own = &t->own[i];
		if (own->ctx == t->ctx && own->ctx_uid == t->ctx->uid) {
			*ret = own->stream;
			return CUDA_SUCCESS;
		}
	}
	/* An entry of a context that is gone, or a new one. */
	for (i = 0; i < t->nown && t->own[i].ctx->live && t->own[i].ctx->uid == t->own[i].ctx_uid; i++)
		;
	if (i == MP_ARRAY_LEN(t->own) || !(s = mp_stream_new(t->ctx, 0, 0)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->per_thread = true;
	m.phStream = s->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuStreamCreate, cuStreamCreate, &m, t->ctx->head.id);
	if (r) {
		mp_stream_drop(s);
		return r;
	}
	t->own[i] = (struct mp_own_stream){t->ctx, t->ctx->uid, s};
	if (i == t->nown)
		t->nown++;
	*ret = s;
	return CUDA_SUCCESS;
}

CUresult mp_stream_slow(struct mp_thread *t, CUstream h, struct mp_stream **ret)
{
	struct mp_stream *s;

	if (h == CU_STREAM_PER_THREAD || (!h && mp_default_stream))
		return own_stream(t, ret);
	if (!h || h == CU_STREAM_LEGACY) {
		*ret = t->ctx->legacy;
		return CUDA_SUCCESS;
	}
	s = mp_object(h, MP_KIND_stream);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	return s->ctx == t->ctx ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* For questions: streams of any context; a default stream needs a current one. */
static CUresult any_stream(enum mp_call call, CUstream h, struct mp_thread **t,
			   struct mp_stream **ret)
{
	CUresult r = mp_enter_init(call, t);
	struct mp_stream *s;

	if (r)
		return r;
	s = mp_object(h, MP_KIND_stream);
	if (s) {
		*ret = s;
		return mp_ctx_error(s->ctx);
	}
	if (!(*t)->ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	r = mp_enter_slow((*t)->ctx);
	return r ? r : mp_stream_get(*t, h, ret);
}

static CUresult create(CUstream *ret, unsigned flags, int priority, enum mp_call call)
{
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	int least, greatest;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	if (!ret || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	mp_shim_cuCtxGetStreamPriorityRange(&least, &greatest);
	priority = priority > least ? least : priority < greatest ? greatest : priority;
	s = mp_stream_new(t->ctx, flags, priority);
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (call == MP_CALL_cuStreamCreate) {
		struct mp_msg_cuStreamCreate m = {.phStream = s->head.id, .Flags = flags};

		r = MP_SEND(&o, t, call, cuStreamCreate, &m, t->ctx->head.id);
	} else {
		struct mp_msg_cuStreamCreateWithPriority m = {
			.phStream = s->head.id, .flags = flags, .priority = priority};

		r = MP_SEND(&o, t, call, cuStreamCreateWithPriority, &m, t->ctx->head.id);
	}
	if (r) {
		mp_stream_drop(s);
		return r;
	}
	*ret = (CUstream)s;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamCreate(CUstream *ret, unsigned int flags)
{
	return create(ret, flags, 0, MP_CALL_cuStreamCreate);
}

CUresult mp_shim_cuStreamCreateWithPriority(CUstream *ret, unsigned int flags, int priority)
{
	return create(ret, flags, priority, MP_CALL_cuStreamCreateWithPriority);
}

CUresult mp_shim_cuStreamDestroy_v2(CUstream h)
{
	struct mp_msg_cuStreamDestroy_v2 m;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = mp_enter_init(MP_CALL_cuStreamDestroy_v2, &t);

	if (r)
		return r;
	s = mp_object(h, MP_KIND_stream);
	if (!s || s->legacy || s->per_thread) /* the special values are no handles either */
		return CUDA_ERROR_INVALID_HANDLE;
	if (atomic_load(&s->capture))
		mp_capture_stream_gone(s);
	m.hStream = s->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuStreamDestroy_v2, cuStreamDestroy_v2, &m, s->ctx->head.id);
	if (r)
		return r;
	/*
	 * Its work goes on: who frees memory must still wait for it, so that the legacy
	 * stream stands in for what nobody can name any more.
	 */
	if (!mp_stream_over(s, mp_stream_touched(s)) && !(s->flags & CU_STREAM_NON_BLOCKING))
		mp_stream_issue(s->ctx->legacy, mp_stream_touched(s));
	else if (!mp_stream_over(s, mp_stream_touched(s)))
		mp_max(&s->ctx->legacy->heavy, mp_stream_touched(s));
	mp_stream_drop(s);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamDestroy(CUstream h)
{
	return mp_shim_cuStreamDestroy_v2(h);
}

CUresult mp_shim_cuStreamGetPriority(CUstream h, int *priority)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetPriority, h, &t, &s);

	if (r)
		return r;
	if (!priority)
		return CUDA_ERROR_INVALID_VALUE;
	*priority = s->priority;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamGetFlags(CUstream h, unsigned int *flags)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetFlags, h, &t, &s);

	if (r)
		return r;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = s->flags;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamGetId(CUstream h, unsigned long long *id)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetId, h, &t, &s);

	if (r)
		return r;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = s->uid;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamGetCtx(CUstream h, CUcontext *pctx)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetCtx, h, &t, &s);

	if (r)
		return r;
	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	*pctx = (CUcontext)s->ctx;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamGetCtx_v2(CUstream h, CUcontext *pctx, CUgreenCtx *green)
{
	CUresult r = mp_shim_cuStreamGetCtx(h, pctx);

	if (!r && green)
		*green = NULL;
	return r;
}

CUresult mp_shim_cuStreamGetDevice(CUstream h, CUdevice *device)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetDevice, h, &t, &s);

	if (r)
		return r;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = s->ctx->device;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamSynchronize(CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamSynchronize, h, &t, &s);

	if (r)
		return r;
	if (atomic_load(&s->capture))
		return mp_capture_refuse(s);
	r = s->ctx->captures ? mp_stream_may(t, s) : CUDA_SUCCESS;
	if (r)
		return r;
	return mp_stream_wait(t, MP_CALL_cuStreamSynchronize, s);
}

CUresult mp_shim_cuStreamQuery(CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	uint64_t mark;
	CUresult r = any_stream(MP_CALL_cuStreamQuery, h, &t, &s);

	if (r)
		return r;
	if (atomic_load(&s->capture))
		return mp_capture_refuse(s);
	r = s->ctx->captures ? mp_stream_may(t, s) : CUDA_SUCCESS;
	if (r)
		return r;
	if (mp_stream_over(s, atomic_load(&s->issued)))
		return mp_ctx_error(s->ctx);
	r = mp_stream_mark(t, s, &mark);
	return r ? r : CUDA_ERROR_NOT_READY;
}

CUresult mp_shim_cuStreamWaitEvent(CUstream h, CUevent event, unsigned int flags)
{
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_event *e;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuStreamWaitEvent, &t);

	if (r)
		return r;
	e = mp_object(event, MP_KIND_event);
	if (!e)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_get(t, h, &s);
	if (!r && !e->capture)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	if (e->capture) {
		struct mp_capture *own = atomic_load(&s->capture);

		if (own && own->id != e->capture)
			return CUDA_ERROR_STREAM_CAPTURE_MERGE;
		mp_capture_join(s, e->capture);
		if (!atomic_load(&s->capture))
			return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	} else if (atomic_load(&s->capture) && !(flags & CU_EVENT_WAIT_EXTERNAL) && e->recorded) {
		/* A wait for something outside the capture would be lost in the graph. */
		return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	}
	{
		struct mp_msg_cuStreamWaitEvent m = {
			.hStream = s->head.id, .hEvent = e->head.id, .Flags = flags};

		r = MP_PUT(&o, t, MP_CALL_cuStreamWaitEvent, cuStreamWaitEvent, &m, t->ctx->head.id);
	}
	if (r)
		return r;
	if (!atomic_load(&s->capture)) {
		if (e->stream && e->stream_generation == e->stream->head.generation)
			mp_stream_edge(s, o.ticket, e->stream, atomic_load(&e->recorded));
		mp_max(&s->issued, o.ticket);
		mp_max(&s->gated, o.ticket);
	}
	return mp_out_end(&o);
}

/* ---- Attributes ---- */

CUresult mp_shim_cuStreamSetAttribute(CUstream h, CUstreamAttrID attr, const CUstreamAttrValue *value)
{
	struct mp_msg_cuStreamSetAttribute m = {.attr = attr};
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = any_stream(MP_CALL_cuStreamSetAttribute, h, &t, &s);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY) {
		s->priority = value->priority;
	} else if (attr != CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW &&
		   attr != CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY &&
		   attr != CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN &&
		   attr != CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP) {
		return CUDA_ERROR_INVALID_VALUE;
	}
	m.hStream = s->head.id;
	memcpy(m.value, value, sizeof(m.value));
	return MP_SEND(&o, t, MP_CALL_cuStreamSetAttribute, cuStreamSetAttribute, &m, s->ctx->head.id);
}

CUresult mp_shim_cuStreamGetAttribute(CUstream h, CUstreamAttrID attr, CUstreamAttrValue *value)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = any_stream(MP_CALL_cuStreamGetAttribute, h, &t, &s);

	if (r)
		return r;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY) {
		value->priority = s->priority;
		return CUDA_SUCCESS;
	}
	return mp_refused(MP_CALL_cuStreamGetAttribute);
}

CUresult mp_shim_cuStreamCopyAttributes(CUstream dst, CUstream src)
{
	struct mp_thread *t;
	struct mp_stream *d, *s;
	CUresult r = any_stream(MP_CALL_cuStreamCopyAttributes, dst, &t, &d);

	if (!r)
		r = any_stream(MP_CALL_cuStreamCopyAttributes, src, &t, &s);
	if (!r)
		d->priority = s->priority;
	return r;
}

/* ---- Waits for and writes of values in memory ---- */

/* The device sees, and may write, the value at this address. */
static CUresult value_at(struct mp_thread *t, CUdeviceptr addr, unsigned align)
{
	struct mp_range range;
	CUresult r;

	if (!addr || addr & (align - 1) || !mp_memory_find(addr, &range))
		return CUDA_ERROR_INVALID_VALUE;
	if (range.kind == MP_PINNED && !range.mirrored) {
		r = mp_host_map(t, addr, NULL);
		if (r)
			return r;
	}
	return atomic_load(&mp_shim.hosted) ? mp_mirror_copy(t, addr, align, true) : CUDA_SUCCESS;
}

static CUresult value_op(struct mp_thread *t, enum mp_call call, CUstream h, struct mp_stream **s,
			 CUdeviceptr addr, unsigned align)
{
	CUresult r = mp_enter(call, &t);

	if (!r)
		r = mp_stream_get(t, h, s);
	if (!r)
		r = mp_stream_may(t, *s);
	return r ? r : value_at(t, addr, align);
}

#define VALUE_CALL(X, type, align)                                                                 \
	CUresult mp_shim_##X##_v2(CUstream h, CUdeviceptr addr, type value, unsigned int flags)    \
	{                                                                                          \
		struct mp_msg_##X##_v2 m = {.addr = addr, .value = value, .flags = flags};         \
		struct mp_thread *t = mp_thread_get();                                             \
		struct mp_stream *s;                                                               \
		struct mp_out o;                                                                   \
		CUresult r = t ? value_op(t, MP_CALL_##X##_v2, h, &s, addr, align)                 \
			       : CUDA_ERROR_OUT_OF_MEMORY;                                         \
                                                                                                   \
		if (r)                                                                             \
			return r;                                                                  \
		m.stream = s->head.id;                                                             \
		r = MP_PUT(&o, t, MP_CALL_##X##_v2, X##_v2, &m, t->ctx->head.id);                  \
		if (r)                                                                             \
			return r;                                                                  \
		mp_stream_issue(s, o.ticket);                                                      \
		return mp_out_end(&o);                                                             \
	}                                                                                          \
	CUresult mp_shim_##X(CUstream h, CUdeviceptr addr, type value, unsigned int flags)         \
	{                                                                                          \
		return mp_shim_##X##_v2(h, addr, value, flags);                                    \
	}

VALUE_CALL(cuStreamWaitValue32, cuuint32_t, 4)
VALUE_CALL(cuStreamWaitValue64, cuuint64_t, 8)
VALUE_CALL(cuStreamWriteValue32, cuuint32_t, 4)
VALUE_CALL(cuStreamWriteValue64, cuuint64_t, 8)

CUresult mp_mem_ops_pack(struct mp_thread *t, const CUstreamBatchMemOpParams *p, unsigned n,
			 struct mp_mem_op *op)
{
	bool wide;
	unsigned i;
	CUresult r = CUDA_SUCCESS;

	memset(op, 0, n * sizeof(*op));
	for (i = 0; i < n && !r; i++) {
		op[i].operation = p[i].operation;
		switch (p[i].operation) {
		case CU_STREAM_MEM_OP_WAIT_VALUE_32:
		case CU_STREAM_MEM_OP_WRITE_VALUE_32:
		case CU_STREAM_MEM_OP_WAIT_VALUE_64:
		case CU_STREAM_MEM_OP_WRITE_VALUE_64:
			wide = p[i].operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
			       p[i].operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
			op[i].address = p[i].waitValue.address;
			op[i].value = wide ? p[i].waitValue.value64 : p[i].waitValue.value;
			op[i].flags = p[i].waitValue.flags;
			op[i].alias = p[i].waitValue.alias;
			r = value_at(t, op[i].address, wide ? 8 : 4);
			break;
		case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
		case CU_STREAM_MEM_OP_BARRIER:
			op[i].flags = p[i].memoryBarrier.flags;
			break;
		default:
			r = CUDA_ERROR_INVALID_VALUE;
		}
	}
	return r;
}

CUresult mp_shim_cuStreamBatchMemOp_v2(CUstream h, unsigned int count,
				       CUstreamBatchMemOpParams *p, unsigned int flags)
{
	struct mp_msg_cuStreamBatchMemOp_v2 m = {.ops_count = count, .flags = flags};
	struct mp_mem_op op[MP_MEM_OPS_MOST];
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuStreamBatchMemOp_v2, &t);

	if (r)
		return r;
	if (!p || count > MP_ARRAY_LEN(op) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (!r)
		r = mp_mem_ops_pack(t, p, count, op);
	if (r)
		return r;
	m.stream = s->head.id;
	m.ops = op;
	r = MP_PUT(&o, t, MP_CALL_cuStreamBatchMemOp_v2, cuStreamBatchMemOp_v2, &m, t->ctx->head.id);
	if (r)
		return r;
	mp_stream_issue(s, o.ticket);
	return mp_out_end(&o);
}

CUresult mp_shim_cuStreamBatchMemOp(CUstream h, unsigned int count, CUstreamBatchMemOpParams *p,
				    unsigned int flags)
{
	return mp_shim_cuStreamBatchMemOp_v2(h, count, p, flags);
}
