/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's own structures.
 *
 * Threads
 *   reader      receives lane 0 and is the executor most of the time
 *   bulk        receives lane 1, uploads chunks
 *   sender      sends downloads on lane 1
 *   completion  polls events, says what is done
 *   helpers     make the driver calls that may block
 *   the driver's own, in which host functions of ours run
 *
 * The executor is whoever holds `exec`: records are applied, objects change and
 * parked records come loose only under it.  It is never held over a call that
 * may block.  A thread that makes a parked record ready puts it on the list
 * `loose` and calls mp_exec_kick(): if another thread is the executor, that one
 * takes the list before it lets go.
 */
#ifndef MP_WORKER_INSIDE_H
#define MP_WORKER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cuda.h"
#include "base/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/fail.h"
#include "base/spin.h"
#include "mp-drv.h"
#include "mp-job.h"
#include "pool/worker-spawn.h"
#include "rpc/server.h"
#include "wire/frame.h"
#include "worker/confine.h"

struct array;
struct load;
struct object_of_device;
struct host_call;

#define MP_WORKER_DEVICES  16
#define MP_STREAM_QUEUE	   512		/* operations in the driver's queue per stream */
#define MP_STREAM_TICK	   64		/* operations between two progress events */
#define MP_CONTEXT_STREAMS 17
#define MP_STAGE_CHUNK	   MP_CHUNK_MAX /* one piece of staging memory */
#define MP_STAGE_CHUNKS	   24		/* pieces per direction that are pinned */
#define MP_SLAB_BYTES	   (256u << 10)
#define MP_SCRATCH_CEILING (8u << 20)
#define MP_PARKED_ENOUGH   (16u << 20)  /* bytes of parked records beyond which none are acknowledged */
#define MP_PARKED_CEILING  (256u << 20)

/* Private device attributes; a driver that does not know them refuses. */
#define MP_ATTR_RUNS_CUBINS    0x4d500001 /* refused: yes */
#define MP_ATTR_FRESH_IS_ZERO  0x4d500002 /* refused: no */
#define MP_ATTR_CONTEXT_MEMORY 0x4d500003 /* MiB that a process's context costs; refused: measured */

struct mp_worker;
struct stamp;
struct context;
struct stream;
struct upload;

/* ---- Objects ---- */

enum object_state {
	OBJECT_FREE,
	OBJECT_COMING, /* its creating record is parked */
	OBJECT_LIVE,
	OBJECT_FAILED, /* its creation failed, and that was said: naming it is an error, not a lie */
};

struct object {
	void *handle;	     /* the driver's */
	void *own;	     /* struct context, struct stream ... of the kinds that have one */
	struct mp_job *last; /* last parked record that names it */
	uint32_t generation;
	uint8_t state;
};

struct object_table {
	struct object *page[4096]; /* of 256 objects */
	uint32_t live;
};

/* ---- Waiting for the device ---- */

/* One event whose completion means something. Made by any thread, finished by the completion thread. */
struct wait {
	struct wait *next;
	struct waitq *q;
	struct context *ctx;
	CUevent event;	 /* NULL: could not be recorded, and `status` says why */
	CUresult status;
	bool keep_event; /* the event belongs to somebody else */
	void (*done)(struct mp_worker *w, struct wait *wt, CUresult status);
	void *arg;
	uint64_t ticket, number;
	bool behind; /* done() comes behind all bytes that lay before it: see wait.c */
	uint64_t pass, pieces, begins;
};

/* Waits of one stream of the driver, in the order of their events. Completion thread only, but for `pending`. */
struct waitq {
	struct wait *first, **tail;
	struct waitq *next_active;
	bool active;
	_Atomic unsigned pending;
};

/* ---- Contexts and streams ---- */

/* Everything before this event precedes what any stream does from its next use on. */
struct fence {
	struct fence *next;
	CUevent event;
	uint64_t seq;
	struct stream *stream; /* where the event lies, as far as order is concerned */
	_Atomic bool passed;   /* by the completion thread: nobody has to wait for it any more */
};

struct stream {
	struct stream *next; /* of its context */
	struct context *ctx;
	CUstream handle;
	uint32_t id;
	bool blocking, capturing;
	uint32_t capture_graph; /* id that the graph of its capture got while it is on, or 0 */
	uint64_t issued; /* operations given to the driver */
	uint64_t ticked; /* issued at the last progress event */
	_Atomic uint64_t completed;
	uint64_t fence_seen;
	struct slab *slab; /* small copies of this stream read from it */
	CUstream side; /* private, for bulk data of this stream; made when first needed */
	struct waitq q, side_q;
};

