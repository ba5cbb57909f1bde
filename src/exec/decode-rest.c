/* SPDX-License-Identifier: Apache-2.0 */
/* Half precision and matrices: refused until their handlers are there. */
#include "exec/decode.h"

void decode_half(struct decode *d)
{
	decode_refuse(d, "half precision is not carried yet");
}

void decode_matrix(struct decode *d)
{
	decode_refuse(d, "matrix operations are not carried yet");
}
