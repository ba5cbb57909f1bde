/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device malloc and free.  All bookkeeping is outside device memory, so that a
 * wild store of a kernel cannot break it.  A heap is pages of 64 KiB; a page
 * serves one size class, or belongs to a run of pages for a large block.
 */
#include "exec/heap.h"
#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE	 65536u
#define CLASSES	 12 /* 16 << class bytes, up to 32 KiB */
#define P_FREE	 0
#define P_LARGE	 200 /* first page of a run */
#define P_TAIL	 201

struct heap {
	uint64_t base, size;
	uint32_t npages;
	uint8_t *kind; /* P_*, or class + 1 */
	uint32_t *run; /* of P_LARGE: pages */
	uint64_t *stack[CLASSES]; /* free blocks */
	uint32_t n[CLASSES], cap[CLASSES];
	struct heap *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct heap *heaps; /* MP_GUARDED_BY(lock) */

static void heap_free(struct heap *h)
{
	int c;

	for (c = 0; c < CLASSES; c++)
		free(h->stack[c]);
	free(h->kind);
	free(h->run);
	free(h);
}

static struct heap *heap_of(const struct mp_exec_space *s)
{
	struct heap *h;

	for (h = heaps; h; h = h->next)
		if (h->base == s->heap_base && h->size == s->heap_size)
			return h;
	if (!s->heap_base || s->heap_size < PAGE || s->heap_size / PAGE > UINT32_MAX)
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->base = s->heap_base;
	h->size = s->heap_size;
	h->npages = (uint32_t)(s->heap_size / PAGE);
	h->kind = calloc(h->npages, 1);
	h->run = calloc(h->npages, sizeof(*h->run));
	if (!h->kind || !h->run) {
		heap_free(h);
		return NULL;
	}
	h->next = heaps;
	heaps = h;
	return h;
}

void mp_exec_heap_forget(uint64_t heap_base)
{
	struct heap **p, *h;

	pthread_mutex_lock(&lock);
	for (p = &heaps; (h = *p);) {
		if (h->base == heap_base) {
			*p = h->next;
			heap_free(h);
		} else {
			p = &h->next;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* First fit of n free pages; UINT32_MAX when there are none. */
static uint32_t pages_find(const struct heap *h, uint32_t n)
{
	uint32_t i, run = 0;

	for (i = 0; i < h->npages; i++) {
		run = h->kind[i] == P_FREE ? run + 1 : 0;
		if (run == n)
			return i + 1 - n;
	}
	return UINT32_MAX;
}

static bool push(struct heap *h, int c, uint64_t addr)
{
	if (h->n[c] == h->cap[c]) {
		uint32_t cap = h->cap[c] ? h->cap[c] * 2 : 4096;
		uint64_t *more = realloc(h->stack[c], cap * sizeof(*more));

		if (!more)
			return false;
		h->stack[c] = more;
		h->cap[c] = cap;
	}
	h->stack[c][h->n[c]++] = addr;
	return true;
}

static uint64_t get_large(struct heap *h, uint64_t size)
{
	uint64_t n = (size + PAGE - 1) / PAGE;
	uint32_t at, i;

	if (n > h->npages)
		return 0;
	at = pages_find(h, (uint32_t)n);
	if (at == UINT32_MAX)
		return 0;
	h->kind[at] = P_LARGE;
	h->run[at] = (uint32_t)n;
	for (i = 1; i < n; i++)
		h->kind[at + i] = P_TAIL;
	return h->base + (uint64_t)at * PAGE;
}

static uint64_t get_small(struct heap *h, uint64_t size)
{
	uint32_t each, at, k;
	int c = 0;

	while ((16u << c) < size)
		c++;
	each = 16u << c;
	if (!h->n[c]) {
		at = pages_find(h, 1);
		if (at == UINT32_MAX)
			return 0;
		for (k = PAGE / each; k-- > 0;)
			if (!push(h, c, h->base + (uint64_t)at * PAGE + (uint64_t)k * each))
				return 0;
		h->kind[at] = (uint8_t)(c + 1);
	}
	return h->stack[c][--h->n[c]];
}

uint64_t heap_get(const struct mp_exec_space *s, uint64_t size)
{
	struct heap *h;
	uint64_t a = 0;

	if (!size || size > s->heap_size)
		return 0;
	pthread_mutex_lock(&lock);
	h = heap_of(s);
	if (h)
		a = size > (16u << (CLASSES - 1)) ? get_large(h, size) : get_small(h, size);
	pthread_mutex_unlock(&lock);
	return a;
}

void heap_put(const struct mp_exec_space *s, uint64_t addr)
{
	struct heap *h;
	uint64_t page;
	uint32_t i;

	pthread_mutex_lock(&lock);
	h = heap_of(s);
	if (h && addr >= h->base && (page = (addr - h->base) / PAGE) < h->npages) {
		uint8_t kind = h->kind[page];

		if (kind == P_LARGE && addr == h->base + page * PAGE) {
			for (i = 0; i < h->run[page]; i++)
				h->kind[page + i] = P_FREE;
		} else if (kind != P_FREE && kind <= CLASSES && !(addr & ((16u << (kind - 1)) - 1))) {
			push(h, kind - 1, addr);
		}
	}
	pthread_mutex_unlock(&lock);
}
