/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a module (chapter 11): entries, functions, variables.  Bodies
 * are skipped by their braces, so that a text of many megabytes costs little
 * until one of its kernels is wanted.
 */
#include "ptx/scan.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct mp_ptx_symbol {
	const char *name;
	uint32_t len, hash;
	struct mp_ptx_func *func;
	struct mp_ptx_var *var;
	struct mp_ptx_symbol *next;
};

static uint32_t name_hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h ^ h >> 13;
}

static struct mp_ptx_symbol *symbol_find(const struct mp_ptx_module *m, const char *name, size_t len)
{
	struct mp_ptx_symbol *y;
	uint32_t h = name_hash(name, len);

	if (!m->symbols_cap)
		return NULL;
	for (y = m->symbols[h & (m->symbols_cap - 1)]; y; y = y->next)
		if (y->hash == h && y->len == len && !memcmp(y->name, name, len))
			return y;
	return NULL;
}

static struct mp_ptx_symbol *symbol_add(struct scan *s, const char *name)
{
	struct mp_ptx_module *m = s->module;
	struct mp_ptx_symbol *y;
	uint32_t i;

	if (m->nsymbols >= m->symbols_cap) {
		uint32_t cap = m->symbols_cap ? m->symbols_cap * 4 : 256;
		struct mp_ptx_symbol **table = scan_alloc(s, cap, sizeof(*table));

		if (!table)
			return NULL;
		for (i = 0; i < m->symbols_cap; i++) {
			struct mp_ptx_symbol *next;

			for (y = m->symbols[i]; y; y = next) {
				next = y->next;
				y->next = table[y->hash & (cap - 1)];
				table[y->hash & (cap - 1)] = y;
			}
		}
		m->symbols = table;
		m->symbols_cap = cap;
	}
	y = scan_alloc(s, 1, sizeof(*y));
	if (!y)
		return NULL;
	y->name = name;
	y->len = (uint32_t)strlen(name);
	y->hash = name_hash(name, y->len);
	y->next = m->symbols[y->hash & (m->symbols_cap - 1)];
	m->symbols[y->hash & (m->symbols_cap - 1)] = y;
	m->nsymbols++;
	return y;
}

struct mp_ptx_func *mp_ptx_module_func(const struct mp_ptx_module *m, const char *name, size_t len)
{
	struct mp_ptx_symbol *y = symbol_find(m, name, len);
	unsigned hops = 0;

	while (y && y->func && y->func->alias && hops++ < 8)
		y = symbol_find(m, y->func->alias, strlen(y->func->alias));
	return y ? y->func : NULL;
}

struct mp_ptx_var *mp_ptx_module_var(const struct mp_ptx_module *m, const char *name, size_t len)
{
	struct mp_ptx_symbol *y = symbol_find(m, name, len);

	return y ? y->var : NULL;
}

/* Append to an array in the arena that doubles; the old copy stays behind. */
static void *push(struct scan *s, void *array, uint32_t n, size_t size)
{
	void *more;

	if (n & (n - 1) || n == 1)
		return array;
	more = scan_alloc(s, n ? (size_t)n * 2 : 2, size);
	if (more && n)
		memcpy(more, array, n * size);
	return more;
}

static struct mp_ptx_func *func_get(struct scan *s, const char *name)
{
	struct mp_ptx_module *m = s->module;
	struct mp_ptx_symbol *y = symbol_find(m, name, strlen(name));
	struct mp_ptx_func *f;

	if (y && y->var) {
		scan_fail(s, "%.80s is a variable already", name);
		return NULL;
	}
	if (y)
		return y->func;
	f = scan_alloc(s, 1, sizeof(*f));
	m->funcs = push(s, m->funcs, m->nfuncs, sizeof(*m->funcs));
	y = f && m->funcs ? symbol_add(s, name) : NULL;
	if (!y)
		return NULL;
	f->name = name;
	f->index = m->nfuncs;
	m->funcs[m->nfuncs++] = f;
	y->func = f;
	return f;
}

