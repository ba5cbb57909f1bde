/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpool(1): one table of subcommands and one of options make the parser, the
 * dispatch and the help.
 */
#include "cli/table.h"
#include "base/check.h"
#include "base/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const struct mp_option_row mp_options[] = {
	{O_DEVICES, 'n', "devices", "N", "number of devices (1)"},
	{O_FRACTION, 'p', "partition", "F", "fraction of each device's memory, 0 < F <= 1, or 50%"},
	{O_MEMORY, 'm', "memory", "SIZE", "memory of each device in MiB, or with a unit: 2GiB"},
	{O_FILTER, 'f', "filter", "FILTER", "only such devices, repeatable: 'device.memory>=16GiB', device.name=A100"},
	{O_TIMEOUT, 't', "timeout", "T", "how long to wait for devices: 90, 30m, 2h; 0 does not wait (30m)"},
	{O_SERVER, 's', "server", "ADDR:PORT", "ask this server only"},
	{O_LOST_EXIT, 0, "lost-exit", "CODE", "exit with CODE when the lease ended before the program"},
	{O_NEW, 0, "new", NULL, "inside another run: ask for a lease of its own"},
	{O_CLIENT, 0, "client", "NAME", "whose token it is"},
	{O_ROLE, 0, "role", "ROLE", "read, use, operate or admin (use)"},
	{O_LIFETIME, 0, "lifetime", "T", "until it expires: 30d (365d)"},
	{O_OUTPUT, 'o', "output", "DIR", "write a token bundle into this new directory"},
	{O_NAME, 0, "name", "NAME", "which requested lease (default)"},
	{O_TTL, 0, "ttl", "T", "end the lease after this time, used or not"},
	{O_LINGER, 0, "linger", "T", "end the lease when nobody uses it for so long (10m)"},
	{O_PRINT_ENV, 0, "print-env", NULL, "print export lines for other shells and hosts"},
	{O_IDLE, 0, "idle", "T", "take devices back that had no work for so long"},
	{O_BY, 0, "by", "WHAT", "client, user, host or program (client)"},
	{O_SINCE, 0, "since", "T", "only the last such time: 30d"},
	{O_PASSPHRASE, 0, "passphrase-file", "FILE", "the authority's key goes along, under the first line of FILE"},
	{O_PRIORITY, 0, "priority", "P", "in the waiting line: low, normal or high (normal)"},
	{O_PLACEMENT, 0, "placement", "P", "pack or spread (as the pool is set)"},
	{O_OVERLAP, 0, "overlap", "T", "how long the old token still holds (24h)"},
	{O_BUNDLE, 0, "bundle", "DIR", "token bundle: ca.crt, token, servers (~/.config/motorpool)"},
	{O_JSON, 0, "json", NULL, "print JSON"},
	{O_NO_HEADERS, 0, "no-headers", NULL, "no line of column names"},
	{O_WATCH, 'w', "watch", NULL, "again every two seconds, until it is interrupted"},
	{O_HELP, 'h', "help", NULL, "this text"},
};

#define COMMON (BIT(O_BUNDLE) | BIT(O_SERVER) | BIT(O_HELP))

