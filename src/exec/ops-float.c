/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single and double precision (9.7.3): IEEE in round-to-nearest, directed
 * roundings through MXCSR.  Built with contraction off: a product and a sum
 * stay two roundings, an fma is one.
 *
 * Results that are NaN are 0x7fffffff in single precision, as devices give;
 * double precision keeps payloads.
 */
#include "exec/ops.h"

#include <xmmintrin.h>

OPS_FILE(floating);

static inline f32 nan32(f32 r) { return r == r ? r : bits_f32(0x7fffffffu); }
#define N32(e) nan32(e)
#define N64(e) (e)
#define Z32(e) ftz(e)

/* ftz on inputs and result, then sat; the order of 9.7.3.3 */
#define F32_BIN(op, expr)                                                                          \
	OP2(op ".f32", f32, f32, f32, N32(expr))                                                   \
	OP2(op ".sat.f32", f32, f32, f32, sat32(expr))                                             \
	HANDLER(op ".ftz.f32")                                                                     \
	{                                                                                          \
		const f32 *a = slot(w, o->a), *b = slot(w, o->b);                                  \
		BODY(f32, f32 x = ftz(a[l]); f32 y = ftz(b[l]), N32(ftz(expr)))                    \
	}                                                                                          \
	HANDLER(op ".ftz.sat.f32")                                                                 \
	{                                                                                          \
		const f32 *a = slot(w, o->a), *b = slot(w, o->b);                                  \
		BODY(f32, f32 x = ftz(a[l]); f32 y = ftz(b[l]), sat32(ftz(expr)))                  \
	}
F32_BIN("add", x + y)
F32_BIN("sub", x - y)
F32_BIN("mul", x * y)
F32_BIN("div", x / y)
OP3("fma.f32", f32, f32, f32, f32, N32(fmaf(x, y, z)))
OP3("fma.sat.f32", f32, f32, f32, f32, sat32(fmaf(x, y, z)))
OP3("fma.relu.f32", f32, f32, f32, f32, fmaf(x, y, z) > 0 ? fmaf(x, y, z) : 0)
OP3("fma.ftz.f32", f32, f32, f32, f32, N32(ftz(fmaf(ftz(x), ftz(y), ftz(z)))))
OP3("fma.ftz.sat.f32", f32, f32, f32, f32, sat32(ftz(fmaf(ftz(x), ftz(y), ftz(z)))))

OP2("add.f64", f64, f64, f64, x + y)
OP2("sub.f64", f64, f64, f64, x - y)
OP2("mul.f64", f64, f64, f64, x * y)
OP2("div.f64", f64, f64, f64, x / y)
OP3("fma.f64", f64, f64, f64, f64, fma(x, y, z))

/*
 * Directed rounding: o->x is MXCSR's field, 1 down, 2 up, 3 to zero; bit 4 ftz,
 * bit 5 sat.  Operands and results go through volatile so that the arithmetic
 * stays between the two writes of MXCSR.
 */
#define DIRECTED(name, T, arity, expr, flush, saturate)                                            \
	HANDLER(name)                                                                              \
	{                                                                                          \
		volatile T *d = slot(w, o->d), t;                                                  \
		const volatile T *a = slot(w, o->a), *b = slot(w, arity > 1 ? o->b : o->a),        \
				 *c = slot(w, arity > 2 ? o->c : o->a);                            \
		unsigned old = _mm_getcsr(), mode = (o->x & 3u) << 13;                             \
		for (int l = 0; l < LANES; l++) {                                                  \
			T x, y, z, r;                                                              \
			if (!(w->mask >> l & 1))                                                   \
				continue;                                                          \
			_mm_setcsr((old & ~0x6000u) | mode);                                       \
			x = a[l], y = b[l], z = c[l];                                              \
			(void)y, (void)z;                                                          \
			if (o->x & 16)                                                             \
				x = flush(x), y = flush(y), z = flush(z);                          \
			t = (expr);                                                                \
			_mm_setcsr(old);                                                           \
			r = t;                                                                     \
			if (o->x & 16)                                                             \
				r = flush(r);                                                      \
			r = sizeof(T) == 4 ? (T)nan32((f32)r) : r;                                 \
			if (o->x & 32)                                                             \
				r = saturate(r);                                                   \
			d[l] = r;                                                                  \
		}                                                                                  \
	}
