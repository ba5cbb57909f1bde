/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meaning: types are resolved, messages laid out, names, numbers and
 * prototypes compared.  Every rule has a sentence of its own; mpgen/bad/ has a
 * description that breaks it.
 */
#include "mpgen.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 0x3fffu
#define FIXED_MAX  4096u

static unsigned align_up(unsigned n, unsigned a)
{
	return (n + a - 1) / a * a;
}

static void hash_add(uint64_t *h, const void *p, size_t n)
{
	for (const unsigned char *c = p; n--; c++)
		*h = (*h ^ *c) * 0x100000001b3u; /* FNV-1a */
}

/* What a field takes in the fixed part: itself, or the count of its tail. */
static void slot(const struct mp_field *f, unsigned *size, unsigned *align)
{
	const struct mp_type *t = &f->type;

	if (t->array || t->base == MP_BASE_BYTES)
		*size = f->len ? 0 : t->array ? 4 : 8;
	else if (t->base == MP_BASE_STRING)
		*size = 4;
	else {
		*size = mp_type_size(t) * (t->fixed ? t->fixed : 1);
		*align = mp_type_align(t);
		return;
	}
	*align = *size ? *size : 1;
}

static void hash_field(uint64_t *h, const struct mp_shape *s, const struct mp_field *f)
{
	const struct mp_type *t = &f->type;
	unsigned char head[4] = {(unsigned char)t->base, t->array, (unsigned char)t->kind,
				 !!f->len};

	hash_add(h, head, sizeof(head));
	hash_add(h, &t->fixed, sizeof(t->fixed));
	if (t->base == MP_BASE_STRUCT)
		hash_add(h, &t->item->msg.hash, sizeof(t->item->msg.hash));
	for (unsigned i = 0; f->len && i < s->count; i++)
		if (!strcmp(s->field[i]->name, f->len))
			hash_add(h, &i, sizeof(i));
}

static void lay_out(struct mp_shape *s, unsigned at, unsigned align)
{
	s->offset = mp_gen_alloc((s->count + 1) * sizeof(s->offset[0]));
	s->plain = true;
	s->align = align;
	s->hash = 0xcbf29ce484222325u;
	for (unsigned i = 0; i < s->count; i++) {
		unsigned size, a;

		slot(s->field[i], &size, &a);
		at = align_up(at, a);
		s->offset[i] = at;
		at += size;
		if (a > s->align)
			s->align = a;
		s->plain &= !mp_type_tail(&s->field[i]->type);
		hash_field(&s->hash, s, s->field[i]);
	}
	s->size = align_up(at, s->align);
}

static bool is_integer(const struct mp_type *t)
{
	return t->base <= MP_BASE_I64 && !t->array && !t->fixed;
}

/* `len` names an integer field of the same message. */
static void check_len(struct mp_api *api, const struct mp_item *it, const struct mp_shape *s,
		      const struct mp_field *f)
{
	if (f->all && (f->len || !f->type.array || !mp_item_field(it, f->all)))
		mp_gen_error(api, it->file, f->line,
			     "all of %s: it is for arrays without len, and names a field", f->name);
	if (!f->len)
		return;
	if (f->optional)
		mp_gen_error(api, it->file, f->line,
			     "%s is optional and needs a count of its own: `all`, not `len`",
			     f->name);
	if (!f->type.array && f->type.base != MP_BASE_BYTES)
		mp_gen_error(api, it->file, f->line,
			     "%s is neither bytes nor an array and has no len", f->name);
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->field[i]->name, f->len)) {
			if (!is_integer(&s->field[i]->type))
				mp_gen_error(api, it->file, f->line, "len of %s: %s is no integer",
					     f->name, f->len);
			return;
		}
	mp_gen_error(api, it->file, f->line, "len of %s: the same message has no field %s", f->name,
		     f->len);
}

static void collect(struct mp_item *it, struct mp_shape *s, bool reply)
{
	s->field = mp_gen_alloc((it->count + 1) * sizeof(s->field[0]));
	for (unsigned i = 0; i < it->count; i++) {
		struct mp_field *f = &it->field[i];
		bool here = reply ? (f->dir & MP_DIR_OUT) && !f->is_new
				  : (f->dir & MP_DIR_IN) || f->is_new;

		if (here)
			s->field[s->count++] = f;
	}
}

static void check_shape(struct mp_api *api, const struct mp_item *it, const struct mp_shape *s)
{
	for (unsigned i = 0; i < s->count; i++)
		check_len(api, it, s, s->field[i]);
	if (s->size > FIXED_MAX)
		mp_gen_error(api, it->file, it->line,
			     "the fixed part of %s has %u bytes, more than %u", it->name, s->size,
			     FIXED_MAX);
}

