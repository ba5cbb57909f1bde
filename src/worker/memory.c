/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory: the window, what is mapped in it, and the lease's account.
 *
 * The client chooses addresses inside the window; MAP backs a range of them.
 * The account is charged before the driver is called.  Fresh memory is zeroed
 * on a stream of ours, and a fence keeps everything else behind that, unless
 * the driver says that its fresh memory is zero.
 */
#include "worker/inside.h"

#define RECALL_STEPS 100 /* of 2 ms */

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mp-convert.h"

struct range {
	uint64_t address, size;
	int device;
	CUmemGenericAllocationHandle handle;
	struct vmm *vmm; /* mapped by the program; NULL: by MAP */
	bool leaving;	 /* its UNMAP waits for the device */
};

/* A physical allocation of the program: charged until it is both released and nowhere mapped. */
struct vmm {
	CUmemGenericAllocationHandle handle;
	unsigned device, maps;
	uint64_t size;
	bool released;
};

/* ---- The account ---- */

int mp_account_take(struct mp_worker *w, unsigned dev, uint64_t bytes)
{
	if (!bytes || !w->account)
		return 0;
	return mp_account_charge(w->account, w->account_slot, dev, bytes) == MP_ACCOUNT_OK ? 0 : -1;
}

void mp_account_put(struct mp_worker *w, unsigned dev, uint64_t bytes)
{
	if (bytes && w->account)
		mp_account_release(w->account, w->account_slot, dev, bytes);
}

/* What is in the credit is what siblings may ask for. Executor. */
void mp_credit_set(struct mp_worker *w, unsigned dev, uint64_t credit)
{
	w->device[dev].credit = credit;
	if (w->account)
		mp_account_spare(w->account, w->account_slot, dev, credit);
}

/* Out of the credit first, the rest out of the account. */
int mp_memory_charge(struct mp_worker *w, unsigned dev, uint64_t bytes)
{
	uint64_t own = w->device[dev].credit < bytes ? w->device[dev].credit : bytes;

	if (mp_account_take(w, dev, bytes - own))
		return -1;
	mp_credit_set(w, dev, w->device[dev].credit - own);
	return 0;
}

static bool device_good(struct mp_job *job, int32_t device)
{
	if (device >= 0 && (unsigned)device < job->w->devices)
		return true;
	job->violation = true;
	return false;
}

static void credit_back(struct mp_worker *w, unsigned dev, uint64_t bytes)
{
	uint64_t have = w->device[dev].credit, back = bytes < have ? bytes : have;

	mp_credit_set(w, dev, have - back);
	mp_account_put(w, dev, back);
}

/* Credit that the client gives back on RECALL, at once. */
int mp_credit_control(struct mp_worker *w, const struct mp_msg_credit *m)
{
	if (m->device < 0 || (unsigned)m->device >= w->devices || (int64_t)m->bytes >= 0)
		return -1;
	credit_back(w, (unsigned)m->device, 0 - m->bytes);
	return 0;
}

struct recall {
	struct mp_job *job;
	unsigned dev;
	uint64_t bytes, granted;
};

