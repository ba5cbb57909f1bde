/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the call programs share: names as a program spells them, a transcript,
 * and the usual first steps.
 *
 * A call program uses the driver API alone and prints what it saw: codes,
 * values, checksums; never an address, a time or anything else that may differ
 * between two right runs.  tests/run-call compares the transcripts.
 */
#ifndef MP_TESTS_CALL_H
#define MP_TESTS_CALL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/cuda.h"

/* NVIDIA's header maps these names to the newest variant; so must a program's source. */
#define cuCtxCreate		cuCtxCreate_v2
#define cuCtxDestroy		cuCtxDestroy_v2
#define cuCtxPopCurrent		cuCtxPopCurrent_v2
#define cuCtxPushCurrent	cuCtxPushCurrent_v2
#define cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2
#define cuDevicePrimaryCtxReset	cuDevicePrimaryCtxReset_v2
#define cuDevicePrimaryCtxSetFlags cuDevicePrimaryCtxSetFlags_v2
#define cuDeviceTotalMem	cuDeviceTotalMem_v2
#define cuDeviceGetUuid		cuDeviceGetUuid_v2
#define cuEventDestroy		cuEventDestroy_v2
#define cuGraphAddKernelNode	cuGraphAddKernelNode_v2
#define cuGraphExecKernelNodeSetParams cuGraphExecKernelNodeSetParams_v2
#define cuGraphExecUpdate	cuGraphExecUpdate_v2
#define cuGraphInstantiate	cuGraphInstantiateWithFlags
#define cuGraphKernelNodeGetParams cuGraphKernelNodeGetParams_v2
#define cuGraphKernelNodeSetParams cuGraphKernelNodeSetParams_v2
#define cuMemAlloc		cuMemAlloc_v2
#define cuMemAllocHost		cuMemAllocHost_v2
#define cuMemAllocPitch		cuMemAllocPitch_v2
#define cuMemFree		cuMemFree_v2
#define cuMemGetAddressRange	cuMemGetAddressRange_v2
#define cuMemGetInfo		cuMemGetInfo_v2
#define cuMemHostGetDevicePointer cuMemHostGetDevicePointer_v2
#define cuMemHostRegister	cuMemHostRegister_v2
#define cuMemcpy2D		cuMemcpy2D_v2
#define cuMemcpy2DAsync		cuMemcpy2DAsync_v2
#define cuMemcpy2DUnaligned	cuMemcpy2DUnaligned_v2
#define cuMemcpy3D		cuMemcpy3D_v2
#define cuMemcpy3DAsync		cuMemcpy3DAsync_v2
#define cuMemcpyDtoD		cuMemcpyDtoD_v2
#define cuMemcpyDtoDAsync	cuMemcpyDtoDAsync_v2
#define cuMemcpyDtoH		cuMemcpyDtoH_v2
#define cuMemcpyDtoHAsync	cuMemcpyDtoHAsync_v2
#define cuMemcpyHtoD		cuMemcpyHtoD_v2
#define cuMemcpyHtoDAsync	cuMemcpyHtoDAsync_v2
#define cuMemsetD8		cuMemsetD8_v2
#define cuMemsetD16		cuMemsetD16_v2
#define cuMemsetD32		cuMemsetD32_v2
#define cuMemsetD2D8		cuMemsetD2D8_v2
#define cuMemsetD2D16		cuMemsetD2D16_v2
#define cuMemsetD2D32		cuMemsetD2D32_v2
#define cuModuleGetGlobal	cuModuleGetGlobal_v2
#define cuStreamBeginCapture	cuStreamBeginCapture_v2
#define cuStreamDestroy		cuStreamDestroy_v2
#define cuStreamGetCaptureInfo	cuStreamGetCaptureInfo_v2

/* The call must succeed, or the program ends with a sentence and status 1. */
#define MUST(call) call_must((call), #call, __LINE__)
/* The call's text and its code become a line of the transcript. */
#define SAY(call) call_say((call), #call)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void call_must(CUresult r, const char *what, int line);
CUresult call_say(CUresult r, const char *what);
/* A line of the transcript. */
void call_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* FNV-1a, 64 bits. */
uint64_t call_sum(const void *p, size_t n);
/* The same of device memory, by a synchronous copy of this context. */
uint64_t call_sum_device(CUdeviceptr p, size_t n);
/* Bytes that look random and are the same everywhere. */
void call_fill(void *p, size_t n, uint32_t seed);

/* cuInit, a context of device 0 that is current, kernels.ptx loaded. */
CUcontext call_begin(void);
extern CUmodule call_module;
extern const char *const call_ptx;
CUfunction call_function(const char *name);
/* Everything ends: a synchronisation whose code is part of the transcript, then the context. */
int call_end(CUcontext ctx);

/* A launch of n threads in blocks of 256. */
CUresult call_launch(CUfunction f, unsigned n, CUstream s, void **params);
CUdeviceptr call_alloc(size_t n);

/* The kernels of kernels.ptx that most programs use. */
void call_iota(CUdeviceptr p, unsigned n, unsigned value, CUstream s);
void call_step(CUdeviceptr p, unsigned n, unsigned factor, unsigned add, CUstream s);
void call_busy(CUdeviceptr p, unsigned turns, unsigned value, CUstream s);

#endif
