/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the checked tree to operations: one program per kernel, with every
 * function it can reach.  This file makes the frame of the work: reachable
 * functions, layout of shared and local memory, registers, constants, blocks.
 * decode-insn.c and its neighbours turn instructions into operations.
 */
#include "exec/check.h"
#include "exec/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void decode_refuse(struct decode *d, const char *fmt, ...)
{
	char text[120] = "";
	va_list ap;
	int n;

	if (d->outcome)
		return;
	d->outcome = MP_EXEC_UNSUPPORTED;
	d->err->line = d->insn ? d->insn->line : 0;
	va_start(ap, fmt);
	n = vsnprintf(d->err->text, sizeof(d->err->text), fmt, ap);
	va_end(ap);
	if (d->insn && n >= 0 && (size_t)n < sizeof(d->err->text)) {
		mp_ptx_insn_text(d->insn, text, sizeof(text));
		snprintf(d->err->text + n, sizeof(d->err->text) - (size_t)n, ": %s", text);
	}
}

void *decode_alloc(struct decode *d, size_t n, size_t size)
{
	void *p = mp_arena_array(d->arena, n ? n : 1, size);

	if (!p && !d->outcome) {
		d->outcome = MP_EXEC_NO_MEMORY;
		snprintf(d->err->text, sizeof(d->err->text), "the kernel needs too much memory");
	}
	return p;
}

/* ---- Constants: registers that never change ---- */

static unsigned reg_bytes(unsigned size)
{
	return size == 0 ? 4 : size == 1 ? 2 * LANES : size * LANES;
}

uint32_t decode_const(struct decode *d, unsigned size, uint64_t bits)
{
	uint32_t i, l, at, bytes = reg_bytes(size);

	if (size < 8 && size)
		bits &= (1ull << (size * 8)) - 1;
	for (i = 0; i < d->nentries; i++)
		if (d->entries[i].bits == bits && d->entries[i].size == size)
			return SLOT_CONST | d->entries[i].at;
	if (d->nentries == d->entries_cap) {
		d->entries_cap = d->entries_cap ? d->entries_cap * 2 : 64;
		d->entries = realloc(d->entries, d->entries_cap * sizeof(*d->entries));
	}
	at = (d->pool_len + 63) & ~63u;
	if (at + bytes > d->pool_cap) {
		d->pool_cap = d->pool_cap ? d->pool_cap * 2 : 16384;
		d->pool = realloc(d->pool, d->pool_cap);
	}
	if (!d->pool || !d->entries) {
		free(d->pool);
		free(d->entries);
		d->pool = NULL;
		d->entries = NULL;
		d->pool_cap = d->entries_cap = d->nentries = d->pool_len = 0;
		d->outcome = MP_EXEC_NO_MEMORY;
		return SLOT_CONST;
	}
	memset(d->pool + d->pool_len, 0, at + bytes - d->pool_len);
	for (l = 0; l < LANES; l++) {
		char *p = d->pool + at;

		switch (size) {
		case 0: *(uint32_t *)p = bits ? FULL : 0; break;
		case 1: case 2: ((uint16_t *)p)[l] = (uint16_t)bits; break;
		case 4: ((uint32_t *)p)[l] = (uint32_t)bits; break;
		default: ((uint64_t *)p)[l] = bits; break; /* of 16: the low half */
		}
	}
	d->pool_len = at + bytes;
	d->entries[d->nentries++] = (struct pool_entry){bits, size, at};
	return SLOT_CONST | at;
}

static void temp_note(struct decode *d, uint32_t slot, unsigned size)
{
	if (d->ntemps == d->temps_cap) {
		uint32_t cap = d->temps_cap ? d->temps_cap * 2 : 64;
		struct temp *more = decode_alloc(d, cap, sizeof(*more));

		if (!more)
			return;
		if (d->ntemps)
			memcpy(more, d->temps, d->ntemps * sizeof(*more));
		d->temps = more;
		d->temps_cap = cap;
	}
	d->temps[d->ntemps++] = (struct temp){slot, (uint8_t)size};
}

