/* SPDX-License-Identifier: Apache-2.0 */
/* Two devices: contexts of each, copies between them in every way, peer access. */
#include "call.h"

#define N 30000

int main(void)
{
	CUcontext ctx[2], back;
	CUmodule m[2];
	CUdeviceptr p[2];
	CUdevice dev[2];
	CUfunction f[2];
	CUstream s;
	int can = -1, n = 0, i;
	unsigned count = N, value = 5;
	char name[2][64] = {"", ""};
	unsigned char uuid[2][16];

	MUST(cuInit(0));
	MUST(cuDeviceGetCount(&n));
	call_line("devices %d", n);
	if (n < 2)
		return 1;
	for (i = 0; i < 2; i++) {
		MUST(cuDeviceGet(&dev[i], i));
		MUST(cuDeviceGetName(name[i], sizeof(name[i]), dev[i]));
		MUST(cuDeviceGetUuid((CUuuid *)uuid[i], dev[i]));
		MUST(cuCtxCreate(&ctx[i], 0, dev[i]));
		MUST(cuModuleLoadData(&m[i], call_ptx));
		MUST(cuModuleGetFunction(&f[i], m[i], "iota"));
		p[i] = call_alloc(N * 4);
		MUST(cuMemsetD8(p[i], 0, N * 4));
		MUST(cuCtxSynchronize());
	}
	call_line("uuids differ: %d", memcmp(uuid[0], uuid[1], 16) != 0);
	SAY(cuDeviceCanAccessPeer(&can, dev[0], dev[1]));
	/* Direct access is a device's own affair; copies work without. */
	MUST(cuCtxSetCurrent(ctx[0]));
	{
		void *params[] = {&p[0], &count, &value};

		MUST(call_launch(f[0], N, NULL, params));
	}
	SAY(cuMemcpyPeer(p[1], ctx[1], p[0], ctx[0], N * 4));
	MUST(cuCtxSetCurrent(ctx[1]));
	call_line("peer: %016llx", (unsigned long long)call_sum_device(p[1], N * 4));
	MUST(cuMemsetD32(p[1], 9, N));
	MUST(cuCtxSynchronize());
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	SAY(cuMemcpyPeerAsync(p[0], ctx[0], p[1], ctx[1], N * 4, s));
	SAY(cuStreamSynchronize(s));
	MUST(cuCtxSetCurrent(ctx[0]));
	call_line("peer async: %016llx", (unsigned long long)call_sum_device(p[0], N * 4));
	value = 77;
	{
		void *params[] = {&p[0], &count, &value};

		MUST(call_launch(f[0], N, NULL, params));
	}
	/* By address alone. */
	SAY(cuMemcpyDtoD(p[1], p[0], N * 4));
	call_line("by address: %016llx", (unsigned long long)call_sum_device(p[1], N * 4));
	SAY(cuCtxGetCurrent(&back));
	call_line("same context: %d", back == ctx[0]);
	if (can) {
		MUST(cuCtxEnablePeerAccess(ctx[1], 0));
		if (cuCtxEnablePeerAccess(ctx[1], 0) != CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)
			return 1;
		MUST(cuCtxDisablePeerAccess(ctx[1]));
		if (cuCtxDisablePeerAccess(ctx[1]) != CUDA_ERROR_PEER_ACCESS_NOT_ENABLED)
			return 1;
	} else if (cuCtxEnablePeerAccess(ctx[1], 0) != CUDA_ERROR_PEER_ACCESS_UNSUPPORTED) {
		return 1;
	}
	SAY(cuCtxEnablePeerAccess(ctx[0], 0));
	for (i = 0; i < 2; i++)
		SAY(cuCtxDestroy(ctx[i]));
	call_line("end");
	return 0;
}
