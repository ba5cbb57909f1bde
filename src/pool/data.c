/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data port: takes connections, looks at their hello, finds the worker.
 *
 * One thread.  A connection has five seconds to bring 256 bytes, which are
 * peeked and stay in the socket for the worker; a wrong magic, version or secret
 * is answered with one GOODBYE frame and counted.  At most HALF_OPEN_MAX
 * connections may be without a complete hello: the oldest goes first, so that
 * strangers cannot keep programs out.
 *
 * The same thread reaps workers (their pidfds are in its epoll set) and keeps
 * the leases' deadlines.
 */
#include "pool/state.h"
#include "pool/hello.h"
#include "wire/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLS_HANDSHAKE 22 /* the first byte of TLS, RFC 8446 section 5.1 */
#define HELLO_NS      (5ull * 1000000000)
#define HALF_OPEN_MAX 256

/* What an epoll entry is: kind in the low byte, a number above it. */
enum { WATCH_WAKE = 0, WATCH_LISTENER = 1, WATCH_WORKER = 2, WATCH_HALF_OPEN = 3, WATCH_GATE = 4 };

extern char **environ;

/* ---- Listening ---- */

static int listen_at(const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, e;

	if (fd < 0)
		return -1;
	if (sa->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, sa, len) < 0 || listen(fd, 1024) < 0) {
		e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static int listen_unix(const char *path, struct listener *l, struct mp_fail *f)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (path[0] != '/' || strlen(path) >= sizeof(un.sun_path) ||
	    strlen(path) + 6 > sizeof(l->text))
		return mp_fail_set(f, EINVAL, "'%s' is not an absolute path of at most %zu bytes for "
					      "a data socket", path, sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, path, strlen(path) + 1);
	/* A socket that a killed daemon left; a living one is replaced as well: one daemon per state. */
	unlink(path);
	l->fd = listen_at((struct sockaddr *)&un, sizeof(un));
	if (l->fd < 0)
		return mp_fail_set(f, errno, "cannot listen on %s: %s", path, strerror(errno));
	/* The lease's secret lets in, not the file's mode. */
	chmod(path, 0666);
	snprintf(l->text, sizeof(l->text), "unix:%s", path);
	return 0;
}

static int listen_tcp(char *text, struct listener *l, struct mp_fail *f)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	struct sockaddr_storage got;
	socklen_t len = sizeof(got);
	char *colon = strrchr(text, ':'), *host = text, *end;
	bool six = text[0] == '[';
	long port = colon ? strtol(colon + 1, &end, 10) : -1;

	if (!colon || *end || end == colon + 1 || port < 0 || port > 65535)
		return mp_fail_set(f, EINVAL, "'%s' is not ADDRESS:PORT", text);
	*colon = 0;
	if (six && colon > text && colon[-1] == ']') {
		host++;
		colon[-1] = 0;
	}
	a4.sin_port = a6.sin6_port = htons((uint16_t)port);
	if (!(six ? inet_pton(AF_INET6, host, &a6.sin6_addr)
		  : inet_pton(AF_INET, host, &a4.sin_addr)))
		return mp_fail_set(f, EINVAL, "'%s' is not an IP address for the data port", host);
	l->fd = six ? listen_at((struct sockaddr *)&a6, sizeof(a6))
		    : listen_at((struct sockaddr *)&a4, sizeof(a4));
	if (l->fd < 0 || getsockname(l->fd, (struct sockaddr *)&got, &len) < 0)
		return mp_fail_set(f, errno, "cannot listen on %s port %ld for data: %s", host, port,
				   strerror(errno));
	l->port = ntohs(six ? ((struct sockaddr_in6 *)&got)->sin6_port
			    : ((struct sockaddr_in *)&got)->sin_port);
	l->local = six ? IN6_IS_ADDR_LOOPBACK(&a6.sin6_addr)
		       : (ntohl(a4.sin_addr.s_addr) >> 24) == 127;
	if (six ? IN6_IS_ADDR_UNSPECIFIED(&a6.sin6_addr) : a4.sin_addr.s_addr == INADDR_ANY)
		host = "";
	snprintf(l->text, sizeof(l->text), six && *host ? "[%s]:%u" : "%s:%u", host, l->port);
	return 0;
}