uint32_t decode_temp(struct decode *d, unsigned size)
{
	uint32_t at = d->own_places ? d->frame_bytes : d->temp_at;

	/* Temporaries live within one instruction: the next one starts over. */
	if (size)
		at = (at + 63) & ~63u;
	d->temp_at = at + reg_bytes(size);
	if (d->temp_at > d->frame_bytes)
		d->frame_bytes = d->temp_at;
	if (d->own_places)
		temp_note(d, at, size);
	return at;
}

unsigned decode_reg_size(const struct decode *d, uint32_t reg)
{
	return mp_ptx_type_size(d->body->regs[reg].type);
}

/* Lay the blocks out in their final order and place the registers. */
static bool registers_place(struct decode *d, const struct item *items, const uint32_t *first,
			    struct layout_blocks *y)
{
	uint32_t i, k, n = 0;

	y->first = decode_alloc(d, y->n + 1u, sizeof(*y->first));
	y->last = decode_alloc(d, y->n + 1u, sizeof(*y->last));
	y->insns = decode_alloc(d, d->body->ninsns * 2ull + 2, sizeof(*y->insns));
	if (d->outcome)
		return false;
	for (i = 0; i < y->n; i++) {
		y->first[i] = n;
		for (k = first[y->order[i]]; k < first[y->order[i] + 1]; k++)
				y->insns[n++] = items[k].insn;
		y->last[i] = n;
	}
	return registers_allocate(d, y);
}

/* ---- Reachable functions ---- */

static bool operand_funcs(struct decode *d, const struct mp_ptx_operand *o,
			  bool (*each)(struct decode *, struct mp_ptx_func *))
{
	uint32_t i;

	if (o->func && !each(d, o->func))
		return false;
	for (i = 0; i < o->nelems && o->elems; i++)
		if (!operand_funcs(d, &o->elems[i], each))
			return false;
	return true;
}

static struct code *code_find(struct program *p, const struct mp_ptx_func *f)
{
	uint32_t i;

	for (i = 0; i < p->ncodes; i++)
		if (p->codes[i].func == f)
			return &p->codes[i];
	return NULL;
}

static bool func_add(struct decode *d, struct mp_ptx_func *f)
{
	struct program *p = d->p;
	enum mp_ptx_outcome o;

	/* A kernel whose address is taken is launched, not called. */
	if (!f->has_body || code_find(p, f) || (f->is_entry && p->ncodes))
		return true;
	o = mp_ptx_body_parse(&d->m->ptx, f, &p->bodies[p->ncodes], d->err);
	if (o) {
		mp_ptx_body_fini(&p->bodies[p->ncodes]);
		d->outcome = o == MP_PTX_BAD ? MP_EXEC_BAD_PTX : MP_EXEC_NO_MEMORY;
		return false;
	}
	assert(!f->is_entry || !p->ncodes);
	p->codes[p->ncodes].func = f;
	p->codes[p->ncodes].insns = p->bodies[p->ncodes].insns;
	p->ncodes++;
	return true;
}

static void reach(struct decode *d, struct mp_ptx_func *entry)
{
	struct program *p = d->p;
	uint32_t c, i, k, most = 1;
	bool indirect = false;

	/* No other kernel is reached: a module of thousands would cost each of them all the others. */
	for (i = 0; i < d->m->ptx.nfuncs; i++)
		most += !d->m->ptx.funcs[i]->is_entry;
	p->bodies = decode_alloc(d, most, sizeof(*p->bodies));
	p->codes = decode_alloc(d, most, sizeof(*p->codes));
	if (d->outcome || !func_add(d, entry))
		return;
	for (c = 0; c < p->ncodes; c++) {
		const struct mp_ptx_body *b = &p->bodies[c];

		for (i = 0; i < b->ninsns; i++) {
			const struct mp_ptx_insn *in = &b->insns[i];

			for (k = 0; k < in->nops; k++)
				if (!operand_funcs(d, &in->ops[k], func_add))
					return;
			if (in->op == MP_PTX_OP_CALL) {
				p->calls = true;
		for (k = 0; k < in->nops; k++)
					indirect |= in->ops[k].kind == MP_PTX_REG;
			}
		}
		/* Any function whose address may have been taken can be the callee. */
		if (indirect && c + 1 == p->ncodes)
			for (i = 0; i < d->m->ptx.nfuncs; i++)
				if (!d->m->ptx.funcs[i]->is_entry && !func_add(d, d->m->ptx.funcs[i]))
					return;
	}
}

/* ---- Shared and local memory ---- */

