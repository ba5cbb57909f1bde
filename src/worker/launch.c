/* SPDX-License-Identifier: Apache-2.0 */
/* Launches: one record each, the kernel's parameters as one packed block. Executor. */
#include "worker/inside.h"

#include <string.h>

/* What the driver's `extra` wants; lives in the caller's frame during the call. */
struct param_block {
	void *extra[5];
	size_t size;
};

static void **param_extra(struct param_block *b, const void *params, uint64_t n)
{
	if (!n)
		return NULL;
	b->size = n;
	b->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
	b->extra[1] = (void *)(uintptr_t)params;
	b->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
	b->extra[3] = &b->size;
	b->extra[4] = CU_LAUNCH_PARAM_END;
	return b->extra;
}

CUresult mp_do_cuLaunchKernel(struct mp_job *job, const struct mp_msg_cuLaunchKernel *m)
{
	struct param_block b;
	void *f;
	CUresult e = mp_job_get(job, MP_KIND_function, m->f, &f);

	if (MP_UNLIKELY(e || !f))
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	job->w->launches++;
	return job->w->drv.cuLaunchKernel(f, m->gridDimX, m->gridDimY, m->gridDimZ, m->blockDimX, m->blockDimY,
					  m->blockDimZ, m->sharedMemBytes, job->stream->handle, NULL,
					  param_extra(&b, m->params, m->params_len));
}

/* Attributes of a launch as the driver has them; those that hold an event name it by id. */
CUresult mp_launch_attrs(struct mp_job *job, const struct mp_launch_attr *in, uint32_t n, CUlaunchAttribute **ret)
{
	CUlaunchAttribute *a = mp_job_scratch(job, (n + 1) * sizeof(*a));
	uint32_t i;

	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n; i++) {
		void *ev;
		CUresult e = mp_job_get(job, MP_KIND_event, in[i].event, &ev);

		if (e)
			return e;
		a[i].id = (CUlaunchAttributeID)in[i].id;
		memcpy(&a[i].value, in[i].value, sizeof(in[i].value));
		switch (a[i].id) {
		case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
			a[i].value.programmaticEvent.event = ev;
			break;
		case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
			a[i].value.launchCompletionEvent.event = ev;
			break;
		case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
			return CUDA_ERROR_NOT_SUPPORTED; /* holds a driver's handle */
		default:
			break;
		}
	}
	*ret = a;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuLaunchKernelEx(struct mp_job *job, const struct mp_msg_cuLaunchKernelEx *m)
{
	const struct mp_kernel_call *k = &m->call;
	struct param_block b;
	CUlaunchConfig cfg = {
		.gridDimX = k->gridDimX, .gridDimY = k->gridDimY, .gridDimZ = k->gridDimZ,
		.blockDimX = k->blockDimX, .blockDimY = k->blockDimY, .blockDimZ = k->blockDimZ,
		.sharedMemBytes = k->sharedMemBytes, .hStream = job->stream->handle, .numAttrs = m->attrs_count,
	};
	void *f;
	CUresult e = mp_job_get(job, MP_KIND_function, k->func, &f);

	if (e || !f)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	if (!job->w->drv.cuLaunchKernelEx)
		return CUDA_ERROR_NOT_SUPPORTED;
	e = mp_launch_attrs(job, m->attrs, m->attrs_count, &cfg.attrs);
	if (e)
		return e;
	job->w->launches++;
	return job->w->drv.cuLaunchKernelEx(&cfg, f, NULL, param_extra(&b, k->params, k->params_len));
}

/* The cooperative call takes single parameters only; the same launch with an attribute takes a block. */
CUresult mp_do_cuLaunchCooperativeKernel(struct mp_job *job, const struct mp_msg_cuLaunchCooperativeKernel *m)
{
	const struct mp_kernel_call *k = &m->call;
	struct param_block b;
	CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
	CUlaunchConfig cfg = {
		.gridDimX = k->gridDimX, .gridDimY = k->gridDimY, .gridDimZ = k->gridDimZ,
		.blockDimX = k->blockDimX, .blockDimY = k->blockDimY, .blockDimZ = k->blockDimZ,
		.sharedMemBytes = k->sharedMemBytes, .hStream = job->stream->handle,
		.attrs = &a, .numAttrs = 1,
	};
	void *f;
	CUresult e = mp_job_get(job, MP_KIND_function, k->func, &f);

	if (e || !f)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	if (!job->w->drv.cuLaunchKernelEx)
		return CUDA_ERROR_NOT_SUPPORTED;
	job->w->launches++;
	return job->w->drv.cuLaunchKernelEx(&cfg, f, NULL, param_extra(&b, k->params, k->params_len));
}

/* ---- Occupancy of clusters: the same description of a launch ---- */

static CUresult occupancy_config(struct mp_job *job, const struct mp_kernel_call *k,
				 const struct mp_launch_attr *attrs, uint32_t n, CUlaunchConfig *cfg, void **f)
{
	CUresult e = mp_job_get(job, MP_KIND_function, k->func, f);

	if (e || !*f)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	*cfg = (CUlaunchConfig){
		.gridDimX = k->gridDimX, .gridDimY = k->gridDimY, .gridDimZ = k->gridDimZ,
		.blockDimX = k->blockDimX, .blockDimY = k->blockDimY, .blockDimZ = k->blockDimZ,
		.sharedMemBytes = k->sharedMemBytes, .numAttrs = n,
	};
	return mp_launch_attrs(job, attrs, n, &cfg->attrs);
}

