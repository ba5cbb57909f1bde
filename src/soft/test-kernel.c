/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels through the driver's calls: modules, launches, faults, printf, graphs of kernels. */
#include "test-fixture.h"

#include <pthread.h>
#include <stdint.h>

#define HEAD ".version 7.8\n.target sm_75\n.address_size 64\n"

/* add(a, b, c, n): c = a + b */
static const char add_ptx[] = HEAD
	".visible .global .align 4 .u32 counter = 5;\n"
	".visible .const .align 8 .b8 table[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};\n"
	".visible .entry add(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u32 pn)\n"
	"{\n"
	"	.reg .pred %p<2>; .reg .b32 %r<8>; .reg .f32 %f<4>; .reg .b64 %rd<12>;\n"
	"	ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb]; ld.param.u64 %rd3, [pc];\n"
	"	ld.param.u32 %r1, [pn];\n"
	"	mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;\n"
	"	mad.lo.s32 %r5, %r2, %r3, %r4;\n"
	"	setp.ge.s32 %p1, %r5, %r1;\n"
	"	@%p1 bra DONE;\n"
	"	cvta.to.global.u64 %rd4, %rd1; cvta.to.global.u64 %rd5, %rd2; cvta.to.global.u64 %rd6, %rd3;\n"
	"	mul.wide.s32 %rd7, %r5, 4;\n"
	"	add.s64 %rd8, %rd4, %rd7; add.s64 %rd9, %rd5, %rd7; add.s64 %rd10, %rd6, %rd7;\n"
	"	ld.global.f32 %f1, [%rd8]; ld.global.f32 %f2, [%rd9];\n"
	"	add.f32 %f3, %f1, %f2;\n"
	"	st.global.f32 [%rd10], %f3;\n"
	"DONE:\n"
	"	ret;\n"
	"}\n"
	".visible .entry bump(.param .u32 by)\n"
	"{\n"
	"	.reg .b32 %r<4>;\n"
	"	ld.param.u32 %r1, [by];\n"
	"	ld.global.u32 %r2, [counter];\n"
	"	add.u32 %r3, %r2, %r1;\n"
	"	st.global.u32 [counter], %r3;\n"
	"	ret;\n"
	"}\n"
	".visible .entry bad(.param .u64 p)\n"
	"{\n"
	"	.reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
	"	ld.param.u64 %rd1, [p];\n"
	"	mov.u32 %r1, 1;\n"
	"	st.global.u32 [%rd1], %r1;\n"
	"	ret;\n"
	"}\n"
	".visible .entry quit()\n{\n	trap;\n	ret;\n}\n"
	/* Waits for *p to be 1, then writes 2 behind it. */
	".visible .entry spin(.param .u64 p)\n"
	"{\n"
	"	.reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<2>;\n"
	"	ld.param.u64 %rd1, [p];\n"
	"AGAIN:\n"
	"	ld.volatile.global.u32 %r1, [%rd1];\n"
	"	setp.ne.u32 %p1, %r1, 1;\n"
	"	@%p1 bra AGAIN;\n"
	"	mov.u32 %r2, 2;\n"
	"	st.volatile.global.u32 [%rd1+4], %r2;\n"
	"	ret;\n"
	"}\n";

#define N 1000

struct problem {
	CUmodule m;
	CUfunction add;
	CUdeviceptr a, b, c;
	float ha[N], hb[N], hc[N];
};

static void problem_open(struct problem *p)
{
	int i;

	for (i = 0; i < N; i++) {
		p->ha[i] = (float)i;
		p->hb[i] = 0.5f * (float)i;
		p->hc[i] = -1;
	}
	MP_OK(cuModuleLoadData(&p->m, add_ptx));
	MP_OK(cuModuleGetFunction(&p->add, p->m, "add"));
	MP_OK(cuMemAlloc_v2(&p->a, sizeof(p->ha)));
	MP_OK(cuMemAlloc_v2(&p->b, sizeof(p->ha)));
	MP_OK(cuMemAlloc_v2(&p->c, sizeof(p->ha)));
	MP_OK(cuMemcpyHtoD_v2(p->a, p->ha, sizeof(p->ha)));
	MP_OK(cuMemcpyHtoD_v2(p->b, p->hb, sizeof(p->ha)));
}

static int problem_wrong(const struct problem *p)
{
	int i, bad = 0;

	for (i = 0; i < N; i++)
		bad += p->hc[i] != 1.5f * (float)i;
	return bad;
}

