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

/* The worker with these arguments; its standard output in `text`. */
static int probe_run(struct mp_pool *p, char *const *argv, struct mp_buf *text, struct mp_fail *f)
{
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
	char *argv[] = {p->worker, "--probe", "--driver", p->driver, NULL};
	struct mp_buf text;
	json_t *j = NULL, *list;
	unsigned i, n;
	int rc = -1;

	mp_buf_init(&text, PROBE_MAX);
	if (probe_run(p, argv, &text, f) < 0)
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

/* ---- Looking at idle devices ---- */

/* What others may take of a device before it is theirs: a display, a monitor's context. */
#define FOREIGN_BYTES (64ull << 20)

const char *mp_condition_name(const struct device *d)
{
	return d->condition == CONDITION_FAULTY ? "faulty" : d->condition == CONDITION_FOREIGN ? "foreign" : "ok";
}

/* Lock held.  True when it is another than before. */
static bool condition_set(struct device *d, int condition, const char *why)
{
	if ((int)d->condition == condition)
		return false;
	d->condition = condition;
	snprintf(d->why, sizeof(d->why), "%s", why);
	d->disabled = d->disabled || condition != CONDITION_OK;
	mp_log(condition == CONDITION_OK ? MP_LOG_INFO : MP_LOG_WARN, "pool", "device", "uuid=%s state=%s why=\"%s\"",
	       d->uuid, mp_condition_name(d), d->why);
	return true;
}

struct looked {
	unsigned device, grants;
};

/* Lock held: the devices that nobody has a lease on, as UUIDs. */
static unsigned idle_find(struct mp_pool *p, struct looked *at, struct mp_buf *uuids)
{
	unsigned i, n = 0;

	for (i = 0; i < p->ndevices; i++) {
		if (p->devices[i].leases || p->devices[i].unoffered)
			continue;
		mp_buf_printf(uuids, "%s%s", n ? "," : "", p->devices[i].uuid);
		at[n++] = (struct looked){i, p->devices[i].grants};
	}
	return n;
}

/* Lock held: what was found, for devices on which no lease was given meanwhile. */
static bool found_take(struct mp_pool *p, const struct looked *at, unsigned n, const json_t *list, const char *failed)
{
	bool changed = false;
	unsigned i;

	for (i = 0; i < n; i++) {
		struct device *d = &p->devices[at[i].device];
		const json_t *o = json_array_get(list, i);
		const char *why = json_string_value(json_object_get(o, "why"));
		json_int_t taken = json_integer_value(json_object_get(o, "taken"));
		char text[96], a[32];

		if (d->leases || d->grants != at[i].grants)
			continue;
		if (failed || !why || *why) {
			changed |= condition_set(d, CONDITION_FAULTY, failed ? failed : why ? why : "nothing was told of it");
		} else if (taken > 0 && (uint64_t)taken > d->context_memory + FOREIGN_BYTES) {
			snprintf(text, sizeof(text), "%s of it is used by somebody outside the pool",
				 mp_bytes_print((uint64_t)taken - d->context_memory, a));
			changed |= condition_set(d, CONDITION_FOREIGN, text);
		} else {
			changed |= condition_set(d, CONDITION_OK, "");
		}
	}
	return changed;
}

static void look_once(struct mp_pool *p)
{
	struct looked *at = calloc(p->ndevices, sizeof(*at));
	struct mp_buf uuids, text;
	struct mp_fail f = {0};
	json_t *j = NULL;
	unsigned n;
	int rc = 0;

	mp_buf_init(&uuids, PROBE_MAX);
	mp_buf_init(&text, PROBE_MAX);
	pthread_mutex_lock(&p->lock);
	n = at ? idle_find(p, at, &uuids) : 0;
	pthread_mutex_unlock(&p->lock);
	if (n && !uuids.failed) {
		char *argv[] = {p->worker, "--look", "--driver", p->driver, "--devices", uuids.data, NULL};

		rc = probe_run(p, argv, &text, &f);
		j = rc || !text.len ? NULL : json_loadb(text.data, text.len, 0, NULL);
		pthread_mutex_lock(&p->lock);
		if (found_take(p, at, n, json_object_get(j, "devices"), rc ? f.text : NULL)) {
			mp_pool_tell_locked(p);
			/* The data thread looks at what makes a device offered. */
			__atomic_store_n(&p->moved, true, __ATOMIC_RELEASE);
		}
		pthread_mutex_unlock(&p->lock);
		mp_data_wake(p);
	}
	json_decref(j);
	mp_buf_fini(&uuids);
	mp_buf_fini(&text);
	free(at);
}

static void *look(void *arg)
{
	struct mp_pool *p = arg;
	struct timespec until;

	pthread_mutex_lock(&p->lock);
	while (!p->stopping) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += p->look_ms / 1000;
		until.tv_nsec += p->look_ms % 1000 * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&p->look_wake, &p->lock, &until);
		if (p->stopping)
			break;
		pthread_mutex_unlock(&p->lock);
		look_once(p);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int mp_device_look_start(struct mp_pool *p, struct mp_fail *f)
{
	if (!p->look_ms || !p->ndevices)
		return 0;
	if (pthread_create(&p->look_thread, NULL, look, p))
		return mp_fail_set(f, EAGAIN, "no thread to look at devices");
	p->look_runs = true;
	return 0;
}

void mp_device_look_stop(struct mp_pool *p)
{
	if (!p->look_runs)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->look_wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->look_thread, NULL);
	p->look_runs = false;
}
