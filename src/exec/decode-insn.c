/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions to operations: most become one operation whose handler is found
 * by a name made of the opcode, the modifiers that matter, and the type.  What
 * has no handler is refused with the instruction's text.
 */
#include "exec/decode.h"
#include "exec/video.h"

#include <stdio.h>
#include <string.h>

const char *type_name(uint8_t t)
{
	return mp_ptx_word_name(t);
}

bool type_is_float(uint8_t t)
{
	return t == MP_PTX_T_F32 || t == MP_PTX_T_F64;
}

bool type_is_half(uint8_t t)
{
	return t == MP_PTX_T_F16 || t == MP_PTX_T_F16X2 || t == MP_PTX_T_BF16 || t == MP_PTX_T_BF16X2;
}

bool type_is_signed(uint8_t t)
{
	return t == MP_PTX_T_S8 || t == MP_PTX_T_S16 || t == MP_PTX_T_S32 || t == MP_PTX_T_S64;
}

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

/* ---- Operands ---- */

static uint64_t float_bits(const struct mp_ptx_operand *o, unsigned size)
{
	float f;
	double g;
	uint64_t bits = o->bits;
	uint32_t w;

	if (o->kind == MP_PTX_F64 && size == 4) {
		memcpy(&g, &bits, 8);
		f = (float)g;
		memcpy(&w, &f, 4);
		return w;
	}
	if (o->kind == MP_PTX_F32 && size == 8) {
		w = (uint32_t)bits;
		memcpy(&f, &w, 4);
		g = f;
		memcpy(&bits, &g, 8);
	}
	return bits;
}

static uint32_t sreg_slot(struct decode *d, const struct mp_ptx_operand *o, unsigned size)
{
	uint32_t s = decode_temp(d, size);
	struct op *op;

	op = decode_op(d, "mov.sreg");
	op->d = s;
	op->x = (uint32_t)o->bits;
	op->n = o->comp;
	op->size = (uint8_t)size;
	return s;
}

uint32_t decode_src(struct decode *d, const struct mp_ptx_operand *o, unsigned size, bool f)
{
	uint64_t v;
	bool local;

	switch (o->kind) {
	case MP_PTX_REG:
		if (decode_reg_size(d, o->reg) != size && !(size == 1 && decode_reg_size(d, o->reg) == 2)) {
			decode_refuse(d, "an operand of the wrong width");
			return SLOT_CONST;
		}
		return d->slots[o->reg];
	case MP_PTX_IMM:
		if (f) { /* an integer where a float is due: its value */
			struct mp_ptx_operand g = *o;
			double v64 = (double)(int64_t)o->bits;

			g.kind = MP_PTX_F64;
			memcpy(&g.bits, &v64, 8);
			return decode_const(d, size, float_bits(&g, size));
		}
		return decode_const(d, size, o->bits);
	case MP_PTX_F32:
	case MP_PTX_F64:
		return decode_const(d, size, f ? float_bits(o, size) : o->bits);
	case MP_PTX_SREG:
		return sreg_slot(d, o, size);
	case MP_PTX_VAR:
		if (!decode_var_address(d, o->var, &v, &local))
			return SLOT_CONST;
		v += o->bits;
		if (local) {
			struct op *op;
			uint32_t s = decode_temp(d, size);

			op = decode_op(d, size == 4 ? "mov.local.32" : "mov.local.64");
			op->d = s;
			op->imm = v;
			return s;
		}
		if (size < 8 && v >> (size * 8)) {
			decode_refuse(d, "an address that does not fit the register");
			return SLOT_CONST;
		}
		return decode_const(d, size, v);
	case MP_PTX_FUNC:
		if (size != 8)
			decode_refuse(d, "a function's address needs 64 bits");
		return decode_const(d, 8, GENERIC_FUNC + 16ull * o->func->index);
	default:
		decode_refuse(d, "an operand of an unexpected kind");
		return SLOT_CONST;
	}
}

uint32_t decode_wide_src(struct decode *d, const struct mp_ptx_operand *o, unsigned size,
			 unsigned *ret_reg)
{
	unsigned reg = size == 1 ? 2 : size;

	if (o->kind == MP_PTX_REG) {
		reg = decode_reg_size(d, o->reg);
		if (reg == 1)
			reg = 2;
		if (reg < size || !reg) {
			decode_refuse(d, "an operand of the wrong width");
			return SLOT_CONST;
		}
		*ret_reg = reg;
		return d->slots[o->reg];
	}
	*ret_reg = reg;
	return decode_src(d, o, size, false);
}

