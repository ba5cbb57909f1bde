/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads, stores, address conversions, special registers (9.7.9, chapter 10).
 *
 * Every access to global or generic memory is compared with the window of the
 * grid's space before it is made, once for the whole warp when its addresses
 * are equal or contiguous.  Inactive lanes touch nothing.  Plain accesses of
 * aligned words are single moves on x86-64, so .relaxed, .acquire and .release
 * need no more than the compiler's restraint.
 *
 * ld and st: d/a = address register or SLOT_NONE, imm = offset, n = elements,
 * size = bytes of an element, ext[0] = width of the address register, ext[1] =
 * width of the data registers, ext[2] = sign-extend, ext[3..] = their slots;
 * x bit 0 = offset is relative to this call's local memory, bit 1 = volatile or
 * stronger.
 */
#include "exec/access.h"

#ifdef MP_EXEC_V3
#include <immintrin.h>
#endif

OPS_FILE(memory);

#define LOAD(M, R, T)                                                                              \
	static inline void load_##T(struct warp *w, const struct access *x, R *d, unsigned at,     \
				    unsigned step)                                                 \
	{                                                                                          \
		if (x->pattern == SAME) {                                                          \
			R v = (R)(M) * (const volatile T *)(x->host + at);                         \
			if (w->mask == FULL) {                                                     \
				EACH d[l] = v;                                                     \
			} else {                                                                   \
				EACH d[l] = w->lm[l] ? v : d[l];                                   \
			}                                                                          \
		} else if (x->pattern == RUN && w->mask == FULL) {                                 \
			const char *p = x->host + at;                                              \
			if (step == sizeof(T)) {                                                   \
				EACH d[l] = (R)(M)((const T *)p)[l];                               \
			} else {                                                                   \
				EACH d[l] = (R)(M) * (const T *)(p + (u64)l * step);               \
			}                                                                          \
		} else if (x->pattern == RUN) {                                                    \
			for (int l = 0; l < LANES; l++)                                            \
				if (w->mask >> l & 1)                                              \
					d[l] = (R)(M) * (const T *)(x->host + at + (u64)l * step); \
		} else if (w->mask == FULL) {                                                      \
			for (int l = 0; l < LANES; l++)                                            \
				d[l] = (R)(M) * (const T *)(uintptr_t)(x->a[l] + at);              \
		} else {                                                                           \
			for (int l = 0; l < LANES; l++)                                            \
				if (w->mask >> l & 1)                                              \
					d[l] = (R)(M) * (const T *)(uintptr_t)(x->a[l] + at);      \
		}                                                                                  \
	}                                                                                          \
	static inline void store_##T(struct warp *w, const struct access *x, const R *d,           \
				     unsigned at, unsigned step)                                   \
	{                                                                                          \
		if (x->pattern == RUN && w->mask == FULL && step == sizeof(T)) {                   \
			T *p = (T *)(x->host + at);                                                \
			EACH p[l] = (T)d[l];                                                       \
		} else if (x->pattern != SCATTER) {                                                \
			u64 s = x->pattern == SAME ? 0 : step;                                     \
			for (int l = 0; l < LANES; l++)                                            \
				if (w->mask >> l & 1)                                              \
					*(volatile T *)(x->host + at + (u64)l * s) = (T)d[l];      \
		} else {                                                                           \
			for (int l = 0; l < LANES; l++)                                            \
				if (w->mask >> l & 1)                                              \
					*(volatile T *)(uintptr_t)(x->a[l] + at) = (T)d[l];        \
		}                                                                                  \
	}
typedef u32 t4;
typedef u64 t8;
LOAD(u32, u32, t4)
LOAD(u64, u64, t8)

