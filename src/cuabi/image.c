/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of device code: recognising them, walking the entries of a fatbin, choosing
 * the entry for a device, and writing a fatbin with only some entries.
 *
 * All numbers are little endian and may lie unaligned.  A program passes a pointer
 * without a length, so for those the sizes that headers promise are believed up to a
 * ceiling; with a length (a peer's bytes) they are checked against it.
 */
#include <string.h>
#include <zstd.h>

#include "base/check.h"
#include "base/sha256.h"
#include "cuabi/internal.h"

#define WRAPPER_MAGIC 0x466243b1u
#define FATBIN_MAGIC  0xba55ed50u
#define FATBIN_HEADER 16
#define ENTRY_HEADER  0x40

/* The largest fatbin that was seen has 59 MB, the largest PTX text 26 MB. */
#define FATBIN_CEILING ((uint64_t)4 << 30)
#define TEXT_CEILING   ((size_t)512 << 20)

enum { FLAG_LZ4 = 0x2000, FLAG_ZSTD = 0x8000, FLAG_ARCH = 0x100000, FLAG_FAMILY = 0x200000 };

static uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

CUresult mp_image_result(enum mp_image_outcome outcome)
{
	switch (outcome) {
	case MP_IMAGE_OK:
		return CUDA_SUCCESS;
	case MP_IMAGE_NO_MEMBER:
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	case MP_IMAGE_NO_MEMORY:
		return CUDA_ERROR_OUT_OF_MEMORY;
	case MP_IMAGE_BAD:
		break;
	}
	return CUDA_ERROR_INVALID_IMAGE;
}

/* ---- Recognising ---- */

/*
 * Whether p begins with this magic.  Byte by byte: no magic has a zero byte, so a short
 * text is not read past its NUL.
 */
static bool magic_is(const uint8_t *p, size_t limit, uint32_t magic)
{
	int i;

	if (limit && limit < 4)
		return false;
	for (i = 0; i < 4; i++, magic >>= 8)
		if (p[i] != (magic & 255))
			return false;
	return true;
}

static enum mp_image_outcome fatbin_open(const uint8_t *p, size_t limit, struct mp_image *ret)
{
	uint64_t size;

	if (!magic_is(p, limit, FATBIN_MAGIC) || (limit && limit < FATBIN_HEADER))
		return MP_IMAGE_BAD;
	size = load64(p + 8);
	if (load16(p + 4) != 1 || load16(p + 6) != FATBIN_HEADER || size > FATBIN_CEILING)
		return MP_IMAGE_BAD;
	size += FATBIN_HEADER;
	if (limit && size > limit)
		return MP_IMAGE_BAD;
	ret->kind = MP_IMAGE_FATBIN;
	ret->data = p;
	ret->size = size;
	return MP_IMAGE_OK;
}

static enum mp_image_outcome wrapper_open(const uint8_t *p, struct mp_image *ret)
{
	uint32_t version = load32(p + 4);
	const uint8_t *data = (const uint8_t *)(uintptr_t)load64(p + 8);

	if ((version != 1 && version != 2) || !data)
		return MP_IMAGE_BAD;
	if (version == 2)
		ret->relocatable = (const void *const *)(uintptr_t)load64(p + 16);
	return fatbin_open(data, 0, ret);
}

enum mp_image_outcome mp_image_open(const void *image, size_t limit, struct mp_image *ret)
{
	const uint8_t *p = image;

	memset(ret, 0, sizeof(*ret));
	if (!p)
		return MP_IMAGE_BAD;
	if (magic_is(p, limit, WRAPPER_MAGIC))
		return limit ? MP_IMAGE_BAD : wrapper_open(p, ret);
	if (magic_is(p, limit, FATBIN_MAGIC))
		return fatbin_open(p, limit, ret);
	ret->data = p;
	if (magic_is(p, limit, 0x464c457f)) { /* \177ELF */
		ret->kind = MP_IMAGE_CUBIN;
		ret->size = mp_cubin_size(p, limit);
		return ret->size ? MP_IMAGE_OK : MP_IMAGE_BAD;
	}
	ret->kind = MP_IMAGE_PTX;
	ret->size = strnlen(image, limit && limit < TEXT_CEILING ? limit : TEXT_CEILING);
	return ret->size && ret->size < TEXT_CEILING ? MP_IMAGE_OK : MP_IMAGE_BAD;
}

/* ---- Walking ---- */

/* Sizes and codec of an entry; false when they cannot be. */
static bool entry_sizes(struct mp_member *m, const uint8_t *e, uint64_t payload)
{
	uint32_t packed = load32(e + 0x10);
	uint64_t size = load64(e + 0x38);

	m->codec = m->flags & FLAG_ZSTD	 ? MP_CODEC_ZSTD
		   : m->flags & FLAG_LZ4 ? MP_CODEC_LZ4
					 : MP_CODEC_NONE;
	if (m->codec == MP_CODEC_NONE) {
		m->packed_size = m->size = payload;
		return payload && payload <= MP_MEMBER_CEILING;
	}
	m->packed_size = packed;
	m->size = size;
	return packed && packed <= payload && size && size <= MP_MEMBER_CEILING;
}

static enum mp_image_outcome entry_next(const struct mp_image *image, size_t *cursor,
					struct mp_member *m)
{
	const uint8_t *e = image->data + FATBIN_HEADER + *cursor;
	size_t left = image->size - FATBIN_HEADER - *cursor;
	uint64_t payload;
	uint32_t header;

	if (!left)
		return MP_IMAGE_NO_MEMBER;
	if (left < ENTRY_HEADER)
		return MP_IMAGE_BAD;
	header = load32(e + 4);
	payload = load64(e + 8);
	if (header < ENTRY_HEADER || header > left || payload > left - header)
		return MP_IMAGE_BAD;
	m->kind = load16(e);
	m->sm = load32(e + 0x1c);
	m->flags = load64(e + 0x28);
	m->arch = m->flags & FLAG_ARCH;
	m->family = m->flags & FLAG_FAMILY;
	m->entry = e;
	m->entry_size = header + payload;
	m->payload = e + header;
	if (!entry_sizes(m, e, payload))
		return MP_IMAGE_BAD;
	*cursor += m->entry_size;
	return MP_IMAGE_OK;
}

/* A bare cubin or text as the one member of itself. */
static enum mp_image_outcome bare_member(const struct mp_image *image, struct mp_member *m)
{
	unsigned version;

	m->entry = m->payload = image->data;
	m->entry_size = m->packed_size = m->size = image->size;
	if (image->kind == MP_IMAGE_CUBIN) {
		m->kind = MP_MEMBER_CUBIN;
		return mp_cubin_target(image->data, image->size, &m->sm) ? MP_IMAGE_OK
									  : MP_IMAGE_BAD;
	}
	m->kind = MP_MEMBER_PTX;
	mp_ptx_target((const char *)image->data, image->size, &m->sm, &m->arch, &m->family,
		      &version);
	return MP_IMAGE_OK;
}

enum mp_image_outcome mp_image_next(const struct mp_image *image, size_t *cursor,
				    struct mp_member *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (image->kind == MP_IMAGE_FATBIN) {
		assert(image->size >= FATBIN_HEADER && *cursor <= image->size - FATBIN_HEADER);
		return entry_next(image, cursor, ret);
	}
	if ((*cursor)++)
		return MP_IMAGE_NO_MEMBER;
	return bare_member(image, ret);
}

/* ---- Choosing ---- */

/* How good a member is for a device; 0 = it cannot run there. */
static unsigned member_rank(const struct mp_member *m, unsigned capability, unsigned take)
{
	bool same_major = m->sm / 10 == capability / 10;
	unsigned rank;

	if (m->sm > capability || m->sm > 0xffff)
		return 0;
	if (m->arch ? m->sm != capability : m->family && !same_major)
		return 0;
	rank = m->sm * 4 + (m->arch ? 2 : m->family ? 1 : 0) + 1;
	if (m->kind == MP_MEMBER_CUBIN && take & MP_TAKE_CUBIN && same_major)
		return rank + (1u << 24); /* any cubin before any PTX: no compiling */
	if (m->kind == MP_MEMBER_PTX && take & MP_TAKE_PTX)
		return rank;
	return 0;
}

enum mp_image_outcome mp_image_choose(const struct mp_image *image, unsigned capability,
				      unsigned take, struct mp_member *ret)
{
	enum mp_image_outcome rc;
	struct mp_member m;
	unsigned best = 0;
	size_t cursor = 0;

	while (!(rc = mp_image_next(image, &cursor, &m))) {
		unsigned rank = member_rank(&m, capability, take);

		if (rank > best) {
			best = rank;
			*ret = m;
		}
	}
	if (rc == MP_IMAGE_BAD)
		return rc;
	return best ? MP_IMAGE_OK : MP_IMAGE_NO_MEMBER;
}

/* ---- Building ---- */

static bool member_is_bare(const struct mp_member *m)
{
	return m->entry == m->payload;
}

size_t mp_image_build_size(const struct mp_member *members, size_t n)
{
	size_t size, i;

	if (n == 1 && member_is_bare(members))
		return members->entry_size;
	size = FATBIN_HEADER;
	for (i = 0; i < n; i++)
		size += members[i].entry_size;
	return size;
}

enum mp_image_outcome mp_image_build(const struct mp_member *members, size_t n, struct mp_buf *out)
{
	uint8_t header[FATBIN_HEADER] = {0x50, 0xed, 0x55, 0xba, 1, 0, FATBIN_HEADER, 0};
	uint64_t size = mp_image_build_size(members, n);
	size_t i;

	if (n == 1 && member_is_bare(members))
		return mp_buf_add(out, members->entry, size) ? MP_IMAGE_NO_MEMORY : MP_IMAGE_OK;
	size -= FATBIN_HEADER;
	memcpy(header + 8, &size, sizeof(size));
	mp_buf_add(out, header, sizeof(header));
	for (i = 0; i < n; i++) {
		if (member_is_bare(&members[i]))
			return MP_IMAGE_BAD;
		mp_buf_add(out, members[i].entry, members[i].entry_size);
	}
	return out->failed ? MP_IMAGE_NO_MEMORY : MP_IMAGE_OK;
}

/* ---- Decoding ---- */

enum mp_image_outcome mp_member_decode(const struct mp_member *m, void *out)
{
	size_t got;

	if (m->kind != MP_MEMBER_PTX && m->kind != MP_MEMBER_CUBIN)
		return MP_IMAGE_BAD;
	switch (m->codec) {
	case MP_CODEC_NONE:
		assert(m->packed_size == m->size);
		memcpy(out, m->payload, m->size);
		return MP_IMAGE_OK;
	case MP_CODEC_LZ4:
		return mp_lz4_decode(m->payload, m->packed_size, out, m->size) ? MP_IMAGE_OK
										: MP_IMAGE_BAD;
	case MP_CODEC_ZSTD:
		got = ZSTD_decompress(out, m->size, m->payload, m->packed_size);
		return !ZSTD_isError(got) && got == m->size ? MP_IMAGE_OK : MP_IMAGE_BAD;
	}
	return MP_IMAGE_BAD;
}

void mp_member_digest(const struct mp_member *member, uint8_t ret_digest[32])
{
	mp_sha256(member->entry, member->entry_size, ret_digest);
}

enum mp_image_outcome mp_contents_read(const void *data, size_t size, struct mp_arena *arena,
				       struct mp_contents *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!data || !size)
		return MP_IMAGE_BAD;
	if (magic_is(data, size, 0x464c457f))
		return mp_cubin_read(data, size, arena, ret);
	return mp_ptx_read(data, size, arena, ret);
}
