/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies with a shape: pitched rectangles and boxes in every direction, sync and async,
 * with offsets; pitched allocation.
 */
#include "call.h"

#define W 133
#define H 37
#define D 5
#define PITCH 192
#define ROWS 41
#define ALL (PITCH * ROWS * D)

static unsigned char from[ALL], to[ALL], want[ALL];

static void box(unsigned char *out, const unsigned char *in, size_t x, size_t y, size_t z)
{
	size_t i, k;

	for (k = 0; k < D - z; k++)
		for (i = 0; i < H; i++)
			memcpy(out + ((k * ROWS) + i) * PITCH, in + ((k + z) * ROWS + i + y) * PITCH + x, W);
}

static void flat(CUstream s, int async, CUdeviceptr p, CUdeviceptr q)
{
	CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = from, .srcPitch = PITCH,
			   .srcXInBytes = 11, .srcY = 2,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = p, .dstPitch = 256, .WidthInBytes = W, .Height = H};
	unsigned i, wrong = 0;

	MUST(async ? cuMemcpy2DAsync(&c, s) : cuMemcpy2D(&c));
	c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = p, c.srcPitch = 256, c.srcXInBytes = c.srcY = 0;
	c.dstDevice = q, c.dstPitch = 320, c.dstXInBytes = 5, c.dstY = 1;
	MUST(async ? cuMemcpy2DAsync(&c, s) : cuMemcpy2D(&c));
	c.srcDevice = q, c.srcPitch = 320, c.srcXInBytes = 5, c.srcY = 1;
	c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = to, c.dstPitch = PITCH, c.dstXInBytes = 3, c.dstY = 4;
	memset(to, 0, sizeof(to));
	MUST(async ? cuMemcpy2DAsync(&c, s) : cuMemcpy2DUnaligned(&c));
	MUST(cuStreamSynchronize(s));
	for (i = 0; i < H && i + 4 < ROWS; i++)
		wrong += memcmp(from + (i + 2) * PITCH + 11, to + (i + 4) * PITCH + 3, W) != 0;
	call_line("2D %s: wrong rows %u, sum=%016llx", async ? "async" : "sync", wrong,
		  (unsigned long long)call_sum(to, PITCH * ROWS));
}

static void solid(CUstream s, int async, CUdeviceptr p)
{
	CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = from, .srcPitch = PITCH, .srcHeight = ROWS,
			   .srcXInBytes = 7, .srcY = 3, .srcZ = 1,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = p, .dstPitch = 224, .dstHeight = H,
			   .WidthInBytes = W, .Height = H, .Depth = D - 1};

	memset(to, 0, sizeof(to));
	memset(want, 0, sizeof(want));
	MUST(async ? cuMemcpy3DAsync(&c, s) : cuMemcpy3D(&c));
	c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = p, c.srcPitch = 224, c.srcHeight = H;
	c.srcXInBytes = c.srcY = c.srcZ = 0;
	c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = to, c.dstPitch = PITCH, c.dstHeight = ROWS;
	MUST(async ? cuMemcpy3DAsync(&c, s) : cuMemcpy3D(&c));
	MUST(cuStreamSynchronize(s));
	box(want, from, 7, 3, 1);
	call_line("3D %s: equal=%d", async ? "async" : "sync", !memcmp(want, to, sizeof(want)));
}

static void pitched(void)
{
	CUdeviceptr p;
	size_t pitch = 0;
	CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = from, .srcPitch = PITCH,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .WidthInBytes = W, .Height = H};

	SAY(cuMemAllocPitch(&p, &pitch, W, H, 4));
	call_line("pitch covers the width: %d, aligned: %d", pitch >= W, pitch % 16 == 0);
	c.dstDevice = p, c.dstPitch = pitch;
	SAY(cuMemcpy2D(&c));
	SAY(cuMemsetD2D8(p, pitch, 0x77, 10, 3));
	c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = p, c.srcPitch = pitch;
	c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = to, c.dstPitch = W;
	memset(to, 0, sizeof(to));
	SAY(cuMemcpy2D(&c));
	call_line("sum=%016llx", (unsigned long long)call_sum(to, W * H));
	SAY(cuMemAllocPitch(&p, &pitch, W, H, 3));
	c.WidthInBytes = W + 1;
	SAY(cuMemcpy2D(&c)); /* wider than the destination's pitch */
	SAY(cuMemAllocPitch(&p, &pitch, 0, H, 4));
}

/* Large enough for the data lane, in rows. */
static void large(CUstream s)
{
	size_t w = 3000, h = 700, pitch;
	unsigned char *a = malloc(w * h), *b = calloc(w, h);
	CUdeviceptr p;
	CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = a, .srcPitch = w,
			   .dstMemoryType = CU_MEMORYTYPE_DEVICE, .WidthInBytes = w, .Height = h};

	call_fill(a, w * h, 9);
	MUST(cuMemAllocPitch(&p, &pitch, w, h, 8));
	c.dstDevice = p, c.dstPitch = pitch;
	MUST(cuMemcpy2DAsync(&c, s));
	c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = p, c.srcPitch = pitch;
	c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = b, c.dstPitch = w;
	MUST(cuMemcpy2DAsync(&c, s));
	MUST(cuStreamSynchronize(s));
	call_line("large: equal=%d", !memcmp(a, b, w * h));
	free(a);
	free(b);
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(256 * H * D), q = call_alloc(320 * (H + 2));
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	call_fill(from, sizeof(from), 3);
	MUST(cuMemsetD8(p, 0, 256 * H * D));
	MUST(cuMemsetD8(q, 0, 320 * (H + 2)));
	MUST(cuCtxSynchronize());
	flat(s, 0, p, q);
	flat(s, 1, p, q);
	solid(s, 0, p);
	solid(s, 1, p);
	pitched();
	large(s);
	return call_end(ctx);
}
