/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a token bundle for the user of --demo. */
#ifndef MP_DAEMON_BUNDLE_H
#define MP_DAEMON_BUNDLE_H

#include "base/fail.h"

#include <stdbool.h>

/* The directory and its parents, private to the user. */
int mp_dir_make(const char *dir, struct mp_fail *f);
/* Is there a bundle of another pool in dir? */
bool mp_bundle_foreign(const char *dir, const char *state_dir);
int mp_bundle_write(const char *dir, const char *state_dir, const char *token, const char *server,
		    struct mp_fail *f);

#endif
