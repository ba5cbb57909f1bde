/* SPDX-License-Identifier: Apache-2.0 */
/* Forty sweeps of a double-precision stencil, two buffers in turn, checked on the host. */
#include "call.h"

#define N 5000
#define SWEEPS 40

int main(void)
{
	CUcontext ctx = call_begin();
	CUfunction f = call_function("stencil");
	size_t bytes = N * sizeof(double);
	double *in = malloc(bytes), *out = malloc(bytes), *t;
	CUdeviceptr buffer[2] = {call_alloc(bytes), call_alloc(bytes)};
	unsigned i, s, n = N, wrong = 0;
	double *got = malloc(bytes);

	for (i = 0; i < N; i++)
		in[i] = (i % 97) * 0.125 + (double)i / N;
	MUST(cuMemcpyHtoD(buffer[0], in, bytes));
	for (s = 0; s < SWEEPS; s++) {
		void *params[] = {&buffer[s & 1], &buffer[~s & 1], &n};

		MUST(call_launch(f, n, NULL, params));
	}
	MUST(cuMemcpyDtoH(got, buffer[SWEEPS & 1], bytes));
	for (s = 0; s < SWEEPS; s++) {
		for (i = 0; i < N; i++)
			out[i] = i && i < N - 1 ? in[i] * 0.5 + (in[i - 1] + in[i + 1]) * 0.25 : in[i];
		t = in, in = out, out = t;
	}
	/* Halves and quarters of such numbers still round; fma rounds once, the host may twice. */
	for (i = 0; i < N; i++)
		wrong += !(got[i] - in[i] < 1e-12 && in[i] - got[i] < 1e-12);
	call_line("wrong=%u sum=%016llx", wrong, (unsigned long long)call_sum(got, bytes));
	free(in);
	free(out);
	free(got);
	return call_end(ctx);
}
