/* SPDX-License-Identifier: Apache-2.0 */
/* What libcublas exports beside what is carried: weak, so that a definition elsewhere takes its place. */
#include "blas/inside.h"

#define NAME(name)                                                                                 \
	enum mp_blas_status name(void);                                                            \
	__attribute__((weak, visibility("default"))) enum mp_blas_status name(void)                \
	{                                                                                          \
		static bool said;                                                                  \
		return mp_blas_refuse(#name, &said);                                               \
	}
#include "blas/cublas-names.h"
