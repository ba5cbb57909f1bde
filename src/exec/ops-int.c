/* SPDX-License-Identifier: Apache-2.0 */
/* Integer arithmetic, logic, shifts, comparison and selection (9.7.1, 9.7.2, 9.7.6, 9.7.8). */
#include "exec/ops.h"

OPS_FILE(integer);

typedef __int128 s128;
typedef unsigned __int128 u128;

#define WIDTHS(M) M(16) M(32) M(64)
#define ARITH(n)                                                                                   \
	OP2("add." #n, u##n, u##n, u##n, x + y)                                                    \
	OP2("sub." #n, u##n, u##n, u##n, x - y)                                                    \
	OP2("mul.lo." #n, u##n, u##n, u##n, (u64)x * y)                                            \
	OP3("mad.lo." #n, u##n, u##n, u##n, u##n, (u64)x * y + z)                                  \
	OP2("and." #n, u##n, u##n, u##n, x & y)                                                    \
	OP2("or." #n, u##n, u##n, u##n, x | y)                                                     \
	OP2("xor." #n, u##n, u##n, u##n, x ^ y)                                                    \
	OP1("not." #n, u##n, u##n, ~x)                                                             \
	OP1("cnot." #n, u##n, u##n, x == 0)                                                        \
	OP1("neg." #n, u##n, u##n, -x)                                                             \
	OP1("abs.s" #n, u##n, s##n, x < 0 ? -(u##n)x : (u##n)x)                                    \
	OP2("min.s" #n, s##n, s##n, s##n, x < y ? x : y)                                           \
	OP2("max.s" #n, s##n, s##n, s##n, x > y ? x : y)                                           \
	OP2("min.u" #n, u##n, u##n, u##n, x < y ? x : y)                                           \
	OP2("max.u" #n, u##n, u##n, u##n, x > y ? x : y)                                           \
	OP3("sad.s" #n, u##n, s##n, s##n, u##n, z + (x < y ? (u##n)y - (u##n)x : (u##n)x - (u##n)y)) \
	OP3("sad.u" #n, u##n, u##n, u##n, u##n, z + (x < y ? y - x : x - y))                       \
	/* Amounts beyond the width clamp (9.7.8.8) */                                             \
	OP2("shl." #n, u##n, u##n, u32, y < n ? (u64)x << (y & 63) : 0)                            \
	OP2("shr.u" #n, u##n, u##n, u32, y < n ? (u64)x >> (y & 63) : 0)                           \
	OP2("shr.s" #n, s##n, s##n, u32, (s64)x >> ((y < n ? y : n - 1) & 63))                     \
	/* Division by zero gives all ones, the remainder the dividend; never a trap. */           \
	OP2("div.u" #n, u##n, u##n, u##n, y ? x / (y ? y : 1) : (u##n)-1)                          \
	OP2("rem.u" #n, u##n, u##n, u##n, y ? x % (y ? y : 1) : x)                                 \
	OP2("div.s" #n, s##n, s##n, s##n,                                                          \
	    !y ? (s##n)-1 : y == -1 ? (s##n)-(u##n)x : x / (!y || y == -1 ? 1 : y))                \
	OP2("rem.s" #n, s##n, s##n, s##n, !y ? x : y == -1 ? 0 : x % (!y || y == -1 ? 1 : y))

WIDTHS(ARITH)

#define WIDE(n, t)                                                                                 \
	OP2("mul.hi.u" #n, u##n, u##n, u##n, ((u##t)x * y) >> n)                                   \
	OP2("mul.hi.s" #n, s##n, s##n, s##n, ((s##t)x * y) >> n)                                   \
	OP3("mad.hi.u" #n, u##n, u##n, u##n, u##n, (u##n)(((u##t)x * y) >> n) + z)                 \
	OP3("mad.hi.s" #n, u##n, s##n, s##n, u##n, (u##n)(((s##t)x * y) >> n) + z)
WIDE(16, 32)
WIDE(32, 64)
WIDE(64, 128)
#define WIDEN(n, t)                                                                                \
	OP2("mul.wide.u" #n, u##t, u##n, u##n, (u##t)x * y)                                        \
	OP2("mul.wide.s" #n, u##t, s##n, s##n, (u##t)((s##t)x * y))                                \
	OP3("mad.wide.u" #n, u##t, u##n, u##n, u##t, (u##t)x * y + z)                              \
	OP3("mad.wide.s" #n, u##t, s##n, s##n, u##t, (u##t)((s##t)x * y) + z)
WIDEN(16, 32)
WIDEN(32, 64)
OP2("mul.wide.s64", u64, s64, s64, (u64)x * (u64)y) /* not in the ISA; keeps the table total */

static inline s32 clamp32(s64 v)
{
	return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (s32)v;
}
OP2("add.sat.s32", s32, s32, s32, clamp32((s64)x + y))
OP2("sub.sat.s32", s32, s32, s32, clamp32((s64)x - y))
/* mad.hi.sat.s32: the sum clamps */
OP3("mad.hi.sat.s32", s32, s32, s32, s32, clamp32((((s64)x * y) >> 32) + z))

/* 24-bit multiplies (9.7.1.6): the low 24 bits of the sources */
static inline s64 sx24(u32 v) { return (s32)(v << 8) >> 8; }
static inline u64 zx24(u32 v) { return v & 0xffffff; }
OP2("mul24.lo.u32", u32, u32, u32, zx24(x) * zx24(y))
OP2("mul24.lo.s32", u32, u32, u32, sx24(x) * sx24(y))
OP2("mul24.hi.u32", u32, u32, u32, (zx24(x) * zx24(y)) >> 16)
OP2("mul24.hi.s32", u32, u32, u32, (sx24(x) * sx24(y)) >> 16)
OP3("mad24.lo.u32", u32, u32, u32, u32, zx24(x) * zx24(y) + z)
OP3("mad24.lo.s32", u32, u32, u32, u32, sx24(x) * sx24(y) + z)
OP3("mad24.hi.u32", u32, u32, u32, u32, (u32)((zx24(x) * zx24(y)) >> 16) + z)
OP3("mad24.hi.s32", u32, u32, u32, u32, (u32)((sx24(x) * sx24(y)) >> 16) + z)
OP3("mad24.hi.sat.s32", s32, u32, u32, s32, clamp32(((sx24(x) * sx24(y)) >> 16) + z))

/* Carry chains (9.7.2): one carry bit a lane */
#define CARRY(name, n, loads, sum, carry)                                                          \
	HANDLER(name)                                                                              \
	{                                                                                          \
		const u##n *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);             \
		u##n *d = slot(w, o->d);                                                           \
		u32 out = w->cc, m = w->mask;                                                      \
		(void)c;                                                                           \
		for (int l = 0; l < LANES; l++) {                                                  \
			u##n x = a[l], y = b[l], r;                                                \
			u32 ci = w->cc >> l & 1, co;                                               \
			(void)ci;                                                                  \
			loads;                                                                     \
			r = (u##n)(sum);                                                           \
			co = (u32)(carry);                                                         \
			if (!(m >> l & 1))                                                         \
				continue;                                                          \
			d[l] = r;                                                                  \
			out = (out & ~(1u << l)) | co << l;                                        \
		}                                                                                  \
		if (o->x)                                                                          \
			w->cc = out;                                                               \
	}
#define CARRIES(n, t)                                                                              \
	CARRY("add.cc." #n, n, (void)0, x + y, r < x)                                              \
	CARRY("addc." #n, n, u##t s = (u##t)x + y + ci, s, s >> n)                                 \
	CARRY("sub.cc." #n, n, (void)0, x - y, x < y)                                              \
	CARRY("subc." #n, n, u##t s = (u##t)x - y - ci, s, (s >> n) & 1)                           \
	CARRY("mad.lo.cc.u" #n, n, u##t s = (u##t)(u##n)(x * y) + c[l], s, s >> n)                 \
	CARRY("madc.lo.u" #n, n, u##t s = (u##t)(u##n)(x * y) + c[l] + ci, s, s >> n)              \
	CARRY("mad.hi.cc.u" #n, n, u##t s = (u##t)(u##n)(((u##t)x * y) >> n) + c[l], s, s >> n)    \
	CARRY("madc.hi.u" #n, n, u##t s = (u##t)(u##n)(((u##t)x * y) >> n) + c[l] + ci, s, s >> n) \
	CARRY("mad.hi.cc.s" #n, n,                                                                 \
	      u##t s = (u##t)(u##n)(((s##t)(s##n)x * (s##n)y) >> n) + c[l], s, s >> n)             \
	CARRY("madc.hi.s" #n, n,                                                                   \
	      u##t s = (u##t)(u##n)(((s##t)(s##n)x * (s##n)y) >> n) + c[l] + ci, s, s >> n)
CARRIES(32, 64)
CARRIES(64, 128)

/* ---- Moves and selection ---- */
OP1("mov.16", u16, u16, x)
OP1("mov.32", u32, u32, x)
OP1("mov.64", u64, u64, x)
HANDLER("mov.128")
{
	const u64 *a = slot(w, o->a);
	u64 *d = slot(w, o->d);

	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1) {
			d[l] = a[l];
			d[l + LANES] = a[l + LANES];
		}
}
HANDLER("mov.pred") { pred_write(w, o->d, pred(w, o->a)); }
HANDLER("not.pred") { pred_write(w, o->d, ~pred(w, o->a)); }
HANDLER("and.pred") { pred_write(w, o->d, pred(w, o->a) & pred(w, o->b)); }
HANDLER("or.pred") { pred_write(w, o->d, pred(w, o->a) | pred(w, o->b)); }
HANDLER("xor.pred") { pred_write(w, o->d, pred(w, o->a) ^ pred(w, o->b)); }

/* A 64-bit (x + this call's place in local memory): address of a .local symbol */
HANDLER("mov.local.64")
{
	u64 v = o->imm + w->frame->local_at;
	BODY(u64, (void)0, v)
}
HANDLER("mov.local.32")
{
	u32 v = (u32)o->imm + w->frame->local_at;
	BODY(u32, (void)0, v)
}

#define SELP(n)                                                                                    \
	HANDLER("selp." #n)                                                                        \
	{                                                                                          \
		const u##n *a = slot(w, o->a), *b = slot(w, o->b);                                 \
		u32 p = pred(w, o->c) ^ o->x;                                                      \
		BODY(u##n, (void)0, (p >> l & 1) ? a[l] : b[l])                                    \
	}
WIDTHS(SELP)
/* slct: sign of c (9.7.6.4) */
#define SLCT(n)                                                                                    \
	OP3("slct." #n ".s32", u##n, u##n, u##n, s32, z >= 0 ? x : y)                              \
	OP3("slct." #n ".f32", u##n, u##n, u##n, f32, z >= 0 ? x : y)                              \
	OP3("slct.ftz." #n ".f32", u##n, u##n, u##n, f32, ftz(z) >= 0 ? x : y)
WIDTHS(SLCT)

/* ---- Comparison ---- */

/* The boolean step of setp (9.7.6.2): x says which, bit 2 that c is negated. */
static inline void setp_write(struct warp *w, const struct op *o, u32 bits)
{
	u32 p = bits, q = ~bits, c;

	if (o->x & 3) {
		c = pred(w, o->c);
		if (o->x & 4)
			c = ~c;
		switch (o->x & 3) {
		case 1: p &= c; q &= c; break;
		case 2: p |= c; q |= c; break;
		case 3: p ^= c; q ^= c; break;
		}
	}
	if (o->d != SLOT_NONE)
		pred_write(w, o->d, p);
	if (o->d2 != SLOT_NONE)
		pred_write(w, o->d2, q);
}

/* set: ones or 1.0 (9.7.6.1); x bits 3 says f32 */
static inline void set_write(struct warp *w, const struct op *o, u32 bits)
{
	u32 *d = slot(w, o->d), one = o->x & 8 ? 0x3f800000u : FULL;

	if (o->x & 3) {
		u32 c = pred(w, o->c);

		if (o->x & 4)
			c = ~c;
		bits = (o->x & 3) == 1 ? bits & c : (o->x & 3) == 2 ? bits | c : bits ^ c;
	}
	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			d[l] = bits >> l & 1 ? one : 0;
}

#define COMPARE(op, T, cond)                                                                       \
	HANDLER("setp." op)                                                                        \
	{                                                                                          \
		const T *a = slot(w, o->a), *b = slot(w, o->b);                                    \
		u32 bits = 0;                                                                      \
		for (int l = 0; l < LANES; l++) {                                                  \
			T x = a[l], y = b[l];                                                      \
			bits |= (u32)(cond) << l;                                                  \
		}                                                                                  \
		setp_write(w, o, bits);                                                            \
	}                                                                                          \
	HANDLER("set." op)                                                                         \
	{                                                                                          \
		const T *a = slot(w, o->a), *b = slot(w, o->b);                                    \
		u32 bits = 0;                                                                      \
		for (int l = 0; l < LANES; l++) {                                                  \
			T x = a[l], y = b[l];                                                      \
			bits |= (u32)(cond) << l;                                                  \
		}                                                                                  \
		set_write(w, o, bits);                                                             \
	}
#define COMPARES(T)                                                                                \
	COMPARE("eq." #T, T, x == y)                                                               \
	COMPARE("ne." #T, T, x != y)                                                               \
	COMPARE("lt." #T, T, x < y)                                                                \
	COMPARE("le." #T, T, x <= y)                                                               \
	COMPARE("gt." #T, T, x > y)                                                                \
	COMPARE("ge." #T, T, x >= y)
COMPARES(u16) COMPARES(s16) COMPARES(u32) COMPARES(s32) COMPARES(u64) COMPARES(s64)
/* Ordered comparisons are false with a NaN, unordered ones true (9.7.6.2). */
#define FCOMPARES(T, z, F)                                                                         \
	COMPARE("eq." z #T, T, F(x) == F(y))                                                       \
	COMPARE("ne." z #T, T, F(x) < F(y) || F(x) > F(y))                                         \
	COMPARE("lt." z #T, T, F(x) < F(y))                                                        \
	COMPARE("le." z #T, T, F(x) <= F(y))                                                       \
	COMPARE("gt." z #T, T, F(x) > F(y))                                                        \
	COMPARE("ge." z #T, T, F(x) >= F(y))                                                       \
	COMPARE("equ." z #T, T, !(F(x) < F(y) || F(x) > F(y)))                                     \
	COMPARE("neu." z #T, T, F(x) != F(y))                                                      \
	COMPARE("ltu." z #T, T, !(F(x) >= F(y)))                                                   \
	COMPARE("leu." z #T, T, !(F(x) > F(y)))                                                    \
	COMPARE("gtu." z #T, T, !(F(x) <= F(y)))                                                   \
	COMPARE("geu." z #T, T, !(F(x) < F(y)))                                                    \
	COMPARE("num." z #T, T, x == x && y == y)                                                  \
	COMPARE("nan." z #T, T, x != x || y != y)
FCOMPARES(f32, "", )
FCOMPARES(f32, "ftz.", ftz)
FCOMPARES(f64, "", )
