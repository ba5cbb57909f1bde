/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpool-gate: the server's end of encrypted lanes.
 *
 *	motorpool-gate --control-fd 3 --state DIR
 *
 * motorpoold hands over each connection that begins with a TLS record, by a
 * SOCK_SEQPACKET socket.  A child for each does the handshake, gives one end of a
 * socket pair back by the same way, as if a plain connection had come, and carries
 * bytes between both.  So a stranger's first bytes meet OpenSSL in a process that
 * holds no other lane, and lanes go on when motorpoold is gone; this process, the
 * children's parent, ends with it.
 */
#include "net/tls.h"
#include "base/check.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_MS 5000
#define CHILDREN_MAX 4096

static int children; /* atomic: the handler counts down */

static void on_child(int sig)
{
	int e = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		__atomic_sub_fetch(&children, 1, __ATOMIC_RELAXED);
	errno = e;
}

static int fd_take(int control)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
			   .msg_controllen = sizeof(u.room)};
	ssize_t n;
	int fd;

	do {
		n = recvmsg(control, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -2;
	if (!CMSG_FIRSTHDR(&m) || CMSG_FIRSTHDR(&m)->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static int fd_give(int control, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char c = 'L';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
			   .msg_controllen = sizeof(u.room)};

	memset(&u, 0, sizeof(u));
	u.head.cmsg_level = SOL_SOCKET;
	u.head.cmsg_type = SCM_RIGHTS;
	u.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.head), &fd, sizeof(fd));
	return sendmsg(control, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static void __attribute__((noreturn)) lane_serve(struct mp_tls *t, int control, int own_tcp)
{
	struct mp_fail f = {0};
	struct mp_tls_lane *l;
	int pair[2];

	signal(SIGCHLD, SIG_DFL);
	l = mp_tls_open(t, own_tcp, HANDSHAKE_MS, &f);
	if (!l || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		mp_log(MP_LOG_WARN, "gate", "refused", "why=\"%s\"", f.text);
		_exit(1);
	}
	if (fd_give(control, pair[1]) < 0)
		_exit(1);
	close(pair[1]);
	close(control);
	mp_tls_pump(l, pair[0]);
	_exit(0);
}

static int serve(int control, const char *state)
{
	char cert[4200], key[4200];
	struct mp_fail f = {0};
	struct mp_tls *t;
	pid_t pid;
	int fd;

	snprintf(cert, sizeof(cert), "%s/chain.crt", state);
	snprintf(key, sizeof(key), "%s/server.key", state);
	while ((fd = fd_take(control)) != -2) {
		if (fd < 0)
			continue;
		/* Read each time: certificates are renewed while lanes live. */
		if (__atomic_load_n(&children, __ATOMIC_RELAXED) >= CHILDREN_MAX || mp_tls_server(cert, key, &t, &f) < 0) {
			mp_log(MP_LOG_ERROR, "gate", "refused", "why=\"%s\"",
			       f.text[0] ? f.text : "too many lanes");
			close(fd);
			continue;
		}
		__atomic_add_fetch(&children, 1, __ATOMIC_RELAXED);
		pid = fork();
		if (!pid)
			lane_serve(t, control, fd);
		if (pid < 0)
			__atomic_sub_fetch(&children, 1, __ATOMIC_RELAXED);
		mp_tls_free(t);
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"control-fd", required_argument, NULL, 'c'},
						{"state", required_argument, NULL, 's'}, {0}};
	struct sigaction sa = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
	struct rlimit none = {0, 0};
	const char *state = NULL;
	int c, control = -1;

	/* It was started by a descriptor, whose number is no name. */
	prctl(PR_SET_NAME, "motorpool-gate");
	mp_log_open(MP_LOG_INFO);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c')
			control = atoi(optarg);
		else if (c == 's')
			state = optarg;
		else
			return 2;
	}
	if (control < 0 || !state) {
		fprintf(stderr, "usage: motorpool-gate --control-fd N --state DIR\n");
		return 2;
	}
	fcntl(control, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_DUMPABLE, 0ul);
	prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul);
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGCHLD, &sa, NULL);
	return serve(control, state);
}
