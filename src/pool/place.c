/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: which devices of one server a request gets.  Pure.
 *
 * A fraction is of the smallest device chosen, so every memory size that the
 * server has is tried as "the smallest", from the smallest up, so that large
 * devices stay free.  Devices of one model are preferred.
 */
#include "pool/state.h"

#include "pool/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANULE (2ull << 20)

const char *mp_bytes_print(uint64_t bytes, char text[32])
{
	double v = (double)bytes;

	if (bytes >= 1ull << 30)
		snprintf(text, 32, bytes % (1ull << 30) ? "%.1f GiB" : "%.0f GiB", v / (1 << 30));
	else if (bytes >= 1ull << 20)
		snprintf(text, 32, "%.0f MiB", v / (1 << 20));
	else
		snprintf(text, 32, "%llu B", (unsigned long long)bytes);
	return text;
}

static uint64_t device_free(const struct device *d)
{
	if (d->disabled || d->exclusive)
		return 0;
	return d->memory > d->charged ? d->memory - d->charged : 0;
}

/* What each device must give when the smallest chosen one has this much memory. */
static uint64_t amount_of(const struct mp_want *w, uint64_t smallest)
{
	uint64_t part;

	if (!w->fraction && !w->bytes)
		return smallest;
	part = w->fraction == MP_MILLION
		       ? smallest
		       : (uint64_t)((unsigned __int128)smallest * w->fraction / MP_MILLION);
	/* Whole granules, so that the pieces of a device add up to it. */
	if (part != smallest)
		part -= part % GRANULE;
	if (w->fraction && !part)
		part = GRANULE;
	return part > w->bytes ? part : w->bytes;
}

static bool device_fits(const struct device *d, const struct mp_want *w, uint64_t smallest,
			uint64_t amount)
{
	bool whole = !w->fraction && !w->bytes;

	if (d->memory < smallest)
		return false;
	/* Whole devices are exclusive. */
	if (whole)
		return !d->disabled && !d->leases;
	return device_free(d) >= amount;
}

/* Which of two fitting devices goes first: by what is left on them. */
static bool goes_before(const struct device *a, const struct device *b, bool spread)
{
	uint64_t fa = device_free(a), fb = device_free(b);

	if (fa != fb)
		return spread ? fa > fb : fa < fb;
	return a->index < b->index;
}

/*
 * Up to w->n fitting devices of one model (model != NULL) or of any; returns how
 * many there are.
 */
static unsigned pick(const struct device *devices, unsigned n, const struct mp_want *w,
		     const char *model, uint64_t smallest, uint64_t amount, bool spread,
		     unsigned chosen[MP_ACCOUNT_DEVICES])
{
	unsigned have = 0, i, j;

	for (i = 0; i < n; i++) {
		if (!device_fits(&devices[i], w, smallest, amount) ||
		    (model && strcmp(model, devices[i].name)))
			continue;
		for (j = have; j && goes_before(&devices[i], &devices[chosen[j - 1]], spread); j--)
			if (j < w->n)
				chosen[j] = chosen[j - 1];
		if (j < w->n) {
			chosen[j] = i;
			have += have < w->n;
		}
	}
	return have;
}

