/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device-side launch ("Dynamic Parallelism" in the CUDA C++ Programming Guide).
 *
 * A thread asks for a parameter buffer of a kernel and a shape, fills it, and
 * launches it into a stream of its block.  The buffer lies in the device's
 * malloc heap behind a header of ours, which the program could overwrite: it is
 * checked when it comes back.  The child grid is queued beside all others
 * (grid.c); its parent ends after it.  Streams are only numbers: 0 is the
 * block's own, 3 and 4 are the named ones, others are counted up.
 */
#include "exec/warp.h"
#include "exec/heap.h"

#include <string.h>

enum { /* cudaError_t */
	CHILD_OK = 0,
	CHILD_INVALID_VALUE = 1,
	CHILD_MEMORY_ALLOCATION = 2,
	CHILD_INVALID_CONFIGURATION = 9,
	CHILD_INVALID_DEVICE_FUNCTION = 98,
	CHILD_LAUNCH_OUT_OF_RESOURCES = 701,
	CHILD_NOT_SUPPORTED = 801,
};

#define MAGIC	     0x6d70636869006c64ull
#define FIRST_STREAM 0x100

struct launch_buffer {
	uint64_t magic, function;
	uint32_t grid[3], block[3], shared, param_bytes;
	uint64_t spare[2];
};
static_assert(sizeof(struct launch_buffer) == 64, "parameters begin at a multiple of 64");

static uint64_t next_stream = FIRST_STREAM;

static struct mp_exec_kernel *kernel_of(const struct warp *w, uint64_t function)
{
	struct mp_exec_module *m = w->cta->grid->program->module;
	uint64_t index = (function - GENERIC_FUNC) / 16;

	if (function < GENERIC_FUNC || index >= m->ptx.nfuncs || !m->ptx.funcs[index]->is_entry)
		return NULL;
	return m->ptx.funcs[index]->user;
}

static uint64_t failed(struct warp *w, uint32_t error)
{
	if (error)
		w->cta->launch_error = error;
	return error;
}

/* cudaGetParameterBufferV2(function, grid, block, shared): where the parameters go, or NULL */
static uint64_t buffer_get(struct warp *w, const struct call_site *s, uint32_t lane)
{
	const struct mp_exec_space *space = w->cta->grid->space;
	struct launch_buffer b = {.magic = MAGIC};
	struct mp_exec_kernel *k;
	uint64_t at;

	arg_bytes(w, s, 0, lane, &b.function, 8);
	arg_bytes(w, s, 1, lane, b.grid, sizeof(b.grid));
	arg_bytes(w, s, 2, lane, b.block, sizeof(b.block));
	arg_bytes(w, s, 3, lane, &b.shared, 4);
	k = kernel_of(w, b.function);
	if (!k) {
		failed(w, CHILD_INVALID_DEVICE_FUNCTION);
		return 0;
	}
	b.param_bytes = k->info.param_bytes;
	at = heap_get(space, sizeof(b) + b.param_bytes + 16);
	if (!at) {
		failed(w, CHILD_MEMORY_ALLOCATION);
		return 0;
	}
	memcpy(warp_translate(w, lane, at, sizeof(b), true), &b, sizeof(b));
	return at + sizeof(b);
}

/* A block's own stream is a stream of its own; the others are the grid's. */
static uint64_t stream_key(const struct warp *w, uint64_t stream)
{
	return stream ? stream : w->cta->linear | 1ull << 63;
}

static uint64_t launch(struct warp *w, const struct call_site *s, uint32_t lane)
{
	const struct grid *g = w->cta->grid;
	uint64_t at = 0, stream = 0, threads;
	struct mp_exec_grid in = g->g;
	struct mp_exec_kernel *k;
	struct launch_buffer b;
	enum mp_exec_outcome o;

	arg_bytes(w, s, 0, lane, &at, 8);
	arg_bytes(w, s, 1, lane, &stream, 8);
	if (at < sizeof(b) || (at & 15))
		return failed(w, CHILD_INVALID_VALUE);
	at -= sizeof(b);
	memcpy(&b, warp_translate(w, lane, at, sizeof(b), false), sizeof(b));
	k = b.magic == MAGIC ? kernel_of(w, b.function) : NULL;
	if (!k || b.param_bytes != k->info.param_bytes)
		return failed(w, CHILD_INVALID_VALUE);
	threads = (uint64_t)b.block[0] * b.block[1] * b.block[2];
	if (!threads || threads > 1024 || !b.grid[0] || !b.grid[1] || !b.grid[2] ||
	    b.block[0] > 1024 || b.block[1] > 1024 || b.block[2] > 64) {
		heap_put(g->space, at);
		return failed(w, CHILD_INVALID_CONFIGURATION);
	}
	memcpy(in.grid, b.grid, sizeof(in.grid));
	memcpy(in.block, b.block, sizeof(in.block));
	in.cluster[0] = in.cluster[1] = in.cluster[2] = 1;
	in.kernel = k;
	in.dynamic_shared = b.shared;
	in.cooperative = false;
	in.params = warp_translate(w, lane, at + sizeof(b), b.param_bytes + 1u, false);
	o = grid_child(w->cta->grid, &in, NULL, stream_key(w, stream));
	heap_put(g->space, at);
	switch (o) {
	case MP_EXEC_OK: return CHILD_OK;
	case MP_EXEC_NO_MEMORY: return failed(w, CHILD_LAUNCH_OUT_OF_RESOURCES);
	default: return failed(w, CHILD_NOT_SUPPORTED);
	}
}

