/* SPDX-License-Identifier: Apache-2.0 */
/* Bit operations, permutes, dot products, packed integers (9.7.1.16 to 25, 9.7.8, 9.7.9.7, 9.7.17). */
#include "exec/ops.h"

OPS_FILE(bits);

OP1("popc.32", u32, u32, __builtin_popcount(x))
OP1("popc.64", u32, u64, __builtin_popcountll(x))
OP1("clz.32", u32, u32, x ? __builtin_clz(x) : 32)
OP1("clz.64", u32, u64, x ? __builtin_clzll(x) : 64)

static inline u32 brev32(u32 x)
{
	x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
	x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
	x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
	return __builtin_bswap32(x);
}
OP1("brev.32", u32, u32, brev32(x))
OP1("brev.64", u64, u64, (u64)brev32((u32)x) << 32 | brev32((u32)(x >> 32)))

/* bfind: the most significant bit that is not sign; none gives all ones (9.7.1.17) */
static inline u32 top64(u64 x) { return x ? 63 - (u32)__builtin_clzll(x) : FULL; }
static inline u32 top32(u32 x) { return x ? 31 - (u32)__builtin_clz(x) : FULL; }
static inline u32 amount(u32 top, u32 last) { return top == FULL ? FULL : last - top; }
OP1("bfind.u32", u32, u32, top32(x))
OP1("bfind.s32", u32, u32, top32(x >> 31 ? ~x : x))
OP1("bfind.u64", u32, u64, top64(x))
OP1("bfind.s64", u32, u64, top64(x >> 63 ? ~x : x))
OP1("bfind.shiftamt.u32", u32, u32, amount(top32(x), 31))
OP1("bfind.shiftamt.s32", u32, u32, amount(top32(x >> 31 ? ~x : x), 31))
OP1("bfind.shiftamt.u64", u32, u64, amount(top64(x), 63))
OP1("bfind.shiftamt.s64", u32, u64, amount(top64(x >> 63 ? ~x : x), 63))

