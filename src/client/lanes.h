/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted lanes for programs, which speak plainly: a helper process listens on
 * a Unix socket and carries each connection to the server under TLS.
 */
#ifndef MP_CLIENT_LANES_H
#define MP_CLIENT_LANES_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>

/* An address that programs cannot use themselves: "tls:HOST:PORT". */
#define MP_LANES_TLS "tls:"

/* Does the value of MOTORPOOL_DATA name any such? */
bool mp_lanes_wanted(const char *data);
/*
 * Starts the helper; programs get *ret_data (PATH_MAX bytes are enough) as their
 * MOTORPOOL_DATA.  It ends, its lanes with it, when every copy of *ret_keep is
 * closed: the caller keeps it (close-on-exec) as long as the lease.
 */
int mp_lanes_start(const char *data, const char *ca_file, char *ret_data, size_t size, int *ret_keep,
		   struct mp_fail *f);

#endif
