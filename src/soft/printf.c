/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device printf: text gathers per context and is written to stdout, through
 * stdio, at the calls that synchronise, as NVIDIA's driver does, so that it
 * mixes with the program's own output in the same order.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The FIFO limit counts NVIDIA's records; text is held to a multiple of it. */
#define TEXT_PER_FIFO 16

void mp_print_add(void *arg, const char *text, size_t n)
{
	struct CUctx_st *ctx = arg;
	struct mp_print *p = &ctx->print;

	pthread_mutex_lock(&p->lock);
	if (p->len + n > p->cap) {
		size_t most = ctx->limits[CU_LIMIT_PRINTF_FIFO_SIZE] * TEXT_PER_FIFO;
		size_t cap = p->cap ? p->cap * 2 : 65536;
		char *q;

		while (cap < p->len + n)
			cap *= 2;
		q = cap <= most ? realloc(p->text, cap) : NULL;
		if (!q) {
			pthread_mutex_unlock(&p->lock);
			return; /* a full FIFO loses output */
		}
		p->text = q;
		p->cap = cap;
	}
	memcpy(p->text + p->len, text, n);
	p->len += n;
	pthread_mutex_unlock(&p->lock);
}

void mp_print_error(void *arg, const char *text, size_t n)
{
	(void)arg;
	fwrite(text, 1, n, stderr);
}

void mp_print_flush(struct CUctx_st *ctx)
{
	struct mp_print *p = &ctx->print;
	char *text;
	size_t len;

	if (MP_LIKELY(!__atomic_load_n(&p->len, __ATOMIC_RELAXED)))
		return;
	pthread_mutex_lock(&p->lock);
	text = p->text;
	len = p->len;
	p->text = NULL;
	p->len = p->cap = 0;
	pthread_mutex_unlock(&p->lock);
	fwrite(text, 1, len, stdout);
	free(text);
}
