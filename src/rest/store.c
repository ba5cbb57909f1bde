/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lending this server's store to others: the part of etcd's JSON gateway that
 * src/store/etcd.c speaks, for servers of this pool alone (mTLS).
 *
 * So a second server needs no etcd, and there is one client for both.  Changes go
 * to the watchers as they are made; the last ones are remembered, so that a
 * stream that broke for a moment goes on; who comes later is told to read again.
 * Mortal keys belong to a lease that its server renews; a thread lets them go.
 *
 * The lock `lent` guards all of it; it is taken after the store's own, whose
 * commits call in here.
 */
#include "rest/call.h"
#include "base/check.h"
#include "base/clock.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REMEMBER 1024 /* changes */
#define SECOND	 1000000000ull

struct watcher {
	struct watcher *next;
	struct mp_http_stream *stream;
	unsigned refs;
	char prefix[600];
};

struct lent_lease {
	struct lent_lease *next;
	int64_t id, ttl_s;
	uint64_t deadline;
	json_t *keys; /* object: names */
};

static struct {
	pthread_mutex_t lock;
	struct mp_store *store; /* NULL: not lent yet */
	struct watcher *watchers;
	struct lent_lease *leases;
	json_t *events; /* array of {revision, event}, the oldest first */
	int64_t last, lost; /* revisions: of the newest, of the newest that was forgotten */
	int64_t next_lease;
} lent = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- Spelling ---- */

static json_t *text64(const char *s)
{
	size_t n = strlen(s);
	unsigned char *out = malloc(4 * (n / 3 + 1) + 1);
	json_t *j;

	if (!out)
		return NULL;
	EVP_EncodeBlock(out, (const unsigned char *)s, (int)n);
	j = json_string((char *)out);
	free(out);
	return j;
}

/* A key or value of at most size - 1 bytes; false when it is none. */
static bool text_take(const json_t *o, const char *name, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(o, name));
	size_t n = text ? strlen(text) : 0, pad = 0;
	int got;

	if (!n || n % 4 || n / 4 * 3 >= size)
		return false;
	while (pad < 2 && text[n - 1 - pad] == '=')
		pad++;
	got = EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)text, (int)n);
	if (got < 0)
		return false;
	to[(size_t)got - pad] = 0;
	return strlen(to) == (size_t)got - pad;
}

static json_t *number(int64_t n)
{
	return json_sprintf("%lld", (long long)n);
}

static int64_t number_of(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return json_is_string(v) ? strtoll(json_string_value(v), NULL, 10) : json_integer_value(v);
}

static json_t *header(int64_t revision)
{
	return json_pack("{s:o}", "revision", number(revision));
}

static json_t *kv_json(const char *key, const char *value, int64_t revision)
{
	json_t *kv = json_pack("{s:o, s:o}", "key", text64(key), "mod_revision", number(revision));

	if (value)
		json_object_set_new(kv, "value", text64(value));
	return kv;
}

/* Keys of the pool are lent under one prefix and stored without it. */
#define PREFIX "/motorpool/v1"

static const char *inner(const char *key)
{
	size_t n = strlen(PREFIX);

	return !strncmp(key, PREFIX, n) && key[n] == '/' && strlen(key + n) < 500 ? key + n : NULL;
}

/* ---- Changes ---- */

static json_t *event_json(const struct mp_store_change *c, int64_t revision)
{
	char key[700];

	snprintf(key, sizeof(key), PREFIX "%s", c->key);
	return json_pack("{s:s?, s:o}", "type", c->value ? NULL : "DELETE", "kv",
			 kv_json(key, c->value, revision));
}

static void watchers_tell(json_t *events, int64_t revision)
{
	struct watcher *w;

	for (w = lent.watchers; w; w = w->next)
		mp_http_stream_line(w->stream, json_pack("{s:{s:o, s:O}}", "result", "header",
							 header(revision), "events", events));
}

