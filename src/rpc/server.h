/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc, server half: frames in, frames out.
 *
 * A feed turns the bytes of the command lane into records, and believes
 * nothing; it does no I/O, so that a fuzzer can hold it.  An outlet sends
 * frames on a lane from any thread, never blocks its callers, and keeps the
 * order in which they called.  docs/PROTOCOL.md sections 2 and 3 are normative.
 */
#ifndef MP_RPC_SERVER_H
#define MP_RPC_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/fail.h"
#include "wire/frame.h"

/* ---- Feed: one thread ---- */

/* A record may carry this much: the largest inline copy and kernel parameters lie far below. */
#define MP_RECORD_MAX (1u << 20)

enum mp_feed_what {
	MP_FEED_MORE,	 /* no whole record here: receive more */
	MP_FEED_RECORD,	 /* *ret is a record with its ticket */
	MP_FEED_CONTROL, /* *ret is a control record, no ticket */
	MP_FEED_BAD,	 /* the peer broke the rules; the feed stays bad */
};

struct mp_feed_item {
	const struct mp_record *record; /* 8-aligned, in the feed's buffer, until the next mp_feed_room */
	uint64_t ticket;
};

struct mp_feed {
	uint8_t *buf;
	size_t cap, head, tail;
	uint64_t ticket;    /* of the next record */
	uint32_t left;	    /* bytes of the current frame that were not consumed */
	uint16_t kind;	    /* of the current frame */
	const char *reason; /* a few words, once bad */
};

/* -1: no memory. */
int mp_feed_init(struct mp_feed *f);
void mp_feed_fini(struct mp_feed *f);
/* Where the next bytes go and how many fit: never 0 of them. Invalidates earlier items. */
uint8_t *mp_feed_room(struct mp_feed *f, size_t *ret_n);
void mp_feed_filled(struct mp_feed *f, size_t n);
enum mp_feed_what mp_feed_next(struct mp_feed *f, struct mp_feed_item *ret);
/* Every record before this ticket was handed out. */
static inline uint64_t mp_feed_ticket(const struct mp_feed *f)
{
	return f->ticket;
}

/* ---- Hello ---- */

/*
 * 0 when the hello is one we can serve, else -1 with a sentence for GOODBYE.  `calls` is
 * our MP_API_HASH: while no shape is frozen by a release, both ends must agree on all.
 */
int mp_hello_check(const struct mp_hello *h, uint64_t calls, struct mp_fail *f);

/* ---- Outlet: any thread ---- */

struct mp_outlet;

/* Starts a writer thread for what a socket does not take at once. NULL: no memory or no thread. */
struct mp_outlet *mp_outlet_new(int fd, size_t ceiling);
/* Sends what is queued while the peer takes it, at most `timeout_ms`, then frees. The fd stays open. */
void mp_outlet_free(struct mp_outlet *o, unsigned timeout_ms);
/* What all later frames acknowledge. */
void mp_outlet_ack(struct mp_outlet *o, uint64_t ticket);
/*
 * Queue a frame (length and ack are filled in here); the payload is copied.
 * -1: the lane is lost or its queue is at the ceiling; it stays lost.
 */
int mp_outlet_send(struct mp_outlet *o, struct mp_frame f, const void *payload, size_t n);
/* The same from up to three pieces. */
int mp_outlet_sendv(struct mp_outlet *o, struct mp_frame f, const struct iovec *iov, unsigned n);
/*
 * Send a frame without a copy of its payload: blocks until the socket took it.
 * Returns the number of frames sent on this outlet including it, or -1.
 * The number is counted before the bytes go out.
 */
int64_t mp_outlet_push(struct mp_outlet *o, struct mp_frame f, const void *payload, size_t n);
/* Frames sent or queued so far, as the low 32 bits that REPLY and DONE carry. */
uint32_t mp_outlet_count(struct mp_outlet *o);
bool mp_outlet_lost(struct mp_outlet *o);

/* ---- Small I/O ---- */

/* All n bytes, or -1 (error, or end of file before n). */
int mp_recv_all(int fd, void *p, size_t n);
/* cubic (the system's default may pace), no delay; for a lane's socket, TCP or not. */
void mp_lane_tune(int fd);

#endif
