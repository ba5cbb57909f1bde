/* SPDX-License-Identifier: Apache-2.0 */
/* Frames to the client.  Any thread, except that the completion thread alone gathers DONE entries. */
#include "worker/inside.h"

void mp_say(struct mp_worker *w, unsigned kind, uint64_t ticket, uint64_t extra, const void *p, size_t n)
{
	struct mp_frame f = {.kind = (uint16_t)kind, .ticket = ticket, .extra = extra};

	if (w->out[0] && mp_outlet_send(w->out[0], f, p, n))
		mp_end(w, MP_WORKER_EXIT_LOST, "the client does not take what it is sent");
}

void mp_say_reply(struct mp_worker *w, uint64_t ticket, CUresult status, const void *payload, size_t n)
{
	uint64_t bulk = w->out[1] ? mp_outlet_count(w->out[1]) : 0;

	mp_say(w, MP_FRAME_REPLY, ticket, (uint32_t)status | bulk << 32, status ? NULL : payload,
	       status ? 0 : n);
}

void mp_say_error(struct mp_worker *w, uint64_t ticket, uint32_t ctx, uint32_t call, CUresult status)
{
	uint32_t body[2] = {call, 0};

	mp_say(w, MP_FRAME_ERROR, ticket, (uint64_t)ctx << 32 | (uint32_t)status, body, sizeof(body));
}

static struct mp_done done_entry(struct mp_worker *w, unsigned kind, uint32_t id, uint64_t ticket, CUresult status,
				 int64_t time)
{
	return (struct mp_done){
		.kind = kind,
		.id = id,
		.ticket = ticket,
		.status = (uint32_t)status,
		.bulk = w->out[1] ? mp_outlet_count(w->out[1]) : 0,
		.time = time,
	};
}

void mp_say_done(struct mp_worker *w, unsigned kind, uint32_t id, uint64_t ticket, CUresult status, int64_t time)
{
	if (w->done_count == MP_ARRAY_LEN(w->done))
		mp_say_done_flush(w);
	w->done[w->done_count++] = done_entry(w, kind, id, ticket, status, time);
}

void mp_say_failed(struct mp_worker *w, unsigned kind, uint64_t ticket, CUresult status)
{
	struct mp_done d = done_entry(w, kind, 0, ticket, status, 0);

	mp_say(w, MP_FRAME_DONE, 0, 1, &d, sizeof(d));
}

void mp_say_done_flush(struct mp_worker *w)
{
	unsigned n = w->done_count;

	if (!n)
		return;
	w->done_count = 0;
	mp_say(w, MP_FRAME_DONE, 0, n, w->done, n * sizeof(w->done[0]));
}
