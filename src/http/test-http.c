/* SPDX-License-Identifier: Apache-2.0 */
/* Serving and asking over loopback: trust, bodies, streams, and peers that vanish. */
#include "http/http.h"
#include "base/clock.h"
#include "base/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/mp-http-XXXXXX";
static char ca_file[64], address[64];
static int gone_pipe[2];
static struct mp_http_stream *live;

static void on_gone(void *arg)
{
	struct mp_http_stream *s = __atomic_exchange_n(&live, NULL, __ATOMIC_ACQ_REL);

	(void)arg;
	if (s)
		mp_http_stream_unref(s);
	MP_CHECK_EQ(write(gone_pipe[1], "g", 1), 1);
}

static void handle(void *arg, struct mp_http_request *r)
{
	const char *path = mp_http_path(r);
	struct mp_fail f = {0};
	json_t *body;

	(void)arg;
	if (!strcmp(path, "/echo")) {
		body = mp_http_json(r, &f);
		if (!body) {
			mp_http_answer(r, 400, "text/plain", f.text, strlen(f.text));
			return;
		}
		json_object_set_new(body, "method", json_string(mp_http_method(r)));
		json_object_set_new(body, "peer", json_string(mp_http_peer(r)));
		if (mp_http_header(r, "Authorization"))
			json_object_set_new(body, "auth",
					    json_string(mp_http_header(r, "Authorization")));
		mp_http_answer_json(r, 200, body);
	} else if (!strcmp(path, "/stream")) {
		struct mp_http_stream *s = mp_http_answer_stream(r, 30000, on_gone, NULL);

		mp_http_stream_send(s, "first", json_pack("{s:i}", "n", 1));
		__atomic_store_n(&live, s, __ATOMIC_RELEASE);
	} else {
		mp_http_answer(r, 404, "text/plain", "no\n", 3);
	}
}

static struct mp_http_server *server_start(void)
{
	const char *names[] = {"127.0.0.1", "localhost"};
	struct mp_http_config c = {.address = "127.0.0.1", .handle = handle, .threads = 2};
	struct mp_http_server *s = NULL;
	struct mp_fail f = {0};
	char *cert, *key;

	MP_CHECK_EQ(mp_http_identity(dir, names, 2, &cert, &key, &f), 0);
	c.cert_pem = cert;
	c.key_pem = key;
	if (mp_http_server_start(&c, &s, &f))
		printf("# %s\n", f.text);
	MP_CHECK(s != NULL);
	free(cert);
	free(key);
	snprintf(address, sizeof(address), "127.0.0.1:%u", mp_http_server_port(s));
	return s;
}

static struct mp_http_client *client_new(const char *to, const char *ca)
{
	struct mp_http_target t = {.address = to, .ca_file = ca, .token = "abc"};

	return mp_http_client_new(&t);
}

MP_TEST(identity_is_kept)
{
	const char *names[] = {"127.0.0.1", "localhost"}, *more[] = {"127.0.0.1", "h.example"};
	char *c1, *k1, *c2, *k2, *c3, *k3;
	struct mp_fail f = {0};

	MP_CHECK(mkdtemp(dir) != NULL);
	MP_CHECK_EQ(pipe(gone_pipe), 0);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", dir);
	MP_CHECK_EQ(mp_http_identity(dir, names, 2, &c1, &k1, &f), 0);
	MP_CHECK_EQ(mp_http_identity(dir, names, 2, &c2, &k2, &f), 0);
	MP_CHECK_STR(c2, c1);
	MP_CHECK_STR(k2, k1);
	MP_CHECK_EQ(mp_http_identity(dir, more, 2, &c3, &k3, &f), 0);
	MP_CHECK(strcmp(c3, c1) != 0);
	free(c1), free(k1), free(c2), free(k2), free(c3), free(k3);
}

MP_TEST(exchange)
{
	struct mp_http_server *s = server_start();
	struct mp_http_client *c = client_new(address, ca_file);
	struct mp_fail f = {0};
	json_t *body = json_pack("{s:s}", "a", "b"), *answer;
	int status, i;

	for (i = 0; i < 3; i++) {
		MP_CHECK_EQ(mp_http_call(c, "POST", "/echo", body, 5000, &status, &answer, &f),
			    MP_HTTP_OK);
		MP_CHECK_EQ(status, 200);
		MP_CHECK_STR(json_string_value(json_object_get(answer, "a")), "b");
		MP_CHECK_STR(json_string_value(json_object_get(answer, "auth")), "Bearer abc");
		MP_CHECK_STR(json_string_value(json_object_get(answer, "peer")), "127.0.0.1");
		json_decref(answer);
	}
	MP_CHECK_EQ(mp_http_call(c, "GET", "/none", NULL, 5000, &status, &answer, &f), MP_HTTP_OK);
	MP_CHECK_EQ(status, 404);
	json_decref(answer);
	json_decref(body);
	mp_http_client_free(c);
	mp_http_server_stop(s);
}

