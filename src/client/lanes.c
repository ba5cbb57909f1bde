/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper of encrypted lanes: a child without exec, in a session of its own,
 * so that the terminal's signals pass it by; a thread for each lane.
 *
 * It trusts what the bundle trusts, and never sees the token.  Its socket lies in
 * a directory of this user alone, which it removes at its end.
 */
#include "client/lanes.h"
#include "client/client.h"
#include "http/name.h"
#include "net/net.h"
#include "net/tls.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECT_MS 5000
#define ADDRESSES  8

struct lanes {
	struct mp_tls *tls;
	char address[ADDRESSES][300]; /* without "tls:" */
	unsigned naddresses;
	char dir[128], path[160];
};

struct lane {
	const struct lanes *all;
	int plain;
};

bool mp_lanes_wanted(const char *data)
{
	return data && (!strncmp(data, MP_LANES_TLS, 4) || strstr(data, "," MP_LANES_TLS));
}

/* The first address that answers. */
static struct mp_tls_lane *connect_any(const struct lanes *all, struct mp_fail *f)
{
	struct mp_tls_lane *l = NULL;
	struct mp_addr a;
	unsigned i;
	int fd;

	for (i = 0; i < all->naddresses && !l; i++) {
		if (mp_addr_parse(all->address[i], &a, f) < 0)
			continue;
		fd = mp_net_connect(&a, CONNECT_MS, f);
		if (fd >= 0)
			l = mp_tls_open(all->tls, fd, CONNECT_MS, f);
	}
	return l;
}

static void *lane_run(void *arg)
{
	struct lane *own = arg;
	struct mp_fail f = {0};
	struct mp_tls_lane *l = connect_any(own->all, &f);

	if (l) {
		mp_tls_pump(l, own->plain);
	} else {
		mp_log(MP_LOG_WARN, "client", "lane", "why=\"%s\"", f.text);
		close(own->plain);
	}
	free(own);
	return NULL;
}

static void lane_take(const struct lanes *all, int listener)
{
	struct lane *l = malloc(sizeof(*l));
	pthread_attr_t attr;
	pthread_t thread;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 || !l) {
		free(l);
		return;
	}
	l->all = all;
	l->plain = fd;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, lane_run, l)) {
		close(fd);
		free(l);
	}
	pthread_attr_destroy(&attr);
}

/*
 * Nothing but these two: the stream that holds the lease, above all, must not
 * live on here when its holder is killed.
 */
static int descriptors_keep(int *listener, int *life)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), a = fcntl(*listener, F_DUPFD_CLOEXEC, 16),
	    b = fcntl(*life, F_DUPFD_CLOEXEC, 16);

	if (null < 0 || a < 0 || b < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    (!getenv("MOTORPOOL_LOG") && dup2(null, 2) < 0) || dup2(a, 3) < 0 || dup2(b, 4) < 0)
		return -1;
	*listener = 3;
	*life = 4;
	return close_range(5, ~0u, 0);
}

static void __attribute__((noreturn)) helper_run(struct lanes *all, int listener, int life)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	char c;

	if (descriptors_keep(&listener, &life) < 0)
		_exit(1);
	fds[0].fd = listener;
	fds[1].fd = life;
	setsid();
	prctl(PR_SET_NAME, "motorpool-lanes");
	/* The lease's secret passes through here. */
	prctl(PR_SET_DUMPABLE, 0ul);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents && read(life, &c, 1) <= 0)
			break;
		if (fds[0].revents)
			lane_take(all, listener);
	}
	unlink(all->path);
	rmdir(all->dir);
	_exit(0);
}

static int dir_make(struct lanes *all, struct mp_fail *f)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR");

	/* A Unix socket's path has 107 bytes. */
	snprintf(all->dir, sizeof(all->dir), "%s/motorpool-XXXXXX",
		 xdg && *xdg == '/' && strlen(xdg) < 60	  ? xdg
		 : tmp && *tmp == '/' && strlen(tmp) < 60 ? tmp
							  : "/tmp");
	if (!mkdtemp(all->dir)) {
		snprintf(all->dir, sizeof(all->dir), "/tmp/motorpool-XXXXXX");
		if (!mkdtemp(all->dir))
			return mp_fail_set(f, MP_CODE_FAILED, "cannot make a directory for the lanes' "
							      "socket: %s", strerror(errno));
	}
	snprintf(all->path, sizeof(all->path), "%s/lanes", all->dir);
	return 0;
}

/* The encrypted ones are ours, the others stay the program's. */
static int addresses_split(struct lanes *all, const char *data, char *ret_plain, size_t size)
{
	char *copy = strdup(data), *save = NULL, *one;

	ret_plain[0] = 0;
	for (one = copy ? strtok_r(copy, ",", &save) : NULL; one; one = strtok_r(NULL, ",", &save)) {
		if (strncmp(one, MP_LANES_TLS, 4)) {
			snprintf(ret_plain + strlen(ret_plain), size - strlen(ret_plain), "%s%s",
				 ret_plain[0] ? "," : "", one);
		} else if (all->naddresses < ADDRESSES) {
			snprintf(all->address[all->naddresses++], sizeof(all->address[0]), "%s", one + 4);
		}
	}
	free(copy);
	return all->naddresses ? 0 : -1;
}

int mp_lanes_start(const char *data, const char *ca_file, char *ret_data, size_t size, int *ret_keep,
		   struct mp_fail *f)
{
	struct lanes *all = calloc(1, sizeof(*all));
	int life[2] = {-1, -1}, listener = -1;
	struct mp_addr a;
	char text[200];
	pid_t pid;

	f->text[0] = 0;
	if (!all || addresses_split(all, data, ret_data, size) < 0 || dir_make(all, f) < 0 ||
	    mp_tls_client(ca_file, MP_HTTP_SERVER_NAME, &all->tls, f) < 0)
		goto fail;
	snprintf(text, sizeof(text), "unix:%s", all->path);
	if (mp_addr_parse(text, &a, f) < 0 || (listener = mp_net_listen(&a, 64, NULL, f)) < 0 ||
	    pipe2(life, O_CLOEXEC) < 0)
		goto fail;
	pid = fork();
	if (!pid) {
		/* Nobody waits for it: it is the child of a child that has left. */
		close(life[1]);
		if (fork())
			_exit(0);
		helper_run(all, listener, life[0]);
	}
	close(life[0]);
	close(listener);
	if (pid < 0) {
		close(life[1]);
		life[0] = life[1] = listener = -1;
		goto fail;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	snprintf(ret_data + strlen(ret_data), size - strlen(ret_data), "%s%s", ret_data[0] ? "," : "", text);
	*ret_keep = life[1];
	mp_tls_free(all->tls);
	free(all);
	return 0;
fail:
	if (!f->text[0])
		mp_fail_set(f, MP_CODE_FAILED, "no encrypted lanes: %s", strerror(errno));
	f->code = MP_CODE_FAILED;
	if (listener >= 0)
		close(listener);
	if (life[0] >= 0) {
		close(life[0]);
		close(life[1]);
	}
	if (all) {
		mp_tls_free(all->tls);
		if (all->path[0])
			unlink(all->path);
		if (all->dir[0])
			rmdir(all->dir);
	}
	free(all);
	return -1;
}
