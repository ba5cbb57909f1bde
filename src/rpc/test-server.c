/* SPDX-License-Identifier: Apache-2.0 */
/* The feed under every cut and every lie; the outlet under a slow and a lost peer. */
#include "rpc/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"

struct stream {
	uint8_t bytes[4096] __attribute__((aligned(8)));
	size_t n;
	uint64_t ticket;
};

static void add_frame(struct stream *s, unsigned kind, const uint32_t *lengths, unsigned n)
{
	struct mp_frame f = {.kind = (uint16_t)kind};
	unsigned i;

	for (i = 0; i < n; i++)
		f.length += lengths[i];
	f.ticket = kind == MP_FRAME_RECORDS ? s->ticket : 0;
	memcpy(s->bytes + s->n, &f, sizeof(f));
	s->n += sizeof(f);
	for (i = 0; i < n; i++) {
		struct mp_record r = {.length = lengths[i], .call = (uint16_t)(i + 1), .thread = 7};

		memset(s->bytes + s->n, (int)i, lengths[i]);
		memcpy(s->bytes + s->n, &r, sizeof(r));
		s->n += lengths[i];
		if (kind == MP_FRAME_RECORDS)
			s->ticket += lengths[i];
	}
}

static void feed_some(struct mp_feed *f, const uint8_t *p, size_t n)
{
	while (n) {
		size_t room;
		uint8_t *to = mp_feed_room(f, &room);

		if (room > n)
			room = n;
		memcpy(to, p, room);
		mp_feed_filled(f, room);
		p += room;
		n -= room;
	}
}

MP_TEST(feed_cut_anywhere)
{
	static const uint32_t a[] = {16, 24, 128}, b[] = {40}, c[] = {16};
	struct stream s = {.ticket = MP_TICKET_FIRST};
	size_t step;

	add_frame(&s, MP_FRAME_RECORDS, a, 3);
	add_frame(&s, MP_FRAME_CONTROL, b, 1);
	add_frame(&s, MP_FRAME_RECORDS, c, 1);
	for (step = 1; step <= s.n; step++) {
		struct mp_feed f;
		struct mp_feed_item it;
		size_t at, records = 0, controls = 0, bytes = 0;
		enum mp_feed_what what = MP_FEED_MORE;

		MP_CHECK(!mp_feed_init(&f));
		for (at = 0; at < s.n; at += step) {
			feed_some(&f, s.bytes + at, s.n - at < step ? s.n - at : step);
			while ((what = mp_feed_next(&f, &it)) == MP_FEED_RECORD || what == MP_FEED_CONTROL) {
				MP_CHECK(!((uintptr_t)it.record & 7));
				if (what == MP_FEED_RECORD) {
					MP_CHECK_EQ(it.ticket, MP_TICKET_FIRST + bytes);
					bytes += it.record->length;
					records++;
				} else {
					MP_CHECK_EQ(it.record->length, 40);
					controls++;
				}
			}
			MP_CHECK_EQ(what, MP_FEED_MORE);
		}
		MP_CHECK_EQ(records, 4);
		MP_CHECK_EQ(controls, 1);
		MP_CHECK_EQ(mp_feed_ticket(&f), s.ticket);
		mp_feed_fini(&f);
	}
}

static enum mp_feed_what last_of(const uint8_t *p, size_t n)
{
	struct mp_feed f;
	struct mp_feed_item it;
	enum mp_feed_what what;

	MP_CHECK(!mp_feed_init(&f));
	feed_some(&f, p, n);
	do
		what = mp_feed_next(&f, &it);
	while (what == MP_FEED_RECORD || what == MP_FEED_CONTROL);
	MP_CHECK(what != MP_FEED_BAD || (f.reason && mp_feed_next(&f, &it) == MP_FEED_BAD));
	mp_feed_fini(&f);
	return what;
}

MP_TEST(feed_lies)
{
	static const uint32_t one[] = {32};
	struct stream good = {.ticket = MP_TICKET_FIRST}, s;
	struct mp_frame *f = (struct mp_frame *)s.bytes;
	struct mp_record *r = (struct mp_record *)(s.bytes + sizeof(*f));

	add_frame(&good, MP_FRAME_RECORDS, one, 1);
	MP_CHECK_EQ(last_of(good.bytes, good.n), MP_FEED_MORE);
#define LIE(expr)                                                                                  \
	do {                                                                                       \
		s = good;                                                                          \
		expr;                                                                              \
		MP_CHECK_EQ(last_of(s.bytes, s.n), MP_FEED_BAD);                                   \
	} while (0)
	LIE(f->length = MP_FRAME_MAX + 8);
	LIE(f->length = 0);
	LIE(f->length = 31);
	LIE(f->kind = 0);
	LIE(f->kind = MP_FRAME_BULK);
	LIE(f->kind = MP_FRAME_REPLY);
	LIE(f->flags = 1);
	LIE(f->ack = 1);
	LIE(f->extra = 1);
	LIE(f->ticket = 0);
	LIE(f->ticket += 8);
	LIE(r->length = 8);
	LIE(r->length = 0);
	LIE(r->length = 31);
	LIE(r->length = 40);
	LIE(r->length = 0xfffffff8u);
	LIE(f->kind = MP_FRAME_CONTROL); /* with a ticket */
	LIE((f->kind = MP_FRAME_CONTROL, f->ticket = 0, r->length = 16));
#undef LIE
}

