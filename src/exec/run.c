/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one warp until it ends, waits, or has had its share.
 *
 * Each frame keeps, per block, the lanes that wait to enter it.  The lowest
 * block with lanes runs with all of them; where it ends, its lanes are added to
 * the blocks they go to.  flow.c's numbering makes this reconverge.  Three
 * additions keep it fair and right: after many back edges in a row the other
 * blocks get a turn; a block that begins with a warp operation waits for the
 * members that can still come; a block that begins with a barrier holds its
 * lanes until the barrier completes.
 */
#include "exec/check.h"
#include "exec/tier2.h"

#include <stdlib.h>
#include <string.h>

#define POLLS_IN_A_ROW 800
#define SPINS_TO_YIELD 64
#define BUDGET	       2000

/* ---- Pending lanes ---- */

static inline void enter(struct frame *f, uint32_t b, uint32_t m)
{
	if (!m)
		return;
	if (!f->pending[b]) {
		f->some[b >> 6] |= 1ull << (b & 63);
		f->npending++;
	}
	f->pending[b] |= m;
}

static inline void leave(struct frame *f, uint32_t b, uint32_t m)
{
	f->pending[b] &= ~m;
	if (!f->pending[b]) {
		f->some[b >> 6] &= ~(1ull << (b & 63));
		f->npending--;
	}
}

/* The lowest pending block from `from` on, or nblocks. */
static inline uint32_t lowest(const struct frame *f, uint32_t from)
{
	uint32_t n = f->code->nblocks, word = from >> 6, words = (n + 63) >> 6;
	uint64_t bits;

	if (from >= n)
		return n;
	bits = f->some[word] & (~0ull << (from & 63));
	while (!bits) {
		if (++word >= words)
			return n;
		bits = f->some[word];
	}
	return word * 64 + (uint32_t)__builtin_ctzll(bits);
}

/* ---- Frames ---- */

static size_t frame_size(const struct code *c)
{
	return c->frame_bytes + mp_align_up(c->nblocks * 4ull, 64) +
	       mp_align_up((c->nblocks + 63) / 64 * 8ull, 64);
}

static void frame_layout(struct frame *f, const struct code *c, char *memory)
{
	f->code = c;
	f->regs = memory;
	f->pending = (uint32_t *)(memory + c->frame_bytes);
	f->some = (uint64_t *)((char *)f->pending + mp_align_up(c->nblocks * 4ull, 64));
	memset(f->pending, 0, frame_size(c) - c->frame_bytes);
	f->npending = 0;
	f->returned = 0;
	f->parent = NULL;
	f->all_next = NULL;
}

static struct frame *frame_push(struct warp *w, const struct code *c)
{
	struct frame **p, *f;
	size_t need = frame_size(c), head = mp_align_up(sizeof(*f), 64);

	for (p = &w->free_frames; (f = *p); p = &f->all_next)
		if (f->bytes >= need)
			break;
	if (f) {
		*p = f->all_next;
	} else {
		f = aligned_alloc(64, head + mp_align_up(need, 64));
		if (!f)
			warp_fault(w, (uint32_t)__builtin_ctz(w->mask), MP_EXEC_HW_STACK, 0);
		f->bytes = mp_align_up(need, 64);
	}
	frame_layout(f, c, (char *)f + head);
	f->all_next = w->frames;
	w->frames = f;
	return f;
}

static void frame_drop(struct warp *w, struct frame *f)
{
	struct frame **p = &w->frames;

	while (*p != f)
		p = &(*p)->all_next;
	*p = f->all_next;
	if (f == w->entry_frame)
		return;
	f->all_next = w->free_frames;
	w->free_frames = f;
}

static char *lane_local(const struct warp *w, const struct frame *f, int l, uint32_t at)
{
	return w->local + (size_t)l * w->cta->local_stride + f->local_at + at;
}

