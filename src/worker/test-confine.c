/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways out of a worker, each tried by a process that is confined as one: a file of
 * the daemon's state, a program, a process, the network, other processes, the
 * kernel's odd corners.  And what a worker needs goes on.
 */
#include "worker/confine.h"
#include "base/check.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/mp-confine-XXXXXX", secret[64], writable[64];

enum outcome { ESCAPED, REFUSED, KILLED, BROKEN };

/* `way` returns 0 when it got out, an errno when it was refused. */
static enum outcome attempt(int (*way)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int e;

		if (mp_confine_files("/usr/lib/none.so") || mp_confine())
			_exit(100);
		e = way();
		_exit(e > 0 && e < 100 ? e : e ? 99 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return BROKEN;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : BROKEN;
	return WEXITSTATUS(status) == 0 ? ESCAPED : WEXITSTATUS(status) == 100 ? BROKEN : REFUSED;
}

static int way_secret(void)
{
	return open(secret, O_RDONLY) < 0 ? errno : 0;
}

static int way_shadow(void)
{
	return open("/etc/shadow", O_RDONLY) < 0 ? errno : 0;
}

static int way_write(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", dir);
	return open(path, O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0;
}

static int way_link(void)
{
	char path[80];

	/* A name in the writable directory for a file outside it. */
	snprintf(path, sizeof(path), "%s/link", writable);
	return link(secret, path) ? errno : 0;
}

static int way_exec(void)
{
	char *argv[] = {"true", NULL}, *env[] = {NULL};

	execve("/bin/true", argv, env);
	return errno;
}

static int way_memfd(void)
{
	char *argv[] = {"x", NULL}, *env[] = {NULL};
	int fd = memfd_create("x", 0);

	if (fd < 0 || write(fd, "#!/bin/true\n", 12) != 12)
		return errno;
	fexecve(fd, argv, env);
	return errno;
}

static int way_fork(void)
{
	pid_t pid = fork();

	return pid < 0 ? errno : 0;
}

static int way_vfork(void)
{
	long pid = syscall(SYS_clone, SIGCHLD | CLONE_VFORK, 0, 0, 0, 0);

	if (!pid)
		_exit(0);
	return pid < 0 ? errno : 0;
}

static int way_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int way_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), 0, 0) ? errno : 0;
}

static int way_memory(void)
{
	char c;
	struct iovec here = {&c, 1}, there = {dir, 1};

	return process_vm_readv(getppid(), &here, 1, &there, 1, 0) < 0 ? errno : 0;
}

static int way_mem_file(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)getppid());
	fd = open(path, O_RDWR);
	return fd < 0 ? errno : 0;
}

static int way_kill(void)
{
	return kill(getppid(), 0) ? errno : 0;
}

static int way_tgkill(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), SIGCONT) ? errno : 0;
}

static int way_unshare(void)
{
	return unshare(CLONE_NEWUSER) ? errno : 0;
}

static int way_mount(void)
{
	return mount("none", dir, "tmpfs", 0, NULL) ? errno : 0;
}

static int way_root(void)
{
	return setuid(0) ? errno : 0;
}

static int way_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;
}

static int way_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) < 0 ? errno : 0;
}

static int way_dump(void)
{
	return prctl(PR_SET_DUMPABLE, 1ul) ? errno : 0;
}

static int way_limit(void)
{
	struct rlimit r = {65536, 65536};

	return setrlimit(RLIMIT_NOFILE, &r) ? errno : 0;
}

static void *thread_way(void *arg)
{
	*(int *)arg = way_secret();
	return NULL;
}

/* A thread that was there before, as drivers make them. */
static int way_thread(void)
{
	int e = 99;
	pthread_t t;

	if (pthread_create(&t, NULL, thread_way, &e))
		return 98;
	pthread_join(t, NULL);
	return e;
}

MP_TEST(no_way_out)
{
	static const struct {
		const char *name;
		int (*way)(void);
		enum outcome wanted;
	} ways[] = {
		{"read the daemon's files", way_secret, REFUSED}, {"read /etc/shadow", way_shadow, REFUSED},
		{"write outside", way_write, REFUSED}, {"link a file in", way_link, REFUSED},
		{"run a program", way_exec, KILLED}, {"run a program from memory", way_memfd, KILLED},
		{"fork", way_fork, REFUSED}, {"clone a process", way_vfork, REFUSED},
		{"open a socket", way_socket, KILLED}, {"trace its parent", way_ptrace, KILLED},
		{"read its parent's memory", way_memory, KILLED},
		{"open its parent's memory", way_mem_file, REFUSED}, {"signal its parent", way_kill, REFUSED},
		{"signal a thread of its parent", way_tgkill, REFUSED}, {"make a namespace", way_unshare, KILLED},
		{"mount", way_mount, KILLED}, {"become root", way_root, KILLED}, {"use io_uring", way_uring, KILLED},
		{"use bpf", way_bpf, KILLED}, {"become dumpable", way_dump, REFUSED},
		{"raise its limits", way_limit, REFUSED}, {"read by another thread", way_thread, REFUSED},
	};
	bool landlock = syscall(444, NULL, 0ul, 1u) >= 1;
	enum outcome got;
	size_t i;
	FILE *out;

	MP_CHECK(mkdtemp(dir) != NULL);
	snprintf(secret, sizeof(secret), "%s/server.key", dir);
	snprintf(writable, sizeof(writable), "%s/soft", dir);
	out = fopen(secret, "w");
	MP_CHECK(out != NULL && fclose(out) == 0 && mkdir(writable, 0700) == 0);
	setenv("MOTORPOOL_WORKER_CONFINE", "strict", 1);
	setenv("MOTORPOOL_WORKER_WRITE", writable, 1);
	if (!landlock)
		printf("# this kernel has no Landlock: ways by files are not tried\n");
	for (i = 0; i < MP_ARRAY_LEN(ways); i++) {
		bool by_files = ways[i].way == way_secret || ways[i].way == way_shadow || ways[i].way == way_write ||
				ways[i].way == way_link || ways[i].way == way_mem_file || ways[i].way == way_thread ||
				ways[i].way == way_tgkill;

		if (by_files && !landlock)
			continue;
		got = attempt(ways[i].way);
		if (got != ways[i].wanted)
			printf("# %s: %d, expected %d\n", ways[i].name, (int)got, (int)ways[i].wanted);
		MP_CHECK_EQ(got, ways[i].wanted);
	}
}

static int needs(void)
{
	char path[80];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/account", writable);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || munmap(p, 4096))
		return 2;
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE))
		return 3;
	if (open("/usr/lib/os-release", O_RDONLY) < 0 && open("/proc/self/maps", O_RDONLY) < 0)
		return 4;
	return way_thread() == EACCES ? 0 : 5;
}

MP_TEST(what_it_needs_goes_on)
{
	if (syscall(444, NULL, 0ul, 1u) >= 1)
		MP_CHECK_EQ(attempt(needs), ESCAPED);
}

MP_TEST(leaves_nothing)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/account", writable);
	unlink(path);
	MP_CHECK_EQ(unlink(secret), 0);
	MP_CHECK_EQ(rmdir(writable), 0);
	MP_CHECK_EQ(rmdir(dir), 0);
}

MP_TEST_MAIN()
