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

/* ---- Every geometry, format and query ---- */

/* Thread i: four values of in as x, y, z, w; four to out. */
#define KERNEL(name, decl, body)                                                                                   \
	".entry " name "(.param .u64 obj,.param .u64 in,.param .u64 out) {\n"                                      \
	".reg .b64 %o,%i,%d,%a; .reg .b32 %t,%x,%y,%z,%w,%r<4>; .reg .pred %p; .reg .b16 %h<4>;" decl "\n"          \
	"ld.param.u64 %o,[obj]; ld.param.u64 %i,[in]; ld.param.u64 %d,[out]; mov.u32 %t,%tid.x; mul.wide.u32 %a,%t,16;\n" \
	"add.s64 %i,%i,%a; add.s64 %d,%d,%a; ld.global.v4.b32 {%x,%y,%z,%w},[%i];\n"                               \
	"mov.b32 %r0,0; mov.b32 %r1,0; mov.b32 %r2,0; mov.b32 %r3,0;\n" body                                       \
	"\nst.global.v4.b32 [%d],{%r0,%r1,%r2,%r3}; ret; }\n"
#define R "{%r0,%r1,%r2,%r3}"
#define TEX(name, how, at) KERNEL(name, "", how " " R ",[%o," at ";")

static const char all[] = HEAD
	TEX("t1d", "tex.1d.v4.f32.f32", "{%x}]")
	TEX("t1i", "tex.1d.v4.s32.s32", "{%x}]")
	TEX("t2d", "tex.2d.v4.f32.f32", "{%x,%y}]")
	TEX("t3d", "tex.3d.v4.f32.f32", "{%x,%y,%z,%z}]")
	TEX("ta1", "tex.a1d.v4.f32.f32", "{%x,%y}]")
	TEX("ta2", "tex.a2d.v4.f32.f32", "{%x,%y,%z,%z}]")
	TEX("tcu", "tex.cube.v4.f32.f32", "{%x,%y,%z,%z}]")
	TEX("tac", "tex.acube.v4.f32.f32", "{%x,%y,%z,%w}]")
	TEX("tlv", "tex.level.2d.v4.f32.f32", "{%x,%y}],%z")
	TEX("tli", "tex.level.2d.v4.u32.s32", "{%x,%y}],%z")
	TEX("tgr", "tex.grad.2d.v4.f32.f32", "{%x,%y}],{%z,%z},{%w,%w}")
	TEX("tof", "tex.2d.v4.f32.f32", "{%x,%y}],{2,-1}")
	TEX("gr", "tld4.r.2d.v4.f32.f32", "{%x,%y}]")
	TEX("gg", "tld4.g.2d.v4.f32.f32", "{%x,%y}]")
	TEX("gb", "tld4.b.2d.v4.f32.f32", "{%x,%y}]") TEX("ga", "tld4.a.2d.v4.f32.f32", "{%x,%y}]")
	KERNEL("res", "", "tex.2d.v4.f32.f32 {%r0,_,_,_}|%p,[%o,{%x,%y}]; selp.b32 %r1,1,2,%p;")
	KERNEL("hlf", "", "tex.2d.v2.f16x2.f32 {%r0,%r1},[%o,{%x,%y}]; tex.2d.v4.f16.f32 {%h0,%h1,%h2,%h3},[%o,{%x,%y}];"
		"mov.b32 %r2,{%h0,%h1}; mov.b32 %r3,{%h2,%h3};")
	KERNEL("qry", "", "txq.level.width.b32 %r0,[%o],1; txq.channel_data_type.b32 %r1,[%o]; txq.array_size.b32 %r2,[%o];"
		"txq.normalized_coords.b32 %r3,[%o];")
	KERNEL("typ", ".reg .pred %q;", "istypep.texref %p,%o; istypep.surfref %q,%o; "
		"selp.b32 %r0,1,0,%p; selp.b32 %r1,1,0,%q;"
		"istypep.samplerref %p,%o; selp.b32 %r2,1,0,%p;")
	KERNEL("slc", "", "suld.b.2d.v2.b16.clamp {%h0,%h1},[%o,{%x,%y}]; mov.b32 %r0,{%h0,%h1};")
	KERNEL("slz", "", "suld.b.2d.b32.zero %r0,[%o,{%x,%y}];")
	KERNEL("slt", "", "suld.b.2d.b32.trap %r0,[%o,{%x,%y}];")
	KERNEL("sl3", "", "suld.b.3d.b32.zero %r0,[%o,{%x,%y,%z,%z}];")
	KERNEL("sla", "", "suld.b.a2d.b32.zero %r0,[%o,{%z,%x,%y,%y}];")
	KERNEL("ssc", "", "sust.b.2d.b32.clamp [%o,{%x,%y}],%z;")
	KERNEL("ssp", "", "sust.p.2d.v4.b32.zero [%o,{%x,%y}],{%z,%w,%z,%w};")
	KERNEL("rad", "", "sured.b.add.2d.u32.zero [%o,{%x,%y}],%z;")
	KERNEL("rmi", "", "sured.b.min.2d.s32.zero [%o,{%x,%y}],%z;")
	KERNEL("rma", "", "sured.p.max.2d.b32.zero [%o,{%x,%y}],%z;")
	KERNEL("ror", "", "sured.b.or.2d.b32.zero [%o,{%x,%y}],%z;")
	KERNEL("ran", "", "sured.b.and.2d.b32.zero [%o,{%x,%y}],%z;");

