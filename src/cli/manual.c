/* SPDX-License-Identifier: Apache-2.0 */
/* Help, manual pages and shell completion, all from the tables. */
#include "cli/table.h"
#include "base/check.h"
#include "base/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool takes(const struct mp_command *c, const struct mp_option_row *o)
{
	return c->options & BIT(o->id);
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static void help_all(void)
{
	size_t i;

	puts("Usage: motorpool COMMAND [OPTION]... [ARGUMENT]...\n\n"
	     "Runs CUDA programs on GPUs that sit in a pool of servers.\n");
	for (i = 0; i < mp_ncommands; i++)
		printf("  %-18s %s\n", mp_commands[i].name, mp_commands[i].text);
	puts("\nmotorpool COMMAND --help says more.");
}

void mp_cli_help(const struct mp_command *c)
{
	const struct mp_option_row *o;
	char left[64];

	if (!c) {
		help_all();
		return;
	}
	printf("Usage: motorpool %s [OPTION]...%s%s\n\n%c%s.\n\n", c->name, *c->args ? " " : "", c->args,
	       upper(c->text[0]), c->text + 1);
	for (o = mp_options; o < mp_options + mp_noptions; o++) {
		if (!takes(c, o))
			continue;
		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-26s %s\n", left, o->text);
	}
}

bool mp_cli_help_noun(const char *noun)
{
	const struct mp_command *c;
	size_t n = strlen(noun);
	bool any = false;

	for (c = mp_commands; c < mp_commands + mp_ncommands; c++) {
		if (strncmp(c->name, noun, n) || c->name[n] != ' ')
			continue;
		if (!any)
			printf("Usage: motorpool %s VERB [OPTION]... [ARGUMENT]...\n\n", noun);
		printf("  %-18s %s\n", c->name, c->text);
		any = true;
	}
	return any;
}

/* ---- Manual pages, man(7) ---- */

/* A dash is a hyphen in roff unless it is told; a leading dot would be a request. */
static void roff(const char *text)
{
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '\'')
			fputs("\\(aq", stdout);
		else
			putchar(*text);
	}
}

static void roff_option(const struct mp_option_row *o)
{
	fputs(".TP\n", stdout);
	if (o->letter)
		printf("\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", stdout);
	roff(o->name);
	fputs("\\fR", stdout);
	if (o->arg) {
		fputs(" \\fI", stdout);
		roff(o->arg);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	roff(o->text);
	putchar('\n');
}

static void roff_codes(void)
{
	const struct mp_code_row *row;
	int i;

	puts(".SH EXIT STATUS");
	for (i = 0; i < MP_CODE_COUNT; i++) {
		row = mp_code_row((enum mp_code)i);
		printf(".TP\n.B %d\n", row->exit);
		roff(row->text);
		putchar('\n');
	}
}

static void roff_files(void)
{
	static const char *const rows[][2] = {
		{"~/.config/motorpool, /etc/motorpool", "where the token bundle is looked up: ca.crt, token, servers"},
		{"MOTORPOOL_BUNDLE", "another directory for it"},
		{"MOTORPOOL_LIBDIR", "where the drop-in libraries are"},
		{"MOTORPOOL_LOG", "error, warn, info or debug, or LEVEL:FILE"},
	};
	size_t i;

	puts(".SH FILES AND ENVIRONMENT");
	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		fputs(".TP\n.B ", stdout);
		roff(rows[i][0]);
		putchar('\n');
		roff(rows[i][1]);
		putchar('\n');
	}
}

static void man_all(void)
{
	size_t i;

	puts(".TH MOTORPOOL 1 \"\" \"Motorpool " MP_VERSION "\" \"User commands\"\n.SH NAME\n"
	     "motorpool \\- run CUDA programs on GPUs of a pool\n.SH SYNOPSIS\n"
	     ".B motorpool\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH DESCRIPTION\n"
	     "Runs unmodified CUDA programs on GPUs, whole or in part, that sit in a pool of\n"
	     "servers.  Each command has a page of its own: \\fBmotorpool-run\\fR(1) and so on.\n"
	     ".SH COMMANDS");
	for (i = 0; i < mp_ncommands; i++) {
		fputs(".TP\n.B ", stdout);
		roff(mp_commands[i].name);
		putchar('\n');
		roff(mp_commands[i].text);
		putchar('\n');
	}
	roff_codes();
	roff_files();
}

static void man_one(const struct mp_command *c)
{
	const struct mp_option_row *o;
	char title[64];
	size_t i;

	snprintf(title, sizeof(title), "motorpool-%s", c->name);
	for (i = 0; title[i]; i++)
		title[i] = title[i] == ' ' ? '-' : upper(title[i]);
	fputs(".TH ", stdout);
	roff(title);
	puts(" 1 \"\" \"Motorpool " MP_VERSION "\" \"User commands\"\n.SH NAME");
	fputs("motorpool ", stdout);
	roff(c->name);
	fputs(" \\- ", stdout);
	roff(c->text);
	fputs("\n.SH SYNOPSIS\n.B motorpool ", stdout);
	roff(c->name);
	fputs("\n[\\fIOPTION\\fR]... ", stdout);
	roff(c->args);
	puts("\n.SH OPTIONS");
	for (o = mp_options; o < mp_options + mp_noptions; o++)
		if (takes(c, o))
			roff_option(o);
	roff_codes();
	puts(".SH SEE ALSO\n.BR motorpool (1)");
}

