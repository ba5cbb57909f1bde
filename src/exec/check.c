/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked runs: every access of device code is looked at before it is made.
 *
 * It costs nothing when it is off: a program that is decoded while it is on has
 * other handlers in its operations, which look and then call the right ones.
 * Looked at are loads, stores, atomics, asynchronous copies, ldmatrix and
 * stmatrix, in global and shared memory.  What wmma loads and stores is taken to
 * be in order; registers, parameters and local memory are the thread's own.
 */
#include "exec/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

unsigned check_on;

enum kind {
	LOAD, STORE, ATOMIC, /* plain */
	COPY,	 /* cp.async */
	BULK,	 /* cp.async.bulk */
	MBARRIER,
	ROWS_IN, ROWS_OUT, /* ldmatrix, stmatrix */
	MATRIX_OUT,	   /* wmma.store */
	CLUSTER,	   /* barrier.cluster.arrive */
};

/* What an operation was before. */
struct checked {
	struct op op;
	enum kind kind;
	enum space space;
	uint32_t bytes; /* a lane */
	bool strong;
};

/* ---- Contents of global memory: a bit for each byte of the window ---- */

static uint64_t window_base, window_size;
static uint8_t *contents; /* reserved; a page is there once something in it is marked */

static void bits_set(uint64_t at, uint64_t n)
{
	for (; n && (at & 7); at++, n--)
		__atomic_fetch_or(&contents[at >> 3], (uint8_t)(1u << (at & 7)), __ATOMIC_RELAXED);
	memset(contents + (at >> 3), 0xff, n >> 3);
	at += n & ~7ull;
	for (n &= 7; n; at++, n--)
		__atomic_fetch_or(&contents[at >> 3], (uint8_t)(1u << (at & 7)), __ATOMIC_RELAXED);
}

static bool inside(uint64_t *addr, uint64_t *n)
{
	if (!contents || !*n || *addr - window_base >= window_size)
		return false;
	*addr -= window_base;
	if (*n > window_size - *addr)
		*n = window_size - *addr;
	return true;
}

void mp_exec_check_wrote(uint64_t addr, uint64_t n)
{
	if (MP_UNLIKELY(check_on) && inside(&addr, &n))
		bits_set(addr, n);
}

static _Atomic uint64_t changes; /* of allocations */

void mp_exec_check_fresh(uint64_t addr, uint64_t n)
{
	uint64_t from, to;

	if (!check_on)
		return;
	changes++;
	if (!inside(&addr, &n))
		return;
	/* The bytes of others in the first and last places are theirs. */
	for (; n && (addr & 7); addr++, n--)
		__atomic_fetch_and(&contents[addr >> 3], (uint8_t)~(1u << (addr & 7)), __ATOMIC_RELAXED);
	from = addr >> 3;
	to = (addr + n) >> 3;
	/* Whole pages go back; they read as zero. */
	if (to - from > 65536) {
		uint64_t a = mp_align_up(from, 4096), b = to & ~4095ull;

		memset(contents + from, 0, a - from);
		madvise(contents + a, b - a, MADV_DONTNEED);
		memset(contents + b, 0, to - b);
	} else {
		memset(contents + from, 0, to - from);
	}
	for (addr += n & ~7ull, n &= 7; n; addr++, n--)
		__atomic_fetch_and(&contents[addr >> 3], (uint8_t)~(1u << (addr & 7)), __ATOMIC_RELAXED);
}

static bool has_contents(uint64_t addr, uint64_t n)
{
	bool all = true;

	if (!inside(&addr, &n))
		return true;
	for (; n; addr++, n--)
		all &= __atomic_load_n(&contents[addr >> 3], __ATOMIC_RELAXED) >> (addr & 7) & 1;
	return all;
}

