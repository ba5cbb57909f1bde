/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: one worker process for each connected program.
 *
 * A worker is started in a session of its own, so that the keyboard's signals to
 * the daemon do not reach it, and without a parent-death signal, so that it
 * outlives the daemon.  Its end is seen through a pidfd in the data thread's
 * epoll set; a worker that a former daemon started is not our child, and its
 * pidfd tells its end just as well.
 */
#include "pool/state.h"
#include "pool/worker-spawn.h"
#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SESSIONS_MAX MP_ACCOUNT_PROCESSES

extern char **environ;

void mp_session_signal(struct session *s, int sig)
{
	/* The pidfd is this very process: a reused pid is never hit. */
	if (s->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s->pidfd, sig, NULL, 0u);
}

void mp_session_free(struct mp_pool *p, struct session *own_session)
{
	struct session *s = own_session;

	if (s->pidfd >= 0) {
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, s->pidfd, NULL);
		close(s->pidfd);
	}
	if (s->control >= 0)
		close(s->control);
	free(s);
}

/* What a worker may see of the daemon's environment. */
static bool environment_kept(const char *e)
{
	static const char *const keep[] = {"PATH=", "HOME=", "LANG=", "TMPDIR=",
					   "LD_LIBRARY_PATH=", "CUDA_CACHE_PATH=", "MOTORPOOL_",
					   "ASAN_OPTIONS=", "UBSAN_OPTIONS="};
	static const char *const drop[] = {MP_ENV_SECRET "=", MP_ENV_DATA "=", MP_ENV_LEASE "=",
					   MP_ENV_BUNDLE "=", MP_ENV_SERVER "="};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(drop); i++)
		if (!strncmp(e, drop[i], strlen(drop[i])))
			return false;
	for (i = 0; i < MP_ARRAY_LEN(keep); i++)
		if (!strncmp(e, keep[i], strlen(keep[i])))
			return true;
	return false;
}

static char **environment_make(void)
{
	size_t n = 0, i;
	char **list;

	for (i = 0; environ[i]; i++)
		n++;
	list = calloc(n + 1, sizeof(*list));
	for (i = n = 0; list && environ[i]; i++)
		if (environment_kept(environ[i]))
			list[n++] = environ[i];
	return list;
}

/* Duplicates above the numbers that the worker's descriptors get, so that dup2 cannot clobber one. */
static int fd_raise(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 16);
}

/*
 * Where the next daemon finds the worker of a session.  A Unix socket's path is
 * short and a state directory's need not be: it is named by a descriptor.
 */
static int adopt_address(struct mp_pool *p, const struct lease *l, const struct session *s,
			 struct sockaddr_un *un, int *ret_dir)
{
	char path[4200], id[2 * SESSION_BYTES + 1];

	snprintf(path, sizeof(path), "%s/leases", p->state_dir);
	*ret_dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	mp_hex_print(s->id, SESSION_BYTES, id);
	snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%s.%s", *ret_dir, l->id, id);
	return *ret_dir < 0 ? -1 : 0;
}

static int adopt_listen(struct mp_pool *p, const struct lease *l, const struct session *s)
{
	int dir = -1, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;

	if (adopt_address(p, l, s, &un, &dir) == 0)
		unlink(un.sun_path);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, 1) < 0)) {
		close(fd);
		fd = -1;
	}
	if (dir >= 0)
		close(dir);
	return fd;
}