static void problem_close(struct problem *p)
{
	MP_OK(cuMemFree_v2(p->a));
	MP_OK(cuMemFree_v2(p->b));
	MP_OK(cuMemFree_v2(p->c));
	MP_OK(cuModuleUnload(p->m));
}

MP_TEST(vector_add)
{
	static struct problem p;
	int n = N;
	void *args[] = {&p.a, &p.b, &p.c, &n};
	struct __attribute__((packed)) {
		CUdeviceptr a, b, c;
		int n;
	} block;
	size_t size = sizeof(block), offset;
	void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &block, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
			 CU_LAUNCH_PARAM_END};
	const char *name;
	int v;

	fixture_context();
	problem_open(&p);
	MP_OK(cuLaunchKernel(p.add, 8, 1, 1, 128, 1, 1, 0, NULL, args, NULL));
	MP_OK(cuMemcpyDtoH_v2(p.hc, p.c, sizeof(p.hc)));
	MP_CHECK_EQ(problem_wrong(&p), 0);
	block.a = p.a;
	block.b = p.b;
	block.c = p.c;
	block.n = N;
	MP_OK(cuMemsetD8_v2(p.c, 0, sizeof(p.hc)));
	MP_OK(cuLaunchKernel(p.add, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
	MP_OK(cuMemcpyDtoH_v2(p.hc, p.c, sizeof(p.hc)));
	MP_CHECK_EQ(problem_wrong(&p), 0);
	MP_OK(cuFuncGetName(&name, p.add));
	MP_CHECK_STR(name, "add");
	MP_OK(cuFuncGetParamInfo(p.add, 3, &offset, &size));
	MP_CHECK(offset == 24 && size == 4);
	MP_IS(cuFuncGetParamInfo(p.add, 4, &offset, &size), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, p.add));
	MP_CHECK_EQ(v, 1024);
	MP_OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&v, p.add, 128, 0));
	MP_CHECK(v > 0);
	problem_close(&p);
	fixture_done();
}

MP_TEST(refused_at_once)
{
	static struct problem p;
	int n = N;
	void *args[] = {&p.a, &p.b, &p.c, &n};
	void *extra[] = {CU_LAUNCH_PARAM_END};
	CUfunction none;

	fixture_context();
	problem_open(&p);
	MP_IS(cuLaunchKernel(p.add, 0, 1, 1, 128, 1, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 1025, 1, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 64, 64, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 65536, 1, 1, 1, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 1, 1, 1, 49153, NULL, args, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 1, 1, 1, 0, NULL, args, extra),
	      CUDA_ERROR_INVALID_VALUE);
	MP_IS(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_HANDLE);
	MP_IS(cuLaunchKernel(p.add, 1, 1, 1, 1, 1, 1, 0, (CUstream)0x1234, args, NULL),
	      CUDA_ERROR_INVALID_HANDLE);
	MP_IS(cuLaunchCooperativeKernel(p.add, 100000, 1, 1, 1024, 1, 1, 0, NULL, args),
	      CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
	MP_IS(cuModuleGetFunction(&none, p.m, "nothing"), CUDA_ERROR_NOT_FOUND);
	MP_OK(cuFuncSetAttribute(p.add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 65536));
	MP_OK(cuLaunchKernel(p.add, 1, 1, 1, 1, 1, 1, 65536, NULL, args, NULL));
	MP_IS(cuFuncSetAttribute(p.add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1 << 20),
	      CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuCtxSynchronize());
	problem_close(&p);
	fixture_done();
}

MP_TEST(variables)
{
	CUfunction bump;
	CUdeviceptr d;
	CUmodule m;
	unsigned v = 0, by = 3;
	unsigned char t[16];
	void *args[] = {&by};
	size_t n;

	fixture_context();
	MP_OK(cuModuleLoadData(&m, add_ptx));
	MP_OK(cuModuleGetFunction(&bump, m, "bump"));
	MP_OK(cuModuleGetGlobal_v2(&d, &n, m, "counter"));
	MP_CHECK_EQ(n, 4);
	MP_OK(cuLaunchKernel(bump, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
	MP_OK(cuMemcpyDtoH_v2(&v, d, 4));
	MP_CHECK_EQ(v, 8);
	MP_OK(cuModuleGetGlobal_v2(&d, &n, m, "table"));
	MP_CHECK_EQ(n, 16);
	MP_OK(cuMemcpyDtoH_v2(t, d, 16));
	MP_CHECK(t[0] == 1 && t[15] == 16);
	MP_IS(cuModuleGetGlobal_v2(&d, &n, m, "nothing"), CUDA_ERROR_NOT_FOUND);
	MP_IS(cuMemFree_v2(d), CUDA_ERROR_INVALID_VALUE);
	MP_OK(cuModuleUnload(m));
	MP_IS(cuModuleUnload(m), CUDA_ERROR_INVALID_HANDLE);
	fixture_done();
}

MP_TEST(libraries)
{
	static struct problem p;
	int n = N, v;
	void *args[] = {&p.a, &p.b, &p.c, &n};
	CUlibrary lib;
	CUkernel k, all[8];
	CUfunction f;
	CUmodule m;
	unsigned count;
	CUdeviceptr d;
	size_t size;

	fixture_context();
	problem_open(&p);
	MP_OK(cuLibraryLoadData(&lib, add_ptx, NULL, NULL, 0, NULL, NULL, 0));
	MP_OK(cuLibraryGetKernel(&k, lib, "add"));
	MP_IS(cuLibraryGetKernel(&k, lib, "nothing"), CUDA_ERROR_NOT_FOUND);
	MP_OK(cuLibraryGetKernelCount(&count, lib));
	MP_CHECK_EQ(count, 5);
	MP_OK(cuLibraryEnumerateKernels(all, 8, lib));
	/* A CUkernel goes where a function is expected. */
	MP_OK(cuLaunchKernel((CUfunction)k, 8, 1, 1, 128, 1, 1, 0, NULL, args, NULL));
	MP_OK(cuMemcpyDtoH_v2(p.hc, p.c, sizeof(p.hc)));
	MP_CHECK_EQ(problem_wrong(&p), 0);
	MP_OK(cuKernelGetFunction(&f, k));
	MP_OK(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000, k, 0));
	MP_OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f));
	MP_CHECK_EQ(v, 60000);
	MP_OK(cuLibraryGetModule(&m, lib));
	MP_OK(cuLibraryGetGlobal(&d, &size, lib, "counter"));
	MP_CHECK_EQ(size, 4);
	MP_IS(cuLibraryGetManaged(&d, &size, lib, "counter"), CUDA_ERROR_NOT_FOUND);
	MP_OK(cuLibraryUnload(lib));
	MP_IS(cuLibraryUnload(lib), CUDA_ERROR_INVALID_HANDLE);
	MP_IS(cuLaunchKernel((CUfunction)k, 8, 1, 1, 128, 1, 1, 0, NULL, args, NULL),
	      CUDA_ERROR_INVALID_HANDLE);
	problem_close(&p);
	fixture_done();
}

