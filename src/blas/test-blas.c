/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stand-ins against sums on the host: a call program, run directly and
 * through the pool, that knows cuBLAS by dlopen alone, as CuPy does.
 *
 *	test-blas LIBCUBLAS LIBCUBLASLT
 */
#include "call.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>

static void *cublas, *cublaslt;

static void *entry(void *lib, const char *name)
{
	void *p = dlsym(lib, name);

	if (!p) {
		printf("no %s\n", name);
		exit(1);
	}
	return p;
}

#define BLAS(name) ((int (*)(void *, ...))entry(cublas, #name))
#define LT(name)   ((int (*)(void *, ...))entry(cublaslt, #name))

enum { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70 };

/* ---- Elements of all types ---- */

static unsigned bytes_of(int type)
{
	return type == F64 ? 8 : type == F32 ? 4 : 2;
}

/* Small numbers of few digits, which all types hold. */
static void put(void *at, size_t i, int type, double v)
{
	float f = (float)v;
	uint32_t bits;
	_Float16 h = (_Float16)v;

	memcpy(&bits, &f, 4);
	bits >>= 16;
	switch (type) {
	case F64: memcpy((double *)at + i, &v, 8); break;
	case F32: memcpy((float *)at + i, &f, 4); break;
	case F16: memcpy((uint16_t *)at + i, &h, 2); break;
	case BF16: memcpy((uint16_t *)at + i, &bits, 2); break;
	}
}

static double get(const void *at, size_t i, int type)
{
	uint32_t bits;
	float f;
	_Float16 h;

	switch (type) {
	case F64: return ((const double *)at)[i];
	case F32: return ((const float *)at)[i];
	case F16: memcpy(&h, (const uint16_t *)at + i, 2); return h;
	}
	bits = (uint32_t)((const uint16_t *)at)[i] << 16;
	memcpy(&f, &bits, 4);
	return f;
}

struct operand {
	void *host;
	CUdeviceptr device;
	size_t n;
	int type;
};

static struct operand operand(size_t n, int type, unsigned seed)
{
	struct operand o = {malloc((n + 1) * bytes_of(type)), call_alloc((n + 1) * bytes_of(type)), n, type};
	size_t i;

	for (i = 0; i < n; i++)
		put(o.host, i, type, (double)((i * 7 + seed * 13 + i / 5) % 9) / 4 - 1);
	if (n)
		MUST(cuMemcpyHtoD(o.device, o.host, n * bytes_of(type)));
	return o;
}

static void drop(struct operand *o)
{
	MUST(cuMemFree(o->device));
	free(o->host);
}

static unsigned wrong(const struct operand *o, const double *expected)
{
	const double close = o->type == F64 ? 1e-12 : o->type == F32 ? 1e-5 : o->type == F16 ? 2e-3 : 1e-2;
	void *got = malloc(o->n * bytes_of(o->type));
	unsigned n = 0;
	size_t i;

	MUST(cuMemcpyDtoH(got, o->device, o->n * bytes_of(o->type)));
	for (i = 0; i < o->n; i++)
		n += !(fabs(get(got, i, o->type) - expected[i]) <= close * (1 + fabs(expected[i])));
	printf("wrong=%u sum=%016llx\n", n, (unsigned long long)call_sum(got, o->n * bytes_of(o->type)));
	free(got);
	return n;
}

/* C = alpha op(A) op(B) + beta C of one of a batch, by columns. */
static void reference(double *c, const struct operand *a, const struct operand *b, int opa, int opb, int m, int n,
		      int k, int lda, int ldb, int ldc, size_t sa, size_t sb, size_t sc, double alpha, double beta,
		      int batch)
{
	int z, i, j, l;

	for (z = 0; z < batch; z++)
		for (j = 0; j < n; j++)
			for (i = 0; i < m; i++) {
				double sum = 0;

				for (l = 0; l < k; l++)
					sum += get(a->host, z * sa + (opa ? i * lda + l : l * lda + i), a->type) *
					       get(b->host, z * sb + (opb ? l * ldb + j : j * ldb + l), b->type);
				c[z * sc + (size_t)j * ldc + i] = alpha * sum + beta * c[z * sc + (size_t)j * ldc + i];
			}
}

