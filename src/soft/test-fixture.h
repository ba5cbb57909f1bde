/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the call-level tests of this room share: a private account directory,
 * settings made before cuInit, and a check that prints the code by name.
 */
#ifndef MP_SOFT_TEST_FIXTURE_H
#define MP_SOFT_TEST_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/cuda.h"
#include "base/test.h"
#include "cuabi/cuabi.h"

/* The call answers exactly this. */
#define MP_IS(call, want)                                                                          \
	do {                                                                                       \
		CUresult mp_got = (call);                                                          \
		if (mp_got != (want)) {                                                            \
			const char *mp_name = mp_error_name(mp_got);                               \
			printf("# %s:%d: %s = %d (%s), expected %s\n", __FILE__, __LINE__, #call,  \
			       (int)mp_got, mp_name ? mp_name : "?", #want);                       \
			mp_test_failures++;                                                        \
		}                                                                                  \
	} while (0)
#define MP_OK(call) MP_IS(call, CUDA_SUCCESS)

static char fixture_dir[] = "/tmp/motorpool-test-XXXXXX";

static void fixture_gone(void)
{
	DIR *d = opendir(fixture_dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(fixture_dir);
}

/* Before the first CUDA call of the process. */
__attribute__((constructor)) static void fixture_env(void)
{
	if (!mkdtemp(fixture_dir))
		abort();
	atexit(fixture_gone);
	setenv("MOTORPOOL_SOFT_DIR", fixture_dir, 1);
	setenv("MOTORPOOL_SOFT_DEVICES", "2", 1);
	setenv("MOTORPOOL_SOFT_MEMORY", "1GiB", 1);
	setenv("MOTORPOOL_SOFT_CONTEXT_MEMORY", "64MiB", 1);
	unsetenv("CUDA_VISIBLE_DEVICES");
	unsetenv("CUDA_LAUNCH_BLOCKING");
}

/* A context on device 0, current. */
static inline CUcontext fixture_context(void)
{
	CUcontext ctx = NULL;

	MP_OK(cuInit(0));
	MP_OK(cuDevicePrimaryCtxRetain(&ctx, 0));
	MP_OK(cuCtxSetCurrent(ctx));
	return ctx;
}

static inline void fixture_done(void)
{
	MP_OK(cuCtxSetCurrent(NULL));
	MP_OK(cuDevicePrimaryCtxRelease_v2(0));
}

#endif
