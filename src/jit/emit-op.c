/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations without memory: each as scalar or as vector, with the results that
 * the first tier's handlers give, bit by bit.
 */
#include "jit/emit.h"
#include "ptx/ptx.h"

#include <stdio.h>
#include <string.h>

/* The operation in hand: its types as IR spells them. */
struct pure {
	struct emit *e;
	const struct mp_jit_op *o;
	const struct nat *n;
	bool vec;
	unsigned g, bits;
	const char *t, *b; /* integer type of the operation's width; i1 */
};

static const char *bools(bool vec)
{
	return !vec ? "i1" : emit_width == PART_LANES ? "<8 x i1>" : "<32 x i1>";
}

static struct val src(struct pure *u, uint32_t slot, unsigned bits)
{
	return u->vec ? rd_vec(u->e, slot, bits, false) : rd_scalar(u->e, slot, bits, u->g, false);
}

static struct val k(struct pure *u, unsigned bits, uint64_t v)
{
	return konst(u->e, bits, u->vec, v);
}

static struct val two(struct pure *u, const char *op, unsigned bits, struct val x, struct val y)
{
	return ins(u->e, "%s %s %s, %s", op, ity(bits, u->vec), x.s, y.s);
}

static struct val sel(struct pure *u, struct val c, unsigned bits, struct val x, struct val y)
{
	return ins(u->e, "select %s %s, %s %s, %s %s", u->b, c.s, ity(bits, u->vec), x.s, ity(bits, u->vec), y.s);
}

static struct val icmp(struct pure *u, const char *cc, unsigned bits, struct val x, struct val y)
{
	return ins(u->e, "icmp %s %s %s, %s", cc, ity(bits, u->vec), x.s, y.s);
}

static struct val conv(struct pure *u, const char *op, unsigned from, struct val x, unsigned to)
{
	return from == to ? x : ins(u->e, "%s %s %s to %s", op, ity(from, u->vec), x.s, ity(to, u->vec));
}

static struct val fit(struct pure *u, unsigned from, struct val x, unsigned to, bool sign)
{
	return conv(u, from > to ? "trunc" : sign ? "sext" : "zext", from, x, to);
}

/* llvm.ctpop.i32, llvm.ctpop.v32i32 */
static const char *itail(const struct pure *u, unsigned bits)
{
	static __thread char s[4][16];
	static __thread unsigned at;
	char *p = s[at++ & 3];

	if (u->vec)
		snprintf(p, 16, "v%ui%u", emit_width, bits);
	else
		snprintf(p, 16, "i%u", bits);
	return p;
}

static const char *ftail(const struct pure *u, unsigned bits)
{
	static __thread char s[4][16];
	static __thread unsigned at;
	char *p = s[at++ & 3];

	if (u->vec)
		snprintf(p, 16, "v%uf%u", emit_width, bits);
	else
		snprintf(p, 16, "f%u", bits);
	return p;
}

/* ---- Integers ---- */

static struct val division(struct pure *u, bool rem, struct val x, struct val y)
{
	bool sign = u->n->flags & NF_SIGNED;
	struct val z = icmp(u, "eq", u->bits, y, k(u, u->bits, 0)), m1 = {""}, bad = z, q, safe;

	if (sign) {
		m1 = icmp(u, "eq", u->bits, y, k(u, u->bits, ~0ull));
		bad = two(u, "or", 1, z, m1);
	}
	safe = sel(u, bad, u->bits, k(u, u->bits, 1), y);
	if (u->vec) {
		/* 53 bits hold quotients of words: exact after truncation */
		const char *f = fty(64, true), *w = ity(32, true);
		struct val xw = fit(u, u->bits, x, 32, sign), yw = fit(u, u->bits, safe, 32, sign), a, b;

		a = ins(u->e, "%s %s %s to %s", sign ? "sitofp" : "uitofp", w, xw.s, f);
		b = ins(u->e, "%s %s %s to %s", sign ? "sitofp" : "uitofp", w, yw.s, f);
		q = ins(u->e, "fdiv %s %s, %s", f, a.s, b.s);
		q = ins(u->e, "%s %s %s to %s", sign ? "fptosi" : "fptoui", f, q.s, w);
		q = fit(u, 32, q, u->bits, false);
		if (rem)
			q = two(u, "sub", u->bits, x, two(u, "mul", u->bits, q, safe));
	} else {
		q = two(u, rem ? sign ? "srem" : "urem" : sign ? "sdiv" : "udiv", u->bits, x, safe);
	}
	if (sign && !SEEDED(DIVIDE_OVERFLOW))
		q = sel(u, m1, u->bits, rem ? k(u, u->bits, 0) : two(u, "sub", u->bits, k(u, u->bits, 0), x), q);
	if (SEEDED(REMAINDER) && rem)
		q = two(u, "add", u->bits, q, k(u, u->bits, 1));
	return sel(u, z, u->bits, rem ? x : k(u, u->bits, SEEDED(DIVIDE_ZERO) ? 0 : ~0ull), q);
}

static struct val shift(struct pure *u, struct val x)
{
	struct val y = src(u, u->o->b, 32), in = icmp(u, "ult", 32, y, k(u, 32, u->bits)), by, r;
	bool left = u->n->code == N_SHL, sign = u->n->flags & NF_SIGNED;

