/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures: streams whose work becomes nodes of a graph.
 *
 * A stream in a capture keeps the nodes that its next work will follow.  Other
 * streams join by waiting on an event that was recorded in the capture.  What
 * a capture forbids is answered at once and makes the capture invalid, with
 * the codes 900 to 908.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

struct mp_capture {
	uint64_t id;
	CUstreamCaptureMode mode;
	pthread_t thread;
	bool invalid, into; /* into: the program's own graph */
	struct CUgraph_st *graph;
	struct CUstream_st *origin;
	struct CUstream_st **streams; /* all that are in it */
	size_t nstreams, cap_streams;
	struct CUgraphNode_st **lost; /* last nodes of streams that were destroyed meanwhile */
	size_t nlost;
	struct mp_capture *next;
};

_Atomic unsigned mp_captures_active;
static struct mp_capture *captures MP_GUARDED_BY(graph);
static uint64_t next_id = 1;
static __thread CUstreamCaptureMode thread_mode;

bool mp_stream_capturing(struct CUstream_st *s)
{
	return mp_captures_active && __atomic_load_n(&s->capture, __ATOMIC_ACQUIRE);
}

/* ---- Joining and leaving. Graph lock held. ---- */

static CUresult deps_set(struct CUstream_st *s, struct CUgraphNode_st *const *nodes, size_t n)
{
	struct CUgraphNode_st **p = malloc((n + 1) * sizeof(*p));

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (n)
		memcpy(p, nodes, n * sizeof(*p));
	free(s->capture_deps);
	s->capture_deps = p;
	s->ncapture_deps = n;
	return CUDA_SUCCESS;
}

static CUresult deps_add(struct CUstream_st *s, struct CUgraphNode_st *const *nodes, size_t n)
{
	struct CUgraphNode_st **p = realloc(s->capture_deps,
					    (s->ncapture_deps + n + 1) * sizeof(*p));
	size_t i, j;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->capture_deps = p;
	for (i = 0; i < n; i++) {
		for (j = 0; j < s->ncapture_deps && p[j] != nodes[i]; j++)
			;
		if (j == s->ncapture_deps)
			p[s->ncapture_deps++] = nodes[i];
	}
	return CUDA_SUCCESS;
}

static CUresult join(struct mp_capture *c, struct CUstream_st *s)
{
	if (c->nstreams == c->cap_streams) {
		size_t cap = c->cap_streams ? c->cap_streams * 2 : 8;
		struct CUstream_st **p = realloc(c->streams, cap * sizeof(*p));

		if (!p)
			return CUDA_ERROR_OUT_OF_MEMORY;
		c->streams = p;
		c->cap_streams = cap;
	}
	c->streams[c->nstreams++] = s;
	if (!(s->flags & CU_STREAM_NON_BLOCKING))
		s->ctx->captures++;
	__atomic_store_n(&s->capture, c, __ATOMIC_RELEASE);
	return CUDA_SUCCESS;
}

static void leave(struct CUstream_st *s)
{
	if (!(s->flags & CU_STREAM_NON_BLOCKING))
		s->ctx->captures--;
	__atomic_store_n(&s->capture, NULL, __ATOMIC_RELEASE);
	free(s->capture_deps);
	s->capture_deps = NULL;
	s->ncapture_deps = 0;
}

static void capture_free(struct mp_capture *c)
{
	struct mp_capture **at = &captures;

	while (c->nstreams)
		leave(c->streams[--c->nstreams]);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	mp_captures_active--;
	free(c->streams);
	free(c->lost);
	free(c);
}

/* A stream may go during a capture; what it captured must be joined all the same. */
static bool lose(struct mp_capture *c, struct CUstream_st *s)
{
	struct CUgraphNode_st **p = realloc(c->lost,
					    (c->nlost + s->ncapture_deps + 1) * sizeof(*p));

	if (!p)
		return false;
	c->lost = p;
	if (s->ncapture_deps)
		memcpy(p + c->nlost, s->capture_deps, s->ncapture_deps * sizeof(*p));
	c->nlost += s->ncapture_deps;
	return true;
}

static struct mp_capture *capture_find(uint64_t id)
{
	struct mp_capture *c;

	for (c = captures; c && c->id != id; c = c->next)
		;
	return c;
}

