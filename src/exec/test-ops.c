/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instruction at a time against values computed here by other means: wide
 * integers, long double, bit-by-bit loops.  Each row runs over all pairs (or
 * triples) of a list of awkward values.
 */
#include "exec/test-run.h"

#include <math.h>

typedef unsigned __int128 u128;
typedef __int128 s128;

struct row {
	const char *insn; /* operands %d %a %b %c, registers of the widths below */
	int d, a, b, c;   /* widths in bits; 0 = none; 1 = predicate result stored as 0 or 1 */
	uint64_t (*want)(uint64_t a, uint64_t b, uint64_t c);
};

static float F(uint64_t u)
{
	uint32_t w = (uint32_t)u;
	float f;
	memcpy(&f, &w, 4);
	return f;
}
static double D(uint64_t u)
{
	double f;
	memcpy(&f, &u, 8);
	return f;
}
static uint64_t UF(float f)
{
	uint32_t w;
	memcpy(&w, &f, 4);
	return f != f ? 0x7fffffff : w;
}
static uint64_t UD(double f)
{
	uint64_t w;
	memcpy(&w, &f, 8);
	return w;
}
static int64_t S(uint64_t v, int n)
{
	return (int64_t)(v << (64 - n)) >> (64 - n);
}
static float Z(float f)
{
	return fabsf(f) < 0x1p-126f ? copysignf(0, f) : f;
}
/* An exact value rounded to float or to a smaller format, by comparison with its neighbours. */
static float down(long double v, int mode) /* 0 nearest, 1 zero, 2 down, 3 up */
{
	float f = (float)v, lo, hi;
	long double e;

	if (v != v || isinf(v) || (long double)f == v)
		return f;
	lo = (long double)f < v ? f : nextafterf(f, -INFINITY);
	hi = (long double)f > v ? f : nextafterf(f, INFINITY);
	e = v;
	return mode == 0 ? f : mode == 1 ? (e > 0 ? lo : hi) : mode == 2 ? lo : hi;
}
/* f16 by search: the nearest of all finite codes, ties to even */
static double H(uint64_t u)
{
	int e = (int)(u >> 10 & 31), m = (int)(u & 1023);
	double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

	return u & 0x8000 ? -v : v;
}
static uint64_t UH(long double v)
{
	uint64_t lo = 0, hi = 0x7bff, s = signbit(v) ? 0x8000 : 0;
	long double a = fabsl(v), dl, dh;

	if (v != v)
		return 0x7fff;
	if (a >= 65520.0L)
		return s | 0x7c00;
	while (hi - lo > 1) {
		uint64_t mid = (lo + hi) / 2;

		if (H(mid) <= (double)a || (long double)H(mid) <= a)
			lo = mid;
		else
			hi = mid;
	}
	dl = a - H(lo);
	dh = H(hi) - a;
	return s | (dl < dh || (dl == dh && !(lo & 1)) ? lo : hi);
}
static double B(uint64_t u)
{
	return F(u << 16);
}

#define W(name, expr)                                            \
	static uint64_t name(uint64_t a, uint64_t b, uint64_t c) \
	{                                                        \
		(void)a, (void)b, (void)c;                       \
		return (uint64_t)(expr);                         \
	}
