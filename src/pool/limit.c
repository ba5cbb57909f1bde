/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits: how much of the pool a client may hold at once, and how long idle.
 *
 * The store has /limits/default, /limits/pool and /limits/client/NAME, and under
 * /use/CLIENT/SERVER/LEASE what each lease of the whole pool costs, in millionths
 * of a device.  A grant reads the sum, then writes the lease, its cost and the
 * client's generation in one transaction that is guarded by that generation: of
 * two servers that grant at the same time, one is told to read again.  There is
 * no counter that could drift, and a lower limit ends nothing.
 */
#include "pool/state.h"

#include <stdlib.h>
#include <string.h>

static void limit_key(const char *who, char key[128])
{
	bool fixed = !strcmp(who, "default") || !strcmp(who, "pool");

	snprintf(key, 128, "/limits/%s%s", fixed ? "" : "client/", who);
}

static json_t *limit_get(struct mp_pool *p, const char *who, int *ret_rc)
{
	char key[128], *text;
	int64_t revision;
	json_t *j = NULL;

	limit_key(who, key);
	*ret_rc = mp_store_get(p->store, key, &text, &revision);
	if (*ret_rc == MP_STORE_OK)
		j = json_loads(text, 0, NULL);
	free(text);
	return j;
}

/* A number of the client's record, else of the default's; -1 when neither has it, -2 on trouble. */
static int64_t limit_number(struct mp_pool *p, const char *client, const char *what)
{
	const char *const who[] = {client, "default"};
	json_t *j, *v;
	int64_t n = -1;
	size_t i;
	int rc;

	for (i = 0; i < 2 && n == -1; i++) {
		j = limit_get(p, who[i], &rc);
		if (rc < 0)
			return -2;
		v = json_object_get(j, what);
		if (json_is_integer(v))
			n = json_integer_value(v);
		json_decref(j);
	}
	return n;
}

int64_t mp_limit_idle_locked(struct mp_pool *p, const char *client)
{
	int64_t s = limit_number(p, client, "idle_s");

	return s > 0 ? s : 0;
}

static int sum_add(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)revision;
	*(int64_t *)arg += strtoll(value, NULL, 10);
	return 0;
}

/* What a lease costs: each slice as a part of its device, rounded up. */
int64_t mp_limit_cost_locked(struct mp_pool *p, const struct lease *l)
{
	int64_t sum = 0;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		uint64_t memory = p->devices[l->slice[i].device].memory;
		unsigned __int128 part = (unsigned __int128)l->slice[i].bytes * MP_MILLION;
		int64_t cost = (int64_t)((part + memory - 1) / memory);

		/* A fraction that was asked for costs that fraction, whatever granules made of it. */
		if (l->whole)
			cost = MP_MILLION;
		else if (l->fraction > cost && !l->bytes_asked)
			cost = l->fraction;
		sum += cost;
	}
	return sum;
}

static const char *devices_print(int64_t millionths, char text[32])
{
	int n;

	snprintf(text, 32, "%lld.%06lld", (long long)millionths / MP_MILLION,
		 (long long)millionths % MP_MILLION);
	for (n = (int)strlen(text); text[n - 1] == '0'; n--)
		text[n - 1] = 0;
	if (text[n - 1] == '.')
		text[n - 1] = 0;
	return text;
}

static int check_one(struct mp_pool *p, const char *whose, int64_t limit, const char *prefix,
		     int64_t cost, struct mp_fail *f)
{
	char a[32], b[32], c[32];
	int64_t sum = 0;

	if (limit < 0)
		return 0;
	if (mp_store_list(p->store, prefix, sum_add, &sum) < 0)
		return mp_store_refuse(p, f);
	if (sum + cost <= limit)
		return 0;
	/* Before anyone is refused: what was released on another server a moment ago may not be seen yet. */
	sum = 0;
	if (mp_store_sync(p->store, prefix) < 0 ||
	    mp_store_list(p->store, prefix, sum_add, &sum) < 0)
		return mp_store_refuse(p, f);
	if (sum + cost <= limit)
		return 0;
	return mp_fail_set(f, MP_CODE_LIMIT, "over the limit of %s: %s of %s devices in use, and %s "
					     "more asked for", whose, devices_print(sum, a),
			   devices_print(limit, b), devices_print(cost, c));
}

static int64_t generation_of(struct mp_pool *p, const char *key)
{
	char *value;
	int64_t revision = 0;

	if (mp_store_get(p->store, key, &value, &revision) < 0)
		return -1;
	free(value);
	return revision;
}

static void use_key(struct mp_pool *p, const struct lease *l, char key[256])
{
	snprintf(key, 256, "/use/%s/%s/%s", l->client, p->name, l->id);
}

int mp_limit_check(struct mp_pool *p, const char *client, const struct mp_want *w, uint64_t largest,
		   struct mp_fail *f)
{
	int64_t cost = (int64_t)w->n * (w->fraction || w->bytes ? w->fraction : MP_MILLION);
	char prefix[128];

