/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of a matrix operation: what op->ref points at. Private to the room. */
#ifndef MP_EXEC_MATRIX_H
#define MP_EXEC_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

enum { MX_D, MX_A, MX_B, MX_C, MX_GROUPS };

struct matrix_ext {
	int m, n, k;
	uint8_t type[MX_GROUPS];   /* MP_PTX_T_* of an element */
	uint8_t n_regs[MX_GROUPS], at[MX_GROUPS]; /* registers; the first one's index in slots */
	bool col[2];		   /* wmma: column-major, of the matrix in memory */
	bool satfinite;
	uint32_t slots[40];
};

#endif
