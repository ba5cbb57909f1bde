/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to items: what docs/API-DESCRIPTION.md section 1 says, and nothing about meaning. */
#include "mpgen.h"

#include <stdlib.h>
#include <string.h>

static struct mp_item *add_item(struct mp_api *api, const struct mp_line *l, enum mp_item_type type)
{
	struct mp_item *it = mp_gen_alloc(sizeof(*it));

	if (api->count == api->room) {
		size_t room = api->room ? api->room * 2 : 1024;
		struct mp_item **item = mp_gen_alloc(room * sizeof(*item));

		if (api->count)
			memcpy(item, api->item, api->count * sizeof(*item));
		api->item = item;
		api->room = room;
	}
	api->item[api->count++] = it;
	it->type = type;
	it->file = l->file;
	it->line = l->no;
	it->class = type == MP_ITEM_CALL ? MP_CLASS_CARRIED : MP_CLASS_RECORD;
	it->order = MP_ORDER_CONTEXT;
	return it;
}

static bool number(const char *word, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(word, &end, 0);

	*ret = (unsigned)v;
	return *word && !*end && v <= 0xffffff;
}

/* call NUMBER NAME since V [ptds V | ptsz V] */
static struct mp_item *open_call(struct mp_api *api, const struct mp_line *l)
{
	struct mp_item *it = add_item(api, l, MP_ITEM_CALL);

	it->name = l->count > 2 ? l->word[2] : "?";
	if (l->count != 5 && l->count != 7) {
		mp_gen_error(api, l->file, l->no,
			     "a call reads `call NUMBER NAME since VERSION [ptds|ptsz VERSION]`");
		return it;
	}
	if (!number(l->word[1], &it->number))
		mp_gen_error(api, l->file, l->no, "%s is not a number", l->word[1]);
	if (strcmp(l->word[3], "since") || !number(l->word[4], &it->since))
		mp_gen_error(api, l->file, l->no, "`since VERSION` is missing after %s", it->name);
	if (l->count == 7) {
		if (!strcmp(l->word[5], "ptds"))
			it->variant = 'd';
		else if (!strcmp(l->word[5], "ptsz"))
			it->variant = 'z';
		else
			mp_gen_error(api, l->file, l->no, "expected ptds or ptsz, not %s",
				     l->word[5]);
		if (!number(l->word[6], &it->variant_since))
			mp_gen_error(api, l->file, l->no, "%s is not a version", l->word[6]);
	}
	return it;
}

static struct mp_item *open_record(struct mp_api *api, const struct mp_line *l)
{
	struct mp_item *it = add_item(api, l, MP_ITEM_RECORD);

	it->name = l->count > 2 ? l->word[2] : "?";
	if (l->count != 3 || !number(l->word[1], &it->number))
		mp_gen_error(api, l->file, l->no, "a record reads `record NUMBER NAME`");
	return it;
}

static struct mp_item *open_struct(struct mp_api *api, const struct mp_line *l)
{
	struct mp_item *it = add_item(api, l, MP_ITEM_STRUCT);

	it->name = l->count > 1 ? l->word[1] : "?";
	if (l->count == 4 && !strcmp(l->word[2], "is"))
		it->is = l->word[3];
	else if (l->count != 2)
		mp_gen_error(api, l->file, l->no, "a struct reads `struct NAME [is CTYPE]`");
	return it;
}

static struct mp_field *add_field(struct mp_item *it, const struct mp_line *l)
{
	if (it->count == it->room) {
		unsigned room = it->room ? it->room * 2 : 8;
		struct mp_field *field = mp_gen_alloc(room * sizeof(*field));

		if (it->count)
			memcpy(field, it->field, it->count * sizeof(*field));
		it->field = field;
		it->room = room;
	}
	it->field[it->count].line = l->no;
	it->field[it->count].param = -1;
	return &it->field[it->count++];
}

/* The words after the type: `key = value` or a flag. */
static void field_attributes(struct mp_api *api, const struct mp_line *l, struct mp_field *f,
			     int at)
{
	while (at < l->count) {
		const char *key = l->word[at], **value = NULL;

		if (!strcmp(key, "new"))
			f->is_new = true;
		else if (!strcmp(key, "gone"))
			f->gone = true;
		else if (!strcmp(key, "optional"))
			f->optional = true;
		else if (!strcmp(key, "len"))
			value = &f->len;
		else if (!strcmp(key, "all"))
			value = &f->all;
		else if (!strcmp(key, "lane"))
			value = &f->lane;
		else if (!strcmp(key, "spans"))
			value = &f->spans;
		else if (!strcmp(key, "at"))
			value = &f->at;
		else {
			mp_gen_error(api, l->file, l->no, "%s is no attribute of a field", key);
			return;
		}
		at++;
		if (!value)
			continue;
		if (at + 1 >= l->count || strcmp(l->word[at], "=")) {
			mp_gen_error(api, l->file, l->no, "%s needs `= VALUE`", key);
			return;
		}
		*value = l->word[at + 1];
		at += 2;
	}
}

