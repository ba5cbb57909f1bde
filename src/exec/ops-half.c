/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half precision (9.7.5) and the conversions of small formats (9.7.9.21).
 *
 * A sum, difference or product of two halves is computed in single precision
 * and rounded once more: with 24 >= 2*11+2 bits the second rounding is
 * innocent.  fma goes through double, rounded to odd.
 */
#include "exec/access.h"
#include "exec/cvt.h"
#include "exec/half.h"

OPS_FILE(half);

static inline f32 flush16(f32 v, const struct op *o)
{
	/* f16 subnormals; bf16 has the range of f32 */
	if (o->x & H_FTZ)
		return fabsf(v) < 0x1p-14f ? copysignf(0, v) : v;
	return v;
}

static inline f32 finish(f32 r, const struct op *o)
{
	r = flush16(r, o);
	if (o->x & H_SAT)
		r = sat32(r);
	if (o->x & H_RELU)
		r = r < 0 ? 0 : r;
	return r;
}

static inline f32 min_(f32 x, f32 y)
{
	if (x != x)
		return y;
	if (y != y)
		return x;
	return x == y ? bits_f32(f32_bits(x) | f32_bits(y)) : x < y ? x : y;
}
static inline f32 max_(f32 x, f32 y)
{
	if (x != x)
		return y;
	if (y != y)
		return x;
	return x == y ? bits_f32(f32_bits(x) & f32_bits(y)) : x > y ? x : y;
}
static inline f32 minmax(const struct op *o, f32 x, f32 y, bool is_max)
{
	f32 r;

	if ((o->x & H_NAN) && (x != x || y != y))
		return NAN;
	if (o->x & H_XORSIGN) {
		u32 s = (f32_bits(x) ^ f32_bits(y)) & 0x80000000u;

		x = fabsf(x), y = fabsf(y);
		r = is_max ? max_(x, y) : min_(x, y);
		return bits_f32((f32_bits(r) & 0x7fffffffu) | s);
	}
	return is_max ? max_(x, y) : min_(x, y);
}

/* The four types of a two-operand instruction; x and y are floats */
#define HALF2_AS(op, type, N, PER, BF, expr)                                                       \
	HANDLER(op "." type)                                                                       \
	{                                                                                          \
		f32 a[N], b[N], r[N];                                                              \
		half_in(slot(w, o->a), a, N, BF);                                                  \
		half_in(slot(w, o->b), b, N, BF);                                                  \
		for (int i = 0; i < N; i++) {                                                      \
			f32 x = a[i], y = b[i];                                                    \
			if (o->x & H_FTZ)                                                          \
				x = flush16(x, o), y = flush16(y, o);                              \
			r[i] = (expr);                                                             \
			if (o->x)                                                                  \
				r[i] = finish(r[i], o);                                            \
		}                                                                                  \
		half_out(w, slot(w, o->d), r, N, PER, BF);                                         \
	}
#define HALF2(op, expr)                                                                            \
	HALF2_AS(op, "f16", 32, 1, false, expr)                                                    \
	HALF2_AS(op, "f16x2", 64, 2, false, expr)                                                  \
	HALF2_AS(op, "bf16", 32, 1, true, expr)                                                    \
	HALF2_AS(op, "bf16x2", 64, 2, true, expr)
HALF2("add", x + y)
HALF2("sub", x - y)
HALF2("mul", x * y)
HALF2("min", minmax(o, x, y, false))
HALF2("max", minmax(o, x, y, true))
HALF2("ex2", ((void)y, exp2f(x)))
HALF2("tanh", ((void)y, tanhf(x)))

#define FMA_AS(type, N, PER, BF, FMT)                                                              \
	HANDLER("fma." type)                                                                       \
	{                                                                                          \
		f32 a[N], b[N], c[N];                                                              \
		u16 r[N];                                                                          \
		half_in(slot(w, o->a), a, N, BF);                                                  \
		half_in(slot(w, o->b), b, N, BF);                                                  \
		half_in(slot(w, o->c), c, N, BF);                                                  \
		for (int i = 0; i < N; i++) {                                                      \
			f32 x = flush16(a[i], o), y = flush16(b[i], o), z = flush16(c[i], o);      \
			double v = fma_odd(x, y, z);                                               \
			if (o->x & H_RELU)                                                         \
				v = v < 0 ? 0 : v;                                                 \
			if (o->x & H_SAT)                                                          \
				v = sat64(v);                                                      \
			r[i] = (u16)float_encode(v, FMT, 0, false);                                \
			if ((o->x & H_FTZ) && !BF && !(r[i] & 0x7c00))                             \
				r[i] &= 0x8000;                                                    \
		}                                                                                  \
		half_write(w, slot(w, o->d), r, N, PER);                                           \
	}
