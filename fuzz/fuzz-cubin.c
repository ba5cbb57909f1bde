/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read out of a cubin or a PTX text.
 *
 * Promises: every name is a string of the arena, every kernel has the parameters that
 * it counts, and they lie inside its block.
 */
#include "fuzz.h"

#include <string.h>

#include "cuabi/cuabi.h"

static void kernel_check(const struct mp_kernel *k)
{
	uint32_t i;

	FUZZ_CHECK(k->name && strlen(k->name) < 1 << 20);
	FUZZ_CHECK(!k->nparams || k->params);
	for (i = 0; i < k->nparams; i++)
		FUZZ_CHECK((uint64_t)k->params[i].offset + k->params[i].size <= k->param_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mp_contents c;
	struct mp_arena arena;
	size_t i;

	if (size > 1 << 20)
		return 0;
	mp_arena_init(&arena, 4 << 20);
	if (mp_contents_read(data, size, &arena, &c) == MP_IMAGE_OK) {
		for (i = 0; i < c.nkernels; i++)
			kernel_check(&c.kernels[i]);
		for (i = 0; i < c.nvariables; i++)
			FUZZ_CHECK(c.variables[i].name && strlen(c.variables[i].name) < 1 << 20);
	}
	mp_arena_fini(&arena);
	return 0;
}
