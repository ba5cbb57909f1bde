/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of every shape and copies from and to them, textures and surfaces of
 * every kind of resource, references, and what is refused.
 */
#include "call.h"

#include "texture-ptx.h"

#define N 256 /* fetches at a time */

static CUmodule module;
static CUdeviceptr in, out;
static float *coords;

static CUarray array_of(size_t w, size_t h, size_t d, CUarray_format f, unsigned channels, unsigned flags)
{
	CUDA_ARRAY3D_DESCRIPTOR desc = {w, h, d, f, channels, flags};
	CUarray a;

	MUST(cuArray3DCreate_v2(&a, &desc));
	return a;
}

static void box(CUarray a, size_t row, size_t h, size_t d, void *host, int up)
{
	CUDA_MEMCPY3D c = {.WidthInBytes = row, .Height = h ? h : 1, .Depth = d ? d : 1};

	if (up) {
		c.srcMemoryType = CU_MEMORYTYPE_HOST, c.srcHost = host, c.srcPitch = row, c.srcHeight = c.Height;
		c.dstMemoryType = CU_MEMORYTYPE_ARRAY, c.dstArray = a;
	} else {
		c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = host, c.dstPitch = row, c.dstHeight = c.Height;
		c.srcMemoryType = CU_MEMORYTYPE_ARRAY, c.srcArray = a;
	}
	MUST(cuMemcpy3D_v2(&c));
}

/* Floats that are exact, so that sums of results are the same everywhere. */
static void floats(CUarray a, size_t w, size_t h, size_t d, unsigned channels)
{
	size_t n = w * (h ? h : 1) * (d ? d : 1) * channels, i;
	float *p = malloc(n * 4);

	for (i = 0; i < n; i++)
		p[i] = (float)(i * i % 509);
	box(a, w * channels * 4, h, d, p, 1);
	free(p);
}

static CUtexObject texture_of(const CUDA_RESOURCE_DESC *res, CUaddress_mode mode, CUfilter_mode filter, unsigned flags)
{
	CUDA_TEXTURE_DESC d = {.addressMode = {mode, mode, mode}, .filterMode = filter, .flags = flags,
			       .maxMipmapLevelClamp = 8, .borderColor = {1, 2, 3, 4}};
	CUtexObject t;

	MUST(cuTexObjectCreate(&t, res, &d, NULL));
	return t;
}

static CUtexObject texture(CUarray a, CUaddress_mode mode, CUfilter_mode filter, unsigned flags)
{
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a};

	return texture_of(&res, mode, filter, flags);
}

static CUsurfObject surface(CUarray a)
{
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a};
	CUsurfObject s;

	MUST(cuSurfObjectCreate(&s, &res));
	return s;
}

