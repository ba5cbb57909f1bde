/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share: the objects behind CUDA's handles, and
 * the functions between the nouns.  Nobody outside the room includes this.
 *
 * The room in one picture.  Every asynchronous thing (a grid, a copy, a host
 * function, an event record) is a `struct mp_work`.  A stream call makes an
 * mp_work and hands it to mp_stream_submit(), which either queues it as a
 * `struct mp_op` of the graph of dependent operations (queue.c), or, while the
 * stream captures, adds it to a CUDA graph as a node.  Launching a CUDA graph
 * turns its nodes' work into ops again.  An op starts when all ops it depends
 * on are done; nothing polls.
 *
 * Locks, in the order they are taken (docs/LOCKS.md):
 *	state	 contexts, devices, modules, libraries
 *	graph	 CUDA graphs, captures
 *	memory	 ranges, arenas, handles of memory, pools
 *	queue	 ops, tails of streams, events
 *	leaves	 handle slabs, print buffers
 */
#ifndef MP_SOFT_INSIDE_H
#define MP_SOFT_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cuda.h"
#include "account.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "config.h"
#include "cuabi/cuabi.h"
#include "exec/exec.h"
#include "soft.h"

#define MP_SOFT_DRIVER_VERSION 13000
#define MP_GRANULE ((uint64_t)2 << 20)

/* ---- Handles (handle.c) ---- */

/* Every object that a program holds a handle of begins with this. */
struct mp_object {
	uint32_t magic;
	uint32_t slot;
};

enum mp_handle_kind {
	MP_CONTEXT, MP_STREAM, MP_EVENT, MP_MODULE, MP_FUNCTION, MP_LIBRARY, MP_KERNEL, MP_GRAPH,
	MP_NODE, MP_GRAPH_EXEC, MP_POOL, MP_ARRAY, MP_MIPMAP, MP_TEXREF, MP_SURFREF,
	MP_USER_OBJECT, MP_LINK, MP_PHYSICAL, MP_HANDLE_KINDS
};

/* A zeroed object with its header set, or NULL. Memory of dead handles stays readable. */
void *mp_handle_new(enum mp_handle_kind kind, size_t size);
void mp_handle_free(enum mp_handle_kind kind, void *own_object);
/* Any bit pattern may be asked about. */
bool mp_handle_live(enum mp_handle_kind kind, const void *p);

/* ---- Devices (device.c) ---- */

struct mp_device {
	int ordinal;	/* as the program sees it */
	unsigned index; /* of the host's soft devices */
	CUuuid uuid;
	int attributes[CU_DEVICE_ATTRIBUTE_MAX];
	struct CUctx_st *primary; /* made by device init, never freed */
	struct mp_soft_account *account;
	struct CUmemPoolHandle_st *default_pool, *pool;
	struct mp_arena_dev *arena; /* memory.c */
	uint64_t graph_used, graph_high;
};

struct mp_soft {
	struct mp_soft_config config;
	unsigned ndevices;
	struct mp_device devices[MP_SOFT_MAX_DEVICES];
	_Atomic int ready; /* 0 no, 1 cuInit succeeded, -1 forked child */
	_Atomic bool exiting; /* exit() has begun: work has been waited for or cancelled */
	struct mp_exec *exec;
	pthread_mutex_t state;
};
extern struct mp_soft mp_soft;

struct mp_device *mp_device_find(CUdevice dev);
CUresult mp_device_init(void);
/* The engine, started at first use; NULL when it cannot be had. */
struct mp_exec *mp_soft_exec(void);

/* ---- Contexts (context.c) ---- */

struct mp_print {
	pthread_mutex_t lock;
	char *text;
	size_t len, cap;
};

struct CUctx_st {
	struct mp_object object;
	struct mp_device *device;
	bool primary;
	_Atomic bool active; /* not destroyed; a primary one is active while retained */
	unsigned flags, refs, api_version;
	uint64_t id;
	_Atomic int error;    /* the sticky CUresult; 0 = none */
	uint64_t cancel;      /* non-zero ends running grids; see mp_exec_grid.cancel */
	size_t limits[CU_LIMIT_MAX];
	uint32_t peers;	      /* bit per device ordinal */
	int cache_config, shared_config;
	struct CUstream_st *legacy;
	struct CUstream_st *streams;  MP_GUARDED_BY(queue)
	struct mp_op **orphans;	      MP_GUARDED_BY(queue) /* tails of destroyed streams */
	unsigned norphans, orphan_cap;
	_Atomic size_t pending;	      /* ops not done; changed with the queue lock held */
	_Atomic unsigned captures;    /* captures in blocking streams of this context */
	struct CUmod_st *modules;     MP_GUARDED_BY(state)
	struct mp_exec_space space;
	struct mp_print print;
	uint64_t charged;
	struct CUctx_st *next_open;   MP_GUARDED_BY(state) /* of all that are active */
};

