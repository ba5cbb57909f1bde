/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of paths, who may use them, and the handlers that need no state of
 * their own.  A path's last part may be a variable: {id}.
 */
#include "rest/rest.h"
#include "rest/call.h"
#include "rest/throttle.h"
#include "base/check.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

/* A verb without a row here does not exist. */
static const struct mp_rest_row table[] = {
	{"GET", "/v1/version", MP_ROLE_COUNT, mp_rest_version, "the server's release; no token needed"},
	{"GET", "/v1/pool", MP_ROLE_READ, mp_rest_pool, "servers, devices and leases"},
	{"GET", "/v1/whoami", MP_ROLE_READ, mp_rest_whoami, "the token's id, client and role"},
	{"POST", "/v1/leases", MP_ROLE_USE, mp_rest_lease_grant,
	 "ask for a lease; with \"hold\": true the answer is a stream that keeps it"},
	{"POST", "/v1/offers", MP_ROLE_USE, mp_rest_offers,
	 "which servers could grant such a lease now, the best first"},
	{"POST", "/v1/line", MP_ROLE_USE, mp_rest_line_wait,
	 "wait in line with a request; a stream of \"place\" and \"try\" that keeps the place"},
	{"GET", "/v1/leases/{id}", MP_ROLE_READ, mp_rest_lease_show, "one lease"},
	{"GET", "/v1/leases/{id}/hold", MP_ROLE_USE, mp_rest_lease_hold,
	 "keep a lease again, by its secret; a stream"},
	{"DELETE", "/v1/leases/{id}", MP_ROLE_USE, mp_rest_lease_end,
	 "end a lease: by its secret, its client, or an operator"},
	{"GET", "/v1/limits", MP_ROLE_READ, mp_rest_limit_list, "limits, and what is in use"},
	{"PUT", "/v1/limits/{id}", MP_ROLE_ADMIN, mp_rest_limit_set,
	 "gpus_millionths and idle_s of 'default', 'pool' or a client; null clears"},
	{"GET", "/v1/clients", MP_ROLE_READ, mp_rest_client_list, "clients, their tokens, leases and limits"},
	{"POST", "/v1/clients/{id}/disable", MP_ROLE_ADMIN, mp_rest_client_change,
	 "its tokens are refused"},
	{"POST", "/v1/clients/{id}/enable", MP_ROLE_ADMIN, mp_rest_client_change,
	 "its tokens work again"},
	{"POST", "/v1/servers/{id}/drain", MP_ROLE_OPERATE, mp_rest_server_drain, "no new leases on it"},
	{"POST", "/v1/servers/{id}/undrain", MP_ROLE_OPERATE, mp_rest_server_drain, "new leases again"},
	{"DELETE", "/v1/servers/{id}", MP_ROLE_ADMIN, mp_rest_server_remove,
	 "forget a server that is down, its leases with it"},
	{"POST", "/v1/devices/{id}/disable", MP_ROLE_OPERATE, mp_rest_device_change,
	 "no new leases on this device (UUID)"},
	{"POST", "/v1/devices/{id}/enable", MP_ROLE_OPERATE, mp_rest_device_change, "new leases again"},
	{"GET", "/v1/ca", MP_ROLE_COUNT, mp_rest_ca, "the pool's authority and its living servers"},
	{"POST", "/v1/ca/rotate", MP_ROLE_ADMIN, mp_rest_ca_change,
	 "a new authority; the old one is believed until it is retired"},
	{"POST", "/v1/ca/retire", MP_ROLE_ADMIN, mp_rest_ca_change, "believe the newest authority only"},
	{"POST", "/v1/ca/csr", MP_ROLE_ADMIN, mp_rest_ca_csr, "a request for an authority that another one certifies"},
	{"POST", "/v1/ca/import", MP_ROLE_ADMIN, mp_rest_ca_change, "\"certificate\" that came of it: as rotate"},
	{"POST", "/v1/joins", MP_ROLE_ADMIN, mp_rest_join_create, "a token with which a server joins, once"},
	{"POST", "/v1/servers", MP_ROLE_COUNT, mp_rest_join, "join: by such a token"},
	{"POST", "/v1/servers/{id}/renew", MP_ROLE_COUNT, mp_rest_renew, "a new certificate; servers only"},
	{"POST", "/v1/store/migrate", MP_ROLE_ADMIN, mp_rest_store_move, "move the pool's state to \"url\""},
	{"POST", "/v1/backup", MP_ROLE_ADMIN, mp_rest_backup,
	 "what administrators have set; the authority's key only under \"passphrase\""},
	{"POST", "/v1/restore", MP_ROLE_ADMIN, mp_rest_restore, "put that back; nothing that was revoked revives"},
	{"GET", "/v1/logs", MP_ROLE_OPERATE, mp_rest_logs, "the last ?lines=N of this server's log"},
	{"GET", "/v1/netperf", MP_ROLE_USE, mp_rest_netperf, "?bytes=N of nothing, to measure the way"},
	{"POST", "/v1/netperf", MP_ROLE_USE, mp_rest_netperf_lane,
	 "a secret with which a data lane may be measured for a minute"},
	{"GET", "/v1/settings", MP_ROLE_READ, mp_rest_setting_list, "settings of the pool"},
	{"PUT", "/v1/settings/{id}", MP_ROLE_ADMIN, mp_rest_setting_set, "\"value\" of one"},
	{"GET", "/v1/health", MP_ROLE_READ, mp_rest_health, "named checks of this server"},
	{"GET", "/v1/stats", MP_ROLE_READ, mp_rest_stats,
	 "GPU-seconds, ?by=client|user|host|program&since=SECONDS"},
	{"GET", "/v1/audit", MP_ROLE_ADMIN, mp_rest_audit, "who did what, ?since=SECONDS"},
	{"GET", "/v1/tokens", MP_ROLE_ADMIN, mp_rest_token_list, "every token, without secrets"},
	{"POST", "/v1/tokens", MP_ROLE_ADMIN, mp_rest_token_create,
	 "make a token; its text is in this answer alone"},
	{"POST", "/v1/tokens/{id}/activate", MP_ROLE_ADMIN, mp_rest_token_change, "let it ask again"},
	{"POST", "/v1/tokens/{id}/deactivate", MP_ROLE_ADMIN, mp_rest_token_change,
	 "no new leases with it"},
	{"POST", "/v1/tokens/{id}/extend", MP_ROLE_ADMIN, mp_rest_token_change, "a later end"},
	{"POST", "/v1/tokens/{id}/reissue", MP_ROLE_ADMIN, mp_rest_token_reissue,
	 "a new one for the same client; the old one holds for overlap_s"},
	{"POST", "/v1/tokens/{id}/revoke", MP_ROLE_ADMIN, mp_rest_token_change,
	 "refuse it for ever"},
};

