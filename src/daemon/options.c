/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What motorpoold can be told: one table makes the command line, the environment
 * variables, the keys of the configuration file and the help.  A flag wins over
 * the environment, that over the file, that over the default.
 */
#include "daemon/options.h"
#include "daemon/config.h"
#include "client/client.h"
#include "base/check.h"
#include "base/version.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_COUNT, OPTION_SIZE, OPTION_TIME };

struct row {
	const char *name, *arg, *text;
	enum option_kind kind;
	size_t offset;
};

#define ROW(name, arg, kind, field, text) {name, arg, text, kind, offsetof(struct mp_options, field)}

static const struct row rows[] = {
	ROW("api", "ADDR:PORT", OPTION_TEXT, api, "HTTPS API (0.0.0.0:56001; port 0: any)"),
	ROW("data", "LIST", OPTION_TEXT, data,
	    "where programs connect: ADDR:PORT or unix:PATH, comma-separated (0.0.0.0:55001)"),
	ROW("state", "DIR", OPTION_TEXT, state, "what the server keeps (/var/lib/motorpool)"),
	ROW("driver", "PATH", OPTION_TEXT, driver,
	    "CUDA driver library of the devices (NVIDIA's libcuda.so.1)"),
	ROW("announce", "LIST", OPTION_TEXT, announce,
	    "addresses of the API that others are told, HOST:PORT,... (as --api, or the host's name)"),
	ROW("store", "URL", OPTION_TEXT, store,
	    "a pool's shared store: etcd://HOST:PORT,... or etcds://... (a file under --state)"),
	ROW("join", "TOKEN", OPTION_TEXT, join, "join a pool, by a token of 'motorpool server add'"),
	ROW("name", "NAME", OPTION_TEXT, name, "this server's name in lists (the host's name)"),
	ROW("offer", "UUIDS", OPTION_TEXT, offer, "offer these devices only, comma-separated (all)"),
	ROW("reserve", "SIZE", OPTION_SIZE, reserve, "memory of each device that is not lent (0)"),
	ROW("liveness", "T", OPTION_TIME, liveness_s, "a silent client's lease ends after this (30s)"),
	ROW("look", "T", OPTION_TIME, look_s, "how often devices that nobody uses are looked at (1m)"),
	ROW("orphan", "T", OPTION_TIME, orphan_s, "a worker whose daemon stays away so long ends (1h)"),
	ROW("log", "LEVEL", OPTION_TEXT, log, "error, warn, info or debug (info)"),
	ROW("spread", NULL, OPTION_FLAG, spread, "spread leases over devices instead of packing them"),
	ROW("soft", NULL, OPTION_FLAG, soft, "offer soft GPUs, which run on the CPU"),
	ROW("demo", NULL, OPTION_FLAG, demo,
	    "a one-server pool on loopback with soft GPUs, and a bundle for its user"),
	ROW("devices", "N", OPTION_COUNT, devices, "number of soft GPUs"),
	ROW("device-memory", "SIZE", OPTION_SIZE, device_memory, "memory of each soft GPU"),
	ROW("bundle", "DIR", OPTION_TEXT, bundle,
	    "where --demo puts the bundle (~/.config/motorpool)"),
};

static void help_print(void)
{
	char left[64];
	size_t i;

	puts("Usage: motorpoold [OPTION]...\n\nOffers this machine's CUDA devices to a pool.\n");
	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].arg ? " " : "",
			 rows[i].arg ? rows[i].arg : "");
		printf("  %-22s %s\n", left, rows[i].text);
	}
	puts("  --config FILE          read this (/etc/motorpool/motorpoold.yaml, when it is there)\n"
	     "  --check-config         say what holds, and exit");
	puts("  --help                 this text\n  --version              the release");
	puts("\nEach is also a key of the file (api: 0.0.0.0:56001) and an environment variable "
	     "(MOTORPOOLD_API).");
	puts("To try Motorpool on this machine: motorpoold --demo");
}

static int option_set(struct mp_options *o, const struct row *r, const char *text,
		      struct mp_fail *f)
{
	void *to = (char *)o + r->offset;
	unsigned long n;
	char *end;

	switch (r->kind) {
	case OPTION_FLAG:
		if (strcmp(text, "true") && strcmp(text, "false"))
			return mp_fail_set(f, MP_CODE_USAGE, "%s is true or false, not '%.100s'",
					   r->name, text);
		*(bool *)to = *text == 't';
		return 0;
	case OPTION_TIME:
		if (!mp_duration_parse(text, to) || *(int64_t *)to <= 0)
			return mp_fail_set(f, MP_CODE_USAGE, "%s is a time like 30s, not '%.100s'",
					   r->name, text);
		return 0;
	case OPTION_TEXT:
		if (!*text)
			return mp_fail_set(f, MP_CODE_USAGE, "--%s needs a value", r->name);
		free(*(char **)to);
		*(char **)to = strdup(text);
		return *(char **)to ? 0 : mp_fail_set(f, MP_CODE_USAGE, "out of memory");
	case OPTION_COUNT:
		n = strtoul(text, &end, 10);
		if (*end || !n || n > 16)
			return mp_fail_set(f, MP_CODE_USAGE, "--%s is a number from 1 to 16, not '%s'",
					   r->name, text);
		*(unsigned *)to = (unsigned)n;
		return 0;
	case OPTION_SIZE:
		if (!mp_size_parse(text, to))
			return mp_fail_set(f, MP_CODE_USAGE, "--%s is a size like 2GiB, not '%s'",
					   r->name, text);
		return 0;
	}
	return -1;
}

