/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual memory management: reservations and mappings are the client's own
 * book; physical allocations live on the server, which charges them.
 *
 * Mistakes are found here, at the call, so that the records of mappings are
 * one-way.  Only cuMemCreate waits: whether there is memory is the server's to
 * say.  cuMemUnmap waits for the work that may still touch the range, as a
 * driver does.
 *
 * An allocation goes when it is neither referenced by a handle nor mapped.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

#include "mp-convert.h"

#define GRANULE ((uint64_t)2 << 20)

/* A physical allocation; its handle is its address. */
struct mem {
	struct mp_head head;
	uint64_t size;
	int device;
	unsigned refs, maps;
	CUmemAllocationProp prop;
};
_Static_assert(sizeof(struct mem) <= MP_SLOT_SIZE, "an object fits its slot");

struct reservation {
	uint64_t base, size;
	struct reservation *next;
};

/* Sorted by address. */
struct mapping {
	uint64_t base, size, offset;
	struct mem *mem;
	uint8_t access[MP_ARRAY_LEN(mp_shim.device)];
	struct mapping *next;
};

/* Guards the lists and the counts of allocations; records are reserved under it, nobody waits. */
static pthread_mutex_t vmm = PTHREAD_MUTEX_INITIALIZER;
static struct reservation *reservations MP_GUARDED_BY(vmm);
static struct mapping *mappings MP_GUARDED_BY(vmm);

static struct mem *mem_of(CUmemGenericAllocationHandle h)
{
	return mp_object((const void *)(uintptr_t)h, MP_KIND_mem);
}

static uint32_t ctx_id(const struct mp_thread *t)
{
	return t->ctx ? t->ctx->head.id : 0;
}

/* ---- Addresses ---- */

CUresult mp_shim_cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment,
				     CUdeviceptr addr, unsigned long long flags)
{
	struct reservation *v;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuMemAddressReserve, &t);

	if (r)
		return r;
	if (!ptr || !size || size % GRANULE || (alignment & (alignment - 1)) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	v = malloc(sizeof(*v));
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	v->size = size;
	v->base = mp_memory_reserve_va(size, alignment, addr);
	if (!v->base) {
		free(v);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ptr = v->base;
	pthread_mutex_lock(&vmm);
	v->next = reservations;
	reservations = v;
	pthread_mutex_unlock(&vmm);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemAddressFree(CUdeviceptr ptr, size_t size)
{
	struct reservation **at, *v;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuMemAddressFree, &t);

	if (r)
		return r;
	pthread_mutex_lock(&vmm);
	for (at = &reservations; (v = *at) && (v->base != ptr || v->size != size); at = &v->next)
		;
	r = v ? mp_memory_release_va(ptr, size) : CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		*at = v->next;
		free(v);
	}
	pthread_mutex_unlock(&vmm);
	return r;
}

/* [ptr, ptr+size) lies in one reservation; `vmm` is held. */
static bool reserved(uint64_t ptr, uint64_t size)
{
	const struct reservation *v;

	for (v = reservations; v; v = v->next)
		if (ptr >= v->base && ptr - v->base < v->size && size <= v->size - (ptr - v->base))
			return true;
	return false;
}

/* ---- Physical memory ---- */

static CUresult prop_check(const CUmemAllocationProp *p)
{
	if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
	    p->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (p->location.id < 0 || p->location.id >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	return p->requestedHandleTypes ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult mp_shim_cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
					       CUmemAllocationGranularity_flags option)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuMemGetAllocationGranularity, &t);

	if (r)
		return r;
	if (!granularity || option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
		return CUDA_ERROR_INVALID_VALUE;
	r = prop_check(prop);
	if (!r)
		*granularity = GRANULE;
	return r;
}

