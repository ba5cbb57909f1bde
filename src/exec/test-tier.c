/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both tiers on random programs: the same memory, bit by bit.  Control flow is
 * any graph of blocks, structured or not, ended by fuel; registers are a mix of
 * uniform, affine and varying ones, so that each of their shapes in compiled
 * code is met in each place.  MOTORPOOL_TEST_ROUNDS and MOTORPOOL_TEST_SEED
 * choose how many and where to begin.
 */
#include "exec/test-run.h"

#define BLOCKS 3
#define WORDS  32 /* that a thread leaves */
#define INPUT  4096
#define TAIL   (128 * BLOCKS * WORDS) /* words before what pairs and quadruples leave */
#define TOTAL  (TAIL + 6 * 128 * BLOCKS)

static uint64_t state;

static uint32_t roll(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

struct text {
	char s[65536];
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
	if (t->n >= sizeof(t->s))
		abort();
}

#define PICK(list) list[roll(MP_ARRAY_LEN(list))]

static bool whole_warps;
static bool plain_flow; /* all threads take the same way: barriers and warp operations are allowed */

static void guard(struct text *t)
{
	if (!roll(5))
		put(t, "@%s%%p%u ", roll(2) ? "!" : "", roll(8));
}

static const char *word(void)
{
	static char s[16][16];
	static unsigned at;
	char *p = s[at++ & 15];

	if (!roll(6))
		snprintf(p, 16, "%d", (int)roll(80) - 40);
	else
		snprintf(p, 16, "%%r%u", roll(12));
	return p;
}

static void integer(struct text *t)
{
	static const char *const two[] = {"add.s32", "sub.s32", "mul.lo.s32", "and.b32", "or.b32", "xor.b32", "min.s32",
					  "max.u32", "shl.b32", "shr.u32", "shr.s32", "div.u32", "rem.s32", "div.s32",
					  "rem.u32", "mul.hi.u32", "mul.hi.s32", "min.u32", "max.s32", "add.s32", "add.s32"};
	static const char *const special[] = {"lanemask_lt", "lanemask_ge", "smid", "nsmid", "nwarpid", "warpid", "nctaid.y",
					      "ntid.y", "envreg1", "lanemask_eq"};
	static const char *const one[] = {"not.b32", "neg.s32", "abs.s32", "popc.b32", "clz.b32", "brev.b32", "cnot.b32"};
	static const char *const three[] = {"mad.lo.s32", "mad.hi.s32", "shf.l.wrap.b32", "shf.r.clamp.b32", "bfe.u32",
					    "bfe.s32", "sad.s32", "prmt.b32", "mad.lo.u32"};
	static const char *const wide2[] = {"add.s64", "sub.s64", "mul.lo.s64", "and.b64", "xor.b64", "min.s64", "max.u64"};

	guard(t);
	switch (roll(15)) {
	case 13: put(t, "mov.u32 %%r%u,%%%s;\n", roll(12), PICK(special)); break;
	case 0: put(t, "%s %%r%u,%s;\n", PICK(one), roll(12), word()); break;
	case 1: put(t, "%s %%r%u,%s,%s,%s;\n", PICK(three), roll(12), word(), word(), word()); break;
	case 2: put(t, "%s %%d%u,%%d%u,%%d%u;\n", PICK(wide2), roll(6), roll(6), roll(6)); break;
	case 3: put(t, "mul.wide.%s32 %%d%u,%s,%s;\n", roll(2) ? "s" : "u", roll(6), word(), word()); break;
	case 4: put(t, "mad.wide.%s32 %%d%u,%s,%s,%%d%u;\n", roll(2) ? "s" : "u", roll(6), word(), word(), roll(6)); break;
	case 5: put(t, "cvt.%s64.%s32 %%d%u,%%r%u;\n", roll(2) ? "s" : "u", roll(2) ? "s" : "u", roll(6), roll(12)); break;
	case 6: put(t, "cvt.u32.u64 %%r%u,%%d%u;\n", roll(12), roll(6)); break;
	case 7: put(t, "sh%s %%d%u,%%d%u,%s;\n", roll(2) ? "l.b64" : "r.s64", roll(6), roll(6), word()); break;
	case 8:
		put(t, "lop3.b32 %%r%u,%s,%s,%s,%u;\n", roll(12), word(), word(), word(), roll(256));
		break;
	case 9:
		if (roll(2))
			put(t, "mov.b64 {%%r%u,%%r%u},%%d%u;\n", roll(6), 6 + roll(6), roll(6));
		else
			put(t, "mov.b64 %%d%u,{%%r%u,%%r%u};\n", roll(6), roll(12), roll(12));
		break;
	case 10: put(t, "mul.lo.s32 %%r%u,%%r%u,%d;\n", roll(12), roll(12), (int)roll(9) - 4); break;
	case 11: put(t, "cvt.%s.u32 %%h%u,%%r%u;\n", roll(2) ? "u16" : "s8", roll(3), roll(12)); break;
	case 12: put(t, "cvt.%s32.%s16 %%r%u,%%h%u;\n", roll(2) ? "u" : "s", roll(2) ? "u" : "s", roll(12), roll(3)); break;
	default: put(t, "%s %%r%u,%s,%s;\n", PICK(two), roll(12), word(), word());
	}
}

static void floating(struct text *t)
{
	static const char *const two[] = {"add.f32", "sub.f32", "mul.f32", "div.rn.f32", "min.f32", "max.f32", "add.ftz.f32",
					  "mul.ftz.f32", "add.sat.f32", "mul.rz.f32", "copysign.f32"};
	static const char *const one[] = {"neg.f32", "abs.f32", "sqrt.rn.f32", "rcp.rn.f32", "abs.ftz.f32", "rsqrt.approx.f32",
					  "ex2.approx.f32", "mov.f32"};
	static const char *const dtwo[] = {"add.f64", "mul.f64", "min.f64", "max.f64", "sub.f64"};

	guard(t);
	switch (roll(9)) {
	case 0: put(t, "%s %%f%u,%%f%u;\n", PICK(one), roll(6), roll(6)); break;
	case 1:
		put(t, "fma.rn.%sf32 %%f%u,%%f%u,%%f%u,%%f%u;\n", roll(3) ? "" : "ftz.", roll(6), roll(6), roll(6),
		    roll(6));
		break;
	case 2: put(t, "cvt.rn.f32.%s32 %%f%u,%%r%u;\n", roll(2) ? "s" : "u", roll(6), roll(12)); break;
	case 3: put(t, "cvt.rzi.%s.f32 %%r%u,%%f%u;\n", roll(2) ? "s32" : "u32", roll(12), roll(6)); break;
	case 4: put(t, "mov.b32 %%%s;\n", roll(2) ? "f0,%r3" : "r5,%f2"); break;
	case 5: put(t, "%s %%g%u,%%g%u,%%g%u;\n", PICK(dtwo), roll(2), roll(2), roll(2)); break;
	case 6:
		if (roll(2))
			put(t, "cvt.f64.f32 %%g%u,%%f%u;\n", roll(2), roll(6));
		else
			put(t, "cvt.rn.f32.f64 %%f%u,%%g%u;\n", roll(6), roll(2));
		break;
	default: put(t, "%s %%f%u,%%f%u,%%f%u;\n", PICK(two), roll(6), roll(6), roll(6));
	}
}

static void predicate(struct text *t)
{
	static const char *const cmp[] = {"lt.s32", "lo.u32", "eq.s32", "ne.u32", "ge.s32", "hi.u32", "le.s32"};
	static const char *const fcmp[] = {"lt.f32", "ltu.f32", "eq.f32", "neu.f32", "ge.ftz.f32", "num.f32", "gtu.f32"};
	static const char *const log[] = {"and", "or", "xor"};

	guard(t);
	switch (roll(6)) {
	case 0: put(t, "setp.%s %%p%u,%%f%u,%%f%u;\n", PICK(fcmp), roll(8), roll(6), roll(6)); break;
	case 1:
		put(t, "setp.%s.%s.s32 %%p%u|%%p%u,%s,%s,%s%%p%u;\n", roll(2) ? "lt" : "gt", PICK(log), roll(4), 4 + roll(4), word(),
		    word(), roll(2) ? "!" : "", roll(8));
		break;
	case 2: put(t, "%s.pred %%p%u,%%p%u,%%p%u;\n", PICK(log), roll(8), roll(8), roll(8)); break;
	case 3: put(t, "selp.%s %%r%u,%s,%s,%%p%u;\n", "b32", roll(12), word(), word(), roll(8)); break;
	case 4: put(t, "selp.f32 %%f%u,%%f%u,%%f%u,%%p%u;\n", roll(6), roll(6), roll(6), roll(8)); break;
	default: put(t, "setp.%s %%p%u,%s,%s;\n", PICK(cmp), roll(8), word(), word());
	}
}

static void memory(struct text *t)
{
	switch (roll(11)) {
	case 0: guard(t), put(t, "st.shared.b32 [%%my+%u],%%r%u;\n", roll(4) * 4, roll(12)); break;
	case 1: guard(t), put(t, "ld.shared.b32 %%r%u,[%%my+%u];\n", roll(12), roll(4) * 4); break;
	case 2:
		guard(t);
		if (roll(2))
			put(t, "ld.local.b32 %%r%u,[%%lo+%u];\n", roll(12), roll(4) * 4);
		else
			put(t, "st.local.b32 [%%lo+%u],%%r%u;\n", roll(4) * 4, roll(12));
		break;
	case 3: /* from lane to lane */
		guard(t), put(t, "ld.global.%s %%r%u,[%%in+%u];\n", roll(3) ? "b32" : "nc.b32", roll(12), roll(64) * 4);
		break;
	case 4: guard(t), put(t, "ld.global.f32 %%f%u,[%%in+%u];\n", roll(6), roll(64) * 4); break;
	case 5: guard(t), put(t, "ld.global.b32 %%r%u,[%%base+%u];\n", roll(12), roll(64) * 4); break; /* uniform */
	case 6: /* anywhere */
		put(t, "and.b32 %%t,%%r%u,1020; cvt.u64.u32 %%w,%%t; add.s64 %%w,%%base,%%w;\n", roll(12));
		guard(t), put(t, "ld.global.%s %%r%u,[%%w];\n", roll(2) ? "u32" : roll(2) ? "s8" : "u16", roll(12));
		break;
	case 7: guard(t), put(t, "ld.global.v2.b32 {%%r%u,%%r%u},[%%in2+%u];\n", roll(6), 6 + roll(6), roll(16) * 8); break;
	case 8: guard(t), put(t, "ld.param.b32 %%r%u,[n];\n", roll(12)); break;
	case 9: /* what the threads of a block leave one after another */
		if (roll(2))
			put(t, "st.global.v2.b32 [%%pair],{%%r%u,%%r%u};\n", roll(12), roll(12));
		else
			put(t, "st.global.v4.b32 [%%quad],{%%r%u,%%r%u,%%r%u,%%r%u};\n", roll(12), roll(12), roll(12), roll(12));
		break;
	default:
		guard(t), put(t, "st.global.%s [%%mine+%u],%%r%u;\n", roll(4) ? "b32" : "b16", 64 + roll(8) * 4, roll(12));
	}
}

static void together(struct text *t)
{
	/* lanes that do not exist have no value to give */
	switch (whole_warps ? roll(5) : 2 + roll(3)) {
	case 0:
		put(t, "shfl.sync.%s.b32 %%r%u|%%p%u,%%r%u,%u,31,-1;\n", roll(2) ? "bfly" : "down", roll(12), roll(8),
		    roll(12), roll(32));
		break;
	case 1: put(t, "shfl.sync.idx.b32 %%r%u,%%r%u,%%r%u,31,-1;\n", roll(12), roll(12), roll(12)); break;
	case 2: put(t, "vote.sync.ballot.b32 %%r%u,%s%%p%u,-1;\n", roll(12), roll(2) ? "!" : "", roll(8)); break;
	case 3: put(t, "vote.sync.%s.pred %%p%u,%%p%u,-1;\n", roll(2) ? "any" : "all", roll(8), roll(8)); break;
	default: put(t, "bar.sync 0;\n");
	}
}

static void instruction(struct text *t)
{
	uint32_t k = roll(10);

	if (k < 4)
		integer(t);
	else if (k < 6)
		floating(t);
	else if (k < 8)
		predicate(t);
	else if (k == 8 || !plain_flow)
		memory(t);
	else
		together(t);
}

static void prologue(struct text *t, uint32_t threads)
{
	uint32_t i;

	t->n = 0;
	put(t, HEAD ".entry k(.param .u64 out, .param .u64 in, .param .u32 n) { .reg .b32 %%r<12>,%%my,%%fuel,%%t;\n"
		    ".reg .b16 %%h<3>;"
		    ".reg .b64 %%d<6>,%%lo,%%mine,%%in,%%in2,%%base,%%w,%%pair,%%quad; .reg .f32 %%f<6>; .reg .f64 %%g<2>;\n"
		    ".reg .pred %%p<8>,%%end;"
		    ".local .align 4 .b8 depot[16]; .shared .align 4 .b8 s[%u];\n"
		    "mov.u32 %%r0,%%tid.x; mov.u32 %%r8,%%tid.y; mov.u32 %%t,%%ntid.x; mad.lo.s32 %%r9,%%r8,%%t,%%r0;\n"
		    "shl.b32 %%my,%%r9,4; mov.u32 %%fuel,s; add.s32 %%my,%%my,%%fuel; mov.u64 %%lo,depot;\n"
		    "mov.u32 %%r1,%%ctaid.x; mad.lo.s32 %%r2,%%r1,%u,%%r9; mul.lo.s32 %%r3,%%r2,747796405; xor.b32 %%r4,%%r3,%%r0;\n"
		    "mov.u32 %%r5,%u; shr.u32 %%r6,%%r3,16; mov.u32 %%r7,1; mov.u32 %%r10,%%laneid; ld.param.u32 %%r11,[n];\n"
		    "ld.param.u64 %%base,[in]; mul.wide.u32 %%w,%%r9,4; add.s64 %%in,%%base,%%w; mul.wide.s32 %%w,%%r9,8;\n"
		    "add.s64 %%in2,%%base,%%w; ld.param.u64 %%mine,[out];\n"
		    "mul.wide.s32 %%w,%%r2,8; add.s64 %%pair,%%mine,%%w; add.s64 %%pair,%%pair,%u; mul.wide.s32 %%w,%%r2,16;\n"
		    "add.s64 %%quad,%%mine,%%w; add.s64 %%quad,%%quad,%u; mul.wide.u32 %%w,%%r2,%u; add.s64 %%mine,%%mine,%%w;\n"
		    "mov.u32 %%fuel,%u; mov.u16 %%h0,3; cvt.u16.u32 %%h1,%%r3; mov.u16 %%h2,7;\n",
	    threads * 16, threads, roll(1u << 31), TAIL * 4, (TAIL + 2 * 128 * BLOCKS) * 4, WORDS * 4, 5 + roll(80));
	for (i = 0; i < 6; i++)
		put(t, "cvt.u64.u32 %%d%u,%%r%u; cvt.rn.f32.s32 %%f%u,%%r%u;\n", i, i + 2, i, i + 3);
	for (i = 0; i < 4; i++)
		put(t, "setp.lt.s32 %%p%u,%%r%u,%%r%u; st.shared.b32 [%%my+%u],%%r%u; st.local.b32 [%%lo+%u],%%r%u;\n", i, i + 1,
		    i + 4, i * 4, i, i * 4, i + 4);
	put(t, "setp.ne.s32 %%p4,%%r0,0; setp.ne.s32 %%p5,%%r6,7; setp.lt.u32 %%p6,%%r1,2; setp.eq.u32 %%p7,%%r11,5;\n"
	       "cvt.f64.f32 %%g0,%%f1; cvt.f64.f32 %%g1,%%f4; bar.sync 0;\n");
}

static void program(struct text *t, uint32_t threads)
{
	uint32_t n = 2 + roll(10), b, i;

	plain_flow = !roll(3);
	whole_warps = threads % 32 == 0;
	prologue(t, threads);
	for (b = 0; b < n; b++) {
		uint32_t k = roll(9);

		put(t, "B%u: sub.s32 %%fuel,%%fuel,1; setp.le.s32 %%end,%%fuel,0; @%%end bra DONE;\n", b);
		for (i = 0; i < k; i++)
			instruction(t);
		switch (roll(7)) {
		case 0: break;
		case 1: put(t, "bra B%u;\n", roll(n)); break;
		case 2:
			if (plain_flow)
				break;
			put(t, "T%u: .branchtargets B%u, B%u, B%u; and.b32 %%t,%%r%u,1; brx.idx %%t, T%u;\n", b, roll(n), roll(n),
			    roll(n), roll(12), b);
			break;
		case 3: /* the same for all: %r11 and %fuel are */
			put(t, "setp.%s.u32 %%end,%%fuel,%u; @%s%%end bra B%u;\n", roll(2) ? "lt" : "gt", roll(40), roll(2) ? "!" : "",
			    roll(n));
			break;
		case 4:
			if (!plain_flow)
				put(t, "@%%p%u %s;\n", roll(8), roll(3) ? "bra DONE" : "exit");
			break;
		default:
			if (!plain_flow)
				put(t, "@%s%%p%u bra B%u;\n", roll(2) ? "!" : "", roll(8), roll(n));
		}
	}
	put(t, "DONE:\n");
	for (i = 0; i < 12; i++)
		put(t, "st.global.b32 [%%mine+%u],%%r%u;\n", i * 4, i);
	for (i = 0; i < 4; i++)
		put(t, "st.global.b32 [%%mine+%u],%%f%u;\n", 48 + i * 4, i);
	put(t, "ld.shared.b32 %%r0,[%%my+4]; st.global.b32 [%%mine+96],%%r0; ld.local.b32 %%r1,[%%lo+8];\n"
	       "st.global.b32 [%%mine+100],%%r1; st.global.b64 [%%mine+104],%%d0; st.global.b64 [%%mine+112],%%d3;\n"
	       "st.global.f64 [%%mine+120],%%g0; ret; }\n");
}

static int launch_tier(struct mp_exec_module *m, int tier, struct launch l, uint32_t *out, size_t bytes, uint32_t *in,
		       struct mp_exec_fault *f)
{
	struct { uint64_t out, in; uint32_t n; } p = {(uintptr_t)out, (uintptr_t)in, 5};
	uint32_t i;

	for (i = 0; i < INPUT; i++)
		in[i] = i * 2654435761u ^ i << 20;
	in[7] = 0x7fc12345, in[40] = 0xff812345, in[70] = 0x80000001, in[71] = 0x7f800000;
	memset(out, 0xee, bytes);
	mp_exec_set_tier(tier);
	return run(m, "k", l, &p, f);
}

static bool double_nan(const uint32_t *a, const uint32_t *b)
{
	double x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x != x && y != y;
}

MP_TEST(tiers_agree)
{
	static const uint32_t shapes[][3] = {{96}, {16, 8}, {70}, {8, 12}, {32, 3}, {13, 5}, {128}};
	const char *env = getenv("MOTORPOOL_TEST_ROUNDS"), *seed = getenv("MOTORPOOL_TEST_SEED");
	uint32_t rounds = env ? (uint32_t)atoi(env) : 6, i, k, bad = 0;
	uint64_t first = seed ? strtoull(seed, NULL, 0) : 1;
	static uint32_t want[TOTAL];
	struct mp_exec_stats before, after;
	static struct text t;

	if (!mp_exec_compiler()) {
		printf("# no libLLVM here: nothing to compare\n");
		return;
	}
	device_reset();
	mp_exec_stats(engine, &before);
	for (i = 0; i < rounds && bad < 3; i++) {
		struct launch l = {.grid = {BLOCKS}};
		struct mp_exec_fault fa, fb;
		struct mp_exec_module *m;
		uint32_t *out, *in, threads;
		int a, b;

		state = (first + i) * 0x9e3779b97f4a7c15u;
		memcpy(l.block, PICK(shapes), sizeof(l.block));
		threads = l.block[0] * (l.block[1] ? l.block[1] : 1);
		program(&t, threads);
		device_reset();
		m = module_of(t.s);
		out = device_new(sizeof(want));
		in = device_new(INPUT * 4);
		a = launch_tier(m, 1, l, out, sizeof(want), in, &fa);
		memcpy(want, out, sizeof(want));
		b = launch_tier(m, 2, l, out, sizeof(want), in, &fb);
		MP_CHECK_EQ(a, MP_EXEC_OK);
		MP_CHECK_EQ(b, MP_EXEC_OK);
		for (k = 0; k < TOTAL; k++) {
			if (out[k] == want[k] || (k < TAIL && k % WORDS >= 30 && double_nan(&out[k & ~1u], &want[k & ~1u])))
				continue;
			printf("# seed %llu: block of %u x %u, thread %u, word %u is %08x, in the first tier %08x\n",
			       (unsigned long long)(first + i), l.block[0], l.block[1], k / WORDS, k % WORDS, out[k], want[k]);
			mp_test_failures++;
			bad++;
			break;
		}
		if (bad && getenv("MOTORPOOL_TEST_SHOW"))
			printf("%s\n", t.s);
		mp_exec_module_free(m);
	}
	mp_exec_stats(engine, &after);
	printf("# %u programs from seed %llu; %llu blocks compiled, %llu warps left\n", i, (unsigned long long)first,
	       (unsigned long long)(after.compiled_blocks - before.compiled_blocks),
	       (unsigned long long)(after.left_warps - before.left_warps));
	/* nearly all of them must have been compiled, or nothing was compared */
	MP_CHECK(bad || after.compiled_blocks - before.compiled_blocks >= (uint64_t)i * BLOCKS * 9 / 10);
}

MP_TEST_MAIN()
