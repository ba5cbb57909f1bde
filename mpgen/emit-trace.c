/* SPDX-License-Identifier: Apache-2.0 */
/* mp-trace.[ch], mp-fuzz.[ch], coverage.md: for people and for fuzzers. */
#include "mpgen.h"

#include <string.h>

void mp_emit_trace_h(const struct mp_api *api, FILE *f)
{
	(void)api;
	mp_emit_head(f, "A payload as one line of text.");
	fprintf(f, "#ifndef MP_TRACE_H\n#define MP_TRACE_H\n\n#include <stdbool.h>\n"
		   "#include <stddef.h>\n#include <stdint.h>\n\n"
		   "/* Writes `name field=value ...` (cut at size, NUL-terminated); -1 when "
		   "malformed or unknown. */\n"
		   "int mp_trace_line(char *buf, size_t size, uint32_t number, bool reply, const "
		   "uint8_t *p, size_t n);\n\n#endif\n");
}

static void emit_values(FILE *f, const struct mp_shape *s, const char *at, const char *label)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct mp_field *fi = s->field[i];
		const struct mp_type *t = &fi->type;

		if (t->array)
			fprintf(f,
				"\tadd(&o, \" %s%s=[%%llu]\", (unsigned long long)%s%s%s);\n"
				"",
				label, fi->name, at, fi->len ? fi->len : fi->name,
				fi->len ? "" : "_count");
		else if (t->base == MP_BASE_BYTES)
			fprintf(f,
				"\tadd(&o, \" %s%s=<%%llu bytes>\", (unsigned long long)%s%s%s);\n",
				label, fi->name, at, fi->len ? fi->len : fi->name,
				fi->len ? "" : "_len");
		else if (t->base == MP_BASE_STRING)
			fprintf(f,
				"\tadd(&o, \" %s%s=\\\"%%.200s\\\"\", %s%s ? %s%s : \"\");\n"
				"",
				label, fi->name, at, fi->name, at, fi->name);
		else if (t->base == MP_BASE_STRUCT)
			emit_values(f, &t->item->msg, mp_gen_printf("%s%s.", at, fi->name),
				    mp_gen_printf("%s%s.", label, fi->name));
		else if (t->fixed)
			fprintf(f, "\tadd(&o, \" %s%s=[%u]\");\n", label, fi->name, t->fixed);
		else if (t->base == MP_BASE_ID)
			fprintf(f, "\tadd(&o, \" %s%s=%s#%%u\", %s%s);\n", label, fi->name,
				mp_kind_name(t->kind), at, fi->name);
		else if (t->base == MP_BASE_F32 || t->base == MP_BASE_F64)
			fprintf(f,
				"\tadd(&o, \" %s%s=%%g\", (double)%s%s);\n"
				"",
				label, fi->name, at, fi->name);
		else if (t->base == MP_BASE_I32 || t->base == MP_BASE_I64)
			fprintf(f,
				"\tadd(&o, \" %s%s=%%lld\", (long long)%s%s);\n"
				"",
				label, fi->name, at, fi->name);
		else if (t->host || !strcmp(t->name, "devptr") || !strcmp(t->name, "CUdeviceptr"))
			fprintf(f,
				"\tadd(&o, \" %s%s=0x%%llx\", (unsigned long long)%s%s);\n"
				"",
				label, fi->name, at, fi->name);
		else
			fprintf(f,
				"\tadd(&o, \" %s%s=%%llu\", (unsigned long long)%s%s);\n"
				"",
				label, fi->name, at, fi->name);
	}
}

static void emit_line(FILE *f, const struct mp_item *it, const struct mp_shape *s, bool reply)
{
	fprintf(f,
		"static int %s_%s(struct out o, const uint8_t *p, size_t n)\n{\n"
		"\tstruct mp_%s_%s m;\n\n"
		"\tif (mp_get_%s%s(p, n, &m))\n\t\treturn -1;\n\tadd(&o, \"%s%s\");\n",
		reply ? "rep" : "msg", it->name, reply ? "rep" : "msg", it->name,
		reply ? "rep_" : "", it->name, it->name, reply ? " ->" : "");
	if (reply)
		fprintf(f, "\tadd(&o, \" result=%%u\", m.result);\n");
	emit_values(f, s, "m.", "");
	fprintf(f, "\treturn 0;\n}\n\n");
}

void mp_emit_trace_c(const struct mp_api *api, FILE *f)
{
	unsigned max = 0;

	mp_emit_head(f, "Payloads as text.");
	fprintf(f, "#include \"mp-trace.h\"\n\n#include <stdarg.h>\n#include <stdio.h>\n\n"
		   "#include \"mp-msg.h\"\n\n"
		   "struct out {\n\tchar *buf;\n\tsize_t size;\n};\n\n"
		   "__attribute__((format(printf, 2, 3)))\n"
		   "static void add(struct out *o, const char *fmt, ...)\n{\n"
		   "\tva_list ap;\n\tint n;\n\n\tva_start(ap, fmt);\n"
		   "\tn = vsnprintf(o->buf, o->size, fmt, ap);\n\tva_end(ap);\n"
		   "\tif (n < 0)\n\t\treturn;\n\tif ((size_t)n >= o->size)\n"
		   "\t\tn = o->size ? (int)o->size - 1 : 0;\n"
		   "\to->buf += n;\n\to->size -= (size_t)n;\n}\n\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (!mp_item_msg(it))
			continue;
		emit_line(f, it, &it->msg, false);
		if (it->has_rep)
			emit_line(f, it, &it->rep, true);
		max = it->number;
	}
	fprintf(f, "static int (*const line[][2])(struct out, const uint8_t *, size_t) = {\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];

		if (mp_item_msg(it) && it->has_rep)
			fprintf(f,
				"\t[0x%04x] = {msg_%s, rep_%s},\n"
				"",
				it->number, it->name, it->name);
		else if (mp_item_msg(it))
			fprintf(f, "\t[0x%04x] = {msg_%s, NULL},\n", it->number, it->name);
	}
	fprintf(f,
		"};\n\n"
		"int mp_trace_line(char *buf, size_t size, uint32_t number, bool reply, const "
		"uint8_t *p, size_t n)\n{\n"
		"\tstruct out o = {buf, size};\n\n"
		"\tif (number > 0x%04x || !line[number][reply])\n\t\treturn -1;\n"
		"\treturn line[number][reply](o, p, n);\n}\n",
		max);
}