static inline f64 same64(f64 x) { return x; }
static inline f32 hard_fma32(f32 x, f32 y, f32 z) { return fmaf(x, y, z); }
#define BOTH(op, arity, e32, e64)                                                                  \
	DIRECTED(op ".dir.f32", f32, arity, e32, ftz, sat32)                                       \
	DIRECTED(op ".dir.f64", f64, arity, e64, same64, sat64)
BOTH("add", 2, x + y, x + y)
BOTH("sub", 2, x - y, x - y)
BOTH("mul", 2, x * y, x * y)
BOTH("div", 2, x / y, x / y)
BOTH("fma", 3, hard_fma32(x, y, z), fma(x, y, z))
BOTH("rcp", 1, 1.0f / x, 1.0 / x)
BOTH("sqrt", 1, sqrtf(x), sqrt(x))

/* ---- One operand ---- */
#define F32_ONE(op, expr)                                                                          \
	OP1(op ".f32", f32, f32, N32(expr))                                                        \
	HANDLER(op ".ftz.f32")                                                                     \
	{                                                                                          \
		const f32 *a = slot(w, o->a);                                                      \
		BODY(f32, f32 x = ftz(a[l]), N32(ftz(expr)))                                       \
	}
F32_ONE("rcp", 1.0f / x)
F32_ONE("sqrt", sqrtf(x))
OP1("rcp.f64", f64, f64, 1.0 / x)
OP1("sqrt.f64", f64, f64, sqrt(x))

/* Seeds, lane by lane; the approximations of single precision are in ops-approx.c. */
#define APPROX(name, T, expr)                                                                      \
	HANDLER(name)                                                                              \
	{                                                                                          \
		const T *a = slot(w, o->a);                                                        \
		T *d = slot(w, o->d);                                                              \
		for (int l = 0; l < LANES; l++)                                                    \
			if (w->mask >> l & 1) {                                                    \
				T x = a[l];                                                        \
				d[l] = (expr);                                                     \
			}                                                                          \
	}
/*
 * rcp.approx.ftz.f64 and rsqrt.approx.f64 (9.7.3.14, 17): seeds of Newton
 * iterations; the low 32 bits are zero and subnormals are flushed.
 */
static inline f64 ftz64(f64 x)
{
	u64 u = f64_bits(x);

	return bits_f64((u & 0x7ff0000000000000ull) ? u : u & 0x8000000000000000ull);
}
static inline f64 high64(f64 x)
{
	u64 u = f64_bits(x);

	return bits_f64(x != x ? 0x7fffffff00000000ull : u & 0xffffffff00000000ull);
}
APPROX("rcp.approx.ftz.f64", f64, high64(ftz64(1.0 / ftz64(x))))
APPROX("rsqrt.approx.ftz.f64", f64, high64(1.0 / sqrt(ftz64(x))))
APPROX("rsqrt.approx.f64", f64, high64(1.0 / sqrt(x)))

/* abs and neg act on bits; with .ftz they flush */
OP1("abs.f32", u32, u32, x & 0x7fffffffu)
OP1("neg.f32", u32, u32, x ^ 0x80000000u)
OP1("abs.ftz.f32", f32, f32, bits_f32(f32_bits(ftz(x)) & 0x7fffffffu))
OP1("neg.ftz.f32", f32, f32, bits_f32(f32_bits(ftz(x)) ^ 0x80000000u))
OP1("abs.f64", u64, u64, x & ~(1ull << 63))
OP1("neg.f64", u64, u64, x ^ 1ull << 63)
/* the sign of a on the magnitude of b (9.7.3.2) */
OP2("copysign.f32", u32, u32, u32, (x & 0x80000000u) | (y & 0x7fffffffu))
OP2("copysign.f64", u64, u64, u64, (x & 1ull << 63) | (y & ~(1ull << 63)))

/* min and max: the operand that is no NaN, and -0 < +0 (9.7.3.11, 12) */
#define MINMAX(T, U, TO, FROM, CANON)                                                              \
	static inline T min_##T(T x, T y)                                                          \
	{                                                                                          \
		T eq = FROM(TO(x) | TO(y)), r = x < y ? x : y;                                     \
		r = x == y ? eq : r;                                                               \
		r = x != x ? y : r;                                                                \
		r = y != y ? x : r;                                                                \
		return r != r ? FROM(CANON) : r;                                                   \
	}                                                                                          \
	static inline T max_##T(T x, T y)                                                          \
	{                                                                                          \
		T eq = FROM(TO(x) & TO(y)), r = x > y ? x : y;                                     \
		r = x == y ? eq : r;                                                               \
		r = x != x ? y : r;                                                                \
		r = y != y ? x : r;                                                                \
		return r != r ? FROM(CANON) : r;                                                   \
	}
