/* SPDX-License-Identifier: Apache-2.0 */
/* What decoder and handlers of textures and surfaces agree on. Private to the room. */
#ifndef MP_EXEC_TEX_H
#define MP_EXEC_TEX_H

/* op->ext[TEX_LAYOUT] */
enum { TEX_DIMS = 3, TEX_LAYERED = 4, TEX_CUBE = 8 };

/* Places in op->ext; slots but for the first three. */
enum {
	TEX_COORDS,    /* how many there are */
	TEX_LAYOUT,
	TEX_WIDTH,     /* bytes of the registers that data is in or goes to */
	TEX_DATA,      /* 4 */
	TEX_AT = 7,    /* 4 coordinates, a layer first */
	TEX_LOD = 11,  /* level of detail */
	TEX_DX = 12,   /* 3 derivatives */
	TEX_DY = 15,   /* 3 */
	TEX_SHIFT = 18, /* 3 offsets in texels */
	TEX_RESIDENT = 21, /* predicate or SLOT_NONE */
	TEX_EXT = 22
};

/* op->x of tex and tld4; the component that tld4 gathers in bits 8 and 9 */
enum { TEX_INTEGER = 1, TEX_LEVEL = 2, TEX_GRAD = 4, TEX_HALF = 8, TEX_HALF2 = 16, TEX_SHIFTED = 32 };

/* op->x of surfaces: the first two bits say what lies outside */
enum { SURF_TRAP, SURF_CLAMP, SURF_ZERO, SURF_OUTSIDE = 3, SURF_SAMPLES = 4 };

/* op->x of txq and suq */
enum {
	TXQ_WIDTH, TXQ_HEIGHT, TXQ_DEPTH, TXQ_ARRAY_SIZE, TXQ_CHANNEL_TYPE, TXQ_CHANNEL_ORDER, TXQ_NORMALIZED,
	TXQ_LEVELS, TXQ_SAMPLES, TXQ_FORCE_UNNORMAL, TXQ_LAYOUT, TXQ_LEVEL = 16
};

#endif
