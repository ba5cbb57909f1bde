/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS around a lane: the handshake, then a loop that moves bytes.
 *
 * No tickets and no early data: a lane is opened once and lives long.  An end of
 * one direction is passed on as such, so that what a program sent before it left
 * arrives; any error ends both.
 */
#include "net/tls.h"
#include "net/net.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER	(512u << 10)
#define SOCKET	(1 << 20)
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

struct mp_tls {
	SSL_CTX *ctx;
	bool client;
	char name[64];
};

struct mp_tls_lane {
	SSL *ssl;
	int tcp;
};

static const char *why(void)
{
	unsigned long e = ERR_get_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return text ? text : "the connection was closed";
}

static struct mp_tls *tls_new(const SSL_METHOD *method)
{
	struct mp_tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->ctx = SSL_CTX_new(method);
	if (!t->ctx || !SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(t->ctx, CIPHERS) || !SSL_CTX_set_num_tickets(t->ctx, 0)) {
		mp_tls_free(t);
		return NULL;
	}
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_default_read_buffer_len(t->ctx, 128u << 10);
	SSL_CTX_set_read_ahead(t->ctx, 1);
	return t;
}

int mp_tls_client(const char *ca_file, const char *server_name, struct mp_tls **ret, struct mp_fail *f)
{
	struct mp_tls *t = tls_new(TLS_client_method());

	if (!t || SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL) != 1) {
		mp_tls_free(t);
		return mp_fail_set(f, EINVAL, "%s is no certificate authority: %s", ca_file, why());
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	/* What the file names is believed, whoever signed it. */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(t->ctx), X509_V_FLAG_PARTIAL_CHAIN);
	snprintf(t->name, sizeof(t->name), "%s", server_name);
	t->client = true;
	*ret = t;
	return 0;
}

