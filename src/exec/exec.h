/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec: runs grids of PTX kernels on host threads, a warp at a time.
 *
 * It knows PTX and device memory, but no CUDA types: `soft` above it turns
 * CUDA's contexts, streams and graphs into calls of this door.  Device memory
 * is memory of this process; a device address is a host virtual address inside
 * the window of the space that a grid runs in.
 *
 * Threads: every function may be called from any thread unless it says so.
 */
#ifndef MP_EXEC_H
#define MP_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mp_exec;
struct mp_exec_module;
struct mp_exec_kernel;

/* How a load, a look-up or a grid ended. */
enum mp_exec_outcome {
	MP_EXEC_OK = 0,
	MP_EXEC_NO_MEMORY,	 /* host memory */
	MP_EXEC_BAD_PTX,	 /* the text does not parse */
	MP_EXEC_NOT_FOUND,	 /* no such kernel, variable or function */
	MP_EXEC_UNSUPPORTED,	 /* the kernel needs an instruction that is not carried; sentence in the log */
	MP_EXEC_ILLEGAL_ADDRESS, /* CUDA 700 */
	MP_EXEC_MISALIGNED,	 /* CUDA 716 */
	MP_EXEC_ILLEGAL_INSTRUCTION, /* CUDA 715 */
	MP_EXEC_TRAP,		 /* trap;  CUDA 719 */
	MP_EXEC_ASSERT,		 /* __assertfail; CUDA 710 */
	MP_EXEC_HW_STACK,	 /* call depth or local memory exhausted; CUDA 714 */
	MP_EXEC_CANCELLED,	 /* mp_exec_cancel() ended it */
	MP_EXEC_OUTCOMES
};

/* Where a fault happened; all zero when there was none. */
struct mp_exec_fault {
	enum mp_exec_outcome outcome;
	uint32_t block[3], thread[3];
	uint64_t address;  /* of a memory fault */
	uint32_t line;	   /* of the PTX text */
	char kernel[128], text[128]; /* kernel's name; the instruction */
};

/*
 * What a texture or surface object stands for.  Texels of level 0 lie at
 * levels[0].base, rows `pitch` bytes apart, slices, layers and cube faces
 * `slice` bytes apart, in memory that this process can read (and write, for
 * surfaces).  Sizes are in texels; a dimension that is absent is 1.
 */
struct mp_exec_texture {
	struct mp_exec_level {
		uint64_t base, pitch, slice;
		uint32_t width, height, depth; /* depth: slices of a 3-D level */
	} levels[16];
	uint32_t nlevels, layers; /* layers: of an array; 6 per cube */
	/* 1 2 4; 8 16 32, or 10 (10, 10, 10 and 2 bits); 0 unsigned, 1 signed, 2 float */
	uint8_t channels, bits, kind;
	uint8_t block;	    /* 1 to 5: block-compressed BC1 to BC5, kind as read; pitch is of a row of blocks */
	uint8_t address[3]; /* 0 wrap, 1 clamp, 2 mirror, 3 border */
	bool linear, mip_linear, normalized_coords;
	bool read_normalized; /* integers are read as floats in [0,1] or [-1,1] */
	bool srgb;	      /* the first three of them are sRGB */
	bool seamless;	      /* filtering a cube goes on over its edges */
	bool layered, surface;
	float border[4], mip_bias, mip_min, mip_max;
};

/* An allocation, as checked runs ask for it. */
struct mp_exec_block {
	uint64_t addr, size;
	bool full;   /* its contents are not looked at: the host may write it at any time */
	bool joined; /* it may go on in the next one */
};

/*
 * The memory that device code of one context may touch.  Accesses inside
 * [base, base+size) are made directly (holes there raise a signal, which exec
 * turns into ILLEGAL_ADDRESS); anything else asks `extra`, which may be NULL.
 * The space must outlive the grids that run in it.
 */