extern __thread unsigned mp_default_stream; /* of the generated file: non-zero = per thread */
extern __thread bool mp_in_callback;

/* The current context, checked as every call that needs one does. */
CUresult mp_context_enter(struct CUctx_st **ret);
/* The same, but a sticky error does not stop it. */
CUresult mp_context_current(struct CUctx_st **ret);
struct CUctx_st *mp_context_top(void);
CUresult mp_soft_ready(void);
/* Makes the sticky error of the context, unless there is one; cancels what runs. */
void mp_context_fail(struct CUctx_st *ctx, CUresult error);
bool mp_context_live(CUcontext ctx);
void mp_context_thread_exit(void);
/* exit() has begun. */
void mp_context_exit(void);

#define MP_ENTER(var)                                                                              \
	struct CUctx_st *var;                                                                      \
	do {                                                                                       \
		CUresult mp_r = mp_context_enter(&var);                                            \
		if (MP_UNLIKELY(mp_r))                                                             \
			return mp_r;                                                               \
	} while (0)

/* ---- Work and ops (work.c, queue.c) ---- */

enum mp_work_kind {
	MP_WORK_EMPTY, MP_WORK_KERNEL, MP_WORK_COPY, MP_WORK_FILL, MP_WORK_HOST, MP_WORK_CALLBACK,
	MP_WORK_RECORD, MP_WORK_WAIT, MP_WORK_MEMOPS, MP_WORK_ALLOC, MP_WORK_FREE, MP_WORK_CHILD,
	MP_WORK_CONDITION, MP_WORK_DEFAULTS, MP_WORK_KINDS
};

struct mp_work_kernel {
	struct CUfunc_st *function;
	struct CUkern_st *kernel; /* what the program named, if it was a CUkernel */
	uint32_t grid[3], block[3], cluster[3], shared;
	bool cooperative;
	int priority;
	CUlaunchAttribute *own_attrs;
	uint32_t nattrs;
	uint8_t *own_params; /* param_bytes of the function */
	uint32_t param_bytes;
};

struct mp_work_fill {
	uint64_t dst;
	size_t pitch, width, height; /* width in elements */
	uint32_t value, element;
};

struct mp_work {
	enum mp_work_kind kind;
	struct CUctx_st *ctx;
	union {
		struct mp_work_kernel kernel;
		struct {
			CUDA_MEMCPY3D desc;
			void *own_stage; /* snapshot of pageable source bytes */
		} copy;
		struct mp_work_fill fill;
		struct {
			CUhostFn fn;
			CUstreamCallback callback;
			void *data;
			CUstream stream;
		} host;
		struct CUevent_st *event;
		struct {
			CUstreamBatchMemOpParams *own_ops;
			unsigned count, next;
		} memops;
		struct {
			struct mp_graph_block *block; /* counted */
			uint64_t addr;
			CUDA_MEM_ALLOC_NODE_PARAMS params;
		} alloc;
		struct {
			uint64_t addr;
			struct mp_graph_block *block;
			bool pooled; /* cuMemFreeAsync: frees a range of a pool */
		} free;
		struct CUgraph_st *child; /* owned clone */
		struct {
			struct mp_condition *condition; /* counted */
			CUgraphConditionalNodeType type;
			unsigned size;
			struct CUgraph_st **own_bodies;
			bool ran;
		} cond;
		struct {
			struct mp_condition **own_list; /* each counted: get their defaults */
			unsigned n;
		} defaults;
	};
};

/* Deep copy; 0 or OUT_OF_MEMORY. */
CUresult mp_work_copy(struct mp_work *dst, const struct mp_work *src);
void mp_work_fini(struct mp_work *w);

enum mp_op_state { MP_OP_WAITING, MP_OP_STARTED, MP_OP_DONE };

