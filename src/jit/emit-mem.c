/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores.  Where the address is uniform or grows by the access's size
 * from lane to lane, one comparison with the window (or with the block's shared
 * memory) per group of lanes, and plain moves; everything else, and every
 * access that the comparison refuses, is the handler's.
 */
#include "jit/emit.h"

#include <stdio.h>
#include <string.h>

struct access {
	struct emit *e;
	const struct mp_jit_op *o;
	const struct nat *n;
	struct cls c; /* of the address */
	struct lanes lanes;
	unsigned step, bits, reg; /* bytes a lane; bits of an element; bits of a data register */
	unsigned groups, width;	  /* scalars of the address; lanes under each */
	struct val addr[4], at[4], active[4]; /* i64; ptr; i1: a lane of the group is active */
	bool store, vol;
};

static void fault_note(struct access *a)
{
	struct emit *e = a->e;
	struct val p;

	if (a->n->sub != SPACE_GENERIC)
		return;
	p = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(op));
	put(e, "store i32 %u, ptr %s, align 4", (unsigned)(a->o - e->k->ops), p.s);
	p = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(mask));
	put(e, "store i32 %s, ptr %s, align 4", a->lanes.bits.s, p.s);
}

static void spin_note(struct emit *e)
{
	struct val p = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(spins)), v;

	v = ins(e, "load i32, ptr %s, align 4", p.s);
	v = ins(e, "add i32 %s, 1", v.s);
	put(e, "store i32 %s, ptr %s, align 4", v.s, p.s);
	v = ins(e, "load i32, ptr %%budget");
	v = ins(e, "sub i32 %s, 31", v.s);
	put(e, "store i32 %s, ptr %%budget", v.s);
}

/* The groups' addresses with offset `imm`, of which all may be looked at. */
static void addresses(struct access *a, uint64_t imm)
{
	struct emit *e = a->e;
	struct val safe;
	unsigned g;

	for (g = 0; g < a->groups; g++) {
		unsigned w = a->o->a == MP_JIT_NONE ? 64 : a->o->ext[0] * 8;
		struct val v = a->o->a == MP_JIT_NONE ? number(e, 64, false, imm) : rd_scalar(e, a->o->a, w, g, false);

		if (a->o->a != MP_JIT_NONE && imm && !SEEDED(OFFSET_LOST))
			v = ins(e, "add i%u %s, %s", w, v.s, number(e, w, false, imm).s);
		if (w == 32)
			v = ins(e, "zext i32 %s to i64", v.s);
		a->addr[g] = v;
	}
	/* A group without active lanes touches nothing: an equal address of another group serves for it. */
	if (a->lanes.full || a->groups == 1)
		return;
	for (g = 0; g < a->groups; g++) {
		struct val m = ins(e, "and i32 %s, %d", a->lanes.bits.s, (int)(((1u << a->width) - 1) << (g * a->width)));

		a->active[g] = ins(e, "icmp ne i32 %s, 0", m.s);
	}
	safe = a->addr[a->groups - 1];
	for (g = a->groups - 1; g-- > 0;)
		safe = ins(e, "select i1 %s, i64 %s, i64 %s", a->active[g].s, a->addr[g].s, safe.s);
	for (g = 0; g < a->groups; g++)
		a->addr[g] = ins(e, "select i1 %s, i64 %s, i64 %s", a->active[g].s, a->addr[g].s, safe.s);
}

/* Whether `span` bytes from each address on may be touched directly, `align` a power of two. */
static struct val check(struct access *a, uint64_t span, unsigned align)
{
	struct emit *e = a->e;
	bool shared = a->n->sub == SPACE_SHARED;
	struct val all = {"true"}, off, ok, low, limit;
	unsigned g;

	limit = ins(e, "sub i64 %s, %llu", shared ? "%shared.size" : "%window.size", (unsigned long long)span);
	if (shared)
		all = ins(e, "icmp sge i64 %s, 0", limit.s);
	for (g = 0; g < a->groups; g++) {
		off = shared ? a->addr[g] : ins(e, "sub i64 %s, %%window", a->addr[g].s);
		ok = ins(e, "icmp ule i64 %s, %s", off.s, limit.s);
		if (align > 1) {
			low = ins(e, "and i64 %s, %u", a->addr[g].s, align - 1);
			low = ins(e, "icmp eq i64 %s, 0", low.s);
			ok = ins(e, "and i1 %s, %s", ok.s, low.s);
		}
		all = ins(e, "and i1 %s, %s", all.s, ok.s);
		a->at[g] = shared ? ins(e, "getelementptr i8, ptr %%shared, i64 %s", a->addr[g].s)
				  : ins(e, "inttoptr i64 %s to ptr", a->addr[g].s);
	}
	return all;
}

