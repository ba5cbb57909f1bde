/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of matrix operations (9.7.14) and of asynchronous copies and barriers (9.7.9.25, 9.7.13.15). */
#include "exec/decode.h"
#include "exec/matrix.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

static bool shape(const struct decode *d, struct matrix_ext *e)
{
	static const struct { uint16_t word; int m, n, k; } shapes[] = {
		{MP_PTX_W_M16N16K16, 16, 16, 16}, {MP_PTX_W_M32N8K16, 32, 8, 16}, {MP_PTX_W_M8N32K16, 8, 32, 16},
		{MP_PTX_W_M8N8K4, 8, 8, 4},	  {MP_PTX_W_M16N8K4, 16, 8, 4},	  {MP_PTX_W_M16N8K8, 16, 8, 8},
		{MP_PTX_W_M16N8K16, 16, 8, 16},	  {MP_PTX_W_M16N8K32, 16, 8, 32}, {MP_PTX_W_M16N8K64, 16, 8, 64},
		{MP_PTX_W_M16N8K128, 16, 8, 128}, {MP_PTX_W_M16N8K256, 16, 8, 256},
		{MP_PTX_W_M8N8K16, 8, 8, 16},	  {MP_PTX_W_M8N8K32, 8, 8, 32},	  {MP_PTX_W_M8N8K128, 8, 8, 128},
		{MP_PTX_W_M16N16K8, 16, 16, 8},
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(shapes); i++)
		if (has(d, shapes[i].word)) {
			e->m = shapes[i].m, e->n = shapes[i].n, e->k = shapes[i].k;
			return true;
		}
	return false;
}

/* The registers of one operand go to the list. */
static void group(struct decode *d, struct matrix_ext *e, int which, const struct mp_ptx_operand *o,
		  unsigned want)
{
	unsigned n = o->kind == MP_PTX_VEC ? o->nelems : 1, i, before = 0, g;
	unsigned size = e->type[which] == MP_PTX_T_F64 ? 8 : 4;

	for (g = 0; g < MX_GROUPS; g++)
		before += e->n_regs[g];
	if (n != want || before + n > MP_ARRAY_LEN(e->slots)) {
		decode_refuse(d, "a fragment of %u registers where %u are due", n, want);
		return;
	}
	e->at[which] = (uint8_t)before;
	e->n_regs[which] = (uint8_t)n;
	for (i = 0; i < n; i++) {
		const struct mp_ptx_operand *r = o->kind == MP_PTX_VEC ? &o->elems[i] : o;

		e->slots[before + i] = which == MX_D && d->insn->op != MP_PTX_OP_STMATRIX && r->kind == MP_PTX_REG
					       ? decode_dst(d, r, size)
					       : decode_src(d, r, size, false);
	}
}

static struct op *warp_op(struct decode *d, const char *key)
{
	uint32_t all = decode_const(d, 4, FULL);
	struct op *o = decode_op(d, key);

	o->kind = K_WARPSYNC;
	o->e = all;
	return o;
}

static unsigned bits_of(uint8_t t)
{
	switch (t) {
	case MP_PTX_T_B1: return 1;
	case MP_PTX_T_S4: case MP_PTX_T_U4: return 4;
	default: return mp_ptx_type_size(t) * 8;
	}
}

