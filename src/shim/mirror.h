/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mirrored memory: managed memory, and host memory that kernels use in place.
 *
 * The same bytes lie twice, in this process and on the device, at the same
 * address (registered memory: at an alias of it).  Page by page one of the two
 * sides has them:
 *
 *	fresh	the program may do what it likes; what it wrote is found in
 *		the file behind the pages, so that filling fresh memory costs
 *		no fault
 *	clean	both sides have them; readable
 *	dirty	the program wrote; writable
 *	stale	the device may have written; not accessible: the first touch
 *		faults, and the thread that faulted fetches
 *	merge	both may have written: what the program changed is told from a
 *		copy (twin) and goes to the device before the page is fetched
 *
 * Work that may touch a mirror sends what the program wrote ahead of itself, on a
 * stream of our own with a fence behind, and makes its pages stale.  So a program
 * that launches again and again without looking pays one look at a counter.
 *
 * A page that is touched while device work is under way is fetched as it is then,
 * and is made stale again by every completion that comes in, and every so often by
 * a thread of ours, which also sends what was written meanwhile: programs poll
 * flags in mapped memory, and kernels do.
 *
 * The pages are a file in memory that is mapped twice: as the program sees it,
 * with changing protection, and as a whole (`alias`), always accessible, which is
 * what this library reads and writes.
 *
 * `mirrors` is the one lock.  It is never held while a thread waits for the server
 * or for room in the ring: a mirror whose bytes are on their way is `busy`.  The
 * receiver takes it too.  No lock of this library may be held where memory of the
 * program is touched.
 */
#ifndef MP_SHIM_MIRROR_H
#define MP_SHIM_MIRROR_H

#include "shim/shim.h"

#define MP_PAGE	      4096u
#define MP_PAGE_SHIFT 12

enum mp_page { MP_PAGE_STALE, MP_PAGE_FRESH, MP_PAGE_CLEAN, MP_PAGE_DIRTY, MP_PAGE_MERGE, MP_PAGE_SENT, MP_PAGE_LEFT };

enum mp_mirror_kind { MP_MIRROR_MANAGED, MP_MIRROR_PINNED, MP_MIRROR_REGISTERED, MP_MIRROR_VARIABLE };

/* Bytes of a page as they were when the program began to write into it. */
struct mp_twin {
	struct mp_twin *next;
	size_t page;
	uint8_t bytes[MP_PAGE];
};

/* A stretch that exists; the rest of its pages is somebody else's. */
struct mp_extent {
	uint64_t at, size; /* from the first page */
	uint64_t id;
};

struct mp_mirror {
	enum mp_mirror_kind kind;
	uint64_t host;	 /* the first page, in this process */
	uint64_t device; /* the same on the device */
	uint64_t base, size; /* what the program was given, in this process */
	uint8_t *alias;
	size_t pages;
	struct mp_ctx *ctx;
	uint64_t id, offset; /* offset: in the file */
	struct mp_extent *extent;
	size_t extents;

	uint8_t *state;	     /* enum mp_page per page */
	size_t hosted;	     /* pages that are not stale */
	bool busy;	     /* its bytes are on their way */
	bool provisional;    /* pages were fetched or written while work was under way */
	bool passed;	     /* work completed while it was busy */
	bool impatient;	     /* waiting for work to end did not pay: mirror-fault.c */
	bool listed;	     /* among those with hosted pages */
	struct mp_mirror *next_hosted, **prev_hosted;
	struct mp_twin *twins;

	size_t read_from, read_to;   /* the last window that was fetched */
	size_t write_to, write_run;  /* where the last writable window ended, and how long it was */
	uint64_t epoch;		     /* in which it was fetched from */
	size_t last_from, last_to;   /* what was touched in the epoch before */
	size_t now_from, now_to;     /* ... in this one */

	/* Managed memory: who may use it, and what the program advised. */
	unsigned attach;
	struct mp_stream *stream;
	uint32_t stream_generation;
	struct mp_advice advice;
};

/* What to allocate for a mirror: slots hold whole pages. */
static inline uint64_t mp_mirror_slot(uint64_t n)
{
	uint64_t size = MP_PAGE;

	if (n > 512u << 10)
		return n;
	while (size < n)
		size *= 2;
	return size;
}

/* The file and its mapping are there. -1: not to be had. */
int mp_mirror_init(void);
/*
 * A mirror of fresh pages, or (adopt) of memory that the program uses already, whose bytes are
 * kept.  Its device memory is there.
 */
