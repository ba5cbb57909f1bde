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

#include <stddef.h>
#include <stdint.h>

struct mp_store;

enum mp_store_outcome {
	MP_STORE_OK = 0,
	MP_STORE_CONFLICT, /* a guard does not hold; nothing was changed */
	MP_STORE_NONE,	   /* no such key */
	/* negative: the store cannot be read or written now */
};

/* One server's store in a file; path ":memory:" keeps nothing. */
int mp_store_open_sqlite(const char *path, struct mp_store **ret_store, struct mp_fail *f);
void mp_store_close(struct mp_store *own_store);

/* *ret_value is the caller's to free. */
int mp_store_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision);
/* Calls `each` for every key under the prefix, in key order; non-zero from it ends the walk. */
int mp_store_list(struct mp_store *s, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg);

struct mp_store_change {
	const char *key, *value; /* value NULL: delete */
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

/* For tests: after n more commits every call fails; negative: never. */
void mp_store_break(struct mp_store *s, int after);

#endif
