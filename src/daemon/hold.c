/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program for tests of the pool: obeys one-letter commands on stdin, one
 * answer a line.  It knows nothing of Motorpool.
 *
 *	i	cuMemGetInfo and cuDeviceTotalMem: "free total total" in MiB
 *	a N	allocate N MiB: the CUresult
 *	w	write and read back a megabyte: the CUresult, or "differs"
 *	n	the number of devices
 *	f N B	allocate N MiB and fill them with the byte B: the CUresult
 *	v	how many bytes of all that was filled are not what they were, or -CUresult
 *	z N	allocate N MiB: how many bytes of them are not zero, or -CUresult
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

#define FILLS 64

static struct fill {
	CUdeviceptr at;
	size_t n;
	unsigned char byte;
} fills[FILLS];
static unsigned nfills;

/* Bytes that differ from `want`, in pieces of a MiB. */
static long long differ(CUdeviceptr p, size_t n, unsigned char want)
{
	static unsigned char piece[1 << 20];
	long long bad = 0;
	size_t at, i;
	CUresult r;

	for (at = 0; at < n; at += MIB) {
		r = CALL(cuMemcpyDtoH_v2)(piece, p + at, MIB);
		if (r)
			return -(long long)r;
		for (i = 0; i < MIB; i++)
			bad += piece[i] != want;
	}
	return bad;
}

static CUresult fill(const char *args)
{
	struct fill *f = &fills[nfills];
	char *end;
	CUresult r;

	if (nfills == FILLS)
		return CUDA_ERROR_INVALID_VALUE;
	f->n = strtoull(args, &end, 10) * MIB;
	f->byte = (unsigned char)strtoul(end, NULL, 10);
	r = CALL(cuMemAlloc_v2)(&f->at, f->n);
	r = r ? r : CALL(cuMemsetD8_v2)(f->at, f->byte, f->n);
	nfills += !r;
	return r;
}

static long long verify(void)
{
	long long bad = 0, one;
	unsigned i;

	for (i = 0; i < nfills; i++) {
		one = differ(fills[i].at, fills[i].n, fills[i].byte);
		if (one < 0)
			return one;
		bad += one;
	}
	return bad;
}

static long long fresh(const char *args)
{
	size_t n = strtoull(args, NULL, 10) * MIB;
	CUdeviceptr p;
	CUresult r = CALL(cuMemAlloc_v2)(&p, n);

	return r ? -(long long)r : differ(p, n, 0);
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
		else if (line[0] == 'f')
			printf("%d\n", (int)fill(line + 1));
		else if (line[0] == 'v')
			printf("%lld\n", verify());
		else if (line[0] == 'z')
			printf("%lld\n", fresh(line + 1));
		fflush(stdout);
	}
	return 0;
}
