/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When records get here, for measuring: with MOTORPOOL_WORKER_STAMPS=FILE each
 * batch of the command lane leaves the ticket of its first record and the time at
 * which that was decoded.  The file is an array of pairs of 64-bit numbers, ticket
 * and nanoseconds of CLOCK_MONOTONIC; it is full at 65,536.  The reader alone.
 */
#include "worker/inside.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define STAMPS 65536u

struct stamp {
	uint64_t ticket, ns;
};

void mp_stamp_open(struct mp_worker *w)
{
	const char *path = getenv("MOTORPOOL_WORKER_STAMPS");
	int fd = path && *path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	void *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, STAMPS * sizeof(struct stamp)))
		p = mmap(NULL, STAMPS * sizeof(struct stamp), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (path && *path && p == MAP_FAILED)
		mp_log(MP_LOG_WARN, "worker", "stamps", "path=%s cannot be written", path);
	if (fd >= 0)
		close(fd);
	w->stamps = p == MAP_FAILED ? NULL : p;
}

void mp_stamp(struct mp_worker *w, uint64_t ticket)
{
	struct timespec t;

	if (w->stamp_count == STAMPS)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	w->stamps[w->stamp_count++] = (struct stamp){ticket, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec};
}
