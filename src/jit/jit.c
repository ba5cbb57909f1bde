/* SPDX-License-Identifier: Apache-2.0 */
/* From description to code: the directory of objects first, LLVM otherwise. */
#include "jit/jit.h"
#include "jit/cache.h"
#include "jit/emit.h"
#include "jit/llvm.h"
#include "jit/load.h"
#include "jit/seed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct mp_jit_code {
	struct loaded loaded;
	struct mp_jit_traits traits;
};

enum mp_jit_seed mp_jit_seeded;
unsigned mp_jit_seed_met;
static pthread_mutex_t compiling = PTHREAD_MUTEX_INITIALIZER;

const char *mp_jit_llvm(void)
{
	return llvm_version();
}

const char *mp_jit_seed(unsigned n)
{
	static const char *const names[] = {
		"none",
#define X(name) #name,
		MP_JIT_SEEDS(X)
#undef X
	};

	if (n == MP_JIT_SEED_BREAKDOWN)
		return mp_jit_seeded = SEED_BREAKDOWN, "BREAKDOWN";
	mp_jit_seeded = n < SEED_COUNT ? (enum mp_jit_seed)n : SEED_NONE;
	return n < SEED_COUNT ? names[n] : NULL;
}

sigjmp_buf *mp_jit_guard(void)
{
	return llvm_guard();
}

static char *make(const struct mp_jit_kernel *k, const struct mp_jit_options *o, size_t *len, bool *ret_waits,
		  char *why, size_t why_size)
{
	struct plan p;
	struct mp_buf text;
	char *object = NULL, dump[400];

	if (o->max_ops && k->nops > o->max_ops) {
		snprintf(why, why_size, "%u operations are too many", k->nops);
		return NULL;
	}
	if (llvm_missing()) {
		snprintf(why, why_size, "%s", llvm_missing());
		return NULL;
	}
	mp_buf_init(&text, 1u << 29);
	mp_jit_seed_met = 0;
	if (plan_make(&p, k, o->group, why, why_size) && (p.eager = o->quick, true) && emit_kernel(&p, &text, why, why_size)) {
		if (mp_jit_seeded && mp_jit_seeded < SEED_COUNT && !mp_jit_seed_met) {
			snprintf(why, why_size, "nothing in it that could err");
			goto out;
		}
		*ret_waits = p.waits;
		if (o->dump)
			snprintf(dump, sizeof(dump), "%s%.100s.%u", o->dump, k->name, o->group);
		object = llvm_object(text.data, text.len,
				     &(struct llvm_how){o->plain_isa, o->quick, o->dump ? dump : NULL}, len, why, why_size);
	}
out:
	mp_buf_fini(&text);
	plan_fini(&p);
	return object;
}

struct mp_jit_code *mp_jit_compile(const struct mp_jit_kernel *k, const struct mp_jit_options *o, char *why,
				   size_t why_size)
{
	struct mp_jit_code *c = calloc(1, sizeof(*c));
	uint64_t start = mp_now_ns();
	struct cache_key key;
	char *object = NULL;
	size_t len = 0;
	int r = -1;

	snprintf(why, why_size, "no memory");
	if (!c)
		return NULL;
	if (o->cache) {
		cache_key(k, o, &key);
		object = cache_get(o->cache, &key, &len, &c->traits.waits);
		if (object) {
			r = load_object(object, len, &c->loaded, why, why_size);
			c->traits.cached = !r;
			free(object);
		}
	}
	if (r && o->cache_only)
		snprintf(why, why_size, "not in the directory");
	if (r && !o->cache_only) {
		pthread_mutex_lock(&compiling);
		object = make(k, o, &len, &c->traits.waits, why, why_size);
		pthread_mutex_unlock(&compiling);
		if (object) {
			r = load_object(object, len, &c->loaded, why, why_size);
			if (!r && o->cache)
				cache_put(o->cache, &key, object, len, c->traits.waits);
			free(object);
		}
	}
	if (r) {
		free(c);
		return NULL;
	}
	c->traits.compile_ms = (double)(mp_now_ns() - start) * 1e-6;
	mp_log(MP_LOG_INFO, "jit", "code", "kernel=%s group=%u ops=%u bytes=%zu ms=%.1f from=%s", k->name, o->group,
	       k->nops, c->loaded.bytes, c->traits.compile_ms, c->traits.cached ? "directory" : "llvm");
	return c;
}

void mp_jit_code_free(struct mp_jit_code *c)
{
	if (!c)
		return;
	load_free(&c->loaded);
	free(c);
}

mp_jit_fn mp_jit_code_entry(const struct mp_jit_code *c)
{
	return (mp_jit_fn)(uintptr_t)c->loaded.entry;
}

const struct mp_jit_traits *mp_jit_code_traits(const struct mp_jit_code *c)
{
	return &c->traits;
}
