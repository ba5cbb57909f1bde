/* SPDX-License-Identifier: Apache-2.0 */
/* What a pointer is: from the granule table and the list of pinned memory. */
#include "shim/mirror.h"

#include <string.h>

/* Pinned memory that was allocated has one address; registered memory another, once kernels use it. */
static uint64_t device_pointer(const struct mp_range *g, uint64_t p)
{
	struct mp_mirror m;

	if (g->kind != MP_PINNED || !g->registered)
		return p;
	if (!mp_mirror_find(p, &m))
		return 0;
	return p - m.host < m.pages * MP_PAGE ? m.device + (p - m.host) : p;
}

static void *host_pointer(const struct mp_range *g, uint64_t p)
{
	struct mp_mirror m;

	if (g->kind == MP_DEVICE)
		return NULL;
	if (g->kind == MP_PINNED && g->registered && mp_mirror_find(p, &m) &&
	    p - m.host >= m.pages * MP_PAGE)
		p = m.host + (p - m.device);
	return (void *)(uintptr_t)p;
}

/* One attribute of a known range; `known` false: zeros, where an unknown pointer has them. */
static CUresult one(CUpointer_attribute a, bool known, const struct mp_range *g, uint64_t p,
		    void *out)
{
	switch (a) {
	case CU_POINTER_ATTRIBUTE_CONTEXT:
		*(CUcontext *)out = known ? (CUcontext)g->ctx : NULL;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		*(unsigned *)out = !known ? 0 : g->kind == MP_PINNED ? CU_MEMORYTYPE_HOST
								     : CU_MEMORYTYPE_DEVICE;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
		*(CUdeviceptr *)out = known ? device_pointer(g, p) : 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		*(void **)out = known ? host_pointer(g, p) : NULL;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
		*(unsigned *)out = known && g->kind == MP_MANAGED;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
		*(unsigned *)out = 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
		*(unsigned long long *)out = known ? g->id : 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		*(int *)out = known ? g->device : -2; /* what is said of a pointer of nobody */
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		*(unsigned *)out = 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
		*(CUdeviceptr *)out = known ? g->base : 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
		*(size_t *)out = known ? g->size : 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_MAPPED:
		*(unsigned *)out = known;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
		*(unsigned long long *)out = 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
		*(unsigned *)out = known ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE : 0;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
		*(CUmemoryPool *)out = known ? (CUmemoryPool)g->pool : NULL;
		return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
		*(unsigned long long *)out = known ? g->id : 0;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult mp_shim_cuPointerGetAttribute(void *data, CUpointer_attribute a, CUdeviceptr p)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuPointerGetAttribute, &t);

	if (r)
		return r;
	if (!data)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_find(p, &range))
		return CUDA_ERROR_INVALID_VALUE;
	return one(a, true, &range, p, data);
}

CUresult mp_shim_cuPointerGetAttributes(unsigned int n, CUpointer_attribute *a, void **data,
					CUdeviceptr p)
{
	struct mp_range range;
	struct mp_thread *t;
	bool known;
	unsigned i;
	CUresult r = mp_enter_init(MP_CALL_cuPointerGetAttributes, &t);

	if (r)
		return r;
	if (!n || !a || !data)
		return CUDA_ERROR_INVALID_VALUE;
	known = mp_memory_find(p, &range);
	for (i = 0; i < n && !r; i++)
		r = one(a[i], known, &range, p, data[i]);
	return r;
}

CUresult mp_shim_cuPointerSetAttribute(const void *value, CUpointer_attribute a, CUdeviceptr p)
{
	struct mp_range range;
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuPointerSetAttribute, &t);

	if (r)
		return r;
	if (!value || a != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || !mp_memory_find(p, &range) ||
	    range.kind == MP_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	/* Copies that touch it would have to wait: not carried, unless it asks for what is anyway. */
	return *(const unsigned *)value ? mp_refused(MP_CALL_cuPointerSetAttribute) : CUDA_SUCCESS;
}
