/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp-entry.h, shim-entry.c: what the drop-in exports.
 *
 * A hand-written call forwards to mp_shim_NAME; its weak default refuses, so
 * that the shim grows call by call.  An automatic body translates handles,
 * fills the message and sends it one way, or asks and writes the answers.
 */
#include "mpgen.h"

#include <assert.h>
#include <string.h>

static bool has_hand(const struct mp_item *it)
{
	return it->class == MP_CLASS_HOME || (it->class == MP_CLASS_CARRIED && !it->shim_auto);
}

void mp_emit_entry_h(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "Between the exports of the drop-in and src/shim.");
	fprintf(f,
		"#ifndef MP_ENTRY_H\n#define MP_ENTRY_H\n\n#include <stddef.h>\n"
		"#include <stdint.h>\n\n"
		"#include \"abi/cuda.h\"\n#include \"mp-call.h\"\n\n"
		"/* Above 0: stream 0 means the per-thread stream in this thread. */\n"
		"extern __thread unsigned mp_default_stream;\n\n"
		"/* Counts, logs once for each call, answers CUDA_ERROR_NOT_SUPPORTED. */\n"
		"CUresult mp_refused(enum mp_call call);\n\n"
		"/* What automatic bodies use; docs/API-DESCRIPTION.md section 3 is the contract. "
		"*/\n"
		"struct mp_shim_slot {\n\tuint8_t *payload;\n\tsize_t size;\n"
		"\tenum mp_call call;\n\tuint64_t priv[8];\n};\n"
		"CUresult mp_shim_begin(enum mp_call call);\n"
		"CUresult mp_shim_id(enum mp_kind kind, const void *handle, uint32_t *ret_id);\n"
		"CUresult mp_shim_device(CUdevice dev, int32_t *ret);\n"
		"CUresult mp_shim_new(enum mp_kind kind, uint32_t *ret_id, void **ret_handle);\n"
		"void mp_shim_gone(enum mp_kind kind, const void *handle);\n"
		"void *mp_shim_handle(enum mp_kind kind, uint32_t id);\n"
		"/* Scratch of this thread until the next mp_shim_begin; NULL without memory. */\n"
		"void *mp_shim_scratch(size_t n);\n"
		"CUresult mp_shim_reserve(struct mp_shim_slot *s, enum mp_call call, size_t size, "
		"uint32_t stream_id);\n"
		"CUresult mp_shim_commit(struct mp_shim_slot *s);\n"
		"CUresult mp_shim_ask(struct mp_shim_slot *s, const uint8_t **ret, size_t "
		"*ret_n);\n"
		"void mp_shim_ask_done(struct mp_shim_slot *s);\n\n"
		"/* Written by hand in src/shim; the weak defaults refuse. */\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (it->type != MP_ITEM_CALL || !has_hand(it))
			continue;
		fprintf(f, "CUresult mp_shim_%s(", it->name);
		mp_emit_params(f, it->proto);
		fprintf(f, ");\n");
	}
	fprintf(f, "\n#endif\n");
}

static bool is_pointer(const char *ctype)
{
	return ctype[strlen(ctype) - 1] == '*';
}

static const char *ctype_of(const struct mp_item *it, const struct mp_field *fi)
{
	assert(fi->param >= 0);
	return it->proto->param[fi->param].type;
}

static const char *kind_of(const struct mp_field *fi)
{
	return mp_gen_printf("MP_KIND_%s", mp_kind_name(fi->type.kind));
}

static const char *count_in(const struct mp_field *fi)
{
	return fi->len ? fi->len : mp_gen_printf("m.%s_count", fi->name);
}

/* NULL pointers are what a driver refuses first. */
static void emit_null_checks(FILE *f, const struct mp_item *it)
{
	for (unsigned i = 0; i < it->count; i++) {
		const struct mp_field *fi = &it->field[i];

		if (!is_pointer(ctype_of(it, fi)) || fi->optional || fi->type.host)
			continue;
		if (fi->type.array && fi->len)
			fprintf(f, "\tif (%s && !%s)\n", fi->len, fi->name);
		else
			fprintf(f, "\tif (!%s)\n", fi->name);
		fprintf(f, "\t\treturn CUDA_ERROR_INVALID_VALUE;\n");
	}
}

