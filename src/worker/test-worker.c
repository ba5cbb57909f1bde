/* SPDX-License-Identifier: Apache-2.0 */
/* A real worker process over a real driver library, spoken to by hand. */
#include "worker/test-client.h"

#include "base/account.h"

static struct tc c;

#define TOTAL  (400u << 20)
#define MEMORY "419430400"

static void pattern(uint8_t *p, size_t n, unsigned seed)
{
	uint32_t x = seed * 2654435761u + 1;
	size_t i;

	for (i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = (uint8_t)(x >> 24);
	}
}

MP_TEST(welcome_and_bye)
{
	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	MP_CHECK(c.snap.devices >= 1);
	MP_CHECK_EQ(c.dev.memory, TOTAL);
	MP_CHECK(c.dev.credit > 0 && c.dev.credit <= 64u << 20);
	MP_CHECK(c.window != 0);
	MP_CHECK_EQ(c.window_size, 1ull << 36);
	MP_CHECK(c.snap.attributes > 100);
	TC_REC(&c, bye, NULL, 0);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK_EQ(tc_close(&c), 0);
}

MP_TEST(another_release_is_refused)
{
	static char text[sizeof(c.body) + 1];

	tc_skew = 1;
	MP_CHECK(tc_open(&c, MEMORY) != 0);
	tc_skew = 0;
	MP_CHECK_EQ(c.f.kind, MP_FRAME_GOODBYE);
	memcpy(text, c.body, c.f.kind == MP_FRAME_GOODBYE ? c.f.length : 0);
	MP_CHECK(strstr(text, "different sets of calls") != NULL);
	MP_CHECK(strstr(text, "install the same release") != NULL);
	MP_CHECK(tc_close(&c) > 0);
}

MP_TEST(lost_client)
{
	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	tc_context(&c, 1);
	MP_CHECK_EQ(tc_sync(&c, 0), 0);
	MP_CHECK_EQ(tc_close(&c), 5);
}

MP_TEST(memory_and_copies)
{
	static const size_t sizes[] = {1, 64, 4097, 65536, 65537, 1 << 20, (5 << 20) + 13};
	size_t n = 8 << 20, i;
	uint8_t *a = malloc(n), *b = malloc(n);
	uint64_t t;

	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	tc_context(&c, 1);
	TC_REC(&c, map, NULL, .address = c.window, .size = n, .device = 0);
	/* fresh memory is zero */
	memset(b, 1, n);
	TC_CALL(&c, cuMemcpyDtoH_v2, &t, .srcDevice = c.window, .ByteCount = n);
	tc_sink(&c, t, b, n);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_REPLY, t), 0);
	MP_CHECK_EQ(c.sink[0].got, n);
	for (i = 0; i < n && !b[i]; i++)
		;
	MP_CHECK_EQ(i, n);
	for (i = 0; i < MP_ARRAY_LEN(sizes); i++) {
		size_t k = sizes[i];
		unsigned async;

		for (async = 0; async < 2; async++) {
			pattern(a, k, (unsigned)i * 2 + async);
			memset(b, 0, k);
			if (k <= MP_INLINE_MAX) {
				if (async)
					TC_CALL(&c, cuMemcpyHtoDAsync_v2, NULL, .dstDevice = c.window + 512,
						.ByteCount = k, .srcHost = a, .srcHost_len = k);
				else
					TC_CALL(&c, cuMemcpyHtoD_v2, NULL, .dstDevice = c.window + 512, .ByteCount = k,
						.srcHost = a, .srcHost_len = k);
			} else {
				TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &t, .dstDevice = c.window + 512,
					  .ByteCount = k);
				MP_CHECK(!tc_flush(&c));
				MP_CHECK(!tc_send_bulk(&c, t, a, k));
			}
			if (async) {
				TC_CALL(&c, cuMemcpyDtoHAsync_v2, &t, .srcDevice = c.window + 512, .ByteCount = k);
				tc_sink(&c, t, b, k);
				MP_CHECK_EQ(tc_done(&c, t), 0);
			} else {
				TC_CALL(&c, cuMemcpyDtoH_v2, &t, .srcDevice = c.window + 512, .ByteCount = k);
				tc_sink(&c, t, b, k);
				MP_CHECK_EQ(tc_wait(&c, MP_FRAME_REPLY, t), 0);
			}
			MP_CHECK(!memcmp(a, b, k));
		}
	}
	MP_CHECK_EQ(c.errors, 0);
	TC_REC(&c, unmap, NULL, .address = c.window, .size = n, .device = 0);
	TC_REC(&c, mem_info, &t, .device = 0);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_REPLY, t), 0);
	TC_REC(&c, bye, NULL, 0);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK_EQ(tc_close(&c), 0);
	free(a);
	free(b);
}