#define T 64

static struct { uint64_t obj, in, out; } place;
static float (*in4)[4], (*out4)[4];
static struct mp_exec_module *mod;

static void begin(void)
{
	device_reset();
	space.texture = lookup;
	mod = module_of(all);
	in4 = device_new(T * 16), out4 = device_new(T * 16);
	place.obj = 42, place.in = (uintptr_t)in4, place.out = (uintptr_t)out4;
	memset(&texture, 0, sizeof(texture));
	texture.nlevels = texture.layers = 1;
}

static int go(const char *name)
{
	return run(mod, name, (struct launch){.block = {T}}, &place, NULL);
}

static void level(int i, const void *p, uint32_t w, uint32_t h, uint32_t d, uint32_t texel)
{
	texture.levels[i] = (struct mp_exec_level){(uintptr_t)p, w * texel, w * texel * h, w, h, d};
}

static void kind(unsigned channels, unsigned bits, unsigned what)
{
	texture.channels = (uint8_t)channels, texture.bits = (uint8_t)bits, texture.kind = (uint8_t)what;
}

static long clamped(long v, long n)
{
	return v < 0 ? 0 : v >= n ? n - 1 : v;
}

MP_TEST(shapes)
{
	float *data;
	int i, bad = 0;

	begin();
	data = device_new(4096 * 4);
	for (i = 0; i < 4096; i++)
		data[i] = (float)i;
	kind(1, 32, 2);
	memset(texture.address, 1, 3);
	for (i = 0; i < T; i++)
		in4[i][0] = (float)i - 9.5f, in4[i][1] = (float)(i * 5 % 23) - 3.25f, in4[i][2] = (float)(i % 13) - 2.5f;
	level(0, data, 40, 1, 1, 4);
	MP_CHECK_EQ(go("t1d"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != data[clamped((long)floorf(in4[i][0]), 40)];
	level(0, data, 16, 16, 8, 4);
	MP_CHECK_EQ(go("t3d"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != data[clamped((long)floorf(in4[i][0]), 16) + 16 * clamped((long)floorf(in4[i][1]), 16) +
					  256 * clamped((long)floorf(in4[i][2]), 8)];
	/* Layers: the index first, unsigned, and clamped. */
	level(0, data, 16, 16, 1, 4);
	texture.layers = 5;
	for (i = 0; i < T; i++)
		((int *)in4)[i * 4] = i % 8;
	MP_CHECK_EQ(go("ta2"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != data[256 * clamped(i % 8, 5) + clamped((long)floorf(in4[i][1]), 16) +
					  16 * clamped((long)floorf(in4[i][2]), 16)];
	level(0, data, 16, 1, 1, 4);
	MP_CHECK_EQ(go("ta1"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != data[16 * clamped(i % 8, 5) + clamped((long)floorf(in4[i][1]), 16)];
	/* Memory that is fetched by number: outside is zero. */
	texture.layers = 1;
	level(0, data + 7, 30, 1, 1, 4);
	memset(texture.address, 3, 3);
	for (i = 0; i < T; i++)
		((int *)in4)[i * 4] = i - 10;
	MP_CHECK_EQ(go("t1i"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != (i < 10 || i >= 40 ? 0 : data[7 + i - 10]);
	MP_CHECK_EQ(bad, 0);
	/* Shapes that do not fit the object stay inside of it. */
	level(0, data, 8, 8, 1, 4);
	MP_CHECK_EQ(go("tac"), 0);
	MP_CHECK_EQ(go("t3d"), 0);
	MP_CHECK_EQ(go("ta2"), 0);
	mp_exec_module_free(mod);
}

/* The programming guide's table of faces, read the other way: which axis, and the two coordinates. */
MP_TEST(cubes)
{
	static const int axes[6][3] = {{0, 2, 1}, {0, 2, 1}, {1, 0, 2}, {1, 0, 2}, {2, 0, 1}, {2, 0, 1}};
	static const int signs[6][3] = {{1, -1, -1}, {-1, 1, -1}, {1, 1, 1}, {-1, 1, -1}, {1, 1, -1}, {-1, -1, -1}};
	float *data;
	int i, f, x, y, bad = 0;

	begin();
	data = device_new(12 * 64 * 4);
	for (i = 0; i < 12 * 64; i++)
		data[i] = (float)i;
	kind(1, 32, 2);
	level(0, data, 8, 8, 1, 4);
	texture.layers = 12, texture.normalized_coords = true;
	memset(texture.address, 1, 3);
	for (f = 0; f < 6; f++) {
		for (i = 0; i < T; i++) {
			float s = ((float)(i % 8) + 0.5f) / 4 - 1, t = ((float)(i / 8) + 0.5f) / 4 - 1;

			in4[i][axes[f][0]] = (float)signs[f][0] * 3;
			in4[i][axes[f][1]] = (float)signs[f][1] * s * 3;
			in4[i][axes[f][2]] = (float)signs[f][2] * t * 3;
		}
		MP_CHECK_EQ(go("tcu"), 0);
		for (i = 0; i < T; i++)
			bad += out4[i][0] != (float)(f * 64 + i);
		for (i = 0; i < T; i++) {
			memmove(&in4[i][1], &in4[i][0], 12);
			((int *)in4)[i * 4] = 1;
		}
		MP_CHECK_EQ(go("tac"), 0);
		for (i = 0; i < T; i++)
			bad += out4[i][0] != (float)(384 + f * 64 + i);
	}
	MP_CHECK_EQ(bad, 0);
	/* Seamless: over an edge of +x lies what the neighbour has there. A cube whose texels are their direction's x. */
	for (f = 0; f < 6; f++)
		for (y = 0; y < 8; y++)
			for (x = 0; x < 8; x++) {
				float d[3], s = ((float)x + 0.5f) / 4 - 1, t = ((float)y + 0.5f) / 4 - 1;

				d[axes[f][0]] = (float)signs[f][0];
				d[axes[f][1]] = (float)signs[f][1] * s;
				d[axes[f][2]] = (float)signs[f][2] * t;
				data[f * 64 + y * 8 + x] = d[0];
			}
	texture.linear = texture.seamless = true;
	texture.layers = 6;
	for (i = 0; i < T; i++)
		in4[i][0] = 1, in4[i][1] = (float)(i - 32) / 40, in4[i][2] = 0.999f;
	MP_CHECK_EQ(go("tcu"), 0);
	for (i = 0; i < T; i++) /* half of +x, which is 1 everywhere, and half of +z, whose last column is 7/8 */
		bad += fabsf(out4[i][0] - (1 + 0.875f) / 2) > 0.01f;
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(mod);
}

MP_TEST(levels)
{
	float *data;
	int i, k, bad = 0;

	begin();
	data = device_new(4096 * 4);
	for (i = 0; i < 4096; i++)
		data[i] = (float)(i < 256 ? 10 : i < 320 ? 20 : i < 336 ? 40 : 80);
	kind(1, 32, 2);
	level(0, data, 16, 16, 1, 4), level(1, data + 256, 8, 8, 1, 4), level(2, data + 320, 4, 4, 1, 4);
	level(3, data + 336, 2, 2, 1, 4);
	texture.nlevels = 4, texture.normalized_coords = true, texture.mip_max = 9;
	for (k = 0; k < 2; k++) {
		texture.mip_linear = k;
		for (i = 0; i < T; i++)
			in4[i][0] = in4[i][1] = 0.3f, in4[i][2] = (float)(i - 8) / 8;
		MP_CHECK_EQ(go("tlv"), 0);
		for (i = 0; i < T; i++) {
			static const float value[5] = {10, 20, 40, 80, 80};
			float lod = fminf(fmaxf(in4[i][2], 0), 3), want = value[(int)(lod + 0.5f)];

			if (k)
				want = value[(int)lod] + (value[(int)lod + 1] - value[(int)lod]) * (lod - (float)(int)lod);
			bad += out4[i][0] != want;
		}
	}
	texture.mip_linear = false;
	texture.mip_min = 1, texture.mip_max = 2, texture.mip_bias = -0.75f;
	MP_CHECK_EQ(go("tlv"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != (fminf(fmaxf(in4[i][2] - 0.75f, 1), 2) < 1.5f ? 20 : 40);
	/* Gradients of 1/16 and of 1/4 of the texture: 16 texels across are level 4, one texel is level 0. */
	texture.mip_min = 0, texture.mip_max = 9, texture.mip_bias = 0;
	for (i = 0; i < T; i++)
		in4[i][2] = 0.70710678f / (float)(1 << i % 5), in4[i][3] = in4[i][2] / 3;
	MP_CHECK_EQ(go("tgr"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != (i % 5 == 4 ? 10 : i % 5 == 3 ? 20 : i % 5 == 2 ? 40 : 80);
	/* Integers name texel and level. */
	for (i = 0; i < T; i++)
		((int *)in4)[i * 4] = 3, ((int *)in4)[i * 4 + 1] = 1, ((int *)in4)[i * 4 + 2] = i % 4;
	MP_CHECK_EQ(go("tli"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][0] != (float)(i % 4 == 3 ? 80 : i % 4 == 2 ? 40 : i % 4 == 1 ? 20 : 10);
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(mod);
}

MP_TEST(parts)
{
	static const char *const gather[4] = {"gr", "gg", "gb", "ga"};
	float *data;
	int i, c, k, bad = 0;

	begin();
	data = device_new(8 * 8 * 16);
	for (i = 0; i < 256; i++)
		data[i] = (float)i;
	kind(4, 32, 2);
	level(0, data, 8, 8, 1, 16);
	memset(texture.address, 1, 3);
	for (i = 0; i < T; i++)
		in4[i][0] = (float)(i % 11) - 1.25f, in4[i][1] = (float)(i / 7) - 0.5f + 0.25f;
	for (c = 0; c < 4; c++) {
		MP_CHECK_EQ(go(gather[c]), 0);
		for (i = 0; i < T; i++)
			for (k = 0; k < 4; k++) { /* counter-clockwise from the lower left */
				long x = (long)floorf(in4[i][0] - 0.5f) + (k == 1 || k == 2);
				long y = (long)floorf(in4[i][1] - 0.5f) + (k < 2);

				bad += out4[i][k] != data[(clamped(y, 8) * 8 + clamped(x, 8)) * 4 + c];
			}
	}
	MP_CHECK_EQ(go("tof"), 0);
	for (i = 0; i < T; i++)
		bad += out4[i][2] != data[(clamped((long)floorf(in4[i][1]) - 1, 8) * 8 +
					   clamped((long)floorf(in4[i][0]) + 2, 8)) * 4 + 2];
	MP_CHECK_EQ(go("res"), 0);
	for (i = 0; i < T; i++)
		bad += ((int *)out4)[i * 4 + 1] != 1 || out4[i][0] != data[(clamped((long)floorf(in4[i][1]), 8) * 8 +
									    clamped((long)floorf(in4[i][0]), 8)) * 4];
	MP_CHECK_EQ(go("hlf"), 0);
	for (i = 0; i < T; i++) {
		const _Float16 *h = (const _Float16 *)out4[i];

		for (c = 0; c < 8; c++)
			bad += (float)h[c] != data[(clamped((long)floorf(in4[i][1]), 8) * 8 +
						    clamped((long)floorf(in4[i][0]), 8)) * 4 + c % 4];
	}
	MP_CHECK_EQ(bad, 0);
	texture.nlevels = 2, texture.layers = 3, texture.layered = texture.normalized_coords = true;
	level(1, data, 4, 4, 1, 16);
	MP_CHECK_EQ(go("qry"), 0);
	MP_CHECK_EQ(((int *)out4)[0], 4);
	MP_CHECK_EQ(((int *)out4)[1], 0x10de);
	MP_CHECK_EQ(((int *)out4)[2], 3);
	MP_CHECK_EQ(((int *)out4)[3], 1);
	MP_CHECK_EQ(go("typ"), 0);
	MP_CHECK_EQ(((int *)out4)[0] * 4 + ((int *)out4)[1] * 2 + ((int *)out4)[2], 4);
	texture.surface = true;
	MP_CHECK_EQ(go("typ"), 0);
	MP_CHECK_EQ(((int *)out4)[0] * 4 + ((int *)out4)[1] * 2 + ((int *)out4)[2], 2);
	place.obj = 7;
	MP_CHECK_EQ(go("typ"), 0);
	MP_CHECK_EQ(((int *)out4)[0] * 4 + ((int *)out4)[1] * 2 + ((int *)out4)[2], 0);
	mp_exec_module_free(mod);
}

MP_TEST(formats)
{
	static const struct { unsigned channels, bits, kind; bool normal, srgb; } f[] = {
		{4, 8, 0, true, false}, {2, 8, 1, true, false}, {1, 16, 0, true, false}, {4, 16, 1, true, false},
		{4, 8, 0, false, false}, {2, 16, 1, false, false}, {2, 32, 1, false, false}, {4, 10, 0, true, false},
		{2, 16, 2, false, false}, {4, 8, 0, true, true}};
	unsigned char *data;
	unsigned k, c;
	int i, bad = 0;

	begin();
	data = device_new(4096);
	for (i = 0; i < 4096; i++)
		data[i] = (unsigned char)(i * 73 >> 3);
	for (i = 0; i < T; i++)
		in4[i][0] = (float)(i % 8), in4[i][1] = (float)(i / 8);
	for (k = 0; k < MP_ARRAY_LEN(f); k++) {
		unsigned bytes = f[k].bits == 10 ? 4 : f[k].channels * f[k].bits / 8;

		kind(f[k].channels, f[k].bits, f[k].kind);
		texture.read_normalized = f[k].normal, texture.srgb = f[k].srgb;
		level(0, data, 8, 8, 1, bytes);
		MP_CHECK_EQ(go("t2d"), 0);
		for (i = 0; i < T; i++)
			for (c = 0; c < f[k].channels; c++) {
				const unsigned char *p = data + (unsigned)i * bytes;
				unsigned word = p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16 | (unsigned)p[3] << 24;
				long long v = 0;
				float want;
				int b, bits = f[k].bits == 10 ? (c == 3 ? 2 : 10) : (int)f[k].bits;

				if (f[k].bits == 10)
					v = word >> (10 * c) & (c == 3 ? 3 : 1023);
				else
					for (b = bits / 8; b--;)
						v = v << 8 | p[c * (unsigned)bits / 8 + (unsigned)b];
				if (f[k].kind == 2) {
					unsigned short half = (unsigned short)v;
					_Float16 h;

					memcpy(&h, &half, 2);
					if (h == h)
						bad += out4[i][c] != (float)h;
					continue;
				}
				if (f[k].kind == 1 && v >> (bits - 1))
					v -= 1ll << bits;
				if (!f[k].normal) {
					bad += ((int *)out4)[i * 4 + (int)c] != (int)v;
					continue;
				}
				want = (float)((double)v / (double)((1ll << (bits - (int)f[k].kind)) - 1));
				if (want < -1)
					want = -1;
				if (f[k].srgb && c < 3)
					want = want <= 0.04045f ? want / 12.92f : powf((want + 0.055f) / 1.055f, 2.4f);
				if (fabsf(out4[i][c] - want) > 1e-6f && bad++ < 3)
					printf("# format %u texel %d.%u: %g, wanted %g\n", k, i, c, (double)out4[i][c], (double)want);
			}
	}
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(mod);
}

/* Block compression, in integers: a palette first, then the texel out of it. */
static void block_texel(const unsigned char *p, unsigned bc, unsigned k, double *rgba)
{
	const unsigned char *colour = bc == 2 || bc == 3 ? p + 8 : p;
	double pal[4][4];
	unsigned end[2] = {colour[0] | colour[1] * 256u, colour[2] | colour[3] * 256u}, i, c;
	unsigned long long bits = 0;

	for (i = 0; i < 2; i++) {
		pal[i][0] = (end[i] / 2048) / 31.0, pal[i][1] = (end[i] / 32 % 64) / 63.0, pal[i][2] = (end[i] % 32) / 31.0;
		pal[i][3] = 1;
	}
	for (c = 0; c < 4; c++) {
		bool three = bc == 1 && end[0] <= end[1];

		pal[2][c] = three ? (pal[0][c] + pal[1][c]) / 2 : pal[0][c] * 2 / 3 + pal[1][c] / 3;
		pal[3][c] = three ? 0 : pal[0][c] / 3 + pal[1][c] * 2 / 3;
	}
	for (i = 8; i-- > 4;)
		bits = bits << 8 | colour[i];
	for (c = 0; c < 4; c++)
		rgba[c] = pal[bits >> 2 * k & 3][c];
	if (bc == 2)
		rgba[3] = (p[k / 2] / (k & 1 ? 16 : 1) % 16) / 15.0;
	for (c = 0; bc >= 3 && c < (bc == 5 ? 2 : 1); c++) {
		const unsigned char *q = p + 8 * c;
		double v[8] = {q[0] / 255.0, q[1] / 255.0, 0, 0, 0, 0, 0, 1};

		for (i = 2; i < 8; i++)
			if (q[0] > q[1])
				v[i] = ((8 - i) * v[0] + (i - 1) * v[1]) / 7;
			else if (i < 6)
				v[i] = ((6 - i) * v[0] + (i - 1) * v[1]) / 5;
		for (bits = 0, i = 8; i-- > 2;)
			bits = bits << 8 | q[i];
		rgba[bc == 3 ? 3 : c] = v[bits >> 3 * k & 7];
	}
}

MP_TEST(blocks)
{
	unsigned char *data;
	unsigned bc, c;
	int i, bad = 0;

	begin();
	data = device_new(4096);
	for (i = 0; i < 4096; i++)
		data[i] = (unsigned char)((unsigned)i * 2654435761u >> 17);
	for (i = 0; i < T; i++)
		in4[i][0] = (float)(i % 16), in4[i][1] = (float)(i * 7 % 16);
	for (bc = 1; bc <= 5; bc++) {
		unsigned size = bc == 1 || bc == 4 ? 8 : 16;

		kind(bc < 4 ? 4 : bc - 3, 8, 0);
		texture.block = (uint8_t)bc;
		texture.levels[0] = (struct mp_exec_level){(uintptr_t)data, 4 * size, 16 * size, 16, 16, 1};
		MP_CHECK_EQ(go("t2d"), 0);
		for (i = 0; i < T; i++) {
			unsigned x = (unsigned)i % 16, y = (unsigned)i * 7 % 16;
			double want[4];

			block_texel(data + (y / 4 * 4 + x / 4) * size, bc, y % 4 * 4 + x % 4, want);
			for (c = 0; c < (bc < 4 ? 4 : bc - 3); c++)
				if (fabs(out4[i][c] - want[c]) > 1e-5 && bad++ < 4)
					printf("# BC%u %u,%u.%u: %g, wanted %g\n", bc, x, y, c, (double)out4[i][c], want[c]);
		}
	}
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(mod);
}

MP_TEST(stores)
{
	uint32_t *data, *in, *out, was[8 * 8 * 4];
	int i, bad = 0;

	begin();
	data = device_new(sizeof(was));
	in = (uint32_t *)in4, out = (uint32_t *)out4;
	for (i = 0; i < 256; i++)
		data[i] = was[i] = (uint32_t)i * 0x01020305u;
	kind(1, 32, 0);
	level(0, data, 8, 8, 4, 4);
	texture.surface = true;
	for (i = 0; i < T; i++) /* x in bytes, from before the row to behind it */
		in[i * 4] = (uint32_t)(i % 10 - 1) * 4, in[i * 4 + 1] = (uint32_t)(i / 6 - 1), in[i * 4 + 2] = (uint32_t)(i % 5);
	MP_CHECK_EQ(go("slt"), MP_EXEC_ILLEGAL_ADDRESS);
	MP_CHECK_EQ(go("slc"), 0);
	for (i = 0; i < T; i++)
		bad += out[i * 4] != was[clamped(i / 6 - 1, 8) * 8 + clamped(i % 10 - 1, 8)];
	MP_CHECK_EQ(go("slz"), 0);
	for (i = 0; i < T; i++) {
		int x = i % 10 - 1, y = i / 6 - 1;

		bad += out[i * 4] != (x < 0 || x > 7 || y < 0 || y > 7 ? 0 : was[y * 8 + x]);
	}
	MP_CHECK_EQ(go("sl3"), 0);
	for (i = 0; i < T; i++) {
		int x = i % 10 - 1, y = i / 6 - 1, z = i % 5;

		bad += out[i * 4] != (x < 0 || x > 7 || y < 0 || y > 7 || z > 3 ? 0 : was[z * 64 + y * 8 + x]);
	}
	level(0, data, 8, 8, 1, 4);
	texture.layers = 4;
	MP_CHECK_EQ(go("sla"), 0);
	for (i = 0; i < T; i++) {
		int x = i % 10 - 1, y = i / 6 - 1, z = i % 5;

		bad += out[i * 4] != (x < 0 || x > 7 || y < 0 || y > 7 || z > 3 ? 0 : was[z * 64 + y * 8 + x]);
	}
	MP_CHECK_EQ(bad, 0);
	/* One word per thread, then the reductions on it. */
	for (i = 0; i < T; i++)
		in[i * 4] = (uint32_t)i % 8 * 4, in[i * 4 + 1] = (uint32_t)i / 8, in[i * 4 + 2] = (uint32_t)i * 0x9e3779b9u;
	MP_CHECK_EQ(go("rad"), 0);
	for (i = 0; i < T; i++)
		bad += data[i] != (was[i] = was[i] + in[i * 4 + 2]);
	MP_CHECK_EQ(go("ror"), 0);
	for (i = 0; i < T; i++)
		bad += data[i] != (was[i] |= in[i * 4 + 2]), in[i * 4 + 2] = ~((uint32_t)i << 20);
	MP_CHECK_EQ(go("ran"), 0);
	for (i = 0; i < T; i++)
		bad += data[i] != (was[i] &= in[i * 4 + 2]), in[i * 4 + 2] = (uint32_t)i * 0x71234567u;
	MP_CHECK_EQ(go("rmi"), 0);
	for (i = 0; i < T; i++) {
		was[i] = (int)was[i] < (int)in[i * 4 + 2] ? was[i] : in[i * 4 + 2];
		bad += data[i] != was[i];
		in[i * 4] = (uint32_t)i % 8; /* in samples now, and as the surface's sign says */
		in[i * 4 + 2] = (uint32_t)i * 0x31234567u;
	}
	MP_CHECK_EQ(go("rma"), 0);
	for (i = 0; i < T; i++)
		bad += data[i] != (was[i] > in[i * 4 + 2] ? was[i] : in[i * 4 + 2]);
	MP_CHECK_EQ(bad, 0);
	/* Misaligned. */
	in[0] = 2;
	MP_CHECK_EQ(go("slz"), MP_EXEC_MISALIGNED);
	in[0] = 0;
	/* What is stored outside with clamp goes to the edge. */
	for (i = 0; i < T; i++)
		in[i * 4] = 400, in[i * 4 + 1] = 3, in[i * 4 + 2] = 77;
	MP_CHECK_EQ(go("ssc"), 0);
	MP_CHECK_EQ(data[3 * 8 + 7], 77);
	/* Formatted: floats to bytes between 0 and 1, then to halves. */
	kind(4, 8, 0);
	texture.read_normalized = true;
	level(0, data, 8, 8, 1, 4);
	for (i = 0; i < T; i++)
		in[i * 4] = (uint32_t)i % 8, in[i * 4 + 1] = (uint32_t)i / 8, in4[i][2] = (float)i / 60 - 0.02f, in4[i][3] = 0.5f;
	MP_CHECK_EQ(go("ssp"), 0);
	for (i = 0; i < T; i++) {
		const unsigned char *p = (const unsigned char *)&data[i];
		float v = fminf(fmaxf(in4[i][2], 0), 1) * 255;

		bad += fabsf((float)p[0] - v) > 0.51f || p[2] != p[0] || (p[1] != 127 && p[1] != 128);
	}
	MP_CHECK_EQ(bad, 0);
	mp_exec_module_free(mod);
}

MP_TEST_MAIN()
