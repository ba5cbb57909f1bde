/* SPDX-License-Identifier: Apache-2.0 */
/* Events: all one-way but waits for what is not known to be over, and elapsed times. */
#include "shim/shim.h"

#include <stdlib.h>

void mp_event_drop(struct mp_event *e)
{
	pthread_mutex_lock(&mp_objects);
	*e->prev = e->next;
	if (e->next)
		e->next->prev = e->prev;
	pthread_mutex_unlock(&mp_objects);
	mp_slot_free(e);
}

CUresult mp_shim_cuEventCreate(CUevent *ret, unsigned int flags)
{
	struct mp_msg_cuEventCreate m = {.Flags = flags};
	struct mp_thread *t;
	struct mp_event *e;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuEventCreate, &t);

	if (r)
		return r;
	if (!ret || flags & ~7u)
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CU_EVENT_INTERPROCESS) /* another process could not open it: told at once */
		return flags & CU_EVENT_DISABLE_TIMING ? mp_refused(MP_CALL_cuEventCreate)
						       : CUDA_ERROR_INVALID_VALUE;
	e = mp_slot_new(MP_KIND_event);
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e->ctx = t->ctx;
	e->flags = flags;
	pthread_mutex_lock(&mp_objects);
	e->next = t->ctx->events;
	e->prev = &t->ctx->events;
	if (e->next)
		e->next->prev = &e->next;
	t->ctx->events = e;
	pthread_mutex_unlock(&mp_objects);
	m.phEvent = e->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuEventCreate, cuEventCreate, &m, t->ctx->head.id);
	if (r) {
		mp_event_drop(e);
		return r;
	}
	*ret = (CUevent)e;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuEventDestroy_v2(CUevent event)
{
	struct mp_msg_cuEventDestroy_v2 m;
	struct mp_thread *t;
	struct mp_event *e;
	struct mp_out o;
	CUresult r = mp_enter_init(MP_CALL_cuEventDestroy_v2, &t);

	if (r)
		return r;
	e = mp_object(event, MP_KIND_event);
	if (!e)
		return CUDA_ERROR_INVALID_HANDLE;
	m.hEvent = e->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuEventDestroy_v2, cuEventDestroy_v2, &m, e->ctx->head.id);
	if (!r)
		mp_event_drop(e);
	return r;
}

CUresult mp_shim_cuEventDestroy(CUevent event)
{
	return mp_shim_cuEventDestroy_v2(event);
}

CUresult mp_shim_cuEventRecordWithFlags(CUevent event, CUstream h, unsigned int flags)
{
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_event *e;
	struct mp_capture *cap;
	struct mp_out o;
	CUresult r = mp_enter(MP_CALL_cuEventRecord, &t);

	if (r)
		return r;
	e = mp_object(event, MP_KIND_event);
	if (!e)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (!r && e->ctx != s->ctx)
		r = CUDA_ERROR_INVALID_HANDLE;
	if (r)
		return r;
	if (flags) {
		struct mp_msg_cuEventRecordWithFlags m = {
			.hEvent = e->head.id, .hStream = s->head.id, .flags = flags};

		r = MP_PUT(&o, t, MP_CALL_cuEventRecordWithFlags, cuEventRecordWithFlags, &m,
			   t->ctx->head.id);
	} else {
		struct mp_msg_cuEventRecord m = {.hEvent = e->head.id, .hStream = s->head.id};

		r = MP_PUT(&o, t, MP_CALL_cuEventRecord, cuEventRecord, &m, t->ctx->head.id);
	}
	if (r)
		return r;
	cap = atomic_load(&s->capture);
	if (cap && !(flags & CU_EVENT_RECORD_EXTERNAL)) {
		e->capture = cap->id;
	} else if (!cap) {
		e->capture = 0;
		e->stream = s;
		e->stream_generation = s->head.generation;
		atomic_store(&e->recorded, o.ticket);
		mp_max(&s->issued, o.ticket);
		if (!(e->flags & CU_EVENT_DISABLE_TIMING) &&
		    (!t->nclocked || t->clocked[(t->nclocked - 1) % MP_ARRAY_LEN(t->clocked)] != e))
			t->clocked[t->nclocked++ % MP_ARRAY_LEN(t->clocked)] = e;
	}
	return mp_out_end(&o);
}

