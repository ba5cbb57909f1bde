/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks and how lanes go between them.
 *
 * "f" blocks run with all 32 lanes and hold no masks.  Where a branch splits the
 * lanes, each side's mask goes to the block it waits for (%m<n>), and from then
 * on "w" blocks run: always the lowest block with lanes, which is what the
 * first tier does.  Which blocks can have lanes at all is known (plan's pending
 * sets), so that the choice is a short chain of tests.  Outside of loops, when
 * all 32 lanes meet again, the f blocks take over.
 */
#include "jit/emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pending_add(struct emit *e, uint32_t c, struct val bits)
{
	struct val old = ins(e, "load i32, ptr %%m%u", c);

	old = SEEDED(PENDING_REPLACED) ? bits : ins(e, "or i32 %s, %s", old.s, bits.s);
	put(e, "store i32 %s, ptr %%m%u", old.s, c);
}

/* Go to the lowest of `set` that has lanes; without any the warp has ended. */
static void chain(struct emit *e, const uint64_t *set)
{
	uint32_t w;

	for (w = 0; w < e->p->bwords; w++) {
		uint64_t b = set[w];

		for (; b; b &= b - 1) {
			uint32_t c = w * 64 + (uint32_t)__builtin_ctzll(b);
			struct val m = ins(e, "load i32, ptr %%m%u", c);
			unsigned next = e->nlabel++;

			m = ins(e, "icmp ne i32 %s, 0", m.s);
			put(e, "br i1 %s, label %%e%u, label %%L%u", m.s, c, next);
			put(e, "L%u:", next);
		}
	}
	put(e, "br label %%done");
}

static void budget_spend(struct emit *e)
{
	struct val v = ins(e, "load i32, ptr %%budget");

	v = ins(e, "sub i32 %s, 1", v.s);
	put(e, "store i32 %s, ptr %%budget", v.s);
}

/* Give others a turn; `others`: lanes of this warp that wait elsewhere, as i32. */
static struct val yield_call(struct emit *e, bool sleeps, struct val others)
{
	struct val fn = ins(e, "load ptr, ptr %%p.yield"), r, at;

	r = ins(e, "call i32 %s(ptr %%c, i32 %d, i32 %s)", fn.s, sleeps, others.s);
	at = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(budget));
	at = ins(e, "load i32, ptr %s, align 4", at.s);
	put(e, "store i32 %s, ptr %%budget", at.s);
	return r;
}

static struct val waiting(struct emit *e, const uint64_t *set)
{
	struct val all = {"0"};
	uint32_t w;

	for (w = 0; w < e->p->bwords; w++) {
		uint64_t b = set[w];

		for (; b; b &= b - 1) {
			struct val m = ins(e, "load i32, ptr %%m%u", w * 64 + (uint32_t)__builtin_ctzll(b));

			all = ins(e, "or i32 %s, %s", all.s, m.s);
		}
	}
	return all;
}

/* All lanes go from the block in hand to t, an f block. */
static void go_full(struct emit *e, uint32_t t)
{
	unsigned out = e->nlabel++;
	struct val v;

	if (t > e->block) {
		put(e, "br label %%f%u", t);
		return;
	}
	budget_spend(e);
	v = ins(e, "load i32, ptr %%budget");
	v = ins(e, "icmp sgt i32 %s, 0", v.s);
	put(e, "br i1 %s, label %%f%u, label %%L%u, !prof !0", v.s, t, out);
	put(e, "L%u:", out);
	yield_call(e, false, konst(e, 32, false, 0));
	put(e, "br label %%f%u", t);
}

/* Under a mask: lanes `bits` go to t, which is added to `set`. */
static void go_masked(struct emit *e, uint32_t t, struct val bits, uint64_t *set)
{
	pending_add(e, t, bits);
	bit_set(set, t);
	if (t <= e->block)
		budget_spend(e);
}

/* Before the chain that may go back: is it somebody else's turn? */
static void yield_masked(struct emit *e, const uint64_t *set)
{
	unsigned ok = e->nlabel++, out = e->nlabel++;
	struct val v = ins(e, "load i32, ptr %%budget"), r;

	v = ins(e, "icmp sgt i32 %s, 0", v.s);
	put(e, "br i1 %s, label %%L%u, label %%L%u, !prof !0", v.s, ok, out);
	put(e, "L%u:", out);
	r = yield_call(e, false, e->p->spins ? waiting(e, set) : konst(e, 32, false, 0));
	/* A lane that spins on another of its warp: the first tier is fair between them. */
	r = ins(e, "trunc i32 %s to i1", r.s);
	put(e, "store i1 %s, ptr %%unfair", r.s);
	put(e, "br label %%L%u", ok);
	put(e, "L%u:", ok);
}

