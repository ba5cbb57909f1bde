/* SPDX-License-Identifier: Apache-2.0 */
/* Where the second tier keeps compiled code between processes. */
#ifndef MP_EXEC_TIER_H
#define MP_EXEC_TIER_H

/*
 * A directory, made when it is needed (mode 0700); "" for none, as it is unless
 * somebody says otherwise.  MOTORPOOL_SOFT_CACHE goes before.  Call before the
 * first launch.
 */
void mp_exec_set_cache(const char *dir);

#endif
