/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netperf: how good the way to each server is, as programs' data goes it.  The API
 * gives a secret for a minute; with it the data port is measured plain, where the
 * server takes plain lanes, and encrypted, through the helper that programs have.
 */
#include "cli/cli.h"
#include "base/check.h"
#include "base/clock.h"
#include "client/lanes.h"
#include "net/net.h"
#include "rpc/perf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool secret_parse(const char *hex, uint8_t to[32])
{
	size_t i;
	unsigned v;

	for (i = 0; i < 32; i++) {
		if (strlen(hex) < 2 * i + 2 || sscanf(hex + 2 * i, "%2x", &v) != 1)
			return false;
		to[i] = (uint8_t)v;
	}
	return true;
}

/* ":PORT" is where the API was reached; false for what this cannot dial. */
static bool address_make(const char *api, const char *data, char *to, size_t size)
{
	const char *colon = strrchr(api, ':');

	if (!strncmp(data, "unix:", 5) || !strncmp(data, "rdma:", 5) || !colon)
		return false;
	if (data[0] == ':')
		snprintf(to, size, "%.*s%s", (int)(colon - api), api, data);
	else
		snprintf(to, size, "%s", data);
	return true;
}

static int lane_measure(const char *address, const uint8_t secret[32], struct mp_perf *ret, struct mp_fail *f)
{
	struct mp_addr a;
	int fd, rc;

	if (mp_addr_parse(address, &a, f) < 0)
		return -1;
	fd = mp_net_connect(&a, 5000, f);
	if (fd < 0)
		return -1;
	mp_net_tune(fd);
	rc = mp_perf_measure(fd, secret, ret, f);
	close(fd);
	return rc;
}

static void row_add(json_t *rows, const char *server, const char *lane, double connect_ms, const struct mp_perf *m)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "server", server, "lane", lane,
					      "connect_ms", connect_ms, "round_trip_us", m->round_trip_us, "worst_us",
					      m->worst_us, "up_gbit_s", m->up_gb_s * 8, "down_gbit_s", m->down_gb_s * 8,
					      "one_way_records_s", m->one_way_s));
}

/* One address of the data port, both ways that it takes. */
static int data_measure(const struct mp_bundle *b, const char *api, const char *data, const uint8_t secret[32],
			double connect_ms, json_t *rows, struct mp_fail *f)
{
	bool only = !strncmp(data, MP_LANES_TLS, strlen(MP_LANES_TLS));
	char at[512], tls[600], helper[PATH_MAX + 8];
	struct mp_perf m;
	int keep = -1, rc = 0;

	if (!address_make(api, only ? data + strlen(MP_LANES_TLS) : data, at, sizeof(at)))
		return 0;
	if (!only) {
		rc = lane_measure(at, secret, &m, f);
		if (!rc)
			row_add(rows, api, "plain", connect_ms, &m);
	}
	snprintf(tls, sizeof(tls), MP_LANES_TLS "%s", at);
	if (!rc)
		rc = mp_lanes_start(tls, b->ca_file, helper, sizeof(helper), &keep, f);
	if (!rc)
		rc = lane_measure(helper, secret, &m, f);
	if (!rc)
		row_add(rows, api, "encrypted", connect_ms, &m);
	if (keep >= 0)
		close(keep);
	return rc;
}

static int server_measure(const struct mp_bundle *b, const char *address, json_t *rows, struct mp_fail *f)
{
	uint64_t t0 = mp_now_ns();
	json_t *j = NULL, *one;
	uint8_t secret[32];
	double connect_ms;
	size_t i;
	int rc = mp_client_call(b, address, "POST", "/v1/netperf", NULL, &j, f);

	if (rc < 0)
		return -1;
	connect_ms = (double)(mp_now_ns() - t0) / 1e6;
	if (!secret_parse(mp_cli_text(j, "secret"), secret)) {
		json_decref(j);
		return mp_fail_set(f, MP_CODE_FAILED, "%s gave no secret to measure with", address);
	}
	json_array_foreach(json_object_get(j, "data"), i, one) {
		if (rc < 0 || !json_is_string(one))
			break;
		rc = data_measure(b, address, json_string_value(one), secret, connect_ms, rows, f);
		if (rc < 0)
			f->code = MP_CODE_UNREACHABLE;
	}
	json_decref(j);
	return rc;
}

static void table_put(const json_t *rows, bool no_headers)
{
	static const char *const names[] = {"SERVER", "LANE", "CONNECT-MS", "ROUND-TRIP-US", "WORST-US", "UP-GBIT/S",
					    "DOWN-GBIT/S", "ONE-WAY/S"};
	static const struct {
		const char *key;
		int digits;
	} columns[] = {{"connect_ms", 2}, {"round_trip_us", 1}, {"worst_us", 1}, {"up_gbit_s", 2}, {"down_gbit_s", 2},
		       {"one_way_records_s", 0}};
	struct mp_table *t = mp_table_titled(names, MP_ARRAY_LEN(names));
	size_t i, k;
	json_t *r;

	json_array_foreach(rows, i, r) {
		mp_table_cell(t, "%s", mp_cli_text(r, "server"));
		mp_table_cell(t, "%s", mp_cli_text(r, "lane"));
		for (k = 0; k < MP_ARRAY_LEN(columns); k++)
			mp_table_cell(t, "%.*f", columns[k].digits, json_real_value(json_object_get(r, columns[k].key)));
	}
	mp_table_print(t, no_headers);
}

int mp_cli_netperf(struct mp_cli *c)
{
	json_t *rows = json_array(), *j;
	struct mp_fail f = {0};
	struct mp_bundle b;
	unsigned i;
	int rc = 0;

	if (mp_bundle_open(c->bundle, &b, &f) < 0)
		return mp_cli_fail(&f);
	for (i = 0; i < (c->server ? 1 : b.nservers); i++)
		if (server_measure(&b, c->server ? c->server : b.servers[i], rows, &f) < 0)
			rc = mp_cli_fail(&f);
	if (c->json) {
		j = json_pack("{s:i, s:O}", "schema_version", 1, "lanes", rows);
		mp_cli_print_json(j);
		json_decref(j);
	} else {
		table_put(rows, c->no_headers);
	}
	json_decref(rows);
	mp_bundle_close(&b);
	return rc;
}
