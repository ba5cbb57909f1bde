/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp-msg.[ch]: for each message a struct, its size, encoder and decoder.
 *
 * Encoders are straight stores at constant offsets (nested structs are written
 * in place), so that a launch costs a handful of instructions.  Decoders check
 * everything before they hand out a pointer.
 */
#include "mpgen.h"

#include <assert.h>
#include <string.h>

static const char prelude[] =
	"#ifndef MP_MSG_H\n#define MP_MSG_H\n\n"
	"#include <assert.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n"
	"#include \"mp-call.h\"\n\n"
	"#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__\n"
	"#error \"the codecs store fields as the host does\"\n#endif\n\n"
	"/* Bytes of a tail, with its padding. */\n"
	"static inline size_t mp_tail_size(uint64_t n)\n{\n"
	"\treturn (size_t)((n + 7) & ~(uint64_t)7);\n}\n\n"
	"static inline uint32_t mp_string_size(const char *s)\n{\n"
	"\treturn s ? (uint32_t)strlen(s) + 1 : 0;\n}\n\n"
	"static inline uint8_t *mp_tail_put(uint8_t *p, const void *from, uint64_t n)\n{\n"
	"\tsize_t end = mp_tail_size(n);\n\n"
	"\tif (!n)\n\t\treturn p;\n"
	"\tassert(from);\n"
	"\tmemset(p + end - 8, 0, 8);\n"
	"\tmemcpy(p, from, (size_t)n);\n"
	"\treturn p + end;\n}\n\n";

static void emit_field(FILE *f, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;

	if (t->array) {
		if (!fi->len)
			fprintf(f, "\tuint32_t %s_count;\n", fi->name);
		fprintf(f, "\tconst %s *%s;\n", mp_type_c(t), fi->name);
	} else if (t->base == MP_BASE_STRING) {
		fprintf(f, "\tconst char *%s;\n", fi->name);
	} else if (t->base == MP_BASE_BYTES) {
		if (!fi->len)
			fprintf(f, "\tuint64_t %s_len;\n", fi->name);
		fprintf(f, "\tconst void *%s;\n", fi->name);
	} else {
		fprintf(f, "\t%s %s", mp_type_c(t), fi->name);
		if (t->fixed)
			fprintf(f, "[%u]", t->fixed);
		fprintf(f, ";");
		if (t->base == MP_BASE_ID)
			fprintf(f, " /* %s%s */", mp_kind_name(t->kind), fi->is_new ? ", new" : "");
		fprintf(f, "\n");
	}
}

static void emit_struct(FILE *f, const char *name, const struct mp_shape *s, bool reply)
{
	fprintf(f, "struct %s {\n", name);
	if (reply)
		fprintf(f, "\tuint32_t result; /* a CUresult */\n");
	for (unsigned i = 0; i < s->count; i++)
		emit_field(f, s->field[i]);
	if (!reply && !s->count)
		fprintf(f, "\tuint32_t none; /* not on the wire */\n");
	fprintf(f, "};\n");
}

/* "m->", "name" -> C expression of a tail's count. */
static const char *count_of(const struct mp_field *fi, const char *at)
{
	if (fi->type.base == MP_BASE_STRING)
		return mp_gen_printf("mp_string_size(%s%s)", at, fi->name);
	if (fi->len)
		return mp_gen_printf("(uint64_t)%s%s", at, fi->len);
	return mp_gen_printf("%s%s_%s", at, fi->name, fi->type.array ? "count" : "len");
}

static const char *bytes_of(const struct mp_field *fi, const char *at)
{
	const char *n = count_of(fi, at);

	if (!fi->type.array)
		return n;
	return mp_gen_printf("(uint64_t)%s * %u", n, mp_type_size(&fi->type));
}

static void emit_size(FILE *f, const struct mp_shape *s, const char *at)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];

		if (fi->type.base == MP_BASE_STRUCT && !fi->type.array)
			emit_size(f, &fi->type.item->msg, mp_gen_printf("%s%s.", at, fi->name));
		else if (mp_type_tail(&fi->type))
			fprintf(f, "\tn += mp_tail_size(%s);\n", bytes_of(fi, at));
	}
}

