/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that believes that fresh memory is zero, whatever its driver says: the
 * test of zeroing must see what it gives away.  By the linker's --wrap; the worker
 * itself knows nothing of this.
 */
#include "worker/inside.h"

int __real_mp_devices_take(struct mp_worker *w, const char *uuids, const char *memory, struct mp_fail *f);
int __wrap_mp_devices_take(struct mp_worker *w, const char *uuids, const char *memory, struct mp_fail *f);

int __wrap_mp_devices_take(struct mp_worker *w, const char *uuids, const char *memory, struct mp_fail *f)
{
	int r = __real_mp_devices_take(w, uuids, memory, f);
	unsigned i;

	for (i = 0; i < MP_WORKER_DEVICES; i++)
		w->device[i].fresh_is_zero = true;
	return r;
}
