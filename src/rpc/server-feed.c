/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command lane's bytes, cut into records.
 *
 * Records are handed out as soon as they are whole, even in the middle of a
 * frame, so that a large frame costs no latency.  The buffer is linear: what is
 * left of a cut record moves to its start before more is received.  Frames and
 * records are multiples of 8 bytes, so a record in the buffer is always aligned.
 */
#include "rpc/server.h"

#include <stdlib.h>
#include <string.h>

#define FEED_BYTES (MP_RECORD_MAX + (256u << 10))

int mp_feed_init(struct mp_feed *f)
{
	*f = (struct mp_feed){.ticket = MP_TICKET_FIRST, .cap = FEED_BYTES};
	f->buf = aligned_alloc(64, FEED_BYTES);
	return f->buf ? 0 : -1;
}

void mp_feed_fini(struct mp_feed *f)
{
	free(f->buf);
	f->buf = NULL;
}

uint8_t *mp_feed_room(struct mp_feed *f, size_t *ret_n)
{
	size_t pad = f->head & 7;

	/* Moving keeps the alignment of what moves: items begin at multiples of 8 of the stream. */
	assert(!pad);
	if (f->head == f->tail) {
		f->head = f->tail = 0;
	} else if (f->head && f->cap - f->tail < f->cap / 4) {
		memmove(f->buf, f->buf + f->head, f->tail - f->head);
		f->tail -= f->head;
		f->head = 0;
	}
	assert(f->tail < f->cap);
	*ret_n = f->cap - f->tail;
	return f->buf + f->tail;
}

void mp_feed_filled(struct mp_feed *f, size_t n)
{
	assert(n <= f->cap - f->tail);
	f->tail += n;
}

static enum mp_feed_what bad(struct mp_feed *f, const char *reason)
{
	f->reason = reason;
	return MP_FEED_BAD;
}

/* Takes a frame's header; MORE when it is not whole. */
static enum mp_feed_what take_header(struct mp_feed *f)
{
	struct mp_frame h;

	if (f->tail - f->head < sizeof(h))
		return MP_FEED_MORE;
	memcpy(&h, f->buf + f->head, sizeof(h));
	if (h.length > MP_FRAME_MAX || h.length % 8 || !h.length)
		return bad(f, "frame length");
	if (h.flags || h.ack || h.extra)
		return bad(f, "frame header fields");
	if (h.kind == MP_FRAME_RECORDS) {
		if (h.ticket != f->ticket)
			return bad(f, "ticket out of sequence");
	} else if (h.kind == MP_FRAME_CONTROL) {
		if (h.ticket || h.length > MP_RECORD_MAX)
			return bad(f, "control frame");
	} else {
		return bad(f, "frame kind");
	}
	f->kind = h.kind;
	f->left = h.length;
	f->head += sizeof(h);
	return MP_FEED_RECORD;
}

enum mp_feed_what mp_feed_next(struct mp_feed *f, struct mp_feed_item *ret)
{
	const struct mp_record *r;
	uint32_t length;

	if (MP_UNLIKELY(f->reason))
		return MP_FEED_BAD;
	if (!f->left) {
		enum mp_feed_what what = take_header(f);

		if (what != MP_FEED_RECORD)
			return what;
	}
	if (f->tail - f->head < sizeof(*r))
		return MP_FEED_MORE;
	r = (const struct mp_record *)(f->buf + f->head);
	length = r->length;
	if (MP_UNLIKELY(length < sizeof(*r) || length % 8 || length > f->left || length > MP_RECORD_MAX))
		return bad(f, "record length");
	if (f->tail - f->head < length)
		return MP_FEED_MORE;
	if (MP_UNLIKELY(f->kind == MP_FRAME_CONTROL && length != f->left))
		return bad(f, "more than one control record");
	ret->record = r;
	ret->ticket = 0;
	f->head += length;
	f->left -= length;
	if (f->kind == MP_FRAME_CONTROL)
		return MP_FEED_CONTROL;
	ret->ticket = f->ticket;
	f->ticket += length;
	return MP_FEED_RECORD;
}

int mp_hello_check(const struct mp_hello *h, uint64_t calls, struct mp_fail *f)
{
	if (memcmp(h->magic, MP_HELLO_MAGIC, sizeof(h->magic)))
		return mp_fail_set(f, 1, "this is not a Motorpool client");
	if (h->major != MP_PROTO_MAJOR)
		return mp_fail_set(f, 1, "the program's libcuda.so.1 speaks version %u.%u of the protocol and "
					 "this server %u.%u: install the same release of Motorpool on both",
				   h->major, h->minor, MP_PROTO_MAJOR, MP_PROTO_MINOR);
	if (h->calls != calls)
		return mp_fail_set(f, 1, "the program's libcuda.so.1 and this server know different sets of "
					 "calls (%016llx and %016llx): install the same release of Motorpool on both",
				   (unsigned long long)h->calls, (unsigned long long)calls);
	if (h->lane > MP_LANE_BULK || h->flags)
		return mp_fail_set(f, 1, "the hello asks for a lane that does not exist");
	return 0;
}