/* ---- Accesses of a block through one register, compared together ---- */

static bool direct(const struct access *a);
static void access_of(struct access *a, struct emit *e, const struct mp_jit_op *o, const struct nat *n);

void cover_reset(struct emit *e)
{
	memset(e->cover, 0, (e->k->nregs + 1u) * sizeof(*e->cover));
}

void cover_end(struct emit *e, uint32_t insn)
{
	const struct mp_jit_insn *in = &e->k->insns[insn];
	uint32_t i;

	for (i = 0; i < in->nwrites; i++)
		e->cover[e->k->uses[in->writes + i]].on = false;
}

static bool writes(const struct emit *e, uint32_t insn, uint32_t reg)
{
	const struct mp_jit_insn *in = &e->k->insns[insn];
	uint32_t i;

	for (i = 0; i < in->nwrites; i++)
		if (e->k->uses[in->writes + i] == reg)
			return true;
	return false;
}

struct reach {
	int64_t lo, hi; /* offsets: the least; one past the greatest */
	unsigned align, n;
};

/* Does access o reach no farther than what a comparison for the block can hold? */
static bool reach_add(struct reach *r, const struct access *a, uint64_t base)
{
	int64_t imm = a->o->ext[0] == 4 ? (int32_t)(uint32_t)a->o->imm : (int64_t)a->o->imm;
	int64_t end = imm + (int64_t)a->step * (a->c.stride ? a->width : 1);

	if (imm > 1 << 20 || imm < -(1 << 20) || ((uint64_t)imm - base) & (a->step - 1))
		return false;
	if (!r->n || imm < r->lo)
		r->lo = imm;
	if (!r->n || end > r->hi)
		r->hi = end;
	if (a->step > r->align)
		r->align = a->step;
	r->n++;
	return true;
}

/* Compare at once what this and later accesses of the block will touch through the same register. */
static void cover_begin(struct access *a)
{
	struct emit *e = a->e;
	uint32_t reg = a->o->a / 4, g;
	struct reach r = {0};
	struct cover *c = &e->cover[reg];
	struct val ok;

	if (a->o->a == MP_JIT_NONE || (a->o->a & MP_JIT_CONST) || e->k->regs[reg].temp ||
	    a->o->guard != MP_JIT_NONE || !reach_add(&r, a, a->o->imm) || !direct(a))
		return;
	for (g = e->group; g < e->p->group_at[e->block + 1]; g++) {
		const struct group *gr = &e->p->groups[g];
		const struct mp_jit_op *o = &e->k->ops[gr->first];
		const struct nat *n = &e->p->nat[gr->first];
		struct access b;

		if (g > e->group && gr->native && gr->n == 1 && (n->code == N_LD || n->code == N_ST) &&
		    n->sub == a->n->sub && o->a == a->o->a && o->guard == MP_JIT_NONE) {
			access_of(&b, e, o, n);
			b.lanes = a->lanes;
			if (direct(&b))
				reach_add(&r, &b, a->o->imm);
		}
		if (writes(e, gr->insn, reg))
			break;
	}
	/* alignment is asked of the lowest address: those that differ from it by less are on their own */
	if (r.n < 2 || ((uint64_t)r.lo - a->o->imm) & (r.align - 1))
		return;
	addresses(a, (uint64_t)r.lo);
	ok = check(a, (uint64_t)(r.hi - r.lo), r.align);
	c->on = true;
	c->lo = r.lo;
	c->hi = r.hi;
	c->sure = a->n->sub == SPACE_SHARED;
	c->ok = ok;
	memcpy(c->at, a->at, sizeof(c->at));
	if (c->sure) /* outside of shared memory is a fault, which the first tier reports */
		leave_unless(e, ok, e->p->groups[e->group].first);
}

