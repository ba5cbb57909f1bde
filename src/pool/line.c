/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting line: requests that nothing fits now, by priority, then by age.
 *
 *	/line/RANK/TIME/REQUEST	mortal; RANK 0 is the highest priority, TIME is
 *				microseconds since 1970, so that keys are in order
 *
 * A waiter is held by the stream of its client on one server, which puts the key,
 * tells the client its place, and says "try" when something may fit.  Whoever
 * grants looks at the line too: what became free is kept a while for the first
 * that fits, and a request that has waited long reserves its best server, so that
 * nobody starves behind a stream of small requests.
 */
#include "pool/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define SECOND	   1000000000ull
#define TRY_NS	   (SECOND / 2) /* between two "try" for one waiter */
#define STRAY_US   10000000
#define SHARE	   50		/* one part in so many of the time is spent on the line */

struct waiter {
	struct waiter *next;
	struct mp_waiter *door;
	char key[192], request[64], client[64];
	struct mp_filters filters;
	struct mp_want want;
	int64_t since_us;
	uint64_t tried;
	unsigned told; /* the place that was told last */
	char reserve[65];
	char *record;
};

struct place {
	char *key;
	char request[64], client[64], reserve[65], server[65];
	struct mp_want want;
	struct mp_filters *filters; /* NULL: none */
};

struct line {
	struct place *place;
	unsigned n, cap;
};

static void want_read(const json_t *j, struct mp_want *w, struct mp_filters **filters)
{
	json_t *list = json_object_get(j, "filters"), *one;
	struct mp_fail f;
	size_t i;

	w->n = (unsigned)json_integer_value(json_object_get(j, "devices"));
	w->fraction = (uint32_t)json_integer_value(json_object_get(j, "fraction"));
	w->bytes = (uint64_t)json_integer_value(json_object_get(j, "bytes"));
	if (json_array_size(list))
		*filters = calloc(1, sizeof(**filters));
	json_array_foreach(list, i, one)
		if (*filters && json_is_string(one))
			mp_filter_parse(*filters, json_string_value(one), &f);
}

static void place_fini(struct place *e)
{
	free(e->key);
	free(e->filters);
}

static int place_add(void *arg, const char *key, const char *value, int64_t revision)
{
	struct line *l = arg;
	json_t *j = json_loads(value, 0, NULL);
	const char *client = json_string_value(json_object_get(j, "client"));
	const char *reserve = json_string_value(json_object_get(j, "reserve"));
	const char *server = json_string_value(json_object_get(j, "server"));
	struct place *more, *e;

	(void)revision;
	if (l->n == l->cap) {
		more = realloc(l->place, (2 * l->cap + 16) * sizeof(*more));
		if (!more) {
			json_decref(j);
			return 1;
		}
		l->place = more;
		l->cap = 2 * l->cap + 16;
	}
	e = &l->place[l->n];
	memset(e, 0, sizeof(*e));
	e->key = strdup(key);
	want_read(j, &e->want, &e->filters);
	snprintf(e->request, sizeof(e->request), "%s", strrchr(key, '/') + 1);
	snprintf(e->client, sizeof(e->client), "%s", client ? client : "");
	snprintf(e->reserve, sizeof(e->reserve), "%s", reserve ? reserve : "");
	snprintf(e->server, sizeof(e->server), "%s", server ? server : "");
	json_decref(j);
	if (e->key && e->want.n && e->want.n <= MP_ACCOUNT_DEVICES && e->want.fraction <= MP_MILLION)
		l->n++;
	else
		place_fini(e);
	return 0;
}

static void line_load(struct mp_pool *p, struct line *l)
{
	memset(l, 0, sizeof(*l));
	mp_store_list(p->store, "/line/", place_add, l);
}

static void line_free(struct line *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		place_fini(&l->place[i]);
	free(l->place);
}

/* ---- Granting ---- */

static bool fits_here(struct mp_pool *p, const struct place *e)
{
	struct mp_lease_request q = {.want = e->want, .filters = e->filters};
	struct mp_filter_facts facts;
	struct placement at;
	struct mp_fail f = {0};

	mp_facts_own(p, &facts);
	return mp_place_filtered(p->devices, p->ndevices, &facts, &q, p->spread, p->name, &at, &f) == 0;
}

