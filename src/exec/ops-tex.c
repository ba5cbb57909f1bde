/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Textures and surfaces (9.7.10, 9.7.11).  Filtering is what the CUDA
 * programming guide's appendix on texture fetching says: weights have 8
 * fractional bits; texel centres lie at halves.
 *
 * a = object; ext[0] = number of coordinates, ext[1] = layout (see tex.h),
 * ext[2] = dtype, ext[3..6] destinations, ext[7..] coordinates, then the level
 * of detail or -; x: 1 integer coordinates, 2 .level, 4 gather's component << 4.
 */
#include "exec/half.h"
#include "exec/tex.h"

OPS_FILE(texture);

struct texel {
	f32 f[4];
	u32 i[4]; /* as the texture's integers, extended to 32 bits */
};

static inline const struct mp_exec_texture *object_of(struct warp *w, int l, u64 handle)
{
	const struct mp_exec_space *s = w->cta->grid->space;
	const struct mp_exec_texture *t = s->texture ? s->texture(s->arg, handle) : NULL;

	if (!t)
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, handle);
	return t;
}

/* One address mode on an index; -1 = the border */
static inline int wrap_index(s64 i, u32 n, u8 mode)
{
	s64 m;

	if (i >= 0 && i < (s64)n)
		return (int)i;
	switch (mode) {
	case 0: m = i % (s64)n; return (int)(m < 0 ? m + n : m);
	case 2:
		m = i % (2 * (s64)n);
		if (m < 0)
			m += 2 * (s64)n;
		return (int)(m < (s64)n ? m : 2 * (s64)n - 1 - m);
	case 3: return -1;
	default: return i < 0 ? 0 : (int)n - 1;
	}
}

static inline void texel_read(const struct mp_exec_texture *t, const struct mp_exec_level *v, int x, int y, int z,
			      struct texel *r)
{
	const char *p;
	int c;

	memset(r, 0, sizeof(*r));
	if (x < 0 || y < 0 || z < 0) {
		for (c = 0; c < 4; c++) {
			r->f[c] = t->border[c];
			r->i[c] = t->read_normalized || t->kind == 2 ? f32_bits(t->border[c]) : (u32)(s32)t->border[c];
		}
		return;
	}
	p = (const char *)(uintptr_t)v->base + (u64)z * v->slice + (u64)y * v->pitch +
	    (u64)x * t->channels * (t->bits / 8);
	for (c = 0; c < t->channels; c++) {
		u32 raw = t->bits == 8 ? ((const u8 *)p)[c] : t->bits == 16 ? ((const u16 *)p)[c] : ((const u32 *)p)[c];

		if (t->kind == 2) {
			r->f[c] = t->bits == 16 ? f16_f32((u16)raw) : bits_f32(raw);
			r->i[c] = f32_bits(r->f[c]);
			continue;
		}
		if (t->kind == 1)
			raw = t->bits == 8 ? (u32)(s32)(s8)raw : t->bits == 16 ? (u32)(s32)(s16)raw : raw;
		r->i[c] = raw;
		if (t->read_normalized && t->bits < 32) {
			f32 top = (f32)((1u << (t->bits - (t->kind == 1))) - 1);

			r->f[c] = t->kind == 1 ? fmaxf((f32)(s32)raw / top, -1.0f) : (f32)raw / top;
			r->i[c] = f32_bits(r->f[c]);
		} else {
			r->f[c] = t->kind == 1 ? (f32)(s32)raw : (f32)raw;
		}
	}
}

/* A coordinate in texels, and mirrored or wrapped first when it is normalised */
static inline f32 unnormal(const struct mp_exec_texture *t, f32 x, u32 n, int axis)
{
	if (!t->normalized_coords)
		return x;
	if (t->address[axis] == 0) {
		x -= floorf(x);
	} else if (t->address[axis] == 2) {
		f32 k = floorf(x);

		x -= k;
		if ((s64)k & 1)
			x = 1 - x;
	}
	return x * (f32)n;
}