void mp_capture_stream_gone(struct CUstream_st *s)
{
	struct mp_capture *c;
	size_t i;

	if (!mp_stream_capturing(s))
		return;
	mp_graph_lock();
	c = s->capture;
	if (c && c->origin == s) {
		/* Nobody can end it any more. */
		if (!c->into)
			mp_graph_free(c->graph);
		capture_free(c);
	} else if (c) {
		c->invalid |= !lose(c, s);
		for (i = 0; c->streams[i] != s; i++)
			;
		c->streams[i] = c->streams[--c->nstreams];
		leave(s);
	}
	mp_graph_unlock();
}

/* ---- What is forbidden ---- */

CUresult mp_capture_unsafe(void)
{
	struct mp_capture *c;
	CUresult r = CUDA_SUCCESS;

	if (MP_LIKELY(!mp_captures_active) || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	mp_graph_lock();
	for (c = captures; c; c = c->next) {
		bool mine = pthread_equal(c->thread, pthread_self());

		if (c->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
			continue;
		if (!mine && (thread_mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ||
			      c->mode != CU_STREAM_CAPTURE_MODE_GLOBAL))
			continue;
		c->invalid = true;
		r = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	}
	mp_graph_unlock();
	return r;
}

CUresult mp_capture_implicit(struct CUctx_st *ctx)
{
	struct mp_capture *c;
	CUresult r = CUDA_SUCCESS;
	size_t i;

	mp_graph_lock();
	for (c = captures; c; c = c->next) {
		for (i = 0; i < c->nstreams; i++) {
			if (c->streams[i]->ctx != ctx ||
			    c->streams[i]->flags & CU_STREAM_NON_BLOCKING)
				continue;
			c->invalid = true;
			r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
		}
	}
	mp_graph_unlock();
	return r;
}

CUresult mp_capture_forbid(struct CUstream_st *s)
{
	CUresult r = CUDA_SUCCESS;

	if (MP_LIKELY(!mp_captures_active))
		return CUDA_SUCCESS;
	if (s->legacy)
		return s->ctx->captures ? mp_capture_implicit(s->ctx) : CUDA_SUCCESS;
	mp_graph_lock();
	if (s->capture) {
		r = s->capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
					: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
		s->capture->invalid = true;
	}
	mp_graph_unlock();
	return r;
}

CUresult mp_capture_event_forbid(struct CUevent_st *e)
{
	struct mp_capture *c;

	if (MP_LIKELY(!mp_captures_active || !e->capture_id))
		return CUDA_SUCCESS;
	mp_graph_lock();
	c = capture_find(e->capture_id);
	if (c)
		c->invalid = true;
	mp_graph_unlock();
	return c ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
}

/* ---- What is captured ---- */

int mp_capture_work(struct CUstream_st *s, struct mp_work *own_work)
{
	struct CUgraphNode_st *n;
	struct mp_capture *c;
	int r = 1;

	if (MP_LIKELY(!mp_captures_active))
		return 0;
	if (s->legacy) {
		CUresult e = s->ctx->captures ? mp_capture_implicit(s->ctx) : CUDA_SUCCESS;

		if (e)
			mp_work_fini(own_work);
		return -(int)e;
	}
	mp_graph_lock();
	c = s->capture;
	if (!c) {
		r = 0;
	} else if (c->invalid) {
		r = -CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	} else {
		n = mp_graph_add(c->graph, own_work, s->capture_deps, s->ncapture_deps);
		if (!n || deps_set(s, &n, 1)) {
			c->invalid = true;
			r = -CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	if (r < 0)
		mp_work_fini(own_work);
	mp_graph_unlock();
	return r;
}

CUresult mp_capture_record(struct CUstream_st *s, struct CUevent_st *e, bool *ret_captured)
{
	struct CUgraphNode_st **nodes;
	struct mp_capture *c;
	CUresult r = CUDA_SUCCESS;

	mp_graph_lock();
	c = s->capture;
	*ret_captured = c != NULL;
	if (!c)
		goto out;
	if (c->invalid) {
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
		goto out;
	}
	nodes = malloc((s->ncapture_deps + 1) * sizeof(*nodes));
	if (!nodes) {
		r = CUDA_ERROR_OUT_OF_MEMORY;
		goto out;
	}
	memcpy(nodes, s->capture_deps, s->ncapture_deps * sizeof(*nodes));
	free(e->nodes);
	e->nodes = nodes;
	e->nnodes = s->ncapture_deps;
	e->capture_id = c->id;
out:
	mp_graph_unlock();
	return r;
}

CUresult mp_capture_wait(struct CUstream_st *s, struct CUevent_st *e, bool *ret_captured)
{
	struct mp_capture *mine, *theirs;
	CUresult r = CUDA_SUCCESS;

	mp_graph_lock();
	mine = s->capture;
	theirs = e->capture_id ? capture_find(e->capture_id) : NULL;
	*ret_captured = mine || theirs;
	if ((mine && mine->invalid) || (theirs && theirs->invalid)) {
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	} else if (mine && theirs && mine != theirs) {
		mine->invalid = theirs->invalid = true;
		r = CUDA_ERROR_STREAM_CAPTURE_MERGE;
	} else if (mine && theirs) {
		r = deps_add(s, e->nodes, e->nnodes);
	} else if (mine) {
		/* An event of outside; one that was never recorded asks for nothing. */
		if (e->op) {
			mine->invalid = true;
			r = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
		}
	} else if (theirs && s->legacy) {
		theirs->invalid = true;
		r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	} else if (theirs) {
		r = deps_set(s, e->nodes, e->nnodes);
		if (!r)
			r = join(theirs, s);
	}
	mp_graph_unlock();
	return r;
}

/* ---- Beginning and ending ---- */

static CUresult begin(CUstream h, CUstreamCaptureMode mode, CUgraph into,
		      const CUgraphNode *deps, size_t ndeps)
{
	struct CUstream_st *s;
	struct mp_capture *c;
	CUresult r;
	MP_ENTER(ctx);

	if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, h, &s);
	if (r)
		return r;
	if (s->legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_graph_lock();
	if (s->capture) {
		r = CUDA_ERROR_ILLEGAL_STATE;
	} else {
		c->mode = mode;
		c->thread = pthread_self();
		c->origin = s;
		c->into = into != NULL;
		c->graph = into ? into : mp_graph_new();
		r = c->graph ? deps_set(s, deps, ndeps) : CUDA_ERROR_OUT_OF_MEMORY;
		if (!r)
			r = join(c, s);
	}
	if (r) {
		if (!into)
			mp_graph_free(c->graph);
		free(c->streams);
		free(c);
	} else {
		c->id = next_id++;
		c->next = captures;
		captures = c;
		mp_captures_active++;
	}
	mp_graph_unlock();
	return r;
}

CUresult cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode)
{
	return begin(hStream, mode, NULL, NULL, 0);
}

CUresult cuStreamBeginCapture(CUstream hStream)
{
	return begin(hStream, CU_STREAM_CAPTURE_MODE_GLOBAL, NULL, NULL, 0);
}

CUresult cuStreamBeginCaptureToGraph(CUstream hStream, CUgraph hGraph,
				     const CUgraphNode *dependencies,
				     const CUgraphEdgeData *dependencyData, size_t numDependencies,
				     CUstreamCaptureMode mode)
{
	size_t i;
	CUresult r = mp_soft_ready();

	(void)dependencyData;
	if (r)
		return r;
	if (!mp_handle_live(MP_GRAPH, hGraph) || (numDependencies && !dependencies))
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < numDependencies; i++)
		if (!mp_handle_live(MP_NODE, dependencies[i]) || dependencies[i]->graph != hGraph)
			return CUDA_ERROR_INVALID_VALUE;
	return begin(hStream, mode, hGraph, dependencies, numDependencies);
}

static void mark_before(struct CUgraphNode_st *const *nodes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (nodes[i]->mark)
			continue;
		nodes[i]->mark = 1;
		mark_before(nodes[i]->deps, nodes[i]->ndeps);
	}
}

/* Does the origin stream follow everything the other streams captured? */
static bool joined(struct mp_capture *c)
{
	struct CUgraphNode_st *n;
	size_t i, j;

	for (n = c->graph->first; n; n = n->next)
		n->mark = 0;
	mark_before(c->origin->capture_deps, c->origin->ncapture_deps);
	for (i = 0; i < c->nstreams; i++)
		for (j = 0; j < c->streams[i]->ncapture_deps; j++)
			if (!c->streams[i]->capture_deps[j]->mark)
				return false;
	for (i = 0; i < c->nlost; i++)
		if (!c->lost[i]->mark)
			return false;
	return true;
}

CUresult cuStreamEndCapture(CUstream hStream, CUgraph *phGraph)
{
	struct CUstream_st *s;
	struct mp_capture *c;
	CUresult r;
	MP_ENTER(ctx);

	if (!phGraph)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	mp_graph_lock();
	c = s->capture;
	if (!c) {
		r = CUDA_ERROR_ILLEGAL_STATE;
	} else if (c->origin != s) {
		c->invalid = true;
		r = CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
	} else if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
		   !pthread_equal(c->thread, pthread_self())) {
		r = CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
	} else {
		if (c->invalid)
			r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
		else if (!joined(c))
			r = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
		*phGraph = r ? NULL : c->graph;
		if (r && !c->into)
			mp_graph_free(c->graph);
		capture_free(c);
	}
	mp_graph_unlock();
	return r;
}

