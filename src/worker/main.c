/* SPDX-License-Identifier: Apache-2.0 */
/*
 * motorpool-worker: arguments and wiring.
 *
 *	motorpool-worker --lane-fd N [--control-fd N] [--account-fd N] [--adopt-fd N] --driver PATH
 *		[--devices UUID,...] [--memory BYTES,...] [--lease ID] [--session HEX]
 *	motorpool-worker --listen unix:PATH|127.0.0.1:PORT [--once] --driver PATH [--devices ...] [--memory ...]
 *	motorpool-worker --probe --driver PATH
 *	motorpool-worker --netperf --lane-fd N
 *	motorpool-worker --look --driver PATH --devices UUIDS
 *
 * The daemon uses the first and the last, see pool/worker-spawn.h; the second is
 * for tests by hand: it prints the address where it takes lanes, and starts a
 * worker per client process.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "pool/worker-spawn.h"
#include "rpc/perf.h"
#include "worker/confine.h"
#include "worker/listen.h"
#include "worker/worker.h"

static int listen_unix(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4))
		return -1;
	printf("unix:%s\n", path);
	return fd;
}

static int listen_tcp(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd, one = 1;

	a.sin_port = htons((uint16_t)atoi(port));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4) ||
	    getsockname(fd, (struct sockaddr *)&a, &n))
		return -1;
	printf("127.0.0.1:%u\n", ntohs(a.sin_port));
	return fd;
}

static int listen_at(const char *where)
{
	int fd = -1;

	if (!strncmp(where, "unix:", 5))
		fd = listen_unix(where + 5);
	else if (!strncmp(where, "tcp:", 4))
		fd = listen_tcp(where + 4);
	else if (!strncmp(where, "127.0.0.1:", 10)) /* no other address: this is for tests */
		fd = listen_tcp(where + 10);
	if (fd >= 0)
		(void)fflush(stdout);
	return fd;
}

static int listen_for(const char *where, const struct mp_worker_options *o, int once)
{
	char lane[16], control[16], account[16], *argv[16] = {"motorpool-worker", "--lane-fd", lane, "--control-fd", control,
						 "--driver", (char *)(uintptr_t)o->driver};
	int fd = listen_at(where), n = 7;

	if (fd < 0) {
		fprintf(stderr, "motorpool-worker: cannot listen at %s: %s\n", where, strerror(errno));
		return MP_WORKER_EXIT_USAGE;
	}
	snprintf(lane, sizeof(lane), "%d", MP_WORKER_LANE_FD);
	snprintf(control, sizeof(control), "%d", MP_WORKER_CONTROL_FD);
	if (o->devices) {
		argv[n++] = "--devices";
		argv[n++] = (char *)(uintptr_t)o->devices;
	}
	if (o->memory) {
		argv[n++] = "--memory";
		argv[n++] = (char *)(uintptr_t)o->memory;
	}
	if (o->account_fd >= 0) { /* one lease for all sessions */
		snprintf(account, sizeof(account), "%d", o->account_fd);
		argv[n++] = "--account-fd";
		argv[n++] = account;
	}
	argv[n] = NULL;
	return mp_worker_listen(fd, argv, once);
}

static int usage(void)
{
	fprintf(stderr, "usage: motorpool-worker --lane-fd N [--control-fd N] [--account-fd N] --driver PATH\n"
			"           [--devices UUID,...] [--memory BYTES,...] [--lease ID] [--session HEX]\n"
			"       motorpool-worker --listen unix:PATH|127.0.0.1:PORT [--once] --driver PATH [--memory BYTES,...]\n"
			"       motorpool-worker --probe --driver PATH\n");
	return MP_WORKER_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"lane-fd", required_argument, NULL, 'l'}, {"control-fd", required_argument, NULL, 'c'},
		{"account-fd", required_argument, NULL, 'a'}, {"driver", required_argument, NULL, 'd'},
		{"devices", required_argument, NULL, 'u'}, {"memory", required_argument, NULL, 'm'},
		{"lease", required_argument, NULL, 'L'}, {"session", required_argument, NULL, 's'},
		{"adopt-fd", required_argument, NULL, 'A'},
		{"listen", required_argument, NULL, 'w'}, {"probe", no_argument, NULL, 'p'},
		{"look", no_argument, NULL, 'k'},
		{"netperf", no_argument, NULL, 'n'}, {"once", no_argument, NULL, 'o'},
		{0},
	};
	struct mp_worker_options o = {.lane_fd = -1, .control_fd = -1, .account_fd = -1, .adopt_fd = -1};
	struct mp_fail f = {0};
	const char *listen_to = NULL;
	int c, probe = 0, look = 0, netperf = 0, once = 0, r;

	/* It was started by a descriptor, whose number is no name. */
	prctl(PR_SET_NAME, "motorpool-worke");
	mp_log_open(MP_LOG_INFO);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'l': o.lane_fd = atoi(optarg); break;
		case 'c': o.control_fd = atoi(optarg); break;
		case 'a': o.account_fd = atoi(optarg); break;
		case 'A': o.adopt_fd = atoi(optarg); break;
		case 'd': o.driver = optarg; break;
		case 'u': o.devices = optarg; break;
		case 'm': o.memory = optarg; break;
		case 'L': o.lease = optarg; break;
		case 's': break; /* in the daemon's log, and in ps */
		case 'w': listen_to = optarg; break;
		case 'p': probe = 1; break;
		case 'k': look = 1; break;
		case 'n': netperf = 1; break;
		case 'o': once = 1; break;
		default: return usage();
		}
	if (netperf && o.lane_fd >= 0) {
		if (mp_confine())
			return MP_WORKER_EXIT_USAGE;
		mp_perf_serve(o.lane_fd);
		return 0;
	}
	if (!o.driver || optind != argc || (!probe && !look && o.lane_fd < 0 && !listen_to) ||
	    (look && !o.devices))
		return usage();
	if (look) {
		r = mp_worker_look(o.driver, o.devices, &f);
	} else if (probe) {
		r = mp_worker_probe(o.driver, &f);
	} else if (listen_to) {
		r = listen_for(listen_to, &o, once);
	} else {
		r = mp_worker_serve(&o, &f);
	}
	if (f.text[0])
		fprintf(stderr, "motorpool-worker: %s\n", f.text);
	return r;
}
