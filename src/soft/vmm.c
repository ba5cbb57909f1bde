/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual memory management: addresses, physical memory and the mappings
 * between them are real ones of this process, so one physical allocation can
 * appear at two addresses, as on a GPU.
 *
 * Physical memory of a device is one sparse memory file per device, cut into
 * granules; memory that may be shared with other processes has its own file.
 */
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mp_physical {
	struct mp_object object;
	CUmemAllocationProp prop;
	struct mp_device *device;
	uint64_t size, offset; /* in the file */
	int fd;
	bool own_fd, charged;
	unsigned refs; /* of the program and of mappings */
};

struct reservation {
	uint64_t addr, size;
	struct reservation *next;
};

static struct mp_extents addresses MP_GUARDED_BY(memory);
static struct reservation *reservations MP_GUARDED_BY(memory);
/* Per device: the file and what is free in it. */
static struct {
	int fd;
	struct mp_extents granules;
} files[MP_SOFT_MAX_DEVICES] MP_GUARDED_BY(memory);

/* ---- Addresses ---- */

CUresult cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
			     unsigned long long flags)
{
	struct reservation *v;
	uint64_t first = 0, count, align;
	CUresult r = mp_soft_ready();
	bool got = false;

	if (r)
		return r;
	if (!ptr || !size || size % MP_GRANULE || flags || (alignment & (alignment - 1)))
		return CUDA_ERROR_INVALID_VALUE;
	count = size / MP_GRANULE;
	align = alignment > MP_GRANULE ? alignment / MP_GRANULE : 1;
	v = malloc(sizeof(*v));
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_memory_lock();
	if (!addresses.cap)
		mp_extents_init(&addresses, mp_window_reserve_base() / MP_GRANULE,
				mp_window_reserve_size() / MP_GRANULE);
	if (addr && !(addr % MP_GRANULE) && !(addr % (align * MP_GRANULE))) {
		first = addr / MP_GRANULE;
		got = mp_extents_take_at(&addresses, first, count);
	}
	if (!got)
		got = addresses.cap && mp_extents_take(&addresses, count, align, &first);
	if (got) {
		*v = (struct reservation){first * MP_GRANULE, size, reservations};
		reservations = v;
		*ptr = v->addr;
	}
	mp_memory_unlock();
	if (!got)
		free(v);
	return got ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Memory lock held. */
static bool mapped_within(uint64_t addr, uint64_t size)
{
	struct mp_range *next = mp_range_at(mp_range_index(addr));

	return mp_range_find(addr) || (next && next->addr < addr + size);
}

CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size)
{
	struct reservation **at, *v;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	mp_memory_lock();
	for (at = &reservations; *at && (*at)->addr != ptr; at = &(*at)->next)
		;
	v = *at;
	if (!v || v->size != size || mapped_within(ptr, size)) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		*at = v->next;
		mp_extents_put(&addresses, ptr / MP_GRANULE, size / MP_GRANULE);
		free(v);
	}
	mp_memory_unlock();
	return r;
}

/* ---- Physical memory ---- */

