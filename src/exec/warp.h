/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decoder, handlers and scheduler of exec share.  Private to the room.
 *
 * A register is an array of 32 lanes.  A decoded operand is a "slot": a byte
 * offset into the frame's registers or, with the top bit set, into the
 * program's pool of constants, where each constant is a register that never
 * changes.  Predicates are one 32-bit mask.  Registers of different widths never
 * share bytes, so a handler's destination is either apart from each of its
 * sources or exactly one of them.
 */
#ifndef MP_EXEC_WARP_H
#define MP_EXEC_WARP_H

#include <string.h>
#include <pthread.h>
#include <setjmp.h>

#include "base/arena.h"
#include "base/check.h"
#include "exec/exec.h"
#include "ptx/ptx.h"

#define LANES	   32
#define FULL	   0xffffffffu
#define SLOT_CONST 0x80000000u
#define SLOT_NONE  0x7fffffffu

/*
 * Generic addresses of the spaces that are not plain memory: above any address
 * that a process can have, with 32 low bits free.
 */
#define GENERIC_SHARED 0x00ff000000000000ull
#define GENERIC_LOCAL  0x00fe000000000000ull
#define GENERIC_PARAM  0x00fd000000000000ull
#define GENERIC_FUNC   0x00fc000000000000ull /* + 16 * function index */
#define GENERIC_SPAN   0x0000000100000000ull
/* Shared memory of another block of the cluster: rank in bits 24..31 of the offset. */
#define SHARED_RANK_SHIFT 24

struct warp;
struct op;
typedef void (*op_fn)(struct warp *w, const struct op *o);

enum op_kind {
	K_PLAIN,   /* a handler */
	K_GUARDED, /* a handler under a predicate */
	K_NEXT,	   /* end of block: fall into the next */
	K_BRA,
	K_BRX,
	K_RET,
	K_EXIT,
	K_CALL,
	K_BAR,	    /* first of its block: barrier of the block's threads */
	K_WARPSYNC, /* first of its block: warp operation with a member mask */
	K_WARPBAR,  /* the same, without data: bar.warp.sync */
	K_TRAP,
	K_YIELD, /* nanosleep */
	K_CLUSTER, /* first of its block: wait for the cluster's barrier */
	K_BAR_CHECKED, /* K_BAR in a checked run */
};

struct op {
	op_fn fn;
	uint32_t d, a, b, c, e; /* slots */
	uint32_t d2;		/* slot of a second destination */
	uint64_t imm;
	uint32_t x;		/* the handler's own */
	uint32_t guard;		/* slot of a predicate or SLOT_NONE */
	uint32_t insn;		/* which instruction: for faults */
	uint8_t kind, guard_negated, n, size; /* n: elements; size: bytes of an element in memory */
	const uint32_t *ext;	/* more slots */
	const void *ref;	/* callee, table, ... */
};

/* Space of an access, as handlers see it. */
enum space { SP_GENERIC, SP_SHARED, SP_LOCAL, SP_PARAM };

struct bblock {
	uint32_t first; /* op index */
	uint32_t target, next; /* block numbers, for K_BRA and K_NEXT */
	uint32_t n;	       /* operations, without the one that ends it */
	uint8_t sync;	       /* K_BAR, K_WARPSYNC, K_WARPBAR or 0 */
};

struct code { /* a decoded function */
	struct mp_ptx_func *func;
	struct op *ops;
	struct bblock *blocks;
	uint32_t nops, nblocks;
	uint32_t frame_bytes; /* registers */
	const uint32_t *reg_slots;
	uint32_t local_bytes, local_align;
	const struct mp_ptx_insn *insns;
	struct temp { uint32_t slot; uint8_t size; } *temps; /* with own places */
	uint32_t ntemps;
	bool decoded;
};

struct call_site {
	struct code *callee;	/* NULL: indirect, through slot op->a */
	int external;		/* EXT_* or 0 */
	uint32_t nargs, nrets;
	/* offsets in the caller's and callee's local memory, and sizes */
	struct call_arg { uint32_t from, to, size; uint32_t reg_from, reg_to, reg_size; } *args, *rets;
	struct program *program;
};

