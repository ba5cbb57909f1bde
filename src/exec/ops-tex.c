/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texture fetches (9.7.10).  Filtering is what the CUDA programming guide's
 * appendix on texture fetching says: weights have 8 fractional bits; texel
 * centres lie at halves.  Anisotropy is ignored, as a device may.
 *
 * a = object, or SLOT_NONE and imm = the object; ext and x: see tex.h.
 */
#include "exec/ops.h"
#include "exec/texel.h"

OPS_FILE(texture);

/* Where one lane fetches. */
struct spot {
	f32 f[3]; /* coordinates; of a cube: the place on the face */
	s64 i[3]; /* the same as integers */
	s32 shift[3];
	int dims, layer, face; /* face: -1, or of a cube; layer counts faces then */
};

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
		if (fmodf(k, 2) != 0)
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

/* ---- Cubes (9.7.10.3): the largest axis decides the face ---- */

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

/* The other way: the direction of a place on a face, which may lie beyond its edge */
static inline void cube_direction(int face, f32 s, f32 u, f32 *d)
{
	f32 a = 2 * s - 1, b = 2 * u - 1, sign = face & 1 ? -1.0f : 1.0f;

	if (face < 2)
		d[0] = sign, d[1] = -b, d[2] = -sign * a;
	else if (face < 4)
		d[0] = a, d[1] = sign, d[2] = sign * b;
	else
		d[0] = sign * a, d[1] = -b, d[2] = sign;
}

/* A texel of a face, or of the neighbour that it lies on; false at a corner, where there is none */
static inline bool cube_texel(const struct mp_exec_texture *t, const struct mp_exec_level *v, const struct spot *p,
			      s64 x, s64 y, struct texel *r)
{
	s64 n = v->width;
	bool ox = x < 0 || x >= n, oy = y < 0 || y >= n;
	int layer = p->layer;
	f32 d[3], st[2];

	if (ox && oy)
		return false;
	if (ox || oy) {
		cube_direction(p->face, ((f32)x + 0.5f) / (f32)n, ((f32)y + 0.5f) / (f32)n, d);
		layer += cube_face(d, st) - p->face;
		x = floor64(st[0] * (f32)n);
		y = floor64(st[1] * (f32)n);
	}
	texel_read(t, v, wrap_index(x, v->width, 1), wrap_index(y, v->height, 1), layer, r);
	return true;
}

/* ---- One level ---- */

static inline void sample_cube(const struct mp_exec_texture *t, const struct mp_exec_level *v, const struct spot *p,
			       const f32 *weight, struct texel *r)
{
	s64 at[2] = {floor64(unnormal(t, p->f[0], v->width, 0) - 0.5f), floor64(unnormal(t, p->f[1], v->height, 1) - 0.5f)};
	struct texel e[4];
	bool there[4];
	int k, c, j;

	for (k = 0; k < 4; k++)
		there[k] = cube_texel(t, v, p, at[0] + (k & 1), at[1] + (k >> 1), &e[k]);
	for (c = 0; c < 4; c++) {
		r->f[c] = 0;
		for (k = 0; k < 4; k++) {
			f32 q = (k & 1 ? weight[0] : 1 - weight[0]) * (k >> 1 ? weight[1] : 1 - weight[1]), x = e[k].f[c];

			if (!there[k]) /* the mean of the three that meet there */
				for (x = 0, j = 0; j < 4; j++)
					x += j == k ? 0 : e[j].f[c] / 3;
			r->f[c] += q * x;
		}
		r->i[c] = f32_bits(r->f[c]);
	}
}