static void shared_take(struct decode *d, const struct mp_ptx_var *v, uint64_t *ret_at)
{
	uint64_t at = mp_align_up(d->shared_end, v->align);

	if (at + v->size > 1u << 22) {
		decode_refuse(d, "%.60s: more shared memory than any device has", v->name);
		return;
	}
	*ret_at = at;
	d->shared_end = (uint32_t)(at + v->size);
}

static void shared_mark(struct decode *d, const struct mp_ptx_operand *o)
{
	uint32_t i;

	if (o->var && !o->var->in_body && o->var->space == MP_PTX_W_SHARED)
		d->shared_at[o->var->index] = 1;
	for (i = 0; i < o->nelems && o->elems; i++)
		shared_mark(d, &o->elems[i]);
}

/* Static variables in the order of declaration, then all `.extern` arrays at one place (5.1.7). */
static void shared_place(struct decode *d)
{
	struct program *p = d->p;
	uint32_t c, i, k;
	uint64_t at = 0;

	d->shared_at = decode_alloc(d, d->m->ptx.nvars, sizeof(*d->shared_at));
	if (!d->shared_at)
		return;
	for (c = 0; c < p->ncodes; c++)
		for (i = 0; i < p->bodies[c].ninsns; i++)
			for (k = 0; k < p->bodies[c].insns[i].nops; k++)
				shared_mark(d, &p->bodies[c].insns[i].ops[k]);
	d->shared_dynamic_align = 16;
	for (i = 0; i < d->m->ptx.nvars; i++) {
		const struct mp_ptx_var *v = d->m->ptx.vars[i];

		if (!d->shared_at[i])
			continue;
		if (v->is_extern) {
			if (v->align > d->shared_dynamic_align)
				d->shared_dynamic_align = v->align;
			continue;
		}
		shared_take(d, v, &at);
		d->shared_at[i] = at + 1;
	}
	for (c = 0; c < p->ncodes; c++)
		for (i = 0; i < p->bodies[c].nvars; i++) {
			struct mp_ptx_var *v = p->bodies[c].vars[i];

			if (v->space == MP_PTX_W_SHARED && !v->is_extern && v->size)
				shared_take(d, v, &v->offset);
			else if (v->space == MP_PTX_W_SHARED && v->align > d->shared_dynamic_align)
				d->shared_dynamic_align = v->align;
		}
	p->static_shared = d->shared_end;
	p->dynamic_at = (uint32_t)mp_align_up(d->shared_end, d->shared_dynamic_align);
	for (i = 0; i < d->m->ptx.nvars; i++)
		if (d->shared_at[i] && d->m->ptx.vars[i]->is_extern)
			d->shared_at[i] = p->dynamic_at + 1ull;
	for (c = 0; c < p->ncodes; c++)
		for (i = 0; i < p->bodies[c].nvars; i++) {
			struct mp_ptx_var *v = p->bodies[c].vars[i];

			if (v->space == MP_PTX_W_SHARED && (v->is_extern || !v->size))
				v->offset = p->dynamic_at;
		}
}

static void local_take(struct decode *d, struct mp_ptx_var *v, uint64_t *at)
{
	uint64_t align = v->align < 8 ? 8 : v->align;

	v->offset = mp_align_up(*at, align);
	*at = v->offset + v->size;
	if (*at > 1u << 26)
		decode_refuse(d, "%.60s: too much local memory", v->name);
}

/* A call's frame of local memory: its parameters and results, then what it declares (5.1.5, 7.1). */
static void local_place(struct decode *d, struct code *c, struct mp_ptx_body *b)
{
	uint64_t at = 0;
	uint32_t i;

	if (!c->func->is_entry) {
		for (i = 0; i < c->func->nparams; i++)
			local_take(d, &c->func->params[i], &at);
		for (i = 0; i < c->func->nrets; i++)
			local_take(d, &c->func->rets[i], &at);
	}
	for (i = 0; i < b->nvars; i++)
		if (b->vars[i]->space == MP_PTX_W_LOCAL || b->vars[i]->space == MP_PTX_W_PARAM)
			local_take(d, b->vars[i], &at);
	c->local_bytes = (uint32_t)mp_align_up(at, 16);
}