int mp_line_yield_locked(struct mp_pool *p, const struct mp_lease_request *q, struct mp_fail *f)
{
	bool fresh = mp_now_ns() < p->freed_ns + (uint64_t)mp_setting_seconds(p, "keep-free") * SECOND;
	struct line l;
	unsigned i;
	int rc = 0;

	line_load(p, &l);
	for (i = 0; i < l.n && !rc; i++) {
		struct place *e = &l.place[i];

		/* Whoever is not in the line comes after all who are. */
		if (q->request_id && !strcmp(e->request, q->request_id) && !strcmp(e->client, q->client))
			break;
		if (!strcmp(e->reserve, p->name))
			rc = mp_fail_set(f, MP_CODE_BUSY, "nothing fits now: %s is kept for a request of "
							  "%s that has waited long", p->name, e->client);
		else if (fresh && fits_here(p, e))
			rc = mp_fail_set(f, MP_CODE_BUSY, "nothing fits now: what is free on %s is kept for "
							  "%s, who is ahead in the waiting line", p->name,
					 e->client);
	}
	line_free(&l);
	return rc;
}

/* ---- Waiting ---- */

static int key_put(struct mp_pool *p, const struct waiter *w)
{
	struct mp_store_change c = {.key = w->key, .value = w->record, .mortal = true};

	return mp_store_commit(p->store, NULL, 0, &c, 1, NULL);
}

static void key_drop(struct mp_pool *p, const char *key)
{
	struct mp_store_change c = {.key = key};

	if (mp_store_commit(p->store, NULL, 0, &c, 1, NULL))
		mp_log(MP_LOG_WARN, "pool", "line-not-left", "key=%s", key);
}

static int record_set(struct mp_pool *p, struct waiter *w)
{
	json_t *filters = json_array(), *j;
	char text[256];
	unsigned i;

	for (i = 0; i < w->filters.n; i++)
		json_array_append_new(filters, json_string(mp_filter_print(&w->filters.filter[i], text,
									   sizeof(text))));
	j = json_pack("{s:s, s:s, s:i, s:i, s:I, s:o, s:s}", "server", p->name, "client", w->client, "devices", (int)w->want.n,
		      "fraction", (int)w->want.fraction, "bytes", (json_int_t)w->want.bytes, "filters",
		      filters, "reserve", w->reserve);
	free(w->record);
	w->record = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return w->record ? 0 : -1;
}

int mp_line_enter(struct mp_pool *p, const struct mp_lease_request *q, unsigned priority,
		  struct mp_waiter *door, struct mp_fail *f)
{
	struct waiter *w = calloc(1, sizeof(*w));
	struct timeval now;
	int rc;

	if (!q->request_id || !*q->request_id || strlen(q->request_id) >= sizeof(w->request) ||
	    q->request_id[strspn(q->request_id, "0123456789abcdefABCDEF-")]) {
		free(w);
		return mp_fail_set(f, MP_CODE_USAGE, "waiting needs a request id of hexadecimal digits");
	}
	if (!w)
		return mp_fail_set(f, MP_CODE_FAILED, "the server is out of memory");
	gettimeofday(&now, NULL);
	w->since_us = (int64_t)now.tv_sec * 1000000 + now.tv_usec;
	w->door = door;
	w->want = q->want;
	if (q->filters)
		w->filters = *q->filters;
	snprintf(w->request, sizeof(w->request), "%s", q->request_id);
	snprintf(w->client, sizeof(w->client), "%s", q->client);
	snprintf(w->key, sizeof(w->key), "/line/%u/%016lld/%s", MP_PRIORITIES - 1 - priority,
		 (long long)w->since_us, w->request);
	rc = record_set(p, w) ? -1 : key_put(p, w);
	if (rc) {
		free(w->record);
		free(w);
		return mp_store_refuse(p, f);
	}
	pthread_mutex_lock(&p->lock);
	if (door->gone) {
		pthread_mutex_unlock(&p->lock);
		key_drop(p, w->key);
		free(w->record);
		free(w);
		return 0;
	}
	w->next = p->waiters;
	p->waiters = w;
	pthread_mutex_unlock(&p->lock);
	__atomic_store_n(&p->moved, true, __ATOMIC_RELEASE);
	mp_data_wake(p);
	return 0;
}

