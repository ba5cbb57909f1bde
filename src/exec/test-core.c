/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels as text, a launch, and the memory that must come of it. */
#include "exec/test-run.h"

static const char vadd[] = HEAD
	".visible .entry vadd(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n"
	"{ .reg .pred %p<2>; .reg .b32 %r<6>; .reg .f32 %f<4>; .reg .b64 %rd<11>;\n"
	"ld.param.u64 %rd1,[a]; ld.param.u64 %rd2,[b]; ld.param.u64 %rd3,[c]; ld.param.u32 %r2,[n];\n"
	"mov.u32 %r3,%ntid.x; mov.u32 %r4,%ctaid.x; mov.u32 %r5,%tid.x;\n"
	"mad.lo.s32 %r1,%r3,%r4,%r5; setp.ge.s32 %p1,%r1,%r2; @%p1 bra $L2;\n"
	"cvta.to.global.u64 %rd4,%rd1; mul.wide.s32 %rd5,%r1,4; add.s64 %rd6,%rd4,%rd5;\n"
	"cvta.to.global.u64 %rd7,%rd2; add.s64 %rd8,%rd7,%rd5; ld.global.f32 %f1,[%rd8];\n"
	"ld.global.f32 %f2,[%rd6]; add.f32 %f3,%f2,%f1; cvta.to.global.u64 %rd9,%rd3;\n"
	"add.s64 %rd10,%rd9,%rd5; st.global.f32 [%rd10],%f3; $L2: ret; }\n";

MP_TEST(vector_add)
{
	struct { uint64_t a, b, c; uint32_t n; } p;
	float *a, *b, *c;
	struct mp_exec_module *m;
	int i, bad = 0, n = 10007;

	device_reset();
	m = module_of(vadd);
	a = device_new(4u * n), b = device_new(4u * n), c = device_new(4u * n + 64);
	for (i = 0; i < n; i++)
		a[i] = (float)i, b[i] = (float)(2 * i);
	p.a = (uintptr_t)a, p.b = (uintptr_t)b, p.c = (uintptr_t)c, p.n = (uint32_t)n;
	MP_CHECK_EQ(run(m, "vadd", (struct launch){.grid = {40}, .block = {256}}, &p, NULL), 0);
	for (i = 0; i < n; i++)
		bad += c[i] != (float)(3 * i);
	MP_CHECK_EQ(bad, 0);
	MP_CHECK(c[n] == 0);
	mp_exec_module_free(m);
}

/* A divergent loop: steps of the Collatz walk; every lane its own count. */
MP_TEST(divergent_loop)
{
	static const char text[] = HEAD
		".entry k(.param .u64 out) { .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %d<4>;\n"
		"ld.param.u64 %d1,[out]; mov.u32 %r1,%tid.x; add.s32 %r2,%r1,1; mov.u32 %r3,0;\n"
		"L: setp.eq.s32 %p1,%r2,1; @%p1 bra D; and.b32 %r4,%r2,1; setp.eq.s32 %p2,%r4,0;\n"
		"@%p2 bra E; mad.lo.s32 %r2,%r2,3,1; bra N; E: shr.u32 %r2,%r2,1;\n"
		"N: add.s32 %r3,%r3,1; bra L; D: mul.wide.u32 %d2,%r1,4; add.s64 %d3,%d1,%d2;\n"
		"st.global.u32 [%d3],%r3; exit; }";
	struct mp_exec_module *m;
	uint32_t *out, i, bad = 0;
	uint64_t p;

	device_reset();
	m = module_of(text);
	out = device_new(4096);
	p = (uintptr_t)out;
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {1000}}, &p, NULL), 0);
	for (i = 0; i < 1000; i++) {
		uint32_t n = i + 1, steps = 0;

		for (; n != 1; steps++)
			n = n & 1 ? 3 * n + 1 : n >> 1;
		bad += out[i] != steps;
	}
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(m);
}

