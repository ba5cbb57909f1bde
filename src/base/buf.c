/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a ceiling and a sticky failure. */
#include "base/buf.h"
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mp_buf_init(struct mp_buf *b, size_t ceiling)
{
	memset(b, 0, sizeof(*b));
	b->ceiling = ceiling;
}

void mp_buf_fini(struct mp_buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void *mp_buf_reserve(struct mp_buf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (b->failed || !mp_add(b->len, n, &need) || need > b->ceiling) {
		b->failed = true;
		return NULL;
	}
	if (!b->data || need + 1 > b->cap) {
		cap = b->cap ? b->cap : 256;
		while (cap < need + 1)
			cap *= 2;
		p = realloc(b->data, cap);
		if (!p) {
			b->failed = true;
			return NULL;
		}
		b->data = p;
		b->cap = cap;
		b->data[b->len] = 0;
	}
	assert(b->len + n < b->cap);
	return b->data + b->len;
}

int mp_buf_add(struct mp_buf *b, const void *src, size_t n)
{
	char *p = mp_buf_reserve(b, n);

	if (!p)
		return -1;
	if (n)
		memcpy(p, src, n);
	b->len += n;
	b->data[b->len] = 0;
	return 0;
}

int mp_buf_puts(struct mp_buf *b, const char *s)
{
	return mp_buf_add(b, s, strlen(s));
}

int mp_buf_printf(struct mp_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	p = n < 0 ? NULL : mp_buf_reserve(b, (size_t)n + 1);
	if (p) {
		vsnprintf(p, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return p ? 0 : -1;
}

char *mp_buf_take(struct mp_buf *b, size_t *ret_len)
{
	char *p = b->data;

	if (ret_len)
		*ret_len = b->len;
	mp_buf_init(b, b->ceiling);
	return p;
}
