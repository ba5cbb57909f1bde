/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's session: opened by cuInit, closed when the library is
 * unloaded at exit, forgotten in a forked child.
 *
 * A child of a process that called cuInit gets CUDA_ERROR_NOT_INITIALIZED from
 * every call, as natively, and its exit says nothing to the server.
 */
#include "shim/shim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "client/env.h"
#include "net/net.h"
#include "shim/link.h"

#ifdef __SANITIZE_THREAD__ /* its shadow leaves a program the lowest 512 GiB and little else */
#define WINDOW_SIZE ((uint64_t)2 << 30)
#define WINDOW_PLACE 0x002000000000, 0x002800000000, 0x003000000000, 0x003800000000
#else
#define WINDOW_SIZE ((uint64_t)256 << 30)
#define WINDOW_PLACE 0x200000000000, 0x280000000000, 0x300000000000, 0x380000000000
#endif
#define HOST_SHARE  8 /* one part in so many of the window is for pinned memory */
#define TIMEOUT_MS  20000

struct mp_shim mp_shim;
__thread struct mp_thread *mp_self __attribute__((tls_model("initial-exec")));

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
/* Grows at its head, under the lock; read without it. */
static struct mp_thread *_Atomic threads;
static uint32_t thread_numbers MP_GUARDED_BY(threads_lock);
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

/* ---- Threads ---- */

const struct mp_thread *mp_threads(void)
{
	return atomic_load_explicit(&threads, memory_order_acquire);
}

/* A thread ends: its streams go, its counters stay. */
static void thread_end(void *arg)
{
	struct mp_thread *t = arg;
	unsigned i;

	if (atomic_load(&mp_shim.state) == MP_STATE_READY && !atomic_load(&mp_shim.rpc->lost))
		for (i = 0; i < t->nown; i++) {
			struct mp_stream *s = t->own[i].stream;

			if (t->own[i].ctx->live && t->own[i].ctx->uid == t->own[i].ctx_uid &&
			    mp_object(s, MP_KIND_stream)) {
				struct mp_msg_cuStreamDestroy_v2 m = {.hStream = s->head.id};
				struct mp_out o;

				if (!MP_SEND(&o, t, MP_CALL_cuStreamDestroy_v2, cuStreamDestroy_v2,
					     &m, t->own[i].ctx->head.id))
					mp_stream_drop(s);
			}
		}
	t->nown = 0;
	free(t->scratch);
	t->scratch = NULL;
	t->scratch_size = 0;
	mp_self = NULL;
}

static void thread_key_make(void)
{
	pthread_key_create(&thread_key, thread_end);
}

struct mp_thread *mp_thread_new(void)
{
	struct mp_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_once(&thread_once, thread_key_make);
	pthread_mutex_lock(&threads_lock);
	t->number = ++thread_numbers;
	t->next = atomic_load_explicit(&threads, memory_order_relaxed);
	atomic_store_explicit(&threads, t, memory_order_release);
	pthread_mutex_unlock(&threads_lock);
	pthread_setspecific(thread_key, t);
	mp_self = t;
	return t;
}

void *mp_scratch(struct mp_thread *t, size_t n)
{
	if (n > t->scratch_size) {
		void *p = realloc(t->scratch, n);

		if (!p)
			return NULL;
		t->scratch = p;
		t->scratch_size = n;
	}
	return t->scratch;
}

/* ---- Opening ---- */

static int secret_read(const char *hex, uint8_t out[MP_SECRET_BYTES])
{
	size_t i;

	for (i = 0; i < MP_SECRET_BYTES; i++) {
		unsigned v;

		if (!hex[2 * i] || !hex[2 * i + 1] || sscanf(hex + 2 * i, "%2x", &v) != 1)
			return -1;
		out[i] = (uint8_t)v;
	}
	return hex[2 * MP_SECRET_BYTES] ? -1 : 0;
}

