/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker gives up before it reads the client's first byte.
 *
 * It runs as the daemon's user or, when the daemon is root, as the user that
 * MOTORPOOL_WORKER_USER names; it cannot be traced by others of that user, gains
 * no privileges, leaves no core with a tenant's data, and opens few files.
 */
#include "worker/inside.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

static int become(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw || setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return -1;
	return 0;
}

int mp_confine(void)
{
	const char *user = getenv("MOTORPOOL_WORKER_USER");
	struct rlimit none = {0, 0}, files = {1024, 1024}, have;

	if (user && *user && !getuid() && become(user)) {
		mp_log(MP_LOG_ERROR, "worker", "confine", "user=%s cannot be assumed", user);
		return -1;
	}
	if (prctl(PR_SET_DUMPABLE, 0ul) || prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul))
		return -1;
	(void)setrlimit(RLIMIT_CORE, &none);
	if (!getrlimit(RLIMIT_NOFILE, &have) && have.rlim_max > files.rlim_max)
		(void)setrlimit(RLIMIT_NOFILE, &files);
	return 0;
}
