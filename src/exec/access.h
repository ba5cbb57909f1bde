/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of a warp's access, classed once: all the same, one after another,
 * or scattered.  Included by handler files only.
 */
#ifndef MP_EXEC_ACCESS_H
#define MP_EXEC_ACCESS_H

#include "exec/ops.h"

enum pattern { SAME, RUN, SCATTER };

struct access {
	enum pattern pattern;
	char *host;	    /* SAME: the place; RUN: lane 0's place, active or not */
	u64 a[LANES];	    /* SCATTER: host addresses */
};

/* op->n holds the width in bytes of the address register, or 0 for none. */
static inline void addresses(struct warp *w, const struct op *o, u64 *a)
{
	if (o->a == SLOT_NONE) {
		EACH a[l] = o->imm;
	} else if (o->ext[0] == 4) {
		const u32 *r = slot(w, o->a);

		EACH a[l] = (u32)(r[l] + (u32)o->imm);
	} else {
		const u64 *r = slot(w, o->a);

		EACH a[l] = r[l] + o->imm;
	}
}

__attribute__((noinline, unused)) static void access_slow(struct warp *w, struct access *x, unsigned n,
							   bool write)
{
	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1) {
			if (x->a[l] & (n - 1))
				warp_fault(w, (u32)l, MP_EXEC_MISALIGNED, x->a[l]);
			x->a[l] = (u64)(uintptr_t)warp_translate(w, (u32)l, x->a[l], n, write);
		}
	x->pattern = SCATTER;
}

/* Translate a[] to host places; `n` bytes a lane, a power of two, aligned to itself. */
static inline void access_prepare(struct warp *w, const struct op *o, struct access *x, unsigned n,
				  enum space space, bool write)
{
	int first = __builtin_ctz(w->mask), last = 31 - __builtin_clz(w->mask);
	u64 a0, run0, same = 0, run = 0, lo, hi, base, size;
	u64 *a = x->a;

	x->host = NULL;
	addresses(w, o, a);
	if (space == SP_LOCAL) { /* each lane has its own place: 5.1.5 */
		u64 limit = w->cta->local_stride;
		u64 bad = 0;

		for (int l = 0; l < LANES; l++) {
			u64 off = a[l] + (o->x & 1 ? w->frame->local_at : 0);

			if (!(w->mask >> l & 1))
				continue;
			bad |= (off & (n - 1)) | (off > limit || limit - off < n);
			a[l] = (u64)(uintptr_t)(w->local + (u64)l * limit + off);
		}
		if (bad)
			warp_fault(w, (u32)first, MP_EXEC_ILLEGAL_ADDRESS, a[first]);
		x->pattern = SCATTER;
		return;
	}
	a0 = a[first];
	run0 = a0 - (u64)first * n;
	if (w->mask == FULL) {
		EACH {
			same |= a[l] ^ a0;
			run |= a[l] ^ (run0 + (u64)l * n);
		}
	} else {
		EACH {
			u64 m = (u64)(s64)w->lm[l];

			same |= (a[l] ^ a0) & m;
			run |= (a[l] ^ (run0 + (u64)l * n)) & m;
		}
	}
	if (space == SP_SHARED) {
		base = 0;
		size = w->cta->shared_bytes;
	} else {
		base = w->cta->grid->space->base;
		size = w->cta->grid->space->size;
	}
	if (!same || !run) {
		lo = a0 - base;
		hi = same ? lo + (u64)(last - first + 1) * n : lo + n;
		if (MP_LIKELY(!(a0 & (n - 1)) && lo < size && hi <= size && hi > lo)) {
			x->pattern = same ? RUN : SAME;
			x->host = (space == SP_SHARED ? w->cta->shared : (char *)0) + (same ? run0 : a0);
			return;
		}
	} else {
		u64 bad = 0, low = 0;

		if (MP_UNLIKELY(size < n))
			bad = 1;
		if (w->mask == FULL) {
			EACH {
				bad |= a[l] - base > size - n;
				low |= a[l];
			}
		} else {
			EACH {
				u64 m = (u64)(s64)w->lm[l];

				bad |= (u64)(a[l] - base > size - n) & m;
				low |= a[l] & m;
			}
		}
		if (MP_LIKELY(!bad && !(low & (n - 1)))) {
			if (space == SP_SHARED) {
				u64 h = (u64)(uintptr_t)w->cta->shared;

				EACH a[l] += h;
			}
			x->pattern = SCATTER;
			return;
		}
	}
	if (space == SP_SHARED)
		EACH a[l] = (a[l] & (GENERIC_SPAN - 1)) | GENERIC_SHARED;
	access_slow(w, x, n, write);
}

static inline char *access_place(const struct access *x, int l, unsigned n)
{
	switch (x->pattern) {
	case SAME: return x->host;
	case RUN: return x->host + (u64)l * n;
	default: return (char *)(uintptr_t)x->a[l];
	}
}

#endif