W(add, a + b)
W(sub, a - b)
W(mul, a *b)
W(mad, a *b + c)
W(mulhi_u32, a *b >> 32)
W(mulhi_s32, (uint64_t)(S(a, 32) * S(b, 32)) >> 32)
W(mulhi_u64, (u128)a *b >> 64)
W(mulhi_s64, (s128)(int64_t)a *(int64_t)b >> 64)
W(mulhi_s16, (uint64_t)(S(a, 16) * S(b, 16)) >> 16)
W(wide_u32, a *b)
W(wide_s32, S(a, 32) * S(b, 32))
W(wide_s16, S(a, 16) * S(b, 16))
W(madwide_s32, (uint64_t)(S(a, 32) * S(b, 32)) + c)
W(madhi_s32, ((uint64_t)(S(a, 32) * S(b, 32)) >> 32) + c)
W(div_u32, b ? a / b : ~0u)
W(div_s32, !b ? ~0u : S(b, 32) == -1 ? -a : (uint64_t)(S(a, 32) / S(b, 32)))
W(rem_u32, b ? a % b : a)
W(rem_s32, !b ? a : S(b, 32) == -1 ? 0 : (uint64_t)(S(a, 32) % S(b, 32)))
W(div_s64, !b ? ~0ull : b == ~0ull ? -a : (uint64_t)((int64_t)a / (int64_t)b))
W(rem_u64, b ? a % b : a)
W(shl32, b > 31 ? 0 : a << b)
W(shr32, b > 31 ? 0 : a >> b)
W(sar32, S(a, 32) >> (b > 31 ? 31 : b))
W(shl64, b > 63 ? 0 : a << b)
W(sar64, (int64_t)a >> (b > 63 ? 63 : b))
W(sar16, S(a, 16) >> (b > 15 ? 15 : b))
W(sat_add, S(a, 32) + S(b, 32) > INT32_MAX   ? INT32_MAX
	   : S(a, 32) + S(b, 32) < INT32_MIN ? (uint64_t)INT32_MIN
					     : a + b)
/* The i-th byte or half-word, and a loop over the parts of a word. */
#define BYTE(v, i) ((int)((v) >> (i) * 8 & 0xff))
static uint64_t sad4(uint64_t a, uint64_t b, uint64_t c)
{
	for (int i = 0; i < 4; i++)
		c += (uint64_t)abs(BYTE(a, i) - BYTE(b, i));
	return c;
}
static uint64_t add4_sat(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0;

	(void)c;
	for (int i = 0; i < 4; i++) {
		int v = (int8_t)BYTE(a, i) + (int8_t)BYTE(b, i);

		v = v > 127 ? 127 : v < -128 ? -128 : v;
		r |= (uint64_t)(v & 0xff) << i * 8;
	}
	return r;
}
static uint64_t max2(uint64_t a, uint64_t b, uint64_t c)
{
	int64_t al = S(a, 16), bl = S(b, 16), ah = S(a >> 16, 16), bh = S(b >> 16, 16);

	(void)c;
	return (uint64_t)((al > bl ? al : bl) & 0xffff) | (uint64_t)((ah > bh ? ah : bh) & 0xffff) << 16;
}
static uint64_t set4_lt(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0;

	(void)c;
	for (int i = 0; i < 4; i++)
		r |= (uint64_t)(BYTE(a, i) < BYTE(b, i)) << i * 8;
	return r;
}
W(vadd_sat, S(a, 32) + S(b, 32) > INT32_MAX   ? INT32_MAX
	    : S(a, 32) + S(b, 32) < INT32_MIN ? (uint64_t)INT32_MIN
					      : a + b)
