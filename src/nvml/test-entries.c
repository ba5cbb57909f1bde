/* SPDX-License-Identifier: Apache-2.0 */
/* The NVML entries over a provider made up here: codes, layouts, handles, sizes of strings. */
#include <unistd.h>

#include "base/test.h"
#include "nvml/state.h"

nvmlReturn_t nvmlInit_v2(void), nvmlInitWithFlags(unsigned), nvmlShutdown(void);
const char *nvmlErrorString(nvmlReturn_t);
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *), nvmlDeviceGetHandleByIndex_v2(unsigned, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t, char *, unsigned);
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t, char *, unsigned);
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t, unsigned *);
nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t, struct nvml_pci_v2 *);
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t, struct nvml_pci_v3 *);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, struct nvml_memory *);
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t, struct nvml_memory_v2 *);
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t, struct nvml_utilization *);
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t, unsigned, unsigned *);
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t, unsigned *, struct nvml_process_v1 *);
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned *, struct nvml_process_v2 *);
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t, unsigned *, struct nvml_process_v2 *);
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t, nvmlDevice_t, unsigned, int *);
nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t, unsigned *);
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t, int *, int *);
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t, int, struct nvml_field_value *);
nvmlReturn_t nvmlDeviceGetFanSpeed(void);
nvmlReturn_t nvmlSystemGetDriverVersion(char *, unsigned), nvmlSystemGetCudaDriverVersion(int *);
nvmlReturn_t nvmlSystemGetProcessName(unsigned, char *, unsigned);
nvmlReturn_t nvmlInternalGetExportTable(const void **, const void *);

static int opened, closed, open_code;

static int fake_open(void)
{
	opened += !open_code;
	return open_code;
}

static void fake_close(void)
{
	closed++;
}

static int fake_count(unsigned *ret)
{
	*ret = 2;
	return 0;
}

static int fake_device(unsigned index, struct mp_nvml_device *d)
{
	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "Made-up %u", index);
	memset(d->uuid, 0xa0 + (int)index, 16);
	d->domain = 1;
	d->bus = 0x3b + index;
	d->pci_id = 0x233010de;
	d->major = 9;
	d->core_mhz = MP_NVML_UNKNOWN;
	return 0;
}

static int fake_usage(unsigned index, struct mp_nvml_usage *u)
{
	*u = (struct mp_nvml_usage){.total = 1000, .used = index ? 1200 : 300, .busy_percent = 42,
				    .celsius = MP_NVML_UNKNOWN, .milliwatts = 100,
				    .milliwatts_limit = MP_NVML_UNKNOWN};
	return 0;
}

static int fake_process(unsigned index, unsigned i, struct mp_nvml_process *p)
{
	if (index || i >= 3)
		return NVML_ERROR_NOT_FOUND;
	*p = (struct mp_nvml_process){100 + i, 7000 + i};
	return 0;
}

static int fake_cuda(int *ret)
{
	*ret = 12080;
	return 0;
}

static int fake_peer(unsigned a, unsigned b, bool *ret)
{
	*ret = a < b;
	return 0;
}

const struct mp_nvml_provider mp_nvml_provider = {fake_open,  fake_close,   fake_count,
						  fake_device, fake_usage,  fake_process,
						  fake_cuda,  fake_peer};

MP_TEST(open_and_close)
{
	nvmlDevice_t d;
	unsigned n;

	MP_CHECK_EQ(nvmlDeviceGetCount_v2(&n), NVML_ERROR_UNINITIALIZED);
	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(0, &d), NVML_ERROR_UNINITIALIZED);
	MP_CHECK_EQ(nvmlDeviceGetFanSpeed(), NVML_ERROR_UNINITIALIZED);
	MP_CHECK_EQ(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
	open_code = NVML_ERROR_DRIVER_NOT_LOADED;
	MP_CHECK_EQ(nvmlInit_v2(), NVML_ERROR_DRIVER_NOT_LOADED);
	MP_CHECK_EQ(nvmlDeviceGetCount_v2(&n), NVML_ERROR_UNINITIALIZED);
	open_code = 0;
	MP_CHECK_EQ(nvmlInit_v2(), 0);
	MP_CHECK_EQ(nvmlInitWithFlags(1), 0);
	MP_CHECK_EQ(opened, 1);
	MP_CHECK_EQ(nvmlShutdown(), 0);
	MP_CHECK_EQ(closed, 0);
	MP_CHECK_EQ(nvmlDeviceGetCount_v2(&n), 0);
	MP_CHECK_EQ(n, 2);
	MP_CHECK_EQ(nvmlShutdown(), 0);
	MP_CHECK_EQ(closed, 1);
	MP_CHECK_EQ(nvmlInit_v2(), 0);
	MP_CHECK_EQ(nvmlDeviceGetFanSpeed(), NVML_ERROR_NOT_SUPPORTED);
	MP_CHECK_STR(nvmlErrorString(NVML_ERROR_NOT_FOUND), "not found");
	MP_CHECK_STR(nvmlErrorString(12345), "unknown error");
}

