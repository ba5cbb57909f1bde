/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernels are compiled, and when: those that have cost more than compiling
 * them will, on a thread of its own, while the first tier goes on:
 * MOTORPOOL_SOFT_TIER=auto.  =1, the default, never compiles, =2 compiles at the first launch and waits for it.
 * MOTORPOOL_SOFT_CACHE names a directory that keeps compiled code.
 */
#include "exec/tier2.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define HOT_INSTRUCTIONS 1000000
#define HOT_PER_OP	 40000 /* 0.3 ms of compiling, at 7 ns an instruction */
#define MAX_OPS		 2000 /* about a second of compiling, which the end of the process must wait for */
#define VARIANTS	 4

const char *tier2_describe(const struct program *own, const struct program *first, struct mp_arena *arena,
			   struct mp_jit_kernel *k, uint32_t **ret_uses);

enum state { NEW, QUEUED, READY, FAILED };

struct variant {
	enum state state; /* MP_GUARDED_BY(lock), but READY may be read by anybody */
	struct mp_jit_code *code;
	struct tier2 *of;
	struct variant *next;
	unsigned group;
};

struct tier2 {
	struct mp_exec_kernel *kernel;
	uint64_t instructions;
	struct variant variants[VARIANTS];
};

static struct {
	pthread_once_t once;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct variant *queue, **last, *running; /* MP_GUARDED_BY(lock) */
	pthread_t thread;
	bool has_thread, ending, exit_known;
	pid_t owner; /* a child of fork has no thread and no use for one */
	int tier; /* 0 by itself, 1, 2 */
	uint64_t hot;
	unsigned max_ops;
	char cache[256], dump[200];
	bool plain, quick, hot_set, no_llvm;
} all = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER,
	 .done = PTHREAD_COND_INITIALIZER, .last = &all.queue, .hot = HOT_INSTRUCTIONS, .max_ops = MAX_OPS};

static void settings_read(void)
{
	const char *tier = getenv("MOTORPOOL_SOFT_TIER"), *hot = getenv("MOTORPOOL_SOFT_TIER_HOT");
	const char *dump = getenv("MOTORPOOL_SOFT_TIER_DUMP"), *isa = getenv("MOTORPOOL_SOFT_ISA");
	const char *cache = getenv("MOTORPOOL_SOFT_CACHE"), *ops = getenv("MOTORPOOL_SOFT_TIER_MAX");

	all.tier = !tier || !strcmp(tier, "1") ? 1 : !strcmp(tier, "2") ? 2 : 0;
	if (hot && *hot >= '0' && *hot <= '9')
		all.hot = strtoull(hot, NULL, 10), all.hot_set = true;
	if (ops && atoi(ops) > 0)
		all.max_ops = (unsigned)atoi(ops);
	if (dump && *dump && strlen(dump) < sizeof(all.dump))
		snprintf(all.dump, sizeof(all.dump), "%s", dump);
	if (cache && strlen(cache) < sizeof(all.cache))
		snprintf(all.cache, sizeof(all.cache), "%s", cache);
	all.plain = isa && !strcmp(isa, "v1");
}

void mp_exec_set_tier(int tier)
{
	pthread_once(&all.once, settings_read);
	assert(tier >= 0 && tier <= 2);
	__atomic_store_n(&all.tier, tier, __ATOMIC_RELAXED);
}

void mp_exec_set_quick(bool quick)
{
	all.quick = quick;
}

const char *mp_exec_compiler(void)
{
	return mp_jit_llvm();
}

/* Lanes within which %tid.x grows by one and the rest stays (see mp_jit_options.group). */
static unsigned group_of(const uint32_t block[3])
{
	if (block[1] == 1 && block[2] == 1)
		return 32;
	return block[0] % 32 == 0 ? 32 : block[0] % 16 == 0 ? 16 : block[0] % 8 == 0 ? 8 : 1;
}

static struct mp_jit_code *compile(struct mp_exec_kernel *k, unsigned group, char *why, size_t why_size)
{
	struct mp_jit_options o = {.group = group, .plain_isa = all.plain, .quick = all.quick,
				   .max_ops = all.tier == 2 ? 0 : all.max_ops,
				   .cache = all.cache[0] ? all.cache : NULL, .dump = all.dump[0] ? all.dump : NULL};
	struct mp_ptx_error err;
	struct program *own = NULL;
	struct mp_jit_kernel d;
	struct mp_jit_code *code = NULL;
	struct mp_arena arena;
	const char *no;
	uint32_t *uses = NULL;

	if (program_decode(k->module, k->func, true, &own, &err)) {
		snprintf(why, why_size, "%s", err.text);
		return NULL;
	}
	mp_arena_init(&arena, 1ull << 30);
	no = tier2_describe(own, k->program, &arena, &d, &uses);
	if (no)
		snprintf(why, why_size, "%s", no);
	else
		code = mp_jit_compile(&d, &o, why, why_size);
	free(uses);
	mp_arena_fini(&arena);
	program_free(own);
	return code;
}

/* Called and returns with the lock held; without it meanwhile. */
static void variant_make(struct variant *v)
{
	struct mp_exec_kernel *k = v->of->kernel;
	struct mp_jit_code *code;
	char why[400] = "";

	pthread_mutex_unlock(&all.lock);
	code = compile(k, v->group, why, sizeof(why));
	if (!code)
		mp_log(all.tier == 2 ? MP_LOG_WARN : MP_LOG_INFO, "exec", "tier", "kernel=%s stays in the first tier: %s",
		       k->info.name, why);
	if (!code && !mp_jit_llvm())
		__atomic_store_n(&all.no_llvm, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&all.lock);
	v->code = code;
	__atomic_store_n(&v->state, code ? READY : FAILED, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&all.done);
}

