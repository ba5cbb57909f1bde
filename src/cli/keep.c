/* SPDX-License-Identifier: Apache-2.0 */
/* backup, restore, logs, support-bundle. */
#include "cli/cli.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static int text_write(const char *path, const char *text, struct mp_fail *f)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n = strlen(text);
	bool good = fd >= 0 && write(fd, text, n) == (ssize_t)n;

	if (fd >= 0 && close(fd) < 0)
		good = false;
	return good ? 0 : mp_fail_set(f, MP_CODE_CONFIG, "cannot write %s: %s", path, strerror(errno));
}

/* The first line of a file; the caller frees it. */
static char *passphrase_read(const char *path, struct mp_fail *f)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!in || getline(&line, &size, in) < 0) {
		free(line);
		line = NULL;
		mp_fail_set(f, MP_CODE_CONFIG, "cannot read a passphrase from %s", path);
	}
	if (in)
		fclose(in);
	if (line)
		line[strcspn(line, "\r\n")] = 0;
	return line;
}

static json_t *passphrase_body(const struct mp_cli *c, struct mp_fail *f)
{
	json_t *body = json_object();
	char *pass = c->passphrase ? passphrase_read(c->passphrase, f) : NULL;

	if (pass)
		json_object_set_new(body, "passphrase", json_string(pass));
	if (c->passphrase && !pass) {
		json_decref(body);
		return NULL;
	}
	free(pass);
	return body;
}

static int print_own(json_t *own_j)
{
	int rc = mp_cli_print_json(own_j);

	json_decref(own_j);
	return rc;
}

int mp_cli_backup(struct mp_cli *c)
{
	struct mp_fail f = {0};
	json_t *body = passphrase_body(c, &f), *j;
	char *text;
	int rc;

	if (!body)
		return mp_cli_fail(&f);
	j = mp_cli_call(c, "POST", "/v1/backup", body, &rc);
	if (!j)
		return rc;
	text = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text || text_write(c->argv[0], text, &f) < 0)
		rc = mp_cli_fail(&f);
	else if (c->json)
		rc = print_own(json_pack("{s:s, s:I, s:b}", "file", c->argv[0], "keys",
					 (json_int_t)json_object_size(json_object_get(j, "keys")), "authority_key",
					 json_object_get(j, "authority_key") != NULL));
	else
		printf("%zu keys in %s%s\n", json_object_size(json_object_get(j, "keys")), c->argv[0],
		       json_object_get(j, "authority_key") ? ", and the authority's key under the passphrase" : "");
	free(text);
	json_decref(j);
	return rc;
}

/* A request has a limited size: keys go in portions. */
static int portion_send(struct mp_cli *c, json_t *own_body, long long sums[3])
{
	json_t *j;
	int rc;

	j = mp_cli_call(c, "POST", "/v1/restore", own_body, &rc);
	sums[0] += mp_cli_number(j, "restored");
	sums[1] += mp_cli_number(j, "kept_revoked");
	sums[2] += mp_cli_number(j, "not_understood");
	json_decref(j);
	return rc;
}

int mp_cli_restore(struct mp_cli *c)
{
	json_t *all = json_load_file(c->argv[0], 0, NULL), *keys = json_object_get(all, "keys"), *part, *v, *body;
	long long sums[3] = {0};
	struct mp_fail f = {0};
	const char *key;
	int rc = 0;

	if (!keys || strcmp(mp_cli_text(all, "product"), "motorpool backup")) {
		json_decref(all);
		mp_fail_set(&f, MP_CODE_CONFIG, "%s is no backup: it must be a file that 'motorpool backup' wrote", c->argv[0]);
		return mp_cli_fail(&f);
	}
	body = passphrase_body(c, &f);
	if (!body) {
		json_decref(all);
		return mp_cli_fail(&f);
	}
	if (c->passphrase) {
		json_object_set(body, "authority_key", json_object_get(all, "authority_key"));
		json_object_set(body, "authority", json_object_get(all, "authority"));
	}
	part = json_object();
	json_object_foreach(keys, key, v) {
		json_object_set(part, key, v);
		if (json_object_size(part) == 200 && !rc) {
			rc = portion_send(c, json_pack("{s:o}", "keys", part), sums);
			part = json_object();
		}
	}
	json_object_set_new(body, "keys", part);
	if (!rc)
		rc = portion_send(c, body, sums);
	else
		json_decref(body);
	if (!rc && c->json)
		rc = print_own(json_pack("{s:I, s:I, s:I}", "restored", (json_int_t)sums[0], "kept_revoked",
					 (json_int_t)sums[1], "not_understood", (json_int_t)sums[2]));
	else if (!rc)
		printf("%lld keys restored, %lld tokens stay revoked, %lld keys not understood\n", sums[0], sums[1],
		       sums[2]);
	json_decref(all);
	return rc;
}