static void branch(struct emit *e, const struct mp_jit_op *t, const struct mp_jit_block *bb, uint64_t *set)
{
	bool uniform = plan_operand(e->p, t->guard).shape == UNI, back;
	struct val p, g, c;
	unsigned yes = e->nlabel++, no = e->nlabel++, mixed = e->nlabel++, some = e->nlabel++;

	if (bb->target == bb->next) {
		if (e->full) {
			go_full(e, bb->next);
		} else {
			go_masked(e, bb->next, e->cur, set);
			if (bb->next <= e->block)
				yield_masked(e, set);
			chain(e, set);
		}
		return;
	}
	if (e->full && uniform) {
		p = rd_pred(e, t->guard, false, t->guard_negated);
		put(e, "br i1 %s, label %%L%u, label %%L%u", p.s, yes, no);
		put(e, "L%u:", yes);
		go_full(e, bb->target);
		put(e, "L%u:", no);
		go_full(e, bb->next);
		return;
	}
	p = rd_pred(e, t->guard, true, t->guard_negated);
	g = bits_of(e, p);
	if (e->full) {
		c = ins(e, SEEDED(BRANCH_ALL) ? "icmp slt i32 %s, 0" : "icmp eq i32 %s, -1", g.s);
		put(e, "br i1 %s, label %%L%u, label %%L%u", c.s, yes, some);
		put(e, "L%u:", some);
		c = ins(e, "icmp eq i32 %s, 0", g.s);
		put(e, "br i1 %s, label %%L%u, label %%L%u", c.s, no, mixed);
		put(e, "L%u:", yes);
		go_full(e, bb->target);
		put(e, "L%u:", no);
		go_full(e, bb->next);
		put(e, "L%u:", mixed);
	} else {
		g = ins(e, "and i32 %s, %s", g.s, e->cur.s);
	}
	c = e->full ? ins(e, "xor i32 %s, -1", g.s) : ins(e, "xor i32 %s, %s", g.s, e->cur.s);
	back = bb->target <= e->block || bb->next <= e->block;
	pending_add(e, SEEDED(BRANCH_SWAPPED) ? bb->next : bb->target, g);
	pending_add(e, SEEDED(BRANCH_SWAPPED) ? bb->target : bb->next, c);
	bit_set(set, bb->target);
	bit_set(set, bb->next);
	if (back) {
		budget_spend(e);
		yield_masked(e, set);
	}
	chain(e, set);
}

static void switch_(struct emit *e, const struct mp_jit_op *t, const struct mp_jit_block *bb, uint64_t *set)
{
	struct lanes l = op_lanes(e, t);
	struct val index = rd_vec(e, t->a, 32, false), ok, m, left, v;
	bool back = bb->next <= e->block;
	uint32_t i;

	/* an index out of range is the first tier's to refuse */
	e->group = e->p->group_at[e->block + 1];
	ok = ins(e, "icmp ult <32 x i32> %s, %s", index.s, konst(e, 32, true, t->x).s);
	m = ins(e, "xor i32 %s, -1", bits_of(e, ok).s);
	m = ins(e, "and i32 %s, %s", m.s, l.bits.s);
	leave_unless(e, ins(e, "icmp eq i32 %s, 0", m.s), bb->first + bb->n);
	if (t->guard != MP_JIT_NONE) {
		left = ins(e, "xor i32 %s, %s", l.bits.s, e->full ? "-1" : e->cur.s);
		go_masked(e, bb->next, left, set);
	}
	for (i = 0; i < t->x; i++) {
		v = ins(e, "icmp eq <32 x i32> %s, %s", index.s, konst(e, 32, true, SEEDED(SWITCH_OFF) ? i ^ 1 : i).s);
		m = ins(e, "and i32 %s, %s", bits_of(e, v).s, l.bits.s);
		pending_add(e, t->ext[i], m);
		bit_set(set, t->ext[i]);
		back |= t->ext[i] <= e->block;
	}
	budget_spend(e);
	if (back)
		yield_masked(e, set);
	chain(e, set);
}

static void ended(struct emit *e, struct val bits)
{
	struct val fn = ins(e, "load ptr, ptr %%p.ended");

	put(e, "call void %s(ptr %%c, i32 %s)", fn.s, bits.s);
}

