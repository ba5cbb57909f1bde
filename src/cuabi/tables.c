/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuGetExportTable: the private tables that the CUDA runtime and NVIDIA's
 * libraries ask their driver for.
 *
 * Nine tables, of which fifteen slots are known to be called; their meaning
 * was found by observing what a program asks of its driver.  A table is an array of
 * words, the first its size in bytes (one table has no size and ends with NULL).
 * Slots that nobody was seen to call log their name and answer NOT_SUPPORTED,
 * so that a library which does call one fails in words.  Other tables are refused.
 *
 * Everything is answered from mp_cuabi_ops; no state but the pointer to it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "cuabi/internal.h"

static _Atomic(const struct mp_cuabi_ops *) table_ops;

void mp_cuabi_init(const struct mp_cuabi_ops *ops)
{
	assert(ops && ops->current_context && ops->context_live && ops->primary_context);
	assert(ops->device_count && ops->device_identity && ops->driver_version);
	atomic_store_explicit(&table_ops, ops, memory_order_release);
}

const struct mp_cuabi_ops *mp_cuabi_ops(void)
{
	return atomic_load_explicit(&table_ops, memory_order_acquire);
}

/* The ops of a slot; a driver library that serves tables has handed them over. */
static const struct mp_cuabi_ops *ops_get(void)
{
	const struct mp_cuabi_ops *ops = mp_cuabi_ops();

	assert(ops);
	return ops;
}

/* ---- Spare slots: one function each, so that the log can say which was called ---- */

#define WORDS 96 /* of every table in memory; word 0 may say less */

static CUresult spare_refuse(const char *table, unsigned slot)
{
	mp_log(MP_LOG_WARN, "cuabi", "spare-slot", "table=%s slot=%u answer=not-supported", table,
	       slot);
	return CUDA_ERROR_NOT_SUPPORTED;
}