CUresult mp_shim_cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
			     const CUmemAllocationProp *prop, unsigned long long flags)
{
	struct mp_msg_cuMemCreate m = {.size = size, .flags = flags};
	struct mp_answer a;
	struct mp_thread *t;
	struct mem *mem;
	struct mp_out o;
	CUresult r = mp_enter_init(MP_CALL_cuMemCreate, &t);

	if (r)
		return r;
	if (!handle || !size || size % GRANULE || flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = prop_check(prop);
	if (r)
		return r;
	mem = mp_slot_new(MP_KIND_mem);
	if (!mem)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mem->size = size;
	mem->device = prop->location.id;
	mem->prop = *prop;
	mem->refs = 1;
	mp_from_mem_prop(&m.prop, prop);
	m.prop.location.id = mp_shim.device[mem->device].wire;
	m.handle = mem->head.id;
	r = MP_PUT(&o, t, MP_CALL_cuMemCreate, cuMemCreate, &m, ctx_id(t));
	if (!r) {
		r = mp_out_ask(&o, &a);
		free(a.own_data);
	}
	if (r) {
		mp_slot_waste(mem);
		return r;
	}
	*handle = (uintptr_t)mem;
	return CUDA_SUCCESS;
}

/* Nobody refers to it and it is nowhere mapped: the server lets go; `vmm` is held. */
static CUresult mem_drop(struct mp_thread *t, struct mem *mem)
{
	struct mp_msg_cuMemRelease m = {.handle = mem->head.id};
	struct mp_out o;
	CUresult r;

	if (mem->refs || mem->maps)
		return CUDA_SUCCESS;
	r = MP_SEND(&o, t, MP_CALL_cuMemRelease, cuMemRelease, &m, ctx_id(t));
	mp_slot_free(mem);
	return r;
}

CUresult mp_shim_cuMemRelease(CUmemGenericAllocationHandle handle)
{
	struct mp_thread *t;
	struct mem *mem;
	CUresult r = mp_enter_init(MP_CALL_cuMemRelease, &t);

	if (r)
		return r;
	pthread_mutex_lock(&vmm);
	mem = mem_of(handle);
	if (!mem || !mem->refs) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		mem->refs--;
		r = mem_drop(t, mem);
	}
	pthread_mutex_unlock(&vmm);
	return r;
}

CUresult mp_shim_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
							CUmemGenericAllocationHandle handle)
{
	struct mp_thread *t;
	struct mem *mem;
	CUresult r = mp_enter_init(MP_CALL_cuMemGetAllocationPropertiesFromHandle, &t);

	if (r)
		return r;
	pthread_mutex_lock(&vmm);
	mem = mem_of(handle);
	if (!prop || !mem || !mem->refs)
		r = CUDA_ERROR_INVALID_VALUE;
	else
		*prop = mem->prop;
	pthread_mutex_unlock(&vmm);
	return r;
}

/* ---- Mappings; `vmm` is held ---- */

static struct mapping *mapping_at(uint64_t p)
{
	struct mapping *v;

	for (v = mappings; v; v = v->next)
		if (p >= v->base && p - v->base < v->size)
			return v;
	return NULL;
}

/* Is all of the range mapped?  `whole`: by mappings that do not reach beyond it. */
static bool mapped(uint64_t ptr, uint64_t size, bool whole)
{
	uint64_t at = ptr, end = ptr + size;
	const struct mapping *v;

	while (at < end) {
		v = mapping_at(at);
		if (!v || (whole && (v->base != at || v->size > end - at)))
			return false;
		at = v->base + v->size;
	}
	return true;
}

static bool overlaps(uint64_t ptr, uint64_t size)
{
	const struct mapping *v;

	for (v = mappings; v; v = v->next)
		if (v->base < ptr + size && ptr < v->base + v->size)
			return true;
	return false;
}

static CUresult map_add(struct mp_thread *t, struct mapping *n, struct mem *mem)
{
	struct mp_msg_cuMemMap m = {
		.ptr = n->base, .size = n->size, .offset = n->offset, .handle = mem->head.id};
	struct mapping **at;
	struct mp_out o;
	CUresult r;

	if (!reserved(n->base, n->size) || overlaps(n->base, n->size) || n->offset > mem->size ||
	    n->size > mem->size - n->offset)
		return CUDA_ERROR_INVALID_VALUE;
	r = MP_SEND(&o, t, MP_CALL_cuMemMap, cuMemMap, &m, ctx_id(t));
	if (r)
		return r;
	for (at = &mappings; *at && (*at)->base < n->base; at = &(*at)->next)
		;
	n->next = *at;
	n->mem = mem;
	mem->maps++;
	*at = n;
	mp_memory_vmm(n->base, n->size, mem->device, t->ctx, true);
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuMemMap(CUdeviceptr ptr, size_t size, size_t offset,
			  CUmemGenericAllocationHandle handle, unsigned long long flags)
{
	struct mapping *n;
	struct mp_thread *t;
	struct mem *mem;
	CUresult r = mp_enter_init(MP_CALL_cuMemMap, &t);

	if (r)
		return r;
	if (!ptr || !size || (ptr | size | offset) % GRANULE || flags || size > UINT64_MAX - ptr)
		return CUDA_ERROR_INVALID_VALUE;
	n = calloc(1, sizeof(*n));
	if (!n)
		return CUDA_ERROR_OUT_OF_MEMORY;
	n->base = ptr;
	n->size = size;
	n->offset = offset;
	pthread_mutex_lock(&vmm);
	mem = mem_of(handle);
	r = mem && mem->refs ? map_add(t, n, mem) : CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_unlock(&vmm);
	if (r)
		free(n);
	return r;
}

static CUresult unmap(struct mp_thread *t, uint64_t ptr, uint64_t size)
{
	struct mp_msg_cuMemUnmap m = {.ptr = ptr, .size = size};
	struct mapping **at, *v;
	struct mp_out o;
	CUresult r;

	if (!mapped(ptr, size, true))
		return CUDA_ERROR_INVALID_VALUE;
	r = MP_SEND(&o, t, MP_CALL_cuMemUnmap, cuMemUnmap, &m, ctx_id(t));
	for (at = &mappings; !r && (v = *at);) {
		if (v->base < ptr || v->base >= ptr + size) {
			at = &v->next;
			continue;
		}
		*at = v->next;
		mp_memory_vmm(v->base, v->size, v->mem->device, NULL, false);
		v->mem->maps--;
		r = mem_drop(t, v->mem);
		free(v);
	}
	return r;
}

CUresult mp_shim_cuMemUnmap(CUdeviceptr ptr, size_t size)
{
	struct mp_thread *t;
	bool good;
	CUresult r = mp_enter_init(MP_CALL_cuMemUnmap, &t);

	if (r)
		return r;
	if (!ptr || !size || (ptr | size) % GRANULE || size > UINT64_MAX - ptr)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vmm);
	good = mapped(ptr, size, true);
	pthread_mutex_unlock(&vmm);
	if (!good)
		return CUDA_ERROR_INVALID_VALUE;
	if (t->ctx && t->ctx->live && (r = mp_ctx_wait(t, MP_CALL_cuMemUnmap, t->ctx)))
		return r;
	pthread_mutex_lock(&vmm);
	r = unmap(t, ptr, size);
	pthread_mutex_unlock(&vmm);
	return r;
}

