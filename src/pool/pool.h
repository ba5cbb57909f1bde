/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool: the devices of this server, the leases on them, the tokens that may ask,
 * and the workers that serve programs.  It knows no HTTP.
 *
 * Threads: every function may be called from any thread; one lock guards all
 * tables and is never held over a wait for a peer (it is held over a commit to
 * the store, which is bounded).  One thread of this room serves the data port,
 * the workers' ends and the deadlines.
 */
#ifndef MP_POOL_H
#define MP_POOL_H

#include "base/code.h"
#include "base/fail.h"
#include "client/env.h"
#include "pool/filter.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mp_pool;

struct mp_pool_config {
	const char *name;	/* of this server, shown in lists */
	const char *state_dir;	/* exists, writable */
	const char *worker;	/* path of motorpool-worker */
	const char *driver;	/* driver library: path or loader name; NULL: no devices */
	const char *store_url;	/* where the store is, as others open it; NULL: this server's own file */
	const char *gate;	/* path of motorpool-gate; NULL: no encrypted lanes */
	const char *data;	/* listeners, comma-separated: ADDR:PORT, [ADDR]:PORT, unix:PATH;
				 * "tls:" before a TCP one: encrypted even on loopback */
	const char *offer;	/* UUIDs to offer, comma-separated; NULL: all */
	uint64_t reserve;	/* bytes of each device that are not lent */
	bool spread;		/* placement: spread over devices instead of packing */
	unsigned look_ms;	/* between two looks at idle devices; 0: none is made */
	unsigned liveness_ms;	/* a silent holder's lease ends after this; 0: 30 s */
};

/* Probes the driver in a child process, listens, takes over what a former daemon left. */
int mp_pool_open(const struct mp_pool_config *config, struct mp_store *store,
		 struct mp_pool **ret_pool, struct mp_fail *f);
/*
 * Tells the pool that this server is there, under these addresses of its API
 * (HOST:PORT), and whether it has the authority's key.  -1 when the pool does not want it: another of the same name, a
 * newer schema, a server that was removed.
 */
int mp_pool_announce(struct mp_pool *p, const char *const *api, unsigned n, bool authority,
		     struct mp_fail *f);
/* Leaves workers running: they hold their own sockets. */
void mp_pool_close(struct mp_pool *own_pool);
/* Before the holders' connections are closed: leases stay, for the next daemon to adopt. */
void mp_pool_detach(struct mp_pool *p);
/* End every lease, wait until its workers are gone (2 s at most). For a daemon that ends for good. */
void mp_pool_end_all(struct mp_pool *p, const char *why);
/* The first TCP listener's port, 0 when there is none. */
uint16_t mp_pool_data_port(const struct mp_pool *p);
unsigned mp_pool_liveness_ms(const struct mp_pool *p);

/* ---- Identity ---- */

enum mp_role { MP_ROLE_READ, MP_ROLE_USE, MP_ROLE_OPERATE, MP_ROLE_ADMIN, MP_ROLE_COUNT };

struct mp_identity {
	char token[16];	 /* the token's id */
	char client[64]; /* whose it is */
	enum mp_role role;
	unsigned priority; /* the highest that it may ask for */
};

/* Of requests that wait: low, normal, high. */
enum { MP_PRIORITY_LOW, MP_PRIORITY_NORMAL, MP_PRIORITY_HIGH, MP_PRIORITIES };
const char *mp_priority_name(unsigned priority);
/* MP_PRIORITIES when unknown. */
unsigned mp_priority_find(const char *name);

#define MP_TOKEN_TEXT 80 /* bytes for "mpt_<id>_<secret>" */

const char *mp_role_name(enum mp_role role);
/* MP_ROLE_COUNT when unknown. */
enum mp_role mp_role_find(const char *name);

/* Make a token; its text is in *ret_text alone, only a hash is kept. lifetime_s 0: a year. */
int mp_token_create(struct mp_pool *p, const char *client, enum mp_role role, unsigned priority,
		    int64_t lifetime_s, char ret_text[MP_TOKEN_TEXT], struct mp_fail *f);
