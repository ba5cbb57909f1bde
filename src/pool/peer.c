/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers of the pool as their records in the store tell: what they have,
 * what is lent, whether they live.  From this any server answers for all, and
 * proposes where a request fits; only the owner of a device grants it.
 *
 *	/servers/NAME		what it is and has; stays while it is down
 *	/alive/NAME		mortal: goes with the server's process
 *	/drain/NAME		it gets no new leases
 *	/off/NAME/UUID		that device is not offered
 *	/leases/NAME/ID		what is lent
 *
 * Loading reads the store's copy alone and takes no lock of this room.
 */
#include "pool/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_take(const json_t *o, const char *key, char *to, size_t size)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(to, size, "%s", s ? s : "");
}

static uint64_t number_take(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* "HOST:PORT" or "[V6]:PORT" without the port. */
static void host_take(const char *api, char *to, size_t size)
{
	const char *colon = api ? strrchr(api, ':') : NULL;

	if (!colon)
		to[0] = 0;
	else if (api[0] == '[' && colon > api + 1 && colon[-1] == ']')
		snprintf(to, size, "%.*s", (int)(colon - api - 2), api + 1);
	else
		snprintf(to, size, "%.*s", (int)(colon - api), api);
}

static bool devices_take(struct peer *e)
{
	json_t *list = json_object_get(e->record, "devices"), *o;
	const char *condition;
	size_t i;

	e->devices = calloc(json_array_size(list) + 1, sizeof(*e->devices));
	if (!e->devices)
		return false;
	json_array_foreach(list, i, o) {
		struct device *d = &e->devices[i];

		d->index = (unsigned)i;
		text_take(o, "uuid", d->uuid, sizeof(d->uuid));
		text_take(o, "name", d->name, sizeof(d->name));
		text_take(o, "capability", d->capability, sizeof(d->capability));
		text_take(o, "code", d->code, sizeof(d->code));
		d->memory = number_take(o, "memory");
		d->reserve = number_take(o, "reserve");
		condition = json_string_value(json_object_get(o, "condition"));
		if (condition && strcmp(condition, "ok"))
			d->condition = strcmp(condition, "foreign") ? CONDITION_FAULTY : CONDITION_FOREIGN;
		text_take(o, "why", d->why, sizeof(d->why));
		d->disabled = json_is_false(json_object_get(o, "offered")) || d->condition != CONDITION_OK;
	}
	e->ndevices = (unsigned)json_array_size(list);
	return true;
}

static int server_add(void *arg, const char *key, const char *value, int64_t revision)
{
	struct peers *all = arg;
	struct peer *more, *e;

	(void)revision;
	more = realloc(all->peer, (all->n + 1) * sizeof(*more));
	if (!more) {
		all->failed = true;
		return 1;
	}
	all->peer = more;
	e = &all->peer[all->n];
	memset(e, 0, sizeof(*e));
	snprintf(e->name, sizeof(e->name), "%s", key + strlen("/servers/"));
	e->record = json_loads(value, 0, NULL);
	e->leases = json_array();
	if (!e->record || !devices_take(e)) {
		json_decref(e->record);
		json_decref(e->leases);
		return 0;
	}
	all->n++;
	text_take(e->record, "driver_version", e->driver_version, sizeof(e->driver_version));
	text_take(e->record, "cuda_version", e->cuda_version, sizeof(e->cuda_version));
	text_take(e->record, "version", e->version, sizeof(e->version));
	host_take(json_string_value(json_array_get(json_object_get(e->record, "api"), 0)), e->address,
		  sizeof(e->address));
	e->has_rdma = json_is_true(json_object_get(e->record, "has_rdma"));
	return 0;
}

struct peer *mp_peer_find(struct peers *all, const char *name, size_t n)
{
	unsigned i;

	for (i = 0; i < all->n; i++)
		if (!strncmp(all->peer[i].name, name, n) && !all->peer[i].name[n])
			return &all->peer[i];
	return NULL;
}

static int alive_add(void *arg, const char *key, const char *value, int64_t revision)
{
	const char *name = key + strlen("/alive/");
	struct peer *e = mp_peer_find(arg, name, strlen(name));

	(void)value, (void)revision;
	if (e)
		e->alive = true;
	return 0;
}

static int drain_add(void *arg, const char *key, const char *value, int64_t revision)
{
	const char *name = key + strlen("/drain/");
	struct peer *e = mp_peer_find(arg, name, strlen(name));

	(void)value, (void)revision;
	if (e)
		e->draining = true;
	return 0;
}

static struct device *device_find(struct peer *e, const char *uuid)
{
	unsigned i;

	for (i = 0; uuid && i < e->ndevices; i++)
		if (!strcmp(e->devices[i].uuid, uuid))
			return &e->devices[i];
	return NULL;
}

static int off_add(void *arg, const char *key, const char *value, int64_t revision)
{
	const char *name = key + strlen("/off/"), *slash = strchr(name, '/');
	struct peer *e = slash ? mp_peer_find(arg, name, (size_t)(slash - name)) : NULL;
	struct device *d = e ? device_find(e, slash + 1) : NULL;

	(void)value, (void)revision;
	if (d)
		d->disabled = true;
	return 0;
}

static int lease_add(void *arg, const char *key, const char *value, int64_t revision)
{
	const char *name = key + strlen("/leases/"), *slash = strchr(name, '/');
	struct peer *e = slash ? mp_peer_find(arg, name, (size_t)(slash - name)) : NULL;
	json_t *j = e ? json_loads(value, 0, NULL) : NULL, *o;
	bool whole = json_is_true(json_object_get(j, "whole"));
	struct device *d;
	size_t i;

	(void)revision;
	if (!j)
		return 0;
	json_array_foreach(json_object_get(j, "devices"), i, o) {
		d = device_find(e, json_string_value(json_object_get(o, "uuid")));
		if (!d)
			continue;
		d->charged += number_take(o, "bytes");
		d->leases++;
		d->exclusive |= whole;
	}
	json_object_set_new(j, "id", json_string(slash + 1));
	json_array_append_new(e->leases, j);
	return 0;
}

int mp_peers_load(struct mp_pool *p, struct peers *ret)
{
	struct peer *self;

	memset(ret, 0, sizeof(*ret));
	if (mp_store_list(p->store, "/servers/", server_add, ret) < 0 ||
	    mp_store_list(p->store, "/alive/", alive_add, ret) < 0 ||
	    mp_store_list(p->store, "/drain/", drain_add, ret) < 0 ||
	    mp_store_list(p->store, "/off/", off_add, ret) < 0 ||
	    mp_store_list(p->store, "/leases/", lease_add, ret) < 0 || ret->failed) {
		mp_peers_free(ret);
		return -1;
	}
	self = mp_peer_find(ret, p->name, strlen(p->name));
	if (self)
		self->self = self->alive = true;
	return 0;
}

void mp_peers_free(struct peers *all)
{
	unsigned i;

	for (i = 0; i < all->n; i++) {
		json_decref(all->peer[i].record);
		json_decref(all->peer[i].leases);
		free(all->peer[i].devices);
	}
	free(all->peer);
	memset(all, 0, sizeof(*all));
}

/* ---- Proposing ---- */

int mp_peer_place(const struct peer *e, const struct mp_lease_request *q, bool spread,
		  struct placement *at, struct mp_fail *f)
{
	struct mp_filter_facts facts = {.address = e->address, .hostname = e->name,
					.cuda_version = e->cuda_version,
					.driver_version = e->driver_version,
					.has_rdma = e->has_rdma};

	if (!e->ndevices)
		return mp_fail_set(f, MP_CODE_NEVER, "the server %s has no devices", e->name);
	return mp_place_filtered(e->devices, e->ndevices, &facts, q, spread, e->name, at, f);
}

static uint64_t peer_free(const struct peer *e)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < e->ndevices; i++)
		if (!e->devices[i].disabled && !e->devices[i].exclusive)
			sum += e->devices[i].memory - (e->devices[i].charged < e->devices[i].memory
							       ? e->devices[i].charged
							       : e->devices[i].memory);
	return sum;
}

