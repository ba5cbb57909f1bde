/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random PTX programs for exec's tests.  A program draws a few themes (kinds of
 * registers, memories and operations), a shape of control flow (a graph of
 * blocks with any edges, or nested ifs and loops) and a shape of block.
 * Registers are a mix of uniform, affine and varying ones, so that each shape
 * that compiled code knows is met in each place.  What every thread leaves
 * depends on nothing that the schedule may choose.
 */
#ifndef MP_EXEC_TEST_PROGRAM_H
#define MP_EXEC_TEST_PROGRAM_H

#include "exec/test-run.h"

#define BLOCKS       2
#define THREADS_MAX  128
#define WORDS        32 /* that a thread leaves */
#define INPUT        1024
#define PAIRS        (THREADS_MAX * BLOCKS * WORDS) /* words before what pairs and quadruples leave */
#define CELLS        (PAIRS + 6 * THREADS_MAX * BLOCKS) /* and before the cells that all add to */
#define TOTAL        (CELLS + 16)
#define WORD_DOUBLES 20 /* the words of a thread that hold doubles, whose NaNs have any bits: 4 */

enum theme {
	T_WIDE = 1,
	T_FLOAT = 2,
	T_DOUBLE = 4,
	T_HALF = 8,
	T_NARROW = 16,
	T_SHARED = 32,
	T_LOCAL = 64,
	T_LOAD = 128,
	T_STORE = 256,
	T_ATOM = 512,
	T_TOGETHER = 1024,
	T_BITS = 2048,
	T_DIVIDE = 4096,
	T_CARRY = 8192,
	T_MATH = 16384,
	T_PREDICATE = 32768,
	T_ALL = 65535,
};

struct program_text {
	char s[65536];
	size_t n;
	uint32_t themes, threads, block[3];
	bool same_way;     /* all threads take the same way: barriers are allowed anywhere */
	bool whole_warps;  /* shuffles have all their lanes */
	bool warp_matters; /* it says which lane it is, or does something with other lanes */
	bool graph;
	uint32_t depth, labels, loops;
	bool top; /* structured: here all threads are together */
};

static uint64_t roll_state;

static uint32_t roll(uint32_t n)
{
	roll_state = roll_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(roll_state >> 33) % n;
}

__attribute__((format(printf, 2, 3))) static void put(struct program_text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
	if (t->n >= sizeof(t->s))
		abort();
}

#define PICK(list) list[roll(MP_ARRAY_LEN(list))]

static void guard(struct program_text *t)
{
	if (!roll(4))
		put(t, "@%s%%p%u ", roll(2) ? "!" : "", roll(4));
}

static const char *word(void)
{
	static const char *const edges[] = {"-1",         "31",  "32", "33", "0x80000000",
					    "0x7fffffff", "255", "63", "64", "0"};
	static char s[16][16];
	static unsigned at;
	char *p = s[at++ & 15];

	if (!roll(8))
		snprintf(p, 16, "%s", PICK(edges));
	else if (!roll(6))
		snprintf(p, 16, "%d", (int)roll(80) - 40);
	else if (!roll(4)) /* affine, uniform */
		snprintf(p, 16, "%%x%u", roll(4));
	else
		snprintf(p, 16, "%%r%u", roll(8));
	return p;
}

/* ---- Instructions by theme ---- */

static void i_word(struct program_text *t)
{
	static const char *const two[] = {
		"add.s32", "sub.s32",     "mul.lo.s32",  "and.b32",      "or.b32",
		"xor.b32", "min.s32",     "max.u32",     "shl.b32",      "shr.u32",
		"shr.s32", "mul.hi.u32",  "mul.hi.s32",  "min.u32",      "max.s32",
		"add.s32", "add.sat.s32", "sub.sat.s32", "mul24.lo.s32", "mul24.hi.u32"};
	static const char *const one[] = {"not.b32", "neg.s32", "abs.s32", "cnot.b32"};
	static const char *const three[] = {"mad.lo.s32", "mad.hi.s32", "mad.hi.u32",
					    "mad.lo.u32", "sad.s32",    "sad.u32"};

	if (!roll(6)) { /* affine values of affine ones: %x3 alone is ever written */
		switch (roll(5)) {
		case 0: put(t, "add.s32 %%x3,%%x%u,%%x%u;\n", roll(4), roll(4)); break;
		case 1: put(t, "sub.s32 %%x3,%%x%u,%%x%u;\n", roll(4), roll(3)); break;
		case 2: put(t, "shl.b32 %%x3,%%x%u,%u;\n", roll(3), roll(5)); break;
		case 3: put(t, "mul.lo.s32 %%x3,%%x%u,%d;\n", roll(3), (int)roll(9) - 4); break;
		default:
			put(t, "add.s32 %%x3,%%x%u,%s;\n", roll(4),
			    roll(3)   ? "17"
			    : roll(2) ? "0x7ffffff0"
				      : "0xfffffff0");
		}
		return;
	}
	guard(t);
	switch (roll(10)) {
	case 0: put(t, "%s %%r%u,%s;\n", PICK(one), roll(8), word()); break;
	case 1: put(t, "%s %%r%u,%s,%s,%s;\n", PICK(three), roll(8), word(), word(), word()); break;
	case 2: put(t, "mul.lo.s32 %%r%u,%%r%u,%d;\n", roll(8), roll(8), (int)roll(9) - 4); break;
	case 3: put(t, "selp.b32 %%r%u,%s,%s,%%p%u;\n", roll(8), word(), word(), roll(4)); break;
	default: put(t, "%s %%r%u,%s,%s;\n", PICK(two), roll(8), word(), word());
	}
}