	if (!left && sign) { /* amounts beyond the width leave the sign */
		by = sel(u, in, 32, y, k(u, 32, SEEDED(SHIFT_RIGHT_CLAMP) ? 0 : u->bits - 1));
		return two(u, SEEDED(SHIFT_SIGN) ? "lshr" : "ashr", u->bits, x, fit(u, 32, by, u->bits, false));
	}
	by = sel(u, in, 32, y, k(u, 32, 0));
	r = two(u, left ? "shl" : "lshr", u->bits, x, fit(u, 32, by, u->bits, false));
	return SEEDED(SHIFT_CLAMP) ? r : sel(u, in, u->bits, r, k(u, u->bits, 0));
}

static struct val high(struct pure *u, struct val x, struct val y)
{
	bool sign = (u->n->flags & NF_SIGNED) && !SEEDED(HIGH_SIGN);
	struct val p = two(u, "mul", u->bits * 2, fit(u, u->bits, x, u->bits * 2, sign),
			   fit(u, u->bits, y, u->bits * 2, sign));

	p = two(u, "lshr", u->bits * 2, p, k(u, u->bits * 2, u->bits));
	return fit(u, u->bits * 2, p, u->bits, false);
}

static struct val wide(struct pure *u, struct val x, struct val y)
{
	bool sign = (u->n->flags & NF_SIGNED) && !SEEDED(WIDE_SIGN);

	return two(u, "mul", u->bits * 2, fit(u, u->bits, x, u->bits * 2, sign),
		   fit(u, u->bits, y, u->bits * 2, sign));
}

static struct val min_max(struct pure *u, struct val x, struct val y)
{
	bool sign = (u->n->flags & NF_SIGNED) && !SEEDED(MINMAX_SIGN), max = u->n->code == N_MAX;
	struct val c = icmp(u, max ? sign ? "sgt" : "ugt" : sign ? "slt" : "ult", u->bits, x, y);

	return sel(u, c, u->bits, x, y);
}

static struct val bfe(struct pure *u, struct val x)
{
	struct val pos = two(u, "and", 32, src(u, u->o->b, 32), k(u, 32, 255));
	struct val len = two(u, "and", 32, src(u, u->o->c, 32), k(u, 32, 255)), last, c, v, m, sign, over, l;

	v = two(u, "lshr", 32, x, two(u, "and", 32, pos, k(u, 32, 31)));
	over = icmp(u, "ugt", 32, pos, k(u, 32, 31));
	if (!(u->n->flags & NF_SIGNED)) {
		m = two(u, "shl", 32, k(u, 32, ~0ull), two(u, "and", 32, len, k(u, 32, 31)));
		c = icmp(u, "ugt", 32, len, k(u, 32, 31));
		if (!SEEDED(BFE_LENGTH))
			m = sel(u, c, 32, k(u, 32, 0), m);
		v = two(u, "and", 32, v, two(u, "xor", 32, m, k(u, 32, ~0ull)));
		v = sel(u, over, 32, k(u, 32, 0), v);
	} else {
		last = two(u, "add", 32, two(u, "add", 32, pos, len), k(u, 32, ~0ull));
		c = icmp(u, "ult", 32, last, k(u, 32, 31));
		last = sel(u, c, 32, last, k(u, 32, 31));
		sign = two(u, "lshr", 32, x, two(u, "and", 32, last, k(u, 32, 31)));
		sign = two(u, "sub", 32, k(u, 32, 0), two(u, "and", 32, sign, k(u, 32, 1)));
		l = two(u, "add", 32, two(u, "sub", 32, last, pos), k(u, 32, 1)); /* 1..32 where pos is in range */
		m = two(u, "shl", 32, k(u, 32, ~0ull), two(u, "and", 32, l, k(u, 32, 31)));
		c = icmp(u, "ugt", 32, l, k(u, 32, 31));
		m = sel(u, c, 32, k(u, 32, 0), m);
		v = two(u, "or", 32, two(u, "and", 32, v, two(u, "xor", 32, m, k(u, 32, ~0ull))),
			two(u, "and", 32, sign, m));
		v = SEEDED(BFE_SIGN) ? v : sel(u, over, 32, sign, v);
	}
	c = icmp(u, "eq", 32, len, k(u, 32, 0));
	return sel(u, c, 32, k(u, 32, 0), v);
}

static struct val bfi(struct pure *u, struct val a)
{
	struct val b = src(u, u->o->b, 32), pos = two(u, "and", 32, src(u, u->o->c, 32), k(u, 32, 255));
	struct val len = two(u, "and", 32, src(u, u->o->e, 32), k(u, 32, 255)), m, c, by, r;

	by = two(u, "and", 32, pos, k(u, 32, 31));
	m = two(u, "shl", 32, k(u, 32, ~0ull), two(u, "and", 32, len, k(u, 32, 31)));
	m = two(u, "xor", 32, m, k(u, 32, ~0ull));
	c = icmp(u, "ugt", 32, len, k(u, 32, 31));
	m = sel(u, c, 32, k(u, 32, ~0ull), m);
	m = two(u, "shl", 32, m, by);
	c = icmp(u, "ugt", 32, pos, k(u, 32, 31));
	if (!SEEDED(BFI_POSITION))
		m = sel(u, c, 32, k(u, 32, 0), m);
	r = two(u, "and", 32, two(u, "shl", 32, a, by), m);
	return two(u, "or", 32, r, two(u, "and", 32, b, two(u, "xor", 32, m, k(u, 32, ~0ull))));
}

