/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of half precision, packed types and small formats (9.7.5, 9.7.9.21). */
#include "exec/cvt.h"
#include "exec/decode.h"

#include <stdio.h>
#include <string.h>

/* op->x and op->e of half-precision handlers; the same as in half.h */
enum { H_FTZ = 1, H_SAT = 2, H_RELU = 4, H_NAN = 8, H_XORSIGN = 16, H_BF = 32 };

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

static bool is_bf(uint8_t t)
{
	return t == MP_PTX_T_BF16 || t == MP_PTX_T_BF16X2;
}

static uint32_t half_src(struct decode *d, const struct mp_ptx_operand *o, unsigned size)
{
	if (o->kind == MP_PTX_F32 || o->kind == MP_PTX_F64) {
		decode_refuse(d, "a floating-point constant of half precision");
		return SLOT_CONST;
	}
	return decode_src(d, o, size, false);
}

static void arithmetic(struct decode *d, const char *key, unsigned sources)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[0];
	unsigned size = mp_ptx_type_size(t), i;
	uint32_t s[3] = {0, 0, 0}, dst;
	struct op *o;

	if (in->nops != sources + 1 || in->ntypes > 1 || has(d, MP_PTX_W_OOB)) {
		decode_refuse(d, "not carried");
		return;
	}
	dst = decode_dst(d, &in->ops[0], size);
	for (i = 0; i < sources; i++)
		s[i] = t == MP_PTX_T_F32X2 ? decode_src(d, &in->ops[i + 1], size, false)
					   : half_src(d, &in->ops[i + 1], size);
	o = decode_op(d, key);
	o->d = dst;
	o->a = s[0];
	o->b = sources > 1 ? s[1] : s[0];
	o->c = sources > 2 ? s[2] : o->b;
	if (type_is_half(t))
		o->x = (has(d, MP_PTX_W_FTZ) && !is_bf(t) ? H_FTZ : 0) | (has(d, MP_PTX_W_SAT) ? H_SAT : 0) |
		       (has(d, MP_PTX_W_RELU) ? H_RELU : 0) | (has(d, MP_PTX_W_NAN) ? H_NAN : 0) |
		       (has(d, MP_PTX_W_XORSIGN) ? H_XORSIGN : 0);
}

static void compare_half(struct decode *d, bool is_set)
{
	static const enum mp_ptx_word words[] = {
		MP_PTX_W_EQ,  MP_PTX_W_NE,  MP_PTX_W_LT,  MP_PTX_W_LE,	MP_PTX_W_GT,
		MP_PTX_W_GE,  MP_PTX_W_EQU, MP_PTX_W_NEU, MP_PTX_W_LTU, MP_PTX_W_LEU,
		MP_PTX_W_GTU, MP_PTX_W_GEU, MP_PTX_W_NUM, MP_PTX_W_NANCMP};
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[in->ntypes - 1], dt = in->types[0];
	unsigned size = mp_ptx_type_size(t), cmp;
	uint32_t a, b, c = 0, x = 0, p = SLOT_NONE, q = SLOT_NONE, *ext = decode_alloc(d, 3, sizeof(*ext));
	struct op *o;

	for (cmp = 0; cmp < MP_ARRAY_LEN(words) && !has(d, words[cmp]); cmp++)
		;
	if (cmp == MP_ARRAY_LEN(words) || in->nops < 3 || in->nops > 4 || !type_is_half(t) || !ext) {
		decode_refuse(d, "an incomplete comparison");
		return;
	}
	a = half_src(d, &in->ops[1], size);
	b = half_src(d, &in->ops[2], size);
	if (in->nops == 4) {
		x = has(d, MP_PTX_W_AND) ? 1 : has(d, MP_PTX_W_OR) ? 2 : has(d, MP_PTX_W_XOR) ? 3 : 0;
		c = decode_src(d, &in->ops[3], 0, false);
		if (!x)
			decode_refuse(d, "a third operand without a boolean operation");
		if (in->ops[3].negated)
			x |= 4;
	}
	if (is_set) {
		ext[1] = mp_ptx_type_size(dt);
		p = decode_dst(d, &in->ops[0], ext[1]);
	} else {
		if (in->ops[0].kind == MP_PTX_REG)
			p = decode_dst(d, &in->ops[0], 0);
		if (in->ops[0].reg2 != MP_PTX_NOREG)
			q = d->slots[in->ops[0].reg2];
	}
	o = decode_op(d, is_set ? "set.half" : "setp.half");
	o->d = p, o->d2 = q, o->a = a, o->b = b, o->c = c, o->x = x;
	o->e = (is_bf(t) ? H_BF : 0) | (has(d, MP_PTX_W_FTZ) ? H_FTZ : 0);
	o->n = (uint8_t)cmp;
	o->size = (uint8_t)(size / 2);
	o->ext = ext;
	if (is_set)
		o->imm = dt == MP_PTX_T_F16 || dt == MP_PTX_T_F16X2   ? 0x3c00
			 : dt == MP_PTX_T_BF16 || dt == MP_PTX_T_BF16X2 ? 0x3f80
			 : dt == MP_PTX_T_F32				  ? 0x3f800000
			 : size == 4 || mp_ptx_type_size(dt) == 2	  ? 0xffff
									  : FULL;
}

