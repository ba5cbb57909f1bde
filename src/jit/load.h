/* SPDX-License-Identifier: Apache-2.0 */
/* A relocatable ELF object becomes code in this process.  Private to the room. */
#ifndef MP_JIT_LOAD_H
#define MP_JIT_LOAD_H

#include <stddef.h>

struct loaded {
	void *memory;
	size_t bytes;
	void *entry; /* the function `kernel` */
};

/* The object is checked: it may come from a file. false with a sentence. */
int load_object(const char *object, size_t len, struct loaded *ret, char *why, size_t why_size);
void load_free(struct loaded *l);

#endif