int mp_data_open(struct mp_pool *p, const char *listeners, struct mp_fail *f)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WATCH_WAKE};
	char *copy = strdup(listeners), *save = NULL, *one;
	struct listener *l;
	int rc = 0;

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!copy || p->epoll < 0 || p->wake < 0 ||
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &ev) < 0) {
		free(copy);
		return mp_fail_set(f, errno, "no descriptors for the data port");
	}
	for (one = strtok_r(copy, ",", &save); one && !rc; one = strtok_r(NULL, ",", &save)) {
		if (p->nlisteners == LISTENERS) {
			rc = mp_fail_set(f, EINVAL, "at most %d data addresses", LISTENERS);
			break;
		}
		l = &p->listeners[p->nlisteners];
		l->always = !strncmp(one, "tls:", 4);
		if (l->always)
			one += 4;
		rc = !strncmp(one, "unix:", 5) ? listen_unix(one + 5, l, f) : listen_tcp(one, l, f);
		if (rc < 0)
			break;
		ev.data.u64 = (uint64_t)p->nlisteners << 8 | WATCH_LISTENER;
		p->nlisteners++;
		if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, l->fd, &ev) < 0)
			rc = mp_fail_set(f, errno, "no descriptors for the data port");
	}
	free(copy);
	return rc;
}

uint16_t mp_pool_data_port(const struct mp_pool *p)
{
	unsigned i;

	for (i = 0; i < p->nlisteners; i++)
		if (p->listeners[i].port)
			return p->listeners[i].port;
	return 0;
}

void mp_data_wake(struct mp_pool *p)
{
	uint64_t one = 1;

	if (write(p->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		mp_log(MP_LOG_ERROR, "pool", "wake", "why=\"%s\"", strerror(errno));
}

/* ---- Half-open connections ---- */

static void half_open_drop(struct mp_pool *p, struct half_open **at, bool close_it)
{
	struct half_open *h = *at;

	epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->fd, NULL);
	*at = h->next;
	p->nhalf_open--;
	if (close_it)
		close(h->fd);
	free(h);
}

static struct half_open **half_open_find(struct mp_pool *p, int fd)
{
	struct half_open **at;

	for (at = &p->half_open; *at && (*at)->fd != fd; at = &(*at)->next)
		;
	return at;
}

static struct half_open **half_open_oldest(struct mp_pool *p)
{
	struct half_open **at = &p->half_open;

	/* New ones go to the head. */
	while (*at && (*at)->next)
		at = &(*at)->next;
	return at;
}

static void half_open_add(struct mp_pool *p, int own_fd, bool must_encrypt, bool may_encrypt)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP,
				 .data.u64 = (uint64_t)own_fd << 8 | WATCH_HALF_OPEN};
	struct half_open *h;

	if (p->nhalf_open >= HALF_OPEN_MAX)
		half_open_drop(p, half_open_oldest(p), true);
	h = calloc(1, sizeof(*h));
	if (!h || epoll_ctl(p->epoll, EPOLL_CTL_ADD, own_fd, &ev) < 0) {
		free(h);
		close(own_fd);
		return;
	}
	h->fd = own_fd;
	h->must_encrypt = must_encrypt;
	h->may_encrypt = may_encrypt;
	h->deadline = mp_now_ns() + HELLO_NS;
	h->next = p->half_open;
	p->half_open = h;
	p->nhalf_open++;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;

	if (a->ss_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
	return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

bool mp_listener_encrypted(struct mp_pool *p, const struct listener *l)
{
	if (!l->port || !p->gate)
		return false;
	return l->always || (!l->local && !mp_setting_is(p, "encryption", "off"));
}

json_t *mp_data_json(struct mp_pool *p)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < p->nlisteners; i++)
		json_array_append_new(list, json_sprintf("%s%s", mp_listener_encrypted(p, &p->listeners[i])
									 ? "tls:"
									 : "",
							 p->listeners[i].text));
	return list;
}

static void connection_take(struct mp_pool *p, struct listener *l)
{
	bool encrypted = mp_listener_encrypted(p, l);
	struct sockaddr_storage from;
	socklen_t len;
	int fd, on = 1;

	for (;;) {
		len = sizeof(from);
		fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (l->port)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		/* What comes from this machine may be plain, unless it was asked for by name. */
		half_open_add(p, fd, encrypted && (l->always || !is_loopback(&from)), l->port && p->gate);
	}
}

/* ---- The gate: encrypted connections come back from it as plain ones ---- */