/* N fetches; a sum of what came. */
static void run(const char *kernel, uint64_t object, const char *what)
{
	static float got[N][4];
	void *params[] = {&object, &in, &out};
	CUfunction f;
	double sum[4] = {0};
	int i, c;

	MUST(cuModuleGetFunction(&f, module, kernel));
	MUST(cuMemcpyHtoD(in, coords, N * 16));
	MUST(cuLaunchKernel(f, N / 64, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(got, out, sizeof(got)));
	for (i = 0; i < N; i++)
		for (c = 0; c < 4; c++)
			if (got[i][c] == got[i][c])
				sum[c] += (i % 7 + 1) * got[i][c];
	if (strstr(what, "bits")) {
		call_line("%s: %016llx", kernel, (unsigned long long)call_sum(got, sizeof(got)));
		return;
	}
	call_line("%s %s: %.3f %.3f %.3f %.3f  %.4f %.4f %.4f  %016llx", kernel, what, sum[0], sum[1], sum[2], sum[3],
		  got[3][0], got[100][0], got[255][1], (unsigned long long)call_sum(got, sizeof(got)));
}

static void spread(float scale, float from, int layers)
{
	int i, c;

	for (i = 0; i < N; i++)
		for (c = 0; c < 4; c++)
			coords[i * 4 + c] = from + scale * (float)((i * (37 + 16 * c)) % 256) / 256;
	for (i = 0; layers && i < N; i++)
		((int *)coords)[i * 4] = i % layers - 1;
}

/* ---- Arrays and copies ---- */

static void copies(void)
{
	static unsigned char a[4096], b[4096], c[8 * 8 * 6 * 4];
	CUarray one = array_of(1024, 0, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0), other, two, box3, cube;
	CUDA_ARRAY_DESCRIPTOR d = {64, 16, CU_AD_FORMAT_UNSIGNED_INT8, 4};
	CUDA_MEMCPY2D p = {0};
	CUDA_MEMCPY3D q = {0};
	CUdeviceptr dev = call_alloc(4096);
	CUstream s;
	void *pinned;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocHost(&pinned, 4096));
	call_fill(a, sizeof(a), 5);
	MUST(cuMemcpyHtoA_v2(one, 0, a, 4096));
	MUST(cuMemcpyAtoH_v2(b, one, 4, 4092));
	call_line("1-D there and back: %d", !memcmp(a + 4, b, 4092));
	other = array_of(1024, 0, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
	MUST(cuMemcpyAtoA_v2(other, 8, one, 0, 400));
	MUST(cuMemcpyAtoD_v2(dev, other, 8, 400));
	MUST(cuMemcpyDtoA_v2(one, 2000, dev, 400));
	memcpy(pinned, a, 4096);
	MUST(cuCtxSynchronize()); /* the stream does not wait for the legacy one */
	MUST(cuMemcpyHtoAAsync_v2(one, 3000, (char *)pinned + 100, 1096, s));
	MUST(cuMemcpyAtoHAsync_v2(pinned, one, 0, 4096, s));
	MUST(cuStreamSynchronize(s));
	memcpy(b, a, 4096);
	memcpy(b + 2000, a, 400);
	memcpy(b + 3000, a + 100, 1096);
	call_line("array to array, device, pinned: %d", !memcmp(b, pinned, 4096));
	MUST(cuArrayCreate_v2(&two, &d));
	p = (CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = a, .srcPitch = 300, .srcXInBytes = 3,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = two, .dstXInBytes = 8, .dstY = 2,
			    .WidthInBytes = 240, .Height = 12};
	MUST(cuMemcpy2D_v2(&p));
	p = (CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = two, .srcXInBytes = 8, .srcY = 2,
			    .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = dev, .dstPitch = 256,
			    .WidthInBytes = 240, .Height = 12};
	MUST(cuMemcpy2DAsync_v2(&p, s));
	MUST(cuStreamSynchronize(s));
	MUST(cuMemcpyDtoH(b, dev, 4096));
	call_line("2-D: %d %d", !memcmp(b, a + 3, 240), !memcmp(b + 11 * 256, a + 11 * 300 + 3, 240));
	box3 = array_of(8, 8, 6, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
	cube = array_of(8, 8, 6, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_CUBEMAP);
	box(box3, 32, 8, 6, a, 1);
	MUST(cuCtxSynchronize());
	q = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = box3, .srcXInBytes = 4, .srcY = 1,
			    .srcZ = 2, .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = cube, .dstXInBytes = 8,
			    .dstY = 3, .dstZ = 1, .WidthInBytes = 20, .Height = 4, .Depth = 3};
	memset(c, 0, sizeof(c));
	box(cube, 32, 8, 6, c, 1);
	MUST(cuMemcpy3DAsync_v2(&q, s));
	MUST(cuStreamSynchronize(s));
	box(cube, 32, 8, 6, c, 0);
	call_line("3-D to faces: %016llx", (unsigned long long)call_sum(c, sizeof(c)));
	{
		CUDA_MEMCPY3D_BATCH_OP ops[2] = {
			{.src = {.type = CU_MEMCPY_OPERAND_TYPE_ARRAY, .op.array = {box3, {1, 2, 3}}},
			 .dst = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr = {.ptr = dev}},
			 .extent = {5, 3, 2}, .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM},
			{.src = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr = {.ptr = dev, .rowLength = 5}},
			 .dst = {.type = CU_MEMCPY_OPERAND_TYPE_ARRAY, .op.array = {one, {7, 0, 0}}},
			 .extent = {5, 1, 1}, .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM}};

		SAY(cuMemcpy3DBatchAsync_v2(2, ops, 0, s));
		MUST(cuStreamSynchronize(s));
		MUST(cuMemcpyDtoH(b, dev, 120));
		MUST(cuMemcpyAtoH_v2(c, one, 28, 20));
		call_line("batch: %d %d %d", !memcmp(b, a + 3 * 256 + 2 * 32 + 4, 20),
			  !memcmp(b + 100, a + 4 * 256 + 4 * 32 + 4, 20), !memcmp(c, b, 20));
		ops[1].dst.op.array.offset.x = 1022;
		SAY(cuMemcpy3DBatchAsync_v2(2, ops, 0, s));
		SAY(cuMemcpy3DBatchAsync_v2(2, ops, 0, NULL));
	}
	SAY(cuMemcpyHtoA_v2(one, 4000, a, 100));
	SAY(cuMemcpyHtoA_v2(one, 2, a, 100));
	SAY(cuMemcpyAtoH_v2(b, (CUarray)a, 0, 4));
	q.dstZ = 4;
	SAY(cuMemcpy3D_v2(&q));
	q.dstZ = 1, q.srcLOD = 1;
	SAY(cuMemcpy3D_v2(&q));
	MUST(cuArrayDestroy(one));
	SAY(cuArrayDestroy(one));
	SAY(cuMemcpyHtoA_v2(one, 0, a, 4));
	MUST(cuArrayDestroy(other));
	MUST(cuArrayDestroy(two));
	MUST(cuArrayDestroy(box3));
	MUST(cuArrayDestroy(cube));
	MUST(cuMemFreeHost(pinned));
	MUST(cuMemFree(dev));
	MUST(cuStreamDestroy(s));
}

