/* SPDX-License-Identifier: Apache-2.0 */
/* Events: states, re-recording, elapsed time's sign and errors, waiting on one that was never recorded. */
#include "call.h"

#define N 1024

int main(void)
{
	CUcontext ctx = call_begin();
	CUdeviceptr p = call_alloc(N * 4), q = call_alloc(4);
	CUevent a, b, quiet, blocking;
	CUstream s;
	float ms = -1;
	unsigned k;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	SAY(cuEventCreate(&a, CU_EVENT_DEFAULT));
	SAY(cuEventCreate(&b, CU_EVENT_DEFAULT));
	SAY(cuEventCreate(&quiet, CU_EVENT_DISABLE_TIMING));
	SAY(cuEventCreate(&blocking, CU_EVENT_BLOCKING_SYNC));
	SAY(cuEventQuery(a));
	SAY(cuEventSynchronize(a));
	SAY(cuStreamWaitEvent(s, a, 0));
	SAY(cuEventElapsedTime_v2(&ms, a, b));
	MUST(cuEventRecord(a, s));
	call_busy(q, 20000, 5, s);
	MUST(cuEventRecord(b, s));
	MUST(cuEventRecord(quiet, s));
	SAY(cuEventSynchronize(b));
	SAY(cuEventQuery(a));
	SAY(cuEventQuery(b));
	SAY(cuEventElapsedTime_v2(&ms, a, b));
	call_line("elapsed is not negative: %d", ms >= 0);
	SAY(cuEventElapsedTime_v2(&ms, b, a));
	call_line("backwards is not positive: %d", ms <= 0);
	SAY(cuEventSynchronize(quiet));
	SAY(cuEventElapsedTime_v2(&ms, a, quiet));
	/* A wait holds the recording that was there, not a later one. */
	call_iota(p, N, 0, s);
	for (k = 0; k < 40; k++) {
		MUST(cuEventRecord(blocking, s));
		call_step(p, N, 3, k, s);
		MUST(cuStreamWaitEvent(s, blocking, 0));
	}
	SAY(cuEventSynchronize(blocking));
	SAY(cuStreamSynchronize(s));
	call_line("sum=%016llx", (unsigned long long)call_sum_device(p, N * 4));
	/* An event that dies while its work is queued. */
	call_busy(q, 20000, 6, s);
	MUST(cuEventRecord(a, s));
	SAY(cuEventDestroy(a));
	SAY(cuStreamSynchronize(s));
	MUST(cuMemcpyDtoH(&k, q, 4));
	call_line("q=%u", k);
	SAY(cuEventRecord(b, NULL));
	SAY(cuEventSynchronize(b));
	SAY(cuEventDestroy(b));
	SAY(cuEventDestroy(quiet));
	SAY(cuEventDestroy(blocking));
	SAY(cuEventCreate(&a, 0x100));
	return call_end(ctx);
}
