/* SPDX-License-Identifier: Apache-2.0 */
/* The types of fields: scalars, ids by kind, and the names CUDA has for them. */
#include "mpgen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *c, *wire;
	unsigned size;
} scalar[] = {
	[MP_BASE_U8] = {"u8", "uint8_t", "8", 1},     [MP_BASE_U16] = {"u16", "uint16_t", "16", 2},
	[MP_BASE_U32] = {"u32", "uint32_t", "32", 4}, [MP_BASE_U64] = {"u64", "uint64_t", "64", 8},
	[MP_BASE_I32] = {"i32", "int32_t", "32", 4},  [MP_BASE_I64] = {"i64", "int64_t", "64", 8},
	[MP_BASE_F32] = {"f32", "float", "f32", 4},   [MP_BASE_F64] = {"f64", "double", "f64", 8},
	[MP_BASE_ID] = {"id", "uint32_t", "32", 4},
};

static const struct {
	const char *name;
	enum mp_base base;
	bool host, device;
} alias[] = {
	{"size", MP_BASE_U64, false, false},        {"devptr", MP_BASE_U64, false, false},
	{"CUdeviceptr", MP_BASE_U64, false, false}, {"hostptr", MP_BASE_U64, true, false},
	{"CUdevice", MP_BASE_I32, false, true},     {"string", MP_BASE_STRING, false, false},
	{"bytes", MP_BASE_BYTES, false, false},
};

/* Kinds of handles and the C types that are of them. */
static const struct {
	const char *name, *ctype;
} kind[] = {
	{"none", NULL},
	{"context", "CUcontext"},
	{"stream", "CUstream"},
	{"event", "CUevent"},
	{"module", "CUmodule"},
	{"library", "CUlibrary"},
	{"kernel", "CUkernel"},
	{"function", "CUfunction"},
	{"graph", "CUgraph"},
	{"node", "CUgraphNode"},
	{"exec", "CUgraphExec"},
	{"pool", "CUmemoryPool"},
	{"array", "CUarray"},
	{"mipmap", "CUmipmappedArray"},
	{"mem", "CUmemGenericAllocationHandle"},
	{"extmem", "CUexternalMemory"},
	{"extsem", "CUexternalSemaphore"},
	{"userobject", "CUuserObject"},
	{"link", "CUlinkState"},
	{"greenctx", "CUgreenCtx"},
	{"texref", "CUtexref"},
	{"surfref", "CUsurfref"},
	{"callback", "CUasyncCallbackHandle"},
};

#define KINDS (sizeof(kind) / sizeof(kind[0]))

int mp_kind_of_ctype(const char *ctype)
{
	for (size_t i = 1; i < KINDS; i++)
		if (!strcmp(kind[i].ctype, ctype))
			return (int)i;
	return 0;
}

const char *mp_kind_name(int k)
{
	return k >= 0 && (size_t)k < KINDS ? kind[k].name : NULL;
}

struct mp_item *mp_struct_find(const struct mp_api *api, const char *name)
{
	for (size_t i = 0; i < api->count; i++)
		if (api->item[i]->type == MP_ITEM_STRUCT && !strcmp(api->item[i]->name, name))
			return api->item[i];
	return NULL;
}

static bool find_base(struct mp_api *api, const char *name, struct mp_type *ret)
{
	for (int i = 0; i < MP_BASE_ID; i++)
		if (!strcmp(scalar[i].name, name)) {
			ret->base = (enum mp_base)i;
			return true;
		}
	for (size_t i = 0; i < sizeof(alias) / sizeof(alias[0]); i++)
		if (!strcmp(alias[i].name, name)) {
			ret->base = alias[i].base;
			ret->host = alias[i].host;
			ret->device = alias[i].device;
			return true;
		}
	for (size_t i = 1; i < KINDS; i++)
		if (!strcmp(kind[i].name, name) || !strcmp(kind[i].ctype, name)) {
			ret->base = MP_BASE_ID;
			ret->kind = (int)i;
			return true;
		}
	ret->item = mp_struct_find(api, name);
	ret->base = MP_BASE_STRUCT;
	return ret->item;
}

bool mp_type_find(struct mp_api *api, const char *name, struct mp_type *ret)
{
	const char *open = strchr(name, '[');
	bool array = ret->array;

	memset(ret, 0, sizeof(*ret));
	ret->array = array;
	ret->name = name;
	if (open) {
		char *end;

		ret->fixed = (unsigned)strtoul(open + 1, &end, 10);
		if (strcmp(end, "]") || !ret->fixed || ret->fixed > 4096 || array)
			return false;
		name = mp_gen_strndup(name, (size_t)(open - name));
	}
	if (!find_base(api, name, ret))
		return false;
	return !(ret->fixed || array) || ret->base <= MP_BASE_ID ||
	       (array && ret->base == MP_BASE_STRUCT);
}

unsigned mp_type_size(const struct mp_type *t)
{
	if (t->base <= MP_BASE_ID)
		return scalar[t->base].size;
	assert(t->base == MP_BASE_STRUCT && t->item->mark == 2);
	return t->item->msg.size;
}

unsigned mp_type_align(const struct mp_type *t)
{
	return t->base <= MP_BASE_ID ? scalar[t->base].size : t->item->msg.align;
}

const char *mp_type_c(const struct mp_type *t)
{
	if (t->base <= MP_BASE_ID)
		return scalar[t->base].c;
	if (t->base == MP_BASE_STRING)
		return "char";
	if (t->base == MP_BASE_BYTES)
		return "void";
	return mp_gen_printf("struct mp_%s", t->item->name);
}

const char *mp_type_wire(const struct mp_type *t)
{
	assert(t->base <= MP_BASE_ID);
	return scalar[t->base].wire;
}

bool mp_type_tail(const struct mp_type *t)
{
	return t->array || t->base == MP_BASE_STRING || t->base == MP_BASE_BYTES ||
	       (t->base == MP_BASE_STRUCT && !t->item->msg.plain);
}
