/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters at exit: MOTORPOOL_STATS=1 prints them to stderr, MOTORPOOL_STATS=FILE
 * writes them there, as lines of name and value.
 */
#include "shim/shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void per_call(FILE *f, const char *what, size_t offset)
{
	unsigned i;

	for (i = 0; i < MP_CALL_NUMBERS; i++) {
		const struct mp_call_info *info = mp_call_find(i);
		const struct mp_thread *t;
		uint64_t n = 0;

		for (t = mp_threads(); t; t = t->next)
			n += ((const uint32_t *)((const char *)t + offset))[i];
		if (n && info)
			fprintf(f, "%s.%s %llu\n", what, info->name, (unsigned long long)n);
	}
}

static uint64_t sum(size_t offset)
{
	const struct mp_thread *t;
	uint64_t n = 0;
	unsigned i;

	for (t = mp_threads(); t; t = t->next)
		for (i = 0; i < MP_CALL_NUMBERS; i++)
			n += ((const uint32_t *)((const char *)t + offset))[i];
	return n;
}

void mp_stats_print(void)
{
	const char *where = getenv("MOTORPOOL_STATS");
	struct mp_rpc_stats *s = &mp_shim.rpc->stats;
	const struct mp_thread *t;
	uint64_t records = 0;
	FILE *f = stderr;
	int i;

	if (!where)
		return;
	if (strcmp(where, "1") && !(f = fopen(where, "we")))
		return;
	for (t = mp_threads(); t; t = t->next)
		records += t->records;
#define LINE(name, value) fprintf(f, name " %llu\n", (unsigned long long)(value))
	LINE("calls", sum(offsetof(struct mp_thread, calls)));
	LINE("records", records);
	LINE("record_bytes", atomic_load(&mp_shim.rpc->head));
	/* Connecting and the welcome are two; then each wait for the server is one. */
	LINE("round_trips", 2 + sum(offsetof(struct mp_thread, waits)));
	LINE("round_trips.connect", 2);
	LINE("refused", sum(offsetof(struct mp_thread, refused)));
	LINE("flushes", atomic_load(&s->flushes));
	LINE("flushes.late", atomic_load(&s->flushes_late));
	LINE("ring_full", atomic_load(&s->room_waits));
	LINE("waits", atomic_load(&s->waits));
	for (i = 0; i < 2; i++) {
		fprintf(f, "lane%d.bytes_out %llu\n", i, (unsigned long long)s->bytes_out[i]);
		fprintf(f, "lane%d.bytes_in %llu\n", i, (unsigned long long)s->bytes_in[i]);
		fprintf(f, "lane%d.frames_out %llu\n", i, (unsigned long long)s->frames_out[i]);
		fprintf(f, "lane%d.frames_in %llu\n", i, (unsigned long long)s->frames_in[i]);
	}
#undef LINE
	per_call(f, "call", offsetof(struct mp_thread, calls));
	per_call(f, "round_trip", offsetof(struct mp_thread, waits));
	per_call(f, "refused", offsetof(struct mp_thread, refused));
	if (f != stderr)
		fclose(f);
}
