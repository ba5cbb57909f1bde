/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: everything of one request or one parse lives here and goes at once.
 *
 * Born with a ceiling in bytes; zeroed memory, 16-byte aligned; NULL when the
 * ceiling or the host's memory is reached. Not thread-safe.
 */
#ifndef MP_BASE_ARENA_H
#define MP_BASE_ARENA_H

#include <stddef.h>

struct mp_arena_block;

struct mp_arena {
	struct mp_arena_block *blocks;
	size_t used, ceiling;
};

void mp_arena_init(struct mp_arena *a, size_t ceiling);
void mp_arena_fini(struct mp_arena *a);
void *mp_arena_alloc(struct mp_arena *a, size_t n);
/* n * size with an overflow check. */
void *mp_arena_array(struct mp_arena *a, size_t n, size_t size);
/* A NUL-terminated copy of n bytes. */
char *mp_arena_strndup(struct mp_arena *a, const char *s, size_t n);

#endif
