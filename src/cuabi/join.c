/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining PTX texts into one, as a device linker joins objects: for -rdc
 * programs and the cuLink calls.
 *
 * A text is cut into module-scope statements (PTX ISA 4.1, 5.4).  Names that
 * are not visible outside their text get a suffix when another text has the same
 * name, so that two texts may both have a `helper`; others stay, since the
 * program asks for its static kernels and variables by name.  An .extern declaration gives way to the definition; of
 * several .weak definitions the first stays; two strong ones are an error.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cuabi/cuabi.h"

#define JOINED_CEILING ((size_t)1 << 30)

enum linkage { INTERNAL, VISIBLE, WEAK, EXTERN };

struct statement {
	const char *text, *name;
	size_t len, name_len;
	enum linkage linkage;
	bool heading; /* .version, .target, .address_size, .file, debug sections */
};

struct text {
	struct statement *list;
	size_t n, cap;
};

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Skip one comment or string at p, or return p. */
static const char *skip(const char *p, const char *end)
{
	if (p + 1 < end && p[0] == '/' && p[1] == '/') {
		while (p < end && *p != '\n')
			p++;
	} else if (p + 1 < end && p[0] == '/' && p[1] == '*') {
		p += 2;
		while (p + 1 < end && !(p[0] == '*' && p[1] == '/'))
			p++;
		p = p + 2 < end ? p + 2 : end;
	} else if (p < end && *p == '"') {
		p++;
		while (p < end && *p != '"')
			p += *p == '\\' && p + 1 < end ? 2 : 1;
		p = p < end ? p + 1 : end;
	}
	return p;
}

static bool is(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(end - p) >= n && !memcmp(p, word, n) &&
	       ((size_t)(end - p) == n || !word_char(p[n]));
}

/* One statement from p on; returns where it ends. */
static const char *cut(const char *p, const char *end, struct statement *s)
{
	bool code = false;
	int braces = 0, parens = 0;

	memset(s, 0, sizeof(*s));
	s->text = p;
	if (is(p, end, ".version") || is(p, end, ".target") || is(p, end, ".address_size") ||
	    is(p, end, ".file")) {
		s->heading = true;
		/* It has no end of its own: a line, or where the next directive begins. */
		for (p++; p < end && *p != '\n' && *p != ';'; ) {
			if (*p == '.' && isspace((unsigned char)p[-1]))
				break;
			p = skip(p, end) != p ? skip(p, end) : p + 1;
		}
		s->len = (size_t)(p - s->text);
		return p;
	}
	if (is(p, end, ".section")) {
		s->heading = true;
		while (p < end && *p != '}')
			p++;
		return p < end ? p + 1 : end;
	}
	while (p < end) {
		const char *q = skip(p, end);

		if (q != p) {
			p = q;
			continue;
		}
		if (*p == '{') {
			braces++;
		} else if (*p == '}') {
			braces--;
			if (!braces && code) {
				p++;
				break;
			}
		} else if (*p == '(') {
			parens++;
		} else if (*p == ')') {
			parens--;
		} else if (*p == ';' && !braces && !parens) {
			p++;
			break;
		} else if (*p == '.' && !braces && !parens) {
			if (is(p, end, ".entry") || is(p, end, ".func"))
				code = true;
			else if (is(p, end, ".visible"))
				s->linkage = VISIBLE;
			else if (is(p, end, ".weak") || is(p, end, ".common"))
				s->linkage = WEAK;
			else if (is(p, end, ".extern"))
				s->linkage = EXTERN;
			p++;
			while (p < end && word_char(*p))
				p++;
			continue;
		} else if (word_char(*p) && !braces && !parens) {
			const char *word = p;

			while (p < end && word_char(*p))
				p++;
			if (!s->name && !isdigit((unsigned char)*word)) {
				s->name = word;
				s->name_len = (size_t)(p - word);
			}
			continue;
		}
		p++;
	}
	s->len = (size_t)(p - s->text);
	return p;
}

static bool parse(struct text *t, const char *p, size_t len)
{
	const char *end = p + len;

	for (;;) {
		const char *q;

		while (p < end && ((q = skip(p, end)) != p || isspace((unsigned char)*p) || !*p ||
				   *p == ';'))
			p = q != p ? q : p + 1;
		if (p >= end)
			return true;
		if (t->n == t->cap) {
			size_t cap = t->cap ? t->cap * 2 : 64;
			struct statement *list = realloc(t->list, cap * sizeof(*list));

			if (!list)
				return false;
			t->list = list;
			t->cap = cap;
		}
		p = cut(p, end, &t->list[t->n]);
		t->n++;
	}
}

