/* SPDX-License-Identifier: Apache-2.0 */
/* The shared half of the call programs; call.h says what each function does. */
#include "call.h"

#include <stdarg.h>

#include "kernels-ptx.h"

CUmodule call_module;
const char *const call_ptx = kernels_ptx;

void call_must(CUresult r, const char *what, int line)
{
	const char *name = NULL;

	if (r == CUDA_SUCCESS)
		return;
	cuGetErrorName(r, &name);
	fflush(stdout);
	fprintf(stderr, "line %d: %s: %s (%d)\n", line, what, name ? name : "?", r);
	exit(1);
}

CUresult call_say(CUresult r, const char *what)
{
	const char *name = NULL;

	if (cuGetErrorName(r, &name) != CUDA_SUCCESS || !name)
		name = "?";
	call_line("%s = %d %s", what, r, name);
	return r;
}

void call_line(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

uint64_t call_sum(const void *p, size_t n)
{
	const unsigned char *b = p;
	uint64_t h = 0xcbf29ce484222325ull;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3ull;
	return h;
}

uint64_t call_sum_device(CUdeviceptr p, size_t n)
{
	void *copy = malloc(n);
	uint64_t h;

	if (!copy)
		exit(1);
	MUST(cuMemcpyDtoH(copy, p, n));
	h = call_sum(copy, n);
	free(copy);
	return h;
}

void call_fill(void *p, size_t n, uint32_t seed)
{
	unsigned char *b = p;

	while (n--) {
		seed = seed * 1664525u + 1013904223u;
		*b++ = seed >> 24;
	}
}

CUcontext call_begin(void)
{
	CUcontext ctx;
	CUdevice dev;

	MUST(cuInit(0));
	MUST(cuDeviceGet(&dev, 0));
	MUST(cuCtxCreate(&ctx, 0, dev));
	MUST(cuModuleLoadData(&call_module, kernels_ptx));
	return ctx;
}

CUfunction call_function(const char *name)
{
	CUfunction f;

	MUST(cuModuleGetFunction(&f, call_module, name));
	return f;
}

int call_end(CUcontext ctx)
{
	SAY(cuCtxSynchronize());
	SAY(cuCtxDestroy(ctx));
	call_line("end");
	return 0;
}

CUresult call_launch(CUfunction f, unsigned n, CUstream s, void **params)
{
	return cuLaunchKernel(f, (n + 255) / 256, 1, 1, 256, 1, 1, 0, s, params, NULL);
}

CUdeviceptr call_alloc(size_t n)
{
	CUdeviceptr p;

	MUST(cuMemAlloc(&p, n));
	return p;
}

void call_iota(CUdeviceptr p, unsigned n, unsigned value, CUstream s)
{
	void *params[] = {&p, &n, &value};

	MUST(call_launch(call_function("iota"), n, s, params));
}

void call_step(CUdeviceptr p, unsigned n, unsigned factor, unsigned add, CUstream s)
{
	void *params[] = {&p, &n, &factor, &add};

	MUST(call_launch(call_function("step"), n, s, params));
}

void call_busy(CUdeviceptr p, unsigned turns, unsigned value, CUstream s)
{
	void *params[] = {&p, &turns, &value};

	MUST(cuLaunchKernel(call_function("busy"), 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
}