/* Called inside a commit, in the order of revisions. */
static void on_commit(void *arg, const struct mp_store_change *changes, size_t n, int64_t revision)
{
	json_t *events = json_array();
	size_t i;

	(void)arg;
	pthread_mutex_lock(&lent.lock);
	for (i = 0; i < n; i++)
		json_array_append_new(events, event_json(&changes[i], revision));
	watchers_tell(events, revision);
	json_array_append_new(lent.events, json_pack("{s:I, s:o}", "revision", (json_int_t)revision, "events",
						     events));
	while (json_array_size(lent.events) > REMEMBER) {
		lent.lost = json_integer_value(json_object_get(json_array_get(lent.events, 0), "revision"));
		json_array_remove(lent.events, 0);
	}
	lent.last = revision;
	pthread_mutex_unlock(&lent.lock);
}

/* ---- Leases ---- */

static struct lent_lease *lease_find(int64_t id)
{
	struct lent_lease *l;

	for (l = lent.leases; l && l->id != id; l = l->next)
		;
	return l;
}

/* Takes one lease that has run out (or this one) from the list. */
static struct lent_lease *lease_take(int64_t id, uint64_t now)
{
	struct lent_lease **at, *l;

	for (at = &lent.leases; (l = *at); at = &l->next)
		if (id ? l->id == id : now >= l->deadline) {
			*at = l->next;
			return l;
		}
	return NULL;
}

static void lease_end(struct lent_lease *own_lease)
{
	struct mp_store_change c = {0};
	const char *key;
	json_t *v;

	json_object_foreach(own_lease->keys, key, v) {
		c.key = key;
		if (mp_store_commit(lent.store, NULL, 0, &c, 1, NULL))
			mp_log(MP_LOG_WARN, "rest", "mortal-key-left", "key=%s", key);
	}
	json_decref(own_lease->keys);
	free(own_lease);
}

static void *leases_watch(void *arg)
{
	struct lent_lease *l;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&lent.lock);
		l = lease_take(0, mp_now_ns());
		pthread_mutex_unlock(&lent.lock);
		if (l)
			lease_end(l);
		else
			usleep(200000);
	}
	return NULL;
}

static void lend(struct mp_pool *p)
{
	pthread_t t;
	bool first;

	pthread_mutex_lock(&lent.lock);
	first = !lent.store;
	if (first) {
		lent.store = mp_pool_store(p);
		lent.events = json_array();
		lent.next_lease = (int64_t)(mp_now_ns() / 1000);
		lent.last = lent.lost = mp_store_revision(lent.store);
	}
	pthread_mutex_unlock(&lent.lock);
	if (!first)
		return;
	mp_store_follow(mp_pool_store(p), on_commit, NULL);
	if (pthread_create(&t, NULL, leases_watch, NULL) == 0)
		pthread_detach(t);
}

/* ---- Calls ---- */

static int kv_add(void *arg, const char *key, const char *value, int64_t revision)
{
	char full[700];

	snprintf(full, sizeof(full), PREFIX "%s", key);
	json_array_append_new(arg, kv_json(full, value, revision));
	return 0;
}

static json_t *range_answer(const json_t *body)
{
	char key[600];
	json_t *kvs = json_array();
	int64_t revision = mp_store_revision(lent.store), at;
	char *value = NULL;

	if (text_take(body, "key", key, sizeof(key)) && mp_store_prefix_good(inner(key))) {
		if (json_object_get(body, "range_end"))
			mp_store_list(lent.store, inner(key), kv_add, kvs);
		else if (mp_store_key_good(inner(key)) && mp_store_get(lent.store, inner(key), &value, &at) == MP_STORE_OK)
			kv_add(kvs, inner(key), value, at);
	}
	free(value);
	return json_pack("{s:o, s:o}", "header", header(revision), "kvs", kvs);
}

struct transaction {
	struct mp_store_guard guard[16];
	struct mp_store_change change[128];
	size_t nguards, nchanges;
	json_t *texts; /* keeps what the arrays point to */
	int64_t lease;
};

static const char *text_keep(struct transaction *t, const json_t *o, const char *name, bool key)
{
	const char *encoded = json_string_value(json_object_get(o, name));
	size_t size = encoded ? strlen(encoded) + 4 : 4;
	char *text = malloc(size);
	const char *kept = NULL;

	if (text && text_take(o, name, text, size)) {
		json_array_append_new(t->texts, json_string(key ? inner(text) ? inner(text) : "" : text));
		kept = json_string_value(json_array_get(t->texts, json_array_size(t->texts) - 1));
	}
	free(text);
	return kept && (!key || mp_store_key_good(kept)) ? kept : NULL;
}

