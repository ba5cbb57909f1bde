/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MD2 (RFC 1319) and HMAC (RFC 2104) over it.
 *
 * Not for security, which MD2 no longer gives anyone: the CUDA runtime asks its
 * driver for such a value (integrity.c) and no library at hand still has MD2.
 */
#include <string.h>

#include "base/check.h"
#include "cuabi/internal.h"

/* RFC 1319, section 3.2: a permutation of 0..255 made from the digits of pi. */
static const uint8_t pi_subst[256] = {
	41, 46, 67, 201, 162, 216, 124, 1, 61, 54, 84, 161, 236, 240, 6, 19,
	98, 167, 5, 243, 192, 199, 115, 140, 152, 147, 43, 217, 188, 76, 130, 202,
	30, 155, 87, 60, 253, 212, 224, 22, 103, 66, 111, 24, 138, 23, 229, 18,
	190, 78, 196, 214, 218, 158, 222, 73, 160, 251, 245, 142, 187, 47, 238, 122,
	169, 104, 121, 145, 21, 178, 7, 63, 148, 194, 16, 137, 11, 34, 95, 33,
	128, 127, 93, 154, 90, 144, 50, 39, 53, 62, 204, 231, 191, 247, 151, 3,
	255, 25, 48, 179, 72, 165, 181, 209, 215, 94, 146, 42, 172, 86, 170, 198,
	79, 184, 56, 210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116, 4, 241,
	69, 157, 112, 89, 100, 113, 135, 32, 134, 91, 207, 101, 230, 45, 168, 2,
	27, 96, 37, 173, 174, 176, 185, 246, 28, 70, 97, 105, 52, 64, 126, 15,
	85, 71, 163, 35, 221, 81, 175, 58, 195, 92, 249, 206, 186, 197, 234, 38,
	44, 83, 13, 110, 133, 40, 132, 9, 211, 223, 205, 244, 65, 129, 77, 82,
	106, 220, 55, 200, 108, 193, 171, 250, 36, 225, 123, 8, 12, 189, 177, 74,
	120, 136, 149, 139, 227, 99, 232, 109, 233, 203, 213, 254, 59, 0, 29, 57,
	242, 239, 183, 14, 102, 88, 208, 228, 166, 119, 114, 248, 235, 117, 75, 10,
	49, 68, 80, 180, 143, 237, 31, 26, 219, 153, 141, 51, 159, 17, 131, 20,
};

#define BLOCK 16

void mp_md2_init(struct mp_md2 *m)
{
	memset(m, 0, sizeof(*m));
}

static void state_mix(struct mp_md2 *m, const uint8_t *block)
{
	uint8_t x[48];
	unsigned t = 0;
	int i, j;

	for (i = 0; i < BLOCK; i++) {
		x[i] = m->state[i];
		x[16 + i] = block[i];
		x[32 + i] = m->state[i] ^ block[i];
	}
	for (i = 0; i < 18; i++) {
		for (j = 0; j < 48; j++)
			t = x[j] ^= pi_subst[t];
		t = (t + (unsigned)i) & 255;
	}
	memcpy(m->state, x, BLOCK);
}

static void checksum_mix(struct mp_md2 *m, const uint8_t *block)
{
	uint8_t last = m->checksum[15];
	int i;

	for (i = 0; i < BLOCK; i++)
		last = m->checksum[i] ^= pi_subst[block[i] ^ last];
}

void mp_md2_add(struct mp_md2 *m, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		size_t part = BLOCK - m->fill;

		if (part > n)
			part = n;
		memcpy(m->block + m->fill, p, part);
		m->fill += part;
		p += part;
		n -= part;
		if (m->fill < BLOCK)
			return;
		checksum_mix(m, m->block);
		state_mix(m, m->block);
		m->fill = 0;
	}
}

void mp_md2_done(struct mp_md2 *m, uint8_t ret_digest[16])
{
	uint8_t pad[BLOCK];
	size_t n = BLOCK - m->fill;

	assert(m->fill < BLOCK);
	memset(pad, (int)n, sizeof(pad));
	mp_md2_add(m, pad, n);
	state_mix(m, m->checksum);
	memcpy(ret_digest, m->state, BLOCK);
}

static void hmac_key_add(struct mp_md2 *m, const uint8_t key[16], uint8_t with)
{
	uint8_t pad[BLOCK];
	int i;

	for (i = 0; i < BLOCK; i++)
		pad[i] = key[i] ^ with;
	mp_md2_init(m);
	mp_md2_add(m, pad, BLOCK);
}

void mp_md2_hmac_init(struct mp_md2 *m, const uint8_t key[16])
{
	hmac_key_add(m, key, 0x36);
}

void mp_md2_hmac_done(struct mp_md2 *m, const uint8_t key[16], uint8_t ret_digest[16])
{
	uint8_t inner[BLOCK];

	mp_md2_done(m, inner);
	hmac_key_add(m, key, 0x5c);
	mp_md2_add(m, inner, BLOCK);
	mp_md2_done(m, ret_digest);
}
