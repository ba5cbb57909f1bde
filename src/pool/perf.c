/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes for measuring: a secret that holds for a minute, and a worker without a
 * driver that answers whoever shows it on the data port.
 */
#include "pool/state.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET_NS (60ull * 1000000000)

extern char **environ;

json_t *mp_perf_open(struct mp_pool *p, struct mp_fail *f)
{
	uint64_t now = mp_now_ns();
	char text[2 * MP_SECRET_BYTES + 1];
	struct perf *one = NULL;
	unsigned i;
	json_t *j = NULL;

	pthread_mutex_lock(&p->lock);
	for (i = 0; i < MP_ARRAY_LEN(p->perf) && !one; i++)
		if (now >= p->perf[i].until)
			one = &p->perf[i];
	if (one) {
		mp_random(one->secret, sizeof(one->secret));
		one->until = now + SECRET_NS;
		mp_hex_print(one->secret, sizeof(one->secret), text);
		j = json_pack("{s:s, s:o}", "secret", text, "data", mp_data_json(p));
	} else {
		mp_fail_set(f, MP_CODE_BUSY, "%zu others measure now: try again in a minute", MP_ARRAY_LEN(p->perf));
	}
	pthread_mutex_unlock(&p->lock);
	return j;
}

bool mp_perf_lane_locked(struct mp_pool *p, const uint8_t secret[MP_SECRET_BYTES], int fd)
{
	char *argv[] = {p->worker, "--netperf", "--lane-fd", "3", NULL};
	struct epoll_event ev = {.events = EPOLLIN};
	posix_spawn_file_actions_t actions;
	uint64_t now = mp_now_ns();
	posix_spawnattr_t attr;
	sigset_t none;
	unsigned i;
	int from, rc, pidfd;
	pid_t pid;

	for (i = 0; i < MP_ARRAY_LEN(p->perf); i++)
		if (now < p->perf[i].until && !CRYPTO_memcmp(p->perf[i].secret, secret, MP_SECRET_BYTES))
			break;
	if (i == MP_ARRAY_LEN(p->perf))
		return false;
	from = fcntl(fd, F_DUPFD_CLOEXEC, 16);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, from, MP_PERF_LANE_FD);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	rc = posix_spawn(&pid, p->run_worker, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	close(from);
	if (rc)
		return false;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
	ev.data.u64 = (uint64_t)(unsigned)pidfd << 8 | MP_WATCH_PERF;
	if (pidfd < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, pidfd, &ev) < 0) {
		kill(pid, SIGKILL);
		mp_perf_ended(pidfd);
	}
	return true;
}

/* Its descriptor is all that is kept of such a worker. */
void mp_perf_ended(int own_pidfd)
{
	siginfo_t si;

	if (own_pidfd < 0)
		return;
	while (waitid(P_PIDFD, (id_t)own_pidfd, &si, WEXITED) < 0 && errno == EINTR)
		;
	close(own_pidfd);
}
