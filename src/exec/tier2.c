/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warps in the second tier.
 *
 * A compiled function runs one warp from its beginning to its end.  Where it
 * must wait for others (a barrier, the end of its share of time) it calls back
 * and is switched away from, so each such warp has a stack of its own; a
 * function that never waits runs on the thread's stack.  It may also leave: then
 * its registers are in the first tier's frame and the interpreter goes on.
 */
#include "exec/tier2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUDGET	       2000
#define SPINS_TO_YIELD 64
#define STACK_BYTES    (MP_JIT_STACK + (256u << 10)) /* handlers run on it too */
#define GUARD_BYTES    4096u
#define STACK_COLOUR   1088u

/* ---- Switching stacks ---- */

/*
 * Saves what a call preserves, stores the stack's place in *save and goes on at
 * `to`.  MXCSR and the x87 control word are the same on all of them.
 */
void tier2_switch(void **save, void *to);
__asm__(".text\n.p2align 4\n.hidden tier2_switch\n.globl tier2_switch\n.type tier2_switch, @function\n"
	"tier2_switch:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	popq %rcx\n	jmp *%rcx\n"
	".size tier2_switch, .-tier2_switch\n");

/* First on a new stack: r12 is the warp, r13 the function below. */
void tier2_enter(void);
__asm__(".text\n.p2align 4\n.hidden tier2_enter\n.globl tier2_enter\n.type tier2_enter, @function\n"
	"tier2_enter:\n	movq %r12, %rdi\n	callq *%r13\n	ud2\n.size tier2_enter, .-tier2_enter\n");

/*
 * The ring.  Warps of a block mostly come to the same barriers in the same
 * order.  While they do, they run one after another from a head: a warp that
 * comes to the barrier switches to the next, and where the next is the head all
 * have come, so that whoever is switched to may go on.  Nobody counts.  What
 * else may happen (a warp ends, yields, comes to another barrier, leaves) breaks
 * the ring first: those between the head and the warp in hand are put down as
 * waiting, as if they had been counted.  The last to come to a counted barrier
 * makes a new one.
 *
 * barrier_ring(context, op, mask, id): as tier2_switch, but to the next of the
 * ring; the place to go back to the scheduler wanders with whoever runs.
 */
void tier2_barrier_ring(struct mp_jit_context *c, uint32_t op, uint32_t mask, uint32_t id);
__asm__(".text\n.p2align 4\n.hidden tier2_barrier_ring\n.globl tier2_barrier_ring\n"
	".type tier2_barrier_ring, @function\n"
	"tier2_barrier_ring:\n"
	"	movq 16(%rdi), %r9\n	cmpl %ecx, (%r9)\n	jne 1f\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq 8(%rdi), %rax\n	movq 8(%r9), %r10\n	movq 24(%rax), %r11\n	movq (%rdi), %r8\n"
	"	movq (%rax), %rcx\n	movq %r8, (%rax)\n	movq %rsp, (%rdi)\n	movq %r11, (%r10)\n"
	"	movq %rcx, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	popq %rcx\n	jmp *%rcx\n"
	"1:	jmpq *32(%rdi)\n"
	".size tier2_barrier_ring, .-tier2_barrier_ring\n");

static_assert(offsetof(struct mp_jit_context, sp) == 0 && offsetof(struct mp_jit_context, next) == 8 &&
		      offsetof(struct mp_jit_context, ring) == 16 && offsetof(struct mp_jit_context, self) == 24 &&
		      offsetof(struct mp_jit_context, barrier) == 32 && offsetof(struct mp_jit_ring, id) == 0 &&
		      offsetof(struct mp_jit_ring, in_hand) == 8,
	      "the assembly above knows them");

/* Before anything but a barrier of the ring, by the warp in hand. */
static void ring_break(struct tier2_warp *t)
{
	struct mp_jit_ring *r = t->ctx.ring;
	struct barrier *b;
	struct mp_jit_context *x;

	if (r->id < 0)
		return;
	assert((uint32_t)r->id < MP_ARRAY_LEN(t->warp->cta->bars));
	b = &t->warp->cta->bars[r->id];
	for (x = r->head; x != &t->ctx; x = x->next) {
		struct warp *w = x->self;

		b->arrived += (uint32_t)__builtin_popcount(w->live);
		w->arrived = w->live;
		w->bar_one = (uint32_t)r->id;
		w->released = 0;
		w->waiting = true;
	}
	t->warp->released = 0;
	r->id = -1;
}