static void shapes(void)
{
	static const CUDA_ARRAY3D_DESCRIPTOR all[] = {
		{100, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0}, {100, 50, 0, CU_AD_FORMAT_HALF, 4, CUDA_ARRAY3D_SURFACE_LDST},
		{10, 10, 10, CU_AD_FORMAT_SIGNED_INT16, 2, 0}, {100, 0, 7, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED},
		{16, 16, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP},
		{16, 16, 12, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED},
		{16, 16, 0, CU_AD_FORMAT_UNORM_INT8X4, 4, 0}, {16, 16, 0, CU_AD_FORMAT_FLOAT, 4, CUDA_ARRAY3D_TEXTURE_GATHER},
		{0, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0}, {16, 0, 4, CU_AD_FORMAT_FLOAT, 1, 0},
		{16, 16, 0, CU_AD_FORMAT_FLOAT, 3, 0}, {16, 16, 0, (CUarray_format)77, 1, 0},
		{16, 15, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP}, {16, 16, 5, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP},
		{200000, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0}, {16, 16, 0, CU_AD_FORMAT_NV12, 1, 0},
		{16, 16, 0, CU_AD_FORMAT_BC1_UNORM, 4, 0}, {16, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0x40},
		{16, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0x4000}, {16, 16, 0, CU_AD_FORMAT_UNORM_INT8X2, 4, 0}};
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUDA_ARRAY_MEMORY_REQUIREMENTS need;
	CUDA_ARRAY_SPARSE_PROPERTIES sparse;
	CUarray a, plane;
	size_t i;
	CUresult r;

	for (i = 0; i < COUNT(all); i++) {
		r = cuArray3DCreate_v2(&a, &all[i]);
		call_line("shape %zu: %d", i, (int)r);
		if (r)
			continue;
		MUST(cuArray3DGetDescriptor_v2(&d, a));
		call_line("  %zu %zu %zu %d %u %u", d.Width, d.Height, d.Depth, (int)d.Format, d.NumChannels, d.Flags);
		MUST(cuArrayDestroy(a));
	}
	a = array_of(4, 4, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	SAY(cuArrayGetPlane(&plane, a, 0));
	SAY(cuArrayGetMemoryRequirements(&need, a, 0));
	SAY(cuArrayGetMemoryRequirements(&need, a, 99));
	SAY(cuArrayGetSparseProperties(&sparse, a));
	SAY(cuArray3DCreate_v2(NULL, &all[0]));
	SAY(cuArray3DCreate_v2(&a, NULL));
	SAY(cuArray3DGetDescriptor_v2(NULL, a));
	MUST(cuArrayDestroy(a));
	SAY(cuArray3DGetDescriptor_v2(&d, a));
}

/* Arrays are charged: one that is too large is refused at once, and what is destroyed is there again. */
static void memory(void)
{
	CUDA_ARRAY3D_DESCRIPTOR d = {16384, 16384, 0, CU_AD_FORMAT_FLOAT, 4, 0}; /* 4 GiB */
	size_t before, with, after, total;
	CUarray a[64];
	int i, n;

	MUST(cuMemGetInfo(&before, &total));
	d.Width = 4096, d.Height = 4096;
	MUST(cuArray3DCreate_v2(&a[0], &d));
	MUST(cuMemGetInfo(&with, &total));
	MUST(cuArrayDestroy(a[0]));
	MUST(cuMemGetInfo(&after, &total));
	call_line("256 MiB: taken %zu, back %d", before - with, before == after);
	d.Width = d.Height = 16384;
	d.Format = CU_AD_FORMAT_UNSIGNED_INT32;
	for (n = 0; n < 64; n++)
		if (cuArray3DCreate_v2(&a[n], &d))
			break;
	call_line("out of memory before the 64th: %d", n < 64);
	for (i = 0; i < n; i++)
		MUST(cuArrayDestroy(a[i]));
	MUST(cuMemGetInfo(&after, &total));
	call_line("all is back: %d", before == after);
}

/* ---- Textures ---- */

static void textures(void)
{
	CUarray a;
	CUtexObject t;
	int mode, linear;

	a = array_of(32, 0, 0, CU_AD_FORMAT_FLOAT, 2, 0);
	floats(a, 32, 0, 0, 2);
	spread(40, -3, 0);
	for (mode = 1; mode < 4; mode += 2)
		for (linear = 0; linear < 2; linear++) {
			t = texture(a, mode, linear, 0);
			run("tex1d", t, mode == 1 ? "clamp" : "border");
			MUST(cuTexObjectDestroy(t));
		}
	MUST(cuArrayDestroy(a));
	a = array_of(16, 8, 0, CU_AD_FORMAT_FLOAT, 2, CUDA_ARRAY3D_TEXTURE_GATHER);
	floats(a, 16, 8, 0, 2);
	spread(3, -1.2f, 0);
	for (mode = 0; mode < 4; mode++)
		for (linear = 0; linear < 2; linear++) {
			t = texture(a, mode, linear, CU_TRSF_NORMALIZED_COORDINATES);
			run("tex2d", t, "normalised");
			run("tex2d_gather", t, "normalised");
			MUST(cuTexObjectDestroy(t));
		}
	MUST(cuArrayDestroy(a));
	a = array_of(8, 8, 8, CU_AD_FORMAT_FLOAT, 1, 0);
	floats(a, 8, 8, 8, 1);
	spread(9, -0.5f, 0);
	t = texture(a, 1, 1, 0);
	run("tex3d", t, "linear");
	MUST(cuTexObjectDestroy(t));
	MUST(cuArrayDestroy(a));
	a = array_of(32, 0, 5, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED);
	floats(a, 32, 0, 5, 1);
	spread(33, -0.5f, 7);
	t = texture(a, 1, 1, 0);
	run("tex1d_layer", t, "linear");
	MUST(cuTexObjectDestroy(t));
	MUST(cuArrayDestroy(a));
	a = array_of(8, 8, 5, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED);
	floats(a, 8, 8, 5, 1);
	spread(9, -0.5f, 7);
	t = texture(a, 1, 1, 0);
	run("tex2d_layer", t, "linear");
	MUST(cuTexObjectDestroy(t));
	MUST(cuArrayDestroy(a));
	a = array_of(8, 8, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP);
	floats(a, 8, 8, 6, 1);
	spread(2, -1, 0);
	for (mode = 0; mode < 2; mode++) {
		t = texture(a, 1, 1, CU_TRSF_NORMALIZED_COORDINATES | (mode ? 0x40 : 0));
		run("cube", t, mode ? "seamless" : "per face");
		MUST(cuTexObjectDestroy(t));
	}
	MUST(cuArrayDestroy(a));
	a = array_of(8, 8, 12, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED);
	floats(a, 8, 8, 12, 1);
	spread(2, -1, 3);
	t = texture(a, 1, 0, CU_TRSF_NORMALIZED_COORDINATES);
	run("cube_layer", t, "point");
	MUST(cuTexObjectDestroy(t));
	MUST(cuArrayDestroy(a));
}

static void memory_textures(void)
{
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_LINEAR};
	CUDA_TEXTURE_DESC tex = {0};
	CUdeviceptr p = call_alloc(8192);
	static float host[2048];
	CUtexObject t;
	int i;

	for (i = 0; i < 2048; i++)
		host[i] = (float)(i % 97);
	MUST(cuMemcpyHtoD(p, host, 8192));
	res.res.linear.devPtr = p;
	res.res.linear.format = CU_AD_FORMAT_FLOAT;
	res.res.linear.numChannels = 1;
	res.res.linear.sizeInBytes = 800;
	t = texture_of(&res, 0, 0, 0);
	for (i = 0; i < N * 4; i++)
		((int *)coords)[i] = i - 8;
	run("tex1d_fetch", t, "linear memory");
	MUST(cuTexObjectDestroy(t));
	res.res.linear.devPtr = p + 4;
	SAY(cuTexObjectCreate(&t, &res, &tex, NULL));
	res.res.linear.devPtr = p;
	res.res.linear.sizeInBytes = 1 << 30;
	SAY(cuTexObjectCreate(&t, &res, &tex, NULL));
	res = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_PITCH2D};
	res.res.pitch2D.devPtr = p;
	res.res.pitch2D.format = CU_AD_FORMAT_FLOAT;
	res.res.pitch2D.numChannels = 1;
	res.res.pitch2D.width = 30;
	res.res.pitch2D.height = 10;
	res.res.pitch2D.pitchInBytes = 128;
	spread(34, -2, 0);
	t = texture_of(&res, 1, 1, 0);
	run("tex2d", t, "rows");
	MUST(cuTexObjectDestroy(t));
	t = texture_of(&res, 1, 1, 0);
	run("tex2d", t, "rows again");
	MUST(cuTexObjectDestroy(t));
	res.res.pitch2D.pitchInBytes = 100;
	SAY(cuTexObjectCreate(&t, &res, &tex, NULL));
	res.res.pitch2D.pitchInBytes = 128, res.res.pitch2D.width = 33;
	SAY(cuTexObjectCreate(&t, &res, &tex, NULL));
	MUST(cuMemFree(p));
}