static bool covered(struct access *a)
{
	struct emit *e = a->e;
	struct cover *c;
	int64_t imm = a->o->ext[0] == 4 ? (int32_t)(uint32_t)a->o->imm : (int64_t)a->o->imm;
	unsigned g;

	if (a->o->a == MP_JIT_NONE || (a->o->a & MP_JIT_CONST))
		return false;
	c = &e->cover[a->o->a / 4];
	if (!c->on)
		cover_begin(a);
	if (!c->on || a->o->guard != MP_JIT_NONE || c->sure != (a->n->sub == SPACE_SHARED) || imm > 1 << 20 ||
	    imm < c->lo || imm + (int64_t)a->step * (a->c.stride ? a->width : 1) > c->hi ||
	    ((uint64_t)(imm - c->lo) & (a->step - 1)))
		return false;
	for (g = 0; g < a->groups; g++)
		a->at[g] = ins(e, "getelementptr i8, ptr %s, i64 %llu", c->at[g].s,
			       (unsigned long long)(imm - c->lo + (SEEDED(COVER_OFFSET) ? (int)a->step : 0)));
	return true;
}

bool memory_sure(struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	struct access a;

	access_of(&a, e, o, n);
	a.lanes.full = true;
	return !a.store && !a.vol && n->sub == SPACE_SHARED && a.bits == 32 && o->n == 1 && o->guard == MP_JIT_NONE &&
	       direct(&a) && covered(&a) && e->cover[o->a / 4].sure;
}

static struct val widen(struct access *a, struct val v, bool vec)
{
	if (a->bits == a->reg)
		return v;
	return ins(a->e, "%s %s %s to %s", (a->o->ext[2] != 0) != SEEDED(LOAD_SIGN) ? "sext" : "zext", ity(a->bits, vec),
		   v.s, ity(a->reg, vec));
}

/* Vectors of one group each to one of 32 lanes. */
static struct val concat(struct emit *e, unsigned bits, struct val *v, unsigned n, unsigned width)
{
	char mask[2048]; /* 128 lanes at most, of 9 letters each */
	unsigned i, at;

	while (n > 1) {
		at = (unsigned)snprintf(mask, sizeof(mask), "<%u x i32> <", width * 2);
		for (i = 0; i < width * 2; i++)
			at += (unsigned)snprintf(mask + at, sizeof(mask) - at, "%si32 %u", i ? ", " : "", i);
		assert(at + 2 < sizeof(mask) && width * 2 <= 128);
		snprintf(mask + at, sizeof(mask) - at, ">");
		for (i = 0; i < n / 2; i++)
			v[i] = ins(e, "shufflevector <%u x i%u> %s, <%u x i%u> %s, %s", width, bits, v[2 * i].s, width, bits,
				   v[2 * i + 1].s, mask);
		n /= 2;
		width *= 2;
	}
	return v[0];
}

/* Lanes [first, first + n * by) of a vector, every by-th. */
static struct val slice(struct emit *e, const char *elem, unsigned have, struct val v, unsigned first, unsigned n,
			unsigned by)
{
	char mask[2048]; /* 128 lanes at most, of 9 letters each */
	unsigned i, at = (unsigned)snprintf(mask, sizeof(mask), "<%u x i32> <", n);

	if (have == n && !first && by == 1)
		return v;
	for (i = 0; i < n; i++)
		at += (unsigned)snprintf(mask + at, sizeof(mask) - at, "%si32 %u", i ? ", " : "", first + i * by);
	snprintf(mask + at, sizeof(mask) - at, ">");
	return ins(e, "shufflevector <%u x %s> %s, <%u x %s> poison, %s", have, elem, v.s, have, elem, mask);
}

static const char *vol(const struct access *a)
{
	return a->vol ? " volatile" : "";
}

/* All elements of a run of lanes, one group after another. */
static void load_run(struct access *a, struct res *out)
{
	struct emit *e = a->e;
	struct val part[4][4];
	unsigned n = a->o->n, g, i;
	char elem[8];

	snprintf(elem, sizeof(elem), "i%u", a->bits);
	for (g = 0; g < a->groups; g++) {
		struct val v;

		if (!a->lanes.full && a->bits >= 32 && n == 1) {
			struct val m = slice(e, "i1", 32, a->lanes.vec, g * a->width, a->width, 1);

			v = ins(e, "call <%u x i%u> @llvm.masked.load.v%ui%u.p0(ptr %s, i32 %u, <%u x i1> %s, <%u x i%u> zeroinitializer)",
				a->width, a->bits, a->width, a->bits, a->at[g].s, a->step, a->width, m.s, a->width, a->bits);
		} else {
			v = ins(e, "load%s <%u x i%u>, ptr %s, align %u", vol(a), a->width * n, a->bits, a->at[g].s, a->step);
		}
		for (i = 0; i < n; i++)
			part[i][g] = slice(e, elem, a->width * n, v, SEEDED(LOAD_SAME_LANE) ? 0 : i, a->width, n);
	}
	for (i = 0; i < n; i++)
		out[i] = res_var(widen(a, concat(e, a->bits, part[i], a->groups, a->width), true));
}

