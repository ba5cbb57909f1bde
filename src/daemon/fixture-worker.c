/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker for tests of the pool alone: no driver, no protocol beyond the hello.
 *
 * Tells FIXTURE_DEVICES devices of FIXTURE_MEMORY MiB when probed.  For a lane it
 * reads the hello, joins the account, then obeys one-letter commands with a
 * number of MiB: "c N\n" charges device 0, answered "ok" or "full"; "x\n" exits.
 * Further lanes are answered with "lane" and closed.
 */
#include "base/account.h"
#include "pool/worker-spawn.h"
#include "rpc/perf.h"
#include "wire/frame.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int probe(void)
{
	const char *n = getenv("FIXTURE_DEVICES"), *mib = getenv("FIXTURE_MEMORY");
	int i, count = n ? atoi(n) : 2;

	printf("{\"driver_version\": \"1.0\", \"cuda_version\": 13000, \"devices\": [");
	for (i = 0; i < count; i++)
		printf("%s{\"index\": %d, \"uuid\": \"GPU-00000000-0000-0000-0000-00000000000%x\","
		       " \"name\": \"Fixture\", \"memory\": %lld, \"capability\": \"8.0\"}",
		       i ? "," : "", i, i, (mib ? atoll(mib) : 1024) << 20);
	puts("]}");
	return 0;
}

/* Every device that is asked after is well. */
static int look(const char *uuids)
{
	const char *sep = "";
	size_t n;

	printf("{\"devices\": [");
	for (; *uuids; uuids += n + (uuids[n] == ',')) {
		n = strcspn(uuids, ",");
		printf("%s{\"uuid\": \"%.*s\", \"taken\": 0, \"why\": \"\"}", sep, (int)n, uuids);
		sep = ", ";
	}
	puts("]}");
	return 0;
}

static bool read_all(int fd, void *to, size_t n)
{
	ssize_t got;

	for (; n; n -= (size_t)got, to = (char *)to + got)
		if ((got = read(fd, to, n)) <= 0)
			return false;
	return true;
}

static void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		exit(MP_WORKER_EXIT_LOST);
}

static int lane_take(int control)
{
	struct mp_worker_control c;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec iov = {&c, sizeof(c)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
			   .msg_controllen = sizeof(u.room)};
	int fd;

	if (recvmsg(control, &m, MSG_CMSG_CLOEXEC) != sizeof(c) || !CMSG_FIRSTHDR(&m) ||
	    c.kind != MP_WORKER_LANE)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void command(int lane, struct mp_account *a, unsigned slot)
{
	char line[64];
	size_t n = 0;

	do {
		if (n == sizeof(line) - 1 || read(lane, line + n, 1) != 1)
			exit(MP_WORKER_EXIT_OK);
	} while (line[n++] != '\n');
	line[n] = 0;
	if (line[0] == 'x')
		exit(MP_WORKER_EXIT_OK);
	if (line[0] == 'c')
		say(lane, mp_account_charge(a, slot, 0, strtoull(line + 2, NULL, 10) << 20) ? "full\n"
											   : "ok\n");
}

int main(int argc, char **argv)
{
	struct pollfd fds[3] = {{MP_WORKER_LANE_FD, POLLIN, 0}, {MP_WORKER_CONTROL_FD, POLLIN, 0},
				{-1, POLLIN, 0}};
	struct mp_account *a;
	struct mp_hello h;
	unsigned slot;
	int fd;

	if (argc > 1 && !strcmp(argv[1], "--probe"))
		return probe();
	if (argc > 1 && !strcmp(argv[1], "--netperf")) {
		mp_perf_serve(MP_WORKER_LANE_FD);
		return 0;
	}
	if (argc > 5 && !strcmp(argv[1], "--look"))
		return look(argv[5]);
	if (!read_all(MP_WORKER_LANE_FD, &h, sizeof(h)) ||
	    mp_account_open(MP_WORKER_ACCOUNT_FD, &a) < 0 || mp_account_join(a, 0, &slot))
		return MP_WORKER_EXIT_USAGE;
	say(MP_WORKER_LANE_FD, "hello\n");
	for (;;) {
		if (poll(fds, 3, -1) < 0)
			return MP_WORKER_EXIT_USAGE;
		if (fds[1].revents) {
			fd = lane_take(fds[1].fd);
			if (fd < 0) {
				/* The daemon is gone: go on, and wait for the next. */
				fds[1].fd = -1;
				fds[2].fd = MP_WORKER_ADOPT_FD;
				continue;
			}
			say(fd, read_all(fd, &h, sizeof(h)) ? "lane\n" : "bad\n");
			close(fd);
		}
		if (fds[2].revents) {
			fds[1].fd = accept(MP_WORKER_ADOPT_FD, NULL, NULL);
			fds[2].fd = -1;
			fds[1].revents = 0;
		}
		if (fds[0].revents)
			command(MP_WORKER_LANE_FD, a, slot);
	}
}