uint32_t decode_dst(struct decode *d, const struct mp_ptx_operand *o, unsigned size)
{
	if (o->kind == MP_PTX_SINK)
		return decode_temp(d, size);
	if (o->kind != MP_PTX_REG || decode_reg_size(d, o->reg) != size) {
		decode_refuse(d, "a destination of the wrong kind or width");
		return 0;
	}
	return d->slots[o->reg];
}

/* ---- The common shape: destination and up to three sources ---- */

static struct op *arith(struct decode *d, const char *key, unsigned dsize, bool f, unsigned a,
			unsigned b, unsigned c)
{
	const struct mp_ptx_insn *in = d->insn;
	unsigned want = 1u + !!a + !!b + !!c;
	uint32_t dst, sa = 0, sb = 0, sc = 0;
	struct op *o;

	if (in->nops != want) {
		decode_refuse(d, "%u operands where %u are due", in->nops, want);
		return NULL;
	}
	dst = decode_dst(d, &in->ops[0], dsize);
	if (a)
		sa = decode_src(d, &in->ops[1], a, f);
	if (b)
		sb = decode_src(d, &in->ops[2], b, f);
	if (c)
		sc = decode_src(d, &in->ops[3], c, f);
	o = decode_op(d, key);
	o->d = dst;
	o->a = sa;
	o->b = sb;
	o->c = sc;
	return o;
}

static void add_words(char *key, size_t size, const struct decode *d, const enum mp_ptx_word *words,
		      size_t n)
{
	size_t i, len;

	for (i = 0; i < n; i++)
		if (has(d, words[i])) {
			len = strlen(key);
			snprintf(key + len, size - len, ".%s", mp_ptx_word_name(words[i]));
		}
}

/* MXCSR's field for a directed rounding, or 0. */
static uint32_t directed(const struct decode *d)
{
	return has(d, MP_PTX_W_RM) ? 1 : has(d, MP_PTX_W_RP) ? 2 : has(d, MP_PTX_W_RZ) ? 3 : 0;
}

/* add sub mul div fma rcp sqrt and the rest on f32 and f64 (9.7.3, 9.7.4) */
static void float_insn(struct decode *d, const char *op, unsigned sources)
{
	static const enum mp_ptx_word words[] = {MP_PTX_W_FTZ, MP_PTX_W_SAT, MP_PTX_W_RELU,
						 MP_PTX_W_NAN, MP_PTX_W_XORSIGN, MP_PTX_W_ABS};
	uint8_t t = d->insn->types[0];
	unsigned size = mp_ptx_type_size(t), s = size;
	char key[64];
	struct op *o;

	if (directed(d)) {
		snprintf(key, sizeof(key), "%s.dir.%s", op, type_name(t));
	} else {
		snprintf(key, sizeof(key), "%s", op);
		if (t == MP_PTX_T_F64 && has(d, MP_PTX_W_APPROX) &&
		    (d->insn->op == MP_PTX_OP_RCP || d->insn->op == MP_PTX_OP_RSQRT))
			snprintf(key, sizeof(key), "%s.approx", op);
		add_words(key, sizeof(key), d, words, MP_ARRAY_LEN(words));
		snprintf(key + strlen(key), sizeof(key) - strlen(key), ".%s", type_name(t));
	}
	o = arith(d, key, size, true, s, sources > 1 ? s : 0, sources > 2 ? s : 0);
	if (o && directed(d))
		o->x = directed(d) | (has(d, MP_PTX_W_FTZ) ? 16 : 0) | (has(d, MP_PTX_W_SAT) ? 32 : 0);
}

static bool is_int(uint8_t t)
{
	switch (t) {
	case MP_PTX_T_B16: case MP_PTX_T_U16: case MP_PTX_T_S16:
	case MP_PTX_T_B32: case MP_PTX_T_U32: case MP_PTX_T_S32:
	case MP_PTX_T_B64: case MP_PTX_T_U64: case MP_PTX_T_S64:
		return true;
	}
	return false;
}

static unsigned bits_of(uint8_t t)
{
	return mp_ptx_type_size(t) * 8;
}

/* "u" or "s" and the width, for handlers that care about the sign. */
static void signed_key(char *key, size_t n, const char *op, uint8_t t)
{
	snprintf(key, n, "%s.%c%u", op, type_is_signed(t) ? 's' : 'u', bits_of(t));
}

