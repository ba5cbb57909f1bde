/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up what a worker does not need; private to the room. */
#ifndef MP_WORKER_CONFINE_H
#define MP_WORKER_CONFINE_H

/* Before the driver (path or loader name) is loaded. 0, or -1: do not go on. */
int mp_confine_files(const char *driver);
/* After it, before the client's first byte is read. */
int mp_confine(void);

#endif
