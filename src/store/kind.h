/* SPDX-License-Identifier: Apache-2.0 */
/* What one kind of store implements; private to the room. */
#ifndef MP_STORE_KIND_H
#define MP_STORE_KIND_H

#include "store/store.h"

#include <stdbool.h>

struct mp_store_kind {
	void (*close)(struct mp_store *own_store);
	int (*get)(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision);
	int (*list)(struct mp_store *s, const char *prefix,
		    int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		    void *arg);
	int (*commit)(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
		      const struct mp_store_change *changes, size_t nchanges,
		      int64_t *ret_revision);
	/* These may be NULL: always in step, always writable, alone. */
	int (*sync)(struct mp_store *s, const char *prefix);
	bool (*writable)(struct mp_store *s);
	void (*watch)(struct mp_store *s, void (*changed)(void *arg), void *arg);
	void (*follow)(struct mp_store *s,
		       void (*made)(void *arg, const struct mp_store_change *changes, size_t n,
				    int64_t revision),
		       void *arg);
	int64_t (*revision)(struct mp_store *s);
	void (*describe)(struct mp_store *s, struct mp_store_voters *ret);
};

/* The head of every kind's own struct. */
struct mp_store {
	const struct mp_store_kind *kind;
	bool broken, breaks;
	int breaks_after;
	uint64_t commits; /* atomic: asked for, whatever came of them */
};

#endif
