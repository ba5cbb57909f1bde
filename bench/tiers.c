/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two tiers of the soft GPU against C of the same algorithms, on one core:
 * medians of interleaved pairs, and every result compared with the C's.  Then
 * how two host threads compare with one, and how long a first launch takes.
 *
 *     tiers [SECONDS-PER-ROW [ROW...]]
 */
#include "tiers.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "exec/exec.h"

#define HEAD   ".version 8.0\n.target sm_75\n.address_size 64\n"
#define WINDOW (1ull << 30)

static char *window;
static size_t used;
static struct mp_exec_space space;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Processor time of all threads: on one core the same as the clock, and deaf to what else runs here. */
static double spent(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static uint64_t device_get(void *arg, size_t size, size_t align)
{
	used = mp_align_up(used, align);
	used += size;
	if (used > WINDOW)
		abort();
	return (uintptr_t)window + used - size;
}

static void *device_new(size_t n)
{
	return (void *)(uintptr_t)device_get(NULL, n, 4096);
}

/* ---- Kernels, as a compiler would write them ---- */

static char text[1 << 20];
static size_t len;

__attribute__((format(printf, 1, 2))) static void put(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	len += (size_t)vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
}

static void vadd_text(void)
{
	put(".visible .entry vadd(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n"
	    "{ .reg .pred %%p<2>; .reg .b32 %%r<6>; .reg .f32 %%f<4>; .reg .b64 %%rd<11>;\n"
	    "ld.param.u64 %%rd1,[a]; ld.param.u64 %%rd2,[b]; ld.param.u64 %%rd3,[c]; ld.param.u32 %%r2,[n];\n"
	    "mov.u32 %%r3,%%ctaid.x; mov.u32 %%r4,%%ntid.x; mov.u32 %%r5,%%tid.x;\n"
	    "mad.lo.s32 %%r1,%%r3,%%r4,%%r5; setp.ge.s32 %%p1,%%r1,%%r2; @%%p1 bra $L2;\n"
	    "cvta.to.global.u64 %%rd4,%%rd1; mul.wide.s32 %%rd5,%%r1,4; add.s64 %%rd6,%%rd4,%%rd5;\n"
	    "cvta.to.global.u64 %%rd7,%%rd2; add.s64 %%rd8,%%rd7,%%rd5; ld.global.f32 %%f1,[%%rd8];\n"
	    "ld.global.f32 %%f2,[%%rd6]; add.f32 %%f3,%%f2,%%f1; cvta.to.global.u64 %%rd9,%%rd3;\n"
	    "add.s64 %%rd10,%%rd9,%%rd5; st.global.f32 [%%rd10],%%f3; $L2: ret; }\n");
}

static void chain_text(void)
{
	put(".visible .entry chain(.param .u64 x, .param .u32 n, .param .f32 p, .param .f32 q, .param .u32 steps)\n"
	    "{ .reg .pred %%p<4>; .reg .b32 %%r<9>; .reg .f32 %%f<8>; .reg .b64 %%rd<5>;\n"
	    "ld.param.u64 %%rd1,[x]; ld.param.u32 %%r2,[n]; ld.param.f32 %%f1,[p]; ld.param.f32 %%f2,[q];\n"
	    "ld.param.u32 %%r6,[steps]; mov.u32 %%r3,%%ctaid.x; mov.u32 %%r4,%%ntid.x; mov.u32 %%r5,%%tid.x;\n"
	    "mad.lo.s32 %%r1,%%r3,%%r4,%%r5; setp.ge.s32 %%p1,%%r1,%%r2; @%%p1 bra $E;\n"
	    "cvta.to.global.u64 %%rd2,%%rd1; mul.wide.s32 %%rd3,%%r1,4; add.s64 %%rd4,%%rd2,%%rd3;\n"
	    "ld.global.f32 %%f3,[%%rd4]; setp.lt.s32 %%p2,%%r6,1; @%%p2 bra $S; mov.u32 %%r7,0;\n"
	    "$B: fma.rn.f32 %%f4,%%f3,%%f1,%%f2; fma.rn.f32 %%f3,%%f4,%%f1,%%f2; add.s32 %%r7,%%r7,1;\n"
	    "setp.lt.s32 %%p3,%%r7,%%r6; @%%p3 bra $B;\n$S: st.global.f32 [%%rd4],%%f3;\n$E: ret; }\n");
}

static void matmul_text(void)
{
	int k;

	put(".visible .entry matmul(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n"
	    "{ .reg .pred %%p<3>; .reg .b32 %%r<40>; .reg .f32 %%f<60>; .reg .b64 %%rd<20>;\n"
	    ".shared .align 4 .b8 as[1024]; .shared .align 4 .b8 bs[1024];\n"
	    "ld.param.u64 %%rd1,[a]; ld.param.u64 %%rd2,[b]; ld.param.u64 %%rd3,[c]; ld.param.u32 %%r1,[n];\n"
	    "mov.u32 %%r2,%%tid.x; mov.u32 %%r3,%%tid.y; mov.u32 %%r4,%%ctaid.x; mov.u32 %%r5,%%ctaid.y;\n"
	    "shl.b32 %%r6,%%r5,4; add.s32 %%r7,%%r6,%%r3; shl.b32 %%r8,%%r4,4; add.s32 %%r9,%%r8,%%r2;\n"
	    "mov.f32 %%f1,0f00000000; setp.lt.s32 %%p1,%%r1,1; @%%p1 bra $S;\n"
	    "cvta.to.global.u64 %%rd4,%%rd1; cvta.to.global.u64 %%rd5,%%rd2;\n"
	    "shl.b32 %%r10,%%r3,6; mov.u32 %%r11,as; add.s32 %%r12,%%r11,%%r10; shl.b32 %%r13,%%r2,2;\n"
	    "add.s32 %%r14,%%r12,%%r13; mov.u32 %%r15,bs; add.s32 %%r16,%%r15,%%r13; add.s32 %%r17,%%r16,%%r10;\n"
	    "mad.lo.s32 %%r18,%%r7,%%r1,%%r2; mul.lo.s32 %%r20,%%r3,%%r1; add.s32 %%r21,%%r20,%%r9;\n"
	    "shl.b32 %%r22,%%r1,4; mov.u32 %%r19,0;\n"
	    "$B: mul.wide.s32 %%rd6,%%r18,4; add.s64 %%rd7,%%rd4,%%rd6; ld.global.f32 %%f2,[%%rd7];\n"
	    "st.shared.f32 [%%r14],%%f2; mul.wide.s32 %%rd8,%%r21,4; add.s64 %%rd9,%%rd5,%%rd8;\n"
	    "ld.global.f32 %%f3,[%%rd9]; st.shared.f32 [%%r17],%%f3; bar.sync 0;\n");
	for (k = 0; k < 16; k++)
		put("ld.shared.f32 %%f%d,[%%r12+%d]; ld.shared.f32 %%f%d,[%%r16+%d]; fma.rn.f32 %%f1,%%f%d,%%f%d,%%f1;\n",
		    4 + 2 * k, 4 * k, 5 + 2 * k, 64 * k, 4 + 2 * k, 5 + 2 * k);
	put("bar.sync 0; add.s32 %%r18,%%r18,16; add.s32 %%r21,%%r21,%%r22; add.s32 %%r19,%%r19,16;\n"
	    "setp.lt.s32 %%p2,%%r19,%%r1; @%%p2 bra $B;\n"
	    "$S: cvta.to.global.u64 %%rd10,%%rd3; mad.lo.s32 %%r23,%%r7,%%r1,%%r9; mul.wide.s32 %%rd11,%%r23,4;\n"
	    "add.s64 %%rd12,%%rd10,%%rd11; st.global.f32 [%%rd12],%%f1; ret; }\n");
}

/* 64 x 64 of the result to a block of 16 x 16 threads: rows ty + 16 i, columns tx + 16 j. */
static void matmul_regs_text(void)
{
	int i, j, k;

	put(".visible .entry matmul_regs(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n"
	    "{ .reg .pred %%p<3>; .reg .b32 %%r<60>; .reg .f32 %%f<200>; .reg .b64 %%rd<60>;\n"
	    ".shared .align 4 .b8 as[4096]; .shared .align 4 .b8 bs[4096];\n"
	    "ld.param.u64 %%rd1,[a]; ld.param.u64 %%rd2,[b]; ld.param.u64 %%rd3,[c]; ld.param.u32 %%r1,[n];\n"
	    "mov.u32 %%r2,%%tid.x; mov.u32 %%r3,%%tid.y; mov.u32 %%r4,%%ctaid.x; mov.u32 %%r5,%%ctaid.y;\n"
	    "shl.b32 %%r6,%%r5,6; add.s32 %%r7,%%r6,%%r3; shl.b32 %%r8,%%r4,6; add.s32 %%r9,%%r8,%%r2;\n"
	    "cvta.to.global.u64 %%rd4,%%rd1; cvta.to.global.u64 %%rd5,%%rd2; shl.b32 %%r22,%%r1,4;\n"
	    "shl.b32 %%r10,%%r3,2; mov.u32 %%r11,as; add.s32 %%r12,%%r11,%%r10; shl.b32 %%r13,%%r2,2;\n"
	    "mov.u32 %%r15,bs; add.s32 %%r16,%%r15,%%r13; shl.b32 %%r24,%%r3,8; add.s32 %%r17,%%r16,%%r24;\n"
	    /* as[k][i]: thread (tx, ty) brings column k = tx of rows ty + 16 i */
	    "shl.b32 %%r25,%%r2,8; add.s32 %%r14,%%r12,%%r25; mov.u32 %%r19,0;\n"
	    "mad.lo.s32 %%r18,%%r7,%%r1,%%r2; mad.lo.s32 %%r21,%%r3,%%r1,%%r9;\n");
	for (i = 0; i < 16; i++)
		put("mov.f32 %%f%d,0f00000000;\n", i);
	put("$B: mov.u32 %%r26,%%r18;\n");
	for (i = 0; i < 4; i++)
		put("mul.wide.s32 %%rd6,%%r26,4; add.s64 %%rd7,%%rd4,%%rd6; ld.global.f32 %%f%d,[%%rd7];\n"
		    "add.s32 %%r26,%%r26,%%r22;\n", 20 + i);
	put("mul.wide.s32 %%rd8,%%r21,4; add.s64 %%rd9,%%rd5,%%rd8;\n");
	for (i = 0; i < 4; i++)
		put("ld.global.f32 %%f%d,[%%rd9+%d];\n", 24 + i, 64 * i);
	for (i = 0; i < 4; i++)
		put("st.shared.f32 [%%r14+%d],%%f%d; st.shared.f32 [%%r17+%d],%%f%d;\n", 64 * i, 20 + i, 64 * i, 24 + i);
	put("bar.sync 0;\n");
	for (k = 0; k < 16; k++) {
		for (i = 0; i < 4; i++)
			put("ld.shared.f32 %%f%d,[%%r12+%d]; ld.shared.f32 %%f%d,[%%r16+%d];\n", 40 + i + (k & 1) * 8,
			    256 * k + 64 * i, 44 + i + (k & 1) * 8, 256 * k + 64 * i);
		for (i = 0; i < 4; i++)
			for (j = 0; j < 4; j++)
				put("fma.rn.f32 %%f%d,%%f%d,%%f%d,%%f%d;\n", 4 * i + j, 40 + i + (k & 1) * 8, 44 + j + (k & 1) * 8,
				    4 * i + j);
	}
	put("bar.sync 0; add.s32 %%r18,%%r18,16; add.s32 %%r21,%%r21,%%r22; add.s32 %%r19,%%r19,16;\n"
	    "setp.lt.s32 %%p2,%%r19,%%r1; @%%p2 bra $B; cvta.to.global.u64 %%rd10,%%rd3;\n"
	    "mad.lo.s32 %%r23,%%r7,%%r1,%%r9;\n");
	for (i = 0; i < 4; i++) {
		put("mul.wide.s32 %%rd11,%%r23,4; add.s64 %%rd12,%%rd10,%%rd11;\n");
		for (j = 0; j < 4; j++)
			put("st.global.f32 [%%rd12+%d],%%f%d;\n", 64 * j, 4 * i + j);
		put("add.s32 %%r23,%%r23,%%r22;\n");
	}
	put("ret; }\n");
}

static void mandel_text(void)
{
	put(".visible .entry mandel(.param .u64 out, .param .u32 w, .param .u32 h, .param .u32 limit)\n"
	    "{ .reg .pred %%p<6>; .reg .b32 %%r<16>; .reg .f32 %%f<20>; .reg .b64 %%rd<5>;\n"
	    "ld.param.u64 %%rd1,[out]; ld.param.u32 %%r1,[w]; ld.param.u32 %%r2,[h]; ld.param.u32 %%r3,[limit];\n"
	    "mov.u32 %%r4,%%ctaid.x; mov.u32 %%r5,%%ntid.x; mov.u32 %%r6,%%tid.x; mad.lo.s32 %%r7,%%r4,%%r5,%%r6;\n"
	    "mov.u32 %%r8,%%ctaid.y; setp.ge.s32 %%p1,%%r7,%%r1; @%%p1 bra $E;\n"
	    "cvt.rn.f32.s32 %%f1,%%r7; mul.f32 %%f2,%%f1,0f3BA3D70A; add.f32 %%f3,%%f2,0fC0000000;\n"
	    "cvt.rn.f32.s32 %%f4,%%r8; mul.f32 %%f5,%%f4,0f3BA3D70A; add.f32 %%f6,%%f5,0fBFA00000;\n"
	    "mov.u32 %%r9,0; mov.f32 %%f7,0f00000000; mov.f32 %%f8,%%f7; mov.f32 %%f9,%%f7; mov.f32 %%f10,%%f7;\n"
	    "setp.lt.s32 %%p2,%%r3,1; @%%p2 bra $S;\n"
	    "$B: add.f32 %%f11,%%f7,%%f7; fma.rn.f32 %%f8,%%f11,%%f8,%%f6; sub.f32 %%f12,%%f9,%%f10;\n"
	    "add.f32 %%f7,%%f12,%%f3;"
	    "mul.f32 %%f9,%%f7,%%f7; mul.f32 %%f10,%%f8,%%f8; add.s32 %%r9,%%r9,1; add.f32 %%f13,%%f9,%%f10;\n"
	    "setp.lt.s32 %%p3,%%r9,%%r3; setp.le.f32 %%p4,%%f13,0f40800000; and.pred %%p5,%%p3,%%p4; @%%p5 bra $B;\n"
	    "$S: cvta.to.global.u64 %%rd2,%%rd1; mad.lo.s32 %%r10,%%r8,%%r1,%%r7; mul.wide.s32 %%rd3,%%r10,4;\n"
	    "add.s64 %%rd4,%%rd2,%%rd3; st.global.u32 [%%rd4],%%r9;\n$E: ret; }\n");
}

static void reduce_text(void)
{
	int d;

	put(".visible .entry reduce(.param .u64 x, .param .u32 n, .param .u64 out)\n"
	    "{ .reg .pred %%p<8>; .reg .b32 %%r<60>; .reg .b64 %%rd<8>; .shared .align 4 .b8 part[128];\n"
	    "ld.param.u64 %%rd1,[x]; ld.param.u32 %%r1,[n]; ld.param.u64 %%rd2,[out]; mov.u32 %%r2,%%ctaid.x;\n"
	    "mov.u32 %%r3,%%ntid.x; mov.u32 %%r4,%%tid.x; mad.lo.s32 %%r5,%%r2,%%r3,%%r4; mov.u32 %%r6,%%nctaid.x;\n"
	    "mul.lo.s32 %%r7,%%r3,%%r6; mov.u32 %%r8,0; setp.ge.s32 %%p1,%%r5,%%r1; @%%p1 bra $S;\n"
	    "cvta.to.global.u64 %%rd3,%%rd1;\n"
	    "$B: mul.wide.s32 %%rd4,%%r5,4; add.s64 %%rd5,%%rd3,%%rd4; ld.global.u32 %%r9,[%%rd5]; add.s32 %%r8,%%r9,%%r8;\n"
	    "add.s32 %%r5,%%r5,%%r7; setp.lt.s32 %%p2,%%r5,%%r1; @%%p2 bra $B;\n$S:\n");
	for (d = 16; d; d /= 2)
		put("shfl.sync.down.b32 %%r10|%%p3,%%r8,%d,31,-1; add.s32 %%r8,%%r10,%%r8;\n", d);
	put("and.b32 %%r11,%%r4,31; setp.ne.s32 %%p4,%%r11,0; shr.u32 %%r12,%%r4,5; shl.b32 %%r13,%%r12,2;\n"
	    "mov.u32 %%r14,part; add.s32 %%r15,%%r14,%%r13; @%%p4 bra $L; st.shared.u32 [%%r15],%%r8;\n"
	    "$L: bar.sync 0; setp.gt.u32 %%p5,%%r4,31; @%%p5 bra $E; shr.u32 %%r16,%%r3,5; setp.ge.u32 %%p6,%%r4,%%r16;\n"
	    "mov.u32 %%r17,0; shl.b32 %%r18,%%r4,2; add.s32 %%r19,%%r14,%%r18; @%%p6 bra $M;\n"
	    "ld.shared.u32 %%r17,[%%r19];\n$M:\n");
	for (d = 16; d; d /= 2)
		put("shfl.sync.down.b32 %%r20|%%p3,%%r17,%d,31,-1; add.s32 %%r17,%%r20,%%r17;\n", d);
	put("setp.ne.s32 %%p7,%%r4,0; @%%p7 bra $E; cvta.to.global.u64 %%rd6,%%rd2;\n"
	    "atom.global.add.u32 %%r21,[%%rd6],%%r17;\n"
	    "$E: ret; }\n");
}

/* ---- Running ---- */

struct done {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int n;
	bool failed;
};

static struct done done = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void on_done(void *arg, const struct mp_exec_fault *fault)
{
	pthread_mutex_lock(&done.lock);
	done.n++;
	done.failed |= fault != NULL;
	pthread_cond_signal(&done.cond);
	pthread_mutex_unlock(&done.lock);
}

struct work {
	struct mp_exec_kernel *kernel;
	uint32_t grid[3], block[3];
	const void *params;
};

static void launch(struct mp_exec *e, const struct work *w)
{
	struct mp_exec_grid g = {.kernel = w->kernel, .cluster = {1, 1, 1}, .params = w->params, .space = &space,
				 .done = on_done};

	memcpy(g.grid, w->grid, sizeof(g.grid));
	memcpy(g.block, w->block, sizeof(g.block));
	pthread_mutex_lock(&done.lock);
	done.n = 0;
	pthread_mutex_unlock(&done.lock);
	if (mp_exec_submit(e, &g))
		done.failed = true;
	else {
		pthread_mutex_lock(&done.lock);
		while (!done.n)
			pthread_cond_wait(&done.cond, &done.lock);
		pthread_mutex_unlock(&done.lock);
	}
	if (done.failed) {
		fprintf(stderr, "tiers: a kernel failed\n");
		exit(1);
	}
}

/* ---- Rows ---- */

#define VADD_N	 (4 << 20)
#define CHAIN_N	 (1 << 18)
#define MATMUL_N 256
#define MANDEL_W 640
#define MANDEL_H 500
#define REDUCE_N (4 << 20)

static float *fa, *fb, *fc, *fwant;
static int *ia, *iout, *iwant;

static void prepare_floats(void)
{
	int i;

	for (i = 0; i < VADD_N; i++)
		fa[i] = (float)(i % 1000) * 0.25f, fb[i] = (float)(i % 777) * 0.5f;
}

static void prepare_matrix(void)
{
	int i;

	for (i = 0; i < MATMUL_N * MATMUL_N; i++)
		fa[i] = (float)(i % 13) - 6, fb[i] = (float)(i % 17) - 8;
}

static void run_vadd(void) { c_vadd(fa, fb, fwant, VADD_N); }
static void run_chain(void) { c_chain(fwant, CHAIN_N, 0.75f, 0.125f, 64); }
static void run_matmul(void) { c_matmul(fa, fb, fwant, MATMUL_N); }
static void run_matmul_regs(void) { c_matmul_regs(fa, fb, fwant, MATMUL_N); }
static void run_mandel(void) { c_mandel(iwant, MANDEL_W, MANDEL_H, 256); }
static void run_reduce(void) { iwant[0] = c_reduce(ia, REDUCE_N); }

static struct { uint64_t a, b, c; uint32_t n; } p3;
static struct { uint64_t x; uint32_t n; float p, q; uint32_t steps; } p_chain;
static struct { uint64_t out; uint32_t w, h, limit; } p_mandel;
static struct { uint64_t x; uint32_t n, pad; uint64_t out; } p_reduce;

static const struct row {
	const char *name, *kernel;
	uint32_t grid[3], block[3];
	const void *params;
	void (*prepare)(void), (*c)(void);
	size_t bytes; /* of the result that is compared */
	bool ints;
	const char *aim;
} rows[] = {
	{"vector add", "vadd", {VADD_N / 256, 1, 1}, {256, 1, 1}, &p3, prepare_floats, run_vadd, VADD_N * 4ull, false,
	 "<= 2x its time"},
	{"multiply-add chain", "chain", {CHAIN_N / 256, 1, 1}, {256, 1, 1}, &p_chain, NULL, run_chain, CHAIN_N * 4ull, false,
	 ">= 5x faster"},
	{"matmul 16x16 tiles", "matmul", {MATMUL_N / 16, MATMUL_N / 16, 1}, {16, 16, 1}, &p3, prepare_matrix, run_matmul,
	 MATMUL_N * MATMUL_N * 4ull, false, ">= 2x faster"},
	{"matmul 4x4 registers", "matmul_regs", {MATMUL_N / 64, MATMUL_N / 64, 1}, {16, 16, 1}, &p3, prepare_matrix,
	 run_matmul_regs, MATMUL_N * MATMUL_N * 4ull, false, ">= 3x faster"},
	{"divergent Mandelbrot", "mandel", {MANDEL_W / 128, MANDEL_H, 1}, {128, 1, 1}, &p_mandel, NULL, run_mandel,
	 MANDEL_W *MANDEL_H * 4ull, true, ">= 4x faster"},
	{"shuffle reduction", "reduce", {64, 1, 1}, {256, 1, 1}, &p_reduce, NULL, run_reduce, 4, true, "<= 8x its time"},
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void reset(const struct row *r)
{
	int i;

	if (r->prepare)
		r->prepare();
	memset(fc, 0, r->bytes);
	memset(iout, 0, r->ints ? r->bytes : 4);
	if (!strcmp(r->kernel, "chain"))
		for (i = 0; i < CHAIN_N; i++)
			fc[i] = fwant[i] = (float)(i % 100) * 0.01f;
}

static double timed(struct mp_exec *e, const struct work *w, double (*clock)(void))
{
	double t = clock();

	launch(e, w);
	return clock() - t;
}

#define MAX_PAIRS 400

static void row(struct mp_exec *e, struct mp_exec_module *m, const struct row *r, double seconds)
{
	static double c[MAX_PAIRS], t1[MAX_PAIRS], t2[MAX_PAIRS], q1[MAX_PAIRS], q2[MAX_PAIRS];
	struct work w = {.kernel = mp_exec_module_find(m, r->kernel), .params = r->params};
	const void *got = r->ints ? (void *)iout : (void *)fc, *want = r->ints ? (void *)iwant : (void *)fwant;
	bool right = true;
	double end;
	int n, tier;

	memcpy(w.grid, r->grid, sizeof(w.grid));
	memcpy(w.block, r->block, sizeof(w.block));
	for (tier = 1; tier <= 2; tier++) {
		reset(r);
		mp_exec_set_tier(tier);
		launch(e, &w);
		r->c();
		right &= !memcmp(got, want, r->bytes);
	}
	end = now() + seconds;
	for (n = 0; n < MAX_PAIRS && (n < 5 || now() < end); n++) {
		double t = spent();

		r->c();
		c[n] = spent() - t;
		mp_exec_set_tier(2);
		t2[n] = timed(e, &w, spent);
		q2[n] = c[n] / t2[n];
		mp_exec_set_tier(1);
		t1[n] = n < 5 ? timed(e, &w, spent) : t1[n % 5];
		q1[n] = c[n] / t1[n];
	}
	printf("%-22s %9.3f %9.3f %9.3f %8.2f %8.2f   %-15s %s\n", r->name, median(c, n) * 1e3, median(t1, n) * 1e3,
	       median(t2, n) * 1e3, median(q1, n), median(q2, n), r->aim, right ? "" : "WRONG RESULT");
	fflush(stdout);
}

static void *chain_thread(void *arg)
{
	c_chain(arg, CHAIN_N, 0.75f, 0.125f, 64);
	return NULL;
}

static double chain_twice(bool together)
{
	double t = now();
	pthread_t a;

	if (together && !pthread_create(&a, NULL, chain_thread, fa)) {
		chain_thread(fb);
		pthread_join(a, NULL);
	} else {
		chain_thread(fa);
		chain_thread(fb);
	}
	return now() - t;
}

/* The gain of a second thread: of a grid, and of two copies of a C loop. */
static void scaling(struct mp_exec *one, struct mp_exec_module *m)
{
	struct mp_exec *two = mp_exec_new(2);
	struct work w = {.kernel = mp_exec_module_find(m, "chain"), .grid = {CHAIN_N / 256, 1, 1}, .block = {256, 1, 1},
			 .params = &p_chain};
	double grid[21], c[21], g, loop;
	int i;

	mp_exec_set_tier(2);
	launch(two, &w);
	for (i = 0; i < 21; i++) {
		double t = timed(one, &w, now);

		grid[i] = t / timed(two, &w, now);
		t = chain_twice(false);
		c[i] = t / chain_twice(true);
	}
	g = median(grid, 21);
	loop = median(c, 21);
	printf("\ntwo host threads against one: grid %.2fx, two copies of a C loop %.2fx, relation %.2f (aim >= 0.9)\n", g,
	       loop, g / loop);
	mp_exec_free(two);
}

/* A hundred instructions: address, loads, a polynomial, a store. */
static void small_text(char *s, size_t n)
{
	size_t at = (size_t)snprintf(s, n, HEAD
		".visible .entry small(.param .u64 x, .param .u32 n, .param .f32 p, .param .f32 q,\n"
		".param .u32 steps) { .reg .pred %%p<2>; .reg .b32 %%r<8>; .reg .f32 %%f<8>; .reg .b64 %%rd<5>;\n"
		"ld.param.u64 %%rd1,[x]; ld.param.u32 %%r2,[n]; ld.param.f32 %%f1,[p]; ld.param.f32 %%f2,[q];\n"
		"mov.u32 %%r3,%%ctaid.x; mov.u32 %%r4,%%ntid.x; mov.u32 %%r5,%%tid.x; mad.lo.s32 %%r1,%%r3,%%r4,%%r5;\n"
		"setp.ge.s32 %%p1,%%r1,%%r2; @%%p1 bra $E; cvta.to.global.u64 %%rd2,%%rd1; mul.wide.s32 %%rd3,%%r1,4;\n"
		"add.s64 %%rd4,%%rd2,%%rd3; ld.global.f32 %%f3,[%%rd4];\n");
	int i;

	for (i = 0; i < 42; i++)
		at += (size_t)snprintf(s + at, n - at, "mul.f32 %%f4,%%f3,%%f1; add.f32 %%f3,%%f4,%%f2;\n");
	snprintf(s + at, n - at, "st.global.f32 [%%rd4],%%f3; $E: ret; }\n");
}

/* The first launch of a module's kernel, which nobody has prepared. */
static double first_launch(struct mp_exec *e, int tier)
{
	static const struct mp_exec_alloc alloc = {.get = device_get};
	static char ptx[8192];
	struct mp_exec_module *m;
	struct work w = {.grid = {64, 1, 1}, .block = {256, 1, 1}, .params = &p_chain};
	char err[200];
	double t;

	small_text(ptx, sizeof(ptx));
	if (mp_exec_module_load(ptx, strlen(ptx), &alloc, &m, err, sizeof(err))) {
		fprintf(stderr, "tiers: %s\n", err);
		exit(1);
	}
	w.kernel = mp_exec_module_find(m, "small");
	mp_exec_set_tier(tier);
	t = now();
	if (mp_exec_kernel_prepare(w.kernel, err, sizeof(err)))
		exit(1);
	launch(e, &w);
	t = now() - t;
	mp_exec_module_free(m);
	return t * 1e3;
}

static void first_launches(struct mp_exec *e)
{
	double t1[21], t2[21], compiled;
	int i;

	compiled = first_launch(e, 2); /* and into the directory */
	for (i = 0; i < 21; i++) {
		t1[i] = first_launch(e, 1);
		t2[i] = first_launch(e, 2);
	}
	printf("\nfirst launch of a kernel of 100 instructions: tier 1 %.2f ms (aim <= 1), tier 2 from the directory %.2f ms "
	       "(aim <= 5), compiled %.1f ms\n", median(t1, 21), median(t2, 21), compiled);
}

static char cache[] = "/tmp/mp-tiers-XXXXXX";

static void cache_remove(void)
{
	DIR *d = opendir(cache);
	struct dirent *x;

	while (d && (x = readdir(d)))
		if (*x->d_name != '.')
			unlinkat(dirfd(d), x->d_name, 0);
	if (d)
		closedir(d);
	rmdir(cache);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	static const struct mp_exec_alloc alloc = {.get = device_get};
	struct mp_exec_module *m;
	struct mp_exec *one;
	char err[200];
	size_t i;
	int k;

	mp_log_open(MP_LOG_ERROR);
	if (mkdtemp(cache)) {
		setenv("MOTORPOOL_SOFT_CACHE", cache, 1);
		atexit(cache_remove);
	}
	window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (window == MAP_FAILED)
		return 1;
	space.base = (uintptr_t)window;
	space.size = WINDOW;
	fa = device_new(VADD_N * 4ull), fb = device_new(VADD_N * 4ull), fc = device_new(VADD_N * 4ull);
	fwant = device_new(VADD_N * 4ull), ia = device_new(REDUCE_N * 4ull), iout = device_new(MANDEL_W * MANDEL_H * 4ull);
	iwant = device_new(MANDEL_W * MANDEL_H * 4ull);
	for (k = 0; k < REDUCE_N; k++)
		ia[k] = k * 7 - 3;
	p3.a = (uintptr_t)fa, p3.b = (uintptr_t)fb, p3.c = (uintptr_t)fc;
	p_chain.x = (uintptr_t)fc, p_chain.n = CHAIN_N, p_chain.p = 0.75f, p_chain.q = 0.125f, p_chain.steps = 64;
	p_mandel.out = (uintptr_t)iout, p_mandel.w = MANDEL_W, p_mandel.h = MANDEL_H, p_mandel.limit = 256;
	p_reduce.x = (uintptr_t)ia, p_reduce.n = REDUCE_N, p_reduce.out = (uintptr_t)iout;
	put(HEAD);
	vadd_text(), chain_text(), matmul_text(), matmul_regs_text(), mandel_text(), reduce_text();
	if (mp_exec_module_load(text, len, &alloc, &m, err, sizeof(err))) {
		fprintf(stderr, "tiers: %s\n", err);
		return 1;
	}
	one = mp_exec_new(1);
	printf("libLLVM %s\n\n%-22s %9s %9s %9s %8s %8s\n",
	       mp_exec_compiler() ? mp_exec_compiler() : "none: tier 2 is tier 1", "", "C ms", "tier 1 ms",
	       "tier 2 ms", "C/tier1", "C/tier2");
	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		for (k = 2; k < argc && strcmp(argv[k], rows[i].kernel); k++)
			;
		if (argc > 2 && k == argc)
			continue;
		p3.n = i == 0 ? VADD_N : MATMUL_N;
		row(one, m, &rows[i], seconds);
	}
	if (argc <= 2)
		scaling(one, m);
	if (argc <= 2 && mp_exec_compiler())
		first_launches(one);
	mp_exec_module_free(m);
	mp_exec_free(one);
	return 0;
}