static void leave_lanes(struct emit *e, const struct mp_jit_op *t, const struct mp_jit_block *bb, uint64_t *set)
{
	struct lanes l = op_lanes(e, t);
	struct val left, c;
	unsigned some = e->nlabel++, none = e->nlabel++;

	if (t->guard == MP_JIT_NONE) {
		if (e->full) {
			put(e, "br label %%done");
			return;
		}
		ended(e, e->cur);
		chain(e, set);
		return;
	}
	/* `br` around the call: the common case is that nobody leaves */
	c = ins(e, "icmp eq i32 %s, 0", l.bits.s);
	put(e, "br i1 %s, label %%L%u, label %%L%u", c.s, none, some);
	put(e, "L%u:", some);
	ended(e, l.bits);
	left = ins(e, "xor i32 %s, %s", SEEDED(EXIT_ALL) ? "0" : l.bits.s, e->full ? "-1" : e->cur.s);
	{
		uint64_t *own = e->live; /* the set once more, for the other path */

		memcpy(own, set, e->p->bwords * 8);
		go_masked(e, bb->next, left, own);
		chain(e, own);
	}
	put(e, "L%u:", none);
	if (e->full) {
		go_full(e, bb->next);
		return;
	}
	go_masked(e, bb->next, e->cur, set);
	chain(e, set);
}

static void terminate(struct emit *e)
{
	const struct mp_jit_block *bb = &e->k->blocks[e->block];
	const struct mp_jit_op *t = terminator(e->p, e->block);
	uint64_t *set = calloc(e->p->bwords + 1u, 8);

	if (!set) {
		emit_fail(e, "no memory");
		return;
	}
	if (!e->full)
		memcpy(set, e->p->pending + (size_t)e->block * e->p->bwords, e->p->bwords * 8);
	e->group = e->p->group_at[e->block + 1];
	switch (t->kind) {
	case MP_JIT_BRA:
		branch(e, t, bb, set);
		break;
	case MP_JIT_BRX:
		switch_(e, t, bb, set);
		break;
	case MP_JIT_EXIT:
		leave_lanes(e, t, bb, set);
		break;
	case MP_JIT_TRAP:
		put(e, "br label %%L%u", leave_label(e, bb->first + bb->n));
		break;
	default:
		if (t->kind == MP_JIT_EXTERNAL) {
			struct group g = {bb->first + bb->n, 1, t->insn, false};

			emit_fallback(e, &g);
		} else if (t->kind == MP_JIT_YIELD) {
			yield_call(e, true, konst(e, 32, false, 0));
		}
		if (e->full) {
			go_full(e, bb->next);
			break;
		}
		go_masked(e, bb->next, e->cur, set);
		if (bb->next <= e->block)
			yield_masked(e, set);
		chain(e, set);
	}
	free(set);
}

/* The first operation of a block that waits for other lanes: are those here that it needs? */
static void sync_check(struct emit *e, const struct mp_jit_op *o)
{
	struct val live = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(live)), m, x, y;

	if (e->full && (o->kind == MP_JIT_BAR || (o->e & MP_JIT_CONST)))
		if (o->kind == MP_JIT_BAR || (uint32_t)plan_const(e->p, o->e) == ~0u)
			return;
	live = ins(e, "load i32, ptr %s, align 4", live.s);
	if (o->kind == MP_JIT_BAR) {
		leave_unless(e, ins(e, "icmp eq i32 %s, %s", e->cur.s, live.s), e->k->blocks[e->block].first);
		return;
	}
	if (plan_operand(e->p, o->e).shape != UNI) {
		/* members differ from lane to lane: the first tier sorts them */
		leave_unless(e, (struct val){"false"}, e->k->blocks[e->block].first);
		return;
	}
	m = rd_scalar(e, o->e, 32, 0, false);
	x = ins(e, "and i32 %s, %s", m.s, live.s);
	x = ins(e, "xor i32 %s, %s", x.s, e->full ? "-1" : e->cur.s);
	y = ins(e, "icmp eq i32 %s, 0", x.s);
	leave_unless(e, y, e->k->blocks[e->block].first);
}

