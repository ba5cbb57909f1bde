/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor: applies records, in the order that docs/PROTOCOL.md section 4
 * asks for.
 *
 * A record whose predecessors are all applied and that is ready itself runs at
 * once, which is nearly always so and costs no look-up beyond its own ids.  Any
 * other is copied and parked; every object that it names remembers it, so that
 * later records find their predecessors by the ids they name.
 */
#include "worker/inside.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define DEPS_MAX 64

/* ---- Entering and leaving ---- */

static void drain(struct mp_worker *w);

static bool work_waits(struct mp_worker *w)
{
	return atomic_load(&w->loose) || w->run_first;
}

void mp_exec_enter(struct mp_worker *w)
{
	pthread_mutex_lock(&w->exec);
}

void mp_exec_leave(struct mp_worker *w)
{
	do {
		if (atomic_load(&w->kicked))
			atomic_store(&w->kicked, false);
		drain(w);
		pthread_mutex_unlock(&w->exec);
		/*
		 * Who made something loose meanwhile, or room in a stream, found the lock taken and
		 * left it to us.  Cleared before the work is looked at, asked for after the lock is
		 * free: test-wake.c tries every order, docs/LOCKS.md has the argument.
		 */
	} while ((atomic_load(&w->loose) || atomic_load(&w->kicked)) && !pthread_mutex_trylock(&w->exec));
}

void mp_exec_kick(struct mp_worker *w)
{
	/* Before the try: if it fails, the holder has yet to let go, and looks here after that. */
	atomic_store(&w->kicked, true);
	if (!pthread_mutex_trylock(&w->exec))
		mp_exec_leave(w);
}

void mp_exec_loose(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct mp_job *head = atomic_load(&w->loose);

	do
		job->next_loose = head;
	while (!atomic_compare_exchange_weak(&w->loose, &head, job));
	mp_exec_kick(w);
}

/* ---- Jobs ---- */

static struct mp_job *job_new(struct mp_worker *w)
{
	struct mp_job *job = calloc(1, sizeof(*job));

	if (job) {
		job->w = w;
		mp_arena_init(&job->scratch, MP_SCRATCH_CEILING);
	}
	return job;
}

static void job_free(struct mp_job *job)
{
	if (!job)
		return;
	mp_arena_fini(&job->scratch);
	free(job->own_rec);
	free(job->dependents);
	free(job);
}

const struct mp_drv *mp_job_drv(struct mp_job *job)
{
	return &job->w->drv;
}

CUresult mp_job_get(struct mp_job *job, enum mp_kind kind, uint32_t id, void **ret)
{
	struct object *o;

	*ret = NULL;
	if (!id)
		return CUDA_SUCCESS;
	if (kind == MP_KIND_node && id >> 31)
		return mp_node_server(job->w, id, ret);
	o = mp_object_find(job->w, kind, id);
	if (!o && kind == MP_KIND_function) /* CUDA lets a kernel pass for a function */
		o = mp_object_find(job->w, MP_KIND_kernel, id);
	if (!o || o->state == OBJECT_COMING) {
		mp_log(MP_LOG_ERROR, "worker", "unknown", "%s=%u state=%s", mp_kind_names[kind], id,
		       o ? "coming" : "none");
		job->violation = true;
		return CUDA_ERROR_INVALID_HANDLE;
	}
	if (o->state == OBJECT_FAILED)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = o->handle;
	return CUDA_SUCCESS;
}

CUresult mp_job_device(struct mp_job *job, int32_t device, CUdevice *ret)
{
	if (device < 0 || (unsigned)device >= job->w->devices) {
		job->violation = true;
		return CUDA_ERROR_INVALID_DEVICE;
	}
	*ret = job->w->device[device].handle;
	return CUDA_SUCCESS;
}

CUresult mp_job_bind(struct mp_job *job, enum mp_kind kind, uint32_t id, void *handle)
{
	struct object *o = mp_object_find(job->w, kind, id);

	if (!o)
		o = mp_object_make(job->w, kind, id);
	else if (o->state != OBJECT_COMING)
		o = NULL;
	if (!o) {
		job->violation = true;
		return CUDA_ERROR_INVALID_HANDLE;
	}
	o->state = OBJECT_LIVE;
	o->handle = handle;
	if (kind == MP_KIND_stream)
		return mp_stream_bind(job, o, id);
	return kind == MP_KIND_node ? mp_node_bind(job, o) : CUDA_SUCCESS;
}

