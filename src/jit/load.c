/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small loader of x86-64 ELF objects (System V ABI, AMD64 supplement, chapter
 * 4), enough for what LLVM makes of one function: text, constants, relocations
 * relative to the place, and calls of a few functions of libm and libc through
 * stubs.  Every offset is checked against the object's length.
 */
#include "jit/load.h"

#include <elf.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

#define MAX_SECTIONS 256
#define MAX_BYTES    (256u << 20)

/* Code below AVX2 and FMA calls these; nothing else may be undefined. */
#define FUNCTIONS(X)                                                                               \
	X(fmaf) X(fma) X(rintf) X(rint) X(truncf) X(trunc) X(floorf) X(floor) X(ceilf) X(ceil)     \
	X(nearbyintf) X(nearbyint) X(sqrtf) X(sqrt) X(memcpy) X(memset) X(memmove)

static const struct {
	const char *name;
	void *fn;
} functions[] = {
#define X(name) {#name, (void *)(uintptr_t)name},
	FUNCTIONS(X)
#undef X
};

struct object {
	const char *p;
	size_t len;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	size_t at[MAX_SECTIONS]; /* of each section in memory */
	bool kept[MAX_SECTIONS];
	char *memory;
	size_t bytes, stubs;
	char *why;
	size_t why_size;
};

static int bad(struct object *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->why, o->why_size, fmt, ap);
	va_end(ap);
	return -1;
}

static bool inside(const struct object *o, uint64_t at, uint64_t n)
{
	return at <= o->len && n <= o->len - at;
}

static int headers(struct object *o)
{
	unsigned i;

	o->eh = (const Elf64_Ehdr *)o->p;
	if (!inside(o, 0, sizeof(*o->eh)) || memcmp(o->eh->e_ident, ELFMAG, SELFMAG) ||
	    o->eh->e_ident[EI_CLASS] != ELFCLASS64 || o->eh->e_type != ET_REL || o->eh->e_machine != EM_X86_64 ||
	    o->eh->e_shentsize != sizeof(Elf64_Shdr))
		return bad(o, "not an object for this machine");
	if (!o->eh->e_shnum || o->eh->e_shnum > MAX_SECTIONS || (o->eh->e_shoff & 7) ||
	    !inside(o, o->eh->e_shoff, (uint64_t)o->eh->e_shnum * sizeof(Elf64_Shdr)))
		return bad(o, "sections out of range");
	o->sh = (const Elf64_Shdr *)(o->p + o->eh->e_shoff);
	for (i = 0; i < o->eh->e_shnum; i++)
		if (o->sh[i].sh_type != SHT_NOBITS && o->sh[i].sh_type != SHT_NULL &&
		    !inside(o, o->sh[i].sh_offset, o->sh[i].sh_size))
			return bad(o, "section %u out of range", i);
	return 0;
}

