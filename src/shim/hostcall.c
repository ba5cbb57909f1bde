/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host functions run here, in one thread of ours, in the order in which the
 * server's streams get to them; the stream stands until HOST_DONE.
 *
 * A function of a graph stays: its serial is called at every launch.
 */
#include "shim/mirror.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

struct hostcall {
	struct hostcall *next;
	uint64_t serial;
	CUhostFn fn;
	CUstreamCallback callback;
	void *user;
	CUstream stream;
	struct mp_ctx *ctx;
	bool keep;
};

struct call {
	struct call *next;
	uint64_t serial;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct hostcall *known MP_GUARDED_BY(lock);
static struct call *first, **last = &first MP_GUARDED_BY(lock);
static bool running MP_GUARDED_BY(lock);
static uint64_t serials MP_GUARDED_BY(lock);

static void run(struct hostcall *h)
{
	if (h->callback) {
		/* A stream callback runs whatever has happened, and is told. */
		CUresult status = (CUresult)atomic_load(&h->ctx->sticky);

		h->callback(h->stream, status, h->user);
	} else {
		h->fn(h->user);
	}
}

static void done(uint64_t serial)
{
	struct {
		struct mp_record rec;
		uint8_t body[64];
	} r;
	struct mp_msg_host_done m = {.serial = serial};
	size_t n = mp_size_host_done(&m);

	memset(&r, 0, sizeof(r));
	assert(n <= sizeof(r.body));
	mp_put_host_done(r.body, &m);
	r.rec.length = (uint32_t)(sizeof(r.rec) + n);
	r.rec.call = MP_REC_host_done;
	(void)mp_rpc_control(mp_shim.rpc, &r.rec); /* a loss is everybody's to find */
}

static void *host_thread(void *arg)
{
	struct mp_thread *t = mp_thread_get();

	prctl(PR_SET_NAME, "mp-host");
	if (t)
		t->in_host_function = true;
	for (;;) {
		struct hostcall **p, *h;
		struct call *c;

		pthread_mutex_lock(&lock);
		while (!first)
			pthread_cond_wait(&wake, &lock);
		c = first;
		if (!(first = c->next))
			last = &first;
		for (p = &known; (h = *p) && h->serial != c->serial; p = &h->next)
			;
		if (h && !h->keep)
			*p = h->next;
		pthread_mutex_unlock(&lock);
		if (h) {
			run(h);
			if (t) /* what the function wrote is there before the stream goes on */
				mp_mirror_publish(t);
			if (!h->keep)
				free(h);
		}
		done(c->serial);
		free(c);
	}
	return NULL;
}

void mp_hostcall_call(void *arg, uint64_t ticket, uint64_t serial)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c) {
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a host call");
		return;
	}
	c->serial = serial;
	if (atomic_load(&mp_shim.provisional)) /* the stream has got here */
		mp_mirror_passed();
	pthread_mutex_lock(&lock);
	*last = c;
	last = &c->next;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

/* Started with the first host function of the process; it dies with it. */
static int thread_start(void)
{
	pthread_attr_t attr;
	pthread_t t;
	int e;

	if (running)
		return 0;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	e = pthread_create(&t, &attr, host_thread, NULL);
	pthread_attr_destroy(&attr);
	running = !e;
	if (!e)
		atomic_fetch_add(&mp_shim.own_threads, 1);
	return e;
}

uint64_t mp_hostcall_new(CUhostFn fn, void *user, CUstreamCallback callback, struct mp_stream *s,
			 bool keep)
{
	struct hostcall *h = calloc(1, sizeof(*h));
	uint64_t serial = 0;

	if (!h)
		return 0;
	pthread_mutex_lock(&lock);
	if (!thread_start()) {
		h->serial = serial = ++serials;
		h->fn = fn;
		h->user = user;
		h->callback = callback;
		h->stream = s && !s->legacy && !s->per_thread ? (CUstream)s : NULL;
		h->ctx = s ? s->ctx : NULL;
		h->keep = keep;
		h->next = known;
		known = h;
	}
	pthread_mutex_unlock(&lock);
	if (!serial)
		free(h);
	return serial;
}

static CUresult put(struct mp_thread *t, struct mp_stream *s, uint64_t serial)
{
	struct mp_msg_host_call m = {.stream = s->head.id, .serial = serial};
	struct mp_out o;
	CUresult r;

	if (!serial)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = MP_PUT(&o, t, MP_REC_host_call, host_call, &m, s->ctx->head.id);
	if (r)
		return r;
	if (atomic_load(&s->capture)) {
		mp_capture_host(s);
	} else {
		mp_stream_issue(s, o.ticket);
		mp_stream_host(s, o.ticket);
	}
	return mp_out_end(&o);
}

CUresult mp_hostcall_send(struct mp_thread *t, struct mp_stream *s, CUhostFn fn, void *user)
{
	return put(t, s, mp_hostcall_new(fn, user, NULL, s, false));
}

static CUresult host(enum mp_call call, CUstream h, CUhostFn fn, CUstreamCallback callback,
		     void *user)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = mp_enter(call, &t);

	if (r)
		return r;
	if (!fn && !callback)
		return CUDA_ERROR_INVALID_VALUE;
	if (t->in_host_function) /* no CUDA calls from host functions */
		return CUDA_ERROR_NOT_PERMITTED;
	r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (r)
		return r;
	return put(t, s, mp_hostcall_new(fn, user, callback, s, atomic_load(&s->capture) != NULL));
}

CUresult mp_shim_cuLaunchHostFunc(CUstream h, CUhostFn fn, void *user)
{
	return host(MP_CALL_cuLaunchHostFunc, h, fn, NULL, user);
}

CUresult mp_shim_cuStreamAddCallback(CUstream h, CUstreamCallback callback, void *user,
				     unsigned int flags)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r;

	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_enter(MP_CALL_cuStreamAddCallback, &t);
	if (!r)
		r = mp_stream_get(t, h, &s);
	if (!r && atomic_load(&s->capture))
		return mp_capture_refuse(s);
	return r ? r : host(MP_CALL_cuStreamAddCallback, h, NULL, callback, user);
}
