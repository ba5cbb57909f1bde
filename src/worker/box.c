/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of boxes, and copies with a host end in graphs.
 *
 * The host end of a box travels packed: row after row without gaps.  Here it is
 * a piece of pinned memory of its own, from which or into which the driver
 * copies the box.
 *
 * A graph reads and writes the program's memory at each of its launches, so its
 * copies with a host end go through pinned memory that lives as long as the
 * session, with a host function of ours beside them: one before a copy to the
 * device asks for the bytes (PULL) and waits until they have come, one behind a
 * copy from the device sends them.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

/* ---- Shapes ---- */

uint64_t mp_box_bytes(const struct mp_copy3d *c)
{
	size_t n;

	if (!mp_mul(c->WidthInBytes, c->Height, &n) || !mp_mul(n, c->Depth, &n) || n > 1ull << 40)
		return 0;
	return n;
}

/* As the driver has it; a host end becomes `packed`. */
CUresult mp_box_driver(struct mp_job *job, const struct mp_copy3d *c, void *packed, CUDA_MEMCPY3D *ret)
{
	void *src, *dst;
	CUresult e = mp_job_get(job, MP_KIND_array, c->srcArray, &src);

	if (!e)
		e = mp_job_get(job, MP_KIND_array, c->dstArray, &dst);
	if (e)
		return e;
	*ret = (CUDA_MEMCPY3D){
		.srcXInBytes = c->srcXInBytes, .srcY = c->srcY, .srcZ = c->srcZ, .srcLOD = c->srcLOD,
		.srcMemoryType = (CUmemorytype)c->srcMemoryType, .srcDevice = c->srcDevice, .srcArray = src,
		.srcPitch = c->srcPitch, .srcHeight = c->srcHeight,
		.dstXInBytes = c->dstXInBytes, .dstY = c->dstY, .dstZ = c->dstZ, .dstLOD = c->dstLOD,
		.dstMemoryType = (CUmemorytype)c->dstMemoryType, .dstDevice = c->dstDevice, .dstArray = dst,
		.dstPitch = c->dstPitch, .dstHeight = c->dstHeight,
		.WidthInBytes = c->WidthInBytes, .Height = c->Height, .Depth = c->Depth,
	};
	if (c->srcMemoryType == CU_MEMORYTYPE_HOST) {
		ret->srcXInBytes = ret->srcY = ret->srcZ = 0;
		ret->srcDevice = 0;
		ret->srcHost = packed;
		ret->srcPitch = c->WidthInBytes;
		ret->srcHeight = c->Height;
	}
	if (c->dstMemoryType == CU_MEMORYTYPE_HOST) {
		ret->dstXInBytes = ret->dstY = ret->dstZ = 0;
		ret->dstDevice = 0;
		ret->dstHost = packed;
		ret->dstPitch = c->WidthInBytes;
		ret->dstHeight = c->Height;
	}
	return CUDA_SUCCESS;
}

static CUresult queue_box(struct mp_job *job, const struct mp_copy3d *c, void *packed)
{
	struct mp_worker *w = job->w;
	struct context *sc = mp_context_find(w, c->srcContext), *dc = mp_context_find(w, c->dstContext);
	CUDA_MEMCPY3D d;
	CUresult e = mp_box_driver(job, c, packed, &d);

	if (e)
		return e;
	if ((sc || dc) && sc != dc && w->drv.cuMemcpy3DPeerAsync) {
		CUDA_MEMCPY3D_PEER p = {
			.srcXInBytes = d.srcXInBytes, .srcY = d.srcY, .srcZ = d.srcZ, .srcLOD = d.srcLOD,
			.srcMemoryType = d.srcMemoryType, .srcHost = d.srcHost, .srcDevice = d.srcDevice,
			.srcArray = d.srcArray, .srcContext = sc ? sc->handle : job->ctx->handle,
			.srcPitch = d.srcPitch, .srcHeight = d.srcHeight,
			.dstXInBytes = d.dstXInBytes, .dstY = d.dstY, .dstZ = d.dstZ, .dstLOD = d.dstLOD,
			.dstMemoryType = d.dstMemoryType, .dstHost = d.dstHost, .dstDevice = d.dstDevice,
			.dstArray = d.dstArray, .dstContext = dc ? dc->handle : job->ctx->handle,
			.dstPitch = d.dstPitch, .dstHeight = d.dstHeight,
			.WidthInBytes = d.WidthInBytes, .Height = d.Height, .Depth = d.Depth,
		};

		return w->drv.cuMemcpy3DPeerAsync(&p, job->stream->handle);
	}
	return w->drv.cuMemcpy3DAsync_v2 ? w->drv.cuMemcpy3DAsync_v2(&d, job->stream->handle) :
					   CUDA_ERROR_NOT_SUPPORTED;
}