/* Up to three comma-separated numbers; those not stated are 1. */
static void triple(struct scan *s, uint32_t out[3])
{
	int i;

	scan_next(s);
	for (i = 0; i < 3; i++)
		out[i] = 1;
	for (i = 0; i < 3; i++) {
		out[i] = scan_u32(s);
		if (!scan_accept(s, ','))
			break;
	}
}

/* Performance directives between header and body (11.4). */
static void func_directives(struct scan *s, struct mp_ptx_func *f)
{
	while (s->tok.kind == TOK_DOT && !s->failed) {
		if (scan_word_is(s, "maxntid")) {
			triple(s, f->maxntid);
		} else if (scan_word_is(s, "reqntid")) {
			triple(s, f->reqntid);
		} else if (scan_word_is(s, "reqnctapercluster")) {
			triple(s, f->reqncluster);
		} else if (scan_word_is(s, "minnctapersm")) {
			scan_next(s);
			f->minnctapersm = scan_u32(s);
		} else if (scan_word_is(s, "maxnreg")) {
			scan_next(s);
			f->maxnreg = scan_u32(s);
		} else if (scan_word_is(s, "noreturn")) {
			f->noreturn = true;
			scan_next(s);
		} else if (scan_word_is(s, "pragma")) {
			while (!s->failed && s->tok.kind != TOK_END && !scan_is(s, ';'))
				scan_next(s);
			scan_expect(s, ';');
		} else {
			/* .explicitcluster, .maxclusterrank N, .blocksareclusters, .abi_preserve N, ... */
			scan_next(s);
			while (s->tok.kind == TOK_INT || scan_is(s, ','))
				scan_next(s);
		}
	}
}

/* 7.1 and 5.1.6.4: parameters lie at multiples of their alignment. */
static uint32_t param_layout(struct scan *s, struct mp_ptx_var *vars, uint32_t n)
{
	uint64_t at = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		at = mp_align_up(at, vars[i].align);
		vars[i].offset = at;
		at += vars[i].size;
		if (at > 1 << 20) {
			scan_fail(s, "parameters of more than a megabyte");
			return 0;
		}
	}
	return (uint32_t)at;
}

static void func_regs(struct mp_ptx_var *vars, uint32_t n, uint32_t *next)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (vars[i].space == MP_PTX_W_REGSPACE)
			vars[i].reg = (*next)++;
}

static void func_parse(struct scan *s, bool is_entry, bool is_extern, bool is_weak)
{
	struct mp_ptx_var *rets = NULL, *params = NULL;
	uint32_t nrets = 0, nparams = 0, line = s->tok.line, regs = 0, bytes;
	struct mp_ptx_func *f;
	char *name;

	scan_next(s);
	while (scan_word_is(s, "attribute")) {
		scan_next(s);
		while (!s->failed && s->tok.kind != TOK_END && !scan_accept(s, ')'))
			scan_next(s);
	}
	if (!is_entry && scan_is(s, '('))
		scan_params(s, &rets, &nrets);
	name = scan_take_name(s);
	if (scan_is(s, '('))
		scan_params(s, &params, &nparams);
	if (s->failed)
		return;
	f = func_get(s, name);
	if (!f)
		return;
	if (f->has_body) {
		/* A second body is an error; a second declaration changes nothing. */
		struct mp_ptx_func ignored = {0};

		func_directives(s, &ignored);
		if (!scan_accept(s, ';'))
			scan_fail(s, "%.80s is defined twice", name);
		return;
	}
	f->is_entry = is_entry;
	f->is_extern = is_extern;
	f->is_weak = is_weak;
	f->line = line;
	f->rets = rets;
	f->nrets = nrets;
	f->params = params;
	f->nparams = nparams;
	func_regs(rets, nrets, &regs);
	func_regs(params, nparams, &regs);
	param_layout(s, rets, nrets);
	bytes = param_layout(s, params, nparams);
	if (is_entry)
		f->param_bytes = bytes;
	func_directives(s, f);
	if (scan_accept(s, ';'))
		return;
	if (!scan_is(s, '{')) {
		scan_expect(s, '{');
		return;
	}
	f->has_body = true;
	f->body_at = (size_t)(s->tok.s - s->text);
	f->body_line = s->tok.line;
	/* The end is where the brace was, before the next token is read. */
	{
		struct scan probe = *s;

		scan_skip_braces(&probe);
		if (probe.failed) {
			scan_skip_braces(s);
			return;
		}
		s->p = probe.tok.kind == TOK_END ? probe.end : probe.tok.s - (probe.tok.kind == TOK_DOT);
		s->line = probe.tok.kind == TOK_END ? probe.line : probe.tok.line;
		f->body_end = (size_t)(s->p - s->text);
		scan_next(s);
	}
}

