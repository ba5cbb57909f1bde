/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PTX of matrix multiplication, put together for a pair of types.
 *
 * Made for a machine that runs a warp as vectors: lane = row of D, so that a
 * column of A is one vector and an element of B one scalar for the warp; eight
 * columns are added up at a time, in registers, and no shared memory is needed,
 * since caches do its work. Blocks are (32, 4): four warps beside one another, 32
 * rows and 32 columns. Columns beyond the last are clamped for reading, rows
 * beyond it leave at once.
 *
 * Every element is added up in the order of k, without splitting: the same bits
 * whatever the shape of the grid.
 */
#include "blas/inside.h"

#include "base/buf.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS 8

/* The element at [address] into a register of the accumulator's type. */
static void load(struct mp_buf *o, enum mp_blas_type t, const char *to, const char *address)
{
	switch (t) {
	case BLAS_F64:
		mp_buf_printf(o, "\tld.global.f64 %s, [%s];\n", to, address);
		break;
	case BLAS_F32:
		mp_buf_printf(o, "\tld.global.f32 %s, [%s];\n", to, address);
		break;
	case BLAS_F16:
		mp_buf_printf(o, "\tld.global.b16 %%h, [%s];\n\tcvt.f32.f16 %s, %%h;\n", address, to);
		break;
	case BLAS_BF16: /* the upper half of a float; cvt.f32.bf16 would want a newer target */
		mp_buf_printf(o, "\tld.global.b16 %%h, [%s];\n\tmov.b32 %s, {%%zero, %%h};\n", address, to);
		break;
	}
}

static void store(struct mp_buf *o, enum mp_blas_type t, const char *address, const char *from)
{
	switch (t) {
	case BLAS_F64:
		mp_buf_printf(o, "\tst.global.f64 [%s], %s;\n", address, from);
		break;
	case BLAS_F32:
		mp_buf_printf(o, "\tst.global.f32 [%s], %s;\n", address, from);
		break;
	case BLAS_F16:
		mp_buf_printf(o, "\tcvt.rn.f16.f32 %%h, %s;\n\tst.global.b16 [%s], %%h;\n", from, address);
		break;
	case BLAS_BF16:
		mp_buf_printf(o, "\tcvt.rn.bf16.f32 %%h, %s;\n\tst.global.b16 [%s], %%h;\n", from, address);
		break;
	}
}

#define P(field) offsetof(struct mp_blas_params, field)

static void param(struct mp_buf *o, const char *type, const char *to, size_t at)
{
	mp_buf_printf(o, "\tld.param.%s %s, [params+%zu];\n", type, to, at);
}

/* Where the batch's A, B, C or D lies: a pointer in an array, or a stride further. */
static void operand(struct mp_buf *o, const char *to, size_t at, size_t stride)
{
	param(o, "u64", to, at);
	param(o, "s64", "%t0", stride);
	mp_buf_printf(o, "\tmad.lo.s64 %s, %%t0, %%batch, %s;\n@%%arrays\tld.global.u64 %s, [%s];\n", to, to, to, to);
}

/* A factor: by value, or from device memory. */
static void factor(struct mp_buf *o, enum mp_blas_type acc, const char *to, size_t value, size_t at)
{
	const char *f = acc == BLAS_F64 ? "f64" : "f32";

	param(o, "f64", "%d0", value);
	mp_buf_printf(o, acc == BLAS_F64 ? "\tmov.f64 %s, %%d0;\n" : "\tcvt.rn.f32.f64 %s, %%d0;\n", to);
	param(o, "u64", "%t0", at);
	mp_buf_printf(o, "\tsetp.ne.u64 %%p0, %%t0, 0;\n@%%p0\tld.global.%s %s, [%%t0];\n", f, to);
}