/*
 * In double words, as the first tier does it: version 15 turns a funnel shift by
 * a vector of constants of which one is 0 into the wrong one.
 */
static struct val funnel(struct pure *u, struct val a)
{
	struct val b = src(u, u->o->b, 32), n = src(u, u->o->c, 32), v, c;

	if ((u->n->flags & NF_CLAMP) && !SEEDED(FUNNEL_WRAP)) {
		c = icmp(u, "ult", 32, n, k(u, 32, 32));
		n = sel(u, c, 32, n, k(u, 32, 32));
	} else {
		n = two(u, "and", 32, n, k(u, 32, 31));
	}
	v = two(u, "shl", 64, fit(u, 32, b, 64, false), k(u, 64, 32));
	v = two(u, "or", 64, v, fit(u, 32, a, 64, false));
	n = fit(u, 32, n, 64, false);
	if (u->n->flags & NF_LEFT)
		v = two(u, "lshr", 64, two(u, "shl", 64, v, n), k(u, 64, 32));
	else
		v = two(u, "lshr", 64, v, n);
	return fit(u, 64, v, 32, false);
}

static struct val lop3(struct pure *u, struct val a)
{
	struct val v[3] = {a, src(u, u->o->b, 32), src(u, u->o->c, 32)}, inv[3], r = k(u, 32, 0), t;
	unsigned i, j;

	for (i = 0; i < 3; i++)
		inv[i] = two(u, "xor", 32, v[i], k(u, 32, ~0ull));
	for (i = 0; i < 8; i++) {
		if (!(u->o->x >> (SEEDED(LOP3_ORDER) ? 7 - i : i) & 1))
			continue;
		t = i & 4 ? v[0] : inv[0];
		for (j = 1; j < 3; j++)
			t = two(u, "and", 32, t, i >> (2 - j) & 1 ? v[j] : inv[j]);
		r = two(u, "or", 32, r, t);
	}
	return r;
}

static struct val prmt(struct pure *u, struct val a)
{
	struct val b = src(u, u->o->b, 32), r = k(u, 32, 0), t;
	uint32_t s = (uint32_t)plan_const(u->e->p, u->o->c);
	unsigned i;

	for (i = 0; i < 4; i++) {
		unsigned one = s >> i * 4 & 15, at = one & 3;

		t = two(u, "shl", 32, one & 4 ? b : a, k(u, 32, 24 - at * 8));
		if (one & 8 && !SEEDED(PRMT_SIGN))
			t = two(u, "ashr", 32, t, k(u, 32, 31));
		t = two(u, "lshr", 32, t, k(u, 32, 24));
		r = two(u, "or", 32, r, two(u, "shl", 32, t, k(u, 32, i * 8)));
	}
	return r;
}

static unsigned type_bits(unsigned t)
{
	return mp_ptx_type_size((uint8_t)t) * 8;
}

static bool type_signed(unsigned t)
{
	return t == MP_PTX_T_S8 || t == MP_PTX_T_S16 || t == MP_PTX_T_S32 || t == MP_PTX_T_S64;
}

static struct val int_to_int(struct pure *u)
{
	unsigned st = u->o->e >> 8 & 255, dt = u->o->e & 255, sb = type_bits(st), db = type_bits(dt);
	struct val v = src(u, u->o->a, u->o->n * 8u);

	v = fit(u, u->o->n * 8u, v, sb, false);
	v = fit(u, sb, v, db, type_signed(st) && !SEEDED(CONVERT_SIGN));
	return fit(u, db, v, u->o->size * 8u, type_signed(dt));
}

static struct val pack(struct pure *u)
{
	unsigned whole = u->o->ext[1] * 8, part = u->o->size * 8u, i;
	struct val r = k(u, whole, 0), v;

	for (i = 0; i < u->o->n; i++) {
		v = fit(u, part, src(u, u->o->ext[3 + i], part), whole, false);
		r = two(u, "or", whole, r, two(u, "shl", whole, v, k(u, whole, (SEEDED(PACK_ORDER) ? u->o->n - 1 - i : i) * part)));
	}
	return r;
}

/* ---- Floats ---- */

static struct val fbits(struct pure *u, unsigned bits, struct val f)
{
	return ins(u->e, "bitcast %s %s to %s", fty(bits, u->vec), f.s, ity(bits, u->vec));
}

static struct val ffrom(struct pure *u, unsigned bits, struct val v)
{
	return ins(u->e, "bitcast %s %s to %s", ity(bits, u->vec), v.s, fty(bits, u->vec));
}

/* Subnormals become zero of their sign (9.7.3). */
static struct val flush(struct pure *u, struct val v)
{
	struct val e = two(u, "and", 32, v, k(u, 32, 0x7f800000u)), z = icmp(u, "eq", 32, e, k(u, 32, 0));

	if (SEEDED(FLUSH_LOST))
		return v;
	return sel(u, z, 32, SEEDED(FLUSH_SIGN) ? k(u, 32, 0) : two(u, "and", 32, v, k(u, 32, 0x80000000u)), v);
}

/* A float operand: any NaN will do. */
static struct val fsrc(struct pure *u, uint32_t slot)
{
	struct val v = u->vec ? rd_vec(u->e, slot, u->bits, true) : rd_scalar(u->e, slot, u->bits, u->g, true);

