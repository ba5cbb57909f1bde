/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that glibc 2.17 does not have, for the libraries that programs load on any system.
 *
 * Linked only into the drop-ins, with hidden visibility, beside the link stubs of
 * tools/glibc-stub: code calls stat() or getrandom() as ever, and where the headers of the
 * building system turn that into a symbol younger than 2.17, the symbol is here.
 * Everything is a system call or an older function; failures set errno.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* The headers may rename these names, so each definition states its symbol itself. */
#define SYMBOL(name) __asm__(name) __attribute__((visibility("hidden"), used))

struct stat;
struct timespec;

/* From 2.33 on; before, headers called __xstat. On x86-64 struct stat is the kernel's. */
int floor_stat(const char *path, struct stat *st) SYMBOL("stat");
int floor_stat(const char *path, struct stat *st)
{
	return (int)syscall(SYS_stat, path, st);
}

int floor_stat64(const char *path, struct stat *st) SYMBOL("stat64");
int floor_stat64(const char *path, struct stat *st)
{
	return (int)syscall(SYS_stat, path, st);
}

int floor_lstat(const char *path, struct stat *st) SYMBOL("lstat");
int floor_lstat(const char *path, struct stat *st)
{
	return (int)syscall(SYS_lstat, path, st);
}

int floor_lstat64(const char *path, struct stat *st) SYMBOL("lstat64");
int floor_lstat64(const char *path, struct stat *st)
{
	return (int)syscall(SYS_lstat, path, st);
}

int floor_fstat(int fd, struct stat *st) SYMBOL("fstat");
int floor_fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

int floor_fstat64(int fd, struct stat *st) SYMBOL("fstat64");
int floor_fstat64(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

int floor_fstatat(int dir, const char *path, struct stat *st, int flags) SYMBOL("fstatat");
int floor_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return (int)syscall(SYS_newfstatat, dir, path, st, flags);
}

int floor_fstatat64(int dir, const char *path, struct stat *st, int flags) SYMBOL("fstatat64");
int floor_fstatat64(int dir, const char *path, struct stat *st, int flags)
{
	return (int)syscall(SYS_newfstatat, dir, path, st, flags);
}

/* 2.28; what fcntl becomes with 64-bit file offsets. The argument, if any, is one word. */
int floor_fcntl64(int fd, int command, ...) SYMBOL("fcntl64");
int floor_fcntl64(int fd, int command, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	return (int)syscall(SYS_fcntl, fd, command, arg);
}

/* 2.25 */
ssize_t floor_getrandom(void *p, size_t n, unsigned flags) SYMBOL("getrandom");
ssize_t floor_getrandom(void *p, size_t n, unsigned flags)
{
	return syscall(SYS_getrandom, p, n, flags);
}

void floor_explicit_bzero(void *p, size_t n) SYMBOL("explicit_bzero");
void floor_explicit_bzero(void *p, size_t n)
{
	volatile char *c = p;

	while (n--)
		*c++ = 0;
}

/* 2.26 */
void *floor_reallocarray(void *p, size_t n, size_t size) SYMBOL("reallocarray");
void *realloc(void *p, size_t n);
void *floor_reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

/* 2.27 */
int floor_memfd_create(const char *name, unsigned flags) SYMBOL("memfd_create");
int floor_memfd_create(const char *name, unsigned flags)
{
	return (int)syscall(SYS_memfd_create, name, flags);
}

/* 2.30 */
pid_t floor_gettid(void) SYMBOL("gettid");
pid_t floor_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

/* 2.34 and 2.36; numbers stated where the headers are older. */
int floor_close_range(unsigned first, unsigned last, int flags) SYMBOL("close_range");
int floor_close_range(unsigned first, unsigned last, int flags)
{
	return (int)syscall(436, first, last, flags);
}

int floor_pidfd_open(pid_t pid, unsigned flags) SYMBOL("pidfd_open");
int floor_pidfd_open(pid_t pid, unsigned flags)
{
	return (int)syscall(434, pid, flags);
}

/*
 * 2.38: what strtol and its kin become under C23, when built on a newer system.  The old
 * functions differ only in not taking 0b digits, which nobody here writes.
 */
long old_strtol(const char *s, char **end, int base) __asm__("strtol");
unsigned long old_strtoul(const char *s, char **end, int base) __asm__("strtoul");

long floor_strtol(const char *s, char **end, int base) SYMBOL("__isoc23_strtol");
long floor_strtol(const char *s, char **end, int base)
{
	return old_strtol(s, end, base);
}

long long floor_strtoll(const char *s, char **end, int base) SYMBOL("__isoc23_strtoll");
long long floor_strtoll(const char *s, char **end, int base)
{
	return old_strtol(s, end, base);
}

unsigned long floor_strtoul(const char *s, char **end, int base) SYMBOL("__isoc23_strtoul");
unsigned long floor_strtoul(const char *s, char **end, int base)
{
	return old_strtoul(s, end, base);
}

unsigned long long floor_strtoull(const char *s, char **end, int base) SYMBOL("__isoc23_strtoull");
unsigned long long floor_strtoull(const char *s, char **end, int base)
{
	return old_strtoul(s, end, base);
}

int old_vsscanf(const char *s, const char *format, va_list ap) __asm__("__isoc99_vsscanf");
int floor_sscanf(const char *s, const char *format, ...) SYMBOL("__isoc23_sscanf");
int floor_sscanf(const char *s, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = old_vsscanf(s, format, ap);
	va_end(ap);
	return n;
}
