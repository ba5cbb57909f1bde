/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error-parity table: what a driver answers to a wrong call, whether at once or
 * later, and whether the context survives.  A row is a function with a head:
 *
 *	ROW(name, "cuCall", "what is wrong", CODE, WHEN, SOURCE, "what the source says")
 *	{
 *		return cuCall(...);
 *	}
 *
 * Rows of one file run in the order of the text.  A row that is LATE returns the code
 * of a wait after a call that succeeded, sticks, and runs in a process of its own.
 */
#ifndef MP_TESTS_PARITY_H
#define MP_TESTS_PARITY_H

#include "call.h"

enum when {
	NOW,  /* the call itself answers; the context is as before */
	LATE, /* a later call answers, and every call after it: sticky */
};

/* Where a row's code comes from. The first two count as verified. */
enum source {
	TEXT,	  /* NVIDIA's reference states this code for this input */
	OBSERVED, /* seen on a real driver */
	LISTED,	  /* the code is in the call's list and its prose forbids the input: unverified */
	GUESS,	  /* unverified */
};

struct row {
	const char *name, *call, *input;
	CUresult want;
	enum when when;
	enum source source;
	const char *says;
	CUresult (*run)(void);
	struct row *next;
};

void row_add(struct row *r);

#define ROW(id, call, input, want, when, source, says)                                             \
	static CUresult row_##id(void);                                                            \
	static struct row row_of_##id = {#id, call, input, want, when, source, says, row_##id, NULL}; \
	__attribute__((constructor)) static void row_add_##id(void)                                \
	{                                                                                          \
		row_add(&row_of_##id);                                                             \
	}                                                                                          \
	static CUresult row_##id(void)

/* What rows use: a current context of device 0, a stream, device memory (1 MiB), a kernel. */
struct setting {
	CUcontext ctx;
	CUdevice dev;
	CUstream s;
	CUdeviceptr p;
	CUfunction nothing, poke, narrow;
};
extern struct setting on;

/* Puts a kernel that waits on the setting's stream, and lets it go again. */
void hold(void);
void release(void);

#endif
