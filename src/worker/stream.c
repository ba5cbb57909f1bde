/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: what is queued in them, and what the next use of each must wait for.
 *
 * A fence is an event behind a synchronous copy.  Native code may use the copied
 * bytes from any stream once the call has returned, so every stream waits for
 * the fence before its next operation.  A stream that takes turns with the
 * legacy stream need not wait for a fence on that one.  Nothing is added to a
 * capturing stream: the graph's launch is what waits.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "mp-convert.h"

void mp_stream_init(struct stream *s, struct context *c, CUstream handle, uint32_t id, bool blocking)
{
	*s = (struct stream){.ctx = c, .handle = handle, .id = id, .blocking = blocking};
	s->q.tail = &s->q.first;
	s->side_q.tail = &s->side_q.first;
}

/* A stream has come to life in the driver: what we keep beside it. */
CUresult mp_stream_bind(struct mp_job *job, struct object *o, uint32_t id)
{
	struct mp_worker *w = job->w;
	struct context *c = job->ctx;
	struct stream *s = NULL, **at;
	unsigned flags = 0;

	if (!c) {
		job->violation = true;
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	if (w->drv.cuStreamGetFlags)
		(void)w->drv.cuStreamGetFlags((CUstream)o->handle, &flags);
	for (at = &c->doomed; *at; at = &(*at)->next)
		if (!atomic_load(&(*at)->q.pending) && !atomic_load(&(*at)->side_q.pending)) {
			s = *at;
			*at = s->next;
			break;
		}
	if (!s && !(s = calloc(1, sizeof(*s)))) {
		(void)w->drv.cuStreamDestroy_v2((CUstream)o->handle);
		o->state = OBJECT_FAILED;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	mp_stream_init(s, c, o->handle, id, !(flags & CU_STREAM_NON_BLOCKING));
	o->own = s;
	s->next = c->streams;
	c->streams = s;
	return CUDA_SUCCESS;
}

/* The driver has taken its handle back; waits that lie in it go on. */
void mp_stream_unbind(struct mp_worker *w, uint32_t id)
{
	struct object *o = mp_object_find(w, MP_KIND_stream, id);
	struct stream *s = o && o->state == OBJECT_LIVE ? o->own : NULL, **at;
	struct fence *f;
	unsigned i;

	if (!s)
		return;
	for (at = &s->ctx->streams; *at != s; at = &(*at)->next)
		assert(*at);
	*at = s->next;
	if (s->ctx->dirty == s)
		s->ctx->dirty = NULL;
	for (f = s->ctx->fences; f; f = f->next)
		if (f->stream == s)
			f->stream = NULL;
	for (i = 0; i < MP_ARRAY_LEN(s->ctx->unfenced); i++)
		if (s->ctx->unfenced[i].stream == s)
			s->ctx->unfenced[i].stream = &s->ctx->own[0];
	if (s->capturing) {
		assert(w->captures);
		w->captures--;
	}
	if (s->side)
		(void)w->drv.cuStreamDestroy_v2(s->side);
	s->side = NULL;
	s->next = s->ctx->doomed;
	s->ctx->doomed = s;
}

struct stream *mp_stream_find(struct mp_worker *w, struct context *c, uint32_t id)
{
	struct object *o;

	if (!id)
		return &c->legacy;
	o = mp_object_find(w, MP_KIND_stream, id);
	return o && o->state == OBJECT_LIVE ? o->own : NULL;
}

bool mp_stream_capturing(struct mp_worker *w, struct stream *s)
{
	CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;

	if (MP_LIKELY(!w->captures))
		return false;
	if (s->capturing)
		return true;
	/* Another stream may have drawn it in. A refusal means a capture, too. */
	return w->drv.cuStreamIsCapturing(s->handle, &status) || status != CU_STREAM_CAPTURE_STATUS_NONE;
}

bool mp_stream_full(const struct stream *s)
{
	return s->issued - atomic_load_explicit(&s->completed, memory_order_relaxed) >= MP_STREAM_QUEUE;
}

/* ---- Fences ---- */

static void fence_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct fence *f = wt->arg;

	atomic_store(&f->passed, true);
}

void mp_fence_add(struct mp_worker *w, struct context *c, struct stream *s, CUevent e)
{
	struct fence *f, **at;

	for (at = &c->fences; (f = *at);) {
		if (!atomic_load(&f->passed)) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		mp_event_give(w, c, f->event);
		free(f);
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		mp_end(w, MP_WORKER_EXIT_LOST, "out of memory");
		return;
	}
	f->event = e;
	f->stream = s;
	f->seq = ++w->fence_seq;
	f->next = c->fences;
	c->fences = f;
	mp_wait_event(w, c, &s->q, e, fence_passed, f, 0, 0);
}

void mp_fence_remember(struct mp_worker *w, struct context *c, uint64_t ticket, struct stream *s, CUevent e)
{
	unsigned i = c->unfenced_next++ % MP_ARRAY_LEN(c->unfenced);

	/* A client with more of them unfenced than fit gets the oldest fenced now, which is stricter. */
	if (c->unfenced[i].event)
		mp_fence_add(w, c, c->unfenced[i].stream, c->unfenced[i].event);
	c->unfenced[i].ticket = ticket;
	c->unfenced[i].stream = s;
	c->unfenced[i].event = e;
}

/* What a stream has now, for work that left no event of its own behind. */
static void fence_stream(struct mp_worker *w, struct context *c, uint32_t stream)
{
	struct object *o = stream ? mp_object_find(w, MP_KIND_stream, stream) : NULL;
	struct stream *s = stream ? (o && o->state == OBJECT_LIVE ? o->own : NULL) : &c->legacy;
	CUevent e;

	if (!s || s->ctx != c || mp_stream_capturing(w, s) || mp_context_current(w, c) ||
	    !(e = mp_event_take(w, c)))
		return;
	if (w->drv.cuEventRecord(e, s->handle))
		mp_event_give(w, c, e); /* a broken context orders nothing any more */
	else
		mp_fence_add(w, c, s, e);
}

static void fence_take(struct mp_worker *w, struct context *c, uint64_t ticket, uint32_t stream)
{
	unsigned i;

	for (i = 0; i < MP_ARRAY_LEN(c->unfenced); i++)
		if (c->unfenced[i].event && c->unfenced[i].ticket == ticket) {
			mp_fence_add(w, c, c->unfenced[i].stream, c->unfenced[i].event);
			c->unfenced[i].event = NULL;
			return;
		}
	fence_stream(w, c, stream);
}

static void fence_applied(struct mp_job *job)
{
	struct mp_msg_fence m;

	if (!mp_get_fence((const uint8_t *)(job->rec + 1), job->rec->length - sizeof(*job->rec), &m))
		fence_take(job->w, job->ctx, m.copy, m.stream);
	if (job->ctx->fence_job == job)
		job->ctx->fence_job = NULL;
	mp_job_finish(job, CUDA_SUCCESS);
}

/* Until the copy has been applied, all later records of the context are parked behind this one. */
CUresult mp_do_fence(struct mp_job *job, const struct mp_msg_fence *m)
{
	struct mp_worker *w = job->w;
	struct mp_job *prev;

	if (!job->ctx) {
		job->violation = true;
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	if (!mp_exec_parked(w, m->copy)) {
		fence_take(w, job->ctx, m->copy, m->stream);
		return CUDA_SUCCESS;
	}
	prev = job->ctx->fence_job;
	if (mp_job_hold(job, fence_applied) || mp_exec_depend_parked(job, m->copy) ||
	    (prev && mp_exec_depend_parked(job, prev->ticket))) {
		job->violation = true;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	job->ctx->fence_job = job;
	return CUDA_SUCCESS;
}

/* Synchronous copies that lie at the end of a stream get their fence before anything else does. */
static void fence_dirty(struct mp_worker *w, struct context *c)
{
	struct stream *s = c->dirty;
	CUevent e;

	c->dirty = NULL;
	e = mp_event_take(w, c);
	if (!e || w->drv.cuEventRecord(e, s->handle)) {
		if (e)
			mp_event_give(w, c, e);
		return; /* a broken context orders nothing any more */
	}
	mp_fence_add(w, c, s, e);
}

static CUresult fence_wait(struct mp_worker *w, struct stream *s)
{
	struct context *c;
	struct fence *f;
	CUresult e = CUDA_SUCCESS;

	for (c = w->contexts; c; c = c->next)
		for (f = c->fences; f && !e; f = f->next) {
			if (f->seq <= s->fence_seen || atomic_load(&f->passed) || f->stream == s)
				continue;
			if (f->stream == &s->ctx->legacy && s->blocking)
				continue;
			e = w->drv.cuStreamWaitEvent(s->handle, f->event, 0);
		}
	s->fence_seen = w->fence_seq;
	return e;
}

CUresult mp_stream_use(struct mp_worker *w, struct stream *s, bool copy)
{
	struct context *c = s->ctx;

	if (MP_UNLIKELY(c->dirty && !(copy && c->dirty == s)))
		fence_dirty(w, c);
	if (MP_LIKELY(s->fence_seen == w->fence_seq))
		return CUDA_SUCCESS;
	if (mp_stream_capturing(w, s))
		return CUDA_SUCCESS;
	return fence_wait(w, s);
}

/* ---- Progress ---- */

static void ticked(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct stream *s = wt->arg;

	/* A broken context answers at once: nothing is queued any more. */
	atomic_store(&s->completed, wt->number);
}

void mp_stream_used(struct mp_worker *w, struct stream *s)
{
	s->issued++;
	atomic_fetch_add_explicit(&w->operations, 1, memory_order_relaxed);
	if (MP_LIKELY(s->issued - s->ticked < MP_STREAM_TICK))
		return;
	if (mp_stream_capturing(w, s)) {
		/* What is captured is not queued. */
		s->ticked = s->issued;
		atomic_store(&s->completed, s->issued);
		return;
	}
	s->ticked = s->issued;
	mp_wait_add(w, s->ctx, &s->q, s->handle, ticked, s, 0, s->issued);
}

/*
 * The client is silent: an event behind all that it has queued, so that the
 * lease counts as busy until that is done, however long a kernel takes.
 */
void mp_streams_tick(struct mp_worker *w)
{
	struct context *c;
	struct stream *s;

	for (c = w->contexts; c; c = c->next)
		for (s = &c->legacy; s; s = s == &c->legacy ? c->streams : s->next) {
			if (s->issued == s->ticked || w->captures || mp_context_current(w, c))
				continue;
			s->ticked = s->issued;
			mp_wait_add(w, c, &s->q, s->handle, ticked, s, 0, s->issued);
		}
}

CUresult mp_do_cuStreamDestroy_v2(struct mp_job *job, const struct mp_msg_cuStreamDestroy_v2 *m)
{
	struct mp_worker *w = job->w;
	struct object *o = mp_object_find(w, MP_KIND_stream, m->hStream);
	struct stream *s = o && o->state == OBJECT_LIVE ? o->own : NULL;
	CUresult e;

	if (!s) {
		job->violation = !o || o->state == OBJECT_COMING;
		mp_object_drop(w, MP_KIND_stream, m->hStream);
		return CUDA_ERROR_INVALID_HANDLE;
	}
	if (!mp_stream_capturing(w, s)) {
		/* Its work goes on; who waits for all work must still find it. */
		if (s->slab)
			mp_slab_leave(w, s);
		if (s->issued != atomic_load(&s->completed))
			mp_wait_add(w, s->ctx, &s->q, s->handle, ticked, s, 0, s->issued);
		if (s->ctx->dirty == s)
			fence_dirty(w, s->ctx);
	}
	e = w->drv.cuStreamDestroy_v2(s->handle);
	mp_job_unbind(job, MP_KIND_stream, m->hStream);
	return e;
}

CUstream mp_stream_side(struct mp_worker *w, struct stream *s)
{
	if (!s->side && w->drv.cuStreamCreate(&s->side, CU_STREAM_NON_BLOCKING))
		s->side = NULL;
	return s->side;
}

/* The side stream begins where the target stream is now. */
CUresult mp_stream_fork(struct mp_worker *w, struct stream *s, CUstream *ret)
{
	CUevent ev;
	CUresult e;

	*ret = mp_stream_side(w, s);
	if (!*ret || !(ev = mp_event_take(w, s->ctx)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = w->drv.cuEventRecord(ev, s->handle);
	if (!e)
		e = w->drv.cuStreamWaitEvent(*ret, ev, 0);
	mp_event_give(w, s->ctx, ev); /* waited for as it is now, whatever is recorded later */
	return e;
}

struct stream *mp_stream_own(struct mp_worker *w, struct context *c, unsigned i)
{
	struct stream *s = &c->own[i];

	assert(i < MP_CONTEXT_STREAMS);
	if (!s->handle && w->drv.cuStreamCreate(&s->handle, CU_STREAM_NON_BLOCKING))
		s->handle = NULL;
	return s->handle ? s : NULL;
}

/* What the context's legacy stream has now precedes what `s` does next. */
static CUresult join_legacy(struct mp_worker *w, struct context *c, struct stream *s)
{
	CUresult e = mp_context_current(w, c);
	CUevent ev = NULL;

	if (!e)
		e = mp_stream_use(w, &c->legacy, false);
	if (!e && !(ev = mp_event_take(w, c)))
		e = CUDA_ERROR_OUT_OF_MEMORY;
	if (!e)
		e = w->drv.cuEventRecord(ev, NULL);
	if (!e)
		e = mp_context_current(w, s->ctx);
	if (!e)
		e = w->drv.cuStreamWaitEvent(s->handle, ev, 0);
	if (ev)
		mp_event_give(w, c, ev);
	return e;
}

/*
 * The synchronous copy between contexts is in order with all work of both.  The
 * driver is asked to copy on the record's legacy stream; events before it and a
 * fence behind it do the rest, whatever that driver does by itself.
 */
CUresult mp_do_cuMemcpyPeer(struct mp_job *job, const struct mp_msg_cuMemcpyPeer *m)
{
	struct mp_worker *w = job->w;
	struct context *c[2] = {mp_context_find(w, m->srcContext), mp_context_find(w, m->dstContext)};
	CUevent ev;
	CUresult e = CUDA_SUCCESS;
	unsigned i;
	void *h;

	if (!w->drv.cuMemcpyPeer)
		return CUDA_ERROR_NOT_SUPPORTED;
	for (i = 0; i < 2 && !e; i++) {
		e = mp_job_get(job, MP_KIND_context, i ? m->dstContext : m->srcContext, &h);
		if (!e && !c[i])
			e = CUDA_ERROR_INVALID_CONTEXT;
		if (!e && c[i] != job->ctx)
			e = join_legacy(w, c[i], job->stream);
	}
	if (!e)
		e = mp_context_current(w, job->ctx);
	if (!e)
		e = w->drv.cuMemcpyPeer(m->dstDevice, c[1]->handle, m->srcDevice, c[0]->handle, m->ByteCount);
	if (e)
		return e;
	if (!(ev = mp_event_take(w, job->ctx)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = w->drv.cuEventRecord(ev, job->stream->handle);
	if (e)
		mp_event_give(w, job->ctx, ev);
	else
		mp_fence_add(w, job->ctx, job->stream, ev);
	return e;
}

/* ---- Records ---- */

static void mark_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct stream *s = wt->arg;

	if (wt->number > atomic_load(&s->completed))
		atomic_store(&s->completed, wt->number);
	mp_print_sync(w, status ? NULL : wt->event);
	mp_say_done(w, MP_DONE_STREAM, s->id, wt->ticket, status, 0);
}

CUresult mp_do_mark(struct mp_job *job, const struct mp_msg_mark *m)
{
	struct stream *s = job->stream;

	if (mp_stream_capturing(job->w, s))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	s->ticked = s->issued;
	mp_wait_behind(job->w, job->ctx, &s->q, s->handle, mark_passed, s, job->ticket, s->issued);
	return CUDA_SUCCESS;
}

/*
 * ---- Times of events ----
 *
 * CUDA tells the time between two events as a float of milliseconds.  A clock event of
 * the context, never older than CLOCK_NS when it is used, keeps what is lost by that
 * below the resolution of the device's own; each one's time is told by the one before.
 */
#define CLOCK_NS 50000000u

/* On a stream of ours, which the event passes soon. */
static void clock_wind(struct mp_worker *w, struct context *c, CUstream on)
{
	CUevent *e = &c->clock[c->clock[0] ? 1 : 0];
	uint64_t now = mp_now_ns();

	if ((c->clock[0] && now - c->clock_made < CLOCK_NS) || *e || !w->drv.cuEventElapsedTime ||
	    w->drv.cuEventCreate(e, CU_EVENT_DEFAULT))
		return;
	if (w->drv.cuEventRecord(*e, on)) {
		(void)w->drv.cuEventDestroy_v2(*e);
		*e = NULL;
	}
	c->clock_made = now;
}

/* 0 when it cannot be told. Executor. */
static int64_t clock_read(struct mp_worker *w, struct context *c, CUevent e)
{
	float ms = 0;

	if (!c->clock[0] || mp_context_current(w, c))
		return 0;
	if (c->clock[1] && !w->drv.cuEventElapsedTime(&ms, c->clock[0], c->clock[1])) {
		c->clock_ns += (int64_t)((double)ms * 1e6);
		(void)w->drv.cuEventDestroy_v2(c->clock[0]);
		c->clock[0] = c->clock[1];
		c->clock[1] = NULL;
	}
	if (w->drv.cuEventElapsedTime(&ms, c->clock[0], e))
		return 0;
	return c->clock_ns + (int64_t)((double)ms * 1e6) + 1000000000000000;
}

/*
 * The program may have recorded its event again, which the client knows and then does
 * not use the time, or destroyed it.
 */
static int64_t watched_time(struct mp_worker *w, struct wait *wt)
{
	struct object *o;
	int64_t t = 0;

	mp_exec_enter(w);
	o = mp_object_find(w, MP_KIND_event, (uint32_t)wt->number);
	if (o && o->state == OBJECT_LIVE)
		t = clock_read(w, wt->ctx, o->handle);
	mp_exec_leave(w);
	return t;
}

static void watch_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	mp_print_sync(w, status ? NULL : wt->event);
	mp_say_done(w, MP_DONE_EVENT, (uint32_t)wt->number, wt->ticket, status,
		    wt->arg && !status ? watched_time(w, wt) : 0);
}

/* A stream of ours on which nothing is being watched, if there is one. */
static struct stream *watcher(struct mp_worker *w, struct context *c, uint32_t event)
{
	unsigned i;

	for (i = 1; i < MP_CONTEXT_STREAMS; i++)
		if (!atomic_load(&c->own[i].q.pending))
			return mp_stream_own(w, c, i);
	return mp_stream_own(w, c, 1 + event % (MP_CONTEXT_STREAMS - 1));
}

/*
 * The program may record or destroy its event again at once, so what is asked
 * is an event of ours behind it, on a stream of ours.
 */
CUresult mp_do_watch(struct mp_job *job, const struct mp_msg_watch *m)
{
	struct mp_worker *w = job->w;
	struct context *c = job->ctx;
	struct stream *s;
	void *e;
	CUresult r = mp_job_get(job, MP_KIND_event, m->event, &e);

	if (r)
		return r;
	if (!c || !e) {
		job->violation = true;
		return CUDA_ERROR_INVALID_HANDLE;
	}
	s = watcher(w, c, m->event);
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (job->rec->flags & MP_REC_DONE)
		clock_wind(w, c, s->handle);
	r = w->drv.cuStreamWaitEvent(s->handle, e, 0);
	if (!r) /* the argument only says whether to tell the time */
		mp_wait_behind(w, c, &s->q, s->handle, watch_passed, job->rec->flags & MP_REC_DONE ? c : NULL,
			       job->ticket, m->event);
	return r;
}

/* ---- Capture ---- */

CUresult mp_do_cuStreamBeginCapture_v2(struct mp_job *job, const struct mp_msg_cuStreamBeginCapture_v2 *m)
{
	struct mp_worker *w = job->w;
	CUresult e;

	if (!w->drv.cuStreamBeginCapture_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	/* The client judges what is legal; here, threads of ours must not break a capture. */
	e = w->drv.cuStreamBeginCapture_v2(job->stream->handle, CU_STREAM_CAPTURE_MODE_RELAXED);
	if (!e) {
		job->stream->capturing = true;
		w->captures++;
	}
	return e;
}

CUresult mp_do_cuStreamBeginCaptureToGraph(struct mp_job *job,
					   const struct mp_msg_cuStreamBeginCaptureToGraph *m)
{
	struct mp_worker *w = job->w;
	CUgraphEdgeData *edges = NULL;
	CUgraphNode *nodes;
	void *h;
	CUresult e;
	size_t i;

	if (!w->drv.cuStreamBeginCaptureToGraph)
		return CUDA_ERROR_NOT_SUPPORTED;
	if ((nodes = mp_job_scratch(job, m->numDependencies * sizeof(*nodes))) == NULL)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (m->dependencyData &&
	    (edges = mp_job_scratch(job, m->numDependencies * sizeof(*edges))) == NULL)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < m->numDependencies; i++) {
		if ((e = mp_job_get(job, MP_KIND_node, m->dependencies[i], &h)))
			return e;
		nodes[i] = h;
		if (edges)
			mp_to_edge_data(&edges[i], &m->dependencyData[i]);
	}
	if ((e = mp_job_get(job, MP_KIND_graph, m->hGraph, &h)))
		return e;
	e = w->drv.cuStreamBeginCaptureToGraph(job->stream->handle, h, nodes, edges, m->numDependencies,
					       CU_STREAM_CAPTURE_MODE_RELAXED);
	if (!e) {
		job->stream->capturing = true;
		w->captures++;
	}
	return e;
}

CUresult mp_do_cuStreamEndCapture(struct mp_job *job, const struct mp_msg_cuStreamEndCapture *m,
				  struct mp_rep_cuStreamEndCapture *r)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->stream;
	CUgraph graph = NULL;
	struct object *known;
	CUresult e;

	if (!w->drv.cuStreamEndCapture)
		return CUDA_ERROR_NOT_SUPPORTED;
	e = w->drv.cuStreamEndCapture(s->handle, &graph);
	if (s->capturing) {
		s->capturing = false;
		assert(w->captures);
		w->captures--;
	}
	known = mp_object_find(w, MP_KIND_graph, m->phGraph);
	if (e && known && known->state == OBJECT_LIVE && s->capture_graph == m->phGraph) {
		/* It had been asked for while the capture was on; the driver has dropped it. */
		mp_graph_sweep(w, m->phGraph);
		mp_object_drop(w, MP_KIND_graph, m->phGraph);
	}
	s->capture_graph = 0;
	if (!e && graph && !(known && known->state == OBJECT_LIVE && known->handle == graph))
		e = mp_job_bind(job, MP_KIND_graph, m->phGraph, graph);
	return e;
}

/* A program that adds nodes of its own asks what is there; the graph gets its id then. */
CUresult mp_do_cuStreamGetCaptureInfo_v3(struct mp_job *job, const struct mp_msg_cuStreamGetCaptureInfo_v3 *m,
					 struct mp_rep_cuStreamGetCaptureInfo_v3 *r)
{
	const struct mp_drv *drv = &job->w->drv;
	CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
	const CUgraphEdgeData *edges = NULL;
	const CUgraphNode *deps = NULL;
	CUgraph graph = NULL;
	struct object *o;
	uint32_t *ids;
	size_t n = 0, i;
	CUresult e;

	if (drv->cuStreamGetCaptureInfo_v3)
		e = drv->cuStreamGetCaptureInfo_v3(job->stream->handle, &status, NULL, &graph, &deps, &edges, &n);
	else if (drv->cuStreamGetCaptureInfo_v2)
		e = drv->cuStreamGetCaptureInfo_v2(job->stream->handle, &status, NULL, &graph, &deps, &n);
	else
		e = CUDA_ERROR_NOT_SUPPORTED;
	if (!e && (status != CU_STREAM_CAPTURE_STATUS_ACTIVE || !graph))
		e = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	/* Edges that are not whole dependencies come from launches that are not carried. */
	for (i = 0; !e && edges && i < n; i++)
		if (edges[i].type || edges[i].from_port || edges[i].to_port)
			e = CUDA_ERROR_LOSSY_QUERY;
	if (e)
		return e;
	ids = mp_job_scratch(job, (n + 1) * sizeof(*ids));
	if (!ids)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (m->known) {
		o = mp_object_find(job->w, MP_KIND_graph, m->known);
		if (!o || o->state != OBJECT_LIVE || o->handle != graph)
			return CUDA_ERROR_INVALID_HANDLE;
	} else {
		e = mp_job_bind(job, MP_KIND_graph, m->phGraph, graph);
		if (e)
			return e;
		job->stream->capture_graph = m->phGraph;
	}
	for (i = 0; i < n; i++) {
		ids[i] = mp_node_seen_id(job, deps[i], m->known ? m->known : m->phGraph);
		if (!ids[i])
			return CUDA_ERROR_OUT_OF_MEMORY;
	}
	r->dependencies = ids;
	r->dependencies_count = (uint32_t)n;
	return CUDA_SUCCESS;
}
