/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client half against a small server in a thread: order of records of
 * several threads through a ring that wraps, answers, downloads on both lanes,
 * completions that name bulk data, and a server that vanishes.
 */
#include "rpc/rpc.h"

#include <pthread.h>
#include <unistd.h>

#include "base/test.h"
#include "net/net.h"
#include "rpc/server.h"

enum { ONE_WAY = 100, ASK = 101, SMALL = 102, LARGE = 103, DIE = 104, MARK = 105, EARLY = 106 };

struct body {
	uint64_t serial;
	uint8_t pad[240];
};

struct fake {
	int listen_fd, lane[2];
	pthread_t thread;
	uint64_t seen[9];	/* last serial of each client thread */
	_Atomic uint64_t records;
	uint64_t uploaded;
	int out_of_order;
	uint32_t bulks;
	uint8_t data[300000];
};

static void reply(struct fake *s, uint16_t kind, uint64_t ticket, uint64_t extra, uint64_t ack,
		  const void *p, size_t n)
{
	struct mp_frame f = {.kind = kind, .length = (uint32_t)n, .ticket = ticket, .ack = ack,
			     .extra = extra};

	mp_net_send(s->lane[0], &f, sizeof(f));
	mp_net_send(s->lane[0], p, n);
}

static void bulk(struct fake *s, uint64_t ticket, size_t n)
{
	struct mp_frame f = {.kind = MP_FRAME_BULK, .length = (uint32_t)n, .ticket = ticket};

	mp_net_send(s->lane[1], &f, sizeof(f));
	mp_net_send(s->lane[1], s->data, n);
}

/* false: the server is to vanish. */
static bool serve(struct fake *s, const struct mp_feed_item *it)
{
	const struct mp_record *r = it->record;
	const struct body *b = (const struct body *)(r + 1);
	uint64_t next = it->ticket + r->length;
	struct mp_done d = {.kind = MP_DONE_STREAM, .id = 7, .ticket = it->ticket};

	s->records++;
	if (r->length >= sizeof(*r) + 8 && r->thread < 9) {
		s->out_of_order += b->serial != s->seen[r->thread] + 1;
		s->seen[r->thread] = b->serial;
	}
	switch (r->call) {
	case ASK:
		reply(s, MP_FRAME_REPLY, it->ticket, 0, next, &b->serial, 8);
		break;
	case SMALL:
		reply(s, MP_FRAME_DATA, it->ticket, 0, next, s->data, 1000);
		reply(s, MP_FRAME_REPLY, it->ticket, 0, next, NULL, 0);
		break;
	case LARGE: /* the completion overtakes its data on purpose: the count makes up for it */
		s->bulks++;
		reply(s, MP_FRAME_REPLY, it->ticket, (uint64_t)s->bulks << 32, next, NULL, 0);
		usleep(5000);
		bulk(s, it->ticket, sizeof(s->data));
		break;
	case EARLY:
		reply(s, MP_FRAME_REPLY, it->ticket, 0, next, NULL, 0);
		break;
	case MARK:
		reply(s, MP_FRAME_DONE, 0, 1, next, &d, sizeof(d));
		break;
	case DIE:
		return false;
	default:
		if (!(s->records & 255))
			reply(s, MP_FRAME_ACK, 0, 0, next, NULL, 0);
	}
	return true;
}

