/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants, sizes that cannot overflow, and other small words used everywhere. */
#ifndef MP_BASE_CHECK_H
#define MP_BASE_CHECK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MP_CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define MP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define MP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MP_EXPORT      __attribute__((visibility("default")))
#define MP_PRINTF(a, b) __attribute__((format(printf, a, b)))
/* Documents which lock guards a field or a function; read by people and by docs/LOCKS.md. */
#define MP_GUARDED_BY(lock)
#define MP_CLEANUP(fn) __attribute__((cleanup(fn)))

/* true and *out = a * b, or false when the product does not fit. */
static inline bool mp_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/* true and *out = a + b, or false when the sum does not fit. */
static inline bool mp_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

/* `n` rounded up to a multiple of `align`, a power of two; the caller knows it fits. */
static inline uint64_t mp_align_up(uint64_t n, uint64_t align)
{
	assert(align && !(align & (align - 1)));
	return (n + align - 1) & ~(align - 1);
}

#endif
