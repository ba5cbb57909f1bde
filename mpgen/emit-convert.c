/* SPDX-License-Identifier: Apache-2.0 */
/* mp-convert.h: between structs of the driver's ABI and the shapes that travel. */
#include "mpgen.h"

#include <string.h>

static const char *member(const struct mp_field *fi)
{
	return fi->at ? fi->at : fi->name;
}

static bool by_hand(const struct mp_field *fi)
{
	return fi->type.base == MP_BASE_ID || mp_type_tail(&fi->type);
}

static void emit_from(FILE *f, const struct mp_item *it)
{
	fprintf(f,
		"static inline void mp_from_%s(struct mp_%s *d, const %s *s)\n{\n"
		"",
		it->name, it->name, it->is);
	fprintf(f, "\tmemset(d, 0, sizeof(*d));\n");
	for (unsigned i = 0; i < it->count; i++) {
		const struct mp_field *fi = &it->field[i];
		const struct mp_type *t = &fi->type;

		if (by_hand(fi))
			continue;
		if (t->base == MP_BASE_STRUCT)
			fprintf(f,
				"\tmp_from_%s(&d->%s, &s->%s);\n"
				"",
				t->item->name, fi->name, member(fi));
		else if (t->fixed)
			fprintf(f,
				"\tmemcpy(d->%s, s->%s, sizeof(d->%s));\n"
				"",
				fi->name, member(fi), fi->name);
		else
			fprintf(f, "\td->%s = (%s)%ss->%s;\n", fi->name, mp_type_c(t),
				t->host ? "(uintptr_t)" : "", member(fi));
	}
	fprintf(f, "}\n");
}

static void emit_to(FILE *f, const struct mp_item *it)
{
	fprintf(f,
		"static inline void mp_to_%s(%s *d, const struct mp_%s *s)\n{\n"
		"",
		it->name, it->is, it->name);
	fprintf(f, "\tmemset(d, 0, sizeof(*d));\n");
	for (unsigned i = 0; i < it->count; i++) {
		const struct mp_field *fi = &it->field[i];
		const struct mp_type *t = &fi->type;

		if (by_hand(fi))
			continue;
		if (t->base == MP_BASE_STRUCT)
			fprintf(f,
				"\tmp_to_%s(&d->%s, &s->%s);\n"
				"",
				t->item->name, member(fi), fi->name);
		else if (t->fixed)
			fprintf(f,
				"\tmemcpy(d->%s, s->%s, sizeof(d->%s));\n"
				"",
				member(fi), fi->name, member(fi));
		else if (t->host)
			fprintf(f, "\td->%s = (void *)(uintptr_t)s->%s;\n", member(fi), fi->name);
		else
			fprintf(f, "\td->%s = s->%s;\n", member(fi), fi->name);
	}
	fprintf(f, "}\n\n");
}

static void emit(FILE *f, struct mp_item *it)
{
	if (it->mark == 5)
		return;
	for (unsigned i = 0; i < it->count; i++)
		if (it->field[i].type.base == MP_BASE_STRUCT)
			emit(f, it->field[i].type.item);
	it->mark = 5;
	if (!it->is)
		return;
	emit_from(f, it);
	emit_to(f, it);
}

void mp_emit_convert_h(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f,
		     "Structs of the ABI to shapes and back; handles and tails are the caller's.");
	fprintf(f, "#ifndef MP_CONVERT_H\n#define MP_CONVERT_H\n\n#include \"abi/cuda.h\"\n"
		   "#include \"mp-msg.h\"\n\n");
	for (size_t i = 0; i < api->count; i++)
		if (api->item[i]->type == MP_ITEM_STRUCT)
			emit(f, api->item[i]);
	for (size_t i = 0; i < api->count; i++)
		if (api->item[i]->mark == 5)
			api->item[i]->mark = 2;
	fprintf(f, "#endif\n");
}