static void variable_parse(struct scan *s, uint16_t space, bool is_extern, bool is_weak)
{
	struct mp_ptx_module *m = s->module;
	struct mp_ptx_var type = {0};
	bool again = false;

	scan_next(s);
	do {
		struct mp_ptx_var v = type, *slot;
		struct mp_ptx_symbol *y;

		v.space = space;
		v.is_extern = is_extern;
		v.is_weak = is_weak;
		v.reg = MP_PTX_NOREG;
		scan_variable(s, &v, again);
		if (s->failed)
			return;
		if (!again) {
			type.type = v.type;
			type.align = v.align;
		}
		again = true;
		y = symbol_find(m, v.name, strlen(v.name));
		if (y && y->func) {
			scan_fail(s, "%.80s is a function already", v.name);
			return;
		}
		if (y) { /* the definition replaces the declaration, keeping its place */
			if (y->var->is_extern && !is_extern) {
				v.index = y->var->index;
				*y->var = v;
			}
			continue;
		}
		slot = scan_alloc(s, 1, sizeof(*slot));
		m->vars = push(s, m->vars, m->nvars, sizeof(*m->vars));
		y = slot && m->vars ? symbol_add(s, v.name) : NULL;
		if (!y)
			return;
		*slot = v;
		slot->index = m->nvars;
		m->vars[m->nvars++] = slot;
		y->var = slot;
	} while (scan_accept(s, ','));
	scan_expect(s, ';');
}

static void alias_parse(struct scan *s)
{
	struct mp_ptx_func *f;
	char *name, *target;

	scan_next(s);
	name = scan_take_name(s);
	scan_expect(s, ',');
	target = scan_take_name(s);
	scan_expect(s, ';');
	f = s->failed ? NULL : func_get(s, name);
	if (f)
		f->alias = target;
}

/* 11.1: .version major.minor, .target sm_NNx, .address_size. */
static void version_parse(struct scan *s)
{
	const char *p;
	uint32_t major = 0, minor = 0;

	scan_next(s);
	for (p = s->tok.s; p < s->tok.s + s->tok.len && *p >= '0' && *p <= '9' && major < 1000; p++)
		major = major * 10 + (uint32_t)(*p - '0');
	if (p < s->tok.s + s->tok.len && *p == '.')
		for (p++; p < s->tok.s + s->tok.len && *p >= '0' && *p <= '9' && minor < 10; p++)
			minor = minor * 10 + (uint32_t)(*p - '0');
	if (s->tok.kind != TOK_F64 || !major || minor > 9) {
		scan_fail(s, ".version has no number");
		return;
	}
	s->module->version = major * 10 + minor;
	scan_next(s);
}

static void target_parse(struct scan *s)
{
	scan_next(s);
	while (s->tok.kind == TOK_IDENT) {
		const char *p = s->tok.s + 3, *end = s->tok.s + s->tok.len;
		uint32_t n = 0;

		if (s->tok.len > 3 && !memcmp(s->tok.s, "sm_", 3)) {
			for (; p < end && *p >= '0' && *p <= '9' && n < 10000; p++)
				n = n * 10 + (uint32_t)(*p - '0');
			s->module->target = n;
			s->module->target_suffix = p < end ? *p : 0;
		}
		scan_next(s);
		if (!scan_accept(s, ','))
			break;
	}
	if (!s->module->target)
		scan_fail(s, ".target names no sm_ architecture");
}