static uint8_t *packed_new(struct mp_worker *w, uint64_t n)
{
	void *p = NULL;

	if (!n || w->drv.cuMemHostAlloc(&p, n, CU_MEMHOSTALLOC_PORTABLE))
		return NULL;
	return p;
}

/* ---- Box copies ---- */

struct box {
	struct mp_copy3d copy;
	uint8_t *packed;
	bool reply;
};

static void box_passed(struct mp_worker *w, struct wait *wt, CUresult status)
{
	struct box *b = wt->arg;

	if (b->packed && !mp_context_current(w, wt->ctx))
		(void)w->drv.cuMemFreeHost(b->packed);
	if (b->reply)
		mp_download_answer(w, wt->ticket, true, status);
	free(b);
}

/* The copy is queued; memory goes, and a waiting client is told, when it has passed. */
static void box_queued(struct mp_job *job, struct box *own_b)
{
	mp_wait_add(job->w, job->ctx, &job->stream->q, job->stream->handle, box_passed, own_b, job->ticket, 0);
}

static void box_bytes_here(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct box *b = job->box;
	CUresult e = queue_box(job, &b->copy, b->packed);

	if (!e && b->reply) {
		box_queued(job, b);
		mp_job_finish_quiet(job);
		return;
	}
	if (e) {
		(void)w->drv.cuMemFreeHost(b->packed);
		free(b);
	} else {
		box_queued(job, b);
	}
	mp_job_finish(job, e);
}

static void box_resume(struct mp_job *job)
{
	box_bytes_here(job);
}

static CUresult box_in(struct mp_job *job, struct box *b, const void *p, uint64_t have, uint64_t n)
{
	CUresult e;

	if (job->rec->flags & MP_REC_BULK ? have != 0 : have != n) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	b->packed = packed_new(job->w, n);
	if (!b->packed)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (job->rec->flags & MP_REC_BULK) {
		if (mp_job_hold(job, box_resume))
			return CUDA_ERROR_OUT_OF_MEMORY;
		job->box = b;
		return mp_upload_memory(job, b->packed, n, box_bytes_here) ? CUDA_ERROR_INVALID_VALUE :
									     CUDA_SUCCESS;
	}
	memcpy(b->packed, p, n);
	e = queue_box(job, &b->copy, b->packed);
	if (e)
		return e;
	job->later = b->reply;
	box_queued(job, b);
	return CUDA_SUCCESS;
}

