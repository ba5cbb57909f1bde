/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: a reference to the operation that recorded them last.
 *
 * An event's time is when that operation was done; waiting on an event is
 * depending on that operation, as it was when the wait was called.
 */
#include "inside.h"

#include <stdlib.h>

#define EVENT(e, h)                                                                                \
	struct CUevent_st *e = h;                                                                  \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		if (!mp_handle_live(MP_EVENT, e))                                                  \
			return CUDA_ERROR_INVALID_HANDLE;                                          \
	} while (0)

static struct mp_op *op_of(struct CUevent_st *e)
{
	struct mp_op *op;

	mp_queue_lock();
	op = e->op ? mp_op_ref(e->op) : NULL;
	mp_queue_unlock();
	return op;
}

CUresult cuEventCreate(CUevent *phEvent, unsigned int Flags)
{
	struct CUevent_st *e;
	MP_ENTER(ctx);

	if (!phEvent || Flags & ~7u)
		return CUDA_ERROR_INVALID_VALUE;
	if (Flags & CU_EVENT_INTERPROCESS)
		return Flags & CU_EVENT_DISABLE_TIMING ? CUDA_ERROR_NOT_SUPPORTED
						       : CUDA_ERROR_INVALID_VALUE;
	e = mp_handle_new(MP_EVENT, sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e->ctx = ctx;
	e->flags = Flags;
	*phEvent = e;
	return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent hEvent)
{
	struct mp_op *op;
	EVENT(e, hEvent);

	mp_graph_lock();
	free(e->nodes);
	e->nodes = NULL;
	e->nnodes = 0;
	mp_graph_unlock();
	mp_queue_lock();
	op = e->op;
	e->op = NULL;
	mp_queue_unlock();
	mp_op_unref(op);
	mp_handle_free(MP_EVENT, e);
	return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent hEvent)
{
	return cuEventDestroy_v2(hEvent);
}

/* Make the op a record of the event; the event holds it from now on. Queue lock not held. */
static void remember(struct CUevent_st *e, struct mp_op *op)
{
	struct mp_op *old;

	mp_queue_lock();
	old = e->op;
	e->op = op;
	mp_queue_unlock();
	mp_op_unref(old);
}

CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags)
{
	struct mp_work w = {.kind = MP_WORK_RECORD};
	struct CUstream_st *s;
	struct mp_op *op;
	bool captured = false;
	CUresult r;
	MP_ENTER(ctx);

	if (flags > CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_EVENT, hEvent))
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	if (s->ctx != hEvent->ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	w.ctx = s->ctx;
	w.event = hEvent;
	if (MP_UNLIKELY(mp_stream_capturing(s))) {
		/* External: a node of the graph that records at each launch. */
		if (flags == CU_EVENT_RECORD_EXTERNAL)
			return mp_stream_submit(s, &w, NULL);
		r = mp_capture_record(s, hEvent, &captured);
		if (r || captured)
			return r;
	}
	if (MP_UNLIKELY(flags == CU_EVENT_RECORD_EXTERNAL))
		return CUDA_ERROR_ILLEGAL_STATE;
	hEvent->capture_id = 0;
	r = mp_stream_submit(s, &w, &op);
	if (!r && op)
		remember(hEvent, op);
	return r;
}

CUresult cuEventRecord(CUevent hEvent, CUstream hStream)
{
	return cuEventRecordWithFlags(hEvent, hStream, CU_EVENT_RECORD_DEFAULT);
}

CUresult cuCtxRecordEvent(CUcontext hCtx, CUevent hEvent)
{
	struct mp_work w = {.kind = MP_WORK_RECORD, .ctx = hCtx};
	struct CUstream_st *s;
	struct mp_op *op;
	bool ready;
	EVENT(e, hEvent);

	if (!mp_context_live(hCtx) || !hCtx->active)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (e->ctx != hCtx)
		return CUDA_ERROR_INVALID_HANDLE;
	w.event = e;
	op = mp_op_new(&w);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_queue_lock();
	for (s = hCtx->streams; s; s = s->next)
		mp_op_after(op, s->tail);
	ready = mp_op_commit_locked(op);
	mp_queue_unlock();
	if (ready)
		mp_op_run(op);
	remember(e, op);
	return CUDA_SUCCESS;
}

