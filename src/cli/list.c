/* SPDX-License-Identifier: Apache-2.0 */
/* list, smi, lease, version, whoami: what the pool is and who uses it. */
#include "cli/cli.h"
#include "base/check.h"
#include "base/version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1ll << 20)

/* "2 x 50%", "1 x 2048 MiB", "4 whole". */
static const char *want_print(const json_t *e, char text[64])
{
	long long n = mp_cli_number(e, "devices"), bytes = mp_cli_number(e, "bytes");
	double part = (double)mp_cli_number(e, "fraction_millionths") / 10000;

	if (part > 0)
		snprintf(text, 64, "%lld x %g%%", n, part);
	else if (bytes)
		snprintf(text, 64, "%lld x %lld MiB", n, bytes / MIB);
	else
		snprintf(text, 64, "%lld whole", n);
	return text;
}

static void line_print(const json_t *line, bool no_headers)
{
	static const char *const names[] = {"PLACE", "CLIENT", "PRIORITY", "WAITS-S", "WANTS", "RESERVES"};
	struct mp_table *t = mp_table_titled(names, MP_ARRAY_LEN(names));
	const json_t *e;
	char text[64];
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)line, i, e) {
		mp_table_cell(t, "%lld", mp_cli_number(e, "place"));
		mp_table_cell(t, "%s", mp_cli_text(e, "client"));
		mp_table_cell(t, "%s", mp_cli_text(e, "priority"));
		mp_table_cell(t, "%lld", (long long)time(NULL) - mp_cli_number(e, "since"));
		mp_table_cell(t, "%s", want_print(e, text));
		mp_table_cell(t, "%s", mp_cli_text(e, "reserves"));
	}
	puts("");
	mp_table_print(t, no_headers);
}

int mp_cli_list(struct mp_cli *c)
{
	static const char *const names[] = {"SERVER", "DEVICE", "MODEL", "CAPABILITY", "TOTAL-MIB",
					    "FREE-MIB", "LEASES", "STATE", "UUID"};
	json_t *pool, *server, *d;
	struct mp_table *t;
	bool ptx = false;
	size_t i, k;
	int rc;

	pool = mp_cli_ask(c, "GET", "/v1/pool", NULL, &rc);
	if (!pool)
		return rc;
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	for (i = 4; i < 7; i++)
		mp_table_right(t, (unsigned)i);
	json_array_foreach(json_object_get(pool, "servers"), i, server) {
		json_array_foreach(json_object_get(server, "devices"), k, d) {
			mp_table_cell(t, "%s", mp_cli_text(server, "name"));
			mp_table_cell(t, "%lld", mp_cli_number(d, "index"));
			mp_table_cell(t, "%s%s", mp_cli_text(d, "name"),
				      strcmp(mp_cli_text(d, "code"), "ptx") ? "" : " *");
			ptx = ptx || !strcmp(mp_cli_text(d, "code"), "ptx");
			mp_table_cell(t, "%s", mp_cli_text(d, "capability"));
			mp_table_cell(t, "%lld", mp_cli_number(d, "memory") / MIB);
			mp_table_cell(t, "%lld", mp_cli_number(d, "free") / MIB);
			mp_table_cell(t, "%lld", mp_cli_number(d, "leases"));
			/* What is wrong with the whole server is said of each device. */
			mp_table_cell(t, "%s", strcmp(mp_cli_text(server, "state"), "ok")
						       ? mp_cli_text(server, "state")
						       : mp_cli_text(d, "state"));
			mp_table_cell(t, "%s", mp_cli_text(d, "uuid"));
		}
	}
	mp_table_print(t, c->no_headers);
	if (ptx && !c->no_headers)
		puts("* runs PTX alone: programs get Motorpool's libcublas and libcublasLt there (MOTORPOOL_BLAS=0: their own)");
	if (json_array_size(json_object_get(pool, "line")))
		line_print(json_object_get(pool, "line"), c->no_headers);
	json_decref(pool);
	return 0;
}

/* ---- Leases ---- */

