/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches: what a driver refuses at once is refused here; the rest is work
 * for the stream.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t next_grid = 1;

static CUresult dimensions_check(const int *a, const uint32_t g[3], const uint32_t b[3])
{
	if (!g[0] || !g[1] || !g[2] || !b[0] || !b[1] || !b[2])
		return CUDA_ERROR_INVALID_VALUE;
	if (g[0] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X] ||
	    g[1] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y] ||
	    g[2] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z])
		return CUDA_ERROR_INVALID_VALUE;
	if (b[0] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X] ||
	    b[1] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y] ||
	    b[2] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z])
		return CUDA_ERROR_INVALID_VALUE;
	return b[0] * b[1] * b[2] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK]
		       ? CUDA_ERROR_INVALID_VALUE
		       : CUDA_SUCCESS;
}

static CUresult cluster_check(const int *a, const struct mp_work_kernel *k)
{
	uint32_t n = k->cluster[0] * k->cluster[1] * k->cluster[2];
	int i;

	if (n <= 1)
		return CUDA_SUCCESS;
	if (!a[CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH])
		return CUDA_ERROR_NOT_SUPPORTED;
	for (i = 0; i < 3; i++)
		if (k->grid[i] % k->cluster[i])
			return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	if (n > (k->function->attributes[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] ? 16
											     : 8))
		return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	return CUDA_SUCCESS;
}

static CUresult cooperative_check(const int *a, const struct mp_work_kernel *k)
{
	uint64_t blocks = (uint64_t)k->grid[0] * k->grid[1] * k->grid[2];
	int resident;
	CUresult r;

	r = mp_occupancy_blocks(a, k->function->attributes,
				(int)(k->block[0] * k->block[1] * k->block[2]), k->shared, 0,
				&resident);
	if (r)
		return r;
	return blocks > (uint64_t)resident * (uint64_t)a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]
		       ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
		       : CUDA_SUCCESS;
}

CUresult mp_launch_check(struct CUctx_st *ctx, const struct mp_work_kernel *k)
{
	const int *a = ctx->device->attributes;
	const struct CUfunc_st *f = k->function;
	uint32_t threads;
	CUresult r;

	r = dimensions_check(a, k->grid, k->block);
	if (r)
		return r;
	threads = k->block[0] * k->block[1] * k->block[2];
	if (f->info->reqntid[0] && (k->block[0] != f->info->reqntid[0] ||
				    k->block[1] != (f->info->reqntid[1] ? f->info->reqntid[1] : 1) ||
				    k->block[2] != (f->info->reqntid[2] ? f->info->reqntid[2] : 1)))
		return CUDA_ERROR_INVALID_VALUE;
	if (threads > (uint32_t)f->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK])
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (k->shared > (uint32_t)f->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES])
		return CUDA_ERROR_INVALID_VALUE;
	r = cluster_check(a, k);
	return !r && k->cooperative ? cooperative_check(a, k) : r;
}

CUresult mp_launch_pack(struct mp_work_kernel *k, void **params, void **extra)
{
	const struct mp_exec_kernel_info *info = k->function->info;
	const void *buffer = NULL;
	const size_t *size = NULL;
	uint32_t i;

	if (params && extra)
		return CUDA_ERROR_INVALID_VALUE;
	k->param_bytes = info->param_bytes;
	k->own_params = NULL;
	if (!info->param_bytes)
		return CUDA_SUCCESS;
	if (!params && !extra)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; extra && extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
		if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER)
			buffer = extra[i + 1];
		else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE)
			size = extra[i + 1];
		else
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (extra && (!buffer || !size))
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; params && i < info->nparams; i++)
		if (!params[i])
			return CUDA_ERROR_INVALID_VALUE;
	k->own_params = calloc(1, info->param_bytes);
	if (!k->own_params)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (extra)
		memcpy(k->own_params, buffer,
		       *size < info->param_bytes ? *size : info->param_bytes);
	for (i = 0; params && i < info->nparams; i++)
		memcpy(k->own_params + info->param_offset[i], params[i], info->param_size[i]);
	return CUDA_SUCCESS;
}