static bool is_pair(uint8_t t)
{
	switch (t) {
	case MP_PTX_T_F16X2: case MP_PTX_T_BF16X2: case MP_PTX_T_E4M3X2: case MP_PTX_T_E5M2X2:
	case MP_PTX_T_E2M3X2: case MP_PTX_T_E3M2X2: case MP_PTX_T_E2M1X2:
		return true;
	}
	return false;
}

static bool is_scalar(uint8_t t)
{
	switch (t) {
	case MP_PTX_T_F16: case MP_PTX_T_BF16: case MP_PTX_T_TF32: case MP_PTX_T_F32: case MP_PTX_T_F64:
	case MP_PTX_T_U8: case MP_PTX_T_S8: case MP_PTX_T_U16: case MP_PTX_T_S16:
	case MP_PTX_T_U32: case MP_PTX_T_S32: case MP_PTX_T_U64: case MP_PTX_T_S64:
		return true;
	}
	return false;
}

static uint32_t modifiers(const struct decode *d)
{
	uint32_t x = 0;

	if (has(d, MP_PTX_W_RZ) || has(d, MP_PTX_W_RZI))
		x |= 1;
	if (has(d, MP_PTX_W_RM) || has(d, MP_PTX_W_RMI))
		x |= 2;
	if (has(d, MP_PTX_W_RP) || has(d, MP_PTX_W_RPI))
		x |= 3;
	if (has(d, MP_PTX_W_RNI) || has(d, MP_PTX_W_RZI) || has(d, MP_PTX_W_RMI) || has(d, MP_PTX_W_RPI))
		x |= CVT_INTEGRAL;
	return x | (has(d, MP_PTX_W_FTZ) ? CVT_FTZ : 0) | (has(d, MP_PTX_W_SAT) ? CVT_SAT : 0) |
	       (has(d, MP_PTX_W_RELU) ? CVT_RELU : 0) | (has(d, MP_PTX_W_SATFINITE) ? CVT_SATFINITE : 0) |
	       (has(d, MP_PTX_W_RNA) ? CVT_RNA : 0);
}