/* A value between two places; a register side is a slot of `size` bytes a lane. */
static void arg_move(struct warp *w, uint32_t m, const struct call_arg *a, struct frame *from,
		     struct frame *to, const char *from_regs, char *to_regs, uint32_t from_at,
		     uint32_t to_at, bool from_reg, bool to_reg, uint32_t from_slot, uint32_t to_slot)
{
	for (int l = 0; l < LANES; l++) {
		char buf[16] = {0};
		uint32_t n = a->size;

		if (!(m >> l & 1))
			continue;
		if (!from_reg && !to_reg) {
			memmove(lane_local(w, to, l, to_at), lane_local(w, from, l, from_at), n);
			continue;
		}
		if (!a->reg_size) { /* a predicate */
			uint32_t v = 0;

			if (from_reg)
				v = *(const uint32_t *)(from_regs + from_slot) >> l & 1;
			if (to_reg) {
				uint32_t *p = (uint32_t *)(to_regs + to_slot);

				*p = (*p & ~(1u << l)) | v << l;
			}
			continue;
		}
		if (n > 8)
			n = 8;
		if (from_reg)
			memcpy(buf, from_regs + from_slot + (size_t)l * a->reg_size, n);
		else
			memcpy(buf, lane_local(w, from, l, from_at), n);
		if (to_reg)
			memcpy(to_regs + to_slot + (size_t)l * a->reg_size, buf, n);
		else
			memcpy(lane_local(w, to, l, to_at), buf, n);
	}
}

static const struct code *callee_find(struct warp *w, const struct op *o, const struct call_site *s,
				      uint32_t *m)
{
	const uint64_t *target;
	uint64_t first;
	uint32_t i, same = 0;

	if (s->callee)
		return s->callee;
	target = slot(w, o->a);
	first = target[__builtin_ctz(*m)];
	for (i = 0; i < LANES; i++)
		same |= (uint32_t)(target[i] == first) << i;
	*m &= same;
	for (i = 0; i < s->program->ncodes; i++)
		if (GENERIC_FUNC + 16ull * s->program->codes[i].func->index == first)
			break;
	if (i == s->program->ncodes || s->program->codes[i].func->is_entry ||
	    s->program->codes[i].func->nparams != s->nargs ||
	    s->program->codes[i].func->nrets != s->nrets)
		warp_fault(w, (uint32_t)__builtin_ctz(*m), MP_EXEC_ILLEGAL_INSTRUCTION, first);
	return &s->program->codes[i];
}

/* Make the call for lanes *m, or for those of them with the same target. */
static void call_enter(struct warp *w, const struct op *o, uint32_t ret_block, uint32_t *m)
{
	const struct call_site *s = o->ref;
	struct frame *f = w->frame, *n;
	const struct code *c = callee_find(w, o, s, m);
	uint32_t at = f->local_at + f->code->local_bytes, i;

	if (at + c->local_bytes + 16 > w->cta->local_stride)
		warp_fault(w, (uint32_t)__builtin_ctz(*m), MP_EXEC_HW_STACK, 0);
	n = frame_push(w, c);
	n->parent = f;
	n->call = o;
	n->ret_block = ret_block;
	n->mask = *m;
	n->local_at = at + (c->local_bytes ? 0 : 16);
	for (i = 0; i < s->nargs; i++) {
		const struct call_arg *a = &s->args[i];
		const struct mp_ptx_var *to = &c->func->params[i];
		bool to_reg = to->space == MP_PTX_W_REGSPACE;

		arg_move(w, *m, a, f, n, w->base[a->reg_from >> 31], n->regs, a->from,
			 (uint32_t)to->offset, a->reg_from != SLOT_NONE, to_reg,
			 a->reg_from & ~SLOT_CONST, to_reg ? c->reg_slots[to->reg] : 0);
	}
	enter(n, 0, *m);
}

/* All lanes of a call have returned or exited. */
static void call_return(struct warp *w, struct frame *f)
{
	const struct call_site *s = f->call->ref;
	struct frame *p = f->parent;
	uint32_t i;

	for (i = 0; i < s->nrets; i++) {
		const struct call_arg *a = &s->rets[i];
		const struct mp_ptx_var *from = &f->code->func->rets[i];
		bool from_reg = from->space == MP_PTX_W_REGSPACE;

		arg_move(w, f->returned, a, f, p, f->regs, p->regs, (uint32_t)from->offset, a->from,
			 from_reg, a->reg_from != SLOT_NONE, from_reg ? f->code->reg_slots[from->reg] : 0,
			 a->reg_from & ~SLOT_CONST);
	}
	enter(p, f->ret_block, f->returned);
	frame_drop(w, f);
}

/* ---- Barriers of the block (9.7.13.1) ---- */

