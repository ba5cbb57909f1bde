/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies: every kind becomes a three-dimensional one.
 *
 * How far a call waits follows CUDA's "API synchronization behavior":
 * a synchronous copy returns when it is done, except device to device, which
 * only keeps stream order; an asynchronous copy from pageable memory has read
 * its source when it returns; one to pageable memory is done when it returns;
 * between pinned and device memory it returns at once.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define STAGE_BYTES ((size_t)1 << 20) /* pageable sources up to this are copied aside */

/* One side of a copy. */
struct side {
	uint8_t *base;
	size_t pitch, slice; /* bytes from row to row, and from slice to slice */
	enum { PAGEABLE, PINNED, DEVICE } memory;
};

static bool side_of(struct side *s, unsigned type, const void *host, CUdeviceptr device,
		    CUarray array, size_t pitch, size_t height, size_t x, size_t y, size_t z,
		    const CUDA_MEMCPY3D *d)
{
	size_t row;

	if (!mp_add(x, d->WidthInBytes, &row))
		return false;
	switch (type) {
	case CU_MEMORYTYPE_HOST: s->base = (uint8_t *)host; break;
	case CU_MEMORYTYPE_DEVICE:
	case CU_MEMORYTYPE_UNIFIED: s->base = (uint8_t *)device; break;
	case CU_MEMORYTYPE_ARRAY:
		if (!mp_handle_live(MP_ARRAY, array) || row > array->pitch || y > array->height ||
		    d->Height > array->height - y || z > array->depth || d->Depth > array->depth - z ||
		    x % array->texel.bytes || d->WidthInBytes % array->texel.bytes)
			return false;
		s->base = (uint8_t *)array->addr;
		pitch = array->pitch;
		height = array->height;
		break;
	default: return false;
	}
	if (d->Height > 1 || d->Depth > 1) {
		if (!pitch)
			pitch = row;
		if (pitch < row)
			return false;
	} else if (pitch < row) {
		pitch = row;
	}
	if (!height)
		height = y + d->Height;
	if (d->Depth > 1 && height < y + d->Height)
		return false;
	s->pitch = pitch;
	return mp_mul(pitch, height, &s->slice) && s->slice <= SIZE_MAX / 4 / (z + d->Depth);
}

static bool source_of(struct side *s, const CUDA_MEMCPY3D *d)
{
	if (d->srcLOD || !side_of(s, d->srcMemoryType, d->srcHost, d->srcDevice, d->srcArray,
				  d->srcPitch, d->srcHeight, d->srcXInBytes, d->srcY, d->srcZ, d))
		return false;
	s->base += d->srcXInBytes + d->srcY * s->pitch + d->srcZ * s->slice;
	return true;
}

static bool target_of(struct side *s, const CUDA_MEMCPY3D *d)
{
	if (d->dstLOD || !side_of(s, d->dstMemoryType, d->dstHost, d->dstDevice, d->dstArray,
				  d->dstPitch, d->dstHeight, d->dstXInBytes, d->dstY, d->dstZ, d))
		return false;
	s->base += d->dstXInBytes + d->dstY * s->pitch + d->dstZ * s->slice;
	return true;
}

/* Bytes from the first to behind the last that the copy touches on this side. */
static size_t extent_of(const struct side *s, const CUDA_MEMCPY3D *d)
{
	return (d->Depth - 1) * s->slice + (d->Height - 1) * s->pitch + d->WidthInBytes;
}

static bool classify(struct side *s, unsigned type, const CUDA_MEMCPY3D *d)
{
	struct mp_range r;

	if (type == CU_MEMORYTYPE_ARRAY) {
		s->memory = DEVICE;
		return true;
	}
	if (mp_memory_span((uint64_t)s->base, extent_of(s, d), &r)) {
		/* The program sees managed memory, so that a synchronous copy waits as for host memory. */
		s->memory = mp_memory_is_device(&r) && r.kind != MP_RANGE_MANAGED ? DEVICE : PINNED;
		return !r.hidden && (r.kind != MP_RANGE_VMM || r.access);
	}
	s->memory = PAGEABLE;
	/* An address of the window that is not memory, or a host pointer named a device's. */
	return type != CU_MEMORYTYPE_DEVICE && !mp_window_has((uint64_t)s->base) && s->base;
}