MP_TEST(hello_is_checked)
{
	struct mp_hello h = {.magic = "MOTORPL", .major = MP_PROTO_MAJOR, .calls = 0xfeed};
	struct mp_fail f = {0};

	MP_CHECK(mp_hello_check(&h, 0xfeed, &f));
	memcpy(h.magic, MP_HELLO_MAGIC, sizeof(h.magic));
	MP_CHECK(!mp_hello_check(&h, 0xfeed, &f));
	h.minor = 9;
	MP_CHECK(!mp_hello_check(&h, 0xfeed, &f));
	/* Another set of calls is refused in a sentence that names both. */
	MP_CHECK(mp_hello_check(&h, 0xbeef, &f));
	MP_CHECK(strstr(f.text, "000000000000feed and 000000000000beef") != NULL);
	MP_CHECK(strstr(f.text, "same release") != NULL);
	h.lane = 2;
	MP_CHECK(mp_hello_check(&h, 0xfeed, &f));
	h.lane = 1;
	h.major++;
	MP_CHECK(mp_hello_check(&h, 0xfeed, &f));
	MP_CHECK(strstr(f.text, "speaks version 2.9 of the protocol and this server 1.0") != NULL);
}

struct sender {
	struct mp_outlet *o;
	unsigned who, frames;
};

static void *send_many(void *arg)
{
	struct sender *s = arg;
	uint8_t body[1000];
	unsigned i;

	memset(body, (int)s->who, sizeof(body));
	for (i = 0; i < s->frames; i++) {
		struct mp_frame f = {.kind = MP_FRAME_DATA, .ticket = i, .extra = s->who};

		if (i % 16 == 3)
			MP_CHECK(mp_outlet_push(s->o, f, body, sizeof(body)) > 0);
		else
			MP_CHECK(!mp_outlet_send(s->o, f, body, sizeof(body)));
	}
	return NULL;
}

MP_TEST(outlet_keeps_each_callers_order)
{
	enum { SENDERS = 3, FRAMES = 800 };
	struct sender s[SENDERS];
	pthread_t t[SENDERS];
	uint64_t next[SENDERS] = {0};
	int fd[2], i;

	MP_CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	s[0].o = mp_outlet_new(fd[0], 64u << 20);
	mp_outlet_ack(s[0].o, 4711);
	for (i = 0; i < SENDERS; i++) {
		s[i] = (struct sender){s[0].o, (unsigned)i, FRAMES};
		pthread_create(&t[i], NULL, send_many, &s[i]);
	}
	usleep(20000); /* the socket fills up, and the writer has to take over */
	for (i = 0; i < SENDERS * FRAMES; i++) {
		struct mp_frame f;
		uint8_t body[1000];

		if (mp_recv_all(fd[1], &f, sizeof(f)) || mp_recv_all(fd[1], body, sizeof(body))) {
			MP_CHECK(!"the lane broke");
			break;
		}
		MP_CHECK_EQ(f.length, sizeof(body));
		MP_CHECK_EQ(f.ack, 4711);
		MP_CHECK(f.extra < SENDERS);
		MP_CHECK_EQ(f.ticket, next[f.extra]);
		next[f.extra]++;
		MP_CHECK_EQ(body[999], f.extra);
	}
	for (i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	MP_CHECK_EQ(mp_outlet_count(s[0].o), SENDERS * FRAMES);
	mp_outlet_free(s[0].o, 1000);
	close(fd[0]);
	close(fd[1]);
}

MP_TEST(outlet_lost_and_full)
{
	struct mp_frame f = {.kind = MP_FRAME_PRINT};
	static uint8_t body[60000];
	struct mp_outlet *o;
	uint64_t start;
	int fd[2], i;

	MP_CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	o = mp_outlet_new(fd[0], 1u << 20);
	for (i = 0; i < 1000 && !mp_outlet_send(o, f, body, sizeof(body)); i++)
		;
	MP_CHECK(i > 5 && i < 100); /* nobody reads: the ceiling ends it, nothing blocks */
	MP_CHECK(mp_outlet_lost(o));
	start = mp_now_ns();
	mp_outlet_free(o, 50);
	MP_CHECK(mp_now_ns() - start < 2000000000u);
	close(fd[0]);
	close(fd[1]);

	MP_CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	o = mp_outlet_new(fd[0], 1u << 20);
	close(fd[1]);
	for (i = 0; i < 10 && !mp_outlet_send(o, f, body, 10); i++)
		usleep(1000);
	MP_CHECK(i < 10);
	MP_CHECK_EQ(mp_outlet_push(o, f, body, 10), -1);
	mp_outlet_free(o, 50);
	close(fd[0]);
}

MP_TEST_MAIN()