/* Lanes of a warp whose threads stand at different barriers. */
static uint32_t barrier_lanes(struct warp *w, uint32_t id)
{
	uint32_t m = 0, l, rest = 0;

	for (l = 0; l < LANES; l++)
		if (w->arrived >> l & 1) {
			m |= (uint32_t)(w->bar_id[l] == id) << l;
			if (w->bar_id[l] != id)
				rest = rest && rest != w->bar_id[l] + 1u ? BAR_MIXED + 1 : w->bar_id[l] + 1u;
		}
	if (rest)
		w->bar_one = rest - 1;
	return m;
}

static void barrier_release(struct cta *c, uint32_t id)
{
	struct barrier *b = &c->bars[id];
	uint32_t i, l;

	for (i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];
		uint32_t m = w->arrived;

		if (!m || (w->bar_one != id && w->bar_one != BAR_MIXED))
			continue;
		if (w->bar_one == BAR_MIXED)
			m = barrier_lanes(w, id);
		for (l = 0; b->red && l < LANES; l++)
			if (m >> l & 1)
				w->bar_result[l] = b->nred;
		w->arrived &= ~m;
		w->released |= m;
		if (m)
			w->waiting = false;
	}
	memset(b, 0, sizeof(*b));
}

void barrier_check(struct cta *c, uint32_t id)
{
	struct barrier *b = &c->bars[id];

	if (b->arrived && b->arrived >= (b->expected ? b->expected : c->live_threads))
		barrier_release(c, id);
}

/* Lanes m arrive; true when they need not wait. */
bool barrier_arrive(struct warp *w, const struct op *o, uint32_t m)
{
	struct cta *c = w->cta;
	uint32_t first = (uint32_t)__builtin_ctz(m), id, l, count, p = 0;
	struct barrier *b;

	id = ((const uint32_t *)slot(w, o->a))[first];
	if (id >= MP_ARRAY_LEN(c->bars))
		warp_fault(w, first, MP_EXEC_ILLEGAL_INSTRUCTION, id);
	b = &c->bars[id];
	count = m == FULL ? LANES : (uint32_t)__builtin_popcount(m);
	if (o->b != SLOT_NONE) {
		b->expected = ((const uint32_t *)slot(w, o->b))[first];
		/* Counted barriers count whole warps: absent lanes come with the last present one. */
		if ((w->arrived | m) == w->live)
			count += c->grid->lanes - (uint32_t)__builtin_popcount(w->live);
	}
	if (o->x >= 2) {
		p = pred(w, o->c);
		if (o->n)
			p = ~p;
		if (!b->arrived)
			b->nred = o->x == 3;
		b->red = true;
		if (o->x == 2)
			b->nred += (uint32_t)__builtin_popcount(p & m);
		else if (o->x == 3)
			b->nred &= (p & m) == m;
		else
			b->nred |= (p & m) != 0;
	}
	b->arrived += count;
	if (o->x != 1) {
		w->bar_one = !w->arrived || w->bar_one == id ? id : BAR_MIXED;
		if (m == FULL)
			memset(w->bar_id, (int)id, LANES);
		else
			for (l = 0; l < LANES; l++)
				if (m >> l & 1)
					w->bar_id[l] = (uint8_t)id;
		w->arrived |= m;
	}
	barrier_check(c, id);
	return o->x == 1;
}

void barrier_pass(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t l;

	w->released &= ~m;
	if (o->x == 2) {
		uint32_t *d = slot(w, o->d);

		for (l = 0; l < LANES; l++)
			if (m >> l & 1)
				d[l] = w->bar_result[l];
	} else if (o->x > 2) {
		uint32_t *d = slot(w, o->d), bits = 0;

		for (l = 0; l < LANES; l++)
			bits |= (uint32_t)!!w->bar_result[l] << l;
		*d = (*d & ~m) | (bits & m);
	}
}

/* ---- The barrier of the cluster (9.7.13.2) ---- */

static void cluster_check(struct cluster *k)
{
	uint32_t i, n;

	if (!k->arrived || k->arrived < k->live)
		return;
	k->arrived = 0;
	k->phases++;
	for (n = 0; n < k->n; n++)
		for (i = 0; i < k->cta[n]->nwarps; i++) {
			struct warp *w = &k->cta[n]->warps[i];

			if (w->cluster_waits)
				w->waiting = false;
			w->cluster_waits = 0;
		}
}

