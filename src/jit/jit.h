/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jit: the second tier.  A decoded kernel becomes LLVM IR text, and that
 * machine code, one function that runs one warp: a vector lane per thread,
 * scalars for what is the same in all lanes or grows by a constant from lane to
 * lane, masks where lanes part.
 *
 * libLLVM (15 or later) is loaded when it is needed first; without one,
 * mp_jit_compile() says so and the first tier does everything.  Object code is
 * kept in a directory by content and is used from there without LLVM.
 *
 * exec fills the description of a kernel and the context of a warp and provides
 * the helpers; jit knows no structures of exec.  What an operation means is
 * said by its name, which is the name of its handler in the first tier:
 * operations that jit does not know by name are run by calling that handler.
 *
 * Threads: every function may be called from any thread; compilations exclude
 * one another.
 */
#ifndef MP_JIT_H
#define MP_JIT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- A decoded kernel ---- */

#define MP_JIT_LANES 32
#define MP_JIT_CONST 0x80000000u /* a slot in the pool of constants */
#define MP_JIT_NONE  0x7fffffffu

enum mp_jit_kind {
	MP_JIT_PLAIN,
	MP_JIT_NEXT, /* end of block: fall into the next */
	MP_JIT_BRA,
	MP_JIT_BRX, /* x targets in ext, index in a */
	MP_JIT_EXIT,
	MP_JIT_EXTERNAL, /* a call that the helper carries out; ends its block */
	MP_JIT_BAR,	 /* a barrier of the block; first of its block */
	MP_JIT_WARPSYNC, /* a warp operation, members in e; first of its block */
	MP_JIT_WARPBAR,	 /* the same, without data */
	MP_JIT_TRAP,
	MP_JIT_YIELD,
};

/* Operands are slots: 4 * register number, or MP_JIT_CONST | offset into the pool. */
struct mp_jit_op {
	const char *name; /* NULL for control */
	uint32_t d, a, b, c, e, d2;
	uint64_t imm;
	uint32_t x, guard; /* guard: slot of a predicate or MP_JIT_NONE */
	uint32_t insn;
	uint8_t kind, guard_negated, n, size;
	const uint32_t *ext;
};

struct mp_jit_block {
	uint32_t first, n; /* operations, and after them the one that ends the block */
	uint32_t target, next;
	bool sync;
};

struct mp_jit_reg {
	uint8_t size;  /* bytes; 0 a predicate; 1 lives in 2 */
	bool temp;     /* lives within one instruction */
	uint32_t home; /* its place in the first tier's frame */
};

/* What an instruction reads and writes, by register number. */
struct mp_jit_insn {
	uint32_t reads, nreads, writes, nwrites; /* into mp_jit_kernel.uses */
	bool kills; /* what it writes is written whole */
};

struct mp_jit_kernel {
	const char *name;
	const struct mp_jit_op *ops;
	const struct mp_jit_block *blocks; /* in the order of execution: lowest first */
	const struct mp_jit_reg *regs;
	const struct mp_jit_insn *insns;
	const uint32_t *uses;
	const char *pool; /* 8 bytes or more at each constant's offset: its bits, repeated if shorter */
	uint32_t nops, nblocks, nregs, ninsns, nuses, pool_bytes;
	uint64_t data, data_bytes; /* where the module's variables are: code does not depend on it */
};

/* ---- A warp ---- */

/*
 * Warps of a block that come to the same barrier one after another go on from
 * one to the next without anybody's counting; see exec/tier2.c.
 */
struct mp_jit_ring {
	int32_t id; /* of the barrier, or -1: they do not */
	void **in_hand; /* which warp runs, of the thread that runs the block */
	struct mp_jit_context *head; /* the first to come to the barrier in hand */
};