static void barrier(struct emit *e, const struct group *g)
{
	const struct mp_jit_op *o = &e->k->ops[g->first];
	struct val fn;

	if (SEEDED(BARRIER_SKIPPED))
		return;
	emit_spill(e, g->insn);
	/* of all threads: a name, no count, no result */
	if (!o->x && o->b == MP_JIT_NONE && (o->a & MP_JIT_CONST) && (uint32_t)plan_const(e->p, o->a) < 16) {
		fn = ins(e, "load ptr, ptr %%p.barrier_ring");
		put(e, "call void %s(ptr %%c, i32 %u, i32 %s, i32 %u)", fn.s, g->first, e->full ? "-1" : e->cur.s,
		    (unsigned)plan_const(e->p, o->a));
		return;
	}
	fn = ins(e, "load ptr, ptr %%p.barrier");
	put(e, "call void %s(ptr %%c, i32 %u, i32 %s)", fn.s, g->first, e->full ? "-1" : e->cur.s);
	emit_reload(e, g->insn, NULL);
}

static void block(struct emit *e, uint32_t b)
{
	uint32_t g, i;

	e->block = b;
	cover_reset(e);
	for (g = e->p->group_at[b]; g < e->p->group_at[b + 1] && !e->failed; g++) {
		const struct group *gr = &e->p->groups[g];
		const struct mp_jit_op *o = &e->k->ops[gr->first];

		e->group = g;
		if (o->kind != MP_JIT_PLAIN)
			sync_check(e, o);
		if (o->kind == MP_JIT_BAR) {
			barrier(e, gr);
			continue;
		}
		if (o->kind == MP_JIT_WARPBAR)
			continue;
		if (e->full && o->kind == MP_JIT_PLAIN) {
			uint32_t n = emit_parts(e);

			if (n) {
				g += n - 1;
				continue;
			}
		}
		cover_end(e, gr->insn);
		if (!emit_is_native(e, gr)) {
			emit_fallback(e, gr);
			continue;
		}
		for (i = gr->first; i < gr->first + gr->n; i++)
			emit_op(e, &e->k->ops[i], &e->p->nat[i]);
		cover_end(e, gr->insn);
		if (e->failed) {
			size_t n = strlen(e->why);

			snprintf(e->why + n, sizeof(e->why) - n, " (%s)", o->name);
		}
	}
	terminate(e);
}

/* Where lanes that wait for block b come in. */
static void enter(struct emit *e, uint32_t b)
{
	const uint64_t *s = e->p->pending + (size_t)b * e->p->bwords;
	bool alone = !e->p->in_loop[b];
	struct val c;
	uint32_t w;

	put(e, "e%u:", b);
	e->cur = ins(e, "load i32, ptr %%m%u", b);
	if (!SEEDED(ENTER_KEEPS))
		put(e, "store i32 0, ptr %%m%u", b);
	e->curvec = vec_of(e, e->cur);
	e->block = b;
	e->group = e->p->group_at[b];
	if (e->p->in_loop[b] && e->p->spins) {
		/* unfair is only ever set where a spin was seen */
		struct val u = ins(e, "load i1, ptr %%unfair");

		u = ins(e, "xor i1 %s, true", u.s);
		leave_unless(e, u, e->k->blocks[b].first);
	}
	for (w = 0; w < e->p->bwords; w++)
		alone &= !s[w];
	if (alone) {
		c = ins(e, "icmp eq i32 %s, -1", e->cur.s);
		put(e, "br i1 %s, label %%f%u, label %%w%u", c.s, b, b);
	} else {
		put(e, "br label %%w%u", b);
	}
	put(e, "w%u:", b);
}

static void vector_literal(struct mp_buf *b, const char *name, unsigned bits, unsigned group, bool mask)
{
	unsigned l, n = strncmp(name, "%part", 5) ? MP_JIT_LANES : PART_LANES;

	mp_buf_printf(b, "%s = add <%u x i%u> <", name, n, bits);
	for (l = 0; l < n; l++)
		mp_buf_printf(b, "%si%u %d", l ? ", " : "", bits, mask ? (int)(1u << l) : (int)(l % group));
	mp_buf_printf(b, ">, zeroinitializer\n");
}

static void field(struct mp_buf *b, const char *name, unsigned offset, const char *type)
{
	mp_buf_printf(b, "%%a.%s = getelementptr i8, ptr %%c, i64 %u\n%%%s = load %s, ptr %%a.%s, align 8\n", name, offset,
		      name, type, name);
}

