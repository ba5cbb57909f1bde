/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory: the client chooses the addresses.
 *
 * The window is cut into granules of 2 MiB.  A large block is a run of granules,
 * a small one a slot of a slab, which is one granule of equal slots.  A table
 * with an entry per granule says what lies there, so that any pointer is
 * classed without a search.
 *
 * MAP records back granules with memory inside the credit that the server has
 * granted; only more credit costs a round trip.  Freed memory stays mapped and is
 * used again, after a rest: a block that queued work may still touch (natively
 * cuMemFree would wait for it) comes back when all streams have passed the point
 * at which it was freed.  Order between records and MAP is kept by reserving the
 * MAP under `memory`.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define GRANULE	   ((uint64_t)2 << 20)
#define SMALL_MOST ((uint64_t)512 << 10)
#define CLASSES	   22 /* 512 B, 768 B, 1 KiB ... 512 KiB */
#define CREDIT_STEP ((uint64_t)256 << 20)
#define REST_MOST  ((uint64_t)64 << 20) /* resting bytes at which streams are asked how far they are */
#define BUCKETS	   64

enum block_state { BLOCK_NONE, BLOCK_USED, BLOCK_RESTING, BLOCK_IDLE, BLOCK_SLAB, BLOCK_VMM, BLOCK_VA };

struct block {
	enum block_state state;
	uint64_t base, size; /* whole granules */
	uint64_t user;	     /* what was asked for */
	uint64_t id;
	int device;
	void *pool; /* of a stream-ordered allocation */
	struct mp_ctx *ctx;
	struct block *next, **prev; /* in the list of its state */
	/* A slab. */
	uint32_t slot_size, nslots, nfree, hint;
	uint32_t *slot_user; /* asked for; 0: free; bit 31: resting */
	uint64_t first_id;
};

struct rest {
	struct rest *next;
	uint64_t at; /* ticket: work with smaller ones may still touch it */
	uint64_t addr, bytes;
	struct block *block; /* of the slab, or the block itself */
	struct mp_stream *stream;
	uint32_t stream_generation;
};

struct arena {
	uint64_t credit;  /* granted and not mapped */
	uint64_t mapped;  /* bytes of granules */
	uint64_t in_use;  /* of those, in blocks and slabs that are not idle */
	struct block *idle[BUCKETS];
	struct block *blocks; /* used and slabs */
};

static pthread_mutex_t memory = PTHREAD_MUTEX_INITIALIZER;
static struct block **granule MP_GUARDED_BY(memory);
static uint64_t ngranules, cursor MP_GUARDED_BY(memory);
static struct arena arena[16] MP_GUARDED_BY(memory);
static struct rest *rest_first, **rest_last = &rest_first MP_GUARDED_BY(memory);
static uint64_t rest_bytes, ids MP_GUARDED_BY(memory);
char mp_memory_managed, mp_memory_alias, mp_memory_graph;

int mp_memory_init(const uint64_t *credit)
{
	int i, k;

	ngranules = mp_shim.window_size / GRANULE;
	ngranules -= ngranules / 8; /* the last eighth is for pinned memory: host.c */
	granule = calloc(ngranules, sizeof(*granule));
	if (!granule)
		return -1;
	for (i = 0; i < mp_shim.ndevices; i++)
		for (k = 0; k < (int)MP_ARRAY_LEN(mp_shim.device); k++)
			if (mp_shim.device[i].wire == k)
				arena[i].credit = credit[k];
	return 0;
}

/* ---- Addresses ---- */

static uint64_t granule_of(uint64_t p)
{
	return (p - mp_shim.window_base) / GRANULE;
}

/* n free granules in a row at a multiple of `align` granules; UINT64_MAX: none. */
static uint64_t va_find(uint64_t n, uint64_t align, uint64_t from)
{
	uint64_t round, i, k;

	for (round = 0; round < 2; round++, from = 0)
		for (i = mp_align_up(from, align); i + n <= ngranules; i = mp_align_up(i + k + 1, align)) {
			for (k = 0; k < n && !granule[i + k]; k++)
				;
			if (k == n)
				return i;
		}
	return UINT64_MAX;
}