static void mma(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	struct matrix_ext *e = decode_alloc(d, 1, sizeof(*e));
	bool f64, ints, small;
	unsigned words, cregs, dregs;
	struct op *o;
	const char *key;

	if (!e || in->ntypes != 4 || in->nops != 4 || !shape(d, e)) {
		decode_refuse(d, "a matrix operation of this shape is not carried");
		return;
	}
	e->type[MX_D] = in->types[0], e->type[MX_A] = in->types[1];
	e->type[MX_B] = in->types[2], e->type[MX_C] = in->types[3];
	e->satfinite = has(d, MP_PTX_W_SATFINITE);
	f64 = in->types[1] == MP_PTX_T_F64;
	ints = in->types[0] == MP_PTX_T_S32;
	small = in->types[1] == MP_PTX_T_F16 || in->types[1] == MP_PTX_T_BF16 || in->types[1] == MP_PTX_T_TF32 ||
		in->types[1] == MP_PTX_T_E4M3 || in->types[1] == MP_PTX_T_E5M2;
	if (!(f64 || ints || small) || e->n != 8 || (small && e->m != 16) || bits_of(in->types[1]) != bits_of(in->types[2]) ||
	    (small && e->k > 32) || (f64 && e->k > 16) || (ints && in->types[3] != MP_PTX_T_S32) ||
	    (small && in->types[0] != MP_PTX_T_F16 && in->types[0] != MP_PTX_T_F32) ||
	    (small && in->types[3] != MP_PTX_T_F16 && in->types[3] != MP_PTX_T_F32)) {
		decode_refuse(d, "a matrix operation of this kind is not carried");
		return;
	}
	/* registers of A: its bits over 32 lanes and the width of a register */
	words = (unsigned)e->m * (unsigned)e->k * bits_of(in->types[1]) / 32 / (f64 ? 64 : 32);
	cregs = (unsigned)(e->m * 8 / 32) / (in->types[3] == MP_PTX_T_F16 ? 2 : 1);
	dregs = (unsigned)(e->m * 8 / 32) / (in->types[0] == MP_PTX_T_F16 ? 2 : 1);
	group(d, e, MX_D, &in->ops[0], dregs);
	group(d, e, MX_A, &in->ops[1], words);
	group(d, e, MX_B, &in->ops[2], words * 8 / (unsigned)e->m);
	group(d, e, MX_C, &in->ops[3], cregs);
	key = f64 ? "mma.double" : ints ? "mma.int" : "mma.float";
	o = warp_op(d, key);
	o->ref = e;
	if (in->types[1] == MP_PTX_T_B1)
		o->x = has(d, MP_PTX_W_XOR) ? 1 : 2;
}

static void matrix_move(struct decode *d, bool store)
{
	const struct mp_ptx_insn *in = d->insn;
	unsigned n = has(d, MP_PTX_W_X4) ? 4 : has(d, MP_PTX_W_X2) ? 2 : 1, i;
	uint32_t *ext = decode_alloc(d, 3u + n, sizeof(*ext));
	const struct mp_ptx_operand *regs, *addr;
	enum space space = SP_GENERIC;
	struct op tmp = {0}, *o;

	if (!ext || in->nops != 2 || !has(d, MP_PTX_W_M8N8) || in->ntypes != 1 || in->types[0] != MP_PTX_T_B16) {
		decode_refuse(d, "a matrix move of this shape is not carried");
		return;
	}
	regs = &in->ops[store ? 1 : 0];
	addr = &in->ops[store ? 0 : 1];
	decode_address(d, &tmp, addr, ext, &space, store, 16);
	if (regs->kind == MP_PTX_VEC ? regs->nelems != n : n != 1) {
		decode_refuse(d, "a vector of the wrong length");
		return;
	}
	for (i = 0; i < n; i++) {
		const struct mp_ptx_operand *r = regs->kind == MP_PTX_VEC ? &regs->elems[i] : regs;

		ext[3 + i] = store ? decode_src(d, r, 4, false) : decode_dst(d, r, 4);
	}
	o = warp_op(d, store ? "stmatrix" : "ldmatrix");
	o->a = tmp.a, o->imm = tmp.imm, o->ext = ext;
	o->x = (tmp.x & 1) | (has(d, MP_PTX_W_TRANS) ? 16 : 0);
	o->n = (uint8_t)n;
	o->size = (uint8_t)space;
}

static unsigned wmma_regs(uint8_t t, int elements, bool operand)
{
	switch (t) {
	case MP_PTX_T_F16: return operand ? 8 : (unsigned)elements / 64;
	case MP_PTX_T_BF16: return (unsigned)elements / 64;
	case MP_PTX_T_S8: case MP_PTX_T_U8: return (unsigned)elements / 128;
	default: return (unsigned)elements / 32;
	}
}

