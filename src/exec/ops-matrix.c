/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrices of a warp (9.7.14): mma.sync and ldmatrix with the layouts that the
 * ISA draws, wmma with one of our own, since its fragments are opaque.
 *
 * Products of the small formats are exact in single precision; sums are made in
 * single precision in the order of k.  Devices sum in an order and with a
 * rounding of their own, which the ISA leaves open.
 *
 * o->ext: see matrix.h.
 */
#include "exec/access.h"
#include "exec/half.h"
#include "exec/matrix.h"

OPS_FILE(matrix);

/* Integers of 8, 4 or 1 bits out of a word */
static inline s32 part(u32 v, int i, u32 type)
{
	switch (type) {
	case MP_PTX_T_S8: return (s8)(v >> i * 8);
	case MP_PTX_T_U8: return (u8)(v >> i * 8);
	case MP_PTX_T_S4: return (s32)(v << (28 - i * 4)) >> 28;
	case MP_PTX_T_U4: return (s32)(v >> i * 4 & 15);
	default: return (s32)(v >> i & 1);
	}
}

static inline f32 part_float(u32 v, int i, u32 type)
{
	switch (type) {
	case MP_PTX_T_F16: return f16_f32((u16)(v >> i * 16));
	case MP_PTX_T_BF16: return bf16_f32((u16)(v >> i * 16));
	case MP_PTX_T_TF32: return bits_f32(v & 0xffffe000u);
	case MP_PTX_T_E4M3: return (f32)float_decode(v >> i * 8 & 255, fmt_e4m3);
	case MP_PTX_T_E5M2: return (f32)float_decode(v >> i * 8 & 255, fmt_e5m2);
	default: return bits_f32(v);
	}
}

static inline int per_word(u32 type)
{
	switch (type) {
	case MP_PTX_T_F16: case MP_PTX_T_BF16: return 2;
	case MP_PTX_T_S8: case MP_PTX_T_U8: case MP_PTX_T_E4M3: case MP_PTX_T_E5M2: return 4;
	case MP_PTX_T_S4: case MP_PTX_T_U4: return 8;
	case MP_PTX_T_B1: return 32;
	default: return 1;
	}
}

#define MAX_K 256
#define SLOT(group, i) slot(w, e->slots[e->at[group] + (i)])

/* mma.sync: fragments of 9.7.14.5; lane = 4 * group + thread in group */
HANDLER("mma.float")
{
	const struct matrix_ext *e = o->ref;
	int per = per_word(e->type[MX_A]), rows = e->m, k, r, l, i;
	static const int n = 8;
	f32 a[16][32], b[32][8], c[16][8];

	for (l = 0; l < LANES; l++) {
		int g = l >> 2, t = l & 3;

		for (r = 0; r < e->n_regs[MX_A]; r++)
			for (i = 0; i < per; i++)
				a[g + 8 * (r & 1)][(r >> 1) * 4 * per + t * per + i] =
					part_float(((const u32 *)SLOT(MX_A, r))[l], i, e->type[MX_A]);
		for (r = 0; r < e->n_regs[MX_B]; r++)
			for (i = 0; i < per; i++)
				b[r * 4 * per + t * per + i][g] =
					part_float(((const u32 *)SLOT(MX_B, r))[l], i, e->type[MX_B]);
		if (e->type[MX_C] == MP_PTX_T_F16) {
			for (r = 0; r < e->n_regs[MX_C]; r++)
				for (i = 0; i < 2; i++)
					c[g + 8 * r][t * 2 + i] =
						f16_f32((u16)(((const u32 *)SLOT(MX_C, r))[l] >> i * 16));
		} else {
			for (r = 0; r < e->n_regs[MX_C]; r++)
				c[g + 8 * (r >> 1)][t * 2 + (r & 1)] = ((const f32 *)SLOT(MX_C, r))[l];
		}
	}
	for (i = 0; i < rows; i++)
		for (k = 0; k < e->k; k++)
			for (r = 0; r < n; r++)
				c[i][r] = fmaf(a[i][k], b[k][r], c[i][r]);
	for (l = 0; l < LANES; l++) {
		int g = l >> 2, t = l & 3;

		if (!(w->mask >> l & 1))
			continue;
		if (e->type[MX_D] == MP_PTX_T_F16) {
			for (r = 0; r < e->n_regs[MX_D]; r++)
				((u32 *)SLOT(MX_D, r))[l] = (u32)f32_f16(c[g + 8 * r][t * 2]) |
							    (u32)f32_f16(c[g + 8 * r][t * 2 + 1]) << 16;
		} else {
			for (r = 0; r < e->n_regs[MX_D]; r++) {
				f32 v = c[g + 8 * (r >> 1)][t * 2 + (r & 1)];

				((f32 *)SLOT(MX_D, r))[l] = v == v ? v : bits_f32(0x7fffffffu);
			}
		}
	}
}

