/* SPDX-License-Identifier: Apache-2.0 */
/* mp-drv.[ch], mp-proc.c, exports.map: the exports as pointers, as a table, as a version script. */
#include "mpgen.h"

#include <stdlib.h>
#include <string.h>

void mp_emit_drv_h(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "A loaded driver library: one pointer for each export.");
	fprintf(f, "#ifndef MP_DRV_GENERATED_H\n#define MP_DRV_GENERATED_H\n\n"
		   "#include \"abi/cuda.h\"\n\n"
		   "struct mp_drv {\n\tvoid *lib; /* of dlopen */\n");
	for (size_t i = 0; i < api->protos; i++) {
		fprintf(f, "\tCUresult (*%s)(", api->proto[i].name);
		mp_emit_params(f, &api->proto[i]);
		fprintf(f, ");\n");
	}
	fprintf(f,
		"};\n\n#define MP_DRV_EXPORTS %zu\n\n"
		"/* Where the pointer of each export is. */\n"
		"struct mp_drv_slot {\n\tconst char *name;\n\tsize_t offset;\n};\n"
		"extern const struct mp_drv_slot mp_drv_slots[MP_DRV_EXPORTS];\n\n#endif\n",
		api->protos);
}

void mp_emit_drv_c(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "Where the pointer of each export is.");
	fprintf(f, "#include \"mp-drv.h\"\n\n"
		   "const struct mp_drv_slot mp_drv_slots[MP_DRV_EXPORTS] = {\n");
	for (size_t i = 0; i < api->protos; i++)
		fprintf(f, "\t{\"%s\", offsetof(struct mp_drv, %s)},\n", api->proto[i].name,
			api->proto[i].name);
	fprintf(f, "};\n");
}

struct row {
	const char *base, *name;
	unsigned version;
	char variant;
};

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int c = strcmp(x->base, y->base);

	if (c)
		return c;
	if (x->variant != y->variant)
		return x->variant < y->variant ? -1 : 1;
	return x->version < y->version ? -1 : x->version > y->version;
}

void mp_emit_proc_c(const struct mp_api *api, FILE *f)
{
	struct row *row = mp_gen_alloc((api->protos + 1) * sizeof(*row));
	size_t n = 0;

	for (size_t i = 0; i < api->count; i++) {
		const struct mp_item *it = api->item[i];

		if (it->type != MP_ITEM_CALL)
			continue;
		row[n++] = (struct row){it->base, it->name, it->since, 0};
		if (it->variant)
			row[n++] = (struct row){it->base, mp_variant_name(it), it->variant_since,
						it->variant};
	}
	qsort(row, n, sizeof(*row), compare);
	mp_emit_head(f, "The table behind cuGetProcAddress.");
	fprintf(f, "#include \"abi/cuda.h\"\n#include \"cuabi/cuabi.h\"\n\n"
		   "const struct mp_proc mp_proc_table[] = {\n");
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "\t{\"%s\", %u, ", row[i].base, row[i].version);
		if (row[i].variant)
			fprintf(f, "'%c'", row[i].variant);
		else
			fprintf(f, "0");
		fprintf(f, ", \"%s\", (void *)%s},\n", row[i].name, row[i].name);
	}
	fprintf(f, "};\n\nconst size_t mp_proc_count = %zu;\n", n);
}

void mp_emit_exports(const struct mp_api *api, FILE *f)
{
	fprintf(f, "{\nglobal:\n");
	for (size_t i = 0; i < api->protos; i++)
		fprintf(f, "\t%s;\n", api->proto[i].name);
	fprintf(f, "local:\n\t*;\n};\n");
}
