/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML of the whole system: opening and closing, versions, finding devices.
 *
 * Owns the room's one lock, the count of opens, and the handles, which are the
 * addresses of an array's elements, so that a foreign pointer is recognised.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nvml/state.h"

static pthread_mutex_t nvml_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned opens MP_GUARDED_BY(nvml_lock);
static char handles[MP_NVML_MAX_DEVICES];

int mp_nvml_begin(void)
{
	pthread_mutex_lock(&nvml_lock);
	if (opens)
		return NVML_SUCCESS;
	pthread_mutex_unlock(&nvml_lock);
	return NVML_ERROR_UNINITIALIZED;
}

int mp_nvml_end(int code)
{
	pthread_mutex_unlock(&nvml_lock);
	return code;
}

nvmlDevice_t mp_nvml_handle(unsigned index)
{
	assert(index < MP_NVML_MAX_DEVICES);
	return (nvmlDevice_t)(void *)&handles[index];
}

int mp_nvml_begin_device(nvmlDevice_t handle, unsigned *ret_index)
{
	uintptr_t at = (uintptr_t)handle - (uintptr_t)handles;
	unsigned count;
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	rc = mp_nvml_provider.count(&count);
	if (!rc && at >= count)
		rc = NVML_ERROR_INVALID_ARGUMENT;
	if (rc)
		return mp_nvml_end(rc);
	*ret_index = (unsigned)at;
	return NVML_SUCCESS;
}

int mp_nvml_refuse(void)
{
	int rc = mp_nvml_begin();

	return rc ? rc : mp_nvml_end(NVML_ERROR_NOT_SUPPORTED);
}

int mp_nvml_string(char *out, unsigned size, const char *text)
{
	size_t n = strlen(text) + 1;

	if (!out)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (n > size)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	memcpy(out, text, n);
	return NVML_SUCCESS;
}

/* ---- Opening and closing ---- */

static int init(void)
{
	int rc = NVML_SUCCESS;

	pthread_mutex_lock(&nvml_lock);
	if (!opens)
		rc = mp_nvml_provider.open();
	opens += !rc;
	pthread_mutex_unlock(&nvml_lock);
	return rc;
}

NVML(nvmlInit, void)
{
	return init();
}

NVML(nvmlInit_v2, void)
{
	return init();
}

/* Flags: 1 = no devices is fine, 2 = do not attach devices; both are so here anyway. */
NVML(nvmlInitWithFlags, unsigned flags)
{
	return flags > 3 ? NVML_ERROR_INVALID_ARGUMENT : init();
}

NVML(nvmlShutdown, void)
{
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	if (!--opens)
		mp_nvml_provider.close();
	return mp_nvml_end(NVML_SUCCESS);
}

MP_EXPORT const char *nvmlErrorString(nvmlReturn_t code);
const char *nvmlErrorString(nvmlReturn_t code)
{
	static const char *const text[] = {
		"no error", "the library is not open", "an argument is not valid",
		"not supported here", "no permission", "already open", "not found",
		"the buffer is too small", "not enough external power", "no driver or no lease",
		"timed out", "interrupt problem", "a library was not found",
		"a function was not found", "the device's inforom is damaged",
		"the device is lost", "the device needs a reset",
		"a call of the operating system failed", "library and driver do not fit together",
		"in use", "not enough memory", "no data", "not with virtual devices and ECC",
		"not enough resources", "no such frequency", "the argument has another version",
		"no longer offered", "not ready", "no such device", "not in this state",
	};

	return code >= 0 && code < (int)MP_ARRAY_LEN(text) ? text[code] : "unknown error";
}

/* ---- Versions ---- */

/* The driver series that first carried a CUDA version (CUDA Toolkit release notes). */
static int driver_series(int cuda)
{
	static const struct {
		int cuda, series;
	} rows[] = {{13010, 590}, {13000, 580}, {12090, 575}, {12080, 570}, {12060, 560},
		    {12050, 555}, {12040, 550}, {12030, 545}, {12020, 535}, {12010, 530},
		    {12000, 525}, {11080, 520}, {11070, 515}, {11060, 510}, {11050, 495},
		    {11040, 470}, {11000, 450}};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++)
		if (cuda >= rows[i].cuda)
			return rows[i].series;
	return 418;
}

NVML(nvmlSystemGetDriverVersion, char *version, unsigned length)
{
	char text[32];
	int cuda, rc = mp_nvml_begin();

	if (rc)
		return rc;
	rc = mp_nvml_provider.cuda_version(&cuda);
	if (rc)
		return mp_nvml_end(rc);
	snprintf(text, sizeof(text), "%d.00", driver_series(cuda));
	return mp_nvml_end(mp_nvml_string(version, length, text));
}

NVML(nvmlSystemGetNVMLVersion, char *version, unsigned length)
{
	char text[32];
	int cuda, rc = mp_nvml_begin();

	if (rc)
		return rc;
	rc = mp_nvml_provider.cuda_version(&cuda);
	if (rc)
		return mp_nvml_end(rc);
	snprintf(text, sizeof(text), "%d.%d.00", cuda / 1000, driver_series(cuda));
	return mp_nvml_end(mp_nvml_string(version, length, text));
}

static int cuda_version(int *version)
{
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	return mp_nvml_end(version ? mp_nvml_provider.cuda_version(version)
				   : NVML_ERROR_INVALID_ARGUMENT);
}