W(min_s32, S(a, 32) < S(b, 32) ? a : b)
W(max_u64, a > b ? a : b)
W(abs_s32, S(a, 32) < 0 ? -a : a)
W(cnot, !a)
W(sad_s32, c + (uint64_t)llabs(S(a, 32) - S(b, 32)))
W(mul24, (S(a << 8, 32) >> 8) * (S(b << 8, 32) >> 8))
W(popc, __builtin_popcountll(a))
W(lt_s32, S(a, 32) < S(b, 32))
W(lo_u32, a < b)
W(ge_u64, a >= b)
W(ne_f32, F(a) < F(b) || F(a) > F(b))
W(neu_f32, !(F(a) == F(b)))
W(ltu_f32, !(F(a) >= F(b)))
W(num_f64, !isnan(D(a)) && !isnan(D(b)))
W(gt_ftz, Z(F(a)) > Z(F(b)))
W(set_f32, F(a) < F(b) ? 0x3f800000 : 0)
W(slct, S(c, 32) >= 0 ? a : b)
static uint64_t clz(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t n = 0;
	while (n < 32 && !(a >> (31 - n) & 1))
		n++;
	return n;
}
static uint64_t brev(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0;
	int i;
	for (i = 0; i < 32; i++)
		r |= (a >> i & 1) << (31 - i);
	return r;
}
static uint64_t bfind_s(uint64_t a, uint64_t b, uint64_t c)
{
	int i;
	for (i = 31; i >= 0; i--)
		if ((a >> i & 1) != (a >> 31 & 1))
			return (uint64_t)i;
	return ~0u;
}
static uint64_t bfe_u(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0, i, p = b & 255, n = c & 255;
	for (i = 0; i < n && i < 32; i++)
		if (p + i < 32)
			r |= (a >> (p + i) & 1) << i;
	return r;
}
static uint64_t bfe_s(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0, i, p = b & 255, n = c & 255, last = p + n - 1 < 31 ? p + n - 1 : 31;

	if (!n)
		return 0;
	for (i = 0; i < 32; i++)
		r |= (a >> (p + i <= last ? p + i : last) & 1) << i;
	return r;
}
static uint64_t bfi(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t i, p = c & 255, n = 11;

	for (i = 0; i < n; i++)
		if (p + i < 32)
			b = (b & ~(1ull << (p + i))) | (a >> i & 1) << (p + i);
	return b;
}
static uint64_t prmt(uint64_t a, uint64_t b, uint64_t c)
{
	uint8_t v[8], r[4];
	uint32_t out, x = (uint32_t)a, y = (uint32_t)b;
	int i;

	memcpy(v, &x, 4);
	memcpy(v + 4, &y, 4);
	for (i = 0; i < 4; i++) {
		int s = (int)(c >> (4 * i)) & 15;

		r[i] = s & 8 ? (uint8_t)((int8_t)v[s & 7] >> 7) : v[s & 7];
	}
	memcpy(&out, r, 4);
	return out;
}
static uint64_t lop3(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t r = 0;
	int i;
	for (i = 0; i < 32; i++)
		r |= (uint64_t)(0xe2 >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1)
		     << i;
	return r;
}
W(shf_l, (b << 32 | a) << (c & 31) >> 32)
W(shf_rc, (b << 32 | a) >> (c > 32 ? 32 : c))
static uint64_t dp4a(uint64_t a, uint64_t b, uint64_t c)
{
	int i;
	for (i = 0; i < 4; i++)
		c += (uint64_t)(S(a >> 8 * i, 8) * (int64_t)(b >> 8 * i & 255));
	return c;
}
W(t_fadd, UF(down((long double)F(a) + F(b), 0)))
/* the nearest sum, and its error by two-sum: what lies beyond the exact sum steps back toward zero
 */
static uint64_t t_fadd_rz(uint64_t a, uint64_t b, uint64_t c)
{
	volatile float x = F(a), y = F(b), s = x + y, t = s - x, e = (x - (s - t)) + (y - t);

	if (isnan(s))
		return 0x7fffffff;
	if (isinf(s) && !isinf(x) && !isinf(y))
		return UF(copysignf(3.4028234663852886e38f, s));
	return isinf(s) || e == 0 || (e > 0) == (s > 0) ? UF(s) : UF(nextafterf(s, 0));
}
W(t_fmul, UF(F(a) * F(b)))
W(t_fmul_ftz, UF(Z(Z(F(a)) * Z(F(b)))))
W(t_fdiv, UF(F(a) / F(b)))
W(fsub_sat, F(a) - F(b) > 0 ? F(a) - F(b) < 1 ? UF(F(a) - F(b)) : UF(1) : 0)
W(t_ffma, UF(fmaf(F(a), F(b), F(c))))
W(t_dfma, isnan(fma(D(a), D(b), D(c))) ? 0 : UD(fma(D(a), D(b), D(c))))
W(t_fsqrt, UF(sqrtf(F(a))))
W(t_frcp, UF(1 / F(a)))
W(fmin_, isnan(F(a))              ? UF(F(b))
	 : isnan(F(b))            ? UF(F(a))
	 : F(a) == 0 && F(b) == 0 ? a | b
				  : UF(F(a) < F(b) ? F(a) : F(b)))
