/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that are not memory.
 *
 * Every access is compared with the window before it is made.  What remains are
 * holes inside the window: touching one raises SIGSEGV or SIGBUS on an exec
 * thread, and the handler here jumps back to where the block was run.  A fault
 * of any other thread, or at an address outside the window, belongs to whoever
 * handled it before us.
 */
#include "exec/tier2.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_BYTES (64 * 1024)

__thread sigjmp_buf *fault_jump;
__thread struct warp *fault_warp;
static __thread void *alt_stack;

static struct sigaction before[2]; /* SIGSEGV, SIGBUS */
static pthread_once_t once = PTHREAD_ONCE_INIT;

void warp_fault(struct warp *w, uint32_t lane, enum mp_exec_outcome o, uint64_t address)
{
	w->fault = o;
	w->fault_lane = lane;
	w->fault_address = address;
	fault_warp = w;
	assert(fault_jump);
	siglongjmp(*fault_jump, 1);
}

static void chain(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *old = &before[sig == SIGBUS];

	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, info, context);
		return;
	}
	if (old->sa_handler == SIG_IGN)
		return;
	if (old->sa_handler != SIG_DFL) {
		old->sa_handler(sig);
		return;
	}
	/* The default: let the instruction fault again without us. */
	sigaction(sig, old, NULL);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	struct warp *w = fault_warp;

	sigjmp_buf *compiling = mp_jit_guard();

	if (compiling)
		siglongjmp(*compiling, 1);
	if (fault_jump && w) {
		const struct mp_exec_space *s = w->cta->grid->space;
		uint64_t a = (uint64_t)(uintptr_t)info->si_addr;

		if (a - s->base < s->size) {
			w->fault = MP_EXEC_ILLEGAL_ADDRESS;
			uint32_t m = w->tier2 ? w->tier2->ctx.mask : w->mask;

			w->fault_lane = m ? (uint32_t)__builtin_ctz(m) : 0;
			w->fault_address = a;
			siglongjmp(*fault_jump, 1);
		}
	}
	chain(sig, info, context);
}

static void install(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_fault;
	/* NODEFER: the handler is left by a jump, which restores no mask. */
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, &before[0]);
	sigaction(SIGBUS, &sa, &before[1]);
}

void fault_install(void)
{
	pthread_once(&once, install);
}

bool fault_thread_init(void)
{
	stack_t ss = {0};

	alt_stack = malloc(STACK_BYTES);
	if (!alt_stack)
		return false;
	ss.ss_sp = alt_stack;
	ss.ss_size = STACK_BYTES;
	return sigaltstack(&ss, NULL) == 0;
}

void fault_thread_fini(void)
{
	stack_t ss = {.ss_flags = SS_DISABLE};

	sigaltstack(&ss, NULL);
	free(alt_stack);
	alt_stack = NULL;
}

/* Slow path: which space a generic address means (5.1, table 11). */
char *warp_translate(struct warp *w, uint32_t lane, uint64_t addr, size_t n, bool write)
{
	struct cta *c = w->cta;
	const struct grid *g = c->grid;
	const struct mp_exec_space *s = g->space;
	uint64_t off = addr & (GENERIC_SPAN - 1);

	if (addr - s->base < s->size && s->size - (addr - s->base) >= n)
		return (char *)(uintptr_t)addr;
	switch (addr & ~(GENERIC_SPAN - 1)) {
	case GENERIC_SHARED:
		if (off >> SHARED_RANK_SHIFT) { /* mapa's: rank + 1 above the offset */
			if (off >> SHARED_RANK_SHIFT > c->cluster->n)
				break;
			c = c->cluster->cta[(off >> SHARED_RANK_SHIFT) - 1];
			off &= (1ull << SHARED_RANK_SHIFT) - 1;
		}
		if (off <= c->shared_bytes && c->shared_bytes - off >= n)
			return c->shared + off;
		break;
	case GENERIC_LOCAL:
		if (off <= c->local_stride && c->local_stride - off >= n)
			return w->local + (size_t)lane * c->local_stride + off;
		break;
	case GENERIC_PARAM:
		if (!write && off <= g->params_bytes && g->params_bytes - off >= n)
			return g->params + off;
		break;
	default:
		if (g->workspace && addr - (uint64_t)(uintptr_t)g->workspace < 64 - n)
			return (char *)(uintptr_t)addr;
		if (s->extra && addr < 1ull << 47 && s->extra(s->arg, addr, n, write))
			return (char *)(uintptr_t)addr;
	}
	warp_fault(w, lane, MP_EXEC_ILLEGAL_ADDRESS, addr);
}