/* ---- Questions ---- */

static CUresult info(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
		     const CUgraphNode **deps, const CUgraphEdgeData **edges, size_t *ndeps)
{
	/* All edges are plain: one block of zeroes describes any number of them. */
	static const CUgraphEdgeData plain[4096];
	struct CUstream_st *s;
	struct mp_capture *c;
	CUresult r;
	MP_ENTER(ctx);

	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, h, &s);
	if (r)
		return r;
	if (s->legacy && s->ctx->captures)
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	mp_graph_lock();
	c = s->capture;
	*status = !c ? CU_STREAM_CAPTURE_STATUS_NONE
		  : c->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
			       : CU_STREAM_CAPTURE_STATUS_ACTIVE;
	if (c && !c->invalid) {
		if (id)
			*id = c->id;
		if (graph)
			*graph = c->graph;
		if (deps)
			*deps = s->capture_deps;
		if (edges)
			*edges = s->ncapture_deps <= MP_ARRAY_LEN(plain) ? plain : NULL;
		if (ndeps)
			*ndeps = s->ncapture_deps;
	}
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
				cuuint64_t *id_out)
{
	return info(hStream, captureStatus_out, id_out, NULL, NULL, NULL, NULL);
}

CUresult cuStreamGetCaptureInfo_v2(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
				   cuuint64_t *id_out, CUgraph *graph_out,
				   const CUgraphNode **dependencies_out, size_t *numDependencies_out)
{
	return info(hStream, captureStatus_out, id_out, graph_out, dependencies_out, NULL,
		    numDependencies_out);
}