struct context {
	struct mp_worker *w;
	struct context *next;
	uint32_t id;
	int device;
	bool primary;
	CUcontext handle;
	uint64_t charged;
	struct stream legacy;
	struct mp_job *legacy_last;
	struct stream *streams; /* the program's, without legacy */
	struct stream *doomed;	/* destroyed; reused when nothing waits in them */
	struct stream *dirty;	/* a synchronous copy lies at its end that has no fence yet */
	/*
	 * Private streams: [0] zeroes fresh memory, the others watch events, each
	 * one at a time where possible, since events pass in any order.
	 */
	struct stream own[MP_CONTEXT_STREAMS];
	/* The clock of its events (executor): [0] has passed at clock_ns, [1] is to follow it. */
	CUevent clock[2];
	int64_t clock_ns;
	uint64_t clock_made; /* when the newest of them was recorded, mp_now_ns() */
	struct fence *fences;
	struct mp_job *fence_job; /* later records of the context depend on it */
	struct { uint64_t ticket; CUevent event; struct stream *stream; } unfenced[16];
	unsigned unfenced_next;
	pthread_mutex_t event_lock;
	CUevent *events MP_GUARDED_BY(event_lock);
	unsigned event_count, event_cap;
};

/* ---- Jobs: one record being applied ---- */

struct mp_job {
	struct mp_worker *w;
	const struct mp_record *rec;
	const struct mp_call_info *info;
	struct mp_record *own_rec; /* the copy of a record that stays */
	uint64_t ticket;
	struct context *ctx;
	struct stream *stream;	   /* what it is ordered with; NULL: no stream work */
	struct mp_arena scratch;
	uint8_t *reply;
	size_t reply_n;
	bool violation; /* the client lied: the session ends */
	bool listed;	/* among w->parked: parked or held */
	bool held;	/* its body ran and is not finished */
	bool later;	/* its body ran, and another thread will answer */
	bool finished;

	struct mp_job *next_loose, *next_run, *next, **prev;
	unsigned deps;
	struct mp_job **dependents;
	unsigned dependent_count, dependent_cap;
	void (*resume)(struct mp_job *job);
	void *state; /* of the body */
	struct load *load; /* of MODULE_LOAD */
	struct box *box;
	struct graph_copy *captured;
	_Atomic unsigned count;
};

/* ---- Staging ---- */

struct chunk {
	struct chunk *next;
	uint8_t *data;
	size_t n;
	uint64_t offset;
	void *owner;
	bool pinned;
};

struct stage {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct chunk *free MP_GUARDED_BY(lock);
	unsigned made MP_GUARDED_BY(lock), free_count;
};

struct slab {
	uint8_t *data;
	size_t used;
	_Atomic unsigned pending; /* waits that have to pass before it is free */
	struct slab *next;
};

/* ---- The worker ---- */

struct device {
	CUdevice handle;
	CUuuid uuid;
	uint64_t memory;
	_Atomic uint64_t credit; /* charged to the account, not yet mapped */
	uint64_t context_memory;
	bool fresh_is_zero;
	size_t granule;
};

struct mp_worker {
	struct mp_drv drv;
	bool process; /* the end of the session is the end of the process */
	const char *lease;
	int control_fd;
	int adopt_fd; /* where another daemon may come for a control socket; -1: none */
	pthread_mutex_t lane_lock;
	pthread_cond_t lane_wake;
	unsigned lanes MP_GUARDED_BY(lane_lock); /* bits of those that are there */
	struct mp_hello hello;
	int lane[2];
	struct mp_outlet *_Atomic out[2]; /* set once, when the lane joins */
	struct device device[MP_WORKER_DEVICES];
	unsigned devices;
	struct mp_account *account;
	unsigned account_slot;
	uint64_t window_base, window_size;

