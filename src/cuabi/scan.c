/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A light scanner of PTX text: target, kernels with their parameters and limits,
 * module-scope variables.  Section numbers are those of the PTX ISA.
 *
 * It reads directives outside of bodies token by token.  Bodies, which are nearly all
 * of the text, are crossed sixteen bytes at a time, stopping only at braces, quotes
 * and comments; what is between the stops is searched for .shared declarations
 * and for vprintf.  It does not check that the text is right: a parser does that.
 */
#include <emmintrin.h>
#include <string.h>

#include "base/check.h"
#include "cuabi/internal.h"

#define PARAMS_MAX  4096
#define SHARED_MAX  64	/* functions and variables with shared memory that are followed by name */
#define DEPTH_MAX   1000

/* A range of the text. */
struct text {
	const char *p;
	size_t n;
};

/* A body whose shared memory others may come to use by naming `name`. */
struct shared_user {
	struct text name, body;
	uint32_t bytes; /* of its own */
	int32_t kernel; /* index, or -1 for a .func or a variable of the module */
	bool done;
};

struct scan {
	const char *p, *end;
	struct mp_arena *arena;
	struct mp_contents *out;
	struct mp_buf kernels, variables; /* of their structs */
	struct mp_buf bodies;		  /* struct shared_user of each kernel and .func */
	struct mp_buf shared;		  /* struct shared_user of module-scope .shared */
	bool func_prints;
};

/* What a body tells. */
struct body {
	struct text text;
	uint32_t shared;
	bool prints;
};

/* ---- Tokens ---- */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* 4.4: letters, digits, _, $ and %; a directive begins with a dot, and "::" joins qualifiers. */
static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '$' || c == '%';
}

/* Past the comment at p, which begins with a slash; just past the slash when it is none. */
static const char *comment_end(const char *p, const char *end)
{
	const char *q;

	if (end - p < 2)
		return end;
	if (p[1] == '/') {
		q = memchr(p, '\n', (size_t)(end - p));
		return q ? q + 1 : end;
	}
	if (p[1] != '*')
		return p + 1;
	q = memmem(p + 2, (size_t)(end - p - 2), "*/", 2);
	return q ? q + 2 : end;
}

static void space_skip(struct scan *s)
{
	while (s->p < s->end) {
		if (is_space(*s->p))
			s->p++;
		else if (*s->p == '/' && s->end - s->p > 1 && (s->p[1] == '/' || s->p[1] == '*'))
			s->p = comment_end(s->p, s->end);
		else
			return;
	}
}

static const char *string_end(const char *p, const char *end)
{
	const char *q;

	assert(*p == '"');
	q = memchr(p + 1, '"', (size_t)(end - p - 1));
	return q ? q + 1 : end;
}

/* The next token: a word or directive, a string, or one other character. Empty at the end. */
static struct text token_next(struct scan *s)
{
	struct text t;

	space_skip(s);
	t.p = s->p;
	if (s->p == s->end) {
		t.n = 0;
		return t;
	}
	if (*s->p == '"') {
		s->p = string_end(s->p, s->end);
	} else {
		char first = *s->p++;

		if (first == '.' || is_word(first))
			while (s->p < s->end && is_word(*s->p))
				s->p++;
	}
	t.n = (size_t)(s->p - t.p);
	return t;
}

static struct text token_peek(struct scan *s)
{
	const char *p = s->p;
	struct text t = token_next(s);

	s->p = p;
	return t;
}

static bool is(struct text t, const char *word)
{
	size_t n = strlen(word);

	return t.n == n && !memcmp(t.p, word, n);
}

static bool accept(struct scan *s, const char *word)
{
	if (!is(token_peek(s), word))
		return false;
	token_next(s);
	return true;
}

/* 4.5.1: decimal, 0x, 0b, octal, with an optional U. false when it is no such number. */
static bool number(struct text t, uint64_t *ret)
{
	unsigned base = 10;
	size_t i = 0;

	if (t.n && (t.p[t.n - 1] == 'U' || t.p[t.n - 1] == 'u'))
		t.n--;
	if (t.n > 1 && t.p[0] == '0') {
		char c = t.p[1];

		base = c == 'x' || c == 'X' ? 16 : c == 'b' || c == 'B' ? 2 : 8;
		i = base == 8 ? 1 : 2;
	}
	if (i >= t.n)
		return false;
	for (*ret = 0; i < t.n; i++) {
		char c = t.p[i];
		unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
			     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
			     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
						    : 99;

		if (d >= base || __builtin_mul_overflow(*ret, (uint64_t)base, ret) ||
		    __builtin_add_overflow(*ret, (uint64_t)d, ret))
			return false;
	}
	return true;
}

