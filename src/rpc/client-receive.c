/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver thread: takes in both lanes and acts on every frame.
 *
 * It always runs, since programs poll pinned memory without calling anything.
 * A frame that names bulk data (count of lane-1 frames) is acted on only after
 * that data has been taken in: lane 1 is read up to it first, which cannot
 * block for long because the peer has sent it before.
 */
#include "rpc/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/net.h"


__thread bool mp_rpc_own_thread __attribute__((tls_model("initial-exec")));

static int bad(struct mp_session *s, const char *why)
{
	mp_rpc_lose(&s->rpc, 0, why);
	return -1;
}

uint8_t *mp_shape_at(const struct mp_shape *t, uint64_t offset, uint64_t *ret_n)
{
	uint64_t row, in_row, slice;

	if (!t->row)
		return t->base + offset;
	row = offset / t->row;
	in_row = offset % t->row;
	slice = t->rows ? row / t->rows : 0;
	if (t->rows)
		row %= t->rows;
	if (*ret_n > t->row - in_row)
		*ret_n = t->row - in_row;
	return t->base + slice * t->slice + row * t->pitch + in_row;
}

/* The bytes of a frame are some that were asked for, and not more than that. */
static struct mp_download *download_check(struct mp_session *s, const struct mp_frame *f)
{
	struct mp_download *d = mp_download_find(s, f->ticket);

	if (!d || f->extra > d->to.size || f->length > d->to.size - f->extra ||
	    (!d->kept && f->length > d->to.size - d->received)) {
		bad(s, "data that nobody asked for");
		return NULL;
	}
	return d;
}

static int data_put(struct mp_session *s, const struct mp_frame *f, const uint8_t *p)
{
	struct mp_download *d = download_check(s, f);
	uint64_t at = 0;

	if (!d)
		return -1;
	while (at < f->length) {
		uint64_t n = f->length - at;
		uint8_t *to = mp_shape_at(&d->to, f->extra + at, &n);

		memcpy(to, p + at, (size_t)n);
		at += n;
	}
	d->received += d->kept ? 0 : f->length;
	return 0;
}

/* One frame of lane 1, payload and all. */
static int bulk_take(struct mp_session *s)
{
	struct mp_frame f;
	struct mp_download *d;

	if (mp_net_recv(s->fd[1], &f, sizeof(f)))
		return bad(s, "the server closed the bulk lane");
	if (f.kind != MP_FRAME_BULK || f.length > MP_CHUNK_MAX)
		return bad(s, "a bulk frame that breaks the rules");
	if (!(d = download_check(s, &f)))
		return -1;
	if (!d->to.row) {
		if (mp_net_recv(s->fd[1], d->to.base + f.extra, f.length))
			return bad(s, "the bulk lane ended within a frame");
		d->received += d->kept ? 0 : f.length;
	} else {
		if (!s->scratch && !(s->scratch = malloc(MP_CHUNK_MAX)))
			return bad(s, "no memory for a chunk");
		if (mp_net_recv(s->fd[1], s->scratch, f.length))
			return bad(s, "the bulk lane ended within a frame");
		if (data_put(s, &f, s->scratch))
			return -1;
	}
	s->bulk_taken++;
	atomic_fetch_add_explicit(&s->rpc.stats.frames_in[1], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->rpc.stats.bytes_in[1], sizeof(f) + f.length,
				  memory_order_relaxed);
	return 0;
}

static int bulk_reach(struct mp_session *s, uint32_t count)
{
	while ((int32_t)(count - s->bulk_taken) > 0)
		if (bulk_take(s))
			return -1;
	return 0;
}

/* Whole words of 8; a string instruction would cost more for the few hundred bytes of an ack. */
static void zero(uint8_t *p, size_t n)
{
	__m128i none = _mm_setzero_si128();

	for (; n >= 64; n -= 64, p += 64) {
		_mm_storeu_si128((__m128i *)p, none);
		_mm_storeu_si128((__m128i *)p + 1, none);
		_mm_storeu_si128((__m128i *)p + 2, none);
		_mm_storeu_si128((__m128i *)p + 3, none);
	}
	for (; n; n -= 8, p += 8)
		memset(p, 0, 8);
}

/* Records before `ack` need not be kept: give their bytes back, zeroed. */
static int take_ack(struct mp_session *s, uint64_t ack)
{
	uint64_t end = ack - MP_TICKET_FIRST;

	if (ack < MP_TICKET_FIRST || end <= s->acked)
		return 0;
	if (end > atomic_load(&s->rpc.sent))
		return bad(s, "an acknowledgement of what was not sent");
	if (end & 7)
		return bad(s, "an acknowledgement within a record");
	zero(s->rpc.ring + (s->acked & MP_RING_MASK), (size_t)(end - s->acked));
	s->acked = end;
	atomic_store_explicit(&s->rpc.limit, end + MP_RING_SIZE, memory_order_release);
	return 0;
}

static int take_done(struct mp_session *s, const struct mp_frame *f, const uint8_t *p)
{
	uint64_t i;

	if (f->extra > MP_FRAME_MAX / sizeof(struct mp_done) ||
	    f->length != f->extra * sizeof(struct mp_done))
		return bad(s, "a DONE frame of the wrong size");
	for (i = 0; i < f->extra; i++) {
		struct mp_done d;
		bool async;

		memcpy(&d, p + i * sizeof(d), sizeof(d));
		if (bulk_reach(s, d.bulk))
			return -1;
		if (d.kind == MP_DONE_COPY) {
			if (mp_download_end(s, d.ticket, d.status, &async))
				return bad(s, "a copy was completed before its data");
			if (s->ops.copied)
				s->ops.copied(s->arg, d.ticket, d.status);
		} else if (s->ops.done) {
			s->ops.done(s->arg, &d);
		}
	}
	return 0;
}

