/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a handler is written.  Handler files are built twice, for x86-64 and for
 * x86-64-v3 (AVX2, FMA); each definition puts itself into the table of its
 * build under a name that the decoder asks for.  Private to the room.
 */
#ifndef MP_EXEC_OPS_H
#define MP_EXEC_OPS_H

#include <math.h>
#include <string.h>

#include "exec/warp.h"

#ifdef MP_EXEC_V3
#define OPS_SECTION "mp_exec_ops_v3"
#define OPS_ANCHOR(file) mp_exec_anchor_v3_##file
#else
#define OPS_SECTION "mp_exec_ops_v1"
#define OPS_ANCHOR(file) mp_exec_anchor_v1_##file
#endif
/* Pulls the file out of its archive; table.c names them all. */
#define OPS_FILE(file) extern const char OPS_ANCHOR(file); const char OPS_ANCHOR(file) = 0

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define HANDLER_AT(name, line)                                                                     \
	static void CAT(h_, line)(struct warp *, const struct op *);                               \
	__attribute__((used, section(OPS_SECTION))) static const struct handler CAT(e_, line) = {  \
		name, CAT(h_, line)};                                                              \
	static void CAT(h_, line)(struct warp *w, const struct op *o)
#define HANDLER(name) HANDLER_AT(name, __COUNTER__)

#define EACH _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++)

/* Lane loops: `expr` over x, y, z (the operands of lane l) gives a TD. */
#define BODY(TD, loads, expr)                                                                      \
	{                                                                                          \
		TD *d = slot(w, o->d);                                                             \
		if (w->mask == FULL) {                                                             \
			EACH { loads; d[l] = (TD)(expr); }                                         \
		} else {                                                                           \
			const int32_t *m = w->lm;                                                  \
			EACH { loads; TD r_ = (TD)(expr); d[l] = m[l] ? r_ : d[l]; }               \
		}                                                                                  \
	}
#define OP1(name, TD, TA, expr)                                                                    \
	HANDLER(name)                                                                              \
	{                                                                                          \
		const TA *a = slot(w, o->a);                                                       \
		BODY(TD, TA x = a[l], expr)                                                        \
	}
#define OP2(name, TD, TA, TB, expr)                                                                \
	HANDLER(name)                                                                              \
	{                                                                                          \
		const TA *a = slot(w, o->a);                                                       \
		const TB *b = slot(w, o->b);                                                       \
		BODY(TD, TA x = a[l]; TB y = b[l], expr)                                           \
	}
#define OP3(name, TD, TA, TB, TC, expr)                                                            \
	HANDLER(name)                                                                              \
	{                                                                                          \
		const TA *a = slot(w, o->a);                                                       \
		const TB *b = slot(w, o->b);                                                       \
		const TC *c = slot(w, o->c);                                                       \
		BODY(TD, TA x = a[l]; TB y = b[l]; TC z = c[l], expr)                              \
	}

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;

static inline u32 f32_bits(float f) { u32 u; memcpy(&u, &f, 4); return u; }
static inline float bits_f32(u32 u) { float f; memcpy(&f, &u, 4); return f; }
static inline u64 f64_bits(double f) { u64 u; memcpy(&u, &f, 8); return u; }
static inline double bits_f64(u64 u) { double f; memcpy(&f, &u, 8); return f; }
/* .ftz: subnormals become zero of their sign (9.7.3). */
static inline float ftz(float f)
{
	u32 u = f32_bits(f);

	return bits_f32((u & 0x7f800000u) ? u : u & 0x80000000u);
}
/* .sat: clamp to [0, 1]; NaN gives 0. */
static inline float sat32(float f) { return f > 0.0f ? (f < 1.0f ? f : 1.0f) : 0.0f; }
static inline double sat64(double f) { return f > 0.0 ? (f < 1.0 ? f : 1.0) : 0.0; }

#endif
