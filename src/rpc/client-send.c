/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending end of the command lane: who sends, and when.
 *
 * Whoever holds `sender` sends the longest prefix of committed records.  A
 * committing thread only tries for it, so that it never waits for another one's
 * system call; a blocking call takes it; the flusher is there for records whose
 * threads went quiet.
 */
#include "rpc/client.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net/net.h"

#define FRAME_MOST	(2u << 20) /* records in one frame */
#define FLUSHER_PERIOD	50000	   /* ns */
#define FLUSHER_ROUNDS	40	   /* empty periods before it sleeps */

long mp_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

long mp_futex_wake(_Atomic uint32_t *word, int n)
{
	return syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* End of the committed records that start at `from`. */
static uint64_t committed(struct mp_rpc *r, uint64_t from)
{
	/*
	 * Beyond the limit lie records that are not acknowledged yet: the ring's bytes
	 * there are old lengths, not new ones.
	 */
	uint64_t limit = atomic_load_explicit(&r->limit, memory_order_acquire), at = from;

	while (at < limit && at - from < FRAME_MOST) {
		_Atomic uint32_t *length = (_Atomic uint32_t *)(r->ring + (at & MP_RING_MASK));
		uint32_t n = atomic_load_explicit(length, memory_order_acquire);

		if (!n)
			break;
		at += n;
	}
	return at;
}

/* Send what is committed; the caller holds `sender`. true: something was sent. */
static bool send_committed(struct mp_session *s)
{
	struct mp_rpc *r = &s->rpc;
	bool any = false;

	for (;;) {
		uint64_t from = atomic_load_explicit(&r->sent, memory_order_relaxed);
		uint64_t to = committed(r, from);
		struct mp_frame f = {.kind = MP_FRAME_RECORDS};
		struct iovec iov[2];

		if (to == from || atomic_load_explicit(&r->lost, memory_order_relaxed))
			return any;
		atomic_store_explicit(&r->last_send, mp_tick(), memory_order_relaxed);
		f.length = (uint32_t)(to - from);
		f.ticket = from + MP_TICKET_FIRST;
		iov[0] = (struct iovec){&f, sizeof(f)};
		iov[1] = (struct iovec){r->ring + (from & MP_RING_MASK), f.length};
		/* `sent` goes first: the answer may be here before sendmsg has returned. */
		atomic_store(&r->sent, to);
		if (MP_UNLIKELY(mp_net_send_pair(s->fd[0], iov))) {
			mp_rpc_lose(r, 0, "the command lane cannot be written");
			return any;
		}
		atomic_fetch_add_explicit(&r->stats.flushes, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&r->stats.frames_out[0], 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&r->stats.bytes_out[0], sizeof(f) + f.length,
					  memory_order_relaxed);
		any = true;
		if (to - from < FRAME_MOST / 2)
			return any;
	}
}

void mp_rpc_kick(struct mp_rpc *r)
{
	struct mp_session *s = mp_session_of(r);

	if (!mp_sender_try(s)) {
		/* Somebody sends; the flusher sees to what he has not seen. */
		if (atomic_load_explicit(&r->flusher_asleep, memory_order_relaxed))
			mp_rpc_wake_flusher(r);
		return;
	}
	send_committed(s);
	mp_sender_unlock(s);
}

void mp_rpc_wake_flusher(struct mp_rpc *r)
{
	if (atomic_exchange(&r->flusher_asleep, 0))
		mp_futex_wake(&r->flusher_asleep, 1);
}

void mp_rpc_flush(struct mp_rpc *r, uint64_t ticket)
{
	struct mp_session *s = mp_session_of(r);
	uint64_t at = ticket - MP_TICKET_FIRST;

	while (atomic_load(&r->sent) <= at && !atomic_load(&r->lost)) {
		mp_sender_lock(s);
		send_committed(s);
		mp_sender_unlock(s);
		/* A record before ours may be reserved and not yet written by its thread. */
		if (atomic_load(&r->sent) <= at)
			sched_yield();
	}
}

void mp_rpc_settle(struct mp_rpc *r, uint64_t ticket)
{
	uint64_t end = ticket - MP_TICKET_FIRST, at = atomic_load(&r->sent);

	while (at < end && !atomic_load_explicit(&r->lost, memory_order_relaxed)) {
		_Atomic uint32_t *length = (_Atomic uint32_t *)(r->ring + (at & MP_RING_MASK));
		uint32_t n = atomic_load_explicit(length, memory_order_acquire);
		uint64_t sent = atomic_load(&r->sent);

		/* What was sent may have been taken back meanwhile: then the length is nothing of ours. */
		if (sent > at)
			at = sent;
		else if (n)
			at += n;
		else
			sched_yield();
	}
}

int mp_rpc_control(struct mp_rpc *r, const struct mp_record *rec)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_frame f = {.kind = MP_FRAME_CONTROL, .length = rec->length};
	struct iovec iov[2] = {{&f, sizeof(f)}, {(void *)(uintptr_t)rec, rec->length}};
	int e;

	if (atomic_load(&r->lost))
		return -1;
	mp_sender_lock(s);
	e = mp_net_sendv(s->fd[0], iov, 2);
	mp_sender_unlock(s);
	if (e)
		mp_rpc_lose(r, 0, "the command lane cannot be written");
	return e;
}

void *mp_session_flush(void *arg)
{
	struct mp_session *s = arg;
	struct mp_rpc *r = &s->rpc;
	struct timespec period = {0, FLUSHER_PERIOD};
	unsigned empty = 0;

	prctl(PR_SET_NAME, "mp-flush");
	mp_rpc_own_thread = true;
	prctl(PR_SET_TIMERSLACK, 1000);
	while (!atomic_load(&r->lost)) {
		if (empty >= FLUSHER_ROUNDS) {
			/*
			 * Reserving is a locked instruction, and so is this store: either we see
			 * the new head, or the committer sees that we sleep.
			 */
			atomic_store(&r->flusher_asleep, 1);
			if (atomic_load(&r->head) == atomic_load(&r->sent) && !atomic_load(&r->lost))
				mp_futex_wait(&r->flusher_asleep, 1);
			atomic_store(&r->flusher_asleep, 0);
			empty = 0;
		}
		nanosleep(&period, NULL);
		if (atomic_load(&r->head) == atomic_load(&r->sent)) {
			empty++;
			continue;
		}
		mp_sender_lock(s);
		if (send_committed(s)) {
			empty = 0;
			atomic_fetch_add_explicit(&r->stats.flushes_late, 1, memory_order_relaxed);
		}
		mp_sender_unlock(s);
	}
	return NULL;
}