static void va_set(uint64_t base, uint64_t size, struct block *b)
{
	uint64_t i = granule_of(base), n = size / GRANULE;

	for (; n; n--, i++)
		granule[i] = b;
}

static void list_add(struct block **list, struct block *b)
{
	b->next = *list;
	b->prev = list;
	if (b->next)
		b->next->prev = &b->next;
	*list = b;
}

static void list_remove(struct block *b)
{
	if (!b->prev)
		return;
	*b->prev = b->next;
	if (b->next)
		b->next->prev = b->prev;
	b->next = NULL;
	b->prev = NULL;
}

/* ---- Granules from and to the server; `memory` is held ---- */

static CUresult map_send(struct mp_thread *t, struct block *b)
{
	struct mp_msg_map m = {.address = b->base, .size = b->size,
			       .device = mp_shim.device[b->device].wire};
	struct mp_out o;

	return MP_SEND(&o, t, MP_REC_map, map, &m, 0);
}

static struct block **idle_list(struct arena *a, uint64_t size)
{
	uint64_t n = size / GRANULE;

	return &a->idle[n < BUCKETS ? n : 0];
}

static void unmap_send(struct mp_thread *t, struct block *b, bool wait)
{
	struct mp_msg_unmap m = {.address = b->base, .size = b->size,
				 .device = mp_shim.device[b->device].wire};
	struct mp_answer a;
	struct mp_out o;

	if (!MP_PUT(&o, t, MP_REC_unmap, unmap, &m, 0)) { /* else all is lost */
		if (wait) {
			(void)mp_out_ask(&o, &a);
			free(a.own_data);
		} else {
			(void)mp_out_end(&o);
		}
	}
	arena[b->device].mapped -= b->size;
	va_set(b->base, b->size, NULL);
	list_remove(b);
	free(b->slot_user);
	free(b);
}

/*
 * Idle granules of a device go back. true: there were some.  With `wait` they are back
 * when it returns: that the allocator is closed meanwhile harms nobody but allocations.
 */
static bool idle_return(struct mp_thread *t, int device, bool wait)
{
	struct arena *a = &arena[device];
	bool any = false;
	unsigned i;

	for (i = 0; i < BUCKETS; i++)
		while (a->idle[i]) {
			bool last = wait && !a->idle[i]->next;
			unsigned k;

			for (k = i + 1; k < BUCKETS && last; k++)
				last = !a->idle[k];
			unmap_send(t, a->idle[i], last);
			any = true;
		}
	return any;
}

static void to_idle(struct block *b)
{
	struct arena *a = &arena[b->device];

	list_remove(b);
	a->in_use -= b->size;
	b->state = BLOCK_IDLE;
	b->user = 0;
	b->ctx = NULL;
	b->pool = NULL;
	free(b->slot_user);
	b->slot_user = NULL;
	list_add(idle_list(a, b->size), b);
}

/* ---- Rest ---- */

static void slot_free(struct block *b, uint32_t i)
{
	assert(b->state == BLOCK_SLAB && b->slot_user[i]);
	b->slot_user[i] = 0;
	b->nfree++;
	if (i < b->hint)
		b->hint = i;
	if (b->nfree == b->nslots)
		to_idle(b);
}

static void rest_end(struct rest *r)
{
	rest_bytes -= r->bytes;
	if (r->block->state == BLOCK_SLAB)
		slot_free(r->block, (uint32_t)((r->addr - r->block->base) / r->block->slot_size));
	else
		to_idle(r->block);
	free(r);
}

/* Take back what has rested long enough. */
static void rest_check(void)
{
	struct rest *r;

	while ((r = rest_first) && mp_work_over(r->at)) {
		if (!(rest_first = r->next))
			rest_last = &rest_first;
		rest_end(r);
	}
}