/* Where a coordinate falls: the texel, or with `linear` the two around it and the second one's weight */
static inline void axis_take(const struct mp_exec_texture *t, f32 x, u32 n, int axis, s32 shift, int at[2], f32 *weight)
{
	u8 mode = mode_of(t, axis);
	s64 i;

	x = unnormal(t, x, n, axis);
	if (!t->linear) {
		at[0] = wrap_index(floor64(x) + shift, n, mode);
		return;
	}
	x -= 0.5f;
	*weight = rintf((x - floorf(x)) * 256) / 256;
	i = floor64(x) + shift;
	at[0] = wrap_index(i, n, mode);
	at[1] = wrap_index(i + 1, n, mode);
}

static inline void sample_level(const struct mp_exec_texture *t, const struct mp_exec_level *v,
				const struct spot *s, struct texel *r)
{
	u32 n[3] = {v->width, v->height, v->depth};
	int at[3][2] = {{0, 0}, {0, 0}, {s->layer, s->layer}};
	f32 weight[3] = {0, 0, 0};
	int i, k, c, dims = s->dims, used = 0, corners = 1 << dims;
	bool plain = t->kind == 2 && t->bits == 32 && !t->block; /* its texels can be added as they lie there */
	const f32 *texel[8];
	f32 q[8];

	for (i = 0; i < dims; i++)
		axis_take(t, s->f[i], n[i], i, s->shift[i], at[i], &weight[i]);
	if (!t->linear) {
		texel_read(t, v, at[0][0], at[1][0], at[2][0], r);
		return;
	}
	if (s->face >= 0 && t->seamless) {
		sample_cube(t, v, s, weight, r);
		return;
	}
	memset(r, 0, sizeof(*r));
	for (k = 0; k < corners; k++) {
		int x = at[0][k & 1], y = at[1][k >> 1 & 1], z = at[2][k >> 2];
		struct texel e;
		f32 all = 1;

		for (i = 0; i < dims; i++)
			all *= k >> i & 1 ? weight[i] : 1 - weight[i];
		if (all == 0)
			continue;
		if (plain && (x | y | z) >= 0) {
			q[used] = all;
			texel[used++] = (const f32 *)(uintptr_t)(v->base + (u64)z * v->slice + (u64)y * v->pitch +
								 (u64)x * t->channels * 4);
			continue;
		}
		texel_read(t, v, x, y, z, &e);
		for (c = 0; c < 4; c++)
			r->f[c] += all * e.f[c];
	}
	for (c = 0; c < t->channels; c++)
		for (k = 0; k < used; k++)
			r->f[c] += q[k] * texel[k][c];
	for (c = 0; c < 4; c++)
		r->i[c] = f32_bits(r->f[c]);
}

/* ---- Where ---- */

/* The slot of layer v: an array's index is clamped to what there is */
static inline int layer_of(const struct mp_exec_texture *t, u32 v, bool cube, int face)
{
	u32 each = cube ? 6 : 1, n = t->layers / each, at;

	at = (v < n ? v : n ? n - 1 : 0) * each + (u32)face;
	return (int)(at < t->layers ? at : t->layers - 1);
}

/* The registers that coordinates are in, looked up once for all lanes. */
struct coords {
	const u32 *at[4];
};

static inline void coords_find(struct warp *w, const struct op *o, struct coords *c)
{
	u32 i;

	for (i = 0; i < 4; i++)
		c->at[i] = i < o->ext[TEX_COORDS] ? slot(w, o->ext[TEX_AT + i]) : NULL;
}

static inline void spot_take(struct warp *w, const struct op *o, int l, const struct mp_exec_texture *t,
			     const struct coords *from, struct spot *s)
{
	u32 g = o->ext[TEX_LAYOUT], layer = 0;
	int at = 0, k;

	if (g & TEX_LAYERED)
		layer = from->at[at++][l];
	s->dims = (int)(g & TEX_DIMS);
	for (k = 0; k < 3; k++) {
		u32 v = k < s->dims ? from->at[at + k][l] : 0;

		s->f[k] = bits_f32(v);
		s->i[k] = (s32)v;
		s->shift[k] = k < s->dims && (o->x & TEX_SHIFTED) ? (s32)coord(w, o, TEX_SHIFT + k, l) : 0;
	}
	s->face = -1;
	if (g & TEX_CUBE) {
		f32 st[2];

		s->face = cube_face(s->f, st);
		s->f[0] = st[0], s->f[1] = st[1];
		s->dims = 2;
	}
	s->layer = layer_of(t, layer, g & TEX_CUBE, s->face < 0 ? 0 : s->face);
	if (s->face >= 0)
		s->face = s->layer % 6;
}

