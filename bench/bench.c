/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measured programs: each mode does one thing and prints lines "name value".
 *
 *	bench MODE [N]
 *
 * Times are in the unit that the name ends with.  The same binary runs on the
 * soft GPU directly and through the pool; bench/run sets up both and prints the
 * table, bench/gate runs the promises that are checked.
 */
#include "call.h"

#include <time.h>

static CUcontext ctx;
static CUstream stream;
static CUdeviceptr buffer;
#define BUFFER (64u << 20)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void say(const char *name, double value)
{
	printf("%s %.3f\n", name, value);
	fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void say_spread(const char *name, double *v, unsigned n)
{
	char line[96];

	qsort(v, n, sizeof(*v), by_value);
	snprintf(line, sizeof(line), "%s_p50_us", name);
	say(line, v[n / 2] / 1e3);
	snprintf(line, sizeof(line), "%s_p99_us", name);
	say(line, v[n * 99 / 100] / 1e3);
}

static void begin(size_t bytes)
{
	ctx = call_begin();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	buffer = call_alloc(bytes);
}

/* Eight parameters, as a kernel of a real program has. */
static void burst(CUfunction f, unsigned n)
{
	unsigned b = 1, h = 8, i;
	unsigned long long c = 2;
	unsigned short d = 3;
	unsigned char e = 4;
	float fl = 5;
	double g = 6;
	void *params[] = {&buffer, &b, &c, &d, &e, &fl, &g, &h};

	for (i = 0; i < n; i++)
		MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, params, NULL));
}

/* ---- launch ---- */

static void launch(unsigned n)
{
	CUfunction f = call_function("eight");
	uint64_t t, issued;

	burst(f, 100);
	MUST(cuStreamSynchronize(stream));
	t = now_ns();
	burst(f, n);
	issued = now_ns() - t;
	MUST(cuStreamSynchronize(stream));
	t = now_ns() - t;
	if (!n)
		return;
	say("issue_ns", (double)issued / n);
	say("applied_ns", (double)t / n);
	say("launches_per_s", n / ((double)t / 1e9));
	{
		struct timespec c;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
		say("process_cpu_s", (double)c.tv_sec + (double)c.tv_nsec / 1e9);
	}
}

/* How long until the kernel of a lone launch reads the clock. Not for the null device. */
static void lone(unsigned n)
{
	CUfunction f = call_function("clock_ns");
	double *v = calloc(n, sizeof(*v)), *own = calloc(n, sizeof(*own));
	void *params[] = {&buffer};
	unsigned i, k = 0;

	for (i = 0; i < n; i++) {
		struct timespec pause = {.tv_nsec = 2000000};
		unsigned long long seen = 0;
		uint64_t t, called;

		nanosleep(&pause, NULL);
		called = now_ns();
		t = wall_ns();
		MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, params, NULL));
		own[i] = (double)(now_ns() - called);
		MUST(cuStreamSynchronize(stream));
		MUST(cuMemcpyDtoH(&seen, buffer, 8));
		if (seen > t)
			v[k++] = (double)(seen - t);
		say("called_ns", (double)called);
	}
	if (k)
		say_spread("lone_launch", v, k);
	say_spread("lone_call", own, n);
	free(v);
	free(own);
}

/* ---- wait ---- */

static void wait(unsigned n)
{
	CUfunction f = call_function("nothing");
	double *v = calloc(n, sizeof(*v));
	unsigned i, word;
	uint64_t t;

	for (i = 0; i < n; i++) {
		MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL));
		t = now_ns();
		MUST(cuStreamSynchronize(stream));
		v[i] = (double)(now_ns() - t);
	}
	say_spread("wait_after_launch", v, n);
	for (i = 0; i < n; i++) {
		t = now_ns();
		MUST(cuStreamSynchronize(stream));
		v[i] = (double)(now_ns() - t);
	}
	say_spread("wait_finished", v, n);
	for (i = 0; i < n; i++) {
		t = now_ns();
		MUST(cuMemcpyDtoH(&word, buffer, 4));
		v[i] = (double)(now_ns() - t);
	}
	say_spread("read_4_bytes", v, n);
	free(v);
}

/* ---- copies ---- */

static void copy_one(const char *kind, void *host, size_t size, int up, int async)
{
	unsigned n = size >= (1 << 20) ? 12 : size >= 65536 ? 200 : 2000, i;
	char name[96];
	uint64_t t;

	for (i = 0; i < n + 1; i++) {
		if (i == 1) /* the first one is not counted */
			t = now_ns();
		if (async)
			MUST(up ? cuMemcpyHtoDAsync(buffer, host, size, stream) : cuMemcpyDtoHAsync(host, buffer, size, stream));
		else
			MUST(up ? cuMemcpyHtoD(buffer, host, size) : cuMemcpyDtoH(host, buffer, size));
		if (!i)
			MUST(cuStreamSynchronize(stream));
	}
	MUST(cuStreamSynchronize(stream));
	t = now_ns() - t;
	snprintf(name, sizeof(name), "%s_%s_%s_%zu_%s", up ? "up" : "down", kind, async ? "async" : "sync", size,
		 size >= 65536 ? "GB_s" : "us");
	say(name, size >= 65536 ? (double)size * n / (double)t : (double)t / n / 1e3);
}

