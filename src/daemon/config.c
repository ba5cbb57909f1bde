/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file, from libyaml's events. */
#include "daemon/config.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/code.h"

#include <string.h>
#include <yaml.h>

#define KEYS_MAX 64
#define KEY_SIZE 64

struct reader {
	yaml_parser_t yaml;
	const char *file;
	char seen[KEYS_MAX][KEY_SIZE];
	unsigned nseen;
	struct mp_fail *f;
};

static int at_line(struct reader *r, size_t line, const char *text)
{
	return mp_fail_set(r->f, MP_CODE_CONFIG, "%s:%zu: %.400s", r->file, line + 1, text);
}

/* The next event, or -1; the caller deletes it. */
static int event_next(struct reader *r, yaml_event_t *e)
{
	if (yaml_parser_parse(&r->yaml, e))
		return 0;
	return at_line(r, r->yaml.problem_mark.line,
		       r->yaml.problem ? r->yaml.problem : "this is not YAML");
}

static int scalar_take(struct reader *r, const yaml_event_t *e, struct mp_buf *to)
{
	if (e->data.scalar.anchor || e->data.scalar.tag)
		return at_line(r, e->start_mark.line, "anchors and tags are not taken");
	if (memchr(e->data.scalar.value, 0, e->data.scalar.length) ||
	    mp_buf_add(to, e->data.scalar.value, e->data.scalar.length) < 0)
		return at_line(r, e->start_mark.line, "this value is too long, or has a zero byte");
	return 0;
}

/* A scalar, or a list of them joined by commas. */
static int value_read(struct reader *r, struct mp_buf *to)
{
	yaml_event_t e;
	bool list = false;
	int rc;

	do {
		if (event_next(r, &e) < 0)
			return -1;
		rc = 0;
		if (e.type == YAML_SCALAR_EVENT) {
			if (to->len)
				mp_buf_puts(to, ",");
			rc = scalar_take(r, &e, to);
		} else if (e.type == YAML_SEQUENCE_START_EVENT && !list) {
			list = true;
		} else if (e.type == YAML_SEQUENCE_END_EVENT && list) {
			list = false;
		} else {
			rc = at_line(r, e.start_mark.line, "a value is one word or a list of words");
		}
		yaml_event_delete(&e);
	} while (!rc && list);
	return rc;
}

static int key_take(struct reader *r, const yaml_event_t *e, char key[KEY_SIZE])
{
	struct mp_buf b;
	unsigned i;
	int rc;

	mp_buf_init(&b, KEY_SIZE - 1);
	rc = scalar_take(r, e, &b);
	if (!rc)
		snprintf(key, KEY_SIZE, "%s", b.data ? b.data : "");
	mp_buf_fini(&b);
	for (i = 0; !rc && i < r->nseen; i++)
		if (!strcmp(r->seen[i], key))
			rc = at_line(r, e->start_mark.line, "this key came before");
	if (!rc && r->nseen == KEYS_MAX)
		rc = at_line(r, e->start_mark.line, "too many keys");
	if (!rc)
		snprintf(r->seen[r->nseen++], KEY_SIZE, "%s", key);
	return rc;
}

/* One key and its value; 1 when the mapping is over. */
static int pair_read(struct reader *r,
		     int (*set)(void *arg, const char *key, const char *value, struct mp_fail *f),
		     void *arg)
{
	char key[KEY_SIZE] = "";
	struct mp_fail why = {0};
	struct mp_buf value;
	yaml_event_t e;
	size_t line;
	int rc;

	if (event_next(r, &e) < 0)
		return -1;
	line = e.start_mark.line;
	if (e.type == YAML_MAPPING_END_EVENT)
		rc = 1;
	else if (e.type != YAML_SCALAR_EVENT)
		rc = at_line(r, line, "a key is one word");
	else
		rc = key_take(r, &e, key);
	yaml_event_delete(&e);
	if (rc)
		return rc;
	mp_buf_init(&value, 4096);
	rc = value_read(r, &value);
	if (!rc && set(arg, key, value.data ? value.data : "", &why) < 0)
		rc = at_line(r, line, why.text);
	mp_buf_fini(&value);
	return rc;
}

/* Expects one event of this type. */
static int event_expect(struct reader *r, yaml_event_type_t type, const char *text, bool *ret_other)
{
	yaml_event_t e;
	int rc = 0;

	if (event_next(r, &e) < 0)
		return -1;
	if (e.type != type) {
		if (ret_other)
			*ret_other = true;
		else
			rc = at_line(r, e.start_mark.line, text);
	}
	yaml_event_delete(&e);
	return rc;
}

int mp_config_parse(const char *file, const char *text, size_t n,
		    int (*set)(void *arg, const char *key, const char *value, struct mp_fail *f),
		    void *arg, struct mp_fail *f)
{
	struct reader r = {.file = file, .f = f};
	bool empty = false;
	int rc;

	if (!yaml_parser_initialize(&r.yaml))
		return mp_fail_set(f, MP_CODE_CONFIG, "out of memory");
	yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, n);
	rc = event_expect(&r, YAML_STREAM_START_EVENT, "no text", NULL);
	if (!rc)
		rc = event_expect(&r, YAML_DOCUMENT_START_EVENT, "", &empty);
	/* A file of comments alone is fine. */
	if (!rc && !empty) {
		rc = event_expect(&r, YAML_MAPPING_START_EVENT,
				  "the file must be a list of 'key: value' lines", NULL);
		while (!rc)
			rc = pair_read(&r, set, arg);
		rc = rc > 0 ? 0 : rc;
		if (!rc)
			rc = event_expect(&r, YAML_DOCUMENT_END_EVENT, "one document only", NULL);
		if (!rc)
			rc = event_expect(&r, YAML_STREAM_END_EVENT, "one document only", NULL);
	}
	yaml_parser_delete(&r.yaml);
	return rc;
}