static bool empty(const CUDA_MEMCPY3D *d)
{
	return !d->WidthInBytes || !d->Height || !d->Depth;
}

static CUresult check(const CUDA_MEMCPY3D *d, struct side *src, struct side *dst)
{
	if (!source_of(src, d) || !target_of(dst, d))
		return CUDA_ERROR_INVALID_VALUE;
	if (empty(d))
		return CUDA_SUCCESS;
	if (!classify(src, d->srcMemoryType, d) || !classify(dst, d->dstMemoryType, d))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult mp_copy_check(const CUDA_MEMCPY3D *d)
{
	struct side src, dst;

	return check(d, &src, &dst);
}

static void copy_rows(const struct side *dst, const struct side *src, const CUDA_MEMCPY3D *d)
{
	size_t y, z;

	for (z = 0; z < d->Depth; z++) {
		const uint8_t *from = src->base + z * src->slice;
		uint8_t *to = dst->base + z * dst->slice;

		for (y = 0; y < d->Height; y++)
			mp_exec_check_wrote((uintptr_t)(to + y * dst->pitch), d->WidthInBytes);
		if (src->pitch == d->WidthInBytes && dst->pitch == d->WidthInBytes) {
			memmove(to, from, d->WidthInBytes * d->Height);
			continue;
		}
		for (y = 0; y < d->Height; y++)
			memmove(to + y * dst->pitch, from + y * src->pitch, d->WidthInBytes);
	}
}

void mp_copy_run(const struct mp_work *w)
{
	struct side src, dst;

	assert(w->kind == MP_WORK_COPY);
	/* Arrays may have gone since the call: look again. */
	if (!source_of(&src, &w->copy.desc) || !target_of(&dst, &w->copy.desc)) {
		mp_context_fail(w->ctx, CUDA_ERROR_ILLEGAL_ADDRESS);
		return;
	}
	if (!empty(&w->copy.desc))
		copy_rows(&dst, &src, &w->copy.desc);
}

/* Take the source's bytes aside, so that the caller may change them at once. */
static bool stage(struct mp_work *w, const struct side *src)
{
	CUDA_MEMCPY3D *d = &w->copy.desc;
	struct side to = {.pitch = d->WidthInBytes, .slice = d->WidthInBytes * d->Height};

	to.base = w->copy.own_stage = malloc(d->WidthInBytes * d->Height * d->Depth);
	if (!to.base)
		return false;
	copy_rows(&to, src, d);
	d->srcMemoryType = CU_MEMORYTYPE_HOST;
	d->srcHost = to.base;
	d->srcPitch = to.pitch;
	d->srcHeight = d->Height;
	d->srcXInBytes = d->srcY = d->srcZ = 0;
	return true;
}

static CUresult submit(struct CUctx_st *ctx, CUstream h, const CUDA_MEMCPY3D *d, bool sync)
{
	struct mp_work w = {.kind = MP_WORK_COPY, .ctx = ctx};
	struct side src, dst;
	struct CUstream_st *s;
	struct mp_op *op;
	bool capturing, wait;
	CUresult r;

	r = mp_stream_find(ctx, h, &s);
	if (r)
		return r;
	r = sync ? mp_capture_unsafe() : CUDA_SUCCESS;
	if (r)
		return r;
	r = check(d, &src, &dst);
	if (r || (empty(d) && sync))
		return r;
	w.ctx = s->ctx;
	w.copy.desc = *d;
	capturing = mp_stream_capturing(s);
	wait = sync && !(src.memory == DEVICE && dst.memory == DEVICE);
	if (!sync && !capturing && !empty(d) && !mp_soft.config.null_mode) {
		if (dst.memory == PAGEABLE)
			wait = true;
		else if (src.memory == PAGEABLE &&
			 (d->WidthInBytes * d->Height * d->Depth > STAGE_BYTES || !stage(&w, &src)))
			wait = true;
	}
	r = mp_stream_submit(s, &w, wait ? &op : NULL);
	if (r || !wait || !op)
		return r;
	mp_op_wait(op);
	mp_op_unref(op);
	if (sync)
		mp_print_flush(s->ctx);
	return (CUresult)s->ctx->error;
}

static CUDA_MEMCPY3D flat(unsigned st, const void *sh, CUdeviceptr sd, unsigned dt, void *dh,
			  CUdeviceptr dd, size_t n)
{
	return (CUDA_MEMCPY3D){
		.srcMemoryType = st, .srcHost = sh, .srcDevice = sd,
		.dstMemoryType = dt, .dstHost = dh, .dstDevice = dd,
		.WidthInBytes = n, .Height = 1, .Depth = 1,
	};
}

#define H CU_MEMORYTYPE_HOST
#define D CU_MEMORYTYPE_DEVICE
#define U CU_MEMORYTYPE_UNIFIED

static CUresult flat_copy(CUstream h, bool sync, unsigned st, const void *sh, CUdeviceptr sd,
			  unsigned dt, void *dh, CUdeviceptr dd, size_t n)
{
	CUDA_MEMCPY3D d = flat(st, sh, sd, dt, dh, dd, n);
	MP_ENTER(ctx);

	return submit(ctx, h, &d, sync);
}

/* ---- One dimension ---- */

CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount)
{
	return flat_copy(NULL, true, U, NULL, src, U, NULL, dst, ByteCount);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
	return flat_copy(hStream, false, U, NULL, src, U, NULL, dst, ByteCount);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount)
{
	return flat_copy(NULL, true, H, srcHost, 0, D, NULL, dstDevice, ByteCount);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
			      CUstream hStream)
{
	return flat_copy(hStream, false, H, srcHost, 0, D, NULL, dstDevice, ByteCount);
}