struct mp_op {
	_Atomic unsigned refs;
	_Atomic uint8_t state; /* DONE is set with the queue lock held */
	bool waited, counted, delayed;
	bool here; /* may run in the calling thread when it is ready at once */
	unsigned pending;	 /* ops it waits for, and 1 while it is being made */
	struct mp_op **waiters;	 /* ops that wait for it, counted */
	unsigned nwaiters, cap_waiters;
	struct mp_op *few[2];
	struct mp_op *next;	 /* in the list of a thread */
	uint64_t due;		 /* jitter */
	uint64_t finished;	 /* ns */
	CUresult result;
	void (*after)(void *arg); /* called once it is done, no lock held */
	void *after_arg;
	struct mp_work work;
};

void mp_queue_lock(void);
void mp_queue_unlock(void);
/* Takes the work; NULL (work finished) without memory. One reference is the caller's. */
struct mp_op *mp_op_new(struct mp_work *own_work);
struct mp_op *mp_op_ref(struct mp_op *op);
void mp_op_unref(struct mp_op *op);
/* op starts after dep; dep may be NULL or done. Queue lock held. */
CUresult mp_op_after(struct mp_op *op, struct mp_op *dep);
/* No more dependencies will come: it may start, in this call. No lock held. */
void mp_op_commit(struct mp_op *op);
/* The same in two steps: with the queue lock held; then, if true, without it. */
bool mp_op_commit_locked(struct mp_op *op);
void mp_op_run(struct mp_op *op);
/* Blocks; flushes nothing. */
void mp_op_wait(struct mp_op *op);
bool mp_op_done(struct mp_op *op);
/* It has been started, and is over; what waited for it may start in this call. */
void mp_op_finish(struct mp_op *op, CUresult result);
/* Wait until nothing of the context is queued, at most `ms`; false when time ran out. */
bool mp_queue_drain(struct CUctx_st *ctx, unsigned ms);
/* Wait until everything queued so far in the context is done. */
CUresult mp_queue_join(struct CUctx_st *ctx);
/* Any op of any context that is not done? */
size_t mp_queue_pending(struct CUctx_st *ctx);

/* Run the work now in this thread, where its kind allows (copy.c, fill). */
void mp_copy_run(const struct mp_work *w);
void mp_fill_run(const struct mp_work_fill *f);
/* Start a grid; OK, or the error that becomes sticky (launch.c). */
CUresult mp_launch_start(struct mp_op *op, void (*done)(void *arg, const struct mp_exec_fault *f));
CUresult mp_exec_result(enum mp_exec_outcome outcome);
/* true when all memory operations have been done; false: a wait is not satisfied yet. */
bool mp_memops_run(struct mp_work *w);

/* ---- Streams (stream.c) ---- */

struct CUstream_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	unsigned flags;
	int priority;
	uint64_t id;
	bool legacy, per_thread;
	struct mp_op *tail;		   MP_GUARDED_BY(queue)
	struct CUstream_st *next, **back;  MP_GUARDED_BY(queue)
	struct mp_capture *capture;	   MP_GUARDED_BY(graph)
	struct CUgraphNode_st **capture_deps; /* nodes the next work depends on */
	size_t ncapture_deps;
	CUlaunchAttributeValue attrs[CU_LAUNCH_ATTRIBUTE_MAX];
};

struct CUstream_st *mp_stream_new(struct CUctx_st *ctx, unsigned flags, int priority);
void mp_stream_free(struct CUstream_st *own_stream);
/* A handle of the program, special ones included, to the stream. */
CUresult mp_stream_find(struct CUctx_st *ctx, CUstream h, struct CUstream_st **ret);
/*
 * Queue the work in the stream, or add it to the stream's capture.  ret_op may
 * be NULL; it gets NULL when the work was captured.  Takes the work.
 */
CUresult mp_stream_submit(struct CUstream_st *s, struct mp_work *own_work, struct mp_op **ret_op);
CUresult mp_stream_wait(struct CUstream_st *s);
/* Make op follow everything before it in the stream, and be the stream's tail. Queue lock held. */
CUresult mp_stream_chain(struct CUstream_st *s, struct mp_op *op);

/* ---- Events (event.c) ---- */

struct CUevent_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	unsigned flags;
	struct mp_op *op; MP_GUARDED_BY(queue) /* the last record */
	uint64_t capture_id; MP_GUARDED_BY(graph) /* non-zero: recorded in that capture */
	struct CUgraphNode_st **nodes;
	size_t nnodes;
};

/* ---- Captures (capture.c) ---- */

