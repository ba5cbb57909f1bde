/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context-local storage: (context, key) -> (value, destructor).
 *
 * The CUDA runtime keeps its own state here, once per copy of the runtime in the
 * process, and looks it up in every call; hence an open-addressed table whose
 * readers take no lock.  Writers hold `write_lock`.  Each slot has a sequence
 * number, odd while it changes: a reader that saw it change looks again.  Entries
 * never move inside a table, so a probe sequence stays valid under a reader; when
 * the table grows, the old one is kept, since a reader may still be in it (sizes
 * double, so all old ones together are smaller than the current one).
 */
#include "cuabi/cuabi.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "cuabi/internal.h"

struct slot {
	_Atomic uint32_t seq;
	/* context: NULL = never used, ends a probe; GONE = free again, does not. */
	_Atomic(CUcontext) context;
	_Atomic(void *) key, value;
	mp_cls_destroy destroy MP_GUARDED_BY(write_lock);
};

struct table {
	size_t mask;
	size_t used; /* slots that are not NULL, guarded by write_lock */
	struct table *older;
	struct slot slots[];
};

#define GONE ((CUcontext)(uintptr_t)-1)
#define FIRST_SLOTS 64

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct table *) current;

static size_t slot_first(const struct table *t, CUcontext ctx, void *key)
{
	uint64_t h = ((uint64_t)(uintptr_t)ctx * 31 + (uint64_t)(uintptr_t)key) *
		     0x9e3779b97f4a7c15u;

	return (size_t)(h >> 32) & t->mask;
}

/* Lock-free: one consistent look at a slot. false when it changed meanwhile. */
static bool slot_read(struct slot *s, CUcontext *ctx, void **key, void **value)
{
	uint32_t before = atomic_load_explicit(&s->seq, memory_order_acquire);

	*ctx = atomic_load_explicit(&s->context, memory_order_relaxed);
	*key = atomic_load_explicit(&s->key, memory_order_relaxed);
	*value = atomic_load_explicit(&s->value, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return !(before & 1) && before == atomic_load_explicit(&s->seq, memory_order_relaxed);
}

static bool entry_read(CUcontext ctx, void *key, void **value)
{
	struct table *t = atomic_load_explicit(&current, memory_order_acquire);
	size_t i, n;

	if (!t)
		return false;
	i = slot_first(t, ctx, key);
	for (n = 0; n <= t->mask; n++, i = (i + 1) & t->mask) {
		CUcontext c;
		void *k, *v;

		while (!slot_read(&t->slots[i], &c, &k, &v))
			;
		if (!c)
			return false;
		if (c == ctx && k == key) {
			*value = v;
			return true;
		}
	}
	return false;
}

/* ---- Writers, all under write_lock ---- */

static void slot_write(struct slot *s, CUcontext ctx, void *key, void *value,
		       mp_cls_destroy destroy)
{
	uint32_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed);

	assert(!(seq & 1));
	atomic_store_explicit(&s->seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&s->context, ctx, memory_order_relaxed);
	atomic_store_explicit(&s->key, key, memory_order_relaxed);
	atomic_store_explicit(&s->value, value, memory_order_relaxed);
	s->destroy = destroy;
	atomic_store_explicit(&s->seq, seq + 2, memory_order_release);
}

/* The slot of (ctx, key), else a free one for it in *ret_free. */
static struct slot *slot_find(struct table *t, CUcontext ctx, void *key, struct slot **ret_free)
{
	size_t i = slot_first(t, ctx, key), n;

	*ret_free = NULL;
	for (n = 0; n <= t->mask; n++, i = (i + 1) & t->mask) {
		struct slot *s = &t->slots[i];

		if ((!s->context || s->context == GONE) && !*ret_free)
			*ret_free = s;
		if (!s->context)
			return NULL;
		if (s->context == ctx && s->key == key)
			return s;
	}
	return NULL;
}