/* The newest rest of the same stream and size, which that stream may use at once. */
static struct rest *rest_steal(struct mp_stream *s, int device, uint64_t bytes, void *pool)
{
	struct rest **p, **best = NULL, *r;
	unsigned n = 0;

	for (p = &rest_first; *p && n < 256; p = &(*p)->next, n++)
		if ((*p)->stream == s && (*p)->stream_generation == s->head.generation &&
		    (*p)->bytes == bytes && (*p)->block->device == device &&
		    (*p)->block->pool == pool)
			best = p;
	if (!best)
		return NULL;
	r = *best;
	*best = r->next;
	if (!r->next)
		rest_last = best;
	rest_bytes -= r->bytes;
	return r;
}

/* Ask every stream that was used how far it is, without waiting. */
void mp_ask_progress(struct mp_thread *t)
{
	struct mp_stream *busy[64], *s;
	struct mp_ctx *c;
	unsigned n = 0, i;
	uint64_t mark;

	pthread_mutex_lock(&mp_objects);
	for (c = mp_shim.contexts; c; c = c->next)
		for (s = c->live ? c->legacy : NULL; s; s = s == c->legacy ? c->streams : s->next)
			if (n < MP_ARRAY_LEN(busy) && !atomic_load(&s->capture) &&
			    !mp_stream_over(s, mp_stream_touched(s)))
				busy[n++] = s;
	pthread_mutex_unlock(&mp_objects);
	for (i = 0; i < n; i++)
		if (mp_object(busy[i], MP_KIND_stream))
			(void)mp_stream_mark(t, busy[i], &mark);
}

static bool rest_is_over(void *arg)
{
	return mp_work_over(*(uint64_t *)arg);
}

/* ---- Credit ---- */

static CUresult credit_ask(struct mp_thread *t, int device, uint64_t bytes, uint64_t *granted)
{
	struct mp_msg_credit m = {.device = mp_shim.device[device].wire, .bytes = bytes};
	struct mp_rep_credit reply;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = MP_PUT(&o, t, MP_REC_credit, credit, &m, 0);

	*granted = 0;
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && !mp_get_rep_credit(a.own_data, a.size, &reply))
		*granted = reply.granted;
	free(a.own_data);
	return r == CUDA_ERROR_OUT_OF_MEMORY ? CUDA_SUCCESS : r;
}

/*
 * The receiver must not wait for `memory`, which is held while records are reserved; it
 * is asked again soon.  What the ring still holds of MAPs is not in this credit any more.
 */
void mp_memory_recall(void *arg, uint64_t wire)
{
	struct mp_msg_credit m = {.device = (int32_t)wire};
	uint8_t buf[64] __attribute__((aligned(8)));
	struct mp_record r = {.length = (uint32_t)(sizeof(r) + mp_size_credit(&m)), .call = MP_REC_credit};
	uint64_t back = 0;
	int i;

	assert(r.length <= sizeof(buf));
	if (pthread_mutex_trylock(&memory))
		return;
	for (i = 0; i < mp_shim.ndevices; i++)
		if ((uint64_t)mp_shim.device[i].wire == wire) {
			back = arena[i].credit;
			arena[i].credit = 0;
		}
	pthread_mutex_unlock(&memory);
	if (!back)
		return;
	m.bytes = 0 - back;
	memcpy(buf, &r, sizeof(r));
	mp_put_credit(buf + sizeof(r), &m);
	(void)mp_rpc_control(mp_shim.rpc, (const struct mp_record *)buf);
}

/*
 * Have at least `bytes` of credit.  Called and left with `memory` held, which is let go
 * while waiting: the caller looks again at everything.
 */
