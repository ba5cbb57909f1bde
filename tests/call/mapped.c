/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host memory that kernels use in place: allocated as mapped, merely pinned, or
 * registered; flags that one side polls while the other works; copies from and to
 * it; what is asked about it.
 */
#include "call.h"

#include <unistd.h>

#define N 50000
#define DEV(p) ((CUdeviceptr)(uintptr_t)(p))

enum memory { MAPPED, PINNED, REGISTERED, MEMORIES };
static const char *const names[] = {"mapped", "pinned", "registered"};

static unsigned *get(enum memory kind, size_t n, void **free_this)
{
	unsigned char *p;

	if (kind == REGISTERED) { /* not at the beginning of a page, as malloc gives it */
		if (posix_memalign(free_this, 4096, n + 8192))
			exit(1);
		memset(*free_this, 0xaa, n + 8192);
		p = (unsigned char *)*free_this + 64;
		MUST(cuMemHostRegister(p, n, CU_MEMHOSTREGISTER_DEVICEMAP));
		return (unsigned *)p;
	}
	MUST(cuMemHostAlloc(free_this, n, kind == MAPPED ? CU_MEMHOSTALLOC_DEVICEMAP : 0));
	return *free_this;
}

static void put(enum memory kind, unsigned *p, void *free_this)
{
	if (kind != REGISTERED) {
		MUST(cuMemFreeHost(p));
		return;
	}
	MUST(cuMemHostUnregister(p));
	call_line("around %02x %02x", ((unsigned char *)p)[-1], ((unsigned char *)p)[N * 4]);
	free(free_this);
}

static void turns(enum memory kind)
{
	void *free_this;
	unsigned *p = get(kind, N * 4, &free_this), i, k, good = 1;
	CUdeviceptr d = DEV(p), copy = call_alloc(N * 4);

	if (kind == REGISTERED)
		MUST(cuMemHostGetDevicePointer(&d, p, 0));
	for (i = 0; i < N; i++)
		p[i] = i;
	for (k = 0; k < 3; k++) {
		call_step(d, N, 3, k, NULL);
		MUST(cuCtxSynchronize());
		for (i = 0; i < N; i++)
			good &= p[i] == (k == 0 ? i * 3 : k == 1 ? (i * 3 + 5) * 3 + 1 : ((i * 3 + 5) * 3 + 1 + 5) * 3 + 2);
		for (i = 0; i < N; i++)
			p[i] += 5;
	}
	call_line("%s: good=%u", names[kind], good);
	/* Copies of what the host wrote last, and back into it. */
	MUST(cuMemcpyHtoDAsync(copy, p, N * 4, NULL));
	call_step(copy, N, 1, 1, NULL);
	MUST(cuMemcpyDtoHAsync(p, copy, N * 4, NULL));
	call_step(d, N, 2, 0, NULL);
	MUST(cuCtxSynchronize());
	call_line("%s: sum=%016llx", names[kind], (unsigned long long)call_sum(p, N * 4));
	MUST(cuMemcpyHtoD(copy, p, N * 4));
	p[0] = 1;
	MUST(cuMemsetD32(d + 400, 7, 100));
	MUST(cuMemcpyDtoH(p + 1000, copy, 4000));
	call_line("%s: sums=%016llx %016llx", names[kind], (unsigned long long)call_sum(p, N * 4),
		  (unsigned long long)call_sum_device(copy, N * 4));
	MUST(cuMemFree(copy));
	put(kind, p, free_this);
}

/* The kernel waits for the program, the program for the kernel. */
static void flags(void)
{
	volatile unsigned *p;
	CUdeviceptr flag, out;
	CUfunction spin = call_function("spin");
	CUstream s;
	unsigned i;
	void *params[] = {&flag, &out};

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemHostAlloc((void **)&p, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
	for (i = 0; i < 4; i++) {
		MUST(cuMemHostGetDevicePointer(&flag, (void *)p, 0));
		out = flag + 64;
		p[0] = 0;
		p[16] = 0;
		MUST(cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
		usleep(3000);
		p[0] = 1; /* no call is made from here on */
		while (!p[16])
			;
		call_line("flag %u: %u", i, p[16] != 0);
		p[3] = i;
		MUST(cuStreamSynchronize(s));
		call_line("after: %u %u %u", p[0], p[16] != 0, p[3]);
	}
	/* A stream waits for a value that the program writes. */
	p[4] = 0;
	MUST(cuStreamWaitValue32(s, flag + 16, 5, CU_STREAM_WAIT_VALUE_EQ));
	MUST(cuStreamWriteValue32(s, flag + 32, 9, 0));
	usleep(1000);
	__atomic_store_n(&p[4], 5, __ATOMIC_RELEASE); /* the device waits for it: no plain write */
	MUST(cuStreamSynchronize(s));
	call_line("values %u %u", p[4], p[8]);
	MUST(cuMemFreeHost((void *)p));
	MUST(cuStreamDestroy(s));
}

static void asked(void)
{
	unsigned *p, type = 0, flags = 0, is = 1;
	CUdeviceptr d = 0;
	void *h = NULL;
	char local[64];

	MUST(cuMemHostAlloc((void **)&p, 5000, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE));
	MUST(cuMemHostGetFlags(&flags, p));
	MUST(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, DEV(p) + 4));
	MUST(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, DEV(p) + 4));
	MUST(cuPointerGetAttribute(&d, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, DEV(p) + 4));
	MUST(cuPointerGetAttribute(&h, CU_POINTER_ATTRIBUTE_HOST_POINTER, DEV(p) + 4));
	call_line("flags=%u type=%u managed=%u device=%d host=%d", flags, type, is, d == DEV(p) + 4, h == p + 1);
	SAY(cuMemHostGetDevicePointer(&d, local, 0));
	SAY(cuMemHostGetDevicePointer(&d, p, 1));
	SAY(cuMemHostGetDevicePointer(NULL, p, 0));
	SAY(cuMemHostGetDevicePointer(&d, p + 10, 0));
	call_line("inside %d", d == DEV(p + 10));
	MUST(cuMemFreeHost(p));
	SAY(cuMemHostGetDevicePointer(&d, p, 0));
	SAY(cuMemFreeHost(p));
}

int main(void)
{
	CUcontext ctx = call_begin();
	enum memory kind;

	for (kind = 0; kind < MEMORIES; kind++)
		turns(kind);
	flags();
	asked();
	return call_end(ctx);
}
