/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places of registers in a frame.
 *
 * PTX has as many registers as the compiler liked; a frame of all of them would
 * not stay in the cache.  Registers whose lives do not overlap, in the order in
 * which blocks are laid out, share a place: liveness per block, one interval
 * per register, a linear scan per width.  Writes are masked by lane, so what
 * holds for one thread holds for a warp whose lanes stand in different blocks.
 */
#include "exec/decode.h"

#include <stdlib.h>
#include <string.h>

/* Whether ops[0] is only written. When in doubt no: then it counts as read too, which is safe. */
static bool writes_first(const struct mp_ptx_insn *i)
{
	switch (i->op) {
	case MP_PTX_OP_ST: case MP_PTX_OP_RED: case MP_PTX_OP_BRA: case MP_PTX_OP_BRX: case MP_PTX_OP_CALL:
	case MP_PTX_OP_BAR: case MP_PTX_OP_BARRIER: case MP_PTX_OP_RET: case MP_PTX_OP_EXIT:
	case MP_PTX_OP_CP: case MP_PTX_OP_PREFETCH: case MP_PTX_OP_PREFETCHU: case MP_PTX_OP_MBARRIER:
	case MP_PTX_OP_STMATRIX: case MP_PTX_OP_SUST: case MP_PTX_OP_SURED: case MP_PTX_OP_NANOSLEEP:
	case MP_PTX_OP_WMMA: case MP_PTX_OP_STACKRESTORE: case MP_PTX_OP_DISCARD:
	case MP_PTX_OP_APPLYPRIORITY: case MP_PTX_OP_FENCE: case MP_PTX_OP_UNKNOWN: case MP_PTX_OP_ST_ASYNC:
		return false;
	}
	return true;
}

struct alloc {
	struct decode *d;
	uint32_t words; /* of a set */
	uint64_t *use, *def, *in, *out;
	uint32_t *start, *end; /* of each register, in positions; start = NONE: never seen */
};

#define NONE UINT32_MAX

static void set_add(uint64_t *s, uint32_t r)
{
	s[r >> 6] |= 1ull << (r & 63);
}

static bool set_has(const uint64_t *s, uint32_t r)
{
	return s[r >> 6] >> (r & 63) & 1;
}

typedef void (*visit_fn)(struct alloc *a, void *arg, uint32_t reg, bool write, bool kill);

static void visit_operand(struct alloc *a, void *arg, const struct mp_ptx_operand *o, bool write, bool read,
			  bool kill, visit_fn fn)
{
	uint32_t i;

	if (o->reg != MP_PTX_NOREG && (o->kind == MP_PTX_REG || o->kind == MP_PTX_ADDR)) {
		bool address = o->kind == MP_PTX_ADDR;

		if (read || address)
			fn(a, arg, o->reg, false, false);
		if (write && !address)
			fn(a, arg, o->reg, true, kill);
	}
	if (o->reg2 != MP_PTX_NOREG && o->kind != MP_PTX_ADDR)
		fn(a, arg, o->reg2, true, kill);
	if (o->var && o->var->space == MP_PTX_W_REGSPACE && o->var->reg != MP_PTX_NOREG)
		fn(a, arg, o->var->reg, false, false);
	for (i = 0; i < o->nelems && o->elems; i++)
		visit_operand(a, arg, &o->elems[i], write, read, kill, fn);
}

/* Reads first, then writes: that is their order in an instruction. */
static void visit_insn(struct alloc *a, void *arg, const struct mp_ptx_insn *in, visit_fn fn)
{
	bool kill = in->guard == MP_PTX_NOREG, pure = writes_first(in);
	uint32_t k;

	if (!kill)
		fn(a, arg, in->guard, false, false);
	for (k = pure ? 1 : 0; k < in->nops; k++)
		visit_operand(a, arg, &in->ops[k], false, true, false, fn);
	if (!in->nops)
		return;
	if (pure && !kill)
		/* a guarded write leaves the old value in the lanes that skip it */
		visit_operand(a, arg, &in->ops[0], false, true, false, fn);
	for (k = 0; k < in->nops; k++)
		if (k == 0 || !pure)
			visit_operand(a, arg, &in->ops[k], true, false, kill && pure, fn);
}

