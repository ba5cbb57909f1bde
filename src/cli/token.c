/* SPDX-License-Identifier: Apache-2.0 */
/* token: what an administrator does with them. */
#include "cli/cli.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void date_print(long long seconds, char text[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	strftime(text, 32, "%Y-%m-%d", gmtime_r(&t, &tm));
}

int mp_cli_token_list(struct mp_cli *c)
{
	static const char *const names[] = {"TOKEN", "CLIENT", "ROLE", "STATE", "CREATED", "EXPIRES"};
	json_t *j, *t;
	struct mp_table *table;
	char date[32];
	size_t i;
	int rc;

	j = mp_cli_ask(c, "GET", "/v1/tokens", NULL, &rc);
	if (!j)
		return rc;
	table = mp_table_titled(names, MP_ARRAY_LEN(names));
	json_array_foreach(json_object_get(j, "tokens"), i, t) {
		mp_table_cell(table, "%s", mp_cli_text(t, "id"));
		mp_table_cell(table, "%s", mp_cli_text(t, "client"));
		mp_table_cell(table, "%s", mp_cli_text(t, "role"));
		mp_table_cell(table, "%s", mp_cli_text(t, "state"));
		date_print(mp_cli_number(t, "created"), date);
		mp_table_cell(table, "%s", date);
		date_print(mp_cli_number(t, "expires"), date);
		mp_table_cell(table, "%s", date);
	}
	mp_table_print(table, c->no_headers);
	json_decref(j);
	return 0;
}

int mp_cli_token_show(struct mp_cli *c)
{
	static const char *const words[] = {"id", "client", "role", "state", "priority"};
	struct mp_fail f = {0};
	json_t *j, *t, *found = NULL;
	char date[32];
	size_t i;
	int rc;

	j = mp_cli_call(c, "GET", "/v1/tokens", NULL, &rc);
	if (!j)
		return rc;
	json_array_foreach(json_object_get(j, "tokens"), i, t)
		if (!strcmp(mp_cli_text(t, "id"), c->argv[0]))
			found = t;
	if (!found) {
		mp_fail_set(&f, MP_CODE_NOT_FOUND, "there is no token %.64s: 'motorpool token list' has them", c->argv[0]);
		rc = mp_cli_fail(&f);
	} else if (c->json) {
		rc = mp_cli_print_json(found);
	} else {
		for (i = 0; i < MP_ARRAY_LEN(words); i++)
			if (*mp_cli_text(found, words[i]))
				printf("%-10s %s\n", words[i], mp_cli_text(found, words[i]));
		date_print(mp_cli_number(found, "created"), date);
		printf("%-10s %s\n", "created", date);
		date_print(mp_cli_number(found, "expires"), date);
		printf("%-10s %s\n", "expires", date);
	}
	json_decref(j);
	return rc;
}

static int file_put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[4200];
	size_t n = strlen(text);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -1;
	if (write(fd, text, n) != (ssize_t)n) {
		close(fd);
		return -1;
	}
	return close(fd);
}

/* The new bundle: our own authority and servers, and the new token. */
static int bundle_put(const struct mp_cli *c, const char *token, struct mp_fail *f)
{
	char servers[8192] = "";
	struct mp_bundle b;
	json_t *live = NULL, *one;
	const char *ca;
	size_t k;
	unsigned i;
	int rc = 0;

	/* The authority as the pool has it now, and every server that lives: ours may be older. */
	if (mp_bundle_open(c->bundle, &b, f) < 0)
		return -1;
	rc = mp_client_call(&b, c->server, "GET", "/v1/ca", NULL, &live, f);
	ca = mp_cli_text(live, "ca");
	for (i = 0; i < b.nservers; i++)
		snprintf(servers + strlen(servers), sizeof(servers) - strlen(servers), "%s\n",
			 b.servers[i]);
	json_array_foreach(json_object_get(live, "servers"), k, one) {
		const char *address = json_is_string(one) ? json_string_value(one) : "";
		char line[300];
		size_t n = strlen(servers);

		snprintf(line, sizeof(line), "%.290s\n", address);
		if (strchr(address, ':') && !strstr(servers, line) && n + strlen(line) < sizeof(servers))
			snprintf(servers + n, sizeof(servers) - n, "%s", line);
	}
	mp_bundle_close(&b);
	if (rc < 0) {
		json_decref(live);
		return -1;
	}
	if (!*ca || mkdir(c->output, 0700) < 0 || file_put(c->output, "ca.crt", ca, 0644) < 0 ||
	    file_put(c->output, "servers", servers, 0644) < 0 ||
	    file_put(c->output, "token", token, 0600) < 0)
		rc = mp_fail_set(f, MP_CODE_CONFIG, "cannot write the bundle %s: %s; the token is %s",
				 c->output, strerror(errno), token);
	json_decref(live);
	return rc;
}

/* The answer has the token's text: into a new bundle, or onto the terminal. */
static int token_give(struct mp_cli *c, json_t *own_answer)
{
	const char *token = mp_cli_text(own_answer, "token");
	struct mp_fail f = {0};
	int rc = 0;

	if (c->output && bundle_put(c, token, &f) < 0)
		rc = mp_cli_fail(&f);
	else if (c->json)
		rc = mp_cli_print_json(own_answer);
	else
		printf("%s\n", c->output ? c->output : token);
	json_decref(own_answer);
	return rc;
}

int mp_cli_token_reissue(struct mp_cli *c)
{
	char path[160];
	json_t *j;
	int rc;

	snprintf(path, sizeof(path), "/v1/tokens/%.64s/reissue", c->argv[0]);
	j = mp_cli_call(c, "POST", path, json_pack("{s:I}", "overlap_s", (json_int_t)c->overlap_s),
			&rc);
	return j ? token_give(c, j) : rc;
}

int mp_cli_token_create(struct mp_cli *c)
{
	struct mp_fail f = {0};
	json_t *j, *body;
	int rc;

	if (!c->client) {
		mp_fail_set(&f, MP_CODE_USAGE, "token create needs --client NAME");
		return mp_cli_fail(&f);
	}
	body = json_pack("{s:s, s:s, s:s, s:I}", "client", c->client, "role", c->role ? c->role : "use",
			 "priority", c->priority ? c->priority : "normal", "lifetime_s", (json_int_t)c->lifetime_s);
	j = mp_cli_call(c, "POST", "/v1/tokens", body, &rc);
	return j ? token_give(c, j) : rc;
}

int mp_cli_token_change(struct mp_cli *c)
{
	char path[160];
	json_t *j;
	int rc;

	snprintf(path, sizeof(path), "/v1/tokens/%.64s/%s", c->argv[0], c->role);
	j = mp_cli_call(c, "POST", path,
			json_pack("{s:I}", "lifetime_s", (json_int_t)c->lifetime_s), &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	json_decref(j);
	return rc;
}
