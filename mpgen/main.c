/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mpgen: the command.
 *
 *	mpgen --abi cuda.h --out DIR [--ledger FILE] a.api b.api ...
 *	mpgen --abi cuda.h --write-ledger FILE [--release VERSION] a.api ...
 *
 * Exit 1 after the messages `file:line: sentence` when a description is wrong;
 * products are then not written.
 */
#include "mpgen.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static struct mp_arena arena;

void *mp_gen_alloc(size_t n)
{
	void *p = mp_arena_alloc(&arena, n);

	if (!p) {
		fprintf(stderr, "mpgen: out of memory\n");
		exit(2);
	}
	return p;
}

char *mp_gen_strndup(const char *s, size_t n)
{
	char *p = mp_gen_alloc(n + 1);

	memcpy(p, s, n);
	return p;
}

char *mp_gen_printf(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return mp_gen_strndup(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void mp_gen_error(struct mp_api *api, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	api->errors++;
}

char *mp_gen_read(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text;
	long n;

	if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET)) {
		fprintf(stderr, "mpgen: cannot read %s\n", path);
		if (f)
			fclose(f);
		return NULL;
	}
	text = mp_gen_alloc((size_t)n + 1);
	if (fread(text, 1, (size_t)n, f) != (size_t)n) {
		fprintf(stderr, "mpgen: cannot read %s\n", path);
		text = NULL;
	}
	fclose(f);
	return text;
}

static const struct {
	const char *name;
	void (*emit)(const struct mp_api *api, FILE *f);
} products[] = {
	{"mp-call.h", mp_emit_call_h},
	{"mp-call.c", mp_emit_call_c},
	{"mp-msg.h", mp_emit_msg_h},
	{"mp-msg.c", mp_emit_msg_c},
	{"mp-convert.h", mp_emit_convert_h},
	{"mp-entry.h", mp_emit_entry_h},
	{"shim-entry.c", mp_emit_entry_c},
	{"mp-job.h", mp_emit_job_h},
	{"worker-dispatch.c", mp_emit_dispatch_c},
	{"mp-drv.h", mp_emit_drv_h},
	{"mp-drv.c", mp_emit_drv_c},
	{"mp-proc.c", mp_emit_proc_c},
	{"exports.map", mp_emit_exports},
	{"soft-stub.c", mp_emit_soft_c},
	{"mp-trace.h", mp_emit_trace_h},
	{"mp-trace.c", mp_emit_trace_c},
	{"mp-fuzz.h", mp_emit_fuzz_h},
	{"mp-fuzz.c", mp_emit_fuzz_c},
	{"coverage.md", mp_emit_coverage},
};

static int write_products(const struct mp_api *api, const char *dir)
{
	for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
		char *path = mp_gen_printf("%s/%s", dir, products[i].name);
		FILE *f = fopen(path, "w");

		if (!f) {
			fprintf(stderr, "mpgen: cannot write %s\n", path);
			return 2;
		}
		products[i].emit(api, f);
		if (ferror(f) | fclose(f)) {
			fprintf(stderr, "mpgen: cannot write %s\n", path);
			return 2;
		}
	}
	return 0;
}

static int write_ledger(const struct mp_api *api, const char *path, const char *old,
			const char *release)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		fprintf(stderr, "mpgen: cannot write %s\n", path);
		return 2;
	}
	mp_ledger_write(api, f, old, release);
	return fclose(f) ? 2 : 0;
}

int main(int argc, char **argv)
{
	const char *abi = NULL, *out = NULL, *ledger = NULL, *new_ledger = NULL, *release = NULL;
	struct mp_lines lines = {0};
	struct mp_api api = {0};
	char *text;
	int i;

	mp_arena_init(&arena, (size_t)1 << 28);
	for (i = 1; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (!strcmp(argv[i], "--abi"))
			abi = argv[i + 1];
		else if (!strcmp(argv[i], "--out"))
			out = argv[i + 1];
		else if (!strcmp(argv[i], "--ledger"))
			ledger = argv[i + 1];
		else if (!strcmp(argv[i], "--write-ledger"))
			new_ledger = argv[i + 1];
		else if (!strcmp(argv[i], "--release"))
			release = argv[i + 1];
		else
			break;
	}
	if (!abi || i >= argc || argv[i][0] == '-') {
		fprintf(stderr, "usage: mpgen --abi cuda.h [--out DIR] [--ledger FILE] "
				"[--write-ledger FILE [--release VERSION]] FILE.api...\n");
		return 2;
	}
	if (!(text = mp_gen_read(abi)))
		return 2;
	mp_proto_read(&api, abi, text);
	for (; i < argc; i++) {
		if (!(text = mp_gen_read(argv[i])))
			return 2;
		mp_lex(&api, argv[i], text, &lines);
	}
	mp_parse(&api, &lines);
	mp_check(&api);
	if (ledger && !api.errors) {
		if (!(text = mp_gen_read(ledger)))
			return 2;
		mp_ledger_check(&api, ledger, text);
	}
	if (api.errors)
		return 1;
	if (new_ledger)
		return write_ledger(&api, new_ledger, mp_gen_read(new_ledger), release);
	return out ? write_products(&api, out) : 0;
}