static void add_sub(struct decode *d, const char *op)
{
	uint8_t t = d->insn->types[0];
	unsigned size = mp_ptx_type_size(t);
	char key[64];
	struct op *o;
	bool carry_in = d->insn->op == MP_PTX_OP_ADDC || d->insn->op == MP_PTX_OP_SUBC;

	if (type_is_half(t) || t == MP_PTX_T_F32X2 || t == MP_PTX_T_U16X2 || t == MP_PTX_T_S16X2 ||
	    d->insn->ntypes > 1) {
		decode_half(d);
		return;
	}
	if (type_is_float(t)) {
		float_insn(d, op, 2);
		return;
	}
	if (has(d, MP_PTX_W_SAT))
		snprintf(key, sizeof(key), "%s.sat.s32", op);
	else if (carry_in)
		snprintf(key, sizeof(key), "%s.%u", op, bits_of(t));
	else if (has(d, MP_PTX_W_CC))
		snprintf(key, sizeof(key), "%s.cc.%u", op, bits_of(t));
	else
		snprintf(key, sizeof(key), "%s.%u", op, bits_of(t));
	o = arith(d, key, size, false, size, size, 0);
	if (o) {
		o->c = o->b;
		o->x = has(d, MP_PTX_W_CC);
	}
}

static void mul_mad(struct decode *d, const char *op)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[0];
	unsigned size = mp_ptx_type_size(t), dsize = size;
	bool mad = in->op != MP_PTX_OP_MUL;
	const char *part = has(d, MP_PTX_W_HI) ? "hi" : has(d, MP_PTX_W_WIDE) ? "wide" : "lo";
	char key[64], full[40];
	struct op *o;

	if (type_is_half(t) || t == MP_PTX_T_F32X2) {
		decode_half(d);
		return;
	}
	if (type_is_float(t)) {
		float_insn(d, mad ? "fma" : op, mad ? 3 : 2);
		return;
	}
	if (has(d, MP_PTX_W_WIDE))
		dsize *= 2;
	snprintf(full, sizeof(full), "%s.%s", op, part);
	if (in->op == MP_PTX_OP_MADC || has(d, MP_PTX_W_CC)) {
		bool s = type_is_signed(t) && part[0] == 'h';

		snprintf(key, sizeof(key), "%s%s.%c%u", full, in->op == MP_PTX_OP_MADC ? "" : ".cc",
			 s ? 's' : 'u', bits_of(t));
	} else if (has(d, MP_PTX_W_SAT)) {
		snprintf(key, sizeof(key), "%s.sat.s32", full);
	} else if (part[0] == 'l') {
		snprintf(key, sizeof(key), "%s.%u", full, bits_of(t));
	} else {
		signed_key(key, sizeof(key), full, t);
	}
	o = arith(d, key, dsize, false, size, size, mad ? dsize : 0);
	if (o)
		o->x = has(d, MP_PTX_W_CC);
}

/* ---- Comparison ---- */

static const char *compare_name(const struct decode *d, uint8_t *t)
{
	static const enum mp_ptx_word words[] = {
		MP_PTX_W_EQ,  MP_PTX_W_NE,  MP_PTX_W_LT,  MP_PTX_W_LE,	MP_PTX_W_GT,
		MP_PTX_W_GE,  MP_PTX_W_EQU, MP_PTX_W_NEU, MP_PTX_W_LTU, MP_PTX_W_LEU,
		MP_PTX_W_GTU, MP_PTX_W_GEU, MP_PTX_W_NUM, MP_PTX_W_NANCMP};
	size_t i;
	uint8_t u = *t;

	/* lo ls hi hs are the unsigned ones (9.7.6.2); bit types compare as unsigned */
	if (u == MP_PTX_T_B16)
		u = MP_PTX_T_U16;
	if (u == MP_PTX_T_B32)
		u = MP_PTX_T_U32;
	if (u == MP_PTX_T_B64)
		u = MP_PTX_T_U64;
	*t = u;
	if (has(d, MP_PTX_W_LO))
		return "lt";
	if (has(d, MP_PTX_W_LS))
		return "le";
	if (has(d, MP_PTX_W_HI))
		return "gt";
	if (has(d, MP_PTX_W_HS))
		return "ge";
	for (i = 0; i < MP_ARRAY_LEN(words); i++)
		if (has(d, words[i]))
			return mp_ptx_word_name(words[i]);
	return NULL;
}

