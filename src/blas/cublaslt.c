/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcublasLt: descriptions of matrices and of a multiplication, one algorithm,
 * and the multiplication with its epilogues (bias, ReLU, GELU).
 *
 * A handle says nothing here, so that a cublasHandle_t in its place is fine, as
 * programs have it.  Attributes that would change the result and are not
 * carried are refused when they are set to anything but their defaults.
 */
#include "blas/inside.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* The program has the prototypes of these entries. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

typedef enum mp_blas_status status_t;

enum { ORDER_COLUMN = 0, ORDER_ROW = 1 };

struct layout {
	uint32_t type;
	int32_t order;
	uint64_t rows, columns;
	int64_t ld;
	int32_t batch;
	int64_t stride;
};

struct matmul {
	int32_t compute, scale, pointers, op[3], epilogue, bias_type;
	uint64_t bias;
	int64_t bias_stride;
};

struct preference {
	uint64_t workspace;
};

/* What programs keep of an algorithm: 64 bytes of ours. */
struct algorithm {
	uint64_t data[8];
};

struct heuristic {
	struct algorithm algorithm;
	size_t workspace;
	status_t state;
	float waves;
	int reserved[4];
};

#define ALGORITHM 0x4d50626c61730001ull /* the only one */

/* ---- Attributes ---- */

struct attribute {
	int number;
	uint32_t offset, size;
};

#define AT(type, number, field) {number, offsetof(struct type, field), sizeof(((struct type *)0)->field)}

static const struct attribute layout_attributes[] = {
	AT(layout, 0, type), AT(layout, 1, order), AT(layout, 2, rows), AT(layout, 3, columns),
	AT(layout, 4, ld),   AT(layout, 5, batch), AT(layout, 6, stride), {-1, 0, 0}};

static const struct attribute matmul_attributes[] = {
	AT(matmul, 0, compute),	 AT(matmul, 1, scale), AT(matmul, 2, pointers),	    AT(matmul, 3, op[0]),
	AT(matmul, 4, op[1]),	 AT(matmul, 5, op[2]), AT(matmul, 7, epilogue),	    AT(matmul, 8, bias),
	AT(matmul, 10, bias_stride), AT(matmul, 26, bias_type), {-1, 0, 0}};

/* Taken and left: which part of a device to use, how exact sums of fp8 are. Fill mode only with its default. */
static bool harmless(int number, const void *value, size_t size)
{
	static const char zero[8];

	if (number == 15 || number == 25)
		return true;
	return size <= sizeof(zero) && !memcmp(value, zero, size);
}

static status_t attribute_set(const struct attribute *a, void *object, int number, const void *value, size_t size,
			      bool ignore)
{
	if (!object || !value)
		return BLAS_INVALID_VALUE;
	for (; a->number >= 0; a++) {
		if (a->number != number)
			continue;
		if (size != a->size)
			return BLAS_INVALID_VALUE;
		memcpy((char *)object + a->offset, value, size);
		return BLAS_OK;
	}
	return ignore || harmless(number, value, size) ? BLAS_OK : BLAS_NOT_SUPPORTED;
}

static status_t attribute_get(const struct attribute *a, const void *object, int number, void *value, size_t size,
			      size_t *written)
{
	if (!object || (size && !value))
		return BLAS_INVALID_VALUE;
	for (; a->number >= 0; a++) {
		if (a->number != number)
			continue;
		if (written)
			*written = a->size;
		if (!size)
			return written ? BLAS_OK : BLAS_INVALID_VALUE;
		if (size < a->size)
			return BLAS_INVALID_VALUE;
		memcpy(value, (const char *)object + a->offset, a->size);
		return BLAS_OK;
	}
	return BLAS_NOT_SUPPORTED;
}

#define ATTRIBUTES(kind, table, ignore)                                                            \
	BLAS_API status_t cublasLt##kind##SetAttribute(void *object, int number, const void *value, size_t size) \
	{                                                                                          \
		return attribute_set(table, object, number, value, size, ignore);                  \
	}                                                                                          \
	BLAS_API status_t cublasLt##kind##GetAttribute(const void *object, int number, void *value, size_t size, \
						       size_t *written)                            \
	{                                                                                          \
		return attribute_get(table, object, number, value, size, written);                 \
	}                                                                                          \
	BLAS_API status_t cublasLt##kind##Destroy(void *object)                                    \
	{                                                                                          \
		free(object);                                                                      \
		return BLAS_OK;                                                                    \
	}

static const struct attribute preference_attributes[] = {AT(preference, 1, workspace), {-1, 0, 0}};

