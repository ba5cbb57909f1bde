/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed memory: filled by the host, worked on by kernels, looked at again, in
 * every order; copies and memsets that touch it; what is asked about it.
 */
#include "call.h"

#include <pthread.h>

static unsigned *managed(size_t n, unsigned flags)
{
	CUdeviceptr p;

	MUST(cuMemAllocManaged(&p, n, flags));
	return (unsigned *)p;
}

#define DEV(p) ((CUdeviceptr)(uintptr_t)(p))

/* Sizes around pages and granules: host writes, kernel, host reads, host writes a little, again. */
static void turns(size_t bytes)
{
	unsigned n = (unsigned)(bytes / 4), i, round, good = 1, want;
	unsigned *p = managed(bytes, CU_MEM_ATTACH_GLOBAL);

	for (i = 0; i < n; i++)
		p[i] = i;
	for (round = 0; round < 3; round++) {
		call_step(DEV(p), n, 3, round, NULL);
		MUST(cuCtxSynchronize());
		p[n / 2] = 7; /* one page among many */
		p[0] += 1;
	}
	call_step(DEV(p), n, 1, 0, NULL);
	MUST(cuStreamSynchronize(NULL));
	for (i = 0; i < n; i++) {
		want = ((i * 3 + 0) * 3 + 1) * 3 + 2;
		if (i == 0)
			want = (((0 * 3 + 0) + 1) * 3 + 1 + 1) * 3 + 2 + 1;
		if (i == n / 2)
			want = n == 1 ? p[i] : 7;
		good &= p[i] == want;
	}
	call_line("turns %zu: good=%u sum=%016llx", bytes, good,
			  (unsigned long long)call_sum(p, bytes));
	MUST(cuMemFree(DEV(p)));
}

/* Walks in both directions, and at random. */
static void walks(void)
{
	unsigned n = 1u << 20, i, at = 1;
	unsigned long long sum = 0;
	unsigned *p = managed(n * 4, CU_MEM_ATTACH_GLOBAL);

	call_iota(DEV(p), n, 5, NULL);
	MUST(cuCtxSynchronize());
	for (i = 0; i < n; i++)
		sum += p[i];
	call_line("forwards %llu", sum);
	call_step(DEV(p), n, 2, 1, NULL);
	MUST(cuCtxSynchronize());
	for (i = n, sum = 0; i--;)
		sum += p[i];
	call_line("backwards %llu", sum);
	call_step(DEV(p), n, 2, 1, NULL);
	MUST(cuCtxSynchronize());
	for (i = 0, sum = 0; i < 3000; i++, at = at * 1664525u + 1013904223u)
		sum += p[at % n];
	for (i = 0; i < 300; i++, at = at * 1664525u + 1013904223u)
		p[at % n] = i;
	call_line("anywhere %llu", sum);
	call_step(DEV(p), n, 1, 0, NULL);
	MUST(cuCtxSynchronize());
	call_line("all sum=%016llx", (unsigned long long)call_sum(p, n * 4));
	MUST(cuMemFree(DEV(p)));
}

/* Many small ones, as lists have them. */
static void small(void)
{
	unsigned *p[200], i;
	unsigned long long sum = 0;

	for (i = 0; i < COUNT(p); i++) {
		p[i] = managed(20, CU_MEM_ATTACH_GLOBAL);
		p[i][0] = i;
		p[i][4] = 2 * i;
	}
	for (i = 0; i < COUNT(p); i++)
		call_step(DEV(p[i]), 5, 5, i, NULL);
	MUST(cuCtxSynchronize());
	for (i = 0; i < COUNT(p); i++)
		sum += p[i][0] + p[i][4];
	call_line("small %llu", sum);
	for (i = 0; i < COUNT(p); i += 2)
		MUST(cuMemFree(DEV(p[i])));
	for (i = 1, sum = 0; i < COUNT(p); i += 2)
		sum += p[i][0];
	call_line("the odd ones %llu", sum);
	for (i = 1; i < COUNT(p); i += 2)
		MUST(cuMemFree(DEV(p[i])));
}

