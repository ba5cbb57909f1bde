/* SPDX-License-Identifier: Apache-2.0 */
/* Textures and surfaces: fetches compared with the formulas of the programming guide, written out. */
#include "exec/test-run.h"

#include <math.h>

#define W 8
#define H 4

static struct mp_exec_texture texture;

static const struct mp_exec_texture *lookup(void *arg, uint64_t object)
{
	return object == 42 ? &texture : NULL;
}

/* out[i] = tex2D(object, in[2i], in[2i+1]) */
static const char fetch[] = HEAD
	".entry k(.param .u64 obj,.param .u64 in,.param .u64 out) {\n"
	".reg .b64 %o,%i,%d,%t; .reg .b32 %x,%r<4>; .reg .f32 %f<2>;\n"
	"ld.param.u64 %o,[obj]; ld.param.u64 %i,[in]; ld.param.u64 %d,[out]; mov.u32 %x,%tid.x; mul.wide.u32 %t,%x,8;\n"
	"add.s64 %i,%i,%t; mul.wide.u32 %t,%x,4; add.s64 %d,%d,%t; ld.global.v2.f32 {%f0,%f1},[%i];\n"
	"tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3},[%o,{%f0,%f1}]; st.global.b32 [%d],%r0; ret; }\n"
	".entry s(.param .u64 obj,.param .u64 in,.param .u64 out) { .reg .b64 %o; .reg .b32 %x,%y,%r;\n"
	"ld.param.u64 %o,[obj]; mov.u32 %x,%tid.x; shl.b32 %x,%x,2; mov.u32 %y,%ctaid.x;\n"
	"suld.b.2d.b32.trap {%r},[%o,{%x,%y}]; add.s32 %r,%r,1000; sust.b.2d.b32.zero [%o,{%x,%y}],{%r}; ret; }\n";

static float texel(const float *data, long x, long y, int mode)
{
	if (mode == 3 && (x < 0 || x >= W || y < 0 || y >= H))
		return -7;
	if (mode == 0) {
		x = ((x % W) + W) % W;
		y = ((y % H) + H) % H;
	} else if (mode == 2) {
		x = ((x % (2 * W)) + 2 * W) % (2 * W);
		y = ((y % (2 * H)) + 2 * H) % (2 * H);
		x = x < W ? x : 2 * W - 1 - x;
		y = y < H ? y : 2 * H - 1 - y;
	}
	x = x < 0 ? 0 : x >= W ? W - 1 : x;
	y = y < 0 ? 0 : y >= H ? H - 1 : y;
	return data[y * W + x];
}

MP_TEST(fetches)
{
	struct { uint64_t obj, in, out; } p;
	struct mp_exec_module *m;
	float *data, *in, *out;
	int mode, norm, linear, i;

	device_reset();
	space.texture = lookup;
	m = module_of(fetch);
	data = device_new(W * H * 4), in = device_new(2048), out = device_new(1024);
	for (i = 0; i < W * H; i++)
		data[i] = (float)(i * i % 37);
	for (i = 0; i < 256; i++) {
		in[i * 2] = (float)((i * 37) % 101) / 64 * W / 2 - 2.013f;
		in[i * 2 + 1] = (float)((i * 53) % 97) / 64 * H / 2 - 1.017f;
	}
	p.obj = 42, p.in = (uintptr_t)in, p.out = (uintptr_t)out;
	for (mode = 0; mode < 4; mode++)
		for (norm = 0; norm < 2; norm++)
			for (linear = 0; linear < 2; linear++) {
				int bad = 0;

				if (!norm && (mode == 0 || mode == 2))
					continue;
				memset(&texture, 0, sizeof(texture));
				texture.levels[0] = (struct mp_exec_level){(uintptr_t)data, W * 4, 0, W, H, 1};
				texture.nlevels = texture.layers = texture.channels = 1;
				texture.bits = 32, texture.kind = 2;
				memset(texture.address, mode, 3);
				texture.linear = linear, texture.normalized_coords = norm;
				texture.border[0] = -7;
				MP_CHECK_EQ(run(m, "k", (struct launch){.block = {128}}, &p, NULL), 0);
				for (i = 0; i < 128; i++) {
					float x = in[i * 2] * (norm ? W : 1), y = in[i * 2 + 1] * (norm ? H : 1), want;

					if (!linear) {
						want = texel(data, (long)floorf(x), (long)floorf(y), mode);
					} else {
						float a = x - 0.5f, b = y - 0.5f, fa = roundf((a - floorf(a)) * 256) / 256,
						      fb = roundf((b - floorf(b)) * 256) / 256;
						long u = (long)floorf(a), v = (long)floorf(b);

						want = (1 - fa) * (1 - fb) * texel(data, u, v, mode) +
						       fa * (1 - fb) * texel(data, u + 1, v, mode) +
						       (1 - fa) * fb * texel(data, u, v + 1, mode) +
						       fa * fb * texel(data, u + 1, v + 1, mode);
					}
					if (fabsf(out[i] - want) > 0.2f * (float)linear + 1e-5f && bad++ < 3)
						printf("# mode %d norm %d linear %d (%g, %g): %g, wanted %g\n", mode, norm,
						       linear, (double)in[i * 2], (double)in[i * 2 + 1], (double)out[i],
						       (double)want);
				}
				MP_CHECK_EQ(bad, 0);
			}
	p.obj = 43;
	MP_CHECK_EQ(run(m, "k", (struct launch){.block = {32}}, &p, NULL), MP_EXEC_ILLEGAL_ADDRESS);
	mp_exec_module_free(m);
}

MP_TEST(surface)
{
	struct { uint64_t obj, in, out; } p = {42, 0, 0};
	struct mp_exec_module *m;
	uint32_t *data;
	int i;

	device_reset();
	space.texture = lookup;
	m = module_of(fetch);
	data = device_new(W * H * 4);
	for (i = 0; i < W * H; i++)
		data[i] = (uint32_t)i;
	memset(&texture, 0, sizeof(texture));
	texture.levels[0] = (struct mp_exec_level){(uintptr_t)data, W * 4, 0, W, H, 1};
	texture.nlevels = texture.layers = texture.channels = 1;
	texture.bits = 32, texture.surface = true;
	MP_CHECK_EQ(run(m, "s", (struct launch){.grid = {H}, .block = {W}}, &p, NULL), 0);
	for (i = 0; i < W * H; i++)
		MP_CHECK_EQ(data[i], i + 1000);
	MP_CHECK_EQ(run(m, "s", (struct launch){.grid = {H}, .block = {W + 1}}, &p, NULL), MP_EXEC_ILLEGAL_ADDRESS);
	mp_exec_module_free(m);
}

MP_TEST_MAIN()
