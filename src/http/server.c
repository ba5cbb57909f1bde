/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving half: libmicrohttpd behind a small door.
 *
 * Threads: libmicrohttpd's own run the handlers.  One more, the watcher, waits
 * for the end of peers whose stream is suspended, since libmicrohttpd does not
 * look at a suspended connection: it holds a duplicate of each such socket in an
 * epoll set and asks for EPOLLRDHUP alone, which the kernel raises when the
 * other process is gone or has shut down its sending side.  mp_http_stream.lock guards a stream's queue and its
 * three flags; suspending and resuming happen inside it, so that a wake-up
 * between "nothing to send" and "suspended" cannot be lost.
 */
#include "http/http.h"
#include "http/trust.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX   (256u << 10)
#define STREAM_MAX (1u << 20)
#define DELAYED_MAX 1000

struct mp_http_server {
	struct MHD_Daemon *mhd;
	void (*handle)(void *arg, struct mp_http_request *r);
	void *arg;
	uint16_t port;
	int epoll, wake;
	uint64_t handshakes, requests; /* atomic */
	char *state_dir;
	struct identity *identity; /* atomic; the newest, older ones behind it */
	pthread_t watcher;
	pthread_mutex_t lock;
	struct mp_http_stream *streams MP_GUARDED_BY(lock);
	struct mp_http_request *delayed MP_GUARDED_BY(lock);
	unsigned ndelayed MP_GUARDED_BY(lock);
	bool stopping MP_GUARDED_BY(lock);
};

struct mp_http_request {
	struct mp_http_server *server;
	struct MHD_Connection *connection;
	const char *method, *path;
	struct mp_buf body;
	bool too_big, answered;
	enum MHD_Result result;
	char peer[INET6_ADDRSTRLEN];
	/* an answer that waits */
	unsigned delay_ms;
	uint64_t due;
	struct MHD_Response *response;
	unsigned status;
	struct mp_http_request *next_delayed;
	struct mp_http_stream *stream; /* tells it when the connection is finished */
};

struct mp_http_stream {
	struct mp_http_server *server;
	struct mp_http_stream *next, **link; /* in server->streams, under its lock */
	struct MHD_Connection *connection;
	void (*gone)(void *arg);
	void *arg;
	int fd; /* duplicate of the socket, for the watcher */
	unsigned refs;
	pthread_mutex_t lock;
	struct mp_buf queue MP_GUARDED_BY(lock);
	bool suspended MP_GUARDED_BY(lock), ended MP_GUARDED_BY(lock), dead MP_GUARDED_BY(lock);
	bool told MP_GUARDED_BY(lock);	   /* gone was or is being called */
	bool finished MP_GUARDED_BY(lock); /* libmicrohttpd is done with the connection */
};

/* ---- Streams ---- */