int mp_cli_man(struct mp_cli *c)
{
	struct mp_fail f = {0};
	char name[64];
	size_t i;

	if (!c->argc) {
		man_all();
		return 0;
	}
	snprintf(name, sizeof(name), "%.30s%s%.30s", c->argv[0], c->argc > 1 ? " " : "",
		 c->argc > 1 ? c->argv[1] : "");
	for (i = 0; i < mp_ncommands; i++)
		if (!strcmp(mp_commands[i].name, name)) {
			man_one(&mp_commands[i]);
			return 0;
		}
	mp_fail_set(&f, MP_CODE_USAGE, "there is no command '%s'", name);
	return mp_cli_fail(&f);
}

/* ---- Completion ---- */

/* First words of the commands, each once. */
static void words_print(const char *before, const char *after)
{
	size_t i, k, n;

	for (i = 0; i < mp_ncommands; i++) {
		n = strcspn(mp_commands[i].name, " ");
		for (k = 0; k < i; k++)
			if (!strncmp(mp_commands[k].name, mp_commands[i].name, n) &&
			    strchr(" ", mp_commands[k].name[n]))
				break;
		if (k == i)
			printf("%s%.*s%s", before, (int)n, mp_commands[i].name, after);
	}
}

static void options_print(const struct mp_command *c)
{
	const struct mp_option_row *o;

	for (o = mp_options; o < mp_options + mp_noptions; o++)
		if (takes(c, o))
			printf(" --%s", o->name);
}

/* The second words of the commands that share command i's first one, if i is the first of them. */
static void seconds_print(size_t i)
{
	const char *second = strchr(mp_commands[i].name, ' ');
	size_t n = second ? (size_t)(second - mp_commands[i].name) + 1 : 0, k;

	for (k = 0; k < i; k++)
		if (n && !strncmp(mp_commands[k].name, mp_commands[i].name, n))
			return;
	if (!n)
		return;
	printf("\t\t\t%.*s) words=\"$words", (int)n - 1, mp_commands[i].name);
	for (; k < mp_ncommands; k++)
		if (!strncmp(mp_commands[k].name, mp_commands[i].name, n))
			printf(" %s", mp_commands[k].name + n);
	puts("\" ;;");
}

static void bash_print(void)
{
	size_t i;
	const char *second;

	puts("# bash completion of motorpool(1)\n_motorpool() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} one=${COMP_WORDS[1]-} two=${COMP_WORDS[2]-} words=\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	fputs("\t\twords=\"", stdout);
	words_print(" ", "");
	puts("\"\n\telse\n\t\tcase \"$one $two\" in");
	for (i = 0; i < mp_ncommands; i++) {
		second = strchr(mp_commands[i].name, ' ');
		if (!second)
			continue;
		printf("\t\t\"%s\")words=\"", mp_commands[i].name);
		options_print(&mp_commands[i]);
		puts("\" ;;");
	}
	for (i = 0; i < mp_ncommands; i++) {
		if (strchr(mp_commands[i].name, ' '))
			continue;
		printf("\t\t\"%s \"*) words=\"", mp_commands[i].name);
		options_print(&mp_commands[i]);
		puts("\" ;;");
	}
	puts("\t\tesac\n\t\tif [ \"$COMP_CWORD\" -eq 2 ]; then\n\t\t\tcase \"$one\" in");
	for (i = 0; i < mp_ncommands; i++)
		seconds_print(i);
	puts("\t\t\tesac\n\t\tfi\n\tfi\n\t# shellcheck disable=SC2207\n"
	     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
	     "complete -o default -F _motorpool motorpool");
}

static void fish_print(void)
{
	const struct mp_option_row *o;
	const char *second;
	size_t i;

	puts("# fish completion of motorpool(1)\ncomplete -c motorpool -f");
	for (i = 0; i < mp_ncommands; i++) {
		second = strchr(mp_commands[i].name, ' ');
		if (second)
			printf("complete -c motorpool -n '__fish_seen_subcommand_from %.*s' -a %s -d '%s'\n",
			       (int)(second - mp_commands[i].name), mp_commands[i].name, second + 1,
			       mp_commands[i].text);
		else
			printf("complete -c motorpool -n __fish_use_subcommand -a %s -d '%s'\n",
			       mp_commands[i].name, mp_commands[i].text);
		for (o = mp_options; !second && o < mp_options + mp_noptions; o++)
			if (takes(&mp_commands[i], o))
				printf("complete -c motorpool -n '__fish_seen_subcommand_from %s' -l %s%s\n",
				       mp_commands[i].name, o->name, o->arg ? " -r" : "");
	}
}

int mp_cli_completion(struct mp_cli *c)
{
	struct mp_fail f = {0};

	if (!strcmp(c->argv[0], "bash")) {
		bash_print();
	} else if (!strcmp(c->argv[0], "zsh")) {
		/* zsh reads bash's with its own emulation. */
		puts("autoload -U +X bashcompinit && bashcompinit");
		bash_print();
	} else if (!strcmp(c->argv[0], "fish")) {
		fish_print();
	} else {
		mp_fail_set(&f, MP_CODE_USAGE, "completion is for bash, zsh or fish, not '%.64s'",
			    c->argv[0]);
		return mp_cli_fail(&f);
	}
	return 0;
}
