/* SPDX-License-Identifier: Apache-2.0 */
/* What is read out of cubins and PTX texts, on images made by code. */
#include "base/check.h"
#include "base/clock.h"
#include "base/test.h"
#include "cuabi/internal.h"
#include "cuabi/sample.h"

static struct mp_arena arena;
static struct mp_contents contents;

static const struct mp_kernel *kernel(const char *name)
{
	size_t i;

	for (i = 0; i < contents.nkernels; i++)
		if (!strcmp(contents.kernels[i].name, name))
			return &contents.kernels[i];
	printf("# no kernel %s\n", name);
	abort();
}

static const struct mp_variable *variable(const char *name)
{
	size_t i;

	for (i = 0; i < contents.nvariables; i++)
		if (!strcmp(contents.variables[i].name, name))
			return &contents.variables[i];
	return NULL;
}

static enum mp_image_outcome text_read(const char *text)
{
	mp_arena_fini(&arena);
	mp_arena_init(&arena, 1 << 20);
	return mp_contents_read(text, strlen(text), &arena, &contents);
}

static void params_check(const struct mp_kernel *k, const struct mp_param *want, size_t n)
{
	size_t i;

	MP_CHECK_EQ(k->nparams, n);
	for (i = 0; i < n && i < k->nparams; i++) {
		MP_CHECK_EQ(k->params[i].offset, want[i].offset);
		MP_CHECK_EQ(k->params[i].size, want[i].size);
	}
}

static void variable_check(const char *name, uint64_t size, uint32_t align, enum mp_space space)
{
	const struct mp_variable *v = variable(name);

	if (!v) {
		printf("# no variable %s\n", name);
		MP_CHECK(v);
		return;
	}
	MP_CHECK_EQ(v->size, size);
	MP_CHECK_EQ(v->align, align);
	MP_CHECK_EQ(v->space, space);
}

MP_TEST(ptx)
{
	static const struct mp_param first[] = {{0, 8}, {8, 24}, {32, 4}, {36, 1}};
	const struct mp_kernel *k;

	mp_arena_init(&arena, 1 << 20);
	MP_CHECK_EQ(text_read(mp_sample_ptx), MP_IMAGE_OK);
	MP_CHECK_EQ(contents.sm, 75);
	MP_CHECK_EQ(contents.ptx_version, 84);
	MP_CHECK_EQ(contents.nkernels, 2); /* not the declared one */
	k = kernel("first");
	params_check(k, first, 4);
	MP_CHECK_EQ(k->param_bytes, 37);
	MP_CHECK(k->maxntid[0] == 128 && k->maxntid[1] == 2 && k->maxntid[2] == 1);
	MP_CHECK_EQ(k->reqntid[0], 0);
	/* Its own pair[3] and other; tile by name; slot[4] through inner. */
	MP_CHECK_EQ(k->static_shared, 6 + 2 + 100 + 32);
	MP_CHECK(!k->uses_printf);
	k = kernel("second");
	MP_CHECK_EQ(k->nparams, 0);
	MP_CHECK(k->reqntid[0] == 64 && k->reqntid[1] == 1 && k->reqntid[2] == 1);
	MP_CHECK_EQ(k->static_shared, 0);

	MP_CHECK_EQ(contents.nvariables, 5);
	variable_check("counter", 4, 4, MP_SPACE_GLOBAL);
	variable_check("quad", 96, 16, MP_SPACE_GLOBAL);
	variable_check("text", 3, 1, MP_SPACE_GLOBAL);
	variable_check("table", 128, 8, MP_SPACE_CONST);
	variable_check("both", 8, 8, MP_SPACE_MANAGED);
	MP_CHECK(!variable("elsewhere") && !variable("tile"));
}

#define HEAD ".version 9.0 .target sm_121a .address_size 64 "

MP_TEST(ptx_prints)
{
	MP_CHECK_EQ(text_read(HEAD ".entry a(.param .b32 x){call vprintf,(p);}.entry b(){ret;}"), 0);
	MP_CHECK_EQ(contents.sm, 121);
	MP_CHECK(kernel("a")->uses_printf && !kernel("b")->uses_printf);
	MP_CHECK_EQ(text_read(HEAD ".func f(){call vprintf,(p);}.entry b(){ret;}"), 0);
	MP_CHECK(kernel("b")->uses_printf);
}

