/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One LZ4 block (LZ4 block format description, 2022), decoding only.
 *
 * A block is a run of sequences: a token with two lengths, literals, and a match
 * that repeats earlier output; the last sequence has no match.  The output size is
 * known from the fatbin's entry, and every length is checked against both ends.
 */
#include <string.h>

#include "base/check.h"
#include "cuabi/internal.h"

/* A length nibble of 15 goes on in bytes of 255 and one below. false at the end of input. */
static bool length_extend(const uint8_t **in, const uint8_t *end, size_t *length)
{
	uint8_t b;

	do {
		if (*in == end)
			return false;
		b = *(*in)++;
		*length += b; /* cannot wrap: at most 255 for each byte of input */
	} while (b == 255);
	return true;
}

/* Source and destination overlap when the match is longer than its distance. */
static void match_copy(uint8_t *to, size_t distance, size_t n)
{
	const uint8_t *from = to - distance;

	if (distance >= n) {
		memcpy(to, from, n);
		return;
	}
	if (distance >= 8) {
		for (; n >= 8; n -= 8, to += 8, from += 8)
			memcpy(to, from, 8);
	}
	while (n--)
		*to++ = *from++;
}

bool mp_lz4_decode(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	const uint8_t *end = in + in_size;
	uint8_t *o = out, *o_end = out + out_size;

	while (in < end) {
		uint8_t token = *in++;
		size_t literals = token >> 4, match = token & 15, distance;

		if (literals == 15 && !length_extend(&in, end, &literals))
			return false;
		if (literals > (size_t)(end - in) || literals > (size_t)(o_end - o))
			return false;
		memcpy(o, in, literals);
		in += literals;
		o += literals;
		if (in == end)
			return o == o_end;
		if (end - in < 2)
			return false;
		distance = in[0] | (size_t)in[1] << 8;
		in += 2;
		if (match == 15 && !length_extend(&in, end, &match))
			return false;
		match += 4; /* the shortest match */
		if (!distance || distance > (size_t)(o - out) || match > (size_t)(o_end - o))
			return false;
		match_copy(o, distance, match);
		o += match;
		assert(o <= o_end);
	}
	return false; /* ended after a match: the last sequence is missing */
}
