/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This server's part of the shared store: what it tells the others, what the
 * others want of it, and making both agree again after the store was away.
 *
 * Commands reach a server as keys: a drained server, a device that is off, a
 * revoked token, a lease that was released elsewhere.  The data thread looks at
 * all of them whenever the store has changed, so that nothing hangs on having
 * seen one particular event.
 *
 * What must be done at once while the store has no majority (release, kill) is
 * done here and written later: `dirty` says that the store has to be told.
 */
#include "pool/peer.h"
#include "base/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLISH_NS  (5ull * 1000000000)
#define BATCH	    60 /* changes in one transaction; etcd takes 128 */

/* ---- Telling ---- */

static json_t *record_make(struct mp_pool *p)
{
	json_t *devices = json_array(), *data = mp_data_json(p);
	unsigned i;

	for (i = 0; i < p->ndevices; i++) {
		const struct device *d = &p->devices[i];

		json_array_append_new(devices,
				      json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:s}", "uuid", d->uuid,
						"name", d->name, "capability", d->capability, "code", d->code, "memory",
						(json_int_t)d->memory, "reserve",
						(json_int_t)d->reserve, "offered", !d->unoffered, "condition",
						mp_condition_name(d), "why", d->why));
	}
	return json_pack("{s:s, s:O, s:b, s:o, s:s, s:i, s:s, s:s, s:b, s:o}", "id", p->id, "api", p->api,
			 "authority", p->authority, "data", data, "version", MP_VERSION, "schema", MP_POOL_SCHEMA,
			 "driver_version", p->driver_version, "cuda_version", p->cuda_version,
			 "has_rdma", false, "devices", devices);
}

static int id_open(struct mp_pool *p, struct mp_fail *f)
{
	char path[4200];
	uint8_t raw[8];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/id", p->state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	n = fd < 0 ? -1 : read(fd, p->id, sizeof(p->id) - 1);
	if (n == 0) {
		mp_random(raw, sizeof(raw));
		mp_hex_print(raw, sizeof(raw), p->id);
		n = write(fd, p->id, strlen(p->id));
	}
	if (fd >= 0)
		close(fd);
	p->id[sizeof(p->id) - 1] = 0;
	return n == (ssize_t)sizeof(p->id) - 1
		       ? 0
		       : mp_fail_set(f, MP_CODE_CONFIG, "%s is no server's id: %s", path,
				     n < 0 ? strerror(errno) : "remove it");
}

/* May this server be in the pool under its name? */
static int place_check(struct mp_pool *p, const char *key, struct mp_fail *f)
{
	char removed[64], *text = NULL;
	const char *id;
	int64_t revision;
	json_t *j;
	int rc;

	snprintf(removed, sizeof(removed), "/removed/%s", p->id);
	rc = mp_store_get(p->store, removed, &text, &revision);
	free(text);
	if (rc == MP_STORE_OK)
		return mp_fail_set(f, MP_CODE_CONFIG, "this server was removed from the pool; empty %s "
						      "and join again", p->state_dir);
	rc = mp_store_get(p->store, key, &text, &revision);
	j = rc == MP_STORE_OK ? json_loads(text, 0, NULL) : NULL;
	free(text);
	id = json_string_value(json_object_get(j, "id"));
	rc = id && strcmp(id, p->id) ? -1 : 0;
	json_decref(j);
	return rc ? mp_fail_set(f, MP_CODE_CONFIG, "the pool has another server of the name %s: give this "
						   "one its own --name", p->name)
		  : 0;
}

/* Every server of the pool must understand what the store holds. */
static int schema_check(struct mp_pool *p, struct mp_fail *f)
{
	int64_t revision, schema = MP_POOL_SCHEMA;
	char *text = NULL;

	if (mp_store_get(p->store, "/schema", &text, &revision) == MP_STORE_OK)
		schema = strtoll(text, NULL, 10);
	free(text);
	if (schema > MP_POOL_SCHEMA)
		return mp_fail_set(f, MP_CODE_CONFIG, "the pool's store has schema %lld, and this release "
						      MP_VERSION " knows %d: install the release that "
						      "the other servers have", (long long)schema, MP_POOL_SCHEMA);
	return 0;
}

