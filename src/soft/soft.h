/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft: a CUDA driver library whose devices are this machine's CPUs.
 *
 * Its door to programs is the CUDA driver ABI itself (abi/cuda.h); this header
 * holds the little that its neighbours inside the tree need beside that: what
 * a worker may ask to learn which kind of driver it loaded, where device
 * addresses lie, and how the generated per-thread variants of calls say so.
 */
#ifndef MP_SOFT_H
#define MP_SOFT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A device attribute of our own, for cuDeviceGetAttribute(): 0 = "this device
 * does not run cubins, send it PTX".  A worker chooses by it which member of a
 * fatbin must travel; NVIDIA's driver answers INVALID_VALUE to a number it does
 * not know, which means that cubins are fine.  "MP" in ASCII keeps the number
 * far from NVIDIA's.
 */
#define MP_SOFT_ATTRIBUTE_RUNS_CUBINS 0x4d500001

/*
 * Every device address, and every pinned host address, lies in one window.
 * cuMemAddressReserve() honours an address hint in the window's first half.
 */
#define MP_SOFT_WINDOW_BASE 0x200000000000ull
#define MP_SOFT_WINDOW_SIZE 0x100000000000ull

/*
 * The calling thread's stream 0: true means the per-thread default stream,
 * false the legacy one.  Returns what was set before; the _ptds and _ptsz
 * variants of calls set it around the base call and put it back.
 */
bool mp_soft_per_thread(bool on);

#endif
