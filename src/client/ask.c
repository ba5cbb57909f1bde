/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for a lease, waiting for one, and keeping it.
 *
 * A grant and its holding are one request whose answer does not end: there is no
 * moment at which a lease exists that nobody holds.  When the stream breaks while
 * the lease may live (the daemon was restarted), holding is tried again, once a
 * second at most, as long as the program runs.
 */
#include "client/client.h"
#include "client/lanes.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SECOND	     1000000000ull
#define BACKOFF_MIN  (SECOND / 5)
#define BACKOFF_MAX  (10 * SECOND)
#define LINE_PAUSE   (60 * SECOND) /* between askings of one who stands in line, and is called */
#define TROUBLE_PAUSE (2 * SECOND)
#define RETURN_TRY_NS SECOND
#define RELEASE_MS    2000

struct mp_held {
	const struct mp_bundle *bundle;
	struct mp_http_client *client;
	struct mp_http_listen *listen;
	json_t *lease;
	char *data;
	bool granted, ended, held;
	char why[256], notice[256];
	uint64_t retry_at;
};

void mp_client_refusal(int status, json_t *answer, struct mp_fail *f)
{
	json_t *e = json_object_get(answer, "error");
	const char *word = json_string_value(json_object_get(e, "code"));
	const char *text = json_string_value(json_object_get(e, "text"));

	if (word && text)
		mp_fail_set(f, (int)mp_code_find(word), "%s", text);
	else
		mp_fail_set(f, MP_CODE_FAILED, "the server answered with status %d and no reason",
			    status);
}

static struct mp_http_client *client_to(const struct mp_bundle *b, const char *address)
{
	struct mp_http_target t = {.address = address, .ca_file = b->ca_file, .token = b->token,
				   .authority = b->authority[0] ? b->authority : NULL};

	return mp_http_client_new(&t);
}

/* A failed transport as code: a stranger's certificate is not the same as silence. */
static void transport_code(enum mp_http_outcome o, struct mp_fail *f)
{
	f->code = o == MP_HTTP_UNTRUSTED ? MP_CODE_CONFIG : MP_CODE_UNREACHABLE;
}

/* Addresses at which the server that was named instead can be asked; NULL when none was. */
static json_t *elsewhere(int status, const json_t *answer)
{
	return status == 421 ? json_object_get(json_object_get(answer, "error"), "api") : NULL;
}

/* 0 or -1 answered, 1 not reached. */
static int call_one(const struct mp_bundle *b, const char *address, const char *header,
		    const char *method, const char *path, json_t *body, json_t **ret_body,
		    json_t **ret_elsewhere, struct mp_fail *f)
{
	struct mp_http_client *c = client_to(b, address);
	enum mp_http_outcome o;
	int status;

	*ret_body = *ret_elsewhere = NULL;
	if (!c)
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	if (header)
		mp_http_client_header(c, header);
	o = mp_http_call(c, method, path, body, 30000, &status, ret_body, f);
	mp_http_client_free(c);
	if (o != MP_HTTP_OK) {
		transport_code(o, f);
		return 1;
	}
	if (status >= 200 && status < 300)
		return 0;
	*ret_elsewhere = json_incref(elsewhere(status, *ret_body));
	mp_client_refusal(status, *ret_body, f);
	json_decref(*ret_body);
	*ret_body = NULL;
	return -1;
}

/* The same by one of the addresses of the server that was named. */
static int call_elsewhere(const struct mp_bundle *b, json_t *own_api, const char *header,
			  const char *method, const char *path, json_t *body, json_t **ret_body,
			  struct mp_fail *f)
{
	json_t *one, *again = NULL;
	int rc = 1;
	size_t i;

	json_array_foreach(own_api, i, one) {
		if (rc <= 0 || !json_is_string(one))
			break;
		rc = call_one(b, json_string_value(one), header, method, path, body, ret_body, &again,
			      f);
		json_decref(again);
	}
	json_decref(own_api);
	return rc;
}

