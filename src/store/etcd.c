/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared store: etcd by its JSON gateway, with a watched copy of all keys.
 *
 * Reading is answered by the copy.  A commit is one guarded transaction; its own
 * changes go into the copy when it is answered, and after a conflict it waits
 * until the copy has seen what it collided with, so that the caller's next try
 * rests on it.
 *
 * Threads: any for the door.  The watcher follows the stream of changes.  The
 * keeper renews the lease of this process's mortal keys and finds out whether
 * there is a majority: when a commit or a renewal fails for want of one, commits
 * fail at once until the keeper has had an answer again.
 *
 * Locks: `io` is held over one exchange with etcd, at most two seconds (nothing
 * of the copy or the state is waited for under it); `state` guards the small
 * fields that the threads share, and is never held over anything.
 */
#include "store/kind.h"
#include "store/copy.h"
#include "http/http.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define ENDPOINTS    9
#define CALL_MS	     2000 /* for a commit */
#define PROBE_MS     2000
#define CONNECT_MS   400
#define PROBE_DOWN_MS 200 /* between tries to find a majority again */
#define CATCH_UP_MS  1000
#define MS	     1000000ull
#define KEY_MAX	     600

/* One caller's connections: to each endpoint at most one, and which answered last. */
struct line {
	struct mp_http_client *client[ENDPOINTS];
	unsigned current;
};

struct etcd {
	struct mp_store head;
	struct mp_copy copy;
	char *endpoint[ENDPOINTS];
	unsigned nendpoints;
	char *ca_file, *cert_file, *key_file, *prefix;
	bool plain;
	int ttl_s;
	pthread_mutex_t io;
	struct line commits MP_GUARDED_BY(io);
	struct line keeper, watcher; /* each its thread's own */
	pthread_t keeper_thread, watcher_thread;
	bool threads;
	int nudge; /* wakes the watcher */
	pthread_mutex_t state;
	pthread_cond_t wake;
	bool up MP_GUARDED_BY(state), stopping MP_GUARDED_BY(state), rewatch MP_GUARDED_BY(state);
	int64_t lease MP_GUARDED_BY(state); /* 0: none */
	uint64_t committed MP_GUARDED_BY(state); /* when a transaction was last answered */
	void (*changed)(void *arg) MP_GUARDED_BY(state);
	void *changed_arg MP_GUARDED_BY(state);
};

static struct etcd *etcd_of(struct mp_store *s)
{
	return MP_CONTAINER_OF(s, struct etcd, head);
}

/* ---- State ---- */

static void tell(struct etcd *e)
{
	void (*changed)(void *arg);
	void *arg;

	pthread_mutex_lock(&e->state);
	changed = e->changed;
	arg = e->changed_arg;
	pthread_mutex_unlock(&e->state);
	if (changed)
		changed(arg);
}

static void up_set(struct etcd *e, bool up)
{
	bool was;

	pthread_mutex_lock(&e->state);
	was = e->up;
	e->up = up;
	pthread_cond_broadcast(&e->wake);
	pthread_mutex_unlock(&e->state);
	if (was == up)
		return;
	mp_log(up ? MP_LOG_INFO : MP_LOG_ERROR, "store", up ? "majority-back" : "majority-lost", "prefix=%s",
	       e->prefix);
	tell(e);
}

static bool is_up(struct etcd *e)
{
	bool up;

	pthread_mutex_lock(&e->state);
	up = e->up;
	pthread_mutex_unlock(&e->state);
	return up;
}

static bool is_stopping(struct etcd *e)
{
	bool stopping;

	pthread_mutex_lock(&e->state);
	stopping = e->stopping;
	pthread_mutex_unlock(&e->state);
	return stopping;
}

static uint64_t committed_at(struct etcd *e)
{
	uint64_t at;

	pthread_mutex_lock(&e->state);
	at = e->committed;
	pthread_mutex_unlock(&e->state);
	return at;
}

