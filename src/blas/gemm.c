/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix multiplications become launches; the kernels for a pair of types are loaded at their first. */
#include "blas/inside.h"

#include "base/check.h"
#include "base/log.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* ---- The driver ---- */

static const struct mp_blas_driver *driver_open(void)
{
	static struct mp_blas_driver d;
	void *lib = dlopen("libcuda.so.1", RTLD_NOW);
	const struct {
		const char *name;
		void *at;
	} entries[] = {
		{"cuLibraryLoadData", &d.library_load}, {"cuLibraryGetKernel", &d.library_kernel},
		{"cuLaunchKernel", &d.launch},		{"cuCtxGetCurrent", &d.context_current},
		{"cuMemcpyDtoHAsync_v2", &d.to_host},	{"cuStreamSynchronize", &d.stream_wait},
		{"cuMemAlloc_v2", &d.memory_get},	{"cuMemFree_v2", &d.memory_free},
	};
	size_t i;

	if (!lib) {
		mp_log(MP_LOG_ERROR, "blas", "driver", "%s", dlerror());
		return NULL;
	}
	for (i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		void *p = dlsym(lib, entries[i].name);

		if (!p) {
			mp_log(MP_LOG_ERROR, "blas", "driver", "missing=%s", entries[i].name);
			return NULL;
		}
		*(void **)entries[i].at = p;
	}
	return &d;
}

const struct mp_blas_driver *mp_blas_driver(void)
{
	static const struct mp_blas_driver *found;
	static bool asked;

	pthread_mutex_lock(&making);
	if (!asked) {
		mp_log_open(MP_LOG_NONE);
		found = driver_open();
	}
	asked = true;
	pthread_mutex_unlock(&making);
	return found;
}

enum mp_blas_status mp_blas_result(CUresult r)
{
	switch (r) {
	case CUDA_SUCCESS:
		return BLAS_OK;
	case CUDA_ERROR_OUT_OF_MEMORY:
		return BLAS_ALLOC_FAILED;
	case CUDA_ERROR_NOT_INITIALIZED:
	case CUDA_ERROR_INVALID_CONTEXT:
		return BLAS_NOT_INITIALIZED;
	case CUDA_ERROR_NO_BINARY_FOR_GPU:
	case CUDA_ERROR_NOT_SUPPORTED:
		return BLAS_NOT_SUPPORTED;
	default:
		return BLAS_EXECUTION_FAILED;
	}
}

enum mp_blas_status mp_blas_refuse(const char *name, bool *said)
{
	if (!__atomic_exchange_n(said, true, __ATOMIC_RELAXED)) {
		mp_log_open(MP_LOG_NONE);
		mp_log(MP_LOG_WARN, "blas", "refused", "entry=%s", name);
	}
	return BLAS_NOT_SUPPORTED;
}

/* ---- Kernels ---- */

static int type_index(enum mp_blas_type t)
{
	switch (t) {
	case BLAS_F32:
		return 0;
	case BLAS_F64:
		return 1;
	case BLAS_F16:
		return 2;
	case BLAS_BF16:
		return 3;
	}
	return -1;
}

static unsigned bytes_of(enum mp_blas_type t)
{
	return t == BLAS_F64 ? 8 : t == BLAS_F32 ? 4 : 2;
}

bool mp_blas_carried(enum mp_blas_type in, enum mp_blas_type out, enum mp_blas_type acc)
{
	if (type_index(in) < 0 || type_index(out) < 0)
		return false;
	if (in == BLAS_F64 || out == BLAS_F64 || acc == BLAS_F64)
		return in == out && in == acc;
	return acc == BLAS_F32 && (in == out || out == BLAS_F32);
}

int mp_blas_accumulates(int compute)
{
	switch (compute) {
	case BLAS_COMPUTE_32F:
	case BLAS_COMPUTE_32F_PEDANTIC:
	case BLAS_COMPUTE_32F_FAST_16F:
	case BLAS_COMPUTE_32F_FAST_16BF:
	case BLAS_COMPUTE_32F_FAST_TF32:
	case BLAS_COMPUTE_16F: /* more exact than asked */
	case BLAS_COMPUTE_16F_PEDANTIC:
		return BLAS_F32;
	case BLAS_COMPUTE_64F:
	case BLAS_COMPUTE_64F_PEDANTIC:
		return BLAS_F64;
	}
	return -1;
}

static enum mp_blas_status kernel_get(const struct mp_blas_driver *d, const struct mp_blas_gemm *g, CUfunction *ret)
{
	static CUkernel kernels[4][4];
	CUkernel *k = &kernels[type_index(g->in)][type_index(g->out)];
	CUresult r = CUDA_SUCCESS;
	CUlibrary lib;
	char *text;

	pthread_mutex_lock(&making);
	if (!*k) {
		text = mp_blas_ptx(g->in, g->out, g->acc);
		r = text ? d->library_load(&lib, text, NULL, NULL, 0, NULL, NULL, 0) : CUDA_ERROR_OUT_OF_MEMORY;
		if (!r)
			r = d->library_kernel(k, lib, "gemm");
		if (r)
			mp_log(MP_LOG_WARN, "blas", "kernel", "in=%d out=%d result=%d", (int)g->in, (int)g->out, (int)r);
		free(text);
	}
	pthread_mutex_unlock(&making);
	*ret = (CUfunction)*k;
	return mp_blas_result(r);
}