void cluster_arrive(struct warp *w, uint32_t m)
{
	struct cluster *k = w->cta->cluster;

	if (w->cluster_waits & m) /* twice without a wait between */
		warp_fault(w, (uint32_t)__builtin_ctz(m), MP_EXEC_ILLEGAL_INSTRUCTION, 0);
	w->cluster_waits |= m;
	k->arrived += (uint32_t)__builtin_popcount(m);
	cluster_check(k);
}

void lanes_exit(struct warp *w, uint32_t m)
{
	struct cta *c = w->cta;
	uint32_t i;

	w->live &= ~m;
	c->live_threads -= (uint32_t)__builtin_popcount(m);
	c->cluster->live -= (uint32_t)__builtin_popcount(m);
	if (w->cluster_waits & m) { /* it had arrived and does not wait */
		c->cluster->arrived -= (uint32_t)__builtin_popcount(w->cluster_waits & m);
		w->cluster_waits &= ~m;
	}
	cluster_check(c->cluster);
	for (i = 0; i < MP_ARRAY_LEN(c->bars); i++)
		if (c->bars[i].arrived)
			barrier_check(c, i);
}

/* ---- Choosing what to run ---- */

/* The group of lanes of a warp operation that can go: all members are here. 0 = must wait. */
static uint32_t group_ready(struct warp *w, const struct frame *f, const struct op *o, uint32_t lanes,
			    bool force)
{
	const uint32_t *mask;

	w->base[0] = f->regs;
	mask = slot(w, o->e);
	while (lanes) {
		uint32_t first = (uint32_t)__builtin_ctz(lanes), group;

		group = (lanes & mask[first]) | 1u << first;
		if (force || ((mask[first] & w->live) & ~group) == 0)
			return group;
		lanes &= ~group;
	}
	return 0;
}

struct choice {
	struct frame *f;
	uint32_t block, lanes;
};

static bool choose_in(struct warp *w, struct frame *f, uint32_t from, bool force, struct choice *ret,
		      uint32_t *at_warpbar)
{
	const struct code *c = f->code;
	uint32_t b;

	for (b = lowest(f, from); b < c->nblocks; b = lowest(f, b + 1)) {
		uint32_t lanes = f->pending[b];
		const struct op *o = &c->ops[c->blocks[b].first];

		switch (c->blocks[b].sync) {
		case K_BAR:
			lanes &= ~w->arrived;
			break;
		case K_CLUSTER:
			lanes &= ~w->cluster_waits;
			break;
		case K_WARPSYNC:
			lanes = group_ready(w, f, o, lanes, force);
			break;
		case K_WARPBAR: {
			uint32_t ready = group_ready(w, f, o, lanes, false);

			if (!ready)
				*at_warpbar |= lanes;
			lanes = ready ? ready : lanes & w->warp_released;
			break;
		}
		}
		if (lanes) {
			*ret = (struct choice){f, b, lanes};
			return true;
		}
	}
	return false;
}

/* false: every lane waits at a barrier of the block. */
static bool choose(struct warp *w, struct choice *ret)
{
	struct frame *f;
	uint32_t at_warpbar = 0;

	if (w->sweep) {
		if (choose_in(w, w->frame, w->sweep, false, ret, &at_warpbar)) {
			w->sweep = ret->block + 1;
			return true;
		}
		w->sweep = 0;
	}
	for (f = w->frames; f; f = f->all_next)
		if (f->npending && choose_in(w, f, 0, false, ret, &at_warpbar))
			return true;
	/* Nobody else can come: those at bar.warp.sync meet, wherever they stand. */
	if (at_warpbar) {
		w->warp_released |= at_warpbar;
		for (f = w->frames; f; f = f->all_next)
			if (f->npending && choose_in(w, f, 0, false, ret, &at_warpbar))
				return true;
	}
	/* A warp operation whose members cannot all come goes on with those present. */
	for (f = w->frames; f; f = f->all_next)
		if (f->npending && choose_in(w, f, 0, true, ret, &at_warpbar))
			return true;
	return false;
}

/*
 * Others have waited long enough: let the blocks after this one run, or the other
 * calls.  Only for lanes that look again and again at what another may change:
 * else those that left a loop early wait behind it until all have come, as code
 * that asks who is there (activemask) expects.
 */
static void be_fair(struct warp *w, uint32_t block)
{
	struct frame *f = w->frame, **p = &w->frames;

	w->polls = 0;
	if (f->npending > 1) {
		w->sweep = block + 1;
		return;
	}
	if (!f->all_next && w->frames == f)
		return;
	while (*p != f)
		p = &(*p)->all_next;
	*p = f->all_next;
	while (*p)
		p = &(*p)->all_next;
	*p = f;
	f->all_next = NULL;
}