bool decode_var_address(struct decode *d, const struct mp_ptx_var *v, uint64_t *ret, bool *is_local)
{
	*is_local = false;
	switch (v->space) {
	case MP_PTX_W_GLOBAL:
	case MP_PTX_W_CONST:
		if (v->in_body) {
			decode_refuse(d, "%.60s: a global variable inside a function", v->name);
			return false;
		}
		if (!v->offset) {
			decode_refuse(d, "%.60s is declared and never defined", v->name);
			return false;
		}
		*ret = v->offset;
		return true;
	case MP_PTX_W_SHARED:
		*ret = v->in_body ? v->offset : d->shared_at[v->index] - 1;
		return true;
	case MP_PTX_W_LOCAL:
		if (!v->in_body) {
			decode_refuse(d, "%.60s: a local variable outside a function", v->name);
			return false;
		}
		*is_local = true;
		*ret = v->offset;
		return true;
	case MP_PTX_W_PARAM:
		*is_local = !d->code->func->is_entry || v->in_body;
		*ret = v->offset;
		return true;
	default:
		decode_refuse(d, "the address of a register");
		return false;
	}
}

/* ---- Blocks ---- */

/*
 * multimem (PTX ISA 9.7.9.14) works on addresses of multicast objects.  There are none on these
 * devices, which say so by their attributes, so that only a program in error gets as far as this; its
 * kernels are not refused for holding it.
 */
static bool traps(const struct mp_ptx_insn *i)
{
	return i->op == MP_PTX_OP_TRAP || i->op == MP_PTX_OP_MULTIMEM;
}

static bool ends_block(const struct mp_ptx_insn *i)
{
	switch (i->op) {
	case MP_PTX_OP_BRA:
	case MP_PTX_OP_BRX:
	case MP_PTX_OP_RET:
	case MP_PTX_OP_EXIT:
	case MP_PTX_OP_CALL:
	case MP_PTX_OP_TRAP:
	case MP_PTX_OP_MULTIMEM:
	case MP_PTX_OP_NANOSLEEP:
		return true;
	}
	return false;
}

/* Must stand alone in its block, unguarded: a branch goes around it when it has a guard. */
static bool stands_alone(const struct mp_ptx_insn *i)
{
	return insn_is_sync(i) || i->op == MP_PTX_OP_CALL || i->op == MP_PTX_OP_NANOSLEEP || traps(i);
}

static struct op *op_push(struct decode *d)
{
	if (d->nops == d->ops_cap) {
		uint32_t cap = d->ops_cap ? d->ops_cap * 2 : 128;
		struct op *more = realloc(d->ops, cap * sizeof(*more));

		if (!more) {
			d->outcome = MP_EXEC_NO_MEMORY;
			return &d->ops[0]; /* never run */
		}
		d->ops = more;
		d->ops_cap = cap;
	}
	memset(&d->ops[d->nops], 0, sizeof(*d->ops));
	d->ops[d->nops].guard = SLOT_NONE;
	d->ops[d->nops].insn = (uint32_t)(d->insn - d->body->insns);
	return &d->ops[d->nops++];
}

struct op *decode_op(struct decode *d, const char *key)
{
	struct op *o = op_push(d);

	if (key) {
		o->fn = handler_find(handler_seeded(key, d->own_places));
		if (!o->fn)
			decode_refuse(d, "there is no %s", key);
	}
	if (d->insn->guard != MP_PTX_NOREG && !stands_alone(d->insn)) {
		o->guard = d->slots[d->insn->guard];
		o->guard_negated = d->insn->guard_negated;
		o->kind = K_GUARDED;
	}
	return o;
}

struct blocks {
	struct item *items;
	uint32_t nitems;
	uint32_t *item_at; /* first item of each instruction, and one past the end */
	uint32_t *block_of, *first; /* of items; first item of each block */
	uint32_t n;
	uint32_t *succ_at, *succ, *number;
};