int mp_client_call_with(const struct mp_bundle *b, const char *only, const char *header,
			const char *method, const char *path, json_t *body, json_t **ret_body,
			struct mp_fail *f)
{
	struct mp_fail last = {0};
	json_t *api;
	unsigned i;
	int rc = 1;

	*ret_body = NULL;
	for (i = 0; i < (only ? 1 : b->nservers); i++) {
		rc = call_one(b, only ? only : b->servers[i], header, method, path, body, ret_body, &api,
			      f);
		if (api)
			rc = call_elsewhere(b, api, header, method, path, body, ret_body, f);
		if (rc == 0 || (rc < 0 && f->code != MP_CODE_QUORUM))
			return rc;
		/* Without a majority here there may be one elsewhere. */
		if (f->code == MP_CODE_QUORUM)
			last = *f;
	}
	if (last.code)
		*f = last;
	return -1;
}

int mp_client_call(const struct mp_bundle *b, const char *only, const char *method,
		   const char *path, json_t *body, json_t **ret_body, struct mp_fail *f)
{
	return mp_client_call_with(b, only, NULL, method, path, body, ret_body, f);
}

/* ---- Holding ---- */

static void on_event(void *arg, const char *event, json_t *data)
{
	struct mp_held *h = arg;
	const char *why = json_string_value(json_object_get(data, "why"));

	if (!strcmp(event, "lease")) {
		json_decref(h->lease);
		h->lease = json_incref(data);
		h->granted = h->held = true;
	} else if (!strcmp(event, "held")) {
		h->held = true;
	} else if (!strcmp(event, "warning")) {
		snprintf(h->notice, sizeof(h->notice),
			 "the devices are idle; the lease ends in %lld s unless they get work",
			 (long long)json_integer_value(json_object_get(data, "seconds_left")));
	} else if (!strcmp(event, "ended") || !strcmp(event, "replaced")) {
		h->ended = true;
		snprintf(h->why, sizeof(h->why), "%s",
			 why ? why : "another process holds the lease now");
	}
}

static void claims_add(json_t *body, const struct mp_ask *ask)
{
	struct passwd *pw = getpwuid(getuid());
	const char *program = ask->program ? strrchr(ask->program, '/') : NULL;
	char host[65] = "";

	gethostname(host, sizeof(host) - 1);
	json_object_set_new(body, "user", json_string(pw ? pw->pw_name : ""));
	json_object_set_new(body, "host", json_string(host));
	json_object_set_new(body, "program",
			    json_string(program ? program + 1 : ask->program ? ask->program : ""));
}

/*
 * What a container image wants of the driver, "cuda>=12.4 brand=tesla,...": the
 * first that it says of CUDA's version is a filter, unless there is one already.
 * What else it says (brands, drivers) tells of machines with a driver of their own.
 */
static void image_filter_add(json_t *list, const struct mp_ask *ask)
{
	const char *text = getenv("NVIDIA_REQUIRE_CUDA"), *off = getenv("NVIDIA_DISABLE_REQUIRE"), *at;
	char filter[64];
	unsigned i;
	size_t n;

	if (!text || (off && (!strcmp(off, "1") || !strcmp(off, "true"))))
		return;
	for (i = 0; i < ask->nfilters; i++)
		if (!strncmp(ask->filters[i], "server.cuda-version", 19))
			return;
	for (at = text; at && *at; at = strpbrk(at, " ,") ? strpbrk(at, " ,") + 1 : NULL) {
		if (strncmp(at, "cuda", 4) || !strchr("<>=!", at[4]))
			continue;
		n = strcspn(at + 4, " ,");
		if (n < 2 || n > 24)
			return;
		snprintf(filter, sizeof(filter), "server.cuda-version%.*s", (int)n, at + 4);
		json_array_append_new(list, json_string(filter));
		return;
	}
}