static uint64_t peer_largest(const struct peer *e)
{
	uint64_t most = 0;
	unsigned i;

	for (i = 0; i < e->ndevices; i++)
		most = e->devices[i].memory > most ? e->devices[i].memory : most;
	return most;
}

struct proposal {
	const struct peer *peer;
	uint64_t left;
};

static int fuller_first(const void *a, const void *b)
{
	const struct proposal *x = a, *y = b;

	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	return strcmp(x->peer->name, y->peer->name);
}

static int emptier_first(const void *a, const void *b)
{
	const struct proposal *x = a, *y = b;

	if (x->left != y->left)
		return x->left > y->left ? -1 : 1;
	return strcmp(x->peer->name, y->peer->name);
}

/* What is worth telling when nothing fits: the nearest miss, and whether it can ever fit. */
struct miss {
	struct mp_fail busy, never;
	uint64_t nearest, largest;
	char away[256];
	unsigned nbusy, naway, nnever;
};

static void miss_add(struct miss *m, const struct peer *e, bool here, const struct mp_fail *f)
{
	uint64_t left = peer_free(e), largest = peer_largest(e);

	if (f->code == MP_CODE_NEVER) {
		if (!m->nnever++ || largest > m->largest) {
			m->never = *f;
			m->largest = largest;
		}
	} else if (!here) {
		if (m->naway++ < 4)
			snprintf(m->away + strlen(m->away), sizeof(m->away) - strlen(m->away), "%s%s",
				 m->away[0] ? ", " : "", e->name);
	} else if (!m->nbusy++ || left > m->nearest) {
		m->busy = *f;
		m->nearest = left;
	}
}