MP_TEST(handles)
{
	nvmlDevice_t a, b, c;
	unsigned i = 9;

	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(0, &a), 0);
	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(1, &b), 0);
	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(2, &c), NVML_ERROR_INVALID_ARGUMENT);
	MP_CHECK(a != b);
	MP_CHECK_EQ(nvmlDeviceGetIndex(b, &i), 0);
	MP_CHECK_EQ(i, 1);
	MP_CHECK_EQ(nvmlDeviceGetIndex(NULL, &i), NVML_ERROR_INVALID_ARGUMENT);
	MP_CHECK_EQ(nvmlDeviceGetIndex((nvmlDevice_t)(void *)&i, &i), NVML_ERROR_INVALID_ARGUMENT);
	MP_CHECK_EQ(nvmlDeviceGetIndex(a, NULL), NVML_ERROR_INVALID_ARGUMENT);
	MP_CHECK_EQ(nvmlDeviceGetHandleByUUID("GPU-a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1A1A1A1", &c), 0);
	MP_CHECK(c == b);
	MP_CHECK_EQ(nvmlDeviceGetHandleByUUID("GPU-a1a1", &c), NVML_ERROR_NOT_FOUND);
	MP_CHECK_EQ(nvmlDeviceGetHandleByUUID(NULL, &c), NVML_ERROR_INVALID_ARGUMENT);
	MP_CHECK_EQ(nvmlDeviceGetHandleByPciBusId_v2("00000001:3B:00.0", &c), 0);
	MP_CHECK(c == a);
	MP_CHECK_EQ(nvmlDeviceGetHandleByPciBusId_v2("0001:3c:00.0", &c), 0);
	MP_CHECK(c == b);
	MP_CHECK_EQ(nvmlDeviceGetHandleByPciBusId_v2("3c:00.0", &c), NVML_ERROR_NOT_FOUND);
	MP_CHECK_EQ(nvmlDeviceGetHandleByPciBusId_v2("rubbish", &c), NVML_ERROR_INVALID_ARGUMENT);
}

MP_TEST(identity)
{
	struct nvml_pci_v3 v3;
	struct nvml_pci_v2 v2;
	char text[96];
	nvmlDevice_t a;
	unsigned arch;
	int major, minor;

	nvmlDeviceGetHandleByIndex_v2(0, &a);
	MP_CHECK_EQ(nvmlDeviceGetName(a, text, sizeof(text)), 0);
	MP_CHECK_STR(text, "Made-up 0");
	MP_CHECK_EQ(nvmlDeviceGetName(a, text, 9), NVML_ERROR_INSUFFICIENT_SIZE);
	MP_CHECK_EQ(nvmlDeviceGetName(a, text, 10), 0);
	MP_CHECK_EQ(nvmlDeviceGetUUID(a, text, sizeof(text)), 0);
	MP_CHECK_STR(text, "GPU-a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0");
	MP_CHECK_EQ(nvmlDeviceGetPciInfo_v3(a, &v3), 0);
	MP_CHECK_STR(v3.busId, "00000001:3B:00.0");
	MP_CHECK_STR(v3.busIdLegacy, "0001:3B:00.0");
	MP_CHECK(v3.domain == 1 && v3.bus == 0x3b && v3.pciDeviceId == 0x233010de);
	MP_CHECK_EQ(nvmlDeviceGetPciInfo_v2(a, &v2), 0);
	MP_CHECK_STR(v2.busId, "0001:3B:00.0");
	MP_CHECK_EQ(nvmlDeviceGetCudaComputeCapability(a, &major, &minor), 0);
	MP_CHECK(major == 9 && minor == 0);
	MP_CHECK_EQ(nvmlDeviceGetArchitecture(a, &arch), 0);
	MP_CHECK_EQ(arch, 9);
}

