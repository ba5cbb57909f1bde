/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: host threads that run blocks of all queued grids.
 *
 * A thread takes a grid, runs its blocks in increasing order for a slice of
 * time, and goes on to the next grid.  A block that does not end within the
 * slice is parked with all its state and continued later, by any thread, so a
 * kernel may wait for one that was queued after it.  Blocks of one grid beyond
 * those in hand are started before parked ones end only when the parked ones
 * seem to wait (or the launch is cooperative), up to what a device would hold.
 *
 * mp_exec.lock guards the list of grids and everything in a grid but
 * next_block, which is counted atomically while a slice runs.
 */
#include "exec/tier2.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/clock.h"
#include "base/log.h"

#define SLICE_NS     1000000
#define SPARE_MAX    32
#define SPARE_BYTES  (256ull << 20)
#define PARKED_BYTES (1ull << 30)

struct mp_exec {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct grid *grids, **last; /* in order of submission; rotated as they get turns */
	struct cta *spare;
	uint64_t spare_bytes;
	uint32_t nspare;
	pthread_t *threads;
	unsigned nthreads;
	bool stop;
	uint64_t serial, turns;
	unsigned lanes;
	double ticks_per_ns;
	struct mp_exec_stats stats;
};

/* ---- Memory of blocks ---- */

static struct cta *cta_take(struct mp_exec *e, size_t need)
{
	struct cta **p, *c;

	for (p = &e->spare; (c = *p); p = &c->next)
		if (c->memory_bytes >= need && c->memory_bytes <= need * 4 + (1 << 20)) {
			*p = c->next;
			e->nspare--;
			e->spare_bytes -= c->memory_bytes;
			return c;
		}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->memory = aligned_alloc(64, mp_align_up(need, 64));
	c->memory_bytes = need;
	if (!c->memory) {
		free(c);
		return NULL;
	}
	return c;
}

static void cta_put(struct mp_exec *e, struct cta *c)
{
	if (e->nspare >= SPARE_MAX || e->spare_bytes + c->memory_bytes > SPARE_BYTES) {
		tier2_stacks_free(c);
		free(c->memory);
		free(c);
		return;
	}
	c->next = e->spare;
	e->spare = c;
	e->nspare++;
	e->spare_bytes += c->memory_bytes;
}

/* ---- Grids ---- */

static void grid_unlink(struct mp_exec *e, struct grid *g)
{
	struct grid **p = &e->grids;

	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	if (!*p)
		e->last = p;
}

static void grid_append(struct mp_exec *e, struct grid *g)
{
	g->next = NULL;
	*e->last = g;
	e->last = &g->next;
}

static void grid_fail(struct grid *g, const struct mp_exec_fault *f)
{
	if (!g->failed)
		g->fault = *f;
	__atomic_store_n(&g->failed, true, __ATOMIC_RELAXED);
}

static bool grid_unstarted(const struct grid *g)
{
	return !g->failed && __atomic_load_n(&g->next_block, __ATOMIC_RELAXED) < g->nblocks;
}

/* More blocks beside the parked ones? */
static bool grid_may_start(const struct grid *g)
{
	uint64_t patience;

	if (!grid_unstarted(g))
		return false;
	if (g->g.cooperative || !g->parked)
		return true;
	if (g->resident >= g->max_resident || (uint64_t)g->resident * cta_bytes(g) > PARKED_BYTES)
		return false;
	patience = g->spinning ? 4 : 200;
	return g->slices >= patience * (g->resident + 1ull);
}

/* The grid with something to run that had its turn longest ago, by priority. */
static struct grid *grid_pick(struct mp_exec *e)
{
	struct grid *g, *best = NULL;