static struct table *table_new(size_t slots)
{
	struct table *t = calloc(1, sizeof(*t) + slots * sizeof(t->slots[0]));

	if (t)
		t->mask = slots - 1;
	return t;
}

/* A table with room for one more entry, or NULL without memory. */
static struct table *table_for_put(void)
{
	struct table *old = atomic_load_explicit(&current, memory_order_relaxed), *t;
	size_t i, live = 0;

	if (old && old->used < old->mask / 4 * 3)
		return old;
	for (i = 0; old && i <= old->mask; i++)
		live += old->slots[i].context && old->slots[i].context != GONE;
	/* Mostly freed slots: those can be used again, no need to grow. */
	if (old && live < old->mask / 2)
		return old;
	t = table_new(old ? (old->mask + 1) * 2 : FIRST_SLOTS);
	if (!t)
		return NULL;
	for (i = 0; old && i <= old->mask; i++) {
		struct slot *s = &old->slots[i], *free_slot;

		if (!s->context || s->context == GONE)
			continue;
		slot_find(t, s->context, s->key, &free_slot);
		slot_write(free_slot, s->context, s->key, s->value, s->destroy);
		t->used++;
	}
	t->older = old;
	atomic_store_explicit(&current, t, memory_order_release);
	return t;
}

static CUresult context_resolve(CUcontext *ctx)
{
	const struct mp_cuabi_ops *ops = mp_cuabi_ops();

	if (!ops)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (!*ctx)
		*ctx = ops->current_context();
	return *ctx && *ctx != GONE ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult mp_cls_put(CUcontext ctx, void *key, void *value, mp_cls_destroy destroy)
{
	CUresult rc = context_resolve(&ctx);
	struct slot *s, *free_slot;
	struct table *t;

	if (rc)
		return rc;
	if (!mp_cuabi_ops()->context_live(ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	pthread_mutex_lock(&write_lock);
	t = table_for_put();
	if (t) {
		s = slot_find(t, ctx, key, &free_slot);
		if (!s) {
			s = free_slot;
			assert(s);
			t->used += !s->context;
		}
		slot_write(s, ctx, key, value, destroy);
	}
	pthread_mutex_unlock(&write_lock);
	return t ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_cls_get(void **value, CUcontext ctx, void *key)
{
	CUresult rc;

	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	rc = context_resolve(&ctx);
	if (rc)
		return rc;
	if (MP_LIKELY(entry_read(ctx, key, value)))
		return CUDA_SUCCESS;
	return mp_cuabi_ops()->context_live(ctx) ? CUDA_ERROR_INVALID_HANDLE
						 : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult mp_cls_delete(CUcontext ctx, void *key)
{
	struct slot *s = NULL, *free_slot;
	CUresult rc = context_resolve(&ctx);
	struct table *t;

	if (rc)
		return rc;
	pthread_mutex_lock(&write_lock);
	t = atomic_load_explicit(&current, memory_order_relaxed);
	if (t)
		s = slot_find(t, ctx, key, &free_slot);
	if (s)
		slot_write(s, GONE, NULL, NULL, NULL);
	pthread_mutex_unlock(&write_lock);
	return s ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

void mp_cls_context_gone(CUcontext ctx)
{
	/* One at a time: a destructor may itself put, delete or get. */
	for (;;) {
		mp_cls_destroy destroy = NULL;
		void *key = NULL, *value = NULL;
		bool found = false;
		struct table *t;
		size_t i;

		pthread_mutex_lock(&write_lock);
		t = atomic_load_explicit(&current, memory_order_relaxed);
		for (i = 0; t && i <= t->mask && !found; i++) {
			struct slot *s = &t->slots[i];

			if (!ctx || s->context != ctx)
				continue;
			found = true;
			key = s->key;
			value = s->value;
			destroy = s->destroy;
			slot_write(s, GONE, NULL, NULL, NULL);
		}
		pthread_mutex_unlock(&write_lock);
		if (!found)
			return;
		if (destroy)
			destroy(ctx, key, value);
	}
}