	if (u->n->flags & NF_FTZ)
		v = flush(u, v);
	return ffrom(u, u->bits, v);
}

static struct val ftwo(struct pure *u, const char *op, struct val x, struct val y)
{
	return ins(u->e, "%s %s %s, %s", op, fty(u->bits, u->vec), x.s, y.s);
}

static struct val fcmp(struct pure *u, const char *cc, unsigned bits, struct val x, struct val y)
{
	return ins(u->e, "fcmp %s %s %s, %s", cc, fty(bits, u->vec), x.s, y.s);
}

static struct val fk(struct pure *u, unsigned bits, double d)
{
	uint64_t v = 0;
	float f = (float)d;

	if (bits == 64)
		memcpy(&v, &d, 8);
	else
		memcpy(&v, &f, 4);
	return ffrom(u, bits, k(u, bits, v));
}

/* min and max: the operand that is no NaN, and -0 < +0 (9.7.3.11, 12) */
static struct val fmin_max(struct pure *u)
{
	bool max = u->n->code == N_FMAX;
	struct val x = fsrc(u, u->o->a), y = fsrc(u, u->o->b), xi = fbits(u, u->bits, x), yi = fbits(u, u->bits, y);
	struct val eq = two(u, max ? "and" : "or", u->bits, xi, yi);
	struct val r = sel(u, fcmp(u, max ? "ogt" : "olt", u->bits, x, y), u->bits, xi, yi);
	struct val xnan = fcmp(u, "uno", u->bits, x, x), ynan = fcmp(u, "uno", u->bits, y, y);

	if (!SEEDED(MIN_ZERO))
		r = sel(u, fcmp(u, "oeq", u->bits, x, y), u->bits, eq, r);
	if (!SEEDED(MIN_NAN))
		r = sel(u, xnan, u->bits, yi, r);
	r = sel(u, ynan, u->bits, xi, r);
	return sel(u, two(u, "and", 1, xnan, ynan), u->bits,
		   k(u, u->bits, u->bits == 32 ? 0x7fffffffu : 0x7fffffffffffffffull), r);
}

static struct val call1(struct pure *u, const char *name, unsigned bits, struct val x)
{
	const char *f = fty(bits, u->vec);

	return ins(u->e, "call %s @llvm.%s.%s(%s %s)", f, name, ftail(u, bits), f, x.s);
}

static struct val finish(struct pure *u, struct val f)
{
	uint32_t r = u->o->d / 4;
	struct val v, c;

	if (u->n->flags & NF_SAT && !(u->n->flags & NF_FTZ) && !SEEDED(SATURATE_LOST)) {
		c = fcmp(u, "olt", u->bits, f, fk(u, u->bits, 1));
		v = sel(u, c, u->bits, fbits(u, u->bits, f), k(u, u->bits, u->bits == 32 ? 0x3f800000u : 0x3ff0000000000000ull));
		c = fcmp(u, "ogt", u->bits, f, fk(u, u->bits, 0));
		return sel(u, c, u->bits, v, k(u, u->bits, 0));
	}
	v = fbits(u, u->bits, f);
	if (u->bits == 64)
		return v;
	if (u->n->flags & NF_FTZ)
		v = flush(u, v);
	if (u->n->flags & NF_SAT) {
		f = ffrom(u, 32, v);
		c = fcmp(u, "olt", 32, f, fk(u, 32, 1));
		v = sel(u, c, 32, v, k(u, 32, 0x3f800000u));
		c = fcmp(u, "ogt", 32, f, fk(u, 32, 0));
		return sel(u, c, 32, v, k(u, 32, 0));
	}
	return u->e->p->dirty[r] ? v : canonical(u->e, v, u->vec);
}

static struct val floating(struct pure *u)
{
	const struct mp_jit_op *o = u->o;
	struct val x, y, z, v;
	const char *f = fty(u->bits, u->vec);

	switch (u->n->code) {
	case N_FADD: x = fsrc(u, o->a), y = fsrc(u, o->b); return finish(u, ftwo(u, "fadd", x, y));
	case N_FSUB: x = fsrc(u, o->a), y = fsrc(u, o->b); return finish(u, ftwo(u, "fsub", x, y));
	case N_FMUL: x = fsrc(u, o->a), y = fsrc(u, o->b); return finish(u, ftwo(u, "fmul", x, y));
	case N_FDIV: x = fsrc(u, o->a), y = fsrc(u, o->b); return finish(u, ftwo(u, "fdiv", x, y));
	case N_FMA:
		x = fsrc(u, o->a), y = fsrc(u, o->b), z = fsrc(u, o->c);
		if (SEEDED(FMA_TWICE))
			return finish(u, ftwo(u, "fadd", ftwo(u, "fmul", x, y), z));
		return finish(u, ins(u->e, "call %s @llvm.fma.%s(%s %s, %s %s, %s %s)", f, ftail(u, u->bits), f, x.s, f,
				     y.s, f, z.s));
	case N_FRCP: x = fsrc(u, o->a); return finish(u, ftwo(u, "fdiv", fk(u, u->bits, 1), x));
	case N_FSQRT: x = fsrc(u, o->a); return finish(u, call1(u, "sqrt", u->bits, x));
	case N_FRSQRT: { /* through double precision, as the first tier does it */
		x = fsrc(u, o->a);
		x = ins(u->e, "fpext %s %s to %s", f, x.s, fty(64, u->vec));
		x = call1(u, "sqrt", 64, x);
		x = ins(u->e, "fdiv %s %s, %s", fty(64, u->vec), fk(u, 64, 1).s, x.s);
		return finish(u, ins(u->e, "fptrunc %s %s to %s", fty(64, u->vec), x.s, f));
	}
	case N_FMIN: case N_FMAX:
		return fmin_max(u);
	case N_FABS: case N_FNEG:
		v = src(u, o->a, u->bits);
		if (u->n->flags & NF_FTZ)
			v = flush(u, v);
		return u->n->code == N_FABS ? two(u, "and", u->bits, v, k(u, u->bits, ~(1ull << (u->bits - 1))))
					    : two(u, "xor", u->bits, v, k(u, u->bits, 1ull << (u->bits - 1)));
	default: /* copysign: the sign of a on the magnitude of b */
		if (SEEDED(COPYSIGN_SWAPPED)) {
			x = src(u, o->b, u->bits), y = src(u, o->a, u->bits);
		} else {
			x = src(u, o->a, u->bits), y = src(u, o->b, u->bits);
		}
		x = two(u, "and", u->bits, x, k(u, u->bits, 1ull << (u->bits - 1)));
		y = two(u, "and", u->bits, y, k(u, u->bits, ~(1ull << (u->bits - 1))));
		return two(u, "or", u->bits, x, y);
	}
}

