/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules: an image loaded into a context.  Its kernels are decoded when they
 * are first launched, or at load with CUDA_MODULE_LOADING=EAGER.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <ctype.h>
#include <string.h>

/* What a module's variables are placed in. */
struct place {
	struct CUctx_st *ctx; /* NULL: managed variables before there is a context */
	struct mp_device *device;
	struct mp_managed *managed;
};

uint64_t mp_managed_place(struct mp_managed *v, const char *name, size_t size, bool *ret_fresh)
{
	struct mp_managed_at *at;
	uint64_t addr;
	size_t i;

	*ret_fresh = false;
	for (i = 0; i < v->n; i++)
		if (!strcmp(v->at[i].name, name))
			return v->at[i].addr;
	at = realloc(v->at, (v->n + 1) * sizeof(*at));
	if (!at)
		return 0;
	v->at = at;
	at += v->n;
	at->size = size ? size : 1;
	at->name = strdup(name);
	if (!at->name)
		return 0;
	if (mp_memory_alloc(v->ctx, v->device, at->size, 4096, MP_RANGE_MANAGED, true, &addr)) {
		free((char *)at->name);
		return 0;
	}
	memset((void *)addr, 0, at->size);
	at->addr = addr;
	v->n++;
	*ret_fresh = true;
	return addr;
}

void mp_managed_fini(struct mp_managed *v)
{
	size_t i;

	for (i = 0; i < v->n; i++) {
		mp_memory_release(v->at[i].addr, MP_RANGE_MANAGED);
		free((char *)v->at[i].name);
	}
	free(v->at);
	*v = (struct mp_managed){0};
}

static uint64_t managed_get(void *arg, const char *name, size_t size, size_t align, bool *ret_fill)
{
	struct place *p = arg;

	if (align > 4096)
		return 0;
	if (!p->managed->device) {
		p->managed->device = p->device;
		p->managed->ctx = NULL;
	}
	return mp_managed_place(p->managed, name, size, ret_fill);
}

static uint64_t variable_get(void *arg, size_t size, size_t align)
{
	struct place *p = arg;
	struct CUctx_st *ctx = p->ctx;
	uint64_t addr = 0;

	if (!size)
		size = 1;
	if (align < 256)
		align = 256;
	if (mp_memory_alloc(ctx, p->device, size, align, MP_RANGE_MODULE, true, &addr))
		return 0;
	/* A small piece may have been used before. */
	memset((void *)addr, 0, size);
	return addr;
}

static void variable_put(void *arg, uint64_t addr, size_t size)
{
	(void)arg, (void)size;
	mp_memory_release(addr, MP_RANGE_MODULE);
}

CUresult mp_exec_result(enum mp_exec_outcome outcome)
{
	switch (outcome) {
	case MP_EXEC_OK: return CUDA_SUCCESS;
	case MP_EXEC_NO_MEMORY: return CUDA_ERROR_OUT_OF_MEMORY;
	case MP_EXEC_BAD_PTX: return CUDA_ERROR_INVALID_PTX;
	case MP_EXEC_NOT_FOUND: return CUDA_ERROR_NOT_FOUND;
	case MP_EXEC_UNSUPPORTED: return CUDA_ERROR_NOT_SUPPORTED;
	case MP_EXEC_ILLEGAL_ADDRESS: return CUDA_ERROR_ILLEGAL_ADDRESS;
	case MP_EXEC_MISALIGNED: return CUDA_ERROR_MISALIGNED_ADDRESS;
	case MP_EXEC_ILLEGAL_INSTRUCTION: return CUDA_ERROR_ILLEGAL_INSTRUCTION;
	case MP_EXEC_TRAP: return CUDA_ERROR_LAUNCH_FAILED;
	case MP_EXEC_ASSERT: return CUDA_ERROR_ASSERT;
	case MP_EXEC_HW_STACK: return CUDA_ERROR_HARDWARE_STACK_ERROR;
	case MP_EXEC_CANCELLED: return CUDA_ERROR_LAUNCH_FAILED;
	case MP_EXEC_OUTCOMES: break;
	}
	return CUDA_ERROR_UNKNOWN;
}

/*
 * A driver of CUDA 13.0 stops at 9.0.  Minor versions only add, and libraries of a newer toolkit hold
 * such text beside machine code that a driver would have taken; what is not known in it fails
 * its own kernel.
 */
#define PTX_NEWEST_MAJOR 9

