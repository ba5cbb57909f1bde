/* SPDX-License-Identifier: Apache-2.0 */
/* libcublas: the handle with its settings, and multiplications in all their spellings. */
#include "blas/inside.h"

#include "base/check.h"

#include <stdlib.h>

/* The program has the prototypes of these entries. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

struct cublasContext {
	CUstream stream;
	int pointers, math, atomics, sms;
	CUdeviceptr scratch; /* one scalar, for results that go to the host */
};

typedef struct cublasContext *cublasHandle_t;
typedef enum mp_blas_status status_t;

/* ---- The handle ---- */

BLAS_API status_t cublasCreate_v2(cublasHandle_t *handle)
{
	const struct mp_blas_driver *d = mp_blas_driver();
	CUcontext ctx;

	if (!handle)
		return BLAS_INVALID_VALUE;
	if (!d || d->context_current(&ctx))
		return BLAS_NOT_INITIALIZED;
	*handle = calloc(1, sizeof(**handle));
	return *handle ? BLAS_OK : BLAS_ALLOC_FAILED;
}

BLAS_API status_t cublasDestroy_v2(cublasHandle_t handle)
{
	if (!handle)
		return BLAS_NOT_INITIALIZED;
	if (handle->scratch)
		mp_blas_driver()->memory_free(handle->scratch);
	free(handle);
	return BLAS_OK;
}

#define SETTING(name, type, field, good)                                                           \
	BLAS_API status_t cublasSet##name(cublasHandle_t handle, type value)                       \
	{                                                                                          \
		if (!handle)                                                                       \
			return BLAS_NOT_INITIALIZED;                                               \
		if (!(good))                                                                       \
			return BLAS_INVALID_VALUE;                                                 \
		handle->field = value;                                                             \
		return BLAS_OK;                                                                    \
	}                                                                                          \
	BLAS_API status_t cublasGet##name(cublasHandle_t handle, type *value)                      \
	{                                                                                          \
		if (!handle)                                                                       \
			return BLAS_NOT_INITIALIZED;                                               \
		if (!value)                                                                        \
			return BLAS_INVALID_VALUE;                                                 \
		*value = handle->field;                                                            \
		return BLAS_OK;                                                                    \
	}

SETTING(Stream_v2, CUstream, stream, true)
SETTING(PointerMode_v2, int, pointers, value == BLAS_POINTERS_HOST || value == BLAS_POINTERS_DEVICE)
/* They choose among algorithms; here is one. */
SETTING(MathMode, int, math, value >= 0)
SETTING(AtomicsMode, int, atomics, value == 0 || value == 1)
SETTING(SmCountTarget, int, sms, value >= 0)

/* No workspace is needed. */
BLAS_API status_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t size)
{
	return handle ? BLAS_OK : BLAS_NOT_INITIALIZED;
}

BLAS_API status_t cublasGetVersion_v2(cublasHandle_t handle, int *version)
{
	if (!version)
		return BLAS_INVALID_VALUE;
	*version = BLAS_VERSION;
	return BLAS_OK;
}

BLAS_API status_t cublasGetProperty(int which, int *value)
{
	const int parts[] = {BLAS_VERSION / 10000, BLAS_VERSION / 100 % 100, BLAS_VERSION % 100};

	if (!value || which < 0 || which > 2)
		return BLAS_INVALID_VALUE;
	*value = parts[which];
	return BLAS_OK;
}

BLAS_API const char *cublasGetStatusName(status_t status)
{
	return mp_blas_status_name(status);
}

BLAS_API const char *cublasGetStatusString(status_t status)
{
	return mp_blas_status_name(status);
}

/* ---- Multiplication ---- */

/* alpha or beta: of half when the computation is in halfs, else of the type it adds up in. */
static status_t factor(cublasHandle_t h, int compute, const void *p, double *value, uint64_t *at)
{
	const bool half = compute == BLAS_COMPUTE_16F || compute == BLAS_COMPUTE_16F_PEDANTIC;

	if (!p)
		return BLAS_INVALID_VALUE;
	if (h->pointers == BLAS_POINTERS_DEVICE) {
		*at = (uintptr_t)p;
		return half ? BLAS_NOT_SUPPORTED : BLAS_OK;
	}
	*value = mp_blas_scalar(p, half ? BLAS_F16 : mp_blas_accumulates(compute));
	return BLAS_OK;
}

struct product {
	int opa, opb, compute;
	int64_t m, n, k, batch;
	const void *alpha, *beta, *a, *b;
	void *c;
	int ta, tb, tc;
	int64_t lda, ldb, ldc, sa, sb, sc;
	bool arrays;
};

