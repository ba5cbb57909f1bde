/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of boxes.  The host end of one travels packed, row after row; all of
 * them go as cuMemcpy3DAsync, and what a synchronous one owes its caller is kept
 * here: bytes captured and a fence behind, or the answer waited for.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

/* One end, as it was given. */
struct end {
	unsigned type;
	size_t x, y, z, lod;
	void *host;
	uint64_t device;
	size_t pitch, height;
	struct mp_array *array;
};

/* A host end that the device has too is copied there. */
static void end_mirrored(struct end *e)
{
	struct mp_mirror m;

	if (e->type == CU_MEMORYTYPE_HOST && mp_mirror_find((uintptr_t)e->host, &m)) {
		e->type = CU_MEMORYTYPE_DEVICE;
		e->device = (uintptr_t)e->host - m.host < m.pages * MP_PAGE
				    ? m.device + ((uintptr_t)e->host - m.host)
				    : (uintptr_t)e->host;
	}
}

/* Whole texels, inside of the array. */
static CUresult array_take(struct end *e, size_t width, size_t height, size_t depth)
{
	const CUDA_ARRAY3D_DESCRIPTOR *d;
	struct mp_texel t;
	size_t rows, slices;

	if (!e->array)
		return CUDA_ERROR_INVALID_VALUE;
	d = &e->array->desc;
	if (!mp_texel_of(&t, d->Format, d->NumChannels))
		return CUDA_ERROR_INVALID_VALUE;
	e->pitch = d->Width * t.bytes;
	e->height = rows = d->Height ? d->Height : 1;
	slices = d->Depth ? d->Depth : 1;
	if (e->lod || e->x > e->pitch || width > e->pitch - e->x || e->y > rows || height > rows - e->y ||
	    e->z > slices || depth > slices - e->z || e->x % t.bytes || width % t.bytes)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult end_take(struct end *e, size_t width, size_t height, size_t depth)
{
	struct mp_range range;

	if (e->type == CU_MEMORYTYPE_UNIFIED) {
		e->type = (mp_memory_find(e->device, &range) && mp_range_device(&range)) ||
					  mp_module_address(e->device)
				  ? CU_MEMORYTYPE_DEVICE
				  : CU_MEMORYTYPE_HOST;
		if (e->type == CU_MEMORYTYPE_HOST)
			e->host = (void *)(uintptr_t)e->device;
	}
	end_mirrored(e);
	if (e->type == CU_MEMORYTYPE_ARRAY)
		return array_take(e, width, height, depth);
	if (e->type != CU_MEMORYTYPE_HOST && e->type != CU_MEMORYTYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!e->pitch)
		e->pitch = width + e->x;
	if (!e->height)
		e->height = height + e->y;
	if (e->lod || (height > 1 && e->pitch < width + e->x) ||
	    (depth > 1 && e->height < height + e->y))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* Bytes from the first to the last. */
static size_t end_span(const struct mp_copy3d *c, size_t pitch, size_t height, size_t y, size_t z,
		       size_t x)
{
	return pitch * height * (z + c->Depth - 1) + pitch * (y + c->Height - 1) + x + c->WidthInBytes;
}

/* Before a box is copied: mirrors among its ends. */
static CUresult box_mirrors(struct mp_thread *t, struct mp_stream *s, const struct mp_copy3d *c)
{
	CUresult r = CUDA_SUCCESS;

	if (MP_LIKELY(!atomic_load_explicit(&mp_shim.hosted, memory_order_relaxed)) ||
	    atomic_load(&s->capture))
		return r;
	if (c->srcDevice)
		r = mp_mirror_copy(t, c->srcDevice, end_span(c, c->srcPitch, c->srcHeight, c->srcY,
							     c->srcZ, c->srcXInBytes), false);
	if (!r && c->dstDevice)
		r = mp_mirror_copy(t, c->dstDevice, end_span(c, c->dstPitch, c->dstHeight, c->dstY,
							     c->dstZ, c->dstXInBytes), true);
	return r;
}

static CUresult end_check(const struct end *e, size_t width, size_t height, size_t depth)
{
	size_t slice, a, b;

	if (e->type == CU_MEMORYTYPE_ARRAY)
		return CUDA_SUCCESS;
	if (e->type == CU_MEMORYTYPE_HOST)
		return e->host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	/* From the first byte to the last. */
	if (!mp_mul(e->pitch, e->height, &slice) || !mp_mul(slice, e->z + depth - 1, &a) ||
	    !mp_mul(e->pitch, e->y + height - 1, &b) || !mp_add(a, b, &a) ||
	    !mp_add(a, e->x + width, &a))
		return CUDA_ERROR_INVALID_VALUE;
	return mp_device_range(e->device, a);
}

static void end_shape(const struct end *e, size_t width, size_t height, size_t depth,
		      struct mp_shape *ret)
{
	size_t slice = e->pitch * e->height;

	ret->base = (uint8_t *)e->host + e->z * slice + e->y * e->pitch + e->x;
	ret->size = (uint64_t)width * height * depth;
	ret->row = width;
	ret->pitch = e->pitch;
	ret->rows = height;
	ret->slice = slice;
	if (e->pitch == width && (depth == 1 || e->height == height))
		ret->row = 0; /* contiguous after all */
}

CUresult mp_box(struct mp_thread *t, const CUDA_MEMCPY3D *p, struct mp_copy3d *ret,
		struct mp_shape *ret_shape, int *ret_host)
{
	struct end s = {p->srcMemoryType, p->srcXInBytes, p->srcY, p->srcZ, p->srcLOD,
			(void *)(uintptr_t)p->srcHost, p->srcDevice, p->srcPitch, p->srcHeight, mp_array_get(p->srcArray)};
	struct end d = {p->dstMemoryType, p->dstXInBytes, p->dstY, p->dstZ, p->dstLOD,
			p->dstHost, p->dstDevice, p->dstPitch, p->dstHeight, mp_array_get(p->dstArray)};
	size_t w = p->WidthInBytes, h = p->Height, n = p->Depth, all;
	CUresult r = end_take(&s, w, h, n);

	if (!r)
		r = end_take(&d, w, h, n);
	if (!r && (!mp_mul(w, h, &all) || !mp_mul(all, n, &all)))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r && all)
		r = end_check(&s, w, h, n);
	if (!r && all)
		r = end_check(&d, w, h, n);
	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	*ret = (struct mp_copy3d){
		.srcXInBytes = s.x, .srcY = s.y, .srcZ = s.z, .srcPitch = s.pitch, .srcHeight = s.height,
		.dstXInBytes = d.x, .dstY = d.y, .dstZ = d.z, .dstPitch = d.pitch, .dstHeight = d.height,
		.WidthInBytes = w, .Height = h, .Depth = n,
		.srcMemoryType = s.type, .dstMemoryType = d.type,
		.srcDevice = s.type == CU_MEMORYTYPE_DEVICE ? s.device : 0,
		.dstDevice = d.type == CU_MEMORYTYPE_DEVICE ? d.device : 0,
		.srcArray = s.type == CU_MEMORYTYPE_ARRAY ? s.array->head.id : 0,
		.dstArray = d.type == CU_MEMORYTYPE_ARRAY ? d.array->head.id : 0};
	*ret_host = s.type == CU_MEMORYTYPE_HOST ? 1 : d.type == CU_MEMORYTYPE_HOST ? 2 : 0;
	memset(ret_shape, 0, sizeof(*ret_shape));
	if (s.type == CU_MEMORYTYPE_HOST && d.type == CU_MEMORYTYPE_HOST)
		*ret_host = 3;
	if (*ret_host & 1)
		end_shape(&s, w, h, n, ret_shape);
	else if (*ret_host)
		end_shape(&d, w, h, n, ret_shape);
	return CUDA_SUCCESS;
}

static CUresult put(struct mp_thread *t, struct mp_stream *s, struct mp_out *o,
		    const struct mp_copy3d *c, const void *src, uint64_t n, void *dst, unsigned flags)
{
	struct mp_msg_cuMemcpy3DAsync_v2 m = {.copy = *c, .src = src, .src_len = n,
					      .dst = (uintptr_t)dst, .hStream = s->head.id};
	CUresult r = MP_PUT(o, t, MP_CALL_cuMemcpy3DAsync_v2, cuMemcpy3DAsync_v2, &m,
			    s->ctx->head.id);

	if (!r)
		o->rec->flags |= flags;
	return r;
}

static CUresult from_host(struct mp_thread *t, struct mp_stream *s, const struct mp_copy3d *c,
			  const struct mp_shape *from, bool sync)
{
	bool capturing = atomic_load(&s->capture) != NULL, small = from->size <= MP_INLINE_MAX;
	bool pull = capturing, held = false;
	void *packed = NULL;
	struct mp_answer a;
	struct mp_out o;
	CUresult r;

	/* Pinned bytes that queued work may still write; see copy.c. */
	if (!sync && !pull && mp_pinned(from->base, 1) &&
	    (mp_writer_pending(from->base, from->slice ? from->slice : from->size) ||
	     atomic_load(&mp_shim.host_pending)))
		pull = true;
	if (pull) {
		mp_capture_host(s);
		r = put(t, s, &o, c, NULL, 0, NULL, MP_REC_BULK | MP_REC_PULL);
		if (!r && mp_pull_add(o.ticket, from, capturing))
			mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
		if (!r && !capturing)
			mp_stream_issue(s, o.ticket);
		return r ? r : mp_out_end(&o);
	}
	if (!(packed = mp_shape_pack(from)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = put(t, s, &o, c, packed, small ? from->size : 0, NULL, small ? 0 : MP_REC_BULK);
	if (!r) {
		held = sync && mp_copy_held(s, &o, &a);
		mp_stream_issue_light(s, o.ticket);
		if (small && !held) {
			r = mp_out_end(&o);
		} else {
			mp_out_send(&o);
			if (!small && mp_rpc_upload(mp_shim.rpc, o.ticket, packed, from->size))
				r = mp_state_error();
		}
	}
	free(packed);
	if (held && r)
		mp_rpc_forget(mp_shim.rpc, &a);
	else if (held)
		return mp_copy_wait(t, s, &o, &a);
	return r || !sync ? r : mp_fence_send(t, s, o.ticket);
}

static CUresult to_host(struct mp_thread *t, struct mp_stream *s, const struct mp_copy3d *c,
			const struct mp_shape *to, enum mp_call call, bool wait)
{
	bool capturing = atomic_load(&s->capture) != NULL;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = put(t, s, &o, c, NULL, 0, to->base, 0);
	int e;

	if (r)
		return r;
	o.call = call;
	if (capturing) {
		mp_capture_host(s);
		e = mp_rpc_download_kept(mp_shim.rpc, o.ticket, to);
	} else {
		mp_stream_issue_light(s, o.ticket);
		e = mp_rpc_download(mp_shim.rpc, o.ticket, to, !wait) ||
		    (!wait && mp_writer_add(o.ticket, to->base,
					    to->rows > 1 ? to->pitch * to->rows : to->size));
	}
	if (e)
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
	if (capturing)
		return mp_out_end(&o);
	if (!wait) {
		mp_out_send(&o);
		return CUDA_SUCCESS;
	}
	r = mp_out_ask(&o, &a);
	free(a.own_data);
	if (r)
		return r;
	mp_stream_reached(s, o.ticket);
	return mp_ctx_error(s->ctx);
}

static CUresult box(enum mp_call call, const CUDA_MEMCPY3D *p, CUstream h, bool sync,
		    CUcontext src_ctx, CUcontext dst_ctx)
{
	struct mp_copy3d c;
	struct mp_shape shape;
	struct mp_thread *t;
	struct mp_stream *s;
	struct mp_out o;
	int host;
	bool fence;
	CUresult r = mp_enter(call, &t);

	if (!r)
		r = mp_stream_get(t, h, &s);
	if (!r)
		r = mp_stream_may(t, s);
	if (!r && sync)
		r = mp_safe(t);
	if (r)
		return r;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_box(t, p, &c, &shape, &host);
	if (r || !c.WidthInBytes || !c.Height || !c.Depth)
		return r;
	if (src_ctx || dst_ctx) {
		struct mp_ctx *sc = mp_ctx_find(src_ctx), *dc = mp_ctx_find(dst_ctx);

		if ((host != 1 && !sc) || (host != 2 && !dc))
			return CUDA_ERROR_INVALID_CONTEXT;
		c.srcContext = sc ? sc->head.id : 0;
		c.dstContext = dc ? dc->head.id : 0;
	}
	if (host == 3)
		return mp_refused(call); /* nothing of a device in it */
	r = box_mirrors(t, s, &c);
	if (r)
		return r;
	if (host == 1)
		return from_host(t, s, &c, &shape, sync);
	if (host == 2)
		return to_host(t, s, &c, &shape, call, sync || !mp_pinned(shape.base, 1));
	r = put(t, s, &o, &c, NULL, 0, NULL, 0);
	if (r)
		return r;
	if (atomic_load(&s->capture))
		return mp_out_end(&o);
	fence = sync && !mp_stream_held(s, o.ticket);
	mp_stream_issue_light(s, o.ticket);
	r = mp_out_end(&o);
	if (!r && fence)
		r = mp_fence_send(t, s, o.ticket);
	if (!r && sync && atomic_load(&mp_shim.mirrors)) /* the program may look at once */
		r = mp_stream_wait(t, call, s);
	return r;
}

CUresult mp_shim_cuMemcpy3D_v2(const CUDA_MEMCPY3D *p)
{
	return box(MP_CALL_cuMemcpy3D_v2, p, NULL, true, NULL, NULL);
}

CUresult mp_shim_cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *p, CUstream h)
{
	return box(MP_CALL_cuMemcpy3DAsync_v2, p, h, false, NULL, NULL);
}

/* A plane is a box of depth one. */
static CUresult plane(enum mp_call call, const CUDA_MEMCPY2D *p, CUstream h, bool sync)
{
	CUDA_MEMCPY3D c;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	c = (CUDA_MEMCPY3D){
		.srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcMemoryType = p->srcMemoryType,
		.srcHost = p->srcHost, .srcDevice = p->srcDevice, .srcArray = p->srcArray,
		.srcPitch = p->srcPitch,
		.dstXInBytes = p->dstXInBytes, .dstY = p->dstY, .dstMemoryType = p->dstMemoryType,
		.dstHost = p->dstHost, .dstDevice = p->dstDevice, .dstArray = p->dstArray,
		.dstPitch = p->dstPitch,
		.WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = 1};
	return box(call, &c, h, sync, NULL, NULL);
}

CUresult mp_shim_cuMemcpy2D_v2(const CUDA_MEMCPY2D *p)
{
	return plane(MP_CALL_cuMemcpy2D_v2, p, NULL, true);
}

CUresult mp_shim_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *p)
{
	return plane(MP_CALL_cuMemcpy2DUnaligned_v2, p, NULL, true);
}

CUresult mp_shim_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *p, CUstream h)
{
	return plane(MP_CALL_cuMemcpy2DAsync_v2, p, h, false);
}