void mp_job_unbind(struct mp_job *job, enum mp_kind kind, uint32_t id)
{
	if (kind == MP_KIND_stream)
		mp_stream_unbind(job->w, id);
	if (kind == MP_KIND_graph)
		mp_graph_sweep(job->w, id);
	mp_object_drop(job->w, kind, id);
}

void *mp_job_scratch(struct mp_job *job, size_t n)
{
	return mp_arena_alloc(&job->scratch, n ? n : 1);
}

uint8_t *mp_job_reply(struct mp_job *job, size_t n)
{
	/* A held job answers later, and not from its body. */
	if (job->held || job->later)
		return NULL;
	job->reply = mp_arena_alloc(&job->scratch, n);
	job->reply_n = job->reply ? n : 0;
	return job->reply;
}

/* ---- What a record names ---- */

static const uint8_t *payload(const struct mp_record *rec)
{
	return (const uint8_t *)(rec + 1);
}

static uint32_t id_at(const struct mp_record *rec, unsigned offset)
{
	uint32_t id;

	memcpy(&id, payload(rec) + offset, sizeof(id));
	return id;
}

/* Copies, memsets without a stream parameter: work of the context's legacy stream. */
static bool legacy_work(uint16_t call)
{
	return call >= MP_CALL_cuMemcpyHtoD_v2 && call <= MP_CALL_cuMemsetD2D32_v2;
}

static bool stream_work(const struct mp_call_info *info, const struct mp_record *rec, uint32_t *ret_id)
{
	if (info->stream_at != MP_NO_STREAM) {
		*ret_id = id_at(rec, info->stream_at);
		return true;
	}
	*ret_id = 0;
	return legacy_work(rec->call);
}

/* Touch what no handle names: they follow all parked records of their thread. */
static bool follows_thread(uint16_t call)
{
	switch (call) {
	case MP_CALL_cuMemMap:
	case MP_CALL_cuMemUnmap:
	case MP_CALL_cuMemSetAccess:
	case MP_CALL_cuMemRelease:
	case MP_CALL_cuCtxSetLimit:
	case MP_CALL_cuCtxEnablePeerAccess:
	case MP_CALL_cuCtxDisablePeerAccess:
	case MP_CALL_cuMipmappedArrayDestroy: /* what its levels' ids name */
		return true;
	default:
		return false;
	}
}

/* Ask for, or take, what a parked record of their thread is about to give back. */
static bool follows_process(uint16_t call)
{
	return call == MP_REC_mem_info || call == MP_REC_credit || call == MP_REC_map || call == MP_REC_context ||
	       call == MP_CALL_cuMemCreate;
}

/* End what a context or a module holds: they follow all parked records of their context. */
static bool follows_context(uint16_t call)
{
	return call == MP_REC_context_end || call == MP_REC_module_unload ||
	       call == MP_CALL_cuLibraryUnload || call == MP_CALL_cuModuleUnload;
}

/*
 * Where the last parked record that names an id is remembered.  It is the id's place and not the
 * object's: a record may end the object, or follow one that does, and must find what it left there.
 */
static struct mp_job **last_of(struct mp_worker *w, unsigned kind, uint32_t id)
{
	struct object *o = mp_object_slot(w, kind, id);

	return o ? &o->last : NULL;
}