/* Columns lie after one another. */
static bool place(struct mp_blas_matrix *x, const void *at, int op, int64_t rows, int64_t columns, int64_t ld,
		  int64_t batch)
{
	const bool turned = op != BLAS_OP_N;

	*x = (struct mp_blas_matrix){(uintptr_t)at, turned ? ld : 1, turned ? 1 : ld, batch};
	return op >= BLAS_OP_N && op <= BLAS_OP_C && ld >= (turned ? columns : rows) && ld >= 1;
}

static status_t multiply(cublasHandle_t h, const struct product *p)
{
	const int acc = mp_blas_accumulates(p->compute);
	struct mp_blas_gemm g = {
		.in = p->ta, .out = p->tc, .acc = acc, .m = p->m, .n = p->n, .k = p->k, .batch = p->batch,
		.arrays = p->arrays,
	};
	status_t s;

	if (!h)
		return BLAS_NOT_INITIALIZED;
	if (acc < 0 || p->ta != p->tb)
		return BLAS_NOT_SUPPORTED;
	if (p->m < 0 || p->n < 0 || p->k < 0 || p->batch < 0 ||
	    !place(&g.a, p->a, p->opa, p->m, p->k, p->lda, p->sa) ||
	    !place(&g.b, p->b, p->opb, p->k, p->n, p->ldb, p->sb) ||
	    !place(&g.c, p->c, BLAS_OP_N, p->m, p->n, p->ldc, p->sc))
		return BLAS_INVALID_VALUE;
	s = factor(h, p->compute, p->alpha, &g.alpha, &g.alpha_at);
	if (!s)
		s = factor(h, p->compute, p->beta, &g.beta, &g.beta_at);
	if (s)
		return s;
	g.d = g.c;
	g.stream = h->stream;
	return mp_blas_gemm(&g);
}

/* Each with 32-bit and 64-bit numbers. */
#define TWICE(name) name(, int) name(_64, int64_t)

#define PRODUCT(...) multiply(handle, &(struct product){opa, opb, __VA_ARGS__})

#define GEMM_EX(suffix, num)                                                                       \
	BLAS_API status_t cublasGemmEx##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, num k, \
		const void *alpha, const void *a, int ta, num lda, const void *b, int tb, num ldb,  \
		const void *beta, void *c, int tc, num ldc, int compute, int algo)                 \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, 1, alpha, beta, a, b, c, ta, tb, tc, lda, ldb, ldc, 0, 0, 0, false); \
	}                                                                                          \
	BLAS_API status_t cublasGemmStridedBatchedEx##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, \
		num k, const void *alpha, const void *a, int ta, num lda, long long sa, const void *b, int tb, \
		num ldb, long long sb, const void *beta, void *c, int tc, num ldc, long long sc, num batch, \
		int compute, int algo)                                                             \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, batch, alpha, beta, a, b, c, ta, tb, tc, lda, ldb, ldc, sa, sb, sc, \
			       false);                                                             \
	}                                                                                          \
	BLAS_API status_t cublasGemmBatchedEx##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, num k, \
		const void *alpha, const void *const *a, int ta, num lda, const void *const *b, int tb, num ldb, \
		const void *beta, void *const *c, int tc, num ldc, num batch, int compute, int algo) \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, batch, alpha, beta, a, b, (void *)c, ta, tb, tc, lda, ldb, ldc, 0, 0, \
			       0, true);                                                           \
	}                                                                                          \
	BLAS_API status_t cublasSgemmEx##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, num k, \
		const float *alpha, const void *a, int ta, num lda, const void *b, int tb, num ldb, \
		const float *beta, void *c, int tc, num ldc)                                       \
	{                                                                                          \
		return PRODUCT(BLAS_COMPUTE_32F, m, n, k, 1, alpha, beta, a, b, c, ta, tb, tc, lda, ldb, ldc, 0, 0, 0, \
			       false);                                                             \
	}

TWICE(GEMM_EX)

#define GEMM(letter, version, suffix, num, type, compute)                                          \
	BLAS_API status_t cublas##letter##gemm##version##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, \
		num k, const void *alpha, const void *a, num lda, const void *b, num ldb, const void *beta, \
		void *c, num ldc)                                                                  \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, 1, alpha, beta, a, b, c, type, type, type, lda, ldb, ldc, 0, 0, 0, \
			       false);                                                             \
	}                                                                                          \
	BLAS_API status_t cublas##letter##gemmStridedBatched##suffix(cublasHandle_t handle, int opa, int opb, num m, \
		num n, num k, const void *alpha, const void *a, num lda, long long sa, const void *b, num ldb, \
		long long sb, const void *beta, void *c, num ldc, long long sc, num batch)         \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, batch, alpha, beta, a, b, c, type, type, type, lda, ldb, ldc, sa, sb, \
			       sc, false);                                                         \
	}                                                                                          \
	BLAS_API status_t cublas##letter##gemmBatched##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, \
		num k, const void *alpha, const void *const *a, num lda, const void *const *b, num ldb, \
		const void *beta, void *const *c, num ldc, num batch)                              \
	{                                                                                          \
		return PRODUCT(compute, m, n, k, batch, alpha, beta, a, b, (void *)c, type, type, type, lda, ldb, ldc, \
			       0, 0, 0, true);                                                     \
	}

