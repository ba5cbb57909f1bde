/* SPDX-License-Identifier: Apache-2.0 */
/* Modules: their variables in device memory, their kernels, what is known of each. */
#include "exec/tier2.h"
#include "base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_memory(const struct mp_ptx_var *v)
{
	return (v->space == MP_PTX_W_GLOBAL || v->space == MP_PTX_W_CONST) && !v->is_extern && v->size;
}

/* Managed ones, which the driver places; the others share one piece of memory. */
static bool apart(const struct mp_exec_module *m, const struct mp_ptx_var *v)
{
	return v->managed && m->alloc.managed;
}

static enum mp_exec_outcome managed_place(struct mp_exec_module *m)
{
	uint32_t i;

	for (i = 0; i < m->ptx.nvars; i++) {
		struct mp_ptx_var *v = m->ptx.vars[i];
		bool fill = false;

		if (!in_memory(v) || !apart(m, v))
			continue;
		v->offset = m->alloc.managed(m->alloc.arg, v->name, v->size, v->align, &fill);
		if (!v->offset)
			return MP_EXEC_NO_MEMORY;
		if (!fill) { /* another module of the library has done it */
			v->init_len = 0;
			v->relocs = NULL;
		}
	}
	return MP_EXEC_OK;
}

static enum mp_exec_outcome variables_place(struct mp_exec_module *m)
{
	uint64_t at = 0, base;
	uint32_t i, max = 256;

	for (i = 0; i < m->ptx.nvars; i++) {
		struct mp_ptx_var *v = m->ptx.vars[i];
		uint32_t align = v->align < 16 ? 16 : v->align;

		if (!in_memory(v) || apart(m, v))
			continue;
		if (align > max)
			max = align;
		at = mp_align_up(at, align);
		v->offset = at;
		if (__builtin_add_overflow(at, v->size, &at) || at > 1ull << 46)
			return MP_EXEC_NO_MEMORY;
	}
	if (!at)
		return managed_place(m);
	base = m->alloc.get ? m->alloc.get(m->alloc.arg, at, max) : 0;
	if (!base)
		return MP_EXEC_NO_MEMORY;
	m->data = base;
	m->data_bytes = at;
	for (i = 0; i < m->ptx.nvars; i++)
		if (in_memory(m->ptx.vars[i]) && !apart(m, m->ptx.vars[i]))
			m->ptx.vars[i]->offset += base;
	return managed_place(m);
}

static bool reloc_apply(struct mp_exec_module *m, struct mp_ptx_var *v, const struct mp_ptx_reloc *r,
			char *err, size_t err_size)
{
	const struct mp_ptx_var *to = mp_ptx_module_var(&m->ptx, r->name, strlen(r->name));
	const struct mp_ptx_func *f = to ? NULL : mp_ptx_module_func(&m->ptx, r->name, strlen(r->name));
	uint64_t value;

	if (to && in_memory(to)) {
		value = to->offset;
	} else if (f) {
		value = GENERIC_FUNC + 16ull * f->index;
	} else {
		snprintf(err, err_size, "line %u: there is no address of %.80s", r->line, r->name);
		return false;
	}
	value = (value + (uint64_t)r->addend) >> r->shift;
	assert(r->offset + (uint64_t)r->size <= v->size && r->size <= 8);
	memcpy((char *)(uintptr_t)v->offset + r->offset, &value, r->size);
	return true;
}

static enum mp_exec_outcome variables_fill(struct mp_exec_module *m, char *err, size_t err_size)
{
	uint32_t i;

	for (i = 0; i < m->ptx.nvars; i++) {
		struct mp_ptx_var *v = m->ptx.vars[i];
		const struct mp_ptx_reloc *r;

		if (!in_memory(v))
			continue;
		if (v->init_len)
			memcpy((char *)(uintptr_t)v->offset, v->init,
			       v->init_len < v->size ? v->init_len : v->size);
		for (r = v->relocs; r; r = r->next)
			if (!reloc_apply(m, v, r, err, err_size))
				return MP_EXEC_BAD_PTX;
	}
	return MP_EXEC_OK;
}

/*
 * Registers are virtual in PTX; how many a compiler would use is a guess that
 * only occupancy answers rest on: a third of what is declared, within what the
 * launch bounds allow.
 */
