/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of all keys of a shared store, kept up to date by whoever watches it;
 * private to the room.
 *
 * What was changed together is seen together: a batch is applied under one lock.
 * Changes may come twice and out of order (one's own are applied when they are
 * answered, and come again from the watch): of a key the latest revision counts,
 * and a deleted key is remembered until the watch has passed its deletion, so
 * that an older put that is still on its way cannot revive it.
 *
 * Threads: any.
 */
#ifndef MP_STORE_COPY_H
#define MP_STORE_COPY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mp_copy_entry;

struct mp_copy {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* something was applied */
	struct mp_copy_entry **entries; /* by key */
	size_t n, cap, deleted;
	unsigned mark;
};

struct mp_copy_change {
	const char *key, *value; /* value NULL: deleted */
	int64_t revision;
};

int mp_copy_init(struct mp_copy *c);
void mp_copy_fini(struct mp_copy *c);

/* 0, or 1 when there is no such key, or -1 out of memory. */
int mp_copy_get(struct mp_copy *c, const char *key, char **ret_value, int64_t *ret_revision);
/* `each` must not come back to the copy. */
void mp_copy_list(struct mp_copy *c, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg);
/* passed: the watch has told everything up to this revision; 0: nothing about that. */
int mp_copy_apply(struct mp_copy *c, const struct mp_copy_change *changes, size_t n, int64_t passed);
/* These are all keys of the prefix, as of that revision. */
int mp_copy_reload(struct mp_copy *c, const char *prefix, const struct mp_copy_change *changes,
		   size_t n, int64_t revision);
/* Until the key is at this revision or later (0: is gone); false when time is up. */
bool mp_copy_wait(struct mp_copy *c, const char *key, int64_t revision, unsigned timeout_ms);

#endif
