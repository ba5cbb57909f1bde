/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the engine while it is not there: every call answers that it cannot. */
#include "exec/exec.h"

enum mp_exec_outcome mp_exec_module_load(const char *ptx, size_t len, const struct mp_exec_alloc *alloc,
					 struct mp_exec_module **ret_module, char *err, size_t err_size)
{
	return MP_EXEC_UNSUPPORTED;
}
void mp_exec_module_free(struct mp_exec_module *own_module)
{
}
struct mp_exec_kernel *mp_exec_module_kernel(struct mp_exec_module *m, size_t i)
{
	return NULL;
}
bool mp_exec_module_global(struct mp_exec_module *m, const char *name, uint64_t *addr, size_t *size)
{
	return false;
}
const struct mp_exec_kernel_info *mp_exec_kernel_info(struct mp_exec_kernel *k)
{
	return NULL;
}
enum mp_exec_outcome mp_exec_kernel_prepare(struct mp_exec_kernel *k, char *err, size_t err_size)
{
	return MP_EXEC_UNSUPPORTED;
}
struct mp_exec *mp_exec_new(unsigned threads)
{
	return NULL;
}
enum mp_exec_outcome mp_exec_submit(struct mp_exec *e, const struct mp_exec_grid *g)
{
	return MP_EXEC_UNSUPPORTED;
}
#include "cuabi/cuabi.h"
__attribute__((weak)) CUresult mp_occupancy_blocks(const int *d, const int *f, int b, size_t s, unsigned g, int *r) { return 801; }
__attribute__((weak)) CUresult mp_occupancy_block_size(const int *dev, const int *func, CUoccupancyB2DSize b2d, size_t ds, int limit, unsigned flags, int *g, int *b) { return 801; }
__attribute__((weak)) CUresult mp_occupancy_dynamic_shared(const int *dev, const int *func, int blocks, int block_size, size_t *r) { return 801; }
__attribute__((weak)) CUresult mp_occupancy_clusters(const int *dev, const int *func, const CUlaunchConfig *c, int *r) { return 801; }
__attribute__((weak)) CUresult mp_occupancy_cluster_size(const int *dev, const int *func, const CUlaunchConfig *c, int *r) { return 801; }
