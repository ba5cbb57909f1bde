/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The new server's side of joining, see src/rest/join.c.
 *
 * The first answer comes from somebody unknown; it is believed because the
 * authority in it has the fingerprint that the token names.  Everything after it
 * is asked under that authority.
 */
#include "daemon/join.h"
#include "base/check.h"
#include "base/code.h"
#include "client/client.h"
#include "http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct token {
	char text[128], fingerprint[17], address[300];
};

static int token_split(const char *all, struct token *t, struct mp_fail *f)
{
	const char *dot = strchr(all, '.'), *at = strchr(all, '@');

	if (strncmp(all, "mpj_", 4) || !dot || !at || at - dot != 17 || !strchr(at, ':') ||
	    (size_t)(dot - all) >= sizeof(t->text) || strlen(at) >= sizeof(t->address))
		return mp_fail_set(f, MP_CODE_CONFIG, "that is no join token; make one with 'motorpool "
						      "server add'");
	snprintf(t->text, sizeof(t->text), "%.*s", (int)(dot - all), all);
	snprintf(t->fingerprint, sizeof(t->fingerprint), "%.16s", dot + 1);
	snprintf(t->address, sizeof(t->address), "%s", at + 1);
	return 0;
}

static int file_put(const char *dir, const char *name, const char *text, struct mp_fail *f)
{
	char path[4200];
	size_t n = strlen(text);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n || close(fd) < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* The pool's authority, from whoever is at that address; it must be the one of the token. */
static int authority_get(const char *state, const struct token *t, struct mp_fail *f)
{
	struct mp_http_target target = {.address = t->address};
	struct mp_http_client *c = mp_http_client_new(&target);
	char mark[17] = "";
	json_t *answer = NULL;
	const char *ca;
	int status, rc = -1;

	if (!c)
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	if (mp_http_call(c, "GET", "/v1/ca", NULL, 15000, &status, &answer, f) == MP_HTTP_OK) {
		ca = json_string_value(json_object_get(answer, "ca"));
		if (ca && mp_http_fingerprint(ca, mark) && !strcmp(mark, t->fingerprint))
			rc = file_put(state, "ca.crt", ca, f);
		else
			mp_fail_set(f, MP_CODE_CONFIG, "%s is not the pool that made this join token", t->address);
	} else {
		f->code = MP_CODE_UNREACHABLE;
	}
	json_decref(answer);
	mp_http_client_free(c);
	return rc;
}

static json_t *names_json(const char *const *names, unsigned n)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < n; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

/* Asks, and puts what came into its place; *ret_answer (may be NULL) is the caller's. */
static int certificate_get(const char *state, const struct mp_http_target *target, const char *path,
			   json_t *own_body, json_t **ret_answer, struct mp_fail *f)
{
	struct mp_http_client *c = mp_http_client_new(target);
	json_t *answer = NULL;
	const char *cert, *ca;
	char *csr = NULL;
	int status = 0, rc = -1;

	if (c && mp_http_csr(state, &csr, f) == 0) {
		json_object_set_new(own_body, "csr", json_string(csr));
		if (mp_http_call(c, "POST", path, own_body, 15000, &status, &answer, f) != MP_HTTP_OK) {
			f->code = MP_CODE_UNREACHABLE;
		} else if (status / 100 != 2) {
			mp_client_refusal(status, answer, f);
		} else {
			cert = json_string_value(json_object_get(answer, "certificate"));
			ca = json_string_value(json_object_get(answer, "ca"));
			rc = cert && ca ? mp_http_install(state, ca,
							  json_string_value(json_object_get(answer, "cross")),
							  cert, f)
					: mp_fail_set(f, MP_CODE_FAILED, "%s gave no certificate", target->address);
		}
	}
	if (ret_answer)
		*ret_answer = answer;
	else
		json_decref(answer);
	json_decref(own_body);
	free(csr);
	mp_http_client_free(c);
	return rc;
}

int mp_join(const char *token, const char *state, const char *name, const char *const *names, unsigned n,
	    struct mp_fail *f)
{
	char path[4200], ca[4200];
	struct mp_http_target target = {.ca_file = ca};
	json_t *answer = NULL;
	const char *store;
	struct token t;
	int rc;

	snprintf(path, sizeof(path), "%s/server.crt", state);
	if (access(path, F_OK) == 0)
		return 0;
	snprintf(ca, sizeof(ca), "%s/ca.crt", state);
	if (token_split(token, &t, f) < 0 || authority_get(state, &t, f) < 0)
		return -1;
	target.address = t.address;
	rc = certificate_get(state, &target, "/v1/servers",
			     json_pack("{s:s, s:s, s:o}", "token", t.text, "name", name, "names",
				       names_json(names, n)), &answer, f);
	store = json_string_value(json_object_get(answer, "store"));
	if (!rc)
		rc = file_put(state, "store", store ? store : "", f);
	/* A failed try leaves nothing that looks like a server that has joined. */
	if (rc)
		unlink(path);
	json_decref(answer);
	return rc;
}

int mp_renew(const char *state, const char *name, const char *const *names, unsigned n, const json_t *api,
	     struct mp_fail *f)
{
	char ca[4200], cert[4200], key[4200], path[160];
	struct mp_http_target target = {.ca_file = ca, .cert_file = cert, .key_file = key};
	json_t *one;
	int rc = -1;
	size_t i;

	mp_fail_set(f, MP_CODE_UNREACHABLE, "no server of the pool that answers has its authority: start the "
		    "server that made the pool and join again");
	snprintf(ca, sizeof(ca), "%s/ca.crt", state);
	snprintf(cert, sizeof(cert), "%s/chain.crt", state);
	snprintf(key, sizeof(key), "%s/server.key", state);
	snprintf(path, sizeof(path), "/v1/servers/%.64s/renew", name);
	json_array_foreach((json_t *)(uintptr_t)api, i, one) {
		target.address = json_string_value(one);
		if (rc < 0 && target.address)
			rc = certificate_get(state, &target, path,
					     json_pack("{s:o}", "names", names_json(names, n)), NULL, f);
	}
	return rc;
}
