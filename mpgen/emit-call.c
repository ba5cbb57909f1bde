/* SPDX-License-Identifier: Apache-2.0 */
/* mp-call.[ch]: numbers, kinds, and the table of calls and records. */
#include "mpgen.h"

#include <ctype.h>

static const char *prefix(const struct mp_item *it)
{
	return it->type == MP_ITEM_RECORD ? "MP_REC_" : "MP_CALL_";
}

void mp_emit_call_h(const struct mp_api *api, FILE *f)
{
	const char *kind;

	mp_emit_head(f, "Numbers of calls and records, kinds of handles.");
	fprintf(f, "#ifndef MP_CALL_H\n#define MP_CALL_H\n\n"
		   "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\nenum mp_call {\n");
	for (size_t i = 0; i < api->numbered; i++)
		fprintf(f, "\t%s%s = 0x%04x,\n", prefix(api->by_number[i]), api->by_number[i]->name,
			api->by_number[i]->number);
	fprintf(f, "};\n\n#define MP_CALL_NUMBER_MAX 0x%04x\n#define MP_CALL_ENTRIES %zu\n\n",
		api->numbered ? api->by_number[api->numbered - 1]->number : 0, api->numbered);
	fprintf(f, "enum mp_kind {\n");
	for (int i = 0; (kind = mp_kind_name(i)); i++)
		fprintf(f, "\tMP_KIND_%s,\n", kind);
	fprintf(f,
		"\tMP_KINDS\n};\n\n"
		"enum mp_class { MP_CLASS_HOME, MP_CLASS_CARRIED, MP_CLASS_REFUSED, MP_CLASS_RECORD };\n"
		"enum mp_order { MP_ORDER_NONE, MP_ORDER_PROCESS, MP_ORDER_CONTEXT, MP_ORDER_STREAM };\n\n"
		"struct mp_call_info {\n"
		"\tuint16_t number, since; /* since: the version cuGetProcAddress knows it by */\n"
		"\tuint8_t class, order;\n"
		"\tbool may_block, reply, ptds, ptsz;\n"
		"\tconst char *name, *base;\n"
		"};\n\n"
		"extern const struct mp_call_info mp_call_table[]; /* sorted by number */\n"
		"extern const size_t mp_call_count;\n"
		"extern const char *const mp_kind_names[MP_KINDS];\n\n"
		"/* NULL when the number is unknown. */\n"
		"const struct mp_call_info *mp_call_find(uint32_t number);\n\n#endif\n");
}

static void emit_row(const struct mp_item *it, FILE *f)
{
	static const char *const class[] = {"HOME", "CARRIED", "REFUSED", "RECORD"};
	static const char *const order[] = {"NONE", "PROCESS", "CONTEXT", "STREAM"};

	fprintf(f, "\t{0x%04x, %u, MP_CLASS_%s, MP_ORDER_%s, %d, %d, %d, %d, \"%s\", \"%s\"},\n",
		it->number, it->since, class[it->class], order[it->order], it->may_block, it->has_rep,
		it->variant == 'd', it->variant == 'z', it->name, it->base ? it->base : it->name);
}

void mp_emit_call_c(const struct mp_api *api, FILE *f)
{
	const char *kind;
	unsigned next = 0;

	mp_emit_head(f, "The table of calls and records.");
	fprintf(f, "#include \"mp-call.h\"\n\nconst struct mp_call_info mp_call_table[] = {\n");
	for (size_t i = 0; i < api->numbered; i++)
		emit_row(api->by_number[i], f);
	fprintf(f, "};\n\nconst size_t mp_call_count = sizeof(mp_call_table) / sizeof(mp_call_table[0]);\n\n"
		   "const char *const mp_kind_names[MP_KINDS] = {\n");
	for (int i = 0; (kind = mp_kind_name(i)); i++)
		fprintf(f, "\t\"%s\",\n", kind);
	fprintf(f, "};\n\n/* Row of the table + 1, by number. */\nstatic const uint16_t row[] = {\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (it->number == next)
			fprintf(f, " %zu,", i + 1);
		else
			fprintf(f, "\n\t[0x%04x] = %zu,", it->number, i + 1);
		next = it->number + 1;
	}
	fprintf(f, "\n};\n\nconst struct mp_call_info *mp_call_find(uint32_t number)\n{\n"
		   "\tif (number >= sizeof(row) / sizeof(row[0]) || !row[number])\n\t\treturn NULL;\n"
		   "\treturn &mp_call_table[row[number] - 1];\n}\n");
}
