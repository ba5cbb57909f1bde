/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations across the lanes of a warp (9.7.9.6, 9.7.13.8 to 14).  The run
 * loop calls them when the members that can come have come; w->mask is who is
 * here.
 */
#include "exec/ops.h"

OPS_FILE(warp);

/* shfl: the lane chosen by mode and segment; out of range keeps the own value (9.7.9.6) */
HANDLER("shfl")
{
	const u32 *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);
	u32 *d = slot(w, o->d), src[LANES], out[LANES], p = 0;
	s32 from[LANES], ok[LANES];

	memcpy(src, a, sizeof(src));
#define SHFL(lane, cond)                                                                           \
	EACH {                                                                                     \
		s32 clamp = (s32)(c[l] & 31), seg = (s32)(c[l] >> 8 & 31), bv = (s32)(b[l] & 31);  \
		s32 max = (l & seg) | (clamp & ~seg), j = (lane);                                  \
		s32 good = (cond) ? -1 : 0;                                                        \
		from[l] = (j & good) | (l & ~good);                                                \
		ok[l] = good;                                                                      \
	}
	switch (o->x) {
	case 0: SHFL(l - bv, j >= max) break;	    /* up */
	case 1: SHFL(l + bv, j <= max) break;	    /* down */
	case 2: SHFL(l ^ bv, j <= max) break;	    /* bfly */
	default: SHFL((l & seg) | (bv & ~seg), j <= max) break; /* idx */
	}
	for (int l = 0; l < LANES; l++)
		out[l] = src[from[l] & 31];
	if (o->d2 != SLOT_NONE)
		for (int l = 0; l < LANES; l++)
			p |= (u32)(ok[l] & 1) << l;
	if (w->mask == FULL)
		EACH d[l] = out[l];
	else
		EACH d[l] = w->lm[l] ? out[l] : d[l];
	if (o->d2 != SLOT_NONE)
		pred_write(w, o->d2, p);
}

HANDLER("vote.ballot")
{
	u32 v = (pred(w, o->a) ^ o->x) & w->mask;
	BODY(u32, (void)0, v)
}
HANDLER("vote.all") { pred_write(w, o->d, (~(pred(w, o->a) ^ o->x) & w->mask) ? 0 : FULL); }
HANDLER("vote.any") { pred_write(w, o->d, ((pred(w, o->a) ^ o->x) & w->mask) ? FULL : 0); }
HANDLER("vote.uni")
{
	u32 v = (pred(w, o->a) ^ o->x) & w->mask;

	pred_write(w, o->d, v == 0 || v == w->mask ? FULL : 0);
}
HANDLER("activemask")
{
	u32 v = w->mask;
	BODY(u32, (void)0, v)
}

#define MATCH(n)                                                                                   \
	HANDLER("match.any." #n)                                                                   \
	{                                                                                          \
		const u##n *a = slot(w, o->a);                                                     \
		u32 *d = slot(w, o->d), out[LANES];                                                \
		for (int l = 0; l < LANES; l++) {                                                  \
			out[l] = 0;                                                                \
			for (int k = 0; k < LANES; k++)                                            \
				out[l] |= (u32)(a[k] == a[l]) << k;                                \
			out[l] &= w->mask;                                                         \
		}                                                                                  \
		EACH d[l] = w->mask >> l & 1 ? out[l] : d[l];                                      \
	}                                                                                          \
	HANDLER("match.all." #n)                                                                   \
	{                                                                                          \
		const u##n *a = slot(w, o->a);                                                     \
		u##n first = a[__builtin_ctz(w->mask)];                                            \
		u32 v = w->mask;                                                                   \
		for (int l = 0; l < LANES; l++)                                                    \
			if ((w->mask >> l & 1) && a[l] != first)                                   \
				v = 0;                                                             \
		BODY(u32, (void)0, v)                                                              \
		if (o->d2 != SLOT_NONE)                                                            \
			pred_write(w, o->d2, v ? FULL : 0);                                        \
	}
MATCH(32)
MATCH(64)

#define REDUX(name, T, expr)                                                                       \
	HANDLER("redux." name)                                                                     \
	{                                                                                          \
		const T *a = slot(w, o->a);                                                        \
		int first = __builtin_ctz(w->mask);                                                \
		T x = a[first];                                                                    \
		for (int l = first + 1; l < LANES; l++)                                            \
			if (w->mask >> l & 1) {                                                    \
				T y = a[l];                                                        \
				x = (expr);                                                        \
			}                                                                          \
		BODY(T, (void)0, x)                                                                \
	}
REDUX("add.u32", u32, x + y)
REDUX("add.s32", u32, x + y)
REDUX("min.u32", u32, x < y ? x : y)
REDUX("max.u32", u32, x > y ? x : y)
REDUX("min.s32", s32, x < y ? x : y)
REDUX("max.s32", s32, x > y ? x : y)
REDUX("and.u32", u32, x & y)
REDUX("or.u32", u32, x | y)
REDUX("xor.u32", u32, x ^ y)

HANDLER("elect")
{
	u32 leader = (u32)__builtin_ctz(w->mask);
	BODY(u32, (void)0, leader)
	if (o->d2 != SLOT_NONE)
		pred_write(w, o->d2, 1u << leader);
}

HANDLER("cluster.arrive") { cluster_arrive(w, w->mask); }

/*
 * mapa and getctarank: x = addresses are of the shared window, not generic.  A
 * plain address is the block's own; a mapped one has rank + 1 in the bits above
 * the offset.
 */
#define MAPA(T, name)                                                                              \
	HANDLER("mapa." name)                                                                      \
	{                                                                                          \
		const T *a = slot(w, o->a);                                                        \
		const u32 *b = slot(w, o->b);                                                      \
		T at[LANES];                                                                       \
		EACH at[l] = (a[l] & ~((T)0xff << SHARED_RANK_SHIFT)) |                            \
			     (T)((b[l] + 1) & 0xff) << SHARED_RANK_SHIFT;                          \
		BODY(T, (void)0, at[l])                                                            \
	}                                                                                          \
	HANDLER("getctarank." name)                                                                \
	{                                                                                          \
		const T *a = slot(w, o->a);                                                        \
		u32 own = w->cta->rank;                                                            \
		BODY(u32, u32 x = (u32)a[l] >> SHARED_RANK_SHIFT, x ? x - 1 : own)                 \
	}
MAPA(u32, "32")
MAPA(u64, "64")

/* An address of the shared window as a generic one, the rank included. */
OP1("shared.generic.32", u64, u32, GENERIC_SHARED | x)
OP1("shared.generic.64", u64, u64, GENERIC_SHARED | (x & (GENERIC_SPAN - 1)))
