/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prototypes of abi/cuda.h: `CUresult cuName(TYPE NAME, ...);` at the start
 * of a line, possibly wrapped.  Nothing else of C is understood, nor needed:
 * the header is our own and keeps to this form.
 */
#include "mpgen.h"

#include <ctype.h>
#include <string.h>

static char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = 0;
	return s;
}

/* "const char *name" -> type "const char *", name "name"; white space becomes one blank. */
static bool split_param(char *text, const char **type, const char **name)
{
	char out[256];
	size_t n = 0, at;

	for (char *s = trim(text); *s && n < sizeof(out) - 1; s++) {
		char c = isspace((unsigned char)*s) ? ' ' : *s;

		if (c != ' ' || (n && out[n - 1] != ' '))
			out[n++] = c;
	}
	out[n] = 0;
	for (at = n; at && (isalnum((unsigned char)out[at - 1]) || out[at - 1] == '_'); at--)
		;
	if (!at || at == n)
		return false;
	*name = mp_gen_strndup(out + at, n - at);
	while (at && out[at - 1] == ' ')
		at--;
	*type = mp_gen_strndup(out, at);
	return true;
}

static bool read_params(struct mp_proto *p, char *text)
{
	text = trim(text);
	if (!strcmp(text, "void"))
		return true;
	for (char *s = text; s;) {
		char *comma = strchr(s, ',');

		if (comma)
			*comma = 0;
		if (p->count == (int)(sizeof(p->param) / sizeof(p->param[0])) ||
		    !split_param(s, &p->param[p->count].type, &p->param[p->count].name))
			return false;
		p->count++;
		s = comma ? comma + 1 : NULL;
	}
	return true;
}

void mp_proto_read(struct mp_api *api, const char *file, char *text)
{
	static const char start[] = "\nCUresult cu";
	size_t room = 0;
	int line = 1;
	char *from = text;

	for (char *s = strstr(text, start); s; s = strstr(s, start))
		room++, s++;
	api->proto = mp_gen_alloc((room + 1) * sizeof(api->proto[0]));
	for (char *s = strstr(text, start); s; s = strstr(s, start)) {
		char *name = s + sizeof("\nCUresult ") - 1, *open = strchr(name, '(');
		char *close = open ? strstr(open, ");") : NULL;
		struct mp_proto *p = &api->proto[api->protos];

		for (; from <= s; from++)
			line += *from == '\n';
		if (!open || !close) {
			mp_gen_error(api, file, line, "a prototype is not closed");
			return;
		}
		*close = 0;
		p->name = mp_gen_strndup(name, (size_t)(open - name));
		for (char *c = from; c < close; c++)
			line += *c == '\n';
		from = close + 1;
		if (!read_params(p, open + 1))
			mp_gen_error(api, file, line, "parameters of %s are not understood",
				     p->name);
		api->protos++;
		s = close + 1;
	}
}

const struct mp_proto *mp_proto_find(const struct mp_api *api, const char *name, size_t len)
{
	for (size_t i = 0; i < api->protos; i++)
		if (!strncmp(api->proto[i].name, name, len) && !api->proto[i].name[len])
			return &api->proto[i];
	return NULL;
}