static void *fake_run(void *arg)
{
	struct fake *s = arg;
	struct mp_snapshot snap = {.driver_version = 13000, .window_base = 0x1000, .window_size = 1};
	struct mp_feed feed;
	struct mp_hello h;
	bool on = true;
	int i;

	for (i = 0; i < 2; i++) {
		int fd = mp_net_accept(s->listen_fd);

		if (mp_net_recv(fd, &h, sizeof(h)) || memcmp(h.magic, MP_HELLO_MAGIC, 8))
			return NULL;
		s->lane[h.lane & 1] = fd;
	}
	reply(s, MP_FRAME_WELCOME, 0, 0, 0, &snap, sizeof(snap));
	if (mp_feed_init(&feed))
		return NULL;
	while (on) {
		struct mp_feed_item it;
		size_t room;
		uint8_t *p = mp_feed_room(&feed, &room);
		ssize_t n = read(s->lane[0], p, room);

		if (n <= 0)
			break;
		mp_feed_filled(&feed, (size_t)n);
		while (on && mp_feed_next(&feed, &it) == MP_FEED_RECORD)
			on = serve(s, &it);
	}
	mp_feed_fini(&feed);
	close(s->lane[0]);
	close(s->lane[1]);
	return NULL;
}

static _Atomic uint64_t marked;
static _Atomic int lost_told;

static void on_done(void *arg, const struct mp_done *d)
{
	atomic_store(&marked, d->ticket);
}

static void on_lost(void *arg)
{
	atomic_fetch_add(&lost_told, 1);
}

static const struct mp_rpc_ops ops = {.done = on_done, .lost = on_lost};

/* Sessions live as long as their process; what finds leaks must see that they are held. */
static struct mp_rpc *held[16];
static unsigned n_held;

static struct mp_rpc *session(struct fake *s)
{
	struct mp_rpc_config c = {.ops = &ops, .timeout_ms = 2000};
	struct mp_addr any, bound;
	struct mp_snapshot *snap;
	struct mp_rpc *r;
	struct mp_fail f;
	char text[160];
	size_t i, n;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < sizeof(s->data); i++)
		s->data[i] = (uint8_t)(i * 31 + i / 256);
	if (mp_addr_parse("127.0.0.1:0", &any, &f))
		return NULL;
	s->listen_fd = mp_net_listen(&any, 4, &bound, &f);
	mp_addr_text(&bound, text, sizeof(text));
	pthread_create(&s->thread, NULL, fake_run, s);
	c.data = text;
	r = mp_rpc_open(&c, &snap, &n, &f);
	if (!r) {
		printf("# %s\n", f.text);
		return NULL;
	}
	MP_CHECK_EQ(snap->driver_version, 13000);
	free(snap);
	assert(n_held < sizeof(held) / sizeof(held[0]));
	held[n_held++] = r;
	return r;
}

static void session_end(struct fake *s, struct mp_rpc *r)
{
	mp_rpc_close(r, 1000);
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
}

static uint64_t put(struct mp_rpc *r, uint16_t call, uint32_t thread, uint64_t serial, size_t n,
		    struct mp_answer *a, const struct mp_shape *down)
{
	uint64_t ticket;
	struct mp_record *rec = mp_rpc_reserve(r, n, &ticket);

	if (!rec)
		return 0;
	rec->call = call;
	rec->flags = a ? MP_REC_REPLY : 0;
	rec->thread = thread;
	((struct body *)(rec + 1))->serial = serial;
	if (a)
		mp_rpc_expect(r, a, ticket);
	if (down)
		mp_rpc_download(r, ticket, down, !a);
	mp_rpc_commit(r, rec, n, ticket);
	return ticket;
}

struct writer {
	struct mp_rpc *r;
	uint32_t thread;
};

enum { RECORDS = 60000, EVERY = 5000 };

static void *write_many(void *arg)
{
	struct writer *w = arg;
	uint64_t i;

	for (i = 1; i <= RECORDS; i++) {
		struct mp_answer a;

		if (i % EVERY) {
			put(w->r, ONE_WAY, w->thread, i, 16 + 8 + 8 * (i % 30), NULL, NULL);
			continue;
		}
		put(w->r, ASK, w->thread, i, 24, &a, NULL);
		if (mp_rpc_await(w->r, &a) || a.size != 8 || *(uint64_t *)a.own_data != i)
			return (void *)1;
		free(a.own_data);
	}
	return NULL;
}

