/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices: refused until their handlers are there. */
#include "exec/decode.h"

void decode_matrix(struct decode *d)
{
	decode_refuse(d, "matrix operations are not carried yet");
}
