/* SPDX-License-Identifier: Apache-2.0 */
/* Device-side launch: order within streams, the tail, parents that end last, faults that travel up. */
#include "exec/test-run.h"

#define CALL2(to, child, x, stream)                                                                \
	"{ .param .b64 p0; .param .align 4 .b8 p1[12]; .param .align 4 .b8 p2[12]; .param .b32 p3;\n" \
	".param .b64 r0; mov.u64 %rd8," child "; st.param.b64 [p0],%rd8; st.param.b32 [p1],1;\n"   \
	"st.param.b32 [p1+4],1; st.param.b32 [p1+8],1; st.param.b32 [p2],1; st.param.b32 [p2+4],1;\n" \
	"st.param.b32 [p2+8],1; st.param.b32 [p3],0; call.uni (r0), "                              \
	"__cudaCDP2GetParameterBufferV2, (p0,p1,p2,p3);\n"                                         \
	"ld.param.b64 %rd9,[r0]; }\n"                                                              \
	"st.u64 [%rd9]," to "; mov.u32 %r9," x "; st.u32 [%rd9+8],%r9;\n"                          \
	"{ .param .b64 p0; .param .b64 p1; .param .b32 r0; st.param.b64 [p0],%rd9;\n"              \
	"st.param.b64 [p1]," stream "; call.uni (r0), __cudaCDP2LaunchDeviceV2, (p0,p1);\n"        \
	"ld.param.b32 %r8,[r0]; }\n"

#define EXTERNS                                                                                    \
	".extern .func (.param .b64 r) __cudaCDP2GetParameterBufferV2 (.param .b64 a,"             \
	" .param .align 4 .b8 b[12], .param .align 4 .b8 c[12], .param .b32 d);\n"                 \
	".extern .func (.param .b32 r) __cudaCDP2LaunchDeviceV2 (.param .b64 a, .param .b64 b);\n" \
	".extern .func (.param .b32 r) __cudaCDP2MemsetAsync (.param .b64 a, .param .b32 b,"       \
	" .param .b64 c, .param .b64 d);\n"                                                        \
	/* a child that appends its digit to *p, after a while */                                  \
	".entry digit(.param .u64 p, .param .u32 x) { .reg .pred %p; .reg .b32 %r<9>; .reg .b64 %rd;\n" \
	"ld.param.u64 %rd,[p]; ld.param.u32 %r1,[x]; mov.u32 %r2,20000;\n"                         \
	"W: sub.s32 %r2,%r2,1; setp.ne.s32 %p,%r2,0; @%p bra W;\n"                                 \
	"ld.global.u32 %r3,[%rd]; mad.lo.s32 %r3,%r3,10,%r1; st.global.u32 [%rd],%r3; ret; }\n"

static void heap_on(void)
{
	device_reset();
	space.heap_base = device_get(NULL, 1 << 20, 65536);
	space.heap_size = 1 << 20;
}

MP_TEST(streams_run_in_order_and_the_tail_last)
{
	static const char text[] = HEAD EXTERNS
		".entry parent(.param .u64 p) { .reg .b32 %r<10>; .reg .b64 %rd<10>;\n"
		"ld.param.u64 %rd1,[p];\n"
		CALL2("%rd1", "digit", "9", "3") CALL2("%rd1", "digit", "1", "0")
		CALL2("%rd1", "digit", "2", "0") CALL2("%rd1", "digit", "3", "0")
		"st.global.u32 [%rd1+4],%r8; ret; }\n";
	struct mp_exec_module *m;
	uint32_t *out;
	uint64_t p;

	heap_on();
	m = module_of(text);
	out = device_new(64);
	out[1] = 77;
	p = (uintptr_t)out;
	MP_CHECK_EQ(run(m, "parent", (struct launch){.grid = {1}}, &p, NULL), 0);
	MP_CHECK_EQ(out[0], 1239);
	MP_CHECK_EQ(out[1], 0);
	mp_exec_module_free(m);
	mp_exec_heap_forget(space.heap_base);
	space.heap_size = 0;
}

/* Each level launches two of the next; the host hears of the end when the last leaf has run. */
MP_TEST(a_tree_of_grids)
{
	static const char text[] = HEAD EXTERNS
		".entry node(.param .u64 p, .param .u32 x) { .reg .pred %p; .reg .b32 %r<10>; .reg .b64 %rd<10>;\n"
		"ld.param.u64 %rd1,[p]; ld.param.u32 %r1,[x]; atom.global.add.u32 %r2,[%rd1],1;\n"
		"setp.eq.s32 %p,%r1,0; @%p ret; sub.s32 %r3,%r1,1;\n"
		CALL2("%rd1", "node", "%r3", "4") CALL2("%rd1", "node", "%r3", "0")
		"ret; }\n";
	struct { uint64_t p; uint32_t x; } a = {.x = 7};
	struct mp_exec_module *m;
	uint32_t *out;

	heap_on();
	m = module_of(text);
	out = device_new(64);
	a.p = (uintptr_t)out;
	MP_CHECK_EQ(run(m, "node", (struct launch){.grid = {2}}, &a, NULL), 0);
	MP_CHECK_EQ(out[0], 2 * 255);
	mp_exec_module_free(m);
	mp_exec_heap_forget(space.heap_base);
	space.heap_size = 0;
}

MP_TEST(a_fault_of_a_child_is_its_parents)
{
	static const char text[] = HEAD EXTERNS
		".entry parent(.param .u64 p) { .reg .b32 %r<10>; .reg .b64 %rd<10>;\n"
		"mov.u64 %rd1,24;\n" CALL2("%rd1", "digit", "1", "0") CALL2("%rd1", "digit", "1", "0")
		CALL2("%rd1", "digit", "1", "3") "ret; }\n";
	struct mp_exec_module *m;
	struct mp_exec_fault f;
	uint64_t p = 0;

	heap_on();
	m = module_of(text);
	MP_CHECK_EQ(run(m, "parent", (struct launch){.grid = {3}}, &p, &f), MP_EXEC_ILLEGAL_ADDRESS);
	MP_CHECK(!strcmp(f.kernel, "digit"));
	mp_exec_module_free(m);
	mp_exec_heap_forget(space.heap_base);
	space.heap_size = 0;
}

MP_TEST(a_fill_waits_for_its_stream)
{
	static const char text[] = HEAD EXTERNS
		".entry parent(.param .u64 p) { .reg .b32 %r<10>; .reg .b64 %rd<10>;\n"
		"ld.param.u64 %rd1,[p];\n" CALL2("%rd1", "digit", "5", "0")
		"{ .param .b64 p0; .param .b32 p1; .param .b64 p2; .param .b64 p3; .param .b32 r0;\n"
		"st.param.b64 [p0],%rd1; st.param.b32 [p1],1; st.param.b64 [p2],2; st.param.b64 [p3],0;\n"
		"call.uni (r0), __cudaCDP2MemsetAsync, (p0,p1,p2,p3); }\n"
		CALL2("%rd1", "digit", "6", "0") "ret; }\n";
	struct mp_exec_module *m;
	uint32_t *out;
	uint64_t p;

	heap_on();
	m = module_of(text);
	out = device_new(64);
	p = (uintptr_t)out;
	MP_CHECK_EQ(run(m, "parent", (struct launch){.grid = {1}}, &p, NULL), 0);
	MP_CHECK_EQ(out[0], 0x101 * 10 + 6);
	mp_exec_module_free(m);
	mp_exec_heap_forget(space.heap_base);
	space.heap_size = 0;
}

MP_TEST_MAIN()