/* ---- Names ---- */

struct name {
	const char *text;
	size_t len;
	size_t owner; /* statement number over all texts that stays */
	enum linkage linkage;
};

struct names {
	struct name *table; /* open addressing */
	size_t size, used;
};

static struct name *names_find(struct names *n, const char *text, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ull;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3ull;
	for (i = h & (n->size - 1); n->table[i].text; i = (i + 1) & (n->size - 1))
		if (n->table[i].len == len && !memcmp(n->table[i].text, text, len))
			break;
	return &n->table[i];
}

static bool names_init(struct names *n, size_t most)
{
	n->size = 64;
	while (n->size < most * 2 + 16)
		n->size *= 2;
	n->table = calloc(n->size, sizeof(*n->table));
	return n->table != NULL;
}

static bool stronger(enum linkage a, enum linkage b)
{
	return (a == VISIBLE && b != VISIBLE) || (a == WEAK && b == EXTERN);
}

/* ---- Output ---- */

static void put_renamed(struct mp_buf *out, const struct statement *s, struct names *internal,
			size_t text_number)
{
	const char *p = s->text, *end = s->text + s->len, *plain = p;

	while (p < end) {
		const char *q = skip(p, end), *word = p;

		if (q != p) {
			p = q;
			continue;
		}
		if (!word_char(*p)) {
			/* A directive or a register is no symbol: its word goes with its sign. */
			bool sign = *p == '.' || *p == '%';

			p++;
			while (sign && p < end && word_char(*p))
				p++;
			continue;
		}
		while (p < end && word_char(*p))
			p++;
		if (isdigit((unsigned char)*word) ||
		    !names_find(internal, word, (size_t)(p - word))->text)
			continue;
		mp_buf_add(out, plain, (size_t)(p - plain));
		mp_buf_printf(out, "$t%zu", text_number);
		plain = p;
	}
	mp_buf_add(out, plain, (size_t)(end - plain));
	mp_buf_puts(out, "\n");
}

static CUresult choose(struct text *texts, size_t n, struct names *global)
{
	size_t i, j, number = 0;

	for (i = 0; i < n; i++) {
		for (j = 0; j < texts[i].n; j++, number++) {
			struct statement *s = &texts[i].list[j];
			struct name *have;

			if (s->heading || !s->name || s->linkage == INTERNAL)
				continue;
			have = names_find(global, s->name, s->name_len);
			if (have->text && have->linkage == VISIBLE && s->linkage == VISIBLE)
				return CUDA_ERROR_INVALID_PTX;
			if (have->text && !stronger(s->linkage, have->linkage))
				continue;
			*have = (struct name){s->name, s->name_len, number, s->linkage};
		}
	}
	return CUDA_SUCCESS;
}

static size_t version_of(const struct text *t)
{
	size_t j;

	for (j = 0; j < t->n; j++) {
		const char *p = t->list[j].text;
		char *rest;
		unsigned long major;

		if (!t->list[j].heading || memcmp(p, ".version", 8))
			continue;
		major = strtoul(p + 8, &rest, 10);
		return major * 100 + (*rest == '.' ? strtoul(rest + 1, NULL, 10) : 0);
	}
	return 0;
}

/* Internal names that more than one text has: owner is the first's number, linkage VISIBLE once there is another. */
static void collide(struct text *texts, size_t n, struct names *global, struct names *several)
{
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < texts[i].n; j++) {
			const struct statement *s = &texts[i].list[j];
			struct name *have;

			if (!s->name || s->heading || s->linkage != INTERNAL)
				continue;
			have = names_find(several, s->name, s->name_len);
			if (!have->text)
				*have = (struct name){s->name, s->name_len, i, INTERNAL};
			if (have->owner != i || names_find(global, s->name, s->name_len)->text)
				have->linkage = VISIBLE;
		}
}

static CUresult join(struct text *texts, size_t n, struct names *global, struct names *several,
		     struct mp_buf *out)
{
	size_t i, j, number = 0, newest = 0;