FMA_AS("f16", 32, 1, false, fmt_f16)
FMA_AS("f16x2", 64, 2, false, fmt_f16)
FMA_AS("bf16", 32, 1, true, fmt_bf16)
FMA_AS("bf16x2", 64, 2, true, fmt_bf16)

/* abs and neg act on bits; x = H_FTZ flushes f16 */
#define BITS_AS(op, type, N, PER, BF, expr)                                                        \
	HANDLER(op "." type)                                                                       \
	{                                                                                          \
		const u16 *a = slot(w, o->a);                                                      \
		u16 r[N];                                                                          \
		for (int i = 0; i < N; i++) {                                                      \
			u16 x = a[i];                                                              \
			if ((o->x & H_FTZ) && !BF && !(x & 0x7c00))                                \
				x &= 0x8000;                                                       \
			r[i] = (u16)(expr);                                                        \
		}                                                                                  \
		half_write(w, slot(w, o->d), r, N, PER);                                           \
	}
#define BITS(op, expr)                                                                             \
	BITS_AS(op, "f16", 32, 1, false, expr)                                                     \
	BITS_AS(op, "f16x2", 64, 2, false, expr)                                                   \
	BITS_AS(op, "bf16", 32, 1, true, expr)                                                     \
	BITS_AS(op, "bf16x2", 64, 2, true, expr)
BITS("abs", x & 0x7fff)
BITS("neg", x ^ 0x8000)

/* ---- Comparison: o->n says which, in the order of 9.7.6.2; o->size 1 or 2 halves a lane ---- */
static inline bool compare(unsigned cmp, f32 x, f32 y)
{
	bool nan = x != x || y != y;

	switch (cmp) {
	case 0: return x == y;
	case 1: return !nan && x != y;
	case 2: return x < y;
	case 3: return x <= y;
	case 4: return x > y;
	case 5: return x >= y;
	case 6: return nan || x == y;
	case 7: return nan || x != y;
	case 8: return nan || x < y;
	case 9: return nan || x <= y;
	case 10: return nan || x > y;
	case 11: return nan || x >= y;
	case 12: return !nan;
	default: return nan;
	}
}

static inline void compare_all(struct warp *w, const struct op *o, u32 bits[2])
{
	f32 a[64], b[64];
	int per = o->size, n = per * LANES;

	half_in(slot(w, o->a), a, n, o->e & H_BF);
	half_in(slot(w, o->b), b, n, o->e & H_BF);
	bits[0] = bits[1] = 0;
	for (int i = 0; i < n; i++) {
		f32 x = a[i], y = b[i];

		if (o->e & H_FTZ) {
			x = fabsf(x) < 0x1p-14f ? copysignf(0, x) : x;
			y = fabsf(y) < 0x1p-14f ? copysignf(0, y) : y;
		}
		bits[i % per] |= (u32)compare(o->n, x, y) << (i / per);
	}
	if (o->x & 3) {
		u32 c = pred(w, o->c);
		int k;

		if (o->x & 4)
			c = ~c;
		for (k = 0; k < 2; k++)
			bits[k] = (o->x & 3) == 1 ? bits[k] & c : (o->x & 3) == 2 ? bits[k] | c : bits[k] ^ c;
	}
}

HANDLER("setp.half")
{
	u32 bits[2];

	u32 p, q = 0;

	/* Both results before either is written: they may share c's place. */
	compare_all(w, o, bits);
	p = bits[0];
	if (o->size == 2) {
		q = bits[1];
	} else if (o->d2 != SLOT_NONE) { /* the complement, combined with c as p is */
		u32 c = o->x & 3 ? (o->x & 4 ? ~pred(w, o->c) : pred(w, o->c)) : 0;
		struct op plain = *o;

		plain.x = 0;
		compare_all(w, &plain, bits);
		q = ~bits[0];
		q = (o->x & 3) == 1 ? q & c : (o->x & 3) == 2 ? q | c : (o->x & 3) == 3 ? q ^ c : q;
	}
	if (o->d != SLOT_NONE)
		pred_write(w, o->d, p);
	if (o->d2 != SLOT_NONE)
		pred_write(w, o->d2, q);
}
/* imm = the value of true for one half; ext[1] = bytes of the destination register */
HANDLER("set.half")
{
	u32 bits[2];

	compare_all(w, o, bits);
	for (int l = 0; l < LANES; l++) {
		u32 lo = bits[0] >> l & 1, hi = bits[1] >> l & 1;

		if (!(w->mask >> l & 1))
			continue;
		if (o->size == 2)
			((u32 *)slot(w, o->d))[l] = (lo ? (u32)o->imm : 0) | (hi ? (u32)o->imm << 16 : 0);
		else if (o->ext[1] == 2)
			((u16 *)slot(w, o->d))[l] = lo ? (u16)o->imm : 0;
		else
			((u32 *)slot(w, o->d))[l] = lo ? (u32)o->imm : 0;
	}
}

