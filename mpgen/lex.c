/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to lines of words.  `#` opens a comment, `"` a word that runs to the
 * closing quote, `=` is a word of its own.  Words point into the text.
 */
#include "mpgen.h"

#include <string.h>

static struct mp_line *add_line(struct mp_lines *l)
{
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 256;
		struct mp_line *line = mp_gen_alloc(room * sizeof(*line));

		if (l->count)
			memcpy(line, l->line, l->count * sizeof(*line));
		l->line = line;
		l->room = room;
	}
	memset(&l->line[l->count], 0, sizeof(l->line[0]));
	return &l->line[l->count++];
}

static bool is_word_end(char c)
{
	return !c || c == ' ' || c == '\t' || c == '=' || c == '#' || c == '"';
}

/* Splits one line (NUL-terminated, changed in place). */
static void split(struct mp_api *api, struct mp_line *l, char *s)
{
	while (*s && *s != '#') {
		char *begin = s, *word;

		if (*s == ' ' || *s == '\t' || *s == '\r') {
			s++;
			continue;
		}
		if (*s == '"') {
			s = strchr(s + 1, '"');
			if (!s) {
				mp_gen_error(api, l->file, l->no, "the quote is not closed");
				return;
			}
			word = mp_gen_strndup(begin, (size_t)(s - begin));
			s++;
		} else if (*s == '=') {
			word = mp_gen_strndup("=", 1);
			s++;
		} else {
			while (!is_word_end(*s))
				s++;
			word = mp_gen_strndup(begin, (size_t)(s - begin));
		}
		if (l->count == MP_WORDS_MAX) {
			mp_gen_error(api, l->file, l->no, "more than %d words in a line",
				     MP_WORDS_MAX);
			return;
		}
		l->word[l->count++] = word;
	}
}

void mp_lex(struct mp_api *api, const char *file, char *text, struct mp_lines *ret)
{
	int no = 1;

	for (char *s = text; s && *s; no++) {
		char *end = strchr(s, '\n');
		struct mp_line *l;

		if (end)
			*end = 0;
		l = add_line(ret);
		l->file = file;
		l->no = no;
		l->indented = *s == ' ' || *s == '\t';
		split(api, l, s);
		if (!l->count)
			ret->count--;
		s = end ? end + 1 : NULL;
	}
}