MP_TEST(bad_images)
{
	char error[512] = "x", info[64] = "x";
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
				  CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {error, (void *)sizeof(error), info, (void *)sizeof(info)};
	CUmodule m;

	fixture_context();
	MP_IS(cuModuleLoadDataEx(&m, HEAD ".visible .entry f( { oh no", 4, options, values),
	      CUDA_ERROR_INVALID_PTX);
	MP_CHECK(strlen(error) > 4);
	MP_CHECK((uintptr_t)values[1] == strlen(error) + 1);
	MP_IS(cuModuleLoad(&m, "/nonexistent.ptx"), CUDA_ERROR_FILE_NOT_FOUND);
	MP_IS(cuModuleLoadData(&m, NULL), CUDA_ERROR_INVALID_VALUE);
	fixture_done();
}

/* The launch succeeds, the fault comes with the next wait, and stays. */
static void fault(const char *kernel, CUdeviceptr where, CUresult want)
{
	void *args[] = {&where};
	CUcontext ctx;
	CUfunction f;
	CUmodule m;
	CUdeviceptr d;
	CUstream s;

	MP_OK(cuInit(0));
	MP_OK(cuCtxCreate_v2(&ctx, 0, 0));
	MP_OK(cuModuleLoadData(&m, add_ptx));
	MP_OK(cuModuleGetFunction(&f, m, kernel));
	MP_OK(cuStreamCreate(&s, 0));
	MP_OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, s, args, NULL));
	MP_IS(cuStreamSynchronize(s), want);
	MP_IS(cuMemAlloc_v2(&d, 16), want);
	MP_IS(cuCtxSynchronize(), want);
	MP_IS(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, s, args, NULL), want);
	MP_OK(cuCtxDestroy_v2(ctx));
}

