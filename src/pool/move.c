/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a pool's store by its URL, and moving the pool to another.
 *
 * Moving: /frozen in the old store stops grants (every grant is guarded by its
 * absence, on every server); the keys are copied until both are the same; the
 * address is written down here and told to the other servers by /moved; then the
 * front is turned.  Whatever fails before that takes everything back.  Running
 * leases notice nothing: they are this server's own, and written again at the end.
 */
#include "pool/state.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH	  60
#define ROUNDS	  20
#define NOTICE_US 600000 /* for the other servers to see /moved before the old store is left */

int mp_pool_store_open(const char *state, const char *url, int wait_ms, struct mp_store **ret,
		       struct mp_fail *f)
{
	char ca[4200], cert[4200], key[4200];
	struct mp_store_etcd c = {.plain = !strncmp(url, "etcd://", 7), .ca_file = ca, .cert_file = cert,
				  .key_file = key};

	if (!c.plain && strncmp(url, "etcds://", 8))
		return mp_fail_set(f, MP_CODE_CONFIG, "a store is etcd://HOST:PORT,... or etcds://..., not "
						      "'%.200s'", url);
	c.endpoints = strstr(url, "://") + 3;
	snprintf(ca, sizeof(ca), "%s/ca.crt", state);
	snprintf(cert, sizeof(cert), "%s/server.crt", state);
	snprintf(key, sizeof(key), "%s/server.key", state);
	return mp_store_open_etcd(&c, wait_ms, ret, f);
}

/* What belongs to the store itself, or to a process. */
static bool stays(const char *key)
{
	return !strncmp(key, "/alive/", 7) || !strncmp(key, "/line/", 6) || !strcmp(key, "/frozen") ||
	       !strcmp(key, "/moved") || !strcmp(key, "/health");
}

static int keep(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)revision;
	if (!stays(key))
		json_object_set_new(arg, key, json_string(value));
	return 0;
}

/* Makes `to` like `from`; the number of changes, or -1. */
static int copy_once(struct mp_store *from, struct mp_store *to)
{
	json_t *a = json_object(), *b = json_object(), *v, *other;
	struct mp_store_change c[BATCH] = {0};
	const char *key;
	unsigned n = 0;
	int sum = 0, rc = 0;

	mp_store_list(from, "/", keep, a);
	mp_store_list(to, "/", keep, b);
	json_object_foreach(a, key, v) {
		other = json_object_get(b, key);
		if (rc || (other && json_equal(other, v)))
			continue;
		c[n++] = (struct mp_store_change){key, json_string_value(v), false};
		sum++;
		if (n == BATCH) {
			rc = mp_store_commit(to, NULL, 0, c, n, NULL);
			n = 0;
		}
	}
	json_object_foreach(b, key, v) {
		if (rc || json_object_get(a, key))
			continue;
		c[n++] = (struct mp_store_change){key, NULL, false};
		sum++;
		if (n == BATCH) {
			rc = mp_store_commit(to, NULL, 0, c, n, NULL);
			n = 0;
		}
	}
	if (n && !rc)
		rc = mp_store_commit(to, NULL, 0, c, n, NULL);
	json_decref(a);
	json_decref(b);
	return rc ? -1 : sum;
}

static int frozen_set(struct mp_store *s, const char *value)
{
	struct mp_store_change c = {.key = "/frozen", .value = value};

	return mp_store_commit(s, NULL, 0, &c, 1, NULL);
}

