/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging memory: pinned, pooled, and touched before it is first used.
 *
 * Chunks of 1 MiB carry bulk data, one pool per direction, so that neither can
 * starve the other.  When all are in use, uploads that have already arrived go
 * to plain memory instead: a stream that waits for a kernel must not keep the
 * bytes of other streams from coming in.  (Pinning more at that moment may wait
 * for the device, so it is not done.)  Slabs carry the small copies whose bytes
 * travel inside records.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *pinned(struct mp_worker *w, size_t n)
{
	void *p = NULL;

	if (w->drv.cuMemHostAlloc && w->drv.cuMemHostAlloc(&p, n, CU_MEMHOSTALLOC_PORTABLE))
		p = NULL;
	if (p)
		memset(p, 0, n);
	return p;
}

void mp_stage_init(struct stage *s)
{
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
}

/* One thread at a time: the executor for the first chunks, then a helper. */
static int stage_fill(struct mp_worker *w, struct stage *s, unsigned count)
{
	while (s->made < count) {
		struct chunk *c = calloc(1, sizeof(*c));

		if (!c || !(c->data = pinned(w, MP_STAGE_CHUNK))) {
			free(c);
			return s->made ? 0 : -1;
		}
		c->pinned = true;
		s->made++;
		mp_stage_give(s, c);
	}
	return 0;
}

static void fill_rest(void *arg)
{
	struct context *c = arg;
	struct mp_worker *w = c->w;

	if (!mp_context_current(w, c)) {
		(void)stage_fill(w, &w->up, MP_STAGE_CHUNKS);
		(void)stage_fill(w, &w->down, MP_STAGE_CHUNKS);
	}
}

/* The first context pins a little at once and the rest behind the program's back. */
CUresult mp_stage_start(struct mp_worker *w, struct context *c)
{
	if (w->up.made)
		return CUDA_SUCCESS;
	if (stage_fill(w, &w->up, 2) || stage_fill(w, &w->down, 2))
		return CUDA_ERROR_OUT_OF_MEMORY;
	(void)mp_help(w, fill_rest, c);
	return CUDA_SUCCESS;
}

struct chunk *mp_stage_take(struct mp_worker *w, struct stage *s, bool wait)
{
	struct chunk *c;

	pthread_mutex_lock(&s->lock);
	while (!(c = s->free) && wait && !atomic_load(&w->ended))
		pthread_cond_wait(&s->wake, &s->lock);
	if (c) {
		s->free = c->next;
		c->next = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return c;
}

struct chunk *mp_stage_take_until(struct mp_worker *w, struct stage *s, unsigned ns)
{
	struct timespec until;
	struct chunk *c;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ns;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&s->lock);
	while (!(c = s->free) && !atomic_load(&w->ended))
		if (pthread_cond_timedwait(&s->wake, &s->lock, &until))
			break;
	if (c) {
		s->free = c->next;
		c->next = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return c;
}

struct chunk *mp_chunk_spill(size_t n)
{
	struct chunk *c = calloc(1, sizeof(*c));

	if (c && !(c->data = malloc(n ? n : 1))) {
		free(c);
		c = NULL;
	}
	return c;
}

void mp_stage_give(struct stage *s, struct chunk *c)
{
	if (!c->pinned) {
		free(c->data);
		free(c);
		return;
	}
	pthread_mutex_lock(&s->lock);
	c->owner = NULL;
	c->next = s->free;
	s->free = c;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* ---- Slabs ---- */

void mp_slab_hold(struct slab *slab)
{
	atomic_fetch_add(&slab->pending, 1);
}

void mp_slab_drop(struct mp_worker *w, struct slab *slab)
{
	if (atomic_fetch_sub(&slab->pending, 1) != 1)
		return;
	pthread_mutex_lock(&w->slab_lock);
	slab->next = w->slabs_free;
	w->slabs_free = slab;
	pthread_mutex_unlock(&w->slab_lock);
}

static void slab_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	mp_slab_drop(w, wt->arg);
}

/* One reference is ours while we fill it, one for each stream that may still read from it. */

void mp_slab_leave(struct mp_worker *w, struct stream *s)
{
	struct slab *slab = s->slab;

	s->slab = NULL;
	if (!slab || mp_stream_capturing(w, s))
		return;
	mp_slab_hold(slab);
	mp_wait_add(w, s->ctx, &s->q, s->handle, slab_passed, slab, 0, 0);
}

/* The full slab is free again when every stream that read from it has got here. */
static void slab_retire(struct mp_worker *w, struct slab *slab)
{
	struct context *c;
	struct stream *s;

	for (c = w->contexts; c; c = c->next) {
		if (mp_context_current(w, c))
			continue;
		for (s = &c->legacy; s; s = s == &c->legacy ? c->streams : s->next)
			if (s->slab == slab)
				mp_slab_leave(w, s);
	}
	mp_slab_drop(w, slab);
}

static struct slab *slab_new(struct mp_worker *w)
{
	struct slab *slab = calloc(1, sizeof(*slab));

	if (!slab || !(slab->data = pinned(w, MP_SLAB_BYTES))) {
		free(slab);
		return NULL;
	}
	return slab;
}

uint8_t *mp_slab_take(struct mp_worker *w, struct stream *s, size_t n)
{
	size_t need = mp_align_up(n ? n : 1, 64);
	uint8_t *p;

	assert(need <= MP_SLAB_BYTES);
	if (w->slab && w->slab->used + need > MP_SLAB_BYTES) {
		struct slab *full = w->slab;

		w->slab = NULL;
		slab_retire(w, full);
		(void)mp_context_current(w, s->ctx);
	}
	if (!w->slab) {
		pthread_mutex_lock(&w->slab_lock);
		w->slab = w->slabs_free;
		if (w->slab)
			w->slabs_free = w->slab->next;
		pthread_mutex_unlock(&w->slab_lock);
		if (!w->slab && !(w->slab = slab_new(w)))
			return NULL;
		w->slab->used = 0;
		atomic_store(&w->slab->pending, 1);
	}
	if (s->slab && s->slab != w->slab)
		mp_slab_leave(w, s);
	p = w->slab->data + w->slab->used;
	w->slab->used += need;
	s->slab = w->slab;
	return p;
}

/* ---- The end of a worker without threads ---- */

void mp_stage_fini(struct mp_worker *w, struct stage *s)
{
	struct chunk *c;

	while ((c = s->free)) {
		s->free = c->next;
		(void)w->drv.cuMemFreeHost(c->data);
		free(c);
	}
}

void mp_slab_fini(struct mp_worker *w)
{
	struct slab *slab;

	if (w->slab) {
		w->slab->next = w->slabs_free;
		w->slabs_free = w->slab;
		w->slab = NULL;
	}
	while ((slab = w->slabs_free)) {
		w->slabs_free = slab->next;
		(void)w->drv.cuMemFreeHost(slab->data);
		free(slab);
	}
}