/* Host addresses of an element of all active lanes; the others get a lane's that is active. */
static inline void places(const struct warp *w, const struct access *x, unsigned at, unsigned step, u64 *p)
{
	u64 spare;

	if (x->pattern == SCATTER)
		EACH p[l] = x->a[l] + at;
	else
		EACH p[l] = (u64)(uintptr_t)x->host + at + (x->pattern == RUN ? (u64)l * step : 0);
	if (w->mask != FULL) {
		spare = p[__builtin_ctz(w->mask)];
		EACH p[l] = w->lm[l] ? p[l] : spare;
	}
}

/* One element of any width into a register of any width at least as wide. */
#define FETCH(S) for (int l = 0; l < LANES; l++) v[l] = (u64)(s64)(*(const volatile S *)(uintptr_t)p[l])
static void load_any(struct warp *w, const struct op *o, const struct access *x, void *to, unsigned at,
		     unsigned step)
{
	u64 p[LANES], v[LANES];

	if (x->pattern == RUN && w->mask == FULL && o->size == step && o->size < 4 && o->ext[1] <= 4) {
		const u8 *b = (const u8 *)x->host;
		const u16 *h = (const u16 *)x->host;

#define WIDEN_RUN(R, S, from) { R *d = to; EACH d[l] = (R)(S)from[l]; return; }
		switch (o->size * 8 + (o->ext[2] ? 4 : 0) + (o->ext[1] == 4)) {
		case 8: WIDEN_RUN(u16, u8, b)
		case 9: WIDEN_RUN(u32, u8, b)
		case 12: WIDEN_RUN(u16, s8, b)
		case 13: WIDEN_RUN(u32, s8, b)
		case 16: case 20: WIDEN_RUN(u16, u16, h)
		case 17: WIDEN_RUN(u32, u16, h)
		case 21: WIDEN_RUN(u32, s16, h)
		}
	}
	places(w, x, at, step, p);
	switch (o->size) {
	case 1:
		if (o->ext[2])
			FETCH(s8);
		else
			FETCH(u8);
		break;
	case 2:
		if (o->ext[2])
			FETCH(s16);
		else
			FETCH(u16);
		break;
	case 4:
		if (o->ext[2])
			FETCH(s32);
		else
			FETCH(u32);
		break;
	default:
		FETCH(u64);
	}
#define PUT(R) { R *d = to; if (w->mask == FULL) EACH d[l] = (R)v[l]; else EACH d[l] = w->lm[l] ? (R)v[l] : d[l]; }
	switch (o->ext[1]) {
	case 2: PUT(u16) break;
	case 4: PUT(u32) break;
	default: PUT(u64) break;
	}
	if (o->ext[1] == 16)
		for (int l = 0; l < LANES; l++)
			if (w->mask >> l & 1)
				((u64 *)to)[l + LANES] = *(const volatile u64 *)(uintptr_t)(p[l] + 8);
}

static void store_any(struct warp *w, const struct op *o, const struct access *x, const void *d,
		      unsigned at, unsigned step)
{
	u64 p[LANES], v[LANES];

	if (o->ext[1] == 2)
		EACH v[l] = ((const u16 *)d)[l];
	else if (o->ext[1] == 4)
		EACH v[l] = ((const u32 *)d)[l];
	else
		EACH v[l] = ((const u64 *)d)[l];
	if (x->pattern == RUN && w->mask == FULL && o->size == step && o->size < 4) {
		if (o->size == 1) {
			u8 *b = (u8 *)x->host;

			EACH b[l] = (u8)v[l];
		} else {
			u16 *h = (u16 *)x->host;

			EACH h[l] = (u16)v[l];
		}
		return;
	}
	places(w, x, at, step, p);
	for (int l = 0; l < LANES; l++) {
		char *to = (char *)(uintptr_t)p[l];

		if (!(w->mask >> l & 1))
			continue;
		switch (o->size) {
		case 1: *(volatile u8 *)to = (u8)v[l]; break;
		case 2: *(volatile u16 *)to = (u16)v[l]; break;
		case 4: *(volatile u32 *)to = (u32)v[l]; break;
		case 16: *(volatile u64 *)(to + 8) = ((const u64 *)d)[l + LANES]; /* fall through */
		default: *(volatile u64 *)to = v[l]; break;
		}
	}
}

