/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many clients of a pool in one process, for tests/chaos.py: each asks for a
 * slice, holds it for a while, gives it back, and writes down what it knows.
 *
 *	chaos-client SEED SECONDS THREADS HOLD PROGRAM|- LIBDIR HISTORY BUNDLE...
 *
 * Thread i uses bundle i modulo their number and holds for HOLD seconds on average.  With PROGRAM (src/daemon/hold.c) a
 * thread starts it through the drop-in, has it fill the slice with a byte of its
 * own and check it again and again.  The history has lines
 *
 *	held TIME LEASE CLIENT COST SERVER UUID=BYTES,...
 *	lost TIME LEASE		not sure any more: the server does not answer
 *	sure TIME LEASE		it answers again, and the lease is ours
 *	left TIME LEASE		given back, or told that it is over
 *	bad COUNT LEASE		bytes that were not ours
 *	note TEXT
 *
 * with TIME in ns: "held" and "sure" after it is so, "lost" and "left" before or
 * as soon as it is known.  Between them the slice is nobody else's.
 */
#include "client/client.h"
#include "client/lanes.h"
#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *program, *libdir;
static uint64_t until, mean_ms;
static FILE *history;
static pthread_mutex_t history_lock = PTHREAD_MUTEX_INITIALIZER;

struct one {
	unsigned seed, number;
	const char *bundle;
};

struct child {
	pid_t pid;
	int in, out;
	bool good; /* its last answers were what they should be */
};

static void MP_PRINTF(1, 2) tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&history_lock);
	vfprintf(history, fmt, ap);
	fputc('\n', history);
	fflush(history);
	pthread_mutex_unlock(&history_lock);
	va_end(ap);
}

static long long now(void)
{
	return (long long)mp_now_ns();
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void tell_held(const struct mp_held *h, const struct mp_ask *ask, const char *client)
{
	const json_t *l = mp_held_lease(h), *d;
	char list[512] = "";
	size_t i;

	json_array_foreach(json_object_get(l, "devices"), i, d)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s=%lld", list[0] ? "," : "",
			 text_of(d, "uuid"), (long long)json_integer_value(json_object_get(d, "bytes")));
	tell("held %lld %s %s %lld %s %s", now(), text_of(l, "id"), client, (long long)ask->n * ask->fraction,
	     text_of(l, "server"), list);
}

/* ---- The program ---- */

static bool child_say(struct child *c, const char *line, char *answer, size_t size)
{
	size_t n = 0;
	struct pollfd p = {.fd = c->out, .events = POLLIN};

	if (write(c->in, line, strlen(line)) < 0)
		return false;
	while (n < size - 1) {
		if (poll(&p, 1, 30000) <= 0 || read(c->out, answer + n, 1) != 1)
			return false;
		if (answer[n] == '\n')
			break;
		n++;
	}
	answer[n] = 0;
	return true;
}

static int environment_make(const struct mp_held *h, char text[4][400], char **env)
{
	const json_t *l = mp_held_lease(h);
	int n = 0, i;

	snprintf(text[0], 400, MP_ENV_DATA "=%s", mp_held_data(h));
	snprintf(text[1], 400, MP_ENV_SECRET "=%s", text_of(l, "secret"));
	snprintf(text[2], 400, MP_ENV_LEASE "=%s", text_of(l, "id"));
	snprintf(text[3], 400, "LD_LIBRARY_PATH=%s", libdir);
	for (i = 0; environ[i] && n < 200; i++)
		if (strncmp(environ[i], "LD_LIBRARY_PATH=", 16) && strncmp(environ[i], "MOTORPOOL_", 10))
			env[n++] = environ[i];
	for (i = 0; i < 4; i++)
		env[n++] = text[i];
	env[n] = NULL;
	return n;
}

static bool child_start(struct child *c, const struct mp_held *h)
{
	char *argv[] = {(char *)(uintptr_t)program, NULL}, *env[256], text[4][400];
	posix_spawn_file_actions_t a;
	int in[2], out[2], rc;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return false;
	environment_make(h, text, env);
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, in[0], 0);
	posix_spawn_file_actions_adddup2(&a, out[1], 1);
	rc = posix_spawn(&c->pid, program, &a, NULL, argv, env);
	posix_spawn_file_actions_destroy(&a);
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
	return rc == 0;
}

static void child_end(struct child *c)
{
	close(c->in);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(c->out);
}

/* Its first words, and its slice filled: all that there is. */
static bool child_fill(struct child *c, unsigned byte)
{
	char answer[64], line[64];
	long long left;

	if (!child_say(c, "", answer, sizeof(answer)) || strcmp(answer, "0") ||
	    !child_say(c, "i\n", answer, sizeof(answer)))
		return false;
	left = strtoll(answer, NULL, 10);
	if (left < 1)
		return true;
	snprintf(line, sizeof(line), "f %lld %u\n", left, byte);
	return child_say(c, line, answer, sizeof(answer)) && !strcmp(answer, "0");
}