static int miss_say(const struct miss *m, struct mp_fail *f)
{
	if (m->nbusy)
		*f = m->busy;
	else if (m->naway)
		mp_fail_set(f, MP_CODE_BUSY, "nothing fits now: only servers that are down or draining "
					     "could serve this: %s%s", m->away, m->naway > 4 ? ", ..." : "");
	else if (m->nnever)
		*f = m->never;
	else
		mp_fail_set(f, MP_CODE_NEVER, "the pool has no server with devices");
	return -1;
}

json_t *mp_peer_offer_json(const struct peer *e)
{
	return json_pack("{s:s, s:O?, s:b}", "server", e->name, "api",
			 json_object_get(e->record, "api"), "self", e->self);
}

json_t *mp_pool_offers(struct mp_pool *p, const struct mp_lease_request *q, struct mp_fail *f)
{
	bool spread = q->placement ? q->placement > 0 : mp_setting_is(p, "placement", "spread");
	struct proposal *good;
	struct miss m = {0};
	struct placement at;
	struct peers all;
	unsigned i, n = 0;
	json_t *list = NULL;

	if (!mp_store_writable(p->store)) {
		mp_store_refuse(p, f);
		return NULL;
	}
	if (mp_peers_load(p, &all) < 0 || !(good = calloc(all.n + 1, sizeof(*good)))) {
		mp_fail_set(f, MP_CODE_FAILED, "the server is out of memory");
		return NULL;
	}
	for (i = 0; i < all.n; i++) {
		struct peer *e = &all.peer[i];
		bool here = e->alive && !e->draining;
		struct mp_fail one = {0};

		if (mp_peer_place(e, q, spread, &at, &one) == 0 && here)
			good[n++] = (struct proposal){e, peer_free(e)};
		else
			miss_add(&m, e, here, &one);
	}
	qsort(good, n, sizeof(*good), spread ? emptier_first : fuller_first);
	if (n)
		list = json_array();
	for (i = 0; i < n && i < 8; i++)
		json_array_append_new(list, mp_peer_offer_json(good[i].peer));
	/* Over one's limit there is nothing to wait for. */
	if (!n && miss_say(&m, f) < 0 && f->code == MP_CODE_BUSY)
		mp_limit_check(p, q->client, &q->want, mp_peers_largest(&all), f);
	free(good);
	mp_peers_free(&all);
	return list ? json_pack("{s:o}", "offers", list) : NULL;
}