/* Lanes that leave loops early wait for the others behind them, however long it takes: activemask sees all. */
MP_TEST(loops_end_together)
{
	static const char text[] = HEAD
		".visible .entry k(.param .u64 out) {\n"
		" .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .pred %p;\n"
		" ld.param.u64 %d0, [out]; mov.u32 %r0, %tid.x; mov.u32 %r6, 0;\n"
		"AGAIN: and.b32 %r1, %r0, 7; mad.lo.u32 %r1, %r1, 50, 1;\n"
		"LOOP: atom.global.add.u32 %r3, [%d0], 1; sub.u32 %r1, %r1, 1; setp.ne.u32 %p, %r1, 0; @%p bra LOOP;\n"
		" activemask.b32 %r2; add.u32 %r6, %r6, 1; setp.ne.u32 %p, %r2, -1; @%p bra WRONG;\n"
		" setp.lt.u32 %p, %r6, 4; @%p bra AGAIN;\n"
		" ret;\n"
		"WRONG: st.global.u32 [%d0+4], %r2; ret; }\n";
	struct mp_exec_module *m;
	uint32_t *at;
	uint64_t p;

	device_reset();
	m = module_of(text);
	at = device_new(8);
	p = (uintptr_t)at;
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {32}}, &p, NULL), 0);
	MP_CHECK_EQ(at[1], 0);
	MP_CHECK_EQ(at[0], 4 * 4 * (8 + 50 * (0 + 1 + 2 + 3 + 4 + 5 + 6 + 7)));
	mp_exec_module_free(m);
}

/*
 * A lane's lock is released behind the loop that takes it, by a lane that must
 * be let out of the loop while the others of its warp go round.
 */
MP_TEST(locks_within_a_warp)
{
	static const char text[] = HEAD
		".visible .entry k(.param .u64 out) {\n"
		" .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .pred %p;\n"
		" ld.param.u64 %d0, [out];\n"
		"TAKE: atom.global.cas.b32 %r1, [%d0], 0, 1; setp.ne.u32 %p, %r1, 0; @%p bra TAKE;\n"
		" ld.volatile.global.u32 %r2, [%d0+4]; add.u32 %r2, %r2, 1; st.volatile.global.u32 [%d0+4], %r2;\n"
		" membar.gl; atom.global.exch.b32 %r1, [%d0], 0; ret; }\n";
	struct mp_exec_module *m;
	uint32_t *at;
	uint64_t p;

	device_reset();
	m = module_of(text);
	at = device_new(8);
	p = (uintptr_t)at;
	MP_CHECK_EQ(run(m, "k", (struct launch){.grid = {3}, .block = {64}}, &p, NULL), 0);
	MP_CHECK_EQ(at[1], 3 * 64);
	mp_exec_module_free(m);
}

/* Without a barrier before it, the first warp's next value comes after the others have read this one. */
MP_TEST(first_warp_goes_last)
{
	static const char text[] = HEAD
		".visible .entry k(.param .u64 out) {\n"
		" .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .pred %p, %q; .shared .align 4 .b32 s;\n"
		" ld.param.u64 %d0, [out]; mov.u32 %r0, %tid.x; setp.eq.u32 %p, %r0, 0; mov.u32 %r2, 0; mov.u32 %r3, 0;\n"
		"LOOP: @%p st.shared.u32 [s], %r2; bar.sync 0; ld.shared.u32 %r1, [s]; add.u32 %r3, %r3, %r1;\n"
		" add.u32 %r2, %r2, 1; setp.lt.u32 %q, %r2, 10; @%q bra LOOP;\n"
		" mul.wide.u32 %d1, %r0, 4; add.u64 %d0, %d0, %d1; st.global.u32 [%d0], %r3; ret; }\n";
	struct mp_exec_module *m;
	uint32_t *at, i, wrong = 0;
	uint64_t p;

	device_reset();
	m = module_of(text);
	at = device_new(1024);
	p = (uintptr_t)at;
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {256}}, &p, NULL), 0);
	for (i = 0; i < 256; i++)
		wrong += at[i] != 45;
	MP_CHECK_EQ(wrong, 0);
	mp_exec_module_free(m);
}

