/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asking half: libcurl behind a small door.  One client is one connection
 * that is used again, and belongs to one thread.
 *
 * A server is named by its bundle, not by DNS: every certificate of a pool
 * carries the name MP_HTTP_SERVER_NAME, so that a server behind NAT or with a
 * new address is still known by its authority.  Proxies of the environment are
 * not used: a pool is a local network.
 */
#include "http/http.h"
#include "http/name.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* X509_V_ERR_* of OpenSSL, which is not ours to include here. */
#define NOT_YET_VALID 9
#define HAS_EXPIRED   10

#define ANSWER_MAX (64u << 20)
#define EVENT_MAX  (4u << 20)

struct mp_http_client {
	CURL *curl;
	CURLM *multi; /* keeps the connection, for exchanges and streams alike */
	char *address, *ca_file, *token, *cert_file, *key_file, *authority;
	bool plain;
	long connect_ms;
	int fd; /* that was opened last, -1 when it was closed */
	struct curl_slist *extra;
	char error[CURL_ERROR_SIZE];
};

struct mp_http_client *mp_http_client_new(const struct mp_http_target *t)
{
	struct mp_http_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = -1;
	c->curl = curl_easy_init();
	c->multi = curl_multi_init();
	c->address = strdup(t->address);
	c->ca_file = t->ca_file ? strdup(t->ca_file) : NULL;
	c->token = t->token ? strdup(t->token) : NULL;
	c->cert_file = t->cert_file ? strdup(t->cert_file) : NULL;
	c->key_file = t->key_file ? strdup(t->key_file) : NULL;
	c->authority = t->authority ? strdup(t->authority) : NULL;
	c->plain = t->plain;
	c->connect_ms = t->connect_ms ? t->connect_ms : 5000;
	if (!c->curl || !c->multi || !c->address || (t->ca_file && !c->ca_file) || (t->token && !c->token) ||
	    (t->cert_file && !c->cert_file) || (t->key_file && !c->key_file)) {
		mp_http_client_free(c);
		return NULL;
	}
	return c;
}

void mp_http_client_free(struct mp_http_client *own_client)
{
	struct mp_http_client *c = own_client;

	if (!c)
		return;
	if (c->curl)
		curl_easy_cleanup(c->curl);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	curl_slist_free_all(c->extra);
	free(c->address);
	free(c->ca_file);
	free(c->token);
	free(c->cert_file);
	free(c->authority);
	free(c->key_file);
	free(c);
}

const char *mp_http_client_address(const struct mp_http_client *c)
{
	return c->address;
}

void mp_http_client_header(struct mp_http_client *c, const char *line)
{
	if (line) {
		c->extra = curl_slist_append(c->extra, line);
	} else {
		curl_slist_free_all(c->extra);
		c->extra = NULL;
	}
}

static enum mp_http_outcome outcome_of(CURLcode rc)
{
	switch (rc) {
	case CURLE_OK: return MP_HTTP_OK;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT: return MP_HTTP_UNREACHABLE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM: return MP_HTTP_UNTRUSTED;
	case CURLE_OPERATION_TIMEDOUT: return MP_HTTP_UNREACHABLE;
	default: return MP_HTTP_BROKEN;
	}
}

static void fail_say(struct mp_http_client *c, CURLcode rc, struct mp_fail *f)
{
	const char *why = c->error[0] ? c->error : curl_easy_strerror(rc);
	long verify = 0;

	curl_easy_getinfo(c->curl, CURLINFO_SSL_VERIFYRESULT, &verify);
	if (outcome_of(rc) == MP_HTTP_UNTRUSTED && (verify == NOT_YET_VALID || verify == HAS_EXPIRED))
		mp_fail_set(f, 0, "by this machine's clock the certificate of %s %s; compare the clocks of both, "
				  "and run a time service", c->address,
			    verify == HAS_EXPIRED ? "has expired" : "is not valid yet");
	else if (outcome_of(rc) == MP_HTTP_UNTRUSTED)
		mp_fail_set(f, 0, "%s is not a server of this pool: its certificate does not match "
				  "%s (%s)", c->address, c->ca_file ? c->ca_file : "its name", why);
	else
		mp_fail_set(f, 0, "%s does not answer: %s", c->address, why);
}

/* A program that `run` starts must not inherit the connection: it would keep the lease alive. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct mp_http_client *c = arg;

	(void)purpose;
	c->fd = fd;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

static int on_close(void *arg, curl_socket_t fd)
{
	struct mp_http_client *c = arg;

	if (c->fd == fd)
		c->fd = -1;
	return close(fd);
}

static void trust_set(struct mp_http_client *c)
{
	CURL *curl = c->curl;

	if (c->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca_file);
	} else {
		/* The caller knows the answer by its hash. */
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	if (c->cert_file) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, c->cert_file);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, c->key_file);
	}
}