static void copies(void)
{
	static const size_t sizes[] = {4, 4096, 65536, 1 << 20, 16 << 20};
	void *pinned, *pageable = malloc(16 << 20);
	unsigned i, up, async;

	MUST(cuMemAllocHost(&pinned, 16 << 20));
	memset(pinned, 1, 16 << 20);
	memset(pageable, 1, 16 << 20);
	for (up = 0; up < 2; up++)
		for (async = 0; async < 2; async++)
			for (i = 0; i < COUNT(sizes); i++) {
				copy_one("pageable", pageable, sizes[i], (int)up, (int)async);
				copy_one("pinned", pinned, sizes[i], (int)up, (int)async);
			}
	free(pageable);
}

/* 64 MiB at a time: the best and the median of n. */
static void bulk(unsigned n)
{
	double *v = calloc(n, sizeof(*v));
	unsigned i, up;
	void *pinned;

	MUST(cuMemAllocHost(&pinned, BUFFER));
	memset(pinned, 1, BUFFER);
	for (up = 0; up < 2; up++) {
		for (i = 0; i < n; i++) {
			uint64_t t = now_ns();

			MUST(up ? cuMemcpyHtoDAsync(buffer, pinned, BUFFER, stream)
				: cuMemcpyDtoHAsync(pinned, buffer, BUFFER, stream));
			MUST(cuStreamSynchronize(stream));
			v[i] = (double)BUFFER / (double)(now_ns() - t);
		}
		qsort(v, n, sizeof(*v), by_value);
		say(up ? "up_best_GB_s" : "down_best_GB_s", v[n - 1]);
		say(up ? "up_median_GB_s" : "down_median_GB_s", v[n / 2]);
	}
	free(v);
}

/* ---- what needs no reply ---- */

static void quiet(unsigned n)
{
	uint64_t t, begun = now_ns();
	CUdeviceptr p;
	unsigned i;
	CUevent e;

	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
#define EACH(name, call)                                       \
	do {                                                   \
		t = now_ns();                                  \
		for (i = 0; i < n; i++)                        \
			call;                                  \
		say(name, (double)(now_ns() - t) / (n ? n : 1)); \
	} while (0)
	EACH("alloc_free_ns", (MUST(cuMemAlloc(&p, 100000)), MUST(cuMemFree(p))));
	EACH("event_record_ns", MUST(cuEventRecord(e, stream)));
	EACH("event_query_ns", (void)cuEventQuery(e));
	EACH("stream_wait_ns", MUST(cuStreamWaitEvent(stream, e, 0)));
	say("all_ms", (double)(now_ns() - begun) / 1e6);
	EACH("alloc_free_async_ns", (MUST(cuMemAllocAsync(&p, 100000, stream)), MUST(cuMemFreeAsync(p, stream))));
	EACH("capturing_ns", (MUST(cuStreamIsCapturing(stream, (CUstreamCaptureStatus *)&p))));
	MUST(cuCtxSynchronize());
}

/* ---- Questions that frameworks ask all the time ---- */

static void questions(unsigned n)
{
	CUstreamCaptureStatus status;
	CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
	uint64_t t, begun = now_ns();
	unsigned type, device, i, flags;
	void *to[] = {&type, &device};
	CUdeviceptr p, base;
	CUcontext current;
	CUfunction f;
	size_t size;
	CUevent e;
	int v, grid;

	MUST(cuMemAlloc(&p, 100000));
	MUST(cuEventCreate(&e, 0));
	MUST(cuModuleGetFunction(&f, call_module, "nothing"));
	MUST(cuEventRecord(e, stream));
	MUST(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_NUM_REGS, f)); /* the driver's own numbers: asked for once */
	MUST(cuStreamSynchronize(stream));
	EACH("stream_query_ns", (void)cuStreamQuery(stream));
	EACH("pointer_attributes_ns", MUST(cuPointerGetAttributes(2, which, to, p + 64)));
	EACH("address_range_ns", MUST(cuMemGetAddressRange(&base, &size, p + 64)));
	EACH("function_attribute_ns", MUST(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_NUM_REGS, f)));
	EACH("occupancy_ns", MUST(cuOccupancyMaxActiveBlocksPerMultiprocessor(&v, f, 256, 0)));
	EACH("occupancy_block_ns", MUST(cuOccupancyMaxPotentialBlockSize(&grid, &v, f, NULL, 0, 0)));
	EACH("device_attribute_ns", MUST(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0)));
	EACH("capturing_ns", MUST(cuStreamIsCapturing(stream, &status)));
	EACH("stream_flags_ns", MUST(cuStreamGetFlags(stream, &flags)));
	EACH("current_ns", MUST(cuCtxGetCurrent(&current)));
	EACH("event_query_ns", (void)cuEventQuery(e));
	say("all_ms", (double)(now_ns() - begun) / 1e6);
	MUST(cuMemFree(p));
	MUST(cuEventDestroy(e));
}

