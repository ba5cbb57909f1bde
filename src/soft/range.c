/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges: every allocation that a pointer may point into, sorted by address.
 *
 * One table for the process, since addresses are unique in it: device memory of
 * all devices, mapped physical memory, pinned and registered host memory.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static pthread_mutex_t memory = PTHREAD_MUTEX_INITIALIZER;
static struct mp_range **ranges;
static size_t nranges, cap_ranges;
static _Atomic uint64_t next_id = 1;

void mp_memory_lock(void)
{
	pthread_mutex_lock(&memory);
}

void mp_memory_unlock(void)
{
	pthread_mutex_unlock(&memory);
}

uint64_t mp_range_id(void)
{
	return next_id++;
}

/* Index of the first range whose address is above addr. */
size_t mp_range_index(uint64_t addr)
{
	size_t lo = 0, hi = nranges;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (ranges[mid]->addr > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct mp_range *mp_range_at(size_t i)
{
	return i < nranges ? ranges[i] : NULL;
}

struct mp_range *mp_range_find(uint64_t addr)
{
	size_t i = mp_range_index(addr);
	struct mp_range *r = i ? ranges[i - 1] : NULL;

	return r && addr - r->addr < r->size ? r : NULL;
}

bool mp_range_add(const struct mp_range *r)
{
	struct mp_range *copy;
	size_t i;

	assert(r->size);
	if (nranges == cap_ranges) {
		size_t cap = cap_ranges ? cap_ranges * 2 : 256;
		struct mp_range **p = realloc(ranges, cap * sizeof(*p));

		if (!p)
			return false;
		ranges = p;
		cap_ranges = cap;
	}
	copy = malloc(sizeof(*copy));
	if (!copy)
		return false;
	*copy = *r;
	i = mp_range_index(r->addr);
	assert(!i || ranges[i - 1]->addr + ranges[i - 1]->size <= r->addr);
	memmove(&ranges[i + 1], &ranges[i], (nranges - i) * sizeof(*ranges));
	ranges[i] = copy;
	nranges++;
	mp_exec_check_fresh(r->addr, r->size);
	return true;
}

void mp_range_remove(uint64_t addr)
{
	size_t i = mp_range_index(addr);

	assert(i && ranges[i - 1]->addr == addr);
	free(ranges[i - 1]);
	nranges--;
	memmove(&ranges[i - 1], &ranges[i], (nranges - i + 1) * sizeof(*ranges));
	mp_exec_check_fresh(addr, 0);
}

bool mp_memory_is_device(const struct mp_range *r)
{
	return r->kind != MP_RANGE_HOST && r->kind != MP_RANGE_REGISTERED;
}

bool mp_memory_span(uint64_t addr, uint64_t n, struct mp_range *ret)
{
	struct mp_range *r;
	bool good = false;
	uint64_t end;

	if (__builtin_add_overflow(addr, n ? n : 1, &end))
		return false;
	mp_memory_lock();
	r = mp_range_find(addr);
	if (r) {
		size_t i = mp_range_index(addr);

		*ret = *r;
		/* Mapped physical memory may be joined from pieces, as programs grow arrays. */
		while (end > r->addr + r->size) {
			struct mp_range *next = mp_range_at(i++);

			if (!next || next->addr != r->addr + r->size || next->kind != r->kind ||
			    (r->kind != MP_RANGE_VMM && r->kind != MP_RANGE_REGISTERED))
				break;
			r = next;
		}
		good = end <= r->addr + r->size;
	}
	mp_memory_unlock();
	return good;
}

bool mp_memory_extra(void *arg, uint64_t addr, size_t n, bool write)
{
	struct mp_range r;

	(void)arg;
	if (mp_window_has(addr) || !mp_memory_span(addr, n, &r) || r.kind != MP_RANGE_REGISTERED)
		return false;
	return !write || !(r.flags & CU_MEMHOSTREGISTER_READ_ONLY);
}