/* Formats: what is read as a number between 0 and 1, and what is not. */
static void formats(void)
{
	static unsigned char bytes[16 * 16 * 16];
	static const struct { CUarray_format f; unsigned channels, bytes; } all[] = {
		{CU_AD_FORMAT_UNSIGNED_INT8, 4, 4}, {CU_AD_FORMAT_SIGNED_INT8, 2, 2}, {CU_AD_FORMAT_UNSIGNED_INT16, 1, 2},
		{CU_AD_FORMAT_SIGNED_INT16, 4, 8}, {CU_AD_FORMAT_HALF, 2, 4}, {CU_AD_FORMAT_UNORM_INT8X4, 4, 4},
		{CU_AD_FORMAT_SNORM_INT16X2, 2, 4}};
	CUDA_TEXTURE_DESC srgb = {.flags = CU_TRSF_SRGB | CU_TRSF_NORMALIZED_COORDINATES};
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY};
	CUtexObject t;
	CUarray a;
	size_t i, k;

	call_fill(bytes, sizeof(bytes), 3);
	for (k = 1; k < sizeof(bytes); k += 2)
		bytes[k] &= 0xb7; /* no infinities among the halves */
	spread(17, -0.5f, 0);
	for (i = 0; i < COUNT(all); i++) {
		a = array_of(16, 16, 0, all[i].f, all[i].channels, 0);
		box(a, 16 * all[i].bytes, 16, 0, bytes, 1);
		t = texture(a, 1, 1, 0);
		run("tex2d", t, "read as float");
		MUST(cuTexObjectDestroy(t));
		if (!i) {
			spread(1, 0, 0);
			res.res.array.hArray = a;
			MUST(cuTexObjectCreate(&t, &res, &srgb, NULL));
			run("tex2d", t, "sRGB");
			MUST(cuTexObjectDestroy(t));
			spread(17, -0.5f, 0);
		}
		MUST(cuArrayDestroy(a));
	}
	a = array_of(16, 16, 0, CU_AD_FORMAT_UNSIGNED_INT32, 2, 0);
	res.res.array.hArray = a;
	srgb = (CUDA_TEXTURE_DESC){.filterMode = CU_TR_FILTER_MODE_LINEAR};
	SAY(cuTexObjectCreate(&t, &res, &srgb, NULL)); /* integers are not filtered */
	/* BC1 through a view of the same array. */
	box(a, 128, 16, 0, bytes, 1);
	{
		CUDA_RESOURCE_VIEW_DESC view = {.format = CU_RES_VIEW_FORMAT_UNSIGNED_BC1, .width = 64, .height = 64};
		CUDA_RESOURCE_VIEW_DESC got;

		srgb.filterMode = CU_TR_FILTER_MODE_POINT;
		MUST(cuTexObjectCreate(&t, &res, &srgb, &view));
		spread(66, -1, 0);
		run("tex2d", t, "BC1");
		MUST(cuTexObjectGetResourceViewDesc(&got, t));
		call_line("view: %d %zu %zu", (int)got.format, got.width, got.height);
		MUST(cuTexObjectDestroy(t));
		view.width = 16;
		SAY(cuTexObjectCreate(&t, &res, &srgb, &view));
		view = (CUDA_RESOURCE_VIEW_DESC){.format = CU_RES_VIEW_FORMAT_FLOAT_2X32, .width = 16, .height = 16};
		MUST(cuTexObjectCreate(&t, &res, &srgb, &view));
		SAY(cuTexObjectDestroy(t));
		SAY(cuTexObjectDestroy(t));
		SAY(cuTexObjectGetResourceViewDesc(&got, t));
		view.format = CU_RES_VIEW_FORMAT_FLOAT_1X32;
		SAY(cuTexObjectCreate(&t, &res, &srgb, &view));
	}
	MUST(cuArrayDestroy(a));
	SAY(cuTexObjectCreate(&t, &res, &srgb, NULL));
}

