/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api/numbers.ledger: one line a number, `0xNUMBER NAME RELEASE HASH`, RELEASE
 * `-` until the message has been in a release.  Released lines are law: number,
 * name and shape must still be what they were.  The others are rewritten freely.
 */
#include "mpgen.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	char name[128], release[32];
	unsigned number;
	unsigned long long hash;
};

uint64_t mp_item_hash(const struct mp_item *it)
{
	if (!it->has_msg)
		return 0;
	return it->msg.hash ^ (it->has_rep ? it->rep.hash * 0x9e3779b97f4a7c15u + 1 : 0);
}

/* Reads the line at *s and moves past it; false for a comment, a blank or nonsense. */
static bool next_entry(const char **s, struct entry *e, bool *bad)
{
	const char *line = *s, *end = strchr(line, '\n');
	int n;

	*s = end ? end + 1 : line + strlen(line);
	*bad = false;
	if (*line == '#' || *line == '\n' || !*line)
		return false;
	n = sscanf(line, "%x %127s %31s %llx", &e->number, e->name, e->release, &e->hash);
	*bad = n != 4;
	return n == 4;
}

static struct mp_item *find_number(const struct mp_api *api, unsigned number)
{
	for (size_t i = 0; i < api->numbered; i++)
		if (api->by_number[i]->number == number)
			return api->by_number[i];
	return NULL;
}

void mp_ledger_check(struct mp_api *api, const char *file, char *text)
{
	const char *s = text;
	struct entry e;
	bool bad;

	for (int line = 1; *s; line++) {
		struct mp_item *it;

		if (!next_entry(&s, &e, &bad)) {
			if (bad)
				mp_gen_error(api, file, line,
					     "a ledger line reads `NUMBER NAME RELEASE HASH`");
			continue;
		}
		if (!strcmp(e.release, "-"))
			continue;
		it = find_number(api, e.number);
		if (!it || strcmp(it->name, e.name))
			mp_gen_error(api, file, line,
				     "0x%04x was %s in release %s and can never be anything else",
				     e.number, e.name, e.release);
		else if (mp_item_hash(it) != e.hash)
			mp_gen_error(api, it->file, it->line,
				     "the shape of %s was released in %s and cannot change: "
				     "declare a new number",
				     it->name, e.release);
	}
}

void mp_ledger_write(const struct mp_api *api, FILE *out, const char *old, const char *new_release)
{
	fprintf(out,
		"# Number, name, first release, shape hash. Written by `ninja ledger`; see\n"
		"# docs/API-DESCRIPTION.md section 4. A line with a release is never changed.\n");
	for (size_t i = 0; i < api->numbered; i++) {
		const struct mp_item *it = api->by_number[i];
		const char *s = old ? old : "", *release = "-";
		struct entry e;
		bool bad;

		while (*s)
			if (next_entry(&s, &e, &bad) && e.number == it->number)
				release = mp_gen_strndup(e.release, strlen(e.release));
		if (new_release && it->has_msg && !strcmp(release, "-"))
			release = new_release;
		fprintf(out, "0x%04x %s %s %016llx\n", it->number, it->name, release,
			(unsigned long long)mp_item_hash(it));
	}
}
