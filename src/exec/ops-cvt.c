/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions (9.7.9.21).  o->x holds the modifiers: RND in the low three bits,
 * then CVT_FTZ and so on.  Registers may be wider than the types: o->n is the
 * source register's width in bytes, o->size the destination's; the natural
 * pairs of widths have handlers of their own, the rest goes through 64 bits.
 */
#include "exec/ops.h"
#include "exec/cvt.h"

#include <xmmintrin.h>

OPS_FILE(convert);

/* ---- Integer to integer, natural widths ---- */
typedef u16 r8; /* the register that holds a byte */
typedef u16 r16;
typedef u32 r32;
typedef u64 r64;
#define ITOI(D, dw, S, sw)                                                                         \
	OP1("cvt." #D "." #S, r##dw, r##sw, (D)(S)x)
#define ITOI_ALL(S, sw)                                                                            \
	ITOI(u8, 8, S, sw) ITOI(s8, 8, S, sw) ITOI(u16, 16, S, sw) ITOI(s16, 16, S, sw)            \
	ITOI(u32, 32, S, sw) ITOI(s32, 32, S, sw) ITOI(u64, 64, S, sw) ITOI(s64, 64, S, sw)
ITOI_ALL(u8, 8) ITOI_ALL(s8, 8) ITOI_ALL(u16, 16) ITOI_ALL(s16, 16)
ITOI_ALL(u32, 32) ITOI_ALL(s32, 32) ITOI_ALL(u64, 64) ITOI_ALL(s64, 64)

/* ---- The general way ---- */

/* Lane l of a source register of o->n bytes, as the type says. */
static inline u64 int_read(const void *p, int l, unsigned reg, u32 type)
{
	u64 v = reg == 2 ? ((const u16 *)p)[l] : reg == 4 ? ((const u32 *)p)[l] : ((const u64 *)p)[l];

	switch (type) {
	case MP_PTX_T_U8: case MP_PTX_T_B8: return (u8)v;
	case MP_PTX_T_S8: return (u64)(s64)(s8)v;
	case MP_PTX_T_U16: case MP_PTX_T_B16: return (u16)v;
	case MP_PTX_T_S16: return (u64)(s64)(s16)v;
	case MP_PTX_T_U32: case MP_PTX_T_B32: return (u32)v;
	case MP_PTX_T_S32: return (u64)(s64)(s32)v;
	default: return v;
	}
}

static inline void int_write(void *p, int l, unsigned reg, u64 v)
{
	if (reg == 2)
		((u16 *)p)[l] = (u16)v;
	else if (reg == 4)
		((u32 *)p)[l] = (u32)v;
	else
		((u64 *)p)[l] = v;
}

/* A whole source register as the type says, and a whole destination for the active lanes. */
#define READ_AS(S)                                                                                 \
	switch (reg) {                                                                             \
	case 2: { const u16 *r = p; EACH v[l] = (u64)(s64)(S)r[l]; return; }                       \
	case 4: { const u32 *r = p; EACH v[l] = (u64)(s64)(S)r[l]; return; }                       \
	default: { const u64 *r = p; EACH v[l] = (u64)(s64)(S)r[l]; return; }                      \
	}
static void int_read_all(const void *p, unsigned reg, u32 type, u64 *v)
{
	switch (type) {
	case MP_PTX_T_U8: case MP_PTX_T_B8: READ_AS(u8)
	case MP_PTX_T_S8: READ_AS(s8)
	case MP_PTX_T_U16: case MP_PTX_T_B16: READ_AS(u16)
	case MP_PTX_T_S16: READ_AS(s16)
	case MP_PTX_T_U32: case MP_PTX_T_B32: READ_AS(u32)
	case MP_PTX_T_S32: READ_AS(s32)
	default: READ_AS(u64)
	}
}

static void int_write_all(struct warp *w, const struct op *o, const u64 *v)
{
	if (o->size == 2) {
		BODY(u16, (void)0, v[l])
	} else if (o->size == 4) {
		BODY(u32, (void)0, v[l])
	} else {
		BODY(u64, (void)0, v[l])
	}
}

static inline bool is_signed(u32 type)
{
	return type == MP_PTX_T_S8 || type == MP_PTX_T_S16 || type == MP_PTX_T_S32 ||
	       type == MP_PTX_T_S64;
}

/* Truncate or saturate to the type, then extend by its sign to 64 bits. */
static inline u64 int_fit(u64 v, bool from_signed, u32 type, bool sat)
{
	unsigned bits = mp_ptx_type_size((uint8_t)type) * 8;
	bool sign = is_signed(type);

	if (sat) {
		u64 max = sign ? (1ull << (bits - 1)) - 1 : bits == 64 ? ~0ull : (1ull << bits) - 1;
		s64 min = sign ? -(s64)max - 1 : 0;

		if (from_signed && (s64)v < min)
			v = (u64)min;
		else if (!(from_signed && (s64)v < 0) && v > max)
			v = max;
	}
	if (bits < 64) {
		v <<= 64 - bits;
		v = sign ? (u64)((s64)v >> (64 - bits)) : v >> (64 - bits);
	}
	return v;
}

HANDLER("cvt.int.int")
{
	u32 st = CVT_SRC(o), dt = CVT_DST(o);
	unsigned keep = 64 - mp_ptx_type_size((uint8_t)dt) * 8;
	u64 v[LANES];

	int_read_all(slot(w, o->a), o->n, st, v);
	if (o->x & CVT_SAT)
		for (int l = 0; l < LANES; l++)
			v[l] = int_fit(v[l], is_signed(st), dt, true);
	else if (is_signed(dt))
		EACH v[l] = (u64)((s64)(v[l] << keep) >> keep);
	else
		EACH v[l] = v[l] << keep >> keep;
	int_write_all(w, o, v);
}

/* ---- Integer to float ---- */
OP1("cvt.f32.s32", f32, s32, (f32)x)
OP1("cvt.f32.u32", f32, u32, (f32)x)
OP1("cvt.f64.s32", f64, s32, (f64)x)
OP1("cvt.f64.u32", f64, u32, (f64)x)

static inline unsigned mxcsr_of(u32 x)
{
	static const u8 field[] = {0, 3, 1, 2}; /* rn rz rm rp */

	return (unsigned)field[x & 3] << 13;
}

/* Under a directed rounding MXCSR is changed for each lane; to nearest, or exact, needs no such care. */
#define ITOF(F)                                                                                    \
	static void itof_directed_##F(struct warp *w, const struct op *o, const u64 *v, bool s)    \
	{                                                                                          \
		volatile F *d = slot(w, o->d);                                                     \
		unsigned old = _mm_getcsr();                                                       \
		for (int l = 0; l < LANES; l++) {                                                  \
			volatile u64 x = v[l];                                                     \
			volatile F r;                                                              \
			if (!(w->mask >> l & 1))                                                   \
				continue;                                                          \
			_mm_setcsr((old & ~0x6000u) | mxcsr_of(o->x));                             \
			if (s)                                                                     \
				r = (F)(s64)x;                                                     \
			else                                                                       \
				r = (F)x;                                                          \
			_mm_setcsr(old);                                                           \
			d[l] = o->x & CVT_SAT ? (r > 0 ? r < 1 ? r : (F)1 : (F)0) : r;             \
		}                                                                                  \
	}                                                                                          \
	HANDLER("cvt.int." #F)                                                                     \
	{                                                                                          \
		u32 st = CVT_SRC(o);                                                               \
		u64 v[LANES];                                                                      \
		int_read_all(slot(w, o->a), o->n, st, v);                                          \
		if (mp_ptx_type_size((uint8_t)st) > 2 && (o->x & CVT_RND))                         \
			itof_directed_##F(w, o, v, is_signed(st));                                 \
		else if (o->x & CVT_SAT)                                                           \
			itof_directed_##F(w, o, v, is_signed(st));                                 \
		else if (mp_ptx_type_size((uint8_t)st) <= 2)                                       \
			BODY(F, (void)0, (s32)v[l])                                                \
		else if (is_signed(st))                                                            \
			BODY(F, (void)0, (s64)v[l])                                                \
		else                                                                               \
			BODY(F, (void)0, v[l])                                                     \
	}
ITOF(f32)
ITOF(f64)

/* ---- Float to integer: saturating; NaN as 9.7.9.21 says ---- */

#define INTEGRAL(F, sfx)                                                                           \
	static inline void integral_##F(F *x, u32 rnd)                                             \
	{                                                                                          \
		switch (rnd & 3) {                                                                 \
		case 0: EACH x[l] = __builtin_rint##sfx(x[l]); break;                              \
		case 1: EACH x[l] = __builtin_trunc##sfx(x[l]); break;                             \
		case 2: EACH x[l] = __builtin_floor##sfx(x[l]); break;                             \
		default: EACH x[l] = __builtin_ceil##sfx(x[l]); break;                             \
		}                                                                                  \
	}
INTEGRAL(f32, f)
INTEGRAL(f64, )

/* 2 to the n-th */
static inline f64 power2(unsigned n)
{
	return bits_f64((u64)(1023 + n) << 52);
}

/* Integral values to 64 bits, saturated to the type. */
#define SATURATE(F)                                                                                \
	static void saturate_##F(const F *x, u64 *v, u32 type, bool from_f64)                      \
	{                                                                                          \
		unsigned bits = mp_ptx_type_size((uint8_t)type) * 8;                               \
		u64 nan = bits == 64 || from_f64 ? 1ull << (bits - 1) : 0;                         \
		if (is_signed(type)) {                                                             \
			F top = (F)power2(bits - 1);                                               \
			s64 max = (s64)((1ull << (bits - 1)) - 1), min = -max - 1;                 \
			for (int l = 0; l < LANES; l++) {                                          \
				F y = x[l] < top && x[l] > -top ? x[l] : 0;                        \
				s64 r = (s64)y;                                                    \
				r = x[l] >= top ? max : x[l] <= -top ? min : r;                    \
				v[l] = x[l] != x[l] ? nan : (u64)r;                                \
			}                                                                          \
		} else {                                                                           \
			F top = (F)power2(bits);                                                   \
			u64 max = bits == 64 ? ~0ull : (1ull << (bits & 63)) - 1;                  \
			for (int l = 0; l < LANES; l++) {                                          \
				F y = x[l] < top && x[l] > 0 ? x[l] : 0;                           \
				u64 r = bits == 64 ? (u64)y : (u64)(s64)y;                         \
				r = x[l] >= top ? max : r;                                         \
				v[l] = x[l] != x[l] ? nan : r;                                     \
			}                                                                          \
		}                                                                                  \
	}
SATURATE(f32)
SATURATE(f64)

#define FTOI(F, is64, flush)                                                                       \
	HANDLER("cvt." #F ".int")                                                                  \
	{                                                                                          \
		const F *a = slot(w, o->a);                                                        \
		u32 dt = CVT_DST(o);                                                               \
		unsigned keep = 64 - mp_ptx_type_size((uint8_t)dt) * 8;                            \
		F x[LANES];                                                                        \
		u64 v[LANES];                                                                      \
		if (o->x & CVT_FTZ)                                                                \
			EACH x[l] = flush(a[l]);                                                   \
		else                                                                               \
			EACH x[l] = a[l];                                                          \
		integral_##F(x, o->x);                                                             \
		saturate_##F(x, v, dt, is64);                                                      \
		if (is_signed(dt))                                                                 \
			EACH v[l] = (u64)((s64)(v[l] << keep) >> keep);                            \
		int_write_all(w, o, v);                                                            \
	}
static inline f64 same(f64 x) { return x; }
FTOI(f32, false, ftz)
FTOI(f64, true, same)
/* The common ones, in lanes: cvt.rzi.s32.f32, cvt.rzi.u32.f32, cvt.rni.s32.f32 */
static inline s32 rz_s32(f32 x)
{
	x = x == x ? x : 0;
	return x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : (s32)x;
}
OP1("cvt.rzi.s32.f32", s32, f32, rz_s32(x))
static inline s32 rz_s32d(f64 x)
{
	f64 y = x == x ? x : -2147483648.0;

	y = y > 2147483647.0 ? 2147483647.0 : y < -2147483648.0 ? -2147483648.0 : y;
	return (s32)y;
}
OP1("cvt.rzi.s32.f64", s32, f64, rz_s32d(x))

/* ---- Float to float ---- */
OP1("cvt.f64.f32", f64, f32, (f64)x)
static inline f32 narrow(f64 x)
{
	f32 r = (f32)x;

	return r == r ? r : bits_f32(0x7fffffffu);
}
OP1("cvt.rn.f32.f64", f32, f64, narrow(x))

HANDLER("cvt.f32.f64")
{
	const volatile f64 *a = slot(w, o->a);
	f32 *d = slot(w, o->d);
	unsigned old = _mm_getcsr();

	for (int l = 0; l < LANES; l++) {
		volatile f32 r;

		if (!(w->mask >> l & 1))
			continue;
		_mm_setcsr((old & ~0x6000u) | mxcsr_of(o->x));
		r = (f32)a[l];
		_mm_setcsr(old);
		if (o->x & CVT_FTZ)
			r = ftz(r);
		if (r != r)
			r = bits_f32(0x7fffffffu);
		d[l] = o->x & CVT_SAT ? sat32(r) : r;
	}
}
HANDLER("cvt.f64.f32.x")
{
	const f32 *a = slot(w, o->a);
	f64 *d = slot(w, o->d);

	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1) {
			f64 r = o->x & CVT_FTZ ? ftz(a[l]) : a[l];

			d[l] = o->x & CVT_SAT ? sat64(r) : r;
		}
}
/* Same width: a rounding to an integral value, or flush and saturate alone */
HANDLER("cvt.f32.f32")
{
	const f32 *a = slot(w, o->a);
	f32 x[LANES];

	if (o->x & CVT_FTZ)
		EACH x[l] = ftz(a[l]);
	else
		EACH x[l] = a[l];
	if (o->x & CVT_INTEGRAL)
		integral_f32(x, o->x);
	if (o->x & CVT_SAT)
		EACH x[l] = sat32(x[l]);
	BODY(f32, (void)0, x[l] == x[l] ? x[l] : bits_f32(0x7fffffffu))
}
HANDLER("cvt.f64.f64")
{
	const f64 *a = slot(w, o->a);
	f64 x[LANES];

	EACH x[l] = a[l];
	if (o->x & CVT_INTEGRAL)
		integral_f64(x, o->x);
	if (o->x & CVT_SAT)
		EACH x[l] = sat64(x[l]);
	BODY(f64, (void)0, x[l])
}
