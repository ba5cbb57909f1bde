/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small, real CUDA program: draws the Mandelbrot set on whatever device
 * libcuda.so.1 offers, writes a PNG and shows the picture in the terminal.
 *
 * It uses the driver API alone, loads its PTX from a file and knows nothing
 * of Motorpool: the same binary runs on a GPU, on the soft GPU and on a pool.
 *
 *	mandelbrot [-o OUT.png] [-s WIDTHxHEIGHT] [-f FRAMES] [-i LIMIT] KERNEL.ptx
 *
 * Several frames zoom in on one point, each computed in horizontal bands on
 * two streams; the last one becomes the picture.
 */
#include "abi/cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define BANDS 8

struct pixel {
	uint32_t count;
	float norm;
};

struct view {
	unsigned width, height, limit;
	double x, y, pixel;
};

static void must(CUresult r, const char *what)
{
	const char *name = "?";

	if (r == CUDA_SUCCESS)
		return;
	cuGetErrorName(r, &name);
	fprintf(stderr, "mandelbrot: %s failed: %s (%d)\n", what, name, r);
	exit(1);
}

static char *file_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text;
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	text = calloc(1, 1 << 16);
	n = text ? fread(text, 1, (1 << 16) - 1, f) : 0;
	fclose(f);
	if (!n) {
		fprintf(stderr, "mandelbrot: %s is empty\n", path);
		exit(1);
	}
	return text;
}

/* Blue to gold by the smooth iteration count; the set itself is black. */
static void colour(const struct pixel *p, unsigned limit, unsigned char rgb[3])
{
	double t;

	memset(rgb, 0, 3);
	if (p->count >= limit)
		return;
	t = p->count + 1 - log2(log2(p->norm > 4 ? p->norm : 4) / 2);
	t = 0.5 + 0.5 * sin(0.35 * sqrt(t < 0 ? 0 : t) * 3 + 4.2);
	rgb[0] = (unsigned char)(255 * pow(t, 1.3));
	rgb[1] = (unsigned char)(255 * (0.12 + 0.75 * t * t));
	rgb[2] = (unsigned char)(255 * (0.35 + 0.5 * sin(3.1416 * t)));
}

static void chunk(FILE *f, const char *type, const unsigned char *data, uint32_t n)
{
	unsigned char b[4] = {n >> 24, n >> 16, n >> 8, n};
	uLong crc = crc32(crc32(0, (const Bytef *)type, 4), data, n);

	fwrite(b, 1, 4, f);
	fwrite(type, 1, 4, f);
	fwrite(data, 1, n, f);
	b[0] = crc >> 24, b[1] = crc >> 16, b[2] = crc >> 8, b[3] = crc;
	fwrite(b, 1, 4, f);
}

/* PNG (W3C PNG specification, sections 5 and 11): 8-bit RGB, no filter. */
static int png_write(const char *path, const struct pixel *px, const struct view *v)
{
	size_t row = 1 + 3 * (size_t)v->width, y, x;
	unsigned char head[13] = {v->width >> 24, v->width >> 16, v->width >> 8, v->width,
				  v->height >> 24, v->height >> 16, v->height >> 8, v->height, 8, 2};
	uLongf packed = compressBound(row * v->height);
	unsigned char *raw = calloc(v->height, row), *zip = malloc(packed);
	FILE *f = fopen(path, "wb");
	int ok = 0;

	for (y = 0; raw && y < v->height; y++)
		for (x = 0; x < v->width; x++)
			colour(&px[y * v->width + x], v->limit, raw + y * row + 1 + 3 * x);
	if (raw && zip && f && compress2(zip, &packed, raw, row * v->height, 6) == Z_OK) {
		fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
		chunk(f, "IHDR", head, 13);
		chunk(f, "IDAT", zip, (uint32_t)packed);
		chunk(f, "IEND", (const unsigned char *)"", 0);
		ok = !ferror(f);
	}
	if (f)
		ok = !fclose(f) && ok;
	free(raw);
	free(zip);
	return ok ? 0 : -1;
}

/* 78 columns: shades of grey by character, half blocks in colour on a terminal. */
static void text_show(const struct pixel *px, const struct view *v)
{
	static const char shade[] = " .:-=+*#%@";
	unsigned columns = 78, rows = columns * v->height / v->width / 2, r, c, tty = isatty(1);

	for (r = 0; r < rows; r++) {
		for (c = 0; c < columns; c++) {
			const struct pixel *a = &px[(2 * r) * v->height / (2 * rows) * v->width +
						    c * v->width / columns];
			const struct pixel *b = &px[(2 * r + 1) * v->height / (2 * rows) * v->width +
						    c * v->width / columns];
			unsigned char p[3], q[3];

			colour(a, v->limit, p);
			colour(b, v->limit, q);
			if (tty)
				printf("\033[38;2;%d;%d;%dm\033[48;2;%d;%d;%dm\xe2\x96\x80", p[0], p[1],
				       p[2], q[0], q[1], q[2]);
			else
				putchar(shade[(p[0] + p[1] + p[2] + q[0] + q[1] + q[2]) * 9 / 1530]);
		}
		puts(tty ? "\033[0m" : "");
	}
}