/* Calls fn for the place of every object that the record names. */
static void each_named(struct mp_job *job, void (*fn)(struct mp_job *job, struct mp_job **last, void *arg),
		       void *arg)
{
	struct mp_worker *w = job->w;
	const struct mp_record *rec = job->rec;
	struct context *c = mp_context_find(w, rec->ctx);
	struct mp_job **last;
	uint32_t stream;
	unsigned i;

	for (i = 0; i < job->info->ids; i++) {
		const struct mp_id_slot *s = &job->info->id[i];

		if ((last = last_of(w, s->kind, id_at(rec, s->offset))))
			fn(job, last, arg);
		/* Functions and kernels share their ids, and a call takes either. */
		if (s->kind == MP_KIND_function && (last = last_of(w, MP_KIND_kernel, id_at(rec, s->offset))))
			fn(job, last, arg);
	}
	/* Modules and libraries are plain numbers in the engine's records, since either may be 0. */
	if (rec->call == MP_REC_module_load || rec->call == MP_REC_module_unload ||
	    rec->call == MP_REC_function) {
		if ((last = last_of(w, MP_KIND_module, id_at(rec, 0))))
			fn(job, last, arg);
		if ((last = last_of(w, MP_KIND_library, id_at(rec, 4))))
			fn(job, last, arg);
	}
	if (stream_work(job->info, rec, &stream) && !stream && c)
		fn(job, &c->legacy_last, arg);
}

struct deps {
	struct mp_job *job[DEPS_MAX];
	unsigned n;
	bool all; /* more than fit: depend on all that is parked */
};

static void add_dep(struct deps *d, const struct mp_job *job, struct mp_job *on)
{
	unsigned i;

	if (!on || on == job || on->finished)
		return;
	for (i = 0; i < d->n; i++)
		if (d->job[i] == on)
			return;
	if (d->n == DEPS_MAX)
		d->all = true;
	else
		d->job[d->n++] = on;
}

static void dep_named(struct mp_job *job, struct mp_job **last, void *arg)
{
	add_dep(arg, job, *last);
}

static void set_last(struct mp_job *job, struct mp_job **last, void *arg)
{
	*last = job;
}

static void clear_last(struct mp_job *job, struct mp_job **last, void *arg)
{
	if (*last == job)
		*last = NULL;
}

/* Streams that take turns with the legacy stream of their context. */
static void dep_legacy(struct mp_worker *w, struct mp_job *job, struct context *c, uint32_t id,
		       struct deps *d)
{
	struct stream *s;

	if (!id) {
		for (s = c->streams; s; s = s->next) {
			struct mp_job **last = s->blocking ? last_of(w, MP_KIND_stream, s->id) : NULL;

			if (last)
				add_dep(d, job, *last);
		}
	} else {
		s = mp_stream_find(w, c, id);
		if (!s || s->blocking)
			add_dep(d, job, c->legacy_last);
	}
}

static void find_deps(struct mp_job *job, struct deps *d)
{
	struct mp_worker *w = job->w;
	const struct mp_record *rec = job->rec;
	struct context *c = mp_context_find(w, rec->ctx);
	struct mp_job **last, *p;
	bool by_thread = follows_thread(rec->call), by_ctx = follows_context(rec->call), plain,
	     by_process = follows_process(rec->call);
	uint32_t stream;

	/* A fence never waits itself: what comes after it does. */
	if (rec->call == MP_REC_fence)
		return;
	add_dep(d, job, w->gate);
	if (job->info->order == MP_ORDER_NONE && !by_process && rec->call != MP_REC_watch && rec->call != MP_REC_function &&
	    rec->call != MP_REC_function_info)
		return;
	each_named(job, dep_named, d);
	if ((last = last_of(w, MP_KIND_context, rec->ctx)))
		add_dep(d, job, *last);
	plain = !stream_work(job->info, rec, &stream);
	if (c) {
		if (rec->call != MP_REC_watch)
			add_dep(d, job, c->fence_job);
		if (!plain)
			dep_legacy(w, job, c, stream, d);
	}
	if (!by_thread && !by_ctx && !w->parked_plain && !by_process)
		return;
	for (p = w->parked; p; p = p->next) {
		if (p == job)
			continue;
		if ((rec->call == MP_REC_map && p->rec->call == MP_REC_unmap) ||
		    (by_process && p->rec->thread == rec->thread && p->info->order == MP_ORDER_PROCESS) ||
		    (by_thread && p->rec->thread == rec->thread && p->info->order != MP_ORDER_NONE) ||
		    (by_ctx && (p->rec->ctx == rec->ctx || rec->call == MP_CALL_cuLibraryUnload)) ||
		    (!plain && p->rec->thread == rec->thread && follows_thread(p->rec->call)))
			add_dep(d, job, p);
	}
}

/* ---- Parking ---- */

