/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases over HTTP: granting, holding, ending.
 *
 * A holder is an open event stream.  Its object has two references: the pool's
 * side, dropped when the stream is gone, and the handler's, dropped when the
 * request has been answered; the peer may vanish while it is being answered.
 */
#include "rest/call.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define SECRET_HEADER "Motorpool-Lease-Secret"

struct holder {
	struct mp_holder base;
	struct mp_pool *pool;
	struct mp_http_stream *stream;
	unsigned refs;
	char id[MP_LEASE_DIGITS + 1];
};

static void holder_unref(struct holder *h)
{
	if (__atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL))
		return;
	mp_http_stream_unref(h->stream);
	free(h);
}

/* The pool's lock is held: only queue. */
static void holder_tell(struct mp_holder *base, const char *event, json_t *own_data, bool last)
{
	struct holder *h = MP_CONTAINER_OF(base, struct holder, base);

	mp_http_stream_send(h->stream, event, own_data);
	if (last)
		mp_http_stream_end(h->stream);
}

static void holder_gone(void *arg)
{
	struct holder *h = arg;

	mp_lease_unhold(h->pool, h->id, &h->base);
	holder_unref(h);
}

/* Answers with a stream that holds the lease; `first` is its first event. */
static void hold(struct mp_rest_call *c, const char *id, const char *event, json_t *own_first)
{
	struct holder *h = calloc(1, sizeof(*h));
	struct mp_http_stream *s;
	struct mp_fail f = {0};

	mp_fail_set(&f, MP_CODE_FAILED, "the server is out of memory");
	if (!h) {
		json_decref(own_first);
		mp_rest_refuse(c, &f);
		return;
	}
	h->base.tell = holder_tell;
	h->pool = c->pool;
	h->refs = 2;
	memcpy(h->id, id, sizeof(h->id));
	s = mp_http_answer_stream(c->request, mp_pool_liveness_ms(c->pool), holder_gone, h);
	if (!s) {
		free(h);
		json_decref(own_first);
		mp_rest_refuse(c, &f);
		return;
	}
	h->stream = s;
	mp_http_stream_send(s, event, own_first);
	if (mp_lease_hold(c->pool, id, &h->base, &f) < 0) {
		mp_http_stream_send(s, "ended", json_pack("{s:s}", "why", f.text));
		mp_http_stream_end(s);
	}
	holder_unref(h);
}

static bool number_take(struct mp_rest_call *c, const char *key, json_int_t least, json_int_t most,
			json_int_t *ret, struct mp_fail *f)
{
	json_t *j = json_object_get(c->body, key);

	if (!j)
		return true;
	*ret = json_integer_value(j);
	if (json_is_integer(j) && *ret >= least && *ret <= most)
		return true;
	mp_fail_set(f, MP_CODE_USAGE, "'%s' must be a whole number from %lld to %lld", key,
		    (long long)least, (long long)most);
	return false;
}

static bool filters_take(struct mp_rest_call *c, struct mp_filters *to, struct mp_fail *f)
{
	json_t *list = json_object_get(c->body, "filters"), *one;
	size_t i;

	to->n = 0;
	if (list && !json_is_array(list)) {
		mp_fail_set(f, MP_CODE_USAGE, "'filters' must be a list of texts");
		return false;
	}
	json_array_foreach(list, i, one)
		if (mp_filter_parse(to, json_is_string(one) ? json_string_value(one) : "", f) < 0)
			return false;
	return true;
}

static bool request_take(struct mp_rest_call *c, struct mp_filters *filters,
			 struct mp_lease_request *q, struct mp_fail *f)
{
	const char *placement = json_string_value(json_object_get(c->body, "placement"));
	json_int_t n = 1, fraction = 0, bytes = 0, ttl = 0, linger = 0;

