/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approximations of single precision (9.7.3.15 to 21): rsqrt sin cos lg2 ex2
 * tanh.  Each is computed in double by a polynomial without branches, so that
 * the compiler makes vectors of it, and rounded once: within one unit of the
 * last place, where the ISA allows 2^-22 or more.  Programs compare with what a
 * CPU's libm says, so nearer is better than like the hardware.
 */
#include "exec/ops.h"

OPS_FILE(approx);

#define LN2 0.69314718055994530942

static inline f32 nan32(f32 r) { return r == r ? r : bits_f32(0x7fffffffu); }

/* The nearest integer of a small number. */
static inline f64 nearest(f64 x)
{
	const f64 big = 0x1.8p52;

	return (x + big) - big;
}

/* 2 to the x, |x| < 1000: Taylor's series on [-1/2, 1/2], its next term is below 2^-45 */
static inline f64 exp2_f64(f64 x)
{
	f64 n = nearest(x), f = (x - n) * LN2, p;

	p = 1.0 / 39916800;
	p = p * f + 1.0 / 3628800;
	p = p * f + 1.0 / 362880;
	p = p * f + 1.0 / 40320;
	p = p * f + 1.0 / 5040;
	p = p * f + 1.0 / 720;
	p = p * f + 1.0 / 120;
	p = p * f + 1.0 / 24;
	p = p * f + 1.0 / 6;
	p = p * f + 0.5;
	p = p * f + 1.0;
	p = p * f + 1.0;
	return p * bits_f64((u64)((s64)(s32)n + 1023) << 52);
}

static inline f32 ex2(f32 x)
{
	f64 y = x;

	y = y > 200 ? 200 : y;
	y = y < -200 ? -200 : y;
	return x == x ? (f32)exp2_f64(y) : bits_f32(0x7fffffffu);
}

/* log2: every single is a normal double; m in [sqrt(1/2), sqrt(2)), by the series of atanh */
static inline f32 lg2(f32 x)
{
	u64 b = f64_bits((f64)x) - 0x3fe6a09e667f3bcdull;
	s32 e = (s32)(b >> 32) >> 20;
	f64 m = bits_f64((b & 0xfffffffffffffull) + 0x3fe6a09e667f3bcdull), s = (m - 1) / (m + 1), t = s * s, p;
	f32 r;

	p = 1.0 / 19;
	p = p * t + 1.0 / 17;
	p = p * t + 1.0 / 15;
	p = p * t + 1.0 / 13;
	p = p * t + 1.0 / 11;
	p = p * t + 1.0 / 9;
	p = p * t + 1.0 / 7;
	p = p * t + 1.0 / 5;
	p = p * t + 1.0 / 3;
	p = p * t + 1.0;
	r = (f32)((f64)e + s * p * (2 / LN2));
	r = x == 0 ? -INFINITY : r;
	r = x == INFINITY ? INFINITY : r;
	return x >= 0 ? r : bits_f32(0x7fffffffu);
}

/* x = n * pi/2 + r; quadrant q counts from the sine's. Good up to FAR. */
#define FAR 1e6f
static inline f32 sine(f32 x, s32 q)
{
	f64 n = nearest((f64)x * 0.63661977236758134308), r, t, s, c, y;

	r = (f64)x - n * 0x1.921fb544p0;
	r = r - n * 0x1.0b4611a626331p-34;
	t = r * r;
	s = -1.0 / 1307674368000.0;
	s = s * t + 1.0 / 6227020800.0;
	s = s * t - 1.0 / 39916800;
	s = s * t + 1.0 / 362880;
	s = s * t - 1.0 / 5040;
	s = s * t + 1.0 / 120;
	s = s * t - 1.0 / 6;
	s = r + r * t * s;
	c = 1.0 / 20922789888000.0;
	c = c * t - 1.0 / 87178291200.0;
	c = c * t + 1.0 / 479001600;
	c = c * t - 1.0 / 3628800;
	c = c * t + 1.0 / 40320;
	c = c * t - 1.0 / 720;
	c = c * t + 1.0 / 24;
	c = c * t - 0.5;
	c = c * t + 1.0;
	s = r == 0 ? r : s; /* of its sign */
	q += (s32)n;
	y = q & 1 ? c : s;
	y = q & 2 ? -y : y;
	return (f32)y;
}

/* tanh: an odd series below 1/4, (e - 1) / (e + 1) with e = exp(2|x|) above */
static inline f32 tanh32(f32 x)
{
	f64 a = fabs((f64)x), t = a * a, e, big, small;

	a = a > 20 ? 20 : a;
	e = exp2_f64(a * (2 / LN2));
	big = (e - 1) / (e + 1);
	small = 21844.0 / 6081075;
	small = -1382.0 / 155925 + small * t;
	small = 62.0 / 2835 + small * t;
	small = -17.0 / 315 + small * t;
	small = 2.0 / 15 + small * t;
	small = -1.0 / 3 + small * t;
	small = a + a * t * small;
	a = a < 0.25 ? small : big;
	return x == x ? copysignf((f32)a, x) : bits_f32(0x7fffffffu);
}

static inline f32 rsqrt32(f32 x) { return (f32)(1.0 / sqrt((f64)x)); }

#define APPROX32(op, expr)                                                                         \
	OP1(op ".f32", f32, f32, nan32(expr(x)))                                                   \
	HANDLER(op ".ftz.f32")                                                                     \
	{                                                                                          \
		const f32 *a = slot(w, o->a);                                                      \
		BODY(f32, f32 x = ftz(a[l]), nan32(ftz(expr(x))))                                  \
	}
APPROX32("rsqrt", rsqrt32)
APPROX32("lg2", lg2)
APPROX32("ex2", ex2)
APPROX32("tanh", tanh32)

/* What is far from zero needs the long reduction of libm; infinities become NaN there. */
static void sines(struct warp *w, const struct op *o, s32 q, bool flush)
{
	const f32 *a = slot(w, o->a);
	f32 x[LANES], y[LANES];
	bool far = false;

	if (flush)
		EACH x[l] = ftz(a[l]);
	else
		EACH x[l] = a[l];
	for (int l = 0; l < LANES; l++)
		far |= !(fabsf(x[l]) < FAR);
	EACH y[l] = sine(x[l], q);
	if (far)
		for (int l = 0; l < LANES; l++)
			if (!(fabsf(x[l]) < FAR) && (w->mask >> l & 1))
				y[l] = nan32(q ? cosf(x[l]) : sinf(x[l]));
	if (flush)
		EACH y[l] = ftz(y[l]);
	BODY(f32, (void)0, y[l])
}
HANDLER("sin.f32") { sines(w, o, 0, false); }
HANDLER("sin.ftz.f32") { sines(w, o, 0, true); }
HANDLER("cos.f32") { sines(w, o, 1, false); }
HANDLER("cos.ftz.f32") { sines(w, o, 1, true); }
