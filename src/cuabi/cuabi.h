/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuabi: what a CUDA driver library presents to programs beside the calls
 * themselves.
 *
 * Linked into both drivers of the tree: the client's drop-in and the soft GPU.
 * It answers cuGetProcAddress and cuGetExportTable, keeps the context-local
 * storage of the CUDA runtime, reads images (fatbin, cubin, PTX), names errors
 * and computes occupancy, so that the two drivers cannot differ in any of it.
 *
 * Everything here is local: no connection, no device.  Functions may be called
 * from any thread, before cuInit too, and do not block, unless they say so.
 * Images, and pointers that programs hand over, are believed in nothing.
 */
#ifndef MP_CUABI_H
#define MP_CUABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/array.h"
#include "abi/cuda.h"
#include "base/arena.h"
#include "base/buf.h"

/* ---- cuGetProcAddress ---- */

/*
 * One exported entry.  The table is generated from api/ and compiled into each
 * driver library; sorted by base (strcmp), then variant, then version.
 */
struct mp_proc {
	const char *base; /* "cuMemAlloc": no _vN, no _ptds, no _ptsz */
	int version;	  /* CUDA version that brought this export, 3020 */
	char variant;	  /* 0 plain, 'd' _ptds, 'z' _ptsz */
	const char *name; /* as exported: "cuMemAlloc_v2" */
	void *entry;
};
extern const struct mp_proc mp_proc_table[];
extern const size_t mp_proc_count;

/*
 * Hide entries that are newer than `driver_version` (13000; what cuDriverGetVersion
 * answers): a program must not be offered what the server's driver cannot do.
 * Until it is called, everything is offered.  May be called again.
 */
void mp_proc_limit(int driver_version);

/*
 * cuGetProcAddress (v2 false; status ignored) and cuGetProcAddress_v2 (v2 true).
 * The answer is the highest version of `symbol` that is not above `version`.
 *
 * SUCCESS with *pfn set.  Not found: v2 answers SUCCESS, *pfn NULL and *status
 * (which may be NULL) 1 = no such symbol or 2 = `version` is too old for it; v1
 * answers NOT_FOUND and leaves *pfn alone.  INVALID_VALUE: symbol or pfn NULL, or
 * flags other than 0, 1 (legacy stream), 2 (per-thread stream), 3.
 */
CUresult mp_proc_address(const char *symbol, void **pfn, int version, cuuint64_t flags,
			 CUdriverProcAddressQueryResult *status, bool v2);

/* ---- cuGetExportTable and context-local storage ---- */

/*
 * What the private tables ask of the driver library.  All of them must be
 * answered at once (no round trip); current_context runs in every runtime call.
 */
struct mp_cuabi_ops {
	/* Handle of the device's primary context, neither retained nor made active by this. */
	CUresult (*primary_context)(CUdevice dev, CUcontext *ret);
	/* The calling thread's current context, or NULL. */
	CUcontext (*current_context)(void);
	/* true for every handle that primary_context gave out and every context not yet destroyed. */
	bool (*context_live)(CUcontext ctx);
	/* The number that cuCtxGetId answers. */
	CUresult (*context_id)(CUcontext ctx, uint64_t *ret);
	/*
	 * A token that names the stream, non-NULL also for the default streams;
	 * per_thread says what stream 0 means.  INVALID_HANDLE for a dead stream.
	 */
	CUresult (*stream_token)(CUcontext ctx, CUstream stream, bool per_thread, void **ret);
	/* The number that cuStreamGetId answers, for a token. */
	CUresult (*stream_id)(CUcontext ctx, void *token, uint64_t *ret);
	/* The i-th kernel of a module; NOT_FOUND past the end, INVALID_HANDLE for a dead module. */
	CUresult (*module_kernel)(CUcontext ctx, CUmodule module, size_t i, CUfunction *ret);
	/* Devices as the program sees them, in ordinal order. */
	int (*device_count)(void);
	/* Exactly what cuDeviceGetUuid and the attributes 50, 33 and 34 answer. */
	CUresult (*device_identity)(int ordinal, CUuuid *uuid, int32_t *domain, int32_t *bus,
				    int32_t *device);
	/* What cuDriverGetVersion answers. */
	int (*driver_version)(void);
};

/*
 * Hand the ops over, which must live for ever; once, before the first
 * mp_export_table (a constructor of the driver library is the place).
 */
void mp_cuabi_init(const struct mp_cuabi_ops *ops);

/* cuGetExportTable: SUCCESS, or INVALID_VALUE for NULL and for tables that are not served. */
CUresult mp_export_table(const void **table, const CUuuid *id);

/*
 * Context-local storage: any number of keys per context.  ctx NULL means the
 * current context.  INVALID_CONTEXT without a live context, INVALID_HANDLE when
 * the key is absent.  mp_cls_get takes no lock when the key is present.
 * A put over a present key replaces value and destructor, without running the old one.
 */