static inline s64 floor64(f32 x)
{
	f32 f = floorf(x);

	return f != f ? 0 : f > 1e9f ? 1000000000 : f < -1e9f ? -1000000000 : (s64)f;
}

/* wrap and mirror mean clamp unless coordinates are normalised */
static inline u8 mode_of(const struct mp_exec_texture *t, int axis)
{
	u8 m = t->address[axis];

	return !t->normalized_coords && (m == 0 || m == 2) ? 1 : m;
}

static inline void sample_level(const struct mp_exec_texture *t, const struct mp_exec_level *v, int dims,
				const f32 *xyz, int layer, struct texel *r)
{
	u32 n[3] = {v->width, v->height, v->depth};
	s64 at[3] = {0, 0, 0};
	f32 weight[3] = {0, 0, 0};
	int i, k, c, corners;

	for (i = 0; i < dims; i++) {
		f32 x = unnormal(t, xyz[i], n[i], i);

		if (t->linear) {
			x -= 0.5f;
			at[i] = floor64(x);
			weight[i] = rintf((x - floorf(x)) * 256) / 256;
		} else {
			at[i] = floor64(x);
		}
	}
	if (!t->linear) {
		texel_read(t, v, wrap_index(at[0], n[0], mode_of(t, 0)),
			   dims > 1 ? wrap_index(at[1], n[1], mode_of(t, 1)) : 0,
			   dims > 2 ? wrap_index(at[2], n[2], mode_of(t, 2)) : layer, r);
		return;
	}
	memset(r, 0, sizeof(*r));
	corners = 1 << dims;
	for (k = 0; k < corners; k++) {
		f32 q = 1;
		int p[3] = {0, 0, layer};
		struct texel e;

		for (i = 0; i < dims; i++) {
			q *= k >> i & 1 ? weight[i] : 1 - weight[i];
			p[i] = wrap_index(at[i] + (k >> i & 1), n[i], mode_of(t, i));
		}
		if (q == 0)
			continue;
		texel_read(t, v, p[0], p[1], p[2], &e);
		for (c = 0; c < 4; c++)
			r->f[c] += q * e.f[c];
	}
	for (c = 0; c < 4; c++)
		r->i[c] = f32_bits(r->f[c]);
}

/* The face of a cube and the place on it (9.7.10.3): the largest axis decides */
static inline int cube_face(const f32 *d, f32 *st)
{
	f32 ax = fabsf(d[0]), ay = fabsf(d[1]), az = fabsf(d[2]), m, s, u;
	int face;

	if (ax >= ay && ax >= az) {
		face = d[0] < 0, m = ax, s = d[0] < 0 ? d[2] : -d[2], u = -d[1];
	} else if (ay >= az) {
		face = 2 + (d[1] < 0), m = ay, s = d[0], u = d[1] < 0 ? -d[2] : d[2];
	} else {
		face = 4 + (d[2] < 0), m = az, s = d[2] < 0 ? -d[0] : d[0], u = -d[1];
	}
	st[0] = (s / m + 1) / 2;
	st[1] = (u / m + 1) / 2;
	return face;
}

static inline u32 coord(struct warp *w, const struct op *o, int i, int l)
{
	return ((const u32 *)slot(w, o->ext[7 + i]))[l];
}

/* The parts of a fetch that all kinds share: layer first, then up to three coordinates */
static inline void coords_take(struct warp *w, const struct op *o, int l, const struct mp_exec_texture *t, f32 *xyz,
			       s64 *ixyz, int *layer, int *dims)
{
	u32 g = o->ext[1];
	int i = 0, k;

	*layer = 0;
	if (g & TEX_LAYERED) {
		s64 n = (s64)t->layers / (g & TEX_CUBE ? 6 : 1), v = (s32)coord(w, o, i++, l);

		*layer = (int)(v < 0 ? 0 : v >= n ? n - 1 : v);
	}
	*dims = (int)(g & TEX_DIMS);
	for (k = 0; k < *dims; k++, i++) {
		xyz[k] = bits_f32(coord(w, o, i, l));
		ixyz[k] = (s32)coord(w, o, i, l);
	}
	if (g & TEX_CUBE) {
		f32 st[2];
		int face = cube_face(xyz, st);

		xyz[0] = st[0], xyz[1] = st[1];
		*layer = *layer * 6 + face;
		*dims = 2;
	}
}

