/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of the whole pool: one table, kept in the store under /settings/NAME. */
#include "pool/state.h"
#include "base/words.h"

#include <stdlib.h>
#include <string.h>

enum setting_kind { SETTING_WORD, SETTING_TIME };

static const struct row {
	const char *name, *standard, *words, *text;
	enum setting_kind kind;
} rows[] = {
	{"placement", "pack", "pack|spread", "fill servers and devices one by one, or spread over them",
	 SETTING_WORD},
	{"encryption", "on", "on|off", "of programs' data between client and server; off only where the network "
				       "is trusted", SETTING_WORD},
	{"keep-free", "2s", NULL, "freed memory waits so long for the first in the waiting line", SETTING_TIME},
	{"reserve-after", "5m", NULL, "a request that has waited so long reserves its best server", SETTING_TIME},
};

static const struct row *row_find(const char *name)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

static void value_get(struct mp_pool *p, const struct row *r, char *to, size_t size)
{
	char key[64], *text = NULL;
	int64_t revision;

	snprintf(key, sizeof(key), "/settings/%s", r->name);
	if (mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK)
		snprintf(to, size, "%s", text);
	else
		snprintf(to, size, "%s", r->standard);
	free(text);
}

bool mp_setting_is(struct mp_pool *p, const char *name, const char *value)
{
	const struct row *r = row_find(name);
	char have[64];

	assert(r);
	value_get(p, r, have, sizeof(have));
	return !strcmp(have, value);
}

int64_t mp_setting_seconds(struct mp_pool *p, const char *name)
{
	const struct row *r = row_find(name);
	char have[64];
	int64_t s = 0;

	assert(r && r->kind == SETTING_TIME);
	value_get(p, r, have, sizeof(have));
	return mp_duration_parse(have, &s) ? s : 0;
}

/* Is the word one of "a|b|c"? */
static bool word_in(const char *words, const char *word)
{
	size_t n = strlen(word);
	const char *at;

	for (at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (n && !strncmp(at, word, n) && (at[n] == '|' || !at[n]))
			return true;
	return false;
}

int mp_setting_set(struct mp_pool *p, const char *name, const char *value, struct mp_fail *f)
{
	const struct row *r = row_find(name);
	char key[64];
	struct mp_store_change c = {.key = key, .value = value};
	int64_t s;

	if (!r)
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no setting '%.64s': 'motorpool setting list' has them", name);
	if (!value || (r->kind == SETTING_WORD && !word_in(r->words, value)) ||
	    (r->kind == SETTING_TIME && (strlen(value) > 32 || !mp_duration_parse(value, &s))))
		return mp_fail_set(f, MP_CODE_USAGE, "%s takes %s, not '%.64s'", name,
				   r->words ? r->words : "a time like 5m", value ? value : "");
	snprintf(key, sizeof(key), "/settings/%s", name);
	if (mp_store_commit(p->store, NULL, 0, &c, 1, NULL))
		return mp_store_refuse(p, f);
	mp_log(MP_LOG_INFO, "pool", "setting", "name=%s value=%s", name, value);
	return 0;
}

json_t *mp_setting_list(struct mp_pool *p)
{
	json_t *list = json_array();
	char value[64];
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		value_get(p, &rows[i], value, sizeof(value));
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", rows[i].name, "value",
						      value, "default", rows[i].standard, "text",
						      rows[i].text));
	}
	return json_pack("{s:i, s:o}", "schema_version", 1, "settings", list);
}