static void child_check(struct child *c, const char *lease)
{
	char answer[64];

	if (!c->good)
		return;
	/* A negative answer is an error of a lost device: nothing was seen. */
	if (!child_say(c, "v\n", answer, sizeof(answer)) || answer[0] == '-')
		c->good = false;
	else if (strcmp(answer, "0"))
		tell("bad %s %s", answer, lease);
}

/* ---- One client ---- */

static void hold(struct one *o, struct mp_held *h, uint64_t end)
{
	const char *id = text_of(mp_held_lease(h), "id");
	enum mp_held_state was = MP_HELD_YES, state;
	struct child c = {0};
	uint64_t check = 0;

	if (program) {
		c.good = child_start(&c, h);
		if (c.good && !child_fill(&c, 1 + o->number % 255))
			c.good = false;
		if (!c.good)
			tell("note program of %s did not start", id);
	}
	while (mp_now_ns() < (end < until ? end : until)) {
		state = mp_held_step(h, -1, 500);
		if (state == MP_HELD_ENDED)
			break;
		if (state != was)
			tell("%s %lld %s", state == MP_HELD_YES ? "sure" : "lost", now(), id);
		was = state;
		if (c.pid && mp_now_ns() > check) {
			child_check(&c, id);
			check = mp_now_ns() + (c.good && end - mp_now_ns() > mean_ms * 300000 ? mean_ms * 250000 : 500000000);
		}
	}
	tell("left %lld %s", now(), id);
	if (c.pid)
		child_end(&c);
}

/* Not past the end of the test. */
static void rest(uint64_t ms)
{
	uint64_t now = mp_now_ns(), ns = ms * 1000000;

	if (now < until)
		usleep((useconds_t)((ns < until - now ? ns : until - now) / 1000));
}

static void *client_run(void *arg)
{
	struct one *o = arg;
	struct mp_bundle b;
	struct mp_fail f;
	struct mp_held *h;
	const char *name = strrchr(o->bundle, '/');

	if (mp_bundle_open(o->bundle, &b, &f) < 0) {
		tell("note %s", f.text);
		return NULL;
	}
	/* Clients come one by one, as their users do. */
	rest(rand_r(&o->seed) % 1000 * mean_ms / 1000);
	while (mp_now_ns() < until) {
		struct mp_ask ask = {.n = 1 + rand_r(&o->seed) % 2, .fraction = 125000u * (1 + rand_r(&o->seed) % 6),
				     .timeout_s = rand_r(&o->seed) % 2 ? 0 : (int)(mean_ms / 1000 + 1), .program = "chaos"};

		memset(&f, 0, sizeof(f));
		if (mp_client_ask(&b, &ask, NULL, &h, &f) < 0) {
			/* Over a limit, or nothing fits: not again at once. */
			rest((500 + rand_r(&o->seed) % 1000) * mean_ms / 1000);
			continue;
		}
		tell_held(h, &ask, name ? name + 1 : o->bundle);
		hold(o, h, mp_now_ns() + (200 + rand_r(&o->seed) % 1600) * mean_ms * 1000);
		mp_held_release(h);
	}
	mp_bundle_close(&b);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n, i, seed;
	pthread_attr_t a;
	pthread_t *t;
	struct one *o;

	if (argc < 9) {
		fprintf(stderr, "usage: chaos-client SEED SECONDS THREADS HOLD PROGRAM|- LIBDIR HISTORY BUNDLE...\n");
		return 2;
	}
	seed = (unsigned)strtoul(argv[1], NULL, 10);
	until = mp_now_ns() + strtoull(argv[2], NULL, 10) * 1000000000ull;
	n = (unsigned)strtoul(argv[3], NULL, 10);
	mean_ms = (uint64_t)(strtod(argv[4], NULL) * 1000);
	program = strcmp(argv[5], "-") ? argv[5] : NULL;
	libdir = argv[6];
	history = fopen(argv[7], "we");
	t = calloc(n, sizeof(*t));
	o = calloc(n, sizeof(*o));
	if (!history || !n || !t || !o)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 512 << 10);
	for (i = 0; i < n; i++) {
		o[i] = (struct one){seed * 1000 + i, seed * 37 + i, argv[8 + i % (unsigned)(argc - 8)]};
		if (pthread_create(&t[i], &a, client_run, &o[i]))
			return 2;
	}
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	fclose(history);
	free(t);
	free(o);
	return 0;
}
