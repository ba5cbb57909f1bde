/* SPDX-License-Identifier: Apache-2.0 */
/* NVML of one device: what it is and how much of it is used. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "nvml/state.h"

/* Common beginning: *d is filled and the lock held when 0 comes back. */
static int begin_info(nvmlDevice_t handle, unsigned *index, struct mp_nvml_device *d)
{
	int rc = mp_nvml_begin_device(handle, index);

	if (rc)
		return rc;
	rc = mp_nvml_provider.device(*index, d);
	return rc ? mp_nvml_end(rc) : NVML_SUCCESS;
}

static int begin_usage(nvmlDevice_t handle, struct mp_nvml_usage *u)
{
	unsigned index;
	int rc = mp_nvml_begin_device(handle, &index);

	if (rc)
		return rc;
	rc = mp_nvml_provider.usage(index, u);
	return rc ? mp_nvml_end(rc) : NVML_SUCCESS;
}

/* End with a number that the device may not know. */
static int end_number(unsigned *out, int value)
{
	if (!out)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	if (value == MP_NVML_UNKNOWN)
		return mp_nvml_end(NVML_ERROR_NOT_SUPPORTED);
	*out = (unsigned)value;
	return mp_nvml_end(NVML_SUCCESS);
}

/* An answer that is the same for every device. */
static int constant(nvmlDevice_t handle, unsigned *out, int value)
{
	unsigned index;
	int rc = mp_nvml_begin_device(handle, &index);

	return rc ? rc : end_number(out, value);
}

/* ---- Identity ---- */

NVML(nvmlDeviceGetName, nvmlDevice_t device, char *name, unsigned length)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	return rc ? rc : mp_nvml_end(mp_nvml_string(name, length, d.name));
}

NVML(nvmlDeviceGetUUID, nvmlDevice_t device, char *uuid, unsigned length)
{
	struct mp_nvml_device d;
	unsigned index, i;
	char text[48] = "GPU-";
	int rc = begin_info(device, &index, &d), n = 4;

	if (rc)
		return rc;
	for (i = 0; i < 16; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%02x",
			      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", d.uuid[i]);
	return mp_nvml_end(mp_nvml_string(uuid, length, text));
}

NVML(nvmlDeviceGetIndex, nvmlDevice_t device, unsigned *ret)
{
	unsigned index;
	int rc = mp_nvml_begin_device(device, &index);

	return rc ? rc : end_number(ret, (int)index);
}

NVML(nvmlDeviceGetMinorNumber, nvmlDevice_t device, unsigned *minor)
{
	return nvmlDeviceGetIndex(device, minor);
}

NVML(nvmlDeviceGetBoardId, nvmlDevice_t device, unsigned *id)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	return rc ? rc : end_number(id, (int)(d.bus << 8 | d.device << 3));
}

static void bus_id(const struct mp_nvml_device *d, char legacy[16], char full[32])
{
	snprintf(legacy, 16, "%04X:%02X:%02X.0", d->domain & 0xffff, d->bus & 0xff,
		 d->device & 0xff);
	if (full)
		snprintf(full, 32, "%08X:%02X:%02X.0", d->domain, d->bus & 0xff, d->device & 0xff);
}

static int pci_v2(nvmlDevice_t device, struct nvml_pci_v2 *pci)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	if (rc)
		return rc;
	if (!pci)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	memset(pci, 0, sizeof(*pci));
	bus_id(&d, pci->busId, NULL);
	pci->domain = d.domain;
	pci->bus = d.bus;
	pci->device = d.device;
	pci->pciDeviceId = d.pci_id;
	pci->pciSubSystemId = d.pci_subsystem;
	return mp_nvml_end(NVML_SUCCESS);
}

NVML(nvmlDeviceGetPciInfo, nvmlDevice_t device, struct nvml_pci_v2 *pci)
{
	return pci_v2(device, pci);
}

NVML(nvmlDeviceGetPciInfo_v2, nvmlDevice_t device, struct nvml_pci_v2 *pci)
{
	return pci_v2(device, pci);
}

NVML(nvmlDeviceGetPciInfo_v3, nvmlDevice_t device, struct nvml_pci_v3 *pci)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	if (rc)
		return rc;
	if (!pci)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	memset(pci, 0, sizeof(*pci));
	bus_id(&d, pci->busIdLegacy, pci->busId);
	pci->domain = d.domain;
	pci->bus = d.bus;
	pci->device = d.device;
	pci->pciDeviceId = d.pci_id;
	pci->pciSubSystemId = d.pci_subsystem;
	return mp_nvml_end(NVML_SUCCESS);
}

NVML(nvmlDeviceGetCudaComputeCapability, nvmlDevice_t device, int *major, int *minor)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	if (rc)
		return rc;
	if (!major || !minor)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	*major = d.major;
	*minor = d.minor;
	return mp_nvml_end(NVML_SUCCESS);
}

