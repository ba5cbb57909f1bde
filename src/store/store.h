/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: the durable state of a pool as keys and values, changed by guarded
 * transactions.
 *
 * A key is a path ("/leases/server/id"), a value a text (JSON).  Every key has
 * the revision of its last change; revisions grow over the whole store.  A
 * transaction names the revisions that it rests on and is made whole or not at
 * all: this is what keeps two servers from giving the same thing twice.
 *
 * Threads: any; calls may block on a disk or a peer, at most two seconds.
 */
#ifndef MP_STORE_H
#define MP_STORE_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mp_store;

enum mp_store_outcome {
	MP_STORE_OK = 0,
	MP_STORE_CONFLICT, /* a guard does not hold; nothing was changed */
	MP_STORE_NONE,	   /* no such key */
	/* negative: the store cannot be read or written now */
};

/*
 * Three kinds.  SQLite: one server's file.  etcd: shared by the servers of a
 * pool, also spoken by a server that lends its own file to others; every server
 * keeps a watched copy of all keys, so reading asks nobody and goes on without a
 * majority.  The front: stands before one of the others and lets it be exchanged
 * while the pool runs.
 */

/* One server's store in a file; path ":memory:" keeps nothing. */
int mp_store_open_sqlite(const char *path, struct mp_store **ret_store, struct mp_fail *f);

struct mp_store_etcd {
	const char *endpoints; /* HOST:PORT, comma-separated */
	bool plain;	       /* without TLS */
	const char *ca_file, *cert_file, *key_file;
	const char *prefix; /* before every key; NULL: /motorpool/v1 */
	int ttl_s;	    /* mortal keys go so long after this process; 0: 6 */
};
/* Waits until the keys could be read, at most wait_ms. */
int mp_store_open_etcd(const struct mp_store_etcd *config, int wait_ms, struct mp_store **ret_store,
		       struct mp_fail *f);

int mp_store_open_front(struct mp_store *own_inner, struct mp_store **ret_store, struct mp_fail *f);
/* The store before which the front stood is the caller's to close. */
struct mp_store *mp_store_switch(struct mp_store *front, struct mp_store *own_inner);

void mp_store_close(struct mp_store *own_store);

/*
 * Whether a text from elsewhere may be a key ("/a...", at most 512 bytes) or a prefix ("/" or a key): the calls below
 * take nothing else.
 */
bool mp_store_key_good(const char *key);
bool mp_store_prefix_good(const char *prefix);

/* *ret_value is the caller's to free. */
int mp_store_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision);
/* Calls `each` for every key under the prefix, in key order; non-zero from it ends the walk. */
int mp_store_list(struct mp_store *s, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg);

struct mp_store_change {
	const char *key, *value; /* value NULL: delete */
	bool mortal;		 /* goes with this process; in a file it does not */
};

struct mp_store_guard {
	const char *key;
	int64_t revision; /* that the key must have; 0: it must not exist */
};

/* *ret_revision: of every key that was put; may be NULL. */
int mp_store_commit(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
		    const struct mp_store_change *changes, size_t nchanges, int64_t *ret_revision);
/* One change without guards. */
int mp_store_put(struct mp_store *s, const char *key, const char *value);

/*
 * Reading may lag behind what other servers changed.  Read a prefix from the
 * majority, so that what follows sees everything that was committed before;
 * negative when there is none.
 */
int mp_store_sync(struct mp_store *s, const char *prefix);
/* False: a loss of the majority is known, and a commit would fail at once. */
bool mp_store_writable(struct mp_store *s);
/*
 * `changed` is called, with no lock of this room held and from any thread, after
 * keys changed or the majority was lost or came back.
 */
void mp_store_watch(struct mp_store *s, void (*changed)(void *arg), void *arg);

/*
 * A file's changes as they are made, inside the commit and in order: `made` must
 * not come back to the store.  For a server that lends its file to others.
 */
void mp_store_follow(struct mp_store *s,
		     void (*made)(void *arg, const struct mp_store_change *changes, size_t n,
				  int64_t revision),
		     void *arg);
/* The last revision of a file; 0 for other kinds. */
int64_t mp_store_revision(struct mp_store *s);

#define MP_STORE_VOTERS 9

/* Who keeps the store, for health; asking may block half a second for each. */
struct mp_store_voters {
	bool shared; /* by several servers */
	bool majority;
	unsigned n, good;
	struct {
		char name[128];
		bool good;
	} voter[MP_STORE_VOTERS];
};
/* Transactions that were asked for by this door since it was opened. */
uint64_t mp_store_commits(struct mp_store *s);

void mp_store_describe(struct mp_store *s, struct mp_store_voters *ret);

/* For tests: after n more commits every call fails; negative: never. */
void mp_store_break(struct mp_store *s, int after);

#endif