static struct val conversion(struct pure *u)
{
	static const char *const modes[] = {"rint", "trunc", "floor", "ceil"};
	const struct mp_jit_op *o = u->o;
	unsigned bits = u->bits;
	struct val v, x;

	switch (u->n->code) {
	case N_ITOF:
		v = src(u, o->a, 32);
		v = ins(u->e, "%s %s %s to %s", u->n->flags & NF_SIGNED && !SEEDED(FROM_INT_SIGN) ? "sitofp" : "uitofp",
			ity(32, u->vec), v.s, fty(bits, u->vec));
		return fbits(u, bits, v);
	case N_FTOI: { /* saturating; NaN gives 0, of a double INT_MIN */
		struct val nan;

		x = ffrom(u, bits, src(u, o->a, bits));
		if (SEEDED(TO_INT_ROUNDS))
			x = call1(u, "rint", bits, x);
		v = ins(u->e, "call %s @llvm.fptosi.sat.%s.%s(%s %s)", ity(32, u->vec), itail(u, 32), ftail(u, bits),
			fty(bits, u->vec), x.s);
		if (bits == 32)
			return v;
		nan = fcmp(u, "uno", 64, x, x);
		return sel(u, nan, 32, k(u, 32, 0x80000000u), v);
	}
	case N_FTOF:
		x = ffrom(u, bits, src(u, o->a, bits));
		if (bits == 32)
			return fbits(u, 64, ins(u->e, "fpext %s %s to %s", fty(32, u->vec), x.s, fty(64, u->vec)));
		v = fbits(u, 32, ins(u->e, "fptrunc %s %s to %s", fty(64, u->vec), x.s, fty(32, u->vec)));
		return u->e->p->dirty[o->d / 4] ? v : canonical(u->e, v, u->vec);
	default: /* N_ROUND */
		v = src(u, o->a, bits);
		if (bits == 32 && (o->x & 8))
			v = flush(u, v);
		if (o->x & 4)
			v = fbits(u, bits, call1(u, modes[(o->x & 3) ^ SEEDED(ROUND_MODE)], bits, ffrom(u, bits, v)));
		return bits == 32 ? canonical(u->e, v, u->vec) : v;
	}
}

/* ---- One operation ---- */

struct val emit_pure(struct emit *e, const struct mp_jit_op *o, const struct nat *n, bool vec, unsigned g)
{
	struct pure u = {.e = e, .o = o, .n = n, .vec = vec, .g = g, .bits = n->bits, .t = ity(n->bits, vec),
			 .b = bools(vec)};
	unsigned b = n->bits;
	struct val x, y, c;