/* While a warp runs its sp is where the scheduler left; it goes on there. */
static void away(struct tier2_warp *t, enum run_result r)
{
	ring_break(t);
	t->result = r;
	t->warp->cta->tier2[0].back = t;
	tier2_switch(&t->ctx.sp, t->ctx.sp);
}

/* The same, but to another warp of the block, without the scheduler. */
static void away_to(struct tier2_warp *t, struct mp_jit_context *x)
{
	void *to = x->sp;

	x->sp = t->ctx.sp;
	*t->ctx.ring->in_hand = x->self;
	tier2_switch(&t->ctx.sp, to);
}

/*
 * All warps that are left have come to barrier `id`, t last: from now on it is
 * theirs, from the last warp down to the first (cta_run() says why), and so t
 * may have to let others go before it.
 */
static void ring_make(struct tier2_warp *t, uint32_t id)
{
	struct cta *c = t->warp->cta;
	struct mp_jit_context *head = NULL, *last = NULL;
	uint32_t i;

	for (i = c->nwarps; i-- > 0;) {
		struct warp *w = &c->warps[i];

		if (w->done)
			continue;
		if (!w->tier2 || w->waiting)
			return;
		if (last)
			last->next = &w->tier2->ctx;
		else
			head = &w->tier2->ctx;
		last = &w->tier2->ctx;
	}
	if (last == head)
		return;
	last->next = head;
	t->ctx.ring->head = head;
	t->ctx.ring->id = (int32_t)id;
	if (head != &t->ctx)
		away_to(t, head);
}

/* To the next warp of the block that can run. */
static void away_next(struct tier2_warp *t)
{
	struct warp *w = t->warp;
	struct cta *c = w->cta;
	uint32_t i, n = w->index;

	for (i = 1; i < c->nwarps; i++) {
		struct warp *x;

		n = (n ? n : c->nwarps) - 1;
		x = &c->warps[n];
		if (x->tier2 && !x->waiting && !x->done) {
			away_to(t, &x->tier2->ctx);
			return;
		}
	}
	away(t, RUN_WAIT);
}

static void main_of(struct tier2_warp *t)
{
	t->left = t->fn(&t->ctx);
	t->ended = true;
	away(t, RUN_DONE);
	assert(!"a stack that has ended goes on");
}

static void stack_begin(struct tier2_warp *t)
{
	/* not all at the same place of a page, where eight of them would fill what the first cache has for it */
	uint64_t *sp = (uint64_t *)((char *)t->stack + STACK_BYTES - t->warp->index % 32 * STACK_COLOUR);

	/* tier2_enter is jumped to with the stack aligned as the ABI has it before a call */
	*--sp = 0;
	*--sp = 0;
	*--sp = (uint64_t)(uintptr_t)tier2_enter;
	*--sp = 0;				/* rbp */
	*--sp = 0;				/* rbx */
	*--sp = (uint64_t)(uintptr_t)t;		/* r12 */
	*--sp = (uint64_t)(uintptr_t)main_of;	/* r13 */
	*--sp = 0;				/* r14 */
	*--sp = 0;				/* r15 */
	t->ctx.sp = sp;
}

static bool stacks_make(struct cta *c)
{
	size_t each = STACK_BYTES + GUARD_BYTES, need = each * c->nwarps;
	uint32_t i;

	if (c->stacks_bytes >= need)
		return true;
	tier2_stacks_free(c);
	c->stacks = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->stacks == MAP_FAILED) {
		c->stacks = NULL;
		return false;
	}
	for (i = 0; i < c->nwarps; i++)
		mprotect((char *)c->stacks + i * each, GUARD_BYTES, PROT_NONE);
	c->stacks_bytes = need;
	return true;
}

void tier2_stacks_free(struct cta *c)
{
	if (c->stacks)
		munmap(c->stacks, c->stacks_bytes);
	c->stacks = NULL;
	c->stacks_bytes = 0;
}

/* ---- What compiled code calls ---- */

static struct tier2_warp *of_context(struct mp_jit_context *x)
{
	return MP_CONTAINER_OF(x, struct tier2_warp, ctx);
}

static const struct op *op_at(struct warp *w, uint32_t i)
{
	return &w->entry_frame->code->ops[i];
}

