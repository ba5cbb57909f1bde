/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: granting, holding, ending; the table of their states.
 *
 *	granted -> attached	the first program connected
 *	granted -> ending	released, or its holder went, before any program came
 *	attached -> ending	released, holder gone, killed, idle, too old
 *	ending -> gone		every worker of it has been reaped
 *
 * The devices are charged from granted until gone: memory of an ending lease is
 * not lent again before the workers that use it are gone.
 *
 * The store has every lease under /leases/SERVER/ID from granted until ending, so
 * that a daemon that is started again goes on with the workers that it finds, and
 * ends those of leases that were ending.  A lease whose key cannot be written is
 * not granted.  What it costs its client goes with the key: who has released a
 * lease may ask for another at once.
 */
#include "pool/state.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND	    1000000000ull
#define LINGER_S    600
#define ATTACH_NS   (10ull * 1000000000) /* from the grant until a holder must show itself */
#define RETURN_NS   (30ull * 1000000000) /* for holders to come back to a new daemon */
#define KILL_NS	    (300ull * 1000000)	 /* from SIGTERM to SIGKILL */

static const char *const state_name[LEASE_STATES] = {"granted", "attached", "ending", "gone"};

static const bool allowed[LEASE_STATES][LEASE_STATES] = {
	[LEASE_GRANTED] = {[LEASE_ATTACHED] = true, [LEASE_ENDING] = true},
	[LEASE_ATTACHED] = {[LEASE_ENDING] = true},
	[LEASE_ENDING] = {[LEASE_GONE] = true},
};

static void state_move(struct lease *l, enum lease_state to)
{
	assert(allowed[l->state][to]);
	mp_log(MP_LOG_INFO, "pool", "lease", "id=%s state=%s client=%s%s%s", l->id,
	       state_name[to], l->client, l->why[0] ? " why=" : "", l->why);
	l->state = to;
}

/* ---- Finding ---- */

struct lease *mp_lease_find_locked(struct mp_pool *p, const char *id)
{
	struct lease *l;

	for (l = p->leases; l; l = l->next)
		if (!strcmp(l->id, id))
			return l;
	return NULL;
}

struct lease *mp_lease_find_secret_locked(struct mp_pool *p, const uint8_t secret[MP_SECRET_BYTES])
{
	uint8_t hash[SHA256_BYTES];
	struct lease *l;

	mp_sha256(secret, MP_SECRET_BYTES, hash);
	for (l = p->leases; l; l = l->next)
		if (!CRYPTO_memcmp(l->secret_hash, hash, sizeof(hash)))
			return l;
	return NULL;
}

bool mp_lease_secret_good(struct mp_pool *p, const char *id, const char *secret)
{
	uint8_t bytes[MP_SECRET_BYTES];
	struct lease *l;
	bool good;

	if (!secret || !mp_hex_parse(secret, bytes, sizeof(bytes)))
		return false;
	pthread_mutex_lock(&p->lock);
	l = mp_lease_find_secret_locked(p, bytes);
	good = l && !strcmp(l->id, id);
	pthread_mutex_unlock(&p->lock);
	return good;
}

bool mp_lease_client(struct mp_pool *p, const char *id, char ret_client[64])
{
	struct lease *l;

	pthread_mutex_lock(&p->lock);
	l = mp_lease_find_locked(p, id);
	if (l)
		memcpy(ret_client, l->client, sizeof(l->client));
	pthread_mutex_unlock(&p->lock);
	return l != NULL;
}

/* ---- Keeping ---- */

static void key_print(struct mp_pool *p, const struct lease *l, char key[256])
{
	snprintf(key, 256, "/leases/%s/%s", p->name, l->id);
}

static void account_path(struct mp_pool *p, const struct lease *l, char *path, size_t size)
{
	snprintf(path, size, "%s/leases/%s.account", p->state_dir, l->id);
}