static int64_t lease_of(struct etcd *e)
{
	int64_t id;

	pthread_mutex_lock(&e->state);
	id = e->lease;
	pthread_mutex_unlock(&e->state);
	return id;
}

/* Sleeps until somebody calls, at most so long. */
static void wait_for(struct etcd *e, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&e->state);
	if (!e->stopping)
		pthread_cond_timedwait(&e->wake, &e->state, &until);
	pthread_mutex_unlock(&e->state);
}

/* ---- The gateway's spelling ---- */

/* "key": base64 of prefix + key. */
static void text_put(json_t *o, const char *name, const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned char *raw = malloc(na + nb + 1), *text = malloc(4 * ((na + nb) / 3 + 1) + 1);

	if (raw && text) {
		memcpy(raw, a, na);
		memcpy(raw + na, b, nb);
		EVP_EncodeBlock(text, raw, (int)(na + nb));
		json_object_set_new(o, name, json_string((char *)text));
	}
	free(raw);
	free(text);
}

static json_t *key_json(struct etcd *e, const char *key)
{
	json_t *o = json_object();

	text_put(o, "key", e->prefix, key);
	return o;
}

/* key and range_end of all keys that begin with the prefix: the end is its last byte plus one. */
static json_t *range_json(struct etcd *e, const char *prefix)
{
	char end[KEY_MAX];
	json_t *o = key_json(e, prefix);

	snprintf(end, sizeof(end), "%s%s", e->prefix, prefix);
	end[strlen(end) - 1]++;
	text_put(o, "range_end", end, "");
	return o;
}

static char *text_get(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));
	size_t n = text ? strlen(text) : 0;
	char *raw = malloc(n / 4 * 3 + 1);
	int got = n ? EVP_DecodeBlock((unsigned char *)raw, (const unsigned char *)text, (int)n) : 0;

	if (!raw || got < 0 || n % 4) {
		free(raw);
		return NULL;
	}
	/* The padding counts as bytes there. */
	while (n && text[n - 1] == '=') {
		n--;
		got--;
	}
	raw[got] = 0;
	return raw;
}

static int64_t number_get(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return json_is_string(v) ? strtoll(json_string_value(v), NULL, 10) : json_integer_value(v);
}

static json_t *number_json(int64_t n)
{
	return json_sprintf("%lld", (long long)n);
}

static int64_t revision_of(const json_t *answer)
{
	return number_get(json_object_get(answer, "header"), "revision");
}

/* ---- Asking ---- */

static struct mp_http_client *client_get(struct etcd *e, struct line *l, unsigned i)
{
	struct mp_http_target t = {.address = e->endpoint[i], .ca_file = e->ca_file,
				   .plain = e->plain, .cert_file = e->cert_file,
				   .key_file = e->key_file, .connect_ms = CONNECT_MS};

	if (!l->client[i])
		l->client[i] = mp_http_client_new(&t);
	return l->client[i];
}

static void line_fini(struct line *l)
{
	unsigned i;

	for (i = 0; i < ENDPOINTS; i++)
		mp_http_client_free(l->client[i]);
}

/*
 * One exchange with whichever endpoint answers: 0 with the answer, 1 refused
 * with etcd's own error (taken as final), -1 nobody could do it.
 */
static int ask(struct etcd *e, struct line *l, const char *path, json_t *own_body, unsigned total_ms,
	       json_t **ret)
{
	uint64_t until = mp_now_ns() + total_ms * MS, now;
	struct mp_fail f = {0};
	unsigned tries;
	int status, rc = -1;

	*ret = NULL;
	for (tries = 0; tries < e->nendpoints && rc < 0; tries++, l->current++) {
		struct mp_http_client *c = client_get(e, l, l->current % e->nendpoints);
		enum mp_http_outcome o;

		now = mp_now_ns();
		if (!c || now >= until)
			break;
		o = mp_http_call(c, "POST", path, own_body, (long)((until - now) / MS) + 1, &status,
				 ret, &f);
		/* 503 and 504: this one has no leader, another may. */
		if (o == MP_HTTP_OK && *ret && status == 200)
			rc = 0;
		else if (o == MP_HTTP_OK && *ret && (status == 400 || status == 404 || status == 401))
			rc = 1;
		if (rc >= 0)
			break;
		mp_log(MP_LOG_DEBUG, "store", "endpoint", "address=%s status=%d why=\"%s\"",
		       e->endpoint[l->current % e->nendpoints], status, o == MP_HTTP_OK ? "" : f.text);
		json_decref(*ret);
		*ret = NULL;
	}
	json_decref(own_body);
	return rc;
}

