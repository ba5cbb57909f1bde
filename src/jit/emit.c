/* SPDX-License-Identifier: Apache-2.0 */
/* Values, registers, masks: what the emitter of operations stands on. */
#include "jit/emit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void put(struct emit *e, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		emit_fail(e, "a line of IR is too long");
		return;
	}
	mp_buf_add(e->out, line, (size_t)n);
	mp_buf_add(e->out, "\n", 1);
}

struct val ins(struct emit *e, const char *fmt, ...)
{
	char line[4096];
	struct val v;
	va_list ap;
	int n;

	snprintf(v.s, sizeof(v.s), "%%t%u", e->ntmp++);
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		emit_fail(e, "a line of IR is too long");
	else
		put(e, "%s = %s", v.s, line);
	return v;
}

void emit_fail(struct emit *e, const char *fmt, ...)
{
	va_list ap;

	if (e->failed)
		return;
	e->failed = true;
	va_start(ap, fmt);
	vsnprintf(e->why, sizeof(e->why), fmt, ap);
	va_end(ap);
}

static char *ring(void)
{
	static __thread char bufs[32][28];
	static __thread unsigned at;

	return bufs[at++ & 31];
}

__thread unsigned emit_width = MP_JIT_LANES;

const char *ity(unsigned bits, bool vec)
{
	char *b = ring();

	if (vec)
		snprintf(b, 28, "<%u x i%u>", emit_width, bits);
	else
		snprintf(b, 28, "i%u", bits);
	return b;
}

const char *fty(unsigned bits, bool vec)
{
	char *b = ring();

	if (vec)
		snprintf(b, 28, "<%u x %s>", emit_width, bits == 64 ? "double" : "float");
	else
		snprintf(b, 28, "%s", bits == 64 ? "double" : "float");
	return b;
}

static void literal(char *s, size_t n, unsigned bits, uint64_t v)
{
	if (bits == 1)
		snprintf(s, n, "%s", v & 1 ? "true" : "false");
	else
		snprintf(s, n, "%lld", (long long)((int64_t)(v << (64 - bits)) >> (64 - bits)));
}

struct val konst(struct emit *e, unsigned bits, bool vec, uint64_t v)
{
	struct val r;
	unsigned i;

	if (bits < 64)
		v &= (1ull << bits) - 1;
	if (!vec) {
		literal(r.s, sizeof(r.s), bits, v);
		return r;
	}
	if (!v) {
		snprintf(r.s, sizeof(r.s), "zeroinitializer");
		return r;
	}
	for (i = 0; i < e->nkonsts; i++)
		if (e->konsts[i].bits == v && e->konsts[i].width == bits && e->konsts[i].lanes == emit_width)
			break;
	if (i == e->nkonsts) {
		char lit[24];

		if (i == e->konsts_cap) {
			unsigned cap = i ? i * 2 : 64;
			struct konst *more = realloc(e->konsts, cap * sizeof(*more));

			if (!more) {
				emit_fail(e, "no memory");
				return res_uni((struct val){"zeroinitializer"}).v[0];
			}
			e->konsts = more;
			e->konsts_cap = cap;
		}
		e->konsts[e->nkonsts++] = (struct konst){v, (uint8_t)bits, (uint8_t)emit_width};
		literal(lit, sizeof(lit), bits, v);
		mp_buf_printf(&e->head,
			      "%%k%ui = insertelement <%u x i%u> poison, i%u %s, i32 0\n"
			      "%%k%u = shufflevector <%u x i%u> %%k%ui, <%u x i%u> poison, <%u x i32> zeroinitializer\n",
			      i, emit_width, bits, bits, lit, i, emit_width, bits, i, emit_width, bits, emit_width);
	}
	snprintf(r.s, sizeof(r.s), "%%k%u", i);
	return r;
}

/* A constant operand; addresses of the module's variables are relative to where these are now. */
struct val number(struct emit *e, unsigned bits, bool vec, uint64_t v)
{
	struct val a;

	if (bits != 64 || v - e->k->data >= e->k->data_bytes)
		return konst(e, bits, vec, v);
	a = ins(e, "add i64 %%data, %llu", (unsigned long long)(v - e->k->data));
	return vec ? splat(e, 64, a) : a;
}

struct val splat(struct emit *e, unsigned bits, struct val v)
{
	struct val t = ins(e, "insertelement %s poison, i%u %s, i32 0", ity(bits, true), bits, v.s);

	return ins(e, "shufflevector %s %s, %s poison, %s zeroinitializer", ity(bits, true), t.s, ity(bits, true),
		   ity(32, true));
}

