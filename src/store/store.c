/* SPDX-License-Identifier: Apache-2.0 */
/* The seam: checks that belong to every kind of store, then the kind's own function. */
#include "store/kind.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 512

bool mp_store_key_good(const char *key)
{
	size_t n = key ? strlen(key) : 0;

	return n > 1 && n <= KEY_MAX && key[0] == '/';
}

bool mp_store_prefix_good(const char *prefix)
{
	return prefix && (!strcmp(prefix, "/") || mp_store_key_good(prefix));
}

void mp_store_close(struct mp_store *own_store)
{
	if (own_store)
		own_store->kind->close(own_store);
}

int mp_store_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision)
{
	assert(mp_store_key_good(key));
	*ret_value = NULL;
	*ret_revision = 0;
	return s->broken ? -1 : s->kind->get(s, key, ret_value, ret_revision);
}

int mp_store_list(struct mp_store *s, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg)
{
	assert(mp_store_prefix_good(prefix));
	return s->broken ? -1 : s->kind->list(s, prefix, each, arg);
}

int mp_store_commit(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
		    const struct mp_store_change *changes, size_t nchanges, int64_t *ret_revision)
{
	int64_t revision = 0;
	size_t i;
	int rc;

	for (i = 0; i < nguards; i++)
		assert(mp_store_key_good(guards[i].key) && guards[i].revision >= 0);
	for (i = 0; i < nchanges; i++)
		assert(mp_store_key_good(changes[i].key));
	if (s->breaks && !s->breaks_after--)
		s->broken = true;
	if (s->broken)
		return -1;
	__atomic_add_fetch(&s->commits, 1, __ATOMIC_RELAXED);
	rc = s->kind->commit(s, guards, nguards, changes, nchanges, &revision);
	if (ret_revision)
		*ret_revision = revision;
	return rc;
}

int mp_store_put(struct mp_store *s, const char *key, const char *value)
{
	struct mp_store_change c = {key, value};

	return mp_store_commit(s, NULL, 0, &c, 1, NULL);
}

int mp_store_sync(struct mp_store *s, const char *prefix)
{
	assert(mp_store_prefix_good(prefix));
	if (s->broken)
		return -1;
	return s->kind->sync ? s->kind->sync(s, prefix) : 0;
}

bool mp_store_writable(struct mp_store *s)
{
	return !s->broken && (!s->kind->writable || s->kind->writable(s));
}

void mp_store_watch(struct mp_store *s, void (*changed)(void *arg), void *arg)
{
	if (s->kind->watch)
		s->kind->watch(s, changed, arg);
}

void mp_store_follow(struct mp_store *s,
		     void (*made)(void *arg, const struct mp_store_change *changes, size_t n,
				  int64_t revision),
		     void *arg)
{
	if (s->kind->follow)
		s->kind->follow(s, made, arg);
}

int64_t mp_store_revision(struct mp_store *s)
{
	return s->kind->revision ? s->kind->revision(s) : 0;
}

uint64_t mp_store_commits(struct mp_store *s)
{
	return __atomic_load_n(&s->commits, __ATOMIC_RELAXED);
}

void mp_store_describe(struct mp_store *s, struct mp_store_voters *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->kind->describe) {
		s->kind->describe(s, ret);
		return;
	}
	ret->majority = mp_store_writable(s);
	ret->n = 1;
	ret->good = ret->majority;
	ret->voter[0].good = ret->majority;
	snprintf(ret->voter[0].name, sizeof(ret->voter[0].name), "this server");
}

void mp_store_break(struct mp_store *s, int after)
{
	s->broken = false;
	s->breaks = after >= 0;
	s->breaks_after = after;
}
