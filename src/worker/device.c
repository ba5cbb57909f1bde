/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of the lease: finding them by UUID, asking what they are, the snapshot for the client, the probe. */
#include "worker/inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/code.h"
#include "base/buf.h"
#include "drv/drv.h"
#include "worker/worker.h"

/* How many attributes and limits the snapshot has. */
#define ATTRIBUTES CU_DEVICE_ATTRIBUTE_MAX
#define LIMITS	   CU_LIMIT_MAX

static void uuid_text(const CUuuid *u, char out[41])
{
	const uint8_t *b = (const uint8_t *)u->bytes;

	snprintf(out, 41, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static CUresult device_uuid(struct mp_worker *w, CUdevice d, CUuuid *ret)
{
	if (w->drv.cuDeviceGetUuid_v2)
		return w->drv.cuDeviceGetUuid_v2(ret, d);
	return w->drv.cuDeviceGetUuid ? w->drv.cuDeviceGetUuid(ret, d) : CUDA_ERROR_NOT_SUPPORTED;
}

/* -1 when the driver refuses the question. */
static int ask(struct mp_worker *w, CUdevice d, unsigned attribute)
{
	int v = -1;

	if (w->drv.cuDeviceGetAttribute(&v, (CUdevice_attribute)attribute, d))
		return -1;
	return v;
}

static void device_ask(struct mp_worker *w, struct device *d)
{
	CUmemAllocationProp prop = {
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = d->handle},
	};
	size_t granule = 0, total = 0;
	int mib = ask(w, d->handle, MP_ATTR_CONTEXT_MEMORY);

	d->fresh_is_zero = ask(w, d->handle, MP_ATTR_FRESH_IS_ZERO) == 1;
	d->context_memory = mib < 0 ? UINT64_MAX : (uint64_t)mib << 20;
	if (!w->drv.cuMemGetAllocationGranularity ||
	    w->drv.cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM) || !granule ||
	    (granule & (granule - 1)))
		granule = 2u << 20;
	d->granule = granule;
	if (!w->drv.cuDeviceTotalMem_v2(&total, d->handle))
		d->memory = total;
}

/* Opens the driver and calls cuInit; an exit status. */
int mp_driver_open(struct mp_worker *w, const char *path, struct mp_fail *f)
{
	CUresult e;

	if (mp_drv_open(path, &w->drv, f))
		return MP_WORKER_EXIT_DRIVER;
	e = w->drv.cuInit(0);
	if (e) {
		mp_fail_set(f, MP_WORKER_EXIT_DRIVER, "the driver %s does not start: cuInit answers error %d", path,
			    e);
		return MP_WORKER_EXIT_DRIVER;
	}
	return 0;
}

static int device_by_uuid(struct mp_worker *w, const char *text, size_t n, CUdevice *ret, CUuuid *ret_uuid)
{
	int count = 0, i;

	if (w->drv.cuDeviceGetCount(&count))
		return -1;
	for (i = 0; i < count; i++) {
		char have[41];

		if (w->drv.cuDeviceGet(ret, i) || device_uuid(w, *ret, ret_uuid))
			continue;
		uuid_text(ret_uuid, have);
		if (strlen(have) == n && !strncasecmp(have, text, n))
			return 0;
	}
	return -1;
}

static int take_memory(struct mp_worker *w, const char *list, struct mp_fail *f)
{
	unsigned i;

	for (i = 0; i < w->devices && list; i++) {
		char *end;
		uint64_t v = strtoull(list, &end, 10);

		if (end == list || (*end && *end != ',') || !v)
			return mp_fail_set(f, MP_WORKER_EXIT_USAGE, "--memory takes bytes, comma-separated: %s",
					   list);
		if (v < w->device[i].memory)
			w->device[i].memory = v;
		if (*end == ',')
			list = end + 1; /* a single number is for each device */
	}
	return 0;
}

/* Fills w->device; an exit status. */
int mp_devices_take(struct mp_worker *w, const char *uuids, const char *memory, struct mp_fail *f)
{
	int count = 0, i;

	if (!uuids) {
		if (w->drv.cuDeviceGetCount(&count) || count < 1) {
			mp_fail_set(f, MP_WORKER_EXIT_DRIVER, "the driver has no device");
			return MP_WORKER_EXIT_DRIVER;
		}
		for (i = 0; i < count && i < MP_WORKER_DEVICES; i++) {
			struct device *d = &w->device[w->devices++];

			if (w->drv.cuDeviceGet(&d->handle, i) || device_uuid(w, d->handle, &d->uuid))
				w->devices--;
		}
	}
	while (uuids && *uuids) {
		size_t n = strcspn(uuids, ",");
		struct device *d = &w->device[w->devices];

		if (w->devices == MP_WORKER_DEVICES || device_by_uuid(w, uuids, n, &d->handle, &d->uuid)) {
			mp_fail_set(f, MP_WORKER_EXIT_DRIVER, "the driver has no device %.*s", (int)n, uuids);
			return MP_WORKER_EXIT_DRIVER;
		}
		w->devices++;
		uuids += n + (uuids[n] == ',');
	}
	for (i = 0; i < (int)w->devices; i++)
		device_ask(w, &w->device[i]);
	return take_memory(w, memory, f) ? MP_WORKER_EXIT_USAGE : 0;
}