static void copies(void)
{
	size_t n = 300000, k;
	unsigned char *m = (unsigned char *)managed(n, CU_MEM_ATTACH_GLOBAL);
	unsigned char *o = (unsigned char *)managed(n, CU_MEM_ATTACH_GLOBAL), *host = malloc(n), *pin;
	CUdeviceptr d = call_alloc(n);
	CUstream s;
	CUDA_MEMCPY2D box = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED, .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
			     .srcPitch = 1000, .dstPitch = 500, .WidthInBytes = 300, .Height = 200};

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocHost((void **)&pin, n));
	call_fill(host, n, 1);
	call_fill(m, n, 2);
	for (k = 0; k < 2; k++) {
		/* From and to it, by every name. */
		MUST(cuMemcpyHtoD(d, m, n));
		call_line("%zu htod %016llx", k, (unsigned long long)call_sum_device(d, n));
		m[5]++;
		MUST(cuMemcpyDtoH(o, d, n));
		call_line("%zu dtoh %016llx", k, (unsigned long long)call_sum(o, n));
		o[7]++;
		MUST(cuMemcpyDtoD(DEV(m) + 100, DEV(o), n - 200));
		call_line("%zu dtod %016llx", k, (unsigned long long)call_sum(m, n));
		MUST(cuMemcpyHtoD(DEV(m) + 1, host, 70000));
		call_line("%zu part %016llx", k, (unsigned long long)call_sum(m, n));
		m[3] = 9;
		MUST(cuMemcpy(d, DEV(m), n));
		MUST(cuMemcpyAsync(DEV(o), d, n, s));
		MUST(cuMemcpyAsync(DEV(pin), DEV(o), n, s));
		MUST(cuStreamSynchronize(s));
		call_line("%zu cpy %016llx %016llx", k,
			  (unsigned long long)call_sum(o, n), (unsigned long long)call_sum(pin, n));
		MUST(cuMemcpyHtoDAsync(DEV(o) + 4096, pin, 8192, s));
		MUST(cuMemcpyDtoHAsync(pin, DEV(m) + 10, 9000, s));
		MUST(cuStreamSynchronize(s));
		call_line("%zu async %016llx %016llx", k,
			  (unsigned long long)call_sum(o, n), (unsigned long long)call_sum(pin, n));
		MUST(cuMemsetD8(DEV(m) + 17, 0x33, 5000));
		o[4097] = 1;
		MUST(cuMemsetD32Async(DEV(o), 0x01020304, 1030, s));
		MUST(cuStreamSynchronize(s));
		call_line("%zu set %016llx %016llx", k,
			  (unsigned long long)call_sum(m, n), (unsigned long long)call_sum(o, n));
		box.srcDevice = DEV(m);
		box.dstDevice = DEV(o) + 50;
		MUST(cuMemcpy2D(&box));
		call_line("%zu box %016llx", k, (unsigned long long)call_sum(o, n));
		box.srcDevice = DEV(host);
		MUST(cuMemcpy2DAsync(&box, s));
		MUST(cuStreamSynchronize(s));
		call_line("%zu box in %016llx", k, (unsigned long long)call_sum(o, n));
		call_step(DEV(m), 1000, 3, 1, s);
		MUST(cuStreamSynchronize(s));
	}
	MUST(cuMemFreeHost(pin));
	MUST(cuMemFree(d));
	MUST(cuMemFree(DEV(m)));
	MUST(cuMemFree(DEV(o)));
	MUST(cuStreamDestroy(s));
	free(host);
}

static void graph(void)
{
	unsigned n = 5000, *m = managed(n * 4, CU_MEM_ATTACH_GLOBAL), i, k;
	unsigned *r = managed(n * 4, CU_MEM_ATTACH_GLOBAL);
	CUdeviceptr d = call_alloc(n * 4);
	CUgraphExec x;
	CUgraph g;
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	MUST(cuMemcpyHtoDAsync(d, m, n * 4, s));
	call_step(d, n, 3, 1, s);
	MUST(cuMemcpyDtoHAsync(r, d, n * 4, s));
	call_step(DEV(m), n, 2, 0, s);
	MUST(cuStreamEndCapture(s, &g));
	MUST(cuGraphInstantiate(&x, g, 0));
	for (i = 0; i < n; i++)
		m[i] = i + 1;
	for (k = 0; k < 3; k++) {
		MUST(cuGraphLaunch(x, s));
		MUST(cuStreamSynchronize(s));
		call_line("graph %u: %016llx %016llx", k,
			  (unsigned long long)call_sum(m, n * 4), (unsigned long long)call_sum(r, n * 4));
		m[k] = 100;
	}
	MUST(cuGraphExecDestroy(x));
	MUST(cuGraphDestroy(g));
	MUST(cuStreamDestroy(s));
	MUST(cuMemFree(d));
	MUST(cuMemFree(DEV(m)));
	MUST(cuMemFree(DEV(r)));
}

