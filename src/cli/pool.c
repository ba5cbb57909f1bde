/* SPDX-License-Identifier: Apache-2.0 */
/* server, device, setting: steering the pool. */
#include "cli/cli.h"
#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int mp_cli_server_list(struct mp_cli *c)
{
	static const char *const names[] = {"SERVER", "STATE", "DEVICES", "LEASES", "VERSION", "DRIVER", "CUDA",
					    "API"};
	json_t *pool, *s, *d;
	struct mp_table *t;
	long long leases;
	size_t i, k;
	int rc;

	pool = mp_cli_call(c, "GET", "/v1/pool", NULL, &rc);
	if (!pool)
		return rc;
	if (c->json) {
		s = json_pack("{s:i, s:O}", "schema_version", 1, "servers", json_object_get(pool, "servers"));
		rc = mp_cli_print_json(s);
		json_decref(s);
		json_decref(pool);
		return rc;
	}
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	json_array_foreach(json_object_get(pool, "servers"), i, s) {
		leases = 0;
		json_array_foreach(json_object_get(s, "devices"), k, d)
			leases += mp_cli_number(d, "leases");
		mp_table_cell(t, "%s", mp_cli_text(s, "name"));
		mp_table_cell(t, "%s", mp_cli_text(s, "state"));
		mp_table_cell(t, "%zu", json_array_size(json_object_get(s, "devices")));
		mp_table_cell(t, "%lld", leases);
		mp_table_cell(t, "%s", mp_cli_text(s, "version"));
		mp_table_cell(t, "%s", mp_cli_text(s, "driver_version"));
		mp_table_cell(t, "%s", mp_cli_text(s, "cuda_version"));
		d = json_array_get(json_object_get(s, "api"), 0);
		mp_table_cell(t, "%s", json_is_string(d) ? json_string_value(d) : "-");
	}
	mp_table_print(t, c->no_headers);
	json_decref(pool);
	return 0;
}

static int change(struct mp_cli *c, const char *method, const char *path, json_t *own_body)
{
	json_t *j;
	int rc;

	j = mp_cli_call(c, method, path, own_body, &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	json_decref(j);
	return rc;
}

/* c->role is the verb. */
int mp_cli_server_change(struct mp_cli *c)
{
	bool remove = !strcmp(c->role, "remove");
	char path[160];

	snprintf(path, sizeof(path), "/v1/servers/%.64s%s%s", c->argv[0], remove ? "" : "/",
		 remove ? "" : c->role);
	return change(c, remove ? "DELETE" : "POST", path, NULL);
}

int mp_cli_device_change(struct mp_cli *c)
{
	char path[160];

	snprintf(path, sizeof(path), "/v1/devices/%.64s/%s", c->argv[0], c->role);
	return change(c, "POST", path, NULL);
}

int mp_cli_setting_list(struct mp_cli *c)
{
	static const char *const names[] = {"SETTING", "VALUE", "DEFAULT", "MEANING"};
	struct mp_table *t;
	json_t *j, *s;
	size_t i;
	int rc;

	j = mp_cli_ask(c, "GET", "/v1/settings", NULL, &rc);
	if (!j)
		return rc;
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	json_array_foreach(json_object_get(j, "settings"), i, s) {
		mp_table_cell(t, "%s", mp_cli_text(s, "name"));
		mp_table_cell(t, "%s", mp_cli_text(s, "value"));
		mp_table_cell(t, "%s", mp_cli_text(s, "default"));
		mp_table_cell(t, "%s", mp_cli_text(s, "text"));
	}
	mp_table_print(t, c->no_headers);
	json_decref(j);
	return rc;
}

int mp_cli_setting_set(struct mp_cli *c)
{
	char path[160];

	snprintf(path, sizeof(path), "/v1/settings/%.64s", c->argv[0]);
	return change(c, "PUT", path, json_pack("{s:s}", "value", c->argv[1]));
}

int mp_cli_server_add(struct mp_cli *c)
{
	json_t *j;
	int rc;

	j = mp_cli_call(c, "POST", "/v1/joins", json_pack("{s:I}", "lifetime_s", (json_int_t)c->lifetime_s), &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	else
		printf("On the new server, within the hour:\n  motorpoold --name NAME --join %s\n",
		       mp_cli_text(j, "token"));
	json_decref(j);
	return rc;
}

/* show, rotate, retire: all answer what is trusted now. */
int mp_cli_ca(struct mp_cli *c)
{
	bool show = !strcmp(c->role, "show"), csr = !strcmp(c->role, "csr");
	char path[64], pem[65536];
	json_t *j, *body = NULL;
	struct mp_fail f = {0};
	FILE *in;
	int rc;

	if (!strcmp(c->role, "import")) {
		in = fopen(c->argv[0], "re");
		if (!in) {
			mp_fail_set(&f, MP_CODE_CONFIG, "cannot read %s: %s", c->argv[0], strerror(errno));
			return mp_cli_fail(&f);
		}
		pem[fread(pem, 1, sizeof(pem) - 1, in)] = 0;
		fclose(in);
		body = json_pack("{s:s}", "certificate", pem);
	}

	snprintf(path, sizeof(path), "/v1/ca%s%s", show ? "" : "/", show ? "" : c->role);
	j = mp_cli_call(c, show ? "GET" : "POST", path, body, &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	else
		fputs(mp_cli_text(j, csr ? "csr" : "ca"), stdout);
	json_decref(j);
	return rc;
}

int mp_cli_store_migrate(struct mp_cli *c)
{
	return change(c, "POST", "/v1/store/migrate", json_pack("{s:s}", "url", c->argv[0]));
}
