/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from the device to the client.
 *
 * Small copies land in a slab and travel on lane 0 before their completion.
 * Large ones wait on the side stream of their stream until that has got there;
 * only then do they take staging chunks, so that a copy behind a long kernel
 * keeps none from others.  The sender thread pushes what has landed, and gives
 * the driver the next piece of the same copy for the chunk that came free.  The
 * job is held until the last piece has been given to the driver.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

#define PIECES 8 /* of one copy in flight */

struct download {
	struct download *next;
	struct mp_worker *w;
	struct mp_job *job; /* held until all is issued; NULL afterwards */
	uint64_t ticket;
	bool reply;
	struct context *ctx;
	struct stream *stream;
	CUstream side;
	CUdeviceptr src;
	uint64_t total, issued, landed, sent;
	CUresult error;
	uint8_t *whole; /* a copy that landed in one piece, in pinned memory of its own */
};

/* The answer, once all bytes are on their way. Sender or completion thread. */
void mp_download_answer(struct mp_worker *w, uint64_t ticket, bool reply, CUresult status)
{
	if (reply) {
		struct mp_rep_cuMemcpyDtoH_v2 r = {.result = (uint32_t)status};
		uint8_t body[64] __attribute__((aligned(8)));

		assert(mp_size_rep_cuMemcpyDtoH_v2(&r) <= sizeof(body));
		mp_put_rep_cuMemcpyDtoH_v2(body, &r);
		mp_say_reply(w, ticket, status, body, mp_size_rep_cuMemcpyDtoH_v2(&r));
	} else {
		struct mp_done d = {
			.kind = MP_DONE_COPY,
			.ticket = ticket,
			.status = (uint32_t)status,
			.bulk = w->out[1] ? mp_outlet_count(w->out[1]) : 0,
		};

		mp_say(w, MP_FRAME_DONE, 0, 1, &d, sizeof(d));
	}
}

/* ---- Small ---- */

struct small {
	uint8_t *stage;
	size_t n;
	struct slab *slab;
	bool reply;
};

static void small_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct small *sm = wt->arg;

	mp_print_sync(w, status ? NULL : wt->event);
	if (!status)
		mp_say(w, MP_FRAME_DATA, wt->ticket, 0, sm->stage, sm->n);
	mp_download_answer(w, wt->ticket, sm->reply, status);
	atomic_fetch_sub(&w->downloads, 1);
	mp_slab_drop(w, sm->slab);
	free(sm);
}

static CUresult small(struct mp_job *job, CUdeviceptr src, size_t n, bool reply)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->stream;
	struct small *sm = malloc(sizeof(*sm));
	CUresult e;

	if (!sm)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*sm = (struct small){.n = n, .reply = reply};
	sm->stage = mp_slab_take(w, s, n);
	e = sm->stage ? w->drv.cuMemcpyDtoHAsync_v2(sm->stage, src, n, s->handle) : CUDA_ERROR_OUT_OF_MEMORY;
	if (e) {
		free(sm);
		return e;
	}
	sm->slab = s->slab;
	mp_slab_hold(sm->slab);
	atomic_fetch_add(&w->downloads, 1);
	job->later = true;
	mp_wait_add(w, job->ctx, &s->q, s->handle, small_passed, sm, job->ticket, 0);
	return CUDA_SUCCESS;
}

/* ---- Large ---- */

static void send_later(struct mp_worker *w, struct chunk *c)
{
	pthread_mutex_lock(&w->send_lock);
	c->next = NULL;
	atomic_fetch_add(&w->pieces_queued, 1);
	*w->send_tail = c;
	w->send_tail = &c->next;
	pthread_cond_signal(&w->send_wake);
	pthread_mutex_unlock(&w->send_lock);
}

static void piece_landed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct chunk *c = wt->arg;
	struct download *d = c->owner;

	if (status && !d->error)
		d->error = status;
	send_later(w, c);
}

/* Gives the driver the next piece. Sender thread, which alone uses the side stream now. */
static void issue(struct mp_worker *w, struct download *d, struct chunk *c)
{
	uint64_t left = d->total - d->issued;
	CUresult e;

	c->owner = d;
	c->offset = d->issued;
	c->n = left < MP_STAGE_CHUNK ? left : MP_STAGE_CHUNK;
	d->issued += c->n;
	e = mp_context_current(w, d->ctx);
	if (!e)
		e = w->drv.cuMemcpyDtoHAsync_v2(c->data, d->src + c->offset, c->n, d->side);
	if (e) {
		if (!d->error)
			d->error = e;
		send_later(w, c);
		return;
	}
	mp_wait_add(w, d->ctx, &d->stream->side_q, d->side, piece_landed, c, 0, 0);
}