static json_t *ask_body(const struct mp_ask *ask)
{
	unsigned char r[16];
	json_t *body, *list;
	char id[33];
	size_t i;

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return NULL;
	for (i = 0; i < sizeof(r); i++)
		snprintf(id + 2 * i, 3, "%02x", r[i]);
	body = json_pack("{s:s, s:b, s:I, s:I, s:i, s:i, s:I}", "request", id, "hold",
			 !ask->requested, "ttl_s", (json_int_t)ask->ttl_s, "linger_s",
			 (json_int_t)ask->linger_s, "devices", (int)ask->n, "fraction_millionths", (int)ask->fraction, "bytes",
			 (json_int_t)ask->bytes);
	list = json_array();
	for (i = 0; i < ask->nfilters; i++)
		json_array_append_new(list, json_string(ask->filters[i]));
	image_filter_add(list, ask);
	if (json_array_size(list))
		json_object_set(body, "filters", list);
	json_decref(list);
	if (ask->priority)
		json_object_set_new(body, "priority", json_string(ask->priority));
	if (ask->placement)
		json_object_set_new(body, "placement", json_string(ask->placement));
	claims_add(body, ask);
	return body;
}

/*
 * ":PORT" means the host under which the API was reached, which also is right
 * behind NAT; an address that the server names is taken as it is.
 */
static char *data_make(const struct mp_held *h)
{
	const char *address = mp_http_client_address(h->client), *text;
	struct mp_buf b;
	json_t *one;
	size_t i;

	mp_buf_init(&b, 4096);
	json_array_foreach(json_object_get(h->lease, "data"), i, one) {
		text = json_string_value(one);
		if (!text)
			continue;
		mp_buf_puts(&b, b.len ? "," : "");
		if (!strncmp(text, MP_LANES_TLS, 4)) {
			mp_buf_puts(&b, MP_LANES_TLS);
			text += 4;
		}
		if (text[0] == ':')
			mp_buf_add(&b, address, (size_t)(strrchr(address, ':') - address));
		mp_buf_puts(&b, text);
	}
	if (b.failed)
		mp_buf_fini(&b);
	return mp_buf_take(&b, NULL);
}

/* How long the server waits for a silent client: lanes of this process and of what it starts do the same. */
static void liveness_take(const struct mp_held *h)
{
	json_int_t s = json_integer_value(json_object_get(h->lease, "liveness_s"));
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)(s > 0 && s <= 86400 ? s : 30));
	if (!getenv("MOTORPOOL_LIVENESS_S") || strcmp(getenv("MOTORPOOL_LIVENESS_S"), text))
		setenv("MOTORPOOL_LIVENESS_S", text, 1);
}

static void held_free(struct mp_held *h)
{
	mp_http_listen_close(h->listen);
	mp_http_client_free(h->client);
	json_decref(h->lease);
	free(h->data);
	free(h);
}

/* One try at one server, by this connection to it: 0 granted, -1 with a code. */
static int ask_once(const struct mp_bundle *b, struct mp_http_client *own_client, json_t *body,
		    struct mp_held **ret_held, struct mp_fail *f)
{
	struct mp_held *h = own_client ? calloc(1, sizeof(*h)) : NULL;
	uint64_t until = mp_now_ns() + 30 * SECOND;
	enum mp_http_outcome o;
	json_t *error;
	int status;

	if (!h) {
		mp_http_client_free(own_client);
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	}
	h->bundle = b;
	h->client = own_client;
	h->listen = mp_http_listen_open(h->client, "POST", "/v1/leases", body, on_event, h);
	if (!h->listen) {
		held_free(h);
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	}
	while (!h->granted && !h->ended && mp_now_ns() < until &&
	       mp_http_listen_step(h->listen, -1, 200))
		;
	if (h->granted && !h->ended) {
		liveness_take(h);
		h->data = data_make(h);
		*ret_held = h;
		return 0;
	}
	status = mp_http_listen_status(h->listen, &o, &error, f);
	if (h->ended)
		mp_fail_set(f, MP_CODE_BUSY, "the lease ended at once: %s", h->why);
	else if (status && status != 200)
		mp_client_refusal(status, error, f);
	else if (o != MP_HTTP_OK)
		transport_code(o, f);
	else
		mp_fail_set(f, MP_CODE_UNREACHABLE, "%s did not answer in time",
			    mp_http_client_address(h->client));
	json_decref(error);
	held_free(h);
	return -1;
}