static void emit_array_in(FILE *f, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;
	const char *n = count_in(fi);

	if (fi->all)
		fprintf(f, "\tm.%s_count = %s ? (uint32_t)%s : 0;\n", fi->name, fi->name, fi->all);
	if (t->base != MP_BASE_ID && t->base != MP_BASE_STRUCT) {
		fprintf(f, "\tm.%s = (const void *)%s;\n", fi->name, fi->name);
		return;
	}
	fprintf(f,
		"\tif (%s) {\n\t\t%s *array = mp_shim_scratch((size_t)%s * sizeof(*array));\n\n"
		"\t\tif (!array)\n\t\t\treturn CUDA_ERROR_OUT_OF_MEMORY;\n"
		"\t\tfor (size_t i = 0; i < (size_t)%s; i++)",
		n, mp_type_c(t), n, n);
	if (t->base == MP_BASE_ID)
		fprintf(f,
			"\n"
			"\t\t\tif ((e = mp_shim_id(%s, (const void *)(uintptr_t)%s[i], "
			"&array[i])))\n"
			"\t\t\t\treturn e;\n",
			kind_of(fi), fi->name);
	else
		fprintf(f, "\n\t\t\tmp_from_%s(&array[i], &%s[i]);\n", t->item->name, fi->name);
	fprintf(f, "\t\tm.%s = array;\n\t}\n", fi->name);
}

static void emit_in(FILE *f, const struct mp_item *it, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;
	const char *ctype = ctype_of(it, fi);
	bool pointer = is_pointer(ctype);

	if (t->array)
		emit_array_in(f, fi);
	else if (fi->is_new)
		fprintf(f,
			"\tif ((e = mp_shim_new(%s, &m.%s, &new_%s)))\n\t\treturn e;\n"
			"",
			kind_of(fi), fi->name, fi->name);
	else if (t->base == MP_BASE_ID)
		fprintf(f,
			"\tif ((e = mp_shim_id(%s, (const void *)(uintptr_t)%s%s, &m.%s)))\n"
			"\t\treturn e;\n",
			kind_of(fi), pointer ? "*" : "", fi->name, fi->name);
	else if (t->device)
		fprintf(f, "\tif ((e = mp_shim_device(%s, &m.%s)))\n\t\treturn e;\n", fi->name,
			fi->name);
	else if (t->base == MP_BASE_STRUCT && fi->optional)
		fprintf(f,
			"\tif (%s)\n\t\tmp_from_%s(&m.%s, %s);\n"
			"",
			fi->name, t->item->name, fi->name, fi->name);
	else if (t->base == MP_BASE_STRUCT)
		fprintf(f,
			"\tmp_from_%s(&m.%s, %s%s);\n"
			"",
			t->item->name, fi->name, pointer ? "" : "&", fi->name);
	else if (t->host)
		fprintf(f, "\tm.%s = (uintptr_t)%s;\n", fi->name, fi->name);
	else if (t->base == MP_BASE_STRING || t->base == MP_BASE_BYTES)
		fprintf(f, "\tm.%s = %s;\n", fi->name, fi->name);
	else if (t->fixed)
		fprintf(f, "\tmemcpy(m.%s, %s, sizeof(m.%s));\n", fi->name, fi->name, fi->name);
	else if (pointer && fi->optional)
		fprintf(f,
			"\tm.%s = %s ? (%s)*%s : 0;\n"
			"",
			fi->name, fi->name, mp_type_c(t), fi->name);
	else
		fprintf(f,
			"\tm.%s = (%s)%s%s;\n"
			"",
			fi->name, mp_type_c(t), pointer ? "*" : "", fi->name);
}

static void emit_out(FILE *f, const struct mp_item *it, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;
	const char *target = mp_ctype_target(ctype_of(it, fi));

	fprintf(f, "\t\tif (%s)\n\t\t\t", fi->name);
	if (t->base == MP_BASE_ID)
		fprintf(f,
			"*%s = (%s)(uintptr_t)mp_shim_handle(%s, r.%s);\n"
			"",
			fi->name, target, kind_of(fi), fi->name);
	else if (t->base == MP_BASE_STRUCT)
		fprintf(f, "mp_to_%s(%s, &r.%s);\n", t->item->name, fi->name, fi->name);
	else if (t->fixed)
		fprintf(f, "memcpy(%s, r.%s, sizeof(r.%s));\n", fi->name, fi->name, fi->name);
	else
		fprintf(f, "*%s = (%s)r.%s;\n", fi->name, target, fi->name);
}

static bool outward(const struct mp_field *fi)
{
	return (fi->dir & MP_DIR_OUT) && !fi->is_new;
}