W(fmax_nan, isnan(F(a)) || isnan(F(b)) ? 0x7fffffff
	    : F(a) == 0 && F(b) == 0   ? a & b
				       : UF(F(a) > F(b) ? F(a) : F(b)))
W(fabs_, a & 0x7fffffff)
W(fneg, a ^ 0x80000000)
W(copysign_, (a & 0x80000000) | (b & 0x7fffffff))
static uint64_t to_int(long double v, int bits, bool sign, uint64_t nan)
{
	long double lo = sign ? -ldexpl(1, bits - 1) : 0, hi = ldexpl(1, bits - sign) - 1;

	if (v != v)
		return nan;
	v = v < lo ? lo : v > hi ? hi : v;
	return v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
}
W(f2i, to_int(truncl(F(a)), 32, true, 0))
W(f2u_rni, to_int(rintl(F(a)), 32, false, 0))
W(f2s64_rmi, to_int(floorl(F(a)), 64, true, 1ull << 63))
W(f2u8_rpi, to_int(ceill(F(a)), 8, false, 0))
W(d2i, to_int(truncl(D(a)), 32, true, 1u << 31))
W(d2u64, to_int(truncl(D(a)), 64, false, 1ull << 63))
W(i2f, UF(down(S(a, 32), 0)))
W(u2f_rz, UF(down(a, 1)))
W(u64_f_rp, UF(down(a, 3)))
W(s64_d_rn, UD((double)(int64_t)a))
W(d2f_rm, isnan(D(a))          ? 0x7fffffff
	  : isinf(D(a))        ? UF((float)D(a))
	  : isinf((float)D(a)) ? (D(a) > 0 ? 0x7f7fffff : 0xff800000)
			       : UF(down(D(a), 2)))
W(d2f, UF((float)D(a)))
W(f2d, isnan(F(a)) ? 0 : UD(F(a)))
W(frni, UF(rintf(F(a))))
W(cvt_s8, S(a, 8))
W(cvt_sat_u8, S(a, 32) < 0 ? 0 : S(a, 32) > 255 ? 255 : a)
W(cvt_sat_s16, a > 32767 ? 32767 : a)
W(cvt_u64_u32, a)
W(cvt_s64_s32, S(a, 32))
W(hadd, UH((long double)H(a) + H(b)))
W(hmul, UH((long double)H(a) * H(b)))
W(hfma, UH((long double)H(a) * H(b) + H(c)))
W(hadd2, UH((long double)H(a & 65535) + H(b & 65535)) | UH((long double)H(a >> 16) + H(b >> 16))
								<< 16)
W(hmax, isnan(H(a))              ? UH(H(b))
	: isnan(H(b))            ? UH(H(a))
	: H(a) == 0 && H(b) == 0 ? a & b
				 : UH(H(a) > H(b) ? H(a) : H(b)))
W(f2h, UH(F(a)))
W(h2f, UF((float)H(a)))
W(f2h2, UH(F(a)) << 16 | UH(F(b)))
W(f2bf, isnan(F(a)) ? 0x7fff : (a + 0x7fff + (a >> 16 & 1)) >> 16)
W(badd, isnan(B(a) + B(b))
		? 0x7fff
		: (UF((float)(B(a) + B(b))) + 0x7fff + (UF((float)(B(a) + B(b))) >> 16 & 1)) >> 16)
W(hlt, H(a) < H(b))
W(h2i, to_int(truncl(H(a)), 32, true, 0))
W(i2h, UH(S(a, 32)))

#define R(i, d, a, b, c, w)      \
	{                        \
		i, d, a, b, c, w \
	}