struct mp_capture;
extern _Atomic unsigned mp_captures_active; /* in the process */
/* For calls that are unsafe during a capture: 0, or 900 after invalidating. */
CUresult mp_capture_unsafe(void);
/* 0: not capturing, go on; 1: captured; negative: -CUresult. Takes the work when not 0. */
int mp_capture_work(struct CUstream_st *s, struct mp_work *own_work);
CUresult mp_capture_record(struct CUstream_st *s, struct CUevent_st *e, bool *ret_captured);
CUresult mp_capture_wait(struct CUstream_st *s, struct CUevent_st *e, bool *ret_captured);
CUresult mp_capture_forbid(struct CUstream_st *s); /* synchronise, query: 900 when capturing */
CUresult mp_capture_event_forbid(struct CUevent_st *e);
/* The legacy stream was used beside a capture: 906, and the captures are invalid. */
CUresult mp_capture_implicit(struct CUctx_st *ctx);
void mp_capture_stream_gone(struct CUstream_st *s);
bool mp_stream_capturing(struct CUstream_st *s);

/* ---- Memory (memory.c, window.c, host.c, vmm.c, mempool.c) ---- */

enum mp_range_kind {
	MP_RANGE_DEVICE, MP_RANGE_POOL, MP_RANGE_GRAPH, MP_RANGE_VMM, MP_RANGE_HOST,
	MP_RANGE_REGISTERED, MP_RANGE_MANAGED, MP_RANGE_ARRAY, MP_RANGE_MODULE
};

/* One allocation, as pointers are looked up. */
struct mp_range {
	uint64_t addr, size; /* as the program asked */
	uint64_t span;	     /* bytes of the arena it occupies */
	enum mp_range_kind kind;
	struct CUctx_st *ctx;
	struct mp_device *device;
	struct CUmemPoolHandle_st *pool;
	struct mp_physical *physical; /* VMM */
	uint64_t offset;	      /* of physical */
	unsigned flags, access;	      /* access: CUmemAccess_flags of the device */
	bool sync_memops, hidden;     /* hidden: heaps, and memory whose free is queued */
	struct mp_advice advice;      /* managed memory */
	uint64_t id;
};

/* Extents of numbered granules: first fit, merged when given back. */
struct mp_extents {
	struct mp_extent { uint64_t first, count; } *free;
	size_t n, cap;
};
bool mp_extents_init(struct mp_extents *x, uint64_t first, uint64_t count);
/* align in granules, a power of two. */
bool mp_extents_take(struct mp_extents *x, uint64_t count, uint64_t align, uint64_t *ret_first);
bool mp_extents_take_at(struct mp_extents *x, uint64_t first, uint64_t count);
void mp_extents_put(struct mp_extents *x, uint64_t first, uint64_t count);

bool mp_window_init(void);
/* Parts of the window. */
uint64_t mp_window_reserve_base(void), mp_window_reserve_size(void);
uint64_t mp_window_device_base(unsigned index);
#define MP_WINDOW_DEVICE_SIZE ((uint64_t)MP_SOFT_WINDOW_SIZE / 4 / MP_SOFT_MAX_DEVICES)
uint64_t mp_window_host_base(void), mp_window_host_size(void);
/* Byte of "old contents" in dirty mode: as a double, float, int or pointer clearly wrong. */
#define MP_SOFT_DIRT 0xdb
bool mp_window_back(uint64_t addr, uint64_t size);   /* read-write, zeroed (or dirty) */
void mp_window_unback(uint64_t addr, uint64_t size); /* back to PROT_NONE */
static inline bool mp_window_has(uint64_t addr)
{
	return addr - MP_SOFT_WINDOW_BASE < MP_SOFT_WINDOW_SIZE;
}

void mp_memory_lock(void);
void mp_memory_unlock(void);
CUresult mp_memory_init(struct mp_device *d);
/* Device memory; charged: to the device's account. The new range is in *ret. Memory lock not held. */
CUresult mp_memory_alloc(struct CUctx_st *ctx, struct mp_device *d, uint64_t size, uint64_t align,
			 enum mp_range_kind kind, bool charged, uint64_t *ret_addr);
