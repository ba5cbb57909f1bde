/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writing of IR text, shared by the emitter's files.  Private to the room.
 *
 * Every register is a memory place of its own (or one per group of lanes) until
 * LLVM's first pass makes values of them.  Each block is written twice: once for
 * "all lanes are here" and once under a mask.
 */
#ifndef MP_JIT_EMIT_H
#define MP_JIT_EMIT_H

#include "base/buf.h"
#include "jit/plan.h"
#include "jit/seed.h"

struct val {
	char s[24]; /* an operand as IR spells it */
};

struct res { /* what an operation gave: one value, one per group, or a vector */
	struct cls cls;
	struct val v[4];
};

struct konst {
	uint64_t bits;
	uint8_t width, lanes;
};

/* Accesses through one register in one block that were compared with their memory together. */
struct cover {
	bool on, sure; /* sure: whoever comes here may touch; else `ok` says it */
	int64_t lo, hi; /* the least offset; one past the greatest */
	struct val at[4], ok;
};

struct emit {
	struct plan *p;
	const struct mp_jit_kernel *k;
	struct mp_buf head, body, cold;
	struct mp_buf *out;
	unsigned ntmp, nlabel;
	struct konst *konsts;
	unsigned nkonsts, konsts_cap;
	bool part;	/* the lanes of one part are in hand; see emit-part.c */
	uint8_t *parted; /* by register: what a stretch of parts does with it */
	struct val first_lane; /* of the part, i64 */
	bool full;	/* the version for all lanes */
	uint32_t block; /* in hand */
	uint32_t group;
	struct val cur, curvec; /* lanes of the block, when not full */
	uint64_t *live, *live2; /* scratch */
	uint32_t part_tried;	/* groups before it begin no stretch of parts */
	struct cover *cover;	/* by register, for the block in hand */
	bool failed;
	char groups[400]; /* which group each lane is in, as a shuffle */
	char why[160];
};

/* Lanes that run one after another where values are too many for the registers: of words, what AVX2's hold. */
#define PART_LANES 8
enum { PARTED_SET = 1, PARTED_IN = 2, PARTED_OUT = 4, PARTED_EVER = 8, PARTED_ARRAY = 16 };
/* Elements of a vector: all lanes, or those of a part. */
extern __thread unsigned emit_width;

/* Lanes that an operation is for. */
struct lanes {
	bool full;
	struct val bits, vec; /* i32 and <32 x i1> */
};

/* Offsets in struct mp_jit_context. */
#define CTX(field) ((unsigned)offsetof(struct mp_jit_context, field))

struct val ins(struct emit *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void put(struct emit *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void emit_fail(struct emit *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "i32" or "<32 x i32>"; "float" and so on; from a ring of buffers. */
const char *ity(unsigned bits, bool vec);
const char *fty(unsigned bits, bool vec);
/* A constant as an operand. */
struct val konst(struct emit *e, unsigned bits, bool vec, uint64_t v);
struct val number(struct emit *e, unsigned bits, bool vec, uint64_t v);
struct val splat(struct emit *e, unsigned bits, struct val scalar);
struct val canonical(struct emit *e, struct val v, bool vec);
unsigned reg_bits(const struct emit *e, uint32_t reg);

/* Reading operands; `raw` when any NaN will do. */
struct val rd_scalar(struct emit *e, uint32_t slot, unsigned bits, unsigned g, bool raw);
struct val rd_vec(struct emit *e, uint32_t slot, unsigned bits, bool raw);
/* A predicate as <32 x i1> or i1, negated if asked. */
struct val rd_pred(struct emit *e, uint32_t slot, bool vec, bool negated);
/* Writing: with the operation's guard and the block's mask as far as they matter. */
void wr(struct emit *e, const struct mp_jit_op *o, uint32_t slot, unsigned bits, struct res r);
/* An address or other affine value as vector. */
struct val res_vec(struct emit *e, unsigned bits, const struct res *r);
struct res res_uni(struct val v);
struct res res_var(struct val v);

/* Lanes for which operation o runs: block and guard. */
struct lanes op_lanes(struct emit *e, const struct mp_jit_op *o);
struct val bits_of(struct emit *e, struct val vec); /* <32 x i1> to i32 */
struct val vec_of(struct emit *e, struct val bits);

/* Code that goes to the first tier at operation `op` (the group in hand); returns its label. */
unsigned leave_label(struct emit *e, uint32_t op);
/* Branch to the first tier unless `ok`. */
void leave_unless(struct emit *e, struct val ok, uint32_t op);
/* Run the group in hand by its handlers. */
void emit_fallback(struct emit *e, const struct group *g);
void emit_spill(struct emit *e, uint32_t insn);
void emit_reload(struct emit *e, uint32_t insn, const struct mp_jit_op *o);

struct val emit_pure(struct emit *e, const struct mp_jit_op *o, const struct nat *n, bool vec, unsigned g);
struct val part_pick(struct emit *e, unsigned bits, const struct val *v, unsigned n, int64_t stride);
/* Groups from e->group on that were emitted part by part; 0 when that is no use. */
uint32_t emit_parts(struct emit *e);
/* Will the load be of shared memory that has been compared for the whole block? */
bool memory_sure(struct emit *e, const struct mp_jit_op *o, const struct nat *n);
void emit_part_load(struct emit *e, const struct mp_jit_op *o, const struct nat *n);
void emit_op(struct emit *e, const struct mp_jit_op *o, const struct nat *n);
void emit_memory(struct emit *e, const struct mp_jit_op *o, const struct nat *n);
/* What the group in hand writes is no longer what was compared. */
void cover_end(struct emit *e, uint32_t insn);
void cover_reset(struct emit *e);
bool emit_is_native(const struct emit *e, const struct group *g);

/* The whole module's text; false with e->why. */
bool emit_kernel(struct plan *p, struct mp_buf *ret_text, char *why, size_t why_size);

#endif