static inline void result_write(struct warp *w, const struct op *o, int l, const struct texel *r)
{
	for (int c = 0; c < 4; c++)
		if (o->ext[3 + c] != SLOT_NONE)
			((u32 *)slot(w, o->ext[3 + c]))[l] = r->i[c];
}

HANDLER("tex")
{
	const u64 *handle = slot(w, o->a);
	struct texel out[LANES];

	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;
		int layer, dims;
		f32 xyz[3] = {0}, lod = 0;
		s64 at[3] = {0};

		if (!(w->mask >> l & 1))
			continue;
		t = object_of(w, l, handle[l]);
		coords_take(w, o, l, t, xyz, at, &layer, &dims);
		if (o->x & 2)
			lod = bits_f32(coord(w, o, (int)o->ext[0], l));
		if (o->x & 1) { /* integers: the texel itself; outside is zero or the edge */
			u32 level = o->x & 2 ? (u32)(s32)coord(w, o, (int)o->ext[0], l) : 0;
			const struct mp_exec_level *v = &t->levels[level < t->nlevels ? level : t->nlevels - 1];
			u32 n[3] = {v->width, v->height, v->depth};
			int p[3] = {0, 0, layer};

			for (int i = 0; i < dims; i++)
				p[i] = wrap_index(at[i], n[i], mode_of(t, i) == 3 ? 3 : 1);
			texel_read(t, v, p[0], p[1], p[2], &out[l]);
			continue;
		}
		lod += t->mip_bias;
		if (t->nlevels > 1) {
			f32 top = fminf(t->mip_max, (f32)(t->nlevels - 1));

			lod = lod != lod ? 0 : fminf(fmaxf(lod, t->mip_min), top);
			if (!t->mip_linear) {
				sample_level(t, &t->levels[(int)floorf(lod + 0.5f)], dims, xyz, layer, &out[l]);
			} else {
				int low = (int)floorf(lod);
				f32 q = rintf((lod - floorf(lod)) * 256) / 256;
				struct texel b;

				sample_level(t, &t->levels[low], dims, xyz, layer, &out[l]);
				if (q > 0) {
					sample_level(t, &t->levels[low + 1], dims, xyz, layer, &b);
					for (int c = 0; c < 4; c++) {
						out[l].f[c] = out[l].f[c] * (1 - q) + b.f[c] * q;
						out[l].i[c] = f32_bits(out[l].f[c]);
					}
				}
			}
		} else {
			sample_level(t, &t->levels[0], dims, xyz, layer, &out[l]);
		}
	}
	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			result_write(w, o, l, &out[l]);
}

/* tld4 (9.7.10.4): one component of the four texels that bilinear filtering would use */
HANDLER("tld4")
{
	const u64 *handle = slot(w, o->a);
	u32 out[LANES][4];
	int comp = (int)(o->x >> 4 & 3);

	for (int l = 0; l < LANES; l++) {
		static const int dx[4] = {0, 1, 1, 0}, dy[4] = {1, 1, 0, 0};
		const struct mp_exec_texture *t;
		int layer, dims;
		f32 xyz[3] = {0};
		s64 at[3] = {0};

		if (!(w->mask >> l & 1))
			continue;
		t = object_of(w, l, handle[l]);
		coords_take(w, o, l, t, xyz, at, &layer, &dims);
		for (int k = 0; k < 4; k++) {
			const struct mp_exec_level *v = &t->levels[0];
			struct texel e;

			at[0] = floor64(unnormal(t, xyz[0], v->width, 0) - 0.5f) + dx[k];
			at[1] = floor64(unnormal(t, xyz[1], v->height, 1) - 0.5f) + dy[k];
			texel_read(t, v, wrap_index(at[0], v->width, mode_of(t, 0)),
				   wrap_index(at[1], v->height, mode_of(t, 1)), layer, &e);
			out[l][k] = e.i[comp];
		}
	}
	for (int l = 0; l < LANES; l++)
		for (int k = 0; (w->mask >> l & 1) && k < 4; k++)
			if (o->ext[3 + k] != SLOT_NONE)
				((u32 *)slot(w, o->ext[3 + k]))[l] = out[l][k];
}

