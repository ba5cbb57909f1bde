/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of textures and surfaces (9.7.10, 9.7.11); unified mode, objects in 64-bit registers. */
#include "exec/decode.h"
#include "exec/tex.h"

#include <string.h>

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

/* Dimensions and flags, and how many coordinates the vector holds at least. */
static bool geometry(const struct decode *d, uint32_t *g, unsigned *coords)
{
	if (has(d, MP_PTX_W_D1))
		*g = 1;
	else if (has(d, MP_PTX_W_D2))
		*g = 2;
	else if (has(d, MP_PTX_W_D3))
		*g = 3;
	else if (has(d, MP_PTX_W_A1D))
		*g = 1 | TEX_LAYERED;
	else if (has(d, MP_PTX_W_A2D))
		*g = 2 | TEX_LAYERED;
	else if (has(d, MP_PTX_W_CUBE))
		*g = 3 | TEX_CUBE;
	else if (has(d, MP_PTX_W_ACUBE))
		*g = 3 | TEX_CUBE | TEX_LAYERED;
	else
		return false;
	*coords = (*g & TEX_DIMS) + !!(*g & TEX_LAYERED);
	return true;
}

/* [object, {coordinates}] */
static bool place(struct decode *d, const struct mp_ptx_operand *o, uint32_t *object, uint32_t *slots, unsigned n)
{
	const struct mp_ptx_operand *c;
	struct mp_ptx_operand handle = {.kind = MP_PTX_REG, .reg2 = MP_PTX_NOREG};
	unsigned i;

	if (o->kind != MP_PTX_TEX || o->nelems != 2 || o->elems[0].kind != MP_PTX_ADDR ||
	    o->elems[0].reg == MP_PTX_NOREG || o->elems[0].bits) {
		decode_refuse(d, "a texture that is no object in a register is not carried");
		return false;
	}
	handle.reg = o->elems[0].reg;
	*object = decode_src(d, &handle, 8, false);
	c = &o->elems[1];
	if (c->kind == MP_PTX_VEC ? c->nelems < n : n != 1) {
		decode_refuse(d, "too few coordinates");
		return false;
	}
	for (i = 0; i < n; i++)
		slots[i] = decode_src(d, c->kind == MP_PTX_VEC ? &c->elems[i] : c, 4, false);
	return true;
}

static bool results(struct decode *d, const struct mp_ptx_operand *o, uint32_t *slots)
{
	unsigned i;

	if (o->kind != MP_PTX_VEC || o->nelems != 4) {
		decode_refuse(d, "a texture gives four components");
		return false;
	}
	for (i = 0; i < 4; i++)
		slots[i] = o->elems[i].kind == MP_PTX_SINK ? SLOT_NONE : decode_dst(d, &o->elems[i], 4);
	return true;
}

static void texture(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t *ext = decode_alloc(d, 16, sizeof(*ext)), g, object;
	bool gather = in->op == MP_PTX_OP_TLD4, level = has(d, MP_PTX_W_LEVEL);
	unsigned n;
	struct op *o;

	if (!ext || in->ntypes != 2 || !geometry(d, &g, &n) || in->nops != 2u + level || has(d, MP_PTX_W_GRAD) ||
	    mp_ptx_type_size(in->types[0]) != 4 || in->types[0] == MP_PTX_T_F16X2 ||
	    (gather && (g & TEX_DIMS) != 2)) {
		decode_refuse(d, "a texture fetch of this kind is not carried");
		return;
	}
	ext[0] = n;
	ext[1] = g;
	ext[2] = in->types[0];
	if (!results(d, &in->ops[0], ext + 3) || !place(d, &in->ops[1], &object, ext + 7, n))
		return;
	if (level)
		ext[7 + n] = decode_src(d, &in->ops[2], 4, in->types[1] == MP_PTX_T_F32);
	o = decode_op(d, gather ? "tld4" : "tex");
	o->a = object;
	o->ext = ext;
	o->x = (in->types[1] == MP_PTX_T_S32 ? 1 : 0) | (level ? 2 : 0);
	if (gather)
		o->x |= (has(d, MP_PTX_W_G) ? 1u : has(d, MP_PTX_W_B) ? 2u : has(d, MP_PTX_W_A) ? 3u : 0u) << 4;
}

static void surface(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t *ext = decode_alloc(d, 16, sizeof(*ext)), g, object;
	bool st = in->op == MP_PTX_OP_SUST;
	unsigned vec = has(d, MP_PTX_W_V4) ? 4 : has(d, MP_PTX_W_V2) ? 2 : 1, n, i, size, width = 0;
	const struct mp_ptx_operand *data;
	struct op *o;

	if (!ext || in->ntypes != 1 || !has(d, MP_PTX_W_B) || !geometry(d, &g, &n) || in->nops != 2 || (g & TEX_CUBE)) {
		decode_refuse(d, "a surface access of this kind is not carried");
		return;
	}
	size = mp_ptx_type_size(in->types[0]);
	data = &in->ops[st ? 1 : 0];
	if (data->kind == MP_PTX_VEC ? data->nelems != vec : vec != 1) {
		decode_refuse(d, "a vector of the wrong length");
		return;
	}
	if (!place(d, &in->ops[st ? 0 : 1], &object, ext + 7, n))
		return;
	for (i = 0; i < vec; i++) {
		const struct mp_ptx_operand *e = data->kind == MP_PTX_VEC ? &data->elems[i] : data;

		if (e->kind == MP_PTX_SINK && !st) {
			ext[3 + i] = SLOT_NONE;
			continue;
		}
		ext[3 + i] = decode_wide_src(d, e, size, &width);
	}
	ext[0] = n;
	ext[1] = g;
	ext[2] = width ? width : size;
	o = decode_op(d, st ? "sust" : "suld");
	o->a = object;
	o->ext = ext;
	o->n = (uint8_t)vec;
	o->size = (uint8_t)size;
	o->x = 1 | (has(d, MP_PTX_W_CLAMP) ? 1u : has(d, MP_PTX_W_ZERO) ? 2u : 0u) << 4;
}

void decode_texture(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	struct mp_ptx_operand handle = {.kind = MP_PTX_REG, .reg2 = MP_PTX_NOREG};
	uint32_t dst, a;
	struct op *o;

	switch (in->op) {
	case MP_PTX_OP_TEX:
	case MP_PTX_OP_TLD4:
		texture(d);
		return;
	case MP_PTX_OP_SULD:
	case MP_PTX_OP_SUST:
		surface(d);
		return;
	case MP_PTX_OP_TXQ:
	case MP_PTX_OP_SUQ:
		if (in->nops != 2 || in->ops[1].kind != MP_PTX_ADDR || in->ops[1].reg == MP_PTX_NOREG ||
		    !(has(d, MP_PTX_W_WIDTH) || has(d, MP_PTX_W_HEIGHT) || has(d, MP_PTX_W_DEPTH)))
			break;
		handle.reg = in->ops[1].reg;
		dst = decode_dst(d, &in->ops[0], 4);
		a = decode_src(d, &handle, 8, false);
		o = decode_op(d, "txq");
		o->d = dst;
		o->a = a;
		o->x = has(d, MP_PTX_W_WIDTH) ? 0 : has(d, MP_PTX_W_HEIGHT) ? 1 : 2;
		return;
	}
	decode_refuse(d, "not carried");
}