/* Is the text's .version newer? It stands before everything but comments (PTX ISA 11.1). */
static bool ptx_too_new(const char *ptx, size_t len)
{
	const char *end = ptx + len, *p;
	unsigned major = 0;

	while (ptx < end) {
		if (isspace((unsigned char)*ptx)) {
			ptx++;
		} else if (end - ptx > 2 && ptx[0] == '/' && ptx[1] == '/') {
			p = memchr(ptx, '\n', end - ptx);
			ptx = p ? p + 1 : end;
		} else if (end - ptx > 2 && ptx[0] == '/' && ptx[1] == '*') {
			p = memmem(ptx + 2, end - ptx - 2, "*/", 2);
			ptx = p ? p + 2 : end;
		} else {
			break;
		}
	}
	if (end - ptx < 9 || memcmp(ptx, ".version", 8))
		return false;
	for (p = ptx + 8; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	for (; p < end && isdigit((unsigned char)*p) && major < 1000; p++)
		major = major * 10 + (*p - '0');
	return major > PTX_NEWEST_MAJOR;
}

CUresult mp_library_managed(struct CUlib_st *lib)
{
	struct place place = {NULL, &mp_soft.devices[0], &lib->managed};
	struct mp_exec_alloc alloc = {variable_get, variable_put, &place, managed_get};
	struct mp_exec_module *m;
	enum mp_exec_outcome o;

	/* Its initial values are found by a module that lives no longer than that. */
	o = mp_exec_module_load(lib->ptx, lib->ptx_len, &alloc, &m, NULL, 0);
	if (o)
		return mp_exec_result(o);
	mp_exec_module_free(m);
	return CUDA_SUCCESS;
}

CUresult mp_module_make(struct CUctx_st *ctx, struct CUlib_st *lib, const char *ptx, size_t len,
			struct mp_jit *j, struct CUmod_st **ret)
{
	struct CUmod_st *m = mp_handle_new(MP_MODULE, sizeof(*m));
	struct place place = {ctx, ctx->device, lib ? &lib->managed : m ? &m->managed : NULL};
	struct mp_exec_alloc alloc = {variable_get, variable_put, &place, managed_get};
	enum mp_exec_outcome o;
	char err[400] = "";
	size_t n = 0;

	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (ptx_too_new(ptx, len)) {
		mp_jit_error(j, "the PTX text has a .version that this driver does not know");
		mp_handle_free(MP_MODULE, m);
		return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
	}
	o = mp_exec_module_load(ptx, len, &alloc, &m->exec, err, sizeof(err));
	if (o) {
		if (o == MP_EXEC_BAD_PTX)
			mp_jit_error(j, *err ? err : "the PTX text does not parse");
		mp_handle_free(MP_MODULE, m);
		return mp_exec_result(o);
	}
	while (mp_exec_module_kernel(m->exec, n))
		n++;
	m->ctx = ctx;
	m->nfunctions = n;
	m->functions = calloc(n ? n : 1, sizeof(*m->functions));
	if (!m->functions) {
		mp_exec_module_free(m->exec);
		mp_handle_free(MP_MODULE, m);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (mp_soft.config.eager)
		while (n--)
			mp_exec_kernel_prepare(mp_exec_module_kernel(m->exec, n), NULL, 0);
	pthread_mutex_lock(&mp_soft.state);
	m->next = ctx->modules;
	m->back = &ctx->modules;
	if (m->next)
		m->next->back = &m->next;
	ctx->modules = m;
	pthread_mutex_unlock(&mp_soft.state);
	*ret = m;
	return CUDA_SUCCESS;
}

void mp_module_drop(struct CUmod_st *own_module)
{
	struct CUmod_st *m = own_module;
	size_t i;

	pthread_mutex_lock(&mp_soft.state);
	*m->back = m->next;
	if (m->next)
		m->next->back = m->back;
	pthread_mutex_unlock(&mp_soft.state);
	for (i = 0; i < m->nfunctions; i++) {
		if (m->functions[i])
			free(m->functions[i]->old_params);
		mp_handle_free(MP_FUNCTION, m->functions[i]);
	}
	free(m->functions);
	mp_texref_module_gone(m);
	mp_exec_module_free(m->exec);
	mp_managed_fini(&m->managed);
	mp_handle_free(MP_MODULE, m);
}

struct CUfunc_st *mp_module_function(struct CUmod_st *m, size_t i)
{
	struct CUfunc_st *f;

	if (i >= m->nfunctions)
		return NULL;
	pthread_mutex_lock(&mp_soft.state);
	f = m->functions[i];
	if (!f) {
		f = mp_handle_new(MP_FUNCTION, sizeof(*f));
		if (f) {
			f->module = m;
			f->kernel = mp_exec_module_kernel(m->exec, i);
			f->info = mp_exec_kernel_info(f->kernel);
			mp_function_attributes(f->info, m->ctx->device, f->attributes);
			m->functions[i] = f;
		}
	}
	pthread_mutex_unlock(&mp_soft.state);
	return f;
}

/* ---- The calls ---- */

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
			    CUjit_option *options, void **optionValues)
{
	struct mp_jit j;
	char *ptx;
	size_t len;
	CUresult r;
	MP_ENTER(ctx);

	if (!module || !image || (numOptions && (!options || !optionValues)))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_capture_unsafe();
	if (r)
		return r;
	mp_jit_parse(&j, numOptions, options, optionValues);
	r = mp_image_text(image, ctx->device, &j, &ptx, &len);
	if (r)
		return r;
	r = mp_module_make(ctx, NULL, ptx, len, &j, module);
	free(ptx);
	return r;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
	return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin)
{
	return cuModuleLoadDataEx(module, fatCubin, 0, NULL, NULL);
}

CUresult cuModuleLoad(CUmodule *module, const char *fname)
{
	void *data;
	CUresult r;
	MP_ENTER(ctx);

	(void)ctx;
	if (!module || !fname)
		return CUDA_ERROR_INVALID_VALUE;
	data = mp_image_file(fname);
	if (!data)
		return CUDA_ERROR_FILE_NOT_FOUND;
	r = cuModuleLoadData(module, data);
	free(data);
	return r;
}

void *mp_image_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *data = NULL;
	long n;

	if (!f)
		return NULL;
	if (!fseek(f, 0, SEEK_END) && (n = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET) &&
	    (data = calloc(1, (size_t)n + 64)) && fread(data, 1, (size_t)n, f) != (size_t)n) {
		free(data);
		data = NULL;
	}
	fclose(f);
	return data;
}

