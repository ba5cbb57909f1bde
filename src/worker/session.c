/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: lanes, hello, welcome, threads, and the end.
 *
 * The process is the session.  Its end is _exit(): the kernel and the driver
 * take back what the client held, and nobody waits for a device that may never
 * answer.
 */
#include "worker/inside.h"

#include <errno.h>
#include <immintrin.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/worker.h"

#define HELPERS	       3
#define OUTLET_CEILING (256u << 20)
#define HELLO_SECONDS  5
#define SPIN_NS	       30000u
#define TICK_MS	       2

/* ---- The end ---- */

static const char *exit_word(int code)
{
	switch (code) {
	case MP_WORKER_EXIT_OK:
		return "left";
	case MP_WORKER_EXIT_PROTOCOL:
		return "protocol";
	case MP_WORKER_EXIT_LOST:
		return "lost";
	case MP_WORKER_EXIT_ENDED:
		return "ended";
	default:
		return "failed";
	}
}

void mp_end(struct mp_worker *w, int code, const char *why)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&w->ended, &none, code + 1)) {
		if (w->process)
			for (;;) /* another thread ends the process */
				pause();
		return;
	}
	w->why = why;
	if (!w->process)
		return;
	mp_log(code == MP_WORKER_EXIT_OK ? MP_LOG_INFO : MP_LOG_WARN, "worker", "end",
	       "lease=%s why=%s records=%llu launches=%llu reason=\"%s\"", w->lease ? w->lease : "-",
	       exit_word(code), (unsigned long long)w->records, (unsigned long long)w->launches, why);
	if (code != MP_WORKER_EXIT_LOST && code != MP_WORKER_EXIT_OK && w->out[0]) {
		struct mp_frame f = {.kind = MP_FRAME_GOODBYE, .extra = (uint64_t)code};

		(void)mp_outlet_send(w->out[0], f, why, strlen(why));
		mp_outlet_free(w->out[0], 100);
	}
	if (w->account)
		mp_account_leave(w->account, w->account_slot);
	_exit(code);
}

static void *term_main(void *worker)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	while (sigwait(&set, &sig))
		;
	mp_end(worker, MP_WORKER_EXIT_ENDED, "the lease is over");
	return NULL;
}

/* ---- Lanes ---- */

static int spawn(struct mp_worker *w, void *(*fn)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, w))
		return -1;
	pthread_detach(t);
	return 0;
}

/* Reads the hello of a new lane and gives it its place. -1: it was closed. */
static int lane_join(struct mp_worker *w, int fd)
{
	struct timeval tv = {.tv_sec = HELLO_SECONDS}, forever = {0};
	struct mp_hello h;
	struct mp_fail f = {0};
	int r = -1, bad;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (mp_recv_all(fd, &h, sizeof(h)))
		goto out;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	bad = mp_hello_check(&h, MP_API_HASH, &f);
	pthread_mutex_lock(&w->lane_lock);
	if (!bad && w->lanes && memcmp(h.session, w->hello.session, sizeof(h.session)))
		bad = mp_fail_set(&f, 1, "the lane is of another session");
	if (!bad && (w->lanes & 1u << h.lane))
		bad = mp_fail_set(&f, 1, "the lane is there already");
	if (bad) {
		struct mp_frame g = {.kind = MP_FRAME_GOODBYE, .length = (uint32_t)strlen(f.text),
				     .extra = MP_WORKER_EXIT_PROTOCOL};

		pthread_mutex_unlock(&w->lane_lock);
		mp_log(MP_LOG_WARN, "worker", "refused", "pid=%u reason=\"%s\"", h.pid, f.text);
		(void)send(fd, &g, sizeof(g), MSG_NOSIGNAL | MSG_MORE);
		(void)send(fd, f.text, strlen(f.text), MSG_NOSIGNAL);
		goto out;
	}
	mp_lane_tune(fd);
	w->lane[h.lane] = fd;
	w->out[h.lane] = mp_outlet_new(fd, OUTLET_CEILING);
	if (h.lane == MP_LANE_COMMAND || !w->lanes)
		w->hello = h;
	w->lanes |= 1u << h.lane;
	r = w->out[h.lane] ? 0 : -1;
	if (!r && h.lane == MP_LANE_BULK)
		r = spawn(w, mp_upload_main) || spawn(w, mp_download_main) ? -1 : 0;
	pthread_cond_broadcast(&w->lane_wake);
	pthread_mutex_unlock(&w->lane_lock);
	if (r)
		mp_end(w, MP_WORKER_EXIT_LOST, "out of memory");
	return r;
out:
	close(fd);
	return r;
}

