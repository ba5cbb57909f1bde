/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lying client against the whole worker: feed, executor, parking, bodies,
 * uploads, completions, above a driver that does nothing and looks at every
 * byte it is given.  One thread: what threads do is done in turns.
 *
 * Input: items {u16 number, u8 what, u8 length / 8, payload}.  what & 7: 0-2 a
 * record of client thread 1-3, 3 a control record, 4 a frame of bulk data for
 * the ticket of an earlier record, 5 raw bytes of the command lane, 6 the
 * device and the helpers have their turn; what & 8 REPLY, & 16 BULK, & 32 PULL;
 * what & 64 without a context.
 *
 * Promises: no access out of bounds, no end but by mp_end(), no driver call with
 * memory that is not there.
 */
#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "worker/inside.h"

static uint8_t sum;
static struct mp_account *account;

/* ---- A driver that agrees to everything ---- */

static CUresult yes(void)
{
	return CUDA_SUCCESS;
}

static uintptr_t handles = 0x1000;

static CUresult new_handle(void **ret)
{
	*ret = (void *)(handles += 16);
	return CUDA_SUCCESS;
}

static CUresult host_alloc(void **ret, size_t n, unsigned flags)
{
	*ret = n > 1u << 24 ? NULL : calloc(1, n);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult host_free(void *p)
{
	free(p);
	return CUDA_SUCCESS;
}

static CUresult htod(CUdeviceptr dst, const void *p, size_t n, CUstream s)
{
	for (size_t i = 0; i < n; i += 64)
		sum += ((const uint8_t *)p)[i];
	if (n)
		sum += ((const uint8_t *)p)[n - 1];
	return dst & 1 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult dtoh(void *p, CUdeviceptr src, size_t n, CUstream s)
{
	memset(p, 5, n);
	return src & 1 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult launch(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
		       unsigned shared, CUstream s, void **params, void **extra)
{
	if (extra) {
		const uint8_t *p = extra[1];
		size_t n = *(size_t *)extra[3];

		FUZZ_CHECK(n);
		sum += p[0] + p[n - 1];
	}
	return gx ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult module_load(CUmodule *ret, const void *image, unsigned n, CUjit_option *o, void **v)
{
	sum += (uint8_t)strlen(image);
	return new_handle((void **)ret);
}

static CUresult get_function(CUfunction *ret, CUmodule m, const char *name)
{
	return *name == 'x' ? CUDA_ERROR_NOT_FOUND : new_handle((void **)ret);
}

static CUresult stream_flags(CUstream s, unsigned *flags)
{
	*flags = (uintptr_t)s >> 4 & 1;
	return CUDA_SUCCESS;
}

static CUresult stream_create(CUstream *ret, unsigned flags)
{
	return new_handle((void **)ret);
}

static CUresult event_create(CUevent *ret, unsigned flags)
{
	return new_handle((void **)ret);
}

static CUresult mem_create(CUmemGenericAllocationHandle *ret, size_t n, const CUmemAllocationProp *p,
			   unsigned long long flags)
{
	*ret = handles += 16;
	return CUDA_SUCCESS;
}

static CUresult primary(CUcontext *ret, CUdevice d)
{
	return new_handle((void **)ret);
}

static CUresult create_context(CUcontext *ret, unsigned flags, CUdevice d)
{
	return new_handle((void **)ret);
}

static struct { void (*fn)(void *); void *arg; } host_fn;

static CUresult launch_host(CUstream s, CUhostFn fn, void *arg)
{
	host_fn.fn = fn;
	host_fn.arg = arg;
	return CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream s, CUstreamCaptureStatus *ret)
{
	*ret = CU_STREAM_CAPTURE_STATUS_NONE;
	return CUDA_SUCCESS;
}

static CUresult end_capture(CUstream s, CUgraph *ret)
{
	return new_handle((void **)ret);
}

/* Every call there is, by its place in the table; those above take its place. */
static void driver(struct mp_drv *d)
{
	void **p = (void **)d;
	size_t i;

	static_assert(sizeof(struct mp_drv) % sizeof(void *) == 0, "only pointers");
	for (i = 1; i < sizeof(*d) / sizeof(*p); i++)
		p[i] = (void *)(uintptr_t)yes;
	d->cuMemHostAlloc = host_alloc;
	d->cuMemFreeHost = host_free;
	d->cuMemcpyHtoDAsync_v2 = htod;
	d->cuMemcpyDtoHAsync_v2 = dtoh;
	d->cuLaunchKernel = launch;
	d->cuModuleLoadDataEx = module_load;
	d->cuLibraryLoadData = NULL;
	d->cuModuleGetFunction = get_function;
	d->cuStreamGetFlags = stream_flags;
	d->cuStreamCreate = stream_create;
	d->cuEventCreate = event_create;
	d->cuMemCreate = mem_create;
	d->cuDevicePrimaryCtxRetain = primary;
	d->cuCtxCreate_v2 = create_context;
	d->cuLaunchHostFunc = launch_host;
	d->cuStreamIsCapturing = is_capturing;
	d->cuStreamEndCapture = end_capture;
	/* Answers that they would have to invent. */
	d->cuGraphGetNodes = NULL;
	d->cuGraphGetEdges_v2 = NULL;
	d->cuGraphGetRootNodes = NULL;
	d->cuGraphNodeGetDependencies_v2 = NULL;
	d->cuGraphNodeGetDependentNodes_v2 = NULL;
	d->cuGraphDebugDotPrint = NULL;
	d->cuMemGetInfo_v2 = NULL;
}

/* ---- Turns ---- */

static void turns(struct mp_worker *w)
{
	int i;

	for (i = 0; i < 64; i++) {
		bool any = mp_help_one(w, false);

		any |= mp_wait_poll(w) == 2;
		any |= mp_download_step(w, false);
		if (!any)
			return;
	}
}

static void put_frame(struct mp_worker *w, struct mp_feed *feed, unsigned kind, uint64_t ticket, const void *p,
		      size_t n)
{
	struct mp_frame f = {.length = (uint32_t)n, .kind = (uint16_t)kind, .ticket = ticket};
	const uint8_t *piece[2] = {(const uint8_t *)&f, p};
	size_t size[2] = {sizeof(f), n};
	int i;

	for (i = 0; i < 2; i++) {
		const uint8_t *from = piece[i];

		while (size[i]) {
			size_t room;
			uint8_t *to = mp_feed_room(feed, &room);

			if (room > size[i])
				room = size[i];
			memcpy(to, from, room);
			mp_feed_filled(feed, room);
			from += room;
			size[i] -= room;
			if (mp_session_feed(w, feed))
				mp_end(w, MP_WORKER_EXIT_PROTOCOL, w->why ? w->why : "?");
		}
	}
}

static void put_bulk(struct mp_worker *w, uint64_t ticket, uint64_t offset, const uint8_t *p, size_t n)
{
	struct mp_frame f = {.length = (uint32_t)n, .kind = MP_FRAME_BULK, .ticket = ticket, .extra = offset};
	struct chunk *c = mp_stage_take(w, &w->up, false);

	if (!c)
		c = mp_chunk_spill(n);
	if (!c || !n)
		return;
	memcpy(c->data, p, n);
	if (mp_upload_frame(w, &f, c))
		mp_end(w, MP_WORKER_EXIT_PROTOCOL, "bulk");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mp_worker *w = calloc(1, sizeof(*w));
	uint64_t limit[2] = {64u << 20, 64u << 20}, tickets[16] = {0};
	struct mp_feed feed;
	unsigned n_tickets = 0;
	int fd, i;

	if (!w || mp_feed_init(&feed))
		abort();
	mp_worker_init(w);
	driver(&w->drv);
	w->devices = 2;
	for (i = 0; i < 2; i++)
		w->device[i] = (struct device){.memory = limit[i], .granule = 2u << 20, .context_memory = 1u << 20};
	if (!account) {
		if (mp_account_create(NULL, 2, limit, &account, &fd))
			abort();
		close(fd);
	}
	w->account = account;
	if (mp_account_join(w->account, 0, &w->account_slot) != MP_ACCOUNT_OK)
		abort();
	/* Two chunks in each direction, so that they run short; the rest would cost more than the test. */
	for (i = 0; i < 4; i++) {
		struct chunk *c = calloc(1, sizeof(*c));

		if (!c || !(c->data = calloc(1, MP_STAGE_CHUNK)))
			abort();
		c->pinned = true;
		mp_stage_give(i & 1 ? &w->down : &w->up, c);
	}
	w->up.made = w->down.made = MP_STAGE_CHUNKS;
	w->window_base = 1ull << 40;
	w->window_size = 1ull << 32;
	while (size >= 4 && !atomic_load(&w->ended) && !w->bye) {
		uint16_t number;
		unsigned what = data[2];
		size_t n = data[3] * 8u;
		struct {
			struct mp_record r;
			uint8_t payload[256 * 8];
		} rec;

		memcpy(&number, data, 2);
		data += 4;
		size -= 4;
		if (n > size)
			n = size & ~(size_t)7;
		rec.r = (struct mp_record){
			.length = (uint32_t)(sizeof(rec.r) + n),
			.call = number,
			.flags = (uint16_t)(what >> 3 & 7),
			.thread = 1 + what % 3,
			.ctx = what & 64 ? 0 : 1,
		};
		memcpy(rec.payload, data, n);
		switch (what & 7) {
		case 3:
			rec.r.flags = 0;
			put_frame(w, &feed, MP_FRAME_CONTROL, 0, &rec, sizeof(rec.r) + n);
			break;
		case 4:
			put_bulk(w, tickets[number % 16], n ? data[0] : 0, data, n);
			break;
		case 5:
			if (n)
				put_frame(w, &feed, number, mp_feed_ticket(&feed), data, n);
			break;
		case 6:
			turns(w);
			break;
		default:
			tickets[n_tickets++ % 16] = mp_feed_ticket(&feed);
			put_frame(w, &feed, MP_FRAME_RECORDS, mp_feed_ticket(&feed), &rec, sizeof(rec.r) + n);
		}
		data += n;
		size -= n;
	}
	turns(w);
	mp_feed_fini(&feed);
	mp_account_leave(account, w->account_slot);
	w->account = NULL; /* stays for the next input */
	mp_worker_fini(w);
	return 0;
}

/* What is parked in the end has state of its bodies that only they could free. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