struct mp_exec_space {
	uint64_t base, size;
	/* true when [addr, addr+n) is host memory that the program made visible to the device. */
	bool (*extra)(void *arg, uint64_t addr, size_t n, bool write);
	/* Device printf: text as it is formatted, called with no lock held, any worker thread. */
	void (*print)(void *arg, const char *text, size_t n);
	void *arg;
	uint64_t heap_base, heap_size; /* for device malloc; inside the window; 0 = malloc returns NULL */
	/* Text for standard error (a failed assert); NULL = through `print`. Called as `print` is. */
	void (*print_error)(void *arg, const char *text, size_t n);
	/*
	 * What an object is, borrowed until the grid ends; NULL when it is none.  An object is a value that
	 * a kernel got, or the address of a .texref or .surfref variable.  Any worker thread; may be NULL.
	 */
	const struct mp_exec_texture *(*texture)(void *arg, uint64_t object);
	/* A thread sets the value that a conditional node of a graph goes by. Any worker thread; may be NULL. */
	void (*condition)(void *arg, uint64_t handle, uint32_t value);
	/* For checked runs: the allocation that addr lies in, or false and the nearest one. May be NULL. */
	bool (*block)(void *arg, uint64_t addr, struct mp_exec_block *ret);
};

/* The heap that began at heap_base is gone: a later space may use the same addresses. No grid of it may run. */
void mp_exec_heap_forget(uint64_t heap_base);

/* ---- Checked runs ---- */

/* What is looked at: addresses against allocations, contents before they are read, races on shared memory. */
enum { MP_EXEC_CHECK_MEMORY = 1, MP_EXEC_CHECK_INIT = 2, MP_EXEC_CHECK_RACE = 4 };

/* Before anything is decoded; the window that contents are kept for. The second tier is off from then on. */
void mp_exec_check(unsigned what, uint64_t base, uint64_t size);
/* Bytes get contents by other means than kernels; new memory has none. Cheap, and nothing when it is off. */
void mp_exec_check_wrote(uint64_t addr, uint64_t n);
void mp_exec_check_fresh(uint64_t addr, uint64_t n); /* also: n = 0, something was freed */
/* Print so many reports at most; how many there were, and how many of them were not printed. */
void mp_exec_check_limit(uint64_t reports);
uint64_t mp_exec_check_errors(uint64_t *ret_hidden);

/* ---- Modules ---- */

/* How a module gets memory for its .global and .const variables. */
struct mp_exec_alloc {
	/* A zeroed device range, or 0 when the device has no memory left. */
	uint64_t (*get)(void *arg, size_t size, size_t align);
	void (*put)(void *arg, uint64_t addr, size_t size);
	void *arg;
	/*
	 * A managed variable, which has memory of its own; NULL: they lie among the others.
	 * *ret_fill: it is new, and its initial value is to be written.
	 */
	uint64_t (*managed)(void *arg, const char *name, size_t size, size_t align, bool *ret_fill);
};

/*
 * Index PTX text (copied; need not be NUL-terminated): finds entries, functions
 * and variables, allocates and initialises the variables, parses no kernel.
 * BAD_PTX fills err (one line: "line 12: ...") when err is not NULL.
 */
enum mp_exec_outcome mp_exec_module_load(const char *ptx, size_t len, const struct mp_exec_alloc *alloc,
					 struct mp_exec_module **ret_module, char *err, size_t err_size);
/* No grid of the module may be running. */
void mp_exec_module_free(struct mp_exec_module *own_module);

/* The i-th .entry in text order, or NULL past the end; borrowed, lives with the module. */
struct mp_exec_kernel *mp_exec_module_kernel(struct mp_exec_module *m, size_t i);
struct mp_exec_kernel *mp_exec_module_find(struct mp_exec_module *m, const char *name);
/* A module-scope .global or .const variable; false when there is none of that name. */
bool mp_exec_module_global(struct mp_exec_module *m, const char *name, uint64_t *addr, size_t *size);
/* The i-th variable in text order; false past the end. */
bool mp_exec_module_variable(struct mp_exec_module *m, size_t i, const char **name, uint64_t *addr,
			     size_t *size, bool *is_const);