static int announce_locked(struct mp_pool *p)
{
	char server[128], alive[128], *text;
	struct mp_store_change c[3] = {{.key = server}, {.key = alive, .value = "1", .mortal = true},
				       {.key = "/schema", .value = "1"}};
	json_t *j = record_make(p);
	int rc = -1;

	snprintf(server, sizeof(server), "/servers/%s", p->name);
	snprintf(alive, sizeof(alive), "/alive/%s", p->name);
	text = json_dumps(j, JSON_COMPACT);
	c[0].value = text;
	if (text)
		rc = mp_store_commit(p->store, NULL, 0, c, 3, NULL);
	free(text);
	json_decref(j);
	return rc ? -1 : 0;
}

void mp_pool_tell_locked(struct mp_pool *p)
{
	if (p->announced && announce_locked(p) < 0)
		p->dirty = true;
}

static void store_moved(void *arg)
{
	struct mp_pool *p = arg;

	__atomic_store_n(&p->moved, true, __ATOMIC_RELEASE);
	mp_data_wake(p);
}

int mp_pool_announce(struct mp_pool *p, const char *const *api, unsigned n, bool authority,
		     struct mp_fail *f)
{
	char key[128];
	unsigned i;
	int rc;

	snprintf(key, sizeof(key), "/servers/%s", p->name);
	if (id_open(p, f) < 0 || schema_check(p, f) < 0 || place_check(p, key, f) < 0)
		return -1;
	pthread_mutex_lock(&p->lock);
	p->authority = authority;
	p->api = json_array();
	for (i = 0; i < n; i++)
		json_array_append_new(p->api, json_string(api[i]));
	rc = announce_locked(p);
	/* Without a majority the store hears of it later: programs that run want their server back now. */
	p->dirty = rc != 0;
	p->announced = true;
	pthread_mutex_unlock(&p->lock);
	mp_store_watch(p->store, store_moved, p);
	store_moved(p);
	return 0;
}

/* ---- What others want ---- */

static bool key_exists(struct mp_pool *p, const char *key)
{
	char *text = NULL;
	int64_t revision;
	bool there = mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK;

	free(text);
	return there;
}

static void devices_refresh(struct mp_pool *p)
{
	struct device *d;
	char key[256];
	unsigned i;

	snprintf(key, sizeof(key), "/drain/%s", p->name);
	p->draining = key_exists(p, key);
	p->frozen = key_exists(p, "/frozen") ? "the pool's store is being moved" : NULL;
	for (i = 0; i < p->ndevices; i++) {
		d = &p->devices[i];
		snprintf(key, sizeof(key), "/off/%s/%s", p->name, d->uuid);
		d->disabled = d->unoffered || d->condition != CONDITION_OK || key_exists(p, key);
	}
}

static int key_keep(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)revision;
	json_object_set_new(arg, key, json_string(value));
	return 0;
}

static void released_refresh(struct mp_pool *p)
{
	json_t *keys = json_object(), *why;
	struct mp_store_change c = {0};
	struct lease *l;
	const char *key;
	char prefix[128];

	snprintf(prefix, sizeof(prefix), "/released/%s/", p->name);
	mp_store_list(p->store, prefix, key_keep, keys);
	json_object_foreach(keys, key, why) {
		l = mp_lease_find_locked(p, key + strlen(prefix));
		if (l)
			mp_lease_end_locked(p, l, json_string_value(why));
		c.key = key;
		if (mp_store_commit(p->store, NULL, 0, &c, 1, NULL))
			break;
	}
	json_decref(keys);
}

static void tokens_refresh(struct mp_pool *p)
{
	struct lease *l, *next;
	char key[32], *text;
	int64_t revision;

	for (l = p->leases; l; l = next) {
		next = l->next;
		snprintf(key, sizeof(key), "/tokens/%s", l->token);
		text = NULL;
		if (l->state < LEASE_ENDING && l->token[0] &&
		    mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK &&
		    strstr(text, "\"state\":\"revoked\""))
			mp_lease_end_locked(p, l, "its token was revoked");
		free(text);
	}
}

