/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVML ABI as far as it is answered: codes and layouts that a program built for
 * libnvidia-ml.so.1 uses, stated in our own form.  Checked against what pynvml declares.
 */
#ifndef MP_NVML_ABI_H
#define MP_NVML_ABI_H

#include <stdint.h>

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t; /* opaque */

enum {
	NVML_SUCCESS = 0,
	NVML_ERROR_UNINITIALIZED = 1,
	NVML_ERROR_INVALID_ARGUMENT = 2,
	NVML_ERROR_NOT_SUPPORTED = 3,
	NVML_ERROR_NO_PERMISSION = 4,
	NVML_ERROR_ALREADY_INITIALIZED = 5,
	NVML_ERROR_NOT_FOUND = 6,
	NVML_ERROR_INSUFFICIENT_SIZE = 7,
	NVML_ERROR_INSUFFICIENT_POWER = 8,
	NVML_ERROR_DRIVER_NOT_LOADED = 9,
	NVML_ERROR_TIMEOUT = 10,
	NVML_ERROR_IRQ_ISSUE = 11,
	NVML_ERROR_LIBRARY_NOT_FOUND = 12,
	NVML_ERROR_FUNCTION_NOT_FOUND = 13,
	NVML_ERROR_CORRUPTED_INFOROM = 14,
	NVML_ERROR_GPU_IS_LOST = 15,
	NVML_ERROR_RESET_REQUIRED = 16,
	NVML_ERROR_OPERATING_SYSTEM = 17,
	NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
	NVML_ERROR_IN_USE = 19,
	NVML_ERROR_MEMORY = 20,
	NVML_ERROR_NO_DATA = 21,
	NVML_ERROR_VGPU_ECC_NOT_SUPPORTED = 22,
	NVML_ERROR_INSUFFICIENT_RESOURCES = 23,
	NVML_ERROR_FREQ_NOT_SUPPORTED = 24,
	NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
	NVML_ERROR_DEPRECATED = 26,
	NVML_ERROR_NOT_READY = 27,
	NVML_ERROR_GPU_NOT_FOUND = 28,
	NVML_ERROR_INVALID_STATE = 29,
	NVML_ERROR_UNKNOWN = 999,
};

/* busId is "0000:01:00.0" in the 16-byte form, "00000000:01:00.0" in the 32-byte one. */
struct nvml_pci_v2 {
	char busId[16];
	uint32_t domain, bus, device, pciDeviceId, pciSubSystemId, reserved[4];
};

struct nvml_pci_v3 {
	char busIdLegacy[16];
	uint32_t domain, bus, device, pciDeviceId, pciSubSystemId;
	char busId[32];
};

struct nvml_memory {
	uint64_t total, free, used;
};

struct nvml_memory_v2 {
	uint32_t version;
	uint64_t total, reserved, free, used;
};
#define NVML_MEMORY_V2 0x02000028u

struct nvml_utilization {
	uint32_t gpu, memory; /* percent */
};

struct nvml_process_v1 {
	uint32_t pid;
	uint64_t usedGpuMemory;
};

struct nvml_process_v2 {
	uint32_t pid;
	uint64_t usedGpuMemory;
	uint32_t gpuInstanceId, computeInstanceId;
};

struct nvml_field_value {
	uint32_t fieldId, scopeId;
	int64_t timestamp, latencyUsec;
	uint32_t valueType;
	nvmlReturn_t nvmlReturn;
	uint64_t value;
};

struct nvml_uuid {
	uint32_t version, type; /* type 1: text, 2: 16 bytes */
	union {
		char str[41];
		uint8_t bytes[16];
	} value;
};

_Static_assert(sizeof(struct nvml_pci_v2) == 52 && sizeof(struct nvml_pci_v3) == 68, "NVML ABI");
_Static_assert(sizeof(struct nvml_memory_v2) == 40, "NVML ABI");
_Static_assert(sizeof(struct nvml_process_v1) == 16 && sizeof(struct nvml_process_v2) == 24,
	       "NVML ABI");
_Static_assert(sizeof(struct nvml_field_value) == 40, "NVML ABI");

#endif
