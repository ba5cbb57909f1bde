/* SPDX-License-Identifier: Apache-2.0 */
/* The front end: what parses, into what tree, and the sentences for what does not. */
#include "ptx/ptx.h"
#include "base/test.h"

#define HEAD ".version 8.0\n.target sm_75\n.address_size 64\n"

struct parsed {
	struct mp_ptx_module m;
	struct mp_ptx_body b;
	struct mp_ptx_error err;
	enum mp_ptx_outcome outcome;
	bool has_body;
};

static void parse(struct parsed *p, const char *text)
{
	memset(p, 0, sizeof(*p));
	p->outcome = mp_ptx_module_load(&p->m, text, strlen(text), &p->err);
	if (p->outcome == MP_PTX_OK && p->m.nfuncs && p->m.funcs[0]->has_body) {
		p->has_body = true;
		p->outcome = mp_ptx_body_parse(&p->m, p->m.funcs[0], &p->b, &p->err);
	}
}

static void done(struct parsed *p)
{
	if (p->has_body)
		mp_ptx_body_fini(&p->b);
	mp_ptx_module_fini(&p->m);
}

MP_TEST(index)
{
	struct parsed p;
	struct mp_ptx_var *v;

	parse(&p, HEAD
	      ".visible .entry k(.param .u64 .ptr .global .align 16 a, .param .u8 b,\n"
	      "  .param .align 8 .b8 c[12]) .maxntid 256, 2 .minnctapersm 3\n{ ret; }\n"
	      ".extern .func (.param .b32 r) vprintf (.param .b64 x, .param .b64 y);\n"
	      ".global .align 4 .b8 g[16] = {1, 0xff};\n"
	      ".global .align 8 .u64 q[2] = {generic(g)+8, 5};\n"
	      ".const .f32 pi = 0f40490FDB; .extern .shared .align 16 .b8 dyn[];\n");
	MP_CHECK_EQ(p.outcome, MP_PTX_OK);
	MP_CHECK_EQ(p.m.version, 80);
	MP_CHECK_EQ(p.m.target, 75);
	MP_CHECK_EQ(p.m.nfuncs, 2);
	MP_CHECK_EQ(p.m.funcs[0]->nparams, 3);
	MP_CHECK_EQ(p.m.funcs[0]->params[1].offset, 8);
	MP_CHECK_EQ(p.m.funcs[0]->params[2].offset, 16);
	MP_CHECK_EQ(p.m.funcs[0]->param_bytes, 28);
	MP_CHECK_EQ(p.m.funcs[0]->maxntid[0], 256);
	MP_CHECK_EQ(p.m.funcs[0]->maxntid[1], 2);
	MP_CHECK_EQ(p.m.funcs[0]->maxntid[2], 1);
	MP_CHECK_EQ(p.m.funcs[0]->minnctapersm, 3);
	v = mp_ptx_module_var(&p.m, "q", 1);
	MP_CHECK(v && v->size == 16 && v->relocs && v->relocs->addend == 8);
	MP_CHECK(v && !strcmp(v->relocs->name, "g") && v->init[8] == 5);
	v = mp_ptx_module_var(&p.m, "dyn", 3);
	MP_CHECK(v && v->size == 0 && v->is_extern && v->align == 16);
	done(&p);
}

MP_TEST(body)
{
	struct parsed p;

	parse(&p, HEAD
	      ".entry k(.param .u32 n){.reg .pred %p<3>;.reg .b32 %r<9>;.reg .b64 %rd<3>;\n"
	      "ld.param.u32 %r1,[n+0];mov.u32 %r2,%tid.x;setp.lt.u32 %p1|%p2,%r1,%r2;\n"
	      "@!%p1 bra L;{.reg .pred p; L: add.s32 %r1,%r1,-1; setp.gt.s32 p,%r1,0x10U; @p bra L;}\n"
	      "{.reg .b32 %r1; L: mov.b64 %rd1,{%r1,%r2};}\n"
	      "st.global.v2.f32 [%rd1+-16],{%r1,%r2}; L: ret;}\n");
	MP_CHECK_EQ(p.outcome, MP_PTX_OK);
	if (p.outcome)
		printf("# %u: %s\n", p.err.line, p.err.text);
	MP_CHECK_EQ(p.b.ninsns, 10);
	MP_CHECK_EQ(p.b.nlabels, 3);
	MP_CHECK_EQ(p.b.insns[3].guard_negated, 1);
	/* the outer L, declared last, and the inner one */
	MP_CHECK_EQ(p.b.labels[p.b.insns[3].ops[0].bits], 9);
	MP_CHECK_EQ(p.b.labels[p.b.insns[6].ops[0].bits], 4);
	MP_CHECK_EQ(p.b.insns[2].ops[0].reg2, 2);
	MP_CHECK_EQ((int64_t)p.b.insns[4].ops[2].bits, -1);
	MP_CHECK_EQ(p.b.insns[5].ops[2].bits, 16);
	MP_CHECK_EQ((int64_t)p.b.insns[8].ops[0].bits, -16);
	MP_CHECK_EQ(p.b.insns[8].ops[1].nelems, 2);
	/* the shadowing %r1 is another register */
	MP_CHECK(p.b.insns[7].ops[1].elems[0].reg != p.b.insns[8].ops[1].elems[0].reg);
	MP_CHECK(mp_ptx_has(&p.b.insns[8], MP_PTX_W_V2) && mp_ptx_has(&p.b.insns[8], MP_PTX_W_GLOBAL));
	MP_CHECK_EQ(p.b.insns[8].types[0], MP_PTX_T_F32);
	done(&p);
}

