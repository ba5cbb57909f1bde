/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptx: PTX text -> checked tree.  Knows no CUDA types and runs nothing.
 *
 * A module is indexed first: entries, functions and variables, with the place
 * of each body in the text.  A body is parsed when somebody asks for it, into
 * an arena of its own.  Section numbers in comments are those of NVIDIA's
 * "Parallel Thread Execution ISA", version 9.0.
 *
 * Threads: a module may be read from many threads once it is loaded; a body
 * belongs to whoever parsed it.
 */
#ifndef MP_PTX_H
#define MP_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "ptx/word.h"

/* A sentence about what is wrong with a text, with its line. */
struct mp_ptx_error {
	uint32_t line;
	char text[200];
};

enum mp_ptx_outcome { MP_PTX_OK = 0, MP_PTX_BAD, MP_PTX_NO_MEMORY };

#define MP_PTX_NOREG UINT32_MAX

/* An address inside an initialiser (5.4.4): `symbol + addend`, shifted right for mask operators. */
struct mp_ptx_reloc {
	struct mp_ptx_reloc *next;
	const char *name;
	int64_t addend;
	uint32_t offset, size, shift, line;
};

/* A variable: .global .const .shared .local, or a .param of a call or of a function (5.1, 5.4). */
struct mp_ptx_var {
	const char *name;
	uint16_t space; /* MP_PTX_W_GLOBAL and so on */
	uint8_t type;  /* MP_PTX_T_* of an element */
	bool is_extern, is_weak, is_array, has_init;
	bool managed; /* .attribute(.managed) */
	uint32_t align;
	uint64_t size; /* bytes; 0 for an array of unstated length */
	const uint8_t *init; /* init_len bytes; the rest is zero; NULL = all zero */
	uint64_t init_len;
	struct mp_ptx_reloc *relocs;
	uint32_t line;
	uint32_t index;	 /* among the module's or the body's variables */
	bool in_body;	 /* declared inside a function */
	uint32_t reg;	 /* a .reg parameter of a function: its register, else NOREG */
	uint64_t offset; /* for the reader of the tree to use */
};

struct mp_ptx_func {
	const char *name;
	bool is_entry, has_body, is_extern, is_weak, noreturn;
	uint32_t nparams, nrets;
	struct mp_ptx_var *params, *rets;
	uint32_t param_bytes; /* of an entry: size of the parameter block */
	uint32_t maxntid[3], reqntid[3], minnctapersm, maxnreg, reqncluster[3];
	size_t body_at, body_end; /* text offsets of '{' and one past '}' */
	uint32_t line, body_line;
	uint32_t index;
	const char *alias; /* the function that this name stands for, or NULL */
	void *user;	   /* for the reader of the tree to use */
};

struct mp_ptx_symbol;

struct mp_ptx_module {
	struct mp_arena arena;
	char *text;
	size_t len;
	uint32_t version, target; /* 90, 75 */
	char target_suffix;	  /* 'a', 'f' or 0 */
	uint32_t address_size;
	uint32_t nfuncs, nvars;
	struct mp_ptx_func **funcs; /* in text order */
	struct mp_ptx_var **vars;
	struct mp_ptx_symbol **symbols;
	uint32_t nsymbols, symbols_cap;
};

/* Index a text; it is copied.  Finish with mp_ptx_module_fini whatever the outcome. */
enum mp_ptx_outcome mp_ptx_module_load(struct mp_ptx_module *m, const char *text, size_t len,
				       struct mp_ptx_error *err);
void mp_ptx_module_fini(struct mp_ptx_module *m);
struct mp_ptx_func *mp_ptx_module_func(const struct mp_ptx_module *m, const char *name, size_t len);
struct mp_ptx_var *mp_ptx_module_var(const struct mp_ptx_module *m, const char *name, size_t len);

/* ---- Bodies ---- */

