/* SPDX-License-Identifier: Apache-2.0 */
/* Fractions, sizes and durations as people write them: command line, API, configuration. Pure. */
#ifndef MP_BASE_WORDS_H
#define MP_BASE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

/* "0.5", "50%", "1": millionths, rounded up; false unless 0 < F <= 1. */
bool mp_fraction_parse(const char *text, uint32_t *ret_millionths);
/* "2048" (MiB), "2G", "1.5GiB", "300MiB", "1000000KiB", "17B". */
bool mp_size_parse(const char *text, uint64_t *ret_bytes);
/* "90" (seconds), "30m", "1h", "1d", "1h30m". */
bool mp_duration_parse(const char *text, int64_t *ret_seconds);

#endif
