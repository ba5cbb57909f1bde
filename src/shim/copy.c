/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear copies, classed by memory and not by name:
 *
 *	into the device		one-way.  Up to 64 KiB the bytes are in the record.  Larger
 *				ones follow on the bulk lane: from this thread when the
 *				program may change them on return, from the bulk thread when
 *				they are pinned and the call is asynchronous.  A synchronous
 *				large one is followed by FENCE.
 *	  from pinned memory	that earlier queued work may still write: the server pulls
 *				the bytes when the stream gets there.
 *	out of the device	into pageable memory or synchronous: an answer is waited for;
 *				into pinned memory, asynchronous: one-way, told by DONE.
 *	within the device	one-way.
 */
#include "shim/mirror.h"

#include <stdlib.h>
#include <string.h>

/* A copy whose bytes the server will ask for: once, or at each launch of a graph. */
struct pull {
	struct pull *next;
	uint64_t ticket;
	struct mp_shape from;
	bool keep;
};

static pthread_mutex_t pulls_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pull *pulls MP_GUARDED_BY(pulls_lock);

int mp_pull_add(uint64_t ticket, const struct mp_shape *from, bool keep)
{
	struct pull *u = malloc(sizeof(*u));

	if (!u)
		return -1;
	*u = (struct pull){.ticket = ticket, .from = *from, .keep = keep};
	pthread_mutex_lock(&pulls_lock);
	u->next = pulls;
	pulls = u;
	pthread_mutex_unlock(&pulls_lock);
	return 0;
}

void *mp_shape_pack(const struct mp_shape *from)
{
	uint8_t *p = malloc(from->size);
	uint64_t at = 0;

	while (p && at < from->size) {
		uint64_t n = from->size - at;
		const uint8_t *src = mp_shape_at(from, at, &n);

		memcpy(p + at, src, n);
		at += n;
	}
	return p;
}

/* Receiver thread: hand it to the bulk thread. */
void mp_copy_pull(void *arg, uint64_t ticket)
{
	struct mp_shape from = {0};
	struct pull **p, *u;
	void *packed = NULL;
	int e;

	pthread_mutex_lock(&pulls_lock);
	for (p = &pulls; (u = *p) && u->ticket != ticket; p = &u->next)
		;
	if (u)
		from = u->from;
	if (u && !u->keep) {
		*p = u->next;
		free(u);
	}
	pthread_mutex_unlock(&pulls_lock);
	if (!from.size) {
		mp_rpc_lose(mp_shim.rpc, 0, "bytes were asked for that nobody copies");
		return;
	}
	if (!from.row) {
		e = mp_rpc_upload_later(mp_shim.rpc, ticket, from.base, from.size, NULL, NULL);
	} else {
		packed = mp_shape_pack(&from);
		e = packed ? mp_rpc_upload_later(mp_shim.rpc, ticket, packed, from.size, free, packed)
			   : -1;
	}
	if (e) {
		free(packed);
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a deferred copy");
	}
}

