/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about functions and occupancy: answers must be the same and agree with one another. */
#include "call.h"

static size_t CUDA_CB shared_for(int threads)
{
	return (size_t)threads * 16;
}

static void about(const char *name)
{
	static const CUfunction_attribute which[] = {
		CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
		CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, CU_FUNC_ATTRIBUTE_NUM_REGS,
		CU_FUNC_ATTRIBUTE_PTX_VERSION, CU_FUNC_ATTRIBUTE_BINARY_VERSION,
		CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES};
	CUfunction f = call_function(name);
	int i, n = -1, threads, grid, block;
	size_t room = 0, offset, size, k;
	const char *is = NULL;

	SAY(cuFuncGetName(&is, f));
	call_line("%s", is ? is : "?");
	for (i = 0; i < (int)COUNT(which); i++) {
		MUST(cuFuncGetAttribute(&n, which[i], f));
		call_line("attribute %d = %d", which[i], n);
	}
	for (threads = 32; threads <= 1024; threads *= 2) {
		CUresult r = cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, threads, 1024);

		call_line("blocks of %d threads: %d (%d)", threads, n, r);
	}
	SAY(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&n, f, 128, 0, 0));
	call_line("%d", n);
	SAY(cuOccupancyMaxPotentialBlockSize(&grid, &block, f, NULL, 0, 0));
	call_line("grid %d block %d", grid, block);
	SAY(cuOccupancyMaxPotentialBlockSize(&grid, &block, f, shared_for, 0, 200));
	call_line("grid %d block %d", grid, block);
	SAY(cuOccupancyAvailableDynamicSMemPerBlock(&room, f, 2, 128));
	call_line("%zu", room);
	for (k = 0; cuFuncGetParamInfo(f, k, &offset, &size) == CUDA_SUCCESS; k++)
		call_line("parameter %zu at %zu, %zu bytes", k, offset, size);
	SAY(cuFuncGetParamInfo(f, k, &offset, &size));
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUfunction f = call_function("total");
	int n = -1;

	about("vadd");
	about("matmul");
	about("narrow");
	about("eight");
	about("nothing");
	SAY(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000));
	SAY(cuFuncGetAttribute(&n, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f));
	call_line("%d", n);
	SAY(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 10 << 20));
	SAY(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 3));
	SAY(cuFuncSetCacheConfig(f, CU_FUNC_CACHE_PREFER_SHARED));
	SAY(cuFuncGetAttribute(&n, (CUfunction_attribute)999, f));
	SAY(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 0, 0));
	return call_end(ctx);
}
