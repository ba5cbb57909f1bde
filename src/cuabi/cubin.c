/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cubins: CUDA's ELF files.  Size, target, kernels with their parameters and
 * resources, and variables.
 *
 * Kernels are the functions of .symtab that carry the entry bit; what is known of one
 * stands in sections that name its code section in sh_info (.nv.info.<kernel>,
 * .nv.shared.<kernel>) and in .nv.info records that name its symbol.  Every offset and
 * index is checked against the image before it is followed.
 */
#include <elf.h>
#include <string.h>

#include "base/check.h"
#include "cuabi/internal.h"

#define EM_CUDA_MACHINE 190
#define STO_ENTRY	0x10 /* st_other: a kernel */
#define STO_MANAGED	0x04 /* st_other: a __managed__ variable */
#define CUBIN_CEILING	((uint64_t)2 << 30)

/* Attributes of .nv.info records; a record is u8 format, u8 attribute, u16 value or length. */
enum {
	INFO_FORMAT_SIZED = 4,
	INFO_MAX_THREADS = 0x05,
	INFO_EXTERNS = 0x0f,
	INFO_REQUIRED_THREADS = 0x10,
	INFO_FRAME_SIZE = 0x11,
	INFO_STACK_SIZE = 0x12,
	INFO_PARAM = 0x17,
	INFO_PARAM_BYTES = 0x19,
	INFO_REGISTERS = 0x2f,
	INFO_PARAM_LARGE = 0x45,
};

/* CUDA's own section types that occupy no bytes of the file (seen in relocatable cubins). */
enum {
	SHT_CUDA_GLOBAL = SHT_LOPROC + 0x7,
	SHT_CUDA_LOCAL = SHT_LOPROC + 0x9,
	SHT_CUDA_SHARED = SHT_LOPROC + 0xa,
	SHT_CUDA_SHARED_RESERVED = SHT_LOPROC + 0x15,
};

#define PARAMS_MAX     4096
#define NAME_MAX_BYTES 65536

struct elf {
	const uint8_t *p;
	size_t size;
	uint64_t shoff;
	uint32_t nsections, names; /* index of the section names */
	Elf64_Shdr symtab, strings;
	uint32_t nsymbols;
	/* Kernel of each code section, by section index; -1 = none. */
	int32_t *kernel_of_section;
	int32_t *kernel_of_symbol;
	uint32_t printf_symbol; /* 0 = none */
	uint64_t reserved_shared;
	/* Bytes of .nv.info that may still be read: sections of a hostile image may overlap. */
	uint64_t info_budget;
	struct mp_arena *arena;
	struct mp_contents *out;
};

/* Whether a section's offset and size speak of bytes in the file. */
static bool section_has_bytes(const Elf64_Shdr *s)
{
	switch (s->sh_type) {
	case SHT_NULL:
	case SHT_NOBITS:
	case SHT_CUDA_GLOBAL:
	case SHT_CUDA_LOCAL:
	case SHT_CUDA_SHARED:
	case SHT_CUDA_SHARED_RESERVED:
		return false;
	}
	return true;
}

static bool header_read(const uint8_t *p, size_t limit, Elf64_Ehdr *h)
{
	if (limit && limit < sizeof(*h))
		return false;
	/* Without a limit the identification comes first: a foreign file may be short. */
	if (memcmp(p, ELFMAG, SELFMAG) || p[EI_CLASS] != ELFCLASS64 || p[EI_DATA] != ELFDATA2LSB)
		return false;
	memcpy(h, p, sizeof(*h));
	return h->e_machine == EM_CUDA_MACHINE && (!h->e_shnum || h->e_shentsize == sizeof(Elf64_Shdr)) &&
	       (!h->e_phnum || h->e_phentsize == sizeof(Elf64_Phdr));
}

/* Make *size cover [offset, offset + n); false beyond the ceiling. */
static bool size_cover(uint64_t *size, uint64_t ceiling, uint64_t offset, uint64_t n)
{
	if (offset > ceiling || n > ceiling - offset)
		return false;
	if (*size < offset + n)
		*size = offset + n;
	return true;
}

size_t mp_cubin_size(const uint8_t *p, size_t limit)
{
	uint64_t ceiling = limit ? limit : CUBIN_CEILING, size = sizeof(Elf64_Ehdr);
	Elf64_Ehdr h;
	Elf64_Shdr s;
	Elf64_Phdr ph;
	size_t i;

	if (!header_read(p, limit, &h))
		return 0;
	if (!size_cover(&size, ceiling, h.e_shoff, (uint64_t)h.e_shnum * sizeof(s)) ||
	    !size_cover(&size, ceiling, h.e_phoff, (uint64_t)h.e_phnum * sizeof(ph)))
		return 0;
	for (i = 0; i < h.e_shnum; i++) {
		memcpy(&s, p + h.e_shoff + i * sizeof(s), sizeof(s));
		if (section_has_bytes(&s) && !size_cover(&size, ceiling, s.sh_offset, s.sh_size))
			return 0;
	}
	for (i = 0; i < h.e_phnum; i++) {
		memcpy(&ph, p + h.e_phoff + i * sizeof(ph), sizeof(ph));
		if (!size_cover(&size, ceiling, ph.p_offset, ph.p_filesz))
			return 0;
	}
	return size;
}

