/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small floating-point formats: f16, bf16, tf32, fp8 and below (5.2.3).
 * Values are exact in double; rounding happens once, in float_encode.
 * Included by handler files only.
 */
#ifndef MP_EXEC_HALF_H
#define MP_EXEC_HALF_H

#include "exec/ops.h"

#ifdef MP_EXEC_V3
#include <immintrin.h>
#endif

/* op->x of half-precision handlers */
enum { H_FTZ = 1, H_SAT = 2, H_RELU = 4, H_NAN = 8, H_XORSIGN = 16, H_BF = 32 };

struct format {
	u8 exponent, mantissa; /* bits */
	bool inf;	       /* has infinities and IEEE NaNs; else the top code is NaN or a number */
	bool nan;	       /* has a NaN */
};
static const struct format fmt_f16 = {5, 10, true, true}, fmt_bf16 = {8, 7, true, true},
			   fmt_tf32 = {8, 10, true, true}, fmt_e4m3 = {4, 3, false, true},
			   fmt_e5m2 = {5, 2, true, true}, fmt_e2m3 = {2, 3, false, false},
			   fmt_e3m2 = {3, 2, false, false}, fmt_e2m1 = {2, 1, false, false};

/* Rounding modes as in cvt.h: 0 nearest even, 1 zero, 2 down, 3 up, 4 nearest, ties away */
static inline u32 float_encode(double v, struct format f, unsigned mode, bool satfinite)
{
	u64 b = f64_bits(v);
	u32 sign = (u32)(b >> 63), top = (1u << f.exponent) - 1, max;
	int bias = (1 << (f.exponent - 1)) - 1, e, shift;
	u64 m, kept, rest, half;
	u32 code, s = sign << (f.exponent + f.mantissa);

	/* the largest finite code */
	max = f.inf ? ((top << f.mantissa) - 1) : f.nan ? (top << f.mantissa | ((1u << f.mantissa) - 2))
						 : (top << f.mantissa | ((1u << f.mantissa) - 1));
	if (v != v) {
		if (!f.nan)
			return max; /* formats without NaN: the positive maximum */
		return f.inf ? (1u << (f.exponent + f.mantissa)) - 1 : max + 1;
	}
	if ((b << 1) == 0xffe0000000000000ull) /* infinity */
		return s | (satfinite || !f.inf ? (satfinite || !f.nan ? max : max + 1) : top << f.mantissa);
	e = (int)(b >> 52 & 0x7ff);
	m = b & 0xfffffffffffffull;
	if (!e && !m)
		return s;
	if (e)
		m |= 1ull << 52;
	else
		e = 1;
	e -= 1023;
	/* the unit of the result: normal or subnormal */
	if (e < 1 - bias)
		shift = 52 - f.mantissa + (1 - bias - e);
	else
		shift = 52 - f.mantissa;
	if (shift > 63) {
		kept = 0;
		rest = m;
		half = ~0ull;
	} else {
		kept = m >> shift;
		rest = m & ((1ull << shift) - 1);
		half = 1ull << (shift - 1);
	}
	switch (mode) {
	case 0: kept += rest > half || (rest == half && (kept & 1)); break;
	case 1: break;
	case 2: kept += sign && rest; break;
	case 3: kept += !sign && rest; break;
	case 4: kept += rest >= half; break;
	}
	/* kept carries the implicit bit: adding the exponent below it lets a carry run over */
	if (e < 1 - bias)
		code = (u32)kept;
	else
		code = (u32)kept + ((u32)(e + bias - 1) << f.mantissa);
	if (code > max) {
		bool toward = (mode == 1) || (mode == 2 && !sign) || (mode == 3 && sign);

		if (satfinite || !f.nan || (toward && f.inf))
			code = max;
		else
			code = f.inf ? top << f.mantissa : max + 1;
	}
	return s | code;
}

static inline double float_decode(u32 c, struct format f)
{
	u32 top = (1u << f.exponent) - 1, m = c & ((1u << f.mantissa) - 1);
	u32 e = c >> f.mantissa & top;
	int bias = (1 << (f.exponent - 1)) - 1;
	double v;

	if (e == top && f.inf)
		v = m ? (double)NAN : (double)INFINITY;
	else if (e == top && f.nan && m == (1u << f.mantissa) - 1)
		v = (double)NAN;
	else if (!e)
		v = ldexp((double)m, 1 - bias - f.mantissa);
	else
		v = ldexp((double)(m | 1u << f.mantissa), (int)e - bias - f.mantissa);
	return c >> (f.exponent + f.mantissa) & 1 ? -v : v;
}

/* x*y+z rounded to odd in double: rounding it again to 24 bits or fewer is exact rounding. */
static inline double fma_odd(double x, double y, double z)
{
	double p = x * y, s = p + z, t, err; /* p is exact for the small formats */
	u64 b;

	if (!(s - s == 0))
		return s;
	t = s - p;
	err = (p - (s - t)) + (z - t);
	b = f64_bits(s);
	if (err != 0 && !(b & 1)) {
		if ((err > 0) == (s > 0))
			b |= 1;
		else
			b = (b - 1) | 1;
		s = bits_f64(b);
	}
	return s;
}

static inline f32 f16_f32(u16 h)
{
#ifdef MP_EXEC_V3
	return _cvtsh_ss(h);
#else
	u32 s = (u32)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;

	if (e == 31)
		return bits_f32(s | 0x7f800000u | m << 13);
	if (e)
		return bits_f32(s | (e + 112) << 23 | m << 13);
	return bits_f32(s | f32_bits((f32)m * 0x1p-24f));
#endif
}
static inline u16 f32_f16(f32 v)
{
	if (v != v)
		return 0x7fff;
#ifdef MP_EXEC_V3
	return (u16)_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT);
#else
	return (u16)float_encode((double)v, fmt_f16, 0, false);
#endif
}
static inline f32 bf16_f32(u16 h) { return bits_f32((u32)h << 16); }
static inline u16 f32_bf16(f32 v)
{
	u32 u = f32_bits(v);
	u32 r = (u + 0x7fff + (u >> 16 & 1)) >> 16;

	return v != v ? 0x7fff : (u16)r;
}

/* n halves to floats and back; `per` halves share a lane */
static inline void half_in(const u16 *p, f32 *r, int n, bool bf)
{
	int i;

	if (bf) {
		for (i = 0; i < n; i++)
			r[i] = bf16_f32(p[i]);
		return;
	}
#ifdef MP_EXEC_V3
	for (i = 0; i < n; i += 8)
		_mm256_storeu_ps(r + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + i))));
#else
	for (i = 0; i < n; i++)
		r[i] = f16_f32(p[i]);
#endif
}

static inline void half_write(struct warp *w, u16 *d, const u16 *r, int n, int per)
{
	int i;

	if (w->mask == FULL) {
		memcpy(d, r, (size_t)n * 2);
		return;
	}
	for (i = 0; i < n; i++)
		if (w->mask >> (i / per) & 1)
			d[i] = r[i];
}

static inline void half_out(struct warp *w, u16 *d, const f32 *v, int n, int per, bool bf)
{
	u16 r[64];
	int i;

	for (i = 0; i < n; i++)
		r[i] = bf ? f32_bf16(v[i]) : f32_f16(v[i]);
	half_write(w, d, r, n, per);
}

#endif