static bool number_next(struct scan *s, uint64_t *ret)
{
	return number(token_next(s), ret);
}

/* ---- Declarations (5.4) ---- */

/* Bytes of a type: ".f32", ".b8", ".f16x2", ".texref"; 0 when it is none. */
static uint32_t type_bytes(struct text t)
{
	uint64_t bits = 0, lanes = 1;
	size_t i = 1, from;

	if (is(t, ".texref") || is(t, ".surfref") || is(t, ".samplerref"))
		return 8; /* an opaque handle */
	if (t.n < 3 || t.p[0] != '.')
		return 0;
	while (i < t.n && (t.p[i] < '0' || t.p[i] > '9'))
		i++;
	/* .u8 .s16 .b128 .f32 .bf16 .tf32; then perhaps x2 */
	if (!(i == 2 && strchr("usbf", t.p[1])) && !(i == 3 && (!memcmp(t.p, ".bf", 3) || !memcmp(t.p, ".tf", 3))))
		return 0;
	for (from = i; i < t.n && t.p[i] >= '0' && t.p[i] <= '9'; i++)
		bits = bits * 10 + (uint64_t)(t.p[i] - '0');
	if (i - from > 3)
		return 0;
	if (i + 2 == t.n && t.p[i] == 'x')
		lanes = (uint64_t)(t.p[i + 1] - '0');
	else if (i != t.n)
		return 0;
	bits *= lanes;
	return bits && bits % 8 == 0 && bits <= 1024 ? (uint32_t)(bits / 8) : 0;
}

struct declaration {
	struct text name;
	uint64_t element; /* bytes of one, all lanes of a vector */
	uint64_t size;
	uint32_t align; /* as stated, else the element's */
	bool managed;
};

static bool word_is_name(struct text t)
{
	return t.n && t.p[0] != '.' && is_word(t.p[0]) && !(t.p[0] >= '0' && t.p[0] <= '9');
}

/* "[4][8]" after a name; an empty pair makes the size 0 until an initialiser is seen. */
static bool dimensions_read(struct scan *s, uint64_t *count, bool *open)
{
	uint64_t n;

	*count = 1;
	*open = false;
	while (accept(s, "[")) {
		if (accept(s, "]")) {
			*open = true;
			continue;
		}
		if (!number_next(s, &n) || __builtin_mul_overflow(*count, n, count) || !accept(s, "]"))
			return false;
	}
	return true;
}

/* Past "= value" or "= { ... }"; counts the outer values, for arrays without a length. */
static bool initialiser_skip(struct scan *s, uint64_t *values)
{
	unsigned depth = 0;

	*values = 1;
	for (;;) {
		struct text t = token_peek(s);

		if (!t.n)
			return false;
		if (!depth && (is(t, ";") || is(t, ",")))
			return true;
		token_next(s);
		if (is(t, "{"))
			depth++;
		else if (is(t, "}") && depth)
			depth--;
		else if (is(t, ",") && depth)
			++*values;
	}
}

/* Up to the name: ".align 4 .b8 name", ".v4 .f32 name", ".u64 .ptr .global .align 8 name". */
static bool type_read(struct scan *s, struct declaration *d)
{
	uint64_t vector = 1, n;

	memset(d, 0, sizeof(*d));
	for (;;) {
		struct text t = token_peek(s);

		if (word_is_name(t))
			break;
		token_next(s);
		if (is(t, ".align")) {
			if (!number_next(s, &n) || n > (1u << 30))
				return false;
			/* After .ptr it speaks of what is pointed to. */
			d->align = d->align || d->element ? d->align : (uint32_t)n;
		} else if (is(t, ".attribute")) {
			if (!accept(s, "("))
				return false;
			while (!accept(s, ")")) {
				t = token_next(s);
				if (!t.n)
					return false;
				d->managed |= is(t, ".managed");
			}
		} else if (is(t, ".v2") || is(t, ".v4") || is(t, ".v8")) {
			vector = (uint64_t)(t.p[2] - '0');
		} else if (type_bytes(t)) {
			d->element = type_bytes(t);
		} else if (!t.n || t.p[0] != '.') {
			return false;
		}
	}
	d->element *= vector;
	if (!d->align)
		d->align = (uint32_t)d->element;
	return d->element != 0;
}

