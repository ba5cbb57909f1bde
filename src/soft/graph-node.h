/* SPDX-License-Identifier: Apache-2.0 */
/* Node parameters of CUDA to work; shared by graphs and executable graphs. */
#ifndef MP_SOFT_GRAPH_NODE_H
#define MP_SOFT_GRAPH_NODE_H

#include "graph.h"

/* Each: SUCCESS with *w made (the caller owns it), or an error and nothing to free. */
CUresult mp_make_kernel(const CUDA_KERNEL_NODE_PARAMS *p, struct mp_work *w);
CUresult mp_make_copy(const CUDA_MEMCPY3D *p, CUcontext named, struct mp_work *w);
CUresult mp_make_fill(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext named, struct mp_work *w);
CUresult mp_make_host(const CUDA_HOST_NODE_PARAMS *p, struct mp_work *w);
CUresult mp_make_event(enum mp_work_kind kind, CUevent event, struct mp_work *w);
CUresult mp_make_memops(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p, struct mp_work *w);
CUresult mp_make_any(CUgraphNodeParams *p, struct mp_work *w);
/* Put the work into the node, unless making it failed with `made`. */
CUresult mp_node_replace(struct CUgraphNode_st *n, struct mp_work *own_work, CUresult made);
CUresult mp_memops_check(const CUstreamBatchMemOpParams *ops, unsigned n);

#endif