/*
 * suld.b, sust.b (9.7.11): x counts bytes; n elements of size bytes; x bits 4..5:
 * outside is 0 a fault, 1 the edge, 2 zero and no store.
 */
static inline char *surface_place(struct warp *w, const struct op *o, int l, const struct mp_exec_texture *t)
{
	const struct mp_exec_level *v = &t->levels[0];
	int layer, dims, bad = 0;
	f32 xyz[3];
	s64 at[3] = {0};
	u64 bytes = (u64)v->width * t->channels * (t->bits / 8), need = (u64)o->n * o->size;

	coords_take(w, o, l, t, xyz, at, &layer, &dims);
	if (at[0] < 0 || (u64)at[0] + need > bytes)
		bad = 1, at[0] = at[0] < 0 || bytes < need ? 0 : (s64)(bytes - need);
	if (dims > 1 && (at[1] < 0 || at[1] >= v->height))
		bad = 1, at[1] = at[1] < 0 ? 0 : v->height - 1;
	if (dims > 2 && (at[2] < 0 || at[2] >= v->depth))
		bad = 1, at[2] = at[2] < 0 ? 0 : v->depth - 1;
	if ((u64)at[0] & (need - 1))
		warp_fault(w, (u32)l, MP_EXEC_MISALIGNED, (u64)at[0]);
	if (bad && !(o->x >> 4 & 3))
		warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, (u64)at[0]);
	if (bad && ((o->x >> 4 & 3) == 2 || bytes < need))
		return NULL;
	return (char *)(uintptr_t)v->base + (u64)(dims > 2 ? at[2] : layer) * v->slice + (u64)at[1] * v->pitch +
	       (u64)at[0];
}

HANDLER("suld")
{
	const u64 *handle = slot(w, o->a);
	const char *p[LANES];

	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			p[l] = surface_place(w, o, l, object_of(w, l, handle[l]));
	for (int l = 0; l < LANES; l++)
		for (int k = 0; (w->mask >> l & 1) && k < o->n; k++) {
			u64 v = 0;

			if (p[l])
				memcpy(&v, p[l] + k * o->size, o->size);
			if (o->ext[3 + k] == SLOT_NONE)
				continue;
			if (o->ext[2] == 2)
				((u16 *)slot(w, o->ext[3 + k]))[l] = (u16)v;
			else if (o->ext[2] == 4)
				((u32 *)slot(w, o->ext[3 + k]))[l] = (u32)v;
			else
				((u64 *)slot(w, o->ext[3 + k]))[l] = v;
		}
}

HANDLER("sust")
{
	const u64 *handle = slot(w, o->a);

	for (int l = 0; l < LANES; l++) {
		char *p;

		if (!(w->mask >> l & 1))
			continue;
		p = surface_place(w, o, l, object_of(w, l, handle[l]));
		for (int k = 0; p && k < o->n; k++) {
			const void *s = slot(w, o->ext[3 + k]);
			u64 v = o->ext[2] == 2 ? ((const u16 *)s)[l] : o->ext[2] == 4 ? ((const u32 *)s)[l] : ((const u64 *)s)[l];

			memcpy(p + k * o->size, &v, o->size);
		}
	}
}

/* txq, suq (9.7.10.5, 9.7.11.5): x = what, as tex.h numbers it */
HANDLER("txq")
{
	const u64 *handle = slot(w, o->a);
	u32 *d = slot(w, o->d);

	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;

		if (!(w->mask >> l & 1))
			continue;
		t = object_of(w, l, handle[l]);
		d[l] = o->x == 0 ? t->levels[0].width : o->x == 1 ? t->levels[0].height :
		       o->x == 2 ? t->levels[0].depth : t->layers;
	}
}