/* ---- Levels of detail ---- */

/* log2 of the longer of the two derivatives, in texels of level 0 */
static inline f32 lod_of_gradients(struct warp *w, const struct op *o, int l, const struct mp_exec_texture *t)
{
	const struct mp_exec_level *v = &t->levels[0];
	u32 n[3] = {v->width, v->height, v->depth}, g = o->ext[TEX_LAYOUT];
	int dims = (int)(g & TEX_DIMS), at = TEX_AT + !!(g & TEX_LAYERED), k, e;
	f32 top = 0;

	for (e = 0; e < 2; e++) {
		f32 sum = 0, d[3], there[3], a[2], b[2];

		for (k = 0; k < dims; k++)
			d[k] = bits_f32(coord(w, o, (e ? TEX_DY : TEX_DX) + k, l));
		if (g & TEX_CUBE) { /* how far it goes on the face */
			for (k = 0; k < 3; k++) {
				there[k] = bits_f32(coord(w, o, at + k, l));
				d[k] += there[k];
			}
			if (cube_face(there, a) == cube_face(d, b))
				d[0] = b[0] - a[0], d[1] = b[1] - a[1];
			else
				d[0] = d[1] = 1;
		}
		for (k = 0; k < (g & TEX_CUBE ? 2 : dims); k++) {
			f32 x = d[k] * (t->normalized_coords ? (f32)n[k] : 1);

			sum += x * x;
		}
		top = fmaxf(top, sum);
	}
	return top > 0 ? log2f(top) / 2 : -1000;
}

static inline void sample(const struct mp_exec_texture *t, const struct spot *s, f32 lod, struct texel *r)
{
	struct texel b;
	f32 q;
	int low, c;

	if (t->nlevels == 1) {
		sample_level(t, &t->levels[0], s, r);
		return;
	}
	lod += t->mip_bias;
	lod = lod != lod ? 0 : fminf(fmaxf(lod, t->mip_min), t->mip_max);
	lod = fminf(fmaxf(lod, 0), (f32)(t->nlevels - 1));
	if (!t->mip_linear) {
		low = (int)floorf(lod + 0.5f);
		sample_level(t, &t->levels[low < (int)t->nlevels ? low : (int)t->nlevels - 1], s, r);
		return;
	}
	low = (int)floorf(lod);
	q = rintf((lod - (f32)low) * 256) / 256;
	sample_level(t, &t->levels[low], s, r);
	if (q == 0 || low + 1 >= (int)t->nlevels)
		return;
	sample_level(t, &t->levels[low + 1], s, &b);
	for (c = 0; c < 4; c++) {
		r->f[c] = r->f[c] * (1 - q) + b.f[c] * q;
		r->i[c] = f32_bits(r->f[c]);
	}
}

/* Integers: the texel itself; outside is the border or the edge */
static inline void texel_at(const struct mp_exec_texture *t, const struct spot *s, s32 level, struct texel *r)
{
	const struct mp_exec_level *v = &t->levels[level < 0 ? 0 : level < (s32)t->nlevels ? level : (s32)t->nlevels - 1];
	u32 n[3] = {v->width, v->height, v->depth};
	int p[3] = {0, 0, s->layer};

	for (int i = 0; i < s->dims; i++)
		p[i] = wrap_index(s->i[i] + s->shift[i], n[i], mode_of(t, i) == 3 ? 3 : 1);
	texel_read(t, v, p[0], p[1], p[2], r);
}

/* ---- Handlers ---- */