uint64_t mp_peers_largest(const struct peers *all)
{
	uint64_t most = 1, one;
	unsigned i;

	for (i = 0; i < all->n; i++) {
		one = peer_largest(&all->peer[i]);
		most = one > most ? one : most;
	}
	return most;
}

/* ---- Showing ---- */

const char *mp_peer_state(const struct peer *e)
{
	if (!e->alive)
		return "lost";
	if (e->draining)
		return json_array_size(e->leases) ? "draining" : "drained";
	return "ok";
}

json_t *mp_device_json(const struct device *d)
{
	uint64_t left = d->disabled || d->exclusive || d->charged > d->memory ? 0 : d->memory - d->charged;

	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:b, s:s}", "index", (int)d->index,
			 "uuid", d->uuid, "name", d->name, "capability", d->capability, "code", d->code, "memory",
			 (json_int_t)d->memory, "free", (json_int_t)left, "reserve",
			 (json_int_t)d->reserve, "leases", (int)d->leases, "exclusive", d->exclusive,
			 "state", d->condition != CONDITION_OK ? mp_condition_name(d)
			 : d->disabled ? "disabled" : "ok");
}

json_t *mp_peer_json(const struct peer *e)
{
	json_t *devices = json_array();
	unsigned i;

	for (i = 0; i < e->ndevices; i++)
		json_array_append_new(devices, mp_device_json(&e->devices[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:O?, s:o}", "name", e->name, "state",
			 mp_peer_state(e), "version", e->version, "driver_version", e->driver_version,
			 "cuda_version", e->cuda_version, "api", json_object_get(e->record, "api"),
			 "devices", devices);
}

/* A lease of another server, as its record tells it. */
json_t *mp_peer_lease_json(const struct peer *e, const json_t *record)
{
	json_t *devices = json_array(), *processes = json_array(), *o, *l;
	const char *const texts[] = {"client", "user", "host", "program"};
	struct device *d;
	size_t i;

	json_array_foreach(json_object_get(record, "devices"), i, o) {
		d = device_find((struct peer *)(uintptr_t)e, json_string_value(json_object_get(o, "uuid")));
		json_array_append_new(devices, json_pack("{s:i, s:s, s:O?, s:I}", "index",
							 d ? (int)d->index : -1, "uuid",
							 d ? d->uuid : "", "bytes",
							 json_object_get(o, "bytes"), "used",
							 json_integer_value(json_object_get(o, "used"))));
	}
	json_array_foreach(json_object_get(record, "sessions"), i, o)
		json_array_append_new(processes, json_pack("{s:O?, s:O?, s:O?, s:I}", "program",
							   json_object_get(o, "comm"), "pid",
							   json_object_get(o, "pid"), "worker",
							   json_object_get(o, "worker"), "used",
							   json_integer_value(json_object_get(o, "used"))));
	l = json_pack("{s:O?, s:s, s:s}", "id", json_object_get(record, "id"), "server", e->name, "state",
		      !e->alive ? "lost" : json_array_size(processes) ? "attached" : "granted");
	for (i = 0; i < MP_ARRAY_LEN(texts); i++)
		json_object_set(l, texts[i], json_object_get(record, texts[i]));
	json_object_set(l, "whole", json_object_get(record, "whole"));
	json_object_set(l, "created", json_object_get(record, "created"));
	json_object_set_new(l, "devices", devices);
	json_object_set_new(l, "processes", processes);
	return l;
}