static void wmma(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	struct matrix_ext *e = decode_alloc(d, 1, sizeof(*e));
	uint32_t *ext = decode_alloc(d, 3, sizeof(*ext)), stride = SLOT_NONE;
	struct op tmp = {0}, *o;
	enum space space = SP_GENERIC;
	int which, size[MX_GROUPS];
	uint8_t t;

	if (!e || !ext || !in->ntypes || !shape(d, e) || bits_of(in->types[0]) < 8) {
		decode_refuse(d, "a matrix operation of this shape is not carried");
		return;
	}
	size[MX_D] = size[MX_C] = e->m * e->n;
	size[MX_A] = e->m * e->k;
	size[MX_B] = e->k * e->n;
	e->satfinite = has(d, MP_PTX_W_SATFINITE);
	t = in->types[0];
	if (has(d, MP_PTX_W_MMA)) {
		bool four = in->ntypes == 4;

		if ((in->ntypes != 2 && !four) || in->nops != 4 || (four && bits_of(in->types[1]) < 8)) {
			decode_refuse(d, "a matrix operation of this kind is not carried");
			return;
		}
		e->type[MX_D] = in->types[0];
		e->type[MX_A] = four ? in->types[1] : MP_PTX_T_F16;
		e->type[MX_B] = four ? in->types[2] : MP_PTX_T_F16;
		e->type[MX_C] = in->types[four ? 3 : 1];
		for (which = 0; which < MX_GROUPS; which++)
			group(d, e, which, &in->ops[which],
			      wmma_regs(e->type[which], size[which], which == MX_A || which == MX_B));
		o = warp_op(d, "wmma.mma");
		o->ref = e;
		return;
	}
	/* Layouts are in the fragments' numbering once loaded; .row and .col say how memory lies. */
	e->col[0] = has(d, MP_PTX_W_COL);
	which = has(d, MP_PTX_W_STORE) ? MX_D : has(d, MP_PTX_W_A) ? MX_A : has(d, MP_PTX_W_B) ? MX_B : MX_C;
	e->type[which] = t;
	if (in->nops < 2 || in->nops > 3 || in->ntypes != 1) {
		decode_refuse(d, "a matrix operation of this kind is not carried");
		return;
	}
	decode_address(d, &tmp, &in->ops[which == MX_D ? 0 : 1], ext, &space, which == MX_D, 2);
	group(d, e, which, &in->ops[which == MX_D ? 1 : 0], wmma_regs(t, size[which], which == MX_A || which == MX_B));
	if (in->nops == 3)
		stride = decode_src(d, &in->ops[2], 4, false);
	o = warp_op(d, which == MX_D ? "wmma.store" : "wmma.load");
	o->ref = e;
	o->a = tmp.a, o->imm = tmp.imm, o->ext = ext, o->b = stride;
	o->x = (uint32_t)which;
	o->size = (uint8_t)space;
}

void decode_matrix(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	struct op *o;
	uint32_t a, dst;

	switch (in->op) {
	case MP_PTX_OP_MMA:
		mma(d);
		return;
	case MP_PTX_OP_WMMA:
		wmma(d);
		return;
	case MP_PTX_OP_LDMATRIX:
		matrix_move(d, false);
		return;
	case MP_PTX_OP_STMATRIX:
		matrix_move(d, true);
		return;
	case MP_PTX_OP_MOVMATRIX:
		if (in->nops != 2)
			break;
		dst = decode_dst(d, &in->ops[0], 4);
		a = decode_src(d, &in->ops[1], 4, false);
		o = warp_op(d, "movmatrix");
		o->d = dst;
		o->a = a;
		return;
	}
	decode_refuse(d, "not carried");
}

/* ---- cp.async and mbarrier ---- */

/* A second address of an instruction, in another space than the first. */
static struct op *other_address(struct decode *d, const struct mp_ptx_operand *o, enum space space)
{
	struct op *from = decode_alloc(d, 1, sizeof(*from));
	uint32_t *ext = decode_alloc(d, 3, sizeof(*ext));
	uint64_t at = 0;
	bool local = false;