static int revision_add(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)value;
	*(int64_t *)arg = *(int64_t *)arg * 31 + revision;
	return 0;
}

static void limits_refresh(struct mp_pool *p)
{
	struct lease *l;
	int64_t sum = 1;

	mp_store_list(p->store, "/limits/", revision_add, &sum);
	if (sum == p->limits_seen)
		return;
	p->limits_seen = sum;
	for (l = p->leases; l; l = l->next)
		l->idle_s = mp_limit_idle_locked(p, l->client);
}

/* ---- Making the store agree ---- */

struct repair {
	struct mp_pool *p;
	json_t *now, *want; /* key -> value */
	bool stray;
};

/* /leases/SERVER/ID, or /use/CLIENT/SERVER/ID: a client may have a server's name. */
static bool own_key(const struct mp_pool *p, const char *key)
{
	const char *at = strncmp(key, "/use/", 5) ? key + strlen("/leases") : strchr(key + 5, '/');
	size_t n = strlen(p->name);

	return at && *at == '/' && !strncmp(at + 1, p->name, n) && at[n + 1] == '/';
}

static int own_keep(void *arg, const char *key, const char *value, int64_t revision)
{
	struct repair *r = arg;
	(void)revision;
	if (own_key(r->p, key))
		json_object_set_new(r->now, key, json_string(value));
	return 0;
}

static void repair_want(struct repair *r)
{
	char key[256], use[256], cost[32], *text;
	struct lease *l;

	for (l = r->p->leases; l; l = l->next) {
		if (l->state >= LEASE_ENDING)
			continue;
		mp_lease_keys_locked(r->p, l, key, use);
		text = mp_lease_record_locked(r->p, l);
		snprintf(cost, sizeof(cost), "%lld", (long long)mp_limit_cost_locked(r->p, l));
		json_object_set_new(r->want, key, json_string(text ? text : ""));
		json_object_set_new(r->want, use, json_string(cost));
		free(text);
	}
}

static int repair_commit(struct repair *r)
{
	struct mp_store_change c[BATCH] = {0};
	json_t *v, *other;
	const char *key;
	unsigned n = 0;
	int rc = 0;

	json_object_foreach(r->want, key, v) {
		other = json_object_get(r->now, key);
		if (!other || strcmp(json_string_value(other), json_string_value(v)))
			c[n++] = (struct mp_store_change){key, json_string_value(v), false};
		if (n == BATCH) {
			rc |= mp_store_commit(r->p->store, NULL, 0, c, n, NULL);
			n = 0;
		}
	}
	json_object_foreach(r->now, key, v) {
		if (!json_object_get(r->want, key))
			c[n++] = (struct mp_store_change){key, NULL, false};
		if (n == BATCH) {
			rc |= mp_store_commit(r->p->store, NULL, 0, c, n, NULL);
			n = 0;
		}
	}
	if (n)
		rc |= mp_store_commit(r->p->store, NULL, 0, c, n, NULL);
	return rc;
}

/*
 * A running lease is written again whatever the limits say: it was counted when
 * it was granted.
 */
static void repair(struct mp_pool *p)
{
	struct repair r = {.p = p, .now = json_object(), .want = json_object()};
	char prefix[128];

	snprintf(prefix, sizeof(prefix), "/leases/%s/", p->name);
	if (mp_store_sync(p->store, prefix) == 0 && mp_store_sync(p->store, "/use/") == 0) {
		mp_store_list(p->store, prefix, own_keep, &r);
		mp_store_list(p->store, "/use/", own_keep, &r);
		repair_want(&r);
		p->dirty = repair_commit(&r) != 0 || announce_locked(p) < 0;
		mp_log(MP_LOG_INFO, "pool", "store-repaired", "leases=%zu again=%d",
		       json_object_size(r.want) / 2, p->dirty);
	}
	json_decref(r.now);
	json_decref(r.want);
}

/* Of the copy, no exchange: is there a lease of this server that it does not have? */
static int stray_find(void *arg, const char *key, const char *value, int64_t revision)
{
	struct repair *r = arg;
	struct lease *l;

	(void)value, (void)revision;
	if (!own_key(r->p, key))
		return 0;
	l = mp_lease_find_locked(r->p, strrchr(key, '/') + 1);
	if (!l || l->state >= LEASE_ENDING)
		r->stray = true;
	return r->stray;
}