static CUresult box(struct mp_job *job, const struct mp_copy3d *c, const void *p, uint64_t have, bool reply)
{
	uint64_t n = mp_box_bytes(c);
	bool in = c->srcMemoryType == CU_MEMORYTYPE_HOST, out = c->dstMemoryType == CU_MEMORYTYPE_HOST;
	struct box *b;
	CUresult e;

	if (in && out)
		return CUDA_ERROR_INVALID_VALUE;
	if ((in || out) && n && mp_stream_capturing(job->w, job->stream))
		return mp_graph_capture_box(job, c, p, have, n);
	if (!n || (!in && !out)) {
		if (have) {
			job->violation = true;
			return CUDA_ERROR_INVALID_VALUE;
		}
		return n ? queue_box(job, c, NULL) : CUDA_SUCCESS;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->copy = *c;
	b->reply = reply;
	if (in) {
		e = box_in(job, b, p, have, n);
	} else {
		uint8_t *packed = packed_new(job->w, n);

		e = packed ? queue_box(job, c, packed) : CUDA_ERROR_OUT_OF_MEMORY;
		if (!e)
			e = mp_download_whole(job, packed, n, reply);
		else if (packed)
			(void)job->w->drv.cuMemFreeHost(packed);
		free(b);
		return e;
	}
	if (e && !job->held) {
		if (b->packed)
			(void)job->w->drv.cuMemFreeHost(b->packed);
		free(b);
	}
	return e;
}

CUresult mp_do_cuMemcpy3D_v2(struct mp_job *job, const struct mp_msg_cuMemcpy3D_v2 *m,
			     struct mp_rep_cuMemcpy3D_v2 *r)
{
	return box(job, &m->copy, m->src, m->src_len, true);
}

CUresult mp_do_cuMemcpy3DAsync_v2(struct mp_job *job, const struct mp_msg_cuMemcpy3DAsync_v2 *m)
{
	return box(job, &m->copy, m->src, m->src_len, job->rec->flags & MP_REC_REPLY);
}

/* ---- Host ends in graphs ---- */

/* Called in a thread of the driver, before the graph's copy to the device. */
static void CUDA_CB graph_pull(void *arg)
{
	struct graph_copy *g = arg;

	if (mp_upload_wait(g->w, g->ticket, g->packed, g->n))
		memset(g->packed, 0, g->n); /* the session is ending */
}

/* Behind the graph's copy from the device: bytes go before any completion that names them. */
static void CUDA_CB graph_push(void *arg)
{
	struct graph_copy *g = arg;

	mp_download_bytes(g->w, g->ticket, g->packed, g->n);
}

bool mp_box_is_pull(CUhostFn fn)
{
	return fn == graph_pull;
}

bool mp_box_is_push(CUhostFn fn)
{
	return fn == graph_push;
}

struct graph_copy *mp_graph_copy_new(struct mp_worker *w, uint64_t ticket, uint64_t n, bool in)
{
	struct graph_copy *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->w = w;
	g->ticket = ticket;
	g->n = n;
	g->fn = in ? graph_pull : graph_push;
	g->packed = packed_new(w, n);
	if (!g->packed) {
		free(g);
		return NULL;
	}
	g->next = w->graph_copies; /* executable graphs may outlive the graph: kept to the end */
	w->graph_copies = g;
	return g;
}

static void captured_bytes_here(struct mp_job *job)
{
	struct graph_copy *g = job->captured;

	mp_job_finish(job, queue_box(job, &g->copy, g->packed));
}

/*
 * A copy with a host end in a capturing stream.  With PULL the bytes are asked
 * for at each launch; without, they are those of the capture.
 */
CUresult mp_graph_capture_box(struct mp_job *job, const struct mp_copy3d *c, const void *p, uint64_t have,
			      uint64_t n)
{
	struct mp_worker *w = job->w;
	bool in = c->srcMemoryType == CU_MEMORYTYPE_HOST;
	struct graph_copy *g = mp_graph_copy_new(w, job->ticket, n, in);
	CUresult e;

	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->copy = *c;
	if (!in) {
		e = queue_box(job, c, g->packed);
		return e ? e : w->drv.cuLaunchHostFunc(job->stream->handle, g->fn, g);
	}
	if (job->rec->flags & MP_REC_PULL) {
		e = w->drv.cuLaunchHostFunc(job->stream->handle, g->fn, g);
		return e ? e : queue_box(job, c, g->packed);
	}
	if (job->rec->flags & MP_REC_BULK) {
		if (mp_job_hold(job, captured_bytes_here))
			return CUDA_ERROR_OUT_OF_MEMORY;
		job->captured = g;
		return mp_upload_memory(job, g->packed, n, captured_bytes_here) ? CUDA_ERROR_INVALID_VALUE :
										  CUDA_SUCCESS;
	}
	if (have != n) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	memcpy(g->packed, p, n);
	return queue_box(job, c, g->packed);
}

/* The same for a linear copy. */
CUresult mp_graph_capture_linear(struct mp_job *job, CUdeviceptr device, const void *p, uint64_t have, uint64_t n,
				 bool in)
{
	struct mp_copy3d c = {.WidthInBytes = n, .Height = 1, .Depth = 1};

	c.srcMemoryType = in ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	c.dstMemoryType = in ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
	c.srcDevice = in ? 0 : device;
	c.dstDevice = in ? device : 0;
	c.srcPitch = c.dstPitch = n;
	c.srcHeight = c.dstHeight = 1;
	return mp_graph_capture_box(job, &c, p, have, n);
}

void mp_box_fini(struct mp_worker *w)
{
	struct graph_copy *g;

	while ((g = w->graph_copies)) {
		w->graph_copies = g->next;
		(void)w->drv.cuMemFreeHost(g->packed);
		free(g);
	}
}