static inline uint32_t guard_lanes(const struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t p;

	if (o->guard == SLOT_NONE)
		return m;
	p = pred(w, o->guard);
	return (o->guard_negated ? ~p : p) & m;
}

/* Lanes m, which are together, may enter a block that begins with an operation of several threads. */
static inline bool sync_ready(const struct warp *w, const struct code *c, uint32_t b, uint32_t m)
{
	const struct op *o = &c->ops[c->blocks[b].first];

	if (c->blocks[b].sync == K_BAR)
		return true;
	if (c->blocks[b].sync == K_CLUSTER)
		return !(m & w->cluster_waits);
	return m == w->live && !(m & ~((const uint32_t *)slot(w, o->e))[__builtin_ctz(m)]);
}

enum run_result warp_run(struct warp *w)
{
	struct frame *f;
	const struct code *code;
	const struct bblock *bb;
	const struct op *op;
	struct choice ch;
	uint32_t cur, m, next, g;

	w->budget = BUDGET;
	w->spins = 0;
	if (MP_UNLIKELY(w->resume_mask)) { /* compiled code left within a block */
		f = w->frame = w->entry_frame;
		cur = w->resume_block;
		m = w->resume_mask;
		w->resume_mask = 0;
		w->base[0] = f->regs;
		code = f->code;
		bb = &code->blocks[cur];
		op = &code->ops[w->resume_op];
		if (w->resume_op != bb->first) {
			mask_set(w, m);
			goto run;
		}
		enter(f, cur, m);
	}
again:
	if (!choose(w, &ch)) {
		if (!w->live) {
			w->done = true;
			return RUN_DONE;
		}
		w->waiting = true;
		return RUN_WAIT;
	}
	f = ch.f;
	cur = ch.block;
	m = ch.lanes;
	leave(f, cur, m);
	w->frame = f;
	w->base[0] = f->regs;
block:
	code = f->code;
	bb = &code->blocks[cur];
	op = &code->ops[bb->first];
	mask_set(w, m);
	w->instructions += bb->n + 1;
	w->thread_instructions += (uint64_t)(bb->n + 1) *
				  (m == FULL ? LANES : (uint32_t)__builtin_popcount(m));
run:
	for (;; op++) {
		w->op = op;
		switch (op->kind) {
		case K_PLAIN:
			op->fn(w, op);
			continue;
		case K_GUARDED:
			g = guard_lanes(w, op, m);
			if (!g)
				continue;
			mask_set(w, g);
			op->fn(w, op);
			mask_set(w, m);
			continue;
		case K_WARPSYNC:
			op->fn(w, op);
			continue;
		case K_WARPBAR:
			w->warp_released &= ~m;
			continue;
		case K_CLUSTER:
			continue;
		case K_BAR_CHECKED:
			check_barrier(w, op, m);
			/* fall through */
		case K_BAR:
			if (m & w->released) {
				enter(f, cur, m & ~w->released);
				m &= w->released;
				mask_set(w, m);
				barrier_pass(w, op, m);
				continue;
			}
			if (barrier_arrive(w, op, m))
				continue;
			enter(f, cur, m);
			if ((w->released & m) == m) /* it was the last to come: the others first */
				return RUN_YIELD;
			if (w->arrived == w->live) { /* nobody is left to run */
				w->waiting = true;
				return RUN_WAIT;
			}
			goto again;
		case K_NEXT:
			next = bb->next;
			goto jump;
		case K_BRA:
			g = guard_lanes(w, op, m);
			if (g == m) {
				next = bb->target;
				goto jump;
			}
			if (!g) {
				next = bb->next;
				goto jump;
			}
			enter(f, bb->target, g);
			enter(f, bb->next, m & ~g);
			if (bb->target <= cur || bb->next <= cur)
				w->budget--;
			goto pick;
		case K_BRX: {
			const uint32_t *index = slot(w, op->a);
			uint32_t l;

			g = guard_lanes(w, op, m);
			enter(f, bb->next, m & ~g);
			for (l = 0; l < LANES; l++)
				if (g >> l & 1) {
					if (index[l] >= op->x)
						warp_fault(w, l, MP_EXEC_ILLEGAL_INSTRUCTION, index[l]);
					enter(f, op->ext[index[l]], 1u << l);
				}
			w->budget--;
			goto pick;
		}
		case K_RET:
		case K_EXIT:
			g = guard_lanes(w, op, m);
			if (g && (op->kind == K_EXIT || !f->parent)) {
				struct frame *up;

				lanes_exit(w, g);
				for (up = f; up; up = up->parent)
					up->mask &= ~g;
			} else {
				f->returned |= g;
			}
			if (m & ~g) {
				m &= ~g;
				next = bb->next;
				goto jump;
			}
			while (f && !f->npending && f->mask == f->returned && f->parent) {
				struct frame *parent = f->parent;

				call_return(w, f);
				f = parent;
			}
			w->frame = f;
			if (!w->live) {
				w->done = true;
				return RUN_DONE;
			}
			goto again;
		case K_CALL: {
			const struct call_site *s = op->ref;

			if (s->external) {
				call_external(w, op, s);
				next = bb->next;
				goto jump;
			}
			g = m;
			call_enter(w, op, bb->next, &g);
			enter(f, cur, m & ~g); /* other targets: the call again */
			goto again;
		}
		case K_TRAP:
			warp_fault(w, (uint32_t)__builtin_ctz(m), MP_EXEC_TRAP, 0);
		case K_YIELD:
			enter(f, bb->next, m);
			return RUN_SPIN;
		default:
			assert(!"an operation of no kind");
		}
	}
jump:
	if (next <= cur) {
		if (--w->budget <= 0) {
			enter(f, next, m);
			return RUN_YIELD;
		}
		if (w->spins >= SPINS_TO_YIELD) {
			enter(f, next, m);
			return RUN_SPIN;
		}
		if (!f->npending && !f->all_next && w->frames == f)
			w->polls = 0;
	}
	if (!f->npending && !w->sweep && w->polls < POLLS_IN_A_ROW &&
	    (!code->blocks[next].sync || sync_ready(w, code, next, m))) {
		cur = next;
		goto block;
	}
	enter(f, next, m);
pick:
	if (w->polls >= POLLS_IN_A_ROW)
		be_fair(w, cur);
	if (w->budget <= 0)
		return RUN_YIELD;
	goto again;
}

