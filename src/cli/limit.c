/* SPDX-License-Identifier: Apache-2.0 */
/* limit, client: what an administrator allows. */
#include "cli/cli.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *devices_print(const json_t *v, char text[32])
{
	long long n = json_integer_value(v);
	size_t len;

	if (!json_is_integer(v))
		return "-";
	snprintf(text, 32, "%lld.%06lld", n / 1000000, n % 1000000);
	for (len = strlen(text); text[len - 1] == '0'; len--)
		text[len - 1] = 0;
	if (text[len - 1] == '.')
		text[len - 1] = 0;
	return text;
}

static void row_print(struct mp_table *t, const char *who, const json_t *limit, const json_t *use)
{
	const json_t *idle = json_object_get(limit, "idle_s");
	char a[32], b[32];

	mp_table_cell(t, "%s", who);
	mp_table_cell(t, "%s", devices_print(json_object_get(limit, "gpus_millionths"), a));
	mp_table_cell(t, "%s", use ? devices_print(use, b) : "-");
	if (json_is_integer(idle))
		mp_table_cell(t, "%lld", (long long)json_integer_value(idle));
	else
		mp_table_cell(t, "-");
}

int mp_cli_limit_list(struct mp_cli *c)
{
	static const char *const names[] = {"WHO", "LIMIT", "IN-USE", "IDLE-S"};
	json_t *j, *l, *use, *v;
	struct mp_table *t;
	const char *who;
	size_t i;
	int rc;

	j = mp_cli_ask(c, "GET", "/v1/limits", NULL, &rc);
	if (!j)
		return rc;
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	for (i = 1; i < 4; i++)
		mp_table_right(t, (unsigned)i);
	use = json_object_get(j, "in_use_millionths");
	json_array_foreach(json_object_get(j, "limits"), i, l) {
		who = mp_cli_text(l, "who");
		row_print(t, who, l, json_object_get(use, who));
		json_object_del(use, who);
	}
	json_object_foreach(use, who, v)
		row_print(t, who, NULL, v);
	mp_table_print(t, c->no_headers);
	json_decref(j);
	return 0;
}

static int put(struct mp_cli *c, json_t *own_body)
{
	char path[160];
	json_t *j;
	int rc;

	snprintf(path, sizeof(path), "/v1/limits/%.63s", c->argv[0]);
	j = mp_cli_ask(c, "PUT", path, own_body, &rc);
	json_decref(j);
	return rc;
}

int mp_cli_limit_set(struct mp_cli *c)
{
	json_t *body = json_object();
	struct mp_fail f = {0};
	char *end = NULL;
	double v;

	if (c->argc > 1) {
		v = strtod(c->argv[1], &end);
		if (*end || !(v >= 0 && v < 1e9)) {
			json_decref(body);
			mp_fail_set(&f, MP_CODE_USAGE, "'%s' is not a number of devices like 2.5",
				    c->argv[1]);
			return mp_cli_fail(&f);
		}
		json_object_set_new(body, "gpus_millionths", json_integer((json_int_t)(v * 1e6 + 0.5)));
	}
	if (c->idle_s >= 0)
		json_object_set_new(body, "idle_s",
				    c->idle_s ? json_integer(c->idle_s) : json_null());
	if (!json_object_size(body)) {
		json_decref(body);
		mp_fail_set(&f, MP_CODE_USAGE, "say how many devices, or --idle T");
		return mp_cli_fail(&f);
	}
	return put(c, body);
}

int mp_cli_limit_clear(struct mp_cli *c)
{
	json_t *body = json_pack("{s:n}", "gpus_millionths");

	if (strcmp(c->argv[0], "pool"))
		json_object_set_new(body, "idle_s", json_null());
	return put(c, body);
}

int mp_cli_client_list(struct mp_cli *c)
{
	static const char *const names[] = {"CLIENT", "STATE", "TOKENS", "LEASES", "IN-USE", "LIMIT", "IDLE"};
	struct mp_table *t;
	json_t *j, *r;
	size_t i;
	int rc;

	j = mp_cli_ask(c, "GET", "/v1/clients", NULL, &rc);
	if (!j)
		return rc;
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	json_array_foreach(json_object_get(j, "clients"), i, r) {
		mp_table_cell(t, "%s", mp_cli_text(r, "client"));
		mp_table_cell(t, "%s", mp_cli_text(r, "state"));
		mp_table_cell(t, "%lld", mp_cli_number(r, "tokens"));
		mp_table_cell(t, "%lld", mp_cli_number(r, "leases"));
		mp_table_cell(t, "%g", (double)mp_cli_number(r, "in_use_millionths") / 1e6);
		if (json_is_integer(json_object_get(r, "limit_millionths")))
			mp_table_cell(t, "%g", (double)mp_cli_number(r, "limit_millionths") / 1e6);
		else
			mp_table_cell(t, "-");
		if (json_is_integer(json_object_get(r, "idle_s")))
			mp_table_cell(t, "%lld s", mp_cli_number(r, "idle_s"));
		else
			mp_table_cell(t, "-");
	}
	mp_table_print(t, c->no_headers);
	json_decref(j);
	return 0;
}

int mp_cli_client_change(struct mp_cli *c)
{
	char path[160];
	json_t *j;
	int rc;

	snprintf(path, sizeof(path), "/v1/clients/%.63s/%s", c->argv[0], c->role);
	j = mp_cli_ask(c, "POST", path, NULL, &rc);
	json_decref(j);
	return rc;
}
