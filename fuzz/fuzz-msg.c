/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All decoders of messages and replies.  Input: u16 number, u8 reply, u8 0,
 * then the payload.  An unknown number picks a decoder by remainder, so that
 * random bytes reach all of them.
 *
 * Promises: a decoder reads nothing outside the payload (sanitizers watch);
 * what it takes has a size, encodes to it, and the encoding is taken and
 * encodes to the same bytes; a line of trace can be made of it.
 */
#include "fuzz.h"

#include <string.h>

#include "mp-fuzz.h"
#include "mp-trace.h"

static const struct mp_fuzz *pick(unsigned number, bool reply)
{
	for (size_t i = 0; i < mp_fuzz_count; i++)
		if (mp_fuzz_table[i].number == number && mp_fuzz_table[i].reply == reply)
			return &mp_fuzz_table[i];
	return &mp_fuzz_table[number % mp_fuzz_count];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mp_fuzz *z;
	uint8_t *in, *first, *second;
	size_t n1, n2;
	char line[200];

	if (size < 4 || size > 1 << 16)
		return 0;
	z = pick(data[0] | (unsigned)data[1] << 8, data[2] & 1);
	size -= 4;
	in = malloc(size ? size : 1); /* aligned, and of exactly this size */
	first = malloc(size ? size : 1);
	second = malloc(size ? size : 1);
	FUZZ_CHECK(in && first && second);
	memcpy(in, data + 4, size);
	if (!z->run(in, size, first, size, &n1)) {
		FUZZ_CHECK(n1 == size);
		FUZZ_CHECK(!z->run(first, n1, second, size, &n2));
		FUZZ_CHECK(n2 == n1 && !memcmp(first, second, n1));
		FUZZ_CHECK(!mp_trace_line(line, sizeof(line), z->number, z->reply, in, size));
		FUZZ_CHECK(strlen(line) < sizeof(line));
	}
	free(in);
	free(first);
	free(second);
	return 0;
}
