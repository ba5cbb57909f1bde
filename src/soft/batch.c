/* SPDX-License-Identifier: Apache-2.0 */
/* Many boxes in one call: as many copies, in order; the first that fails ends the call. */
#include "inside.h"

static size_t element_of(const CUmemcpy3DOperand *o)
{
	return o->type == CU_MEMCPY_OPERAND_TYPE_ARRAY && mp_handle_live(MP_ARRAY, o->op.array.array)
		       ? o->op.array.array->texel.bytes
		       : 0;
}

CUresult cuMemcpy3DBatchAsync(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, size_t *failIdx,
			      unsigned long long flags, CUstream hStream)
{
	CUDA_MEMCPY3D c;
	size_t i, element;
	CUresult r = CUDA_SUCCESS;
	MP_ENTER(ctx);

	(void)ctx;
	if (!numOps || !opList || flags || !hStream || hStream == CU_STREAM_LEGACY)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < numOps && !r; i++) {
		element = element_of(&opList[i].src);
		if (!element)
			element = element_of(&opList[i].dst);
		r = mp_box_of_op(&c, &opList[i], element ? element : 1) ? cuMemcpy3DAsync_v2(&c, hStream)
									  : CUDA_ERROR_INVALID_VALUE;
		if (r && failIdx)
			*failIdx = i;
	}
	return r;
}

CUresult cuMemcpy3DBatchAsync_v2(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, unsigned long long flags,
				 CUstream hStream)
{
	return cuMemcpy3DBatchAsync(numOps, opList, NULL, flags, hStream);
}
