/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a lease: how much memory of each of its devices is charged,
 * and by which process.
 *
 * It is one shared mapping (a file of the server's state directory, or a memfd)
 * made by motorpoold and handed to every worker of the lease, so that the sum
 * over all processes of a lease is bounded exactly.  Charges are kept per
 * process, so that what a killed worker held can be given back: a robust
 * process-shared lock guards the table, and whoever finds its owner dead
 * computes the sums again from the processes' entries.
 *
 * The mapping outlives the daemon: a worker goes on charging while no daemon
 * runs, and a new daemon opens the same file.
 *
 * Threads: every function may be called from any thread.  Waiting for the lock
 * is bounded to a second: a stopped process that holds it makes charge answer
 * MP_ACCOUNT_BUSY, never hang.  Readers of one number take no lock.
 */
#ifndef MP_BASE_ACCOUNT_H
#define MP_BASE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MP_ACCOUNT_DEVICES   32	 /* devices of one lease */
#define MP_ACCOUNT_PROCESSES 512 /* processes of one lease at a time */

struct mp_account; /* the mapping; opaque */

enum mp_account_outcome {
	MP_ACCOUNT_OK = 0,
	MP_ACCOUNT_FULL, /* the charge would pass the limit, or no process entry is free */
	MP_ACCOUNT_BUSY, /* the lock was not to be had within a second */
};

/*
 * Make an account of n devices with these limits in bytes; path NULL: a memfd.
 * An existing file is replaced.  *ret_fd is close-on-exec and stays the
 * caller's.  Negative with errno set when the file cannot be made.
 */
int mp_account_create(const char *path, unsigned n, const uint64_t *limits,
		      struct mp_account **ret_account, int *ret_fd);
/* Map an account that someone made; refuses a file that is not one. The fd may be closed after. */
int mp_account_open(int fd, struct mp_account **ret_account);
void mp_account_close(struct mp_account *own_account);

unsigned mp_account_devices(const struct mp_account *a);
uint64_t mp_account_limit(const struct mp_account *a, unsigned dev);
uint64_t mp_account_used(const struct mp_account *a, unsigned dev);
/* limit - used, never below 0. */
uint64_t mp_account_free(const struct mp_account *a, unsigned dev);

/*
 * Enter a process (0 = the caller); *ret_slot names its entry.  Entries of dead
 * processes are taken back first when the table is full.
 */
enum mp_account_outcome mp_account_join(struct mp_account *a, pid_t pid, unsigned *ret_slot);
/* Give back all that the entry holds, and the entry. */
void mp_account_leave(struct mp_account *a, unsigned slot);

/*
 * Charge bytes of device dev (its index in the lease) to an entry.  FULL leaves
 * everything as it was; before it is answered, dead processes are reaped.
 */
enum mp_account_outcome mp_account_charge(struct mp_account *a, unsigned slot, unsigned dev,
					  uint64_t bytes);
/* Give bytes back; more than the entry holds is a programming error (asserted). */
void mp_account_release(struct mp_account *a, unsigned slot, unsigned dev, uint64_t bytes);

/*
 * Memory that an entry is charged with and that its process has not put to use: a process
 * that finds the account full may ask the others for theirs.
 */
void mp_account_spare(struct mp_account *a, unsigned slot, unsigned dev, uint64_t bytes);
uint64_t mp_account_spare_others(struct mp_account *a, unsigned slot, unsigned dev);
void mp_account_want(struct mp_account *a);
/* Blocks until somebody wants, after `seen`; returns the next value for it. */
uint32_t mp_account_want_wait(struct mp_account *a, uint32_t seen);

/* Take back the entries of processes that are gone; returns how many, or -1 when busy. */
int mp_account_reap(struct mp_account *a);

/*
 * Activity, for the idle limit: work was given to a device, or is running.
 * mp_account_touch() is one relaxed store and may be called on a launch path.
 */
void mp_account_touch(struct mp_account *a, unsigned slot, uint64_t now_ns);
void mp_account_set_busy(struct mp_account *a, unsigned slot, bool busy);
/* Newest touch of any entry in ns of mp_now_ns(), 0 = never; *ret_busy: an entry is busy now. */
uint64_t mp_account_activity(const struct mp_account *a, bool *ret_busy);

/* What one entry holds, for listings; false past the last entry. pid 0: the entry is free. */
struct mp_account_entry {
	pid_t pid;
	uint64_t used[MP_ACCOUNT_DEVICES];
};
bool mp_account_entry(const struct mp_account *a, unsigned slot, struct mp_account_entry *ret);

/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); 0 = gone. */
uint64_t mp_process_start(pid_t pid);

#endif
