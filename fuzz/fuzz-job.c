/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lying client against the worker's dispatch: decoders and generated bodies,
 * above a driver that reads every array it is given to its end.  Input: u16
 * number, u16 0, then the payload.  Hand-written bodies are the weak defaults.
 *
 * Promises: a malformed payload does nothing; a body calls the driver with
 * arrays as long as it says, strings that end, and handles from the table.
 */
#include "fuzz.h"

#include <string.h>

#include "abi/cuda.h"
#include "cuabi/cuabi.h"
#include "mp-call.h"
#include "mp-drv.h"
#include "mp-job.h"

static struct mp_drv drv;
static uint8_t *blocks[64];
static size_t block_count, scratch_bytes;
static volatile uint64_t sink;

static void *block(size_t n)
{
	if (block_count == sizeof(blocks) / sizeof(blocks[0]))
		return NULL;
	return blocks[block_count++] = calloc(1, n ? n : 1);
}

/* ---- The worker's side. ---- */

const struct mp_drv *mp_job_drv(struct mp_job *job)
{
	return &drv;
}

CUresult mp_job_get(struct mp_job *job, enum mp_kind kind, uint32_t id, void **ret)
{
	FUZZ_CHECK(kind > MP_KIND_none && kind < MP_KINDS);
	if (id % 16 == 15)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = id ? (void *)(uintptr_t)(0x1000 + kind) : NULL;
	return CUDA_SUCCESS;
}

CUresult mp_job_device(struct mp_job *job, int32_t device, CUdevice *ret)
{
	*ret = device & 3;
	return device & 4 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult mp_job_bind(struct mp_job *job, enum mp_kind kind, uint32_t id, void *handle)
{
	return id % 16 == 14 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

void mp_job_unbind(struct mp_job *job, enum mp_kind kind, uint32_t id)
{
}

void *mp_job_scratch(struct mp_job *job, size_t n)
{
	if (n > (1 << 20) - scratch_bytes)
		return NULL;
	scratch_bytes += n;
	return block(n);
}

uint8_t *mp_job_reply(struct mp_job *job, size_t n)
{
	FUZZ_CHECK(n % 8 == 0 && n <= 1 << 16);
	return block(n);
}

/* ---- The driver: defaults answer success, these read. ---- */

CUresult mp_soft_refused(enum mp_call call);
CUresult mp_soft_refused(enum mp_call call)
{
	return CUDA_SUCCESS;
}

static void read_nodes(const CUgraphNode *node, size_t n)
{
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(!node[i] || node[i] == (CUgraphNode)(uintptr_t)(0x1000 + MP_KIND_node));
}

static void read_bytes(const void *p, size_t n)
{
	for (size_t i = 0; p && i < n; i++)
		sink += ((const uint8_t *)p)[i];
}

CUresult cuGraphAddEmptyNode(CUgraphNode *phGraphNode, CUgraph hGraph,
			     const CUgraphNode *dependencies, size_t numDependencies)
{
	read_nodes(dependencies, numDependencies);
	*phGraphNode = NULL;
	return CUDA_SUCCESS;
}

CUresult cuGraphAddMemsetNode(CUgraphNode *phGraphNode, CUgraph hGraph,
			      const CUgraphNode *dependencies, size_t numDependencies,
			      const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx)
{
	read_nodes(dependencies, numDependencies);
	read_bytes(memsetParams, sizeof(*memsetParams));
	*phGraphNode = NULL;
	return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
				size_t numDependencies)
{
	read_nodes(from, numDependencies);
	read_nodes(to, numDependencies);
	return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
				   const CUgraphEdgeData *edgeData, size_t numDependencies)
{
	read_nodes(from, numDependencies);
	read_nodes(to, numDependencies);
	read_bytes(edgeData, numDependencies * sizeof(*edgeData));
	return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
	read_bytes(desc, count * sizeof(*desc));
	return CUDA_SUCCESS;
}

/* ---- */

static void open_driver(void)
{
	if (drv.cuInit)
		return;
	for (size_t i = 0; i < MP_DRV_EXPORTS; i++)
		for (size_t k = 0; k < mp_proc_count; k++)
			if (!strcmp(mp_proc_table[k].name, mp_drv_slots[i].name))
				*(void **)((char *)&drv + mp_drv_slots[i].offset) =
					mp_proc_table[k].entry;
	FUZZ_CHECK(drv.cuInit && drv.cuMemSetAccess == cuMemSetAccess);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CUresult r = (CUresult)-1;
	uint32_t number;
	uint8_t *in;
	int done;

	open_driver();
	if (size < 4 || size > 1 << 14)
		return 0;
	number = data[0] | (uint32_t)data[1] << 8;
	if (!mp_call_find(number))
		number = mp_call_table[number % mp_call_count].number;
	size -= 4;
	in = malloc(size ? size : 1);
	FUZZ_CHECK(in);
	memcpy(in, data + 4, size);
	scratch_bytes = 0;
	done = mp_job_dispatch(NULL, number, in, size, &r);
	FUZZ_CHECK(done == 0 || (done == -1 && r == (CUresult)-1 && !block_count));
	while (block_count)
		free(blocks[--block_count]);
	free(in);
	return 0;
}