void mp_emit_fuzz_h(const struct mp_api *api, FILE *f)
{
	(void)api;
	mp_emit_head(f, "Every decoder, for fuzzers and for tests that lie to it.");
	fprintf(f, "#ifndef MP_FUZZ_H\n#define MP_FUZZ_H\n\n#include <stdbool.h>\n"
		   "#include <stddef.h>\n#include <stdint.h>\n\n"
		   "struct mp_fuzz {\n\tuint16_t number;\n\tbool reply;\n"
		   "\tuint16_t fixed; /* bytes of the fixed part */\n\tconst char *name;\n"
		   "\t/* Decodes p (8-aligned); when it is good, encodes again into out and sets "
		   "*ret_n: 0, or\n"
		   "\t   -1 malformed, -2 out too small. A good message encodes to the same bytes, "
		   "gaps apart. */\n"
		   "\tint (*run)(const uint8_t *p, size_t n, uint8_t *out, size_t room, size_t "
		   "*ret_n);\n};\n\n"
		   "extern const struct mp_fuzz mp_fuzz_table[];\n"
		   "extern const size_t mp_fuzz_count;\n\n#endif\n");
}

static void emit_fuzz(FILE *f, const struct mp_item *it, bool reply)
{
	const char *x = reply ? "rep_" : "", *st = reply ? "rep" : "msg";

	fprintf(f,
		"static int %s_%s(const uint8_t *p, size_t n, uint8_t *out, size_t room, size_t "
		"*ret_n)\n{\n"
		"\tstruct mp_%s_%s m;\n\n\tif (mp_get_%s%s(p, n, &m))\n\t\treturn -1;\n"
		"\tif ((*ret_n = mp_size_%s%s(&m)) > room)\n\t\treturn -2;\n"
		"\tmp_put_%s%s(out, &m);\n\treturn 0;\n}\n\n",
		st, it->name, st, it->name, x, it->name, x, it->name, x, it->name);
}

void mp_emit_fuzz_c(const struct mp_api *api, FILE *f)
{
	size_t n = 0;

	mp_emit_head(f, "Every decoder.");
	fprintf(f, "#include \"mp-fuzz.h\"\n\n#include \"mp-msg.h\"\n\n");
	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			fprintf(f, "const struct mp_fuzz mp_fuzz_table[] = {\n");
		for (size_t i = 0; i < api->numbered; i++) {
			const struct mp_item *it = api->by_number[i];

			for (int reply = 0; mp_item_msg(it) && reply <= it->has_rep; reply++) {
				if (!pass) {
					emit_fuzz(f, it, reply);
					continue;
				}
				fprintf(f,
					"\t{0x%04x, %d, %u, \"%s\", %s_%s},\n"
					"",
					it->number, reply, reply ? it->rep.size : it->msg.size,
					it->name, reply ? "rep" : "msg", it->name);
				n++;
			}
		}
	}
	fprintf(f, "};\n\nconst size_t mp_fuzz_count = %zu;\n", n);
}

static const char *body(bool automatic)
{
	return automatic ? "generated" : "written";
}

void mp_emit_coverage(const struct mp_api *api, FILE *f)
{
	static const char *const class[] = {"home", "carried", "refused"};
	unsigned count[3] = {0}, exports[3] = {0};

	for (size_t i = 0; i < api->count; i++) {
		const struct mp_item *it = api->item[i];

		if (it->type != MP_ITEM_CALL)
			continue;
		count[it->class]++;
		exports[it->class] += it->variant ? 2 : 1;
	}
	fprintf(f, "# Coverage of the CUDA driver ABI\n\n"
		   "Written by mpgen from `api/`. *home*: answered in the client; *carried*: "
		   "travels to the server;\n"
		   "*refused*: answers CUDA_ERROR_NOT_SUPPORTED and is counted. What the bodies "
		   "really do is tested elsewhere.\n\n"
		   "| class | calls | exports with their per-thread variants |\n|---|---|---|\n");
	for (int i = 0; i < 3; i++)
		fprintf(f, "| %s | %u | %u |\n", class[i], count[i], exports[i]);
	fprintf(f,
		"| all | %u | %u |\n\n"
		"",
		count[0] + count[1] + count[2], exports[0] + exports[1] + exports[2]);
	fprintf(f, "| number | export | since | variant | class | client body | worker body | what "
		   "|\n|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];
		bool carried = it->class == MP_CLASS_CARRIED;

		if (it->type != MP_ITEM_CALL)
			continue;
		fprintf(f,
			"| 0x%04x | %s | %u | %s | %s | %s | %s | %s |\n"
			"",
			it->number, it->name, it->since,
			!it->variant         ? ""
			: it->variant == 'd' ? "ptds"
					     : "ptsz",
			class[it->class],
			it -> class == MP_CLASS_REFUSED ? "" : body(it->shim_auto),
			carried ? body(it->worker_auto) : "", it->prose ? it->prose : "");
	}
}
