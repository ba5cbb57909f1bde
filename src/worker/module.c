/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules by content.
 *
 * An image is named by its SHA-256.  What the worker does not have it asks for
 * once (NEED), checks the hash of what comes, and keeps it for the session.
 * Loading may compile, so helpers do it; meanwhile the record is held, and what
 * names the module is parked behind it.
 */
#include "worker/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/sha256.h"

#define IMAGE_MAX   (1ull << 30)
#define IMAGES_KEPT (1ull << 30) /* bytes */
#define LOG_MAX	    (64u << 10)
#define OPTIONS_MAX 32u

struct image {
	struct image *next;
	uint8_t hash[32];
	size_t size;
	uint8_t *data; /* and a NUL, since PTX is text */
	bool whole;
	unsigned users;
};

/* One load, from MODULE_LOAD to READY. */
struct load {
	struct mp_job *job;
	struct image *image;
	bool waits; /* for another load's upload of the same image */
	uint32_t module, library;
	CUmodule out_module;
	CUlibrary out_library;
	CUresult result;
	unsigned n;
	CUjit_option option[OPTIONS_MAX + 4];
	void *value[OPTIONS_MAX + 4];
	char *info_log, *error_log;
	char *wanted;
	size_t wanted_len;
	struct mp_variable_at *variables;
	uint32_t variable_count;
	struct mp_buf names;
};

static struct image *image_find(struct mp_worker *w, const uint8_t hash[32])
{
	struct image *im;

	for (im = w->images; im && memcmp(im->hash, hash, 32); im = im->next)
		;
	return im;
}

static struct image *image_new(struct mp_worker *w, const uint8_t hash[32], size_t size)
{
	struct image *im, **at;

	/* The oldest that nobody loads makes room. */
	for (at = &w->images; (im = *at) && w->image_bytes + size > IMAGES_KEPT;) {
		if (im->users) {
			at = &im->next;
			continue;
		}
		*at = im->next;
		w->image_bytes -= im->size;
		free(im->data);
		free(im);
	}
	im = calloc(1, sizeof(*im));
	if (!im || !(im->data = malloc(size + 1))) {
		free(im);
		return NULL;
	}
	im->data[size] = 0;
	memcpy(im->hash, hash, 32);
	im->size = size;
	w->image_bytes += size;
	for (at = &w->images; *at; at = &(*at)->next)
		;
	*at = im;
	return im;
}

static void image_drop(struct mp_worker *w, struct image *im)
{
	struct image **at;

	for (at = &w->images; *at != im; at = &(*at)->next)
		assert(*at);
	*at = im->next;
	w->image_bytes -= im->size;
	free(im->data);
	free(im);
}

void mp_module_fini(struct mp_worker *w)
{
	while (w->images)
		image_drop(w, w->images);
}

/* ---- Loading: a helper ---- */

static void add_option(struct load *l, CUjit_option o, void *v)
{
	assert(l->n < MP_ARRAY_LEN(l->option));
	l->option[l->n] = o;
	l->value[l->n++] = v;
}

static void find_variables(struct mp_worker *w, struct load *l)
{
	const char *p = l->wanted, *end = p + l->wanted_len;
	size_t max = 0;

	for (const char *q = p; q < end; q++)
		max += !*q;
	if (!max || !(l->variables = calloc(max, sizeof(*l->variables))))
		return;
	for (; p < end; p += strlen(p) + 1) {
		struct mp_variable_at *v = &l->variables[l->variable_count];
		CUdeviceptr at = 0;
		size_t size = 0;
		CUresult e = CUDA_ERROR_NOT_SUPPORTED;

		if (l->out_library && w->drv.cuLibraryGetGlobal)
			e = w->drv.cuLibraryGetGlobal(&at, &size, l->out_library, p);
		else if (l->out_module && w->drv.cuModuleGetGlobal_v2)
			e = w->drv.cuModuleGetGlobal_v2(&at, &size, l->out_module, p);
		/* Managed variables are the library's in all contexts, and before there is one. */
		if (e && l->out_library && w->drv.cuLibraryGetManaged)
			e = w->drv.cuLibraryGetManaged(&at, &size, l->out_library, p);
		if (e)
			continue;
		v->name = (uint32_t)l->names.len;
		v->address = at;
		v->size = size;
		if (mp_buf_add(&l->names, p, strlen(p) + 1))
			return;
		l->variable_count++;
	}
}

