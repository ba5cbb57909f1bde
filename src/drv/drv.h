/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drv: the seam to a CUDA driver library.
 *
 * One pointer for each export of the ABI (struct mp_drv, generated), filled by
 * dlopen and dlsym.  The library is NVIDIA's or the soft GPU's: nothing above
 * this door knows which.  Any thread may call through an open mp_drv; open and
 * close are for one thread.
 */
#ifndef MP_DRV_H
#define MP_DRV_H

#include <stddef.h>

#include "base/fail.h"
#include "mp-drv.h"

/*
 * Load the library at `path` (a name without a slash is searched for as the
 * loader does) and fill `ret`.  Exports that it lacks stay NULL; a library
 * without cuInit is no driver.  0, or -1 with a sentence in `f`.
 */
int mp_drv_open(const char *path, struct mp_drv *ret, struct mp_fail *f);

/* Forget the pointers and unload the library. */
void mp_drv_close(struct mp_drv *drv);

/* How many exports the library lacks; their first `max` names go to `names`. */
size_t mp_drv_missing(const struct mp_drv *drv, const char **names, size_t max);

#endif
