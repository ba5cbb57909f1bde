/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program advised about managed memory, and how it is asked for again.
 * Nothing depends on it; it is kept per allocation, not per page.
 */
#include "cuabi/cuabi.h"

#define HOST_BIT 31

static bool device_good(int id, int devices)
{
	return id >= 0 && id < devices;
}

CUresult mp_advice_place(const CUmemLocation *l, int devices)
{
	switch (l->type) {
	case CU_MEM_LOCATION_TYPE_DEVICE:
		return device_good(l->id, devices) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
	case CU_MEM_LOCATION_TYPE_HOST:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUmemLocation mp_advice_location(CUdevice device)
{
	CUmemLocation l = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};

	if (device == CU_DEVICE_CPU)
		l = (CUmemLocation){.type = CU_MEM_LOCATION_TYPE_HOST};
	return l;
}

CUresult mp_advice_take(struct mp_advice *a, CUmem_advise advice, const CUmemLocation *l, int devices)
{
	bool places = advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION ||
		      advice == CU_MEM_ADVISE_SET_ACCESSED_BY ||
		      advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY;
	CUresult r = places ? mp_advice_place(l, devices) : CUDA_SUCCESS;
	unsigned bit = l->type == CU_MEM_LOCATION_TYPE_DEVICE ? (unsigned)l->id & 31 : HOST_BIT;

	if (r)
		return r;
	switch (advice) {
	case CU_MEM_ADVISE_SET_READ_MOSTLY:
	case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
		a->read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
		a->preferred = *l;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
		a->preferred = (CUmemLocation){0};
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_SET_ACCESSED_BY:
		a->accessed_by |= 1u << bit;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
		a->accessed_by &= ~(1u << bit);
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

/* As the older attributes have it: an ordinal, the host, or nothing. */
static int ordinal(const CUmemLocation *l)
{
	if (l->type == CU_MEM_LOCATION_TYPE_DEVICE)
		return l->id;
	return l->type == CU_MEM_LOCATION_TYPE_INVALID ? CU_DEVICE_INVALID : CU_DEVICE_CPU;
}

static void accessed_by(const struct mp_advice *a, int *list, size_t n)
{
	size_t k = 0;
	unsigned i;

	for (i = 0; i < HOST_BIT && k < n; i++)
		if (a->accessed_by >> i & 1)
			list[k++] = (int)i;
	if (k < n && a->accessed_by >> HOST_BIT & 1)
		list[k++] = CU_DEVICE_CPU;
	while (k < n)
		list[k++] = CU_DEVICE_INVALID;
}

CUresult mp_advice_get(const struct mp_advice *a, CUmem_range_attribute what, void *data, size_t size)
{
	int value;

	if (what == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY) {
		if (!size || size % 4)
			return CUDA_ERROR_INVALID_VALUE;
		accessed_by(a, data, size / 4);
		return CUDA_SUCCESS;
	}
	switch (what) {
	case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY: value = a->read_mostly; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION: value = ordinal(&a->preferred); break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION: value = ordinal(&a->prefetched); break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE: value = (int)a->preferred.type; break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE: value = (int)a->prefetched.type; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID: value = a->preferred.id; break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID: value = a->prefetched.id; break;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	if (size != 4)
		return CUDA_ERROR_INVALID_VALUE;
	*(int *)data = value;
	return CUDA_SUCCESS;
}