static int gate_start(struct mp_pool *p)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WATCH_GATE};
	char *argv[] = {p->gate, "--control-fd", "3", "--state", p->state_dir, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	int pair[2], from, rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	from = fcntl(pair[1], F_DUPFD_CLOEXEC, 16);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, from, 3);
	sigemptyset(&none);
	sigfillset(&defaults);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSID);
	rc = posix_spawn(&p->gate_pid, p->run_gate, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	close(from);
	close(pair[1]);
	if (rc || epoll_ctl(p->epoll, EPOLL_CTL_ADD, pair[0], &ev) < 0) {
		mp_log(MP_LOG_ERROR, "pool", "gate-not-started", "path=%s why=\"%s\"", p->gate,
		       strerror(rc ? rc : errno));
		close(pair[0]);
		return -1;
	}
	p->gate_control = pair[0];
	return 0;
}

static void gate_stop(struct mp_pool *p)
{
	if (p->gate_control < 0)
		return;
	/* Closing the socket ends it; its lanes go on. */
	close(p->gate_control);
	p->gate_control = -1;
	while (waitpid(p->gate_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool gate_give(struct mp_pool *p, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char c = 'T';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
			   .msg_controllen = sizeof(u.room)};

	if (p->gate_control < 0 && gate_start(p) < 0)
		return false;
	memset(&u, 0, sizeof(u));
	u.head.cmsg_level = SOL_SOCKET;
	u.head.cmsg_type = SCM_RIGHTS;
	u.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.head), &fd, sizeof(fd));
	return sendmsg(p->gate_control, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

static void gate_take(struct mp_pool *p)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
			   .msg_controllen = sizeof(u.room)};
	ssize_t n = recvmsg(p->gate_control, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fd;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		mp_log(MP_LOG_ERROR, "pool", "gate-ended", "it is started again when it is needed");
		gate_stop(p);
	} else if (CMSG_FIRSTHDR(&m) && CMSG_FIRSTHDR(&m)->cmsg_type == SCM_RIGHTS) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
		half_open_add(p, fd, false, false);
	}
}

