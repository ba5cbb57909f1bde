/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether to spin before sleeping, learnt from how it went before.
 *
 * Spinning pays when the answer comes within the spin; when it comes later, or
 * cannot come because whoever gives it needs this very processor, it only costs.
 * So after a spin in vain the next 1, 2, 4 ... 128 waits do not spin.  Hints, not
 * state: threads may share one without a lock.
 */
#ifndef MP_BASE_SPIN_H
#define MP_BASE_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mp_spin {
	_Atomic uint8_t vain; /* spins in vain, one after the other */
	_Atomic uint8_t skip; /* waits that do not spin */
};

#define MP_SPIN_VAIN_MOST 7

/* May this wait spin? */
static inline bool mp_spin_may(struct mp_spin *s)
{
	uint8_t skip = atomic_load_explicit(&s->skip, memory_order_relaxed);

	if (!skip)
		return true;
	atomic_store_explicit(&s->skip, (uint8_t)(skip - 1), memory_order_relaxed);
	return false;
}

/* How a spin ended: did what was waited for come? */
static inline void mp_spin_over(struct mp_spin *s, bool came)
{
	uint8_t vain = came ? 0 : atomic_load_explicit(&s->vain, memory_order_relaxed);

	if (!came && vain < MP_SPIN_VAIN_MOST)
		vain++;
	atomic_store_explicit(&s->vain, vain, memory_order_relaxed);
	atomic_store_explicit(&s->skip, vain ? (uint8_t)(1u << vain) : 0, memory_order_relaxed);
}

#endif
