/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending frames.
 *
 * Whoever queues a frame while nobody sends tries the socket at once, without
 * blocking; what the socket does not take is left to the writer thread.  So an
 * idle lane costs no hand-over between threads, and a full one blocks nobody
 * but the thread whose job that is.  (The executor must not wait for a client
 * that itself waits for the executor.)
 */
#include "rpc/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct queue {
	uint8_t *data;
	size_t head, tail, cap;
};

struct mp_outlet {
	int fd;
	size_t ceiling;
	_Atomic uint64_t ack;
	_Atomic bool lost;
	pthread_mutex_t lock;
	pthread_cond_t wake;	     /* there is work for the writer, or for a pusher */
	struct queue q MP_GUARDED_BY(lock);
	bool sending MP_GUARDED_BY(lock); /* a thread is in send() with what it took */
	bool writer_wanted MP_GUARDED_BY(lock);
	bool ending MP_GUARDED_BY(lock);
	uint64_t frames MP_GUARDED_BY(lock);
	struct queue out; /* owned by whoever set sending */
	pthread_t writer;
};

int mp_recv_all(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t got = recv(fd, p, n, MSG_WAITALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		p = (char *)p + got;
		n -= (size_t)got;
	}
	return 0;
}

void mp_lane_tune(int fd)
{
	int one = 1, idle = 10, interval = 5, count = 4, user_ms = 30000;

	/* All fail harmlessly on a Unix socket. A peer that is gone is noticed within 30 s, a paused one survives that. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static int queue_add(struct queue *q, const void *p, size_t n, size_t ceiling)
{
	if (q->cap - q->tail < n) {
		size_t live = q->tail - q->head, cap = q->cap ? q->cap : 64u << 10;
		uint8_t *data;

		if (live + n > ceiling)
			return -1;
		while (cap < live + n)
			cap *= 2;
		if (cap != q->cap) {
			if (!(data = malloc(cap)))
				return -1;
			if (live)
				memcpy(data, q->data + q->head, live);
			free(q->data);
			q->data = data;
			q->cap = cap;
		} else if (live) {
			memmove(q->data, q->data + q->head, live);
		}
		q->head = 0;
		q->tail = live;
	}
	if (n)
		memcpy(q->data + q->tail, p, n);
	q->tail += n;
	return 0;
}

/* Sends from o->out until it is empty (1), the socket is full (0; never when `block`), or lost (-1). */
static int drain(struct mp_outlet *o, bool block)
{
	struct queue *q = &o->out;

	while (q->head < q->tail) {
		ssize_t n = send(o->fd, q->data + q->head, q->tail - q->head,
				 MSG_NOSIGNAL | (block ? 0 : MSG_DONTWAIT));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			struct pollfd pfd = {.fd = o->fd, .events = POLLOUT};

			if (!block)
				return 0;
			(void)poll(&pfd, 1, 1000);
			continue;
		}
		if (n < 0) {
			atomic_store(&o->lost, true);
			q->head = q->tail = 0;
			return -1;
		}
		q->head += (size_t)n;
	}
	q->head = q->tail = 0;
	return 1;
}

static void swap_queues(struct mp_outlet *o)
{
	struct queue t = o->out;

	assert(o->out.head == o->out.tail);
	o->out = o->q;
	o->q = t;
	o->q.head = o->q.tail = 0;
}

/* With the lock held and nobody sending: send what is queued, or leave the rest to the writer. */
static void try_send(struct mp_outlet *o)
{
	o->sending = true;
	while (o->q.head < o->q.tail) {
		int r;

		swap_queues(o);
		pthread_mutex_unlock(&o->lock);
		r = drain(o, false);
		pthread_mutex_lock(&o->lock);
		if (r == 0) { /* stays `sending`: the writer takes over */
			o->writer_wanted = true;
			pthread_cond_broadcast(&o->wake);
			return;
		}
		if (r < 0)
			o->q.head = o->q.tail = 0;
	}
	o->sending = false;
	pthread_cond_broadcast(&o->wake);
}

static void *writer_main(void *arg)
{
	struct mp_outlet *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		while (!o->writer_wanted && !o->ending)
			pthread_cond_wait(&o->wake, &o->lock);
		if (!o->writer_wanted)
			break;
		o->writer_wanted = false;
		do {
			pthread_mutex_unlock(&o->lock);
			(void)drain(o, true);
			pthread_mutex_lock(&o->lock);
			if (atomic_load(&o->lost))
				o->q.head = o->q.tail = 0;
			swap_queues(o);
		} while (o->out.head < o->out.tail);
		o->sending = false;
		pthread_cond_broadcast(&o->wake);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

struct mp_outlet *mp_outlet_new(int fd, size_t ceiling)
{
	struct mp_outlet *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->fd = fd;
	o->ceiling = ceiling;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->wake, NULL);
	if (pthread_create(&o->writer, NULL, writer_main, o)) {
		pthread_cond_destroy(&o->wake);
		pthread_mutex_destroy(&o->lock);
		free(o);
		return NULL;
	}
	return o;
}

