/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the drop-in: objects, threads, and how a call becomes a record.
 *
 * A handle that a program holds is the address of a slot in one reserved range
 * (slot.c), so that a dead or foreign one is rejected without a look-up.  Calls
 * whose answer is known here are answered here; the others put a record into
 * the ring (rpc) and return; few wait.
 *
 * Locks, none of which is held while a thread waits for the server:
 *   objects   slots, ids, lists of a context's streams, modules (slot.c)
 *   progress  marks, completion, dependencies between streams (progress.c);
 *	       the only one that the receiver thread takes
 *   memory    the allocator (memory.c); held while MAP is reserved, so that no
 *	       record can name a granule before its MAP
 * docs/LOCKS.md has their order.
 */
#ifndef MP_SHIM_SHIM_H
#define MP_SHIM_SHIM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/array.h"
#include "abi/cuda.h"
#include "base/check.h"
#include "cuabi/cuabi.h"
#include "mp-entry.h"
#include "mp-msg.h"
#include "rpc/rpc.h"

#define MP_SLOT_SIZE   256u
#define MP_CALL_NUMBERS 0x1000
#define MP_STACK_MOST  64 /* contexts on a thread's stack */

struct mp_capture;
struct mp_block_use;
struct mp_user_use;
struct mp_module;
struct mp_load;

/* ---- Objects ---- */

/* The head of every slot. */
struct mp_head {
	_Atomic uint32_t kind; /* enum mp_kind; 0: free */
	uint32_t id;	       /* on the wire */
	uint32_t generation;   /* moves when the slot is freed */
	uint32_t index;
};

struct mp_ctx {
	struct mp_head head;
	int device; /* ordinal as the program sees it */
	unsigned flags;
	/* Not 0: a call must look closer: latched error, sticky error, context not alive. */
	_Atomic uint32_t attention;
	_Atomic uint32_t sticky;  /* a CUresult that stays, or 0 */
	_Atomic uint32_t latched; /* a CUresult to be returned once, or 0 */
	bool primary, live;
	unsigned retains;
	uint64_t uid;
	struct mp_stream *legacy;
	struct mp_stream *_Atomic mirror; /* our own, for mirrored memory: mirror.c */
	struct mp_stream *streams MP_GUARDED_BY(objects); /* all but legacy */
	struct mp_module *modules MP_GUARDED_BY(objects);
	struct mp_event *events MP_GUARDED_BY(objects);
	struct mp_array *arrays MP_GUARDED_BY(objects);
	uint32_t cache_config, shared_config;
	_Atomic uint32_t captures; /* streams of this context that capture */
	_Atomic uint32_t blocking_captures; /* ... of which blocking ones */
	uint32_t peers;		  /* bit per device whose contexts may be accessed */
	uint64_t limits[16];
	bool limits_known[16];
	struct mp_ctx *next MP_GUARDED_BY(objects);
};

struct mp_stream {
	struct mp_head head;
	struct mp_ctx *ctx;
	unsigned flags;
	int priority;
	uint64_t uid;
	_Atomic uint64_t issued;    /* ticket of the newest operation */
	_Atomic uint64_t heavy;	    /* ... of those that may take for ever: kernels, host functions */
	_Atomic uint64_t light;	    /* ... of the others that access memory: copies, memsets */
	_Atomic uint64_t gated;	    /* newest wait for another stream */
	_Atomic uint64_t completed; /* everything with a smaller ticket is over */
	_Atomic uint64_t marked;    /* newest MARK under way */
	_Atomic uint64_t hosted;    /* newest host function or wait for a value: what follows may depend on the program */
	struct mp_capture *_Atomic capture;
	struct mp_edge *edges MP_GUARDED_BY(progress);
	uint32_t nedges, cap_edges MP_GUARDED_BY(progress);
	bool legacy, per_thread;
	struct mp_stream *next, **prev MP_GUARDED_BY(objects);
};

struct mp_event {
	struct mp_head head;
	struct mp_ctx *ctx;
	unsigned flags;
	_Atomic uint64_t recorded;  /* ticket of the latest recording, 0: none */
	_Atomic uint64_t completed; /* newest recording known to be over */
	_Atomic uint64_t watched;   /* the recording that a WATCH under way is for */
	_Atomic uint64_t timed;	    /* the recording that `time` is of, if it is not 0 */
	int64_t time;		    /* ns, by its context's clock */
	struct mp_stream *stream;   /* where it was recorded */
	uint32_t stream_generation;
	uint64_t capture;	    /* id of the capture it was recorded in, 0: none */
	struct mp_event *next, **prev MP_GUARDED_BY(objects);
};