struct block_arg {
	uint64_t *use, *def;
};

static void note_block(struct alloc *a, void *arg, uint32_t reg, bool write, bool kill)
{
	struct block_arg *b = arg;

	(void)a;
	if (!write && !set_has(b->def, reg))
		set_add(b->use, reg);
	if (write && kill)
		set_add(b->def, reg);
}

static void extend(struct alloc *a, uint32_t reg, uint32_t at)
{
	if (a->start[reg] == NONE || at < a->start[reg])
		a->start[reg] = at;
	if (a->end[reg] == NONE || at > a->end[reg])
		a->end[reg] = at;
}

static void note_interval(struct alloc *a, void *arg, uint32_t reg, bool write, bool kill)
{
	const uint32_t *at = arg;

	(void)kill;
	/* Reads at an even position, writes at the odd one after it. */
	extend(a, reg, *at * 2 + write);
}

struct by_start {
	uint32_t reg, start, end;
};

static int compare(const void *x, const void *y)
{
	const struct by_start *a = x, *b = y;

	return a->start < b->start ? -1 : a->start > b->start ? 1 : a->reg < b->reg ? -1 : a->reg > b->reg;
}

/* One width: hand out places in the order of starts; a heap of ends gives back what has ended. */
static uint32_t scan(struct decode *d, struct by_start *r, uint32_t n, uint32_t *place)
{
	struct ended { uint32_t end, place; } *heap = decode_alloc(d, n + 1u, sizeof(*heap));
	uint32_t *free_list = decode_alloc(d, n + 1u, sizeof(*free_list)), nfree = 0, nheap = 0, used = 0, i;

	if (d->outcome)
		return 0;
	for (i = 0; i < n; i++) {
		uint32_t p, k;

		while (nheap && heap[0].end < r[i].start) {
			struct ended last = heap[--nheap];

			free_list[nfree++] = heap[0].place;
			for (k = 0; 2 * k + 1 < nheap;) {
				uint32_t c = 2 * k + 1;

				if (c + 1 < nheap && heap[c + 1].end < heap[c].end)
					c++;
				if (heap[c].end >= last.end)
					break;
				heap[k] = heap[c];
				k = c;
			}
			heap[k] = last;
		}
		p = nfree ? free_list[--nfree] : used++;
		place[r[i].reg] = p;
		for (k = nheap++; k && heap[(k - 1) / 2].end > r[i].end; k = (k - 1) / 2)
			heap[k] = heap[(k - 1) / 2];
		heap[k].end = r[i].end;
		heap[k].place = p;
	}
	return used;
}

struct visitor {
	void *arg;
	registers_fn fn;
};

static void visitor_call(struct alloc *a, void *arg, uint32_t reg, bool write, bool kill)
{
	const struct visitor *v = arg;

	(void)a;
	v->fn(v->arg, reg, write, kill);
}

void registers_visit(const struct mp_ptx_insn *in, void *arg, registers_fn fn)
{
	struct visitor v = {arg, fn};

	visit_insn(NULL, &v, in, visitor_call);
}

static void live(struct alloc *a, const struct layout_blocks *b)
{
	bool changed = true;
	uint32_t i, k, w;

	while (changed) {
		changed = false;
		for (i = b->n; i-- > 0;) {
			uint32_t old = b->order[i];
			uint64_t *out = a->out + (size_t)i * a->words, *in = a->in + (size_t)i * a->words;

			for (k = b->succ_at[old]; k < b->succ_at[old + 1]; k++) {
				const uint64_t *s = a->in + (size_t)b->number[b->succ[k]] * a->words;

				for (w = 0; w < a->words; w++)
					out[w] |= s[w];
			}
			for (w = 0; w < a->words; w++) {
				uint64_t v = a->use[(size_t)i * a->words + w] |
					     (out[w] & ~a->def[(size_t)i * a->words + w]);

				changed |= v != in[w];
				in[w] = v;
			}
		}
	}
}