	if (!from || !ext)
		return NULL;
	if (o->kind != MP_PTX_ADDR || (o->var && !decode_var_address(d, o->var, &at, &local)) || local) {
		decode_refuse(d, "an address is due");
		return NULL;
	}
	from->a = o->reg == MP_PTX_NOREG ? SLOT_NONE : d->slots[o->reg];
	ext[0] = o->reg == MP_PTX_NOREG ? 0 : decode_reg_size(d, o->reg);
	if (ext[0] && ext[0] != 4 && ext[0] != 8)
		decode_refuse(d, "an address register of the wrong width");
	from->imm = o->bits + at;
	from->ext = ext;
	from->n = (uint8_t)space;
	return from;
}

static void copy_async(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	struct op *to, *from, *o;
	uint32_t some = SLOT_NONE;
	unsigned want = 3;

	if (has(d, MP_PTX_W_COMMIT_GROUP) || has(d, MP_PTX_W_WAIT_GROUP) || has(d, MP_PTX_W_WAIT_ALL)) {
		decode_op(d, "nop");
		return;
	}
	if (!has(d, MP_PTX_W_GLOBAL) || in->nops < 3 || in->ops[2].kind != MP_PTX_IMM ||
	    (in->ops[2].bits != 4 && in->ops[2].bits != 8 && in->ops[2].bits != 16)) {
		decode_refuse(d, "a copy of this kind is not carried");
		return;
	}
	to = other_address(d, &in->ops[0], SP_SHARED);
	from = other_address(d, &in->ops[1], SP_GENERIC);
	if (has(d, MP_PTX_W_L2_CACHE_HINT))
		want++;
	if (in->nops == want + 1) {
		if (in->ops[3].kind == MP_PTX_REG && !decode_reg_size(d, in->ops[3].reg)) {
			decode_refuse(d, "ignore-src is not carried");
			return;
		}
		some = decode_src(d, &in->ops[3], 4, false);
	} else if (in->nops != want) {
		decode_refuse(d, "a copy of this kind is not carried");
		return;
	}
	if (d->outcome)
		return;
	o = decode_op(d, "cp.async");
	o->a = to->a, o->imm = to->imm, o->ext = to->ext;
	o->ref = from;
	o->b = some;
	o->size = (uint8_t)in->ops[2].bits;
}

static void copy_bulk(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool in_shared, tx = has(d, MP_PTX_W_MBARRIER_CTX);
	struct op *to, *from, *bar = NULL, *o;
	uint32_t size, at = SLOT_NONE;

	if (has(d, MP_PTX_W_COMMIT_GROUP) || has(d, MP_PTX_W_WAIT_GROUP)) {
		decode_op(d, "nop");
		return;
	}
	if (has(d, MP_PTX_W_TENSOR) || has(d, MP_PTX_W_REDUCE) || has(d, MP_PTX_W_MULTICAST) ||
	    has(d, MP_PTX_W_CP_MASK) || has(d, MP_PTX_W_PREFETCHW) ||
	    in->nops != 3u + tx + has(d, MP_PTX_W_L2_CACHE_HINT)) {
		decode_refuse(d, "a bulk copy of this kind is not carried");
		return;
	}
	/* .dst.src as written: the first space is the destination */
	in_shared = in->words[2] != MP_PTX_W_GLOBAL;
	to = other_address(d, &in->ops[0], in_shared ? SP_SHARED : SP_GENERIC);
	from = other_address(d, &in->ops[1], in_shared && has(d, MP_PTX_W_GLOBAL) ? SP_GENERIC : SP_SHARED);
	size = decode_src(d, &in->ops[2], 4, false);
	if (tx) {
		bar = other_address(d, &in->ops[3], SP_SHARED);
		if (bar && (bar->a != SLOT_NONE ? bar->imm || bar->ext[0] != 4 : false)) {
			decode_refuse(d, "a barrier's address of this kind is not carried");
			return;
		}
		if (bar)
			at = bar->a == SLOT_NONE ? decode_const(d, 4, bar->imm) : bar->a;
	}
	if (d->outcome)
		return;
	o = decode_op(d, "cp.bulk");
	o->a = to->a, o->imm = to->imm, o->ext = to->ext, o->n = to->n;
	o->ref = from;
	o->c = size;
	o->e = at;
}

enum { MB_INIT, MB_ARRIVE, MB_DROP, MB_TEST, MB_PARITY, MB_EXPECT, MB_COMPLETE, MB_ARRIVE_EXPECT, MB_COUNT };

