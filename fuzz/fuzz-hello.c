/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hello that a data connection begins with.  Promises: only a hello of this
 * protocol passes, and what becomes of its name is printable.
 */
#include "fuzz.h"
#include "pool/hello.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mp_hello h = {0};
	char comm[sizeof(h.comm) + 1];
	size_t i;

	memcpy(&h, data, size < sizeof(h) ? size : sizeof(h));
	if (!mp_hello_refusal(&h)) {
		FUZZ_CHECK(!memcmp(h.magic, MP_HELLO_MAGIC, sizeof(h.magic)));
		FUZZ_CHECK(h.major == MP_PROTO_MAJOR && h.lane <= MP_LANE_BULK);
	}
	memcpy(comm, h.comm, sizeof(h.comm));
	comm[sizeof(h.comm)] = 0;
	mp_hello_clean(comm);
	for (i = 0; comm[i]; i++)
		FUZZ_CHECK((unsigned char)comm[i] >= 32 && (unsigned char)comm[i] < 127);
	return 0;
}
