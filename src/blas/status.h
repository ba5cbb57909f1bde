/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers and types of cuBLAS's ABI that this room answers to, stated from
 * the library's public documentation; ours alone, no header of NVIDIA is used.
 */
#ifndef MP_BLAS_STATUS_H
#define MP_BLAS_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mp_blas_status {
	BLAS_OK = 0,
	BLAS_NOT_INITIALIZED = 1,
	BLAS_ALLOC_FAILED = 3,
	BLAS_INVALID_VALUE = 7,
	BLAS_ARCH_MISMATCH = 8,
	BLAS_MAPPING_ERROR = 11,
	BLAS_EXECUTION_FAILED = 13,
	BLAS_INTERNAL_ERROR = 14,
	BLAS_NOT_SUPPORTED = 15,
	BLAS_LICENSE_ERROR = 16,
};

enum mp_blas_op { BLAS_OP_N, BLAS_OP_T, BLAS_OP_C };

/* cudaDataType, those that are carried. */
enum mp_blas_type { BLAS_F32 = 0, BLAS_F64 = 1, BLAS_F16 = 2, BLAS_BF16 = 14 };

/* cublasComputeType_t. */
enum mp_blas_compute {
	BLAS_COMPUTE_16F = 64,
	BLAS_COMPUTE_16F_PEDANTIC = 65,
	BLAS_COMPUTE_32F = 68,
	BLAS_COMPUTE_32F_PEDANTIC = 69,
	BLAS_COMPUTE_64F = 70,
	BLAS_COMPUTE_64F_PEDANTIC = 71,
	BLAS_COMPUTE_32F_FAST_16F = 74,
	BLAS_COMPUTE_32F_FAST_16BF = 75,
	BLAS_COMPUTE_32F_FAST_TF32 = 77,
};

enum { BLAS_POINTERS_HOST, BLAS_POINTERS_DEVICE };

/* What cublasGetVersion answers, by the major version that a library stands in for. */
#if BLAS_MAJOR == 12
#define BLAS_VERSION 120405
#else
#define BLAS_VERSION 130100
#endif

/* The entries of the two libraries have C linkage and no header of their own here. */
#define BLAS_API __attribute__((visibility("default")))

#endif
