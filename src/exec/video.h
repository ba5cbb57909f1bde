/* SPDX-License-Identifier: Apache-2.0 */
/* What decoder and handler of the video instructions agree on. Private to the room. */
#ifndef MP_EXEC_VIDEO_H
#define MP_EXEC_VIDEO_H

enum { /* op->e */
	VIDEO_ADD, VIDEO_SUB, VIDEO_ABSDIFF, VIDEO_MIN, VIDEO_MAX, VIDEO_AVRG, VIDEO_MAD, VIDEO_SHL,
	VIDEO_SHR, VIDEO_EQ, VIDEO_NE, VIDEO_LT, VIDEO_LE, VIDEO_GT, VIDEO_GE,
};
enum { /* op->x */
	VIDEO_D_SIGNED = 1,
	VIDEO_A_SIGNED = 2,
	VIDEO_B_SIGNED = 4,
	VIDEO_SAT = 8,
	VIDEO_ACCUMULATE = 16, /* .add: all parts and c */
	VIDEO_THEN_MIN = 32,
	VIDEO_THEN_MAX = 64,
};

struct decode;
bool decode_video(struct decode *d); /* false: not one of them */

#endif
