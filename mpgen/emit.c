/* SPDX-License-Identifier: Apache-2.0 */
/* What several products need. */
#include "mpgen.h"

#include <string.h>

bool mp_item_msg(const struct mp_item *it)
{
	return it->type != MP_ITEM_STRUCT && it->has_msg;
}

void mp_emit_head(FILE *f, const char *what)
{
	fprintf(f,
		"/* SPDX-License-Identifier: Apache-2.0 */\n"
		"/* %s  Written by mpgen from api/: do not edit. */\n",
		what);
}

const struct mp_field *mp_item_field(const struct mp_item *it, const char *name)
{
	for (unsigned i = 0; i < it->count; i++)
		if (!strcmp(it->field[i].name, name))
			return &it->field[i];
	return NULL;
}

struct mp_item *mp_item_find(const struct mp_api *api, const char *name)
{
	for (size_t i = 0; i < api->count; i++)
		if (api->item[i]->type == MP_ITEM_CALL && !strcmp(api->item[i]->name, name))
			return api->item[i];
	return NULL;
}

char *mp_variant_name(const struct mp_item *it)
{
	return mp_gen_printf("%s_%s", it->name, it->variant == 'd' ? "ptds" : "ptsz");
}

void mp_emit_params(FILE *f, const struct mp_proto *p)
{
	for (int i = 0; i < p->count; i++) {
		const char *t = p->param[i].type;

		fprintf(f, "%s%s%s%s", i ? ", " : "", t, t[strlen(t) - 1] == '*' ? "" : " ",
			p->param[i].name);
	}
	if (!p->count)
		fprintf(f, "void");
}

void mp_emit_args(FILE *f, const struct mp_proto *p)
{
	for (int i = 0; i < p->count; i++)
		fprintf(f, "%s%s", i ? ", " : "", p->param[i].name);
}

/*
 * A stream parameter of 0 becomes the per-thread stream; calls that have none
 * (or have it inside a structure) run with the thread's switch set.
 */
void mp_emit_variant(FILE *f, const struct mp_api *api, const struct mp_item *it,
		     const char *prefix)
{
	const char *variant = mp_variant_name(it);
	const struct mp_proto *p = mp_proto_find(api, variant, strlen(variant));
	int stream = -1;

	for (int i = 0; i < p->count; i++)
		if (!strcmp(p->param[i].type, "CUstream"))
			stream = stream < 0 ? i : stream;
	fprintf(f, "MP_EXPORT CUresult %s(", variant);
	mp_emit_params(f, p);
	fprintf(f, ")\n{\n");
	/* cuStreamCopyAttributes has two streams. */
	for (int i = 0; i < p->count; i++)
		if (!strcmp(p->param[i].type, "CUstream"))
			fprintf(f, "\tif (!%s)\n\t\t%s = CU_STREAM_PER_THREAD;\n", p->param[i].name,
				p->param[i].name);
	if (stream >= 0) {
		fprintf(f, "\treturn %s%s(", prefix, it->name);
		mp_emit_args(f, p);
		fprintf(f, ");\n}\n\n");
		return;
	}
	fprintf(f, "\tCUresult r;\n\n\tmp_default_stream++;\n\tr = %s%s(", prefix, it->name);
	mp_emit_args(f, p);
	fprintf(f, ");\n\tmp_default_stream--;\n\treturn r;\n}\n\n");
}

char *mp_ctype_target(const char *ctype)
{
	size_t n = strlen(ctype);

	if (!strncmp(ctype, "const ", 6)) {
		ctype += 6;
		n -= 6;
	}
	while (n && ctype[n - 1] != '*')
		n--;
	if (n)
		n--;
	while (n && ctype[n - 1] == ' ')
		n--;
	return mp_gen_strndup(ctype, n);
}