/* Code knows the offsets; the first five are known to exec's assembly too. */
struct mp_jit_context {
	void *sp; /* of the stack that is not running */
	struct mp_jit_context *next; /* in the ring */
	struct mp_jit_ring *ring;
	void *self; /* for in_hand */
	/* All live lanes are at this barrier; returns when it has opened. */
	void (*barrier)(struct mp_jit_context *c, uint32_t op, uint32_t mask);
	/* The same for barrier `id` of all threads. */
	void (*barrier_ring)(struct mp_jit_context *c, uint32_t op, uint32_t mask, uint32_t id);
	uint64_t window, window_size;
	char *shared;
	uint64_t shared_size;
	const char *params;
	char *home; /* the first tier's registers of this warp */
	const uint32_t *tid[3];
	uint64_t data;
	uint32_t ntid[3], ctaid[3], nctaid[3], warp;
	uint32_t live;
	int32_t budget; /* back edges until the next yield */
	uint32_t spins; /* volatile loads since then */
	uint32_t op, mask; /* of the access in hand: for faults */
	/* Where the first tier must go on, after the function returned 1. */
	uint32_t leave_block, leave_op, leave_mask;
	uint32_t *pending; /* lanes that wait to enter each block: as of leaving */
	/* Run operation `op` for the lanes of mask, operands and results in home. May not return. */
	void (*run)(struct mp_jit_context *c, uint32_t op, uint32_t mask);
	/* The budget is used up. True: the function must leave to the first tier. */
	uint32_t (*yield)(struct mp_jit_context *c, uint32_t sleeps, uint32_t others);
	/* Lanes have ended; `live` goes down. */
	void (*ended)(struct mp_jit_context *c, uint32_t mask);
};

/* 0: all lanes have ended; 1: leave_* and pending say where the first tier goes on. */
typedef uint32_t (*mp_jit_fn)(struct mp_jit_context *c);

/* ---- Compiling ---- */

struct mp_jit_code;

struct mp_jit_options {
	/*
	 * Lanes of a group: within it %tid.x grows by one and %tid.y and z do not
	 * change. 32, 16 or 8; 1 when nothing is known.
	 */
	unsigned group;
	bool plain_isa;	     /* x86-64 without AVX2, for tests */
	/*
	 * For tests: compile fast what will run once, and take the ways that only large
	 * kernels take otherwise.
	 */
	bool quick;
	const char *cache;   /* directory of object code, or NULL */
	bool cache_only;     /* do not compile */
	const char *dump;    /* prefix of files that get the IR before and after passes, or NULL */
	unsigned max_ops;    /* larger kernels are refused; 0 = no limit */
};

/* What the code needs of its caller. */
struct mp_jit_traits {
	bool waits; /* calls barrier or yield: needs a stack of its own */
	bool cached; /* came from the directory */
	double compile_ms;
};

/* A function that needs more stack than this is refused. */
#define MP_JIT_STACK (768u << 10)

/* NULL, and why in a sentence, when the kernel cannot be compiled. */
struct mp_jit_code *mp_jit_compile(const struct mp_jit_kernel *k, const struct mp_jit_options *o,
				   char *why, size_t why_size);
void mp_jit_code_free(struct mp_jit_code *own_code);
mp_jit_fn mp_jit_code_entry(const struct mp_jit_code *c);
const struct mp_jit_traits *mp_jit_code_traits(const struct mp_jit_code *c);
/*
 * For who handles faults: where this thread goes on, by siglongjmp with a value
 * other than 0, when it faults within LLVM; NULL when LLVM is not at work in it.
 * LLVM is not used again after that.
 */
sigjmp_buf *mp_jit_guard(void);
/*
 * For tests of a test: from now on the emitter errs in way n (1 and up), 0 in
 * none; kernels that it would not err in are refused.  The way's name; NULL
 * when there are not that many.  MP_JIT_SEED_BREAKDOWN: the compiler faults.
 */
#define MP_JIT_SEED_BREAKDOWN 1000
const char *mp_jit_seed(unsigned n);
/* The version of the libLLVM that was loaded, or NULL when there is none. Loads it. */
const char *mp_jit_llvm(void);

#endif