	/* executor */
	pthread_mutex_t exec;
	struct object_table table[MP_KINDS];
	struct mp_job *current; /* a spare job for the next record */
	struct mp_job *parked;	/* all that are parked or held */
	size_t parked_bytes;
	unsigned parked_plain; /* those of them that others of their thread follow */
	struct mp_job *run_first, **run_tail; /* parked records whose turn has come */
	struct mp_job *gate;		      /* everything later depends on it */
	_Atomic bool kicked; /* somebody found the executor busy and left it something to look at */
	_Atomic bool credit_wanted;	      /* a job is parked for room in a stream */
	struct context *contexts;
	uint64_t fence_seq;
	unsigned captures;
	uint64_t applied; /* ticket of the next record */
	uint64_t acked;
	_Atomic uint64_t operations; /* changed by who executes, read by the reader */
	uint64_t records, launches, operations_seen, operations_ticked;
	struct mp_spin reader_spin, completion_spin; /* of those two threads alone */
	struct stamp *stamps; /* NULL: nobody measures */
	unsigned stamp_count;
	bool bye;
	_Atomic(struct mp_job *) loose;

	/* modules (executor, and helpers under module_lock) */
	pthread_mutex_t module_lock;
	struct image *images;
	size_t image_bytes;
	_Atomic bool prints; /* a module may print */

	/* memory (executor) */
	struct range *ranges;
	size_t range_count, range_cap;
	uint64_t mem_create_charged;

	/* completion */
	pthread_mutex_t wait_lock;
	pthread_cond_t wait_wake;
	struct wait *inbox MP_GUARDED_BY(wait_lock), **inbox_tail;
	struct context *dead MP_GUARDED_BY(wait_lock); /* destroyed; their memory is still referred to */
	struct wait *free_waits MP_GUARDED_BY(wait_lock);
	bool completion_sleeps MP_GUARDED_BY(wait_lock);
	struct mp_done done[64];
	unsigned done_count;

	/* uploads */
	pthread_mutex_t upload_lock;
	pthread_cond_t upload_wake;
	struct upload *uploads MP_GUARDED_BY(upload_lock);
	uint64_t early_bytes MP_GUARDED_BY(upload_lock);
	_Atomic bool spilled; /* chunks lie in plain memory, or may go on */
	bool up_returned MP_GUARDED_BY(upload_lock); /* a pinned chunk came free */
	unsigned up_ahead MP_GUARDED_BY(upload_lock); /* pinned chunks in flight before their turn */
	struct stage up, down;
	struct slab *slab, *slabs_free;
	struct slab *slabs_used;
	pthread_mutex_t slab_lock;

	/* graphs (executor) */
	struct graph_copy *graph_copies;
	struct server_node *server_nodes;
	uint32_t server_node_count, server_node_cap;

	/* arrays, textures (executor) */
	struct array *arrays;
	struct object_of_device *textures[256];

	/* downloads */
	_Atomic uint64_t downloads; /* begun and not all sent */
	_Atomic uint64_t pieces_queued, pieces_sent, begins_queued, begins_served;
	pthread_mutex_t send_lock;
	pthread_cond_t send_wake;
	struct chunk *send_first MP_GUARDED_BY(send_lock), **send_tail;
	struct download *starved; /* sender thread: begun, but no chunk was free */
	struct download *begin_first MP_GUARDED_BY(send_lock), **begin_tail;

	/* helpers */
	pthread_mutex_t help_lock;
	pthread_cond_t help_wake;
	struct help *help_first MP_GUARDED_BY(help_lock), **help_tail;

	/* host functions */
	pthread_mutex_t host_lock;
	pthread_cond_t host_wake;
	struct waitq host_q;
	struct host_call *host_calls MP_GUARDED_BY(host_lock);
	int print_fd; /* read end of the pipe that is our stdout; -1 */
	pthread_mutex_t print_lock;

	_Atomic int ended; /* enum mp_worker_exit + 1 */
	const char *why;
};

/* object.c: executor */
/* The id's place, whatever is there; NULL: nothing ever was near. */
struct object *mp_object_slot(struct mp_worker *w, enum mp_kind kind, uint32_t id);
struct object *mp_object_find(struct mp_worker *w, enum mp_kind kind, uint32_t id); /* live or failed, or NULL */
struct object *mp_object_make(struct mp_worker *w, enum mp_kind kind, uint32_t id); /* NULL: taken or out of range */
void mp_object_drop(struct mp_worker *w, enum mp_kind kind, uint32_t id);
void mp_object_fini(struct mp_worker *w);

/* exec.c: the two that take records return -1 when the session ends */
int mp_exec_record(struct mp_worker *w, const struct mp_record *rec, uint64_t ticket);
int mp_exec_control(struct mp_worker *w, const struct mp_record *rec);
void mp_exec_enter(struct mp_worker *w);
void mp_exec_leave(struct mp_worker *w);
void mp_exec_kick(struct mp_worker *w);		    /* any thread: something may have come loose */
void mp_exec_loose(struct mp_job *job);		    /* any thread: the held job may go on with its resume() */
/*
 * For bodies: the job outlives its body, and what names its objects is parked
 * behind it.  resume() runs in the executor once per mp_exec_loose(), and one of
 * them ends the job.
 */
