/* SPDX-License-Identifier: Apache-2.0 */
/* For exec's tests: device memory, launches that wait, a log of what printf said. */
#ifndef MP_EXEC_TEST_RUN_H
#define MP_EXEC_TEST_RUN_H

#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/log.h"
#include "base/test.h"
#include "exec/exec.h"

#define HEAD ".version 8.0\n.target sm_75\n.address_size 64\n"
#define WINDOW (64ull << 20)

static struct mp_exec *engine;
static char *window;
static size_t window_used;
static char printed[1 << 16];
static size_t nprinted;
static pthread_mutex_t print_lock = PTHREAD_MUTEX_INITIALIZER;

static void test_print(void *arg, const char *text, size_t n)
{
	pthread_mutex_lock(&print_lock);
	if (nprinted + n < sizeof(printed)) {
		memcpy(printed + nprinted, text, n);
		nprinted += n;
		printed[nprinted] = 0;
	}
	pthread_mutex_unlock(&print_lock);
}

static struct mp_exec_space space = {.print = test_print};

__attribute__((unused)) static uint64_t device_get(void *arg, size_t size, size_t align)
{
	window_used = mp_align_up(window_used, align);
	if (window_used + size > WINDOW)
		return 0;
	window_used += size;
	return space.base + window_used - size;
}

/* Fresh zeroed device memory for each test; the second half of the window is a hole. */
__attribute__((unused)) static void device_reset(void)
{
	if (!window) {
		window = mmap(NULL, WINDOW * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (window == MAP_FAILED || mprotect(window, WINDOW, PROT_READ | PROT_WRITE))
			abort();
		space.base = (uint64_t)(uintptr_t)window;
		space.size = WINDOW * 2;
	}
	madvise(window, WINDOW, MADV_DONTNEED);
	window_used = 0;
	nprinted = 0;
	printed[0] = 0;
	if (!engine) {
		mp_log_open(MP_LOG_NONE);
		engine = mp_exec_new(0);
	}
}

__attribute__((unused)) static void *device_new(size_t n)
{
	return (void *)(uintptr_t)device_get(NULL, n, 256);
}

struct test_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	struct mp_exec_fault fault;
};

static void test_done(void *arg, const struct mp_exec_fault *fault)
{
	struct test_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	if (fault)
		w->fault = *fault;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

__attribute__((unused)) static struct mp_exec_module *module_of(const char *ptx)
{
	static const struct mp_exec_alloc alloc = {.get = device_get};
	struct mp_exec_module *m;
	char err[256];

	if (mp_exec_module_load(ptx, strlen(ptx), &alloc, &m, err, sizeof(err))) {
		printf("# %s\n", err);
		mp_test_failures++;
		return NULL;
	}
	return m;
}

struct launch {
	uint32_t grid[3], block[3], shared;
	bool cooperative;
	uint64_t *cancel;
};

__attribute__((unused)) static enum mp_exec_outcome submit(struct mp_exec_module *m, const char *name,
							    struct launch l, const void *params,
							    struct test_wait *w)
{
	struct mp_exec_kernel *k = m ? mp_exec_module_find(m, name) : NULL;
	struct mp_exec_grid g = {.kernel = k, .cluster = {1, 1, 1}, .params = params, .space = &space,
				 .done = test_done, .arg = w, .dynamic_shared = l.shared,
				 .cooperative = l.cooperative, .cancel = l.cancel};
	char err[400];
	int i;

	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	if (!k)
		return MP_EXEC_NOT_FOUND;
	for (i = 0; i < 3; i++) {
		g.grid[i] = l.grid[i] ? l.grid[i] : 1;
		g.block[i] = l.block[i] ? l.block[i] : 1;
	}
	if (mp_exec_kernel_prepare(k, err, sizeof(err))) {
		printf("# %s\n", err);
		return mp_exec_kernel_prepare(k, NULL, 0);
	}
	return mp_exec_submit(engine, &g);
}

__attribute__((unused)) static enum mp_exec_outcome finish(struct test_wait *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->fault.outcome;
}

/* Launch and wait; params is an array of 8-byte values laid out as the kernel wants them. */
__attribute__((unused)) static enum mp_exec_outcome run(struct mp_exec_module *m, const char *name,
							 struct launch l, const void *params,
							 struct mp_exec_fault *ret_fault)
{
	struct test_wait w;
	enum mp_exec_outcome o = submit(m, name, l, params, &w);

	if (!o)
		o = finish(&w);
	if (ret_fault)
		*ret_fault = w.fault;
	return o;
}

#endif