CUresult cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount)
{
	return flat_copy(NULL, true, D, NULL, srcDevice, H, dstHost, 0, ByteCount);
}

CUresult cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
			      CUstream hStream)
{
	return flat_copy(hStream, false, D, NULL, srcDevice, H, dstHost, 0, ByteCount);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount)
{
	return flat_copy(NULL, true, D, NULL, srcDevice, D, NULL, dstDevice, ByteCount);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
			      CUstream hStream)
{
	return flat_copy(hStream, false, D, NULL, srcDevice, D, NULL, dstDevice, ByteCount);
}

static CUresult peers(CUcontext a, CUcontext b)
{
	return mp_context_live(a) && a->active && mp_context_live(b) && b->active
		       ? CUDA_SUCCESS
		       : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
			   CUcontext srcContext, size_t ByteCount, CUstream hStream)
{
	CUresult r = mp_soft_ready();

	if (!r)
		r = peers(dstContext, srcContext);
	return r ? r : flat_copy(hStream, false, D, NULL, srcDevice, D, NULL, dstDevice, ByteCount);
}

/* An event of that context, whichever is current. */
static CUresult event_of(CUcontext c, CUevent *e)
{
	CUcontext back;
	CUresult r = cuCtxPushCurrent_v2(c);

	if (r)
		return r;
	r = cuEventCreate(e, CU_EVENT_DISABLE_TIMING);
	(void)cuCtxPopCurrent_v2(&back);
	return r;
}

/* All that context c has comes before what the current context's legacy stream gets from now on. */
static CUresult legacy_after(CUcontext c)
{
	CUevent e;
	CUresult r = event_of(c, &e);

	if (r)
		return r;
	r = cuCtxRecordEvent(c, e);
	if (!r)
		r = cuStreamWaitEvent(CU_STREAM_LEGACY, e, 0);
	(void)cuEventDestroy_v2(e);
	return r;
}

