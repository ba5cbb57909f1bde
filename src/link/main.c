/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpool-link: gets a lease for a program that was not started by `run`, and
 * holds it.
 *
 * The drop-in starts it at cuInit, since TLS and JSON have no place in a library
 * that must load into any program.  stdin is a pipe whose other end the program
 * and what it forks hold: its end is the end of the lease.  The answer on stdout
 * is lines NAME=VALUE and an empty line, or one line "! sentence".
 *
 * It leaves the program's session at once, and is no child of it: the program's
 * wait() must not find it, nor the keyboard's signals end it.
 *
 *	MOTORPOOL_GPUS		number of devices (1)
 *	MOTORPOOL_GPU_MEMORY	of each: 2048 (MiB), 2GiB, or 50%; whole devices without
 *	MOTORPOOL_FILTER	filters, parted by spaces
 *	MOTORPOOL_TIMEOUT	how long to wait (30m)
 *	MOTORPOOL_BUNDLE	where the token bundle is
 *	MOTORPOOL_LEASE_KEY	programs with this key that ask for the same share one
 *				lease; without it those of a pod (POD_UID), of a Slurm job
 *				step, else of a process session
 *	MOTORPOOL_LEASE_LINGER	how long a shared lease outlives its last program (30s)
 */
#include "client/client.h"
#include "client/lanes.h"
#include "link/join.h"
#include "base/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int refuse(const char *text)
{
	printf("! %s\n", text);
	return fflush(stdout) ? 1 : 1;
}

static bool program_gone(void)
{
	struct pollfd p = {0, POLLIN, 0};
	char c;

	/* Nobody writes: readable means that the last holder of the other end is gone. */
	return poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0;
}

static int ask_fill(struct mp_ask *ask, char *filters, const char **list, struct mp_fail *f)
{
	const char *gpus = getenv("MOTORPOOL_GPUS"), *memory = getenv("MOTORPOOL_GPU_MEMORY");
	const char *timeout = getenv("MOTORPOOL_TIMEOUT");
	char *end = NULL, *save = NULL, *one;
	unsigned long n = gpus && *gpus ? strtoul(gpus, &end, 10) : 1;

	if ((end && *end) || !n || n > 1024)
		return mp_fail_set(f, MP_CODE_USAGE, "MOTORPOOL_GPUS is a number of devices, not '%.64s'",
				   gpus);
	ask->n = (unsigned)n;
	if (memory && *memory &&
	    !(strchr(memory, '%') ? mp_fraction_parse(memory, &ask->fraction)
				  : mp_size_parse(memory, &ask->bytes)))
		return mp_fail_set(f, MP_CODE_USAGE, "MOTORPOOL_GPU_MEMORY is MiB, a size or a percentage, "
						     "not '%.64s'", memory);
	if (timeout && *timeout && !mp_duration_parse(timeout, &ask->timeout_s))
		return mp_fail_set(f, MP_CODE_USAGE, "MOTORPOOL_TIMEOUT is a time like 30m, not '%.64s'",
				   timeout);
	ask->filters = list;
	for (one = strtok_r(filters, " ", &save); one && ask->nfilters < 32;
	     one = strtok_r(NULL, " ", &save))
		list[ask->nfilters++] = one;
	return 0;
}

static void lease_text(const struct mp_held *h, const char *data, char *to, size_t size)
{
	const json_t *l = mp_held_lease(h);

	snprintf(to, size, MP_ENV_DATA "=%s\n" MP_ENV_SECRET "=%s\n" MP_ENV_LEASE "=%s\n" MP_ENV_SERVER "=%s\n"
		 MP_ENV_DEVICES "=%zu\n\n", data, json_string_value(json_object_get(l, "secret")),
		 json_string_value(json_object_get(l, "id")), mp_held_server(h),
		 json_array_size(json_object_get(l, "devices")));
}

/* The program reads to the empty line; nothing of ours may hold its pipe open. */
static void text_tell(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
	fclose(stdout);
}