void mp_line_leave(struct mp_pool *p, struct mp_waiter *door)
{
	struct waiter **at, *w;

	pthread_mutex_lock(&p->lock);
	door->gone = true;
	for (at = &p->waiters; *at && (*at)->door != door; at = &(*at)->next)
		;
	w = *at;
	if (w)
		*at = w->next;
	pthread_mutex_unlock(&p->lock);
	if (!w)
		return;
	key_drop(p, w->key);
	free(w->record);
	free(w);
}

void mp_line_free_all(struct mp_pool *p)
{
	struct waiter *w;

	while ((w = p->waiters)) {
		p->waiters = w->next;
		free(w->record);
		free(w);
	}
}

/* The server that could serve this at all and has the least lent: it is kept for the one who waited long. */
static void reserve_choose(struct peers *all, struct waiter *w)
{
	struct mp_lease_request q = {.want = w->want, .filters = &w->filters};
	uint64_t charged, least = UINT64_MAX;
	struct placement at;
	struct mp_fail f;
	unsigned i, k;

	for (i = 0; i < all->n; i++) {
		struct peer *e = &all->peer[i];

		memset(&f, 0, sizeof(f));
		if (!e->alive || e->draining ||
		    (mp_peer_place(e, &q, false, &at, &f) && f.code != MP_CODE_BUSY))
			continue;
		for (k = 0, charged = 0; k < e->ndevices; k++)
			charged += e->devices[k].charged;
		if (charged < least) {
			least = charged;
			snprintf(w->reserve, sizeof(w->reserve), "%s", e->name);
		}
	}
}

/* Is its key in the line?  If not, it went with the process's lease of the store. */
static void place_tell(struct mp_pool *p, const struct line *l, struct waiter *w)
{
	unsigned i;

	for (i = 0; i < l->n && strcmp(l->place[i].key, w->key); i++)
		;
	if (i == l->n) {
		if (p->writable)
			key_put(p, w);
	} else if (w->told != i + 1) {
		w->told = i + 1;
		w->door->tell(w->door, "place", json_pack("{s:i, s:i}", "place", (int)i + 1, "of",
							  (int)l->n));
	}
}

static void reserve_mind(struct mp_pool *p, struct peers *all, struct waiter *w, int64_t now_us)
{
	if (w->reserve[0] || !p->writable ||
	    now_us - w->since_us <= mp_setting_seconds(p, "reserve-after") * 1000000)
		return;
	reserve_choose(all, w);
	if (w->reserve[0] && (record_set(p, w) || key_put(p, w)))
		w->reserve[0] = 0;
}

static struct waiter *waiter_of(struct mp_pool *p, const struct place *e)
{
	struct waiter *w;

	for (w = p->waiters; w && strcmp(w->key, e->key); w = w->next)
		;
	return w;
}

/* Wants that nothing fits: as the line is gone through there is only less, so none like them fits either. */
struct misses {
	struct mp_want want[16];
	unsigned n;
};

static bool missed(const struct misses *m, const struct place *e)
{
	unsigned i;

	for (i = 0; i < m->n && !e->filters && !e->reserve[0]; i++)
		if (m->want[i].n <= e->want.n && m->want[i].fraction <= e->want.fraction &&
		    m->want[i].bytes <= e->want.bytes &&
		    /* Nothing asked means whole devices, which is the most. */
		    (m->want[i].fraction || m->want[i].bytes))
			return true;
	return false;
}

/* The server that has room for it and is not kept for one before it; what it takes is taken. */
static struct peer *room_take(struct peers *all, const struct line *l, unsigned at)
{
	const struct place *e = &l->place[at];
	struct mp_lease_request q = {.want = e->want, .filters = e->filters};
	struct placement where;
	struct mp_fail f = {0};
	struct peer *s;
	unsigned i, k;

	for (i = 0; i < all->n; i++) {
		s = &all->peer[i];
		for (k = 0; k < at && strcmp(l->place[k].reserve, s->name); k++)
			;
		if (!s->alive || s->draining || k < at || mp_peer_place(s, &q, false, &where, &f))
			continue;
		for (k = 0; k < e->want.n; k++) {
			s->devices[where.device[k]].charged += where.bytes;
			s->devices[where.device[k]].leases++;
			s->devices[where.device[k]].exclusive |= where.whole;
		}
		return s;
	}
	return NULL;
}