/* Reads the type at word `at`; the name stays unresolved until all structs are known. */
static void field_type(struct mp_api *api, const struct mp_line *l, struct mp_field *f, int at)
{
	if (at + 2 < l->count && !strcmp(l->word[at], "array") && !strcmp(l->word[at + 1], "of")) {
		f->type.array = true;
		at += 2;
	}
	if (at >= l->count) {
		mp_gen_error(api, l->file, l->no, "field %s has no type", f->name);
		f->type.name = "u32";
		return;
	}
	f->type.name = l->word[at];
	field_attributes(api, l, f, at + 1);
}

static bool is_dir(const char *w, enum mp_dir *ret)
{
	*ret = !strcmp(w, "in") ? MP_DIR_IN : !strcmp(w, "out") ? MP_DIR_OUT : MP_DIR_INOUT;
	return *ret != MP_DIR_INOUT || !strcmp(w, "inout");
}

static bool choose(struct mp_api *api, const struct mp_line *l, const char *const *names, int *ret)
{
	for (int i = 0; l->count == 2 && names[i]; i++)
		if (!strcmp(l->word[1], names[i])) {
			*ret = i;
			return true;
		}
	mp_gen_error(api, l->file, l->no, "%s cannot be %s", l->word[0],
		     l->count > 1 ? l->word[1] : "empty");
	return false;
}

static void item_order(struct mp_api *api, const struct mp_line *l, struct mp_item *it)
{
	static const char *const names[] = {"none", "process", "context", NULL};
	int i;

	if (l->count == 3 && !strcmp(l->word[1], "stream")) {
		it->order = MP_ORDER_STREAM;
		it->order_field = l->word[2];
	} else if (choose(api, l, names, &i)) {
		it->order = (enum mp_order)i;
	}
}

static void item_hold(struct mp_api *api, const struct mp_line *l, struct mp_item *it)
{
	if (l->count != 4 || strcmp(l->word[2], "until") ||
	    (strcmp(l->word[3], "sent") && strcmp(l->word[3], "done")))
		mp_gen_error(api, l->file, l->no, "hold reads `hold FIELD until sent|done`");
	else if (it->holds == 4)
		mp_gen_error(api, l->file, l->no, "more than four holds");
	else {
		it->hold[it->holds].field = l->word[1];
		it->hold[it->holds++].until = l->word[3];
	}
}

static void item_attribute(struct mp_api *api, const struct mp_line *l, struct mp_item *it)
{
	static const char *const classes[] = {"home", "carried", "refused", NULL};
	static const char *const bodies[] = {"hand", "auto", NULL};
	const char *key = l->word[0];
	int i;

	if (!strcmp(key, "class") && it->type == MP_ITEM_CALL) {
		if (choose(api, l, classes, &i))
			it->class = (enum mp_class)i;
	} else if (!strcmp(key, "shim")) {
		if (choose(api, l, bodies, &i))
			it->shim_auto = i;
	} else if (!strcmp(key, "worker")) {
		if (choose(api, l, bodies, &i))
			it->worker_auto = i;
	} else if (!strcmp(key, "order")) {
		item_order(api, l, it);
	} else if (!strcmp(key, "hold")) {
		item_hold(api, l, it);
	} else if (!strcmp(key, "reply") && l->count == 1) {
		it->reply = true;
	} else if (!strcmp(key, "may-block") && l->count == 1) {
		it->may_block = true;
	} else {
		mp_gen_error(api, l->file, l->no,
			     "%s is neither an attribute nor a field with a direction", key);
	}
}

static void indented(struct mp_api *api, const struct mp_line *l, struct mp_item *it)
{
	struct mp_field *f;
	enum mp_dir dir;

	if (l->word[0][0] == '"') {
		if (it->prose || l->count > 1)
			mp_gen_error(api, l->file, l->no, "%s has more than one line of prose",
				     it->name);
		it->prose = l->word[0] + 1;
	} else if (it->type == MP_ITEM_STRUCT) {
		f = add_field(it, l);
		f->name = l->word[0];
		f->dir = MP_DIR_IN;
		field_type(api, l, f, 1);
	} else if (l->count > 1 && is_dir(l->word[1], &dir)) {
		f = add_field(it, l);
		f->name = l->word[0];
		f->dir = dir;
		field_type(api, l, f, 2);
	} else {
		item_attribute(api, l, it);
	}
}

void mp_parse(struct mp_api *api, const struct mp_lines *lines)
{
	struct mp_item *it = NULL;

	for (size_t i = 0; i < lines->count; i++) {
		const struct mp_line *l = &lines->line[i];
		const char *key = l->word[0];

		if (l->indented && it && it->file == l->file)
			indented(api, l, it);
		else if (l->indented)
			mp_gen_error(api, l->file, l->no, "an indented line before any item");
		else if (!strcmp(key, "call"))
			it = open_call(api, l);
		else if (!strcmp(key, "record"))
			it = open_record(api, l);
		else if (!strcmp(key, "struct"))
			it = open_struct(api, l);
		else
			mp_gen_error(api, l->file, l->no,
				     "%s opens no item: expected call, record or struct", key);
	}
}