/* Nobody's own program, nobody who joined: a while for the next, where there may be one. */
static bool lonely(const struct mp_join *j, bool explicit, unsigned members, bool gone, uint64_t *since)
{
	const char *env = getenv("MOTORPOOL_LEASE_LINGER");
	int64_t linger = 30;

	if (!gone || members) {
		*since = 0;
		return false;
	}
	if (!j || (!explicit && !mp_join_any(j)))
		return true;
	if (env && *env)
		mp_duration_parse(env, &linger);
	if (!*since)
		*since = mp_now_ns();
	return mp_now_ns() - *since >= (uint64_t)linger * 1000000000ull;
}

/* Holds the lease for this program and for those that join. */
static void hold(struct mp_held *h, struct mp_join *j, bool explicit)
{
	uint64_t since = 0;
	bool gone = false;
	unsigned members = 0;

	do {
		/* A program that is gone makes its pipe readable for ever: wait for newcomers only then. */
		if (mp_held_step(h, gone ? j ? mp_join_fd(j) : -1 : 0, 250) == MP_HELD_ENDED)
			break;
		gone = gone || program_gone();
		members = j ? mp_join_serve(j) : 0;
	} while (!lonely(j, explicit, members, gone, &since));
}

static int member_stay(char *own_text, int member)
{
	struct pollfd p[2] = {{0, POLLIN, 0}, {member, POLLIN, 0}};
	char c;

	text_tell(own_text);
	free(own_text);
	/* Until the program is gone, or the lease. */
	while (poll(p, 2, -1) < 0 || (!(p[0].revents && program_gone()) &&
				      !(p[1].revents && recv(member, &c, 1, MSG_DONTWAIT) == 0)))
		;
	return 0;
}

static int serve(const char *program, const char *key, bool explicit)
{
	const char *env = getenv("MOTORPOOL_FILTER"), *list[32];
	struct mp_ask ask = {.timeout_s = 1800, .program = program};
	char *filters = strdup(env ? env : ""), *others = NULL, data[4096], text[6000];
	struct mp_join *j = NULL;
	struct mp_fail f = {0};
	struct mp_bundle b;
	struct mp_held *h;
	int keep = -1, member = -1;

	if (mp_join_enter(key, &j, &others, &member) == 0 && others) {
		free(filters);
		return member_stay(others, member);
	}
	if (!filters || ask_fill(&ask, filters, list, &f) < 0 || mp_bundle_open(NULL, &b, &f) < 0 ||
	    mp_client_ask(&b, &ask, NULL, &h, &f) < 0) {
		free(filters);
		if (j)
			mp_join_tell(j, NULL);
		mp_join_close(j);
		return refuse(f.text);
	}
	snprintf(data, sizeof(data), "%s", mp_held_data(h));
	if (mp_lanes_wanted(data) &&
	    mp_lanes_start(mp_held_data(h), b.ca_file, data, sizeof(data), &keep, &f) < 0)
		return refuse(f.text);
	lease_text(h, data, text, sizeof(text));
	if (j)
		mp_join_tell(j, text);
	text_tell(text);
	hold(h, j, explicit);
	mp_join_close(j);
	/* The helper of the lanes ends with this descriptor. */
	if (keep >= 0)
		close(keep);
	mp_held_release(h);
	mp_bundle_close(&b);
	free(filters);
	return 0;
}

int main(int argc, char **argv)
{
	char key[2048];
	bool explicit;
	pid_t pid;

	/* Before this process leaves the program's session. */
	mp_join_key(key, sizeof(key), &explicit);
	signal(SIGPIPE, SIG_IGN);
	pid = fork();
	if (pid < 0)
		return refuse("no process for motorpool-link");
	if (pid)
		return 0;
	setsid();
	if (chdir("/") < 0)
		return refuse("motorpool-link cannot leave its directory");
	return serve(argc > 1 ? argv[1] : "", key, explicit);
}
