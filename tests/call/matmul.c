/* SPDX-License-Identifier: Apache-2.0 */
/* Tiled matrix product in shared memory, against the same sum on the host. */
#include "call.h"

#include <math.h>

static void product(CUfunction f, unsigned n)
{
	size_t bytes = (size_t)n * n * sizeof(float);
	float *a = malloc(bytes), *b = malloc(bytes), *c = malloc(bytes);
	CUdeviceptr da = call_alloc(bytes), db = call_alloc(bytes), dc = call_alloc(bytes);
	void *params[] = {&da, &db, &dc, &n};
	unsigned x, y, k, wrong = 0;

	for (k = 0; k < n * n; k++) {
		a[k] = (float)((k * 7) % 13) - 6.0f;
		b[k] = (float)((k * 5) % 11) * 0.25f;
	}
	MUST(cuMemcpyHtoD(da, a, bytes));
	MUST(cuMemcpyHtoD(db, b, bytes));
	MUST(cuLaunchKernel(f, n / 16, n / 16, 1, 16, 16, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(c, dc, bytes));
	for (y = 0; y < n; y++)
		for (x = 0; x < n; x++) {
			float sum = 0;

			for (k = 0; k < n; k++)
				sum = fmaf(a[y * n + k], b[k * n + x], sum);
			wrong += sum != c[y * n + x];
		}
	call_line("n=%u wrong=%u sum=%016llx", n, wrong, (unsigned long long)call_sum(c, bytes));
	MUST(cuMemFree(da));
	MUST(cuMemFree(db));
	MUST(cuMemFree(dc));
	free(a);
	free(b);
	free(c);
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUfunction f = call_function("matmul");

	product(f, 16);
	product(f, 48);
	product(f, 96);
	return call_end(ctx);
}
