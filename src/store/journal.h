/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: what happened on this server, one row per event, kept for a while.
 *
 * Apart from the store: it is this server's own, it grows, and its loss stops
 * nothing.  Threads: any.
 */
#ifndef MP_JOURNAL_H
#define MP_JOURNAL_H

#include "base/fail.h"

#include <stdint.h>

struct mp_journal;

int mp_journal_open(const char *path, struct mp_journal **ret_journal, struct mp_fail *f);
void mp_journal_close(struct mp_journal *own_journal);
/* seconds since 1970; data: JSON text. Trouble is logged, not returned: work goes on. */
void mp_journal_add(struct mp_journal *j, const char *kind, int64_t time, const char *data);
/* Rows of a kind since a time, newest first, at most `limit`; non-zero from `each` ends it. */
int mp_journal_list(struct mp_journal *j, const char *kind, int64_t since, int64_t limit,
		    int (*each)(void *arg, int64_t time, const char *data), void *arg);
/* Forget what is older than `before`. */
void mp_journal_trim(struct mp_journal *j, int64_t before);

#endif
