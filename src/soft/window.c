/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window: the one range of addresses in which all device memory and pinned
 * host memory lies, reserved without access and backed piece by piece.
 *
 *	first half	cuMemAddressReserve
 *	third quarter	a slice of 256 GiB per device for cuMemAlloc and pools
 *	fourth quarter	pinned and managed memory
 *
 * Programs' own mappings are never here: the kernel puts mappings near the
 * stack and heaps near the executable, both far above.  Memory is not charged
 * to anybody until it is touched.
 */
#include "inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


static bool window_ready;

bool mp_window_init(void)
{
	void *p;

	if (window_ready)
		return true;
	p = mmap((void *)MP_SOFT_WINDOW_BASE, MP_SOFT_WINDOW_SIZE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != (void *)MP_SOFT_WINDOW_BASE) {
		if (p != MAP_FAILED)
			munmap(p, MP_SOFT_WINDOW_SIZE);
		mp_log(MP_LOG_ERROR, "soft", "window", "base=0x%llx size=0x%llx error=\"%s\"",
		       MP_SOFT_WINDOW_BASE, MP_SOFT_WINDOW_SIZE, strerror(errno));
		return false;
	}
	/* A core file of 16 TiB of nothing helps nobody; a child has no use of it either. */
	madvise(p, MP_SOFT_WINDOW_SIZE, MADV_DONTDUMP);
	window_ready = true;
	return true;
}

uint64_t mp_window_reserve_base(void)
{
	return MP_SOFT_WINDOW_BASE;
}

uint64_t mp_window_reserve_size(void)
{
	return MP_SOFT_WINDOW_SIZE / 2;
}

uint64_t mp_window_device_base(unsigned index)
{
	assert(index < MP_SOFT_MAX_DEVICES);
	return MP_SOFT_WINDOW_BASE + MP_SOFT_WINDOW_SIZE / 2 + index * MP_WINDOW_DEVICE_SIZE;
}

uint64_t mp_window_host_base(void)
{
	return MP_SOFT_WINDOW_BASE + MP_SOFT_WINDOW_SIZE / 4 * 3;
}

uint64_t mp_window_host_size(void)
{
	return MP_SOFT_WINDOW_SIZE / 4;
}

bool mp_window_back(uint64_t addr, uint64_t size)
{
	assert(mp_window_has(addr) && !(addr % 4096) && !(size % 4096));
	if (mprotect((void *)addr, size, PROT_READ | PROT_WRITE))
		return false;
	if (mp_soft.config.dirty_memory && !mp_soft.config.null_mode)
		memset((void *)addr, MP_SOFT_DIRT, size);
	return true;
}

void mp_window_unback(uint64_t addr, uint64_t size)
{
	/* A new mapping over it drops pages and access in one step, and cannot leave zeroes undone. */
	void *p = mmap((void *)addr, size, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		madvise((void *)addr, size, MADV_DONTNEED);
}