struct res res_uni(struct val v)
{
	return (struct res){{UNI, 0}, {v}};
}

struct res res_var(struct val v)
{
	return (struct res){{VAR, 0}, {v}};
}

/* Single precision NaNs are 0x7fffffff in the first tier, after every operation; here when it shows. */
struct val canonical(struct emit *e, struct val v, bool vec)
{
	struct val f, u;

	if (SEEDED(NAN_KEPT))
		return v;
	f = ins(e, "bitcast %s %s to %s", ity(32, vec), v.s, fty(32, vec));
	u = ins(e, "fcmp uno %s %s, %s", fty(32, vec), f.s, f.s);

	return ins(e, "select %s %s, %s %s, %s %s", ity(1, vec), u.s, ity(32, vec),
		   konst(e, 32, vec, 0x7fffffffu).s, ity(32, vec), v.s);
}

/* ---- Registers ---- */

unsigned reg_bits(const struct emit *e, uint32_t reg)
{
	unsigned size = e->k->regs[reg].size;

	return size == 0 ? 1 : size == 1 ? 16 : size * 8;
}

static struct val narrow(struct emit *e, struct val v, unsigned have, unsigned want, bool vec)
{
	if (have == want)
		return v;
	if (have < want) {
		emit_fail(e, "an operand that is too narrow");
		return v;
	}
	return ins(e, "trunc %s %s to %s", ity(have, vec), v.s, ity(want, vec));
}

/*
 * Of a value for each group (i<bits>, or a pointer if 0) the one for the part in
 * hand, at the part's first lane.
 */
struct val part_pick(struct emit *e, unsigned bits, const struct val *v, unsigned n, int64_t stride)
{
	const char *t = bits ? ity(bits, false) : "ptr";
	struct val r = v[0], c, skip;
	unsigned g;

	for (g = 1; g < n; g++) {
		c = ins(e, "icmp uge i64 %s, %u", e->first_lane.s, g * e->p->group);
		r = ins(e, "select i1 %s, %s %s, %s %s", c.s, t, v[g].s, t, r.s);
	}
	if (!stride)
		return r;
	skip = ins(e, "and i64 %s, %u", e->first_lane.s, e->p->group - 1);
	skip = ins(e, "mul i64 %s, %lld", skip.s, (long long)stride);
	if (!bits)
		return ins(e, "getelementptr i8, ptr %s, i64 %s", r.s, skip.s);
	if (bits < 64)
		skip = ins(e, "trunc i64 %s to i%u", skip.s, bits);
	return ins(e, "add i%u %s, %s", bits, r.s, skip.s);
}

/* A scalar of each group, from before the stretch. */
static struct val part_scalar(struct emit *e, uint32_t r, struct cls c)
{
	struct val v[4];
	unsigned g;

	for (g = 0; g < e->p->ngroups; g++)
		v[g] = ins(e, "load i%u, ptr %%r%u.%u", reg_bits(e, r), r, g);
	return part_pick(e, reg_bits(e, r), v, e->p->ngroups, c.stride);
}

/* The place of a varying register. */
static const char *place(struct emit *e, uint32_t r)
{
	static __thread char s[16];

	snprintf(s, sizeof(s), e->part ? "%%pv%u" : "%%r%u", r);
	return s;
}

struct val rd_scalar(struct emit *e, uint32_t slot, unsigned bits, unsigned g, bool raw)
{
	uint32_t r = slot / 4;
	struct cls c = plan_operand(e->p, slot);
	struct val v;

	if (slot & MP_JIT_CONST)
		return number(e, bits, false, plan_const(e->p, slot));
	assert(c.shape != VAR);
	if (c.shape == UNI)
		v = ins(e, "load i%u, ptr %%r%u", reg_bits(e, r), r);
	else if (e->part && (e->parted[r] & PARTED_SET))
		v = ins(e, "load i%u, ptr %%ps%u", reg_bits(e, r), r);
	else if (e->part)
		v = part_scalar(e, r, c);
	else
		v = ins(e, "load i%u, ptr %%r%u.%u", reg_bits(e, r), r, SEEDED(ONE_GROUP) ? 0 : g);
	if (!raw && bits == 32 && e->p->dirty[r])
		v = canonical(e, v, false);
	return narrow(e, v, reg_bits(e, r), bits, false);
}

/* base[g] + stride * (lane within its group) */
struct val res_vec(struct emit *e, unsigned bits, const struct res *r)
{
	const char *t = ity(bits, true);
	struct val v, lanes;
	char name[40];
	unsigned g, ng = e->p->ngroups;

