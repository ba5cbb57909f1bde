/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How records leave, and what the automatic bodies of generated entries use
 * (docs/API-DESCRIPTION.md section 3).
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

CUresult mp_out_ask(struct mp_out *o, struct mp_answer *a)
{
	o->rec->flags |= MP_REC_REPLY;
	o->thread->records++;
	o->thread->waits[o->call]++;
	mp_rpc_expect(mp_shim.rpc, a, o->ticket);
	mp_rpc_commit(mp_shim.rpc, o->rec, o->n, o->ticket);
	return (CUresult)mp_rpc_await(mp_shim.rpc, a);
}

CUresult mp_out_strict(struct mp_out *o)
{
	struct mp_answer a;
	CUresult r = mp_out_ask(o, &a);

	free(a.own_data);
	return r;
}

static void refused_say(const char *name)
{
	mp_log(MP_LOG_WARN, "shim", "refused", "call=%s", name);
	mp_errlog_add(CU_LOG_LEVEL_ERROR, "%s is not supported", name);
}

CUresult mp_refused(enum mp_call call)
{
	struct mp_thread *t = mp_thread_get();

	if (t && !t->refused[call]++)
		refused_say(mp_call_find(call)->name);
	return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult mp_shim_begin(enum mp_call call)
{
	struct mp_thread *t;
	CUresult r = mp_enter(call, &t);

	return r;
}

void *mp_shim_scratch(size_t n)
{
	struct mp_thread *t = mp_thread_get();

	return t ? mp_scratch(t, n) : NULL;
}

CUresult mp_shim_id(enum mp_kind kind, const void *handle, uint32_t *ret_id)
{
	struct mp_thread *t = mp_self;
	struct mp_head *h;

	assert(t);
	if (kind == MP_KIND_stream) {
		struct mp_stream *s;
		CUresult r = mp_stream_get(t, (CUstream)(uintptr_t)handle, &s);

		if (!r)
			*ret_id = s->head.id;
		return r;
	}
	if (kind == MP_KIND_context) {
		struct mp_ctx *c = handle ? mp_ctx_find((CUcontext)(uintptr_t)handle) : t->ctx;

		if (!c || !c->live)
			return CUDA_ERROR_INVALID_CONTEXT;
		*ret_id = c->head.id;
		return CUDA_SUCCESS;
	}
	h = kind == MP_KIND_function ? (struct mp_head *)mp_func_get(handle) : mp_object(handle, kind);
	if (!h) /* graph handles are values to a driver: 1; the others are handles: 400 */
		return kind == MP_KIND_graph || kind == MP_KIND_node || kind == MP_KIND_exec
			       ? CUDA_ERROR_INVALID_VALUE
			       : CUDA_ERROR_INVALID_HANDLE;
	*ret_id = h->id;
	return CUDA_SUCCESS;
}

CUresult mp_shim_device(CUdevice dev, int32_t *ret)
{
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*ret = mp_shim.device[dev].wire;
	return CUDA_SUCCESS;
}

CUresult mp_shim_new(enum mp_kind kind, uint32_t *ret_id, void **ret_handle)
{
	struct mp_head *h = mp_slot_new(kind);

	if (!h)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret_id = h->id;
	*ret_handle = h;
	return CUDA_SUCCESS;
}

void mp_shim_gone(enum mp_kind kind, const void *handle)
{
	void *h = mp_object(handle, kind);

	if (h && kind == MP_KIND_graph)
		mp_graph_gone(h);
	else if (h)
		mp_slot_free(h);
}

void *mp_shim_handle(enum mp_kind kind, uint32_t id)
{
	return id ? mp_slot_by_id(kind, id) : NULL;
}

/* priv: 0 out.rec, 1 ticket, 2 n, 3 answer, 4 call */
CUresult mp_shim_reserve(struct mp_shim_slot *s, enum mp_call call, size_t size, uint32_t stream_id)
{
	struct mp_thread *t = mp_self;
	struct mp_out o = {0};
	CUresult r = mp_out_begin(&o, t, call, size, t->ctx ? t->ctx->head.id : 0);

	if (r)
		return r;
	s->payload = (uint8_t *)(o.rec + 1);
	s->size = size;
	s->call = call;
	s->priv[0] = (uintptr_t)o.rec;
	s->priv[1] = o.ticket;
	s->priv[2] = o.n;
	s->priv[3] = 0;
	return CUDA_SUCCESS;
}

static struct mp_out slot_out(struct mp_shim_slot *s)
{
	return (struct mp_out){.rec = (struct mp_record *)(uintptr_t)s->priv[0],
			       .ticket = s->priv[1],
			       .n = s->priv[2],
			       .thread = mp_self,
			       .call = s->call};
}

CUresult mp_shim_commit(struct mp_shim_slot *s)
{
	struct mp_out o = slot_out(s);

	return mp_out_end(&o);
}

CUresult mp_shim_ask(struct mp_shim_slot *s, const uint8_t **ret, size_t *ret_n)
{
	struct mp_out o = slot_out(s);
	struct mp_answer a;
	CUresult r = mp_out_ask(&o, &a);

	*ret = a.own_data;
	*ret_n = a.size;
	s->priv[3] = (uintptr_t)a.own_data;
	if (r && a.own_data) { /* a status with a payload says it in the payload too */
		free(a.own_data);
		s->priv[3] = 0;
	}
	return r;
}

void mp_shim_ask_done(struct mp_shim_slot *s)
{
	free((void *)(uintptr_t)s->priv[3]);
	s->priv[3] = 0;
}