static int depend(struct mp_job *job, struct mp_job *on)
{
	if (on->dependent_count == on->dependent_cap) {
		unsigned cap = on->dependent_cap ? on->dependent_cap * 2 : 4;
		struct mp_job **p = realloc(on->dependents, cap * sizeof(*p));

		if (!p)
			return -1;
		on->dependents = p;
		on->dependent_cap = cap;
	}
	on->dependents[on->dependent_count++] = job;
	job->deps++;
	return 0;
}

/* One that has come back in the client before it is done, and so must be a fence. */
static bool synchronous_copy(const struct mp_record *rec)
{
	return rec->call == MP_CALL_cuMemcpyHtoD_v2 && !(rec->flags & MP_REC_DONE);
}

static void coming(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	struct object *o = id ? mp_object_make(w, kind, id) : NULL;

	if (o)
		o->state = OBJECT_COMING;
}

/*
 * A small synchronous copy has returned in the client already and no FENCE follows it:
 * while it is parked, later records of its context are parked behind it.  It depends on
 * the fence that was there before, so the newest is enough.
 */
static void fence_by_itself(struct mp_job *job)
{
	struct context *c = mp_context_find(job->w, job->rec->ctx);

	if (c && synchronous_copy(job->rec) && !(job->rec->flags & MP_REC_BULK))
		c->fence_job = job;
}

/* Gives the job its own copy of the record and a place in the list; its objects remember it. */
static int job_list(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	uint32_t n = job->rec->length;
	unsigned i;

	if (job->listed)
		return 0;
	if (w->parked_bytes + n > MP_PARKED_CEILING)
		return -1;
	job->own_rec = aligned_alloc(8, n);
	if (!job->own_rec)
		return -1;
	memcpy(job->own_rec, job->rec, n);
	job->rec = job->own_rec;
	w->parked_bytes += n;
	job->listed = true;
	job->next = w->parked;
	job->prev = &w->parked;
	if (job->next)
		job->next->prev = &job->next;
	w->parked = job;
	if (w->current == job)
		w->current = NULL;
	for (i = 0; i < job->info->ids; i++) {
		const struct mp_id_slot *s = &job->info->id[i];

		if (s->flags & MP_ID_NEW)
			coming(w, s->kind, id_at(job->rec, s->offset));
	}
	if (job->rec->call == MP_REC_module_load) {
		coming(w, MP_KIND_module, id_at(job->rec, 0));
		coming(w, MP_KIND_library, id_at(job->rec, 4));
	} else if (job->rec->call == MP_REC_function) {
		coming(w, MP_KIND_function, id_at(job->rec, 8));
	} else if (job->rec->call == MP_REC_context) {
		coming(w, MP_KIND_context, id_at(job->rec, 0));
	}
	w->parked_plain += follows_thread(job->rec->call);
	each_named(job, set_last, NULL);
	fence_by_itself(job);
	return 0;
}

static void job_unlist(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct context *c;

	if (!job->listed)
		return;
	each_named(job, clear_last, NULL);
	c = mp_context_find(w, job->rec->ctx);
	if (c && c->fence_job == job)
		c->fence_job = NULL;
	w->parked_bytes -= job->rec->length;
	w->parked_plain -= follows_thread(job->rec->call);
	*job->prev = job->next;
	if (job->next)
		job->next->prev = job->prev;
	job->listed = false;
	if (w->gate == job)
		w->gate = NULL;
}

static void run_later(struct mp_worker *w, struct mp_job *job)
{
	job->next_run = NULL;
	*w->run_tail = job;
	w->run_tail = &job->next_run;
}

/* Those behind a job that is finished; the job goes when its caller is done with it. */
static void release(struct mp_job *job)
{
	unsigned i;

	job_unlist(job);
	job->finished = true;
	for (i = 0; i < job->dependent_count; i++) {
		struct mp_job *d = job->dependents[i];

		assert(d->deps);
		if (!--d->deps)
			run_later(job->w, d);
	}
	job->dependent_count = 0;
}

int mp_job_hold(struct mp_job *job, void (*resume)(struct mp_job *))
{
	assert(!job->held);
	if (job_list(job)) {
		job->violation = true;
		return -1;
	}
	job->held = true;
	job->resume = resume;
	return 0;
}