	if (r->cls.shape == VAR)
		return r->v[0];
	if (e->part) { /* the lanes of a part belong to one group */
		v = splat(e, bits, r->v[0]);
		goto strides;
	}
	if (r->cls.shape == UNI || ng == 1) {
		v = splat(e, bits, r->v[0]);
	} else {
		v = (struct val){"poison"};
		for (g = 0; g < ng; g++)
			v = ins(e, "insertelement %s %s, i%u %s, i32 %u", t, v.s, bits, r->v[g].s, g);
		v = ins(e, "shufflevector %s %s, %s poison, %s", t, v.s, t, e->groups);
	}
strides:
	if (!r->cls.stride || SEEDED(STRIDE_LOST))
		return v;
	if (e->part) {
		lanes = ins(e, "mul %s %%part%u, %s", t, bits, konst(e, bits, true, (uint64_t)r->cls.stride).s);
		return ins(e, "add %s %s, %s", t, v.s, lanes.s);
	}
	snprintf(name, sizeof(name), "%%lane%u", bits);
	lanes = ins(e, "mul %s %s, %s", t, name, konst(e, bits, true, (uint64_t)r->cls.stride).s);
	return ins(e, "add %s %s, %s", t, v.s, lanes.s);
}

struct val rd_vec(struct emit *e, uint32_t slot, unsigned bits, bool raw)
{
	uint32_t r = slot / 4;
	struct cls c = plan_operand(e->p, slot);
	unsigned have, g;
	struct val v;

	if (slot & MP_JIT_CONST)
		return number(e, bits, true, plan_const(e->p, slot));
	have = reg_bits(e, r);
	if (c.shape == VAR) {
		v = ins(e, "load %s, ptr %s", ity(have, true), place(e, r));
		if (!raw && bits == 32 && e->p->dirty[r])
			v = canonical(e, v, true);
	} else {
		struct res res = {.cls = c};

		if (e->part) {
			res.v[0] = rd_scalar(e, slot, have, 0, raw);
			return narrow(e, res_vec(e, have, &res), have, bits, true);
		}
		for (g = 0; g < (c.shape == UNI ? 1 : e->p->ngroups); g++) {
			res.v[g] = c.shape == UNI ? ins(e, "load i%u, ptr %%r%u", have, r)
						  : ins(e, "load i%u, ptr %%r%u.%u", have, r, g);
			if (!raw && bits == 32 && e->p->dirty[r])
				res.v[g] = canonical(e, res.v[g], false);
		}
		v = res_vec(e, have, &res);
	}
	return narrow(e, v, have, bits, true);
}

struct val rd_pred(struct emit *e, uint32_t slot, bool vec, bool negated)
{
	struct val v = vec ? rd_vec(e, slot, 1, true) : rd_scalar(e, slot, 1, 0, true);

	if (negated)
		v = ins(e, "xor %s %s, %s", ity(1, vec), v.s, konst(e, 1, vec, 1).s);
	return v;
}

static struct val choose(struct emit *e, struct val cond, bool vec, unsigned bits, struct val yes, struct val no)
{
	return ins(e, "select %s %s, %s %s, %s %s", ity(1, vec), cond.s, ity(bits, vec), yes.s, ity(bits, vec), no.s);
}

