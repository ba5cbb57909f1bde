/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a fatbin, its decompressors, the choice for a device, and the rebuilt image.
 * Input: the image, then one byte that picks the device.
 *
 * Promises: members lie inside the image; what is decoded has exactly the size it
 * was promised; an image built from a chosen member holds that member alone, unchanged.
 */
#include "fuzz.h"

#include <string.h>

#include "cuabi/cuabi.h"

#define DECODE_MAX (1u << 20)

static void member_check(const struct mp_image *image, const struct mp_member *m)
{
	struct mp_contents contents;
	struct mp_arena arena;
	uint8_t *out;

	FUZZ_CHECK(m->entry >= image->data && m->entry + m->entry_size <= image->data + image->size);
	FUZZ_CHECK(m->payload >= m->entry && m->packed_size <= m->entry_size);
	FUZZ_CHECK(m->payload + m->packed_size <= m->entry + m->entry_size);
	FUZZ_CHECK(m->size && m->size <= MP_MEMBER_CEILING);
	if (m->size > DECODE_MAX)
		return;
	out = malloc(m->size);
	FUZZ_CHECK(out);
	mp_arena_init(&arena, DECODE_MAX);
	if (mp_member_decode(m, out) == MP_IMAGE_OK)
		mp_contents_read(out, m->size, &arena, &contents);
	mp_arena_fini(&arena);
	free(out);
}

static void build_check(const struct mp_member *m)
{
	struct mp_image image;
	struct mp_member again;
	struct mp_buf out;
	size_t cursor = 0;

	mp_buf_init(&out, m->entry_size + 16);
	FUZZ_CHECK(mp_image_build(m, 1, &out) == MP_IMAGE_OK);
	FUZZ_CHECK(out.len == mp_image_build_size(m, 1));
	FUZZ_CHECK(mp_image_open(out.data, out.len, &image) == MP_IMAGE_OK);
	FUZZ_CHECK(mp_image_next(&image, &cursor, &again) == MP_IMAGE_OK);
	FUZZ_CHECK(again.kind == m->kind && again.sm == m->sm && again.size == m->size);
	FUZZ_CHECK(again.entry_size == m->entry_size &&
		   !memcmp(again.entry, m->entry, m->entry_size));
	FUZZ_CHECK(mp_image_next(&image, &cursor, &again) == MP_IMAGE_NO_MEMBER);
	mp_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mp_image image;
	struct mp_member m;
	size_t cursor = 0;
	unsigned capability;

	if (size < 2 || size > 1 << 20)
		return 0;
	capability = data[--size];
	if (mp_image_open(data, size, &image))
		return 0;
	FUZZ_CHECK(image.size && image.size <= size);
	while (!mp_image_next(&image, &cursor, &m))
		member_check(&image, &m);
	if (!mp_image_choose(&image, capability, MP_TAKE_CUBIN | MP_TAKE_PTX, &m))
		build_check(&m);
	return 0;
}
