/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mpgen: reads api descriptions and the ABI's prototypes, writes C.
 *
 * Stages, one file each: lex (text to lines of words), proto (prototypes of
 * abi/cuda.h), parse (lines to items), check (names, types, layouts, numbers),
 * ledger (frozen shapes), emit-*.c (one product each).  A short-lived, single
 * threaded program: memory comes from one arena and is never given back.
 * The language is described in docs/API-DESCRIPTION.md.
 */
#ifndef MP_MPGEN_H
#define MP_MPGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MP_WORDS_MAX 24

/* One line of a description: its words, without comment. */
struct mp_line {
	const char *file;
	int no;
	bool indented;
	int count;
	char *word[MP_WORDS_MAX]; /* a quoted word keeps its opening quote as first character */
};

struct mp_lines {
	struct mp_line *line;
	size_t count, room;
};

/* Scalars first, in the order of the scalar table in type.c. */
enum mp_base {
	MP_BASE_U8,
	MP_BASE_U16,
	MP_BASE_U32,
	MP_BASE_U64,
	MP_BASE_I32,
	MP_BASE_I64,
	MP_BASE_F32,
	MP_BASE_F64,
	MP_BASE_ID, /* u32 of a kind */
	MP_BASE_STRING,
	MP_BASE_BYTES,
	MP_BASE_STRUCT,
};

struct mp_shape;
struct mp_item;

struct mp_type {
	enum mp_base base;
	int kind;             /* of MP_BASE_ID: index of the kind table */
	unsigned fixed;       /* T[N]: N, else 0 */
	bool array;           /* array of base */
	bool host;            /* hostptr: a C pointer carried as a number */
	bool device;          /* CUdevice: the client and the worker number devices differently */
	const char *name;     /* as written */
	struct mp_item *item; /* of MP_BASE_STRUCT */
};

enum mp_dir { MP_DIR_IN = 1, MP_DIR_OUT = 2, MP_DIR_INOUT = 3 };

struct mp_field {
	const char *name;
	int line;
	enum mp_dir dir;
	struct mp_type type;
	const char *len, *all, *lane, *spans, *at;
	bool is_new, gone, optional;
	int param; /* index of the C parameter, -1 = none */
};

/* What goes over the wire: a list of fields with their offsets in the fixed part. */
struct mp_shape {
	struct mp_field **field;
	unsigned *offset;
	unsigned count;
	unsigned size, align; /* of the fixed part */
	bool plain;           /* no tails: the C struct has the same layout */
	uint64_t hash;
};

struct mp_proto {
	const char *name;
	int count;
	struct {
		const char *type, *name;
	} param[24];
};

enum mp_item_type { MP_ITEM_CALL, MP_ITEM_RECORD, MP_ITEM_STRUCT };
enum mp_class { MP_CLASS_HOME, MP_CLASS_CARRIED, MP_CLASS_REFUSED, MP_CLASS_RECORD };
enum mp_order { MP_ORDER_NONE, MP_ORDER_PROCESS, MP_ORDER_CONTEXT, MP_ORDER_STREAM };

struct mp_item {
	enum mp_item_type type;
	const char *file, *name, *base, *prose, *is;
	int line;
	unsigned number, since;
	char variant; /* 0, 'd' (ptds), 'z' (ptsz) */
	unsigned variant_since;
	enum mp_class class;
	enum mp_order order;
	const char *order_field;
	bool shim_auto, worker_auto, reply, may_block;
	struct mp_field *field;
	unsigned count, room;
	struct {
		const char *field, *until;
	} hold[4];
	unsigned holds;
	const struct mp_proto *proto;
	struct mp_shape msg, rep; /* of a struct: msg alone */
	bool has_msg, has_rep;
	int mark; /* 0 not laid out, 1 being laid out, 2 done */
};

struct mp_api {
	struct mp_item **item;
	size_t count, room;
	struct mp_proto *proto;
	size_t protos;
	struct mp_item **by_number; /* calls and records, sorted */
	size_t numbered;
	int errors;
};

