/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link model: one relay thread for all wrapped lanes of a process.
 *
 * Each lane is a socket pair in front of the real socket.  Bytes read from one
 * side are stamped with the moment at which a link of the given bandwidth would
 * have taken their last bit, plus the delay, and are written to the other side
 * not before it.  The bandwidth of a direction is one line that all lanes
 * share; the delay is added per chunk, so that any number of bytes may be
 * under way.  The relay owns both descriptors of a lane.
 */
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define LANES	   16
#define CHUNK	   (64u << 10)
#define QUEUE_MOST (256u << 20) /* bytes under way in one direction of a lane */

struct chunk {
	struct chunk *next;
	uint64_t due;
	size_t size, sent;
	char data[];
};

/* One direction of one lane. */
struct flow {
	int from, to;
	struct chunk *first, **last;
	size_t queued;
	bool ended; /* end of file was read */
	bool over;  /* ... and passed on */
	uint64_t not_before;
};

struct line {
	uint64_t free_at; /* when the last bit of what was taken has left */
};

static struct {
	pthread_mutex_t lock;
	bool known, on, running;
	uint64_t delay_ns;
	double ns_per_byte;
	int wake;
	size_t nflows MP_GUARDED_BY(lock);
	struct flow flow[2 * LANES];
	struct line line[2];
	_Atomic size_t under_way; /* bytes read from the program and not yet written to the network */
} model = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1};

bool mp_link_on(void)
{
	pthread_mutex_lock(&model.lock);
	if (!model.known) {
		const char *d = getenv("MOTORPOOL_LINK_DELAY_US"), *g = getenv("MOTORPOOL_LINK_GBPS");
		double gbps = g ? strtod(g, NULL) : 0;

		model.delay_ns = d ? strtoull(d, NULL, 10) * 1000u : 0;
		model.ns_per_byte = gbps > 0 ? 8.0 / gbps : 0;
		model.on = model.delay_ns || gbps > 0;
		model.known = true;
	}
	pthread_mutex_unlock(&model.lock);
	return model.on;
}

/* Read what is there into the queue, stamped. */
static void flow_take(struct flow *f, struct line *line, bool outward)
{
	struct chunk *c = malloc(sizeof(*c) + CHUNK);
	uint64_t now;
	ssize_t n;

	if (!c)
		return;
	n = recv(f->from, c->data, CHUNK, MSG_DONTWAIT);
	if (n <= 0) {
		free(c);
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			f->ended = true;
		return;
	}
	now = mp_now_ns();
	if (now < f->not_before)
		now = f->not_before;
	if (line->free_at < now)
		line->free_at = now;
	line->free_at += (uint64_t)((double)n * model.ns_per_byte);
	c->due = line->free_at + model.delay_ns;
	c->size = (size_t)n;
	c->sent = 0;
	c->next = NULL;
	*f->last = c;
	f->last = &c->next;
	f->queued += c->size;
	if (outward)
		atomic_fetch_add(&model.under_way, c->size);
}

/* Write what is due; true when the other side would take no more now. */
static bool flow_give(struct flow *f, uint64_t now, bool outward)
{
	struct chunk *c;

	while ((c = f->first) && c->due <= now) {
		ssize_t n = send(f->to, c->data + c->sent, c->size - c->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) /* the reader is gone: what is left falls on the floor */
			n = (ssize_t)(c->size - c->sent), f->ended = true;
		c->sent += (size_t)n;
		f->queued -= (size_t)n;
		if (outward)
			atomic_fetch_sub(&model.under_way, (size_t)n);
		if (c->sent < c->size)
			continue;
		f->first = c->next;
		if (!f->first)
			f->last = &f->first;
		free(c);
	}
	if (!f->first && f->ended && !f->over) {
		shutdown(f->to, SHUT_WR);
		f->over = true;
	}
	return false;
}

static void *relay(void *arg)
{
	struct pollfd p[4 * LANES + 1];
	(void)arg;

	for (;;) {
		uint64_t now = mp_now_ns(), next = UINT64_MAX, ticks;
		struct timespec ts;
		size_t i, n, k = 0;

		pthread_mutex_lock(&model.lock);
		n = model.nflows;
		pthread_mutex_unlock(&model.lock);
		p[k++] = (struct pollfd){.fd = model.wake, .events = POLLIN};
		for (i = 0; i < n; i++) {
			struct flow *f = &model.flow[i];
			bool full = flow_give(f, now, !(i & 1));

			p[k++] = (struct pollfd){
				.fd = f->ended || f->queued >= QUEUE_MOST ? -1 : f->from,
				.events = POLLIN};
			p[k++] = (struct pollfd){.fd = full ? f->to : -1, .events = POLLOUT};
			if (!full && f->first && f->first->due < next)
				next = f->first->due;
		}
		now = mp_now_ns();
		if (next < now)
			next = now;
		ts.tv_sec = (time_t)((next - now) / 1000000000u);
		ts.tv_nsec = (long)((next - now) % 1000000000u);
		ppoll(p, k, next == UINT64_MAX ? NULL : &ts, NULL);
		if (p[0].revents & POLLIN && read(model.wake, &ticks, sizeof(ticks)) < 0)
			continue;
		for (i = 0; i < n; i++)
			if (p[1 + 2 * i].revents)
				flow_take(&model.flow[i], &model.line[i & 1], !(i & 1));
	}
	return NULL;
}

static int relay_start(void)
{
	sigset_t all, old;
	pthread_t t;
	int e;

	if (model.running)
		return 0;
	model.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (model.wake < 0)
		return -1;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	e = pthread_create(&t, NULL, relay, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return -1;
	pthread_detach(t);
	model.running = true;
	return 0;
}

int mp_link_wrap(int own_fd, uint64_t dialled_ns)
{
	int pair[2], big = 4 << 20;
	uint64_t one = 1;
	size_t i;

	if (!mp_link_on())
		return own_fd;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return own_fd;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	pthread_mutex_lock(&model.lock);
	if (model.nflows + 2 > MP_ARRAY_LEN(model.flow) || relay_start()) {
		pthread_mutex_unlock(&model.lock);
		close(pair[0]);
		close(pair[1]);
		return own_fd;
	}
	for (i = 0; i < 2; i++) {
		struct flow *f = &model.flow[model.nflows + i];

		memset(f, 0, sizeof(*f));
		f->from = i ? own_fd : pair[1];
		f->to = i ? pair[1] : own_fd;
		f->last = &f->first;
		f->not_before = i ? 0 : dialled_ns + 2 * model.delay_ns;
	}
	model.nflows += 2;
	pthread_mutex_unlock(&model.lock);
	if (write(model.wake, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	return pair[0];
}

void mp_link_drain(int timeout_ms)
{
	uint64_t end = mp_now_ns() + (uint64_t)timeout_ms * 1000000u;

	if (!model.running)
		return;
	/* What still sits in the socket pair reaches the counter within a scheduling turn. */
	usleep(1000);
	while (atomic_load(&model.under_way) && mp_now_ns() < end)
		usleep(500);
}

void mp_link_forked(void)
{
	size_t i;

	if (!model.running)
		return;
	for (i = 0; i < model.nflows; i += 2) {
		close(model.flow[i].from);
		close(model.flow[i].to);
	}
	close(model.wake);
	model.nflows = 0;
	model.running = false;
}