	for (g = e->grids; g; g = g->next) {
		if (g->g.cancel && __atomic_load_n(g->g.cancel, __ATOMIC_RELAXED) && !g->failed) {
			struct mp_exec_fault f = {.outcome = MP_EXEC_CANCELLED};

			strncpy(f.kernel, g->program->codes[0].func->name, sizeof(f.kernel) - 1);
			grid_fail(g, &f);
		}
		if (g->failed && !g->running)
			return g;
		if (g->failed || (!g->parked && !grid_unstarted(g) && !g->copy.n))
			continue;
		/* Of equal priority the first; a lower one gets every eighth turn. */
		if (!best || (g->g.priority < best->g.priority && (++e->turns & 7)))
			best = g;
	}
	return best;
}

static void grid_free(struct grid *g)
{
	free(g->params);
	free(g->workspace);
	free(g);
}

static void threads_wake(struct mp_exec *e, bool several)
{
	if (several)
		pthread_cond_broadcast(&e->work);
	else
		pthread_cond_signal(&e->work);
}

static void grid_queue(struct mp_exec *e, struct grid *g)
{
	g->held = false;
	grid_append(e, g);
	threads_wake(e, g->nblocks > 1);
}

/* A child has ended: its parent and the next one of its stream hear of it. */
static void child_ended(struct grid *g)
{
	struct grid *p = g->parent, **q = &p->children;

	while (*q != g)
		q = &(*q)->sibling;
	*q = g->sibling;
	p->nchildren--;
	if (g->failed)
		grid_fail(p, &g->fault);
	if (g->after)
		grid_queue(g->exec, g->after);
}

/* True when children are left, which the grid's end has to wait for. */
static bool children_wait(struct mp_exec *e, struct grid *g)
{
	struct grid *c, *t;

	if (!g->own_done) {
		g->own_done = true;
		grid_unlink(e, g);
	}
	if (g->failed)
		for (c = g->children; c; c = c->sibling)
			grid_fail(c, &g->fault);
	while ((t = g->tails) && (g->failed || !g->nchildren)) {
		g->tails = t->sibling;
		if (g->failed) {
			grid_free(t);
			continue;
		}
		t->sibling = g->children;
		g->children = t;
		g->nchildren++;
		grid_queue(e, t);
	}
	return g->nchildren != 0;
}

/* All blocks have ended: tell. Called and returns with the lock held. */
static void grid_finish(struct mp_exec *e, struct grid *g)
{
	struct grid *parent = g->parent;
	struct cta *c;

	while ((c = g->parked)) {
		g->parked = c->next;
		cta_end(c);
		cta_put(e, c);
	}
	if (children_wait(e, g))
		return;
	e->stats.grids++;
	if (parent) {
		child_ended(g);
		grid_free(g);
		if (parent->own_done)
			grid_finish(e, parent);
		return;
	}
	pthread_mutex_unlock(&e->lock);
	g->g.done(g->g.arg, g->failed ? &g->fault : NULL);
	grid_free(g);
	pthread_mutex_lock(&e->lock);
}

/* A child that is no grid: the copy is made in its turn. */
static void grid_copy(struct mp_exec *e, struct grid *g)
{
	const struct child_copy *c = &g->copy;

	grid_unlink(e, g);
	pthread_mutex_unlock(&e->lock);
	if (c->set)
		memset((void *)(uintptr_t)c->to, c->value, c->n);
	else
		memmove((void *)(uintptr_t)c->to, (const void *)(uintptr_t)c->from, c->n);
	pthread_mutex_lock(&e->lock);
	g->own_done = true;
	grid_finish(e, g);
}