static void i_predicate(struct program_text *t)
{
	static const char *const cmp[] = {"lt.s32", "lo.u32", "eq.s32", "ne.u32",
					  "ge.s32", "hi.u32", "le.s32", "gt.s32",
					  "ls.u32", "hs.u32", "lt.u32", "ge.u32"};
	static const char *const log[] = {"and", "or", "xor"};

	guard(t);
	switch (roll(6)) {
	case 0:
		put(t, "setp.%s.%s.s32 %%p%u|%%p%u,%s,%s,%s%%p%u;\n", roll(2) ? "lt" : "gt",
		    PICK(log), roll(2), 2 + roll(2), word(), word(), roll(2) ? "!" : "", roll(4));
		break;
	case 1: put(t, "%s.pred %%p%u,%%p%u,%%p%u;\n", PICK(log), roll(4), roll(4), roll(4)); break;
	case 2: put(t, "%s.pred %%p%u,%%p%u;\n", roll(2) ? "not" : "mov", roll(4), roll(4)); break;
	default: put(t, "setp.%s %%p%u,%s,%s;\n", PICK(cmp), roll(4), word(), word());
	}
}

static void i_wide(struct program_text *t)
{
	static const char *const two[] = {"add.s64", "sub.s64", "mul.lo.s64", "and.b64",
					  "or.b64",  "xor.b64", "min.s64",    "max.u64",
					  "min.u64", "max.s64", "mul.hi.u64", "mul.hi.s64"};
	static const char *const one[] = {"neg.s64",  "abs.s64",  "not.b64",
					  "cnot.b64", "brev.b64", "mov.b64"};
	static const char *const cmp[] = {"lt.s64", "lo.u64", "eq.s64",
					  "ne.u64", "ge.s64", "hi.u64"};

	if (!roll(6)) { /* widened affine words, which may wrap from lane to lane */
		put(t, "%s.wide.%s32 %%d%u,%%x%u,%u%s;\n", "mul", roll(2) ? "s" : "u", roll(4),
		    roll(4), 1 + roll(8), "");
		return;
	}
	guard(t);
	switch (roll(24)) {
	case 0:
		put(t, "mul.wide.%s32 %%d%u,%s,%s;\n", roll(2) ? "s" : "u", roll(4), word(),
		    word());
		break;
	case 1:
		put(t, "mad.wide.%s32 %%d%u,%s,%s,%%d%u;\n", roll(2) ? "s" : "u", roll(4), word(),
		    word(), roll(4));
		break;
	case 2:
		put(t, "cvt.%s64.%s32 %%d%u,%%r%u;\n", roll(2) ? "s" : "u", roll(2) ? "s" : "u",
		    roll(4), roll(8));
		break;
	case 3: put(t, "cvt.u32.u64 %%r%u,%%d%u;\n", roll(8), roll(4)); break;
	case 4:
		put(t, "sh%s %%d%u,%%d%u,%s;\n",
		    roll(2)   ? "l.b64"
		    : roll(2) ? "r.s64"
			      : "r.u64",
		    roll(4), roll(4), word());
		break;
	case 5: put(t, "mov.b64 {%%r%u,%%r%u},%%d%u;\n", roll(4), 4 + roll(4), roll(4)); break;
	case 6: put(t, "mov.b64 %%d%u,{%%r%u,%%r%u};\n", roll(4), roll(8), roll(8)); break;
	case 7: put(t, "%s %%d%u,%%d%u;\n", PICK(one), roll(4), roll(4)); break;
	case 8: put(t, "%s.b64 %%r%u,%%d%u;\n", roll(2) ? "popc" : "clz", roll(8), roll(4)); break;
	case 9: put(t, "setp.%s %%p%u,%%d%u,%%d%u;\n", PICK(cmp), roll(4), roll(4), roll(4)); break;
	case 10:
		put(t, "selp.b64 %%d%u,%%d%u,%%d%u,%%p%u;\n", roll(4), roll(4), roll(4), roll(4));
		break;
	default: put(t, "%s %%d%u,%%d%u,%%d%u;\n", PICK(two), roll(4), roll(4), roll(4));
	}
}