/* Is [p, p + n) memory of a device, all in one allocation? */
CUresult mp_device_range(uint64_t p, size_t n)
{
	struct mp_range range;

	if (!mp_memory_find(p, &range)) /* a module's variables lie outside the window */
		return mp_module_address(p) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (!mp_range_device(&range))
		return CUDA_SUCCESS; /* a pinned address: legal where a device address is */
	if (range.registered) /* by the program's address or by the device's */
		return CUDA_SUCCESS;
	if (range.vmm) /* neighbouring mappings may continue each other */
		return mp_vmm_accessible(p) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	return n > range.size - (p - range.base) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* Before a copy within the device: mirrors among its ends. */
static CUresult mirrors_ready(struct mp_thread *t, struct mp_stream *s, uint64_t dst, uint64_t src,
			      size_t n)
{
	CUresult r = CUDA_SUCCESS;

	if (MP_LIKELY(!atomic_load_explicit(&mp_shim.hosted, memory_order_relaxed)) ||
	    atomic_load(&s->capture))
		return CUDA_SUCCESS;
	if (src)
		r = mp_mirror_copy(t, src, n, false);
	return r || !dst ? r : mp_mirror_copy(t, dst, n, true);
}

/* The address by which the device knows host memory, if it does; 0: it is host memory alone. */
static uint64_t on_device(const void *p)
{
	struct mp_mirror m;

	if (!mp_mirror_find((uintptr_t)p, &m))
		return 0;
	if (m.host == m.device || (uintptr_t)p - m.host >= m.pages * MP_PAGE)
		return (uintptr_t)p;
	return m.device + ((uintptr_t)p - m.host);
}

bool mp_pinned(const void *p, size_t n)
{
	struct mp_range range;

	return mp_host_find((uintptr_t)p, &range) && n <= range.size - ((uintptr_t)p - range.base);
}

/* Common beginning of a copy on a stream. */
static CUresult begin(enum mp_call call, CUstream h, struct mp_thread **t, struct mp_stream **s)
{
	CUresult r = mp_enter(call, t);

	if (!r)
		r = mp_stream_get(*t, h, s);
	return r ? r : mp_stream_may(*t, *s);
}

/* A synchronous copy goes through the default stream, and is not allowed while that captures. */
static CUresult begin_sync(enum mp_call call, struct mp_thread **t, struct mp_stream **s)
{
	CUresult r = begin(call, NULL, t, s);

	if (!r)
		r = mp_safe(*t);
	return r;
}

/* ---- Into the device ---- */

struct h2d {
	uint64_t dst;
	const void *src;
	size_t n;
	bool sync; /* the program may change the bytes when the call returns */
	bool wait_free; /* pinned and asynchronous: bytes may leave later */
	bool pull;
};

/* A record in the default stream has no stream field; in a per-thread one it must be named. */
static CUresult h2d_put(struct mp_thread *t, struct mp_stream *s, const struct h2d *c,
			struct mp_out *o)
{
	bool in_record = c->n <= MP_INLINE_MAX && !c->pull;
	CUresult r;

	if (c->sync && s->legacy) {
		struct mp_msg_cuMemcpyHtoD_v2 m = {.dstDevice = c->dst, .ByteCount = c->n,
						   .srcHost = c->src,
						   .srcHost_len = in_record ? c->n : 0};

		r = MP_PUT(o, t, MP_CALL_cuMemcpyHtoD_v2, cuMemcpyHtoD_v2, &m, s->ctx->head.id);
	} else {
		struct mp_msg_cuMemcpyHtoDAsync_v2 m = {.dstDevice = c->dst, .ByteCount = c->n,
							.srcHost = c->src,
							.srcHost_len = in_record ? c->n : 0,
							.hStream = s->head.id};

		r = MP_PUT(o, t, MP_CALL_cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync_v2, &m,
			   s->ctx->head.id);
	}
	if (!r && !in_record)
		o->rec->flags |= c->pull ? MP_REC_BULK | MP_REC_PULL : MP_REC_BULK;
	return r;
}

static CUresult fence_put(struct mp_thread *t, uint32_t ctx, uint32_t stream, uint64_t *ticket)
{
	struct mp_msg_fence m = {.copy = *ticket, .stream = stream};
	struct mp_out o;
	CUresult r = MP_PUT(&o, t, MP_REC_fence, fence, &m, ctx);

	if (!r) {
		*ticket = o.ticket;
		mp_out_send(&o);
	}
	return r;
}

CUresult mp_fence_send(struct mp_thread *t, struct mp_stream *s, uint64_t ticket)
{
	return fence_put(t, s->ctx->head.id, s->head.id, &ticket);
}

static CUresult d2d(struct mp_thread *t, struct mp_stream *s, bool async, uint64_t dst, uint64_t src,
		    size_t n);

bool mp_copy_held(struct mp_stream *s, struct mp_out *o, struct mp_answer *a)
{
	if (!mp_stream_held(s, o->ticket))
		return false;
	o->rec->flags |= MP_REC_REPLY | MP_REC_DONE;
	mp_rpc_expect(mp_shim.rpc, a, o->ticket);
	return true;
}

CUresult mp_copy_wait(struct mp_thread *t, struct mp_stream *s, struct mp_out *o,
		      struct mp_answer *a)
{
	CUresult r = (CUresult)mp_rpc_await(mp_shim.rpc, a);

	t->waits[o->call]++;
	free(a->own_data);
	if (r)
		return r;
	mp_stream_reached(s, o->ticket);
	return mp_ctx_error(s->ctx);
}

/* It is behind something that another thread may have to end: it comes back when it is done. */
static CUresult h2d_held(struct mp_thread *t, struct mp_stream *s, const struct h2d *c,
			 struct mp_out *o, struct mp_answer *a)
{
	mp_out_send(o);
	if (c->n > MP_INLINE_MAX && mp_rpc_upload(mp_shim.rpc, o->ticket, c->src, c->n)) {
		mp_rpc_forget(mp_shim.rpc, a);
		return mp_state_error();
	}
	return mp_copy_wait(t, s, o, a);
}

static CUresult h2d(struct mp_thread *t, struct mp_stream *s, struct h2d c)
{
	bool capturing = atomic_load(&s->capture) != NULL, held;
	bool in_record = c.n <= MP_INLINE_MAX;
	uint64_t mirrored = on_device(c.src);
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_device_range(c.dst, c.n);

	if (r || !c.n)
		return r;
	if (MP_UNLIKELY(mirrored)) {
		const void *here = capturing ? NULL : mp_mirror_valid((uintptr_t)c.src, c.n);

		if (!here)
			return d2d(t, s, !c.sync, c.dst, mirrored, c.n);
		c.src = here;
		c.wait_free = false;
	}
	r = mirrors_ready(t, s, c.dst, 0, c.n);
	if (r)
		return r;
	/*
	 * Pinned bytes that queued work may still write: a download into them, or anything
	 * that a host function or a wait for a value holds back (the program may write them
	 * until that lets go).
	 */
	if (c.wait_free &&
	    (mp_writer_pending(c.src, c.n) || atomic_load(&mp_shim.host_pending)))
		c.pull = true;
	if (capturing) { /* a graph reads the memory at each launch */
		c.pull = true;
		mp_capture_host(s);
	}
	r = h2d_put(t, s, &c, &o);
	if (r)
		return r;
	if (c.pull &&
	    mp_pull_add(o.ticket,
			&(struct mp_shape){.base = (uint8_t *)(uintptr_t)c.src, .size = c.n}, capturing))
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a deferred copy");
	held = c.sync && !capturing && mp_copy_held(s, &o, &a);
	if (!capturing)
		mp_stream_issue_light(s, o.ticket);
	if (held)
		return h2d_held(t, s, &c, &o, &a);
	if (in_record || c.pull) {
		r = mp_out_end(&o);
		/* Through a stream of its own the record does not fence by itself. */
		if (!r && c.sync && !s->legacy && !capturing)
			r = mp_fence_send(t, s, o.ticket);
		return r;
	}
	mp_out_send(&o);
	if (c.wait_free && !mp_rpc_upload_later(mp_shim.rpc, o.ticket, c.src, c.n, NULL, NULL))
		return CUDA_SUCCESS;
	if (mp_rpc_upload(mp_shim.rpc, o.ticket, c.src, c.n))
		return mp_state_error();
	return c.sync && !capturing ? mp_fence_send(t, s, o.ticket) : CUDA_SUCCESS;
}

CUresult mp_shim_cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t n)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin_sync(MP_CALL_cuMemcpyHtoD_v2, &t, &s);

	if (r)
		return r;
	if (n && !src)
		return CUDA_ERROR_INVALID_VALUE;
	return h2d(t, s, (struct h2d){.dst = dst, .src = src, .n = n, .sync = true});
}

