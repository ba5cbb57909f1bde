/* SPDX-License-Identifier: Apache-2.0 */
/* The seam: checks that belong to every kind of store, then the kind's own function. */
#include "store/kind.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX 512

static bool key_good(const char *key)
{
	size_t n = key ? strlen(key) : 0;

	return n > 1 && n <= KEY_MAX && key[0] == '/';
}

void mp_store_close(struct mp_store *own_store)
{
	if (own_store)
		own_store->kind->close(own_store);
}

int mp_store_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision)
{
	assert(key_good(key));
	*ret_value = NULL;
	*ret_revision = 0;
	return s->broken ? -1 : s->kind->get(s, key, ret_value, ret_revision);
}

int mp_store_list(struct mp_store *s, const char *prefix,
		  int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		  void *arg)
{
	assert(key_good(prefix));
	return s->broken ? -1 : s->kind->list(s, prefix, each, arg);
}

int mp_store_commit(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
		    const struct mp_store_change *changes, size_t nchanges, int64_t *ret_revision)
{
	int64_t revision = 0;
	size_t i;
	int rc;

	for (i = 0; i < nguards; i++)
		assert(key_good(guards[i].key) && guards[i].revision >= 0);
	for (i = 0; i < nchanges; i++)
		assert(key_good(changes[i].key));
	if (s->breaks && !s->breaks_after--)
		s->broken = true;
	if (s->broken)
		return -1;
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

void mp_store_break(struct mp_store *s, int after)
{
	s->broken = false;
	s->breaks = after >= 0;
	s->breaks_after = after;
}
