/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client knows of its lease: asked from the server, in a short session of its own.
 *
 * The program's CUDA session is not touched and none is begun: NVML must be usable in a
 * process that later forks, and monitors ask in loops.  A session without a window of
 * addresses is opened, its snapshot tells the devices (all of the lease, in the order
 * of the server; CUDA_VISIBLE_DEVICES is not for NVML), one question per device tells the
 * free memory, and it is closed.  Answers are kept for a second.
 *
 * The number of devices alone comes from the environment: platform checks ask no more.
 * Serialised by the entries' lock; questions may block for a round trip.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "abi/cuda.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "client/env.h"
#include "mp-call.h"
#include "mp-msg.h"
#include "net/net.h"
#include "nvml/abi.h"
#include "nvml/nvml.h"
#include "wire/frame.h"

#define TIMEOUT_MS   5000
#define FRESH_NS     1000000000u
#define ATTRIBUTES   CU_DEVICE_ATTRIBUTE_MAX

static unsigned ndevices;
static bool asked; /* devices below are known */
static int driver;
static struct mp_nvml_device devices[MP_NVML_MAX_DEVICES];
static struct mp_nvml_usage usages[MP_NVML_MAX_DEVICES];
static uint64_t asked_ns;

static int secret_parse(const char *hex, uint8_t out[MP_SECRET_BYTES])
{
	size_t i;

	if (!hex || strlen(hex) != 2 * MP_SECRET_BYTES)
		return -1;
	for (i = 0; i < 2 * MP_SECRET_BYTES; i++) {
		int c = tolower((unsigned char)hex[i]);

		if (!isxdigit(c))
			return -1;
		c = c <= '9' ? c - '0' : c - 'a' + 10;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | c : c << 4);
	}
	return 0;
}

static void device_take(unsigned i, const struct mp_snapshot_device *s, const int32_t *attribute,
			uint32_t nattributes)
{
	struct mp_nvml_device *d = &devices[i];
	int32_t a[ATTRIBUTES] = {0};

	memcpy(a, attribute, 4u * (nattributes < ATTRIBUTES ? nattributes : ATTRIBUTES));
	memset(d, 0, sizeof(*d));
	memcpy(d->name, s->name, sizeof(d->name) - 1);
	memcpy(d->uuid, s->uuid, sizeof(d->uuid));
	d->domain = (uint32_t)s->pci_domain;
	d->bus = (uint32_t)s->pci_bus;
	d->device = (uint32_t)s->pci_device;
	d->pci_id = (uint32_t)a[CU_DEVICE_ATTRIBUTE_GPU_PCI_DEVICE_ID];
	d->pci_subsystem = (uint32_t)a[CU_DEVICE_ATTRIBUTE_GPU_PCI_SUBSYSTEM_ID];
	d->major = (int)s->major;
	d->minor = (int)s->minor;
	d->core_mhz = a[CU_DEVICE_ATTRIBUTE_CLOCK_RATE] / 1000;
	d->memory_mhz = a[CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE] / 1000;
	d->bus_width = a[CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH];
	usages[i] = (struct mp_nvml_usage){
		.total = s->memory,
		.busy_percent = MP_NVML_UNKNOWN,
		.celsius = MP_NVML_UNKNOWN,
		.milliwatts = MP_NVML_UNKNOWN,
		.milliwatts_limit = MP_NVML_UNKNOWN,
	};
}

/* 0, or -1 when the snapshot is not of the size that it states. */
static int snapshot_take(const uint8_t *data, size_t size)
{
	const struct mp_snapshot *snap = (const struct mp_snapshot *)(const void *)data;
	const uint8_t *p = data + sizeof(*snap);
	uint64_t each;
	unsigned i;

	if (size < sizeof(*snap) || snap->devices > MP_NVML_MAX_DEVICES ||
	    snap->attributes > 1 << 16 || snap->limits > 1 << 16)
		return -1;
	each = sizeof(struct mp_snapshot_device) + mp_align_up(snap->attributes * 4u, 8) +
	       snap->limits * 8u;
	if (size < sizeof(*snap) + snap->devices * each)
		return -1;
	for (i = 0; i < snap->devices; i++, p += each)
		device_take(i, (const struct mp_snapshot_device *)p,
			    (const int32_t *)(p + sizeof(struct mp_snapshot_device)),
			    snap->attributes);
	ndevices = snap->devices;
	driver = (int)snap->driver_version;
	return 0;
}

/* ---- The exchange: hello, welcome, one question per device, all blocking ---- */

