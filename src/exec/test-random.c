/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs, run by warps of 32 and by one thread at a time: both must
 * leave the same memory.  Control flow is any graph of blocks, structured or
 * not, ended by fuel; MOTORPOOL_TEST_ROUNDS and MOTORPOOL_TEST_SEED choose how
 * many and where to begin.
 */
#include "exec/test-run.h"

#define THREADS 96
#define BLOCKS	3
#define WORDS	16 /* that a thread leaves */

static uint64_t state;

static uint32_t roll(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

struct text {
	char s[32768];
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

static void guard(struct text *t)
{
	if (!roll(4))
		put(t, "@%s%%p%u ", roll(2) ? "!" : "", roll(4));
}

/* Registers: r0-7 words, d0-3 double words, f0-3 floats, p0-3; my = own slot in shared and local. */
static void instruction(struct text *t)
{
	static const char *const word[] = {"add.s32", "sub.s32", "mul.lo.s32", "and.b32", "or.b32", "xor.b32",
					   "min.s32", "max.u32", "shl.b32", "shr.u32", "shr.s32", "div.u32",
					   "rem.s32", "mul.hi.u32"};
	static const char *const cmp[] = {"lt.s32", "lo.u32", "eq.s32", "ne.u32", "ge.s32", "hi.u32"};
	static const char *const fop[] = {"add.f32", "mul.f32", "sub.ftz.f32", "min.f32", "max.f32"};

	guard(t);
	switch (roll(15)) {
	case 0: case 1: case 2:
		put(t, "%s %%r%u,%%r%u,%%r%u;\n", word[roll(MP_ARRAY_LEN(word))], roll(8), roll(8), roll(8));
		break;
	case 3: put(t, "%s %%r%u,%%r%u,%d;\n", word[roll(MP_ARRAY_LEN(word))], roll(8), roll(8), (int)roll(100) - 50); break;
	case 4: put(t, "setp.%s %%p%u,%%r%u,%%r%u;\n", cmp[roll(MP_ARRAY_LEN(cmp))], roll(4), roll(8), roll(8)); break;
	case 5:
		put(t, "setp.%s.and.s32 %%p%u|%%p%u,%%r%u,%d,%s%%p%u;\n", roll(2) ? "lt" : "gt", roll(4), 4 + roll(2), roll(8),
		    (int)roll(1000) - 500, roll(2) ? "!" : "", roll(4));
		break;
	case 6: put(t, "selp.b32 %%r%u,%%r%u,%%r%u,%%p%u;\n", roll(8), roll(8), roll(8), roll(4)); break;
	case 7: put(t, "mad.lo.s32 %%r%u,%%r%u,%%r%u,%%r%u;\n", roll(8), roll(8), roll(8), roll(8)); break;
	case 8: put(t, "mul.wide.s32 %%d%u,%%r%u,%%r%u;\n", roll(4), roll(8), roll(8)); break;
	case 9: put(t, "add.s64 %%d%u,%%d%u,%%d%u;\n", roll(4), roll(4), roll(4)); break;
	case 10: put(t, "cvt.u32.u64 %%r%u,%%d%u;\n", roll(8), roll(4)); break;
	case 11: put(t, "%s %%f%u,%%f%u,%%f%u;\n", fop[roll(MP_ARRAY_LEN(fop))], roll(4), roll(4), roll(4)); break;
	case 12:
		if (roll(2))
			put(t, "cvt.rn.f32.s32 %%f%u,%%r%u;\n", roll(4), roll(8));
		else
			put(t, "cvt.rzi.s32.f32 %%r%u,%%f%u;\n", roll(8), roll(4));
		break;
	case 13:
		if (roll(2))
			put(t, "st.shared.b32 [%%my+%u],%%r%u;\n", roll(4) * 4, roll(8));
		else
			put(t, "ld.shared.b32 %%r%u,[%%my+%u];\n", roll(8), roll(4) * 4);
		break;
	default:
		if (roll(2))
			put(t, "st.local.b32 [%%lo+%u],%%r%u;\n", roll(4) * 4, roll(8));
		else
			put(t, "ld.local.b32 %%r%u,[%%lo+%u];\n", roll(8), roll(4) * 4);
	}
}

/* Short lives, so that registers share places: a few temporaries, set, changed under a guard, used. */
static void temporaries(struct text *t, uint32_t *next)
{
	uint32_t first = *next, n = 1 + roll(4), i;

	*next += n;
	for (i = 0; i < n; i++)
		put(t, "mov.b32 %%z%u,%%r%u;\n", first + i, roll(8));
	for (i = 0; i < n; i++) {
		guard(t);
		put(t, "add.s32 %%z%u,%%z%u,%%r%u;\n", first + i, first + roll(n), roll(8));
	}
	if (roll(2))
		instruction(t);
	for (i = 0; i < n; i++) {
		guard(t);
		put(t, "xor.b32 %%r%u,%%r%u,%%z%u;\n", roll(8), roll(8), first + i);
	}
}

static void program(struct text *t)
{
	uint32_t n = 2 + roll(12), b, i, next = 0;

	t->n = 0;
	put(t, HEAD ".func (.param .b32 r) f(.param .b32 x) { .reg .b32 %%a,%%b; .reg .pred %%q; ld.param.u32 %%a,[x];\n"
		    "setp.lt.u32 %%q,%%a,%u; @%%q bra S; mul.lo.s32 %%a,%%a,3; bra E; S: add.s32 %%a,%%a,%u;\n"
		    "E: st.param.b32 [r],%%a; ret; }\n",
	    roll(1u << 31), roll(1000));
	put(t, ".entry k(.param .u64 out) { .reg .b32 %%r<8>,%%z<400>,%%my,%%fuel,%%t; .reg .b64 %%d<4>,%%lo,%%o,%%w;\n"
	       ".reg .f32 %%f<4>; .reg .pred %%p<6>,%%end; .local .align 4 .b8 depot[16]; .shared .align 4 .b8 s[%u];\n"
	       "mov.u32 %%t,%%tid.x; shl.b32 %%my,%%t,4; mov.u32 %%fuel,s; add.s32 %%my,%%my,%%fuel; mov.u64 %%lo,depot;\n"
	       "mov.u32 %%r0,%%t; mov.u32 %%r1,%%ctaid.x; mad.lo.s32 %%r2,%%r1,%u,%%r0; mul.lo.s32 %%r3,%%r2,747796405;\n"
	       "xor.b32 %%r4,%%r3,%%r0; mov.u32 %%r5,%u; shr.u32 %%r6,%%r3,16; mov.u32 %%r7,1; mov.u32 %%fuel,%u;\n",
	    THREADS * 16, THREADS, roll(1u << 31), 5 + roll(60));
	for (i = 0; i < 4; i++)
		put(t, "cvt.u64.u32 %%d%u,%%r%u; cvt.rn.f32.s32 %%f%u,%%r%u; setp.lt.s32 %%p%u,%%r%u,%%r%u;\n"
		       "st.shared.b32 [%%my+%u],%%r%u; st.local.b32 [%%lo+%u],%%r%u;\n",
		    i, i + 2, i, i + 3, i, i + 1, i + 4, i * 4, i, i * 4, i + 4);
	put(t, "setp.ne.s32 %%p4,%%r0,0; setp.ne.s32 %%p5,%%r6,7; bar.sync 0;\n");
	for (b = 0; b < n; b++) {
		uint32_t k = roll(8);

		put(t, "B%u: sub.s32 %%fuel,%%fuel,1; setp.le.s32 %%end,%%fuel,0; @%%end bra DONE;\n", b);
		for (i = 0; i < k; i++)
			roll(4) ? instruction(t) : temporaries(t, &next);
		if (!roll(6))
			put(t, "{ .param .b32 a; st.param.b32 [a],%%r%u; .param .b32 v; call (v), f, (a); ld.param.b32 %%r%u,[v]; }\n",
			    roll(8), roll(8));
		switch (roll(6)) {
		case 0: break;
		case 1: put(t, "bra B%u;\n", roll(n)); break;
		case 2: put(t, "T%u: .branchtargets B%u, B%u, B%u; and.b32 %%t,%%r%u,1; brx.idx %%t, T%u;\n", b,
			    roll(n), roll(n), roll(n), roll(8), b);
			break;
		default: put(t, "@%s%%p%u bra B%u;\n", roll(2) ? "!" : "", roll(6), roll(n));
		}
	}
	put(t, "DONE: ld.param.u64 %%o,[out]; mov.u32 %%t,%%tid.x; mov.u32 %%fuel,%%ctaid.x; mad.lo.s32 %%t,%%fuel,%u,%%t;\n"
	       "mul.wide.u32 %%w,%%t,%u; add.s64 %%o,%%o,%%w;\n", THREADS, WORDS * 4);
	for (i = 0; i < 8; i++)
		put(t, "st.global.b32 [%%o+%u],%%r%u;\n", i * 4, i);
	for (i = 0; i < 2; i++)
		put(t, "st.global.b64 [%%o+%u],%%d%u;\n", 32 + i * 8, i);
	put(t, "st.global.f32 [%%o+48],%%f0; st.global.f32 [%%o+52],%%f1; ld.shared.b32 %%r0,[%%my+4];\n"
	       "st.global.b32 [%%o+56],%%r0; ld.local.b32 %%r1,[%%lo+8]; st.global.b32 [%%o+60],%%r1; ret; }\n");
}

MP_TEST(differential)
{
	const char *env = getenv("MOTORPOOL_TEST_ROUNDS"), *seed = getenv("MOTORPOOL_TEST_SEED");
	uint32_t rounds = env ? (uint32_t)atoi(env) : 300, i, k, bad = 0;
	uint64_t first = seed ? strtoull(seed, NULL, 0) : 1;
	static uint32_t want[THREADS * BLOCKS * WORDS];
	static struct text t;

	mp_exec_set_tier(1); /* test-tier.c has the other */
	for (i = 0; i < rounds && bad < 3; i++) {
		struct launch l = {.grid = {BLOCKS}, .block = {THREADS}};
		struct mp_exec_module *m;
		uint32_t *out;
		uint64_t p;
		int a, b;

		state = (first + i) * 0x9e3779b97f4a7c15u;
		program(&t);
		device_reset();
		m = module_of(t.s);
		out = device_new(sizeof(want));
		p = (uintptr_t)out;
		mp_exec_set_lanes(engine, 1);
		a = run(m, "k", l, &p, NULL);
		memcpy(want, out, sizeof(want));
		memset(out, 0xee, sizeof(want));
		mp_exec_set_lanes(engine, 32);
		b = run(m, "k", l, &p, NULL);
		MP_CHECK_EQ(a, MP_EXEC_OK);
		MP_CHECK_EQ(b, MP_EXEC_OK);
		for (k = 0; k < MP_ARRAY_LEN(want); k++)
			if (out[k] != want[k]) {
				printf("# seed %llu: thread %u word %u is %08x, one at a time %08x\n",
				       (unsigned long long)(first + i), k / WORDS, k % WORDS, out[k], want[k]);
				mp_test_failures++;
				bad++;
				break;
			}
		mp_exec_module_free(m);
	}
	printf("# %u programs from seed %llu\n", i, (unsigned long long)first);
}

MP_TEST_MAIN()