/*
 * Words of a full warp, in groups of lanes that fill a vector: each group is
 * the same address, a run, or neither.  Blocks that are 8 or 16 threads wide
 * make whole warps look scattered while their groups are not.  Anything out of
 * the ordinary (a lane missing, an address out of range) is left to the general
 * way: false.
 */
#ifdef MP_EXEC_V3
static inline bool groups_shared(struct warp *w, const struct op *o, bool store)
{
	const u32 *r = slot(w, o->a);
	u32 *d = slot(w, o->ext[3]), size = w->cta->shared_bytes;
	__m256i imm = _mm256_set1_epi32((int)o->imm), limit, bad = _mm256_setzero_si256(), low = bad;
	const __m256i run = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
	__m256i v[4];
	char *base = w->cta->shared;

	if (size < 4)
		return false;
	limit = _mm256_set1_epi32((int)(size - 4));
	for (int g = 0; g < 4; g++) {
		v[g] = _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(r + g * 8)), imm);
		bad = _mm256_or_si256(bad, _mm256_xor_si256(_mm256_max_epu32(v[g], limit), limit));
		low = _mm256_or_si256(low, v[g]);
	}
	low = _mm256_and_si256(low, _mm256_set1_epi32(3));
	if (!_mm256_testz_si256(bad, bad) || !_mm256_testz_si256(low, low))
		return false;
	for (int g = 0; g < 4; g++) {
		u32 at[8];
		__m256i rel;

		_mm256_storeu_si256((__m256i *)at, v[g]);
		rel = _mm256_sub_epi32(v[g], _mm256_set1_epi32((int)at[0]));
		if (_mm256_movemask_epi8(_mm256_cmpeq_epi32(rel, run)) == -1) {
			__m256i *p = (__m256i *)(base + at[0]);

			if (store)
				_mm256_storeu_si256(p, _mm256_loadu_si256((const __m256i *)(d + g * 8)));
			else
				_mm256_storeu_si256((__m256i *)(d + g * 8), _mm256_loadu_si256(p));
		} else if (!store && _mm256_testz_si256(rel, rel)) {
			_mm256_storeu_si256((__m256i *)(d + g * 8),
					    _mm256_set1_epi32(*(const int *)(base + at[0])));
		} else {
			for (int l = 0; l < 8; l++) {
				if (store)
					*(u32 *)(base + at[l]) = d[g * 8 + l];
				else
					d[g * 8 + l] = *(const u32 *)(base + at[l]);
			}
		}
	}
	return true;
}