/* ---- Access ---- */

static CUresult access_check(const CUmemAccessDesc *d)
{
	if (d->flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
	    d->flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
	    d->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
		return CUDA_ERROR_INVALID_VALUE;
	/* Memory of a server's device is nothing that this host could read. */
	if (d->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	return d->location.id >= 0 && d->location.id < mp_shim.ndevices ? CUDA_SUCCESS
									: CUDA_ERROR_INVALID_DEVICE;
}

CUresult mp_shim_cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc,
				size_t count)
{
	struct mp_msg_cuMemSetAccess m = {.ptr = ptr, .size = size, .count = count};
	struct mp_mem_access *wire;
	struct mapping *v;
	struct mp_thread *t;
	struct mp_out o;
	size_t i;
	CUresult r = mp_enter_init(MP_CALL_cuMemSetAccess, &t);

	if (r)
		return r;
	if (!ptr || !size || !desc || !count || (ptr | size) % GRANULE || size > UINT64_MAX - ptr)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < count && !r; i++)
		r = access_check(&desc[i]);
	if (r)
		return r;
	wire = count > 4096 ? NULL : mp_scratch(t, count * sizeof(*wire));
	if (!wire)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < count; i++) {
		mp_from_mem_access(&wire[i], &desc[i]);
		wire[i].location.id = mp_shim.device[desc[i].location.id].wire;
	}
	m.desc = wire;
	pthread_mutex_lock(&vmm);
	r = mapped(ptr, size, false)
		    ? MP_SEND(&o, t, MP_CALL_cuMemSetAccess, cuMemSetAccess, &m, ctx_id(t))
		    : CUDA_ERROR_INVALID_VALUE;
	for (v = r ? NULL : mappings; v; v = v->next)
		for (i = 0; i < count && v->base < ptr + size && ptr < v->base + v->size; i++)
			v->access[desc[i].location.id] = (uint8_t)desc[i].flags;
	pthread_mutex_unlock(&vmm);
	return r;
}

CUresult mp_shim_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
				CUdeviceptr ptr)
{
	const struct mapping *v;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuMemGetAccess, &t);

	if (r)
		return r;
	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (location->id < 0 || location->id >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&vmm);
	v = mapping_at(ptr);
	if (v)
		*flags = v->access[location->id];
	pthread_mutex_unlock(&vmm);
	return v ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *addr)
{
	struct mapping *v;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuMemRetainAllocationHandle, &t);

	if (r)
		return r;
	if (!handle || !addr)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vmm);
	v = mapping_at((uintptr_t)addr);
	if (v) {
		v->mem->refs++;
		*handle = (uintptr_t)v->mem;
	}
	pthread_mutex_unlock(&vmm);
	return v ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool mp_vmm_accessible(uint64_t p)
{
	const struct mapping *v;
	bool any = false;
	int i;

	pthread_mutex_lock(&vmm);
	v = mapping_at(p);
	for (i = 0; v && i < mp_shim.ndevices; i++)
		any |= v->access[i] != 0;
	pthread_mutex_unlock(&vmm);
	return any;
}