MP_TEST(records_of_four_threads_keep_their_order)
{
	static struct fake s;
	struct mp_rpc *r = session(&s);
	struct writer w[4];
	pthread_t t[4];
	void *bad;
	int i;

	MP_CHECK(r);
	for (i = 0; i < 4; i++) {
		w[i] = (struct writer){r, (uint32_t)i + 1};
		pthread_create(&t[i], NULL, write_many, &w[i]);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		MP_CHECK(!bad);
	}
	MP_CHECK(atomic_load(&r->head) > MP_RING_SIZE); /* the ring did wrap */
	session_end(&s, r);
	MP_CHECK_EQ(s.out_of_order, 0);
	MP_CHECK_EQ(s.records, 4 * RECORDS);
}

MP_TEST(a_lone_record_is_sent_at_once_and_a_forgotten_one_soon)
{
	static struct fake s;
	struct mp_rpc *r = session(&s);
	int i;

	usleep(20000);
	put(r, ONE_WAY, 1, 1, 24, NULL, NULL);
	MP_CHECK_EQ(atomic_load(&r->sent), 24); /* by this thread, before commit returned */
	for (i = 2; i < 5; i++)
		put(r, ONE_WAY, 1, (uint64_t)i, 24, NULL, NULL);
	for (i = 0; i < 1000 && s.records < 4; i++)
		usleep(1000);
	MP_CHECK_EQ(s.records, 4);
	session_end(&s, r);
}

MP_TEST(downloads)
{
	static struct fake s;
	static uint8_t small[1000], large[300000], shaped[300 * 1024];
	struct mp_rpc *r = session(&s);
	struct mp_shape to_small = {small, sizeof(small)}, to_large = {large, sizeof(large)};
	struct mp_shape rows = {shaped, 300000, .row = 1000, .pitch = 1024, .rows = 300};
	struct mp_answer a;
	int i, bad = 0;

	put(r, SMALL, 9, 0, 24, &a, &to_small);
	MP_CHECK_EQ(mp_rpc_await(r, &a), 0);
	MP_CHECK(!memcmp(small, s.data, sizeof(small)));
	put(r, LARGE, 9, 0, 24, &a, &to_large);
	MP_CHECK_EQ(mp_rpc_await(r, &a), 0);
	MP_CHECK(!memcmp(large, s.data, sizeof(large)));
	put(r, LARGE, 9, 0, 24, &a, &rows);
	MP_CHECK_EQ(mp_rpc_await(r, &a), 0);
	for (i = 0; i < 300; i++)
		bad += !!memcmp(shaped + i * 1024, s.data + i * 1000, 1000);
	MP_CHECK_EQ(bad, 0);
	session_end(&s, r);
}

/* Lane 1 as the server sees it: tickets of the frames, in order. */
struct bulk_seen {
	struct fake *s;
	uint64_t ticket[200];
	unsigned n;
	uint64_t bytes, wanted;
};

static void *read_bulk(void *arg)
{
	struct bulk_seen *b = arg;
	uint8_t *p = malloc(MP_CHUNK_MAX);
	struct mp_frame f;

	while (b->bytes < b->wanted && b->n < 200 && !mp_net_recv(b->s->lane[1], &f, sizeof(f)) &&
	       !mp_net_recv(b->s->lane[1], p, f.length)) {
		b->ticket[b->n++] = f.ticket;
		b->bytes += f.length;
	}
	free(p);
	return NULL;
}

static void *upload_now(void *arg)
{
	static uint8_t big[32 << 20];

	mp_rpc_upload(arg, 0x300, big, sizeof(big));
	return NULL;
}

static unsigned last_of(const struct bulk_seen *b, uint64_t ticket)
{
	unsigned i = b->n;

	while (i && b->ticket[i - 1] != ticket)
		i--;
	return i;
}

