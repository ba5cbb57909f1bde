/* SPDX-License-Identifier: Apache-2.0 */
/* Judging a hello frame (docs/PROTOCOL.md section 1). Pure, and fuzzed. */
#ifndef MP_POOL_HELLO_H
#define MP_POOL_HELLO_H

#include "wire/frame.h"

/* NULL when it may be looked at further, else one sentence. */
const char *mp_hello_refusal(const struct mp_hello *h);
/* Makes a program's name printable, in place. */
void mp_hello_clean(char *comm);

#endif
