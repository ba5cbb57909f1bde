/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from the client to the device.
 *
 * Small copies carry theirs in the record and go through a slab.  Of large ones
 * the record and the bytes travel on different lanes and meet here, by ticket,
 * whichever comes first.  A chunk is uploaded as soon as it is here and the
 * copy's turn has come, on the private side stream of the target stream:
 *
 *	target:	...work | event A			  wait B | later work
 *	side:		  wait A | chunk chunk chunk | event B
 *
 * The job is held until the last chunk has been given to the driver; what the
 * client sends for the target stream meanwhile is parked behind it.
 *
 * Executor and bulk thread meet under upload_lock, which is held over driver
 * calls that only queue.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

#define EARLY_CEILING (1ull << 30) /* bytes of copies whose record is not here yet */
#define SPILL_CEILING (8ull << 30) /* bytes that have come and cannot be uploaded yet */
#define AHEAD_MOST    (MP_STAGE_CHUNKS / 2) /* pinned chunks in flight whose stream has not got there */

/* Chunks of an upload that were issued before its stream had got there. Guarded by upload_lock. */
struct turn {
	unsigned ahead;
};

struct upload {
	struct upload *next;
	uint64_t ticket;
	struct mp_job *job; /* NULL: the record is not here yet */
	uint64_t total, got, issued;
	/* where to: memory of ours, or the device */
	uint8_t *memory;
	CUdeviceptr dst;
	struct context *ctx;
	struct stream *stream;
	CUstream side;
	bool sync, started;
	bool turn;	   /* the stream has got there: what is issued comes back soon */
	struct turn *ahead; /* until then; the wait's own */
	bool waited; /* by a thread, in mp_upload_wait(); there is no job */
	CUresult error;
	struct chunk *first, **tail; /* have come, not issued */
	void (*then)(struct mp_job *);
};

static struct upload *find(struct mp_worker *w, uint64_t ticket)
{
	struct upload *u;

	for (u = w->uploads; u && u->ticket != ticket; u = u->next)
		;
	return u;
}

static struct upload *find_or_make(struct mp_worker *w, uint64_t ticket)
{
	struct upload *u = find(w, ticket);

	if (u)
		return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->ticket = ticket;
	u->tail = &u->first;
	u->next = w->uploads;
	w->uploads = u;
	return u;
}

static void unlink_upload(struct mp_worker *w, struct upload *u)
{
	struct upload **at;

	for (at = &w->uploads; *at != u; at = &(*at)->next)
		assert(*at);
	*at = u->next;
}

/* ---- Small copies ---- */

CUresult mp_upload_inline(struct mp_job *job, CUdeviceptr dst, const void *p, size_t n, bool sync)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->stream;
	uint8_t *stage;
	CUresult e;

	if (!n)
		return CUDA_SUCCESS;
	stage = mp_slab_take(w, s, n);
	if (!stage)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(stage, p, n);
	e = w->drv.cuMemcpyHtoDAsync_v2(dst, stage, n, s->handle);
	if (!e && sync)
		s->ctx->dirty = s;
	return e;
}

/* ---- Chunks ---- */

static void chunk_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	mp_stage_give(&w->up, wt->arg);
	mp_upload_spilled(w);
}

/* upload_lock held. A pinned chunk that comes free may be what a spilled one waits for. */
static void give(struct mp_worker *w, struct chunk *c)
{
	w->up_returned |= c->pinned;
	w->early_bytes -= c->pinned ? 0 : c->n;
	mp_stage_give(&w->up, c);
}

/* upload_lock held; the chunk is pinned. */
static void issue(struct mp_worker *w, struct upload *u, struct chunk *c)
{
	CUresult e = mp_context_current(w, u->ctx);

	if (!e)
		e = w->drv.cuMemcpyHtoDAsync_v2(u->dst + c->offset, c->data, c->n, u->side);
	if (e && !u->error)
		u->error = e;
	u->issued += c->n;
	if (e) {
		give(w, c);
		return;
	}
	if (!u->turn) {
		u->ahead->ahead++;
		w->up_ahead++;
	}
	mp_wait_add(w, u->ctx, &u->stream->side_q, u->side, chunk_passed, c, 0, 0);
}

static void chunk_move(struct chunk *to, const struct chunk *from)
{
	memcpy(to->data, from->data, from->n);
	to->n = from->n;
	to->offset = from->offset;
}

/*
 * upload_lock held.  A pinned chunk for u: a free one, or, when its stream has got there,
 * one of an upload that cannot go on anyway, whose bytes move to plain memory.  (What an
 * upload that can go on has pinned, it has issued.)
 */