enum external {
	EXT_NONE, EXT_VPRINTF, EXT_MALLOC, EXT_FREE, EXT_ASSERT,
	/* device-side launch: child.c */
	EXT_CHILD_BUFFER, EXT_CHILD_LAUNCH, EXT_CHILD_STREAM, EXT_CHILD_DROP, EXT_CHILD_COPY,
	EXT_CHILD_SET, EXT_CHILD_LAST_ERROR, EXT_CHILD_PEEK_ERROR, EXT_CHILD_ERROR_STRING,
	EXT_CHILD_ERROR_NAME, EXT_CHILD_MALLOC, EXT_CHILD_FREE, EXT_CHILD_DEVICE, EXT_CONDITION,
};

/* What a name that the system provides is; EXT_NONE when it is not one of them. */
enum external external_find(const char *name);

/* A kernel and all it can reach. */
struct program {
	struct mp_arena arena;
	struct mp_exec_module *module;
	struct mp_ptx_body *bodies; /* one per code */
	struct code *codes;	    /* [0] is the entry */
	uint32_t ncodes;
	char *pool; /* constants, 64-byte aligned */
	uint32_t pool_bytes;
	uint32_t static_shared, dynamic_at; /* dynamic shared memory begins here */
	uint32_t local_bytes, registers;
	bool calls, uses_printf, recursive;
};

struct frame {
	const struct code *code;
	char *regs;
	uint32_t *pending; /* lanes that wait to enter each block */
	uint64_t *some;	   /* bit per block: pending is not empty */
	uint32_t npending; /* blocks with lanes */
	uint32_t mask;	   /* lanes that are in this call */
	uint32_t returned;
	struct frame *parent;
	const struct op *call;
	uint32_t ret_block, local_at;
	uint32_t live_children;
	uint32_t seq;
	struct frame *all_next;
	size_t bytes;
};

enum run_result { RUN_DONE, RUN_WAIT, RUN_YIELD, RUN_SPIN, RUN_FAULT };

struct cta;

struct warp {
	uint32_t mask; /* lanes of the current operation */
	int32_t lm[LANES] __attribute__((aligned(64))); /* the same, a word per lane; valid unless FULL */
	char *base[2];	       /* registers, constants */
	const struct op *op;   /* the operation in hand */
	struct cta *cta;
	struct frame *frame;   /* in hand */
	struct frame *frames;  /* all, newest first */
	uint32_t live;	       /* lanes that have not exited */
	uint32_t born;	       /* lanes that ever were */
	uint32_t arrived, released; /* at block barriers */
	uint32_t warp_released;	    /* at bar.warp.sync */
	uint32_t index;
	uint32_t block;	       /* block in hand */
	uint32_t spins;	       /* volatile and acquire loads, atomics since the start of the slice */
	uint32_t polls;	       /* looking for what others change, while other lanes of the warp waited */
	uint32_t sweep;	       /* fairness: take blocks from here on */
	int32_t budget;
	bool done, waiting;
	uint32_t cluster_waits; /* lanes that came to the cluster's barrier, which is not complete */
	uint32_t bar_result[LANES];
	uint8_t bar_id[LANES];
	uint32_t bar_one;	    /* number of the barrier that all arrived lanes are at, or BAR_MIXED */
	char *local;	       /* lane l at local + l * cta->local_stride */
	uint32_t cc;	       /* carry bits, a lane each (9.7.2) */
	uint32_t cp_groups;
	uint64_t instructions, thread_instructions;
	uint32_t fault_lane;
	uint64_t fault_address;
	enum mp_exec_outcome fault;
	struct frame *entry_frame;
	struct frame *free_frames;
	struct tier2_warp *tier2; /* runs compiled code; NULL: interpreted */
	uint32_t resume_block, resume_op, resume_mask; /* where that left; mask 0 = nowhere */
	uint32_t tid[3][LANES]; /* last: outlives a reuse by the same grid */
};