static void memory_info(unsigned n)
{
	size_t rest, all;
	unsigned i;

	for (i = 0; i < n; i++)
		MUST(cuMemGetInfo(&rest, &all));
	say("free_mib", (double)(rest >> 20));
}

/* ---- modules ---- */

static void module(unsigned n)
{
	size_t size = strlen(call_ptx) + 64;
	char *text = malloc(size);
	double *v = calloc(n, sizeof(*v));
	CUfunction f;
	CUmodule m;
	unsigned i, warm;

	for (warm = 0; warm < 2; warm++) {
		for (i = 0; i < n; i++) {
			uint64_t t;

			/* Another text is another module: nobody has seen it. */
			snprintf(text, size, "// %llu\n%s", (unsigned long long)(warm ? 1 : wall_ns()), strstr(call_ptx, ".version"));
			t = now_ns();
			MUST(cuModuleLoadData(&m, text));
			MUST(cuModuleGetFunction(&f, m, "nothing"));
			MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL));
			MUST(cuStreamSynchronize(stream));
			v[i] = (double)(now_ns() - t);
			MUST(cuModuleUnload(m));
		}
		say_spread(warm ? "load_warm" : "load_cold", v, n);
	}
	free(text);
	free(v);
}

/* ---- the training step of 139 launches and one value read back ---- */

static void step(unsigned n)
{
	CUfunction f = call_function("eight");
	double *v = calloc(n, sizeof(*v));
	unsigned i, word;

	for (i = 0; i < n; i++) {
		uint64_t t = now_ns();

		burst(f, 139);
		MUST(cuMemcpyDtoHAsync(&word, buffer, 4, stream));
		MUST(cuStreamSynchronize(stream));
		v[i] = (double)(now_ns() - t);
	}
	say_spread("step", v, n);
	free(v);
}

/* ---- for the gates: what, and nothing else ---- */

static void read_back(unsigned n)
{
	unsigned word, i;
	uint64_t t;

	for (i = 0; i < n; i++) {
		burst(call_function("eight"), 1);
		t = now_ns();
		MUST(cuMemcpyDtoH(&word, buffer, 4));
		say("read_back_ms", (double)(now_ns() - t) / 1e6);
	}
}

/* How long did that take? As programs ask it. */
static void elapsed(unsigned n)
{
	CUfunction f = call_function("eight");
	unsigned i, wrong = 0;
	CUevent e[2];
	float ms;

	MUST(cuEventCreate(&e[0], CU_EVENT_DEFAULT));
	MUST(cuEventCreate(&e[1], CU_EVENT_DEFAULT));
	for (i = 0; i < n; i++) {
		MUST(cuEventRecord(e[0], stream));
		burst(f, 1);
		MUST(cuEventRecord(e[1], stream));
		if (i % 2)
			MUST(cuEventSynchronize(e[1]));
		else
			MUST(cuStreamSynchronize(stream));
		MUST(cuEventElapsedTime(&ms, e[0], e[1]));
		wrong += ms < 0 || ms > 10000;
	}
	say("wrong_times", wrong);
}

static void launches(unsigned n)
{
	CUfunction f = call_function("eight");
	uint64_t t = now_ns();

	burst(f, n);
	MUST(cuStreamSynchronize(stream));
	say("launches_ms", (double)(now_ns() - t) / 1e6);
}

static int first(void)
{
	CUdeviceptr p;
	unsigned value = 0;

	call_begin();
	p = call_alloc(4096);
	call_iota(p, 1024, 5, NULL);
	say("launched", 1);
	MUST(cuMemcpyDtoH(&value, p, 4));
	say("first_result", value);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 0;

	if (!strcmp(mode, "first"))
		return first();
	begin(!strcmp(mode, "copy") || !strcmp(mode, "bulk") ? BUFFER : 4096);
	if (!strcmp(mode, "none"))
		;
	else if (!strcmp(mode, "launch"))
		launch(n);
	else if (!strcmp(mode, "lone"))
		lone(n ? n : 200);
	else if (!strcmp(mode, "wait"))
		wait(n ? n : 2000);
	else if (!strcmp(mode, "copy"))
		copies();
	else if (!strcmp(mode, "bulk"))
		bulk(n ? n : 9);
	else if (!strcmp(mode, "quiet"))
		quiet(n);
	else if (!strcmp(mode, "module"))
		module(n ? n : 20);
	else if (!strcmp(mode, "step"))
		step(n ? n : 300);
	else if (!strcmp(mode, "readback"))
		read_back(n ? n : 1);
	else if (!strcmp(mode, "questions"))
		questions(n);
	else if (!strcmp(mode, "memory-info"))
		memory_info(n);
	else if (!strcmp(mode, "elapsed"))
		elapsed(n);
	else if (!strcmp(mode, "launches"))
		launches(n);
	else
		return 2;
	return 0;
}
