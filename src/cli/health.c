/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health: is this client well, and is the server?  Named checks, each with what
 * to do; the exit code says whether any failed.
 */
#include "cli/cli.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/version.h"
#include "base/where.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void add(json_t *rows, const char *check, const char *state, const char *text,
		const char *remedy)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", check, "where",
					      "client", "state", state, "text", text, "remedy",
					      remedy));
}

/* Which libcuda.so.1 a program gets: the first directory of LD_LIBRARY_PATH that has one. */
static void check_library(json_t *rows)
{
	char dir[4096], text[4300], path[4200], *copy, *save = NULL, *one;
	const char *env = getenv("LD_LIBRARY_PATH");
	bool have = mp_where(MP_PART_LIBDIR, dir, sizeof(dir));

	snprintf(text, sizeof(text), "run gives programs %s/libcuda.so.1", dir);
	add(rows, "drop-in", have ? "ok" : "fail", have ? text : "the drop-in libcuda.so.1 is missing",
	    have ? "" : "install the package again, or set MOTORPOOL_LIBDIR");
	copy = strdup(env ? env : "");
	for (one = strtok_r(copy, ":", &save); one; one = strtok_r(NULL, ":", &save)) {
		snprintf(path, sizeof(path), "%s/libcuda.so.1", one);
		if (access(path, F_OK) == 0 && strcmp(one, dir)) {
			snprintf(text, sizeof(text), "without run, programs of this shell get %s", path);
			add(rows, "library-path", "ok", text, "");
			break;
		}
	}
	free(copy);
}

/* What the kernel has learnt of the way: a small MTU in the middle costs speed, and may hide a broken one. */
static void check_mtu(const char *address, json_t *rows)
{
	int fd = -1, mtu = 0;
	socklen_t size = sizeof(mtu);
	struct mp_fail f = {0};
	struct mp_addr a;
	char text[400];

	if (mp_addr_parse(address, &a, &f) == 0)
		fd = mp_net_connect(&a, 3000, &f);
	if (fd < 0)
		return;
	if (a.u.sa.sa_family == AF_INET6)
		getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &size);
	else
		getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size);
	close(fd);
	snprintf(text, sizeof(text), "the way to %s takes packets of %d bytes", address, mtu);
	add(rows, "mtu", mtu < 1500 ? "warn" : "ok", text, mtu < 1500 ? "look for a tunnel, or a wrong MTU, on the way" : "");
}

static void check_server(struct mp_cli *c, const struct mp_bundle *b, const char *address,
			 json_t *rows)
{
	uint64_t t0 = mp_now_ns();
	struct mp_fail f = {0};
	json_t *v = NULL;
	char text[600];
	double ms;

	(void)c;
	if (mp_client_call(b, address, "GET", "/v1/version", NULL, &v, &f) < 0) {
		/* A sentence about clocks says itself what to do. */
		add(rows, "server", "fail", f.text, strstr(f.text, "clock") ? ""
						    : f.code == MP_CODE_CONFIG
							    ? "get a new token bundle"
							    : "start motorpoold there, or open its port");
		return;
	}
	ms = (double)(mp_now_ns() - t0) / 1e6;
	snprintf(text, sizeof(text), "%s answers in %.1f ms, TLS handshake included", address, ms);
	add(rows, "server", "ok", text, "");
	check_mtu(address, rows);
	snprintf(text, sizeof(text), "client %s, server %s", MP_VERSION, mp_cli_text(v, "version"));
	add(rows, "version", strcmp(MP_VERSION, mp_cli_text(v, "version")) ? "warn" : "ok", text,
	    strcmp(MP_VERSION, mp_cli_text(v, "version")) ? "install the same release on both" : "");
	json_decref(v);
}

static void check_clock(const json_t *health, json_t *rows)
{
	long long diff = (long long)time(NULL) - mp_cli_number(health, "time");
	char text[128];

	snprintf(text, sizeof(text), "the clocks of client and server differ by %lld s", llabs(diff));
	add(rows, "clock", llabs(diff) > 30 ? "fail" : llabs(diff) > 1 ? "warn" : "ok", text,
	    llabs(diff) > 1 ? "run a time service on both" : "");
}

static json_t *health_collect(struct mp_cli *c, long long *ret_throttled)
{
	json_t *rows = json_array(), *server = NULL;
	struct mp_fail f = {0};
	struct mp_bundle b;
	unsigned i;

	check_library(rows);
	if (mp_bundle_open(c->bundle, &b, &f) < 0) {
		add(rows, "bundle", "fail", f.text, "put the pool's token bundle there");
		return rows;
	}
	add(rows, "bundle", "ok", b.dir, "");
	if (c->server)
		check_server(c, &b, c->server, rows);
	for (i = 0; !c->server && i < b.nservers; i++)
		check_server(c, &b, b.servers[i], rows);
	if (mp_client_call(&b, c->server, "GET", "/v1/health", NULL, &server, &f) < 0) {
		add(rows, "token", "fail", f.text,
		    strstr(f.text, "clock") ? "" : "ask the pool's administrator for a new bundle");
	} else {
		add(rows, "token", "ok", "the token is taken", "");
		check_clock(server, rows);
		json_array_extend(rows, json_object_get(server, "checks"));
		*ret_throttled = mp_cli_number(server, "throttled");
		json_decref(server);
	}
	mp_bundle_close(&b);
	return rows;
}

int mp_cli_health(struct mp_cli *c)
{
	static const char *const names[] = {"STATE", "WHERE", "CHECK", "FINDING"};
	long long throttled = 0;
	json_t *rows = health_collect(c, &throttled), *r;
	struct mp_table *t = mp_table_titled(names, MP_ARRAY_LEN(names));
	bool failed = false;
	size_t i;

	json_array_foreach(rows, i, r) {
		const char *remedy = json_string_value(json_object_get(r, "remedy"));

		failed |= !strcmp(mp_cli_text(r, "state"), "fail");
		mp_table_cell(t, "%s", mp_cli_text(r, "state"));
		mp_table_cell(t, "%s", mp_cli_text(r, "where"));
		mp_table_cell(t, "%s", mp_cli_text(r, "check"));
		mp_table_cell(t, "%s%s%s", mp_cli_text(r, "text"), remedy && *remedy ? "; " : "",
			      remedy ? remedy : "");
	}
	if (c->json) {
		json_t *j = json_pack("{s:i, s:I, s:O}", "schema_version", 1, "throttled",
				      (json_int_t)throttled, "checks", rows);

		mp_cli_print_json(j);
		json_decref(j);
		mp_table_free(t);
	} else {
		mp_table_print(t, c->no_headers);
	}
	json_decref(rows);
	return failed ? mp_code_row(MP_CODE_UNHEALTHY)->exit : 0;
}
