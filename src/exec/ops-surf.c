/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surfaces (9.7.11) and questions about textures and surfaces (9.7.10.5,
 * 9.7.11.4): suld, sust, sured, suq, txq, istypep.
 *
 * a = object; ext and x: see tex.h; n elements of `size` bytes.
 */
#include "exec/ops.h"
#include "exec/texel.h"

OPS_FILE(surface);

/*
 * Where one lane's access is; NULL: outside, and nothing is to be done there.  x
 * counts bytes, or samples; need = bytes of the access.
 */
static inline char *place(struct warp *w, const struct op *o, int l, const struct mp_exec_texture *t, u64 need)
{
	const struct mp_exec_level *v = &t->levels[0];
	u32 g = o->ext[TEX_LAYOUT], dims = g & TEX_DIMS, rule = o->x & SURF_OUTSIDE, i;
	s64 at[3] = {0, 0, 0}, top[3], layer = 0;
	u64 bytes = (u64)v->width * texel_bytes(t), texel = texel_bytes(t);
	int n = TEX_AT;
	bool bad = false;

	if (g & TEX_LAYERED) {
		layer = coord(w, o, n++, l);
		if (layer >= t->layers)
			bad = true, layer = t->layers - 1;
	}
	for (i = 0; i < dims; i++)
		at[i] = (s32)coord(w, o, n + (int)i, l);
	if (o->x & SURF_SAMPLES)
		at[0] *= (s64)texel;
	top[0] = (s64)bytes - (s64)need, top[1] = (s64)v->height - 1, top[2] = (s64)v->depth - 1;
	if (top[0] < 0)
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, (u64)at[0]);
	for (i = 0; i < dims; i++)
		if (at[i] < 0 || at[i] > top[i])
			bad = true, at[i] = at[i] < 0 ? 0 : top[i];
	if (bad && rule == SURF_TRAP)
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, (u64)at[0]);
	if (bad && rule == SURF_ZERO)
		return NULL;
	if (!(o->x & SURF_SAMPLES) && (u64)at[0] & (need - 1))
		warp_fault(w, (u32)l, MP_EXEC_MISALIGNED, (u64)at[0]);
	return (char *)(uintptr_t)v->base + (u64)(dims > 2 ? at[2] : layer) * v->slice + (u64)at[1] * v->pitch +
	       (u64)at[0];
}

static inline const struct mp_exec_texture *surface_of(struct warp *w, int l, u64 handle, struct objects *last)
{
	const struct mp_exec_texture *t = object_of(w, l, handle, last);

	if (!t->surface)
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, handle);
	return t;
}

HANDLER("suld")
{
	const u64 *handle = slot(w, o->a);
	const char *p[LANES];
	struct objects last = {0, NULL};

	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			p[l] = place(w, o, l, surface_of(w, l, handle[l], &last), (u64)o->n * o->size);
	for (int l = 0; l < LANES; l++)
		for (int k = 0; (w->mask >> l & 1) && k < o->n; k++) {
			u64 v = 0;

			if (p[l])
				memcpy(&v, p[l] + k * o->size, o->size);
			if (o->ext[TEX_DATA + k] == SLOT_NONE)
				continue;
			if (o->ext[TEX_WIDTH] == 2)
				((u16 *)slot(w, o->ext[TEX_DATA + k]))[l] = (u16)v;
			else if (o->ext[TEX_WIDTH] == 4)
				((u32 *)slot(w, o->ext[TEX_DATA + k]))[l] = (u32)v;
			else
				((u64 *)slot(w, o->ext[TEX_DATA + k]))[l] = v;
		}
}

static inline u64 data_of(struct warp *w, const struct op *o, int k, int l)
{
	const void *s = slot(w, o->ext[TEX_DATA + k]);

	return o->ext[TEX_WIDTH] == 2   ? ((const u16 *)s)[l]
	       : o->ext[TEX_WIDTH] == 4 ? ((const u32 *)s)[l]
					: ((const u64 *)s)[l];
}

HANDLER("sust")
{
	const u64 *handle = slot(w, o->a);
	struct objects last = {0, NULL};

	for (int l = 0; l < LANES; l++) {
		char *p;

		if (!(w->mask >> l & 1))
			continue;
		p = place(w, o, l, surface_of(w, l, handle[l], &last), (u64)o->n * o->size);
		for (int k = 0; p && k < o->n; k++) {
			u64 v = data_of(w, o, k, l);

			memcpy(p + k * o->size, &v, o->size);
		}
	}
}

/* A 32-bit value as a component of the surface's format (sust.p) */
static inline u32 component(const struct mp_exec_texture *t, u32 v)
{
	if (t->kind == 2)
		return t->bits == 16 ? f32_f16(bits_f32(v)) : v;
	if (t->read_normalized) { /* UNORM and SNORM formats */
		f32 x = bits_f32(v), top = (f32)((1u << (t->bits - (t->kind == 1))) - 1);

		x = x != x ? 0 : fminf(fmaxf(x, t->kind == 1 ? -1 : 0), 1);
		return (u32)(s32)rintf(x * top);
	}
	return v;
}