static json_t *lease_record(struct mp_pool *p, const struct lease *l)
{
	char hash[2 * SHA256_BYTES + 1], id[2 * SESSION_BYTES + 1];
	json_t *j, *slices = json_array(), *sessions = json_array();
	const struct session *s;
	unsigned i;

	mp_hex_print(l->secret_hash, SHA256_BYTES, hash);
	for (i = 0; i < l->n; i++)
		json_array_append_new(slices,
				      json_pack("{s:s, s:I, s:I}", "uuid",
						p->devices[l->slice[i].device].uuid, "bytes",
						(json_int_t)l->slice[i].bytes, "used",
						(json_int_t)mp_account_used(l->account, i)));
	for (s = l->sessions; s; s = s->next) {
		mp_hex_print(s->id, SESSION_BYTES, id);
		json_array_append_new(sessions,
				      json_pack("{s:s, s:i, s:I, s:s, s:i, s:i}", "id", id,
						"worker", (int)s->worker, "start",
						(json_int_t)s->worker_start, "comm", s->comm, "pid",
						(int)s->pid, "uid", (int)s->uid));
	}
	j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:I, s:I, s:I, s:o, s:o}",
		      "secret", hash, "token", l->token,
		      "request", l->request_id, "client", l->client, "user", l->user, "host",
		      l->host, "program", l->program, "fraction", (int)l->fraction, "whole",
		      l->whole, "holder", l->holder_lease, "created", (json_int_t)l->created,
		      "linger_s", (json_int_t)l->linger_s, "ttl_s", (json_int_t)l->ttl_s, "devices", slices, "sessions", sessions);
	return j;
}

char *mp_lease_record_locked(struct mp_pool *p, const struct lease *l)
{
	json_t *j = lease_record(p, l);
	char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	return text;
}

void mp_lease_keys_locked(struct mp_pool *p, const struct lease *l, char key[256], char use[256])
{
	key_print(p, l, key);
	snprintf(use, 256, "/use/%s/%s/%s", l->client, p->name, l->id);
}

/* A new lease (f not NULL) is bounded by the limits: 0, MP_LIMIT_OVER, or -1. */
static int lease_store(struct mp_pool *p, const struct lease *l, struct mp_fail *f)
{
	char key[256], *text = mp_lease_record_locked(p, l);
	int rc = -1;

	key_print(p, l, key);
	if (text)
		rc = f ? mp_limit_enter_locked(p, l, key, text, f)
		       : mp_store_put(p->store, key, text);
	free(text);
	return rc;
}

void mp_lease_store_locked(struct mp_pool *p, struct lease *l)
{
	unsigned i;

	for (i = 0, l->used_told = 0; i < l->n; i++)
		l->used_told += mp_account_used(l->account, i);
	if (lease_store(p, l, NULL)) {
		p->dirty = true;
		mp_log(MP_LOG_WARN, "pool", "lease-not-stored", "id=%s", l->id);
	}
}

/* Nobody's any more: what the store could not be told now it is told later. */
static void lease_strike(struct mp_pool *p, const struct lease *l)
{
	char key[256];

	key_print(p, l, key);
	if (mp_limit_leave_locked(p, l, key)) {
		p->dirty = true;
		mp_log(MP_LOG_WARN, "pool", "lease-not-forgotten", "id=%s", l->id);
	}
}

static void account_remove(struct mp_pool *p, const struct lease *l)
{
	char path[4096];

	account_path(p, l, path, sizeof(path));
	unlink(path);
}

static void lease_charge(struct mp_pool *p, const struct lease *l)
{
	struct device *d;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		d = &p->devices[l->slice[i].device];
		assert(!d->exclusive);
		d->charged += l->slice[i].bytes;
		d->leases++;
		d->grants++;
		d->exclusive = l->whole;
		assert(d->charged <= d->memory);
	}
}

static void lease_uncharge(struct mp_pool *p, const struct lease *l)
{
	struct device *d;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		d = &p->devices[l->slice[i].device];
		assert(d->leases && d->charged >= l->slice[i].bytes);
		d->charged -= l->slice[i].bytes;
		d->leases--;
		if (l->whole)
			d->exclusive = false;
	}
}

static void lease_free(struct lease *l)
{
	mp_account_close(l->account);
	if (l->account_fd >= 0)
		close(l->account_fd);
	OPENSSL_cleanse(l->secret, sizeof(l->secret));
	free(l);
}

