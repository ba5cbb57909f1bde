/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the client half of rpc: the whole session. Not a door. */
#ifndef MP_RPC_CLIENT_H
#define MP_RPC_CLIENT_H

#include <pthread.h>

#include "base/spin.h"
#include "rpc/rpc.h"

#define MP_WAIT_BUCKETS 256

struct mp_download {
	struct mp_download *next;
	uint64_t ticket, received;
	struct mp_shape to;
	bool async, kept;
};

struct mp_upload {
	struct mp_upload *next;
	uint64_t ticket;
	const uint8_t *p;
	uint64_t n, at; /* at: sent so far */
	void (*sent)(void *arg);
	void *arg;
};

/* What the bulk thread has to send, in lists that take turns, a chunk each. */
enum mp_upload_class { MP_UPLOAD_URGENT, MP_UPLOAD_SMALL, MP_UPLOAD_LARGE, MP_UPLOAD_CLASSES };

struct mp_session {
	struct mp_rpc rpc; /* first: the door's view */
	struct mp_rpc_ops ops;
	void *arg;
	int fd[2];
	bool closing;
	bool spin; /* more than one processor */
	struct mp_spin waits;
	uint64_t spin_ticks;

	_Atomic uint32_t sender; /* the role of writing lane 0: held over the write, by design */
	/* The same for lane 1, one chunk at a time and in the order of asking: a mutex would be unfair. */
	_Atomic uint32_t bulk_next, bulk_turn;

	_Atomic uint32_t progress, waiting; /* futex; how many sleep on it */

	pthread_mutex_t table; /* guards the two hash tables */
	struct mp_answer *answer[MP_WAIT_BUCKETS] MP_GUARDED_BY(table);
	struct mp_download *download[MP_WAIT_BUCKETS] MP_GUARDED_BY(table);

	pthread_mutex_t queue; /* guards the bulk thread's work */
	pthread_cond_t queued;
	struct mp_upload *upload_first[MP_UPLOAD_CLASSES], **upload_last[MP_UPLOAD_CLASSES] MP_GUARDED_BY(queue);
	unsigned upload_turn; /* bulk thread */
	bool stop MP_GUARDED_BY(queue);

	/* Receiver thread only. */
	uint8_t *in;
	size_t in_cap, in_head, in_tail;
	uint32_t bulk_taken; /* frames of lane 1 taken in */
	uint64_t acked;	     /* bytes */
	uint8_t *scratch;    /* a chunk of a shaped download */
};

static inline struct mp_session *mp_session_of(struct mp_rpc *r)
{
	return (struct mp_session *)r;
}

/* client-receive.c */
void *mp_session_receive(void *arg);
void mp_session_progress(struct mp_session *s);
/* client-bulk.c */
void *mp_session_bulk(void *arg);
struct mp_download *mp_download_find(struct mp_session *s, uint64_t ticket);
/* Ends a download: -1 when it is good by status but incomplete. *ret_async says which kind it was. */
int mp_download_end(struct mp_session *s, uint64_t ticket, uint32_t status, bool *ret_async);
/* client-send.c */
void *mp_session_flush(void *arg);
/* client-wait.c */
bool mp_answer_put(struct mp_session *s, uint64_t ticket, uint32_t status, const void *p, size_t n);

static inline unsigned mp_bucket(uint64_t ticket)
{
	return (unsigned)((ticket >> 3) * 0x9e3779b97f4a7c15ull >> 56);
}

long mp_futex_wait(_Atomic uint32_t *word, uint32_t value);
long mp_futex_wake(_Atomic uint32_t *word, int n);

/*
 * `sender`: 0 free, 1 held, 2 held and waited for.  A mutex of the C library would
 * do; taking and leaving it costs more instructions than the launch that sends.
 */
static inline bool mp_sender_try(struct mp_session *s)
{
	uint32_t none = 0;

	return atomic_compare_exchange_strong_explicit(&s->sender, &none, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static inline void mp_sender_lock(struct mp_session *s)
{
	if (MP_LIKELY(mp_sender_try(s)))
		return;
	while (atomic_exchange_explicit(&s->sender, 2, memory_order_acquire))
		mp_futex_wait(&s->sender, 2);
}

static inline void mp_sender_unlock(struct mp_session *s)
{
	if (MP_UNLIKELY(atomic_exchange_explicit(&s->sender, 0, memory_order_release) == 2))
		mp_futex_wake(&s->sender, 1);
}

#endif