/* So long a worker does without a daemon: the lease it works for is nobody's then. */
static uint64_t orphan_ns(void)
{
	const char *text = getenv("MOTORPOOL_ORPHAN_S");
	long s = text ? strtol(text, NULL, 10) : 0;

	return (uint64_t)(s > 0 && s <= 365 * 86400 ? s : 3600) * 1000000000u;
}

/* The daemon is gone: wait for the next one to come. */
static int control_again(struct mp_worker *w)
{
	uint64_t until = mp_now_ns() + orphan_ns(), now;
	struct pollfd p = {.fd = w->adopt_fd, .events = POLLIN};
	int fd, r = 0;

	if (w->adopt_fd < 0)
		return -1;
	/* In short steps: poll does not count the time that a machine sleeps. */
	while (!r && (now = mp_now_ns()) < until) {
		r = poll(&p, 1, until - now < 60000000000u ? (int)((until - now) / 1000000) + 1 : 60000);
		if (r < 0 && errno == EINTR)
			r = 0;
	}
	if (!r) {
		mp_end(w, MP_WORKER_EXIT_LOST, "the server's daemon did not return");
		return -1;
	}
	do {
		fd = accept4(w->adopt_fd, NULL, NULL, SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return -1;
	close(w->control_fd);
	w->control_fd = fd;
	return 0;
}

/* Later lanes, from the daemon.  Its end is not ours, unless it stays away. */
static void *control_main(void *worker)
{
	struct mp_worker *w = worker;

	for (;;) {
		struct mp_worker_control c;
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(int))];
		} u;
		struct iovec iov = {&c, sizeof(c)};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
				     .msg_controllen = sizeof(u.buf)};
		struct cmsghdr *cm;
		int fd;
		ssize_t n = recvmsg(w->control_fd, &msg, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (control_again(w))
				return NULL;
			continue;
		}
		cm = CMSG_FIRSTHDR(&msg);
		if (!cm || cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS ||
		    cm->cmsg_len != CMSG_LEN(sizeof(fd)))
			continue;
		memcpy(&fd, CMSG_DATA(cm), sizeof(fd));
		if ((size_t)n == sizeof(c) && c.kind == MP_WORKER_LANE)
			(void)lane_join(w, fd);
		else
			close(fd);
	}
}

/* ---- Reading ---- */

/* Is there something within the spin? It pays between the records of a busy program only. */
static bool spin_for_bytes(struct mp_worker *w, uint8_t *p, size_t n, ssize_t *ret)
{
	uint64_t start = mp_now_ns();

	do {
		_mm_pause();
		*ret = recv(w->lane[0], p, n, MSG_DONTWAIT);
		if (*ret >= 0 || (errno != EAGAIN && errno != EINTR))
			return true;
	} while (mp_now_ns() - start < SPIN_NS);
	return false;
}

/* Bytes now, or after a short spin, or blocked. */
static ssize_t receive(struct mp_worker *w, uint8_t *p, size_t n)
{
	static int cpus;
	ssize_t got = recv(w->lane[0], p, n, MSG_DONTWAIT);
	struct pollfd pfd = {.fd = w->lane[0], .events = POLLIN};

	if (got >= 0 || (errno != EAGAIN && errno != EINTR))
		return got;
	if (!cpus)
		cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > 1 && mp_spin_may(&w->reader_spin)) {
		bool came = spin_for_bytes(w, p, n, &got);

		mp_spin_over(&w->reader_spin, came);
		if (came)
			return got;
	}
	/* Only a client that stays silent is worth the events that a tick records. */
	if (w->operations != w->operations_ticked && !poll(&pfd, 1, TICK_MS)) {
		mp_exec_enter(w);
		if (!w->captures)
			w->operations_ticked = w->operations;
		mp_streams_tick(w);
		mp_exec_leave(w);
	}
	return recv(w->lane[0], p, n, 0);
}

