/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What depends on the environment and on how a process ends: each case runs
 * this program again with its settings and looks at what comes out.
 */
#include "test-fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static const char ptx[] =
	".version 7.8\n.target sm_75\n.address_size 64\n"
	".visible .entry spin(.param .u64 p)\n"
	"{\n"
	"	.reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<2>;\n"
	"	ld.param.u64 %rd1, [p];\n"
	"AGAIN:\n"
	"	ld.volatile.global.u32 %r1, [%rd1];\n"
	"	setp.ne.u32 %p1, %r1, 1;\n"
	"	@%p1 bra AGAIN;\n"
	"	ret;\n"
	"}\n"
	".visible .entry one(.param .u64 p)\n"
	"{\n"
	"	.reg .b32 %r<3>; .reg .b64 %rd<2>;\n"
	"	ld.param.u64 %rd1, [p];\n"
	"	mov.u32 %r1, 1;\n"
	"	st.global.u32 [%rd1], %r1;\n"
	"	ret;\n"
	"}\n";

/* Runs the named part of this program with settings; its exit status, or -1. */
static int again(const char *part, const char *name, const char *value, double *ret_seconds)
{
	struct timespec a, b;
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;
	pid_t pid;

	if (n <= 0)
		return -1;
	self[n] = 0;
	clock_gettime(CLOCK_MONOTONIC, &a);
	pid = fork();
	if (!pid) {
		setenv("TEST_PART", part, 1);
		setenv("TEST_NAME", name, 1);
		setenv("TEST_VALUE", value, 1);
		/* A part ends in the middle of its work: what it holds then is no leak. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		if (!freopen("/dev/null", "w", stdout))
			_exit(99);
		execl(self, self, part, (char *)NULL);
		_exit(99);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (ret_seconds)
		*ret_seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* In the second run: the settings; false in the first. */
static bool part(void)
{
	if (!getenv("TEST_PART")) {
		MP_SKIP("a part of another test");
		return false;
	}
	setenv(getenv("TEST_NAME"), getenv("TEST_VALUE"), 1);
	return true;
}

MP_TEST(part_count)
{
	int n = 0;
	CUresult r;

	if (!part())
		return;
	r = cuInit(0);
	if (r == CUDA_ERROR_NO_DEVICE)
		exit(20);
	if (r || cuDeviceGetCount(&n))
		exit(90);
	exit(n);
}

MP_TEST(visible_devices)
{
	MP_CHECK_EQ(again("part_count", "CUDA_VISIBLE_DEVICES", "1", NULL), 1);
	MP_CHECK_EQ(again("part_count", "CUDA_VISIBLE_DEVICES", "1,0", NULL), 2);
	MP_CHECK_EQ(again("part_count", "CUDA_VISIBLE_DEVICES", "0,7,1", NULL), 1);
	MP_CHECK_EQ(again("part_count", "CUDA_VISIBLE_DEVICES", "", NULL), 20);
	MP_CHECK_EQ(again("part_count", "CUDA_VISIBLE_DEVICES", "GPU-", NULL), 20);
	MP_CHECK_EQ(again("part_count", "MOTORPOOL_SOFT_DEVICES", "5", NULL), 5);
	MP_CHECK_EQ(again("part_count", "MOTORPOOL_SOFT_DEVICES", "many", NULL), 1);
}

MP_TEST(part_memory)
{
	unsigned char v[64] = {0};
	unsigned i, sum = 0;
	CUdeviceptr d;

	if (!part())
		return;
	fixture_context();
	if (cuMemAlloc_v2(&d, 4 << 20) || cuMemcpyDtoH_v2(v, d + (3 << 20), 64))
		exit(90);
	for (i = 0; i < 64; i++)
		sum |= v[i];
	exit(sum ? 1 : 0);
}

MP_TEST(dirty_memory)
{
	MP_CHECK_EQ(again("part_memory", "MOTORPOOL_SOFT_DIRTY_MEMORY", "0", NULL), 0);
	MP_CHECK_EQ(again("part_memory", "MOTORPOOL_SOFT_DIRTY_MEMORY", "1", NULL), 1);
}

MP_TEST(part_null)
{
	unsigned v = 77, i;
	CUfunction f;
	CUmodule m;
	CUdeviceptr d;
	void *args[] = {&d};

	if (!part())
		return;
	fixture_context();
	if (cuModuleLoadData(&m, ptx) || cuModuleGetFunction(&f, m, "spin") ||
	    cuMemAlloc_v2(&d, 4096))
		exit(90);
	/* Would never end, and is refused all the same when it is wrong. */
	for (i = 0; i < 1000; i++)
		if (cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, args, NULL))
			exit(91);
	if (cuLaunchKernel(f, 0, 1, 1, 32, 1, 1, 0, NULL, args, NULL) != CUDA_ERROR_INVALID_VALUE)
		exit(92);
	if (cuMemsetD32_v2(d, 5, 4) || cuMemcpyDtoH_v2(&v, d, 4) || cuCtxSynchronize())
		exit(93);
	exit(v == 77 ? 0 : 94);
}

MP_TEST(null_mode)
{
	MP_CHECK_EQ(again("part_null", "MOTORPOOL_SOFT_MODE", "null", NULL), 0);
}

static void nap(void *unused)
{
	usleep(50000);
}

MP_TEST(part_exit)
{
	CUfunction f;
	CUmodule m;
	CUdeviceptr d;
	void *args[] = {&d};
	int i;

	if (!part())
		return;
	fixture_context();
	if (cuModuleLoadData(&m, ptx) || cuModuleGetFunction(&f, m, "one") || cuMemAlloc_v2(&d, 4096))
		exit(90);
	for (i = 0; i < 500; i++)
		cuLaunchKernel(f, 4, 1, 1, 64, 1, 1, 0, NULL, args, NULL);
	cuLaunchHostFunc(NULL, nap, NULL);
	if (!strcmp(getenv("TEST_VALUE"), "now"))
		_exit(7);
	exit(7);
}

MP_TEST(exit_with_work_queued)
{
	double seconds = 0;

	MP_CHECK_EQ(again("part_exit", "TEST_HOW", "exit", &seconds), 7);
	MP_CHECK(seconds < 9);
	MP_CHECK_EQ(again("part_exit", "TEST_HOW", "now", NULL), 7);
}

MP_TEST_MAIN()