/* One place per group, or one for all. */
static void load_same(struct access *a, struct res *out)
{
	struct emit *e = a->e;
	unsigned g, i;

	for (i = 0; i < a->o->n; i++) {
		out[i].cls = a->c;
		for (g = 0; g < a->groups; g++) {
			struct val p = a->at[g], v;

			if (i)
				p = ins(e, "getelementptr i8, ptr %s, i64 %u", p.s, i * a->bits / 8);
			v = ins(e, "load%s i%u, ptr %s, align %u%s", vol(a), a->bits, p.s, a->bits / 8,
				a->n->sub == SPACE_PARAM ? ", !invariant.load !1" : "");
			out[i].v[g] = widen(a, v, false);
		}
	}
}

static void store_run(struct access *a)
{
	struct emit *e = a->e;
	unsigned n = a->o->n, g, i;
	struct val v[4];

	for (i = 0; i < n; i++)
		v[i] = rd_vec(e, a->o->ext[3 + i], a->bits, false);
	for (g = 0; g < a->groups; g++) {
		struct val s = slice(e, ity(a->bits, false), 32, v[0], g * a->width, a->width, 1);

		if (n == 2 || n == 4) { /* interleave */
			struct val w[4];
			char mask[2048];
			unsigned k, at;

			for (i = 0; i < n; i++)
				w[i] = slice(e, ity(a->bits, false), 32, v[i], g * a->width, a->width, 1);
			s = concat(e, a->bits, w, n, a->width);
			at = (unsigned)snprintf(mask, sizeof(mask), "<%u x i32> <", a->width * n);
			for (k = 0; k < a->width * n; k++)
				at += (unsigned)snprintf(mask + at, sizeof(mask) - at, "%si32 %u", k ? "," : "",
							 SEEDED(INTERLEAVE) ? k : k % n * a->width + k / n);
			snprintf(mask + at, sizeof(mask) - at, ">");
			s = ins(e, "shufflevector <%u x i%u> %s, <%u x i%u> poison, %s", a->width * n, a->bits, s.s,
				a->width * n, a->bits, mask);
		}
		put(e, "store%s <%u x i%u> %s, ptr %s, align %u", vol(a), a->width * n, a->bits, s.s, a->at[g].s, a->step);
	}
}

static void store_masked(struct access *a)
{
	struct emit *e = a->e;
	struct val v = rd_vec(e, a->o->ext[3], a->bits, false);
	unsigned g;

	for (g = 0; g < a->groups; g++) {
		struct val m = slice(e, "i1", 32, a->lanes.vec, g * a->width, a->width, 1);
		struct val s = slice(e, ity(a->bits, false), 32, v, g * a->width, a->width, 1);

		put(e, "call void @llvm.masked.store.v%ui%u.p0(<%u x i%u> %s, ptr %s, i32 %u, <%u x i1> %s)", a->width,
		    a->bits, a->width, a->bits, s.s, a->at[g].s, a->step, a->width, m.s);
	}
}

/* All lanes to one place: the last one stays. */
static void store_same(struct access *a)
{
	struct emit *e = a->e;
	unsigned i;

	for (i = 0; i < a->o->n; i++) {
		uint32_t slot = a->o->ext[3 + i];
		struct val p = a->at[0], v;

		if (i)
			p = ins(e, "getelementptr i8, ptr %s, i64 %u", p.s, i * a->bits / 8);
		if (plan_operand(e->p, slot).shape == UNI)
			v = rd_scalar(e, slot, a->bits, 0, false);
		else
			v = ins(e, "extractelement %s %s, i32 %d", ity(a->bits, true), rd_vec(e, slot, a->bits, false).s,
				SEEDED(STORE_FIRST) ? 0 : 31);
		put(e, "store%s i%u %s, ptr %s, align %u", vol(a), a->bits, v.s, p.s, a->bits / 8);
	}
}