CUresult mp_shim_cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t n, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin(MP_CALL_cuMemcpyHtoDAsync_v2, h, &t, &s);

	if (r)
		return r;
	if (n && !src)
		return CUDA_ERROR_INVALID_VALUE;
	return h2d(t, s, (struct h2d){.dst = dst, .src = src, .n = n, .wait_free = mp_pinned(src, n)});
}

/* ---- Out of the device ---- */

static CUresult d2h(struct mp_thread *t, struct mp_stream *s, enum mp_call call, void *dst,
		    uint64_t src, size_t n, bool wait)
{
	struct mp_shape to = {.base = dst, .size = n};
	bool capturing = atomic_load(&s->capture) != NULL;
	struct mp_answer a;
	struct mp_out o;
	CUresult r = mp_device_range(src, n);
	uint64_t mirrored = on_device(dst);

	if (r || !n)
		return r;
	if (MP_UNLIKELY(mirrored))
		return d2d(t, s, call == MP_CALL_cuMemcpyDtoHAsync_v2, mirrored, src, n);
	r = mirrors_ready(t, s, 0, src, n);
	if (r)
		return r;
	if (call == MP_CALL_cuMemcpyDtoH_v2 && s->legacy) {
		struct mp_msg_cuMemcpyDtoH_v2 m = {.srcDevice = src, .ByteCount = n};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyDtoH_v2, cuMemcpyDtoH_v2, &m, s->ctx->head.id);
	} else {
		struct mp_msg_cuMemcpyDtoHAsync_v2 m = {.srcDevice = src, .ByteCount = n,
							.dstHost = (uintptr_t)dst,
							.hStream = s->head.id};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2, &m,
			   s->ctx->head.id);
	}
	if (r)
		return r;
	o.call = call;
	if (capturing) { /* the graph's launches deliver it, again and again */
		mp_capture_host(s);
		if (mp_rpc_download_kept(mp_shim.rpc, o.ticket, &to))
			mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
		return mp_out_end(&o);
	}
	if (mp_rpc_download(mp_shim.rpc, o.ticket, &to, !wait) ||
	    (!wait && mp_writer_add(o.ticket, dst, n)))
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
	mp_stream_issue_light(s, o.ticket);
	if (!wait) {
		mp_out_send(&o);
		return CUDA_SUCCESS;
	}
	r = mp_out_ask(&o, &a);
	free(a.own_data);
	if (r)
		return r;
	/* What the stream had before is over too. */
	mp_stream_reached(s, o.ticket);
	return mp_ctx_error(s->ctx);
}