static void compare(struct decode *d, bool is_set)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->ntypes ? in->types[in->ntypes - 1] : 0;
	unsigned size = mp_ptx_type_size(t);
	const char *cmp = compare_name(d, &t);
	uint32_t a, b, c = 0, x = 0;
	char key[64];
	struct op *o;

	if (type_is_half(t) || (is_set && in->ntypes && type_is_half(in->types[0]))) {
		decode_half(d);
		return;
	}
	if (!cmp || (in->nops != 3 && in->nops != 4)) {
		decode_refuse(d, "an incomplete comparison");
		return;
	}
	if (t == MP_PTX_T_B8 || (!is_int(t) && !type_is_float(t))) {
		decode_refuse(d, "a comparison of an unknown type");
		return;
	}
	a = decode_src(d, &in->ops[1], size, type_is_float(t));
	b = decode_src(d, &in->ops[2], size, type_is_float(t));
	if (in->nops == 4) {
		x = has(d, MP_PTX_W_AND) ? 1 : has(d, MP_PTX_W_OR) ? 2 : has(d, MP_PTX_W_XOR) ? 3 : 0;
		if (!x) {
			decode_refuse(d, "a third operand without a boolean operation");
			return;
		}
		c = decode_src(d, &in->ops[3], 0, false);
		if (in->ops[3].negated)
			x |= 4;
	}
	snprintf(key, sizeof(key), "%s.%s.%s%s", is_set ? "set" : "setp", cmp,
		 has(d, MP_PTX_W_FTZ) && t == MP_PTX_T_F32 ? "ftz." : "", type_name(t));
	if (is_set) {
		uint32_t dst = decode_dst(d, &in->ops[0], 4);

		o = decode_op(d, key);
		o->d = dst;
		if (in->types[0] == MP_PTX_T_F32)
			x |= 8;
	} else {
		uint32_t p = SLOT_NONE, q = SLOT_NONE;

		if (in->ops[0].kind == MP_PTX_REG)
			p = decode_dst(d, &in->ops[0], 0);
		else if (in->ops[0].kind != MP_PTX_SINK)
			decode_refuse(d, "setp needs a predicate");
		if (in->ops[0].reg2 != MP_PTX_NOREG) {
			if (decode_reg_size(d, in->ops[0].reg2))
				decode_refuse(d, "setp needs predicates");
			else
				q = d->slots[in->ops[0].reg2];
		}
		o = decode_op(d, key);
		o->d = p;
		o->d2 = q;
	}
	o->a = a;
	o->b = b;
	o->c = c;
	o->x = x;
}

/* ---- mov (9.7.9.3, 4) ---- */

static void pack(struct decode *d, uint8_t t)
{
	const struct mp_ptx_insn *in = d->insn;
	bool unpack = in->ops[0].kind == MP_PTX_VEC;
	const struct mp_ptx_operand *v = &in->ops[!unpack];
	unsigned whole = mp_ptx_type_size(t), part, i;
	uint32_t *ext = decode_alloc(d, 3u + v->nelems, sizeof(*ext)), whole_slot = 0;
	struct op *o;

	if (!v->nelems || whole % v->nelems || whole / v->nelems > 8 || !ext) {
		decode_refuse(d, "a vector of the wrong size");
		return;
	}
	part = whole / v->nelems;
	ext[1] = whole == 1 ? 2 : whole;
	for (i = 0; i < v->nelems; i++) {
		const struct mp_ptx_operand *e = &v->elems[i];

		if (unpack && e->kind == MP_PTX_SINK)
			ext[3 + i] = SLOT_NONE;
		else if (e->kind == MP_PTX_REG && part == 1 && decode_reg_size(d, e->reg) <= 2)
			ext[3 + i] = d->slots[e->reg];
		else
			ext[3 + i] = unpack ? decode_dst(d, e, part) : decode_src(d, e, part, false);
	}
	if (unpack)
		whole_slot = decode_src(d, &in->ops[1], whole, false);
	else
		whole_slot = decode_dst(d, &in->ops[0], whole);
	o = decode_op(d, unpack ? "unpack" : "pack");
	if (unpack)
		o->a = whole_slot;
	else
		o->d = whole_slot;
	o->ext = ext;
	o->n = (uint8_t)v->nelems;
	o->size = (uint8_t)part;
}

