/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stretches of a block that run part by part.  Thirty-two lanes of words fill
 * four registers of AVX2, so a dozen values that live at once do not fit in the
 * sixteen there are, and every operation would be a load and a store.  Eight
 * lanes at a time, from the stretch's first operation to its last, they fit.
 *
 * A stretch has nothing by which lanes see one another: arithmetic, and loads of
 * shared memory whose bounds have been compared beforehand; no stores, so that
 * loads may change places.  Scalars are computed again for each part, so a
 * stretch sets each of them before it reads it.
 */
#include "jit/emit.h"

#include <string.h>

#define LEAST	 24 /* operations */
#define PRESSURE 6  /* varying values that live at once: 24 registers */

/* Operations that mean the same for any lanes and never leave to the first tier. */
static bool separable(const struct plan *p, const struct mp_jit_op *o, const struct nat *n)
{
	struct cls c;
	uint32_t d = o->d / 4;

	if (o->kind != MP_JIT_PLAIN || o->guard != MP_JIT_NONE)
		return false;
	switch (n->code) {
	case N_ADD: case N_SUB: case N_MUL: case N_MAD: case N_AND: case N_OR: case N_XOR: case N_NOT: case N_NEG:
	case N_MIN: case N_MAX: case N_SHL: case N_SHR: case N_MOV: case N_FADD: case N_FSUB: case N_FMUL: case N_FDIV:
	case N_FMA: case N_FRCP: case N_FSQRT: case N_FMIN: case N_FMAX: case N_FABS: case N_FNEG: case N_LOP3:
		break;
	default:
		return false;
	}
	/* the class is the operation's, which a register of many definitions may not have */
	c = plan_class(p, o, n);
	return n->bits == 32 && (c.shape == VAR || p->cls[d].shape == c.shape);
}

static bool sets(const struct emit *e, const struct group *gr, uint32_t r)
{
	const struct mp_jit_insn *in = &e->k->insns[gr->insn];
	uint32_t i;

	for (i = 0; i < in->nwrites; i++)
		if (e->k->uses[in->writes + i] == r)
			return true;
	return false;
}

/* Is a scalar that group gr sets read before, or set, in [first, g)? Then parts would see each other's. */
static bool scalar_again(const struct emit *e, uint32_t first, uint32_t g)
{
	const struct group *gr = &e->p->groups[g], *b;
	const struct mp_jit_insn *in = &e->k->insns[gr->insn];
	uint32_t i, k, r;

	for (i = 0; i < in->nwrites; i++) {
		bool set = false;

		r = e->k->uses[in->writes + i];
		if (e->p->cls[r].shape == VAR)
			continue;
		for (b = &e->p->groups[first]; b <= gr && !set; b++) {
			const struct mp_jit_insn *bi = &e->k->insns[b->insn];

			for (k = 0; k < bi->nreads; k++)
				if (e->k->uses[bi->reads + k] == r)
					return true;
			set = sets(e, b, r);
		}
	}
	return false;
}

/* An address that the stretch has set is not the one that was compared. */
static bool address_set(const struct emit *e, uint32_t first, uint32_t g, uint32_t r)
{
	for (; first < g; first++)
		if (sets(e, &e->p->groups[first], r))
			return true;
	return false;
}

/* One past the last group of the stretch that begins at e->group. */
static uint32_t stretch_end(const struct emit *e)
{
	uint32_t g, i, end = e->p->group_at[e->block + 1];

	for (g = e->group; g < end; g++) {
		const struct group *gr = &e->p->groups[g];
		const struct mp_jit_op *o = &e->k->ops[gr->first];
		const struct nat *n = &e->p->nat[gr->first];

		if (!gr->native || scalar_again(e, e->group, g))
			break;
		if (gr->n == 1 && n->code == N_LD) {
			if (n->sub != SPACE_SHARED || (o->a & MP_JIT_CONST) || o->a == MP_JIT_NONE ||
			    address_set(e, e->group, g, o->a / 4))
				break;
			continue;
		}
		for (i = gr->first; i < gr->first + gr->n; i++)
			if (!separable(e->p, &e->k->ops[i], &e->p->nat[i]))
				break;
		if (i < gr->first + gr->n)
			break;
	}
	return g;
}

/* The most varying registers that the stretch uses and that live at once. */
static uint32_t pressure(struct emit *e, uint32_t end)
{
	uint64_t *live = e->live, *used = e->live2;
	uint32_t g, i, w, n, most = 0;

	memset(used, 0, e->p->words * 8);
	for (g = e->group; g < end; g++) {
		const struct mp_jit_insn *in = &e->k->insns[e->p->groups[g].insn];

		for (i = 0; i < in->nreads; i++)
			if (e->p->cls[e->k->uses[in->reads + i]].shape == VAR)
				bit_set(used, e->k->uses[in->reads + i]);
		for (i = 0; i < in->nwrites; i++)
			if (e->p->cls[e->k->uses[in->writes + i]].shape == VAR)
				bit_set(used, e->k->uses[in->writes + i]);
	}
	for (g = end; g > e->group; g -= g - e->group < 8 ? g - e->group : 8) { /* it changes slowly */
		plan_live_before(e->p, e->block, g, live);
		for (n = 0, w = 0; w < e->p->words; w++)
			n += (uint32_t)__builtin_popcountll(live[w] & used[w]);
		most = n > most ? n : most;
	}
	return most;
}

