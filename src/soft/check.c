/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked runs: what kernels access is looked at by exec; here is what it asks
 * of allocations, and the summary at the end of the process.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static_assert((int)MP_SOFT_CHECK_MEMORY == MP_EXEC_CHECK_MEMORY &&
		      (int)MP_SOFT_CHECK_INIT == MP_EXEC_CHECK_INIT &&
		      (int)MP_SOFT_CHECK_RACE == MP_EXEC_CHECK_RACE,
	      "the same bits under two names");

static pid_t owner;

/* After the program's own atexit functions and most destructors. */
__attribute__((destructor)) static void summary(void)
{
	uint64_t hidden, n;

	if (!mp_soft.config.check || owner != getpid())
		return;
	n = mp_exec_check_errors(&hidden);
	if (hidden)
		fprintf(stderr, "========= %llu more reports were not printed\n", (unsigned long long)hidden);
	fprintf(stderr, "========= ERROR SUMMARY: %llu error%s\n", (unsigned long long)n, n == 1 ? "" : "s");
	if (n && mp_soft.config.check_exit) {
		fflush(NULL);
		_exit(mp_soft.config.check_exit);
	}
}

void mp_check_init(void)
{
	if (!mp_soft.config.check)
		return;
	owner = getpid();
	mp_exec_check_limit(mp_soft.config.check_limit);
	mp_exec_check(mp_soft.config.check, MP_SOFT_WINDOW_BASE, MP_SOFT_WINDOW_SIZE);
}

static bool full(const struct mp_range *r)
{
	return r->kind != MP_RANGE_DEVICE && r->kind != MP_RANGE_POOL && r->kind != MP_RANGE_VMM;
}

static uint64_t distance(const struct mp_range *r, uint64_t addr)
{
	return addr < r->addr ? r->addr - addr : addr - (r->addr + r->size) + 1;
}

bool mp_memory_block(void *arg, uint64_t addr, struct mp_exec_block *ret)
{
	struct mp_range *r, *below, *above;
	size_t i;
	bool in;

	(void)arg;
	*ret = (struct mp_exec_block){0};
	mp_memory_lock();
	r = mp_range_find(addr);
	in = r;
	if (!r) {
		i = mp_range_index(addr);
		below = i ? mp_range_at(i - 1) : NULL;
		above = mp_range_at(i);
		r = !below ? above : !above || distance(below, addr) <= distance(above, addr) ? below : above;
	}
	if (r)
		*ret = (struct mp_exec_block){r->addr, r->size, full(r), r->kind == MP_RANGE_VMM};
	mp_memory_unlock();
	return in;
}
