/* SPDX-License-Identifier: Apache-2.0 */
/* A session from hello to half-close: its lanes, its ring, its threads. */
#include "rpc/client.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

#define SPIN_US 30
#define IN_CAP  (256u << 10)

static int random_bytes(void *p, size_t n)
{
	return syscall(SYS_getrandom, p, n, 0) == (long)n ? 0 : -1;
}

/* The same pages twice in a row, so that no record is ever split. */
static uint8_t *ring_map(void)
{
	int fd = (int)syscall(SYS_memfd_create, "motorpool-ring", 1u /* close on exec */);
	uint8_t *p = MAP_FAILED;
	int i;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, MP_RING_SIZE))
		p = mmap(NULL, 2 * (size_t)MP_RING_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	for (i = 0; i < 2 && p != MAP_FAILED; i++)
		if (mmap(p + (size_t)i * MP_RING_SIZE, MP_RING_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
			munmap(p, 2 * (size_t)MP_RING_SIZE);
			p = MAP_FAILED;
		}
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static void hello_fill(struct mp_hello *h, const struct mp_rpc_config *c, const uint8_t *id)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, MP_HELLO_MAGIC, sizeof(h->magic));
	h->major = MP_PROTO_MAJOR;
	h->minor = MP_PROTO_MINOR;
	memcpy(h->session, id, sizeof(h->session));
	memcpy(h->secret, c->secret, sizeof(h->secret));
	h->pid = (uint32_t)getpid();
	h->uid = (uint32_t)getuid();
	h->calls = c->calls;
	h->window_size = c->window_size;
	memcpy(h->window_base, c->window_base, sizeof(h->window_base));
	prctl(PR_GET_NAME, h->comm);
	h->comm[sizeof(h->comm) - 1] = 0;
}

/* Both lanes at once: two connects under way together, a hello on each as soon as it stands. */
static int lanes_open(struct mp_session *s, const struct mp_rpc_config *c, const char *text,
		      struct mp_fail *f)
{
	uint8_t id[MP_SESSION_BYTES];
	struct mp_hello hello;
	struct mp_addr a;
	uint64_t begun;
	int i;

	if (mp_addr_parse(text, &a, f))
		return -1;
	if (random_bytes(id, sizeof(id)))
		return mp_fail_set(f, errno, "no random bytes: %s", strerror(errno));
	hello_fill(&hello, c, id);
	begun = mp_now_ns();
	for (i = 0; i < 2; i++)
		if ((s->fd[i] = mp_net_dial(&a, f)) < 0)
			return -1;
	for (i = 0; i < 2; i++) {
		if (mp_net_dial_wait(s->fd[i], &a, c->timeout_ms, f))
			return -1;
		s->fd[i] = mp_link_wrap(s->fd[i], begun);
		hello.lane = (uint16_t)i;
		if (mp_net_send(s->fd[i], &hello, sizeof(hello)))
			return mp_fail_set(f, errno, "the server at %s hung up: %s", text,
					   strerror(errno));
	}
	return 0;
}

static void lanes_close(struct mp_session *s)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (s->fd[i] >= 0)
			close(s->fd[i]);
		s->fd[i] = -1;
	}
}

/* A snapshot is as long as it says. */
static bool snapshot_fits(const struct mp_snapshot *p, size_t n)
{
	size_t device;

	if (n < sizeof(*p) || p->devices > 256 || p->attributes > 4096 || p->limits > 256)
		return false;
	device = sizeof(struct mp_snapshot_device) + (size_t)mp_align_up(p->attributes * 4u, 8) +
		 p->limits * 8u;
	return n == sizeof(*p) + p->devices * device;
}

static int welcome_take(struct mp_session *s, const struct mp_rpc_config *c, const char *text,
			struct mp_snapshot **ret, size_t *ret_size, struct mp_fail *f)
{
	struct mp_frame w;
	uint8_t *p;

	if (mp_net_recv_for(s->fd[0], &w, sizeof(w), c->timeout_ms))
		return mp_fail_set(f, errno, "the server at %s does not answer: %s", text,
				   strerror(errno));
	if ((w.kind != MP_FRAME_WELCOME && w.kind != MP_FRAME_GOODBYE) || w.length > MP_FRAME_MAX)
		return mp_fail_set(f, EPROTO, "the server at %s does not speak this protocol", text);
	p = calloc(1, (size_t)w.length + 1);
	if (!p || mp_net_recv_for(s->fd[0], p, w.length, c->timeout_ms)) {
		free(p);
		return mp_fail_set(f, errno, "the welcome of %s is cut short", text);
	}
	if (w.kind == MP_FRAME_GOODBYE) {
		mp_fail_set(f, EPERM, "the server at %s refuses: %.300s", text, (char *)p);
		free(p);
		return -1;
	}
	if (!snapshot_fits((struct mp_snapshot *)p, w.length)) {
		free(p);
		return mp_fail_set(f, EPROTO, "the snapshot of %s is malformed", text);
	}
	*ret = (struct mp_snapshot *)p;
	*ret_size = w.length;
	return 0;
}

