/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest driver library: two exports, for test-drv. */
#include "abi/cuda.h"
#include "base/check.h"

MP_EXPORT CUresult cuInit(unsigned int Flags)
{
	return Flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

MP_EXPORT CUresult cuDriverGetVersion(int *driverVersion)
{
	*driverVersion = CUDA_VERSION;
	return CUDA_SUCCESS;
}