/* clang-format off */
#define TENS(X, t, d) \
	X(t, d##0) X(t, d##1) X(t, d##2) X(t, d##3) X(t, d##4) \
	X(t, d##5) X(t, d##6) X(t, d##7) X(t, d##8) X(t, d##9)
#define EVERY_SLOT(X, t) \
	X(t, 1) X(t, 2) X(t, 3) X(t, 4) X(t, 5) X(t, 6) X(t, 7) X(t, 8) X(t, 9) \
	TENS(X, t, 1) TENS(X, t, 2) TENS(X, t, 3) TENS(X, t, 4) TENS(X, t, 5) \
	TENS(X, t, 6) TENS(X, t, 7) TENS(X, t, 8) \
	X(t, 90) X(t, 91) X(t, 92) X(t, 93) X(t, 94) X(t, 95)
#define SPARE_FUNCTION(t, n) \
	static CUresult t##_spare_##n(void) { return spare_refuse(#t, n); }
#define SPARE_POINTER(t, n) [n] = (void *)t##_spare_##n,
/* A table of `words` words; used slots are put in by tables_fill. */
#define TABLE(t, words) \
	EVERY_SLOT(SPARE_FUNCTION, t) \
	static void *t##_table[WORDS] = { \
		[0] = (void *)(uintptr_t)((words) * sizeof(void *)), \
		EVERY_SLOT(SPARE_POINTER, t) \
	};

TABLE(cudart_interface, 13)
TABLE(runtime_hooks, 7)
TABLE(tools_tls, 4)
TABLE(context_checks, 15)
TABLE(integrity, 3)
TABLE(tools_context, 95)
TABLE(tools_module, 92)
TABLE(cluster, 16)
/* clang-format on */

/* No size word: three functions, then NULL. */
static void *context_local_table[4];

/* ---- Used slots ---- */

static CUresult primary_context(CUcontext *out, CUdevice dev)
{
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	return ops_get()->primary_context(dev, out);
}

/* Callback-enable bytes of an attached profiler: none, so all zero. The sizes are a real driver's. */
static void hooks_runtime(void **buf, size_t *size)
{
	static uint64_t zero[4096 / 8];

	if (buf)
		*buf = zero;
	if (size)
		*size = 1024;
}

static void hooks_resource(void **buf, size_t *size)
{
	static uint64_t zero[64 / 8];

	if (buf)
		*buf = zero;
	if (size)
		*size = 14;
}

static CUresult tls_context(CUcontext *out)
{
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	*out = ops_get()->current_context();
	return CUDA_SUCCESS;
}

static CUresult checks_context(CUcontext ctx, uint32_t *out, const void **out2)
{
	if (out)
		*out = 0;
	return CUDA_SUCCESS;
}

static uint32_t checks_process(void)
{
	return 0;
}

#define DEVICES_MAX 256

static CUresult integrity_answer(uint32_t version, uint64_t unix_seconds, uint64_t out[2])
{
	const struct mp_cuabi_ops *ops = ops_get();
	struct mp_integrity_device devices[DEVICES_MAX];
	int n = ops->device_count(), i;
	struct mp_integrity in = {
		.driver_version = (uint32_t)ops->driver_version(),
		.version = version,
		.pid = (uint32_t)getpid(), /* anew each time: the process may have forked */
		.thread = (uint32_t)(uintptr_t)pthread_self(),
		.cudart_table = (uintptr_t)cudart_interface_table,
		.integrity_table = (uintptr_t)integrity_table,
		.integrity_slot = (uintptr_t)integrity_table[1],
		.unix_seconds = unix_seconds,
	};

	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (n < 0 || n > DEVICES_MAX)
		return CUDA_ERROR_INVALID_DEVICE;
	for (i = 0; i < n; i++) {
		CUuuid uuid;
		CUresult rc = ops->device_identity(i, &uuid, &devices[i].domain, &devices[i].bus,
						   &devices[i].device);

		if (rc)
			return rc;
		memcpy(devices[i].uuid, uuid.bytes, sizeof(devices[i].uuid));
	}
	mp_integrity_answer(&in, devices, (size_t)n, out);
	return CUDA_SUCCESS;
}

static CUresult tools_context_id(CUcontext ctx, uint64_t *id)
{
	const struct mp_cuabi_ops *ops = ops_get();

	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ctx)
		ctx = ops->current_context();
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return ops->context_id ? ops->context_id(ctx, id) : CUDA_ERROR_NOT_SUPPORTED;
}

static CUresult tools_stream_token(CUcontext ctx, CUstream stream, void **token, int per_thread)
{
	const struct mp_cuabi_ops *ops = ops_get();

	if (!token)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ops->stream_token)
		return CUDA_ERROR_NOT_SUPPORTED;
	return ops->stream_token(ctx, stream, per_thread != 0, token);
}

static CUresult tools_stream_id(CUcontext ctx, void *token, uint64_t *identity)
{
	const struct mp_cuabi_ops *ops = ops_get();

	if (!identity)
		return CUDA_ERROR_INVALID_VALUE;
	return ops->stream_id ? ops->stream_id(ctx, token, identity) : CUDA_ERROR_NOT_SUPPORTED;
}

/* The callback answers 0 to stop, and then this answers 1, which callers insist on. */
static int tools_module_kernels(CUcontext ctx, CUmodule module,
				int (*each)(void *user, CUfunction f), void *user)
{
	const struct mp_cuabi_ops *ops = ops_get();
	CUfunction f;
	CUresult rc;
	size_t i;

	if (!each)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ops->module_kernel)
		return CUDA_ERROR_NOT_SUPPORTED;
	for (i = 0; !(rc = ops->module_kernel(ctx, module, i, &f)); i++)
		if (!each(user, f))
			return 1;
	return rc == CUDA_ERROR_NOT_FOUND ? CUDA_SUCCESS : (int)rc;
}

