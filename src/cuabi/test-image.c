/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: recognising, walking, choosing, decoding and building; truncated and damaged ones.
 */
#include "base/check.h"
#include "base/test.h"
#include "cuabi/internal.h"
#include "cuabi/sample.h"

static uint8_t *cubin(unsigned sm, size_t *size)
{
	return mp_sample_cubin(&(struct mp_sample_cubin){.sm = sm, .abi = 8}, size);
}

/* An entry whose content does not matter, for choosing. */
#define ENTRY(kind_, sm_, flags_) \
	{.kind = kind_, .sm = sm_, .flags = flags_, .data = "12345678", .size = 8}
enum { A = 0x100000, F = 0x200000 };

MP_TEST(walk_and_decode)
{
	size_t cubin_size, size, cursor = 0, n = 0;
	uint8_t *elf = cubin(90, &cubin_size);
	const struct mp_sample_entry entries[] = {
		{MP_MEMBER_PTX, 75, 0, MP_CODEC_ZSTD, mp_sample_ptx, strlen(mp_sample_ptx)},
		{MP_MEMBER_CUBIN, 90, A, MP_CODEC_LZ4, elf, cubin_size},
		{MP_MEMBER_CUBIN, 100, F, MP_CODEC_NONE, elf, cubin_size},
		{MP_MEMBER_LTOIR, 75, 0x10000, MP_CODEC_NONE, "obfuscated", 10},
	};
	uint8_t *fat = mp_sample_fatbin(entries, 4, &size), *out = malloc(cubin_size + 65536);
	enum mp_image_outcome rc;
	struct mp_image image;
	struct mp_member m;

	MP_CHECK_EQ(mp_image_open(fat, 0, &image), MP_IMAGE_OK);
	MP_CHECK(image.kind == MP_IMAGE_FATBIN && image.size == size && !image.relocatable);
	while (!(rc = mp_image_next(&image, &cursor, &m))) {
		const struct mp_sample_entry *e = &entries[n++];

		MP_CHECK(m.kind == e->kind && m.sm == e->sm && m.codec == e->codec);
		MP_CHECK(m.arch == (e->flags == A) && m.family == (e->flags == F));
		if (m.kind == MP_MEMBER_LTOIR) {
			MP_CHECK_EQ(mp_member_decode(&m, out), MP_IMAGE_BAD);
			continue;
		}
		MP_CHECK_EQ(m.size, e->codec ? e->size : mp_align_up(e->size, 8));
		MP_CHECK_EQ(mp_member_decode(&m, out), MP_IMAGE_OK);
		MP_CHECK(!memcmp(out, e->data, e->size));
	}
	MP_CHECK_EQ(rc, MP_IMAGE_NO_MEMBER);
	MP_CHECK_EQ(n, 4);
	free(out);
	free(fat);
	free(elf);
}

MP_TEST(wrappers)
{
	const struct mp_sample_entry e = ENTRY(MP_MEMBER_CUBIN, 75, 0);
	size_t size;
	uint8_t *fat = mp_sample_fatbin(&e, 1, &size);
	const void *relocatable[] = {fat, NULL};
	struct {
		uint32_t magic, version;
		const void *data, *extra;
	} w = {0x466243b1, 1, fat, "prelinked.cu"};
	struct mp_image image;

	MP_CHECK_EQ(mp_image_open(&w, 0, &image), MP_IMAGE_OK);
	MP_CHECK(image.data == fat && image.size == size && !image.relocatable);
	w.version = 2;
	w.extra = relocatable;
	MP_CHECK_EQ(mp_image_open(&w, 0, &image), MP_IMAGE_OK);
	MP_CHECK(image.data == fat && image.relocatable == relocatable);
	/* A wrapper points elsewhere: no length can vouch for it. */
	MP_CHECK_EQ(mp_image_open(&w, sizeof(w), &image), MP_IMAGE_BAD);
	w.version = 3;
	MP_CHECK_EQ(mp_image_open(&w, 0, &image), MP_IMAGE_BAD);
	w.version = 1;
	w.data = NULL;
	MP_CHECK_EQ(mp_image_open(&w, 0, &image), MP_IMAGE_BAD);
	w.data = "not a fatbin";
	MP_CHECK_EQ(mp_image_open(&w, 0, &image), MP_IMAGE_BAD);
	MP_CHECK_EQ(mp_image_open(NULL, 0, &image), MP_IMAGE_BAD);
	free(fat);
}