/* A connection with the hello said, or -1 with a sentence. */
static int dial(const char *list, const uint8_t secret[MP_SECRET_BYTES], struct mp_fail *f)
{
	struct mp_hello h = {.magic = MP_HELLO_MAGIC, .major = MP_PROTO_MAJOR, .minor = MP_PROTO_MINOR,
			     .lane = MP_LANE_COMMAND, .pid = (uint32_t)getpid(),
			     .uid = (uint32_t)getuid(), .calls = MP_API_HASH, .comm = "nvml"};
	char copy[1024], *rest = copy, *one;
	struct mp_addr addr;
	int fd;

	memcpy(h.secret, secret, sizeof(h.secret));
	if (getrandom(h.session, sizeof(h.session), 0) != sizeof(h.session))
		return mp_fail_set(f, 1, "no random bytes: %s", strerror(errno));
	mp_fail_set(f, 1, "no address of a server is given");
	snprintf(copy, sizeof(copy), "%s", list);
	while ((one = strsep(&rest, ","))) {
		if (!*one || mp_addr_parse(one, &addr, f))
			continue;
		fd = mp_net_connect(&addr, TIMEOUT_MS, f);
		if (fd < 0)
			continue;
		if (!mp_net_send(fd, &h, sizeof(h)))
			return fd;
		mp_fail_set(f, 1, "%s: %s", one, strerror(errno));
		close(fd);
	}
	return -1;
}

/* The next frame; its payload is malloc'd. -1 when there is none in time. */
static int frame_read(int fd, struct mp_frame *h, uint8_t **own_data)
{
	*own_data = NULL;
	if (mp_net_recv_for(fd, h, sizeof(*h), TIMEOUT_MS) || h->length > MP_FRAME_MAX)
		return -1;
	*own_data = malloc(h->length ? h->length : 1);
	if (!*own_data || (h->length && mp_net_recv_for(fd, *own_data, h->length, TIMEOUT_MS))) {
		free(*own_data);
		return -1;
	}
	return 0;
}

/* Frames until one of `kind`; others are not for a session that does nothing. */
static int frame_await(int fd, int kind, struct mp_frame *h, uint8_t **own_data, struct mp_fail *f)
{
	while (!frame_read(fd, h, own_data)) {
		if (h->kind == kind)
			return 0;
		if (h->kind == MP_FRAME_GOODBYE)
			mp_fail_set(f, 1, "the server ended the session: %.*s", (int)h->length,
				    (const char *)*own_data);
		free(*own_data);
		if (h->kind == MP_FRAME_GOODBYE)
			return -1;
	}
	return mp_fail_set(f, 1, "the server did not answer");
}

/* All questions in one frame: one round trip. The bytes of one question, or -1. */
static int memory_ask(int fd)
{
	struct mp_frame h = {.kind = MP_FRAME_RECORDS, .ticket = MP_TICKET_FIRST};
	struct mp_msg_mem_info m = {.device = 0};
	uint32_t each = (uint32_t)mp_align_up(sizeof(struct mp_record) + mp_size_mem_info(&m), 8);
	_Alignas(8) uint8_t records[MP_NVML_MAX_DEVICES * 64] = {0};

	assert(each <= 64 && ndevices <= MP_NVML_MAX_DEVICES);
	for (; (unsigned)m.device < ndevices; m.device++) {
		struct mp_record *r = (struct mp_record *)(void *)(records + h.length);

		r->length = each;
		r->call = MP_REC_mem_info;
		r->flags = MP_REC_REPLY;
		r->thread = 1;
		mp_put_mem_info((uint8_t *)(r + 1), &m);
		h.length += each;
	}
	return mp_net_send(fd, &h, sizeof(h)) || mp_net_send(fd, records, h.length) ? -1 : (int)each;
}

static int memory_answers(int fd, uint32_t each, struct mp_fail *f)
{
	unsigned left = ndevices;

	while (left) {
		struct mp_rep_mem_info reply;
		struct mp_frame h;
		uint8_t *data;
		uint64_t i;
		int bad;

		if (frame_await(fd, MP_FRAME_REPLY, &h, &data, f))
			return -1;
		i = (h.ticket - MP_TICKET_FIRST) / each;
		bad = h.ticket < MP_TICKET_FIRST || i >= ndevices || (uint32_t)h.extra ||
		      mp_get_rep_mem_info(data, h.length, &reply);
		free(data);
		if (bad)
			return mp_fail_set(f, 1, "the server's answer about memory is none");
		usages[i].total = reply.total;
		usages[i].used = reply.free < reply.total ? reply.total - reply.free : 0;
		left--;
	}
	return 0;
}

