/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a kernel before code is made of it.  Private to the room.
 *
 * A register is uniform (one scalar), affine (within a group of lanes: a scalar
 * plus stride * lane), or varying (a vector).  "Pending" of a block are the
 * blocks where lanes may wait while it runs.
 */
#ifndef MP_JIT_PLAN_H
#define MP_JIT_PLAN_H

#include "base/arena.h"
#include "base/check.h"
#include "jit/jit.h"

enum shape { UNI, AFF, VAR, UNSEEN };

struct cls {
	uint8_t shape;
	int64_t stride; /* of AFF; 0: the group's lanes are equal */
};

/* Operations that become IR; the rest calls its handler. */
enum native {
	N_NONE,
	N_ADD, N_SUB, N_MUL, N_MAD, N_AND, N_OR, N_XOR, N_NOT, N_CNOT, N_NEG, N_ABS, N_MIN, N_MAX,
	N_SHL, N_SHR, N_MULHI, N_MADHI, N_MULWIDE, N_MADWIDE, N_DIV, N_REM, N_SAD,
	N_MOV, N_MOVPRED, N_NOTPRED, N_ANDPRED, N_ORPRED, N_XORPRED, N_SELP, N_SETP, N_SREG, N_IMM,
	N_CVTA, N_CVTATO,
	N_FADD, N_FSUB, N_FMUL, N_FDIV, N_FMA, N_FRCP, N_FSQRT, N_FRSQRT, N_FMIN, N_FMAX, N_FABS, N_FNEG,
	N_FCOPYSIGN,
	N_ITOI, N_ITOF, N_FTOI, N_FTOF, N_ROUND,
	N_POPC, N_CLZ, N_BREV, N_BFE, N_BFI, N_SHF, N_LOP3, N_PRMT,
	N_LD, N_ST, N_PACK, N_UNPACK, N_SHFL, N_VOTE, N_NOP, N_ATOMADD,
};

enum { NF_SIGNED = 1, NF_FTZ = 2, NF_SAT = 4, NF_FLOAT = 8, NF_CLAMP = 16, NF_LEFT = 32 };
enum space_kind { SPACE_GENERIC, SPACE_SHARED, SPACE_PARAM };

struct nat {
	uint8_t code, bits, flags, sub; /* sub: comparison, space, kind of vote */
};

struct group {
	uint32_t first, n; /* operations */
	uint32_t insn;
	bool native;
};

struct plan {
	const struct mp_jit_kernel *k;
	struct mp_arena arena;
	unsigned group, ngroups;
	struct nat *nat;
	struct cls *cls;
	bool *dirty; /* registers that may hold a NaN that is not the canonical one */
	bool *in_loop;
	struct group *groups;
	uint32_t *group_at; /* nblocks + 1 */
	uint32_t words, bwords;
	uint64_t *live_in, *live_out, *pending;
	bool diverges, waits;
	bool eager; /* for tests: stretches of parts wherever there may be any */
	bool spins; /* an operation by which lanes wait for one another: volatile loads, atomics */
};

static inline bool bit(const uint64_t *s, uint32_t i)
{
	return s[i >> 6] >> (i & 63) & 1;
}

static inline void bit_set(uint64_t *s, uint32_t i)
{
	s[i >> 6] |= 1ull << (i & 63);
}

/* false: no memory, or a shape that is not carried, with a sentence. */
bool plan_make(struct plan *p, const struct mp_jit_kernel *k, unsigned group, char *why, size_t why_size);
void plan_fini(struct plan *p);
/* The class of what an operation gives, from its operands'. */
struct cls plan_class(const struct plan *p, const struct mp_jit_op *o, const struct nat *n);
struct cls plan_operand(const struct plan *p, uint32_t slot);
/* Registers that are live before group g of block b, into `set`. */
void plan_live_before(const struct plan *p, uint32_t b, uint32_t g, uint64_t *set);
/* Must a write to register r in block b keep the old value of other lanes? */
bool plan_keeps(const struct plan *p, uint32_t b, uint32_t r);
/* Successors of a block into out[]; returns how many. `split`: lanes may go to several at once. */
uint32_t plan_successors(const struct plan *p, uint32_t b, uint32_t *out, uint32_t max, bool *split);
uint64_t plan_const(const struct plan *p, uint32_t slot);

static inline const struct mp_jit_op *terminator(const struct plan *p, uint32_t b)
{
	return &p->k->ops[p->k->blocks[b].first + p->k->blocks[b].n];
}

#endif
