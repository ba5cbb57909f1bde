/* SPDX-License-Identifier: Apache-2.0 */
/* stats, audit: who used how much, who did what. */
#include "cli/cli.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int mp_cli_stats(struct mp_cli *c)
{
	const char *by = c->by ? c->by : "client", *name;
	struct mp_table *t;
	json_t *j, *row;
	char path[128];
	int rc;

	snprintf(path, sizeof(path), "/v1/stats?by=%.32s&since=%lld", by,
		 (long long)(c->since_s ? (int64_t)time(NULL) - c->since_s : 0));
	j = mp_cli_ask(c, "GET", path, NULL, &rc);
	if (!j)
		return rc;
	t = mp_table_new(3);
	mp_table_right(t, 1);
	mp_table_right(t, 2);
	mp_table_cell(t, "%s", !strcmp(by, "client") ? "CLIENT" : !strcmp(by, "user") ? "USER"
				: !strcmp(by, "host") ? "HOST" : "PROGRAM");
	mp_table_cell(t, "LEASES");
	mp_table_cell(t, "GPU-HOURS");
	json_object_foreach(json_object_get(j, "use"), name, row) {
		mp_table_cell(t, "%s", name);
		mp_table_cell(t, "%lld", mp_cli_number(row, "leases"));
		mp_table_cell(t, "%.3f", json_real_value(json_object_get(row, "gpu_seconds")) / 3600);
	}
	mp_table_print(t, c->no_headers);
	json_decref(j);
	return 0;
}

int mp_cli_audit(struct mp_cli *c)
{
	static const char *const names[] = {"TIME", "WHO", "FROM", "WHAT", "OBJECT", "OUTCOME"};
	struct mp_table *t;
	json_t *j, *row;
	char path[128], text[32];
	struct tm tm;
	time_t when;
	size_t i, k;
	int rc;

	snprintf(path, sizeof(path), "/v1/audit?since=%lld",
		 (long long)(c->since_s ? (int64_t)time(NULL) - c->since_s : 0));
	j = mp_cli_ask(c, "GET", path, NULL, &rc);
	if (!j)
		return rc;
	t = mp_table_titled(names, MP_ARRAY_LEN(names));
	json_array_foreach(json_object_get(j, "audit"), i, row) {
		static const char *const fields[] = {"who", "from", "what", "object", "outcome"};

		when = (time_t)mp_cli_number(row, "time");
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
		mp_table_cell(t, "%s", text);
		for (k = 0; k < MP_ARRAY_LEN(fields); k++)
			mp_table_cell(t, "%s", mp_cli_text(row, fields[k]));
	}
	mp_table_print(t, c->no_headers);
	json_decref(j);
	return 0;
}