ATTRIBUTES(MatrixLayout, layout_attributes, false)
ATTRIBUTES(MatmulDesc, matmul_attributes, false)
ATTRIBUTES(MatmulPreference, preference_attributes, true) /* they choose among algorithms */

/* ---- Descriptions ---- */

static status_t start(void **object, size_t size, const void *value)
{
	if (!object)
		return BLAS_INVALID_VALUE;
	*object = malloc(size);
	if (!*object)
		return BLAS_ALLOC_FAILED;
	memcpy(*object, value, size);
	return BLAS_OK;
}

/* In memory of the program's, as large as its header says; the rest stays zero. */
static status_t start_in(void *object, size_t room, size_t size, const void *value)
{
	if (!object || room < size)
		return BLAS_INVALID_VALUE;
	memset(object, 0, room);
	memcpy(object, value, size);
	return BLAS_OK;
}

static struct layout layout_of(int type, uint64_t rows, uint64_t columns, int64_t ld)
{
	return (struct layout){.type = (uint32_t)type, .rows = rows, .columns = columns, .ld = ld, .batch = 1};
}

BLAS_API status_t cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
	const struct layout l = layout_of(type, rows, columns, ld);

	return start(layout, sizeof(l), &l);
}

BLAS_API status_t cublasLtMatrixLayoutInit_internal(void *layout, size_t room, int type, uint64_t rows,
						    uint64_t columns, int64_t ld)
{
	const struct layout l = layout_of(type, rows, columns, ld);

	return start_in(layout, room, sizeof(l), &l);
}

static struct matmul matmul_of(int compute, int scale)
{
	return (struct matmul){.compute = compute, .scale = scale, .epilogue = 1, .bias_type = -1};
}

BLAS_API status_t cublasLtMatmulDescCreate(void **desc, int compute, int scale)
{
	const struct matmul m = matmul_of(compute, scale);

	return start(desc, sizeof(m), &m);
}

BLAS_API status_t cublasLtMatmulDescInit_internal(void *desc, size_t room, int compute, int scale)
{
	const struct matmul m = matmul_of(compute, scale);

	return start_in(desc, room, sizeof(m), &m);
}

BLAS_API status_t cublasLtMatmulPreferenceCreate(void **preference)
{
	const struct preference p = {0};

	return start(preference, sizeof(p), &p);
}

BLAS_API status_t cublasLtMatmulPreferenceInit_internal(void *preference, size_t room)
{
	const struct preference p = {0};

	return start_in(preference, room, sizeof(p), &p);
}

/* ---- The multiplication ---- */

static bool place(struct mp_blas_matrix *m, const struct layout *l, const void *at, int op)
{
	const bool by_rows = l->order == ORDER_ROW;

	*m = (struct mp_blas_matrix){(uintptr_t)at, by_rows ? l->ld : 1, by_rows ? 1 : l->ld, l->stride};
	if (op != BLAS_OP_N) {
		m->row = by_rows ? 1 : l->ld;
		m->column = by_rows ? l->ld : 1;
	}
	return (uint64_t)l->ld >= (by_rows ? l->columns : l->rows) && l->ld > 0;
}

static status_t epilogue(const struct matmul *m, struct mp_blas_gemm *g)
{
	switch (m->epilogue) {
	case 1: /* none */
		return BLAS_OK;
	case 4: case 6: case 36:
		if (!m->bias)
			return BLAS_INVALID_VALUE;
		if (m->bias_type >= 0 && m->bias_type != (int)g->out)
			return BLAS_NOT_SUPPORTED;
		g->bias = m->bias;
		g->bias_batch = m->bias_stride;
		if (m->epilogue == 6)
			g->act = BLAS_ACT_RELU;
		if (m->epilogue == 36)
			g->act = BLAS_ACT_GELU;
		return BLAS_OK;
	case 2:
		g->act = BLAS_ACT_RELU;
		return BLAS_OK;
	case 32:
		g->act = BLAS_ACT_GELU;
		return BLAS_OK;
	}
	return BLAS_NOT_SUPPORTED;
}

