/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear copies of every kind: {sync, async} x {pageable, pinned, registered} x
 * {to device, from device}, device to device, cuMemcpy by address, sizes around the
 * borders that a transport may have, odd offsets.
 */
#include "call.h"

enum memory { PAGEABLE, PINNED, REGISTERED, MEMORIES };
static const char *const names[] = {"pageable", "pinned", "registered"};

static void *host_get(enum memory kind, size_t n)
{
	void *p = NULL;

	if (kind == PINNED) {
		MUST(cuMemHostAlloc(&p, n, 0));
		return p;
	}
	if (posix_memalign(&p, 4096, n))
		exit(1);
	if (kind == REGISTERED)
		MUST(cuMemHostRegister(p, n, 0));
	return p;
}

static void host_put(enum memory kind, void *p)
{
	if (kind == PINNED)
		MUST(cuMemFreeHost(p));
	if (kind == REGISTERED)
		MUST(cuMemHostUnregister(p));
	if (kind != PINNED)
		free(p);
}

static void one(enum memory kind, int async, size_t n, CUstream s)
{
	unsigned char *a = host_get(kind, n + 64), *b = host_get(kind, n + 64);
	CUdeviceptr p = call_alloc(n + 64), q = call_alloc(n + 64);

	call_fill(a, n + 64, (uint32_t)n);
	memset(b, 0xee, n + 64);
	MUST(cuMemsetD8Async(p, 0x11, n + 64, s));
	if (async) {
		MUST(cuMemcpyHtoDAsync(p + 3, a + 5, n, s));
		MUST(cuMemcpyDtoDAsync(q + 1, p, n + 3, s));
		MUST(cuMemcpyDtoHAsync(b + 7, q + 4, n, s));
		MUST(cuStreamSynchronize(s));
	} else {
		MUST(cuStreamSynchronize(s));
		MUST(cuMemcpyHtoD(p + 3, a + 5, n));
		MUST(cuMemcpyDtoD(q + 1, p, n + 3));
		MUST(cuMemcpyDtoH(b + 7, q + 4, n));
	}
	call_line("%s %s %zu: equal=%d around=%02x %02x", async ? "async" : "sync", names[kind], n,
		  !memcmp(a + 5, b + 7, n), b[6], b[n + 7]);
	MUST(cuMemFree(p));
	MUST(cuMemFree(q));
	host_put(kind, a);
	host_put(kind, b);
}

/* An asynchronous copy from pageable memory has read it when it returns. */
static void early_reuse(CUstream s)
{
	static unsigned char a[200000];
	CUdeviceptr p = call_alloc(sizeof(a)), q = call_alloc(4);
	uint64_t want;

	call_fill(a, sizeof(a), 77);
	want = call_sum(a, sizeof(a));
	call_busy(q, 50000, 1, s);
	MUST(cuMemcpyHtoDAsync(p, a, sizeof(a), s));
	memset(a, 0, sizeof(a));
	MUST(cuStreamSynchronize(s));
	call_line("reuse of pageable memory: %d", call_sum_device(p, sizeof(a)) == want);
	MUST(cuMemFree(p));
	MUST(cuMemFree(q));
}

/* A synchronous copy into the device is visible to a stream that never waits for the legacy one. */
static void sync_then_launch(CUstream s)
{
	static unsigned a[50000];
	CUdeviceptr p = call_alloc(sizeof(a)), q = call_alloc(sizeof(a));
	unsigned i, wrong = 0, n = COUNT(a);
	void *params[] = {&q, &p, &n};
	CUfunction f = call_function("words");

	for (i = 0; i < 20; i++) {
		memset(a, (int)i, sizeof(a));
		MUST(cuMemcpyHtoD(p, a, sizeof(a)));
		MUST(call_launch(f, n, s, params));
		MUST(cuStreamSynchronize(s));
		wrong += call_sum_device(q, sizeof(a)) != call_sum(a, sizeof(a));
	}
	call_line("sync copy then launch: wrong=%u", wrong);
	MUST(cuMemFree(p));
	MUST(cuMemFree(q));
}

/* A pinned buffer is filled by one queued copy and read by the next. */
static void through_pinned(CUstream s)
{
	unsigned n = 100000, i, wrong = 0, *pinned;
	CUdeviceptr p = call_alloc(n * 4), q = call_alloc(n * 4);

	MUST(cuMemAllocHost((void **)&pinned, n * 4));
	for (i = 0; i < 10; i++) {
		memset(pinned, 0, n * 4);
		call_iota(p, n, i * 1000, s);
		MUST(cuMemcpyDtoHAsync(pinned, p, n * 4, s));
		MUST(cuMemcpyHtoDAsync(q, pinned, n * 4, s));
		MUST(cuStreamSynchronize(s));
		wrong += call_sum_device(q, n * 4) != call_sum_device(p, n * 4);
	}
	call_line("through pinned memory: wrong=%u", wrong);
	MUST(cuMemFreeHost(pinned));
	MUST(cuMemFree(p));
	MUST(cuMemFree(q));
}

/* cuMemcpy finds out by the addresses. */
static void by_address(CUstream s)
{
	unsigned char a[5000], b[5000], *pinned;
	CUdeviceptr p = call_alloc(5000), q = call_alloc(5000);

	MUST(cuMemAllocHost((void **)&pinned, 5000));
	call_fill(a, 5000, 5);
	MUST(cuMemcpy(p, (CUdeviceptr)(uintptr_t)a, 5000));
	MUST(cuMemcpy(q, p, 5000));
	MUST(cuMemcpy((CUdeviceptr)(uintptr_t)b, q, 5000));
	call_line("cuMemcpy: %d", !memcmp(a, b, 5000));
	memset(b, 0, sizeof(b));
	MUST(cuMemcpyAsync((CUdeviceptr)(uintptr_t)pinned, q, 5000, s));
	MUST(cuMemcpyAsync(p, (CUdeviceptr)(uintptr_t)pinned, 5000, s));
	MUST(cuStreamSynchronize(s));
	call_line("cuMemcpyAsync: %d %d", !memcmp(a, pinned, 5000), call_sum_device(p, 5000) == call_sum(a, 5000));
	MUST(cuMemcpy((CUdeviceptr)(uintptr_t)b, (CUdeviceptr)(uintptr_t)pinned, 5000));
	call_line("host to host: %d", !memcmp(a, b, 5000));
	MUST(cuMemFreeHost(pinned));
	MUST(cuMemFree(p));
	MUST(cuMemFree(q));
}

int main(void)
{
	static const size_t sizes[] = {1, 7, 4096, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 5000000};
	CUcontext ctx = call_begin();
	CUstream s;
	unsigned i, kind;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	for (kind = PAGEABLE; kind < MEMORIES; kind++)
		for (i = 0; i < COUNT(sizes); i++) {
			one(kind, 0, sizes[i], s);
			one(kind, 1, sizes[i], s);
		}
	early_reuse(s);
	sync_then_launch(s);
	through_pinned(s);
	by_address(s);
	SAY(cuMemcpyHtoD(call_alloc(16), "", 0));
	return call_end(ctx);
}
