/* SPDX-License-Identifier: Apache-2.0 */
/* Procedure addresses, private tables, names of errors, profiler control. */
#include "shim/shim.h"

#include <string.h>

CUresult mp_shim_cuGetProcAddress(const char *symbol, void **pfn, int version, cuuint64_t flags)
{
	return mp_proc_address(symbol, pfn, version, flags, NULL, false);
}

CUresult mp_shim_cuGetProcAddress_v2(const char *symbol, void **pfn, int version, cuuint64_t flags,
				     CUdriverProcAddressQueryResult *status)
{
	return mp_proc_address(symbol, pfn, version, flags, status, true);
}

CUresult mp_shim_cuGetExportTable(const void **table, const CUuuid *id)
{
	return mp_export_table(table, id);
}

CUresult mp_shim_cuGetErrorName(CUresult error, const char **ret)
{
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = mp_error_name(error);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuGetErrorString(CUresult error, const char **ret)
{
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = mp_error_string(error);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* No profiler is attached, so that starting and stopping one has nothing to do. */
CUresult mp_shim_cuProfilerStart(void)
{
	struct mp_thread *t;

	return mp_enter(MP_CALL_cuProfilerStart, &t);
}

CUresult mp_shim_cuProfilerStop(void)
{
	struct mp_thread *t;

	return mp_enter(MP_CALL_cuProfilerStop, &t);
}

/* ---- What the private tables ask ---- */

static CUresult primary_context(CUdevice dev, CUcontext *ret)
{
	if (atomic_load(&mp_shim.state) != MP_STATE_READY)
		return mp_state_error();
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	*ret = (CUcontext)mp_shim.device[dev].primary;
	return CUDA_SUCCESS;
}

static CUcontext current_context(void)
{
	return mp_self ? (CUcontext)mp_self->ctx : NULL;
}

static bool context_live(CUcontext ctx)
{
	return mp_ctx_find(ctx) != NULL;
}

static CUresult context_id(CUcontext ctx, uint64_t *ret)
{
	struct mp_ctx *c = ctx ? mp_ctx_find(ctx) : (struct mp_ctx *)current_context();

	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	*ret = c->uid;
	return CUDA_SUCCESS;
}

static CUresult stream_token(CUcontext ctx, CUstream h, bool per_thread, void **ret)
{
	struct mp_thread *t = mp_thread_get();
	struct mp_ctx *c = ctx ? mp_ctx_find(ctx) : t ? t->ctx : NULL, *was;
	struct mp_stream *s;
	CUresult r;

	if (!t || !c || !c->live)
		return CUDA_ERROR_INVALID_CONTEXT;
	was = t->ctx;
	t->ctx = c;
	r = mp_stream_get(t, !h && per_thread ? CU_STREAM_PER_THREAD : h, &s);
	t->ctx = was;
	if (!r)
		*ret = s;
	return r;
}

static CUresult stream_id(CUcontext ctx, void *token, uint64_t *ret)
{
	struct mp_stream *s = mp_object(token, MP_KIND_stream);

	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = s->uid;
	return CUDA_SUCCESS;
}

static CUresult module_kernel(CUcontext ctx, CUmodule module, size_t i, CUfunction *ret)
{
	struct mp_module *m = mp_object(module, MP_KIND_module);

	return m ? mp_module_kernel(m, i, ret) : CUDA_ERROR_INVALID_HANDLE;
}

static int device_count(void)
{
	return mp_shim.ndevices;
}

static CUresult device_identity(int i, CUuuid *uuid, int32_t *domain, int32_t *bus, int32_t *device)
{
	const struct mp_device *d;

	if (i < 0 || i >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	d = &mp_shim.device[i];
	*uuid = d->uuid;
	*domain = d->attr[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID];
	*bus = d->attr[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID];
	*device = d->attr[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID];
	return CUDA_SUCCESS;
}

static int driver_version(void)
{
	return mp_shim.driver_version ? mp_shim.driver_version : CUDA_VERSION;
}

static const struct mp_cuabi_ops ops = {
	.primary_context = primary_context,
	.current_context = current_context,
	.context_live = context_live,
	.context_id = context_id,
	.stream_token = stream_token,
	.stream_id = stream_id,
	.module_kernel = module_kernel,
	.device_count = device_count,
	.device_identity = device_identity,
	.driver_version = driver_version,
};

/* Only hands a table over: nothing is connected before cuInit. */
__attribute__((constructor)) static void ops_hand_over(void)
{
	mp_cuabi_init(&ops);
}

/* ---- The log of errors ---- */

CUresult mp_shim_cuLogsCurrent(CUlogIterator *ret, unsigned int flags)
{
	return mp_errlog_current(ret, flags);
}

CUresult mp_shim_cuLogsDumpToFile(CUlogIterator *iterator, const char *path, unsigned int flags)
{
	return mp_errlog_file(iterator, path, flags);
}

CUresult mp_shim_cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned int flags)
{
	return mp_errlog_memory(iterator, buffer, size, flags);
}

CUresult mp_shim_cuLogsRegisterCallback(CUlogsCallback fn, void *data, CUlogsCallbackHandle *ret)
{
	return mp_errlog_register(fn, data, ret);
}

CUresult mp_shim_cuLogsUnregisterCallback(CUlogsCallbackHandle h)
{
	return mp_errlog_unregister(h);
}
