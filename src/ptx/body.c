/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function's body: statements, scoped names, operands (chapters 4, 6, 11.3).
 *
 * Braces nest and their names shadow outer ones (inline assembly repeats both
 * registers and labels).  A label may be used before it is declared: a use
 * waits in a list and is settled when the scope that declares it ends.
 */
#include "ptx/scan.h"
#include "base/check.h"

#include <stdio.h>
#include <string.h>

#define BUCKETS	  512
#define MAX_SCOPE 128
#define MAX_REGS  (1u << 20)

enum name_kind { NAME_REG, NAME_REGS, NAME_VECTOR, NAME_VAR, NAME_LABEL, NAME_TABLE, NAME_PROTO };

struct name {
	const char *s;
	uint32_t len, hash;
	uint8_t kind;
	uint16_t depth;
	uint32_t value, count; /* register, label, table; registers of a range, elements of a vector */
	struct mp_ptx_var *var;
	struct name *next, *older; /* in the bucket; in the order of declaration */
};

struct use {
	const char *s;
	uint32_t len, line;
	uint16_t depth;
	uint64_t *to;
	uint32_t *to32;
	struct use *next;
};

struct body {
	struct scan s;
	struct mp_ptx_body *b;
	struct name *buckets[BUCKETS];
	struct name *newest;
	struct use *uses;
	uint16_t depth;
};

static uint32_t name_hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h ^ h >> 13;
}

static struct name *name_find(struct body *y, const char *s, uint32_t len, bool range)
{
	uint32_t h = name_hash(s, len);
	struct name *n;

	for (n = y->buckets[h % BUCKETS]; n; n = n->next)
		if (n->hash == h && n->len == len && (n->kind == NAME_REGS) == range &&
		    !memcmp(n->s, s, len))
			return n;
	return NULL;
}

static struct name *name_add(struct body *y, const char *s, uint32_t len, uint8_t kind, uint32_t value)
{
	struct name *n = name_find(y, s, len, kind == NAME_REGS);

	if (n && n->depth == y->depth) {
		scan_fail(&y->s, "%.*s is declared twice", (int)(len > 80 ? 80 : len), s);
		return NULL;
	}
	n = scan_alloc(&y->s, 1, sizeof(*n));
	if (!n)
		return NULL;
	n->s = s;
	n->len = len;
	n->hash = name_hash(s, len);
	n->kind = kind;
	n->depth = y->depth;
	n->value = value;
	n->next = y->buckets[n->hash % BUCKETS];
	y->buckets[n->hash % BUCKETS] = n;
	n->older = y->newest;
	y->newest = n;
	return n;
}

/* Grow an array of the body by doubling; the old one stays in the arena. */
static bool grow(struct body *y, void *array, uint32_t n, uint32_t *cap, uint32_t more, size_t size)
{
	void **p = array, *bigger;
	uint32_t want = *cap ? *cap : 32;

	if (n + more <= *cap)
		return true;
	while (want < n + more)
		want *= 2;
	bigger = scan_alloc(&y->s, want, size);
	if (!bigger)
		return false;
	if (n)
		memcpy(bigger, *p, n * size);
	*p = bigger;
	*cap = want;
	return true;
}

static uint32_t regs_add(struct body *y, uint8_t type, uint32_t count)
{
	struct mp_ptx_body *b = y->b;
	uint32_t first = b->nregs, i;

	if (count > MAX_REGS || b->nregs + count > MAX_REGS) {
		scan_fail(&y->s, "too many registers");
		return 0;
	}
	if (!grow(y, &b->regs, b->nregs, &b->regs_cap, count, sizeof(*b->regs)))
		return 0;
	for (i = 0; i < count; i++)
		b->regs[first + i].type = type;
	b->nregs += count;
	return first;
}

/* ---- Labels ---- */

static void use_label(struct body *y, const char *s, uint32_t len, uint64_t *to, uint32_t *to32)
{
	struct use *u = scan_alloc(&y->s, 1, sizeof(*u));

	if (!u)
		return;
	*u = (struct use){s, len, y->s.tok.line, y->depth, to, to32, y->uses};
	y->uses = u;
}