/* ... and the other way round. */
static CUresult after_legacy(CUcontext c)
{
	CUevent e;
	CUresult r = cuEventCreate(&e, CU_EVENT_DISABLE_TIMING);

	if (r)
		return r;
	r = cuEventRecord(e, CU_STREAM_LEGACY);
	if (!r)
		r = cuCtxWaitEvent(c, e);
	(void)cuEventDestroy_v2(e);
	return r;
}

/* Serialised with all work of the current context, of the source's and of the destination's. */
CUresult cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
		      CUcontext srcContext, size_t ByteCount)
{
	CUcontext side[2] = {dstContext, srcContext};
	CUresult r;
	int i;
	MP_ENTER(ctx);

	r = peers(dstContext, srcContext);
	for (i = 0; i < 2 && !r; i++)
		if (side[i] && side[i] != ctx)
			r = legacy_after(side[i]);
	if (!r)
		r = flat_copy(NULL, true, D, NULL, srcDevice, D, NULL, dstDevice, ByteCount);
	for (i = 0; i < 2 && !r; i++)
		if (side[i] && side[i] != ctx)
			r = after_legacy(side[i]);
	return r;
}

/* ---- Two and three dimensions ---- */

static CUresult copy2(const CUDA_MEMCPY2D *p, CUstream h, bool sync)
{
	CUDA_MEMCPY3D d;
	MP_ENTER(ctx);

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	d = (CUDA_MEMCPY3D){
		.srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcMemoryType = p->srcMemoryType,
		.srcHost = p->srcHost, .srcDevice = p->srcDevice, .srcArray = p->srcArray,
		.srcPitch = p->srcPitch, .dstXInBytes = p->dstXInBytes, .dstY = p->dstY,
		.dstMemoryType = p->dstMemoryType, .dstHost = p->dstHost,
		.dstDevice = p->dstDevice, .dstArray = p->dstArray, .dstPitch = p->dstPitch,
		.WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = 1,
	};
	return submit(ctx, h, &d, sync);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *pCopy)
{
	return copy2(pCopy, NULL, true);
}

CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *pCopy)
{
	return copy2(pCopy, NULL, true);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream)
{
	return copy2(pCopy, hStream, false);
}

static CUresult copy3(const CUDA_MEMCPY3D *p, CUstream h, bool sync)
{
	MP_ENTER(ctx);
	return p ? submit(ctx, h, p, sync) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D *pCopy)
{
	return copy3(pCopy, NULL, true);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *pCopy, CUstream hStream)
{
	return copy3(pCopy, hStream, false);
}

static CUresult copy3_peer(const CUDA_MEMCPY3D_PEER *p, CUstream h, bool sync)
{
	CUDA_MEMCPY3D d;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	r = peers(p->dstContext, p->srcContext);
	if (r)
		return r;
	d = (CUDA_MEMCPY3D){
		.srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcZ = p->srcZ,
		.srcLOD = p->srcLOD, .srcMemoryType = p->srcMemoryType, .srcHost = p->srcHost,
		.srcDevice = p->srcDevice, .srcArray = p->srcArray, .srcPitch = p->srcPitch,
		.srcHeight = p->srcHeight, .dstXInBytes = p->dstXInBytes, .dstY = p->dstY,
		.dstZ = p->dstZ, .dstLOD = p->dstLOD, .dstMemoryType = p->dstMemoryType,
		.dstHost = p->dstHost, .dstDevice = p->dstDevice, .dstArray = p->dstArray,
		.dstPitch = p->dstPitch, .dstHeight = p->dstHeight,
		.WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = p->Depth,
	};
	return copy3(&d, h, sync);
}

CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *pCopy)
{
	return copy3_peer(pCopy, NULL, true);
}

CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *pCopy, CUstream hStream)
{
	return copy3_peer(pCopy, hStream, false);
}

/* ---- Batches ---- */

CUresult cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
			       CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
			       CUstream hStream)
{
	size_t i;
	CUresult r = CUDA_SUCCESS;
	MP_ENTER(ctx);

	if (!dsts || !srcs || !sizes || !count || !attrs || !attrsIdxs || !numAttrs ||
	    numAttrs > count || attrsIdxs[0])
		return CUDA_ERROR_INVALID_VALUE;
	if (!hStream || hStream == CU_STREAM_LEGACY) /* batches have no legacy stream */
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < count && !r; i++) {
		CUDA_MEMCPY3D d = flat(U, NULL, srcs[i], U, NULL, dsts[i], sizes[i]);

		r = submit(ctx, hStream, &d, false);
	}
	return r;
}

CUresult cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
			    CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
			    size_t *failIdx, CUstream hStream)
{
	CUresult r = cuMemcpyBatchAsync_v2(dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs,
					   hStream);

	if (r && failIdx)
		*failIdx = SIZE_MAX;
	return r;
}

/* ---- Arrays and bytes ---- */

static CUresult array_copy(CUstream h, bool sync, CUarray dst, size_t dst_at, CUdeviceptr dd,
			   void *dh, CUarray src, size_t src_at, CUdeviceptr sd, const void *sh,
			   size_t n)
{
	CUDA_MEMCPY3D d = {
		.srcMemoryType = src ? CU_MEMORYTYPE_ARRAY : sh ? H : D,
		.srcArray = src, .srcXInBytes = src_at, .srcDevice = sd, .srcHost = sh,
		.dstMemoryType = dst ? CU_MEMORYTYPE_ARRAY : dh ? H : D,
		.dstArray = dst, .dstXInBytes = dst_at, .dstDevice = dd, .dstHost = dh,
		.WidthInBytes = n, .Height = 1, .Depth = 1,
	};
	MP_ENTER(ctx);

	return submit(ctx, h, &d, sync);
}

CUresult cuMemcpyHtoA_v2(CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount)
{
	return array_copy(NULL, true, dstArray, dstOffset, 0, NULL, NULL, 0, 0, srcHost, ByteCount);
}

CUresult cuMemcpyHtoAAsync_v2(CUarray dstArray, size_t dstOffset, const void *srcHost,
			      size_t ByteCount, CUstream hStream)
{
	return array_copy(hStream, false, dstArray, dstOffset, 0, NULL, NULL, 0, 0, srcHost,
			  ByteCount);
}

CUresult cuMemcpyAtoH_v2(void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount)
{
	return array_copy(NULL, true, NULL, 0, 0, dstHost, srcArray, srcOffset, 0, NULL, ByteCount);
}

CUresult cuMemcpyAtoHAsync_v2(void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount,
			      CUstream hStream)
{
	return array_copy(hStream, false, NULL, 0, 0, dstHost, srcArray, srcOffset, 0, NULL,
			  ByteCount);
}

CUresult cuMemcpyDtoA_v2(CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice,
			 size_t ByteCount)
{
	return array_copy(NULL, true, dstArray, dstOffset, 0, NULL, NULL, 0, srcDevice, NULL,
			  ByteCount);
}

CUresult cuMemcpyAtoD_v2(CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset,
			 size_t ByteCount)
{
	return array_copy(NULL, true, NULL, 0, dstDevice, NULL, srcArray, srcOffset, 0, NULL,
			  ByteCount);
}

CUresult cuMemcpyAtoA_v2(CUarray dstArray, size_t dstOffset, CUarray srcArray, size_t srcOffset,
			 size_t ByteCount)
{
	return array_copy(NULL, true, dstArray, dstOffset, 0, NULL, srcArray, srcOffset, 0, NULL,
			  ByteCount);
}