/* ---- Taking in keys ---- */

struct batch {
	struct mp_copy_change *change;
	size_t n, cap;
	bool failed;
};

static void batch_add(struct etcd *e, struct batch *b, const json_t *kv, bool deleted)
{
	size_t n = strlen(e->prefix);
	char *key = text_get(kv, "key");
	struct mp_copy_change *more;

	if (!key || strncmp(key, e->prefix, n)) {
		free(key);
		return;
	}
	if (b->n == b->cap) {
		more = realloc(b->change, (2 * b->cap + 16) * sizeof(*more));
		if (!more) {
			b->failed = true;
			free(key);
			return;
		}
		b->change = more;
		b->cap = 2 * b->cap + 16;
	}
	memmove(key, key + n, strlen(key + n) + 1);
	b->change[b->n].key = key;
	b->change[b->n].value = deleted ? NULL : text_get(kv, "value");
	b->change[b->n].revision = number_get(kv, "mod_revision");
	b->failed |= !deleted && !b->change[b->n].value;
	b->n++;
}

static void batch_fini(struct batch *b)
{
	size_t i;

	for (i = 0; i < b->n; i++) {
		free((char *)(uintptr_t)b->change[i].key);
		free((char *)(uintptr_t)b->change[i].value);
	}
	free(b->change);
}

/* Reads a prefix and makes the copy of it the same. */
static int reload(struct etcd *e, struct line *l, const char *prefix, bool stale, unsigned ms,
		  int64_t *ret_revision)
{
	json_t *body = range_json(e, prefix), *answer, *kv;
	struct batch b = {0};
	size_t i;
	int rc;

	if (stale)
		json_object_set_new(body, "serializable", json_true());
	rc = ask(e, l, "/v3/kv/range", body, ms, &answer);
	if (rc)
		return -1;
	json_array_foreach(json_object_get(answer, "kvs"), i, kv)
		batch_add(e, &b, kv, false);
	*ret_revision = revision_of(answer);
	rc = b.failed ? -1 : mp_copy_reload(&e->copy, prefix, b.change, b.n, *ret_revision);
	batch_fini(&b);
	json_decref(answer);
	return rc;
}

/* ---- The kind ---- */

static int etcd_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision)
{
	int rc = mp_copy_get(&etcd_of(s)->copy, key, ret_value, ret_revision);

	return rc > 0 ? MP_STORE_NONE : rc;
}

static int etcd_list(struct mp_store *s, const char *prefix,
		     int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		     void *arg)
{
	mp_copy_list(&etcd_of(s)->copy, prefix, each, arg);
	return 0;
}

static json_t *change_json(struct etcd *e, const struct mp_store_change *c, int64_t lease)
{
	json_t *op = key_json(e, c->key);

	if (!c->value)
		return json_pack("{s:o}", "request_delete_range", op);
	text_put(op, "value", c->value, "");
	if (c->mortal)
		json_object_set_new(op, "lease", number_json(lease));
	return json_pack("{s:o}", "request_put", op);
}