static struct chunk *pinned_for(struct mp_worker *w, const struct upload *u)
{
	struct chunk *c = mp_stage_take(w, &w->up, false), *heap, **at;
	struct upload *v;

	for (v = c || !u->turn ? NULL : w->uploads; v; v = v->next) {
		for (at = &v->first; *at && !(*at)->pinned; at = &(*at)->next)
			;
		if (v == u || !(c = *at))
			continue;
		heap = mp_chunk_spill(c->n);
		if (!heap)
			return NULL;
		chunk_move(heap, c);
		w->early_bytes += heap->n;
		heap->next = c->next;
		*at = heap;
		if (!heap->next)
			v->tail = &heap->next;
		c->next = NULL;
		return c;
	}
	return c;
}

/* upload_lock held: gives the driver what can be given. Chunks name their place: any order will do. */
static void issue_all(struct mp_worker *w, struct upload *u)
{
	struct chunk **at = &u->first, *c, *p;
	bool none = false;

	while ((c = *at) && (u->turn || w->up_ahead < AHEAD_MOST)) {
		p = c->pinned ? c : none ? NULL : pinned_for(w, u);
		if (!p) {
			none = true;
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (!*at)
			u->tail = at;
		if (p != c) {
			chunk_move(p, c);
			give(w, c);
		}
		issue(w, u, p);
	}
}

/* upload_lock held: issues what can be. true: the upload is complete and was taken from the list. */
static bool advance(struct mp_worker *w, struct upload *u)
{
	struct chunk *c;

	if ((!u->job && !u->waited) || !u->started)
		return false;
	while (u->memory && (c = u->first)) {
		memcpy(u->memory + c->offset, c->data, c->n);
		u->issued += c->n;
		u->first = c->next;
		if (!u->first)
			u->tail = &u->first;
		give(w, c);
	}
	if (!u->memory)
		issue_all(w, u);
	if (u->issued < u->total)
		return false;
	unlink_upload(w, u);
	if (u->waited) {
		u->waited = false;
		pthread_cond_broadcast(&w->upload_wake);
		return false;
	}
	return true;
}

/* One pass over all uploads; true: another one may find more. */
static bool advance_all(struct mp_worker *w)
{
	struct upload *u, *next;
	struct mp_job *done[8];
	bool left = false, again;
	unsigned n = 0;

	pthread_mutex_lock(&w->upload_lock);
	atomic_store(&w->spilled, false);
	w->up_returned = false;
	for (u = w->uploads; u && n < MP_ARRAY_LEN(done); u = next) {
		next = u->next;
		if (advance(w, u))
			done[n++] = u->job;
		else
			left |= u->first != NULL;
	}
	again = u || w->up_returned;
	if (left || again)
		atomic_store(&w->spilled, true);
	pthread_mutex_unlock(&w->upload_lock);
	while (n)
		mp_exec_loose(done[--n]);
	return again;
}

/*
 * Pinned chunks have come free, or an upload's turn has come: spilled chunks may move into
 * them.  Whoever brings that about calls this afterwards, so that none is left behind: a
 * chunk that finds no pinned one is in the list and `spilled` is set before upload_lock is
 * let go, and every pinned one is free, in flight (its wait calls this), in the reader's
 * hand (it will be filed), or in the list of an upload that cannot go on (it is taken).
 */
void mp_upload_spilled(struct mp_worker *w)
{
	while (atomic_load(&w->spilled) && advance_all(w))
		;
}

/*
 * A frame of lane 1, its bytes in c (taken over).  -1: the client broke the
 * rules.  Bulk thread.
 */
int mp_upload_frame(struct mp_worker *w, const struct mp_frame *f, struct chunk *c)
{
	struct mp_job *job = NULL;
	struct upload *u;
	bool returned;
	int r = 0;

	c->n = f->length;
	c->offset = f->extra;
	pthread_mutex_lock(&w->upload_lock);
	u = find_or_make(w, f->ticket);
	if (!u || f->extra > UINT64_MAX - f->length ||
	    ((u->job || u->waited) && (f->extra + f->length > u->total || u->got + f->length > u->total)) ||
	    (!u->job && !u->waited && u->got + f->length > EARLY_CEILING)) {
		r = -1;
	} else {
		u->got += f->length;
		c->next = NULL;
		*u->tail = c;
		u->tail = &c->next;
		if (!c->pinned) {
			w->early_bytes += c->n;
			atomic_store(&w->spilled, true);
			if (w->early_bytes > SPILL_CEILING)
				r = -1;
		}
		if (!r && advance(w, u))
			job = u->job;
	}
	returned = w->up_returned;
	pthread_mutex_unlock(&w->upload_lock);
	if (r && (!u || u->tail != &c->next))
		mp_stage_give(&w->up, c);
	if (job)
		mp_exec_loose(job);
	if (returned)
		mp_upload_spilled(w);
	return r;
}

/* ---- Large copies ---- */

/* All chunks are queued on the side stream: the target stream goes on behind them. */
static void bulk_issued(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct upload *u = job->state;
	struct stream *s = u->stream;
	CUresult e = u->error;
	CUevent ev = mp_event_take(w, u->ctx);

	if (!e && !ev)
		e = CUDA_ERROR_OUT_OF_MEMORY;
	if (!e)
		e = w->drv.cuEventRecord(ev, u->side);
	if (!e)
		e = w->drv.cuStreamWaitEvent(s->handle, ev, 0);
	if (!e && u->sync) {
		mp_fence_remember(w, u->ctx, job->ticket, s, ev);
		ev = NULL;
	}
	if (ev)
		mp_event_give(w, u->ctx, ev);
	mp_stream_used(w, s);
	free(u);
	job->state = NULL;
	mp_job_finish(job, e);
}

static int enter(struct mp_job *job, struct upload *proto, struct upload **ret)
{
	struct mp_worker *w = job->w;
	struct upload *u;
	int r = 0;

	pthread_mutex_lock(&w->upload_lock);
	u = find_or_make(w, job->ticket);
	if (!u || u->job || u->got > proto->total) {
		r = -1;
	} else {
		struct chunk *c;

		u->job = job;
		u->total = proto->total;
		u->memory = proto->memory;
		u->dst = proto->dst;
		u->ctx = proto->ctx;
		u->stream = proto->stream;
		u->side = proto->side;
		u->sync = proto->sync;
		u->error = proto->error;
		for (c = u->first; c; c = c->next)
			if (c->offset > u->total || c->n > u->total - c->offset)
				r = -1;
	}
	pthread_mutex_unlock(&w->upload_lock);
	*ret = u;
	return r;
}

/* The copy's turn has come: what is here goes out, and what comes from now on. */
static void start(struct mp_worker *w, struct upload *u)
{
	struct mp_job *job = u->job;
	bool done;

	pthread_mutex_lock(&w->upload_lock);
	u->started = true;
	done = advance(w, u);
	pthread_mutex_unlock(&w->upload_lock);
	if (done)
		mp_exec_loose(job);
	mp_upload_spilled(w);
}

static void turn_come(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct turn *t = wt->arg;
	struct upload *u;

	pthread_mutex_lock(&w->upload_lock);
	w->up_ahead -= t->ahead;
	u = find(w, wt->ticket);
	if (u && u->ahead == t) {
		u->turn = true;
		u->ahead = NULL;
	}
	atomic_store(&w->spilled, true);
	pthread_mutex_unlock(&w->upload_lock);
	free(t);
	mp_upload_spilled(w);
}

/*
 * The side stream waits for the target stream, which may wait for what another upload
 * brings: so only some of the pinned chunks go ahead of their turn.  -1: no memory.
 */
static int turn_wait(struct mp_job *job, struct upload *u)
{
	struct mp_worker *w = job->w;

	u->turn = w->drv.cuStreamQuery && w->drv.cuStreamQuery(job->stream->handle) != CUDA_ERROR_NOT_READY;
	if (u->turn)
		return 0;
	u->ahead = calloc(1, sizeof(*u->ahead));
	if (!u->ahead)
		return -1;
	mp_wait_add(w, job->ctx, &job->stream->q, job->stream->handle, turn_come, u->ahead, job->ticket, 0);
	return 0;
}

static void pull_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	mp_say(w, MP_FRAME_PULL, wt->ticket, 0, NULL, 0);
}