	if (!number_take(c, "devices", 1, 1024, &n, f) ||
	    !number_take(c, "fraction_millionths", 0, MP_MILLION, &fraction, f) ||
	    !number_take(c, "bytes", 0, INT64_MAX, &bytes, f) ||
	    !number_take(c, "ttl_s", 0, 10 * 365 * 86400, &ttl, f) ||
	    !number_take(c, "linger_s", 0, 10 * 365 * 86400, &linger, f) || !filters_take(c, filters, f))
		return false;
	q->filters = filters;
	q->want.n = (unsigned)n;
	q->want.fraction = (uint32_t)fraction;
	q->want.bytes = (uint64_t)bytes;
	q->request_id = json_string_value(json_object_get(c->body, "request"));
	q->client = c->caller.client;
	q->token = c->caller.token;
	q->user = json_string_value(json_object_get(c->body, "user"));
	q->host = json_string_value(json_object_get(c->body, "host"));
	q->program = json_string_value(json_object_get(c->body, "program"));
	q->holder = json_is_true(json_object_get(c->body, "hold"));
	q->placement = placement && !strcmp(placement, "pack")     ? -1
		       : placement && !strcmp(placement, "spread") ? 1
								   : 0;
	q->ttl_s = ttl;
	q->linger_s = linger;
	return true;
}

void mp_rest_lease_grant(struct mp_rest_call *c)
{
	struct mp_lease_request q = {0};
	struct mp_filters filters;
	struct mp_lease_grant g;
	struct mp_fail f = {0};
	json_t *j;

	if (!request_take(c, &filters, &q, &f) || mp_lease_grant(c->pool, &q, &g, &f) < 0) {
		mp_rest_refuse(c, &f);
		return;
	}
	j = mp_lease_show(c->pool, g.id);
	if (!j) {
		mp_fail_set(&f, MP_CODE_BUSY, "the lease ended before it was answered");
		mp_rest_refuse(c, &f);
		return;
	}
	json_object_set_new(j, "secret", json_string(g.secret));
	json_object_set_new(j, "liveness_s", json_integer(mp_pool_liveness_ms(c->pool) / 1000));
	if (q.holder)
		hold(c, g.id, "lease", j);
	else
		mp_http_answer_json(c->request, 201, j);
}

void mp_rest_offers(struct mp_rest_call *c)
{
	struct mp_lease_request q = {0};
	struct mp_filters filters;
	struct mp_fail f = {0};
	json_t *j;

	if (!request_take(c, &filters, &q, &f) || !(j = mp_pool_offers(c->pool, &q, &f)))
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 200, j);
}

/* ---- Waiting in line: an open stream, too ---- */

struct waiter {
	struct mp_waiter base;
	struct mp_pool *pool;
	struct mp_http_stream *stream;
	unsigned refs;
};

static void waiter_unref(struct waiter *w)
{
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL))
		return;
	mp_http_stream_unref(w->stream);
	free(w);
}

static void waiter_tell(struct mp_waiter *base, const char *event, json_t *own_data)
{
	mp_http_stream_send(MP_CONTAINER_OF(base, struct waiter, base)->stream, event, own_data);
}

static void waiter_gone(void *arg)
{
	struct waiter *w = arg;

	mp_line_leave(w->pool, &w->base);
	waiter_unref(w);
}

void mp_rest_line_wait(struct mp_rest_call *c)
{
	const char *word = json_string_value(json_object_get(c->body, "priority"));
	unsigned priority = word ? mp_priority_find(word) : MP_PRIORITY_NORMAL;
	struct mp_lease_request q = {0};
	struct mp_filters filters;
	struct mp_fail f = {0};
	struct waiter *w = NULL;

	if (priority >= MP_PRIORITIES)
		mp_fail_set(&f, MP_CODE_USAGE, "a priority is low, normal or high, not '%.64s'", word);
	else if (request_take(c, &filters, &q, &f) && !(w = calloc(1, sizeof(*w))))
		mp_fail_set(&f, MP_CODE_FAILED, "the server is out of memory");
	if (!w) {
		mp_rest_refuse(c, &f);
		return;
	}
	/* More than the token allows is not refused: it waits as high as it may. */
	if (priority > c->caller.priority)
		priority = c->caller.priority;
	w->base.tell = waiter_tell;
	w->pool = c->pool;
	w->refs = 2;
	w->stream = mp_http_answer_stream(c->request, mp_pool_liveness_ms(c->pool), waiter_gone, w);
	if (!w->stream) {
		free(w);
		mp_fail_set(&f, MP_CODE_FAILED, "the server is out of memory");
		mp_rest_refuse(c, &f);
		return;
	}
	if (mp_line_enter(c->pool, &q, priority, &w->base, &f) < 0) {
		mp_http_stream_send(w->stream, "ended", json_pack("{s:s}", "why", f.text));
		mp_http_stream_end(w->stream);
	}
	waiter_unref(w);
}

