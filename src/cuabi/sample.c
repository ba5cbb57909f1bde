/* SPDX-License-Identifier: Apache-2.0 */
/* Writers for the formats that image.c and cubin.c read; see sample.h. */
#include "cuabi/sample.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/check.h"

const char mp_sample_ptx[] =
	"//\n// .visible .entry in_a_comment(\n//\n"
	".version 8.4\n.target sm_75, texmode_independent\n.address_size 64\n"
	".file 1 \"a { name.cu\", 12, 34\n"
	".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);\n"
	".visible .global .align 4 .u32 counter = 7;\n"
	".global .align 16 .v4 .f32 quad[3][2];\n"
	".global .align 1 .b8 text[] = {72, 105, 0};\n"
	".visible .const .align 8 .f64 table[0x10];\n"
	".global .attribute(.managed) .align 8 .b64 both;\n"
	".extern .global .align 4 .u32 elsewhere;\n"
	".extern .shared .align 16 .b8 dynamic[];\n"
	".shared .align 4 .b8 tile[100];\n"
	".func (.param .b32 r) inner(.param .b32 x)\n"
	"{ .shared .align 8 .b64 slot[4]; st.shared.u64 [slot], 1; ret; }\n"
	".visible .entry first(\n"
	"	.param .u64 .ptr .global .align 32 first_0,\n"
	"	.param .align 8 .b8 first_1[24], /* } */\n"
	"	.param .f32 first_2,\n"
	"	.param .b8 first_3\n)\n"
	".maxntid 128, 2\n.minnctapersm 2\n"
	"{\n.reg .b32 %r<5>;\n// a brace { and .shared .b8 none[9999];\n"
	".pragma \"no } unroll\";\n{ .shared .align 2 .b16 pair[3], other; ld.shared.u8 %r1, [tile]; }\n"
	"call (%r1), inner, (%r2);\nmov.u32 %r1, my_vprintf_like;\nret;\n}\n"
	".weak .entry second()\n.reqntid 64, 1, 1\n{ ret; }\n"
	".section .debug_str { .b8 123, 125 }\n"
	".visible .entry declared(.param .u64 p);\n";

/* ---- LZ4 ---- */

static uint8_t *length_write(uint8_t *out, size_t n)
{
	for (; n >= 255; n -= 255)
		*out++ = 255;
	*out++ = (uint8_t)n;
	return out;
}

static uint8_t *sequence_write(uint8_t *out, const uint8_t *literals, size_t n, size_t distance,
			       size_t match)
{
	size_t m = match ? match - 4 : 0;

	*out++ = (uint8_t)((n < 15 ? n : 15) << 4 | (m < 15 ? m : 15));
	if (n >= 15)
		out = length_write(out, n - 15);
	memcpy(out, literals, n);
	out += n;
	if (!match)
		return out;
	*out++ = (uint8_t)distance;
	*out++ = (uint8_t)(distance >> 8);
	return m >= 15 ? length_write(out, m - 15) : out;
}

size_t mp_sample_lz4(const uint8_t *in, size_t size, uint8_t *out)
{
	size_t last[256], at = 0, from = 0, i;
	uint8_t *o = out;

	for (i = 0; i < 256; i++)
		last[i] = SIZE_MAX;
	/* The format wants the last five bytes to be literals. */
	while (size >= 12 && at < size - 12) {
		size_t seen = last[in[at]], n = 0;

		last[in[at]] = at;
		if (seen != SIZE_MAX && at - seen < 65536)
			while (at + n < size - 5 && in[seen + n] == in[at + n])
				n++;
		if (n < 4) {
			at++;
			continue;
		}
		o = sequence_write(o, in + from, at - from, at - seen, n);
		from = at += n;
	}
	o = sequence_write(o, in + from, size - from, 0, 0);
	return (size_t)(o - out);
}

/* ---- Fatbins ---- */

static size_t payload_write(const struct mp_sample_entry *e, uint8_t *out, size_t room)
{
	switch (e->codec) {
	case MP_CODEC_LZ4:
		return mp_sample_lz4(e->data, e->size, out);
	case MP_CODEC_ZSTD:
		return ZSTD_compress(out, room, e->data, e->size, 3);
	case MP_CODEC_NONE:
		break;
	}
	memcpy(out, e->data, e->size);
	return e->size;
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
	memcpy(p, &v, (size_t)bytes);
}