typedef void (*mp_cls_destroy)(CUcontext ctx, void *key, void *value);
CUresult mp_cls_put(CUcontext ctx, void *key, void *value, mp_cls_destroy destroy);
CUresult mp_cls_delete(CUcontext ctx, void *key); /* the destructor is not run */
CUresult mp_cls_get(void **value, CUcontext ctx, void *key);
/*
 * The context is going (destroy, or reset of a primary context): drop its keys
 * and run their destructors in this thread, with no lock held, while the context
 * still answers calls.
 */
void mp_cls_context_gone(CUcontext ctx);

/* ---- Errors ---- */

/* "CUDA_ERROR_INVALID_VALUE" / a sentence; NULL for a number that is no CUresult. */
const char *mp_error_name(CUresult code);
const char *mp_error_string(CUresult code);

/* The log of errors; cuLogs* are these calls. Any thread; a callback may not register or unregister one. */
void mp_errlog_add(CUlogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));
CUresult mp_errlog_current(CUlogIterator *ret, unsigned flags);
CUresult mp_errlog_file(CUlogIterator *iterator, const char *path, unsigned flags);
CUresult mp_errlog_memory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned flags);
CUresult mp_errlog_register(CUlogsCallback fn, void *data, CUlogsCallbackHandle *ret);
CUresult mp_errlog_unregister(CUlogsCallbackHandle h);


/* ---- Images ---- */

enum mp_image_kind {
	MP_IMAGE_FATBIN, /* header and entries, with or without a wrapper around it */
	MP_IMAGE_CUBIN,	 /* ELF */
	MP_IMAGE_PTX,	 /* text: whatever has no known magic */
};

/* An image that a program passes to cuModuleLoadData, cuLibraryLoadData and so on. Borrows its memory. */
struct mp_image {
	enum mp_image_kind kind;
	const uint8_t *data; /* fatbin: the 16-byte header; PTX: the text */
	size_t size;	     /* all of it; PTX: without the NUL */
	/* Wrapper version 2 (-rdc): relocatable fatbins, NULL-terminated; else NULL. */
	const void *const *relocatable;
};

enum mp_image_outcome {
	MP_IMAGE_OK = 0,
	MP_IMAGE_BAD,	    /* not an image, truncated, or a size that cannot be: INVALID_IMAGE */
	MP_IMAGE_NO_MEMBER, /* nothing in it for this device: NO_BINARY_FOR_GPU */
	MP_IMAGE_NO_MEMORY,
};

/* What a driver answers for an outcome. */
CUresult mp_image_result(enum mp_image_outcome outcome);

/*
 * Recognise an image and find its size.  `limit` is the number of readable bytes
 * at p, or 0 when a program passed a pointer without a length: then each header is
 * checked before what it promises is touched, with ceilings on every size (a
 * wrapper is accepted only with limit 0, since it points elsewhere).
 */
enum mp_image_outcome mp_image_open(const void *p, size_t limit, struct mp_image *ret);

enum mp_member_kind { MP_MEMBER_PTX = 1, MP_MEMBER_CUBIN = 2, MP_MEMBER_LTOIR = 8 };
enum mp_member_codec { MP_CODEC_NONE, MP_CODEC_LZ4, MP_CODEC_ZSTD };

/* One entry of a fatbin; a bare cubin or a PTX text is its own single member. Borrows. */
struct mp_member {
	unsigned kind;	/* enum mp_member_kind, or another number that was found */
	unsigned sm;	/* 90 for sm_90 */
	bool arch;	/* sm_90a: only exactly this device */
	bool family;	/* sm_100f: this one and later ones of its family */
	uint64_t flags; /* as in the entry header; 0 for a bare image */
	enum mp_member_codec codec;
	const uint8_t *payload;
	size_t packed_size; /* exact bytes at payload */
	size_t size;	    /* decoded bytes */
	const uint8_t *entry; /* what travels: header and payload, or the bare image */
	size_t entry_size;
};

/*
 * Walk: start with *cursor = 0; OK fills *ret, NO_MEMBER is the end, BAD a
 * damaged entry (the walk is over).
 */
enum mp_image_outcome mp_image_next(const struct mp_image *image, size_t *cursor,
				    struct mp_member *ret);

/* What a device can take. */
#define MP_TAKE_CUBIN 1u
#define MP_TAKE_PTX   2u

/*
 * The member a driver would use on a device of this capability (90 = 9.0): the
 * best cubin (same major, highest minor not above; a: exact only; f: same family),
 * else the PTX of the highest target not above (an a-target only if exact).
 */
enum mp_image_outcome mp_image_choose(const struct mp_image *image, unsigned capability,
				      unsigned take, struct mp_member *ret);

/*
 * The image that carries exactly these members, payloads as they are: for a fatbin
 * a header and the entries; a bare image is itself (n must be 1).  Appends to out,
 * whose ceiling counts; mp_image_build_size says how much that will be.
 */
enum mp_image_outcome mp_image_build(const struct mp_member *members, size_t n, struct mp_buf *out);
size_t mp_image_build_size(const struct mp_member *members, size_t n);

/*
 * Decode into out (member->size bytes).  BAD when the payload does not decode to
 * exactly that; an LTO-IR member is BAD.  MP_MEMBER_CEILING bounds member->size.
 */