MP_TEST(large_copies_do_not_hold_up_the_bulk_lane)
{
	static struct fake s;
	static uint8_t big[32 << 20], image[3 << 20], small[1000];
	struct mp_rpc *r = session(&s);
	struct bulk_seen b = {.s = &s, .wanted = 2 * sizeof(big) + sizeof(image) + sizeof(small)};
	pthread_t t, u;

	/* Nobody reads yet: a copy by the bulk thread and one by its own thread fill the socket. */
	MP_CHECK(!mp_rpc_upload_later(r, 0x100, big, sizeof(big), NULL, NULL));
	pthread_create(&u, NULL, upload_now, r);
	usleep(50000);
	MP_CHECK(!mp_rpc_upload_later(r, 0x180, small, sizeof(small), NULL, NULL));
	MP_CHECK(!mp_rpc_upload_urgent(r, 0x200, image, sizeof(image)));
	pthread_create(&t, NULL, read_bulk, &b);
	pthread_join(t, NULL);
	pthread_join(u, NULL);
	MP_CHECK_EQ(b.bytes, b.wanted);
	MP_CHECK(last_of(&b, 0x180) && last_of(&b, 0x180) < 32);
	MP_CHECK(last_of(&b, 0x200) && last_of(&b, 0x200) < 40);
	MP_CHECK(last_of(&b, 0x100) > 55 && last_of(&b, 0x300) > 55);
	session_end(&s, r);
}

MP_TEST(a_copy_completed_before_its_data_ends_the_session)
{
	static struct fake s;
	static uint8_t large[300000];
	struct mp_rpc *r = session(&s);
	struct mp_shape to_large = {large, sizeof(large)};
	struct mp_answer a;

	put(r, EARLY, 9, 0, 24, &a, &to_large);
	MP_CHECK_EQ(mp_rpc_await(r, &a), 46);
	session_end(&s, r);
}

static bool mark_here(void *arg)
{
	return atomic_load(&marked) >= *(uint64_t *)arg;
}

MP_TEST(completions_are_pushed)
{
	static struct fake s;
	struct mp_rpc *r = session(&s);
	uint64_t t;

	atomic_store(&marked, 0);
	put(r, ONE_WAY, 1, 1, 24, NULL, NULL);
	t = put(r, MARK, 1, 2, 24, NULL, NULL);
	mp_rpc_flush(r, t);
	MP_CHECK_EQ(mp_rpc_wait(r, mark_here, &t), 0);
	MP_CHECK_EQ(atomic_load(&marked), t);
	session_end(&s, r);
}

struct blocked {
	struct mp_rpc *r;
	uint64_t since;
	uint32_t code;
};

static void *block(void *arg)
{
	struct blocked *b = arg;
	struct mp_answer a;

	put(b->r, ONE_WAY, 2, 1, 24, &a, NULL); /* nobody answers */
	b->code = mp_rpc_await(b->r, &a);
	b->since = mp_now_ns();
	return NULL;
}

MP_TEST(a_lost_server_ends_every_wait)
{
	static struct fake s;
	struct mp_rpc *r = session(&s);
	struct blocked b[3];
	pthread_t t[3];
	uint64_t ticket, died;
	int i, told = atomic_load(&lost_told);

	for (i = 0; i < 3; i++) {
		b[i].r = r;
		pthread_create(&t[i], NULL, block, &b[i]);
	}
	usleep(20000);
	died = mp_now_ns();
	put(r, DIE, 1, 1, 24, NULL, NULL);
	for (i = 0; i < 3; i++) {
		pthread_join(t[i], NULL);
		MP_CHECK_EQ(b[i].code, 46);
		MP_CHECK(b[i].since - died < 100000000u);
	}
	MP_CHECK_EQ(atomic_load(&r->lost), 46);
	for (ticket = 1, i = 0; i < 100000 && ticket; i++) /* never blocks, whatever the ring holds */
		ticket = put(r, ONE_WAY, 1, 1, 24 + 240, NULL, NULL);
	MP_CHECK_EQ(ticket, 0);
	MP_CHECK_EQ(atomic_load(&lost_told), told + 1);
	session_end(&s, r);
}

MP_TEST_MAIN()