static json_t *transaction_json(struct etcd *e, const struct mp_store_guard *guards, size_t nguards,
				const struct mp_store_change *changes, size_t nchanges, int64_t lease)
{
	json_t *compare = json_array(), *success = json_array(), *failure = json_array(), *c;
	size_t i;

	for (i = 0; i < nguards; i++) {
		c = key_json(e, guards[i].key);
		json_object_set_new(c, "target", json_string("MOD"));
		json_object_set_new(c, "result", json_string("EQUAL"));
		json_object_set_new(c, "mod_revision", number_json(guards[i].revision));
		json_array_append_new(compare, c);
		json_array_append_new(failure, json_pack("{s:o}", "request_range",
							 key_json(e, guards[i].key)));
	}
	for (i = 0; i < nchanges; i++)
		json_array_append_new(success, change_json(e, &changes[i], lease));
	return json_pack("{s:o, s:o, s:o}", "compare", compare, "success", success, "failure",
			 failure);
}

/* The watcher sleeps on its stream. */
static void nudge(struct etcd *e)
{
	uint64_t one = 1;

	if (write(e->nudge, &one, sizeof(one)) < 0)
		mp_log(MP_LOG_ERROR, "store", "nudge", "why=\"%s\"", strerror(errno));
}

/* Until the copy has seen what the guards collided with. */
static void catch_up(struct etcd *e, const struct mp_store_guard *guards, size_t nguards,
		     const json_t *answer)
{
	json_t *kv;
	size_t i;

	for (i = 0; i < nguards; i++) {
		kv = json_array_get(json_object_get(answer, "responses"), i);
		kv = json_object_get(json_object_get(kv, "response_range"), "kvs");
		kv = json_array_get(kv, 0);
		if (mp_copy_wait(&e->copy, guards[i].key, number_get(kv, "mod_revision"),
				 CATCH_UP_MS))
			continue;
		/* The watch lags behind: its endpoint may be cut off from the others. */
		mp_log(MP_LOG_WARN, "store", "watch-lags", "key=%s", guards[i].key);
		pthread_mutex_lock(&e->state);
		e->rewatch = true;
		pthread_mutex_unlock(&e->state);
		nudge(e);
	}
}

/* Together, as everybody else sees them. */
static void own_apply(struct etcd *e, const struct mp_store_change *changes, size_t n,
		      int64_t revision)
{
	struct mp_copy_change *c = calloc(n ? n : 1, sizeof(*c));
	size_t i;

	for (i = 0; c && i < n; i++) {
		c[i].key = changes[i].key;
		c[i].value = changes[i].value;
		c[i].revision = revision;
	}
	/* Without memory for it the watch brings them a little later. */
	if (c)
		mp_copy_apply(&e->copy, c, n, 0);
	free(c);
}

static int etcd_commit(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
		       const struct mp_store_change *changes, size_t nchanges, int64_t *ret_revision)
{
	struct etcd *e = etcd_of(s);
	int64_t lease = lease_of(e);
	json_t *answer;
	size_t i;
	int rc;

	for (i = 0; i < nchanges; i++)
		if (changes[i].mortal && !lease)
			return -1;
	if (!is_up(e))
		return -1;
	pthread_mutex_lock(&e->io);
	rc = ask(e, &e->commits, "/v3/kv/txn",
		 transaction_json(e, guards, nguards, changes, nchanges, lease), CALL_MS, &answer);
	pthread_mutex_unlock(&e->io);
	if (rc) {
		if (rc < 0)
			up_set(e, false);
		else
			mp_log(MP_LOG_ERROR, "store", "commit-refused", "why=\"%s\"",
			       json_string_value(json_object_get(answer, "error")));
		json_decref(answer);
		return -1;
	}
	pthread_mutex_lock(&e->state);
	e->committed = mp_now_ns();
	pthread_mutex_unlock(&e->state);
	if (json_is_true(json_object_get(answer, "succeeded"))) {
		*ret_revision = revision_of(answer);
		own_apply(e, changes, nchanges, *ret_revision);
		rc = MP_STORE_OK;
	} else {
		catch_up(e, guards, nguards, answer);
		rc = MP_STORE_CONFLICT;
	}
	json_decref(answer);
	if (rc == MP_STORE_OK)
		tell(e);
	return rc;
}