/* Settle the uses of the scope that ends; the others move one scope out. */
static void uses_settle(struct body *y)
{
	struct use **p = &y->uses, *u;

	while ((u = *p) && u->depth == y->depth) {
		struct name *n = name_find(y, u->s, u->len, false);

		if (n && n->kind == NAME_LABEL && n->depth == y->depth) {
			if (u->to)
				*u->to = n->value;
			if (u->to32)
				*u->to32 = n->value;
			*p = u->next;
			continue;
		}
		if (y->depth <= 1) {
			y->s.tok.line = u->line;
			scan_fail(&y->s, "there is no label %.*s", (int)(u->len > 80 ? 80 : u->len), u->s);
			return;
		}
		u->depth--;
		p = &u->next;
	}
}

static void scope_close(struct body *y)
{
	uses_settle(y);
	while (y->newest && y->newest->depth == y->depth) {
		struct name *n = y->newest;

		assert(y->buckets[n->hash % BUCKETS] == n);
		y->buckets[n->hash % BUCKETS] = n->next;
		y->newest = n->older;
	}
	y->depth--;
}

static void label_add(struct body *y, const char *s, uint32_t len)
{
	struct mp_ptx_body *b = y->b;

	if (!grow(y, &b->labels, b->nlabels, &b->labels_cap, 1, sizeof(*b->labels)))
		return;
	b->labels[b->nlabels] = b->ninsns;
	name_add(y, s, len, NAME_LABEL, b->nlabels++);
}

/* ---- Declarations ---- */