/* Any range that mp_memory_alloc made; false when there is none at addr (of that kind; -1 any). */
bool mp_memory_release(uint64_t addr, int kind);
/* Everything that belongs to a context that goes. */
void mp_memory_context_gone(struct CUctx_st *ctx);
/* Ranges; memory lock held by the caller, the result is valid until it is released. */
struct mp_range *mp_range_find(uint64_t addr);
struct mp_range *mp_range_at(size_t i);
size_t mp_range_index(uint64_t addr);
bool mp_range_add(const struct mp_range *r);
void mp_range_remove(uint64_t addr);
uint64_t mp_range_id(void);
/* What [addr, addr+n) is: copies the first range; false when it is not wholly known memory. */
bool mp_memory_span(uint64_t addr, uint64_t n, struct mp_range *ret);
bool mp_memory_is_device(const struct mp_range *r);
/* exec's question in checked runs: the allocation at an address, or the nearest. */
bool mp_memory_block(void *arg, uint64_t addr, struct mp_exec_block *ret);
/* What MOTORPOOL_SOFT_CHECK says, once; check.c. */
void mp_check_init(void);
/* exec's question about addresses outside the window. */
bool mp_memory_extra(void *arg, uint64_t addr, size_t n, bool write);
void mp_pool_free_now(uint64_t addr);
struct CUmemPoolHandle_st *mp_pool_new(struct mp_device *d);
void mp_pool_settle(struct CUctx_st *ctx); /* at a synchronisation: gives back above the threshold */

/* ---- Copies (copy.c) ---- */

CUresult mp_copy_check(const CUDA_MEMCPY3D *d);
enum mp_copy_sync { MP_COPY_SYNC, MP_COPY_ASYNC };
CUresult mp_fill_check(const struct mp_work_fill *f, struct mp_range *ret);

/* ---- Arrays (array.c, mipmap.c) ---- */

struct CUarray_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	struct mp_texel texel;
	uint64_t addr;
	size_t pitch, height, depth; /* bytes a row, rows a slice, slices: also layers and faces */
	struct CUmipmappedArray_st *mipmap; /* that it is a level of, or NULL */
	struct CUarray_st *next, **back;    MP_GUARDED_BY(arrays)
};

struct CUmipmappedArray_st {
	struct mp_object object;
	struct CUctx_st *ctx;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	unsigned nlevels;
	struct CUarray_st *level[MP_LEVELS_MAX];
	uint64_t addr;
	struct CUmipmappedArray_st *next, **back; MP_GUARDED_BY(arrays)
};
void mp_array_lock(void);
void mp_array_unlock(void);
/* Without memory. */
struct CUarray_st *mp_array_new(struct CUctx_st *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d);
void mp_array_drop(struct CUarray_st *own_array);
void mp_array_context_gone(struct CUctx_st *ctx);
void mp_mipmap_context_gone(struct CUctx_st *ctx);

/* ---- Textures and surfaces (texture.c, texref.c) ---- */

/* What device code gets of a resource; ret is wholly set. */
CUresult mp_texture_resolve(struct CUctx_st *ctx, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *tex,
			    const CUDA_RESOURCE_VIEW_DESC *view, struct mp_exec_texture *ret);
CUresult mp_surface_resolve(const CUDA_RESOURCE_DESC *res, struct mp_exec_texture *ret);
/* exec's question. */
const struct mp_exec_texture *mp_texture_find(void *ctx, uint64_t object);
const struct mp_exec_texture *mp_texref_find(struct CUctx_st *ctx, uint64_t address);
void mp_texture_context_gone(struct CUctx_st *ctx);
void mp_texref_module_gone(struct CUmod_st *m);

/* ---- Modules (module.c, library.c, function.c) ---- */

/* Managed variables, which have memory of their own: of a library, or of a module of none. */
struct mp_managed {
	struct mp_managed_at { const char *name; uint64_t addr; size_t size; } *at;
	size_t n;
	struct mp_device *device;
	struct CUctx_st *ctx; /* of a module; NULL: a library's */
};
uint64_t mp_managed_place(struct mp_managed *v, const char *name, size_t size, bool *ret_fresh);
void mp_managed_fini(struct mp_managed *v);

struct CUmod_st {
	struct mp_object object;
	struct mp_managed managed;
	struct CUctx_st *ctx;
	struct mp_exec_module *exec;
	struct CUlib_st *library; /* or NULL */
	struct CUfunc_st **functions;
	size_t nfunctions;
	struct CUmod_st *next, **back;
};

struct CUfunc_st {
	struct mp_object object;
	struct CUmod_st *module;
	struct mp_exec_kernel *kernel;
	const struct mp_exec_kernel_info *info;
	int attributes[CU_FUNC_ATTRIBUTE_MAX];
	struct CUkern_st *parent; /* of a library, or NULL */
	_Atomic bool prepared;
	/* The launch calls of before CUDA 4: cuParamSet*, cuFuncSetBlockShape. */
	uint32_t old_block[3], old_shared, old_size;
	uint8_t *old_params;
};