/* What a fatbin with these entries gives a device: index of the entry, or -1. */
static int chosen(const struct mp_sample_entry *e, size_t n, unsigned capability, unsigned take)
{
	size_t size, cursor = 0;
	uint8_t *fat = mp_sample_fatbin(e, n, &size);
	struct mp_member best, m;
	struct mp_image image;
	int i, found = -1;

	MP_CHECK_EQ(mp_image_open(fat, size, &image), MP_IMAGE_OK);
	if (!mp_image_choose(&image, capability, take, &best))
		for (i = 0; !mp_image_next(&image, &cursor, &m); i++)
			if (m.entry == best.entry)
				found = i;
	free(fat);
	return found;
}

MP_TEST(choose)
{
	static const struct mp_sample_entry e[] = {
		ENTRY(MP_MEMBER_CUBIN, 75, 0),	 ENTRY(MP_MEMBER_CUBIN, 80, 0),
		ENTRY(MP_MEMBER_CUBIN, 86, 0),	 ENTRY(MP_MEMBER_CUBIN, 90, 0),
		ENTRY(MP_MEMBER_CUBIN, 90, A),	 ENTRY(MP_MEMBER_CUBIN, 100, F),
		ENTRY(MP_MEMBER_CUBIN, 103, A),	 ENTRY(MP_MEMBER_PTX, 75, 0),
		ENTRY(MP_MEMBER_PTX, 90, A),	 ENTRY(MP_MEMBER_PTX, 80, 0),
		ENTRY(MP_MEMBER_PTX, 120, 0),	 ENTRY(MP_MEMBER_LTOIR, 121, 0),
	};
	static const struct {
		unsigned capability, take;
		int want;
	} rows[] = {
		{75, 3, 0},	{80, 3, 1},   {86, 3, 2},
		{87, 3, 2},	{89, 3, 2}, /* same major, highest minor not above */
		{90, 3, 4}, /* the exact target before the plain one */
		{100, 3, 5},	{103, 3, 6},  {101, 3, 5}, /* the family's later device */
		{110, 3, 9}, /* no cubin of its major: PTX */
		{120, 3, 10},	{121, 3, 10}, {70, 3, -1},
		{90, 2, 8}, /* PTX only: sm_90a exactly */
		{100, 2, 9}, /* not sm_90a */
		{89, 2, 9},	{75, 2, 7},   {72, 2, -1},
		{110, 1, -1},	{130, 1, -1}, {130, 3, 10},
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		int got = chosen(e, MP_ARRAY_LEN(e), rows[i].capability, rows[i].take);

		if (got != rows[i].want)
			printf("# sm_%u take %u\n", rows[i].capability, rows[i].take);
		MP_CHECK_EQ(got, rows[i].want);
	}
}

MP_TEST(build)
{
	static const struct mp_sample_entry e[] = {
		ENTRY(MP_MEMBER_CUBIN, 75, 0),
		{MP_MEMBER_PTX, 80, 0, MP_CODEC_ZSTD, mp_sample_ptx, 600},
		ENTRY(MP_MEMBER_CUBIN, 90, 0),
	};
	struct mp_image image, again;
	struct mp_member m[3], got;
	uint8_t a[32], b[32];
	struct mp_buf out;
	size_t size, cursor = 0, i;
	uint8_t *fat = mp_sample_fatbin(e, 3, &size);

	MP_CHECK_EQ(mp_image_open(fat, size, &image), MP_IMAGE_OK);
	for (i = 0; i < 3; i++)
		MP_CHECK_EQ(mp_image_next(&image, &cursor, &m[i]), MP_IMAGE_OK);
	mp_buf_init(&out, 1 << 20);
	m[0] = m[1];
	m[1] = m[2];
	MP_CHECK_EQ(mp_image_build(m, 2, &out), MP_IMAGE_OK);
	MP_CHECK_EQ(out.len, mp_image_build_size(m, 2));
	MP_CHECK(out.len < size);
	MP_CHECK_EQ(mp_image_open(out.data, out.len, &again), MP_IMAGE_OK);
	for (i = 0, cursor = 0; i < 2; i++) {
		MP_CHECK_EQ(mp_image_next(&again, &cursor, &got), MP_IMAGE_OK);
		MP_CHECK(got.sm == m[i].sm && got.codec == m[i].codec);
		mp_member_digest(&got, a);
		mp_member_digest(&m[i], b);
		MP_CHECK(!memcmp(a, b, sizeof(a)));
	}
	MP_CHECK_EQ(mp_image_next(&again, &cursor, &got), MP_IMAGE_NO_MEMBER);
	mp_buf_fini(&out);

	/* The ceiling of the buffer holds. */
	mp_buf_init(&out, 100);
	MP_CHECK_EQ(mp_image_build(m, 2, &out), MP_IMAGE_NO_MEMORY);
	mp_buf_fini(&out);

	/* A bare image is itself, and cannot be put into a fatbin. */
	MP_CHECK_EQ(mp_image_open(mp_sample_ptx, 0, &image), MP_IMAGE_OK);
	cursor = 0;
	MP_CHECK_EQ(mp_image_next(&image, &cursor, &m[0]), MP_IMAGE_OK);
	mp_buf_init(&out, 1 << 20);
	MP_CHECK_EQ(mp_image_build(m, 1, &out), MP_IMAGE_OK);
	MP_CHECK(out.len == strlen(mp_sample_ptx) && !memcmp(out.data, mp_sample_ptx, out.len));
	MP_CHECK_EQ(mp_image_build(m, 2, &out), MP_IMAGE_BAD);
	mp_buf_fini(&out);
	free(fat);
}