#define BAR_MIXED 0xff
struct barrier {
	uint32_t arrived;  /* threads */
	uint32_t expected; /* of a counted barrier, else 0 = all live threads */
	uint32_t nred;	   /* of bar.red, so far */
	bool red;
};

struct grid;

#define CLUSTER_MAX 16

/* Blocks that run on one host thread and see each other's shared memory; a block without a cluster is one. */
struct cluster {
	uint32_t n, arrived, live; /* blocks; threads at the barrier, and all that have not exited */
	uint32_t phases;	   /* that have completed */
	struct cta *cta[CLUSTER_MAX]; /* by rank */
};

struct cta {
	struct grid *grid;
	struct cta *next;
	uint32_t id[3];
	uint64_t linear;
	uint32_t nwarps, nthreads, live_threads;
	struct warp *warps;
	char *shared;
	uint32_t shared_bytes;
	uint32_t local_stride;
	struct barrier bars[16];
	char *memory; /* one allocation: warps, frames, shared, local */
	size_t memory_bytes;
	uint32_t next_warp;
	uint32_t slices;
	struct mp_exec_fault fault;
	struct cluster *cluster, own_cluster; /* the first block's is everyone's */
	uint32_t rank;
	uint32_t launch_error; /* of device-side launches: a cudaError_t */
	uint64_t tid_serial; /* of the grid that the warps' tid were made for */
	uint64_t instructions, thread_instructions;
	struct tier2_warp *tier2; /* one per warp, in memory */
	void *stacks;		  /* of warps that run compiled code */
	size_t stacks_bytes;
	uint32_t compiled, left; /* blocks that ran so; warps that went back to the first tier */
};

/* What a handler may need of the launch. */
struct grid {
	struct mp_exec_grid g; /* as submitted; params points at a copy */
	struct program *program;
	const struct mp_exec_space *space;
	struct mp_exec *exec;
	uint32_t cluster; /* blocks of a cluster, which are started and run as one: `block` below */
	uint64_t nblocks, next_block, done_blocks; /* next_block under the engine's lock or atomically */
	uint32_t threads, warps, total_shared, lanes; /* lanes: threads of a warp, 32 or, in tests, 1 */
	uint32_t resident, max_resident, running;
	struct cta *parked, **parked_last;
	struct grid *next, **link;
	bool failed, spinning;
	uint64_t slices; /* since a block was last started */
	struct mp_exec_fault fault;
	char *params;
	uint32_t params_bytes;
	uint64_t serial;
	char *workspace; /* cooperative launches: what envreg1/2 point at */
	/*
	 * Device-side launch.  A grid ends after its children.  Children of one
	 * stream run one after another: `after` is the next one of this one's
	 * stream.  All under the engine's lock.
	 */
	struct grid *parent, *children, *sibling, *after, *tails;
	uint32_t nchildren;
	uint64_t key; /* which stream of the parent's */
	bool own_done, held;
	struct child_copy { uint64_t to, from; size_t n; uint8_t value; bool set; } copy; /* no kernel: a copy or a fill */
};

/* A child of w's grid, or a copy when in is NULL, into the stream `key` of that grid. */
#define CHILD_KEY_TAIL 3ull /* cudaStreamTailLaunch: after the parent and its other children */
#define CHILD_KEY_FREE 4ull /* cudaStreamFireAndForget: at once */
enum mp_exec_outcome grid_child(struct grid *parent, const struct mp_exec_grid *in,
				const struct child_copy *copy, uint64_t key);

static inline void *slot(const struct warp *w, uint32_t s)
{
	return w->base[s >> 31] + (s & ~SLOT_CONST);
}

static inline uint32_t pred(const struct warp *w, uint32_t s)
{
	return *(const uint32_t *)slot(w, s);
}

static inline void pred_write(struct warp *w, uint32_t s, uint32_t bits)
{
	uint32_t *p = slot(w, s);

	*p = (*p & ~w->mask) | (bits & w->mask);
}

static inline void mask_set(struct warp *w, uint32_t m)
{
	int l;

	if (m == w->mask)
		return;
	w->mask = m;
	if (m != FULL)
		for (l = 0; l < LANES; l++)
			w->lm[l] = -(int32_t)(m >> l & 1);
}