static double *values(const struct operand *o)
{
	double *v = malloc(o->n * sizeof(*v));
	size_t i;

	for (i = 0; i < o->n; i++)
		v[i] = get(o->host, i, o->type);
	return v;
}

/* ---- libcublas ---- */

static unsigned gemm_ex(void *handle, int in, int out, int opa, int opb, int m, int n, int k, int batch, float beta)
{
	const int lda = (opa ? k : m) + 3, ldb = (opb ? n : k) + 1, ldc = m + 2;
	const long long sa = (long long)lda * (opa ? m : k), sb = (long long)ldb * (opb ? k : n), sc = (long long)ldc * n;
	struct operand a = operand((size_t)(sa * batch), in, 1), b = operand((size_t)(sb * batch), in, 2),
		       c = operand((size_t)(sc * batch), out, 3);
	const float af = 0.5f, bf = beta;
	const double ad = af, bd = bf;
	const bool wide = in == F64;
	double *want = values(&c);
	unsigned bad;
	int s;

	reference(want, &a, &b, opa, opb, m, n, k, lda, ldb, ldc, (size_t)sa, (size_t)sb, (size_t)sc, ad, bd, batch);
	s = ((int (*)(void *, int, int, int, int, int, const void *, CUdeviceptr, int, int, long long, CUdeviceptr, int,
		      int, long long, const void *, CUdeviceptr, int, int, long long, int, int, int))
		     entry(cublas, "cublasGemmStridedBatchedEx"))(
		handle, opa, opb, m, n, k, wide ? (const void *)&ad : &af, a.device, in, lda, sa, b.device, in, ldb, sb,
		wide ? (const void *)&bd : &bf, c.device, out, ldc, sc, batch, wide ? COMPUTE_64F : COMPUTE_32F, -1);
	printf("gemm in=%d out=%d op=%d%d %dx%dx%d batch=%d beta=%g status=%d ", in, out, opa, opb, m, n, k, batch,
	       beta, s);
	bad = wrong(&c, want) + (s != 0);
	free(want);
	drop(&a);
	drop(&b);
	drop(&c);
	return bad;
}

