/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick: what plain sockets do on this machine at this moment.
 *
 *	plain bulk [N]	64 MiB over TCP loopback, both directions, 1 MiB chunks,
 *			cubic, both buffers pre-faulted: best and median of N
 *	plain ping [N]	round trip of 64 bytes, blocking and spinning
 *
 * Two processes, as client and worker are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOTAL (64u << 20)
#define CHUNK (1u << 20)

static char *buffer;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void tune(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0)
			die("send");
		p += k;
		n -= (size_t)k;
	}
}

static void recv_all(int fd, char *p, size_t n, int flags)
{
	while (n) {
		ssize_t k = recv(fd, p, n, flags);

		if (k < 0 && errno == EAGAIN)
			continue;
		if (k <= 0)
			exit(k < 0);
		p += k;
		n -= (size_t)k;
	}
}

static void send_bulk(int fd)
{
	size_t at;

	for (at = 0; at < TOTAL; at += CHUNK)
		send_all(fd, buffer + at, CHUNK);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void say(const char *name, const char *unit, double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	printf("%s_best_%s %.3f\n%s_median_%s %.3f\n", name, unit, *unit == 'G' ? v[n - 1] : v[0], name, unit, v[n / 2]);
}

/* The other process: does what the first byte says. */
static void serve(int fd)
{
	char order, back[64] = "";

	for (;;) {
		recv_all(fd, &order, 1, 0);
		if (order == 'u') {
			recv_all(fd, buffer, TOTAL, 0);
			send_all(fd, back, 1);
		} else if (order == 'd') {
			send_bulk(fd);
		} else {
			int flags = order == 's' ? MSG_DONTWAIT : 0;

			recv_all(fd, back, 63, flags);
			send_all(fd, back, 64);
		}
	}
}

static void bulk(int fd, int n)
{
	double *up = calloc((size_t)n, sizeof(*up)), *down = calloc((size_t)n, sizeof(*down));
	char c;
	int i;

	for (i = 0; i < n; i++) {
		double t = now_ns();

		send_all(fd, "u", 1);
		send_bulk(fd);
		recv_all(fd, &c, 1, 0);
		up[i] = TOTAL / (now_ns() - t);
		t = now_ns();
		send_all(fd, "d", 1);
		recv_all(fd, buffer, TOTAL, 0);
		down[i] = TOTAL / (now_ns() - t);
	}
	say("up", "GB_s", up, n);
	say("down", "GB_s", down, n);
}

static void ping(int fd, int n, int spin)
{
	double *v = calloc((size_t)n, sizeof(*v));
	char b[64];
	int i;

	memset(b, spin ? 's' : 'b', sizeof(b));
	for (i = 0; i < n; i++) {
		double t = now_ns();

		b[0] = spin ? 's' : 'b';
		send_all(fd, b, 64);
		recv_all(fd, b, 64, spin ? MSG_DONTWAIT : 0);
		v[i] = (now_ns() - t) / 1e3;
	}
	say(spin ? "ping_spinning" : "ping_blocking", "us", v, n);
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 0, listening = socket(AF_INET, SOCK_STREAM, 0), fd;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	pid_t pid;

	if (argc < 2 || (strcmp(argv[1], "bulk") && strcmp(argv[1], "ping")))
		return 2;
	if (bind(listening, (struct sockaddr *)&a, len) || listen(listening, 1) ||
	    getsockname(listening, (struct sockaddr *)&a, &len))
		die("listen");
	pid = fork();
	if (pid < 0)
		die("fork");
	buffer = malloc(TOTAL);
	memset(buffer, 1, TOTAL);
	if (!pid) {
		fd = accept(listening, NULL, NULL);
		tune(fd);
		serve(fd);
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	tune(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	if (!strcmp(argv[1], "bulk")) {
		bulk(fd, n ? n : 9);
	} else {
		ping(fd, n ? n : 3000, 0);
		ping(fd, n ? n : 3000, 1);
	}
	close(fd);
	waitpid(pid, NULL, 0);
	return 0;
}
