/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of blocks: reverse post-order, each loop's blocks together.
 *
 * Warps run the lowest block that has lanes waiting.  With this numbering every
 * lane inside a loop comes before any lane that left it, so lanes meet again
 * without a stack of reconvergence points.  Any order is correct; this one
 * reconverges.
 */
#include "exec/warp.h"

#include <string.h>

struct flow {
	uint32_t n;
	const uint32_t *succ_at, *succ;
	uint32_t *pred_at, *pred;
	uint32_t *rpo, *number; /* rpo[i] = block, number[block] = i or NONE */
	uint32_t reached;
	uint32_t *idom;	  /* by rpo number */
	uint32_t *loop;	  /* by rpo number: innermost header, or NONE */
	uint32_t *parent; /* by header's rpo number: the enclosing loop's header */
};

#define NONE UINT32_MAX

static void post_order(struct flow *f, uint32_t *stack, uint32_t *at)
{
	uint32_t depth = 0, done = 0, i;

	stack[depth++] = 0;
	f->number[0] = 0;
	at[0] = f->succ_at[0];
	while (depth) {
		uint32_t b = stack[depth - 1];

		if (at[b] < f->succ_at[b + 1]) {
			uint32_t s = f->succ[at[b]++];

			if (f->number[s] == NONE) {
				f->number[s] = 0;
				at[s] = f->succ_at[s];
				stack[depth++] = s;
			}
		} else {
			f->rpo[done++] = b;
			depth--;
		}
	}
	for (i = 0; i < done / 2; i++) {
		uint32_t t = f->rpo[i];

		f->rpo[i] = f->rpo[done - 1 - i];
		f->rpo[done - 1 - i] = t;
	}
	for (i = 0; i < done; i++)
		f->number[f->rpo[i]] = i;
	f->reached = done;
}

/* Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm", 2001. */
static void dominators(struct flow *f)
{
	bool changed = true;
	uint32_t i, k;

	for (i = 0; i < f->reached; i++)
		f->idom[i] = NONE;
	f->idom[0] = 0;
	while (changed) {
		changed = false;
		for (i = 1; i < f->reached; i++) {
			uint32_t b = f->rpo[i], best = NONE;

			for (k = f->pred_at[b]; k < f->pred_at[b + 1]; k++) {
				uint32_t p = f->number[f->pred[k]], q;

				if (p == NONE || f->idom[p] == NONE)
					continue;
				if (best == NONE) {
					best = p;
					continue;
				}
				for (q = best; p != q;) {
					while (p > q)
						p = f->idom[p];
					while (q > p)
						q = f->idom[q];
				}
				best = p;
			}
			if (f->idom[i] != best) {
				f->idom[i] = best;
				changed = true;
			}
		}
	}
}

static bool dominates(const struct flow *f, uint32_t a, uint32_t b)
{
	while (b > a)
		b = f->idom[b];
	return a == b;
}

static uint32_t outermost(const struct flow *f, uint32_t header)
{
	while (f->parent[header] != NONE)
		header = f->parent[header];
	return header;
}

/* Natural loops, inner ones first: headers in descending order of number. */
static void loops(struct flow *f, uint32_t *stack)
{
	uint32_t h, k;

	for (h = 0; h < f->reached; h++)
		f->loop[h] = f->parent[h] = NONE;
	for (h = f->reached; h-- > 0;) {
		uint32_t b = f->rpo[h], depth = 0;
		bool is_header = false;

		for (k = f->pred_at[b]; k < f->pred_at[b + 1]; k++) {
			uint32_t p = f->number[f->pred[k]];

			if (p == NONE || p < h || !dominates(f, h, p))
				continue;
			is_header = true;
			if (p != h)
				stack[depth++] = p;
		}
		if (!is_header)
			continue;
		f->loop[h] = h;
		while (depth) {
			uint32_t x = stack[--depth], head = x;

			if (f->loop[x] != NONE) {
				head = outermost(f, f->loop[x]);
				if (head == h)
					continue;
				f->parent[head] = h;
			} else {
				f->loop[x] = h;
			}
			for (k = f->pred_at[f->rpo[head]]; k < f->pred_at[f->rpo[head] + 1]; k++) {
				uint32_t p = f->number[f->pred[k]];

				if (p != NONE && p != h && p > h && depth < f->n * 2 &&
				    (f->loop[p] == NONE || outermost(f, f->loop[p]) != h))
					stack[depth++] = p;
			}
		}
	}
}

/* Whether block x (by number) lies in the loop of header h. */
static bool inside(const struct flow *f, uint32_t x, uint32_t h)
{
	uint32_t l;

	for (l = f->loop[x]; l != NONE; l = f->parent[l])
		if (l == h)
			return true;
	return false;
}

uint32_t flow_order(struct mp_arena *a, uint32_t n, const uint32_t *succ_at, const uint32_t *succ,
		    uint32_t *order)
{
	struct flow f = {.n = n, .succ_at = succ_at, .succ = succ};
	uint32_t nsucc = succ_at[n], i, k, out = 0, top = 0;
	uint32_t *mem = mp_arena_array(a, (size_t)n * 12 + nsucc + 16, sizeof(*mem));
	uint32_t *stack, *at, *wait;
	bool *emitted;

	if (!mem || !n)
		return 0;
	f.pred_at = mem, mem += n + 1;
	f.pred = mem, mem += nsucc + 1;
	f.rpo = mem, mem += n;
	f.number = mem, mem += n;
	f.idom = mem, mem += n;
	f.loop = mem, mem += n;
	f.parent = mem, mem += n;
	stack = mem, mem += n * 2 + nsucc * 0 + 4;
	at = mem, mem += n + 1;
	wait = mem, mem += n;
	emitted = mp_arena_array(a, n, sizeof(*emitted));
	stack = mp_arena_array(a, (size_t)n * 2 + nsucc + 4, sizeof(*stack));
	if (!emitted || !stack)
		return 0;
	for (i = 0; i < nsucc; i++)
		f.pred_at[succ[i] + 1]++;
	for (i = 0; i < n; i++)
		f.pred_at[i + 1] += f.pred_at[i];
	for (i = 0; i < n; i++)
		at[i] = f.pred_at[i];
	for (i = 0; i < n; i++)
		for (k = succ_at[i]; k < succ_at[i + 1]; k++)
			f.pred[at[succ[k]]++] = i;
	for (i = 0; i < n; i++)
		f.number[i] = NONE;
	post_order(&f, stack, at);
	dominators(&f);
	loops(&f, stack);
	/*
	 * Emit in order; a block outside the loop in hand waits until the loop is
	 * out.  `wait` is the stack of loops; each pass over the blocks of a loop
	 * is bounded by its extent.
	 */
	(void)wait;
	{
		uint32_t *resume = at, *heads = stack; /* parallel stacks */

		heads[0] = NONE;
		resume[0] = 0;
		top = 1;
		while (top) {
			uint32_t h = heads[top - 1];

			i = resume[top - 1];
			while (i < f.reached) {
				uint32_t l = f.loop[i];

				if (emitted[i] || (h != NONE && !inside(&f, i, h))) {
					i++;
					continue;
				}
				if (l == i && i != h) { /* an inner loop begins */
					resume[top - 1] = i + 1;
					heads[top] = i;
					resume[top] = i;
					top++;
					break;
				}
				emitted[i] = true;
				order[out++] = f.rpo[i];
				i++;
			}
			if (i >= f.reached)
				top--;
		}
	}
	assert(out == f.reached);
	return out;
}
