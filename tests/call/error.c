/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of kernels: each in a child that starts afresh, since they stick.  Prints the
 * codes of the wait, of later calls and of a new context.
 */
#include "call.h"

#include <sys/wait.h>
#include <unistd.h>

static void after(void)
{
	CUdeviceptr p;
	unsigned word;

	SAY(cuMemAlloc(&p, 16));
	SAY(cuMemcpyDtoH(&word, 0x1000, 4));
	SAY(cuStreamQuery(NULL));
	SAY(cuCtxSynchronize());
}

static void bad_address(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = 0x10;
	unsigned v = 1;
	void *params[] = {&p, &v};

	SAY(cuLaunchKernel(call_function("poke"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuCtxSynchronize());
	after();
	cuCtxDestroy(ctx);
}

/* Memory of this process is not memory of the device. */
static void host_address(void)
{
	static unsigned victim = 42;
	CUcontext ctx = call_begin();
	CUdeviceptr p = (uintptr_t)&victim;
	unsigned v = 1;
	void *params[] = {&p, &v};

	SAY(cuLaunchKernel(call_function("poke"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuCtxSynchronize());
	call_line("victim %u", victim);
	cuCtxDestroy(ctx);
}

static void misaligned(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(64) + 2;
	unsigned v = 1;
	void *params[] = {&p, &v};

	SAY(cuLaunchKernel(call_function("poke"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuCtxSynchronize());
	after();
	cuCtxDestroy(ctx);
}

static void trapped(void)
{
	CUcontext ctx = call_begin();
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	SAY(cuLaunchKernel(call_function("stop"), 1, 1, 1, 1, 1, 1, 0, s, NULL, NULL));
	SAY(cuStreamSynchronize(s));
	after();
	cuCtxDestroy(ctx);
}

/* Wrong launches are refused at once and leave the context as it was. */
static void refused(void)
{
	CUcontext ctx = call_begin();
	CUfunction f = call_function("nothing"), narrow = call_function("narrow");
	CUdeviceptr p = call_alloc(64);
	void *params[] = {&p};
	unsigned word = 0;

	SAY(cuLaunchKernel(f, 0, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	SAY(cuLaunchKernel(f, 1, 1, 1, 0, 1, 1, 0, NULL, NULL, NULL));
	SAY(cuLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, NULL, NULL, NULL));
	SAY(cuLaunchKernel(f, 1, 70000, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	SAY(cuLaunchKernel(f, 1, 1, 1, 1, 1, 65, 0, NULL, NULL, NULL));
	SAY(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 10 << 20, NULL, NULL, NULL));
	SAY(cuLaunchKernel(narrow, 1, 1, 1, 256, 1, 1, 0, NULL, params, NULL));
	SAY(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	SAY(cuCtxSynchronize());
	SAY(cuMemcpyDtoH(&word, p, 4));
	call_end(ctx);
}

static void memory(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(1000), q = 0;
	unsigned char bytes[2000];
	void *host = NULL;

	SAY(cuMemAlloc(&q, 0));
	SAY(cuMemAlloc(&q, 1ull << 50));
	SAY(cuMemFree(0));
	SAY(cuMemFree(p + 4));
	SAY(cuMemFree(0x1234));
	SAY(cuMemFreeHost(NULL));
	SAY(cuMemFreeHost(bytes));
	SAY(cuMemHostAlloc(&host, 0, 0));
	SAY(cuMemHostUnregister(bytes));
	SAY(cuMemFree(p));
	SAY(cuMemFree(p));
	SAY(cuEventRecord(NULL, NULL));
	SAY(cuEventSynchronize(NULL));
	SAY(cuGetErrorName((CUresult)12345, (const char **)&host));
	SAY(cuCtxSynchronize());
	call_end(ctx);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {{"bad address", bad_address}, {"host address", host_address}, {"misaligned", misaligned},
		     {"trap", trapped}, {"refused launches", refused}, {"memory", memory}};
	unsigned i;
	int status;

	for (i = 0; i < COUNT(cases); i++) {
		pid_t pid;

		call_line("-- %s", cases[i].name);
		pid = fork();
		if (pid < 0)
			return 1;
		if (!pid) {
			cases[i].run();
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			call_line("ended with status %#x", status);
	}
	return 0;
}