static CUresult prop_check(const CUmemAllocationProp *p, struct mp_device **ret)
{
	if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (p->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return p->location.type == CU_MEM_LOCATION_TYPE_INVALID ? CUDA_ERROR_INVALID_VALUE
									: CUDA_ERROR_NOT_SUPPORTED;
	*ret = mp_device_find(p->location.id);
	if (!*ret)
		return CUDA_ERROR_INVALID_DEVICE;
	if ((unsigned)p->requestedHandleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
				       CUmemAllocationGranularity_flags option)
{
	struct mp_device *d;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!granularity || (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
		return CUDA_ERROR_INVALID_VALUE;
	r = prop_check(prop, &d);
	if (!r)
		*granularity = MP_GRANULE;
	return r;
}

static int file_new(uint64_t size)
{
	int fd = memfd_create("motorpool-device-memory", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Physical memory that was somebody's, as a GPU's is. */
static void file_dirty(const struct mp_physical *p)
{
	void *at = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, (off_t)p->offset);

	if (at == MAP_FAILED)
		return;
	memset(at, MP_SOFT_DIRT, p->size);
	munmap(at, p->size);
}

/* Memory lock held. */
static bool file_take(struct mp_physical *p)
{
	unsigned i = p->device->index;
	uint64_t total = mp_soft.config.memory / MP_GRANULE, first;

	if (!files[i].granules.cap) {
		files[i].fd = file_new(total * MP_GRANULE);
		if (files[i].fd < 0 || !mp_extents_init(&files[i].granules, 0, total))
			return false;
	}
	if (!mp_extents_take(&files[i].granules, p->size / MP_GRANULE, 1, &first))
		return false;
	p->fd = files[i].fd;
	p->offset = first * MP_GRANULE;
	if (mp_soft.config.dirty_memory && !mp_soft.config.null_mode)
		file_dirty(p);
	return true;
}

static void physical_free(struct mp_physical *p)
{
	if (p->own_fd) {
		close(p->fd);
	} else if (p->fd >= 0) {
		/* A hole is both: memory given back, and zeroes for the next owner. */
		if (fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)p->offset,
			      (off_t)p->size))
			mp_log(MP_LOG_ERROR, "soft", "punch", "error=\"%s\"", strerror(errno));
		mp_extents_put(&files[p->device->index].granules, p->offset / MP_GRANULE,
			       p->size / MP_GRANULE);
	}
	if (p->charged)
		mp_soft_account_release(p->device->account, p->size);
	mp_handle_free(MP_PHYSICAL, p);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
		     const CUmemAllocationProp *prop, unsigned long long flags)
{
	struct mp_device *d;
	struct mp_physical *p;
	CUresult r = mp_soft_ready();
	bool good;

	if (r)
		return r;
	if (!handle || !size || size % MP_GRANULE || flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = prop_check(prop, &d);
	if (r)
		return r;
	p = mp_handle_new(MP_PHYSICAL, sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p->prop = *prop;
	p->device = d;
	p->size = size;
	p->fd = -1;
	p->refs = 1;
	p->charged = mp_soft_account_charge(d->account, size);
	mp_memory_lock();
	if (!p->charged) {
		good = false;
	} else if (prop->requestedHandleTypes) {
		p->fd = file_new(size);
		p->own_fd = good = p->fd >= 0;
	} else {
		good = file_take(p);
	}
	if (!good)
		physical_free(p);
	mp_memory_unlock();
	if (good)
		*handle = (CUmemGenericAllocationHandle)p;
	return good ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static struct mp_physical *physical_of(CUmemGenericAllocationHandle h)
{
	return mp_handle_live(MP_PHYSICAL, (void *)h) ? (struct mp_physical *)h : NULL;
}

/* Memory lock held. */
static void physical_unref(struct mp_physical *p)
{
	assert(p->refs);
	if (!--p->refs)
		physical_free(p);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	struct mp_physical *p;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	mp_memory_lock();
	p = physical_of(handle);
	if (p)
		physical_unref(p);
	mp_memory_unlock();
	return p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
						CUmemGenericAllocationHandle handle)
{
	struct mp_physical *p;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	p = physical_of(handle);
	if (!prop || !p)
		return CUDA_ERROR_INVALID_VALUE;
	*prop = p->prop;
	return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *addr)
{
	struct mp_range *range;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	range = mp_range_find((uint64_t)addr);
	if (range && range->kind == MP_RANGE_VMM) {
		range->physical->refs++;
		*handle = (CUmemGenericAllocationHandle)range->physical;
	} else {
		r = CUDA_ERROR_INVALID_VALUE;
	}
	mp_memory_unlock();
	return r;
}

/* ---- Mappings ---- */

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
		  unsigned long long flags)
{
	struct mp_range range = {.kind = MP_RANGE_VMM, .addr = ptr, .size = size, .span = size};
	struct reservation *v;
	struct mp_physical *p;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ptr || !size || ptr % MP_GRANULE || size % MP_GRANULE || offset % MP_GRANULE || flags)
		return CUDA_ERROR_INVALID_VALUE;
	mp_memory_lock();
	p = physical_of(handle);
	for (v = reservations; v; v = v->next)
		if (ptr >= v->addr && ptr - v->addr < v->size && size <= v->size - (ptr - v->addr))
			break;
	if (!p || !v || offset > p->size || size > p->size - offset || mapped_within(ptr, size)) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		range.physical = p;
		range.device = p->device;
		range.offset = offset;
		range.id = mp_range_id();
		if (mmap((void *)ptr, size, PROT_NONE, MAP_SHARED | MAP_FIXED, p->fd,
			 (off_t)(p->offset + offset)) == MAP_FAILED) {
			r = CUDA_ERROR_OUT_OF_MEMORY;
		} else if (!mp_range_add(&range)) {
			mp_window_unback(ptr, size);
			r = CUDA_ERROR_OUT_OF_MEMORY;
		} else {
			p->refs++;
		}
	}
	mp_memory_unlock();
	return r;
}

/* Whole mappings that exactly fill [ptr, ptr+size). Memory lock held. */
static bool exactly_mapped(uint64_t ptr, uint64_t size)
{
	uint64_t at = ptr;

	while (at < ptr + size) {
		struct mp_range *r = mp_range_find(at);

		if (!r || r->kind != MP_RANGE_VMM || r->addr != at || r->size > ptr + size - at)
			return false;
		at += r->size;
	}
	return true;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size)
{
	struct CUctx_st *ctx;
	uint64_t at;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ptr || !size || ptr % MP_GRANULE || size % MP_GRANULE || ptr + size < ptr)
		return CUDA_ERROR_INVALID_VALUE;
	/* Queued work may still use the addresses: unmapping under it would be a fault of ours. */
	if (!mp_context_current(&ctx) && mp_queue_pending(ctx))
		mp_queue_join(ctx);
	mp_memory_lock();
	if (!exactly_mapped(ptr, size)) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		for (at = ptr; at < ptr + size;) {
			struct mp_range gone = *mp_range_find(at);

			mp_range_remove(at);
			mp_window_unback(gone.addr, gone.size);
			physical_unref(gone.physical);
			at += gone.size;
		}
	}
	mp_memory_unlock();
	return r;
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
	uint64_t at;
	size_t i;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ptr || !size || !desc || !count || size % MP_GRANULE || ptr + size < ptr)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < count; i++) {
		if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE)
			return CUDA_ERROR_NOT_SUPPORTED;
		if (!mp_device_find(desc[i].location.id))
			return CUDA_ERROR_INVALID_DEVICE;
		if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
		    desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
		    desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return CUDA_ERROR_INVALID_VALUE;
	}
	mp_memory_lock();
	for (at = ptr; at < ptr + size && !r;) {
		struct mp_range *range = mp_range_find(at);

		if (!range || range->kind != MP_RANGE_VMM) {
			r = CUDA_ERROR_INVALID_VALUE;
			break;
		}
		at = range->addr + range->size;
	}
	if (!exactly_mapped(ptr, size))
		r = CUDA_ERROR_INVALID_VALUE;
	for (at = ptr; at < ptr + size && !r;) {
		struct mp_range *range = mp_range_find(at);

		/* One address space serves all devices: what any of them may do is allowed. */
		for (i = 0; i < count; i++)
			if (desc[i].flags || mp_device_find(desc[i].location.id) == range->device)
				range->access = desc[i].flags;
		if (mprotect((void *)range->addr, range->size,
			     range->access == CU_MEM_ACCESS_FLAGS_PROT_READWRITE
				     ? PROT_READ | PROT_WRITE
				     : range->access ? PROT_READ : PROT_NONE))
			r = CUDA_ERROR_OUT_OF_MEMORY;
		at += range->size;
	}
	mp_memory_unlock();
	return r;
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
	struct mp_range range;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    !mp_device_find(location->id) || !mp_memory_span(ptr, 1, &range) ||
	    range.kind != MP_RANGE_VMM)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = range.access;
	return CUDA_SUCCESS;
}

