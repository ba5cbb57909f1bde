/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blas: narrow stand-ins for libcublas and libcublasLt on soft devices.
 *
 * NVIDIA's libraries carry machine code for what programs ask of them most, and
 * a soft device runs PTX.  These two have the entries that frameworks need of
 * them, over one matrix multiplication of our own in PTX, launched through the
 * driver API: in the stream given, under capture, directly or through the pool.
 * Every other entry answers CUBLAS_STATUS_NOT_SUPPORTED and is named once in the log.
 *
 * They are for soft devices alone: src/blas/README.md says how a program gets them.
 */
#ifndef MP_BLAS_INSIDE_H
#define MP_BLAS_INSIDE_H

#include "abi/cuda.h"
#include "blas/status.h"

/* ---- The driver, as the program has loaded it ---- */

struct mp_blas_driver {
	CUresult (*library_load)(CUlibrary *, const void *, CUjit_option *, void **, unsigned int, CUlibraryOption *,
				 void **, unsigned int);
	CUresult (*library_kernel)(CUkernel *, CUlibrary, const char *);
	CUresult (*launch)(CUfunction, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int,
			   unsigned int, unsigned int, CUstream, void **, void **);
	CUresult (*context_current)(CUcontext *);
	CUresult (*to_host)(void *, CUdeviceptr, size_t, CUstream);
	CUresult (*memory_get)(CUdeviceptr *, size_t);
	CUresult (*memory_free)(CUdeviceptr);
	CUresult (*stream_wait)(CUstream);
};

/* NULL when there is no libcuda.so.1, or it lacks an entry. Any thread; does not start a device. */
const struct mp_blas_driver *mp_blas_driver(void);
enum mp_blas_status mp_blas_result(CUresult r);
const char *mp_blas_status_name(enum mp_blas_status status);
/* A float, double or half in host memory. */
double mp_blas_scalar(const void *p, int type);

/* ---- Matrix multiplication ---- */

enum mp_blas_activation { BLAS_ACT_NONE, BLAS_ACT_RELU, BLAS_ACT_GELU };

/* A matrix in device memory: strides in elements, so that transposed is no case of its own. */
struct mp_blas_matrix {
	uint64_t at; /* with `arrays`: device memory that holds one pointer for each of the batch */
	int64_t row, column, batch;
};

/* D = act(alpha A B + beta C + bias), or with `plus` alpha A + beta C; A is m x k, B k x n, C and D m x n. */
struct mp_blas_gemm {
	enum mp_blas_type in, out, acc; /* acc: BLAS_F32 or BLAS_F64 */
	int64_t m, n, k, batch;
	struct mp_blas_matrix a, b, c, d;
	bool arrays, plus;
	double alpha, beta;
	uint64_t alpha_at, beta_at; /* in device memory, of type acc; 0: the values above */
	uint64_t bias;		    /* of type out, one for each row of D; 0: none */
	int64_t bias_batch;	    /* elements */
	enum mp_blas_activation act;
	CUstream stream;
};

/* Launches, or says why not; nothing is waited for. */
enum mp_blas_status mp_blas_gemm(const struct mp_blas_gemm *g);

/* Whether in, out and acc are carried. */
bool mp_blas_carried(enum mp_blas_type in, enum mp_blas_type out, enum mp_blas_type acc);

/* The type in which a computation adds up, or -1. */
int mp_blas_accumulates(int compute);

/* ---- PTX ---- */

/* The text of the kernel `gemm` for these types; own, NULL without memory. */
char *mp_blas_ptx(enum mp_blas_type in, enum mp_blas_type out, enum mp_blas_type acc);

/* What the kernels take; they read it as one parameter. */
struct mp_blas_params {
	uint64_t a, b, c, d, bias;
	int64_t am, ak, az; /* bytes; with MP_BLAS_ARRAYS the last is 8 */
	int64_t bk, bn, bz;
	int64_t cm, cn, cz;
	int64_t dm, dn, dz;
	int64_t biasm, biasn, biasz;
	uint64_t alpha_at, beta_at;
	double alpha, beta;
	uint32_t m, n, k, flags;
};

enum {
	MP_BLAS_ARRAYS = 1,
	MP_BLAS_ADD = 2,  /* beta C is added */
	MP_BLAS_BIAS = 4,
	MP_BLAS_RELU = 8,
	MP_BLAS_GELU = 16,
	MP_BLAS_PLUS = 32, /* k is 0, and A is m x n: the element of A stands for the sum */
};

/* ---- What is not carried ---- */

/* NOT_SUPPORTED; the first time for each name, a line in the log. */
enum mp_blas_status mp_blas_refuse(const char *name, bool *said);

#endif
