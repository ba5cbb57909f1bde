/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operations in stream order: write a value, wait for a value.
 *
 * A wait holds its stream only; the poller looks at the word until it is as
 * asked, so that anything may write it: a kernel, a copy, the program.
 */
#include "graph-node.h"

#include <stdlib.h>
#include <string.h>

static bool satisfied(uint64_t have, uint64_t want, unsigned flags, bool wide)
{
	uint64_t mask = wide ? UINT64_MAX : 0xffffffffu;

	switch (flags & ~(unsigned)CU_STREAM_WAIT_VALUE_FLUSH) {
	case CU_STREAM_WAIT_VALUE_GEQ: /* cyclic */
		return wide ? (int64_t)(have - want) >= 0
			    : (int32_t)((uint32_t)have - (uint32_t)want) >= 0;
	case CU_STREAM_WAIT_VALUE_EQ: return have == want;
	case CU_STREAM_WAIT_VALUE_AND: return have & want;
	default: return ~(have | want) & mask;
	}
}

static bool wait_done(const CUstreamBatchMemOpParams *p, bool wide)
{
	if (wide)
		return satisfied(__atomic_load_n((uint64_t *)p->waitValue.address, __ATOMIC_ACQUIRE),
				 p->waitValue.value64, p->waitValue.flags, true);
	return satisfied(__atomic_load_n((uint32_t *)p->waitValue.address, __ATOMIC_ACQUIRE),
			 p->waitValue.value, p->waitValue.flags, false);
}

bool mp_memops_run(struct mp_work *w)
{
	for (; w->memops.next < w->memops.count; w->memops.next++) {
		const CUstreamBatchMemOpParams *p = &w->memops.own_ops[w->memops.next];

		switch (p->operation) {
		case CU_STREAM_MEM_OP_WAIT_VALUE_32:
			if (!wait_done(p, false))
				return false;
			break;
		case CU_STREAM_MEM_OP_WAIT_VALUE_64:
			if (!wait_done(p, true))
				return false;
			break;
		case CU_STREAM_MEM_OP_WRITE_VALUE_32:
			mp_exec_check_wrote(p->writeValue.address, 4);
			__atomic_store_n((uint32_t *)p->writeValue.address, p->writeValue.value,
					 __ATOMIC_RELEASE);
			break;
		case CU_STREAM_MEM_OP_WRITE_VALUE_64:
			mp_exec_check_wrote(p->writeValue.address, 8);
			__atomic_store_n((uint64_t *)p->writeValue.address, p->writeValue.value64,
					 __ATOMIC_RELEASE);
			break;
		default: __atomic_thread_fence(__ATOMIC_SEQ_CST);
		}
	}
	return true;
}

static bool word_valid(CUdeviceptr addr, unsigned size)
{
	struct mp_range r;

	return !(addr % size) && mp_memory_span(addr, size, &r) &&
	       (r.kind != MP_RANGE_VMM || r.access);
}

static CUresult check(const CUstreamBatchMemOpParams *p)
{
	switch ((int)p->operation) {
	case CU_STREAM_MEM_OP_WAIT_VALUE_32:
	case CU_STREAM_MEM_OP_WAIT_VALUE_64:
		if ((p->waitValue.flags & ~(unsigned)CU_STREAM_WAIT_VALUE_FLUSH) > 3)
			return CUDA_ERROR_INVALID_VALUE;
		if (p->waitValue.flags & CU_STREAM_WAIT_VALUE_FLUSH)
			return CUDA_ERROR_NOT_SUPPORTED;
		break;
	case CU_STREAM_MEM_OP_WRITE_VALUE_32:
	case CU_STREAM_MEM_OP_WRITE_VALUE_64:
		if (p->writeValue.flags & ~1u)
			return CUDA_ERROR_INVALID_VALUE;
		break;
	case CU_STREAM_MEM_OP_BARRIER: return CUDA_SUCCESS;
	case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES: return CUDA_ERROR_NOT_SUPPORTED;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	return word_valid(p->waitValue.address,
			  p->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
					  p->operation == CU_STREAM_MEM_OP_WRITE_VALUE_64
				  ? 8
				  : 4)
		       ? CUDA_SUCCESS
		       : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_memops_check(const CUstreamBatchMemOpParams *ops, unsigned n)
{
	CUresult r = CUDA_SUCCESS;
	unsigned i;

	for (i = 0; i < n && !r; i++)
		r = check(&ops[i]);
	return r;
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned int count,
			       CUstreamBatchMemOpParams *paramArray, unsigned int flags)
{
	struct mp_work w = {.kind = MP_WORK_MEMOPS};
	struct CUstream_st *s;
	CUresult r;
	MP_ENTER(ctx);

	if (!paramArray || count > 256 || flags)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_stream_find(ctx, stream, &s);
	if (!r)
		r = mp_memops_check(paramArray, count);
	if (r || !count)
		return r;
	w.ctx = s->ctx;
	w.memops.own_ops = malloc(count * sizeof(*paramArray));
	if (!w.memops.own_ops)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(w.memops.own_ops, paramArray, count * sizeof(*paramArray));
	w.memops.count = count;
	return mp_stream_submit(s, &w, NULL);
}

CUresult cuStreamBatchMemOp(CUstream stream, unsigned int count,
			    CUstreamBatchMemOpParams *paramArray, unsigned int flags)
{
	return cuStreamBatchMemOp_v2(stream, count, paramArray, flags);
}

static CUresult one(CUstream h, CUstreamBatchMemOpType op, CUdeviceptr addr, uint64_t value,
		    unsigned flags)
{
	/* Waits and writes have one layout: operation, address, value, flags. */
	CUstreamBatchMemOpParams p = {
		.waitValue = {.operation = op, .address = addr, .value64 = value, .flags = flags}};

	return cuStreamBatchMemOp_v2(h, 1, &p, 0);
}

CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
				unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WAIT_VALUE_32, addr, value, flags);
}

CUresult cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
				unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WAIT_VALUE_64, addr, value, flags);
}

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
				 unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WRITE_VALUE_32, addr, value, flags);
}

CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
				 unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WRITE_VALUE_64, addr, value, flags);
}

CUresult cuStreamWaitValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value,
			     unsigned int flags)
{
	return cuStreamWaitValue32_v2(stream, addr, value, flags);
}

CUresult cuStreamWaitValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value,
			     unsigned int flags)
{
	return cuStreamWaitValue64_v2(stream, addr, value, flags);
}

CUresult cuStreamWriteValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value,
			      unsigned int flags)
{
	return cuStreamWriteValue32_v2(stream, addr, value, flags);
}

CUresult cuStreamWriteValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value,
			      unsigned int flags)
{
	return cuStreamWriteValue64_v2(stream, addr, value, flags);
}
