/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: a lease, a program that uses it, and the end of both.
 *
 * This process is the lease's holder: it keeps the event stream open, starts the
 * program as its child in the same process group and terminal, passes signals on
 * and returns the child's status.  When it is killed, the kernel closes the
 * stream, and the server ends the lease.  The child is told to end with it by
 * the loss of its device only: a program that can go on without one may.
 */
#include "cli/cli.h"
#include "client/lanes.h"
#include "base/check.h"
#include "base/where.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int stopped; /* a signal came while waiting for devices */

static void on_signal(int sig)
{
	__atomic_store_n(&stopped, sig, __ATOMIC_RELAXED);
}

/* Prepended, never replaced: images rely on theirs. */
static int library_path_set(const char *dir)
{
	const char *old = getenv("LD_LIBRARY_PATH");
	char nvml[4096], *value;
	bool apart = mp_where(MP_PART_NVMLDIR, nvml, sizeof(nvml)) && strcmp(nvml, dir);

	if (asprintf(&value, "%s%s%s%s%s", dir, apart ? ":" : "", apart ? nvml : "", old && *old ? ":" : "",
		     old && *old ? old : "") < 0)
		return -1;
	setenv("LD_LIBRARY_PATH", value, 1);
	free(value);
	return 0;
}

/* Devices that run PTX alone: NVIDIA's cuBLAS has little of it, so that the program gets ours (src/blas). */
static void blas_set(const json_t *l)
{
	const char *wish = getenv("MOTORPOOL_BLAS"), *old = getenv("LD_AUDIT");
	const json_t *d = json_array_get(json_object_get(l, "devices"), 0);
	char path[4096], *value;

	if (strcmp(mp_cli_text(d, "code"), "ptx") || (wish && !strcmp(wish, "0")) ||
	    !mp_where(MP_PART_BLAS, path, sizeof(path)) || (old && strstr(old, path)))
		return;
	if (asprintf(&value, "%s%s%s", path, old && *old ? ":" : "", old && *old ? old : "") < 0)
		return;
	setenv("LD_AUDIT", value, 1);
	free(value);
}

int mp_cli_environment(const json_t *l, const char *data, const char *server, struct mp_fail *f)
{
	char dir[4096], number[16];

	if (!mp_where(MP_PART_LIBDIR, dir, sizeof(dir)))
		return mp_fail_set(f, MP_CODE_FAILED, "the drop-in libcuda.so.1 is not in %s; set "
						      MP_ENV_LIBDIR " to its directory", dir);
	snprintf(number, sizeof(number), "%zu", json_array_size(json_object_get(l, "devices")));
	setenv(MP_ENV_DATA, data, 1);
	setenv(MP_ENV_SECRET, mp_cli_text(l, "secret"), 1);
	setenv(MP_ENV_LEASE, mp_cli_text(l, "id"), 1);
	setenv(MP_ENV_SERVER, server, 1);
	setenv(MP_ENV_DEVICES, number, 1);
	blas_set(l);
	return library_path_set(dir);
}

/* In the child: becomes the program, or tells errno through the pipe. */
static void __attribute__((noreturn)) program_become(char **argv, const sigset_t *mask, int tell)
{
	int e;

	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	e = errno;
	if (write(tell, &e, sizeof(e)) < 0)
		_exit(125);
	_exit(127);
}

static int program_start(char **argv, const sigset_t *mask, pid_t *ret_pid, struct mp_fail *f)
{
	int p[2], e = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		return mp_fail_set(f, MP_CODE_FAILED, "no pipe: %s", strerror(errno));
	*ret_pid = fork();
	if (!*ret_pid)
		program_become(argv, mask, p[1]);
	close(p[1]);
	if (*ret_pid < 0) {
		e = errno;
		close(p[0]);
		return mp_fail_set(f, MP_CODE_FAILED, "cannot fork: %s", strerror(e));
	}
	/* End of file: exec() closed it, the program runs. */
	if (read(p[0], &e, sizeof(e)) != sizeof(e))
		e = 0;
	close(p[0]);
	if (!e)
		return 0;
	waitpid(*ret_pid, NULL, 0);
	return mp_fail_set(f, e == ENOENT ? MP_CODE_NO_PROGRAM : MP_CODE_NOT_EXECUTABLE,
			   e == ENOENT ? "there is no program '%s' (%s)" : "cannot execute '%s': %s",
			   argv[0], strerror(e));
}

static int status_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * A terminal sends its signals to the whole group, the child included; only
 * those that one process sent to us are passed on.
 */
static void signal_pass(const struct signalfd_siginfo *si, pid_t pid)
{
	if (si->ssi_code <= 0)
		kill(pid, (int)si->ssi_signo);
}

/* Takes what the signalfd has; true when the child has ended. */
static bool signals_take(int fd, pid_t pid, int *ret_status)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			signal_pass(&si, pid);
	return waitpid(pid, ret_status, WNOHANG) == pid;
}

