/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of textures and surfaces (9.7.10, 9.7.11): unified mode; objects in
 * 64-bit registers, or .texref and .surfref variables, whose address is the object.
 */
#include "exec/decode.h"
#include "exec/tex.h"

#include <stdio.h>
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

/* What stands in brackets: a register that holds an object, or a variable. */
static uint32_t object(struct decode *d, const struct mp_ptx_operand *o)
{
	struct mp_ptx_operand handle = {.kind = MP_PTX_REG, .reg = o->reg, .reg2 = MP_PTX_NOREG};
	uint64_t address;
	bool local;

	if (o->kind == MP_PTX_ADDR && o->reg != MP_PTX_NOREG && !o->bits)
		return decode_src(d, &handle, 8, false);
	if (o->kind == MP_PTX_ADDR && o->var && !o->bits &&
	    (o->var->type == MP_PTX_T_TEXREF || o->var->type == MP_PTX_T_SURFREF) &&
	    o->var->space != MP_PTX_W_PARAM && decode_var_address(d, o->var, &address, &local) && !local)
		return decode_const(d, 8, address);
	decode_refuse(d, "neither an object in a register nor a .texref or .surfref of the module");
	return SLOT_CONST;
}

/* n registers out of a vector or a scalar */
static void parts(struct decode *d, const struct mp_ptx_operand *c, uint32_t *slots, unsigned n, bool f)
{
	unsigned i;

	if (c->kind == MP_PTX_VEC ? c->nelems < n : n != 1) {
		decode_refuse(d, "too few coordinates");
		return;
	}
	for (i = 0; i < n; i++)
		slots[i] = decode_src(d, c->kind == MP_PTX_VEC ? &c->elems[i] : c, 4, f);
}

/* [object, {coordinates}] */
static bool place(struct decode *d, const struct mp_ptx_operand *o, uint32_t *ret, uint32_t *ext, unsigned n, bool f)
{
	if (o->kind != MP_PTX_TEX || o->nelems != 2) {
		decode_refuse(d, o->kind == MP_PTX_TEX ? "samplers apart from textures are not carried" :
							"an object and its coordinates are due");
		return false;
	}
	*ret = object(d, &o->elems[0]);
	parts(d, &o->elems[1], ext + TEX_AT, n, f);
	return !d->outcome;
}

static void results(struct decode *d, const struct mp_ptx_operand *o, uint32_t *ext, unsigned n, unsigned size)
{
	unsigned i;

	if (o->kind != MP_PTX_VEC || o->nelems != n) {
		decode_refuse(d, "%u components are due", n);
		return;
	}
	for (i = 0; i < n; i++)
		ext[TEX_DATA + i] = o->elems[i].kind == MP_PTX_SINK ? SLOT_NONE : decode_dst(d, &o->elems[i], size);
	ext[TEX_RESIDENT] = SLOT_NONE;
	if (o->reg2 == MP_PTX_NOREG)
		return;
	if (decode_reg_size(d, o->reg2))
		decode_refuse(d, "a second destination that is no predicate");
	ext[TEX_RESIDENT] = d->slots[o->reg2];
}

/* Operands after the place: level or gradients, then offsets. */
static uint32_t extras(struct decode *d, uint32_t *ext, bool integer)
{
	const struct mp_ptx_insn *in = d->insn;
	unsigned i = 2, dims = ext[TEX_LAYOUT] & TEX_DIMS;
	uint32_t x = 0;

	if (has(d, MP_PTX_W_LEVEL) && i < in->nops) {
		ext[TEX_LOD] = decode_src(d, &in->ops[i++], 4, !integer);
		x = TEX_LEVEL;
	} else if (has(d, MP_PTX_W_GRAD) && i + 1 < in->nops && !integer) {
		parts(d, &in->ops[i++], ext + TEX_DX, dims, true);
		parts(d, &in->ops[i++], ext + TEX_DY, dims, true);
		x = TEX_GRAD;
	} else if (has(d, MP_PTX_W_LEVEL) || has(d, MP_PTX_W_GRAD)) {
		decode_refuse(d, "a level of detail is due");
	}
	if (i < in->nops && in->ops[i].kind == MP_PTX_VEC) {
		parts(d, &in->ops[i++], ext + TEX_SHIFT, dims, false);
		x |= TEX_SHIFTED;
	}
	if (i < in->nops)
		decode_refuse(d, "depth textures are not carried");
	return x;
}