NVML(nvmlSystemGetCudaDriverVersion, int *version)
{
	return cuda_version(version);
}

NVML(nvmlSystemGetCudaDriverVersion_v2, int *version)
{
	return cuda_version(version);
}

NVML(nvmlSystemGetProcessName, unsigned pid, char *name, unsigned length)
{
	char path[32], text[256];
	size_t n;
	FILE *f;
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	if (!name || !length)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
	f = fopen(path, "re");
	if (!f)
		return mp_nvml_end(NVML_ERROR_NOT_FOUND);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0; /* the first argument ends with a NUL of its own */
	snprintf(name, length, "%s", text);
	return mp_nvml_end(NVML_SUCCESS);
}

/* ---- Finding devices ---- */

static int device_count(unsigned *count)
{
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	return mp_nvml_end(count ? mp_nvml_provider.count(count) : NVML_ERROR_INVALID_ARGUMENT);
}

NVML(nvmlDeviceGetCount, unsigned *count)
{
	return device_count(count);
}

NVML(nvmlDeviceGetCount_v2, unsigned *count)
{
	return device_count(count);
}

NVML(nvmlUnitGetCount, unsigned *count)
{
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	if (!count)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	*count = 0;
	return mp_nvml_end(NVML_SUCCESS);
}

static int by_index(unsigned index, nvmlDevice_t *device)
{
	unsigned count;
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	rc = mp_nvml_provider.count(&count);
	if (!rc && (!device || index >= count))
		rc = NVML_ERROR_INVALID_ARGUMENT;
	if (!rc)
		*device = mp_nvml_handle(index);
	return mp_nvml_end(rc);
}

NVML(nvmlDeviceGetHandleByIndex, unsigned index, nvmlDevice_t *device)
{
	return by_index(index, device);
}

NVML(nvmlDeviceGetHandleByIndex_v2, unsigned index, nvmlDevice_t *device)
{
	return by_index(index, device);
}

/* The first device for which `same` holds. */
static int find(bool (*same)(const struct mp_nvml_device *d, const void *key), const void *key,
		nvmlDevice_t *device)
{
	struct mp_nvml_device d;
	unsigned count, i;
	int rc = mp_nvml_begin();

	if (rc)
		return rc;
	if (!key || !device)
		return mp_nvml_end(NVML_ERROR_INVALID_ARGUMENT);
	rc = mp_nvml_provider.count(&count);
	for (i = 0; !rc && i < count; i++) {
		rc = mp_nvml_provider.device(i, &d);
		if (!rc && same(&d, key)) {
			*device = mp_nvml_handle(i);
			return mp_nvml_end(NVML_SUCCESS);
		}
	}
	return mp_nvml_end(rc ? rc : NVML_ERROR_NOT_FOUND);
}

static bool same_bytes(const struct mp_nvml_device *d, const void *key)
{
	return !memcmp(d->uuid, key, sizeof(d->uuid));
}

/* "GPU-" and 32 digits with dashes; a prefix does not name a device here. */
static bool uuid_parse(const char *text, uint8_t out[16])
{
	int n = 0;

	if (!text || strncmp(text, "GPU-", 4))
		return false;
	for (text += 4; *text; text++) {
		int c = tolower((unsigned char)*text);

		if (c == '-')
			continue;
		if (n == 32 || !isxdigit(c))
			return false;
		c = c <= '9' ? c - '0' : c - 'a' + 10;
		out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] | c : c << 4);
		n++;
	}
	return n == 32;
}

NVML(nvmlDeviceGetHandleByUUID, const char *uuid, nvmlDevice_t *device)
{
	uint8_t bytes[16];
	int rc;

	if (uuid && uuid_parse(uuid, bytes))
		return find(same_bytes, bytes, device);
	rc = mp_nvml_begin();
	if (rc)
		return rc;
	return mp_nvml_end(uuid ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT);
}

NVML(nvmlDeviceGetHandleByUUIDV, const struct nvml_uuid *uuid, nvmlDevice_t *device)
{
	if (uuid && uuid->type == 1)
		return nvmlDeviceGetHandleByUUID(uuid->value.str, device);
	return find(same_bytes, uuid && uuid->type == 2 ? uuid->value.bytes : NULL, device);
}

static bool same_pci(const struct mp_nvml_device *d, const void *key)
{
	const uint32_t *pci = key;

	return d->domain == pci[0] && d->bus == pci[1] && d->device == pci[2];
}

static int by_pci(const char *text, nvmlDevice_t *device)
{
	uint32_t pci[3] = {0, 0, 0};
	unsigned function = 0;

	/* domain:bus:device.function, the domain and the function may be missing. */
	if (text && sscanf(text, "%x:%x:%x.%u", &pci[0], &pci[1], &pci[2], &function) < 3) {
		pci[0] = 0;
		if (sscanf(text, "%x:%x.%u", &pci[1], &pci[2], &function) < 2)
			text = NULL;
	}
	return find(same_pci, text ? pci : NULL, device);
}

NVML(nvmlDeviceGetHandleByPciBusId, const char *bus, nvmlDevice_t *device)
{
	return by_pci(bus, device);
}

NVML(nvmlDeviceGetHandleByPciBusId_v2, const char *bus, nvmlDevice_t *device)
{
	return by_pci(bus, device);
}
