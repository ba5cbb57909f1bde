/* SPDX-License-Identifier: Apache-2.0 */
/* What the entries share; not a door. */
#ifndef MP_NVML_STATE_H
#define MP_NVML_STATE_H

#include "base/check.h"
#include "nvml/abi.h"
#include "nvml/nvml.h"

/* An entry that programs call: declared and exported. */
#define NVML(name, ...)                        \
	MP_EXPORT nvmlReturn_t name(__VA_ARGS__); \
	nvmlReturn_t name(__VA_ARGS__)

/*
 * Enter and leave the room.  begin answers NVML_ERROR_UNINITIALIZED outside of
 * nvmlInit .. nvmlShutdown, and then the lock is not held.
 */
int mp_nvml_begin(void);
int mp_nvml_end(int code);
/* begin, then the index of a handle; INVALID_ARGUMENT (lock not held) when it is none of ours. */
int mp_nvml_begin_device(nvmlDevice_t handle, unsigned *ret_index);
nvmlDevice_t mp_nvml_handle(unsigned index);
/* For entries that have no answer here: NOT_SUPPORTED, or UNINITIALIZED. */
int mp_nvml_refuse(void);
/* Copy a string out: INSUFFICIENT_SIZE when it and its NUL do not fit. */
int mp_nvml_string(char *out, unsigned size, const char *text);

#endif