/* Everything that one request needs; *own_list and *own_text live until it is over. */
static int request_prepare(struct mp_http_client *c, const char *method, const char *path,
			   json_t *body, struct curl_slist **own_list, char **own_text)
{
	struct curl_slist *list = NULL, *e;
	struct mp_buf text;
	CURL *curl = c->curl;
	const char *colon = strrchr(c->address, ':');

	*own_list = NULL;
	*own_text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	if (!colon)
		return -1;
	curl_easy_reset(curl);
	mp_buf_init(&text, 4096);
	mp_buf_printf(&text, "%s://" MP_HTTP_SERVER_NAME "%s%s", c->plain ? "http" : "https", colon,
		      path);
	curl_easy_setopt(curl, CURLOPT_URL, text.data);
	text.len = 0;
	mp_buf_printf(&text, "Authorization: Bearer %s", c->token ? c->token : "");
	if (c->token)
		list = curl_slist_append(list, text.data);
	text.len = 0;
	mp_buf_printf(&text, "Motorpool-Authority: %s", c->authority ? c->authority : "");
	if (c->authority)
		list = curl_slist_append(list, text.data);
	for (e = c->extra; e; e = e->next)
		list = curl_slist_append(list, e->data);
	list = curl_slist_append(list, "Expect:");
	if (*own_text) {
		list = curl_slist_append(list, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, *own_text);
	}
	text.len = 0;
	mp_buf_printf(&text, "::%s", c->address);
	*own_list = curl_slist_append(NULL, text.data);
	mp_buf_fini(&text);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, *own_list);
	/* Both lists go at once: curl wants them alive during the transfer. */
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, list);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, c);
	curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, c);
	trust_set(c);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, c->plain ? "http" : "https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 5L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 5L);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, c->connect_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->error);
	c->error[0] = 0;
	return *own_list ? 0 : -1;
}

static void request_finish(struct mp_http_client *c, struct curl_slist *own_list, char *own_text)
{
	struct curl_slist *headers = NULL;

	curl_easy_getinfo(c->curl, CURLINFO_PRIVATE, &headers);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(c->curl, CURLOPT_CONNECT_TO, NULL);
	curl_easy_setopt(c->curl, CURLOPT_PRIVATE, NULL);
	curl_slist_free_all(headers);
	curl_slist_free_all(own_list);
	free(own_text);
}

static struct mp_http_counts counts;

void mp_http_counts(struct mp_http_counts *ret)
{
	ret->connections = __atomic_load_n(&counts.connections, __ATOMIC_RELAXED);
	ret->requests = __atomic_load_n(&counts.requests, __ATOMIC_RELAXED);
}

static void count(struct mp_http_client *c)
{
	long n = 0;

	curl_easy_getinfo(c->curl, CURLINFO_NUM_CONNECTS, &n);
	__atomic_add_fetch(&counts.connections, (unsigned)n, __ATOMIC_RELAXED);
	__atomic_add_fetch(&counts.requests, 1, __ATOMIC_RELAXED);
}

/* One transfer to its end; its own time limit ends it. */
static CURLcode perform(struct mp_http_client *c)
{
	CURLcode rc = CURLE_FAILED_INIT;
	int running = 1, left;
	CURLMsg *m;

	if (curl_multi_add_handle(c->multi, c->curl) != CURLM_OK)
		return rc;
	while (running && curl_multi_perform(c->multi, &running) == CURLM_OK)
		if (running)
			curl_multi_poll(c->multi, NULL, 0, 1000, NULL);
	while ((m = curl_multi_info_read(c->multi, &left)))
		if (m->msg == CURLMSG_DONE && m->easy_handle == c->curl)
			rc = m->data.result;
	count(c);
	curl_multi_remove_handle(c->multi, c->curl);
	return rc;
}

static size_t take_body(char *p, size_t size, size_t n, void *to)
{
	return mp_buf_add(to, p, size * n) < 0 ? 0 : size * n;
}

enum mp_http_outcome mp_http_call(struct mp_http_client *c, const char *method, const char *path,
				  json_t *body, long timeout_ms, int *ret_status,
				  json_t **ret_body, struct mp_fail *f)
{
	struct curl_slist *list;
	struct mp_buf answer;
	long status = 0;
	char *text;
	CURLcode rc;

	*ret_status = 0;
	*ret_body = NULL;
	mp_buf_init(&answer, ANSWER_MAX);
	if (request_prepare(c, method, path, body, &list, &text) < 0) {
		request_finish(c, list, text);
		mp_fail_set(f, 0, "'%s' is not HOST:PORT", c->address);
		return MP_HTTP_UNREACHABLE;
	}
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
	rc = perform(c);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK)
		fail_say(c, rc, f);
	else if (answer.len)
		*ret_body = json_loadb(answer.data, answer.len, 0, NULL);
	*ret_status = (int)status;
	request_finish(c, list, text);
	mp_buf_fini(&answer);
	return outcome_of(rc);
}

/* ---- Event streams ---- */

struct mp_http_listen {
	struct mp_http_client *client;
	bool added;
	struct curl_slist *list;
	char *text;
	struct mp_buf in;
	void (*event)(void *arg, const char *event, json_t *data);
	void *arg;
	bool over, lines;
	CURLcode rc;
	uint64_t heard; /* when bytes last came */
};