/* Static and dynamic shared memory, barriers: reverse a block, then a tree sum. */
MP_TEST(shared_and_barriers)
{
	static const char text[] = HEAD
		".extern .shared .align 16 .b8 dyn[];\n"
		".entry k(.param .u64 out) { .reg .pred %p<3>; .reg .b32 %r<20>; .reg .b64 %d<4>;\n"
		".shared .align 4 .b8 buf[1024];\n"
		"ld.param.u64 %d1,[out]; mov.u32 %r1,%tid.x; shl.b32 %r2,%r1,2; mov.u32 %r3,buf;\n"
		"add.s32 %r4,%r3,%r2; st.shared.u32 [%r4],%r1; mov.u32 %r5,dyn; add.s32 %r6,%r5,%r2;\n"
		"bar.sync 0; mov.u32 %r7,255; sub.s32 %r8,%r7,%r1; shl.b32 %r8,%r8,2; add.s32 %r8,%r3,%r8;\n"
		"ld.shared.u32 %r9,[%r8]; st.shared.u32 [%r6],%r9; bar.sync 0; mov.u32 %r10,128;\n"
		"L: setp.ge.u32 %p1,%r1,%r10; @%p1 bra S; shl.b32 %r11,%r10,2; add.s32 %r12,%r6,%r11;\n"
		"ld.shared.u32 %r13,[%r12]; ld.shared.u32 %r14,[%r6]; add.s32 %r14,%r14,%r13;\n"
		"st.shared.u32 [%r6],%r14; S: bar.sync 0; shr.u32 %r10,%r10,1; setp.ne.s32 %p2,%r10,0;\n"
		"@%p2 bra L; setp.ne.s32 %p1,%r1,0; @%p1 ret; ld.shared.u32 %r15,[dyn];\n"
		"mov.u32 %r16,%ctaid.x; mul.wide.u32 %d2,%r16,4; add.s64 %d3,%d1,%d2;\n"
		"st.global.u32 [%d3],%r15; ret; }";
	struct mp_exec_module *m;
	uint32_t *out, i;
	uint64_t p;

	device_reset();
	m = module_of(text);
	out = device_new(4096);
	p = (uintptr_t)out;
	MP_CHECK_EQ(mp_exec_kernel_info(mp_exec_module_find(m, "k"))->static_shared, 1024);
	MP_CHECK_EQ(run(m, "k", (struct launch){.grid = {20}, .block = {256}, .shared = 1024}, &p, NULL), 0);
	for (i = 0; i < 20; i++)
		MP_CHECK_EQ(out[i], 255 * 128);
	mp_exec_module_free(m);
}

/* Half of a warp waits at one barrier while the other half is on its way to another. */
MP_TEST(partial_warp_barriers)
{
	static const char text[] = HEAD
		".entry k(.param .u64 out) { .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %d<4>;\n"
		".shared .align 4 .b32 s[64];\n"
		"ld.param.u64 %d1,[out]; mov.u32 %r1,%tid.x; shl.b32 %r2,%r1,2; mov.u32 %r3,s;\n"
		"add.s32 %r3,%r3,%r2; and.b32 %r4,%r1,1; setp.eq.s32 %p1,%r4,0; @%p1 bra E;\n"
		"mul.lo.s32 %r5,%r1,7; st.shared.u32 [%r3],%r5; barrier.sync 0; bra J;\n"
		"E: mul.lo.s32 %r5,%r1,9; st.shared.u32 [%r3],%r5; barrier.sync 0;\n"
		"J: xor.b32 %r6,%r1,1; shl.b32 %r6,%r6,2; mov.u32 %r7,s; add.s32 %r6,%r6,%r7;\n"
		"ld.shared.u32 %r8,[%r6]; mul.wide.u32 %d2,%r1,4; add.s64 %d3,%d1,%d2;\n"
		"st.global.u32 [%d3],%r8; ret; }";
	struct mp_exec_module *m;
	uint32_t *out, i;
	uint64_t p;

	device_reset();
	m = module_of(text);
	out = device_new(4096);
	p = (uintptr_t)out;
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {64}}, &p, NULL), 0);
	for (i = 0; i < 64; i++)
		MP_CHECK_EQ(out[i], (i ^ 1) * ((i ^ 1) & 1 ? 7 : 9));
	mp_exec_module_free(m);
}