/*
 * Gives what is free to the line in its order, on paper, and tells those of our
 * clients who would get something to try, and where.  Every server with waiters
 * does the same from the same copy, so that of a long line a few ask again, not
 * all.
 */
static void room_offer(struct mp_pool *p, struct peers *all, const struct line *l, uint64_t now)
{
	struct misses m = {.n = 0};
	const struct place *e;
	struct waiter *w;
	struct peer *s;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		e = &l->place[i];
		if (missed(&m, e))
			continue;
		s = room_take(all, l, i);
		if (!s && !e->filters && !e->reserve[0] && m.n < MP_ARRAY_LEN(m.want))
			m.want[m.n++] = e->want;
		w = s ? waiter_of(p, e) : NULL;
		if (!w || now < w->tried + TRY_NS)
			continue;
		w->tried = now;
		w->door->tell(w->door, "try", json_pack("{s:[o]}", "offers", mp_peer_offer_json(s)));
	}
}

/*
 * Keys of this server that nobody waits by: the store was away when they were
 * left, or took them in after that.  One that is entering has no waiter yet.
 */
static void strays_drop(struct mp_pool *p, const struct line *l, int64_t now_us)
{
	const struct place *e;
	unsigned i;

	for (i = 0; i < l->n && p->writable; i++) {
		e = &l->place[i];
		if (!strcmp(e->server, p->name) && !waiter_of(p, e) &&
		    now_us - strtoll(e->key + strlen("/line/0/"), NULL, 10) > STRAY_US)
			key_drop(p, e->key);
	}
}

void mp_line_refresh_locked(struct mp_pool *p, uint64_t now)
{
	struct waiter *w;
	struct timeval tv;
	struct peers all;
	struct line l;

	if (now < p->line_due)
		return;
	line_load(p, &l);
	gettimeofday(&tv, NULL);
	strays_drop(p, &l, (int64_t)tv.tv_sec * 1000000 + tv.tv_usec);
	if (!p->waiters || mp_peers_load(p, &all) < 0) {
		line_free(&l);
		p->line_due = now + SHARE * (mp_now_ns() - now);
		return;
	}
	for (w = p->waiters; w; w = w->next) {
		place_tell(p, &l, w);
		reserve_mind(p, &all, w, (int64_t)tv.tv_sec * 1000000 + tv.tv_usec);
	}
	room_offer(p, &all, &l, now);
	line_free(&l);
	mp_peers_free(&all);
	/* The longer it takes, the rarer: the whole pool does this at every change. */
	p->line_due = now + SHARE * (mp_now_ns() - now);
}

json_t *mp_line_json(struct mp_pool *p)
{
	json_t *list = json_array();
	struct line l;
	unsigned i;

	line_load(p, &l);
	for (i = 0; i < l.n; i++) {
		const struct place *e = &l.place[i];
		long rank = strtol(e->key + strlen("/line/"), NULL, 10);

		json_array_append_new(list,
				      json_pack("{s:i, s:s, s:s, s:s, s:I, s:i, s:i, s:I, s:s}", "place",
						(int)i + 1, "client", e->client, "request", e->request,
						"priority", mp_priority_name(MP_PRIORITIES - 1 - (unsigned)rank),
						"since",
						(json_int_t)(strtoll(e->key + strlen("/line/0/"), NULL, 10) /
							     1000000),
						"devices", (int)e->want.n, "fraction_millionths",
						(int)e->want.fraction, "bytes", (json_int_t)e->want.bytes,
						"reserves", e->reserve));
	}
	line_free(&l);
	return list;
}

static const char *const priority_name[MP_PRIORITIES] = {"low", "normal", "high"};

const char *mp_priority_name(unsigned priority)
{
	return priority < MP_PRIORITIES ? priority_name[priority] : "low";
}

unsigned mp_priority_find(const char *name)
{
	unsigned i;

	for (i = 0; name && i < MP_PRIORITIES; i++)
		if (!strcmp(name, priority_name[i]))
			return i;
	return MP_PRIORITIES;
}