/* cudaMemcpyAsync(to, from, n, kind, stream), cudaMemsetAsync(to, value, n, stream): global memory only */
static uint64_t copy(struct warp *w, const struct call_site *s, uint32_t lane, bool set)
{
	struct child_copy c = {.set = set};
	uint64_t from = 0, n = 0, stream = 0;

	arg_bytes(w, s, 0, lane, &c.to, 8);
	arg_bytes(w, s, 1, lane, &from, 8);
	arg_bytes(w, s, 2, lane, &n, 8);
	arg_bytes(w, s, set ? 3 : 4, lane, &stream, 8);
	if (!n)
		return CHILD_OK;
	if (set)
		c.value = (uint8_t)from;
	else
		c.from = (uint64_t)(uintptr_t)warp_translate(w, lane, from, n, false);
	c.to = (uint64_t)(uintptr_t)warp_translate(w, lane, c.to, n, true);
	mp_exec_check_wrote(c.to, n);
	c.n = n;
	return grid_child(w->cta->grid, NULL, &c, stream_key(w, stream)) ?
		failed(w, CHILD_MEMORY_ALLOCATION) : CHILD_OK;
}

/* A word of device memory that an argument points at. */
static void store(struct warp *w, const struct call_site *s, uint32_t lane, const void *v, size_t n)
{
	uint64_t at = 0;

	arg_bytes(w, s, 0, lane, &at, 8);
	mp_exec_check_wrote(at, n);
	memcpy(warp_translate(w, lane, at, n, true), v, n);
}

/* Text in device memory; a copy each, as nothing says when it is no longer read. */
static uint64_t error_text(struct warp *w, uint32_t error, uint32_t lane, bool name)
{
	static const struct {
		uint32_t error;
		const char *name, *text;
	} known[] = {
		{CHILD_OK, "cudaSuccess", "no error"},
		{CHILD_INVALID_VALUE, "cudaErrorInvalidValue", "invalid argument"},
		{CHILD_MEMORY_ALLOCATION, "cudaErrorMemoryAllocation", "out of memory"},
		{CHILD_INVALID_CONFIGURATION, "cudaErrorInvalidConfiguration",
		 "invalid configuration argument"},
		{CHILD_INVALID_DEVICE_FUNCTION, "cudaErrorInvalidDeviceFunction",
		 "invalid device function"},
		{CHILD_LAUNCH_OUT_OF_RESOURCES, "cudaErrorLaunchOutOfResources",
		 "too many resources requested for launch"},
		{CHILD_NOT_SUPPORTED, "cudaErrorNotSupported", "operation not supported"},
	};
	const char *text = name ? "cudaErrorUnknown" : "unknown error";
	uint64_t at;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(known); i++)
		if (known[i].error == error)
			text = name ? known[i].name : known[i].text;
	at = heap_get(w->cta->grid->space, strlen(text) + 1);
	if (at)
		memcpy(warp_translate(w, lane, at, strlen(text) + 1, true), text, strlen(text) + 1);
	return at;
}

uint64_t child_call(struct warp *w, const struct call_site *s, uint32_t lane)
{
	const struct mp_exec_space *space = w->cta->grid->space;
	uint64_t v = 0;
	uint32_t word = 0, error = w->cta->launch_error;

	switch (s->external) {
	case EXT_CHILD_BUFFER: return buffer_get(w, s, lane);
	case EXT_CHILD_LAUNCH: return launch(w, s, lane);
	case EXT_CHILD_STREAM:
		v = __atomic_fetch_add(&next_stream, 1, __ATOMIC_RELAXED);
		store(w, s, lane, &v, 8);
		return CHILD_OK;
	case EXT_CHILD_DROP: return CHILD_OK; /* a number needs no care */
	case EXT_CHILD_COPY: return copy(w, s, lane, false);
	case EXT_CHILD_SET: return copy(w, s, lane, true);
	case EXT_CHILD_LAST_ERROR:
		w->cta->launch_error = 0;
		return error;
	case EXT_CHILD_PEEK_ERROR: return error;
	case EXT_CHILD_ERROR_STRING:
	case EXT_CHILD_ERROR_NAME:
		arg_bytes(w, s, 0, lane, &word, 4);
		return error_text(w, word, lane, s->external == EXT_CHILD_ERROR_NAME);
	case EXT_CHILD_MALLOC:
		arg_bytes(w, s, 1, lane, &v, 8);
		v = heap_get(space, v);
		store(w, s, lane, &v, 8);
		return v ? CHILD_OK : failed(w, CHILD_MEMORY_ALLOCATION);
	case EXT_CHILD_FREE:
		arg_bytes(w, s, 0, lane, &v, 8);
		heap_put(space, v);
		return CHILD_OK;
	case EXT_CHILD_DEVICE:
		word = w->cta->grid->g.device;
		store(w, s, lane, &word, 4);
		return CHILD_OK;
	}
	return CHILD_NOT_SUPPORTED;
}