static void mipmaps(void)
{
	CUDA_ARRAY3D_DESCRIPTOR d = {32, 16, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SURFACE_LDST}, got;
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY};
	CUmipmappedArray m;
	CUarray level, again;
	CUtexObject t;
	unsigned i;

	MUST(cuMipmappedArrayCreate(&m, &d, 99));
	for (i = 0; !cuMipmappedArrayGetLevel(&level, m, i); i++) {
		MUST(cuArray3DGetDescriptor_v2(&got, level));
		call_line("level %u: %zu %zu %zu", i, got.Width, got.Height, got.Depth);
		floats(level, got.Width, got.Height, 0, 1);
	}
	MUST(cuMipmappedArrayGetLevel(&level, m, 1));
	MUST(cuMipmappedArrayGetLevel(&again, m, 1));
	call_line("the same level: %d", level == again);
	SAY(cuMipmappedArrayGetLevel(&level, m, i));
	SAY(cuArrayDestroy(again));
	res.res.mipmap.hMipmappedArray = m;
	{
		CUDA_TEXTURE_DESC tex = {.filterMode = 1, .flags = CU_TRSF_NORMALIZED_COORDINATES, .mipmapFilterMode = 1,
					 .mipmapLevelBias = 0.25f, .minMipmapLevelClamp = 0.5f, .maxMipmapLevelClamp = 3};
		CUDA_RESOURCE_VIEW_DESC view = {.format = CU_RES_VIEW_FORMAT_FLOAT_1X32, .width = 32, .height = 16,
						.firstMipmapLevel = 1, .lastMipmapLevel = 2};

		spread(4, -0.5f, 0);
		MUST(cuTexObjectCreate(&t, &res, &tex, NULL));
		run("tex2d_level", t, "between levels");
		run("questions", t, "bits");
		for (i = 0; i < N; i++)
			coords[i * 4 + 2] /= 64, coords[i * 4 + 3] /= 64;
		run("tex2d_grad", t, "between levels");
		MUST(cuTexObjectDestroy(t));
		spread(4, -0.5f, 0);
		tex.mipmapFilterMode = 0;
		MUST(cuTexObjectCreate(&t, &res, &tex, NULL));
		run("tex2d_level", t, "nearest level");
		MUST(cuTexObjectDestroy(t));
		MUST(cuTexObjectCreate(&t, &res, &tex, &view));
		run("tex2d_level", t, "view of two levels");
		MUST(cuTexObjectDestroy(t));
		tex.flags = 0;
		SAY(cuTexObjectCreate(&t, &res, &tex, NULL));
	}
	MUST(cuMipmappedArrayDestroy(m));
	SAY(cuMipmappedArrayDestroy(m));
	SAY(cuMipmappedArrayGetLevel(&level, m, 0));
	SAY(cuArray3DGetDescriptor_v2(&got, again));
	d = (CUDA_ARRAY3D_DESCRIPTOR){16, 16, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP};
	MUST(cuMipmappedArrayCreate(&m, &d, 2));
	MUST(cuMipmappedArrayGetLevel(&level, m, 1));
	MUST(cuArray3DGetDescriptor_v2(&got, level));
	call_line("level of a cube: %zu %zu %zu", got.Width, got.Height, got.Depth);
	MUST(cuMipmappedArrayDestroy(m));
}

