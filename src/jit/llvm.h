/* SPDX-License-Identifier: Apache-2.0 */
/* The provider of machine code: IR text in, an ELF object out.  Private to the room. */
#ifndef MP_JIT_LLVM_H
#define MP_JIT_LLVM_H

#include <setjmp.h>

#include "base/buf.h"

/* NULL, or why there is no LLVM. Loads it at the first call. */
const char *llvm_missing(void);
/* "15.0" of the library in use, NULL without one. */
const char *llvm_version(void);
/* Of this thread: where to go on if LLVM breaks down now, or NULL when it is not at work. */
sigjmp_buf *llvm_guard(void);

struct llvm_how {
	bool plain_isa; /* for any x86-64, not for this machine */
	bool quick;	/* no optimisation */
	const char *dump; /* prefix of files that get the IR, or NULL */
};

/* An object file of the text's functions, which the caller frees. */
char *llvm_object(const char *text, size_t len, const struct llvm_how *how, size_t *ret_len, char *why,
		  size_t why_size);

#endif
