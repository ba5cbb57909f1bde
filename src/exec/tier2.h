/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second tier as exec runs it: compiled kernels, warps that run them, each
 * on a stack of its own where it must wait.  Private to the room.
 */
#ifndef MP_EXEC_TIER2_H
#define MP_EXEC_TIER2_H

#include "exec/warp.h"
#include "jit/jit.h"

struct tier2; /* of a kernel: its code, or why there is none */

struct tier2_warp {
	struct mp_jit_context ctx;
	struct warp *warp;
	mp_jit_fn fn;
	void *stack;	/* NULL: runs on the thread's own */
	enum run_result result;
	uint32_t left; /* what the function returned */
	bool ended;
	/* Of the block, in its first warp's */
	bool direct;		 /* its warps need no scheduler: compiled code that never waits */
	struct tier2_warp *back; /* which of them came back to the scheduler */
	struct mp_jit_ring ring;
};

/* Code for this launch if there is any by now; may start, or wait for, a compilation. */
struct mp_jit_code *tier2_code(struct mp_exec_kernel *k, const uint32_t block[3], bool launching);
/* Interpreted warp instructions of a kernel, for deciding what is hot. */
void tier2_count(struct mp_exec_kernel *k, uint64_t instructions);
/* No grid of the kernel runs; waits for a compilation in progress. */
void tier2_free(struct tier2 *own_tier2);

/* Prepare the warps of a started block to run `code`. false: no memory, the first tier must do it. */
bool tier2_start(struct cta *c, const struct mp_jit_code *code);
enum run_result tier2_run(struct warp *w);
/* Run all warps of a block that never waits. false: some went to the first tier. */
bool tier2_direct(struct cta *c, struct warp **in_hand);
/* run.c's */
void barrier_check(struct cta *c, uint32_t id);
void warp_restart(struct warp *w);
void tier2_stacks_free(struct cta *c);
static inline size_t tier2_bytes(uint32_t warps)
{
	return mp_align_up((uint64_t)warps * sizeof(struct tier2_warp), 64);
}

#endif
