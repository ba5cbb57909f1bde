/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzzer is: one function, libFuzzer's.  Linked with clang's
 * libFuzzer it searches; linked with replay.c it runs a corpus and simple
 * mutations of it, with any compiler.  A finding is a crash: fuzzers abort
 * when a promise is broken.
 */
#ifndef MP_FUZZ_FUZZ_H
#define MP_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                                         \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

#endif