HANDLER("sust.p")
{
	const u64 *handle = slot(w, o->a);
	struct objects last = {0, NULL};

	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;
		char *p;

		if (!(w->mask >> l & 1))
			continue;
		t = surface_of(w, l, handle[l], &last);
		p = place(w, o, l, t, texel_bytes(t));
		for (int k = 0; p && k < o->n && k < t->channels; k++) {
			u32 v = component(t, (u32)data_of(w, o, k, l));

			memcpy(p + k * (t->bits / 8), &v, t->bits / 8);
		}
	}
}

/* sured (9.7.11.3): as red on memory. sured.p takes its sign from the surface. */
#define SURED(name, U, expr)                                                                                           \
	HANDLER("sured." name)                                                                                         \
	{                                                                                                              \
		const u64 *handle = slot(w, o->a);                                                                     \
		const U *c = slot(w, o->ext[TEX_DATA]);                                                                \
		struct objects last = {0, NULL};                                                                       \
		for (int l = 0; l < LANES; l++) {                                                                      \
			const struct mp_exec_texture *t;                                                               \
			U *p, v, x, now;                                                                               \
			bool s = o->size;                                                                              \
			if (!(w->mask >> l & 1))                                                                       \
				continue;                                                                              \
			t = surface_of(w, l, handle[l], &last);                                                        \
			if (o->x & SURF_SAMPLES)                                                                       \
				s = t->kind == 1;                                                                      \
			p = (U *)(void *)place(w, o, l, t, sizeof(U));                                                 \
			if (!p)                                                                                        \
				continue;                                                                              \
			x = c[l];                                                                                      \
			v = __atomic_load_n(p, __ATOMIC_RELAXED);                                                      \
			do                                                                                             \
				now = (U)(expr);                                                                       \
			while (!__atomic_compare_exchange_n(p, &v, now, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));   \
			(void)s;                                                                                       \
		}                                                                                                      \
	}
SURED("add.32", u32, v + x)
SURED("min.32", u32, (s ? (s32)x < (s32)v : x < v) ? x : v)
SURED("max.32", u32, (s ? (s32)x > (s32)v : x > v) ? x : v)
SURED("and.32", u32, v & x)
SURED("or.32", u32, v | x)
SURED("add.64", u64, v + x)
SURED("min.64", u64, (s ? (s64)x < (s64)v : x < v) ? x : v)
SURED("max.64", u64, (s ? (s64)x > (s64)v : x > v) ? x : v)

/* ---- Questions ---- */

/* The constants of table 5.3.2, which are OpenCL's. */
static inline u32 channel_type(const struct mp_exec_texture *t)
{
	if (t->bits == 10)
		return 0x10d6;
	if (t->kind == 2)
		return t->bits == 16 ? 0x10dd : 0x10de;
	if (t->read_normalized && t->bits < 32)
		return (t->kind == 1 ? 0x10d0 : 0x10d2) + (t->bits == 16);
	return (t->kind == 1 ? 0x10d7 : 0x10da) + (t->bits == 16 ? 1 : t->bits == 32 ? 2 : 0);
}

static inline u32 answer(const struct mp_exec_texture *t, u32 what, u32 lod)
{
	const struct mp_exec_level *v = &t->levels[lod < t->nlevels ? lod : t->nlevels - 1];

	switch (what) {
	case TXQ_WIDTH: return v->width;
	case TXQ_HEIGHT: return v->height;
	case TXQ_DEPTH: return v->depth;
	case TXQ_ARRAY_SIZE: return t->layered ? t->layers : 0;
	case TXQ_CHANNEL_TYPE: return channel_type(t);
	case TXQ_CHANNEL_ORDER: return t->channels == 1 ? 0x10b0 : t->channels == 2 ? 0x10b2 : 0x10b5;
	case TXQ_NORMALIZED: return t->normalized_coords;
	case TXQ_LEVELS: return t->nlevels;
	case TXQ_FORCE_UNNORMAL: return !t->normalized_coords;
	}
	return 0; /* no multisampled textures; no linear surfaces */
}

HANDLER("txq")
{
	const u64 *handle = slot(w, o->a);
	const u32 *lod = o->x & TXQ_LEVEL ? slot(w, o->b) : NULL;
	u32 *d = slot(w, o->d);
	struct objects last = {0, NULL};

	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			d[l] = answer(object_of(w, l, handle[l], &last), o->x & (TXQ_LEVEL - 1), lod ? lod[l] : 0);
}

/* istypep (9.7.10.6): x: 1 = .texref, 2 = .surfref; nothing is a .samplerref here */
HANDLER("istypep")
{
	const struct mp_exec_space *s = w->cta->grid->space;
	const u64 *handle = slot(w, o->a);
	u32 yes = 0;

	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;

		if (!(w->mask >> l & 1))
			continue;
		t = s->texture ? s->texture(s->arg, handle[l]) : NULL;
		if (t && o->x == (t->surface ? 2u : 1u))
			yes |= 1u << l;
	}
	pred_write(w, o->d, yes);
}