static int threads_start(struct mp_session *s)
{
	void *(*const run[])(void *) = {mp_session_receive, mp_session_flush, mp_session_bulk};
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;
	size_t i;
	int e = 0;

	/* The program's signal handlers run in the program's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256u << 10);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (i = 0; i < MP_ARRAY_LEN(run) && !e; i++)
		e = pthread_create(&t, &attr, run[i], s);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

static int processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
}

static struct mp_session *session_new(const struct mp_rpc_config *c)
{
	struct mp_session *s = calloc(1, sizeof(*s));
	int i;

	if (!s)
		return NULL;
	s->fd[0] = s->fd[1] = -1;
	s->ops = *c->ops;
	s->arg = c->arg;
	s->rpc.ring = ring_map();
	s->in = malloc(IN_CAP);
	s->in_cap = IN_CAP;
	atomic_init(&s->rpc.limit, MP_RING_SIZE);
	pthread_mutex_init(&s->table, NULL);
	pthread_mutex_init(&s->queue, NULL);
	pthread_cond_init(&s->queued, NULL);
	for (i = 0; i < MP_UPLOAD_CLASSES; i++)
		s->upload_last[i] = &s->upload_first[i];
	s->spin = processors() > 1;
	if (!s->rpc.ring || !s->in) {
		if (s->rpc.ring)
			munmap(s->rpc.ring, 2 * (size_t)MP_RING_SIZE);
		free(s->in);
		free(s);
		return NULL;
	}
	return s;
}

struct mp_rpc *mp_rpc_open(const struct mp_rpc_config *config, struct mp_snapshot **ret_snapshot,
			   size_t *ret_size, struct mp_fail *f)
{
	struct mp_session *s = session_new(config);
	char list[1024], *rest = list, *one;
	uint64_t tick = mp_tick(), ns = mp_now_ns();
	int e = -1;

	if (!s) {
		mp_fail_set(f, ENOMEM, "no memory for a session");
		return NULL;
	}
	snprintf(list, sizeof(list), "%s", config->data);
	mp_fail_set(f, EINVAL, "no address of a server is given");
	while (e && (one = strsep(&rest, ","))) {
		if (!*one)
			continue;
		e = lanes_open(s, config, one, f) ||
		    welcome_take(s, config, one, ret_snapshot, ret_size, f);
		if (e)
			lanes_close(s);
	}
	if (!e) {
		/* How many ticks a microsecond has, from the time that this took (20 us at least). */
		while (mp_now_ns() - ns < 20000)
			;
		tick = (mp_tick() - tick) * 1000 / (mp_now_ns() - ns) + 1;
		s->rpc.quiet_ticks = MP_FLUSH_US * tick;
		s->spin_ticks = SPIN_US * tick;
		e = threads_start(s);
		if (!e)
			return &s->rpc;
		mp_fail_set(f, e, "no thread for the session: %s", strerror(e));
		free(*ret_snapshot);
		*ret_snapshot = NULL;
		/* A thread may be using the session: it ends with its lanes and the rest is left. */
		mp_rpc_lose(&s->rpc, 0, "no threads");
		return NULL;
	}
	munmap(s->rpc.ring, 2 * (size_t)MP_RING_SIZE);
	free(s->in);
	free(s);
	return NULL;
}

void mp_rpc_close(struct mp_rpc *r, int timeout_ms)
{
	struct mp_session *s = mp_session_of(r);
	uint64_t end = mp_now_ns() + (uint64_t)timeout_ms * 1000000u;

	if (atomic_load(&r->lost))
		return;
	/* A thread that was ended in the middle of a record must not hold up the exit for ever. */
	while (atomic_load(&r->sent) < atomic_load(&r->head) && !atomic_load(&r->lost) &&
	       mp_now_ns() < end) {
		mp_rpc_kick(r);
		if (atomic_load(&r->sent) < atomic_load(&r->head))
			sched_yield();
	}
	s->closing = true;
	mp_rpc_lose(r, 4 /* CUDA_ERROR_DEINITIALIZED */, "closed");
	shutdown(s->fd[0], SHUT_WR);
	mp_link_drain((int)(mp_now_ns() < end ? (end - mp_now_ns()) / 1000000u : 0));
}

void mp_rpc_forked(struct mp_rpc *r)
{
	struct mp_session *s = mp_session_of(r);

	atomic_store(&r->lost, 3 /* CUDA_ERROR_NOT_INITIALIZED */);
	lanes_close(s);
	mp_link_forked();
}
