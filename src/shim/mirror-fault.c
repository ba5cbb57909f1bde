/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Touching mirrored memory: the thread that faults fetches what it wants.
 *
 * The handler takes locks and asks the server, which a signal handler may do only
 * because of where it comes from: an instruction of the program (or of this library,
 * reading what the program gave it) that touched a mirror, never code that holds a
 * lock of ours or of the allocator.  All signals are held back meanwhile.  A fault
 * that is not ours goes to the handler that was there before.
 */
#include "shim/mirror.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define READ_LEAST  16u	  /* pages of a window: 64 KiB */
#define READ_MOST   4096u /* 16 MiB */
#define WRITE_MOST  1024u
#define PIECES_MOST 32u
#define ASKS_MOST   32u
#define TEND_NS	    1000000
#define WAIT_STEP_NS 50000
#define WAIT_MOST_NS 2000000000ull

static struct sigaction before; /* the program's handler, or the default */
static __thread bool chaining;
static pthread_once_t tender_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t tender = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tender_wake = PTHREAD_COND_INITIALIZER;

/* ---- Is anything under way that may write it? ---- */

static bool stream_busy(struct mp_stream *s)
{
	return !mp_stream_over(s, mp_stream_touched(s));
}

static bool pending(const struct mp_mirror *m)
{
	struct mp_ctx *c;
	struct mp_stream *s;
	bool busy = false;

	if (m->attach == CU_MEM_ATTACH_SINGLE && m->stream &&
	    m->stream->head.generation == m->stream_generation)
		return stream_busy(m->stream);
	pthread_mutex_lock(&mp_objects);
	for (c = mp_shim.contexts; c && !busy; c = c->next)
		for (s = c->live ? c->legacy : NULL; s && !busy;
		     s = s == c->legacy ? c->streams : s->next)
			busy = s != atomic_load(&c->mirror) && stream_busy(s);
	pthread_mutex_unlock(&mp_objects);
	return busy;
}

/* ---- The thread that looks after pages touched while work is under way ---- */

static void *tend(void *arg)
{
	struct mp_thread *t = mp_thread_get();
	struct timespec step = {.tv_nsec = TEND_NS};

	prctl(PR_SET_NAME, "mp-mirror");
	while (t && atomic_load(&mp_shim.state) == MP_STATE_READY && !atomic_load(&mp_shim.rpc->lost)) {
		pthread_mutex_lock(&tender);
		while (!atomic_load(&mp_shim.provisional))
			pthread_cond_wait(&tender_wake, &tender);
		pthread_mutex_unlock(&tender);
		nanosleep(&step, NULL);
		mp_ask_progress(t);
		mp_mirror_tend(t);
	}
	return NULL;
}

static void tender_start(void)
{
	pthread_attr_t attr;
	sigset_t all, was;
	pthread_t id;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!pthread_create(&id, &attr, tend, NULL))
		atomic_fetch_add(&mp_shim.own_threads, 1);
	else
		mp_log(MP_LOG_WARN, "shim", "mirror", "what=\"no thread to look after mapped memory\"");
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}

static void provisional(struct mp_mirror *m)
{
	if (m->provisional)
		return;
	m->provisional = true;
	atomic_fetch_add(&mp_shim.provisional, 1);
	pthread_once(&tender_once, tender_start);
	pthread_mutex_lock(&tender);
	pthread_cond_signal(&tender_wake);
	pthread_mutex_unlock(&tender);
}

/* ---- Fetching ---- */

/* Pages [from, to) of a mirror that is busy for it. */
struct piece {
	struct mp_mirror *m;
	size_t from, to;
};

struct asks {
	struct mp_answer a[ASKS_MOST];
	struct mp_stream *s[ASKS_MOST];
	unsigned n;
	CUresult error;
};

static void asks_await(struct asks *x)
{
	unsigned i;

	for (i = 0; i < x->n; i++) {
		CUresult r = (CUresult)mp_rpc_await(mp_shim.rpc, &x->a[i]);

		free(x->a[i].own_data);
		if (!r)
			mp_stream_reached(x->s[i], x->a[i].ticket);
		else if (!x->error)
			x->error = r;
	}
	x->n = 0;
}

