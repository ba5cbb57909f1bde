/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvml: both libnvidia-ml.so.1 drop-ins, one for clients and one for soft GPUs.
 *
 * One set of entries (NVIDIA's NVML ABI, in abi.h) over a small struct of what there
 * is to know; each library links one provider, which defines mp_nvml_provider.  A
 * question that the provider cannot answer gets NVML_ERROR_NOT_SUPPORTED, as on a
 * GPU that lacks the sensor: a monitor shows it as "N/A".
 *
 * All of it may be called from any thread.  Entries are serialised by one lock.
 */
#ifndef MP_NVML_H
#define MP_NVML_H

#include <stdbool.h>
#include <stdint.h>

#define MP_NVML_MAX_DEVICES 64
#define MP_NVML_UNKNOWN	    (-1) /* of a number that a device does not tell */

/* What does not change while the library is open. */
struct mp_nvml_device {
	char name[96];
	uint8_t uuid[16];
	uint32_t domain, bus, device, pci_id, pci_subsystem;
	int major, minor;
	int core_mhz, memory_mhz, bus_width; /* or unknown */
};

/* What does. */
struct mp_nvml_usage {
	uint64_t total, used;	       /* bytes; total = the partition where there is one */
	int busy_percent;	       /* of the last second, or unknown */
	int celsius, milliwatts, milliwatts_limit; /* or unknown */
};

struct mp_nvml_process {
	uint32_t pid; /* in the name space of the caller */
	uint64_t bytes;
};

/* Every function answers a code of abi.h (0 = well) and is called with the room's lock held. */
struct mp_nvml_provider {
	/* nvmlInit; DRIVER_NOT_LOADED when there is nothing to look at. */
	int (*open)(void);
	/* The last nvmlShutdown. */
	void (*close)(void);
	/* Devices in PCI order, whatever CUDA_VISIBLE_DEVICES says: NVML knows nothing of it. */
	int (*count)(unsigned *ret);
	int (*device)(unsigned index, struct mp_nvml_device *ret);
	int (*usage)(unsigned index, struct mp_nvml_usage *ret);
	/* The i-th process that computes on the device; NOT_FOUND past the last. */
	int (*process)(unsigned index, unsigned i, struct mp_nvml_process *ret);
	/* As cuDriverGetVersion answers it: 13000. */
	int (*cuda_version)(int *ret);
	/* Whether a can reach b's memory. */
	int (*peer)(unsigned a, unsigned b, bool *ret);
};

extern const struct mp_nvml_provider mp_nvml_provider;

#endif
