/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command: what its subcommands share.  Private to the room.
 *
 * Data goes to stdout, all else to stderr.  A subcommand returns the exit code.
 */
#ifndef MP_CLI_H
#define MP_CLI_H

#include "client/client.h"

#include <stdbool.h>

/* Options of all subcommands, in one table; each subcommand names the ones it takes. */
struct mp_cli {
	const char *bundle, *server;
	const char *filters[32];
	unsigned nfilters;
	bool json, no_headers, watch;
	/* run */
	unsigned n;
	uint32_t fraction;
	uint64_t bytes;
	int64_t timeout_s;
	const char *priority, *placement;
	int lost_exit; /* -1: the program's own status */
	bool fresh;
	/* request, use, release */
	const char *name;
	int64_t ttl_s, linger_s;
	bool print_env;
	/* stats, audit */
	const char *by;
	int64_t since_s;
	/* limit */
	int64_t idle_s; /* -1: not given */
	/* token */
	const char *client, *role, *output;
	int64_t lifetime_s, overlap_s;
	const char *passphrase; /* file of it */
	int argc; /* what is left after the options */
	char **argv;
};

/* Prints the sentence, returns the exit code. */
int mp_cli_fail(const struct mp_fail *f);
/* Opens the bundle and asks; NULL when it failed, *ret_exit then says with what. */
json_t *mp_cli_call(const struct mp_cli *c, const char *method, const char *path, json_t *own_body,
		    int *ret_exit);
/* The same; with --json the answer is printed and NULL returned: the command is over. */
json_t *mp_cli_ask(const struct mp_cli *c, const char *method, const char *path, json_t *own_body,
		   int *ret_exit);
int mp_cli_print_json(const json_t *j);
const char *mp_cli_text(const json_t *o, const char *key);
long long mp_cli_number(const json_t *o, const char *key);

/* A table of columns that fit their contents: two spaces between, no borders. */
struct mp_table;
struct mp_table *mp_table_new(unsigned columns);
struct mp_table *mp_table_titled(const char *const *names, unsigned n); /* with its first row */
/* `columns` cells in a row, copied; a cell "-" for nothing. */
void mp_table_cell(struct mp_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Align column i to the right. */
void mp_table_right(struct mp_table *t, unsigned i);
void mp_table_print(struct mp_table *own_table, bool skip_first_row);
void mp_table_free(struct mp_table *own_table);

/* Sets what a program needs to find this lease: variables and library path. */
int mp_cli_environment(const json_t *lease, const char *data, const char *server,
		       struct mp_fail *f);
/* The same on a lease that others hold: with a helper of its own where lanes are encrypted. */
int mp_cli_join(struct mp_cli *c, const char *data);
/* Becomes the program of c->argv; returns only on failure, with the exit code. */
int mp_cli_become(struct mp_cli *c);

int mp_cli_run(struct mp_cli *c);
int mp_cli_request(struct mp_cli *c);
int mp_cli_use(struct mp_cli *c);
int mp_cli_release(struct mp_cli *c);
int mp_cli_server_add(struct mp_cli *c);
int mp_cli_store_migrate(struct mp_cli *c);
int mp_cli_backup(struct mp_cli *c);
int mp_cli_restore(struct mp_cli *c);
int mp_cli_logs(struct mp_cli *c);
int mp_cli_support_bundle(struct mp_cli *c);
int mp_cli_netperf(struct mp_cli *c);
int mp_cli_ca(struct mp_cli *c);
int mp_cli_server_list(struct mp_cli *c);
int mp_cli_server_change(struct mp_cli *c);
int mp_cli_device_list(struct mp_cli *c);
int mp_cli_device_change(struct mp_cli *c);
int mp_cli_setting_list(struct mp_cli *c);
int mp_cli_setting_set(struct mp_cli *c);
int mp_cli_health(struct mp_cli *c);
int mp_cli_stats(struct mp_cli *c);
int mp_cli_audit(struct mp_cli *c);
int mp_cli_limit_list(struct mp_cli *c);
int mp_cli_limit_set(struct mp_cli *c);
int mp_cli_limit_clear(struct mp_cli *c);
int mp_cli_client_list(struct mp_cli *c);
int mp_cli_client_change(struct mp_cli *c);
int mp_cli_list(struct mp_cli *c);
int mp_cli_smi(struct mp_cli *c);
int mp_cli_version(struct mp_cli *c);
int mp_cli_whoami(struct mp_cli *c);
int mp_cli_lease_list(struct mp_cli *c);
int mp_cli_lease_show(struct mp_cli *c);
int mp_cli_lease_kill(struct mp_cli *c);
int mp_cli_token_list(struct mp_cli *c);
int mp_cli_token_show(struct mp_cli *c);
int mp_cli_token_create(struct mp_cli *c);
int mp_cli_token_reissue(struct mp_cli *c);
int mp_cli_token_change(struct mp_cli *c);

#endif
