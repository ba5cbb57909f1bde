/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order litmus: what CUDA promises about order, tried with several threads and
 * random delays, and counted.
 *
 *	litmus [-r ROUNDS] [-t THREADS] [-s SEED] [-b BYTES] [TEST...]
 *
 * Prints TAP; a failing test says how often and how.  Nothing here knows what
 * carries the calls: the same program passes on a GPU.  Rounds are divided among
 * the threads.  -b is the size of the large copy in `flag`.
 *
 *  handoff	threads take turns with operations on one buffer over several
 *		streams; a thread that saw another's call return is ordered after it
 *  poll	when an event or stream is said to be done, its data is there
 *  pinned_poll	pinned memory changes without a call being made
 *  fence	a synchronous copy into the device is seen by every later launch
 *  through	a pinned buffer that a queued copy fills is read by the next copy
 *  reuse	memory that was freed and allocated again belongs to its new owner
 *  host	a host function sees the data of the copies before it
 *  later	a synchronous copy lies behind a kernel that waits for what another
 *		thread does later: neither is held up by the other
 *  flag	a kernel spins until another thread's later copy sets its flag, with a
 *		module load, a compilation and a large copy in flight
 */
#include "call.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 8
#define STREAMS 3
#define WORDS 64
#define BATCH 100

static unsigned rounds = 4000, threads = 4, seed = 1;
static size_t large = 64u << 20;
static CUcontext ctx;
static _Atomic unsigned failures;