static CUresult peer(enum mp_call call, const CUDA_MEMCPY3D_PEER *p, CUstream h, bool sync)
{
	CUDA_MEMCPY3D c;

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	c = (CUDA_MEMCPY3D){
		.srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcZ = p->srcZ, .srcLOD = p->srcLOD,
		.srcMemoryType = p->srcMemoryType, .srcHost = p->srcHost, .srcDevice = p->srcDevice,
		.srcArray = p->srcArray, .srcPitch = p->srcPitch, .srcHeight = p->srcHeight,
		.dstXInBytes = p->dstXInBytes, .dstY = p->dstY, .dstZ = p->dstZ, .dstLOD = p->dstLOD,
		.dstMemoryType = p->dstMemoryType, .dstHost = p->dstHost, .dstDevice = p->dstDevice,
		.dstArray = p->dstArray, .dstPitch = p->dstPitch, .dstHeight = p->dstHeight,
		.WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = p->Depth};
	return box(call, &c, h, sync, p->srcContext, p->dstContext);
}

CUresult mp_shim_cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *p)
{
	return peer(MP_CALL_cuMemcpy3DPeer, p, NULL, true);
}

CUresult mp_shim_cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *p, CUstream h)
{
	return peer(MP_CALL_cuMemcpy3DPeerAsync, p, h, false);
}

