/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpoold: offers the devices of one machine to a pool.
 *
 * The process model.  This process is the broker: it serves the HTTPS API and
 * the data port, keeps the books, and never maps a driver library or decodes a
 * program's calls.  For each program that connects it starts a motorpool-worker,
 * hands it the program's socket and the lease's account, and has no part in what
 * follows.  So a worker that a hostile program crashes takes nothing with it, and
 * workers go on when this process is killed; the next one adopts them by their
 * leases in the store.
 *
 *	main thread	signals: TERM and INT end the server, its leases with it
 *			(--demo) or not (otherwise: programs run on)
 *	HTTP threads	src/http, handlers of src/rest
 *	data thread	src/pool/data.c: hellos, workers' ends, deadlines
 */
#include "daemon/bundle.h"
#include "daemon/join.h"
#include "daemon/options.h"
#include "client/client.h"
#include "http/http.h"
#include "pool/pool.h"
#include "rest/rest.h"
#include "store/store.h"
#include "base/check.h"
#include "base/log.h"
#include "base/where.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX     32
#define STORE_WAIT_MS 60000
#define RENEW_DAYS    30

struct server {
	struct mp_options o;
	char state[4096], worker[4096], driver[4096], gate[4096], name[65];
	char url[1024]; /* of the shared store; empty: its own file */
	int64_t authority; /* its age when the certificate was made */
	char names[NAMES_MAX][64]; /* of the certificate */
	unsigned nnames;
	int state_lock;
	struct mp_store *store;
	struct mp_pool *pool;
	struct mp_http_server *http;
};

static int key_add(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)value, (void)revision;
	json_array_append_new(arg, json_string(key));
	return 0;
}

/* A file keeps what should have gone with the process that put it. */
static int mortals_forget(struct mp_store *store, struct mp_fail *f)
{
	json_t *keys = json_array(), *key;
	size_t i;
	int rc = 0;

	mp_store_list(store, "/alive/", key_add, keys);
	mp_store_list(store, "/line/", key_add, keys);
	/* A move that was going on has died with the server. */
	mp_store_list(store, "/frozen", key_add, keys);
	json_array_foreach(keys, i, key) {
		struct mp_store_change c = {.key = json_string_value(key)};

		rc |= mp_store_commit(store, NULL, 0, &c, 1, NULL);
	}
	json_decref(keys);
	return rc ? mp_fail_set(f, MP_CODE_CONFIG, "the store cannot be written; the log says why: a full disk, or "
						   "its permissions")
		  : 0;
}

/* The store that was configured, else the one that this server joined or moved to, else its own file. */
static int store_open(struct server *s, struct mp_fail *f)
{
	char path[4200], *url = s->url;
	struct mp_store *inner;
	FILE *in;
	int rc;

	snprintf(path, sizeof(path), "%s/store", s->state);
	in = fopen(path, "re");
	if (s->o.store)
		snprintf(s->url, sizeof(s->url), "%s", s->o.store);
	else if (in && !fgets(url, sizeof(s->url), in))
		url[0] = 0;
	if (in)
		fclose(in);
	url[strcspn(url, "\n")] = 0;
	if (url[0]) {
		rc = mp_pool_store_open(s->state, url, STORE_WAIT_MS, &inner, f);
	} else {
		snprintf(path, sizeof(path), "%s/store.db", s->state);
		rc = mp_store_open_sqlite(path, &inner, f);
		if (!rc) {
			rc = mortals_forget(inner, f);
			if (rc < 0)
				mp_store_close(inner);
		}
	}
	return rc < 0 ? -1 : mp_store_open_front(inner, &s->store, f);
}

static const char *server_name(const struct server *s)
{
	return s->o.name ? s->o.name : s->name;
}

static int join(struct server *s, struct mp_fail *f)
{
	const char *names[NAMES_MAX];
	unsigned i;

	for (i = 0; i < s->nnames; i++)
		names[i] = s->names[i];
	return mp_join(s->o.join, s->state, server_name(s), names, s->nnames, f);
}

