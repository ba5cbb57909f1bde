/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded kernel in the words of jit: registers by number, constants, what each instruction touches. */
#include "exec/tier2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/decode.h"

struct describe {
	const struct code *code, *first; /* with places of its own; the first tier's */
	struct mp_arena *arena;
	struct mp_jit_kernel *k;
	struct mp_jit_op *ops;
	struct mp_jit_reg *regs;
	uint32_t *reg_of; /* by slot / 4 */
	uint32_t *uses, nuses, uses_cap;
	bool failed;
	/* while an instruction is visited */
	bool write, kills;
};

static uint32_t operand(const struct describe *d, uint32_t slot)
{
	uint32_t r;

	if ((slot & SLOT_CONST) || slot == SLOT_NONE)
		return slot;
	if (slot / 4 >= d->code->frame_bytes / 4)
		return 0;
	r = d->reg_of[slot / 4];
	return r == MP_PTX_NOREG ? 0 : r * 4;
}

/* A temporary's place in the first tier's frame: where the same operand is there. */
static void pair(struct describe *d, uint32_t own, uint32_t first)
{
	uint32_t r;

	if ((own & SLOT_CONST) || own == SLOT_NONE || own / 4 >= d->code->frame_bytes / 4)
		return;
	r = d->reg_of[own / 4];
	if (r != MP_PTX_NOREG && d->regs[r].temp)
		d->regs[r].home = first;
}

static unsigned ext_slots(const struct op *o, const char *name)
{
	if (!o->ext || !name)
		return 0;
	if (!strncmp(name, "ld.", 3) || !strncmp(name, "st.", 3) || !strcmp(name, "pack") || !strcmp(name, "unpack"))
		return o->n;
	return 0;
}

static uint8_t kind_of(uint8_t kind)
{
	switch (kind) {
	case K_NEXT: return MP_JIT_NEXT;
	case K_BRA: return MP_JIT_BRA;
	case K_BRX: return MP_JIT_BRX;
	case K_RET: case K_EXIT: return MP_JIT_EXIT;
	case K_CALL: return MP_JIT_EXTERNAL;
	case K_BAR: return MP_JIT_BAR;
	case K_WARPSYNC: return MP_JIT_WARPSYNC;
	case K_WARPBAR: return MP_JIT_WARPBAR;
	case K_TRAP: return MP_JIT_TRAP;
	case K_YIELD: return MP_JIT_YIELD;
	}
	return MP_JIT_PLAIN;
}

static void op_describe(struct describe *d, uint32_t i)
{
	const struct op *o = &d->code->ops[i], *f = &d->first->ops[i];
	struct mp_jit_op *j = &d->ops[i];
	unsigned n, k;

	assert((o->fn == f->fn || handler_seed.from) && o->kind == f->kind);
	j->name = o->fn ? handler_name(o->fn) : NULL;
	j->kind = kind_of(o->kind);
	j->d = operand(d, o->d), j->a = operand(d, o->a), j->b = operand(d, o->b), j->c = operand(d, o->c);
	j->e = operand(d, o->e), j->d2 = operand(d, o->d2), j->guard = operand(d, o->guard);
	j->imm = o->imm, j->x = o->x, j->insn = o->insn, j->n = o->n, j->size = o->size;
	j->guard_negated = o->guard_negated;
	j->ext = o->ext;
	if (j->name && !strncmp(j->name, "cvt.", 4))
		j->e = o->e; /* types */
	pair(d, o->d, f->d), pair(d, o->a, f->a), pair(d, o->b, f->b), pair(d, o->c, f->c);
	pair(d, o->e, f->e), pair(d, o->d2, f->d2);
	n = ext_slots(o, j->name);
	if (n) {
		uint32_t *ext = mp_arena_array(d->arena, 3 + n, sizeof(*ext));

		if (!ext) {
			d->failed = true;
			return;
		}
		memcpy(ext, o->ext, 3 * sizeof(*ext));
		for (k = 0; k < n; k++) {
			ext[3 + k] = operand(d, o->ext[3 + k]);
			pair(d, o->ext[3 + k], f->ext[3 + k]);
		}
		j->ext = ext;
	}
}

static void use_note(void *arg, uint32_t reg, bool write, bool kill)
{
	struct describe *d = arg;

	if (write != d->write)
		return;
	d->kills |= kill;
	if (d->nuses == d->uses_cap) {
		uint32_t cap = d->uses_cap ? d->uses_cap * 2 : 256;
		uint32_t *more = realloc(d->uses, cap * sizeof(*more));

		if (!more) {
			d->failed = true;
			return;
		}
		d->uses = more;
		d->uses_cap = cap;
	}
	d->uses[d->nuses++] = reg;
}