bool mp_cubin_target(const uint8_t *p, size_t size, unsigned *sm)
{
	Elf64_Ehdr h;

	if (!size || !header_read(p, size, &h))
		return false;
	/* ABI version 8 (CUDA 13) moved the target from bits 0-7 of the flags to bits 8-15. */
	*sm = h.e_ident[EI_ABIVERSION] >= 8 ? h.e_flags >> 8 & 0xff : h.e_flags & 0xff;
	return true;
}

/* ---- Sections, symbols, strings ---- */

static bool section_read(const struct elf *e, uint32_t i, Elf64_Shdr *s)
{
	if (i >= e->nsections)
		return false;
	memcpy(s, e->p + e->shoff + (uint64_t)i * sizeof(*s), sizeof(*s));
	return !section_has_bytes(s) ||
	       (s->sh_offset <= e->size && s->sh_size <= e->size - s->sh_offset);
}

/* A NUL-terminated string inside a string section, or NULL; long names are no names. */
static const char *string_at(const struct elf *e, const Elf64_Shdr *table, uint64_t offset)
{
	const char *s;
	uint64_t left;

	if (!section_has_bytes(table) || offset >= table->sh_size)
		return NULL;
	s = (const char *)e->p + table->sh_offset + offset;
	left = table->sh_size - offset;
	return memchr(s, 0, left < NAME_MAX_BYTES ? left : NAME_MAX_BYTES) ? s : NULL;
}

static void symbol_read(const struct elf *e, uint32_t i, Elf64_Sym *sym)
{
	assert(i < e->nsymbols);
	memcpy(sym, e->p + e->symtab.sh_offset + (uint64_t)i * sizeof(*sym), sizeof(*sym));
}

static bool elf_open(struct elf *e)
{
	Elf64_Ehdr h;
	Elf64_Shdr s;
	uint32_t i;

	if (!mp_cubin_size(e->p, e->size) || !header_read(e->p, e->size, &h))
		return false;
	e->shoff = h.e_shoff;
	e->nsections = h.e_shnum;
	e->names = h.e_shstrndx;
	for (i = 0; i < e->nsections; i++) {
		if (!section_read(e, i, &s))
			return false;
		if (s.sh_type != SHT_SYMTAB)
			continue;
		if (s.sh_entsize != sizeof(Elf64_Sym) || !section_read(e, s.sh_link, &e->strings) ||
		    s.sh_size / sizeof(Elf64_Sym) > UINT32_MAX)
			return false;
		e->symtab = s;
		e->nsymbols = (uint32_t)(s.sh_size / sizeof(Elf64_Sym));
		return true;
	}
	return true; /* no symbols: an image without kernels */
}

/* ---- Symbols ---- */

static const char *name_copy(struct elf *e, const char *name)
{
	return mp_arena_strndup(e->arena, name, strlen(name));
}

/* The space of the section a variable lies in; false when it holds no variables. */
static bool section_space(const struct elf *e, uint32_t i, enum mp_space *space, uint64_t *align)
{
	Elf64_Shdr s, names;
	const char *name;

	if (!section_read(e, i, &s) || !section_read(e, e->names, &names))
		return false;
	name = string_at(e, &names, s.sh_name);
	if (!name)
		return false;
	*align = s.sh_addralign;
	*space = MP_SPACE_GLOBAL;
	if (!strcmp(name, ".nv.global") || !strcmp(name, ".nv.global.init"))
		return true;
	*space = MP_SPACE_CONST;
	return !strcmp(name, ".nv.constant3");
}

static bool symbol_is_kernel(const struct elf *e, const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_other & STO_ENTRY &&
	       s->st_shndx && s->st_shndx < e->nsections;
}

static bool symbol_is_variable(const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_OBJECT && s->st_shndx;
}

/* Room for what the symbol table promises. */
static enum mp_image_outcome contents_size(struct elf *e)
{
	size_t kernels = 0, variables = 0;
	Elf64_Sym s;
	uint32_t i;