static void lease_row(struct mp_table *t, const json_t *l)
{
	long long bytes = 0, used = 0;
	json_t *devices = json_object_get(l, "devices"), *d;
	char which[128] = "";
	size_t i, n = 0;

	json_array_foreach(devices, i, d) {
		bytes += mp_cli_number(d, "bytes");
		used += mp_cli_number(d, "used");
		if (n < sizeof(which) - 16)
			n += (size_t)snprintf(which + n, sizeof(which) - n, "%s%lld", i ? "," : "",
					      mp_cli_number(d, "index"));
	}
	mp_table_cell(t, "%s", mp_cli_text(l, "id"));
	mp_table_cell(t, "%s", mp_cli_text(l, "server"));
	mp_table_cell(t, "%s", which);
	mp_table_cell(t, "%lld", bytes / MIB);
	mp_table_cell(t, "%lld", used / MIB);
	mp_table_cell(t, "%s", mp_cli_text(l, "state"));
	mp_table_cell(t, "%s", mp_cli_text(l, "client"));
	mp_table_cell(t, "%s", mp_cli_text(l, "user"));
	mp_table_cell(t, "%s", mp_cli_text(l, "host"));
	mp_table_cell(t, "%s", mp_cli_text(l, "program"));
}

static const char *const lease_names[] = {"LEASE", "SERVER", "DEVICES", "MIB", "USED-MIB",
					  "STATE", "CLIENT", "USER", "HOST", "PROGRAM"};

static void leases_print(const json_t *list, bool no_headers)
{
	struct mp_table *t = mp_table_titled(lease_names, MP_ARRAY_LEN(lease_names));
	json_t *l;
	size_t i;

	mp_table_right(t, 3);
	mp_table_right(t, 4);
	json_array_foreach(list, i, l)
		lease_row(t, l);
	mp_table_print(t, no_headers);
}

int mp_cli_lease_list(struct mp_cli *c)
{
	json_t *pool, *leases;
	int rc;

	pool = mp_cli_call(c, "GET", "/v1/pool", NULL, &rc);
	if (!pool)
		return rc;
	leases = json_object_get(pool, "leases");
	if (c->json) {
		json_t *j = json_pack("{s:i, s:O}", "schema_version", 1, "leases", leases);

		rc = mp_cli_print_json(j);
		json_decref(j);
	} else {
		leases_print(leases, c->no_headers);
	}
	json_decref(pool);
	return rc;
}

int mp_cli_lease_show(struct mp_cli *c)
{
	json_t *l, *list;
	char path[128];
	int rc;

	snprintf(path, sizeof(path), "/v1/leases/%.64s", c->argv[0]);
	l = mp_cli_call(c, "GET", path, NULL, &rc);
	if (!l)
		return rc;
	if (c->json) {
		rc = mp_cli_print_json(l);
	} else {
		list = json_pack("[O]", l);
		leases_print(list, false);
		json_decref(list);
	}
	json_decref(l);
	return rc;
}