MP_TEST(variables_and_printf)
{
	static const char text[] = HEAD
		".extern .func (.param .b32 r) vprintf (.param .b64 x, .param .b64 y);\n"
		".global .align 4 .b8 tab[8] = {1, 0, 0, 0, 2};\n"
		".global .align 8 .u64 ptr = generic(tab)+4;\n"
		".const .align 4 .f32 c = 0f40490FDB;\n"
		".global .align 1 .b8 $str[22] = {105,61,37,100,32,102,61,37,46,51,102,32,115,61,37,115,32,"
		"37,108,108,120,10};\n"
		".global .align 1 .b8 $s2[3] = {104, 105};\n"
		".entry k() { .local .align 8 .b8 depot[32]; .reg .b64 %SP,%SPL; .reg .b32 %r<4>;\n"
		".reg .f32 %f<2>; .reg .f64 %g<2>; .reg .b64 %d<9>;\n"
		"mov.u64 %SPL,depot; cvta.local.u64 %SP,%SPL; ld.global.u64 %d1,[ptr];\n"
		"ld.u32 %r1,[%d1]; st.local.u32 [%SPL],%r1; ld.const.f32 %f1,[c]; cvt.f64.f32 %g1,%f1;\n"
		"st.local.f64 [%SPL+8],%g1; mov.u64 %d2,$s2; cvta.global.u64 %d3,%d2;\n"
		"st.local.u64 [%SPL+16],%d3; mov.u64 %d4,0xabcdef0123; st.local.u64 [%SPL+24],%d4;\n"
		"mov.u64 %d5,$str; cvta.global.u64 %d6,%d5;\n"
		"{ .param .b64 p0; st.param.b64 [p0+0],%d6; .param .b64 p1; st.param.b64 [p1+0],%SP;\n"
		".param .b32 rv; call.uni (rv), vprintf, (p0, p1); ld.param.b32 %r2,[rv+0]; } ret; }";
	struct mp_exec_module *m;
	uint64_t addr;
	size_t size;

	device_reset();
	m = module_of(text);
	MP_CHECK(m && mp_exec_module_global(m, "tab", &addr, &size) && size == 8);
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {1}}, NULL, NULL), 0);
	MP_CHECK_STR(printed, "i=2 f=3.142 s=hi abcdef0123\n");
	mp_exec_module_free(m);
}

static const char faults[] = HEAD
	".entry wild(.param .u64 a) { .reg .b64 %d<3>; .reg .b32 %r<2>; ld.param.u64 %d1,[a];\n"
	"mov.u32 %r1,%tid.x;\n"
	"mul.wide.u32 %d2,%r1,4; add.s64 %d1,%d1,%d2;\n"
	"st.global.u32 [%d1],%r1; ret; }\n"
	".entry trap(.param .u64 a) { trap; }\n"
	".entry spin(.param .u64 a) { L: bra L; }\n"
	".entry shared(.param .u64 a) { .reg .b32 %r<2>; .shared .b32 s[4]; mov.u32 %r1,s;\n"
	"st.shared.u32 [%r1+16],%r1; ret; }\n"
	".entry odd(.param .u64 a) { .reg .b32 %r<2>; frobnicate.u32 %r1,%r1; ret; }\n"
	/* No multicast objects here: refused when it runs, not for being there. */
	".entry multicast(.param .u64 a) { .reg .b64 %d<3>; .reg .b32 %r<2>; .reg .pred %p; ld.param.u64 %d1,[a];\n"
	"ld.relaxed.gpu.global.u32 {%r1},[%d1]; setp.eq.u32 %p,%r1,7;\n"
	"@%p multimem.ld_reduce.acquire.sys.global.min.u64 %d2,[%d1]; st.global.u32 [%d1],7; ret; }\n";