/* How one parameter gets into the record; those of 8 bytes come first, then of 4, 2 and 1. */
struct mp_step {
	uint8_t param, size;
	uint16_t offset;
};
#define MP_STEPS 24

/* A kernel of a module, or of a library (CUkernel). */
struct mp_func {
	struct mp_head head;
	struct mp_module *module;
	const struct mp_kernel *info; /* lives in the module's arena */
	const char *name;
	uint32_t nparams, param_bytes;
	const struct mp_param *params;
	uint8_t n8, n4, n2, n1, nother; /* steps; none when there are more parameters than steps */
	struct mp_step step[MP_STEPS];
	uint32_t max_threads, static_shared, max_dynamic;
	bool dynamic_set; /* the program chose max_dynamic */
	_Atomic uint32_t named; /* the server knows it by its id */
	int32_t *own_attr; /* attributes by number, when asked */
	struct mp_func *next MP_GUARDED_BY(objects);
};

struct mp_module {
	struct mp_head head; /* kind module or library */
	struct mp_ctx *ctx;  /* NULL for a library */
	struct mp_answer answer;
	uint64_t ticket;
	uint8_t hash[32];
	const uint8_t *image; /* what travels */
	size_t image_size;
	void *own_image;
	struct mp_load *load; /* arena and contents */
	struct mp_func *funcs MP_GUARDED_BY(objects);
	struct mp_module *next MP_GUARDED_BY(objects);
	struct mp_module *as_module; /* cuLibraryGetModule's answer; shares this one's server object */
	struct mp_module *of_library;
	_Atomic uint32_t ready;	     /* 1: answer was read */
	CUresult result;
	struct mp_module *next_pending; /* module.c's */
};

/* ---- Threads ---- */

struct mp_own_stream {
	struct mp_ctx *ctx;
	uint64_t ctx_uid;
	struct mp_stream *stream;
};

struct mp_thread {
	struct mp_ctx *ctx; /* top of the stack, or NULL */
	uint32_t number;    /* on the wire, from 1 */
	unsigned depth;
	struct mp_ctx *stack[MP_STACK_MOST];
	CUstreamCaptureMode capture_mode;
	unsigned captures; /* that this thread began in a mode other than relaxed, and did not end */
	unsigned nown;
	struct mp_own_stream own[32];
	/* Events that this thread has recorded and whose times may be asked for: watched with its next wait. */
	struct mp_event *clocked[16];
	unsigned nclocked;
	void *scratch;
	size_t scratch_size;
	struct mp_thread *next;
	bool in_host_function;
	uint32_t calls[MP_CALL_NUMBERS], waits[MP_CALL_NUMBERS], refused[MP_CALL_NUMBERS];
	uint64_t records;
};

/* ---- The process ---- */

enum mp_state { MP_STATE_NEW, MP_STATE_READY, MP_STATE_CLOSED, MP_STATE_FORKED };

struct mp_device {
	char name[97];
	CUuuid uuid;
	uint64_t memory;
	int wire; /* its number in the session */
	int major, minor, domain, bus, device;
	bool runs_cubins;
	int attr[CU_DEVICE_ATTRIBUTE_MAX];
	uint64_t limit[16];
	struct mp_ctx *primary;
	unsigned primary_flags;
};

struct mp_shim {
	struct mp_rpc *rpc;
	_Atomic uint32_t state; /* enum mp_state */
	bool strict;		/* every record is answered */
	bool launch_blocking;	/* every launch is waited for */
	bool launch_slow;	/* either of them */
	bool stats;
	int driver_version;
	int ndevices;
	struct mp_device device[16];
	uint64_t window_base, window_size;
	_Atomic uint32_t global_captures; /* streams that capture in global mode */
	_Atomic uint32_t own_threads;	  /* of the drop-in */
	_Atomic uint32_t host_pending;	  /* host functions and value waits not known to be over */
	_Atomic uint32_t mirrors;     /* mirrors, and pinned memory that may become one */
	_Atomic uint32_t hosted;      /* mirrors of which this process has pages */
	_Atomic uint32_t provisional; /* ... that were touched while work was under way */
	struct mp_ctx *contexts MP_GUARDED_BY(objects);
	int pid;
	_Atomic uint64_t uid;
};
extern struct mp_shim mp_shim;
extern pthread_mutex_t mp_objects;

