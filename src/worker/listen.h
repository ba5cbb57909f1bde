/* SPDX-License-Identifier: Apache-2.0 */
/* A worker per session on a socket of our own, without a daemon: for tests. */
#ifndef MP_WORKER_LISTEN_H
#define MP_WORKER_LISTEN_H

/* Takes lanes at the listening socket fd and starts this program with argv for each session; an exit status. */
int mp_worker_listen(int fd, char **argv, int once);

#endif