static void ask(struct mp_thread *t, struct asks *x, struct mp_stream *s, const struct mp_mirror *m,
		uint64_t at, uint64_t n)
{
	struct mp_msg_cuMemcpyDtoHAsync_v2 msg = {.srcDevice = m->device + at, .ByteCount = n,
						  .dstHost = (uintptr_t)m->alias + at,
						  .hStream = s->head.id};
	struct mp_shape to = {.base = m->alias + at, .size = n};
	struct mp_out o;

	if (x->n == ASKS_MOST)
		asks_await(x);
	if (x->error)
		return;
	x->error = MP_PUT(&o, t, MP_CALL_cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2, &msg,
			  s->ctx->head.id);
	if (x->error)
		return;
	o.rec->flags |= MP_REC_REPLY;
	if (mp_rpc_download(mp_shim.rpc, o.ticket, &to, false))
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
	x->s[x->n] = s;
	mp_rpc_expect(mp_shim.rpc, &x->a[x->n++], o.ticket);
	mp_stream_issue(s, o.ticket);
	mp_out_send(&o);
}

/* A live context, if possible the mirror's own. */
static struct mp_ctx *context_of(const struct mp_mirror *m)
{
	struct mp_ctx *c = m->ctx;

	if (c && c->live)
		return c;
	pthread_mutex_lock(&mp_objects);
	for (c = mp_shim.contexts; c && !c->live; c = c->next)
		;
	pthread_mutex_unlock(&mp_objects);
	return c;
}

/* No lock is held. Where it fails, the bytes stay as they were: the error is the context's. */
static void fetch(struct mp_thread *t, const struct piece *v, unsigned n, unsigned merges)
{
	struct asks x = {.n = 0};
	unsigned i;
	size_t k;

	t->waits[MP_CALL_cuMemAllocManaged]++;
	for (i = 0; i < n && !x.error; i++) {
		struct mp_mirror *m = v[i].m;
		struct mp_ctx *c = context_of(m);
		struct mp_stream *s = c ? mp_mirror_stream(t, c) : NULL;

		if (!s)
			continue;
		if (merges >> i & 1)
			x.error = mp_mirror_send(t, m);
		for (k = 0; k < m->extents; k++) {
			uint64_t from = v[i].from * MP_PAGE, to = v[i].to * MP_PAGE;
			uint64_t end = m->extent[k].at + m->extent[k].size;

			from = m->extent[k].at > from ? m->extent[k].at : from;
			to = end < to ? end : to;
			if (from < to)
				ask(t, &x, s, m, from, to - from);
		}
	}
	asks_await(&x);
	if (x.error)
		mp_log(MP_LOG_WARN, "shim", "mirror", "error=%d what=\"memory cannot be fetched\"",
		       (int)x.error);
}

/* ---- Windows; `mirrors` is held ---- */

static bool absent(const struct mp_mirror *m, size_t i)
{
	return m->state[i] == MP_PAGE_STALE || m->state[i] == MP_PAGE_MERGE;
}

/* Around a page: 64 KiB, more when it goes on from the last window, forwards or backwards. */
static void window(struct mp_mirror *m, size_t page, struct piece *ret)
{
	size_t had = m->read_to - m->read_from, n = had * 2 < READ_MOST ? had * 2 : READ_MOST;
	size_t from, to;

	n = n < READ_LEAST ? READ_LEAST : n;
	if (m->pages <= READ_LEAST) {
		from = 0;
		to = m->pages;
	} else if (had && page == m->read_to) {
		from = page;
		to = page + n;
	} else if (had && page + 1 == m->read_from) {
		to = page + 1;
		from = to > n ? to - n : 0;
	} else {
		from = page & ~(size_t)(READ_LEAST - 1);
		to = from + READ_LEAST;
	}
	if (to > m->pages)
		to = m->pages;
	ret->m = m;
	for (ret->from = page; ret->from > from && absent(m, ret->from - 1); ret->from--)
		;
	for (ret->to = page + 1; ret->to < to && absent(m, ret->to); ret->to++)
		;
	m->read_from = ret->from;
	m->read_to = ret->to;
}

static void touched(struct mp_mirror *m, size_t from, size_t to)
{
	if (!m->now_to || from < m->now_from)
		m->now_from = from;
	if (to > m->now_to)
		m->now_to = to;
}

/*
 * What will be wanted next: what was looked at after the work before, and small neighbours,
 * as lists and trees have them.
 */