	for (i = 0; i < e->nsymbols; i++) {
		symbol_read(e, i, &s);
		kernels += symbol_is_kernel(e, &s);
		variables += symbol_is_variable(&s);
	}
	e->out->kernels = mp_arena_array(e->arena, kernels, sizeof(struct mp_kernel));
	e->out->variables = mp_arena_array(e->arena, variables, sizeof(struct mp_variable));
	e->kernel_of_section = mp_arena_array(e->arena, e->nsections, sizeof(int32_t));
	e->kernel_of_symbol = mp_arena_array(e->arena, e->nsymbols, sizeof(int32_t));
	if ((kernels && !e->out->kernels) || (variables && !e->out->variables) ||
	    (e->nsections && !e->kernel_of_section) || (e->nsymbols && !e->kernel_of_symbol))
		return MP_IMAGE_NO_MEMORY;
	for (i = 0; i < e->nsections; i++)
		e->kernel_of_section[i] = -1;
	for (i = 0; i < e->nsymbols; i++)
		e->kernel_of_symbol[i] = -1;
	return MP_IMAGE_OK;
}

static enum mp_image_outcome symbols_read(struct elf *e)
{
	enum mp_image_outcome rc = contents_size(e);
	uint32_t i;

	for (i = 0; !rc && i < e->nsymbols; i++) {
		Elf64_Sym s;
		const char *name;
		enum mp_space space;
		uint64_t align;

		symbol_read(e, i, &s);
		name = string_at(e, &e->strings, s.st_name);
		if (!name)
			continue;
		if (symbol_is_kernel(e, &s)) {
			struct mp_kernel *k = &e->out->kernels[e->out->nkernels];

			k->name = name_copy(e, name);
			e->kernel_of_section[s.st_shndx] = (int32_t)e->out->nkernels;
			e->kernel_of_symbol[i] = (int32_t)e->out->nkernels++;
			if (!k->name)
				return MP_IMAGE_NO_MEMORY;
		} else if (symbol_is_variable(&s) && section_space(e, s.st_shndx, &space, &align)) {
			struct mp_variable *v = &e->out->variables[e->out->nvariables++];

			v->name = name_copy(e, name);
			v->size = s.st_size;
			v->align = align > UINT32_MAX ? 0 : (uint32_t)align;
			v->space = s.st_other & STO_MANAGED ? MP_SPACE_MANAGED : space;
			if (!v->name)
				return MP_IMAGE_NO_MEMORY;
		} else if (!s.st_shndx && !strcmp(name, "vprintf")) {
			e->printf_symbol = i;
		} else if (!strcmp(name, ".nv.reservedSmem.cap")) {
			e->reserved_shared = s.st_value;
		}
	}
	return rc;
}

/* ---- .nv.info ---- */

struct record {
	uint8_t attribute;
	uint16_t value, size; /* value of an unsized record */
	const uint8_t *data;
};

static bool record_next(const uint8_t **p, const uint8_t *end, struct record *r)
{
	uint8_t format;

	if (end - *p < 4)
		return false;
	format = (*p)[0];
	r->attribute = (*p)[1];
	memcpy(&r->value, *p + 2, 2);
	*p += 4;
	r->size = format == INFO_FORMAT_SIZED ? r->value : 0;
	r->data = *p;
	if (r->size > end - *p)
		return false;
	*p += r->size;
	return true;
}

static uint32_t word(const struct record *r, unsigned i)
{
	uint32_t v = 0;

	if ((i + 1) * 4u <= r->size)
		memcpy(&v, r->data + i * 4, 4);
	return v;
}

/* One parameter, by its ordinal. false when it cannot be one. */
static bool param_set(struct mp_kernel *k, struct mp_param *params, const struct record *r)
{
	uint32_t ordinal = word(r, 1) & 0xffff, offset = word(r, 1) >> 16;
	uint32_t size = r->attribute == INFO_PARAM ? word(r, 2) >> 18 : word(r, 2);

	if (r->size < 12 || ordinal >= PARAMS_MAX || size > 0xffff)
		return false;
	if (k->nparams <= ordinal)
		k->nparams = ordinal + 1;
	params[ordinal] = (struct mp_param){offset, size};
	return true;
}

/* A limit on the block: one, two or three sizes; what is not stated is 1. */
static void threads_set(uint32_t out[3], const struct record *r)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		out[i] = (i + 1) * 4u <= r->size ? word(r, i) : 1;
}

