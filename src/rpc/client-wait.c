/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting: one futex word that moves with every batch of frames taken in.
 *
 * A waiter spins a little when there is a second processor and spinning has paid
 * lately (base/spin.h), then sleeps.  The
 * word is read before the condition is asked, so that nothing is missed.
 */
#include "rpc/client.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>

#include "base/log.h"

#define LOST_CODE 46 /* CUDA_ERROR_DEVICE_UNAVAILABLE */

void mp_session_progress(struct mp_session *s)
{
	atomic_fetch_add(&s->progress, 1);
	if (atomic_load(&s->waiting))
		mp_futex_wake(&s->progress, INT_MAX);
}

int mp_rpc_wait(struct mp_rpc *r, bool (*ready)(void *arg), void *arg)
{
	struct mp_session *s = mp_session_of(r);
	uint64_t start;

	if (ready(arg))
		return 0;
	atomic_fetch_add_explicit(&r->stats.waits, 1, memory_order_relaxed);
	if (s->spin && mp_spin_may(&s->waits)) {
		start = mp_tick();
		while (mp_tick() - start < s->spin_ticks) {
			if (ready(arg)) {
				mp_spin_over(&s->waits, true);
				return 0;
			}
			if (atomic_load(&r->lost))
				return -1;
			_mm_pause();
		}
		mp_spin_over(&s->waits, false);
	}
	for (;;) {
		uint32_t seen;

		atomic_fetch_add(&s->waiting, 1);
		seen = atomic_load(&s->progress);
		if (ready(arg)) {
			atomic_fetch_sub(&s->waiting, 1);
			return 0;
		}
		if (!atomic_load(&r->lost))
			mp_futex_wait(&s->progress, seen);
		atomic_fetch_sub(&s->waiting, 1);
		if (atomic_load(&r->lost))
			return ready(arg) ? 0 : -1;
	}
}

struct room {
	struct mp_rpc *r;
	uint64_t end;
};

static bool room_ready(void *arg)
{
	struct room *w = arg;

	return atomic_load_explicit(&w->r->limit, memory_order_acquire) >= w->end;
}

bool mp_rpc_room(struct mp_rpc *r, uint64_t end)
{
	struct room w = {r, end};

	if (atomic_load(&r->lost))
		return false;
	atomic_fetch_add_explicit(&r->stats.room_waits, 1, memory_order_relaxed);
	/* The ring is full of records: those before ours must leave for room to come. */
	mp_rpc_kick(r);
	return !mp_rpc_wait(r, room_ready, &w);
}

void mp_rpc_expect(struct mp_rpc *r, struct mp_answer *a, uint64_t ticket)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_answer **head = &s->answer[mp_bucket(ticket)];

	a->ticket = ticket;
	a->status = 0;
	a->own_data = NULL;
	a->size = 0;
	atomic_store(&a->here, 0);
	pthread_mutex_lock(&s->table);
	a->next = *head;
	*head = a;
	pthread_mutex_unlock(&s->table);
}

static bool answer_take(struct mp_session *s, struct mp_answer **ret, uint64_t ticket)
{
	struct mp_answer **p;

	for (p = &s->answer[mp_bucket(ticket)]; *p; p = &(*p)->next)
		if ((*p)->ticket == ticket) {
			*ret = *p;
			*p = (*p)->next;
			return true;
		}
	return false;
}

bool mp_answer_put(struct mp_session *s, uint64_t ticket, uint32_t status, const void *p, size_t n)
{
	struct mp_answer *a;
	bool found;

	pthread_mutex_lock(&s->table);
	found = answer_take(s, &a, ticket);
	if (found) {
		a->status = status;
		if (n && (a->own_data = malloc(n))) {
			memcpy(a->own_data, p, n);
			a->size = n;
		}
		atomic_store(&a->here, 1);
	}
	pthread_mutex_unlock(&s->table);
	return found;
}

void mp_rpc_forget(struct mp_rpc *r, struct mp_answer *a)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_answer *same;

	pthread_mutex_lock(&s->table);
	if (!atomic_load(&a->here) && answer_take(s, &same, a->ticket))
		assert(same == a);
	pthread_mutex_unlock(&s->table);
	free(a->own_data);
	a->own_data = NULL;
}

static bool answer_here(void *arg)
{
	struct mp_answer *a = arg;

	return atomic_load_explicit(&a->here, memory_order_acquire);
}

uint32_t mp_rpc_await(struct mp_rpc *r, struct mp_answer *a)
{
	mp_rpc_flush(r, a->ticket);
	if (!mp_rpc_wait(r, answer_here, a))
		return a->status;
	mp_rpc_forget(r, a);
	return atomic_load(&r->lost);
}

void mp_rpc_lose(struct mp_rpc *r, uint32_t code, const char *why)
{
	struct mp_session *s = mp_session_of(r);
	uint32_t none = 0;

	if (!atomic_compare_exchange_strong(&r->lost, &none, code ? code : LOST_CODE))
		return;
	if (!s->closing)
		mp_log(MP_LOG_ERROR, "rpc", "lost", "reason=\"%s\"", why);
	/* Only reading and writing end here; the numbers stay ours until the process ends. */
	if (!s->closing) {
		shutdown(s->fd[0], SHUT_RDWR);
		shutdown(s->fd[1], SHUT_RDWR);
	}
	pthread_mutex_lock(&s->queue);
	s->stop = true;
	pthread_cond_broadcast(&s->queued);
	pthread_mutex_unlock(&s->queue);
	mp_rpc_wake_flusher(r);
	if (!s->closing && s->ops.lost)
		s->ops.lost(s->arg);
	mp_session_progress(s);
}