CUresult cuCtxWaitEvent(CUcontext hCtx, CUevent hEvent)
{
	struct CUstream_st *s;
	CUresult r = CUDA_SUCCESS;
	EVENT(e, hEvent);

	if (!mp_context_live(hCtx) || !hCtx->active)
		return CUDA_ERROR_INVALID_CONTEXT;
	mp_queue_lock();
	for (s = hCtx->streams; s && !r; s = s->next) {
		struct mp_work w = {.kind = MP_WORK_WAIT, .ctx = hCtx};
		struct mp_op *op;

		if (!e->op || e->op->state == MP_OP_DONE)
			break;
		op = mp_op_new(&w);
		if (!op) {
			r = CUDA_ERROR_OUT_OF_MEMORY;
			break;
		}
		/* It waits for an op that is not done, so it cannot be ready here. */
		r = mp_op_after(op, e->op);
		if (!r)
			r = mp_stream_chain(s, op);
		mp_op_commit_locked(op);
		mp_op_unref(op);
	}
	mp_queue_unlock();
	return r;
}

CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags)
{
	struct mp_work w = {.kind = MP_WORK_WAIT};
	struct CUstream_st *s;
	struct mp_op *op;
	bool captured = false, ready;
	CUresult r;
	MP_ENTER(ctx);

	if (Flags > CU_EVENT_WAIT_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_EVENT, hEvent))
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	w.ctx = s->ctx;
	w.event = hEvent;
	if (MP_UNLIKELY(mp_captures_active)) {
		if (Flags == CU_EVENT_WAIT_EXTERNAL && mp_stream_capturing(s))
			return mp_stream_submit(s, &w, NULL);
		r = mp_capture_wait(s, hEvent, &captured);
		if (r || captured)
			return r;
	}
	mp_queue_lock();
	if (!hEvent->op || hEvent->op->state == MP_OP_DONE) {
		mp_queue_unlock();
		return CUDA_SUCCESS;
	}
	op = mp_op_new(&w);
	if (!op) {
		mp_queue_unlock();
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	r = mp_op_after(op, hEvent->op);
	if (!r)
		r = mp_stream_chain(s, op);
	ready = mp_op_commit_locked(op);
	mp_queue_unlock();
	if (ready)
		mp_op_run(op);
	mp_op_unref(op);
	return r;
}

CUresult cuEventQuery(CUevent hEvent)
{
	struct mp_op *op;
	CUresult r;
	EVENT(e, hEvent);

	r = mp_capture_event_forbid(e);
	if (r)
		return r;
	op = op_of(e);
	r = mp_op_done(op) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
	mp_op_unref(op);
	return e->ctx->error ? (CUresult)e->ctx->error : r;
}

CUresult cuEventSynchronize(CUevent hEvent)
{
	struct mp_op *op;
	CUresult r;
	EVENT(e, hEvent);

	r = mp_capture_event_forbid(e);
	if (r)
		return r;
	op = op_of(e);
	mp_op_wait(op);
	mp_op_unref(op);
	mp_print_flush(e->ctx);
	return (CUresult)e->ctx->error;
}

CUresult cuEventElapsedTime_v2(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
	struct mp_op *a, *b;
	CUresult r = CUDA_SUCCESS;
	EVENT(start, hStart);
	EVENT(end, hEnd);

	if (!pMilliseconds)
		return CUDA_ERROR_INVALID_VALUE;
	if ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING || start->ctx != end->ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	if (start->ctx->error)
		return (CUresult)start->ctx->error;
	a = op_of(start);
	b = op_of(end);
	if (!a || !b)
		r = CUDA_ERROR_INVALID_HANDLE;
	else if (!mp_op_done(a) || !mp_op_done(b))
		r = CUDA_ERROR_NOT_READY;
	else
		*pMilliseconds = (float)((double)(int64_t)(b->finished - a->finished) / 1e6);
	mp_op_unref(a);
	mp_op_unref(b);
	return r;
}

CUresult cuEventElapsedTime(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
	return cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd);
}