static void item_parse(struct scan *s)
{
	bool is_extern = false, is_weak = false;
	int w;

	while (s->tok.kind == TOK_DOT && !s->failed) {
		if (scan_word_is(s, "extern"))
			is_extern = true;
		else if (scan_word_is(s, "weak") || scan_word_is(s, "common"))
			is_weak = true;
		else if (!scan_word_is(s, "visible"))
			break;
		scan_next(s);
	}
	if (scan_word_is(s, "entry") || scan_word_is(s, "func")) {
		func_parse(s, scan_word_is(s, "entry"), is_extern, is_weak);
		return;
	}
	w = s->tok.kind == TOK_DOT ? mp_ptx_word_find(s->tok.s, s->tok.len) : -1;
	if (w == MP_PTX_W_GLOBAL || w == MP_PTX_W_CONST || w == MP_PTX_W_SHARED || w == MP_PTX_W_LOCAL)
		variable_parse(s, (uint16_t)w, is_extern, is_weak);
	else if (w == MP_PTX_W_TEXSPACE)
		variable_parse(s, MP_PTX_W_GLOBAL, is_extern, is_weak);
	else if (scan_word_is(s, "alias"))
		alias_parse(s);
	else if (scan_word_is(s, "file") || scan_word_is(s, "loc"))
		scan_skip_line(s);
	else if (scan_word_is(s, "section")) {
		while (!s->failed && !scan_is(s, '{') && s->tok.kind != TOK_END)
			scan_next(s);
		if (scan_is(s, '{'))
			scan_skip_braces(s);
	} else if (scan_word_is(s, "pragma")) {
		while (!s->failed && !scan_is(s, ';') && s->tok.kind != TOK_END)
			scan_next(s);
		scan_expect(s, ';');
	} else {
		scan_fail(s, "unexpected \"%.*s\" outside a function",
			  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
	}
}

enum mp_ptx_outcome mp_ptx_module_load(struct mp_ptx_module *m, const char *text, size_t len,
				       struct mp_ptx_error *err)
{
	struct scan s;

	memset(m, 0, sizeof(*m));
	memset(err, 0, sizeof(*err));
	/* An index of a hostile text can be large: 40 bytes of tree a byte of text is plenty. */
	mp_arena_init(&m->arena, (len > SIZE_MAX / 64 ? SIZE_MAX / 64 : len) * 40 + (1 << 20));
	m->text = malloc(len + 1);
	if (!m->text)
		return MP_PTX_NO_MEMORY;
	memcpy(m->text, text, len);
	m->text[len] = 0;
	while (len && !m->text[len - 1])
		len--; /* texts in containers are padded */
	m->len = len;
	m->address_size = 64;
	scan_init(&s, m, &m->arena, 0, len, 1, err);
	if (!scan_word_is(&s, "version"))
		scan_fail(&s, "a PTX text begins with .version");
	else
		version_parse(&s);
	if (!s.failed && !scan_word_is(&s, "target"))
		scan_fail(&s, ".target must follow .version");
	else if (!s.failed)
		target_parse(&s);
	while (!s.failed && s.tok.kind != TOK_END) {
		if (scan_word_is(&s, "address_size")) {
			scan_next(&s);
			m->address_size = scan_u32(&s);
			if (!s.failed && m->address_size != 64)
				scan_fail(&s, "an address size of %u bits is not carried", m->address_size);
		} else {
			item_parse(&s);
		}
	}
	return s.no_memory ? MP_PTX_NO_MEMORY : s.failed ? MP_PTX_BAD : MP_PTX_OK;
}

void mp_ptx_module_fini(struct mp_ptx_module *m)
{
	free(m->text);
	m->text = NULL;
	mp_arena_fini(&m->arena);
}