static unsigned next(unsigned *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Mostly nothing, sometimes a while: what a scheduler does. */
static void dawdle(unsigned *state)
{
	unsigned r = next(state) % 64, i;

	if (r == 0)
		usleep(next(state) % 60);
	else if (r < 8)
		for (i = 0; i < r * 50; i++)
			__asm__ volatile("pause");
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void fail(const char *what, unsigned round, unsigned got, unsigned want)
{
	if (atomic_fetch_add(&failures, 1) < 5)
		printf("# %s, round %u: %u, expected %u\n", what, round, got, want);
}

static void run_threads(void *(*fn)(void *), unsigned n)
{
	pthread_t t[MAX_THREADS];
	unsigned i;

	for (i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, fn, (void *)(uintptr_t)i))
			exit(1);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

/* ---- handoff ---- */

static struct {
	_Atomic unsigned turn;
	CUstream stream[STREAMS + 1]; /* the last is the legacy one */
	CUevent event[STREAMS + 1];
	CUdeviceptr x, y;
	unsigned *log, want[BATCH];
	unsigned model, last;
	CUfunction step;
} hand;

/* One operation; the buffer's words all hold the model's value. */
static void operate(unsigned n, unsigned *r)
{
	unsigned to = next(r) % (STREAMS + 1), count = WORDS, factor, add;
	CUstream s = hand.stream[to];

	if (to != hand.last) {
		/* Recorded by this thread, behind what another thread queued there. */
		MUST(cuEventRecord(hand.event[hand.last], hand.stream[hand.last]));
		MUST(cuStreamWaitEvent(s, hand.event[hand.last], 0));
		hand.last = to;
	}
	switch (next(r) % 5) {
	case 0:
		hand.model = next(r);
		MUST(cuMemsetD32Async(hand.x, hand.model, WORDS, s));
		break;
	case 1: {
		unsigned words[WORDS], i;

		hand.model = next(r);
		for (i = 0; i < WORDS; i++)
			words[i] = hand.model;
		MUST(cuMemcpyHtoDAsync(hand.x, words, sizeof(words), s));
		break;
	}
	case 2:
		MUST(cuMemcpyDtoDAsync(hand.y, hand.x, WORDS * 4, s));
		MUST(cuMemsetD32Async(hand.x, 0, WORDS, s));
		MUST(cuMemcpyDtoDAsync(hand.x, hand.y, WORDS * 4, s));
		break;
	default: {
		void *params[] = {&hand.x, &count, &factor, &add};

		factor = next(r) | 1, add = next(r);
		hand.model = hand.model * factor + add;
		MUST(cuLaunchKernel(hand.step, 1, 1, 1, WORDS, 1, 1, 0, s, params, NULL));
	}
	}
	MUST(cuMemcpyDtoHAsync(hand.log + n % BATCH, hand.x + (next(r) % WORDS) * 4, 4, s));
	hand.want[n % BATCH] = hand.model;
}

static void *hand_thread(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 77 + id, i, n;

	MUST(cuCtxSetCurrent(ctx));
	for (n = id; n < rounds; n += threads) {
		unsigned spins = 0;

		while (atomic_load_explicit(&hand.turn, memory_order_acquire) != n)
			if (++spins > 200)
				sched_yield();
		operate(n, &r);
		if (n % BATCH == BATCH - 1 || n == rounds - 1) {
			MUST(cuCtxSynchronize());
			for (i = 0; i <= n % BATCH; i++)
				if (hand.log[i] != hand.want[i])
					fail("handoff", n - n % BATCH + i, hand.log[i], hand.want[i]);
		}
		if (next(&r) % 8 == 0)
			dawdle(&r);
		atomic_store_explicit(&hand.turn, n + 1, memory_order_release);
	}
	return NULL;
}

static void handoff(void)
{
	unsigned i;

	hand.turn = 0;
	hand.step = call_function("step");
	hand.x = call_alloc(WORDS * 4);
	hand.y = call_alloc(WORDS * 4);
	hand.model = 5;
	MUST(cuMemsetD32(hand.x, 5, WORDS));
	MUST(cuMemAllocHost((void **)&hand.log, BATCH * 4));
	for (i = 0; i <= STREAMS; i++) {
		hand.stream[i] = NULL;
		if (i < STREAMS)
			MUST(cuStreamCreate(&hand.stream[i], CU_STREAM_NON_BLOCKING));
		MUST(cuEventCreate(&hand.event[i], CU_EVENT_DISABLE_TIMING));
	}
	MUST(cuCtxSynchronize());
	run_threads(hand_thread, threads);
}

/* ---- poll: completion and data ---- */

static void *poll_thread(void *arg)
{
	static const size_t sizes[] = {4, 4096, 65536, 65540, 300000, 1 << 20};
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 31 + id, n, *pinned, k;
	CUdeviceptr p;
	CUstream s;
	CUevent e;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemAllocHost((void **)&pinned, 1 << 20));
	MUST(cuMemAlloc(&p, 1 << 20));
	for (n = id; n < rounds; n += threads) {
		size_t size = sizes[next(&r) % (n % 8 ? 2 : COUNT(sizes))], words = size / 4;
		unsigned how = next(&r) % 4;

		pinned[0] = pinned[words - 1] = 0;
		MUST(cuMemsetD32Async(p, n + 1, words, s));
		MUST(cuMemcpyDtoHAsync(pinned, p, size, s));
		if (how < 2)
			MUST(cuEventRecord(e, s));
		switch (how) {
		case 0:
			while (cuEventQuery(e) == CUDA_ERROR_NOT_READY)
				;
			break;
		case 1: MUST(cuEventSynchronize(e)); break;
		case 2:
			while (cuStreamQuery(s) == CUDA_ERROR_NOT_READY)
				;
			break;
		default: MUST(cuStreamSynchronize(s));
		}
		for (k = 0; k < 2; k++)
			if (pinned[k ? words - 1 : 0] != n + 1) {
				fail(how < 2 ? "poll by event" : "poll by stream", n, pinned[k ? words - 1 : 0], n + 1);
				break;
			}
	}
	return NULL;
}

static void poll_done(void)
{
	run_threads(poll_thread, threads);
}

/* A program may look at pinned memory and call nothing. */
static void pinned_poll(void)
{
	volatile unsigned *pinned;
	unsigned n, total = rounds / 20 + 1;
	CUdeviceptr p = call_alloc(4096);
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocHost((void **)&pinned, 4096));
	for (n = 1; n <= total; n++) {
		uint64_t limit = now_us() + 10000000;

		MUST(cuMemsetD32Async(p, n, 1024, s));
		MUST(cuMemcpyDtoHAsync((void *)pinned, p, 4096, s));
		while (pinned[0] != n && now_us() < limit)
			;
		if (pinned[0] != n) {
			fail("pinned memory did not change", n, pinned[0], n);
			return;
		}
	}
}

