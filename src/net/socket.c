/* SPDX-License-Identifier: Apache-2.0 */
/* Stream sockets: listening, connecting, tuning, and sends that survive short writes. */
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/tsan.h"
#include "base/check.h"
#include "base/clock.h"

/*
 * Loss is noticed within this time even when nothing is being sent: the pool's
 * liveness limit, since a lane that gives up earlier would lose a program whose
 * lease is kept (a host that was paused or moved).
 */
#define LOST_S 30

static _Atomic uint64_t fault_short, fault_cut, fault_sent;
static _Atomic int fault_known; /* 0 environment not read, 1 none, 2 some */

void mp_net_fault(uint64_t short_bytes, uint64_t cut_after)
{
	atomic_store(&fault_short, short_bytes);
	atomic_store(&fault_cut, cut_after);
	atomic_store(&fault_sent, 0);
	atomic_store(&fault_known, short_bytes || cut_after ? 2 : 1);
}

static void fault_read(void)
{
	const char *s = getenv("MOTORPOOL_FAULT_SHORT"), *c = getenv("MOTORPOOL_FAULT_CUT");

	mp_net_fault(s ? strtoull(s, NULL, 10) : 0, c ? strtoull(c, NULL, 10) : 0);
}

static int lost_s(void)
{
	const char *env = getenv("MOTORPOOL_LIVENESS_S");
	long s = env ? strtol(env, NULL, 10) : 0;

	return s > 0 && s <= 86400 ? (int)s : LOST_S;
}

void mp_net_tune(int fd)
{
	int one = 1, s = lost_s(), idle = s / 6 ? s / 6 : 1, interval = idle, count = 6, lost = s * 1000;

	/* Each of these fails harmlessly on a Unix socket. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost, sizeof(lost));
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

int mp_net_listen(const struct mp_addr *a, int backlog, struct mp_addr *ret_bound,
		  struct mp_fail *f)
{
	char text[160];
	int one = 1, probe, fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	mp_addr_text(a, text, sizeof(text));
	if (fd < 0)
		return mp_fail_set(f, errno, "no socket for %s: %s", text, strerror(errno));
	if (a->u.sa.sa_family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	} else if ((probe = mp_net_connect(a, 1000, NULL)) >= 0) {
		close(probe); /* somebody listens: bind below says so */
	} else if (errno == ECONNREFUSED) {
		unlink(a->u.un.sun_path);
	}
	if (bind(fd, &a->u.sa, a->len) || listen(fd, backlog)) {
		int e = errno;

		close(fd);
		errno = e;
		return mp_fail_set(f, e, "cannot listen on %s: %s", text, strerror(e));
	}
	if (ret_bound) {
		memset(ret_bound, 0, sizeof(*ret_bound));
		ret_bound->len = sizeof(ret_bound->u);
		getsockname(fd, &ret_bound->u.sa, &ret_bound->len);
	}
	return fd;
}

int mp_net_accept(int listen_fd)
{
	int fd;

	do
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd >= 0)
		mp_net_tune(fd);
	return fd;
}

int mp_net_dial(const struct mp_addr *a, struct mp_fail *f)
{
	char text[160];
	int e, fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	mp_addr_text(a, text, sizeof(text));
	if (fd < 0)
		return mp_fail_set(f, errno, "no socket for %s: %s", text, strerror(errno));
	mp_net_tune(fd);
	if (!connect(fd, &a->u.sa, a->len) || errno == EINPROGRESS || errno == EINTR)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return mp_fail_set(f, e, "cannot connect to %s: %s", text, strerror(e));
}

