/* SPDX-License-Identifier: Apache-2.0 */
/* Vector addition in several sizes, from pageable memory, on the legacy stream. */
#include "call.h"

static void add(CUfunction f, unsigned n)
{
	size_t bytes = n * sizeof(float);
	float *a = malloc(bytes), *b = malloc(bytes), *c = malloc(bytes);
	CUdeviceptr da = call_alloc(bytes), db = call_alloc(bytes), dc = call_alloc(bytes);
	void *params[] = {&da, &db, &dc, &n};
	unsigned i, wrong = 0;

	for (i = 0; i < n; i++) {
		a[i] = (float)i * 0.5f;
		b[i] = 1.0f / (float)(i + 1);
	}
	MUST(cuMemcpyHtoD(da, a, bytes));
	MUST(cuMemcpyHtoD(db, b, bytes));
	MUST(call_launch(f, n, NULL, params));
	MUST(cuMemcpyDtoH(c, dc, bytes));
	for (i = 0; i < n; i++)
		wrong += c[i] != a[i] + b[i];
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
	static const unsigned sizes[] = {1, 31, 32, 33, 255, 256, 257, 1000, 4096, 65537, 300000};
	CUcontext ctx = call_begin();
	CUfunction f = call_function("vadd");
	unsigned i;

	for (i = 0; i < COUNT(sizes); i++)
		add(f, sizes[i]);
	return call_end(ctx);
}
