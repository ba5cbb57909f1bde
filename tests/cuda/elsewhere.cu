// SPDX-License-Identifier: Apache-2.0
// The other unit of a program with relocatable device code.
__device__ unsigned elsewhere(unsigned x)
{
	return x * 2654435761u + 1;
}