/* ---- slot.c ---- */

int mp_slot_init(void);
/* A zeroed object with a fresh id; NULL: no memory. */
void *mp_slot_new(enum mp_kind kind);
void *mp_slot_new_id(enum mp_kind kind, uint32_t id); /* an id that the server chose */
void mp_slot_free(void *object);
/* Its creation failed on the server, which keeps a tombstone: the id is not used again. */
void mp_slot_waste(void *object);
void *mp_slot_by_id(enum mp_kind kind, uint32_t id);
#define MP_SLOTS (1u << 20)
extern uintptr_t mp_slot_base; /* far from every address until there are slots */

/* The object behind a handle, or NULL when it is not a live one of this kind. */
static inline void *mp_object(const void *handle, enum mp_kind kind)
{
	uintptr_t p = (uintptr_t)handle;

	if (MP_UNLIKELY(p - mp_slot_base >= (uintptr_t)MP_SLOTS * MP_SLOT_SIZE ||
			(p & (MP_SLOT_SIZE - 1))))
		return NULL;
	if (atomic_load_explicit(&((struct mp_head *)p)->kind, memory_order_acquire) != kind)
		return NULL;
	return (void *)p;
}

/* ---- state.c ---- */

extern __thread struct mp_thread *mp_self __attribute__((tls_model("initial-exec")));
struct mp_thread *mp_thread_new(void);
static inline struct mp_thread *mp_thread_get(void)
{
	return MP_LIKELY(mp_self != NULL) ? mp_self : mp_thread_new();
}

/* Connects, once. */
CUresult mp_shim_open(void);
/* What a call answers while the process is in a state other than ready. */
CUresult mp_state_error(void);

/* Counted; initialised, not lost. */
CUresult mp_enter_init(enum mp_call call, struct mp_thread **ret);
/* Also: a live current context, and no latched error (which this call then returns). */
CUresult mp_enter_slow(struct mp_ctx *c);
static inline CUresult mp_enter(enum mp_call call, struct mp_thread **ret)
{
	struct mp_thread *t = mp_thread_get();

	if (MP_UNLIKELY(!t))
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret = t;
	t->calls[call]++;
	if (MP_LIKELY(atomic_load_explicit(&mp_shim.state, memory_order_relaxed) == MP_STATE_READY &&
		      t->ctx &&
		      !(atomic_load_explicit(&t->ctx->attention, memory_order_relaxed) |
			atomic_load_explicit(&mp_shim.rpc->lost, memory_order_relaxed))))
		return CUDA_SUCCESS;
	return mp_enter_slow(t->ctx);
}
/* A context that is not the current one is asked of. */
CUresult mp_ctx_error(struct mp_ctx *c);
bool mp_error_sticky(CUresult r);
/* An error that belongs to a context arrives late. */
void mp_ctx_latch(struct mp_ctx *c, CUresult r);
void *mp_scratch(struct mp_thread *t, size_t n);

/* ---- Records ---- */

struct mp_out {
	struct mp_record *rec;
	uint64_t ticket;
	size_t n;
	struct mp_thread *thread;
	enum mp_call call;
};

static inline CUresult mp_out_begin(struct mp_out *o, struct mp_thread *t, enum mp_call call,
				    size_t payload, uint32_t ctx)
{
	size_t n = sizeof(struct mp_record) + payload;

	if (MP_UNLIKELY(n > MP_RECORD_LARGEST))
		return CUDA_ERROR_INVALID_VALUE;
	o->n = n;
	o->ticket = 0;
	o->thread = t;
	o->call = call;
	o->rec = mp_rpc_reserve(mp_shim.rpc, n, &o->ticket);
	if (MP_UNLIKELY(!o->rec))
		return (CUresult)atomic_load(&mp_shim.rpc->lost);
	o->rec->call = (uint16_t)call;
	o->rec->thread = t->number;
	o->rec->ctx = ctx;
	return CUDA_SUCCESS;
}