static void declarations(struct mp_buf *b)
{
	static const char *const ints[] = {"i32", "i64", "i16", "<32 x i32>", "<32 x i64>", "<32 x i16>",
					   "<8 x i32>", "<8 x i64>", "<8 x i16>"};
	static const char *const itails[] = {"i32", "i64", "i16", "v32i32", "v32i64", "v32i16", "v8i32", "v8i64", "v8i16"};
	static const char *const floats[] = {"float",	     "double",	    "<32 x float>",
					     "<32 x double>", "<8 x float>", "<8 x double>"};
	static const char *const ftails[] = {"f32", "f64", "v32f32", "v32f64", "v8f32", "v8f64"};
	static const char *const one[] = {"sqrt", "rint", "trunc", "floor", "ceil"};
	unsigned i, k;

	for (i = 0; i < MP_ARRAY_LEN(ints); i++) {
		mp_buf_printf(b, "declare %s @llvm.ctpop.%s(%s)\n", ints[i], itails[i], ints[i]);
		mp_buf_printf(b, "declare %s @llvm.ctlz.%s(%s, i1)\n", ints[i], itails[i], ints[i]);
		mp_buf_printf(b, "declare %s @llvm.bitreverse.%s(%s)\n", ints[i], itails[i], ints[i]);
	}
	mp_buf_puts(b, "declare i32 @llvm.cttz.i32(i32, i1)\n");
	for (i = 0; i < MP_ARRAY_LEN(floats); i++) {
		for (k = 0; k < MP_ARRAY_LEN(one); k++)
			mp_buf_printf(b, "declare %s @llvm.%s.%s(%s)\n", floats[i], one[k], ftails[i], floats[i]);
		mp_buf_printf(b, "declare %s @llvm.fma.%s(%s, %s, %s)\n", floats[i], ftails[i], floats[i], floats[i], floats[i]);
		mp_buf_printf(b, "declare %s @llvm.fptosi.sat.%s.%s(%s)\n", i < 2 ? "i32" : i < 4 ? "<32 x i32>" : "<8 x i32>",
			      i < 2 ? "i32" : i < 4 ? "v32i32" : "v8i32", ftails[i], floats[i]);
	}
	for (i = 8; i <= 32; i *= 2)
		for (k = 32; k <= 64; k += 32) {
			mp_buf_printf(b, "declare <%u x i%u> @llvm.masked.load.v%ui%u.p0(ptr, i32, <%u x i1>, <%u x i%u>)\n", i,
				      k, i, k, i, i, k);
			mp_buf_printf(b, "declare void @llvm.masked.store.v%ui%u.p0(<%u x i%u>, ptr, i32, <%u x i1>)\n", i, k,
				      i, k, i);
		}
}

static void places(struct emit *e, struct mp_buf *b)
{
	uint32_t r, g;

	for (r = 0; r < e->k->nregs; r++) {
		struct cls c = e->p->cls[r];
		const char *t = ity(reg_bits(e, r), c.shape == VAR);

		if (c.shape != AFF) {
			mp_buf_printf(b, "%%r%u = alloca %s\nstore %s zeroinitializer, ptr %%r%u\n", r, t, t, r);
			continue;
		}
		for (g = 0; g < e->p->ngroups; g++)
			mp_buf_printf(b, "%%r%u.%u = alloca %s\nstore %s zeroinitializer, ptr %%r%u.%u\n", r, g, t, t, r, g);
	}
	for (r = 0; r < e->k->nregs; r++) {
		unsigned bits = reg_bits(e, r);

		if (e->parted[r] & PARTED_EVER)
			e->p->cls[r].shape == VAR ? mp_buf_printf(b, "%%pv%u = alloca <%u x i%u>\n", r, PART_LANES, bits)
						  : mp_buf_printf(b, "%%ps%u = alloca i%u\n", r, bits);
		if (e->parted[r] & PARTED_ARRAY)
			mp_buf_printf(b, "%%pa%u = alloca <32 x i%u>\n", r, bits);
	}
	mp_buf_puts(b, "%part = alloca i64\n");
	for (r = 0; r < e->k->nblocks; r++)
		mp_buf_printf(b, "%%m%u = alloca i32\nstore i32 0, ptr %%m%u\n", r, r);
	mp_buf_puts(b, "%budget = alloca i32\n%unfair = alloca i1\nstore i1 false, ptr %unfair\n");
}