void mp_lease_free_all(struct mp_pool *p)
{
	struct lease *l;
	struct session *s;

	while ((l = p->leases)) {
		p->leases = l->next;
		while ((s = l->sessions)) {
			l->sessions = s->next;
			mp_session_free(p, s);
		}
		lease_free(l);
	}
}

/* ---- Granting ---- */

static int account_make(struct mp_pool *p, struct lease *l, struct mp_fail *f)
{
	uint64_t limits[MP_ACCOUNT_DEVICES];
	char path[4096];
	unsigned i;

	for (i = 0; i < l->n; i++)
		limits[i] = l->slice[i].bytes;
	account_path(p, l, path, sizeof(path));
	if (mp_account_create(path, l->n, limits, &l->account, &l->account_fd) < 0)
		return errno == ENOSPC || errno == EDQUOT
			       ? mp_disk_refuse(p, f)
			       : mp_fail_set(f, MP_CODE_FAILED, "the server cannot write %s: %s", path, strerror(errno));
	return 0;
}

static void text_copy(char *to, size_t size, const char *from)
{
	size_t i, n;

	snprintf(to, size, "%s", from ? from : "");
	/* The source is UTF-8; a character that was cut in two goes whole. */
	n = strlen(to);
	if (from && from[n] && ((unsigned char)from[n] & 0xc0) == 0x80) {
		while (n && ((unsigned char)to[n - 1] & 0xc0) == 0x80)
			n--;
		to[n ? n - 1 : 0] = 0;
	}
	/* Claims of a client end up on administrators' terminals. */
	for (i = 0; to[i]; i++)
		if ((unsigned char)to[i] < 32 || to[i] == 127)
			to[i] = '?';
}

static struct lease *lease_new(const struct mp_lease_request *q, const struct placement *at)
{
	struct lease *l = calloc(1, sizeof(*l));
	uint8_t id[MP_LEASE_DIGITS / 2], secret[MP_SECRET_BYTES];
	unsigned i;

	if (!l)
		return NULL;
	mp_random(id, sizeof(id));
	mp_random(secret, sizeof(secret));
	mp_hex_print(id, sizeof(id), l->id);
	mp_hex_print(secret, sizeof(secret), l->secret);
	mp_sha256(secret, sizeof(secret), l->secret_hash);
	OPENSSL_cleanse(secret, sizeof(secret));
	l->account_fd = -1;
	text_copy(l->request_id, sizeof(l->request_id), q->request_id);
	text_copy(l->client, sizeof(l->client), q->client);
	text_copy(l->token, sizeof(l->token), q->token);
	text_copy(l->user, sizeof(l->user), q->user);
	text_copy(l->host, sizeof(l->host), q->host);
	text_copy(l->program, sizeof(l->program), q->program);
	l->n = q->want.n;
	l->fraction = q->want.fraction;
	l->whole = at->whole;
	l->holder_lease = q->holder;
	for (i = 0; i < l->n; i++) {
		l->slice[i].device = at->device[i];
		l->slice[i].bytes = at->bytes;
	}
	l->bytes_asked = q->want.bytes != 0;
	l->linger_s = q->linger_s > 0 ? q->linger_s : LINGER_S;
	l->ttl_s = q->ttl_s;
	l->created = (int64_t)time(NULL);
	l->created_ns = l->unused_ns = mp_now_ns();
	if (l->holder_lease)
		l->holder_deadline = l->created_ns + ATTACH_NS;
	return l;
}

/* A request id belongs to one client: another's is not found by it. */
static struct lease *request_find(struct mp_pool *p, const struct mp_lease_request *q)
{
	struct lease *l;

	for (l = p->leases; q->request_id && l; l = l->next)
		if (!strcmp(l->request_id, q->request_id) && !strcmp(l->client, q->client) &&
		    l->state < LEASE_ENDING && l->secret[0])
			return l;
	return NULL;
}