	/* At least what it would cost on the largest device. */
	if (w->bytes && (int64_t)(w->bytes / largest) < MP_MILLION &&
	    (int64_t)((unsigned __int128)w->bytes * MP_MILLION / largest) * w->n > cost)
		cost = (int64_t)((unsigned __int128)w->bytes * MP_MILLION / largest) * w->n;
	snprintf(prefix, sizeof(prefix), "/use/%s/", client);
	return check_one(p, client, limit_number(p, client, "gpus_millionths"), prefix, cost, f);
}

/* One try: MP_STORE_CONFLICT asks for another. */
static int enter_once(struct mp_pool *p, const struct lease *l, const char *lease_key,
		      const char *record, struct mp_fail *f)
{
	char client_gen[128], use[256], prefix[128], cost_text[32];
	int64_t cost = mp_limit_cost_locked(p, l), client_limit, pool_limit;
	struct mp_store_guard guards[3] = {{client_gen, 0}, {"/frozen", 0}, {"/generation/pool", 0}};
	struct mp_store_change changes[4] = {{lease_key, record}, {use, cost_text},
					     {client_gen, "1"}, {"/generation/pool", "1"}};
	json_t *j;
	int rc;

	snprintf(client_gen, sizeof(client_gen), "/generation/client/%s", l->client);
	snprintf(prefix, sizeof(prefix), "/use/%s/", l->client);
	snprintf(cost_text, sizeof(cost_text), "%lld", (long long)cost);
	use_key(p, l, use);
	guards[0].revision = generation_of(p, client_gen);
	guards[2].revision = generation_of(p, "/generation/pool");
	client_limit = limit_number(p, l->client, "gpus_millionths");
	j = limit_get(p, "pool", &rc);
	pool_limit = json_is_integer(json_object_get(j, "gpus_millionths"))
			     ? json_integer_value(json_object_get(j, "gpus_millionths"))
			     : -1;
	json_decref(j);
	if (rc < 0 || client_limit < -1 || guards[0].revision < 0 || guards[2].revision < 0)
		return -1;
	if (check_one(p, l->client, client_limit, prefix, cost, f) < 0 ||
	    check_one(p, "the pool", pool_limit, "/use/", cost, f) < 0)
		return MP_LIMIT_OVER;
	/* The pool's generation matters only where the pool's sum does. */
	return mp_store_commit(p->store, guards, pool_limit >= 0 ? 3 : 2, changes,
			       pool_limit >= 0 ? 4 : 3, NULL);
}

int mp_limit_enter_locked(struct mp_pool *p, const struct lease *l, const char *lease_key,
			  const char *record, struct mp_fail *f)
{
	int i, rc = MP_STORE_CONFLICT;

	f->code = 0;
	for (i = 0; i < 64 && rc == MP_STORE_CONFLICT; i++)
		rc = enter_once(p, l, lease_key, record, f);
	if (rc == MP_LIMIT_OVER)
		return f->code == MP_CODE_LIMIT ? MP_LIMIT_OVER : -1;
	return rc == MP_STORE_OK ? 0 : -1;
}

int mp_limit_leave_locked(struct mp_pool *p, const struct lease *l, const char *lease_key)
{
	char use[256];
	struct mp_store_change changes[2] = {{lease_key, NULL}, {use, NULL}};

	use_key(p, l, use);
	return mp_store_commit(p->store, NULL, 0, changes, 2, NULL);
}

/* ---- For administrators ---- */

static int limit_put(struct mp_pool *p, const char *who, json_t *record)
{
	char key[128], *text = NULL;
	struct mp_store_change c = {key, NULL};
	int rc;

	limit_key(who, key);
	if (json_object_size(record)) {
		text = json_dumps(record, JSON_COMPACT);
		if (!text)
			return -1;
	}
	c.value = text;
	rc = mp_store_commit(p->store, NULL, 0, &c, 1, NULL);
	free(text);
	return rc;
}

int mp_limit_set(struct mp_pool *p, const char *who, const char *what, int64_t value,
		 struct mp_fail *f)
{
	struct lease *l;
	json_t *j;
	int rc;

	if (!mp_client_name_good(who) && strcmp(who, "default") && strcmp(who, "pool"))
		return mp_fail_set(f, MP_CODE_USAGE, "a limit is set for 'default', 'pool' or a client, "
						     "not for '%.64s'", who);
	if (strcmp(what, "gpus_millionths") && strcmp(what, "idle_s"))
		return mp_fail_set(f, MP_CODE_USAGE, "there is no limit '%.64s'", what);
	if (!strcmp(who, "pool") && !strcmp(what, "idle_s"))
		return mp_fail_set(f, MP_CODE_USAGE, "an idle limit is for 'default' or for a client");
	pthread_mutex_lock(&p->lock);
	j = limit_get(p, who, &rc);
	if (!j)
		j = json_object();
	if (value < 0)
		json_object_del(j, what);
	else
		json_object_set_new(j, what, json_integer(value));
	rc = rc < 0 ? rc : limit_put(p, who, j);
	json_decref(j);
	for (l = p->leases; !rc && l; l = l->next)
		l->idle_s = mp_limit_idle_locked(p, l->client);
	pthread_mutex_unlock(&p->lock);
	if (rc)
		return mp_store_refuse(p, f);
	mp_log(MP_LOG_INFO, "pool", "limit", "who=%s %s=%lld", who, what, (long long)value);
	return 0;
}