int mp_job_hold(struct mp_job *job, void (*resume)(struct mp_job *)); /* -1: no memory, violation set */
void mp_job_bury(struct mp_job *job); /* what the record was to create is not there, and was said to be */
void mp_job_finish(struct mp_job *job, CUresult result); /* says ERROR, or REPLY when one is due */
void mp_job_finish_quiet(struct mp_job *job);		 /* whoever calls says it, elsewhere or later */
bool mp_exec_parked(struct mp_worker *w, uint64_t ticket);
int mp_exec_depend_parked(struct mp_job *job, uint64_t ticket);
void mp_exec_fini(struct mp_worker *w);

/* say.c: frames to the client, any thread */
void mp_say_reply(struct mp_worker *w, uint64_t ticket, CUresult status, const void *payload, size_t n);
void mp_say_error(struct mp_worker *w, uint64_t ticket, uint32_t ctx, uint32_t call, CUresult status);
void mp_say(struct mp_worker *w, unsigned kind, uint64_t ticket, uint64_t extra, const void *p, size_t n);
/* Completion thread only: batched. */
void mp_say_done(struct mp_worker *w, unsigned kind, uint32_t id, uint64_t ticket, CUresult status, int64_t time);
void mp_say_done_flush(struct mp_worker *w);
/* Of a MARK or WATCH that could not be made: whoever put it waits for its DONE. Any thread. */
void mp_say_failed(struct mp_worker *w, unsigned kind, uint64_t ticket, CUresult status);

/* wait.c */
/*
 * Record an event on `on` and call done() when it has passed, in order with the
 * other waits of q.  A failure to record is reported through done(), too.
 * The context is current.  Any thread that owns the stream `on` for now.
 */
void mp_wait_add(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
		 void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		 uint64_t number);
/*
 * mp_wait_add(), and done() is called only when the bytes of all copies that lay
 * before it, in whatever stream, have been sent.
 */
void mp_wait_behind(struct mp_worker *w, struct context *c, struct waitq *q, CUstream on,
		    void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		    uint64_t number);
/* The same for what has passed already: done() as soon as those bytes have been sent. Any thread. */
void mp_wait_bytes(struct mp_worker *w, struct waitq *q, void (*done)(struct mp_worker *, struct wait *, CUresult),
		   void *arg);
/* mp_wait_add() for an event that was recorded and stays the caller's. */
void mp_wait_event(struct mp_worker *w, struct context *c, struct waitq *q, CUevent e,
		   void (*done)(struct mp_worker *, struct wait *, CUresult), void *arg, uint64_t ticket,
		   uint64_t number);
void *mp_wait_main(void *worker);
/* One pass over what is outstanding: 0 nothing outstanding, 1 nothing passed, 2 something did. */
int mp_wait_poll(struct mp_worker *w);

/* context.c: executor, except events and current */
struct context *mp_context_find(struct mp_worker *w, uint32_t id);
CUresult mp_context_current(struct mp_worker *w, struct context *c); /* of the calling thread */
CUevent mp_event_take(struct mp_worker *w, struct context *c);	     /* context current; NULL: none to be had */
void mp_event_give(struct mp_worker *w, struct context *c, CUevent e);
void mp_context_fini(struct mp_worker *w, struct context *c, bool driver);
void mp_context_free_dead(struct mp_worker *w); /* completion thread, between passes */
/*
 * resume() of the held job runs when all work that device dev (-1: context c)
 * has now is done.
 */
void mp_context_barrier(struct mp_job *job, struct context *c, int dev);