/* ---- Conversions ---- */
static inline f32 canon(f32 x) { return x == x ? x : bits_f32(0x7fffffffu); }
OP1("cvt.f32.f16", f32, u16, canon(f16_f32(x)))
OP1("cvt.f32.bf16", f32, u16, bf16_f32(x)) /* a move: exact, NaN as it is */
HANDLER("cvt.rn.f16.f32") { half_out(w, slot(w, o->d), slot(w, o->a), 32, 1, false); }
HANDLER("cvt.rn.bf16.f32") { half_out(w, slot(w, o->d), slot(w, o->a), 32, 1, true); }
/* a goes to the high half (9.7.9.21) */
OP2("cvt.rn.f16x2.f32", u32, f32, f32, (u32)f32_f16(x) << 16 | f32_f16(y))
OP2("cvt.rn.bf16x2.f32", u32, f32, f32, (u32)f32_bf16(x) << 16 | f32_bf16(y))

static inline struct format format_of(u32 t)
{
	switch (t) {
	case MP_PTX_T_F16: case MP_PTX_T_F16X2: return fmt_f16;
	case MP_PTX_T_BF16: case MP_PTX_T_BF16X2: return fmt_bf16;
	case MP_PTX_T_TF32: return fmt_tf32;
	case MP_PTX_T_E4M3X2: return fmt_e4m3;
	case MP_PTX_T_E5M2X2: return fmt_e5m2;
	case MP_PTX_T_E2M3X2: return fmt_e2m3;
	case MP_PTX_T_E3M2X2: return fmt_e3m2;
	default: return fmt_e2m1;
	}
}

/* A number of any type in a register; sticky: integers beyond 53 bits keep a bit for what is lost */
static inline double number(const void *p, int l, unsigned reg, u32 type)
{
	u64 v;
	bool neg;

	switch (type) {
	case MP_PTX_T_F64: return ((const f64 *)p)[l];
	case MP_PTX_T_F32: return ((const f32 *)p)[l];
	case MP_PTX_T_F16: return f16_f32(((const u16 *)p)[l]);
	case MP_PTX_T_BF16: return bf16_f32(((const u16 *)p)[l]);
	}
	v = reg == 2 ? ((const u16 *)p)[l] : reg == 4 ? ((const u32 *)p)[l] : ((const u64 *)p)[l];
	switch (type) {
	case MP_PTX_T_U8: return (u8)v;
	case MP_PTX_T_S8: return (s8)v;
	case MP_PTX_T_U16: return (u16)v;
	case MP_PTX_T_S16: return (s16)v;
	case MP_PTX_T_U32: return (u32)v;
	case MP_PTX_T_S32: return (s32)v;
	}
	neg = type == MP_PTX_T_S64 && (s64)v < 0;
	if (neg)
		v = -v;
	if (v >> 53)
		v = (v & ~0xfffull) | ((v & 0xfff) ? 0x1000 : 0);
	return neg ? -(double)v : (double)v;
}

static inline double integral(double x, u32 rnd)
{
	switch (rnd & 3) {
	case 0: return nearbyint(x);
	case 1: return trunc(x);
	case 2: return floor(x);
	default: return ceil(x);
	}
}

static inline u64 to_int(double x, u32 rnd, u32 type)
{
	unsigned bits = mp_ptx_type_size((u8)type) * 8;
	bool sign = type == MP_PTX_T_S8 || type == MP_PTX_T_S16 || type == MP_PTX_T_S32 ||
		    type == MP_PTX_T_S64;
	double top = ldexp(1, (int)bits - sign);

	if (x != x)
		return bits == 64 ? 1ull << 63 : 0;
	x = integral(x, rnd);
	if (x >= top)
		return bits - sign == 64 ? ~0ull : (1ull << (bits - sign)) - 1;
	if (x < (sign ? -top : 0))
		return sign ? -(1ull << (bits - 1)) : 0;
	return x < 0 ? (u64)(s64)x : (u64)x;
}