static void convert(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t dt = in->types[0], st = in->types[1];
	unsigned dsize = mp_ptx_type_size(dt), ssize = mp_ptx_type_size(st), sreg = 0, dreg;
	uint32_t dst, a, b = 0, x = modifiers(d);
	const char *key;
	struct op *o;

	if (has(d, MP_PTX_W_RS) || in->ntypes != 2) {
		decode_refuse(d, "stochastic rounding is not carried");
		return;
	}
	dreg = dsize == 1 ? 2 : dsize;
	if (in->ops[0].kind == MP_PTX_REG && decode_reg_size(d, in->ops[0].reg) > dsize)
		dreg = decode_reg_size(d, in->ops[0].reg); /* an integer into a wider register */
	if (is_pair(dt)) {
		bool two = st == MP_PTX_T_F32;

		if ((!two && !is_pair(st)) || in->nops != 2u + two || dt == MP_PTX_T_E2M1X2 ||
		    st == MP_PTX_T_E2M1X2 || dreg != dsize) {
			decode_refuse(d, "a conversion that is not carried");
			return;
		}
		dst = decode_dst(d, &in->ops[0], dsize);
		a = decode_src(d, &in->ops[1], ssize, two);
		b = two ? decode_src(d, &in->ops[2], ssize, true) : a;
		sreg = ssize;
		key = !two || x ? "cvt.pair"
		      : dt == MP_PTX_T_F16X2  ? "cvt.rn.f16x2.f32"
		      : dt == MP_PTX_T_BF16X2 ? "cvt.rn.bf16x2.f32"
					      : "cvt.pair";
	} else {
		if (!is_scalar(dt) || !is_scalar(st) || in->nops != 2) {
			decode_refuse(d, "a conversion that is not carried");
			return;
		}
		a = decode_wide_src(d, &in->ops[1], ssize, &sreg);
		if (in->ops[0].kind != MP_PTX_REG || dreg < dsize || dreg > 8 ||
		    (dreg != dsize && (type_is_float(dt) || type_is_half(dt) || dt == MP_PTX_T_TF32)) ||
		    (sreg != ssize && (type_is_float(st) || type_is_half(st)))) {
			decode_refuse(d, "a conversion that is not carried");
			return;
		}
		dst = d->slots[in->ops[0].reg];
		key = dt == MP_PTX_T_F32 && st == MP_PTX_T_F16 && !x	? "cvt.f32.f16"
		      : dt == MP_PTX_T_F32 && st == MP_PTX_T_BF16 && !x ? "cvt.f32.bf16"
		      : dt == MP_PTX_T_F16 && st == MP_PTX_T_F32 && !x	? "cvt.rn.f16.f32"
		      : dt == MP_PTX_T_BF16 && st == MP_PTX_T_F32 && !x ? "cvt.rn.bf16.f32"
									: "cvt.half";
		/* f64 and f32 do not arise from rounding here, but f32 from f64 never comes this way */
	}
	o = decode_op(d, key);
	o->d = dst, o->a = a, o->b = b, o->x = x;
	o->e = dt | (uint32_t)st << 8;
	o->n = (uint8_t)sreg;
	o->size = (uint8_t)dreg;
}

void decode_half(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t t = in->types[0];
	char key[48];

	switch (in->op) {
	case MP_PTX_OP_CVT:
		convert(d);
		return;
	case MP_PTX_OP_SETP:
		compare_half(d, false);
		return;
	case MP_PTX_OP_SET:
		compare_half(d, true);
		return;
	}
	if (t == MP_PTX_T_U16X2 || t == MP_PTX_T_S16X2 || t == MP_PTX_T_S32) {
		snprintf(key, sizeof(key), "%s%s.%s", mp_ptx_op_name(in->op), has(d, MP_PTX_W_RELU) ? ".relu" : "",
			 in->op == MP_PTX_OP_ADD ? "16x2" : type_name(t));
		arithmetic(d, key, 2);
		return;
	}
	snprintf(key, sizeof(key), "%s.%s", in->op == MP_PTX_OP_MAD ? "fma" : mp_ptx_op_name(in->op), type_name(t));
	switch (in->op) {
	case MP_PTX_OP_ADD: case MP_PTX_OP_SUB: case MP_PTX_OP_MUL: case MP_PTX_OP_MIN: case MP_PTX_OP_MAX:
		arithmetic(d, key, 2);
		return;
	case MP_PTX_OP_FMA: case MP_PTX_OP_MAD:
		arithmetic(d, key, 3);
		return;
	case MP_PTX_OP_NEG: case MP_PTX_OP_ABS: case MP_PTX_OP_EX2: case MP_PTX_OP_TANH:
		arithmetic(d, key, 1);
		return;
	}
	decode_refuse(d, "half precision of this kind is not carried");
}