/* All whole records of the feed. -1: the client broke the rules, w->why says how. */
int mp_session_feed(struct mp_worker *w, struct mp_feed *feed)
{
	enum mp_feed_what what;
	struct mp_feed_item it;
	bool first = w->stamps != NULL;
	int r = 0;

	mp_exec_enter(w);
	while (!r && (what = mp_feed_next(feed, &it)) != MP_FEED_MORE) {
		if (what == MP_FEED_BAD) {
			w->why = feed->reason;
			r = -1;
		} else if (what == MP_FEED_CONTROL) {
			r = mp_exec_control(w, it.record);
		} else {
			if (MP_UNLIKELY(first))
				mp_stamp(w, it.ticket);
			first = false;
			r = mp_exec_record(w, it.record, it.ticket);
		}
		if (w->bye)
			break;
	}
	/* Work for the device, as the lease's idle limit counts it: once per batch, not per record. */
	if (w->operations != w->operations_seen && w->account) {
		w->operations_seen = w->operations;
		mp_account_touch(w->account, w->account_slot, mp_now_ns());
	}
	mp_exec_leave(w);
	return r;
}

static void serve(struct mp_worker *w)
{
	struct mp_feed feed;

	if (mp_feed_init(&feed)) {
		mp_end(w, MP_WORKER_EXIT_LOST, "out of memory");
		return;
	}
	for (;;) {
		size_t room;
		uint8_t *p = mp_feed_room(&feed, &room);
		ssize_t n = receive(w, p, room);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			mp_end(w, MP_WORKER_EXIT_LOST, n ? strerror(errno) : "end of file");
			return;
		}
		mp_feed_filled(&feed, (size_t)n);
		if (mp_session_feed(w, &feed))
			mp_end(w, MP_WORKER_EXIT_PROTOCOL, w->why);
		if (w->bye)
			mp_end(w, MP_WORKER_EXIT_OK, "the program ended");
	}
}

/* ---- Beginning ---- */

void mp_worker_init(struct mp_worker *w)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutex_init(&w->exec, &attr);
	pthread_mutex_init(&w->wait_lock, NULL);
	pthread_cond_init(&w->wait_wake, NULL);
	pthread_mutex_init(&w->upload_lock, NULL);
	pthread_cond_init(&w->upload_wake, NULL);
	pthread_mutex_init(&w->slab_lock, NULL);
	pthread_mutex_init(&w->send_lock, NULL);
	pthread_cond_init(&w->send_wake, NULL);
	pthread_mutex_init(&w->help_lock, NULL);
	pthread_cond_init(&w->help_wake, NULL);
	pthread_mutex_init(&w->host_lock, NULL);
	pthread_cond_init(&w->host_wake, NULL);
	pthread_mutex_init(&w->print_lock, NULL);
	pthread_mutex_init(&w->lane_lock, NULL);
	pthread_cond_init(&w->lane_wake, NULL);
	mp_stage_init(&w->up);
	mp_stage_init(&w->down);
	w->inbox_tail = &w->inbox;
	w->run_tail = &w->run_first;
	w->send_tail = &w->send_first;
	w->begin_tail = &w->begin_first;
	w->help_tail = &w->help_first;
	w->host_q.tail = &w->host_q.first;
	w->print_fd = -1;
	w->lane[0] = w->lane[1] = w->control_fd = w->adopt_fd = -1;
	w->applied = w->acked = MP_TICKET_FIRST;
	pthread_mutexattr_destroy(&attr);
}

static int account_open(struct mp_worker *w, int fd)
{
	uint64_t limit[MP_WORKER_DEVICES];
	unsigned i;

	if (fd >= 0) {
		if (mp_account_open(fd, &w->account) || mp_account_devices(w->account) < w->devices)
			return -1;
		close(fd);
	} else {
		for (i = 0; i < w->devices; i++)
			limit[i] = w->device[i].memory;
		if (mp_account_create(NULL, w->devices, limit, &w->account, &fd))
			return -1;
		close(fd);
	}
	for (i = 0; i < w->devices; i++)
		if (mp_account_limit(w->account, i) < w->device[i].memory)
			w->device[i].memory = mp_account_limit(w->account, i);
	return mp_account_join(w->account, 0, &w->account_slot) == MP_ACCOUNT_OK ? 0 : -1;
}