static void i_float(struct program_text *t)
{
	static const char *const two[] = {
		"add.f32",        "sub.f32",         "mul.f32",     "div.rn.f32",  "min.f32",
		"max.f32",        "add.ftz.f32",     "mul.ftz.f32", "add.sat.f32", "mul.rz.f32",
		"copysign.f32",   "sub.ftz.sat.f32", "add.rm.f32",  "min.ftz.f32", "max.NaN.f32",
		"div.rn.ftz.f32", "mul.rp.ftz.f32"};
	static const char *const one[] = {"neg.f32",    "abs.f32",        "sqrt.rn.f32",
					  "rcp.rn.f32", "abs.ftz.f32",    "neg.ftz.f32",
					  "mov.f32",    "sqrt.rn.ftz.f32"};
	static const char *const cmp[] = {"lt.f32",     "ltu.f32",     "eq.f32",  "neu.f32",
					  "ge.ftz.f32", "num.f32",     "gtu.f32", "nan.f32",
					  "ne.f32",     "equ.ftz.f32", "le.f32"};
	static const char *const round[] = {"rni.f32.f32", "rmi.f32.f32",     "rpi.f32.f32",
					    "rzi.f32.f32", "rzi.ftz.f32.f32", "sat.f32.f32",
					    "ftz.f32.f32"};
	static const char *const to[] = {"rzi.s32", "rzi.u32", "rni.s32",
					 "rmi.s32", "rpi.u32", "rzi.ftz.s32"};

	guard(t);
	switch (roll(16)) {
	case 0: put(t, "%s %%f%u,%%f%u;\n", PICK(one), roll(4), roll(4)); break;
	case 1:
		put(t, "fma.%s%sf32 %%f%u,%%f%u,%%f%u,%%f%u;\n", roll(5) ? "rn." : "rz.",
		    roll(3)   ? ""
		    : roll(2) ? "ftz."
			      : "sat.",
		    roll(4), roll(4), roll(4), roll(4));
		break;
	case 2:
		put(t, "cvt.%s.f32.%s32 %%f%u,%%r%u;\n", roll(4) ? "rn" : "rz", roll(2) ? "s" : "u",
		    roll(4), roll(8));
		break;
	case 3: put(t, "cvt.%s.f32 %%r%u,%%f%u;\n", PICK(to), roll(8), roll(4)); break;
	case 4: put(t, "mov.b32 %%%s;\n", roll(2) ? "f0,%r3" : "r5,%f2"); break;
	case 5: put(t, "setp.%s %%p%u,%%f%u,%%f%u;\n", PICK(cmp), roll(4), roll(4), roll(4)); break;
	case 6:
		put(t, "selp.f32 %%f%u,%%f%u,%%f%u,%%p%u;\n", roll(4), roll(4), roll(4), roll(4));
		break;
	case 7: put(t, "cvt.%s %%f%u,%%f%u;\n", PICK(round), roll(4), roll(4)); break;
	default: put(t, "%s %%f%u,%%f%u,%%f%u;\n", PICK(two), roll(4), roll(4), roll(4));
	}
}

static void i_double(struct program_text *t)
{
	static const char *const two[] = {"add.f64", "mul.f64",    "min.f64",      "max.f64",
					  "sub.f64", "div.rn.f64", "copysign.f64", "add.rz.f64"};
	static const char *const one[] = {"neg.f64",    "abs.f64",         "sqrt.rn.f64",
					  "rcp.rn.f64", "cvt.rni.f64.f64", "cvt.rmi.f64.f64"};
	static const char *const cmp[] = {"lt.f64", "geu.f64", "eq.f64", "neu.f64", "nan.f64"};

	guard(t);
	switch (roll(14)) {
	case 0: put(t, "%s %%g%u,%%g%u;\n", PICK(one), roll(2), roll(2)); break;
	case 1:
		put(t, "fma.rn.f64 %%g%u,%%g%u,%%g%u,%%g%u;\n", roll(2), roll(2), roll(2), roll(2));
		break;
	case 2:
		put(t, "cvt.rn.f64.%s32 %%g%u,%%r%u;\n", roll(2) ? "s" : "u", roll(2), roll(8));
		break;
	case 3:
		put(t, "cvt.rzi.%s.f64 %%r%u,%%g%u;\n", roll(2) ? "s32" : "u32", roll(8), roll(2));
		break;
	case 4: put(t, "cvt.rn.f32.f64 %%f%u,%%g%u;\n", roll(4), roll(2)); break;
	case 5: put(t, "cvt.f64.f32 %%g%u,%%f%u;\n", roll(2), roll(4)); break;
	case 6: put(t, "setp.%s %%p%u,%%g%u,%%g%u;\n", PICK(cmp), roll(4), roll(2), roll(2)); break;
	default: put(t, "%s %%g%u,%%g%u,%%g%u;\n", PICK(two), roll(2), roll(2), roll(2));
	}
}

static void i_half(struct program_text *t)
{
	static const char *const two[] = {"add.f16", "mul.f16",     "sub.f16",    "min.f16",
					  "max.f16", "add.ftz.f16", "mul.sat.f16"};
	static const char *const pairs[] = {"add.f16x2", "mul.f16x2", "sub.f16x2", "fma.rn.f16x2"};

	guard(t);
	switch (roll(10)) {
	case 0:
		put(t, "fma.rn.f16 %%h%u,%%h%u,%%h%u,%%h%u;\n", roll(3), roll(3), roll(3), roll(3));
		break;
	case 1: put(t, "cvt.rn.f16.f32 %%h%u,%%f%u;\n", roll(3), roll(4)); break;
	case 2: put(t, "cvt.f32.f16 %%f%u,%%h%u;\n", roll(4), roll(3)); break;
	case 3:
		if (roll(4))
			put(t, "%s %%r%u,%%r%u,%%r%u;\n", pairs[roll(3)], roll(8), roll(8),
			    roll(8));
		else
			put(t, "%s %%r%u,%%r%u,%%r%u,%%r%u;\n", pairs[3], roll(8), roll(8), roll(8),
			    roll(8));
		break;
	case 4:
		put(t, "setp.%s.f16 %%p%u,%%h%u,%%h%u;\n", roll(2) ? "lt" : "neu", roll(4), roll(3),
		    roll(3));
		break;
	default: put(t, "%s %%h%u,%%h%u,%%h%u;\n", PICK(two), roll(3), roll(3), roll(3));
	}
}

