/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast an encrypted lane is, against bare OpenSSL over TCP in the same run.
 *
 *	bench-tls CERT KEY CA NAME [ROUNDS [GBIT/S]]
 *
 * bare: one process encrypts 64 MiB, another decrypts them.  lane: as programs
 * have it, plain bytes into a Unix socket, through two helper processes, out of a
 * Unix socket.  plain: TCP without helpers.  Rounds alternate; the medians count.
 *
 * With GBIT/S the kernel paces every TCP connection to that rate (a link of that
 * speed), and the lane is compared with plain TCP on it.  Both ends share this
 * machine's processors, which two hosts do not: what the busiest helper needs of
 * one, against the time that the link needs, says whether it would keep up.
 */
#include "net/tls.h"
#include "net/net.h"
#include "base/check.h"
#include "base/clock.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE  (64u << 20)
#define PIECE (1u << 20)

static double gbps; /* 0: as fast as it goes */
static double helper_s; /* processor time of the busiest helper in the last round */
static const char *cert, *key, *ca, *name;
static char *piece;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A connected pair of TCP sockets over loopback. */
static void tcp_pair(int fd[2])
{
	uint64_t rate = (uint64_t)(gbps * 1e9 / 8);
	struct mp_addr a, bound;
	struct mp_fail f = {0};
	int l;

	if (mp_addr_parse("127.0.0.1:0", &a, &f) < 0 || (l = mp_net_listen(&a, 1, &bound, &f)) < 0)
		die(f.text);
	fd[0] = mp_net_connect(&bound, 1000, &f);
	fd[1] = mp_net_accept(l);
	close(l);
	if (fd[0] < 0 || fd[1] < 0)
		die("tcp");
	if (gbps > 0 && (setsockopt(fd[0], SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)) ||
			 setsockopt(fd[1], SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate))))
		die("pacing");
}

static double seconds(uint64_t from)
{
	return (double)(mp_now_ns() - from) / 1e9;
}

static void plain_send(int fd)
{
	size_t at;

	for (at = 0; at < SIZE; at += PIECE)
		if (mp_net_send(fd, piece, PIECE) < 0)
			die("send");
}

static void plain_take(int fd)
{
	size_t at;

	for (at = 0; at < SIZE; at += PIECE)
		if (mp_net_recv(fd, piece, PIECE))
			die("recv");
}

/* Time until the other side has answered that it has all. */
static double timed(int fd, void (*send_all)(int fd))
{
	uint64_t t0 = mp_now_ns();
	char c;

	send_all(fd);
	if (mp_net_recv(fd, &c, 1))
		die("answer");
	return seconds(t0);
}

static double run_plain(void)
{
	int fd[2], status;
	double s;
	pid_t pid;

	tcp_pair(fd);
	pid = fork();
	if (!pid) {
		plain_take(fd[1]);
		mp_net_send(fd[1], "k", 1);
		_exit(0);
	}
	close(fd[1]);
	s = timed(fd[0], plain_send);
	close(fd[0]);
	waitpid(pid, &status, 0);
	return s;
}

static double run_lane(void)
{
	int tcp[2], near[2], far[2], i;
	struct mp_tls *t;
	struct mp_fail f = {0};
	pid_t pid[3];
	double s;

	tcp_pair(tcp);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, near) || socketpair(AF_UNIX, SOCK_STREAM, 0, far))
		die("socketpair");
	pid[0] = fork();
	if (!pid[0]) {
		close(tcp[0]), close(near[0]), close(near[1]), close(far[0]);
		if (mp_tls_server(cert, key, &t, &f) < 0)
			die(f.text);
		mp_tls_pump(mp_tls_open(t, tcp[1], 5000, &f), far[1]);
		_exit(0);
	}
	pid[1] = fork();
	if (!pid[1]) {
		close(tcp[1]), close(near[0]), close(far[0]), close(far[1]);
		if (mp_tls_client(ca, name, &t, &f) < 0)
			die(f.text);
		mp_tls_pump(mp_tls_open(t, tcp[0], 5000, &f), near[1]);
		_exit(0);
	}
	pid[2] = fork();
	if (!pid[2]) {
		close(tcp[0]), close(tcp[1]), close(near[0]), close(near[1]), close(far[1]);
		mp_net_recv(far[0], piece, 1);
		mp_net_send(far[0], "k", 1);
		plain_take(far[0]);
		mp_net_send(far[0], "k", 1);
		_exit(0);
	}
	close(tcp[0]), close(tcp[1]), close(near[1]), close(far[0]), close(far[1]);
	/* The handshakes are not what is measured. */
	mp_net_send(near[0], "h", 1);
	mp_net_recv(near[0], piece, 1);
	s = timed(near[0], plain_send);
	close(near[0]);
	for (i = 0, helper_s = 0; i < 3; i++) {
		struct rusage u;
		double cpu;

		wait4(pid[i], NULL, 0, &u);
		cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		      (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
		if (i < 2 && cpu > helper_s)
			helper_s = cpu;
	}
	return s;
}