static int adopt_connect(struct mp_pool *p, const struct lease *l, const struct session *s)
{
	int dir = -1, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un un;

	if (adopt_address(p, l, s, &un, &dir) < 0 ||
	    (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)) {
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (dir >= 0)
		close(dir);
	return fd;
}

static void adopt_forget(struct mp_pool *p, const struct lease *l, const struct session *s)
{
	struct sockaddr_un un;
	int dir;

	if (adopt_address(p, l, s, &un, &dir) == 0)
		unlink(un.sun_path);
	if (dir >= 0)
		close(dir);
}

static int worker_start(struct mp_pool *p, struct lease *l, const struct session *s, int lane,
			int control, int adopt, pid_t *ret_pid)
{
	struct mp_buf devices, memory;
	char session[2 * SESSION_BYTES + 1];
	char *argv[] = {p->worker, "--lane-fd", "3", "--control-fd", "4", "--account-fd", "5",
			"--driver", p->driver, "--devices", NULL, "--memory", NULL, "--lease",
			l->id, "--session", session, "--adopt-fd", "6", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	char **env = environment_make();
	int from[4], i, rc = ENOMEM;
	unsigned d;

	mp_buf_init(&devices, 1 << 16);
	mp_buf_init(&memory, 1 << 16);
	for (d = 0; d < l->n; d++) {
		mp_buf_printf(&devices, "%s%s", d ? "," : "",
			      p->devices[l->slice[d].device].uuid);
		mp_buf_printf(&memory, "%s%llu", d ? "," : "",
			      (unsigned long long)l->slice[d].bytes);
	}
	mp_hex_print(s->id, SESSION_BYTES, session);
	argv[10] = devices.data;
	argv[12] = memory.data;
	from[0] = fd_raise(lane);
	from[1] = fd_raise(control);
	from[2] = fd_raise(l->account_fd);
	from[3] = fd_raise(adopt);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (i = 0; i < 4; i++)
		posix_spawn_file_actions_adddup2(&actions, from[i], MP_WORKER_LANE_FD + i);
	sigemptyset(&none);
	sigfillset(&defaults);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSID);
	if (from[0] >= 0 && from[1] >= 0 && from[2] >= 0 && from[3] >= 0 && env && !devices.failed &&
	    !memory.failed)
		rc = posix_spawn(ret_pid, p->run_worker, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	for (i = 0; i < 4; i++)
		if (from[i] >= 0)
			close(from[i]);
	mp_buf_fini(&devices);
	mp_buf_fini(&memory);
	free(env);
	if (rc)
		mp_log(MP_LOG_ERROR, "pool", "worker-not-started", "path=%s why=\"%s\"", p->worker,
		       strerror(rc));
	return rc ? -1 : 0;
}

/* Puts a session whose worker runs into its lease and watches its end. */
static int session_enter(struct mp_pool *p, struct lease *l, struct session *s)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)s->worker << 8 | 2};

	s->pidfd = (int)syscall(SYS_pidfd_open, s->worker, 0u);
	/* Between the look and the open the pid may have been used again: look after it. */
	if (s->pidfd < 0 || (s->worker_start && mp_process_start(s->worker) != s->worker_start) ||
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, s->pidfd, &ev) < 0)
		return -1;
	s->lease = l;
	s->next = l->sessions;
	l->sessions = s;
	l->nsessions++;
	return 0;
}

