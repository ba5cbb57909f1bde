/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, sockets with short writes and cuts, and the link model's arithmetic. */
#include "net/net.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"

MP_TEST(addresses)
{
	static const char *const good[] = {"127.0.0.1:55001", "[::1]:80", "unix:/tmp/x.sock"};
	static const char *const bad[] = {"", "127.0.0.1", ":1", "1.2.3.4:65536", "1.2.3.4:x", "unix:",
					  "1.2.3.4:"};
	struct mp_addr a;
	struct mp_fail f;
	char text[160];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		MP_CHECK_EQ(mp_addr_parse(good[i], &a, &f), 0);
		mp_addr_text(&a, text, sizeof(text));
		MP_CHECK_STR(text, good[i]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.text[0] = 0;
		MP_CHECK_EQ(mp_addr_parse(bad[i], &a, &f), -1);
		MP_CHECK(f.text[0]);
	}
}

static int pair_up(int *client, int *server)
{
	struct mp_addr any, bound;
	int l;

	if (mp_addr_parse("127.0.0.1:0", &any, NULL))
		return -1;
	l = mp_net_listen(&any, 4, &bound, NULL);
	*client = l < 0 ? -1 : mp_net_connect(&bound, 1000, NULL);
	*server = *client < 0 ? -1 : mp_net_accept(l);
	close(l);
	return *server < 0 ? -1 : 0;
}

struct sending {
	int fd, result;
	const char *data;
	size_t n;
};

static void *send_all(void *arg)
{
	struct sending *s = arg;
	struct iovec iov[3] = {{(void *)s->data, 5}, {NULL, 0}, {(void *)(s->data + 5), s->n - 5}};

	s->result = mp_net_sendv(s->fd, iov, 3);
	return NULL;
}

MP_TEST(short_writes_arrive_whole)
{
	enum { N = 300000 };
	char *out = malloc(N), *in = calloc(1, N);
	struct sending s = {.data = out, .n = N};
	pthread_t t;
	int c, v;
	size_t i;

	for (i = 0; i < N; i++)
		out[i] = (char)(i * 7 + i / 251);
	MP_CHECK_EQ(pair_up(&c, &v), 0);
	s.fd = c;
	mp_net_fault(777, 0);
	pthread_create(&t, NULL, send_all, &s);
	MP_CHECK_EQ(mp_net_recv(v, in, N), 0);
	pthread_join(t, NULL);
	mp_net_fault(0, 0);
	MP_CHECK_EQ(s.result, 0);
	MP_CHECK(!memcmp(in, out, N));
	close(c);
	MP_CHECK_EQ(mp_net_recv(v, in, 1), 1);
	close(v);
	free(in);
	free(out);
}

MP_TEST(cut)
{
	char data[64] = {0};
	int c, v;

	MP_CHECK_EQ(pair_up(&c, &v), 0);
	mp_net_fault(0, 50);
	MP_CHECK_EQ(mp_net_send(c, data, 40), 0);
	MP_CHECK_EQ(mp_net_send(c, data, 40), -1);
	mp_net_fault(0, 0);
	MP_CHECK_EQ(mp_net_recv(v, data, 40), 0);
	MP_CHECK_EQ(mp_net_recv(v, data, 40), -1);
	close(c);
	close(v);
}

MP_TEST(timeout_of_recv)
{
	uint64_t t0 = mp_now_ns();
	char b;
	int c, v;

	MP_CHECK_EQ(pair_up(&c, &v), 0);
	MP_CHECK_EQ(mp_net_recv_for(v, &b, 1, 30), -1);
	MP_CHECK_EQ(errno, ETIMEDOUT);
	MP_CHECK(mp_now_ns() - t0 >= 29000000u);
	close(c);
	close(v);
}

MP_TEST(unix_socket_is_replaced_when_stale)
{
	char path[64], text[80];
	struct mp_addr a;
	int l, l2, c;

	snprintf(path, sizeof(path), "/tmp/mp-net-%d.sock", (int)getpid());
	snprintf(text, sizeof(text), "unix:%s", path);
	MP_CHECK_EQ(mp_addr_parse(text, &a, NULL), 0);
	l = mp_net_listen(&a, 4, NULL, NULL);
	MP_CHECK(l >= 0);
	l2 = mp_net_listen(&a, 4, NULL, NULL);
	MP_CHECK(l2 < 0); /* somebody listens */
	close(l);
	l2 = mp_net_listen(&a, 4, NULL, NULL);
	MP_CHECK(l2 >= 0);
	c = mp_net_connect(&a, 1000, NULL);
	MP_CHECK(c >= 0);
	close(c);
	close(l2);
	unlink(path);
}

/* Last: the model stays on for the process. 10 ms one way, 0.8 Gb/s = 100 bytes per us. */
MP_TEST(link_delays_and_shapes)
{
	enum { N = 1000000 };
	char *data = calloc(1, N), b;
	uint64_t t0, took;
	int c, v;

	setenv("MOTORPOOL_LINK_DELAY_US", "10000", 1);
	setenv("MOTORPOOL_LINK_GBPS", "0.8", 1);
	MP_CHECK(mp_link_on());
	MP_CHECK_EQ(pair_up(&c, &v), 0);
	t0 = mp_now_ns();
	c = mp_link_wrap(c, t0);
	MP_CHECK_EQ(mp_net_send(c, "x", 1), 0);
	MP_CHECK_EQ(mp_net_recv(v, &b, 1), 0);
	took = mp_now_ns() - t0; /* the connection's round trip and one way */
	MP_CHECK(took >= 30000000u && took < 60000000u);
	MP_CHECK_EQ(mp_net_send(v, "y", 1), 0);
	MP_CHECK_EQ(mp_net_recv(c, &b, 1), 0);
	took = mp_now_ns() - t0;
	MP_CHECK(took >= 40000000u && took < 80000000u);
	t0 = mp_now_ns();
	MP_CHECK_EQ(mp_net_send(c, data, N), 0);
	MP_CHECK_EQ(mp_net_recv(v, data, N), 0);
	took = mp_now_ns() - t0; /* 10 ms of bytes, 10 ms of delay */
	MP_CHECK(took >= 20000000u && took < 60000000u);
	MP_CHECK_EQ(mp_net_send(c, data, 100), 0);
	mp_link_drain(1000);
	MP_CHECK_EQ(mp_net_recv_for(v, data, 100, 5), 0);
	close(c);
	MP_CHECK_EQ(mp_net_recv(v, &b, 1), 1); /* end of file comes through */
	close(v);
	free(data);
}

MP_TEST_MAIN()