/* Run blocks of g until the slice is over; c is a parked block or NULL. Without the lock. */
static struct cta *slice(struct mp_exec *e, struct grid *g, struct cta *c, bool parked,
			 uint64_t *ret_done, enum run_result *ret_last)
{
	uint64_t start = mp_tick(), ticks = (uint64_t)(SLICE_NS * e->ticks_per_ns), used;
	enum run_result r;

	for (;;) {
		if (!parked) {
			uint64_t n = __atomic_fetch_add(&g->next_block, 1, __ATOMIC_RELAXED);

			if (n >= g->nblocks) {
				*ret_last = RUN_DONE;
				return c;
			}
			cta_start(c, g, n);
		}
		used = mp_tick() - start;
		r = cta_run(c, used < ticks ? ticks - used : ticks / 8);
		if (r == RUN_FAULT) {
			cta_end(c);
			*ret_last = r;
			return c;
		}
		if (r != RUN_DONE) {
			*ret_last = r;
			return c;
		}
		cta_end(c);
		(*ret_done)++;
		parked = false;
		if (g->failed || mp_tick() - start > ticks ||
		    (g->g.cancel && __atomic_load_n(g->g.cancel, __ATOMIC_RELAXED))) {
			*ret_last = RUN_DONE;
			return c;
		}
		/* A cooperative block must not be started twice by one that has ended. */
	}
}

static void stats_take(struct mp_exec *e, struct grid *g, struct cta *c)
{
	tier2_count(g->g.kernel, c->instructions);
	e->stats.warp_instructions += c->instructions;
	e->stats.thread_instructions += c->thread_instructions;
	c->instructions = c->thread_instructions = 0;
	e->stats.compiled_blocks += c->compiled;
	e->stats.left_warps += c->left;
	c->compiled = c->left = 0;
}

static void turn(struct mp_exec *e, struct grid *g, unsigned *idle)
{
	struct cta *c = NULL;
	uint64_t done = 0;
	enum run_result r = RUN_DONE;
	bool parked = false;

	if (g->copy.n && !g->failed) {
		grid_copy(e, g);
		return;
	}
	grid_unlink(e, g);
	grid_append(e, g);
	if (g->failed && !g->running) {
		grid_finish(e, g);
		return;
	}
	if (grid_may_start(g)) {
		c = cta_take(e, cta_bytes(g));
		if (c) {
			g->resident++;
			g->slices = 0;
		}
	}
	if (!c && g->parked) {
		c = g->parked;
		g->parked = c->next;
		if (!g->parked)
			g->parked_last = &g->parked;
		parked = true;
	}
	if (!c) {
		if (!g->running) {
			struct mp_exec_fault f = {.outcome = MP_EXEC_NO_MEMORY};

			grid_fail(g, &f);
		}
		return;
	}
	g->running++;
	pthread_mutex_unlock(&e->lock);
	c = slice(e, g, c, parked, &done, &r);
	if (r == RUN_SPIN) {
		/* Everything this thread ran waits: do not burn the core that the others need. */
		if (++*idle > 64)
			usleep(*idle > 1000 ? 200 : 20);
		else
			sched_yield();
	} else {
		*idle = 0;
	}
	pthread_mutex_lock(&e->lock);
	g->running--;
	g->done_blocks += done;
	e->stats.blocks += done * g->cluster;
	stats_take(e, g, c);
	switch (r) {
	case RUN_FAULT:
		grid_fail(g, &c->fault);
		g->resident--;
		cta_put(e, c);
		break;
	case RUN_DONE:
		g->resident--;
		cta_put(e, c);
		break;
	default:
		e->stats.preemptions++;
		g->slices++;
		g->spinning = r == RUN_SPIN;
		c->next = NULL;
		*g->parked_last = c;
		g->parked_last = &c->next;
		/* A thread may have gone to sleep while this block was in hand. */
		pthread_cond_signal(&e->work);
	}
	if (!g->running && (g->failed || g->done_blocks == g->nblocks))
		grid_finish(e, g);
}

