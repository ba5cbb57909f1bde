/* SPDX-License-Identifier: Apache-2.0 */
/* Work: what an operation or a graph node does, as a value that can be copied. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#include "graph.h"

static void *duplicate(const void *p, size_t n)
{
	void *q = n ? malloc(n) : NULL;

	if (q)
		memcpy(q, p, n);
	return q;
}

static CUresult condition_copy(struct mp_work *dst, const struct mp_work *src)
{
	unsigned i;

	dst->cond.own_bodies = calloc(src->cond.size, sizeof(*dst->cond.own_bodies));
	for (i = 0; dst->cond.own_bodies && i < src->cond.size; i++) {
		dst->cond.own_bodies[i] = mp_graph_clone(src->cond.own_bodies[i]);
		if (!dst->cond.own_bodies[i])
			break;
	}
	if (i < src->cond.size) {
		while (i)
			mp_graph_free(dst->cond.own_bodies[--i]);
		free(dst->cond.own_bodies);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	mp_condition_ref(dst->cond.condition);
	return CUDA_SUCCESS;
}

CUresult mp_work_copy(struct mp_work *dst, const struct mp_work *src)
{
	*dst = *src;
	switch (src->kind) {
	case MP_WORK_KERNEL:
		dst->kernel.own_params = duplicate(src->kernel.own_params, src->kernel.param_bytes);
		dst->kernel.own_attrs = duplicate(src->kernel.own_attrs,
						  src->kernel.nattrs * sizeof(CUlaunchAttribute));
		if ((src->kernel.param_bytes && !dst->kernel.own_params) ||
		    (src->kernel.nattrs && !dst->kernel.own_attrs)) {
			free(dst->kernel.own_params);
			free(dst->kernel.own_attrs);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		break;
	case MP_WORK_COPY: assert(!src->copy.own_stage); break;
	case MP_WORK_MEMOPS:
		dst->memops.own_ops = duplicate(src->memops.own_ops,
						src->memops.count * sizeof(*src->memops.own_ops));
		if (src->memops.count && !dst->memops.own_ops)
			return CUDA_ERROR_OUT_OF_MEMORY;
		break;
	case MP_WORK_ALLOC: mp_graph_block_ref(src->alloc.block); break;
	case MP_WORK_FREE: mp_graph_block_ref(src->free.block); break;
	case MP_WORK_CHILD:
		dst->child = mp_graph_clone(src->child);
		if (!dst->child)
			return CUDA_ERROR_OUT_OF_MEMORY;
		break;
	case MP_WORK_CONDITION: return condition_copy(dst, src);
	default: assert(src->kind != MP_WORK_DEFAULTS); break;
	}
	return CUDA_SUCCESS;
}

void mp_work_fini(struct mp_work *w)
{
	unsigned i;

	switch (w->kind) {
	case MP_WORK_KERNEL:
		free(w->kernel.own_params);
		free(w->kernel.own_attrs);
		break;
	case MP_WORK_COPY: free(w->copy.own_stage); break;
	case MP_WORK_MEMOPS: free(w->memops.own_ops); break;
	case MP_WORK_ALLOC: mp_graph_block_unref(w->alloc.block); break;
	case MP_WORK_FREE: mp_graph_block_unref(w->free.block); break;
	case MP_WORK_CHILD: mp_graph_free(w->child); break;
	case MP_WORK_CONDITION:
		for (i = 0; i < w->cond.size; i++)
			mp_graph_free(w->cond.own_bodies[i]);
		free(w->cond.own_bodies);
		mp_condition_unref(w->cond.condition);
		break;
	case MP_WORK_DEFAULTS:
		for (i = 0; i < w->defaults.n; i++)
			mp_condition_unref(w->defaults.own_list[i]);
		free(w->defaults.own_list);
		break;
	default: break;
	}
	w->kind = MP_WORK_EMPTY;
}