static bool lay_out_struct(struct mp_api *api, struct mp_item *it);

/* Resolves the type of a field; structs are laid out on first use. */
static bool resolve(struct mp_api *api, struct mp_item *it, struct mp_field *f)
{
	const char *name = f->type.name;

	if (!mp_type_find(api, name, &f->type)) {
		mp_gen_error(api, it->file, f->line, "%s is no type that %s can have", name,
			     f->name);
		return false;
	}
	if (f->type.base == MP_BASE_STRUCT) {
		if (!lay_out_struct(api, f->type.item))
			return false;
		if (f->type.array && !f->type.item->msg.plain) {
			mp_gen_error(
				api, it->file, f->line,
				"%s: elements of an array must be plain, and struct %s has a tail",
				f->name, name);
			return false;
		}
	}
	if ((f->is_new || f->gone) && (f->type.base != MP_BASE_ID || f->type.array)) {
		mp_gen_error(api, it->file, f->line, "%s is no handle: new and gone need one",
			     f->name);
		return false;
	}
	if (f->is_new && f->dir != MP_DIR_OUT) {
		mp_gen_error(api, it->file, f->line, "%s is new and must be out", f->name);
		return false;
	}
	return true;
}

static bool resolve_all(struct mp_api *api, struct mp_item *it)
{
	bool good = true;

	for (unsigned i = 0; i < it->count; i++) {
		good &= resolve(api, it, &it->field[i]);
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(it->field[i].name, it->field[j].name)) {
				mp_gen_error(api, it->file, it->field[i].line,
					     "%s has two fields named %s", it->name,
					     it->field[i].name);
				good = false;
			}
	}
	return good;
}

static bool lay_out_struct(struct mp_api *api, struct mp_item *it)
{
	if (it->mark == 1) {
		mp_gen_error(api, it->file, it->line, "struct %s contains itself", it->name);
		return false;
	}
	if (it->mark)
		return it->mark == 2;
	it->mark = 1;
	if (!resolve_all(api, it) || !it->count) {
		if (!it->count)
			mp_gen_error(api, it->file, it->line, "struct %s has no field", it->name);
		it->mark = 3;
		return false;
	}
	collect(it, &it->msg, false);
	lay_out(&it->msg, 0, 1);
	it->mark = 2;
	check_shape(api, it, &it->msg);
	return true;
}

/* An automatic body needs to know each C parameter, once. */
static void check_params(struct mp_api *api, struct mp_item *it)
{
	const struct mp_proto *p = it->proto;
	bool automatic = it->shim_auto || it->worker_auto;

	for (int i = 0; p && i < p->count; i++) {
		bool found = false;

		for (unsigned j = 0; j < it->count; j++)
			if (!strcmp(it->field[j].name, p->param[i].name)) {
				it->field[j].param = i;
				found = true;
			}
		if (automatic && !found)
			mp_gen_error(api, it->file, it->line,
				     "%s has an automatic body, but parameter %s is not described",
				     it->name, p->param[i].name);
	}
	for (unsigned j = 0; automatic && j < it->count; j++)
		if (it->field[j].param < 0)
			mp_gen_error(api, it->file, it->field[j].line,
				     "%s has an automatic body, but no parameter %s", it->name,
				     it->field[j].name);
}

/* What automatic bodies cannot express. */
static void check_automatic(struct mp_api *api, struct mp_item *it)
{
	for (unsigned i = 0; i < it->count; i++) {
		const struct mp_field *f = &it->field[i];
		const struct mp_type *t = &f->type;

		if (t->array && !f->len && !f->all)
			mp_gen_error(api, it->file, f->line,
				     "%s: an automatic body needs `len` or `all` of an array",
				     f->name);
		if (f->optional && (f->dir & MP_DIR_IN) && t->base != MP_BASE_STRING && !f->all)
			mp_gen_error(
				api, it->file, f->line,
				"%s is optional: an automatic body cannot say that it is absent",
				f->name);
		if ((f->dir & MP_DIR_OUT) &&
		    (mp_type_tail(t) || t->device ||
		     (t->base == MP_BASE_ID && !f->is_new && it->worker_auto)))
			mp_gen_error(api, it->file, f->line,
				     "%s comes out: an automatic body cannot make it", f->name);
	}
}

