/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports of checked runs, on standard error, in the manner of compute-sanitizer:
 * what, where in the program, which thread, which memory.  A line of PTX is
 * always known; a line of the source when the text has .loc for it (11.5.3).
 */
#include "exec/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t errors MP_GUARDED_BY(lock);
static uint64_t printed MP_GUARDED_BY(lock);
static uint64_t most MP_GUARDED_BY(lock) = 100;
static bool begun MP_GUARDED_BY(lock);

void mp_exec_check_limit(uint64_t reports)
{
	pthread_mutex_lock(&lock);
	most = reports;
	pthread_mutex_unlock(&lock);
}

uint64_t mp_exec_check_errors(uint64_t *ret_hidden)
{
	uint64_t n;

	pthread_mutex_lock(&lock);
	n = errors;
	if (ret_hidden)
		*ret_hidden = errors - printed;
	pthread_mutex_unlock(&lock);
	return n;
}

struct check_place check_place_of(const struct warp *w, const struct op *o, uint32_t lane, enum check_access a)
{
	return (struct check_place){w->frame->code, o, {w->tid[0][lane], w->tid[1][lane], w->tid[2][lane]}, a};
}

/* A line of the text that begins with a word; the part behind it. */
static bool line_is(const char *p, const char *end, const char *word, const char **ret)
{
	size_t n = strlen(word);

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if ((size_t)(end - p) <= n || memcmp(p, word, n) || (p[n] != ' ' && p[n] != '\t'))
		return false;
	*ret = p + n;
	return true;
}

/* The name of file number n; "" when there is none. */
static void file_name(const struct mp_ptx_module *m, unsigned long n, char *to, size_t size)
{
	const char *p = m->text, *end = m->text + m->len, *rest, *line;
	char *after;

	for (*to = 0; p < end; p = line + 1) {
		line = memchr(p, '\n', (size_t)(end - p));
		if (!line)
			line = end;
		if (line_is(p, line, ".file", &rest) && strtoul(rest, &after, 10) == n) {
			const char *a = memchr(after, '"', (size_t)(line - after)), *b;

			b = a ? memchr(a + 1, '"', (size_t)(line - a - 1)) : NULL;
			if (b)
				snprintf(to, size, "%.*s", (int)(b - a - 1), a + 1);
			return;
		}
	}
}

/* The .loc in force at an instruction; false: none in its function. */
static bool source_of(const struct mp_ptx_module *m, const struct mp_ptx_func *f, const char *at, char *file,
		      size_t size, unsigned long *ret_line)
{
	const char *p = at, *begin = m->text + f->body_at, *rest;

	if (at < m->text || at >= m->text + m->len)
		return false;
	while (p > begin) {
		const char *line = p;

		while (line > begin && line[-1] != '\n')
			line--;
		if (line_is(line, p, ".loc", &rest)) {
			char *after;
			unsigned long n = strtoul(rest, &after, 10);

			*ret_line = strtoul(after, NULL, 10);
			file_name(m, n, file, size);
			return true;
		}
		p = line > begin ? line - 1 : begin;
	}
	return false;
}

/* Where an operation stands. */
static void where(const struct warp *w, const struct check_place *at, char *to, size_t size)
{
	const struct mp_ptx_module *m = &w->cta->grid->program->module->ptx;
	const struct mp_ptx_insn *in = &at->code->insns[at->op->insn];
	const struct mp_ptx_func *f = at->code->func;
	char text[100], file[300] = "";
	unsigned long line;
	int n;

	mp_ptx_insn_text(in, text, sizeof(text));
	n = snprintf(to, size, "%s, PTX line %u: %s", f->name, in->line, text);
	if (n > 0 && (size_t)n < size && source_of(m, f, in->at, file, sizeof(file), &line))
		snprintf(to + n, size - (size_t)n, " (%s:%lu)", *file ? file : "?", line);
}

static const char *const access_name[] = {[CHECK_READ] = "read", [CHECK_WRITE] = "write", [CHECK_ATOMIC] = "atomic"};

#define LINE(...) fprintf(stderr, "========= " __VA_ARGS__)

/* Counted; false: enough has been printed. Takes the lock, which end() gives back. */
static bool begin(void)
{
	pthread_mutex_lock(&lock);
	errors++;
	if (printed >= most)
		return false;
	printed++;
	if (!begun)
		LINE("MOTORPOOL CHECK\n");
	begun = true;
	return true;
}

static void end(void)
{
	pthread_mutex_unlock(&lock);
}

static void by(const struct warp *w, const struct check_place *at)
{
	const struct cta *c = w->cta;
	char text[600];

	where(w, at, text, sizeof(text));
	LINE("    at %s\n", text);
	LINE("    by thread (%u,%u,%u) in block (%u,%u,%u) of kernel %s\n", at->thread[0], at->thread[1], at->thread[2],
	     c->id[0], c->id[1], c->id[2], c->grid->program->codes[0].func->name);
}

void check_report_bounds(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n,
			 const struct mp_exec_block *near)
{
	if (begin()) {
		LINE("Invalid __%s__ %s of size %zu bytes\n", shared ? "shared" : "global", access_name[at->access], n);
		by(w, at);
		LINE("    Address 0x%llx is out of bounds\n", (unsigned long long)addr);
		if (shared)
			LINE("    and the block has %u bytes of shared memory\n", w->cta->shared_bytes);
		else if (!near || !near->size)
			LINE("    and there is no allocation near it\n");
		else if (addr >= near->addr && addr < near->addr + near->size)
			LINE("    and reaches past the allocation at 0x%llx of size %llu bytes\n",
			     (unsigned long long)near->addr, (unsigned long long)near->size);
		else
			LINE("    and is %llu bytes %s the nearest allocation at 0x%llx of size %llu bytes\n",
			     (unsigned long long)(addr < near->addr ? near->addr - addr
								    : addr - near->addr - near->size + 1),
			     addr < near->addr ? "before" : "after", (unsigned long long)near->addr,
			     (unsigned long long)near->size);
		LINE("\n");
	}
	end();
}

void check_report_misaligned(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n)
{
	if (begin()) {
		LINE("Invalid __%s__ %s of size %zu bytes\n", shared ? "shared" : "global", access_name[at->access], n);
		by(w, at);
		LINE("    Address 0x%llx is misaligned\n", (unsigned long long)addr);
		LINE("\n");
	}
	end();
}

void check_report_init(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n,
		       const struct mp_exec_block *in)
{
	if (begin()) {
		LINE("Uninitialized __%s__ memory read of size %zu bytes\n", shared ? "shared" : "global", n);
		by(w, at);
		if (in)
			LINE("    Address 0x%llx is %llu bytes inside the allocation at 0x%llx of size %llu bytes\n",
			     (unsigned long long)addr, (unsigned long long)(addr - in->addr),
			     (unsigned long long)in->addr, (unsigned long long)in->size);
		else
			LINE("    Address 0x%llx\n", (unsigned long long)addr);
		LINE("\n");
	}
	end();
}

static const char *hazard(const struct check_place *first, const struct check_place *second)
{
	return first->access == CHECK_READ ? "WAR" : second->access == CHECK_READ ? "RAW" : "WAW";
}

void check_report_race(struct warp *w, const struct check_place *first, const struct check_place *second,
		       uint64_t addr)
{
	if (begin()) {
		LINE("Error: Race reported between %s access and %s access at __shared__ 0x%llx (%s hazard)\n",
		     access_name[first->access], access_name[second->access], (unsigned long long)addr,
		     hazard(first, second));
		by(w, first);
		by(w, second);
		LINE("\n");
	}
	end();
}
