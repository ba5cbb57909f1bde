/* SPDX-License-Identifier: Apache-2.0 */
/* Names of outcomes, and scalars that lie in host memory. */
#include "blas/inside.h"

#include <string.h>

const char *mp_blas_status_name(enum mp_blas_status status)
{
	switch (status) {
	case BLAS_OK: return "CUBLAS_STATUS_SUCCESS";
	case BLAS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
	case BLAS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
	case BLAS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
	case BLAS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
	case BLAS_MAPPING_ERROR: return "CUBLAS_STATUS_MAPPING_ERROR";
	case BLAS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
	case BLAS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
	case BLAS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
	case BLAS_LICENSE_ERROR: return "CUBLAS_STATUS_LICENSE_ERROR";
	}
	return "CUBLAS_STATUS_UNKNOWN";
}

static double half_value(uint16_t h)
{
	const double sign = h & 0x8000 ? -1 : 1;
	const unsigned e = h >> 10 & 31, f = h & 1023;

	if (e == 31)
		return f ? __builtin_nan("") : sign * __builtin_inf();
	return sign * (e ? __builtin_ldexp(1024 + f, (int)e - 25) : __builtin_ldexp(f, -24));
}

double mp_blas_scalar(const void *p, int type)
{
	float f;
	double d;
	uint16_t h;

	switch (type) {
	case BLAS_F64:
		memcpy(&d, p, sizeof(d));
		return d;
	case BLAS_F16:
		memcpy(&h, p, sizeof(h));
		return half_value(h);
	default:
		memcpy(&f, p, sizeof(f));
		return f;
	}
}