CUresult mp_do_cuOccupancyMaxPotentialClusterSize(struct mp_job *job,
						  const struct mp_msg_cuOccupancyMaxPotentialClusterSize *m,
						  struct mp_rep_cuOccupancyMaxPotentialClusterSize *r)
{
	CUlaunchConfig cfg;
	void *f;
	int v = 0;
	CUresult e = occupancy_config(job, &m->call, m->attrs, m->attrs_count, &cfg, &f);

	if (!job->w->drv.cuOccupancyMaxPotentialClusterSize)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuOccupancyMaxPotentialClusterSize(&v, f, &cfg);
	r->clusterSize = v;
	return e;
}

CUresult mp_do_cuOccupancyMaxActiveClusters(struct mp_job *job, const struct mp_msg_cuOccupancyMaxActiveClusters *m,
					    struct mp_rep_cuOccupancyMaxActiveClusters *r)
{
	CUlaunchConfig cfg;
	void *f;
	int v = 0;
	CUresult e = occupancy_config(job, &m->call, m->attrs, m->attrs_count, &cfg, &f);

	if (!job->w->drv.cuOccupancyMaxActiveClusters)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e)
		e = job->w->drv.cuOccupancyMaxActiveClusters(&v, f, &cfg);
	r->numClusters = v;
	return e;
}

/* ---- Others that take a tagged value or a batch ---- */

CUresult mp_do_cuStreamSetAttribute(struct mp_job *job, const struct mp_msg_cuStreamSetAttribute *m)
{
	CUstreamAttrValue v;

	static_assert(sizeof(v) == sizeof(m->value), "an attribute's value is 64 bytes");
	memcpy(&v, m->value, sizeof(v));
	switch ((CUstreamAttrID)m->attr) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
		break;
	default: /* might hold a pointer */
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (!job->w->drv.cuStreamSetAttribute)
		return CUDA_ERROR_NOT_SUPPORTED;
	return job->w->drv.cuStreamSetAttribute(job->stream->handle, (CUstreamAttrID)m->attr, &v);
}

CUresult mp_mem_ops(struct mp_job *job, const struct mp_mem_op *in, uint32_t n, CUstreamBatchMemOpParams **ret)
{
	CUstreamBatchMemOpParams *op = mp_job_scratch(job, (n + 1) * sizeof(*op));
	uint32_t i;

	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < n; i++) {
		op[i].operation = (CUstreamBatchMemOpType)in[i].operation;
		switch (op[i].operation) {
		case CU_STREAM_MEM_OP_WAIT_VALUE_32:
		case CU_STREAM_MEM_OP_WAIT_VALUE_64:
			op[i].waitValue.address = in[i].address;
			op[i].waitValue.value64 = in[i].value;
			op[i].waitValue.flags = in[i].flags;
			op[i].waitValue.alias = in[i].alias;
			break;
		case CU_STREAM_MEM_OP_WRITE_VALUE_32:
		case CU_STREAM_MEM_OP_WRITE_VALUE_64:
			op[i].writeValue.address = in[i].address;
			op[i].writeValue.value64 = in[i].value;
			op[i].writeValue.flags = in[i].flags;
			op[i].writeValue.alias = in[i].alias;
			break;
		case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
			op[i].flushRemoteWrites.flags = in[i].flags;
			break;
		case CU_STREAM_MEM_OP_BARRIER:
			op[i].memoryBarrier.flags = in[i].flags;
			break;
		default:
			return CUDA_ERROR_INVALID_VALUE;
		}
	}
	*ret = op;
	return CUDA_SUCCESS;
}

CUresult mp_do_cuStreamBatchMemOp_v2(struct mp_job *job, const struct mp_msg_cuStreamBatchMemOp_v2 *m)
{
	CUstreamBatchMemOpParams *op;
	CUresult e = mp_mem_ops(job, m->ops, m->ops_count, &op);

	if (e)
		return e;
	if (!job->w->drv.cuStreamBatchMemOp_v2)
		return CUDA_ERROR_NOT_SUPPORTED;
	return job->w->drv.cuStreamBatchMemOp_v2(job->stream->handle, m->ops_count, op, m->flags);
}

CUresult mp_do_cuCtxSetLimit(struct mp_job *job, const struct mp_msg_cuCtxSetLimit *m,
			     struct mp_rep_cuCtxSetLimit *r)
{
	struct mp_worker *w = job->w;
	size_t before = 0, after = 0, total;
	bool known;
	CUresult e;

	if (!job->ctx) {
		job->violation = true;
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	known = w->drv.cuMemGetInfo_v2 && !w->drv.cuMemGetInfo_v2(&before, &total);
	e = w->drv.cuCtxSetLimit((CUlimit)m->limit, m->value);
	/* What the context grew by is known only afterwards; over the limit it is not undone, but stays charged. */
	if (!e && known && !w->drv.cuMemGetInfo_v2(&after, &total) && after < before &&
	    !mp_account_take(w, (unsigned)job->ctx->device, before - after))
		job->ctx->charged += before - after;
	return e;
}
