/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual memory management: reserve, create, map in pieces, set access, use, unmap, map the same memory twice. */
#include "call.h"

int main(void)
{
	CUcontext ctx = call_begin();
	CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
				    .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};
	CUmemAccessDesc access = {.location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	CUmemGenericAllocationHandle h[3];
	unsigned long long flags = 0;
	CUdeviceptr base, twin;
	size_t g = 0, r = 0;
	unsigned i, n, word;

	SAY(cuMemGetAllocationGranularity(&g, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	SAY(cuMemGetAllocationGranularity(&r, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
	call_line("granularity is a power of two: %d, recommended is a multiple: %d", g && !(g & (g - 1)), g && r % g == 0);
	SAY(cuMemAddressReserve(&base, 4 * g, 0, 0, 0));
	call_line("aligned: %d", base % g == 0);
	for (i = 0; i < 3; i++) {
		SAY(cuMemCreate(&h[i], g, &prop, 0));
		SAY(cuMemMap(base + i * g, g, 0, h[i], 0));
	}
	SAY(cuMemSetAccess(base, 3 * g, &access, 1));
	SAY(cuMemGetAccess(&flags, &access.location, base));
	call_line("access %llu", flags);
	n = 3 * g / 4;
	call_iota(base, n, 11, NULL);
	call_step(base, n, 3, 1, NULL);
	call_line("sum=%016llx", (unsigned long long)call_sum_device(base, 3 * g));
	/* The middle piece also appears elsewhere. */
	SAY(cuMemAddressReserve(&twin, g, 0, 0, 0));
	SAY(cuMemMap(twin, g, 0, h[1], 0));
	SAY(cuMemSetAccess(twin, g, &access, 1));
	call_line("twin sum equals: %d", call_sum_device(twin, g) == call_sum_device(base + g, g));
	word = 0xdeadbeef;
	MUST(cuMemcpyHtoD(twin + 128, &word, 4));
	word = 0;
	MUST(cuMemcpyDtoH(&word, base + g + 128, 4));
	call_line("written through the twin: %08x", word);
	SAY(cuMemUnmap(twin, g));
	SAY(cuMemAddressFree(twin, g));
	SAY(cuMemUnmap(base + g, g));
	/* The hole gets other memory. */
	SAY(cuMemRelease(h[1]));
	SAY(cuMemCreate(&h[1], g, &prop, 0));
	SAY(cuMemMap(base + g, g, 0, h[1], 0));
	SAY(cuMemSetAccess(base + g, g, &access, 1));
	MUST(cuMemsetD8(base + g, 0x5a, g));
	call_line("sum=%016llx", (unsigned long long)call_sum_device(base, 3 * g));
	/* Refusals. */
	SAY(cuMemMap(base, g, 0, h[1], 0));
	SAY(cuMemCreate(&h[2], g + 1, &prop, 0));
	SAY(cuMemAddressReserve(&twin, g / 2 + 1, 0, 0, 0));
	SAY(cuMemUnmap(base, 3 * g));
	for (i = 0; i < 2; i++)
		SAY(cuMemRelease(h[i]));
	SAY(cuMemAddressFree(base, 4 * g));
	return call_end(ctx);
}