/* A name with its dimensions and initialiser, of the type that d holds. */
static bool name_read(struct scan *s, struct declaration *d)
{
	uint64_t n, count;
	bool open;

	d->name = token_next(s);
	if (!word_is_name(d->name) || !dimensions_read(s, &count, &open))
		return false;
	if (accept(s, "=")) {
		if (!initialiser_skip(s, &n))
			return false;
		if (open && count) /* rows, the last perhaps not full */
			count = (n + count - 1) / count * count;
	} else if (open) {
		count = 0;
	}
	return !__builtin_mul_overflow(d->element, count, &d->size);
}

static bool declaration_read(struct scan *s, struct declaration *d)
{
	return type_read(s, d) && name_read(s, d);
}

static bool offset_add(uint32_t *total, const struct declaration *d, uint32_t *ret_offset)
{
	uint64_t align = d->align ? d->align : 1, at;

	if (align & (align - 1) || d->size > UINT32_MAX)
		return false;
	at = mp_align_up(*total, align);
	if (at + d->size > UINT32_MAX)
		return false;
	*ret_offset = (uint32_t)at;
	*total = (uint32_t)(at + d->size);
	return true;
}

/* ---- Bodies ---- */

/* The next { } " or / at or after p. */
static const char *stop_find(const char *p, const char *end)
{
	const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('/');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i hit = _mm_or_si128(
			_mm_or_si128(_mm_cmpeq_epi8(v, open), _mm_cmpeq_epi8(v, close)),
			_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
		int mask = _mm_movemask_epi8(hit);

		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
	for (; p < end; p++)
		if (*p == '{' || *p == '}' || *p == '"' || *p == '/')
			break;
	return p;
}

/* `name` as a whole word inside t. */
static bool word_in(struct text t, struct text name)
{
	const char *p = t.p, *end = t.p + t.n;

	while ((p = memmem(p, (size_t)(end - p), name.p, name.n))) {
		const char *after = p + name.n;

		if ((p == t.p || !is_word(p[-1])) && (after == end || !is_word(*after)))
			return true;
		p = after;
	}
	return false;
}

/* Code without braces, strings or comments. */
static void stretch_read(struct scan *s, const char *from, const char *to, struct body *b)
{
	static const struct text vprintf_name = {"vprintf", 7};
	const char *p = from;

	if (!b->prints)
		b->prints = word_in((struct text){from, (size_t)(to - from)}, vprintf_name);
	/* ".shared" begins a declaration only where a statement begins; elsewhere it is ld.shared. */
	while ((p = memmem(p, (size_t)(to - p), ".shared", 7))) {
		struct scan inner = {.p = p + 7, .end = to, .arena = s->arena};
		struct declaration d;
		uint32_t offset;

		p += 7;
		if (p - 7 > b->text.p && !is_space(p[-8]) && !strchr(";{}", p[-8]))
			continue;
		if (p == to || !is_space(*p))
			continue;
		if (!type_read(&inner, &d))
			continue;
		do {
			if (!name_read(&inner, &d))
				break;
			offset_add(&b->shared, &d, &offset);
		} while (accept(&inner, ","));
	}
}

/* From the opening brace, which is next, to after its partner. false when there is none. */
static bool body_read(struct scan *s, struct body *b)
{
	const char *from, *p;
	unsigned depth = 0;

	memset(b, 0, sizeof(*b));
	space_skip(s);
	if (s->p == s->end || *s->p != '{')
		return false;
	from = p = s->p;
	b->text.p = p;
	for (;;) {
		p = stop_find(p, s->end);
		if (p == s->end)
			return false;
		if (*p == '"' || *p == '/') {
			const char *after = *p == '"' ? string_end(p, s->end) : comment_end(p, s->end);

			if (after != p + 1) { /* else a slash alone, part of a constant expression */
				stretch_read(s, from, p, b);
				from = after;
			}
			p = after;
			continue;
		}
		if (*p++ == '{') {
			if (++depth > DEPTH_MAX)
				return false;
		} else if (!--depth) {
			stretch_read(s, from, p, b);
			s->p = p;
			b->text.n = (size_t)(p - b->text.p);
			return true;
		}
	}
}

/* ---- Kernels (5.6, 11.1, 11.2) ---- */

static bool params_read(struct scan *s, struct mp_kernel *k)
{
	struct mp_param params[PARAMS_MAX], *copy;
	uint32_t total = 0;

	if (!accept(s, "("))
		return true;
	if (accept(s, ")"))
		return true;
	do {
		struct declaration d;
		struct mp_param *param = &params[k->nparams];

		if (k->nparams == PARAMS_MAX || !accept(s, ".param") || !declaration_read(s, &d) ||
		    !offset_add(&total, &d, &param->offset))
			return false;
		param->size = (uint32_t)d.size;
		k->nparams++;
	} while (accept(s, ","));
	if (!accept(s, ")"))
		return false;
	k->param_bytes = total;
	copy = mp_arena_array(s->arena, k->nparams, sizeof(*copy));
	if (copy)
		memcpy(copy, params, k->nparams * sizeof(*copy));
	k->params = copy;
	return true;
}

/* ".maxntid 128, 1, 1": one, two or three numbers; the rest is 1. */
static bool sizes_read(struct scan *s, uint32_t out[3])
{
	int i = 0;

	out[0] = out[1] = out[2] = 1;
	do {
		uint64_t n;

		if (i == 3 || !number_next(s, &n) || n > UINT32_MAX)
			return false;
		out[i++] = (uint32_t)n;
	} while (accept(s, ","));
	return true;
}

/* Performance directives, up to the body or the semicolon of a declaration. */
static bool limits_read(struct scan *s, struct mp_kernel *k)
{
	for (;;) {
		struct text t = token_peek(s);

		if (!t.n)
			return false;
		if (is(t, "{") || is(t, ";"))
			return true;
		token_next(s);
		if (is(t, ".maxntid") && !sizes_read(s, k->maxntid))
			return false;
		if (is(t, ".reqntid") && !sizes_read(s, k->reqntid))
			return false;
	}
}

static enum mp_image_outcome user_add(struct mp_buf *to, struct text name, const struct body *b,
				      int32_t kernel)
{
	struct shared_user u = {name, b->text, b->shared, kernel, false};

	return mp_buf_add(to, &u, sizeof(u)) ? MP_IMAGE_NO_MEMORY : MP_IMAGE_OK;
}

static enum mp_image_outcome entry_read(struct scan *s)
{
	struct mp_kernel k = {0};
	struct text name = token_next(s);
	struct body b;
	int32_t index;

	if (!word_is_name(name) || !params_read(s, &k) || !limits_read(s, &k))
		return MP_IMAGE_BAD;
	if (accept(s, ";"))
		return MP_IMAGE_OK; /* a declaration: the kernel is elsewhere */
	if (!body_read(s, &b))
		return MP_IMAGE_BAD;
	k.static_shared = b.shared;
	k.uses_printf = b.prints;
	k.name = mp_arena_strndup(s->arena, name.p, name.n);
	if (!k.name || (k.nparams && !k.params))
		return MP_IMAGE_NO_MEMORY;
	index = (int32_t)(s->kernels.len / sizeof(k));
	if (mp_buf_add(&s->kernels, &k, sizeof(k)))
		return MP_IMAGE_NO_MEMORY;
	return user_add(&s->bodies, name, &b, index);
}

/* ".func (.param .b32 r) name (.param .b64 a) .noreturn { ... }" or a declaration. */
static enum mp_image_outcome function_read(struct scan *s)
{
	struct text name = {NULL, 0};
	struct body b;
	unsigned depth = 0;

	for (;;) {
		struct text t = token_peek(s);

		if (!t.n)
			return MP_IMAGE_BAD;
		if (is(t, "{") && !depth)
			break;
		token_next(s);
		if (is(t, "("))
			depth++;
		else if (is(t, ")") && depth)
			depth--;
		else if (is(t, ";") && !depth)
			return MP_IMAGE_OK;
		else if (!depth && !name.n && word_is_name(t))
			name = t;
	}
	if (!name.n || !body_read(s, &b))
		return MP_IMAGE_BAD;
	s->func_prints |= b.prints;
	return user_add(&s->bodies, name, &b, -1);
}

/* ---- Module scope ---- */

static enum mp_image_outcome variable_read(struct scan *s, struct text space, bool is_extern)
{
	struct declaration d;

	if (!type_read(s, &d))
		return MP_IMAGE_BAD;
	do {
		struct mp_variable v = {0};
		struct body b = {0};

		if (!name_read(s, &d))
			return MP_IMAGE_BAD;
		if (is(space, ".shared")) {
			if (d.size > UINT32_MAX)
				return MP_IMAGE_BAD;
			b.shared = (uint32_t)d.size;
			if (d.size && user_add(&s->shared, d.name, &b, -1))
				return MP_IMAGE_NO_MEMORY;
			continue;
		}
		if (is_extern)
			continue;
		v.name = mp_arena_strndup(s->arena, d.name.p, d.name.n);
		v.size = d.size;
		v.align = d.align;
		v.space = d.managed		   ? MP_SPACE_MANAGED
			  : is(space, ".const") ? MP_SPACE_CONST
						: MP_SPACE_GLOBAL;
		if (!v.name || mp_buf_add(&s->variables, &v, sizeof(v)))
			return MP_IMAGE_NO_MEMORY;
	} while (accept(s, ","));
	return accept(s, ";") ? MP_IMAGE_OK : MP_IMAGE_BAD;
}

static void target_read(struct scan *s)
{
	struct text t = token_next(s);
	size_t i;

	if (t.n < 4 || memcmp(t.p, "sm_", 3))
		return;
	s->out->sm = 0;
	for (i = 3; i < t.n && t.p[i] >= '0' && t.p[i] <= '9' && s->out->sm < 1000; i++)
		s->out->sm = s->out->sm * 10 + (unsigned)(t.p[i] - '0');
}

static void version_read(struct scan *s)
{
	uint64_t major, minor = 0;
	struct text t;

	/* "9.0" is the word 9 and the word .0 */
	if (!number_next(s, &major))
		return;
	t = token_peek(s);
	if (t.n > 1 && t.p[0] == '.' && t.p[1] >= '0' && t.p[1] <= '9') {
		token_next(s);
		t.p++;
		t.n--;
		number(t, &minor);
	}
	if (major < 100 && minor < 10)
		s->out->ptx_version = (unsigned)(major * 10 + minor);
}

/* Past a directive that says nothing here, with its block if it has one (.section). */
static enum mp_image_outcome directive_skip(struct scan *s, struct text directive)
{
	struct text t = token_peek(s);
	struct body b;

	if (is(directive, ".section")) {
		while ((t = token_peek(s)).n && !is(t, "{"))
			token_next(s);
		return t.n && body_read(s, &b) ? MP_IMAGE_OK : MP_IMAGE_BAD;
	}
	if (is(directive, ".file")) { /* 11.5.2: an index, a name, perhaps two numbers; no semicolon */
		token_next(s);
		token_next(s);
		while (accept(s, ","))
			token_next(s);
		return MP_IMAGE_OK;
	}
	while ((t = token_next(s)).n && !is(t, ";"))
		;
	return MP_IMAGE_OK;
}

/* One statement of the module. NO_MEMBER at the end of the text. */
static enum mp_image_outcome statement_read(struct scan *s)
{
	bool is_extern = false;
	struct text t;

	for (;;) {
		t = token_next(s);
		if (!t.n)
			return MP_IMAGE_NO_MEMBER;
		if (is(t, ".extern"))
			is_extern = true;
		else if (!is(t, ".visible") && !is(t, ".weak") && !is(t, ".common"))
			break;
	}
	if (is(t, ".entry"))
		return entry_read(s);
	if (is(t, ".func"))
		return function_read(s);
	if (is(t, ".global") || is(t, ".const") || is(t, ".shared"))
		return variable_read(s, t, is_extern);
	if (is(t, ".version")) {
		version_read(s);
		return MP_IMAGE_OK;
	}
	if (is(t, ".target")) {
		target_read(s);
		while (accept(s, ",")) /* "sm_70, texmode_independent" */
			token_next(s);
		return MP_IMAGE_OK;
	}
	if (is(t, ".address_size")) {
		token_next(s);
		return MP_IMAGE_OK;
	}
	return t.p[0] == '.' ? directive_skip(s, t) : MP_IMAGE_BAD;
}

/* ---- Shared memory that is reached through a name ---- */

static void shared_give(struct scan *s, const struct shared_user *from)
{
	struct shared_user *bodies = (struct shared_user *)(void *)s->bodies.data;
	struct mp_kernel *kernels = (struct mp_kernel *)(void *)s->kernels.data;
	size_t n = s->bodies.len / sizeof(*bodies), i;

	for (i = 0; i < n; i++) {
		struct shared_user *b = &bodies[i];

		if (b->body.p == from->body.p || b->body.n <= from->name.n ||
		    !word_in(b->body, from->name))
			continue;
		if (b->kernel >= 0)
			kernels[b->kernel].static_shared += from->bytes;
		else
			b->bytes += from->bytes;
	}
}

/*
 * A kernel also needs the .shared variables of its module that it names, and those of
 * the functions it calls.  Functions are taken in text order, callees first as
 * compilers write them; more than SHARED_MAX names are not followed.
 */
static void shared_spread(struct scan *s)
{
	struct shared_user *u = (struct shared_user *)(void *)s->shared.data;
	size_t n = s->shared.len / sizeof(*u), i, followed = 0;

	for (i = 0; i < n && followed < SHARED_MAX; i++, followed++)
		shared_give(s, &u[i]);
	u = (struct shared_user *)(void *)s->bodies.data;
	n = s->bodies.len / sizeof(*u);
	for (i = 0; i < n && followed < SHARED_MAX; i++)
		if (u[i].kernel < 0 && u[i].bytes) {
			shared_give(s, &u[i]);
			followed++;
		}
}

/* ---- The whole text ---- */

static void *array_take(struct scan *s, const struct mp_buf *b, size_t each, size_t *ret_n)
{
	void *copy = b->len ? mp_arena_alloc(s->arena, b->len) : NULL;

	*ret_n = copy ? b->len / each : 0;
	if (copy)
		memcpy(copy, b->data, b->len);
	return copy;
}

static enum mp_image_outcome contents_take(struct scan *s)
{
	struct mp_contents *c = s->out;
	size_t i;

	shared_spread(s);
	c->kernels = array_take(s, &s->kernels, sizeof(*c->kernels), &c->nkernels);
	c->variables = array_take(s, &s->variables, sizeof(*c->variables), &c->nvariables);
	if ((s->kernels.len && !c->kernels) || (s->variables.len && !c->variables))
		return MP_IMAGE_NO_MEMORY;
	for (i = 0; i < c->nkernels; i++)
		c->kernels[i].uses_printf |= s->func_prints;
	return MP_IMAGE_OK;
}

enum mp_image_outcome mp_ptx_read(const char *text, size_t size, struct mp_arena *arena,
				  struct mp_contents *ret)
{
	struct scan s = {.p = text, .end = text + strnlen(text, size), .arena = arena, .out = ret};
	size_t ceiling = arena->ceiling;
	enum mp_image_outcome rc;

	mp_buf_init(&s.kernels, ceiling);
	mp_buf_init(&s.variables, ceiling);
	mp_buf_init(&s.bodies, ceiling);
	mp_buf_init(&s.shared, ceiling);
	while (!(rc = statement_read(&s)))
		;
	if (rc == MP_IMAGE_NO_MEMBER)
		rc = ret->ptx_version ? contents_take(&s) : MP_IMAGE_BAD;
	mp_buf_fini(&s.kernels);
	mp_buf_fini(&s.variables);
	mp_buf_fini(&s.bodies);
	mp_buf_fini(&s.shared);
	return rc;
}

void mp_ptx_target(const char *text, size_t size, unsigned *sm, bool *arch, bool *family,
		   unsigned *version)
{
	struct mp_contents c = {0};
	struct scan s = {.p = text, .end = text + strnlen(text, size), .out = &c};
	struct text t;
	int i;

	*arch = *family = false;
	/* 11.1: .version first, then .target, with nothing but comments between. */
	for (i = 0; i < 16; i++) {
		t = token_next(&s);
		if (is(t, ".version")) {
			version_read(&s);
		} else if (is(t, ".target")) {
			t = token_peek(&s);
			target_read(&s);
			*arch = t.n > 4 && t.p[t.n - 1] == 'a';
			*family = t.n > 4 && t.p[t.n - 1] == 'f';
			break;
		}
	}
	*sm = c.sm;
	*version = c.ptx_version;
}
