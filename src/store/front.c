/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front: a store that passes everything on to another, which can be
 * exchanged.  Readers-writer lock: calls go side by side, an exchange waits for
 * them.  Revisions of two stores have nothing to do with each other: a guard that
 * was read before an exchange does not hold after it, and the caller reads again.
 */
#include "store/kind.h"
#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>

struct front {
	struct mp_store head;
	pthread_rwlock_t inner_lock;
	struct mp_store *inner MP_GUARDED_BY(inner_lock);
	void (*changed)(void *arg);
	void *changed_arg;
};

static struct front *front_of(struct mp_store *s)
{
	return MP_CONTAINER_OF(s, struct front, head);
}

static void front_close(struct mp_store *own_store)
{
	struct front *t = front_of(own_store);

	mp_store_close(t->inner);
	pthread_rwlock_destroy(&t->inner_lock);
	free(t);
}

static int front_get(struct mp_store *s, const char *key, char **ret_value, int64_t *ret_revision)
{
	struct front *t = front_of(s);
	int rc;

	pthread_rwlock_rdlock(&t->inner_lock);
	rc = mp_store_get(t->inner, key, ret_value, ret_revision);
	pthread_rwlock_unlock(&t->inner_lock);
	return rc;
}

static int front_list(struct mp_store *s, const char *prefix,
		      int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		      void *arg)
{
	struct front *t = front_of(s);
	int rc;

	pthread_rwlock_rdlock(&t->inner_lock);
	rc = mp_store_list(t->inner, prefix, each, arg);
	pthread_rwlock_unlock(&t->inner_lock);
	return rc;
}

static int front_commit(struct mp_store *s, const struct mp_store_guard *guards, size_t nguards,
			const struct mp_store_change *changes, size_t nchanges,
			int64_t *ret_revision)
{
	struct front *t = front_of(s);
	int rc;

	pthread_rwlock_rdlock(&t->inner_lock);
	rc = mp_store_commit(t->inner, guards, nguards, changes, nchanges, ret_revision);
	pthread_rwlock_unlock(&t->inner_lock);
	return rc;
}

static int front_sync(struct mp_store *s, const char *prefix)
{
	struct front *t = front_of(s);
	int rc;

	pthread_rwlock_rdlock(&t->inner_lock);
	rc = mp_store_sync(t->inner, prefix);
	pthread_rwlock_unlock(&t->inner_lock);
	return rc;
}

static bool front_writable(struct mp_store *s)
{
	struct front *t = front_of(s);
	bool good;

	pthread_rwlock_rdlock(&t->inner_lock);
	good = mp_store_writable(t->inner);
	pthread_rwlock_unlock(&t->inner_lock);
	return good;
}

static void front_describe(struct mp_store *s, struct mp_store_voters *ret)
{
	struct front *t = front_of(s);

	pthread_rwlock_rdlock(&t->inner_lock);
	mp_store_describe(t->inner, ret);
	pthread_rwlock_unlock(&t->inner_lock);
}

static void front_watch(struct mp_store *s, void (*changed)(void *arg), void *arg)
{
	struct front *t = front_of(s);

	pthread_rwlock_wrlock(&t->inner_lock);
	t->changed = changed;
	t->changed_arg = arg;
	mp_store_watch(t->inner, changed, arg);
	pthread_rwlock_unlock(&t->inner_lock);
}

static void front_follow(struct mp_store *s,
			 void (*made)(void *arg, const struct mp_store_change *changes, size_t n,
				      int64_t revision),
			 void *arg)
{
	struct front *t = front_of(s);

	pthread_rwlock_rdlock(&t->inner_lock);
	mp_store_follow(t->inner, made, arg);
	pthread_rwlock_unlock(&t->inner_lock);
}

static int64_t front_revision(struct mp_store *s)
{
	struct front *t = front_of(s);
	int64_t n;

	pthread_rwlock_rdlock(&t->inner_lock);
	n = mp_store_revision(t->inner);
	pthread_rwlock_unlock(&t->inner_lock);
	return n;
}

static const struct mp_store_kind front_kind = {
	.close = front_close,
	.get = front_get,
	.list = front_list,
	.commit = front_commit,
	.sync = front_sync,
	.writable = front_writable,
	.watch = front_watch,
	.follow = front_follow,
	.revision = front_revision,
	.describe = front_describe,
};

int mp_store_open_front(struct mp_store *own_inner, struct mp_store **ret_store, struct mp_fail *f)
{
	struct front *t = calloc(1, sizeof(*t));

	if (!t)
		return mp_fail_set(f, 0, "out of memory");
	t->head.kind = &front_kind;
	t->inner = own_inner;
	pthread_rwlock_init(&t->inner_lock, NULL);
	*ret_store = &t->head;
	return 0;
}

struct mp_store *mp_store_switch(struct mp_store *front, struct mp_store *own_inner)
{
	struct front *t = front_of(front);
	struct mp_store *old;

	assert(front->kind == &front_kind);
	pthread_rwlock_wrlock(&t->inner_lock);
	old = t->inner;
	mp_store_watch(old, NULL, NULL);
	mp_store_watch(own_inner, t->changed, t->changed_arg);
	t->inner = own_inner;
	pthread_rwlock_unlock(&t->inner_lock);
	return old;
}