static void *thread_main(void *arg)
{
	struct mp_exec *e = arg;
	unsigned idle = 0;
	struct grid *g;

	/* Round to nearest, subnormals kept, whatever the program's start-up code set. */
	_mm_setcsr(0x1f80);
	if (!fault_thread_init())
		mp_log(MP_LOG_ERROR, "exec", "thread", "no alternate stack");
	pthread_mutex_lock(&e->lock);
	for (;;) {
		g = grid_pick(e);
		if (g) {
			turn(e, g, &idle);
		} else {
			if (e->stop)
				break;
			pthread_cond_wait(&e->work, &e->lock);
		}
	}
	pthread_mutex_unlock(&e->lock);
	fault_thread_fini();
	return NULL;
}

static double ticks_measure(void)
{
	uint64_t t0 = mp_now_ns(), c0 = mp_tick(), t1;

	do
		t1 = mp_now_ns();
	while (t1 - t0 < 200000);
	return (double)(mp_tick() - c0) / (double)(t1 - t0);
}

struct mp_exec *mp_exec_new(unsigned threads)
{
	struct mp_exec *e = calloc(1, sizeof(*e));
	const char *env = getenv("MOTORPOOL_SOFT_THREADS");
	sigset_t all, old;
	cpu_set_t cpus;

	if (!e)
		return NULL;
	if (!threads && env && atoi(env) > 0)
		threads = (unsigned)atoi(env);
	if (!threads && sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		threads = (unsigned)CPU_COUNT(&cpus);
	if (!threads)
		threads = 1;
	if (threads > 1024)
		threads = 1024;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->work, NULL);
	e->last = &e->grids;
	e->lanes = LANES;
	e->ticks_per_ns = ticks_measure();
	fault_install();
	e->threads = calloc(threads, sizeof(*e->threads));
	/* The program's signals are the program's threads' business. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (e->threads && e->nthreads < threads &&
	       pthread_create(&e->threads[e->nthreads], NULL, thread_main, e) == 0)
		e->nthreads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!e->nthreads) {
		free(e->threads);
		free(e);
		return NULL;
	}
	return e;
}

void mp_exec_set_lanes(struct mp_exec *e, unsigned lanes)
{
	assert(lanes == 1 || lanes == LANES);
	e->lanes = lanes;
}

void mp_exec_free(struct mp_exec *e)
{
	struct cta *c;
	unsigned i;

	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_broadcast(&e->work);
	pthread_mutex_unlock(&e->lock);
	for (i = 0; i < e->nthreads; i++)
		pthread_join(e->threads[i], NULL);
	assert(!e->grids);
	while ((c = e->spare)) {
		e->spare = c->next;
		tier2_stacks_free(c);
		free(c->memory);
		free(c);
	}
	free(e->threads);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->work);
	free(e);
}

static bool shape_ok(const struct mp_exec_grid *g)
{
	int i;

	for (i = 0; i < 3; i++)
		if (!g->grid[i] || !g->block[i] || !g->cluster[i] || g->grid[i] > INT32_MAX ||
		    g->block[i] > 1024)
			return false;
	for (i = 0; i < 3; i++)
		if (g->grid[i] % g->cluster[i] || g->cluster[i] > CLUSTER_MAX)
			return false;
	if (g->cluster[0] * g->cluster[1] * g->cluster[2] > CLUSTER_MAX)
		return false;
	return g->block[0] * g->block[1] * g->block[2] <= 1024 && g->grid[1] <= 65535 &&
	       g->grid[2] <= 65535 && g->dynamic_shared <= 1u << 24;
}

/* A grid that is ready to be queued. */
static enum mp_exec_outcome grid_new(struct mp_exec *e, const struct mp_exec_grid *in,
				     struct grid **ret_grid)
{
	enum mp_exec_outcome o = mp_exec_kernel_prepare(in->kernel, NULL, 0);
	struct grid *g;
	uint32_t per_sm;

