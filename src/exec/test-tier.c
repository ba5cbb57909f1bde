/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three ways to run a random program (see test-program.h): one thread at a time,
 * by the first tier's warps, and compiled.  All must leave the same memory, bit
 * by bit.  MOTORPOOL_TEST_ROUNDS and MOTORPOOL_TEST_SEED choose how many and
 * where to begin; most are compiled without optimisation, every 256th as a
 * program's kernels are.
 */
#include "exec/test-program.h"

#include <time.h>

#include "exec/warp.h"
#include "jit/jit.h"

enum way { ONE, WARPS, COMPILED };

static const char *const way_names[] = {"one at a time", "first tier", "second tier"};

static uint32_t *out, *in;
static struct program_text text;

static void input_fill(void)
{
	static const uint32_t edges[] = {0, 1, 0xffffffff, 0x80000000, 0x7fffffff, 0x7f800000, 0xff800000, 0x7fc12345,
					 0xff812345, 0x00000001, 0x80000001, 0x007fffff, 0x3f800000, 0xbf800000, 0x4f000000, 0xcf000000,
					 0x3effffff, 0x40200000, 0x3f000000, 0x4b000001, 0x7f7fffff, 31, 32, 255};
	uint32_t i;

	for (i = 0; i < INPUT; i++)
		in[i] = i % 3 ? i * 2654435761u ^ i << 20 : edges[i / 3 % MP_ARRAY_LEN(edges)];
}

/* A program ends, if it is a right one; one that errs on purpose is cut off. */
static int run_for(struct mp_exec_module *m, struct launch l, const void *p, uint64_t *cancel)
{
	struct test_wait w;
	struct timespec until;
	int r = submit(m, "k", l, p, &w);

	if (r)
		return r;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		if (pthread_cond_timedwait(&w.cond, &w.lock, &until))
			__atomic_store_n(cancel, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&w.lock);
	return w.fault.outcome;
}

/* Run the module's kernel in fresh memory; the result is in `out`. */
static int run_way(struct mp_exec_module *m, enum way way)
{
	struct { uint64_t out, in; uint32_t n; } p = {(uintptr_t)out, (uintptr_t)in, 5};
	uint64_t cancel = 0;
	struct launch l = {.grid = {BLOCKS}, .cancel = &cancel};
	int r;

	memcpy(l.block, text.block, sizeof(l.block));
	input_fill();
	memset(out, 0xee, TOTAL * 4);
	mp_exec_set_tier(way == COMPILED ? 2 : 1);
	if (way == ONE)
		mp_exec_set_lanes(engine, 1);
	r = run_for(m, l, &p, &cancel);
	if (way == ONE)
		mp_exec_set_lanes(engine, 32);
	return r;
}

static struct mp_exec_module *load(void)
{
	struct mp_exec_module *m;

	device_reset();
	m = module_of(text.s);
	out = device_new(TOTAL * 4);
	in = device_new(INPUT * 4);
	return m;
}

static bool double_nans(const uint32_t *a, const uint32_t *b)
{
	double x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x != x && y != y;
}

/* The first word that differs, or TOTAL. */
static uint32_t difference(const uint32_t *a, const uint32_t *b)
{
	uint32_t k;

	for (k = 0; k < TOTAL; k++)
		if (a[k] != b[k] && !(k < PAIRS && k % WORDS >= WORD_DOUBLES && k % WORDS < WORD_DOUBLES + 4 &&
				      double_nans(&a[k & ~1u], &b[k & ~1u])))
			break;
	return k;
}

static bool agree(uint64_t number, const uint32_t *want, enum way a, enum way b)
{
	uint32_t k = difference(out, want);

	if (k == TOTAL)
		return true;
	printf("# seed %llu: block of %u x %u, thread %u, word %u: %s %08x, %s %08x\n", (unsigned long long)number,
	       text.block[0], text.block[1], k / WORDS, k % WORDS, way_names[b], out[k], way_names[a], want[k]);
	if (getenv("MOTORPOOL_TEST_SHOW"))
		printf("%s\n", text.s);
	mp_test_failures++;
	return false;
}