static void head(struct mp_buf *o, enum mp_blas_type acc)
{
	const char *f = acc == BLAS_F64 ? "f64" : "f32";

	mp_buf_printf(o, ".visible .entry gemm(.param .align 8 .b8 params[%zu])\n{\n", sizeof(struct mp_blas_params));
	mp_buf_puts(o, "\t.reg .pred %arrays, %add, %bias, %relu, %gelu, %plus, %p0;\n"
		       "\t.reg .b16 %h, %zero;\n"
		       "\t.reg .b32 %m, %n, %k, %row, %col, %c, %last, %flags, %w0, %i;\n"
		       "\t.reg .b64 %a, %c0, %d0s, %biasat, %t0, %batch, %rows, %ak, %bk, %b<8>, %cols;\n"
		       "\t.reg .f64 %d0;\n");
	mp_buf_printf(o, "\t.reg .%s %%x, %%y, %%alpha, %%beta, %%v, %%u, %%acc<8>;\n", f);
	param(o, "u32", "%m", P(m));
	param(o, "u32", "%n", P(n));
	param(o, "u32", "%k", P(k));
	param(o, "u32", "%flags", P(flags));
	mp_buf_puts(o, "\tmov.u32 %w0, %ctaid.x;\n\tshl.b32 %w0, %w0, 5;\n\tmov.u32 %row, %tid.x;\n"
		       "\tadd.u32 %row, %row, %w0;\n\tsetp.ge.u32 %p0, %row, %m;\n@%p0\tbra END;\n"
		       "\tmov.u32 %w0, %ctaid.y;\n\tshl.b32 %w0, %w0, 2;\n\tmov.u32 %col, %tid.y;\n"
		       "\tadd.u32 %col, %col, %w0;\n\tshl.b32 %col, %col, 3;\n"
		       "\tsetp.ge.u32 %p0, %col, %n;\n@%p0\tbra END;\n"
		       "\tsub.u32 %last, %n, 1;\n\tmov.b16 %zero, 0;\n"
		       "\tmov.u32 %w0, %ctaid.z;\n\tcvt.u64.u32 %batch, %w0;\n\tcvt.u64.u32 %rows, %row;\n");
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%arrays, %%w0, 0;\n", MP_BLAS_ARRAYS);
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%add, %%w0, 0;\n", MP_BLAS_ADD);
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%bias, %%w0, 0;\n", MP_BLAS_BIAS);
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%relu, %%w0, 0;\n", MP_BLAS_RELU);
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%gelu, %%w0, 0;\n", MP_BLAS_GELU);
	mp_buf_printf(o, "\tand.b32 %%w0, %%flags, %d;\n\tsetp.ne.u32 %%plus, %%w0, 0;\n", MP_BLAS_PLUS);
	factor(o, acc, "%alpha", P(alpha), P(alpha_at));
	factor(o, acc, "%beta", P(beta), P(beta_at));
	/* With a factor of zero C is not read, whatever is in it. */
	mp_buf_printf(o, "\tsetp.neu.and.%s %%add, %%beta, %s, %%add;\n", f,
		      acc == BLAS_F64 ? "0d0000000000000000" : "0f00000000");
}

static void sum(struct mp_buf *o, enum mp_blas_type in, enum mp_blas_type acc)
{
	const char *f = acc == BLAS_F64 ? "f64" : "f32";
	unsigned j;

	operand(o, "%a", P(a), P(az));
	operand(o, "%b0", P(b), P(bz));
	param(o, "s64", "%t0", P(am));
	mp_buf_puts(o, "\tmad.lo.s64 %a, %t0, %rows, %a;\n");
	param(o, "s64", "%ak", P(ak));
	param(o, "s64", "%bk", P(bk));
	param(o, "s64", "%cols", P(bn));
	for (j = COLUMNS; j-- > 0;)
		mp_buf_printf(o,
			      "\tadd.u32 %%c, %%col, %u;\n\tmin.u32 %%c, %%c, %%last;\n\tcvt.u64.u32 %%t0, %%c;\n"
			      "\tmad.lo.s64 %%b%u, %%t0, %%cols, %%b0;\n\tmov.%s %%acc%u, %s;\n",
			      j, j, f, j, acc == BLAS_F64 ? "0d0000000000000000" : "0f00000000");
	mp_buf_puts(o, "\tmov.u32 %i, %k;\n\tsetp.eq.u32 %p0, %i, 0;\n@%p0\tbra SUMMED;\nSUM:\n");
	load(o, in, "%x", "%a");
	mp_buf_puts(o, "\tadd.s64 %a, %a, %ak;\n");
	for (j = 0; j < COLUMNS; j++) {
		char b[8] = {'%', 'b', (char)('0' + j)};

		load(o, in, "%y", b);
		mp_buf_printf(o, "\tfma.rn.%s %%acc%u, %%x, %%y, %%acc%u;\n\tadd.s64 %s, %s, %%bk;\n", f, j, j, b, b);
	}
	mp_buf_puts(o, "\tsub.u32 %i, %i, 1;\n\tsetp.ne.u32 %p0, %i, 0;\n@%p0\tbra SUM;\nSUMMED:\n");
}