MP_TEST(strangers_are_not_trusted)
{
	char other[] = "/tmp/mp-http-XXXXXX", path[64];
	struct mp_http_server *s = server_start();
	struct mp_http_client *c;
	struct mp_fail f = {0};
	const char *names[] = {"127.0.0.1"};
	char *cert, *key;
	json_t *answer;
	int status;

	MP_CHECK(mkdtemp(other) != NULL);
	MP_CHECK_EQ(mp_http_identity(other, names, 1, &cert, &key, &f), 0);
	free(cert);
	free(key);
	snprintf(path, sizeof(path), "%s/ca.crt", other);
	c = client_new(address, path);
	MP_CHECK_EQ(mp_http_call(c, "GET", "/echo", NULL, 5000, &status, &answer, &f),
		    MP_HTTP_UNTRUSTED);
	MP_CHECK(strstr(f.text, "not a server of this pool") != NULL);
	mp_http_client_free(c);
	mp_http_server_stop(s);
	c = client_new(address, ca_file);
	MP_CHECK_EQ(mp_http_call(c, "GET", "/echo", NULL, 5000, &status, &answer, &f),
		    MP_HTTP_UNREACHABLE);
	mp_http_client_free(c);
	MP_CHECK_EQ(unlink(path), 0);
	for (status = 0; status < 4; status++) {
		static const char *const rest[] = {"ca.key", "server.crt", "server.key", "chain.crt"};

		snprintf(path, sizeof(path), "%s/%s", other, rest[status]);
		MP_CHECK_EQ(unlink(path), 0);
	}
	MP_CHECK_EQ(rmdir(other), 0);
}

static int events;

static void on_event(void *arg, const char *event, json_t *data)
{
	(void)arg;
	printf("# event %s %lld\n", event, json_integer_value(json_object_get(data, "n")));
	events++;
}

static bool gone_within(int ms)
{
	uint64_t until = mp_now_ns() + (uint64_t)ms * 1000000;
	fd_set set;
	char c;

	while (mp_now_ns() < until) {
		struct timeval tv = {.tv_usec = 10000};

		FD_ZERO(&set);
		FD_SET(gone_pipe[0], &set);
		if (select(gone_pipe[0] + 1, &set, NULL, NULL, &tv) == 1)
			return read(gone_pipe[0], &c, 1) == 1;
	}
	return false;
}

MP_TEST(stream_carries_and_ends)
{
	struct mp_http_server *s = server_start();
	struct mp_http_client *c = client_new(address, ca_file);
	struct mp_http_listen *l = mp_http_listen_open(c, "POST", "/stream", NULL, on_event, NULL);
	enum mp_http_outcome outcome;
	struct mp_http_stream *t;
	struct mp_fail f = {0};
	json_t *error;
	int i;

	events = 0;
	for (i = 0; i < 200 && events < 1; i++)
		mp_http_listen_step(l, -1, 50);
	MP_CHECK_EQ(events, 1);
	t = __atomic_load_n(&live, __ATOMIC_ACQUIRE);
	usleep(20000); /* suspended now */
	mp_http_stream_send(t, "second", json_pack("{s:i}", "n", 2));
	for (i = 0; i < 200 && events < 2; i++)
		mp_http_listen_step(l, -1, 50);
	MP_CHECK_EQ(events, 2);
	mp_http_stream_end(t);
	for (i = 0; i < 200 && mp_http_listen_step(l, -1, 50); i++)
		;
	MP_CHECK_EQ(mp_http_listen_status(l, &outcome, &error, &f), 200);
	MP_CHECK_EQ(outcome, MP_HTTP_OK);
	mp_http_listen_close(l);
	MP_CHECK(gone_within(2000));
	mp_http_client_free(c);
	mp_http_server_stop(s);
}

/* Leaving waits for the other side's word: given after it has heard, and not given by one that only stops. */
MP_TEST(leaving_is_answered)
{
	struct mp_http_server *s = server_start();
	struct mp_http_client *c = client_new(address, ca_file);
	struct mp_http_listen *l;
	int i, round;

	for (round = 0; round < 2; round++) {
		events = 0;
		l = mp_http_listen_open(c, "POST", "/stream", NULL, on_event, NULL);
		for (i = 0; i < 200 && events < 1; i++)
			mp_http_listen_step(l, -1, 50);
		if (round) {
			mp_http_server_stop(s);
			MP_CHECK(gone_within(1));
		}
		MP_CHECK_EQ(mp_http_listen_leave(l, 2000), !round);
		if (!round)
			MP_CHECK(gone_within(1));
		mp_http_listen_close(l);
	}
	mp_http_client_free(c);
}