static SSL *bare_open(bool server, int fd)
{
	SSL_CTX *c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	SSL *s;

	SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256");
	if (server && (SSL_CTX_use_certificate_chain_file(c, cert) != 1 ||
		       SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1))
		die("certificate");
	s = SSL_new(c);
	SSL_set_fd(s, fd);
	if ((server ? SSL_accept(s) : SSL_connect(s)) != 1)
		die("handshake");
	return s;
}

static double run_bare(void)
{
	int fd[2], n;
	size_t at;
	uint64_t t0;
	double s;
	pid_t pid;
	SSL *ssl;

	tcp_pair(fd);
	pid = fork();
	if (!pid) {
		ssl = bare_open(true, fd[1]);
		SSL_write(ssl, "h", 1);
		for (at = 0; at < SIZE; at += (size_t)n)
			if ((n = SSL_read(ssl, piece, PIECE)) <= 0)
				die("SSL_read");
		SSL_write(ssl, "k", 1);
		_exit(0);
	}
	close(fd[1]);
	ssl = bare_open(false, fd[0]);
	SSL_read(ssl, piece, 1);
	t0 = mp_now_ns();
	for (at = 0; at < SIZE; at += PIECE)
		if (SSL_write(ssl, piece, PIECE) != (int)PIECE)
			die("SSL_write");
	SSL_read(ssl, piece, 1);
	s = seconds(t0);
	close(fd[0]);
	waitpid(pid, NULL, 0);
	return s;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

int main(int argc, char **argv)
{
	double bare[101], lane[101], plain[101], helper[101], gib = (double)SIZE / (1 << 30);
	int i, rounds = argc > 5 ? atoi(argv[5]) : 15;

	if (argc < 5 || rounds < 1 || rounds > 100) {
		fprintf(stderr, "usage: bench-tls CERT KEY CA NAME [ROUNDS [GBIT/S]]\n");
		return 2;
	}
	cert = argv[1], key = argv[2], ca = argv[3], name = argv[4];
	gbps = argc > 6 ? strtod(argv[6], NULL) : 0;
	signal(SIGPIPE, SIG_IGN);
	piece = calloc(1, PIECE);
	for (i = 0; i < rounds; i++) {
		bare[i] = run_bare();
		lane[i] = run_lane();
		helper[i] = helper_s;
		plain[i] = run_plain();
	}
	printf("64 MiB: bare OpenSSL %.2f GiB/s, encrypted lane %.2f GiB/s, plain TCP %.2f GiB/s; lane/bare %.0f %%\n",
	       gib / median(bare, rounds), gib / median(lane, rounds), gib / median(plain, rounds),
	       100 * median(bare, rounds) / median(lane, rounds));
	if (gbps > 0)
		printf("a link of %.4g Gbit/s: encrypted lane %.1f %% of plain TCP; its busiest helper needs %.2f s of a "
		       "processor for a GiB, the link %.2f s\n", gbps, 100 * median(plain, rounds) / median(lane, rounds),
		       median(helper, rounds) / gib, 8.589934592 / gbps);
	return 0;
}
