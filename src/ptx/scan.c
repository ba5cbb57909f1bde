/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, constants and variable declarations; see scan.h. */
#include "ptx/scan.h"
#include "base/check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

void scan_fail(struct scan *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->failed && s->err) {
		s->err->line = s->tok.line ? s->tok.line : s->line;
		va_start(ap, fmt);
		vsnprintf(s->err->text, sizeof(s->err->text), fmt, ap);
		va_end(ap);
	}
	s->failed = true;
	s->p = s->end;
	s->tok.kind = TOK_END;
	s->tok.s = s->end;
	s->tok.len = 0;
}

void *scan_alloc(struct scan *s, size_t n, size_t size)
{
	void *p = mp_arena_array(s->arena, n, size);

	if (!p) {
		s->no_memory = true;
		scan_fail(s, "the text needs too much memory");
	}
	return p;
}

void scan_init(struct scan *s, struct mp_ptx_module *m, struct mp_arena *arena, size_t at,
	       size_t end, uint32_t line, struct mp_ptx_error *err)
{
	assert(at <= end && end <= m->len);
	memset(s, 0, sizeof(*s));
	s->text = m->text;
	s->p = m->text + at;
	s->end = m->text + end;
	s->line = line;
	s->arena = arena;
	s->module = m;
	s->err = err;
	scan_next(s);
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Blanks and comments (4.2). */
static void skip_blanks(struct scan *s)
{
	const char *p = s->p, *end = s->end;

	for (; p < end; p++) {
		if (*p == '\n') {
			s->line++;
		} else if (*p == '/' && end - p > 1 && p[1] == '/') {
			const char *nl = memchr(p, '\n', (size_t)(end - p));

			if (!nl) {
				p = end;
				break;
			}
			p = nl - 1;
		} else if (*p == '/' && end - p > 1 && p[1] == '*') {
			s->tok.line = s->line;
			for (p += 2; p < end && !(*p == '*' && end - p > 1 && p[1] == '/'); p++)
				s->line += *p == '\n';
			if (p >= end) {
				s->p = end;
				scan_fail(s, "a comment has no end");
				return;
			}
			p++;
		} else if (*p != ' ' && *p != '\t' && *p != '\r' && *p != '\f' && *p != '\v' && *p) {
			break;
		}
	}
	s->p = p;
}

char scan_peek(struct scan *s)
{
	skip_blanks(s);
	return s->p < s->end ? *s->p : 0;
}

/* 4.5.2: 0f and 0d are bit patterns; anything with a point or an exponent is a double. */
static void number(struct scan *s)
{
	const char *p = s->p;
	struct token *t = &s->tok;
	char buf[64];
	size_t n = 0;
	bool is_float = false;
	char *stop;

	while (s->p < s->end && n < sizeof(buf) - 1) {
		char c = *s->p;
		bool sign = (c == '+' || c == '-') && n && (buf[n - 1] == 'e' || buf[n - 1] == 'E') &&
			    !(buf[0] == '0' && n > 1 && strchr("xXfFdDbB", buf[1]));

		if (!isalnum((unsigned char)c) && c != '.' && !sign)
			break;
		buf[n++] = c;
		s->p++;
	}
	buf[n] = 0;
	t->kind = TOK_INT;
	if (buf[0] == '0' && (buf[1] == 'f' || buf[1] == 'F')) {
		t->kind = TOK_F32;
		t->bits = strtoul(buf + 2, &stop, 16);
		if (n != 10)
			stop = buf;
	} else if (buf[0] == '0' && (buf[1] == 'd' || buf[1] == 'D')) {
		t->kind = TOK_F64;
		t->bits = strtoull(buf + 2, &stop, 16);
		if (n != 18)
			stop = buf;
	} else {
		bool hex = buf[0] == '0' && (buf[1] == 'x' || buf[1] == 'X');
		size_t i;

		for (i = 0; i < n; i++)
			is_float |= buf[i] == '.' || (!hex && (buf[i] == 'e' || buf[i] == 'E'));
		if (is_float) {
			double d = strtod(buf, &stop);

			t->kind = TOK_F64;
			memcpy(&t->bits, &d, 8);
		} else if (buf[0] == '0' && (buf[1] == 'b' || buf[1] == 'B')) {
			t->bits = strtoull(buf + 2, &stop, 2);
		} else {
			t->bits = strtoull(buf, &stop, 0);
		}
		if (*stop == 'U' || *stop == 'u')
			stop++;
	}
	if (*stop || stop == buf) {
		t->len = (uint32_t)n;
		scan_fail(s, "\"%.40s\" is no number", p < s->end ? buf : "");
	}
}

void scan_next(struct scan *s)
{
	struct token *t = &s->tok;

	skip_blanks(s);
	if (s->failed)
		return;
	t->line = s->line;
	t->s = s->p;
	t->len = 0;
	if (s->p >= s->end) {
		t->kind = TOK_END;
		return;
	}
	if (isalpha((unsigned char)*s->p) || *s->p == '_' || *s->p == '$' || *s->p == '%') {
		t->kind = TOK_IDENT;
		for (s->p++; s->p < s->end && is_name(*s->p); s->p++)
			;
		t->len = (uint32_t)(s->p - t->s);
	} else if (*s->p == '.' && s->end - s->p > 1 && is_name(s->p[1])) {
		t->kind = TOK_DOT;
		t->s = ++s->p;
		while (s->p < s->end &&
		       (is_name(*s->p) ||
			(*s->p == ':' && s->end - s->p > 2 && s->p[1] == ':' && is_name(s->p[2]) && ++s->p)))
			s->p++;
		t->len = (uint32_t)(s->p - t->s);
	} else if (isdigit((unsigned char)*s->p)) {
		number(s);
		if (!s->failed)
			t->len = (uint32_t)(s->p - t->s);
	} else if (*s->p == '"') {
		t->kind = TOK_STRING;
		for (s->p++; s->p < s->end && *s->p != '"' && *s->p != '\n'; s->p++)
			if (*s->p == '\\' && s->end - s->p > 1)
				s->p++;
		if (s->p >= s->end || *s->p != '"') {
			scan_fail(s, "a string has no end");
			return;
		}
		s->p++;
		t->len = (uint32_t)(s->p - t->s);
	} else {
		t->kind = TOK_PUNCT;
		t->punct = *s->p++;
		t->len = 1;
	}
}

bool scan_is(const struct scan *s, char punct)
{
	return s->tok.kind == TOK_PUNCT && s->tok.punct == punct;
}

bool scan_word_is(const struct scan *s, const char *word)
{
	return s->tok.kind == TOK_DOT && s->tok.len == strlen(word) &&
	       !memcmp(s->tok.s, word, s->tok.len);
}

bool scan_accept(struct scan *s, char punct)
{
	if (!scan_is(s, punct))
		return false;
	scan_next(s);
	return true;
}

void scan_expect(struct scan *s, char punct)
{
	if (!scan_accept(s, punct))
		scan_fail(s, "expected '%c' before \"%.*s\"", punct,
			  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
}

void scan_skip_line(struct scan *s)
{
	const char *nl;

	if (s->failed)
		return;
	/* The newline after the current token may already have been a blank before a peek: not so here. */
	nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
	s->p = nl ? nl : s->end;
	scan_next(s);
}

void scan_skip_braces(struct scan *s)
{
	const char *p = s->p, *end = s->end;
	unsigned depth = 1;
	uint32_t line = s->tok.line;

	assert(scan_is(s, '{'));
	for (; p < end; p++) {
		switch (*p) {
		case '\n':
			s->line++;
			break;
		case '{':
			depth++;
			break;
		case '}':
			if (!--depth) {
				s->p = p + 1;
				scan_next(s);
				return;
			}
			break;
		case '"':
			for (p++; p < end && *p != '"' && *p != '\n'; p++)
				if (*p == '\\' && end - p > 1)
					p++;
			if (p < end && *p == '\n')
				s->line++;
			break;
		case '/':
			if (end - p > 1 && (p[1] == '/' || p[1] == '*')) {
				s->p = p;
				skip_blanks(s);
				if (s->failed)
					return;
				p = s->p - 1;
			}
			break;
		}
	}
	s->tok.line = line;
	scan_fail(s, "a '{' has no '}'");
}

char *scan_take_name(struct scan *s)
{
	char *name;

	if (s->tok.kind != TOK_IDENT) {
		scan_fail(s, "expected a name before \"%.*s\"", (int)(s->tok.len > 40 ? 40 : s->tok.len),
			  s->tok.s);
		return "";
	}
	name = mp_arena_strndup(s->arena, s->tok.s, s->tok.len);
	if (!name) {
		s->no_memory = true;
		scan_fail(s, "the text needs too much memory");
		return "";
	}
	scan_next(s);
	return name;
}

/* ---- Constant expressions, 4.6: integers with C's operators, floats alone. ---- */

static struct constant expr(struct scan *s, int level, unsigned depth);

static struct constant unary(struct scan *s, unsigned depth)
{
	struct constant c = {TOK_INT, 0};

	if (depth > MAX_DEPTH) {
		scan_fail(s, "an expression is nested too deeply");
		return c;
	}
	if (scan_accept(s, '-')) {
		c = unary(s, depth + 1);
		if (c.kind == TOK_F32)
			c.bits ^= 0x80000000u;
		else if (c.kind == TOK_F64)
			c.bits ^= 1ull << 63;
		else
			c.bits = -c.bits;
	} else if (scan_accept(s, '+')) {
		c = unary(s, depth + 1);
	} else if (scan_accept(s, '~')) {
		c = unary(s, depth + 1);
		c.bits = ~c.bits;
	} else if (scan_accept(s, '!')) {
		c = unary(s, depth + 1);
		c.bits = !c.bits;
	} else if (scan_accept(s, '(')) {
		if (s->tok.kind == TOK_DOT && (scan_word_is(s, "s64") || scan_word_is(s, "u64")) &&
		    scan_peek(s) == ')') { /* a cast */
			scan_next(s);
			scan_next(s);
			return unary(s, depth + 1);
		}
		c = expr(s, 0, depth + 1);
		scan_expect(s, ')');
	} else if (s->tok.kind == TOK_INT || s->tok.kind == TOK_F32 || s->tok.kind == TOK_F64) {
		c.kind = s->tok.kind;
		c.bits = s->tok.bits;
		scan_next(s);
	} else if (s->tok.kind == TOK_IDENT && s->tok.len == 7 && !memcmp(s->tok.s, "WARP_SZ", 7)) {
		c.bits = 32;
		scan_next(s);
	} else {
		scan_fail(s, "expected a constant before \"%.*s\"",
			  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
	}
	return c;
}

static int op_level(const struct scan *s)
{
	static const char levels[][4] = {"|", "^", "&", "", "+-", "*/"};
	size_t i;

	if (s->tok.kind != TOK_PUNCT)
		return -1;
	for (i = 0; i < MP_ARRAY_LEN(levels); i++)
		if (levels[i][0] && strchr(levels[i], s->tok.punct))
			return (int)i;
	if ((s->tok.punct == '<' || s->tok.punct == '>') && s->p < s->end && *s->p == s->tok.punct)
		return 3;
	return -1;
}

static struct constant expr(struct scan *s, int level, unsigned depth)
{
	struct constant a = unary(s, depth), b;
	int at;

	while (!s->failed && (at = op_level(s)) >= level) {
		char op = s->tok.punct;

		scan_next(s);
		if (at == 3)
			scan_next(s);
		b = expr(s, at + 1, depth + 1);
		if (a.kind != TOK_INT || b.kind != TOK_INT) {
			scan_fail(s, "an expression of floating-point constants");
			break;
		}
		switch (op) {
		case '|': a.bits |= b.bits; break;
		case '^': a.bits ^= b.bits; break;
		case '&': a.bits &= b.bits; break;
		case '+': a.bits += b.bits; break;
		case '-': a.bits -= b.bits; break;
		case '*': a.bits *= b.bits; break;
		case '<': a.bits = b.bits < 64 ? a.bits << b.bits : 0; break;
		case '>': a.bits = b.bits < 64 ? a.bits >> b.bits : 0; break;
		default:
			if (!b.bits)
				scan_fail(s, "a division by zero");
			else if ((int64_t)b.bits == -1)
				a.bits = -a.bits;
			else
				a.bits = (uint64_t)((int64_t)a.bits / (int64_t)b.bits);
		}
	}
	return a;
}

struct constant scan_constant(struct scan *s)
{
	return expr(s, 0, 0);
}

uint32_t scan_u32(struct scan *s)
{
	struct constant c = scan_constant(s);

	if (!s->failed && (c.kind != TOK_INT || c.bits > UINT32_MAX))
		scan_fail(s, "a number is out of range");
	return s->failed ? 0 : (uint32_t)c.bits;
}

/* ---- Declarations, 5.4 ---- */

struct init {
	uint8_t *bytes;
	uint64_t len, cap;
	struct mp_ptx_reloc *relocs, **last;
};

static void init_put(struct scan *s, struct init *in, uint64_t at, uint64_t bits, unsigned size)
{
	if (at + size > in->cap) {
		uint64_t cap = in->cap ? in->cap * 2 : 64;
		uint8_t *p;

		while (cap < at + size)
			cap *= 2;
		p = scan_alloc(s, cap, 1);
		if (!p)
			return;
		if (in->len)
			memcpy(p, in->bytes, in->len);
		in->bytes = p;
		in->cap = cap;
	}
	memcpy(in->bytes + at, &bits, size);
	if (at + size > in->len)
		in->len = at + size;
}

static uint64_t init_convert(struct scan *s, struct constant c, uint8_t type)
{
	float f;
	double d;

	switch (type) {
	case MP_PTX_T_F32:
		if (c.kind == TOK_F32)
			return c.bits;
		if (c.kind == TOK_INT)
			f = (float)(int64_t)c.bits;
		else
			memcpy(&d, &c.bits, 8), f = (float)d;
		c.bits = 0;
		memcpy(&c.bits, &f, 4);
		return c.bits;
	case MP_PTX_T_F64:
		if (c.kind == TOK_F64)
			return c.bits;
		if (c.kind == TOK_INT) {
			d = (double)(int64_t)c.bits;
		} else {
			uint32_t w = (uint32_t)c.bits;

			memcpy(&f, &w, 4);
			d = f;
		}
		memcpy(&c.bits, &d, 8);
		return c.bits;
	default:
		return c.bits;
	}
}

/* One element that is a symbol: `name`, `name+4`, `generic(name)+4`, `0xFF00(generic(name))`. */
static void init_symbol(struct scan *s, struct init *in, uint64_t at, unsigned size, uint64_t mask)
{
	struct mp_ptx_reloc *r = scan_alloc(s, 1, sizeof(*r));
	bool paren = false;

	if (!r)
		return;
	r->offset = (uint32_t)at;
	r->size = size;
	r->line = s->tok.line;
	if (mask)
		r->shift = (uint32_t)__builtin_ctzll(mask);
	if (s->tok.kind == TOK_IDENT && s->tok.len == 7 && !memcmp(s->tok.s, "generic", 7)) {
		scan_next(s);
		scan_expect(s, '(');
		paren = true;
	}
	r->name = scan_take_name(s);
	if (paren) {
		if (scan_is(s, '+') || scan_is(s, '-'))
			r->addend += (int64_t)scan_constant(s).bits;
		scan_expect(s, ')');
	}
	if (scan_is(s, '+') || scan_is(s, '-'))
		r->addend += (int64_t)scan_constant(s).bits;
	init_put(s, in, at, 0, size);
	*in->last = r;
	in->last = &r->next;
}

static void init_list(struct scan *s, struct init *in, uint64_t *at, unsigned size, uint8_t type,
		      uint64_t limit, unsigned depth)
{
	if (depth > 8) {
		scan_fail(s, "an initialiser is nested too deeply");
		return;
	}
	if (scan_accept(s, '{')) {
		while (!s->failed && !scan_is(s, '}')) {
			init_list(s, in, at, size, type, limit, depth + 1);
			if (!scan_accept(s, ','))
				break;
		}
		scan_expect(s, '}');
		return;
	}
	if (limit && *at + size > limit) {
		scan_fail(s, "an initialiser is longer than its variable");
		return;
	}
	if (*at > UINT32_MAX - 16) {
		scan_fail(s, "an initialiser is too long");
		return;
	}
	if (s->tok.kind == TOK_IDENT && !(s->tok.len == 7 && !memcmp(s->tok.s, "WARP_SZ", 7))) {
		init_symbol(s, in, *at, size, 0);
	} else if (s->tok.kind == TOK_INT && scan_peek(s) == '(') {
		uint64_t mask = s->tok.bits;

		scan_next(s);
		scan_expect(s, '(');
		init_symbol(s, in, *at, size, mask);
		scan_expect(s, ')');
	} else {
		init_put(s, in, *at, init_convert(s, scan_constant(s), type), size);
	}
	*at += size;
}

static void var_init(struct scan *s, struct mp_ptx_var *v, unsigned elem)
{
	struct init in = {0};
	uint64_t at = 0;

	in.last = &in.relocs;
	if (!elem) { /* opaque types: {field = value, ...} is of no use here */
		if (scan_is(s, '{'))
			scan_skip_braces(s);
		return;
	}
	init_list(s, &in, &at, elem, v->type, v->size, 0);
	v->has_init = true;
	v->init = in.bytes;
	v->init_len = in.len;
	v->relocs = in.relocs;
	if (!v->size)
		v->size = at;
}

/* Words before the name: alignment, vector, type, pointer hints, attributes. */
static void var_words(struct scan *s, struct mp_ptx_var *v, unsigned *ret_vec)
{
	bool typed = false, ptr = false;

	*ret_vec = 1;
	while (s->tok.kind == TOK_DOT) {
		int w;

		if (scan_word_is(s, "align")) {
			uint32_t n;

			scan_next(s);
			n = scan_u32(s);
			if (!s->failed && (!n || (n & (n - 1)) || n > 1u << 20))
				scan_fail(s, "%u is no alignment", n);
			if (!ptr)
				v->align = n;
			continue;
		}
		if (scan_word_is(s, "ptr")) {
			ptr = true;
			scan_next(s);
			continue;
		}
		if (scan_word_is(s, "attribute")) {
			scan_next(s);
			scan_expect(s, '(');
			while (!s->failed && !scan_is(s, ')') && s->tok.kind != TOK_END) {
				v->managed |= scan_word_is(s, "managed");
				scan_next(s);
			}
			scan_expect(s, ')');
			continue;
		}
		w = mp_ptx_word_find(s->tok.s, s->tok.len);
		if (w == MP_PTX_W_V2 || w == MP_PTX_W_V4 || w == MP_PTX_W_V8) {
			*ret_vec = w == MP_PTX_W_V2 ? 2 : w == MP_PTX_W_V4 ? 4 : 8;
		} else if (w >= 0 && w < MP_PTX_TYPES_END) {
			v->type = (uint8_t)w;
			typed = true;
		} else if (!ptr) {
			scan_fail(s, "unexpected \".%.*s\" in a declaration",
				  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
			return;
		}
		scan_next(s);
	}
	if (!typed)
		scan_fail(s, "a declaration has no type");
}

void scan_variable(struct scan *s, struct mp_ptx_var *v, bool again)
{
	unsigned vec = 1, elem;

	v->line = s->tok.line;
	if (!again)
		var_words(s, v, &vec);
	elem = mp_ptx_type_size(v->type);
	v->name = scan_take_name(s);
	v->size = (uint64_t)elem * vec;
	if (!v->align || (again && v->align < elem))
		v->align = elem ? elem * vec : 8;
	if (v->type == MP_PTX_T_TEXREF || v->type == MP_PTX_T_SAMPLERREF || v->type == MP_PTX_T_SURFREF)
		v->size = 8;
	while (!s->failed && scan_accept(s, '[')) {
		uint64_t n = 0;

		v->is_array = true;
		if (!scan_is(s, ']')) {
			struct constant c = scan_constant(s);

			n = c.bits;
		}
		scan_expect(s, ']');
		if (__builtin_mul_overflow(v->size, n, &v->size) || v->size > 1ull << 46)
			scan_fail(s, "%s is too large", v->name);
	}
	if (scan_accept(s, '='))
		var_init(s, v, elem);
}

void scan_params(struct scan *s, struct mp_ptx_var **ret_vars, uint32_t *ret_n)
{
	struct mp_ptx_var *vars = NULL;
	uint32_t n = 0, cap = 0;

	scan_expect(s, '(');
	while (!s->failed && !scan_is(s, ')')) {
		struct mp_ptx_var *v;

		if (n == cap) {
			struct mp_ptx_var *more;

			cap = cap ? cap * 2 : 8;
			if (cap > 8192) {
				scan_fail(s, "too many parameters");
				break;
			}
			more = scan_alloc(s, cap, sizeof(*more));
			if (!more)
				break;
			if (n)
				memcpy(more, vars, n * sizeof(*more));
			vars = more;
		}
		v = &vars[n];
		v->reg = MP_PTX_NOREG;
		v->space = MP_PTX_W_PARAM;
		if (scan_word_is(s, "reg"))
			v->space = MP_PTX_W_REGSPACE;
		else if (!scan_word_is(s, "param"))
			scan_fail(s, "expected a parameter before \"%.*s\"",
				  (int)(s->tok.len > 40 ? 40 : s->tok.len), s->tok.s);
		scan_next(s);
		if (s->tok.kind == TOK_IDENT && s->tok.len == 1 && *s->tok.s == '_') {
			scan_next(s); /* a prototype without a name and type */
			v->align = 1;
		} else {
			scan_variable(s, v, false);
		}
		v->index = n++;
		if (!scan_accept(s, ','))
			break;
	}
	scan_expect(s, ')');
	*ret_vars = vars;
	*ret_n = s->failed ? 0 : n;
}