MP_TEST(faults)
{
	struct mp_exec_module *m;
	struct mp_exec_fault f;
	struct test_wait w;
	uint64_t p, cancel = 0;

	device_reset();
	m = module_of(faults);
	p = 0; /* outside the window */
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {32}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	MP_CHECK_EQ(f.line, 7);
	MP_CHECK_STR(f.kernel, "wild");
	MP_CHECK_STR(f.text, "st.global.u32 [%d1],%r1");
	p = space.base + WINDOW; /* a hole inside */
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {64}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	MP_CHECK(f.address >= p && f.address < p + 4096);
	p = space.base + WINDOW * 2 - 16; /* across its end */
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {8}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	p = space.base + 2;
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {8}}, &p, &f), MP_EXEC_MISALIGNED);
	p = (uintptr_t)&f; /* the host's stack */
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {1}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	MP_CHECK_EQ(run(m, "trap", (struct launch){.block = {1}}, &p, &f), MP_EXEC_TRAP);
	MP_CHECK_EQ(run(m, "shared", (struct launch){.block = {1}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	p = space.base;
	MP_CHECK_EQ(run(m, "multicast", (struct launch){.block = {1}}, &p, &f), MP_EXEC_OK);
	MP_CHECK_EQ(*(uint32_t *)(uintptr_t)p, 7);
	MP_CHECK_EQ(run(m, "multicast", (struct launch){.block = {1}}, &p, &f), MP_EXEC_TRAP);
	MP_CHECK_EQ(run(m, "odd", (struct launch){.block = {1}}, &p, &f), MP_EXEC_UNSUPPORTED);
	MP_CHECK_EQ(submit(m, "spin", (struct launch){.grid = {3}, .block = {64}, .cancel = &cancel}, &p, &w), 0);
	__atomic_store_n(&cancel, 1, __ATOMIC_SEQ_CST);
	MP_CHECK_EQ(finish(&w), MP_EXEC_CANCELLED);
	/* and the engine still works */
	p = space.base;
	MP_CHECK_EQ(run(m, "wild", (struct launch){.block = {32}}, &p, &f), MP_EXEC_OK);
	mp_exec_module_free(m);
}

/* A kernel that waits for a flag which a later kernel sets, and one which the host sets. */
MP_TEST(waiting_kernels)
{
	static const char text[] = HEAD
		".entry wait(.param .u64 a) { .reg .b64 %d<3>; .reg .b32 %r<2>; .reg .pred %p; ld.param.u64 %d1,[a];\n"
		"L: ld.volatile.global.u32 %r1,[%d1]; setp.eq.s32 %p,%r1,0; @%p bra L; ret; }\n"
		".entry set(.param .u64 a) { .reg .b64 %d<3>; ld.param.u64 %d1,[a]; st.volatile.global.u32 [%d1],1; ret; }\n";
	struct mp_exec *saved = engine;
	struct mp_exec_module *m;
	struct test_wait w, w2;
	volatile uint32_t *flag;
	uint64_t p;

	device_reset();
	saved = engine;
	engine = mp_exec_new(1); /* one host thread must do */
	m = module_of(text);
	flag = device_new(256);
	p = (uintptr_t)flag;
	MP_CHECK_EQ(submit(m, "wait", (struct launch){.grid = {4}, .block = {128}}, &p, &w), 0);
	MP_CHECK_EQ(submit(m, "set", (struct launch){.block = {1}}, &p, &w2), 0);
	MP_CHECK_EQ(finish(&w2), 0);
	MP_CHECK_EQ(finish(&w), 0);
	*flag = 0;
	MP_CHECK_EQ(submit(m, "wait", (struct launch){.grid = {4}, .block = {128}}, &p, &w), 0);
	*flag = 1;
	MP_CHECK_EQ(finish(&w), 0);
	mp_exec_free(engine);
	engine = saved;
	mp_exec_module_free(m);
}

/* Blocks of a cluster read and change each other's shared memory between two of its barriers (9.7.13.2). */
MP_TEST(clusters)
{
	static const char text[] = HEAD
		".visible .entry k(.param .u64 out) { .reg .pred %p<3>; .reg .b32 %r<20>; .reg .b64 %d<9>;\n"
		".shared .align 4 .b32 pad[8]; .shared .align 4 .b32 s[64]; ld.param.u64 %d1,[out];\n"
		"mov.u32 %r1,%tid.x; shl.b32 %r2,%r1,2; mov.u32 %r3,s; add.s32 %r3,%r3,%r2;\n"
		"mov.u32 %r4,%cluster_ctarank; mad.lo.s32 %r5,%r4,1000,%r1; st.shared.u32 [%r3],%r5;\n"
		"barrier.cluster.arrive; barrier.cluster.wait;\n"
		"mov.u32 %r6,%cluster_nctarank; add.s32 %r7,%r4,1; rem.u32 %r7,%r7,%r6;\n"
		"mapa.shared::cluster.u32 %r8,%r3,%r7; ld.shared::cluster.u32 %r9,[%r8];\n"
		"getctarank.shared::cluster.u32 %r10,%r8; mad.lo.s32 %r9,%r10,100000,%r9;\n"
		"cvt.u64.u32 %d2,%r3; cvta.shared.u64 %d3,%d2; mapa.u64 %d4,%d3,%r7;\n"
		"barrier.cluster.arrive; barrier.cluster.wait;\n"
		"atom.add.u32 %r11,[%d4],500; barrier.cluster.arrive; barrier.cluster.wait;\n"
		"ld.shared.u32 %r12,[%r3]; mov.u32 %r13,%ctaid.x; mov.u32 %r14,%nctaid.x; mov.u32 %r15,%ctaid.y;\n"
		"mad.lo.s32 %r13,%r15,%r14,%r13; mad.lo.s32 %r13,%r13,64,%r1; mul.wide.u32 %d5,%r13,8;\n"
		"add.s64 %d6,%d1,%d5; st.global.v2.u32 [%d6],{%r9,%r12}; ret; }";
	struct mp_exec_grid g = {.grid = {4, 6, 1}, .block = {64, 1, 1}, .cluster = {2, 3, 1},
				 .space = &space, .done = test_done};
	struct mp_exec_module *m;
	struct test_wait w = {0};
	uint32_t *out, i, bad = 0;
	uint64_t p;

	device_reset();
	m = module_of(text);
	out = device_new(24 * 64 * 8);
	p = (uintptr_t)out;
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	g.kernel = mp_exec_module_find(m, "k");
	g.params = &p;
	g.arg = &w;
	MP_CHECK_EQ(mp_exec_submit(engine, &g), 0);
	if (mp_test_failures)
		return;
	MP_CHECK_EQ(finish(&w), 0);
	for (i = 0; i < 24 * 64; i++) {
		uint32_t x = i / 64 % 4, y = i / 256, t = i % 64, rank = x % 2 + y % 3 * 2, next = (rank + 1) % 6;

		bad += out[2 * i] != next * 101000 + t || out[2 * i + 1] != rank * 1000 + t + 500;
	}
	MP_CHECK_EQ(bad, 0);
	g.cluster[0] = 3; /* does not divide the grid */
	MP_CHECK_EQ(mp_exec_submit(engine, &g), MP_EXEC_UNSUPPORTED);
	mp_exec_module_free(m);
}

MP_TEST_MAIN()