CUresult mp_launch_attributes(struct mp_work_kernel *k, const CUlaunchAttribute *attrs, unsigned n)
{
	unsigned i;

	if (n && !attrs)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < n; i++) {
		const CUlaunchAttributeValue *v = &attrs[i].value;

		switch ((int)attrs[i].id) {
		case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: k->cooperative = v->cooperative != 0; break;
		case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
			if (!v->clusterDim.x || !v->clusterDim.y || !v->clusterDim.z)
				return CUDA_ERROR_INVALID_VALUE;
			k->cluster[0] = v->clusterDim.x;
			k->cluster[1] = v->clusterDim.y;
			k->cluster[2] = v->clusterDim.z;
			break;
		case CU_LAUNCH_ATTRIBUTE_PRIORITY: k->priority = v->priority; break;
		/*
		 * Hints: about caches, placement and overlap.  A grid that may start
		 * before its predecessor ends may also start after it.
		 */
		case CU_LAUNCH_ATTRIBUTE_IGNORE:
		case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
		case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
		case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
		case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
		case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
		case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
		case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
		case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING: break;
		case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
		case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
		case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
			return CUDA_ERROR_NOT_SUPPORTED;
		default: return CUDA_ERROR_INVALID_VALUE;
		}
	}
	if (!n)
		return CUDA_SUCCESS;
	k->own_attrs = malloc(n * sizeof(*attrs));
	if (!k->own_attrs)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(k->own_attrs, attrs, n * sizeof(*attrs));
	k->nattrs = n;
	return CUDA_SUCCESS;
}

CUresult mp_launch_start(struct mp_op *op, void (*done)(void *arg, const struct mp_exec_fault *f))
{
	const struct mp_work_kernel *k = &op->work.kernel;
	struct CUctx_st *ctx = op->work.ctx;
	const int *a = ctx->device->attributes;
	struct mp_exec *e = mp_soft_exec();
	struct mp_exec_grid g = {
		.dynamic_shared = k->shared,
		.params = k->own_params,
		.space = &ctx->space,
		.cooperative = k->cooperative,
		.priority = k->priority,
		.device = (uint32_t)ctx->device->index,
		.sm_count = (uint32_t)a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT],
		.warps_per_sm = (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] / 32,
		.grid_id = next_grid++,
		.done = done,
		.arg = op,
		.cancel = &ctx->cancel,
	};
	int i;

	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	/* A graph may outlive the module that its kernels came from. */
	if (!mp_handle_live(MP_FUNCTION, k->function))
		return CUDA_ERROR_INVALID_HANDLE;
	g.kernel = k->function->kernel;
	for (i = 0; i < 3; i++) {
		g.grid[i] = k->grid[i];
		g.block[i] = k->block[i];
		g.cluster[i] = k->cluster[i];
	}
	return mp_exec_result(mp_exec_submit(e, &g));
}

/* Decode before queueing, so that what is wrong with the kernel is said by the launch. */
static CUresult prepare(struct CUfunc_st *f)
{
	char err[400] = "";
	enum mp_exec_outcome o;

	if (MP_LIKELY(f->prepared))
		return CUDA_SUCCESS;
	o = mp_exec_kernel_prepare(f->kernel, err, sizeof(err));
	if (!o)
		f->prepared = true;
	else
		mp_log(MP_LOG_ERROR, "soft", "launch", "kernel=%s error=\"%s\"", f->info->name, err);
	return mp_exec_result(o);
}

