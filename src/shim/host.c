/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned host memory: allocations come from the window's last part, so that no
 * host address can equal a device address; registered memory stays where it is.
 *
 * With unified addresses a kernel may be given any pinned pointer.  Most pinned
 * memory is only copied from and to, and stays plain memory of this process.  It
 * becomes a mirror (mirror.h) when the program says that kernels use it (the flag
 * DEVICEMAP, cuMemHostGetDevicePointer), or when a kernel's parameters hold its
 * address.
 */
#include "shim/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct pinned {
	uint64_t base, size, mapped; /* mapped: whole pages, 0 for registered memory */
	unsigned flags;
	struct mp_ctx *ctx;
	uint64_t id;
	uint64_t device; /* where kernels see its first page; 0: it is no mirror */
};

#define GRANULE ((uint64_t)2 << 20)

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct pinned *list MP_GUARDED_BY(lock); /* by address */
static size_t nlist, cap MP_GUARDED_BY(lock);
static _Atomic size_t count;
static uint64_t next_at, ids MP_GUARDED_BY(lock);
uint64_t mp_host_from, mp_host_to;

/* One thread at a time makes mirrors of pinned memory; it may wait for the server. */
static pthread_mutex_t mapping = PTHREAD_MUTEX_INITIALIZER;
static uint16_t *backed MP_GUARDED_BY(mapping); /* mirrors in each granule of the part */

int mp_host_init(uint64_t base, uint64_t size)
{
	mp_host_from = next_at = mp_align_up(base, GRANULE);
	mp_host_to = base + size;
	return 0;
}

/* The last entry that begins at or before p; nlist when there is none. */
static size_t place(uint64_t p)
{
	size_t lo = 0, hi = nlist;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (list[mid].base <= p)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : nlist;
}

bool mp_host_find(uint64_t p, struct mp_range *ret)
{
	bool found;
	size_t i;

	if (!atomic_load_explicit(&count, memory_order_relaxed))
		return false;
	pthread_rwlock_rdlock(&lock);
	i = place(p);
	found = i < nlist && p - list[i].base < list[i].size;
	if (found) {
		memset(ret, 0, sizeof(*ret));
		ret->kind = MP_PINNED;
		ret->base = list[i].base;
		ret->size = list[i].size;
		ret->flags = list[i].flags;
		ret->ctx = list[i].ctx;
		ret->device = list[i].ctx ? list[i].ctx->device : 0;
		ret->id = list[i].id;
		ret->registered = !list[i].mapped;
		ret->mirrored = list[i].device;
	}
	pthread_rwlock_unlock(&lock);
	return found;
}

/* Keeps the order; the lock is held for writing. */
static int insert(const struct pinned *p)
{
	size_t i;

	if (nlist == cap) {
		size_t n = cap ? 2 * cap : 64;
		struct pinned *q = realloc(list, n * sizeof(*q));

		if (!q)
			return -1;
		list = q;
		cap = n;
	}
	i = nlist ? place(p->base) : nlist;
	i = i == nlist ? 0 : i + 1;
	memmove(&list[i + 1], &list[i], (nlist - i) * sizeof(*list));
	list[i] = *p;
	nlist++;
	atomic_store(&count, nlist);
	atomic_fetch_add(&mp_shim.mirrors, p->mapped != 0);
	return 0;
}

/* A free stretch of the part: after the newest one, else the first gap. */
static uint64_t stretch(uint64_t size)
{
	uint64_t at = next_at;
	size_t i;

	if (at + size <= mp_host_to)
		return at;
	at = mp_host_from;
	for (i = 0; i < nlist; i++) {
		if (!list[i].mapped || list[i].base < mp_host_from || list[i].base >= mp_host_to)
			continue;
		if (list[i].base - at >= size)
			return at;
		at = list[i].base + list[i].mapped;
	}
	return at + size <= mp_host_to ? at : 0;
}

