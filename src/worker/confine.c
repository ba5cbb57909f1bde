/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker gives up before it reads the client's first byte.
 *
 * Always: it runs as the daemon's user or, when the daemon is root, as the user
 * that MOTORPOOL_WORKER_USER names; it cannot be traced by others of that user,
 * gains no privileges, leaves no core with a tenant's data, opens few files.
 *
 * With MOTORPOOL_WORKER_CONFINE=strict (the daemon says so for drivers that need
 * nothing of the system but memory and threads), in two steps.  Before the driver
 * is loaded, Landlock: files may be read where libraries are, written only in the
 * directories of MOTORPOOL_WORKER_WRITE; no TCP, no signals to and no abstract
 * sockets of processes outside.  It comes this early because it binds the thread
 * that asks and those it makes, and drivers make threads.  After it, seccomp, for
 * all threads at once: a list of what is allowed; what a worker has no honest use
 * for ends it, all else is refused.  A kernel without Landlock leaves the second.
 *
 * With =log (NVIDIA's driver, whose needs nobody here could measure) the same list
 * only logs.  Unset, as when a worker is started by hand: the first part alone.
 */
#include "worker/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

static bool mode_is(const char *word)
{
	const char *mode = getenv("MOTORPOOL_WORKER_CONFINE");

	return mode && !strcmp(mode, word);
}

/* ---- Landlock, by its documented numbers: the system's header may be older than its kernel ---- */

#define LL_FS_READ_FILE	 (1ull << 2)
#define LL_FS_READ_DIR	 (1ull << 3)
#define LL_FS_ALL_V1	 ((1ull << 13) - 1)
#define LL_FS_REFER	 (1ull << 13) /* ABI 2 */
#define LL_FS_TRUNCATE	 (1ull << 14) /* ABI 3 */
#define LL_FS_IOCTL_DEV	 (1ull << 15) /* ABI 5 */
#define LL_NET_ALL	 3ull	      /* ABI 4: bind and connect TCP */
#define LL_SCOPE_ALL	 3ull	      /* ABI 6: abstract sockets, signals */
#define LL_RULE_PATH	 1
#define LL_VERSION	 1u
#define NR_CREATE	 444
#define NR_ADD_RULE	 445
#define NR_RESTRICT_SELF 446

struct ll_ruleset {
	uint64_t fs, net, scoped;
};

struct ll_path {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static void path_allow(int ruleset, const char *path, uint64_t what)
{
	struct ll_path rule = {.allowed = what, .fd = open(path, O_PATH | O_CLOEXEC)};

	/* A directory that is not there needs no rule. */
	if (rule.fd < 0)
		return;
	if (syscall(NR_ADD_RULE, ruleset, LL_RULE_PATH, &rule, 0u))
		mp_log(MP_LOG_WARN, "worker", "confine", "path=%s why=\"%s\"", path, strerror(errno));
	close(rule.fd);
}

static void list_allow(int ruleset, const char *list, uint64_t what)
{
	char *copy = strdup(list ? list : ""), *save = NULL, *one;

	for (one = copy ? strtok_r(copy, ":", &save) : NULL; one; one = strtok_r(NULL, ":", &save))
		if (*one == '/')
			path_allow(ruleset, one, what);
	free(copy);
}

/* The directory of a driver that was named by its path. */
static void driver_allow(int ruleset, const char *driver, uint64_t what)
{
	char *real = driver && strchr(driver, '/') ? realpath(driver, NULL) : NULL;
	char *slash = real ? strrchr(real, '/') : NULL;

	if (slash && slash > real) {
		*slash = 0;
		path_allow(ruleset, real, what);
	}
	free(real);
}

static int files_confine(const char *driver)
{
	static const char *const readable[] = {"/usr", "/lib", "/lib64", "/proc", "/sys/devices/system",
					       "/sys/fs/cgroup", "/dev/urandom"};
	static const char *const files[] = {"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/machine-id",
					    "/etc/localtime", "/dev/null", "/dev/zero"};
	const uint64_t read = LL_FS_READ_FILE | LL_FS_READ_DIR;
	struct ll_ruleset r = {.fs = LL_FS_ALL_V1};
	long abi = syscall(NR_CREATE, NULL, 0ul, LL_VERSION);
	size_t i, size = sizeof(r.fs);
	int fd;

	if (abi < 1) {
		mp_log(MP_LOG_WARN, "worker", "confine", "this kernel has no Landlock");
		return 0;
	}
	if (abi >= 2)
		r.fs |= LL_FS_REFER;
	if (abi >= 3)
		r.fs |= LL_FS_TRUNCATE;
	if (abi >= 5)
		r.fs |= LL_FS_IOCTL_DEV;
	if (abi >= 4) {
		r.net = LL_NET_ALL;
		size = sizeof(r.fs) + sizeof(r.net);
	}
	if (abi >= 6) {
		r.scoped = LL_SCOPE_ALL;
		size = sizeof(r);
	}
	fd = (int)syscall(NR_CREATE, &r, size, 0u);
	if (fd < 0)
		return -1;
	for (i = 0; i < MP_ARRAY_LEN(readable); i++)
		path_allow(fd, readable[i], i + 1 == MP_ARRAY_LEN(readable) ? LL_FS_READ_FILE : read);
	for (i = 0; i < MP_ARRAY_LEN(files); i++)
		path_allow(fd, files[i], LL_FS_READ_FILE | (strncmp(files[i], "/dev/", 5) ? 0 : 2ull));
	list_allow(fd, getenv("LD_LIBRARY_PATH"), read);
	driver_allow(fd, driver, read);
	list_allow(fd, getenv("MOTORPOOL_WORKER_WRITE"), r.fs & ~1ull /* all but execute */);
	i = (size_t)syscall(NR_RESTRICT_SELF, fd, 0u);
	close(fd);
	return i ? -1 : 0;
}

/* ---- seccomp ---- */

static const char *const allowed[] = {
	/* lanes */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "recvfrom", "recvmsg",
	"recvmmsg", "sendto", "sendmsg", "sendmmsg", "shutdown", "getsockopt", "setsockopt", "getsockname",
	"getpeername", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "eventfd2", "timerfd_create", "timerfd_settime", "pipe2", "dup", "dup2", "dup3", "close",
	"close_range", "fcntl", "accept4", /* of the one listening socket that it was given */
	/* files: Landlock says which */
	"open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getdents64", "lseek", "ftruncate", "fallocate", "flock", "fsync", "fdatasync",
	"unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "getcwd", "memfd_create", "ioctl",
	/* memory */
	"mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "mlock", "munlock", "msync", "brk",
	"membarrier",
	/* threads; processes are refused below */
	"futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "getpid", "getppid",
	"tgkill", "exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait",
	"rt_sigpending", "rt_sigsuspend", "sigaltstack", "sched_yield", "sched_getaffinity", "sched_setaffinity",
	"sched_getparam",
	"sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "restart_syscall",
	"arch_prctl", "getpriority",
	/* time and limits */
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
	"getrusage", "sysinfo", "uname", "getrlimit", "getuid", "geteuid", "getgid", "getegid", "getrandom", "umask",
};

/* No honest use: whoever tries has taken the worker over. */
static const char *const deadly[] = {
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "socket", "connect", "bind", "listen",
	"accept", "bpf", "perf_event_open", "mount", "umount2", "pivot_root", "chroot", "setns", "unshare",
	"init_module", "finit_module", "delete_module", "kexec_load", "keyctl", "add_key", "request_key",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "setuid", "setgid", "setresuid",
	"setresgid", "setgroups", "capset", "reboot", "swapon", "personality", "name_to_handle_at",
	"open_by_handle_at", "pidfd_getfd",
};

static int rule_add(scmp_filter_ctx c, uint32_t action, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(c, action, nr, 0);
}

static int rules_add(scmp_filter_ctx c, bool strict)
{
	const uint64_t thread = CLONE_THREAD;
	size_t i;
	int rc = 0;

	for (i = 0; i < MP_ARRAY_LEN(allowed); i++)
		rc |= rule_add(c, SCMP_ACT_ALLOW, allowed[i]);
	/* Threads, no processes; clone3's flags lie in memory that a filter cannot see, and libc does without. */
	rc |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			       SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
	rc |= seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* One's own limits may be read; names of threads may be given. */
	rc |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	rc |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	rc |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA));
	/* libc's abort() and assert() of one's own. */
	rc |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (i = 0; strict && i < MP_ARRAY_LEN(deadly); i++)
		rc |= rule_add(c, SCMP_ACT_KILL_PROCESS, deadly[i]);
	return rc;
}

