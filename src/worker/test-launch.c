/* SPDX-License-Identifier: Apache-2.0 */
/* Modules by content, launches, printf, order between streams: a real worker, spoken to by hand. */
#include "base/clock.h"
#include "base/sha256.h"
#include "worker/test-client.h"

static struct tc c;

#define MEMORY "419430400"

static const char ptx[] =
	".version 7.0\n.target sm_70\n.address_size 64\n"
	".global .align 4 .u32 answer = 42;\n"
	".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"
	".global .align 1 .b8 text[7] = {104, 101, 108, 108, 111, 10, 0};\n"
	".visible .entry add(.param .u64 p, .param .u32 v) {\n"
	"	.reg .u64 %a; .reg .u32 %x, %y;\n"
	"	ld.param.u64 %a, [p]; ld.param.u32 %x, [v];\n"
	"	ld.global.u32 %y, [%a]; add.u32 %y, %y, %x; st.global.u32 [%a], %y; ret;\n}\n"
	".visible .entry spin(.param .u64 p) {\n"
	"	.reg .u64 %a; .reg .u32 %x; .reg .pred %q;\n"
	"	ld.param.u64 %a, [p];\n"
	"L:	ld.volatile.global.u32 %x, [%a]; setp.eq.u32 %q, %x, 0; @%q bra L;\n"
	"	st.global.u32 [%a+4], %x; ret;\n}\n"
	".visible .entry hello() {\n"
	"	.reg .u64 %f; .reg .b32 %r;\n"
	"	mov.u64 %f, text; cvta.global.u64 %f, %f;\n"
	"	{ .param .b64 a; .param .b64 b; .param .b32 r;\n"
	"	  st.param.b64 [a], %f; st.param.b64 [b], 0; call.uni (r), vprintf, (a, b); ld.param.b32 %r, [r]; }\n"
	"	ret;\n}\n";

static void load(uint32_t module)
{
	struct mp_msg_module_load m = {.module = module, .size = sizeof(ptx), .wanted = "answer\0nothing",
				       .wanted_len = 15};
	struct mp_rep_module_load r;
	uint64_t t;

	mp_sha256(ptx, sizeof(ptx), m.hash);
	mp_put_module_load(tc_add(&c, MP_REC_module_load, 0, mp_size_module_load(&m), &t), &m);
	if (!c.needs) {
		MP_CHECK_EQ(tc_wait(&c, MP_FRAME_NEED, t), 0);
		MP_CHECK(!memcmp(c.body, m.hash, 32));
		MP_CHECK(!tc_send_bulk(&c, t, (const uint8_t *)ptx, sizeof(ptx)));
	}
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_READY, t), 0);
	MP_CHECK(!mp_get_rep_module_load(c.body, c.f.length, &r));
	MP_CHECK_EQ(r.variables_count, 1);
	if (r.variables_count == 1) {
		MP_CHECK_STR((const char *)r.names + r.variables[0].name, "answer");
		MP_CHECK_EQ(r.variables[0].size, 4);
	}
}

static void launch(uint32_t f, uint32_t stream, const void *params, size_t n)
{
	TC_CALL(&c, cuLaunchKernel, NULL, .f = f, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1,
		.blockDimY = 1, .blockDimZ = 1, .hStream = stream, .params = params, .params_len = n);
}

static uint32_t peek(uint64_t at, uint32_t stream)
{
	uint32_t v = 0xdeadbeef;
	uint64_t t;

	TC_CALL(&c, cuMemcpyDtoHAsync_v2, &t, .srcDevice = at, .ByteCount = 4, .hStream = stream);
	tc_sink(&c, t, &v, 4);
	MP_CHECK_EQ(tc_done(&c, t), 0);
	return v;
}

static bool begin(void)
{
	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return false;
	}
	tc_context(&c, 1);
	TC_REC(&c, map, NULL, .address = c.window, .size = 2 << 20, .device = 0);
	load(1);
	TC_REC(&c, function, NULL, .module = 1, .function = 1, .name = "add");
	TC_REC(&c, function, NULL, .module = 1, .function = 2, .name = "spin");
	TC_REC(&c, function, NULL, .module = 1, .function = 3, .name = "hello");
	return true;
}