/* .reg .b32 %r<100>, %x; with optional .v2/.v4 */
static void reg_parse(struct body *y)
{
	struct scan *s = &y->s;
	uint32_t vec = 1;
	int w = -1;

	scan_next(s);
	while (s->tok.kind == TOK_DOT) {
		int found = mp_ptx_word_find(s->tok.s, s->tok.len);

		if (found == MP_PTX_W_V2 || found == MP_PTX_W_V4)
			vec = found == MP_PTX_W_V2 ? 2 : 4;
		else if (found >= 0 && found < MP_PTX_TYPES_END)
			w = found;
		else
			scan_fail(s, "\".%.*s\" is no type of register",
				  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
		scan_next(s);
	}
	if (w < 0)
		scan_fail(s, "a register has no type");
	while (!s->failed) {
		const char *name = s->tok.s;
		uint32_t len = s->tok.len, first, count = 1;
		struct name *n;
		bool range = false;

		if (s->tok.kind != TOK_IDENT) {
			scan_fail(s, "expected a register's name");
			break;
		}
		scan_next(s);
		if (scan_accept(s, '<')) {
			range = true;
			count = scan_u32(s);
			scan_expect(s, '>');
			if (vec > 1)
				scan_fail(s, "a range of vector registers is not carried");
		}
		first = regs_add(y, (uint8_t)w, count * vec);
		if (s->failed)
			break;
		n = name_add(y, name, len, range ? NAME_REGS : vec > 1 ? NAME_VECTOR : NAME_REG, first);
		if (n)
			n->count = range ? count : vec;
		if (!scan_accept(s, ','))
			break;
	}
	scan_expect(s, ';');
}

static void body_var_add(struct body *y, struct mp_ptx_var *v)
{
	struct mp_ptx_body *b = y->b;
	struct name *n;

	if (!grow(y, &b->vars, b->nvars, &b->vars_cap, 1, sizeof(*b->vars)))
		return;
	v->index = b->nvars;
	b->vars[b->nvars++] = v;
	n = name_add(y, v->name, (uint32_t)strlen(v->name), NAME_VAR, v->index);
	if (n)
		n->var = v;
}

static void body_vars_parse(struct body *y, uint16_t space)
{
	struct scan *s = &y->s;
	struct mp_ptx_var type = {0};
	bool again = false;

	scan_next(s);
	do {
		struct mp_ptx_var *v = scan_alloc(s, 1, sizeof(*v));
		char *name;

		if (!v)
			return;
		*v = type;
		v->space = space;
		v->reg = MP_PTX_NOREG;
		v->in_body = true;
		scan_variable(s, v, again);
		if (!again) {
			type.type = v->type;
			type.align = v->align;
		}
		again = true;
		/* .param .b8 p<4>; declares p0 .. p3 (5.4.6) */
		if (!s->failed && scan_accept(s, '<')) {
			uint32_t n = scan_u32(s), i;

			scan_expect(s, '>');
			for (i = 0; i < n && i < 4096 && !s->failed; i++) {
				struct mp_ptx_var *c = scan_alloc(s, 1, sizeof(*c));
				char buf[300];

				if (!c)
					return;
				snprintf(buf, sizeof(buf), "%.250s%u", v->name, i);
				*c = *v;
				name = mp_arena_strndup(s->arena, buf, strlen(buf));
				if (!name)
					return;
				c->name = name;
				body_var_add(y, c);
			}
			continue;
		}
		if (!s->failed)
			body_var_add(y, v);
	} while (scan_accept(s, ','));
	scan_expect(s, ';');
}

/* name: .branchtargets a, b;   name: .calltargets f, g;   name: .callprototype (..) _ (..); */
static void table_parse(struct body *y, const char *name, uint32_t len)
{
	struct scan *s = &y->s;
	struct mp_ptx_body *b = y->b;
	bool calls = scan_word_is(s, "calltargets");
	struct mp_ptx_table t = {0};
	uint32_t lcap = 0, fcap = 0;

	scan_next(s);
	while (!s->failed && s->tok.kind == TOK_IDENT) {
		if (calls) {
			if (!grow(y, &t.funcs, t.n, &fcap, 1, sizeof(*t.funcs)))
				return;
			t.funcs[t.n] = mp_ptx_module_func(s->module, s->tok.s, s->tok.len);
			if (!t.funcs[t.n])
				scan_fail(s, "there is no function %.*s",
					  (int)(s->tok.len > 80 ? 80 : s->tok.len), s->tok.s);
		} else {
			if (t.n >= 65536)
				scan_fail(s, "too many targets");
			/* the list is walked twice: settled labels need a place that stays */
			if (!lcap) {
				struct scan probe = *s;

				while (!probe.failed && probe.tok.kind == TOK_IDENT && lcap < 65536) {
					lcap++;
					scan_next(&probe);
					if (!scan_accept(&probe, ','))
						break;
				}
				t.labels = scan_alloc(s, lcap, sizeof(*t.labels));
			}
			if (s->failed || t.n >= lcap)
				return;
			use_label(y, s->tok.s, s->tok.len, NULL, &t.labels[t.n]);
		}
		t.n++;
		scan_next(s);
		if (!scan_accept(s, ','))
			break;
	}
	scan_expect(s, ';');
	if (s->failed || !grow(y, &b->tables, b->ntables, &b->tables_cap, 1, sizeof(*b->tables)))
		return;
	b->tables[b->ntables] = t;
	name_add(y, name, len, NAME_TABLE, b->ntables++);
}

static void proto_parse(struct body *y, const char *name, uint32_t len)
{
	struct scan *s = &y->s;
	struct mp_ptx_body *b = y->b;
	struct mp_ptx_proto p = {0};

	scan_next(s);
	if (scan_is(s, '('))
		scan_params(s, &p.rets, &p.nrets);
	if (s->tok.kind == TOK_IDENT)
		scan_next(s);
	if (scan_is(s, '('))
		scan_params(s, &p.params, &p.nparams);
	while (s->tok.kind == TOK_DOT || s->tok.kind == TOK_INT) /* .noreturn, .abi_preserve 0 */
		scan_next(s);
	scan_expect(s, ';');
	if (s->failed || !grow(y, &b->protos, b->nprotos, &b->protos_cap, 1, sizeof(*b->protos)))
		return;
	b->protos[b->nprotos] = p;
	name_add(y, name, len, NAME_PROTO, b->nprotos++);
}

/* ---- Operands, chapter 6 ---- */

static struct name *register_find(struct body *y, const char *s, uint32_t len, uint32_t *ret_reg)
{
	struct name *exact = name_find(y, s, len, false), *range = NULL;
	uint32_t n = len, number = 0, mul = 1;

	while (n && s[n - 1] >= '0' && s[n - 1] <= '9' && len - n < 8) {
		number += (uint32_t)(s[n - 1] - '0') * mul;
		mul *= 10;
		n--;
	}
	if (n < len && n)
		range = name_find(y, s, n, true);
	if (range && (number >= range->count || (s[n] == '0' && n + 1 < len)))
		range = NULL;
	if (range && (!exact || range->depth > exact->depth)) {
		*ret_reg = range->value + number;
		return range;
	}
	if (exact)
		*ret_reg = exact->value;
	return exact;
}

static int component(const struct scan *s)
{
	if (s->tok.kind != TOK_DOT || s->tok.len != 1)
		return -1;
	switch (*s->tok.s) {
	case 'x': case 'r': return 0;
	case 'y': case 'g': return 1;
	case 'z': case 'b': return 2;
	case 'w': case 'a': return 3;
	}
	return -1;
}

static void operand_vector(struct body *y, struct mp_ptx_operand *o, uint32_t first, uint32_t n)
{
	uint32_t i;

	o->kind = MP_PTX_VEC;
	o->elems = scan_alloc(&y->s, n, sizeof(*o->elems));
	if (!o->elems)
		return;
	o->nelems = (uint16_t)n;
	for (i = 0; i < n; i++) {
		o->elems[i].kind = MP_PTX_REG;
		o->elems[i].reg = first + i;
		o->elems[i].reg2 = MP_PTX_NOREG;
	}
}

/* An identifier of an operand. */
static void operand_name(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn)
{
	struct scan *s = &y->s;
	const char *name = s->tok.s;
	uint32_t len = s->tok.len, reg = MP_PTX_NOREG;
	struct name *n = register_find(y, name, len, &reg);
	int comp;

	if (len == 1 && *name == '_' && !n) {
		o->kind = MP_PTX_SINK;
		scan_next(s);
		return;
	}
	scan_next(s);
	if (n) {
		switch (n->kind) {
		case NAME_REG:
		case NAME_REGS:
			o->kind = MP_PTX_REG;
			o->reg = reg;
			return;
		case NAME_VECTOR:
			comp = component(s);
			if (comp >= 0 && (uint32_t)comp < n->count) {
				o->kind = MP_PTX_REG;
				o->reg = n->value + (uint32_t)comp;
				scan_next(s);
			} else {
				operand_vector(y, o, n->value, n->count);
			}
			return;
		case NAME_VAR:
			if (n->var->space == MP_PTX_W_REGSPACE) {
				o->kind = MP_PTX_REG;
				o->reg = n->var->reg;
			} else {
				o->kind = MP_PTX_VAR;
				o->var = n->var;
			}
			return;
		case NAME_TABLE:
			o->kind = MP_PTX_TABLE;
			o->bits = n->value;
			return;
		case NAME_PROTO:
			o->kind = MP_PTX_PROTO;
			o->bits = n->value;
			return;
		default:
			break; /* a label: below */
		}
	}
	if (*name == '%') {
		int sreg = mp_ptx_sreg_find(name, len);

		if (sreg < 0) {
			scan_fail(s, "there is no register %.*s", (int)(len > 80 ? 80 : len), name);
			return;
		}
		o->kind = MP_PTX_SREG;
		o->bits = (uint64_t)sreg;
		comp = component(s);
		if (comp >= 0) {
			o->comp = (uint8_t) "xyzw"[comp];
			scan_next(s);
		} else if (s->tok.kind == TOK_DOT) {
			scan_fail(s, "a special register has no .%.*s", (int)(s->tok.len & 31), s->tok.s);
		}
		return;
	}
	if (insn->op == MP_PTX_OP_BRA || (n && n->kind == NAME_LABEL)) {
		o->kind = MP_PTX_LABEL;
		use_label(y, name, len, &o->bits, NULL);
		return;
	}
	o->var = mp_ptx_module_var(s->module, name, len);
	if (o->var) {
		o->kind = MP_PTX_VAR;
		return;
	}
	o->func = mp_ptx_module_func(s->module, name, len);
	if (o->func) {
		o->kind = MP_PTX_FUNC;
		return;
	}
	if (len == 7 && !memcmp(name, "WARP_SZ", 7)) {
		o->kind = MP_PTX_IMM;
		o->bits = 32;
		return;
	}
	if (insn->op == MP_PTX_OP_BRX || insn->op == MP_PTX_OP_CALL) {
		scan_fail(s, "there is no table or function %.*s", (int)(len > 80 ? 80 : len), name);
		return;
	}
	scan_fail(s, "there is no %.*s", (int)(len > 80 ? 80 : len), name);
}

static void operand(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn,
		    unsigned depth);

/* Operands up to `close`; the current token is after the opening mark. */
static void operand_list(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn,
			 char close, unsigned depth)
{
	struct mp_ptx_operand tmp[256];
	uint32_t n = 0;

	while (!y->s.failed && !scan_is(&y->s, close)) {
		if (n == MP_ARRAY_LEN(tmp)) {
			scan_fail(&y->s, "too many operands in a list");
			return;
		}
		operand(y, &tmp[n++], insn, depth + 1);
		if (!scan_accept(&y->s, ','))
			break;
	}
	scan_expect(&y->s, close);
	if (y->s.failed)
		return;
	o->elems = scan_alloc(&y->s, n ? n : 1, sizeof(*o->elems));
	if (!o->elems)
		return;
	memcpy(o->elems, tmp, n * sizeof(*tmp));
	o->nelems = (uint16_t)n;
	/* Label uses point at operands; none can be inside a list. */
}

/* [reg+imm], [var+imm], [imm], [obj, {..}, ..] (6.4.1) */
static void operand_address(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn,
			    unsigned depth)
{
	struct scan *s = &y->s;
	struct mp_ptx_operand first = {0};

	first.kind = MP_PTX_ADDR;
	first.reg = first.reg2 = MP_PTX_NOREG;
	if (s->tok.kind == TOK_IDENT) {
		struct mp_ptx_operand base = {0};

		base.reg = base.reg2 = MP_PTX_NOREG;
		operand_name(y, &base, insn);
		if (base.kind == MP_PTX_REG)
			first.reg = base.reg;
		else if (base.kind == MP_PTX_VAR)
			first.var = base.var;
		else if (base.kind == MP_PTX_FUNC)
			first.func = base.func;
		else
			scan_fail(s, "an address needs a register or a variable");
		while (scan_is(s, '+') || scan_is(s, '-')) {
			bool minus = scan_is(s, '-');
			struct constant c;

			if (!minus)
				scan_next(s);
			c = scan_constant(s);
			if (c.kind != TOK_INT)
				scan_fail(s, "an offset must be an integer");
			first.bits += c.bits;
		}
	} else {
		struct constant c = scan_constant(s);

		if (c.kind != TOK_INT)
			scan_fail(s, "an address must be an integer");
		first.bits = c.bits;
	}
	if (scan_accept(s, ',')) {
		struct mp_ptx_operand rest = {0}, *all;

		operand_list(y, &rest, insn, ']', depth);
		if (s->failed)
			return;
		all = scan_alloc(s, rest.nelems + 1u, sizeof(*all));
		if (!all)
			return;
		all[0] = first;
		memcpy(all + 1, rest.elems, rest.nelems * sizeof(*all));
		o->kind = MP_PTX_TEX;
		o->elems = all;
		o->nelems = (uint16_t)(rest.nelems + 1);
		return;
	}
	scan_expect(s, ']');
	*o = first;
}

/* p|q: the second destination, whose bar is next */
static void operand_second(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn)
{
	struct scan *s = &y->s;
	struct mp_ptx_operand second = {0};

	second.reg = MP_PTX_NOREG;
	scan_next(s);
	if (s->tok.kind == TOK_IDENT)
		operand_name(y, &second, insn);
	if (second.kind == MP_PTX_REG && second.reg != MP_PTX_NOREG)
		o->reg2 = second.reg;
	else if (second.kind != MP_PTX_SINK)
		scan_fail(s, "expected a register after '|'");
}

static void operand(struct body *y, struct mp_ptx_operand *o, const struct mp_ptx_insn *insn,
		    unsigned depth)
{
	struct scan *s = &y->s;
	struct constant c;

	memset(o, 0, sizeof(*o));
	o->reg = o->reg2 = MP_PTX_NOREG;
	if (depth > 4) {
		scan_fail(s, "operands are nested too deeply");
		return;
	}
	if (scan_accept(s, '{')) {
		o->kind = MP_PTX_VEC;
		operand_list(y, o, insn, '}', depth);
		if (scan_is(s, '|')) /* tex's second destination: {r, g, b, a}|p */
			operand_second(y, o, insn);
	} else if (scan_accept(s, '[')) {
		operand_address(y, o, insn, depth);
	} else if (insn->op == MP_PTX_OP_CALL && scan_is(s, '(')) {
		scan_next(s);
		o->kind = MP_PTX_LIST;
		operand_list(y, o, insn, ')', depth);
	} else if (s->tok.kind == TOK_IDENT) {
		operand_name(y, o, insn);
		if (o->kind == MP_PTX_VAR && (scan_is(s, '+') || scan_is(s, '-'))) {
			c = scan_constant(s);
			o->bits = c.bits;
		}
		/* setp's and shfl's second destination: p|q */
		if (scan_is(s, '|') && (o->kind == MP_PTX_REG || o->kind == MP_PTX_SINK))
			operand_second(y, o, insn);
	} else if (scan_is(s, '!') && (s->p < s->end && (*s->p == '%' || *s->p == '_' || (*s->p | 32) >= 'a'))) {
		scan_next(s);
		operand_name(y, o, insn);
		o->negated = true;
		if (o->kind != MP_PTX_REG)
			scan_fail(s, "expected a predicate after '!'");
	} else {
		c = scan_constant(s);
		o->kind = c.kind == TOK_F32 ? MP_PTX_F32 : c.kind == TOK_F64 ? MP_PTX_F64 : MP_PTX_IMM;
		o->bits = c.bits;
	}
}

/* ---- Instructions ---- */

static void insn_words(struct body *y, struct mp_ptx_insn *i)
{
	struct scan *s = &y->s;

	for (; s->tok.kind == TOK_DOT && !s->failed; scan_next(s)) {
		int w = mp_ptx_word_find(s->tok.s, s->tok.len);

		if (w < 0) {
			if (!i->unknown) {
				i->unknown = s->tok.s;
				i->unknown_len = s->tok.len;
			}
			continue;
		}
		if (i->nwords == MP_PTX_MAX_WORDS) {
			scan_fail(s, "an instruction has too many modifiers");
			return;
		}
		i->words[i->nwords++] = (uint16_t)w;
		i->set[w >> 6] |= 1ull << (w & 63);
		if (w < MP_PTX_TYPES_END) {
			if (i->ntypes == MP_ARRAY_LEN(i->types)) {
				scan_fail(s, "an instruction has too many types");
				return;
			}
			i->types[i->ntypes++] = (uint8_t)w;
		}
	}
}

static void insn_parse(struct body *y)
{
	struct scan *s = &y->s;
	struct mp_ptx_body *b = y->b;
	struct mp_ptx_operand *ops = NULL;
	struct mp_ptx_insn insn, *i = &insn;
	uint32_t n = 0, cap = 0;
	int op;

	memset(i, 0, sizeof(*i));
	i->guard = MP_PTX_NOREG;
	i->line = s->tok.line;
	i->at = s->tok.s;
	if (scan_accept(s, '@')) {
		struct mp_ptx_operand g = {0};

		i->guard_negated = scan_accept(s, '!');
		if (s->tok.kind == TOK_IDENT)
			operand_name(y, &g, i);
		if (g.kind != MP_PTX_REG || s->failed) {
			scan_fail(s, "expected a predicate after '@'");
			return;
		}
		i->guard = g.reg;
		if (b->regs[g.reg].type != MP_PTX_T_PRED) {
			scan_fail(s, "a guard must be a predicate");
			return;
		}
	}
	if (s->tok.kind != TOK_IDENT) {
		scan_fail(s, "expected an instruction before \"%.*s\"",
			  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
		return;
	}
	op = mp_ptx_op_find(s->tok.s, s->tok.len);
	i->op = (uint16_t)(op < 0 ? MP_PTX_OP_UNKNOWN : op);
	if (op < 0) {
		i->unknown = s->tok.s;
		i->unknown_len = s->tok.len;
	}
	scan_next(s);
	insn_words(y, i);
	while (!s->failed && !scan_is(s, ';')) {
		/* Labels point into the operand: 4 at once, and never move one that has a label. */
		if (n == cap) {
			struct mp_ptx_operand *more;

			if (n >= 16) {
				scan_fail(s, "an instruction has too many operands");
				return;
			}
			if (n && (i->op == MP_PTX_OP_BRA)) {
				scan_fail(s, "a branch has one target");
				return;
			}
			cap = cap ? 16 : i->op == MP_PTX_OP_BRA ? 1 : 5;
			more = scan_alloc(s, cap, sizeof(*more));
			if (!more)
				return;
			if (n)
				memcpy(more, ops, n * sizeof(*ops));
			ops = more;
		}
		operand(y, &ops[n++], i, 0);
		if (!scan_accept(s, ','))
			break;
	}
	i->text_len = (uint32_t)(s->failed ? 0 : s->tok.s - i->at);
	scan_expect(s, ';');
	if (s->failed || !grow(y, &b->insns, b->ninsns, &b->insns_cap, 1, sizeof(*b->insns)))
		return;
	i->ops = ops;
	i->nops = (uint8_t)n;
	b->insns[b->ninsns++] = *i;
}

static void directive(struct body *y)
{
	struct scan *s = &y->s;
	int w;

	while (scan_word_is(s, "extern") || scan_word_is(s, "weak") || scan_word_is(s, "visible"))
		scan_next(s);
	w = s->tok.kind == TOK_DOT ? mp_ptx_word_find(s->tok.s, s->tok.len) : -1;
	if (w == MP_PTX_W_REGSPACE)
		reg_parse(y);
	else if (w == MP_PTX_W_LOCAL || w == MP_PTX_W_SHARED || w == MP_PTX_W_PARAM ||
		 w == MP_PTX_W_GLOBAL || w == MP_PTX_W_CONST)
		body_vars_parse(y, (uint16_t)w);
	else if (scan_word_is(s, "loc") || scan_word_is(s, "file"))
		scan_skip_line(s);
	else if (scan_word_is(s, "pragma")) {
		while (!s->failed && !scan_is(s, ';') && s->tok.kind != TOK_END)
			scan_next(s);
		scan_expect(s, ';');
	} else {
		scan_fail(s, "unexpected \".%.*s\" in a function",
			  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
	}
}

static void statements(struct body *y)
{
	struct scan *s = &y->s;

	while (!s->failed) {
		if (s->tok.kind == TOK_END) {
			scan_fail(s, "a function has no end");
		} else if (scan_is(s, '{')) {
			if (y->depth >= MAX_SCOPE)
				scan_fail(s, "braces are nested too deeply");
			y->depth++;
			scan_next(s);
		} else if (scan_is(s, '}')) {
			scope_close(y);
			if (!y->depth)
				return;
			scan_next(s);
		} else if (s->tok.kind == TOK_DOT) {
			directive(y);
		} else if (scan_accept(s, ';')) {
			;
		} else if (s->tok.kind == TOK_IDENT && scan_peek(s) == ':' ) {
			const char *name = s->tok.s;
			uint32_t len = s->tok.len;

			scan_next(s);
			scan_next(s);
			if (scan_word_is(s, "branchtargets") || scan_word_is(s, "calltargets"))
				table_parse(y, name, len);
			else if (scan_word_is(s, "callprototype"))
				proto_parse(y, name, len);
			else
				label_add(y, name, len);
		} else {
			insn_parse(y);
		}
	}
}

static void params_declare(struct body *y, struct mp_ptx_var *vars, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n && !y->s.failed; i++) {
		struct mp_ptx_var *v = &vars[i];
		struct name *name;

		if (!v->name)
			continue;
		if (v->space == MP_PTX_W_REGSPACE) {
			uint32_t reg = regs_add(y, v->type, 1);

			assert(y->s.failed || reg == v->reg);
			(void)reg;
		}
		name = name_add(y, v->name, (uint32_t)strlen(v->name), NAME_VAR, i);
		if (name)
			name->var = v;
	}
}

enum mp_ptx_outcome mp_ptx_body_parse(struct mp_ptx_module *m, struct mp_ptx_func *f,
				      struct mp_ptx_body *b, struct mp_ptx_error *err)
{
	struct body y;
	size_t len = f->body_end - f->body_at;

	assert(f->has_body && f->body_end >= f->body_at);
	memset(b, 0, sizeof(*b));
	memset(&y, 0, sizeof(y));
	memset(err, 0, sizeof(*err));
	mp_arena_init(&b->arena, len * 200 + (64 << 20));
	b->func = f;
	y.b = b;
	scan_init(&y.s, m, &b->arena, f->body_at, f->body_end, f->body_line, err);
	y.depth = 1;
	params_declare(&y, f->rets, f->nrets);
	params_declare(&y, f->params, f->nparams);
	scan_expect(&y.s, '{');
	statements(&y);
	return y.s.no_memory ? MP_PTX_NO_MEMORY : y.s.failed ? MP_PTX_BAD : MP_PTX_OK;
}

void mp_ptx_body_fini(struct mp_ptx_body *b)
{
	mp_arena_fini(&b->arena);
}

void mp_ptx_insn_text(const struct mp_ptx_insn *i, char *buf, size_t size)
{
	size_t n = 0;
	uint32_t k;

	for (k = 0; k < i->text_len && n + 1 < size; k++) {
		char c = i->at[k];

		if (c == '\t' || c == '\n' || c == '\r')
			c = ' ';
		if (c == ' ' && n && buf[n - 1] == ' ')
			continue;
		buf[n++] = c;
	}
	if (size)
		buf[n] = 0;
}