/* A stream that is captured, factors in device memory, matrices by pointers, vectors backwards, a dot product. */
static unsigned others(void *handle)
{
	struct operand a = operand(40 * 40, F32, 1), x = operand(40, F32, 2), y = operand(40, F32, 3),
		       factors = operand(2, F32, 4), pointers = operand(6, F64, 5);
	double *want = values(&y), sum = 0;
	const float alpha = 2, beta = 0.25;
	uint64_t at[6] = {a.device, a.device + 400, x.device, x.device + 40, y.device, y.device + 80};
	CUgraph graph;
	CUgraphExec exec;
	CUstream stream;
	float result = 0;
	unsigned bad = 0;
	int i, j;

	/* y backwards = 2 A' x + y/4 */
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	bad += BLAS(cublasSetStream_v2)(handle, stream) != 0;
	MUST(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
	bad += ((int (*)(void *, int, int, int, const float *, CUdeviceptr, int, CUdeviceptr, int, const float *, CUdeviceptr,
			 int))entry(cublas, "cublasSgemv_v2"))(handle, 1, 40, 40, &alpha, a.device, 40, x.device, 1, &beta,
							       y.device, -1) != 0;
	MUST(cuStreamEndCapture(stream, &graph));
	MUST(cuGraphInstantiate(&exec, graph, 0));
	MUST(cuGraphLaunch(exec, stream));
	MUST(cuStreamSynchronize(stream));
	for (i = 0; i < 40; i++) {
		double v = 0;

		for (j = 0; j < 40; j++)
			v += get(a.host, (size_t)i * 40 + j, F32) * get(x.host, j, F32);
		want[39 - i] = 2 * v + 0.25 * want[39 - i];
		sum += get(x.host, i, F32) * get(a.host, i, F32);
	}
	printf("gemv captured ");
	bad += wrong(&y, want);
	bad += ((int (*)(void *, int, CUdeviceptr, int, CUdeviceptr, int, float *))entry(cublas, "cublasSdot_v2"))(
		       handle, 40, x.device, 1, a.device, 1, &result) != 0;
	printf("dot %d\n", fabs(result - sum) < 1e-5);
	bad += !(fabs(result - sum) < 1e-5);
	/* Two products of 10x10 with 10x1, factors from device memory: 1.25 and -0.5 or so, whatever they hold. */
	MUST(cuMemcpyHtoD(y.device, y.host, 160));
	MUST(cuMemcpyHtoD(pointers.device, at, sizeof(at)));
	bad += ((int (*)(void *, int))entry(cublas, "cublasSetPointerMode_v2"))(handle, 1) != 0;
	bad += ((int (*)(void *, int, int, int, int, int, CUdeviceptr, CUdeviceptr, int, CUdeviceptr, int, CUdeviceptr,
			 CUdeviceptr, int, int))entry(cublas, "cublasSgemmBatched"))(
		       handle, 0, 0, 10, 1, 10, factors.device, pointers.device, 10, pointers.device + 16, 10,
		       factors.device + 4, pointers.device + 32, 10, 2) != 0;
	MUST(cuStreamSynchronize(stream));
	free(want);
	want = values(&y);
	for (j = 0; j < 2; j++) {
		struct operand sa = a, sx = x;

		sa.host = (char *)a.host + 400 * j;
		sx.host = (char *)x.host + 40 * j;
		reference(want + 20 * j, &sa, &sx, 0, 0, 10, 1, 10, 10, 10, 10, 0, 0, 0, get(factors.host, 0, F32),
			  get(factors.host, 1, F32), 1);
	}
	printf("pointers ");
	bad += wrong(&y, want);
	bad += ((int (*)(void *, int))entry(cublas, "cublasSetPointerMode_v2"))(handle, 0) != 0;
	bad += BLAS(cublasSetStream_v2)(handle, NULL) != 0;
	free(want);
	/* y = 2 A' + x / 4, as matrices of 8 x 5 */
	want = values(&y);
	bad += ((int (*)(void *, int, int, int, int, const float *, CUdeviceptr, int, const float *, CUdeviceptr, int,
			 CUdeviceptr, int))entry(cublas, "cublasSgeam"))(handle, 1, 0, 8, 5, &alpha, a.device, 40, &beta,
									 x.device, 8, y.device, 8) != 0;
	for (j = 0; j < 5; j++)
		for (i = 0; i < 8; i++)
			want[j * 8 + i] = 2 * get(a.host, (size_t)i * 40 + j, F32) + 0.25 * get(x.host, j * 8 + i, F32);
	printf("geam ");
	bad += wrong(&y, want);
	free(want);
	drop(&a), drop(&x), drop(&y), drop(&factors), drop(&pointers);
	return bad;
}

/* ---- libcublasLt: D = act(A' B + bias), half ---- */

static unsigned linear(void *handle, int epilogue, int type)
{
	enum { M = 37, N = 21, K = 50 };
	struct operand a = operand(K * M, type, 1), b = operand(K * N, type, 2), d = operand(M * N, type, 3),
		       bias = operand(M, type, 4);
	void *desc = NULL, *la = NULL, *lb = NULL, *ld = NULL, *preference = NULL;
	const float one = 1, zero = 0;
	uint64_t result[12];
	double *want = values(&d);
	int t = 1, found = 0, i, j;
	unsigned bad = 0;
	int (*layout)(void **, int, uint64_t, uint64_t, int64_t) = entry(cublaslt, "cublasLtMatrixLayoutCreate");
	int (*set)(void *, int, const void *, size_t) = entry(cublaslt, "cublasLtMatmulDescSetAttribute");

	bad += ((int (*)(void **, int, int))entry(cublaslt, "cublasLtMatmulDescCreate"))(&desc, COMPUTE_32F, F32) != 0;
	bad += set(desc, 3, &t, sizeof(t)) != 0;
	bad += set(desc, 7, &epilogue, sizeof(epilogue)) != 0;
	bad += set(desc, 8, &bias.device, 8) != 0;
	bad += layout(&la, type, K, M, K) != 0 || layout(&lb, type, K, N, K) != 0 || layout(&ld, type, M, N, M) != 0;
	bad += LT(cublasLtMatmulPreferenceCreate)(&preference) != 0;
	bad += ((int (*)(void *, void *, void *, void *, void *, void *, void *, int, void *, int *))entry(
		       cublaslt, "cublasLtMatmulAlgoGetHeuristic"))(handle, desc, la, lb, ld, ld, preference, 1, result,
								    &found) != 0;
	bad += found != 1;
	bad += ((int (*)(void *, void *, const float *, CUdeviceptr, void *, CUdeviceptr, void *, const float *, CUdeviceptr,
			 void *, CUdeviceptr, void *, void *, CUdeviceptr, size_t, CUstream))entry(cublaslt, "cublasLtMatmul"))(
		       handle, desc, &one, a.device, la, b.device, lb, &zero, d.device, ld, d.device, ld, result, 0, 0,
		       NULL) != 0;
	reference(want, &a, &b, 1, 0, M, N, K, K, K, M, 0, 0, 0, 1, 0, 1);
	for (j = 0; j < N; j++)
		for (i = 0; i < M; i++) {
			double *v = &want[j * M + i];

			if (epilogue & 4)
				*v += get(bias.host, i, type);
			if (epilogue & 2)
				*v = fmax(*v, 0);
			if (epilogue & 32)
				*v *= 0.5 * (1 + tanh(0.7978845608 * (*v + 0.044715 * *v * *v * *v)));
		}
	printf("linear type=%d epilogue=%d ", type, epilogue);
	bad += wrong(&d, want);
	LT(cublasLtMatmulDescDestroy)(desc);
	LT(cublasLtMatrixLayoutDestroy)(la), LT(cublasLtMatrixLayoutDestroy)(lb), LT(cublasLtMatrixLayoutDestroy)(ld);
	LT(cublasLtMatmulPreferenceDestroy)(preference);
	free(want);
	drop(&a), drop(&b), drop(&d), drop(&bias);
	return bad;
}

int main(int argc, char **argv)
{
	static const int types[][2] = {{F32, F32}, {F64, F64}, {F16, F16}, {F16, F32}, {BF16, BF16}, {BF16, F32}};
	void *handle = NULL, *lt = NULL;
	unsigned bad = 0, i;
	float f = 1;

	cublas = dlopen(argc > 1 ? argv[1] : "libcublas.so.13", RTLD_NOW);
	cublaslt = dlopen(argc > 2 ? argv[2] : "libcublasLt.so.13", RTLD_NOW);
	if (!cublas || !cublaslt) {
		printf("%s\n", dlerror());
		return 1;
	}
	call_begin();
	bad += BLAS(cublasCreate_v2)(&handle) != 0 || LT(cublasLtCreate)(&lt) != 0;
	for (i = 0; i < COUNT(types); i++) {
		unsigned ops;

		for (ops = 0; ops < 4; ops++)
			bad += gemm_ex(handle, types[i][0], types[i][1], ops & 1, ops >> 1, 45, 35, 17, 1, 0.25f);
		bad += gemm_ex(handle, types[i][0], types[i][1], 0, 1, 3, 70, 9, 4, 0);
	}
	bad += gemm_ex(handle, F32, F32, 0, 0, 5, 6, 0, 1, 0.5f); /* a sum of nothing */
	bad += others(handle);
	for (i = 0; i < COUNT(types); i++)
		if (types[i][0] == types[i][1] && types[i][0] != F64)
			bad += linear(lt, 4, types[i][0]) + linear(lt, 6, types[i][0]) + linear(lt, 36, types[i][0]) +
			       linear(lt, 1, types[i][0]);
	/* What is not carried says so. */
	printf("asum %d ", ((int (*)(void *, int, CUdeviceptr, int, float *))entry(cublas, "cublasSasum_v2"))(
				   handle, 1, 0, 1, &f));
	printf("epilogue with aux %d\n", ((int (*)(void *, int, const void *, size_t))entry(
						 cublaslt, "cublasLtMatmulDescSetAttribute"))(&f, 11, &handle, 8));
	bad += BLAS(cublasDestroy_v2)(handle) != 0 || LT(cublasLtDestroy)(lt) != 0;
	printf("%s\n", bad ? "wrong" : "all right");
	return bad != 0;
}
