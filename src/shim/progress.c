/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known to be over.
 *
 * A stream has the ticket of its newest operation and the ticket up to which
 * everything is over.  The second moves when the answer to a MARK or WATCH comes
 * in, and carries over: an event's completion is its stream's up to the recording;
 * a stream that waited for another proves the other; work in the legacy stream
 * proves what blocking streams of the context had before it, and the reverse.
 * So once a wait has returned, everything ordered before it answers SUCCESS.
 *
 * `progress` is the one lock that the receiver takes; nothing is reserved, and
 * nobody waits, under it.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define MARK_BUCKETS 1024

/* A MARK or WATCH under way. */
struct mark {
	struct mark *next;
	uint64_t ticket, reached; /* reached: the recording that a WATCH is for */
	struct mp_stream *stream;
	struct mp_event *event;
	uint32_t stream_generation, event_generation;
	struct mp_ctx *ctx;
};

/* A download into pinned memory that may still write. */
struct writer {
	struct writer *next;
	uint64_t ticket, from, to;
};

static pthread_mutex_t progress = PTHREAD_MUTEX_INITIALIZER;
static struct mark *marks[MARK_BUCKETS] MP_GUARDED_BY(progress);
static struct mark *spare MP_GUARDED_BY(progress);
static struct writer *writers MP_GUARDED_BY(progress);
static _Atomic uint32_t nwriters;

static unsigned bucket(uint64_t ticket)
{
	return (unsigned)((ticket >> 3) % MARK_BUCKETS);
}

/* ---- Carrying over ---- */

static void reach(struct mp_stream *s, uint64_t ticket, unsigned depth)
{
	uint32_t i, k = 0;

	if (atomic_load(&s->completed) >= ticket)
		return;
	mp_max(&s->completed, ticket);
	if (s->hosted && s->hosted <= ticket) {
		atomic_store(&s->hosted, 0);
		atomic_fetch_sub(&mp_shim.host_pending, 1);
	}
	for (i = 0; i < s->nedges; i++) {
		struct mp_edge *e = &s->edges[i];

		if (e->ticket > ticket) {
			s->edges[k++] = *e;
		} else if (depth < 32 && e->src->head.generation == e->src_generation) {
			reach(e->src, e->src_ticket, depth + 1);
		}
	}
	s->nedges = k;
	if (s->ctx && s->ctx->legacy && !s->legacy && !(s->flags & CU_STREAM_NON_BLOCKING) &&
	    depth < 32) {
		/* The legacy stream's work before this point was waited for by it. */
		uint64_t legacy = atomic_load(&s->ctx->legacy->issued);

		if (legacy && legacy < ticket)
			reach(s->ctx->legacy, legacy, depth + 1);
	}
}

void mp_stream_reached(struct mp_stream *s, uint64_t ticket)
{
	pthread_mutex_lock(&progress);
	reach(s, ticket, 0);
	pthread_mutex_unlock(&progress);
}

void mp_stream_host(struct mp_stream *s, uint64_t ticket)
{
	pthread_mutex_lock(&progress);
	if (!s->hosted)
		atomic_fetch_add(&mp_shim.host_pending, 1);
	if (s->hosted < ticket)
		s->hosted = ticket;
	pthread_mutex_unlock(&progress);
}

bool mp_stream_over(struct mp_stream *s, uint64_t ticket)
{
	struct mp_stream *l;

	if (!ticket || atomic_load_explicit(&s->completed, memory_order_acquire) >= ticket)
		return true;
	if (s->legacy || s->flags & CU_STREAM_NON_BLOCKING)
		return false;
	l = s->ctx->legacy;
	return l && atomic_load_explicit(&l->completed, memory_order_acquire) > ticket;
}