int mp_net_dial_wait(int fd, const struct mp_addr *a, int timeout_ms, struct mp_fail *f)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t end = mp_now_ns() + (uint64_t)timeout_ms * 1000000u;
	socklen_t len = sizeof(int);
	char text[160];
	int n, e = 0;

	do {
		uint64_t now = mp_now_ns();

		n = poll(&p, 1, now < end ? (int)((end - now + 999999) / 1000000) : 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
	else
		e = n ? errno : ETIMEDOUT;
	if (!e) {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		return 0;
	}
	mp_addr_text(a, text, sizeof(text));
	errno = e;
	return mp_fail_set(f, e, "cannot connect to %s: %s", text, strerror(e));
}

int mp_net_connect(const struct mp_addr *a, int timeout_ms, struct mp_fail *f)
{
	int fd = mp_net_dial(a, f);

	if (fd >= 0 && mp_net_dial_wait(fd, a, timeout_ms, f)) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/* How much of `want` the faults let pass now; 0 = the socket was cut. */
static size_t fault_allows(int fd, size_t want)
{
	uint64_t limit = atomic_load(&fault_short), cut = atomic_load(&fault_cut);

	if (limit && want > limit)
		want = (size_t)limit;
	if (cut) {
		uint64_t sent = atomic_fetch_add(&fault_sent, want);

		if (sent >= cut) {
			shutdown(fd, SHUT_RDWR);
			return 0;
		}
		if (want > cut - sent)
			want = (size_t)(cut - sent);
	}
	return want;
}

int mp_net_sendv(int fd, struct iovec *iov, int n)
{
	if (MP_UNLIKELY(!atomic_load_explicit(&fault_known, memory_order_relaxed)))
		fault_read();
	while (n) {
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};
		struct iovec one;
		ssize_t got;

		if (!iov->iov_len) {
			iov++;
			n--;
			continue;
		}
		if (MP_UNLIKELY(atomic_load_explicit(&fault_known, memory_order_relaxed) == 2)) {
			one.iov_base = iov->iov_base;
			one.iov_len = fault_allows(fd, iov->iov_len);
			m.msg_iov = &one;
			m.msg_iovlen = 1;
			if (!one.iov_len) {
				errno = EPIPE;
				return -1;
			}
		}
		MP_TSAN_READS_BEGIN();
		got = sendmsg(fd, &m, MSG_NOSIGNAL);
		MP_TSAN_READS_END();
		if (got < 0) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			if (errno == EAGAIN || errno == EWOULDBLOCK)
				poll(&p, 1, -1);
			else if (errno != EINTR)
				return -1;
			continue;
		}
		while (n && (size_t)got >= iov->iov_len) {
			got -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (got) {
			assert(n);
			iov->iov_base = (char *)iov->iov_base + got;
			iov->iov_len -= (size_t)got;
		}
	}
	return 0;
}

int mp_net_send_pair(int fd, struct iovec iov[2])
{
	size_t all = iov[0].iov_len + iov[1].iov_len, done;
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	long got;
	int i = 0;

	if (MP_UNLIKELY(atomic_load_explicit(&fault_known, memory_order_relaxed) != 1))
		return mp_net_sendv(fd, iov, 2);
	/* Not the C library's: a thread that is cancelled here would keep the lane for ever. */
	got = syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
	if (MP_LIKELY(got == (long)all))
		return 0;
	done = got > 0 ? (size_t)got : 0;
	while (done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	assert(i < 2);
	iov[i].iov_base = (char *)iov[i].iov_base + done;
	iov[i].iov_len -= done;
	/* What is wrong, if something is, shows at the next attempt. */
	return mp_net_sendv(fd, iov + i, 2 - i);
}

int mp_net_send(int fd, const void *p, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)p, n};

	return mp_net_sendv(fd, &iov, 1);
}

int mp_net_recv(int fd, void *p, size_t n)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = recv(fd, (char *)p + have, n - have, MSG_WAITALL);

		if (got > 0) {
			have += (size_t)got;
		} else if (!got) {
			errno = ECONNRESET;
			return have ? -1 : 1;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			struct pollfd w = {.fd = fd, .events = POLLIN};

			poll(&w, 1, -1);
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

int mp_net_recv_for(int fd, void *p, size_t n, int timeout_ms)
{
	uint64_t end = mp_now_ns() + (uint64_t)timeout_ms * 1000000u;
	size_t have = 0;

	while (have < n) {
		struct pollfd w = {.fd = fd, .events = POLLIN};
		uint64_t now = mp_now_ns();
		ssize_t got;

		if (now >= end) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (poll(&w, 1, (int)((end - now + 999999) / 1000000)) <= 0)
			continue;
		got = recv(fd, (char *)p + have, n - have, MSG_DONTWAIT);
		if (got > 0) {
			have += (size_t)got;
		} else if (!got) {
			errno = ECONNRESET;
			return have ? -1 : 1;
		} else if (errno != EINTR && errno != EAGAIN) {
			return -1;
		}
	}
	return 0;
}
