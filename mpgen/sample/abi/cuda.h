/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small ABI for the generator's own tests: the shapes of parameters that
 * occur, once each.  Types are the real header's; mpgen reads the prototypes
 * of this file alone.
 */
#include "../../../src/abi/cuda.h"

CUresult cuInit(unsigned int Flags);
CUresult cuThingCreate(CUstream *phThing, unsigned int flags);
CUresult cuThingCreate_v2(CUstream *phThing, unsigned int flags, const char *name);
CUresult cuThingDestroy(CUstream hThing);
CUresult cuThingRun(CUfunction f, const CUgraphNode *dependencies, size_t numDependencies,
	const int *tags, const CUmemLocation *where, CUstream hStream);
CUresult cuThingRun_ptsz(CUfunction f, const CUgraphNode *dependencies, size_t numDependencies,
	const int *tags, const CUmemLocation *where, CUstream hStream);
CUresult cuThingAsk(size_t *size, float *ratio, CUstream hThing, CUdevice dev);
CUresult cuThingCopy(void *dst, CUdeviceptr src, size_t n);
CUresult cuThingCopy_ptds(void *dst, CUdeviceptr src, size_t n);
CUresult cuThingOld(int x);