/* One event's lines, NUL-terminated; the text is taken apart. */
static void event_take(struct mp_http_listen *l, char *text)
{
	char *line, *next, *name = NULL, *data = NULL;
	json_t *j;

	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (!strncmp(line, "event: ", 7))
			name = line + 7;
		else if (!strncmp(line, "data: ", 6))
			data = line + 6;
	}
	if (!name)
		return;
	j = data ? json_loads(data, 0, NULL) : NULL;
	l->event(l->arg, name, j);
	json_decref(j);
}

static void line_take(struct mp_http_listen *l, const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	if (j)
		l->event(l->arg, NULL, j);
	json_decref(j);
}

static size_t take_events(char *p, size_t size, size_t n, void *arg)
{
	struct mp_http_listen *l = arg;
	const char *mark = l->lines ? "\n" : "\n\n";
	long status = 0;
	char *end, *at;

	l->heard = mp_now_ns();
	if (mp_buf_add(&l->in, p, size * n) < 0)
		return 0;
	curl_easy_getinfo(l->client->curl, CURLINFO_RESPONSE_CODE, &status);
	for (at = l->in.data; status == 200 && (end = strstr(at, mark)); at = end + strlen(mark)) {
		*end = 0;
		if (l->lines)
			line_take(l, at);
		else
			event_take(l, at);
	}
	l->in.len -= (size_t)(at - l->in.data);
	memmove(l->in.data, at, l->in.len + 1);
	return size * n;
}

static struct mp_http_listen *listen_open(struct mp_http_client *c, const char *method,
					  const char *path, json_t *body, bool lines,
					  void (*event)(void *arg, const char *event, json_t *data),
					  void *arg)
{
	struct mp_http_listen *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->lines = lines;
	l->client = c;
	l->event = event;
	l->arg = arg;
	l->heard = mp_now_ns();
	mp_buf_init(&l->in, EVENT_MAX);
	if (request_prepare(c, method, path, body, &l->list, &l->text) < 0) {
		l->over = true;
		l->rc = CURLE_COULDNT_CONNECT;
		return l;
	}
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_events);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, l);
	l->added = curl_multi_add_handle(c->multi, c->curl) == CURLM_OK;
	return l;
}

struct mp_http_listen *mp_http_listen_open(struct mp_http_client *c, const char *method,
					   const char *path, json_t *body,
					   void (*event)(void *arg, const char *event, json_t *data),
					   void *arg)
{
	return listen_open(c, method, path, body, false, event, arg);
}

struct mp_http_listen *mp_http_listen_lines(struct mp_http_client *c, const char *method,
					    const char *path, json_t *body,
					    void (*event)(void *arg, const char *event, json_t *data),
					    void *arg)
{
	return listen_open(c, method, path, body, true, event, arg);
}

int mp_http_listen_step(struct mp_http_listen *l, int fd, int timeout_ms)
{
	struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
	int running = 1, left;
	CURLMsg *m;

	if (l->over)
		return 0;
	curl_multi_perform(l->client->multi, &running);
	if (running) {
		curl_multi_poll(l->client->multi, &extra, fd >= 0 ? 1 : 0, timeout_ms, NULL);
		curl_multi_perform(l->client->multi, &running);
	}
	while ((m = curl_multi_info_read(l->client->multi, &left)))
		if (m->msg == CURLMSG_DONE) {
			l->rc = m->data.result;
			l->over = true;
		}
	if (!running)
		l->over = true;
	return !l->over;
}

int mp_http_listen_status(struct mp_http_listen *l, enum mp_http_outcome *ret_outcome,
			  json_t **ret_error, struct mp_fail *f)
{
	long status = 0;

	curl_easy_getinfo(l->client->curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_outcome = outcome_of(l->rc);
	*ret_error = NULL;
	if (l->rc != CURLE_OK)
		fail_say(l->client, l->rc, f);
	else if (status != 200 && l->in.len)
		*ret_error = json_loadb(l->in.data, l->in.len, 0, NULL);
	return (int)status;
}

bool mp_http_listen_leave(struct mp_http_listen *l, int timeout_ms)
{
	uint64_t until = mp_now_ns() + (uint64_t)timeout_ms * 1000000ull, now;

	/* An end that comes before this is no answer to it. */
	if (!mp_http_listen_step(l, -1, 0))
		return false;
	if (l->client->fd < 0 || shutdown(l->client->fd, SHUT_WR) < 0)
		return false;
	while (!l->over && (now = mp_now_ns()) < until)
		mp_http_listen_step(l, -1, (int)((until - now) / 1000000) + 1);
	return l->over && l->rc == CURLE_OK;
}

void mp_http_listen_close(struct mp_http_listen *own_listen)
{
	struct mp_http_listen *l = own_listen;

	if (!l)
		return;
	if (l->added) {
		count(l->client);
		curl_multi_remove_handle(l->client->multi, l->client->curl);
	}
	request_finish(l->client, l->list, l->text);
	mp_buf_fini(&l->in);
	free(l);
}