static int etcd_sync(struct mp_store *s, const char *prefix)
{
	struct etcd *e = etcd_of(s);
	int64_t revision;
	int rc;

	if (!is_up(e))
		return -1;
	pthread_mutex_lock(&e->io);
	rc = reload(e, &e->commits, prefix, false, CALL_MS, &revision);
	pthread_mutex_unlock(&e->io);
	if (rc < 0)
		up_set(e, false);
	return rc;
}

static bool etcd_writable(struct mp_store *s)
{
	return is_up(etcd_of(s));
}

static void etcd_watch(struct mp_store *s, void (*changed)(void *arg), void *arg)
{
	struct etcd *e = etcd_of(s);

	pthread_mutex_lock(&e->state);
	e->changed = changed;
	e->changed_arg = arg;
	pthread_mutex_unlock(&e->state);
}

static void etcd_describe(struct mp_store *s, struct mp_store_voters *ret)
{
	struct etcd *e = etcd_of(s);
	struct line own = {0};
	struct mp_fail f;
	json_t *answer;
	unsigned i;
	int status;

	ret->shared = true;
	ret->majority = is_up(e);
	for (i = 0; i < e->nendpoints && i < MP_STORE_VOTERS; i++) {
		struct mp_http_client *c = client_get(e, &own, i);
		json_t *body = json_object();

		snprintf(ret->voter[i].name, sizeof(ret->voter[i].name), "%s", e->endpoint[i]);
		ret->voter[i].good = c && mp_http_call(c, "POST", "/v3/maintenance/status", body, 500,
						       &status, &answer, &f) == MP_HTTP_OK &&
				     status == 200;
		if (c)
			json_decref(answer);
		json_decref(body);
		ret->n++;
		ret->good += ret->voter[i].good;
	}
	line_fini(&own);
}

/* ---- The watcher ---- */

struct watching {
	struct etcd *etcd;
	bool over;
};

static void on_line(void *arg, const char *event, json_t *line)
{
	struct watching *w = arg;
	json_t *result = json_object_get(line, "result"), *one;
	struct batch b = {0};
	size_t i;

	(void)event;
	if (!result || json_is_true(json_object_get(result, "canceled")) ||
	    json_object_get(result, "compact_revision")) {
		w->over = true;
		return;
	}
	json_array_foreach(json_object_get(result, "events"), i, one) {
		const char *type = json_string_value(json_object_get(one, "type"));

		batch_add(w->etcd, &b, json_object_get(one, "kv"), type && !strcmp(type, "DELETE"));
	}
	if (b.failed || mp_copy_apply(&w->etcd->copy, b.change, b.n,
				      b.n ? revision_of(result) : 0) < 0)
		w->over = true;
	if (b.n)
		tell(w->etcd);
	batch_fini(&b);
}