HANDLER("mma.double")
{
	const struct matrix_ext *e = o->ref;
	f64 a[16][16], b[16][8], c[16][8];
	int l, r, i, k;

	for (l = 0; l < LANES; l++) {
		int g = l >> 2, t = l & 3;

		for (r = 0; r < e->n_regs[MX_A]; r++) {
			f64 v = ((const f64 *)SLOT(MX_A, r))[l];

			if (e->m == 8)
				a[g][r * 4 + t] = v;
			else
				a[g + 8 * (r & 1)][(r >> 1) * 4 + t] = v;
		}
		for (r = 0; r < e->n_regs[MX_B]; r++)
			b[r * 4 + t][g] = ((const f64 *)SLOT(MX_B, r))[l];
		for (r = 0; r < e->n_regs[MX_C]; r++)
			c[g + 8 * (r >> 1)][t * 2 + (r & 1)] = ((const f64 *)SLOT(MX_C, r))[l];
	}
	for (i = 0; i < e->m; i++)
		for (k = 0; k < e->k; k++)
			for (r = 0; r < 8; r++)
				c[i][r] = fma(a[i][k], b[k][r], c[i][r]);
	for (l = 0; l < LANES; l++)
		for (r = 0; (w->mask >> l & 1) && r < e->n_regs[MX_D]; r++)
			((f64 *)SLOT(MX_D, r))[l] = c[(l >> 2) + 8 * (r >> 1)][(l & 3) * 2 + (r & 1)];
}

static inline s32 clamp_add(s32 c, s64 v, bool sat)
{
	s64 s = (s64)c + v;

	if (sat)
		return s > INT32_MAX ? INT32_MAX : s < INT32_MIN ? INT32_MIN : (s32)s;
	return (s32)(u32)(u64)s;
}

/* s8 u8 s4 u4, and b1 with x = 1 xor.popc, 2 and.popc */
HANDLER("mma.int")
{
	const struct matrix_ext *e = o->ref;
	int per = per_word(e->type[MX_A]), l, r, i, k;
	s16 ua[16][MAX_K], ub[8][MAX_K];
	s32 c[16][8];

	for (l = 0; l < LANES; l++) {
		int g = l >> 2, t = l & 3;

		for (r = 0; r < e->n_regs[MX_A]; r++)
			for (i = 0; i < per; i++) {
				s32 v = part(((const u32 *)SLOT(MX_A, r))[l], i, e->type[MX_A]);

				if (e->m == 8)
					ua[g][r * 4 * per + t * per + i] = (s16)v;
				else
					ua[g + 8 * (r & 1)][(r >> 1) * 4 * per + t * per + i] = (s16)v;
			}
		for (r = 0; r < e->n_regs[MX_B]; r++)
			for (i = 0; i < per; i++)
				ub[g][r * 4 * per + t * per + i] =
					(s16)part(((const u32 *)SLOT(MX_B, r))[l], i, e->type[MX_B]);
		for (r = 0; r < e->n_regs[MX_C]; r++)
			c[g + 8 * (r >> 1)][t * 2 + (r & 1)] = ((const s32 *)SLOT(MX_C, r))[l];
	}
	for (i = 0; i < e->m; i++)
		for (r = 0; r < 8; r++) {
			s64 sum = 0;

			for (k = 0; k < e->k; k++)
				sum += o->x == 1   ? ua[i][k] ^ ub[r][k]
				       : o->x == 2 ? ua[i][k] & ub[r][k]
						   : ua[i][k] * ub[r][k];
			c[i][r] = clamp_add(c[i][r], sum, e->satfinite);
		}
	for (l = 0; l < LANES; l++)
		for (r = 0; (w->mask >> l & 1) && r < e->n_regs[MX_D]; r++)
			((s32 *)SLOT(MX_D, r))[l] = c[(l >> 2) + 8 * (r >> 1)][(l & 3) * 2 + (r & 1)];
}

/* ldmatrix, stmatrix (9.7.14.5.15, 16): lane 8j+r names row r of matrix j */
static void rows(struct warp *w, const struct op *o, u64 *at, bool write)
{
	struct access x;
	u32 all = w->mask, some = o->n == 4 ? FULL : (1u << (8 * o->n)) - 1;
	enum space space = (enum space)o->size;

	if ((all & some) != some)
		warp_fault(w, (u32)__builtin_ctz(all), MP_EXEC_ILLEGAL_INSTRUCTION, 0);
	mask_set(w, some);
	access_prepare(w, o, &x, 16, space, write);
	mask_set(w, all);
	for (int l = 0; l < 8 * o->n; l++)
		at[l] = (u64)(uintptr_t)access_place(&x, l, 16);
}

