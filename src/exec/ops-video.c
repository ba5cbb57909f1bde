/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Video instructions (9.7.14, 15): one, two or four small integers in a word.
 * Rare in programs of today, so one handler decides everything as it goes.
 */
#include "exec/ops.h"
#include "exec/video.h"

OPS_FILE(video);

static inline s64 part(u32 v, unsigned i, unsigned bits, bool s)
{
	u32 x = bits == 32 ? v : v >> (i * bits) & ((1u << bits) - 1);

	return s ? (s64)((u64)x << (64 - bits)) >> (64 - bits) : (s64)x;
}

static inline s64 clamp_to(s64 v, unsigned bits, bool s)
{
	s64 max = s ? (1ll << (bits - 1)) - 1 : (1ll << bits) - 1, min = s ? -max - 1 : 0;

	return v < min ? min : v > max ? max : v;
}

static s64 primary(const struct op *o, s64 a, s64 b, s64 c)
{
	switch (o->e & 0xff) {
	case VIDEO_ADD: return a + b;
	case VIDEO_SUB: return a - b;
	case VIDEO_ABSDIFF: return a > b ? a - b : b - a;
	case VIDEO_MIN: return a < b ? a : b;
	case VIDEO_MAX: return a > b ? a : b;
	case VIDEO_AVRG: return (a + b + (a + b >= 0)) >> 1; /* rounded away from zero */
	case VIDEO_MAD: return a * b + c;
	case VIDEO_SHL: return (u32)b > 31 ? 0 : (s64)((u64)a << (u32)b);
	case VIDEO_SHR: return a >> ((u32)b > 31 ? 31 : (u32)b);
	case VIDEO_EQ: return a == b;
	case VIDEO_NE: return a != b;
	case VIDEO_LT: return a < b;
	case VIDEO_LE: return a <= b;
	case VIDEO_GT: return a > b;
	default: return a >= b;
	}
}

/* n = parts; x = VIDEO_* flags; e = the operation; c is the third source */
HANDLER("video")
{
	const u32 *a = slot(w, o->a), *b = slot(w, o->b), *c = slot(w, o->c);
	u32 out[LANES];
	unsigned n = o->n, bits = 32 / n, i;
	bool ds = o->x & VIDEO_D_SIGNED, as = o->x & VIDEO_A_SIGNED, bs = o->x & VIDEO_B_SIGNED;

	for (int l = 0; l < LANES; l++) {
		u64 sum = 0, word = 0;

		for (i = 0; i < n; i++) {
			s64 third = ds ? (s64)(s32)c[l] : (s64)c[l];
			s64 r = primary(o, part(a[l], i, bits, as), part(b[l], i, bits, bs), third);

			if (o->x & VIDEO_SAT)
				r = clamp_to(r, bits, ds);
			sum += (u64)r;
			word |= ((u64)r & (bits == 32 ? 0xffffffffu : (1u << bits) - 1)) << (i * bits);
		}
		if (o->x & VIDEO_ACCUMULATE)
			out[l] = (u32)sum + c[l];
		else if (o->x & (VIDEO_THEN_MIN | VIDEO_THEN_MAX)) {
			bool less = ds ? (s32)word < (s32)c[l] : (u32)word < c[l];

			out[l] = less == !!(o->x & VIDEO_THEN_MIN) ? (u32)word : c[l];
		} else {
			out[l] = (u32)word;
		}
	}
	BODY(u32, (void)0, out[l])
}