MP_TEST(bare_images)
{
	struct mp_image image;
	struct mp_member m;
	size_t size, cursor = 0;
	uint8_t *elf = cubin(103, &size);

	MP_CHECK_EQ(mp_image_open(elf, 0, &image), MP_IMAGE_OK);
	MP_CHECK(image.kind == MP_IMAGE_CUBIN && image.size == size);
	MP_CHECK_EQ(mp_image_next(&image, &cursor, &m), MP_IMAGE_OK);
	MP_CHECK(m.kind == MP_MEMBER_CUBIN && m.sm == 103 && m.size == size);
	MP_CHECK_EQ(mp_image_next(&image, &cursor, &m), MP_IMAGE_NO_MEMBER);
	elf[4] = 1;
	MP_CHECK_EQ(mp_image_open(elf, 0, &image), MP_IMAGE_BAD);
	elf[4] = 2;
	elf[18] = 62; /* x86-64 */
	MP_CHECK_EQ(mp_image_open(elf, 0, &image), MP_IMAGE_BAD);
	free(elf);

	MP_CHECK_EQ(mp_image_open("\n   .version 5.0\n.target sm_50a", 0, &image), MP_IMAGE_OK);
	MP_CHECK(image.kind == MP_IMAGE_PTX && image.size == 31);
	cursor = 0;
	MP_CHECK_EQ(mp_image_next(&image, &cursor, &m), MP_IMAGE_OK);
	MP_CHECK(m.kind == MP_MEMBER_PTX && m.sm == 50 && m.arch && !m.family);
	MP_CHECK_EQ(mp_image_choose(&image, 75, 3, &m), MP_IMAGE_NO_MEMBER);
	MP_CHECK_EQ(mp_image_choose(&image, 50, 2, &m), MP_IMAGE_OK);
	MP_CHECK_EQ(mp_image_open("", 0, &image), MP_IMAGE_BAD);
	MP_CHECK_EQ(mp_image_open("P", 0, &image), MP_IMAGE_OK);
	MP_CHECK_EQ(mp_image_open("\x50\xed\x55", 3, &image), MP_IMAGE_OK); /* no magic: text */
}

/* A copy of exactly n bytes, so that a sanitizer sees the first byte beyond. */
static uint8_t *exact(const uint8_t *p, size_t n)
{
	uint8_t *c = malloc(n ? n : 1);

	if (!c)
		abort();
	memcpy(c, p, n);
	return c;
}

/* Walk and decode all, and read what decodes. Returns entries walked. */
static int use(const uint8_t *p, size_t n)
{
	struct mp_contents c;
	struct mp_image image;
	struct mp_member m;
	struct mp_arena arena;
	size_t cursor = 0;
	int walked = 0;
	void *out;

	if (mp_image_open(p, n, &image))
		return -1;
	while (!mp_image_next(&image, &cursor, &m)) {
		walked++;
		if (m.size > 1 << 20)
			continue;
		out = malloc(m.size + 1);
		if (!out)
			abort();
		mp_arena_init(&arena, 1 << 20);
		if (!mp_member_decode(&m, out))
			mp_contents_read(out, m.size, &arena, &c);
		mp_arena_fini(&arena);
		free(out);
	}
	return walked;
}

/* An entry without a payload (found by fuzzing) is no member. */
MP_TEST(empty_member)
{
	const struct mp_sample_entry e = {.kind = MP_MEMBER_CUBIN, .sm = 75, .data = "", .size = 0};
	size_t size;
	uint8_t *fat = mp_sample_fatbin(&e, 1, &size);
	struct mp_image image;
	struct mp_member m;

	MP_CHECK_EQ(mp_image_open(fat, size, &image), MP_IMAGE_OK);
	MP_CHECK_EQ(mp_image_choose(&image, 75, 3, &m), MP_IMAGE_BAD);
	free(fat);
}

