/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for the device: one thread that asks events.
 *
 * Whoever needs to know that something has passed records an event and leaves a
 * wait here.  The thread asks the first event of each stream only, since those
 * of one stream pass in order.  It spins for a moment, then sleeps in short
 * steps; with nothing outstanding it is blocked.
 */
#include "worker/inside.h"

#include <immintrin.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"

#define SPIN_NS	 20000u
#define SLEEP_NS 50000u

static struct wait *wait_new(struct mp_worker *w)
{
	struct wait *wt;

	pthread_mutex_lock(&w->wait_lock);
	wt = w->free_waits;
	if (wt)
		w->free_waits = wt->next;
	pthread_mutex_unlock(&w->wait_lock);
	return wt ? wt : malloc(sizeof(*wt));
}

static void wait_post(struct mp_worker *w, struct wait *wt)
{
	bool wake;

	wt->next = NULL;
	atomic_fetch_add(&wt->q->pending, 1);
	pthread_mutex_lock(&w->wait_lock);
	*w->inbox_tail = wt;
	w->inbox_tail = &wt->next;
	wake = w->completion_sleeps;
	w->completion_sleeps = false; /* one wake for all that come before it runs */
	pthread_mutex_unlock(&w->wait_lock);
	if (wake)
		pthread_cond_signal(&w->wait_wake);
}

static void add(struct mp_worker *w, struct wait proto)
{
	struct wait *wt = wait_new(w);

	if (!wt) { /* whoever waits would wait for ever */
		mp_end(w, MP_WORKER_EXIT_LOST, "out of memory");
		return;
	}
	*wt = proto;
	wait_post(w, wt);
}

/* Why there is no event: a broken context says so to every question. */
static CUresult no_event(struct mp_worker *w, CUstream on)
{
	CUresult e = w->drv.cuStreamQuery(on);

	return e && e != CUDA_ERROR_NOT_READY ? e : CUDA_ERROR_OUT_OF_MEMORY;
}

static void record(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
		   void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		   uint64_t number, bool behind)
{
	struct wait wt = {.q = q, .ctx = c, .done = done, .arg = arg, .ticket = ticket, .number = number,
			  .behind = behind};

	wt.event = mp_event_take(w, c);
	wt.status = wt.event ? w->drv.cuEventRecord(wt.event, on) : no_event(w, on);
	if (wt.status && wt.event) {
		mp_event_give(w, c, wt.event);
		wt.event = NULL;
	}
	add(w, wt);
}

void mp_wait_add(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
		 void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		 uint64_t number)
{
	record(w, c, q, on, done, arg, ticket, number, false);
}

void mp_wait_behind(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
		    void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		    uint64_t number)
{
	record(w, c, q, on, done, arg, ticket, number, true);
}

void mp_wait_bytes(struct mp_worker *w, struct waitq *q, void (*done)(struct mp_worker *, struct wait *, CUresult),
		   void *arg)
{
	add(w, (struct wait){.q = q, .behind = true, .done = done, .arg = arg});
}

void mp_wait_event(struct mp_worker *w, struct context *c, struct waitq *q, CUevent e,
		   void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		   uint64_t number)
{
	add(w, (struct wait){.q = q, .ctx = c, .event = e, .keep_event = true, .done = done, .arg = arg,
			     .ticket = ticket, .number = number});
}

/* ---- The thread ---- */

static struct waitq *active; /* completion thread; one worker per process */

static void take_inbox(struct mp_worker *w)
{
	struct wait *list, *wt;

	pthread_mutex_lock(&w->wait_lock);
	list = w->inbox;
	w->inbox = NULL;
	w->inbox_tail = &w->inbox;
	pthread_mutex_unlock(&w->wait_lock);
	while ((wt = list)) {
		struct waitq *q = wt->q;

		list = wt->next;
		wt->next = NULL;
		if (!q->first)
			q->tail = &q->first;
		*q->tail = wt;
		q->tail = &wt->next;
		if (!q->active) {
			q->active = true;
			q->next_active = active;
			active = q;
		}
	}
}

static void wait_done(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct waitq *q = wt->q;

	wt->done(w, wt, status);
	if (wt->event && !wt->keep_event)
		mp_event_give(w, wt->ctx, wt->event);
	pthread_mutex_lock(&w->wait_lock);
	wt->next = w->free_waits;
	w->free_waits = wt;
	pthread_mutex_unlock(&w->wait_lock);
	atomic_fetch_sub(&q->pending, 1);
}