/* Reasons to give nothing at all, before looking at devices. */
static int grant_allowed(struct mp_pool *p, const struct mp_lease_request *q, struct mp_fail *f)
{
	if (!p->ndevices)
		return mp_fail_set(f, MP_CODE_NEVER, "the server %s has no devices", p->name);
	if (!mp_store_writable(p->store))
		return mp_store_refuse(p, f);
	if (p->frozen)
		return mp_fail_set(f, MP_CODE_BUSY, "nothing is given now: %s", p->frozen);
	if (p->draining)
		return mp_fail_set(f, MP_CODE_BUSY, "nothing is given now: the server %s is draining",
				   p->name);
	return mp_line_yield_locked(p, q, f);
}

static uint64_t largest_device(const struct mp_pool *p)
{
	uint64_t most = 1;
	unsigned i;

	for (i = 0; i < p->ndevices; i++)
		most = p->devices[i].memory > most ? p->devices[i].memory : most;
	return most;
}

static struct lease *grant_locked(struct mp_pool *p, const struct mp_lease_request *q,
				  struct mp_fail *f)
{
	bool spread = q->placement ? q->placement > 0
				   : p->spread || mp_setting_is(p, "placement", "spread");
	struct mp_filter_facts facts;
	struct placement at;
	struct lease *l;
	int rc;

	if (grant_allowed(p, q, f) < 0)
		return NULL;
	mp_facts_own(p, &facts);
	if (mp_place_filtered(p->devices, p->ndevices, &facts, q, spread, p->name, &at, f) < 0) {
		/* Over one's limit there is nothing to wait for. */
		if (f->code == MP_CODE_BUSY)
			mp_limit_check(p, q->client, &q->want, largest_device(p), f);
		return NULL;
	}
	l = lease_new(q, &at);
	if (!l) {
		mp_fail_set(f, MP_CODE_FAILED, "the server is out of memory");
		return NULL;
	}
	if (account_make(p, l, f) < 0) {
		lease_free(l);
		return NULL;
	}
	rc = lease_store(p, l, f);
	if (rc) {
		/* Whether a transaction without an answer was made is not known. */
		if (rc != MP_LIMIT_OVER)
			lease_strike(p, l);
		account_remove(p, l);
		lease_free(l);
		if (rc != MP_LIMIT_OVER)
			mp_store_refuse(p, f);
		return NULL;
	}
	lease_charge(p, l);
	l->idle_s = mp_limit_idle_locked(p, l->client);
	l->next = p->leases;
	p->leases = l;
	p->granted++;
	mp_log(MP_LOG_INFO, "pool", "lease", "id=%s state=granted client=%s devices=%u bytes=%llu",
	       l->id, l->client, l->n, (unsigned long long)at.bytes);
	return l;
}

int mp_lease_grant(struct mp_pool *p, const struct mp_lease_request *q, struct mp_lease_grant *ret,
		   struct mp_fail *f)
{
	struct lease *l;

	if (!q->want.n || q->want.n > MP_ACCOUNT_DEVICES || q->want.fraction > MP_MILLION)
		return mp_fail_set(f, MP_CODE_USAGE,
				   "between 1 and %d devices and a fraction up to 1 can be asked for",
				   MP_ACCOUNT_DEVICES);
	pthread_mutex_lock(&p->lock);
	l = request_find(p, q);
	ret->again = l != NULL;
	if (!l)
		l = grant_locked(p, q, f);
	if (l) {
		memcpy(ret->id, l->id, sizeof(ret->id));
		memcpy(ret->secret, l->secret, sizeof(ret->secret));
		ret->n = l->n;
	} else {
		p->refused++;
	}
	pthread_mutex_unlock(&p->lock);
	if (l)
		mp_data_wake(p);
	return l ? 0 : -1;
}

/* ---- Holding and ending ---- */

static void holder_tell(struct lease *l, const char *event, json_t *own_data, bool last)
{
	struct mp_holder *h = l->holder;

	if (!h) {
		json_decref(own_data);
		return;
	}
	if (last)
		l->holder = NULL;
	h->tell(h, event, own_data, last);
}