static void stream_free(struct mp_http_stream *s)
{
	pthread_mutex_lock(&s->server->lock);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	pthread_mutex_unlock(&s->server->lock);
	if (s->fd >= 0)
		close(s->fd);
	mp_buf_fini(&s->queue);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void mp_http_stream_unref(struct mp_http_stream *s)
{
	if (s && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
		stream_free(s);
}

/* Lock held. */
static void stream_wake(struct mp_http_stream *s)
{
	if (s->suspended && !s->finished) {
		s->suspended = false;
		MHD_resume_connection(s->connection);
	}
}

/* The peer is gone or the server stops: nothing more is sent, and the owner hears it once. */
static void stream_die(struct mp_http_stream *s)
{
	bool tell;

	pthread_mutex_lock(&s->lock);
	s->dead = true;
	stream_wake(s);
	tell = !s->told;
	s->told = true;
	pthread_mutex_unlock(&s->lock);
	if (tell)
		s->gone(s->arg);
}

/*
 * The peer has said that it is done, or its kernel has: what that means is done
 * first, and then the answer is ended properly, which tells a peer that still
 * reads.
 */
static void stream_leave(struct mp_http_stream *s)
{
	bool tell;

	pthread_mutex_lock(&s->lock);
	tell = !s->told;
	s->told = true;
	pthread_mutex_unlock(&s->lock);
	if (tell)
		s->gone(s->arg);
	mp_http_stream_end(s);
}

static ssize_t stream_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct mp_http_stream *s = cls;
	ssize_t n = 0;

	(void)pos;
	pthread_mutex_lock(&s->lock);
	if (s->dead || s->queue.failed) {
		n = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (s->queue.len) {
		n = (ssize_t)(s->queue.len < max ? s->queue.len : max);
		memcpy(to, s->queue.data, (size_t)n);
		memmove(s->queue.data, s->queue.data + n, s->queue.len - (size_t)n);
		s->queue.len -= (size_t)n;
	} else if (s->ended) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		s->suspended = true;
		MHD_suspend_connection(s->connection);
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* libmicrohttpd is done with the connection, for whatever reason. */
static void stream_finish(struct mp_http_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->finished = true;
	pthread_mutex_unlock(&s->lock);
	epoll_ctl(s->server->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	stream_die(s);
	mp_http_stream_unref(s);
}

void mp_http_stream_send(struct mp_http_stream *s, const char *event, json_t *own_data)
{
	char *text = own_data ? json_dumps(own_data, JSON_COMPACT) : NULL;

	pthread_mutex_lock(&s->lock);
	if (!s->dead && !s->ended) {
		if (event)
			mp_buf_printf(&s->queue, "event: %s\ndata: %s\n\n", event,
				      text ? text : "{}");
		else
			mp_buf_puts(&s->queue, ":\n\n");
		stream_wake(s);
	}
	pthread_mutex_unlock(&s->lock);
	free(text);
	json_decref(own_data);
}

void mp_http_stream_line(struct mp_http_stream *s, json_t *own_data)
{
	char *text = own_data ? json_dumps(own_data, JSON_COMPACT) : NULL;

	pthread_mutex_lock(&s->lock);
	if (!s->dead && !s->ended && text) {
		mp_buf_printf(&s->queue, "%s\n", text);
		stream_wake(s);
	}
	pthread_mutex_unlock(&s->lock);
	free(text);
	json_decref(own_data);
}

void mp_http_stream_end(struct mp_http_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	stream_wake(s);
	pthread_mutex_unlock(&s->lock);
}

static void socket_keepalive(int fd, unsigned user_timeout_ms)
{
	int on = 1, idle = (int)(user_timeout_ms / 6000), interval, count = 6;

	/* The timeout is looked at when a probe is due: often enough to end in time. */
	if (idle < 1)
		idle = 1;
	interval = idle;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

static struct mp_http_stream *stream_new(struct mp_http_request *r, unsigned user_timeout_ms,
					 void (*gone)(void *arg), void *arg)
{
	const union MHD_ConnectionInfo *info;
	struct mp_http_server *server = r->server;
	struct mp_http_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	s->server = server;
	s->connection = r->connection;
	s->gone = gone;
	s->arg = arg;
	s->refs = 2; /* the caller's, and libmicrohttpd's until stream_finish() */
	s->fd = info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0) : -1;
	pthread_mutex_init(&s->lock, NULL);
	mp_buf_init(&s->queue, STREAM_MAX);
	if (s->fd >= 0)
		socket_keepalive(s->fd, user_timeout_ms);
	pthread_mutex_lock(&server->lock);
	s->dead = server->stopping || s->fd < 0;
	s->next = server->streams;
	s->link = &server->streams;
	if (s->next)
		s->next->link = &s->next;
	server->streams = s;
	pthread_mutex_unlock(&server->lock);
	return s;
}

struct mp_http_stream *mp_http_answer_stream(struct mp_http_request *r, unsigned user_timeout_ms,
					     void (*gone)(void *arg), void *arg)
{
	struct mp_http_stream *s = stream_new(r, user_timeout_ms, gone, arg);
	struct MHD_Response *response;
	struct epoll_event ev;

	assert(!r->answered);
	if (!s)
		return NULL;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, s, NULL);
	if (!response) {
		s->refs = 1;
		mp_http_stream_unref(s);
		return NULL;
	}
	MHD_add_response_header(response, "Content-Type", "text/event-stream");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	r->stream = s;
	r->answered = true;
	r->result = MHD_queue_response(r->connection, 200, response);
	MHD_destroy_response(response);
	ev.events = EPOLLRDHUP | EPOLLONESHOT;
	ev.data.ptr = s;
	/* The reference that stream_finish() drops covers the watcher too: see watch(). */
	epoll_ctl(r->server->epoll, EPOLL_CTL_ADD, s->fd, &ev);
	return s;
}

/*
 * A stream that the epoll set names may be finishing on another thread.  The
 * list under the server's lock says whether it still lives, and a reference
 * taken there keeps it.
 */
static struct mp_http_stream *stream_find(struct mp_http_server *server, void *wanted)
{
	struct mp_http_stream *s;

	pthread_mutex_lock(&server->lock);
	for (s = server->streams; s && s != wanted; s = s->next)
		;
	if (s) {
		unsigned refs = __atomic_load_n(&s->refs, __ATOMIC_ACQUIRE);

		/* A stream with no reference left is being freed and waits for this lock. */
		while (refs && !__atomic_compare_exchange_n(&s->refs, &refs, refs + 1, false,
							    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			;
		if (!refs)
			s = NULL;
	}
	pthread_mutex_unlock(&server->lock);
	return s;
}

static int delayed_wake(struct mp_http_server *s, bool all);

static void *watch(void *arg)
{
	struct mp_http_server *server = arg;
	struct mp_http_stream *s;
	struct epoll_event ev;
	bool stopping;
	uint64_t one;
	int n;

	for (;;) {
		n = epoll_wait(server->epoll, &ev, 1, delayed_wake(server, false));
		if (n == 0 || (n < 0 && errno == EINTR))
			continue;
		if (n < 0)
			return NULL;
		if (!ev.data.ptr) {
			pthread_mutex_lock(&server->lock);
			stopping = server->stopping;
			pthread_mutex_unlock(&server->lock);
			if (stopping || read(server->wake, &one, sizeof(one)) < 0)
				return NULL;
			continue;
		}
		s = stream_find(server, ev.data.ptr);
		if (!s)
			continue;
		stream_leave(s);
		mp_http_stream_unref(s);
	}
}

/* ---- Requests ---- */

const char *mp_http_method(const struct mp_http_request *r)
{
	return r->method;
}

const char *mp_http_path(const struct mp_http_request *r)
{
	return r->path;
}

const char *mp_http_header(const struct mp_http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *mp_http_query(const struct mp_http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

void mp_http_served(const struct mp_http_request *r, struct mp_http_counts *ret)
{
	ret->connections = (unsigned)__atomic_load_n(&r->server->handshakes, __ATOMIC_RELAXED);
	ret->requests = (unsigned)__atomic_load_n(&r->server->requests, __ATOMIC_RELAXED);
}

const char *mp_http_peer(const struct mp_http_request *r)
{
	return r->peer;
}

json_t *mp_http_json(const struct mp_http_request *r, struct mp_fail *f)
{
	json_error_t e;
	json_t *j;

	if (!r->body.len)
		return json_object();
	j = json_loadb(r->body.data, r->body.len, JSON_REJECT_DUPLICATES, &e);
	if (!j) {
		mp_fail_set(f, 400, "the request's body is not JSON: line %d: %s", e.line, e.text);
		return NULL;
	}
	if (!json_is_object(j)) {
		json_decref(j);
		mp_fail_set(f, 400, "the request's body is not a JSON object");
		return NULL;
	}
	return j;
}

/* The connection sleeps until the watcher wakes it; on_request() then sends what was kept. */
static void answer_delay(struct mp_http_request *r, unsigned status, struct MHD_Response *own_response)
{
	struct mp_http_server *s = r->server;
	uint64_t one = 1;
	bool room;

	pthread_mutex_lock(&s->lock);
	room = s->ndelayed < DELAYED_MAX && !s->stopping;
	if (room) {
		r->response = own_response;
		r->status = status;
		r->due = mp_now_ns() + r->delay_ms * 1000000ull;
		r->next_delayed = s->delayed;
		s->delayed = r;
		s->ndelayed++;
		MHD_suspend_connection(r->connection);
	}
	pthread_mutex_unlock(&s->lock);
	r->result = room ? MHD_YES : MHD_NO;
	if (!room)
		MHD_destroy_response(own_response);
	else if (write(s->wake, &one, sizeof(one)) != sizeof(one))
		mp_log(MP_LOG_ERROR, "http", "wake", "why=\"%s\"", strerror(errno));
}

/* Wakes those whose time has come, or all; ms until the next. */
static int delayed_wake(struct mp_http_server *s, bool all)
{
	uint64_t now = mp_now_ns(), next = UINT64_MAX;
	struct mp_http_request **at, *r;

	pthread_mutex_lock(&s->lock);
	for (at = &s->delayed; (r = *at);) {
		if (all || now >= r->due) {
			*at = r->next_delayed;
			s->ndelayed--;
			MHD_resume_connection(r->connection);
		} else {
			next = r->due < next ? r->due : next;
			at = &r->next_delayed;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000) + 1;
}

void mp_http_answer(struct mp_http_request *r, int status, const char *type, const char *body,
		    size_t n)
{
	struct MHD_Response *response;

	assert(!r->answered);
	r->answered = true;
	response = MHD_create_response_from_buffer(n, (void *)body, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	if (r->delay_ms) {
		answer_delay(r, (unsigned)status, response);
		return;
	}
	r->result = MHD_queue_response(r->connection, (unsigned)status, response);
	MHD_destroy_response(response);
}

void mp_http_delay(struct mp_http_request *r, unsigned ms)
{
	r->delay_ms = ms;
}

void mp_http_answer_json(struct mp_http_request *r, int status, json_t *own_body)
{
	char *text = json_dumps(own_body, JSON_COMPACT);

	json_decref(own_body);
	if (!text)
		mp_http_answer(r, 500, "text/plain", "out of memory\n", 14);
	else
		mp_http_answer(r, status, "application/json", text, strlen(text));
	free(text);
}

static void peer_print(struct mp_http_request *r)
{
	const union MHD_ConnectionInfo *info;
	const struct sockaddr *sa;

	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	sa = info ? info->client_addr : NULL;
	if (sa && sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, r->peer,
			  sizeof(r->peer));
	else if (sa && sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, r->peer,
			  sizeof(r->peer));
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct mp_http_request *r = *state;

	(void)version;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		r->server = cls;
		r->connection = connection;
		mp_buf_init(&r->body, BODY_MAX);
		*state = r;
		return MHD_YES;
	}
	if (*size) {
		if (!r->too_big && mp_buf_add(&r->body, data, *size) < 0)
			r->too_big = true;
		*size = 0;
		return MHD_YES;
	}
	if (r->response) {
		/* It has waited long enough. */
		r->result = MHD_queue_response(connection, r->status, r->response);
		MHD_destroy_response(r->response);
		r->response = NULL;
		return r->result;
	}
	r->method = method;
	r->path = url;
	r->result = MHD_NO;
	__atomic_add_fetch(&r->server->requests, 1, __ATOMIC_RELAXED);
	peer_print(r);
	if (r->too_big)
		mp_http_answer(r, 413, "text/plain", "body too big\n", 13);
	else
		r->server->handle(r->server->arg, r);
	assert(r->answered);
	return r->result;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct mp_http_request *r = *state;

	(void)cls, (void)connection, (void)why;
	if (!r)
		return;
	*state = NULL;
	if (r->response)
		MHD_destroy_response(r->response);
	if (r->stream)
		stream_finish(r->stream);
	mp_buf_fini(&r->body);
	free(r);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];
	size_t n;

	(void)cls;
	vsnprintf(text, sizeof(text), fmt, ap);
	n = strcspn(text, "\n");
	text[n] = 0;
	mp_log(MP_LOG_DEBUG, "http", "library", "text=\"%s\"", text);
}

/* ---- Start and stop ---- */

static int listen_on(const struct mp_http_config *c, uint16_t *ret_port, struct mp_fail *f)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(c->port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(c->port)};
	struct sockaddr_storage got;
	socklen_t len = sizeof(got);
	struct sockaddr *sa;
	int fd, on = 1, e;

	if (inet_pton(AF_INET, c->address, &a4.sin_addr) == 1)
		sa = (struct sockaddr *)&a4;
	else if (inet_pton(AF_INET6, c->address, &a6.sin6_addr) == 1)
		sa = (struct sockaddr *)&a6;
	else
		return mp_fail_set(f, EINVAL, "'%s' is not an IP address to listen on", c->address);
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return mp_fail_set(f, errno, "no socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, sa, sa == (struct sockaddr *)&a4 ? sizeof(a4) : sizeof(a6)) < 0 ||
	    listen(fd, 1024) < 0 || getsockname(fd, (struct sockaddr *)&got, &len) < 0) {
		e = errno;
		close(fd);
		return mp_fail_set(f, e, "cannot listen on %s port %u: %s", c->address, c->port,
				   strerror(e));
	}
	*ret_port = ntohs(got.ss_family == AF_INET ? ((struct sockaddr_in *)&got)->sin_port
						   : ((struct sockaddr_in6 *)&got)->sin6_port);
	return fd;
}

/* ---- Certificates ---- */

/*
 * What is shown in a handshake.  It may be exchanged while handshakes run, so
 * older ones stay until the server stops: there is one more for each renewal.
 */
struct identity {
	struct identity *older;
	gnutls_pcert_st chain[8];
	unsigned n;
	gnutls_privkey_t key;
};

/* libgnutls asks which server is calling by the session's own pointer. */
static struct mp_http_server *only_server;

static int identity_show(gnutls_session_t session, const gnutls_datum_t *names, int nnames,
			 const gnutls_pk_algorithm_t *algorithms, int nalgorithms, gnutls_pcert_st **ret_chain,
			 unsigned *ret_n, gnutls_privkey_t *ret_key)
{
	struct mp_http_server *s = __atomic_load_n(&only_server, __ATOMIC_ACQUIRE);
	struct identity *id = s ? __atomic_load_n(&s->identity, __ATOMIC_ACQUIRE) : NULL;

	(void)session, (void)names, (void)nnames, (void)algorithms, (void)nalgorithms;
	if (!id)
		return -1;
	__atomic_add_fetch(&s->handshakes, 1, __ATOMIC_RELAXED);
	*ret_chain = id->chain;
	*ret_n = id->n;
	*ret_key = id->key;
	return 0;
}

static void identity_free(struct identity *id)
{
	unsigned i;

	for (i = 0; i < id->n; i++)
		gnutls_pcert_deinit(&id->chain[i]);
	if (id->key)
		gnutls_privkey_deinit(id->key);
	free(id);
}

int mp_http_server_identity(struct mp_http_server *s, const char *cert_pem, const char *key_pem,
			    struct mp_fail *f)
{
	gnutls_datum_t cert = {(unsigned char *)(uintptr_t)cert_pem, (unsigned)strlen(cert_pem)};
	gnutls_datum_t key = {(unsigned char *)(uintptr_t)key_pem, (unsigned)strlen(key_pem)};
	struct identity *id = calloc(1, sizeof(*id));

	if (!id)
		return mp_fail_set(f, ENOMEM, "out of memory");
	id->n = MP_ARRAY_LEN(id->chain);
	if (gnutls_pcert_list_import_x509_raw(id->chain, &id->n, &cert, GNUTLS_X509_FMT_PEM, 0) < 0)
		id->n = 0;
	if (!id->n || gnutls_privkey_init(&id->key) < 0 ||
	    gnutls_privkey_import_x509_raw(id->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) < 0) {
		identity_free(id);
		return mp_fail_set(f, EINVAL, "the server's certificate or key is unusable");
	}
	id->older = s->identity;
	__atomic_store_n(&s->identity, id, __ATOMIC_RELEASE);
	return 0;
}

bool mp_http_is_server(const struct mp_http_request *r)
{
	const union MHD_ConnectionInfo *info;
	const gnutls_datum_t *peers;
	unsigned n = 0;

	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	peers = info && info->tls_session ? gnutls_certificate_get_peers(info->tls_session, &n) : NULL;
	return peers && n && r->server->state_dir &&
	       mp_http_trusts(r->server->state_dir, peers[0].data, peers[0].size);
}

static void server_free(struct mp_http_server *s)
{
	struct identity *id;

	while ((id = s->identity)) {
		s->identity = id->older;
		identity_free(id);
	}
	if (only_server == s)
		__atomic_store_n(&only_server, NULL, __ATOMIC_RELEASE);
	free(s->state_dir);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->wake >= 0)
		close(s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int mp_http_server_start(const struct mp_http_config *config, struct mp_http_server **ret_server,
			 struct mp_fail *f)
{
	struct mp_http_server *s = calloc(1, sizeof(*s));
	struct epoll_event ev = {.events = EPOLLIN};
	char *ca = NULL;
	int fd;

	if (!s)
		return mp_fail_set(f, ENOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->handle = config->handle;
	s->arg = config->arg;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->wake = eventfd(0, EFD_CLOEXEC);
	if (config->state_dir) {
		s->state_dir = strdup(config->state_dir);
		ca = mp_http_authority(config->state_dir);
	}
	__atomic_store_n(&only_server, s, __ATOMIC_RELEASE);
	if (mp_http_server_identity(s, config->cert_pem, config->key_pem, f) < 0) {
		free(ca);
		server_free(s);
		return -1;
	}
	fd = s->epoll < 0 || s->wake < 0 ? -1 : listen_on(config, &s->port, f);
	if (fd < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &ev) < 0) {
		free(ca);
		server_free(s);
		return -1;
	}
	/*
	 * Poll, not epoll: by epoll libmicrohttpd 0.9.75 asks again and again as long
	 * as a peer is in the middle of its handshake, a processor for each thread.
	 * Streams, of which there may be thousands, are suspended and not in the set.
	 */
	s->mhd = MHD_start_daemon(
		MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_TLS | MHD_USE_ERROR_LOG |
			MHD_ALLOW_SUSPEND_RESUME,
		0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
		MHD_OPTION_HTTPS_CERT_CALLBACK, identity_show, MHD_OPTION_HTTPS_PRIORITIES,
		"NORMAL:-VERS-ALL:+VERS-TLS1.3",
		MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)32768, MHD_OPTION_CONNECTION_LIMIT, 8192u, MHD_OPTION_THREAD_POOL_SIZE,
		config->threads > 1 ? config->threads : 2,
		/* Asked for, not demanded: clients have tokens, servers certificates. */
		ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, ca, MHD_OPTION_END);
	free(ca);
	if (!s->mhd) {
		close(fd);
		server_free(s);
		return mp_fail_set(f, EIO, "the HTTPS server does not start: certificate or key "
					   "unusable");
	}
	if (pthread_create(&s->watcher, NULL, watch, s)) {
		MHD_stop_daemon(s->mhd);
		server_free(s);
		return mp_fail_set(f, EAGAIN, "no thread for the HTTPS server");
	}
	*ret_server = s;
	return 0;
}

uint16_t mp_http_server_port(const struct mp_http_server *s)
{
	return s->port;
}

/* Is a last word still on its way to a peer? */
static bool streams_pending(struct mp_http_server *s)
{
	struct mp_http_stream *t;
	bool pending = false;

	pthread_mutex_lock(&s->lock);
	for (t = s->streams; t && !pending; t = t->next) {
		pthread_mutex_lock(&t->lock);
		pending = t->ended && !t->dead && !t->finished;
		pthread_mutex_unlock(&t->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return pending;
}

void mp_http_server_stop(struct mp_http_server *own_server)
{
	struct mp_http_server *s = own_server;
	struct mp_http_stream *t;
	uint64_t one = 1;
	int i;

	if (!s)
		return;
	for (i = 0; i < 50 && streams_pending(s); i++)
		usleep(10000);
	/* MHD_stop_daemon() aborts when a connection is suspended: resume all first. */
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	for (;;) {
		pthread_mutex_lock(&s->lock);
		for (t = s->streams; t; t = t->next) {
			bool alive;

			pthread_mutex_lock(&t->lock);
			alive = !t->dead;
			pthread_mutex_unlock(&t->lock);
			if (alive)
				break;
		}
		pthread_mutex_unlock(&s->lock);
		if (!t)
			break;
		t = stream_find(s, t);
		if (t) {
			stream_die(t);
			mp_http_stream_unref(t);
		}
	}
	if (write(s->wake, &one, sizeof(one)) != sizeof(one))
		mp_log(MP_LOG_ERROR, "http", "stop", "cannot wake the watcher");
	pthread_join(s->watcher, NULL);
	delayed_wake(s, true);
	MHD_stop_daemon(s->mhd);
	assert(!s->streams);
	server_free(s);
}