/* A kernel that states its cluster is launched with it, and with no other. */
static CUresult cluster_stated(struct mp_work_kernel *k)
{
	const uint32_t *c = k->function->info->cluster;
	int i;

	if (!c[0] && !c[1] && !c[2])
		return CUDA_SUCCESS;
	for (i = 0; i < 3; i++) {
		uint32_t want = c[i] ? c[i] : 1;

		if (k->cluster[i] != 1 && k->cluster[i] != want)
			return CUDA_ERROR_INVALID_CLUSTER_SIZE;
		k->cluster[i] = want;
	}
	return CUDA_SUCCESS;
}

static CUresult launch(struct mp_work *w, CUfunction f, CUstream h, const CUlaunchAttribute *attrs,
		       unsigned nattrs, void **params, void **extra)
{
	struct mp_work_kernel *k = &w->kernel;
	struct CUstream_st *s;
	struct mp_op *op = NULL;
	bool blocking = mp_soft.config.launch_blocking;
	CUresult r;
	MP_ENTER(ctx);

	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_stream_find(ctx, h, &s);
	if (!r)
		r = mp_function_find(s->ctx, f, &k->function, &k->kernel);
	if (r)
		return r;
	if (k->function->module->ctx != s->ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	w->ctx = s->ctx;
	k->priority = s->priority;
	r = mp_launch_attributes(k, attrs, nattrs);
	if (!r)
		r = cluster_stated(k);
	if (!r)
		r = mp_launch_check(s->ctx, k);
	/* A null device takes the launch, checked, and has nothing to do. */
	if (!r && MP_UNLIKELY(mp_soft.config.null_mode) && !mp_captures_active) {
		if (params && extra)
			r = CUDA_ERROR_INVALID_VALUE;
		else if (k->function->info->param_bytes && !params && !extra)
			r = CUDA_ERROR_INVALID_VALUE;
		mp_work_fini(w);
		return r;
	}
	if (!r)
		r = prepare(k->function);
	if (!r)
		r = mp_launch_pack(k, params, extra);
	if (r) {
		mp_work_fini(w);
		return r;
	}
	r = mp_stream_submit(s, w, blocking ? &op : NULL);
	if (op) {
		mp_op_wait(op);
		mp_op_unref(op);
		mp_print_flush(s->ctx);
		return r ? r : (CUresult)s->ctx->error;
	}
	return r;
}

CUresult cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
			unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
			unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
			void **kernelParams, void **extra)
{
	struct mp_work w = {
		.kind = MP_WORK_KERNEL,
		.kernel = {.grid = {gridDimX, gridDimY, gridDimZ},
			   .block = {blockDimX, blockDimY, blockDimZ},
			   .cluster = {1, 1, 1},
			   .shared = sharedMemBytes},
	};

	return launch(&w, f, hStream, NULL, 0, kernelParams, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
				   unsigned int gridDimZ, unsigned int blockDimX,
				   unsigned int blockDimY, unsigned int blockDimZ,
				   unsigned int sharedMemBytes, CUstream hStream,
				   void **kernelParams)
{
	CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
	struct mp_work w = {
		.kind = MP_WORK_KERNEL,
		.kernel = {.grid = {gridDimX, gridDimY, gridDimZ},
			   .block = {blockDimX, blockDimY, blockDimZ},
			   .cluster = {1, 1, 1},
			   .shared = sharedMemBytes},
	};

	return launch(&w, f, hStream, &attr, 1, kernelParams, NULL);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
			  void **extra)
{
	const CUlaunchConfig *c = config;
	struct mp_work w;

	if (!c)
		return mp_soft_ready() ? mp_soft_ready() : CUDA_ERROR_INVALID_VALUE;
	w = (struct mp_work){
		.kind = MP_WORK_KERNEL,
		.kernel = {.grid = {c->gridDimX, c->gridDimY, c->gridDimZ},
			   .block = {c->blockDimX, c->blockDimY, c->blockDimZ},
			   .cluster = {1, 1, 1},
			   .shared = c->sharedMemBytes},
	};
	return launch(&w, f, c->hStream, c->attrs, c->numAttrs, kernelParams, extra);
}