bool registers_allocate(struct decode *d, const struct layout_blocks *b)
{
	static const unsigned sizes[] = {0, 1, 2, 4, 8, 16};
	struct alloc a = {.d = d};
	uint32_t n = d->body->nregs, i, k, w, at = 0, m;
	struct by_start *list;
	uint32_t *place;
	uint64_t *sets;
	size_t each;

	a.words = (n + 63) / 64;
	each = (size_t)b->n * a.words;
	sets = calloc(each * 4 + 1, sizeof(*sets));
	a.start = decode_alloc(d, n + 1u, sizeof(*a.start));
	a.end = decode_alloc(d, n + 1u, sizeof(*a.end));
	list = decode_alloc(d, n + 1u, sizeof(*list));
	place = decode_alloc(d, n + 1u, sizeof(*place));
	d->slots = decode_alloc(d, n + 1u, sizeof(*d->slots));
	if (!sets || d->outcome) {
		free(sets);
		d->outcome = MP_EXEC_NO_MEMORY;
		return false;
	}
	a.use = sets, a.def = sets + each, a.in = sets + 2 * each, a.out = sets + 3 * each;
	memset(a.start, 0xff, n * sizeof(*a.start));
	memset(a.end, 0xff, n * sizeof(*a.end));
	for (i = 0; i < b->n; i++) {
		struct block_arg arg = {a.use + (size_t)i * a.words, a.def + (size_t)i * a.words};

		for (k = b->first[i]; k < b->last[i]; k++)
			visit_insn(&a, &arg, &d->body->insns[b->insns[k]], note_block);
	}
	live(&a, b);
	for (i = 0; i < b->n; i++) {
		uint32_t begin = at * 2;

		for (k = b->first[i]; k < b->last[i]; k++, at++)
			visit_insn(&a, &at, &d->body->insns[b->insns[k]], note_interval);
		at++;
		for (w = 0; w < a.words; w++) {
			uint64_t in = a.in[(size_t)i * a.words + w], out = a.out[(size_t)i * a.words + w];

			for (; in; in &= in - 1)
				extend(&a, w * 64 + (uint32_t)__builtin_ctzll(in), begin);
			for (; out; out &= out - 1)
				extend(&a, w * 64 + (uint32_t)__builtin_ctzll(out), at * 2 - 1);
		}
	}
	free(sets);
	/* Register parameters of a function are written and read from outside. */
	for (i = 0; !d->body->func->is_entry && i < d->body->func->nparams + d->body->func->nrets; i++) {
		const struct mp_ptx_var *v = i < d->body->func->nparams
						     ? &d->body->func->params[i]
						     : &d->body->func->rets[i - d->body->func->nparams];

		if (v->space == MP_PTX_W_REGSPACE) {
			a.start[v->reg] = 0;
			a.end[v->reg] = at * 2;
		}
	}
	for (i = 0; d->own_places && i < n; i++)
		d->slots[i] = SLOT_NONE;
	d->frame_bytes = 0;
	for (k = 0; k < MP_ARRAY_LEN(sizes); k++) {
		uint32_t bytes = sizes[k] == 0 ? 4 : sizes[k] == 1 ? 64 : sizes[k] * LANES, used;

		for (i = 0, m = 0; i < n; i++)
			if (a.start[i] != NONE && decode_reg_size(d, i) == sizes[k])
				list[m++] = (struct by_start){i, a.start[i], a.end[i]};
		qsort(list, m, sizeof(*list), compare);
		if (d->own_places)
			for (i = 0, used = 0; i < m; i++)
				place[list[i].reg] = used++;
		else
			used = scan(d, list, m, place);
		if (sizes[k])
			d->frame_bytes = (d->frame_bytes + 63) & ~63u;
		for (i = 0; i < m; i++)
			d->slots[list[i].reg] = d->frame_bytes + place[list[i].reg] * bytes;
		d->frame_bytes += used * bytes;
	}
	if (d->frame_bytes > 1u << 28)
		decode_refuse(d, "too many registers");
	d->frame_fixed = d->frame_bytes;
	return !d->outcome;
}
