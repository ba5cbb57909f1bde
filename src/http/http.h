/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: serving and asking over HTTPS, with JSON bodies and event streams, and
 * the certificates for it.  It knows no noun of the pool.
 *
 * Two libraries behind one door: the serving half (libmicrohttpd) is for the
 * daemon, the asking half (libcurl) for commands and for servers that ask one
 * another.  TLS 1.3 only, a pinned certificate authority, no other trust.
 */
#ifndef MP_HTTP_H
#define MP_HTTP_H

#include "base/fail.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Serving ---- */

/* Handshakes and requests. */
struct mp_http_counts {
	unsigned connections, requests;
};

struct mp_http_server;
struct mp_http_request; /* one request, borrowed by the handler while it runs */
struct mp_http_stream;	/* an answer that goes on: server-sent events */

struct mp_http_config {
	const char *address; /* "0.0.0.0", "::", ... */
	uint16_t port;	     /* 0: any */
	const char *cert_pem, *key_pem;
	const char *state_dir; /* whose ca.crt says which peers are servers; NULL: none is */
	unsigned threads;
	/* Called on one of the server's threads; must answer exactly once before it returns. */
	void (*handle)(void *arg, struct mp_http_request *r);
	void *arg;
};

/* -1 with a sentence; code EADDRINUSE in f->code when the port is taken. */
int mp_http_server_start(const struct mp_http_config *config, struct mp_http_server **ret_server,
			 struct mp_fail *f);
/* For handshakes from now on. */
int mp_http_server_identity(struct mp_http_server *s, const char *cert_pem, const char *key_pem,
			    struct mp_fail *f);
uint16_t mp_http_server_port(const struct mp_http_server *s);
/*
 * Ends every stream (their `gone` is called; streams that were ended by
 * mp_http_stream_end() have half a second for what is queued), then stops.  No
 * reference to a stream may be left when this returns.
 */
void mp_http_server_stop(struct mp_http_server *own_server);

const char *mp_http_method(const struct mp_http_request *r);
const char *mp_http_path(const struct mp_http_request *r);
/* NULL when absent. */
const char *mp_http_header(const struct mp_http_request *r, const char *name);
const char *mp_http_query(const struct mp_http_request *r, const char *name);
/* Did the peer show a certificate of this pool, as only its servers have? */
bool mp_http_is_server(const struct mp_http_request *r);
/* Of the server that serves this request, so far. */
void mp_http_served(const struct mp_http_request *r, struct mp_http_counts *ret);
/* The peer's address without port. */
const char *mp_http_peer(const struct mp_http_request *r);
/* The body as a JSON object (new reference), or NULL with a sentence; an empty body is {}. */
json_t *mp_http_json(const struct mp_http_request *r, struct mp_fail *f);

void mp_http_answer(struct mp_http_request *r, int status, const char *type, const char *body,
		    size_t n);
/*
 * The answer that follows is sent so much later, while others are served.  There
 * is room for a thousand that wait; beyond it their connections are closed.
 */
void mp_http_delay(struct mp_http_request *r, unsigned ms);
/* Takes the reference to `own_body`. */
void mp_http_answer_json(struct mp_http_request *r, int status, json_t *own_body);

/*
 * Answer 200 text/event-stream and keep the connection.  `gone` is called once,
 * from any thread with no lock of this room held, when the peer has gone (at
 * once where its kernel says so, else after keep-alive and `user_timeout_ms`),
 * when the stream was ended or when the server stops.  The caller owns one
 * reference and may send until it drops it, before and after `gone`.
 */
struct mp_http_stream *mp_http_answer_stream(struct mp_http_request *r, unsigned user_timeout_ms,
					     void (*gone)(void *arg), void *arg);
/* Queue one event; never blocks.  A stream that is gone swallows it. */
void mp_http_stream_send(struct mp_http_stream *s, const char *event, json_t *own_data);
/* The same as one line of JSON, for readers that know no events. */
void mp_http_stream_line(struct mp_http_stream *s, json_t *own_data);
/* Nothing more follows; what is queued is still sent. */
void mp_http_stream_end(struct mp_http_stream *s);
void mp_http_stream_unref(struct mp_http_stream *s);

/* ---- Asking ---- */

struct mp_http_client;

struct mp_http_target {
	const char *address; /* host:port */
	const char *ca_file; /* the only authority that is trusted; NULL: whoever answers */
	const char *token;   /* bearer; NULL: none */
	const char *authority; /* told to the other side as Motorpool-Authority; NULL: nothing */
	long connect_ms;     /* limit of connecting, 0 = 5 s */
	bool plain;	     /* no TLS: for a store on this machine or a trusted network */
	const char *cert_file, *key_file; /* shown to the other side; NULL: none */
};

