/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a data lane is, without a device behind it: what `motorpool netperf`
 * and a worker that was started for it say to each other after the hello.
 */
#ifndef MP_RPC_PERF_H
#define MP_RPC_PERF_H

#include "base/fail.h"

#include <stdint.h>

struct mp_perf {
	double round_trip_us, worst_us; /* of 64 bytes: the median, and the 99th of 100 */
	double up_gb_s, down_gb_s;	/* of 64 MiB */
	double one_way_s;		/* records of 64 bytes a second, nobody answering each */
};

/* The client's side, on a connected lane; it says the hello with this secret.  -1 with a sentence. */
int mp_perf_measure(int fd, const uint8_t secret[32], struct mp_perf *ret, struct mp_fail *f);
/* The server's side: until the client ends, a minute at most, or it says nonsense. */
void mp_perf_serve(int fd);

#endif