static void emit_handles(FILE *f, const struct mp_item *it, const char *indent)
{
	for (unsigned i = 0; i < it->count; i++) {
		const struct mp_field *fi = &it->field[i];

		if (fi->is_new)
			fprintf(f, "%s*%s = (%s)(uintptr_t)new_%s;\n", indent, fi->name,
				mp_ctype_target(ctype_of(it, fi)), fi->name);
		if (fi->gone)
			fprintf(f,
				"%smp_shim_gone(%s, (const void *)(uintptr_t)%s);\n"
				"",
				indent, kind_of(fi), fi->name);
	}
}

static void emit_ask(FILE *f, const struct mp_item *it)
{
	fprintf(f,
		"\tif ((e = mp_shim_ask(&slot, &p, &n)))\n\t\treturn e;\n"
		"\tif (mp_get_rep_%s(p, n, &r)) {\n\t\tmp_shim_ask_done(&slot);\n"
		"\t\treturn CUDA_ERROR_UNKNOWN;\n\t}\n"
		"\tif (!r.result) {\n",
		it->name);
	for (unsigned i = 0; i < it->count; i++)
		if (outward(&it->field[i]))
			emit_out(f, it, &it->field[i]);
	emit_handles(f, it, "\t\t");
	fprintf(f, "\t}\n\tmp_shim_ask_done(&slot);\n\treturn (CUresult)r.result;\n");
}

static void emit_auto(FILE *f, const struct mp_item *it)
{
	const char *stream = "0";

	if (it->order == MP_ORDER_STREAM)
		stream = mp_gen_printf("m.%s", it->order_field);
	fprintf(f,
		"\tstruct mp_msg_%s m = {0};\n\tstruct mp_shim_slot slot;\n\tCUresult e;\n"
		"",
		it->name);
	if (it->has_rep)
		fprintf(f, "\tstruct mp_rep_%s r;\n\tconst uint8_t *p;\n\tsize_t n;\n", it->name);
	for (unsigned i = 0; i < it->count; i++)
		if (it->field[i].is_new)
			fprintf(f, "\tvoid *new_%s;\n", it->field[i].name);
	fprintf(f, "\n\tif ((e = mp_shim_begin(MP_CALL_%s)))\n\t\treturn e;\n", it->name);
	emit_null_checks(f, it);
	for (int pass = 0; pass < 2; pass++) /* new handles last: nothing to undo on an error */
		for (unsigned i = 0; i < it->count; i++) {
			const struct mp_field *fi = &it->field[i];

			if (fi->is_new == pass && ((fi->dir & MP_DIR_IN) || fi->is_new))
				emit_in(f, it, fi);
		}
	fprintf(f,
		"\tif ((e = mp_shim_reserve(&slot, MP_CALL_%s, mp_size_%s(&m), %s)))\n"
		"\t\treturn e;\n"
		"\tmp_put_%s(slot.payload, &m);\n",
		it->name, it->name, stream, it->name);
	if (it->has_rep) {
		emit_ask(f, it);
	} else {
		fprintf(f, "\tif ((e = mp_shim_commit(&slot)))\n\t\treturn e;\n");
		emit_handles(f, it, "\t");
		fprintf(f, "\treturn CUDA_SUCCESS;\n");
	}
}

static void emit_call(FILE *f, const struct mp_api *api, const struct mp_item *it)
{
	bool hand = has_hand(it);

	if (hand) {
		fprintf(f, "__attribute__((weak)) CUresult mp_shim_%s(", it->name);
		mp_emit_params(f, it->proto);
		fprintf(f, ")\n{\n\treturn mp_refused(MP_CALL_%s);\n}\n\n", it->name);
	}
	fprintf(f, "MP_EXPORT CUresult %s(", it->name);
	mp_emit_params(f, it->proto);
	fprintf(f, ")\n{\n");
	if (hand) {
		fprintf(f, "\treturn mp_shim_%s(", it->name);
		mp_emit_args(f, it->proto);
		fprintf(f, ");\n");
	} else if (it->class == MP_CLASS_REFUSED) {
		fprintf(f, "\treturn mp_refused(MP_CALL_%s);\n", it->name);
	} else {
		emit_auto(f, it);
	}
	fprintf(f, "}\n\n");
	if (it->variant)
		mp_emit_variant(f, api, it, hand ? "mp_shim_" : "");
}

void mp_emit_entry_c(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "The exports of the drop-in.");
	fprintf(f, "#include \"mp-entry.h\"\n\n#include <string.h>\n\n"
		   "#include \"base/check.h\"\n#include \"mp-convert.h\"\n"
		   "#include \"mp-msg.h\"\n\n__thread unsigned mp_default_stream;\n\n");
	for (size_t i = 0; i < api->numbered; i++)
		if (api->by_number[i]->type == MP_ITEM_CALL)
			emit_call(f, api, api->by_number[i]);
}