/* ---- Blocks ---- */

struct layout {
	size_t warps, frames, frame_each, tier2, local, shared, total;
	uint32_t local_stride, shared_bytes;
};

static void layout(const struct grid *g, struct layout *y)
{
	const struct program *p = g->program;
	size_t at = 0;

	y->frame_each = mp_align_up(mp_align_up(sizeof(struct frame), 64) + frame_size(&p->codes[0]), 64);
	y->local_stride = (uint32_t)mp_align_up(p->local_bytes + (p->calls ? 256 : 0) +
							(p->recursive ? 16384 : 0), 16);
	y->shared_bytes = g->total_shared;
	y->warps = at;
	at += mp_align_up((size_t)g->warps * sizeof(struct warp), 64);
	y->frames = at;
	at += y->frame_each * g->warps;
	y->tier2 = at;
	at += tier2_bytes(g->warps);
	y->shared = at;
	at += mp_align_up(y->shared_bytes, 64) + 64;
	y->local = at;
	at += (size_t)g->warps * LANES * y->local_stride + 64;
	y->total = at;
}

/* Of a cluster: the blocks' memory one after another, then the blocks but the first. */
size_t cta_bytes(const struct grid *g)
{
	struct layout y;

	layout(g, &y);
	if (g->cluster == 1)
		return y.total;
	return mp_align_up(y.total, 64) * g->cluster +
	       mp_align_up(sizeof(struct cta), 64) * (g->cluster - 1);
}

static void warp_tids(struct warp *w, const struct grid *g)
{
	uint32_t l, x = g->g.block[0], y = g->g.block[1];

	for (l = 0; l < LANES; l++) {
		uint32_t n = w->index * g->lanes + l;

		w->tid[0][l] = n % x;
		w->tid[1][l] = n / x % y;
		w->tid[2][l] = n / x / y;
	}
}