static int by_number(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

static bool try_size(const struct device *devices, unsigned n, const struct mp_want *w,
		     bool spread, uint64_t smallest, bool one_model, struct placement *ret)
{
	uint64_t amount = amount_of(w, smallest);
	unsigned i;

	for (i = 0; i < (one_model ? n : 1); i++) {
		if (pick(devices, n, w, one_model ? devices[i].name : NULL, smallest, amount,
			 spread, ret->device) < w->n)
			continue;
		qsort(ret->device, w->n, sizeof(*ret->device), by_number);
		ret->bytes = amount;
		ret->whole = !w->fraction && !w->bytes;
		return true;
	}
	return false;
}

static int never(const struct device *devices, unsigned n, const struct mp_want *w,
		 const char *server, struct mp_fail *f)
{
	char a[32], b[32];
	uint64_t largest = 0;
	unsigned i, enough = 0;

	if (w->n > n)
		return mp_fail_set(f, MP_CODE_NEVER,
				   "%u devices were asked for, but no server of the pool has more "
				   "than %u (%s); ask for fewer", w->n, n, server);
	for (i = 0; i < n; i++) {
		largest = devices[i].memory > largest ? devices[i].memory : largest;
		enough += devices[i].memory >= w->bytes;
	}
	if (enough < w->n)
		return mp_fail_set(f, MP_CODE_NEVER,
				   "%s on each of %u device%s was asked for, but %s has only %u of "
				   "that size, the largest with %s; ask for less",
				   mp_bytes_print(w->bytes, a), w->n, w->n == 1 ? "" : "s", server,
				   enough, mp_bytes_print(largest, b));
	return 0;
}

static int busy(const struct device *devices, unsigned n, const struct mp_want *w,
		const char *server, struct mp_fail *f)
{
	char a[32], b[32];
	uint64_t most = 0, smallest = UINT64_MAX, amount;
	unsigned i, best = 0, empty = 0, fitting = 0;

	for (i = 0; i < n; i++) {
		smallest = devices[i].memory < smallest ? devices[i].memory : smallest;
		empty += !devices[i].leases && !devices[i].disabled;
		if (device_free(&devices[i]) > most) {
			most = device_free(&devices[i]);
			best = i;
		}
	}
	amount = amount_of(w, smallest);
	for (i = 0; i < n; i++)
		fitting += device_fits(&devices[i], w, smallest, amount);
	if (!w->fraction && !w->bytes)
		return mp_fail_set(f, MP_CODE_BUSY,
				   "nothing fits now: %u whole device%s wanted; nearest is %s with "
				   "%u of %u unused", w->n, w->n == 1 ? " is" : "s are", server,
				   empty, n);
	return mp_fail_set(f, MP_CODE_BUSY,
			   "nothing fits now: %u device%s with %s free wanted; nearest is %s with "
			   "%u such, and %s free on device %u (%s)", w->n, w->n == 1 ? "" : "s",
			   mp_bytes_print(amount, a), server, fitting, mp_bytes_print(most, b),
			   n ? devices[best].index : 0, n ? devices[best].name : "none");
}

int mp_place(const struct device *devices, unsigned n, const struct mp_want *want, bool spread,
	     bool mixed, const char *server, struct placement *ret, struct mp_fail *f)
{
	unsigned i, round;

	assert(want->n && want->n <= MP_ACCOUNT_DEVICES && want->fraction <= MP_MILLION);
	if (never(devices, n, want, server, f) < 0)
		return -1;
	/* Each device's memory is a candidate for the smallest; the least that fits wins. */
	for (round = 0; round < 2; round++) {
		uint64_t last = 0, next;

		/* Whole devices are of one model: a mix only where a filter asks for it. */
		if (round && !want->fraction && !want->bytes && !mixed)
			break;
		for (;; last = next) {
			next = UINT64_MAX;
			for (i = 0; i < n; i++)
				if (devices[i].memory > last && devices[i].memory < next)
					next = devices[i].memory;
			if (next == UINT64_MAX)
				break;
			if (try_size(devices, n, want, spread, next, round == 0, ret))
				return 0;
		}
	}
	return busy(devices, n, want, server, f);
}

void mp_facts_own(struct mp_pool *p, struct mp_filter_facts *ret)
{
	const char *api = json_string_value(json_array_get(p->api, 0)), *colon;
	static _Thread_local char address[64];

	memset(ret, 0, sizeof(*ret));
	colon = api ? strrchr(api, ':') : NULL;
	snprintf(address, sizeof(address), "%.*s", colon ? (int)(colon - api) : 0, api ? api : "");
	ret->address = address;
	ret->hostname = p->name;
	ret->cuda_version = p->cuda_version;
	ret->driver_version = p->driver_version;
}

/*
 * The devices that pass are copied, and what was chosen is named by its place in
 * the whole table again.
 */
int mp_place_filtered(const struct device *devices, unsigned n, const struct mp_filter_facts *server,
		      const struct mp_lease_request *q, bool spread, const char *name,
		      struct placement *ret, struct mp_fail *f)
{
	struct mp_filter_facts facts = *server;
	struct device *some;
	unsigned i, left = 0;
	bool mixed;
	int rc;

	if (!q->filters || !q->filters->n)
		return mp_place(devices, n, &q->want, spread, false, name, ret, f);
	some = calloc(n, sizeof(*some));
	if (!some)
		return mp_fail_set(f, MP_CODE_FAILED, "the server is out of memory");
	for (i = 0; i < n; i++) {
		facts.uuid = devices[i].uuid;
		facts.name = devices[i].name;
		facts.capability = devices[i].capability;
		facts.index = devices[i].index;
		facts.memory = devices[i].memory;
		if (mp_filter_match(q->filters, &facts))
			some[left++] = devices[i];
	}
	mixed = mp_filter_has(q->filters, MP_FILTER_DEVICE_NAME) ||
		mp_filter_has(q->filters, MP_FILTER_DEVICE_ID);
	if (left < q->want.n)
		rc = mp_fail_set(f, MP_CODE_NEVER, "%u of the %u devices of %s pass%s the filters, and "
						   "%u %s asked for", left, n, name, left == 1 ? "es" : "",
				 q->want.n, q->want.n == 1 ? "was" : "were");
	else
		rc = mp_place(some, left, &q->want, spread, mixed, name, ret, f);
	for (i = 0; !rc && i < q->want.n; i++)
		ret->device[i] = some[ret->device[i]].index;
	free(some);
	return rc;
}