/*
 * A transaction that had no answer in time may be made later, when what it was to
 * grant has been given up already.
 */
static bool strays(struct mp_pool *p)
{
	struct repair r = {.p = p};
	char prefix[128];

	snprintf(prefix, sizeof(prefix), "/leases/%s/", p->name);
	mp_store_list(p->store, prefix, stray_find, &r);
	mp_store_list(p->store, "/use/", stray_find, &r);
	return r.stray;
}

/* What programs use, for the other servers' lists. */
static void publish(struct mp_pool *p, uint64_t now)
{
	struct lease *l;
	uint64_t sum;
	unsigned i;

	if (now < p->published + PUBLISH_NS)
		return;
	p->published = now;
	for (l = p->leases; l; l = l->next) {
		for (i = 0, sum = 0; i < l->n; i++)
			sum += mp_account_used(l->account, i);
		if (l->state < LEASE_ENDING && sum != l->used_told)
			mp_lease_store_locked(p, l);
	}
}

int mp_pool_refresh_locked(struct mp_pool *p, uint64_t now)
{
	bool writable;
	char alive[128];

	if (!p->announced)
		return 1000;
	if (p->shared)
		publish(p, now);
	if (!__atomic_load_n(&p->moved, __ATOMIC_ACQUIRE) && now < p->refreshed + 1000000000ull)
		return 1000;
	if (now < p->refreshed + 50000000ull)
		return 50;
	__atomic_store_n(&p->moved, false, __ATOMIC_RELEASE);
	p->refreshed = now;
	writable = mp_store_writable(p->store);
	if (p->writable && !writable)
		p->dirty = true;
	p->writable = writable;
	devices_refresh(p);
	tokens_refresh(p);
	limits_refresh(p);
	if (writable) {
		released_refresh(p);
		snprintf(alive, sizeof(alive), "/alive/%s", p->name);
		if (p->dirty || strays(p))
			repair(p);
		else if (!key_exists(p, alive))
			p->dirty = announce_locked(p) < 0;
	}
	mp_line_refresh_locked(p, now);
	return p->dirty ? 200 : 1000;
}

/* ---- Leases of servers that are away ---- */

struct away {
	const char *id;
	char server[65];
	json_t *record;
};

static int away_find(void *arg, const char *key, const char *value, int64_t revision)
{
	struct away *a = arg;
	const char *name = key + strlen("/leases/"), *slash = strchr(name, '/');

	(void)revision;
	if (!slash || strcmp(slash + 1, a->id) || (size_t)(slash - name) >= sizeof(a->server))
		return 0;
	snprintf(a->server, sizeof(a->server), "%.*s", (int)(slash - name), name);
	a->record = json_loads(value, 0, NULL);
	return 1;
}

static bool secret_fits(const json_t *record, const char *secret)
{
	const char *hash = json_string_value(json_object_get(record, "secret"));
	uint8_t raw[MP_SECRET_BYTES], sum[SHA256_BYTES], want[SHA256_BYTES];

	if (!hash || !secret || !mp_hex_parse(secret, raw, sizeof(raw)) ||
	    !mp_hex_parse(hash, want, sizeof(want)))
		return false;
	mp_sha256(raw, sizeof(raw), sum);
	return !CRYPTO_memcmp(sum, want, sizeof(sum));
}

/* The API addresses of a server, or NULL when it is not known or not alive. */
static json_t *api_of(struct mp_pool *p, const char *server)
{
	char key[128], *text = NULL;
	json_t *j = NULL, *api = NULL;
	int64_t revision;

	snprintf(key, sizeof(key), "/alive/%.64s", server);
	if (!key_exists(p, key))
		return NULL;
	snprintf(key, sizeof(key), "/servers/%.64s", server);
	if (mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK)
		j = json_loads(text, 0, NULL);
	free(text);
	api = json_incref(json_object_get(j, "api"));
	json_decref(j);
	return api;
}

