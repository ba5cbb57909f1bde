/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PTX text is a program's, not ours: indexing it, parsing and decoding every
 * kernel must end in a tree or a sentence.  Nothing is run.
 */
#include <stdlib.h>

#include "exec/exec.h"
#include "fuzz.h"

#define POOL (1u << 20)

static char *pool;
static size_t used;

static uint64_t get(void *arg, size_t size, size_t align)
{
	uint64_t at;

	(void)arg;
	if (align > 4096 || size > POOL)
		return 0;
	at = (used + align - 1) & ~(align - 1);
	if (at + size > POOL)
		return 0;
	used = at + size;
	return (uint64_t)(uintptr_t)pool + at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mp_exec_alloc alloc = {.get = get};
	struct mp_exec_module *m;
	struct mp_exec_kernel *k;
	char err[256];
	size_t i;

	if (!pool)
		pool = aligned_alloc(4096, POOL);
	used = 0;
	if (size > 65536 || mp_exec_module_load((const char *)data, size, &alloc, &m, err, sizeof(err)))
		return 0;
	for (i = 0; (k = mp_exec_module_kernel(m, i)); i++) {
		mp_exec_kernel_prepare(k, err, sizeof(err));
		mp_exec_kernel_info(k);
	}
	mp_exec_module_free(m);
	return 0;
}