CUresult mp_upload_bulk(struct mp_job *job, CUdeviceptr dst, size_t n, bool sync)
{
	struct mp_worker *w = job->w;
	struct upload proto = {.total = n, .dst = dst, .ctx = job->ctx, .stream = job->stream, .sync = sync};
	struct upload *u;

	if (!n) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	/* The bytes have to be taken in even when the driver refuses. */
	proto.error = mp_stream_fork(w, job->stream, &proto.side);
	if (mp_job_hold(job, bulk_issued))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (enter(job, &proto, &u)) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	job->state = u;
	if (turn_wait(job, u))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (job->rec->flags & MP_REC_PULL)
		mp_wait_behind(w, job->ctx, &job->stream->q, job->stream->handle, pull_passed, NULL, job->ticket, 0);
	start(w, u);
	return CUDA_SUCCESS;
}

int mp_upload_wait(struct mp_worker *w, uint64_t ticket, void *to, size_t n)
{
	struct upload *u;
	int r = -1;

	mp_say(w, MP_FRAME_PULL, ticket, 0, NULL, 0);
	pthread_mutex_lock(&w->upload_lock);
	u = find_or_make(w, ticket);
	if (u && !u->job && !u->waited && u->got <= n) {
		u->memory = to;
		u->total = n;
		u->started = u->waited = true;
		(void)advance(w, u);
		while (u->waited && !atomic_load(&w->ended))
			pthread_cond_wait(&w->upload_wake, &w->upload_lock);
		r = u->waited ? -1 : 0;
		if (!r)
			free(u);
	}
	pthread_mutex_unlock(&w->upload_lock);
	return r;
}