MP_TEST(tiers_agree)
{
	const char *env = getenv("MOTORPOOL_TEST_ROUNDS"), *seed = getenv("MOTORPOOL_TEST_SEED");
	uint32_t rounds = env ? (uint32_t)atoi(env) : 40, i, bad = 0, alone = 0;
	uint64_t first = seed ? strtoull(seed, NULL, 0) : 1;
	static uint32_t want[TOTAL];
	struct mp_exec_stats before, after;

	if (!mp_exec_compiler()) {
		printf("# no libLLVM here: nothing to compare\n");
		return;
	}
	device_reset();
	mp_exec_stats(engine, &before);
	for (i = 0; i < rounds && bad < 3; i++) {
		struct mp_exec_module *m;
		int r;

		program_make(&text, first + i);
		m = load();
		mp_exec_set_quick((first + i) % 256 != 0);
		r = run_way(m, WARPS);
		memcpy(want, out, sizeof(want));
		if (!r && !text.warp_matters) {
			r = run_way(m, ONE);
			bad += !agree(first + i, want, WARPS, ONE);
			alone++;
		}
		if (!r) {
			r = run_way(m, COMPILED);
			bad += !agree(first + i, want, WARPS, COMPILED);
		}
		if (r) {
			printf("# seed %llu: outcome %d\n%s\n", (unsigned long long)(first + i), r, text.s);
			bad++;
			mp_test_failures++;
		}
		mp_exec_module_free(m);
		if (i % 1000 == 999) {
			printf("# %u programs\n", i + 1);
			fflush(stdout);
		}
	}
	mp_exec_stats(engine, &after);
	printf("# %u programs from seed %llu, %u of them one thread at a time too; %llu blocks compiled, %llu warps left\n", i,
	       (unsigned long long)first, alone, (unsigned long long)(after.compiled_blocks - before.compiled_blocks),
	       (unsigned long long)(after.left_warps - before.left_warps));
	/* nearly all of them must have been compiled, or nothing was compared */
	MP_CHECK(bad || after.compiled_blocks - before.compiled_blocks >= (uint64_t)i * BLOCKS * 9 / 10);
}

/* What random programs found once: each is the body of a kernel with its own small inputs. */
MP_TEST(found_before)
{
	static const char *const bodies[] = {
		/* the guard of a comparison is one of its two results */
		"setp.gt.s32 %p0,%r0,5; setp.lt.s32 %p3,%r0,20; @!%p0 setp.gt.and.s32 %p0|%p3,%r0,3,%p3;",
		"setp.gt.s32 %p0,%r0,5; setp.lt.s32 %p3,%r0,20; @%p0 setp.gt.or.s32 %p3|%p0,%r0,9,%p3;",
	};
	static uint32_t want[TOTAL];
	size_t i;

	if (!mp_exec_compiler())
		return;
	for (i = 0; i < MP_ARRAY_LEN(bodies); i++) {
		struct mp_exec_module *m;

		memcpy(text.block, (uint32_t[]){64, 1, 1}, sizeof(text.block));
		snprintf(text.s, sizeof(text.s),
			 HEAD ".entry k(.param .u64 out, .param .u64 in, .param .u32 n) { .reg .b32 %%r<8>; .reg .b64 %%d<4>;\n"
			      ".reg .pred %%p<4>; mov.u32 %%r0,%%tid.x; ld.param.u64 %%d0,[out]; mul.wide.u32 %%d1,%%r0,16;\n"
			      "add.s64 %%d0,%%d0,%%d1; mov.u32 %%r4,0;\n%s\n"
			      "selp.b32 %%r1,1,0,%%p0; selp.b32 %%r2,1,0,%%p3; st.global.v4.b32 [%%d0],{%%r0,%%r1,%%r2,%%r4}; ret; }\n",
			 bodies[i]);
		m = load();
		MP_CHECK_EQ(run_way(m, WARPS), MP_EXEC_OK);
		memcpy(want, out, sizeof(want));
		MP_CHECK_EQ(run_way(m, COMPILED), MP_EXEC_OK);
		MP_CHECK(agree(i, want, WARPS, COMPILED));
		mp_exec_module_free(m);
	}
}

/* ---- What the comparison finds ---- */