bool mp_rest_path(unsigned i, const char **method, const char **path, enum mp_role *role,
		  const char **text)
{
	if (i >= MP_ARRAY_LEN(table))
		return false;
	*method = table[i].method;
	*path = table[i].path;
	*role = table[i].role;
	*text = table[i].text;
	return true;
}

void mp_rest_elsewhere(struct mp_rest_call *c, const struct mp_fail *f, json_t *own_api)
{
	const struct mp_code_row *row = mp_code_row(MP_CODE_ELSEWHERE);

	if (f->code != MP_CODE_ELSEWHERE || !own_api) {
		json_decref(own_api);
		mp_rest_refuse(c, f);
		return;
	}
	mp_http_answer_json(c->request, row->http,
			    json_pack("{s:{s:s, s:s, s:o}}", "error", "code", row->word, "text",
				      f->text, "api", own_api));
}

void mp_rest_refuse(struct mp_rest_call *c, const struct mp_fail *f)
{
	enum mp_code code = f->code > 0 && f->code < MP_CODE_COUNT ? (enum mp_code)f->code
								   : MP_CODE_FAILED;
	const struct mp_code_row *row = mp_code_row(code);
	char text[MP_FAIL_MAX];
	json_t *j;
	size_t i;

	/* A sentence may quote what was asked, which need not be UTF-8. */
	snprintf(text, sizeof(text), "%s", f->text);
	j = json_string(text);
	for (i = 0; !j && text[i]; i++)
		if ((unsigned char)text[i] >= 127)
			text[i] = '?';
	json_decref(j);
	c->refused = row->word;
	mp_http_answer_json(c->request, row->http ? row->http : 500,
			    json_pack("{s:{s:s, s:s}}", "error", "code", row->word, "text",
				      text));
}

/* Does the path fit the pattern?  The variable part, if any, goes to c->id. */
static bool path_fits(const char *pattern, const char *path, struct mp_rest_call *c)
{
	size_t n;

	for (; *pattern && *path; pattern++, path++) {
		if (*pattern == '{') {
			n = strcspn(path, "/");
			if (!n || n >= sizeof(c->id))
				return false;
			memcpy(c->id, path, n);
			c->id[n] = 0;
			path += n - 1;
			pattern = strchr(pattern, '}');
			assert(pattern);
		} else if (*pattern != *path) {
			return false;
		}
	}
	return !*pattern && !*path;
}

