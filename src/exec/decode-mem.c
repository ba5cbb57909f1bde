/* SPDX-License-Identifier: Apache-2.0 */
/* Loads, stores, address conversions and fences (9.7.9, 9.7.13). */
#include "exec/decode.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

/* The state space that the instruction names, 0 for generic. */
static unsigned space_word(const struct decode *d)
{
	static const enum mp_ptx_word words[] = {
		MP_PTX_W_GLOBAL, MP_PTX_W_SHARED, MP_PTX_W_SHARED_CTA,	MP_PTX_W_SHARED_CLUSTER,
		MP_PTX_W_LOCAL,	 MP_PTX_W_CONST,  MP_PTX_W_PARAM,	MP_PTX_W_PARAM_ENTRY,
		MP_PTX_W_PARAM_FUNC};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(words); i++)
		if (has(d, words[i]))
			return words[i];
	return 0;
}

void decode_address(struct decode *d, struct op *op, const struct mp_ptx_operand *o, uint32_t *ext,
		    enum space *space, bool write, unsigned bytes)
{
	unsigned word = space_word(d), reg = 0;
	uint64_t at = 0;
	bool local = false, shared = false, entry_param = false;

	op->a = SLOT_NONE;
	if (o->kind != MP_PTX_ADDR) {
		decode_refuse(d, "an address is due");
		return;
	}
	if (o->func) {
		decode_refuse(d, "access to a function");
		return;
	}
	switch (word) {
	case MP_PTX_W_SHARED:
	case MP_PTX_W_SHARED_CTA:
		*space = SP_SHARED;
		shared = true;
		break;
	case MP_PTX_W_LOCAL:
		*space = SP_LOCAL;
		break;
	case MP_PTX_W_PARAM:
	case MP_PTX_W_PARAM_ENTRY:
	case MP_PTX_W_PARAM_FUNC:
		entry_param = d->code->func->is_entry && !(o->var && o->var->in_body) && !write &&
			      word != MP_PTX_W_PARAM_FUNC;
		*space = entry_param ? SP_PARAM : SP_LOCAL;
		break;
	default:
		*space = SP_GENERIC;
	}
	if (o->reg != MP_PTX_NOREG) {
		reg = decode_reg_size(d, o->reg);
		if (reg != 4 && reg != 8) {
			decode_refuse(d, "an address register of the wrong width");
			return;
		}
		op->a = d->slots[o->reg];
	}
	op->imm = o->bits;
	if (o->var && o->var->space == MP_PTX_W_REGSPACE) {
		op->a = d->slots[o->var->reg];
		reg = decode_reg_size(d, o->var->reg);
	} else if (o->var) {
		if (!decode_var_address(d, o->var, &at, &local))
			return;
		if (o->var->space == MP_PTX_W_SHARED && !shared && word != MP_PTX_W_SHARED_CLUSTER) {
			decode_refuse(d, "a shared variable through another space");
			return;
		}
		op->imm += at;
		if (local)
			op->x |= 1;
		if (local != (*space == SP_LOCAL)) {
			decode_refuse(d, "a variable through another space");
			return;
		}
	}
	if (word == MP_PTX_W_SHARED_CLUSTER) { /* 32-bit addresses that carry the block's rank */
		*space = SP_GENERIC;
		if (reg) {
			uint32_t wide = decode_temp(d, 8);
			struct op *up = decode_op(d, reg == 4 ? "shared.generic.32" : "shared.generic.64");

			/* decode_op may have moved the array: the caller's op is made after us */
			up->a = op->a;
			up->d = wide;
			op->a = wide;
			reg = 8;
		} else {
			op->imm |= GENERIC_SHARED;
		}
	}
	if (entry_param && op->a == SLOT_NONE) {
		uint64_t end;

		if (__builtin_add_overflow(op->imm, bytes, &end) || end > d->code->func->param_bytes) {
			/* The block is padded to 16: a vector may read past the last parameter. */
			decode_refuse(d, "a parameter out of range");
			return;
		}
	}
	ext[0] = reg;
}