/* ---- fence: synchronous copies ---- */

static void *fence_thread(void *arg)
{
	static const size_t sizes[] = {4, 4096, 65536, 70000, 400000};
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 17 + id, n, *host = malloc(400000), back[2];
	CUfunction words;
	CUdeviceptr p, q;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	words = call_function("words");
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc(&p, 400000));
	MUST(cuMemAlloc(&q, 400000));
	for (n = id; n < rounds / 4 + 1; n += threads) {
		size_t size = sizes[next(&r) % (n % 4 ? 2 : COUNT(sizes))];
		unsigned count = (unsigned)(size / 4), i;
		void *params[] = {&q, &p, &count};

		for (i = 0; i < count; i++)
			host[i] = n * 2 + 1;
		MUST(cuMemcpyHtoD(p, host, size));
		memset(host, 0, size);
		MUST(cuLaunchKernel(words, (count + 255) / 256, 1, 1, 256, 1, 1, 0, s, params, NULL));
		MUST(cuStreamSynchronize(s));
		MUST(cuMemcpyDtoH(&back[0], q, 4));
		MUST(cuMemcpyDtoH(&back[1], q + size - 4, 4));
		for (i = 0; i < 2; i++)
			if (back[i] != n * 2 + 1) {
				fail("launch after a synchronous copy", n, back[i], n * 2 + 1);
				break;
			}
	}
	free(host);
	return NULL;
}

static void fence(void)
{
	run_threads(fence_thread, threads);
}

/* ---- through: pinned memory between two queued copies ---- */

static void *through_thread(void *arg)
{
	static const size_t sizes[] = {4, 4096, 65536, 65540, 300000};
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 13 + id, n, *pinned, back[2];
	CUdeviceptr p, q;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocHost((void **)&pinned, 300000));
	MUST(cuMemAlloc(&p, 300000));
	MUST(cuMemAlloc(&q, 300000));
	for (n = id; n < rounds / 4 + 1; n += threads) {
		size_t size = sizes[next(&r) % (n % 4 ? 2 : COUNT(sizes))], words = size / 4;
		unsigned i;

		memset(pinned, 0xff, size);
		MUST(cuMemsetD32Async(p, n, words, s));
		MUST(cuMemcpyDtoHAsync(pinned, p, size, s));
		MUST(cuMemcpyHtoDAsync(q, pinned, size, s));
		if (next(&r) % 2)
			MUST(cuMemsetD32Async(p, ~n, words, s));
		MUST(cuStreamSynchronize(s));
		MUST(cuMemcpyDtoH(&back[0], q, 4));
		MUST(cuMemcpyDtoH(&back[1], q + size - 4, 4));
		for (i = 0; i < 2; i++)
			if (back[i] != n) {
				fail("through pinned memory", n, back[i], n);
				break;
			}
	}
	return NULL;
}

static void through(void)
{
	run_threads(through_thread, threads);
}

/* ---- reuse of freed memory ---- */