/* The API address of a server by its name; the caller frees it. */
static char *address_of(const struct mp_cli *c, const char *name, int *ret_rc)
{
	json_t *pool = mp_cli_call(c, "GET", "/v1/pool", NULL, ret_rc), *s;
	struct mp_fail f = {0};
	char *address = NULL;
	size_t i;

	json_array_foreach(json_object_get(pool, "servers"), i, s)
		if (!strcmp(mp_cli_text(s, "name"), name)) {
			json_t *api = json_array_get(json_object_get(s, "api"), 0);

			address = json_is_string(api) ? strdup(json_string_value(api)) : NULL;
		}
	if (pool && !address) {
		mp_fail_set(&f, MP_CODE_NOT_FOUND, "there is no server %.64s: 'motorpool server list' has them", name);
		*ret_rc = mp_cli_fail(&f);
	}
	json_decref(pool);
	return address;
}

static void lines_put(FILE *out, const json_t *j)
{
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(j, "lines"), i, line)
		fprintf(out, "%s\n", json_string_value(line));
}

int mp_cli_logs(struct mp_cli *c)
{
	int rc = 0;
	char *address = address_of(c, c->argv[0], &rc);
	json_t *j;

	if (!address)
		return rc;
	c->server = address;
	j = mp_cli_call(c, "GET", "/v1/logs?lines=2000", NULL, &rc);
	if (j && c->json)
		rc = mp_cli_print_json(j);
	else if (j)
		lines_put(stdout, j);
	json_decref(j);
	free(address);
	return rc;
}

/* ---- A directory for whoever helps ---- */

static void part_put(struct mp_cli *c, const char *dir, const char *name, const char *path)
{
	json_t *j = NULL;
	struct mp_bundle b;
	struct mp_fail f = {0};
	char file[4300], *text = NULL;

	if (mp_bundle_open(c->bundle, &b, &f) == 0) {
		if (mp_client_call(&b, c->server, "GET", path, NULL, &j, &f) == 0)
			text = json_dumps(j, JSON_INDENT(1));
		mp_bundle_close(&b);
	}
	snprintf(file, sizeof(file), "%s/%s.json", dir, name);
	/* That something cannot be asked is worth telling, too. */
	if (text_write(file, text ? text : f.text, &f) < 0)
		fprintf(stderr, "motorpool: %s\n", f.text);
	free(text);
	json_decref(j);
}

static void client_put(const char *dir)
{
	char file[4300], text[1024];
	struct utsname u = {0};
	struct mp_fail f = {0};

	uname(&u);
	snprintf(text, sizeof(text), "motorpool %s\n%s %s %s\nLD_LIBRARY_PATH=%.300s\n", MP_VERSION, u.sysname,
		 u.release, u.machine, getenv("LD_LIBRARY_PATH") ? getenv("LD_LIBRARY_PATH") : "");
	snprintf(file, sizeof(file), "%s/client.txt", dir);
	if (text_write(file, text, &f) < 0)
		fprintf(stderr, "motorpool: %s\n", f.text);
}

static void server_put(struct mp_cli *c, const char *dir, const json_t *s)
{
	json_t *api = json_array_get(json_object_get(s, "api"), 0);
	const char *was = c->server;
	char name[128];

	if (!json_is_string(api))
		return;
	c->server = json_string_value(api);
	snprintf(name, sizeof(name), "health-%.64s", mp_cli_text(s, "name"));
	part_put(c, dir, name, "/v1/health");
	snprintf(name, sizeof(name), "log-%.64s", mp_cli_text(s, "name"));
	part_put(c, dir, name, "/v1/logs?lines=2000");
	c->server = was;
}

int mp_cli_support_bundle(struct mp_cli *c)
{
	static const struct {
		const char *name, *path;
	} parts[] = {{"pool", "/v1/pool"}, {"limits", "/v1/limits"}, {"settings", "/v1/settings"},
		     {"tokens", "/v1/tokens"}, {"audit", "/v1/audit"}};
	const char *dir = c->output ? c->output : "motorpool-support";
	struct mp_fail f = {0};
	json_t *pool, *s;
	size_t i;
	int rc;

	if (mkdir(dir, 0700) < 0) {
		mp_fail_set(&f, MP_CODE_CONFIG, "cannot make %s: %s", dir, strerror(errno));
		return mp_cli_fail(&f);
	}
	client_put(dir);
	for (i = 0; i < MP_ARRAY_LEN(parts); i++)
		part_put(c, dir, parts[i].name, parts[i].path);
	pool = mp_cli_call(c, "GET", "/v1/pool", NULL, &rc);
	json_array_foreach(json_object_get(pool, "servers"), i, s)
		server_put(c, dir, s);
	json_decref(pool);
	if (c->json)
		return print_own(json_pack("{s:s}", "directory", dir));
	printf("%s: no secrets are in it, names of users, hosts and programs are\n", dir);
	return 0;
}