static CUresult credit_have(struct mp_thread *t, int device, uint64_t bytes)
{
	struct arena *a = &arena[device];
	unsigned attempt;

	for (attempt = 0; a->credit < bytes; attempt++) {
		uint64_t need = bytes - a->credit, ask = need, granted, at;
		CUresult r;

		if (attempt == 0 && ask < CREDIT_STEP && CREDIT_STEP < mp_shim.device[device].memory / 8)
			ask = CREDIT_STEP;
		if (attempt == 2 && !idle_return(t, device, true))
			attempt = 3;
		if (attempt == 3) {
			/* Natively a free has waited by now: so do we, then everything idle goes back. */
			if (!rest_first)
				return CUDA_ERROR_OUT_OF_MEMORY;
			mp_ask_progress(t);
			for (struct rest *r2 = rest_first; r2; r2 = r2->next)
				at = r2->at;
			pthread_mutex_unlock(&memory);
			mp_rpc_flush(mp_shim.rpc,
				     atomic_load(&mp_shim.rpc->head) + MP_TICKET_FIRST - 8);
			if (mp_rpc_wait(mp_shim.rpc, rest_is_over, &at)) {
				pthread_mutex_lock(&memory);
				return mp_state_error();
			}
			pthread_mutex_lock(&memory);
			rest_check();
			idle_return(t, device, true);
		}
		if (attempt > 3)
			return CUDA_ERROR_OUT_OF_MEMORY;
		pthread_mutex_unlock(&memory);
		r = credit_ask(t, device, ask, &granted);
		pthread_mutex_lock(&memory);
		if (r)
			return r;
		a->credit += granted;
	}
	return CUDA_SUCCESS;
}

/* Charge memory that the driver will take for an object of its own, such as an array. */
CUresult mp_memory_charge(struct mp_thread *t, int device, uint64_t bytes)
{
	CUresult r;

	pthread_mutex_lock(&memory);
	r = credit_have(t, device, bytes);
	if (!r)
		arena[device].credit -= bytes;
	pthread_mutex_unlock(&memory);
	return r;
}

/* ... which did not come to pass. */
void mp_memory_uncharge(int device, uint64_t bytes)
{
	pthread_mutex_lock(&memory);
	arena[device].credit += bytes;
	pthread_mutex_unlock(&memory);
}

/* A mapped run of granules in state USED, idle or new. */
static CUresult block_get(struct mp_thread *t, int device, uint64_t size, struct block **ret)
{
	struct arena *a = &arena[device];
	struct block *b;
	uint64_t i;
	CUresult r;

	for (;;) {
		for (b = *idle_list(a, size); b && b->size != size; b = b->next)
			;
		if (b) {
			list_remove(b);
			break;
		}
		if (a->credit < size) {
			r = credit_have(t, device, size);
			if (r)
				return r;
			continue; /* the lock was let go: an idle block may be there now */
		}
		i = va_find(size / GRANULE, 1, cursor);
		b = i == UINT64_MAX ? NULL : calloc(1, sizeof(*b));
		if (!b)
			return CUDA_ERROR_OUT_OF_MEMORY;
		cursor = i + size / GRANULE;
		b->base = mp_shim.window_base + i * GRANULE;
		b->size = size;
		b->device = device;
		r = map_send(t, b);
		if (r) {
			free(b);
			return r;
		}
		a->credit -= size;
		a->mapped += size;
		va_set(b->base, b->size, b);
		break;
	}
	b->state = BLOCK_USED;
	a->in_use += b->size;
	*ret = b;
	return CUDA_SUCCESS;
}

/* ---- Small blocks ---- */

static uint32_t class_size(uint64_t n)
{
	uint32_t size = 512;

	while (size < n) {
		if (size + size / 2 >= n && size >= 1024)
			return size + size / 2;
		size *= 2;
	}
	return size;
}

