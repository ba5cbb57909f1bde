/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many blocks of a kernel fit on a multiprocessor at once: the CUDA occupancy
 * calculator (CUDA C++ Best Practices Guide, "Calculating Occupancy"; the spreadsheet's
 * table of allocation granularities per compute capability).
 *
 * Pure functions of attributes, so that the drop-in can answer at home what the
 * driver behind it would answer.  Four limits are taken and the smallest counts: blocks,
 * warps, registers, shared memory.  A preferred carve-out is a hint to the driver and
 * does not count; a driver gives a kernel the shared memory that it needs.
 */
#include "cuabi/cuabi.h"

#include <limits.h>

#include "base/check.h"

/* Registers are given to warps in units of 256; a multiprocessor has four register files. */
#define REGISTER_UNIT  256
#define REGISTER_FILES 4

struct device {
	int warp, threads_block, threads_sm, blocks_sm;
	int registers_block, registers_sm;
	int64_t shared_block, shared_sm, shared_reserved, shared_unit;
	int sms, clusters;
};

struct kernel {
	int threads, registers;
	int64_t shared, dynamic_max;
	bool cluster_required, cluster_large;
	int64_t cluster; /* blocks in the cluster the kernel was built for; 0 = any */
};

static int at_least(int v, int least)
{
	return v < least ? least : v;
}

static struct device device_of(const int *dev)
{
	struct device d = {
		.warp = at_least(dev[CU_DEVICE_ATTRIBUTE_WARP_SIZE], 1),
		.threads_block = dev[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.threads_sm = dev[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR],
		.blocks_sm = dev[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR],
		.registers_block = dev[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
		.registers_sm = dev[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR],
		.shared_block = dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN],
		.shared_sm = dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR],
		.shared_reserved = dev[CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK],
		/* 256 bytes up to compute capability 7.x, 128 from 8.0 on */
		.shared_unit = dev[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] >= 8 ? 128 : 256,
		.sms = dev[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT],
		.clusters = dev[CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH],
	};

	if (d.shared_block < dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK])
		d.shared_block = dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK];
	return d;
}

static struct kernel kernel_of(const int *func)
{
	struct kernel k = {
		.threads = func[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.registers = at_least(func[CU_FUNC_ATTRIBUTE_NUM_REGS], 0),
		.shared = at_least(func[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES], 0),
		.dynamic_max = func[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES],
		.cluster_required = func[CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET] != 0,
		.cluster_large = func[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] != 0,
		.cluster = (int64_t)func[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH] *
			   func[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT] *
			   func[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH],
	};