static void load_store(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool st = in->op == MP_PTX_OP_ST;
	unsigned n = has(d, MP_PTX_W_V8) ? 8 : has(d, MP_PTX_W_V4) ? 4 : has(d, MP_PTX_W_V2) ? 2 : 1;
	const struct mp_ptx_operand *data, *addr, one = {0};
	uint8_t t = in->ntypes ? in->types[in->ntypes - 1] : 0;
	unsigned size = mp_ptx_type_size(t), reg = 0, i;
	enum space space = SP_GENERIC;
	struct op tmp = {0}, *o;
	uint32_t *ext;
	char key[32];

	(void)one;
	if (!in->ntypes || !size || in->nops < 2) {
		decode_refuse(d, "an incomplete access");
		return;
	}
	if (in->nops > 2 && !has(d, MP_PTX_W_L2_CACHE_HINT)) {
		decode_refuse(d, "too many operands");
		return;
	}
	data = &in->ops[st ? 1 : 0];
	addr = &in->ops[st ? 0 : 1];
	ext = decode_alloc(d, 3u + n, sizeof(*ext));
	if (!ext)
		return;
	decode_address(d, &tmp, addr, ext, &space, st, size * n);
	if (d->outcome)
		return;
	/* Braces around one register are no vector, and ptxas takes them. */
	if (data->kind == MP_PTX_VEC ? data->nelems != n : n > 1) {
		decode_refuse(d, "a vector of the wrong length");
		return;
	}
	for (i = 0; i < n; i++) {
		const struct mp_ptx_operand *e = data->kind == MP_PTX_VEC ? &data->elems[i] : data;
		unsigned r = 0;

		if (e->kind == MP_PTX_SINK && !st) {
			ext[3 + i] = SLOT_NONE;
			continue;
		}
		if (e->kind == MP_PTX_REG || st) {
			if (st && (e->kind == MP_PTX_F32 || e->kind == MP_PTX_F64)) {
				ext[3 + i] = decode_src(d, e, size, true);
				r = size;
			} else {
				ext[3 + i] = decode_wide_src(d, e, size, &r);
			}
		} else {
			decode_refuse(d, "a register is due");
			return;
		}
		if (reg && r != reg) { /* mixed widths: a store of constants beside wide registers */
			decode_refuse(d, "registers of different widths in a vector");
			return;
		}
		reg = r;
	}
	ext[1] = reg ? reg : size == 1 ? 2 : size;
	ext[2] = type_is_signed(t);
	snprintf(key, sizeof(key), "%s.%s", st ? "st" : "ld",
		 space == SP_SHARED  ? "shared"
		 : space == SP_LOCAL ? "local"
		 : space == SP_PARAM ? "param"
				     : "generic");
	o = decode_op(d, key);
	o->a = tmp.a;
	o->imm = tmp.imm;
	o->x = tmp.x;
	if (has(d, MP_PTX_W_VOLATILE) || has(d, MP_PTX_W_RELAXED) || has(d, MP_PTX_W_ACQUIRE) ||
	    has(d, MP_PTX_W_MMIO) || has(d, MP_PTX_W_CV))
		o->x |= 2;
	o->ext = ext;
	o->n = (uint8_t)n;
	o->size = (uint8_t)size;
}

/* cvta (9.7.9.20): constants and globals are generic already */
static void cvta(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	unsigned word = space_word(d);
	uint64_t base = 0;
	uint32_t dst, src;
	struct op *o;

	if (in->nops != 2 || !in->ntypes || mp_ptx_type_size(in->types[0]) != 8) {
		decode_refuse(d, "cvta of 32 bits is not carried");
		return;
	}
	switch (word) {
	case MP_PTX_W_SHARED:
	case MP_PTX_W_SHARED_CTA:
	case MP_PTX_W_SHARED_CLUSTER:
		base = GENERIC_SHARED;
		break;
	case MP_PTX_W_LOCAL:
		base = GENERIC_LOCAL;
		break;
	case MP_PTX_W_PARAM:
	case MP_PTX_W_PARAM_ENTRY:
		base = d->code->func->is_entry ? GENERIC_PARAM : GENERIC_LOCAL;
		break;
	}
	dst = decode_dst(d, &in->ops[0], 8);
	src = decode_src(d, &in->ops[1], 8, false);
	o = decode_op(d, !base ? "mov.64" : has(d, MP_PTX_W_TO) ? "cvta.to.64" : "cvta.64");
	o->d = dst;
	o->a = src;
	o->imm = base;
}