static unsigned company(struct mp_mirror *m, struct piece *v, unsigned n)
{
	size_t at = mp_mirror_place(m->host), i;
	uint64_t end = m->host + m->pages * MP_PAGE;
	struct mp_mirror *o;

	for (i = at; m->pages < READ_LEAST && (o = mp_mirror_nth(i)) && n < PIECES_MOST / 2; i++) {
		if (o->host != end || o->pages >= READ_LEAST || o->busy || o->hosted)
			break;
		end += o->pages * MP_PAGE;
		v[n++] = (struct piece){o, 0, o->pages};
		o->busy = true;
	}
	for (i = 0; i < 256 && n < PIECES_MOST && (o = mp_mirror_nth(i)); i++) {
		if (o == m || o->busy || o->hosted || !o->last_to || o->last_to - o->last_from > 64)
			continue;
		v[n++] = (struct piece){o, o->last_from, o->last_to};
		o->busy = true;
		o->last_to = 0; /* it must be looked at again to be fetched again */
	}
	return n;
}

/* MERGE pages of the piece are sent before it is fetched. */
static bool merge_take(const struct piece *p)
{
	bool any = false;
	size_t i;

	for (i = p->from; i < p->to; i++)
		if (p->m->state[i] == MP_PAGE_MERGE) {
			p->m->state[i] = MP_PAGE_SENT;
			any = true;
		}
	return any;
}

/* Fetched: readable from now on. */
static void piece_end(const struct piece *p)
{
	struct mp_mirror *m = p->m;
	struct mp_twin **at, *w;
	size_t i;

	for (i = p->from; i < p->to; i++) {
		if (m->state[i] == MP_PAGE_STALE)
			mp_mirror_host(m, 1);
		m->state[i] = MP_PAGE_CLEAN;
		if (m->twins && (w = *(at = mp_mirror_twin(m, i)))) {
			*at = w->next;
			free(w);
		}
	}
	mp_mirror_protect(m, p->from, p->to, PROT_READ);
}

/*
 * Managed memory is the device's while work is under way, and who touches it then waits for that
 * work, as if it had been synchronised with: what both sides add to comes out right.  Not for ever,
 * since a kernel may be waiting for the program.
 */
static bool patient(const struct mp_mirror *m)
{
	return !m->impatient && (m->kind == MP_MIRROR_MANAGED || m->kind == MP_MIRROR_VARIABLE) &&
	       pending(m);
}

/* `mirrors` is held, and let go meanwhile: the mirror at this address may be another one then. */
static void patience(struct mp_thread *t, uint64_t addr)
{
	struct timespec step = {.tv_nsec = WAIT_STEP_NS};
	uint64_t end = mp_now_ns() + WAIT_MOST_NS;
	struct mp_mirror *m;

	while ((m = mp_mirror_at(addr)) && patient(m) && !atomic_load(&mp_shim.rpc->lost)) {
		if (mp_now_ns() > end) {
			m->impatient = true;
			return;
		}
		pthread_mutex_unlock(&mp_mirrors);
		mp_ask_progress(t);
		nanosleep(&step, NULL);
		pthread_mutex_lock(&mp_mirrors);
	}
}

/* `mirrors` is held, and let go meanwhile.  m is not busy, the page is absent. */
static void bring(struct mp_thread *t, struct mp_mirror *m, size_t page)
{
	struct piece v[PIECES_MOST];
	unsigned n = 1, i, merges, round = 0;
	uint32_t pend;

	window(m, page, v);
	m->busy = true;
	n = company(m, v, n);
	do {
		pend = merges = 0;
		for (i = 0; i < n; i++) {
			v[i].m->passed = false;
			if (pending(v[i].m)) {
				pend |= 1u << i;
				provisional(v[i].m);
			}
			merges |= (unsigned)merge_take(&v[i]) << i;
		}
		pthread_mutex_unlock(&mp_mirrors);
		if (pend) /* perhaps it is over, and nobody has asked */
			mp_ask_progress(t);
		fetch(t, v, n, merges);
		pthread_mutex_lock(&mp_mirrors);
		/* Work that ended meanwhile may have written behind our back. */
	} while (m->passed && round++ < 8);
	touched(m, v[0].from, v[0].to);
	for (i = 0; i < n; i++) {
		piece_end(&v[i]);
		v[i].m->busy = false;
	}
	pthread_cond_broadcast(&mp_mirrors_idle);
}