/* What becomes of each register in [first, end). false: a scalar of a group is wanted after it. */
static bool roles_find(struct emit *e, uint32_t first, uint32_t end)
{
	uint32_t g, i, r;

	for (r = 0; r < e->k->nregs; r++)
		e->parted[r] &= PARTED_EVER | PARTED_ARRAY;
	plan_live_before(e->p, e->block, end, e->live);
	for (g = first; g < end; g++) {
		const struct mp_jit_insn *in = &e->k->insns[e->p->groups[g].insn];

		for (i = 0; i < in->nreads; i++) {
			r = e->k->uses[in->reads + i];
			if (e->p->cls[r].shape == VAR && !(e->parted[r] & PARTED_SET))
				e->parted[r] |= PARTED_IN;
		}
		for (i = 0; i < in->nwrites; i++) {
			r = e->k->uses[in->writes + i];
			if (e->p->cls[r].shape == AFF && bit(e->live, r))
				return false;
			e->parted[r] |= PARTED_SET | (e->p->cls[r].shape == VAR && bit(e->live, r) ? PARTED_OUT : 0);
		}
		/* temporaries within an instruction */
		for (i = e->p->groups[g].first; i < e->p->groups[g].first + e->p->groups[g].n; i++) {
			uint32_t d = e->k->ops[i].d;

			if (e->p->nat[i].code != N_LD && !(d & MP_JIT_CONST) && d != MP_JIT_NONE)
				e->parted[d / 4] |= PARTED_SET;
		}
	}
	for (r = 0; r < e->k->nregs; r++) {
		if (e->parted[r] & (PARTED_SET | PARTED_IN))
			e->parted[r] |= PARTED_EVER;
		if (e->parted[r] & (PARTED_OUT | PARTED_IN))
			e->parted[r] |= PARTED_ARRAY;
	}
	return true;
}

/* Between a register's place and the array that the parts take theirs from; or the part in hand. */
static void copies(struct emit *e, uint8_t roles, bool in)
{
	uint32_t r;

	for (r = 0; r < e->k->nregs; r++) {
		const char *t = ity(reg_bits(e, r), true);
		struct val at, v;

		if (!(e->parted[r] & roles))
			continue;
		if (!e->part) {
			v = ins(e, in ? "load %s, ptr %%r%u" : "load %s, ptr %%pa%u", t, r);
			put(e, in ? "store %s %s, ptr %%pa%u" : "store %s %s, ptr %%r%u", t, v.s, r);
			continue;
		}
		at = ins(e, "mul i64 %s, %u", e->first_lane.s, reg_bits(e, r) / 8);
		at = ins(e, "getelementptr i8, ptr %%pa%u, i64 %s", r, at.s);
		if (in) {
			v = ins(e, "load %s, ptr %s, align %u", t, at.s, PART_LANES * reg_bits(e, r) / 8);
			put(e, "store %s %s, ptr %%pv%u", t, v.s, r);
		} else {
			v = ins(e, "load %s, ptr %%pv%u", t, r);
			put(e, "store %s %s, ptr %s, align %u", t, v.s, at.s, PART_LANES * reg_bits(e, r) / 8);
		}
	}
}

static void parts_loop(struct emit *e, uint32_t first, uint32_t end)
{
	unsigned loop = e->nlabel++, done = e->nlabel++;
	struct val next;
	uint32_t g, i;

	copies(e, PARTED_IN, true);
	put(e, "store i64 0, ptr %%part");
	put(e, "br label %%L%u", loop);
	put(e, "L%u:", loop);
	e->part = true;
	emit_width = PART_LANES;
	e->first_lane = ins(e, "load i64, ptr %%part");
	copies(e, PARTED_IN, true);
	for (g = first; g < end && !e->failed; g++)
		for (i = e->p->groups[g].first; i < e->p->groups[g].first + e->p->groups[g].n; i++) {
			if (e->p->nat[i].code == N_LD)
				emit_part_load(e, &e->k->ops[i], &e->p->nat[i]);
			else
				emit_op(e, &e->k->ops[i], &e->p->nat[i]);
		}
	copies(e, PARTED_OUT, false);
	e->part = false;
	emit_width = MP_JIT_LANES;
	next = ins(e, "add i64 %s, %u", e->first_lane.s, PART_LANES);
	put(e, "store i64 %s, ptr %%part", next.s);
	next = ins(e, "icmp ult i64 %s, %u", next.s, MP_JIT_LANES);
	put(e, "br i1 %s, label %%L%u, label %%L%u", next.s, loop, done);
	put(e, "L%u:", done);
	copies(e, PARTED_OUT, false);
}

uint32_t emit_parts(struct emit *e)
{
	uint32_t first = e->group, least = e->p->eager ? 1 : LEAST, end, g, i;

	if (e->p->group % PART_LANES || first < e->part_tried)
		return 0;
	end = stretch_end(e);
	e->part_tried = end + 1;
	if (end - first < least || (!e->p->eager && pressure(e, end) < PRESSURE))
		return 0;
	/* bounds, for all lanes; they may end the stretch earlier */
	for (g = first; g < end; g++) {
		i = e->p->groups[g].first;
		if (e->p->nat[i].code == N_LD && !memory_sure(e, &e->k->ops[i], &e->p->nat[i]))
			break;
	}
	end = g;
	if (end - first < least || !roles_find(e, first, end))
		return 0;
	parts_loop(e, first, end);
	for (g = first; g < end; g++)
		cover_end(e, e->p->groups[g].insn);
	return end - first;
}
