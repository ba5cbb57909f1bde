/* SPDX-License-Identifier: Apache-2.0 */
/* cvt (9.7.9.21): which handler, and the modifiers as cvt.h lays them out. */
#include "exec/cvt.h"
#include "exec/decode.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
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
	if (has(d, MP_PTX_W_FTZ))
		x |= CVT_FTZ;
	if (has(d, MP_PTX_W_SAT))
		x |= CVT_SAT;
	if (has(d, MP_PTX_W_RELU))
		x |= CVT_RELU;
	if (has(d, MP_PTX_W_SATFINITE))
		x |= CVT_SATFINITE;
	if (has(d, MP_PTX_W_RNA))
		x |= CVT_RNA;
	return x;
}

static bool is_int(uint8_t t)
{
	switch (t) {
	case MP_PTX_T_U8: case MP_PTX_T_S8: case MP_PTX_T_U16: case MP_PTX_T_S16:
	case MP_PTX_T_U32: case MP_PTX_T_S32: case MP_PTX_T_U64: case MP_PTX_T_S64:
		return true;
	}
	return false;
}

static bool dst_wide(struct decode *d, unsigned size, uint32_t *slot, unsigned *reg)
{
	const struct mp_ptx_operand *o = &d->insn->ops[0];

	*reg = size == 1 ? 2 : size;
	if (o->kind == MP_PTX_SINK) {
		*slot = decode_temp(d, size);
		return true;
	}
	if (o->kind == MP_PTX_REG) {
		*reg = decode_reg_size(d, o->reg);
		if (*reg == 1)
			*reg = 2;
	}
	if (o->kind != MP_PTX_REG || *reg < size || *reg > 8) {
		decode_refuse(d, "a destination of the wrong kind or width");
		return false;
	}
	*slot = d->slots[o->reg];
	return true;
}

void decode_cvt(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint8_t dt, st;
	unsigned dsize, ssize, dreg, sreg;
	uint32_t dst, src, x = modifiers(d);
	char key[48];
	struct op *o;

	if (in->ntypes < 2 || has(d, MP_PTX_W_PARAM)) {
		decode_refuse(d, "cvt needs two types");
		return;
	}
	dt = in->types[0];
	st = in->types[1];
	if (!(is_int(dt) || type_is_float(dt)) || !(is_int(st) || type_is_float(st)) || has(d, MP_PTX_W_RS)) {
		decode_half(d);
		return;
	}
	if (in->nops != 2 || (x & (CVT_RELU | CVT_SATFINITE | CVT_RNA))) {
		decode_refuse(d, "a conversion that is not carried");
		return;
	}
	dsize = mp_ptx_type_size(dt);
	ssize = mp_ptx_type_size(st);
	if (in->ops[1].kind == MP_PTX_F32 || in->ops[1].kind == MP_PTX_F64) {
		src = decode_src(d, &in->ops[1], ssize, true);
		sreg = ssize;
	} else {
		src = decode_wide_src(d, &in->ops[1], ssize, &sreg);
	}
	if (!dst_wide(d, dsize, &dst, &dreg))
		return;
	if ((type_is_float(st) && sreg != ssize) || (type_is_float(dt) && dreg != dsize)) {
		decode_refuse(d, "a float in a register of another width");
		return;
	}
	if (is_int(dt) && is_int(st)) {
		bool natural = sreg == (ssize == 1 ? 2 : ssize) && dreg == (dsize == 1 ? 2 : dsize);

		if (natural && !(x & CVT_SAT))
			snprintf(key, sizeof(key), "cvt.%s.%s", type_name(dt), type_name(st));
		else
			snprintf(key, sizeof(key), "cvt.int.int");
	} else if (is_int(st)) {
		if (!(x & (CVT_SAT | CVT_RND)) && sreg == 4 && ssize == 4)
			snprintf(key, sizeof(key), "cvt.%s.%s", type_name(dt), type_name(st));
		else
			snprintf(key, sizeof(key), "cvt.int.%s", type_name(dt));
	} else if (is_int(dt)) {
		if ((x & ~CVT_SAT) == (CVT_INTEGRAL | 1) && dt == MP_PTX_T_S32 && dreg == 4)
			snprintf(key, sizeof(key), "cvt.rzi.s32.%s", type_name(st));
		else
			snprintf(key, sizeof(key), "cvt.%s.int", type_name(st));
	} else if (dt == MP_PTX_T_F32 && st == MP_PTX_T_F64 && !(x & ~CVT_INTEGRAL)) {
		snprintf(key, sizeof(key), "cvt.rn.f32.f64");
	} else if (dt == MP_PTX_T_F64 && st == MP_PTX_T_F32 && (x & (CVT_FTZ | CVT_SAT))) {
		snprintf(key, sizeof(key), "cvt.f64.f32.x");
	} else {
		snprintf(key, sizeof(key), "cvt.%s.%s", type_name(dt), type_name(st));
	}
	o = decode_op(d, key);
	o->d = dst;
	o->a = src;
	o->x = x;
	o->e = dt | (uint32_t)st << 8;
	o->n = (uint8_t)sreg;
	o->size = (uint8_t)dreg;
}