/* One of the types is f16 or bf16 or tf32; a scalar */
HANDLER("cvt.half")
{
	const void *a = slot(w, o->a);
	void *d = slot(w, o->d);
	u32 st = CVT_SRC(o), dt = CVT_DST(o);

	for (int l = 0; l < LANES; l++) {
		double v;
		u64 r;

		if (!(w->mask >> l & 1))
			continue;
		v = number(a, l, o->n, st);
		if ((o->x & CVT_FTZ) && (st == MP_PTX_T_F32 ? fabs(v) < 0x1p-126 : st == MP_PTX_T_F16 && fabs(v) < 0x1p-14))
			v = copysign(0, v);
		switch (dt) {
		case MP_PTX_T_F16: case MP_PTX_T_BF16: case MP_PTX_T_TF32:
			if (o->x & CVT_INTEGRAL)
				v = integral(v, o->x);
			if (o->x & CVT_RELU)
				v = v < 0 ? 0 : v;
			if (o->x & CVT_SAT)
				v = sat64(v);
			r = float_encode(v, format_of(dt), o->x & CVT_RNA ? 4 : o->x & CVT_INTEGRAL ? 0 : o->x & 3,
					 o->x & CVT_SATFINITE);
			if (dt == MP_PTX_T_TF32)
				((u32 *)d)[l] = (u32)r << 13;
			else
				((u16 *)d)[l] = (u16)r;
			continue;
		case MP_PTX_T_F32:
			((f32 *)d)[l] = o->x & CVT_SAT ? sat32((f32)v) : v == v ? (f32)v : bits_f32(0x7fffffff);
			continue;
		case MP_PTX_T_F64:
			((f64 *)d)[l] = o->x & CVT_SAT ? sat64(v) : v;
			continue;
		}
		r = to_int(v, o->x, dt);
		if (o->size == 2)
			((u16 *)d)[l] = (u16)r;
		else if (o->size == 4)
			((u32 *)d)[l] = (u32)r;
		else
			((u64 *)d)[l] = r;
	}
}

static inline unsigned width_of(u32 t)
{
	switch (t) {
	case MP_PTX_T_F16X2: case MP_PTX_T_BF16X2: return 16;
	case MP_PTX_T_E2M1X2: return 4;
	default: return 8;
	}
}

/* Pairs: from two f32 (a high, b low) or from a pair of another format */
HANDLER("cvt.pair")
{
	u32 st = CVT_SRC(o), dt = CVT_DST(o);
	unsigned dw = width_of(dt), sw = width_of(st);
	struct format df = format_of(dt), sf = format_of(st);
	const void *a = slot(w, o->a), *b = slot(w, o->b);
	void *d = slot(w, o->d);

	for (int l = 0; l < LANES; l++) {
		double v[2];
		u32 r = 0, s;

		if (!(w->mask >> l & 1))
			continue;
		if (st == MP_PTX_T_F32) {
			v[1] = ((const f32 *)a)[l];
			v[0] = ((const f32 *)b)[l];
		} else {
			s = o->n == 2 ? ((const u16 *)a)[l] : ((const u32 *)a)[l];
			v[0] = float_decode(s & ((1u << sw) - 1), sf);
			v[1] = float_decode(s >> sw & ((1u << sw) - 1), sf);
		}
		for (int k = 0; k < 2; k++) {
			if (o->x & CVT_RELU)
				v[k] = v[k] < 0 ? 0 : v[k];
			r |= (float_encode(v[k], df, o->x & 3, o->x & CVT_SATFINITE) & ((1u << dw) - 1)) << (k * dw);
		}
		if (o->size == 2)
			((u16 *)d)[l] = (u16)r;
		else
			((u32 *)d)[l] = r;
	}
}

/* ---- atom.add on halves (9.7.13.5): compare and swap of the word ---- */
#define ATOM_HALF(name, U, N, BF)                                                                  \
	HANDLER("atom.add." name)                                                                  \
	{                                                                                          \
		const u16 *b = slot(w, o->b);                                                      \
		U *d = o->d == SLOT_NONE ? NULL : slot(w, o->d);                                   \
		struct access x;                                                                   \
		access_prepare(w, o, &x, sizeof(U), (enum space)o->n, true);                       \
		for (int l = 0; l < LANES; l++) {                                                  \
			U *at = (U *)access_place(&x, l, sizeof(U)), was, now;                     \
			if (!(w->mask >> l & 1))                                                   \
				continue;                                                          \
			was = __atomic_load_n(at, __ATOMIC_RELAXED);                               \
			do {                                                                       \
				u16 h[N];                                                          \
				memcpy(h, &was, sizeof(U));                                        \
				for (int k = 0; k < N; k++)                                        \
					h[k] = BF ? f32_bf16(bf16_f32(h[k]) + bf16_f32(b[l * N + k]))  \
						  : f32_f16(f16_f32(h[k]) + f16_f32(b[l * N + k]));    \
				memcpy(&now, h, sizeof(U));                                        \
			} while (!__atomic_compare_exchange_n(at, &was, now, false, __ATOMIC_SEQ_CST,  \
							      __ATOMIC_RELAXED));                  \
			if (d)                                                                     \
				d[l] = was;                                                        \
		}                                                                                  \
	}
ATOM_HALF("f16", u16, 1, false)
ATOM_HALF("bf16", u16, 1, true)
ATOM_HALF("f16x2", u32, 2, false)
ATOM_HALF("bf16x2", u32, 2, true)