static uint64_t free_memory(void)
{
	struct mp_rep_mem_info r = {0};
	uint64_t t;

	TC_REC(&c, mem_info, &t, .device = 0);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_REPLY, t), 0);
	MP_CHECK(!mp_get_rep_mem_info(c.body, c.f.length, &r));
	MP_CHECK_EQ(r.total, TOTAL);
	return r.free;
}

MP_TEST(limit_is_exact)
{
	uint64_t have, t;

	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	MP_CHECK_EQ(free_memory(), TOTAL);
	tc_context(&c, 1);
	have = free_memory();
	MP_CHECK(have <= TOTAL);
	have -= have % (2u << 20);
	TC_REC(&c, map, &t, .address = c.window, .size = have + (2u << 20), .device = 0);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_ERROR, t), 2);
	TC_REC(&c, map, NULL, .address = c.window, .size = have, .device = 0);
	MP_CHECK(free_memory() < 2u << 20);
	MP_CHECK_EQ(c.errors, 1);
	TC_REC(&c, unmap, NULL, .address = c.window, .size = have, .device = 0);
	MP_CHECK_EQ(tc_sync(&c, 0), 0);
	MP_CHECK(free_memory() >= have);
	MP_CHECK_EQ(c.errors, 1);
	tc_close(&c);
}

MP_TEST(streams_events_and_order)
{
	size_t big = 24 << 20;
	uint8_t *a = malloc(big), small[256], back[256];
	uint64_t t, copy, mark1;

	pattern(a, big, 3);
	pattern(small, sizeof(small), 4);
	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	tc_context(&c, 1);
	TC_REC(&c, map, NULL, .address = c.window, .size = 32 << 20, .device = 0);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 1, .Flags = 1);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 2, .Flags = 1);
	TC_CALL(&c, cuEventCreate, NULL, .phEvent = 1, .Flags = 0);
	/* a large copy whose bytes are not here yet holds its stream, and no other */
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &copy, .dstDevice = c.window, .ByteCount = big, .hStream = 1);
	TC_CALL(&c, cuEventRecord, NULL, .hEvent = 1, .hStream = 1);
	TC_REC(&c, mark, &mark1, .stream = 1);
	TC_CALL(&c, cuMemcpyHtoDAsync_v2, NULL, .dstDevice = c.window + (30 << 20), .ByteCount = sizeof(small),
		.srcHost = small, .srcHost_len = sizeof(small), .hStream = 2);
	MP_CHECK_EQ(tc_sync(&c, 2), 0);
	TC_CALL(&c, cuMemcpyDtoHAsync_v2, &t, .srcDevice = c.window + (30 << 20), .ByteCount = sizeof(back),
		.hStream = 2);
	tc_sink(&c, t, back, sizeof(back));
	MP_CHECK_EQ(tc_done(&c, t), 0);
	MP_CHECK(!memcmp(small, back, sizeof(back)));
	/* a stream that waits for the event of the parked record waits, too */
	TC_CALL(&c, cuStreamWaitEvent, NULL, .hStream = 2, .hEvent = 1);
	TC_CALL(&c, cuMemcpyDtoHAsync_v2, &t, .srcDevice = c.window + big - 256, .ByteCount = 256, .hStream = 2);
	tc_sink(&c, t, back, 256);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK(tc_frame(&c, 50) || c.f.kind == MP_FRAME_ACK);
	MP_CHECK(!tc_send_bulk(&c, copy, a, big));
	MP_CHECK_EQ(tc_done(&c, mark1), 0);
	MP_CHECK_EQ(tc_done(&c, t), 0);
	MP_CHECK(!memcmp(a + big - 256, back, 256));
	/* the event is told */
	TC_REC(&c, watch, &t, .event = 1);
	MP_CHECK_EQ(tc_done(&c, t), 0);
	MP_CHECK_EQ(c.errors, 0);
	/* of an event or stream that could not be made it is told, too: nobody waits for ever */
	TC_CALL(&c, cuEventCreate, NULL, .phEvent = 2, .Flags = 0xffff);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 3, .Flags = 0xffff);
	TC_REC(&c, watch, &t, .event = 2);
	MP_CHECK_EQ(tc_done(&c, t), 400);
	TC_REC(&c, mark, &t, .stream = 3);
	MP_CHECK_EQ(tc_done(&c, t), 400);
	MP_CHECK_EQ(c.errors, 2); /* of the creations */
	c.errors = 0;
	TC_CALL(&c, cuStreamDestroy_v2, NULL, .hStream = 1);
	TC_CALL(&c, cuStreamDestroy_v2, NULL, .hStream = 2);
	TC_CALL(&c, cuEventDestroy_v2, NULL, .hEvent = 1);
	TC_REC(&c, context_end, NULL, .context = 1);
	c.ctx = 0;
	MP_CHECK_EQ(free_memory(), TOTAL - (32u << 20));
	MP_CHECK_EQ(c.errors, 0);
	tc_close(&c);
	free(a);
}