#define GROUPS_GLOBAL(name, T, V, LOADV, STOREV, SPLAT)                                            \
	static inline bool name(struct warp *w, const struct op *o, bool store)                    \
	{                                                                                          \
		const u64 *r = slot(w, o->a);                                                      \
		T *d = slot(w, o->ext[3]);                                                         \
		const struct mp_exec_space *s = w->cta->grid->space;                               \
		const __m256i sign = _mm256_set1_epi64x((s64)(1ull << 63));                        \
		const __m256i run = _mm256_setr_epi64x(0, sizeof(T), 2 * sizeof(T), 3 * sizeof(T)); \
		__m256i imm = _mm256_set1_epi64x((s64)o->imm), v[8], limit, base, bad, low;        \
		if (s->size < sizeof(T))                                                           \
			return false;                                                              \
		base = _mm256_set1_epi64x((s64)s->base);                                           \
		limit = _mm256_xor_si256(sign, _mm256_set1_epi64x((s64)(s->size - sizeof(T))));    \
		bad = low = _mm256_setzero_si256();                                                \
		for (int g = 0; g < 8; g++) {                                                      \
			__m256i off;                                                               \
			v[g] = _mm256_add_epi64(_mm256_loadu_si256((const __m256i *)(r + g * 4)), imm); \
			off = _mm256_xor_si256(sign, _mm256_sub_epi64(v[g], base));                \
			bad = _mm256_or_si256(bad, _mm256_cmpgt_epi64(off, limit));                \
			low = _mm256_or_si256(low, v[g]);                                          \
		}                                                                                  \
		low = _mm256_and_si256(low, _mm256_set1_epi64x(sizeof(T) - 1));                    \
		if (!_mm256_testz_si256(bad, bad) || !_mm256_testz_si256(low, low))                \
			return false;                                                              \
		for (int g = 0; g < 8; g++) {                                                      \
			u64 at[4];                                                                 \
			__m256i rel;                                                               \
			_mm256_storeu_si256((__m256i *)at, v[g]);                                  \
			rel = _mm256_sub_epi64(v[g], _mm256_set1_epi64x((s64)at[0]));              \
			if (_mm256_movemask_epi8(_mm256_cmpeq_epi64(rel, run)) == -1) {            \
				if (store)                                                         \
					STOREV((V *)(uintptr_t)at[0], LOADV((const V *)(d + g * 4))); \
				else                                                               \
					STOREV((V *)(d + g * 4), LOADV((const V *)(uintptr_t)at[0])); \
			} else {                                                                   \
				for (int l = 0; l < 4; l++) {                                      \
					if (store)                                                 \
						*(volatile T *)(uintptr_t)at[l] = d[g * 4 + l];    \
					else                                                       \
						d[g * 4 + l] = *(const volatile T *)(uintptr_t)at[l]; \
				}                                                                  \
			}                                                                          \
		}                                                                                  \
		return true;                                                                       \
	}
GROUPS_GLOBAL(groups_global4, u32, __m128i, _mm_loadu_si128, _mm_storeu_si128, )
GROUPS_GLOBAL(groups_global8, u64, __m256i, _mm256_loadu_si256, _mm256_storeu_si256, )
#endif

static inline bool groups(struct warp *w, const struct op *o, enum space space, bool store)
{
#ifdef MP_EXEC_V3
	if (w->mask != FULL || o->n != 1 || o->a == SLOT_NONE || o->size != o->ext[1] || o->ext[3] == SLOT_NONE)
		return false;
	if (space == SP_SHARED)
		return o->size == 4 && o->ext[0] == 4 && groups_shared(w, o, store);
	if (space == SP_GENERIC && o->ext[0] == 8) {
		if (o->size == 4)
			return groups_global4(w, o, store);
		if (o->size == 8)
			return groups_global8(w, o, store);
	}
#endif
	return false;
}

static inline void ld(struct warp *w, const struct op *o, enum space space)
{
	struct access x;
	unsigned step = (unsigned)o->size * o->n, i;

	if (o->x & 2) {
		w->spins++;
		w->polls++;
	}
	if (groups(w, o, space, false))
		return;
	access_prepare(w, o, &x, step, space, false);
	for (i = 0; i < o->n; i++) {
		if (o->ext[3 + i] == SLOT_NONE)
			continue;
		if (o->size == 4 && o->ext[1] == 4)
			load_t4(w, &x, slot(w, o->ext[3 + i]), i * 4, step);
		else if (o->size == 8 && o->ext[1] == 8)
			load_t8(w, &x, slot(w, o->ext[3 + i]), i * 8, step);
		else
			load_any(w, o, &x, slot(w, o->ext[3 + i]), i * o->size, step);
	}
}

static inline void st(struct warp *w, const struct op *o, enum space space)
{
	struct access x;
	unsigned step = (unsigned)o->size * o->n, i;

	if (groups(w, o, space, true))
		return;
	access_prepare(w, o, &x, step, space, true);
	for (i = 0; i < o->n; i++) {
		if (o->ext[3 + i] == SLOT_NONE)
			continue;
		if (o->size == 4 && o->ext[1] == 4)
			store_t4(w, &x, slot(w, o->ext[3 + i]), i * 4, step);
		else if (o->size == 8 && o->ext[1] == 8)
			store_t8(w, &x, slot(w, o->ext[3 + i]), i * 8, step);
		else
			store_any(w, o, &x, slot(w, o->ext[3 + i]), i * o->size, step);
	}
}

