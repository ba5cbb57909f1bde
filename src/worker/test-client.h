/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for tests: starts a worker, speaks the protocol by hand, one thread.
 *
 * Records are gathered and sent by tc_flush(); tc_wait() reads lane 0 until
 * what was asked for is there.  Frames that nobody waits for are counted.
 */
#ifndef MP_WORKER_TEST_CLIENT_H
#define MP_WORKER_TEST_CLIENT_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "mp-call.h"
#include "mp-msg.h"
#include "rpc/server.h"

struct tc {
	pid_t pid;
	int lane[2];
	char dir[64], path[96];
	uint8_t out[1 << 20] __attribute__((aligned(8)));
	size_t n;
	uint64_t ticket, sent; /* of the next record; of the first in out */
	uint32_t ctx, thread;
	uint64_t window, window_size;
	struct mp_snapshot snap;
	struct mp_snapshot_device dev;
	/* the last frame that tc_wait returned */
	struct mp_frame f;
	uint8_t body[16 << 20] __attribute__((aligned(8)));
	/* what was seen on the way */
	unsigned errors, acks, calls, needs, pulls;
	uint64_t acked, last_error, last_error_ticket, last_call_serial, last_need, last_pull;
	uint32_t bulk_seen;
	struct mp_done done[256];
	unsigned dones;
	char printed[65536];
	size_t printed_n;
	/* where DATA and BULK of these tickets go */
	struct { uint64_t ticket; uint8_t *to; size_t n, got; } sink[64];
	unsigned sinks;
};

extern char **environ;

static int tc_connect(struct tc *c, unsigned lane, const struct mp_hello *proto)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct mp_hello h = *proto;
	int i, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", c->path);
	for (i = 0; i < 500 && connect(fd, (struct sockaddr *)&a, sizeof(a)); i++)
		usleep(10000);
	h.lane = (uint16_t)lane;
	return i < 500 && send(fd, &h, sizeof(h), MSG_NOSIGNAL) == sizeof(h) ? fd : -1;
}

static int tc_account = -1; /* of a lease that several sessions share */
static uint64_t tc_skew; /* not 0: a client of another release */

static void tc_hello(struct tc *c, struct mp_hello *h)
{
	*h = (struct mp_hello){.magic = "MOTORPL", .major = MP_PROTO_MAJOR, .pid = (uint32_t)getpid(),
			       .window_size = 1ull << 36, .calls = MP_API_HASH ^ tc_skew, .comm = "test"};
	memcpy(h->magic, MP_HELLO_MAGIC, 8);
	h->window_base[0] = 0x200100000000ull;
	h->window_base[1] = 0x7e0000000000ull;
}

/* 0 when the worker runs and has sent WELCOME. */
static int tc_open(struct tc *c, const char *memory)
{
	const char *worker = getenv("MP_TEST_WORKER"), *driver = getenv("MP_TEST_DRIVER");
	char listen[120], *argv[] = {"motorpool-worker", "--listen", listen, "--once", "--driver", (char *)(uintptr_t)driver,
				     "--memory", (char *)(uintptr_t)memory, NULL, NULL, NULL};
	char account[16];
	posix_spawn_file_actions_t quiet;
	struct mp_hello h;
	int i;

	c->pid = 0;
	c->n = 0;
	c->ticket = c->sent = MP_TICKET_FIRST;
	c->ctx = 0;
	c->thread = 1;
	c->errors = c->acks = c->calls = c->needs = c->pulls = c->dones = c->sinks = 0;
	c->bulk_seen = 0;
	c->printed_n = 0;
	snprintf(c->dir, sizeof(c->dir), "/tmp/mp-worker-XXXXXX");
	if (!worker || !driver || !mkdtemp(c->dir))
		return -1;
	snprintf(c->path, sizeof(c->path), "%s/s", c->dir);
	snprintf(listen, sizeof(listen), "unix:%s", c->path);
	if (tc_account >= 0) {
		snprintf(account, sizeof(account), "%d", tc_account);
		argv[8] = "--account-fd";
		argv[9] = account;
	}
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0); /* its address would spoil our TAP */
	i = posix_spawn(&c->pid, worker, &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (i)
		return -1;
	tc_hello(c, &h);
	c->lane[0] = tc_connect(c, 0, &h);
	c->lane[1] = tc_connect(c, 1, &h);
	if (c->lane[0] < 0 || c->lane[1] < 0)
		return -1;
	if (mp_recv_all(c->lane[0], &c->f, sizeof(c->f)) || c->f.length > sizeof(c->body) ||
	    mp_recv_all(c->lane[0], c->body, c->f.length) || c->f.kind != MP_FRAME_WELCOME)
		return -1;
	memcpy(&c->snap, c->body, sizeof(c->snap));
	memcpy(&c->dev, c->body + sizeof(c->snap), sizeof(c->dev));
	c->window = c->snap.window_base;
	c->window_size = c->snap.window_size;
	return 0;
}