/* After the handler: results from the frame, in the shape that the register has. */
static void slow_results(struct access *a, struct res *out)
{
	struct emit *e = a->e;
	unsigned i, g, groups = a->c.shape == UNI ? 1 : a->groups;

	for (i = 0; i < a->o->n; i++) {
		uint32_t slot = a->o->ext[3 + i], r = slot / 4;
		struct val at, lane, m;

		if (slot == MP_JIT_NONE)
			continue;
		at = ins(e, "getelementptr i8, ptr %%home, i64 %u", e->k->regs[r].home);
		if (a->c.shape == VAR || a->c.stride) {
			out[i] = res_var(ins(e, "load %s, ptr %s, align 64", ity(a->reg, true), at.s));
			continue;
		}
		out[i].cls = a->c;
		for (g = 0; g < groups; g++) {
			m = a->lanes.bits;
			if (groups > 1) {
				m = ins(e, "and i32 %s, %d", m.s, (int)(((1u << a->width) - 1) << (g * a->width)));
				m = ins(e, "or i32 %s, %d", m.s, (int)(1u << ((g + 1) * a->width - 1)));
			}
			lane = ins(e, "call i32 @llvm.cttz.i32(i32 %s, i1 false)", m.s);
			lane = ins(e, "and i32 %s, 31", lane.s);
			lane = ins(e, "getelementptr i%u, ptr %s, i32 %s", a->reg, at.s, lane.s);
			out[i].v[g] = ins(e, "load i%u, ptr %s, align %u", a->reg, lane.s, a->reg / 8);
		}
	}
}

static void handler(struct access *a)
{
	struct emit *e = a->e;
	struct val fn;

	emit_spill(e, a->o->insn);
	fn = ins(e, "load ptr, ptr %%p.run");
	put(e, "call void %s(ptr %%c, i32 %u, i32 %s)", fn.s, (unsigned)(a->o - e->k->ops), e->full ? "-1" : e->cur.s);
}

static void results_write(struct access *a, struct res *r)
{
	unsigned i;

	for (i = 0; i < a->o->n; i++)
		if (a->o->ext[3 + i] != MP_JIT_NONE)
			wr(a->e, a->o, a->o->ext[3 + i], a->reg, r[i]);
}

static bool direct(const struct access *a)
{
	bool whole = a->lanes.full || a->bits >= 32;
	unsigned i;

	if (a->c.shape == VAR)
		return false;
	if (a->c.shape == UNI || !a->c.stride) {
		if (!a->store)
			return true;
		if (a->c.shape != UNI)
			return false;
		for (i = 0; i < a->o->n && !a->lanes.full; i++)
			if (plan_operand(a->e->p, a->o->ext[3 + i]).shape != UNI)
				return false;
		return true;
	}
	return a->c.stride == (int64_t)a->step && (a->o->n == 1 || a->lanes.full) && whole;
}

static void fast_path(struct access *a, struct res *out)
{
	struct emit *e = a->e;
	bool run = a->c.shape == AFF && a->c.stride;

	fault_note(a);
	if (!a->store) {
		run ? load_run(a, out) : load_same(a, out);
	} else if (!run) {
		store_same(a);
	} else if (a->lanes.full || SEEDED(STORE_UNMASKED)) {
		store_run(a);
	} else {
		unsigned all = e->nlabel++, some = e->nlabel++, end = e->nlabel++;
		struct val c = ins(e, "icmp eq i32 %s, -1", a->lanes.bits.s);

		put(e, "br i1 %s, label %%L%u, label %%L%u", c.s, all, some);
		put(e, "L%u:", all);
		store_run(a);
		put(e, "br label %%L%u", end);
		put(e, "L%u:", some);
		store_masked(a);
		put(e, "br label %%L%u", end);
		put(e, "L%u:", end);
	}
}

static void phis(struct access *a, struct res *fast, struct res *slow, unsigned lf, unsigned ls)
{
	struct emit *e = a->e;
	unsigned i, g;

	for (i = 0; i < a->o->n; i++) {
		bool vec = fast[i].cls.shape == VAR;

		if (a->o->ext[3 + i] == MP_JIT_NONE)
			continue;
		for (g = 0; g < (fast[i].cls.shape == AFF ? a->groups : 1); g++)
			fast[i].v[g] = ins(e, "phi %s [ %s, %%L%u ], [ %s, %%L%u ]", ity(a->reg, vec), fast[i].v[g].s, lf,
					   slow[i].v[g].s, ls);
	}
}