int mp_lease_away(struct mp_pool *p, const char *id, const char *secret, bool may, const char *why,
		  json_t **ret_api, struct mp_fail *f)
{
	struct away a = {.id = id};
	char key[256], use[256], mark[256];
	struct mp_store_change c[3] = {{.key = key}, {.key = use}, {.key = mark, .value = why}};
	const char *client;
	bool good;
	int rc = -1;

	*ret_api = NULL;
	mp_store_list(p->store, "/leases/", away_find, &a);
	if (!a.record || !strcmp(a.server, p->name)) {
		json_decref(a.record);
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no lease %s", id);
	}
	*ret_api = api_of(p, a.server);
	good = secret_fits(a.record, secret);
	client = json_string_value(json_object_get(a.record, "client"));
	snprintf(key, sizeof(key), "/leases/%s/%.64s", a.server, id);
	snprintf(use, sizeof(use), "/use/%s/%s/%.64s", client ? client : "", a.server, id);
	snprintf(mark, sizeof(mark), "/released/%s/%.64s", a.server, id);
	/* The holder's word counts wherever it is said; its server hears of it when it can. */
	if (why && (good || (may && !*ret_api)))
		rc = mp_store_commit(p->store, NULL, 0, c, 3, NULL);
	if (!rc) {
		mp_log(MP_LOG_INFO, "pool", "lease-released-for", "id=%s server=%s", id, a.server);
	} else if (*ret_api) {
		mp_fail_set(f, MP_CODE_ELSEWHERE, "the lease %s is on the server %s", id, a.server);
	} else if (!why) {
		mp_fail_set(f, MP_CODE_LOST, "the server %s of the lease %s is lost", a.server, id);
	} else if (!good && !may) {
		mp_fail_set(f, MP_CODE_FORBIDDEN, "the lease %s can be ended with its secret, or by an "
						  "operator", id);
	} else {
		mp_store_refuse(p, f);
	}
	json_decref(a.record);
	return rc ? -1 : 0;
}