MP_TEST(faults)
{
	int on_stack = 0;

	fault("bad", 0, CUDA_ERROR_ILLEGAL_ADDRESS);
	fault("bad", (CUdeviceptr)&on_stack, CUDA_ERROR_ILLEGAL_ADDRESS);
	fault("bad", 0x200000400000ull, CUDA_ERROR_ILLEGAL_ADDRESS); /* a hole in the window */
	fault("bad", 0x200000400001ull, CUDA_ERROR_MISALIGNED_ADDRESS);
	fault("quit", 0, CUDA_ERROR_LAUNCH_FAILED);
	MP_CHECK_EQ(on_stack, 0);
	/* Another context has not noticed. */
	{
		static struct problem p;
		int n = N;
		void *args[] = {&p.a, &p.b, &p.c, &n};

		fixture_context();
		problem_open(&p);
		MP_OK(cuLaunchKernel(p.add, 8, 1, 1, 128, 1, 1, 0, NULL, args, NULL));
		MP_OK(cuMemcpyDtoH_v2(p.hc, p.c, sizeof(p.hc)));
		MP_CHECK_EQ(problem_wrong(&p), 0);
		problem_close(&p);
		fixture_done();
	}
}

/* A kernel waits for what a later copy in another stream brings. */
MP_TEST(kernel_waits_for_copy)
{
	CUstream a, b;
	CUfunction f;
	CUmodule m;
	CUdeviceptr d;
	unsigned one = 1, two = 0;
	void *args[] = {&d};
	CUdeviceptr pinned;
	_Atomic unsigned *h;

	fixture_context();
	MP_OK(cuModuleLoadData(&m, add_ptx));
	MP_OK(cuModuleGetFunction(&f, m, "spin"));
	MP_OK(cuMemAlloc_v2(&d, 8));
	MP_OK(cuMemsetD32_v2(d, 0, 2));
	MP_OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamSynchronize(NULL));
	MP_OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, a, args, NULL));
	usleep(10000);
	MP_IS(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
	MP_OK(cuMemcpyHtoDAsync_v2(d, &one, 4, b));
	MP_OK(cuStreamSynchronize(a));
	MP_OK(cuMemcpyDtoH_v2(&two, d + 4, 4));
	MP_CHECK_EQ(two, 2);
	/* The same through pinned memory that the host writes. */
	MP_OK(cuMemHostAlloc((void **)&h, 8, 0));
	h[0] = h[1] = 0;
	pinned = (CUdeviceptr)h;
	args[0] = &pinned;
	MP_OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, a, args, NULL));
	usleep(5000);
	h[0] = 1;
	MP_OK(cuStreamSynchronize(a));
	MP_CHECK_EQ(h[1], 2);
	MP_OK(cuMemFreeHost((void *)h));
	MP_OK(cuMemFree_v2(d));
	MP_OK(cuModuleUnload(m));
	MP_OK(cuStreamDestroy_v2(a));
	MP_OK(cuStreamDestroy_v2(b));
	fixture_done();
}

MP_TEST(captured_kernels)
{
	static struct problem p;
	int n = N, i;
	void *args[] = {&p.a, &p.b, &p.c, &n};
	CUDA_KERNEL_NODE_PARAMS kp = {0};
	CUgraphNode node;
	CUgraphExec x;
	CUgraph g;
	CUstream s;
	size_t one = 1;

	fixture_context();
	problem_open(&p);
	MP_OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MP_OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	MP_OK(cuLaunchKernel(p.add, 8, 1, 1, 128, 1, 1, 0, s, args, NULL));
	n = 0; /* parameters were taken at the call */
	MP_OK(cuStreamEndCapture(s, &g));
	MP_OK(cuGraphGetNodes(g, &node, &one));
	MP_OK(cuGraphKernelNodeGetParams_v2(node, &kp));
	MP_CHECK(kp.func == p.add && kp.blockDimX == 128 && *(int *)kp.kernelParams[3] == N);
	MP_OK(cuGraphInstantiateWithFlags(&x, g, 0));
	for (i = 0; i < 5; i++)
		MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuMemcpyDtoHAsync_v2(p.hc, p.c, sizeof(p.hc), s));
	MP_OK(cuStreamSynchronize(s));
	MP_CHECK_EQ(problem_wrong(&p), 0);
	/* With no elements to do, nothing is written. */
	n = 0;
	kp.kernelParams = args;
	MP_OK(cuGraphExecKernelNodeSetParams_v2(x, node, &kp));
	MP_OK(cuMemsetD8Async(p.c, 0, sizeof(p.hc), s));
	MP_OK(cuGraphLaunch(x, s));
	MP_OK(cuMemcpyDtoHAsync_v2(p.hc, p.c, sizeof(p.hc), s));
	MP_CHECK(p.hc[500] == 0);
	MP_OK(cuGraphExecDestroy(x));
	MP_OK(cuGraphDestroy(g));
	MP_OK(cuStreamDestroy_v2(s));
	problem_close(&p);
	fixture_done();
}