/* ---- Sharing ---- */

CUresult cuMemExportToShareableHandle(void *shareableHandle, CUmemGenericAllocationHandle handle,
				      CUmemAllocationHandleType handleType,
				      unsigned long long flags)
{
	struct mp_physical *p;
	int fd;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	p = physical_of(handle);
	if (!shareableHandle || !p || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (handleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!p->own_fd)
		return CUDA_ERROR_INVALID_VALUE; /* was not asked for at creation */
	fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return CUDA_ERROR_OPERATING_SYSTEM;
	*(int *)shareableHandle = fd;
	return CUDA_SUCCESS;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *osHandle,
					CUmemAllocationHandleType shHandleType)
{
	struct mp_physical *p;
	struct stat st;
	int fd;
	MP_ENTER(ctx);

	if (!handle || shHandleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return CUDA_ERROR_INVALID_VALUE;
	fd = fcntl((int)(intptr_t)osHandle, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return CUDA_ERROR_INVALID_VALUE;
	p = NULL;
	if (!fstat(fd, &st) && st.st_size > 0 && !(st.st_size % (off_t)MP_GRANULE))
		p = mp_handle_new(MP_PHYSICAL, sizeof(*p));
	if (!p) {
		close(fd);
		return CUDA_ERROR_INVALID_VALUE;
	}
	p->prop = (CUmemAllocationProp){
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
		.location = {CU_MEM_LOCATION_TYPE_DEVICE, ctx->device->ordinal},
	};
	p->device = ctx->device;
	p->size = (uint64_t)st.st_size;
	p->fd = fd;
	p->own_fd = true; /* charged to the process that made it */
	p->refs = 1;
	*handle = (CUmemGenericAllocationHandle)p;
	return CUDA_SUCCESS;
}