static const struct row rows[] = {
	R("add.u32 %d,%a,%b", 32, 32, 32, 0, add),
	R("add.s64 %d,%a,%b", 64, 64, 64, 0, add),
	R("sub.s16 %d,%a,%b", 16, 16, 16, 0, sub),
	R("mul.lo.s32 %d,%a,%b", 32, 32, 32, 0, mul),
	R("mul.lo.u64 %d,%a,%b", 64, 64, 64, 0, mul),
	R("mad.lo.s32 %d,%a,%b,%c", 32, 32, 32, 32, mad),
	R("mul.hi.u32 %d,%a,%b", 32, 32, 32, 0, mulhi_u32),
	R("mul.hi.s32 %d,%a,%b", 32, 32, 32, 0, mulhi_s32),
	R("mul.hi.u64 %d,%a,%b", 64, 64, 64, 0, mulhi_u64),
	R("mul.hi.s64 %d,%a,%b", 64, 64, 64, 0, mulhi_s64),
	R("mul.hi.s16 %d,%a,%b", 16, 16, 16, 0, mulhi_s16),
	R("mul.wide.u32 %d,%a,%b", 64, 32, 32, 0, wide_u32),
	R("mul.wide.s32 %d,%a,%b", 64, 32, 32, 0, wide_s32),
	R("mul.wide.s16 %d,%a,%b", 32, 16, 16, 0, wide_s16),
	R("mad.wide.s32 %d,%a,%b,%c", 64, 32, 32, 64, madwide_s32),
	R("mad.hi.s32 %d,%a,%b,%c", 32, 32, 32, 32, madhi_s32),
	R("div.u32 %d,%a,%b", 32, 32, 32, 0, div_u32),
	R("div.s32 %d,%a,%b", 32, 32, 32, 0, div_s32),
	R("rem.u32 %d,%a,%b", 32, 32, 32, 0, rem_u32),
	R("rem.s32 %d,%a,%b", 32, 32, 32, 0, rem_s32),
	R("div.s64 %d,%a,%b", 64, 64, 64, 0, div_s64),
	R("rem.u64 %d,%a,%b", 64, 64, 64, 0, rem_u64),
	R("shl.b32 %d,%a,%b", 32, 32, 32, 0, shl32),
	R("shr.u32 %d,%a,%b", 32, 32, 32, 0, shr32),
	R("shr.s32 %d,%a,%b", 32, 32, 32, 0, sar32),
	R("shl.b64 %d,%a,%b", 64, 64, 32, 0, shl64),
	R("shr.s64 %d,%a,%b", 64, 64, 32, 0, sar64),
	R("shr.s16 %d,%a,%b", 16, 16, 32, 0, sar16),
	R("add.sat.s32 %d,%a,%b", 32, 32, 32, 0, sat_add),
	R("min.s32 %d,%a,%b", 32, 32, 32, 0, min_s32),
	R("max.u64 %d,%a,%b", 64, 64, 64, 0, max_u64),
	R("abs.s32 %d,%a", 32, 32, 0, 0, abs_s32),
	R("cnot.b32 %d,%a", 32, 32, 0, 0, cnot),
	R("sad.s32 %d,%a,%b,%c", 32, 32, 32, 32, sad_s32),
	R("mul24.lo.s32 %d,%a,%b", 32, 32, 32, 0, mul24),
	R("popc.b64 %d,%a", 32, 64, 0, 0, popc),
	R("setp.lt.s32 %d,%a,%b", 1, 32, 32, 0, lt_s32),
	R("setp.lo.u32 %d,%a,%b", 1, 32, 32, 0, lo_u32),
	R("setp.ge.u64 %d,%a,%b", 1, 64, 64, 0, ge_u64),
	R("setp.ne.f32 %d,%a,%b", 1, 32, 32, 0, ne_f32),
	R("setp.neu.f32 %d,%a,%b", 1, 32, 32, 0, neu_f32),
	R("setp.ltu.f32 %d,%a,%b", 1, 32, 32, 0, ltu_f32),
	R("setp.num.f64 %d,%a,%b", 1, 64, 64, 0, num_f64),
	R("setp.gt.ftz.f32 %d,%a,%b", 1, 32, 32, 0, gt_ftz),
	R("set.lt.f32.f32 %d,%a,%b", 32, 32, 32, 0, set_f32),
	R("slct.b32.s32 %d,%a,%b,%c", 32, 32, 32, 32, slct),
	R("clz.b32 %d,%a", 32, 32, 0, 0, clz),
	R("brev.b32 %d,%a", 32, 32, 0, 0, brev),
	R("bfind.s32 %d,%a", 32, 32, 0, 0, bfind_s),
	R("bfe.u32 %d,%a,%b,%c", 32, 32, 32, 32, bfe_u),
	R("bfe.s32 %d,%a,%b,%c", 32, 32, 32, 32, bfe_s),
	R("bfi.b32 %d,%a,%b,%c,11", 32, 32, 32, 32, bfi),
	R("prmt.b32 %d,%a,%b,%c", 32, 32, 32, 32, prmt),
	R("lop3.b32 %d,%a,%b,%c,0xe2", 32, 32, 32, 32, lop3),
	R("shf.l.wrap.b32 %d,%a,%b,%c", 32, 32, 32, 32, shf_l),
	R("shf.r.clamp.b32 %d,%a,%b,%c", 32, 32, 32, 32, shf_rc),
	R("dp4a.s32.u32 %d,%a,%b,%c", 32, 32, 32, 32, dp4a),
	R("vabsdiff4.u32.u32.u32.add %d,%a,%b,%c", 32, 32, 32, 32, sad4),
	R("vadd4.s32.s32.s32.sat %d,%a,%b,%c", 32, 32, 32, 32, add4_sat),
	R("vmax2.s32.s32.s32 %d,%a,%b,%c", 32, 32, 32, 32, max2),
	R("vset4.u32.u32.lt %d,%a,%b,%c", 32, 32, 32, 32, set4_lt),
	R("vadd.s32.s32.s32.sat %d,%a,%b", 32, 32, 32, 0, vadd_sat),
	R("add.f32 %d,%a,%b", 32, 32, 32, 0, t_fadd),
	R("add.rz.f32 %d,%a,%b", 32, 32, 32, 0, t_fadd_rz),
	R("mul.f32 %d,%a,%b", 32, 32, 32, 0, t_fmul),
	R("mul.ftz.f32 %d,%a,%b", 32, 32, 32, 0, t_fmul_ftz),
	R("div.rn.f32 %d,%a,%b", 32, 32, 32, 0, t_fdiv),
	R("sub.sat.f32 %d,%a,%b", 32, 32, 32, 0, fsub_sat),
	R("fma.rn.f32 %d,%a,%b,%c", 32, 32, 32, 32, t_ffma),
	R("fma.rn.f64 %d,%a,%b,%c", 64, 64, 64, 64, t_dfma),
	R("sqrt.rn.f32 %d,%a", 32, 32, 0, 0, t_fsqrt),
	R("rcp.rn.f32 %d,%a", 32, 32, 0, 0, t_frcp),
	R("min.f32 %d,%a,%b", 32, 32, 32, 0, fmin_),
	R("max.NaN.f32 %d,%a,%b", 32, 32, 32, 0, fmax_nan),
	R("abs.f32 %d,%a", 32, 32, 0, 0, fabs_),
	R("neg.f32 %d,%a", 32, 32, 0, 0, fneg),
	R("copysign.f32 %d,%a,%b", 32, 32, 32, 0, copysign_),
	R("cvt.rzi.s32.f32 %d,%a", 32, 32, 0, 0, f2i),
	R("cvt.rni.u32.f32 %d,%a", 32, 32, 0, 0, f2u_rni),
	R("cvt.rmi.s64.f32 %d,%a", 64, 32, 0, 0, f2s64_rmi),
	R("cvt.rpi.u8.f32 %d,%a", 32, 32, 0, 0, f2u8_rpi),
	R("cvt.rzi.s32.f64 %d,%a", 32, 64, 0, 0, d2i),
	R("cvt.rzi.u64.f64 %d,%a", 64, 64, 0, 0, d2u64),
	R("cvt.rn.f32.s32 %d,%a", 32, 32, 0, 0, i2f),
	R("cvt.rz.f32.u32 %d,%a", 32, 32, 0, 0, u2f_rz),
	R("cvt.rp.f32.u64 %d,%a", 32, 64, 0, 0, u64_f_rp),
	R("cvt.rn.f64.s64 %d,%a", 64, 64, 0, 0, s64_d_rn),
	R("cvt.rm.f32.f64 %d,%a", 32, 64, 0, 0, d2f_rm),
	R("cvt.rn.f32.f64 %d,%a", 32, 64, 0, 0, d2f),
	R("cvt.f64.f32 %d,%a", 64, 32, 0, 0, f2d),
	R("cvt.rni.f32.f32 %d,%a", 32, 32, 0, 0, frni),
	R("cvt.s32.s8 %d,%a", 32, 32, 0, 0, cvt_s8),
	R("cvt.sat.u8.s32 %d,%a", 32, 32, 0, 0, cvt_sat_u8),
	R("cvt.sat.s16.u32 %d,%a", 16, 32, 0, 0, cvt_sat_s16),
	R("cvt.u64.u32 %d,%a", 64, 32, 0, 0, cvt_u64_u32),
	R("cvt.s64.s32 %d,%a", 64, 32, 0, 0, cvt_s64_s32),
	R("add.f16 %d,%a,%b", 16, 16, 16, 0, hadd),
	R("mul.f16 %d,%a,%b", 16, 16, 16, 0, hmul),
	R("fma.rn.f16 %d,%a,%b,%c", 16, 16, 16, 16, hfma),
	R("add.f16x2 %d,%a,%b", 32, 32, 32, 0, hadd2),
	R("max.f16 %d,%a,%b", 16, 16, 16, 0, hmax),
	R("cvt.rn.f16.f32 %d,%a", 16, 32, 0, 0, f2h),
	R("cvt.f32.f16 %d,%a", 32, 16, 0, 0, h2f),
	R("cvt.rn.f16x2.f32 %d,%a,%b", 32, 32, 32, 0, f2h2),
	R("cvt.rn.bf16.f32 %d,%a", 16, 32, 0, 0, f2bf),
	R("add.bf16 %d,%a,%b", 16, 16, 16, 0, badd),
	R("setp.lt.f16 %d,%a,%b", 1, 16, 16, 0, hlt),
	R("cvt.rzi.s32.f16 %d,%a", 32, 16, 0, 0, h2i),
	R("cvt.rn.f16.s32 %d,%a", 16, 32, 0, 0, i2h),
};

