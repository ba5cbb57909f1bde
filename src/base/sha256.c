/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by the text of FIPS 180-4; section numbers are its. */
#include "base/sha256.h"

#include <string.h>

#include "base/check.h"

/* 4.2.2: the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constant[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static uint32_t load_be(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

/*
 * 6.2.2.  One round, with the roles of the eight variables turned by the caller instead of
 * their values moved.
 */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                      \
	do {                                                                                  \
		uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +                  \
			      (g ^ (e & (f ^ g))) + round_constant[t] + w[(t) & 15];          \
		d += t1;                                                                      \
		h = t1 + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) | (c & (a | b))); \
	} while (0)

/* The schedule needs only its last sixteen words. */
static void schedule_advance(uint32_t w[16])
{
	int t;

	for (t = 0; t < 16; t++) {
		uint32_t a = w[(t + 14) & 15], b = w[(t + 1) & 15];

		w[t] += (rotr(a, 17) ^ rotr(a, 19) ^ a >> 10) + w[(t + 9) & 15] +
			(rotr(b, 7) ^ rotr(b, 18) ^ b >> 3);
	}
}

static void blocks_hash(uint32_t state[8], const uint8_t *p, size_t n)
{
	for (; n; n--, p += 64) {
		uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
		uint32_t e = state[4], f = state[5], g = state[6], h = state[7], w[16];
		int t;

		for (t = 0; t < 16; t++)
			w[t] = load_be(p + 4 * t);
		for (t = 0; t < 64; t += 8) {
			if (t && !(t & 15))
				schedule_advance(w);
			ROUND(a, b, c, d, e, f, g, h, t);
			ROUND(h, a, b, c, d, e, f, g, t + 1);
			ROUND(g, h, a, b, c, d, e, f, t + 2);
			ROUND(f, g, h, a, b, c, d, e, t + 3);
			ROUND(e, f, g, h, a, b, c, d, t + 4);
			ROUND(d, e, f, g, h, a, b, c, t + 5);
			ROUND(c, d, e, f, g, h, a, b, t + 6);
			ROUND(b, c, d, e, f, g, h, a, t + 7);
		}
		state[0] += a;
		state[1] += b;
		state[2] += c;
		state[3] += d;
		state[4] += e;
		state[5] += f;
		state[6] += g;
		state[7] += h;
	}
}

void mp_sha256_init(struct mp_sha256 *s)
{
	/* 5.3.3 */
	static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	memcpy(s->state, first, sizeof(first));
	s->length = 0;
}

void mp_sha256_add(struct mp_sha256 *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t fill = s->length % 64, part;

	s->length += n;
	if (fill) {
		part = 64 - fill < n ? 64 - fill : n;
		memcpy(s->block + fill, p, part);
		p += part;
		n -= part;
		if (fill + part < 64)
			return;
		blocks_hash(s->state, s->block, 1);
	}
	blocks_hash(s->state, p, n / 64);
	if (n % 64)
		memcpy(s->block, p + n / 64 * 64, n % 64);
}

void mp_sha256_done(struct mp_sha256 *s, uint8_t ret_digest[32])
{
	uint64_t bits = __builtin_bswap64(s->length * 8);
	uint8_t pad[72] = {0x80};
	size_t n = (s->length % 64 < 56 ? 56 : 120) - s->length % 64;
	int i;

	mp_sha256_add(s, pad, n);
	mp_sha256_add(s, &bits, sizeof(bits));
	assert(s->length % 64 == 0);
	for (i = 0; i < 8; i++) {
		uint32_t v = __builtin_bswap32(s->state[i]);

		memcpy(ret_digest + 4 * i, &v, sizeof(v));
	}
}

void mp_sha256(const void *data, size_t n, uint8_t ret_digest[32])
{
	struct mp_sha256 s;

	mp_sha256_init(&s);
	mp_sha256_add(&s, data, n);
	mp_sha256_done(&s, ret_digest);
}
