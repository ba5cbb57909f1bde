/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The per-host account of a soft device, over base/account.h.
 *
 * The file is named by UUID and size, so that processes with another setting
 * of the memory size (a test beside a demo) do not share an account that means
 * different things.  Making it is a race between processes: a lock file
 * decides, whose flock the kernel drops with its holder.
 */
#include "account.h"

#include "base/account.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct mp_soft_account {
	struct mp_account *shared;
	pthread_mutex_t lock; /* of slot */
	bool joined;
	unsigned slot;
	uint64_t reaped; /* ns of the last look for the dead */
};

static struct mp_account *open_or_make(const char *path, uint64_t total)
{
	struct mp_account *shared = NULL;
	char lock_path[512];
	int fd, lock;

	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX))
		goto out;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		if (mp_account_open(fd, &shared))
			shared = NULL;
		close(fd);
	}
	if (!shared && !mp_account_create(path, 1, &total, &shared, &fd))
		close(fd);
out:
	if (lock >= 0)
		close(lock);
	return shared;
}

struct mp_soft_account *mp_soft_account_open(const char *dir, unsigned index, uint64_t total)
{
	struct mp_soft_account *a = calloc(1, sizeof(*a));
	unsigned char uuid[16];
	char path[480], hex[33];
	unsigned i;

	if (!a)
		return NULL;
	mp_soft_config_uuid(index, uuid);
	for (i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s-%llu", dir, hex,
			     (unsigned long long)total) >= sizeof(path) ||
	    !(a->shared = open_or_make(path, total))) {
		mp_log(MP_LOG_ERROR, "soft", "account", "path=%s error=\"%s\"", path,
		       strerror(errno));
		free(a);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void mp_soft_account_close(struct mp_soft_account *own_account)
{
	struct mp_soft_account *a = own_account;

	if (!a)
		return;
	if (a->joined)
		mp_account_leave(a->shared, a->slot);
	mp_account_close(a->shared);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static bool join(struct mp_soft_account *a)
{
	bool good;

	pthread_mutex_lock(&a->lock);
	if (!a->joined && mp_account_join(a->shared, 0, &a->slot) == MP_ACCOUNT_OK)
		__atomic_store_n(&a->joined, true, __ATOMIC_RELEASE);
	good = a->joined;
	pthread_mutex_unlock(&a->lock);
	return good;
}

bool mp_soft_account_charge(struct mp_soft_account *a, uint64_t bytes)
{
	if (!bytes)
		return true;
	return join(a) && mp_account_charge(a->shared, a->slot, 0, bytes) == MP_ACCOUNT_OK;
}

void mp_soft_account_release(struct mp_soft_account *a, uint64_t bytes)
{
	if (bytes)
		mp_account_release(a->shared, a->slot, 0, bytes);
}

void mp_soft_account_read(struct mp_soft_account *a, uint64_t *total, uint64_t *used)
{
	uint64_t now = mp_now_ns(), before = a->reaped;

	/* Looking at every process costs a file each: ten times a second is enough. */
	if (now - before > 100000000u &&
	    __atomic_compare_exchange_n(&a->reaped, &before, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		mp_account_reap(a->shared);
	*total = mp_account_limit(a->shared, 0);
	*used = mp_account_used(a->shared, 0);
	if (*used > *total)
		*used = *total;
}

bool mp_soft_account_process(struct mp_soft_account *a, unsigned i, pid_t *pid, uint64_t *bytes)
{
	struct mp_account_entry e;
	unsigned slot;

	for (slot = 0; mp_account_entry(a->shared, slot, &e); slot++) {
		if (!e.pid || i--)
			continue;
		*pid = e.pid;
		*bytes = e.used[0];
		return true;
	}
	return false;
}

void mp_soft_account_touch(struct mp_soft_account *a, bool busy)
{
	if (!__atomic_load_n(&a->joined, __ATOMIC_ACQUIRE))
		return;
	mp_account_touch(a->shared, a->slot, mp_now_ns());
	mp_account_set_busy(a->shared, a->slot, busy);
}

uint64_t mp_soft_account_activity(struct mp_soft_account *a, bool *busy)
{
	return mp_account_activity(a->shared, busy);
}
