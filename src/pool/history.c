/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History: who did what (audit), and who used how much (accounting).
 *
 * A lease is written once, when it is over; running ones are added from the
 * tables when somebody asks.  Kept for two years.
 */
#include "pool/state.h"
#include "store/journal.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_S (2 * 366 * 86400ll)

int mp_history_open(struct mp_pool *p, struct mp_fail *f)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/history.db", p->state_dir);
	if (mp_journal_open(path, &p->journal, f) < 0)
		return -1;
	mp_journal_trim(p->journal, (int64_t)time(NULL) - KEEP_S);
	return 0;
}

static void add(struct mp_pool *p, const char *kind, json_t *own_data)
{
	char *text = own_data ? json_dumps(own_data, JSON_COMPACT) : NULL;

	if (text)
		mp_journal_add(p->journal, kind, (int64_t)time(NULL), text);
	free(text);
	json_decref(own_data);
}

void mp_pool_audit(struct mp_pool *p, const char *who, const char *from, const char *what,
		   const char *object, const char *outcome)
{
	add(p, "audit", json_pack("{s:s, s:s, s:s, s:s, s:s}", "who", who, "from", from, "what",
				  what, "object", object, "outcome", outcome));
}

static json_t *lease_use(struct mp_pool *p, const struct lease *l, int64_t until)
{
	int64_t seconds = until > l->created ? until - l->created : 0;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:s}", "lease", l->id,
			 "client", l->client, "user", l->user, "host", l->host, "program",
			 l->program, "devices", (int)l->n, "millionths",
			 (json_int_t)mp_limit_cost_locked(p, l), "started", (json_int_t)l->created,
			 "seconds", (json_int_t)seconds, "why", l->why);
}

void mp_history_lease_locked(struct mp_pool *p, const struct lease *l)
{
	add(p, "lease", lease_use(p, l, (int64_t)time(NULL)));
}

static int audit_row(void *arg, int64_t time_s, const char *data)
{
	json_t *j = json_loads(data, 0, NULL);

	json_object_set_new(j, "time", json_integer(time_s));
	json_array_append_new(arg, j);
	return 0;
}

json_t *mp_pool_audit_list(struct mp_pool *p, int64_t since, int64_t limit)
{
	json_t *rows = json_array();

	mp_journal_list(p->journal, "audit", since, limit, audit_row, rows);
	return json_pack("{s:i, s:o}", "schema_version", 1, "audit", rows);
}

struct sums {
	json_t *by_name; /* object of {leases, gpu_seconds} */
	const char *by;
	int64_t since;
};

/* The part of a lease that lies after `since`. */
static void sum_lease(struct sums *s, const json_t *l, int64_t ended)
{
	const char *name = json_string_value(json_object_get(l, "client"));
	int64_t started = json_integer_value(json_object_get(l, "started"));
	int64_t from = started > s->since ? started : s->since;
	double gpus = (double)json_integer_value(json_object_get(l, "millionths")) / MP_MILLION;
	json_t *row;

	if (strcmp(s->by, "client"))
		name = json_string_value(json_object_get(l, s->by));
	if (!name || !*name)
		name = "-";
	row = json_object_get(s->by_name, name);
	if (!row) {
		row = json_pack("{s:i, s:f}", "leases", 0, "gpu_seconds", 0.0);
		json_object_set_new(s->by_name, name, row);
	}
	json_object_set_new(row, "leases",
			    json_integer(json_integer_value(json_object_get(row, "leases")) + 1));
	json_object_set_new(row, "gpu_seconds",
			    json_real(json_real_value(json_object_get(row, "gpu_seconds")) +
				      (ended > from ? (double)(ended - from) * gpus : 0)));
}

static int sum_row(void *arg, int64_t time_s, const char *data)
{
	json_t *j = json_loads(data, 0, NULL);

	sum_lease(arg, j, time_s);
	json_decref(j);
	return 0;
}

json_t *mp_pool_stats(struct mp_pool *p, const char *by, int64_t since, struct mp_fail *f)
{
	struct sums s = {.by = by, .since = since};
	int64_t now = (int64_t)time(NULL);
	struct lease *l;
	json_t *use;

	if (strcmp(by, "client") && strcmp(by, "user") && strcmp(by, "host") && strcmp(by, "program")) {
		mp_fail_set(f, MP_CODE_USAGE, "stats are by client, user, host or program, not by "
					      "'%.64s'", by);
		return NULL;
	}
	s.by_name = json_object();
	mp_journal_list(p->journal, "lease", since, INT64_MAX, sum_row, &s);
	pthread_mutex_lock(&p->lock);
	for (l = p->leases; l; l = l->next) {
		use = lease_use(p, l, now);
		sum_lease(&s, use, now);
		json_decref(use);
	}
	pthread_mutex_unlock(&p->lock);
	return json_pack("{s:i, s:s, s:I, s:o}", "schema_version", 1, "by", by, "since",
			 (json_int_t)since, "use", s.by_name);
}