static void i_narrow(struct program_text *t)
{
	static const char *const two[] = {"add.s16", "sub.s16",    "mul.lo.s16",
					  "min.s16", "max.u16",    "and.b16",
					  "xor.b16", "mul.hi.u16", "mul.hi.s16"};

	guard(t);
	switch (roll(15)) {
	case 0:
		put(t, "cvt.%s.u32 %%h%u,%%r%u;\n",
		    roll(2)   ? "u16"
		    : roll(2) ? "s8"
			      : "u8",
		    roll(3), roll(8));
		break;
	case 1:
		put(t, "cvt.%s32.%s %%r%u,%%h%u;\n", roll(2) ? "u" : "s",
		    roll(2)   ? "u16"
		    : roll(2) ? "s16"
			      : "s8",
		    roll(8), roll(3));
		break;
	case 2:
		put(t, "sh%s %%h%u,%%h%u,%s;\n",
		    roll(2)   ? "l.b16"
		    : roll(2) ? "r.s16"
			      : "r.u16",
		    roll(3), roll(3), word());
		break;
	case 3:
		put(t, "mul.wide.%s16 %%r%u,%%h%u,%%h%u;\n", roll(2) ? "s" : "u", roll(8), roll(3),
		    roll(3));
		break;
	case 4:
		put(t, "setp.%s %%p%u,%%h%u,%%h%u;\n", roll(2) ? "lt.s16" : "ge.u16", roll(4),
		    roll(3), roll(3));
		break;
	case 5: put(t, "mov.b32 %%r%u,{%%h%u,%%h%u};\n", roll(8), roll(3), roll(3)); break;
	case 6:
		put(t, "cvt.sat.%s.s32 %%h%u,%%r%u;\n", roll(2) ? "s16" : "u8", roll(3), roll(8));
		break;
	case 7: put(t, "neg.s16 %%h%u,%%h%u;\n", roll(3), roll(3)); break;
	default: put(t, "%s %%h%u,%%h%u,%%h%u;\n", PICK(two), roll(3), roll(3), roll(3));
	}
}

static void i_bits(struct program_text *t)
{
	static const char *const one[] = {"popc.b32",  "clz.b32",   "brev.b32",
					  "bfind.u32", "bfind.s32", "bfind.shiftamt.u32"};
	static const char *const three[] = {"shf.l.wrap.b32", "shf.r.clamp.b32", "shf.l.clamp.b32",
					    "shf.r.wrap.b32", "bfe.u32",         "bfe.s32",
					    "prmt.b32",       "dp4a.s32.u32"};

	guard(t);
	switch (roll(5)) {
	case 0:
		put(t, "lop3.b32 %%r%u,%s,%s,%s,%u;\n", roll(8), word(), word(), word(), roll(256));
		break;
	case 1: put(t, "%s %%r%u,%s;\n", PICK(one), roll(8), word()); break;
	case 2:
		put(t, "bfi.b32 %%r%u,%s,%s,%s,%s;\n", roll(8), word(), word(), word(), word());
		break;
	case 3: put(t, "prmt.b32 %%r%u,%s,%s,0x%x;\n", roll(8), word(), word(), roll(65536)); break;
	default: put(t, "%s %%r%u,%s,%s,%s;\n", PICK(three), roll(8), word(), word(), word());
	}
}

static void i_divide(struct program_text *t)
{
	static const char *const two[] = {"div.u32", "rem.s32", "div.s32", "rem.u32"};
	static const char *const wide[] = {"div.u64", "rem.s64", "div.s64", "rem.u64"};

	guard(t);
	if ((t->themes & T_WIDE) && !roll(3))
		put(t, "%s %%d%u,%%d%u,%%d%u;\n", PICK(wide), roll(4), roll(4), roll(4));
	else
		put(t, "%s %%r%u,%s,%s;\n", PICK(two), roll(8), word(), word());
}

static void i_carry(struct program_text *t)
{
	/* together: what an instruction without .cc leaves of the carry is nobody's */
	if (roll(2))
		put(t, "add.cc.u32 %%r%u,%s,%s; addc.cc.u32 %%r%u,%s,%s; addc.u32 %%r%u,%s,0;\n",
		    roll(8), word(), word(), roll(8), word(), word(), roll(8), word());
	else
		put(t, "sub.cc.u32 %%r%u,%s,%s; subc.u32 %%r%u,%s,%s;\n", roll(8), word(), word(),
		    roll(8), word(), word());
}

