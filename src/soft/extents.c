/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents: which granules of a numbered range are free.  A sorted array of free
 * pieces, first fit, neighbours merged.  The caller has the lock.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

bool mp_extents_init(struct mp_extents *x, uint64_t first, uint64_t count)
{
	x->cap = 16;
	x->free = malloc(x->cap * sizeof(*x->free));
	if (!x->free)
		return false;
	x->free[0] = (struct mp_extent){first, count};
	x->n = 1;
	return true;
}

static bool insert(struct mp_extents *x, size_t at, struct mp_extent e)
{
	if (x->n == x->cap) {
		size_t cap = x->cap * 2;
		struct mp_extent *p = realloc(x->free, cap * sizeof(*p));

		if (!p)
			return false;
		x->free = p;
		x->cap = cap;
	}
	memmove(&x->free[at + 1], &x->free[at], (x->n - at) * sizeof(*x->free));
	x->free[at] = e;
	x->n++;
	return true;
}

static void erase(struct mp_extents *x, size_t at)
{
	x->n--;
	memmove(&x->free[at], &x->free[at + 1], (x->n - at) * sizeof(*x->free));
}

/* Cut [first, first+count) out of the free piece at index i. */
static bool cut(struct mp_extents *x, size_t i, uint64_t first, uint64_t count)
{
	struct mp_extent *e = &x->free[i];
	uint64_t before = first - e->first, after = e->first + e->count - first - count;

	if (before && after) {
		if (!insert(x, i + 1, (struct mp_extent){first + count, after}))
			return false;
		x->free[i].count = before;
	} else if (before) {
		e->count = before;
	} else if (after) {
		e->first += count;
		e->count = after;
	} else {
		erase(x, i);
	}
	return true;
}

bool mp_extents_take(struct mp_extents *x, uint64_t count, uint64_t align, uint64_t *ret_first)
{
	size_t i;

	assert(count && align && !(align & (align - 1)));
	for (i = 0; i < x->n; i++) {
		struct mp_extent *e = &x->free[i];
		uint64_t first = mp_align_up(e->first, align);

		if (first - e->first <= e->count && e->count - (first - e->first) >= count) {
			*ret_first = first;
			return cut(x, i, first, count);
		}
	}
	return false;
}

bool mp_extents_take_at(struct mp_extents *x, uint64_t first, uint64_t count)
{
	size_t i;

	for (i = 0; i < x->n; i++) {
		struct mp_extent *e = &x->free[i];

		if (first >= e->first && first - e->first < e->count &&
		    e->count - (first - e->first) >= count)
			return cut(x, i, first, count);
	}
	return false;
}

void mp_extents_put(struct mp_extents *x, uint64_t first, uint64_t count)
{
	size_t i = 0;

	while (i < x->n && x->free[i].first < first)
		i++;
	assert(i == x->n || first + count <= x->free[i].first);
	assert(!i || x->free[i - 1].first + x->free[i - 1].count <= first);
	if (i && x->free[i - 1].first + x->free[i - 1].count == first) {
		x->free[i - 1].count += count;
		if (i < x->n && x->free[i].first == first + count) {
			x->free[i - 1].count += x->free[i].count;
			erase(x, i);
		}
	} else if (i < x->n && x->free[i].first == first + count) {
		x->free[i].first = first;
		x->free[i].count += count;
	} else if (!insert(x, i, (struct mp_extent){first, count})) {
		/* Without memory the piece is lost, which costs addresses only. */
		mp_log(MP_LOG_ERROR, "soft", "extents", "lost=%llu", (unsigned long long)count);
	}
}