/* bfe (9.7.1.19): position and length are 8 bits; a signed field beyond the top repeats the sign */
#define BFE(n)                                                                                     \
	static inline u##n bfe_u##n(u##n x, u32 pos, u32 len)                                      \
	{                                                                                          \
		pos &= 255, len &= 255;                                                            \
		if (!len || pos >= n)                                                              \
			return 0;                                                                  \
		x >>= pos;                                                                         \
		return len >= n ? x : x & (((u##n)1 << len) - 1);                                  \
	}                                                                                          \
	static inline u##n bfe_s##n(u##n x, u32 pos, u32 len)                                      \
	{                                                                                          \
		u32 last;                                                                          \
		u##n sign, field;                                                                  \
		pos &= 255, len &= 255;                                                            \
		if (!len)                                                                          \
			return 0;                                                                  \
		last = pos + len - 1 < n - 1 ? pos + len - 1 : n - 1;                              \
		sign = x >> last & 1 ? (u##n)-1 : 0;                                               \
		if (pos >= n)                                                                      \
			return sign;                                                               \
		field = x >> pos;                                                                  \
		len = last - pos + 1;                                                              \
		return len >= n ? field : (field & (((u##n)1 << len) - 1)) | (sign << len);        \
	}                                                                                          \
	OP3("bfe.u" #n, u##n, u##n, u32, u32, bfe_u##n(x, y, z))                                   \
	OP3("bfe.s" #n, u##n, u##n, u32, u32, bfe_s##n(x, y, z))                                   \
	/* bfi (9.7.1.20): low bits of a into b */                                                 \
	HANDLER("bfi." #n)                                                                         \
	{                                                                                          \
		const u##n *a = slot(w, o->a), *b = slot(w, o->b);                                 \
		const u32 *c = slot(w, o->c), *e = slot(w, o->e);                                  \
		u##n *d = slot(w, o->d);                                                           \
		for (int l = 0; l < LANES; l++) {                                                  \
			u32 pos = c[l] & 255, len = e[l] & 255;                                    \
			u##n m = !len || pos >= n ? 0 :                                            \
				 (len >= n ? (u##n)-1 : ((u##n)1 << len) - 1) << pos;              \
			u##n r = (b[l] & ~m) | (m ? (a[l] << pos) & m : 0);                        \
			if (w->mask >> l & 1)                                                      \
				d[l] = r;                                                          \
		}                                                                                  \
	}
BFE(32)
BFE(64)

/* szext (9.7.1.21): from the low b bits; clamp 32 at most, wrap modulo 32 */
static inline u32 sext(u32 x, u32 n) { return n == 0 ? 0 : n >= 32 ? x : (u32)((s32)(x << (32 - n)) >> (32 - n)); }
static inline u32 zext(u32 x, u32 n) { return n >= 32 ? x : x & ((1u << n) - 1); }
OP2("szext.clamp.s32", u32, u32, u32, sext(x, y > 32 ? 32 : y))
OP2("szext.clamp.u32", u32, u32, u32, zext(x, y > 32 ? 32 : y))
OP2("szext.wrap.s32", u32, u32, u32, sext(x, y & 31))
OP2("szext.wrap.u32", u32, u32, u32, zext(x, y & 31))
/* bmsk (9.7.1.22): b ones from bit a on */
static inline u32 bmsk(u32 a, u32 b) { return a >= 32 || !b ? 0 : (b >= 32 ? FULL : (1u << b) - 1) << a; }
OP2("bmsk.clamp.b32", u32, u32, u32, bmsk(x, y))
OP2("bmsk.wrap.b32", u32, u32, u32, bmsk(x & 31, y & 31))

/* fns (9.7.1.18): the offset-th set bit counted from base; offset 0 asks whether base itself is set */
static inline u32 fns(u32 mask, u32 base, s32 offset)
{
	s32 pos = (s32)base, count = offset < 0 ? -offset - 1 : offset - 1, inc = offset < 0 ? -1 : 1;

	if (base > 31)
		return FULL;
	if (!offset)
		return mask >> base & 1 ? base : FULL;
	for (; pos >= 0 && pos < 32; pos += inc)
		if (mask >> pos & 1) {
			if (!count)
				return (u32)pos;
			count--;
		}
	return FULL;
}
OP3("fns.b32", u32, u32, u32, s32, fns(x, y, z))

/* prmt (9.7.9.7): four selectors, the top bit of each repeats the byte's sign */
static inline u32 byte_of(u64 v, u32 i) { return (u32)(v >> (i & 7) * 8) & 255; }
static inline u32 prmt(u32 a, u32 b, u32 c)
{
	u64 v = (u64)b << 32 | a;
	u32 r = 0;

	for (int i = 0; i < 4; i++) {
		u32 s = c >> i * 4 & 15, k = byte_of(v, s & 7);

		if (s & 8)
			k = k & 128 ? 255 : 0;
		r |= k << i * 8;
	}
	return r;
}
OP3("prmt.b32", u32, u32, u32, u32, prmt(x, y, z))
/* the modes (table 33): c's low two bits choose a row of selectors */
#define PRMT(mode, r0, r1, r2, r3)                                                                 \
	HANDLER("prmt." mode)                                                                      \
	{                                                                                          \
		static const u16 rows[4] = {r0, r1, r2, r3};                                       \
		const u32 *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);              \
		u32 *d = slot(w, o->d);                                                            \
		for (int l = 0; l < LANES; l++)                                                    \
			if (w->mask >> l & 1)                                                      \
				d[l] = prmt(a[l], b[l], rows[c[l] & 3]);                           \
	}
PRMT("f4e", 0x3210, 0x4321, 0x5432, 0x6543)
PRMT("b4e", 0x5670, 0x6701, 0x7012, 0x0123)
PRMT("rc8", 0x0000, 0x1111, 0x2222, 0x3333)
PRMT("ecl", 0x3210, 0x3211, 0x3222, 0x3333)
PRMT("ecr", 0x0000, 0x1110, 0x2210, 0x3210)
PRMT("rc16", 0x1010, 0x3232, 0x1010, 0x3232)

/* shf (9.7.8.7): the funnel b:a */
static inline u32 shf_l(u32 a, u32 b, u32 n) { return (u32)(((u64)b << 32 | a) << n >> 32); }
static inline u32 shf_r(u32 a, u32 b, u32 n) { return (u32)(((u64)b << 32 | a) >> n); }
OP3("shf.l.wrap", u32, u32, u32, u32, shf_l(x, y, z & 31))
OP3("shf.r.wrap", u32, u32, u32, u32, shf_r(x, y, z & 31))
OP3("shf.l.clamp", u32, u32, u32, u32, shf_l(x, y, z > 32 ? 32 : z))
OP3("shf.r.clamp", u32, u32, u32, u32, shf_r(x, y, z > 32 ? 32 : z))

/* lop3 (9.7.8.6): x is the table */
HANDLER("lop3.b32")
{
	const u32 *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);
	u32 t = o->x;
	u32 t0 = t & 1 ? FULL : 0, t1 = t & 2 ? FULL : 0, t2 = t & 4 ? FULL : 0, t3 = t & 8 ? FULL : 0;
	u32 t4 = t & 16 ? FULL : 0, t5 = t & 32 ? FULL : 0, t6 = t & 64 ? FULL : 0,
	    t7 = t & 128 ? FULL : 0;

	BODY(u32, u32 x = a[l]; u32 y = b[l]; u32 z = c[l],
	     (~x & ~y & ~z & t0) | (~x & ~y & z & t1) | (~x & y & ~z & t2) | (~x & y & z & t3) |
	     (x & ~y & ~z & t4) | (x & ~y & z & t5) | (x & y & ~z & t6) | (x & y & z & t7))
}

/* dp4a, dp2a (9.7.1.23, 24) */
static inline s32 get8(u32 v, int i, bool s) { u32 k = v >> i * 8 & 255; return s ? (s32)(s8)k : (s32)k; }
static inline s32 get16(u32 v, int i, bool s) { u32 k = v >> i * 16 & 0xffff; return s ? (s32)(s16)k : (s32)k; }
static inline u32 dp4a(u32 a, u32 b, u32 c, bool sa, bool sb)
{
	for (int i = 0; i < 4; i++)
		c += (u32)(get8(a, i, sa) * get8(b, i, sb));
	return c;
}
static inline u32 dp2a(u32 a, u32 b, u32 c, bool sa, bool sb, int half)
{
	for (int i = 0; i < 2; i++)
		c += (u32)(get16(a, i, sa) * get8(b, i + half * 2, sb));
	return c;
}
#define DP(ta, tb, sa, sb)                                                                         \
	OP3("dp4a." ta "." tb, u32, u32, u32, u32, dp4a(x, y, z, sa, sb))                          \
	OP3("dp2a.lo." ta "." tb, u32, u32, u32, u32, dp2a(x, y, z, sa, sb, 0))                    \
	OP3("dp2a.hi." ta "." tb, u32, u32, u32, u32, dp2a(x, y, z, sa, sb, 1))
DP("u32", "u32", false, false)
DP("u32", "s32", false, true)
DP("s32", "u32", true, false)
DP("s32", "s32", true, true)

/* Pairs of 16-bit integers (sm_90) */
#define PAIR(expr_lo, expr_hi) ((u32)(u16)(expr_lo) | (u32)(u16)(expr_hi) << 16)
#define LO16(v) ((s16)(v))
#define HI16(v) ((s16)((v) >> 16))
OP2("add.16x2", u32, u32, u32, PAIR(x + y, (x >> 16) + (y >> 16)))
OP2("min.s16x2", u32, u32, u32, PAIR(LO16(x) < LO16(y) ? LO16(x) : LO16(y), HI16(x) < HI16(y) ? HI16(x) : HI16(y)))
OP2("max.s16x2", u32, u32, u32, PAIR(LO16(x) > LO16(y) ? LO16(x) : LO16(y), HI16(x) > HI16(y) ? HI16(x) : HI16(y)))
OP2("min.u16x2", u32, u32, u32, PAIR((u16)x < (u16)y ? x : y, (x >> 16) < (y >> 16) ? x >> 16 : y >> 16))
OP2("max.u16x2", u32, u32, u32, PAIR((u16)x > (u16)y ? x : y, (x >> 16) > (y >> 16) ? x >> 16 : y >> 16))
OP2("min.relu.s16x2", u32, u32, u32,
    PAIR(LO16(x) < 0 || LO16(y) < 0 ? 0 : LO16(x) < LO16(y) ? LO16(x) : LO16(y),
	 HI16(x) < 0 || HI16(y) < 0 ? 0 : HI16(x) < HI16(y) ? HI16(x) : HI16(y)))
static inline s32 relu(s32 v) { return v > 0 ? v : 0; }
OP2("max.relu.s16x2", u32, u32, u32,
    PAIR(relu(LO16(x) > LO16(y) ? LO16(x) : LO16(y)), relu(HI16(x) > HI16(y) ? HI16(x) : HI16(y))))
OP2("min.relu.s32", s32, s32, s32, relu(x < y ? x : y))
OP2("max.relu.s32", s32, s32, s32, relu(x > y ? x : y))