static CUresult slab_alloc(struct mp_thread *t, struct mp_ctx *c, uint64_t n, void *pool,
			   uint64_t *ret)
{
	uint32_t size = class_size(n), i;
	struct arena *a = &arena[c->device];
	struct block *b;
	CUresult r;

	for (b = a->blocks; b; b = b->next)
		if (b->state == BLOCK_SLAB && b->slot_size == size && b->nfree && b->ctx == c &&
		    b->pool == pool)
			break;
	if (!b) {
		r = block_get(t, c->device, GRANULE, &b);
		if (r)
			return r;
		b->state = BLOCK_SLAB;
		b->slot_size = size;
		b->nslots = b->nfree = (uint32_t)(GRANULE / size);
		b->hint = 0;
		b->ctx = c;
		b->pool = pool;
		b->slot_user = calloc(b->nslots, sizeof(*b->slot_user));
		b->first_id = ids + 1;
		ids += b->nslots;
		list_add(&a->blocks, b);
		if (!b->slot_user) {
			to_idle(b);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	for (i = b->hint; b->slot_user[i]; i++)
		assert(i + 1 < b->nslots);
	b->slot_user[i] = (uint32_t)n;
	b->hint = i + 1;
	b->nfree--;
	/* Full slabs go to the end of sight, so that the search above stays short. */
	if (!b->nfree) {
		list_remove(b);
		if (a->blocks) {
			struct block *last = a->blocks;
			unsigned k;

			for (k = 0; last->next && k < 64; k++)
				last = last->next;
			b->next = last->next;
			if (b->next)
				b->next->prev = &b->next;
			last->next = b;
			b->prev = &last->next;
		} else {
			list_add(&a->blocks, b);
		}
	}
	*ret = b->base + (uint64_t)i * size;
	return CUDA_SUCCESS;
}

CUresult mp_memory_alloc(struct mp_thread *t, struct mp_ctx *c, size_t n, struct mp_stream *s,
			 void *pool, uint64_t *ret)
{
	bool small = n <= SMALL_MOST;
	uint64_t bytes;
	struct block *b;
	struct rest *rest;
	CUresult r;

	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	if (n > mp_shim.device[c->device].memory)
		return CUDA_ERROR_OUT_OF_MEMORY;
	bytes = small ? class_size(n) : mp_align_up(n, GRANULE);
	pthread_mutex_lock(&memory);
	rest_check();
	if (rest_bytes > REST_MOST)
		mp_ask_progress(t);
	if (s && (rest = rest_steal(s, c->device, bytes, pool))) {
		b = rest->block;
		*ret = rest->addr;
		if (small)
			b->slot_user[(rest->addr - b->base) / b->slot_size] = (uint32_t)n;
		else
			b->user = n, b->state = BLOCK_USED, b->ctx = c;
		free(rest);
		r = CUDA_SUCCESS;
	} else if (small) {
		r = slab_alloc(t, c, n, pool, ret);
	} else {
		r = block_get(t, c->device, bytes, &b);
		if (!r) {
			b->user = n;
			b->ctx = c;
			b->pool = pool;
			b->id = ++ids;
			list_add(&arena[c->device].blocks, b);
			*ret = b->base;
		}
	}
	pthread_mutex_unlock(&memory);
	return r;
}

CUresult mp_memory_free(struct mp_thread *t, uint64_t p, struct mp_stream *s)
{
	uint64_t at = atomic_load(&mp_shim.rpc->head) + MP_TICKET_FIRST;
	struct block *b = NULL;
	struct rest *r;
	uint32_t slot = 0;

	if (p < mp_shim.window_base || granule_of(p) >= ngranules)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&memory);
	b = granule[granule_of(p)];
	if (b && b->state == BLOCK_SLAB) {
		slot = (uint32_t)((p - b->base) / b->slot_size);
		if ((p - b->base) % b->slot_size || slot >= b->nslots || !b->slot_user[slot] ||
		    b->slot_user[slot] >> 31)
			b = NULL;
	} else if (!b || b->state != BLOCK_USED || b->base != p) {
		b = NULL;
	}
	if (!b) {
		pthread_mutex_unlock(&memory);
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (!rest_first && mp_work_over(at)) {
		if (b->state == BLOCK_SLAB)
			slot_free(b, slot);
		else
			to_idle(b);
		pthread_mutex_unlock(&memory);
		return CUDA_SUCCESS;
	}
	r = calloc(1, sizeof(*r));
	if (!r) { /* then it stays in use, which is safe */
		pthread_mutex_unlock(&memory);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	r->at = at;
	r->addr = p;
	r->block = b;
	r->bytes = b->state == BLOCK_SLAB ? b->slot_size : b->size;
	if (s) {
		r->stream = s;
		r->stream_generation = s->head.generation;
	}
	if (b->state == BLOCK_SLAB)
		b->slot_user[slot] |= 1u << 31;
	else
		b->state = BLOCK_RESTING;
	*rest_last = r;
	rest_last = &r->next;
	rest_bytes += r->bytes;
	pthread_mutex_unlock(&memory);
	return CUDA_SUCCESS;
}

/* A slot that the device shares with the program: what was asked for is in the mirror. */
static bool mirrored_range(uint64_t p, struct mp_range *ret)
{
	bool managed = ret->pool == &mp_memory_managed;
	struct mp_mirror m;

	ret->pool = NULL;
	if (!mp_mirror_find(p, &m))
		return false;
	ret->kind = managed ? MP_MANAGED : MP_PINNED;
	ret->mirrored = true;
	ret->registered = !managed;
	ret->base = m.device + (m.base - m.host);
	ret->size = m.size;
	return p - ret->base < ret->size;
}

/* A managed variable, which lies where the server's driver put it. */
static bool variable_range(uint64_t p, struct mp_range *ret)
{
	struct mp_mirror m;

	if (!mp_mirror_find(p, &m) || m.kind != MP_MIRROR_VARIABLE)
		return false;
	*ret = (struct mp_range){.kind = MP_MANAGED, .mirrored = true, .base = m.base, .size = m.size,
				 .ctx = m.ctx, .device = m.ctx ? m.ctx->device : 0, .id = m.id};
	return p - ret->base < ret->size;
}

bool mp_memory_find(uint64_t p, struct mp_range *ret)
{
	struct block *b;
	bool found = false;

	if (p < mp_shim.window_base || p >= mp_shim.window_base + mp_shim.window_size ||
	    granule_of(p) >= ngranules)
		return mp_host_find(p, ret) || variable_range(p, ret);
	pthread_mutex_lock(&memory);
	b = granule[granule_of(p)];
	memset(ret, 0, sizeof(*ret));
	if (b && b->state == BLOCK_SLAB) {
		uint32_t slot = (uint32_t)((p - b->base) / b->slot_size);

		if (slot < b->nslots && b->slot_user[slot] && !(b->slot_user[slot] >> 31)) {
			ret->base = b->base + (uint64_t)slot * b->slot_size;
			ret->size = b->slot_user[slot];
			ret->id = b->first_id + slot;
			found = p - ret->base < ret->size;
		}
	} else if (b && (b->state == BLOCK_USED || b->state == BLOCK_VMM)) {
		ret->base = b->base;
		ret->size = b->user;
		ret->id = b->id;
		ret->vmm = b->state == BLOCK_VMM;
		found = p - ret->base < ret->size;
	}
	if (found) {
		ret->kind = MP_DEVICE;
		ret->device = b->device;
		ret->ctx = b->ctx;
		ret->pool = b->pool;
	}
	pthread_mutex_unlock(&memory);
	if (found && (ret->pool == &mp_memory_managed || ret->pool == &mp_memory_alias))
		return mirrored_range(p, ret);
	if (ret->pool == &mp_memory_graph)
		ret->pool = NULL;
	return found;
}

/* The context ends: its blocks are free, and nothing of it runs any more. */
void mp_memory_ctx_gone(struct mp_thread *t, struct mp_ctx *c)
{
	struct block *b, *next;
	struct rest *r;

	pthread_mutex_lock(&memory);
	while ((r = rest_first)) {
		if (!(rest_first = r->next))
			rest_last = &rest_first;
		rest_end(r);
	}
	for (b = arena[c->device].blocks; b; b = next) {
		next = b->next;
		if (b->ctx == c && (b->state == BLOCK_USED || b->state == BLOCK_SLAB))
			to_idle(b);
	}
	/* Given back before the context's end, so that the server unmaps under a live one. */
	idle_return(t, c->device, false);
	pthread_mutex_unlock(&memory);
}

CUresult mp_memory_info(struct mp_thread *t, int device, uint64_t *ret_free, uint64_t *ret_total)
{
	struct mp_msg_mem_info m = {.device = mp_shim.device[device].wire};
	struct mp_rep_mem_info reply;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = MP_PUT(&o, t, MP_REC_mem_info, mem_info, &m, 0);

	if (r)
		return r;
	o.call = MP_CALL_cuMemGetInfo_v2; /* counted as what the program called */
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_mem_info(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	free(a.own_data);
	if (r)
		return r;
	pthread_mutex_lock(&memory);
	/* Credit is in the server's number; what is mapped and not in use is free to this program. */
	*ret_free = reply.free + arena[device].mapped - arena[device].in_use;
	pthread_mutex_unlock(&memory);
	*ret_total = reply.total;
	if (*ret_free > *ret_total)
		*ret_free = *ret_total;
	return CUDA_SUCCESS;
}

/* ---- Device memory behind pinned host memory ---- */

CUresult mp_memory_back(struct mp_thread *t, int device, uint64_t base, uint64_t size)
{
	struct block b = {.base = base, .size = size, .device = device};
	CUresult r;

	pthread_mutex_lock(&memory);
	r = credit_have(t, device, size);
	if (!r)
		r = map_send(t, &b);
	if (!r) {
		arena[device].credit -= size;
		arena[device].mapped += size;
		arena[device].in_use += size;
	}
	pthread_mutex_unlock(&memory);
	return r;
}

void mp_memory_unback(struct mp_thread *t, int device, uint64_t base, uint64_t size)
{
	struct mp_msg_unmap m = {.address = base, .size = size,
				 .device = mp_shim.device[device].wire};
	struct mp_out o;

	pthread_mutex_lock(&memory);
	(void)MP_SEND(&o, t, MP_REC_unmap, unmap, &m, 0);
	arena[device].mapped -= size;
	arena[device].in_use -= size;
	pthread_mutex_unlock(&memory);
}

/* ---- Address ranges for cuMemAddressReserve ---- */

uint64_t mp_memory_reserve_va(uint64_t size, uint64_t align, uint64_t hint)
{
	struct block *b = calloc(1, sizeof(*b));
	uint64_t i = UINT64_MAX, n = size / GRANULE, k;

	if (!b)
		return 0;
	assert(!(size % GRANULE));
	pthread_mutex_lock(&memory);
	if (hint && !(hint % GRANULE) && hint >= mp_shim.window_base &&
	    granule_of(hint) + n <= ngranules) {
		i = granule_of(hint);
		for (k = 0; k < n && !granule[i + k]; k++)
			;
		if (k < n)
			i = UINT64_MAX;
	}
	if (i == UINT64_MAX)
		i = va_find(n, align > GRANULE ? align / GRANULE : 1, cursor);
	if (i != UINT64_MAX) {
		cursor = i + n;
		b->state = BLOCK_VA;
		b->base = mp_shim.window_base + i * GRANULE;
		b->size = size;
		va_set(b->base, size, b);
	}
	pthread_mutex_unlock(&memory);
	if (i == UINT64_MAX) {
		free(b);
		return 0;
	}
	return b->base;
}

CUresult mp_memory_release_va(uint64_t base, uint64_t size)
{
	struct block *b;
	CUresult r = CUDA_ERROR_INVALID_VALUE;

	if (base < mp_shim.window_base || granule_of(base) >= ngranules)
		return r;
	pthread_mutex_lock(&memory);
	b = granule[granule_of(base)];
	if (b && b->state == BLOCK_VA && b->base == base && b->size == size) {
		uint64_t i;

		r = CUDA_SUCCESS;
		for (i = 0; i < size / GRANULE; i++) /* something is still mapped in it */
			if (granule[granule_of(base) + i] != b)
				r = CUDA_ERROR_INVALID_VALUE;
		if (!r) {
			va_set(base, size, NULL);
			free(b);
		}
	}
	pthread_mutex_unlock(&memory);
	return r;
}

/* The VA block of a mapped range is found again by the mapping's `next`. */
void mp_memory_vmm(uint64_t base, uint64_t size, int device, struct mp_ctx *c, bool on)
{
	struct block *b, *m;

	pthread_mutex_lock(&memory);
	b = granule[granule_of(base)];
	if (on && b && b->state == BLOCK_VA && (m = calloc(1, sizeof(*m)))) {
		m->state = BLOCK_VMM;
		m->base = base;
		m->size = m->user = size;
		m->device = device;
		m->ctx = c;
		m->id = ++ids;
		m->next = b;
		va_set(base, size, m);
	} else if (!on && b && b->state == BLOCK_VMM) {
		va_set(b->base, b->size, b->next);
		free(b);
	}
	pthread_mutex_unlock(&memory);
}

/* ---- Calls ---- */

CUresult mp_shim_cuMemAlloc_v2(CUdeviceptr *dptr, size_t n)
{
	struct mp_thread *t;
	uint64_t p;
	CUresult r = mp_enter(MP_CALL_cuMemAlloc_v2, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!dptr)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_memory_alloc(t, t->ctx, n, NULL, NULL, &p);
	if (!r)
		*dptr = p;
	return r;
}

CUresult mp_shim_cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pitch, size_t width, size_t height,
				    unsigned int element)
{
	struct mp_thread *t;
	size_t row, n;
	uint64_t p;
	CUresult r = mp_enter(MP_CALL_cuMemAllocPitch_v2, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!dptr || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_add(width, 511, &row) || !mp_mul(row & ~(size_t)511, height, &n))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_memory_alloc(t, t->ctx, n, NULL, NULL, &p);
	if (r)
		return r;
	*dptr = p;
	*pitch = row & ~(size_t)511;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemFree_v2(CUdeviceptr p)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemFree_v2, &t);

	if (!r)
		r = mp_safe(t);
	if (r || !p)
		return r;
	if (atomic_load(&mp_shim.mirrors) && mp_memory_find(p, &range) && range.mirrored) {
		if (range.kind != MP_MANAGED || range.base != p || p < mp_shim.window_base ||
		    granule_of(p) >= ngranules)
			return CUDA_ERROR_INVALID_VALUE;
		mp_mirror_end(t, p, false);
	}
	return mp_block_free_now(p) ? CUDA_SUCCESS : mp_memory_free(t, p, NULL);
}

CUresult mp_shim_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemGetAddressRange_v2, &t);

	if (r)
		return r;
	if (!mp_memory_find(p, &range))
		return p ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
	if (base)
		*base = range.base;
	if (size)
		*size = range.size;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	struct mp_thread *t;
	uint64_t f, n;
	CUresult r = mp_enter(MP_CALL_cuMemGetInfo_v2, &t);

	if (r)
		return r;
	if (!free_bytes || !total)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_memory_info(t, t->ctx->device, &f, &n);
	if (r)
		return r;
	*free_bytes = f;
	*total = n;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemGetInfo(unsigned int *free_bytes, unsigned int *total)
{
	size_t f, n;
	CUresult r = free_bytes && total ? mp_shim_cuMemGetInfo_v2(&f, &n) : CUDA_ERROR_INVALID_VALUE;

	if (!r) {
		*free_bytes = f > UINT32_MAX ? UINT32_MAX : (unsigned)f;
		*total = n > UINT32_MAX ? UINT32_MAX : (unsigned)n;
	}
	return r;
}
