/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc, client half: the ordered command stream of one process.
 *
 * Records go into one ring, in the order in which their places were reserved;
 * a record's ticket is its byte position (docs/PROTOCOL.md section 3).  Reserving
 * and committing take no lock, allocate nothing and make no system call unless
 * the record is also the one that sends.
 *
 * Threads: any thread may reserve, commit, wait and send bulk data.  The session
 * has three threads of its own: the receiver, which takes in both lanes and runs
 * the callbacks of struct mp_rpc_ops; the flusher, the backstop that sends what
 * nobody else has sent after some 50 us; and the bulk sender.
 *
 * A lost lane is one state for all: every wait ends, every reserve answers NULL.
 */
#ifndef MP_RPC_RPC_H
#define MP_RPC_RPC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fail.h"
#include "wire/frame.h"

#define MP_RING_SIZE	 (16u << 20)
#define MP_RING_MASK	 (MP_RING_SIZE - 1)
#define MP_RECORD_LARGEST (1u << 20)  /* header and payload of one record */
#define MP_FLUSH_BYTES	 (32u << 10) /* pending bytes at which a caller sends */
#define MP_FLUSH_US	 20	     /* a link whose last send is older counts as idle */

/* Set in the threads of a session: what they wait for comes through themselves. */
extern __thread bool mp_rpc_own_thread __attribute__((tls_model("initial-exec")));

/* Called in the receiver thread: they must not block, nor reserve in the ring. */
struct mp_rpc_ops {
	/* Progress of a stream or event, after the data it names has landed. */
	void (*done)(void *arg, const struct mp_done *d);
	/* An asynchronous download is over; its memory is the program's again. */
	void (*copied)(void *arg, uint64_t ticket, uint32_t status);
	void (*error)(void *arg, uint64_t ticket, uint32_t ctx, uint32_t status, uint32_t call);
	void (*need)(void *arg, uint64_t ticket, const uint8_t hash[32]);
	void (*call)(void *arg, uint64_t ticket, uint64_t serial);
	void (*pull)(void *arg, uint64_t ticket);
	void (*print)(void *arg, const char *text, size_t n);
	/* Siblings lack memory: credit of this device that is not in use is asked back. */
	void (*recall)(void *arg, uint64_t device);
	void (*lost)(void *arg);
};

struct mp_rpc_config {
	const char *data; /* addresses, tried in order, separated by commas */
	uint8_t secret[MP_SECRET_BYTES];
	uint64_t window_size, window_base[MP_WINDOW_PROPOSALS];
	uint64_t calls; /* MP_API_HASH */
	int timeout_ms; /* to connect, and again for the answer */
	const struct mp_rpc_ops *ops;
	void *arg;
};

/* What a session has done so far. */
struct mp_rpc_stats {
	_Atomic uint64_t bytes_out[2], bytes_in[2], frames_out[2], frames_in[2];
	_Atomic uint64_t flushes;      /* frames of records sent */
	_Atomic uint64_t flushes_late; /* ... of which by the flusher */
	_Atomic uint64_t room_waits;   /* calls that found the ring full */
	_Atomic uint64_t waits;	       /* waits that had to wait */
};

/* The part of a session that the inline functions touch. */
struct mp_rpc {
	uint8_t *ring; /* mapped twice, one after the other */
	uint64_t quiet_ticks;
	_Atomic uint32_t lost; /* 0, or what every call answers from now on (CUresult) */
	_Alignas(64) _Atomic uint64_t head; /* reserved bytes */
	_Alignas(64) _Atomic uint64_t limit; /* positions below it may be written */
	_Atomic uint64_t sent;	      /* bytes handed to the socket */
	_Atomic uint64_t last_send;   /* tick */
	_Atomic uint32_t flusher_asleep;
	struct mp_rpc_stats stats;
};

/*
 * Connect both lanes, say hello, take the snapshot (*ret_snapshot is malloc'd, checked
 * for size).  NULL with a sentence when there is no server or it refuses.  Costs two
 * round trips of the network: connecting and the welcome.
 */
struct mp_rpc *mp_rpc_open(const struct mp_rpc_config *config, struct mp_snapshot **ret_snapshot,
			   size_t *ret_size, struct mp_fail *f);
/*
 * Send what is there and half-close; the peer finishes by itself.  Waits at most
 * timeout_ms for the bytes to leave.  Later calls find the session lost.  The session is
 * never freed: a thread that the program left inside a call may still look at it.
 */
void mp_rpc_close(struct mp_rpc *r, int timeout_ms);
/* In a forked child: drop the descriptors without a word to the peer. */
void mp_rpc_forked(struct mp_rpc *r);
/* Declare the session over with this code, once. Any thread. */
void mp_rpc_lose(struct mp_rpc *r, uint32_t code, const char *why);

/* Slow halves of the inline functions. */
bool mp_rpc_room(struct mp_rpc *r, uint64_t end);
void mp_rpc_kick(struct mp_rpc *r);
void mp_rpc_wake_flusher(struct mp_rpc *r);

