/* SPDX-License-Identifier: Apache-2.0 */
/* The device's malloc: blocks of a space's heap. Private to the room. */
#ifndef MP_EXEC_HEAP_H
#define MP_EXEC_HEAP_H

#include "exec/exec.h"

/* An address in the heap, 16-byte aligned, or 0. */
uint64_t heap_get(const struct mp_exec_space *s, uint64_t size);
/* Addresses that the heap did not give are ignored. */
void heap_put(const struct mp_exec_space *s, uint64_t addr);

#endif
