/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images to PTX text: choosing the member of a fatbin, and the JIT options by
 * which a program hears what was wrong with it.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mp_jit_parse(struct mp_jit *j, unsigned n, CUjit_option *options, void **values)
{
	unsigned i;

	memset(j, 0, sizeof(*j));
	if (!options || !values)
		return;
	for (i = 0; i < n; i++) {
		switch ((int)options[i]) {
		case CU_JIT_INFO_LOG_BUFFER: j->info = values[i]; break;
		case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
			j->info_size = (unsigned)(uintptr_t)values[i];
			j->info_slot = &values[i];
			break;
		case CU_JIT_ERROR_LOG_BUFFER: j->error = values[i]; break;
		case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
			j->error_size = (unsigned)(uintptr_t)values[i];
			j->error_slot = &values[i];
			break;
		case CU_JIT_WALL_TIME: {
			/* Milliseconds as a float in the value's own bytes; nothing is compiled here. */
			float none = 0;

			memcpy(&values[i], &none, sizeof(none));
			break;
		}
		default: break; /* hints to a compiler that is not here */
		}
	}
	if (j->info && j->info_size)
		j->info[0] = 0;
	if (j->error && j->error_size)
		j->error[0] = 0;
	if (j->info_slot)
		*j->info_slot = NULL;
	if (j->error_slot)
		*j->error_slot = NULL;
}

void mp_jit_error(struct mp_jit *j, const char *text)
{
	int n;

	mp_log(MP_LOG_ERROR, "soft", "image", "error=\"%s\"", text);
	if (!j || !j->error || !j->error_size)
		return;
	n = snprintf(j->error, j->error_size, "%s", text);
	if ((size_t)n >= j->error_size)
		n = (int)j->error_size - 1;
	if (j->error_slot)
		*j->error_slot = (void *)(uintptr_t)(unsigned)(n + 1);
}

/* Says which targets an image had, since "no binary for this GPU" alone helps nobody. */
static void say_targets(const struct mp_image *image, unsigned capability, struct mp_jit *j)
{
	struct mp_member m;
	char text[400];
	size_t cursor = 0;
	int n = snprintf(text, sizeof(text),
			 "no PTX for compute capability %u.%u in the image; it has:",
			 capability / 10, capability % 10);

	while (n < (int)sizeof(text) - 32 && mp_image_next(image, &cursor, &m) == MP_IMAGE_OK)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s_%u%s",
			      m.kind == MP_MEMBER_PTX	  ? "ptx"
			      : m.kind == MP_MEMBER_CUBIN ? "sm"
			      : m.kind == MP_MEMBER_LTOIR ? "lto"
							  : "other",
			      m.sm, m.arch ? "a" : m.family ? "f" : "");
	mp_jit_error(j, text);
}

static CUresult member_text(const struct mp_member *m, char **ret_ptx, size_t *ret_len)
{
	char *text;

	if (m->size > MP_MEMBER_CEILING)
		return CUDA_ERROR_INVALID_IMAGE;
	text = malloc(m->size + 1);
	if (!text)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (mp_member_decode(m, text)) {
		free(text);
		return CUDA_ERROR_INVALID_IMAGE;
	}
	text[m->size] = 0;
	*ret_ptx = text;
	*ret_len = strlen(text); /* a member may be padded */
	return CUDA_SUCCESS;
}

static CUresult single_text(const struct mp_image *image, unsigned capability, char **ret_ptx,
			    size_t *ret_len)
{
	struct mp_member m;
	enum mp_image_outcome o;

	if (image->kind == MP_IMAGE_PTX) {
		/* A bare text is taken whatever its target: the engine knows no targets. */
		char *text = malloc(image->size + 1);

		if (!text)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(text, image->data, image->size);
		text[image->size] = 0;
		*ret_ptx = text;
		*ret_len = image->size;
		return CUDA_SUCCESS;
	}
	o = mp_image_choose(image, capability, MP_TAKE_PTX, &m);
	return o ? mp_image_result(o) : member_text(&m, ret_ptx, ret_len);
}

CUresult mp_image_text(const void *image, struct mp_device *d, struct mp_jit *j, char **ret_ptx,
		       size_t *ret_len)
{
	unsigned capability =
		(unsigned)(d->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] * 10 +
			   d->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR]);
	struct mp_image img;
	enum mp_image_outcome o;
	CUresult r;

	if (!image)
		return CUDA_ERROR_INVALID_VALUE;
	o = mp_image_open(image, 0, &img);
	if (o) {
		mp_jit_error(j, "not an image: neither fatbin, cubin nor PTX");
		return mp_image_result(o);
	}
	if (img.relocatable && img.relocatable[0]) {
		r = mp_image_join(&img, capability, ret_ptx, ret_len);
		if (r != CUDA_ERROR_NO_BINARY_FOR_GPU)
			return r;
	}
	r = single_text(&img, capability, ret_ptx, ret_len);
	if (r == CUDA_ERROR_NO_BINARY_FOR_GPU)
		say_targets(&img, capability, j);
	return r;
}
