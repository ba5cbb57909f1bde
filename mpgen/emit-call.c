/* SPDX-License-Identifier: Apache-2.0 */
/* mp-call.[ch]: numbers, kinds, and the table of calls and records. */
#include "mpgen.h"

#include <string.h>

static const char *prefix(const struct mp_item *it)
{
	return it->type == MP_ITEM_RECORD ? "MP_REC_" : "MP_CALL_";
}

/* Of all messages: two builds with the same hash understand each other. */
static uint64_t api_hash(const struct mp_api *api)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < api->numbered; i++)
		if (mp_item_msg(api->by_number[i]))
			h = (h ^ api->by_number[i]->number ^ mp_item_hash(api->by_number[i])) *
			    0x100000001b3u;
	return h;
}

void mp_emit_call_h(const struct mp_api *api, FILE *f)
{
	const char *kind;

	mp_emit_head(f, "Numbers of calls and records, kinds of handles.");
	fprintf(f, "#ifndef MP_CALL_H\n#define MP_CALL_H\n\n"
		   "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n"
		   "enum mp_call {\n");
	for (size_t i = 0; i < api->numbered; i++)
		fprintf(f, "\t%s%s = 0x%04x,\n", prefix(api->by_number[i]), api->by_number[i]->name,
			api->by_number[i]->number);
	fprintf(f, "};\n\n#define MP_CALL_NUMBER_MAX 0x%04x\n#define MP_CALL_ENTRIES %zu\n\n",
		api->numbered ? api->by_number[api->numbered - 1]->number : 0, api->numbered);
	fprintf(f,
		"/* Of the shapes of all messages: differs when two builds cannot talk. */\n"
		"#define MP_API_HASH 0x%016llxull\n\n",
		(unsigned long long)api_hash(api));
	fprintf(f, "enum mp_kind {\n");
	for (int i = 0; (kind = mp_kind_name(i)); i++)
		fprintf(f, "\tMP_KIND_%s,\n", kind);
	fprintf(f,
		"\tMP_KINDS\n};\n\n"
		"enum mp_class { MP_CLASS_HOME, MP_CLASS_CARRIED, MP_CLASS_REFUSED, "
		"MP_CLASS_RECORD };\n"
		"enum mp_order { MP_ORDER_NONE, MP_ORDER_PROCESS, MP_ORDER_CONTEXT, "
		"MP_ORDER_STREAM };\n\n"
		"/* A handle in the fixed part of a message: u32 at that offset of the payload. "
		"*/\n"
		"enum { MP_ID_NEW = 1, MP_ID_GONE = 2 };\n"
		"struct mp_id_slot {\n\tuint16_t offset;\n\tuint8_t kind, flags;\n};\n\n"
		"struct mp_call_info {\n"
		"\tuint16_t number, since; /* since: the version cuGetProcAddress knows it by */\n"
		"\tuint8_t class, order;\n"
		"\tbool may_block, reply, ptds, ptsz;\n"
		"\tuint16_t fixed;\t\t /* bytes of the message's fixed part: no payload is shorter "
		"*/\n"
		"\tuint16_t stream_at;\t /* offset of the stream that orders it, or MP_NO_STREAM "
		"*/\n"
		"\tuint16_t ids;\t\t /* handles of the fixed part; elements of arrays are not "
		"among them */\n"
		"\tconst struct mp_id_slot *id;\n"
		"\tconst char *name, *base;\n"
		"};\n"
		"#define MP_NO_STREAM 0xffff\n\n"
		"extern const struct mp_call_info mp_call_table[]; /* sorted by number */\n"
		"extern const size_t mp_call_count;\n"
		"extern const char *const mp_kind_names[MP_KINDS];\n\n"
		"/* NULL when the number is unknown. */\n"
		"const struct mp_call_info *mp_call_find(uint32_t number);\n\n#endif\n");
}

/* Writes the handles of a shape, or only counts them; the offset of `stream` goes to *at. */
static unsigned emit_ids(FILE *f, const struct mp_shape *s, unsigned off, const char *stream,
			 unsigned *at)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;

		if (t->array)
			continue;
		if (t->base == MP_BASE_STRUCT)
			n += emit_ids(f, &t->item->msg, off + s->offset[i], NULL, at);
		if (t->base != MP_BASE_ID)
			continue;
		n++;
		if (stream && !strcmp(fi->name, stream))
			*at = off + s->offset[i];
		if (f)
			fprintf(f,
				"\t{%u, MP_KIND_%s, %d},\n"
				"",
				off + s->offset[i], mp_kind_name(t->kind),
				fi->is_new | fi->gone << 1);
	}
	return n;
}

static void emit_id_table(const struct mp_item *it, FILE *f)
{
	unsigned at;

	if (!emit_ids(NULL, &it->msg, 0, NULL, &at))
		return;
	fprintf(f, "static const struct mp_id_slot ids_%s[] = {\n", it->name);
	emit_ids(f, &it->msg, 0, NULL, &at);
	fprintf(f, "};\n");
}

static void emit_row(const struct mp_item *it, FILE *f)
{
	unsigned at = 0xffff, ids = emit_ids(NULL, &it->msg, 0, it->order_field, &at);

	static const char *const class[] = {"HOME", "CARRIED", "REFUSED", "RECORD"};
	static const char *const order[] = {"NONE", "PROCESS", "CONTEXT", "STREAM"};

	fprintf(f,
		"\t{0x%04x, %u, MP_CLASS_%s, MP_ORDER_%s, %d, %d, %d, %d, %u, %u, %u, %s%s,\n\t "
		"\"%s\", \"%s\"},\n",
		it->number, it->since, class[it->class], order[it->order], it -> may_block,
		it -> has_rep, it -> variant == 'd', it->variant == 'z', it->msg.size, at, ids,
		ids ? "ids_" : "NULL", ids ? it->name : "", it->name,
		it->base ? it->base : it->name);
}

void mp_emit_call_c(const struct mp_api *api, FILE *f)
{
	const char *kind;
	unsigned next = 0;

	mp_emit_head(f, "The table of calls and records.");
	fprintf(f, "#include \"mp-call.h\"\n\n");
	for (size_t i = 0; i < api->numbered; i++)
		emit_id_table(api->by_number[i], f);
	fprintf(f, "\nconst struct mp_call_info mp_call_table[] = {\n");
	for (size_t i = 0; i < api->numbered; i++)
		emit_row(api->by_number[i], f);
	fprintf(f,
		"};\n\n"
		"const size_t mp_call_count = sizeof(mp_call_table) / sizeof(mp_call_table[0]);\n\n"
		"const char *const mp_kind_names[MP_KINDS] = {\n");
	for (int i = 0; (kind = mp_kind_name(i)); i++)
		fprintf(f, "\t\"%s\",\n", kind);
	fprintf(f, "};\n\n/* Row of the table + 1, by number. */\n"
		   "static const uint16_t row[] = {\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (it->number == next)
			fprintf(f, " %zu,", i + 1);
		else
			fprintf(f, "\n\t[0x%04x] = %zu,", it->number, i + 1);
		next = it->number + 1;
	}
	fprintf(f, "\n};\n\nconst struct mp_call_info *mp_call_find(uint32_t number)\n{\n"
		   "\tif (number >= sizeof(row) / sizeof(row[0]) || !row[number])\n"
		   "\t\treturn NULL;\n"
		   "\treturn &mp_call_table[row[number] - 1];\n}\n");
}