/*
 * Places where neither the kernel nor a sanitizer puts anything by itself;
 * a random offset keeps two processes of a lease apart on the server.
 */
static void windows_propose(uint64_t *base)
{
	static const uint64_t place[MP_WINDOW_PROPOSALS] = {WINDOW_PLACE};
	uint64_t r = 0;
	int i;

	syscall(SYS_getrandom, &r, sizeof(r), 0);
	for (i = 0; i < MP_WINDOW_PROPOSALS; i++) {
		uint64_t want = place[i] + ((r >> (8 * i)) & 0xf) * WINDOW_SIZE;
		void *p = mmap((void *)want, WINDOW_SIZE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		base[i] = 0;
		if (p == (void *)want)
			base[i] = want;
		else if (p != MAP_FAILED)
			munmap(p, WINDOW_SIZE);
	}
}

/* Keep the window that the server took; reserve it here if it is not one of ours. */
static int window_take(const uint64_t *base, const struct mp_snapshot *snap)
{
	bool ours = false;
	int i;

	for (i = 0; i < MP_WINDOW_PROPOSALS; i++) {
		if (base[i] && base[i] == snap->window_base && snap->window_size <= WINDOW_SIZE)
			ours = true;
		else if (base[i])
			munmap((void *)base[i], WINDOW_SIZE);
	}
	if (!ours) {
		void *want = (void *)snap->window_base;
		void *p = mmap(want, snap->window_size, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p != want) {
			mp_log(MP_LOG_ERROR, "shim", "window",
			       "address=%p size=%llu what=\"taken in this process\"", want,
			       (unsigned long long)snap->window_size);
			if (p != MAP_FAILED)
				munmap(p, snap->window_size);
			return -1;
		}
	}
	mp_shim.window_base = snap->window_base;
	mp_shim.window_size = snap->window_size;
	return 0;
}

/* CUDA_VISIBLE_DEVICES, which is the driver's to obey: numbers, or prefixes of "GPU-uuid". */
static int visible(struct mp_device *all, int n)
{
	const char *env = getenv("CUDA_VISIBLE_DEVICES");
	struct mp_device *pick;
	char list[512], *rest = list, *one;
	int k = 0;

	if (!env)
		return n;
	pick = calloc((size_t)n + 1, sizeof(*pick));
	if (!pick)
		return n;
	snprintf(list, sizeof(list), "%s", env);
	while (k < n && (one = strsep(&rest, ","))) {
		char uuid[48], *end;
		const uint8_t *b;
		int found = -1, i;
		long number = strtol(one, &end, 10);

		if (end != one && !*end) {
			found = number >= 0 && number < n ? (int)number : -1;
		} else {
			for (i = 0; i < n && found < 0 && strlen(one) > 4; i++) {
				b = (const uint8_t *)all[i].uuid.bytes;
				snprintf(uuid, sizeof(uuid),
					 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
					 "%02x%02x%02x%02x%02x%02x",
					 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
					 b[10], b[11], b[12], b[13], b[14], b[15]);
				if (!strncmp(uuid, one, strlen(one)))
					found = i;
			}
		}
		if (found < 0)
			break; /* what follows an invalid entry is not visible either */
		pick[k++] = all[found];
	}
	memcpy(all, pick, (size_t)k * sizeof(*all));
	free(pick);
	return k;
}

static void attributes_mask(struct mp_device *d)
{
	/* What this library does not honour yet, whatever the device can. */
	static const int off[] = {
		CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS,
		CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
		CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
		CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
		CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
		CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES,
		CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_NUMA_MULTINODE_IPC_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED,
		CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED,
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(off); i++)
		d->attr[off[i]] = 0;
	d->attr[CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING] = 1;
	d->attr[CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED] = 1;
	d->attr[CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY] = 1;
	d->attr[CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY] = 1;
	d->attr[CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED] = 1;
}

static void device_take(struct mp_device *d, const struct mp_snapshot *snap, const uint8_t *p,
			int wire)
{
	const struct mp_snapshot_device *w = (const struct mp_snapshot_device *)p;
	const int32_t *attr = (const int32_t *)(w + 1);
	const uint64_t *limit =
		(const uint64_t *)((const uint8_t *)attr + mp_align_up(snap->attributes * 4u, 8));
	uint32_t i;

	memset(d, 0, sizeof(*d));
	memcpy(d->name, w->name, sizeof(w->name));
	memcpy(d->uuid.bytes, w->uuid, sizeof(w->uuid));
	d->memory = w->memory;
	d->wire = wire;
	d->major = (int)w->major;
	d->minor = (int)w->minor;
	d->domain = w->pci_domain;
	d->bus = w->pci_bus;
	d->device = w->pci_device;
	d->runs_cubins = w->runs_cubins;
	for (i = 0; i < snap->attributes && i < MP_ARRAY_LEN(d->attr); i++)
		d->attr[i] = attr[i];
	for (i = 0; i < snap->limits && i < MP_ARRAY_LEN(d->limit); i++)
		d->limit[i] = limit[i];
	attributes_mask(d);
}

static int snapshot_take(const struct mp_snapshot *snap, uint64_t *credit)
{
	size_t size = sizeof(struct mp_snapshot_device) +
		      (size_t)mp_align_up(snap->attributes * 4u, 8) + snap->limits * 8u;
	const uint8_t *p = (const uint8_t *)(snap + 1);
	int i, n = snap->devices < MP_ARRAY_LEN(mp_shim.device) ? (int)snap->devices
								 : (int)MP_ARRAY_LEN(mp_shim.device);

	for (i = 0; i < n; i++, p += size) {
		device_take(&mp_shim.device[i], snap, p, i);
		credit[i] = ((const struct mp_snapshot_device *)p)->credit;
	}
	mp_shim.driver_version =
		snap->driver_version < CUDA_VERSION ? (int)snap->driver_version : CUDA_VERSION;
	mp_shim.ndevices = visible(mp_shim.device, n);
	for (i = 0; i < mp_shim.ndevices; i++) {
		struct mp_ctx *c = mp_slot_new(MP_KIND_context);

		if (!c)
			return -1;
		c->device = i;
		c->primary = true;
		c->uid = atomic_fetch_add(&mp_shim.uid, 1) + 1;
		atomic_store(&c->attention, 1);
		mp_shim.device[i].primary = c;
		c->next = mp_shim.contexts;
		mp_shim.contexts = c;
	}
	return 0;
}

static void child_after_fork(void)
{
	mp_self = NULL;
	if (atomic_load(&mp_shim.state) == MP_STATE_NEW)
		return;
	atomic_store(&mp_shim.state, MP_STATE_FORKED);
	mp_rpc_forked(mp_shim.rpc);
}

static const struct mp_rpc_ops rpc_ops = {
	.done = mp_progress_done,
	.copied = mp_progress_copied,
	.error = mp_progress_error,
	.need = mp_module_need,
	.call = mp_hostcall_call,
	.pull = mp_copy_pull,
	.print = NULL,
	.recall = mp_memory_recall,
	.lost = mp_progress_lost,
};

/* Device printf: through stdio, so that it keeps its place among the program's own output. */
static void print_out(void *arg, const char *text, size_t n)
{
	fwrite(text, 1, n, stdout);
}

static bool env_on(const char *name)
{
	const char *v = getenv(name);

	return v && *v && strcmp(v, "0");
}

static CUresult open_locked(void)
{
	const char *data, *secret;
	struct mp_rpc_config c = {.timeout_ms = TIMEOUT_MS, .window_size = WINDOW_SIZE,
				  .calls = MP_API_HASH};
	struct mp_rpc_ops ops = rpc_ops;
	struct mp_snapshot *snap;
	struct mp_fail f = {0};
	uint64_t credit[MP_ARRAY_LEN(mp_shim.device)] = {0};
	size_t n;
	int e;

	mp_log_open(MP_LOG_NONE);
	if (mp_link_wanted() && !mp_link_ask())
		return CUDA_ERROR_NO_DEVICE;
	c.data = data = getenv(MP_ENV_DATA);
	secret = getenv(MP_ENV_SECRET);
	if (!data || !*data || !secret) {
		mp_log(MP_LOG_ERROR, "shim", "no-lease",
		       "what=\"no lease of a GPU: start the program with motorpool run\"");
		return CUDA_ERROR_NO_DEVICE;
	}
	if (secret_read(secret, c.secret)) {
		mp_log(MP_LOG_ERROR, "shim", "no-lease",
		       "what=\"" MP_ENV_SECRET " is not 64 hexadecimal digits\"");
		return CUDA_ERROR_NO_DEVICE;
	}
	if (mp_slot_init())
		return CUDA_ERROR_OUT_OF_MEMORY;
	windows_propose(c.window_base);
	ops.print = print_out;
	c.ops = &ops;
	mp_shim.rpc = mp_rpc_open(&c, &snap, &n, &f);
	if (!mp_shim.rpc) {
		for (e = 0; e < MP_WINDOW_PROPOSALS; e++)
			if (c.window_base[e])
				munmap((void *)c.window_base[e], WINDOW_SIZE);
		mp_log(MP_LOG_ERROR, "shim", "no-server", "what=\"%s\"", f.text);
		/* A refusal is for a person to mend; silence would leave him with a bare code. */
		if (f.code == EPERM && mp_log_level() < MP_LOG_ERROR)
			fprintf(stderr, "motorpool: %s\n", f.text);
		return CUDA_ERROR_DEVICE_UNAVAILABLE;
	}
	/* Receiver, flusher, bulk sender; the link model has one for all. */
	atomic_store(&mp_shim.own_threads, 3 + mp_link_on());
	e = window_take(c.window_base, snap) || snapshot_take(snap, credit) ||
	    mp_memory_init(credit) ||
	    mp_host_init(mp_shim.window_base + mp_shim.window_size -
				 mp_shim.window_size / HOST_SHARE,
			 mp_shim.window_size / HOST_SHARE);
	free(snap);
	if (e) {
		mp_rpc_lose(mp_shim.rpc, CUDA_ERROR_OUT_OF_MEMORY, "the session cannot be set up");
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	mp_proc_limit(mp_shim.driver_version);
	mp_shim.strict = env_on("MOTORPOOL_STRICT");
	mp_shim.launch_blocking = env_on("CUDA_LAUNCH_BLOCKING");
	mp_shim.launch_slow = mp_shim.strict || mp_shim.launch_blocking;
	mp_shim.stats = env_on("MOTORPOOL_STATS");
	mp_shim.pid = getpid();
	pthread_atfork(NULL, NULL, child_after_fork);
	atomic_store(&mp_shim.state, MP_STATE_READY);
	return CUDA_SUCCESS;
}

CUresult mp_shim_open(void)
{
	CUresult r = CUDA_SUCCESS;

	pthread_mutex_lock(&opening);
	if (atomic_load(&mp_shim.state) == MP_STATE_NEW)
		r = open_locked();
	else
		r = mp_state_error();
	pthread_mutex_unlock(&opening);
	if (!r && !mp_shim.ndevices)
		r = CUDA_ERROR_NO_DEVICE;
	return r;
}

CUresult mp_state_error(void)
{
	switch (atomic_load(&mp_shim.state)) {
	case MP_STATE_NEW:
	case MP_STATE_FORKED:
		return CUDA_ERROR_NOT_INITIALIZED;
	case MP_STATE_CLOSED:
		return CUDA_ERROR_DEINITIALIZED;
	default:
		return (CUresult)atomic_load(&mp_shim.rpc->lost);
	}
}

/* exit: what was called is sent, then the process leaves without waiting for the device. */
__attribute__((destructor)) static void shim_close(void)
{
	struct mp_thread *t;
	struct mp_out o;

	if (atomic_load(&mp_shim.state) != MP_STATE_READY || mp_shim.pid != getpid())
		return;
	t = mp_thread_get();
	if (t && !atomic_load(&mp_shim.rpc->lost)) {
		struct mp_msg_bye m;

		memset(&m, 0, sizeof(m));
		if (!MP_PUT(&o, t, MP_REC_bye, bye, &m, 0))
			mp_out_send(&o);
	}
	atomic_store(&mp_shim.state, MP_STATE_CLOSED);
	mp_rpc_close(mp_shim.rpc, 5000);
	if (mp_shim.stats)
		mp_stats_print();
}

/* ---- Entering a call ---- */

bool mp_error_sticky(CUresult r)
{
	switch (r) {
	case CUDA_ERROR_ILLEGAL_ADDRESS:
	case CUDA_ERROR_LAUNCH_TIMEOUT:
	case CUDA_ERROR_ASSERT:
	case CUDA_ERROR_HARDWARE_STACK_ERROR:
	case CUDA_ERROR_ILLEGAL_INSTRUCTION:
	case CUDA_ERROR_MISALIGNED_ADDRESS:
	case CUDA_ERROR_INVALID_ADDRESS_SPACE:
	case CUDA_ERROR_INVALID_PC:
	case CUDA_ERROR_LAUNCH_FAILED:
	case CUDA_ERROR_ECC_UNCORRECTABLE:
	case CUDA_ERROR_NVLINK_UNCORRECTABLE:
	case CUDA_ERROR_CONTAINED:
	case CUDA_ERROR_TENSOR_MEMORY_LEAK:
	case CUDA_ERROR_EXTERNAL_DEVICE:
		return true;
	default:
		return false;
	}
}

void mp_ctx_latch(struct mp_ctx *c, CUresult r)
{
	uint32_t none = 0;

	if (!r)
		return;
	mp_errlog_add(CU_LOG_LEVEL_ERROR, "%s: %s", mp_error_name(r), mp_error_string(r));
	if (mp_error_sticky(r))
		atomic_compare_exchange_strong(&c->sticky, &none, r);
	else
		atomic_compare_exchange_strong(&c->latched, &none, r);
	atomic_store(&c->attention, 1);
}

CUresult mp_ctx_error(struct mp_ctx *c)
{
	uint32_t r;

	if (!atomic_load(&c->attention))
		return CUDA_SUCCESS;
	if (!c->live)
		return c->primary ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_CONTEXT_IS_DESTROYED;
	if ((r = atomic_load(&c->sticky)))
		return (CUresult)r;
	atomic_store(&c->attention, 0);
	if (!(r = atomic_exchange(&c->latched, 0)))
		return CUDA_SUCCESS;
	/* Another one may have come in between. */
	if (atomic_load(&c->sticky) || atomic_load(&c->latched))
		atomic_store(&c->attention, 1);
	return (CUresult)r;
}

CUresult mp_enter_slow(struct mp_ctx *c)
{
	if (atomic_load(&mp_shim.state) != MP_STATE_READY || atomic_load(&mp_shim.rpc->lost))
		return mp_state_error();
	if (mp_self && mp_self->in_host_function)
		return CUDA_ERROR_NOT_PERMITTED;
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (atomic_load(&c->head.kind) != MP_KIND_context)
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	return mp_ctx_error(c);
}

CUresult mp_enter_init(enum mp_call call, struct mp_thread **ret)
{
	struct mp_thread *t = mp_thread_get();

	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret = t;
	t->calls[call]++;
	if (atomic_load(&mp_shim.state) != MP_STATE_READY || atomic_load(&mp_shim.rpc->lost))
		return mp_state_error();
	return CUDA_SUCCESS;
}