	if (o)
		return o;
	if (!shape_ok(in))
		return MP_EXEC_UNSUPPORTED;
	if (e->lanes == LANES)
		tier2_code(in->kernel, in->block, true);
	g = calloc(1, sizeof(*g));
	if (!g)
		return MP_EXEC_NO_MEMORY;
	g->g = *in;
	g->program = in->kernel->program;
	g->space = in->space;
	g->exec = e;
	g->params_bytes = in->kernel->info.param_bytes;
	g->params = calloc(1, g->params_bytes + 64);
	if (in->cooperative)
		g->workspace = calloc(1, 64);
	if (!g->params || (in->cooperative && !g->workspace)) {
		grid_free(g);
		return MP_EXEC_NO_MEMORY;
	}
	if (in->cooperative)
		memcpy(g->workspace, &(uint32_t){8}, 4);
	if (g->params_bytes)
		memcpy(g->params, in->params, g->params_bytes);
	g->cluster = in->cluster[0] * in->cluster[1] * in->cluster[2];
	g->nblocks = (uint64_t)in->grid[0] * in->grid[1] * in->grid[2] / g->cluster;
	g->threads = in->block[0] * in->block[1] * in->block[2];
	g->lanes = e->lanes;
	g->warps = (g->threads + g->lanes - 1) / g->lanes;
	g->total_shared = in->dynamic_shared ? g->program->dynamic_at + in->dynamic_shared
					     : g->program->static_shared;
	per_sm = (in->warps_per_sm ? in->warps_per_sm : 48) / g->warps;
	g->max_resident = (in->sm_count ? in->sm_count : 16) * (per_sm ? per_sm : 1);
	g->max_resident = (g->max_resident + g->cluster - 1) / g->cluster;
	g->parked_last = &g->parked;
	*ret_grid = g;
	return MP_EXEC_OK;
}

enum mp_exec_outcome mp_exec_submit(struct mp_exec *e, const struct mp_exec_grid *in)
{
	struct grid *g;
	enum mp_exec_outcome o = grid_new(e, in, &g);
	bool several;

	if (o)
		return o;
	several = g->nblocks > 1;
	pthread_mutex_lock(&e->lock);
	g->serial = ++e->serial;
	g->held = false;
	grid_append(e, g);
	pthread_mutex_unlock(&e->lock);
	/* Woken under the lock, a thread would go back to sleep for it; the grid may be over by now. */
	threads_wake(e, several);
	return MP_EXEC_OK;
}

enum mp_exec_outcome grid_child(struct grid *p, const struct mp_exec_grid *in,
				const struct child_copy *copy, uint64_t key)
{
	struct mp_exec *e = p->exec;
	struct grid *g, *c;
	enum mp_exec_outcome o;

	if (copy) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return MP_EXEC_NO_MEMORY;
		g->g = p->g;
		g->program = p->program;
		g->space = p->space;
		g->exec = e;
		g->copy = *copy;
		g->cluster = 1;
		g->parked_last = &g->parked;
	} else {
		o = grid_new(e, in, &g);
		if (o)
			return o;
	}
	g->parent = p;
	g->key = key;
	pthread_mutex_lock(&e->lock);
	g->serial = ++e->serial;
	if (key == CHILD_KEY_TAIL) {
		struct grid **q = &p->tails;

		while (*q)
			q = &(*q)->sibling;
		*q = g;
		pthread_mutex_unlock(&e->lock);
		return MP_EXEC_OK;
	}
	/* Newest first: the first of the stream is its last. */
	for (c = key == CHILD_KEY_FREE ? NULL : p->children; c && c->key != key; c = c->sibling)
		;
	g->sibling = p->children;
	p->children = g;
	p->nchildren++;
	if (c) {
		assert(!c->after);
		c->after = g;
		g->held = true;
	} else {
		grid_queue(e, g);
	}
	pthread_mutex_unlock(&e->lock);
	return MP_EXEC_OK;
}

void mp_exec_stats(struct mp_exec *e, struct mp_exec_stats *ret)
{
	pthread_mutex_lock(&e->lock);
	*ret = e->stats;
	pthread_mutex_unlock(&e->lock);
}