MINMAX(f32, u32, f32_bits, bits_f32, 0x7fffffffu)
MINMAX(f64, u64, f64_bits, bits_f64, 0x7fffffffffffffffull)
static inline f32 mag(f32 x) { return bits_f32(f32_bits(x) & 0x7fffffffu); }
static inline f32 xs(f32 r, f32 x, f32 y)
{
	return bits_f32((f32_bits(r) & 0x7fffffffu) | ((f32_bits(x) ^ f32_bits(y)) & 0x80000000u));
}
#define MM(op, f)                                                                                  \
	OP2(op ".f32", f32, f32, f32, f(x, y))                                                     \
	OP2(op ".ftz.f32", f32, f32, f32, f(ftz(x), ftz(y)))                                       \
	OP2(op ".NaN.f32", f32, f32, f32, x != x || y != y ? bits_f32(0x7fffffffu) : f(x, y))      \
	OP2(op ".ftz.NaN.f32", f32, f32, f32,                                                      \
	    x != x || y != y ? bits_f32(0x7fffffffu) : f(ftz(x), ftz(y)))                          \
	OP2(op ".xorsign.abs.f32", f32, f32, f32, xs(f(mag(x), mag(y)), x, y))                     \
	OP2(op ".ftz.xorsign.abs.f32", f32, f32, f32, xs(f(mag(ftz(x)), mag(ftz(y))), x, y))       \
	OP3(op "3.f32", f32, f32, f32, f32, f(f(x, y), z))                                         \
	OP3(op "3.ftz.f32", f32, f32, f32, f32, f(f(ftz(x), ftz(y)), ftz(z)))                      \
	OP3(op "3.NaN.f32", f32, f32, f32, f32,                                                    \
	    x != x || y != y || z != z ? bits_f32(0x7fffffffu) : f(f(x, y), z))
MM("min", min_f32)
MM("max", max_f32)
OP2("min.f64", f64, f64, f64, min_f64(x, y))
OP2("max.f64", f64, f64, f64, max_f64(x, y))

/* testp (9.7.3.1) */
#define TESTP(T, U, TO, EXP, MAN)                                                                  \
	TEST1("finite." #T, U, (x & EXP) != EXP)                                                   \
	TEST1("infinite." #T, U, (x & (EXP | MAN)) == EXP)                                         \
	TEST1("number." #T, U, (x & (EXP | MAN)) <= EXP)                                           \
	TEST1("notanumber." #T, U, (x & (EXP | MAN)) > EXP)                                        \
	TEST1("normal." #T, U, (x & EXP) != EXP && (x & EXP))                                      \
	TEST1("subnormal." #T, U, !(x & EXP) && (x & MAN))
#define TEST1(op, U, cond)                                                                         \
	HANDLER("testp." op)                                                                       \
	{                                                                                          \
		const U *a = slot(w, o->a);                                                        \
		u32 bits = 0;                                                                      \
		for (int l = 0; l < LANES; l++) {                                                  \
			U x = a[l];                                                                \
			bits |= (u32)(cond) << l;                                                  \
		}                                                                                  \
		pred_write(w, o->d, bits);                                                         \
	}
TESTP(f32, u32, f32_bits, 0x7f800000u, 0x007fffffu)
TESTP(f64, u64, f64_bits, 0x7ff0000000000000ull, 0x000fffffffffffffull)

/* Packed pairs of f32 (sm_100) */
#define F32X2(op, expr)                                                                            \
	HANDLER(op ".f32x2")                                                                       \
	{                                                                                          \
		const f32 *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);              \
		f32 *d = slot(w, o->d);                                                            \
		for (int l = 0; l < 2 * LANES; l++) {                                              \
			f32 x = a[l], y = b[l], z = c[l];                                          \
			(void)z;                                                                   \
			if (w->mask >> (l / 2) & 1)                                                \
				d[l] = N32(expr);                                                  \
		}                                                                                  \
	}
F32X2("add", x + y)
F32X2("mul", x * y)
F32X2("sub", x - y)
F32X2("fma", fmaf(x, y, z))
