/* SPDX-License-Identifier: Apache-2.0 */
/* Functions: attributes, parameters, names, occupancy. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static int round_threads(uint32_t n)
{
	return n > 1024 ? 1024 : (int)n;
}

void mp_function_attributes(const struct mp_exec_kernel_info *info, const struct mp_device *d,
			    int out[CU_FUNC_ATTRIBUTE_MAX])
{
	const int *a = d->attributes;
	const uint32_t *n = info->reqntid[0] ? info->reqntid : info->maxntid;
	uint32_t threads = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK];

	memset(out, 0, CU_FUNC_ATTRIBUTE_MAX * sizeof(*out));
	if (n[0])
		threads = n[0] * (n[1] ? n[1] : 1) * (n[2] ? n[2] : 1);
	else if (info->registers > 64) /* 65536 registers, by whole warps */
		threads = 65536 / info->registers / 32 * 32;
	out[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = round_threads(threads);
	out[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = (int)info->static_shared;
	out[CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES] = (int)info->const_bytes;
	out[CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES] = (int)info->local_bytes;
	out[CU_FUNC_ATTRIBUTE_NUM_REGS] = info->registers ? (int)info->registers : 32;
	out[CU_FUNC_ATTRIBUTE_PTX_VERSION] = (int)info->target;
	out[CU_FUNC_ATTRIBUTE_BINARY_VERSION] =
		a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] * 10 +
		a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
	out[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] =
		a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK] - (int)info->static_shared;
	out[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = CU_SHAREDMEM_CARVEOUT_DEFAULT;
	if (out[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] < 0)
		out[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 0;
}

CUresult mp_function_set(int attributes[CU_FUNC_ATTRIBUTE_MAX], const struct mp_device *d,
			 CUfunction_attribute a, int value)
{
	int most = d->attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] -
		   attributes[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES];
	bool good;

	switch ((int)a) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		good = value >= 0 && value <= most;
		break;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		good = value >= -1 && value <= 100;
		break;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH: good = value >= 0; break;
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
		good = value == 0 || value == 1;
		break;
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
		good = value >= 0 && value <= 2;
		break;
	default: good = false; /* read only, or unknown */
	}
	if (!good)
		return CUDA_ERROR_INVALID_VALUE;
	attributes[a] = value;
	return CUDA_SUCCESS;
}

#define FUNCTION(f, h)                                                                             \
	struct CUfunc_st *f;                                                                       \
	MP_ENTER(ctx);                                                                             \
	do {                                                                                       \
		CUresult mp_r = mp_function_find(ctx, h, &f, NULL);                                \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
	} while (0)