/* Who shows this token?  0, or -1 with a sentence and an mp_code in f->code. */
int mp_token_check(struct mp_pool *p, const char *text, struct mp_identity *ret, struct mp_fail *f);
/* An array of every token, without secrets. */
json_t *mp_token_list(struct mp_pool *p);
/* A new token of the same client and role; the old one expires after overlap_s. */
int mp_token_reissue(struct mp_pool *p, const char *id, int64_t overlap_s,
		     char ret_text[MP_TOKEN_TEXT], struct mp_fail *f);
/* verb: activate, deactivate, revoke, extend (by lifetime_s). */
int mp_token_change(struct mp_pool *p, const char *id, const char *verb, int64_t lifetime_s,
		    struct mp_fail *f);

#define MP_JOIN_TEXT 80 /* bytes for "mpj_<id>_<secret>" */

/* A token with which one server may join, once, within lifetime_s (0: an hour). */
int mp_join_create(struct mp_pool *p, int64_t lifetime_s, char ret_text[MP_JOIN_TEXT], struct mp_fail *f);
int mp_join_redeem(struct mp_pool *p, const char *text, const char *name, struct mp_fail *f);

const char *mp_pool_state_dir(const struct mp_pool *p);
struct mp_store *mp_pool_store(struct mp_pool *p);
/* A shared store by its URL, with the certificates of a state directory. */
int mp_pool_store_open(const char *state, const char *url, int wait_ms, struct mp_store **ret,
		       struct mp_fail *f);
/* Moves the pool's state to another store, running leases untouched; blocks for a few seconds. */
int mp_pool_store_move(struct mp_pool *p, const char *url, struct mp_fail *f);
/* Follows such a move that another server made; to be called now and then, may block for seconds. */
void mp_pool_mind(struct mp_pool *p);
/* The URL of the store for a server that joins; NULL: this server lends its own. */
const char *mp_pool_store_url(const struct mp_pool *p);
/* Addresses of the API: of this server, of every living one (new reference), of the one with the authority. */
json_t *mp_pool_api(struct mp_pool *p);
json_t *mp_pool_apis(struct mp_pool *p);
json_t *mp_pool_authority_api(struct mp_pool *p);
/* Another authority signs now: every server wants a certificate of it. */
void mp_pool_authority_changed(struct mp_pool *p);
/* Grows with each such change, as far as this server knows. */
int64_t mp_pool_authority_age(struct mp_pool *p);

/* ---- Leases ---- */

#define MP_MILLION 1000000u

struct mp_want {
	unsigned n;
	uint32_t fraction; /* millionths of a device; 0: not asked */
	uint64_t bytes;	   /* of each device; 0: not asked.  Both: the larger.  Neither: whole */
};

struct mp_lease_request {
	struct mp_want want;
	const char *request_id; /* the client's own; a second grant of it answers the same lease */
	const char *client;
	const char *token; /* id of the token that asked: its revocation ends the lease */
	const char *user, *host, *program; /* claims; may be NULL */
	const struct mp_filters *filters;  /* may be NULL */
	int placement;			   /* -1 pack, 1 spread, 0 as the pool is set */
	int64_t ttl_s;			   /* ends after this, used or not; 0: none */
	int64_t linger_s; /* without a holder: ends so long after the last process left; 0: 600 */
	bool holder;	  /* ends with its holder */
};

struct mp_lease_grant {
	char id[MP_LEASE_DIGITS + 1];
	char secret[2 * MP_SECRET_BYTES + 1];
	unsigned n;
	bool again; /* the request had been granted before */
};

int mp_lease_grant(struct mp_pool *p, const struct mp_lease_request *q, struct mp_lease_grant *ret,
		   struct mp_fail *f);

/*
 * Who keeps a lease alive.  `tell` is called with the pool's lock held and must
 * not block or call the pool; `last` says that the lease is over and the holder
 * is no longer known to it.
 */
struct mp_holder {
	void (*tell)(struct mp_holder *h, const char *event, json_t *own_data, bool last);
	bool gone; /* guarded by the pool's lock */
};