/* Each stream has memory of its own, touched while the other one works. */
static void attached(void)
{
	unsigned n = 20000, *p[2], i, k;
	CUstream s[2];

	for (i = 0; i < 2; i++) {
		MUST(cuStreamCreate(&s[i], CU_STREAM_NON_BLOCKING));
		p[i] = managed(n * 4, CU_MEM_ATTACH_HOST);
		MUST(cuStreamAttachMemAsync(s[i], DEV(p[i]), 0, CU_MEM_ATTACH_SINGLE));
		MUST(cuStreamSynchronize(s[i]));
	}
	for (k = 0; k < n; k++)
		p[0][k] = p[1][k] = k;
	for (i = 0; i < 6; i++) {
		call_busy(DEV(p[i & 1]), 20000, i, s[i & 1]);
		MUST(cuStreamSynchronize(s[~i & 1]));
		for (k = 0; k < n; k += 100)
			p[~i & 1][k] += k;
		call_step(DEV(p[~i & 1]), n, 3, 1, s[~i & 1]);
	}
	MUST(cuCtxSynchronize());
	call_line("attached %016llx %016llx",
			  (unsigned long long)call_sum(p[0] + 100, n * 4 - 400), (unsigned long long)call_sum(p[1] + 100, n * 4 - 400));
	SAY(cuStreamAttachMemAsync(s[0], DEV(p[0]), 0, 3));
	SAY(cuStreamAttachMemAsync(s[0], DEV(&n), 0, CU_MEM_ATTACH_GLOBAL));
	for (i = 0; i < 2; i++) {
		MUST(cuMemFree(DEV(p[i])));
		MUST(cuStreamDestroy(s[i]));
	}
}

static void CUDA_CB look(void *data)
{
	unsigned *p = data;

	p[1] = p[0] + 5;
}

/* A host function between two kernels sees the first and is seen by the second. */
static void between(void)
{
	unsigned *p = managed(64, CU_MEM_ATTACH_GLOBAL), i;

	p[0] = 1;
	for (i = 0; i < 3; i++) {
		call_step(DEV(p), 1, 7, 1, NULL);
		MUST(cuLaunchHostFunc(NULL, look, p));
		call_step(DEV(p + 1), 1, 3, 0, NULL);
	}
	MUST(cuCtxSynchronize());
	call_line("between %u %u", p[0], p[1]);
	MUST(cuMemFree(DEV(p)));
}

struct part {
	unsigned *p, n;
	unsigned long long sum;
};

static void *reader(void *arg)
{
	struct part *x = arg;
	unsigned i;

	for (i = 0; i < x->n; i++)
		x->sum += x->p[i]++;
	return NULL;
}

/* Threads that never made a CUDA call. */
static void threads(void)
{
	unsigned n = 1u << 18, *p = managed(n * 4, CU_MEM_ATTACH_GLOBAL), i;
	unsigned long long sum = 0;
	struct part part[4];
	pthread_t id[4];

	call_iota(DEV(p), n, 1, NULL);
	MUST(cuCtxSynchronize());
	for (i = 0; i < 4; i++) {
		part[i] = (struct part){p + i * (n / 4), n / 4, 0};
		pthread_create(&id[i], NULL, reader, &part[i]);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(id[i], NULL);
		sum += part[i].sum;
	}
	call_line("threads %llu %016llx", sum, (unsigned long long)call_sum_device(DEV(p), n * 4));
	MUST(cuMemFree(DEV(p)));
}