static int layout(struct object *o)
{
	size_t at = 0;
	unsigned i;

	for (i = 0; i < o->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &o->sh[i];
		uint64_t align = s->sh_addralign ? s->sh_addralign : 1;

		if (!(s->sh_flags & SHF_ALLOC) || (s->sh_type != SHT_PROGBITS && s->sh_type != SHT_NOBITS))
			continue;
		if (s->sh_flags & SHF_WRITE)
			continue; /* no code of ours has variables; a reference to one fails below */
		if ((align & (align - 1)) || align > 4096 || s->sh_size > MAX_BYTES)
			return bad(o, "section %u has a strange size", i);
		at = mp_align_up(at, align);
		o->at[i] = at;
		o->kept[i] = true;
		at += s->sh_size;
		if (at > MAX_BYTES)
			return bad(o, "too large");
	}
	o->stubs = mp_align_up(at, 16);
	o->bytes = mp_align_up(o->stubs + 16 * MP_ARRAY_LEN(functions), 4096);
	o->memory = mmap(NULL, o->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (o->memory == MAP_FAILED) {
		o->memory = NULL;
		return bad(o, "no memory");
	}
	for (i = 0; i < o->eh->e_shnum; i++)
		if (o->kept[i] && o->sh[i].sh_type == SHT_PROGBITS)
			memcpy(o->memory + o->at[i], o->p + o->sh[i].sh_offset, o->sh[i].sh_size);
	for (i = 0; i < MP_ARRAY_LEN(functions); i++) { /* jmp *2(%rip); the address */
		char *s = o->memory + o->stubs + 16 * i;

		memcpy(s, "\xff\x25\x02\x00\x00\x00\x90\x90", 8);
		memcpy(s + 8, &functions[i].fn, 8);
	}
	return 0;
}

static const char *string_at(struct object *o, const Elf64_Shdr *strings, uint32_t at)
{
	const char *s = o->p + strings->sh_offset;

	if (at >= strings->sh_size || !memchr(s + at, 0, strings->sh_size - at))
		return "";
	return s + at;
}

/* Where a symbol is, or NULL. */
static char *symbol_at(struct object *o, const Elf64_Shdr *symtab, const Elf64_Sym *y)
{
	const char *name;
	unsigned i;

	if (y->st_shndx != SHN_UNDEF) {
		if (y->st_shndx >= o->eh->e_shnum || !o->kept[y->st_shndx] ||
		    y->st_value > o->sh[y->st_shndx].sh_size)
			return NULL;
		return o->memory + o->at[y->st_shndx] + y->st_value;
	}
	name = string_at(o, &o->sh[symtab->sh_link], y->st_name);
	for (i = 0; i < MP_ARRAY_LEN(functions); i++)
		if (!strcmp(name, functions[i].name))
			return o->memory + o->stubs + 16 * i;
	bad(o, "%.60s is not defined", name);
	return NULL;
}

static int relocate(struct object *o, const Elf64_Shdr *rs)
{
	const Elf64_Rela *r = (const Elf64_Rela *)(o->p + rs->sh_offset);
	const Elf64_Shdr *symtab;
	uint64_t i, n = rs->sh_size / sizeof(*r), nsyms;

	if (rs->sh_info >= o->eh->e_shnum || !o->kept[rs->sh_info])
		return 0; /* of a section that is not loaded */
	if (rs->sh_link >= o->eh->e_shnum || (rs->sh_offset & 7))
		return bad(o, "relocations without symbols");
	symtab = &o->sh[rs->sh_link];
	if (symtab->sh_type != SHT_SYMTAB || (symtab->sh_offset & 7) || symtab->sh_link >= o->eh->e_shnum)
		return bad(o, "relocations without symbols");
	nsyms = symtab->sh_size / sizeof(Elf64_Sym);
	for (i = 0; i < n; i++) {
		uint64_t size = o->sh[rs->sh_info].sh_size, type = ELF64_R_TYPE(r[i].r_info);
		char *to, *place;
		int64_t v;
		int32_t v32;

		if (ELF64_R_SYM(r[i].r_info) >= nsyms || r[i].r_offset > size || size - r[i].r_offset < 4)
			return bad(o, "a relocation out of range");
		o->why[0] = 0;
		to = symbol_at(o, symtab, (const Elf64_Sym *)(o->p + symtab->sh_offset) + ELF64_R_SYM(r[i].r_info));
		if (!to)
			return o->why[0] ? -1 : bad(o, "a relocation against nothing");
		place = o->memory + o->at[rs->sh_info] + r[i].r_offset;
		switch (type) {
		case R_X86_64_PC32:
		case R_X86_64_PLT32:
			v = (int64_t)((uintptr_t)to + (uint64_t)r[i].r_addend - (uintptr_t)place);
			v32 = (int32_t)v;
			memcpy(place, &v32, 4);
			break;
		case R_X86_64_PC64:
		case R_X86_64_64:
			if (size - r[i].r_offset < 8)
				return bad(o, "a relocation out of range");
			v = (int64_t)((uintptr_t)to + (uint64_t)r[i].r_addend);
			if (type == R_X86_64_PC64)
				v -= (int64_t)(uintptr_t)place;
			memcpy(place, &v, 8);
			break;
		default:
			return bad(o, "a relocation of kind %u", (unsigned)type);
		}
	}
	return 0;
}

static int entry(struct object *o, struct loaded *ret)
{
	unsigned i;

	for (i = 0; i < o->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &o->sh[i];
		uint64_t k, n = s->sh_size / sizeof(Elf64_Sym);

		if (s->sh_type != SHT_SYMTAB || s->sh_link >= o->eh->e_shnum || (s->sh_offset & 7))
			continue;
		for (k = 0; k < n; k++) {
			const Elf64_Sym *y = (const Elf64_Sym *)(o->p + s->sh_offset) + k;

			if (y->st_shndx == SHN_UNDEF || y->st_shndx >= o->eh->e_shnum ||
			    !(o->sh[y->st_shndx].sh_flags & SHF_EXECINSTR) ||
			    strcmp(string_at(o, &o->sh[s->sh_link], y->st_name), "kernel"))
				continue;
			ret->entry = symbol_at(o, s, y);
		}
	}
	return ret->entry ? 0 : bad(o, "there is no function in it");
}

int load_object(const char *p, size_t len, struct loaded *ret, char *why, size_t why_size)
{
	struct object *o = calloc(1, sizeof(*o));
	int r = -1;
	unsigned i;

	memset(ret, 0, sizeof(*ret));
	if (!o) {
		snprintf(why, why_size, "no memory");
		return -1;
	}
	o->p = p, o->len = len, o->why = why, o->why_size = why_size;
	r = headers(o);
	if (!r)
		r = layout(o);
	for (i = 0; !r && i < o->eh->e_shnum; i++)
		if (o->sh[i].sh_type == SHT_RELA)
			r = relocate(o, &o->sh[i]);
	if (!r)
		r = entry(o, ret);
	if (!r && mprotect(o->memory, o->bytes, PROT_READ | PROT_EXEC))
		r = bad(o, "this system does not allow new code");
	if (r && o->memory)
		munmap(o->memory, o->bytes);
	if (!r) {
		ret->memory = o->memory;
		ret->bytes = o->bytes;
	}
	free(o);
	return r;
}

void load_free(struct loaded *l)
{
	if (l->memory)
		munmap(l->memory, l->bytes);
	memset(l, 0, sizeof(*l));
}
