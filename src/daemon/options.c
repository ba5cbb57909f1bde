/* SPDX-License-Identifier: Apache-2.0 */
/* motorpoold's command line: one table makes the parser and the help. */
#include "daemon/options.h"
#include "client/client.h"
#include "base/check.h"
#include "base/version.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_COUNT, OPTION_SIZE };

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
	ROW("name", "NAME", OPTION_TEXT, name, "this server's name in lists (the host's name)"),
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
	puts("  --help                 this text\n  --version              the release");
	puts("\nTo try Motorpool on this machine: motorpoold --demo");
}

static int option_set(struct mp_options *o, const struct row *r, const char *text,
		      struct mp_fail *f)
{
	void *to = (char *)o + r->offset;
	unsigned long n;
	char *end;

	switch (r->kind) {
	case OPTION_FLAG: *(bool *)to = true; return 0;
	case OPTION_TEXT:
		if (!*text)
			return mp_fail_set(f, MP_CODE_USAGE, "--%s needs a value", r->name);
		*(const char **)to = text;
		return 0;
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

int mp_options_parse(int argc, char **argv, struct mp_options *ret, struct mp_fail *f)
{
	struct option longs[MP_ARRAY_LEN(rows) + 3] = {0};
	size_t i;
	int c, at;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		longs[i] = (struct option){rows[i].name, rows[i].arg != NULL, NULL, 'o'};
	longs[i++] = (struct option){"help", 0, NULL, 'h'};
	longs[i] = (struct option){"version", 0, NULL, 'v'};
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
		if (c != 'o')
			return mp_fail_set(f, MP_CODE_USAGE, c == ':' ? "%s needs a value"
								      : "unknown option %s; see "
									"motorpoold --help",
					   argv[optind - 1]);
		if (option_set(ret, &rows[at], optarg, f) < 0)
			return -1;
	}
	if (optind < argc)
		return mp_fail_set(f, MP_CODE_USAGE, "motorpoold takes no argument '%s'",
				   argv[optind]);
	if ((ret->devices || ret->device_memory) && !ret->demo && !ret->soft)
		return mp_fail_set(f, MP_CODE_USAGE, "--devices and --device-memory make soft GPUs: "
						     "they need --soft or --demo");
	return 0;
}