CUresult mp_out_strict(struct mp_out *o);
/* One-way: published. */
static inline CUresult mp_out_end(struct mp_out *o)
{
	o->thread->records++;
	if (MP_UNLIKELY(mp_shim.strict))
		return mp_out_strict(o);
	mp_rpc_commit(mp_shim.rpc, o->rec, o->n, o->ticket);
	return CUDA_SUCCESS;
}
/* Published without an answer even when strict (what waits by other means). */
static inline void mp_out_send(struct mp_out *o)
{
	o->thread->records++;
	mp_rpc_commit(mp_shim.rpc, o->rec, o->n, o->ticket);
}
/* Wait for the answer; the caller frees a->own_data. */
CUresult mp_out_ask(struct mp_out *o, struct mp_answer *a);

/* Begin a record and encode: MP_PUT(&o, t, MP_CALL_cuX, cuX, &m, ctx id). */
#define MP_PUT(o, t, number, X, m, ctx)                                                            \
	__extension__({                                                                            \
		CUresult r_ = mp_out_begin(o, t, number, mp_size_##X(m), ctx);                     \
		if (MP_LIKELY(!r_))                                                                \
			mp_put_##X((uint8_t *)((o)->rec + 1), m);                                  \
		r_;                                                                                \
	})
/* ... and publish. */
#define MP_SEND(o, t, number, X, m, ctx)                                                           \
	__extension__({                                                                            \
		CUresult s_ = MP_PUT(o, t, number, X, m, ctx);                                     \
		if (MP_LIKELY(!s_))                                                                \
			s_ = mp_out_end(o);                                                        \
		s_;                                                                                \
	})

/* ---- progress.c ---- */

/* A dependency of a stream: from the wait with this ticket on, src is over up to src_ticket. */
struct mp_edge {
	uint64_t ticket, src_ticket;
	struct mp_stream *src;
	uint32_t src_generation;
};

void mp_progress_done(void *arg, const struct mp_done *d);
void mp_progress_copied(void *arg, uint64_t ticket, uint32_t status);
void mp_progress_error(void *arg, uint64_t ticket, uint32_t ctx, uint32_t status, uint32_t call);
void mp_progress_lost(void *arg);
/* A pinned range is being written by a download until its ticket is over. */
int mp_writer_add(uint64_t ticket, void *p, size_t n);
bool mp_writer_pending(const void *p, size_t n);

static inline void mp_max(_Atomic uint64_t *at, uint64_t value)
{
	uint64_t old = atomic_load_explicit(at, memory_order_relaxed);

	while (old < value && !atomic_compare_exchange_weak_explicit(
				      at, &old, value, memory_order_relaxed, memory_order_relaxed))
		;
}
/* Work that accesses memory was put into the stream with this ticket. */
static inline void mp_stream_issue(struct mp_stream *s, uint64_t ticket)
{
	mp_max(&s->issued, ticket);
	mp_max(&s->heavy, ticket);
}
/* The same of work that ends by itself, once its turn has come. */
static inline void mp_stream_issue_light(struct mp_stream *s, uint64_t ticket)
{
	mp_max(&s->issued, ticket);
	mp_max(&s->light, ticket);
}
/* The newest work that accesses memory. */
static inline uint64_t mp_stream_touched(struct mp_stream *s)
{
	uint64_t a = atomic_load(&s->heavy), b = atomic_load(&s->light);

	return a > b ? a : b;
}
/*
 * May a synchronous operation in this stream, with a reserved ticket, have to wait for
 * work that another thread has yet to issue?  Then it must not come back before it is done.
 */
bool mp_stream_held(struct mp_stream *s, uint64_t ticket);
/* Is everything of the stream up to and including this ticket known to be over? */
bool mp_stream_over(struct mp_stream *s, uint64_t ticket);
/* An answer has shown that the stream is past this ticket. */
void mp_stream_reached(struct mp_stream *s, uint64_t ticket);
/* A host function or a wait for a value was put into the stream with this ticket. */
void mp_stream_host(struct mp_stream *s, uint64_t ticket);
/* Ask to be told when the stream gets here, unless that is under way. *ret: the MARK's ticket. */
CUresult mp_stream_mark(struct mp_thread *t, struct mp_stream *s, uint64_t *ret);
/* Wait until everything issued so far is over. */
CUresult mp_stream_wait(struct mp_thread *t, enum mp_call call, struct mp_stream *s);
CUresult mp_ctx_wait(struct mp_thread *t, enum mp_call call, struct mp_ctx *c);
/* A stream was told to wait for what src has up to ticket. */
void mp_stream_edge(struct mp_stream *s, uint64_t at, struct mp_stream *src, uint64_t ticket);
void mp_stream_forget(struct mp_stream *s);
CUresult mp_event_watch(struct mp_thread *t, struct mp_event *e, uint64_t *ret);
/* Also those that this thread recorded lately, so that their times come without being asked for. */
void mp_events_watch(struct mp_thread *t);
bool mp_event_over(struct mp_event *e);
/* For the allocator: is all work that touches memory and was issued before this ticket over? */
bool mp_work_over(uint64_t before);

/* ---- context.c ---- */

CUresult mp_ctx_activate(struct mp_thread *t, struct mp_ctx *c);
struct mp_ctx *mp_ctx_find(CUcontext ctx); /* NULL: no such context */
void mp_ctx_current_all_gone(struct mp_ctx *c);

/* ---- stream.c ---- */

/*
 * The stream a program means, in the current context: 0 and the two special
 * values, or a handle.  INVALID_HANDLE; INVALID_CONTEXT for another context's.
 */
CUresult mp_stream_slow(struct mp_thread *t, CUstream h, struct mp_stream **ret);
static inline CUresult mp_stream_get(struct mp_thread *t, CUstream h, struct mp_stream **ret)
{
	struct mp_stream *s;

	if (h == NULL && !mp_default_stream) {
		*ret = t->ctx->legacy;
		return CUDA_SUCCESS;
	}
	s = mp_object(h, MP_KIND_stream);
	if (MP_LIKELY(s && s->ctx == t->ctx)) {
		*ret = s;
		return CUDA_SUCCESS;
	}
	return mp_stream_slow(t, h, ret);
}
struct mp_stream *mp_stream_new(struct mp_ctx *c, unsigned flags, int priority);
void mp_stream_drop(struct mp_stream *s);
void mp_event_drop(struct mp_event *e);

/* Waits and writes as they travel; their addresses are looked at as those of one. */
#define MP_MEM_OPS_MOST 256
CUresult mp_mem_ops_pack(struct mp_thread *t, const CUstreamBatchMemOpParams *p, unsigned n,
			 struct mp_mem_op *op);

/* ---- capture.c ---- */

struct mp_capture {
	uint64_t id;
	struct mp_capture *next;
	struct mp_stream *origin;
	CUstreamCaptureMode mode;
	struct mp_thread *thread;
	CUstreamCaptureStatus status;
	unsigned refs;
	uint32_t to_graph; /* id of the graph it goes into, 0: a new one */
	bool host;	   /* it has a host end or a host function */
	struct mp_block_use *blocks; /* memory that it allocates and frees */
	struct mp_graph *asked;	   /* the graph, when the program has asked for it */
	CUgraphNode *own_deps;	   /* what the latest question handed out */
};

/* A call that is unsafe while a capture is on: 900, and the captures it would harm are invalid. */
CUresult mp_capture_unsafe(struct mp_thread *t);
/* Work on a stream: may it go there? Legacy stream while a blocking stream captures: 906. */
CUresult mp_capture_check(struct mp_thread *t, struct mp_stream *s);
static inline CUresult mp_stream_may(struct mp_thread *t, struct mp_stream *s)
{
	if (MP_LIKELY(!atomic_load_explicit(&s->ctx->captures, memory_order_relaxed)))
		return CUDA_SUCCESS;
	return mp_capture_check(t, s);
}
static inline CUresult mp_safe(struct mp_thread *t)
{
	if (MP_LIKELY(!atomic_load_explicit(&mp_shim.global_captures, memory_order_relaxed) &&
		      !t->captures))
		return CUDA_SUCCESS;
	return mp_capture_unsafe(t);
}
/* A synchronous call on a stream that captures: 900, and the capture is invalid. */
CUresult mp_capture_refuse(struct mp_stream *s);
void mp_capture_join(struct mp_stream *s, uint64_t id);
/* A stream that captures is destroyed: no capture may lose its origin, others may go. */
void mp_capture_stream_gone(struct mp_stream *s);
/* What is being captured has a host end or a host function. */
void mp_capture_host(struct mp_stream *s);

/* ---- graph.c ---- */

struct mp_graph {
	struct mp_head head;
	struct mp_node *nodes; /* those that the program knows */
	bool host;	       /* has host ends or host functions, perhaps in a child */
	bool child;	       /* belongs to a node */
	bool body;	       /* ... that is conditional */
	struct mp_block_use *blocks;
	struct mp_user_use *users;
};
struct mp_exec {
	struct mp_head head;
	bool host;
	struct mp_block_use *blocks;
	struct mp_user_use *users;
	uint64_t flags;
	/* Its latest launch. */
	struct mp_stream *stream;
	uint32_t stream_generation;
	uint64_t ticket;
};
struct mp_node {
	struct mp_head head;
	struct mp_graph *graph;
	struct mp_node *next;
	CUgraphNodeType type;
	bool typed; /* type is known */
	bool host_end; /* a copy from or to the program's memory */
	uint64_t ticket; /* of the record that made it */
	struct mp_func *func;
	void *own_params;	/* packed parameters and the pointers to them */
	union {
		CUDA_KERNEL_NODE_PARAMS kernel;
		CUDA_MEMSET_NODE_PARAMS memset;
		CUDA_HOST_NODE_PARAMS host;
		CUevent event;
		CUgraph child;
		CUDA_MEM_ALLOC_NODE_PARAMS *own_alloc;
		CUDA_MEMCPY3D *own_copy;
		CUDA_BATCH_MEM_OP_NODE_PARAMS memop; /* own_params has the operations */
		CUDA_CONDITIONAL_NODE_PARAMS cond;   /* own_params has the bodies */
		CUdeviceptr dptr;
	} p;
	bool known; /* p is set */
};
struct mp_graph *mp_graph_new(void);
void mp_graph_destroy_quiet(struct mp_thread *t, struct mp_graph *g);
void mp_graph_gone(struct mp_graph *g);
struct mp_graph *mp_graph_get(CUgraph h);
struct mp_node *mp_node_get(CUgraphNode h);
void mp_node_add(struct mp_graph *g, struct mp_node *n);
void mp_node_remove(struct mp_node *n);
void mp_node_free(struct mp_node *n);
/* The node that the server names; ids with the top bit are new here at first sight. */
struct mp_node *mp_node_named(struct mp_graph *g, uint32_t id);
/* Ids of dependencies, all of this graph; in scratch. */
CUresult mp_nodes_ids(struct mp_thread *t, struct mp_graph *g, const CUgraphNode *deps, size_t n,
		      const uint32_t **ret);

/* ---- userobject.c ---- */

/* A graph's or executable graph's references of user objects. */
int mp_users_copy(struct mp_user_use **to, const struct mp_user_use *from);
void mp_users_drop(struct mp_user_use **list);
/* ... of an executable graph that may be running. */
void mp_users_drop_after(struct mp_thread *t, struct mp_exec *x);

/* ---- graph-memory.c ---- */

/* A graph's own memory; the list is the graph's, the capture's or the executable graph's. */
CUresult mp_block_alloc(struct mp_thread *t, struct mp_block_use **list, const struct mp_node *node,
			size_t n, uint64_t *ret);
CUresult mp_block_free(struct mp_block_use **list, const struct mp_node *node, uint64_t addr);
/* Outside of graphs. false: it is no memory of a graph. */
bool mp_block_free_now(uint64_t addr);
/* Uses go: those of a node, or all (NULL). */
void mp_blocks_drop(struct mp_block_use **list, const struct mp_node *node);
int mp_blocks_copy(struct mp_block_use **to, struct mp_block_use *const *from);
CUresult mp_blocks_launch(struct mp_block_use *list, uint64_t flags);

/* ---- memory.c ---- */

enum mp_memory_kind { MP_PAGEABLE, MP_DEVICE, MP_PINNED, MP_MANAGED };

struct mp_range {
	enum mp_memory_kind kind;
	uint64_t base, size; /* of the allocation */
	int device;
	struct mp_ctx *ctx;
	unsigned flags; /* of pinned memory */
	uint64_t id;
	bool registered, vmm;
	bool mirrored; /* the device has it too: copies treat it as the device's (mirror.h) */
	void *pool; /* that it came from */
};
/* Bytes that the device has, whatever else they are. */
static inline bool mp_range_device(const struct mp_range *r)
{
	return r->kind == MP_DEVICE || r->mirrored;
}
int mp_memory_init(const uint64_t *credit);
/* false: nothing known about this address: pageable. */
bool mp_memory_find(uint64_t p, struct mp_range *ret);
/* s and pool: in the order of a stream, out of a pool; both NULL for a plain allocation. */
CUresult mp_memory_alloc(struct mp_thread *t, struct mp_ctx *c, size_t n, struct mp_stream *s,
			 void *pool, uint64_t *ret);
/* s NULL: free when all is over; else in the order of s. */
CUresult mp_memory_free(struct mp_thread *t, uint64_t p, struct mp_stream *s);
void mp_memory_ctx_gone(struct mp_thread *t, struct mp_ctx *c);
/* `pool` of memory that is mirrored: managed, or the device's side of registered host memory. */
extern char mp_memory_managed, mp_memory_alias, mp_memory_graph;
/* Back addresses of the window's part for pinned memory, whole granules, and the reverse. */
CUresult mp_memory_back(struct mp_thread *t, int device, uint64_t base, uint64_t size);
void mp_memory_unback(struct mp_thread *t, int device, uint64_t base, uint64_t size);
/* Ask every stream that was used how far it is, without waiting. */
void mp_ask_progress(struct mp_thread *t);
CUresult mp_memory_info(struct mp_thread *t, int device, uint64_t *ret_free, uint64_t *ret_total);
/* Plain addresses of the window, 2 MiB granules. */
uint64_t mp_memory_reserve_va(uint64_t size, uint64_t align, uint64_t hint);
CUresult mp_memory_release_va(uint64_t base, uint64_t size);
/* Siblings lack memory: gives unused credit back. Receiver thread. */
void mp_memory_recall(void *arg, uint64_t wire);
/* An address range that got memory by cuMemMap. */
void mp_memory_vmm(uint64_t base, uint64_t size, int device, struct mp_ctx *c, bool on);
/* Memory in use, as the program sees it, of a device. */
uint64_t mp_memory_used(int device);

/* Credit for memory that the driver takes for an object of its own; given back when that failed here. */
CUresult mp_memory_charge(struct mp_thread *t, int device, uint64_t bytes);
void mp_memory_uncharge(int device, uint64_t bytes);

/* ---- array.c, texture.c, texref.c ---- */

/* An array, or a mipmapped one: kind array or mipmap. */
struct mp_array {
	struct mp_head head;
	struct mp_ctx *ctx;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	struct mp_array *parent; /* a level's mipmapped array */
	uint32_t nlevels;
	struct mp_array *level[MP_LEVELS_MAX]; /* those that were asked for */
	struct mp_array *next, **prev; /* of the context's, levels apart */
};
static inline struct mp_array *mp_array_get(CUarray h)
{
	return mp_object(h, MP_KIND_array);
}
void mp_array_context_gone(struct mp_thread *t, struct mp_ctx *c);
/* Resting textures of an array that goes: its id must not name another's. */
void mp_texture_array_gone(struct mp_thread *t, enum mp_kind kind, uint32_t id);
void mp_texture_context_gone(struct mp_thread *t, struct mp_ctx *c);
void mp_texref_module_gone(struct mp_module *m);

/* ---- pool.c ---- */

/* The current pool of a device. */
CUmemoryPool mp_pool_of(int device);

/* ---- host.c ---- */

bool mp_host_find(uint64_t p, struct mp_range *ret);
/* Might this value point into pinned memory that is not mirrored yet? */
extern uint64_t mp_host_from, mp_host_to;
static inline bool mp_host_may_map(uint64_t v)
{
	return v - mp_host_from < mp_host_to - mp_host_from;
}
/*
 * Kernels use the pinned memory at p from now on: it becomes a mirror.  *ret (may be NULL): its
 * address on the device.  INVALID_VALUE: it is not pinned.
 */
CUresult mp_host_map(struct mp_thread *t, uint64_t p, uint64_t *ret);
int mp_host_init(uint64_t base, uint64_t size);
/* The context ends: what was mirrored through it is plain memory again. */
void mp_host_ctx_gone(struct mp_thread *t, struct mp_ctx *c);

/* ---- module.c ---- */

void mp_module_need(void *arg, uint64_t ticket, const uint8_t hash[32]);
void mp_module_gone(struct mp_module *m);
/* Tell the server that it is gone; mp_module_gone is next. */
CUresult mp_module_unload(struct mp_thread *t, struct mp_module *m);
bool mp_module_eager(void);
/* The i-th kernel; NOT_FOUND past the end. */
CUresult mp_module_kernel(struct mp_module *m, size_t i, CUfunction *ret);
/* Wait for READY. */
CUresult mp_module_wait(struct mp_thread *t, enum mp_call call, struct mp_module *m);
/* A function or kernel handle, both of which launches take. */
static inline struct mp_func *mp_func_get(const void *h)
{
	struct mp_func *f = mp_object(h, MP_KIND_function);

	return f ? f : mp_object(h, MP_KIND_kernel);
}
/* Does this address lie in a variable of a module, outside the window? */
bool mp_module_address(uint64_t p);
CUresult mp_func_attributes(struct mp_thread *t, enum mp_call call, struct mp_func *f);
CUresult mp_func_global(struct mp_thread *t, enum mp_call call, struct mp_module *m,
			const char *name, CUdeviceptr *dptr, size_t *bytes);

/* ---- launch.c ---- */

/* Sort the parameters by size, once, so that a launch copies them without asking. */
void mp_params_plan(struct mp_func *f);

/* Pack the parameters of a kernel; *ret points at scratch or at the program's own buffer. */
CUresult mp_params_pack(struct mp_thread *t, struct mp_func *f, void **params, void **extra,
			const void **ret, size_t *ret_n);
CUresult mp_launch_check(struct mp_ctx *c, struct mp_func *f, unsigned gx, unsigned gy, unsigned gz,
			 unsigned bx, unsigned by, unsigned bz, unsigned shared);

struct mp_kernel_call;
CUresult mp_kernel_call(struct mp_thread *t, CUfunction func, unsigned gx, unsigned gy, unsigned gz,
			unsigned bx, unsigned by, unsigned bz, unsigned shared, void **params,
			void **extra, struct mp_kernel_call *ret);
CUresult mp_launch_attr(struct mp_thread *t, CUlaunchAttributeID id, const CUlaunchAttributeValue *v,
			struct mp_launch_attr *ret);

/* ---- copy.c ---- */

void mp_copy_pull(void *arg, uint64_t ticket);
/* Remember where the bytes of a deferred copy are. -1: no memory. */
int mp_pull_add(uint64_t ticket, const struct mp_shape *from, bool keep);
/* malloc'd, row after row. */
void *mp_shape_pack(const struct mp_shape *from);
/*
 * The end of a synchronous copy in two parts: before its commit, whether it must be
 * waited for (an answer to *a is then expected), and behind all that it sends.
 */
bool mp_copy_held(struct mp_stream *s, struct mp_out *o, struct mp_answer *a);
CUresult mp_copy_wait(struct mp_thread *t, struct mp_stream *s, struct mp_out *o, struct mp_answer *a);
/* What comes later, on any stream of the context, is behind what this stream has now. */
CUresult mp_fence_send(struct mp_thread *t, struct mp_stream *s, uint64_t ticket);
/* Is [p, p + n) memory of a device, all in one allocation? INVALID_VALUE if not. */
CUresult mp_device_range(uint64_t p, size_t n);
bool mp_pinned(const void *p, size_t n);

/* ---- vmm.c ---- */

/* May some device access this address, which is known to be mapped? */
bool mp_vmm_accessible(uint64_t p);

/* ---- copy3d.c ---- */

/*
 * A box as it travels, and its host end as a shape; *ret_host: 0 none, 1 the source,
 * 2 the destination.
 */
CUresult mp_box(struct mp_thread *t, const CUDA_MEMCPY3D *p, struct mp_copy3d *ret,
		struct mp_shape *ret_shape, int *ret_host);

/* ---- hostcall.c ---- */

void mp_hostcall_call(void *arg, uint64_t ticket, uint64_t serial);
/* Keep a host function of the program; the serial names it. 0: no memory. */
uint64_t mp_hostcall_new(CUhostFn fn, void *user, CUstreamCallback callback, struct mp_stream *s,
			 bool keep);
/* Call a function of ours behind what the stream has. */
CUresult mp_hostcall_send(struct mp_thread *t, struct mp_stream *s, CUhostFn fn, void *user);

/* ---- stats.c ---- */

void mp_stats_print(void);
const struct mp_thread *mp_threads(void);

#endif
