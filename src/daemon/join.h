/* SPDX-License-Identifier: Apache-2.0 */
/* Joining a pool, and keeping this server's certificate fresh. */
#ifndef MP_DAEMON_JOIN_H
#define MP_DAEMON_JOIN_H

#include "base/fail.h"

#include <jansson.h>

/*
 * With a join token: leaves certificate, authority and the store's address in the
 * state directory.  A server that has joined already is left as it is.
 */
int mp_join(const char *token, const char *state, const char *name, const char *const *names, unsigned n,
	    struct mp_fail *f);
/* A new certificate from the server with the authority, at one of these addresses. */
int mp_renew(const char *state, const char *name, const char *const *names, unsigned n, const json_t *api,
	     struct mp_fail *f);

#endif