static bool items_make(struct decode *d, struct blocks *b)
{
	const struct mp_ptx_body *body = d->body;
	bool *leader;
	uint32_t i, k, n = body->ninsns;

	b->items = decode_alloc(d, (size_t)n * 2 + 2, sizeof(*b->items));
	b->item_at = decode_alloc(d, (size_t)n + 1, sizeof(*b->item_at));
	leader = decode_alloc(d, (size_t)n * 2 + 3, sizeof(*leader));
	b->block_of = decode_alloc(d, (size_t)n * 2 + 3, sizeof(*b->block_of));
	b->first = decode_alloc(d, (size_t)n * 2 + 4, sizeof(*b->first));
	if (d->outcome)
		return false;
	leader[0] = true;
	for (i = 0; i < n; i++) {
		const struct mp_ptx_insn *in = &body->insns[i];

		b->item_at[i] = b->nitems;
		if (stands_alone(in)) {
			if (in->guard != MP_PTX_NOREG) {
				b->items[b->nitems++] = (struct item){i, true};
				leader[b->nitems] = true;
			}
			if (insn_is_sync(in))
				leader[b->nitems] = true;
		}
		b->items[b->nitems++] = (struct item){i, false};
		if (ends_block(in) || insn_is_sync(in))
			leader[b->nitems] = true;
	}
	b->item_at[n] = b->nitems;
	for (i = 0; i < body->nlabels; i++)
		leader[b->item_at[body->labels[i]]] = true;
	for (i = 0, k = 0; i < b->nitems; i++) {
		if (leader[i])
			b->first[b->n++] = i;
		b->block_of[i] = b->n - 1;
	}
	b->first[b->n] = b->nitems;
	/* One more block past the end: a body that falls off it returns. */
	b->block_of[b->nitems] = b->n;
	(void)k;
	return true;
}

static uint32_t label_block(const struct decode *d, const struct blocks *b, uint64_t label)
{
	return b->block_of[b->item_at[d->body->labels[label]]];
}

static bool successors(struct decode *d, struct blocks *b)
{
	uint32_t i, k, n = 0, cap = b->n * 2 + 2;

	for (i = 0; i < d->body->ntables; i++)
		cap += d->body->tables[i].n;
	for (i = 0; i < d->body->ninsns; i++)
		if (d->body->insns[i].op == MP_PTX_OP_BRX && d->body->insns[i].nops == 2 &&
		    d->body->insns[i].ops[1].kind == MP_PTX_TABLE)
			cap += d->body->tables[d->body->insns[i].ops[1].bits].n;
	b->succ_at = decode_alloc(d, b->n + 2u, sizeof(*b->succ_at));
	b->succ = decode_alloc(d, cap, sizeof(*b->succ));
	if (d->outcome)
		return false;
	for (i = 0; i < b->n; i++) {
		const struct item *last = &b->items[b->first[i + 1] - 1];
		const struct mp_ptx_insn *in = &d->body->insns[last->insn];
		bool falls = true;

		b->succ_at[i] = n;
		d->insn = in;
		if (last->skip) {
			b->succ[n++] = b->block_of[b->first[i + 1] + 1];
		} else if (in->op == MP_PTX_OP_BRA) {
			if (in->nops != 1 || in->ops[0].kind != MP_PTX_LABEL) {
				decode_refuse(d, "a branch needs one label");
				return false;
			}
			b->succ[n++] = label_block(d, b, in->ops[0].bits);
			falls = in->guard != MP_PTX_NOREG;
		} else if (in->op == MP_PTX_OP_BRX) {
			if (in->nops != 2 || in->ops[1].kind != MP_PTX_TABLE) {
				decode_refuse(d, "brx needs a table of labels");
				return false;
			}
			for (k = 0; k < d->body->tables[in->ops[1].bits].n; k++)
				b->succ[n++] =
					label_block(d, b, d->body->tables[in->ops[1].bits].labels[k]);
			falls = in->guard != MP_PTX_NOREG;
		} else if (in->op == MP_PTX_OP_RET || in->op == MP_PTX_OP_EXIT) {
			falls = in->guard != MP_PTX_NOREG;
		} else if (traps(in)) {
			falls = false;
		}
		if (falls)
			b->succ[n++] = i + 1;
	}
	b->succ_at[b->n] = n;
	b->succ_at[b->n + 1] = n;
	return true;
}

static void terminator(struct decode *d, const struct blocks *b, const struct item *it, bool ends,
		       struct bblock *bb, uint32_t old)
{
	const struct mp_ptx_insn *in = &d->body->insns[it->insn];
	struct op *o;
	uint32_t k;

