/* SPDX-License-Identifier: Apache-2.0 */
/* Memsets of one, two and four bytes, in one and two dimensions. */
#include "inside.h"

#include <string.h>

static void fill_row(void *to, const struct mp_work_fill *f)
{
	size_t i;

	switch (f->element) {
	case 1: memset(to, (int)f->value, f->width); break;
	case 2:
		for (i = 0; i < f->width; i++)
			((uint16_t *)to)[i] = (uint16_t)f->value;
		break;
	default:
		for (i = 0; i < f->width; i++)
			((uint32_t *)to)[i] = f->value;
	}
}

void mp_fill_run(const struct mp_work_fill *f)
{
	size_t y;

	assert(f->element == 1 || f->element == 2 || f->element == 4);
	for (y = 0; y < f->height; y++)
		mp_exec_check_wrote(f->dst + y * f->pitch, f->width * f->element);
	for (y = 0; y < f->height; y++)
		fill_row((void *)(f->dst + y * f->pitch), f);
}

CUresult mp_fill_check(const struct mp_work_fill *f, struct mp_range *ret)
{
	size_t row, rest = 0, all;

	if (f->element != 1 && f->element != 2 && f->element != 4)
		return CUDA_ERROR_INVALID_VALUE;
	if (f->dst % f->element || (f->height > 1 && f->pitch % f->element))
		return CUDA_ERROR_INVALID_VALUE;
	if (!f->width || !f->height)
		return CUDA_SUCCESS;
	if (!mp_mul(f->width, f->element, &row) || (f->height > 1 && f->pitch < row) ||
	    (f->height > 1 && !mp_mul(f->height - 1, f->pitch, &rest)) || !mp_add(row, rest, &all))
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_memory_span(f->dst, all, ret) || (ret->kind == MP_RANGE_VMM && !ret->access))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult fill(CUstream h, bool sync, CUdeviceptr dst, size_t pitch, uint32_t value,
		     uint32_t element, size_t width, size_t height)
{
	struct mp_work w = {.kind = MP_WORK_FILL,
			    .fill = {dst, pitch, width, height, value, element}};
	struct mp_range range;
	struct CUstream_st *s;
	struct mp_op *op = NULL;
	bool wait;
	CUresult r;
	MP_ENTER(ctx);

	r = mp_stream_find(ctx, h, &s);
	if (!r && sync)
		r = mp_capture_unsafe();
	if (!r)
		r = mp_fill_check(&w.fill, &range);
	if (r || !width || !height)
		return r;
	w.ctx = s->ctx;
	/* Memsets do not wait, unless they write memory that the program sees. */
	wait = sync && (!mp_memory_is_device(&range) || range.kind == MP_RANGE_MANAGED);
	r = mp_stream_submit(s, &w, wait ? &op : NULL);
	if (r || !op)
		return r;
	mp_op_wait(op);
	mp_op_unref(op);
	return (CUresult)s->ctx->error;
}

CUresult cuMemsetD8_v2(CUdeviceptr dstDevice, unsigned char uc, size_t N)
{
	return fill(NULL, true, dstDevice, 0, uc, 1, N, 1);
}

CUresult cuMemsetD16_v2(CUdeviceptr dstDevice, unsigned short us, size_t N)
{
	return fill(NULL, true, dstDevice, 0, us, 2, N, 1);
}

CUresult cuMemsetD32_v2(CUdeviceptr dstDevice, unsigned int ui, size_t N)
{
	return fill(NULL, true, dstDevice, 0, ui, 4, N, 1);
}

CUresult cuMemsetD2D8_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
			 size_t Height)
{
	return fill(NULL, true, dstDevice, dstPitch, uc, 1, Width, Height);
}

CUresult cuMemsetD2D16_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
			  size_t Height)
{
	return fill(NULL, true, dstDevice, dstPitch, us, 2, Width, Height);
}

CUresult cuMemsetD2D32_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
			  size_t Height)
{
	return fill(NULL, true, dstDevice, dstPitch, ui, 4, Width, Height);
}

CUresult cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream)
{
	return fill(hStream, false, dstDevice, 0, uc, 1, N, 1);
}

CUresult cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream)
{
	return fill(hStream, false, dstDevice, 0, us, 2, N, 1);
}

CUresult cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream)
{
	return fill(hStream, false, dstDevice, 0, ui, 4, N, 1);
}

CUresult cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
			   size_t Height, CUstream hStream)
{
	return fill(hStream, false, dstDevice, dstPitch, uc, 1, Width, Height);
}

CUresult cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us,
			    size_t Width, size_t Height, CUstream hStream)
{
	return fill(hStream, false, dstDevice, dstPitch, us, 2, Width, Height);
}

CUresult cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
			    size_t Height, CUstream hStream)
{
	return fill(hStream, false, dstDevice, dstPitch, ui, 4, Width, Height);
}