static const struct {
	const char *text;
	uint32_t line;
	const char *says;
} bad[] = {
	{"", 1, "begins with .version"},
	{"garbage", 1, "begins with .version"},
	{".version 8.0\n.target foo\n", 3, "names no sm_"},
	{HEAD ".entry k() {\n  ret", 4, "has no '}'"},
	{HEAD ".entry k() {\n  bra X; }", 5, "no label X"},
	{HEAD ".entry k() {\n  mov.u32 %r1, 0; }", 5, "no register %r1"},
	{HEAD ".entry k() {\n .reg .b32 %r<2>;\n mov.u32 %r2, 0; }", 6, "no register %r2"},
	{HEAD ".entry k() {\n .reg .b32 a, a; }", 5, "declared twice"},
	{HEAD ".entry k() { ret; }\n.entry k() { ret; }", 5, "defined twice"},
	{HEAD ".global .u32 x[2] = {1,2,3};", 4, "longer than its variable"},
	{HEAD ".global .align 3 .u32 x;", 4, "no alignment"},
	{HEAD ".global .u32 x = 0f12;", 4, "no number"},
	{HEAD "/* never", 4, "no end"},
	{HEAD ".entry k() { @5 ret; }", 4, "predicate after '@'"},
	{HEAD ".entry k() { .reg .b32 %r<4000000000>; }", 4, "too many registers"},
	{HEAD ".global .u32 x = ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1", 4,
	 "too deeply"},
};

/* Parameters of a declaration may have neither name nor type; then they take no room. */
MP_TEST(unnamed_parameters)
{
	struct parsed p;

	parse(&p, HEAD ".func (.param _) _ (.param .b32 _);\n"
		       ".extern .func (.param _) g (.param _, .param .b64 x);\n");
	MP_CHECK_EQ(p.outcome, MP_PTX_OK);
	MP_CHECK_EQ(p.m.nfuncs, 2);
	MP_CHECK_EQ(p.m.funcs[1]->nparams, 2);
	MP_CHECK_EQ(p.m.funcs[1]->params[1].offset, 0);
	done(&p);
}

MP_TEST(sentences)
{
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct parsed p;

		parse(&p, bad[i].text);
		if (p.err.line != bad[i].line)
			printf("# case %zu says: %s\n", i, p.err.text);
		MP_CHECK_EQ(p.outcome, MP_PTX_BAD);
		MP_CHECK_EQ(p.err.line, bad[i].line);
		MP_CHECK(strstr(p.err.text, bad[i].says));
		if (!strstr(p.err.text, bad[i].says))
			printf("# %zu says: %s\n", i, p.err.text);
		done(&p);
	}
}

/* Every prefix of a text either parses or gives a sentence. */
MP_TEST(prefixes)
{
	static const char text[] = HEAD
		".func (.param .b32 r) f(.param .b64 x, .reg .b32 %q) { st.param.b32 [r], %q; ret; }\n"
		".entry k(.param .u64 a) { .reg .b32 %r<5>; .reg .b64 %d<2>; .reg .pred p;\n"
		"T: .branchtargets A, B;\nP: .callprototype (.param .b32 _) _ (.param .b64 _);\n"
		"{ .param .b32 p0; call (p0), f, (p0, %r1), P; } brx.idx %r1, T;\nA: \"\" B: ret; }";
	size_t i;

	for (i = 0; i <= sizeof(text) - 1; i++) {
		struct mp_ptx_module m;
		struct mp_ptx_error err;
		enum mp_ptx_outcome o = mp_ptx_module_load(&m, text, i, &err);
		uint32_t k;

		MP_CHECK(o == MP_PTX_OK || err.text[0]);
		for (k = 0; o == MP_PTX_OK && k < m.nfuncs; k++) {
			struct mp_ptx_body b;

			if (!m.funcs[k]->has_body)
				continue;
			MP_CHECK(mp_ptx_body_parse(&m, m.funcs[k], &b, &err) == MP_PTX_OK || err.text[0]);
			mp_ptx_body_fini(&b);
		}
		mp_ptx_module_fini(&m);
	}
}

MP_TEST_MAIN()