/* ---- Snapshot ---- */

/* Limits need a context, for a moment; devices of one kind share the answer. */
static void ask_limits(struct mp_worker *w, struct device *d, uint64_t limit[LIMITS])
{
	CUcontext ctx;
	unsigned i;

	memset(limit, 0, LIMITS * sizeof(limit[0]));
	if (w->drv.cuDevicePrimaryCtxRetain(&ctx, d->handle))
		return;
	if (!w->drv.cuCtxSetCurrent(ctx))
		for (i = 0; i < LIMITS; i++) {
			size_t v = 0;

			if (!w->drv.cuCtxGetLimit(&v, (CUlimit)i))
				limit[i] = v;
		}
	(void)w->drv.cuCtxSetCurrent(NULL);
	(void)w->drv.cuDevicePrimaryCtxRelease_v2(d->handle);
}

static void grant_credit(struct mp_worker *w, unsigned dev)
{
	uint64_t bytes = mp_account_free(w->account, dev) / 16;

	if (bytes > 64u << 20)
		bytes = 64u << 20;
	bytes -= bytes % (2u << 20);
	if (bytes && !mp_account_take(w, dev, bytes))
		mp_credit_set(w, dev, bytes);
}

/* The payload of WELCOME; -1 without memory. */
int mp_snapshot(struct mp_worker *w, struct mp_buf *b)
{
	struct mp_snapshot s = {
		.devices = w->devices,
		.window_base = w->window_base,
		.window_size = w->window_size,
		.attributes = ATTRIBUTES,
		.limits = LIMITS,
	};
	uint64_t limit[LIMITS];
	char name[96] = "";
	int version = 0;
	unsigned i, a;

	(void)w->drv.cuDriverGetVersion(&version);
	s.driver_version = (uint32_t)version;
	(void)mp_buf_add(b, &s, sizeof(s));
	for (i = 0; i < w->devices; i++) {
		struct device *d = &w->device[i];
		struct mp_snapshot_device sd = {.memory = d->memory};
		int32_t attribute[ATTRIBUTES + 1] = {0};

		if (w->drv.cuDeviceGetName(sd.name, sizeof(sd.name), d->handle))
			sd.name[0] = 0;
		sd.name[sizeof(sd.name) - 1] = 0;
		memcpy(sd.uuid, d->uuid.bytes, sizeof(sd.uuid));
		for (a = 1; a < ATTRIBUTES; a++) {
			int v = 0;

			if (!w->drv.cuDeviceGetAttribute(&v, (CUdevice_attribute)a, d->handle))
				attribute[a] = v;
		}
		grant_credit(w, i);
		sd.credit = d->credit;
		sd.major = (uint32_t)attribute[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
		sd.minor = (uint32_t)attribute[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
		sd.pci_domain = attribute[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID];
		sd.pci_bus = attribute[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID];
		sd.pci_device = attribute[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID];
		sd.runs_cubins = ask(w, d->handle, MP_ATTR_RUNS_CUBINS) != 0;
		if (!i || strcmp(name, sd.name))
			ask_limits(w, d, limit);
		memcpy(name, sd.name, sizeof(name));
		(void)mp_buf_add(b, &sd, sizeof(sd));
		(void)mp_buf_add(b, attribute, mp_align_up(ATTRIBUTES * sizeof(attribute[0]), 8));
		(void)mp_buf_add(b, limit, sizeof(limit));
	}
	return b->failed ? -1 : 0;
}

/* ---- Probe ---- */

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++)
		if (*s == '"' || *s == '\\' || (unsigned char)*s < 0x20)
			printf("\\u%04x", (unsigned char)*s);
		else
			putchar(*s);
	putchar('"');
}

static uint64_t probe_context(struct mp_worker *w, const struct device *d)
{
	size_t total = 0, rest = 0;
	uint64_t cost = 0;
	CUcontext ctx;

	if (d->context_memory != UINT64_MAX)
		return d->context_memory;
	/* Nobody else uses the device when it is probed, as far as this can tell. */
	if (w->drv.cuDevicePrimaryCtxRetain(&ctx, d->handle))
		return 0;
	if (!w->drv.cuCtxSetCurrent(ctx) && !w->drv.cuMemGetInfo_v2(&rest, &total) && rest < total)
		cost = total - rest;
	(void)w->drv.cuCtxSetCurrent(NULL);
	(void)w->drv.cuDevicePrimaryCtxRelease_v2(d->handle);
	return cost;
}

