/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease without a launcher: motorpool-link is started and asked for one.
 *
 * It speaks TLS and JSON for us.  The write end of a pipe stays open in this
 * process and in what it forks; when the last of them is gone, the helper ends
 * the lease.  The variables go into the environment, so that programs which this
 * one starts join the same lease.
 */
#include "client/env.h"
#include "shim/link.h"
#include "base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool mp_link_wanted(void)
{
	const char *secret = getenv(MP_ENV_SECRET), *gpus = getenv("MOTORPOOL_GPUS");
	const char *memory = getenv("MOTORPOOL_GPU_MEMORY");

	return (!secret || !*secret) && ((gpus && *gpus) || (memory && *memory));
}

/* Beside this library, or where the build leaves it. */
static bool helper_find(char *path, size_t size)
{
	static const char *const places[] = {"motorpool-link", "../link/motorpool-link"};
	const char *env = getenv("MOTORPOOL_LINK"), *slash;
	Dl_info info;
	size_t i;

	if (env && *env) {
		snprintf(path, size, "%s", env);
		return access(path, X_OK) == 0;
	}
	if (!dladdr((const void *)(uintptr_t)mp_link_wanted, &info) || !info.dli_fname)
		return false;
	slash = strrchr(info.dli_fname, '/');
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, size, "%.*s%s", slash ? (int)(slash + 1 - info.dli_fname) : 0,
			 info.dli_fname, places[i]);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static int helper_start(const char *path, int in, int out)
{
	char comm[32] = "program";
	char *argv[] = {(char *)path, comm, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	pid_t pid;
	int rc, fd;

	fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, comm, sizeof(comm) - 1);

		comm[n > 0 ? n : 0] = 0;
		comm[strcspn(comm, "\n")] = 0;
		close(fd);
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawnattr_init(&attr);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawn(&pid, path, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (rc)
		return -1;
	/* It forks and ends at once: what goes on is no child of the program. */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* One variable of the answer, if it is one that may be set. */
static void variable_take(char *line)
{
	static const char *const names[] = {MP_ENV_DATA, MP_ENV_SECRET, MP_ENV_LEASE, MP_ENV_SERVER,
					    MP_ENV_DEVICES};
	char *value = strchr(line, '=');
	size_t i;

	if (!value)
		return;
	*value++ = 0;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], line))
			setenv(line, value, 1);
}

/* Reads to the empty line; false with the reason logged when there is no lease. */
static bool answer_take(int fd)
{
	char text[4096], *line, *next;
	size_t have = 0;
	ssize_t n;

	do {
		n = read(fd, text + have, sizeof(text) - 1 - have);
		if (n < 0 && errno == EINTR)
			continue;
		have += n > 0 ? (size_t)n : 0;
		text[have] = 0;
	} while (n > 0 && !strstr(text, "\n\n") && have < sizeof(text) - 1);
	if (!strstr(text, "\n\n")) {
		text[strcspn(text, "\n")] = 0;
		mp_log(MP_LOG_ERROR, "shim", "no-lease", "what=\"%s\"",
		       *text == '!' ? text + 2 : "motorpool-link ended without a word");
		/* Silence would leave the user with a bare CUDA code. */
		if (*text == '!' && mp_log_level() < MP_LOG_ERROR)
			fprintf(stderr, "motorpool: %s\n", text + 2);
		return false;
	}
	for (line = text; *line && *line != '\n'; line = next) {
		next = line + strcspn(line, "\n");
		*next++ = 0;
		variable_take(line);
	}
	return true;
}

bool mp_link_ask(void)
{
	char path[4200];
	int hold[2], answer[2];
	bool good = false;

	if (!helper_find(path, sizeof(path))) {
		mp_log(MP_LOG_ERROR, "shim", "no-lease", "what=\"motorpool-link is not beside the "
							 "library\"");
		return false;
	}
	if (pipe2(hold, O_CLOEXEC) < 0)
		return false;
	if (pipe2(answer, O_CLOEXEC) < 0) {
		close(hold[0]);
		close(hold[1]);
		return false;
	}
	if (helper_start(path, hold[0], answer[1]) == 0) {
		close(answer[1]);
		answer[1] = -1;
		good = answer_take(answer[0]);
	}
	close(hold[0]);
	close(answer[0]);
	if (answer[1] >= 0)
		close(answer[1]);
	/* hold[1] stays open for the life of the process: it is the lease. */
	if (!good)
		close(hold[1]);
	return good;
}