void mp_outlet_free(struct mp_outlet *o, unsigned timeout_ms)
{
	struct timespec until;

	if (!o)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&o->lock);
	while (o->sending && !atomic_load(&o->lost))
		if (pthread_cond_timedwait(&o->wake, &o->lock, &until))
			break;
	o->ending = true;
	atomic_store(&o->lost, true);
	pthread_cond_broadcast(&o->wake);
	pthread_mutex_unlock(&o->lock);
	(void)shutdown(o->fd, SHUT_RDWR); /* a writer that is stuck in send() comes back */
	pthread_join(o->writer, NULL);
	pthread_cond_destroy(&o->wake);
	pthread_mutex_destroy(&o->lock);
	free(o->q.data);
	free(o->out.data);
	free(o);
}

void mp_outlet_ack(struct mp_outlet *o, uint64_t ticket)
{
	atomic_store_explicit(&o->ack, ticket, memory_order_relaxed);
}

int mp_outlet_sendv(struct mp_outlet *o, struct mp_frame f, const struct iovec *iov, unsigned n)
{
	size_t total = 0;
	unsigned i;
	int r;

	for (i = 0; i < n; i++)
		total += iov[i].iov_len;
	assert(total <= MP_FRAME_MAX);
	f.length = (uint32_t)total;
	if (MP_UNLIKELY(atomic_load_explicit(&o->lost, memory_order_relaxed)))
		return -1;
	pthread_mutex_lock(&o->lock);
	f.ack = atomic_load_explicit(&o->ack, memory_order_relaxed);
	r = queue_add(&o->q, &f, sizeof(f), o->ceiling);
	for (i = 0; i < n && !r; i++)
		r = queue_add(&o->q, iov[i].iov_base, iov[i].iov_len, o->ceiling);
	if (r)
		atomic_store(&o->lost, true);
	else
		o->frames++;
	if (!r && !o->sending)
		try_send(o);
	pthread_mutex_unlock(&o->lock);
	return r;
}

int mp_outlet_send(struct mp_outlet *o, struct mp_frame f, const void *payload, size_t n)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)payload, .iov_len = n};

	return mp_outlet_sendv(o, f, &iov, n ? 1 : 0);
}

/* Header and payload straight from the caller's memory. */
static int send_whole(struct mp_outlet *o, struct mp_frame *f, const void *payload, size_t n)
{
	struct iovec iov[2] = {{f, sizeof(*f)}, {(void *)(uintptr_t)payload, n}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n ? 2 : 1};

	while (msg.msg_iovlen) {
		ssize_t got = sendmsg(o->fd, &msg, MSG_NOSIGNAL);

		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			return -1;
		while (msg.msg_iovlen && (size_t)got >= msg.msg_iov->iov_len) {
			got -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + got;
			msg.msg_iov->iov_len -= (size_t)got;
		}
	}
	return 0;
}

int64_t mp_outlet_push(struct mp_outlet *o, struct mp_frame f, const void *payload, size_t n)
{
	int64_t count;
	int r;

	assert(n <= MP_FRAME_MAX);
	f.length = (uint32_t)n;
	pthread_mutex_lock(&o->lock);
	while (o->sending)
		pthread_cond_wait(&o->wake, &o->lock);
	if (atomic_load(&o->lost)) {
		pthread_mutex_unlock(&o->lock);
		return -1;
	}
	o->sending = true;
	count = (int64_t)++o->frames;
	pthread_mutex_unlock(&o->lock);
	f.ack = atomic_load_explicit(&o->ack, memory_order_relaxed);
	r = send_whole(o, &f, payload, n);
	pthread_mutex_lock(&o->lock);
	if (r)
		atomic_store(&o->lost, true);
	/* Frames that others queued meanwhile. */
	o->sending = false;
	if (o->q.head < o->q.tail && !r)
		try_send(o);
	else
		pthread_cond_broadcast(&o->wake);
	pthread_mutex_unlock(&o->lock);
	return r ? -1 : count;
}

uint32_t mp_outlet_count(struct mp_outlet *o)
{
	uint32_t n;

	pthread_mutex_lock(&o->lock);
	n = (uint32_t)o->frames;
	pthread_mutex_unlock(&o->lock);
	return n;
}

bool mp_outlet_lost(struct mp_outlet *o)
{
	return atomic_load_explicit(&o->lost, memory_order_relaxed);
}