/* Where the rank-th block of a unit lies in the grid, x fastest (5.1 of the guide's clusters). */
static void block_place(struct cta *c, const struct grid *g, uint64_t unit, uint32_t rank)
{
	uint64_t at = unit;
	uint32_t i, r = rank;

	for (i = 0; i < 3; i++) {
		uint32_t d = g->g.cluster[i], n = g->g.grid[i] / d;

		c->id[i] = (uint32_t)(at % n) * d + r % d;
		at /= n;
		r /= d;
	}
	c->rank = rank;
	c->linear = c->id[0] + (uint64_t)g->g.grid[0] * (c->id[1] + (uint64_t)g->g.grid[1] * c->id[2]);
}

/* One warp at its beginning. `again`: the last block here was of the same grid, so %tid is as it was. */
static void warp_start(struct cta *c, const struct layout *y, char *memory, uint32_t i, bool again)
{
	const struct grid *g = c->grid;
	struct warp *w = &c->warps[i];
	struct frame *f = (struct frame *)(memory + y->frames + i * y->frame_each);
	uint32_t left = g->threads - i * g->lanes;

	/* tid, at the end of the struct, outlives a reuse by the same grid */
	memset(w, 0, again ? offsetof(struct warp, tid) : sizeof(*w));
	w->index = i;
	w->cta = c;
	if (!again)
		warp_tids(w, g);
	if (left > g->lanes)
		left = g->lanes;
	w->live = w->born = left == LANES ? FULL : (1u << left) - 1;
	w->local = memory + y->local + (size_t)i * LANES * y->local_stride;
	w->base[0] = (char *)f + mp_align_up(sizeof(*f), 64);
	w->base[1] = g->program->pool;
	frame_layout(f, &g->program->codes[0], w->base[0]);
	f->mask = w->live;
	f->local_at = 0;
	f->bytes = 0;
	w->frames = w->frame = w->entry_frame = f;
}

void warp_restart(struct warp *w)
{
	struct layout y;

	assert(w->cta->grid->cluster == 1);
	layout(w->cta->grid, &y);
	warp_start(w->cta, &y, w->cta->memory, w->index, true);
}

static void block_start(struct cta *c, struct grid *g, char *memory, bool again)
{
	/* Compiled code knows one block's shared memory only. */
	const struct mp_jit_code *compiled =
		g->lanes == LANES && g->cluster == 1 ? tier2_code(g->g.kernel, g->g.block, false) : NULL;
	struct layout y;
	uint32_t i;

	layout(g, &y);
	c->grid = g;
	c->nwarps = g->warps;
	c->nthreads = c->live_threads = g->threads;
	c->warps = (struct warp *)(memory + y.warps);
	c->shared = memory + y.shared;
	c->shared_bytes = y.shared_bytes;
	c->local_stride = y.local_stride;
	memset(c->bars, 0, sizeof(c->bars));
	memset(&c->fault, 0, sizeof(c->fault));
	c->next_warp = 0;
	c->slices = 0;
	for (i = 0; i < c->nwarps; i++)
		warp_start(c, &y, memory, i, again);
	c->tier2 = (struct tier2_warp *)(memory + y.tier2);
	c->tier2[0].direct = false;
	if (compiled && tier2_start(c, compiled))
		return;
	for (i = 0; i < c->nwarps; i++)
		enter(c->warps[i].frame, 0, c->warps[i].live);
}

void cta_start(struct cta *c, struct grid *g, uint64_t unit)
{
	struct cluster *k = &c->own_cluster;
	bool again = c->tid_serial == g->serial;
	struct layout y;
	uint32_t i;

	assert(c->memory_bytes >= cta_bytes(g) && g->cluster <= CLUSTER_MAX);
	k->n = g->cluster;
	k->live = g->cluster * g->threads;
	k->arrived = k->phases = 0;
	if (again && c->tier2[0].direct) { /* its warps are as the last block left them, and that is enough */
		block_place(c, g, unit, 0);
		c->live_threads = g->threads;
		c->compiled++;
		return;
	}
	layout(g, &y);
	for (i = 0; i < k->n; i++) {
		struct cta *p = c;

		if (i) {
			p = (struct cta *)(c->memory + mp_align_up(y.total, 64) * k->n +
					   mp_align_up(sizeof(*p), 64) * (i - 1));
			memset(p, 0, sizeof(*p));
		}
		p->cluster = k;
		k->cta[i] = p;
		block_place(p, g, unit, i);
		block_start(p, g, c->memory + mp_align_up(y.total, 64) * i, again);
	}
	c->tid_serial = g->serial;
}


