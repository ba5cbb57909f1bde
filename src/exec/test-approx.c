/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approximations against libm in double: all exponents, both signs, subnormals
 * and specials.  The bounds are tighter than the ISA's (9.7.3.15 to 21).
 */
#include "exec/test-run.h"

#include <math.h>

#define N 65536

static double rsqrt(double x) { return 1 / sqrt(x); }

static const struct approx {
	const char *insn;
	double (*f)(double);
	double relative, absolute; /* either may hold */
	float limit;		   /* of |x| */
} rows[] = {
	{"ex2.approx.f32", exp2, 0x1p-23, 0x1p-149, INFINITY},
	{"lg2.approx.f32", log2, 0x1p-23, 0, INFINITY},
	{"sin.approx.f32", sin, 0x1p-22, 0x1p-24, INFINITY},
	{"cos.approx.f32", cos, 0x1p-22, 0x1p-24, INFINITY},
	{"tanh.approx.f32", tanh, 0x1p-22, 0x1p-149, INFINITY},
	{"rsqrt.approx.f32", rsqrt, 0x1p-23, 0, INFINITY},
};

static float sample(uint32_t i)
{
	static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, -1.0f, 128.0f, -149.0f,
					-150.0f, -126.0f, 127.99999f, 0x1p-149f, 0x1.fffffep127f, 88.0f, 1e6f};
	uint32_t bits = i * 2654435761u;
	float f;

	if (i < MP_ARRAY_LEN(special))
		return special[i];
	if (i & 1) { /* where results are neither 0 nor 1 */
		f = (float)((double)(int32_t)bits / 2147483648.0 * (i & 2 ? 160 : 4));
		return f;
	}
	memcpy(&f, &bits, 4);
	return f;
}

static bool near(const struct approx *r, float x, float y)
{
	double want = r->f((double)x), got = y, diff;

	if (want != want)
		return y != y;
	if ((float)want == y)
		return want != 0 || y != 0 || signbit(y) == signbit((float)want);
	diff = fabs(want - got);
	return diff <= r->relative * fabs(want) || diff <= r->absolute;
}

MP_TEST(within_bounds)
{
	char text[2048];
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		struct mp_exec_module *m;
		uint32_t k, bad = 0;
		float *in, *out;
		uint64_t p[2];

		snprintf(text, sizeof(text), HEAD
			 ".entry k(.param .u64 a, .param .u64 b) { .reg .pred %%p; .reg .b32 %%r<9>; .reg .b64 %%d<9>;\n"
			 ".reg .f32 %%f<3>; ld.param.u64 %%d1,[a]; ld.param.u64 %%d2,[b]; mov.u32 %%r1,%%ctaid.x;\n"
			 "mov.u32 %%r2,%%tid.x; mad.lo.s32 %%r1,%%r1,256,%%r2; mul.wide.u32 %%d3,%%r1,4;\n"
			 "add.s64 %%d4,%%d1,%%d3; add.s64 %%d5,%%d2,%%d3; ld.global.f32 %%f1,[%%d4];\n"
			 "%s %%f2,%%f1; st.global.f32 [%%d5],%%f2; ret; }", rows[i].insn);
		device_reset();
		m = module_of(text);
		in = device_new(N * 4);
		out = device_new(N * 4);
		for (k = 0; k < N; k++)
			in[k] = sample(k);
		p[0] = (uintptr_t)in;
		p[1] = (uintptr_t)out;
		MP_CHECK_EQ(run(m, "k", (struct launch){.grid = {N / 256}, .block = {256}}, p, NULL), 0);
		for (k = 0; k < N; k++)
			if (!near(&rows[i], in[k], out[k]) && bad++ < 3)
				printf("# %s(%a) = %a, not %a\n", rows[i].insn, (double)in[k], (double)out[k],
				       rows[i].f((double)in[k]));
		MP_CHECK_EQ(bad, 0);
		mp_exec_module_free(m);
	}
}

MP_TEST_MAIN()