/*
 * A place for a record of n bytes (a multiple of 8, header included) and its ticket.
 * The bytes are zero.  Blocks only when the ring is full.  NULL: the session is lost.
 * What was reserved must be committed, soon: later records wait for it.
 */
static inline struct mp_record *mp_rpc_reserve(struct mp_rpc *r, size_t n, uint64_t *ret_ticket)
{
	uint64_t pos;

	assert(n >= sizeof(struct mp_record) && n <= MP_RECORD_LARGEST && !(n & 7));
	pos = atomic_fetch_add(&r->head, n);
	if (MP_UNLIKELY(pos + n > atomic_load_explicit(&r->limit, memory_order_acquire)) &&
	    !mp_rpc_room(r, pos + n))
		return NULL;
	*ret_ticket = pos + MP_TICKET_FIRST;
	return (struct mp_record *)(r->ring + (pos & MP_RING_MASK));
}

/*
 * Publish a record whose other bytes are written; n as reserved.  On an idle link the
 * calling thread sends; on a busy one the record waits for company.
 */
static inline void mp_rpc_commit(struct mp_rpc *r, struct mp_record *rec, size_t n, uint64_t ticket)
{
	uint64_t end = ticket - MP_TICKET_FIRST + n;

	atomic_store_explicit((_Atomic uint32_t *)&rec->length, (uint32_t)n, memory_order_release);
	if (end - atomic_load_explicit(&r->sent, memory_order_relaxed) >= MP_FLUSH_BYTES ||
	    mp_tick() - atomic_load_explicit(&r->last_send, memory_order_relaxed) > r->quiet_ticks)
		mp_rpc_kick(r);
	else if (atomic_load_explicit(&r->flusher_asleep, memory_order_relaxed))
		mp_rpc_wake_flusher(r);
}

/* Wait until every record that was reserved before this one, which is our own, is committed. */
void mp_rpc_settle(struct mp_rpc *r, uint64_t ticket);
/* Send everything up to and including the record with this ticket. */
void mp_rpc_flush(struct mp_rpc *r, uint64_t ticket);
/* A record that is obeyed on arrival and has no ticket. Any thread; may block on a full socket. */
int mp_rpc_control(struct mp_rpc *r, const struct mp_record *rec);

/* ---- Waiting ---- */

/*
 * Wait until ready(arg) is true, which is asked after each batch of frames that came in.
 * 0, or -1 when the session was lost first.  Flush before.
 */
int mp_rpc_wait(struct mp_rpc *r, bool (*ready)(void *arg), void *arg);

/* One answer (REPLY or READY) to a record, expected before the record is committed. */
struct mp_answer {
	struct mp_answer *next;
	uint64_t ticket;
	_Atomic uint32_t here; /* 1: status, data and size are set */
	uint32_t status;
	uint8_t *own_data; /* malloc'd payload, or NULL */
	size_t size;
};
void mp_rpc_expect(struct mp_rpc *r, struct mp_answer *a, uint64_t ticket);
/* Flush, wait for it. Returns its status, or the lost code. The caller frees own_data. */
uint32_t mp_rpc_await(struct mp_rpc *r, struct mp_answer *a);
/* No longer interested: after this the answer is dropped when it comes. */
void mp_rpc_forget(struct mp_rpc *r, struct mp_answer *a);

/* ---- Bulk data ---- */

/* Where the bytes of a download go: a linear offset is split into rows, unless row is 0. */
struct mp_shape {
	uint8_t *base;
	uint64_t size;	/* bytes in all */
	uint64_t row;	/* bytes of a row; 0: contiguous */
	uint64_t pitch; /* from row to row */
	uint64_t rows;	/* rows of a slice */
	uint64_t slice; /* from slice to slice */
};

/*
 * Expect a download for the record with this ticket; before its commit.  It ends with its
 * REPLY (sync) or with the op `copied` (async).  -1: no memory.
 */
int mp_rpc_download(struct mp_rpc *r, uint64_t ticket, const struct mp_shape *to, bool async);
/* The same for a copy in a graph: its bytes come again with every launch, to the session's end. */
int mp_rpc_download_kept(struct mp_rpc *r, uint64_t ticket, const struct mp_shape *to);
/* One row of a shape at a linear offset: where it lies, and how much of *n fits (*n is cut). */
uint8_t *mp_shape_at(const struct mp_shape *s, uint64_t offset, uint64_t *n);

/* Send bytes that belong to a record, from this thread, in chunks; other senders get turns. */
int mp_rpc_upload(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n);
/*
 * The same by the bulk thread: p must stay as it is until sent(arg), which the bulk
 * thread calls, lost or not (sent may be NULL).  -1: no memory, nothing was queued.
 */
int mp_rpc_upload_later(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n,
			void (*sent)(void *arg), void *arg);
/* The same of what others wait for, such as a module's image: gets most of the turns. */
int mp_rpc_upload_urgent(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n);

#endif