/* Operations that a handler, or the emitter, takes for others. */
static const char *const taken[][2] = {
	{"add.32", "sub.32"}, {"sub.32", "add.32"}, {"mul.lo.32", "add.32"}, {"and.32", "or.32"}, {"or.32", "xor.32"},
	{"xor.32", "or.32"}, {"min.s32", "min.u32"}, {"min.u32", "min.s32"}, {"max.s32", "max.u32"}, {"max.u32", "min.u32"},
	{"shl.32", "shr.u32"}, {"shr.u32", "shr.s32"}, {"shr.s32", "shr.u32"}, {"mul.hi.u32", "mul.hi.s32"},
	{"mul.hi.s32", "mul.hi.u32"}, {"mad.lo.32", "mad.hi.u32"}, {"mad.hi.s32", "mad.hi.u32"}, {"mad.hi.u32", "mad.hi.s32"},
	{"not.32", "neg.32"}, {"neg.32", "not.32"}, {"abs.s32", "neg.32"}, {"cnot.32", "not.32"}, {"sad.s32", "sad.u32"},
	{"sad.u32", "sad.s32"}, {"add.sat.s32", "add.32"}, {"sub.sat.s32", "sub.32"}, {"mul24.lo.s32", "mul.lo.32"},
	{"mul24.hi.u32", "mul24.hi.s32"}, {"div.u32", "div.s32"}, {"div.s32", "div.u32"}, {"rem.u32", "rem.s32"},
	{"rem.s32", "rem.u32"}, {"div.u64", "div.s64"}, {"rem.s64", "rem.u64"}, {"add.64", "sub.64"}, {"sub.64", "add.64"},
	{"mul.lo.64", "add.64"}, {"and.64", "xor.64"}, {"xor.64", "or.64"}, {"min.s64", "min.u64"}, {"max.u64", "max.s64"},
	{"mul.hi.u64", "mul.hi.s64"}, {"mul.wide.s32", "mul.wide.u32"}, {"mul.wide.u32", "mul.wide.s32"},
	{"mad.wide.s32", "mad.wide.u32"}, {"mad.wide.u32", "mad.wide.s32"}, {"shl.64", "shr.u64"}, {"shr.s64", "shr.u64"},
	{"neg.64", "not.64"}, {"cvt.u64.s32", "cvt.u64.u32"}, {"cvt.s64.s32", "cvt.u64.u32"}, {"popc.64", "clz.64"},
	{"setp.lt.s32", "setp.le.s32"}, {"setp.lt.u32", "setp.lt.s32"},
	{"setp.eq.s32", "setp.ne.s32"}, {"setp.gt.s32", "setp.ge.s32"}, {"setp.gt.u32", "setp.gt.s32"},
	{"setp.ge.s32", "setp.gt.s32"}, {"setp.lt.s64", "setp.lt.u64"}, {"setp.lt.f32", "setp.ltu.f32"},
	{"setp.neu.f32", "setp.ne.f32"}, {"setp.ltu.f32", "setp.lt.f32"}, {"setp.num.f32", "setp.nan.f32"},
	{"and.pred", "or.pred"}, {"or.pred", "xor.pred"}, {"xor.pred", "and.pred"}, {"not.pred", "mov.pred"},
	{"add.f32", "sub.f32"}, {"mul.f32", "add.f32"}, {"sub.f32", "add.f32"}, {"min.f32", "max.f32"}, {"max.f32", "min.f32"},
	{"add.ftz.f32", "add.f32"}, {"mul.ftz.f32", "mul.f32"}, {"add.sat.f32", "add.f32"}, {"div.f32", "mul.f32"},
	{"fma.ftz.f32", "fma.f32"}, {"fma.sat.f32", "fma.f32"}, {"neg.f32", "abs.f32"}, {"abs.f32", "neg.f32"},
	{"sqrt.f32", "rcp.f32"}, {"min.ftz.f32", "min.f32"}, {"max.NaN.f32", "max.f32"}, {"add.f64", "sub.f64"},
	{"mul.f64", "add.f64"}, {"min.f64", "max.f64"}, {"div.f64", "mul.f64"}, {"neg.f64", "abs.f64"},
	{"cvt.f32.s32", "cvt.f32.u32"}, {"cvt.f32.u32", "cvt.f32.s32"}, {"add.f16", "sub.f16"}, {"mul.f16", "add.f16"},
	{"add.f16x2", "mul.f16x2"}, {"max.f16", "min.f16"}, {"popc.32", "clz.32"}, {"clz.32", "popc.32"},
	{"brev.32", "not.32"},
	{"bfe.u32", "bfe.s32"}, {"bfe.s32", "bfe.u32"}, {"shf.l.wrap", "shf.l.clamp"}, {"shf.r.clamp", "shf.r.wrap"},
	{"bfind.s32", "bfind.u32"}, {"add.16", "sub.16"}, {"mul.lo.16", "add.16"}, {"min.s16", "min.u16"},
	{"mul.wide.s16", "mul.wide.u16"}, {"mul.hi.u16", "mul.hi.s16"}, {"shr.s16", "shr.u16"}, {"neg.16", "not.16"},
	{"cvt.s32.s16", "cvt.u32.u16"}, {"cvt.u32.u16", "cvt.s32.s16"}, {"vote.any", "vote.all"}, {"vote.all", "vote.any"},
	{"vote.uni", "vote.all"}, {"atom.add.u32", "atom.xor.b32"}, {"atom.min.s32", "atom.min.u32"},
	{"atom.max.u32", "atom.max.s32"}, {"atom.inc.u32", "atom.add.u32"}, {"atom.exch.b32", "atom.or.b32"},
	{"redux.min.s32", "redux.max.s32"}, {"redux.xor.u32", "redux.or.u32"}, {"match.any.32", "match.all.32"},
	{"ex2.f32", "lg2.f32"}, {"sin.f32", "ex2.f32"}, {"rsqrt.f32", "sqrt.f32"},
};

