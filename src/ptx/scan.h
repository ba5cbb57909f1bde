/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of ptx (chapter 4), and the parts of the grammar that modules and
 * bodies share.  Private to the room.
 *
 * The first error sticks: after it every token is the end of the text, so that
 * a parser needs no check after each step and always ends.
 */
#ifndef MP_PTX_SCAN_H
#define MP_PTX_SCAN_H

#include "ptx/ptx.h"

enum token_kind { TOK_END, TOK_IDENT, TOK_DOT, TOK_INT, TOK_F32, TOK_F64, TOK_STRING, TOK_PUNCT };

struct token {
	uint8_t kind;
	char punct;
	uint32_t line, len;
	const char *s; /* of TOK_DOT: without the dot */
	uint64_t bits;
};

struct scan {
	const char *text, *p, *end;
	uint32_t line;
	struct token tok; /* the current token */
	struct mp_arena *arena;
	struct mp_ptx_module *module;
	struct mp_ptx_error *err;
	bool failed, no_memory;
};

void scan_init(struct scan *s, struct mp_ptx_module *m, struct mp_arena *arena, size_t at,
	       size_t end, uint32_t line, struct mp_ptx_error *err);
/* Step to the next token. */
void scan_next(struct scan *s);
/* The first error wins. */
void scan_fail(struct scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *scan_alloc(struct scan *s, size_t n, size_t size);
/* The character after the current token and blanks. */
char scan_peek(struct scan *s);

bool scan_is(const struct scan *s, char punct);
bool scan_word_is(const struct scan *s, const char *word); /* TOK_DOT */
bool scan_accept(struct scan *s, char punct);
void scan_expect(struct scan *s, char punct);
/* Skip to the end of the line. */
void scan_skip_line(struct scan *s);
/* The current token is '{': skip to after the matching '}'. */
void scan_skip_braces(struct scan *s);
char *scan_take_name(struct scan *s);

/* A constant expression (4.6); a float comes back with kind TOK_F32 or TOK_F64. */
struct constant {
	uint8_t kind;
	uint64_t bits;
};
struct constant scan_constant(struct scan *s);
uint32_t scan_u32(struct scan *s);

/*
 * A declaration from after its state space to before ',' ';' or ')':
 *   [.align N] [.v2|.v4] .type [.ptr ...] name [dims] [= initialiser]
 * `again`: only name and what follows, with type and alignment as in *v.
 */
void scan_variable(struct scan *s, struct mp_ptx_var *v, bool again);
/* "(" declarations ")" of .param or .reg; the current token is '('. */
void scan_params(struct scan *s, struct mp_ptx_var **ret_vars, uint32_t *ret_n);

#endif