static void move(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->ntypes ? in->types[0] : 0;
	unsigned size = mp_ptx_type_size(t);
	char key[32];
	struct op *o;
	uint32_t dst, src;

	if (in->nops != 2 || !in->ntypes) {
		decode_refuse(d, "an incomplete move");
		return;
	}
	if (in->ops[0].kind == MP_PTX_VEC || in->ops[1].kind == MP_PTX_VEC) {
		pack(d, t);
		return;
	}
	if (t == MP_PTX_T_PRED) {
		dst = decode_dst(d, &in->ops[0], 0);
		src = decode_src(d, &in->ops[1], 0, false);
		o = decode_op(d, in->ops[1].negated ? "not.pred" : "mov.pred");
		o->d = dst;
		o->a = src;
		return;
	}
	dst = decode_dst(d, &in->ops[0], size);
	if (in->ops[1].kind == MP_PTX_SREG && size >= 2 && size <= 8) {
		o = decode_op(d, "mov.sreg");
		o->d = dst;
		o->x = (uint32_t)in->ops[1].bits;
		o->n = in->ops[1].comp;
		o->size = (uint8_t)size;
		return;
	}
	src = decode_src(d, &in->ops[1], size, type_is_float(t));
	snprintf(key, sizeof(key), "mov.%u", size * 8);
	o = decode_op(d, key);
	o->d = dst;
	o->a = src;
}

/* and or xor not on predicates and words (9.7.8) */
static void logic(struct decode *d, const char *op, unsigned sources)
{
	uint8_t t = d->insn->types[0];
	unsigned size = mp_ptx_type_size(t);
	char key[32];

	if (t == MP_PTX_T_PRED) {
		const struct mp_ptx_insn *in = d->insn;
		uint32_t a, b = 0, dst;
		struct op *o;

		if (in->nops != sources + 1) {
			decode_refuse(d, "%u operands where %u are due", in->nops, sources + 1);
			return;
		}
		dst = decode_dst(d, &in->ops[0], 0);
		a = decode_src(d, &in->ops[1], 0, false);
		if (sources > 1)
			b = decode_src(d, &in->ops[2], 0, false);
		snprintf(key, sizeof(key), "%s.pred", op);
		o = decode_op(d, key);
		o->d = dst;
		o->a = a;
		o->b = b;
		return;
	}
	snprintf(key, sizeof(key), "%s.%u", op, size * 8);
	arith(d, key, size, false, size, sources > 1 ? size : 0, 0);
}

