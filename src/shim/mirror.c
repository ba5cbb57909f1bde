/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrored memory: the table of mirrors, and how what the program wrote reaches the device. */
#include "shim/mirror.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define VARIABLES_SIZE ((uint64_t)16 << 30) /* of the file, behind the window */

pthread_mutex_t mp_mirrors = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t mp_mirrors_idle = PTHREAD_COND_INITIALIZER;
uint64_t mp_mirror_epoch = 1; /* moves when pages become stale; guarded by mirrors */

static struct mp_mirror **list MP_GUARDED_BY(mirrors); /* by host address */
static size_t nlist, cap MP_GUARDED_BY(mirrors);
static struct mp_mirror *hosted MP_GUARDED_BY(mirrors);
static unsigned nregistered MP_GUARDED_BY(mirrors);
static uint64_t variables_next MP_GUARDED_BY(mirrors);
static uint8_t *alias;
static uint64_t alias_size;
static int file = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t streams = PTHREAD_MUTEX_INITIALIZER; /* guards making a context's own stream */

/* ---- The file ---- */

static void file_open(void)
{
	int fd = (int)syscall(SYS_memfd_create, "motorpool-mirror", 1u /* MFD_CLOEXEC */), high;
	void *p;

	if (fd < 0)
		return;
	/* Out of the way of programs that count on small numbers. */
	high = fcntl(fd, F_DUPFD_CLOEXEC, 500);
	if (high >= 0) {
		close(fd);
		fd = high;
	}
	alias_size = mp_shim.window_size + VARIABLES_SIZE;
	p = ftruncate(fd, (off_t)alias_size)
		    ? MAP_FAILED
		    : mmap(NULL, alias_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED || mp_fault_init()) {
		close(fd);
		return;
	}
	(void)madvise(p, alias_size, MADV_DONTDUMP);
	alias = p;
	variables_next = mp_shim.window_size;
	file = fd;
}

int mp_mirror_init(void)
{
	pthread_once(&once, file_open);
	return file < 0 ? -1 : 0;
}

/* The program's view of some pages of the file. */
static int view_map(const struct mp_mirror *m, int prot)
{
	return mmap((void *)m->host, m->pages * MP_PAGE, prot, MAP_SHARED | MAP_FIXED, file,
		    (off_t)m->offset) == MAP_FAILED
		       ? -1
		       : 0;
}

void mp_mirror_protect(struct mp_mirror *m, size_t from, size_t to, int prot)
{
	if (from < to && mprotect((void *)(m->host + from * MP_PAGE), (to - from) * MP_PAGE, prot))
		mp_log(MP_LOG_ERROR, "shim", "mirror", "what=\"pages cannot be protected\"");
}

/* ---- The table; `mirrors` is held ---- */

