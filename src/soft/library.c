/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries: images that belong to no context.  A context that uses one gets a
 * module of it, made at the first use there.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define CONTENTS_CEILING ((size_t)256 << 20)

static void library_free(struct CUlib_st *lib)
{
	size_t i;

	for (i = 0; i < lib->nkernels; i++)
		mp_handle_free(MP_KERNEL, lib->kernels[i]);
	free(lib->kernels);
	free(lib->per);
	mp_managed_fini(&lib->managed);
	free(lib->ptx);
	mp_arena_fini(&lib->arena);
	mp_handle_free(MP_LIBRARY, lib);
}

static CUresult kernels_make(struct CUlib_st *lib)
{
	size_t i, a;

	lib->kernels = calloc(lib->contents.nkernels + 1, sizeof(*lib->kernels));
	if (!lib->kernels)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < lib->contents.nkernels; i++) {
		struct CUkern_st *k;

		k = mp_handle_new(MP_KERNEL, sizeof(*k));
		if (!k)
			return CUDA_ERROR_OUT_OF_MEMORY;
		k->library = lib;
		k->info = &lib->contents.kernels[i];
		for (a = 0; a < CU_FUNC_ATTRIBUTE_MAX; a++)
			k->attributes[a] = INT32_MIN; /* not set */
		lib->kernels[lib->nkernels++] = k;
	}
	return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
			   void **jitOptionsValues, unsigned int numJitOptions,
			   CUlibraryOption *libraryOptions, void **libraryOptionValues,
			   unsigned int numLibraryOptions)
{
	struct CUctx_st *ctx = NULL;
	struct CUlib_st *lib;
	struct CUmod_st *m;
	struct mp_jit j;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!library || !code || (numJitOptions && (!jitOptions || !jitOptionsValues)) ||
	    (numLibraryOptions && (!libraryOptions || !libraryOptionValues)))
		return CUDA_ERROR_INVALID_VALUE;
	/* Not unsafe during a capture: the runtime loads at a kernel's first launch, which may be captured.
	   All soft devices have one capability: what fits the first fits all. */
	mp_context_current(&ctx);
	mp_jit_parse(&j, numJitOptions, jitOptions, jitOptionsValues);
	lib = mp_handle_new(MP_LIBRARY, sizeof(*lib));
	if (!lib)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_arena_init(&lib->arena, CONTENTS_CEILING);
	r = mp_image_text(code, &mp_soft.devices[0], &j, &lib->ptx, &lib->ptx_len);
	if (!r && mp_contents_read(lib->ptx, lib->ptx_len, &lib->arena, &lib->contents)) {
		mp_jit_error(&j, "the PTX text does not parse");
		r = CUDA_ERROR_INVALID_PTX;
	}
	if (!r)
		r = kernels_make(lib);
	/* With a context at hand, a bad image is refused now and not at first use. */
	if (!r && ctx && !ctx->error)
		r = mp_library_module(lib, ctx, &m);
	if (r)
		library_free(lib);
	else
		*library = lib;
	return r;
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *fileName, CUjit_option *jitOptions,
			       void **jitOptionsValues, unsigned int numJitOptions,
			       CUlibraryOption *libraryOptions, void **libraryOptionValues,
			       unsigned int numLibraryOptions)
{
	void *data;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!library || !fileName)
		return CUDA_ERROR_INVALID_VALUE;
	data = mp_image_file(fileName);
	if (!data)
		return CUDA_ERROR_FILE_NOT_FOUND;
	r = cuLibraryLoadData(library, data, jitOptions, jitOptionsValues, numJitOptions,
			      libraryOptions, libraryOptionValues, numLibraryOptions);
	free(data);
	return r;
}

/* ---- A library in a context ---- */

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER; /* before state */

CUresult mp_library_module(struct CUlib_st *lib, struct CUctx_st *ctx, struct CUmod_st **ret)
{
	struct mp_library_module *per;
	struct mp_jit quiet = {0};
	struct CUmod_st *m = NULL;
	CUresult r = CUDA_SUCCESS;
	size_t i;

	pthread_mutex_lock(&making);
	for (i = 0; i < lib->nper; i++)
		if (lib->per[i].ctx == ctx)
			m = lib->per[i].module;
	if (!m) {
		per = realloc(lib->per, (lib->nper + 1) * sizeof(*per));
		if (per)
			lib->per = per;
		r = per ? mp_module_make(ctx, lib, lib->ptx, lib->ptx_len, &quiet, &m)
			: CUDA_ERROR_OUT_OF_MEMORY;
		if (!r) {
			m->library = lib;
			lib->per[lib->nper++] = (struct mp_library_module){ctx, m};
		}
	}
	pthread_mutex_unlock(&making);
	*ret = m;
	return r;
}