void wr(struct emit *e, const struct mp_jit_op *o, uint32_t slot, unsigned bits, struct res res)
{
	uint32_t r = slot / 4;
	struct cls c = e->p->cls[r];
	bool guarded = o && o->guard != MP_JIT_NONE;
	unsigned have = reg_bits(e, r), g, n = c.shape == AFF ? e->p->ngroups : 1;
	bool keeps = !e->full && plan_keeps(e->p, e->block, r);
	struct val v, cond, old;

	assert(!(slot & MP_JIT_CONST) && slot != MP_JIT_NONE);
	if (have != bits) {
		emit_fail(e, "a result of %u bits for a register of %u", bits, have);
		return;
	}
	if (c.shape == AFF && e->part) { /* nothing reads it after the stretch */
		put(e, "store i%u %s, ptr %%ps%u", bits, res.v[0].s, r);
		return;
	}
	if (c.shape != VAR) {
		if (keeps || res.cls.shape > c.shape ||
		    (guarded && plan_operand(e->p, o->guard).shape != UNI)) {
			emit_fail(e, "a scalar register with a value for some lanes");
			return;
		}
		for (g = 0; g < n; g++) {
			char place[32];

			snprintf(place, sizeof(place), c.shape == UNI ? "%%r%u" : "%%r%u.%u", r, g);
			v = res.cls.shape == UNI ? res.v[0] : res.v[g];
			if (guarded && !SEEDED(GUARD_SCALAR_IGNORED)) {
				cond = rd_pred(e, o->guard, false, o->guard_negated);
				old = ins(e, "load i%u, ptr %s", bits, place);
				v = choose(e, cond, false, bits, v, old);
			}
			put(e, "store i%u %s, ptr %s", bits, v.s, place);
		}
		return;
	}
	v = res_vec(e, bits, &res);
	if (SEEDED(GUARD_IGNORED))
		guarded = false;
	if (SEEDED(MASK_IGNORED))
		keeps = false;
	if (guarded || keeps) {
		if (guarded)
			cond = rd_pred(e, o->guard, true, o->guard_negated);
		if (guarded && keeps)
			cond = ins(e, "and <32 x i1> %s, %s", cond.s, e->curvec.s);
		else if (keeps)
			cond = e->curvec;
		old = ins(e, "load %s, ptr %%r%u", ity(bits, true), r);
		v = choose(e, cond, true, bits, v, old);
	}
	put(e, "store %s %s, ptr %s", ity(bits, true), v.s, place(e, r));
}

/* ---- Masks ---- */

struct val bits_of(struct emit *e, struct val vec)
{
	return ins(e, "bitcast <32 x i1> %s to i32", vec.s);
}

struct val vec_of(struct emit *e, struct val bits)
{
	struct val v = splat(e, 32, bits);

	v = ins(e, "and <32 x i32> %s, %%lanebits", v.s);
	return ins(e, "icmp ne <32 x i32> %s, zeroinitializer", v.s);
}

struct lanes op_lanes(struct emit *e, const struct mp_jit_op *o)
{
	struct lanes l = {.full = e->full};

	if (!e->full) {
		l.bits = e->cur;
		l.vec = e->curvec;
	}
	if (o->guard != MP_JIT_NONE) {
		struct val p = rd_pred(e, o->guard, true, o->guard_negated);

		l.vec = e->full ? p : ins(e, "and <32 x i1> %s, %s", p.s, e->curvec.s);
		l.bits = bits_of(e, l.vec);
		l.full = false;
	} else if (e->full) {
		l.bits = konst(e, 32, false, ~0u);
		l.vec = konst(e, 1, true, 1);
	}
	return l;
}

/* ---- The first tier's frame ---- */

static void spill_reg(struct emit *e, uint32_t r, const struct val *lanes)
{
	unsigned bits = reg_bits(e, r);
	struct val v = rd_vec(e, r * 4, bits, false), at, old;

	at = ins(e, "getelementptr i8, ptr %%home, i64 %u", e->k->regs[r].home);
	if (bits == 1) {
		v = bits_of(e, v);
		if (SEEDED(SPILL_NEGATED))
			v = ins(e, "xor i32 %s, -1", v.s);
		if (lanes) {
			struct val m = bits_of(e, *lanes), keep = ins(e, "xor i32 %s, -1", m.s);

			old = ins(e, "load i32, ptr %s, align 4", at.s);
			old = ins(e, "and i32 %s, %s", old.s, keep.s);
			v = ins(e, "and i32 %s, %s", v.s, m.s);
			v = ins(e, "or i32 %s, %s", v.s, old.s);
		}
		put(e, "store i32 %s, ptr %s, align 4", v.s, at.s);
		return;
	}
	if (lanes) {
		old = ins(e, "load %s, ptr %s, align 64", ity(bits, true), at.s);
		v = choose(e, *lanes, true, bits, v, old);
	}
	put(e, "store %s %s, ptr %s, align 64", ity(bits, true), v.s, at.s);
}

void emit_spill(struct emit *e, uint32_t insn)
{
	const struct mp_jit_insn *in = &e->k->insns[insn];
	uint32_t i, j;

	for (i = 0; i < in->nreads; i++) {
		uint32_t r = e->k->uses[in->reads + i];

		for (j = 0; j < i && e->k->uses[in->reads + j] != r; j++)
			;
		if (j == i)
			spill_reg(e, r, NULL);
	}
}