/* NVML's number of an architecture: 2 Kepler ... 6 Turing, 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell. */
static int architecture(int major, int minor)
{
	switch (major) {
	case 3: return 2;
	case 5: return 3;
	case 6: return 4;
	case 7: return minor < 5 ? 5 : 6;
	case 8: return minor == 9 ? 8 : 7;
	case 9: return 9;
	case 10:
	case 11:
	case 12: return 10;
	}
	return MP_NVML_UNKNOWN;
}

NVML(nvmlDeviceGetArchitecture, nvmlDevice_t device, unsigned *arch)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	return rc ? rc : end_number(arch, architecture(d.major, d.minor));
}

NVML(nvmlDeviceGetMemoryBusWidth, nvmlDevice_t device, unsigned *bits)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	return rc ? rc : end_number(bits, d.bus_width);
}

/* Clocks: 0 graphics, 1 SM, 2 memory, 3 video. What runs is taken to run at its rate. */
static int clock(nvmlDevice_t device, unsigned type, unsigned *mhz)
{
	struct mp_nvml_device d;
	unsigned index;
	int rc = begin_info(device, &index, &d);

	if (rc)
		return rc;
	if (type > 3)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	return end_number(mhz, type == 2 ? d.memory_mhz : d.core_mhz);
}

NVML(nvmlDeviceGetClockInfo, nvmlDevice_t device, unsigned type, unsigned *mhz)
{
	return clock(device, type, mhz);
}

NVML(nvmlDeviceGetMaxClockInfo, nvmlDevice_t device, unsigned type, unsigned *mhz)
{
	return clock(device, type, mhz);
}

/* ---- Use ---- */

NVML(nvmlDeviceGetMemoryInfo, nvmlDevice_t device, struct nvml_memory *m)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	if (rc)
		return rc;
	if (!m)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	m->total = u.total;
	m->used = u.used < u.total ? u.used : u.total;
	m->free = m->total - m->used;
	return mp_nvml_end(NVML_SUCCESS);
}

NVML(nvmlDeviceGetMemoryInfo_v2, nvmlDevice_t device, struct nvml_memory_v2 *m)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	if (rc)
		return rc;
	if (!m)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	if (m->version != NVML_MEMORY_V2)
		return mp_nvml_end(NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	m->total = u.total;
	m->reserved = 0;
	m->used = u.used < u.total ? u.used : u.total;
	m->free = m->total - m->used;
	return mp_nvml_end(NVML_SUCCESS);
}

NVML(nvmlDeviceGetUtilizationRates, nvmlDevice_t device, struct nvml_utilization *rates)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	if (rc)
		return rc;
	if (!rates)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	if (u.busy_percent == MP_NVML_UNKNOWN)
		return mp_nvml_end(NVML_ERROR_NOT_SUPPORTED);
	rates->gpu = (uint32_t)u.busy_percent;
	rates->memory = 0; /* time in which memory moved is not counted apart */
	return mp_nvml_end(NVML_SUCCESS);
}

/* Sensors: 0 is the GPU itself. */
NVML(nvmlDeviceGetTemperature, nvmlDevice_t device, unsigned sensor, unsigned *celsius)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	if (rc)
		return rc;
	if (sensor)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	return end_number(celsius, u.celsius);
}

NVML(nvmlDeviceGetPowerUsage, nvmlDevice_t device, unsigned *milliwatts)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	return rc ? rc : end_number(milliwatts, u.milliwatts);
}

NVML(nvmlDeviceGetEnforcedPowerLimit, nvmlDevice_t device, unsigned *milliwatts)
{
	struct mp_nvml_usage u;
	int rc = begin_usage(device, &u);

	return rc ? rc : end_number(milliwatts, u.milliwatts_limit);
}

NVML(nvmlDeviceGetPowerManagementLimit, nvmlDevice_t device, unsigned *milliwatts)
{
	return nvmlDeviceGetEnforcedPowerLimit(device, milliwatts);
}

/* ---- Processes ---- */

/*
 * Count and, where there is room, the processes.  `entry` bytes apart; the longer form
 * ends with two instance numbers, all ones where there are no instances.
 */
static int processes(nvmlDevice_t device, unsigned *count, void *out, size_t entry)
{
	struct mp_nvml_process p;
	unsigned index, room, n = 0;
	int rc = mp_nvml_begin_device(device, &index);

	if (rc)
		return rc;
	if (!count)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	room = out ? *count : 0;
	while (!(rc = mp_nvml_provider.process(index, n, &p))) {
		if (n < room) {
			struct nvml_process_v2 v = {p.pid, p.bytes, UINT32_MAX, UINT32_MAX};

			memcpy((char *)out + n * entry, &v, entry);
		}
		n++;
	}
	*count = n;
	if (rc != NVML_ERROR_NOT_FOUND)
		return mp_nvml_end(rc);
	return mp_nvml_end(n > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS);
}

static int no_processes(nvmlDevice_t device, unsigned *count)
{
	return constant(device, count, 0);
}