HANDLER("ldmatrix")
{
	u64 at[LANES];
	u32 out[4][LANES];
	bool trans = o->x & 16;

	rows(w, o, at, false);
	for (int j = 0; j < o->n; j++)
		for (int l = 0; l < LANES; l++) {
			int g = l >> 2, t = l & 3;

			if (trans)
				out[j][l] = ((const u16 *)(uintptr_t)at[8 * j + 2 * t])[g] |
					    (u32)((const u16 *)(uintptr_t)at[8 * j + 2 * t + 1])[g] << 16;
			else
				out[j][l] = ((const u32 *)(uintptr_t)at[8 * j + g])[t];
		}
	for (int j = 0; j < o->n; j++) {
		u32 *d = slot(w, o->ext[3 + j]);

		EACH d[l] = w->mask >> l & 1 ? out[j][l] : d[l];
	}
}

HANDLER("stmatrix")
{
	u64 at[LANES];
	bool trans = o->x & 16;

	rows(w, o, at, true);
	for (int j = 0; j < o->n; j++) {
		const u32 *s = slot(w, o->ext[3 + j]);

		for (int l = 0; l < LANES; l++) {
			int g = l >> 2, t = l & 3;

			if (trans) {
				((u16 *)(uintptr_t)at[8 * j + 2 * t])[g] = (u16)s[l];
				((u16 *)(uintptr_t)at[8 * j + 2 * t + 1])[g] = (u16)(s[l] >> 16);
			} else {
				((u32 *)(uintptr_t)at[8 * j + g])[t] = s[l];
			}
		}
	}
}