/* LLVM's own data goes away when the process ends: nothing may compile then. */
static void at_exit(void)
{
	if (all.owner != getpid())
		return;
	pthread_mutex_lock(&all.lock);
	all.ending = true;
	while (all.running)
		pthread_cond_wait(&all.done, &all.lock);
	pthread_mutex_unlock(&all.lock);
}

static void *compiler(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "mp-jit");
	fault_thread_init(); /* a compiler that breaks down ends neither the process nor this thread */
	pthread_mutex_lock(&all.lock);
	for (;;) {
		struct variant *v = all.ending ? NULL : all.queue;

		if (!v) {
			pthread_cond_wait(&all.work, &all.lock);
			continue;
		}
		all.queue = v->next;
		if (!all.queue)
			all.last = &all.queue;
		all.running = v;
		variant_make(v);
		if (!all.exit_known) { /* after LLVM is loaded, so that it runs before LLVM's */
			all.exit_known = true;
			atexit(at_exit);
		}
		all.running = NULL;
		pthread_cond_broadcast(&all.done);
	}
	return NULL;
}

static struct tier2 *of_kernel(struct mp_exec_kernel *k)
{
	struct tier2 *t = __atomic_load_n(&k->tier2, __ATOMIC_ACQUIRE);
	unsigned i;

	if (t)
		return t;
	pthread_mutex_lock(&all.lock);
	t = k->tier2;
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (t) {
			static const unsigned groups[VARIANTS] = {32, 16, 8, 1};

			t->kernel = k;
			for (i = 0; i < VARIANTS; i++) {
				t->variants[i].of = t;
				t->variants[i].group = groups[i];
			}
			__atomic_store_n(&k->tier2, t, __ATOMIC_RELEASE);
		}
	}
	pthread_mutex_unlock(&all.lock);
	return t;
}

void tier2_count(struct mp_exec_kernel *k, uint64_t instructions)
{
	struct tier2 *t = __atomic_load_n(&k->tier2, __ATOMIC_ACQUIRE);

	if (t)
		__atomic_fetch_add(&t->instructions, instructions, __ATOMIC_RELAXED);
}

/* With the lock held. */
static void enqueue(struct variant *v)
{
	if (!all.has_thread) {
		sigset_t none, old;
		/* the thread lives as long as the process: nothing of a program's waits for it */
		sigfillset(&none);
		sigdelset(&none, SIGSEGV); /* a blocked fault ends the process */
		sigdelset(&none, SIGBUS);
		pthread_sigmask(SIG_SETMASK, &none, &old);
		if (pthread_create(&all.thread, NULL, compiler, NULL))
			__atomic_store_n(&v->state, FAILED, __ATOMIC_RELAXED);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (v->state == FAILED)
			return;
		all.owner = getpid();
		pthread_detach(all.thread);
		all.has_thread = true;
	}
	__atomic_store_n(&v->state, QUEUED, __ATOMIC_RELAXED); /* asked for without the lock */
	v->next = NULL;
	*all.last = v;
	all.last = &v->next;
	pthread_cond_signal(&all.work);
}

/* Interpreted warp instructions that cost as much as compiling the kernel. */
static uint64_t hot(const struct mp_exec_kernel *k)
{
	uint64_t own = k->program->codes[0].nops * (uint64_t)HOT_PER_OP;

	return all.hot_set || own < all.hot ? all.hot : own;
}

/* No kernel can become code: it has been tried. */
static bool absent(void)
{
	return !all.cache[0] && __atomic_load_n(&all.no_llvm, __ATOMIC_RELAXED);
}

struct mp_jit_code *tier2_code(struct mp_exec_kernel *k, const uint32_t block[3], bool launching)
{
	unsigned group = group_of(block), i = group == 32 ? 0 : group == 16 ? 1 : group == 8 ? 2 : 3;
	struct variant *v;
	struct tier2 *t;
	enum state s;
	int tier;

	pthread_once(&all.once, settings_read);
	tier = __atomic_load_n(&all.tier, __ATOMIC_RELAXED);
	if (tier == 1)
		return NULL;
	t = of_kernel(k);
	if (!t)
		return NULL;
	v = &t->variants[i];
	s = __atomic_load_n(&v->state, __ATOMIC_ACQUIRE);
	if (s == READY)
		return v->code;
	if (s == FAILED || (s == QUEUED && tier != 2))
		return NULL;
	if (tier != 2 && (__atomic_load_n(&t->instructions, __ATOMIC_RELAXED) < hot(k) || absent()))
		return NULL;
	if (tier == 2 && !launching)
		return NULL;
	pthread_mutex_lock(&all.lock);
	if (v->state == NEW)
		enqueue(v);
	while (tier == 2 && v->state == QUEUED)
		pthread_cond_wait(&all.done, &all.lock);
	pthread_mutex_unlock(&all.lock);
	return __atomic_load_n(&v->state, __ATOMIC_ACQUIRE) == READY ? v->code : NULL;
}

void tier2_free(struct tier2 *t)
{
	struct variant **p;
	unsigned i;

	if (!t)
		return;
	pthread_mutex_lock(&all.lock);
	for (p = &all.queue; *p;)
		if ((*p)->of == t)
			*p = (*p)->next;
		else
			p = &(*p)->next;
	all.last = p;
	while (all.running && all.running->of == t)
		pthread_cond_wait(&all.done, &all.lock);
	pthread_mutex_unlock(&all.lock);
	for (i = 0; i < VARIANTS; i++)
		mp_jit_code_free(t->variants[i].code);
	free(t);
}
