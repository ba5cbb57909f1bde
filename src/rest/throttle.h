/* SPDX-License-Identifier: Apache-2.0 */
/* Slowing down those who show wrong tokens; private to the room. */
#ifndef MP_REST_THROTTLE_H
#define MP_REST_THROTTLE_H

#include <stdint.h>

/* One more wrong token from this address: how many ms its answer should wait. */
unsigned mp_throttle_wrong(const char *peer);
/* Answers that were held back so far. */
uint64_t mp_throttle_count(void);

#endif