static void registers_guess(const struct mp_exec_module *m, const struct mp_ptx_func *f,
			    struct mp_exec_kernel_info *info)
{
	const char *p = m->ptx.text + f->body_at, *end = m->ptx.text + f->body_end;
	uint64_t words = 0, cap = 64;
	uint32_t threads = f->maxntid[0] ? f->maxntid[0] * f->maxntid[1] * f->maxntid[2]
					 : f->reqntid[0] * f->reqntid[1] * f->reqntid[2];

	while ((p = memmem(p, (size_t)(end - p), ".reg", 4))) {
		const char *semi = memchr(p, ';', (size_t)(end - p));
		const char *lt = semi ? memchr(p, '<', (size_t)(semi - p)) : NULL;
		bool wide = semi && memmem(p, (size_t)(semi - p), "64", 2);

		if (semi && !memmem(p, (size_t)(semi - p), ".pred", 5))
			words += (lt ? strtoul(lt + 1, NULL, 10) : 1) * (wide ? 2 : 1);
		p += 4;
	}
	if (threads && threads <= 1024)
		cap = 65536 / threads / 8 * 8;
	if (f->maxnreg && f->maxnreg < cap)
		cap = f->maxnreg;
	words = mp_align_up(words / 3 + 8, 8);
	info->registers = (uint32_t)(words > cap ? cap : words);
	if (info->registers > 255)
		info->registers = 255;
}

static struct mp_exec_kernel *kernel_new(struct mp_exec_module *m, struct mp_ptx_func *f)
{
	struct mp_exec_kernel *k = calloc(1, sizeof(*k));
	uint32_t *layout = calloc(f->nparams * 2u + 1u, sizeof(*layout)), i;

	if (!k || !layout) {
		free(k);
		free(layout);
		return NULL;
	}
	pthread_mutex_init(&k->lock, NULL);
	k->func = f;
	k->module = m;
	f->user = k;
	for (i = 0; i < f->nparams; i++) {
		layout[i] = (uint32_t)f->params[i].offset;
		layout[f->nparams + i] = (uint32_t)f->params[i].size;
	}
	k->info.name = f->name;
	k->info.nparams = f->nparams;
	k->info.param_bytes = f->param_bytes;
	k->info.param_offset = layout;
	k->info.param_size = layout + f->nparams;
	memcpy(k->info.maxntid, f->maxntid, sizeof(f->maxntid));
	memcpy(k->info.reqntid, f->reqntid, sizeof(f->reqntid));
	memcpy(k->info.cluster, f->reqncluster, sizeof(f->reqncluster));
	k->info.minnctapersm = f->minnctapersm;
	k->info.ptx_version = m->ptx.version;
	k->info.target = m->ptx.target;
	registers_guess(m, f, &k->info);
	return k;
}

enum mp_exec_outcome mp_exec_module_load(const char *ptx, size_t len, const struct mp_exec_alloc *alloc,
					 struct mp_exec_module **ret_module, char *err, size_t err_size)
{
	struct mp_exec_module *m = calloc(1, sizeof(*m));
	struct mp_ptx_error e;
	enum mp_exec_outcome o = MP_EXEC_OK;
	char none[160];
	uint32_t i;

	*ret_module = NULL;
	if (!err)
		err = none, err_size = sizeof(none);
	if (err_size)
		err[0] = 0;
	if (!m)
		return MP_EXEC_NO_MEMORY;
	if (alloc)
		m->alloc = *alloc;
	switch (mp_ptx_module_load(&m->ptx, ptx, len, &e)) {
	case MP_PTX_OK:
		break;
	case MP_PTX_BAD:
		o = MP_EXEC_BAD_PTX;
		snprintf(err, err_size, "line %u: %s", e.line, e.text);
		break;
	default:
		o = MP_EXEC_NO_MEMORY;
	}
	if (!o)
		o = variables_place(m);
	if (!o)
		o = variables_fill(m, err, err_size);
	if (!o) {
		m->kernels = calloc(m->ptx.nfuncs + 1u, sizeof(struct mp_exec_kernel *));
		if (!m->kernels)
			o = MP_EXEC_NO_MEMORY;
	}
	for (i = 0; !o && i < m->ptx.nfuncs; i++) {
		if (!m->ptx.funcs[i]->is_entry || !m->ptx.funcs[i]->has_body)
			continue;
		m->kernels[m->nkernels] = kernel_new(m, m->ptx.funcs[i]);
		if (!m->kernels[m->nkernels])
			o = MP_EXEC_NO_MEMORY;
		else
			m->nkernels++;
	}
	if (o) {
		mp_log(MP_LOG_WARN, "exec", "module", "outcome=%d %s", (int)o, err);
		mp_exec_module_free(m);
		return o;
	}
	*ret_module = m;
	return MP_EXEC_OK;
}