struct CUlib_st {
	struct mp_object object;
	char *ptx;
	size_t ptx_len;
	struct mp_arena arena;
	struct mp_contents contents;
	struct CUkern_st **kernels;
	size_t nkernels;
	/* One module per context that used it. */
	struct mp_library_module { struct CUctx_st *ctx; struct CUmod_st *module; } *per;
	size_t nper;
	struct mp_managed managed;
};

struct CUkern_st {
	struct mp_object object;
	struct CUlib_st *library;
	size_t index;
	const struct mp_kernel *info;
	struct CUfunc_st *_Atomic cached; /* the function of the context that used it last */
	int attributes[CU_FUNC_ATTRIBUTE_MAX]; /* what was set; -1 = not set */
};

struct mp_jit {
	char *info, *error;
	size_t info_size, error_size;
	void **info_slot, **error_slot; /* get the bytes used */
};
void mp_jit_parse(struct mp_jit *j, unsigned n, CUjit_option *options, void **values);
void mp_jit_error(struct mp_jit *j, const char *text);
/* The PTX text of an image for this device; malloc'd. */
CUresult mp_image_text(const void *image, struct mp_device *d, struct mp_jit *j, char **ret_ptx,
		       size_t *ret_len);
void *mp_image_file(const char *path); /* malloc'd, with zeroes behind; NULL */
/* lib: whose managed variables it shares, or NULL. */
CUresult mp_module_make(struct CUctx_st *ctx, struct CUlib_st *lib, const char *ptx, size_t len,
			struct mp_jit *j, struct CUmod_st **ret);
/* Place and fill a library's managed variables when there is no context yet. */
CUresult mp_library_managed(struct CUlib_st *lib);
void mp_module_drop(struct CUmod_st *own_module);
struct CUfunc_st *mp_module_function(struct CUmod_st *m, size_t i);
CUresult mp_library_module(struct CUlib_st *lib, struct CUctx_st *ctx, struct CUmod_st **ret);
void mp_library_context_gone(struct CUctx_st *ctx);
/* A CUfunction, or a CUkernel where a function is expected, in this context. */
CUresult mp_function_find(struct CUctx_st *ctx, CUfunction h, struct CUfunc_st **ret,
			  struct CUkern_st **ret_kernel);
void mp_function_attributes(const struct mp_exec_kernel_info *info, const struct mp_device *d,
			    int out[CU_FUNC_ATTRIBUTE_MAX]);
CUresult mp_function_set(int attributes[CU_FUNC_ATTRIBUTE_MAX], const struct mp_device *d,
			 CUfunction_attribute a, int value);

/* Check a launch as a driver does at once, and pack its parameters. */
CUresult mp_launch_check(struct CUctx_st *ctx, const struct mp_work_kernel *k);
CUresult mp_launch_pack(struct mp_work_kernel *k, void **params, void **extra);
CUresult mp_launch_attributes(struct mp_work_kernel *k, const CUlaunchAttribute *attrs, unsigned n);

/* ---- Graphs (graph.c ...) ---- */

void mp_graph_lock(void);
void mp_graph_unlock(void);
/* Add a node; takes the work. Graph lock held. */
struct CUgraphNode_st *mp_graph_add(struct CUgraph_st *g, struct mp_work *own_work,
				    struct CUgraphNode_st *const *deps, size_t ndeps);
void mp_graph_block_free(uint64_t addr);

/* ---- Conditions of graphs (condition.c) ---- */

void mp_condition_ref(struct mp_condition *c);
void mp_condition_unref(struct mp_condition *c);
/* exec's call: device code sets a value. */
void mp_condition_set(void *ctx, uint64_t handle, uint32_t value);
void mp_condition_defaults(const struct mp_work *w);
/* The op of a conditional node starts, or one of its bodies has ended. */
void mp_condition_step(void *op);

/* ---- printf (printf.c) ---- */

void mp_print_add(void *ctx, const char *text, size_t n);
/* A failed assert: to standard error at once. */
void mp_print_error(void *ctx, const char *text, size_t n);
/* At the calls that synchronise, as NVIDIA's driver does. */
void mp_print_flush(struct CUctx_st *ctx);

#endif