static int calls_confine(bool strict)
{
	scmp_filter_ctx c = seccomp_init(strict ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_LOG);
	int rc = c ? 0 : -1;

	if (!rc)
		rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!rc)
		rc = rules_add(c, strict);
	if (!rc)
		rc = seccomp_load(c);
	if (rc)
		mp_log(MP_LOG_ERROR, "worker", "confine", "seccomp=%d", rc);
	if (c)
		seccomp_release(c);
	return rc ? -1 : 0;
}

/* ---- The door ---- */

static int become(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw || setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return -1;
	return 0;
}

int mp_confine_files(const char *driver)
{
	if (!mode_is("strict"))
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul))
		return -1;
	return files_confine(driver);
}

int mp_confine(void)
{
	const char *user = getenv("MOTORPOOL_WORKER_USER");
	struct rlimit none = {0, 0}, files = {1024, 1024}, have;

	if (user && *user && !getuid() && become(user)) {
		mp_log(MP_LOG_ERROR, "worker", "confine", "user=%s cannot be assumed", user);
		return -1;
	}
	if (prctl(PR_SET_DUMPABLE, 0ul) || prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul))
		return -1;
	(void)setrlimit(RLIMIT_CORE, &none);
	if (!getrlimit(RLIMIT_NOFILE, &have) && have.rlim_max > files.rlim_max)
		(void)setrlimit(RLIMIT_NOFILE, &files);
	if (mode_is("strict") || mode_is("log"))
		return calls_confine(mode_is("strict"));
	return 0;
}
