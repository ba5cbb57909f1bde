/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream capture: who may do what is judged here; the server captures relaxed
 * and builds the graph from the same records that would have run.
 *
 * A capture has the stream it began in and all streams that waited for one of
 * its events.  An unsafe call of a thread that the capture's mode forbids
 * answers 900 and makes the capture invalid; ending it then answers 901.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mp_capture *captures MP_GUARDED_BY(lock);
static uint64_t ids MP_GUARDED_BY(lock);

static struct mp_capture *find(uint64_t id)
{
	struct mp_capture *c;

	for (c = captures; c && c->id != id; c = c->next)
		;
	return c;
}

static void join(struct mp_stream *s, struct mp_capture *c)
{
	atomic_store(&s->capture, c);
	c->refs++;
	if (!(s->flags & CU_STREAM_NON_BLOCKING))
		atomic_fetch_add(&s->ctx->blocking_captures, 1);
	atomic_fetch_add(&s->ctx->captures, 1);
}

static void leave(struct mp_stream *s)
{
	atomic_store(&s->capture, NULL);
	if (!(s->flags & CU_STREAM_NON_BLOCKING))
		atomic_fetch_sub(&s->ctx->blocking_captures, 1);
	atomic_fetch_sub(&s->ctx->captures, 1);
}

void mp_capture_join(struct mp_stream *s, uint64_t id)
{
	struct mp_capture *c;

	pthread_mutex_lock(&lock);
	c = find(id);
	if (c && !atomic_load(&s->capture) && !s->legacy && s->ctx == c->origin->ctx)
		join(s, c);
	pthread_mutex_unlock(&lock);
}

void mp_capture_host(struct mp_stream *s)
{
	struct mp_capture *c = atomic_load(&s->capture);

	if (c)
		c->host = true;
}