/* The same for a lease without a holder: one exchange. */
static int request_once(const struct mp_bundle *b, struct mp_http_client *own_client, json_t *body,
			struct mp_held **ret_held, struct mp_fail *f)
{
	struct mp_held *h = own_client ? calloc(1, sizeof(*h)) : NULL;
	enum mp_http_outcome o;
	int status;

	if (!h) {
		mp_http_client_free(own_client);
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	}
	h->bundle = b;
	h->client = own_client;
	o = mp_http_call(h->client, "POST", "/v1/leases", body, 30000, &status, &h->lease, f);
	if (o == MP_HTTP_OK && status == 201) {
		liveness_take(h);
		h->data = data_make(h);
		*ret_held = h;
		return 0;
	}
	if (o == MP_HTTP_OK)
		mp_client_refusal(status, h->lease, f);
	else
		transport_code(o, f);
	held_free(h);
	return -1;
}

/* Which failure is worth telling when several servers failed differently. */
static int weight(int code)
{
	switch (code) {
	case MP_CODE_UNREACHABLE: return 1;
	case MP_CODE_CONFIG: return 2;
	case MP_CODE_NEVER: return 3;
	case MP_CODE_QUORUM: return 4;
	case MP_CODE_BUSY: return 5;
	default: return 6;
	}
}

static int grant_ask(const struct mp_bundle *b, const struct mp_ask *ask,
		     struct mp_http_client *own_client, json_t *body, struct mp_held **ret_held,
		     struct mp_fail *f)
{
	return ask->requested ? request_once(b, own_client, body, ret_held, f)
			      : ask_once(b, own_client, body, ret_held, f);
}

static void fail_keep(struct mp_fail *f, const struct mp_fail *one)
{
	if (!f->code || weight(one->code) > weight(f->code))
		*f = *one;
}

/* The owner of one proposal, by the first of its addresses that answers. */
static int offer_take(const struct mp_bundle *b, const struct mp_ask *ask, const json_t *offer,
		      json_t *body, struct mp_held **ret_held, struct mp_fail *f)
{
	json_t *one;
	int rc = -1;
	size_t i;

	f->code = MP_CODE_UNREACHABLE;
	json_array_foreach(json_object_get(offer, "api"), i, one) {
		if (!rc || f->code != MP_CODE_UNREACHABLE || !json_is_string(one))
			break;
		rc = grant_ask(b, ask, client_to(b, json_string_value(one)), body, ret_held, f);
	}
	return rc;
}

/*
 * Takes the first proposal that its owner still grants; the server that proposed
 * is asked by the connection that is open already.
 */
static int offers_take(const struct mp_bundle *b, const struct mp_ask *ask,
		       struct mp_http_client *own_client, const json_t *offers, json_t *body,
		       struct mp_held **ret_held, struct mp_fail *f)
{
	struct mp_http_client *c = own_client;
	struct mp_fail one;
	json_t *offer;
	int rc = -1;
	size_t i;

	json_array_foreach(offers, i, offer) {
		memset(&one, 0, sizeof(one));
		if (c && json_is_true(json_object_get(offer, "self"))) {
			rc = grant_ask(b, ask, c, body, ret_held, &one);
			c = NULL;
		} else {
			rc = offer_take(b, ask, offer, body, ret_held, &one);
		}
		if (!rc)
			break;
		fail_keep(f, &one);
		/* Whatever else it is, another server would say it, too. */
		if (one.code != MP_CODE_BUSY && one.code != MP_CODE_UNREACHABLE &&
		    one.code != MP_CODE_QUORUM && one.code != MP_CODE_NEVER)
			break;
	}
	mp_http_client_free(c);
	return rc;
}