/* ---- Arrays and bytes ---- */

/* One row of bytes: from or to an array, host memory, or device memory. */
static CUresult row(enum mp_call call, CUstream h, bool sync, CUDA_MEMCPY3D c, size_t n)
{
	c.WidthInBytes = n;
	c.Height = c.Depth = 1;
	return box(call, &c, h, sync, NULL, NULL);
}

#define FROM_A(a, at) .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = (a), .srcXInBytes = (at)
#define TO_A(a, at)   .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = (a), .dstXInBytes = (at)
#define FROM_H(p)     .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = (p)
#define TO_H(p)	      .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = (p)
#define FROM_D(p)     .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = (p)
#define TO_D(p)	      .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = (p)
#define ROW(X, h, sync, n, ...) row(MP_CALL_##X, h, sync, (CUDA_MEMCPY3D){__VA_ARGS__}, n)

CUresult mp_shim_cuMemcpyHtoA_v2(CUarray to, size_t at, const void *from, size_t n)
{
	return ROW(cuMemcpyHtoA_v2, NULL, true, n, FROM_H(from), TO_A(to, at));
}

CUresult mp_shim_cuMemcpyHtoAAsync_v2(CUarray to, size_t at, const void *from, size_t n, CUstream h)
{
	return ROW(cuMemcpyHtoAAsync_v2, h, false, n, FROM_H(from), TO_A(to, at));
}