int mp_lease_hold(struct mp_pool *p, const char *id, struct mp_holder *h, struct mp_fail *f)
{
	struct lease *l;
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	l = mp_lease_find_locked(p, id);
	if (!l || l->state >= LEASE_ENDING) {
		rc = mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no lease %s on %s%s%s", id,
				 p->name, l ? ": it ended: " : "", l ? l->why : "");
	} else if (h->gone) {
		/* The peer went while its request was answered. */
		if (l->holder_lease && !l->holder)
			mp_lease_end_locked(p, l, "its holder is gone");
	} else {
		holder_tell(l, "replaced", json_object(), true);
		l->holder = h;
		l->holder_deadline = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void mp_lease_unhold(struct mp_pool *p, const char *id, struct mp_holder *h)
{
	struct lease *l;

	pthread_mutex_lock(&p->lock);
	h->gone = true;
	l = mp_lease_find_locked(p, id);
	if (l && l->holder == h) {
		l->holder = NULL;
		if (l->holder_lease && !p->detached)
			mp_lease_end_locked(p, l, "its holder is gone");
	}
	pthread_mutex_unlock(&p->lock);
}

/* Every worker is gone: so is the lease. */
static void lease_finish(struct mp_pool *p, struct lease *l)
{
	struct lease **at;

	assert(!l->sessions);
	state_move(l, LEASE_GONE);
	mp_history_lease_locked(p, l);
	lease_uncharge(p, l);
	p->freed_ns = mp_now_ns();
	account_remove(p, l);
	for (at = &p->leases; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	lease_free(l);
}

void mp_lease_end_locked(struct mp_pool *p, struct lease *l, const char *why)
{
	struct session *s;

	if (l->state >= LEASE_ENDING)
		return;
	snprintf(l->why, sizeof(l->why), "%s", why);
	state_move(l, LEASE_ENDING);
	/* Before anyone hears of the end: the client may ask for what this leaves of its limit. */
	lease_strike(p, l);
	holder_tell(l, "ended", json_pack("{s:s}", "why", why), true);
	mp_session_adopt_strays_locked(p, l);
	for (s = l->sessions; s; s = s->next)
		mp_session_signal(s, SIGTERM);
	l->kill_deadline = mp_now_ns() + KILL_NS;
	if (l->sessions)
		mp_data_wake(p);
	else
		lease_finish(p, l);
}

void mp_lease_end_token(struct mp_pool *p, const char *token)
{
	struct lease *l, *next;

	pthread_mutex_lock(&p->lock);
	for (l = p->leases; l; l = next) {
		next = l->next;
		if (!strcmp(l->token, token))
			mp_lease_end_locked(p, l, "its token was revoked");
	}
	pthread_mutex_unlock(&p->lock);
}

int mp_lease_end(struct mp_pool *p, const char *id, const char *why, struct mp_fail *f)
{
	struct lease *l;

	pthread_mutex_lock(&p->lock);
	l = mp_lease_find_locked(p, id);
	if (l)
		mp_lease_end_locked(p, l, why);
	else
		mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no lease %s on %s", id, p->name);
	pthread_mutex_unlock(&p->lock);
	return l ? 0 : -1;
}

void mp_lease_attached_locked(struct mp_pool *p, struct lease *l)
{
	l->unused_ns = 0;
	if (l->state == LEASE_GRANTED) {
		state_move(l, LEASE_ATTACHED);
		l->attached_ns = mp_now_ns();
	}
	mp_lease_store_locked(p, l);
}

void mp_lease_left_locked(struct mp_pool *p, struct lease *l)
{
	if (mp_account_reap(l->account) < 0)
		mp_log(MP_LOG_WARN, "pool", "account-busy", "lease=%s", l->id);
	if (!l->sessions)
		l->unused_ns = mp_now_ns();
	if (l->state == LEASE_ENDING && !l->sessions)
		lease_finish(p, l);
	else if (l->state < LEASE_ENDING)
		mp_lease_store_locked(p, l);
}

/*
 * No work on any device of the lease since the first process came: programs
 * themselves tell it through the account.
 */
static void idle_check(struct mp_pool *p, struct lease *l, uint64_t now)
{
	uint64_t limit = (uint64_t)l->idle_s * SECOND, last;
	char why[128];
	bool busy;

	if (!limit || l->state != LEASE_ATTACHED)
		return;
	last = mp_account_activity(l->account, &busy);
	if (busy)
		l->busy_ns = now;
	last = last > l->busy_ns ? last : l->busy_ns;
	last = last > l->attached_ns ? last : l->attached_ns;
	if (now < last + limit / 5 * 4) {
		l->warned = false;
	} else if (now >= last + limit) {
		snprintf(why, sizeof(why), "its devices were idle for %lld s, the idle limit of %.64s",
			 (long long)l->idle_s, l->client);
		mp_lease_end_locked(p, l, why);
	} else if (!l->warned) {
		l->warned = true;
		holder_tell(l, "warning",
			    json_pack("{s:s, s:I}", "why", "idle", "seconds_left",
				      (json_int_t)((last + limit - now) / SECOND)),
			    false);
	}
}

/* Ends by age, or because nobody uses a lease that has no holder. */
static void age_check(struct mp_pool *p, struct lease *l, uint64_t now)
{
	if (l->ttl_s && now >= l->created_ns + (uint64_t)l->ttl_s * SECOND)
		mp_lease_end_locked(p, l, "its time (--ttl) is over");
	else if (!l->holder_lease && l->unused_ns &&
		 now >= l->unused_ns + (uint64_t)l->linger_s * SECOND)
		mp_lease_end_locked(p, l, "nobody used it for a while");
	else if (l->holder_lease && !l->holder && l->holder_deadline && now >= l->holder_deadline)
		mp_lease_end_locked(p, l, "its holder did not come");
	else
		idle_check(p, l, now);
}

int mp_lease_tick_locked(struct mp_pool *p, uint64_t now)
{
	struct lease *l, *next;
	struct session *s;
	int wait = 1000;

	for (l = p->leases; l; l = next) {
		next = l->next;
		if (l->state == LEASE_ENDING) {
			if (now >= l->kill_deadline)
				for (s = l->sessions; s; s = s->next)
					mp_session_signal(s, SIGKILL);
			wait = 50;
		} else {
			/* Often enough for the warning at four fifths of the idle limit. */
			if (l->idle_s && l->idle_s < 10)
				wait = wait < 100 ? wait : 100;
			age_check(p, l, now);
		}
	}
	return wait;
}

/* ---- A new daemon takes over ---- */

static bool slices_take(struct mp_pool *p, json_t *list, struct lease *l)
{
	struct device *d;
	json_t *o;
	size_t i;

	l->n = (unsigned)json_array_size(list);
	if (!l->n || l->n > MP_ACCOUNT_DEVICES)
		return false;
	for (i = 0; i < l->n; i++) {
		o = json_array_get(list, i);
		d = mp_device_find_locked(p, json_string_value(json_object_get(o, "uuid"))
						     ? json_string_value(json_object_get(o, "uuid"))
						     : "");
		if (!d)
			return false;
		l->slice[i].device = (unsigned)(d - p->devices);
		l->slice[i].bytes = (uint64_t)json_integer_value(json_object_get(o, "bytes"));
		if (d->exclusive || l->slice[i].bytes > d->memory - d->charged)
			return false;
	}
	return true;
}

static void sessions_take(struct mp_pool *p, json_t *list, struct lease *l)
{
	uint8_t id[SESSION_BYTES];
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o) {
		const char *hex = json_string_value(json_object_get(o, "id"));
		const char *comm = json_string_value(json_object_get(o, "comm"));
		pid_t pid = (pid_t)json_integer_value(json_object_get(o, "worker"));
		uint64_t start = (uint64_t)json_integer_value(json_object_get(o, "start"));

		if (hex && mp_hex_parse(hex, id, sizeof(id)) && pid > 1)
			mp_session_adopt_locked(p, l, pid, start, id,
						(uint32_t)json_integer_value(
							json_object_get(o, "pid")),
						comm ? comm : "");
	}
	mp_session_adopt_strays_locked(p, l);
}

struct adoption {
	struct mp_pool *pool;
	json_t *records; /* of {key, value}: the store is not changed inside its walk */
};

static int record_keep(void *arg, const char *key, const char *value, int64_t revision)
{
	struct adoption *a = arg;

	(void)revision;
	json_array_append_new(a->records, json_pack("{s:s, s:s}", "key", key, "value", value));
	return 0;
}

static struct lease *lease_parse(struct mp_pool *p, const char *id, json_t *j)
{
	struct lease *l = calloc(1, sizeof(*l));
	const char *hash = json_string_value(json_object_get(j, "secret"));
	char path[4096];

	if (!l)
		return NULL;
	l->account_fd = -1;
	text_copy(l->id, sizeof(l->id), id);
	text_copy(l->request_id, sizeof(l->request_id),
		  json_string_value(json_object_get(j, "request")));
	text_copy(l->client, sizeof(l->client), json_string_value(json_object_get(j, "client")));
	text_copy(l->token, sizeof(l->token), json_string_value(json_object_get(j, "token")));
	text_copy(l->user, sizeof(l->user), json_string_value(json_object_get(j, "user")));
	text_copy(l->host, sizeof(l->host), json_string_value(json_object_get(j, "host")));
	text_copy(l->program, sizeof(l->program), json_string_value(json_object_get(j, "program")));
	l->fraction = (uint32_t)json_integer_value(json_object_get(j, "fraction"));
	l->whole = json_is_true(json_object_get(j, "whole"));
	l->holder_lease = json_is_true(json_object_get(j, "holder"));
	l->created = json_integer_value(json_object_get(j, "created"));
	l->linger_s = json_integer_value(json_object_get(j, "linger_s"));
	l->ttl_s = json_integer_value(json_object_get(j, "ttl_s"));
	l->idle_s = mp_limit_idle_locked(p, l->client);
	/* Time spent without a daemon does not count against the lease. */
	l->created_ns = l->unused_ns = l->attached_ns = mp_now_ns();
	l->holder_deadline = l->created_ns + RETURN_NS;
	account_path(p, l, path, sizeof(path));
	l->account_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (!hash || !mp_hex_parse(hash, l->secret_hash, SHA256_BYTES) || l->account_fd < 0 ||
	    mp_account_open(l->account_fd, &l->account) < 0 ||
	    !slices_take(p, json_object_get(j, "devices"), l) ||
	    mp_account_devices(l->account) != l->n) {
		mp_log(MP_LOG_WARN, "pool", "lease-not-adopted", "id=%s", l->id);
		lease_strike(p, l);
		account_remove(p, l);
		lease_free(l);
		return NULL;
	}
	return l;
}

void mp_lease_adopt(struct mp_pool *p)
{
	struct adoption a = {p, json_array()};
	char prefix[256];
	struct lease *l;
	json_t *r, *j;
	size_t i;

	snprintf(prefix, sizeof(prefix), "/leases/%s/", p->name);
	mp_store_list(p->store, prefix, record_keep, &a);
	pthread_mutex_lock(&p->lock);
	json_array_foreach(a.records, i, r) {
		const char *key = json_string_value(json_object_get(r, "key"));

		j = json_loads(json_string_value(json_object_get(r, "value")), 0, NULL);
		l = lease_parse(p, key + strlen(prefix), j);
		if (l) {
			lease_charge(p, l);
			l->next = p->leases;
			p->leases = l;
			sessions_take(p, json_object_get(j, "sessions"), l);
			if (l->sessions) {
				l->state = LEASE_ATTACHED;
				l->unused_ns = 0;
			} else {
				/* Perhaps its holder never had the answer. */
				l->holder_deadline = l->created_ns + ATTACH_NS;
			}
			mp_account_reap(l->account);
			mp_log(MP_LOG_INFO, "pool", "lease-adopted", "id=%s workers=%u", l->id,
			       l->nsessions);
		}
		json_decref(j);
	}
	mp_lease_strays_end(p);
	pthread_mutex_unlock(&p->lock);
	json_decref(a.records);
}
