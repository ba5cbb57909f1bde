/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp-job.h, worker-dispatch.c: decode, call the driver, encode.
 *
 * The peer is not believed: ids go through the worker's table, counts through
 * the decoder, and enums through the driver, which checks them itself.
 */
#include "mpgen.h"

#include <assert.h>
#include <string.h>

static void emit_do(FILE *f, const struct mp_item *it)
{
	fprintf(f, "CUresult mp_do_%s(struct mp_job *job, const struct mp_msg_%s *m", it->name,
		it->name);
	if (it->has_rep)
		fprintf(f, ", struct mp_rep_%s *r", it->name);
	fprintf(f, ")");
}

void mp_emit_job_h(const struct mp_api *api, FILE *f)
{
	mp_emit_head(f, "Between decoded records and src/worker.");
	fprintf(f, "#ifndef MP_JOB_H\n#define MP_JOB_H\n\n#include \"abi/cuda.h\"\n"
		   "#include \"mp-msg.h\"\n\n"
		   "struct mp_drv;\n/* The worker's: one record that is being applied. */\n"
		   "struct mp_job;\n\n"
		   "/* What the worker provides; docs/API-DESCRIPTION.md section 3 is the "
		   "contract. */\n"
		   "const struct mp_drv *mp_job_drv(struct mp_job *job);\n"
		   "CUresult mp_job_get(struct mp_job *job, enum mp_kind kind, uint32_t id, void "
		   "**ret);\n"
		   "CUresult mp_job_device(struct mp_job *job, int32_t device, CUdevice *ret);\n"
		   "CUresult mp_job_bind(struct mp_job *job, enum mp_kind kind, uint32_t id, void "
		   "*handle);\n"
		   "void mp_job_unbind(struct mp_job *job, enum mp_kind kind, uint32_t id);\n"
		   "void *mp_job_scratch(struct mp_job *job, size_t n);\n"
		   "uint8_t *mp_job_reply(struct mp_job *job, size_t n);\n\n"
		   "/* 0: applied, *ret is the answer. -1: malformed or unknown, nothing was done. "
		   "*/\n"
		   "int mp_job_dispatch(struct mp_job *job, uint32_t number, const uint8_t *p, "
		   "size_t n, CUresult *ret);\n\n"
		   "/* `hand` ones are written in src/worker; their weak defaults answer "
		   "NOT_SUPPORTED. */\n");
	for (size_t i = 0; i < api->numbered; i++)
		if (mp_item_msg(api->by_number[i])) {
			emit_do(f, api->by_number[i]);
			fprintf(f, ";%s\n", api->by_number[i]->worker_auto ? " /* auto */" : "");
		}
	fprintf(f, "\n#endif\n");
}