CUresult mp_capture_unsafe(struct mp_thread *t)
{
	struct mp_capture *c;
	bool harm = false;

	if (t->capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	pthread_mutex_lock(&lock);
	for (c = captures; c; c = c->next) {
		bool own = c->thread == t && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		bool any = c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
			   t->capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;

		if (own || any) {
			c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
			harm = true;
		}
	}
	pthread_mutex_unlock(&lock);
	return harm ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult mp_capture_refuse(struct mp_stream *s)
{
	struct mp_capture *c;

	pthread_mutex_lock(&lock);
	c = atomic_load(&s->capture);
	if (c)
		c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
	pthread_mutex_unlock(&lock);
	return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult mp_capture_check(struct mp_thread *t, struct mp_stream *s)
{
	struct mp_capture *c;
	CUresult r = CUDA_SUCCESS;

	pthread_mutex_lock(&lock);
	c = atomic_load(&s->capture);
	if (c && c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED) {
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	} else if (!c && s->legacy && atomic_load(&s->ctx->blocking_captures)) {
		/* The legacy stream would have to wait for a stream that does not run. */
		for (c = captures; c; c = c->next)
			if (c->origin->ctx == s->ctx && !(c->origin->flags & CU_STREAM_NON_BLOCKING))
				c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
		r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

/* ---- Begin and end ---- */

static CUresult stream_for(enum mp_call call, CUstream h, struct mp_thread **t, struct mp_stream **s)
{
	CUresult r = mp_enter(call, t);

	return r ? r : mp_stream_get(*t, h, s);
}

static CUresult begin_check(struct mp_stream *s, CUstreamCaptureMode mode)
{
	if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	if (s->legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return atomic_load(&s->capture) ? CUDA_ERROR_ILLEGAL_STATE : CUDA_SUCCESS;
}

static CUresult begin_note(struct mp_thread *t, struct mp_stream *s, CUstreamCaptureMode mode,
			   uint32_t to_graph)
{
	struct mp_capture *c = calloc(1, sizeof(*c));

	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->origin = s;
	c->mode = mode;
	c->thread = t;
	c->status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
	c->to_graph = to_graph;
	pthread_mutex_lock(&lock);
	c->id = ++ids;
	c->next = captures;
	captures = c;
	join(s, c);
	pthread_mutex_unlock(&lock);
	if (mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		t->captures++;
	if (mode == CU_STREAM_CAPTURE_MODE_GLOBAL)
		atomic_fetch_add(&mp_shim.global_captures, 1);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamBeginCapture_v2(CUstream h, CUstreamCaptureMode mode)
{
	struct mp_msg_cuStreamBeginCapture_v2 m = {.mode = CU_STREAM_CAPTURE_MODE_RELAXED};
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = stream_for(MP_CALL_cuStreamBeginCapture_v2, h, &t, &s);

	if (!r)
		r = begin_check(s, mode);
	if (r)
		return r;
	m.hStream = s->head.id;
	r = MP_SEND(&o, t, MP_CALL_cuStreamBeginCapture_v2, cuStreamBeginCapture_v2, &m,
		    s->ctx->head.id);
	return r ? r : begin_note(t, s, mode, 0);
}

CUresult mp_shim_cuStreamBeginCapture(CUstream h)
{
	return mp_shim_cuStreamBeginCapture_v2(h, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult mp_shim_cuStreamBeginCaptureToGraph(CUstream h, CUgraph graph, const CUgraphNode *deps,
					     const CUgraphEdgeData *data, size_t n,
					     CUstreamCaptureMode mode)
{
	struct mp_msg_cuStreamBeginCaptureToGraph m = {.mode = CU_STREAM_CAPTURE_MODE_RELAXED};
	struct mp_graph *g = mp_graph_get(graph);
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	CUresult r = stream_for(MP_CALL_cuStreamBeginCaptureToGraph, h, &t, &s);

	if (!r)
		r = begin_check(s, mode);
	if (r)
		return r;
	if (!g)
		return CUDA_ERROR_INVALID_VALUE;
	if (data)
		return mp_refused(MP_CALL_cuStreamBeginCaptureToGraph);
	r = mp_nodes_ids(t, g, deps, n, &m.dependencies);
	if (r)
		return r;
	m.hStream = s->head.id;
	m.hGraph = g->head.id;
	m.numDependencies = n;
	r = MP_SEND(&o, t, MP_CALL_cuStreamBeginCaptureToGraph, cuStreamBeginCaptureToGraph, &m,
		    s->ctx->head.id);
	return r ? r : begin_note(t, s, mode, g->head.id);
}

CUresult mp_shim_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	struct mp_thread *t;
	CUstreamCaptureMode old;
	CUresult r = mp_enter_init(MP_CALL_cuThreadExchangeStreamCaptureMode, &t);

	if (r)
		return r;
	if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	old = t->capture_mode;
	t->capture_mode = *mode;
	*mode = old;
	return CUDA_SUCCESS;
}

void mp_capture_stream_gone(struct mp_stream *s)
{
	struct mp_capture *c;

	pthread_mutex_lock(&lock);
	c = atomic_load(&s->capture);
	if (c && c->origin == s)
		c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
	else if (c)
		leave(s);
	pthread_mutex_unlock(&lock);
}

/* Every stream of the capture is itself again. */
static bool end_note(struct mp_capture *c, struct mp_stream *origin)
{
	struct mp_capture **p;
	struct mp_stream *s;
	bool invalid;

	pthread_mutex_lock(&mp_objects);
	pthread_mutex_lock(&lock);
	invalid = c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED;
	for (s = origin->ctx->streams; s; s = s->next)
		if (atomic_load(&s->capture) == c)
			leave(s);
	for (p = &captures; *p != c; p = &(*p)->next)
		assert(*p);
	*p = c->next;
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&mp_objects);
	if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		c->thread->captures--;
	if (c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL)
		atomic_fetch_sub(&mp_shim.global_captures, 1);
	free(c->own_deps);
	free(c);
	return invalid;
}

CUresult mp_shim_cuStreamEndCapture(CUstream h, CUgraph *ret)
{
	struct mp_msg_cuStreamEndCapture m;
	struct mp_capture *c;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_answer a;
	struct mp_graph *g;
	struct mp_out o;
	struct mp_block_use *uses;
	struct mp_graph *asked;
	bool invalid, host;
	uint32_t into;
	CUresult r = stream_for(MP_CALL_cuStreamEndCapture, h, &t, &s);

	if (r)
		return r;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = NULL;
	c = atomic_load(&s->capture);
	if (!c)
		return CUDA_ERROR_ILLEGAL_STATE;
	if (c->origin != s)
		return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
	if (c->thread != t && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
	into = c->to_graph;
	asked = c->asked;
	g = into ? mp_slot_by_id(MP_KIND_graph, into) : asked ? asked : mp_graph_new();
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m.hStream = s->head.id;
	m.phGraph = g->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuStreamEndCapture, cuStreamEndCapture, &m, s->ctx->head.id);
	if (!r) {
		r = mp_out_ask(&o, &a);
		free(a.own_data);
	}
	host = c->host;
	uses = c->blocks;
	c->blocks = NULL;
	invalid = end_note(c, s);
	if (!r && invalid) {
		/* The server does not know that it was spoilt: what it built goes away. */
		if (!into)
			mp_graph_destroy_quiet(t, g);
		mp_blocks_drop(&uses, NULL);
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	}
	if (r) {
		mp_blocks_drop(&uses, NULL);
		if (asked)
			mp_graph_gone(asked);
		else if (!into)
			mp_slot_waste(g);
		return invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : r;
	}
	g->host |= host;
	(void)mp_blocks_copy(&g->blocks, &uses);
	mp_blocks_drop(&uses, NULL);
	*ret = (CUgraph)g;
	return CUDA_SUCCESS;
}

/* ---- Questions ---- */

static CUresult info(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id,
		     struct mp_stream **ret)
{
	struct mp_capture *c;
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = stream_for(MP_CALL_cuStreamGetCaptureInfo, h, &t, &s);

	if (r)
		return r;
	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = s;
	if (!atomic_load(&s->ctx->captures)) {
		*status = CU_STREAM_CAPTURE_STATUS_NONE;
		return CUDA_SUCCESS;
	}
	pthread_mutex_lock(&lock);
	c = atomic_load(&s->capture);
	*status = c ? c->status : CU_STREAM_CAPTURE_STATUS_NONE;
	if (c && id)
		*id = c->id;
	/* Asking the legacy stream while a blocking one captures is itself an error. */
	if (!c && s->legacy && atomic_load(&s->ctx->blocking_captures))
		r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult mp_shim_cuStreamIsCapturing(CUstream h, CUstreamCaptureStatus *status)
{
	struct mp_stream *s;

	return info(h, status, NULL, &s);
}

CUresult mp_shim_cuStreamGetCaptureInfo(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id)
{
	struct mp_stream *s;

	return info(h, status, id, &s);
}

/* The server knows what has been captured. Answers are asked for one at a time of a capture. */
static CUresult info_ask(struct mp_thread *t, struct mp_stream *s, struct mp_capture *c,
			 struct mp_graph **ret_graph, size_t *ret_n)
{
	struct mp_msg_cuStreamGetCaptureInfo_v3 m = {.hStream = s->head.id};
	struct mp_rep_cuStreamGetCaptureInfo_v3 reply;
	struct mp_graph *g = c->to_graph ? mp_slot_by_id(MP_KIND_graph, c->to_graph) : c->asked;
	struct mp_answer a;
	struct mp_out o;
	CUgraphNode *deps = NULL;
	uint32_t i;
	CUresult r;

	if (g)
		m.known = g->head.id;
	else if ((g = mp_graph_new()))
		m.phGraph = g->head.id;
	else
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = MP_PUT(&o, t, MP_CALL_cuStreamGetCaptureInfo_v3, cuStreamGetCaptureInfo_v3, &m,
		   s->ctx->head.id);
	if (r)
		return r;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_cuStreamGetCaptureInfo_v3(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	if (!r && !(deps = malloc((reply.dependencies_count + 1) * sizeof(*deps))))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (r) {
		free(a.own_data);
		if (!m.known)
			mp_slot_waste(g);
		return r;
	}
	for (i = 0; i < reply.dependencies_count; i++)
		deps[i] = (CUgraphNode)mp_node_named(g, reply.dependencies[i]);
	*ret_n = reply.dependencies_count;
	free(a.own_data);
	free(c->own_deps);
	c->own_deps = deps;
	if (!c->to_graph)
		c->asked = g;
	*ret_graph = g;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamGetCaptureInfo_v3(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id,
					   CUgraph *graph, const CUgraphNode **deps,
					   const CUgraphEdgeData **edges, size_t *n)
{
	static const CUgraphEdgeData plain[256]; /* whole dependencies; captures with more say NULL */
	struct mp_stream *s;
	struct mp_graph *g;
	struct mp_capture *c;
	size_t count;
	CUresult r = info(h, status, id, &s);

	if (r || *status != CU_STREAM_CAPTURE_STATUS_ACTIVE || (!graph && !deps && !n && !edges))
		return r;
	c = atomic_load(&s->capture);
	r = c ? info_ask(mp_thread_get(), s, c, &g, &count) : CUDA_ERROR_ILLEGAL_STATE;
	if (r)
		return r;
	if (graph)
		*graph = (CUgraph)g;
	if (deps)
		*deps = c->own_deps;
	if (edges)
		*edges = count <= MP_ARRAY_LEN(plain) ? plain : NULL;
	if (n)
		*n = count;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuStreamUpdateCaptureDependencies_v2(CUstream h, CUgraphNode *deps,
						      const CUgraphEdgeData *data, size_t n,
						      unsigned int flags)
{
	struct mp_msg_cuStreamUpdateCaptureDependencies_v2 m = {.numDependencies = n, .flags = flags};
	struct mp_capture *c;
	struct mp_graph *g;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	size_t i;
	CUresult r = stream_for(MP_CALL_cuStreamUpdateCaptureDependencies_v2, h, &t, &s);

	if (r)
		return r;
	if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (n && !deps))
		return CUDA_ERROR_INVALID_VALUE;
	c = atomic_load(&s->capture);
	if (!c)
		return CUDA_ERROR_ILLEGAL_STATE;
	if (c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	for (i = 0; data && i < n; i++)
		if (data[i].from_port || data[i].to_port || data[i].type)
			return mp_refused(MP_CALL_cuStreamUpdateCaptureDependencies_v2);
	g = c->to_graph ? mp_slot_by_id(MP_KIND_graph, c->to_graph) : c->asked;
	if (n && !g) /* no node of this capture can be known */
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_nodes_ids(t, g, deps, n, &m.dependencies);
	if (r)
		return r;
	m.hStream = s->head.id;
	return MP_SEND(&o, t, MP_CALL_cuStreamUpdateCaptureDependencies_v2,
		       cuStreamUpdateCaptureDependencies_v2, &m, s->ctx->head.id);
}

CUresult mp_shim_cuStreamUpdateCaptureDependencies(CUstream h, CUgraphNode *deps, size_t n,
						   unsigned int flags)
{
	return mp_shim_cuStreamUpdateCaptureDependencies_v2(h, deps, NULL, n, flags);
}

CUresult mp_shim_cuStreamGetCaptureInfo_v2(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id,
					   CUgraph *graph, const CUgraphNode **deps, size_t *n)
{
	return mp_shim_cuStreamGetCaptureInfo_v3(h, status, id, graph, deps, NULL, n);
}