static void texture(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t *ext = decode_alloc(d, TEX_EXT, sizeof(*ext)), g, handle;
	bool gather = in->op == MP_PTX_OP_TLD4, pairs, half, integer;
	unsigned n;
	uint32_t x;
	struct op *o;

	if (!ext || in->ntypes != 2 || in->nops < 2 || !geometry(d, &g, &n) || (gather && (g & TEX_DIMS) < 2) ||
	    (gather && has(d, MP_PTX_W_D3))) {
		decode_refuse(d, has(d, MP_PTX_W_D2MS) || has(d, MP_PTX_W_A2DMS) ?
				 "multisampled textures are not carried" :
				 "a texture fetch of this kind is not carried");
		return;
	}
	pairs = in->types[0] == MP_PTX_T_F16X2;
	half = in->types[0] == MP_PTX_T_F16;
	integer = in->types[1] == MP_PTX_T_S32;
	if ((!integer && in->types[1] != MP_PTX_T_F32) || (!half && mp_ptx_type_size(in->types[0]) != 4) ||
	    (integer && (g & TEX_CUBE))) {
		decode_refuse(d, "types that a texture fetch does not have");
		return;
	}
	ext[TEX_COORDS] = n;
	ext[TEX_LAYOUT] = g;
	results(d, &in->ops[0], ext, pairs ? 2 : 4, half ? 2 : 4);
	if (!place(d, &in->ops[1], &handle, ext, n, !integer))
		return;
	x = extras(d, ext, integer);
	o = decode_op(d, gather ? "tld4" : "tex");
	o->a = handle;
	o->ext = ext;
	o->x = x | (integer ? TEX_INTEGER : 0) | (half ? TEX_HALF : 0) | (pairs ? TEX_HALF2 : 0);
	if (gather)
		o->x |= (has(d, MP_PTX_W_G) ? 1u : has(d, MP_PTX_W_B) ? 2u : has(d, MP_PTX_W_A) ? 3u : 0u) << 8;
}

static uint32_t outside(const struct decode *d)
{
	return has(d, MP_PTX_W_CLAMP) ? SURF_CLAMP : has(d, MP_PTX_W_ZERO) ? SURF_ZERO : SURF_TRAP;
}

/* suld.b, sust.b, sust.p */
static void surface(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t *ext = decode_alloc(d, TEX_EXT, sizeof(*ext)), g, handle;
	bool st = in->op == MP_PTX_OP_SUST, formatted = st && has(d, MP_PTX_W_P);
	unsigned vec = has(d, MP_PTX_W_V4) ? 4 : has(d, MP_PTX_W_V2) ? 2 : 1, n, i, size, width = 0;
	const struct mp_ptx_operand *data;
	struct op *o;

	if (!ext || in->ntypes != 1 || !(has(d, MP_PTX_W_B) || formatted) || !geometry(d, &g, &n) || in->nops != 2 ||
	    (g & TEX_CUBE) || (formatted && mp_ptx_type_size(in->types[0]) != 4)) {
		decode_refuse(d, "a surface access of this kind is not carried");
		return;
	}
	size = mp_ptx_type_size(in->types[0]);
	data = &in->ops[st ? 1 : 0];
	if ((data->kind == MP_PTX_VEC ? data->nelems != vec : vec != 1) || vec * size > 16) {
		decode_refuse(d, "a vector of the wrong length");
		return;
	}
	if (!place(d, &in->ops[st ? 0 : 1], &handle, ext, n, false))
		return;
	for (i = 0; i < vec; i++) {
		const struct mp_ptx_operand *e = data->kind == MP_PTX_VEC ? &data->elems[i] : data;

		if (e->kind == MP_PTX_SINK && !st) {
			ext[TEX_DATA + i] = SLOT_NONE;
			continue;
		}
		ext[TEX_DATA + i] = decode_wide_src(d, e, size, &width);
	}
	ext[TEX_COORDS] = n;
	ext[TEX_LAYOUT] = g;
	ext[TEX_WIDTH] = width ? width : size;
	o = decode_op(d, formatted ? "sust.p" : st ? "sust" : "suld");
	o->a = handle;
	o->ext = ext;
	o->n = (uint8_t)vec;
	o->size = (uint8_t)size;
	o->x = outside(d) | (formatted ? SURF_SAMPLES : 0);
}