	return k;
}

static int round_up(int v, int unit)
{
	return (v + unit - 1) / unit * unit;
}

static int registers_limit(const struct device *d, const struct kernel *k, int warps)
{
	int a_warp = round_up(k->registers * d->warp, REGISTER_UNIT), held;

	if (!a_warp)
		return INT_MAX;
	/* A block's warps are spread over the register files evenly. */
	if ((int64_t)a_warp * round_up(warps, REGISTER_FILES) > d->registers_block)
		return 0;
	held = d->registers_sm / REGISTER_FILES / a_warp * REGISTER_FILES;
	return held / warps;
}

/* What a block takes of the multiprocessor's shared memory. */
static int64_t shared_taken(const struct device *d, int64_t bytes)
{
	return (bytes + d->shared_reserved + d->shared_unit - 1) / d->shared_unit * d->shared_unit;
}

static int shared_limit(const struct device *d, const struct kernel *k, size_t dynamic)
{
	int64_t taken;

	if (dynamic > (size_t)at_least((int)k->dynamic_max, 0) ||
	    (int64_t)dynamic + k->shared > d->shared_block)
		return 0;
	taken = shared_taken(d, (int64_t)dynamic + k->shared);
	return taken ? (int)(d->shared_sm / taken) : INT_MAX;
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

/* Blocks that fit; 0 when a block cannot be launched at all. */
static int blocks_fit(const struct device *d, const struct kernel *k, int block_size, size_t dynamic)
{
	int warps = (block_size + d->warp - 1) / d->warp, n;

	assert(block_size > 0);
	if (block_size > k->threads || block_size > d->threads_block)
		return 0;
	n = smaller(d->blocks_sm, d->threads_sm / d->warp / warps);
	n = smaller(n, registers_limit(d, k, warps));
	return smaller(n, shared_limit(d, k, dynamic));
}

CUresult mp_occupancy_blocks(const int *dev, const int *func, int block_size, size_t dynamic_shared,
			     unsigned flags, int *ret_blocks)
{
	struct device d;
	struct kernel k;

	if (!dev || !func || !ret_blocks || block_size <= 0 || flags > 1)
		return CUDA_ERROR_INVALID_VALUE;
	d = device_of(dev);
	k = kernel_of(func);
	*ret_blocks = blocks_fit(&d, &k, block_size, dynamic_shared);
	return CUDA_SUCCESS;
}

CUresult mp_occupancy_block_size(const int *dev, const int *func, CUoccupancyB2DSize b2d,
				 size_t dynamic_shared, int limit, unsigned flags,
				 int *ret_min_grid, int *ret_block_size)
{
	int top, size, best_size = 0, best_threads = 0, best_blocks = 0;
	struct device d;
	struct kernel k;

	if (!dev || !func || !ret_min_grid || !ret_block_size || limit < 0 || flags > 1)
		return CUDA_ERROR_INVALID_VALUE;
	d = device_of(dev);
	k = kernel_of(func);
	top = smaller(k.threads, d.threads_block);
	if (limit)
		top = smaller(top, limit);
	/* Whole warps from the largest down; only the first may be a part of one. */
	for (size = top; size > 0; size = (size - 1) / d.warp * d.warp) {
		size_t dynamic = b2d ? b2d(size) : dynamic_shared;
		int blocks = blocks_fit(&d, &k, size, dynamic);

		if (blocks * size > best_threads) {
			best_threads = blocks * size;
			best_blocks = blocks;
			best_size = size;
		}
		if (best_threads >= d.threads_sm)
			break; /* cannot get better */
	}
	*ret_block_size = best_size;
	*ret_min_grid = best_blocks * d.sms;
	return CUDA_SUCCESS;
}

CUresult mp_occupancy_dynamic_shared(const int *dev, const int *func, int blocks, int block_size,
				     size_t *ret_bytes)
{
	struct device d;
	struct kernel k;
	int64_t bytes;

	if (!dev || !func || !ret_bytes || blocks <= 0 || block_size <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	d = device_of(dev);
	k = kernel_of(func);
	*ret_bytes = 0;
	if (blocks_fit(&d, &k, block_size, 0) < blocks)
		return CUDA_SUCCESS; /* not so many even without any */
	bytes = d.shared_sm / blocks / d.shared_unit * d.shared_unit - d.shared_reserved;
	if (bytes > d.shared_block)
		bytes = d.shared_block;
	if (bytes > k.shared)
		*ret_bytes = (size_t)(bytes - k.shared);
	return CUDA_SUCCESS;
}

/* ---- Clusters (CUDA C++ Programming Guide, "Thread Block Clusters") ---- */

#define CLUSTER_PORTABLE 8
#define CLUSTER_LARGEST	 16

/* Blocks of a cluster as the launch states it, or as the kernel was built; 0 when neither does. */
static int64_t cluster_blocks(const struct kernel *k, const CUlaunchConfig *c)
{
	unsigned i;

	for (i = 0; i < c->numAttrs; i++) {
		const CUlaunchAttribute *a = &c->attrs[i];

		if (a->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
			continue;
		if (a->value.clusterDim.x > CLUSTER_LARGEST || a->value.clusterDim.y > CLUSTER_LARGEST ||
		    a->value.clusterDim.z > CLUSTER_LARGEST)
			return INT_MAX;
		return (int64_t)a->value.clusterDim.x * a->value.clusterDim.y *
		       a->value.clusterDim.z;
	}
	return k->cluster;
}

/* Blocks of this launch that the whole device holds. */
static CUresult device_blocks(const struct device *d, const struct kernel *k,
			      const CUlaunchConfig *c, int64_t *ret)
{
	uint64_t size = (uint64_t)c->blockDimX * c->blockDimY;

	if (!size || !c->blockDimZ || size > 1024 || size * c->blockDimZ > 1024 ||
	    (c->numAttrs && !c->attrs))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = (int64_t)blocks_fit(d, k, (int)(size * c->blockDimZ), c->sharedMemBytes) * d->sms;
	return CUDA_SUCCESS;
}

CUresult mp_occupancy_clusters(const int *dev, const int *func, const CUlaunchConfig *config,
			       int *ret_clusters)
{
	int64_t blocks, size;
	struct device d;
	struct kernel k;
	CUresult rc;

	if (!dev || !func || !config || !ret_clusters)
		return CUDA_ERROR_INVALID_VALUE;
	d = device_of(dev);
	k = kernel_of(func);
	if (!d.clusters)
		return CUDA_ERROR_NOT_SUPPORTED;
	rc = device_blocks(&d, &k, config, &blocks);
	if (rc)
		return rc;
	size = cluster_blocks(&k, config);
	if (!size && k.cluster_required)
		return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	if (!size)
		size = 1;
	if (size < 0 || size > (k.cluster_large ? CLUSTER_LARGEST : CLUSTER_PORTABLE))
		return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	*ret_clusters = (int)(blocks / size);
	return CUDA_SUCCESS;
}

CUresult mp_occupancy_cluster_size(const int *dev, const int *func, const CUlaunchConfig *config,
				   int *ret_size)
{
	int64_t blocks;
	struct device d;
	struct kernel k;
	CUresult rc;
	int size;

	if (!dev || !func || !config || !ret_size)
		return CUDA_ERROR_INVALID_VALUE;
	d = device_of(dev);
	k = kernel_of(func);
	if (!d.clusters)
		return CUDA_ERROR_NOT_SUPPORTED;
	rc = device_blocks(&d, &k, config, &blocks);
	if (rc)
		return rc;
	size = k.cluster_large ? CLUSTER_LARGEST : CLUSTER_PORTABLE;
	while (size > 1 && size > blocks)
		size /= 2;
	*ret_size = blocks ? size : 0;
	return CUDA_SUCCESS;
}