static void *reuse_thread(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 11 + id, n, back[2], words = 4096;
	CUfunction step;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	step = call_function("step");
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	for (n = id; n < rounds / 4 + 1; n += threads) {
		unsigned factor = 0, add = n, k;
		CUdeviceptr p;
		int ordered = next(&r) % 2;

		if (ordered)
			MUST(cuMemAllocAsync(&p, words * 4, s));
		else
			MUST(cuMemAlloc(&p, words * 4));
		MUST(cuMemsetD32Async(p, ~n, words, s));
		{
			void *params[] = {&p, &words, &factor, &add};

			MUST(call_launch(step, words, s, params));
		}
		if (next(&r) % 2) {
			MUST(cuMemcpyDtoHAsync(&back[0], p, 4, s));
			MUST(cuMemcpyDtoHAsync(&back[1], p + words * 4 - 4, 4, s));
			for (k = 0; k < 2; k++)
				if (back[k] != n) {
					fail("memory of somebody else", n, back[k], n);
					break;
				}
		}
		if (ordered)
			MUST(cuMemFreeAsync(p, s));
		else
			MUST(cuMemFree(p));
	}
	MUST(cuStreamSynchronize(s));
	return NULL;
}

static void reuse(void)
{
	run_threads(reuse_thread, threads);
}

/* ---- host functions ---- */

struct seen {
	unsigned *pinned, want;
	size_t words;
	_Atomic unsigned bad;
};

static void CUDA_CB look(void *data)
{
	struct seen *s = data;

	if (s->pinned[0] != s->want || s->pinned[s->words - 1] != s->want)
		atomic_fetch_add(&s->bad, 1);
}

static void *host_thread(void *arg)
{
	static const size_t sizes[] = {4, 4096, 65536, 65540, 300000};
	unsigned id = (unsigned)(uintptr_t)arg, r = seed * 7 + id, n;
	struct seen seen = {0};
	CUdeviceptr p;
	CUstream s, t;
	CUevent e;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemAllocHost((void **)&seen.pinned, 300000));
	MUST(cuMemAlloc(&p, 300000));
	for (n = id; n < rounds / 8 + 1; n += threads) {
		size_t size = sizes[next(&r) % COUNT(sizes)];
		int other = next(&r) % 2;

		seen.words = size / 4;
		seen.want = n + 1;
		seen.pinned[0] = seen.pinned[seen.words - 1] = 0;
		MUST(cuMemsetD32Async(p, n + 1, seen.words, s));
		MUST(cuMemcpyDtoHAsync(seen.pinned, p, size, s));
		if (other) {
			MUST(cuEventRecord(e, s));
			MUST(cuStreamWaitEvent(t, e, 0));
		}
		MUST(cuLaunchHostFunc(other ? t : s, look, &seen));
		MUST(cuStreamSynchronize(other ? t : s));
		if (atomic_exchange(&seen.bad, 0))
			fail("a host function ran before the data was there", n, 0, n + 1);
	}
	return NULL;
}

static void host(void)
{
	run_threads(host_thread, threads);
}

/* ---- later: synchronous work behind a kernel that waits for another thread ---- */

static struct {
	CUdeviceptr flag, to, from;
	unsigned how, round;
	_Atomic unsigned begun;
	unsigned *host;
} wait_for;

#define LATER_BYTES 300000

static void *later_copy(void *arg)
{
	static const size_t sizes[] = {4, 65536, LATER_BYTES};
	size_t n = sizes[wait_for.how % COUNT(sizes)], i;
	CUDA_MEMCPY2D box = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = wait_for.host, .srcPitch = 400,
			     .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = wait_for.to, .dstPitch = 400,
			     .WidthInBytes = 400, .Height = 10};

	MUST(cuCtxSetCurrent(ctx));
	for (i = 0; i < n / 4; i++)
		wait_for.host[i] = wait_for.round;
	atomic_store(&wait_for.begun, 1);
	switch (wait_for.how / COUNT(sizes)) {
	case 0: MUST(cuMemcpyHtoD(wait_for.to, wait_for.host, n)); break;
	case 1: MUST(cuMemsetD32(wait_for.to, wait_for.round, n / 4)); break;
	case 2:
		MUST(cuMemcpyDtoD(wait_for.from, wait_for.to, n));
		MUST(cuMemcpyHtoD(wait_for.to, wait_for.host, 4));
		break;
	default:
		MUST(cuMemcpy2D(&box));
	}
	return NULL;
}