static void frame_draw(CUfunction kernel, CUdeviceptr out, struct pixel *host, const CUstream *s,
		       struct view v)
{
	unsigned band = (v.height + BANDS - 1) / BANDS, i;

	for (i = 0; i < BANDS; i++) {
		unsigned y0 = i * band, rows = y0 >= v.height ? 0 : v.height - y0 < band ? v.height - y0 : band;
		CUdeviceptr at = out + (size_t)y0 * v.width * sizeof(*host);
		/* The kernel centres its own picture: move the centre so that the band is where it belongs. */
		double y = v.y + (0.5 * v.height - y0 - 0.5 * rows) * v.pixel;
		void *args[] = {&at, &v.width, &rows, &v.x, &y, &v.pixel, &v.limit};
		size_t n = (size_t)rows * v.width * sizeof(*host);

		if (!rows)
			break;
		must(cuLaunchKernel(kernel, (v.width + 31) / 32, (rows + 3) / 4, 1, 32, 4, 1, 0, s[i & 1],
				    args, NULL), "cuLaunchKernel");
		must(cuMemcpyDtoHAsync_v2(host + (size_t)y0 * v.width, at, n, s[i & 1]), "cuMemcpyDtoHAsync");
	}
	must(cuStreamSynchronize(s[0]), "cuStreamSynchronize");
	must(cuStreamSynchronize(s[1]), "cuStreamSynchronize");
}

int main(int argc, char **argv)
{
	struct view v = {.width = 640, .height = 480, .limit = 400, .x = -0.743643, .y = 0.131825};
	const char *out = "mandelbrot.png";
	unsigned frames = 1, i;
	struct pixel *host;
	CUstream stream[2];
	CUdeviceptr memory;
	CUfunction kernel;
	CUmodule module;
	CUcontext ctx;
	CUdevice dev;
	size_t bytes, total;
	char name[128];
	int o;

	while ((o = getopt(argc, argv, "o:s:f:i:")) != -1) {
		if (o == 'o')
			out = optarg;
		else if (o == 'f')
			frames = (unsigned)atoi(optarg);
		else if (o == 'i')
			v.limit = (unsigned)atoi(optarg);
		else if (o != 's' || sscanf(optarg, "%ux%u", &v.width, &v.height) != 2)
			o = '?';
		if (o == '?')
			break;
	}
	if (o == '?' || optind != argc - 1 || !frames || v.width < 16 || v.height < 16 ||
	    v.width > 8192 || v.height > 8192) {
		fprintf(stderr, "usage: mandelbrot [-o OUT.png] [-s WIDTHxHEIGHT] [-f FRAMES] [-i LIMIT] KERNEL.ptx\n");
		return 2;
	}
	must(cuInit(0), "cuInit");
	must(cuDeviceGet(&dev, 0), "cuDeviceGet");
	must(cuDeviceGetName(name, sizeof(name), dev), "cuDeviceGetName");
	must(cuDeviceTotalMem_v2(&total, dev), "cuDeviceTotalMem");
	must(cuDevicePrimaryCtxRetain(&ctx, dev), "cuDevicePrimaryCtxRetain");
	must(cuCtxSetCurrent(ctx), "cuCtxSetCurrent");
	printf("device: %s, %zu MiB\n", name, total >> 20);
	must(cuModuleLoadData(&module, file_read(argv[optind])), "cuModuleLoadData");
	must(cuModuleGetFunction(&kernel, module, "mandelbrot"), "cuModuleGetFunction");
	bytes = (size_t)v.width * v.height * sizeof(*host);
	must(cuMemAlloc_v2(&memory, bytes), "cuMemAlloc");
	must(cuMemHostAlloc((void **)&host, bytes, 0), "cuMemHostAlloc");
	must(cuStreamCreate(&stream[0], CU_STREAM_NON_BLOCKING), "cuStreamCreate");
	must(cuStreamCreate(&stream[1], CU_STREAM_NON_BLOCKING), "cuStreamCreate");
	for (i = 0; i < frames; i++) {
		v.pixel = 3.2 / v.width * pow(0.75, i);
		frame_draw(kernel, memory, host, stream, v);
		fprintf(stderr, isatty(2) ? "\rframe %u of %u" : "frame %u of %u\n", i + 1, frames);
	}
	if (isatty(2))
		fputc('\n', stderr);
	text_show(host, &v);
	if (png_write(out, host, &v)) {
		fprintf(stderr, "mandelbrot: cannot write %s\n", out);
		return 1;
	}
	printf("picture: %s (%ux%u)\n", out, v.width, v.height);
	must(cuMemFreeHost(host), "cuMemFreeHost");
	must(cuMemFree_v2(memory), "cuMemFree");
	must(cuModuleUnload(module), "cuModuleUnload");
	must(cuDevicePrimaryCtxRelease_v2(dev), "cuDevicePrimaryCtxRelease");
	return 0;
}