/* sured.{b,p}.op.geom.type.clamp [a, b], c (9.7.11.3) */
static void reduction(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t *ext = decode_alloc(d, TEX_EXT, sizeof(*ext)), g, handle;
	const char *what = has(d, MP_PTX_W_ADD) ? "add" : has(d, MP_PTX_W_MIN) ? "min" : has(d, MP_PTX_W_MAX) ? "max" :
			   has(d, MP_PTX_W_AND) ? "and" : has(d, MP_PTX_W_OR) ? "or" : NULL;
	unsigned n, size;
	char key[24];
	struct op *o;

	size = in->ntypes == 1 ? mp_ptx_type_size(in->types[0]) : 0;
	if (!ext || !what || !(has(d, MP_PTX_W_B) || has(d, MP_PTX_W_P)) || !geometry(d, &g, &n) || in->nops != 2 ||
	    (g & TEX_CUBE) || (size != 4 && size != 8) || (size == 8 && (what[0] == 'o' || what[1] == 'n'))) {
		decode_refuse(d, "a surface reduction of this kind is not carried");
		return;
	}
	if (!place(d, &in->ops[0], &handle, ext, n, false))
		return;
	ext[TEX_DATA] = decode_src(d, &in->ops[1], size, false);
	ext[TEX_COORDS] = n;
	ext[TEX_LAYOUT] = g;
	snprintf(key, sizeof(key), "sured.%s.%u", what, size * 8);
	o = decode_op(d, key);
	o->a = handle;
	o->ext = ext;
	o->size = in->types[0] == MP_PTX_T_S32 || in->types[0] == MP_PTX_T_S64;
	o->x = outside(d) | (has(d, MP_PTX_W_P) ? SURF_SAMPLES : 0);
}

static void query(struct decode *d)
{
	static const struct { enum mp_ptx_word word; uint32_t what; } table[] = {
		{MP_PTX_W_WIDTH, TXQ_WIDTH}, {MP_PTX_W_HEIGHT, TXQ_HEIGHT}, {MP_PTX_W_DEPTH, TXQ_DEPTH},
		{MP_PTX_W_ARRAY_SIZE, TXQ_ARRAY_SIZE}, {MP_PTX_W_CHANNEL_TYPE, TXQ_CHANNEL_TYPE},
		{MP_PTX_W_CHANNEL_ORDER, TXQ_CHANNEL_ORDER}, {MP_PTX_W_NORMALIZED, TXQ_NORMALIZED},
		{MP_PTX_W_LEVELS, TXQ_LEVELS}, {MP_PTX_W_SAMPLES, TXQ_SAMPLES},
		{MP_PTX_W_FORCE_UNNORMAL, TXQ_FORCE_UNNORMAL}, {MP_PTX_W_LAYOUT, TXQ_LAYOUT},
	};
	const struct mp_ptx_insn *in = d->insn;
	bool level = has(d, MP_PTX_W_LEVEL);
	uint32_t dst, a, b = 0;
	struct op *o;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(table) && !has(d, table[i].word); i++)
		;
	if (in->nops != 2u + level || i == MP_ARRAY_LEN(table)) {
		decode_refuse(d, "a question about a texture or surface that is not carried");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 4);
	a = object(d, &in->ops[1]);
	if (level)
		b = decode_src(d, &in->ops[2], 4, false);
	o = decode_op(d, "txq");
	o->d = dst;
	o->a = a;
	o->b = b;
	o->x = table[i].what | (level ? TXQ_LEVEL : 0);
}

static void is_type(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t dst, a;
	struct op *o;

	if (in->ntypes != 1 || in->nops != 2) {
		decode_refuse(d, "istypep with the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 0);
	a = decode_src(d, &in->ops[1], 8, false);
	o = decode_op(d, "istypep");
	o->d = dst;
	o->a = a;
	o->x = in->types[0] == MP_PTX_T_TEXREF ? 1 : in->types[0] == MP_PTX_T_SURFREF ? 2 : 3;
}

void decode_texture(struct decode *d)
{
	switch (d->insn->op) {
	case MP_PTX_OP_TEX:
	case MP_PTX_OP_TLD4: texture(d); return;
	case MP_PTX_OP_SULD:
	case MP_PTX_OP_SUST: surface(d); return;
	case MP_PTX_OP_SURED: reduction(d); return;
	case MP_PTX_OP_TXQ:
	case MP_PTX_OP_SUQ: query(d); return;
	case MP_PTX_OP_ISTYPEP: is_type(d); return;
	}
	decode_refuse(d, "not carried");
}
