/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program for tests of the pool: obeys one-letter commands on stdin, one
 * answer a line.  It knows nothing of Motorpool.
 *
 *	i	cuMemGetInfo and cuDeviceTotalMem: "free total total" in MiB
 *	a N	allocate N MiB: the CUresult
 *	w	write and read back a megabyte: the CUresult, or "differs"
 *	n	the number of devices
 */
#include "abi/cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

#define CALL(name) ((__typeof__(&name))dlsym(driver, #name))

static void *driver;

static void info(CUdevice device)
{
	size_t left = 0, total = 0, whole = 0;
	CUresult r = CALL(cuMemGetInfo_v2)(&left, &total);

	CALL(cuDeviceTotalMem_v2)(&whole, device);
	if (r)
		printf("%d\n", (int)r);
	else
		printf("%zu %zu %zu\n", left / MIB, total / MIB, whole / MIB);
}

static void round_trip(void)
{
	static unsigned char from[1 << 20], to[1 << 20];
	CUdeviceptr p;
	CUresult r;
	size_t i;

	for (i = 0; i < MIB; i++)
		from[i] = (unsigned char)(i * 7 >> 3);
	r = CALL(cuMemAlloc_v2)(&p, MIB);
	r = r ? r : CALL(cuMemcpyHtoD_v2)(p, from, MIB);
	r = r ? r : CALL(cuMemcpyDtoH_v2)(to, p, MIB);
	if (!r && memcmp(from, to, MIB))
		puts("differs");
	else
		printf("%d\n", (int)r);
}

int main(void)
{
	char line[64];
	CUdeviceptr p;
	CUcontext ctx;
	CUdevice device;
	CUresult r;
	int n = 0;

	driver = dlopen("libcuda.so.1", RTLD_NOW);
	if (!driver) {
		printf("%s\n", dlerror());
		return 1;
	}
	r = CALL(cuInit)(0);
	r = r ? r : CALL(cuDeviceGetCount)(&n);
	r = r ? r : CALL(cuDeviceGet)(&device, 0);
	r = r ? r : CALL(cuCtxCreate_v2)(&ctx, 0, device);
	printf("%d\n", (int)r);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'i')
			info(device);
		else if (line[0] == 'a')
			printf("%d\n", (int)CALL(cuMemAlloc_v2)(&p, strtoull(line + 2, NULL, 10) * MIB));
		else if (line[0] == 'w')
			round_trip();
		else if (line[0] == 'n')
			printf("%d\n", n);
		fflush(stdout);
	}
	return 0;
}