static bool caller_may(struct mp_rest_call *c, enum mp_role role)
{
	const char *auth = mp_http_header(c->request, "Authorization");
	struct mp_fail f = {0};

	if (role == MP_ROLE_COUNT)
		return true;
	if (auth && strncmp(auth, "Bearer ", 7))
		auth = NULL;
	if (mp_token_check(c->pool, auth ? auth + 7 : NULL, &c->caller, &f) < 0) {
		mp_log(MP_LOG_WARN, "rest", "auth-failure", "from=%s code=%s",
		       mp_http_peer(c->request), mp_code_row((enum mp_code)f.code)->word);
		if (f.code == MP_CODE_TOKEN && auth)
			mp_http_delay(c->request, mp_throttle_wrong(mp_http_peer(c->request)));
		mp_rest_refuse(c, &f);
		return false;
	}
	mp_rest_seen(c);
	if (c->caller.role < role) {
		mp_fail_set(&f, MP_CODE_FORBIDDEN, "the role %s of %s's token does not allow this: it "
						   "needs %s", mp_role_name(c->caller.role),
			    c->caller.client, mp_role_name(role));
		mp_rest_refuse(c, &f);
		return false;
	}
	return true;
}

/* "POST /v1/tokens/{id}/revoke" is "token revoke" to people: the path's words say enough. */
static void audit(struct mp_rest_call *c, const char *outcome)
{
	const char *client = json_string_value(json_object_get(c->body, "client"));
	char what[96];

	snprintf(what, sizeof(what), "%s %s", c->row->method, c->row->path);
	mp_pool_audit(c->pool, c->caller.client[0] ? c->caller.client : "-",
		      mp_http_peer(c->request), what, c->id[0] ? c->id : client ? client : "-",
		      outcome);
}

void mp_rest_handle(void *arg, struct mp_http_request *r)
{
	struct mp_rest_call c = {.pool = arg, .request = r};
	struct mp_fail f = {0};
	bool path_known = false;
	const char *at;
	size_t i;

	if (mp_rest_store(c.pool, r))
		return;
	/* Names in paths are ASCII; what is not could not be said again in JSON. */
	for (at = mp_http_path(r); *at; at++) {
		if ((unsigned char)*at > 32 && (unsigned char)*at < 127)
			continue;
		mp_fail_set(&f, MP_CODE_USAGE, "the path has a character that no path has");
		mp_rest_refuse(&c, &f);
		return;
	}
	for (i = 0; i < MP_ARRAY_LEN(table); i++) {
		if (!path_fits(table[i].path, mp_http_path(r), &c))
			continue;
		path_known = true;
		if (strcmp(table[i].method, mp_http_method(r)))
			continue;
		if (!caller_may(&c, table[i].role))
			return;
		c.body = mp_http_json(r, &f);
		if (!c.body) {
			f.code = MP_CODE_USAGE;
			mp_rest_refuse(&c, &f);
			return;
		}
		c.row = &table[i];
		table[i].serve(&c);
		/* Whatever changes the pool's rules is written down, refused or not. */
		if (table[i].role >= MP_ROLE_OPERATE && table[i].role < MP_ROLE_COUNT &&
		    strcmp(table[i].method, "GET"))
			audit(&c, c.refused ? c.refused : "ok");
		json_decref(c.body);
		return;
	}
	if (path_known)
		mp_fail_set(&f, MP_CODE_USAGE, "%s cannot be asked with %s", mp_http_path(r),
			    mp_http_method(r));
	else
		mp_fail_set(&f, MP_CODE_NOT_FOUND, "there is nothing at %s", mp_http_path(r));
	mp_rest_refuse(&c, &f);
}

void mp_rest_version(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200,
			    json_pack("{s:s, s:s, s:i}", "product", "motorpool", "version",
				      MP_VERSION, "api", 1));
}

void mp_rest_pool(struct mp_rest_call *c)
{
	json_t *j = mp_pool_list(c->pool), *one, *counters;
	struct mp_http_counts n;
	size_t i;

	mp_http_served(c->request, &n);
	json_array_foreach(json_object_get(j, "servers"), i, one) {
		/* Only the server that answers has its own counters. */
		counters = json_object_get(one, "counters");
		json_object_set_new(counters, "handshakes", json_integer(n.connections));
		json_object_set_new(counters, "requests", json_integer(n.requests));
	}
	mp_http_answer_json(c->request, 200, j);
}

void mp_rest_health(struct mp_rest_call *c)
{
	json_t *j = mp_pool_health(c->pool);

	json_array_append_new(json_object_get(j, "checks"), mp_rest_authority_check(c->pool));
	json_array_append_new(json_object_get(j, "checks"), mp_rest_certificate_check(c->pool));
	json_object_set_new(j, "throttled", json_integer((json_int_t)mp_throttle_count()));
	mp_http_answer_json(c->request, 200, j);
}