struct mp_mirror_new {
	enum mp_mirror_kind kind;
	uint64_t host, device; /* page aligned */
	uint64_t base, size;
	size_t pages;
	struct mp_ctx *ctx;
	unsigned attach;
	bool adopt;
};
CUresult mp_mirror_new(struct mp_thread *t, const struct mp_mirror_new *n);
/* A variable of a module: it may share pages with others. */
CUresult mp_mirror_variable(struct mp_thread *t, struct mp_ctx *c, uint64_t address, uint64_t size);
/*
 * The mirror that begins at this address goes.  keep: its bytes stay where they are, in private
 * memory of the program; else the addresses become inaccessible.
 */
void mp_mirror_end(struct mp_thread *t, uint64_t host, bool keep);
void mp_mirror_ctx_gone(struct mp_thread *t, struct mp_ctx *c);

/* Copy of what is known of the mirror at an address; device: by its device address. */
bool mp_mirror_find(uint64_t p, struct mp_mirror *ret);
/* Change one under the lock. false: there is none. */
bool mp_mirror_change(uint64_t p, void (*fn)(struct mp_mirror *m, void *arg), void *arg);

/* ---- What the program wrote goes ahead ---- */

/* Everything that work on this stream may touch (NULL: everything). */
CUresult mp_mirror_flush(struct mp_thread *t, struct mp_stream *s);
/* The same, and it has landed when this returns: host functions. */
void mp_mirror_publish(struct mp_thread *t);
/* [p, p+n), device addresses, is about to be read (write: overwritten) by a copy. */
CUresult mp_mirror_copy(struct mp_thread *t, uint64_t p, uint64_t n, bool write);
/* Work has completed: what was fetched before may be old. Any thread, also the receiver. */
void mp_mirror_passed(void);
/* Every so often while work is under way: what the program changed meanwhile goes out. */
void mp_mirror_tend(struct mp_thread *t);
/* Bytes that the host has now, to be read by this library; NULL: the device may have newer ones. */
const void *mp_mirror_valid(uint64_t p, uint64_t n);
/* Values that point into pinned memory make a mirror of it. */
CUresult mp_mirror_params(struct mp_thread *t, const void *params, size_t n);

/* Before work that may touch any memory; the flag costs nothing while there are no mirrors. */
static inline CUresult mp_mirror_before(struct mp_thread *t, struct mp_stream *s)
{
	if (MP_LIKELY(!atomic_load_explicit(&mp_shim.hosted, memory_order_relaxed)))
		return CUDA_SUCCESS;
	return atomic_load_explicit(&s->capture, memory_order_relaxed) ? CUDA_SUCCESS
								       : mp_mirror_flush(t, s);
}

/* Before a launch, when there are mirrors or pinned memory at all. */
static inline CUresult mp_mirror_launch(struct mp_thread *t, struct mp_stream *s, const void *params,
					size_t n)
{
	CUresult r = mp_mirror_params(t, params, n);

	return r ? r : mp_mirror_before(t, s);
}

/* ---- mirror-fault.c ---- */

int mp_fault_init(void);
/* The handler is still ours; else it becomes so again, and chains to what is there. */
void mp_fault_check(void);
/* All of [p, p + n) is made readable; `mirrors` held, let go meanwhile. */
void mp_mirror_fetch_all(struct mp_thread *t, uint64_t p, uint64_t n);

/* ---- Inside: both files ---- */

extern pthread_mutex_t mp_mirrors;
extern pthread_cond_t mp_mirrors_idle;
struct mp_mirror *mp_mirror_at(uint64_t p); /* by host address */
struct mp_mirror *mp_mirror_nth(size_t i);  /* in the order of addresses */
size_t mp_mirror_place(uint64_t p);
void mp_mirror_host(struct mp_mirror *m, size_t pages);    /* so many more are hosted */
void mp_mirror_protect(struct mp_mirror *m, size_t from, size_t to, int prot);
/* A busy mirror's changed bytes of merge pages go out. */
CUresult mp_mirror_send(struct mp_thread *t, struct mp_mirror *m);
struct mp_stream *mp_mirror_stream(struct mp_thread *t, struct mp_ctx *c);
struct mp_twin **mp_mirror_twin(struct mp_mirror *m, size_t page);
extern uint64_t mp_mirror_epoch;

#endif