/* Where stores go and how they look: `p` is the C name of the base, `indent` opens each line. */
struct put {
	FILE *f;
	const char *p, *indent;
};

static void emit_gap(const struct put *w, unsigned from, unsigned to)
{
	if (to > from)
		fprintf(w->f, "%smemset(%s + %u, 0, %u);\n", w->indent, w->p, from, to - from);
}

/* Stores one field at offset o of the base; the bytes it took. */
static unsigned emit_put_field(const struct put *w, const struct mp_field *fi, unsigned o,
			       const char *at)
{
	const struct mp_type *t = &fi->type;
	unsigned n = mp_type_tail(t) ? 4 : mp_type_size(t) * (t->fixed ? t->fixed : 1);

	if (t->array) {
		fprintf(w->f, "%smemcpy(%s + %u, &%s%s_count, 4);\n", w->indent, w->p, o, at,
			fi->name);
	} else if (t->base == MP_BASE_STRING) {
		fprintf(w->f, "%scount = mp_string_size(%s%s);\n", w->indent, at, fi->name);
		fprintf(w->f, "%smemcpy(%s + %u, &count, 4);\n", w->indent, w->p, o);
	} else if (t->base == MP_BASE_BYTES) {
		fprintf(w->f, "%smemcpy(%s + %u, &%s%s_len, 8);\n", w->indent, w->p, o, at,
			fi->name);
		n = 8;
	} else {
		fprintf(w->f, "%smemcpy(%s + %u, %s%s%s, %u);\n", w->indent, w->p, o,
			t->fixed ? "" : "&", at, fi->name, n);
	}
	return n;
}

/* Stores of the fixed part of `s` at off; `at` is the C path to its fields. */
static void emit_put_fixed(const struct put *w, const struct mp_shape *s, unsigned off,
			   const char *at, unsigned from)
{
	unsigned end = from;

	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;
		unsigned o = off + s->offset[i];

		if (fi->len)
			continue;
		emit_gap(w, off + end, o);
		if (t->base == MP_BASE_STRUCT && !t->array) {
			emit_put_fixed(w, &t->item->msg, o, mp_gen_printf("%s%s.", at, fi->name),
				       0);
			end = s->offset[i] + t->item->msg.size;
		} else {
			end = s->offset[i] + emit_put_field(w, fi, o, at);
		}
	}
	emit_gap(w, off + end, off + s->size);
}

static void emit_put_tails(FILE *f, const struct mp_shape *s, const char *at)
{
	const struct put element = {f, "q", "\t\t"};

	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;

		if (t->array && t->base == MP_BASE_STRUCT) {
			fprintf(f,
				"\tfor (uint64_t i = 0; i < %s; i++) {\n\t\tconst %s *e = "
				"&%s%s[i];\n\n",
				count_of(fi, at), mp_type_c(t), at, fi->name);
			emit_put_fixed(&element, &t->item->msg, 0, "e->", 0);
			fprintf(f, "\t\tq += %u;\n\t}\n", t->item->msg.size);
			if (t->item->msg.size % 8)
				fprintf(f, "\tfor (; (q - p) %% 8; q++)\n\t\t*q = 0;\n");
		} else if (t->base == MP_BASE_STRUCT) {
			emit_put_tails(f, &t->item->msg, mp_gen_printf("%s%s.", at, fi->name));
		} else if (mp_type_tail(t)) {
			fprintf(f, "\tq = mp_tail_put(q, %s%s, %s);\n", at, fi->name,
				bytes_of(fi, at));
		}
	}
}

static bool has_string(const struct mp_shape *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_type *t = &s->field[i]->type;

		if (t->base == MP_BASE_STRING ||
		    (t->base == MP_BASE_STRUCT && has_string(&t->item->msg)))
			return true;
	}
	return false;
}