	for (i = 1; i < n; i++)
		if (version_of(&texts[i]) > version_of(&texts[newest]))
			newest = i;
	for (j = 0; j < texts[newest].n; j++) {
		const struct statement *s = &texts[newest].list[j];

		if (!s->heading || !s->len || is(s->text, s->text + s->len, ".file"))
			continue;
		mp_buf_add(out, s->text, s->len);
		mp_buf_puts(out, "\n");
	}
	for (i = 0; i < n; i++) {
		struct names internal;

		if (!names_init(&internal, texts[i].n))
			return CUDA_ERROR_OUT_OF_MEMORY;
		for (j = 0; j < texts[i].n; j++) {
			const struct statement *s = &texts[i].list[j];

			if (s->name && !s->heading && s->linkage == INTERNAL &&
			    names_find(several, s->name, s->name_len)->linkage == VISIBLE)
				*names_find(&internal, s->name, s->name_len) =
					(struct name){.text = s->name, .len = s->name_len};
		}
		for (j = 0; j < texts[i].n; j++, number++) {
			const struct statement *s = &texts[i].list[j];

			if (s->heading)
				continue;
			if (s->name && s->linkage != INTERNAL &&
			    names_find(global, s->name, s->name_len)->owner != number)
				continue;
			put_renamed(out, s, &internal, i);
		}
		free(internal.table);
	}
	return out->failed ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult mp_join_texts(char **texts, size_t *lens, size_t n, char **ret_ptx, size_t *ret_len)
{
	struct text *parsed = calloc(n ? n : 1, sizeof(*parsed));
	struct names global = {0}, several = {0};
	struct mp_buf out;
	size_t i, all = 0;
	CUresult r = CUDA_SUCCESS;

	mp_buf_init(&out, JOINED_CEILING);
	for (i = 0; parsed && i < n && !r; i++) {
		if (!parse(&parsed[i], texts[i], lens[i]))
			r = CUDA_ERROR_OUT_OF_MEMORY;
		all += parsed[i].n;
	}
	if (!parsed || !names_init(&global, all) || !names_init(&several, all))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (!r)
		r = choose(parsed, n, &global);
	if (!r) {
		collide(parsed, n, &global, &several);
		r = join(parsed, n, &global, &several, &out);
	}
	if (!r && !(*ret_ptx = mp_buf_take(&out, ret_len)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	mp_buf_fini(&out);
	free(global.table);
	free(several.table);
	for (i = 0; parsed && i < n; i++)
		free(parsed[i].list);
	free(parsed);
	return r;
}

/* The text of the member of a relocatable fatbin that a device of this capability takes. */
static CUresult part_text(const void *fatbin, unsigned capability, char **ret_text, size_t *ret_len)
{
	enum mp_image_outcome o;
	struct mp_image part;
	struct mp_member m;
	char *text;

	o = mp_image_open(fatbin, 0, &part);
	if (!o)
		o = mp_image_choose(&part, capability, MP_TAKE_PTX, &m);
	if (o)
		return mp_image_result(o);
	text = malloc(m.size + 1);
	if (!text)
		return CUDA_ERROR_OUT_OF_MEMORY;
	o = mp_member_decode(&m, text);
	if (o) {
		free(text);
		return mp_image_result(o);
	}
	text[m.size] = 0;
	*ret_text = text;
	*ret_len = strlen(text); /* a member may be padded */
	return CUDA_SUCCESS;
}

CUresult mp_image_join(const struct mp_image *image, unsigned capability, char **ret_text,
		       size_t *ret_len)
{
	size_t n = 0, got = 0, i, *lens;
	CUresult r = CUDA_SUCCESS;
	char **texts;

	while (image->relocatable && image->relocatable[n])
		n++;
	if (!n)
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	texts = calloc(n, sizeof(*texts));
	lens = calloc(n, sizeof(*lens));
	if (!texts || !lens)
		r = CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n && !r; i++) {
		r = part_text(image->relocatable[i], capability, &texts[got], &lens[got]);
		got += !r;
		/*
		 * NVIDIA's device run-time library is linked into every such program and
		 * has PTX for the newest target only: what nobody calls is not missed.
		 */
		if (r == CUDA_ERROR_NO_BINARY_FOR_GPU)
			r = CUDA_SUCCESS;
	}
	if (!r && !got)
		r = CUDA_ERROR_NO_BINARY_FOR_GPU;
	if (!r)
		r = mp_join_texts(texts, lens, got, ret_text, ret_len);
	for (i = 0; i < got; i++)
		free(texts[i]);
	free(texts);
	free(lens);
	return r;
}
