/* SPDX-License-Identifier: Apache-2.0 */
/* What decoder and texture handlers agree on: op->ext[1]. Private to the room. */
#ifndef MP_EXEC_TEX_H
#define MP_EXEC_TEX_H

enum { TEX_DIMS = 3, TEX_LAYERED = 4, TEX_CUBE = 8 };

#endif
