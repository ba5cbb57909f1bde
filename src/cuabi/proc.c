/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuGetProcAddress over the generated table of exports.
 *
 * Pairing rule: the exports of one base name, ordered by their suffix number,
 * belong to the versions in which cudaTypedefs.h changed that name; mpgen pairs
 * them, here the highest version not above the requested one is taken.  Names with
 * a suffix ("cuMemAlloc_v2") are not base names and so are not found.
 *
 * No state but the cap on versions, which is an atomic int.
 */
#include "cuabi/cuabi.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"

static _Atomic int limit = INT32_MAX;

void mp_proc_limit(int driver_version)
{
	atomic_store_explicit(&limit, driver_version, memory_order_relaxed);
}

/* The first entry of this base name, or NULL. */
static const struct mp_proc *base_find(const char *base)
{
	size_t lo = 0, hi = mp_proc_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(mp_proc_table[mid].base, base) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == mp_proc_count || strcmp(mp_proc_table[lo].base, base))
		return NULL;
	return &mp_proc_table[lo];
}

/*
 * The best entry for (symbol, version), preferring a per-thread variant when asked;
 * NULL with *known saying whether the driver has any version of it.
 */
static const struct mp_proc *entry_find(const char *symbol, int version, bool per_thread,
					bool *known)
{
	const struct mp_proc *p = base_find(symbol), *end = mp_proc_table + mp_proc_count;
	const struct mp_proc *plain = NULL, *thread = NULL;
	int cap = atomic_load_explicit(&limit, memory_order_relaxed);

	*known = false;
	for (; p && p < end && !strcmp(p->base, symbol); p++) {
		const struct mp_proc **best = p->variant ? &thread : &plain;

		assert(p == mp_proc_table || strcmp(p[-1].base, p->base) <= 0);
		if (p->version > cap)
			continue;
		*known = true;
		if (p->version <= version && (!*best || (*best)->version < p->version))
			*best = p;
	}
	return per_thread && thread ? thread : plain;
}

CUresult mp_proc_address(const char *symbol, void **pfn, int version, cuuint64_t flags,
			 CUdriverProcAddressQueryResult *status, bool v2)
{
	const struct mp_proc *p;
	bool known;

	if (!symbol || !pfn || flags > 3)
		return CUDA_ERROR_INVALID_VALUE;
	p = entry_find(symbol, version, flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM,
		       &known);
	if (!p && !v2)
		return CUDA_ERROR_NOT_FOUND;
	*pfn = p ? p->entry : NULL;
	if (v2 && status)
		*status = p	  ? CU_GET_PROC_ADDRESS_SUCCESS
			  : known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
				  : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	return CUDA_SUCCESS;
}
