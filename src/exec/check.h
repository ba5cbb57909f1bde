/* SPDX-License-Identifier: Apache-2.0 */
/* Checked runs: what check.c, check-report.c and check-race.c share. Private to the room. */
#ifndef MP_EXEC_CHECK_H
#define MP_EXEC_CHECK_H

#include "exec/warp.h"

/* What is on: MP_EXEC_CHECK_*. Set once, before any kernel is decoded. */
extern unsigned check_on;

/* Operations that touch memory get a handler that looks first. */
void check_program(struct program *p);

/* ---- check-report.c ---- */

enum check_access { CHECK_READ, CHECK_WRITE, CHECK_ATOMIC };

/* One thread's access, as reports name it. */
struct check_place {
	const struct code *code;
	const struct op *op; /* NULL: nowhere */
	uint32_t thread[3];
	enum check_access access;
};

struct check_place check_place_of(const struct warp *w, const struct op *o, uint32_t lane, enum check_access a);
void check_report_bounds(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n,
			 const struct mp_exec_block *near);
void check_report_misaligned(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n);
void check_report_init(struct warp *w, const struct check_place *at, bool shared, uint64_t addr, size_t n,
		       const struct mp_exec_block *in);
void check_report_race(struct warp *w, const struct check_place *first, const struct check_place *second,
		       uint64_t addr);

/* ---- check-race.c: shared memory of a block, a byte at a time ---- */

struct check_cta;

/* The state of a block; NULL without memory. Its host thread only. */
struct check_cta *check_cta(struct cta *c);
/* Bytes [at, at+n) of shared memory are accessed; value: what is stored, or NULL when not known. */
void check_shared(struct check_cta *s, struct warp *w, const struct op *o, uint32_t lane, uint32_t at, uint32_t n,
		  enum check_access a, bool strong, const uint8_t *value);
/* They have contents, from whoever. */
void check_shared_wrote(struct check_cta *s, uint32_t at, uint32_t n);
/* A new instruction begins: its lanes act at once. */
void check_shared_step(struct check_cta *s);
/* The warp meets others at a word in memory: an atomic, a flag, an mbarrier. */
void check_meet(struct check_cta *s, const struct warp *w, uint64_t addr);
/* Lanes m come to a barrier, or go on behind it. */
void check_barrier(struct warp *w, const struct op *o, uint32_t m);
void check_cluster(struct warp *w, uint32_t m);

#endif