static void isspacep(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t dst, src;
	struct op *o;
	unsigned word = space_word(d);

	if (in->nops != 2) {
		decode_refuse(d, "isspacep needs two operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 0);
	src = decode_src(d, &in->ops[1], 8, false);
	o = decode_op(d, word == MP_PTX_W_GLOBAL ? "isspacep.global" : "isspacep");
	o->d = dst;
	o->a = src;
	o->imm = word == MP_PTX_W_LOCAL						       ? GENERIC_LOCAL
		 : word == MP_PTX_W_PARAM || word == MP_PTX_W_PARAM_ENTRY	       ? GENERIC_PARAM
		 : word == MP_PTX_W_CONST					       ? 1
										       : GENERIC_SHARED;
}

/* mapa: the place of another block's shared memory; getctarank: whose a place is (9.7.9.23, 24) */
static void cluster_address(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool map = in->op == MP_PTX_OP_MAPA, window = has(d, MP_PTX_W_SHARED_CLUSTER);
	unsigned size = in->ntypes ? mp_ptx_type_size(in->types[0]) : 0;
	uint32_t dst, a, b = 0;
	struct op *o;

	if (in->nops != (map ? 3u : 2u) || (size != 4 && size != 8)) {
		decode_refuse(d, "the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], map ? size : 4);
	if (!map && in->ops[1].kind == MP_PTX_REG)
		size = decode_reg_size(d, in->ops[1].reg);
	a = decode_src(d, &in->ops[1], size, false);
	if (map)
		b = decode_src(d, &in->ops[2], 4, false);
	o = decode_op(d, size == 4 ? map ? "mapa.32" : "getctarank.32" : map ? "mapa.64" : "getctarank.64");
	o->d = dst;
	o->a = a;
	o->b = b;
	o->x = window;
}

/* atom and red (9.7.13.5, 6) */
static void atomic(struct decode *d)
{
	static const enum mp_ptx_word ops[] = {MP_PTX_W_AND,  MP_PTX_W_OR,  MP_PTX_W_XOR, MP_PTX_W_EXCH,
					       MP_PTX_W_CAS,  MP_PTX_W_ADD, MP_PTX_W_INC, MP_PTX_W_DEC,
					       MP_PTX_W_MIN,  MP_PTX_W_MAX};
	const struct mp_ptx_insn *in = d->insn;
	bool red = in->op == MP_PTX_OP_RED, cas = has(d, MP_PTX_W_CAS);
	uint8_t t = in->ntypes ? in->types[in->ntypes - 1] : 0;
	unsigned size = mp_ptx_type_size(t), k = red ? 0 : 1, want = k + 2 + cas;
	uint32_t *ext = decode_alloc(d, 3, sizeof(*ext)), dst = SLOT_NONE, b, c;
	enum space space = SP_GENERIC;
	struct op tmp = {0}, *o;
	char key[48], type[16];
	size_t i;

	if (!ext || !in->ntypes || has(d, MP_PTX_W_ASYNC) || has(d, MP_PTX_W_V2) || has(d, MP_PTX_W_V4) ||
	    has(d, MP_PTX_W_V8) || has(d, MP_PTX_W_LOCAL) ||
	    (in->nops != want && !(in->nops == want + 1 && has(d, MP_PTX_W_L2_CACHE_HINT)))) {
		decode_refuse(d, "an atomic of this shape is not carried");
		return;
	}
	for (i = 0; i < MP_ARRAY_LEN(ops) && !has(d, ops[i]); i++)
		;
	if (i == MP_ARRAY_LEN(ops)) {
		decode_refuse(d, "an atomic without an operation");
		return;
	}
	decode_address(d, &tmp, &in->ops[k], ext, &space, true, size);
	if (d->outcome)
		return;
	b = decode_src(d, &in->ops[k + 1], size, type_is_float(t));
	c = cas ? decode_src(d, &in->ops[k + 2], size, false) : b;
	if (!red && in->ops[0].kind != MP_PTX_SINK)
		dst = decode_dst(d, &in->ops[0], size);
	snprintf(type, sizeof(type), "%s", type_name(t));
	switch (ops[i]) {
	case MP_PTX_W_AND: case MP_PTX_W_OR: case MP_PTX_W_XOR: case MP_PTX_W_EXCH: case MP_PTX_W_CAS:
		snprintf(type, sizeof(type), "b%u", size * 8);
		break;
	case MP_PTX_W_ADD:
		if (!type_is_float(t) && !type_is_half(t))
			snprintf(type, sizeof(type), "u%u", size * 8);
		else if (t == MP_PTX_T_F32 && space != SP_SHARED)
			snprintf(type, sizeof(type), "ftz.f32");
		break;
	default:
		break;
	}
	snprintf(key, sizeof(key), "atom.%s.%s", mp_ptx_word_name(ops[i]), type);
	o = decode_op(d, key);
	o->a = tmp.a;
	o->imm = tmp.imm;
	o->x = (tmp.x & 1) | (cas || ops[i] == MP_PTX_W_EXCH ? 4 : 0);
	o->ext = ext;
	o->b = b;
	o->c = c;
	o->d = dst;
	o->n = (uint8_t)space;
}

void decode_memory(struct decode *d)
{
	switch (d->insn->op) {
	case MP_PTX_OP_LD:
	case MP_PTX_OP_LDU:
	case MP_PTX_OP_ST:
		if (has(d, MP_PTX_W_ASYNC))
			break;
		load_store(d);
		return;
	case MP_PTX_OP_ATOM:
	case MP_PTX_OP_RED:
		atomic(d);
		return;
	case MP_PTX_OP_CP:
	case MP_PTX_OP_MBARRIER:
		decode_async(d);
		return;
	case MP_PTX_OP_CVTA:
		cvta(d);
		return;
	case MP_PTX_OP_MAPA:
	case MP_PTX_OP_GETCTARANK:
		cluster_address(d);
		return;
	case MP_PTX_OP_ISSPACEP:
		isspacep(d);
		return;
	case MP_PTX_OP_MEMBAR:
	case MP_PTX_OP_FENCE:
		decode_op(d, has(d, MP_PTX_W_CTA) ? "fence.cta" : "fence");
		return;
	case MP_PTX_OP_PREFETCH:
	case MP_PTX_OP_PREFETCHU:
	case MP_PTX_OP_APPLYPRIORITY:
		decode_op(d, "nop");
		return;
	case MP_PTX_OP_CREATEPOLICY: { /* a hint for caches that do not exist here */
		struct op *o;
		uint32_t dst;

		if (!d->insn->nops)
			break;
		dst = decode_dst(d, &d->insn->ops[0], 8);
		o = decode_op(d, "mov.64");
		o->d = dst;
		o->a = decode_const(d, 8, 0);
		return;
	}
	}
	decode_refuse(d, "not carried");
}
