/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk data: uploads in chunks, by the caller or by the bulk thread, and the
 * table of downloads that the receiver fills in place.
 *
 * A chunk holds the lane; between two chunks another sender gets his turn, so a
 * large copy delays a small one by a chunk only.
 */
#include "rpc/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "net/net.h"

int mp_rpc_upload(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n)
{
	struct mp_session *s = mp_session_of(r);
	uint64_t at = 0;

	while (at < n) {
		uint64_t k = n - at < MP_CHUNK_MAX ? n - at : MP_CHUNK_MAX;
		struct mp_frame f = {
			.kind = MP_FRAME_BULK, .length = (uint32_t)k, .ticket = ticket, .extra = at};
		struct iovec iov[2] = {{&f, sizeof(f)},
				       {(uint8_t *)(uintptr_t)p + at, (size_t)k}};
		int e;

		if (atomic_load(&r->lost))
			return -1;
		pthread_mutex_lock(&s->bulk);
		e = mp_net_sendv(s->fd[1], iov, 2);
		pthread_mutex_unlock(&s->bulk);
		if (e) {
			mp_rpc_lose(r, 0, "the bulk lane cannot be written");
			return -1;
		}
		atomic_fetch_add_explicit(&r->stats.frames_out[1], 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&r->stats.bytes_out[1], sizeof(f) + k,
					  memory_order_relaxed);
		at += k;
	}
	return 0;
}

int mp_rpc_upload_later(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n,
			void (*sent)(void *arg), void *arg)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_upload *u = malloc(sizeof(*u));
	bool stop;

	if (!u)
		return -1;
	*u = (struct mp_upload){.ticket = ticket, .p = p, .n = n, .sent = sent, .arg = arg};
	pthread_mutex_lock(&s->queue);
	stop = s->stop;
	if (!stop) {
		*s->upload_last = u;
		s->upload_last = &u->next;
		pthread_cond_signal(&s->queued);
	}
	pthread_mutex_unlock(&s->queue);
	if (stop) {
		free(u);
		if (sent)
			sent(arg);
	}
	return 0;
}

void *mp_session_bulk(void *arg)
{
	struct mp_session *s = arg;

	prctl(PR_SET_NAME, "mp-bulk");
	mp_rpc_own_thread = true;
	for (;;) {
		struct mp_upload *u;

		pthread_mutex_lock(&s->queue);
		while (!s->upload_first && !s->stop)
			pthread_cond_wait(&s->queued, &s->queue);
		u = s->upload_first;
		if (u && !(s->upload_first = u->next))
			s->upload_last = &s->upload_first;
		pthread_mutex_unlock(&s->queue);
		if (!u)
			return NULL;
		mp_rpc_upload(&s->rpc, u->ticket, u->p, u->n); /* a loss has been told by itself */
		if (u->sent)
			u->sent(u->arg);
		free(u);
	}
}

static int download_add(struct mp_rpc *r, uint64_t ticket, const struct mp_shape *to, bool async,
			bool kept)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_download *d = calloc(1, sizeof(*d)), **head = &s->download[mp_bucket(ticket)];

	if (!d)
		return -1;
	d->ticket = ticket;
	d->to = *to;
	d->async = async;
	d->kept = kept;
	pthread_mutex_lock(&s->table);
	d->next = *head;
	*head = d;
	pthread_mutex_unlock(&s->table);
	return 0;
}

int mp_rpc_download(struct mp_rpc *r, uint64_t ticket, const struct mp_shape *to, bool async)
{
	return download_add(r, ticket, to, async, false);
}

int mp_rpc_download_kept(struct mp_rpc *r, uint64_t ticket, const struct mp_shape *to)
{
	return download_add(r, ticket, to, true, true);
}

struct mp_download *mp_download_find(struct mp_session *s, uint64_t ticket)
{
	struct mp_download *d;

	/* Only the receiver removes entries, and it is who asks: the entry stays valid. */
	pthread_mutex_lock(&s->table);
	for (d = s->download[mp_bucket(ticket)]; d && d->ticket != ticket; d = d->next)
		;
	pthread_mutex_unlock(&s->table);
	return d;
}

int mp_download_end(struct mp_session *s, uint64_t ticket, uint32_t status, bool *ret_async)
{
	struct mp_download **p, *d;
	int e = 0;

	pthread_mutex_lock(&s->table);
	for (p = &s->download[mp_bucket(ticket)]; *p && (*p)->ticket != ticket; p = &(*p)->next)
		;
	d = *p;
	if (d && d->kept)
		d = NULL;
	if (d)
		*p = d->next;
	pthread_mutex_unlock(&s->table);
	*ret_async = d && d->async;
	if (d && !status && d->received != d->to.size)
		e = -1;
	free(d);
	return e;
}
