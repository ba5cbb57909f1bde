/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Video instructions (9.7.14, 15) without selectors of bytes and half-words,
 * which the parser does not take for operands.
 */
#include "exec/decode.h"
#include "exec/video.h"

static const struct {
	uint16_t op;
	uint8_t parts, what;
} table[] = {
	{MP_PTX_OP_VADD, 1, VIDEO_ADD}, {MP_PTX_OP_VADD2, 2, VIDEO_ADD}, {MP_PTX_OP_VADD4, 4, VIDEO_ADD},
	{MP_PTX_OP_VSUB, 1, VIDEO_SUB}, {MP_PTX_OP_VSUB2, 2, VIDEO_SUB}, {MP_PTX_OP_VSUB4, 4, VIDEO_SUB},
	{MP_PTX_OP_VABSDIFF, 1, VIDEO_ABSDIFF}, {MP_PTX_OP_VABSDIFF2, 2, VIDEO_ABSDIFF},
	{MP_PTX_OP_VABSDIFF4, 4, VIDEO_ABSDIFF}, {MP_PTX_OP_VMIN, 1, VIDEO_MIN},
	{MP_PTX_OP_VMIN2, 2, VIDEO_MIN}, {MP_PTX_OP_VMIN4, 4, VIDEO_MIN}, {MP_PTX_OP_VMAX, 1, VIDEO_MAX},
	{MP_PTX_OP_VMAX2, 2, VIDEO_MAX}, {MP_PTX_OP_VMAX4, 4, VIDEO_MAX},
	{MP_PTX_OP_VAVRG2, 2, VIDEO_AVRG}, {MP_PTX_OP_VAVRG4, 4, VIDEO_AVRG},
	{MP_PTX_OP_VMAD, 1, VIDEO_MAD}, {MP_PTX_OP_VSHL, 1, VIDEO_SHL}, {MP_PTX_OP_VSHR, 1, VIDEO_SHR},
	{MP_PTX_OP_VSET, 1, VIDEO_EQ}, {MP_PTX_OP_VSET2, 2, VIDEO_EQ}, {MP_PTX_OP_VSET4, 4, VIDEO_EQ},
};

static int condition(const struct mp_ptx_insn *in)
{
	static const uint16_t words[] = {MP_PTX_W_EQ, MP_PTX_W_NE, MP_PTX_W_LT,
					 MP_PTX_W_LE, MP_PTX_W_GT, MP_PTX_W_GE};
	unsigned i;

	for (i = 0; i < MP_ARRAY_LEN(words); i++)
		if (mp_ptx_has(in, words[i]))
			return VIDEO_EQ + (int)i;
	return -1;
}

bool decode_video(struct decode *d)
{
	const struct mp_ptx_insn *in = d->insn;
	uint32_t dst, a, b, c, x, what;
	unsigned i, t;
	struct op *o;

	for (i = 0; i < MP_ARRAY_LEN(table) && table[i].op != in->op; i++)
		;
	if (i == MP_ARRAY_LEN(table))
		return false;
	what = table[i].what;
	t = what == VIDEO_EQ ? 2 : 3; /* vset has no type of its result: an unsigned word */
	if (what == VIDEO_EQ)
		what = condition(in) < 0 ? UINT32_MAX : (uint32_t)condition(in);
	if (in->ntypes != t || (in->nops != 3 && in->nops != 4) || what == UINT32_MAX ||
	    (in->nops == 3 && table[i].parts > 1) || (what == VIDEO_SHL && !mp_ptx_has(in, MP_PTX_W_CLAMP)) ||
	    (what == VIDEO_SHR && !mp_ptx_has(in, MP_PTX_W_CLAMP))) {
		decode_refuse(d, "a video instruction of this shape is not carried");
		return true;
	}
	x = (t == 3 && type_is_signed(in->types[0]) ? VIDEO_D_SIGNED : 0) |
	    (type_is_signed(in->types[t - 2]) ? VIDEO_A_SIGNED : 0) |
	    (type_is_signed(in->types[t - 1]) ? VIDEO_B_SIGNED : 0) |
	    (mp_ptx_has(in, MP_PTX_W_SAT) ? VIDEO_SAT : 0);
	if (in->nops == 4 && what != VIDEO_MAD)
		x |= mp_ptx_has(in, MP_PTX_W_ADD)   ? VIDEO_ACCUMULATE
		     : mp_ptx_has(in, MP_PTX_W_MIN) ? VIDEO_THEN_MIN
		     : mp_ptx_has(in, MP_PTX_W_MAX) ? VIDEO_THEN_MAX
						    : 0;
	dst = decode_dst(d, &in->ops[0], 4);
	a = decode_src(d, &in->ops[1], 4, false);
	b = decode_src(d, &in->ops[2], 4, false);
	c = in->nops == 4 ? decode_src(d, &in->ops[3], 4, false) : a;
	o = decode_op(d, "video");
	o->d = dst, o->a = a, o->b = b, o->c = c;
	o->n = table[i].parts;
	o->x = x;
	o->e = what;
	return true;
}
