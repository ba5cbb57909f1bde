/* SPDX-License-Identifier: Apache-2.0 */
/* Places relative to the running executable. */
#include "base/where.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Relative to the executable's directory, in order: the build tree, then an installed prefix. */
static const struct {
	const char *env;
	const char *probe; /* below a directory: the file that proves it */
	const char *places[4];
} parts[] = {
	[MP_PART_WORKER] = {"MOTORPOOL_WORKER", "",
			    {"../worker/motorpool-worker", "../libexec/motorpool/motorpool-worker",
			     "motorpool-worker"}},
	[MP_PART_GATE] = {"MOTORPOOL_GATE", "",
			  {"../link/motorpool-gate", "../libexec/motorpool/motorpool-gate",
			   "motorpool-gate"}},
	[MP_PART_SOFT] = {"MOTORPOOL_SOFT_DRIVER", "",
			  {"../soft/gpu/libcuda.so.1", MP_LIBDIR_RELATIVE "/motorpool/soft/libcuda.so.1"}},
	[MP_PART_LIBDIR] = {"MOTORPOOL_LIBDIR", "/libcuda.so.1",
			    {"../shim", MP_LIBDIR_RELATIVE "/motorpool"}},
	[MP_PART_BLAS] = {"MOTORPOOL_BLAS_LIBRARY", "",
			  {"../blas/libmotorpool-blas.so",
			   MP_LIBDIR_RELATIVE "/motorpool/blas/libmotorpool-blas.so"}},
	[MP_PART_NVMLDIR] = {"MOTORPOOL_NVMLDIR", "/libnvidia-ml.so.1",
			     {"../nvml/client", MP_LIBDIR_RELATIVE "/motorpool"}},
};

bool mp_where(enum mp_part part, char *path, size_t size)
{
	const char *env = getenv(parts[part].env);
	char self[4096], probe[4200], place[4096 + 256];
	char *slash, *real;
	ssize_t n;
	size_t i;

	if (env && *env) {
		snprintf(path, size, "%s", env);
		snprintf(probe, sizeof(probe), "%s%s", env, parts[part].probe);
		return access(probe, F_OK) == 0;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	snprintf(path, size, "%s", self);
	for (i = 0; i < MP_ARRAY_LEN(parts[part].places) && parts[part].places[i]; i++) {
		snprintf(place, sizeof(place), "%s/%s", self, parts[part].places[i]);
		real = realpath(place, NULL);
		snprintf(path, size, "%s", real ? real : place);
		free(real);
		snprintf(probe, sizeof(probe), "%s%s", path, parts[part].probe);
		if (access(probe, F_OK) == 0)
			return true;
	}
	return false;
}