void mp_exec_module_free(struct mp_exec_module *m)
{
	uint32_t i;

	if (!m)
		return;
	for (i = 0; i < m->nkernels; i++) {
		struct mp_exec_kernel *k = m->kernels[i];

		tier2_free(k->tier2);
		if (k->program)
			program_free(k->program);
		pthread_mutex_destroy(&k->lock);
		free((void *)(uintptr_t)k->info.param_offset);
		free(k);
	}
	free(m->kernels);
	if (m->data && m->alloc.put)
		m->alloc.put(m->alloc.arg, m->data, m->data_bytes);
	mp_ptx_module_fini(&m->ptx);
	free(m);
}

struct mp_exec_kernel *mp_exec_module_kernel(struct mp_exec_module *m, size_t i)
{
	return i < m->nkernels ? m->kernels[i] : NULL;
}

struct mp_exec_kernel *mp_exec_module_find(struct mp_exec_module *m, const char *name)
{
	struct mp_ptx_func *f = mp_ptx_module_func(&m->ptx, name, strlen(name));

	return f && f->is_entry ? f->user : NULL;
}

static bool opaque(const struct mp_ptx_var *v)
{
	return v->type == MP_PTX_T_TEXREF || v->type == MP_PTX_T_SURFREF || v->type == MP_PTX_T_SAMPLERREF;
}

bool mp_exec_module_reference(struct mp_exec_module *m, const char *name, bool surface, uint64_t *addr)
{
	struct mp_ptx_var *v = mp_ptx_module_var(&m->ptx, name, strlen(name));

	if (!v || !in_memory(v) || v->type != (surface ? MP_PTX_T_SURFREF : MP_PTX_T_TEXREF))
		return false;
	*addr = v->offset;
	return true;
}

bool mp_exec_module_global(struct mp_exec_module *m, const char *name, uint64_t *addr, size_t *size)
{
	struct mp_ptx_var *v = mp_ptx_module_var(&m->ptx, name, strlen(name));

	if (!v || !in_memory(v) || opaque(v))
		return false;
	*addr = v->offset;
	*size = v->size;
	return true;
}

bool mp_exec_module_variable(struct mp_exec_module *m, size_t i, const char **name, uint64_t *addr,
			     size_t *size, bool *is_const)
{
	uint32_t k;

	for (k = 0; k < m->ptx.nvars; k++) {
		struct mp_ptx_var *v = m->ptx.vars[k];

		if (!in_memory(v) || opaque(v) || i--)
			continue;
		*name = v->name;
		*addr = v->offset;
		*size = v->size;
		*is_const = v->space == MP_PTX_W_CONST;
		return true;
	}
	return false;
}

enum mp_exec_outcome mp_exec_kernel_prepare(struct mp_exec_kernel *k, char *err, size_t err_size)
{
	enum mp_exec_outcome o;

	pthread_mutex_lock(&k->lock);
	if (!k->tried) {
		struct program *p = NULL;

		k->outcome = program_decode(k->module, k->func, false, &p, &k->err);
		k->tried = true;
		if (p) {
			k->info.static_shared = p->static_shared;
			k->info.local_bytes = p->local_bytes;
			k->info.uses_printf = p->uses_printf;
			__atomic_store_n(&k->program, p, __ATOMIC_RELEASE);
		} else {
			mp_log(MP_LOG_ERROR, "exec", "kernel", "name=%s line=%u %s", k->func->name,
			       k->err.line, k->err.text);
		}
	}
	o = k->outcome;
	if (o && err && err_size)
		snprintf(err, err_size, "%s: line %u: %s", k->func->name, k->err.line, k->err.text);
	pthread_mutex_unlock(&k->lock);
	return o;
}

/*
 * Shared and local sizes need the decoded body; a body whose text names neither
 * space has none, and the answer costs two searches of its text.
 */
const struct mp_exec_kernel_info *mp_exec_kernel_info(struct mp_exec_kernel *k)
{
	const char *body = k->module->ptx.text + k->func->body_at;
	size_t n = k->func->body_end - k->func->body_at;

	if (!__atomic_load_n(&k->program, __ATOMIC_ACQUIRE) &&
	    (memmem(body, n, ".shared", 7) || memmem(body, n, ".local", 6) || memmem(body, n, "call", 4)))
		mp_exec_kernel_prepare(k, NULL, 0);
	return &k->info;
}