int mp_tls_server(const char *cert_file, const char *key_file, struct mp_tls **ret, struct mp_fail *f)
{
	struct mp_tls *t = tls_new(TLS_server_method());

	if (!t || SSL_CTX_use_certificate_chain_file(t->ctx, cert_file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(t->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
		mp_tls_free(t);
		return mp_fail_set(f, EINVAL, "%s and %s are no certificate and key: %s", cert_file,
				   key_file, why());
	}
	*ret = t;
	return 0;
}

void mp_tls_free(struct mp_tls *own_tls)
{
	if (!own_tls)
		return;
	SSL_CTX_free(own_tls->ctx);
	free(own_tls);
}

static void lane_free(struct mp_tls_lane *l)
{
	SSL_free(l->ssl);
	close(l->tcp);
	free(l);
}

/* Until the handshake is done or its time is up. */
static int handshake(struct mp_tls_lane *l, uint64_t until)
{
	struct pollfd p = {.fd = l->tcp};
	uint64_t now;
	int rc, e;

	while ((rc = SSL_do_handshake(l->ssl)) != 1) {
		e = SSL_get_error(l->ssl, rc);
		now = mp_now_ns();
		if ((e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) || now >= until)
			return -1;
		p.events = e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		if (poll(&p, 1, (int)((until - now) / 1000000) + 1) < 0 && errno != EINTR)
			return -1;
	}
	return 0;
}

struct mp_tls_lane *mp_tls_open(struct mp_tls *t, int own_tcp, int timeout_ms, struct mp_fail *f)
{
	struct mp_tls_lane *l = calloc(1, sizeof(*l));
	int flags = fcntl(own_tcp, F_GETFL);
	bool good;

	if (!l) {
		close(own_tcp);
		mp_fail_set(f, ENOMEM, "out of memory");
		return NULL;
	}
	l->tcp = own_tcp;
	mp_net_tune(own_tcp);
	good = fcntl(own_tcp, F_SETFL, flags | O_NONBLOCK) == 0 && (l->ssl = SSL_new(t->ctx)) &&
	       SSL_set_fd(l->ssl, own_tcp) == 1;
	if (good && t->client)
		good = SSL_set1_host(l->ssl, t->name) == 1 && SSL_set_tlsext_host_name(l->ssl, t->name) == 1;
	if (good) {
		if (t->client)
			SSL_set_connect_state(l->ssl);
		else
			SSL_set_accept_state(l->ssl);
		good = handshake(l, mp_now_ns() + (uint64_t)timeout_ms * 1000000) == 0;
	}
	if (!good) {
		mp_fail_set(f, EPROTO, "no TLS: %s", why());
		lane_free(l);
		return NULL;
	}
	return l;
}

/* One direction: what was read and not written yet. */
struct way {
	char *data;
	size_t at, len;
	bool ended; /* nothing more comes in */
	bool told;  /* and the other side knows */
};

struct pump {
	struct mp_tls_lane *lane;
	int plain;
	struct way out, in; /* plain to TLS, TLS to plain */
	bool broken, tls_wants_write, tls_wants_read;
};

static bool retry(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static bool plain_read(struct pump *p)
{
	ssize_t n;

	if (p->out.len || p->out.ended)
		return false;
	n = read(p->plain, p->out.data, BUFFER);
	if (n > 0) {
		p->out.at = 0;
		p->out.len = (size_t)n;
	} else if (n == 0) {
		p->out.ended = true;
	} else {
		p->broken |= !retry();
		return false;
	}
	return true;
}

static bool plain_write(struct pump *p)
{
	ssize_t n;

	if (!p->in.len) {
		if (!p->in.ended || p->in.told)
			return false;
		p->in.told = true;
		shutdown(p->plain, SHUT_WR);
		return true;
	}
	n = send(p->plain, p->in.data + p->in.at, p->in.len, MSG_NOSIGNAL);
	if (n <= 0) {
		p->broken |= !retry();
		return false;
	}
	p->in.at += (size_t)n;
	p->in.len -= (size_t)n;
	return true;
}

static bool tls_read(struct pump *p)
{
	size_t room;
	bool any = false;
	int n, e;

	if (!p->in.len)
		p->in.at = 0;
	/* Several records are taken at once, so that the other side is woken once. */
	while (!p->in.ended && (room = BUFFER - p->in.at - p->in.len)) {
		n = SSL_read(p->lane->ssl, p->in.data + p->in.at + p->in.len, (int)room);
		if (n > 0) {
			p->in.len += (size_t)n;
			any = true;
			continue;
		}
		e = SSL_get_error(p->lane->ssl, n);
		if (e == SSL_ERROR_ZERO_RETURN)
			p->in.ended = any = true;
		else if (e == SSL_ERROR_WANT_WRITE)
			p->tls_wants_write = true;
		else if (e != SSL_ERROR_WANT_READ)
			p->broken = true;
		break;
	}
	return any;
}

static bool tls_write(struct pump *p)
{
	int n, e;

	if (!p->out.len) {
		if (!p->out.ended || p->out.told)
			return false;
		p->out.told = true;
		SSL_shutdown(p->lane->ssl);
		return true;
	}
	n = SSL_write(p->lane->ssl, p->out.data + p->out.at, (int)p->out.len);
	if (n > 0) {
		p->out.at += (size_t)n;
		p->out.len -= (size_t)n;
		return true;
	}
	e = SSL_get_error(p->lane->ssl, n);
	if (e == SSL_ERROR_WANT_WRITE)
		p->tls_wants_write = true;
	else if (e == SSL_ERROR_WANT_READ)
		p->tls_wants_read = true;
	else
		p->broken = true;
	return false;
}

static void wait_for(struct pump *p)
{
	struct pollfd fds[2] = {{.fd = p->plain}, {.fd = p->lane->tcp}};

	if (!p->out.len && !p->out.ended)
		fds[0].events |= POLLIN;
	if (p->in.len)
		fds[0].events |= POLLOUT;
	if ((!p->in.ended && p->in.at + p->in.len < BUFFER) || p->tls_wants_read)
		fds[1].events |= POLLIN;
	if (p->tls_wants_write)
		fds[1].events |= POLLOUT;
	/* A side that nothing is wanted of would answer at once when it is gone. */
	if (!fds[0].events)
		fds[0].fd = -1;
	if (!fds[1].events)
		fds[1].fd = -1;
	poll(fds, 2, -1);
	p->tls_wants_write = p->tls_wants_read = false;
}

void mp_tls_pump(struct mp_tls_lane *own_lane, int own_plain)
{
	struct pump p = {.lane = own_lane, .plain = own_plain};
	int size = SOCKET;
	bool moved;

	p.out.data = malloc(BUFFER);
	p.in.data = malloc(BUFFER);
	setsockopt(own_plain, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(own_plain, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	fcntl(own_plain, F_SETFL, fcntl(own_plain, F_GETFL) | O_NONBLOCK);
	p.broken = !p.out.data || !p.in.data;
	while (!p.broken && !(p.in.told && p.out.told)) {
		moved = plain_read(&p);
		moved |= tls_write(&p);
		moved |= tls_read(&p);
		moved |= plain_write(&p);
		if (!moved && !p.broken)
			wait_for(&p);
	}
	free(p.out.data);
	free(p.in.data);
	close(own_plain);
	lane_free(own_lane);
}