/*
 * Operations that compiled code leaves to the first tier's handlers, or whose
 * types it takes from elsewhere than the name: what they are taken for is nothing to it.
 */
static bool handlers_own(const char *name)
{
	static const char *const names[] = {"mul.hi.u64", "mul.hi.s64", "mul24.", "add.sat.", "sub.sat.", "div.u64", "rem.s64",
					    "add.f16", "mul.f16", "max.f16", "bfind", "redux", "match", "atom", "ex2",
					    "sin", "max.NaN", "cvt.u64.s32", "cvt.s64.s32", "cvt.s32.s16",
					    "cvt.u32.u16"};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(names); i++)
		if (!strncmp(name, names[i], strlen(names[i])) && strcmp(name, "add.sat.f32"))
			return true;
	return false;
}

struct faults {
	uint32_t found, missed, absent;
	uint32_t programs, limit;
};

/* `which` is "all", "a few", or a name. */
static bool wanted(const char *which, const char *name)
{
	static const char *const few[] = {"add.32", "shr.s32", "and.pred", "GUARD_IGNORED", "MASK_IGNORED", "STRIDE_LOST",
					  "BRANCH_SWAPPED"};
	size_t i;

	if (strcmp(which, "a few"))
		return !strcmp(which, "all") || !strcmp(which, name);
	for (i = 0; i < MP_ARRAY_LEN(few); i++)
		if (!strcmp(few[i], name))
			return true;
	return false;
}

static void fault_count(struct faults *n, const char *what, const char *a, const char *b, bool met, bool found)
{
	n->found += found;
	n->missed += met && !found;
	n->absent += !met;
	if (!found)
		printf("# %s %s%s%s: %s\n", what, a, b ? " taken for " : "", b ? b : "", met ? "not found" : "in no program");
}

