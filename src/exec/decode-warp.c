/* SPDX-License-Identifier: Apache-2.0 */
/* Barriers, warp operations and calls (9.7.12, 9.7.13). */
#include "exec/decode.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct decode *d, enum mp_ptx_word w)
{
	return mp_ptx_has(d->insn, w);
}

/* bar and barrier (9.7.13.1): a = number, b = threads or SLOT_NONE, x = kind, c = predicate */
static void barrier(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool red = has(d, MP_PTX_W_RED);
	const struct mp_ptx_operand *ops = in->ops + red, *p = NULL;
	unsigned n = in->nops - red;
	uint32_t a, b = SLOT_NONE, c = 0, dst = 0;
	struct op *o;

	if (has(d, MP_PTX_W_WARP)) {
		uint32_t m;

		if (in->nops != 1) {
			decode_refuse(d, "bar.warp.sync needs a mask");
			return;
		}
		m = decode_src(d, &in->ops[0], 4, false);
		o = decode_op(d, NULL);
		o->kind = K_WARPBAR;
		o->e = m;
		return;
	}
	if (has(d, MP_PTX_W_CLUSTER)) {
		bool arrive = has(d, MP_PTX_W_ARRIVE);

		if (in->nops)
			decode_refuse(d, "a barrier of the cluster has no operands");
		o = decode_op(d, arrive ? "cluster.arrive" : NULL);
		if (!arrive)
			o->kind = K_CLUSTER;
		return;
	}
	if (in->nops < 1u + red || n > 2u + red) {
		decode_refuse(d, "a barrier with the wrong operands");
		return;
	}
	if (red) {
		p = &ops[n - 1];
		n--;
		dst = has(d, MP_PTX_W_POPC) ? decode_dst(d, &in->ops[0], 4) : decode_dst(d, &in->ops[0], 0);
		c = decode_src(d, p, 0, false);
	}
	a = decode_src(d, &ops[0], 4, false);
	if (n > 1)
		b = decode_src(d, &ops[1], 4, false);
	o = decode_op(d, NULL);
	o->kind = K_BAR;
	o->a = a;
	o->b = b;
	o->c = c;
	o->d = dst;
	o->x = has(d, MP_PTX_W_ARRIVE)	? 1
	       : !red			? 0
	       : has(d, MP_PTX_W_POPC)	? 2
	       : has(d, MP_PTX_W_AND)	? 3
					: 4;
	o->n = p && p->negated;
	if (o->x == 1 && b == SLOT_NONE)
		decode_refuse(d, "bar.arrive needs a number of threads");
}

/* Warp operations: e = member mask; the handler is called when the members are here. */
static struct op *member_op(struct decode *d, const char *key, const struct mp_ptx_operand *mask)
{
	uint32_t m = mask ? decode_src(d, mask, 4, false) : decode_const(d, 4, FULL);
	struct op *o = decode_op(d, key);

	o->kind = K_WARPSYNC;
	o->e = m;
	return o;
}