static int state_open(struct server *s, struct mp_fail *f)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char path[4200];

	if (s->o.state)
		snprintf(s->state, sizeof(s->state), "%s", s->o.state);
	else if (!s->o.demo)
		snprintf(s->state, sizeof(s->state), "/var/lib/motorpool");
	else if (xdg && xdg[0] == '/')
		snprintf(s->state, sizeof(s->state), "%s/motorpool-demo", xdg);
	else if (home && home[0] == '/')
		snprintf(s->state, sizeof(s->state), "%s/.local/state/motorpool-demo", home);
	else
		return mp_fail_set(f, MP_CODE_CONFIG, "no HOME to keep the demo's state in: use "
						      "--state DIR");
	if (mp_dir_make(s->state, f) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/lock", s->state);
	s->state_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->state_lock < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot write %s: %s", path, strerror(errno));
	if (flock(s->state_lock, LOCK_EX | LOCK_NB) < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "another motorpoold uses %s; stop it, or give "
						      "this one its own --state", s->state);
	if (s->o.join && join(s, f) < 0)
		return -1;
	return store_open(s, f);
}

/* Where soft GPUs keep the accounts of their devices: the one place that their workers write to. */
static void soft_dir_find(char *dir, size_t size)
{
	const char *given = getenv("MOTORPOOL_SOFT_DIR"), *run = getenv("XDG_RUNTIME_DIR");

	if (given && *given)
		snprintf(dir, size, "%s", given);
	else if (run && *run == '/' && access(run, W_OK) == 0)
		snprintf(dir, size, "%s/motorpool-soft", run);
	else
		snprintf(dir, size, "/dev/shm/motorpool-soft-%u", (unsigned)getuid());
	/* A rule for a directory needs the directory. */
	mkdir(dir, 0700);
}

static int parts_find(struct server *s, struct mp_fail *f)
{
	char number[32], dir[4200];

	if (!mp_where(MP_PART_WORKER, s->worker, sizeof(s->worker)))
		return mp_fail_set(f, MP_CODE_CONFIG, "motorpool-worker is not where it should be: %s",
				   s->worker);
	if (!mp_where(MP_PART_GATE, s->gate, sizeof(s->gate)))
		return mp_fail_set(f, MP_CODE_CONFIG, "motorpool-gate is not where it should be: %s",
				   s->gate);
	if (s->o.driver) {
		snprintf(s->driver, sizeof(s->driver), "%s", s->o.driver);
	} else if (!s->o.demo && !s->o.soft) {
		snprintf(s->driver, sizeof(s->driver), "libcuda.so.1");
	} else if (!mp_where(MP_PART_SOFT, s->driver, sizeof(s->driver))) {
		return mp_fail_set(f, MP_CODE_CONFIG, "the soft GPU is not where it should be: %s",
				   s->driver);
	}
	/* The soft GPU reads its size from the environment of the worker. */
	snprintf(number, sizeof(number), "%u", s->o.devices);
	if (s->o.devices)
		setenv("MOTORPOOL_SOFT_DEVICES", number, 1);
	snprintf(number, sizeof(number), "%lluM", (unsigned long long)s->o.device_memory >> 20);
	if (s->o.device_memory)
		setenv("MOTORPOOL_SOFT_MEMORY", number, 1);
	/* Lanes wait for a silent client as long as leases do. */
	snprintf(number, sizeof(number), "%lld", (long long)(s->o.liveness_s ? s->o.liveness_s : 30));
	setenv("MOTORPOOL_LIVENESS_S", number, 1);
	snprintf(number, sizeof(number), "%lld", (long long)(s->o.orphan_s ? s->o.orphan_s : 3600));
	setenv("MOTORPOOL_ORPHAN_S", number, 1);
	/* Our own driver needs memory and threads; what NVIDIA's needs nobody here could measure. */
	setenv("MOTORPOOL_WORKER_CONFINE", s->o.driver || (!s->o.demo && !s->o.soft) ? "log" : "strict", 0);
	/* The demo's devices are its own, whatever else runs on this machine. */
	snprintf(dir, sizeof(dir), "%s/soft", s->state);
	if (s->o.demo && mp_dir_make(dir, f) < 0)
		return -1;
	if (s->o.demo)
		setenv("MOTORPOOL_SOFT_DIR", dir, 0);
	soft_dir_find(dir, sizeof(dir));
	setenv("MOTORPOOL_WORKER_WRITE", dir, 0);
	return 0;
}