HANDLER("ld.generic") { ld(w, o, SP_GENERIC); }
HANDLER("ld.shared") { ld(w, o, SP_SHARED); }
HANDLER("ld.local") { ld(w, o, SP_LOCAL); }
HANDLER("st.generic") { st(w, o, SP_GENERIC); }
HANDLER("st.shared") { st(w, o, SP_SHARED); }
HANDLER("st.local") { st(w, o, SP_LOCAL); }

/* The kernel's parameters: the same for all, nearly always at a constant place. */
HANDLER("ld.param")
{
	struct access x;
	unsigned step = (unsigned)o->size * o->n, i;
	const struct grid *g = w->cta->grid;

	if (o->a == SLOT_NONE) {
		x.pattern = SAME;
		x.host = g->params + o->imm; /* the decoder checked the range */
	} else {
		addresses(w, o, x.a);
		for (int l = 0; l < LANES; l++)
			if (w->mask >> l & 1) {
				if (x.a[l] > g->params_bytes || g->params_bytes - x.a[l] < step)
					warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_ADDRESS, x.a[l]);
				x.a[l] += (u64)(uintptr_t)g->params;
			}
		x.pattern = SCATTER;
	}
	for (i = 0; i < o->n; i++) {
		if (o->ext[3 + i] == SLOT_NONE)
			continue;
		if (o->size == 4 && o->ext[1] == 4)
			load_t4(w, &x, slot(w, o->ext[3 + i]), i * 4, step);
		else if (o->size == 8 && o->ext[1] == 8)
			load_t8(w, &x, slot(w, o->ext[3 + i]), i * 8, step);
		else
			load_any(w, o, &x, slot(w, o->ext[3 + i]), i * o->size, step);
	}
}

/* ---- Addresses (9.7.9.19, 20): imm is the base of the space's generic range ---- */
OP1("cvta.64", u64, u64, x + o->imm)
OP1("cvta.to.64", u64, u64, x - o->imm)
OP1("cvta.to.32", u64, u64, (u32)x)
HANDLER("isspacep")
{
	const u64 *a = slot(w, o->a);
	u32 bits = 0;

	for (int l = 0; l < LANES; l++)
		bits |= (u32)((a[l] & ~(GENERIC_SPAN - 1)) == o->imm) << l;
	pred_write(w, o->d, bits);
}
/* global: neither of the others, and no constant bank: constants live in global memory here */
HANDLER("isspacep.global")
{
	const u64 *a = slot(w, o->a);
	u32 bits = 0;

	for (int l = 0; l < LANES; l++)
		bits |= (u32)(a[l] >> 48 < 0xfc) << l;
	pred_write(w, o->d, bits);
}

