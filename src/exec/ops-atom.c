/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atom and red (9.7.13.5, 6): lane by lane, in lane order.  A block runs on one
 * host thread at a time, so shared memory needs no host atomics; global memory
 * always takes them, whatever the scope says.
 *
 * a = address, imm, ext[0] as for ld; b, c = operands; d = SLOT_NONE for red;
 * n = space.
 */
#include "exec/access.h"

OPS_FILE(atomic);

static inline void places(struct warp *w, const struct op *o, unsigned n, u64 *p)
{
	struct access x;

	access_prepare(w, o, &x, n, (enum space)o->n, true);
	for (int l = 0; l < LANES; l++)
		p[l] = (u64)(uintptr_t)access_place(&x, l, n);
}

/* `now` from old value v, operands y and z; U is the type in memory, T the one computed with */
#define ATOM(name, U, T, IN, OUT, expr)                                                            \
	HANDLER("atom." name)                                                                      \
	{                                                                                          \
		const U *b = slot(w, o->b), *c = slot(w, o->c);                                    \
		U *d = o->d == SLOT_NONE ? NULL : slot(w, o->d);                                   \
		u64 p[LANES], moved = 0;                                                           \
		(void)c;                                                                           \
		places(w, o, sizeof(U), p);                                                        \
		if (o->x & 4)                                                                      \
			w->spins++;                                                                \
		for (int l = 0; l < LANES; l++) {                                                  \
			U *at = (U *)(uintptr_t)p[l], was, now, yb, zb;                            \
			T v, y, z;                                                                 \
			if (!(w->mask >> l & 1))                                                   \
				continue;                                                          \
			yb = b[l], zb = c[l];                                                      \
			y = IN(yb), z = IN(zb);                                                    \
			(void)z;                                                                   \
			was = __atomic_load_n(at, __ATOMIC_RELAXED);                               \
			if (o->n == SP_SHARED) {                                                   \
				v = IN(was);                                                       \
				(void)v;                                                           \
				now = OUT(expr);                                                   \
				*at = now;                                                         \
			} else {                                                                   \
				do {                                                               \
					v = IN(was);                                               \
					(void)v;                                                   \
					now = OUT(expr);                                           \
				} while (!__atomic_compare_exchange_n(at, &was, now, false,        \
								      __ATOMIC_SEQ_CST,            \
								      __ATOMIC_RELAXED));          \
			}                                                                          \
			moved |= now ^ was;                                                        \
			if (d)                                                                     \
				d[l] = was;                                                        \
		}                                                                                  \
		if (!moved) /* a lock that is held, a value that is only looked at */              \
			w->polls += 8;                                                             \
	}
#define SAME_(x) (x)
#define INTS(n)                                                                                    \
	ATOM("and.b" #n, u##n, u##n, SAME_, SAME_, v & y)                                          \
	ATOM("or.b" #n, u##n, u##n, SAME_, SAME_, v | y)                                           \
	ATOM("xor.b" #n, u##n, u##n, SAME_, SAME_, v ^ y)                                          \
	ATOM("exch.b" #n, u##n, u##n, SAME_, SAME_, y)                                             \
	ATOM("cas.b" #n, u##n, u##n, SAME_, SAME_, v == y ? z : v)                                 \
	ATOM("min.u" #n, u##n, u##n, SAME_, SAME_, v < y ? v : y)                                  \
	ATOM("max.u" #n, u##n, u##n, SAME_, SAME_, v > y ? v : y)                                  \
	ATOM("min.s" #n, u##n, s##n, (s##n), (u##n), (v < y ? v : y))                              \
	ATOM("max.s" #n, u##n, s##n, (s##n), (u##n), (v > y ? v : y))                              \
	/* inc wraps to 0 past b, dec to b past 0 (9.7.13.5) */                                    \
	ATOM("inc.u" #n, u##n, u##n, SAME_, SAME_, v >= y ? 0 : v + 1)                             \
	ATOM("dec.u" #n, u##n, u##n, SAME_, SAME_, v == 0 || v > y ? y : v - 1)
INTS(32)
INTS(64)
ATOM("cas.b16", u16, u16, SAME_, SAME_, v == y ? z : v)
/* f32 add in global memory flushes subnormals; in shared memory it keeps them (9.7.13.5) */
ATOM("add.f32", u32, f32, bits_f32, f32_bits, v + y)
ATOM("add.ftz.f32", u32, f32, bits_f32, f32_bits, ftz(ftz(v) + ftz(y)))
ATOM("add.f64", u64, f64, bits_f64, f64_bits, v + y)

/* Integer addition: one locked instruction, or one for the whole warp when all add to one place. */
#define ADD(W)                                                                                     \
	HANDLER("atom.add.u" #W)                                                                   \
	{                                                                                          \
		const u##W *b = slot(w, o->b);                                                     \
		u##W *d = o->d == SLOT_NONE ? NULL : slot(w, o->d);                                \
		struct access x;                                                                   \
		access_prepare(w, o, &x, sizeof(u##W), (enum space)o->n, true);                    \
		if (x.pattern == SAME) {                                                           \
			u##W before[LANES], sum = 0, base, *at = (u##W *)x.host;                   \
			for (int l = 0; l < LANES; l++) {                                          \
				before[l] = sum;                                                   \
				sum += w->mask >> l & 1 ? b[l] : 0;                                \
			}                                                                          \
			if (o->n == SP_SHARED) {                                                   \
				base = *at;                                                        \
				*at = base + sum;                                                  \
			} else {                                                                   \
				base = __atomic_fetch_add(at, sum, __ATOMIC_SEQ_CST);              \
			}                                                                          \
			for (int l = 0; d && l < LANES; l++)                                       \
				if (w->mask >> l & 1)                                              \
					d[l] = base + before[l];                                   \
			return;                                                                    \
		}                                                                                  \
		for (int l = 0; l < LANES; l++) {                                                  \
			u##W *at = (u##W *)access_place(&x, l, sizeof(u##W)), was;                 \
			if (!(w->mask >> l & 1))                                                   \
				continue;                                                          \
			if (o->n == SP_SHARED) {                                                   \
				was = *at;                                                         \
				*at = was + b[l];                                                  \
			} else {                                                                   \
				was = __atomic_fetch_add(at, b[l], __ATOMIC_SEQ_CST);              \
			}                                                                          \
			if (d)                                                                     \
				d[l] = was;                                                        \
		}                                                                                  \
	}
ADD(32)
ADD(64)