static void *later_set(void *arg)
{
	unsigned one = wait_for.round;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	while (!atomic_load(&wait_for.begun))
		sched_yield();
	usleep(2000);
	MUST(cuMemcpyHtoDAsync(wait_for.flag, &one, 4, s));
	MUST(cuStreamSynchronize(s));
	MUST(cuStreamDestroy(s));
	return NULL;
}

static void later(void)
{
	unsigned n, total = rounds / 400 + 1, out[2];
	CUfunction spin = call_function("spin");
	CUstream s;

	wait_for.flag = call_alloc(8);
	wait_for.to = call_alloc(LATER_BYTES);
	wait_for.from = call_alloc(LATER_BYTES);
	wait_for.host = malloc(LATER_BYTES);
	MUST(cuStreamCreate(&s, CU_STREAM_DEFAULT)); /* the legacy stream waits for it */
	for (n = 0; n < total; n++) {
		CUdeviceptr o = wait_for.flag + 4;
		void *params[] = {&wait_for.flag, &o};
		pthread_t t[2];

		wait_for.round = n + 1;
		wait_for.how = n % 12;
		wait_for.begun = 0;
		MUST(cuMemsetD32(wait_for.flag, 0, 2));
		MUST(cuCtxSynchronize());
		MUST(cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, n % 2 ? s : NULL, params, NULL));
		if (pthread_create(&t[0], NULL, later_copy, NULL) || pthread_create(&t[1], NULL, later_set, NULL))
			exit(1);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		MUST(cuMemcpyDtoH(&out[0], o, 4));
		MUST(cuMemcpyDtoH(&out[1], wait_for.to, 4));
		if (out[0] != n + 1 || out[1] != n + 1)
			fail("later", n, out[0] != n + 1 ? out[0] : out[1], n + 1);
	}
	free(wait_for.host);
}

/* ---- flag ---- */

static struct {
	CUdeviceptr flag, big;
	unsigned char *pinned;
	_Atomic unsigned begun;
	unsigned round;
	uint64_t load_us, copy_us, launch_us;
} on;

/* The kernels again, with another name for the module so that nobody has it. */
static char *fresh_ptx(unsigned n)
{
	size_t size = strlen(call_ptx) + 100;
	char *text = malloc(size);
	const char *at = strstr(call_ptx, ".version");

	if (!text || !at)
		exit(1);
	snprintf(text, size, "// %u %u\n%s", seed, n, at);
	return text;
}

static void *flag_load(void *arg)
{
	char *text = fresh_ptx(on.round);
	uint64_t t = now_us();
	CUmodule m;
	CUfunction f;

	MUST(cuCtxSetCurrent(ctx));
	atomic_fetch_add(&on.begun, 1);
	MUST(cuModuleLoadData(&m, text));
	MUST(cuModuleGetFunction(&f, m, "matmul"));
	on.load_us = now_us() - t;
	free(text);
	return NULL;
}

static void *flag_copy(void *arg)
{
	uint64_t t = now_us();
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuMemcpyHtoDAsync(on.big, on.pinned, large, s));
	atomic_fetch_add(&on.begun, 1);
	MUST(cuStreamSynchronize(s));
	on.copy_us = now_us() - t;
	MUST(cuStreamDestroy(s));
	return NULL;
}

/* Launches of somebody who has nothing to do with all this. */
static void *flag_launch(void *arg)
{
	uint64_t t, worst = 0;
	CUfunction f;
	unsigned i;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	f = call_function("nothing");
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	while (atomic_load(&on.begun) < 2)
		sched_yield();
	for (i = 0; i < 20; i++) {
		t = now_us();
		MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, s, NULL, NULL));
		MUST(cuStreamSynchronize(s));
		t = now_us() - t;
		worst = t > worst ? t : worst;
	}
	on.launch_us = worst;
	MUST(cuStreamDestroy(s));
	return NULL;
}