static void shuffle(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool sync = has(d, MP_PTX_W_SYNC);
	uint32_t dst, a, b, c, q = SLOT_NONE;
	struct op *o;

	if (in->nops != 4u + sync) {
		decode_refuse(d, "shfl with the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 4);
	if (in->ops[0].reg2 != MP_PTX_NOREG)
		q = d->slots[in->ops[0].reg2];
	a = decode_src(d, &in->ops[1], 4, false);
	b = decode_src(d, &in->ops[2], 4, false);
	c = decode_src(d, &in->ops[3], 4, false);
	o = member_op(d, "shfl", sync ? &in->ops[4] : NULL);
	o->d = dst, o->d2 = q, o->a = a, o->b = b, o->c = c;
	o->x = has(d, MP_PTX_W_UP) ? 0 : has(d, MP_PTX_W_DOWN) ? 1 : has(d, MP_PTX_W_BFLY) ? 2 : 3;
}

static void vote(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	bool sync = has(d, MP_PTX_W_SYNC), ballot = has(d, MP_PTX_W_BALLOT);
	uint32_t dst, a;
	struct op *o;

	if (in->nops != 2u + sync) {
		decode_refuse(d, "vote with the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], ballot ? 4 : 0);
	a = decode_src(d, &in->ops[1], 0, false);
	o = member_op(d, ballot			       ? "vote.ballot"
			 : has(d, MP_PTX_W_ALL) ? "vote.all"
			 : has(d, MP_PTX_W_ANY) ? "vote.any"
						: "vote.uni",
		      sync ? &in->ops[2] : NULL);
	o->d = dst, o->a = a;
	o->x = in->ops[1].negated ? FULL : 0;
}

static void match(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	unsigned size;
	uint32_t dst, a, q = SLOT_NONE;
	char key[32];
	struct op *o;

	if (in->nops != 3 || !in->ntypes) {
		decode_refuse(d, "match with the wrong operands");
		return;
	}
	size = mp_ptx_type_size(in->types[0]);
	dst = decode_dst(d, &in->ops[0], 4);
	if (in->ops[0].reg2 != MP_PTX_NOREG)
		q = d->slots[in->ops[0].reg2];
	a = decode_src(d, &in->ops[1], size, false);
	snprintf(key, sizeof(key), "match.%s.%u", has(d, MP_PTX_W_ALL) ? "all" : "any", size * 8);
	o = member_op(d, key, &in->ops[2]);
	o->d = dst, o->d2 = q, o->a = a;
}

static void redux(struct decode *d)
{
	static const enum mp_ptx_word ops[] = {MP_PTX_W_ADD, MP_PTX_W_MIN, MP_PTX_W_MAX,
					       MP_PTX_W_AND, MP_PTX_W_OR,  MP_PTX_W_XOR};
	const struct mp_ptx_insn *in = d->insn;
	uint32_t dst, a;
	char key[48];
	struct op *o;
	size_t i;

	if (in->nops != 3 || !in->ntypes) {
		decode_refuse(d, "redux with the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 4);
	a = decode_src(d, &in->ops[1], 4, type_is_float(in->types[0]));
	for (i = 0; i < MP_ARRAY_LEN(ops) - 1 && !has(d, ops[i]); i++)
		;
	snprintf(key, sizeof(key), "redux.%s.%s%s%s", mp_ptx_word_name(ops[i]),
		 has(d, MP_PTX_W_ABS) ? "abs." : "", has(d, MP_PTX_W_NAN) ? "NaN." : "",
		 in->types[0] == MP_PTX_T_B32 ? "u32" : type_name(in->types[0]));
	o = member_op(d, key, &in->ops[2]);
	o->d = dst, o->a = a;
}

/* elect.sync d|p, mask (9.7.13.14) */
static void elect(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t dst, q = SLOT_NONE;
	struct op *o;

	if (in->nops != 2) {
		decode_refuse(d, "elect with the wrong operands");
		return;
	}
	dst = decode_dst(d, &in->ops[0], 4);
	if (in->ops[0].reg2 != MP_PTX_NOREG)
		q = d->slots[in->ops[0].reg2];
	o = member_op(d, "elect", &in->ops[1]);
	o->d = dst, o->d2 = q;
}

/* ---- Calls (9.7.12.5) ---- */

/* One argument or result: between the caller's local memory or register and the callee's. */
static void call_arg(struct decode *d, const struct mp_ptx_operand *o, const struct mp_ptx_var *to,
		     struct call_arg *a)
{
	a->size = (uint32_t)to->size;
	a->to = (uint32_t)to->offset;
	a->reg_to = to->space == MP_PTX_W_REGSPACE ? to->reg : MP_PTX_NOREG;
	a->reg_from = SLOT_NONE;
	a->reg_size = mp_ptx_type_size(to->type);
	if (o->kind == MP_PTX_VAR && (o->var->space == MP_PTX_W_PARAM || o->var->space == MP_PTX_W_LOCAL)) {
		a->from = (uint32_t)o->var->offset;
		if (o->var->size < a->size)
			a->size = (uint32_t)o->var->size;
	} else if (o->kind == MP_PTX_REG) {
		a->reg_size = decode_reg_size(d, o->reg);
		a->reg_from = d->slots[o->reg];
	} else {
		decode_refuse(d, "an argument of an unexpected kind");
	}
}

static void call(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	const struct mp_ptx_operand *target = NULL, *args = NULL, *rets = NULL, *proto = NULL;
	struct call_site *s = decode_alloc(d, 1, sizeof(*s));
	const struct mp_ptx_var *pv, *rv;
	uint32_t i, np, nr, slot = 0;
	struct op *o;

	for (i = 0; i < in->nops; i++) {
		const struct mp_ptx_operand *p = &in->ops[i];

		if (p->kind == MP_PTX_LIST && !target)
			rets = p;
		else if (p->kind == MP_PTX_LIST)
			args = p;
		else if (p->kind == MP_PTX_FUNC || p->kind == MP_PTX_REG)
			target = p;
		else if (p->kind == MP_PTX_PROTO || p->kind == MP_PTX_TABLE)
			proto = p;
	}
	if (!s || !target) {
		decode_refuse(d, "a call without a target");
		return;
	}
	s->program = d->p;
	if (target->kind == MP_PTX_FUNC) {
		struct mp_ptx_func *f = target->func;

		pv = f->params, np = f->nparams, rv = f->rets, nr = f->nrets;
		if (f->has_body) {
			for (i = 0; i < d->p->ncodes; i++)
				if (d->p->codes[i].func == f)
					s->callee = &d->p->codes[i];
			assert(s->callee);
		} else {
			s->external = (int)external_find(f->name);
			if (!s->external) {
				decode_refuse(d, "%.60s is declared and never defined", f->name);
				return;
			}
			if (s->external == EXT_VPRINTF)
				d->p->uses_printf = true;
		}
	} else {
		const struct mp_ptx_proto *p;

		if (!proto) {
			decode_refuse(d, "an indirect call without a prototype");
			return;
		}
		slot = decode_src(d, target, 8, false);
		if (proto->kind == MP_PTX_TABLE) {
			const struct mp_ptx_table *t = &d->body->tables[proto->bits];

			if (!t->n || !t->funcs) {
				decode_refuse(d, "an empty table of callees");
				return;
			}
			pv = t->funcs[0]->params, np = t->funcs[0]->nparams;
			rv = t->funcs[0]->rets, nr = t->funcs[0]->nrets;
		} else {
			p = &d->body->protos[proto->bits];
			pv = p->params, np = p->nparams, rv = p->rets, nr = p->nrets;
		}
	}
	s->nargs = args ? args->nelems : 0;
	s->nrets = rets ? rets->nelems : 0;
	if (s->nargs != np || s->nrets != nr) {
		decode_refuse(d, "a call with the wrong number of arguments");
		return;
	}
	s->args = decode_alloc(d, s->nargs + 1u, sizeof(*s->args));
	s->rets = decode_alloc(d, s->nrets + 1u, sizeof(*s->rets));
	if (d->outcome)
		return;
	for (i = 0; i < s->nargs; i++)
		call_arg(d, &args->elems[i], &pv[i], &s->args[i]);
	for (i = 0; i < s->nrets; i++)
		call_arg(d, &rets->elems[i], &rv[i], &s->rets[i]);
	o = decode_op(d, NULL);
	o->kind = K_CALL;
	o->ref = s;
	o->a = slot;
}

void decode_warp(struct decode *d)
{
	struct op *o;
	uint32_t dst;

	switch (d->insn->op) {
	case MP_PTX_OP_BAR:
	case MP_PTX_OP_BARRIER:
		barrier(d);
		return;
	case MP_PTX_OP_SHFL:
		shuffle(d);
		return;
	case MP_PTX_OP_VOTE:
		vote(d);
		return;
	case MP_PTX_OP_MATCH:
		match(d);
		return;
	case MP_PTX_OP_REDUX:
		redux(d);
		return;
	case MP_PTX_OP_ELECT:
		elect(d);
		return;
	case MP_PTX_OP_ACTIVEMASK:
		if (d->insn->nops != 1)
			break;
		dst = decode_dst(d, &d->insn->ops[0], 4);
		o = decode_op(d, "activemask");
		o->d = dst;
		return;
	case MP_PTX_OP_GRIDDEPCONTROL: /* grids of one stream already run one after another */
		decode_op(d, "nop");
		return;
	case MP_PTX_OP_CALL:
		call(d);
		return;
	}
	decode_refuse(d, "not carried");
}
