/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backup and restore of what an administrator has set: settings, limits, clients,
 * tokens (their hashes), drained servers and devices.  No leases: those live.
 *
 * The authority's key is in a backup only under a passphrase.  Restoring adds and
 * replaces, and never revives: a token that was revoked since stays revoked.
 */
#include "rest/call.h"
#include "http/http.h"
#include "base/check.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

static const char *const kept[] = {"/settings/", "/limits/", "/clients/", "/tokens/", "/drain/", "/off/"};

static int add(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)revision;
	json_object_set_new(arg, key, json_string(value));
	return 0;
}

void mp_rest_backup(struct mp_rest_call *c)
{
	const char *pass = json_string_value(json_object_get(c->body, "passphrase"));
	const char *dir = mp_pool_state_dir(c->pool);
	json_t *keys = json_object(), *answer;
	char *sealed = NULL, *ca = mp_http_authority(dir);
	struct mp_fail f = {0};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(kept); i++)
		mp_store_list(mp_pool_store(c->pool), kept[i], add, keys);
	if (pass && mp_http_seal(dir, pass, &sealed, &f) < 0) {
		json_decref(keys);
		free(ca);
		f.code = MP_CODE_USAGE;
		mp_rest_refuse(c, &f);
		return;
	}
	answer = json_pack("{s:s, s:i, s:s, s:o}", "product", "motorpool backup", "schema_version", 1, "version",
			   MP_VERSION, "keys", keys);
	if (sealed) {
		json_object_set_new(answer, "authority_key", json_string(sealed));
		json_object_set_new(answer, "authority", json_string(ca ? ca : ""));
	}
	free(sealed);
	free(ca);
	mp_http_answer_json(c->request, 200, answer);
}

/* Revoked now, or in the backup: revoked. */
static bool revives(struct mp_store *s, const char *key, const char *value)
{
	char *now = NULL;
	int64_t revision;
	bool was;

	if (strncmp(key, "/tokens/", 8) || strstr(value, "\"state\":\"revoked\""))
		return false;
	mp_store_get(s, key, &now, &revision);
	was = now && strstr(now, "\"state\":\"revoked\"");
	free(now);
	return was;
}

static bool is_kept(const char *key)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(kept); i++)
		if (!strncmp(key, kept[i], strlen(kept[i])) && strlen(key) > strlen(kept[i]) && strlen(key) < 400)
			return true;
	return false;
}

static int authority_restore(struct mp_rest_call *c, struct mp_fail *f)
{
	const char *key = json_string_value(json_object_get(c->body, "authority_key"));
	const char *ca = json_string_value(json_object_get(c->body, "authority"));
	const char *pass = json_string_value(json_object_get(c->body, "passphrase"));

	if (!key)
		return 0;
	if (!ca || !pass || mp_http_unseal(mp_pool_state_dir(c->pool), ca, key, pass, f) < 0) {
		if (!f->text[0])
			mp_fail_set(f, 0, "the authority's key in this backup needs its passphrase: give --passphrase-file");
		f->code = MP_CODE_USAGE;
		return -1;
	}
	mp_pool_authority_changed(c->pool);
	return 1;
}

void mp_rest_restore(struct mp_rest_call *c)
{
	struct mp_store *s = mp_pool_store(c->pool);
	unsigned put = 0, revoked = 0, odd = 0;
	struct mp_fail f = {0};
	const char *key, *text;
	json_t *v, *parsed;
	int rc = authority_restore(c, &f);

	if (rc < 0) {
		mp_rest_refuse(c, &f);
		return;
	}
	json_object_foreach(json_object_get(c->body, "keys"), key, v) {
		struct mp_store_change ch = {.key = key, .value = json_string_value(v)};

		text = ch.value ? ch.value : "";
		/* Records are JSON; settings and marks are words. */
		parsed = *text == '{' ? json_loads(text, 0, NULL) : NULL;
		if (!is_kept(key) || !*text || (*text == '{' && !parsed)) {
			odd++;
		} else if (revives(s, key, text)) {
			revoked++;
		} else if (mp_store_commit(s, NULL, 0, &ch, 1, NULL)) {
			json_decref(parsed);
			mp_fail_set(&f, MP_CODE_QUORUM, "the pool's store cannot be written now; %u keys were "
							"restored", put);
			mp_rest_refuse(c, &f);
			return;
		} else {
			put++;
		}
		json_decref(parsed);
	}
	mp_http_answer_json(c->request, 200, json_pack("{s:i, s:i, s:i, s:b}", "restored", (int)put,
						       "kept_revoked", (int)revoked, "not_understood", (int)odd,
						       "authority", rc > 0));
}

/* ---- What happened here, and how fast the way is ---- */

static void line_add(void *arg, const char *line)
{
	json_array_append_new(arg, json_stringn(line, strcspn(line, "\n")));
}

void mp_rest_logs(struct mp_rest_call *c)
{
	const char *n = mp_http_query(c->request, "lines");
	json_t *lines = json_array();

	mp_log_tail(n ? (unsigned)strtoul(n, NULL, 10) : 200, line_add, lines);
	mp_http_answer_json(c->request, 200, json_pack("{s:i, s:o}", "schema_version", 1, "lines", lines));
}

#define BLOB_MAX (64u << 20)

void mp_rest_netperf_lane(struct mp_rest_call *c)
{
	struct mp_fail f = {0};
	json_t *j = mp_perf_open(c->pool, &f);

	if (j)
		mp_http_answer_json(c->request, 200, j);
	else
		mp_rest_refuse(c, &f);
}

void mp_rest_netperf(struct mp_rest_call *c)
{
	const char *n = mp_http_query(c->request, "bytes");
	size_t size = n ? strtoul(n, NULL, 10) : 0;
	char *blob = calloc(1, size && size <= BLOB_MAX ? size : 1);

	if (!blob || size > BLOB_MAX) {
		struct mp_fail f = {0};

		mp_fail_set(&f, MP_CODE_USAGE, "at most %u bytes", BLOB_MAX);
		mp_rest_refuse(c, &f);
	} else {
		mp_http_answer(c->request, 200, "application/octet-stream", blob, size);
	}
	free(blob);
}