/* The address of a module's .texref (or .surfref) variable, which is the object that its name stands for. */
bool mp_exec_module_reference(struct mp_exec_module *m, const char *name, bool surface, uint64_t *addr);

/* What is known without decoding the kernel's body. */
struct mp_exec_kernel_info {
	const char *name;
	uint32_t nparams, param_bytes;	 /* parameters, and the size of their block */
	const uint32_t *param_offset, *param_size;
	uint32_t maxntid[3], reqntid[3]; /* 0 = not stated */
	uint32_t cluster[3];	/* .reqnctapercluster; 0 = not stated */
	uint32_t minnctapersm;
	uint32_t static_shared, local_bytes, const_bytes;
	uint32_t registers;		 /* 32-bit registers a thread, estimated; at most 255 */
	uint32_t ptx_version, target;	 /* e.g. 90 for .version 9.0, 75 for sm_75 */
	bool uses_printf;
};

const struct mp_exec_kernel_info *mp_exec_kernel_info(struct mp_exec_kernel *k);
/* Decode now (otherwise at first launch): OK, BAD_PTX or UNSUPPORTED with a sentence. */
enum mp_exec_outcome mp_exec_kernel_prepare(struct mp_exec_kernel *k, char *err, size_t err_size);

/* ---- Grids ---- */

/* The engine of this process: host threads and the fair scheduler. threads = 0: one per core. */
struct mp_exec *mp_exec_new(unsigned threads);
/*
 * For tests: how many threads run together, 32 or 1.  With 1 each thread is a
 * warp of its own, a slow reference for kernels without warp operations.  No
 * grid may be queued.
 */
void mp_exec_set_lanes(struct mp_exec *e, unsigned lanes);
/*
 * Which tier runs kernels, in all engines of the process: 1 the interpreter, 2
 * compiled code, made at the first launch, which waits for it; 0 compiled code
 * once a kernel has cost enough.  MOTORPOOL_SOFT_TIER says it otherwise.
 */
void mp_exec_set_tier(int tier);
/* For tests of programs that run once: compiled code is not optimised. */
void mp_exec_set_quick(bool quick);
/* The version of the libLLVM that the second tier compiles with, NULL without one. */
const char *mp_exec_compiler(void);
/* All grids must have ended. */
void mp_exec_free(struct mp_exec *own_exec);

struct mp_exec_grid {
	struct mp_exec_kernel *kernel;
	uint32_t grid[3], block[3], cluster[3]; /* cluster all 1 = none */
	uint32_t dynamic_shared;
	const void *params;	/* info.param_bytes bytes; copied by submit */
	const struct mp_exec_space *space;
	bool cooperative;	/* every block must be resident at once */
	int priority;		/* lower runs first when both can; fairness still holds */
	uint32_t device, sm_count, warps_per_sm; /* for %smid, %nsmid and how many blocks are resident */
	uint64_t grid_id;
	/* Called once, from an exec thread with no lock held; may submit. fault is NULL when all went well. */
	void (*done)(void *arg, const struct mp_exec_fault *fault);
	void *arg;
	uint64_t *cancel;	/* optional word; non-zero ends the grid soon with CANCELLED */
};

/*
 * Queue a grid; all queued grids get turns, so kernels may wait for one another.
 * OK, or UNSUPPORTED / BAD_PTX / NO_MEMORY and `done` is not called.
 */
enum mp_exec_outcome mp_exec_submit(struct mp_exec *e, const struct mp_exec_grid *g);

/* Counters since the start, for tests and benchmarks. */
struct mp_exec_stats {
	uint64_t grids, blocks, warp_instructions, thread_instructions, preemptions;
	uint64_t compiled_blocks, left_warps; /* of the second tier; warps that went back to the first */
};
void mp_exec_stats(struct mp_exec *e, struct mp_exec_stats *ret);

#endif
