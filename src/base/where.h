/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the other parts of Motorpool are, seen from the running executable: in
 * the build tree or under the prefix that it was installed to.
 */
#ifndef MP_BASE_WHERE_H
#define MP_BASE_WHERE_H

#include <stdbool.h>
#include <stddef.h>

enum mp_part {
	MP_PART_WORKER, /* the file motorpool-worker; MOTORPOOL_WORKER overrides */
	MP_PART_GATE,	/* the file motorpool-gate; MOTORPOOL_GATE overrides */
	MP_PART_SOFT,	/* the file libcuda.so.1 of the soft GPU; MOTORPOOL_SOFT_DRIVER overrides */
	MP_PART_LIBDIR, /* the directory of the drop-in libcuda.so.1; MOTORPOOL_LIBDIR overrides */
	MP_PART_BLAS,	 /* libmotorpool-blas.so */
	MP_PART_NVMLDIR, /* the directory of libnvidia-ml.so.1: the same one, but in the build tree */
};

/* false when the part is nowhere to be found; `path` then holds the place that was tried last. */
bool mp_where(enum mp_part part, char *path, size_t size);

#endif