static void i_math(struct program_text *t)
{
	static const char *const one[] = {
		"rsqrt.approx.f32", "ex2.approx.f32",  "lg2.approx.f32",  "sin.approx.f32",
		"rcp.approx.f32",   "sqrt.approx.f32", "tanh.approx.f32", "rsqrt.approx.ftz.f32"};

	guard(t);
	put(t, "%s %%f%u,%%f%u;\n", PICK(one), roll(4), roll(4));
}

/* A word of the thread's four, which lie as a compiler would have them: neighbours of a row are
 * neighbours. */
static uint32_t slot_of(const struct program_text *t)
{
	return roll(4) * t->threads * 4;
}

static void i_shared(struct program_text *t)
{
	guard(t);
	switch (roll(5)) {
	case 0:
		put(t, "ld.shared.%s %%r%u,[%%my+%u];\n", roll(2) ? "u8" : "s16", roll(8),
		    slot_of(t) + roll(2) * 2);
		break;
	case 1:
	case 2:
		put(t, "st.shared.%s [%%my+%u],%%r%u;\n", roll(4) ? "b32" : "b16", slot_of(t),
		    roll(8));
		break;
	default: put(t, "ld.shared.b32 %%r%u,[%%my+%u];\n", roll(8), slot_of(t));
	}
}

/* What the thread before wrote: all have come, and all have read before anybody writes again. */
static void i_neighbour(struct program_text *t)
{
	put(t, "bar.sync 0; ld.shared.b32 %%r%u,[%%near+%u]; ", roll(8), slot_of(t));
	if (roll(2))
		put(t, "bar.sync 0;\n");
	else /* uniform: what all threads read */
		put(t, "ld.shared.b32 %%r%u,[s+%u]; bar.sync 0;\n", roll(8), roll(16) * 4);
}

static void i_local(struct program_text *t)
{
	guard(t);
	if (roll(2))
		put(t, "ld.local.b32 %%r%u,[%%lo+%u];\n", roll(8), roll(4) * 4);
	else
		put(t, "st.local.b32 [%%lo+%u],%%r%u;\n", roll(4) * 4, roll(8));
}

static void i_load(struct program_text *t)
{
	switch (roll(8)) {
	case 0: /* anywhere */
		put(t, "and.b32 %%t,%%r%u,1020; cvt.u64.u32 %%w,%%t; add.s64 %%w,%%base,%%w;\n",
		    roll(8));
		guard(t), put(t, "ld.global.%s %%r%u,[%%w];\n",
			      roll(2)   ? "u32"
			      : roll(2) ? "s8"
					: "u16",
			      roll(8));
		break;
	case 1:
		guard(t), put(t, "ld.global.%s %%r%u,[%%base+%u];\n",
			      roll(2)   ? "b32"
			      : roll(2) ? "s8"
					: "s16",
			      roll(8), roll(64) * 4);
		break; /* uniform */
	case 2:
		guard(t), put(t, "ld.global.v2.b32 {%%r%u,%%r%u},[%%in2+%u];\n", roll(4),
			      4 + roll(4), roll(16) * 8);
		break;
	case 3: guard(t), put(t, "ld.param.b32 %%r%u,[n];\n", roll(8)); break;
	case 4:
		guard(t), put(t, "ld.global.%s %%r%u,[%%in+%u];\n", roll(2) ? "u8" : "s16", roll(8),
			      roll(64) * 4);
		break;
	case 5:
		guard(t),
			put(t, "ld.volatile.global.b32 %%r%u,[%%in+%u];\n", roll(8), roll(64) * 4);
		break;
	default:
		guard(t), put(t, "ld.global.%s %%r%u,[%%in+%u];\n", roll(3) ? "b32" : "nc.b32",
			      roll(8), roll(64) * 4);
	}
}

static void i_store(struct program_text *t)
{
	guard(t);
	switch (roll(4)) {
	case 0: put(t, "st.global.v2.b32 [%%pair],{%%r%u,%%r%u};\n", roll(8), roll(8)); break;
	case 1:
		put(t, "st.global.v4.b32 [%%quad],{%%r%u,%%r%u,%%r%u,%%r%u};\n", roll(8), roll(8),
		    roll(8), roll(8));
		break;
	default:
		put(t, "st.global.%s [%%mine+%u],%%r%u;\n",
		    roll(4)   ? "b32"
		    : roll(2) ? "b16"
			      : "b8",
		    112 + roll(4) * 4, roll(8));
	}
}

/* On a place of the thread's own with the old value, or by all on one place without. */
static void i_atom(struct program_text *t)
{
	static const char *const own[] = {"add.u32", "exch.b32", "min.s32", "max.u32", "and.b32",
					  "or.b32",  "xor.b32",  "inc.u32", "dec.u32", "min.u32"};
	static const char *const all[] = {"add.u32", "min.s32", "max.u32", "and.b32",
					  "or.b32",  "xor.b32", "max.s32", "min.u32"};
	uint32_t k;

	guard(t);
	switch (roll(4)) {
	case 0:
		put(t, "atom.global.cas.b32 %%r%u,[%%mine+%u],%s,%s;\n", roll(8), 112 + roll(2) * 4,
		    word(), word());
		break;
	case 1:
		k = roll(MP_ARRAY_LEN(all));
		put(t, "red.global.%s [%%cells+%u],%s;\n", all[k], k * 4, word());
		break;
	case 2:
		if (t->themes & T_SHARED) {
			put(t, "atom.shared.%s %%r%u,[%%my+%u],%s;\n", PICK(own), roll(8),
			    slot_of(t), word());
			break;
		}
		/* fall through */
	default:
		put(t, "atom.global.%s %%r%u,[%%mine+%u],%s;\n", PICK(own), roll(8),
		    112 + roll(2) * 4, word());
	}
}