/* The section of one kernel. */
static enum mp_image_outcome kernel_info_read(struct elf *e, struct mp_kernel *k,
					      const Elf64_Shdr *s)
{
	const uint8_t *p = e->p + s->sh_offset, *end = p + s->sh_size;
	struct mp_param params[PARAMS_MAX], *copy;
	struct record r;
	uint32_t i, last = 0;

	memset(params, 0, sizeof(params));
	k->nparams = 0;
	while (record_next(&p, end, &r)) {
		switch (r.attribute) {
		case INFO_PARAM:
		case INFO_PARAM_LARGE:
			if (!param_set(k, params, &r))
				return MP_IMAGE_BAD;
			break;
		case INFO_PARAM_BYTES:
			k->param_bytes = r.value;
			break;
		case INFO_MAX_THREADS:
			threads_set(k->maxntid, &r);
			break;
		case INFO_REQUIRED_THREADS:
			threads_set(k->reqntid, &r);
			break;
		case INFO_EXTERNS:
			for (i = 0; i < r.size / 4u; i++)
				k->uses_printf |= e->printf_symbol && word(&r, i) == e->printf_symbol;
			break;
		}
	}
	for (i = 0; i < k->nparams; i++)
		if (last < params[i].offset + params[i].size)
			last = params[i].offset + params[i].size;
	if (k->param_bytes < last) /* the field is 16 bits wide and may be missing */
		k->param_bytes = last;
	if (!k->nparams)
		return MP_IMAGE_OK;
	copy = mp_arena_array(e->arena, k->nparams, sizeof(*copy));
	if (!copy)
		return MP_IMAGE_NO_MEMORY;
	memcpy(copy, params, k->nparams * sizeof(*copy));
	k->params = copy;
	return MP_IMAGE_OK;
}

/* The section of the whole image: (symbol, number) pairs. */
static void image_info_read(struct elf *e, const Elf64_Shdr *s)
{
	const uint8_t *p = e->p + s->sh_offset, *end = p + s->sh_size;
	struct record r;

	while (record_next(&p, end, &r)) {
		uint32_t symbol = word(&r, 0), value = word(&r, 1);
		struct mp_kernel *k;

		if (r.size < 8 || symbol >= e->nsymbols || e->kernel_of_symbol[symbol] < 0)
			continue;
		k = &e->out->kernels[e->kernel_of_symbol[symbol]];
		if (r.attribute == INFO_REGISTERS)
			k->registers = value;
		else if ((r.attribute == INFO_FRAME_SIZE || r.attribute == INFO_STACK_SIZE) &&
			 k->local_bytes < value)
			k->local_bytes = value;
	}
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static enum mp_image_outcome sections_read(struct elf *e)
{
	enum mp_image_outcome rc = MP_IMAGE_OK;
	Elf64_Shdr names, s;
	uint32_t i;

	if (!section_read(e, e->names, &names))
		return MP_IMAGE_BAD;
	for (i = 0; !rc && i < e->nsections; i++) {
		struct mp_kernel *k = NULL;
		const char *name;

		if (!section_read(e, i, &s))
			return MP_IMAGE_BAD;
		name = string_at(e, &names, s.sh_name);
		if (!name)
			continue;
		if (starts(name, ".nv.info") && section_has_bytes(&s)) {
			if (s.sh_size > e->info_budget)
				return MP_IMAGE_BAD;
			e->info_budget -= s.sh_size;
		}
		if (!strcmp(name, ".nv.info") && section_has_bytes(&s))
			image_info_read(e, &s);
		if (starts(name, ".text.") && e->kernel_of_section[i] >= 0) {
			k = &e->out->kernels[e->kernel_of_section[i]];
			if (!k->registers) /* older cubins say it only here */
				k->registers = s.sh_info >> 24;
			continue;
		}
		if (s.sh_info >= e->nsections || e->kernel_of_section[s.sh_info] < 0)
			continue;
		k = &e->out->kernels[e->kernel_of_section[s.sh_info]];
		if (starts(name, ".nv.info.") && section_has_bytes(&s))
			rc = kernel_info_read(e, k, &s);
		else if (starts(name, ".nv.shared.") && s.sh_size <= UINT32_MAX)
			k->static_shared = (uint32_t)s.sh_size;
	}
	return rc;
}

/*
 * From sm_90 on, the driver keeps the first part of each block's shared memory for
 * itself; it is counted in the section but is none of the kernel's.
 */
static void reserved_subtract(struct elf *e)
{
	uint64_t reserved = e->reserved_shared ? e->reserved_shared : 1024;
	size_t i;

	if (e->out->sm < 90)
		return;
	for (i = 0; i < e->out->nkernels; i++) {
		struct mp_kernel *k = &e->out->kernels[i];

		if (k->static_shared >= reserved)
			k->static_shared -= (uint32_t)reserved;
	}
}

enum mp_image_outcome mp_cubin_read(const uint8_t *p, size_t size, struct mp_arena *arena,
				    struct mp_contents *ret)
{
	struct elf e = {.p = p, .size = size, .info_budget = size, .arena = arena, .out = ret};
	enum mp_image_outcome rc;

	if (!elf_open(&e) || !mp_cubin_target(p, size, &ret->sm))
		return MP_IMAGE_BAD;
	rc = symbols_read(&e);
	if (!rc)
		rc = sections_read(&e);
	if (!rc)
		reserved_subtract(&e);
	return rc;
}
