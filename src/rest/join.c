/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a pool, and the pool's authority.
 *
 * A join token is "mpj_ID_SECRET.FINGERPRINT@HOST:PORT": the new server reads the
 * authority there, believes it by its fingerprint, shows the rest over TLS and
 * gets a certificate, the authority, and where the store is.  Only the server
 * with the authority's key can do that; others say where it is.
 */
#include "rest/call.h"
#include "http/http.h"
#include "base/check.h"
#include "base/pem.h"

#include <pthread.h>

#include <stdlib.h>
#include <string.h>

void mp_rest_ca(struct mp_rest_call *c)
{
	char *ca = mp_http_authority(mp_pool_state_dir(c->pool));

	mp_http_answer_json(c->request, 200, json_pack("{s:s, s:o}", "ca", ca ? ca : "", "servers",
						       mp_pool_apis(c->pool)));
	free(ca);
}

/* Is the authority here?  Otherwise the caller was told where. */
static bool authority_here(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	if (mp_http_has_authority(mp_pool_state_dir(c->pool)))
		return true;
	mp_fail_set(&f, MP_CODE_ELSEWHERE, "the pool's authority is on another server");
	mp_rest_elsewhere(c, &f, mp_pool_authority_api(c->pool));
	return false;
}

void mp_rest_ca_change(struct mp_rest_call *c)
{
	const char *dir = mp_pool_state_dir(c->pool);
	const char *cert = json_string_value(json_object_get(c->body, "certificate"));
	bool retire = strstr(c->row->path, "/retire") != NULL, import = strstr(c->row->path, "/import") != NULL;
	struct mp_fail f = {0};
	int rc;

	if (!authority_here(c))
		return;
	rc = retire   ? mp_http_retire(dir, &f)
	     : import ? mp_http_authority_import(dir, cert ? cert : "", &f)
		      : mp_http_rotate(dir, &f);
	if (rc < 0) {
		f.code = import ? MP_CODE_USAGE : MP_CODE_FAILED;
		mp_rest_refuse(c, &f);
		return;
	}
	/* This server's own certificate follows within a second, the others' by this key. */
	mp_pool_authority_changed(c->pool);
	mp_rest_ca(c);
}

void mp_rest_ca_csr(struct mp_rest_call *c)
{
	struct mp_fail f = {0};
	char *csr;

	if (!authority_here(c))
		return;
	if (mp_http_authority_csr(mp_pool_state_dir(c->pool), &csr, &f) < 0) {
		f.code = MP_CODE_FAILED;
		mp_rest_refuse(c, &f);
		return;
	}
	mp_http_answer_json(c->request, 200, json_pack("{s:s}", "csr", csr));
	free(csr);
}

void mp_rest_join_create(struct mp_rest_call *c)
{
	char text[MP_JOIN_TEXT], mark[17], *ca;
	struct mp_fail f = {0};
	json_t *api;

	if (!authority_here(c))
		return;
	if (mp_join_create(c->pool, json_integer_value(json_object_get(c->body, "lifetime_s")), text, &f) < 0) {
		mp_rest_refuse(c, &f);
		return;
	}
	ca = mp_http_authority(mp_pool_state_dir(c->pool));
	api = mp_pool_api(c->pool);
	if (ca && mp_http_fingerprint(ca, mark))
		mp_http_answer_json(c->request, 201,
				    json_pack("{s:o}", "token",
					      json_sprintf("%s.%s@%s", text, mark,
							   json_string_value(json_array_get(api, 0)))));
	else {
		mp_fail_set(&f, MP_CODE_FAILED, "the pool's authority cannot be read: see whether ca.key "
			    "in the state directory is there");
		mp_rest_refuse(c, &f);
	}
	json_decref(api);
	free(ca);
}

