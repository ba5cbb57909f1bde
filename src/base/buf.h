/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer that is born with a ceiling.
 *
 * Errors stick: after a failed append (no memory, ceiling reached) every
 * further append fails too, and the caller checks once, at the end.
 */
#ifndef MP_BASE_BUF_H
#define MP_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct mp_buf {
	char *data; /* NUL-terminated whenever it is not NULL */
	size_t len, cap, ceiling;
	bool failed;
};

void mp_buf_init(struct mp_buf *b, size_t ceiling);
void mp_buf_fini(struct mp_buf *b);
/* 0, or -1 when the buffer has failed. */
int mp_buf_add(struct mp_buf *b, const void *p, size_t n);
int mp_buf_puts(struct mp_buf *b, const char *s);
int mp_buf_printf(struct mp_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes; NULL when the buffer has failed. Append with b->len += n. */
void *mp_buf_reserve(struct mp_buf *b, size_t n);
/* Hands the bytes to the caller, who frees them; the buffer is empty again. */
char *mp_buf_take(struct mp_buf *b, size_t *ret_len);

#endif