static void name_add(struct server *s, const char *name)
{
	unsigned i;

	for (i = 0; i < s->nnames; i++)
		if (!strcmp(s->names[i], name))
			return;
	if (s->nnames < NAMES_MAX && *name)
		snprintf(s->names[s->nnames++], sizeof(s->names[0]), "%s", name);
}

/* What people's browsers may call this machine. */
static void names_find(struct server *s)
{
	struct ifaddrs *list = NULL, *i;
	char text[INET6_ADDRSTRLEN];
	const void *addr;

	gethostname(s->name, sizeof(s->name) - 1);
	name_add(s, "localhost");
	name_add(s, "127.0.0.1");
	name_add(s, "::1");
	name_add(s, s->name);
	if (s->o.demo || getifaddrs(&list) < 0)
		return;
	for (i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET &&
				     i->ifa_addr->sa_family != AF_INET6))
			continue;
		addr = i->ifa_addr->sa_family == AF_INET
			       ? (const void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr
			       : (const void *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
		if (inet_ntop(i->ifa_addr->sa_family, addr, text, sizeof(text)))
			name_add(s, text);
	}
	freeifaddrs(list);
}

/* "ADDR:PORT" or "[ADDR]:PORT" in two. */
static int address_split(const char *text, char *addr, size_t size, uint16_t *port,
			 struct mp_fail *f)
{
	const char *colon = strrchr(text, ':');
	char *end;
	long n = colon ? strtol(colon + 1, &end, 10) : -1;

	if (!colon || colon == text || end == colon + 1 || *end || n < 0 || n > 65535)
		return mp_fail_set(f, MP_CODE_CONFIG, "--api is ADDR:PORT, not '%s'", text);
	if (text[0] == '[' && colon[-1] == ']')
		snprintf(addr, size, "%.*s", (int)(colon - text - 2), text + 1);
	else
		snprintf(addr, size, "%.*s", (int)(colon - text), text);
	*port = (uint16_t)n;
	return 0;
}

static int pool_start(struct server *s, struct mp_fail *f)
{
	const char *host = s->o.demo ? "127.0.0.1" : "0.0.0.0";
	struct mp_pool_config c = {.name = server_name(s),
				   .store_url = s->url[0] ? s->url : NULL,
				   .state_dir = s->state,
				   .worker = s->worker,
				   .driver = s->driver,
				   .gate = s->gate,
				   .offer = s->o.offer,
				   .reserve = s->o.reserve,
				   .liveness_ms = (unsigned)(s->o.liveness_s < 86400 ? s->o.liveness_s
										      : 86400) * 1000,
				   .look_ms = (unsigned)(s->o.look_s && s->o.look_s < 86400 ? s->o.look_s : s->o.look_s ? 86400 : 60) *
					      1000,
				   .spread = s->o.spread};
	char data[64];
	int rc;

	snprintf(data, sizeof(data), "%s:55001", host);
	c.data = s->o.data ? s->o.data : data;
	rc = mp_pool_open(&c, s->store, &s->pool, f);
	if (rc < 0 && s->o.demo && !s->o.data && f->code == EADDRINUSE) {
		snprintf(data, sizeof(data), "%s:0", host);
		rc = mp_pool_open(&c, s->store, &s->pool, f);
	}
	return rc;
}

static int http_start(struct server *s, struct mp_fail *f)
{
	const char *names[NAMES_MAX];
	struct mp_http_config c = {.handle = mp_rest_handle, .arg = s->pool, .threads = 4};
	char address[64], *cert, *key;
	unsigned i;
	int rc;

	for (i = 0; i < s->nnames; i++)
		names[i] = s->names[i];
	if (address_split(s->o.api ? s->o.api : s->o.demo ? "127.0.0.1:56001" : "0.0.0.0:56001",
			  address, sizeof(address), &c.port, f) < 0 ||
	    mp_http_identity(s->state, names, s->nnames, &cert, &key, f) < 0)
		return -1;
	c.address = address;
	c.cert_pem = cert;
	c.key_pem = key;
	c.state_dir = s->state;
	rc = mp_http_server_start(&c, &s->http, f);
	if (rc < 0 && s->o.demo && !s->o.api && f->code == EADDRINUSE) {
		c.port = 0;
		rc = mp_http_server_start(&c, &s->http, f);
	}
	free(cert);
	explicit_bzero(key, strlen(key));
	free(key);
	return rc;
}