uint8_t *mp_sample_fatbin(const struct mp_sample_entry *entries, size_t n, size_t *ret_size)
{
	static const uint64_t codec_flag[] = {0, 0x2000, 0x8000};
	size_t room = 16, at = 16, i;
	uint8_t *p;

	for (i = 0; i < n; i++)
		room += 0x48 + entries[i].size * 2 + 1024;
	p = calloc(1, room);
	if (!p)
		abort();
	for (i = 0; i < n; i++) {
		const struct mp_sample_entry *e = &entries[i];
		uint8_t *h = p + at;
		size_t header = 0x40 + 8 * (i % 2), packed; /* both sizes occur */

		packed = payload_write(e, h + header, room - at - header);
		put(h, e->kind, 2);
		put(h + 2, 0x0101, 2);
		put(h + 4, header, 4);
		put(h + 8, mp_align_up(packed, 8), 8);
		put(h + 0x10, e->codec ? packed : 0, 4);
		put(h + 0x1c, e->sm, 4);
		put(h + 0x28, e->flags | codec_flag[e->codec] | 0x11, 8);
		put(h + 0x38, e->codec ? e->size : 0, 8);
		at += header + mp_align_up(packed, 8);
	}
	assert(at <= room);
	put(p, 0xba55ed50u, 4);
	put(p + 4, 1, 2);
	put(p + 6, 16, 2);
	put(p + 8, at - 16, 8);
	*ret_size = at;
	return p;
}

/* ---- Cubins ---- */

enum { S_NULL, S_NAMES, S_STRINGS, S_SYMBOLS, S_INFO, S_INFO_A, S_INFO_B, S_TEXT_A, S_TEXT_B,
       S_SHARED_A, S_GLOBAL, S_CONST, SECTIONS };

struct writer {
	uint8_t *p;
	size_t n;
	Elf64_Shdr s[SECTIONS];
};

static void bytes_add(struct writer *w, const void *data, size_t n)
{
	memcpy(w->p + w->n, data, n);
	w->n += n;
}

static void section_begin(struct writer *w, int i, uint32_t type, uint32_t link, uint32_t info)
{
	while (w->n % 8)
		w->p[w->n++] = 0;
	w->s[i].sh_type = type;
	w->s[i].sh_offset = w->n;
	w->s[i].sh_link = link;
	w->s[i].sh_info = info;
	w->s[i].sh_addralign = 8;
}

static void section_end(struct writer *w, int i)
{
	w->s[i].sh_size = w->n - w->s[i].sh_offset;
}

static uint32_t string_add(struct writer *w, int section, const char *s)
{
	uint32_t at = (uint32_t)(w->n - w->s[section].sh_offset);

	bytes_add(w, s, strlen(s) + 1);
	return at;
}

static void record_add(struct writer *w, uint8_t attribute, const uint32_t *words, int n)
{
	uint8_t head[4] = {4, attribute, (uint8_t)(n * 4), 0};

	bytes_add(w, head, sizeof(head));
	bytes_add(w, words, (size_t)n * 4);
}

static void param_add(struct writer *w, bool large, uint32_t ordinal, uint32_t offset, uint32_t size)
{
	uint32_t words[3] = {0, ordinal | offset << 16, large ? size : size << 18 | 0x1f000};

	record_add(w, large ? 0x45 : 0x17, words, 3);
}

static void symbols_add(struct writer *w, const uint32_t names[], bool prints)
{
	Elf64_Sym s[8];

	memset(s, 0, sizeof(s));
	s[1] = (Elf64_Sym){names[0], ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0x10, S_TEXT_A, 0, 64};
	s[2] = (Elf64_Sym){names[1], ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0x10, S_TEXT_B, 0, 64};
	s[3] = (Elf64_Sym){names[2], ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, S_TEXT_A, 32, 16};
	s[4] = (Elf64_Sym){names[3], ELF64_ST_INFO(STB_LOCAL, STT_OBJECT), 0, S_GLOBAL, 0, 40};
	s[5] = (Elf64_Sym){names[4], ELF64_ST_INFO(STB_LOCAL, STT_OBJECT), 0, S_CONST, 0, 12};
	s[6] = (Elf64_Sym){names[5], ELF64_ST_INFO(STB_LOCAL, STT_OBJECT), 4, S_GLOBAL, 40, 8};
	if (prints)
		s[7] = (Elf64_Sym){names[6], ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 0, 0, 0};
	section_begin(w, S_SYMBOLS, SHT_SYMTAB, S_STRINGS, 7);
	w->s[S_SYMBOLS].sh_entsize = sizeof(s[0]);
	bytes_add(w, s, sizeof(s));
	section_end(w, S_SYMBOLS);
}