static void recalled(struct mp_job *job)
{
	struct recall *c = job->state;
	struct mp_rep_credit r = {.granted = c->granted};

	job->state = NULL;
	mp_credit_set(job->w, c->dev, job->w->device[c->dev].credit + c->granted);
	job->reply_n = mp_size_rep_credit(&r);
	job->reply = mp_arena_alloc(&job->scratch, job->reply_n);
	if (job->reply)
		mp_put_rep_credit(job->reply, &r);
	free(c);
	mp_job_finish(job, job->reply ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

/* A helper: siblings answer within a round trip of theirs, or are stopped and do not. */
static void recall_wait(void *arg)
{
	struct timespec step = {0, 2000000};
	struct recall *c = arg;
	struct mp_worker *w = c->job->w;
	unsigned i;

	for (i = 0; i < RECALL_STEPS && !c->granted; i++) {
		if (!(i % 8))
			mp_account_want(w->account);
		nanosleep(&step, NULL);
		if (!mp_account_take(w, c->dev, c->bytes))
			c->granted = c->bytes;
		else if (mp_account_free(w->account, c->dev) +
				 mp_account_spare_others(w->account, w->account_slot, c->dev) < c->bytes)
			break;
	}
	mp_exec_loose(c->job);
}

/* Siblings hold credit that would do: ask for it, and answer when it has come. */
static bool recall(struct mp_job *job, unsigned dev, uint64_t bytes)
{
	struct mp_worker *w = job->w;
	struct recall *c;

	if (!w->account || mp_account_free(w->account, dev) +
				   mp_account_spare_others(w->account, w->account_slot, dev) < bytes)
		return false;
	c = calloc(1, sizeof(*c));
	if (!c)
		return false;
	*c = (struct recall){job, dev, bytes, 0};
	if (mp_job_hold(job, recalled)) {
		free(c);
		return true; /* the session ends */
	}
	job->state = c;
	if (mp_help(w, recall_wait, c))
		recalled(job);
	return true;
}

CUresult mp_do_credit(struct mp_job *job, const struct mp_msg_credit *m, struct mp_rep_credit *r)
{
	struct mp_worker *w = job->w;

	if (!device_good(job, m->device))
		return CUDA_ERROR_INVALID_DEVICE;
	if ((int64_t)m->bytes < 0) { /* gives credit back */
		credit_back(w, (unsigned)m->device, 0 - m->bytes);
		r->granted = 0;
		return CUDA_SUCCESS;
	}
	if (!mp_account_take(w, (unsigned)m->device, m->bytes))
		r->granted = m->bytes;
	else if (recall(job, (unsigned)m->device, m->bytes))
		return CUDA_SUCCESS;
	mp_credit_set(w, (unsigned)m->device, w->device[m->device].credit + r->granted);
	return CUDA_SUCCESS;
}

/* Siblings that find the account full are heard here. */
void *mp_recall_main(void *worker)
{
	struct mp_worker *w = worker;
	uint32_t seen = mp_account_want_wait(w->account, UINT32_MAX);
	unsigned i;

	while (!atomic_load(&w->ended)) {
		seen = mp_account_want_wait(w->account, seen);
		for (i = 0; i < w->devices; i++)
			if (w->device[i].credit) /* a hint: the client knows what it has */
				mp_say(w, MP_FRAME_RECALL, 0, i, NULL, 0);
	}
	return NULL;
}

CUresult mp_do_mem_info(struct mp_job *job, const struct mp_msg_mem_info *m, struct mp_rep_mem_info *r)
{
	struct mp_worker *w = job->w;

	if (!device_good(job, m->device))
		return CUDA_ERROR_INVALID_DEVICE;
	r->total = w->device[m->device].memory;
	r->free = mp_account_free(w->account, (unsigned)m->device) + w->device[m->device].credit;
	if (r->free > r->total)
		r->free = r->total;
	return CUDA_SUCCESS;
}

/* ---- The window ---- */

int mp_memory_init(struct mp_worker *w, const struct mp_hello *h, const char **why)
{
	uint64_t size = h->window_size;
	CUdeviceptr got = 0;
	unsigned i;

	if (!size)
		return 0; /* a client without a window allocates nothing */
	if (size % (2u << 20) || size > 1ull << 46) {
		*why = "the hello asks for a window of an odd size";
		return -1;
	}
	if (!w->drv.cuMemAddressReserve || !w->drv.cuMemCreate || !w->drv.cuMemMap || !w->drv.cuMemSetAccess) {
		*why = "the server's driver has no virtual memory management";
		return -1;
	}
	for (i = 0; i < MP_WINDOW_PROPOSALS && h->window_base[i]; i++) {
		if (h->window_base[i] % (2u << 20) ||
		    w->drv.cuMemAddressReserve(&got, size, 2u << 20, h->window_base[i], 0))
			continue;
		if (got == h->window_base[i])
			break;
		(void)w->drv.cuMemAddressFree(got, size);
		got = 0;
	}
	/* Else what the driver likes; the client has to reserve that. */
	if (!got && w->drv.cuMemAddressReserve(&got, size, 2u << 20, 0, 0)) {
		*why = "the server's driver does not reserve a window of addresses";
		return -1;
	}
	w->window_base = got;
	w->window_size = size;
	return 0;
}

/* ---- Ranges, sorted by address ---- */

static size_t range_at(const struct mp_worker *w, uint64_t address)
{
	size_t lo = 0, hi = w->range_count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (w->ranges[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int range_add(struct mp_worker *w, struct range r)
{
	size_t i = range_at(w, r.address);

	if (i && w->ranges[i - 1].address + w->ranges[i - 1].size > r.address)
		return -1;
	if (i < w->range_count && r.address + r.size > w->ranges[i].address)
		return -1;
	if (w->range_count == w->range_cap) {
		size_t cap = w->range_cap ? w->range_cap * 2 : 64;
		struct range *p = realloc(w->ranges, cap * sizeof(*p));

		if (!p)
			return -1;
		w->ranges = p;
		w->range_cap = cap;
	}
	memmove(&w->ranges[i + 1], &w->ranges[i], (w->range_count - i) * sizeof(r));
	w->ranges[i] = r;
	w->range_count++;
	return 0;
}

static bool in_window(const struct mp_worker *w, uint64_t address, uint64_t size)
{
	return size && address >= w->window_base && size <= w->window_size &&
	       address - w->window_base <= w->window_size - size;
}

/* ---- MAP ---- */

static CUresult set_access(struct mp_worker *w, const struct range *r)
{
	CUmemAccessDesc desc[MP_WORKER_DEVICES];
	size_t n = 0;
	unsigned i;

	/* Every device of the lease that can: enabling peer access is the client's rule to keep. */
	for (i = 0; i < w->devices; i++) {
		int can = (int)i == r->device;

		if (!can && w->drv.cuDeviceCanAccessPeer &&
		    w->drv.cuDeviceCanAccessPeer(&can, w->device[i].handle, w->device[r->device].handle))
			can = 0;
		if (!can)
			continue;
		desc[n].location.type = CU_MEM_LOCATION_TYPE_DEVICE;
		desc[n].location.id = w->device[i].handle;
		desc[n++].flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	}
	return w->drv.cuMemSetAccess(r->address, r->size, desc, n);
}

static CUresult zero(struct mp_job *job, const struct range *r)
{
	struct mp_worker *w = job->w;
	struct context *c;
	struct stream *s;
	CUevent ev;
	CUresult e;

	for (c = w->contexts; c && c->device != r->device; c = c->next)
		;
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	e = mp_context_current(w, c);
	if (e)
		return e;
	s = mp_stream_own(w, c, 0);
	if (!s || !(ev = mp_event_take(w, c)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = w->drv.cuMemsetD8Async(r->address, 0, r->size, s->handle);
	if (!e)
		e = w->drv.cuEventRecord(ev, s->handle);
	if (e) {
		mp_event_give(w, c, ev);
		return e;
	}
	mp_fence_add(w, c, s, ev);
	return CUDA_SUCCESS;
}

static CUresult back(struct mp_job *job, struct range *r)
{
	struct mp_worker *w = job->w;
	CUmemAllocationProp prop = {
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = w->device[r->device].handle},
	};
	CUresult e = w->drv.cuMemCreate(&r->handle, r->size, &prop, 0);

	if (e)
		return e;
	e = w->drv.cuMemMap(r->address, r->size, 0, r->handle, 0);
	if (!e) {
		e = set_access(w, r);
		if (!e && !w->device[r->device].fresh_is_zero)
			e = zero(job, r);
		if (e)
			(void)w->drv.cuMemUnmap(r->address, r->size);
	}
	if (e)
		(void)w->drv.cuMemRelease(r->handle);
	return e;
}

CUresult mp_do_map(struct mp_job *job, const struct mp_msg_map *m)
{
	struct mp_worker *w = job->w;
	struct range r = {.address = m->address, .size = m->size, .device = m->device};
	CUresult e;

	if (!device_good(job, m->device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (!in_window(w, m->address, m->size) || m->address % w->device[m->device].granule ||
	    m->size % w->device[m->device].granule) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (mp_memory_charge(w, (unsigned)m->device, m->size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (range_add(w, r)) { /* mapped over what is mapped */
		mp_account_put(w, (unsigned)m->device, m->size);
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	e = back(job, &r);
	if (job->ctx)
		(void)mp_context_current(w, job->ctx);
	if (e) {
		size_t i = range_at(w, r.address);

		mp_log(MP_LOG_WARN, "worker", "map", "size=%llu error=%d", (unsigned long long)r.size, e);
		memmove(&w->ranges[i], &w->ranges[i + 1], (--w->range_count - i) * sizeof(r));
		mp_account_put(w, (unsigned)m->device, m->size);
		return e;
	}
	w->ranges[range_at(w, r.address)].handle = r.handle;
	return CUDA_SUCCESS;
}

/* ---- UNMAP: whole mapped ranges, any number of neighbours at once ---- */

static CUresult unmap_ranges(struct mp_worker *w, uint64_t address, uint64_t size)
{
	CUresult e = CUDA_SUCCESS;
	size_t i = range_at(w, address), n = 0;

	while (i + n < w->range_count && w->ranges[i + n].address < address + size) {
		struct range *r = &w->ranges[i + n++];
		CUresult e1 = w->drv.cuMemUnmap(r->address, r->size);

		if (!e1)
			e1 = w->drv.cuMemRelease(r->handle);
		if (!e1) /* what the driver keeps stays charged */
			mp_account_put(w, (unsigned)r->device, r->size);
		else if (!e)
			e = e1;
	}
	memmove(&w->ranges[i], &w->ranges[i + n], (w->range_count - i - n) * sizeof(w->ranges[0]));
	w->range_count -= n;
	return e;
}

static void unmap_passed(struct mp_job *job)
{
	struct mp_msg_unmap m;
	CUresult e = CUDA_ERROR_INVALID_VALUE;

	if (!mp_get_unmap((const uint8_t *)(job->rec + 1), job->rec->length - sizeof(*job->rec), &m))
		e = unmap_ranges(job->w, m.address, m.size);
	mp_job_finish(job, e);
}

CUresult mp_do_unmap(struct mp_job *job, const struct mp_msg_unmap *m)
{
	struct mp_worker *w = job->w;
	uint64_t at = m->address;
	size_t i;

	if (!device_good(job, m->device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (!in_window(w, m->address, m->size)) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	for (i = range_at(w, at); i < w->range_count && w->ranges[i].address == at && !w->ranges[i].leaving &&
				  !w->ranges[i].vmm && at < m->address + m->size; i++)
		at += w->ranges[i].size;
	if (at != m->address + m->size) { /* not exactly what was mapped */
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	while (i-- && w->ranges[i].address >= m->address)
		w->ranges[i].leaving = true;
	if (mp_job_hold(job, unmap_passed))
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_context_barrier(job, NULL, m->device);
	return CUDA_SUCCESS;
}

/* ---- VMM handles of the program ---- */

CUresult mp_do_cuMemCreate(struct mp_job *job, const struct mp_msg_cuMemCreate *m,
			   struct mp_rep_cuMemCreate *r)
{
	struct mp_worker *w = job->w;
	CUmemAllocationProp prop = {0};
	struct vmm *v;
	CUresult e;

	mp_to_mem_prop(&prop, &m->prop);
	if (prop.location.type != CU_MEM_LOCATION_TYPE_DEVICE || prop.location.id < 0 ||
	    (unsigned)prop.location.id >= w->devices)
		return CUDA_ERROR_INVALID_DEVICE;
	if (!m->size || m->size % w->device[prop.location.id].granule || m->size > 1ull << 46)
		return CUDA_ERROR_INVALID_VALUE;
	if (!(v = calloc(1, sizeof(*v))))
		return CUDA_ERROR_OUT_OF_MEMORY;
	v->device = (unsigned)prop.location.id;
	v->size = m->size;
	if (mp_memory_charge(w, v->device, m->size)) {
		free(v);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	prop.location.id = w->device[v->device].handle;
	e = w->drv.cuMemCreate(&v->handle, m->size, &prop, m->flags);
	if (!e)
		e = mp_job_bind(job, MP_KIND_mem, m->handle, (void *)(uintptr_t)v->handle);
	if (e) {
		mp_account_put(w, v->device, m->size);
		free(v);
		return e;
	}
	mp_object_find(w, MP_KIND_mem, m->handle)->own = v;
	return CUDA_SUCCESS;
}

static void vmm_drop(struct mp_worker *w, struct vmm *v)
{
	if (!v->released || v->maps)
		return;
	mp_account_put(w, v->device, v->size);
	free(v);
}

static CUresult vmm_get(struct mp_job *job, uint32_t id, struct vmm **ret)
{
	struct object *o = mp_object_find(job->w, MP_KIND_mem, id);
	void *h;
	CUresult e = mp_job_get(job, MP_KIND_mem, id, &h);

	if (e || !o)
		return e ? e : CUDA_ERROR_INVALID_VALUE;
	*ret = o->own;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMemRelease(struct mp_job *job, const struct mp_msg_cuMemRelease *m)
{
	struct vmm *v;
	CUresult e = vmm_get(job, m->handle, &v);

	if (!e)
		e = job->w->drv.cuMemRelease(v->handle);
	if (e)
		return e;
	mp_job_unbind(job, MP_KIND_mem, m->handle);
	v->released = true;
	vmm_drop(job->w, v);
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMemMap(struct mp_job *job, const struct mp_msg_cuMemMap *m)
{
	struct mp_worker *w = job->w;
	struct vmm *v;
	CUresult e = vmm_get(job, m->handle, &v);
	struct range r = {.address = m->ptr, .size = m->size};

	if (e)
		return e;
	if (!in_window(w, m->ptr, m->size) || m->offset > v->size || m->size > v->size - m->offset)
		return CUDA_ERROR_INVALID_VALUE;
	r.device = (int)v->device;
	r.handle = v->handle;
	r.vmm = v;
	if (range_add(w, r))
		return CUDA_ERROR_INVALID_VALUE;
	e = w->drv.cuMemMap(m->ptr, m->size, m->offset, v->handle, m->flags);
	if (e) {
		size_t i = range_at(w, r.address);

		memmove(&w->ranges[i], &w->ranges[i + 1], (--w->range_count - i) * sizeof(r));
		return e;
	}
	v->maps++;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMemUnmap(struct mp_job *job, const struct mp_msg_cuMemUnmap *m)
{
	struct mp_worker *w = job->w;
	size_t i, n, first;
	uint64_t at = m->ptr;
	CUresult e;

	if (!in_window(w, m->ptr, m->size))
		return CUDA_ERROR_INVALID_VALUE;
	first = range_at(w, m->ptr);
	for (n = 0; first + n < w->range_count && w->ranges[first + n].address == at &&
		    w->ranges[first + n].vmm && at < m->ptr + m->size; n++)
		at += w->ranges[first + n].size;
	if (at != m->ptr + m->size)
		return CUDA_ERROR_INVALID_VALUE;
	e = w->drv.cuMemUnmap(m->ptr, m->size);
	if (e)
		return e;
	for (i = first; i < first + n; i++) {
		w->ranges[i].vmm->maps--;
		vmm_drop(w, w->ranges[i].vmm);
	}
	memmove(&w->ranges[first], &w->ranges[first + n],
		(w->range_count - first - n) * sizeof(w->ranges[0]));
	w->range_count -= n;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuMemSetAccess(struct mp_job *job, const struct mp_msg_cuMemSetAccess *m)
{
	struct mp_worker *w = job->w;
	CUmemAccessDesc *desc;
	uint64_t i;

	if (!in_window(w, m->ptr, m->size))
		return CUDA_ERROR_INVALID_VALUE;
	desc = mp_job_scratch(job, m->count * sizeof(*desc));
	if (!desc)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < m->count; i++) {
		mp_to_mem_access(&desc[i], &m->desc[i]);
		if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE)
			continue;
		if (desc[i].location.id < 0 || (unsigned)desc[i].location.id >= w->devices)
			return CUDA_ERROR_INVALID_DEVICE;
		desc[i].location.id = w->device[desc[i].location.id].handle;
	}
	return w->drv.cuMemSetAccess(m->ptr, m->size, desc, m->count);
}