static void load_apart(void *arg)
{
	struct load *l = arg;
	struct mp_worker *w = l->job->w;
	CUresult e = l->job->ctx ? mp_context_current(w, l->job->ctx) : CUDA_SUCCESS;

	if (!e && l->library)
		e = w->drv.cuLibraryLoadData ?
			    w->drv.cuLibraryLoadData(&l->out_library, l->image->data, l->option, l->value, l->n,
						     NULL, NULL, 0) :
			    CUDA_ERROR_NOT_SUPPORTED;
	else if (!e)
		e = w->drv.cuModuleLoadDataEx ? w->drv.cuModuleLoadDataEx(&l->out_module, l->image->data, l->n,
									  l->option, l->value) :
						CUDA_ERROR_NOT_SUPPORTED;
	l->result = e;
	if (!e)
		find_variables(w, l);
	mp_exec_loose(l->job);
}

/* ---- The record ---- */

static void load_free(struct load *l)
{
	free(l->info_log);
	free(l->error_log);
	free(l->wanted);
	free(l->variables);
	mp_buf_fini(&l->names);
	free(l);
}

/* The log as far as it was written. */
static size_t log_length(const char *log)
{
	return log ? strnlen(log, LOG_MAX) : 0;
}

static void ready(struct mp_job *job, struct load *l)
{
	struct mp_rep_module_load r = {
		.result = (uint32_t)l->result,
		.names = l->names.data,
		.names_len = l->names.len,
		.variables = l->variables,
		.variables_count = l->variable_count,
		.info_log = l->info_log,
		.info_log_len = log_length(l->info_log),
		.error_log = l->error_log,
		.error_log_len = log_length(l->error_log),
	};
	size_t n = mp_size_rep_module_load(&r);
	uint8_t *p = aligned_alloc(8, mp_align_up(n, 8));

	if (!p) {
		mp_say(job->w, MP_FRAME_READY, job->ticket, CUDA_ERROR_OUT_OF_MEMORY, NULL, 0);
		return;
	}
	mp_put_rep_module_load(p, &r);
	mp_say(job->w, MP_FRAME_READY, job->ticket, (uint32_t)l->result, p, n);
	free(p);
}

static void loaded(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct load *l = job->state;

	l->image->users--;
	if (!l->result && l->library)
		l->result = mp_job_bind(job, MP_KIND_library, l->library, l->out_library);
	else if (!l->result)
		l->result = mp_job_bind(job, MP_KIND_module, l->module, l->out_module);
	if (job->violation)
		mp_end(w, MP_WORKER_EXIT_PROTOCOL, "a module with an id that is taken");
	mp_log(MP_LOG_DEBUG, "worker", "module", "bytes=%zu result=%d", l->image->size, l->result);
	ready(job, l);
	if (l->result)
		mp_job_bury(job);
	load_free(l);
	job->state = NULL;
	mp_job_finish_quiet(job);
}

static void load_now(struct mp_job *job, struct load *l)
{
	/* A fatbin may be compressed: then whether it prints cannot be told, so it may. */
	if (memmem(l->image->data, l->image->size, "vprintf", 7) ||
	    (l->image->size > 4 && !memcmp(l->image->data, "\x50\xed\x55\xba", 4)))
		atomic_store(&job->w->prints, true);
	job->state = l;
	job->resume = loaded;
	if (mp_help(job->w, load_apart, l)) {
		l->result = CUDA_ERROR_OUT_OF_MEMORY;
		mp_exec_loose(job);
	}
}

static void image_here(struct mp_job *job)
{
	struct mp_worker *w = job->w;
	struct load *l = job->load;
	uint8_t hash[32];
	struct mp_job *p;

	mp_sha256(l->image->data, l->image->size, hash);
	if (memcmp(hash, l->image->hash, 32)) {
		mp_end(w, MP_WORKER_EXIT_PROTOCOL, "an image that does not have its hash");
		return;
	}
	l->image->whole = true;
	load_now(job, l);
	/* Others that named the same image while it was on its way. */
	for (p = w->parked; p; p = p->next) {
		struct load *other = p->load;

		if (p != job && other && other->image == l->image && other->waits) {
			other->waits = false;
			load_now(p, other);
		}
	}
}