bool mp_exec_parked(struct mp_worker *w, uint64_t ticket)
{
	struct mp_job *p;

	for (p = w->parked; p; p = p->next)
		if (p->ticket == ticket)
			return true;
	return false;
}

/* The held job gets one more predecessor; resume() runs when it is finished. */
int mp_exec_depend_parked(struct mp_job *job, uint64_t ticket)
{
	struct mp_job *p;

	for (p = job->w->parked; p; p = p->next)
		if (p->ticket == ticket && p != job)
			return depend(job, p);
	return -1;
}

/* ---- Applying ---- */

/* In a broken context our own staging memory and events fail too: then what broke it is the answer. */
static CUresult cause(struct mp_job *job, CUresult result)
{
	struct mp_worker *w = job->w;
	CUresult e;

	if (MP_LIKELY(result != CUDA_ERROR_OUT_OF_MEMORY) || !job->ctx || !w->drv.cuStreamQuery ||
	    mp_context_current(w, job->ctx))
		return result;
	e = w->drv.cuStreamQuery(NULL);
	return e && e != CUDA_ERROR_NOT_READY && e < CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED ? e : result;
}

static void done_reply(struct mp_worker *w, struct wait *wt, CUresult status)
{
	mp_say_reply(w, wt->ticket, status, NULL, 0);
}

static void report(struct mp_job *job, CUresult result)
{
	struct mp_worker *w = job->w;

	result = cause(job, result);
	if (MP_UNLIKELY(job->rec->flags & MP_REC_DONE) && !result && job->stream &&
	    !mp_stream_capturing(w, job->stream)) {
		/* In one step with the operation: nothing else of its streams comes between. */
		mp_wait_add(w, job->ctx, &job->stream->q, job->stream->handle, done_reply, NULL, job->ticket, 0);
		return;
	}
	if (job->info->reply || (job->rec->flags & MP_REC_REPLY)) {
		mp_say_reply(w, job->ticket, result, job->reply, job->reply_n);
	} else if (result && (job->rec->call == MP_REC_mark || job->rec->call == MP_REC_watch)) {
		mp_say_failed(w, job->rec->call == MP_REC_mark ? MP_DONE_STREAM : MP_DONE_EVENT, job->ticket, result);
	} else if (result) {
		mp_say_error(w, job->ticket, job->rec->ctx, job->rec->call, result);
	}
}

/* Ids of objects that were to be created and are not: they may be named, and are errors. */
static void bury_one(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	struct object *o = mp_object_find(w, kind, id);

	if (!o)
		o = mp_object_make(w, kind, id);
	else if (o->state != OBJECT_COMING)
		return;
	if (o)
		o->state = OBJECT_FAILED;
}

void mp_job_bury(struct mp_job *job)
{
	const struct mp_record *rec = job->rec;
	unsigned i;

	for (i = 0; i < job->info->ids; i++)
		if (job->info->id[i].flags & MP_ID_NEW)
			bury_one(job->w, job->info->id[i].kind, id_at(rec, job->info->id[i].offset));
	if (rec->call == MP_REC_module_load) {
		bury_one(job->w, MP_KIND_module, id_at(rec, 0));
		bury_one(job->w, MP_KIND_library, id_at(rec, 4));
	} else if (rec->call == MP_REC_function) {
		bury_one(job->w, MP_KIND_function, id_at(rec, 8));
	} else if (rec->call == MP_REC_context) {
		bury_one(job->w, MP_KIND_context, id_at(rec, 0));
	}
}

void mp_job_finish(struct mp_job *job, CUresult result)
{
	assert(job->held && !job->finished);
	if (result)
		mp_job_bury(job);
	report(job, result);
	release(job);
}

void mp_job_finish_quiet(struct mp_job *job)
{
	assert(job->held && !job->finished);
	release(job);
}

