/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue: operations and what they wait for.
 *
 * An op counts the ops it waits for; when the last of them is done it starts:
 * grids go to the engine, small copies run at once, large ones and host
 * functions go to lanes of driver threads, waits on memory to the poller.  When
 * it is done, the ops that waited for it are counted down, in a loop, not by
 * recursion.  One lock guards counts and states; nothing runs under it.
 */
#include "inside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"

#define INLINE_BYTES ((size_t)64 << 10) /* a copy this small is cheaper than waking a thread */
#define JITTER_NS    500000u

static pthread_mutex_t queue = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t changed_once = PTHREAD_ONCE_INIT;
static unsigned drainers MP_GUARDED_BY(queue);

static void changed_make(void)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &a);
	pthread_condattr_destroy(&a);
}

void mp_queue_lock(void)
{
	pthread_mutex_lock(&queue);
}

void mp_queue_unlock(void)
{
	pthread_mutex_unlock(&queue);
}

/* ---- Threads ---- */

static bool thread_start(void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	pthread_t t;
	bool good;

	/* A program's signals are for the program's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	good = !pthread_create(&t, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (good)
		pthread_detach(t);
	return good;
}

/* Threads that take ops from one list; started as they are needed. */
struct lane {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct mp_op *first, **last;
	unsigned threads, idle, most, queued;
};

static struct lane copies = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, .most = 3};
static struct lane hosts = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, .most = 16};

static void perform(struct mp_op *op);

static void *lane_run(void *arg)
{
	struct lane *l = arg;

	for (;;) {
		struct mp_op *op;

		pthread_mutex_lock(&l->lock);
		l->idle++;
		while (!l->first)
			pthread_cond_wait(&l->more, &l->lock);
		l->idle--;
		op = l->first;
		l->queued--;
		l->first = op->next;
		if (!l->first)
			l->last = &l->first;
		pthread_mutex_unlock(&l->lock);
		perform(op);
	}
	return NULL;
}

/* false: no thread could be had; the caller does it. */
static bool lane_add(struct lane *l, struct mp_op *op)
{
	bool good = true;

	pthread_mutex_lock(&l->lock);
	/* An idle thread that has been woken may not have taken its op yet: count ops, not threads. */
	if (l->queued >= l->idle && l->threads < l->most) {
		if (thread_start(lane_run, l))
			l->threads++;
		else if (!l->threads)
			good = false;
	}
	if (good) {
		if (!l->last)
			l->last = &l->first;
		op->next = NULL;
		l->queued++;
		*l->last = op;
		l->last = &op->next;
		pthread_cond_signal(&l->more);
	}
	pthread_mutex_unlock(&l->lock);
	return good;
}

/* ---- The poller: delayed ops, and waits on memory ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct mp_op *list;
	bool running;
} poller = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void start(struct mp_op *op, struct mp_op **list);
static void finish(struct mp_op *op, CUresult result, struct mp_op **list);

static void run_list(struct mp_op *list)
{
	while (list) {
		struct mp_op *op = list;

		list = op->next;
		start(op, &list);
	}
}

/* true: it can go on (it was started). */
static bool poll_one(struct mp_op *op, uint64_t now, struct mp_op **list)
{
	if (op->due) {
		if (now < op->due)
			return false;
		op->due = 0;
		op->next = *list;
		*list = op;
		return true;
	}
	assert(op->work.kind == MP_WORK_MEMOPS);
	if (!op->work.ctx->error && !op->work.ctx->cancel && !mp_memops_run(&op->work))
		return false;
	finish(op, (CUresult)op->work.ctx->error, list);
	return true;
}

static void *poller_run(void *unused)
{
	struct timespec nap = {0, 50000};
	unsigned quiet = 0;

	(void)unused;
	for (;;) {
		struct mp_op *list = NULL, **at;

		pthread_mutex_lock(&poller.lock);
		while (!poller.list) {
			pthread_cond_wait(&poller.more, &poller.lock);
			quiet = 0;
		}
		for (at = &poller.list; *at;) {
			struct mp_op *op = *at, *next = op->next;

			if (poll_one(op, mp_now_ns(), &list)) {
				*at = next;
				quiet = 0;
			} else {
				at = &op->next;
			}
		}
		pthread_mutex_unlock(&poller.lock);
		run_list(list);
		if (!list) {
			/* A long wait costs less and less: 50 us at first, 1 ms after a while. */
			nap.tv_nsec = quiet++ < 200 ? 50000 : 1000000;
			nanosleep(&nap, NULL);
		}
	}
	return NULL;
}