static const uint64_t awkward[] = {
	0,
	1,
	2,
	3,
	5,
	7,
	31,
	32,
	33,
	63,
	64,
	127,
	128,
	255,
	256,
	0x3c00,
	0x3c01,
	0x4248,
	0x7bff,
	0x7c00,
	0x7e01,
	0x8000,
	0x8001,
	0xbc00,
	0xfc00,
	0xffff,
	0x10000,
	0x7fffff,
	0x800000,
	0x3e800000,
	0x3f000000,
	0x3f7fffff,
	0x3f800000,
	0x3f800001,
	0x40490fdb,
	0x4b000001,
	0x4effffff,
	0x4f000000,
	0x4f800000,
	0x5f000000,
	0x7f7fffff,
	0x7f800000,
	0x7fc00000,
	0x7fffffff,
	0x80000000,
	0x80000001,
	0x80800000,
	0xbf800000,
	0xc0200000,
	0xcf000001,
	0xff800000,
	0xfffffffe,
	0xffffffff,
	0x100000000,
	0x3ff0000000000000,
	0x400921fb54442d18,
	0x41dfffffffc00000,
	0x41e0000000000000,
	0x43e0000000000000,
	0x43f0000000000000,
	0x47efffffe0000000,
	0x47effffff0000000,
	0x36a0000000000001,
	0x7ff0000000000000,
	0x7ff8000000000000,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xbff8000000000000,
	0xc1e0000000200000,
	0xffffffffffffffff,
	0x123456789abcdef0,
	0xfedcba9876543210,
	0x0000000155555555,
};
#define N ((int)MP_ARRAY_LEN(awkward))

