/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations become IR, and what is uniform, affine, live and pending where. */
#include "jit/plan.h"
#include "jit/seed.h"
#include "ptx/ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names of operations ---- */

struct words {
	char s[48];
	const char *w[8];
	unsigned n;
};

static void split(struct words *p, const char *name)
{
	char *at;

	snprintf(p->s, sizeof(p->s), "%s", name);
	p->n = 0;
	for (at = p->s; at && p->n < 8;) {
		char *dot = strchr(at, '.');

		if (dot)
			*dot = 0;
		p->w[p->n++] = at;
		at = dot ? dot + 1 : NULL;
	}
}

static bool has(const struct words *p, const char *w)
{
	unsigned i;

	for (i = 1; i < p->n; i++)
		if (!strcmp(p->w[i], w))
			return true;
	return false;
}

/* "32", "s64", "f32": the width of the last word, with its kind. */
static void last_type(const struct words *p, struct nat *n)
{
	const char *t = p->w[p->n - 1];
	char *end;

	if (*t == 'u' || *t == 's' || *t == 'f' || *t == 'b') {
		if (*t == 's')
			n->flags |= NF_SIGNED;
		if (*t == 'f')
			n->flags |= NF_FLOAT;
		t++;
	}
	n->bits = (uint8_t)strtoul(t, &end, 10);
	if (*end)
		n->bits = 0; /* pairs and the like */
}