/* ---- Handlers ---- */

struct handler {
	const char *name;
	op_fn fn;
};

/* The table of this machine's instruction set; NULL when there is no such handler. */
op_fn handler_find(const char *name);
/*
 * For tests of a test: of what is decoded for a tier from now on, `from` is
 * taken for `to`, an operation of the same operands.
 */
struct handler_seed {
	const char *from, *to; /* NULL: nothing is */
	bool second;
	unsigned met;
};
extern struct handler_seed handler_seed;
static inline const char *handler_seeded(const char *name, bool second)
{
	if (MP_LIKELY(!handler_seed.from) || handler_seed.second != second || strcmp(name, handler_seed.from))
		return name;
	handler_seed.met++;
	return handler_seed.to;
}
/* The name of a handler in that table. */
const char *handler_name(op_fn fn);

/* ---- Faults and memory ---- */

/* End the warp's run with a fault; does not return. */
void warp_fault(struct warp *w, uint32_t lane, enum mp_exec_outcome o, uint64_t address)
	__attribute__((noreturn));
/* Host memory of a generic address for one lane; faults when there is none. */
char *warp_translate(struct warp *w, uint32_t lane, uint64_t addr, size_t n, bool write);
/* A string in device memory, for printf; NULL when it has no end inside a mapping. */
void fault_install(void);
bool fault_thread_init(void);
void fault_thread_fini(void);
extern __thread sigjmp_buf *fault_jump;
extern __thread struct warp *fault_warp;

/* ---- Decoding ---- */

/* own_places: registers share no places, so that a slot names one register. */
enum mp_exec_outcome program_decode(struct mp_exec_module *m, struct mp_ptx_func *f, bool own_places,
				    struct program **ret_program, struct mp_ptx_error *err);
void program_free(struct program *p);
/* Number blocks in reverse post-order with loops contiguous: order[i] = old number; returns how many. */
uint32_t flow_order(struct mp_arena *a, uint32_t n, const uint32_t *succ_at, const uint32_t *succ,
		    uint32_t *order);

/* ---- Running ---- */

enum run_result warp_run(struct warp *w);
/* Lanes m come to the barrier of their cluster (9.7.13.2). */
void cluster_arrive(struct warp *w, uint32_t m);
size_t cta_bytes(const struct grid *g);
void cta_start(struct cta *c, struct grid *g, uint64_t linear);
void cta_end(struct cta *c);
enum run_result cta_run(struct cta *c, uint64_t ticks);
/* Lanes m arrive at a barrier; true when they need not wait. Then, once released, they pass. */
bool barrier_arrive(struct warp *w, const struct op *o, uint32_t m);
void barrier_pass(struct warp *w, const struct op *o, uint32_t m);
void lanes_exit(struct warp *w, uint32_t m);
void call_external(struct warp *w, const struct op *o, const struct call_site *site);
/* One lane's call of a function of device-side launch; the result is for ret_write. */
uint64_t child_call(struct warp *w, const struct call_site *site, uint32_t lane);
/* Bytes of argument i; ones that are not there are zero. */
void arg_bytes(struct warp *w, const struct call_site *site, uint32_t i, uint32_t lane, void *to, size_t n);

struct mp_exec_kernel {
	struct mp_exec_kernel_info info;
	struct mp_ptx_func *func;
	struct mp_exec_module *module;
	pthread_mutex_t lock;
	struct program *program; /* MP_GUARDED_BY(lock) until set */
	enum mp_exec_outcome outcome; /* of decoding, once tried */
	bool tried;
	struct mp_ptx_error err;
	struct tier2 *tier2; /* its compiled code, or NULL */
};

struct mp_exec_module {
	struct mp_ptx_module ptx;
	struct mp_exec_alloc alloc;
	struct mp_exec_kernel **kernels;
	uint32_t nkernels;
	uint64_t data; /* the variables, one range of device memory */
	uint64_t data_bytes;
};

#endif