const struct mp_command mp_commands[] = {
	{"run", "[--] PROGRAM [ARG]...", "run a program with devices of the pool", mp_cli_run,
	 COMMON | BIT(O_DEVICES) | BIT(O_FRACTION) | BIT(O_MEMORY) | BIT(O_TIMEOUT) |
		 BIT(O_LOST_EXIT) | BIT(O_NEW) | BIT(O_FILTER) | BIT(O_PRIORITY) | BIT(O_PLACEMENT), 1, -1},
	{"request", "", "ask for a lease that several programs use", mp_cli_request,
	 COMMON | BIT(O_DEVICES) | BIT(O_FRACTION) | BIT(O_MEMORY) | BIT(O_TIMEOUT) | BIT(O_FILTER) |
		 BIT(O_PRIORITY) | BIT(O_PLACEMENT) | BIT(O_NAME) | BIT(O_TTL) | BIT(O_LINGER) |
		 BIT(O_PRINT_ENV) | BIT(O_JSON), 0, 0},
	{"use", "[--] PROGRAM [ARG]...", "run a program on a requested lease", mp_cli_use,
	 COMMON | BIT(O_NAME), 1, -1},
	{"client", "[--] PROGRAM [ARG]...", "the same as use", mp_cli_use, COMMON | BIT(O_NAME), 1, -1},
	{"release", "", "end a requested lease", mp_cli_release,
	 COMMON | BIT(O_NAME) | BIT(O_JSON), 0, 0},
	{"list", "", "servers, devices and what is free", mp_cli_list,
	 COMMON | BIT(O_WATCH) | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"smi", "", "devices and the programs on them, as a box", mp_cli_smi,
	 COMMON | BIT(O_WATCH) | BIT(O_JSON), 0, 0},
	{"lease list", "", "leases of the pool", mp_cli_lease_list,
	 COMMON | BIT(O_WATCH) | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"lease show", "LEASE", "one lease", mp_cli_lease_show, COMMON | BIT(O_JSON), 1, 1},
	{"lease kill", "LEASE", "end a lease and the use of its devices", mp_cli_lease_kill,
	 COMMON | BIT(O_JSON), 1, 1},
	{"server list", "", "servers of the pool, and whether they live", mp_cli_server_list,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"server add", "", "make a token with which a server joins the pool", mp_cli_server_add,
	 COMMON | BIT(O_LIFETIME) | BIT(O_JSON), 0, 0},
	{"server drain", "SERVER", "give no new leases on a server", mp_cli_server_change, COMMON | BIT(O_JSON), 1, 1},
	{"server undrain", "SERVER", "give leases on it again", mp_cli_server_change, COMMON | BIT(O_JSON), 1, 1},
	{"server remove", "SERVER", "forget a server that is down, its leases with it", mp_cli_server_change,
	 COMMON | BIT(O_JSON), 1, 1},
	{"device list", "", "the same as list", mp_cli_list, COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"device disable", "UUID", "give no new leases on a device", mp_cli_device_change, COMMON | BIT(O_JSON), 1, 1},
	{"device enable", "UUID", "give leases on it again", mp_cli_device_change, COMMON | BIT(O_JSON), 1, 1},
	{"setting list", "", "settings of the pool", mp_cli_setting_list,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"setting set", "NAME VALUE", "change a setting of the pool", mp_cli_setting_set, COMMON | BIT(O_JSON), 2, 2},
	{"ca show", "", "the pool's certificate authority, as bundles hold it", mp_cli_ca, COMMON | BIT(O_JSON), 0, 0},
	{"ca rotate", "", "a new authority; the old one is believed until it is retired", mp_cli_ca,
	 COMMON | BIT(O_JSON), 0, 0},
	{"ca csr", "", "a request for an authority that another one certifies, offline perhaps", mp_cli_ca,
	 COMMON | BIT(O_JSON), 0, 0},
	{"ca import", "FILE", "the certificate that came of it signs from now on, as after ca rotate", mp_cli_ca,
	 COMMON | BIT(O_JSON), 1, 1},
	{"ca retire", "", "believe the newest authority only", mp_cli_ca, COMMON | BIT(O_JSON), 0, 0},
	{"store migrate", "URL", "move the pool's state, from a file to etcd://HOST:PORT,...", mp_cli_store_migrate,
	 COMMON | BIT(O_JSON), 1, 1},
	{"backup", "FILE", "write what administrators have set to a new file", mp_cli_backup,
	 COMMON | BIT(O_PASSPHRASE) | BIT(O_JSON), 1, 1},
	{"restore", "FILE", "put a backup back; nothing that was revoked revives", mp_cli_restore,
	 COMMON | BIT(O_PASSPHRASE) | BIT(O_JSON), 1, 1},
	{"logs", "SERVER", "the last lines of a server's log", mp_cli_logs, COMMON | BIT(O_JSON), 1, 1},
	{"support-bundle", "", "a directory with what helps to find a fault, without secrets", mp_cli_support_bundle,
	 COMMON | BIT(O_OUTPUT) | BIT(O_JSON), 0, 0},
	{"netperf", "", "latency and bandwidth between here and the servers", mp_cli_netperf,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"limit list", "", "limits, and what clients hold", mp_cli_limit_list,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"limit set", "default|pool|CLIENT [DEVICES]", "how many devices at once, and how long idle",
	 mp_cli_limit_set, COMMON | BIT(O_IDLE) | BIT(O_JSON), 1, 2},
	{"limit clear", "default|pool|CLIENT", "no limits of its own any more", mp_cli_limit_clear,
	 COMMON | BIT(O_JSON), 1, 1},
	{"client list", "", "clients, their tokens, leases and limits", mp_cli_client_list,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"client disable", "CLIENT", "refuse all of a client's tokens", mp_cli_client_change, COMMON | BIT(O_JSON), 1, 1},
	{"client enable", "CLIENT", "take a client's tokens again", mp_cli_client_change, COMMON | BIT(O_JSON), 1, 1},
	{"health", "", "named checks of client and server, with remedies", mp_cli_health,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"stats", "", "GPU-hours by client, user, host or program", mp_cli_stats,
	 COMMON | BIT(O_WATCH) | BIT(O_BY) | BIT(O_SINCE) | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"audit", "", "who changed what", mp_cli_audit,
	 COMMON | BIT(O_SINCE) | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"token list", "", "tokens of the pool", mp_cli_token_list,
	 COMMON | BIT(O_JSON) | BIT(O_NO_HEADERS), 0, 0},
	{"token show", "TOKEN", "one token", mp_cli_token_show, COMMON | BIT(O_JSON), 1, 1},
	{"token create", "", "make a token for a client", mp_cli_token_create,
	 COMMON | BIT(O_CLIENT) | BIT(O_ROLE) | BIT(O_PRIORITY) | BIT(O_LIFETIME) | BIT(O_OUTPUT) | BIT(O_JSON), 0, 0},
	{"token activate", "TOKEN", "let a token ask again", mp_cli_token_change,
	 COMMON | BIT(O_JSON), 1, 1},
	{"token deactivate", "TOKEN", "no new leases with this token", mp_cli_token_change,
	 COMMON | BIT(O_JSON), 1, 1},
	{"token extend", "TOKEN", "let a token expire later", mp_cli_token_change,
	 COMMON | BIT(O_LIFETIME) | BIT(O_JSON), 1, 1},
	{"token reissue", "TOKEN", "a new token for the same client", mp_cli_token_reissue,
	 COMMON | BIT(O_OVERLAP) | BIT(O_OUTPUT) | BIT(O_JSON), 1, 1},
	{"token revoke", "TOKEN", "refuse a token for ever and end its leases", mp_cli_token_change,
	 COMMON | BIT(O_JSON), 1, 1},
	{"whoami", "", "who this bundle's token says you are", mp_cli_whoami, COMMON | BIT(O_JSON), 0, 0},
	{"completion", "bash|zsh|fish", "print what a shell needs to complete this command",
	 mp_cli_completion, BIT(O_HELP), 1, 1},
	{"man", "[COMMAND]...", "print a manual page", mp_cli_man, BIT(O_HELP), 0, 2},
	{"version", "", "the release of this command and of the server", mp_cli_version,
	 COMMON | BIT(O_JSON), 0, 0},
};