static void tc_host_done(struct tc *t, uint64_t serial)
{
	struct mp_msg_host_done m = {.serial = serial};
	uint8_t buf[64] __attribute__((aligned(8)));
	struct mp_record r = {.length = (uint32_t)(sizeof(r) + mp_size_host_done(&m)), .call = MP_REC_host_done};
	struct mp_frame f = {.length = r.length, .kind = MP_FRAME_CONTROL};

	memcpy(buf, &r, sizeof(r));
	mp_put_host_done(buf + sizeof(r), &m);
	MP_CHECK(send(t->lane[0], &f, sizeof(f), MSG_MORE) == sizeof(f));
	MP_CHECK(send(t->lane[0], buf, r.length, 0) == (ssize_t)r.length);
}

MP_TEST(host_function)
{
	uint64_t t, mark;

	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	tc_context(&c, 1);
	TC_REC(&c, host_call, &t, .stream = 0, .serial = 77);
	TC_REC(&c, mark, &mark, .stream = 0);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_CALL, t), 77);
	MP_CHECK_EQ(c.dones, 0);
	tc_host_done(&c, 77);
	MP_CHECK_EQ(tc_done(&c, mark), 0);
	tc_close(&c);
}

static uint64_t credit_of(struct tc *t, uint64_t bytes, struct tc *sibling)
{
	struct mp_msg_credit back = {.bytes = 0 - sibling->dev.credit};
	uint8_t buf[64] __attribute__((aligned(8)));
	struct mp_record r = {.length = (uint32_t)(sizeof(r) + mp_size_credit(&back)), .call = MP_REC_credit};
	struct mp_frame f = {.length = r.length, .kind = MP_FRAME_CONTROL};
	struct mp_rep_credit rep = {0};
	uint64_t ticket;

	TC_REC(t, credit, &ticket, .device = 0, .bytes = bytes);
	MP_CHECK(!tc_flush(t));
	if (!tc_frame(sibling, 1000) && sibling->f.kind == MP_FRAME_RECALL) {
		memcpy(buf, &r, sizeof(r));
		mp_put_credit(buf + sizeof(r), &back);
		MP_CHECK(send(sibling->lane[0], &f, sizeof(f), MSG_MORE) == sizeof(f));
		MP_CHECK(send(sibling->lane[0], buf, r.length, 0) == (ssize_t)r.length);
		sibling->dev.credit = 0;
	}
	MP_CHECK_EQ(tc_wait(t, MP_FRAME_REPLY, ticket), 0);
	MP_CHECK(!mp_get_rep_credit(t->body, t->f.length, &rep));
	return rep.granted;
}