void mp_stream_edge(struct mp_stream *s, uint64_t at, struct mp_stream *src, uint64_t ticket)
{
	struct mp_edge *e;

	if (s == src || mp_stream_over(src, ticket))
		return;
	pthread_mutex_lock(&progress);
	e = s->nedges ? &s->edges[s->nedges - 1] : NULL;
	if (e && e->src == src && e->src_generation == src->head.generation &&
	    e->src_ticket >= ticket)
		goto out; /* the last wait said as much */
	if (s->nedges == s->cap_edges) {
		uint32_t n = s->cap_edges ? 2 * s->cap_edges : 8;
		struct mp_edge *p = realloc(s->edges, n * sizeof(*p));

		if (!p)
			goto out; /* less is known at once; nothing is wrong */
		s->edges = p;
		s->cap_edges = n;
	}
	s->edges[s->nedges++] = (struct mp_edge){
		.ticket = at, .src_ticket = ticket, .src = src,
		.src_generation = src->head.generation};
out:
	pthread_mutex_unlock(&progress);
}

void mp_stream_forget(struct mp_stream *s)
{
	pthread_mutex_lock(&progress);
	free(s->edges);
	s->edges = NULL;
	s->nedges = s->cap_edges = 0;
	if (s->hosted) {
		s->hosted = 0;
		atomic_fetch_sub(&mp_shim.host_pending, 1);
	}
	pthread_mutex_unlock(&progress);
}

/* ---- Marks ---- */

static struct mark *mark_new(uint64_t ticket)
{
	struct mark *m;

	pthread_mutex_lock(&progress);
	m = spare;
	if (m)
		spare = m->next;
	else
		m = malloc(sizeof(*m));
	if (m) {
		memset(m, 0, sizeof(*m));
		m->ticket = ticket;
	}
	pthread_mutex_unlock(&progress);
	return m;
}

static void mark_add(struct mark *m)
{
	pthread_mutex_lock(&progress);
	m->next = marks[bucket(m->ticket)];
	marks[bucket(m->ticket)] = m;
	pthread_mutex_unlock(&progress);
}

