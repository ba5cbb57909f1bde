/* SPDX-License-Identifier: Apache-2.0 */
/* What decoder and conversion handlers agree on: the layout of op->x. Private to the room. */
#ifndef MP_EXEC_CVT_H
#define MP_EXEC_CVT_H

enum {
	CVT_RND = 3,	  /* 0 nearest, 1 zero, 2 down, 3 up */
	CVT_INTEGRAL = 4, /* .rni .rzi .rmi .rpi */
	CVT_FTZ = 8,
	CVT_SAT = 16,
	CVT_RELU = 32,
	CVT_SATFINITE = 64,
	CVT_RNA = 128, /* ties away: tf32 */
};
/* types in op->e: destination in the low byte, source above */
#define CVT_DST(o) ((o)->e & 0xff)
#define CVT_SRC(o) ((o)->e >> 8 & 0xff)

#endif