MP_TEST(truncated)
{
	size_t cubin_size, size, n;
	uint8_t *elf = cubin(80, &cubin_size);
	const struct mp_sample_entry entries[] = {
		{MP_MEMBER_PTX, 75, 0, MP_CODEC_LZ4, mp_sample_ptx, strlen(mp_sample_ptx)},
		{MP_MEMBER_CUBIN, 80, 0, MP_CODEC_ZSTD, elf, cubin_size},
	};
	uint8_t *fat = mp_sample_fatbin(entries, 2, &size), *c;

	for (n = 4; n < size; n++) {
		c = exact(fat, n);
		MP_CHECK_EQ(use(c, n), -1);
		free(c);
	}
	MP_CHECK_EQ(use(fat, size), 2);
	for (n = 4; n < cubin_size; n += 3) {
		c = exact(elf, n);
		MP_CHECK_EQ(use(c, n), -1);
		free(c);
	}
	for (n = 1; n < strlen(mp_sample_ptx); n++) {
		c = exact((const uint8_t *)mp_sample_ptx, n);
		MP_CHECK_EQ(use(c, n), 1);
		free(c);
	}
	free(fat);
	free(elf);
}

/* Every byte set to several values: nothing may crash, hang or read outside. */
MP_TEST(damaged)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0xff};
	size_t cubin_size, size, i, v;
	uint8_t *elf = cubin(80, &cubin_size), *c;
	const struct mp_sample_entry entries[] = {
		{MP_MEMBER_PTX, 75, 0, MP_CODEC_LZ4, mp_sample_ptx, strlen(mp_sample_ptx)},
		{MP_MEMBER_CUBIN, 80, 0, MP_CODEC_LZ4, elf, cubin_size},
	};
	uint8_t *fat = mp_sample_fatbin(entries, 2, &size);

	for (v = 0; v < MP_ARRAY_LEN(values); v++) {
		for (i = 0; i < size; i++) {
			c = exact(fat, size);
			c[i] = values[v];
			use(c, size);
			free(c);
		}
		for (i = 0; i < cubin_size; i++) {
			c = exact(elf, cubin_size);
			c[i] = values[v];
			use(c, cubin_size);
			free(c);
		}
	}
	MP_CHECK_EQ(use(fat, size), 2);
	free(fat);
	free(elf);
}

MP_TEST(lz4)
{
	uint8_t in[5000], packed[12000], out[5000];
	size_t n, packed_size, cut;
	unsigned seed = 1;

	for (n = 0; n < sizeof(in); n++) {
		seed = seed * 1103515245 + 12345;
		in[n] = n % 700 < 350 ? (uint8_t)(seed >> 16) : (uint8_t)(n / 9 % 3);
	}
	for (n = 1; n < sizeof(in); n += n < 64 ? 1 : 97) {
		packed_size = mp_sample_lz4(in, n, packed);
		memset(out, 0xaa, sizeof(out));
		MP_CHECK(mp_lz4_decode(packed, packed_size, out, n));
		MP_CHECK(!memcmp(in, out, n));
		MP_CHECK(!mp_lz4_decode(packed, packed_size, out, n - 1));
		MP_CHECK(n + 1 > sizeof(out) || !mp_lz4_decode(packed, packed_size, out, n + 1));
		for (cut = 0; cut < packed_size; cut += 1 + packed_size / 50)
			MP_CHECK(!mp_lz4_decode(packed, cut, out, n));
	}
	/* Distance 0, a distance before the beginning, and a length that never ends. */
	MP_CHECK(!mp_lz4_decode((const uint8_t *)"\x10x\x00\x00\x50zzzzz", 10, out, 10));
	MP_CHECK(!mp_lz4_decode((const uint8_t *)"\x10x\x02\x00\x50zzzzz", 10, out, 10));
	MP_CHECK(mp_lz4_decode((const uint8_t *)"\x10x\x01\x00\x50zzzzz", 10, out, 10));
	MP_CHECK(!memcmp(out, "xxxxxzzzzz", 10));
	MP_CHECK(!mp_lz4_decode((const uint8_t *)"\xf0\xff\xff\xff", 4, out, 10));
}

MP_TEST(outcomes_as_results)
{
	MP_CHECK_EQ(mp_image_result(MP_IMAGE_OK), CUDA_SUCCESS);
	MP_CHECK_EQ(mp_image_result(MP_IMAGE_BAD), CUDA_ERROR_INVALID_IMAGE);
	MP_CHECK_EQ(mp_image_result(MP_IMAGE_NO_MEMBER), CUDA_ERROR_NO_BINARY_FOR_GPU);
	MP_CHECK_EQ(mp_image_result(MP_IMAGE_NO_MEMORY), CUDA_ERROR_OUT_OF_MEMORY);
}

MP_TEST_MAIN()
