/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), for naming content; no library needed. */
#ifndef MP_BASE_SHA256_H
#define MP_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct mp_sha256 {
	uint32_t state[8];
	uint64_t length; /* bytes taken so far */
	uint8_t block[64];
};

void mp_sha256_init(struct mp_sha256 *s);
void mp_sha256_add(struct mp_sha256 *s, const void *data, size_t n);
void mp_sha256_done(struct mp_sha256 *s, uint8_t ret_digest[32]);
/* All three at once. */
void mp_sha256(const void *data, size_t n, uint8_t ret_digest[32]);

#endif
