/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one decoding, shared by the decoder's files. Private to the room. */
#ifndef MP_EXEC_DECODE_H
#define MP_EXEC_DECODE_H

#include "exec/warp.h"

struct item { /* an instruction, or the branch around a guarded one that must stand alone */
	uint32_t insn;
	bool skip;
};

struct decode {
	struct mp_exec_module *m;
	struct program *p;
	struct mp_arena *arena; /* the program's */
	struct mp_ptx_error *err;
	enum mp_exec_outcome outcome;
	uint64_t *shared_at; /* module variables: offset + 1, or 0 */
	uint32_t shared_end, shared_dynamic_align;

	/* the function in hand */
	struct code *code;
	struct mp_ptx_body *body;
	const struct mp_ptx_insn *insn;
	uint32_t *slots; /* of registers */
	uint32_t frame_bytes, frame_fixed, temp_at; /* so far; without temporaries; the instruction's next */
	struct op *ops;
	uint32_t nops, ops_cap;
	uint32_t *item_of_label_insn;
	bool own_places; /* every register and temporary has a place of its own: for the second tier */
	struct temp *temps;
	uint32_t ntemps, temps_cap;
	/* the pool of constants */
	char *pool;
	uint32_t pool_len, pool_cap;
	struct pool_entry { uint64_t bits; uint32_t size, at; } *entries;
	uint32_t nentries, entries_cap;
};

/* Blocks in their final order, for the allocation of registers. */
struct layout_blocks {
	uint32_t n;
	const uint32_t *order, *number, *succ_at, *succ; /* order: new to old; succ by old numbers */
	uint32_t *first, *last;				 /* by new number, into insns */
	uint32_t *insns;
};
/* What an instruction reads, then what it writes; kill: whole, whatever the guard. */
typedef void (*registers_fn)(void *arg, uint32_t reg, bool write, bool kill);
void registers_visit(const struct mp_ptx_insn *in, void *arg, registers_fn fn);
bool registers_allocate(struct decode *d, const struct layout_blocks *b);

/* The kernel cannot be carried: a sentence with line and instruction; the first one stays. */
void decode_refuse(struct decode *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *decode_alloc(struct decode *d, size_t n, size_t size);

uint32_t decode_const(struct decode *d, unsigned size, uint64_t bits);
uint32_t decode_temp(struct decode *d, unsigned size);
unsigned decode_reg_size(const struct decode *d, uint32_t reg); /* bytes; 0 for a predicate */
/* A new operation of the instruction in hand, with its guard; key NULL: no handler. */
struct op *decode_op(struct decode *d, const char *key);
/* Slot of a source of `size` bytes; size 0 = predicate. */
uint32_t decode_src(struct decode *d, const struct mp_ptx_operand *o, unsigned size, bool f);
uint32_t decode_dst(struct decode *d, const struct mp_ptx_operand *o, unsigned size);
/* Any width of register at least `size`: slot, and the width in *ret_reg. */
uint32_t decode_wide_src(struct decode *d, const struct mp_ptx_operand *o, unsigned size,
			 unsigned *ret_reg);
/* Address operand of a memory operation: fills a, imm, ext[0] and the local bit of x. */
void decode_address(struct decode *d, struct op *op, const struct mp_ptx_operand *o, uint32_t *ext,
		    enum space *space, bool write, unsigned bytes);
/* The value of a variable's address in its own space, when it is a constant. */
bool decode_var_address(struct decode *d, const struct mp_ptx_var *v, uint64_t *ret, bool *is_local);

/* Decode the instruction in hand into plain operations. */
void decode_insn(struct decode *d);
void decode_memory(struct decode *d);
void decode_cvt(struct decode *d);
void decode_warp(struct decode *d);
void decode_half(struct decode *d);
void decode_matrix(struct decode *d);
void decode_async(struct decode *d);
void decode_texture(struct decode *d);
bool insn_is_sync(const struct mp_ptx_insn *i);

/* "u32" for MP_PTX_T_U32; the sign-free "32" with `bare`. */
const char *type_name(uint8_t t);
bool type_is_float(uint8_t t);
bool type_is_half(uint8_t t);
bool type_is_signed(uint8_t t);

#endif
