/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measuring a lane.  The client sends commands of 8 bytes, what to do and with
 * how many bytes; the server echoes, swallows or sends so many.
 */
#include "rpc/perf.h"
#include "base/check.h"
#include "base/clock.h"
#include "wire/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE	  (1u << 20)
#define BULK	  (64u << 20)
#define BULKS	  5 /* the best counts: what else the machine does is not the lane */
#define PINGS	  400
#define RECORD	  64u
#define RECORDS	  200000u
#define SERVE_NS  (60ull * 1000000000)
#define SILENT_MS 20000

enum { PERF_ECHO = 1, PERF_SWALLOW = 2, PERF_SEND = 3 };

struct command {
	uint32_t op, n;
};

static bool give(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t r;

	for (; n; at += r, n -= (size_t)r) {
		r = send(fd, at, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			r = 0;
		else if (r <= 0)
			return false;
	}
	return true;
}

static bool take(int fd, void *p, size_t n)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char *at = p;
	ssize_t r;

	for (; n; at += r, n -= (size_t)r) {
		if (poll(&wait, 1, SILENT_MS) == 0)
			return false;
		r = recv(fd, at, n, 0);
		if (r < 0 && errno == EINTR)
			r = 0;
		else if (r <= 0)
			return false;
	}
	return true;
}

static bool take_pieces(int fd, char *room, size_t n)
{
	size_t part;

	for (; n; n -= part) {
		part = n < PIECE ? n : PIECE;
		if (!take(fd, room, part))
			return false;
	}
	return true;
}

static bool give_pieces(int fd, const char *room, size_t n)
{
	size_t part;

	for (; n; n -= part) {
		part = n < PIECE ? n : PIECE;
		if (!give(fd, room, part))
			return false;
	}
	return true;
}

void mp_perf_serve(int fd)
{
	uint64_t until = mp_now_ns() + SERVE_NS;
	char *room = calloc(1, PIECE);
	struct command c;
	bool good = room && take(fd, room, sizeof(struct mp_hello));

	while (good && mp_now_ns() < until && take(fd, &c, sizeof(c))) {
		if (c.op == PERF_ECHO && c.n <= PIECE)
			good = take(fd, room, c.n) && give(fd, room, c.n);
		else if (c.op == PERF_SWALLOW && c.n <= BULK)
			good = take_pieces(fd, room, c.n) && give(fd, "k", 1);
		else if (c.op == PERF_SEND && c.n <= BULK)
			good = give_pieces(fd, room, c.n);
		else
			good = false;
	}
	free(room);
}

/* ---- The client's side ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double since(uint64_t t0)
{
	return (double)(mp_now_ns() - t0) / 1e9;
}

static bool pings(int fd, char *room, struct mp_perf *ret)
{
	struct command c = {PERF_ECHO, RECORD - sizeof(c)};
	double us[PINGS];
	uint64_t t0;
	int i;

	memcpy(room, &c, sizeof(c));
	for (i = 0; i < PINGS; i++) {
		t0 = mp_now_ns();
		if (!give(fd, room, RECORD) || !take(fd, room + RECORD, RECORD - sizeof(c)))
			return false;
		us[i] = since(t0) * 1e6;
	}
	qsort(us, PINGS, sizeof(*us), by_value);
	ret->round_trip_us = us[PINGS / 2];
	ret->worst_us = us[PINGS * 99 / 100];
	return true;
}

static bool bulks(int fd, char *room, struct mp_perf *ret)
{
	struct command up = {PERF_SWALLOW, BULK}, down = {PERF_SEND, BULK};
	double best[2] = {0}, rate;
	uint64_t t0;
	char k;
	int i;

	for (i = 0; i < 2 * BULKS; i++) {
		t0 = mp_now_ns();
		if (i & 1 ? !give(fd, &down, sizeof(down)) || !take_pieces(fd, room, BULK)
			  : !give(fd, &up, sizeof(up)) || !give_pieces(fd, room, BULK) || !take(fd, &k, 1))
			return false;
		rate = BULK / since(t0) / 1e9;
		best[i & 1] = rate > best[i & 1] ? rate : best[i & 1];
	}
	ret->up_gb_s = best[0];
	ret->down_gb_s = best[1];
	return true;
}

/* Small records one after another, each sent by itself, one answer at the end. */
static bool one_way(int fd, char *room, struct mp_perf *ret)
{
	struct command c = {PERF_SWALLOW, RECORD * RECORDS};
	uint64_t t0 = mp_now_ns();
	unsigned i;
	char k;

	if (!give(fd, &c, sizeof(c)))
		return false;
	for (i = 0; i < RECORDS; i++)
		if (!give(fd, room, RECORD))
			return false;
	if (!take(fd, &k, 1))
		return false;
	ret->one_way_s = RECORDS / since(t0);
	return true;
}

int mp_perf_measure(int fd, const uint8_t secret[32], struct mp_perf *ret, struct mp_fail *f)
{
	struct mp_hello h = {.major = MP_PROTO_MAJOR, .minor = MP_PROTO_MINOR, .lane = MP_LANE_COMMAND};
	char *room = calloc(1, PIECE);
	bool good;

	memcpy(h.magic, MP_HELLO_MAGIC, sizeof(h.magic));
	memcpy(h.secret, secret, sizeof(h.secret));
	memcpy(h.comm, "netperf", 8);
	h.pid = (uint32_t)getpid();
	good = room && give(fd, &h, sizeof(h)) && pings(fd, room, ret) && bulks(fd, room, ret) && one_way(fd, room, ret);
	free(room);
	return good ? 0 : mp_fail_set(f, 0, "the lane broke while it was measured");
}