#define PROCESSES(suffix, type)                                                               \
	NVML(nvmlDeviceGetComputeRunningProcesses##suffix, nvmlDevice_t device, unsigned *count, \
	     type *out)                                                                       \
	{                                                                                     \
		return processes(device, count, out, sizeof(*out));                           \
	}                                                                                     \
	NVML(nvmlDeviceGetGraphicsRunningProcesses##suffix, nvmlDevice_t device, unsigned *count, \
	     type *out)                                                                       \
	{                                                                                     \
		return no_processes(device, count);                                           \
	}                                                                                     \
	NVML(nvmlDeviceGetMPSComputeRunningProcesses##suffix, nvmlDevice_t device,            \
	     unsigned *count, type *out)                                                      \
	{                                                                                     \
		return no_processes(device, count);                                           \
	}

PROCESSES(, struct nvml_process_v1)
PROCESSES(_v2, struct nvml_process_v2)
PROCESSES(_v3, struct nvml_process_v2)

/* ---- Several devices ---- */

/* 0 fine, 5 not supported: for reads, writes, NVLink, atomics and PCI alike. */
NVML(nvmlDeviceGetP2PStatus, nvmlDevice_t a, nvmlDevice_t b, unsigned what, int *status)
{
	unsigned index_a, index_b;
	bool reach = false;
	int rc = mp_nvml_begin_device(a, &index_a);

	if (rc)
		return rc;
	mp_nvml_end(0);
	rc = mp_nvml_begin_device(b, &index_b);
	if (rc)
		return rc;
	if (!status || what > 5)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	rc = mp_nvml_provider.peer(index_a, index_b, &reach);
	if (rc == NVML_ERROR_NOT_SUPPORTED)
		*status = 6; /* "unknown" is a status of its own */
	else if (rc)
		return mp_nvml_end(rc);
	else
		*status = reach ? 0 : 5;
	return mp_nvml_end(NVML_SUCCESS);
}

/* Devices of one lease are of one server; how they hang together there is not told: 50 = system. */
NVML(nvmlDeviceGetTopologyCommonAncestor, nvmlDevice_t a, nvmlDevice_t b, int *level)
{
	unsigned index;
	int rc = mp_nvml_begin_device(a, &index);

	if (rc)
		return rc;
	mp_nvml_end(0);
	rc = mp_nvml_begin_device(b, &index);
	if (rc)
		return rc;
	if (!level)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	*level = a == b ? 0 : 50;
	return mp_nvml_end(NVML_SUCCESS);
}

NVML(nvmlDeviceOnSameBoard, nvmlDevice_t a, nvmlDevice_t b, int *same)
{
	unsigned index;
	int rc = mp_nvml_begin_device(a, &index);

	if (rc)
		return rc;
	if (!same)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	*same = a == b;
	return mp_nvml_end(NVML_SUCCESS);
}

/* ---- Modes, the same everywhere ---- */

#define CONSTANT(name, value)                                  \
	NVML(name, nvmlDevice_t device, unsigned *out)         \
	{                                                      \
		return constant(device, out, value);           \
	}

CONSTANT(nvmlDeviceGetBrand, 0)		    /* unknown: one that programs need not know */
CONSTANT(nvmlDeviceGetComputeMode, 0)	    /* any number of processes */
CONSTANT(nvmlDeviceGetPersistenceMode, 1)   /* devices stay ready between programs */
CONSTANT(nvmlDeviceGetDisplayMode, 0)
CONSTANT(nvmlDeviceGetDisplayActive, 0)
CONSTANT(nvmlDeviceGetMultiGpuBoard, 0)
CONSTANT(nvmlDeviceIsMigDeviceHandle, 0)
CONSTANT(nvmlDeviceGetMaxMigDeviceCount, 0)
CONSTANT(nvmlDeviceGetVirtualizationMode, 0)

/* No field has a value; each says so for itself, as NVML does. */
NVML(nvmlDeviceGetFieldValues, nvmlDevice_t device, int n, struct nvml_field_value *values)
{
	unsigned index;
	int i, rc = mp_nvml_begin_device(device, &index);

	if (rc)
		return rc;
	if (n < 0 || (n && !values))
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	for (i = 0; i < n; i++)
		values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
	return mp_nvml_end(NVML_SUCCESS);
}

/* ---- The private table ---- */

static nvmlReturn_t private_slot(void)
{
	mp_log(MP_LOG_WARN, "nvml", "private-slot", "answer=not-supported");
	return NVML_ERROR_NOT_SUPPORTED;
}

/*
 * nvidia-smi asks for tables that are not described anywhere.  Any table has the same
 * slots, which refuse; then it goes on with the public calls.
 */
NVML(nvmlInternalGetExportTable, const void **table, const void *id)
{
	static void *slots[128];
	size_t i;

	if (!table || !id)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (!slots[1])
		for (i = 1; i < MP_ARRAY_LEN(slots); i++)
			slots[i] = (void *)private_slot;
	slots[0] = (void *)sizeof(slots);
	*table = slots;
	return NVML_SUCCESS;
}