static bool transaction_take(struct transaction *t, const json_t *body)
{
	json_t *one, *op;
	size_t i;

	json_array_foreach(json_object_get(body, "compare"), i, one) {
		if (t->nguards == MP_ARRAY_LEN(t->guard))
			return false;
		t->guard[t->nguards].key = text_keep(t, one, "key", true);
		t->guard[t->nguards].revision = number_of(one, "mod_revision");
		if (!t->guard[t->nguards].key || t->guard[t->nguards++].revision < 0)
			return false;
	}
	json_array_foreach(json_object_get(body, "success"), i, one) {
		if (t->nchanges == MP_ARRAY_LEN(t->change))
			return false;
		op = json_object_get(one, "request_put");
		t->change[t->nchanges].key = text_keep(t, op ? op : json_object_get(one, "request_delete_range"),
						       "key", true);
		if (op) {
			t->change[t->nchanges].value = json_object_get(op, "value")
							       ? text_keep(t, op, "value", false)
							       : "";
			t->change[t->nchanges].mortal = json_object_get(op, "lease") != NULL;
			if (t->change[t->nchanges].mortal)
				t->lease = number_of(op, "lease");
			if (!t->change[t->nchanges].value)
				return false;
		}
		if (!t->change[t->nchanges++].key)
			return false;
	}
	return true;
}

static bool mortals_note(const struct transaction *t)
{
	struct lent_lease *l;
	size_t i;

	if (!t->lease)
		return true;
	pthread_mutex_lock(&lent.lock);
	l = lease_find(t->lease);
	for (i = 0; l && i < t->nchanges; i++)
		if (t->change[i].mortal)
			json_object_set_new(l->keys, t->change[i].key, json_true());
	pthread_mutex_unlock(&lent.lock);
	return l != NULL;
}

static json_t *conflict_json(const struct transaction *t)
{
	json_t *list = json_array(), *kvs;
	int64_t at;
	char *value;
	size_t i;

	for (i = 0; i < t->nguards; i++) {
		kvs = json_array();
		value = NULL;
		if (mp_store_get(lent.store, t->guard[i].key, &value, &at) == MP_STORE_OK)
			kv_add(kvs, t->guard[i].key, value, at);
		free(value);
		json_array_append_new(list, json_pack("{s:{s:o}}", "response_range", "kvs", kvs));
	}
	return list;
}

/* NULL: the store cannot; *ret_bad: the request makes no sense. */
static json_t *transaction_answer(const json_t *body, bool *ret_bad)
{
	struct transaction *t = calloc(1, sizeof(*t));
	json_t *answer = NULL;
	int64_t revision = 0;
	int rc = -1;

	if (!t)
		return NULL;
	t->texts = json_array();
	*ret_bad = !transaction_take(t, body) || !mortals_note(t);
	if (!*ret_bad)
		rc = mp_store_commit(lent.store, t->guard, t->nguards, t->change, t->nchanges, &revision);
	if (rc == MP_STORE_OK)
		answer = json_pack("{s:o, s:b}", "header", header(revision), "succeeded", 1);
	else if (rc == MP_STORE_CONFLICT)
		answer = json_pack("{s:o, s:o}", "header", header(mp_store_revision(lent.store)), "responses",
				   conflict_json(t));
	json_decref(t->texts);
	free(t);
	return answer;
}

static json_t *lease_answer(const char *verb, const json_t *body)
{
	int64_t ttl = number_of(body, "TTL"), id = number_of(body, "ID");
	struct lent_lease *l;
	json_t *answer = NULL;

	pthread_mutex_lock(&lent.lock);
	if (!strcmp(verb, "grant") && ttl > 0 && ttl < 3600 && (l = calloc(1, sizeof(*l)))) {
		l->id = ++lent.next_lease;
		l->ttl_s = ttl;
		l->keys = json_object();
		l->deadline = mp_now_ns() + (uint64_t)ttl * SECOND;
		l->next = lent.leases;
		lent.leases = l;
		answer = json_pack("{s:o, s:o}", "ID", number(l->id), "TTL", number(ttl));
	} else if (!strcmp(verb, "keepalive")) {
		l = lease_find(id);
		if (l)
			l->deadline = mp_now_ns() + (uint64_t)l->ttl_s * SECOND;
		answer = json_pack("{s:{s:o, s:o}}", "result", "ID", number(id), "TTL", number(l ? l->ttl_s : 0));
	}
	pthread_mutex_unlock(&lent.lock);
	if (!strcmp(verb, "revoke")) {
		pthread_mutex_lock(&lent.lock);
		l = lease_take(id, 0);
		pthread_mutex_unlock(&lent.lock);
		if (l)
			lease_end(l);
		answer = json_object();
	}
	return answer;
}

