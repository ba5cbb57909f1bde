/* SPDX-License-Identifier: Apache-2.0 */
/* What the environment says about the soft devices; read once, by cuInit. */
#ifndef MP_SOFT_CONFIG_H
#define MP_SOFT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_SOFT_MAX_DEVICES 16

/* As exec has them. */
enum { MP_SOFT_CHECK_MEMORY = 1, MP_SOFT_CHECK_INIT = 2, MP_SOFT_CHECK_RACE = 4 };

struct mp_soft_config {
	unsigned devices;	 /* before CUDA_VISIBLE_DEVICES */
	uint64_t memory;	 /* bytes per device */
	uint64_t context_memory; /* bytes that a context costs */
	char model[96];
	unsigned sms, major, minor, threads;
	bool dirty_memory, null_mode, eager, launch_blocking;
	uint64_t jitter; /* seed; 0 = none */
	unsigned check;	 /* MP_SOFT_CHECK_* */
	int check_exit;	 /* status of a process with errors; 0 = its own */
	uint64_t check_limit;
	char dir[256];	 /* where the device accounts live */
};

/* Reads the environment; unknown or bad values fall back to the default and are logged. */
void mp_soft_config_read(struct mp_soft_config *c);
/* The directory of accounts alone, for readers such as NVML; creates it, mode 0700. */
void mp_soft_config_dir(char *out, size_t n);
/* Name, default and meaning of the i-th variable; false past the end. */
bool mp_soft_config_variable(unsigned i, const char **name, const char **fallback,
			     const char **meaning);
/* 16 bytes that are stable for this host and device index. */
void mp_soft_config_uuid(unsigned index, unsigned char uuid[16]);

#endif