const size_t mp_noptions = MP_ARRAY_LEN(mp_options), mp_ncommands = MP_ARRAY_LEN(mp_commands);

/* One word or two: *ret_words says how many arguments the name took. */
static const struct mp_command *command_find(int argc, char **argv, int *ret_words)
{
	char two[64];
	size_t i;

	snprintf(two, sizeof(two), "%.30s %.30s", argv[1], argc > 2 ? argv[2] : "");
	/* "client disable" is not the program "disable" on a lease. */
	*ret_words = 2;
	for (i = 0; i < MP_ARRAY_LEN(mp_commands); i++)
		if (!strcmp(mp_commands[i].name, two))
			return &mp_commands[i];
	*ret_words = 1;
	for (i = 0; i < MP_ARRAY_LEN(mp_commands); i++)
		if (!strcmp(mp_commands[i].name, argv[1]))
			return &mp_commands[i];
	return NULL;
}

static bool number_parse(const char *text, long least, long most, long *ret)
{
	char *end;

	*ret = strtol(text, &end, 10);
	return end != text && !*end && *ret >= least && *ret <= most;
}

static int option_take(struct mp_cli *c, const struct mp_option_row *o, const char *arg,
		       struct mp_fail *f)
{
	bool good = true;
	long n = 0;

	switch (o->id) {
	case O_DEVICES:
		good = number_parse(arg, 1, 1024, &n);
		c->n = (unsigned)n;
		break;
	case O_LOST_EXIT:
		good = number_parse(arg, 0, 255, &n);
		c->lost_exit = (int)n;
		break;
	case O_FRACTION: good = mp_fraction_parse(arg, &c->fraction); break;
	case O_MEMORY: good = mp_size_parse(arg, &c->bytes); break;
	case O_TIMEOUT: good = mp_duration_parse(arg, &c->timeout_s); break;
	case O_LIFETIME: good = mp_duration_parse(arg, &c->lifetime_s) && c->lifetime_s > 0; break;
	case O_SERVER:
		c->server = arg;
		good = strchr(arg, ':') != NULL;
		break;
	case O_FILTER:
		good = c->nfilters < MP_ARRAY_LEN(c->filters);
		if (good)
			c->filters[c->nfilters++] = arg;
		break;
	case O_BUNDLE: c->bundle = arg; break;
	case O_CLIENT: c->client = arg; break;
	case O_ROLE: c->role = arg; break;
	case O_OUTPUT: c->output = arg; break;
	case O_NAME:
		c->name = arg;
		good = *arg && !strchr(arg, '/') && *arg != '.' && strlen(arg) < 64;
		break;
	case O_TTL: good = mp_duration_parse(arg, &c->ttl_s) && c->ttl_s > 0; break;
	case O_LINGER: good = mp_duration_parse(arg, &c->linger_s) && c->linger_s > 0; break;
	case O_IDLE: good = mp_duration_parse(arg, &c->idle_s); break;
	case O_PRINT_ENV: c->print_env = true; break;
	case O_PASSPHRASE: c->passphrase = arg; break;
	case O_PRIORITY:
		c->priority = arg;
		good = !strcmp(arg, "low") || !strcmp(arg, "normal") || !strcmp(arg, "high");
		break;
	case O_PLACEMENT:
		c->placement = arg;
		good = !strcmp(arg, "pack") || !strcmp(arg, "spread");
		break;
	case O_OVERLAP: good = mp_duration_parse(arg, &c->overlap_s); break;
	case O_BY: c->by = arg; break;
	case O_SINCE: good = mp_duration_parse(arg, &c->since_s); break;
	case O_JSON: c->json = true; break;
	case O_NO_HEADERS: c->no_headers = true; break;
	case O_WATCH: c->watch = true; break;
	case O_NEW: c->fresh = true; break;
	case O_HELP: break;
	}
	if (good)
		return 0;
	return mp_fail_set(f, MP_CODE_USAGE, "--%s does not take '%s': %s", o->name, arg, o->text);
}