/* ---- Surfaces ---- */

static void content(CUarray a, size_t row, size_t h, size_t d, const char *what)
{
	void *p = malloc(row * h * d);

	box(a, row, h, d, p, 0);
	call_line("%s: %016llx", what, (unsigned long long)call_sum(p, row * h * d));
	free(p);
}

static void surfaces(void)
{
	int (*at)[4] = (int (*)[4])coords;
	CUarray a = array_of(32, 16, 0, CU_AD_FORMAT_UNSIGNED_INT32, 2, CUDA_ARRAY3D_SURFACE_LDST), plain;
	CUDA_RESOURCE_DESC res = {.resType = CU_RESOURCE_TYPE_ARRAY};
	static unsigned char bytes[32 * 16 * 8];
	CUsurfObject s;
	int i;

	call_fill(bytes, sizeof(bytes), 8);
	box(a, 256, 16, 0, bytes, 1);
	s = surface(a);
	for (i = 0; i < N; i++) /* some lie outside */
		at[i][0] = (i % 34 - 1) * 8, at[i][1] = i / 34 * 2 - 1;
	run("surf2d", s, "bits");
	content(a, 256, 16, 1, "after stores");
	for (i = 0; i < N; i++)
		at[i][0] = i % 8 * 4, at[i][1] = i % 16, at[i][2] = i * 3;
	run("surf_reduce", s, "bits");
	content(a, 256, 16, 1, "after sums");
	MUST(cuSurfObjectDestroy(s));
	SAY(cuSurfObjectDestroy(s));
	MUST(cuArrayDestroy(a));
	a = array_of(8, 8, 4, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST);
	box(a, 32, 8, 4, bytes, 1);
	s = surface(a);
	for (i = 0; i < N; i++)
		at[i][0] = i % 8 * 4, at[i][1] = i / 8 % 8, at[i][2] = i / 64;
	run("surf3d", s, "bits");
	content(a, 32, 8, 4, "after 3-D stores");
	MUST(cuSurfObjectDestroy(s));
	MUST(cuArrayDestroy(a));
	a = array_of(16, 16, 3, CU_AD_FORMAT_UNSIGNED_INT8, 1, CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_LAYERED);
	box(a, 16, 16, 3, bytes, 1);
	s = surface(a);
	for (i = 0; i < N; i++)
		at[i][0] = i % 5, at[i][1] = i % 16, at[i][2] = i / 16;
	run("surf2d_layer", s, "bits");
	MUST(cuSurfObjectDestroy(s));
	MUST(cuArrayDestroy(a));
	a = array_of(16, 16, 0, CU_AD_FORMAT_HALF, 4, CUDA_ARRAY3D_SURFACE_LDST);
	box(a, 128, 16, 0, bytes, 1);
	s = surface(a);
	for (i = 0; i < N; i++) {
		at[i][0] = i % 16, at[i][1] = i / 16;
		coords[i * 4 + 2] = (float)i / 3, coords[i * 4 + 3] = -(float)i;
	}
	run("surf_format", s, "bits");
	content(a, 128, 16, 1, "after formatted stores");
	MUST(cuSurfObjectDestroy(s));
	plain = array_of(16, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	res.res.array.hArray = plain;
	SAY(cuSurfObjectCreate(&s, &res));
	res.resType = CU_RESOURCE_TYPE_LINEAR;
	SAY(cuSurfObjectCreate(&s, &res));
	MUST(cuArrayDestroy(plain));
	MUST(cuArrayDestroy(a));
}

/* ---- References, graphs ---- */

static void references(void)
{
	CUarray a = array_of(16, 8, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SURFACE_LDST), got;
	CUtexref t, other, none = (CUtexref)&a;
	CUaddress_mode mode;
	CUsurfref s;
	int i, (*at)[4] = (int (*)[4])coords;
	size_t offset;
	CUdeviceptr p;

	floats(a, 16, 8, 0, 1);
	MUST(cuModuleGetTexRef(&t, module, "reference"));
	MUST(cuModuleGetTexRef(&other, module, "reference"));
	call_line("the same reference: %d", t == other);
	SAY(cuModuleGetTexRef(&other, module, "written"));
	SAY(cuModuleGetGlobal(&p, &offset, module, "reference"));
	MUST(cuTexRefSetAddressMode(t, 0, CU_TR_ADDRESS_MODE_WRAP));
	MUST(cuTexRefSetAddressMode(t, 1, CU_TR_ADDRESS_MODE_MIRROR));
	MUST(cuTexRefSetFilterMode(t, CU_TR_FILTER_MODE_LINEAR));
	MUST(cuTexRefSetFlags(t, CU_TRSF_NORMALIZED_COORDINATES));
	SAY(cuTexRefGetArray(&got, t));
	MUST(cuTexRefSetArray(t, a, 1));
	MUST(cuTexRefGetArray(&got, t));
	MUST(cuTexRefGetAddressMode(&mode, t, 1));
	call_line("its array: %d, mode %d", got == a, (int)mode);
	spread(3, -1, 0);
	run("tex2d_named", 0, "array");
	SAY(cuTexRefSetAddress_v2(&offset, t, out, 512));
	SAY(cuTexRefSetFilterMode(t, (CUfilter_mode)9));
	SAY(cuTexRefSetFilterMode(none, CU_TR_FILTER_MODE_POINT));
	MUST(cuModuleGetSurfRef(&s, module, "written"));
	MUST(cuSurfRefSetArray(s, a, 0));
	for (i = 0; i < N; i++)
		at[i][0] = i % 16 * 4, at[i][1] = i / 16 % 8, at[i][2] = 7 + i % 128;
	run("surf_named", 0, "bits");
	content(a, 64, 8, 1, "after named stores");
	MUST(cuArrayDestroy(a));
}

static void graphs(void)
{
	static unsigned char a[1024], b[1024];
	CUarray x = array_of(16, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0), y = array_of(16, 16, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = a, .srcPitch = 64, .srcHeight = 16,
			   .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = x, .WidthInBytes = 64, .Height = 16, .Depth = 1};
	CUgraphNode n[3];
	CUcontext ctx;
	CUgraphExec e;
	CUgraph g;
	int i;

	MUST(cuCtxGetCurrent(&ctx));
	MUST(cuGraphCreate(&g, 0));
	MUST(cuGraphAddMemcpyNode(&n[0], g, NULL, 0, &c, ctx));
	c = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = x, .srcXInBytes = 4,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = y, .dstY = 1, .WidthInBytes = 60,
			    .Height = 15, .Depth = 1};
	MUST(cuGraphAddMemcpyNode(&n[1], g, &n[0], 1, &c, ctx));
	c = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = y, .dstMemoryType = CU_MEMORYTYPE_HOST,
			    .dstHost = b, .dstPitch = 64, .dstHeight = 16, .WidthInBytes = 64, .Height = 16, .Depth = 1};
	MUST(cuGraphAddMemcpyNode(&n[2], g, &n[1], 1, &c, ctx));
	MUST(cuGraphMemcpyNodeGetParams(n[2], &c));
	call_line("node's array: %d", c.srcArray == y);
	MUST(cuGraphInstantiate(&e, g, 0));
	memset(b, 0, sizeof(b));
	box(y, 64, 16, 0, b, 1);
	for (i = 0; i < 2; i++) {
		call_fill(a, sizeof(a), 40 + (uint32_t)i);
		MUST(cuGraphLaunch(e, NULL));
		MUST(cuStreamSynchronize(NULL));
		call_line("graph %d: %016llx", i, (unsigned long long)call_sum(b, sizeof(b)));
	}
	MUST(cuGraphExecDestroy(e));
	MUST(cuGraphDestroy(g));
	MUST(cuArrayDestroy(x));
	MUST(cuArrayDestroy(y));
}