static int session_start(struct mp_pool *p, struct lease *l, const uint8_t id[SESSION_BYTES],
			 int lane, uint32_t pid, uint32_t uid, const char *comm)
{
	struct session *s;
	int pair[2], adopt = -1;

	if (l->nsessions >= SESSIONS_MAX ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	s = calloc(1, sizeof(*s));
	if (!s)
		goto fail;
	memcpy(s->id, id, SESSION_BYTES);
	s->pid = pid;
	s->uid = uid;
	snprintf(s->comm, sizeof(s->comm), "%s", comm);
	s->control = pair[0];
	s->pidfd = -1;
	adopt = adopt_listen(p, l, s);
	if (adopt < 0 || worker_start(p, l, s, lane, pair[1], adopt, &s->worker) < 0)
		goto fail;
	close(adopt);
	close(pair[1]);
	if (session_enter(p, l, s) < 0) {
		kill(s->worker, SIGKILL);
		waitpid(s->worker, NULL, 0);
		mp_session_free(p, s);
		return -1;
	}
	/* It may be dead already; its pidfd tells then. */
	s->worker_start = mp_process_start(s->worker);
	p->workers_started++;
	mp_log(MP_LOG_INFO, "pool", "worker", "lease=%s pid=%d program=%s client-pid=%u", l->id,
	       (int)s->worker, s->comm, s->pid);
	mp_lease_attached_locked(p, l);
	return 0;
fail:
	if (adopt >= 0) {
		adopt_forget(p, l, s);
		close(adopt);
	}
	free(s);
	close(pair[0]);
	close(pair[1]);
	return -1;
}

static int lane_pass(struct session *s, int lane)
{
	struct mp_worker_control c = {.kind = MP_WORKER_LANE};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {&c, sizeof(c)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};

	if (s->control < 0)
		return -1;
	memset(&control, 0, sizeof(control));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &lane, sizeof(int));
	return sendmsg(s->control, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(c) ? 0 : -1;
}

int mp_session_lane_locked(struct mp_pool *p, struct lease *l, const uint8_t id[SESSION_BYTES],
			   int own_fd, uint32_t pid, uint32_t uid, const char *comm)
{
	struct session *s;
	int rc;

	for (s = l->sessions; s; s = s->next)
		if (!memcmp(s->id, id, SESSION_BYTES))
			break;
	rc = s ? lane_pass(s, own_fd) : session_start(p, l, id, own_fd, pid, uid, comm);
	close(own_fd);
	return rc;
}

int mp_session_adopt_locked(struct mp_pool *p, struct lease *l, pid_t worker, uint64_t start,
			    const uint8_t id[SESSION_BYTES], uint32_t pid, const char *comm)
{
	struct session *s;

	if (!start || mp_process_start(worker) != start)
		return -1;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -1;
	memcpy(s->id, id, SESSION_BYTES);
	snprintf(s->comm, sizeof(s->comm), "%s", comm);
	s->worker = worker;
	s->worker_start = start;
	s->pid = pid;
	s->control = -1;
	s->pidfd = -1;
	if (session_enter(p, l, s) < 0) {
		mp_session_free(p, s);
		return -1;
	}
	/* Its further lanes go by this; a worker of a former release has no such socket. */
	s->control = adopt_connect(p, l, s);
	return 0;
}

/* What follows `option` in a command line as /proc has it, NULL without. */
static const char *option_of(const char *line, size_t n, const char *option)
{
	const char *at, *next, *end = line + n;

	for (at = line; at < end; at = next) {
		next = at + strlen(at) + 1;
		if (!strcmp(at, option))
			return next < end ? next : NULL;
	}
	return NULL;
}

/*
 * Is that process a worker of this lease, and of which session?  The account is
 * written by workers, which may be hostile: a pid in it is believed only when the
 * process's own command line names the lease.
 */
static bool worker_of(pid_t pid, const char *id, uint8_t ret_session[SESSION_BYTES])
{
	char path[64], text[8192];
	const char *lease, *session;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	lease = option_of(text, (size_t)n, "--lease");
	session = option_of(text, (size_t)n, "--session");
	if (!session || !mp_hex_parse(session, ret_session, SESSION_BYTES))
		memset(ret_session, 0, SESSION_BYTES);
	return lease && !strcmp(lease, id);
}

void mp_session_end_strays(struct mp_pool *p, const char *id, const char *account)
{
	int fd = open(account, O_RDWR | O_CLOEXEC | O_NOFOLLOW), pidfd;
	struct mp_account *a = NULL;
	uint8_t session[SESSION_BYTES];
	struct mp_account_entry e;
	unsigned i;

	(void)p;
	if (fd >= 0 && mp_account_open(fd, &a) == 0)
		for (i = 0; mp_account_entry(a, i, &e); i++) {
			pidfd = e.pid > 1 ? (int)syscall(SYS_pidfd_open, e.pid, 0u) : -1;
			/* The process is held by its descriptor before its name is looked at. */
			if (pidfd >= 0 && worker_of(e.pid, id, session))
				syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0u);
			if (pidfd >= 0)
				close(pidfd);
		}
	mp_account_close(a);
	if (fd >= 0)
		close(fd);
}

/* Workers that run and are in no list: the daemon before this one was killed before it had written them down. */
void mp_session_adopt_strays_locked(struct mp_pool *p, struct lease *l)
{
	uint8_t session[SESSION_BYTES];
	struct mp_account_entry e;
	struct session *s;
	unsigned i;

	for (i = 0; mp_account_entry(l->account, i, &e); i++) {
		for (s = l->sessions; s && s->worker != e.pid; s = s->next)
			;
		if (e.pid > 1 && !s && worker_of(e.pid, l->id, session))
			mp_session_adopt_locked(p, l, e.pid, mp_process_start(e.pid), session, 0, "");
	}
}

void mp_session_reaped_locked(struct mp_pool *p, struct session *s)
{
	struct lease *l = s->lease;
	struct session **at;
	int status = 0;

	if (waitpid(s->worker, &status, 0) < 0)
		status = 0; /* not our child: adopted */
	mp_log(WIFSIGNALED(status) || WEXITSTATUS(status) == MP_WORKER_EXIT_USAGE ||
			       WEXITSTATUS(status) == MP_WORKER_EXIT_DRIVER
		       ? MP_LOG_WARN
		       : MP_LOG_INFO,
	       "pool", "worker-ended", "lease=%s pid=%d %s=%d", l->id, (int)s->worker,
	       WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	for (at = &l->sessions; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	l->nsessions--;
	adopt_forget(p, l, s);
	mp_session_free(p, s);
	mp_lease_left_locked(p, l);
}