/* stream.c: executor */
CUresult mp_stream_bind(struct mp_job *job, struct object *o, uint32_t id);
void mp_stream_unbind(struct mp_worker *w, uint32_t id);
void mp_stream_init(struct stream *s, struct context *c, CUstream handle, uint32_t id, bool blocking);
struct stream *mp_stream_find(struct mp_worker *w, struct context *c, uint32_t id);
CUresult mp_stream_use(struct mp_worker *w, struct stream *s, bool copy); /* before an operation: fences */
void mp_stream_used(struct mp_worker *w, struct stream *s);		  /* after one: progress */
void mp_streams_tick(struct mp_worker *w);
bool mp_stream_full(const struct stream *s);
bool mp_stream_capturing(struct mp_worker *w, struct stream *s);
CUstream mp_stream_side(struct mp_worker *w, struct stream *s);
/* The side stream, which begins where the stream is now. */
CUresult mp_stream_fork(struct mp_worker *w, struct stream *s, CUstream *ret);
/* One of the context's own streams, made when first used; NULL: the driver refuses. */
struct stream *mp_stream_own(struct mp_worker *w, struct context *c, unsigned i);
/* A synchronous copy whose FENCE is still to come: that makes the event the fence. */
void mp_fence_remember(struct mp_worker *w, struct context *c, uint64_t ticket, struct stream *s, CUevent e);
/* From now on every stream waits for this event, which lies on s and becomes the fence's. */
void mp_fence_add(struct mp_worker *w, struct context *c, struct stream *s, CUevent e);

/* staging.c */
void mp_stage_init(struct stage *s);
CUresult mp_stage_start(struct mp_worker *w, struct context *c); /* c is current */
struct chunk *mp_stage_take(struct mp_worker *w, struct stage *s, bool wait);
struct chunk *mp_chunk_spill(size_t n); /* heap memory, when the pinned is used up */
/* The same, but waits that many nanoseconds at most. */
struct chunk *mp_stage_take_until(struct mp_worker *w, struct stage *s, unsigned ns);
void mp_stage_give(struct stage *s, struct chunk *c);
/* n <= MP_INLINE_MAX bytes for a copy that is queued on s at once; executor. */
uint8_t *mp_slab_take(struct mp_worker *w, struct stream *s, size_t n);
/* One more reader of the slab, and one less. */
void mp_slab_hold(struct slab *slab);
void mp_slab_drop(struct mp_worker *w, struct slab *slab);
void mp_slab_leave(struct mp_worker *w, struct stream *s); /* s will not read from its slab again */

void mp_stage_fini(struct mp_worker *w, struct stage *s);
void mp_slab_fini(struct mp_worker *w);

/* upload.c */
CUresult mp_upload_inline(struct mp_job *job, CUdeviceptr dst, const void *p, size_t n, bool sync);
CUresult mp_upload_bulk(struct mp_job *job, CUdeviceptr dst, size_t n, bool sync);
/* Bulk bytes into memory: `then` runs as resume() of the held job when all have come. */
int mp_upload_memory(struct mp_job *job, void *to, size_t n, void (*then)(struct mp_job *));
/* Asks the client for the bytes of a ticket, as often as called; blocks. -1: the session ends. */
int mp_upload_wait(struct mp_worker *w, uint64_t ticket, void *to, size_t n);
void *mp_upload_main(void *worker);
struct chunk *mp_upload_patience(struct mp_worker *w, size_t n);
void mp_upload_spilled(struct mp_worker *w); /* pinned chunks came free; any thread */
void mp_upload_fini(struct mp_worker *w);
int mp_upload_frame(struct mp_worker *w, const struct mp_frame *f, struct chunk *c);

/* download.c */
CUresult mp_download(struct mp_job *job, CUdeviceptr src, size_t n, bool reply);
CUresult mp_download_whole(struct mp_job *job, uint8_t *own_whole, size_t n, bool reply);
void mp_download_answer(struct mp_worker *w, uint64_t ticket, bool reply, CUresult status);
/* All bytes of a copy, now; any thread; blocks on the lane. */
void mp_download_bytes(struct mp_worker *w, uint64_t ticket, const uint8_t *p, uint64_t n);
bool mp_download_step(struct mp_worker *w, bool wait);
void *mp_download_main(void *worker);

/* memory.c */
int mp_memory_init(struct mp_worker *w, const struct mp_hello *h, const char **why);
int mp_account_take(struct mp_worker *w, unsigned dev, uint64_t bytes); /* 0 or -1 */
void mp_account_put(struct mp_worker *w, unsigned dev, uint64_t bytes);
int mp_memory_charge(struct mp_worker *w, unsigned dev, uint64_t bytes); /* credit first; 0 or -1 */

/* array.c, texture.c: what a context that ends had */
void mp_array_context_gone(struct mp_worker *w, struct context *c);
void mp_texture_context_gone(struct mp_worker *w, struct context *c);
void mp_array_desc(CUDA_ARRAY3D_DESCRIPTOR *ret, const struct mp_array_desc *d);
void mp_credit_set(struct mp_worker *w, unsigned dev, uint64_t credit);
int mp_credit_control(struct mp_worker *w, const struct mp_msg_credit *m); /* -1: it is none */
void *mp_recall_main(void *worker);