/* 0 go on, 1 help was printed. */
static int options_take(struct mp_cli *c, const struct mp_command *cmd, int argc, char **argv,
			struct mp_fail *f)
{
	struct option longs[MP_ARRAY_LEN(mp_options) + 1] = {0};
	char letters[2 * MP_ARRAY_LEN(mp_options) + 3] = "+:";
	size_t i, at = 2;
	int o;

	/* What follows a program's name is the program's; elsewhere options may stand anywhere. */
	if (cmd->most >= 0)
		letters[0] = ':', at = 1;
	for (i = 0; i < MP_ARRAY_LEN(mp_options); i++) {
		longs[i] = (struct option){mp_options[i].name, mp_options[i].arg != NULL, NULL,
					   256 + (int)i};
		if (mp_options[i].letter) {
			letters[at++] = mp_options[i].letter;
			if (mp_options[i].arg)
				letters[at++] = ':';
		}
	}
	opterr = 0;
	while ((o = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (o == ':')
			return mp_fail_set(f, MP_CODE_USAGE, "%s needs a value", argv[optind - 1]);
		for (i = 0; i < MP_ARRAY_LEN(mp_options); i++)
			if (o == 256 + (int)i || (mp_options[i].letter && o == mp_options[i].letter))
				break;
		if (i == MP_ARRAY_LEN(mp_options) || !(cmd->options & BIT(mp_options[i].id)))
			return mp_fail_set(f, MP_CODE_USAGE,
					   "motorpool %s has no option %s; see motorpool %s --help",
					   cmd->name, argv[optind - 1], cmd->name);
		if (mp_options[i].id == O_HELP) {
			mp_cli_help(cmd);
			return 1;
		}
		if (option_take(c, &mp_options[i], optarg, f) < 0)
			return -1;
	}
	c->argc = argc - optind;
	c->argv = argv + optind;
	if (c->argc < cmd->least || (cmd->most >= 0 && c->argc > cmd->most))
		return mp_fail_set(f, MP_CODE_USAGE, "usage: motorpool %s [OPTION]...%s%s", cmd->name,
				   *cmd->args ? " " : "", cmd->args);
	return 0;
}

/* Under that name the subcommands have other names; options are the same. */
static void bitfusion_take(char **argv)
{
	static const char *const words[][2] = {{"list_gpus", "list"}, {"request_gpus", "request"},
					       {"release_gpus", "release"}};
	const char *slash = strrchr(argv[0], '/');
	size_t i;

	if (strcmp(slash ? slash + 1 : argv[0], "bitfusion"))
		return;
	for (i = 0; i < MP_ARRAY_LEN(words); i++)
		if (!strcmp(argv[1], words[i][0]))
			argv[1] = (char *)(uintptr_t)words[i][1];
}

/* Again and again; the first failure ends it.  Only a terminal is cleared. */
static int watch(const struct mp_command *cmd, struct mp_cli *c)
{
	const struct timespec pause = {.tv_sec = 2};
	int rc;

	do {
		if (isatty(1))
			fputs("\033[H\033[2J", stdout);
		rc = cmd->run(c);
		fflush(stdout);
	} while (!rc && nanosleep(&pause, NULL) == 0);
	return rc;
}

int main(int argc, char **argv)
{
	struct mp_cli c = {.n = 1, .timeout_s = 1800, .lost_exit = -1, .idle_s = -1, .overlap_s = 86400};
	const struct mp_command *cmd;
	struct mp_fail f = {0};
	int words, rc;

	mp_log_open(MP_LOG_ERROR);
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		mp_cli_help(NULL);
		return argc < 2 ? mp_code_row(MP_CODE_USAGE)->exit : 0;
	}
	bitfusion_take(argv);
	if (!strcmp(argv[1], "--version"))
		argv[1] = "version";
	cmd = command_find(argc, argv, &words);
	if (!cmd && (argc < 3 || !strcmp(argv[2], "--help") || !strcmp(argv[2], "-h")) && mp_cli_help_noun(argv[1]))
		return argc < 3 ? mp_code_row(MP_CODE_USAGE)->exit : 0;
	if (!cmd) {
		mp_fail_set(&f, MP_CODE_USAGE, "there is no command '%s'; see motorpool --help",
			    argv[1]);
		return mp_cli_fail(&f);
	}
	rc = options_take(&c, cmd, argc - words, argv + words, &f);
	if (rc < 0)
		return mp_cli_fail(&f);
	/* These want to know which verb it is. */
	if (cmd->run == mp_cli_token_change || cmd->run == mp_cli_client_change ||
	    cmd->run == mp_cli_server_change || cmd->run == mp_cli_ca || cmd->run == mp_cli_device_change)
		c.role = strchr(cmd->name, ' ') + 1;
	if (rc)
		return 0;
	return c.watch ? watch(cmd, &c) : cmd->run(&c);
}
