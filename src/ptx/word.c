/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary's look-ups: one small open hash per table, filled at the first use. */
#include "ptx/word.h"
#include "base/check.h"
#include "ptx/ptx.h"

#include <pthread.h>
#include <string.h>

#define SLOTS 1024

struct entry {
	const char *name;
	uint16_t len, id;
};

static const char *const op_names[] = {
#define X(id, name) name,
	MP_PTX_OPS(X)
#undef X
};

static const char *const word_names[] = {
#define X(id, name, size) name,
	MP_PTX_TYPES(X)
#undef X
#define X(id, name) name,
		MP_PTX_WORDS(X)
#undef X
};

static const uint8_t type_sizes[] = {
#define X(id, name, size) size,
	MP_PTX_TYPES(X)
#undef X
};

static const char *const sreg_names[] = {
#define X(id, name) name,
	MP_PTX_SREGS(X)
#undef X
};

static struct entry ops[SLOTS], words[SLOTS], sregs[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h ^ h >> 15;
}

static void fill(struct entry *table, const char *const *names, size_t n)
{
	size_t i;

	assert(n < SLOTS / 2);
	for (i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		uint32_t h = hash(names[i], len) % SLOTS;

		while (table[h].name)
			h = (h + 1) % SLOTS;
		table[h] = (struct entry){names[i], (uint16_t)len, (uint16_t)i};
	}
}

static void fill_all(void)
{
	fill(ops, op_names, MP_ARRAY_LEN(op_names));
	fill(words, word_names, MP_ARRAY_LEN(word_names));
	fill(sregs, sreg_names, MP_ARRAY_LEN(sreg_names));
}

static int find(const struct entry *table, const char *s, size_t n)
{
	uint32_t h = hash(s, n) % SLOTS;

	for (; table[h].name; h = (h + 1) % SLOTS)
		if (table[h].len == n && !memcmp(table[h].name, s, n))
			return table[h].id;
	return -1;
}

int mp_ptx_op_find(const char *s, size_t n)
{
	pthread_once(&once, fill_all);
	return find(ops, s, n);
}

int mp_ptx_word_find(const char *s, size_t n)
{
	pthread_once(&once, fill_all);
	return find(words, s, n);
}

/* %envreg<0..31> and %pm<0..7>[_64] are numbered; the rest is in the table. */
int mp_ptx_sreg_find(const char *s, size_t n)
{
	int id;

	pthread_once(&once, fill_all);
	id = find(sregs, s, n);
	if (id >= 0)
		return id;
	if (n >= 8 && n <= 9 && !memcmp(s, "%envreg", 7)) {
		int v = s[7] - '0';

		if (v < 0 || v > 9)
			return -1;
		if (n == 9) {
			if (s[8] < '0' || s[8] > '9')
				return -1;
			v = v * 10 + s[8] - '0';
		}
		return v < 32 ? MP_PTX_S_ENVREG0 + v : -1;
	}
	if (n == 4 && !memcmp(s, "%pm", 3) && s[3] >= '0' && s[3] <= '7')
		return MP_PTX_S_PM0 + s[3] - '0';
	return -1;
}

const char *mp_ptx_op_name(unsigned op)
{
	return op < MP_ARRAY_LEN(op_names) ? op_names[op] : "?";
}

const char *mp_ptx_word_name(unsigned word)
{
	return word < MP_ARRAY_LEN(word_names) ? word_names[word] : "?";
}

unsigned mp_ptx_type_size(uint8_t type)
{
	return type < MP_ARRAY_LEN(type_sizes) ? type_sizes[type] : 0;
}
