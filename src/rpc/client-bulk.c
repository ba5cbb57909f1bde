/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk data: uploads in chunks, by the caller or by the bulk thread, and the
 * table of downloads that the receiver fills in place.
 *
 * A chunk holds the lane; between two chunks another sender gets his turn, so a
 * large copy delays a small one, or a module's image, by a chunk or two.
 */
#include "rpc/client.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "net/net.h"

static void lane_lock(struct mp_session *s)
{
	uint32_t mine = atomic_fetch_add(&s->bulk_next, 1), turn;

	while ((turn = atomic_load(&s->bulk_turn)) != mine)
		mp_futex_wait(&s->bulk_turn, turn);
}

static void lane_unlock(struct mp_session *s)
{
	/* Whoever asked before this store sees it, or sleeps on the word and is woken. */
	uint32_t turn = atomic_fetch_add(&s->bulk_turn, 1) + 1;

	if (atomic_load(&s->bulk_next) != turn)
		mp_futex_wake(&s->bulk_turn, INT_MAX);
}

/* One frame; *at moves past it. -1: the session is lost. */
static int chunk_send(struct mp_session *s, uint64_t ticket, const uint8_t *p, uint64_t n, uint64_t *at)
{
	uint64_t k = n - *at < MP_CHUNK_MAX ? n - *at : MP_CHUNK_MAX;
	struct mp_frame f = {.kind = MP_FRAME_BULK, .length = (uint32_t)k, .ticket = ticket, .extra = *at};
	struct iovec iov[2] = {{&f, sizeof(f)}, {(uint8_t *)(uintptr_t)p + *at, (size_t)k}};
	struct mp_rpc *r = &s->rpc;
	int e;

	if (atomic_load(&r->lost))
		return -1;
	lane_lock(s);
	e = mp_net_sendv(s->fd[1], iov, 2);
	lane_unlock(s);
	if (e) {
		mp_rpc_lose(r, 0, "the bulk lane cannot be written");
		return -1;
	}
	atomic_fetch_add_explicit(&r->stats.frames_out[1], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->stats.bytes_out[1], sizeof(f) + k, memory_order_relaxed);
	*at += k;
	return 0;
}

int mp_rpc_upload(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n)
{
	uint64_t at = 0;

	while (at < n)
		if (chunk_send(mp_session_of(r), ticket, p, n, &at))
			return -1;
	return 0;
}

static int upload_add(struct mp_rpc *r, enum mp_upload_class class, const struct mp_upload *proto)
{
	struct mp_session *s = mp_session_of(r);
	struct mp_upload *u = malloc(sizeof(*u));
	bool stop;

	if (!u)
		return -1;
	*u = *proto;
	pthread_mutex_lock(&s->queue);
	stop = s->stop;
	if (!stop) {
		*s->upload_last[class] = u;
		s->upload_last[class] = &u->next;
		pthread_cond_signal(&s->queued);
	}
	pthread_mutex_unlock(&s->queue);
	if (stop) {
		free(u);
		if (proto->sent)
			proto->sent(proto->arg);
	}
	return 0;
}

int mp_rpc_upload_later(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n,
			void (*sent)(void *arg), void *arg)
{
	return upload_add(r, n <= MP_CHUNK_MAX ? MP_UPLOAD_SMALL : MP_UPLOAD_LARGE,
			  &(struct mp_upload){.ticket = ticket, .p = p, .n = n, .sent = sent, .arg = arg});
}

int mp_rpc_upload_urgent(struct mp_rpc *r, uint64_t ticket, const void *p, uint64_t n)
{
	return upload_add(r, MP_UPLOAD_URGENT, &(struct mp_upload){.ticket = ticket, .p = p, .n = n});
}

/*
 * Whose chunk is next.  Two turns of four are for what is urgent, one each for small and
 * large; a turn that nobody wants goes on.  So nothing waits for all of a large copy, and
 * nothing waits for ever.  Queue locked.
 */
static struct mp_upload **upload_pick(struct mp_session *s)
{
	static const enum mp_upload_class order[4][MP_UPLOAD_CLASSES] = {
		{MP_UPLOAD_URGENT, MP_UPLOAD_SMALL, MP_UPLOAD_LARGE},
		{MP_UPLOAD_SMALL, MP_UPLOAD_LARGE, MP_UPLOAD_URGENT},
		{MP_UPLOAD_URGENT, MP_UPLOAD_LARGE, MP_UPLOAD_SMALL},
		{MP_UPLOAD_LARGE, MP_UPLOAD_URGENT, MP_UPLOAD_SMALL},
	};
	unsigned i;

	for (i = 0; i < MP_UPLOAD_CLASSES; i++)
		if (s->upload_first[order[s->upload_turn % 4][i]])
			return &s->upload_first[order[s->upload_turn++ % 4][i]];
	return NULL;
}

/* The first of its list, which it leaves. Only this thread takes from the lists. */
static void upload_done(struct mp_session *s, struct mp_upload **first)
{
	struct mp_upload *u = *first;

	pthread_mutex_lock(&s->queue);
	*first = u->next;
	if (!*first)
		s->upload_last[first - s->upload_first] = first;
	pthread_mutex_unlock(&s->queue);
	if (u->sent)
		u->sent(u->arg);
	free(u);
}

void *mp_session_bulk(void *arg)
{
	struct mp_session *s = arg;

	prctl(PR_SET_NAME, "mp-bulk");
	for (;;) {
		struct mp_upload **first, *u;

		pthread_mutex_lock(&s->queue);
		while (!(first = upload_pick(s)) && !s->stop)
			pthread_cond_wait(&s->queued, &s->queue);
		u = first ? *first : NULL;
		pthread_mutex_unlock(&s->queue);
		if (!first)
			return NULL;
		/* After a loss, which has been told by itself, there is nothing left to send. */
		if (chunk_send(s, u->ticket, u->p, u->n, &u->at) || u->at == u->n)
			upload_done(s, first);
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
