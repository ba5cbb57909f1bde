/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a soft device: one shared file per device UUID and host, in
 * which every process that uses the device writes what it holds.
 *
 * This is what makes several processes share one soft device's memory exactly,
 * and what the soft libnvidia-ml shows.  Dead processes are reaped by whoever
 * looks.  Built on base/account.h: an account with a single device.  Any thread.
 */
#ifndef MP_SOFT_ACCOUNT_H
#define MP_SOFT_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mp_soft_account;

/*
 * Open, or make, the account of the index-th soft device of this host in `dir`
 * (mp_soft_config_dir) with `total` bytes.  NULL when the directory cannot be
 * used.  A reader never joins; a process joins with its first charge.
 */
struct mp_soft_account *mp_soft_account_open(const char *dir, unsigned index, uint64_t total);
/* What this process charged is given back. */
void mp_soft_account_close(struct mp_soft_account *own_account);

/* false: the device has not that much left. */
bool mp_soft_account_charge(struct mp_soft_account *a, uint64_t bytes);
void mp_soft_account_release(struct mp_soft_account *a, uint64_t bytes);
/* Exact, after reaping the dead. */
void mp_soft_account_read(struct mp_soft_account *a, uint64_t *total, uint64_t *used);

/* The i-th living process and its bytes; false past the end. */
bool mp_soft_account_process(struct mp_soft_account *a, unsigned i, pid_t *pid, uint64_t *bytes);
/* A kernel or copy was given to the device: for nvml's utilisation. */
void mp_soft_account_touch(struct mp_soft_account *a, bool busy);
/* Nanoseconds of mp_now_ns() of the newest touch by anybody; *busy: work runs now. */
uint64_t mp_soft_account_activity(struct mp_soft_account *a, bool *busy);

#endif