void mp_rest_whoami(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200,
			    json_pack("{s:s, s:s, s:s}", "token", c->caller.token, "client",
				      c->caller.client, "role", mp_role_name(c->caller.role)));
}

/* ---- Tokens ---- */

void mp_rest_token_list(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200,
			    json_pack("{s:o}", "tokens", mp_token_list(c->pool)));
}

void mp_rest_token_create(struct mp_rest_call *c)
{
	const char *role = json_string_value(json_object_get(c->body, "role"));
	const char *client = json_string_value(json_object_get(c->body, "client"));
	const char *priority = json_string_value(json_object_get(c->body, "priority"));
	char text[MP_TOKEN_TEXT];
	struct mp_fail f = {0};

	if (mp_token_create(c->pool, client, role ? mp_role_find(role) : MP_ROLE_USE,
			    priority ? mp_priority_find(priority) : MP_PRIORITY_NORMAL,
			    json_integer_value(json_object_get(c->body, "lifetime_s")), text,
			    &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 201, json_pack("{s:s}", "token", text));
}

void mp_rest_token_reissue(struct mp_rest_call *c)
{
	char text[MP_TOKEN_TEXT];
	struct mp_fail f = {0};

	if (mp_token_reissue(c->pool, c->id, json_integer_value(json_object_get(c->body, "overlap_s")),
			     text, &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 201, json_pack("{s:s}", "token", text));
}

void mp_rest_token_change(struct mp_rest_call *c)
{
	const char *verb = strrchr(c->row->path, '/') + 1;
	struct mp_fail f = {0};

	if (mp_token_change(c->pool, c->id, verb,
			    json_integer_value(json_object_get(c->body, "lifetime_s")), &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 200, json_pack("{s:s}", "id", c->id));
}

/* ---- Servers, devices, settings ---- */

static void change_answer(struct mp_rest_call *c, int rc, const char *what, const struct mp_fail *f)
{
	if (rc < 0)
		mp_rest_refuse(c, f);
	else
		mp_http_answer_json(c->request, 200, json_pack("{s:s}", what, c->id));
}

void mp_rest_server_drain(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	change_answer(c, mp_server_drain(c->pool, c->id, strstr(c->row->path, "/undrain") == NULL, &f),
		      "server", &f);
}

void mp_rest_server_remove(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	change_answer(c, mp_server_remove(c->pool, c->id, &f), "server", &f);
}

void mp_rest_device_change(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	change_answer(c, mp_device_enable(c->pool, c->id, strstr(c->row->path, "/enable") != NULL, &f),
		      "device", &f);
}

void mp_rest_setting_list(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200, mp_setting_list(c->pool));
}

void mp_rest_setting_set(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	change_answer(c, mp_setting_set(c->pool, c->id,
					json_string_value(json_object_get(c->body, "value")), &f),
		      "setting", &f);
}

/* ---- Limits ---- */

void mp_rest_limit_list(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200, mp_limit_list(c->pool));
}

void mp_rest_limit_set(struct mp_rest_call *c)
{
	static const char *const known[] = {"gpus_millionths", "idle_s"};
	struct mp_fail f = {0};
	json_t *v;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(known); i++) {
		v = json_object_get(c->body, known[i]);
		if (!v)
			continue;
		if (!json_is_null(v) && (!json_is_integer(v) || json_integer_value(v) < 0))
			mp_fail_set(&f, MP_CODE_USAGE, "'%s' must be a whole number or null", known[i]);
		else
			mp_limit_set(c->pool, c->id, known[i],
				     json_is_null(v) ? -1 : json_integer_value(v), &f);
		if (f.code) {
			mp_rest_refuse(c, &f);
			return;
		}
	}
	mp_http_answer_json(c->request, 200, json_pack("{s:s}", "who", c->id));
}

void mp_rest_client_list(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200, mp_client_list(c->pool));
}

void mp_rest_client_change(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	if (mp_client_disable(c->pool, c->id, strstr(c->row->path, "/disable") != NULL, &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 200, json_pack("{s:s}", "client", c->id));
}

/* ---- History ---- */

static int64_t since_of(struct mp_rest_call *c)
{
	const char *since = mp_http_query(c->request, "since");

	return since ? strtoll(since, NULL, 10) : 0;
}

void mp_rest_stats(struct mp_rest_call *c)
{
	const char *by = mp_http_query(c->request, "by");
	struct mp_fail f = {0};
	json_t *j = mp_pool_stats(c->pool, by ? by : "client", since_of(c), &f);

	if (j)
		mp_http_answer_json(c->request, 200, j);
	else
		mp_rest_refuse(c, &f);
}

void mp_rest_audit(struct mp_rest_call *c)
{
	mp_http_answer_json(c->request, 200, mp_pool_audit_list(c->pool, since_of(c), 10000));
}