static void info_add(struct writer *w, const struct mp_sample_cubin *how)
{
	static const uint8_t param_bytes[] = {3, 0x19, 36, 0, 3, 0x1b, 0xff, 0};
	static const uint32_t registers_a[] = {1, 40}, registers_b[] = {2, 8}, stack_a[] = {1, 96};
	static const uint32_t externs[] = {7}, max_threads[] = {256, 2, 1}, required[] = {32, 4, 1};

	section_begin(w, S_INFO, SHT_LOPROC, S_SYMBOLS, 0);
	record_add(w, 0x2f, registers_a, 2);
	record_add(w, 0x2f, registers_b, 2);
	record_add(w, 0x12, stack_a, 2);
	section_end(w, S_INFO);
	section_begin(w, S_INFO_A, SHT_LOPROC, S_SYMBOLS, S_TEXT_A);
	param_add(w, how->large_params, 2, 32, 4); /* compilers write the last one first */
	param_add(w, how->large_params, 1, 8, 24);
	param_add(w, how->large_params, 0, 0, 8);
	bytes_add(w, param_bytes, sizeof(param_bytes));
	record_add(w, 0x05, max_threads, 3);
	if (how->prints)
		record_add(w, 0x0f, externs, 1);
	section_end(w, S_INFO_A);
	section_begin(w, S_INFO_B, SHT_LOPROC, S_SYMBOLS, S_TEXT_B);
	record_add(w, 0x10, required, 3);
	section_end(w, S_INFO_B);
}

uint8_t *mp_sample_cubin(const struct mp_sample_cubin *how, size_t *ret_size)
{
	static const char *const section_name[SECTIONS] = {
		"",		  ".shstrtab",	     ".strtab",		  ".symtab",
		".nv.info",	  ".nv.info.alpha",  ".nv.info.beta",	  ".text.alpha",
		".text.beta",	  ".nv.shared.alpha", ".nv.global",	  ".nv.constant3"};
	static const char *const symbol_name[] = {"alpha", "beta", "$alpha$inner", "counter",
						  "table", "both", "vprintf"};
	struct writer w = {.p = calloc(1, 8192), .n = sizeof(Elf64_Ehdr)};
	uint32_t names[MP_ARRAY_LEN(symbol_name)];
	Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1, 0x41},
			.e_type = ET_EXEC, .e_machine = 190, .e_version = 1, .e_ehsize = sizeof(h),
			.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = SECTIONS,
			.e_shstrndx = S_NAMES};
	size_t i;

	if (!w.p)
		abort();
	section_begin(&w, S_NAMES, SHT_STRTAB, 0, 0);
	for (i = 0; i < SECTIONS; i++)
		w.s[i].sh_name = string_add(&w, S_NAMES, section_name[i]);
	section_end(&w, S_NAMES);
	section_begin(&w, S_STRINGS, SHT_STRTAB, 0, 0);
	string_add(&w, S_STRINGS, "");
	for (i = 0; i < MP_ARRAY_LEN(symbol_name); i++)
		names[i] = string_add(&w, S_STRINGS, symbol_name[i]);
	section_end(&w, S_STRINGS);
	symbols_add(&w, names, how->prints);
	info_add(&w, how);
	for (i = S_TEXT_A; i <= S_TEXT_B; i++) {
		section_begin(&w, (int)i, SHT_PROGBITS, S_SYMBOLS, (i == S_TEXT_A ? 40u : 8u) << 24 | 1);
		w.n += 64;
		section_end(&w, (int)i);
	}
	section_begin(&w, S_SHARED_A, SHT_NOBITS, 0, S_TEXT_A);
	w.s[S_SHARED_A].sh_size = how->sm >= 90 ? 1024 + 320 : 320;
	section_begin(&w, S_GLOBAL, SHT_NOBITS, 0, 0);
	w.s[S_GLOBAL].sh_size = 48;
	section_begin(&w, S_CONST, SHT_PROGBITS, 0, 0);
	w.n += 12;
	section_end(&w, S_CONST);
	while (w.n % 8)
		w.n++;
	h.e_ident[EI_ABIVERSION] = (uint8_t)how->abi;
	h.e_flags = how->abi >= 8 ? 0x06000004 | how->sm << 8 : how->sm | how->sm << 16 | 0x500;
	h.e_shoff = w.n;
	bytes_add(&w, w.s, sizeof(w.s));
	memcpy(w.p, &h, sizeof(h));
	assert(w.n <= 8192);
	*ret_size = w.n;
	return w.p;
}