static CUresult take_options(struct load *l, const struct mp_msg_module_load *m)
{
	uint32_t i;

	if (m->options_count != m->values_count || m->options_count > OPTIONS_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < m->options_count; i++) {
		CUjit_option o = (CUjit_option)m->options[i];

		switch (o) {
		/* Their values are buffers of the program, or come back: ours instead, below. */
		case CU_JIT_INFO_LOG_BUFFER:
		case CU_JIT_ERROR_LOG_BUFFER:
		case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
		case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
		case CU_JIT_WALL_TIME:
			continue;
		case CU_JIT_MAX_REGISTERS:
		case CU_JIT_THREADS_PER_BLOCK:
		case CU_JIT_OPTIMIZATION_LEVEL:
		case CU_JIT_TARGET_FROM_CUCONTEXT:
		case CU_JIT_TARGET:
		case CU_JIT_FALLBACK_STRATEGY:
		case CU_JIT_GENERATE_DEBUG_INFO:
		case CU_JIT_LOG_VERBOSE:
		case CU_JIT_GENERATE_LINE_INFO:
		case CU_JIT_CACHE_MODE:
			add_option(l, o, (void *)(uintptr_t)m->values[i]);
			continue;
		default: /* whatever holds a pointer must not reach the driver */
			return CUDA_ERROR_NOT_SUPPORTED;
		}
	}
	l->info_log = calloc(1, LOG_MAX + 1);
	l->error_log = calloc(1, LOG_MAX + 1);
	if (!l->info_log || !l->error_log)
		return CUDA_ERROR_OUT_OF_MEMORY;
	add_option(l, CU_JIT_INFO_LOG_BUFFER, l->info_log);
	add_option(l, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, (void *)(uintptr_t)LOG_MAX);
	add_option(l, CU_JIT_ERROR_LOG_BUFFER, l->error_log);
	add_option(l, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, (void *)(uintptr_t)LOG_MAX);
	return CUDA_SUCCESS;
}

static CUresult load_new(const struct mp_msg_module_load *m, struct load **ret)
{
	struct load *l = calloc(1, sizeof(*l));
	CUresult e;

	if (!l)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mp_buf_init(&l->names, 16u << 20);
	l->module = m->module;
	l->library = m->library;
	e = take_options(l, m);
	if (!e && m->wanted_len) {
		l->wanted = malloc(m->wanted_len + 1);
		if (l->wanted) {
			memcpy(l->wanted, m->wanted, m->wanted_len);
			l->wanted[m->wanted_len] = 0;
			/* Only whole names. */
			l->wanted_len = m->wanted_len;
			while (l->wanted_len && l->wanted[l->wanted_len - 1])
				l->wanted_len--;
		}
	}
	if (e) {
		load_free(l);
		return e;
	}
	*ret = l;
	return CUDA_SUCCESS;
}