#define GEMM_S(suffix, num) GEMM(S, _v2, suffix, num, BLAS_F32, BLAS_COMPUTE_32F)
#define GEMM_D(suffix, num) GEMM(D, _v2, suffix, num, BLAS_F64, BLAS_COMPUTE_64F)
#define GEMM_H(suffix, num) GEMM(H, , suffix, num, BLAS_F16, BLAS_COMPUTE_16F)
TWICE(GEMM_S)
TWICE(GEMM_D)
TWICE(GEMM_H)

/* C = alpha op(A) + beta op(B) */
static status_t geam(cublasHandle_t h, int opa, int opb, int64_t m, int64_t n, const void *alpha, const void *a,
		     int64_t lda, const void *beta, const void *b, int64_t ldb, void *c, int64_t ldc, int type)
{
	const int compute = type == BLAS_F64 ? BLAS_COMPUTE_64F : BLAS_COMPUTE_32F;
	struct mp_blas_gemm g = {.in = type, .out = type, .acc = type, .m = m, .n = n, .batch = 1, .plus = true};
	status_t s;

	if (!h)
		return BLAS_NOT_INITIALIZED;
	if (m < 0 || n < 0 || !place(&g.a, a, opa, m, n, lda, 0) || !place(&g.c, b, opb, m, n, ldb, 0) ||
	    !place(&g.d, c, BLAS_OP_N, m, n, ldc, 0))
		return BLAS_INVALID_VALUE;
	s = factor(h, compute, alpha, &g.alpha, &g.alpha_at);
	if (!s)
		s = factor(h, compute, beta, &g.beta, &g.beta_at);
	/* A matrix whose factor is zero need not be there. */
	if (!s && !g.alpha_at && g.alpha == 0)
		g.plus = false;
	g.stream = h->stream;
	return s ? s : mp_blas_gemm(&g);
}

#define GEAM(letter, suffix, num, type)                                                            \
	BLAS_API status_t cublas##letter##geam##suffix(cublasHandle_t handle, int opa, int opb, num m, num n, \
		const void *alpha, const void *a, num lda, const void *beta, const void *b, num ldb, void *c, num ldc) \
	{                                                                                          \
		return geam(handle, opa, opb, m, n, alpha, a, lda, beta, b, ldb, c, ldc, type);    \
	}

#define GEAM_S(suffix, num) GEAM(S, suffix, num, BLAS_F32)
#define GEAM_D(suffix, num) GEAM(D, suffix, num, BLAS_F64)
TWICE(GEAM_S)
TWICE(GEAM_D)

/* ---- With vectors: matrices of one column or row ---- */

/* A vector's first element, which is the last in memory when it runs backwards. */
static uint64_t vector(const void *at, int64_t n, int64_t step, unsigned bytes)
{
	return (uintptr_t)at + (step < 0 ? (uint64_t)((1 - n) * step * (int64_t)bytes) : 0);
}

static status_t gemv(cublasHandle_t h, int op, int64_t m, int64_t n, const void *alpha, const void *a, int64_t lda,
		     const void *x, int64_t stepx, const void *beta, void *y, int64_t stepy, int type)
{
	const unsigned bytes = type == BLAS_F64 ? 8 : 4;
	const int compute = type == BLAS_F64 ? BLAS_COMPUTE_64F : BLAS_COMPUTE_32F;
	const bool turned = op != BLAS_OP_N;
	struct mp_blas_gemm g = {.in = type, .out = type, .acc = type, .m = turned ? n : m, .n = 1,
				 .k = turned ? m : n, .batch = 1};
	status_t s;

	if (!h)
		return BLAS_NOT_INITIALIZED;
	if (m < 0 || n < 0 || !stepx || !stepy || !place(&g.a, a, op, g.m, g.k, lda, 0))
		return BLAS_INVALID_VALUE;
	g.b = (struct mp_blas_matrix){vector(x, g.k, stepx, bytes), stepx, 0, 0};
	g.c = (struct mp_blas_matrix){vector(y, g.m, stepy, bytes), stepy, 0, 0};
	g.d = g.c;
	s = factor(h, compute, alpha, &g.alpha, &g.alpha_at);
	if (!s)
		s = factor(h, compute, beta, &g.beta, &g.beta_at);
	g.stream = h->stream;
	return s ? s : mp_blas_gemm(&g);
}