static unsigned random_below(unsigned n)
{
	unsigned r = 0;

	return n && getrandom(&r, sizeof(r), 0) == (ssize_t)sizeof(r) ? r % n : 0;
}

/*
 * Any server knows all: the first that answers proposes, the owners grant.  Each
 * asking begins with another server, so that none has all clients.
 */
static int ask_all(const struct mp_bundle *b, const struct mp_ask *ask, json_t *body,
		   struct mp_held **ret_held, struct mp_fail *f)
{
	struct mp_http_client *c;
	enum mp_http_outcome o;
	struct mp_fail one;
	json_t *answer;
	unsigned i, first = random_below(b->nservers), alone = 0;
	int status, rc;

	f->code = 0;
	if (ask->server)
		return grant_ask(b, ask, client_to(b, ask->server), body, ret_held, f);
	for (i = 0; i < b->nservers; i++) {
		memset(&one, 0, sizeof(one));
		c = client_to(b, b->servers[(first + i) % b->nservers]);
		if (!c)
			return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
		o = mp_http_call(c, "POST", "/v1/offers", body, 15000, &status, &answer, &one);
		if (o == MP_HTTP_OK && status == 200) {
			rc = offers_take(b, ask, c, json_object_get(answer, "offers"), body, ret_held,
					 f);
			json_decref(answer);
			return rc;
		}
		if (o == MP_HTTP_OK)
			mp_client_refusal(status, answer, &one);
		else
			transport_code(o, &one);
		json_decref(answer);
		mp_http_client_free(c);
		fail_keep(f, &one);
		/* One that has lost the others may not speak for all; three that have do. */
		alone += one.code == MP_CODE_QUORUM;
		if ((one.code != MP_CODE_UNREACHABLE && one.code != MP_CODE_CONFIG &&
		     one.code != MP_CODE_QUORUM) || alone == 3)
			break;
	}
	return -1;
}

/* ---- Waiting ---- */

/* A place in the pool's line, as long as its stream lives. */
struct line {
	const struct mp_bundle *bundle;
	struct mp_http_client *client;
	struct mp_http_listen *listen;
	unsigned next; /* server that is tried for it next */
	int place, of;
	bool try;
	json_t *offers; /* of the last "try": who may have room */
};

static void on_line(void *arg, const char *event, json_t *data)
{
	struct line *l = arg;

	if (!strcmp(event, "place")) {
		l->place = (int)json_integer_value(json_object_get(data, "place"));
		l->of = (int)json_integer_value(json_object_get(data, "of"));
	} else if (!strcmp(event, "try")) {
		l->try = true;
		json_decref(l->offers);
		l->offers = json_incref(json_object_get(data, "offers"));
	}
}

static void line_close(struct line *l)
{
	mp_http_listen_close(l->listen);
	mp_http_client_free(l->client);
	json_decref(l->offers);
	l->listen = NULL;
	l->client = NULL;
	l->offers = NULL;
	l->place = 0;
}

static void line_open(struct line *l, json_t *body)
{
	if (!l->next)
		l->next = random_below(l->bundle->nservers);
	l->client = client_to(l->bundle, l->bundle->servers[l->next++ % l->bundle->nservers]);
	if (l->client)
		l->listen = mp_http_listen_open(l->client, "POST", "/v1/line", body, on_line, l);
}

static bool worth_waiting(int code)
{
	return code == MP_CODE_BUSY || code == MP_CODE_UNREACHABLE || code == MP_CODE_QUORUM;
}

/* Until time is up, a signal came, or the line says that it is worth a try. */
static void wait_a_while(struct line *l, uint64_t ns, const int *stop)
{
	/* A signal that is only noted is looked for now and then. */
	uint64_t until = mp_now_ns() + ns, most = stop ? SECOND / 5 : SECOND, now;

	while (!l->try && (now = mp_now_ns()) < until &&
	       !(stop && __atomic_load_n(stop, __ATOMIC_RELAXED))) {
		uint64_t part = until - now < most ? until - now : most;

		if (!l->listen)
			usleep((useconds_t)(part / 1000));
		else if (!mp_http_listen_step(l->listen, -1, (int)(part / 1000000) + 1)) {
			/* Nobody will call: ask again soon, not all at once. */
			line_close(l);
			part = SECOND / 2 + random_below(3000) * (SECOND / 1000);
			until = now + part < until ? now + part : until;
		}
	}
	l->try = false;
}