#define MODULE(m, h)                                                                               \
	struct CUmod_st *m = h;                                                                    \
	MP_ENTER(ctx);                                                                             \
	(void)ctx;                                                                                 \
	if (!mp_handle_live(MP_MODULE, m))                                                         \
	return CUDA_ERROR_INVALID_HANDLE

CUresult cuModuleUnload(CUmodule hmod)
{
	CUresult r;
	MODULE(m, hmod);

	r = mp_capture_unsafe();
	if (r)
		return r;
	if (m->library)
		return CUDA_ERROR_NOT_PERMITTED; /* it goes with cuLibraryUnload */
	if (mp_soft.exiting)
		return CUDA_SUCCESS;
	mp_queue_join(m->ctx);
	mp_print_flush(m->ctx);
	mp_module_drop(m);
	return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name)
{
	size_t i;
	MODULE(m, hmod);

	if (!hfunc || !name)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < m->nfunctions; i++) {
		struct mp_exec_kernel *k = mp_exec_module_kernel(m->exec, i);

		if (strcmp(mp_exec_kernel_info(k)->name, name))
			continue;
		*hfunc = mp_module_function(m, i);
		return *hfunc ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	}
	return CUDA_ERROR_NOT_FOUND;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name)
{
	uint64_t addr;
	size_t size;
	MODULE(m, hmod);

	if (!name || (!dptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_exec_module_global(m->exec, name, &addr, &size))
		return CUDA_ERROR_NOT_FOUND;
	if (dptr)
		*dptr = addr;
	if (bytes)
		*bytes = size;
	return CUDA_SUCCESS;
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule mod)
{
	MODULE(m, mod);
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = (unsigned)m->nfunctions;
	return CUDA_SUCCESS;
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int numFunctions, CUmodule mod)
{
	unsigned i;
	MODULE(m, mod);

	if (!functions || !numFunctions)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < numFunctions && i < m->nfunctions; i++) {
		functions[i] = mp_module_function(m, i);
		if (!functions[i])
			return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return CUDA_SUCCESS;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mode)
		return CUDA_ERROR_INVALID_VALUE;
	*mode = mp_soft.config.eager ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
	return CUDA_SUCCESS;
}