	d->insn = in;
	d->temp_at = d->frame_fixed;
	bb->next = b->number[old + 1];
	if (it->skip) {
		o = op_push(d);
		o->kind = K_BRA;
		o->guard = d->slots[in->guard];
		o->guard_negated = !in->guard_negated;
		bb->target = b->number[b->block_of[b->first[old + 1] + 1]];
		return;
	}
	if (!ends) {
		o = op_push(d);
		o->kind = K_NEXT;
		return;
	}
	switch (in->op) {
	case MP_PTX_OP_BRA:
		o = op_push(d);
		o->kind = in->guard == MP_PTX_NOREG ? K_NEXT : K_BRA;
		bb->target = b->number[label_block(d, b, in->ops[0].bits)];
		if (o->kind == K_NEXT)
			bb->next = bb->target;
		break;
	case MP_PTX_OP_BRX: {
		const struct mp_ptx_table *t = &d->body->tables[in->ops[1].bits];
		uint32_t *blocks = decode_alloc(d, t->n + 1u, sizeof(*blocks));
		uint32_t a = decode_src(d, &in->ops[0], 4, false);

		o = op_push(d);
		o->kind = K_BRX;
		o->a = a;
		o->x = t->n;
		o->ext = blocks;
		for (k = 0; blocks && k < t->n; k++)
			blocks[k] = b->number[label_block(d, b, t->labels[k])];
		break;
	}
	case MP_PTX_OP_RET:
	case MP_PTX_OP_EXIT:
		o = op_push(d);
		o->kind = in->op == MP_PTX_OP_EXIT ? K_EXIT : K_RET;
		break;
	case MP_PTX_OP_TRAP:
	case MP_PTX_OP_MULTIMEM:
		o = op_push(d);
		o->kind = K_TRAP;
		break;
	case MP_PTX_OP_NANOSLEEP:
		o = op_push(d);
		o->kind = K_YIELD;
		break;
	default: /* call: made by decode_insn */
		decode_insn(d);
		return;
	}
	if (in->guard != MP_PTX_NOREG && !stands_alone(in)) {
		o->guard = d->slots[in->guard];
		o->guard_negated = in->guard_negated;
	}
}

static void body_decode(struct decode *d, struct code *c, struct mp_ptx_body *body)
{
	struct blocks b = {0};
	uint32_t *order, n, i, k;

	d->code = c;
	d->body = body;
	d->nops = 0;
	d->temps = NULL;
	d->ntemps = d->temps_cap = 0;
	d->insn = NULL;
	if (!items_make(d, &b) || !successors(d, &b))
		return;
	order = decode_alloc(d, b.n + 1u, sizeof(*order));
	b.number = decode_alloc(d, b.n + 1u, sizeof(*b.number));
	if (d->outcome)
		return;
	n = flow_order(d->arena, b.n + 1, b.succ_at, b.succ, order);
	if (!n) {
		d->outcome = MP_EXEC_NO_MEMORY;
		return;
	}
	/* Unreachable blocks have no number; nothing that runs can name them. */
	for (i = 0; i < n; i++)
		b.number[order[i]] = i;
	b.first[b.n + 1] = b.nitems;
	{
		struct layout_blocks y = {.n = n, .order = order, .number = b.number,
					  .succ_at = b.succ_at, .succ = b.succ};

		if (!registers_place(d, b.items, b.first, &y))
			return;
	}
	c->nblocks = n;
	c->blocks = decode_alloc(d, n, sizeof(*c->blocks));
	for (i = 0; i < n && !d->outcome; i++) {
		uint32_t old = order[i], end, last;
		struct bblock *bb = &c->blocks[i];
		bool ends;

		bb->first = d->nops;
		if (old == b.n) { /* past the end */
			d->insn = body->ninsns ? &body->insns[body->ninsns - 1] : NULL;
			if (!d->insn) {
				d->insn = body->insns; /* an empty body: index 0 of nothing */
			}
			op_push(d)->kind = K_RET;
			continue;
		}
		end = b.first[old + 1];
		last = end - 1;
		ends = !b.items[last].skip && ends_block(&body->insns[b.items[last].insn]);
		for (k = b.first[old]; k < end && !d->outcome; k++) {
			if (b.items[k].skip || (k == last && ends))
				continue;
			d->insn = &body->insns[b.items[k].insn];
			d->temp_at = d->frame_fixed;
			if (insn_is_sync(d->insn))
				bb->sync = 1;
			decode_insn(d);
			if (bb->sync == 1 && !d->outcome) {
				bb->sync = d->ops[bb->first].kind;
				if (d->nops != bb->first + 1)
					decode_refuse(d, "a special register as operand");
			}
		}
		bb->n = d->nops - bb->first;
		if (!d->outcome)
			terminator(d, &b, &b.items[last], ends, bb, old);
	}
	if (d->outcome)
		return;
	c->nops = d->nops;
	c->ops = decode_alloc(d, d->nops, sizeof(*c->ops));
	if (!c->ops)
		return;
	memcpy(c->ops, d->ops, d->nops * sizeof(*c->ops));
	c->reg_slots = d->slots;
	c->temps = d->temps;
	c->ntemps = d->ntemps;
	c->frame_bytes = (d->frame_bytes + 63) & ~63u;
	c->decoded = true;
}