static const char *const compares[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",	 "equ",
				       "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

static struct nat classify_float(const struct words *p, struct nat n)
{
	static const struct {
		const char *name;
		uint8_t code;
		bool f64, sat;
	} ops[] = {
		{"add", N_FADD, true, true},   {"sub", N_FSUB, true, true},   {"mul", N_FMUL, true, true},
		{"div", N_FDIV, true, true},   {"fma", N_FMA, true, true},    {"rcp", N_FRCP, true, false},
		{"sqrt", N_FSQRT, true, false}, {"rsqrt", N_FRSQRT, false, false}, {"min", N_FMIN, true, false},
		{"max", N_FMAX, true, false},  {"abs", N_FABS, true, false},  {"neg", N_FNEG, true, false},
		{"copysign", N_FCOPYSIGN, true, false},
	};
	size_t i;

	if (has(p, "dir") || has(p, "approx") || has(p, "relu") || has(p, "NaN") || has(p, "xorsign"))
		return n;
	if (has(p, "ftz"))
		n.flags |= NF_FTZ;
	if (has(p, "sat"))
		n.flags |= NF_SAT;
	for (i = 0; i < MP_ARRAY_LEN(ops); i++)
		if (!strcmp(p->w[0], ops[i].name) && (n.bits == 32 || ops[i].f64) &&
		    (ops[i].sat || !(n.flags & NF_SAT)))
			n.code = ops[i].code;
	return n;
}

static struct nat classify_cvt(const struct words *p, const struct mp_jit_op *o, struct nat n)
{
	n.flags = 0;
	if (p->n < 3 || has(p, "x"))
		return n;
	if (!strcmp(p->w[1], "rzi")) {
		n.code = !strcmp(p->w[2], "s32") && p->n == 4 ? N_FTOI : N_NONE;
		n.bits = p->n == 4 && !strcmp(p->w[3], "f64") ? 64 : 32;
	} else if (!strcmp(o->name, "cvt.rn.f32.f64")) {
		n.code = N_FTOF;
		n.bits = 64;
	} else if (!strcmp(p->w[1], "f64") && !strcmp(p->w[2], "f32")) {
		n.code = N_FTOF;
		n.bits = 32;
	} else if ((!strcmp(p->w[1], "f32") || !strcmp(p->w[1], "f64")) && !strcmp(p->w[1], p->w[2])) {
		n.code = o->x & 16 ? N_NONE : N_ROUND; /* .sat */
		n.bits = p->w[1][1] == '3' ? 32 : 64;
	} else if ((!strcmp(p->w[1], "f32") || !strcmp(p->w[1], "f64")) &&
		   (!strcmp(p->w[2], "s32") || !strcmp(p->w[2], "u32"))) {
		n.code = N_ITOF;
		n.bits = p->w[1][1] == '3' ? 32 : 64;
		n.flags = *p->w[2] == 's' ? NF_SIGNED : 0;
	} else if (strchr("ius", *p->w[1]) && strchr("ius", *p->w[2])) {
		if (p->n == 3)
			n.code = o->x ? N_NONE : N_ITOI;
	}
	return n;
}

static struct nat classify_int(const struct words *p, struct nat n)
{
	static const struct {
		const char *name;
		uint8_t code;
	} ops[] = {
		{"add", N_ADD},	  {"sub", N_SUB},   {"and", N_AND}, {"or", N_OR},     {"xor", N_XOR},
		{"not", N_NOT},	  {"cnot", N_CNOT}, {"neg", N_NEG}, {"abs", N_ABS},   {"min", N_MIN},
		{"max", N_MAX},	  {"shl", N_SHL},   {"shr", N_SHR}, {"div", N_DIV},   {"rem", N_REM},
		{"sad", N_SAD},	  {"popc", N_POPC}, {"clz", N_CLZ}, {"brev", N_BREV}, {"bfe", N_BFE},
		{"bfi", N_BFI},	  {"selp", N_SELP},
	};
	size_t i;

	if (has(p, "sat") || has(p, "cc") || has(p, "relu"))
		return n;
	if ((!strcmp(p->w[0], "mul") || !strcmp(p->w[0], "mad")) && p->n == 3) {
		bool mad = p->w[0][1] == 'a';

		if (!strcmp(p->w[1], "lo"))
			n.code = mad ? N_MAD : N_MUL;
		else if (!strcmp(p->w[1], "hi") && n.bits <= 32)
			n.code = mad ? N_MADHI : N_MULHI;
		else if (!strcmp(p->w[1], "wide") && n.bits <= 32)
			n.code = mad ? N_MADWIDE : N_MULWIDE;
		return n;
	}
	if (p->n != 2)
		return n;
	for (i = 0; i < MP_ARRAY_LEN(ops); i++)
		if (!strcmp(p->w[0], ops[i].name))
			n.code = ops[i].code;
	if ((n.code == N_BFE || n.code == N_BFI) && n.bits != 32)
		n.code = N_NONE;
	return n;
}

static struct nat classify_memory(const struct words *p, const struct mp_jit_op *o, struct nat n)
{
	n.code = *p->w[0] == 'l' ? N_LD : N_ST;
	n.flags = 0;
	n.bits = (uint8_t)(o->size * 8);
	n.sub = !strcmp(p->w[1], "shared") ? SPACE_SHARED : !strcmp(p->w[1], "param") ? SPACE_PARAM : SPACE_GENERIC;
	if (!strcmp(p->w[1], "local") || (o->x & 1) || o->size > 8 || o->ext[1] > 8 || o->n > 4 ||
	    (n.sub == SPACE_PARAM && o->a != MP_JIT_NONE))
		n.code = N_NONE;
	return n;
}

/* The rest (clocks, masks, envreg) is what the first tier says. */
static bool sreg_known(uint32_t s)
{
	return s == MP_PTX_S_TID || s == MP_PTX_S_LANEID || s == MP_PTX_S_NTID || s == MP_PTX_S_CTAID ||
	       s == MP_PTX_S_NCTAID || s == MP_PTX_S_WARPID;
}

static struct nat classify(const struct mp_jit_op *o)
{
	struct nat n = {0};
	struct words p;
	size_t i;

	if (!o->name)
		return n;
	split(&p, o->name);
	last_type(&p, &n);
	if (!strcmp(p.w[0], "mov")) {
		n.code = !strcmp(o->name, "mov.pred")	  ? N_MOVPRED
			 : !strcmp(o->name, "mov.sreg")	  ? sreg_known(o->x) ? N_SREG : N_NONE
			 : p.n == 3			  ? N_IMM /* mov.local: the entry's memory begins at 0 */
			 : n.bits >= 16 && n.bits <= 64 ? N_MOV
							  : N_NONE;
	} else if (!strcmp(o->name, "not.pred")) {
		n.code = N_NOTPRED;
	} else if (!strcmp(o->name, "and.pred")) {
		n.code = N_ANDPRED;
	} else if (!strcmp(o->name, "or.pred")) {
		n.code = N_ORPRED;
	} else if (!strcmp(o->name, "xor.pred")) {
		n.code = N_XORPRED;
	} else if (!strcmp(o->name, "cvta.64")) {
		n.code = N_CVTA;
	} else if (!strcmp(o->name, "cvta.to.64")) {
		n.code = N_CVTATO;
	} else if (!strcmp(o->name, "nop")) {
		n.code = N_NOP;
	} else if (!strcmp(o->name, "pack") || !strcmp(o->name, "unpack")) {
		if (o->ext[1] <= 8 && o->size >= 2)
			n.code = *p.w[0] == 'p' ? N_PACK : N_UNPACK;
	} else if (!strcmp(o->name, "shfl")) {
		if ((o->b & MP_JIT_CONST) && (o->c & MP_JIT_CONST))
			n.code = N_SHFL;
	} else if (!strcmp(p.w[0], "vote")) {
		n.code = N_VOTE;
		n.sub = (uint8_t)p.w[1][1]; /* (b)a(llot) (a)l(l) (a)n(y) (u)n(i) */
		if (*p.w[1] == 'u')
			n.sub = 'u';
	} else if (!strcmp(o->name, "lop3.b32")) {
		n.code = N_LOP3;
	} else if (!strcmp(o->name, "prmt.b32")) {
		n.code = o->c & MP_JIT_CONST ? N_PRMT : N_NONE;
	} else if (!strcmp(p.w[0], "shf")) {
		n.code = N_SHF;
		n.bits = 32;
		n.flags = (*p.w[1] == 'l' ? NF_LEFT : 0) | (*p.w[2] == 'c' ? NF_CLAMP : 0);
	} else if (!strcmp(p.w[0], "ld") || !strcmp(p.w[0], "st")) {
		n = classify_memory(&p, o, n);
	} else if (!strcmp(p.w[0], "cvt")) {
		n = classify_cvt(&p, o, n);
	} else if (!strcmp(p.w[0], "setp")) {
		if (has(&p, "ftz"))
			n.flags |= NF_FTZ;
		for (i = 0; i < MP_ARRAY_LEN(compares); i++)
			if (!strcmp(p.w[1], compares[i])) {
				n.code = N_SETP;
				n.sub = (uint8_t)i;
			}
		if (!(n.bits == 16 || n.bits == 32 || n.bits == 64) || ((n.flags & NF_FLOAT) && n.bits == 16))
			n.code = N_NONE;
	} else if ((n.flags & NF_FLOAT) && (n.bits == 32 || n.bits == 64)) {
		n = classify_float(&p, n);
	} else if (!(n.flags & NF_FLOAT) && (n.bits == 16 || n.bits == 32 || n.bits == 64)) {
		n = classify_int(&p, n);
	}
	return n;
}

/* ---- Operands ---- */

uint64_t plan_const(const struct plan *p, uint32_t slot)
{
	uint64_t v;

	assert(slot & MP_JIT_CONST);
	memcpy(&v, p->k->pool + (slot & ~MP_JIT_CONST), 8);
	return v;
}

struct cls plan_operand(const struct plan *p, uint32_t slot)
{
	if ((slot & MP_JIT_CONST) || slot == MP_JIT_NONE)
		return (struct cls){UNI, 0};
	return p->cls[slot / 4];
}

static bool constant(uint32_t slot, const struct plan *p, unsigned bits, int64_t *v)
{
	if (!(slot & MP_JIT_CONST))
		return false;
	if (plan_const(p, slot) - p->k->data < p->k->data_bytes)
		return false; /* not a number: it moves */
	*v = (int64_t)plan_const(p, slot);
	if (bits < 64)
		*v = (int64_t)((uint64_t)*v << (64 - bits)) >> (64 - bits);
	return true;
}

static struct cls varying(void)
{
	return (struct cls){VAR, 0};
}

static struct cls affine(const struct plan *p, int64_t stride)
{
	if (!stride && p->ngroups == 1)
		return (struct cls){UNI, 0};
	return (struct cls){AFF, stride};
}

/* `positive`: the constant is unsigned and widened, so one with the top bit set is not what it seems. */
static struct cls product(const struct plan *p, const struct mp_jit_op *o, unsigned bits, bool positive, struct cls a,
			  struct cls b)
{
	int64_t v, s;

	if (b.shape == AFF && b.stride && constant(o->a, p, bits, &v) && !(positive && v < 0) &&
	    !__builtin_mul_overflow(b.stride, v, &s))
		return affine(p, s);
	if (a.shape == AFF && a.stride && constant(o->b, p, bits, &v) && !(positive && v < 0) &&
	    !__builtin_mul_overflow(a.stride, v, &s))
		return affine(p, SEEDED(STRIDE_SIGN) ? -s : s);
	return varying();
}

static struct cls sum(const struct plan *p, struct cls a, struct cls b, bool minus)
{
	int64_t s;

	if (a.shape == VAR || b.shape == VAR ||
	    (minus ? __builtin_sub_overflow(a.stride, b.stride, &s) : __builtin_add_overflow(a.stride, b.stride, &s)) ||
	    s > INT32_MAX || s < INT32_MIN)
		return varying();
	return affine(p, s);
}

static bool pure(uint8_t code)
{
	return (code >= N_ADD && code <= N_SETP) || (code >= N_CVTA && code <= N_PRMT) || code == N_PACK ||
	       code == N_UNPACK;
}

/* Sources of a pure operation, for the join. */
static unsigned sources(const struct mp_jit_op *o, const struct nat *n, uint32_t *out)
{
	unsigned i;

	switch (n->code) {
	case N_MAD: case N_MADHI: case N_MADWIDE: case N_FMA: case N_SELP: case N_BFE: case N_SHF: case N_SAD:
	case N_LOP3: case N_PRMT:
		out[0] = o->a, out[1] = o->b, out[2] = o->c;
		return 3;
	case N_BFI:
		out[0] = o->a, out[1] = o->b, out[2] = o->c, out[3] = o->e;
		return 4;
	case N_SETP:
		out[0] = o->a, out[1] = o->b, out[2] = o->c;
		return o->x & 3 ? 3 : 2;
	case N_NOT: case N_CNOT: case N_NEG: case N_ABS: case N_MOV: case N_MOVPRED: case N_NOTPRED: case N_CVTA:
	case N_CVTATO: case N_FRCP: case N_FSQRT: case N_FRSQRT: case N_FABS: case N_FNEG: case N_ITOI: case N_ITOF:
	case N_FTOI: case N_FTOF: case N_ROUND: case N_POPC: case N_CLZ: case N_BREV: case N_UNPACK:
		out[0] = o->a;
		return 1;
	case N_PACK:
		for (i = 0; i < o->n && i < 4; i++)
			out[i] = o->ext[3 + i];
		return i;
	default:
		out[0] = o->a, out[1] = o->b;
		return 2;
	}
}

static struct cls class_sreg(const struct plan *p, const struct mp_jit_op *o)
{
	switch (o->x) {
	case MP_PTX_S_TID:
		if (p->group == 1 || o->n == 'w')
			return o->n == 'w' ? (struct cls){UNI, 0} : varying();
		return affine(p, o->n == 'x' || !o->n ? 1 : 0);
	case MP_PTX_S_LANEID:
		return p->group == 1 ? varying() : affine(p, 1);
	case MP_PTX_S_NTID: case MP_PTX_S_CTAID: case MP_PTX_S_NCTAID: case MP_PTX_S_WARPID:
		return (struct cls){UNI, 0};
	}
	return varying();
}

struct cls plan_class(const struct plan *p, const struct mp_jit_op *o, const struct nat *n)
{
	struct cls c[4], all = {UNI, 0};
	uint32_t src[4];
	unsigned ns, i;
	bool flat = true; /* uniform, or equal within groups */

	switch (n->code) {
	case N_NONE: case N_SHFL:
		return varying();
	case N_SREG:
		return class_sreg(p, o);
	case N_IMM:
		return all;
	case N_VOTE:
		return all;
	case N_LD:
		c[0] = plan_operand(p, o->a);
		if (c[0].shape == UNI || c[0].shape == UNSEEN)
			return c[0];
		return c[0].shape == AFF && !c[0].stride ? affine(p, 0) : varying();
	}
	if (!pure(n->code))
		return varying();
	ns = sources(o, n, src);
	for (i = 0; i < ns; i++) {
		c[i] = plan_operand(p, src[i]);
		if (c[i].shape > all.shape)
			all.shape = c[i].shape;
		if (c[i].shape == VAR || c[i].stride)
			flat = false;
	}
	if (all.shape != AFF)
		return all;
	if (flat) /* predicates have no groups */
		return n->code == N_SETP ? varying() : affine(p, 0);
	switch (n->code) {
	case N_MOV: case N_CVTA: case N_CVTATO:
		return n->bits == 16 ? varying() : c[0];
	case N_ADD: case N_SUB:
		return n->bits == 16 ? varying() : sum(p, c[0], c[1], n->code == N_SUB);
	case N_NEG:
		return n->bits == 16 ? varying() : sum(p, (struct cls){UNI, 0}, c[0], true);
	case N_MUL:
		return n->bits == 16 ? varying() : sum(p, (struct cls){UNI, 0}, product(p, o, n->bits, false, c[0], c[1]), false);
	case N_MAD:
		if (n->bits == 16)
			return varying();
		if (!(c[0].shape == AFF && c[0].stride) && !(c[1].shape == AFF && c[1].stride))
			return sum(p, (struct cls){c[0].shape > c[1].shape ? c[0].shape : c[1].shape, 0}, c[2], false);
		return sum(p, product(p, o, n->bits, false, c[0], c[1]), c[2], false);
	case N_MULWIDE:
		if (n->bits == 16)
			return varying();
		return sum(p, all, product(p, o, 32, !(n->flags & NF_SIGNED), c[0], c[1]), false);
	case N_MADWIDE:
		if (n->bits == 16)
			return varying();
		if (!(c[0].shape == AFF && c[0].stride) && !(c[1].shape == AFF && c[1].stride))
			return sum(p, (struct cls){c[0].shape > c[1].shape ? c[0].shape : c[1].shape, 0}, c[2], false);
		return sum(p, product(p, o, 32, !(n->flags & NF_SIGNED), c[0], c[1]), c[2], false);
	case N_SHL: {
		int64_t v;

		if (n->bits == 16 || !constant(o->b, p, 32, &v) || v < 0 || v > 30)
			return varying();
		if (c[0].stride > INT32_MAX >> v || c[0].stride < INT32_MIN >> v)
			return varying();
		return affine(p, c[0].stride * (1ll << v));
	}
	case N_ITOI: {
		unsigned st = o->e >> 8, dt = o->e & 255;

		/* words widened, with a guard, or double words cut */
		if (o->x || !((st == MP_PTX_T_S32 || st == MP_PTX_T_U32 || st == MP_PTX_T_S64 ||
			       st == MP_PTX_T_U64) && (dt == MP_PTX_T_S32 || dt == MP_PTX_T_U32 ||
							  dt == MP_PTX_T_S64 || dt == MP_PTX_T_U64)))
			return varying();
		if (o->n == 4 && (o->size == 4 || (o->size == 8 && (dt == MP_PTX_T_S64 || dt == MP_PTX_T_U64))))
			return c[0];
		if (o->n == 8 && o->size == 4)
			return c[0];
		if (o->n == 8 && o->size == 8 && (st == MP_PTX_T_S64 || st == MP_PTX_T_U64) &&
		    (dt == MP_PTX_T_S64 || dt == MP_PTX_T_U64))
			return c[0];
		return varying();
	}
	}
	return varying();
}

/* ---- Definitions ---- */

typedef void (*def_fn)(struct plan *p, const struct mp_jit_op *o, const struct nat *n, uint32_t reg, void *arg);

static void each_def(struct plan *p, const struct mp_jit_op *o, const struct nat *n, def_fn fn, void *arg)
{
	unsigned i;

	switch (n->code) {
	case N_LD: case N_UNPACK:
		for (i = 0; i < o->n; i++)
			if (o->ext[3 + i] != MP_JIT_NONE)
				fn(p, o, n, o->ext[3 + i] / 4, arg);
		return;
	case N_ST: case N_NOP: case N_NONE:
		return;
	case N_SETP: case N_SHFL:
		if (o->d != MP_JIT_NONE)
			fn(p, o, n, o->d / 4, arg);
		if (o->d2 != MP_JIT_NONE)
			fn(p, o, n, o->d2 / 4, arg);
		return;
	default:
		fn(p, o, n, o->d / 4, arg);
	}
}

/* ---- Groups: the operations of one instruction ---- */

static bool memory(uint8_t code)
{
	return code == N_LD || code == N_ST;
}

/* An access is native by itself only: its handler may be called for it. */
static bool groups_make(struct plan *p)
{
	const struct mp_jit_kernel *k = p->k;
	uint32_t b, i, n = 0;

	p->groups = mp_arena_array(&p->arena, k->nops + 1, sizeof(*p->groups));
	p->group_at = mp_arena_array(&p->arena, k->nblocks + 1, sizeof(*p->group_at));
	if (!p->groups || !p->group_at)
		return false;
	for (b = 0; b < k->nblocks; b++) {
		const struct mp_jit_block *bb = &k->blocks[b];

		p->group_at[b] = n;
		for (i = bb->first; i < bb->first + bb->n; i++) {
			struct group *g = &p->groups[n];
			bool native = p->nat[i].code != N_NONE && k->ops[i].kind != MP_JIT_BAR;

			if (i > bb->first && g[-1].insn == k->ops[i].insn && n > p->group_at[b] &&
			    k->ops[i].kind == MP_JIT_PLAIN) {
				g[-1].n++;
				g[-1].native = g[-1].native && native && !memory(p->nat[i].code) &&
					       !memory(p->nat[g[-1].first].code);
				continue;
			}
			*g = (struct group){i, 1, k->ops[i].insn, native};
			n++;
		}
	}
	p->group_at[b] = n;
	return true;
}

/* ---- Liveness ---- */

static void set_reads(const struct plan *p, uint32_t insn, uint64_t *set)
{
	const struct mp_jit_insn *in = &p->k->insns[insn];
	uint32_t i;

	for (i = 0; i < in->nreads && !(SEEDED(LIVE_LOST) && i); i++)
		bit_set(set, p->k->uses[in->reads + i]);
}

static void unset_writes(const struct plan *p, uint32_t insn, uint64_t *set)
{
	const struct mp_jit_insn *in = &p->k->insns[insn];
	uint32_t i;

	for (i = 0; in->kills && i < in->nwrites; i++) {
		uint32_t r = p->k->uses[in->writes + i];

		set[r >> 6] &= ~(1ull << (r & 63));
	}
}

static void terminator_live(const struct plan *p, uint32_t b, uint64_t *set)
{
	const struct mp_jit_op *t = terminator(p, b);

	if (t->kind == MP_JIT_EXTERNAL) {
		unset_writes(p, t->insn, set);
		set_reads(p, t->insn, set);
	}
	if (t->guard != MP_JIT_NONE)
		bit_set(set, t->guard / 4);
	if (t->kind == MP_JIT_BRX && !(t->a & MP_JIT_CONST))
		bit_set(set, t->a / 4);
}

void plan_live_before(const struct plan *p, uint32_t b, uint32_t g, uint64_t *set)
{
	uint32_t i;

	memcpy(set, p->live_out + (size_t)b * p->words, p->words * 8);
	terminator_live(p, b, set);
	for (i = p->group_at[b + 1]; i-- > g;) {
		unset_writes(p, p->groups[i].insn, set);
		set_reads(p, p->groups[i].insn, set);
	}
}

uint32_t plan_successors(const struct plan *p, uint32_t b, uint32_t *out, uint32_t max, bool *split_)
{
	const struct mp_jit_block *bb = &p->k->blocks[b];
	const struct mp_jit_op *t = terminator(p, b);
	bool guarded = t->guard != MP_JIT_NONE;
	bool varies = guarded && plan_operand(p, t->guard).shape != UNI;
	uint32_t n = 0, i;

	*split_ = false;
	switch (t->kind) {
	case MP_JIT_BRA:
		out[n++] = bb->target;
		if (bb->next != bb->target)
			out[n++] = bb->next;
		*split_ = varies && n > 1;
		break;
	case MP_JIT_BRX:
		for (i = 0; i < t->x && n + 1 < max; i++)
			out[n++] = t->ext[i];
		if (guarded)
			out[n++] = bb->next;
		*split_ = varies || plan_operand(p, t->a).shape != UNI;
		break;
	case MP_JIT_EXIT:
		if (guarded)
			out[n++] = bb->next;
		break;
	case MP_JIT_TRAP:
		break;
	default:
		out[n++] = bb->next;
	}
	return n;
}

#define MAX_SUCC 1024

static bool liveness(struct plan *p)
{
	const struct mp_jit_kernel *k = p->k;
	uint32_t *succ = mp_arena_array(&p->arena, MAX_SUCC, sizeof(*succ));
	uint64_t *set = mp_arena_array(&p->arena, p->words, 8);
	bool changed = true, sp;
	uint32_t i, n, w;

	if (!succ || !set)
		return false;
	while (changed) {
		uint32_t b;

		changed = false;
		for (b = k->nblocks; b-- > 0;) {
			uint64_t *out = p->live_out + (size_t)b * p->words, *in = p->live_in + (size_t)b * p->words;

			n = plan_successors(p, b, succ, MAX_SUCC, &sp);
			for (i = 0; i < n; i++)
				for (w = 0; w < p->words; w++)
					out[w] |= p->live_in[(size_t)succ[i] * p->words + w];
			plan_live_before(p, b, p->group_at[b], set);
			for (w = 0; w < p->words; w++) {
				changed |= set[w] != in[w];
				in[w] = set[w];
			}
		}
	}
	return true;
}

/* ---- Pending blocks and classes, together: each makes the other grow ---- */

bool plan_keeps(const struct plan *p, uint32_t b, uint32_t r)
{
	const uint64_t *s = p->pending + (size_t)b * p->bwords;
	uint32_t w;

	if (p->k->regs[r].temp)
		return false;
	for (w = 0; w < p->bwords; w++) {
		uint64_t m = s[w];

		for (; m; m &= m - 1)
			if (bit(p->live_in + (size_t)(w * 64 + (uint32_t)__builtin_ctzll(m)) * p->words, r))
				return true;
	}
	return false;
}

struct flow_arg {
	bool changed;
	uint32_t block;
};

static void def_class(struct plan *p, const struct mp_jit_op *o, const struct nat *n, uint32_t r, void *arg)
{
	struct flow_arg *f = arg;
	struct cls c = plan_class(p, o, n), *was = &p->cls[r];

	if (o->guard != MP_JIT_NONE && plan_operand(p, o->guard).shape != UNI)
		c = varying();
	if (was->shape == VAR || c.shape == UNSEEN)
		return;
	if (plan_keeps(p, f->block, r))
		c = varying();
	if (!p->k->regs[r].size && c.shape == AFF)
		c = varying();
	if (was->shape == UNSEEN) { /* the first definition */
		*was = c;
		f->changed = true;
		return;
	}
	if (c.shape == was->shape && c.stride == was->stride)
		return;
	if (c.shape == VAR || c.stride != was->stride) {
		*was = varying();
		f->changed = true;
	} else if (c.shape > was->shape) {
		*was = c;
		f->changed = true;
	}
}

static bool pending_grow(struct plan *p, uint32_t b, const uint32_t *outs, uint32_t n, uint64_t *set)
{
	const uint64_t *s = p->pending + (size_t)b * p->bwords;
	bool changed = false;
	uint32_t w, i;

	memcpy(set, s, p->bwords * 8);
	for (i = 0; i < n; i++)
		bit_set(set, outs[i]);
	for (w = 0; w < p->bwords; w++) {
		uint64_t m = set[w];

		for (; m; m &= m - 1) {
			uint32_t c = w * 64 + (uint32_t)__builtin_ctzll(m), v;
			uint64_t *to = p->pending + (size_t)c * p->bwords;

			for (v = w; v < p->bwords; v++) {
				uint64_t more = set[v];

				if (v == w)
					more &= (c & 63) == 63 ? 0 : ~0ull << ((c & 63) + 1);
				changed |= (more & ~to[v]) != 0;
				to[v] |= more;
			}
		}
	}
	return changed;
}

static bool flow_step(struct plan *p, uint32_t *succ, uint64_t *set)
{
	const struct mp_jit_kernel *k = p->k;
	struct flow_arg f = {0};
	uint32_t b, g, i, n;
	bool split_;

	for (b = 0; b < k->nblocks; b++) {
		f.block = b;
		for (g = p->group_at[b]; g < p->group_at[b + 1]; g++) {
			const struct group *gr = &p->groups[g];

			if (gr->native) {
				for (i = gr->first; i < gr->first + gr->n; i++)
					each_def(p, &k->ops[i], &p->nat[i], def_class, &f);
				continue;
			}
			for (i = 0; i < k->insns[gr->insn].nwrites; i++) {
				struct cls *c = &p->cls[k->uses[k->insns[gr->insn].writes + i]];

				f.changed |= c->shape != VAR;
				*c = varying();
			}
		}
		if (terminator(p, b)->kind == MP_JIT_EXTERNAL)
			for (i = 0; i < k->insns[terminator(p, b)->insn].nwrites; i++) {
				struct cls *c = &p->cls[k->uses[k->insns[terminator(p, b)->insn].writes + i]];

				f.changed |= c->shape != VAR;
				*c = varying();
			}
		n = plan_successors(p, b, succ, MAX_SUCC, &split_);
		if (split_) {
			p->diverges = true;
			f.changed |= pending_grow(p, b, succ, n, set);
		} else {
			for (i = 0; i < n; i++)
				f.changed |= pending_grow(p, b, succ + i, 1, set);
			if (!n)
				f.changed |= pending_grow(p, b, succ, 0, set);
		}
	}
	return f.changed;
}

/* Where a canonical NaN matters: a register all of whose values come from arithmetic. */
struct dirty_arg {
	bool changed;
	bool *some;
};

static bool raw_result(const struct nat *n)
{
	if (n->flags & NF_SAT)
		return false;
	switch (n->code) {
	case N_FADD: case N_FSUB: case N_FMUL: case N_FDIV: case N_FMA: case N_FRCP: case N_FSQRT: case N_FRSQRT:
		return n->bits == 32;
	case N_FTOF:
		return n->bits == 64;
	}
	return false;
}

static bool source_dirty(const struct plan *p, uint32_t slot, bool *arith)
{
	if (slot & MP_JIT_CONST)
		return ((uint32_t)plan_const(p, slot) & 0x7fffffffu) <= 0x7f800000u;
	*arith |= p->dirty[slot / 4];
	return p->dirty[slot / 4];
}

static void def_dirty(struct plan *p, const struct mp_jit_op *o, const struct nat *n, uint32_t r, void *arg)
{
	struct dirty_arg *d = arg;
	bool ok = raw_result(n), arith = ok;

	if (n->code == N_MOV && n->bits == 32)
		ok = source_dirty(p, o->a, &arith);
	else if (n->code == N_SELP && n->bits == 32)
		ok = source_dirty(p, o->a, &arith) & source_dirty(p, o->b, &arith);
	if (p->dirty[r] && !ok && !SEEDED(CLEAN_NAN)) {
		p->dirty[r] = false;
		d->changed = true;
	}
	if (arith)
		d->some[r] = true;
}

static bool dirty_find(struct plan *p)
{
	const struct mp_jit_kernel *k = p->k;
	struct dirty_arg d = {.changed = true};
	uint32_t g, i;

	d.some = mp_arena_array(&p->arena, k->nregs + 1, sizeof(*d.some));
	if (!d.some)
		return false;
	for (i = 0; i < k->nregs; i++)
		p->dirty[i] = k->regs[i].size == 4;
	while (d.changed) {
		d.changed = false;
		for (g = 0; g < p->group_at[k->nblocks]; g++) {
			const struct group *gr = &p->groups[g];

			if (gr->native) {
				for (i = gr->first; i < gr->first + gr->n; i++)
					each_def(p, &k->ops[i], &p->nat[i], def_dirty, &d);
				continue;
			}
			for (i = 0; i < k->insns[gr->insn].nwrites; i++) {
				uint32_t r = k->uses[k->insns[gr->insn].writes + i];

				d.changed |= p->dirty[r];
				p->dirty[r] = false;
			}
		}
	}
	for (i = 0; i < k->nregs; i++)
		p->dirty[i] = p->dirty[i] && d.some[i];
	return true;
}

/* What the first tier counts as spinning, and all that might be. */
static bool spins(const struct plan *p)
{
	static const char *const names[] = {"atom", "red", "mbarrier", "ld.", "cp."};
	uint32_t i, k;

	for (i = 0; i < p->k->nops; i++) {
		const struct mp_jit_op *o = &p->k->ops[i];

		if (p->nat[i].code == N_LD && !(o->x & 2))
			continue;
		for (k = 0; o->name && k < MP_ARRAY_LEN(names); k++)
			if (!strncmp(o->name, names[k], strlen(names[k])))
				return true;
	}
	return false;
}

static void loops_find(struct plan *p, uint32_t *succ)
{
	uint32_t b, i, n, x;
	bool sp;

	for (b = 0; b < p->k->nblocks; b++) {
		n = plan_successors(p, b, succ, MAX_SUCC, &sp);
		for (i = 0; i < n; i++)
			for (x = succ[i]; x <= b; x++)
				p->in_loop[x] = p->waits = true;
		if (terminator(p, b)->kind == MP_JIT_YIELD || (p->k->blocks[b].n &&
		    p->k->ops[p->k->blocks[b].first].kind == MP_JIT_BAR))
			p->waits = true;
	}
}

static bool carried(struct plan *p, char *why, size_t why_size)
{
	const struct mp_jit_kernel *k = p->k;
	uint32_t b, i;

	for (b = 0; b < k->nblocks; b++)
		if (terminator(p, b)->kind == MP_JIT_BRX && terminator(p, b)->x > MAX_SUCC - 2) {
			snprintf(why, why_size, "a branch with %u targets", terminator(p, b)->x);
			return false;
		}
	for (i = 0; i < k->nregs; i++)
		if (k->regs[i].size > 8) {
			snprintf(why, why_size, "registers of 128 bits");
			return false;
		}
	if ((uint64_t)k->nblocks * (k->nregs + k->nblocks) > 1ull << 31) {
		snprintf(why, why_size, "%u blocks and %u registers", k->nblocks, k->nregs);
		return false;
	}
	return true;
}

bool plan_make(struct plan *p, const struct mp_jit_kernel *k, unsigned group, char *why, size_t why_size)
{
	uint32_t *succ, i;
	uint64_t *set;

	memset(p, 0, sizeof(*p));
	mp_arena_init(&p->arena, 2ull << 30);
	p->k = k;
	p->group = group;
	p->ngroups = MP_JIT_LANES / group;
	if (!carried(p, why, why_size))
		return false;
	snprintf(why, why_size, "no memory");
	p->words = (k->nregs + 63) / 64;
	p->bwords = (k->nblocks + 63) / 64;
	p->nat = mp_arena_array(&p->arena, k->nops + 1, sizeof(*p->nat));
	p->cls = mp_arena_array(&p->arena, k->nregs + 1, sizeof(*p->cls));
	p->dirty = mp_arena_array(&p->arena, k->nregs + 1, sizeof(*p->dirty));
	p->in_loop = mp_arena_array(&p->arena, k->nblocks + 1, sizeof(*p->in_loop));
	p->live_in = mp_arena_array(&p->arena, (size_t)k->nblocks * p->words + 1, 8);
	p->live_out = mp_arena_array(&p->arena, (size_t)k->nblocks * p->words + 1, 8);
	p->pending = mp_arena_array(&p->arena, (size_t)k->nblocks * p->bwords + 1, 8);
	succ = mp_arena_array(&p->arena, MAX_SUCC, sizeof(*succ));
	set = mp_arena_array(&p->arena, p->bwords + 1, 8);
	if (!p->nat || !p->cls || !p->dirty || !p->in_loop || !p->live_in || !p->live_out || !p->pending ||
	    !succ || !set)
		return false;
	for (i = 0; i < k->nops; i++)
		p->nat[i] = classify(&k->ops[i]);
	for (i = 0; i < k->nregs; i++)
		p->cls[i].shape = UNSEEN;
	if (!groups_make(p) || !liveness(p))
		return false;
	while (flow_step(p, succ, set))
		;
	for (i = 0; i < k->nregs; i++)
		if (p->cls[i].shape == UNSEEN)
			p->cls[i] = varying(); /* never written */
	while (flow_step(p, succ, set))
		;
	loops_find(p, succ);
	p->spins = spins(p);
	return dirty_find(p);
}

void plan_fini(struct plan *p)
{
	mp_arena_fini(&p->arena);
}