/* Two texts with an internal function of one name, and one that calls into the other. */
MP_TEST(linked_texts)
{
	static const char one[] = HEAD
		".func (.param .b32 r) helper()\n{\n	.reg .b32 %r<2>;\n	mov.u32 %r1, 11;\n"
		"	st.param.b32 [r], %r1;\n	ret;\n}\n"
		".visible .func (.param .b32 r) eleven()\n{\n	.reg .b32 %r<2>;\n	{ .param .b32 v;\n"
		"	call.uni (v), helper, ();\n	ld.param.b32 %r1, [v]; }\n"
		"	st.param.b32 [r], %r1;\n	ret;\n}\n";
	static const char two[] = HEAD
		".extern .func (.param .b32 r) eleven();\n"
		".func (.param .b32 r) helper()\n{\n	.reg .b32 %r<2>;\n	mov.u32 %r1, 100;\n"
		"	st.param.b32 [r], %r1;\n	ret;\n}\n"
		".visible .entry both(.param .u64 p)\n{\n	.reg .b32 %r<4>; .reg .b64 %rd<2>;\n"
		"	ld.param.u64 %rd1, [p];\n"
		"	{ .param .b32 v;\n	call.uni (v), helper, ();\n	ld.param.b32 %r1, [v]; }\n"
		"	{ .param .b32 v;\n	call.uni (v), eleven, ();\n	ld.param.b32 %r2, [v]; }\n"
		"	add.u32 %r3, %r1, %r2;\n	st.global.u32 [%rd1], %r3;\n	ret;\n}\n";
	CUlinkState l;
	CUfunction f;
	CUmodule m;
	CUdeviceptr d;
	void *cubin, *args[] = {&d};
	unsigned v = 0;
	size_t n;

	fixture_context();
	MP_OK(cuLinkCreate_v2(0, NULL, NULL, &l));
	MP_OK(cuLinkAddData_v2(l, CU_JIT_INPUT_PTX, (void *)one, sizeof(one), "one", 0, NULL, NULL));
	MP_OK(cuLinkAddData_v2(l, CU_JIT_INPUT_PTX, (void *)two, sizeof(two), "two", 0, NULL, NULL));
	MP_OK(cuLinkComplete(l, &cubin, &n));
	MP_OK(cuModuleLoadData(&m, cubin));
	MP_OK(cuLinkDestroy(l));
	MP_OK(cuModuleGetFunction(&f, m, "both"));
	MP_OK(cuMemAlloc_v2(&d, 4));
	MP_OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
	MP_OK(cuMemcpyDtoH_v2(&v, d, 4));
	MP_CHECK_EQ(v, 111);
	MP_OK(cuMemFree_v2(d));
	MP_OK(cuModuleUnload(m));
	fixture_done();
}

/* A managed variable is at one address for host and device. */
MP_TEST(managed_variables)
{
	static const char text[] = ".version 8.0\n.target sm_75\n.address_size 64\n"
				   ".global .attribute(.managed) .align 4 .u32 m = 41;\n.global .u32 g;\n"
				   ".visible .entry bump() { .reg .b32 %r; ld.global.u32 %r,[m];\n"
				   "add.u32 %r,%r,1; st.global.u32 [m],%r; ret; }\n";
	CUdeviceptr d;
	CUkernel k;
	CUlibrary lib;
	size_t n;

	fixture_context();
	MP_OK(cuLibraryLoadData(&lib, text, NULL, NULL, 0, NULL, NULL, 0));
	MP_IS(cuLibraryGetManaged(&d, &n, lib, "g"), CUDA_ERROR_NOT_FOUND);
	MP_OK(cuLibraryGetManaged(&d, &n, lib, "m"));
	MP_CHECK_EQ(n, 4);
	MP_CHECK_EQ(*(volatile uint32_t *)(uintptr_t)d, 41);
	MP_OK(cuLibraryGetKernel(&k, lib, "bump"));
	MP_OK(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	MP_OK(cuCtxSynchronize());
	MP_CHECK_EQ(*(volatile uint32_t *)(uintptr_t)d, 42);
	MP_OK(cuLibraryUnload(lib));
	fixture_done();
}

MP_TEST_MAIN()