/* Longest chain of calls; a cycle counts as recursion. state: 0 new, 1 in hand, else depth + 2 */
static uint32_t local_depth(struct program *p, uint32_t c, uint32_t *state)
{
	uint32_t i, deepest = 0;

	if (state[c] == 1) {
		p->recursive = true;
		return 0;
	}
	if (state[c])
		return state[c] - 2;
	state[c] = 1;
	for (i = 0; i < p->codes[c].nops; i++) {
		const struct op *o = &p->codes[c].ops[i];
		const struct call_site *s = o->kind == K_CALL ? o->ref : NULL;
		uint32_t below;

		if (!s)
			continue;
		if (!s->callee) {
			if (!s->external)
				p->recursive = true; /* indirect: anything */
			continue;
		}
		below = local_depth(p, (uint32_t)(s->callee - p->codes), state);
		if (below > deepest)
			deepest = below;
	}
	state[c] = deepest + p->codes[c].local_bytes + 2;
	return state[c] - 2;
}

enum mp_exec_outcome program_decode(struct mp_exec_module *m, struct mp_ptx_func *f, bool own_places,
				    struct program **ret_program, struct mp_ptx_error *err)
{
	struct program *p = calloc(1, sizeof(*p));
	struct decode d = {.m = m, .p = p, .err = err, .own_places = own_places};
	uint32_t i;
	uint32_t *state;

	*ret_program = NULL;
	memset(err, 0, sizeof(*err));
	if (!p)
		return MP_EXEC_NO_MEMORY;
	mp_arena_init(&p->arena, 2ull << 30);
	p->module = m;
	d.arena = &p->arena;
	reach(&d, f);
	if (!d.outcome)
		shared_place(&d);
	for (i = 0; i < p->ncodes && !d.outcome; i++)
		local_place(&d, &p->codes[i], &p->bodies[i]);
	for (i = 0; i < p->ncodes && !d.outcome; i++)
		body_decode(&d, &p->codes[i], &p->bodies[i]);
	if (!d.outcome) {
		state = decode_alloc(&d, p->ncodes, sizeof(*state));
		p->local_bytes = state ? local_depth(p, 0, state) : 0;
		p->pool = aligned_alloc(64, mp_align_up(d.pool_len + 64, 64));
		p->pool_bytes = d.pool_len;
		if (p->pool) /* read 8 bytes at a time, whatever a constant's width */
			memset(p->pool + d.pool_len, 0, mp_align_up(d.pool_len + 64, 64) - d.pool_len);
		if (p->pool && d.pool_len)
			memcpy(p->pool, d.pool, d.pool_len);
		if (!p->pool)
			d.outcome = MP_EXEC_NO_MEMORY;
		for (i = 0; i < p->bodies[0].nregs; i++)
			p->registers += (mp_ptx_type_size(p->bodies[0].regs[i].type) + 3) / 4;
	}
	free(d.ops);
	free(d.pool);
	free(d.entries);
	if (d.outcome) {
		program_free(p);
		return d.outcome;
	}
	if (MP_UNLIKELY(check_on))
		check_program(p);
	*ret_program = p;
	return MP_EXEC_OK;
}

void program_free(struct program *p)
{
	uint32_t i;

	for (i = 0; i < p->ncodes; i++)
		mp_ptx_body_fini(&p->bodies[i]);
	free(p->pool);
	mp_arena_fini(&p->arena);
	free(p);
}
