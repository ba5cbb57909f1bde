/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one kernel of kernels.ptx: `faulty KERNEL BLOCKS THREADS I [free|fill]`
 * on an array of 100 words, of which the first 64 are set; `free`: it is freed
 * before the launch; `fill`: all of it is set.  Prints the launch's code.
 */
#include "call.h"

#include "check-ptx.h"

int main(int argc, char **argv)
{
	CUdeviceptr p, between;
	CUcontext ctx;
	CUdevice dev;
	CUmodule m;
	CUfunction f;
	unsigned i;
	void *params[] = {&p, &i};

	if (argc < 5)
		return 2;
	MUST(cuInit(0));
	MUST(cuDeviceGet(&dev, 0));
	MUST(cuCtxCreate(&ctx, 0, dev));
	MUST(cuModuleLoadData(&m, check_ptx));
	MUST(cuModuleGetFunction(&f, m, argv[1]));
	i = (unsigned)strtol(argv[4], NULL, 10);
	MUST(cuMemAlloc(&between, 100000));
	MUST(cuMemAlloc(&p, 400));
	MUST(cuMemsetD32(p, 5, argc > 5 && !strcmp(argv[5], "fill") ? 100 : 64));
	MUST(cuMemFree(between));
	if (argc > 5 && !strcmp(argv[5], "free"))
		MUST(cuMemFree(p));
	MUST(cuLaunchKernel(f, (unsigned)atoi(argv[2]), 1, 1, (unsigned)atoi(argv[3]), 1, 1, 0, NULL, params, NULL));
	printf("%d\n", cuCtxSynchronize());
	return 0;
}
