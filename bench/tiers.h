/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of bench/tiers as plain C, built for this machine with -O3. */
#ifndef MP_BENCH_TIERS_H
#define MP_BENCH_TIERS_H

void c_vadd(const float *a, const float *b, float *c, int n);
void c_chain(float *x, int n, float p, float q, int steps);
void c_matmul(const float *a, const float *b, float *c, int n);
void c_matmul_regs(const float *a, const float *b, float *c, int n);
void c_mandel(int *out, int w, int h, int limit);
int c_reduce(const int *x, int n);

#endif