void mp_exec_check(unsigned what, uint64_t base, uint64_t size)
{
	window_base = base;
	window_size = size;
	if (what & MP_EXEC_CHECK_INIT) {
		contents = mmap(NULL, size / 8 + 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (contents == MAP_FAILED) {
			contents = NULL;
			what &= ~MP_EXEC_CHECK_INIT;
			mp_log(MP_LOG_ERROR, "exec", "check", "init=\"no address space for its map\"");
		}
	}
	check_on = what;
	mp_exec_set_tier(1); /* compiled code does not look */
}

/* ---- Global accesses ---- */

static __thread struct {
	struct mp_exec_block b;
	uint64_t changes;
	void *arg;
} near;

/* The allocation that an address lies in, or the nearest; false when it lies in none. */
static bool block_of(const struct mp_exec_space *s, uint64_t addr, const struct mp_exec_block **ret)
{
	uint64_t now = changes;

	*ret = &near.b;
	if (near.changes == now + 1 && near.arg == s->arg && addr - near.b.addr < near.b.size)
		return true;
	if (!s->block)
		return near.b.addr = addr, near.b.size = 1ull << 40, near.b.full = true;
	near.arg = s->arg;
	if (s->block(s->arg, addr, &near.b)) {
		near.changes = now + 1;
		return true;
	}
	near.changes = 0;
	return false;
}

/* Once an instruction of a launch; the counter of hidden reports is for what limits cut off. */
static void global(struct warp *w, const struct op *o, uint32_t lane, uint64_t addr, uint32_t n, uint32_t align,
		   enum check_access a)
{
	const struct mp_exec_space *s = w->cta->grid->space;
	const char *workspace = w->cta->grid->workspace;
	struct check_place p = check_place_of(w, o, lane, a);
	const struct mp_exec_block *b;
	bool in;

	if (workspace && addr - (uint64_t)(uintptr_t)workspace < 64)
		return;
	if (check_on & MP_EXEC_CHECK_MEMORY && addr & (align - 1)) {
		check_report_misaligned(w, &p, false, addr, n);
		warp_fault(w, lane, MP_EXEC_MISALIGNED, addr);
	}
	in = block_of(s, addr, &b);
	if (check_on & MP_EXEC_CHECK_MEMORY && (!in || b->size - (addr - b->addr) < n)) {
		const struct mp_exec_block *next = b;

		/* Allocations that touch are one when they were mapped so. */
		if (!in || !b->joined || !block_of(s, addr + n - 1, &next)) {
			check_report_bounds(w, &p, false, addr, n, b);
			warp_fault(w, lane, MP_EXEC_ILLEGAL_ADDRESS, addr);
		}
	}
	if (!contents)
		return;
	if (a != CHECK_WRITE && in && !b->full && !has_contents(addr, n)) {
		check_report_init(w, &p, false, addr, n, b);
		mp_exec_check_wrote(addr, n); /* once a place is enough */
	}
	if (a != CHECK_READ)
		mp_exec_check_wrote(addr, n);
}

/* ---- All accesses ---- */

/* What a lane stores: elements of `size` bytes, one after another. */
static void value_of(const struct warp *w, const struct op *o, uint32_t lane, uint8_t *to)
{
	uint32_t width = o->ext[1], i;

	for (i = 0; i < o->n; i++) {
		const uint8_t *from;

		if (o->ext[3 + i] == SLOT_NONE)
			continue;
		from = slot(w, o->ext[3 + i]);
		memcpy(to + i * o->size, from + (size_t)lane * (width > 8 ? 8 : width), o->size > 8 ? 8 : o->size);
		if (o->size == 16) /* the upper halves lie behind all lower ones */
			memcpy(to + i * 16 + 8, from + (size_t)(lane + LANES) * 8, 8);
	}
}

static void shared(struct warp *w, struct cta *c, const struct op *o, uint32_t lane, uint64_t at, uint32_t n,
		   uint32_t align, enum check_access a, bool strong, const uint8_t *value)
{
	struct check_place p = check_place_of(w, o, lane, a);
	struct check_cta *s;

	if (check_on & MP_EXEC_CHECK_MEMORY) {
		if (at & (align - 1)) {
			check_report_misaligned(w, &p, true, at, n);
			warp_fault(w, lane, MP_EXEC_MISALIGNED, at | GENERIC_SHARED);
		}
		if (at > c->shared_bytes || c->shared_bytes - at < n) {
			check_report_bounds(w, &p, true, at, n, NULL);
			warp_fault(w, lane, MP_EXEC_ILLEGAL_ADDRESS, at | GENERIC_SHARED);
		}
	}
	if (!(check_on & (MP_EXEC_CHECK_INIT | MP_EXEC_CHECK_RACE)) || at > c->shared_bytes || c->shared_bytes - at < n)
		return;
	s = check_cta(c);
	if (!s)
		return;
	if (c != w->cta) { /* another block's: what orders it is the cluster's business */
		if (a != CHECK_READ)
			check_shared_wrote(s, (uint32_t)at, n);
		return;
	}
	if (strong && check_on & MP_EXEC_CHECK_RACE)
		check_meet(s, w, at);
	check_shared(s, w, o, lane, (uint32_t)at, n, a, strong, value);
}

/* One lane's access at a generic address. */
static void generic(struct warp *w, const struct op *o, uint32_t lane, uint64_t addr, uint32_t n, uint32_t align,
		    enum check_access a, bool strong, const uint8_t *value)
{
	struct cta *c = w->cta;
	uint64_t off = addr & (GENERIC_SPAN - 1), rank = off >> SHARED_RANK_SHIFT;

	switch (addr & ~(GENERIC_SPAN - 1)) {
	case GENERIC_SHARED:
		if (rank > c->cluster->n)
			return; /* it faults */
		if (rank) {
			c = c->cluster->cta[rank - 1];
			off &= (1ull << SHARED_RANK_SHIFT) - 1;
		}
		shared(w, c, o, lane, off, n, align, a, strong, value);
		return;
	case GENERIC_LOCAL:
	case GENERIC_PARAM:
		return;
	default:
		global(w, o, lane, addr, n, align, a);
		/* Flags in global memory order blocks' threads, too. */
		if (strong && check_on & MP_EXEC_CHECK_RACE) {
			struct check_cta *s = check_cta(c);

			if (s)
				check_meet(s, w, addr);
		}
	}
}

static uint64_t address(const struct warp *w, const struct op *o, uint32_t lane, bool is_shared)
{
	uint64_t a = o->imm;

	if (o->a != SLOT_NONE)
		a = o->ext[0] == 4 ? (uint32_t)(((const uint32_t *)slot(w, o->a))[lane] + (uint32_t)o->imm)
				   : ((const uint64_t *)slot(w, o->a))[lane] + o->imm;
	return is_shared ? (a & (GENERIC_SPAN - 1)) | GENERIC_SHARED : a;
}

static uint32_t word_of(const struct warp *w, uint32_t s, uint32_t lane, uint32_t none)
{
	return s == SLOT_NONE ? none : ((const uint32_t *)slot(w, s))[lane];
}

/* All of the allocation, or of shared memory, has contents. */
static void matrix_out(struct warp *w, const struct checked *c, uint32_t lane)
{
	uint64_t a = address(w, &c->op, lane, c->space == SP_SHARED);
	const struct mp_exec_block *b;
	struct check_cta *s;

	if ((a & ~(GENERIC_SPAN - 1)) == GENERIC_SHARED) {
		s = check_cta(w->cta);
		if (s)
			check_shared_wrote(s, 0, w->cta->shared_bytes);
	} else if (block_of(w->cta->grid->space, a, &b) && !b->full) {
		mp_exec_check_wrote(b->addr, b->size);
	}
}

static void lane_check(struct warp *w, const struct checked *c, uint32_t l)
{
	const struct op *o = &c->op, *from = o->ref;
	uint32_t n = c->bytes, take;
	uint8_t value[128] = {0};
	bool in = c->space == SP_SHARED;
	struct check_cta *s;

	switch (c->kind) {
	case LOAD:
		generic(w, o, l, address(w, o, l, in), n, n, CHECK_READ, c->strong, NULL);
		break;
	case STORE:
		value_of(w, o, l, value);
		generic(w, o, l, address(w, o, l, in), n, n, CHECK_WRITE, c->strong, value);
		break;
	case ATOMIC:
		generic(w, o, l, address(w, o, l, in), n, n, CHECK_ATOMIC, true, NULL);
		break;
	case COPY:
		take = word_of(w, o->b, l, n);
		if (take > n)
			take = n;
		if (take)
			generic(w, from, l, address(w, from, l, false), take, 1, CHECK_READ, false, NULL);
		generic(w, o, l, address(w, o, l, true), n, n, CHECK_WRITE, false, NULL);
		break;
	case BULK:
		n = word_of(w, o->c, l, 0);
		if (!n)
			break;
		generic(w, o, l, address(w, from, l, from->n == SP_SHARED), n, 16, CHECK_READ, false, NULL);
		/* Who waits for it does so by an mbarrier or a group; whether in time is not looked at. */
		if ((address(w, o, l, o->n == SP_SHARED) & ~(GENERIC_SPAN - 1)) != GENERIC_SHARED)
			generic(w, o, l, address(w, o, l, false), n, 16, CHECK_WRITE, false, NULL);
		else if ((s = check_cta(w->cta)))
			check_shared_wrote(s, (uint32_t)(address(w, o, l, true) & 0xffffff), n);
		break;
	case MBARRIER:
		if ((address(w, o, l, in) & ~(GENERIC_SPAN - 1)) == GENERIC_SHARED && (s = check_cta(w->cta))) {
			check_meet(s, w, address(w, o, l, true) & 0xffffff);
			check_shared_wrote(s, (uint32_t)(address(w, o, l, true) & 0xffffff), 8);
		}
		break;
	case ROWS_IN:
	case ROWS_OUT:
		if (l < 8u * o->n)
			generic(w, o, l, address(w, o, l, in), 16, 16, c->kind == ROWS_IN ? CHECK_READ : CHECK_WRITE,
				false, NULL);
		break;
	case MATRIX_OUT:
		if (l == (uint32_t)__builtin_ctz(w->mask))
			matrix_out(w, c, l);
		break;
	case CLUSTER:
		break;
	}
}

static void checked_run(struct warp *w, const struct op *o)
{
	const struct checked *c = o->ref;
	uint32_t l;

	if (check_on & (MP_EXEC_CHECK_INIT | MP_EXEC_CHECK_RACE)) {
		struct check_cta *s = check_cta(w->cta);

		if (s)
			check_shared_step(s);
	}
	for (l = 0; l < LANES; l++)
		if (w->mask >> l & 1)
			lane_check(w, c, l);
	if (c->kind == CLUSTER && check_on & MP_EXEC_CHECK_RACE)
		check_cluster(w, w->mask);
	c->op.fn(w, &c->op);
}

/* ---- Which operations ---- */

/* Bytes of an atomic's operand, from the type that ends its name. */
static uint32_t type_bytes(const char *name)
{
	const char *t = strrchr(name, '.');
	uint32_t n = 0;

	for (t = t ? t + 1 : name; *t && (*t < '0' || *t > '9'); t++)
		;
	for (; *t >= '0' && *t <= '9'; t++)
		n = n * 10 + (uint32_t)(*t - '0');
	return n / 8 * (t[0] == 'x' && t[1] == '2' ? 2 : 1);
}

static bool strong_of(const struct mp_ptx_insn *in)
{
	return mp_ptx_has(in, MP_PTX_W_VOLATILE) || mp_ptx_has(in, MP_PTX_W_RELAXED) ||
	       mp_ptx_has(in, MP_PTX_W_ACQUIRE) || mp_ptx_has(in, MP_PTX_W_RELEASE) || mp_ptx_has(in, MP_PTX_W_MMIO);
}

static bool is(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* false: not one that is looked at. */
static bool class_of(const struct op *o, const struct mp_ptx_insn *in, struct checked *c)
{
	const char *name = o->fn ? handler_name(o->fn) : NULL;

	c->op = *o;
	c->strong = strong_of(in);
	c->space = SP_GENERIC;
	if (!name)
		return false;
	if (is(name, "ld.generic") || is(name, "ld.shared") || is(name, "st.generic") || is(name, "st.shared")) {
		c->kind = *name == 'l' ? LOAD : STORE;
		c->space = is(name + 3, "shared") ? SP_SHARED : SP_GENERIC;
		c->bytes = (uint32_t)o->size * o->n;
	} else if (is(name, "atom.")) {
		c->kind = ATOMIC;
		c->space = (enum space)o->n;
		c->bytes = type_bytes(name);
		return c->bytes && c->space != SP_LOCAL;
	} else if (!strcmp(name, "cp.async")) {
		c->kind = COPY;
		c->bytes = o->size;
	} else if (!strcmp(name, "cp.bulk")) {
		c->kind = BULK;
	} else if (!strcmp(name, "mbarrier")) {
		c->kind = MBARRIER;
		c->space = (enum space)o->n;
	} else if (!strcmp(name, "ldmatrix") || !strcmp(name, "stmatrix")) {
		c->kind = *name == 'l' ? ROWS_IN : ROWS_OUT;
		c->space = (enum space)o->size;
	} else if (!strcmp(name, "wmma.store")) {
		c->kind = MATRIX_OUT;
		c->space = (enum space)o->size;
	} else if (!strcmp(name, "cluster.arrive")) {
		c->kind = CLUSTER;
	} else {
		return false;
	}
	return true;
}

void check_program(struct program *p)
{
	uint32_t i, k;

	for (i = 0; i < p->ncodes; i++) {
		struct code *code = &p->codes[i];

		for (k = 0; k < code->nops; k++) {
			struct op *o = &code->ops[k];
			struct checked c = {0}, *keep;

			if (o->kind == K_BAR && check_on & MP_EXEC_CHECK_RACE)
				o->kind = K_BAR_CHECKED;
			if ((o->kind != K_PLAIN && o->kind != K_GUARDED && o->kind != K_WARPSYNC) ||
			    !class_of(o, &code->insns[o->insn], &c))
				continue;
			keep = mp_arena_alloc(&p->arena, sizeof(*keep));
			if (!keep)
				return; /* what is not looked at is not reported */
			*keep = c;
			o->fn = checked_run;
			o->ref = keep;
		}
	}
}