	if (n->code >= N_FADD && n->code <= N_FCOPYSIGN)
		return floating(&u);
	switch (n->code) {
	case N_ITOI: return int_to_int(&u);
	case N_ITOF: case N_FTOI: case N_FTOF: case N_ROUND: return conversion(&u);
	case N_PACK: return pack(&u);
	case N_MOVPRED: return src(&u, o->a, 1);
	case N_NOTPRED: return two(&u, "xor", 1, src(&u, o->a, 1), k(&u, 1, 1));
	case N_ANDPRED: x = src(&u, o->a, 1), y = src(&u, o->b, 1); return two(&u, "and", 1, x, y);
	case N_ORPRED: x = src(&u, o->a, 1), y = src(&u, o->b, 1); return two(&u, "or", 1, x, y);
	case N_XORPRED: x = src(&u, o->a, 1), y = src(&u, o->b, 1); return two(&u, "xor", 1, x, y);
	case N_CVTA: return two(&u, "add", 64, src(&u, o->a, 64), k(&u, 64, o->imm));
	case N_CVTATO: return two(&u, "sub", 64, src(&u, o->a, 64), k(&u, 64, o->imm));
	case N_MOV: /* as it is: a register of raw values stays one */
		return vec ? rd_vec(e, o->a, b, e->p->dirty[o->d / 4]) : rd_scalar(e, o->a, b, g, e->p->dirty[o->d / 4]);
	case N_SELP: {
		bool raw = e->p->dirty[o->d / 4];

		x = vec ? rd_vec(e, o->a, b, raw) : rd_scalar(e, o->a, b, g, raw);
		y = vec ? rd_vec(e, o->b, b, raw) : rd_scalar(e, o->b, b, g, raw);
		c = rd_pred(e, o->c, vec, o->x != 0);
		return SEEDED(SELECT_SWAPPED) ? sel(&u, c, b, y, x) : sel(&u, c, b, x, y);
	}
	}
	x = src(&u, o->a, b);
	switch (n->code) {
	case N_NOT: return two(&u, "xor", b, x, k(&u, b, ~0ull));
	case N_CNOT: return fit(&u, 1, icmp(&u, "eq", b, x, k(&u, b, 0)), b, false);
	case N_NEG: return two(&u, "sub", b, k(&u, b, 0), x);
	case N_ABS:
		if (!(n->flags & NF_SIGNED) || SEEDED(ABS_SIGN))
			return x;
		c = icmp(&u, "slt", b, x, k(&u, b, 0));
		return sel(&u, c, b, two(&u, "sub", b, k(&u, b, 0), x), x);
	case N_SHL: case N_SHR: return shift(&u, x);
	case N_BFE: return bfe(&u, x);
	case N_BFI: return bfi(&u, x);
	case N_SHF: return funnel(&u, x);
	case N_LOP3: return lop3(&u, x);
	case N_PRMT: return prmt(&u, x);
	case N_POPC:
		x = ins(e, "call %s @llvm.ctpop.%s(%s %s)", u.t, itail(&u, b), u.t, x.s);
		return fit(&u, b, x, 32, false);
	case N_CLZ:
		x = ins(e, "call %s @llvm.ctlz.%s(%s %s, i1 false)", u.t, itail(&u, b), u.t, x.s);
		return fit(&u, b, x, 32, false);
	case N_BREV: return ins(e, "call %s @llvm.bitreverse.%s(%s %s)", u.t, itail(&u, b), u.t, x.s);
	}
	y = src(&u, o->b, b);
	switch (n->code) {
	case N_ADD: return two(&u, "add", b, x, y);
	case N_SUB: return two(&u, "sub", b, x, y);
	case N_AND: return two(&u, "and", b, x, y);
	case N_OR: return two(&u, "or", b, x, y);
	case N_XOR: return two(&u, "xor", b, x, y);
	case N_MUL: return two(&u, "mul", b, x, y);
	case N_MAD: return two(&u, SEEDED(MAD_ADDEND) ? "sub" : "add", b, two(&u, "mul", b, x, y), src(&u, o->c, b));
	case N_MIN: case N_MAX: return min_max(&u, x, y);
	case N_SAD: {
		bool sign = (n->flags & NF_SIGNED) && !SEEDED(SAD_SIGN);

		c = icmp(&u, sign ? "slt" : "ult", b, x, y);
		x = sel(&u, c, b, two(&u, "sub", b, y, x), two(&u, "sub", b, x, y));
		return two(&u, "add", b, src(&u, o->c, b), x);
	}
	case N_MULHI: return high(&u, x, y);
	case N_MADHI: return two(&u, "add", b, high(&u, x, y), src(&u, o->c, b));
	case N_MULWIDE: return wide(&u, x, y);
	case N_MADWIDE: return two(&u, "add", b * 2, wide(&u, x, y), src(&u, o->c, b * 2));
	case N_DIV: case N_REM: return division(&u, n->code == N_REM, x, y);
	}
	emit_fail(e, "operation %u (%s)", n->code, o->name);
	return x;
}

static unsigned result_bits(const struct mp_jit_op *o, const struct nat *n)
{
	switch (n->code) {
	case N_MOVPRED: case N_NOTPRED: case N_ANDPRED: case N_ORPRED: case N_XORPRED: return 1;
	case N_MULWIDE: case N_MADWIDE: return n->bits * 2u;
	case N_ITOI: return o->size * 8u;
	case N_FTOI: case N_POPC: case N_CLZ: return 32;
	case N_FTOF: return n->bits == 32 ? 64 : 32;
	case N_PACK: return o->ext[1] * 8;
	case N_CVTA: case N_CVTATO: return 64;
	case N_LOP3: case N_PRMT: return 32;
	}
	return n->bits;
}

/*
 * A word that grows from lane to lane is widened as if it did not wrap; whether
 * it does within a group is asked here, and then the first tier goes on.
 */
static void guard_wrap(struct emit *e, const struct mp_jit_op *o, uint32_t slot, bool sign)
{
	struct cls c = plan_operand(e->p, slot);
	int64_t span = c.stride * (int64_t)(e->p->group - 1);
	struct val ok = {""}, base, one;
	unsigned g;

	if (c.shape != AFF || !c.stride || SEEDED(WRAP_UNGUARDED))
		return;
	for (g = 0; g < e->p->ngroups; g++) {
		base = rd_scalar(e, slot, 32, g, false);
		if (span > INT32_MAX || span < INT32_MIN)
			one = (struct val){"false"};
		else if (sign && span > 0)
			one = ins(e, "icmp sle i32 %s, %d", base.s, (int32_t)(INT32_MAX - span));
		else if (sign)
			one = ins(e, "icmp sge i32 %s, %d", base.s, (int32_t)(INT32_MIN - span));
		else if (span > 0)
			one = ins(e, "icmp ule i32 %s, %d", base.s, (int32_t)(uint32_t)(UINT32_MAX - span));
		else
			one = ins(e, "icmp uge i32 %s, %d", base.s, (int32_t)-span);
		ok = g ? ins(e, "and i1 %s, %s", ok.s, one.s) : one;
	}
	leave_unless(e, ok, e->p->groups[e->group].first);
}