static void range_int(CUdeviceptr p, CUmem_range_attribute a, size_t size, const char *what)
{
	int value = 0;
	CUresult r = cuMemRangeGetAttribute(&value, size, a, p, 100);

	call_line("%s: %d value=%d", what, r, value);
}

static void asked(void)
{
	unsigned *p = managed(100000, CU_MEM_ATTACH_GLOBAL), type = 0, is = 0;
	CUdevice dev = 0;
	CUdeviceptr d = 0, base = 0;
	size_t size = 0;
	void *h = NULL, *data[2] = {&type, &is};
	size_t sizes[2] = {4, 4};
	CUpointer_attribute both[2] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
				       CU_POINTER_ATTRIBUTE_IS_MANAGED};
	CUmem_range_attribute ranges[2] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
					   CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION};
	CUmemLocation host = {.type = CU_MEM_LOCATION_TYPE_HOST};
	int v = 0, list[4];
	unsigned i;
	CUstream s;
	static const int attrs[] = {
		CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
		CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY,
		CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
		CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM};

	for (i = 0; i < COUNT(attrs); i++) {
		MUST(cuDeviceGetAttribute(&v, attrs[i], dev));
		call_line("device attribute %d: %d", attrs[i], v);
	}
	MUST(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, DEV(p) + 5));
	MUST(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, DEV(p) + 5));
	MUST(cuPointerGetAttribute(&d, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, DEV(p) + 5));
	MUST(cuPointerGetAttribute(&h, CU_POINTER_ATTRIBUTE_HOST_POINTER, DEV(p) + 5));
	MUST(cuMemGetAddressRange(&base, &size, DEV(p) + 5000));
	call_line("type=%u managed=%u device=%d host=%d base=%d size=%zu", type, is, d == DEV(p) + 5,
		  h == (char *)p + 5, base == DEV(p), size);
	MUST(cuPointerGetAttributes(2, both, data, DEV(p)));
	call_line("both %u %u", type, is);
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_SET_ACCESSED_BY, 0));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_SET_ACCESSED_BY, CU_DEVICE_CPU));
	SAY(cuMemAdvise(DEV(p), 100001, CU_MEM_ADVISE_SET_ACCESSED_BY, 0));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_SET_ACCESSED_BY, 17));
	SAY(cuMemAdvise(DEV(p), 100000, 9, 0));
	SAY(cuMemAdvise(DEV(&v), 4, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, 4, "read mostly");
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, 4, "preferred");
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, 4, "prefetched");
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, 3, "odd size");
	range_int(DEV(p), 99, 4, "unknown");
	MUST(cuMemRangeGetAttribute(list, sizeof(list), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, DEV(p), 100));
	call_line("accessed by %d %d %d %d", list[0], list[1], list[2], list[3]);
	MUST(cuStreamCreate(&s, 0));
	p[9] = 77;
	SAY(cuMemPrefetchAsync(DEV(p), 100000, 0, s));
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, 4, "prefetched");
	call_step(DEV(p), 25000, 2, 1, s);
	SAY(cuMemPrefetchAsync_v2(DEV(p), 100000, host, 0, s));
	MUST(cuStreamSynchronize(s));
	call_line("after prefetches %u", p[9]);
	range_int(DEV(p), CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, 4, "prefetched");
	SAY(cuMemPrefetchAsync(DEV(p), 100000, 17, s));
	SAY(cuMemPrefetchAsync(DEV(p), 100001, 0, s));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0));
	SAY(cuMemAdvise(DEV(p), 100000, CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION, 0));
	MUST(cuMemRangeGetAttributes(data, sizes, ranges, 2, DEV(p), 100));
	call_line("again %u %d", type, (int)is);
	SAY(cuMemAllocManaged(&d, 0, CU_MEM_ATTACH_GLOBAL));
	SAY(cuMemAllocManaged(&d, 8, 0));
	SAY(cuMemAllocManaged(&d, 8, CU_MEM_ATTACH_SINGLE));
	SAY(cuMemAllocManaged(NULL, 8, CU_MEM_ATTACH_GLOBAL));
	MUST(cuStreamDestroy(s));
	MUST(cuMemFree(DEV(p)));
	SAY(cuMemFree(DEV(p)));
	SAY(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, DEV(p)));
}

