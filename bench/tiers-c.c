/* SPDX-License-Identifier: Apache-2.0 */
/* The algorithms of bench/tiers.c's kernels, a block after another, a thread after another. */
#include "tiers.h"

void c_vadd(const float *a, const float *b, float *c, int n)
{
	int i;

	for (i = 0; i < n; i++)
		c[i] = a[i] + b[i];
}

void c_chain(float *x, int n, float p, float q, int steps)
{
	int i, k;

	for (i = 0; i < n; i++) {
		float v = x[i];

		for (k = 0; k < steps; k++)
			v = __builtin_fmaf(__builtin_fmaf(v, p, q), p, q);
		x[i] = v;
	}
}

#define TILE 16

static void tile_multiply(float acc[TILE][TILE], float as[TILE][TILE], float bs[TILE][TILE])
{
	int ty, tx, k;

	for (ty = 0; ty < TILE; ty++)
		for (tx = 0; tx < TILE; tx++) {
			float sum = acc[ty][tx];

			for (k = 0; k < TILE; k++)
				sum = __builtin_fmaf(as[ty][k], bs[k][tx], sum);
			acc[ty][tx] = sum;
		}
}

void c_matmul(const float *a, const float *b, float *c, int n)
{
	int by, bx, t, ty, tx;

	for (by = 0; by < n; by += TILE)
		for (bx = 0; bx < n; bx += TILE) {
			float as[TILE][TILE], bs[TILE][TILE], acc[TILE][TILE] = {{0}};

			for (t = 0; t < n; t += TILE) {
				for (ty = 0; ty < TILE; ty++)
					for (tx = 0; tx < TILE; tx++) {
						as[ty][tx] = a[(by + ty) * n + t + tx];
						bs[ty][tx] = b[(t + ty) * n + bx + tx];
					}
				tile_multiply(acc, as, bs);
			}
			for (ty = 0; ty < TILE; ty++)
				for (tx = 0; tx < TILE; tx++)
					c[(by + ty) * n + bx + tx] = acc[ty][tx];
		}
}

#define WIDE 64

void c_matmul_regs(const float *a, const float *b, float *c, int n)
{
	static float as[TILE][WIDE], bs[TILE][WIDE];
	int by, bx, t, k, i, j, ty, tx;

	for (by = 0; by < n; by += WIDE)
		for (bx = 0; bx < n; bx += WIDE) {
			static float acc[TILE][TILE][4][4];

			__builtin_memset(acc, 0, sizeof(acc));
			for (t = 0; t < n; t += TILE) {
				for (i = 0; i < WIDE; i++)
					for (k = 0; k < TILE; k++)
						as[k][i] = a[(by + i) * n + t + k];
				for (k = 0; k < TILE; k++)
					for (i = 0; i < WIDE; i++)
						bs[k][i] = b[(t + k) * n + bx + i];
				for (ty = 0; ty < TILE; ty++)
					for (tx = 0; tx < TILE; tx++)
						for (k = 0; k < TILE; k++)
							for (i = 0; i < 4; i++)
								for (j = 0; j < 4; j++)
									acc[ty][tx][i][j] = __builtin_fmaf(
										as[k][ty + TILE * i], bs[k][tx + TILE * j],
										acc[ty][tx][i][j]);
			}
			for (ty = 0; ty < TILE; ty++)
				for (tx = 0; tx < TILE; tx++)
					for (i = 0; i < 4; i++)
						for (j = 0; j < 4; j++)
							c[(by + ty + TILE * i) * n + bx + tx + TILE * j] =
								acc[ty][tx][i][j];
		}
}

void c_mandel(int *out, int w, int h, int limit)
{
	int x, y;

	for (y = 0; y < h; y++)
		for (x = 0; x < w; x++) {
			float cr = (float)x * 0.005f - 2.0f, ci = (float)y * 0.005f - 1.25f, zr = 0, zi = 0, r2 = 0, i2 = 0;
			int k = 0;

			while (k < limit && r2 + i2 <= 4.0f) {
				zi = __builtin_fmaf(zr + zr, zi, ci);
				zr = r2 - i2 + cr;
				r2 = zr * zr;
				i2 = zi * zi;
				k++;
			}
			out[y * w + x] = k;
		}
}

int c_reduce(const int *x, int n)
{
	int i, sum = 0;

	for (i = 0; i < n; i++)
		sum = (int)((unsigned)sum + (unsigned)x[i]);
	return sum;
}