CUresult cuStreamGetCaptureInfo_v3(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
				   cuuint64_t *id_out, CUgraph *graph_out,
				   const CUgraphNode **dependencies_out,
				   const CUgraphEdgeData **edgeData_out,
				   size_t *numDependencies_out)
{
	return info(hStream, captureStatus_out, id_out, graph_out, dependencies_out, edgeData_out,
		    numDependencies_out);
}

CUresult cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus)
{
	return info(hStream, captureStatus, NULL, NULL, NULL, NULL, NULL);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream hStream, CUgraphNode *dependencies,
					      const CUgraphEdgeData *dependencyData,
					      size_t numDependencies, unsigned int flags)
{
	struct CUstream_st *s;
	size_t i;
	CUresult r;
	MP_ENTER(ctx);

	(void)dependencyData;
	if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (numDependencies && !dependencies))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, hStream, &s);
	if (r)
		return r;
	mp_graph_lock();
	if (!s->capture)
		r = CUDA_ERROR_ILLEGAL_STATE;
	else if (s->capture->invalid)
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	for (i = 0; i < numDependencies && !r; i++)
		if (!mp_handle_live(MP_NODE, dependencies[i]) ||
		    dependencies[i]->graph != s->capture->graph)
			r = CUDA_ERROR_INVALID_VALUE;
	if (!r && flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES)
		r = deps_set(s, dependencies, numDependencies);
	else if (!r)
		r = deps_add(s, dependencies, numDependencies);
	mp_graph_unlock();
	return r;
}

CUresult cuStreamUpdateCaptureDependencies(CUstream hStream, CUgraphNode *dependencies,
					   size_t numDependencies, unsigned int flags)
{
	return cuStreamUpdateCaptureDependencies_v2(hStream, dependencies, NULL, numDependencies,
						    flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	CUstreamCaptureMode old = thread_mode;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	thread_mode = *mode;
	*mode = old;
	return CUDA_SUCCESS;
}