static const char *kind_of(const struct mp_field *fi)
{
	return mp_gen_printf("MP_KIND_%s", mp_kind_name(fi->type.kind));
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

/* A local variable for what the driver writes or what needs a pointer. */
static void emit_local(FILE *f, const struct mp_item *it, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;
	const char *ctype = ctype_of(it, fi),
		   *target = is_pointer(ctype) ? mp_ctype_target(ctype) : ctype;

	if (t->array && (t->base == MP_BASE_ID || t->base == MP_BASE_STRUCT))
		fprintf(f, "\t%s *v_%s = NULL;\n", target, fi->name);
	else if (t->device)
		fprintf(f, "\tCUdevice v_%s;\n", fi->name);
	else if (t->base == MP_BASE_ID && !fi->is_new && (fi->dir & MP_DIR_IN))
		fprintf(f, "\tvoid *v_%s;\n", fi->name);
	else if (t->base == MP_BASE_STRUCT && (fi->dir & MP_DIR_IN))
		fprintf(f, "\t%s v_%s;\n", target, fi->name);
	else if ((fi->dir & MP_DIR_OUT) || (is_pointer(ctype) && t->base <= MP_BASE_F64 &&
					    !t->fixed && !t->array && !t->host)) {
		fprintf(f, "\t%s v_%s = ", target, fi->name);
		if (fi->dir & MP_DIR_IN)
			fprintf(f, "(%s)m->%s;\n", target, fi->name);
		else
			fprintf(f,
				"%s;\n"
				"",
				t->base == MP_BASE_STRUCT || !strncmp(target, "CUuuid", 6) ? "{0}"
											   : "0");
	}
}

static void emit_array(FILE *f, const struct mp_field *fi, const char *target)
{
	const struct mp_type *t = &fi->type;
	const char *n = fi->len ? mp_gen_printf("m->%s", fi->len)
				: mp_gen_printf("m->%s_count", fi->name);

	fprintf(f,
		"\tif (%s && !(v_%s = mp_job_scratch(job, (size_t)%s * sizeof(*v_%s))))\n"
		"\t\treturn CUDA_ERROR_OUT_OF_MEMORY;\n"
		"\tfor (size_t i = 0; i < (size_t)%s; i++) {\n",
		n, fi->name, n, fi->name, n);
	if (t->base == MP_BASE_ID)
		fprintf(f,
			"\t\tvoid *h;\n\n\t\tif ((e = mp_job_get(job, %s, m->%s[i], &h)))\n"
			"\t\t\treturn e;\n"
			"\t\tv_%s[i] = (%s)(uintptr_t)h;\n"
			"",
			kind_of(fi), fi->name, fi->name, target);
	else
		fprintf(f,
			"\t\tmp_to_%s(&v_%s[i], &m->%s[i]);\n"
			"",
			t->item->name, fi->name, fi->name);
	fprintf(f, "\t}\n");
}

static void emit_before(FILE *f, const struct mp_item *it, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;

	if (!(fi->dir & MP_DIR_IN))
		return;
	if (fi->all)
		fprintf(f,
			"\tif (m->%s_count && m->%s_count != m->%s)\n\t\treturn "
			"CUDA_ERROR_INVALID_VALUE;\n",
			fi->name, fi->name, fi->all);
	if (t->array && (t->base == MP_BASE_ID || t->base == MP_BASE_STRUCT))
		emit_array(f, fi, mp_ctype_target(ctype_of(it, fi)));
	else if (t->base == MP_BASE_ID)
		fprintf(f,
			"\tif ((e = mp_job_get(job, %s, m->%s, &v_%s)))\n\t\treturn e;\n"
			"",
			kind_of(fi), fi->name, fi->name);
	else if (t->device)
		fprintf(f, "\tif ((e = mp_job_device(job, m->%s, &v_%s)))\n\t\treturn e;\n",
			fi->name, fi->name);
	else if (t->base == MP_BASE_STRUCT)
		fprintf(f, "\tmp_to_%s(&v_%s, &m->%s);\n", t->item->name, fi->name, fi->name);
}

static void emit_arg(FILE *f, const struct mp_field *fi, const char *ctype)
{
	const struct mp_type *t = &fi->type;
	bool pointer = is_pointer(ctype);

	if (t->array && t->base != MP_BASE_ID && t->base != MP_BASE_STRUCT)
		fprintf(f, "(%s)(uintptr_t)m->%s", ctype, fi->name);
	else if (t->array)
		fprintf(f, "v_%s", fi->name);
	else if (fi->dir & MP_DIR_OUT)
		fprintf(f, "&v_%s", fi->name);
	else if (t->base == MP_BASE_ID)
		fprintf(f, "%s(uintptr_t)v_%s", mp_gen_printf("(%s)", ctype), fi->name);
	else if (t->base == MP_BASE_STRUCT)
		fprintf(f, "%sv_%s", pointer ? "&" : "", fi->name);
	else if (t->device)
		fprintf(f, "v_%s", fi->name);
	else if (t->host)
		fprintf(f, "(%s)(uintptr_t)m->%s", ctype, fi->name);
	else if (t->base == MP_BASE_STRING || t->base == MP_BASE_BYTES || t->fixed)
		fprintf(f, "(%s)(uintptr_t)m->%s", ctype, fi->name);
	else if (pointer)
		fprintf(f, "&v_%s", fi->name);
	else
		fprintf(f, "(%s)m->%s", ctype, fi->name);
}

static void emit_after(FILE *f, const struct mp_field *fi)
{
	const struct mp_type *t = &fi->type;

	if (fi->is_new)
		fprintf(f,
			"\tif (!e)\n"
			"\t\te = mp_job_bind(job, %s, m->%s, (void *)(uintptr_t)v_%s);\n",
			kind_of(fi), fi->name, fi->name);
	else if (fi->gone)
		fprintf(f,
			"\tif (!e)\n\t\tmp_job_unbind(job, %s, m->%s);\n"
			"",
			kind_of(fi), fi->name);
	else if (!(fi->dir & MP_DIR_OUT))
		return;
	else if (t->base == MP_BASE_STRUCT)
		fprintf(f, "\tmp_from_%s(&r->%s, &v_%s);\n", t->item->name, fi->name, fi->name);
	else if (t->fixed)
		fprintf(f,
			"\tmemcpy(r->%s, &v_%s, sizeof(r->%s));\n"
			"",
			fi->name, fi->name, fi->name);
	else
		fprintf(f, "\tr->%s = (%s)v_%s;\n", fi->name, mp_type_c(t), fi->name);
}

static void emit_auto(FILE *f, const struct mp_item *it)
{
	const struct mp_proto *p = it->proto;

	emit_do(f, it);
	fprintf(f, "\n{\n\tconst struct mp_drv *drv = mp_job_drv(job);\n");
	for (unsigned i = 0; i < it->count; i++)
		emit_local(f, it, &it->field[i]);
	fprintf(f,
		"\tCUresult e;\n\n\tif (!drv->%s)\n\t\treturn CUDA_ERROR_NOT_SUPPORTED;\n"
		"",
		it->name);
	for (unsigned i = 0; i < it->count; i++)
		emit_before(f, it, &it->field[i]);
	fprintf(f, "\te = drv->%s(", it->name);
	for (int i = 0; i < p->count; i++) {
		fprintf(f, "%s", i ? ", " : "");
		emit_arg(f, mp_item_field(it, p->param[i].name), p->param[i].type);
	}
	fprintf(f, ");\n");
	for (unsigned i = 0; i < it->count; i++)
		emit_after(f, &it->field[i]);
	fprintf(f, "\treturn e;\n}\n\n");
}

static void emit_run(FILE *f, const struct mp_item *it)
{
	if (it->worker_auto) {
		emit_auto(f, it);
	} else {
		fprintf(f, "__attribute__((weak)) ");
		emit_do(f, it);
		fprintf(f, "\n{\n\treturn CUDA_ERROR_NOT_SUPPORTED;\n}\n\n");
	}
	fprintf(f,
		"static int run_%s(struct mp_job *job, const uint8_t *p, size_t n, CUresult "
		"*ret)\n{\n"
		"\tstruct mp_msg_%s m;\n",
		it->name, it->name);
	if (it->has_rep)
		fprintf(f, "\tstruct mp_rep_%s r = {0};\n\tuint8_t *q;\n", it->name);
	fprintf(f, "\n\tif (mp_get_%s(p, n, &m))\n\t\treturn -1;\n", it->name);
	if (it->has_rep)
		fprintf(f,
			"\t*ret = mp_do_%s(job, &m, &r);\n\tr.result = (uint32_t)*ret;\n"
			"\tif ((q = mp_job_reply(job, mp_size_rep_%s(&r))))\n"
			"\t\tmp_put_rep_%s(q, &r);\n",
			it->name, it->name, it->name);
	else
		fprintf(f, "\t*ret = mp_do_%s(job, &m);\n", it->name);
	fprintf(f, "\treturn 0;\n}\n\n");
}

void mp_emit_dispatch_c(const struct mp_api *api, FILE *f)
{
	unsigned max = 0;

	mp_emit_head(f, "Applies decoded records.");
	fprintf(f, "#include \"mp-job.h\"\n\n#include <string.h>\n\n#include \"mp-convert.h\"\n"
		   "#include \"mp-drv.h\"\n\n");
	for (size_t i = 0; i < api->numbered; i++)
		if (mp_item_msg(api->by_number[i])) {
			emit_run(f, api->by_number[i]);
			max = api->by_number[i]->number;
		}
	fprintf(f, "static int (*const run[])(struct mp_job *, const uint8_t *, size_t, CUresult "
		   "*) = {\n");
	for (size_t i = 0; i < api->numbered; i++)
		if (mp_item_msg(api->by_number[i]))
			fprintf(f,
				"\t[0x%04x] = run_%s,\n"
				"",
				api->by_number[i]->number, api->by_number[i]->name);
	fprintf(f,
		"};\n\n"
		"int mp_job_dispatch(struct mp_job *job, uint32_t number, const uint8_t *p, size_t "
		"n,\n"
		"\t\t    CUresult *ret)\n{\n"
		"\tif (number > 0x%04x || !run[number])\n\t\treturn -1;\n"
		"\treturn run[number](job, p, n, ret);\n}\n",
		max);
}
