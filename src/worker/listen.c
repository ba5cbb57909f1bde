/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking lanes without a daemon, for tests by hand: a worker per session.
 *
 * The hello of each connection is looked at and left in the socket.  The first
 * lane of a session starts a worker as the daemon would, by worker-spawn.h; the
 * other lane goes to it by its control socket.  No secret is asked for, so this
 * listens on a Unix socket or on loopback only.  It ends a moment after the last
 * worker has ended (`once`: at once), with that one's status.
 */
#include "worker/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "pool/worker-spawn.h"
#include "wire/frame.h"

#define SESSIONS  64
#define LINGER_MS 1500
#define HELLO_MS  5000

struct session {
	uint8_t id[MP_SESSION_BYTES];
	pid_t pid; /* 0: free */
	int control;
};

static struct session sessions[SESSIONS];
static volatile sig_atomic_t terminated;

static void on_term(int sig)
{
	terminated = 1;
}

static int peek_hello(int fd, struct mp_hello *h)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int tries;

	for (tries = 0; tries < HELLO_MS / 5; tries++) {
		ssize_t n;

		if (poll(&pfd, 1, HELLO_MS) <= 0)
			return -1;
		n = recv(fd, h, sizeof(*h), MSG_PEEK | MSG_DONTWAIT);
		if (n == sizeof(*h))
			return 0;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
		usleep(5000); /* part of it is here: poll() would return at once */
	}
	return -1;
}

static int give_lane(int control, int fd)
{
	struct mp_worker_control c = {.kind = MP_WORKER_LANE};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct iovec iov = {&c, sizeof(c)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
			     .msg_controllen = sizeof(u.buf)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	return sendmsg(control, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static void start(struct session *s, int fd, char **argv)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return;
	s->pid = fork();
	if (!s->pid) {
		/* Above what is put into place, so that nothing is overwritten. */
		int lane = fcntl(fd, F_DUPFD, 16), control = fcntl(pair[1], F_DUPFD, 16);

		if (lane < 0 || control < 0 || dup2(lane, MP_WORKER_LANE_FD) < 0 ||
		    dup2(control, MP_WORKER_CONTROL_FD) < 0)
			_exit(MP_WORKER_EXIT_USAGE);
		close(lane);
		close(control);
		execv("/proc/self/exe", argv);
		_exit(MP_WORKER_EXIT_USAGE);
	}
	close(pair[1]);
	s->control = pair[0];
	if (s->pid < 0) {
		s->pid = 0;
		close(pair[0]);
	}
}

static void take(int fd, char **argv)
{
	struct session *spare = NULL;
	struct mp_hello h;
	unsigned i;

	if (peek_hello(fd, &h))
		return;
	for (i = 0; i < SESSIONS; i++) {
		if (!sessions[i].pid)
			spare = &sessions[i];
		else if (!memcmp(sessions[i].id, h.session, sizeof(h.session))) {
			(void)give_lane(sessions[i].control, fd);
			return;
		}
	}
	if (spare) {
		memcpy(spare->id, h.session, sizeof(h.session));
		start(spare, fd, argv);
	}
}

/* Workers that have ended; how many there still are. */
static unsigned reap(int *status)
{
	unsigned i, n = 0;
	int st;

	for (i = 0; i < SESSIONS; i++) {
		if (!sessions[i].pid)
			continue;
		if (waitpid(sessions[i].pid, &st, WNOHANG) == sessions[i].pid) {
			*status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
			close(sessions[i].control);
			sessions[i].pid = 0;
		} else {
			n++;
		}
	}
	return n;
}

static void end_all(void)
{
	unsigned i;

	for (i = 0; i < SESSIONS; i++)
		if (sessions[i].pid)
			(void)kill(sessions[i].pid, SIGTERM);
}

int mp_worker_listen(int fd, char **argv, int once)
{
	struct sigaction sa = {.sa_handler = on_term};
	int status = 0, idle = 0, any = 0;

	(void)sigaction(SIGTERM, &sa, NULL);
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	while (!terminated) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int lane = -1;

		if (poll(&pfd, 1, any ? 20 : 200) > 0)
			lane = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (lane >= 0) {
			take(lane, argv);
			close(lane);
			any = 1;
		}
		if (reap(&status) || !any || lane >= 0)
			idle = 0;
		else if ((idle += 20) >= (once ? 20 : LINGER_MS))
			return status;
	}
	end_all();
	return MP_WORKER_EXIT_ENDED;
}