static int program_mind(struct mp_held *h, pid_t pid, int fd, bool *ret_lost)
{
	enum mp_held_state was = MP_HELD_YES, now;
	const char *notice;
	int status = 0;

	while (!signals_take(fd, pid, &status)) {
		if (was == MP_HELD_ENDED) {
			struct timespec ts = {.tv_nsec = 20000000};

			nanosleep(&ts, NULL);
			continue;
		}
		now = mp_held_step(h, fd, 1000);
		notice = mp_held_notice(h);
		if (notice)
			fprintf(stderr, "motorpool: %s\n", notice);
		if (now != was && now == MP_HELD_ENDED)
			fprintf(stderr, "motorpool: the lease ended: %s\n", mp_held_why(h));
		if (now != was && now == MP_HELD_AWAY)
			fprintf(stderr, "motorpool: the server %s does not answer; the program goes on\n",
				mp_held_server(h));
		if (now != was && was == MP_HELD_AWAY && now == MP_HELD_YES)
			fprintf(stderr, "motorpool: the server %s is back\n", mp_held_server(h));
		was = now;
	}
	*ret_lost = was == MP_HELD_ENDED;
	return status_code(status);
}

static void signals_block(sigset_t *set, sigset_t *old)
{
	static const int which[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2,
				    SIGWINCH, SIGCONT, SIGALRM};
	size_t i;

	sigemptyset(set);
	for (i = 0; i < MP_ARRAY_LEN(which); i++)
		sigaddset(set, which[i]);
	sigprocmask(SIG_BLOCK, set, old);
}

/* What the program finds as its server: a helper of ours where lanes are encrypted. */
static int lanes_start(const char *data, const char *ca_file, char *ret, size_t size, int *ret_keep,
		       struct mp_fail *f)
{
	*ret_keep = -1;
	if (mp_lanes_wanted(data))
		return mp_lanes_start(data, ca_file, ret, size, ret_keep, f);
	snprintf(ret, size, "%s", data);
	return 0;
}

static int run_with(struct mp_cli *c, struct mp_held *h, const struct mp_bundle *b)
{
	struct mp_fail f = {0};
	sigset_t set, old;
	char data[4096];
	bool lost = false;
	pid_t pid = -1;
	int fd, code, keep;

	/* Before signals are blocked: the helper has its own ways with them. */
	if (lanes_start(mp_held_data(h), b->ca_file, data, sizeof(data), &keep, &f) < 0)
		return mp_cli_fail(&f);
	signals_block(&set, &old);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		mp_fail_set(&f, MP_CODE_FAILED, "no signalfd: %s", strerror(errno));
		return mp_cli_fail(&f);
	}
	if (mp_cli_environment(mp_held_lease(h), data, mp_held_server(h), &f) < 0 ||
	     program_start(c->argv, &old, &pid, &f) < 0) {
		close(fd);
		return mp_cli_fail(&f);
	}
	code = program_mind(h, pid, fd, &lost);
	close(fd);
	if (keep >= 0)
		close(keep);
	return lost && c->lost_exit >= 0 ? c->lost_exit : code;
}

int mp_cli_become(struct mp_cli *c)
{
	struct mp_fail f = {0};

	execvp(c->argv[0], c->argv);
	mp_fail_set(&f, errno == ENOENT ? MP_CODE_NO_PROGRAM : MP_CODE_NOT_EXECUTABLE,
		    "cannot execute '%s': %s", c->argv[0], strerror(errno));
	return mp_cli_fail(&f);
}

/*
 * The program on a lease that somebody else holds.  Where its lanes are encrypted
 * and no helper stands by (another host, a requested lease), this process starts
 * one and leaves the pipe that keeps it to the program.
 */
int mp_cli_join(struct mp_cli *c, const char *given)
{
	struct mp_fail f = {0};
	struct mp_bundle b;
	char data[4096];
	int keep = -1;

	if (!mp_lanes_wanted(given))
		return mp_cli_become(c);
	if (mp_bundle_open(c->bundle, &b, &f) < 0)
		return mp_cli_fail(&f);
	if (mp_lanes_start(given, b.ca_file, data, sizeof(data), &keep, &f) < 0)
		return mp_cli_fail(&f);
	fcntl(keep, F_SETFD, 0);
	setenv(MP_ENV_DATA, data, 1);
	return mp_cli_become(c);
}

int mp_cli_run(struct mp_cli *c)
{
	struct mp_ask ask = {.n = c->n, .fraction = c->fraction, .bytes = c->bytes,
			     .timeout_s = c->timeout_s, .server = c->server, .program = c->argv[0],
			     .filters = c->filters, .nfilters = c->nfilters,
			     .priority = c->priority, .placement = c->placement,
			     .progress = isatty(2)};
	struct sigaction sa = {.sa_handler = on_signal};
	const char *outer = getenv(MP_ENV_SECRET);
	struct mp_bundle b;
	struct mp_held *h;
	struct mp_fail f = {0};
	int code;

	/* Inside another run: its lease serves, nothing is asked. */
	if (outer && *outer && !c->fresh)
		return mp_cli_join(c, getenv(MP_ENV_DATA));
	if (mp_bundle_open(c->bundle, &b, &f) < 0)
		return mp_cli_fail(&f);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	if (mp_client_ask(&b, &ask, &stopped, &h, &f) < 0) {
		code = stopped ? 128 + stopped : mp_cli_fail(&f);
		mp_bundle_close(&b);
		return code;
	}
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	code = stopped ? 128 + stopped : run_with(c, h, &b);
	mp_held_release(h);
	mp_bundle_close(&b);
	return code;
}