void emit_reload(struct emit *e, uint32_t insn, const struct mp_jit_op *o)
{
	const struct mp_jit_insn *in = &e->k->insns[insn];
	uint32_t i;

	for (i = SEEDED(RELOAD_LOST); i < in->nwrites; i++) {
		uint32_t r = e->k->uses[in->writes + i];
		unsigned bits = reg_bits(e, r);
		struct val at = ins(e, "getelementptr i8, ptr %%home, i64 %u", e->k->regs[r].home), v;

		if (bits == 1) {
			v = ins(e, "load i32, ptr %s, align 4", at.s);
			v = ins(e, "bitcast i32 %s to <32 x i1>", v.s);
		} else {
			v = ins(e, "load %s, ptr %s, align 64", ity(bits, true), at.s);
		}
		wr(e, o, r * 4, bits, res_var(v));
	}
}

/* The handlers merge by guard and mask themselves, on what the frame holds. */
void emit_fallback(struct emit *e, const struct group *g)
{
	struct val fn, bits = e->full ? konst(e, 32, false, ~0u) : e->cur;
	uint32_t i;

	emit_spill(e, g->insn);
	fn = ins(e, "load ptr, ptr %%p.run");
	for (i = g->first; i < g->first + g->n; i++)
		put(e, "call void %s(ptr %%c, i32 %u, i32 %s)", fn.s, i, bits.s);
	emit_reload(e, g->insn, NULL);
}

/* ---- Leaving to the first tier ---- */

static void leave_registers(struct emit *e, const uint64_t *live)
{
	const struct plan *p = e->p;
	const uint64_t *s = p->pending + (size_t)e->block * p->bwords;
	uint32_t r, w;

	for (r = 0; r < e->k->nregs; r++) {
		bool here = bit(live, r) && !(SEEDED(LEAVE_REGISTER) && r % 4 == 0), waiting = false, others = false;
		struct val m = {"0"};

		if (here && !e->full)
			m = e->cur;
		for (w = 0; w < p->bwords && !e->full; w++) {
			uint64_t b = s[w];

			for (; b; b &= b - 1) {
				uint32_t c = w * 64 + (uint32_t)__builtin_ctzll(b);

				others = true;
				if (!bit(p->live_in + (size_t)c * p->words, r))
					continue;
				waiting = true;
				m = ins(e, "or i32 %s, %s", m.s, ins(e, "load i32, ptr %%m%u", c).s);
			}
		}
		if (!here && !waiting)
			continue;
		if (others) {
			struct val v = vec_of(e, m);

			spill_reg(e, r, &v);
		} else {
			spill_reg(e, r, NULL);
		}
	}
}

static void ctx_store(struct emit *e, unsigned offset, struct val v)
{
	struct val at = ins(e, "getelementptr i8, ptr %%c, i64 %u", offset);

	put(e, "store i32 %s, ptr %s, align 4", v.s, at.s);
}

unsigned leave_label(struct emit *e, uint32_t op)
{
	const struct plan *p = e->p;
	const uint64_t *s = p->pending + (size_t)e->block * p->bwords;
	struct mp_buf *out = e->out;
	unsigned label = e->nlabel++;
	uint32_t w;
	struct val base;

	e->out = &e->cold;
	put(e, "L%u:", label);
	if (op == e->k->blocks[e->block].first)
		memcpy(e->live, p->live_in + (size_t)e->block * p->words, p->words * 8);
	else
		plan_live_before(p, e->block, e->group, e->live);
	leave_registers(e, e->live);
	ctx_store(e, CTX(leave_block), konst(e, 32, false, e->block));
	ctx_store(e, CTX(leave_op), konst(e, 32, false, op));
	ctx_store(e, CTX(leave_mask), e->full ? konst(e, 32, false, ~0u) : e->cur);
	base = ins(e, "getelementptr i8, ptr %%c, i64 %u", CTX(pending));
	base = ins(e, "load ptr, ptr %s, align 8", base.s);
	for (w = 0; w < p->bwords && !e->full; w++) {
		uint64_t b = s[w];

		for (; b; b &= b - 1) {
			uint32_t c = w * 64 + (uint32_t)__builtin_ctzll(b);
			struct val m = ins(e, "load i32, ptr %%m%u", c);
			struct val at = ins(e, "getelementptr i32, ptr %s, i64 %u", base.s, c);

			put(e, "store i32 %s, ptr %s, align 4", m.s, at.s);
		}
	}
	put(e, "ret i32 1");
	e->out = out;
	return label;
}

void leave_unless(struct emit *e, struct val ok, uint32_t op)
{
	unsigned out = leave_label(e, op), in = e->nlabel++;

	put(e, "br i1 %s, label %%L%u, label %%L%u, !prof !0", ok.s, in, out);
	put(e, "L%u:", in);
}