static void emit_encoder(FILE *f, const struct mp_shape *s, const char *name, const char *suffix,
			 bool reply)
{
	const struct put fixed = {f, "p", "\t"};

	fprintf(f, "static inline size_t mp_size_%s(const struct %s *m)\n{\n", suffix, name);
	if (s->plain) {
		fprintf(f, "\treturn %u;\n}\n", s->size);
	} else {
		fprintf(f, "\tsize_t n = %u;\n\n", s->size);
		emit_size(f, s, "m->");
		fprintf(f, "\treturn n;\n}\n");
	}
	fprintf(f,
		"static inline void mp_put_%s(uint8_t *p, const struct %s *m)\n{\n"
		"",
		suffix, name);
	if (!s->plain)
		fprintf(f, "\tuint8_t *q = p + %u;\n", s->size);
	if (has_string(s))
		fprintf(f, "\tuint32_t count;\n");
	if (!s->plain)
		fprintf(f, "\n");
	if (reply)
		fprintf(f, "\tmemcpy(p, &m->result, 4);\n");
	emit_put_fixed(&fixed, s, 0, "m->", reply ? 4 : 0);
	emit_put_tails(f, s, "m->");
	fprintf(f, "%s}\n", s->plain ? "" : "\t(void)q;\n");
	fprintf(f, "int mp_get_%s(const uint8_t *p, size_t n, struct %s *ret);\n\n", suffix, name);
}

/* Loads of the fixed part; counts of tails go into the struct, those of strings into nothing. */
static void emit_get_fixed(FILE *f, const struct mp_shape *s, unsigned off, const char *at)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;
		unsigned o = off + s->offset[i];

		if (fi->len)
			continue;
		if (t->array)
			fprintf(f, "\tmemcpy(&%s%s_count, p + %u, 4);\n", at, fi->name, o);
		else if (t->base == MP_BASE_STRING)
			continue;
		else if (t->base == MP_BASE_BYTES)
			fprintf(f, "\tmemcpy(&%s%s_len, p + %u, 8);\n", at, fi->name, o);
		else if (t->base == MP_BASE_STRUCT)
			emit_get_fixed(f, &t->item->msg, o, mp_gen_printf("%s%s.", at, fi->name));
		else
			fprintf(f,
				"\tmemcpy(%s%s%s, p + %u, %u);\n"
				"",
				t->fixed ? "" : "&", at, fi->name, o,
				mp_type_size(t) * (t->fixed ? t->fixed : 1));
	}
}

static void emit_get_tails(FILE *f, const struct mp_shape *s, unsigned off, const char *at)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;
		unsigned o = off + s->offset[i];

		if (t->base == MP_BASE_STRING)
			fprintf(f,
				"\tif (mp_tail_string(p, n, &at, p + %u, &%s%s))\n"
				"\t\treturn -1;\n",
				o, at, fi->name);
		else if (t->base == MP_BASE_STRUCT && !t->array)
			emit_get_tails(f, &t->item->msg, o, mp_gen_printf("%s%s.", at, fi->name));
		else if (mp_type_tail(t))
			fprintf(f,
				"\tif (mp_tail_get(p, n, &at, %s, %u, (const void **)&%s%s))\n"
				"\t\treturn -1;\n",
				count_of(fi, at), t->array ? mp_type_size(t) : 1, at, fi->name);
	}
}

static void emit_decoder(FILE *f, const struct mp_shape *s, const char *name, const char *suffix,
			 bool reply)
{
	fprintf(f, "int mp_get_%s(const uint8_t *p, size_t n, struct %s *ret)\n{\n", suffix, name);
	if (s->plain) {
		fprintf(f, "\tif (n != %u)\n\t\treturn -1;\n", s->size);
	} else {
		fprintf(f,
			"\tsize_t at = %u;\n\n\tif (n < %u || n %% 8)\n\t\treturn -1;\n"
			"",
			s->size, s->size);
		fprintf(f, "\tmemset(ret, 0, sizeof(*ret));\n");
	}
	if (reply)
		fprintf(f, "\tmemcpy(&ret->result, p, 4);\n");
	if (!reply && !s->count)
		fprintf(f, "\tret->none = 0;\n");
	emit_get_fixed(f, s, 0, "ret->");
	emit_get_tails(f, s, 0, "ret->");
	fprintf(f, "\treturn %s;\n}\n\n", s->plain ? "0" : "at == n ? 0 : -1");
}