static void call_run(struct mp_jit_context *x, uint32_t op, uint32_t mask)
{
	struct warp *w = of_context(x)->warp;
	const struct op *o = op_at(w, op);
	uint32_t p;

	x->op = op;
	if (o->guard != SLOT_NONE) {
		p = pred(w, o->guard);
		mask &= o->guard_negated ? ~p : p;
		if (!mask)
			return;
	}
	x->mask = mask;
	w->op = o;
	mask_set(w, mask);
	if (o->kind == K_CALL)
		call_external(w, o, o->ref);
	else
		o->fn(w, o);
}

/* bar.sync of all threads: what barrier_arrive() does, for a warp that comes whole. */
static bool barrier_plain(struct tier2_warp *t, const struct op *o, uint32_t mask)
{
	struct warp *w = t->warp;
	struct cta *c = w->cta;
	uint32_t id = *(const uint32_t *)slot(w, o->a), i;
	struct barrier *b;

	if (id >= MP_ARRAY_LEN(c->bars))
		return false;
	b = &c->bars[id];
	if (b->expected || b->red)
		return false;
	b->arrived += mask == FULL ? LANES : (uint32_t)__builtin_popcount(mask);
	if (b->arrived >= c->live_threads) {
		b->arrived = 0;
		for (i = 0; i < c->nwarps; i++) {
			struct warp *x = &c->warps[i];

			if (!x->arrived)
				continue;
			if (x->bar_one != id) { /* lanes of one warp at several barriers: the long way */
				b->arrived = c->live_threads;
				barrier_check(c, id);
				return true;
			}
			x->released |= x->arrived;
			x->arrived = 0;
			x->waiting = false;
		}
		ring_make(t, id);
		return true;
	}
	w->arrived = mask;
	w->bar_one = id;
	w->waiting = true;
	while (w->arrived)
		away_next(t);
	return true;
}

static void call_barrier(struct mp_jit_context *x, uint32_t op, uint32_t mask)
{
	struct tier2_warp *t = of_context(x);
	struct warp *w = t->warp;
	const struct op *o = op_at(w, op);

	ring_break(t);
	w->released = 0; /* of barriers that the ring has passed */
	x->op = op;
	x->mask = mask;
	if (o->x == 0 && o->b == SLOT_NONE && (o->a & SLOT_CONST) && barrier_plain(t, o, mask))
		return;
	w->op = o;
	mask_set(w, mask);
	if (barrier_arrive(w, o, mask))
		return;
	if ((w->released & mask) == mask && w->cta->nwarps > 1) /* it was the last to come: the others first */
		away(t, RUN_YIELD);
	while ((w->released & mask) != mask) {
		w->waiting = true;
		away(t, RUN_WAIT);
	}
	mask_set(w, mask);
	barrier_pass(w, o, mask);
}

static uint32_t call_yield(struct mp_jit_context *x, uint32_t sleeps, uint32_t others)
{
	struct tier2_warp *t = of_context(x);
	struct warp *w = t->warp;
	bool spins = x->spins + w->spins >= SPINS_TO_YIELD;

	x->spins = w->spins = 0;
	x->budget = BUDGET;
	away(t, sleeps || spins ? RUN_SPIN : RUN_YIELD);
	return spins && others;
}

static void call_ended(struct mp_jit_context *x, uint32_t mask)
{
	struct warp *w = of_context(x)->warp;

	ring_break(of_context(x));
	lanes_exit(w, mask);
	x->live = w->live;
}

/* ---- A block ---- */

static void context_begin(struct tier2_warp *t, struct cta *c, const struct mp_jit_code *code)
{
	const struct grid *g = c->grid;
	struct mp_jit_context *x = &t->ctx;
	uint32_t k;

	memset(t, 0, sizeof(*t));
	t->fn = mp_jit_code_entry(code);
	x->window = g->space->base;
	x->window_size = g->space->size;
	x->shared = c->shared;
	x->shared_size = c->shared_bytes;
	x->params = g->params;
	x->data = g->program->module->data;
	for (k = 0; k < 3; k++) {
		x->ntid[k] = g->g.block[k];
		x->ctaid[k] = c->id[k];
		x->nctaid[k] = g->g.grid[k];
	}
	x->budget = BUDGET;
	x->run = call_run;
	x->barrier = call_barrier;
	x->barrier_ring = tier2_barrier_ring;
	x->ring = &c->tier2[0].ring;
	x->yield = call_yield;
	x->ended = call_ended;
}