enum mp_ptx_operand_kind {
	MP_PTX_REG = 1, /* reg; reg2 for a second destination `p|q` */
	MP_PTX_IMM,	/* integer in bits */
	MP_PTX_F32,	/* 0f........ in bits */
	MP_PTX_F64,	/* 0d................, or a decimal float, in bits */
	MP_PTX_VEC,	/* {a, b, ...} in elems */
	MP_PTX_ADDR,	/* [reg + bits], [var + bits], [bits] */
	MP_PTX_TEX,	/* [a, {x, y}]: elems[0] the object, the rest as written */
	MP_PTX_VAR,	/* var + bits: its address */
	MP_PTX_FUNC,	/* func: its address */
	MP_PTX_LABEL,	/* label number in bits */
	MP_PTX_SREG,	/* special register in bits, component in comp (10) */
	MP_PTX_SINK,	/* _ */
	MP_PTX_LIST,	/* (a, b): of a call; elems */
	MP_PTX_TABLE,	/* .branchtargets or .calltargets: table number in bits */
	MP_PTX_PROTO,	/* .callprototype: number in bits */
};

struct mp_ptx_operand {
	uint8_t kind;
	uint8_t comp;  /* 'x' 'y' 'z' 'w' of a special register, else 0 */
	bool negated;  /* !p */
	uint16_t nelems;
	uint32_t reg, reg2;
	uint64_t bits;
	struct mp_ptx_var *var;
	struct mp_ptx_func *func;
	struct mp_ptx_operand *elems;
};

#define MP_PTX_MAX_WORDS 14

struct mp_ptx_insn {
	uint16_t op; /* MP_PTX_OP_*, or MP_PTX_OP_UNKNOWN */
	uint8_t nwords, ntypes, nops;
	bool guard_negated;
	uint16_t words[MP_PTX_MAX_WORDS]; /* modifiers and types as written */
	uint8_t types[4];		 /* the types among them */
	uint64_t set[5];		 /* the same words as a set */
	uint32_t guard;			 /* predicate register or NOREG */
	uint32_t line;
	const char *at; /* its text, text_len bytes, borrowed from the module */
	uint32_t text_len;
	const char *unknown; /* the first word that no table knows, or NULL */
	uint32_t unknown_len;
	struct mp_ptx_operand *ops;
};

static inline bool mp_ptx_has(const struct mp_ptx_insn *i, enum mp_ptx_word w)
{
	return i->set[w >> 6] >> (w & 63) & 1;
}

struct mp_ptx_reg {
	uint8_t type; /* MP_PTX_T_* */
};

struct mp_ptx_table {
	uint32_t n;
	uint32_t *labels;	     /* of .branchtargets */
	struct mp_ptx_func **funcs; /* of .calltargets */
};

struct mp_ptx_proto {
	uint32_t nparams, nrets;
	struct mp_ptx_var *params, *rets;
};

struct mp_ptx_body {
	struct mp_arena arena;
	struct mp_ptx_func *func;
	struct mp_ptx_insn *insns;
	uint32_t ninsns, insns_cap;
	struct mp_ptx_reg *regs;
	uint32_t nregs, regs_cap;
	uint32_t *labels; /* label number -> index of the instruction after it */
	uint32_t nlabels, labels_cap;
	struct mp_ptx_var **vars; /* declared inside: .local, .shared, .param */
	uint32_t nvars, vars_cap;
	struct mp_ptx_table *tables;
	uint32_t ntables, tables_cap;
	struct mp_ptx_proto *protos;
	uint32_t nprotos, protos_cap;
};

/* Parse the body of a function.  Finish with mp_ptx_body_fini whatever the outcome. */
enum mp_ptx_outcome mp_ptx_body_parse(struct mp_ptx_module *m, struct mp_ptx_func *f,
				      struct mp_ptx_body *b, struct mp_ptx_error *err);
void mp_ptx_body_fini(struct mp_ptx_body *b);

/* Bytes of a type, 0 for .pred and opaque ones. */
unsigned mp_ptx_type_size(uint8_t type);
/* The text of an instruction with runs of blanks made one, cut to fit. */
void mp_ptx_insn_text(const struct mp_ptx_insn *i, char *buf, size_t size);

#endif