struct listing {
	struct mp_pool *p;
	json_t *rows;
};

static int row_add(void *arg, const char *key, const char *value, int64_t revision)
{
	struct listing *to = arg;
	const char *who = key + strlen("/limits/");
	json_t *j = json_loads(value, 0, NULL);

	(void)revision;
	if (!strncmp(who, "client/", 7))
		who += 7;
	json_object_set_new(j, "who", json_string(who));
	json_array_append_new(to->rows, j);
	return 0;
}

/* Adds up what each client holds, for listings. */
static int use_add(void *arg, const char *key, const char *value, int64_t revision)
{
	json_t *sums = arg;
	char client[64];
	size_t n;

	(void)revision;
	key += strlen("/use/");
	n = strcspn(key, "/");
	if (n >= sizeof(client))
		return 0;
	memcpy(client, key, n);
	client[n] = 0;
	json_object_set_new(sums, client,
			    json_integer(json_integer_value(json_object_get(sums, client)) +
					 strtoll(value, NULL, 10)));
	return 0;
}

static json_t *client_row(json_t *rows, const char *name)
{
	json_t *row = json_object_get(rows, name);

	if (!row) {
		row = json_pack("{s:s, s:s, s:i, s:i, s:I, s:n, s:n}", "client", name, "state", "ok", "tokens", 0,
				"leases", 0, "in_use_millionths", (json_int_t)0, "limit_millionths", "idle_s");
		json_object_set_new(rows, name, row);
	}
	return row;
}

static void row_count(json_t *row, const char *what, json_int_t n)
{
	json_object_set_new(row, what, json_integer(json_integer_value(json_object_get(row, what)) + n));
}

static int client_token(void *arg, const char *key, const char *value, int64_t revision)
{
	json_t *j = json_loads(value, 0, NULL);
	const char *client = json_string_value(json_object_get(j, "client"));
	const char *state = json_string_value(json_object_get(j, "state"));

	(void)key, (void)revision;
	if (client)
		row_count(client_row(arg, client), "tokens", state && !strcmp(state, "active"));
	json_decref(j);
	return 0;
}

static int client_limit(void *arg, const char *key, const char *value, int64_t revision)
{
	json_t *j = json_loads(value, 0, NULL), *row = client_row(arg, key + strlen("/limits/client/"));

	(void)revision;
	if (json_object_get(j, "gpus_millionths"))
		json_object_set(row, "limit_millionths", json_object_get(j, "gpus_millionths"));
	if (json_object_get(j, "idle_s"))
		json_object_set(row, "idle_s", json_object_get(j, "idle_s"));
	json_decref(j);
	return 0;
}

static int client_use(void *arg, const char *key, const char *value, int64_t revision)
{
	char client[64];
	json_t *row;

	(void)revision;
	key += strlen("/use/");
	snprintf(client, sizeof(client), "%.*s", (int)strcspn(key, "/"), key);
	row = client_row(arg, client);
	row_count(row, "leases", 1);
	row_count(row, "in_use_millionths", strtoll(value, NULL, 10));
	return 0;
}

static int client_state(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)revision;
	if (strstr(value, "\"disabled\":true"))
		json_object_set_new(client_row(arg, key + strlen("/clients/")), "state", json_string("disabled"));
	return 0;
}

json_t *mp_client_list(struct mp_pool *p)
{
	json_t *rows = json_object(), *list = json_array(), *row;
	const char *name;

	mp_store_list(p->store, "/tokens/", client_token, rows);
	mp_store_list(p->store, "/limits/client/", client_limit, rows);
	mp_store_list(p->store, "/use/", client_use, rows);
	mp_store_list(p->store, "/clients/", client_state, rows);
	json_object_foreach(rows, name, row)
		json_array_append(list, row);
	json_decref(rows);
	return json_pack("{s:i, s:o}", "schema_version", 1, "clients", list);
}

json_t *mp_limit_list(struct mp_pool *p)
{
	json_t *sums = json_object();
	struct listing to = {p, json_array()};

	mp_store_list(p->store, "/limits/", row_add, &to);
	mp_store_list(p->store, "/use/", use_add, sums);
	return json_pack("{s:i, s:o, s:o}", "schema_version", 1, "limits", to.rows,
			 "in_use_millionths", sums);
}