static void goodbye_send(int fd, const char *text)
{
	struct {
		struct mp_frame head;
		char text[256];
	} m = {.head = {.kind = MP_FRAME_GOODBYE, .extra = 46 /* CUDA_ERROR_DEVICE_UNAVAILABLE */}};

	m.head.length = (uint32_t)strlen(text);
	assert(m.head.length < sizeof(m.text));
	memcpy(m.text, text, m.head.length);
	/* A fresh socket's buffer has room; a peer that closed it gets nothing. */
	if (send(fd, &m, sizeof(m.head) + m.head.length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		mp_log(MP_LOG_DEBUG, "pool", "goodbye", "why=\"%s\"", strerror(errno));
	/* Unread bytes would turn the close into a reset, which drops what was just sent. */
	shutdown(fd, SHUT_WR);
	while (recv(fd, m.text, sizeof(m.text), MSG_DONTWAIT) > 0)
		;
}

static void hello_serve(struct mp_pool *p, int own_fd, const struct mp_hello *h)
{
	const char *refusal = mp_hello_refusal(h);
	char comm[sizeof(h->comm) + 1];
	struct lease *l = NULL;

	memcpy(comm, h->comm, sizeof(h->comm));
	comm[sizeof(h->comm)] = 0;
	mp_hello_clean(comm);
	pthread_mutex_lock(&p->lock);
	if (!refusal) {
		l = mp_lease_find_secret_locked(p, h->secret);
		if (!l && mp_perf_lane_locked(p, h->secret, own_fd)) {
			pthread_mutex_unlock(&p->lock);
			close(own_fd);
			return;
		}
		if (!l || l->state >= LEASE_ENDING)
			refusal = "this lease is over, or its secret is wrong";
	}
	if (refusal)
		p->bad_hellos++;
	if (!refusal && mp_session_lane_locked(p, l, h->session, own_fd, h->pid, h->uid, comm) < 0)
		mp_log(MP_LOG_WARN, "pool", "lane-refused", "lease=%s", l->id);
	pthread_mutex_unlock(&p->lock);
	if (refusal) {
		mp_log(MP_LOG_WARN, "pool", "hello-refused", "why=\"%s\"", refusal);
		goodbye_send(own_fd, refusal);
		close(own_fd);
	}
}

static void half_open_read(struct mp_pool *p, int fd)
{
	struct half_open **at = half_open_find(p, fd);
	struct mp_hello hello;
	bool must, may;
	ssize_t n;

	if (!*at)
		return;
	must = (*at)->must_encrypt;
	may = (*at)->may_encrypt;
	n = recv(fd, &hello, sizeof(hello), MSG_PEEK | MSG_DONTWAIT);
	if (n > 0 && may && *(const uint8_t *)&hello == TLS_HANDSHAKE) {
		half_open_drop(p, at, false);
		if (!gate_give(p, fd))
			mp_log(MP_LOG_ERROR, "pool", "gate-busy", "a connection was closed");
		close(fd);
	} else if (n == (ssize_t)sizeof(hello) && must) {
		half_open_drop(p, at, false);
		pthread_mutex_lock(&p->lock);
		p->bad_hellos++;
		pthread_mutex_unlock(&p->lock);
		goodbye_send(fd, "this server takes encrypted lanes only: start the program with 'motorpool "
				 "run' of the same release");
		close(fd);
	} else if (n == (ssize_t)sizeof(hello)) {
		half_open_drop(p, at, false);
		hello_serve(p, fd, &hello);
	} else if (n == 0 || (n < 0 && errno != EAGAIN)) {
		half_open_drop(p, at, true);
	}
	/* Fewer bytes: the set is edge-triggered, more bytes bring us here again. */
}

static int half_open_tick(struct mp_pool *p, uint64_t now)
{
	struct half_open **at = &p->half_open;

	while (*at) {
		if (now >= (*at)->deadline) {
			pthread_mutex_lock(&p->lock);
			p->bad_hellos++;
			pthread_mutex_unlock(&p->lock);
			half_open_drop(p, at, true);
		} else {
			at = &(*at)->next;
		}
	}
	return p->half_open ? 200 : 1000;
}

/* ---- The thread ---- */

static void worker_ended(struct mp_pool *p, pid_t pid)
{
	struct session *s = NULL;
	struct lease *l;

	pthread_mutex_lock(&p->lock);
	for (l = p->leases; l && !s; l = l->next)
		for (s = l->sessions; s && s->worker != pid; s = s->next)
			;
	if (s)
		mp_session_reaped_locked(p, s);
	pthread_mutex_unlock(&p->lock);
}

static void event_serve(struct mp_pool *p, uint64_t what)
{
	uint64_t n;

	switch (what & 0xff) {
	case WATCH_WAKE:
		if (read(p->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
			mp_log(MP_LOG_ERROR, "pool", "wake", "why=\"%s\"", strerror(errno));
		break;
	case WATCH_LISTENER: connection_take(p, &p->listeners[what >> 8]); break;
	case WATCH_WORKER: worker_ended(p, (pid_t)(what >> 8)); break;
	case WATCH_GATE: gate_take(p); break;
	case MP_WATCH_PERF: mp_perf_ended((int)(what >> 8)); break;
	case WATCH_HALF_OPEN: half_open_read(p, (int)(what >> 8)); break;
	}
}

static void *serve(void *arg)
{
	struct mp_pool *p = arg;
	struct epoll_event ev[32];
	int i, n, wait = 1000, other;
	bool stop = false;

	while (!stop) {
		n = epoll_wait(p->epoll, ev, MP_ARRAY_LEN(ev), wait);
		for (i = 0; i < n; i++)
			event_serve(p, ev[i].data.u64);
		wait = half_open_tick(p, mp_now_ns());
		pthread_mutex_lock(&p->lock);
		other = mp_lease_tick_locked(p, mp_now_ns());
		wait = other < wait ? other : wait;
		other = mp_pool_refresh_locked(p, mp_now_ns());
		stop = p->stopping;
		pthread_mutex_unlock(&p->lock);
		wait = other < wait ? other : wait;
	}
	while (p->half_open)
		half_open_drop(p, &p->half_open, true);
	return NULL;
}

int mp_data_start(struct mp_pool *p, struct mp_fail *f)
{
	if (pthread_create(&p->thread, NULL, serve, p))
		return mp_fail_set(f, EAGAIN, "no thread for the data port");
	p->thread_runs = true;
	return 0;
}

void mp_data_stop(struct mp_pool *p)
{
	unsigned i;

	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_mutex_unlock(&p->lock);
	if (p->thread_runs) {
		mp_data_wake(p);
		pthread_join(p->thread, NULL);
	}
	gate_stop(p);
	for (i = 0; i < p->nlisteners; i++)
		close(p->listeners[i].fd);
}
