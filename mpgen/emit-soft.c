/* SPDX-License-Identifier: Apache-2.0 */
/* soft-stub.c: all exports of the soft GPU as weak defaults, and the per-thread variants. */
#include "mpgen.h"

void mp_emit_soft_c(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "Exports of the soft GPU: defaults, and per-thread variants.");
	fprintf(f,
		"#include \"abi/cuda.h\"\n#include \"base/check.h\"\n#include \"mp-call.h\"\n\n"
		"/* Above 0: stream 0 means the per-thread stream in this thread. */\n"
		"extern __thread unsigned mp_default_stream;\n"
		"__thread unsigned mp_default_stream;\n\n"
		"/* Written in src/soft: counts, logs once, answers CUDA_ERROR_NOT_SUPPORTED. */\n"
		"CUresult mp_soft_refused(enum mp_call call);\n\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (it->type != MP_ITEM_CALL)
			continue;
		fprintf(f, "__attribute__((weak)) MP_EXPORT CUresult %s(", it->name);
		mp_emit_params(f, it->proto);
		fprintf(f, ")\n{\n\treturn mp_soft_refused(MP_CALL_%s);\n}\n\n", it->name);
		if (it->variant)
			mp_emit_variant(f, api, it, "");
	}
}