static void poller_add(struct mp_op *op)
{
	pthread_mutex_lock(&poller.lock);
	op->next = poller.list;
	poller.list = op;
	if (!poller.running)
		poller.running = thread_start(poller_run, NULL);
	pthread_cond_signal(&poller.more);
	pthread_mutex_unlock(&poller.lock);
}

static uint64_t jitter_next(void)
{
	static _Atomic uint64_t state;
	uint64_t x = state += 0x9e3779b97f4a7c15ull;

	/* splitmix64 */
	x += mp_soft.config.jitter;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---- Ops ---- */

struct mp_op *mp_op_new(struct mp_work *own_work)
{
	struct mp_op *op = malloc(sizeof(*op));

	if (!op) {
		mp_work_fini(own_work);
		return NULL;
	}
	memset(op, 0, offsetof(struct mp_op, work));
	op->refs = 2; /* the caller's, and one until it is done */
	op->pending = 1;
	op->waiters = op->few;
	op->cap_waiters = MP_ARRAY_LEN(op->few);
	op->work = *own_work;
	own_work->kind = MP_WORK_EMPTY;
	return op;
}

struct mp_op *mp_op_ref(struct mp_op *op)
{
	op->refs++;
	return op;
}

void mp_op_unref(struct mp_op *op)
{
	if (!op || --op->refs)
		return;
	assert(op->state == MP_OP_DONE);
	if (op->waiters != op->few)
		free(op->waiters);
	free(op);
}

CUresult mp_op_after(struct mp_op *op, struct mp_op *dep)
{
	if (!dep || dep->state == MP_OP_DONE || dep == op)
		return CUDA_SUCCESS;
	if (dep->nwaiters == dep->cap_waiters) {
		unsigned cap = dep->cap_waiters * 2;
		struct mp_op **p = malloc(cap * sizeof(*p));

		if (!p)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(p, dep->waiters, dep->nwaiters * sizeof(*p));
		if (dep->waiters != dep->few)
			free(dep->waiters);
		dep->waiters = p;
		dep->cap_waiters = cap;
	}
	dep->waiters[dep->nwaiters++] = mp_op_ref(op);
	op->pending++;
	return CUDA_SUCCESS;
}

bool mp_op_commit_locked(struct mp_op *op)
{
	if (!op->counted) {
		op->counted = true;
		op->work.ctx->pending++;
	}
	assert(op->pending);
	return !--op->pending;
}

void mp_op_run(struct mp_op *op)
{
	op->next = NULL;
	run_list(op);
}

void mp_op_commit(struct mp_op *op)
{
	bool ready;

	mp_queue_lock();
	ready = mp_op_commit_locked(op);
	mp_queue_unlock();
	if (ready)
		mp_op_run(op);
}

static void finish(struct mp_op *op, CUresult result, struct mp_op **list)
{
	struct CUctx_st *ctx = op->work.ctx;
	void (*after)(void *);
	void *arg;
	unsigned i;
	bool grid = op->work.kind == MP_WORK_KERNEL;

	/* Payloads of graph memory and child graphs take other locks: before this one. */
	mp_work_fini(&op->work);
	after = op->after;
	arg = op->after_arg;
	op->after = NULL;
	mp_queue_lock();
	assert(op->state != MP_OP_DONE);
	op->state = MP_OP_DONE;
	op->result = result;
	op->finished = mp_now_ns();
	for (i = 0; i < op->nwaiters; i++) {
		struct mp_op *w = op->waiters[i];

		assert(w->pending);
		if (!--w->pending) {
			w->next = *list;
			*list = w;
		}
	}
	if (op->counted && !--ctx->pending && grid)
		mp_soft_account_touch(ctx->device->account, false);
	if (op->waited || (drainers && !ctx->pending))
		pthread_cond_broadcast(&changed);
	mp_queue_unlock();
	for (i = 0; i < op->nwaiters; i++)
		mp_op_unref(op->waiters[i]);
	op->nwaiters = 0;
	if (after)
		after(arg);
	mp_op_unref(op);
}

void mp_op_finish(struct mp_op *op, CUresult result)
{
	struct mp_op *list = NULL;

	finish(op, result, &list);
	run_list(list);
}

/* A grid has ended; called by the engine. */
static void grid_done(void *arg, const struct mp_exec_fault *fault)
{
	struct mp_op *op = arg, *list = NULL;
	struct CUctx_st *ctx = op->work.ctx;
	CUresult r = CUDA_SUCCESS;

	if (fault && fault->outcome != MP_EXEC_OK) {
		r = mp_exec_result(fault->outcome);
		if (fault->outcome == MP_EXEC_CANCELLED && ctx->error)
			r = (CUresult)ctx->error;
		mp_log(fault->outcome == MP_EXEC_CANCELLED ? MP_LOG_INFO : MP_LOG_ERROR,
		       "soft", "fault",
		       "error=%s kernel=%s block=%u,%u,%u thread=%u,%u,%u address=0x%llx line=%u "
		       "instruction=\"%s\"",
		       mp_error_name(r), fault->kernel, fault->block[0], fault->block[1],
		       fault->block[2], fault->thread[0], fault->thread[1], fault->thread[2],
		       (unsigned long long)fault->address, fault->line, fault->text);
		if (fault->outcome != MP_EXEC_CANCELLED)
			mp_errlog_add(CU_LOG_LEVEL_ERROR,
				      "%s: kernel %s, block (%u,%u,%u), thread (%u,%u,%u), address 0x%llx, PTX line %u: %s",
				      mp_error_name(r), fault->kernel, fault->block[0], fault->block[1],
				      fault->block[2], fault->thread[0], fault->thread[1], fault->thread[2],
				      (unsigned long long)fault->address, fault->line, fault->text);
		if (fault->outcome != MP_EXEC_CANCELLED || !ctx->cancel)
			mp_context_fail(ctx, r);
	}
	finish(op, r, &list);
	run_list(list);
}

/* Runs on a lane, or in the thread that found it ready. */
static void perform(struct mp_op *op)
{
	struct mp_op *list = NULL;
	struct mp_work *w = &op->work;

	switch (w->kind) {
	case MP_WORK_COPY: mp_copy_run(w); break;
	case MP_WORK_FILL: mp_fill_run(&w->fill); break;
	case MP_WORK_HOST:
	case MP_WORK_CALLBACK:
		mp_in_callback = true;
		if (w->kind == MP_WORK_HOST)
			w->host.fn(w->host.data);
		else
			w->host.callback(w->host.stream, (CUresult)w->ctx->error, w->host.data);
		mp_in_callback = false;
		break;
	default: assert(!"kind");
	}
	finish(op, (CUresult)w->ctx->error, &list);
	run_list(list);
}

static size_t volume(const struct mp_work *w)
{
	if (w->kind == MP_WORK_COPY)
		return w->copy.desc.WidthInBytes * w->copy.desc.Height * w->copy.desc.Depth;
	return w->fill.width * w->fill.height * w->fill.element;
}

static void start_bytes(struct mp_op *op, struct mp_op **list)
{
	if (!op->here && volume(&op->work) > INLINE_BYTES && lane_add(&copies, op))
		return;
	if (op->work.kind == MP_WORK_COPY)
		mp_copy_run(&op->work);
	else
		mp_fill_run(&op->work.fill);
	finish(op, CUDA_SUCCESS, list);
}

static void start_grid(struct mp_op *op, struct mp_op **list)
{
	CUresult r;

	mp_soft_account_touch(op->work.ctx->device->account, true);
	r = mp_launch_start(op, grid_done);
	if (!r)
		return;
	mp_context_fail(op->work.ctx, r);
	finish(op, r, list);
}

/* An op is ready: do it, or give it to whoever does. */
static void start(struct mp_op *op, struct mp_op **list)
{
	struct mp_work *w = &op->work;
	bool null = mp_soft.config.null_mode;
	int error = w->ctx->error;

	if (MP_UNLIKELY(mp_soft.config.jitter) && !op->delayed) {
		op->delayed = true;
		op->here = false;
		op->due = mp_now_ns() + jitter_next() % JITTER_NS + 1;
		poller_add(op);
		return;
	}
	op->state = MP_OP_STARTED;
	switch (w->kind) {
	case MP_WORK_KERNEL:
		if (!error && !null) {
			start_grid(op, list);
			return;
		}
		break;
	case MP_WORK_COPY:
	case MP_WORK_FILL:
		if (!error && !null) {
			start_bytes(op, list);
			return;
		}
		break;
	case MP_WORK_HOST:
		if (error)
			break;
		/* fall through */
	case MP_WORK_CALLBACK:
		/* Never in a program's own thread: a callback may wait for it. */
		if (lane_add(&hosts, op))
			return;
		mp_log(MP_LOG_ERROR, "soft", "host-thread", "error=\"cannot start a thread\"");
		break;
	case MP_WORK_MEMOPS:
		if (!error && !mp_memops_run(w)) {
			poller_add(op);
			return;
		}
		break;
	case MP_WORK_CONDITION:
		if (error || null)
			break;
		mp_condition_step(op);
		return;
	case MP_WORK_DEFAULTS: mp_condition_defaults(w); break;
	case MP_WORK_ALLOC: mp_graph_block_alloc_run(w->alloc.block); break;
	case MP_WORK_FREE:
		if (w->free.pooled)
			mp_pool_free_now(w->free.addr);
		else
			mp_graph_block_free_run(w->free.block);
		break;
	case MP_WORK_EMPTY:
	case MP_WORK_RECORD:
	case MP_WORK_WAIT:
	case MP_WORK_CHILD: break;
	case MP_WORK_KINDS: assert(!"kind");
	}
	finish(op, (CUresult)error, list);
}

/* ---- Waiting ---- */

bool mp_op_done(struct mp_op *op)
{
	bool done;

	if (!op)
		return true;
	mp_queue_lock();
	done = op->state == MP_OP_DONE;
	mp_queue_unlock();
	return done;
}

void mp_op_wait(struct mp_op *op)
{
	if (!op)
		return;
	pthread_once(&changed_once, changed_make);
	mp_queue_lock();
	while (op->state != MP_OP_DONE) {
		op->waited = true;
		pthread_cond_wait(&changed, &queue);
	}
	mp_queue_unlock();
}

size_t mp_queue_pending(struct CUctx_st *ctx)
{
	size_t n;

	mp_queue_lock();
	n = ctx->pending;
	mp_queue_unlock();
	return n;
}

bool mp_queue_drain(struct CUctx_st *ctx, unsigned ms)
{
	struct timespec until;
	bool idle;

	pthread_once(&changed_once, changed_make);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	mp_queue_lock();
	drainers++;
	while (ctx->pending &&
	       pthread_cond_timedwait(&changed, &queue, &until) != ETIMEDOUT)
		;
	drainers--;
	idle = !ctx->pending;
	mp_queue_unlock();
	return idle;
}

CUresult mp_queue_join(struct CUctx_st *ctx)
{
	struct mp_work w = {.kind = MP_WORK_EMPTY, .ctx = ctx};
	struct CUstream_st *s;
	struct mp_op *op;
	bool ready;
	unsigned i;

	if (mp_soft.exiting)
		return mp_queue_drain(ctx, 0) ? CUDA_SUCCESS : CUDA_ERROR_DEINITIALIZED;
	op = mp_op_new(&w);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->delayed = true; /* nothing to be late for */
	mp_queue_lock();
	for (s = ctx->streams; s; s = s->next)
		mp_op_after(op, s->tail);
	for (i = 0; i < ctx->norphans; i++)
		mp_op_after(op, ctx->orphans[i]);
	ready = mp_op_commit_locked(op);
	mp_queue_unlock();
	if (ready)
		mp_op_run(op);
	mp_op_wait(op);
	mp_op_unref(op);
	return CUDA_SUCCESS;
}