static void selp(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[0];
	unsigned size = mp_ptx_type_size(t);
	uint32_t dst, a, b, c;
	char key[32];
	struct op *o;

	if (in->nops != 4) {
		decode_refuse(d, "selp needs four operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], size);
	a = decode_src(d, &in->ops[1], size, type_is_float(t));
	b = decode_src(d, &in->ops[2], size, type_is_float(t));
	c = decode_src(d, &in->ops[3], 0, false);
	snprintf(key, sizeof(key), "selp.%u", size * 8);
	o = decode_op(d, key);
	o->d = dst;
	o->a = a;
	o->b = b;
	o->c = c;
	o->x = in->ops[3].negated ? FULL : 0;
}

static void slct(struct decode *d)
{
	unsigned size = mp_ptx_type_size(d->insn->types[0]);
	char key[32];

	if (d->insn->ntypes != 2) {
		decode_refuse(d, "slct needs two types");
		return;
	}
	snprintf(key, sizeof(key), "slct.%s%u.%s", has(d, MP_PTX_W_FTZ) ? "ftz." : "", size * 8,
		 type_name(d->insn->types[1]));
	arith(d, key, size, type_is_float(d->insn->types[0]), size, size, 4);
}

static void shift(struct decode *d)
{
	uint8_t t = d->insn->types[0];
	unsigned size = mp_ptx_type_size(t);
	char key[32];

	if (d->insn->op == MP_PTX_OP_SHL)
		snprintf(key, sizeof(key), "shl.%u", size * 8);
	else
		signed_key(key, sizeof(key), "shr", t);
	arith(d, key, size, false, size, 4, 0);
}

/* min max abs neg: integer, float or half */
static void min_max(struct decode *d, const char *op, unsigned sources)
{
	uint8_t t = d->insn->types[0];
	unsigned size = mp_ptx_type_size(t);
	char key[64];

	if (type_is_half(t) || t == MP_PTX_T_U16X2 || t == MP_PTX_T_S16X2 || has(d, MP_PTX_W_RELU)) {
		decode_half(d);
	} else if (type_is_float(t)) {
		if (d->insn->nops == 4 && sources == 2) {
			snprintf(key, sizeof(key), "%s3", op);
			float_insn(d, key, 3);
		} else {
			float_insn(d, op, sources);
		}
	} else {
		if (d->insn->op == MP_PTX_OP_NEG)
			snprintf(key, sizeof(key), "%s.%u", op, size * 8);
		else
			signed_key(key, sizeof(key), op, t);
		arith(d, key, size, false, size, sources > 1 ? size : 0, 0);
	}
}

static void testp(struct decode *d)
{
	static const enum mp_ptx_word kinds[] = {MP_PTX_W_FINITE,     MP_PTX_W_INFINITE, MP_PTX_W_NUMBER,
						 MP_PTX_W_NOTANUMBER, MP_PTX_W_NORMAL,	 MP_PTX_W_SUBNORMAL};
	char key[48] = "testp";

	add_words(key, sizeof(key), d, kinds, MP_ARRAY_LEN(kinds));
	snprintf(key + strlen(key), sizeof(key) - strlen(key), ".%s", type_name(d->insn->types[0]));
	arith(d, key, 0, true, mp_ptx_type_size(d->insn->types[0]), 0, 0);
}

static void mul24(struct decode *d, const char *op)
{
	char key[48];

	snprintf(key, sizeof(key), "%s.%s%s.%s", op, has(d, MP_PTX_W_HI) ? "hi" : "lo",
		 has(d, MP_PTX_W_SAT) ? ".sat" : "", type_name(d->insn->types[0]));
	arith(d, key, 4, false, 4, 4, d->insn->op == MP_PTX_OP_MAD24 ? 4 : 0);
}

/* Bit operations and dot products (9.7.1): destination and sources of fixed widths. */
static void bits(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[0];
	unsigned size = mp_ptx_type_size(t);
	char key[48];
	struct op *o;

	switch (in->op) {
	case MP_PTX_OP_POPC:
	case MP_PTX_OP_CLZ:
		snprintf(key, sizeof(key), "%s.%u", mp_ptx_op_name(in->op), size * 8);
		arith(d, key, 4, false, size, 0, 0);
		return;
	case MP_PTX_OP_BREV:
		snprintf(key, sizeof(key), "brev.%u", size * 8);
		arith(d, key, size, false, size, 0, 0);
		return;
	case MP_PTX_OP_BFIND:
		signed_key(key, sizeof(key), has(d, MP_PTX_W_SHIFTAMT) ? "bfind.shiftamt" : "bfind", t);
		arith(d, key, 4, false, size, 0, 0);
		return;
	case MP_PTX_OP_BFE:
		signed_key(key, sizeof(key), "bfe", t);
		arith(d, key, size, false, size, 4, 4);
		return;
	case MP_PTX_OP_SZEXT:
	case MP_PTX_OP_BMSK:
		snprintf(key, sizeof(key), "%s.%s.%s", mp_ptx_op_name(in->op),
			 has(d, MP_PTX_W_WRAP) ? "wrap" : "clamp", type_name(t));
		arith(d, key, 4, false, 4, 4, 0);
		return;
	case MP_PTX_OP_FNS:
		arith(d, "fns.b32", 4, false, 4, 4, 4);
		return;
	case MP_PTX_OP_PRMT:
		snprintf(key, sizeof(key), "prmt.%s",
			 has(d, MP_PTX_W_F4E)	 ? "f4e"
			 : has(d, MP_PTX_W_B4E)	 ? "b4e"
			 : has(d, MP_PTX_W_RC8)	 ? "rc8"
			 : has(d, MP_PTX_W_ECL)	 ? "ecl"
			 : has(d, MP_PTX_W_ECR)	 ? "ecr"
			 : has(d, MP_PTX_W_RC16) ? "rc16"
						 : "b32");
		arith(d, key, 4, false, 4, 4, 4);
		return;
	case MP_PTX_OP_SHF:
		snprintf(key, sizeof(key), "shf.%s.%s", has(d, MP_PTX_W_L) ? "l" : "r",
			 has(d, MP_PTX_W_CLAMP) ? "clamp" : "wrap");
		arith(d, key, 4, false, 4, 4, 4);
		return;
	case MP_PTX_OP_DP4A:
	case MP_PTX_OP_DP2A:
		if (in->ntypes != 2)
			break;
		snprintf(key, sizeof(key), "%s%s.%s.%s", mp_ptx_op_name(in->op),
			 in->op == MP_PTX_OP_DP4A   ? ""
			 : has(d, MP_PTX_W_HI) ? ".hi"
					       : ".lo",
			 type_name(in->types[0]), type_name(in->types[1]));
		arith(d, key, 4, false, 4, 4, 4);
		return;
	case MP_PTX_OP_BFI: {
		uint32_t dst, a, b, c, e;

		if (in->nops != 5)
			break;
		dst = decode_dst(d, &in->ops[0], size);
		a = decode_src(d, &in->ops[1], size, false);
		b = decode_src(d, &in->ops[2], size, false);
		c = decode_src(d, &in->ops[3], 4, false);
		e = decode_src(d, &in->ops[4], 4, false);
		snprintf(key, sizeof(key), "bfi.%u", size * 8);
		o = decode_op(d, key);
		o->d = dst, o->a = a, o->b = b, o->c = c, o->e = e;
		return;
	}
	case MP_PTX_OP_LOP3: {
		uint32_t dst, a, b, c;

		if (in->nops != 5 || in->ops[4].kind != MP_PTX_IMM)
			break;
		dst = decode_dst(d, &in->ops[0], 4);
		a = decode_src(d, &in->ops[1], 4, false);
		b = decode_src(d, &in->ops[2], 4, false);
		c = decode_src(d, &in->ops[3], 4, false);
		o = decode_op(d, "lop3.b32");
		o->d = dst, o->a = a, o->b = b, o->c = c, o->x = (uint32_t)in->ops[4].bits & 0xff;
		return;
	}
	}
	decode_refuse(d, "operands of the wrong number or kind");
}

bool insn_is_sync(const struct mp_ptx_insn *i)
{
	switch (i->op) {
	case MP_PTX_OP_BAR:
	case MP_PTX_OP_BARRIER:
		return !mp_ptx_has(i, MP_PTX_W_CLUSTER) || !mp_ptx_has(i, MP_PTX_W_ARRIVE);
	case MP_PTX_OP_SHFL:
	case MP_PTX_OP_VOTE:
	case MP_PTX_OP_MATCH:
	case MP_PTX_OP_REDUX:
	case MP_PTX_OP_ELECT:
	case MP_PTX_OP_WMMA:
	case MP_PTX_OP_MMA:
	case MP_PTX_OP_LDMATRIX:
	case MP_PTX_OP_STMATRIX:
	case MP_PTX_OP_MOVMATRIX:
		return true;
	}
	return false;
}

void decode_insn(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	char key[48];

	if (in->unknown) {
		decode_refuse(d, "\"%.*s\" is not carried", (int)(in->unknown_len & 63), in->unknown);
		return;
	}
	switch (in->op) {
	case MP_PTX_OP_MOV: move(d); return;
	case MP_PTX_OP_LD:
	case MP_PTX_OP_LDU:
	case MP_PTX_OP_ST:
	case MP_PTX_OP_CVTA:
	case MP_PTX_OP_ISSPACEP:
	case MP_PTX_OP_ATOM:
	case MP_PTX_OP_RED:
	case MP_PTX_OP_CP:
	case MP_PTX_OP_MBARRIER:
	case MP_PTX_OP_PREFETCH:
	case MP_PTX_OP_PREFETCHU:
	case MP_PTX_OP_APPLYPRIORITY:
	case MP_PTX_OP_DISCARD:
	case MP_PTX_OP_CREATEPOLICY:
	case MP_PTX_OP_MEMBAR:
	case MP_PTX_OP_FENCE:
	case MP_PTX_OP_MAPA:
	case MP_PTX_OP_GETCTARANK:
		decode_memory(d);
		return;
	case MP_PTX_OP_CALL:
	case MP_PTX_OP_BAR:
	case MP_PTX_OP_BARRIER:
	case MP_PTX_OP_SHFL:
	case MP_PTX_OP_VOTE:
	case MP_PTX_OP_MATCH:
	case MP_PTX_OP_ACTIVEMASK:
	case MP_PTX_OP_REDUX:
	case MP_PTX_OP_ELECT:
	case MP_PTX_OP_GRIDDEPCONTROL:
	case MP_PTX_OP_ALLOCA:
	case MP_PTX_OP_STACKSAVE:
	case MP_PTX_OP_STACKRESTORE:
		decode_warp(d);
		return;
	case MP_PTX_OP_WMMA:
	case MP_PTX_OP_MMA:
	case MP_PTX_OP_LDMATRIX:
	case MP_PTX_OP_STMATRIX:
	case MP_PTX_OP_MOVMATRIX:
		decode_matrix(d);
		return;
	case MP_PTX_OP_TEX:
	case MP_PTX_OP_TLD4:
	case MP_PTX_OP_TXQ:
	case MP_PTX_OP_SULD:
	case MP_PTX_OP_SUST:
	case MP_PTX_OP_SURED:
	case MP_PTX_OP_ISTYPEP:
	case MP_PTX_OP_SUQ:
		decode_texture(d);
		return;
	case MP_PTX_OP_BRKPT:
	case MP_PTX_OP_PMEVENT:
	case MP_PTX_OP_SETMAXNREG:
		decode_op(d, "nop");
		return;
	}
	if (!in->ntypes) {
		decode_refuse(d, "no type, or not carried");
		return;
	}
	switch (in->op) {
	case MP_PTX_OP_ADD: add_sub(d, "add"); return;
	case MP_PTX_OP_SUB: add_sub(d, "sub"); return;
	case MP_PTX_OP_ADDC: add_sub(d, "addc"); return;
	case MP_PTX_OP_SUBC: add_sub(d, "subc"); return;
	case MP_PTX_OP_MUL: mul_mad(d, "mul"); return;
	case MP_PTX_OP_MAD: mul_mad(d, "mad"); return;
	case MP_PTX_OP_MADC: mul_mad(d, "madc"); return;
	case MP_PTX_OP_MUL24: mul24(d, "mul24"); return;
	case MP_PTX_OP_MAD24: mul24(d, "mad24"); return;
	case MP_PTX_OP_FMA:
		if (type_is_half(in->types[0]) || in->types[0] == MP_PTX_T_F32X2 || in->ntypes > 1)
			decode_half(d);
		else
			float_insn(d, "fma", 3);
		return;
	case MP_PTX_OP_DIV:
	case MP_PTX_OP_REM:
		if (type_is_float(in->types[0])) {
			float_insn(d, "div", 2);
			return;
		}
		signed_key(key, sizeof(key), mp_ptx_op_name(in->op), in->types[0]);
		arith(d, key, mp_ptx_type_size(in->types[0]), false, mp_ptx_type_size(in->types[0]),
		      mp_ptx_type_size(in->types[0]), 0);
		return;
	case MP_PTX_OP_SAD:
		signed_key(key, sizeof(key), "sad", in->types[0]);
		arith(d, key, mp_ptx_type_size(in->types[0]), false, mp_ptx_type_size(in->types[0]),
		      mp_ptx_type_size(in->types[0]), mp_ptx_type_size(in->types[0]));
		return;
	case MP_PTX_OP_ABS: min_max(d, "abs", 1); return;
	case MP_PTX_OP_NEG: min_max(d, "neg", 1); return;
	case MP_PTX_OP_MIN: min_max(d, "min", 2); return;
	case MP_PTX_OP_MAX: min_max(d, "max", 2); return;
	case MP_PTX_OP_RCP:
	case MP_PTX_OP_SQRT:
	case MP_PTX_OP_RSQRT:
	case MP_PTX_OP_SIN:
	case MP_PTX_OP_COS:
	case MP_PTX_OP_LG2:
	case MP_PTX_OP_EX2:
	case MP_PTX_OP_TANH:
		if (type_is_half(in->types[0]))
			decode_half(d);
		else
			float_insn(d, mp_ptx_op_name(in->op), 1);
		return;
	case MP_PTX_OP_COPYSIGN: float_insn(d, "copysign", 2); return;
	case MP_PTX_OP_TESTP: testp(d); return;
	case MP_PTX_OP_SETP: compare(d, false); return;
	case MP_PTX_OP_SET: compare(d, true); return;
	case MP_PTX_OP_SELP: selp(d); return;
	case MP_PTX_OP_SLCT: slct(d); return;
	case MP_PTX_OP_AND: logic(d, "and", 2); return;
	case MP_PTX_OP_OR: logic(d, "or", 2); return;
	case MP_PTX_OP_XOR: logic(d, "xor", 2); return;
	case MP_PTX_OP_NOT: logic(d, "not", 1); return;
	case MP_PTX_OP_CNOT: logic(d, "cnot", 1); return;
	case MP_PTX_OP_SHL:
	case MP_PTX_OP_SHR: shift(d); return;
	case MP_PTX_OP_CVT: decode_cvt(d); return;
	case MP_PTX_OP_POPC:
	case MP_PTX_OP_CLZ:
	case MP_PTX_OP_BFIND:
	case MP_PTX_OP_FNS:
	case MP_PTX_OP_BREV:
	case MP_PTX_OP_BFE:
	case MP_PTX_OP_BFI:
	case MP_PTX_OP_SZEXT:
	case MP_PTX_OP_BMSK:
	case MP_PTX_OP_DP4A:
	case MP_PTX_OP_DP2A:
	case MP_PTX_OP_LOP3:
	case MP_PTX_OP_SHF:
	case MP_PTX_OP_PRMT: bits(d); return;
	}
	if (!decode_video(d))
		decode_refuse(d, "%s is not carried", mp_ptx_op_name(in->op));
}