/* A kernel under way may use what is destroyed behind it. */
static void early(void)
{
	CUarray a = array_of(16, 8, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	CUtexObject t;
	CUfunction f;
	void *params[3] = {&t, &in, &out};
	static float got[N * 4];
	CUdeviceptr q = call_alloc(4);
	double sum = 0;
	int i;

	floats(a, 16, 8, 0, 1);
	spread(16, 0, 0);
	t = texture(a, 1, 0, 0);
	MUST(cuMemcpyHtoD(in, coords, N * 16));
	MUST(cuModuleGetFunction(&f, module, "tex2d"));
	call_busy(q, 20000, 1, NULL);
	MUST(cuLaunchKernel(f, N / 64, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
	MUST(cuTexObjectDestroy(t));
	MUST(cuArrayDestroy(a));
	MUST(cuMemcpyDtoH(got, out, sizeof(got)));
	for (i = 0; i < N; i++)
		sum += (i % 5 + 1) * got[i * 4];
	call_line("destroyed behind a launch: %.3f", sum);
	MUST(cuMemFree(q));
}

int main(void)
{
	CUcontext ctx = call_begin(), second;
	CUarray a;
	CUDA_ARRAY3D_DESCRIPTOR d;

	coords = malloc(N * 16);
	MUST(cuModuleLoadData(&module, texture_ptx));
	in = call_alloc(N * 16);
	out = call_alloc(N * 16);
	shapes();
	copies();
	memory();
	textures();
	memory_textures();
	formats();
	mipmaps();
	surfaces();
	references();
	graphs();
	early();
	/* What is left goes with its context. */
	MUST(cuCtxCreate(&second, 0, 0));
	a = array_of(64, 64, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	(void)texture(a, 0, 0, 0);
	MUST(cuCtxDestroy(second));
	MUST(cuCtxSetCurrent(ctx));
	SAY(cuArray3DGetDescriptor_v2(&d, a));
	a = array_of(64, 64, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	(void)texture(a, 0, 0, 0);
	free(coords);
	return call_end(ctx);
}