CUresult mp_shim_cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t n)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin_sync(MP_CALL_cuMemcpyDtoH_v2, &t, &s);

	if (r)
		return r;
	if (n && !dst)
		return CUDA_ERROR_INVALID_VALUE;
	return d2h(t, s, MP_CALL_cuMemcpyDtoH_v2, dst, src, n, true);
}

CUresult mp_shim_cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t n, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin(MP_CALL_cuMemcpyDtoHAsync_v2, h, &t, &s);

	if (r)
		return r;
	if (n && !dst)
		return CUDA_ERROR_INVALID_VALUE;
	return d2h(t, s, MP_CALL_cuMemcpyDtoHAsync_v2, dst, src, n, !mp_pinned(dst, n));
}

/* ---- Within the device ---- */

/*
 * The call was synchronous by name: what comes later, on any stream, is behind it.  CUDA
 * promises no such thing of work within the device ("API synchronization behavior"), so
 * where it could hang another thread it is left out.
 */
static CUresult set_end(struct mp_thread *t, struct mp_stream *s, struct mp_out *o, bool sync)
{
	CUresult r;

	if (atomic_load(&s->capture))
		return mp_out_end(o);
	sync = sync && !mp_stream_held(s, o->ticket);
	mp_stream_issue_light(s, o->ticket);
	r = mp_out_end(o);
	return r || !sync ? r : mp_fence_send(t, s, o->ticket);
}

