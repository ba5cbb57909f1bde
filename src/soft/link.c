/* SPDX-License-Identifier: Apache-2.0 */
/* The JIT linker: PTX in, one PTX text out, which the module calls load as they would a cubin. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

struct CUlinkState_st {
	struct mp_object object;
	struct mp_device *device;
	struct mp_jit jit;
	char **texts;
	size_t *lens, n;
	char *result;
};

CUresult cuLinkCreate_v2(unsigned int numOptions, CUjit_option *options, void **optionValues,
			 CUlinkState *stateOut)
{
	struct CUlinkState_st *s;
	MP_ENTER(ctx);

	if (!stateOut || (numOptions && (!options || !optionValues)))
		return CUDA_ERROR_INVALID_VALUE;
	s = mp_handle_new(MP_LINK, sizeof(*s));
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->device = ctx->device;
	mp_jit_parse(&s->jit, numOptions, options, optionValues);
	*stateOut = s;
	return CUDA_SUCCESS;
}

CUresult cuLinkCreate(unsigned int numOptions, CUjit_option *options, void **optionValues,
		      CUlinkState *stateOut)
{
	return cuLinkCreate_v2(numOptions, options, optionValues, stateOut);
}

#define LINK(s, h)                                                                                 \
	struct CUlinkState_st *s = h;                                                              \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		if (!mp_handle_live(MP_LINK, s))                                                   \
			return CUDA_ERROR_INVALID_HANDLE;                                          \
	} while (0)

static CUresult keep(struct CUlinkState_st *s, char *own_text, size_t len)
{
	char **texts = realloc(s->texts, (s->n + 1) * sizeof(*texts));
	size_t *lens;

	if (texts)
		s->texts = texts;
	lens = realloc(s->lens, (s->n + 1) * sizeof(*lens));
	if (lens)
		s->lens = lens;
	if (!texts || !lens) {
		free(own_text);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	s->texts[s->n] = own_text;
	s->lens[s->n++] = len;
	return CUDA_SUCCESS;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size,
			  const char *name, unsigned int numOptions, CUjit_option *options,
			  void **optionValues)
{
	char *text;
	size_t len;
	CUresult r;
	LINK(s, state);

	(void)numOptions, (void)options, (void)optionValues;
	if (!data || !size || s->result)
		return CUDA_ERROR_INVALID_VALUE;
	switch ((int)type) {
	case CU_JIT_INPUT_PTX:
		text = malloc(size + 1);
		if (!text)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(text, data, size);
		text[size] = 0;
		return keep(s, text, strlen(text));
	case CU_JIT_INPUT_FATBINARY:
		r = mp_image_text(data, s->device, &s->jit, &text, &len);
		return r ? r : keep(s, text, len);
	case CU_JIT_INPUT_CUBIN:
	case CU_JIT_INPUT_OBJECT:
	case CU_JIT_INPUT_LIBRARY:
	case CU_JIT_INPUT_NVVM:
		mp_jit_error(&s->jit, "only PTX can be linked on a soft device");
		mp_log(MP_LOG_WARN, "soft", "link", "input=%s type=%d", name ? name : "", type);
		return CUDA_ERROR_NOT_SUPPORTED;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size,
		       const char *name, unsigned int numOptions, CUjit_option *options,
		       void **optionValues)
{
	return cuLinkAddData_v2(state, type, data, size, name, numOptions, options, optionValues);
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path,
			  unsigned int numOptions, CUjit_option *options, void **optionValues)
{
	char *data;
	CUresult r;
	LINK(s, state);

	if (!path)
		return CUDA_ERROR_INVALID_VALUE;
	data = mp_image_file(path);
	if (!data)
		return CUDA_ERROR_FILE_NOT_FOUND;
	r = cuLinkAddData_v2(s, type, data, type == CU_JIT_INPUT_PTX ? strlen(data) : 1, path,
			     numOptions, options, optionValues);
	free(data);
	return r;
}

CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path,
		       unsigned int numOptions, CUjit_option *options, void **optionValues)
{
	return cuLinkAddFile_v2(state, type, path, numOptions, options, optionValues);
}

CUresult cuLinkComplete(CUlinkState state, void **cubinOut, size_t *sizeOut)
{
	size_t len;
	CUresult r;
	LINK(s, state);

	if (!cubinOut || s->result || !s->n)
		return CUDA_ERROR_INVALID_VALUE;
	r = mp_join_texts(s->texts, s->lens, s->n, &s->result, &len);
	if (r) {
		mp_jit_error(&s->jit, "a symbol is defined twice");
		return r;
	}
	*cubinOut = s->result;
	if (sizeOut)
		*sizeOut = len + 1;
	return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState state)
{
	LINK(s, state);
	while (s->n)
		free(s->texts[--s->n]);
	free(s->texts);
	free(s->lens);
	free(s->result);
	mp_handle_free(MP_LINK, s);
	return CUDA_SUCCESS;
}