static void guards(struct emit *e, const struct mp_jit_op *o, const struct nat *n, struct cls c)
{
	if (c.shape != AFF)
		return;
	switch (n->code) {
	case N_MULWIDE: case N_MADWIDE:
		guard_wrap(e, o, o->a, n->flags & NF_SIGNED);
		guard_wrap(e, o, o->b, n->flags & NF_SIGNED);
		break;
	case N_ITOI:
		if (o->n == 4 && o->size == 8)
			guard_wrap(e, o, o->a, type_signed(o->e >> 8 & 255));
		break;
	}
}

static void compare(struct emit *e, const struct mp_jit_op *o, const struct nat *n, bool vec)
{
	static const char *const f[] = {"oeq", "one", "olt", "ole", "ogt", "oge", "ueq",
					"une", "ult", "ule", "ugt", "uge", "ord", "uno"};
	static const char *const s[] = {"eq", "ne", "slt", "sle", "sgt", "sge"};
	static const char *const w[] = {"eq", "ne", "ult", "ule", "ugt", "uge"};
	struct pure u = {.e = e, .o = o, .n = n, .vec = vec, .bits = n->bits, .b = bools(vec)};
	struct val p, q, c;
	unsigned i;

	if (n->flags & NF_FLOAT) {
		struct val x = fsrc(&u, o->a), y = fsrc(&u, o->b);

		p = fcmp(&u, f[SEEDED(COMPARE_ORDERED) && n->sub < 12 ? (n->sub + 6) % 12 : n->sub], n->bits, x, y);
	} else {
		struct val x = src(&u, o->a, n->bits), y = src(&u, o->b, n->bits);

		p = icmp(&u, (n->flags & NF_SIGNED ? s : w)[n->sub % 6], n->bits, x, y);
	}
	q = SEEDED(COMPARE_SECOND) ? p : two(&u, "xor", 1, p, k(&u, 1, 1));
	if (o->x & 3) {
		static const char *const ops[] = {"", "and", "or", "xor"};

		c = rd_pred(e, o->c, vec, !SEEDED(COMPARE_THIRD) && (o->x & 4));
		p = two(&u, ops[o->x & 3], 1, p, c);
		q = two(&u, ops[o->x & 3], 1, q, c);
	}
	/* the guard may be one of the results: that one is written last */
	for (i = 0; i < 2; i++) {
		bool second = i ^ (o->d == o->guard);
		uint32_t d = second ? o->d2 : o->d;

		if (d != MP_JIT_NONE)
			wr(e, o, d, 1, vec ? res_var(second ? q : p) : res_uni(second ? q : p));
	}
}

static void sreg(struct emit *e, const struct mp_jit_op *o, struct cls c)
{
	struct res r = {.cls = c};
	unsigned k = o->n ? o->n == 'w' ? 3 : o->n - 'x' : 0, bits = o->size * 8u, g, at;
	struct val v;

	switch (o->x) {
	case MP_PTX_S_LANEID:
		if (c.shape == VAR) {
			v = (struct val){"%laneid"};
			if (bits != 32)
				v = ins(e, "%s <32 x i32> %%laneid to %s", bits < 32 ? "trunc" : "zext", ity(bits, true));
			wr(e, o, o->d, bits, res_var(v));
			return;
		}
		for (g = 0; g < e->p->ngroups; g++)
			r.v[g] = konst(e, bits, false, g * e->p->group);
		wr(e, o, o->d, bits, r);
		return;
	case MP_PTX_S_TID:
		if (k == 3) {
			wr(e, o, o->d, bits, res_uni(konst(e, bits, false, 0)));
			return;
		}
		if (c.shape == VAR) {
			v = ins(e, "load <32 x i32>, ptr %%p.tid%u, align 4", k);
			if (bits != 32)
				v = ins(e, "%s <32 x i32> %s to %s", bits < 32 ? "trunc" : "zext", v.s, ity(bits, true));
			wr(e, o, o->d, bits, res_var(v));
			return;
		}
		for (g = 0; g < e->p->ngroups; g++) {
			v = ins(e, "getelementptr i32, ptr %%p.tid%u, i64 %u", k, SEEDED(TID_GROUP) ? 0 : g * e->p->group);
			v = ins(e, "load i32, ptr %s, align 4", v.s);
			if (bits != 32)
				v = ins(e, "%s i32 %s to i%u", bits < 32 ? "trunc" : "zext", v.s, bits);
			r.v[g] = v;
		}
		wr(e, o, o->d, bits, r);
		return;
	case MP_PTX_S_NTID: at = CTX(ntid); break;
	case MP_PTX_S_CTAID: at = CTX(ctaid); break;
	case MP_PTX_S_NCTAID: at = CTX(nctaid); break;
	default: at = CTX(warp), k = 0; break;
	}
	if (k == 3) {
		wr(e, o, o->d, bits, res_uni(konst(e, bits, false, o->x != MP_PTX_S_CTAID)));
		return;
	}
	v = ins(e, "getelementptr i8, ptr %%c, i64 %u", at + k * 4);
	v = ins(e, "load i32, ptr %s, align 4, !invariant.load !1", v.s);
	if (bits != 32)
		v = ins(e, "%s i32 %s to i%u", bits < 32 ? "trunc" : "zext", v.s, bits);
	wr(e, o, o->d, bits, res_uni(v));
}