/* Workers of leases that are over, which a former daemon left: they must not use memory that is lent again. */
void mp_lease_strays_end(struct mp_pool *p)
{
	char path[4400], id[MP_LEASE_DIGITS + 1];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/leases", p->state_dir);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (strlen(d->d_name) != MP_LEASE_DIGITS + 8 || strcmp(d->d_name + MP_LEASE_DIGITS, ".account"))
			continue;
		snprintf(id, sizeof(id), "%.*s", MP_LEASE_DIGITS, d->d_name);
		if (mp_lease_find_locked(p, id))
			continue;
		snprintf(path, sizeof(path), "%s/leases/%.60s", p->state_dir, d->d_name);
		mp_session_end_strays(p, id, path);
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

/* ---- Who is where ---- */

const char *mp_pool_state_dir(const struct mp_pool *p)
{
	return p->state_dir;
}

struct mp_store *mp_pool_store(struct mp_pool *p)
{
	return p->store;
}

const char *mp_pool_store_url(const struct mp_pool *p)
{
	return p->store_url;
}

json_t *mp_pool_api(struct mp_pool *p)
{
	return json_incref(p->api);
}

json_t *mp_pool_apis(struct mp_pool *p)
{
	json_t *list = json_array();
	struct peers all;
	unsigned i;

	if (mp_peers_load(p, &all) < 0)
		return list;
	for (i = 0; i < all.n; i++)
		if (all.peer[i].alive)
			json_array_append(list, json_array_get(json_object_get(all.peer[i].record, "api"), 0));
	mp_peers_free(&all);
	return list;
}

json_t *mp_pool_authority_api(struct mp_pool *p)
{
	json_t *api = NULL;
	struct peers all;
	unsigned i;

	if (mp_peers_load(p, &all) < 0)
		return NULL;
	for (i = 0; i < all.n && !api; i++)
		if (json_is_true(json_object_get(all.peer[i].record, "authority")))
			api = json_incref(json_object_get(all.peer[i].record, "api"));
	mp_peers_free(&all);
	return api;
}

void mp_pool_authority_changed(struct mp_pool *p)
{
	if (mp_store_put(p->store, "/authority", "changed"))
		mp_log(MP_LOG_WARN, "pool", "authority", "the others hear of it when the store is back");
}

int64_t mp_pool_authority_age(struct mp_pool *p)
{
	int64_t revision = 0;
	char *text = NULL;

	mp_store_get(p->store, "/authority", &text, &revision);
	free(text);
	return revision;
}

/* ---- For administrators ---- */

int mp_server_drain(struct mp_pool *p, const char *name, bool drain, struct mp_fail *f)
{
	char key[128];
	struct mp_store_change c = {.key = key, .value = drain ? "1" : NULL};
	int rc;

	snprintf(key, sizeof(key), "/servers/%.64s", name);
	if (!key_exists(p, key))
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no server %.64s: 'motorpool server list' has them", name);
	snprintf(key, sizeof(key), "/drain/%.64s", name);
	rc = mp_store_commit(p->store, NULL, 0, &c, 1, NULL);
	pthread_mutex_lock(&p->lock);
	/* This server obeys at once, whatever the store says. */
	if (!strcmp(name, p->name) && (drain || !rc))
		p->draining = drain;
	pthread_mutex_unlock(&p->lock);
	return rc ? mp_store_refuse(p, f) : 0;
}

int mp_server_remove(struct mp_pool *p, const char *name, struct mp_fail *f)
{
	struct repair r = {.p = p, .now = json_object(), .want = json_object()};
	json_t *j = NULL, *v;
	char key[128], removed[64], *text = NULL;
	const char *id, *k;
	int64_t revision;
	int rc;

	snprintf(key, sizeof(key), "/alive/%.64s", name);
	if (!strcmp(name, p->name) || key_exists(p, key)) {
		json_decref(r.now);
		json_decref(r.want);
		return mp_fail_set(f, MP_CODE_USAGE, "the server %.64s is alive: drain and stop it first", name);
	}
	snprintf(key, sizeof(key), "/servers/%.64s", name);
	if (mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK)
		j = json_loads(text, 0, NULL);
	free(text);
	id = json_string_value(json_object_get(j, "id"));
	if (!id) {
		rc = mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no server %.64s: 'motorpool server list' has them", name);
	} else {
		struct mp_pool of = {.name = (char *)(uintptr_t)name, .store = p->store};
		char prefix[128];

		/* Its leases and what they cost go with it. */
		r.p = &of;
		snprintf(prefix, sizeof(prefix), "/leases/%.64s/", name);
		mp_store_list(p->store, prefix, own_keep, &r);
		mp_store_list(p->store, "/use/", own_keep, &r);
		snprintf(removed, sizeof(removed), "/removed/%.20s", id);
		json_object_set_new(r.want, removed, json_string("1"));
		json_object_set_new(r.now, key, json_string(""));
		snprintf(prefix, sizeof(prefix), "/drain/%.64s", name);
		json_object_set_new(r.now, prefix, json_string(""));
		rc = repair_commit(&r) ? mp_store_refuse(p, f) : 0;
	}
	json_object_foreach(r.now, k, v)
		mp_log(MP_LOG_DEBUG, "pool", "removed", "key=%s", k);
	json_decref(j);
	json_decref(r.now);
	json_decref(r.want);
	return rc;
}

int mp_device_enable(struct mp_pool *p, const char *uuid, bool enable, struct mp_fail *f)
{
	char key[256];
	struct mp_store_change c = {.key = key, .value = enable ? NULL : "1"};
	struct peers all;
	unsigned i, k;
	int rc = 1;

	if (mp_peers_load(p, &all) < 0)
		return mp_fail_set(f, MP_CODE_FAILED, "the server is out of memory");
	for (i = 0; i < all.n; i++)
		for (k = 0; rc > 0 && k < all.peer[i].ndevices; k++) {
			if (strcmp(all.peer[i].devices[k].uuid, uuid))
				continue;
			snprintf(key, sizeof(key), "/off/%s/%s", all.peer[i].name, uuid);
			rc = mp_store_commit(p->store, NULL, 0, &c, 1, NULL) ? -1 : 0;
		}
	mp_peers_free(&all);
	if (rc > 0)
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no device %.64s: 'motorpool list' has their UUIDs", uuid);
	return rc ? mp_store_refuse(p, f) : 0;
}