/* The program sees mirrored memory: a synchronous call that touches it is over when it returns. */
static CUresult mirrored_end(struct mp_thread *t, struct mp_stream *s, CUresult r, bool sync,
			     uint64_t dst, uint64_t src)
{
	if (MP_LIKELY(r || !sync || !atomic_load_explicit(&mp_shim.mirrors, memory_order_relaxed)) ||
	    atomic_load(&s->capture))
		return r;
	if (!on_device((void *)(uintptr_t)dst) && !on_device((void *)(uintptr_t)src))
		return r;
	return mp_stream_wait(t, MP_CALL_cuMemcpyDtoD_v2, s);
}

static CUresult d2d(struct mp_thread *t, struct mp_stream *s, bool async, uint64_t dst, uint64_t src,
		    size_t n)
{
	struct mp_out o;
	CUresult r = mp_device_range(dst, n);

	if (!r)
		r = mp_device_range(src, n);
	if (!r && n)
		r = mirrors_ready(t, s, dst, src, n);
	if (r || !n)
		return r;
	if (!async && s->legacy) {
		struct mp_msg_cuMemcpyDtoD_v2 m = {.dstDevice = dst, .srcDevice = src, .ByteCount = n};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyDtoD_v2, cuMemcpyDtoD_v2, &m, s->ctx->head.id);
	} else {
		struct mp_msg_cuMemcpyDtoDAsync_v2 m = {.dstDevice = dst, .srcDevice = src,
							.ByteCount = n, .hStream = s->head.id};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2, &m,
			   s->ctx->head.id);
	}
	return mirrored_end(t, s, r ? r : set_end(t, s, &o, !async), !async, dst, src);
}

CUresult mp_shim_cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t n)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin_sync(MP_CALL_cuMemcpyDtoD_v2, &t, &s);

	return r ? r : d2d(t, s, false, dst, src, n);
}

CUresult mp_shim_cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin(MP_CALL_cuMemcpyDtoDAsync_v2, h, &t, &s);

	return r ? r : d2d(t, s, true, dst, src, n);
}

/* ---- By what the addresses are ---- */

static CUresult unified(struct mp_thread *t, struct mp_stream *s, uint64_t dst, uint64_t src,
			size_t n, bool sync)
{
	struct mp_range a, b;
	bool to = mp_memory_find(dst, &a) && a.kind != MP_PINNED;
	bool from = mp_memory_find(src, &b) && b.kind != MP_PINNED;
	void *hd = (void *)(uintptr_t)dst, *hs = (void *)(uintptr_t)src;

	if (!dst || !src)
		return n ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	to = to || mp_module_address(dst);
	from = from || mp_module_address(src);
	if (to && from)
		return d2d(t, s, !sync, dst, src, n);
	if (to)
		return h2d(t, s, (struct h2d){.dst = dst, .src = hs, .n = n, .sync = sync,
					      .wait_free = !sync && mp_pinned(hs, n)});
	if (from)
		return d2h(t, s, sync ? MP_CALL_cuMemcpyDtoH_v2 : MP_CALL_cuMemcpyDtoHAsync_v2, hd,
			   src, n, sync || !mp_pinned(hd, n));
	if (on_device(hd) && on_device(hs))
		return d2d(t, s, !sync, on_device(hd), on_device(hs), n);
	/* Host to host, in stream order: when the stream has got here. */
	if (atomic_load(&s->capture))
		return mp_refused(MP_CALL_cuMemcpyAsync);
	{
		CUresult r = mp_stream_wait(t, MP_CALL_cuMemcpyAsync, s);

		if (!r)
			memmove(hd, hs, n);
		return r;
	}
}