static void *flag_set(void *arg)
{
	unsigned one = on.round + 1;
	CUstream s;

	MUST(cuCtxSetCurrent(ctx));
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	while (atomic_load(&on.begun) < 2)
		sched_yield();
	usleep(2000);
	MUST(cuMemcpyHtoDAsync(on.flag, &one, 4, s));
	MUST(cuStreamSynchronize(s));
	MUST(cuStreamDestroy(s));
	return NULL;
}

static void flag(void)
{
	unsigned n, total = rounds / 2000 + 1, out = 0;
	CUfunction spin = call_function("spin");
	CUstream s;

	if (total > 20)
		total = 20;
	on.flag = call_alloc(8);
	on.big = call_alloc(large);
	MUST(cuMemAllocHost((void **)&on.pinned, large));
	memset(on.pinned, 1, large);
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	for (n = 0; n < total; n++) {
		CUdeviceptr o = on.flag + 4;
		void *(*const fn[])(void *) = {flag_load, flag_copy, flag_launch, flag_set};
		void *params[] = {&on.flag, &o};
		pthread_t t[4];
		uint64_t begin = now_us();
		unsigned i;

		on.round = n;
		on.begun = 0;
		MUST(cuMemsetD32(on.flag, 0, 2));
		MUST(cuCtxSynchronize()); /* the other streams do not wait for the legacy one */
		MUST(cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
		for (i = 0; i < 4; i++)
			if (pthread_create(&t[i], NULL, fn[i], NULL))
				exit(1);
		MUST(cuStreamSynchronize(s));
		begin = now_us() - begin;
		for (i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		MUST(cuMemcpyDtoH(&out, on.flag + 4, 4));
		if (out != n + 1)
			fail("flag", n, out, n + 1);
		printf("# flag: spinning ended after %llu us; module load %llu us, copy of %zu MiB %llu us, "
		       "slowest launch and wait of another thread meanwhile %llu us\n",
		       (unsigned long long)begin, (unsigned long long)on.load_us, large >> 20,
		       (unsigned long long)on.copy_us, (unsigned long long)on.launch_us);
	}
	MUST(cuMemFree(on.big));
	MUST(cuMemFreeHost(on.pinned));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {{"handoff", handoff}, {"poll", poll_done}, {"pinned_poll", pinned_poll}, {"fence", fence},
		     {"through", through}, {"reuse", reuse}, {"host", host},
		     {"later", later}, {"flag", flag}};
	unsigned i, n = 0, bad = 0;
	int c, k;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "r:t:s:b:")) != -1)
		switch (c) {
		case 'r': rounds = (unsigned)atoi(optarg); break;
		case 't': threads = (unsigned)atoi(optarg); break;
		case 's': seed = (unsigned)atoi(optarg); break;
		case 'b': large = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	if (!threads || threads > MAX_THREADS || !rounds || large < 4096)
		return 2;
	ctx = call_begin();
	for (i = 0; i < COUNT(tests); i++) {
		int wanted = optind == argc;
		uint64_t t = now_us();

		for (k = optind; k < argc; k++)
			wanted |= !strcmp(argv[k], tests[i].name);
		if (!wanted)
			continue;
		failures = 0;
		tests[i].run();
		MUST(cuCtxSynchronize());
		if (failures)
			printf("# %s: %u failures\n", tests[i].name, failures);
		printf("%s %u - %s\n", failures ? "not ok" : "ok", ++n, tests[i].name);
		printf("# %s: %.2f s\n", tests[i].name, (double)(now_us() - t) / 1e6);
		bad += !!failures;
	}
	printf("1..%u\n", n);
	return bad ? 1 : 0;
}
