/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of this server, learned from a child process.
 *
 * The broker never maps a driver library: `motorpool-worker --probe` does, tells
 * what it found as JSON, and is gone.  What it tells is checked like any input,
 * and it has twenty seconds, since a GPU's first initialisation takes some.
 */
#include "pool/state.h"
#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MS  20000
#define PROBE_MAX (1u << 20)

extern char **environ;

/* Read both pipes until they end or time is up; false when it is. */
static bool pipes_read(int out, int err, struct mp_buf *text, struct mp_buf *why)
{
	struct pollfd fds[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
	struct mp_buf *to[2] = {text, why};
	uint64_t until = mp_now_ns() + PROBE_MS * 1000000ull, now;
	char chunk[4096];
	int i;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		now = mp_now_ns();
		if (now >= until || poll(fds, 2, (int)((until - now) / 1000000) + 1) < 0)
			return false;
		for (i = 0; i < 2; i++) {
			ssize_t n;

			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			n = read(fds[i].fd, chunk, sizeof(chunk));
			if (n <= 0)
				fds[i].fd = -1;
			else
				mp_buf_add(to[i], chunk, (size_t)n);
		}
	}
	return true;
}

static int probe_run(struct mp_pool *p, struct mp_buf *text, struct mp_fail *f)
{
	char *argv[] = {p->worker, "--probe", "--driver", p->driver, NULL};
	posix_spawn_file_actions_t actions;
	int out[2], err[2], rc, status = -1;
	struct mp_buf why;
	bool in_time;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return mp_fail_set(f, 0, "no pipe: %s", strerror(errno));
	if (pipe2(err, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return mp_fail_set(f, 0, "no pipe: %s", strerror(errno));
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_adddup2(&actions, err[1], 2);
	rc = posix_spawn(&pid, p->run_worker, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	close(err[1]);
	mp_buf_init(&why, 4096);
	in_time = !rc && pipes_read(out[0], err[0], text, &why);
	close(out[0]);
	close(err[0]);
	if (!rc) {
		if (!in_time)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (why.len && why.data[why.len - 1] == '\n')
		why.data[--why.len] = 0;
	if (rc)
		mp_fail_set(f, 0, "cannot start %s: %s", p->worker, strerror(rc));
	else if (!in_time)
		mp_fail_set(f, 0, "the driver library %s did not answer within %d s", p->driver,
			    PROBE_MS / 1000);
	else if (status)
		mp_fail_set(f, 0, "the driver library %s is not usable: %s", p->driver,
			    why.len ? why.data : "the probe failed without a word");
	rc = rc || !in_time || status ? -1 : 0;
	mp_buf_fini(&why);
	return rc;
}

static void text_take(json_t *o, const char *key, char *to, size_t size)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(to, size, "%s", s ? s : "");
}

static bool device_take(json_t *o, unsigned i, struct device *d)
{
	json_int_t memory = json_integer_value(json_object_get(o, "memory"));
	json_int_t context = json_integer_value(json_object_get(o, "context_memory"));

	d->index = i;
	text_take(o, "uuid", d->uuid, sizeof(d->uuid));
	text_take(o, "name", d->name, sizeof(d->name));
	text_take(o, "capability", d->capability, sizeof(d->capability));
	text_take(o, "pci", d->pci, sizeof(d->pci));
	text_take(o, "code", d->code, sizeof(d->code));
	d->memory = memory > 0 ? (uint64_t)memory : 0;
	d->context_memory = context > 0 ? (uint64_t)context : 0;
	return d->uuid[0] && d->memory && !strpbrk(d->uuid, ", \t\n");
}

/* Is the UUID in the comma-separated list? */
static bool is_offered(const char *offer, const char *uuid)
{
	size_t n = strlen(uuid);
	const char *at;

	if (!offer)
		return true;
	for (at = offer; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (!strncasecmp(at, uuid, n) && (at[n] == ',' || !at[n]))
			return true;
	return false;
}

int mp_device_probe(struct mp_pool *p, const char *offer, uint64_t reserve, struct mp_fail *f)
{
	struct mp_buf text;
	json_t *j = NULL, *list;
	unsigned i, n;
	int rc = -1;

	mp_buf_init(&text, PROBE_MAX);
	if (probe_run(p, &text, f) < 0)
		goto out;
	j = text.len ? json_loadb(text.data, text.len, 0, NULL) : NULL;
	list = json_object_get(j, "devices");
	n = (unsigned)json_array_size(list);
	if (!n) {
		mp_fail_set(f, 0, "the driver library %s has no devices", p->driver);
		goto out;
	}
	text_take(j, "driver_version", p->driver_version, sizeof(p->driver_version));
	if (json_is_integer(json_object_get(j, "cuda_version"))) {
		int v = (int)json_integer_value(json_object_get(j, "cuda_version"));

		snprintf(p->cuda_version, sizeof(p->cuda_version), "%d.%d", v / 1000,
			 v % 1000 / 10);
	}
	p->devices = calloc(n, sizeof(*p->devices));
	if (!p->devices) {
		mp_fail_set(f, 0, "out of memory");
		goto out;
	}
	for (i = 0; i < n; i++)
		if (!device_take(json_array_get(list, i), i, &p->devices[i])) {
			mp_fail_set(f, 0, "the probe of %s told nonsense about device %u",
				    p->driver, i);
			goto out;
		}
	for (i = 0; i < n; i++) {
		struct device *d = &p->devices[i];

		if (reserve >= d->memory) {
			mp_fail_set(f, 0, "the reserve leaves nothing of device %u (%s)", i, d->uuid);
			goto out;
		}
		d->reserve = reserve;
		d->memory -= reserve;
		d->disabled = d->unoffered = !is_offered(offer, d->uuid);
	}
	p->ndevices = n;
	rc = 0;
out:
	json_decref(j);
	mp_buf_fini(&text);
	return rc;
}

struct device *mp_device_find_locked(struct mp_pool *p, const char *uuid)
{
	unsigned i;

	for (i = 0; i < p->ndevices; i++)
		if (!strcmp(p->devices[i].uuid, uuid))
			return &p->devices[i];
	return NULL;
}