/* A lease's memory is full only when nobody holds any of it unused. */
MP_TEST(unused_credit_is_recalled)
{
	static struct tc sibling;
	uint64_t limit[4] = {TOTAL, TOTAL, TOTAL, TOTAL}, left;
	struct mp_account *account;
	int fd;

	MP_CHECK(!mp_account_create(NULL, 4, limit, &account, &fd));
	tc_account = fcntl(fd, F_DUPFD, 32); /* stays open in the workers, out of the way of their own */
	if (tc_open(&sibling, MEMORY) || tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	MP_CHECK(sibling.dev.credit >= 4u << 20);
	left = mp_account_free(account, 0);
	MP_CHECK_EQ(credit_of(&c, left + (2u << 20), &sibling), left + (2u << 20));
	MP_CHECK_EQ(sibling.dev.credit, 0);
	/* Now there is none, and that is said at once. */
	left = mp_account_free(account, 0);
	MP_CHECK_EQ(credit_of(&c, left + (2u << 20), &sibling), 0);
	MP_CHECK_EQ(mp_account_free(account, 0), left);
	tc_close(&c);
	tc_close(&sibling);
	close(tc_account);
	tc_account = -1;
	close(fd);
	mp_account_close(account);
}

/* Pinned memory is short, and what holds it waits for what lacks it. */
MP_TEST(uploads_do_not_wait_for_each_others_memory)
{
	size_t most = 40 << 20, big = 4 << 20;
	uint8_t *a = malloc(most), *b = malloc(big), back[256];
	uint64_t first, second, other, call, done, t;

	pattern(a, most, 5);
	pattern(b, big, 6);
	if (tc_open(&c, MEMORY)) {
		MP_CHECK(!"no worker");
		return;
	}
	tc_context(&c, 1);
	TC_REC(&c, map, NULL, .address = c.window, .size = 64 << 20, .device = 0);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 1, .Flags = 1);
	TC_CALL(&c, cuStreamCreate, NULL, .phStream = 2, .Flags = 1);
	/* The bytes of a parked copy come before those of the copy that it is parked behind. */
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &first, .dstDevice = c.window, .ByteCount = big, .hStream = 1);
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &second, .dstDevice = c.window + big, .ByteCount = most,
		  .hStream = 1);
	MP_CHECK(!tc_flush(&c));
	usleep(200000); /* all pinned memory is there */
	MP_CHECK(!tc_send_bulk(&c, second, a, most));
	MP_CHECK(!tc_send_bulk(&c, first, b, big));
	MP_CHECK_EQ(tc_sync(&c, 1), 0);
	TC_CALL(&c, cuMemcpyDtoHAsync_v2, &t, .srcDevice = c.window + big + most - 256, .ByteCount = 256, .hStream = 1);
	tc_sink(&c, t, back, 256);
	MP_CHECK_EQ(tc_done(&c, t), 0);
	MP_CHECK(!memcmp(a + most - 256, back, 256));
	/* A stream is held; a large copy in it must leave memory for that of another stream. */
	TC_REC(&c, host_call, &call, .stream = 1, .serial = 78);
	MP_CHECK_EQ(tc_wait(&c, MP_FRAME_CALL, call), 78);
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &first, .dstDevice = c.window + big, .ByteCount = most, .hStream = 1);
	TC_REC(&c, mark, &done, .stream = 1);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK(!tc_send_bulk(&c, first, a, most));
	TC_CALL_F(&c, cuMemcpyHtoDAsync_v2, MP_REC_BULK, &other, .dstDevice = c.window, .ByteCount = big, .hStream = 2);
	MP_CHECK(!tc_flush(&c));
	MP_CHECK(!tc_send_bulk(&c, other, b, big));
	MP_CHECK_EQ(tc_sync(&c, 2), 0);
	tc_host_done(&c, 78);
	MP_CHECK_EQ(tc_done(&c, done), 0);
	tc_close(&c);
	free(a);
	free(b);
}

/* What ends a session: each in a session of its own. */
static int after_lie(void (*lie)(void))
{
	if (tc_open(&c, MEMORY))
		return -1;
	tc_context(&c, 1);
	if (tc_sync(&c, 0))
		return -1;
	lie();
	(void)tc_flush(&c);
	while (!tc_frame(&c, 5000))
		;
	return tc_close(&c);
}

static void lie_number(void) { tc_add(&c, 0xfff0, 0, 8, NULL); }
static void lie_stream(void) { TC_REC(&c, mark, NULL, .stream = 9); }
static void lie_event(void) { TC_CALL(&c, cuEventRecord, NULL, .hEvent = 5); }
static void lie_context(void) { c.ctx = 3; TC_REC(&c, mark, NULL, .stream = 0); }
static void lie_twice(void)
{
	TC_CALL(&c, cuEventCreate, NULL, .phEvent = 1);
	TC_CALL(&c, cuEventCreate, NULL, .phEvent = 1);
}
static void lie_window(void) { TC_REC(&c, map, NULL, .address = c.window - (2 << 20), .size = 2 << 20); }
static void lie_overlap(void)
{
	TC_REC(&c, map, NULL, .address = c.window, .size = 4 << 20);
	TC_REC(&c, map, NULL, .address = c.window + (2 << 20), .size = 4 << 20);
}
static void lie_unmap(void) { TC_REC(&c, unmap, NULL, .address = c.window, .size = 2 << 20); }
static void lie_device(void) { TC_REC(&c, map, NULL, .address = c.window, .size = 2 << 20, .device = 77); }
static void lie_short(void) { tc_add(&c, MP_REC_map, 0, 8, NULL); }
static void lie_id(void) { TC_CALL(&c, cuEventCreate, NULL, .phEvent = 0xfffffff0u); }

MP_TEST(lies_end_the_session)
{
	static void (*const lies[])(void) = {lie_number, lie_stream, lie_event, lie_context, lie_twice, lie_window,
					     lie_overlap, lie_unmap, lie_device, lie_short, lie_id};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(lies); i++)
		MP_CHECK_EQ(after_lie(lies[i]), 4);
}

MP_TEST_MAIN()