CUresult mp_shim_cuMemcpyAtoH_v2(void *to, CUarray from, size_t at, size_t n)
{
	return ROW(cuMemcpyAtoH_v2, NULL, true, n, FROM_A(from, at), TO_H(to));
}

CUresult mp_shim_cuMemcpyAtoHAsync_v2(void *to, CUarray from, size_t at, size_t n, CUstream h)
{
	return ROW(cuMemcpyAtoHAsync_v2, h, false, n, FROM_A(from, at), TO_H(to));
}

CUresult mp_shim_cuMemcpyDtoA_v2(CUarray to, size_t at, CUdeviceptr from, size_t n)
{
	return ROW(cuMemcpyDtoA_v2, NULL, true, n, FROM_D(from), TO_A(to, at));
}

CUresult mp_shim_cuMemcpyAtoD_v2(CUdeviceptr to, CUarray from, size_t at, size_t n)
{
	return ROW(cuMemcpyAtoD_v2, NULL, true, n, FROM_A(from, at), TO_D(to));
}

CUresult mp_shim_cuMemcpyAtoA_v2(CUarray to, size_t to_at, CUarray from, size_t from_at, size_t n)
{
	return ROW(cuMemcpyAtoA_v2, NULL, true, n, FROM_A(from, from_at), TO_A(to, to_at));
}

/* Many copies in one call: as many copies, in order; the first that fails is named. */
CUresult mp_shim_cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t n,
				    CUmemcpyAttributes *attrs, size_t *idx, size_t nattrs,
				    size_t *fail, CUstream h)
{
	CUresult r = CUDA_SUCCESS;
	size_t i;

	if (!dsts || !srcs || !sizes || !n || !nattrs || nattrs > n || !attrs || !idx)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < n && !r; i++) {
		r = mp_shim_cuMemcpyAsync(dsts[i], srcs[i], sizes[i], h);
		if (r && fail)
			*fail = i;
	}
	return r;
}

CUresult mp_shim_cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t n,
				       CUmemcpyAttributes *attrs, size_t *idx, size_t nattrs,
				       CUstream h)
{
	return mp_shim_cuMemcpyBatchAsync(dsts, srcs, sizes, n, attrs, idx, nattrs, NULL, h);
}