static void emit_shapes(const struct mp_api *api, FILE *f,
			void (*emit)(FILE *, const struct mp_shape *, const char *, const char *,
				     bool))
{
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (!mp_item_msg(it))
			continue;
		emit(f, &it->msg, mp_gen_printf("mp_msg_%s", it->name), it->name, false);
		if (it->has_rep)
			emit(f, &it->rep, mp_gen_printf("mp_rep_%s", it->name),
			     mp_gen_printf("rep_%s", it->name), true);
	}
}

/* Structs in an order in which each comes after those it contains. */
static void emit_nested(FILE *f, struct mp_item *it)
{
	if (it->mark == 4)
		return;
	for (unsigned i = 0; i < it->count; i++)
		if (it->field[i].type.base == MP_BASE_STRUCT)
			emit_nested(f, it->field[i].type.item);
	fprintf(f, "/* %s */\n", it->prose);
	emit_struct(f, mp_gen_printf("mp_%s", it->name), &it->msg, false);
	if (it->msg.plain)
		fprintf(f,
			"_Static_assert(sizeof(struct mp_%s) == %u, \"as on the wire\");\n"
			"",
			it->name, it->msg.size);
	fprintf(f, "\n");
	it->mark = 4;
}

void mp_emit_msg_h(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f,
		     "Messages and replies: structs, sizes, encoders; decoders are in mp-msg.c.");
	fputs(prelude, f);
	for (size_t i = 0; i < api->count; i++)
		if (api->item[i]->type == MP_ITEM_STRUCT)
			emit_nested(f, api->item[i]);
	for (size_t i = 0; i < api->count; i++) /* back to "laid out" for the next product */
		if (api->item[i]->mark == 4)
			api->item[i]->mark = 2;
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (!mp_item_msg(it))
			continue;
		fprintf(f, "/* 0x%04x %s: %s */\n", it->number, it->name, it->prose);
		emit_struct(f, mp_gen_printf("mp_msg_%s", it->name), &it->msg, false);
		if (it->has_rep)
			emit_struct(f, mp_gen_printf("mp_rep_%s", it->name), &it->rep, true);
		emit_encoder(f, &it->msg, mp_gen_printf("mp_msg_%s", it->name), it->name, false);
		if (it->has_rep)
			emit_encoder(f, &it->rep, mp_gen_printf("mp_rep_%s", it->name),
				     mp_gen_printf("rep_%s", it->name), true);
	}
	fprintf(f, "#endif\n");
}

static const char decoder_prelude[] =
	"#include \"mp-msg.h\"\n\n"
	"/* A tail of count elements at *at: in bounds, padded with zeros; NULL when empty. */\n"
	"static int mp_tail_get(const uint8_t *p, size_t n, size_t *at, uint64_t count, size_t "
	"size,\n"
	"\t\tconst void **ret)\n{\n"
	"\tsize_t bytes, end;\n\n"
	"\t*ret = NULL;\n"
	"\tif (!count)\n\t\treturn 0;\n"
	"\tif (__builtin_mul_overflow(count, size, &bytes) || bytes > n - *at)\n\t\treturn -1;\n"
	"\tend = (bytes + 7) & ~(size_t)7; /* n is a multiple of 8, so end <= n - *at */\n"
	"\tfor (size_t i = bytes; i < end; i++)\n\t\tif (p[*at + i])\n\t\t\treturn -1;\n"
	"\t*ret = p + *at;\n\t*at += end;\n\treturn 0;\n}\n\n"
	"/* A string: its only NUL is its last byte. */\n"
	"__attribute__((unused))\n"
	"static int mp_tail_string(const uint8_t *p, size_t n, size_t *at, const uint8_t *count, "
	"const char **ret)\n{\n"
	"\tconst void *s;\n\tuint32_t len;\n\n"
	"\tmemcpy(&len, count, 4);\n"
	"\tif (mp_tail_get(p, n, at, len, 1, &s))\n\t\treturn -1;\n"
	"\tif (len && memchr(s, 0, len) != (const char *)s + len - 1)\n\t\treturn -1;\n"
	"\t*ret = s;\n\treturn 0;\n}\n\n";

void mp_emit_msg_c(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "Decoders of messages and replies.");
	fputs(decoder_prelude, f);
	emit_shapes(api, f, emit_decoder);
}