static void check_call(struct mp_api *api, struct mp_item *it)
{
	const char *v = strrchr(it->name, '_');
	size_t base = v && v[1] == 'v' && v[2] >= '1' && v[2] <= '9' && !v[3]
			      ? (size_t)(v - it->name)
			      : strlen(it->name);

	it->base = mp_gen_strndup(it->name, base);
	it->proto = mp_proto_find(api, it->name, strlen(it->name));
	if (!it->proto) {
		mp_gen_error(api, it->file, it->line, "the ABI has no export %s", it->name);
		return;
	}
	if (it->variant) {
		const char *variant = mp_variant_name(it);

		if (!mp_proto_find(api, variant, strlen(variant)))
			mp_gen_error(api, it->file, it->line, "the ABI has no export %s", variant);
	}
	if (it->class != MP_CLASS_CARRIED && (it->shim_auto || it->worker_auto || it->reply))
		mp_gen_error(api, it->file, it->line, "%s is not carried and has no body or reply",
			     it->name);
	check_params(api, it);
}

static void check_order(struct mp_api *api, struct mp_item *it)
{
	const struct mp_field *f;

	if (it->order == MP_ORDER_STREAM) {
		f = mp_item_field(it, it->order_field);
		if (!f || strcmp(mp_kind_name(f->type.kind), "stream"))
			mp_gen_error(api, it->file, it->line, "order of %s: %s is no stream field",
				     it->name, it->order_field);
	}
	for (unsigned i = 0; i < it->holds; i++)
		if (!mp_item_field(it, it->hold[i].field))
			mp_gen_error(api, it->file, it->line, "hold: %s has no field %s", it->name,
				     it->hold[i].field);
}

static void check_item(struct mp_api *api, struct mp_item *it)
{
	if (!it->prose && it->class != MP_CLASS_REFUSED)
		mp_gen_error(api, it->file, it->line, "%s has no line of prose", it->name);
	if (it->type == MP_ITEM_STRUCT) {
		lay_out_struct(api, it);
		return;
	}
	if (!it->number || it->number > NUMBER_MAX)
		mp_gen_error(api, it->file, it->line, "the number of %s is not within 1..0x%x",
			     it->name, NUMBER_MAX);
	if (it->type == MP_ITEM_CALL)
		check_call(api, it);
	if (!resolve_all(api, it))
		return;
	check_order(api, it);
	if (it->shim_auto || it->worker_auto)
		check_automatic(api, it);
	it->has_msg = it->class == MP_CLASS_CARRIED || it->class == MP_CLASS_RECORD;
	if (!it->has_msg)
		return;
	collect(it, &it->msg, false);
	lay_out(&it->msg, 0, 8);
	check_shape(api, it, &it->msg);
	collect(it, &it->rep, true);
	it->has_rep = it->reply || it->rep.count;
	if (it->has_rep) {
		lay_out(&it->rep, 4, 8);
		check_shape(api, it, &it->rep);
	}
}

static int by_number(const void *a, const void *b)
{
	const struct mp_item *x = *(struct mp_item *const *)a, *y = *(struct mp_item *const *)b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static void check_unique(struct mp_api *api)
{
	api->by_number = mp_gen_alloc((api->count + 1) * sizeof(api->by_number[0]));
	for (size_t i = 0; i < api->count; i++) {
		struct mp_item *it = api->item[i];

		if (it->type != MP_ITEM_STRUCT)
			api->by_number[api->numbered++] = it;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(it->name, api->item[j]->name) &&
			    (it->type == MP_ITEM_STRUCT) == (api->item[j]->type == MP_ITEM_STRUCT))
				mp_gen_error(api, it->file, it->line, "%s was declared at %s:%d",
					     it->name, api->item[j]->file, api->item[j]->line);
	}
	qsort(api->by_number, api->numbered, sizeof(api->by_number[0]), by_number);
	for (size_t i = 1; i < api->numbered; i++) {
		struct mp_item *a = api->by_number[i - 1], *b = api->by_number[i];

		if (a->number == b->number)
			mp_gen_error(api, b->file, b->line, "number 0x%04x of %s is that of %s",
				     b->number, b->name, a->name);
	}
}

/* Every export of the ABI is declared, as a call or as the variant of one. */
static void check_covered(struct mp_api *api)
{
	for (size_t i = 0; i < api->protos; i++) {
		const char *name = api->proto[i].name;
		size_t n = strlen(name);
		char variant = n <= 5                           ? 0
			       : !strcmp(name + n - 5, "_ptds") ? 'd'
			       : !strcmp(name + n - 5, "_ptsz") ? 'z'
								: 0;
		const char *base = variant ? mp_gen_strndup(name, n - 5) : name;
		struct mp_item *it = mp_item_find(api, base);

		if (!it || (variant && it->variant != variant))
			mp_gen_error(api, "abi", 0, "export %s is not described", name);
	}
}

void mp_check(struct mp_api *api)
{
	for (size_t i = 0; i < api->count; i++)
		check_item(api, api->item[i]);
	check_unique(api);
	if (!api->errors)
		check_covered(api);
}