/* ---- Across lanes: all members are here ---- */

static void shuffle(struct emit *e, const struct mp_jit_op *o)
{
	uint32_t bv = (uint32_t)plan_const(e->p, o->b) & 31, cv = (uint32_t)plan_const(e->p, o->c), p = 0;
	int clamp = (int)(cv & 31), seg = (int)(cv >> 8 & 31), l, at = 0;
	struct val v = rd_vec(e, o->a, 32, false), q;
	char mask[400];

	at = snprintf(mask, sizeof(mask), "<32 x i32> <");
	for (l = 0; l < MP_JIT_LANES; l++) {
		int min = l & seg, max = min | (clamp & ~seg), j;
		bool ok;

		switch (o->x) {
		case 0: j = l - (int)bv; ok = j >= max; break;
		case 1: j = l + (int)bv; ok = j <= max; break;
		case 2: j = l ^ (int)bv; ok = j <= max; break;
		default: j = min | ((int)bv & ~seg); ok = j <= max; break;
		}
		if (!ok && !SEEDED(SHUFFLE_CLAMP))
			j = l;
		if (SEEDED(SHUFFLE_FOUND))
			ok = true;
		p |= (uint32_t)ok << l;
		at += snprintf(mask + at, sizeof(mask) - (size_t)at, "%si32 %d", l ? ", " : "", j & 31);
	}
	snprintf(mask + at, sizeof(mask) - (size_t)at, ">");
	v = ins(e, "shufflevector <32 x i32> %s, <32 x i32> poison, %s", v.s, mask);
	wr(e, o, o->d, 32, res_var(v));
	if (o->d2 != MP_JIT_NONE) {
		q = vec_of(e, konst(e, 32, false, p));
		wr(e, o, o->d2, 1, res_var(q));
	}
}

static void vote(struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	struct val v = rd_pred(e, o->a, true, o->x != 0 && !SEEDED(VOTE_NEGATED)), b = bits_of(e, v), none, all;

	if (!e->full && !SEEDED(BALLOT_ALL))
		b = ins(e, "and i32 %s, %s", b.s, e->cur.s);
	if (!strcmp(o->name, "vote.ballot")) {
		wr(e, o, o->d, 32, res_uni(b));
		return;
	}
	none = ins(e, "icmp eq i32 %s, 0", b.s);
	all = ins(e, "icmp eq i32 %s, %s", b.s, e->full ? "-1" : e->cur.s);
	if (!strcmp(o->name, "vote.any"))
		v = ins(e, "xor i1 %s, true", none.s);
	else if (!strcmp(o->name, "vote.all"))
		v = all;
	else
		v = ins(e, "or i1 %s, %s", none.s, all.s);
	wr(e, o, o->d, 1, res_uni(v));
	(void)n;
}

bool emit_is_native(const struct emit *e, const struct group *g)
{
	uint32_t i;

	for (i = g->first; g->native && i < g->first + g->n; i++) {
		const struct nat *n = &e->p->nat[i];

		if ((n->code == N_DIV || n->code == N_REM) && n->bits == 64 &&
		    plan_class(e->p, &e->k->ops[i], n).shape == VAR)
			return false;
	}
	return g->native;
}

void emit_op(struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	struct cls c = plan_class(e->p, o, n);
	struct res r = {.cls = c};
	unsigned g;

	switch (n->code) {
	case N_NOP: return;
	case N_LD: case N_ST: emit_memory(e, o, n); return;
	case N_SREG: sreg(e, o, c); return;
	case N_SHFL: shuffle(e, o); return;
	case N_VOTE: vote(e, o, n); return;
	case N_SETP: compare(e, o, n, c.shape == VAR); return;
	case N_IMM: wr(e, o, o->d, n->bits, res_uni(konst(e, n->bits, false, o->imm))); return;
	case N_UNPACK: {
		unsigned whole = o->ext[1] * 8, part = o->size * 8u, i;

		for (i = 0; i < o->n; i++) {
			if (o->ext[3 + i] == MP_JIT_NONE)
				continue;
			for (g = 0; g < (c.shape == AFF ? e->p->ngroups : 1); g++) {
				struct pure u = {.e = e, .vec = c.shape == VAR, .g = g};
				struct val v = src(&u, o->a, whole);

				v = two(&u, "lshr", whole, v, k(&u, whole, SEEDED(UNPACK_SHIFT) ? 0 : i * part));
				r.v[g] = fit(&u, whole, v, part, false);
			}
			wr(e, o, o->ext[3 + i], part, r);
		}
		return;
	}
	}
	if (!e->part) /* operations that would need it are in no part */
		guards(e, o, n, c);
	for (g = 0; g < (c.shape == AFF && !e->part ? e->p->ngroups : 1); g++)
		r.v[g] = emit_pure(e, o, n, c.shape == VAR, g);
	wr(e, o, o->d, result_bits(o, n), r);
}