CUresult mp_shim_cuEventRecord(CUevent event, CUstream h)
{
	return mp_shim_cuEventRecordWithFlags(event, h, 0);
}

/* The event of a question; errors of its context come first. */
static CUresult event_get(enum mp_call call, CUevent event, struct mp_thread **t,
			  struct mp_event **ret)
{
	CUresult r = mp_enter_init(call, t);
	struct mp_event *e;

	if (r)
		return r;
	e = mp_object(event, MP_KIND_event);
	if (!e)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = e;
	return mp_ctx_error(e->ctx);
}

CUresult mp_shim_cuEventQuery(CUevent event)
{
	struct mp_thread *t;
	struct mp_event *e;
	uint64_t ticket;
	CUresult r = event_get(MP_CALL_cuEventQuery, event, &t, &e);

	if (!r && e->capture)
		r = CUDA_ERROR_CAPTURED_EVENT;
	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (mp_event_over(e))
		return mp_ctx_error(e->ctx);
	r = mp_event_watch(t, e, &ticket);
	return r ? r : CUDA_ERROR_NOT_READY;
}

static bool event_there(void *arg)
{
	return mp_event_over(arg);
}

static bool event_told(void *arg)
{
	struct mp_event *e = arg;

	return atomic_load_explicit(&e->timed, memory_order_acquire) >= atomic_load(&e->recorded);
}

/* The time of a recording that is over, when it came by itself or is on its way. */
static bool event_time(struct mp_event *e, int64_t *ret)
{
	uint64_t recorded = atomic_load(&e->recorded);

	if (atomic_load(&e->watched) == recorded && !event_told(e) &&
	    mp_rpc_wait(mp_shim.rpc, event_told, e))
		return false;
	*ret = e->time;
	return atomic_load(&e->timed) == recorded && *ret;
}

CUresult mp_shim_cuEventSynchronize(CUevent event)
{
	struct mp_thread *t;
	struct mp_event *e;
	uint64_t ticket;
	CUresult r = event_get(MP_CALL_cuEventSynchronize, event, &t, &e);

	if (!r && e->capture)
		r = CUDA_ERROR_CAPTURED_EVENT;
	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (t->nclocked)
		mp_events_watch(t);
	if (!mp_event_over(e)) {
		r = mp_event_watch(t, e, &ticket);
		if (r)
			return r;
		/* The WATCH was just put, or earlier: everything up to now leaves. */
		mp_rpc_flush(mp_shim.rpc, atomic_load(&mp_shim.rpc->head) + MP_TICKET_FIRST - 8);
		t->waits[MP_CALL_cuEventSynchronize]++;
		if (mp_rpc_wait(mp_shim.rpc, event_there, e))
			return mp_state_error();
	}
	return mp_ctx_error(e->ctx);
}

CUresult mp_shim_cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end)
{
	struct mp_msg_cuEventElapsedTime_v2 m;
	struct mp_rep_cuEventElapsedTime_v2 reply;
	struct mp_thread *t;
	struct mp_event *a, *b;
	struct mp_answer answer;
	int64_t from, to;
	uint64_t ticket;
	struct mp_out o;
	CUresult r = event_get(MP_CALL_cuEventElapsedTime_v2, start, &t, &a);

	if (!r)
		r = event_get(MP_CALL_cuEventElapsedTime_v2, end, &t, &b);
	if (r)
		return r;
	if (!ms)
		return CUDA_ERROR_INVALID_VALUE;
	if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING || !a->recorded || !b->recorded)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!mp_event_over(a) || !mp_event_over(b)) {
		r = mp_event_watch(t, mp_event_over(a) ? b : a, &ticket);
		return r ? r : CUDA_ERROR_NOT_READY;
	}
	if (a->ctx == b->ctx && event_time(a, &from) && event_time(b, &to)) {
		*ms = (float)((double)(to - from) / 1e6);
		return CUDA_SUCCESS;
	}
	m.hStart = a->head.id;
	m.hEnd = b->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuEventElapsedTime_v2, cuEventElapsedTime_v2, &m, a->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &answer);
	if (!r && mp_get_rep_cuEventElapsedTime_v2(answer.own_data, answer.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r)
		*ms = reply.pMilliseconds;
	free(answer.own_data);
	return r;
}

CUresult mp_shim_cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
	return mp_shim_cuEventElapsedTime_v2(ms, start, end);
}
