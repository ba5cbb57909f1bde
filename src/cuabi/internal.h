/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share; not a door. */
#ifndef MP_CUABI_INTERNAL_H
#define MP_CUABI_INTERNAL_H

#include "cuabi/cuabi.h"

/* The driver library's answers, or NULL before mp_cuabi_init. */
const struct mp_cuabi_ops *mp_cuabi_ops(void);

/* ---- md2.c ---- */

struct mp_md2 {
	uint8_t state[16], checksum[16], block[16];
	size_t fill;
};

void mp_md2_init(struct mp_md2 *m);
void mp_md2_add(struct mp_md2 *m, const void *data, size_t n);
void mp_md2_done(struct mp_md2 *m, uint8_t ret_digest[16]);
/* HMAC (RFC 2104) over MD2 with a key of one block. */
void mp_md2_hmac_init(struct mp_md2 *m, const uint8_t key[16]);
void mp_md2_hmac_done(struct mp_md2 *m, const uint8_t key[16], uint8_t ret_digest[16]);

/* ---- integrity.c ---- */

/* What the answer depends on, apart from the devices. */
struct mp_integrity {
	uint32_t driver_version, version, pid, thread;
	uint64_t cudart_table, integrity_table, integrity_slot, unix_seconds;
};

struct mp_integrity_device {
	uint8_t uuid[16];
	int32_t domain, bus, device;
};

void mp_integrity_answer(const struct mp_integrity *in, const struct mp_integrity_device *devices,
			 size_t ndevices, uint64_t out[2]);

/* ---- lz4.c ---- */

/* One LZ4 block; true when it decodes to exactly out_size bytes. */
bool mp_lz4_decode(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size);

/* ---- cubin.c, scan.c ---- */

/* The size of an ELF image by its own headers; 0 when it is none. limit 0 = unknown. */
size_t mp_cubin_size(const uint8_t *p, size_t limit);
/*
 * Target of a cubin; false when the header is no CUDA ELF.  An a- or f-target looks like
 * the plain one here: only the fatbin entry around a cubin tells them apart.
 */
bool mp_cubin_target(const uint8_t *p, size_t size, unsigned *sm);
enum mp_image_outcome mp_cubin_read(const uint8_t *p, size_t size, struct mp_arena *arena,
				    struct mp_contents *ret);

/* .target and .version of a PTX text; 0 where they are missing. */
void mp_ptx_target(const char *text, size_t size, unsigned *sm, bool *arch, bool *family,
		   unsigned *version);
enum mp_image_outcome mp_ptx_read(const char *text, size_t size, struct mp_arena *arena,
				  struct mp_contents *ret);

#endif