CUresult mp_shim_cuMemHostAlloc(void **pp, size_t n, unsigned int flags)
{
	struct mp_thread *t;
	struct pinned p;
	size_t bytes;
	int e = -1;
	CUresult r = mp_enter(MP_CALL_cuMemHostAlloc, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!pp || !n || flags & ~7u || !mp_add(n, 4095, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	bytes &= ~(size_t)4095;
	pthread_rwlock_wrlock(&lock);
	p = (struct pinned){.size = n, .mapped = bytes, .flags = flags, .ctx = t->ctx, .id = ++ids};
	p.base = stretch(bytes);
	if (p.base && mmap((void *)p.base, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
		e = insert(&p);
		if (!e && p.base == next_at)
			next_at += mp_align_up(bytes, 4096);
	}
	pthread_rwlock_unlock(&lock);
	if (e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*pp = (void *)p.base;
	if (flags & CU_MEMHOSTALLOC_DEVICEMAP)
		r = mp_host_map(t, p.base, NULL);
	if (r)
		(void)mp_shim_cuMemFreeHost(*pp);
	return r;
}

CUresult mp_shim_cuMemAllocHost_v2(void **pp, size_t n)
{
	return mp_shim_cuMemHostAlloc(pp, n, 0);
}

CUresult mp_shim_cuMemAllocHost(void **pp, unsigned int n)
{
	return mp_shim_cuMemHostAlloc(pp, n, 0);
}

/* ---- Mirrors of it ---- */

/* The granules that the allocation touches get device memory, once. `mapping` is held. */
static CUresult back(struct mp_thread *t, const struct pinned *p, bool on)
{
	uint64_t g = (p->base - mp_host_from) / GRANULE;
	uint64_t end = (p->base + p->mapped - 1 - mp_host_from) / GRANULE + 1, at = g;
	CUresult r = CUDA_SUCCESS;

	if (!backed)
		backed = calloc((mp_host_to - mp_host_from) / GRANULE + 1, sizeof(*backed));
	if (!backed)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (; at < end && !r; at++) {
		uint64_t base = mp_host_from + at * GRANULE;

		if (on && !backed[at])
			r = mp_memory_back(t, t->ctx->device, base, GRANULE);
		if (!on && backed[at] == 1)
			mp_memory_unback(t, p->ctx->device, base, GRANULE);
		if (!r)
			backed[at] += on ? 1 : -1;
	}
	if (r) /* all or nothing; the granule that failed was not counted */
		for (at--; at-- > g;)
			if (!--backed[at])
				mp_memory_unback(t, t->ctx->device, mp_host_from + at * GRANULE, GRANULE);
	return r;
}

/* Memory that other processes or a file share cannot be replaced by pages of ours. */
static bool shared(uint64_t from, uint64_t to)
{
	unsigned long long a, b;
	char line[512], perms[8];
	bool found = false;
	FILE *f = fopen("/proc/self/maps", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %7s", &a, &b, perms) == 3 && a < to && b > from)
			found = found || perms[3] == 's';
	if (f)
		fclose(f);
	return found;
}

static CUresult mirror_make(struct mp_thread *t, struct pinned *p)
{
	struct mp_mirror_new n = {.kind = MP_MIRROR_PINNED, .host = p->base, .device = p->base,
				  .base = p->base, .size = p->size, .pages = p->mapped / MP_PAGE,
				  .ctx = t->ctx, .attach = CU_MEM_ATTACH_GLOBAL, .adopt = true};
	CUresult r;

	if (!p->mapped) {
		n.kind = MP_MIRROR_REGISTERED;
		n.host = p->base & ~(uint64_t)(MP_PAGE - 1);
		n.pages = (mp_align_up(p->base + p->size, MP_PAGE) - n.host) / MP_PAGE;
		if (shared(n.host, n.host + n.pages * MP_PAGE))
			return mp_refused(MP_CALL_cuMemHostGetDevicePointer_v2);
		r = mp_memory_alloc(t, t->ctx, mp_mirror_slot(n.pages * MP_PAGE), NULL,
				    &mp_memory_alias, &n.device);
	} else {
		r = back(t, p, true);
	}
	if (r)
		return r;
	r = mp_mirror_new(t, &n);
	if (!r)
		p->device = n.device;
	else if (p->mapped)
		(void)back(t, p, false);
	else
		(void)mp_memory_free(t, n.device, NULL);
	return r;
}

/* Entry at p; the lock is not held. */
static bool entry(uint64_t p, struct pinned *ret)
{
	bool found;
	size_t i;

	pthread_rwlock_rdlock(&lock);
	i = place(p);
	found = i < nlist && p - list[i].base < list[i].size;
	if (found)
		*ret = list[i];
	pthread_rwlock_unlock(&lock);
	return found;
}

static void device_set(const struct pinned *p)
{
	size_t i;

	pthread_rwlock_wrlock(&lock);
	i = place(p->base);
	if (i < nlist && list[i].base == p->base && list[i].id == p->id) {
		list[i].device = p->device;
		list[i].ctx = p->ctx;
	}
	pthread_rwlock_unlock(&lock);
}

CUresult mp_host_map(struct mp_thread *t, uint64_t p, uint64_t *ret)
{
	struct pinned e;
	CUresult r = CUDA_SUCCESS;

	if (!entry(p, &e))
		return ret ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	if (!e.device) {
		pthread_mutex_lock(&mapping);
		if (entry(p, &e) && !e.device) {
			/* Copies under way read and write it as plain memory. */
			r = mp_ctx_wait(t, MP_CALL_cuMemHostGetDevicePointer_v2, t->ctx);
			if (!r)
				r = mirror_make(t, &e);
			if (!r) {
				e.ctx = t->ctx;
				device_set(&e);
			}
		}
		pthread_mutex_unlock(&mapping);
	}
	if (!r && ret)
		*ret = e.mapped ? p : e.device + (p - (e.base & ~(uint64_t)(MP_PAGE - 1)));
	return r;
}

/* It is no mirror any more; keep: its bytes stay. */
static void unmap(struct mp_thread *t, struct pinned *p, bool keep)
{
	if (!p->device)
		return;
	pthread_mutex_lock(&mapping);
	mp_mirror_end(t, p->base & ~(uint64_t)(MP_PAGE - 1), keep);
	if (p->mapped)
		(void)back(t, p, false);
	else
		(void)mp_memory_free(t, p->device, NULL);
	p->device = 0;
	pthread_mutex_unlock(&mapping);
}

void mp_host_ctx_gone(struct mp_thread *t, struct mp_ctx *c)
{
	struct pinned e;
	size_t i;

	do {
		e.device = 0;
		pthread_rwlock_rdlock(&lock);
		for (i = 0; i < nlist && !e.device; i++)
			if (list[i].device && list[i].ctx == c)
				e = list[i];
		pthread_rwlock_unlock(&lock);
		if (e.device) {
			unmap(t, &e, true);
			device_set(&e);
			e.device = 1; /* look again */
		}
	} while (e.device);
}

/* ---- Freeing ---- */

/* Take the entry that begins at p out; false: there is none of this sort. */
static bool take(void *p, bool registered, struct pinned *ret)
{
	bool found;
	size_t i;

	pthread_rwlock_wrlock(&lock);
	i = place((uintptr_t)p);
	found = i < nlist && list[i].base == (uintptr_t)p && !list[i].mapped == registered;
	if (found) {
		*ret = list[i];
		nlist--;
		memmove(&list[i], &list[i + 1], (nlist - i) * sizeof(*list));
		atomic_store(&count, nlist);
		atomic_fetch_sub(&mp_shim.mirrors, ret->mapped != 0);
	}
	pthread_rwlock_unlock(&lock);
	return found;
}

CUresult mp_shim_cuMemFreeHost(void *p)
{
	struct pinned was;
	struct mp_thread *t;
	struct mp_range range;
	CUresult r = mp_enter(MP_CALL_cuMemFreeHost, &t);

	if (!r)
		r = mp_safe(t);
	if (r || !p)
		return r;
	/* Natively this waits for the device; copies may still read or write the memory. */
	if (!mp_host_find((uintptr_t)p, &range) || range.base != (uintptr_t)p || range.registered)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_ctx_wait(t, MP_CALL_cuMemFreeHost, t->ctx);
	if (!take(p, false, &was))
		return CUDA_ERROR_INVALID_VALUE;
	unmap(t, &was, false);
	/* The addresses stay ours. */
	mmap((void *)was.base, was.mapped, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	pthread_rwlock_wrlock(&lock);
	if (was.base + was.mapped == next_at)
		next_at = was.base;
	pthread_rwlock_unlock(&lock);
	return r;
}

CUresult mp_shim_cuMemHostRegister_v2(void *p, size_t n, unsigned int flags)
{
	struct mp_range range;
	struct pinned e;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemHostRegister_v2, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!p || !n || flags & ~15u)
		return CUDA_ERROR_INVALID_VALUE;
	if (mp_memory_find((uintptr_t)p, &range) || mp_memory_find((uintptr_t)p + n - 1, &range))
		return range.kind == MP_PINNED ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
					       : CUDA_ERROR_INVALID_VALUE;
	pthread_rwlock_wrlock(&lock);
	e = (struct pinned){.base = (uintptr_t)p, .size = n, .flags = flags, .ctx = t->ctx, .id = ++ids};
	r = insert(&e) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
	pthread_rwlock_unlock(&lock);
	return r;
}

CUresult mp_shim_cuMemHostRegister(void *p, size_t n, unsigned int flags)
{
	return mp_shim_cuMemHostRegister_v2(p, n, flags);
}

CUresult mp_shim_cuMemHostUnregister(void *p)
{
	struct pinned was;
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemHostUnregister, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_host_find((uintptr_t)p, &range) || range.base != (uintptr_t)p || !range.registered)
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	r = mp_ctx_wait(t, MP_CALL_cuMemHostUnregister, t->ctx);
	if (take(p, true, &was))
		unmap(t, &was, true);
	return r;
}

CUresult mp_shim_cuMemHostGetDevicePointer_v2(CUdeviceptr *pd, void *p, unsigned int flags)
{
	struct mp_thread *t;
	uint64_t device;
	CUresult r = mp_enter(MP_CALL_cuMemHostGetDevicePointer_v2, &t);

	if (r)
		return r;
	if (!pd || flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_host_map(t, (uintptr_t)p, &device);
	if (!r)
		*pd = device;
	return r;
}

CUresult mp_shim_cuMemHostGetFlags(unsigned int *flags, void *p)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemHostGetFlags, &t);

	if (r)
		return r;
	if (!flags || !mp_host_find((uintptr_t)p, &range))
		return CUDA_ERROR_INVALID_VALUE;
	/* With unified addressing every allocation counts as mapped. */
	*flags = range.flags | (range.registered ? 0 : CU_MEMHOSTALLOC_DEVICEMAP);
	return CUDA_SUCCESS;
}