static void i_together(struct program_text *t)
{
	static const char *const red[] = {"add.s32", "min.s32", "max.u32",
					  "and.b32", "or.b32",  "xor.b32"};

	t->warp_matters = true;
	switch (t->whole_warps ? roll(9)
			       : 2 + roll(3)) { /* lanes that do not exist have no value to give */
	case 0:
		put(t, "shfl.sync.%s.b32 %%r%u|%%p%u,%%r%u,%u,%s,-1;\n",
		    roll(3)   ? roll(2) ? "bfly" : "down"
		    : roll(2) ? "up"
			      : "idx",
		    roll(8), roll(4), roll(8), roll(32),
		    roll(3)   ? "31"
		    : roll(2) ? "0x1c03"
			      : "0");
		break;
	case 1:
		put(t, "shfl.sync.idx.b32 %%r%u,%%r%u,%%r%u,31,-1;\n", roll(8), roll(8), roll(8));
		break;
	case 2:
		put(t, "vote.sync.ballot.b32 %%r%u,%s%%p%u,-1;\n", roll(8), roll(2) ? "!" : "",
		    roll(4));
		break;
	case 3:
		put(t, "vote.sync.%s.pred %%p%u,%s%%p%u,-1;\n",
		    roll(3) ? roll(2) ? "any" : "all" : "uni", roll(4), roll(2) ? "!" : "",
		    roll(4));
		break;
	case 4: put(t, "bar.warp.sync -1;\n"); break;
	case 5: put(t, "redux.sync.%s %%r%u,%%r%u,-1;\n", PICK(red), roll(8), roll(8)); break;
	case 6: put(t, "match.any.sync.b32 %%r%u,%%r%u,-1;\n", roll(8), roll(8)); break;
	case 7: put(t, "mov.u32 %%r%u,%%lanemask_%s;\n", roll(8), roll(2) ? "lt" : "ge"); break;
	default: put(t, "mov.u32 %%r%u,%%%s;\n", roll(8), roll(2) ? "laneid" : "warpid");
	}
}

static void instruction(struct program_text *t)
{
	static void (*const by_theme[])(struct program_text *) = {
		i_wide,  i_float, i_double,   i_half, i_narrow, i_shared, i_local, i_load,
		i_store, i_atom,  i_together, i_bits, i_divide, i_carry,  i_math,  i_predicate,
	};
	bool together = t->same_way || (!t->graph && t->top);
	uint32_t k = roll(16);

	if (!roll(4)) {
		roll(3) ? i_word(t) : i_predicate(t);
		return;
	}
	while (!(t->themes >> k & 1))
		k = roll(16);
	if (k == 5 && together && roll(2))
		i_neighbour(t);
	else if (k == 10 && !together)
		i_word(t);
	else
		by_theme[k](t);
}

/* ---- Control flow ---- */

static void condition(struct program_text *t, char *p, size_t n)
{
	/* %fuel and %r9 are the same for all, the predicates are not */
	if (t->same_way || !roll(3)) {
		put(t, "setp.%s.u32 %%end,%%fuel,%u;\n", roll(2) ? "lt" : "gt", roll(20));
		snprintf(p, n, "%s%%end", roll(2) ? "!" : "");
	} else {
		snprintf(p, n, "%s%%p%u", roll(2) ? "!" : "", roll(4));
	}
}

static void graph(struct program_text *t)
{
	uint32_t n = 2 + roll(4), b, i;
	char c[16];

	for (b = 0; b < n; b++) {
		uint32_t k = roll(5);

		put(t,
		    "B%u: sub.s32 %%fuel,%%fuel,1; setp.le.s32 %%end,%%fuel,0; @%%end bra DONE;\n",
		    b);
		for (i = 0; i < k; i++)
			instruction(t);
		switch (roll(7)) {
		case 0: break;
		case 1: put(t, "bra B%u;\n", roll(n)); break;
		case 2:
			if (t->same_way)
				break;
			put(t,
			    "T%u: .branchtargets B%u, B%u, B%u; and.b32 %%t,%%r%u,1; brx.idx %%t, "
			    "T%u;\n",
			    b, roll(n), roll(n), roll(n), roll(8), b);
			break;
		case 4:
			if (!t->same_way)
				put(t, "@%%p%u %s;\n", roll(4), roll(3) ? "bra DONE" : "exit");
			break;
		default: condition(t, c, sizeof(c)); put(t, "@%s bra B%u;\n", c, roll(n));
		}
	}
}

static void statements(struct program_text *t, uint32_t n);