static int url_write(const char *state, const char *url, struct mp_fail *f)
{
	char path[4200], temp[4200];
	FILE *out;
	bool good;

	snprintf(path, sizeof(path), "%s/store", state);
	snprintf(temp, sizeof(temp), "%s/.store.new", state);
	out = fopen(temp, "we");
	good = out && fprintf(out, "%s\n", url) > 0 && fflush(out) == 0 && fsync(fileno(out)) == 0;
	if (out && fclose(out))
		good = false;
	if (!good || rename(temp, path) < 0)
		return mp_fail_set(f, MP_CODE_FAILED, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* From now on everything goes to the new store. */
static void turn(struct mp_pool *p, const char *url, struct mp_store *own_store)
{
	struct mp_store *old;
	char *copy = strdup(url);

	old = mp_store_switch(p->store, own_store);
	pthread_mutex_lock(&p->lock);
	p->old_url = p->store_url; /* somebody may be reading it */
	p->store_url = copy;
	p->shared = true;
	p->dirty = true;
	p->frozen = NULL;
	pthread_mutex_unlock(&p->lock);
	mp_store_close(old);
	__atomic_store_n(&p->moved, true, __ATOMIC_RELEASE);
	mp_data_wake(p);
	mp_log(MP_LOG_INFO, "pool", "store-moved", "to=%s", url);
}

static int count(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)value, (void)revision;
	return ++*(int *)arg;
}

static int move(struct mp_pool *p, struct mp_store *to, const char *url, struct mp_fail *f)
{
	int round, n = 1, rc = -1;

	if (frozen_set(p->store, "the pool's store is being moved"))
		return mp_store_refuse(p, f);
	for (round = 0; round < ROUNDS && n > 0; round++)
		n = copy_once(p->store, to);
	if (n < 0)
		mp_fail_set(f, MP_CODE_FAILED, "the new store could not be written; the old one stays in "
			    "use: see whether the new one has a quorum");
	else if (n > 0)
		mp_fail_set(f, MP_CODE_FAILED, "the old store changes faster than it is copied; it stays in "
			    "use: try again when fewer leases are given");
	else
		rc = url_write(p->state_dir, url, f);
	if (!rc && mp_store_put(p->store, "/moved", url))
		rc = mp_store_refuse(p, f);
	if (rc) {
		frozen_set(p->store, NULL);
		return -1;
	}
	usleep(NOTICE_US);
	/* What was written while the others took notice. */
	copy_once(p->store, to);
	return 0;
}

int mp_pool_store_move(struct mp_pool *p, const char *url, struct mp_fail *f)
{
	struct mp_store *to = NULL;
	int n = 0;

	if (p->store_url && !strcmp(p->store_url, url))
		return mp_fail_set(f, MP_CODE_USAGE, "the pool's store is at that address already; there is nothing to move");
	if (mp_pool_store_open(p->state_dir, url, 3000, &to, f) < 0) {
		f->code = MP_CODE_USAGE;
		return -1;
	}
	mp_store_list(to, "/", count, &n);
	if (n || !mp_store_writable(to)) {
		mp_store_close(to);
		return mp_fail_set(f, MP_CODE_USAGE, n ? "the store at %s holds a pool already"
						       : "the store at %s has no majority", url);
	}
	if (move(p, to, url, f) < 0) {
		struct mp_store *nothing;
		struct mp_fail ignored;

		/* An empty store is made of what was copied. */
		if (mp_store_open_sqlite(":memory:", &nothing, &ignored) == 0) {
			copy_once(nothing, to);
			mp_store_close(nothing);
		}
		mp_store_close(to);
		return -1;
	}
	turn(p, url, to);
	return 0;
}

void mp_pool_mind(struct mp_pool *p)
{
	char *url = NULL;
	int64_t revision;
	struct mp_store *to;
	struct mp_fail f = {0};

	if (mp_store_get(p->store, "/moved", &url, &revision) != MP_STORE_OK ||
	    (p->store_url && !strcmp(p->store_url, url))) {
		free(url);
		return;
	}
	if (mp_pool_store_open(p->state_dir, url, 3000, &to, &f) == 0) {
		if (url_write(p->state_dir, url, &f) == 0)
			turn(p, url, to);
		else
			mp_store_close(to);
	}
	if (f.text[0])
		mp_log(MP_LOG_ERROR, "pool", "store-not-followed", "why=\"%s\"", f.text);
	free(url);
}