/* The bundle of a former run still serves: programs that run on hold its token. */
static bool demo_token_good(struct server *s, const char *dir)
{
	struct mp_identity who;
	struct mp_fail f = {0};
	struct mp_bundle b;
	bool good;

	if (mp_bundle_open(dir, &b, &f) < 0)
		return false;
	good = mp_token_check(s->pool, b.token, &who, &f) == 0;
	mp_bundle_close(&b);
	return good;
}

static void demo_tokens_revoke(struct server *s)
{
	json_t *list = mp_token_list(s->pool), *t;
	struct mp_fail f = {0};
	size_t i;

	json_array_foreach(list, i, t) {
		const char *client = json_string_value(json_object_get(t, "client"));
		const char *state = json_string_value(json_object_get(t, "state"));

		if (client && state && !strcmp(client, "demo") && strcmp(state, "revoked") &&
		    mp_token_change(s->pool, json_string_value(json_object_get(t, "id")), "revoke",
				    0, &f) < 0)
			mp_log(MP_LOG_WARN, "daemon", "demo-token", "why=\"%s\"", f.text);
	}
	json_decref(list);
}

/* A token for the demo's user; those of former runs whose bundle is lost are revoked. */
static int demo_bundle(struct server *s, struct mp_fail *f)
{
	char dir[4200], token[MP_TOKEN_TEXT], server[64];
	bool own = s->o.bundle != NULL;
	struct mp_bundle b;

	if (own)
		snprintf(dir, sizeof(dir), "%s", s->o.bundle);
	else if (!mp_bundle_home(dir, sizeof(dir)) || mp_bundle_foreign(dir, s->state)) {
		/* The user has a real pool: that bundle stays. */
		snprintf(dir, sizeof(dir), "%s/bundle", s->state);
		own = true;
	}
	snprintf(server, sizeof(server), "127.0.0.1:%u", mp_http_server_port(s->http));
	if (demo_token_good(s, dir)) {
		if (mp_bundle_open(dir, &b, f) < 0)
			return -1;
		snprintf(token, sizeof(token), "%.79s", b.token);
		mp_bundle_close(&b);
	} else {
		demo_tokens_revoke(s);
		if (mp_token_create(s->pool, "demo", MP_ROLE_ADMIN, MP_PRIORITY_HIGH, 0, token, f) < 0)
			return -1;
	}
	if (mp_bundle_write(dir, s->state, token, server, f) < 0)
		return -1;
	printf("Motorpool demo pool is ready on %s; next, in another terminal: %s%s%smotorpool run -n 1 "
	       "-p 0.5 -- PROGRAM\n", server, own ? "MOTORPOOL_BUNDLE=" : "", own ? dir : "",
	       own ? " " : "");
	fflush(stdout);
	return 0;
}

/* The first administrator's token of a new pool, shown once. */
static int first_token(struct server *s, struct mp_fail *f)
{
	char dir[4200], token[MP_TOKEN_TEXT], server[128];
	json_t *list = mp_token_list(s->pool);
	size_t n = json_array_size(list);

	json_decref(list);
	if (n)
		return 0;
	snprintf(dir, sizeof(dir), "%s/admin-bundle", s->state);
	snprintf(server, sizeof(server), "%s:%u", s->name, mp_http_server_port(s->http));
	if (mp_token_create(s->pool, "admin", MP_ROLE_ADMIN, MP_PRIORITY_HIGH, 0, token, f) < 0 ||
	    mp_bundle_write(dir, s->state, token, server, f) < 0)
		return -1;
	printf("A new pool: the administrator's token bundle is in %s\n", dir);
	fflush(stdout);
	return 0;
}

/*
 * Under which addresses others reach the API: those that were configured, else
 * the one that it listens on, else the host's name.
 */
static int announce(struct server *s, struct mp_fail *f)
{
	char text[1024], listen[64], *save = NULL, *one;
	unsigned port = mp_http_server_port(s->http), n = 0;
	const char *api[16];
	uint16_t ignored;

	if (s->o.announce) {
		snprintf(text, sizeof(text), "%s", s->o.announce);
	} else if (s->o.api && address_split(s->o.api, listen, sizeof(listen), &ignored, f) == 0 &&
		   strcmp(listen, "0.0.0.0") && strcmp(listen, "::")) {
		snprintf(text, sizeof(text), strchr(listen, ':') ? "[%s]:%u" : "%s:%u", listen, port);
	} else {
		snprintf(text, sizeof(text), "%s:%u", s->o.demo ? "127.0.0.1" : s->name, port);
	}
	for (one = strtok_r(text, ",", &save); one && n < MP_ARRAY_LEN(api); one = strtok_r(NULL, ",", &save))
		api[n++] = one;
	return mp_pool_announce(s->pool, api, n, mp_http_has_authority(s->state), f);
}