/* Memory and messages (main.c). */
void *mp_gen_alloc(size_t n);
char *mp_gen_strndup(const char *s, size_t n);
char *mp_gen_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *mp_gen_read(const char *path); /* NUL-terminated; NULL after a message */
void mp_gen_error(struct mp_api *api, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Stages. */
void mp_lex(struct mp_api *api, const char *file, char *text, struct mp_lines *ret);
void mp_parse(struct mp_api *api, const struct mp_lines *lines);
void mp_proto_read(struct mp_api *api, const char *file, char *text);
const struct mp_proto *mp_proto_find(const struct mp_api *api, const char *name, size_t len);
void mp_check(struct mp_api *api);
void mp_ledger_check(struct mp_api *api, const char *file, char *text);
/* `old`: the ledger so far, or NULL; `new_release`: what messages that have none get, or NULL. */
void mp_ledger_write(const struct mp_api *api, FILE *out, const char *old, const char *new_release);
uint64_t mp_item_hash(const struct mp_item *it); /* of message and reply; 0 without a message */

/* Types (type.c). */
bool mp_type_find(struct mp_api *api, const char *name, struct mp_type *ret);
struct mp_item *mp_struct_find(const struct mp_api *api, const char *name);
unsigned mp_type_size(const struct mp_type *t); /* one element in the fixed part */
unsigned mp_type_align(const struct mp_type *t);
const char *mp_type_c(const struct mp_type *t);    /* C type of one element */
const char *mp_type_wire(const struct mp_type *t); /* "32" for mp_ld32 */
int mp_kind_of_ctype(const char *ctype);           /* 0 when it is not a handle */
const char *mp_kind_name(int kind);                /* kind 0 is "none"; NULL past the last */
bool mp_type_tail(const struct mp_type *t);        /* has bytes outside the fixed part */

/* Helpers of the emitters (emit.c). */
bool mp_item_msg(const struct mp_item *it); /* something travels */
void mp_emit_head(FILE *f, const char *what);
/* "CUevent *phEvent, unsigned int Flags", or "void"; wrapped by the compiler's reader, not by us.
 */
void mp_emit_params(FILE *f, const struct mp_proto *p);
void mp_emit_args(FILE *f, const struct mp_proto *p);
/* cuNAME_ptds or cuNAME_ptsz. */
char *mp_variant_name(const struct mp_item *it);
/* A per-thread variant's body: forwards to `prefix`name. */
void mp_emit_variant(FILE *f, const struct mp_api *api, const struct mp_item *it,
		     const char *prefix);
const struct mp_field *mp_item_field(const struct mp_item *it, const char *name);
struct mp_item *mp_item_find(const struct mp_api *api, const char *name);
/* The C type a pointer type points to: "const CUfoo *" gives "CUfoo". */
char *mp_ctype_target(const char *ctype);

/* Products. */
void mp_emit_call_h(const struct mp_api *api, FILE *f);
void mp_emit_call_c(const struct mp_api *api, FILE *f);
void mp_emit_msg_h(const struct mp_api *api, FILE *f);
void mp_emit_msg_c(const struct mp_api *api, FILE *f);
void mp_emit_convert_h(const struct mp_api *api, FILE *f);
void mp_emit_entry_h(const struct mp_api *api, FILE *f);
void mp_emit_entry_c(const struct mp_api *api, FILE *f);
void mp_emit_job_h(const struct mp_api *api, FILE *f);
void mp_emit_dispatch_c(const struct mp_api *api, FILE *f);
void mp_emit_drv_h(const struct mp_api *api, FILE *f);
void mp_emit_drv_c(const struct mp_api *api, FILE *f);
void mp_emit_proc_c(const struct mp_api *api, FILE *f);
void mp_emit_exports(const struct mp_api *api, FILE *f);
void mp_emit_soft_c(const struct mp_api *api, FILE *f);
void mp_emit_trace_h(const struct mp_api *api, FILE *f);
void mp_emit_trace_c(const struct mp_api *api, FILE *f);
void mp_emit_fuzz_h(const struct mp_api *api, FILE *f);
void mp_emit_fuzz_c(const struct mp_api *api, FILE *f);
void mp_emit_coverage(const struct mp_api *api, FILE *f);

#endif