/* All but where the matrices lie and by what they are multiplied. */
static status_t describe(const struct matmul *m, const struct layout *a, const struct layout *b,
			 const struct layout *c, const struct layout *d, struct mp_blas_gemm *g)
{
	const int acc = m ? mp_blas_accumulates(m->compute) : -1;
	const bool turna = m && m->op[0] != BLAS_OP_N, turnb = m && m->op[1] != BLAS_OP_N;

	if (!m || !a || !b || !c || !d)
		return BLAS_INVALID_VALUE;
	if (acc < 0 || m->scale != acc || m->op[2] != BLAS_OP_N || a->type != b->type || c->type != d->type)
		return BLAS_NOT_SUPPORTED;
	if (((uint32_t)a->order | (uint32_t)b->order | (uint32_t)c->order | (uint32_t)d->order) > ORDER_ROW ||
	    (unsigned)m->pointers > BLAS_POINTERS_DEVICE)
		return BLAS_NOT_SUPPORTED;
	*g = (struct mp_blas_gemm){.in = a->type, .out = d->type, .acc = acc};
	if (d->rows > INT32_MAX || d->columns > INT32_MAX || a->rows > INT32_MAX || a->columns > INT32_MAX)
		return BLAS_INVALID_VALUE;
	g->m = (int64_t)d->rows;
	g->n = (int64_t)d->columns;
	g->k = (int64_t)(turna ? a->rows : a->columns);
	g->batch = d->batch;
	if ((turna ? a->columns : a->rows) != d->rows || (turnb ? b->rows : b->columns) != d->columns ||
	    (turnb ? b->columns : b->rows) != (uint64_t)g->k || c->rows != d->rows || c->columns != d->columns ||
	    a->batch != d->batch || b->batch != d->batch || c->batch != d->batch)
		return BLAS_INVALID_VALUE;
	if (!mp_blas_carried(g->in, g->out, g->acc))
		return BLAS_NOT_SUPPORTED;
	return epilogue(m, g);
}

BLAS_API status_t cublasLtMatmulAlgoGetHeuristic(void *handle, const struct matmul *m, const struct layout *a,
						 const struct layout *b, const struct layout *c,
						 const struct layout *d, const struct preference *preference,
						 int wanted, struct heuristic *results, int *found)
{
	struct mp_blas_gemm g;
	status_t s;

	if (!results || !found || wanted < 1)
		return BLAS_INVALID_VALUE;
	*found = 0;
	s = describe(m, a, b, c, d, &g);
	/* A bias may be set after this question. */
	if (s == BLAS_INVALID_VALUE && m && !m->bias && (m->epilogue & 4)) {
		struct matmul known = *m;

		known.bias = 1;
		s = describe(&known, a, b, c, d, &g);
	}
	if (s)
		return s;
	*results = (struct heuristic){.algorithm.data[0] = ALGORITHM, .waves = 1};
	*found = 1;
	return BLAS_OK;
}

BLAS_API status_t cublasLtMatmul(void *handle, const struct matmul *m, const void *alpha, const void *a,
				 const struct layout *la, const void *b, const struct layout *lb, const void *beta,
				 const void *c, const struct layout *lc, void *d, const struct layout *ld,
				 const struct algorithm *algorithm, void *workspace, size_t size, CUstream stream)
{
	struct mp_blas_gemm g;
	status_t s = describe(m, la, lb, lc, ld, &g);

	if (s)
		return s;
	if (!handle || !alpha || !beta || (algorithm && algorithm->data[0] != ALGORITHM))
		return BLAS_INVALID_VALUE;
	if (!place(&g.a, la, a, m->op[0]) || !place(&g.b, lb, b, m->op[1]) || !place(&g.c, lc, c, BLAS_OP_N) ||
	    !place(&g.d, ld, d, BLAS_OP_N))
		return BLAS_INVALID_VALUE;
	if (m->pointers == BLAS_POINTERS_DEVICE) {
		g.alpha_at = (uintptr_t)alpha;
		g.beta_at = (uintptr_t)beta;
	} else {
		g.alpha = mp_blas_scalar(alpha, m->scale);
		g.beta = mp_blas_scalar(beta, m->scale);
	}
	g.stream = stream;
	return mp_blas_gemm(&g);
}

/* ---- The library ---- */

BLAS_API status_t cublasLtCreate(void **handle)
{
	if (!handle)
		return BLAS_INVALID_VALUE;
	if (!mp_blas_driver())
		return BLAS_NOT_INITIALIZED;
	*handle = malloc(1);
	return *handle ? BLAS_OK : BLAS_ALLOC_FAILED;
}

BLAS_API status_t cublasLtDestroy(void *handle)
{
	free(handle);
	return BLAS_OK;
}

BLAS_API size_t cublasLtGetVersion(void)
{
	return BLAS_VERSION;
}

BLAS_API const char *cublasLtGetStatusName(status_t status)
{
	return mp_blas_status_name(status);
}

BLAS_API const char *cublasLtGetStatusString(status_t status)
{
	return mp_blas_status_name(status);
}