/* What the driver's devices run: "ptx" alone, or "machine" code, too. */
static const char *probe_code(struct mp_worker *w)
{
	static const CUuuid id = MP_CODE_TABLE_ID;
	const void *table = NULL;

	if (!w->drv.cuGetExportTable || w->drv.cuGetExportTable(&table, &id) || !table)
		return "machine";
	return "ptx";
}

int mp_worker_probe(const char *driver, struct mp_fail *f)
{
	struct mp_worker *w = calloc(1, sizeof(*w));
	int version = 0, r;
	unsigned i;

	if (!w)
		return MP_WORKER_EXIT_DRIVER;
	r = mp_driver_open(w, driver, f);
	if (!r)
		r = mp_devices_take(w, NULL, NULL, f);
	if (r) {
		free(w);
		return r;
	}
	(void)w->drv.cuDriverGetVersion(&version);
	printf("{\"driver\": ");
	json_string(driver);
	printf(", \"driver_version\": \"\", \"cuda_version\": %d, \"devices\": [", version);
	for (i = 0; i < w->devices; i++) {
		struct device *d = &w->device[i];
		char name[96] = "", uuid[41];

		(void)w->drv.cuDeviceGetName(name, sizeof(name), d->handle);
		uuid_text(&d->uuid, uuid);
		printf("%s{\"index\": %u, \"uuid\": \"%s\", \"name\": ", i ? ", " : "", i, uuid);
		json_string(name);
		printf(", \"memory\": %" PRIu64 ", \"capability\": \"%d.%d\", \"sm_count\": %d, "
		       "\"context_memory\": %" PRIu64 ", \"pci\": \"%04x:%02x:%02x.0\", \"code\": \"%s\"}",
		       d->memory, ask(w, d->handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
		       ask(w, d->handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
		       ask(w, d->handle, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), probe_context(w, d),
		       (unsigned)ask(w, d->handle, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID) & 0xffff,
		       (unsigned)ask(w, d->handle, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) & 0xff,
		       (unsigned)ask(w, d->handle, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID) & 0xff, probe_code(w));
	}
	printf("]}\n");
	free(w);
	return fflush(stdout) ? MP_WORKER_EXIT_DRIVER : 0;
}

/* What is wrong with it, or NULL. */
static const char *look_at(struct mp_worker *w, const char *uuid, size_t *ret_taken)
{
	struct mp_fail f = {0};
	size_t total = 0, rest = 0;
	const char *why = NULL;
	CUcontext ctx;
	CUresult r;

	w->devices = 0;
	if (mp_devices_take(w, uuid, NULL, &f))
		return "the driver does not have it any more";
	r = w->drv.cuDevicePrimaryCtxRetain(&ctx, w->device[0].handle);
	if (r == CUDA_ERROR_OUT_OF_MEMORY) {
		/* Not even a context fits: it is used, and works. */
		*ret_taken = w->device[0].memory;
		return NULL;
	}
	if (r)
		return "no context can be made on it";
	r = w->drv.cuCtxSetCurrent(ctx);
	r = r ? r : w->drv.cuMemGetInfo_v2(&rest, &total);
	if (r)
		why = "it does not tell its memory";
	*ret_taken = total - rest;
	(void)w->drv.cuCtxSetCurrent(NULL);
	if (w->drv.cuDevicePrimaryCtxRelease_v2(w->device[0].handle) && !why)
		why = "a context cannot be ended on it";
	return why;
}

int mp_worker_look(const char *driver, const char *uuids, struct mp_fail *f)
{
	struct mp_worker *w = calloc(1, sizeof(*w));
	const char *why, *at, *sep = "";
	char uuid[64];
	size_t taken, n;
	int r = w ? mp_driver_open(w, driver, f) : MP_WORKER_EXIT_DRIVER;

	if (r) {
		free(w);
		return r;
	}
	printf("{\"devices\": [");
	for (at = uuids; *at; at += n + (at[n] == ',')) {
		n = strcspn(at, ",");
		snprintf(uuid, sizeof(uuid), "%.*s", (int)n, at);
		taken = 0;
		why = look_at(w, uuid, &taken);
		printf("%s{\"uuid\": ", sep);
		json_string(uuid);
		printf(", \"taken\": %zu, \"why\": ", taken);
		json_string(why ? why : "");
		putchar('}');
		sep = ", ";
	}
	printf("]}\n");
	free(w);
	return fflush(stdout) ? MP_WORKER_EXIT_DRIVER : 0;
}
