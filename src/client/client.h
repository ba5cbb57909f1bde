/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: finding the bundle, asking for a lease, keeping it.  For the command
 * and for the helper that a drop-in starts; one thread each.
 */
#ifndef MP_CLIENT_H
#define MP_CLIENT_H

#include "base/code.h"
#include "base/fail.h"
#include "base/words.h"
#include "client/env.h"
#include "http/http.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_SERVERS_MAX 64

/* A token bundle: a directory with ca.crt, token and servers. It is never written. */
struct mp_bundle {
	char dir[4096], ca_file[4200], token[128], authority[17]; /* of ca.crt, see base/pem.h */
	char *servers[MP_SERVERS_MAX]; /* HOST:PORT */
	unsigned nservers;
};

/*
 * `dir` NULL: MOTORPOOL_BUNDLE, then $XDG_CONFIG_HOME/motorpool (~/.config/motorpool),
 * then /etc/motorpool.  -1 with a sentence that says what to do, MP_CODE_CONFIG.
 */
int mp_bundle_open(const char *dir, struct mp_bundle *ret, struct mp_fail *f);
void mp_bundle_close(struct mp_bundle *b);
/* Where a user's own bundle belongs; false when there is no home. */
bool mp_bundle_home(char *dir, size_t size);


/*
 * One exchange with whatever server answers.  0 with *ret_body (new reference);
 * -1 with the sentence of the server or of the transport and an mp_code.
 */
int mp_client_call(const struct mp_bundle *b, const char *only, const char *method,
		   const char *path, json_t *body, json_t **ret_body, struct mp_fail *f);
/* The same with one more header, "Name: value"; NULL: none. */
int mp_client_call_with(const struct mp_bundle *b, const char *only, const char *header,
			const char *method, const char *path, json_t *body, json_t **ret_body,
			struct mp_fail *f);
/* The error of an answer that is not 2xx, as sentence and code. */
void mp_client_refusal(int status, json_t *answer, struct mp_fail *f);

struct mp_ask {
	unsigned n;
	uint32_t fraction; /* millionths */
	uint64_t bytes;
	int64_t timeout_s; /* 0: do not wait */
	const char *server; /* NULL: any */
	const char *const *filters;
	unsigned nfilters;
	const char *program;
	const char *priority;  /* low, normal, high; NULL: normal */
	const char *placement; /* pack, spread; NULL: as the pool is set */
	bool progress; /* one line on stderr while waiting */
	/* A lease without a holder: it ends when nobody uses it for linger_s, or after ttl_s. */
	bool requested;
	int64_t ttl_s, linger_s; /* 0: the server's default; none */
};

/* A lease that is held by this process. */
struct mp_held;

/*
 * Ask until it is granted or time is up, with bounded back-off and jitter.
 * `stop` is looked at while waiting (a signal came); may be NULL.
 */
int mp_client_ask(const struct mp_bundle *b, const struct mp_ask *ask, const int *stop,
		  struct mp_held **ret_held, struct mp_fail *f);
/* The lease as the server showed it: id, secret, data, devices. */
const json_t *mp_held_lease(const struct mp_held *h);
/* "HOST:PORT" of its server's API. */
const char *mp_held_server(const struct mp_held *h);
/* The value for MOTORPOOL_DATA. */
const char *mp_held_data(const struct mp_held *h);

enum mp_held_state {
	MP_HELD_YES,	/* all is well */
	MP_HELD_AWAY,	/* the server does not answer: programs go on, holding is tried again */
	MP_HELD_ENDED,	/* over; mp_held_why() says why */
};
/* Wait at most timeout_ms for news of the lease or of `fd` (-1: none). */
enum mp_held_state mp_held_step(struct mp_held *h, int fd, int timeout_ms);
const char *mp_held_why(const struct mp_held *h);
/* A warning for the user since the last call, or NULL. */
const char *mp_held_notice(struct mp_held *h);
/* For a requested lease: forget it here, it lives on. */
void mp_held_leave(struct mp_held *own_held);
/* Ends the lease, unless it is over. */
void mp_held_release(struct mp_held *own_held);

#endif