/* ---- Packing (9.7.9.3): mov between a vector and a scalar ---- */
HANDLER("pack") /* n elements of size bytes into a register of ext[1] bytes */
{
	void *out = slot(w, o->d);

	if (o->n == 2 && o->size == 4) {
		const u32 *lo = slot(w, o->ext[3]), *hi = slot(w, o->ext[4]);

		BODY(u64, (void)0, lo[l] | (u64)hi[l] << 32)
		return;
	}
	if (o->n == 2 && o->size == 2) {
		const u16 *lo = slot(w, o->ext[3]), *hi = slot(w, o->ext[4]);

		BODY(u32, (void)0, lo[l] | (u32)hi[l] << 16)
		return;
	}

	for (int l = 0; l < LANES; l++) {
		u64 v = 0;
		unsigned i;

		if (!(w->mask >> l & 1))
			continue;
		if (o->ext[1] == 16) {
			((u64 *)out)[l] = ((const u64 *)slot(w, o->ext[3]))[l];
			((u64 *)out)[l + LANES] = ((const u64 *)slot(w, o->ext[4]))[l];
			continue;
		}
		for (i = 0; i < o->n; i++) {
			const void *s = slot(w, o->ext[3 + i]);
			u64 e = o->size == 1 ? (u8)((const u16 *)s)[l] :
				o->size == 2 ? ((const u16 *)s)[l] :
				o->size == 4 ? ((const u32 *)s)[l] : ((const u64 *)s)[l];

			v |= e << (i * o->size * 8);
		}
		if (o->ext[1] == 2)
			((u16 *)out)[l] = (u16)v;
		else if (o->ext[1] == 4)
			((u32 *)out)[l] = (u32)v;
		else
			((u64 *)out)[l] = v;
	}
}
/* One part of a register of S into one of D. */
#define UNPACK(S, D, shift)                                                                        \
	{                                                                                          \
		const S *from = slot(w, o->a);                                                     \
		D *to = slot(w, slot_);                                                            \
		if (w->mask == FULL)                                                               \
			EACH to[l] = (D)(from[l] >> (shift));                                      \
		else                                                                               \
			EACH to[l] = w->lm[l] ? (D)(from[l] >> (shift)) : to[l];                   \
	}

HANDLER("unpack")
{
	const void *s = slot(w, o->a);
	u64 tmp[2][LANES];
	unsigned i;

	if (o->n == 2 && (o->size == 4 || o->size == 2)) {
		for (i = 0; i < 2; i++) {
			u32 slot_ = o->ext[3 + i];

			if (slot_ == SLOT_NONE)
				continue;
			if (o->size == 4)
				UNPACK(u64, u32, i * 32)
			else
				UNPACK(u32, u16, i * 16)
		}
		return;
	}

	for (int l = 0; l < LANES; l++) {
		tmp[0][l] = o->ext[1] == 2 ? ((const u16 *)s)[l] :
			    o->ext[1] == 4 ? ((const u32 *)s)[l] : ((const u64 *)s)[l];
		tmp[1][l] = o->ext[1] == 16 ? ((const u64 *)s)[l + LANES] : 0;
	}
	for (i = 0; i < o->n; i++) {
		void *d;
		unsigned shift = (i * o->size * 8) & 63;

		if (o->ext[3 + i] == SLOT_NONE)
			continue;
		d = slot(w, o->ext[3 + i]);
		for (int l = 0; l < LANES; l++) {
			u64 v = tmp[i * o->size >= 8][l] >> shift;

			if (!(w->mask >> l & 1))
				continue;
			if (o->size == 1)
				((u16 *)d)[l] = (u8)v;
			else if (o->size == 2)
				((u16 *)d)[l] = (u16)v;
			else if (o->size == 4)
				((u32 *)d)[l] = (u32)v;
			else
				((u64 *)d)[l] = v;
		}
	}
}

/* ---- Special registers (chapter 10): x = number, n = component, size = width ---- */