/* What came of an exchange. */
enum mp_http_outcome {
	MP_HTTP_OK = 0,	    /* an answer, whatever its status */
	MP_HTTP_UNREACHABLE, /* refused, no route, name unknown, timed out */
	MP_HTTP_UNTRUSTED,   /* its certificate is not of this authority, or TLS failed */
	MP_HTTP_BROKEN,	    /* connected, then no proper answer */
};

struct mp_http_client *mp_http_client_new(const struct mp_http_target *t);
void mp_http_client_free(struct mp_http_client *own_client);
const char *mp_http_client_address(const struct mp_http_client *c);
/* An extra header for every following request, "Name: value"; NULL clears all. */
void mp_http_client_header(struct mp_http_client *c, const char *line);

/* Of this process as the one that asks, so far. */
void mp_http_counts(struct mp_http_counts *ret);

/* One exchange, blocking at most timeout_ms; *ret_body is a new reference or NULL. */
enum mp_http_outcome mp_http_call(struct mp_http_client *c, const char *method, const char *path,
				  json_t *body, long timeout_ms, int *ret_status,
				  json_t **ret_body, struct mp_fail *f);

/* An event stream from the other side. Calls back only inside mp_http_listen_step(). */
struct mp_http_listen;

struct mp_http_listen *mp_http_listen_open(struct mp_http_client *c, const char *method,
					   const char *path, json_t *body,
					   void (*event)(void *arg, const char *event, json_t *data),
					   void *arg);
/*
 * The same for a stream of JSON texts, one a line: `event` is called with a NULL
 * name for each.
 */
struct mp_http_listen *mp_http_listen_lines(struct mp_http_client *c, const char *method,
					    const char *path, json_t *body,
					    void (*event)(void *arg, const char *event, json_t *data),
					    void *arg);
/*
 * Wait at most timeout_ms for the stream or for `fd` (-1: none) to have news,
 * and take the stream's in.  1 while it goes on, 0 when it is over: then
 * mp_http_listen_status() has the HTTP status (0: none came) and outcome.
 */
int mp_http_listen_step(struct mp_http_listen *l, int fd, int timeout_ms);
int mp_http_listen_status(struct mp_http_listen *l, enum mp_http_outcome *ret_outcome,
			  json_t **ret_error, struct mp_fail *f);
/*
 * Tells the other side that this one is done, and waits at most timeout_ms until
 * it has ended its answer.  True: properly, after it had heard that; false: the
 * stream broke, and whether the other side knows is not known.
 */
bool mp_http_listen_leave(struct mp_http_listen *l, int timeout_ms);
void mp_http_listen_close(struct mp_http_listen *own_listen);

/* ---- Certificates ---- */

/*
 * Make a certificate authority, or read the one in dir (ca.crt, ca.key); then a
 * server certificate for these names and addresses (server.crt, server.key),
 * made again when it is missing, near its end or of other names.  PEM texts are
 * returned for the caller to free.
 */
int mp_http_identity(const char *dir, const char *const *names, unsigned n, char **ret_cert,
		     char **ret_key, struct mp_fail *f);

/* Has this directory the authority's key? */
bool mp_http_has_authority(const char *dir);
/* ca.crt of the directory, NULL without; the caller frees it. */
char *mp_http_authority(const char *dir);
/* The bridge from the authority before this one, NULL without; the caller frees it. */
char *mp_http_cross(const char *dir);
/* A new key in the directory (server.key.new) and a request for its certificate. */
int mp_http_csr(const char *dir, char **ret_csr, struct mp_fail *f);
/* The certificate for such a request, under the directory's authority. */
int mp_http_sign(const char *dir, const char *csr, const char *const *names, unsigned n, char **ret_cert,
		 struct mp_fail *f);
/* What came of a request: the key takes its place beside it. `cross` may be NULL. */
int mp_http_install(const char *dir, const char *ca, const char *cross, const char *cert,
		    struct mp_fail *f);
/*
 * A new authority that also who trusts the old one believes; both are trusted
 * until mp_http_retire().  The server's certificate is made again.
 */
int mp_http_rotate(const char *dir, struct mp_fail *f);
/*
 * The same with an authority that another one certifies, which may be offline: a
 * request for it (its key waits in ca.key.new), and the certificate that came back.
 */
int mp_http_authority_csr(const char *dir, char **ret_csr, struct mp_fail *f);
int mp_http_authority_import(const char *dir, const char *pem, struct mp_fail *f);
/* The authority's key as PEM text under a passphrase, and back into a directory with its certificate. */
int mp_http_seal(const char *dir, const char *passphrase, char **ret_pem, struct mp_fail *f);
int mp_http_unseal(const char *dir, const char *ca, const char *pem, const char *passphrase,
		   struct mp_fail *f);
int mp_http_retire(const char *dir, struct mp_fail *f);
/* Days until the directory's server certificate ends. */
int mp_http_days_left(const char *dir);
/* The first eight bytes of the SHA-256 of the first certificate in a PEM text, in hexadecimal. */
bool mp_http_fingerprint(const char *pem, char ret[17]);

#endif