/* ---- Launching ---- */

/* Its transpose, D' = B' A', has more rows: the lanes of a warp are rows. */
static void turn(struct mp_blas_gemm *g)
{
	const struct mp_blas_matrix a = g->a;
	const int64_t m = g->m;

	g->a = (struct mp_blas_matrix){g->b.at, g->b.column, g->b.row, g->b.batch};
	g->b = (struct mp_blas_matrix){a.at, a.column, a.row, a.batch};
	g->c = (struct mp_blas_matrix){g->c.at, g->c.column, g->c.row, g->c.batch};
	g->d = (struct mp_blas_matrix){g->d.at, g->d.column, g->d.row, g->d.batch};
	g->m = g->n;
	g->n = m;
}

static void params_fill(const struct mp_blas_gemm *g, bool turned, struct mp_blas_params *p)
{
	const int64_t in = bytes_of(g->in), out = bytes_of(g->out);

	*p = (struct mp_blas_params){
		.a = g->a.at, .am = g->a.row * in, .ak = g->a.column * in, .az = g->a.batch * in,
		.b = g->b.at, .bk = g->b.row * in, .bn = g->b.column * in, .bz = g->b.batch * in,
		.c = g->c.at, .cm = g->c.row * out, .cn = g->c.column * out, .cz = g->c.batch * out,
		.d = g->d.at, .dm = g->d.row * out, .dn = g->d.column * out, .dz = g->d.batch * out,
		.bias = g->bias, .biasm = turned ? 0 : out, .biasn = turned ? out : 0, .biasz = g->bias_batch * out,
		.alpha_at = g->alpha_at, .beta_at = g->beta_at, .alpha = g->alpha, .beta = g->beta,
		.m = (uint32_t)g->m, .n = (uint32_t)g->n, .k = (uint32_t)g->k,
	};
	if (g->arrays) {
		p->flags |= MP_BLAS_ARRAYS;
		p->az = p->bz = p->cz = p->dz = 8;
	}
	if (g->beta_at || g->beta != 0)
		p->flags |= MP_BLAS_ADD;
	if (g->bias)
		p->flags |= MP_BLAS_BIAS;
	if (g->plus) {
		p->flags |= MP_BLAS_PLUS;
		p->k = 0;
	}
	if (g->act)
		p->flags |= g->act == BLAS_ACT_RELU ? MP_BLAS_RELU : MP_BLAS_GELU;
}

/* Batches and columns beyond what a grid holds are further launches. */
#define GRID_SIDE 65535

static enum mp_blas_status launch(const struct mp_blas_driver *d, CUfunction f, struct mp_blas_params p,
				  int64_t batch, CUstream stream)
{
	const uint32_t columns = p.n, most = GRID_SIDE * 32u;
	int64_t z;
	uint32_t n;

	for (z = 0; z < batch; z += GRID_SIDE) {
		const int64_t nz = batch - z < GRID_SIDE ? batch - z : GRID_SIDE;

		for (n = 0; n < columns; n += most) {
			struct mp_blas_params q = p;
			void *args[] = {&q};
			CUresult r;

			q.n = columns - n < most ? columns - n : most;
			if (n && (p.flags & MP_BLAS_ARRAYS))
				return BLAS_NOT_SUPPORTED; /* its matrices are not ours to move */
			q.a += (uint64_t)(z * p.az + (p.flags & MP_BLAS_PLUS ? n * p.ak : 0));
			q.b += (uint64_t)(z * p.bz + n * p.bn);
			q.c += (uint64_t)(z * p.cz + n * p.cn);
			q.d += (uint64_t)(z * p.dz + n * p.dn);
			q.bias += (uint64_t)(z * p.biasz + n * p.biasn);
			r = d->launch(f, (q.m + 31) / 32, (q.n + 31) / 32, (unsigned)nz, 32, 4, 1, 0, stream, args, NULL);
			if (r)
				return mp_blas_result(r);
			if (columns - n <= most)
				break;
		}
	}
	return BLAS_OK;
}

enum mp_blas_status mp_blas_gemm(const struct mp_blas_gemm *asked)
{
	const struct mp_blas_driver *d = mp_blas_driver();
	struct mp_blas_gemm g = *asked;
	struct mp_blas_params p;
	enum mp_blas_status s;
	bool turned = false;
	CUfunction f;

	if (!d)
		return BLAS_NOT_INITIALIZED;
	if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0 || g.m > INT32_MAX || g.n > INT32_MAX || g.k > INT32_MAX)
		return BLAS_INVALID_VALUE;
	if (!mp_blas_carried(g.in, g.out, g.acc) || (g.act == BLAS_ACT_GELU && g.acc != BLAS_F32))
		return BLAS_NOT_SUPPORTED;
	if (!g.m || !g.n || !g.batch)
		return BLAS_OK;
	if (g.m < g.n && g.m < 32 && !g.plus) {
		turn(&g);
		turned = true;
	}
	s = kernel_get(d, &g, &f);
	if (s)
		return s;
	params_fill(&g, turned, &p);
	return launch(d, f, p, g.batch, g.stream);
}
