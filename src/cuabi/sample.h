/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images made by code, for the tests and fuzzers of this room: small PTX texts,
 * cubins and fatbins that no compiler wrote.  Not linked into any product.
 */
#ifndef MP_CUABI_SAMPLE_H
#define MP_CUABI_SAMPLE_H

#include "cuabi/cuabi.h"

/* A PTX text with two kernels, variables of each space, and shared memory in odd places. */
extern const char mp_sample_ptx[];

struct mp_sample_cubin {
	unsigned sm;
	unsigned abi;	   /* 7 or 8: where the target stands */
	bool large_params; /* the other attribute for parameters */
	bool prints;
};
/* An ELF with kernels "alpha" (u64, 24-byte struct at 8, u32 at 32) and "beta" (none). malloc'd. */
uint8_t *mp_sample_cubin(const struct mp_sample_cubin *how, size_t *ret_size);

struct mp_sample_entry {
	unsigned kind, sm;
	uint64_t flags; /* arch 0x100000, family 0x200000 */
	enum mp_member_codec codec;
	const void *data;
	size_t size;
};
/* A fatbin: header and entries. malloc'd. */
uint8_t *mp_sample_fatbin(const struct mp_sample_entry *entries, size_t n, size_t *ret_size);

/* An LZ4 block with literals and matches; out holds at least size * 2 + 16 bytes. */
size_t mp_sample_lz4(const uint8_t *in, size_t size, uint8_t *out);

#endif
