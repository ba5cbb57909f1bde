/* SPDX-License-Identifier: Apache-2.0 */
/* Modules, libraries, kernels and their variables; two copies of one module are two; what is not there. */
#include "call.h"

#include <unistd.h>

static void globals(CUmodule m, const char *what)
{
	CUdeviceptr out = call_alloc(17 * 4), p;
	unsigned long long n = 5, value = 0;
	unsigned words[17];
	size_t size = 0;
	CUfunction f;
	void *params[] = {&out, &n};

	MUST(cuModuleGetFunction(&f, m, "globals"));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(words, out, sizeof(words)));
	MUST(cuModuleGetGlobal(&p, &size, m, "counter"));
	MUST(cuMemcpyDtoH(&value, p, 8));
	call_line("%s: counter %llu (%zu bytes), weights %u, table %016llx", what, value, size, words[16],
		  (unsigned long long)call_sum(words, 64));
	value += 1000;
	MUST(cuMemcpyHtoD(p, &value, 8));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(&value, p, 8));
	call_line("%s: counter %llu", what, value);
	MUST(cuModuleGetGlobal(&p, &size, m, "weights"));
	words[0] = 5;
	MUST(cuMemcpyHtoD(p, words, 4));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(words, out, sizeof(words)));
	call_line("%s: weights %u (%zu bytes)", what, words[16], size);
	MUST(cuMemFree(out));
}

static void library(void)
{
	CUlibrary lib;
	CUkernel k, none;
	CUfunction f, same;
	CUmodule m;
	CUdeviceptr p, out = call_alloc(8);
	size_t size = 0;
	unsigned count = 0;
	int regs = -1;
	unsigned b = 1, h = 8;
	unsigned long long c = 2, sum = 0;
	unsigned short d = 3;
	unsigned char e = 4;
	float fl = 5;
	double g = 6;
	void *params[] = {&out, &b, &c, &d, &e, &fl, &g, &h};
	const char *name = NULL;

	SAY(cuLibraryLoadData(&lib, call_ptx, NULL, NULL, 0, NULL, NULL, 0));
	SAY(cuLibraryGetKernelCount(&count, lib));
	call_line("kernels: %u", count);
	SAY(cuLibraryGetKernel(&k, lib, "eight"));
	SAY(cuLibraryGetKernel(&none, lib, "absent"));
	SAY(cuKernelGetName(&name, k));
	call_line("%s", name ? name : "?");
	SAY(cuKernelGetAttribute(&regs, CU_FUNC_ATTRIBUTE_NUM_REGS, k, 0));
	call_line("registers: %d", regs > 0);
	SAY(cuKernelGetFunction(&f, k));
	SAY(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuMemcpyDtoH(&sum, out, 8));
	call_line("sum %llu", sum);
	/* A kernel handle stands for its function in a launch. */
	b = 101;
	SAY(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	SAY(cuMemcpyDtoH(&sum, out, 8));
	call_line("sum %llu", sum);
	SAY(cuLibraryGetGlobal(&p, &size, lib, "table"));
	call_line("table %zu bytes, %016llx", size, (unsigned long long)call_sum_device(p, size));
	SAY(cuLibraryGetGlobal(&p, &size, lib, "absent"));
	SAY(cuLibraryGetModule(&m, lib));
	SAY(cuModuleGetFunction(&same, m, "eight"));
	call_line("same function: %d", same == f);
	SAY(cuLibraryUnload(lib));
	MUST(cuMemFree(out));
}

static void files(void)
{
	char path[] = "/tmp/mp-module-XXXXXX";
	int fd = mkstemp(path);
	CUmodule m;
	CUfunction f;

	if (fd < 0 || write(fd, call_ptx, strlen(call_ptx)) != (ssize_t)strlen(call_ptx))
		exit(1);
	close(fd);
	call_line("cuModuleLoad = %d", cuModuleLoad(&m, path));
	SAY(cuModuleGetFunction(&f, m, "vadd"));
	SAY(cuModuleUnload(m));
	unlink(path);
	call_line("cuModuleLoad of a missing file = %d", cuModuleLoad(&m, path));
}

/* A library of many kernels, as frameworks have them; the program uses the last. */
static void many(unsigned n)
{
	CUdeviceptr p = call_alloc(4);
	char *text = NULL, name[16];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	CUmodule module;
	CUfunction f;
	void *params[] = {&p};
	unsigned i, value = 0;

	fprintf(out, ".version 6.0\n.target sm_50\n.address_size 64\n");
	for (i = 0; i + 1 < n; i++)
		fprintf(out, ".visible .entry k%u() { ret; }\n", i);
	fprintf(out, ".visible .entry k%u(.param .u64 p)\n{ .reg .b64 %%a;\nld.param.u64 %%a, [p];\n", i);
	fprintf(out, "st.global.u32 [%%a], %u;\nret; }\n", n);
	fclose(out);
	MUST(cuModuleLoadData(&module, text));
	snprintf(name, sizeof(name), "k%u", n - 1);
	MUST(cuModuleGetFunction(&f, module, name));
	MUST(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	MUST(cuMemcpyDtoH(&value, p, 4));
	call_line("the last of %u kernels wrote %u", n, value);
	MUST(cuModuleUnload(module));
	MUST(cuMemFree(p));
	free(text);
}

int main(void)
{
	CUcontext ctx = call_begin();
	CUmodule again, bad;
	CUfunction f;
	CUdeviceptr p;
	size_t size;
	unsigned count = 0;

	MUST(cuModuleLoadDataEx(&again, call_ptx, 0, NULL, NULL));
	globals(call_module, "first");
	globals(again, "second");
	globals(call_module, "first");
	SAY(cuModuleGetFunctionCount(&count, again));
	call_line("functions: %u", count);
	SAY(cuModuleUnload(again));
	SAY(cuModuleGetFunction(&f, call_module, "absent"));
	SAY(cuModuleGetGlobal(&p, &size, call_module, "absent"));
	SAY(cuModuleLoadData(&bad, "this is not a module"));
	SAY(cuModuleLoadData(&bad, ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry f() { nonsense; }\n"));
	library();
	files();
	many(9000);
	return call_end(ctx);
}