MP_TEST(killed_peer_is_noticed_at_once)
{
	struct mp_http_server *s;
	uint64_t t0;
	pid_t pid;
	int p[2], where[2];
	char ch;

	MP_CHECK_EQ(pipe(p), 0);
	MP_CHECK_EQ(pipe(where), 0);
	/* Before there are threads: a child of a threaded process may not even allocate. */
	pid = fork();
	if (!pid) {
		struct mp_http_client *c;
		struct mp_http_listen *l;

		if (read(where[0], address, sizeof(address)) != sizeof(address))
			_exit(1);
		c = client_new(address, ca_file);
		events = 0;
		l = mp_http_listen_open(c, "POST", "/stream", NULL, on_event, NULL);
		while (!events)
			mp_http_listen_step(l, -1, 50);
		if (write(p[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	s = server_start();
	MP_CHECK_EQ(write(where[1], address, sizeof(address)), sizeof(address));
	MP_CHECK_EQ(read(p[0], &ch, 1), 1);
	MP_CHECK(!gone_within(100));
	t0 = mp_now_ns();
	kill(pid, SIGKILL);
	MP_CHECK(gone_within(1000));
	printf("# noticed after %llu us\n", (unsigned long long)(mp_now_ns() - t0) / 1000);
	waitpid(pid, NULL, 0);
	close(p[0]);
	close(p[1]);
	close(where[0]);
	close(where[1]);
	mp_http_server_stop(s);
}

MP_TEST(stop_ends_suspended_streams)
{
	struct mp_http_server *s = server_start();
	struct mp_http_client *c = client_new(address, ca_file);
	struct mp_http_listen *l = mp_http_listen_open(c, "POST", "/stream", NULL, on_event, NULL);
	int i;

	events = 0;
	for (i = 0; i < 200 && events < 1; i++)
		mp_http_listen_step(l, -1, 50);
	usleep(20000);
	mp_http_server_stop(s);
	MP_CHECK(gone_within(1));
	for (i = 0; i < 100 && mp_http_listen_step(l, -1, 50); i++)
		;
	MP_CHECK(i < 100);
	mp_http_listen_close(l);
	mp_http_client_free(c);
}

/* Who trusts the old authority believes a server under the new one, until the old is retired. */
MP_TEST(authority_is_replaced)
{
	char old[80], fresh[80], *text, *csr, *cert, *key, mark[17], mark2[17];
	const char *const one[] = {"localhost"};
	struct mp_http_client *c;
	struct mp_http_server *s;
	struct mp_fail f = {0};
	json_t *body;
	FILE *out;
	int status, round;

	snprintf(old, sizeof(old), "%s/old.crt", dir);
	snprintf(fresh, sizeof(fresh), "%s/ca.crt", dir);
	text = mp_http_authority(dir);
	out = fopen(old, "w");
	MP_CHECK(text && out);
	fputs(text, out);
	fclose(out);
	MP_CHECK(mp_http_fingerprint(text, mark));
	free(text);
	MP_CHECK_EQ(mp_http_rotate(dir, &f), 0);
	text = mp_http_authority(dir);
	MP_CHECK(mp_http_fingerprint(text, mark2) && strcmp(mark, mark2));
	free(text);
	for (round = 0; round < 2; round++) {
		s = server_start();
		c = client_new(address, old);
		MP_CHECK_EQ(mp_http_call(c, "GET", "/echo", NULL, 2000, &status, &body, &f),
			    round ? MP_HTTP_UNTRUSTED : MP_HTTP_OK);
		json_decref(body);
		mp_http_client_free(c);
		c = client_new(address, fresh);
		MP_CHECK_EQ(mp_http_call(c, "GET", "/echo", NULL, 2000, &status, &body, &f), MP_HTTP_OK);
		json_decref(body);
		mp_http_client_free(c);
		mp_http_server_stop(s);
		MP_CHECK_EQ(mp_http_retire(dir, &f), 0);
	}
	/* What another server asks for is signed, and is not nonsense. */
	MP_CHECK_EQ(mp_http_csr(dir, &csr, &f), 0);
	MP_CHECK_EQ(mp_http_sign(dir, csr, one, 1, &cert, &f), 0);
	MP_CHECK(strstr(cert, "BEGIN CERTIFICATE") != NULL);
	free(cert);
	csr[60] = csr[60] == 'A' ? 'B' : 'A';
	MP_CHECK_EQ(mp_http_sign(dir, csr, one, 1, &cert, &f), -1);
	free(csr);
	MP_CHECK(mp_http_days_left(dir) > 300);
	MP_CHECK_EQ(mp_http_identity(dir, one, 1, &cert, &key, &f), 0);
	free(cert);
	free(key);
	snprintf(fresh, sizeof(fresh), "%s/server.key.new", dir);
	MP_CHECK_EQ(unlink(fresh) | unlink(old), 0);
}

MP_TEST(leaves_nothing)
{
	static const char *const names[] = {"ca.crt", "ca.key", "server.crt", "server.key", "chain.crt"};
	char path[64];
	size_t i;

	for (i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		MP_CHECK_EQ(unlink(path), 0);
	}
	MP_CHECK_EQ(rmdir(dir), 0);
}

MP_TEST_MAIN()
