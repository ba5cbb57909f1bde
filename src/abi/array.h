/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays by their descriptors, as soft GPU, drop-in and worker must agree on
 * them: what a texel is, which levels there are, how many bytes are charged.
 */
#ifndef MP_ABI_ARRAY_H
#define MP_ABI_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cuda.h"

#define MP_LEVELS_MAX	   16
#define MP_ARRAY_ALIGN	   ((size_t)512)
/* Flags of array descriptors beside those of cuda.h. */
#define MP_ARRAY_DEPTH	   0x10u
#define MP_ARRAY_COLOR	   0x20u
#define MP_ARRAY_SPARSE	   0x40u
#define MP_ARRAY_DEFERRED  0x80u
#define MP_ARRAY_VIDEO	   0x100u

/* How texels of a format lie in memory and what they mean. */
struct mp_texel {
	uint8_t channels, bits; /* bits: 8, 16, 32, or 10: 10, 10, 10 and 2 */
	uint8_t kind;		/* 0 unsigned, 1 signed, 2 float */
	bool normal;		/* integers that always mean [0,1] or [-1,1] */
	unsigned bytes;
};

/* false: not a format of ours, or not with that number of channels. */
static inline bool mp_texel_of(struct mp_texel *t, CUarray_format format, unsigned channels)
{
	unsigned f = (unsigned)format;

	*t = (struct mp_texel){.channels = (uint8_t)channels};
	switch (f) {
	case CU_AD_FORMAT_UNSIGNED_INT8: t->bits = 8; break;
	case CU_AD_FORMAT_UNSIGNED_INT16: t->bits = 16; break;
	case CU_AD_FORMAT_UNSIGNED_INT32: t->bits = 32; break;
	case CU_AD_FORMAT_SIGNED_INT8: t->bits = 8, t->kind = 1; break;
	case CU_AD_FORMAT_SIGNED_INT16: t->bits = 16, t->kind = 1; break;
	case CU_AD_FORMAT_SIGNED_INT32: t->bits = 32, t->kind = 1; break;
	case CU_AD_FORMAT_HALF: t->bits = 16, t->kind = 2; break;
	case CU_AD_FORMAT_FLOAT: t->bits = 32, t->kind = 2; break;
	case CU_AD_FORMAT_UNORM_INT_101010_2:
		t->bits = 10, t->normal = true, t->bytes = 4;
		return channels == 4;
	default:
		if (f < CU_AD_FORMAT_UNORM_INT8X1 || f > CU_AD_FORMAT_SNORM_INT16X4)
			return false;
		f -= CU_AD_FORMAT_UNORM_INT8X1; /* x1 x2 x4 of unsigned 8, 16, signed 8, 16 */
		t->bits = f / 3 % 2 ? 16 : 8;
		t->kind = (uint8_t)(f / 6);
		t->normal = true;
		if (channels != 1u << f % 3)
			return false;
	}
	t->bytes = channels * t->bits / 8;
	return channels == 1 || channels == 2 || channels == 4;
}

/* Slices of which are layers or faces, not depth. */
static inline bool mp_array_layers(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	return d->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
}

static inline size_t mp_halved(size_t n, unsigned level)
{
	return n >> level ? n >> level : n ? 1 : 0;
}

/* Sizes are halved from level to level; layers and faces stay. */
static inline CUDA_ARRAY3D_DESCRIPTOR mp_array_level(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned level)
{
	CUDA_ARRAY3D_DESCRIPTOR l = *d;

	l.Width = mp_halved(d->Width, level);
	l.Height = mp_halved(d->Height, level);
	if (!mp_array_layers(d))
		l.Depth = mp_halved(d->Depth, level);
	return l;
}

/* How many levels there will be when `want` are asked for: 1 to 1 + floor(log2(max(width, height, depth))). */
static inline unsigned mp_array_levels(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned want)
{
	size_t n = d->Width | d->Height | (mp_array_layers(d) ? 0 : d->Depth);
	unsigned most = 0;

	for (; n; n >>= 1)
		most++;
	if (most > MP_LEVELS_MAX)
		most = MP_LEVELS_MAX;
	return want < 1 ? 1 : want < most ? want : most;
}

/* Bytes of an array, or of the first `levels` of a mipmapped one; false: not an array of ours, or absurd. */
static inline bool mp_array_bytes(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels, size_t *ret)
{
	struct mp_texel t;
	unsigned i;

	*ret = 0;
	if (!mp_texel_of(&t, d->Format, d->NumChannels) || (d->Width | d->Height | d->Depth) >> 20)
		return false;
	for (i = 0; i < levels; i++) {
		CUDA_ARRAY3D_DESCRIPTOR l = mp_array_level(d, i);
		size_t n = l.Width * t.bytes; /* below 2^24 */

		if (__builtin_mul_overflow(n, l.Height ? l.Height : 1, &n) ||
		    __builtin_mul_overflow(n, l.Depth ? l.Depth : 1, &n) || n >> 60)
			return false;
		*ret += (n + MP_ARRAY_ALIGN - 1) / MP_ARRAY_ALIGN * MP_ARRAY_ALIGN;
	}
	return !(*ret >> 60);
}

/*
 * One operation of cuMemcpy3DBatchAsync as a box.  Extents and offsets count the
 * array's elements of `element` bytes, or bytes when no array takes part.  false:
 * not an operand's type, or absurd.
 */
static inline bool mp_box_of_op(CUDA_MEMCPY3D *c, const CUDA_MEMCPY3D_BATCH_OP *op, size_t element)
{
	const CUmemcpy3DOperand *s = &op->src, *d = &op->dst;

	if ((op->extent.width | op->extent.height | op->extent.depth) >> 48)
		return false;
	*c = (CUDA_MEMCPY3D){.WidthInBytes = op->extent.width * element, .Height = op->extent.height,
			     .Depth = op->extent.depth};
	if (s->type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
		c->srcMemoryType = CU_MEMORYTYPE_ARRAY;
		c->srcArray = s->op.array.array;
		c->srcXInBytes = s->op.array.offset.x * element;
		c->srcY = s->op.array.offset.y;
		c->srcZ = s->op.array.offset.z;
	} else if (s->type == CU_MEMCPY_OPERAND_TYPE_POINTER) {
		c->srcMemoryType = CU_MEMORYTYPE_UNIFIED;
		c->srcDevice = s->op.ptr.ptr;
		c->srcPitch = s->op.ptr.rowLength * element;
		c->srcHeight = s->op.ptr.layerHeight;
	} else {
		return false;
	}
	if (d->type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
		c->dstMemoryType = CU_MEMORYTYPE_ARRAY;
		c->dstArray = d->op.array.array;
		c->dstXInBytes = d->op.array.offset.x * element;
		c->dstY = d->op.array.offset.y;
		c->dstZ = d->op.array.offset.z;
	} else if (d->type == CU_MEMCPY_OPERAND_TYPE_POINTER) {
		c->dstMemoryType = CU_MEMORYTYPE_UNIFIED;
		c->dstDevice = d->op.ptr.ptr;
		c->dstPitch = d->op.ptr.rowLength * element;
		c->dstHeight = d->op.ptr.layerHeight;
	} else {
		return false;
	}
	return true;
}

#endif