static void access(struct access *a)
{
	struct emit *e = a->e;
	struct res fast[4], slow[4];
	unsigned lf = e->nlabel++, ls = e->nlabel++, join = e->nlabel++, start = e->nlabel++, end = e->nlabel++;
	struct mp_buf *out = e->out;
	struct val ok;

	memset(fast, 0, sizeof(fast));
	memset(slow, 0, sizeof(slow));
	if (a->n->sub == SPACE_PARAM) { /* the decoder checked the range */
		a->at[0] = ins(e, "getelementptr i8, ptr %%params, i64 %llu", (unsigned long long)a->o->imm);
		load_same(a, fast);
		results_write(a, fast);
		return;
	}
	if (a->vol && !a->store)
		spin_note(e);
	if (!direct(a)) {
		handler(a);
		if (!a->store) {
			slow_results(a, slow);
			results_write(a, slow);
		}
		return;
	}
	if (covered(a)) {
		if (e->cover[a->o->a / 4].sure) {
			fast_path(a, fast);
			if (!a->store)
				results_write(a, fast);
			return;
		}
		ok = e->cover[a->o->a / 4].ok;
	} else {
		addresses(a, a->o->imm);
		ok = check(a, (uint64_t)a->step * (a->c.stride ? a->width : 1), a->step);
	}
	put(e, "br i1 %s, label %%L%u, label %%L%u, !prof !0", ok.s, lf, start);
	put(e, "L%u:", lf);
	fast_path(a, fast);
	put(e, "br label %%L%u", end);
	put(e, "L%u:", end);
	put(e, "br label %%L%u", join);
	e->out = &e->cold;
	put(e, "L%u:", start);
	handler(a);
	if (!a->store)
		slow_results(a, slow);
	put(e, "br label %%L%u", ls);
	put(e, "L%u:", ls);
	put(e, "br label %%L%u", join);
	e->out = out;
	put(e, "L%u:", join);
	if (!a->store) {
		phis(a, fast, slow, end, ls);
		results_write(a, fast);
	}
}

/* A load that memory_sure() said yes to, of the part in hand. */
void emit_part_load(struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	struct access a;
	struct res r[4];
	struct val p;

	access_of(&a, e, o, n);
	a.lanes.full = true;
	if (!covered(&a)) {
		emit_fail(e, "an access that was sure is not");
		return;
	}
	p = part_pick(e, 0, a.at, a.groups, a.c.shape == AFF ? a.c.stride : 0);
	r[0].cls = a.c;
	if (a.c.shape == AFF && a.c.stride)
		r[0] = res_var(ins(e, "load %s, ptr %s, align %u", ity(a.bits, true), p.s, a.step));
	else
		r[0].v[0] = ins(e, "load i%u, ptr %s, align %u", a.bits, p.s, a.step);
	results_write(&a, r);
}

static void access_of(struct access *a, struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	*a = (struct access){.e = e, .o = o, .n = n, .store = n->code == N_ST, .vol = o->x & 2};
	a->c = plan_operand(e->p, o->a);
	a->step = (unsigned)o->size * o->n;
	a->bits = o->size * 8u;
	a->reg = o->ext[1] * 8;
	a->groups = a->c.shape == AFF ? e->p->ngroups : 1;
	a->width = a->groups > 1 ? e->p->group : MP_JIT_LANES;
}

void emit_memory(struct emit *e, const struct mp_jit_op *o, const struct nat *n)
{
	struct access a;
	bool guarded = o->guard != MP_JIT_NONE;
	unsigned skip = 0, go;
	struct val any;

	access_of(&a, e, o, n);
	a.lanes = op_lanes(e, o);
	if (guarded) {
		skip = e->nlabel++;
		go = e->nlabel++;
		any = ins(e, "icmp ne i32 %s, 0", a.lanes.bits.s);
		put(e, "br i1 %s, label %%L%u, label %%L%u", any.s, go, skip);
		put(e, "L%u:", go);
	}
	access(&a);
	if (guarded) {
		put(e, "br label %%L%u", skip);
		put(e, "L%u:", skip);
	}
}
