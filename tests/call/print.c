/* SPDX-License-Identifier: Apache-2.0 */
/* Device printf: it comes out of this process, before the wait returns, in order with what the host prints. */
#include "call.h"

int main(void)
{
	CUcontext ctx = call_begin();
	CUfunction f = call_function("hello");
	unsigned n = 42, i;
	double x = 3.14159;
	void *params[] = {&n, &x};
	CUstream s;

	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	for (i = 0; i < 3; i++, n++, x *= 2) {
		call_line("before %u", i);
		MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, i & 1 ? s : NULL, params, NULL));
		MUST(cuCtxSynchronize());
		call_line("after %u", i);
	}
	return call_end(ctx);
}