/* The modules themselves go with the context's others. */
void mp_library_context_gone(struct CUctx_st *ctx)
{
	struct CUmod_st *m;
	size_t i;

	for (m = ctx->modules; m; m = m->next) {
		struct CUlib_st *lib = m->library;

		for (i = 0; lib && i < lib->nper; i++)
			if (lib->per[i].ctx == ctx)
				lib->per[i--] = lib->per[--lib->nper];
	}
}

CUresult cuLibraryUnload(CUlibrary library)
{
	struct CUlib_st *lib = library;
	CUresult r = mp_soft_ready();
	size_t i;

	if (r)
		return r;
	if (!mp_handle_live(MP_LIBRARY, lib))
		return CUDA_ERROR_INVALID_HANDLE;
	if (mp_soft.exiting)
		return CUDA_SUCCESS;
	for (i = 0; i < lib->nper; i++) {
		struct CUmod_st *m = lib->per[i].module;

		mp_queue_join(m->ctx);
		mp_print_flush(m->ctx);
		mp_module_drop(m);
	}
	library_free(lib);
	return CUDA_SUCCESS;
}

#define LIBRARY(lib, h)                                                                            \
	struct CUlib_st *lib = h;                                                                  \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		if (!mp_handle_live(MP_LIBRARY, lib))                                              \
			return CUDA_ERROR_INVALID_HANDLE;                                          \
	} while (0)

CUresult cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name)
{
	size_t i;
	LIBRARY(lib, library);

	if (!pKernel || !name)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < lib->nkernels; i++) {
		if (strcmp(lib->kernels[i]->info->name, name))
			continue;
		*pKernel = lib->kernels[i];
		return CUDA_SUCCESS;
	}
	return CUDA_ERROR_NOT_FOUND;
}

CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib)
{
	LIBRARY(l, lib);
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = (unsigned)l->nkernels;
	return CUDA_SUCCESS;
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int numKernels, CUlibrary lib)
{
	unsigned i;
	LIBRARY(l, lib);

	if (!kernels || !numKernels)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < numKernels && i < l->nkernels; i++)
		kernels[i] = l->kernels[i];
	return CUDA_SUCCESS;
}