struct add_params {
	uint64_t p;
	uint32_t v, pad;
};

MP_TEST(launches_in_order)
{
	struct add_params p;
	int i;

	if (!begin())
		return;
	p = (struct add_params){.p = c.window, .v = 1};
	for (i = 0; i < 3000; i++) /* more than the driver's queue takes */
		launch(1, 0, &p, 12);
	MP_CHECK_EQ(peek(c.window, 0), 3000);
	MP_CHECK_EQ(c.errors, 0);
	MP_CHECK(c.acks > 0);
	/* a second load of the same content needs no bytes */
	load(2);
	MP_CHECK_EQ(c.needs, 1);
	/* a bad launch is told once, and the rest goes on */
	TC_CALL(&c, cuLaunchKernel, NULL, .f = 1, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 9999,
		.blockDimY = 1, .blockDimZ = 1, .params = &p, .params_len = 12);
	MP_CHECK_EQ(peek(c.window, 0), 3000);
	MP_CHECK_EQ(c.errors, 1);
	MP_CHECK_EQ(c.last_error, 1);
	tc_close(&c);
}

MP_TEST(printf_comes_before_its_completion)
{
	if (!begin())
		return;
	launch(3, 0, NULL, 0);
	MP_CHECK_EQ(tc_sync(&c, 0), 0);
	c.printed[c.printed_n] = 0;
	MP_CHECK_STR(c.printed, "hello\n");
	tc_close(&c);
}

/* A kernel spins; another stream's later copy lets it go, while a large copy and a load are on their way. */
MP_TEST(spinning_kernel_ends)
{
	static uint8_t big[8 << 20];
	uint32_t one = 1;
	uint64_t p, t, copy;

	if (!begin())
		return;
	p = c.window;
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 1, .Flags = 1);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 2, .Flags = 1);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 3, .Flags = 1);
	launch(2, 1, &p, 8);
	/* behind the spinning kernel, in its stream, and its bytes come */
	TC_REC(&c, map, NULL, .address = c.window + (2 << 20), .size = 16 << 20, .device = 0);
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &copy, .dstDevice = c.window + (4 << 20),
		  .ByteCount = sizeof(big), .hStream = 1);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK(!tc_send_bulk(&c, copy, big, sizeof(big)));
	/* a copy of another thread whose bytes do not come */
	c.thread = 2;
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &copy, .dstDevice = c.window + (12 << 20),
		  .ByteCount = 1 << 20, .hStream = 3);
	c.thread = 3;
	load(2);
	TC_CALL(&c, cuMemcpyHtoDAsync_v2, NULL, .dstDevice = p, .ByteCount = 4, .srcHost = &one, .srcHost_len = 4,
		.hStream = 2);
	c.thread = 1;
	TC_REC(&c, mark, &t, .stream = 1);
	MP_CHECK_EQ(tc_done(&c, t), 0);
	MP_CHECK_EQ(peek(p + 4, 1), 1);
	MP_CHECK_EQ(c.errors, 0);
	MP_CHECK_EQ(tc_close(&c), 5);
}

/* Reported, not judged: the machine is shared. */
MP_TEST(launch_rate)
{
	struct add_params p;
	uint64_t start, mark, ns;
	int i, n = 400000;

	setenv("MOTORPOOL_SOFT_MODE", "null", 1);
	if (!begin())
		return;
	p = (struct add_params){.p = c.window, .v = 1};
	MP_CHECK_EQ(tc_sync(&c, 0), 0);
	start = mp_now_ns();
	for (i = 0; i < n; i++) {
		launch(1, 0, &p, 12);
		if (i % 512 == 511)
			MP_CHECK(!tc_flush(&c));
	}
	TC_REC(&c, mark, &mark, .stream = 0);
	MP_CHECK_EQ(tc_done(&c, mark), 0);
	ns = mp_now_ns() - start;
	printf("# %d launches decoded and applied in %.1f ms: %.2f million a second\n", n, (double)ns / 1e6,
	       n * 1e3 / (double)ns);
	MP_CHECK_EQ(c.errors, 0);
	tc_close(&c);
	unsetenv("MOTORPOOL_SOFT_MODE");
}

MP_TEST_MAIN()