static int welcome(struct mp_worker *w)
{
	struct mp_frame f = {.kind = MP_FRAME_WELCOME};
	const char *why = "out of memory";
	struct mp_buf b;
	int r;

	mp_buf_init(&b, MP_FRAME_MAX);
	r = mp_memory_init(w, &w->hello, &why);
	if (!r)
		r = mp_snapshot(w, &b);
	if (!r)
		r = mp_outlet_send(w->out[0], f, b.data, b.len);
	mp_buf_fini(&b);
	if (r)
		mp_end(w, MP_WORKER_EXIT_DRIVER, why);
	return r;
}

static void block_term(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

int mp_worker_serve(const struct mp_worker_options *o, struct mp_fail *f)
{
	struct mp_worker *w = calloc(1, sizeof(*w));
	int r;
	unsigned i;

	if (!w)
		return MP_WORKER_EXIT_LOST;
	mp_worker_init(w);
	w->process = true;
	w->lease = o->lease;
	w->control_fd = o->control_fd;
	w->adopt_fd = o->adopt_fd;
	block_term();
	/* Loading happens on helpers, whole, so that no launch has to. */
	(void)setenv("CUDA_MODULE_LOADING", "EAGER", 0);
	if (mp_print_init(w))
		return mp_fail_set(f, MP_WORKER_EXIT_LOST, "no pipe for printf"), MP_WORKER_EXIT_LOST;
	if (mp_confine_files(o->driver)) {
		mp_fail_set(f, MP_WORKER_EXIT_USAGE, "the worker cannot give up its privileges");
		return MP_WORKER_EXIT_USAGE;
	}
	r = mp_driver_open(w, o->driver, f);
	if (!r)
		r = mp_devices_take(w, o->devices, o->memory, f);
	if (r)
		return r;
	if (account_open(w, o->account_fd)) {
		mp_fail_set(f, MP_WORKER_EXIT_USAGE, "the account of the lease cannot be used");
		return MP_WORKER_EXIT_USAGE;
	}
	mp_stamp_open(w);
	if (mp_confine()) {
		mp_fail_set(f, MP_WORKER_EXIT_USAGE, "the worker cannot give up its privileges");
		return MP_WORKER_EXIT_USAGE;
	}
	r = spawn(w, term_main) || spawn(w, mp_wait_main) || spawn(w, mp_print_main);
	for (i = 0; i < HELPERS; i++)
		r |= spawn(w, mp_help_main);
	if (!r && o->lane_fd >= 0 && lane_join(w, o->lane_fd))
		return MP_WORKER_EXIT_PROTOCOL; /* the client was told why */
	if (o->control_fd >= 0)
		r |= spawn(w, control_main);
	if (r) {
		mp_fail_set(f, MP_WORKER_EXIT_LOST, "no threads");
		return MP_WORKER_EXIT_LOST;
	}
	pthread_mutex_lock(&w->lane_lock);
	while (!(w->lanes & 1u))
		pthread_cond_wait(&w->lane_wake, &w->lane_lock);
	pthread_mutex_unlock(&w->lane_lock);
	mp_log(MP_LOG_INFO, "worker", "begin", "lease=%s pid=%u program=%.16s", o->lease ? o->lease : "-",
	       w->hello.pid, w->hello.comm);
	if (!welcome(w) && !spawn(w, mp_recall_main))
		serve(w);
	return MP_WORKER_EXIT_LOST;
}

void mp_worker_fini(struct mp_worker *w)
{
	struct wait *wt;

	assert(!w->process);
	atomic_store(&w->ended, 1);
	while (mp_wait_poll(w)) /* the driver answers, or has an error: both end a wait */
		;
	mp_exec_fini(w);
	mp_upload_fini(w);
	mp_module_fini(w);
	while (w->contexts)
		mp_context_fini(w, w->contexts, false);
	mp_context_free_dead(w);
	mp_object_fini(w);
	mp_stage_fini(w, &w->up);
	mp_stage_fini(w, &w->down);
	mp_slab_fini(w);
	mp_box_fini(w);
	while ((wt = w->free_waits)) {
		w->free_waits = wt->next;
		free(wt);
	}
	free(w->ranges);
	free(w->server_nodes);
	if (w->account) {
		mp_account_leave(w->account, w->account_slot);
		mp_account_close(w->account);
	}
	free(w);
}