void mp_rest_lease_show(struct mp_rest_call *c)
{
	json_t *j = mp_lease_show(c->pool, c->id), *api;
	struct mp_fail f = {0};

	if (j) {
		mp_http_answer_json(c->request, 200, j);
		return;
	}
	mp_lease_away(c->pool, c->id, NULL, false, NULL, &api, &f);
	mp_rest_elsewhere(c, &f, api);
}

void mp_rest_lease_hold(struct mp_rest_call *c)
{
	struct mp_fail f = {0};

	if (!mp_lease_secret_good(c->pool, c->id, mp_http_header(c->request, SECRET_HEADER))) {
		json_t *api;

		mp_lease_away(c->pool, c->id, NULL, false, NULL, &api, &f);
		if (f.code == MP_CODE_NOT_FOUND)
			mp_fail_set(&f, MP_CODE_NOT_FOUND, "there is no lease %s with this secret",
				    c->id);
		mp_rest_elsewhere(c, &f, api);
		return;
	}
	hold(c, c->id, "held", json_pack("{s:s}", "id", c->id));
}

/* Of a lease that another server has. */
static void end_away(struct mp_rest_call *c)
{
	const char *secret = mp_http_header(c->request, SECRET_HEADER);
	struct mp_fail f = {0};
	char why[128];
	json_t *api;

	if (secret)
		snprintf(why, sizeof(why), "released");
	else
		snprintf(why, sizeof(why), "killed by %s", c->caller.client);
	if (mp_lease_away(c->pool, c->id, secret, c->caller.role >= MP_ROLE_OPERATE, why, &api, &f) < 0) {
		mp_rest_elsewhere(c, &f, api);
		return;
	}
	json_decref(api);
	if (!secret)
		mp_pool_audit(c->pool, c->caller.client, mp_http_peer(c->request), "kill lease", c->id,
			      "ok");
	mp_http_answer_json(c->request, 200, json_pack("{s:s, s:s}", "id", c->id, "why", why));
}

void mp_rest_lease_end(struct mp_rest_call *c)
{
	bool own = mp_lease_secret_good(c->pool, c->id, mp_http_header(c->request, SECRET_HEADER));
	char why[128], client[64];
	struct mp_fail f = {0};

	if (!own && !mp_lease_client(c->pool, c->id, client)) {
		end_away(c);
		return;
	}

	if (!own && c->caller.role < MP_ROLE_OPERATE) {
		mp_fail_set(&f, MP_CODE_FORBIDDEN, "the lease %s can be ended with its secret, or by "
						   "an operator", c->id);
		mp_rest_refuse(c, &f);
		return;
	}
	if (!own)
		mp_pool_audit(c->pool, c->caller.client, mp_http_peer(c->request), "kill lease", c->id,
			      "ok");
	if (own)
		snprintf(why, sizeof(why), "released");
	else
		snprintf(why, sizeof(why), "killed by %s", c->caller.client);
	if (mp_lease_end(c->pool, c->id, why, &f) < 0)
		mp_rest_refuse(c, &f);
	else
		mp_http_answer_json(c->request, 200, json_pack("{s:s, s:s}", "id", c->id, "why",
							       why));
}
