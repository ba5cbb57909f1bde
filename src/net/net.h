/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: addresses, stream sockets, and a model of a slow link.
 *
 * Sockets are plain descriptors, close-on-exec, and belong to whoever got
 * them.  Functions return 0 (or a descriptor) when good and -1 with errno set;
 * those with a struct mp_fail also leave a sentence.  Any thread; SIGPIPE is
 * never raised.
 *
 * The link model delays both directions of the client's lanes inside the
 * process, since the kernels we test on cannot:
 *
 *	MOTORPOOL_LINK_DELAY_US	one way, microseconds
 *	MOTORPOOL_LINK_GBPS	bits per second / 1e9 of each direction, shared
 *				by all lanes of the process
 *
 * Faults for tests, which every send of this room obeys:
 *
 *	MOTORPOOL_FAULT_SHORT	a write takes at most so many bytes
 *	MOTORPOOL_FAULT_CUT	after so many bytes sent the socket is shut down
 */
#ifndef MP_NET_H
#define MP_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/fail.h"

struct mp_addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};

/* "HOST:PORT", "[IPV6]:PORT" or "unix:PATH". A HOST that is a name is looked up: may block. */
int mp_addr_parse(const char *text, struct mp_addr *ret, struct mp_fail *f);
/* The same form again; always NUL-terminated. */
void mp_addr_text(const struct mp_addr *a, char *buf, size_t size);

/*
 * Listen; port 0 picks one.  A stale Unix socket that nobody listens on is replaced.
 * *ret_bound (may be NULL) is where it really listens.
 */
int mp_net_listen(const struct mp_addr *a, int backlog, struct mp_addr *ret_bound,
		  struct mp_fail *f);
/* One connection, tuned; blocks when the listening socket does. */
int mp_net_accept(int listen_fd);

/* Begin a connection without waiting; finish it with mp_net_dial_wait, which makes it blocking. */
int mp_net_dial(const struct mp_addr *a, struct mp_fail *f);
int mp_net_dial_wait(int fd, const struct mp_addr *a, int timeout_ms, struct mp_fail *f);
/* Both. */
int mp_net_connect(const struct mp_addr *a, int timeout_ms, struct mp_fail *f);

/* What a lane wants of TCP: no delay, keep-alive, a lost peer found in MOTORPOOL_LIVENESS_S
 * (30) seconds, cubic. No-op for Unix. */
void mp_net_tune(int fd);

/* All of it, whatever the kernel takes at a time. sendv changes iov. */
int mp_net_send(int fd, const void *p, size_t n);
int mp_net_sendv(int fd, struct iovec *iov, int n);
/* sendv of two pieces, neither of them empty, in few instructions. */
int mp_net_send_pair(int fd, struct iovec iov[2]);
/* Exactly n bytes: 0; 1 when the peer closed before the first; -1 on error or a cut in between. */
int mp_net_recv(int fd, void *p, size_t n);
/* Like it, with a limit on the whole wait; errno ETIMEDOUT. */
int mp_net_recv_for(int fd, void *p, size_t n, int timeout_ms);

/* Set the faults of this process, instead of the environment; 0 = none. For tests. */
void mp_net_fault(uint64_t short_bytes, uint64_t cut_after);

/* ---- link model ---- */

/* Is it switched on? Reads the environment once. */
bool mp_link_on(void);
/*
 * Put the model between the caller and fd, whose connection began at dialled_ns
 * (mp_now_ns): bytes leave no earlier than a modelled round trip after that.
 * Takes fd; returns the descriptor to use instead (fd itself when off).
 */
int mp_link_wrap(int own_fd, uint64_t dialled_ns);
/* Wait until all that was written into wrapped lanes has left, at most this long. */
void mp_link_drain(int timeout_ms);
/* In a forked child: the relay is gone; close its descriptors. */
void mp_link_forked(void);

#endif