MP_TEST(ptx_types)
{
	static const struct mp_param want[] = {{0, 1},	 {2, 2},   {4, 4},   {8, 4},
					       {16, 16}, {32, 16}, {48, 8},  {64, 9000}};

	MP_CHECK_EQ(text_read(HEAD ".entry k(.param .s8 a,.param .f16 b,.param .f16x2 c,"
				   ".param .b32 d,.param .b128 e,.param .v4 .f32 f,"
				   ".param .texref g,.param .align 64 .b8 h[9000]){}"),
		    MP_IMAGE_OK);
	params_check(kernel("k"), want, MP_ARRAY_LEN(want));
	MP_CHECK_EQ(kernel("k")->param_bytes, 9064);
	/* An empty struct has a parameter of one byte, or none of size zero. */
	MP_CHECK_EQ(text_read(HEAD ".entry k(.param .align 1 .b8 e[1],.param .u64 p){}"), 0);
	MP_CHECK_EQ(kernel("k")->params[1].offset, 8);
}

MP_TEST(ptx_refused)
{
	static const char *const bad[] = {
		".target sm_75\n.entry k(){}",			 /* no version */
		HEAD ".entry k(){",				 /* open body */
		HEAD ".entry k(.param .u64 a",			 /* open list */
		HEAD ".entry k(.param .b17 a){}",		 /* no such type */
		HEAD ".entry k(.param .align 3 .b8 a[4]){}",	 /* no power of two */
		HEAD ".entry k(.param .b8 a[99999999999]){}",	 /* too large */
		HEAD ".entry k(.reg .u64 a){}",			 /* no parameter */
		HEAD ".global .u32",				 /* no name */
		HEAD ".global .u64 a[0xffffffffffffffff];",	 /* product overflows */
		HEAD ".global .u64 a[4",
		HEAD ".func f",
		HEAD "nonsense",
		HEAD ".section x {",
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(bad); i++) {
		if (text_read(bad[i]) != MP_IMAGE_BAD)
			printf("# %s\n", bad[i]);
		MP_CHECK_EQ(text_read(bad[i]), MP_IMAGE_BAD);
	}
	MP_CHECK_EQ(mp_contents_read("", 0, &arena, &contents), MP_IMAGE_BAD);
}

MP_TEST(arena_ceiling)
{
	struct mp_arena small;

	mp_arena_init(&small, 64);
	MP_CHECK_EQ(mp_contents_read(mp_sample_ptx, strlen(mp_sample_ptx), &small, &contents),
		    MP_IMAGE_NO_MEMORY);
	mp_arena_fini(&small);
}

static void cubin_check(const struct mp_sample_cubin *how)
{
	static const struct mp_param alpha[] = {{0, 8}, {8, 24}, {32, 4}};
	const struct mp_kernel *k;
	size_t size;
	uint8_t *elf = mp_sample_cubin(how, &size);

	mp_arena_fini(&arena);
	mp_arena_init(&arena, 1 << 20);
	MP_CHECK_EQ(mp_contents_read(elf, size, &arena, &contents), MP_IMAGE_OK);
	free(elf); /* nothing may point into it */
	MP_CHECK_EQ(contents.sm, how->sm);
	MP_CHECK_EQ(contents.nkernels, 2);
	k = kernel("alpha");
	params_check(k, alpha, 3);
	MP_CHECK_EQ(k->param_bytes, 36);
	MP_CHECK_EQ(k->registers, 40);
	MP_CHECK_EQ(k->local_bytes, 96);
	MP_CHECK_EQ(k->static_shared, 320);
	MP_CHECK(k->maxntid[0] == 256 && k->maxntid[1] == 2 && k->maxntid[2] == 1);
	MP_CHECK_EQ(k->uses_printf, how->prints);
	k = kernel("beta");
	MP_CHECK_EQ(k->nparams, 0);
	MP_CHECK_EQ(k->registers, 8);
	MP_CHECK(k->reqntid[0] == 32 && k->reqntid[1] == 4);
	MP_CHECK(!k->uses_printf);
	MP_CHECK_EQ(contents.nvariables, 3);
	variable_check("counter", 40, 8, MP_SPACE_GLOBAL);
	variable_check("table", 12, 8, MP_SPACE_CONST);
	variable_check("both", 8, 8, MP_SPACE_MANAGED);
}

MP_TEST(cubins)
{
	cubin_check(&(struct mp_sample_cubin){.sm = 75, .abi = 7});
	cubin_check(&(struct mp_sample_cubin){.sm = 86, .abi = 8, .prints = true});
	cubin_check(&(struct mp_sample_cubin){.sm = 90, .abi = 8, .large_params = true});
	cubin_check(&(struct mp_sample_cubin){.sm = 121, .abi = 8});
}