CUresult mp_shim_cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t n)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin_sync(MP_CALL_cuMemcpy, &t, &s);

	return r ? r : unified(t, s, dst, src, n, true);
}

CUresult mp_shim_cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin(MP_CALL_cuMemcpyAsync, h, &t, &s);

	return r ? r : unified(t, s, dst, src, n, false);
}

/* ---- Between devices ---- */

static CUresult peer(struct mp_thread *t, struct mp_stream *s, bool async, uint64_t dst,
		     CUcontext dst_ctx, uint64_t src, CUcontext src_ctx, size_t n)
{
	struct mp_ctx *dc = mp_ctx_find(dst_ctx), *sc = mp_ctx_find(src_ctx);
	struct mp_out o;
	uint64_t ticket;
	CUresult r;

	if (!dc || !sc || !dc->live || !sc->live)
		return CUDA_ERROR_INVALID_CONTEXT;
	r = mp_device_range(dst, n);
	if (!r)
		r = mp_device_range(src, n);
	if (!r && n)
		r = mirrors_ready(t, s, dst, src, n);
	if (r || !n)
		return r;
	if (!async && s->legacy) {
		struct mp_msg_cuMemcpyPeer m = {.dstDevice = dst, .dstContext = dc->head.id,
						.srcDevice = src, .srcContext = sc->head.id,
						.ByteCount = n};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyPeer, cuMemcpyPeer, &m, s->ctx->head.id);
	} else {
		struct mp_msg_cuMemcpyPeerAsync m = {.dstDevice = dst, .dstContext = dc->head.id,
						     .srcDevice = src, .srcContext = sc->head.id,
						     .ByteCount = n, .hStream = s->head.id};

		r = MP_PUT(&o, t, MP_CALL_cuMemcpyPeerAsync, cuMemcpyPeerAsync, &m, s->ctx->head.id);
	}
	if (r)
		return r;
	if (async || atomic_load(&s->capture))
		return set_end(t, s, &o, false);
	/* Behind it is what comes later in either context: their fences wait for the first one. */
	r = set_end(t, s, &o, false);
	ticket = o.ticket;
	if (!r)
		r = fence_put(t, s->ctx->head.id, s->head.id, &ticket);
	if (!r && dc != s->ctx)
		r = fence_put(t, dc->head.id, 0, &(uint64_t){ticket});
	if (!r && sc != s->ctx && sc != dc)
		r = fence_put(t, sc->head.id, 0, &(uint64_t){ticket});
	return mirrored_end(t, s, r, true, dst, src);
}

CUresult mp_shim_cuMemcpyPeer(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx,
			      size_t n)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin_sync(MP_CALL_cuMemcpyPeer, &t, &s);

	return r ? r : peer(t, s, false, dst, dst_ctx, src, src_ctx, n);
}

CUresult mp_shim_cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src,
				   CUcontext src_ctx, size_t n, CUstream h)
{
	struct mp_thread *t;
	struct mp_stream *s;
	CUresult r = begin(MP_CALL_cuMemcpyPeerAsync, h, &t, &s);

	return r ? r : peer(t, s, true, dst, dst_ctx, src, src_ctx, n);
}

/* ---- Memsets ---- */

static CUresult set_check(uint64_t dst, size_t width, size_t height, size_t pitch, unsigned unit)
{
	size_t row, all;

	if (dst & (unit - 1) || (height > 1 && (pitch % unit || pitch < width * unit)) ||
	    !mp_mul(width, unit, &row) || !mp_mul(pitch, height ? height - 1 : 0, &all) ||
	    !mp_add(all, row, &all))
		return CUDA_ERROR_INVALID_VALUE;
	return width && height ? mp_device_range(dst, all) : CUDA_SUCCESS;
}