static const char variables_ptx[] =
	".version 7.0\n.target sm_75\n.address_size 64\n"
	".visible .global .attribute(.managed) .align 4 .u32 both[2000] = {5, 6, 7};\n"
	".visible .global .align 4 .u32 alone = 30;\n"
	".visible .global .attribute(.managed) .align 8 .u64 wide;\n"
	".visible .entry add(.param .u32 n)\n{\n"
	"	.reg .b32 %r<5>;\n	.reg .b64 %rd<4>;\n"
	"	ld.param.u32 %r1, [n];\n	ld.global.u32 %r2, [both];\n	add.u32 %r2, %r2, %r1;\n"
	"	st.global.u32 [both+4], %r2;\n	ld.global.u32 %r3, [alone];\n"
	"	st.global.u32 [both+7996], %r3;\n	ld.global.u64 %rd1, [wide];\n"
	"	add.u64 %rd1, %rd1, 1;\n	st.global.u64 [wide], %rd1;\n	ret;\n}\n";

/* Managed variables of a library that was loaded before there was a context. */
static void library(CUlibrary lib, unsigned *both, unsigned long long *wide)
{
	CUdeviceptr alone;
	size_t size;
	CUkernel k;
	unsigned n = 10, is = 0, i;
	void *params[] = {&n};

	MUST(cuLibraryGetKernel(&k, lib, "add"));
	SAY(cuLibraryGetGlobal(&alone, &size, lib, "alone"));
	call_line("at first %u %u %u %u", both[0], both[2], both[1999], (unsigned)*wide);
	MUST(cuMemsetD32(alone, 31, 1));
	for (i = 0; i < 3; i++) {
		both[0] += i;
		MUST(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
		MUST(cuCtxSynchronize());
		call_line("then %u %u %u %u", both[0], both[1], both[1999], (unsigned)*wide);
	}
	MUST(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, DEV(both)));
	call_line("managed %u", is);
	SAY(cuMemFree(DEV(both)));
	SAY(cuLibraryGetManaged(NULL, &size, lib, "alone"));
	SAY(cuLibraryUnload(lib));
}

static void module(void)
{
	CUdeviceptr p, w;
	size_t size;
	CUmodule m;
	CUfunction f;
	unsigned n = 3, *both;
	void *params[] = {&n};

	MUST(cuModuleLoadData(&m, variables_ptx));
	MUST(cuModuleGetFunction(&f, m, "add"));
	MUST(cuModuleGetGlobal(&p, &size, m, "both"));
	MUST(cuModuleGetGlobal(&w, NULL, m, "wide"));
	both = (unsigned *)p;
	call_line("module %zu: %u", size, both[1]);
	both[0] = 100;
	MUST(cuMemsetD8(w, 0, 8));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuCtxSynchronize());
	call_line("module: %u %u %u", both[1], both[1999], *(unsigned *)w);
	MUST(cuModuleUnload(m));
}

int main(void)
{
	unsigned long long *wide;
	unsigned *both;
	CUlibrary lib;
	CUcontext ctx;
	static const size_t sizes[] = {64, 4096, 5000, 65536, 100000, 2097152, 3000000};
	unsigned i;
	size_t size;

	MUST(cuInit(0));
	MUST(cuLibraryLoadData(&lib, variables_ptx, NULL, NULL, 0, NULL, NULL, 0));
	SAY(cuLibraryGetManaged((CUdeviceptr *)&both, &size, lib, "both"));
	SAY(cuLibraryGetManaged((CUdeviceptr *)&wide, NULL, lib, "wide"));
	SAY(cuLibraryGetManaged((CUdeviceptr *)&wide, NULL, lib, "nobody"));
	MUST(cuLibraryGetManaged((CUdeviceptr *)&wide, NULL, lib, "wide"));
	ctx = call_begin();
	library(lib, both, wide);
	module();
	for (i = 0; i < COUNT(sizes); i++)
		turns(sizes[i]);
	walks();
	small();
	copies();
	graph();
	attached();
	between();
	threads();
	asked();
	return call_end(ctx);
}
