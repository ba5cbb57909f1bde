/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that lives through what processes live through; tests/life plays the
 * part of the world.  `life family` prints a transcript and is run both ways.
 *
 *	life family	fork, vfork and exec, exec over itself; ends in `life work`
 *	life work	starts afresh, prints a checksum
 *	life leave	exits with much work queued
 *	life stay	says "waiting" and blocks behind a kernel that never ends;
 *			reports what the wait and later calls return
 *	life busy	works until it is killed
 *	life long	works for about two seconds, checks, prints a checksum
 *	life memory	prints the free bytes of device 0
 */
#include "call.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N 20000

static CUdeviceptr p;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int work(void)
{
	CUcontext ctx = call_begin();
	unsigned k;

	p = call_alloc(N * 4);
	call_iota(p, N, 1, NULL);
	for (k = 0; k < 30; k++)
		call_step(p, N, 3, k, NULL);
	call_line("work: %016llx", (unsigned long long)call_sum_device(p, N * 4));
	return call_end(ctx);
}

static void ended(const char *what, pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		status = -2;
	call_line("%s: status %#x", what, status);
}

static int family(char **argv)
{
	char *const again[] = {argv[0], "work", NULL};
	CUcontext c = NULL;
	CUdeviceptr q;
	unsigned k;
	pid_t pid;
	int n = -1;

	call_begin();
	p = call_alloc(N * 4);
	call_iota(p, N, 1, NULL);
	for (k = 0; k < 20; k++)
		call_step(p, N, 3, k, NULL);
	/* A child of a process that has called cuInit has no driver, and ending does the parent no harm. */
	pid = fork();
	if (!pid) {
		SAY(cuMemAlloc(&q, 16));
		SAY(cuCtxSynchronize());
		SAY(cuInit(0));
		SAY(cuDeviceGetCount(&n));
		SAY(cuCtxGetCurrent(&c));
		exit(0);
	}
	ended("forked and left by exit", pid);
	pid = fork();
	if (!pid)
		_exit(3);
	ended("forked and left by _exit", pid);
	for (k = 0; k < 20; k++)
		call_step(p, N, 5, k, NULL);
	call_line("parent: %016llx", (unsigned long long)call_sum_device(p, N * 4));
	pid = fork();
	if (!pid) {
		execv("/proc/self/exe", again);
		_exit(9);
	}
	ended("fork and exec", pid);
	pid = vfork();
	if (!pid) {
		execv("/proc/self/exe", again);
		_exit(9);
	}
	ended("vfork and exec", pid);
	for (k = 0; k < 20; k++)
		call_step(p, N, 7, k, NULL);
	call_line("parent: %016llx", (unsigned long long)call_sum_device(p, N * 4));
	/* With work queued, this process becomes another program. */
	for (k = 0; k < 200; k++)
		call_step(p, N, 7, k, NULL);
	fflush(stdout);
	execv("/proc/self/exe", again);
	return 9;
}

static int leave(void)
{
	unsigned k;

	call_begin();
	p = call_alloc(N * 4);
	for (k = 0; k < 2000; k++)
		call_step(p, N, 3, k, NULL);
	call_line("leaving");
	return 0;
}

static int stay(void)
{
	CUfunction nothing;
	CUdeviceptr out;
	unsigned word = 0;
	uint64_t t;

	call_begin();
	nothing = call_function("nothing");
	p = call_alloc(8);
	out = p + 4;
	MUST(cuMemsetD32(p, 0, 2));
	{
		void *params[] = {&p, &out};

		MUST(cuLaunchKernel(call_function("spin"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	}
	call_line("waiting");
	SAY(cuCtxSynchronize());
	t = now_us();
	SAY(cuCtxSynchronize());
	SAY(cuMemAlloc(&out, 16));
	SAY(cuMemcpyDtoH(&word, p, 4));
	SAY(cuLaunchKernel(nothing, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	call_line("later calls are quick: %d", now_us() - t < 1000000);
	return 0;
}

static int busy(unsigned seconds)
{
	uint64_t end = now_us() + seconds * 1000000ull;
	unsigned k = 0, want = 1, got = 0;

	call_begin();
	p = call_alloc(N * 4);
	MUST(cuMemsetD32(p, 1, N));
	call_line("working");
	while (now_us() < end) {
		call_step(p, N, 3, k, NULL);
		want = want * 3 + k;
		if (++k % 64 == 0)
			MUST(cuCtxSynchronize());
	}
	MUST(cuMemcpyDtoH(&got, p + 4 * (N - 1), 4));
	call_line("right: %d", got == want);
	return got != want;
}

static int memory(void)
{
	size_t free_bytes = 0, total = 0;

	call_begin();
	MUST(cuMemGetInfo(&free_bytes, &total));
	call_line("%zu", free_bytes);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "family"))
		return family(argv);
	if (!strcmp(what, "work"))
		return work();
	if (!strcmp(what, "leave"))
		return leave();
	if (!strcmp(what, "stay"))
		return stay();
	if (!strcmp(what, "busy"))
		return busy(60);
	if (!strcmp(what, "long"))
		return busy(2);
	if (!strcmp(what, "memory"))
		return memory();
	return 2;
}