/* Become the lease's holder in place of any former one; -1 when there is no such lease. */
int mp_lease_hold(struct mp_pool *p, const char *id, struct mp_holder *h, struct mp_fail *f);
/* The holder is gone: its lease ends.  Known or not, `tell` is not called any more. */
void mp_lease_unhold(struct mp_pool *p, const char *id, struct mp_holder *h);

/* Does this secret (hexadecimal) belong to this lease? */
bool mp_lease_secret_good(struct mp_pool *p, const char *id, const char *secret);
/* The client that the lease belongs to. */
bool mp_lease_client(struct mp_pool *p, const char *id, char ret_client[64]);
/* `why` goes to the holder: "released", "killed by ALICE", ... */
int mp_lease_end(struct mp_pool *p, const char *id, const char *why, struct mp_fail *f);
/* NULL when there is none of that id. */
json_t *mp_lease_show(struct mp_pool *p, const char *id);

/*
 * Which servers could grant this now, the best first: {offers: [{server, api,
 * self}]}.  NULL with a sentence and MP_CODE_BUSY, MP_CODE_NEVER, ... in f->code.
 */
json_t *mp_pool_offers(struct mp_pool *p, const struct mp_lease_request *q, struct mp_fail *f);
/*
 * A lease that is not on this server.  `why` not NULL: end it, with its secret or
 * because the caller may.  MP_CODE_ELSEWHERE: ask its server, at one of *ret_api
 * (the caller's reference; may be NULL).
 */
int mp_lease_away(struct mp_pool *p, const char *id, const char *secret, bool may, const char *why,
		  json_t **ret_api, struct mp_fail *f);

/* ---- Waiting ---- */

/* A client that waits: `tell` as for holders; events "place" {place, of} and "try". */
struct mp_waiter {
	void (*tell)(struct mp_waiter *w, const char *event, json_t *own_data);
	bool gone; /* guarded by the pool's lock */
};
int mp_line_enter(struct mp_pool *p, const struct mp_lease_request *q, unsigned priority,
		  struct mp_waiter *w, struct mp_fail *f);
/* Entered or not. */
void mp_line_leave(struct mp_pool *p, struct mp_waiter *w);

/* ---- Servers, devices, settings ---- */

int mp_server_drain(struct mp_pool *p, const char *name, bool drain, struct mp_fail *f);
/* Forget a server that is down, its leases with it. */
int mp_server_remove(struct mp_pool *p, const char *name, struct mp_fail *f);
int mp_device_enable(struct mp_pool *p, const char *uuid, bool enable, struct mp_fail *f);
int mp_setting_set(struct mp_pool *p, const char *name, const char *value, struct mp_fail *f);
json_t *mp_setting_list(struct mp_pool *p);

/* ---- Limits ---- */

/* who: "default", "pool" or a client; what: "gpus_millionths" or "idle_s"; negative: none. */
int mp_limit_set(struct mp_pool *p, const char *who, const char *what, int64_t value,
		 struct mp_fail *f);
json_t *mp_limit_list(struct mp_pool *p);
/* Every client that has a token, a limit of its own or a lease: {clients: [...]}. */
json_t *mp_client_list(struct mp_pool *p);
/* A disabled client gets no new leases and no answers. */
int mp_client_disable(struct mp_pool *p, const char *client, bool disable, struct mp_fail *f);

/* ---- History ---- */

void mp_pool_audit(struct mp_pool *p, const char *who, const char *from, const char *what,
		   const char *object, const char *outcome);
/* Newest first. */
json_t *mp_pool_audit_list(struct mp_pool *p, int64_t since, int64_t limit);
/* GPU-seconds by "client", "user", "host" or "program", running leases included. */
json_t *mp_pool_stats(struct mp_pool *p, const char *by, int64_t since, struct mp_fail *f);

/* A lane that may be measured for a minute: {secret, data}. NULL with a sentence. */
json_t *mp_perf_open(struct mp_pool *p, struct mp_fail *f);

/* Named checks of this server: {checks: [{check, where, state, text, remedy}]}. */
json_t *mp_pool_health(struct mp_pool *p);

/* Server, devices and leases, as `list` shows them. */
json_t *mp_pool_list(struct mp_pool *p);

#endif