/* Signs what the body asks for and answers it; true when it was. */
static bool certificate_give(struct mp_rest_call *c, int status, struct mp_fail *f)
{
	const char *dir = mp_pool_state_dir(c->pool), *names[32];
	const char *csr = json_string_value(json_object_get(c->body, "csr"));
	const char *url = mp_pool_store_url(c->pool);
	char *cert, *ca = mp_http_authority(dir), *cross = mp_http_cross(dir);
	json_t *one, *api, *answer;
	unsigned n = 0;
	size_t i;

	json_array_foreach(json_object_get(c->body, "names"), i, one)
		if (json_is_string(one) && n < MP_ARRAY_LEN(names))
			names[n++] = json_string_value(one);
	if (!csr || !ca || mp_http_sign(dir, csr, names, n, &cert, f) < 0) {
		f->code = MP_CODE_USAGE;
		free(ca);
		free(cross);
		return false;
	}
	api = mp_pool_api(c->pool);
	answer = json_pack("{s:s, s:s, s:s?}", "certificate", cert, "ca", ca, "cross", cross);
	/* A pool whose store is this server's file lends it to the others. */
	json_object_set_new(answer, "store",
			    url ? json_string(url)
				: json_sprintf("etcds://%s", json_string_value(json_array_get(api, 0))));
	mp_http_answer_json(c->request, status, answer);
	json_decref(api);
	free(cert);
	free(ca);
	free(cross);
	return true;
}

void mp_rest_join(struct mp_rest_call *c)
{
	const char *token = json_string_value(json_object_get(c->body, "token"));
	const char *name = json_string_value(json_object_get(c->body, "name"));
	struct mp_fail f = {0};

	if (!authority_here(c))
		return;
	if (mp_join_redeem(c->pool, token, name, &f) < 0 || !certificate_give(c, 201, &f)) {
		mp_log(MP_LOG_WARN, "rest", "join-refused", "from=%s why=\"%s\"", mp_http_peer(c->request),
		       f.text);
		mp_rest_refuse(c, &f);
		return;
	}
	mp_pool_audit(c->pool, name, mp_http_peer(c->request), "join", name, "ok");
}

void mp_rest_renew(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	if (!mp_http_is_server(c->request)) {
		mp_fail_set(&f, MP_CODE_FORBIDDEN, "only a server of this pool may ask for that");
		mp_rest_refuse(c, &f);
		return;
	}
	if (authority_here(c) && !certificate_give(c, 200, &f))
		mp_rest_refuse(c, &f);
}

void mp_rest_store_move(struct mp_rest_call *c)
{
	const char *url = json_string_value(json_object_get(c->body, "url"));
	struct mp_fail f = {0};

	if (mp_pool_store_move(c->pool, url ? url : "", &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 200, json_pack("{s:s}", "store", url));
}

/* ---- Who still knows an older authority ---- */

static struct {
	pthread_mutex_t lock;
	json_t *marks; /* token id -> {client, mark}, of those that were seen since the start */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

void mp_rest_seen(struct mp_rest_call *c)
{
	const char *mark = mp_http_header(c->request, "Motorpool-Authority");

	if (!mark || strlen(mark) != 16 || mark[strspn(mark, "0123456789abcdef")])
		return;
	pthread_mutex_lock(&seen.lock);
	if (!seen.marks)
		seen.marks = json_object();
	json_object_set_new(seen.marks, c->caller.token,
			    json_pack("{s:s, s:s}", "client", c->caller.client, "mark", mark));
	pthread_mutex_unlock(&seen.lock);
}

static json_t *row(const char *check, const char *state, const char *text, const char *remedy)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", check, "where", "server", "state", state, "text",
			 text, "remedy", remedy);
}

json_t *mp_rest_authority_check(struct mp_pool *p)
{
	char *ca = mp_http_authority(mp_pool_state_dir(p)), now[17] = "", text[512] = "";
	const char *id;
	size_t n = 0;
	json_t *v;

	if (ca)
		mp_pem_mark(ca, now);
	free(ca);
	pthread_mutex_lock(&seen.lock);
	json_object_foreach(seen.marks, id, v) {
		if (!strcmp(json_string_value(json_object_get(v, "mark")), now) || n > sizeof(text) - 120)
			continue;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.60s (%.12s)", n ? ", " : "last seen with an older authority: ",
				      json_string_value(json_object_get(v, "client")), id);
	}
	pthread_mutex_unlock(&seen.lock);
	return row("authority", n ? "warn" : "ok", n ? text : "nobody was seen with an older authority",
		   n ? "give them the file of 'motorpool ca show' as ca.crt before 'motorpool ca retire'" : "");
}

json_t *mp_rest_certificate_check(struct mp_pool *p)
{
	int days = mp_http_days_left(mp_pool_state_dir(p));
	char text[80];

	snprintf(text, sizeof(text), "the server's certificate holds for %d days", days);
	return row("certificate", days < 1 ? "fail" : days < 25 ? "warn" : "ok", text,
		   days < 25 ? "see the log for why it is not renewed" : "");
}
