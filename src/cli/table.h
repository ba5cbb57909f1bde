/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two tables that make parser, dispatch, help, manual pages and completion.
 * Private to the room; the tables are in main.c.
 */
#ifndef MP_CLI_TABLE_H
#define MP_CLI_TABLE_H

#include "cli/cli.h"

#include <stddef.h>

enum mp_option_id {
	O_DEVICES = 1, O_FRACTION, O_MEMORY, O_TIMEOUT, O_SERVER, O_BUNDLE, O_JSON, O_NO_HEADERS,
	O_LOST_EXIT, O_NEW, O_FILTER, O_CLIENT, O_ROLE, O_LIFETIME, O_OUTPUT, O_NAME, O_TTL, O_LINGER,
	O_PRINT_ENV, O_IDLE, O_BY, O_SINCE, O_OVERLAP, O_PRIORITY, O_PLACEMENT, O_PASSPHRASE, O_WATCH,
	O_HELP
};
#define BIT(o) (1ull << (o))

struct mp_option_row {
	enum mp_option_id id;
	char letter; /* 0: none */
	const char *name, *arg, *text;
};

struct mp_command {
	const char *name, *args, *text;
	int (*run)(struct mp_cli *c);
	uint64_t options; /* bits of mp_option_id */
	int least, most;  /* arguments after the options; most -1: any, and they end the options */
};

extern const struct mp_option_row mp_options[];
extern const struct mp_command mp_commands[];
extern const size_t mp_noptions, mp_ncommands;

/* NULL: of the whole command. */
void mp_cli_help(const struct mp_command *c);
/* The commands of a noun; false when there are none. */
bool mp_cli_help_noun(const char *noun);
int mp_cli_completion(struct mp_cli *c);
int mp_cli_man(struct mp_cli *c);

#endif