/* Context and stream of the record, as they are now that its predecessors are applied. */
static CUresult resolve(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	uint32_t id;
	struct object *o;

	job->ctx = NULL;
	job->stream = NULL;
	if (job->rec->ctx) {
		o = mp_object_find(w, MP_KIND_context, job->rec->ctx);
		if (!o || o->state == OBJECT_COMING) {
			job->violation = true;
			return CUDA_ERROR_INVALID_CONTEXT;
		}
		if (o->state == OBJECT_FAILED)
			return CUDA_ERROR_INVALID_CONTEXT;
		job->ctx = o->own;
	}
	if (!stream_work(job->info, job->rec, &id))
		return CUDA_SUCCESS;
	if (!job->ctx) {
		job->violation = true;
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	job->stream = mp_stream_find(w, job->ctx, id);
	if (job->stream)
		return CUDA_SUCCESS;
	o = mp_object_find(w, MP_KIND_stream, id);
	if (!o || o->state != OBJECT_FAILED)
		job->violation = true;
	return CUDA_ERROR_INVALID_HANDLE;
}

/* Runs the body. -1: the session ends. The job is unlisted or held afterwards. */
static int run(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	CUresult e = resolve(job), ret = CUDA_SUCCESS;

	if (!e && job->ctx)
		e = mp_context_current(w, job->ctx);
	if (!e && job->stream) {
		if (MP_UNLIKELY(mp_stream_full(job->stream)) && !mp_stream_capturing(w, job->stream)) {
			if (job_list(job))
				return -1;
			job->deps = 1; /* the room; see credit() */
			job->resume = NULL;
			job->state = job->stream;
			atomic_store(&w->credit_wanted, true);
			/* A progress event may have passed between the question and the wish. */
			if (!mp_stream_full(job->stream)) {
				job->deps = 0;
				run_later(w, job);
			}
			return 0;
		}
		e = mp_stream_use(w, job->stream, synchronous_copy(job->rec));
	}
	if (MP_LIKELY(!e)) {
		if (MP_UNLIKELY(mp_job_dispatch(job, job->rec->call, payload(job->rec),
						job->rec->length - sizeof(*job->rec), &ret))) {
			w->why = "a record that cannot be decoded";
			return -1;
		}
		e = ret;
		if (job->stream)
			mp_stream_used(w, job->stream);
	}
	if (MP_UNLIKELY(job->violation)) {
		mp_log(MP_LOG_ERROR, "worker", "violation", "call=%s number=0x%x context=%u",
		       job->info ? job->info->name : "-", (unsigned)job->rec->call, (unsigned)job->rec->ctx);
		w->why = "a record that names what does not exist";
		return -1;
	}
	if (job->held)
		return 0;
	if (MP_UNLIKELY(e))
		mp_job_bury(job);
	if (e || !job->later)
		report(job, e);
	if (job->listed || job->dependent_count)
		release(job);
	return 0;
}

static void after(struct mp_job *job)
{
	if (job->finished)
		job_free(job);
}

/* Jobs that were parked for room in their stream. */
static void credit(struct mp_worker *w)
{
	struct mp_job *p;
	bool more = false;

	atomic_store(&w->credit_wanted, false);
	for (p = w->parked; p; p = p->next) {
		if (p->held || p->deps != 1 || !p->state || p->resume)
			continue;
		if (mp_stream_full(p->state)) {
			more = true;
			continue;
		}
		p->state = NULL;
		p->deps = 0;
		run_later(w, p);
	}
	if (more)
		atomic_store(&w->credit_wanted, true);
}

/*
 * While much is parked nothing is acknowledged: the client's ring fills up, and
 * it waits as it would for a full queue of its device.
 */
static void acknowledge(struct mp_worker *w)
{
	if (MP_UNLIKELY(w->parked_bytes > MP_PARKED_ENOUGH))
		return;
	if (w->out[0])
		mp_outlet_ack(w->out[0], w->applied);
	if (MP_UNLIKELY(w->applied - w->acked >= 64u << 10)) {
		w->acked = w->applied;
		mp_say(w, MP_FRAME_ACK, 0, 0, NULL, 0);
	}
}

static void drain(struct mp_worker *w)
{
	if (MP_UNLIKELY(atomic_load_explicit(&w->credit_wanted, memory_order_relaxed)))
		credit(w);
	while (work_waits(w)) {
		struct mp_job *list = atomic_exchange(&w->loose, NULL), *job, *fifo = NULL;

		while ((job = list)) { /* the list is last in, first out */
			list = job->next_loose;
			job->next_loose = fifo;
			fifo = job;
		}
		while ((job = fifo)) {
			fifo = job->next_loose;
			if (job->ctx)
				(void)mp_context_current(w, job->ctx);
			job->resume(job);
			after(job);
		}
		while ((job = w->run_first)) {
			w->run_first = job->next_run;
			if (!w->run_first)
				w->run_tail = &w->run_first;
			if (job->held) { /* a held one that waited for others */
				job->resume(job);
			} else if (run(job)) {
				mp_end(w, MP_WORKER_EXIT_PROTOCOL, w->why);
				return;
			} else if (!job->held && !job->listed) {
				job->finished = true;
			}
			after(job);
		}
		acknowledge(w);
	}
}

static void job_reset(struct mp_job *job, const struct mp_record *rec, uint64_t ticket)
{
	if (MP_UNLIKELY(job->scratch.blocks != NULL)) {
		mp_arena_fini(&job->scratch);
		mp_arena_init(&job->scratch, MP_SCRATCH_CEILING);
	}
	job->rec = rec;
	job->ticket = ticket;
	job->reply = NULL;
	job->reply_n = 0;
	job->state = NULL;
	job->later = false;
	job->load = NULL;
	job->box = NULL;
	job->captured = NULL;
}

/* Parks the job behind what it found, or runs it. */
static int apply(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct deps d = {.n = 0};
	unsigned i;

	if (MP_LIKELY(!w->parked))
		return run(job);
	find_deps(job, &d);
	if (d.all) {
		struct mp_job *p;

		if (job_list(job))
			return -1;
		for (p = w->parked; p; p = p->next)
			if (p != job && depend(job, p))
				return -1;
		return 0;
	}
	if (!d.n)
		return run(job);
	if (job_list(job))
		return -1;
	for (i = 0; i < d.n; i++)
		if (depend(job, d.job[i]))
			return -1;
	/* Memory that is not there yet is named by nothing. */
	if (job->rec->call == MP_REC_map)
		w->gate = job;
	return 0;
}

int mp_exec_record(struct mp_worker *w, const struct mp_record *rec, uint64_t ticket)
{
	const struct mp_call_info *info = mp_call_find(rec->call);
	uint32_t length = rec->length;
	struct mp_job *job;

	if (MP_UNLIKELY(!info || (info->class != MP_CLASS_CARRIED && info->class != MP_CLASS_RECORD) ||
			rec->length - sizeof(*rec) < info->fixed || rec->call == MP_REC_host_done)) {
		w->why = "a record with an unknown number or too few bytes";
		return -1;
	}
	if (MP_UNLIKELY(atomic_load_explicit(&w->loose, memory_order_relaxed) != NULL ||
			atomic_load_explicit(&w->credit_wanted, memory_order_relaxed)))
		drain(w);
	if (!w->current && !(w->current = job_new(w))) {
		w->why = "out of memory";
		return -1;
	}
	job = w->current;
	job_reset(job, rec, ticket);
	job->info = info;
	w->records++;
	if (MP_UNLIKELY(apply(job))) {
		if (!w->why)
			w->why = "too much is parked";
		return -1;
	}
	w->applied = ticket + length;
	acknowledge(w);
	return 0;
}

int mp_exec_control(struct mp_worker *w, const struct mp_record *rec)
{
	struct mp_msg_host_done m;
	struct mp_msg_credit c;

	if (rec->call == MP_REC_credit && !rec->flags && !mp_get_credit(payload(rec), rec->length - sizeof(*rec), &c) &&
	    !mp_credit_control(w, &c))
		return 0;
	if (rec->call != MP_REC_host_done || rec->flags ||
	    mp_get_host_done(payload(rec), rec->length - sizeof(*rec), &m)) {
		w->why = "a control record that is none";
		return -1;
	}
	mp_host_done(w, m.serial);
	return 0;
}

CUresult mp_do_bye(struct mp_job *job, const struct mp_msg_bye *m)
{
	job->w->bye = true;
	return CUDA_SUCCESS;
}

void mp_exec_fini(struct mp_worker *w)
{
	struct mp_job *p, *next;

	for (p = w->parked; p; p = next) {
		next = p->next;
		job_free(p);
	}
	job_free(w->current);
	w->parked = w->current = NULL;
}
