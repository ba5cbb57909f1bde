/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the API, behind libmicrohttpd's parser: method, path, headers,
 * body.  This file stands in for the serving half of src/http and drives the
 * handlers of src/rest over a real pool with four made-up devices.
 *
 * Input: "METHOD PATH\nBODY"; a first byte '!' means a wrong token, '+' that the asker is a server of the pool.
 *
 * Promises: every request is answered exactly once; an error has a known word;
 * never more is lent than a device has; when every stream has gone, nothing is.
 */
#include "fuzz.h"
#include "http/http.h"
#include "pool/state.h"
#include "rest/rest.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAMS 64

struct mp_http_request {
	char method[16], path[256];
	const char *body;
	bool wrong_token, server;
	int answers, status;
};

struct mp_http_stream {
	void (*gone)(void *arg);
	void *arg;
	bool ended;
	int refs;
};

static struct mp_pool *pool;
static struct mp_store *store;
static char token[MP_TOKEN_TEXT], authorization[MP_TOKEN_TEXT + 8], secret[65], join[128];
static char *csr;
static struct mp_http_stream *open_streams[STREAMS];
static unsigned nopen;

/* ---- The serving half, made of nothing ---- */

const char *mp_http_method(const struct mp_http_request *r) { return r->method; }
const char *mp_http_path(const struct mp_http_request *r) { return r->path; }
const char *mp_http_peer(const struct mp_http_request *r) { (void)r; return "192.0.2.1"; }

const char *mp_http_header(const struct mp_http_request *r, const char *name)
{
	if (!strcmp(name, "Authorization"))
		return r->wrong_token ? r->body : authorization;
	return !strcmp(name, "Motorpool-Lease-Secret") ? secret : NULL;
}

const char *mp_http_query(const struct mp_http_request *r, const char *name)
{
	const char *at = strstr(r->body, name);

	return at ? at + strlen(name) : NULL;
}

/* "?" stands for what nobody can guess: the join token given last, a certificate request. */
json_t *mp_http_json(const struct mp_http_request *r, struct mp_fail *f)
{
	json_t *j = *r->body && strcmp(r->method, "GET") ? json_loads(r->body, JSON_REJECT_DUPLICATES, NULL)
							 : json_object();
	const char *word;

	if (!json_is_object(j)) {
		json_decref(j);
		mp_fail_set(f, 400, "not an object");
		return NULL;
	}
	word = json_string_value(json_object_get(j, "csr"));
	if (word && !strcmp(word, "?"))
		json_object_set_new(j, "csr", json_string(csr));
	word = json_string_value(json_object_get(j, "token"));
	if (word && !strcmp(word, "?"))
		json_object_set_new(j, "token", json_string(join));
	return j;
}

void mp_http_answer(struct mp_http_request *r, int status, const char *type, const char *body,
		    size_t n)
{
	(void)type, (void)body, (void)n;
	FUZZ_CHECK(status >= 200 && status < 600);
	r->status = status;
	r->answers++;
}

void mp_http_answer_json(struct mp_http_request *r, int status, json_t *own_body)
{
	json_t *e = json_object_get(own_body, "error");
	const char *word = json_string_value(json_object_get(e, "code"));
	const char *given = json_string_value(json_object_get(own_body, "token"));

	FUZZ_CHECK(own_body);
	if (given && !strncmp(given, "mpj_", 4))
		snprintf(join, sizeof(join), "%.*s", (int)strcspn(given, "."), given);
	r->status = status;
	if (status >= 400)
		FUZZ_CHECK(word && !strcmp(mp_code_row(mp_code_find(word))->word, word));
	json_decref(own_body);
	r->answers++;
}

struct mp_http_stream *mp_http_answer_stream(struct mp_http_request *r, unsigned user_timeout_ms,
					     void (*gone)(void *arg), void *arg)
{
	struct mp_http_stream *s = calloc(1, sizeof(*s));

	(void)user_timeout_ms;
	FUZZ_CHECK(s && nopen < STREAMS);
	s->gone = gone;
	s->arg = arg;
	s->refs = 2;
	open_streams[nopen++] = s;
	r->answers++;
	return s;
}

void mp_http_stream_send(struct mp_http_stream *s, const char *event, json_t *own_data)
{
	const char *got = json_string_value(json_object_get(own_data, "secret"));

	(void)s, (void)event;
	if (got)
		snprintf(secret, sizeof(secret), "%s", got);
	json_decref(own_data);
}

void mp_http_stream_end(struct mp_http_stream *s) { s->ended = true; }

void mp_http_served(const struct mp_http_request *r, struct mp_http_counts *ret)
{
	(void)r;
	memset(ret, 0, sizeof(*ret));
}

void mp_http_delay(struct mp_http_request *r, unsigned ms)
{
	(void)r, (void)ms;
}

