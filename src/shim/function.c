/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of kernels, asked for once, and what follows from them: occupancy. */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

CUresult mp_func_attributes(struct mp_thread *t, enum mp_call call, struct mp_func *f)
{
	struct mp_msg_function_info m = {.function = f->head.id};
	struct mp_rep_function_info reply;
	struct mp_answer a;
	struct mp_out o;
	int32_t *attr;
	uint32_t i;
	CUresult r;

	if (f->own_attr)
		return CUDA_SUCCESS;
	attr = calloc(CU_FUNC_ATTRIBUTE_MAX, sizeof(*attr));
	if (!attr)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = MP_PUT(&o, t, MP_REC_function_info, function_info, &m,
		   t->ctx && t->ctx->live ? t->ctx->head.id : 0);
	if (r) {
		free(attr);
		return r;
	}
	o.call = call; /* counted as what the program called */
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_function_info(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	for (i = 0; !r && i < reply.values_count && i < CU_FUNC_ATTRIBUTE_MAX; i++)
		attr[i] = reply.values[i];
	free(a.own_data);
	if (r) {
		free(attr);
		return r;
	}
	/* What the program has set meanwhile holds. */
	if (f->dynamic_set)
		attr[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = (int32_t)f->max_dynamic;
	else
		f->max_dynamic = (uint32_t)attr[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES];
	if (attr[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] > 0)
		f->max_threads = (uint32_t)attr[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
	f->static_shared = (uint32_t)attr[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES];
	pthread_mutex_lock(&mp_objects);
	if (f->own_attr)
		free(attr);
	else
		f->own_attr = attr;
	pthread_mutex_unlock(&mp_objects);
	return CUDA_SUCCESS;
}

static CUresult get(enum mp_call call, void *h, struct mp_thread **t, struct mp_func **ret)
{
	CUresult r = mp_enter(call, t);

	if (r)
		return r;
	*ret = mp_func_get(h);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult attribute(enum mp_call call, int *pi, CUfunction_attribute attrib, void *h)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = get(call, h, &t, &f);

	if (r)
		return r;
	if (!pi || (unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_func_attributes(t, call, f);
	if (!r)
		*pi = f->own_attr[attrib];
	return r;
}

CUresult mp_shim_cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction h)
{
	return attribute(MP_CALL_cuFuncGetAttribute, pi, attrib, h);
}

CUresult mp_shim_cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel h, CUdevice dev)
{
	if (atomic_load(&mp_shim.state) == MP_STATE_READY && (dev < 0 || dev >= mp_shim.ndevices))
		return CUDA_ERROR_INVALID_DEVICE;
	return attribute(MP_CALL_cuKernelGetAttribute, pi, attrib, h);
}

static CUresult set_check(struct mp_func *f, CUfunction_attribute attrib, int value, int device)
{
	const int *dev = mp_shim.device[device].attr;

	switch (attrib) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		if (value < 0 ||
		    (int64_t)value + f->static_shared >
			    dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN])
			return CUDA_ERROR_INVALID_VALUE;
		f->max_dynamic = (uint32_t)value;
		f->dynamic_set = true;
		break;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		if (value < -1 || value > 100)
			return CUDA_ERROR_INVALID_VALUE;
		break;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (f->own_attr)
		f->own_attr[attrib] = value;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuFuncSetAttribute(CUfunction h, CUfunction_attribute attrib, int value)
{
	struct mp_msg_cuFuncSetAttribute m = {.attrib = attrib, .value = value};
	struct mp_thread *t;
	struct mp_func *f;
	struct mp_out o;
	CUresult r = get(MP_CALL_cuFuncSetAttribute, h, &t, &f);

	if (!r)
		r = set_check(f, attrib, value, t->ctx->device);
	if (r)
		return r;
	m.hfunc = f->head.id;
	return MP_SEND(&o, t, MP_CALL_cuFuncSetAttribute, cuFuncSetAttribute, &m, t->ctx->head.id);
}

CUresult mp_shim_cuKernelSetAttribute(CUfunction_attribute attrib, int value, CUkernel h,
				      CUdevice dev)
{
	struct mp_msg_cuKernelSetAttribute m = {.attrib = attrib, .val = value};
	struct mp_thread *t;
	struct mp_func *f;
	struct mp_out o;
	CUresult r = get(MP_CALL_cuKernelSetAttribute, h, &t, &f);

	if (r)
		return r;
	if (dev < 0 || dev >= mp_shim.ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	r = set_check(f, attrib, value, dev);
	if (r)
		return r;
	m.kernel = f->head.id;
	m.dev = mp_shim.device[dev].wire;
	return MP_SEND(&o, t, MP_CALL_cuKernelSetAttribute, cuKernelSetAttribute, &m,
		       t->ctx->head.id);
}

CUresult mp_shim_cuFuncGetName(const char **name, CUfunction h)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = get(MP_CALL_cuFuncGetName, h, &t, &f);

	if (r)
		return r;
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = f->name;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuKernelGetName(const char **name, CUkernel h)
{
	return mp_shim_cuFuncGetName(name, (CUfunction)h);
}

CUresult mp_shim_cuFuncGetParamInfo(CUfunction h, size_t i, size_t *offset, size_t *size)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = get(MP_CALL_cuFuncGetParamInfo, h, &t, &f);

	if (r)
		return r;
	if (!offset || i >= f->nparams)
		return CUDA_ERROR_INVALID_VALUE;
	*offset = f->params[i].offset;
	if (size)
		*size = f->params[i].size;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuKernelGetParamInfo(CUkernel h, size_t i, size_t *offset, size_t *size)
{
	return mp_shim_cuFuncGetParamInfo((CUfunction)h, i, offset, size);
}

CUresult mp_shim_cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction h)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = get(MP_CALL_cuFuncIsLoaded, h, &t, &f);

	if (r)
		return r;
	if (!state)
		return CUDA_ERROR_INVALID_VALUE;
	*state = atomic_load(&f->module->ready) ? CU_FUNCTION_LOADING_STATE_LOADED
						: CU_FUNCTION_LOADING_STATE_UNLOADED;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuFuncLoad(CUfunction h)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = get(MP_CALL_cuFuncLoad, h, &t, &f);

	return r ? r : mp_module_wait(t, MP_CALL_cuFuncLoad, f->module);
}

/* ---- Occupancy ---- */

/* Attributes of device and kernel, for the calculator. */
static CUresult both(enum mp_call call, void *h, struct mp_thread **t, struct mp_func **f,
		     const int **dev)
{
	CUresult r = get(call, h, t, f);

	if (!r)
		r = mp_func_attributes(*t, call, *f);
	if (!r)
		*dev = mp_shim.device[(*t)->ctx->device].attr;
	return r;
}

CUresult mp_shim_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, CUfunction h,
								      int block, size_t dynamic,
								      unsigned int flags)
{
	struct mp_thread *t;
	struct mp_func *f;
	const int *dev;
	CUresult r = both(MP_CALL_cuOccupancyMaxActiveBlocksPerMultiprocessor, h, &t, &f, &dev);

	return r ? r : mp_occupancy_blocks(dev, f->own_attr, block, dynamic, flags, n);
}

CUresult mp_shim_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction h, int block,
							     size_t dynamic)
{
	return mp_shim_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, h, block, dynamic, 0);
}