/* A non-zero answer would make the caller follow a pointer that nobody has described. */
static CUresult cluster_query(int *a, void *b)
{
	if (!a)
		return CUDA_ERROR_INVALID_VALUE;
	*a = 0;
	return CUDA_SUCCESS;
}

static CUresult local_put(CUcontext ctx, void *key, void *value, mp_cls_destroy destroy)
{
	return mp_cls_put(ctx, key, value, destroy);
}

static void tables_fill(void)
{
	cudart_interface_table[2] = (void *)primary_context;
	runtime_hooks_table[2] = (void *)hooks_runtime;
	runtime_hooks_table[6] = (void *)hooks_resource;
	tools_tls_table[2] = (void *)tls_context;
	context_local_table[0] = (void *)local_put;
	context_local_table[1] = (void *)mp_cls_delete;
	context_local_table[2] = (void *)mp_cls_get;
	context_checks_table[2] = (void *)checks_context;
	context_checks_table[3] = (void *)checks_process;
	integrity_table[1] = (void *)integrity_answer;
	tools_context_table[4] = (void *)tools_context_id;
	tools_context_table[39] = (void *)tools_stream_id;
	tools_context_table[51] = (void *)tools_stream_token;
	tools_module_table[7] = (void *)tools_module_kernels;
	cluster_table[4] = (void *)cluster_query;
}

/* ---- By UUID ---- */

static const struct {
	const char *name;
	uint8_t uuid[16];
	void *table;
} served[] = {
	{"cudart-interface", "\x6b\xd5\xfb\x6c\x5b\xf4\xe7\x4a\x89\x87\xd9\x39\x12\xfd\x9d\xf9",
	 cudart_interface_table},
	{"runtime-hooks", "\xa0\x94\x79\x8c\x2e\x74\x2e\x74\x93\xf2\x08\x00\x20\x0c\x0a\x66",
	 runtime_hooks_table},
	{"tools-tls", "\x42\xd8\x5a\x81\x23\xf6\xcb\x47\x82\x98\xf6\xe7\x8a\x3a\xec\xdc",
	 tools_tls_table},
	{"context-local", "\xc6\x93\x33\x6e\x11\x21\xdf\x11\xa8\xc3\x68\xf3\x55\xd8\x95\x93",
	 context_local_table},
	{"context-checks", "\x26\x3e\x88\x60\x7c\xd2\x61\x43\x92\xf6\xbb\xd5\x00\x6d\xfa\x7e",
	 context_checks_table},
	{"integrity", "\xd4\x08\x20\x55\xbd\xe6\x70\x4b\x8d\x34\xba\x12\x3c\x66\xe1\xf2",
	 integrity_table},
	{"tools-context", "\x21\x31\x8c\x60\x97\x14\x32\x48\x8c\xa6\x41\xff\x73\x24\xc8\xf2",
	 tools_context_table},
	{"tools-module", "\x6e\x16\x3f\xbe\xb9\x58\x44\x4d\x83\x5c\xe1\x82\xaf\xf1\x99\x1e",
	 tools_module_table},
	{"cluster", "\x17\x34\xdc\x26\x80\x0d\x47\x45\x87\x26\xc0\xf1\xe7\xdd\x8b\xca",
	 cluster_table},
};

CUresult mp_export_table(const void **table, const CUuuid *id)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t i;

	if (!table || !id)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_cuabi_ops())
		return CUDA_ERROR_NOT_INITIALIZED;
	pthread_once(&once, tables_fill);
	for (i = 0; i < MP_ARRAY_LEN(served); i++) {
		if (memcmp(served[i].uuid, id->bytes, sizeof(served[i].uuid)))
			continue;
		*table = served[i].table;
		mp_log(MP_LOG_DEBUG, "cuabi", "export-table", "name=%s", served[i].name);
		return CUDA_SUCCESS;
	}
	mp_log(MP_LOG_DEBUG, "cuabi", "export-table-refused", "first-byte=%02x",
	       (unsigned char)id->bytes[0]);
	return CUDA_ERROR_INVALID_VALUE;
}
