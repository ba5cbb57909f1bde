/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reserved range of slots: the handles that programs hold are their
 * addresses.  A freed slot has kind 0 and goes to the end of a queue, so that a
 * stale handle stays recognisable for long.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NO_SLOTS ((uintptr_t)1 << 63)

uintptr_t mp_slot_base = NO_SLOTS;
pthread_mutex_t mp_objects = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t slots = PTHREAD_MUTEX_INITIALIZER;
static uint32_t used MP_GUARDED_BY(slots); /* slots that were ever given out */
static struct mp_head *free_first MP_GUARDED_BY(slots), **free_last = &free_first;
static uint32_t nfree MP_GUARDED_BY(slots);

/* Ids of a kind: dense, the most recently freed one first. */
static struct ids {
	uint32_t next, nfree, ntable;
	uint32_t *free;
	struct mp_head **table;
} ids[MP_KINDS] MP_GUARDED_BY(slots);

/* Functions and kernels share their ids: a launch takes either. */
static struct ids *ids_of(enum mp_kind kind)
{
	return &ids[kind == MP_KIND_kernel ? MP_KIND_function : kind];
}

/* A free slot: the link lies behind its head. */
static struct mp_head **free_link(struct mp_head *h)
{
	return (struct mp_head **)(h + 1);
}

static_assert(sizeof(struct mp_ctx) <= 2 * MP_SLOT_SIZE, "a context has two slots");
static_assert(sizeof(struct mp_stream) <= MP_SLOT_SIZE, "a stream fits its slot");
static_assert(sizeof(struct mp_event) <= MP_SLOT_SIZE, "an event fits its slot");
static_assert(sizeof(struct mp_func) <= MP_SLOT_SIZE, "a function fits its slot");
static_assert(sizeof(struct mp_module) <= MP_SLOT_SIZE, "a module fits its slot");

int mp_slot_init(void)
{
	void *p;

	if (mp_slot_base != NO_SLOTS)
		return 0;
	p = mmap(NULL, (size_t)MP_SLOTS * MP_SLOT_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -1;
	mp_slot_base = (uintptr_t)p;
	return 0;
}

/* Both tables grow by doubling, together: every id that was given out can come back. */
static bool ids_room(struct ids *i, uint32_t id)
{
	uint32_t n = i->ntable ? i->ntable : 64, *list;
	struct mp_head **table;

	if (id < i->ntable)
		return true;
	while (n <= id)
		n *= 2;
	table = realloc(i->table, n * sizeof(*table));
	if (!table)
		return false;
	memset(table + i->ntable, 0, (n - i->ntable) * sizeof(*table));
	i->table = table;
	list = realloc(i->free, n * sizeof(*list));
	if (!list)
		return false;
	i->free = list;
	i->ntable = n;
	return true;
}

static struct mp_head *slot_take(unsigned n)
{
	struct mp_head *h;

	/* A few thousand rest before the first is used again. */
	if (n == 1 && nfree > 4096) {
		h = free_first;
		free_first = *free_link(h);
		if (!free_first)
			free_last = &free_first;
		nfree--;
		return h;
	}
	if (used + n > MP_SLOTS)
		return NULL;
	h = (struct mp_head *)(mp_slot_base + (size_t)used * MP_SLOT_SIZE);
	h->index = used;
	used += n;
	return h;
}

static void *slot_make(enum mp_kind kind, uint32_t id)
{
	struct ids *i = ids_of(kind);
	struct mp_head *h;
	uint32_t generation, index;

	if (!ids_room(i, id >> 31 ? 0 : id ? id : i->next + 1) ||
	    !(h = slot_take(kind == MP_KIND_context ? 2 : 1)))
		return NULL;
	generation = h->generation;
	index = h->index;
	memset(h, 0, kind == MP_KIND_context ? 2 * MP_SLOT_SIZE : MP_SLOT_SIZE);
	h->generation = generation;
	h->index = index;
	if (!id)
		id = i->nfree ? i->free[--i->nfree] : ++i->next;
	h->id = id;
	if (!(id >> 31))
		i->table[id] = h;
	atomic_store_explicit(&h->kind, kind, memory_order_release);
	return h;
}

void *mp_slot_new(enum mp_kind kind)
{
	void *p;

	pthread_mutex_lock(&slots);
	p = slot_make(kind, 0);
	pthread_mutex_unlock(&slots);
	return p;
}

void *mp_slot_new_id(enum mp_kind kind, uint32_t id)
{
	void *p;

	pthread_mutex_lock(&slots);
	p = slot_make(kind, id);
	pthread_mutex_unlock(&slots);
	return p;
}

static void slot_drop(void *object, bool id_too)
{
	struct mp_head *h = object;
	enum mp_kind kind = (enum mp_kind)atomic_load(&h->kind);
	struct ids *i = ids_of(kind);

	assert(kind);
	pthread_mutex_lock(&slots);
	atomic_store(&h->kind, 0);
	h->generation++;
	if (!(h->id >> 31))
		i->table[h->id] = NULL;
	if (!(h->id >> 31) && id_too) {
		assert(i->nfree < i->ntable);
		i->free[i->nfree++] = h->id;
	}
	if (kind != MP_KIND_context) {
		*free_link(h) = NULL;
		*free_last = h;
		free_last = free_link(h);
		nfree++;
	}
	pthread_mutex_unlock(&slots);
}

void mp_slot_free(void *object)
{
	slot_drop(object, true);
}

void mp_slot_waste(void *object)
{
	slot_drop(object, false);
}

void *mp_slot_by_id(enum mp_kind kind, uint32_t id)
{
	struct ids *i = ids_of(kind);
	struct mp_head *h;

	pthread_mutex_lock(&slots);
	h = id < i->ntable ? i->table[id] : NULL;
	pthread_mutex_unlock(&slots);
	return h;
}