CUresult cuLibraryGetModule(CUmodule *pMod, CUlibrary library)
{
	LIBRARY(lib, library);
	MP_ENTER(ctx);
	return pMod ? mp_library_module(lib, ctx, pMod) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
	struct CUmod_st *m;
	CUresult r;
	LIBRARY(lib, library);
	MP_ENTER(ctx);

	if (!name || (!dptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_library_module(lib, ctx, &m);
	return r ? r : cuModuleGetGlobal_v2(dptr, bytes, m, name);
}

/* They are one for all contexts, and there before the first: a runtime asks for them at its start. */
CUresult cuLibraryGetManaged(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
	CUresult r = CUDA_SUCCESS;
	size_t i;
	LIBRARY(lib, library);

	if (!name || (!dptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < lib->contents.nvariables; i++)
		if (lib->contents.variables[i].space == MP_SPACE_MANAGED &&
		    !strcmp(lib->contents.variables[i].name, name))
			break;
	if (i == lib->contents.nvariables)
		return CUDA_ERROR_NOT_FOUND;
	pthread_mutex_lock(&making);
	if (!lib->managed.n)
		r = mp_library_managed(lib);
	for (i = 0; i < lib->managed.n && strcmp(lib->managed.at[i].name, name); i++)
		;
	if (!r && i == lib->managed.n)
		r = CUDA_ERROR_NOT_FOUND;
	if (!r && dptr)
		*dptr = lib->managed.at[i].addr;
	if (!r && bytes)
		*bytes = lib->managed.at[i].size;
	pthread_mutex_unlock(&making);
	return r;
}

CUresult cuLibraryGetUnifiedFunction(void **fptr, CUlibrary library, const char *symbol)
{
	LIBRARY(lib, library);
	(void)lib;
	return fptr && symbol ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
}

/* ---- Kernels ---- */

#define KERNEL(k, h)                                                                               \
	struct CUkern_st *k = h;                                                                   \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		if (!mp_handle_live(MP_KERNEL, k))                                                 \
			return CUDA_ERROR_INVALID_HANDLE;                                          \
	} while (0)

static CUresult kernel_function(struct CUkern_st *k, struct CUctx_st *ctx, struct CUfunc_st **ret)
{
	struct CUfunc_st *f = k->cached;
	struct CUmod_st *m;
	size_t i, a;
	CUresult r;

	if (MP_LIKELY(f && mp_handle_live(MP_FUNCTION, f) && f->module->ctx == ctx &&
		      f->parent == k)) {
		*ret = f;
		return CUDA_SUCCESS;
	}
	r = mp_library_module(k->library, ctx, &m);
	if (r)
		return r;
	for (i = 0; i < m->nfunctions; i++)
		if (!strcmp(mp_exec_kernel_info(mp_exec_module_kernel(m->exec, i))->name,
			    k->info->name))
			break;
	f = mp_module_function(m, i);
	if (!f)
		return i < m->nfunctions ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_NOT_FOUND;
	if (!f->parent) {
		f->parent = k;
		for (a = 0; a < CU_FUNC_ATTRIBUTE_MAX; a++)
			if (k->attributes[a] != INT32_MIN)
				f->attributes[a] = k->attributes[a];
	}
	k->cached = f;
	*ret = f;
	return CUDA_SUCCESS;
}

CUresult mp_function_find(struct CUctx_st *ctx, CUfunction h, struct CUfunc_st **ret,
			  struct CUkern_st **ret_kernel)
{
	if (ret_kernel)
		*ret_kernel = NULL;
	if (mp_handle_live(MP_KERNEL, h)) {
		if (ret_kernel)
			*ret_kernel = (struct CUkern_st *)h;
		return kernel_function((struct CUkern_st *)h, ctx, ret);
	}
	if (!mp_handle_live(MP_FUNCTION, h))
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = h;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
	KERNEL(k, kernel);
	MP_ENTER(ctx);
	return pFunc ? kernel_function(k, ctx, pFunc) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuKernelGetLibrary(CUlibrary *pLib, CUkernel kernel)
{
	KERNEL(k, kernel);
	if (!pLib)
		return CUDA_ERROR_INVALID_VALUE;
	*pLib = k->library;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetName(const char **name, CUkernel hfunc)
{
	KERNEL(k, hfunc);
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = k->info->name;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset,
			      size_t *paramSize)
{
	KERNEL(k, kernel);
	if (!paramOffset || paramIndex >= k->info->nparams)
		return CUDA_ERROR_INVALID_VALUE;
	*paramOffset = k->info->params[paramIndex].offset;
	if (paramSize)
		*paramSize = k->info->params[paramIndex].size;
	return CUDA_SUCCESS;
}

/* The context in which a kernel's attributes on a device are looked at: current, or primary. */
static struct CUctx_st *context_on(struct mp_device *d)
{
	struct CUctx_st *ctx = mp_context_top();

	if (mp_context_live(ctx) && ctx->active && ctx->device == d)
		return ctx;
	return d->primary && d->primary->active ? d->primary : NULL;
}

CUresult cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev)
{
	struct mp_device *d = mp_device_find(dev);
	struct CUfunc_st *f;
	CUresult r;
	KERNEL(k, kernel);

	if (!pi || (unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	if (k->attributes[attrib] != INT32_MIN) {
		*pi = k->attributes[attrib];
		return CUDA_SUCCESS;
	}
	if (context_on(d)) {
		r = kernel_function(k, context_on(d), &f);
		if (!r)
			*pi = f->attributes[attrib];
		return r;
	}
	/* No context on that device: what the text alone says. */
	{
		struct mp_exec_kernel_info info = {
			.static_shared = k->info->static_shared,
			.local_bytes = k->info->local_bytes,
			.registers = k->info->registers,
			.ptx_version = k->library->contents.ptx_version,
			.target = k->library->contents.sm,
		};
		int all[CU_FUNC_ATTRIBUTE_MAX];

		memcpy(info.maxntid, k->info->maxntid, sizeof(info.maxntid));
		memcpy(info.reqntid, k->info->reqntid, sizeof(info.reqntid));
		mp_function_attributes(&info, d, all);
		*pi = all[attrib];
	}
	return CUDA_SUCCESS;
}

CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev)
{
	struct mp_device *d = mp_device_find(dev);
	int all[CU_FUNC_ATTRIBUTE_MAX];
	unsigned a;
	size_t i;
	CUresult r;
	KERNEL(k, kernel);

	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	for (a = 0; a < CU_FUNC_ATTRIBUTE_MAX; a++) {
		r = cuKernelGetAttribute(&all[a], (CUfunction_attribute)a, kernel, dev);
		if (r)
			return r;
	}
	r = mp_function_set(all, d, attrib, val);
	if (r)
		return r;
	k->attributes[attrib] = val;
	pthread_mutex_lock(&mp_soft.state);
	for (i = 0; i < k->library->nper; i++) {
		struct CUmod_st *m = k->library->per[i].module;
		size_t j;

		for (j = 0; j < m->nfunctions; j++)
			if (m->functions[j] && m->functions[j]->parent == k)
				m->functions[j]->attributes[attrib] = val;
	}
	pthread_mutex_unlock(&mp_soft.state);
	return CUDA_SUCCESS;
}

CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice dev)
{
	KERNEL(k, kernel);
	(void)k;
	if (!mp_device_find(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	return (unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE
							     : CUDA_SUCCESS;
}
