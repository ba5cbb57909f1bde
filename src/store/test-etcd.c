/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared store, driven by test-etcd.py: reads commands, one a line, and
 * answers each with one line.
 *
 *	test-etcd HOST:PORT,...
 *	put KEY VALUE | mortal KEY VALUE | del KEY | cas KEY REVISION VALUE
 *	get KEY | count PREFIX | sync PREFIX | up | add KEY ROUNDS
 */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)value, (void)revision;
	++*(int *)arg;
	return 0;
}

/* Adds one, guarded by the key's revision, until it works. */
static int add(struct mp_store *s, const char *key)
{
	struct mp_store_guard g = {key, 0};
	struct mp_store_change c = {.key = key};
	char text[32], *value;
	int rc, tries = 0;

	do {
		if (mp_store_get(s, key, &value, &g.revision) < 0)
			return -1;
		snprintf(text, sizeof(text), "%ld", value ? atol(value) + 1 : 1);
		free(value);
		c.value = text;
		rc = mp_store_commit(s, &g, 1, &c, 1, NULL);
	} while (rc == MP_STORE_CONFLICT && ++tries < 1000);
	return rc;
}

static void obey(struct mp_store *s, char *line)
{
	char *verb = strtok(line, " \n"), *key = strtok(NULL, " \n"), *a = strtok(NULL, " \n"),
	     *b = strtok(NULL, " \n"), *value;
	struct mp_store_change c = {key, a, false};
	struct mp_store_guard g = {key, a ? atoll(a) : 0};
	int64_t revision = 0;
	int n = 0;

	if (!strcmp(verb, "put") || !strcmp(verb, "mortal") || !strcmp(verb, "del")) {
		c.mortal = *verb == 'm';
		c.value = *verb == 'd' ? NULL : a;
		printf("%d\n", mp_store_commit(s, NULL, 0, &c, 1, NULL));
	} else if (!strcmp(verb, "cas")) {
		c.value = b;
		printf("%d\n", mp_store_commit(s, &g, 1, &c, 1, NULL));
	} else if (!strcmp(verb, "get")) {
		n = mp_store_get(s, key, &value, &revision);
		printf("%d %lld %s\n", n, (long long)revision, value ? value : "-");
		free(value);
	} else if (!strcmp(verb, "count")) {
		mp_store_list(s, key, count, &n);
		printf("%d\n", n);
	} else if (!strcmp(verb, "sync")) {
		printf("%d\n", mp_store_sync(s, key));
	} else if (!strcmp(verb, "add")) {
		for (n = atoi(a); n > 0 && !add(s, key); n--)
			;
		printf("%d\n", n);
	} else {
		printf("%d\n", mp_store_writable(s));
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct mp_store_etcd c = {.plain = true, .ttl_s = 3, .prefix = "/test"};
	struct mp_store *s;
	struct mp_fail f = {0};
	char line[4096];

	c.endpoints = argc > 1 ? argv[1] : "";
	if (mp_store_open_etcd(&c, argc > 2 ? atoi(argv[2]) : 10000, &s, &f) < 0) {
		printf("! %s\n", f.text);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(s, line);
	mp_store_close(s);
	return 0;
}