MP_TEST(usage)
{
	struct nvml_utilization rates;
	struct nvml_memory_v2 m2 = {.version = NVML_MEMORY_V2};
	struct nvml_memory m;
	nvmlDevice_t a, b;
	unsigned celsius;

	nvmlDeviceGetHandleByIndex_v2(0, &a);
	nvmlDeviceGetHandleByIndex_v2(1, &b);
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(a, &m), 0);
	MP_CHECK(m.total == 1000 && m.used == 300 && m.free == 700);
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(b, &m), 0);
	MP_CHECK(m.used == 1000 && m.free == 0);
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo_v2(a, &m2), 0);
	MP_CHECK(m2.total == 1000 && m2.used == 300 && m2.free == 700 && !m2.reserved);
	m2.version = 1;
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo_v2(a, &m2), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	MP_CHECK_EQ(nvmlDeviceGetUtilizationRates(a, &rates), 0);
	MP_CHECK_EQ(rates.gpu, 42);
	MP_CHECK_EQ(nvmlDeviceGetTemperature(a, 0, &celsius), NVML_ERROR_NOT_SUPPORTED);
}

MP_TEST(processes)
{
	struct nvml_process_v2 p[5];
	struct nvml_process_v1 q[5];
	nvmlDevice_t a, b;
	unsigned n = 0;
	char name[64];

	nvmlDeviceGetHandleByIndex_v2(0, &a);
	nvmlDeviceGetHandleByIndex_v2(1, &b);
	MP_CHECK_EQ(nvmlDeviceGetComputeRunningProcesses_v3(a, &n, NULL),
		    NVML_ERROR_INSUFFICIENT_SIZE);
	MP_CHECK_EQ(n, 3);
	n = 5;
	MP_CHECK_EQ(nvmlDeviceGetComputeRunningProcesses_v3(a, &n, p), 0);
	MP_CHECK(n == 3 && p[2].pid == 102 && p[2].usedGpuMemory == 7002);
	MP_CHECK_EQ(p[0].gpuInstanceId, UINT32_MAX);
	n = 5;
	MP_CHECK_EQ(nvmlDeviceGetComputeRunningProcesses(a, &n, q), 0);
	MP_CHECK(n == 3 && q[1].pid == 101 && q[1].usedGpuMemory == 7001);
	n = 2;
	MP_CHECK_EQ(nvmlDeviceGetComputeRunningProcesses(a, &n, q), NVML_ERROR_INSUFFICIENT_SIZE);
	n = 0;
	MP_CHECK_EQ(nvmlDeviceGetComputeRunningProcesses_v3(b, &n, NULL), 0);
	MP_CHECK_EQ(n, 0);
	n = 5;
	MP_CHECK_EQ(nvmlDeviceGetGraphicsRunningProcesses_v3(a, &n, p), 0);
	MP_CHECK_EQ(n, 0);
	MP_CHECK_EQ(nvmlSystemGetProcessName((unsigned)getpid(), name, sizeof(name)), 0);
	MP_CHECK(strstr(name, "test-nvml"));
	MP_CHECK_EQ(nvmlSystemGetProcessName(0x7fffffff, name, sizeof(name)), NVML_ERROR_NOT_FOUND);
}

MP_TEST(the_rest)
{
	struct nvml_field_value v[2] = {{.fieldId = 1}, {.fieldId = 2}};
	const void *table = NULL;
	nvmlDevice_t a, b;
	char text[80];
	int n;

	nvmlDeviceGetHandleByIndex_v2(0, &a);
	nvmlDeviceGetHandleByIndex_v2(1, &b);
	MP_CHECK_EQ(nvmlDeviceGetP2PStatus(a, b, 0, &n), 0);
	MP_CHECK_EQ(n, 0);
	MP_CHECK_EQ(nvmlDeviceGetP2PStatus(b, a, 0, &n), 0);
	MP_CHECK_EQ(n, 5);
	MP_CHECK_EQ(nvmlSystemGetCudaDriverVersion(&n), 0);
	MP_CHECK_EQ(n, 12080);
	MP_CHECK_EQ(nvmlSystemGetDriverVersion(text, sizeof(text)), 0);
	MP_CHECK_STR(text, "570.00");
	MP_CHECK_EQ(nvmlDeviceGetFieldValues(a, 2, v), 0);
	MP_CHECK(v[0].nvmlReturn == NVML_ERROR_NOT_SUPPORTED && v[1].nvmlReturn == v[0].nvmlReturn);
	MP_CHECK_EQ(nvmlInternalGetExportTable(&table, "0123456789abcdef"), 0);
	MP_CHECK(table && ((nvmlReturn_t(**)(void))table)[5]() == NVML_ERROR_NOT_SUPPORTED);
}

MP_TEST_MAIN()