static void progress_print(const struct mp_ask *ask, const struct line *l, uint64_t begun,
			   const struct mp_fail *f, bool *shown)
{
	char place[64] = "";

	if (!ask->progress)
		return;
	if (l->place)
		snprintf(place, sizeof(place), ", place %d of %d in line", l->place, l->of);
	fprintf(stderr, "\r\033[Kmotorpool: waiting %llu s%s: %.120s",
		(unsigned long long)((mp_now_ns() - begun) / SECOND), place, f->text);
	*shown = true;
}

/* What asking has cost, for tests and the curious. */
static void counts_log(int rc)
{
	struct mp_http_counts n;

	mp_http_counts(&n);
	mp_log(MP_LOG_DEBUG, "client", rc ? "refused" : "granted", "handshakes=%u requests=%u", n.connections,
	       n.requests);
}

/* The line has said where: its word is taken once. */
static int offers_ask(struct line *l, const struct mp_ask *ask, json_t *body, struct mp_held **ret_held,
		      struct mp_fail *f)
{
	json_t *offers = l->offers;
	int rc;

	l->offers = NULL;
	f->code = 0;
	rc = offers_take(l->bundle, ask, NULL, offers, body, ret_held, f);
	if (rc && !f->code)
		mp_fail_set(f, MP_CODE_BUSY, "nothing fits now");
	json_decref(offers);
	return rc;
}

