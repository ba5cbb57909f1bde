/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that need nothing but cuabi: addresses, tables, names of errors; and
 * what the generated entries of calls that are not carried end in.
 */
#include "inside.h"

#include "abi/code.h"

#include "mp-call.h"

#include <string.h>

CUresult mp_soft_refused(enum mp_call call);

CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags,
			     CUdriverProcAddressQueryResult *symbolStatus)
{
	return mp_proc_address(symbol, pfn, cudaVersion, flags, symbolStatus, true);
}

CUresult cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags)
{
	return mp_proc_address(symbol, pfn, cudaVersion, flags, NULL, false);
}

CUresult cuGetExportTable(const void **ppExportTable, const CUuuid *pExportTableId)
{
	static const struct mp_code_table code = {sizeof(code), "ptx"};
	static const CUuuid code_id = MP_CODE_TABLE_ID;

	if (ppExportTable && pExportTableId && !memcmp(pExportTableId, &code_id, sizeof(code_id))) {
		*ppExportTable = &code;
		return CUDA_SUCCESS;
	}
	return mp_export_table(ppExportTable, pExportTableId);
}

CUresult cuGetErrorName(CUresult error, const char **pStr)
{
	if (!pStr)
		return CUDA_ERROR_INVALID_VALUE;
	*pStr = mp_error_name(error);
	return *pStr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **pStr)
{
	if (!pStr)
		return CUDA_ERROR_INVALID_VALUE;
	*pStr = mp_error_string(error);
	return *pStr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuProfilerInitialize(const char *configFile, const char *outputFile, int outputMode)
{
	(void)configFile, (void)outputFile, (void)outputMode;
	return CUDA_ERROR_PROFILER_DISABLED;
}

CUresult cuProfilerStart(void)
{
	MP_ENTER(ctx);
	(void)ctx;
	return CUDA_SUCCESS;
}

CUresult cuProfilerStop(void)
{
	MP_ENTER(ctx);
	(void)ctx;
	return CUDA_SUCCESS;
}

/* ---- Calls that are not carried ---- */

CUresult mp_soft_refused(enum mp_call call)
{
	static _Atomic unsigned char said[1024];
	const struct mp_call_info *info = mp_call_find((uint32_t)call);
	size_t i = info ? (size_t)(info - mp_call_table) : 0;

	if (info && i < sizeof(said) && !said[i]) {
		said[i] = 1;
		mp_log(MP_LOG_WARN, "soft", "not-supported", "call=%s", info->name);
		mp_errlog_add(CU_LOG_LEVEL_ERROR, "%s is not supported", info->name);
	}
	return mp_soft.ready == 1 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_NOT_INITIALIZED;
}

/* ---- The log of errors ---- */

CUresult cuLogsCurrent(CUlogIterator *ret, unsigned int flags)
{
	return mp_errlog_current(ret, flags);
}

CUresult cuLogsDumpToFile(CUlogIterator *iterator, const char *path, unsigned int flags)
{
	return mp_errlog_file(iterator, path, flags);
}

CUresult cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned int flags)
{
	return mp_errlog_memory(iterator, buffer, size, flags);
}

CUresult cuLogsRegisterCallback(CUlogsCallback fn, void *data, CUlogsCallbackHandle *ret)
{
	return mp_errlog_register(fn, data, ret);
}

CUresult cuLogsUnregisterCallback(CUlogsCallbackHandle h)
{
	return mp_errlog_unregister(h);
}