static void memory_here(struct mp_job *job)
{
	struct upload *u = job->state;
	void (*then)(struct mp_job *) = u->then;

	free(u);
	job->state = NULL;
	then(job);
}

/* The job is held; job->state is ours until `then`. */
int mp_upload_memory(struct mp_job *job, void *to, size_t n, void (*then)(struct mp_job *))
{
	struct upload proto = {.total = n, .memory = to};
	struct upload *u;

	assert(job->held && n);
	if (enter(job, &proto, &u)) {
		job->violation = true;
		return -1;
	}
	u->then = then;
	job->state = u;
	job->resume = memory_here;
	start(job->w, u);
	return 0;
}

/* ---- Lane 1 ---- */

void *mp_upload_main(void *worker)
{
	struct mp_worker *w = worker;

	while (!atomic_load(&w->ended)) {
		struct mp_frame f;
		struct chunk *c;

		if (mp_recv_all(w->lane[1], &f, sizeof(f)))
			break;
		if (f.kind != MP_FRAME_BULK || f.flags || f.ack || !f.length || f.length > MP_CHUNK_MAX) {
			mp_end(w, MP_WORKER_EXIT_PROTOCOL, "a frame on the bulk lane that is none");
			break;
		}
		c = mp_stage_take(w, &w->up, false);
		if (!c)
			c = mp_upload_patience(w, f.length);
		if (!c) {
			mp_end(w, MP_WORKER_EXIT_LOST, "out of memory");
			break;
		}
		if (mp_recv_all(w->lane[1], c->data, f.length))
			break;
		if (mp_upload_frame(w, &f, c)) {
			mp_end(w, MP_WORKER_EXIT_PROTOCOL, "bulk bytes that nothing asked for");
			break;
		}
	}
	return NULL;
}

/* Pinned memory is short: a moment for the device to give some back, then plain memory. */
struct chunk *mp_upload_patience(struct mp_worker *w, size_t n)
{
	struct chunk *c = mp_stage_take_until(w, &w->up, 2000000);

	return c ? c : mp_chunk_spill(n);
}

void mp_upload_fini(struct mp_worker *w)
{
	struct upload *u;
	struct chunk *c;

	while ((u = w->uploads)) {
		w->uploads = u->next;
		while ((c = u->first)) {
			u->first = c->next;
			mp_stage_give(&w->up, c);
		}
		free(u);
	}
}

/* ---- Records ---- */

static CUresult copy_in(struct mp_job *job, CUdeviceptr dst, const void *p, uint64_t have, uint64_t n, bool sync)
{
	if (n && mp_stream_capturing(job->w, job->stream))
		return mp_graph_capture_linear(job, dst, p, have, n, true);
	if (job->rec->flags & MP_REC_BULK) {
		if (have) {
			job->violation = true;
			return CUDA_ERROR_INVALID_VALUE;
		}
		return mp_upload_bulk(job, dst, n, sync);
	}
	if (have != n || n > MP_INLINE_MAX) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	return mp_upload_inline(job, dst, p, n, sync);
}

CUresult mp_do_cuMemcpyHtoD_v2(struct mp_job *job, const struct mp_msg_cuMemcpyHtoD_v2 *m)
{
	/* A client that waits for the device needs no fence. */
	return copy_in(job, m->dstDevice, m->srcHost, m->srcHost_len, m->ByteCount, !(job->rec->flags & MP_REC_DONE));
}

CUresult mp_do_cuMemcpyHtoDAsync_v2(struct mp_job *job, const struct mp_msg_cuMemcpyHtoDAsync_v2 *m)
{
	return copy_in(job, m->dstDevice, m->srcHost, m->srcHost_len, m->ByteCount, false);
}