#define SET_LINEAR(X, type, value, unit)                                                           \
	static CUresult X##_set(CUdeviceptr dst, type value, size_t n, CUstream h, bool sync)      \
	{                                                                                          \
		struct mp_msg_##X##Async m = {.dstDevice = dst, .value = value, .N = n};           \
		struct mp_thread *t;                                                               \
		struct mp_stream *s;                                                               \
		struct mp_out o;                                                                   \
		CUresult r = begin(MP_CALL_##X##Async, h, &t, &s);                                 \
                                                                                                   \
		if (!r && sync)                                                                    \
			r = mp_safe(t);                                                            \
		if (!r)                                                                            \
			r = set_check(dst, n, 1, 0, unit);                                         \
		if (!r && n)                                                                       \
			r = mirrors_ready(t, s, dst, 0, (n) * (unit));                             \
		if (r || !n)                                                                       \
			return r;                                                                  \
		m.hStream = s->head.id;                                                            \
		r = MP_PUT(&o, t, MP_CALL_##X##Async, X##Async, &m, s->ctx->head.id);              \
		r = r ? r : set_end(t, s, &o, sync);                                               \
		return mirrored_end(t, s, r, sync, dst, 0);                                        \
	}                                                                                          \
	CUresult mp_shim_##X##Async(CUdeviceptr dst, type value, size_t n, CUstream h)             \
	{                                                                                          \
		return X##_set(dst, value, n, h, false);                                           \
	}                                                                                          \
	CUresult mp_shim_##X##_v2(CUdeviceptr dst, type value, size_t n)                           \
	{                                                                                          \
		return X##_set(dst, value, n, NULL, true);                                         \
	}

#define SET_ROWS(X, type, value, unit)                                                             \
	static CUresult X##_set(CUdeviceptr dst, size_t pitch, type value, size_t w, size_t n,     \
				CUstream h, bool sync)                                             \
	{                                                                                          \
		struct mp_msg_##X##Async m = {.dstDevice = dst, .dstPitch = pitch, .value = value, \
					      .Width = w, .Height = n};                            \
		struct mp_thread *t;                                                               \
		struct mp_stream *s;                                                               \
		struct mp_out o;                                                                   \
		CUresult r = begin(MP_CALL_##X##Async, h, &t, &s);                                 \
                                                                                                   \
		if (!r && sync)                                                                    \
			r = mp_safe(t);                                                            \
		if (!r)                                                                            \
			r = set_check(dst, w, n, pitch, unit);                                     \
		if (!r && n && w)                                                                  \
			r = mirrors_ready(t, s, dst, 0, pitch * ((n) - 1) + (w) * (unit));         \
		if (r || !n || !w)                                                                 \
			return r;                                                                  \
		m.hStream = s->head.id;                                                            \
		r = MP_PUT(&o, t, MP_CALL_##X##Async, X##Async, &m, s->ctx->head.id);              \
		r = r ? r : set_end(t, s, &o, sync);                                               \
		return mirrored_end(t, s, r, sync, dst, 0);                                        \
	}                                                                                          \
	CUresult mp_shim_##X##Async(CUdeviceptr dst, size_t pitch, type value, size_t w, size_t n, \
				    CUstream h)                                                    \
	{                                                                                          \
		return X##_set(dst, pitch, value, w, n, h, false);                                 \
	}                                                                                          \
	CUresult mp_shim_##X##_v2(CUdeviceptr dst, size_t pitch, type value, size_t w, size_t n)   \
	{                                                                                          \
		return X##_set(dst, pitch, value, w, n, NULL, true);                               \
	}

SET_LINEAR(cuMemsetD8, unsigned char, uc, 1)
SET_LINEAR(cuMemsetD16, unsigned short, us, 2)
SET_LINEAR(cuMemsetD32, unsigned int, ui, 4)
SET_ROWS(cuMemsetD2D8, unsigned char, uc, 1)
SET_ROWS(cuMemsetD2D16, unsigned short, us, 2)
SET_ROWS(cuMemsetD2D32, unsigned int, ui, 4)