static const char *reg_type(int bits)
{
	return bits == 16 ? "b16" : bits == 64 ? "b64" : "b32";
}

static void load(char *p, size_t n, char name, int bits, int at)
{
	if (bits)
		snprintf(p + strlen(p), n - strlen(p), "ld.global.b%d %%%c,[%%p+%d];\n", bits, name,
			 at);
}

static uint64_t cut(uint64_t v, int bits)
{
	return bits >= 64 ? v : v & ((1ull << bits) - 1);
}

MP_TEST(table)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		char text[2048];
		int n = r->c ? N * N * N : r->b ? N * N : N, k, bad = 0;
		uint64_t *in, *out;
		struct {
			uint64_t in, out;
			uint32_t n;
		} p;
		struct mp_exec_module *m;

		device_reset();
		snprintf(text, sizeof(text),
			 HEAD ".entry k(.param .u64 in,.param .u64 out,.param .u32 n){ .reg .pred "
			      "%%q,%%dp; .reg .b64 %%p,%%o,%%t;\n"
			      ".reg .b32 %%i,%%n,%%x; .reg .%s %%a; .reg .%s %%b; .reg .%s %%c; "
			      ".reg .%s %%d;\n"
			      "ld.param.u64 %%p,[in]; ld.param.u64 %%o,[out]; ld.param.u32 "
			      "%%n,[n]; mov.u32 %%i,%%ctaid.x;\n"
			      "mov.u32 %%x,%%tid.x; mad.lo.u32 %%i,%%i,128,%%x; setp.ge.u32 "
			      "%%q,%%i,%%n; @%%q ret;\n"
			      "mul.wide.u32 %%t,%%i,32; add.u64 %%p,%%p,%%t; mul.wide.u32 "
			      "%%t,%%i,8; add.u64 %%o,%%o,%%t;\n",
			 reg_type(r->a), reg_type(r->b), reg_type(r->c),
			 r->d == 1 ? "pred" : reg_type(r->d));
		load(text, sizeof(text), 'a', r->a, 0);
		load(text, sizeof(text), 'b', r->b, 8);
		load(text, sizeof(text), 'c', r->c, 16);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s;\n", r->insn);
		if (r->d == 1)
			snprintf(text + strlen(text), sizeof(text) - strlen(text),
				 "selp.u32 %%x,1,0,%%d; st.global.u32 [%%o],%%x; ret; }");
		else
			snprintf(text + strlen(text), sizeof(text) - strlen(text),
				 "st.global.b%d [%%o],%%d; ret; }", r->d);
		m = module_of(text);
		in = device_new((size_t)n * 32);
		out = device_new((size_t)n * 8);
		for (k = 0; k < n; k++) {
			in[k * 4] = cut(awkward[k % N], r->a);
			in[k * 4 + 1] = cut(awkward[k / N % N], r->b);
			in[k * 4 + 2] = cut(awkward[k / N / N % N], r->c);
		}
		p.in = (uintptr_t)in, p.out = (uintptr_t)out, p.n = (uint32_t)n;
		if (run(m, "k",
			(struct launch){.grid = {(uint32_t)(n + 127) / 128}, .block = {128}}, &p,
			NULL)) {
			printf("# %s: not run\n", r->insn);
			mp_test_failures++;
			mp_exec_module_free(m);
			continue;
		}
		for (k = 0; k < n; k++) {
			uint64_t want = cut(r->want(in[k * 4], in[k * 4 + 1], in[k * 4 + 2]),
					    r->d == 1 ? 32 : r->d);
			bool both_nan = r->d == 64 && strstr(r->insn, "f64") && isnan(D(out[k])) &&
					(want == 0 || isnan(D(want)));

			if (out[k] == want || both_nan)
				continue;
			if (bad++ < 3)
				printf("# %s a=%llx b=%llx c=%llx gives %llx, wanted %llx\n",
				       r->insn, (unsigned long long)in[k * 4],
				       (unsigned long long)in[k * 4 + 1],
				       (unsigned long long)in[k * 4 + 2],
				       (unsigned long long)out[k], (unsigned long long)want);
		}
		mp_test_failures += bad;
		mp_exec_module_free(m);
	}
}

MP_TEST_MAIN()