enum mp_image_outcome mp_member_decode(const struct mp_member *member, void *out);
#define MP_MEMBER_CEILING ((size_t)1 << 30)

/* SHA-256 of the bytes that travel (entry .. entry_size): the member's name in caches. */
void mp_member_digest(const struct mp_member *member, uint8_t ret_digest[32]);

/*
 * Join PTX texts into one, as a device linker joins objects; malloc'd.  Names that are
 * not visible outside their text are renamed where they would meet.  INVALID_PTX when two strong
 * definitions meet.
 */
CUresult mp_join_texts(char **texts, size_t *lens, size_t n, char **ret_text, size_t *ret_len);
/*
 * For an -rdc image that has no linked member for a device: the PTX of its relocatable
 * fatbins, joined; malloc'd.  A part that has none for the device is left out;
 * NO_BINARY_FOR_GPU when all are.
 */
CUresult mp_image_join(const struct mp_image *image, unsigned capability, char **ret_text,
		       size_t *ret_len);

/* ---- What is in a cubin or a PTX text ---- */

struct mp_param {
	uint32_t offset, size;
};

/* Numbers that a format does not state are 0 (PTX knows no registers, for one). */
struct mp_kernel {
	const char *name;
	uint32_t nparams, param_bytes; /* param_bytes: size of the whole block */
	const struct mp_param *params; /* in ordinal order */
	uint32_t maxntid[3], reqntid[3];
	uint32_t static_shared, local_bytes, registers;
	bool uses_printf; /* calls vprintf itself, or a function of its module does */
};

enum mp_space { MP_SPACE_GLOBAL, MP_SPACE_CONST, MP_SPACE_MANAGED };

struct mp_variable {
	const char *name;
	uint64_t size;
	uint32_t align;
	enum mp_space space;
};

/* Lives in the arena it was read into. */
struct mp_contents {
	struct mp_kernel *kernels;
	size_t nkernels;
	struct mp_variable *variables;
	size_t nvariables;
	unsigned sm;	      /* target */
	unsigned ptx_version; /* 90 for .version 9.0; 0 for a cubin */
};

/*
 * Read a decoded cubin or a PTX text (no NUL needed).  Names are copied.  PTX is
 * scanned, not parsed: bodies are skipped at memory speed; a text that a full
 * parser refuses may pass here.
 */
enum mp_image_outcome mp_contents_read(const void *data, size_t size, struct mp_arena *arena,
				       struct mp_contents *ret);

/* ---- Occupancy ---- */

/*
 * The CUDA occupancy calculator.  `dev` holds the device attributes by number
 * (CU_DEVICE_ATTRIBUTE_MAX ints), `func` the function attributes by number
 * (CU_FUNC_ATTRIBUTE_MAX ints).  INVALID_VALUE as the driver answers it: bad
 * pointers, a block size of 0 or less, or flags other than 0 and 1.
 */
CUresult mp_occupancy_blocks(const int *dev, const int *func, int block_size, size_t dynamic_shared,
			     unsigned flags, int *ret_blocks);
/* b2d may be NULL: then dynamic_shared is the same for every block size. limit 0 = none. Calls b2d. */
CUresult mp_occupancy_block_size(const int *dev, const int *func, CUoccupancyB2DSize b2d,
				 size_t dynamic_shared, int limit, unsigned flags,
				 int *ret_min_grid, int *ret_block_size);
CUresult mp_occupancy_dynamic_shared(const int *dev, const int *func, int blocks, int block_size,
				     size_t *ret_bytes);
/*
 * Clusters: NOT_SUPPORTED on a device without them, INVALID_CLUSTER_SIZE for a size that
 * cannot be.  No attribute tells how a device groups its multiprocessors, so the count is
 * an upper bound on a GPU with several groups: ask its driver where that matters.
 */
CUresult mp_occupancy_clusters(const int *dev, const int *func, const CUlaunchConfig *config,
			       int *ret_clusters);
CUresult mp_occupancy_cluster_size(const int *dev, const int *func, const CUlaunchConfig *config,
				   int *ret_size);

/* ---- advice.c: managed memory ---- */

/* What was advised about an allocation; all zero: nothing. */
struct mp_advice {
	bool read_mostly;
	CUmemLocation preferred, prefetched;
	uint32_t accessed_by; /* bit per device; 31: the host */
};

/* The location that the older calls' ordinal means. */
CUmemLocation mp_advice_location(CUdevice device);
/* Is it a place, with that many devices?  INVALID_DEVICE, INVALID_VALUE. */
CUresult mp_advice_place(const CUmemLocation *l, int devices);
CUresult mp_advice_take(struct mp_advice *a, CUmem_advise advice, const CUmemLocation *l, int devices);
CUresult mp_advice_get(const struct mp_advice *a, CUmem_range_attribute what, void *data, size_t size);

/* ---- Arrays (array.c) ---- */

/* May a device with these attributes have such an array? What the driver answers at once; memory apart. */
CUresult mp_array_judge(const int *attributes, const CUDA_ARRAY3D_DESCRIPTOR *d, bool mipmapped);

#endif
