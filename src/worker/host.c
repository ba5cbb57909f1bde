/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the device for the client's process: host functions and printf.
 *
 * A host function of ours in the stream sends CALL and holds the stream until
 * the client says HOST_DONE.  It runs in a thread of the driver and makes no
 * driver call.
 *
 * The driver writes a kernel's printf to the process's stdout, which is a pipe
 * of ours; a thread passes on what comes.  A driver may keep text back until
 * somebody synchronises, so before a completion is told, the event that has
 * passed is waited for (which returns at once, and flushes), and the pipe is
 * emptied.
 */
#include "worker/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct host_call {
	struct host_call *next;
	struct mp_worker *w;
	uint64_t ticket, serial;
	bool ready; /* guarded by host_lock */
	unsigned due; /* HOST_DONE that came for it; guarded by host_lock */
};

static void bytes_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct host_call *h = wt->arg;

	pthread_mutex_lock(&w->host_lock);
	h->ready = true;
	pthread_cond_broadcast(&w->host_wake);
	pthread_mutex_unlock(&w->host_lock);
}

static void CUDA_CB host_fn(void *arg)
{
	struct host_call *h = arg;
	struct mp_worker *w = h->w;
	uint32_t bulk[2] = {0};

	/* The function may look at what earlier copies brought. */
	if (atomic_load(&w->downloads)) {
		h->ready = false;
		mp_wait_bytes(w, &w->host_q, bytes_passed, h);
		pthread_mutex_lock(&w->host_lock);
		while (!h->ready && !atomic_load(&w->ended))
			pthread_cond_wait(&w->host_wake, &w->host_lock);
		pthread_mutex_unlock(&w->host_lock);
	}
	bulk[0] = w->out[1] ? mp_outlet_count(w->out[1]) : 0;
	mp_say(w, MP_FRAME_CALL, h->ticket, h->serial, bulk, sizeof(bulk));
	pthread_mutex_lock(&w->host_lock);
	while (!h->due && !atomic_load(&w->ended))
		pthread_cond_wait(&w->host_wake, &w->host_lock);
	if (h->due)
		h->due--;
	pthread_mutex_unlock(&w->host_lock);
}

void mp_host_done(struct mp_worker *w, uint64_t serial)
{
	struct host_call *h;

	pthread_mutex_lock(&w->host_lock);
	for (h = w->host_calls; h && h->serial != serial; h = h->next)
		;
	if (h)
		h->due++;
	pthread_cond_broadcast(&w->host_wake);
	pthread_mutex_unlock(&w->host_lock);
}

/*
 * Lives as long as the worker: a graph may call it again at any launch.  An
 * uncaptured one is taken off the list when its stream has passed it.
 */
struct host_call *mp_host_new(struct mp_worker *w, uint64_t ticket, uint64_t serial)
{
	struct host_call *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->w = w;
	h->ticket = ticket;
	h->serial = serial;
	pthread_mutex_lock(&w->host_lock);
	h->next = w->host_calls;
	w->host_calls = h;
	pthread_mutex_unlock(&w->host_lock);
	return h;
}

void mp_host_free(struct mp_worker *w, struct host_call *h)
{
	struct host_call **at;

	pthread_mutex_lock(&w->host_lock);
	for (at = &w->host_calls; *at && *at != h; at = &(*at)->next)
		;
	if (*at)
		*at = h->next;
	pthread_mutex_unlock(&w->host_lock);
	free(h);
}

CUhostFn mp_host_fn(void)
{
	return host_fn;
}

static void host_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	/* After an error it may be running still, or never run: then it stays. */
	if (!status)
		mp_host_free(w, wt->arg);
}

CUresult mp_do_host_call(struct mp_job *job, const struct mp_msg_host_call *m)
{
	struct mp_worker *w = job->w;
	struct stream *s = job->stream;
	struct host_call *h;
	CUresult e;

	if (!w->drv.cuLaunchHostFunc)
		return CUDA_ERROR_NOT_SUPPORTED;
	h = mp_host_new(w, job->ticket, m->serial);
	if (!h)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = w->drv.cuLaunchHostFunc(s->handle, host_fn, h);
	if (e)
		mp_host_free(w, h);
	else if (!mp_stream_capturing(w, s))
		mp_wait_add(w, job->ctx, &s->q, s->handle, host_passed, h, 0, 0);
	return e;
}

/* ---- printf ---- */

int mp_print_init(struct mp_worker *w)
{
	int fd[2];

	w->print_fd = -1;
	if (pipe2(fd, O_CLOEXEC))
		return -1;
	(void)fcntl(fd[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(fd[1], F_SETPIPE_SZ, 1 << 20);
	if (dup2(fd[1], STDOUT_FILENO) < 0) {
		close(fd[0]);
		close(fd[1]);
		return -1;
	}
	close(fd[1]);
	w->print_fd = fd[0];
	return 0;
}

/* Passes on what the pipe holds. false: it is closed. */
static bool print_some(struct mp_worker *w)
{
	char text[16384];
	ssize_t n;

	pthread_mutex_lock(&w->print_lock);
	while ((n = read(w->print_fd, text, sizeof(text))) > 0)
		mp_say(w, MP_FRAME_PRINT, 0, 0, text, (size_t)n);
	pthread_mutex_unlock(&w->print_lock);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

void *mp_print_main(void *worker)
{
	struct mp_worker *w = worker;
	struct pollfd pfd = {.fd = w->print_fd, .events = POLLIN};

	while (!atomic_load(&w->ended)) {
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			break;
		if (!print_some(w))
			break;
	}
	return NULL;
}

void mp_print_sync(struct mp_worker *w, CUevent finished)
{
	if (MP_LIKELY(!atomic_load_explicit(&w->prints, memory_order_relaxed)) || w->print_fd < 0)
		return;
	if (finished && w->drv.cuEventSynchronize)
		(void)w->drv.cuEventSynchronize(finished);
	(void)fflush(stdout);
	(void)print_some(w);
}