CUresult cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc)
{
	FUNCTION(f, hfunc);
	if (!pi || (unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	*pi = f->attributes[attrib];
	return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value)
{
	FUNCTION(f, hfunc);
	return mp_function_set(f->attributes, f->module->ctx->device, attrib, value);
}

CUresult cuFuncGetModule(CUmodule *hmod, CUfunction hfunc)
{
	FUNCTION(f, hfunc);
	if (!hmod)
		return CUDA_ERROR_INVALID_VALUE;
	*hmod = f->module;
	return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction hfunc)
{
	FUNCTION(f, hfunc);
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = f->info->name;
	return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset,
			    size_t *paramSize)
{
	FUNCTION(f, func);
	if (!paramOffset || paramIndex >= f->info->nparams)
		return CUDA_ERROR_INVALID_VALUE;
	*paramOffset = f->info->param_offset[paramIndex];
	if (paramSize)
		*paramSize = f->info->param_size[paramIndex];
	return CUDA_SUCCESS;
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
	FUNCTION(f, function);
	if (!state)
		return CUDA_ERROR_INVALID_VALUE;
	*state = f->prepared || mp_soft.config.eager ? CU_FUNCTION_LOADING_STATE_LOADED
						     : CU_FUNCTION_LOADING_STATE_UNLOADED;
	return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction function)
{
	char err[400] = "";
	enum mp_exec_outcome o;
	FUNCTION(f, function);

	o = mp_exec_kernel_prepare(f->kernel, err, sizeof(err));
	if (o)
		mp_log(MP_LOG_ERROR, "soft", "function", "kernel=%s error=\"%s\"", f->info->name,
		       err);
	else
		f->prepared = true;
	return mp_exec_result(o);
}

CUresult cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config)
{
	FUNCTION(f, hfunc);
	(void)f;
	return (unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE
							     : CUDA_SUCCESS;
}

CUresult cuFuncSetSharedMemConfig(CUfunction hfunc, CUsharedconfig config)
{
	FUNCTION(f, hfunc);
	(void)f;
	return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
		       ? CUDA_ERROR_INVALID_VALUE
		       : CUDA_SUCCESS;
}

/* ---- Occupancy ---- */

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *numBlocks, CUfunction func,
							      int blockSize,
							      size_t dynamicSMemSize,
							      unsigned int flags)
{
	FUNCTION(f, func);
	return mp_occupancy_blocks(ctx->device->attributes, f->attributes, blockSize,
				   dynamicSMemSize, flags, numBlocks);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func, int blockSize,
						     size_t dynamicSMemSize)
{
	return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(numBlocks, func, blockSize,
								    dynamicSMemSize, 0);
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *minGridSize, int *blockSize,
						   CUfunction func,
						   CUoccupancyB2DSize blockSizeToDynamicSMemSize,
						   size_t dynamicSMemSize, int blockSizeLimit,
						   unsigned int flags)
{
	FUNCTION(f, func);
	return mp_occupancy_block_size(ctx->device->attributes, f->attributes,
				       blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit,
				       flags, minGridSize, blockSize);
}

CUresult cuOccupancyMaxPotentialBlockSize(int *minGridSize, int *blockSize, CUfunction func,
					  CUoccupancyB2DSize blockSizeToDynamicSMemSize,
					  size_t dynamicSMemSize, int blockSizeLimit)
{
	return cuOccupancyMaxPotentialBlockSizeWithFlags(minGridSize, blockSize, func,
							 blockSizeToDynamicSMemSize,
							 dynamicSMemSize, blockSizeLimit, 0);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func,
						 int numBlocks, int blockSize)
{
	FUNCTION(f, func);
	return mp_occupancy_dynamic_shared(ctx->device->attributes, f->attributes, numBlocks,
					   blockSize, dynamicSmemSize);
}

CUresult cuOccupancyMaxActiveClusters(int *numClusters, CUfunction func,
				      const CUlaunchConfig *config)
{
	FUNCTION(f, func);
	return mp_occupancy_clusters(ctx->device->attributes, f->attributes, config, numClusters);
}

CUresult cuOccupancyMaxPotentialClusterSize(int *clusterSize, CUfunction func,
					    const CUlaunchConfig *config)
{
	FUNCTION(f, func);
	return mp_occupancy_cluster_size(ctx->device->attributes, f->attributes, config,
					 clusterSize);
}

/* ---- Calls of before CUDA 4: state of the function, launched without arguments ---- */

CUresult cuFuncSetBlockShape(CUfunction hfunc, int x, int y, int z)
{
	FUNCTION(f, hfunc);
	if (x <= 0 || y <= 0 || z <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	f->old_block[0] = (uint32_t)x;
	f->old_block[1] = (uint32_t)y;
	f->old_block[2] = (uint32_t)z;
	return CUDA_SUCCESS;
}

CUresult cuFuncSetSharedSize(CUfunction hfunc, unsigned int bytes)
{
	FUNCTION(f, hfunc);
	f->old_shared = bytes;
	return CUDA_SUCCESS;
}

CUresult cuParamSetSize(CUfunction hfunc, unsigned int numbytes)
{
	FUNCTION(f, hfunc);
	if (numbytes > f->info->param_bytes)
		return CUDA_ERROR_INVALID_VALUE;
	f->old_size = numbytes;
	return CUDA_SUCCESS;
}

CUresult cuParamSetv(CUfunction hfunc, int offset, void *ptr, unsigned int numbytes)
{
	FUNCTION(f, hfunc);
	if (!ptr || offset < 0 || (unsigned)offset > f->info->param_bytes ||
	    numbytes > f->info->param_bytes - (unsigned)offset)
		return CUDA_ERROR_INVALID_VALUE;
	if (!f->old_params)
		f->old_params = calloc(1, f->info->param_bytes);
	if (!f->old_params)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(f->old_params + offset, ptr, numbytes);
	return CUDA_SUCCESS;
}

CUresult cuParamSeti(CUfunction hfunc, int offset, unsigned int value)
{
	return cuParamSetv(hfunc, offset, &value, sizeof(value));
}

CUresult cuParamSetf(CUfunction hfunc, int offset, float value)
{
	return cuParamSetv(hfunc, offset, &value, sizeof(value));
}

CUresult cuLaunchGridAsync(CUfunction f, int grid_width, int grid_height, CUstream hStream)
{
	static uint8_t none[1];
	size_t size;
	void *extra[5];
	FUNCTION(fn, f);

	if (grid_width <= 0 || grid_height <= 0 || !fn->old_block[0])
		return CUDA_ERROR_INVALID_VALUE;
	size = fn->old_params ? fn->info->param_bytes : 0;
	extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
	extra[1] = fn->old_params ? fn->old_params : none;
	extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
	extra[3] = &size;
	extra[4] = CU_LAUNCH_PARAM_END;
	return cuLaunchKernel(f, (unsigned)grid_width, (unsigned)grid_height, 1, fn->old_block[0],
			      fn->old_block[1], fn->old_block[2], fn->old_shared, hStream, NULL,
			      extra);
}

CUresult cuLaunchGrid(CUfunction f, int grid_width, int grid_height)
{
	return cuLaunchGridAsync(f, grid_width, grid_height, NULL);
}

CUresult cuLaunch(CUfunction f)
{
	return cuLaunchGridAsync(f, 1, 1, NULL);
}
