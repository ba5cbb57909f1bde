/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a driver library and fills the pointers, by the generated list of names and offsets. */
#include "drv/drv.h"

#include <assert.h>
#include <dlfcn.h>
#include <string.h>

#include "base/log.h"

static void **slot(const struct mp_drv *drv, size_t i)
{
	assert(i < MP_DRV_EXPORTS);
	return (void **)((char *)(uintptr_t)drv + mp_drv_slots[i].offset);
}

int mp_drv_open(const char *path, struct mp_drv *ret, struct mp_fail *f)
{
	size_t missing;

	memset(ret, 0, sizeof(*ret));
	/* RTLD_LOCAL: its symbols must not shadow those of anything else in the process. */
	ret->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!ret->lib) {
		const char *why = dlerror();

		return mp_fail_set(f, 1, "cannot load the driver library %s: %s", path,
				   why ? why : "unknown reason");
	}
	for (size_t i = 0; i < MP_DRV_EXPORTS; i++)
		*slot(ret, i) = dlsym(ret->lib, mp_drv_slots[i].name);
	if (!ret->cuInit) {
		mp_drv_close(ret);
		return mp_fail_set(f, 1, "%s is no CUDA driver library: it has no cuInit", path);
	}
	missing = mp_drv_missing(ret, NULL, 0);
	mp_log(MP_LOG_INFO, "drv", "open", "path=%s exports=%zu missing=%zu", path,
	       MP_DRV_EXPORTS - missing, missing);
	return 0;
}

void mp_drv_close(struct mp_drv *drv)
{
	if (drv->lib)
		dlclose(drv->lib);
	memset(drv, 0, sizeof(*drv));
}

size_t mp_drv_missing(const struct mp_drv *drv, const char **names, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < MP_DRV_EXPORTS; i++) {
		if (*slot(drv, i))
			continue;
		if (n < max)
			names[n] = mp_drv_slots[i].name;
		n++;
	}
	return n;
}