/* One wrong tier on programs until one shows it. */
static bool fault_hunt(struct faults *n, enum way way, bool *met)
{
	static uint32_t want[TOTAL];
	uint32_t s, tries = 0;

	*met = false;
	for (s = 0; s < n->limit && tries < 150; s++) {
		struct handler_seed seed = handler_seed;
		struct mp_exec_stats before, after;
		struct mp_exec_module *m;
		bool differs;
		int r;

		/* from the programs that tiers_agree has found to agree */
		program_make(&text, 1 + s);
		handler_seed.from = NULL;
		m = load();
		if (run_way(m, WARPS)) {
			mp_exec_module_free(m);
			continue;
		}
		memcpy(want, out, sizeof(want));
		handler_seed = seed;
		handler_seed.met = 0;
		if (way == WARPS || seed.from) { /* decoding tells whether the operation is in it */
			handler_seed.second = false;
			mp_exec_module_free(m);
			m = load();
			r = run_way(m, WARPS);
			differs = handler_seed.met && (r || difference(out, want) != TOTAL);
			/* what does not show there will not show here */
			if (way == COMPILED && differs) {
				handler_seed.from = NULL;
				mp_exec_module_free(m);
				m = load();
				run_way(m, WARPS);
				handler_seed = seed;
				r = run_way(m, COMPILED);
				differs = r || difference(out, want) != TOTAL;
				handler_seed.met = 1;
			}
			*met |= handler_seed.met != 0;
		} else {
			mp_exec_stats(engine, &before);
			r = run_way(m, COMPILED);
			mp_exec_stats(engine, &after);
			differs = r || difference(out, want) != TOTAL;
			tries += after.compiled_blocks != before.compiled_blocks;
			*met |= after.compiled_blocks != before.compiled_blocks;
		}
		handler_seed = seed;
		mp_exec_module_free(m);
		n->programs++;
		if (differs) {
			if (getenv("MOTORPOOL_TEST_SHOW"))
				printf("# program %u\n%s", 1 + s, text.s);
			return true;
		}
	}
	return false;
}

/*
 * MOTORPOOL_TEST_FAULTS=all: every seeded fault, each on as many programs as it
 * takes; none: no fault; a name: those of that name.  Otherwise some of them on a
 * few.
 */
MP_TEST(seeded_faults_are_found)
{
	const char *env = getenv("MOTORPOOL_TEST_FAULTS"), *name;
	const char *one = env ? env : "a few";
	bool all = env, met, found;
	struct faults n = {.limit = all ? 4000 : 600};
	uint32_t i, seeded;

	if (!mp_exec_compiler() || (env && !strcmp(env, "none"))) {
		printf("# no libLLVM here: nothing to compare\n");
		return;
	}
	mp_exec_set_quick(true);
	for (i = 0; i < MP_ARRAY_LEN(taken); i++) {
		enum way way;

		if (!wanted(one, taken[i][0]))
			continue;

		for (way = WARPS; way <= COMPILED; way++) {
			if (way == COMPILED && handlers_own(taken[i][0]))
				continue;
			handler_seed = (struct handler_seed){taken[i][0], taken[i][1], way == COMPILED, 0};
			found = fault_hunt(&n, way, &met);
			handler_seed.from = NULL;
			fault_count(&n, way_names[way], taken[i][0], taken[i][1], met, found);
		}
	}
	for (i = 1; (name = mp_jit_seed(i)); i++) {
		if (!wanted(one, name))
			continue;
		found = fault_hunt(&n, COMPILED, &met);
		fault_count(&n, "emitter", name, NULL, met, found);
	}
	mp_jit_seed(0);
	mp_exec_set_quick(false);
	seeded = n.found + n.missed + n.absent;
	printf("# %u of %u seeded faults found (%.1f %%), %u missed, %u in no program; %u runs\n", n.found, seeded,
	       100.0 * n.found / seeded, n.missed, n.absent, n.programs);
	MP_CHECK(n.found * 100 >= seeded * 95);
}

/* The last test: LLVM is not used again after it. */
MP_TEST(a_compiler_that_breaks_down_is_survived)
{
	static uint32_t want[TOTAL];
	struct mp_exec_stats before, after;
	struct mp_exec_module *m;

	if (!mp_exec_compiler())
		return;
	program_make(&text, 4);
	m = load();
	MP_CHECK_EQ(run_way(m, WARPS), MP_EXEC_OK);
	memcpy(want, out, sizeof(want));
	mp_exec_stats(engine, &before);
	mp_jit_seed(MP_JIT_SEED_BREAKDOWN);
	MP_CHECK_EQ(run_way(m, COMPILED), MP_EXEC_OK);
	mp_jit_seed(0);
	mp_exec_stats(engine, &after);
	MP_CHECK_EQ(after.compiled_blocks, before.compiled_blocks);
	MP_CHECK(agree(4, want, WARPS, COMPILED));
	MP_CHECK(!mp_exec_compiler());
	mp_exec_module_free(m);
}

MP_TEST_MAIN()
