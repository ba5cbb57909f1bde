/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and texels, for the handlers of textures and surfaces (5.3).
 * Private to the room.
 */
#ifndef MP_EXEC_TEXEL_H
#define MP_EXEC_TEXEL_H

#include "exec/half.h"
#include "exec/tex.h"

struct texel {
	f32 f[4];
	u32 i[4]; /* as registers get it: the texture's integers extended to 32 bits, or a float's bits */
};

/* The object that was asked about last: lanes mostly have the same one. */
struct objects {
	u64 handle;
	const struct mp_exec_texture *t;
};

static inline const struct mp_exec_texture *object_of(struct warp *w, int l, u64 handle, struct objects *last)
{
	const struct mp_exec_space *s = w->cta->grid->space;

	if (last->t && last->handle == handle)
		return last->t;
	last->t = s->texture ? s->texture(s->arg, handle) : NULL;
	last->handle = handle;
	if (!last->t)
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, handle);
	return last->t;
}

static inline u32 coord(struct warp *w, const struct op *o, int i, int l)
{
	return ((const u32 *)slot(w, o->ext[i]))[l];
}

/* IEC 61966-2-1 */
static inline f32 srgb_linear(f32 v)
{
	return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static inline u32 texel_bytes(const struct mp_exec_texture *t)
{
	return t->bits == 10 ? 4 : (u32)t->channels * (t->bits / 8);
}

/* 565: three components in [0,1] */
static inline void block_565(u32 v, f32 *rgb)
{
	rgb[0] = (f32)(v >> 11 & 31) / 31;
	rgb[1] = (f32)(v >> 5 & 63) / 63;
	rgb[2] = (f32)(v & 31) / 31;
}

/* The colours of BC1 to BC3; texel k of 16. `cut`: BC1's, whose end points' order means a transparent colour */
static inline void block_colour(const u8 *p, unsigned k, bool cut, f32 *rgba)
{
	u32 a = p[0] | (u32)p[1] << 8, b = p[2] | (u32)p[3] << 8, which = p[4 + k / 4] >> (k % 4 * 2) & 3;
	f32 u[3], v[3];
	int c;

	block_565(a, u);
	block_565(b, v);
	rgba[3] = 1;
	for (c = 0; c < 3; c++) {
		if (which < 2)
			rgba[c] = which ? v[c] : u[c];
		else if (!cut || a > b)
			rgba[c] = which == 2 ? (2 * u[c] + v[c]) / 3 : (u[c] + 2 * v[c]) / 3;
		else
			rgba[c] = which == 2 ? (u[c] + v[c]) / 2 : 0;
	}
	if (cut && a <= b && which == 3)
		rgba[3] = 0;
}

/* One channel of BC3 to BC5: two end points and six or four values between them */
static inline f32 block_channel(const u8 *p, unsigned k, bool sign)
{
	u64 bits = 0;
	u32 which;
	f32 a, b;

	memcpy(&bits, p + 2, 6);
	which = (u32)(bits >> 3 * k & 7);
	if (sign) {
		a = fmaxf((f32)(s8)p[0] / 127, -1);
		b = fmaxf((f32)(s8)p[1] / 127, -1);
	} else {
		a = (f32)p[0] / 255;
		b = (f32)p[1] / 255;
	}
	if (which < 2)
		return which ? b : a;
	if (sign ? (s8)p[0] > (s8)p[1] : p[0] > p[1])
		return ((f32)(8 - which) * a + (f32)(which - 1) * b) / 7;
	if (which > 5)
		return which == 7 ? 1 : sign ? -1 : 0;
	return ((f32)(6 - which) * a + (f32)(which - 1) * b) / 5;
}

static inline void block_read(const struct mp_exec_texture *t, const struct mp_exec_level *v, int x, int y, int z,
			      struct texel *r)
{
	u32 bytes = t->block == 1 || t->block == 4 ? 8 : 16;
	const u8 *p = (const u8 *)(uintptr_t)v->base + (u64)z * v->slice + (u64)(y / 4) * v->pitch +
		      (u64)(x / 4) * bytes;
	unsigned k = (unsigned)(y % 4 * 4 + x % 4);
	int c;

	r->f[0] = r->f[1] = r->f[2] = 0;
	r->f[3] = 1;
	switch (t->block) {
	case 1: block_colour(p, k, true, r->f); break;
	case 2:
		block_colour(p + 8, k, false, r->f);
		r->f[3] = (f32)(p[k / 2] >> (k % 2 * 4) & 15) / 15;
		break;
	case 3:
		block_colour(p + 8, k, false, r->f);
		r->f[3] = block_channel(p, k, false);
		break;
	case 5: r->f[1] = block_channel(p + 8, k, t->kind == 1); /* fall through */
	case 4: r->f[0] = block_channel(p, k, t->kind == 1);
	}
	for (c = 0; c < 4; c++) {
		if (t->srgb && c < 3)
			r->f[c] = srgb_linear(r->f[c]);
		r->i[c] = f32_bits(r->f[c]);
	}
}

/* Component c of a texel as it lies in memory; signed ones are extended */
static inline u32 texel_raw(const struct mp_exec_texture *t, const char *p, int c)
{
	u32 v;

	switch (t->bits) {
	case 8: v = ((const u8 *)p)[c]; return t->kind == 1 ? (u32)(s32)(s8)v : v;
	case 16: v = ((const u16 *)p)[c]; return t->kind == 1 ? (u32)(s32)(s16)v : v;
	case 10: memcpy(&v, p, 4); return c == 3 ? v >> 30 : v >> 10 * c & 1023;
	default: memcpy(&v, p + 4 * c, 4); return v;
	}
}

static inline void texel_read(const struct mp_exec_texture *t, const struct mp_exec_level *v, int x, int y, int z,
			      struct texel *r)
{
	const char *p;
	int c;

	if (x < 0 || y < 0 || z < 0) {
		for (c = 0; c < 4; c++) {
			r->f[c] = t->border[c];
			r->i[c] = t->read_normalized || t->kind == 2 || t->block ? f32_bits(t->border[c])
										 : (u32)(s32)t->border[c];
		}
		return;
	}
	if (t->block) {
		block_read(t, v, x, y, z, r);
		return;
	}
	p = (const char *)(uintptr_t)v->base + (u64)z * v->slice + (u64)y * v->pitch + (u64)x * texel_bytes(t);
	for (c = 0; c < t->channels; c++) {
		u32 raw = texel_raw(t, p, c);

		if (t->kind == 2) {
			r->f[c] = t->bits == 16 ? f16_f32((u16)raw) : bits_f32(raw);
			r->i[c] = f32_bits(r->f[c]);
		} else if (t->read_normalized && t->bits < 32) {
			u32 bits = t->bits == 10 && c == 3 ? 2 : t->bits;
			f32 top = (f32)((1u << (bits - (t->kind == 1))) - 1);

			r->f[c] = t->kind == 1 ? fmaxf((f32)(s32)raw / top, -1.0f) : (f32)raw / top;
			if (t->srgb && c < 3)
				r->f[c] = srgb_linear(r->f[c]);
			r->i[c] = f32_bits(r->f[c]);
		} else {
			r->f[c] = t->kind == 1 ? (f32)(s32)raw : (f32)raw;
			r->i[c] = raw;
		}
	}
	for (; c < 4; c++)
		r->f[c] = 0, r->i[c] = 0;
}

#endif