static int take_reply(struct mp_session *s, const struct mp_frame *f, const uint8_t *p)
{
	uint32_t status = (uint32_t)f->extra;
	bool async;

	if (f->kind == MP_FRAME_REPLY) {
		if (bulk_reach(s, (uint32_t)(f->extra >> 32)))
			return -1;
		if (mp_download_end(s, f->ticket, status, &async))
			return bad(s, "a copy was completed before its data");
	}
	/* An answer that nobody waits for any more is dropped. */
	mp_answer_put(s, f->ticket, status, p, f->length);
	return 0;
}

static int take_frame(struct mp_session *s, const struct mp_frame *f, const uint8_t *p)
{
	uint32_t call = 0;

	if (take_ack(s, f->ack))
		return -1;
	switch (f->kind) {
	case MP_FRAME_REPLY:
	case MP_FRAME_READY:
		return take_reply(s, f, p);
	case MP_FRAME_DONE:
		return take_done(s, f, p);
	case MP_FRAME_DATA:
		return data_put(s, f, p);
	case MP_FRAME_ERROR:
		if (f->length >= 4)
			memcpy(&call, p, 4);
		if (s->ops.error)
			s->ops.error(s->arg, f->ticket, (uint32_t)(f->extra >> 32),
				     (uint32_t)f->extra, call);
		return 0;
	case MP_FRAME_NEED:
		if (f->length != 32)
			return bad(s, "a NEED frame of the wrong size");
		if (s->ops.need)
			s->ops.need(s->arg, f->ticket, p);
		return 0;
	case MP_FRAME_CALL: /* the function may look at what earlier copies brought */
		if (f->length >= 4) {
			memcpy(&call, p, 4);
			if (bulk_reach(s, call))
				return -1;
		}
		if (s->ops.call)
			s->ops.call(s->arg, f->ticket, f->extra);
		return 0;
	case MP_FRAME_PULL:
		if (s->ops.pull)
			s->ops.pull(s->arg, f->ticket);
		return 0;
	case MP_FRAME_PRINT:
		if (s->ops.print)
			s->ops.print(s->arg, (const char *)p, f->length);
		return 0;
	case MP_FRAME_RECALL:
		if (s->ops.recall)
			s->ops.recall(s->arg, f->extra);
		return 0;
	case MP_FRAME_ACK:
		return 0;
	case MP_FRAME_GOODBYE:
		mp_log(MP_LOG_ERROR, "rpc", "goodbye", "code=%llu sentence=\"%.*s\"",
		       (unsigned long long)f->extra, (int)(f->length < 400 ? f->length : 400),
		       (const char *)p);
		return bad(s, "the server ended the session");
	default:
		return bad(s, "a frame of an unknown kind");
	}
}

/* Act on every whole frame in the buffer, and make room for the next. */
static int take_buffer(struct mp_session *s)
{
	for (;;) {
		size_t have = s->in_tail - s->in_head, want = sizeof(struct mp_frame);
		struct mp_frame f;

		if (have >= want) {
			memcpy(&f, s->in + s->in_head, sizeof(f));
			if (f.length > MP_FRAME_MAX)
				return bad(s, "a frame that is too long");
			want += f.length;
		}
		if (have < want) {
			if (want > s->in_cap) {
				uint8_t *in = realloc(s->in, want);

				if (!in)
					return bad(s, "no memory for a frame");
				s->in = in;
				s->in_cap = want;
			}
			if (s->in_head) {
				memmove(s->in, s->in + s->in_head, have);
				s->in_head = 0;
				s->in_tail = have;
			}
			return 0;
		}
		atomic_fetch_add_explicit(&s->rpc.stats.frames_in[0], 1, memory_order_relaxed);
		if (take_frame(s, &f, s->in + s->in_head + sizeof(f)))
			return -1;
		s->in_head += want;
	}
}

static int command_take(struct mp_session *s)
{
	ssize_t n = recv(s->fd[0], s->in + s->in_tail, s->in_cap - s->in_tail, MSG_DONTWAIT);
	int e;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR
			       ? 0
			       : bad(s, "the command lane cannot be read");
	if (!n)
		return bad(s, "the server closed the command lane");
	s->in_tail += (size_t)n;
	atomic_fetch_add_explicit(&s->rpc.stats.bytes_in[0], (uint64_t)n, memory_order_relaxed);
	e = take_buffer(s);
	mp_session_progress(s);
	return e;
}

void *mp_session_receive(void *arg)
{
	struct mp_session *s = arg;

	prctl(PR_SET_NAME, "mp-receive");
	mp_rpc_own_thread = true;
	/* What came with the snapshot. */
	if (take_buffer(s))
		return NULL;
	mp_session_progress(s);
	while (!atomic_load(&s->rpc.lost)) {
		struct pollfd p[2] = {{.fd = s->fd[0], .events = POLLIN},
				      {.fd = s->fd[1], .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR) {
			bad(s, "poll failed");
			break;
		}
		/* Bulk first: what completes it is on the other lane. */
		if (p[1].revents && bulk_take(s))
			break;
		if (p[0].revents && command_take(s))
			break;
	}
	mp_session_progress(s);
	return NULL;
}
