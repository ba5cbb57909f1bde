/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: their life, their charge, their events, and waiting for all that
 * they have queued.
 */
#include "worker/inside.h"

#include <stdlib.h>

#include "base/log.h"

static __thread CUcontext current; /* of this thread, as the driver has it */

struct context *mp_context_find(struct mp_worker *w, uint32_t id)
{
	struct object *o = id ? mp_object_find(w, MP_KIND_context, id) : NULL;

	return o && o->state == OBJECT_LIVE ? o->own : NULL;
}

CUresult mp_context_current(struct mp_worker *w, struct context *c)
{
	CUresult e;

	if (MP_LIKELY(current == c->handle))
		return CUDA_SUCCESS;
	e = w->drv.cuCtxSetCurrent(c->handle);
	current = e ? NULL : c->handle;
	return e;
}

CUevent mp_event_take(struct mp_worker *w, struct context *c)
{
	CUevent e = NULL;

	pthread_mutex_lock(&c->event_lock);
	if (c->event_count)
		e = c->events[--c->event_count];
	pthread_mutex_unlock(&c->event_lock);
	if (!e && w->drv.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING))
		return NULL;
	return e;
}

void mp_event_give(struct mp_worker *w, struct context *c, CUevent e)
{
	bool kept = true;

	pthread_mutex_lock(&c->event_lock);
	if (c->event_count == c->event_cap) {
		unsigned cap = c->event_cap ? c->event_cap * 2 : 64;
		CUevent *p = cap > 65536 ? NULL : realloc(c->events, cap * sizeof(*p));

		if (p) {
			c->events = p;
			c->event_cap = cap;
		} else {
			kept = false;
		}
	}
	if (kept)
		c->events[c->event_count++] = e;
	pthread_mutex_unlock(&c->event_lock);
	if (!kept)
		(void)w->drv.cuEventDestroy_v2(e);
}

/* ---- Life ---- */

/* What a context of this process costs; asked of the driver, or measured with a second context. */
static uint64_t context_cost(struct mp_worker *w, unsigned dev)
{
	struct device *d = &w->device[dev];
	size_t before = 0, after = 0, total;
	CUcontext extra;

	if (d->context_memory != UINT64_MAX)
		return d->context_memory;
	d->context_memory = 0;
	if (!w->drv.cuMemGetInfo_v2 || !w->drv.cuCtxCreate_v2 || w->drv.cuMemGetInfo_v2(&before, &total))
		return 0;
	if (w->drv.cuCtxCreate_v2(&extra, 0, d->handle))
		return 0;
	if (!w->drv.cuMemGetInfo_v2(&after, &total) && after < before)
		d->context_memory = before - after;
	(void)w->drv.cuCtxDestroy_v2(extra);
	current = NULL;
	return d->context_memory;
}

static CUresult context_make(struct mp_worker *w, struct context *c, unsigned flags)
{
	struct device *d = &w->device[c->device];
	uint64_t cost = d->context_memory == UINT64_MAX ? 0 : d->context_memory;
	CUresult e;

	if (mp_account_take(w, (unsigned)c->device, cost))
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->charged = cost;
	if (c->primary) {
		if (w->drv.cuDevicePrimaryCtxSetFlags_v2)
			(void)w->drv.cuDevicePrimaryCtxSetFlags_v2(d->handle, flags);
		e = w->drv.cuDevicePrimaryCtxRetain(&c->handle, d->handle);
	} else {
		e = w->drv.cuCtxCreate_v2(&c->handle, flags, d->handle);
		current = NULL; /* creation makes it current */
	}
	if (!e)
		e = mp_context_current(w, c);
	if (!e && d->context_memory == UINT64_MAX) {
		cost = context_cost(w, (unsigned)c->device);
		(void)mp_context_current(w, c);
		if (mp_account_take(w, (unsigned)c->device, cost))
			e = CUDA_ERROR_OUT_OF_MEMORY;
		else
			c->charged = cost;
	}
	if (e && c->handle) {
		if (c->primary)
			(void)w->drv.cuDevicePrimaryCtxRelease_v2(d->handle);
		else
			(void)w->drv.cuCtxDestroy_v2(c->handle);
		current = NULL;
	}
	if (e)
		mp_account_put(w, (unsigned)c->device, c->charged);
	return e;
}