static const struct row *row_find(const char *name)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

static int key_set(void *arg, const char *key, const char *value, struct mp_fail *f)
{
	const struct row *r = row_find(key);

	/* What only makes sense by hand is no key. */
	if (!r || !strcmp(key, "demo") || !strcmp(key, "bundle"))
		return mp_fail_set(f, MP_CODE_CONFIG, "there is no key '%.64s'", key);
	return option_set(arg, r, value, f);
}

static int file_take(struct mp_options *o, const char *file, bool must, struct mp_fail *f)
{
	static char text[65536];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 && errno == ENOENT && !must)
		return 0;
	n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot read %s: %s", file, strerror(errno));
	if (n == (ssize_t)sizeof(text))
		return mp_fail_set(f, MP_CODE_CONFIG, "%s is too long", file);
	return mp_config_parse(file, text, (size_t)n, key_set, o, f);
}

static int environment_take(struct mp_options *o, struct mp_fail *f)
{
	char name[64];
	const char *value;
	size_t i, k;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		snprintf(name, sizeof(name), "MOTORPOOLD_%s", rows[i].name);
		for (k = 0; name[k]; k++)
			name[k] = name[k] == '-' ? '_' : (char)toupper((unsigned char)name[k]);
		value = getenv(name);
		if (value && *value && option_set(o, &rows[i], value, f) < 0)
			return -1;
	}
	return 0;
}

static void options_print(const struct mp_options *o)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		const void *at = (const char *)o + rows[i].offset;

		if (rows[i].kind == OPTION_TEXT && *(const char *const *)at)
			printf("%s: %s\n", rows[i].name, *(const char *const *)at);
		else if (rows[i].kind == OPTION_FLAG && *(const bool *)at)
			printf("%s: true\n", rows[i].name);
		else if (rows[i].kind == OPTION_COUNT && *(const unsigned *)at)
			printf("%s: %u\n", rows[i].name, *(const unsigned *)at);
		else if (rows[i].kind == OPTION_SIZE && *(const uint64_t *)at)
			printf("%s: %lluB\n", rows[i].name,
			       (unsigned long long)*(const uint64_t *)at);
		else if (rows[i].kind == OPTION_TIME && *(const int64_t *)at)
			printf("%s: %llds\n", rows[i].name, (long long)*(const int64_t *)at);
	}
}

void mp_options_fini(struct mp_options *o)
{
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		if (rows[i].kind == OPTION_TEXT)
			free(*(char **)((char *)o + rows[i].offset));
}

/* The two that say where the rest is come first, whatever their place. */
static const char *config_find(int argc, char **argv)
{
	const char *file = getenv("MOTORPOOLD_CONFIG");
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--config") && i + 1 < argc)
			file = argv[i + 1];
		else if (!strncmp(argv[i], "--config=", 9))
			file = argv[i] + 9;
	}
	return file && *file ? file : NULL;
}

static int flags_take(int argc, char **argv, struct mp_options *ret, struct mp_fail *f)
{
	struct option longs[MP_ARRAY_LEN(rows) + 5] = {0};
	size_t i;
	int c, at;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		longs[i] = (struct option){rows[i].name, rows[i].arg != NULL, NULL, 'o'};
	longs[i++] = (struct option){"help", 0, NULL, 'h'};
	longs[i++] = (struct option){"version", 0, NULL, 'v'};
	longs[i++] = (struct option){"config", 1, NULL, 'c'};
	longs[i] = (struct option){"check-config", 0, NULL, 'C'};
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, &at)) != -1) {
		if (c == 'h') {
			help_print();
			return 1;
		}
		if (c == 'v') {
			puts("motorpoold " MP_VERSION);
			return 1;
		}
		if (c == 'c')
			continue;
		if (c == 'C') {
			ret->check = true;
			continue;
		}
		if (c == ':')
			return mp_fail_set(f, MP_CODE_USAGE, "%s needs a value", argv[optind - 1]);
		if (c != 'o')
			return mp_fail_set(f, MP_CODE_USAGE, "unknown option %s; see motorpoold --help",
					   argv[optind - 1]);
		if (option_set(ret, &rows[at], optarg ? optarg : "true", f) < 0)
			return -1;
	}
	if (optind < argc)
		return mp_fail_set(f, MP_CODE_USAGE, "motorpoold takes no argument '%s'",
				   argv[optind]);
	return 0;
}

int mp_options_parse(int argc, char **argv, struct mp_options *ret, struct mp_fail *f)
{
	const char *file = config_find(argc, argv);
	int rc;

	rc = file_take(ret, file ? file : "/etc/motorpool/motorpoold.yaml", file != NULL, f);
	if (!rc)
		rc = environment_take(ret, f);
	if (!rc)
		rc = flags_take(argc, argv, ret, f);
	if (rc)
		return rc;
	if ((ret->devices || ret->device_memory) && !ret->demo && !ret->soft)
		return mp_fail_set(f, MP_CODE_CONFIG, "devices and device-memory make soft GPUs: they "
						      "need --soft or --demo");
	if (ret->check) {
		options_print(ret);
		return 1;
	}
	return 0;
}