static void block_end(struct cta *c, struct cta *p)
{
	uint32_t i;

	for (i = 0; i < p->nwarps; i++) {
		struct warp *w = &p->warps[i];
		struct frame *f, *next;

		for (f = w->frames; f; f = next) {
			next = f->all_next;
			if (f != w->entry_frame)
				free(f);
		}
		for (f = w->free_frames; f; f = next) {
			next = f->all_next;
			free(f);
		}
		c->instructions += w->instructions;
		c->thread_instructions += w->thread_instructions;
	}
}

void cta_end(struct cta *c)
{
	uint32_t i;

	for (i = 0; i < c->cluster->n; i++)
		block_end(c, c->cluster->cta[i]);
}

/* Fill in where and why; the warp's registers are still as they were. */
static void fault_describe(struct cta *c, struct warp *w)
{
	struct mp_exec_fault *f = &c->fault;
	const struct grid *g = c->grid;
	const struct mp_ptx_insn *in;

	memset(f, 0, sizeof(*f));
	if (w->tier2)
		w->op = &w->entry_frame->code->ops[w->tier2->ctx.op];
	f->outcome = w->fault;
	f->address = w->fault_address;
	memcpy(f->block, w->cta->id, sizeof(f->block));
	f->thread[0] = w->tid[0][w->fault_lane & 31];
	f->thread[1] = w->tid[1][w->fault_lane & 31];
	f->thread[2] = w->tid[2][w->fault_lane & 31];
	strncpy(f->kernel, g->program->codes[0].func->name, sizeof(f->kernel) - 1);
	in = &w->frame->code->insns[w->op->insn];
	f->line = in->line;
	mp_ptx_insn_text(in, f->text, sizeof(f->text));
}

/*
 * Warps run one after another from barrier to barrier, the last warp first and
 * the first warp last.  Between barriers any order is right; but programs that
 * lack a barrier before a shared value is written again pass on GPUs, whose
 * warps all read it within a few cycles.  It is nearly always the first warp that
 * writes for all, and so it goes when the others have read.
 */
enum run_result cta_run(struct cta *c, uint64_t ticks)
{
	sigjmp_buf jump;
	uint64_t start = __builtin_ia32_rdtsc();
	uint64_t *cancel = c->grid->g.cancel;

	struct warp **in_hand = &fault_warp; /* the address of a thread's variable costs a call */

	c->tier2[0].ring.in_hand = (void **)in_hand;
	fault_jump = &jump;
	if (sigsetjmp(jump, 0)) {
		struct warp *w = fault_warp;

		fault_jump = NULL;
		fault_warp = NULL;
		fault_describe(c, w);
		return RUN_FAULT;
	}
	if (c->tier2[0].direct && tier2_direct(c, in_hand)) {
		*in_hand = NULL;
		fault_jump = NULL;
		return RUN_DONE;
	}
	for (;;) {
		bool spin = true;
		uint32_t i, n, phases = c->cluster->phases;

		for (n = 0; n < c->cluster->n; n++) {
			struct cta *p = c->cluster->cta[n];

			for (i = p->nwarps; i-- > 0;) {
				struct warp *w = &p->warps[i];

				if (w->done || w->waiting)
					continue;
				*in_hand = w;
				switch (w->tier2 ? tier2_run(w) : warp_run(w)) {
				case RUN_YIELD:
				case RUN_DONE:
					spin = false;
					break;
				default:
					break;
				}
			}
		}
		*in_hand = NULL;
		if (!c->cluster->live) {
			fault_jump = NULL;
			return RUN_DONE;
		}
		if ((cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED)) ||
		    __atomic_load_n(&c->grid->failed, __ATOMIC_RELAXED)) {
			memset(&c->fault, 0, sizeof(c->fault));
			c->fault.outcome = MP_EXEC_CANCELLED;
			strncpy(c->fault.kernel, c->grid->program->codes[0].func->name,
				sizeof(c->fault.kernel) - 1);
			fault_jump = NULL;
			return RUN_FAULT;
		}
		if (phases != c->cluster->phases) /* a barrier opened: not a spin */
			spin = false;
		for (n = 0; spin && n < c->cluster->n; n++)
			for (i = 0; spin && i < c->cluster->cta[n]->nwarps; i++)
				if (c->cluster->cta[n]->warps[i].released)
					spin = false;
		if (spin || __builtin_ia32_rdtsc() - start > ticks) {
			fault_jump = NULL;
			return spin ? RUN_SPIN : RUN_YIELD;
		}
	}
}
