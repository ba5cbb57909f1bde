/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that are broken on purpose, to prove that the litmus sees it.  Each takes
 * one decision of the engine back; the linker puts the function below in the place
 * of the worker's own (--wrap), so that the worker itself knows nothing of this.
 *
 *  BROKEN_LANES	every client thread has a lane of its own
 *  BROKEN_DONE		completions do not wait for their data
 *  BROKEN_FENCE	nothing waits for a synchronous copy
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BROKEN_LANES

struct queued {
	struct queued *next;
	struct mp_record *own_rec;
	uint64_t ticket;
};

static struct lane {
	struct mp_worker *w;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queued *first, **last;
	unsigned seed;
} lanes[64];

int __real_mp_exec_record(struct mp_worker *w, const struct mp_record *rec, uint64_t ticket);
int __wrap_mp_exec_record(struct mp_worker *w, const struct mp_record *rec, uint64_t ticket);

static void *serve(void *arg)
{
	struct lane *l = arg;

	for (;;) {
		struct queued *q;
		int r;

		pthread_mutex_lock(&l->lock);
		while (!l->first)
			pthread_cond_wait(&l->wake, &l->lock);
		q = l->first;
		l->first = q->next;
		if (!l->first)
			l->last = &l->first;
		pthread_mutex_unlock(&l->lock);
		l->seed = l->seed * 1664525u + 1013904223u;
		if (!(l->seed >> 28)) /* as a network has it */
			usleep(100);
		mp_exec_enter(l->w);
		r = __real_mp_exec_record(l->w, q->own_rec, q->ticket);
		mp_exec_leave(l->w);
		if (r)
			mp_end(l->w, MP_WORKER_EXIT_PROTOCOL, l->w->why);
		free(q->own_rec);
		free(q);
	}
	return NULL;
}

int __wrap_mp_exec_record(struct mp_worker *w, const struct mp_record *rec, uint64_t ticket)
{
	struct lane *l = &lanes[rec->thread % MP_ARRAY_LEN(lanes)];
	struct queued *q = calloc(1, sizeof(*q));

	/* The last word is said by the thread that reads. */
	if (rec->call == MP_REC_bye) {
		usleep(20000);
		return __real_mp_exec_record(w, rec, ticket);
	}
	if (!l->w) {
		l->w = w;
		l->seed = rec->thread;
		l->last = &l->first;
		pthread_mutex_init(&l->lock, NULL);
		pthread_cond_init(&l->wake, NULL);
		if (pthread_create(&l->thread, NULL, serve, l))
			abort();
	}
	q->own_rec = aligned_alloc(8, rec->length);
	memcpy(q->own_rec, rec, rec->length);
	q->ticket = ticket;
	pthread_mutex_lock(&l->lock);
	*l->last = q;
	l->last = &q->next;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return 0;
}

#elif defined(BROKEN_DONE)

void __wrap_mp_wait_behind(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
			   void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
			   uint64_t number);
void __wrap_mp_say_done(struct mp_worker *w, unsigned kind, uint32_t id, uint64_t ticket, CUresult status);

void __wrap_mp_wait_behind(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
			   void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
			   uint64_t number)
{
	mp_wait_add(w, c, q, on, done, arg, ticket, number);
}

void __wrap_mp_say_done(struct mp_worker *w, unsigned kind, uint32_t id, uint64_t ticket, CUresult status)
{
	struct mp_done d = {.kind = kind, .id = id, .ticket = ticket, .status = (uint32_t)status};

	mp_say(w, MP_FRAME_DONE, 0, 1, &d, sizeof(d));
}

#elif defined(BROKEN_FENCE)

CUresult __wrap_mp_stream_use(struct mp_worker *w, struct stream *s, bool copy);

CUresult __wrap_mp_stream_use(struct mp_worker *w, struct stream *s, bool copy)
{
	return CUDA_SUCCESS;
}

#endif