static void watcher_unref(struct watcher *w)
{
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL))
		return;
	mp_http_stream_unref(w->stream);
	free(w);
}

static void watcher_gone(void *arg)
{
	struct watcher *w = arg, **at;

	pthread_mutex_lock(&lent.lock);
	for (at = &lent.watchers; *at && *at != w; at = &(*at)->next)
		;
	if (*at)
		*at = w->next;
	pthread_mutex_unlock(&lent.lock);
	watcher_unref(w);
}

static void refuse(struct mp_http_request *r, enum mp_code code, const char *text)
{
	const struct mp_code_row *row = mp_code_row(code);

	mp_http_answer_json(r, row->http, json_pack("{s:{s:s, s:s}}", "error", "code", row->word, "text", text));
}

static void watch_serve(struct mp_http_request *r, const json_t *body)
{
	int64_t from = number_of(json_object_get(body, "create_request"), "start_revision");
	struct watcher *w = calloc(1, sizeof(*w));
	json_t *one;
	size_t i;

	if (w)
		w->stream = mp_http_answer_stream(r, 10000, watcher_gone, w);
	if (!w || !w->stream) {
		free(w);
		refuse(r, MP_CODE_QUORUM, "the server is out of memory");
		return;
	}
	w->refs = 2;
	pthread_mutex_lock(&lent.lock);
	if (from <= lent.lost) {
		/* What happened since then is not remembered. */
		mp_http_stream_line(w->stream, json_pack("{s:{s:o, s:b}}", "result", "header",
							 header(lent.last), "canceled", 1));
		mp_http_stream_end(w->stream);
	} else {
		mp_http_stream_line(w->stream, json_pack("{s:{s:o, s:b}}", "result", "header",
							 header(lent.last), "created", 1));
		json_array_foreach(lent.events, i, one)
			if (json_integer_value(json_object_get(one, "revision")) >= from)
				mp_http_stream_line(w->stream,
						    json_pack("{s:{s:o, s:O}}", "result", "header",
							      header(json_integer_value(
								      json_object_get(one, "revision"))),
							      "events", json_object_get(one, "events")));
		w->next = lent.watchers;
		lent.watchers = w;
	}
	pthread_mutex_unlock(&lent.lock);
	watcher_unref(w);
}

bool mp_rest_store(struct mp_pool *p, struct mp_http_request *r)
{
	const char *path = mp_http_path(r);
	json_t *body, *answer = NULL;
	struct mp_fail f;
	bool bad = false;

	if (strncmp(path, "/v3/", 4))
		return false;
	/* A pool that has a store of its own lends none. */
	if (!mp_http_is_server(r) || mp_pool_store_url(p)) {
		refuse(r, MP_CODE_FORBIDDEN, "the store is for servers of this pool");
		return true;
	}
	lend(p);
	body = mp_http_json(r, &f);
	if (body && !strcmp(path, "/v3/watch")) {
		watch_serve(r, body);
		json_decref(body);
		return true;
	}
	if (body && !strcmp(path, "/v3/kv/range"))
		answer = range_answer(body);
	else if (body && !strcmp(path, "/v3/kv/txn"))
		answer = transaction_answer(body, &bad);
	else if (body && !strncmp(path, "/v3/lease/", 10))
		answer = lease_answer(path + 10, body);
	else if (body && !strcmp(path, "/v3/maintenance/status"))
		answer = json_pack("{s:o}", "header", header(mp_store_revision(lent.store)));
	else
		bad = true;
	json_decref(body);
	if (answer)
		mp_http_answer_json(r, 200, answer);
	else
		refuse(r, bad ? MP_CODE_USAGE : MP_CODE_QUORUM, bad ? "that is not of the store's language"
								    : "the store cannot be written now");
	return true;
}