HANDLER("movmatrix")
{
	const u32 *a = slot(w, o->a);
	u32 *d = slot(w, o->d);
	u16 m[8][8];

	for (int l = 0; l < LANES; l++) {
		m[l >> 2][(l & 3) * 2] = (u16)a[l];
		m[l >> 2][(l & 3) * 2 + 1] = (u16)(a[l] >> 16);
	}
	for (int l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			d[l] = m[(l & 3) * 2][l >> 2] | (u32)m[(l & 3) * 2 + 1][l >> 2] << 16;
}

/*
 * wmma (9.7.14.4): element number i of a fragment, counted row by row, is number
 * i / 32 of lane i % 32.  Fragments with room for more repeat nothing.
 */
static inline void frag_get(struct warp *w, const struct matrix_ext *e, int which, int i, f64 *f, s32 *n)
{
	u32 type = e->type[which];
	int per = per_word(type), lane = i & 31, k = i >> 5;
	const void *r = SLOT(which, k / per);

	switch (type) {
	case MP_PTX_T_F64: *f = ((const f64 *)r)[lane]; return;
	case MP_PTX_T_S32: *n = ((const s32 *)r)[lane]; return;
	case MP_PTX_T_S8: case MP_PTX_T_U8:
		*n = part(((const u32 *)r)[lane], k % per, type);
		return;
	default: *f = part_float(((const u32 *)r)[lane], k % per, type);
	}
}

static inline void frag_set(struct warp *w, const struct matrix_ext *e, int which, int i, f64 f, s32 n)
{
	u32 type = e->type[which];
	int per = per_word(type), lane = i & 31, k = i >> 5;
	void *r = SLOT(which, k / per);
	u32 *word = (u32 *)r + lane;

	switch (type) {
	case MP_PTX_T_F64: ((f64 *)r)[lane] = f; return;
	case MP_PTX_T_F32: case MP_PTX_T_TF32: ((f32 *)r)[lane] = (f32)f; return;
	case MP_PTX_T_S32: *word = (u32)n; return;
	case MP_PTX_T_F16:
		*word = (*word & ~(0xffffu << (k % 2) * 16)) | (u32)f32_f16((f32)f) << (k % 2) * 16;
		return;
	default: break;
	}
}

HANDLER("wmma.mma")
{
	const struct matrix_ext *e = o->ref;
	f64 c[1024], fa = 0, fb = 0;
	s32 ci[1024], na = 0, nb = 0;
	f64 fs[2][512];
	s32 is[2][512];
	int i, j, k;
	bool ints = e->type[MX_D] == MP_PTX_T_S32, wide = e->type[MX_D] == MP_PTX_T_F64;

	for (i = 0; i < e->m * e->k; i++) {
		frag_get(w, e, MX_A, i, &fa, &na);
		fs[0][i] = fa, is[0][i] = na;
	}
	for (i = 0; i < e->k * e->n; i++) {
		frag_get(w, e, MX_B, i, &fb, &nb);
		fs[1][i] = fb, is[1][i] = nb;
	}
	for (i = 0; i < e->m * e->n; i++) {
		fa = 0, na = 0;
		frag_get(w, e, MX_C, i, &fa, &na);
		c[i] = fa, ci[i] = na;
	}
	for (i = 0; i < e->m; i++)
		for (j = 0; j < e->n; j++) {
			f32 s = (f32)c[i * e->n + j];
			f64 d = c[i * e->n + j];
			s64 t = 0;

			for (k = 0; k < e->k; k++) {
				int x = i * e->k + k, y = k * e->n + j;

				if (ints)
					t += (s64)is[0][x] * is[1][y];
				else if (wide)
					d = fma(fs[0][x], fs[1][y], d);
				else
					s = fmaf((f32)fs[0][x], (f32)fs[1][y], s);
			}
			c[i * e->n + j] = wide ? d : (f64)s;
			ci[i * e->n + j] = clamp_add(ci[i * e->n + j], t, e->satfinite);
		}
	for (i = 0; i < e->m * e->n; i++)
		frag_set(w, e, MX_D, i, c[i], ci[i]);
}

/* Where element (i, j) of a matrix in memory is: base and stride are the same for the warp */
static inline char *element(struct warp *w, const struct matrix_ext *e, u64 base, u64 stride, int i, int j,
			    unsigned size, bool write)
{
	u64 at = base + (e->col[0] ? (u64)j * stride + (u64)i : (u64)i * stride + (u64)j) * size;
	u32 lane = (u32)__builtin_ctz(w->mask);

	if (at & (size - 1))
		warp_fault(w, lane, MP_EXEC_MISALIGNED, at);
	return warp_translate(w, lane, at, size, write);
}

static inline void matrix_base(struct warp *w, const struct op *o, u64 *base, u64 *stride, int cols, int rows_)
{
	const struct matrix_ext *e = o->ref;
	u64 a[LANES];
	int first = __builtin_ctz(w->mask);

	addresses(w, o, a);
	*base = o->size == SP_SHARED ? (a[first] & (GENERIC_SPAN - 1)) | GENERIC_SHARED : a[first];
	*stride = o->b == SLOT_NONE ? (u64)(e->col[0] ? rows_ : cols) : ((const u32 *)slot(w, o->b))[first];
}

/* x = which fragment */
HANDLER("wmma.load")
{
	const struct matrix_ext *e = o->ref;
	int which = (int)o->x, nr = which == MX_B ? e->k : e->m, nc = which == MX_A ? e->k : e->n, i, j, k;
	u32 type = e->type[which];
	unsigned size = mp_ptx_type_size((u8)type);
	u64 base, stride;

	matrix_base(w, o, &base, &stride, nc, nr);
	for (k = 0; k < e->n_regs[which]; k++)
		memset(SLOT(which, k), 0, (type == MP_PTX_T_F64 ? 8 : 4) * LANES);
	for (i = 0; i < nr; i++)
		for (j = 0; j < nc; j++) {
			const char *p = element(w, e, base, stride, i, j, size, false);
			int at = i * nc + j, per = per_word(type), lane = at & 31, n = at >> 5;
			void *r = SLOT(which, n / per);

			switch (size) {
			case 8: ((u64 *)r)[lane] = *(const u64 *)p; break;
			case 4: ((u32 *)r)[lane] = *(const u32 *)p; break;
			case 2: ((u16 *)r)[lane * 2 + n % 2] = *(const u16 *)p; break;
			default: ((u8 *)r)[lane * 4 + n % 4] = *(const u8 *)p; break;
			}
		}
}

HANDLER("wmma.store")
{
	const struct matrix_ext *e = o->ref;
	u32 type = e->type[MX_D];
	unsigned size = mp_ptx_type_size((u8)type);
	u64 base, stride;
	int i, j;

	matrix_base(w, o, &base, &stride, e->n, e->m);
	for (i = 0; i < e->m; i++)
		for (j = 0; j < e->n; j++) {
			char *p = element(w, e, base, stride, i, j, size, true);
			int at = i * e->n + j, per = per_word(type), lane = at & 31, n = at >> 5;
			const void *r = SLOT(MX_D, n / per);

			switch (size) {
			case 8: *(u64 *)p = ((const u64 *)r)[lane]; break;
			case 4: *(u32 *)p = ((const u32 *)r)[lane]; break;
			default: *(u16 *)p = ((const u16 *)r)[lane * 2 + n % 2]; break;
			}
		}
}