CUresult mp_do_context(struct mp_job *job, const struct mp_msg_context *m)
{
	struct mp_worker *w = job->w;
	struct context *c;
	struct object *o;
	unsigned i;
	CUresult e;

	if (m->device < 0 || (unsigned)m->device >= w->devices || !m->context) {
		job->violation = true;
		return CUDA_ERROR_INVALID_DEVICE;
	}
	o = mp_object_find(w, MP_KIND_context, m->context);
	if (o && o->state != OBJECT_COMING) {
		job->violation = true;
		return CUDA_ERROR_INVALID_HANDLE;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->w = w;
	c->id = m->context;
	c->device = m->device;
	c->primary = m->primary;
	pthread_mutex_init(&c->event_lock, NULL);
	mp_stream_init(&c->legacy, c, NULL, 0, true);
	for (i = 0; i < MP_CONTEXT_STREAMS; i++)
		mp_stream_init(&c->own[i], c, NULL, 0, false);
	e = context_make(w, c, m->flags);
	if (!e)
		e = mp_job_bind(job, MP_KIND_context, m->context, c->handle);
	if (!e)
		e = mp_stage_start(w, c);
	if (e) {
		mp_log(MP_LOG_WARN, "worker", "context", "device=%d error=%d", m->device, e);
		pthread_mutex_destroy(&c->event_lock);
		free(c);
		if ((o = mp_object_find(w, MP_KIND_context, m->context)))
			o->state = OBJECT_FAILED;
		return e;
	}
	mp_object_find(w, MP_KIND_context, m->context)->own = c;
	c->next = w->contexts;
	w->contexts = c;
	return CUDA_SUCCESS;
}

/* The context goes, with all that lives in it; its memory when the completion thread has let go of it. */
void mp_context_fini(struct mp_worker *w, struct context *c, bool driver)
{
	struct context **at;
	struct stream *s;

	for (at = &w->contexts; *at && *at != c; at = &(*at)->next)
		;
	if (*at)
		*at = c->next;
	for (s = c->streams; s; s = s->next)
		if (s->id)
			mp_object_drop(w, MP_KIND_stream, s->id);
	if (driver && c->primary) {
		/* What is left in it must not come back with the next retain. */
		if (w->drv.cuDevicePrimaryCtxReset_v2)
			(void)w->drv.cuDevicePrimaryCtxReset_v2(w->device[c->device].handle);
		(void)w->drv.cuDevicePrimaryCtxRelease_v2(w->device[c->device].handle);
	} else if (driver) {
		(void)w->drv.cuCtxDestroy_v2(c->handle);
	}
	current = NULL;
	c->clock[0] = c->clock[1] = NULL; /* gone with it */
	mp_array_context_gone(w, c);
	mp_texture_context_gone(w, c);
	mp_account_put(w, (unsigned)c->device, c->charged);
	pthread_mutex_lock(&w->wait_lock);
	c->next = w->dead;
	w->dead = c;
	pthread_mutex_unlock(&w->wait_lock);
}

static bool stream_idle(const struct stream *s)
{
	return !s->q.active && !s->side_q.active && !atomic_load(&s->q.pending) &&
	       !atomic_load(&s->side_q.pending);
}

static bool context_idle(const struct context *c)
{
	const struct stream *s;
	unsigned i;

	for (i = 0; i < MP_CONTEXT_STREAMS; i++)
		if (!stream_idle(&c->own[i]))
			return false;
	for (s = c->streams; s; s = s->next)
		if (!stream_idle(s))
			return false;
	for (s = c->doomed; s; s = s->next)
		if (!stream_idle(s))
			return false;
	return stream_idle(&c->legacy);
}

static void free_streams(struct stream *s)
{
	while (s) {
		struct stream *next = s->next;

		free(s);
		s = next;
	}
}

void mp_context_free_dead(struct mp_worker *w)
{
	struct context **at, *c;
	struct fence *f;

	pthread_mutex_lock(&w->wait_lock);
	for (at = &w->dead; (c = *at);) {
		if (!context_idle(c)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free_streams(c->streams);
		free_streams(c->doomed);
		while ((f = c->fences)) {
			c->fences = f->next;
			free(f);
		}
		pthread_mutex_destroy(&c->event_lock);
		free(c->events);
		free(c);
	}
	pthread_mutex_unlock(&w->wait_lock);
}

static void context_passed(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct context *c = job->state;
	uint32_t id = c->id;

	mp_context_fini(w, c, true);
	mp_object_drop(w, MP_KIND_context, id);
	job->ctx = NULL;
	mp_job_finish(job, CUDA_SUCCESS);
}

CUresult mp_do_context_end(struct mp_job *job, const struct mp_msg_context_end *m)
{
	struct context *c = mp_context_find(job->w, m->context);

	if (!c) {
		struct object *o = mp_object_find(job->w, MP_KIND_context, m->context);

		if (!o || o->state != OBJECT_FAILED)
			job->violation = true;
		mp_object_drop(job->w, MP_KIND_context, m->context);
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	job->state = c;
	if (mp_job_hold(job, context_passed))
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_context_barrier(job, c, -1);
	return CUDA_SUCCESS;
}

/* ---- Barriers ---- */

static void barrier_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct mp_job *job = wt->arg;
	unsigned left = atomic_fetch_sub(&job->count, 1) - 1;

	if (!left)
		mp_exec_loose(job);
}

static void barrier_stream(struct mp_job *job, struct stream *s)
{
	if (s->issued == atomic_load(&s->completed) && !atomic_load(&s->q.pending) &&
	    !atomic_load(&s->side_q.pending))
		return;
	if (mp_stream_capturing(job->w, s))
		return;
	atomic_fetch_add(&job->count, 1);
	mp_wait_add(job->w, s->ctx, &s->q, s->handle, barrier_passed, job, 0, 0);
	if (s->side) {
		atomic_fetch_add(&job->count, 1);
		mp_wait_add(job->w, s->ctx, &s->side_q, s->side, barrier_passed, job, 0, 0);
	}
}

void mp_context_barrier(struct mp_job *job, struct context *c, int dev)
{
	struct mp_worker *w = job->w;
	struct context *at;
	struct stream *s;
	unsigned i;

	/* One for ourselves, so that it cannot reach 0 while we count. */
	atomic_store(&job->count, 1);
	for (at = w->contexts; at; at = at->next) {
		if (dev < 0 ? at != c : at->device != dev)
			continue;
		if (mp_context_current(w, at))
			continue;
		barrier_stream(job, &at->legacy);
		for (s = at->streams; s; s = s->next)
			barrier_stream(job, s);
		/* Destroyed ones left a wait behind their work; what is behind that needs no event. */
		for (s = at->doomed; s; s = s->next)
			if (atomic_load(&s->q.pending)) {
				atomic_fetch_add(&job->count, 1);
				mp_wait_event(w, at, &s->q, NULL, barrier_passed, job, 0, 0);
			}
		for (i = 0; i < MP_CONTEXT_STREAMS; i++)
			if (at->own[i].handle)
				barrier_stream(job, &at->own[i]);
	}
	if (job->ctx)
		(void)mp_context_current(w, job->ctx);
	if (atomic_fetch_sub(&job->count, 1) == 1)
		mp_exec_loose(job);
}
