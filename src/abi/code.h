/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a driver library says that its devices run PTX and no machine code.
 *
 * A driver answers cuGetExportTable with this table when that is so; NVIDIA's
 * knows no such UUID and refuses.  Who asks needs no device for it.  The table is
 * its size in bytes and a text, "ptx".
 */
#ifndef MP_ABI_CODE_H
#define MP_ABI_CODE_H

#include <stdint.h>

#define MP_CODE_TABLE_ID {{0x6d, 0x6f, 0x74, 0x6f, 0x72, 0x70, 0x6f, 0x6f, 0x6c, 0x2d, 0x63, 0x6f, 0x64, 0x65, 0x00, 0x01}}

struct mp_code_table {
	uint64_t size;
	const char *code;
};

#endif
