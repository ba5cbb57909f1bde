/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: one process per client process.
 *
 * It decodes what the client's drop-in sends and replays it on a CUDA driver
 * library, whichever that is.  docs/PROTOCOL.md says what travels, worker-spawn.h
 * how the daemon starts it.  Its exit frees everything that the client held.
 */
#ifndef MP_WORKER_H
#define MP_WORKER_H

#include <stdint.h>

#include "base/fail.h"

#define MP_WORKER_DEVICES_MAX 16

struct mp_worker_options {
	const char *driver;
	int lane_fd, control_fd, account_fd, adopt_fd; /* -1: none */
	const char *devices;		     /* UUIDs, comma-separated; NULL: all of the driver */
	const char *memory;		     /* bytes, comma-separated; NULL: whole devices; one: for each */
	const char *lease;		     /* for the log */
};

/* Serves one client. Returns only when it could not start, with a sentence: an exit status. */
int mp_worker_serve(const struct mp_worker_options *o, struct mp_fail *f);
/* Prints what the driver offers as JSON; an exit status. */
int mp_worker_probe(const char *driver, struct mp_fail *f);
/* The same devices later: what is taken of their memory, a context included, and whether they still work. */
int mp_worker_look(const char *driver, const char *uuids, struct mp_fail *f);

#endif