/* Two objects of an -rdc program: a shared variable, a call across, and a name that each has for itself. */
MP_TEST(join)
{
	static const char a[] = HEAD ".global .u32 mine; .global .u32 only_here; .visible .global .u32 both;"
				     ".visible .func (.param .b32 r) twice(.param .b32 x)"
				     "{ ld.global.u32 %r1, [mine]; ret; }";
	static const char b[] = HEAD ".extern .global .u32 both; .global .u64 mine;"
				     ".extern .func (.param .b32 r) twice(.param .b32 x);"
				     ".visible .entry k(.param .u64 p){ call (r), twice, (x);"
				     " ld.global.u64 %rd1, [mine]; ret; }";
	char *texts[] = {(char *)a, (char *)b, (char *)a}, *out = NULL;
	size_t lens[] = {sizeof(a) - 1, sizeof(b) - 1, sizeof(a) - 1}, n, i, u32 = 0, u64 = 0;
	const struct mp_sample_entry ea = {MP_MEMBER_PTX, 75, 0, MP_CODEC_ZSTD, a, sizeof(a)};
	const struct mp_sample_entry eb = {MP_MEMBER_PTX, 75, 0, MP_CODEC_NONE, b, sizeof(b)};
	uint8_t *fa = mp_sample_fatbin(&ea, 1, &n), *fb = mp_sample_fatbin(&eb, 1, &n);
	uint8_t *none = mp_sample_fatbin(NULL, 0, &n);
	const void *parts[] = {fa, fb, NULL};
	struct {
		uint32_t magic, version;
		const void *data, *extra;
	} wrapper = {0x466243b1, 2, none, parts};
	struct mp_image image;
	struct mp_member m;

	MP_CHECK_EQ(mp_image_open(&wrapper, 0, &image), MP_IMAGE_OK);
	MP_CHECK_EQ(mp_image_choose(&image, 80, 3, &m), MP_IMAGE_NO_MEMBER);
	MP_CHECK_EQ(mp_image_join(&image, 80, &out, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(text_read(out), MP_IMAGE_OK);
	MP_CHECK_EQ(contents.nkernels, 1);
	MP_CHECK_EQ(kernel("k")->param_bytes, 8);
	MP_CHECK_EQ(contents.nvariables, 4);
	variable_check("both", 4, 4, MP_SPACE_GLOBAL);
	variable_check("only_here", 4, 4, MP_SPACE_GLOBAL);
	for (i = 0; i < contents.nvariables; i++) {
		u32 += contents.variables[i].size == 4;
		u64 += contents.variables[i].size == 8;
	}
	MP_CHECK(u32 == 3 && u64 == 1); /* both of `mine` are there, under two names */
	free(out);
	/* No part for an older device; two strong definitions of one name. */
	MP_CHECK_EQ(mp_image_join(&image, 70, &out, &n), CUDA_ERROR_NO_BINARY_FOR_GPU);
	MP_CHECK_EQ(mp_join_texts(texts, lens, 3, &out, &n), CUDA_ERROR_INVALID_PTX);
	image.relocatable = NULL;
	MP_CHECK_EQ(mp_image_join(&image, 80, &out, &n), CUDA_ERROR_NO_BINARY_FOR_GPU);
	free(fa);
	free(fb);
	free(none);
}

/* A text the size of the largest ones must be read in a fraction of a second. */
MP_TEST(ptx_large)
{
	static const char line[] = "ld.shared.v4.f32 {%f1,%f2,%f3,%f4},[%rd1+16];fma.rn.f32 "
				   "%f5,%f1,%f2,%f5;@%p1 bra $L__BB0_2;\n";
	struct mp_buf b;
	uint64_t t;
	int i, j;

	mp_buf_init(&b, 64 << 20);
	mp_buf_puts(&b, HEAD);
	for (i = 0; i < 40; i++) {
		mp_buf_printf(&b, ".visible .entry k%d(.param .u64 a,.param .u32 b){\n", i);
		for (j = 0; j < 5000; j++)
			mp_buf_puts(&b, line);
		mp_buf_puts(&b, "}\n");
	}
	MP_CHECK(!b.failed);
	mp_arena_fini(&arena);
	mp_arena_init(&arena, 1 << 20);
	t = mp_now_ns();
	MP_CHECK_EQ(mp_contents_read(b.data, b.len, &arena, &contents), MP_IMAGE_OK);
	t = mp_now_ns() - t;
	printf("# %zu bytes in %.1f ms: %.0f MB/s\n", b.len, (double)t / 1e6,
	       (double)b.len * 1e3 / (double)t);
	MP_CHECK_EQ(contents.nkernels, 40);
	MP_CHECK_EQ(kernel("k39")->param_bytes, 12);
	mp_buf_fini(&b);
}

MP_TEST_MAIN()