int mp_cli_lease_kill(struct mp_cli *c)
{
	char path[128];
	json_t *j;
	int rc;

	snprintf(path, sizeof(path), "/v1/leases/%.64s", c->argv[0]);
	j = mp_cli_call(c, "DELETE", path, NULL, &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	json_decref(j);
	return rc;
}

/* ---- The box ---- */

#define BOX_WIDTH 96

static void rule(char c)
{
	putchar('+');
	for (int i = 0; i < BOX_WIDTH - 2; i++)
		putchar(c);
	puts("+");
}

static void MP_PRINTF(1, 2) line(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("| %-*.*s |\n", BOX_WIDTH - 4, BOX_WIDTH - 4, text);
}

static void smi_device(const json_t *d)
{
	long long total = mp_cli_number(d, "memory") / MIB, left = mp_cli_number(d, "free") / MIB;
	bool exclusive = json_is_true(json_object_get(d, "exclusive"));

	if (exclusive)
		left = 0;
	line("%4lld  %-30.30s %5s  %8lld MiB / %8lld MiB  %4lld  %s", mp_cli_number(d, "index"),
	     mp_cli_text(d, "name"), mp_cli_text(d, "capability"), total - left, total,
	     mp_cli_number(d, "leases"),
	     exclusive ? "whole" : mp_cli_number(d, "leases") ? "shared" : "idle");
}

static unsigned smi_processes(const json_t *leases, const char *server)
{
	json_t *l, *p, *d;
	char devices[64];
	size_t i, k, m, n;
	unsigned count = 0;

	json_array_foreach(leases, i, l) {
		if (strcmp(mp_cli_text(l, "server"), server))
			continue;
		n = 0;
		devices[0] = 0;
		json_array_foreach(json_object_get(l, "devices"), m, d)
			if (n < sizeof(devices) - 8)
				n += (size_t)snprintf(devices + n, sizeof(devices) - n, "%s%lld",
						      m ? "," : "", mp_cli_number(d, "index"));
		json_array_foreach(json_object_get(l, "processes"), k, p) {
			line("%4.8s  %-17.17s %-12.12s %-16.16s %8lld  %-14.14s %6lld MiB", devices,
			     mp_cli_text(l, "id"), mp_cli_text(l, "user"), mp_cli_text(l, "host"),
			     mp_cli_number(p, "pid"), mp_cli_text(p, "program"),
			     mp_cli_number(p, "used") / MIB);
			count++;
		}
		if (!json_array_size(json_object_get(l, "processes"))) {
			line("%4.8s  %-17.17s %-12.12s %-16.16s %8s  %-14.14s %6d MiB", devices,
			     mp_cli_text(l, "id"), mp_cli_text(l, "user"), mp_cli_text(l, "host"),
			     "-", "(no program yet)", 0);
			count++;
		}
	}
	return count;
}

int mp_cli_smi(struct mp_cli *c)
{
	json_t *pool, *s, *d;
	size_t i, k;
	int rc;

	pool = mp_cli_ask(c, "GET", "/v1/pool", NULL, &rc);
	if (!pool)
		return rc;
	json_array_foreach(json_object_get(pool, "servers"), i, s) {
		rule('-');
		line("Motorpool %s   server %s   driver %s   CUDA %s", MP_VERSION,
		     mp_cli_text(s, "name"), mp_cli_text(s, "driver_version"),
		     mp_cli_text(s, "cuda_version"));
		rule('-');
		line("%4s  %-30s %5s  %12s / %12s  %4s  %s", "GPU", "Model", "Cap.", "Lent", "Memory",
		     "Used", "");
		rule('=');
		json_array_foreach(json_object_get(s, "devices"), k, d)
			smi_device(d);
		rule('-');
		line("%4s  %-17s %-12s %-16s %8s  %-14s %10s", "GPU", "Lease", "User", "Host", "PID",
		     "Program", "Memory");
		rule('=');
		if (!smi_processes(json_object_get(pool, "leases"), mp_cli_text(s, "name")))
			line("no leases");
		rule('-');
	}
	json_decref(pool);
	return 0;
}

/* ---- Who and what ---- */

int mp_cli_version(struct mp_cli *c)
{
	struct mp_bundle b;
	struct mp_fail f = {0};
	json_t *server = NULL;

	/* The command's own release is worth telling without a pool, too. */
	if (mp_bundle_open(c->bundle, &b, &f) == 0) {
		mp_client_call(&b, c->server, "GET", "/v1/version", NULL, &server, &f);
		mp_bundle_close(&b);
	}
	if (c->json) {
		json_t *j = json_pack("{s:i, s:s, s:s?}", "schema_version", 1, "motorpool", MP_VERSION,
				      "server",
				      json_string_value(json_object_get(server, "version")));

		mp_cli_print_json(j);
		json_decref(j);
	} else {
		printf("motorpool %s\n", MP_VERSION);
		if (server)
			printf("server    %s\n", mp_cli_text(server, "version"));
	}
	json_decref(server);
	return 0;
}

int mp_cli_whoami(struct mp_cli *c)
{
	json_t *j;
	int rc;

	j = mp_cli_call(c, "GET", "/v1/whoami", NULL, &rc);
	if (!j)
		return rc;
	if (c->json)
		rc = mp_cli_print_json(j);
	else
		printf("client %s, role %s, token %s\n", mp_cli_text(j, "client"),
		       mp_cli_text(j, "role"), mp_cli_text(j, "token"));
	json_decref(j);
	return rc;
}