/* The worker's exit status, -signal, or -1000 when it had to be killed. */
static int tc_close(struct tc *c)
{
	int status = 0, i;

	for (i = 0; i < 2; i++)
		if (c->lane[i] >= 0)
			close(c->lane[i]);
	for (i = 0; i < 400 && waitpid(c->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	unlink(c->path);
	rmdir(c->dir);
	if (i == 400) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, &status, 0);
		return -1000;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int tc_flush(struct tc *c)
{
	struct mp_frame f = {.length = (uint32_t)c->n, .kind = MP_FRAME_RECORDS, .ticket = c->sent};
	size_t at = 0;

	if (!c->n)
		return 0;
	if (send(c->lane[0], &f, sizeof(f), MSG_NOSIGNAL | MSG_MORE) != sizeof(f))
		return -1;
	while (at < c->n) {
		ssize_t n = send(c->lane[0], c->out + at, c->n - at, MSG_NOSIGNAL);

		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	c->sent = c->ticket;
	c->n = 0;
	return 0;
}

/* Room for a record with an n-byte payload; returns the payload, *ret_ticket may be NULL. */
static uint8_t *tc_add(struct tc *c, unsigned call, unsigned flags, size_t n, uint64_t *ret_ticket)
{
	struct mp_record r = {.length = (uint32_t)(sizeof(r) + n), .call = (uint16_t)call,
			      .flags = (uint16_t)flags, .thread = c->thread, .ctx = c->ctx};
	uint8_t *p;

	if (c->n + r.length > sizeof(c->out))
		(void)tc_flush(c);
	p = c->out + c->n;
	memcpy(p, &r, sizeof(r));
	if (ret_ticket)
		*ret_ticket = c->ticket;
	c->n += r.length;
	c->ticket += r.length;
	return p + sizeof(r);
}

#define TC_SEND_F(c, NUM, X, fl, ret, ...)                                                         \
	do {                                                                                       \
		struct mp_msg_##X tc_m = {__VA_ARGS__};                                            \
		mp_put_##X(tc_add(c, NUM, fl, mp_size_##X(&tc_m), ret), &tc_m);                    \
	} while (0)
#define TC_CALL(c, X, ret, ...) TC_SEND_F(c, MP_CALL_##X, X, 0, ret, __VA_ARGS__)
#define TC_CALL_F(c, X, fl, ret, ...) TC_SEND_F(c, MP_CALL_##X, X, fl, ret, __VA_ARGS__)
#define TC_REC(c, X, ret, ...) TC_SEND_F(c, MP_REC_##X, X, 0, ret, __VA_ARGS__)

static void tc_sink(struct tc *c, uint64_t ticket, void *to, size_t n)
{
	unsigned i = c->sinks++ % 64;

	c->sink[i].ticket = ticket;
	c->sink[i].to = to;
	c->sink[i].n = n;
	c->sink[i].got = 0;
}

static void tc_put(struct tc *c, uint64_t ticket, uint64_t offset, const uint8_t *p, size_t n)
{
	unsigned i;

	for (i = 0; i < 64 && i < c->sinks; i++)
		if (c->sink[i].ticket == ticket && offset <= c->sink[i].n && n <= c->sink[i].n - offset) {
			memcpy(c->sink[i].to + offset, p, n);
			c->sink[i].got += n;
			return;
		}
	MP_CHECK(!"bytes that nobody asked for");
}

static int tc_bulk_one(struct tc *c)
{
	struct mp_frame f;
	static uint8_t body[MP_CHUNK_MAX];

	if (mp_recv_all(c->lane[1], &f, sizeof(f)) || f.length > sizeof(body) ||
	    mp_recv_all(c->lane[1], body, f.length)) {
		MP_CHECK(!"lane 1 broke");
		return -1;
	}
	c->bulk_seen++;
	tc_put(c, f.ticket, f.extra, body, f.length);
	return 0;
}

/* Frames of lane 1 until as many were seen as the completion names. */
static void tc_bulk(struct tc *c, uint32_t until)
{
	while ((int32_t)(until - c->bulk_seen) > 0)
		if (tc_bulk_one(c))
			return;
}

/* One frame of lane 0. 0, or -1 at the end of the lane or after `ms`. */
static int tc_frame(struct tc *c, int ms)
{
	struct pollfd pfd[2] = {{.fd = c->lane[0], .events = POLLIN}, {.fd = c->lane[1], .events = POLLIN}};

	for (;;) {
		if (poll(pfd, 2, ms) <= 0)
			return -1;
		if (pfd[0].revents)
			break;
		if (tc_bulk_one(c))
			return -1;
	}
	if (mp_recv_all(c->lane[0], &c->f, sizeof(c->f)) ||
	    c->f.length > sizeof(c->body) || mp_recv_all(c->lane[0], c->body, c->f.length))
		return -1;
	if (c->f.ack)
		c->acked = c->f.ack;
	switch (c->f.kind) {
	case MP_FRAME_ERROR:
		c->errors++;
		c->last_error = (uint32_t)c->f.extra;
		c->last_error_ticket = c->f.ticket;
		break;
	case MP_FRAME_ACK:
		c->acks++;
		break;
	case MP_FRAME_CALL:
		c->calls++;
		c->last_call_serial = c->f.extra;
		break;
	case MP_FRAME_NEED:
		c->needs++;
		c->last_need = c->f.ticket;
		break;
	case MP_FRAME_PULL:
		c->pulls++;
		c->last_pull = c->f.ticket;
		break;
	case MP_FRAME_DATA:
		tc_put(c, c->f.ticket, c->f.extra, c->body, c->f.length);
		break;
	case MP_FRAME_REPLY:
		tc_bulk(c, (uint32_t)(c->f.extra >> 32));
		break;
	case MP_FRAME_DONE:
		for (unsigned i = 0; i < c->f.extra; i++) {
			struct mp_done d;

			memcpy(&d, c->body + i * sizeof(d), sizeof(d));
			tc_bulk(c, d.bulk);
			c->done[c->dones++ % 256] = d;
		}
		break;
	case MP_FRAME_PRINT:
		if (c->printed_n + c->f.length < sizeof(c->printed)) {
			memcpy(c->printed + c->printed_n, c->body, c->f.length);
			c->printed_n += c->f.length;
		}
		break;
	default:
		break;
	}
	return 0;
}

/* Flush, then read until a frame of that kind and ticket; its status, or -1. */
static int tc_wait(struct tc *c, unsigned kind, uint64_t ticket)
{
	if (tc_flush(c))
		return -1;
	while (!tc_frame(c, 10000))
		if (c->f.kind == kind && c->f.ticket == ticket)
			return (int)(uint32_t)c->f.extra;
	return -1;
}

/* Flush, then read until DONE for that ticket; its status, or -1. */
static int tc_done(struct tc *c, uint64_t ticket)
{
	unsigned i;

	if (tc_flush(c))
		return -1;
	for (;;) {
		for (i = 0; i < c->dones && i < 256; i++)
			if (c->done[i].ticket == ticket)
				return (int)c->done[i].status;
		if (tc_frame(c, 10000))
			return -1;
	}
}

/* MARK the stream and wait. */
static int tc_sync(struct tc *c, uint32_t stream)
{
	uint64_t t;

	TC_REC(c, mark, &t, .stream = stream);
	return tc_done(c, t);
}

static int tc_send_bulk(struct tc *c, uint64_t ticket, const uint8_t *p, size_t n)
{
	size_t at;

	for (at = 0; at < n; at += MP_CHUNK_MAX) {
		size_t k = n - at < MP_CHUNK_MAX ? n - at : MP_CHUNK_MAX, done = 0;
		struct mp_frame f = {.length = (uint32_t)k, .kind = MP_FRAME_BULK, .ticket = ticket, .extra = at};

		if (send(c->lane[1], &f, sizeof(f), MSG_NOSIGNAL | MSG_MORE) != sizeof(f))
			return -1;
		while (done < k) {
			ssize_t r = send(c->lane[1], p + at + done, k - done, MSG_NOSIGNAL);

			if (r < 0)
				return -1;
			done += (size_t)r;
		}
	}
	return 0;
}

static void tc_context(struct tc *c, uint32_t id)
{
	TC_REC(c, context, NULL, .context = id, .device = 0, .primary = 1);
	c->ctx = id;
}

#endif