static void all_issued(struct download *d)
{
	struct mp_job *job = d->job;

	if (!job || d->issued < d->total)
		return;
	d->job = NULL;
	mp_exec_loose(job);
}

static void finish(struct mp_worker *w, struct download *d)
{
	mp_download_answer(w, d->ticket, d->reply, d->error);
	atomic_fetch_sub(&w->downloads, 1);
	free(d);
}

/* The chunk's bytes go out; then it carries the next piece, or is free. */
static void send_piece(struct mp_worker *w, struct chunk *c)
{
	struct download *d = c->owner;
	struct mp_frame f = {.kind = MP_FRAME_BULK, .ticket = d->ticket, .extra = c->offset};

	if (!d->error && w->out[1] && mp_outlet_push(w->out[1], f, c->data, c->n) < 0)
		mp_end(w, MP_WORKER_EXIT_LOST, "the bulk lane is lost");
	d->sent += c->n;
	if (d->issued < d->total && d->error) /* nothing more will come of it */
		d->sent += d->total - d->issued, d->issued = d->total;
	if (d->issued < d->total)
		issue(w, d, c);
	else
		mp_stage_give(&w->down, c);
	all_issued(d);
	if (d->sent == d->total)
		finish(w, d);
}

void mp_download_bytes(struct mp_worker *w, uint64_t ticket, const uint8_t *p, uint64_t n)
{
	uint64_t at;

	if (n <= MP_INLINE_MAX) {
		mp_say(w, MP_FRAME_DATA, ticket, 0, p, n);
		return;
	}
	for (at = 0; at < n; at += MP_CHUNK_MAX) {
		struct mp_frame f = {.kind = MP_FRAME_BULK, .ticket = ticket, .extra = at};
		size_t k = n - at < MP_CHUNK_MAX ? n - at : MP_CHUNK_MAX;

		if (w->out[1] && mp_outlet_push(w->out[1], f, p + at, k) < 0) {
			mp_end(w, MP_WORKER_EXIT_LOST, "the bulk lane is lost");
			return;
		}
	}
}

/* A copy in one piece of its own. */
static void send_whole(struct mp_worker *w, struct download *d)
{
	if (!d->error)
		mp_download_bytes(w, d->ticket, d->whole, d->total);
	mp_download_answer(w, d->ticket, d->reply, d->error);
	atomic_fetch_sub(&w->downloads, 1);
	if (!mp_context_current(w, d->ctx) && w->drv.cuMemFreeHost)
		(void)w->drv.cuMemFreeHost(d->whole);
	free(d);
}

static void begin(struct mp_worker *w, struct download *d)
{
	pthread_mutex_lock(&w->send_lock);
	d->next = NULL;
	atomic_fetch_add(&w->begins_queued, 1);
	*w->begin_tail = d;
	w->begin_tail = &d->next;
	pthread_cond_signal(&w->send_wake);
	pthread_mutex_unlock(&w->send_lock);
}

static void stream_here(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct download *d = wt->arg;

	if (status && !d->error)
		d->error = status;
	mp_print_sync(w, status ? NULL : wt->event);
	begin(w, d);
}

/* As many pieces as there are chunks for; false when not even one. */
static bool start(struct mp_worker *w, struct download *d)
{
	struct chunk *c = NULL;
	unsigned n;

	if (d->whole) {
		send_whole(w, d);
		return true;
	}
	if (d->error) {
		d->issued = d->total;
		all_issued(d);
		finish(w, d);
		return true;
	}
	for (n = 0; n < PIECES && d->issued < d->total && (c = mp_stage_take(w, &w->down, false)); n++)
		issue(w, d, c);
	all_issued(d);
	return n > 0;
}

