/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Occupancy against worked examples: the limits of the CUDA C++ Programming Guide's
 * table of compute capabilities, with the spreadsheet calculator's granularities.
 */
#include "base/check.h"
#include "base/test.h"
#include "cuabi/cuabi.h"

static int device[CU_DEVICE_ATTRIBUTE_MAX], func[CU_FUNC_ATTRIBUTE_MAX];

/* major, threads and blocks per multiprocessor, shared memory per multiprocessor and block. */
static void device_set(int major, int threads, int blocks, int shared_sm, int optin, int reserved)
{
	memset(device, 0, sizeof(device));
	device[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = major;
	device[CU_DEVICE_ATTRIBUTE_WARP_SIZE] = 32;
	device[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024;
	device[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] = threads;
	device[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR] = blocks;
	device[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK] = 65536;
	device[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR] = 65536;
	device[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK] = 49152;
	device[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] = optin;
	device[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR] = shared_sm;
	device[CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK] = reserved;
	device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = 10;
	device[CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH] = major >= 9;
}

static void func_set(int threads, int registers, int shared)
{
	memset(func, 0, sizeof(func));
	func[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = threads;
	func[CU_FUNC_ATTRIBUTE_NUM_REGS] = registers;
	func[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = shared;
	func[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 49152 - shared;
}

static int blocks(int size, size_t dynamic)
{
	int n = -1;

	MP_CHECK_EQ(mp_occupancy_blocks(device, func, size, dynamic, 0, &n), CUDA_SUCCESS);
	return n;
}

static void volta(void)
{
	device_set(7, 2048, 32, 98304, 98304, 0);
}

static void turing(void)
{
	device_set(7, 1024, 16, 65536, 65536, 0);
}

static void ampere(void)
{
	device_set(8, 2048, 32, 167936, 166912, 1024);
}

static void hopper(void)
{
	device_set(9, 2048, 32, 233472, 232448, 1024);
}

MP_TEST(each_limit)
{
	volta();
	func_set(1024, 16, 0);
	MP_CHECK_EQ(blocks(32, 0), 32);	  /* blocks */
	MP_CHECK_EQ(blocks(256, 0), 8);	  /* warps: 64 / 8 */
	MP_CHECK_EQ(blocks(1024, 0), 2);
	MP_CHECK_EQ(blocks(33, 0), 32);	  /* two warps each */
	MP_CHECK_EQ(blocks(1025, 0), 0);
	func_set(1024, 37, 0); /* 37 * 32 = 1184 -> 1280 a warp; 12 in each of 4 files: 48 warps */
	MP_CHECK_EQ(blocks(256, 0), 6);
	MP_CHECK_EQ(blocks(1024, 0), 1);
	func_set(1024, 65, 0); /* 2304 a warp, 7 a file, 28 warps; 32 warps exceed the block */
	MP_CHECK_EQ(blocks(1024, 0), 0);
	MP_CHECK_EQ(blocks(256, 0), 3);
	func_set(1024, 16, 10000); /* -> 10240 of 98304 */
	MP_CHECK_EQ(blocks(64, 0), 9);
	MP_CHECK_EQ(blocks(64, 39152), 2);
	MP_CHECK_EQ(blocks(64, 39153), 0); /* more than was opted in */
	func_set(128, 16, 0);
	MP_CHECK_EQ(blocks(129, 0), 0); /* the kernel's own bound */
}

MP_TEST(generations)
{
	turing();
	func_set(1024, 16, 0);
	MP_CHECK_EQ(blocks(64, 0), 16);
	MP_CHECK_EQ(blocks(256, 0), 4);
	ampere(); /* 1 KiB of each block is reserved, units of 128 */
	func_set(1024, 16, 16384);
	MP_CHECK_EQ(blocks(128, 0), 9); /* 167936 / 17408 */
	hopper();
	MP_CHECK_EQ(blocks(128, 0), 13); /* 233472 / 17408 */
}

MP_TEST(bad_arguments)
{
	int n;

	volta();
	func_set(1024, 16, 0);
	MP_CHECK_EQ(mp_occupancy_blocks(device, func, 0, 0, 0, &n), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_occupancy_blocks(device, func, -1, 0, 0, &n), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_occupancy_blocks(device, func, 1, 0, 2, &n), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_occupancy_blocks(device, func, 1, 0, 0, NULL), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_occupancy_blocks(NULL, func, 1, 0, 0, &n), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_occupancy_blocks(device, func, 1, 0, 1, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(blocks(32, SIZE_MAX), 0);
}

static size_t b2d_calls;

static size_t per_thread(int block_size)
{
	b2d_calls++;
	return (size_t)block_size * 96;
}

MP_TEST(best_block_size)
{
	int grid, size;

	volta();
	func_set(1024, 16, 0);
	MP_CHECK_EQ(mp_occupancy_block_size(device, func, NULL, 0, 0, 0, &grid, &size), 0);
	MP_CHECK(size == 1024 && grid == 20);
	MP_CHECK_EQ(mp_occupancy_block_size(device, func, NULL, 0, 500, 0, &grid, &size), 0);
	MP_CHECK_EQ(size, 256); /* 8 x 256 fill it; 500 and 480 do not */
	MP_CHECK_EQ(grid, 80);
	func_set(1024, 65, 0);
	MP_CHECK_EQ(mp_occupancy_block_size(device, func, NULL, 0, 0, 0, &grid, &size), 0);
	MP_CHECK_EQ(size, 896); /* 28 warps in one block */
	MP_CHECK_EQ(grid, 10);
	func_set(1024, 16, 0);
	MP_CHECK_EQ(mp_occupancy_block_size(device, func, per_thread, 0, 0, 0, &grid, &size), 0);
	MP_CHECK(b2d_calls > 1);
	MP_CHECK_EQ(size, 512); /* 96 bytes a thread: 1024 threads, in two blocks of 512 */
	MP_CHECK_EQ(grid, 20);
	MP_CHECK_EQ(mp_occupancy_block_size(device, func, NULL, 0, -1, 0, &grid, &size),
		    CUDA_ERROR_INVALID_VALUE);
}

MP_TEST(dynamic_shared)
{
	size_t bytes;

	ampere();
	func_set(1024, 16, 1000);
	/* 167936 / 4 = 41984, less 1024 reserved and 1000 static */
	MP_CHECK_EQ(mp_occupancy_dynamic_shared(device, func, 4, 256, &bytes), CUDA_SUCCESS);
	MP_CHECK_EQ(bytes, 39960);
	func[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 165912;
	MP_CHECK_EQ(blocks(256, bytes), 4);
	MP_CHECK_EQ(blocks(256, bytes + 1), 3);
	MP_CHECK_EQ(mp_occupancy_dynamic_shared(device, func, 1, 256, &bytes), CUDA_SUCCESS);
	MP_CHECK_EQ(bytes, 165912);
	MP_CHECK_EQ(mp_occupancy_dynamic_shared(device, func, 9, 256, &bytes), CUDA_SUCCESS);
	MP_CHECK_EQ(bytes, 0); /* eight at most */
	MP_CHECK_EQ(mp_occupancy_dynamic_shared(device, func, 0, 256, &bytes),
		    CUDA_ERROR_INVALID_VALUE);
}

MP_TEST(clusters)
{
	CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
				  .value.clusterDim = {4, 2, 1}};
	CUlaunchConfig c = {.gridDimX = 64, .gridDimY = 2, .gridDimZ = 1, .blockDimX = 256,
			    .blockDimY = 1, .blockDimZ = 1, .attrs = &attr, .numAttrs = 1};
	int n = -1;

	volta();
	func_set(1024, 16, 0);
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_ERROR_NOT_SUPPORTED);
	hopper();
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, 10); /* 8 blocks on each of 10 multiprocessors */
	attr.value.clusterDim.x = 8;
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_ERROR_INVALID_CLUSTER_SIZE);
	func[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1;
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, 5);
	attr.value.clusterDim.y = 0x80000000u;
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_ERROR_INVALID_CLUSTER_SIZE);
	MP_CHECK_EQ(mp_occupancy_cluster_size(device, func, &c, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, 16);
	func[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 0;
	MP_CHECK_EQ(mp_occupancy_cluster_size(device, func, &c, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, 8);
	c.blockDimX = 0;
	MP_CHECK_EQ(mp_occupancy_clusters(device, func, &c, &n), CUDA_ERROR_INVALID_VALUE);
}

MP_TEST_MAIN()