static bool writes_nothing(const struct mp_ptx_insn *in)
{
	switch (in->op) {
	case MP_PTX_OP_ST: case MP_PTX_OP_RED: case MP_PTX_OP_BRA: case MP_PTX_OP_BRX: case MP_PTX_OP_RET:
	case MP_PTX_OP_EXIT: case MP_PTX_OP_CP: case MP_PTX_OP_PREFETCH: case MP_PTX_OP_PREFETCHU:
	case MP_PTX_OP_SUST: case MP_PTX_OP_NANOSLEEP: case MP_PTX_OP_FENCE: case MP_PTX_OP_MEMBAR:
	case MP_PTX_OP_STMATRIX: case MP_PTX_OP_DISCARD:
		return true;
	}
	return false;
}

static void insn_describe(struct describe *d, const struct mp_ptx_insn *in, struct mp_jit_insn *j)
{
	j->reads = d->nuses;
	d->write = d->kills = false;
	registers_visit(in, d, use_note);
	j->nreads = d->nuses - j->reads;
	j->writes = d->nuses;
	d->write = true;
	d->kills = false;
	if (!writes_nothing(in))
		registers_visit(in, d, use_note);
	j->nwrites = d->nuses - j->writes;
	j->kills = d->kills;
}

static bool registers_describe(struct describe *d, const struct mp_ptx_body *body)
{
	const struct code *c = d->code;
	uint32_t n = body->nregs + c->ntemps, i, words = c->frame_bytes / 4 + 1;

	d->regs = mp_arena_array(d->arena, n + 1u, sizeof(*d->regs));
	d->reg_of = mp_arena_array(d->arena, words, sizeof(*d->reg_of));
	if (!d->regs || !d->reg_of)
		return false;
	memset(d->reg_of, 0xff, words * sizeof(*d->reg_of));
	for (i = 0; i < body->nregs; i++) {
		d->regs[i].size = (uint8_t)mp_ptx_type_size(body->regs[i].type);
		d->regs[i].home = d->first->reg_slots[i];
		if (c->reg_slots[i] != SLOT_NONE) /* something names it */
			d->reg_of[c->reg_slots[i] / 4] = i;
	}
	for (i = 0; i < c->ntemps; i++) {
		d->regs[body->nregs + i].size = c->temps[i].size;
		d->regs[body->nregs + i].temp = true;
		d->reg_of[c->temps[i].slot / 4] = body->nregs + i;
	}
	d->k->regs = d->regs;
	d->k->nregs = n;
	return true;
}

/* NULL or a sentence. The arena and *ret_uses, which the caller frees, hold what the description points at. */
const char *tier2_describe(const struct program *own, const struct program *first, struct mp_arena *arena,
			   struct mp_jit_kernel *k, uint32_t **ret_uses);
const char *tier2_describe(const struct program *own, const struct program *first, struct mp_arena *arena,
			   struct mp_jit_kernel *k, uint32_t **ret_uses)
{
	struct describe d = {.code = &own->codes[0], .first = &first->codes[0], .arena = arena, .k = k};
	const struct code *c = d.code;
	const struct mp_ptx_body *body = &own->bodies[0];
	struct mp_jit_block *blocks;
	struct mp_jit_insn *insns;
	uint32_t i;

	*ret_uses = NULL;
	memset(k, 0, sizeof(*k));
	assert(c->nops == d.first->nops && c->nblocks == d.first->nblocks);
	for (i = 0; i < c->nops; i++) {
		const struct call_site *s = c->ops[i].kind == K_CALL ? c->ops[i].ref : NULL;

		if (c->ops[i].kind == K_CLUSTER)
			return "a barrier of the cluster";

		if (s && !s->external)
			return "it calls functions";
	}
	d.ops = mp_arena_array(arena, c->nops + 1u, sizeof(*d.ops));
	blocks = mp_arena_array(arena, c->nblocks + 1u, sizeof(*blocks));
	insns = mp_arena_array(arena, body->ninsns + 1u, sizeof(*insns));
	if (!d.ops || !blocks || !insns || !registers_describe(&d, body))
		return "no memory";
	for (i = 0; i < c->nops; i++)
		op_describe(&d, i);
	for (i = 0; i < c->nblocks; i++)
		blocks[i] = (struct mp_jit_block){c->blocks[i].first, c->blocks[i].n, c->blocks[i].target,
						  c->blocks[i].next, c->blocks[i].sync != 0};
	for (i = 0; i < body->ninsns; i++)
		insn_describe(&d, &body->insns[i], &insns[i]);
	*ret_uses = d.uses;
	if (d.failed)
		return "no memory";
	k->name = c->func->name;
	k->ops = d.ops, k->nops = c->nops;
	k->blocks = blocks, k->nblocks = c->nblocks;
	k->insns = insns, k->ninsns = body->ninsns;
	k->uses = d.uses, k->nuses = d.nuses;
	k->pool = own->pool, k->pool_bytes = own->pool_bytes + 8;
	k->data = own->module->data, k->data_bytes = own->module->data_bytes;
	return NULL;
}