static void statement(struct program_text *t)
{
	uint32_t l = t->labels++, loop;
	bool top = t->top, out;
	char c[16];

	switch (t->depth < 3 ? roll(5) : 9) {
	case 0: /* if */
		condition(t, c, sizeof(c));
		t->top = t->same_way;
		put(t, "@%s bra E%u;\n", c, l);
		statements(t, 1 + roll(3));
		if (roll(2)) {
			put(t, "bra J%u;\nE%u:\n", l, l);
			statements(t, 1 + roll(2));
			put(t, "J%u:\n", l);
		} else {
			put(t, "E%u:\n", l);
		}
		break;
	case 1: /* a loop: as many rounds for each thread as its register says, or the same for all
		 */
		if (t->loops == 4)
			break;
		loop = t->loops++;
		out = !t->same_way && !roll(4);
		if (t->same_way || roll(2)) {
			t->top &= !out;
			put(t, "and.b32 %%c%u,%%r9,%u;\n", loop, roll(2) ? 7 : 6);
		} else {
			t->top = false;
			put(t, "and.b32 %%c%u,%%r%u,%u;\n", loop, roll(8), roll(2) ? 3 : 7);
		}
		put(t, "L%u: sub.s32 %%fuel,%%fuel,1;\n", l);
		statements(t, 1 + roll(4));
		if (out) /* out of the middle */
			put(t, "@%%p%u bra X%u;\n", roll(4), l);
		put(t, "sub.s32 %%c%u,%%c%u,1; setp.gt.s32 %%end,%%c%u,0; @%%end bra L%u;\nX%u:\n",
		    loop, loop, loop, l, l);
		break;
	default: instruction(t);
	}
	t->top = top;
}

static void statements(struct program_text *t, uint32_t n)
{
	uint32_t i;

	t->depth++;
	for (i = 0; i < n; i++)
		statement(t);
	t->depth--;
}

/* ---- The whole ---- */

static void registers_begin(struct program_text *t)
{
	uint32_t i, k = t->themes;

	/* %x0 to %x2 are never written again: what is affine or uniform stays it */
	put(t,
	    "mov.u32 %%x0,%%tid.x; mov.u32 %%nx,%%ntid.x; mov.u32 %%ty,%%tid.y; mov.u32 %%r1,%%ty;\n"
	    "mad.lo.s32 %%x1,%%ty,%%nx,%%x0;\n"
	    "mov.u32 %%x2,%%ctaid.x; mov.u32 %%x3,%%x1; mov.u32 %%r0,%%x0; mov.u32 %%r2,%%x1; "
	    "mov.u32 %%r3,%%x2;\n"
	    "mad.lo.s32 %%id,%%x2,%u,%%x1; mov.u32 %%r4,%%id; mul.lo.s32 %%r5,%%id,747796405; "
	    "ld.param.u32 %%r9,[n];\n"
	    "ld.param.u64 %%base,[in]; ld.param.u64 %%o,[out]; mul.wide.u32 %%v0,%%x1,4; add.s64 "
	    "%%in,%%base,%%v0;\n"
	    "ld.global.b32 %%r6,[%%in]; mov.u32 %%r7,%u; mov.u32 %%fuel,%u;\n",
	    t->threads, roll(3) ? roll(64) : roll(1u << 31), 4 + roll(30));
	if (k & T_LOAD)
		put(t, "mul.wide.s32 %%v1,%%x1,8; add.s64 %%in2,%%base,%%v1;\n");
	if (k & T_STORE)
		put(t,
		    "mul.wide.s32 %%v2,%%id,8; add.s64 %%pair,%%o,%%v2; add.s64 %%pair,%%pair,%u; "
		    "mul.wide.s32 %%v3,%%id,16;\n"
		    "add.s64 %%quad,%%o,%%v3; add.s64 %%quad,%%quad,%u;\n",
		    PAIRS * 4, (PAIRS + 2 * THREADS_MAX * BLOCKS) * 4);
	if (k & T_ATOM)
		put(t, "add.s64 %%cells,%%o,%u;\n", CELLS * 4);
	put(t, "mul.wide.u32 %%v4,%%id,%u; add.s64 %%mine,%%o,%%v4;\n", WORDS * 4);
	if (k & T_SHARED)
		put(t,
		    "shl.b32 %%my,%%x1,2; mov.u32 %%nx,s; add.s32 %%my,%%my,%%nx; add.s32 "
		    "%%near,%%x1,1; setp.ge.u32 %%end,%%near,%u;\n"
		    "selp.b32 %%near,0,%%near,%%end; shl.b32 %%near,%%near,2; add.s32 "
		    "%%near,%%near,%%nx; st.shared.b32 [%%my],%%r2;\n"
		    "st.shared.b32 [%%my+%u],%%r5; st.shared.b32 [%%my+%u],%%r6; st.shared.b32 "
		    "[%%my+%u],%%r0; bar.sync 0;\n",
		    t->threads, t->threads * 4, t->threads * 8, t->threads * 12);
	if (k & T_LOCAL)
		put(t, "mov.u64 %%lo,depot; st.local.v4.b32 [%%lo],{%%r4,%%r5,%%r6,%%r7};\n");
	for (i = 0; i < 4 && (k & T_WIDE); i++)
		i & 1 ? put(t, "cvt.s64.s32 %%d%u,%%r%u;\n", i, roll(8))
		      : put(t, "mul.wide.s32 %%d%u,%%r%u,%%r%u;\n", i, roll(8), roll(8));
	if (k & (T_FLOAT | T_DOUBLE | T_HALF | T_MATH))
		put(t,
		    "mov.b32 %%f0,%%r6; cvt.rn.f32.s32 %%f1,%%r%u; ld.global.f32 %%f2,[%%in+%u]; "
		    "mov.f32 %%f3,0f%08x;\n",
		    roll(8), roll(16) * 4,
		    roll(2)   ? 0x3f800000
		    : roll(2) ? 0xc0490fdb
			      : 0x00400000);
	if (k & T_DOUBLE)
		put(t, "cvt.f64.f32 %%g0,%%f%u; cvt.rn.f64.s32 %%g1,%%r%u;\n", roll(4), roll(8));
	if (k & (T_HALF | T_NARROW))
		put(t, "cvt.u16.u32 %%h0,%%r%u; cvt.u16.u32 %%h1,%%r5; mov.u16 %%h2,%u;\n", roll(8),
		    roll(65536));
	put(t,
	    "setp.lt.s32 %%p0,%%r5,0; setp.ne.s32 %%p1,%%r0,%u; setp.lt.u32 %%p2,%%r3,1; "
	    "setp.gt.s32 %%p3,%%r%u,%u;\n",
	    roll(4), roll(8), roll(64));
}