void mp_http_stream_line(struct mp_http_stream *s, json_t *own_data)
{
	(void)s;
	json_decref(own_data);
}

bool mp_http_is_server(const struct mp_http_request *r)
{
	return r->server;
}

void mp_http_stream_unref(struct mp_http_stream *s)
{
	if (s && !--s->refs)
		free(s);
}

/* ---- The fuzzer ---- */

static void streams_drop(void)
{
	while (nopen) {
		struct mp_http_stream *s = open_streams[--nopen];

		s->gone(s->arg);
		mp_http_stream_unref(s);
	}
}

static char dir[] = "/tmp/mp-fuzz-http-XXXXXX", data[64];

static int forget(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind;
	return at->level ? remove(path) : 0;
}

static void end(void)
{
	mp_pool_close(pool);
	mp_store_close(store);
	nftw(dir, forget, 8, FTW_DEPTH | FTW_PHYS);
	rmdir(dir);
	free(csr);
}

/* A client and a token that no input has disabled or restored away yet. */
static void token_begin(void)
{
	static unsigned clients;
	char client[24];
	struct mp_fail f;

	snprintf(client, sizeof(client), "fuzz%u", clients++);
	FUZZ_CHECK(mp_token_create(pool, client, MP_ROLE_ADMIN, MP_PRIORITY_HIGH, 0, token, &f) == 0);
	snprintf(authorization, sizeof(authorization), "Bearer %s", token);
}

static void pool_begin(void)
{
	struct mp_pool_config c = {.name = "f", .state_dir = dir, .worker = "/bin/false", .data = data};
	struct mp_fail f;
	unsigned i;

	FUZZ_CHECK(mp_store_open_sqlite(":memory:", &store, &f) == 0);
	FUZZ_CHECK(mp_pool_open(&c, store, &pool, &f) == 0);
	token_begin();
	pool->devices = calloc(4, sizeof(*pool->devices));
	FUZZ_CHECK(pool->devices);
	for (i = 0; i < 4; i++) {
		struct device *d = &pool->devices[i];

		d->index = i;
		snprintf(d->uuid, sizeof(d->uuid), "GPU-%u", i);
		snprintf(d->name, sizeof(d->name), i < 3 ? "A" : "B");
		snprintf(d->capability, sizeof(d->capability), "8.%u", i);
		d->memory = (i < 3 ? 16ull : 48ull) << 30;
	}
	pool->ndevices = 4;
}

static void begin(void)
{
	const char *names[] = {"localhost"};
	char *cert, *key;
	struct mp_fail f;

	FUZZ_CHECK(mkdtemp(dir));
	snprintf(data, sizeof(data), "unix:%s/data", dir);
	FUZZ_CHECK(mp_http_identity(dir, names, 1, &cert, &key, &f) == 0);
	free(cert);
	free(key);
	FUZZ_CHECK(mp_http_csr(dir, &csr, &f) == 0);
	pool_begin();
	atexit(end);
}

/* Returns the answer's status, 0 when there was no request in the text. */
static int request_serve(char *text)
{
	struct mp_http_request r = {.wrong_token = *text == '!', .server = *text == '+'};
	char *body = strchr(text, '\n'), *path = strchr(text, ' ');
	unsigned i;

	if (!body || !path || path > body)
		return 0;
	*body++ = 0;
	*path++ = 0;
	snprintf(r.method, sizeof(r.method), "%s", text + (r.wrong_token || r.server));
	snprintf(r.path, sizeof(r.path), "%s", path);
	r.body = body;
	/* Moving to another store asks whatever address the input names. */
	if (!strcmp(r.path, "/v1/store/migrate"))
		return 0;
	mp_rest_handle(pool, &r);
	FUZZ_CHECK(r.answers == 1);
	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < pool->ndevices; i++)
		FUZZ_CHECK(pool->devices[i].charged <= pool->devices[i].memory);
	pthread_mutex_unlock(&pool->lock);
	return r.status;
}

/* Several requests in one input, parted by a line "%%": leases of one are there for the next. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *next, *at;
	unsigned i, n = 0;
	char still[] = "GET /v1/whoami\n";

	if (!csr)
		begin();
	if (request_serve(still) != 200)
		token_begin();
	text = strndup((const char *)data, size);
	FUZZ_CHECK(text);
	for (at = text; at && n < STREAMS; at = next, n++) {
		next = strstr(at, "\n%%\n");
		if (next) {
			next[1] = 0;
			next += 4;
		}
		request_serve(at);
	}
	streams_drop();
	/* What had no holder is ended. */
	mp_pool_end_all(pool, "the fuzzer's turn is over");
	for (i = 0; i < pool->ndevices; i++)
		FUZZ_CHECK(!pool->devices[i].leases && !pool->devices[i].charged &&
			   !pool->devices[i].exclusive);
	FUZZ_CHECK(!pool->leases);
	free(text);
	return 0;
}