CUresult mp_do_module_load(struct mp_job *job, const struct mp_msg_module_load *m, struct mp_rep_module_load *r)
{
	struct mp_worker *w = job->w;
	struct image *im;
	struct load *l = NULL;
	CUresult e;
	bool asked;

	if (!m->module == !m->library || !m->size || m->size > IMAGE_MAX) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	e = load_new(m, &l);
	if (e) {
		/* READY is what the client waits for. */
		job->later = true;
		mp_job_bury(job);
		mp_say(w, MP_FRAME_READY, job->ticket, (uint32_t)e, NULL, 0);
		return CUDA_SUCCESS;
	}
	im = image_find(w, m->hash);
	asked = im != NULL;
	if (im && im->size != m->size) {
		load_free(l);
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (!im)
		im = image_new(w, m->hash, m->size);
	if (!im || mp_job_hold(job, loaded)) {
		load_free(l);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	im->users++;
	l->job = job;
	l->image = im;
	job->load = l;
	if (im->whole) {
		load_now(job, l);
	} else if (asked) {
		l->waits = true; /* on its way for another load */
	} else {
		mp_say(w, MP_FRAME_NEED, job->ticket, 0, im->hash, sizeof(im->hash));
		if (mp_upload_memory(job, im->data, im->size, image_here))
			return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult mp_do_module_unload(struct mp_job *job, const struct mp_msg_module_unload *m)
{
	struct mp_worker *w = job->w;
	enum mp_kind kind = m->library ? MP_KIND_library : MP_KIND_module;
	uint32_t id = m->library ? m->library : m->module;
	struct object *o = mp_object_find(w, kind, id);
	CUresult e = CUDA_SUCCESS;
	void *h;

	if (o && o->state == OBJECT_FAILED) {
		mp_object_drop(w, kind, id);
		return CUDA_SUCCESS;
	}
	e = mp_job_get(job, kind, id, &h);
	if (e || !h)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	if (kind == MP_KIND_library)
		e = w->drv.cuLibraryUnload ? w->drv.cuLibraryUnload(h) : CUDA_ERROR_NOT_SUPPORTED;
	else
		e = w->drv.cuModuleUnload(h);
	mp_object_drop(w, kind, id);
	/* Its functions are tombstones from now on; the client uses their ids again only after this. */
	mp_function_sweep(w, kind, id);
	return e;
}

/* ---- Functions ---- */

/* A function, or a reference to a texture, remembers what it is of: kind in the low bits, id above. */
void *mp_owner_word(enum mp_kind kind, uint32_t id)
{
	return (void *)(uintptr_t)((uint64_t)id << 8 | kind);
}

bool mp_function_is_kernel(struct mp_worker *w, uint32_t id)
{
	struct object *o = mp_object_find(w, MP_KIND_function, id);

	return o && ((uintptr_t)o->own & 0xff) == MP_KIND_library;
}

void mp_function_sweep(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	static const enum mp_kind kinds[] = {MP_KIND_function, MP_KIND_texref, MP_KIND_surfref};
	void *owner = mp_owner_word(kind, id);
	uint32_t page, i, k;

	for (k = 0; k < MP_ARRAY_LEN(kinds); k++) {
		struct object_table *t = &w->table[kinds[k]];

		for (page = 0; page < MP_ARRAY_LEN(t->page); page++)
			for (i = 0; t->page[page] && i < 256; i++) {
				struct object *o = &t->page[page][i];

				if (o->state == OBJECT_LIVE && o->own == owner)
					mp_object_drop(w, kinds[k], page * 256 + i);
			}
	}
}

CUresult mp_do_function(struct mp_job *job, const struct mp_msg_function *m)
{
	struct mp_worker *w = job->w;
	enum mp_kind kind = m->library ? MP_KIND_library : MP_KIND_module;
	uint32_t id = m->library ? m->library : m->module;
	void *h, *f = NULL;
	CUresult e;

	if (!m->module == !m->library || !m->function || !m->name) {
		job->violation = true;
		return CUDA_ERROR_INVALID_VALUE;
	}
	e = mp_job_get(job, kind, id, &h);
	if (e)
		return e;
	if (kind == MP_KIND_library) {
		if (!w->drv.cuLibraryGetKernel)
			return CUDA_ERROR_NOT_SUPPORTED;
		e = w->drv.cuLibraryGetKernel((CUkernel *)&f, h, m->name);
	} else {
		e = w->drv.cuModuleGetFunction((CUfunction *)&f, h, m->name);
	}
	if (!e)
		e = mp_job_bind(job, MP_KIND_function, m->function, f);
	if (!e)
		mp_object_find(w, MP_KIND_function, m->function)->own = mp_owner_word(kind, id);
	return e;
}

CUresult mp_do_function_info(struct mp_job *job, const struct mp_msg_function_info *m,
			     struct mp_rep_function_info *r)
{
	struct mp_worker *w = job->w;
	int32_t *values;
	unsigned i;
	void *f;
	CUresult e = mp_job_get(job, MP_KIND_function, m->function, &f);

	if (e || !f)
		return e ? e : CUDA_ERROR_INVALID_HANDLE;
	values = mp_job_scratch(job, CU_FUNC_ATTRIBUTE_MAX * sizeof(*values));
	if (!values)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (i = 0; i < CU_FUNC_ATTRIBUTE_MAX; i++) {
		int v = 0;

		if (w->drv.cuFuncGetAttribute(&v, (CUfunction_attribute)i, f))
			v = 0;
		values[i] = v;
	}
	r->values = values;
	r->values_count = CU_FUNC_ATTRIBUTE_MAX;
	return CUDA_SUCCESS;
}

CUresult mp_do_library_variable(struct mp_job *job, const struct mp_msg_library_variable *m,
				struct mp_rep_library_variable *r)
{
	CUdeviceptr at = 0;
	size_t size = 0;
	void *lib;
	CUresult e = mp_job_get(job, MP_KIND_library, m->library, &lib);

	if (e || !lib || !m->name)
		return e ? e : CUDA_ERROR_INVALID_VALUE;
	if (!job->w->drv.cuLibraryGetGlobal)
		return CUDA_ERROR_NOT_SUPPORTED;
	e = job->w->drv.cuLibraryGetGlobal(&at, &size, lib, m->name);
	r->address = at;
	r->size = size;
	return e;
}