static void registers_end(struct program_text *t)
{
	uint32_t k = t->themes;

	put(t, "st.global.v4.b32 [%%mine],{%%r0,%%r1,%%r2,%%r3}; st.global.v4.b32 "
	       "[%%mine+16],{%%r4,%%r5,%%r6,%%r7};\n");
	if (k & (T_FLOAT | T_DOUBLE | T_HALF | T_MATH))
		put(t, "st.global.v4.f32 [%%mine+32],{%%f0,%%f1,%%f2,%%f3};\n");
	if (k & T_WIDE)
		put(t, "st.global.v2.b64 [%%mine+48],{%%d0,%%d1}; st.global.v2.b64 "
		       "[%%mine+64],{%%d2,%%d3};\n");
	if (k & T_DOUBLE)
		put(t, "st.global.v2.f64 [%%mine+80],{%%g0,%%g1};\n");
	if (k & (T_HALF | T_NARROW))
		put(t,
		    "st.global.v2.b16 [%%mine+96],{%%h0,%%h1}; st.global.b16 [%%mine+100],%%h2;\n");
	put(t, "selp.b32 %%r0,1,0,%%p0; selp.b32 %%r1,2,0,%%p3; or.b32 %%r0,%%r0,%%r1; selp.b32 "
	       "%%r1,4,0,%%p1; or.b32 %%r0,%%r0,%%r1;\n"
	       "st.global.b32 [%%mine+104],%%r0;\n");
	if (k & T_SHARED)
		put(t, "ld.shared.b32 %%r1,[%%my+%u]; st.global.b32 [%%mine+108],%%r1;\n",
		    t->threads * 4);
	if (k & T_LOCAL)
		put(t, "ld.local.b32 %%r2,[%%lo+8]; st.global.b32 [%%mine+124],%%r2;\n");
}

/* The same number, the same program. */
static void program_make(struct program_text *t, uint64_t number)
{
	static const uint32_t shapes[][3] = {{96},    {16, 4}, {70}, {8, 8},  {32, 2},
					     {13, 5}, {64},    {32}, {16, 6}, {48, 2}};
	uint32_t i, k = 0;

	roll_state = number * 0x9e3779b97f4a7c15u;
	roll(7);
	t->n = 0;
	memcpy(t->block, PICK(shapes), sizeof(t->block));
	t->threads = t->block[0] * (t->block[1] ? t->block[1] : 1);
	for (i = 2 + roll(4); i; i--)
		k |= 1u << roll(16);
	t->themes = k;
	t->same_way = !roll(3);
	t->whole_warps = t->threads % 32 == 0;
	t->graph = roll(2);
	t->warp_matters = false;
	t->depth = t->labels = t->loops = 0;
	t->top = true;
	put(t, ".version 8.0\n.target sm_90\n.address_size 64\n"
	       ".entry k(.param .u64 out, .param .u64 in, .param .u32 n) { .reg .b32 "
	       "%%r<10>,%%x<4>,%%id,%%ty,%%nx,%%my,%%near,%%fuel,%%t,%%c<4>;\n"
	       ".reg .b16 %%h<3>; .reg .b64 "
	       "%%d<4>,%%lo,%%mine,%%in,%%in2,%%base,%%w,%%v<8>,%%o,%%pair,%%quad,%%cells;\n"
	       ".reg .f32 %%f<4>; .reg .f64 %%g<2>; .reg .pred %%p<4>,%%end;\n");
	if (k & T_LOCAL)
		put(t, ".local .align 16 .b8 depot[16];\n");
	if (k & T_SHARED)
		put(t, ".shared .align 16 .b8 s[%u];\n", t->threads * 16);
	registers_begin(t);
	if (t->graph)
		graph(t);
	else
		statements(t, 3 + roll(6));
	put(t, "DONE:\n");
	registers_end(t);
	put(t, "ret; }\n");
}

#endif
