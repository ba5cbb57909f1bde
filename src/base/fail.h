/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sentence about what failed, for a person to read.
 *
 * Used at the human edge: command line, configuration, HTTP API, loader
 * messages.  A sentence names the thing, the value and what to do.  Inside,
 * functions return int: 0 good, negative fatal, positive an outcome.
 */
#ifndef MP_BASE_FAIL_H
#define MP_BASE_FAIL_H

#include <stddef.h>

#define MP_FAIL_MAX 512

struct mp_fail {
	int code; /* exit code or HTTP status, as the caller's table says; 0 = none */
	char text[MP_FAIL_MAX];
};

/* Set the sentence; returns -1 so that callers can `return mp_fail_set(...)`. `f` may be NULL. */
int mp_fail_set(struct mp_fail *f, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