static void mbarrier(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	const struct mp_ptx_operand *addr = NULL, *result = NULL, *arg = NULL;
	uint32_t dst = SLOT_NONE, b = SLOT_NONE;
	struct op *where, *o;
	unsigned k = 0, what;
	bool test = has(d, MP_PTX_W_TEST_WAIT) || has(d, MP_PTX_W_TRY_WAIT);

	if (has(d, MP_PTX_W_INVAL)) {
		decode_op(d, "nop");
		return;
	}
	if (has(d, MP_PTX_W_PENDING_COUNT) && in->nops == 2) {
		dst = decode_dst(d, &in->ops[0], 4);
		b = decode_src(d, &in->ops[1], 8, false);
		o = decode_op(d, "mbarrier.pending_count");
		o->d = dst;
		o->a = b;
		return;
	}
	if (in->nops && in->ops[0].kind != MP_PTX_ADDR)
		result = &in->ops[k++];
	if (k < in->nops)
		addr = &in->ops[k++];
	if (k < in->nops)
		arg = &in->ops[k++];
	if (!addr || (k < in->nops && !test)) {
		decode_refuse(d, "a barrier operation of this kind is not carried");
		return;
	}
	what = has(d, MP_PTX_W_INIT)	    ? MB_INIT
	       : test			    ? (has(d, MP_PTX_W_PARITY) ? MB_PARITY : MB_TEST)
	       : has(d, MP_PTX_W_ARRIVE) && has(d, MP_PTX_W_EXPECT_TX) ? MB_ARRIVE_EXPECT
	       : has(d, MP_PTX_W_ARRIVE_DROP) && !has(d, MP_PTX_W_EXPECT_TX) ? MB_DROP
	       : has(d, MP_PTX_W_ARRIVE)    ? MB_ARRIVE
	       : has(d, MP_PTX_W_EXPECT_TX) ? MB_EXPECT
	       : has(d, MP_PTX_W_COMPLETE_TX) ? MB_COMPLETE
					      : MB_COUNT;
	if (what == MB_COUNT || (has(d, MP_PTX_W_SHARED_CLUSTER) && what != MB_ARRIVE && what != MB_ARRIVE_EXPECT)) {
		decode_refuse(d, "a barrier operation of this kind is not carried");
		return;
	}
	where = other_address(d, addr, has(d, MP_PTX_W_SHARED) || has(d, MP_PTX_W_SHARED_CTA) ||
						       has(d, MP_PTX_W_SHARED_CLUSTER)
					       ? SP_SHARED : SP_GENERIC);
	if (arg)
		b = decode_src(d, arg, what == MB_TEST ? 8 : 4, false);
	if (result && test)
		dst = decode_dst(d, result, 0);
	else if (result && result->kind != MP_PTX_SINK)
		dst = decode_dst(d, result, 8);
	if (d->outcome)
		return;
	o = decode_op(d, "mbarrier");
	o->a = where->a, o->imm = where->imm, o->ext = where->ext, o->n = where->n;
	o->b = b, o->d = dst, o->e = what;
}

void decode_async(struct decode *d)
{
	if (d->insn->op == MP_PTX_OP_MBARRIER) {
		mbarrier(d);
	} else if (has(d, MP_PTX_W_BULK)) {
		copy_bulk(d);
	} else if (has(d, MP_PTX_W_MBARRIER)) {
		/* cp.async.mbarrier.arrive: copies are done, so it arrives (.noinc) or cancels itself out */
		struct op *where, *o;

		if (!has(d, MP_PTX_W_NOINC)) {
			decode_op(d, "nop");
			return;
		}
		where = d->insn->nops == 1 ? other_address(d, &d->insn->ops[0], SP_SHARED) : NULL;
		if (!where) {
			decode_refuse(d, "a barrier operation of this kind is not carried");
			return;
		}
		o = decode_op(d, "mbarrier");
		o->a = where->a, o->imm = where->imm, o->ext = where->ext, o->n = where->n;
		o->b = o->d = SLOT_NONE, o->e = MB_ARRIVE;
	} else {
		copy_async(d);
	}
}