static void sreg_lanes(struct warp *w, u32 which, unsigned comp, u64 *v)
{
	const struct cta *c = w->cta;
	const struct grid *g = c->grid;
	unsigned k = comp ? comp - 'x' : 0;
	u64 one = 0;

	if (comp == 'w')
		k = 3;
	switch (which) {
	case MP_PTX_S_TID:
		EACH v[l] = k < 3 ? w->tid[k][l] : 0;
		return;
	case MP_PTX_S_LANEID: EACH v[l] = (u64)l; return;
	case MP_PTX_S_LANEMASK_EQ: EACH v[l] = 1u << l; return;
	case MP_PTX_S_LANEMASK_LT: EACH v[l] = (1u << l) - 1; return;
	case MP_PTX_S_LANEMASK_LE: EACH v[l] = ((1u << l) - 1) | 1u << l; return;
	case MP_PTX_S_LANEMASK_GE: EACH v[l] = (u32)~((1u << l) - 1); return;
	case MP_PTX_S_LANEMASK_GT: EACH v[l] = (u32)~(((1u << l) - 1) | 1u << l); return;
	case MP_PTX_S_NTID: one = k < 3 ? g->g.block[k] : 1; break;
	case MP_PTX_S_CTAID: one = k < 3 ? c->id[k] : 0; break;
	case MP_PTX_S_NCTAID: one = k < 3 ? g->g.grid[k] : 1; break;
	case MP_PTX_S_WARPID: one = w->index; break;
	case MP_PTX_S_NWARPID: one = g->g.warps_per_sm ? g->g.warps_per_sm : 64; break;
	case MP_PTX_S_SMID: one = c->linear % (g->g.sm_count ? g->g.sm_count : 1); break;
	case MP_PTX_S_NSMID: one = g->g.sm_count ? g->g.sm_count : 1; break;
	case MP_PTX_S_GRIDID: one = g->g.grid_id; break;
	case MP_PTX_S_CLOCK:
	case MP_PTX_S_CLOCK64: one = __builtin_ia32_rdtsc(); break;
	case MP_PTX_S_CLOCK_HI: one = __builtin_ia32_rdtsc() >> 32; break;
	case MP_PTX_S_GLOBALTIMER:
	case MP_PTX_S_GLOBALTIMER_LO:
	case MP_PTX_S_GLOBALTIMER_HI: {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		one = (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
		if (which == MP_PTX_S_GLOBALTIMER_HI)
			one >>= 32;
		break;
	}
	case MP_PTX_S_DYNAMIC_SMEM_SIZE: one = g->g.dynamic_shared; break;
	case MP_PTX_S_TOTAL_SMEM_SIZE:
	case MP_PTX_S_AGGR_SMEM_SIZE: one = c->shared_bytes; break;
	case MP_PTX_S_IS_EXPLICIT_CLUSTER:
		one = g->g.cluster[0] * g->g.cluster[1] * g->g.cluster[2] > 1;
		break;
	case MP_PTX_S_CLUSTERID: one = k < 3 ? c->id[k] / g->g.cluster[k] : 0; break;
	case MP_PTX_S_NCLUSTERID: one = k < 3 ? g->g.grid[k] / g->g.cluster[k] : 1; break;
	case MP_PTX_S_CLUSTER_CTAID: one = k < 3 ? c->id[k] % g->g.cluster[k] : 0; break;
	case MP_PTX_S_CLUSTER_NCTAID: one = k < 3 ? g->g.cluster[k] : 1; break;
	case MP_PTX_S_CLUSTER_CTARANK: one = c->rank; break;
	case MP_PTX_S_CLUSTER_NCTARANK:
		one = g->g.cluster[0] * g->g.cluster[1] * g->g.cluster[2];
		break;
	/* grid.sync finds its workspace here: high and low half of an address */
	case MP_PTX_S_ENVREG0 + 1: one = (u64)(uintptr_t)g->workspace >> 32; break;
	case MP_PTX_S_ENVREG0 + 2: one = (u32)(uintptr_t)g->workspace; break;
	default: one = 0;
	}
	EACH v[l] = one;
}

HANDLER("mov.sreg")
{
	u64 v[LANES];

	sreg_lanes(w, o->x, o->n, v);
	if (o->size == 2) {
		BODY(u16, (void)0, v[l])
	} else if (o->size == 4) {
		BODY(u32, (void)0, v[l])
	} else {
		BODY(u64, (void)0, v[l])
	}
}

/* ---- Fences (9.7.13.4): cta scope is the compiler's business, the rest the machine's ---- */
HANDLER("fence.cta") { __asm__ volatile("" ::: "memory"); }
HANDLER("fence") { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
HANDLER("nop") { }