/* ---- Behind bytes ----
 *
 * When the event of such a wait has passed, the copies before it have passed on
 * the device, too, but the pass that saw it may have asked their streams
 * earlier, and the sender may still hold their pieces.  So the wait goes through
 * one whole further pass, then through what the sender had queued at its end.
 */
static struct wait *second, **second_tail = &second; /* completion thread */
static uint64_t pass;

static void to_second(struct wait *wt, CUresult status)
{
	wt->next = NULL;
	wt->status = status;
	wt->pass = pass;
	wt->pieces = UINT64_MAX;
	*second_tail = wt;
	second_tail = &wt->next;
}

static int poll_second(struct mp_worker *w)
{
	struct wait *wt;
	int ret = second ? 1 : 0;

	for (wt = second; wt; wt = wt->next)
		if (wt->pieces == UINT64_MAX && wt->pass < pass) {
			wt->pieces = atomic_load(&w->pieces_queued);
			wt->begins = atomic_load(&w->begins_queued);
		}
	while ((wt = second) && wt->pieces != UINT64_MAX && atomic_load(&w->pieces_sent) >= wt->pieces &&
	       atomic_load(&w->begins_served) >= wt->begins) {
		second = wt->next;
		if (!second)
			second_tail = &second;
		ret = 2;
		wait_done(w, wt, wt->status);
	}
	return ret;
}

static bool poll_queue(struct mp_worker *w, struct waitq *q)
{
	bool any = false;
	struct wait *wt;

	while ((wt = q->first)) {
		CUresult e = wt->status;

		if (wt->event) {
			(void)mp_context_current(w, wt->ctx);
			e = w->drv.cuEventQuery(wt->event);
			if (e == CUDA_ERROR_NOT_READY)
				break;
		}
		q->first = wt->next;
		any = true;
		if (wt->behind && (second || atomic_load(&w->downloads)))
			to_second(wt, e);
		else
			wait_done(w, wt, e);
	}
	return any;
}

int mp_wait_poll(struct mp_worker *w)
{
	struct waitq **at;
	int ret = 0;

	pass++;
	take_inbox(w);
	for (at = &active; *at;) {
		struct waitq *q = *at;
		bool last;

		if (poll_queue(w, q))
			ret = 2;
		last = !q->first;
		if (last) {
			q->active = false;
			*at = q->next_active;
		} else {
			ret = ret ? ret : 1;
			at = &q->next_active;
		}
	}
	if (second) {
		int r = poll_second(w);

		ret = r > ret ? r : ret;
	}
	mp_say_done_flush(w);
	if (w->dead)
		mp_context_free_dead(w);
	if (ret == 2) /* what was parked for room may go on */
		mp_exec_kick(w);
	return ret;
}

/* Nothing has passed: spin where that pays, sleep otherwise, the longer the longer it takes. */
static void rest(struct mp_worker *w, uint64_t *idle_since, bool *spins)
{
	uint64_t now = mp_now_ns(), ns;
	struct timespec ts = {0};

	if (!*idle_since) {
		*idle_since = now;
		*spins = mp_spin_may(&w->completion_spin);
	}
	if (*spins && now - *idle_since < SPIN_NS) {
		_mm_pause();
		return;
	}
	if (*spins)
		mp_spin_over(&w->completion_spin, false);
	*spins = false;
	ns = (now - *idle_since) / 8;
	ts.tv_nsec = (long)(ns < SLEEP_NS ? ns : SLEEP_NS);
	nanosleep(&ts, NULL);
}

void *mp_wait_main(void *worker)
{
	struct mp_worker *w = worker;
	uint64_t idle_since = 0;
	bool busy = false, spins = false;

	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!atomic_load(&w->ended)) {
		int r = mp_wait_poll(w);

		if (busy != (r != 0) && w->account) {
			busy = r != 0;
			mp_account_set_busy(w->account, w->account_slot, busy);
		}
		if (r == 1) {
			rest(w, &idle_since, &spins);
			continue;
		}
		if (spins && idle_since)
			mp_spin_over(&w->completion_spin, r == 2);
		spins = false;
		idle_since = 0;
		if (r == 2)
			continue;
		pthread_mutex_lock(&w->wait_lock);
		while (!w->inbox && !atomic_load(&w->ended)) {
			w->completion_sleeps = true;
			pthread_cond_wait(&w->wait_wake, &w->wait_lock);
			w->completion_sleeps = false;
		}
		pthread_mutex_unlock(&w->wait_lock);
	}
	return NULL;
}