/*
 * Another authority signs since this certificate was made, or it ends soon: get
 * one, and show it from the next handshake on.
 */
static void certificate_mind(struct server *s)
{
	int64_t age = mp_pool_authority_age(s->pool);
	const char *names[NAMES_MAX];
	char *cert = NULL, *key = NULL;
	struct mp_fail f = {0};
	json_t *api = NULL;
	unsigned i;
	int rc = 0;

	if (age == s->authority && mp_http_days_left(s->state) >= RENEW_DAYS)
		return;
	for (i = 0; i < s->nnames; i++)
		names[i] = s->names[i];
	if (!mp_http_has_authority(s->state)) {
		api = mp_pool_authority_api(s->pool);
		rc = mp_renew(s->state, server_name(s), names, s->nnames, api, &f);
	}
	if (!rc)
		rc = mp_http_identity(s->state, names, s->nnames, &cert, &key, &f);
	if (!rc)
		rc = mp_http_server_identity(s->http, cert, key, &f);
	if (!rc)
		s->authority = age;
	mp_log(rc ? MP_LOG_WARN : MP_LOG_INFO, "daemon", rc ? "certificate-not-renewed" : "certificate-renewed",
	       "why=\"%s\"", f.text);
	json_decref(api);
	free(cert);
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
}

static int server_run(struct server *s, const sigset_t *signals, struct mp_fail *f)
{
	const struct timespec second = {.tv_sec = 1};
	int sig = 0;

	names_find(s);
	if (state_open(s, f) < 0 || parts_find(s, f) < 0 || pool_start(s, f) < 0 ||
	    http_start(s, f) < 0 || announce(s, f) < 0 || (s->o.demo ? demo_bundle(s, f) : first_token(s, f)) < 0)
		return -1;
	s->authority = mp_pool_authority_age(s->pool);
	mp_log(MP_LOG_INFO, "daemon", "ready", "api-port=%u data-port=%u", mp_http_server_port(s->http),
	       mp_pool_data_port(s->pool));
	do {
		sig = sigtimedwait(signals, NULL, &second);
		certificate_mind(s);
		mp_pool_mind(s->pool);
	} while (sig != SIGTERM && sig != SIGINT);
	mp_log(MP_LOG_INFO, "daemon", "stopping", "signal=%d", sig);
	if (s->o.demo)
		mp_pool_end_all(s->pool, "the demo pool was stopped");
	return 0;
}

static void limits_raise(void)
{
	struct rlimit r;

	/* A thousand clients hold three descriptors each. */
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

int main(int argc, char **argv)
{
	struct server s = {.state_lock = -1};
	struct mp_fail f = {0};
	sigset_t signals;
	int rc;

	umask(077);
	rc = mp_options_parse(argc, argv, &s.o, &f);
	if (rc > 0) {
		mp_options_fini(&s.o);
		return 0;
	}
	if (rc < 0) {
		fprintf(stderr, "motorpoold: %s\n", f.text);
		mp_options_fini(&s.o);
		return mp_code_row((enum mp_code)f.code)->exit;
	}
	if (s.o.log)
		setenv("MOTORPOOL_LOG", s.o.log, 0);
	mp_log_open(s.o.demo ? MP_LOG_WARN : MP_LOG_INFO);
	mp_log_keep();
	limits_raise();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* Every thread inherits the mask: only sigwait() takes them. */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	rc = server_run(&s, &signals, &f);
	if (rc < 0)
		fprintf(stderr, "motorpoold: %s\n", f.text);
	if (s.pool)
		mp_pool_detach(s.pool);
	mp_http_server_stop(s.http);
	mp_pool_close(s.pool);
	mp_store_close(s.store);
	mp_options_fini(&s.o);
	return rc < 0 ? mp_code_row(MP_CODE_CONFIG)->exit : 0;
}