/* One step: a piece sent, or a copy begun. false: there was nothing to do, or the session ends. */
bool mp_download_step(struct mp_worker *w, bool wait)
{
	struct download *d = NULL;
	struct chunk *c;

	pthread_mutex_lock(&w->send_lock);
	while (!w->send_first && (w->starved || !w->begin_first) && wait && !atomic_load(&w->ended))
		pthread_cond_wait(&w->send_wake, &w->send_lock);
	if ((c = w->send_first)) {
		w->send_first = c->next;
		if (!w->send_first)
			w->send_tail = &w->send_first;
	} else if (!w->starved && (d = w->begin_first)) {
		w->begin_first = d->next;
		if (!w->begin_first)
			w->begin_tail = &w->begin_first;
	}
	pthread_mutex_unlock(&w->send_lock);
	if (atomic_load(&w->ended))
		return false;
	if (c) {
		send_piece(w, c);
		atomic_fetch_add(&w->pieces_sent, 1);
	}
	/* Without a chunk it waits for one that another copy gives back, here. */
	if (!w->starved)
		w->starved = d;
	if (w->starved && start(w, w->starved)) {
		w->starved = NULL;
		atomic_fetch_add(&w->begins_served, 1);
	}
	return c || d;
}

void *mp_download_main(void *worker)
{
	while (mp_download_step(worker, true))
		;
	return NULL;
}

/* All pieces are queued on the side stream: the target stream goes on behind them. */
static void issued(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->state;
	CUevent ev = mp_event_take(w, job->ctx);

	if (ev) {
		if (!w->drv.cuEventRecord(ev, s->side))
			(void)w->drv.cuStreamWaitEvent(s->handle, ev, 0);
		mp_event_give(w, job->ctx, ev);
	}
	mp_stream_used(w, s);
	mp_job_finish_quiet(job);
}

static struct download *download_new(struct mp_job *job, size_t n, bool reply)
{
	struct download *d = calloc(1, sizeof(*d));

	if (d) {
		d->w = job->w;
		d->ticket = job->ticket;
		d->reply = reply;
		d->ctx = job->ctx;
		d->stream = job->stream;
		d->total = n;
	}
	return d;
}

static CUresult large(struct mp_job *job, CUdeviceptr src, size_t n, bool reply)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->stream;
	struct download *d = download_new(job, n, reply);
	CUresult e;

	if (!d)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = mp_stream_fork(w, s, &d->side);
	if (!e && mp_job_hold(job, issued))
		e = CUDA_ERROR_OUT_OF_MEMORY;
	if (e) {
		free(d);
		return e;
	}
	atomic_fetch_add(&w->downloads, 1);
	job->state = s;
	d->job = job;
	d->src = src;
	mp_wait_add(w, d->ctx, &s->side_q, d->side, stream_here, d, 0, 0);
	return CUDA_SUCCESS;
}

CUresult mp_download(struct mp_job *job, CUdeviceptr src, size_t n, bool reply)
{
	if (!n) {
		job->later = true;
		mp_download_answer(job->w, job->ticket, reply, CUDA_SUCCESS);
		return CUDA_SUCCESS;
	}
	if (mp_stream_capturing(job->w, job->stream))
		return mp_graph_capture_linear(job, src, NULL, 0, n, false);
	return n <= MP_INLINE_MAX ? small(job, src, n, reply) : large(job, src, n, reply);
}

/* The bytes land in `whole` by what is queued on the stream now; whole is given back in the end. */
CUresult mp_download_whole(struct mp_job *job, uint8_t *own_whole, size_t n, bool reply)
{
	struct download *d = download_new(job, n, reply);

	if (!d) {
		(void)job->w->drv.cuMemFreeHost(own_whole);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	d->whole = own_whole;
	atomic_fetch_add(&job->w->downloads, 1);
	job->later = true;
	mp_wait_add(job->w, d->ctx, &d->stream->q, d->stream->handle, stream_here, d, 0, 0);
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMemcpyDtoH_v2(struct mp_job *job, const struct mp_msg_cuMemcpyDtoH_v2 *m,
			       struct mp_rep_cuMemcpyDtoH_v2 *r)
{
	return mp_download(job, m->srcDevice, m->ByteCount, true);
}

CUresult mp_do_cuMemcpyDtoHAsync_v2(struct mp_job *job, const struct mp_msg_cuMemcpyDtoHAsync_v2 *m)
{
	return mp_download(job, m->srcDevice, m->ByteCount, job->rec->flags & MP_REC_REPLY);
}