static bool rewatch_take(struct etcd *e)
{
	uint64_t n;
	bool again;

	if (read(e->nudge, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return true;

	pthread_mutex_lock(&e->state);
	again = e->rewatch || e->stopping;
	e->rewatch = false;
	pthread_mutex_unlock(&e->state);
	return again;
}

/* Follows one endpoint as long as it goes well. */
static void watch_once(struct etcd *e, int64_t from)
{
	struct mp_http_client *c = client_get(e, &e->watcher, e->watcher.current % e->nendpoints);
	struct watching w = {.etcd = e};
	struct mp_http_listen *l;
	json_t *create, *body;

	if (!c)
		return;
	create = range_json(e, "/");
	json_object_set_new(create, "start_revision", number_json(from));
	body = json_pack("{s:o}", "create_request", create);
	l = mp_http_listen_lines(c, "POST", "/v3/watch", body, on_line, &w);
	json_decref(body);
	while (l && !w.over && mp_http_listen_step(l, e->nudge, 5000) && !rewatch_take(e))
		;
	mp_http_listen_close(l);
}

static void *watch(void *arg)
{
	struct etcd *e = arg;
	bool first = true;
	int64_t revision;

	while (!is_stopping(e)) {
		/* What happened since the last stream broke is read again as a whole. */
		if (reload(e, &e->watcher, "/", false, CALL_MS, &revision) == 0 ||
		    reload(e, &e->watcher, "/", true, CALL_MS, &revision) == 0) {
			if (!first)
				tell(e);
			first = false;
			watch_once(e, revision + 1);
		}
		e->watcher.current++;
		wait_for(e, 50);
	}
	return NULL;
}

/* ---- The keeper ---- */

static int lease_renew(struct etcd *e)
{
	int64_t id = lease_of(e), ttl = 0;
	json_t *answer;
	int rc;

	if (id) {
		rc = ask(e, &e->keeper, "/v3/lease/keepalive", json_pack("{s:o}", "ID", number_json(id)),
			 PROBE_MS, &answer);
		ttl = rc ? 0 : number_get(json_object_get(answer, "result"), "TTL");
		json_decref(answer);
		if (rc < 0 || ttl > 0)
			return rc;
	}
	/* None yet, or it has run out: mortal keys are gone, and their owners hear of a change. */
	rc = ask(e, &e->keeper, "/v3/lease/grant", json_pack("{s:o}", "TTL", number_json(e->ttl_s)),
		 PROBE_MS, &answer);
	if (!rc) {
		pthread_mutex_lock(&e->state);
		e->lease = number_get(answer, "ID");
		pthread_mutex_unlock(&e->state);
	}
	json_decref(answer);
	return rc;
}

/* A read that only a majority can answer. */
static int majority_probe(struct etcd *e)
{
	json_t *answer;
	int rc = ask(e, &e->keeper, "/v3/kv/range", key_json(e, "/"), PROBE_MS, &answer);

	json_decref(answer);
	return rc;
}

static void *keep(void *arg)
{
	struct etcd *e = arg;
	uint64_t second = (uint64_t)e->ttl_s * 1000 / 6 * MS, renewed = 0;
	bool good = true;

	while (!is_stopping(e)) {
		/* A transaction that was answered has asked the majority, too. */
		if (!good || mp_now_ns() > committed_at(e) + second)
			good = majority_probe(e) == 0;
		/* Twice in the time that it may miss one. */
		if (good && mp_now_ns() > renewed + 2 * second - second / 4) {
			good = lease_renew(e) == 0;
			renewed = good ? mp_now_ns() : 0;
		}
		up_set(e, good);
		wait_for(e, good ? (unsigned)e->ttl_s * 1000 / 6 : PROBE_DOWN_MS);
	}
	return NULL;
}

/* ---- Opening ---- */

static void etcd_close(struct mp_store *own_store)
{
	struct etcd *e = etcd_of(own_store);
	json_t *answer;
	unsigned i;

	pthread_mutex_lock(&e->state);
	e->stopping = true;
	pthread_cond_broadcast(&e->wake);
	pthread_mutex_unlock(&e->state);
	nudge(e);
	if (e->threads) {
		pthread_join(e->watcher_thread, NULL);
		pthread_join(e->keeper_thread, NULL);
	}
	if (e->lease && e->up) {
		/* The others need not wait for its time to run out. */
		ask(e, &e->keeper, "/v3/lease/revoke", json_pack("{s:o}", "ID", number_json(e->lease)),
		    PROBE_MS, &answer);
		json_decref(answer);
	}
	line_fini(&e->commits);
	line_fini(&e->keeper);
	line_fini(&e->watcher);
	for (i = 0; i < e->nendpoints; i++)
		free(e->endpoint[i]);
	free(e->ca_file);
	free(e->cert_file);
	free(e->key_file);
	free(e->prefix);
	mp_copy_fini(&e->copy);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->state);
	pthread_mutex_destroy(&e->io);
	close(e->nudge);
	free(e);
}

static const struct mp_store_kind etcd_kind = {
	.close = etcd_close,
	.get = etcd_get,
	.list = etcd_list,
	.commit = etcd_commit,
	.sync = etcd_sync,
	.writable = etcd_writable,
	.watch = etcd_watch,
	.describe = etcd_describe,
};

static int endpoints_take(struct etcd *e, const char *list, struct mp_fail *f)
{
	char *copy = strdup(list), *save = NULL, *one;
	int rc = copy ? 0 : -1;

	for (one = copy ? strtok_r(copy, ",", &save) : NULL; one && !rc; one = strtok_r(NULL, ",", &save)) {
		if (e->nendpoints == ENDPOINTS || !strchr(one, ':') || one[strlen(one) - 1] == ':')
			rc = mp_fail_set(f, 0, "a store's address is HOST:PORT, at most %d of them, "
					       "not '%.200s'", ENDPOINTS, list);
		else if ((e->endpoint[e->nendpoints] = strdup(one)))
			e->nendpoints++;
	}
	free(copy);
	if (!rc && !e->nendpoints)
		rc = mp_fail_set(f, 0, "no address of the store in '%.200s'", list);
	return rc;
}

static struct etcd *etcd_new(const struct mp_store_etcd *c)
{
	struct etcd *e = calloc(1, sizeof(*e));
	pthread_condattr_t a;

	if (!e || (e->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 || mp_copy_init(&e->copy) < 0) {
		if (e && e->nudge >= 0)
			close(e->nudge);
		free(e);
		return NULL;
	}
	e->head.kind = &etcd_kind;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &a);
	pthread_condattr_destroy(&a);
	pthread_mutex_init(&e->io, NULL);
	pthread_mutex_init(&e->state, NULL);
	e->plain = c->plain;
	e->ttl_s = c->ttl_s > 0 ? c->ttl_s : 6;
	e->ca_file = c->ca_file ? strdup(c->ca_file) : NULL;
	e->cert_file = c->cert_file ? strdup(c->cert_file) : NULL;
	e->key_file = c->key_file ? strdup(c->key_file) : NULL;
	e->prefix = strdup(c->prefix ? c->prefix : "/motorpool/v1");
	/* Many servers follow one store: not all by the same endpoint. */
	e->watcher.current = e->commits.current = e->keeper.current = (unsigned)getpid();
	return e;
}

int mp_store_open_etcd(const struct mp_store_etcd *config, int wait_ms, struct mp_store **ret_store,
		       struct mp_fail *f)
{
	uint64_t until = mp_now_ns() + (uint64_t)wait_ms * MS;
	struct etcd *e = etcd_new(config);
	int64_t revision;
	int rc;

	if (!e)
		return mp_fail_set(f, ENOMEM, "out of memory");
	if (endpoints_take(e, config->endpoints, f) < 0) {
		etcd_close(&e->head);
		return -1;
	}
	do {
		rc = reload(e, &e->commits, "/", false, CALL_MS, &revision);
		if (!rc)
			e->up = majority_probe(e) == 0 && lease_renew(e) == 0;
		else
			rc = reload(e, &e->commits, "/", true, CALL_MS, &revision);
	} while (rc && mp_now_ns() < until && (wait_for(e, 200), true));
	if (rc) {
		etcd_close(&e->head);
		return mp_fail_set(f, 0, "the store at %.200s cannot be read: no address answers",
				   config->endpoints);
	}
	e->threads = true;
	if (pthread_create(&e->watcher_thread, NULL, watch, e)) {
		e->threads = false;
	} else if (pthread_create(&e->keeper_thread, NULL, keep, e)) {
		e->stopping = true;
		pthread_join(e->watcher_thread, NULL);
		e->threads = false;
	}
	if (!e->threads) {
		etcd_close(&e->head);
		return mp_fail_set(f, EAGAIN, "no threads for the store");
	}
	*ret_store = &e->head;
	return 0;
}
