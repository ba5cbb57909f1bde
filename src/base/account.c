/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a lease, in memory that several processes share.
 *
 * The entries of the processes are the truth; device[].used is their sum and
 * may be wrong only while the lock is held.  A process killed inside the lock
 * leaves EOWNERDEAD to the next one, which computes the sums again.  A process
 * is named by pid and start time, so that a reused pid is not taken for it.
 */
#include "base/account.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ACCOUNT_MAGIC	0x31746e756f63634dull /* "Mccount1" */
#define ACCOUNT_VERSION 2u

struct process {
	uint64_t start; /* 0 = the entry is free */
	uint32_t pid;
	uint32_t busy;
	uint64_t activity;
	uint64_t used[MP_ACCOUNT_DEVICES];
};

struct mp_account {
	uint64_t magic;
	uint32_t version;
	uint32_t ndevices;
	uint64_t limit[MP_ACCOUNT_DEVICES];
	uint64_t used[MP_ACCOUNT_DEVICES];
	pthread_mutex_t lock;
	struct process process[MP_ACCOUNT_PROCESSES] MP_GUARDED_BY(lock);
	_Atomic uint32_t wants; /* futex: moves when somebody asks for spare memory */
	_Atomic uint64_t spare[MP_ACCOUNT_PROCESSES][MP_ACCOUNT_DEVICES];
};

