/* SPDX-License-Identifier: Apache-2.0 */
/* Memsets of every width, sync and async, flat and pitched, and their alignment rules. */
#include "call.h"

#define N 10000

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(N), q;
	size_t pitch;
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	SAY(cuMemsetD8(p, 0x12, N));
	call_line("%016llx", (unsigned long long)call_sum_device(p, N));
	SAY(cuMemsetD16(p + 2, 0x3456, 1001));
	call_line("%016llx", (unsigned long long)call_sum_device(p, N));
	SAY(cuMemsetD32(p + 4000, 0x789abcde, 77));
	call_line("%016llx", (unsigned long long)call_sum_device(p, N));
	SAY(cuMemsetD8Async(p + 1, 0xa5, 33, s));
	SAY(cuMemsetD16Async(p + 100, 0xb6c7, 50, s));
	SAY(cuMemsetD32Async(p + 1000, 0xd8e9fa0b, 50, s));
	SAY(cuStreamSynchronize(s));
	call_line("%016llx", (unsigned long long)call_sum_device(p, N));
	SAY(cuMemsetD16(p + 1, 1, 10));
	SAY(cuMemsetD32(p + 2, 1, 10));
	SAY(cuMemsetD32Async(p + 1, 1, 10, s));
	SAY(cuMemsetD8(p, 1, 0));
	MUST(cuMemAllocPitch(&q, &pitch, 300, 40, 4));
	SAY(cuMemsetD2D8(q, pitch, 0, pitch, 40));
	SAY(cuMemsetD2D8(q + 3, pitch, 0x11, 50, 7));
	SAY(cuMemsetD2D16(q + 10 * pitch, pitch, 0x2233, 60, 5));
	SAY(cuMemsetD2D32(q + 20 * pitch + 8, pitch, 0x44556677, 20, 9));
	SAY(cuCtxSynchronize()); /* s does not wait for the legacy stream */
	SAY(cuMemsetD2D8Async(q + 30 * pitch, pitch, 0x88, 1, 3, s));
	SAY(cuMemsetD2D32Async(q + 34 * pitch, pitch, 0x99, 5, 2, s));
	SAY(cuStreamSynchronize(s));
	{
		unsigned char rows[40 * 300];
		CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = q, .srcPitch = pitch,
				   .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = rows, .dstPitch = 300,
				   .WidthInBytes = 300, .Height = 40};

		MUST(cuMemcpy2D(&c));
		call_line("%016llx", (unsigned long long)call_sum(rows, sizeof(rows)));
	}
	return call_end(ctx);
}