/* The first mirror that begins above p. */
size_t mp_mirror_place(uint64_t p)
{
	size_t lo = 0, hi = nlist;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (list[mid]->host <= p)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct mp_mirror *mp_mirror_nth(size_t i)
{
	return i < nlist ? list[i] : NULL;
}

struct mp_mirror *mp_mirror_at(uint64_t p)
{
	size_t i = mp_mirror_place(p);
	struct mp_mirror *m = i ? list[i - 1] : NULL;

	return m && p - m->host < m->pages * MP_PAGE ? m : NULL;
}

/* By device address: the same but for registered memory. */
static struct mp_mirror *at_device(uint64_t p)
{
	struct mp_mirror *m = mp_mirror_at(p);
	size_t i;

	if (m && m->device == m->host)
		return m;
	for (i = 0; nregistered && i < nlist; i++)
		if (list[i]->device != list[i]->host && p - list[i]->device < list[i]->pages * MP_PAGE)
			return list[i];
	return NULL;
}

static int insert(struct mp_mirror *m)
{
	size_t i;

	if (nlist == cap) {
		size_t n = cap ? 2 * cap : 64;
		struct mp_mirror **p = realloc(list, n * sizeof(*p));

		if (!p)
			return -1;
		list = p;
		cap = n;
	}
	i = mp_mirror_place(m->host);
	memmove(&list[i + 1], &list[i], (nlist - i) * sizeof(*list));
	list[i] = m;
	nlist++;
	nregistered += m->device != m->host;
	atomic_fetch_add(&mp_shim.mirrors, 1);
	return 0;
}

void mp_mirror_host(struct mp_mirror *m, size_t pages)
{
	m->hosted += pages;
	if (!m->listed && m->hosted) {
		m->listed = true;
		m->next_hosted = hosted;
		m->prev_hosted = &hosted;
		if (hosted)
			hosted->prev_hosted = &m->next_hosted;
		hosted = m;
		atomic_fetch_add(&mp_shim.hosted, 1);
	}
}

static void unlist(struct mp_mirror *m)
{
	if (!m->listed)
		return;
	*m->prev_hosted = m->next_hosted;
	if (m->next_hosted)
		m->next_hosted->prev_hosted = m->prev_hosted;
	m->listed = false;
	atomic_fetch_sub(&mp_shim.hosted, 1);
}

/* Takes it out of the table: nobody finds it any more. */
static void take_out(struct mp_mirror *m)
{
	size_t i = mp_mirror_place(m->host) - 1;

	assert(i < nlist && list[i] == m);
	memmove(&list[i], &list[i + 1], (nlist - i - 1) * sizeof(*list));
	nlist--;
	nregistered -= m->device != m->host;
	unlist(m);
	if (m->provisional)
		atomic_fetch_sub(&mp_shim.provisional, 1);
	atomic_fetch_sub(&mp_shim.mirrors, 1);
}

static void mirror_free(struct mp_mirror *m)
{
	struct mp_twin *w;

	while ((w = m->twins)) {
		m->twins = w->next;
		free(w);
	}
	free(m->extent);
	free(m->state);
	free(m);
}

bool mp_mirror_find(uint64_t p, struct mp_mirror *ret)
{
	struct mp_mirror *m;

	if (!atomic_load_explicit(&mp_shim.mirrors, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&mp_mirrors);
	m = mp_mirror_at(p);
	if (!m)
		m = at_device(p);
	if (m)
		*ret = *m;
	pthread_mutex_unlock(&mp_mirrors);
	return m;
}

bool mp_mirror_change(uint64_t p, void (*fn)(struct mp_mirror *m, void *arg), void *arg)
{
	struct mp_mirror *m;

	pthread_mutex_lock(&mp_mirrors);
	m = mp_mirror_at(p);
	if (m)
		fn(m, arg);
	pthread_mutex_unlock(&mp_mirrors);
	return m;
}

/* ---- The stream on which bytes go between the two sides ---- */

struct mp_stream *mp_mirror_stream(struct mp_thread *t, struct mp_ctx *c)
{
	struct mp_msg_cuStreamCreate m = {.Flags = CU_STREAM_NON_BLOCKING};
	struct mp_stream *s = atomic_load_explicit(&c->mirror, memory_order_acquire);
	struct mp_out o;

	if (MP_LIKELY(s != NULL))
		return s;
	pthread_mutex_lock(&streams);
	s = atomic_load(&c->mirror);
	if (!s && (s = mp_stream_new(c, CU_STREAM_NON_BLOCKING, 0))) {
		m.phStream = s->head.id;
		if (MP_SEND(&o, t, MP_CALL_cuStreamCreate, cuStreamCreate, &m, c->head.id)) {
			mp_stream_drop(s);
			s = NULL;
		}
		atomic_store_explicit(&c->mirror, s, memory_order_release);
	}
	pthread_mutex_unlock(&streams);
	return s;
}

/* ---- Making one ---- */

static struct mp_mirror *mirror_make(const struct mp_mirror_new *n)
{
	struct mp_mirror *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->kind = n->kind;
	m->host = n->host;
	m->device = n->device;
	m->base = n->base;
	m->size = n->size;
	m->pages = n->pages;
	m->ctx = n->ctx;
	m->attach = n->attach;
	m->extents = 1;
	m->extent = calloc(1, sizeof(*m->extent));
	m->state = malloc(n->pages);
	if (!m->extent || !m->state) {
		mirror_free(m);
		return NULL;
	}
	m->extent->at = n->base - n->host;
	m->extent->size = n->size;
	memset(m->state, MP_PAGE_FRESH, n->pages);
	return m;
}

/* Bytes that are there move into the file; who writes meanwhile waits, as for any busy mirror. */
static int adopt(struct mp_mirror *m)
{
	static const uint8_t zero[MP_PAGE];
	size_t i;

	if (mprotect((void *)m->host, m->pages * MP_PAGE, PROT_READ))
		return -1;
	for (i = 0; i < m->pages; i++) {
		const uint8_t *p = (const uint8_t *)m->host + i * MP_PAGE;

		if (memcmp(p, zero, MP_PAGE))
			memcpy(m->alias + i * MP_PAGE, p, MP_PAGE);
	}
	return view_map(m, PROT_READ | PROT_WRITE);
}

CUresult mp_mirror_new(struct mp_thread *t, const struct mp_mirror_new *n)
{
	struct mp_mirror *m;
	int e;

	assert(!(n->host % MP_PAGE) && !(n->device % MP_PAGE) && n->pages);
	if (mp_mirror_init())
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!mp_mirror_stream(t, n->ctx) || !(m = mirror_make(n)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->offset = n->device - mp_shim.window_base;
	assert(n->device >= mp_shim.window_base && m->offset + n->pages * MP_PAGE <= mp_shim.window_size);
	m->alias = alias + m->offset;
	m->busy = true;
	pthread_mutex_lock(&mp_mirrors);
	e = insert(m);
	pthread_mutex_unlock(&mp_mirrors);
	if (e) {
		mirror_free(m);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	e = n->adopt ? adopt(m) : view_map(m, PROT_READ | PROT_WRITE);
	pthread_mutex_lock(&mp_mirrors);
	m->busy = false;
	if (!e)
		mp_mirror_host(m, m->pages);
	else
		take_out(m);
	pthread_cond_broadcast(&mp_mirrors_idle);
	pthread_mutex_unlock(&mp_mirrors);
	if (e)
		mirror_free(m);
	mp_fault_check();
	return e ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static int extent_add(struct mp_mirror *m, uint64_t address, uint64_t size)
{
	struct mp_extent *x = realloc(m->extent, (m->extents + 1) * sizeof(*x));

	if (!x)
		return -1;
	m->extent = x;
	x[m->extents].at = address - m->host;
	x[m->extents++].size = size;
	return 0;
}

/*
 * Where the driver put it.  Its pages begin as the device has them.  Two variables that
 * share a page but not their first one would need two owners for it: drivers lay managed
 * variables out in allocations of their own, so that a larger mirror of the neighbours is
 * made at once.
 */
CUresult mp_mirror_variable(struct mp_thread *t, struct mp_ctx *c, uint64_t address, uint64_t size)
{
	uint64_t first = address & ~(uint64_t)(MP_PAGE - 1), end = mp_align_up(address + size, MP_PAGE);
	struct mp_mirror_new n = {.kind = MP_MIRROR_VARIABLE, .host = first, .device = first,
				  .base = address, .size = size, .pages = (end - first) / MP_PAGE,
				  .ctx = c, .attach = CU_MEM_ATTACH_GLOBAL};
	struct mp_mirror *m;
	CUresult r = CUDA_SUCCESS;

	if (mp_mirror_init())
		return CUDA_ERROR_NOT_SUPPORTED;
	pthread_mutex_lock(&mp_mirrors);
	m = mp_mirror_at(address);
	if (m && m->kind == MP_MIRROR_VARIABLE) {
		size_t i;

		for (i = 0; i < m->extents && m->host + m->extent[i].at != address; i++)
			;
		if (i == m->extents && (address + size > m->host + m->pages * MP_PAGE ||
					extent_add(m, address, size)))
			r = CUDA_ERROR_NOT_SUPPORTED;
		pthread_mutex_unlock(&mp_mirrors);
		return r;
	}
	m = mirror_make(&n);
	if (m && variables_next + n.pages * MP_PAGE <= alias_size &&
	    mmap((void *)first, n.pages * MP_PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
		    (void *)first) {
		m->offset = variables_next;
		m->alias = alias + variables_next;
		memset(m->state, MP_PAGE_STALE, n.pages);
		r = view_map(m, PROT_NONE) || insert(m) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
		if (!r)
			variables_next += n.pages * MP_PAGE;
	} else {
		r = m ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_OUT_OF_MEMORY;
		mp_log(MP_LOG_ERROR, "shim", "managed",
		       "address=0x%llx what=\"a managed variable's place is taken in this process\"",
		       (unsigned long long)address);
	}
	pthread_mutex_unlock(&mp_mirrors);
	if (r && m)
		mirror_free(m);
	mp_fault_check();
	return r;
}

/* ---- Ending one ---- */

static void file_drop(const struct mp_mirror *m)
{
	(void)fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)m->offset,
			(off_t)(m->pages * MP_PAGE));
}

/* Its bytes as private memory at the same addresses. */
static void unadopt(struct mp_mirror *m)
{
	size_t n = m->pages * MP_PAGE;
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return; /* it stays a view of the file, which is as good until that page is used again */
	memcpy(p, m->alias, n);
	if (mremap(p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)m->host) == MAP_FAILED)
		munmap(p, n);
}

void mp_mirror_end(struct mp_thread *t, uint64_t host, bool keep)
{
	struct mp_mirror *m;

	pthread_mutex_lock(&mp_mirrors);
	m = mp_mirror_at(host);
	if (m && keep)
		mp_mirror_fetch_all(t, m->host, m->pages * MP_PAGE);
	while ((m = mp_mirror_at(host)) && m->busy)
		pthread_cond_wait(&mp_mirrors_idle, &mp_mirrors);
	if (m && keep) {
		m->busy = true; /* writers wait */
		mp_mirror_protect(m, 0, m->pages, PROT_READ);
		unadopt(m);
	} else if (m && m->kind == MP_MIRROR_VARIABLE) {
		munmap((void *)m->host, m->pages * MP_PAGE); /* not an address of the window */
	} else if (m) {
		mmap((void *)m->host, m->pages * MP_PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	}
	if (m) {
		take_out(m);
		file_drop(m);
		pthread_cond_broadcast(&mp_mirrors_idle);
	}
	pthread_mutex_unlock(&mp_mirrors);
	if (m)
		mirror_free(m);
}

void mp_mirror_ctx_gone(struct mp_thread *t, struct mp_ctx *c)
{
	uint64_t host;
	size_t i;

	mp_host_ctx_gone(t, c);
	do {
		host = 0;
		pthread_mutex_lock(&mp_mirrors);
		for (i = 0; i < nlist && !host; i++)
			if (list[i]->ctx == c && list[i]->kind != MP_MIRROR_VARIABLE)
				host = list[i]->host;
			else if (list[i]->ctx == c)
				list[i]->ctx = NULL;
		pthread_mutex_unlock(&mp_mirrors);
		if (host)
			mp_mirror_end(t, host, false);
	} while (host);
	atomic_store(&c->mirror, NULL);
}

/* ---- What the program wrote ---- */

struct mp_twin **mp_mirror_twin(struct mp_mirror *m, size_t page)
{
	struct mp_twin **p;

	for (p = &m->twins; *p && (*p)->page != page; p = &(*p)->next)
		;
	return p;
}

struct sending {
	struct mp_thread *t;
	struct mp_stream *s;
	uint64_t ticket; /* of the last copy, 0: none */
	CUresult error;
};

static void send_bytes(struct sending *x, uint64_t dst, const uint8_t *src, uint64_t n)
{
	bool in_record = n <= MP_INLINE_MAX;
	struct mp_msg_cuMemcpyHtoDAsync_v2 m = {.dstDevice = dst, .ByteCount = n, .srcHost = src,
						.srcHost_len = in_record ? n : 0,
						.hStream = x->s->head.id};
	struct mp_out o;

	if (x->error)
		return;
	x->error = MP_PUT(&o, x->t, MP_CALL_cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync_v2, &m,
			  x->s->ctx->head.id);
	if (x->error)
		return;
	if (!in_record)
		o.rec->flags |= MP_REC_BULK;
	mp_stream_issue(x->s, o.ticket);
	x->ticket = o.ticket;
	mp_out_send(&o);
	if (!in_record && mp_rpc_upload(mp_shim.rpc, o.ticket, src, n))
		x->error = mp_state_error();
}

/* Bytes [from, to) of the mirror, as far as they are the program's. */
static void send_range(struct sending *x, struct mp_mirror *m, uint64_t from, uint64_t to)
{
	size_t i;

	for (i = 0; i < m->extents; i++) {
		uint64_t a = m->extent[i].at > from ? m->extent[i].at : from;
		uint64_t b = m->extent[i].at + m->extent[i].size < to
				     ? m->extent[i].at + m->extent[i].size
				     : to;

		if (a < b)
			send_bytes(x, m->device + a, m->alias + a, b - a);
	}
}

/* Fresh pages: those that the file has. */
static void send_fresh(struct sending *x, struct mp_mirror *m, size_t from, size_t to)
{
	off_t end = (off_t)(m->offset + to * MP_PAGE), at = (off_t)(m->offset + from * MP_PAGE), hole;

	while (at < end && (at = lseek(file, at, SEEK_DATA)) >= 0 && at < end) {
		hole = lseek(file, at, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		send_range(x, m, (uint64_t)at - m->offset, (uint64_t)hole - m->offset);
		at = hole;
	}
}

/* Only bytes that the program changed: the device may have changed others meanwhile. */
static void send_changes(struct sending *x, struct mp_mirror *m, const struct mp_twin *w)
{
	const uint8_t *now = m->alias + w->page * MP_PAGE;
	unsigned i = 0, from;

	while (i < MP_PAGE) {
		if (now[i] == w->bytes[i]) {
			i++;
			continue;
		}
		for (from = i; i < MP_PAGE && now[i] != w->bytes[i]; i++)
			;
		send_range(x, m, w->page * MP_PAGE + from, w->page * MP_PAGE + i);
	}
}

/* All pages of a busy mirror that were taken to be sent. */
static void send_taken(struct sending *x, struct mp_mirror *m)
{
	size_t i = 0, from;

	while (i < m->pages) {
		uint8_t what = m->state[i];
		struct mp_twin *w = m->twins ? *mp_mirror_twin(m, i) : NULL;

		if ((what != MP_PAGE_SENT && what != MP_PAGE_LEFT)) {
			i++;
			continue;
		}
		if (w) {
			send_changes(x, m, w);
			i++;
			continue;
		}
		for (from = i; i < m->pages && m->state[i] == what &&
			       !(m->twins && *mp_mirror_twin(m, i)); i++)
			;
		if (what == MP_PAGE_SENT)
			send_range(x, m, from * MP_PAGE, i * MP_PAGE);
		else
			send_fresh(x, m, from, i);
	}
}

/* `mirrors` held: pages [from, to) are on their way from now on. true: there is something to send. */
static bool take(struct mp_mirror *m, size_t from, size_t to, bool stale)
{
	bool any = false;
	size_t i;

	for (i = from; i < to; i++)
		switch (m->state[i]) {
		case MP_PAGE_DIRTY:
		case MP_PAGE_MERGE:
			m->hosted -= stale;
			m->state[i] = MP_PAGE_SENT;
			any = true;
			break;
		case MP_PAGE_FRESH:
			m->hosted -= stale;
			m->state[i] = MP_PAGE_LEFT;
			any = true;
			break;
		case MP_PAGE_CLEAN:
			if (stale) {
				m->hosted--;
				m->state[i] = MP_PAGE_STALE;
			}
			break;
		default:
			break;
		}
	/* In one piece: where it says too little access, the fault finds the page's true state. */
	mp_mirror_protect(m, from, to, stale ? PROT_NONE : PROT_READ);
	for (i = from; !stale && i < to; i++) {
		size_t k = i;

		while (k < to && m->state[k] == MP_PAGE_STALE)
			k++;
		mp_mirror_protect(m, i, k, PROT_NONE);
		i = k > i ? k - 1 : i;
	}
	if (!m->hosted)
		unlist(m);
	if (stale && m->now_to) {
		m->last_from = m->now_from;
		m->last_to = m->now_to;
		m->now_to = 0;
	}
	return any;
}

/* The pages have been sent. */
static void settle(struct mp_mirror *m, bool stale)
{
	struct mp_twin **p, *w;
	size_t i;

	for (i = 0; i < m->pages; i++) {
		if (m->state[i] != MP_PAGE_SENT && m->state[i] != MP_PAGE_LEFT)
			continue;
		p = mp_mirror_twin(m, i);
		if ((w = *p)) {
			/* The device may have more than what was fetched. */
			*p = w->next;
			free(w);
			m->hosted -= !stale;
			m->state[i] = MP_PAGE_STALE;
			mp_mirror_protect(m, i, i + 1, PROT_NONE);
			continue;
		}
		m->state[i] = stale ? MP_PAGE_STALE : MP_PAGE_CLEAN;
	}
	if (!m->hosted)
		unlist(m);
}

static void release(struct mp_mirror *m)
{
	m->busy = false;
	pthread_cond_broadcast(&mp_mirrors_idle);
}

CUresult mp_mirror_send(struct mp_thread *t, struct mp_mirror *m)
{
	struct sending x = {.t = t};
	struct mp_ctx *c = m->ctx && m->ctx->live ? m->ctx : t->ctx;

	x.s = c ? mp_mirror_stream(t, c) : NULL;
	if (!x.s)
		return CUDA_ERROR_INVALID_CONTEXT;
	send_taken(&x, m);
	if (x.ticket && !x.error)
		x.error = mp_fence_send(t, x.s, x.ticket);
	return x.error;
}

/* A mirror of which pages are sent. */
struct taken {
	struct mp_mirror *m;
	bool stale;
};

static CUresult send_all(struct mp_thread *t, struct mp_ctx *c, struct taken *v, size_t n)
{
	struct sending x = {.t = t, .s = mp_mirror_stream(t, c)};
	size_t i;

	if (!x.s)
		x.error = CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n; i++)
		send_taken(&x, v[i].m);
	if (x.ticket && !x.error)
		x.error = mp_fence_send(t, x.s, x.ticket);
	pthread_mutex_lock(&mp_mirrors);
	for (i = 0; i < n; i++) {
		settle(v[i].m, v[i].stale);
		release(v[i].m);
	}
	pthread_mutex_unlock(&mp_mirrors);
	return x.error;
}

static bool visible(const struct mp_mirror *m, const struct mp_stream *s)
{
	return !s || m->attach != CU_MEM_ATTACH_SINGLE || m->stream == s || !m->stream ||
	       m->stream->head.generation != m->stream_generation;
}

CUresult mp_mirror_flush(struct mp_thread *t, struct mp_stream *s)
{
	struct taken v[64];
	struct mp_ctx *c = s ? s->ctx : t->ctx;
	struct mp_mirror *m;
	bool more = true;
	CUresult r = CUDA_SUCCESS;

	mp_fault_check();
	while (more && !r) {
		size_t n = 0;

		more = false;
		pthread_mutex_lock(&mp_mirrors);
again:
		for (m = hosted; m; m = m->next_hosted) {
			if (!visible(m, s))
				continue;
			if (m->busy) {
				if (n) { /* let ours go first: somebody may wait for them */
					more = true;
					continue;
				}
				pthread_cond_wait(&mp_mirrors_idle, &mp_mirrors);
				goto again;
			}
			if (n == MP_ARRAY_LEN(v)) {
				more = true;
				break;
			}
			v[n].stale = true;
			if (take(m, 0, m->pages, true)) {
				m->busy = true;
				v[n++].m = m;
			}
			goto again; /* it is out of the list */
		}
		mp_mirror_epoch++;
		pthread_mutex_unlock(&mp_mirrors);
		if (n)
			r = send_all(t, c ? c : v[0].m->ctx, v, n);
	}
	return r;
}

void mp_mirror_publish(struct mp_thread *t)
{
	struct mp_ctx *c;

	if (!atomic_load(&mp_shim.hosted))
		return;
	pthread_mutex_lock(&mp_objects);
	for (c = mp_shim.contexts; c && !(c->live && atomic_load(&c->mirror)); c = c->next)
		;
	pthread_mutex_unlock(&mp_objects);
	if (!c)
		return;
	t->ctx = c;
	if (!mp_mirror_flush(t, NULL))
		(void)mp_stream_wait(t, MP_CALL_cuLaunchHostFunc, atomic_load(&c->mirror));
	t->ctx = NULL;
}

CUresult mp_mirror_copy(struct mp_thread *t, uint64_t p, uint64_t n, bool write)
{
	uint64_t end = p + n;
	CUresult r = CUDA_SUCCESS;

	while (n && p < end && !r) {
		struct taken v = {.stale = write};
		struct mp_mirror *m;
		size_t from, to;

		pthread_mutex_lock(&mp_mirrors);
		while ((m = at_device(p)) && m->busy)
			pthread_cond_wait(&mp_mirrors_idle, &mp_mirrors);
		if (!m) {
			pthread_mutex_unlock(&mp_mirrors);
			break;
		}
		from = (p - m->device) / MP_PAGE;
		to = end - m->device > m->pages * MP_PAGE
			     ? m->pages
			     : (end - m->device + MP_PAGE - 1) / MP_PAGE;
		p = m->device + to * MP_PAGE;
		if (m->hosted && take(m, from, to, write)) {
			m->busy = true;
			v.m = m;
		}
		pthread_mutex_unlock(&mp_mirrors);
		if (v.m)
			r = send_all(t, t->ctx, &v, 1);
	}
	return r;
}

/* What was fetched and written while work was under way: sent, and stale. */
static bool take_provisional(struct mp_mirror *m)
{
	bool any = false;
	size_t i;

	for (i = 0; i < m->pages; i++) {
		bool twin = m->state[i] == MP_PAGE_MERGE ||
			    (m->state[i] == MP_PAGE_DIRTY && m->twins && *mp_mirror_twin(m, i));

		if (twin) {
			m->state[i] = MP_PAGE_SENT;
			any = true;
		} else if (m->state[i] == MP_PAGE_CLEAN) {
			m->state[i] = MP_PAGE_STALE;
		} else {
			continue;
		}
		m->hosted--;
		mp_mirror_protect(m, i, i + 1, PROT_NONE);
	}
	m->provisional = false;
	atomic_fetch_sub(&mp_shim.provisional, 1);
	if (!m->hosted)
		unlist(m);
	return any;
}

void mp_mirror_tend(struct mp_thread *t)
{
	struct taken v[32];
	struct mp_mirror *m, *next;
	size_t n = 0;

	pthread_mutex_lock(&mp_mirrors);
	for (m = hosted; m && n < MP_ARRAY_LEN(v); m = next) {
		next = m->next_hosted;
		if (!m->provisional || m->busy || !take_provisional(m))
			continue;
		m->busy = true;
		v[n++] = (struct taken){m, true};
	}
	pthread_mutex_unlock(&mp_mirrors);
	if (n)
		(void)send_all(t, v[0].m->ctx, v, n);
}

/* Any thread, also the receiver, which waits for nobody. */
void mp_mirror_passed(void)
{
	struct mp_mirror *m, *next;
	bool merge;
	size_t i, k;

	pthread_mutex_lock(&mp_mirrors);
	for (m = hosted; m; m = next) {
		next = m->next_hosted;
		if (!m->provisional)
			continue;
		if (m->busy) {
			m->passed = true;
			continue;
		}
		merge = false;
		for (i = 0; i < m->pages; i = k + 1) {
			for (k = i; k < m->pages; k++)
				if (m->state[k] == MP_PAGE_CLEAN) {
					m->state[k] = MP_PAGE_STALE;
					m->hosted--;
				} else if (m->state[k] == MP_PAGE_DIRTY && m->twins && *mp_mirror_twin(m, k)) {
					m->state[k] = MP_PAGE_MERGE;
					merge = true;
				} else {
					merge |= m->state[k] == MP_PAGE_MERGE;
					break;
				}
			mp_mirror_protect(m, i, k, PROT_NONE);
		}
		if (merge) /* mp_mirror_tend() sends them, whether or not the program comes back */
			continue;
		m->provisional = false;
		atomic_fetch_sub(&mp_shim.provisional, 1);
		if (!m->hosted)
			unlist(m);
	}
	pthread_mutex_unlock(&mp_mirrors);
}

const void *mp_mirror_valid(uint64_t p, uint64_t n)
{
	const void *r = NULL;
	struct mp_mirror *m;

	pthread_mutex_lock(&mp_mirrors);
	m = mp_mirror_at(p);
	if (m && !m->busy && m->host + m->pages * MP_PAGE - p >= n) {
		size_t i = (p - m->host) / MP_PAGE, to = (p + n - 1 - m->host) / MP_PAGE;

		for (; i <= to && m->state[i] != MP_PAGE_STALE && m->state[i] != MP_PAGE_MERGE; i++)
			;
		if (i > to)
			r = m->alias + (p - m->host);
	}
	pthread_mutex_unlock(&mp_mirrors);
	return r;
}

CUresult mp_mirror_params(struct mp_thread *t, const void *params, size_t n)
{
	size_t i;
	CUresult r = CUDA_SUCCESS;

	for (i = 0; i + 8 <= n && !r; i += 8) {
		uint64_t v;

		memcpy(&v, (const uint8_t *)params + i, sizeof(v));
		if (MP_UNLIKELY(mp_host_may_map(v)))
			r = mp_host_map(t, v, NULL);
	}
	return r;
}