CUresult mp_shim_cuOccupancyMaxPotentialBlockSizeWithFlags(int *min_grid, int *block, CUfunction h,
							   CUoccupancyB2DSize b2d, size_t dynamic,
							   int limit, unsigned int flags)
{
	struct mp_thread *t;
	struct mp_func *f;
	const int *dev;
	CUresult r = both(MP_CALL_cuOccupancyMaxPotentialBlockSize, h, &t, &f, &dev);

	return r ? r : mp_occupancy_block_size(dev, f->own_attr, b2d, dynamic, limit, flags, min_grid,
					       block);
}

CUresult mp_shim_cuOccupancyMaxPotentialBlockSize(int *min_grid, int *block, CUfunction h,
						  CUoccupancyB2DSize b2d, size_t dynamic, int limit)
{
	return mp_shim_cuOccupancyMaxPotentialBlockSizeWithFlags(min_grid, block, h, b2d, dynamic,
								 limit, 0);
}

CUresult mp_shim_cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction h, int blocks,
							 int block)
{
	struct mp_thread *t;
	struct mp_func *f;
	const int *dev;
	CUresult r = both(MP_CALL_cuOccupancyAvailableDynamicSMemPerBlock, h, &t, &f, &dev);

	return r ? r : mp_occupancy_dynamic_shared(dev, f->own_attr, blocks, block, bytes);
}

CUresult mp_shim_cuOccupancyMaxActiveClusters(int *n, CUfunction h, const CUlaunchConfig *config)
{
	struct mp_thread *t;
	struct mp_func *f;
	const int *dev;
	CUresult r = both(MP_CALL_cuOccupancyMaxActiveClusters, h, &t, &f, &dev);

	return r ? r : mp_occupancy_clusters(dev, f->own_attr, config, n);
}

CUresult mp_shim_cuOccupancyMaxPotentialClusterSize(int *n, CUfunction h, const CUlaunchConfig *config)
{
	struct mp_thread *t;
	struct mp_func *f;
	const int *dev;
	CUresult r = both(MP_CALL_cuOccupancyMaxPotentialClusterSize, h, &t, &f, &dev);

	return r ? r : mp_occupancy_cluster_size(dev, f->own_attr, config, n);
}