CUresult mp_stream_mark(struct mp_thread *t, struct mp_stream *s, uint64_t *ret)
{
	struct mp_msg_mark m = {.stream = s->head.id};
	uint64_t issued = atomic_load(&s->issued), marked = atomic_load(&s->marked);
	struct mp_out o;
	struct mark *k;
	CUresult r;

	if (marked > issued) {
		*ret = marked;
		return CUDA_SUCCESS;
	}
	r = MP_PUT(&o, t, MP_REC_mark, mark, &m, s->ctx->head.id);
	if (r)
		return r;
	k = mark_new(o.ticket);
	if (k) {
		k->stream = s;
		k->stream_generation = s->head.generation;
		k->ctx = s->ctx;
		mark_add(k);
	}
	mp_max(&s->marked, o.ticket);
	mp_out_send(&o);
	*ret = o.ticket;
	return k ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_event_watch(struct mp_thread *t, struct mp_event *e, uint64_t *ret)
{
	struct mp_msg_watch m = {.event = e->head.id};
	uint64_t recorded = atomic_load(&e->recorded);
	struct mp_out o;
	struct mark *k;
	CUresult r;

	*ret = recorded;
	if (atomic_load(&e->watched) == recorded)
		return CUDA_SUCCESS;
	r = MP_PUT(&o, t, MP_REC_watch, watch, &m, e->ctx->head.id);
	if (r)
		return r;
	if (!(e->flags & CU_EVENT_DISABLE_TIMING))
		o.rec->flags |= MP_REC_DONE;
	k = mark_new(o.ticket);
	if (k) {
		k->event = e;
		k->event_generation = e->head.generation;
		k->stream = e->stream;
		k->stream_generation = e->stream_generation;
		k->reached = recorded;
		k->ctx = e->ctx;
		mark_add(k);
		atomic_store(&e->watched, recorded);
	}
	mp_out_send(&o);
	return k ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void mp_events_watch(struct mp_thread *t)
{
	unsigned n = t->nclocked < MP_ARRAY_LEN(t->clocked) ? t->nclocked : MP_ARRAY_LEN(t->clocked), i;
	uint64_t ticket;

	t->nclocked = 0;
	for (i = 0; i < n; i++) {
		struct mp_event *e = t->clocked[i];

		/* A slot may have become another event: watching that one harms nobody. */
		if (mp_object(e, MP_KIND_event) && e->ctx == t->ctx && !e->capture && atomic_load(&e->recorded) &&
		    mp_event_watch(t, e, &ticket))
			return;
	}
}

bool mp_event_over(struct mp_event *e)
{
	uint64_t recorded = atomic_load(&e->recorded);

	if (!recorded || atomic_load(&e->completed) >= recorded)
		return true;
	return e->stream && e->stream->head.generation == e->stream_generation &&
	       mp_stream_over(e->stream, recorded);
}

/* ---- The receiver's side ---- */

void mp_progress_done(void *arg, const struct mp_done *d)
{
	struct mark **p, *m;

	pthread_mutex_lock(&progress);
	for (p = &marks[bucket(d->ticket)]; *p && (*p)->ticket != d->ticket; p = &(*p)->next)
		;
	m = *p;
	if (!m) { /* progress that was not asked for, or a mark whose stream is gone */
		pthread_mutex_unlock(&progress);
		return;
	}
	*p = m->next;
	if (d->status)
		mp_ctx_latch(m->ctx, (CUresult)d->status);
	if (m->event && m->event->head.generation == m->event_generation) {
		mp_max(&m->event->completed, m->reached);
		/* Recorded again meanwhile: the time may be of either recording. */
		m->event->time = atomic_load(&m->event->recorded) == m->reached ? d->time : 0;
		mp_max(&m->event->timed, m->reached);
	}
	if (m->stream && m->stream->head.generation == m->stream_generation)
		reach(m->stream, m->event ? m->reached : m->ticket, 0);
	m->next = spare;
	spare = m;
	pthread_mutex_unlock(&progress);
	if (MP_UNLIKELY(atomic_load_explicit(&mp_shim.provisional, memory_order_relaxed)))
		mp_mirror_passed();
}

void mp_progress_copied(void *arg, uint64_t ticket, uint32_t status)
{
	struct writer **p, *w;

	pthread_mutex_lock(&progress);
	for (p = &writers; (w = *p); p = &w->next)
		if (w->ticket == ticket) {
			*p = w->next;
			free(w);
			atomic_fetch_sub(&nwriters, 1);
			break;
		}
	pthread_mutex_unlock(&progress);
}

void mp_progress_error(void *arg, uint64_t ticket, uint32_t ctx, uint32_t status, uint32_t call)
{
	const struct mp_call_info *info = mp_call_find(call);
	struct mp_ctx *c = ctx ? mp_slot_by_id(MP_KIND_context, ctx) : NULL;

	mp_log(MP_LOG_WARN, "shim", "late-error", "call=%s status=%u ticket=%llu",
	       info ? info->name : "?", status, (unsigned long long)ticket);
	if (c)
		mp_ctx_latch(c, (CUresult)status);
}

void mp_progress_lost(void *arg)
{
	/* Every entry looks at the session's own word; waits end by themselves. */
}

/* ---- Pinned memory that downloads write ---- */

int mp_writer_add(uint64_t ticket, void *p, size_t n)
{
	struct writer *w = malloc(sizeof(*w));

	if (!w)
		return -1;
	*w = (struct writer){.ticket = ticket, .from = (uintptr_t)p, .to = (uintptr_t)p + n};
	pthread_mutex_lock(&progress);
	w->next = writers;
	writers = w;
	atomic_fetch_add(&nwriters, 1);
	pthread_mutex_unlock(&progress);
	return 0;
}

bool mp_writer_pending(const void *p, size_t n)
{
	uint64_t from = (uintptr_t)p, to = from + n;
	struct writer *w;

	if (!atomic_load(&nwriters))
		return false;
	pthread_mutex_lock(&progress);
	for (w = writers; w && (w->to <= from || w->from >= to); w = w->next)
		;
	pthread_mutex_unlock(&progress);
	return w;
}

/* ---- Waiting ---- */

struct until {
	struct mp_stream *s;
	uint64_t ticket;
};

static bool stream_there(void *arg)
{
	struct until *u = arg;

	return mp_stream_over(u->s, u->ticket);
}

CUresult mp_stream_wait(struct mp_thread *t, enum mp_call call, struct mp_stream *s)
{
	struct until u = {s, atomic_load(&s->issued)};
	struct mp_ctx *c = s->ctx;
	uint64_t mark;
	CUresult r;

	if (t->nclocked)
		mp_events_watch(t);
	if (mp_stream_over(s, u.ticket))
		return mp_ctx_error(c);
	r = mp_stream_mark(t, s, &mark);
	if (r)
		return r;
	mp_rpc_flush(mp_shim.rpc, mark);
	if (!stream_there(&u)) {
		t->waits[call]++;
		if (mp_rpc_wait(mp_shim.rpc, stream_there, &u))
			return mp_state_error();
	}
	return mp_ctx_error(c);
}

/* All streams of the context: the marks leave together, so that it costs one round trip. */
CUresult mp_ctx_wait(struct mp_thread *t, enum mp_call call, struct mp_ctx *c)
{
	struct until busy[64];
	uint64_t mark, last = 0;
	unsigned n = 0, i;
	bool more = true;
	CUresult r = CUDA_SUCCESS;

	if (t->nclocked)
		mp_events_watch(t);
	while (more && !r) {
		struct mp_stream *s;

		more = false;
		n = 0;
		pthread_mutex_lock(&mp_objects);
		for (s = c->legacy; s; s = s == c->legacy ? c->streams : s->next) {
			uint64_t issued = atomic_load(&s->issued);

			if (atomic_load(&s->capture) || mp_stream_over(s, issued))
				continue;
			if (n == MP_ARRAY_LEN(busy)) {
				more = true;
				break;
			}
			busy[n++] = (struct until){s, issued};
		}
		pthread_mutex_unlock(&mp_objects);
		for (i = 0; i < n && !r; i++) {
			if (!mp_object(busy[i].s, MP_KIND_stream))
				continue;
			r = mp_stream_mark(t, busy[i].s, &mark);
			last = mark > last ? mark : last;
		}
		if (!n || r)
			break;
		mp_rpc_flush(mp_shim.rpc, last);
		t->waits[call]++;
		for (i = 0; i < n; i++)
			if (mp_object(busy[i].s, MP_KIND_stream) &&
			    mp_rpc_wait(mp_shim.rpc, stream_there, &busy[i]))
				return mp_state_error();
	}
	return r ? r : mp_ctx_error(c);
}

/* ---- Synchronous work that may be held up ---- */

/*
 * One thread of the program, beside our own: whatever it does next comes after the
 * call that it is in.  Unknown counts as no.
 */
static bool alone(void)
{
	struct stat st;

	/* The system call, since the name differs in C libraries before 2.33. */
	return !syscall(SYS_stat, "/proc/self/task", &st) &&
	       st.st_nlink == 2u + 1u + atomic_load(&mp_shim.own_threads);
}

static bool hazard(struct mp_stream *s)
{
	uint64_t heavy = atomic_load(&s->heavy), gated = atomic_load(&s->gated);

	return !mp_stream_over(s, heavy > gated ? heavy : gated);
}

/* Something that may take for ever lies before what comes next in this stream. */
static bool behind_hazard(struct mp_stream *s)
{
	struct mp_ctx *c = s->ctx;
	struct mp_stream *b;
	bool found = hazard(s);

	if (s->flags & CU_STREAM_NON_BLOCKING && !s->legacy)
		return found;
	if (!s->legacy)
		return found || (c->legacy && hazard(c->legacy));
	pthread_mutex_lock(&mp_objects);
	for (b = c->streams; b && !found; b = b->next)
		found = !(b->flags & CU_STREAM_NON_BLOCKING) && hazard(b);
	pthread_mutex_unlock(&mp_objects);
	return found;
}

bool mp_stream_held(struct mp_stream *s, uint64_t ticket)
{
	const struct mp_thread *threads = mp_threads();

	/* With others about, what they have reserved before us is first written down in their streams. */
	if (threads && threads->next)
		mp_rpc_settle(mp_shim.rpc, ticket);
	return behind_hazard(s) && !alone();
}

bool mp_work_over(uint64_t before)
{
	struct mp_ctx *c;
	struct mp_stream *s;
	bool over = true;

	pthread_mutex_lock(&mp_objects);
	for (c = mp_shim.contexts; c && over; c = c->next)
		for (s = c->live ? c->legacy : NULL; s && over;
		     s = s == c->legacy ? c->streams : s->next) {
			uint64_t touched = mp_stream_touched(s);

			over = touched < before ? mp_stream_over(s, touched)
						: mp_stream_over(s, before);
		}
	pthread_mutex_unlock(&mp_objects);
	return over;
}
