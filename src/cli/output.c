/* SPDX-License-Identifier: Apache-2.0 */
/* What subcommands share: sentences, JSON, and tables of columns. */
#include "cli/cli.h"
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mp_cli_fail(const struct mp_fail *f)
{
	enum mp_code code = f->code > 0 && f->code < MP_CODE_COUNT ? (enum mp_code)f->code
								   : MP_CODE_FAILED;

	fprintf(stderr, "motorpool: %s\n", f->text);
	return mp_code_row(code)->exit;
}

json_t *mp_cli_call(const struct mp_cli *c, const char *method, const char *path, json_t *own_body,
		    int *ret_exit)
{
	struct mp_bundle b;
	struct mp_fail f = {0};
	json_t *j = NULL;

	*ret_exit = 0;
	if (mp_bundle_open(c->bundle, &b, &f) < 0) {
		*ret_exit = mp_cli_fail(&f);
	} else {
		if (mp_client_call(&b, c->server, method, path, own_body, &j, &f) < 0)
			*ret_exit = mp_cli_fail(&f);
		mp_bundle_close(&b);
	}
	json_decref(own_body);
	return j;
}

int mp_cli_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	return fflush(stdout) ? mp_code_row(MP_CODE_FAILED)->exit : 0;
}

json_t *mp_cli_ask(const struct mp_cli *c, const char *method, const char *path, json_t *own_body,
		   int *ret_exit)
{
	json_t *j = mp_cli_call(c, method, path, own_body, ret_exit);

	if (!j || !c->json)
		return j;
	*ret_exit = mp_cli_print_json(j);
	json_decref(j);
	return NULL;
}

const char *mp_cli_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && *s ? s : "-";
}

long long mp_cli_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

struct mp_table {
	unsigned columns, right;
	char **cells;
	size_t n, cap;
};

struct mp_table *mp_table_new(unsigned columns)
{
	struct mp_table *t = calloc(1, sizeof(*t));

	assert(columns && columns < 32);
	if (!t)
		abort();
	t->columns = columns;
	return t;
}

struct mp_table *mp_table_titled(const char *const *names, unsigned n)
{
	struct mp_table *t = mp_table_new(n);
	unsigned i;

	for (i = 0; i < n; i++)
		mp_table_cell(t, "%s", names[i]);
	return t;
}

void mp_table_right(struct mp_table *t, unsigned i)
{
	t->right |= 1u << i;
}

void mp_table_cell(struct mp_table *t, const char *fmt, ...)
{
	va_list ap;

	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->cells = realloc(t->cells, t->cap * sizeof(*t->cells));
		if (!t->cells)
			abort();
	}
	va_start(ap, fmt);
	if (vasprintf(&t->cells[t->n++], fmt, ap) < 0)
		abort();
	va_end(ap);
}

void mp_table_print(struct mp_table *own_table, bool skip_first_row)
{
	struct mp_table *t = own_table;
	size_t width[32] = {0}, i, first = skip_first_row ? t->columns : 0;
	unsigned c;

	assert(t->n % t->columns == 0);
	for (i = first; i < t->n; i++) {
		c = (unsigned)(i % t->columns);
		width[c] = strlen(t->cells[i]) > width[c] ? strlen(t->cells[i]) : width[c];
	}
	for (i = first; i < t->n; i++) {
		c = (unsigned)(i % t->columns);
		if (t->right & (1u << c))
			printf("%*s", (int)width[c], t->cells[i]);
		else if (c == t->columns - 1)
			printf("%s", t->cells[i]);
		else
			printf("%-*s", (int)width[c], t->cells[i]);
		fputs(c == t->columns - 1 ? "\n" : "  ", stdout);
	}
	mp_table_free(t);
}

void mp_table_free(struct mp_table *own_table)
{
	size_t i;

	for (i = 0; i < own_table->n; i++)
		free(own_table->cells[i]);
	free(own_table->cells);
	free(own_table);
}