static inline void results_write(struct warp *w, const struct op *o, const u32 (*out)[4])
{
	int l, c;

	for (l = 0; l < LANES; l++) {
		const u32 *r = out[l];

		if (!(w->mask >> l & 1))
			continue;
		if (o->x & TEX_HALF2) {
			for (c = 0; c < 2; c++)
				if (o->ext[TEX_DATA + c] != SLOT_NONE)
					((u32 *)slot(w, o->ext[TEX_DATA + c]))[l] =
						(u32)f32_f16(bits_f32(r[2 * c])) |
						(u32)f32_f16(bits_f32(r[2 * c + 1])) << 16;
			continue;
		}
		for (c = 0; c < 4; c++) {
			if (o->ext[TEX_DATA + c] == SLOT_NONE)
				continue;
			if (o->x & TEX_HALF)
				((u16 *)slot(w, o->ext[TEX_DATA + c]))[l] = f32_f16(bits_f32(r[c]));
			else
				((u32 *)slot(w, o->ext[TEX_DATA + c]))[l] = r[c];
		}
	}
	if (o->ext[TEX_RESIDENT] != SLOT_NONE) /* all memory of all textures is resident */
		pred_write(w, o->ext[TEX_RESIDENT], FULL);
}

HANDLER("tex")
{
	const u64 *handle = slot(w, o->a);
	u32 out[LANES][4];
	struct objects last = {0, NULL};
	struct coords from;

	coords_find(w, o, &from);
	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;
		struct texel r;
		struct spot s;
		f32 lod = 0;

		if (!(w->mask >> l & 1))
			continue;
		t = object_of(w, l, handle[l], &last);
		spot_take(w, o, l, t, &from, &s);
		if (o->x & TEX_INTEGER) {
			texel_at(t, &s, o->x & TEX_LEVEL ? (s32)coord(w, o, TEX_LOD, l) : 0, &r);
		} else {
			if (o->x & TEX_LEVEL)
				lod = bits_f32(coord(w, o, TEX_LOD, l));
			else if (o->x & TEX_GRAD)
				lod = lod_of_gradients(w, o, l, t);
			sample(t, &s, lod, &r);
		}
		memcpy(out[l], r.i, sizeof(r.i));
	}
	results_write(w, o, (const u32(*)[4])out);
}

/* tld4 (9.7.10.4): one component of the four texels that bilinear filtering would use */
HANDLER("tld4")
{
	static const int dx[4] = {0, 1, 1, 0}, dy[4] = {1, 1, 0, 0};
	const u64 *handle = slot(w, o->a);
	u32 out[LANES][4];
	int comp = (int)(o->x >> 8 & 3);
	struct objects last = {0, NULL};
	struct coords from;

	coords_find(w, o, &from);
	for (int l = 0; l < LANES; l++) {
		const struct mp_exec_texture *t;
		const struct mp_exec_level *v;
		struct spot s;
		s64 x, y;

		if (!(w->mask >> l & 1))
			continue;
		t = object_of(w, l, handle[l], &last);
		spot_take(w, o, l, t, &from, &s);
		v = &t->levels[0];
		x = floor64(unnormal(t, s.f[0], v->width, 0) - 0.5f) + s.shift[0];
		y = floor64(unnormal(t, s.f[1], v->height, 1) - 0.5f) + s.shift[1];
		for (int k = 0; k < 4; k++) {
			struct texel e;

			if (s.face < 0 || !t->seamless || !cube_texel(t, v, &s, x + dx[k], y + dy[k], &e))
				texel_read(t, v, wrap_index(x + dx[k], v->width, s.face < 0 ? mode_of(t, 0) : 1),
					   wrap_index(y + dy[k], v->height, s.face < 0 ? mode_of(t, 1) : 1), s.layer, &e);
			out[l][k] = e.i[comp];
		}
	}
	results_write(w, o, (const u32(*)[4])out);
}
