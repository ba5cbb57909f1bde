/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpoold's configuration file.  Promises: nothing but plain keys with plain
 * values comes through, each key once; an error names a line.
 */
#include "fuzz.h"
#include "daemon/config.h"

#include <string.h>

static int set(void *arg, const char *key, const char *value, struct mp_fail *f)
{
	unsigned *n = arg;

	FUZZ_CHECK(strlen(key) < 64);
	FUZZ_CHECK(strlen(value) <= 4096);
	if (!strcmp(key, "bad"))
		return mp_fail_set(f, 78, "a bad key");
	FUZZ_CHECK(++*n <= 64);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mp_fail f = {0};
	unsigned n = 0;

	if (mp_config_parse("f", (const char *)data, size, set, &n, &f) < 0)
		FUZZ_CHECK(!strncmp(f.text, "f:", 2) && f.text[2] >= '1' && f.text[2] <= '9');
	return 0;
}