/* A += alpha x y' */
static status_t ger(cublasHandle_t h, int64_t m, int64_t n, const void *alpha, const void *x, int64_t stepx,
		    const void *y, int64_t stepy, void *a, int64_t lda, int type)
{
	const unsigned bytes = type == BLAS_F64 ? 8 : 4;
	struct mp_blas_gemm g = {.in = type, .out = type, .acc = type, .m = m, .n = n, .k = 1, .batch = 1, .beta = 1};
	status_t s;

	if (!h)
		return BLAS_NOT_INITIALIZED;
	if (m < 0 || n < 0 || !stepx || !stepy || !place(&g.c, a, BLAS_OP_N, m, n, lda, 0))
		return BLAS_INVALID_VALUE;
	g.a = (struct mp_blas_matrix){vector(x, m, stepx, bytes), stepx, 0, 0};
	g.b = (struct mp_blas_matrix){vector(y, n, stepy, bytes), 0, stepy, 0};
	g.d = g.c;
	s = factor(h, type == BLAS_F64 ? BLAS_COMPUTE_64F : BLAS_COMPUTE_32F, alpha, &g.alpha, &g.alpha_at);
	g.stream = h->stream;
	return s ? s : mp_blas_gemm(&g);
}

static status_t dot(cublasHandle_t h, int64_t n, const void *x, int64_t stepx, const void *y, int64_t stepy,
		    void *result, int in, int out, int acc)
{
	const struct mp_blas_driver *d = mp_blas_driver();
	const unsigned bytes = in == BLAS_F64 ? 8 : in == BLAS_F32 ? 4 : 2;
	struct mp_blas_gemm g = {.in = in, .out = out, .acc = acc, .m = 1, .n = 1, .k = n < 0 ? 0 : n, .batch = 1,
				 .alpha = 1};
	const bool host = h && h->pointers == BLAS_POINTERS_HOST;
	status_t s;

	if (!h || !d)
		return BLAS_NOT_INITIALIZED;
	if (!result)
		return BLAS_INVALID_VALUE;
	if (host && !h->scratch && d->memory_get(&h->scratch, 256))
		return BLAS_ALLOC_FAILED;
	g.a = (struct mp_blas_matrix){vector(x, g.k, stepx, bytes), 0, stepx, 0};
	g.b = (struct mp_blas_matrix){vector(y, g.k, stepy, bytes), stepy, 0, 0};
	g.d.at = host ? h->scratch : (uintptr_t)result;
	g.stream = h->stream;
	s = mp_blas_gemm(&g);
	if (!s && host)
		s = mp_blas_result(d->to_host(result, h->scratch, out == BLAS_F64 ? 8 : out == BLAS_F32 ? 4 : 2, h->stream));
	return s || !host ? s : mp_blas_result(d->stream_wait(h->stream));
}

#define VECTORS(letter, suffix, num, type)                                                         \
	BLAS_API status_t cublas##letter##gemv_v2##suffix(cublasHandle_t handle, int op, num m, num n, \
		const void *alpha, const void *a, num lda, const void *x, num stepx, const void *beta, void *y, \
		num stepy)                                                                         \
	{                                                                                          \
		return gemv(handle, op, m, n, alpha, a, lda, x, stepx, beta, y, stepy, type);      \
	}                                                                                          \
	BLAS_API status_t cublas##letter##ger_v2##suffix(cublasHandle_t handle, num m, num n, const void *alpha, \
		const void *x, num stepx, const void *y, num stepy, void *a, num lda)              \
	{                                                                                          \
		return ger(handle, m, n, alpha, x, stepx, y, stepy, a, lda, type);                 \
	}                                                                                          \
	BLAS_API status_t cublas##letter##dot_v2##suffix(cublasHandle_t handle, num n, const void *x, num stepx, \
		const void *y, num stepy, void *result)                                            \
	{                                                                                          \
		return dot(handle, n, x, stepx, y, stepy, result, type, type, type);               \
	}

#define VECTORS_S(suffix, num) VECTORS(S, suffix, num, BLAS_F32)
#define VECTORS_D(suffix, num) VECTORS(D, suffix, num, BLAS_F64)
TWICE(VECTORS_S)
TWICE(VECTORS_D)

#define DOT_EX(suffix, num)                                                                        \
	BLAS_API status_t cublasDotEx##suffix(cublasHandle_t handle, num n, const void *x, int tx, num stepx, \
		const void *y, int ty, num stepy, void *result, int tr, int te)                    \
	{                                                                                          \
		if (tx != ty || (te != BLAS_F32 && te != BLAS_F64))                                \
			return BLAS_NOT_SUPPORTED;                                                 \
		return dot(handle, n, x, stepx, y, stepy, result, tx, tr, te);                     \
	}

TWICE(DOT_EX)
