/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lease for programs that belong together: ranks of a launcher, containers of
 * a pod, tasks of a job step on one host.
 *
 * The first motorpool-link of a key holds the lease and listens on a Unix socket
 * in a directory of this user alone; later ones connect, are told the lease, and
 * stay connected as long as their program lives.  A lock file is held from looking
 * for the socket until it is there, so that two that come together do not both ask.
 */
#include "link/join.h"
#include "base/check.h"
#include "base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MEMBERS	 1024
#define TEXT_MAX 8192

struct mp_join {
	int lock, listener;
	char path[108];
	char *text;
	int member[MEMBERS];
	unsigned n;
	bool any;
};

void mp_join_key(char *to, size_t size, bool *ret_explicit)
{
	static const char *const asked[] = {"MOTORPOOL_GPUS", "MOTORPOOL_GPU_MEMORY", "MOTORPOOL_FILTER",
					    "MOTORPOOL_BUNDLE"};
	const char *key = getenv("MOTORPOOL_LEASE_KEY"), *pod = getenv("POD_UID");
	const char *job = getenv("SLURM_JOB_ID"), *step = getenv("SLURM_STEP_ID"), *v;
	size_t i, n;

	*ret_explicit = true;
	if (key && *key) {
		n = (size_t)snprintf(to, size, "key %s", key);
	} else if (pod && *pod) {
		n = (size_t)snprintf(to, size, "pod %s", pod);
	} else if (job && *job) {
		n = (size_t)snprintf(to, size, "slurm %s.%s", job, step ? step : "");
	} else {
		n = (size_t)snprintf(to, size, "session %d", (int)getsid(0));
		*ret_explicit = false;
	}
	for (i = 0; i < MP_ARRAY_LEN(asked) && n < size; i++) {
		v = getenv(asked[i]);
		n += (size_t)snprintf(to + n, size - n, "|%s", v ? v : "");
	}
}

/* A directory of ours that nobody else can enter. */
static bool dir_find(char *dir, size_t size)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (xdg && *xdg == '/' && strlen(xdg) < 50)
		snprintf(dir, size, "%s/motorpool-keys", xdg);
	else
		snprintf(dir, size, "/tmp/motorpool-keys-%u", (unsigned)getuid());
	mkdir(dir, 0700);
	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() && !(st.st_mode & 077);
}

static int socket_at(const char *path, bool listen_there)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd < 0)
		return -1;
	if (listen_there) {
		unlink(path);
		if (bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0 && listen(fd, 64) == 0)
			return fd;
	} else if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0) {
		return fd;
	}
	close(fd);
	return -1;
}

/* What the holder says, up to the end of its line of lines (an empty one). */
static char *text_read(int fd)
{
	char *text = calloc(1, TEXT_MAX + 1);
	size_t n = 0;
	ssize_t got;

	while (text && n < TEXT_MAX && !strstr(text, "\n\n")) {
		got = read(fd, text + n, TEXT_MAX - n);
		if (got <= 0) {
			free(text);
			return NULL;
		}
		n += (size_t)got;
	}
	return text;
}

int mp_join_enter(const char *key, struct mp_join **ret_join, char **ret_text, int *ret_member)
{
	struct mp_join *j = calloc(1, sizeof(*j));
	char dir[80], lock[108];
	unsigned char hash[32];
	int fd;

	*ret_text = NULL;
	if (!j || !dir_find(dir, sizeof(dir))) {
		free(j);
		return -1;
	}
	mp_sha256(key, strlen(key), hash);
	snprintf(j->path, sizeof(j->path), "%s/%02x%02x%02x%02x%02x%02x", dir, hash[0], hash[1], hash[2], hash[3],
		 hash[4], hash[5]);
	snprintf(lock, sizeof(lock), "%.100s.lock", j->path);
	j->listener = -1;
	j->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->lock < 0 || flock(j->lock, LOCK_EX) < 0) {
		mp_join_close(j);
		return -1;
	}
	fd = socket_at(j->path, false);
	if (fd >= 0 && (*ret_text = text_read(fd))) {
		*ret_member = fd;
		j->path[0] = 0;
		mp_join_close(j);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	/* Nobody there, or one that was just leaving: this one is the first. */
	j->listener = socket_at(j->path, true);
	if (j->listener < 0) {
		mp_join_close(j);
		return -1;
	}
	*ret_join = j;
	return 0;
}

void mp_join_tell(struct mp_join *j, const char *text)
{
	j->text = text ? strdup(text) : NULL;
	if (!j->text) {
		close(j->listener);
		j->listener = -1;
		unlink(j->path);
	}
	close(j->lock);
	j->lock = -1;
}

int mp_join_fd(const struct mp_join *j)
{
	return j->listener;
}

unsigned mp_join_serve(struct mp_join *j)
{
	struct pollfd p = {.fd = j->listener, .events = POLLIN};
	unsigned i;
	char c;
	int fd;

	while (j->listener >= 0 && poll(&p, 1, 0) > 0 && (fd = accept4(j->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		size_t n = strlen(j->text);

		if (j->n == MEMBERS || send(fd, j->text, n, MSG_NOSIGNAL) != (ssize_t)n) {
			close(fd);
			continue;
		}
		j->member[j->n++] = fd;
		j->any = true;
	}
	for (i = 0; i < j->n;) {
		if (recv(j->member[i], &c, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR)) {
			i++;
			continue;
		}
		close(j->member[i]);
		j->member[i] = j->member[--j->n];
	}
	return j->n;
}

bool mp_join_any(const struct mp_join *j)
{
	return j->any;
}

void mp_join_close(struct mp_join *own_join)
{
	struct mp_join *j = own_join;
	unsigned i;

	if (!j)
		return;
	if (j->listener >= 0) {
		unlink(j->path);
		close(j->listener);
	}
	for (i = 0; i < j->n; i++)
		close(j->member[i]);
	if (j->lock >= 0)
		close(j->lock);
	free(j->text);
	free(j);
}