static void prologue(struct emit *e, struct mp_buf *b)
{
	static const char *const pointers[] = {"run", "barrier", "barrier_ring", "yield", "ended"};
	const unsigned at[] = {CTX(run), CTX(barrier), CTX(barrier_ring), CTX(yield), CTX(ended)};
	unsigned i;
	char name[8];

	mp_buf_printf(b, "define i32 @kernel(ptr noalias nonnull %%c) nounwind \"warn-stack-size\"=\"%u\" {\nentry:\n",
		      MP_JIT_STACK);
	places(e, b);
	field(b, "window", CTX(window), "i64");
	field(b, "window.size", CTX(window_size), "i64");
	field(b, "shared", CTX(shared), "ptr");
	field(b, "shared.size", CTX(shared_size), "i64");
	field(b, "params", CTX(params), "ptr");
	field(b, "home", CTX(home), "ptr");
	field(b, "data", CTX(data), "i64");
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "p.tid%u", i);
		field(b, name, CTX(tid) + i * 8, "ptr");
	}
	for (i = 0; i < MP_ARRAY_LEN(at); i++)
		mp_buf_printf(b, "%%p.%s = getelementptr i8, ptr %%c, i64 %u\n", pointers[i], at[i]);
	vector_literal(b, "%lane16", 16, e->p->group, false);
	vector_literal(b, "%lane32", 32, e->p->group, false);
	vector_literal(b, "%lane64", 64, e->p->group, false);
	vector_literal(b, "%part16", 16, PART_LANES, false);
	vector_literal(b, "%part32", 32, PART_LANES, false);
	vector_literal(b, "%part64", 64, PART_LANES, false);
	vector_literal(b, "%laneid", 32, 32, false);
	vector_literal(b, "%lanebits", 32, 32, true);
}

bool emit_kernel(struct plan *p, struct mp_buf *text, char *why, size_t why_size)
{
	struct emit e = {.p = p, .k = p->k};
	uint32_t b;
	unsigned l, at;

	mp_buf_init(&e.head, 1u << 28);
	mp_buf_init(&e.body, 1u << 28);
	mp_buf_init(&e.cold, 1u << 28);
	e.live = mp_arena_array(&p->arena, p->words + p->bwords + 1u, 8);
	e.parted = mp_arena_array(&p->arena, p->k->nregs + 1u, 1);
	e.live2 = mp_arena_array(&p->arena, p->words + 1u, 8);
	e.cover = mp_arena_array(&p->arena, p->k->nregs + 1u, sizeof(*e.cover));
	at = (unsigned)snprintf(e.groups, sizeof(e.groups), "<32 x i32> <");
	for (l = 0; l < MP_JIT_LANES; l++)
		at += (unsigned)snprintf(e.groups + at, sizeof(e.groups) - at, "%si32 %u", l ? ", " : "", l / p->group);
	snprintf(e.groups + at, sizeof(e.groups) - at, ">");
	e.out = &e.body;
	for (b = 0; b < p->k->nblocks && !e.failed && e.live && e.live2 && e.parted && e.cover; b++) {
		e.part_tried = 0;
		e.full = true;
		put(&e, "f%u:", b);
		block(&e, b);
		e.full = false;
		enter(&e, b);
		block(&e, b);
	}
	declarations(text);
	prologue(&e, text);
	mp_buf_add(text, e.head.data, e.head.len);
	mp_buf_printf(text,
		      "%%a.budget = getelementptr i8, ptr %%c, i64 %u\n%%budget0 = load i32, ptr %%a.budget, align 4\n"
		      "store i32 %%budget0, ptr %%budget\n"
		      "%%a.live = getelementptr i8, ptr %%c, i64 %u\n%%live0 = load i32, ptr %%a.live, align 4\n"
		      "%%all0 = icmp eq i32 %%live0, -1\nbr i1 %%all0, label %%f0, label %%start\n"
		      "start:\nstore i32 %%live0, ptr %%m0\nbr label %%e0\n",
		      CTX(budget), CTX(live));
	mp_buf_add(text, e.body.data, e.body.len);
	mp_buf_add(text, e.cold.data, e.cold.len);
	mp_buf_puts(text, "done:\nret i32 0\n}\n!0 = !{!\"branch_weights\", i32 100000, i32 1}\n!1 = !{}\n");
	if (e.body.failed || e.cold.failed || e.head.failed || text->failed || !e.live || !e.live2 || !e.parted || !e.cover)
		emit_fail(&e, "no memory for the text");
	mp_buf_fini(&e.head);
	mp_buf_fini(&e.body);
	mp_buf_fini(&e.cold);
	free(e.konsts);
	if (e.failed)
		snprintf(why, why_size, "%s", e.why);
	return !e.failed;
}
