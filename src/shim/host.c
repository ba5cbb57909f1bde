/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned host memory: allocations come from the window's last part, so that no
 * host address can equal a device address; registered memory stays where it is.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct pinned {
	uint64_t base, size, mapped; /* mapped: whole pages, 0 for registered memory */
	unsigned flags;
	struct mp_ctx *ctx;
	uint64_t id;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct pinned *list MP_GUARDED_BY(lock); /* by address */
static size_t nlist, cap MP_GUARDED_BY(lock);
static _Atomic size_t count;
static uint64_t from, to, next_at, ids MP_GUARDED_BY(lock);

int mp_host_init(uint64_t base, uint64_t size)
{
	from = next_at = mp_align_up(base, 2u << 20);
	to = base + size;
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
	return 0;
}

/* A free stretch of the part: after the newest one, else the first gap. */
static uint64_t stretch(uint64_t size)
{
	uint64_t at = next_at;
	size_t i;

	if (at + size <= to)
		return at;
	at = from;
	for (i = 0; i < nlist; i++) {
		if (!list[i].mapped || list[i].base < from || list[i].base >= to)
			continue;
		if (list[i].base - at >= size)
			return at;
		at = list[i].base + list[i].mapped;
	}
	return at + size <= to ? at : 0;
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
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemAllocHost_v2(void **pp, size_t n)
{
	return mp_shim_cuMemHostAlloc(pp, n, 0);
}

CUresult mp_shim_cuMemAllocHost(void **pp, unsigned int n)
{
	return mp_shim_cuMemHostAlloc(pp, n, 0);
}

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
	take(p, true, &was);
	return r;
}

CUresult mp_shim_cuMemHostGetDevicePointer_v2(CUdeviceptr *pd, void *p, unsigned int flags)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuMemHostGetDevicePointer_v2, &t);

	if (r)
		return r;
	if (!pd || flags || !mp_host_find((uintptr_t)p, &range))
		return CUDA_ERROR_INVALID_VALUE;
	/* Mapped memory is not carried: a pointer that kernels cannot use would be a lie. */
	return mp_refused(MP_CALL_cuMemHostGetDevicePointer_v2);
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
