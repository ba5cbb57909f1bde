/* SPDX-License-Identifier: Apache-2.0 */
/* An arena of blocks that double in size up to 1 MiB. */
#include "base/arena.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct mp_arena_block {
	struct mp_arena_block *next;
	size_t len, cap;
	max_align_t data[];
};

void mp_arena_init(struct mp_arena *a, size_t ceiling)
{
	a->blocks = NULL;
	a->used = 0;
	a->ceiling = ceiling;
}

void mp_arena_fini(struct mp_arena *a)
{
	struct mp_arena_block *b = a->blocks, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	mp_arena_init(a, a->ceiling);
}

static struct mp_arena_block *block_add(struct mp_arena *a, size_t need)
{
	size_t cap = a->blocks ? a->blocks->cap * 2 : 4096;
	struct mp_arena_block *b;

	if (cap > 1 << 20)
		cap = 1 << 20;
	if (cap < need)
		cap = need;
	b = calloc(1, sizeof(*b) + cap);
	if (!b)
		return NULL;
	b->cap = cap;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *mp_arena_alloc(struct mp_arena *a, size_t n)
{
	struct mp_arena_block *b = a->blocks;
	char *p;

	if (n > SIZE_MAX - 16 || a->used > a->ceiling)
		return NULL;
	n = mp_align_up(n ? n : 1, 16);
	if (n > a->ceiling - a->used)
		return NULL;
	if (!b || b->cap - b->len < n) {
		b = block_add(a, n);
		if (!b)
			return NULL;
	}
	p = (char *)b->data + b->len;
	b->len += n;
	a->used += n;
	return p;
}

void *mp_arena_array(struct mp_arena *a, size_t n, size_t size)
{
	size_t bytes;

	return mp_mul(n, size, &bytes) ? mp_arena_alloc(a, bytes) : NULL;
}

char *mp_arena_strndup(struct mp_arena *a, const char *s, size_t n)
{
	char *p = n < SIZE_MAX ? mp_arena_alloc(a, n + 1) : NULL;

	if (p)
		memcpy(p, s, n);
	return p;
}
