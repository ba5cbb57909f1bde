/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of handlers: one per build of the handler files, chosen once by
 * what this machine can do.  Both give the same results; MOTORPOOL_SOFT_ISA=v1
 * takes the plain one, for tests.
 */
#include "exec/warp.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

extern const struct handler __start_mp_exec_ops_v1[], __stop_mp_exec_ops_v1[];
extern const struct handler __start_mp_exec_ops_v3[], __stop_mp_exec_ops_v3[];

/* Naming one symbol of each handler file pulls it out of its archive. */
#define FILES(X)                                                                                  \
	X(integer) X(floating) X(convert) X(memory) X(warp) X(bits) X(atomic) X(half) X(matrix)    \
	X(async) X(texture) X(surface) X(approx) X(video)
#define X(name) extern const char mp_exec_anchor_v1_##name, mp_exec_anchor_v3_##name;
FILES(X)
#undef X
extern const char *const mp_exec_anchors[];
const char *const mp_exec_anchors[] = {
#define X(name) &mp_exec_anchor_v1_##name, &mp_exec_anchor_v3_##name,
	FILES(X)
#undef X
};

#define SLOTS 4096

struct handler_seed handler_seed;
static const struct handler *table[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;

	while (*s)
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h ^ h >> 15;
}

/* clang 14 knows no name for this feature. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && c >> 29 & 1;
}

static void fill(void)
{
	const char *isa = getenv("MOTORPOOL_SOFT_ISA");
	bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
		  __builtin_cpu_supports("bmi2") && has_f16c() &&
		  !(isa && !strcmp(isa, "v1"));
	const struct handler *h = v3 ? __start_mp_exec_ops_v3 : __start_mp_exec_ops_v1;
	const struct handler *end = v3 ? __stop_mp_exec_ops_v3 : __stop_mp_exec_ops_v1;

	assert((size_t)(end - h) < SLOTS * 3 / 4);
	for (; h < end; h++) {
		uint32_t i = hash(h->name) % SLOTS;

		while (table[i]) {
			assert(strcmp(table[i]->name, h->name));
			i = (i + 1) % SLOTS;
		}
		table[i] = h;
	}
}

const char *handler_name(op_fn fn)
{
	size_t i;

	for (i = 0; i < SLOTS; i++)
		if (table[i] && table[i]->fn == fn)
			return table[i]->name;
	return NULL;
}

op_fn handler_find(const char *name)
{
	uint32_t i;

	pthread_once(&once, fill);
	for (i = hash(name) % SLOTS; table[i]; i = (i + 1) % SLOTS)
		if (!strcmp(table[i]->name, name))
			return table[i]->fn;
	return NULL;
}
