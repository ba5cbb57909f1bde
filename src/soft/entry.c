/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that need nothing but cuabi: addresses, tables, names of errors; and
 * what the generated entries of calls that are not carried end in.
 */
#include "inside.h"

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