/* module.c */
void mp_module_fini(struct mp_worker *w);
void *mp_owner_word(enum mp_kind kind, uint32_t id); /* own of an object that goes with a module */
bool mp_function_is_kernel(struct mp_worker *w, uint32_t id);
void mp_function_sweep(struct mp_worker *w, enum mp_kind kind, uint32_t id);

/* help.c */
/* Run fn(arg) on a helper thread; -1 without memory. */
int mp_help(struct mp_worker *w, void (*fn)(void *), void *arg);
bool mp_help_one(struct mp_worker *w, bool wait);
void *mp_help_main(void *worker);

/* host.c */
struct host_call *mp_host_new(struct mp_worker *w, uint64_t ticket, uint64_t serial);
void mp_host_free(struct mp_worker *w, struct host_call *h);
CUhostFn mp_host_fn(void); /* its argument is a host_call */
void mp_host_done(struct mp_worker *w, uint64_t serial);
int mp_print_init(struct mp_worker *w);
void *mp_print_main(void *worker);
void mp_print_sync(struct mp_worker *w, CUevent finished); /* everything printed before it has been sent */

/* device.c: exit statuses */
int mp_driver_open(struct mp_worker *w, const char *path, struct mp_fail *f);
int mp_devices_take(struct mp_worker *w, const char *uuids, const char *memory, struct mp_fail *f);
int mp_snapshot(struct mp_worker *w, struct mp_buf *b);

/* stamp.c */
void mp_stamp_open(struct mp_worker *w);
void mp_stamp(struct mp_worker *w, uint64_t ticket);

/* confine.c */

/* box.c */
struct graph_copy {
	struct graph_copy *next;
	struct mp_worker *w;
	uint64_t ticket, n;
	uint8_t *packed;
	CUhostFn fn; /* its argument is the graph_copy */
	struct mp_copy3d copy;
};
/* A host function of ours beside a copy: it reads or writes the copy's host end. */
bool mp_box_is_pull(CUhostFn fn);
bool mp_box_is_push(CUhostFn fn);
void mp_box_fini(struct mp_worker *w);
uint64_t mp_box_bytes(const struct mp_copy3d *c); /* 0: empty, or not sane */
CUresult mp_box_driver(struct mp_job *job, const struct mp_copy3d *c, void *packed, CUDA_MEMCPY3D *ret);
struct graph_copy *mp_graph_copy_new(struct mp_worker *w, uint64_t ticket, uint64_t n, bool in);
CUresult mp_graph_capture_box(struct mp_job *job, const struct mp_copy3d *c, const void *p, uint64_t have,
			      uint64_t n);
CUresult mp_graph_capture_linear(struct mp_job *job, CUdeviceptr device, const void *p, uint64_t have, uint64_t n,
				 bool in);

/* graph.c */
struct server_node {
	CUgraphNode handle;
	uint32_t graph;
};
CUresult mp_node_bind(struct mp_job *job, struct object *o);
void mp_node_drop(struct mp_worker *w, struct object *o);
void mp_graph_sweep(struct mp_worker *w, uint32_t graph);
CUresult mp_node_server(struct mp_worker *w, uint32_t id, void **ret);
uint32_t mp_node_id(struct mp_worker *w, CUgraphNode h, uint32_t graph); /* 0: no memory */
/* ... of the node that the client sees in the place of this one. */
uint32_t mp_node_seen_id(struct mp_job *job, CUgraphNode node, uint32_t graph);
CUresult mp_node_core(struct mp_job *job, uint32_t id, CUgraphNode *ret);

/* launch.c, for graphs, too */
CUresult mp_launch_attrs(struct mp_job *job, const struct mp_launch_attr *in, uint32_t n, CUlaunchAttribute **ret);
CUresult mp_mem_ops(struct mp_job *job, const struct mp_mem_op *in, uint32_t n, CUstreamBatchMemOpParams **ret);

/* session.c */
void mp_worker_init(struct mp_worker *w); /* zeroed before */
int mp_session_feed(struct mp_worker *w, struct mp_feed *feed);
/* Frees what a worker without threads holds: for tests that make many. */
void mp_worker_fini(struct mp_worker *w);
void mp_end(struct mp_worker *w, int code, const char *why); /* any thread; the first call counts */

#endif
