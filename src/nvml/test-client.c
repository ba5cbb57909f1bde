/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's NVML against a server played by a thread: what it says, how often it asks, and
 * what it makes of wrong answers.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/check.h"
#include "base/test.h"
#include "client/env.h"
#include "mp-call.h"
#include "mp-msg.h"
#include "net/net.h"
#include "nvml/abi.h"
#include "wire/frame.h"

nvmlReturn_t nvmlInit_v2(void), nvmlShutdown(void), nvmlDeviceGetCount_v2(unsigned *);
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t, char *, unsigned);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, struct nvml_memory *);
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *);
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t, int *, int *);

#define DEVICES 3

enum mood { HONEST, SHORT_SNAPSHOT, MANY_DEVICES, GOODBYE, SILENT, WRONG_TICKET };
static _Atomic int mood, sessions;
static int listener;

static void frame_send(int fd, int kind, uint64_t ticket, uint64_t extra, const void *p, size_t n)
{
	struct mp_frame h = {.length = (uint32_t)n, .kind = (uint16_t)kind, .ticket = ticket, .extra = extra};

	mp_net_send(fd, &h, sizeof(h));
	if (n)
		mp_net_send(fd, p, n);
}

static void welcome(int fd)
{
	struct {
		struct mp_snapshot head;
		struct {
			struct mp_snapshot_device d;
			int32_t attribute[40];
			uint64_t limit[1];
		} device[DEVICES];
	} s = {.head = {.driver_version = 12080, .devices = DEVICES, .attributes = 40, .limits = 1}};
	int i;

	for (i = 0; i < DEVICES; i++) {
		struct mp_snapshot_device *d = &s.device[i].d;

		snprintf(d->name, sizeof(d->name), "Far GPU %d", i);
		d->memory = 1000u << i;
		d->major = 8;
		d->minor = 6;
	}
	if (mood == MANY_DEVICES)
		s.head.devices = 1u << 30;
	frame_send(fd, MP_FRAME_WELCOME, 0, 0, &s, mood == SHORT_SNAPSHOT ? sizeof(s) - 8 : sizeof(s));
}

static void answer(int fd)
{
	struct mp_frame h;
	uint8_t buf[1024];
	size_t at = 0;

	if (mp_net_recv(fd, &h, sizeof(h)) || h.kind != MP_FRAME_RECORDS || h.length > sizeof(buf) ||
	    mp_net_recv(fd, buf, h.length))
		return;
	while (at < h.length) {
		const struct mp_record *r = (const struct mp_record *)(const void *)(buf + at);
		struct mp_rep_mem_info reply;
		struct mp_msg_mem_info m;
		uint8_t out[64];

		if (r->call != MP_REC_mem_info || !(r->flags & MP_REC_REPLY) ||
		    mp_get_mem_info((const uint8_t *)(r + 1), r->length - sizeof(*r), &m))
			abort();
		memset(&reply, 0, sizeof(reply));
		reply.total = 1000u << m.device;
		reply.free = 1000u - (unsigned)m.device;
		mp_put_rep_mem_info(out, &reply);
		frame_send(fd, MP_FRAME_ACK, 0, 0, NULL, 0); /* to be passed over */
		frame_send(fd, MP_FRAME_REPLY, h.ticket + at + (mood == WRONG_TICKET ? 4096 : 0), 0, out,
			   mp_size_rep_mem_info(&reply));
		at += r->length;
	}
}

static void *serve(void *arg)
{
	for (;;) {
		int fd = mp_net_accept(listener);
		struct mp_hello h;

		if (fd < 0)
			return NULL;
		sessions++;
		if (mp_net_recv(fd, &h, sizeof(h)) || memcmp(h.magic, MP_HELLO_MAGIC, 8) ||
		    h.lane != MP_LANE_COMMAND || h.window_size || h.secret[0] != 0x5a || h.secret[31] != 0xa5)
			abort();
		if (mood == GOODBYE) {
			frame_send(fd, MP_FRAME_GOODBYE, 0, 5, "no more", 7);
		} else if (mood != SILENT) {
			welcome(fd);
			answer(fd);
		}
		close(fd);
	}
}