static inline void context_warp(struct tier2_warp *t, struct warp *w)
{
	struct mp_jit_context *x = &t->ctx;
	uint32_t k;

	t->warp = w;
	x->self = w;
	x->home = w->entry_frame->regs;
	x->pending = w->entry_frame->pending;
	for (k = 0; k < 3; k++)
		x->tid[k] = w->tid[k];
	x->warp = w->index;
	x->live = w->live;
	w->tier2 = t;
	w->op = w->entry_frame->code->ops;
}

bool tier2_start(struct cta *c, const struct mp_jit_code *code)
{
	bool waits = mp_jit_code_traits(code)->waits;
	uint32_t i;

	if (c->grid->space->size < 1u << 20 || (waits && !stacks_make(c)))
		return false;
	c->compiled++;
	if (!waits) {
		context_begin(&c->tier2[0], c, code);
		c->tier2[0].ring.id = -1;
		c->tier2[0].direct = true;
		return true;
	}
	for (i = 0; i < c->nwarps; i++) {
		struct tier2_warp *t = &c->tier2[i];

		context_begin(t, c, code);
		context_warp(t, &c->warps[i]);
		t->stack = (char *)c->stacks + (size_t)i * (STACK_BYTES + GUARD_BYTES) + GUARD_BYTES;
		stack_begin(t);
		t->ctx.next = &c->tier2[(i ? i : c->nwarps) - 1].ctx;
	}
	/* the scheduler begins with the last warp; one alone has nobody to wait for */
	c->tier2[0].ring.head = &c->tier2[c->nwarps - 1].ctx;
	c->tier2[0].ring.id = c->nwarps > 1 ? 0 : -1;
	return true;
}

/* The interpreter goes on where the function left. */
static void leave(struct warp *w, struct tier2_warp *t)
{
	struct frame *f = w->entry_frame;
	const struct code *code = f->code;
	uint32_t b;

	f->npending = 0;
	for (b = 0; b < code->nblocks; b++)
		if (f->pending[b]) {
			f->some[b >> 6] |= 1ull << (b & 63);
			f->npending++;
		}
	w->resume_block = t->ctx.leave_block;
	w->resume_op = t->ctx.leave_op;
	w->resume_mask = t->ctx.leave_mask;
	w->released = 0;
	w->tier2 = NULL;
	w->cta->left++;
}

enum run_result tier2_run(struct warp *w)
{
	struct cta *c = w->cta;
	struct tier2_warp *t = w->tier2;

	tier2_switch(&t->ctx.sp, t->ctx.sp);
	t = c->tier2[0].back; /* another than it was begun with, if they went on among themselves */
	w = t->warp;
	if (!t->ended)
		return t->result;
	if (t->left) {
		leave(w, t);
		return RUN_YIELD;
	}
	if (w->live)
		lanes_exit(w, w->live);
	w->done = true;
	return RUN_DONE;
}

/* A warp that left: it has run no operation of the first tier yet, so it gets all that one needs. */
static bool leave_direct(struct warp *w, struct tier2_warp *t)
{
	uint32_t n = w->entry_frame->code->nblocks, live = t->ctx.live;
	uint32_t *pending = malloc(n * sizeof(*pending));

	if (!pending)
		return false;
	memcpy(pending, w->entry_frame->pending, n * sizeof(*pending));
	warp_restart(w);
	memcpy(w->entry_frame->pending, pending, n * sizeof(*pending));
	free(pending);
	w->live = live;
	w->entry_frame->mask = live;
	leave(w, t);
	return true;
}

bool tier2_direct(struct cta *c, struct warp **in_hand)
{
	struct tier2_warp *t = &c->tier2[0];
	bool all = true;
	uint32_t i;

	for (i = 0; i < 3; i++)
		t->ctx.ctaid[i] = c->id[i];
	for (i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];

		w->live = w->born;
		context_warp(t, w);
		*in_hand = w;
		if (MP_UNLIKELY(t->fn(&t->ctx))) {
			w->done = false;
			if (!leave_direct(w, t))
				warp_fault(w, 0, MP_EXEC_HW_STACK, 0);
			all = false;
			continue;
		}
		c->live_threads -= (uint32_t)__builtin_popcount(w->live);
		c->cluster->live -= (uint32_t)__builtin_popcount(w->live);
		w->live = 0;
		w->done = true;
	}
	c->tier2[0].direct = all; /* else the next block begins from scratch */
	return all;
}