/* The session ends in order: a server that lost a client would write it down. */
static void farewell(int fd, uint64_t ticket)
{
	struct mp_msg_bye m = {0};
	uint32_t n = (uint32_t)mp_align_up(sizeof(struct mp_record) + mp_size_bye(&m), 8);
	struct mp_frame h = {.kind = MP_FRAME_RECORDS, .ticket = ticket, .length = n};
	_Alignas(8) uint8_t record[64] = {0};
	struct mp_record *r = (struct mp_record *)(void *)record;

	assert(n <= sizeof(record));
	r->length = n;
	r->call = MP_REC_bye;
	r->thread = 1;
	mp_put_bye((uint8_t *)(r + 1), &m);
	if (!mp_net_send(fd, &h, sizeof(h)))
		(void)mp_net_send(fd, record, n);
}

static int exchange(const char *list, const uint8_t secret[MP_SECRET_BYTES], struct mp_fail *f)
{
	struct mp_frame h;
	uint8_t *data;
	int fd = dial(list, secret, f), rc, each = 0;

	if (fd < 0)
		return -1;
	rc = frame_await(fd, MP_FRAME_WELCOME, &h, &data, f);
	if (!rc) {
		rc = snapshot_take(data, h.length);
		if (rc)
			mp_fail_set(f, 1, "the server's description of its devices is none");
		free(data);
	}
	if (!rc && ndevices) {
		each = memory_ask(fd);
		rc = each < 0 ? mp_fail_set(f, 1, "the server is gone")
			      : memory_answers(fd, (uint32_t)each, f);
	}
	if (!rc)
		farewell(fd, MP_TICKET_FIRST + (uint64_t)each * ndevices);
	close(fd);
	return rc;
}

/* Ask the server anew unless that was less than a second ago. */
static int refresh(bool fresh)
{
	const char *list = getenv(MP_ENV_DATA);
	uint8_t secret[MP_SECRET_BYTES];
	struct mp_fail f = {0};

	if (asked && (!fresh || mp_now_ns() - asked_ns < FRESH_NS))
		return NVML_SUCCESS;
	if (!list || secret_parse(getenv(MP_ENV_SECRET), secret))
		return NVML_ERROR_DRIVER_NOT_LOADED;
	if (exchange(list, secret, &f)) {
		mp_log(MP_LOG_ERROR, "nvml", "no-server", "what=\"%s\"", f.text);
		return NVML_ERROR_GPU_IS_LOST;
	}
	asked = true;
	asked_ns = mp_now_ns();
	return NVML_SUCCESS;
}

/* ---- The provider ---- */

static int client_open(void)
{
	const char *data = getenv(MP_ENV_DATA), *n = getenv(MP_ENV_DEVICES);
	uint8_t secret[MP_SECRET_BYTES];
	char *end;
	long v;

	mp_log_open(MP_LOG_NONE);
	if (!data || !*data || secret_parse(getenv(MP_ENV_SECRET), secret)) {
		mp_log(MP_LOG_ERROR, "nvml", "no-lease",
		       "what=\"no lease of a GPU: start the program with motorpool run\"");
		return NVML_ERROR_DRIVER_NOT_LOADED;
	}
	ndevices = 0;
	asked = false;
	v = n ? strtol(n, &end, 10) : 0;
	if (!n || *end || v < 1 || v > MP_NVML_MAX_DEVICES)
		return refresh(true);
	ndevices = (unsigned)v;
	return NVML_SUCCESS;
}

static void client_close(void)
{
	asked = false;
}

static int client_count(unsigned *ret)
{
	*ret = ndevices;
	return NVML_SUCCESS;
}

static int client_device(unsigned index, struct mp_nvml_device *d)
{
	int rc = refresh(false);

	if (rc)
		return rc;
	if (index >= ndevices)
		return NVML_ERROR_GPU_IS_LOST;
	*d = devices[index];
	return NVML_SUCCESS;
}

static int client_usage(unsigned index, struct mp_nvml_usage *u)
{
	int rc = refresh(true);

	if (rc)
		return rc;
	if (index >= ndevices)
		return NVML_ERROR_GPU_IS_LOST;
	*u = usages[index];
	return NVML_SUCCESS;
}

/* The server knows no process of this host; that list is empty rather than wrong. */
static int client_process(unsigned index, unsigned i, struct mp_nvml_process *p)
{
	return NVML_ERROR_NOT_FOUND;
}

static int client_cuda_version(int *ret)
{
	int rc = refresh(false);

	*ret = driver < CUDA_VERSION ? driver : CUDA_VERSION;
	return rc;
}

static int client_peer(unsigned a, unsigned b, bool *ret)
{
	return NVML_ERROR_NOT_SUPPORTED;
}

const struct mp_nvml_provider mp_nvml_provider = {
	.open = client_open,
	.close = client_close,
	.count = client_count,
	.device = client_device,
	.usage = client_usage,
	.process = client_process,
	.cuda_version = client_cuda_version,
	.peer = client_peer,
};
