/* SPDX-License-Identifier: Apache-2.0 */
/* The copy: an array of entries sorted by key, found by halving. */
#include "store/copy.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mp_copy_entry {
	int64_t revision;
	unsigned mark;
	char *value; /* NULL: deleted, remembered for a while */
	char key[];
};

int mp_copy_init(struct mp_copy *c)
{
	pthread_condattr_t a;

	memset(c, 0, sizeof(*c));
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&c->moved, &a);
	pthread_condattr_destroy(&a);
	return pthread_mutex_init(&c->lock, NULL) ? -1 : 0;
}

static void entry_free(struct mp_copy_entry *e)
{
	free(e->value);
	free(e);
}

void mp_copy_fini(struct mp_copy *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		entry_free(c->entries[i]);
	free(c->entries);
	pthread_cond_destroy(&c->moved);
	pthread_mutex_destroy(&c->lock);
}

/* The place of the key, or where it would be. */
static size_t place_of(const struct mp_copy *c, const char *key)
{
	size_t lo = 0, hi = c->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (strcmp(c->entries[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct mp_copy_entry *entry_find(const struct mp_copy *c, const char *key)
{
	size_t i = place_of(c, key);

	return i < c->n && !strcmp(c->entries[i]->key, key) ? c->entries[i] : NULL;
}

static struct mp_copy_entry *entry_make(struct mp_copy *c, const char *key)
{
	size_t i = place_of(c, key), len = strlen(key) + 1;
	struct mp_copy_entry *e, **more;

	if (i < c->n && !strcmp(c->entries[i]->key, key))
		return c->entries[i];
	if (c->n == c->cap) {
		more = realloc(c->entries, (c->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return NULL;
		c->entries = more;
		c->cap = c->cap * 2 + 64;
	}
	e = calloc(1, sizeof(*e) + len);
	if (!e)
		return NULL;
	memcpy(e->key, key, len);
	memmove(c->entries + i + 1, c->entries + i, (c->n - i) * sizeof(*c->entries));
	c->entries[i] = e;
	c->n++;
	return e;
}

static int change_apply(struct mp_copy *c, const struct mp_copy_change *ch)
{
	struct mp_copy_entry *e = entry_make(c, ch->key);
	char *value = ch->value ? strdup(ch->value) : NULL;

	if (!e || (ch->value && !value)) {
		free(value);
		return -1;
	}
	e->mark = c->mark;
	if (ch->revision < e->revision) {
		free(value);
		return 0;
	}
	/* A new entry has no value either, but it is not a deleted one. */
	c->deleted -= e->revision && !e->value;
	free(e->value);
	e->value = value;
	e->revision = ch->revision;
	c->deleted += !value;
	return 0;
}

/* Forget deleted keys up to a revision, and with a prefix those without the mark. */
static void sweep(struct mp_copy *c, int64_t passed, const char *prefix)
{
	size_t i, to = 0, n = prefix ? strlen(prefix) : 0;

	for (i = 0; i < c->n; i++) {
		struct mp_copy_entry *e = c->entries[i];
		bool gone = e->revision <= passed &&
			    (!e->value || (prefix && e->mark != c->mark &&
					   !strncmp(e->key, prefix, n)));

		if (gone) {
			c->deleted -= !e->value;
			entry_free(e);
		} else {
			c->entries[to++] = e;
		}
	}
	c->n = to;
}

int mp_copy_apply(struct mp_copy *c, const struct mp_copy_change *changes, size_t n, int64_t passed)
{
	size_t i;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	for (i = 0; i < n && !rc; i++)
		rc = change_apply(c, &changes[i]);
	if (passed && c->deleted)
		sweep(c, passed, NULL);
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mp_copy_reload(struct mp_copy *c, const char *prefix, const struct mp_copy_change *changes,
		   size_t n, int64_t revision)
{
	size_t i;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	c->mark++;
	for (i = 0; i < n && !rc; i++)
		rc = change_apply(c, &changes[i]);
	if (!rc)
		sweep(c, revision, prefix);
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mp_copy_get(struct mp_copy *c, const char *key, char **ret_value, int64_t *ret_revision)
{
	struct mp_copy_entry *e;
	int rc = 1;

	pthread_mutex_lock(&c->lock);
	e = entry_find(c, key);
	if (e && e->value) {
		*ret_value = strdup(e->value);
		*ret_revision = e->revision;
		rc = *ret_value ? 0 : -1;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void mp_copy_list(struct mp_copy *c, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg)
{
	size_t i, n = strlen(prefix);

	pthread_mutex_lock(&c->lock);
	for (i = place_of(c, prefix); i < c->n && !strncmp(c->entries[i]->key, prefix, n); i++)
		if (c->entries[i]->value &&
		    each(arg, c->entries[i]->key, c->entries[i]->value, c->entries[i]->revision))
			break;
	pthread_mutex_unlock(&c->lock);
}

bool mp_copy_wait(struct mp_copy *c, const char *key, int64_t revision, unsigned timeout_ms)
{
	struct mp_copy_entry *e;
	struct timespec until;
	bool good = false;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&c->lock);
	for (;;) {
		e = entry_find(c, key);
		good = revision ? e && e->revision >= revision : !e || !e->value;
		if (good || rc)
			break;
		rc = pthread_cond_timedwait(&c->moved, &c->lock, &until);
	}
	pthread_mutex_unlock(&c->lock);
	return good;
}