uint64_t mp_process_start(pid_t pid)
{
	char path[64], text[1024], *p;
	ssize_t n;
	int fd, field;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	/* proc(5): the name in field 2 may hold spaces and brackets; the last bracket ends it. */
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return 0;
	/* A zombie has given its memory back already. */
	if (p[2] == 'Z' || p[2] == 'X')
		return 0;
	for (field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

static void sums_compute(struct mp_account *a)
{
	uint64_t sum;
	unsigned d, i;

	for (d = 0; d < a->ndevices; d++) {
		sum = 0;
		for (i = 0; i < MP_ACCOUNT_PROCESSES; i++)
			if (a->process[i].start)
				sum += a->process[i].used[d];
		__atomic_store_n(&a->used[d], sum, __ATOMIC_RELEASE);
	}
}

static bool account_lock(struct mp_account *a)
{
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 1;
	rc = pthread_mutex_timedlock(&a->lock, &until);
	if (rc == EOWNERDEAD) {
		sums_compute(a);
		pthread_mutex_consistent(&a->lock);
		rc = 0;
	}
	return rc == 0;
}

static void account_unlock(struct mp_account *a)
{
	pthread_mutex_unlock(&a->lock);
}

static int file_create(const char *path)
{
	if (!path)
		return (int)syscall(SYS_memfd_create, "motorpool-account", 1u /* MFD_CLOEXEC */);
	unlink(path);
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int mp_account_create(const char *path, unsigned n, const uint64_t *limits,
		      struct mp_account **ret_account, int *ret_fd)
{
	pthread_mutexattr_t attr;
	struct mp_account *a;
	int fd, e;

	assert(n && n <= MP_ACCOUNT_DEVICES);
	fd = file_create(path);
	if (fd < 0)
		return -1;
	/* With its blocks: a hole that the disk has no room for kills who writes to it. */
	errno = posix_fallocate(fd, 0, sizeof(*a));
	if (errno)
		goto fail;
	a = mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (a == MAP_FAILED)
		goto fail;
	a->version = ACCOUNT_VERSION;
	a->ndevices = n;
	memcpy(a->limit, limits, n * sizeof(*limits));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&a->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	__atomic_store_n(&a->magic, ACCOUNT_MAGIC, __ATOMIC_RELEASE);
	*ret_account = a;
	*ret_fd = fd;
	return 0;
fail:
	e = errno;
	close(fd);
	unlink(path);
	errno = e;
	return -1;
}

int mp_account_open(int fd, struct mp_account **ret_account)
{
	struct mp_account *a;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_size != (off_t)sizeof(*a)) {
		errno = EINVAL;
		return -1;
	}
	a = mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (a == MAP_FAILED)
		return -1;
	if (__atomic_load_n(&a->magic, __ATOMIC_ACQUIRE) != ACCOUNT_MAGIC ||
	    a->version != ACCOUNT_VERSION || !a->ndevices || a->ndevices > MP_ACCOUNT_DEVICES) {
		munmap(a, sizeof(*a));
		errno = EINVAL;
		return -1;
	}
	*ret_account = a;
	return 0;
}

void mp_account_close(struct mp_account *own_account)
{
	if (own_account)
		munmap(own_account, sizeof(*own_account));
}

unsigned mp_account_devices(const struct mp_account *a)
{
	return a->ndevices;
}

uint64_t mp_account_limit(const struct mp_account *a, unsigned dev)
{
	assert(dev < MP_ACCOUNT_DEVICES);
	return a->limit[dev];
}

uint64_t mp_account_used(const struct mp_account *a, unsigned dev)
{
	assert(dev < MP_ACCOUNT_DEVICES);
	return __atomic_load_n(&a->used[dev], __ATOMIC_ACQUIRE);
}

uint64_t mp_account_free(const struct mp_account *a, unsigned dev)
{
	uint64_t used = mp_account_used(a, dev), limit = a->limit[dev];

	return used < limit ? limit - used : 0;
}

/* Lock held. */
static void entry_clear(struct mp_account *a, struct process *p)
{
	/*
	 * start goes first: a process killed between the two steps leaves an
	 * entry that sums_compute() no longer counts.
	 */
	__atomic_store_n(&p->start, 0, __ATOMIC_RELEASE);
	memset(p->used, 0, sizeof(p->used));
	p->pid = 0;
	__atomic_store_n(&p->busy, 0, __ATOMIC_RELAXED);
	sums_compute(a);
}

/* Lock held. */
static int reap_dead(struct mp_account *a)
{
	struct process *p;
	int n = 0;

	for (p = a->process; p < a->process + MP_ACCOUNT_PROCESSES; p++) {
		if (!p->start || mp_process_start((pid_t)p->pid) == p->start)
			continue;
		entry_clear(a, p);
		n++;
	}
	return n;
}

int mp_account_reap(struct mp_account *a)
{
	int n;

	if (!account_lock(a))
		return -1;
	n = reap_dead(a);
	account_unlock(a);
	return n;
}

static struct process *entry_find_free(struct mp_account *a)
{
	struct process *p;

	for (p = a->process; p < a->process + MP_ACCOUNT_PROCESSES; p++)
		if (!p->start)
			return p;
	return NULL;
}

enum mp_account_outcome mp_account_join(struct mp_account *a, pid_t pid, unsigned *ret_slot)
{
	struct process *p;
	uint64_t start;

	pid = pid ? pid : getpid();
	start = mp_process_start(pid);
	if (!start)
		return MP_ACCOUNT_FULL;
	if (!account_lock(a))
		return MP_ACCOUNT_BUSY;
	p = entry_find_free(a);
	if (!p && reap_dead(a) > 0)
		p = entry_find_free(a);
	if (p) {
		memset(p->used, 0, sizeof(p->used));
		p->pid = (uint32_t)pid;
		__atomic_store_n(&p->busy, 0, __ATOMIC_RELAXED);
		p->activity = 0;
		memset(a->spare[p - a->process], 0, sizeof(a->spare[0]));
		__atomic_store_n(&p->start, start, __ATOMIC_RELEASE);
		*ret_slot = (unsigned)(p - a->process);
	}
	account_unlock(a);
	return p ? MP_ACCOUNT_OK : MP_ACCOUNT_FULL;
}

void mp_account_leave(struct mp_account *a, unsigned slot)
{
	assert(slot < MP_ACCOUNT_PROCESSES);
	/* When busy, the entry is reaped after this process's end. */
	if (!account_lock(a))
		return;
	entry_clear(a, &a->process[slot]);
	account_unlock(a);
}

enum mp_account_outcome mp_account_charge(struct mp_account *a, unsigned slot, unsigned dev,
					  uint64_t bytes)
{
	enum mp_account_outcome out = MP_ACCOUNT_FULL;

	assert(slot < MP_ACCOUNT_PROCESSES && dev < a->ndevices);
	if (!account_lock(a))
		return MP_ACCOUNT_BUSY;
	assert(a->process[slot].start);
	if (bytes > mp_account_free(a, dev))
		reap_dead(a);
	if (bytes <= mp_account_free(a, dev)) {
		a->process[slot].used[dev] += bytes;
		__atomic_add_fetch(&a->used[dev], bytes, __ATOMIC_RELEASE);
		out = MP_ACCOUNT_OK;
	}
	account_unlock(a);
	return out;
}

void mp_account_release(struct mp_account *a, unsigned slot, unsigned dev, uint64_t bytes)
{
	assert(slot < MP_ACCOUNT_PROCESSES && dev < a->ndevices);
	/* A give-back must not be lost: the holder of the lock is slow, not gone. */
	while (!account_lock(a))
		;
	assert(a->process[slot].used[dev] >= bytes);
	a->process[slot].used[dev] -= bytes;
	__atomic_sub_fetch(&a->used[dev], bytes, __ATOMIC_RELEASE);
	account_unlock(a);
}

/* ---- Charged and not in use ---- */

void mp_account_spare(struct mp_account *a, unsigned slot, unsigned dev, uint64_t bytes)
{
	assert(slot < MP_ACCOUNT_PROCESSES && dev < MP_ACCOUNT_DEVICES);
	atomic_store_explicit(&a->spare[slot][dev], bytes, memory_order_relaxed);
}

uint64_t mp_account_spare_others(struct mp_account *a, unsigned slot, unsigned dev)
{
	uint64_t sum = 0;
	unsigned i;

	assert(dev < MP_ACCOUNT_DEVICES);
	for (i = 0; i < MP_ACCOUNT_PROCESSES; i++)
		if (i != slot && __atomic_load_n(&a->process[i].start, __ATOMIC_ACQUIRE))
			sum += atomic_load_explicit(&a->spare[i][dev], memory_order_relaxed);
	return sum;
}

void mp_account_want(struct mp_account *a)
{
	atomic_fetch_add(&a->wants, 1);
	syscall(SYS_futex, &a->wants, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

uint32_t mp_account_want_wait(struct mp_account *a, uint32_t seen)
{
	/* Any wake will do; a signal or a wake for nothing is one more look. */
	if (atomic_load(&a->wants) == seen)
		syscall(SYS_futex, &a->wants, FUTEX_WAIT, seen, NULL, NULL, 0);
	return atomic_load(&a->wants);
}

void mp_account_touch(struct mp_account *a, unsigned slot, uint64_t now_ns)
{
	__atomic_store_n(&a->process[slot].activity, now_ns, __ATOMIC_RELAXED);
}

void mp_account_set_busy(struct mp_account *a, unsigned slot, bool busy)
{
	__atomic_store_n(&a->process[slot].busy, busy, __ATOMIC_RELAXED);
}

uint64_t mp_account_activity(const struct mp_account *a, bool *ret_busy)
{
	const struct process *p;
	uint64_t newest = 0, t;

	*ret_busy = false;
	for (p = a->process; p < a->process + MP_ACCOUNT_PROCESSES; p++) {
		/* An entry that left keeps its time: the lease was active then. */
		t = __atomic_load_n(&p->activity, __ATOMIC_RELAXED);
		newest = t > newest ? t : newest;
		if (__atomic_load_n(&p->start, __ATOMIC_ACQUIRE) &&
		    __atomic_load_n(&p->busy, __ATOMIC_RELAXED))
			*ret_busy = true;
	}
	return newest;
}

bool mp_account_entry(const struct mp_account *a, unsigned slot, struct mp_account_entry *ret)
{
	const struct process *p;
	unsigned d;

	if (slot >= MP_ACCOUNT_PROCESSES)
		return false;
	p = &a->process[slot];
	ret->pid = __atomic_load_n(&p->start, __ATOMIC_ACQUIRE) ? (pid_t)p->pid : 0;
	for (d = 0; d < MP_ACCOUNT_DEVICES; d++)
		ret->used[d] = __atomic_load_n(&p->used[d], __ATOMIC_RELAXED);
	return true;
}
