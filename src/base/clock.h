/* SPDX-License-Identifier: Apache-2.0 */
/* Time that only goes forward, and a cheap tick for measuring microseconds. */
#ifndef MP_BASE_CLOCK_H
#define MP_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

/* Nanoseconds since boot, counting suspend; never steps. */
static inline uint64_t mp_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The time-stamp counter: about 20 ns to read, no system call. Ticks, not nanoseconds. */
static inline uint64_t mp_tick(void)
{
	return __rdtsc();
}

#endif
