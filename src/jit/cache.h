/* SPDX-License-Identifier: Apache-2.0 */
/* Object code in a directory, by content.  Private to the room. */
#ifndef MP_JIT_CACHE_H
#define MP_JIT_CACHE_H

#include "jit/jit.h"

struct cache_key {
	char name[65]; /* of the file */
};

/*
 * Everything that the code depends on: the description (with the module's
 * variables relative to their start), the variant, the processor.
 */
void cache_key(const struct mp_jit_kernel *k, const struct mp_jit_options *o, struct cache_key *ret);
/* The object, which the caller frees, or NULL. */
char *cache_get(const char *dir, const struct cache_key *key, size_t *ret_len, bool *ret_waits);
void cache_put(const char *dir, const struct cache_key *key, const char *object, size_t len, bool waits);

#endif