/* x (1 + erf(x / sqrt 2)) / 2 by its usual form with tanh, as the epilogue is documented. */
static void gelu(struct mp_buf *o)
{
	mp_buf_puts(o, "\tmul.f32 %u, %v, %v;\n\tmul.f32 %u, %u, %v;\n"
		       "\tfma.rn.f32 %u, %u, 0f3D372713, %v;\n"	 /* v + 0.044715 v^3 */
		       "\tmul.f32 %u, %u, 0f3FCC422A;\n"	 /* 2 sqrt(2 / pi) */
		       "\tmul.f32 %u, %u, 0fBFB8AA3B;\n"	 /* -log2 e: 1 + exp(-2 y) */
		       "\tex2.approx.f32 %u, %u;\n\tadd.f32 %u, %u, 0f3F800000;\n"
		       "\tdiv.rn.f32 %v, %v, %u;\n");
}

static void finish(struct mp_buf *o, enum mp_blas_type in, enum mp_blas_type out, enum mp_blas_type acc)
{
	const char *f = acc == BLAS_F64 ? "f64" : "f32";
	const char *zero = acc == BLAS_F64 ? "0d0000000000000000" : "0f00000000";
	unsigned j;

	operand(o, "%c0", P(c), P(cz));
	operand(o, "%d0s", P(d), P(dz));
	param(o, "u64", "%biasat", P(bias));
	param(o, "s64", "%t0", P(biasz));
	mp_buf_puts(o, "\tmad.lo.s64 %biasat, %t0, %batch, %biasat;\n");
	param(o, "s64", "%t0", P(biasm));
	mp_buf_puts(o, "\tmad.lo.s64 %biasat, %t0, %rows, %biasat;\n");
	param(o, "s64", "%t0", P(cm));
	mp_buf_puts(o, "\tmad.lo.s64 %c0, %t0, %rows, %c0;\n");
	param(o, "s64", "%t0", P(dm));
	mp_buf_puts(o, "\tmad.lo.s64 %d0s, %t0, %rows, %d0s;\n");
	for (j = 0; j < COLUMNS; j++) {
		mp_buf_printf(o, "\tadd.u32 %%c, %%col, %u;\n\tsetp.ge.u32 %%p0, %%c, %%n;\n@%%p0\tbra END;\n"
				 "\tcvt.u64.u32 %%cols, %%c;\n@!%%plus\tbra PRODUCT%u;\n\tmad.lo.s64 %%t0, %%ak, %%cols, %%a;\n",
			      j, j);
		load(o, in, "%x", "%t0");
		mp_buf_printf(o, "\tmov.%s %%acc%u, %%x;\nPRODUCT%u:\n\tmul.%s %%v, %%acc%u, %%alpha;\n@!%%add\tbra NOTHING%u;\n",
			      f, j, j, f, j, j);
		param(o, "s64", "%t0", P(cn));
		mp_buf_puts(o, "\tmad.lo.s64 %t0, %t0, %cols, %c0;\n");
		load(o, out, "%x", "%t0");
		mp_buf_printf(o, "\tfma.rn.%s %%v, %%x, %%beta, %%v;\nNOTHING%u:\n@!%%bias\tbra UNBIASED%u;\n", f, j, j);
		param(o, "s64", "%t0", P(biasn));
		mp_buf_puts(o, "\tmad.lo.s64 %t0, %t0, %cols, %biasat;\n");
		load(o, out, "%x", "%t0");
		mp_buf_printf(o, "\tadd.%s %%v, %%v, %%x;\nUNBIASED%u:\n", f, j);
		mp_buf_printf(o, "@%%relu\tmax.%s %%v, %%v, %s;\n", f, zero);
		if (acc == BLAS_F32) {
			mp_buf_printf(o, "@!%%gelu\tbra PLAIN%u;\n", j);
			gelu(o);
			mp_buf_printf(o, "PLAIN%u:\n", j);
		}
		param(o, "s64", "%t0", P(dn));
		mp_buf_puts(o, "\tmad.lo.s64 %t0, %t0, %cols, %d0s;\n");
		store(o, out, "%t0", "%v");
	}
	mp_buf_puts(o, "END:\n\tret;\n}\n");
}

char *mp_blas_ptx(enum mp_blas_type in, enum mp_blas_type out, enum mp_blas_type acc)
{
	struct mp_buf o;

	mp_buf_init(&o, 64 << 10);
	/* bfloat16 rounding is an instruction from 8.0 on. */
	mp_buf_printf(&o, ".version 7.0\n.target sm_%d\n.address_size 64\n", out == BLAS_BF16 ? 80 : 75);
	head(&o, acc);
	sum(&o, in, acc);
	finish(&o, in, out, acc);
	if (o.failed) {
		mp_buf_fini(&o);
		return NULL;
	}
	return mp_buf_take(&o, NULL);
}
