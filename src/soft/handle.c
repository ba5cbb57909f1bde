/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: objects whose memory outlives them, so that a stale handle is told
 * from a live one instead of being followed.
 *
 * Each kind has a slab: a reserved address range of slots of one size.  A
 * handle is live when it lies in the slab, at the start of a slot, and the
 * slot's magic says so; no lookup, no lock.  Freed slots are used again in the
 * order they were freed, and only when many are free, so that a dead handle
 * stays dead for a while.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLAB_BYTES ((size_t)512 << 20)
#define REST	   64 /* slots that stay free before the oldest is used again */
#define MAGIC(kind) (0x4d500000u | ((uint32_t)(kind) + 1))

static struct slab {
	pthread_mutex_t lock;
	_Atomic uintptr_t base;
	size_t stride;
	_Atomic size_t used; /* slots ever given out */
	uint32_t *ring;	     /* freed slots, oldest first */
	size_t head, count, cap;
} slabs[MP_HANDLE_KINDS] = {[0 ... MP_HANDLE_KINDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static bool slab_open(struct slab *s, size_t size)
{
	void *p = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	s->stride = mp_align_up(size, 64);
	s->base = (uintptr_t)p;
	return true;
}

static bool ring_grow(struct slab *s)
{
	size_t i, cap = s->cap ? s->cap * 2 : 256;
	uint32_t *ring = malloc(cap * sizeof(*ring));

	if (!ring)
		return false;
	for (i = 0; i < s->count; i++)
		ring[i] = s->ring[(s->head + i) % s->cap];
	free(s->ring);
	s->ring = ring;
	s->cap = cap;
	s->head = 0;
	return true;
}

void *mp_handle_new(enum mp_handle_kind kind, size_t size)
{
	struct slab *s = &slabs[kind];
	struct mp_object *o = NULL;
	size_t slot;

	pthread_mutex_lock(&s->lock);
	if (!s->base && !slab_open(s, size))
		goto out;
	assert(size <= s->stride);
	if (s->count > REST || (s->count && (s->used + 1) * s->stride > SLAB_BYTES)) {
		slot = s->ring[s->head];
		s->head = (s->head + 1) % s->cap;
		s->count--;
	} else if ((s->used + 1) * s->stride <= SLAB_BYTES) {
		slot = s->used++;
	} else {
		goto out;
	}
	o = (struct mp_object *)(s->base + slot * s->stride);
	memset(o, 0, size);
	o->slot = (uint32_t)slot;
	__atomic_store_n(&o->magic, MAGIC(kind), __ATOMIC_RELEASE);
out:
	pthread_mutex_unlock(&s->lock);
	return o;
}

void mp_handle_free(enum mp_handle_kind kind, void *own_object)
{
	struct slab *s = &slabs[kind];
	struct mp_object *o = own_object;

	if (!o)
		return;
	pthread_mutex_lock(&s->lock);
	assert(o->magic == MAGIC(kind));
	__atomic_store_n(&o->magic, 0, __ATOMIC_RELEASE);
	if (s->count < s->cap || ring_grow(s)) {
		s->ring[(s->head + s->count) % s->cap] = o->slot;
		s->count++;
	}
	pthread_mutex_unlock(&s->lock);
}

bool mp_handle_live(enum mp_handle_kind kind, const void *p)
{
	struct slab *s = &slabs[kind];
	uintptr_t base = s->base, at = (uintptr_t)p;

	if (!base || at - base >= SLAB_BYTES || (at - base) % s->stride)
		return false;
	if ((at - base) / s->stride >= s->used)
		return false;
	return __atomic_load_n(&((const struct mp_object *)p)->magic, __ATOMIC_ACQUIRE) ==
	       MAGIC(kind);
}