/* The page is clean: from now on it may be written, with company when writing goes on. */
static void writable(struct mp_mirror *m, size_t page)
{
	size_t n = page == m->write_to && m->write_run ? 2 * m->write_run : 1, i;
	bool twin = m->provisional && pending(m);

	n = n > WRITE_MOST ? WRITE_MOST : n;
	if (twin) {
		struct mp_twin *w = malloc(sizeof(*w));

		n = 1;
		if (w) {
			w->page = page;
			memcpy(w->bytes, m->alias + page * MP_PAGE, MP_PAGE);
			w->next = m->twins;
			m->twins = w;
		}
	}
	for (i = page; i < page + n && i < m->pages && m->state[i] == MP_PAGE_CLEAN; i++)
		m->state[i] = MP_PAGE_DIRTY;
	mp_mirror_protect(m, page, i, PROT_READ | PROT_WRITE);
	m->write_to = i;
	m->write_run = i - page;
}

/* Nobody is there to ask: the program gets what there is, and an error from its next call. */
static void give_up(struct mp_mirror *m, size_t page)
{
	if (m->state[page] == MP_PAGE_STALE)
		mp_mirror_host(m, 1);
	m->state[page] = MP_PAGE_DIRTY;
	mp_mirror_protect(m, page, page + 1, PROT_READ | PROT_WRITE);
}

/* true: the access may be tried again. */
static bool resolve(uint64_t addr, bool write)
{
	bool alone = atomic_load(&mp_shim.state) != MP_STATE_READY || atomic_load(&mp_shim.rpc->lost) ||
		     mp_shim.pid != getpid() || mp_rpc_own_thread;
	struct mp_thread *t = alone ? NULL : mp_thread_get();
	struct mp_mirror *m;
	size_t page;

	pthread_mutex_lock(&mp_mirrors);
	if (t && (m = mp_mirror_at(addr)) && absent(m, (addr - m->host) / MP_PAGE) && patient(m))
		patience(t, addr);
	while ((m = mp_mirror_at(addr)) && m->busy && !alone)
		pthread_cond_wait(&mp_mirrors_idle, &mp_mirrors);
	if (m) {
		page = (addr - m->host) / MP_PAGE;
		if (!t && absent(m, page)) {
			give_up(m, page);
		} else {
			if (absent(m, page))
				bring(t, m, page);
			/* While it was away the mirror may have ended. */
			m = mp_mirror_at(addr);
			if (m && write && !m->busy && m->state[page] == MP_PAGE_CLEAN)
				writable(m, page);
		}
	}
	pthread_mutex_unlock(&mp_mirrors);
	return m;
}

void mp_mirror_fetch_all(struct mp_thread *t, uint64_t p, uint64_t n)
{
	uint64_t end = p + n;
	struct mp_mirror *m;

	while (p < end && (m = mp_mirror_at(p))) {
		size_t i = (p - m->host) / MP_PAGE;

		if (m->busy)
			pthread_cond_wait(&mp_mirrors_idle, &mp_mirrors);
		else if (absent(m, i) && !atomic_load(&mp_shim.rpc->lost))
			bring(t, m, i);
		else
			p += MP_PAGE;
	}
}

/* ---- The signal ---- */

static void chain(int sig, siginfo_t *info, void *context)
{
	struct sigaction old = before;

	if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* sent by somebody, and not wanted */
	if (chaining || (!(old.sa_flags & SA_SIGINFO) &&
			 (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN))) {
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig);
		return; /* the instruction faults again, and the program ends as it would have */
	}
	chaining = true;
	if (old.sa_flags & SA_SIGINFO)
		old.sa_sigaction(sig, info, context);
	else
		old.sa_handler(sig);
	chaining = false;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;
	bool write = u->uc_mcontext.gregs[REG_ERR] & 2;
	int e = errno;

	if (info->si_code == SEGV_ACCERR && resolve((uintptr_t)info->si_addr, write)) {
		errno = e;
		return;
	}
	chain(sig, info, context);
	errno = e;
}

static int install(void)
{
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigfillset(&a.sa_mask);
	return sigaction(SIGSEGV, &a, &before);
}

int mp_fault_init(void)
{
	return install();
}

void mp_fault_check(void)
{
	struct sigaction now;

	if (!sigaction(SIGSEGV, NULL, &now) &&
	    !(now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault))
		(void)install();
}