static void start(void)
{
	static bool started;
	struct mp_addr any, bound;
	struct mp_fail f;
	pthread_t t;
	char where[80], list[200];

	if (started)
		return;
	started = true;
	MP_CHECK(!mp_addr_parse("127.0.0.1:0", &any, &f));
	listener = mp_net_listen(&any, 8, &bound, &f);
	MP_CHECK(listener >= 0);
	mp_addr_text(&bound, where, sizeof(where));
	/* The first address takes nobody. */
	snprintf(list, sizeof(list), "unix:/nonexistent/motorpool,%s", where);
	setenv(MP_ENV_DATA, list, 1);
	setenv(MP_ENV_SECRET, "5a000000000000000000000000000000000000000000000000000000000000A5", 1);
	pthread_create(&t, NULL, serve, NULL);
}

MP_TEST(no_lease)
{
	unsetenv(MP_ENV_DATA);
	MP_CHECK_EQ(nvmlInit_v2(), NVML_ERROR_DRIVER_NOT_LOADED);
	setenv(MP_ENV_DATA, "127.0.0.1:1", 1);
	setenv(MP_ENV_SECRET, "5a", 1);
	MP_CHECK_EQ(nvmlInit_v2(), NVML_ERROR_DRIVER_NOT_LOADED);
}

MP_TEST(answers)
{
	struct nvml_memory m;
	nvmlDevice_t d;
	unsigned n = 0;
	int v, major, minor;
	char name[96];

	start();
	setenv(MP_ENV_DEVICES, "3", 1);
	MP_CHECK_EQ(nvmlInit_v2(), 0);
	MP_CHECK_EQ(nvmlDeviceGetCount_v2(&n), 0);
	MP_CHECK_EQ(n, DEVICES);
	MP_CHECK_EQ(sessions, 0); /* a platform check costs no session */
	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(2, &d), 0);
	MP_CHECK_EQ(nvmlDeviceGetName(d, name, sizeof(name)), 0);
	MP_CHECK_STR(name, "Far GPU 2");
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(d, &m), 0);
	MP_CHECK(m.total == 4000 && m.free == 998 && m.used == 3002);
	MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(0, &d), 0);
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(d, &m), 0);
	MP_CHECK(m.total == 1000 && m.used == 0);
	MP_CHECK_EQ(nvmlSystemGetCudaDriverVersion(&v), 0);
	MP_CHECK_EQ(v, 12080);
	MP_CHECK_EQ(nvmlDeviceGetCudaComputeCapability(d, &major, &minor), 0);
	MP_CHECK(major == 8 && minor == 6);
	MP_CHECK_EQ(sessions, 1); /* all of that was one second's worth */
	usleep(1050000);
	MP_CHECK_EQ(nvmlDeviceGetName(d, name, sizeof(name)), 0);
	MP_CHECK_EQ(sessions, 1); /* names do not age */
	MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(d, &m), 0);
	MP_CHECK_EQ(sessions, 2);
	MP_CHECK_EQ(nvmlShutdown(), 0);
}

MP_TEST(count_without_environment)
{
	unsigned n = 0;

	start();
	unsetenv(MP_ENV_DEVICES);
	MP_CHECK_EQ(nvmlInit_v2(), 0);
	MP_CHECK_EQ(nvmlDeviceGetCount_v2(&n), 0);
	MP_CHECK_EQ(n, DEVICES);
	MP_CHECK_EQ(nvmlShutdown(), 0);
}

MP_TEST(wrong_answers)
{
	static const int moods[] = {SHORT_SNAPSHOT, MANY_DEVICES, GOODBYE, SILENT, WRONG_TICKET};
	struct nvml_memory m;
	nvmlDevice_t d;
	size_t i;

	start();
	setenv(MP_ENV_DEVICES, "3", 1);
	for (i = 0; i < MP_ARRAY_LEN(moods); i++) {
		mood = moods[i];
		MP_CHECK_EQ(nvmlInit_v2(), 0);
		MP_CHECK_EQ(nvmlDeviceGetHandleByIndex_v2(0, &d), 0);
		MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(d, &m), NVML_ERROR_GPU_IS_LOST);
		mood = HONEST;
		MP_CHECK_EQ(nvmlDeviceGetMemoryInfo(d, &m), 0);
		MP_CHECK_EQ(nvmlShutdown(), 0);
	}
}

MP_TEST_MAIN()
