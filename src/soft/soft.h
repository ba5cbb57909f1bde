/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft: a CUDA driver library whose devices are this machine's CPUs.
 *
 * Its door to programs is the CUDA driver ABI itself (abi/cuda.h); this header
 * holds the little that its neighbours inside the tree need beside that: what
 * a worker may ask to learn which kind of driver it loaded, and where device
 * addresses lie.
 */
#ifndef MP_SOFT_H
#define MP_SOFT_H

#include <stdint.h>

/*
 * A device attribute of our own, for cuDeviceGetAttribute(): 0 = "this device
 * does not run cubins, send it PTX".  A worker chooses by it which member of a
 * fatbin must travel; NVIDIA's driver answers INVALID_VALUE to a number it does
 * not know, which means that cubins are fine.  "MP" in ASCII keeps the number
 * far from NVIDIA's.
 */
#define MP_SOFT_ATTRIBUTE_RUNS_CUBINS 0x4d500001
/* 1: memory that cuMemCreate() gives reads as zero, so that nobody need write zeroes first. */
#define MP_SOFT_ATTRIBUTE_FRESH_IS_ZERO 0x4d500002
/* What a process's first context costs, in MiB; refused when it is no whole number of them. */
#define MP_SOFT_ATTRIBUTE_CONTEXT_MEMORY 0x4d500003

/*
 * Every device address, and every pinned host address, lies in one window.
 * cuMemAddressReserve() honours an address hint in the window's first half.
 */
#ifdef __SANITIZE_THREAD__ /* its shadow leaves a program the lowest 512 GiB and little else */
#define MP_SOFT_WINDOW_BASE 0x001000000000ull
#define MP_SOFT_WINDOW_SIZE 0x006000000000ull
#else
#define MP_SOFT_WINDOW_BASE 0x200000000000ull
#define MP_SOFT_WINDOW_SIZE 0x100000000000ull
#endif

#endif