static bool stopped(const int *stop)
{
	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

int mp_client_ask(const struct mp_bundle *b, const struct mp_ask *ask, const int *stop,
		  struct mp_held **ret_held, struct mp_fail *f)
{
	uint64_t begun = mp_now_ns(), pause = BACKOFF_MIN, left, jitter;
	struct line line = {.bundle = b};
	json_t *body = ask_body(ask);
	struct mp_fail last;
	bool shown = false;
	int rc = -1;

	if (!body)
		return mp_fail_set(f, MP_CODE_FAILED, "out of memory");
	for (;;) {
		rc = line.offers ? offers_ask(&line, ask, body, ret_held, f) : ask_all(b, ask, body, ret_held, f);
		counts_log(rc);
		if (!rc || !worth_waiting(f->code) || !ask->timeout_s || stopped(stop))
			break;
		left = (uint64_t)ask->timeout_s * SECOND;
		if (mp_now_ns() - begun >= left) {
			last = *f;
			mp_fail_set(f, MP_CODE_TIMEOUT, "waited %lld s in vain: %.400s",
				    (long long)ask->timeout_s, last.text);
			break;
		}
		left -= mp_now_ns() - begun;
		if (!line.listen && f->code == MP_CODE_BUSY && !ask->server)
			line_open(&line, body);
		/* A pool that is in trouble is not helped by haste. */
		if (f->code != MP_CODE_BUSY && pause < TROUBLE_PAUSE)
			pause = TROUBLE_PAUSE;
		progress_print(ask, &line, begun, f, &shown);
		/* Jitter of a half: clients that were refused together do not come back together. */
		if (getrandom(&jitter, sizeof(jitter), 0) != (ssize_t)sizeof(jitter))
			jitter = 0;
		jitter = pause / 2 + jitter % (pause / 2);
		/* Who stands in line is called; asking besides is for a line that has stopped. */
		if (line.listen && line.place)
			jitter = LINE_PAUSE / 2 + jitter % (LINE_PAUSE / 2);
		wait_a_while(&line, jitter < left ? jitter : left, stop);
		pause = pause * 2 < BACKOFF_MAX ? pause * 2 : BACKOFF_MAX;
	}
	line_close(&line);
	if (shown)
		fputs("\r\033[K", stderr);
	json_decref(body);
	return rc;
}

const json_t *mp_held_lease(const struct mp_held *h)
{
	return h->lease;
}

const char *mp_held_server(const struct mp_held *h)
{
	return mp_http_client_address(h->client);
}

const char *mp_held_data(const struct mp_held *h)
{
	return h->data ? h->data : "";
}

const char *mp_held_why(const struct mp_held *h)
{
	return h->why;
}

static void hold_again(struct mp_held *h)
{
	const char *id = json_string_value(json_object_get(h->lease, "id"));
	const char *secret = json_string_value(json_object_get(h->lease, "secret"));
	char path[128], header[160];

	mp_http_listen_close(h->listen);
	snprintf(path, sizeof(path), "/v1/leases/%s/hold", id);
	snprintf(header, sizeof(header), "Motorpool-Lease-Secret: %s", secret);
	mp_http_client_header(h->client, NULL);
	mp_http_client_header(h->client, header);
	h->listen = mp_http_listen_open(h->client, "GET", path, NULL, on_event, h);
}

/* The stream is over: does the lease still live? */
static void stream_lost(struct mp_held *h)
{
	enum mp_http_outcome o = MP_HTTP_BROKEN;
	struct mp_fail f = {0};
	json_t *error = NULL;
	int status = 0;

	if (h->listen)
		status = mp_http_listen_status(h->listen, &o, &error, &f);
	h->held = false;
	h->retry_at = mp_now_ns() + RETURN_TRY_NS;
	/* It said "elsewhere": the lease went on in its own place, which it is not. */
	if (status == 404 || status == 401 || status == 403 || status == 410 || status == 421) {
		mp_client_refusal(status, error, &f);
		snprintf(h->why, sizeof(h->why), "%.250s", f.text);
		h->ended = true;
	}
	json_decref(error);
	mp_http_listen_close(h->listen);
	h->listen = NULL;
}

enum mp_held_state mp_held_step(struct mp_held *h, int fd, int timeout_ms)
{
	if (h->ended)
		return MP_HELD_ENDED;
	if (!h->listen && mp_now_ns() >= h->retry_at)
		hold_again(h);
	if (h->listen) {
		if (!mp_http_listen_step(h->listen, fd, timeout_ms) && !h->ended)
			stream_lost(h);
	} else {
		usleep((useconds_t)(timeout_ms < 50 ? timeout_ms : 50) * 1000);
	}
	return h->ended ? MP_HELD_ENDED : h->held ? MP_HELD_YES : MP_HELD_AWAY;
}

/* Its server is away, or did not answer: any other takes the holder's word, so that the limit is free again. */
static void release_elsewhere(struct mp_held *h)
{
	const char *id = json_string_value(json_object_get(h->lease, "id"));
	const char *secret = json_string_value(json_object_get(h->lease, "secret"));
	char path[128], header[160];
	struct mp_fail f = {0};
	json_t *answer = NULL;

	snprintf(path, sizeof(path), "/v1/leases/%s", id);
	snprintf(header, sizeof(header), "Motorpool-Lease-Secret: %s", secret);
	mp_client_call_with(h->bundle, NULL, header, "DELETE", path, NULL, &answer, &f);
	json_decref(answer);
}

void mp_held_release(struct mp_held *own_held)
{
	struct mp_held *h = own_held;
	bool known = h->ended;

	/* Leaving the stream is the release; its proper end says that nothing is charged any more. */
	if (!known && h->held && h->listen)
		known = mp_http_listen_leave(h->listen, RELEASE_MS) || h->ended;
	if (!known)
		release_elsewhere(h);
	held_free(h);
}

const char *mp_held_notice(struct mp_held *h)
{
	static char text[256];

	if (!h->notice[0])
		return NULL;
	memcpy(text, h->notice, sizeof(text));
	h->notice[0] = 0;
	return text;
}

void mp_held_leave(struct mp_held *own_held)
{
	held_free(own_held);
}
