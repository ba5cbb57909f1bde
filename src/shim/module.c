/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules and libraries, by content.
 *
 * The image is read here: which member the server's device takes, the names and
 * parameters of its kernels, its variables.  Only that member travels, named by
 * SHA-256, and only if the server asks for it (NEED).  A load of a fatbin or cubin
 * returns at once; a PTX text waits for READY, since compiling it may fail.
 *
 * Bytes: a program may free its image when the load has returned (unless a library
 * says that its binary is preserved), so that what may still have to travel is
 * copied and kept until READY.
 */
#include "shim/mirror.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/sha256.h"

#define ARENA_CEILING ((size_t)256 << 20)

/* What was read from the image, and what READY said. */
struct mp_load {
	struct mp_arena arena;
	struct mp_contents contents;
	struct mp_rep_module_load reply; /* points into the answer's data */
	struct mp_buf built;
	void *own_copy, *own_text;
};

static pthread_mutex_t loads = PTHREAD_MUTEX_INITIALIZER; /* guards `ready` and the list */
static struct mp_module *pending MP_GUARDED_BY(loads);	  /* may be asked for by NEED */
static uint64_t low = UINT64_MAX, high MP_GUARDED_BY(loads); /* where variables of modules lie */

/* ---- NEED: receiver thread ---- */

void mp_module_need(void *arg, uint64_t ticket, const uint8_t hash[32])
{
	struct mp_module *m;

	pthread_mutex_lock(&loads);
	for (m = pending; m && (m->ticket != ticket || memcmp(m->hash, hash, 32)); m = m->next_pending)
		;
	if (!m || mp_rpc_upload_urgent(mp_shim.rpc, ticket, m->image, m->image_size))
		mp_rpc_lose(mp_shim.rpc, 0, "an image was asked for that is not being loaded");
	pthread_mutex_unlock(&loads);
}

/* ---- READY ---- */

static bool answered(void *arg)
{
	return atomic_load_explicit(&((struct mp_module *)arg)->answer.here, memory_order_acquire);
}

/* The answer is here: read it once, let go of the image. */
static void settle(struct mp_module *m)
{
	struct mp_load *l = m->load;
	struct mp_module **p;
	uint32_t i;

	pthread_mutex_lock(&loads);
	if (atomic_load(&m->ready)) {
		pthread_mutex_unlock(&loads);
		return;
	}
	m->result = (CUresult)m->answer.status;
	if (!m->result &&
	    mp_get_rep_module_load(m->answer.own_data, m->answer.size, &l->reply))
		m->result = CUDA_ERROR_UNKNOWN;
	for (i = 0; !m->result && i < l->reply.variables_count; i++) {
		uint64_t a = l->reply.variables[i].address, n = l->reply.variables[i].size;

		low = a < low ? a : low;
		high = a + n > high ? a + n : high;
	}
	for (p = &pending; *p && *p != m; p = &(*p)->next_pending)
		;
	if (*p)
		*p = m->next_pending;
	free(l->own_copy);
	l->own_copy = NULL;
	mp_buf_fini(&l->built);
	m->image = NULL;
	atomic_store(&m->ready, 1);
	pthread_mutex_unlock(&loads);
}

static struct mp_module *server_side(struct mp_module *m)
{
	return m->of_library ? m->of_library : m;
}

CUresult mp_module_wait(struct mp_thread *t, enum mp_call call, struct mp_module *m)
{
	m = server_side(m);
	if (!atomic_load(&m->ready)) {
		if (!answered(m)) {
			t->waits[call]++;
			mp_rpc_flush(mp_shim.rpc, m->ticket);
			if (mp_rpc_wait(mp_shim.rpc, answered, m))
				return mp_state_error();
		}
		settle(m);
	}
	return m->result;
}

bool mp_module_address(uint64_t p)
{
	/* Between the lowest and the highest variable: near enough to be a device's address. */
	return p >= low && p < high;
}

/* ---- Loading ---- */

/* Managed variables end with their module. */
static void managed_end(struct mp_load *l)
{
	struct mp_mirror m;
	uint32_t i;

	for (i = 0; i < l->reply.variables_count; i++)
		if (mp_mirror_find(l->reply.variables[i].address, &m) && m.kind == MP_MIRROR_VARIABLE)
			mp_mirror_end(NULL, m.host, false);
}

static void load_free(struct mp_load *l)
{
	if (!l)
		return;
	managed_end(l);
	mp_arena_fini(&l->arena);
	mp_buf_fini(&l->built);
	free(l->own_copy);
	free(l->own_text);
	free(l);
}

/* An -rdc program without linked code for this device: its parts are joined here, and the text travels. */
static CUresult read_relocatable(struct mp_module *m, struct mp_load *l, const struct mp_image *im,
				 unsigned capability)
{
	enum mp_image_outcome e;
	char *text;
	size_t n;
	CUresult r = mp_image_join(im, capability, &text, &n);

	if (r)
		return r;
	l->own_copy = text;
	e = mp_contents_read(text, n, &l->arena, &l->contents);
	if (e)
		return e == MP_IMAGE_BAD ? CUDA_ERROR_INVALID_PTX : mp_image_result(e);
	m->image = l->own_copy;
	m->image_size = n;
	mp_sha256(m->image, m->image_size, m->hash);
	return CUDA_SUCCESS;
}

/* Choose the member for the device, decode and read it; what travels is in m->image. */
static CUresult read_image(struct mp_module *m, struct mp_load *l, const void *image, size_t limit,
			   bool preserved, bool *ret_text)
{
	struct mp_device *d = &mp_shim.device[m->ctx ? m->ctx->device : 0];
	unsigned take = MP_TAKE_PTX | (d->runs_cubins ? MP_TAKE_CUBIN : 0);
	struct mp_member member;
	struct mp_image im;
	enum mp_image_outcome e;
	const void *text;

	e = mp_image_open(image, limit, &im);
	if (!e)
		e = mp_image_choose(&im, (unsigned)(d->major * 10 + d->minor), take, &member);
	if (e == MP_IMAGE_NO_MEMBER && im.relocatable) {
		*ret_text = true;
		return read_relocatable(m, l, &im, (unsigned)(d->major * 10 + d->minor));
	}
	if (e)
		return mp_image_result(e);
	*ret_text = im.kind == MP_IMAGE_PTX;
	if (member.codec == MP_CODEC_NONE) {
		text = member.payload;
	} else {
		if (member.size > MP_MEMBER_CEILING || !(l->own_text = malloc(member.size)))
			return CUDA_ERROR_OUT_OF_MEMORY;
		e = mp_member_decode(&member, l->own_text);
		if (e)
			return mp_image_result(e);
		text = l->own_text;
	}
	e = mp_contents_read(text, member.size, &l->arena, &l->contents);
	if (e)
		return e == MP_IMAGE_BAD && member.kind == MP_MEMBER_PTX ? CUDA_ERROR_INVALID_PTX
									 : mp_image_result(e);
	/* names are copied: the decoded bytes may go */
	free(l->own_text);
	l->own_text = NULL;
	if (im.kind == MP_IMAGE_FATBIN) {
		mp_buf_init(&l->built, mp_image_build_size(&member, 1));
		e = mp_image_build(&member, 1, &l->built);
		if (e)
			return mp_image_result(e);
		m->image = (const uint8_t *)l->built.data;
		m->image_size = l->built.len;
	} else if (preserved) {
		m->image = im.data;
		m->image_size = im.size;
	} else {
		l->own_copy = malloc(im.size + 1);
		if (!l->own_copy)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(l->own_copy, im.data, im.size);
		m->image = l->own_copy;
		m->image_size = im.size;
	}
	mp_sha256(m->image, m->image_size, m->hash);
	return CUDA_SUCCESS;
}

/* One slot per kernel of the image, so that handles exist from the start. */
static CUresult make_functions(struct mp_module *m, struct mp_load *l)
{
	struct mp_device *d = &mp_shim.device[m->ctx ? m->ctx->device : 0];
	enum mp_kind kind = m->ctx ? MP_KIND_function : MP_KIND_kernel;
	struct mp_func **tail = &m->funcs;
	size_t i;

	for (i = 0; i < l->contents.nkernels; i++) {
		const struct mp_kernel *k = &l->contents.kernels[i];
		uint64_t threads = (uint64_t)d->attr[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK], want = 1;
		struct mp_func *f;
		int j;

		f = mp_slot_new(kind);
		if (!f)
			return CUDA_ERROR_OUT_OF_MEMORY;
		for (j = 0; j < 3; j++)
			want *= k->reqntid[0] ? (k->reqntid[j] ? k->reqntid[j] : 1)
					      : (k->maxntid[j] ? k->maxntid[j] : 1);
		if ((k->reqntid[0] || k->maxntid[0]) && want < threads)
			threads = want;
		f->module = m;
		f->info = k;
		f->name = k->name;
		f->nparams = k->nparams;
		f->param_bytes = k->param_bytes;
		f->params = k->params;
		mp_params_plan(f);
		f->max_threads = (uint32_t)threads;
		f->static_shared = k->static_shared;
		f->max_dynamic = (uint32_t)d->attr[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK];
		f->max_dynamic -= f->max_dynamic < f->static_shared ? f->max_dynamic : f->static_shared;
		*tail = f;
		tail = &f->next;
	}
	return CUDA_SUCCESS;
}

static bool option_travels(CUjit_option o)
{
	switch (o) {
	case CU_JIT_INFO_LOG_BUFFER:
	case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
	case CU_JIT_ERROR_LOG_BUFFER:
	case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
	case CU_JIT_WALL_TIME:
		return false;
	default:
		return true;
	}
}

/* The names of the variables, which no driver call lists. */
static CUresult wanted(const struct mp_load *l, struct mp_buf *b)
{
	size_t i;

	for (i = 0; i < l->contents.nvariables; i++)
		mp_buf_add(b, l->contents.variables[i].name,
			   strlen(l->contents.variables[i].name) + 1);
	return b->failed ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult send_load(struct mp_thread *t, struct mp_module *m, unsigned n, CUjit_option *opt,
			  void **val)
{
	struct mp_msg_module_load msg;
	uint32_t options[32];
	uint64_t values[32];
	struct mp_buf names;
	struct mp_out o;
	unsigned i, k = 0;
	CUresult r;

	memset(&msg, 0, sizeof(msg));
	for (i = 0; i < n && k < MP_ARRAY_LEN(options); i++)
		if (option_travels(opt[i])) {
			options[k] = opt[i];
			values[k++] = (uintptr_t)val[i];
		}
	mp_buf_init(&names, 4u << 20);
	r = wanted(m->load, &names);
	if (!r) {
		if (m->ctx)
			msg.module = m->head.id;
		else
			msg.library = m->head.id;
		memcpy(msg.hash, m->hash, sizeof(msg.hash));
		msg.size = m->image_size;
		msg.options = options;
		msg.values = values;
		msg.options_count = msg.values_count = k;
		msg.wanted = names.data;
		msg.wanted_len = names.len;
		/* A library belongs to no context; its record carries the current one, if any. */
		r = MP_PUT(&o, t, MP_REC_module_load, module_load, &msg,
			   m->ctx ? m->ctx->head.id
				  : (t->ctx && t->ctx->live ? t->ctx->head.id : 0));
	}
	mp_buf_fini(&names);
	if (r)
		return r;
	m->ticket = o.ticket;
	mp_rpc_expect(mp_shim.rpc, &m->answer, o.ticket);
	pthread_mutex_lock(&loads);
	m->next_pending = pending;
	pending = m;
	pthread_mutex_unlock(&loads);
	mp_out_send(&o);
	return CUDA_SUCCESS;
}

/* Logs of the compiler, into the program's buffers. */
static void logs_out(struct mp_module *m, unsigned n, CUjit_option *opt, void **val)
{
	const struct mp_rep_module_load *r = &m->load->reply;
	char *buf[2] = {NULL, NULL};
	size_t size[2] = {0, 0};
	unsigned i, k;

	for (i = 0; i < n; i++) {
		if (opt[i] == CU_JIT_INFO_LOG_BUFFER)
			buf[0] = val[i];
		else if (opt[i] == CU_JIT_ERROR_LOG_BUFFER)
			buf[1] = val[i];
		else if (opt[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES)
			size[0] = (unsigned)(uintptr_t)val[i];
		else if (opt[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
			size[1] = (unsigned)(uintptr_t)val[i];
	}
	for (k = 0; k < 2; k++) {
		const void *text = k ? r->error_log : r->info_log;
		size_t len = text ? (size_t)(k ? r->error_log_len : r->info_log_len) : 0;

		if (!buf[k] || !size[k])
			continue;
		if (len > size[k] - 1)
			len = size[k] - 1;
		memcpy(buf[k], text ? text : "", len);
		buf[k][len] = 0;
		for (i = 0; i < n; i++)
			if (opt[i] == (k ? CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
					 : CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES))
				val[i] = (void *)(uintptr_t)len;
	}
}

static void functions_free(struct mp_module *m)
{
	struct mp_func *f;

	while ((f = m->funcs)) {
		m->funcs = f->next;
		free(f->own_attr);
		mp_slot_free(f);
	}
}

CUresult mp_module_unload(struct mp_thread *t, struct mp_module *m)
{
	struct mp_msg_module_unload msg = {0};
	struct mp_out o;

	if (m->ctx)
		msg.module = m->head.id;
	else
		msg.library = m->head.id;
	return MP_SEND(&o, t, MP_REC_module_unload, module_unload, &msg,
		       m->ctx ? m->ctx->head.id
			      : (t->ctx && t->ctx->live ? t->ctx->head.id : 0));
}

static CUresult load(struct mp_thread *t, enum mp_call call, struct mp_ctx *c, const void *image,
		     size_t limit, unsigned n, CUjit_option *opt, void **val, bool preserved,
		     struct mp_module **ret)
{
	struct mp_module *m = mp_slot_new(c ? MP_KIND_module : MP_KIND_library);
	struct mp_load *l = calloc(1, sizeof(*l));
	bool text = false;
	CUresult r = m && l ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;

	if (!r) {
		mp_arena_init(&l->arena, ARENA_CEILING);
		m->ctx = c;
		m->load = l;
		r = read_image(m, l, image, limit, preserved, &text);
	}
	if (!r)
		r = make_functions(m, l);
	if (!r)
		r = send_load(t, m, n, opt, val);
	if (r) {
		if (m)
			functions_free(m);
		load_free(l);
		if (m)
			mp_slot_free(m);
		return r;
	}
	if (c) {
		pthread_mutex_lock(&mp_objects);
		m->next = c->modules;
		c->modules = m;
		pthread_mutex_unlock(&mp_objects);
	}
	if (text || mp_shim.strict || mp_module_eager()) {
		r = mp_module_wait(t, call, m);
		if (!r || m->answer.own_data) {
			if (r && m->answer.own_data)
				(void)mp_get_rep_module_load(m->answer.own_data, m->answer.size,
							     &l->reply);
			logs_out(m, n, opt, val);
		}
		if (r) {
			(void)mp_module_unload(t, m); /* ends the id on the server too */
			mp_module_gone(m);
			return r;
		}
	}
	*ret = m;
	return CUDA_SUCCESS;
}

/* Forget a module here. Its answer may still come: then it is dropped. */
void mp_module_gone(struct mp_module *m)
{
	struct mp_module **p;

	if (m->ctx) {
		pthread_mutex_lock(&mp_objects);
		for (p = &m->ctx->modules; *p && *p != m; p = &(*p)->next)
			;
		if (*p)
			*p = m->next;
		pthread_mutex_unlock(&mp_objects);
	}
	functions_free(m);
	mp_texref_module_gone(m);
	if (m->of_library) {
		mp_slot_free(m);
		return;
	}
	if (!atomic_load(&m->ready)) {
		/* The server may be in the middle of asking for the bytes. */
		mp_rpc_flush(mp_shim.rpc, m->ticket);
		if (!mp_rpc_wait(mp_shim.rpc, answered, m))
			settle(m);
	}
	pthread_mutex_lock(&loads);
	for (p = &pending; *p && *p != m; p = &(*p)->next_pending)
		;
	if (*p)
		*p = m->next_pending;
	pthread_mutex_unlock(&loads);
	load_free(m->load); /* it reads the answer, which names its variables */
	mp_rpc_forget(mp_shim.rpc, &m->answer);
	if (m->as_module)
		mp_slot_free(m->as_module);
	mp_slot_free(m);
}

bool mp_module_eager(void)
{
	const char *v = getenv("CUDA_MODULE_LOADING");

	return v && !strcmp(v, "EAGER");
}

/* ---- Modules ---- */

CUresult mp_shim_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int n,
				    CUjit_option *opt, void **val)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = mp_enter(MP_CALL_cuModuleLoadDataEx, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!module || !image || (n && (!opt || !val)))
		return CUDA_ERROR_INVALID_VALUE;
	r = load(t, MP_CALL_cuModuleLoadDataEx, t->ctx, image, 0, n, opt, val, false, &m);
	if (!r)
		*module = (CUmodule)m;
	return r;
}

CUresult mp_shim_cuModuleLoadData(CUmodule *module, const void *image)
{
	return mp_shim_cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

CUresult mp_shim_cuModuleLoadFatBinary(CUmodule *module, const void *image)
{
	return mp_shim_cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

/* A whole file, with a NUL behind it. */
static CUresult file_read(const char *name, char **ret, size_t *ret_n)
{
	struct stat st;
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char *p = NULL;
	size_t have = 0;

	if (fd < 0)
		return CUDA_ERROR_FILE_NOT_FOUND;
	if (!fstat(fd, &st) && st.st_size > 0 && (size_t)st.st_size <= MP_MEMBER_CEILING)
		p = malloc((size_t)st.st_size + 1);
	while (p && have < (size_t)st.st_size) {
		ssize_t n = read(fd, p + have, (size_t)st.st_size - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(fd);
	if (!p)
		return CUDA_ERROR_INVALID_IMAGE;
	p[have] = 0;
	*ret = p;
	*ret_n = have;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuModuleLoad(CUmodule *module, const char *name)
{
	struct mp_thread *t;
	struct mp_module *m;
	char *p;
	size_t n;
	CUresult r = mp_enter(MP_CALL_cuModuleLoad, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	if (!module || !name)
		return CUDA_ERROR_INVALID_VALUE;
	r = file_read(name, &p, &n);
	if (r)
		return r;
	r = load(t, MP_CALL_cuModuleLoad, t->ctx, p, n, 0, NULL, NULL, false, &m);
	free(p);
	if (!r)
		*module = (CUmodule)m;
	return r;
}

CUresult mp_shim_cuModuleUnload(CUmodule module)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = mp_enter(MP_CALL_cuModuleUnload, &t);

	if (!r)
		r = mp_safe(t);
	if (r)
		return r;
	m = mp_object(module, MP_KIND_module);
	if (!m || m->of_library)
		return CUDA_ERROR_INVALID_HANDLE;
	r = mp_module_unload(t, m);
	if (!r)
		mp_module_gone(m);
	return r;
}

CUresult mp_shim_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuModuleGetLoadingMode, &t);

	if (r)
		return r;
	if (!mode)
		return CUDA_ERROR_INVALID_VALUE;
	*mode = mp_module_eager() ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
	return CUDA_SUCCESS;
}

/* The server learns a function's name when the program first asks for it. */
static CUresult function_name(struct mp_thread *t, struct mp_func *f)
{
	struct mp_module *m = server_side(f->module);
	struct mp_msg_function msg = {.function = f->head.id, .name = f->name};
	struct mp_out o;
	CUresult r;
	uint32_t no = 0;

	if (!atomic_compare_exchange_strong(&f->named, &no, 1))
		return CUDA_SUCCESS;
	if (m->ctx)
		msg.module = m->head.id;
	else
		msg.library = m->head.id;
	r = MP_PUT(&o, t, MP_REC_function, function, &msg,
		   m->ctx ? m->ctx->head.id
			  : (t->ctx && t->ctx->live ? t->ctx->head.id : 0));
	if (!r)
		r = mp_out_end(&o);
	if (r)
		atomic_store(&f->named, 0);
	return r;
}

static CUresult function_find(struct mp_thread *t, struct mp_module *m, const char *name,
			      struct mp_func **ret)
{
	struct mp_func *f;

	for (f = server_side(m)->funcs; f && strcmp(f->name, name); f = f->next)
		;
	if (!f)
		return CUDA_ERROR_NOT_FOUND;
	*ret = f;
	return function_name(t, f);
}

CUresult mp_shim_cuModuleGetFunction(CUfunction *func, CUmodule module, const char *name)
{
	struct mp_thread *t;
	struct mp_module *m;
	struct mp_func *f;
	CUresult r = mp_enter(MP_CALL_cuModuleGetFunction, &t);

	if (r)
		return r;
	m = mp_object(module, MP_KIND_module);
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!func || !name)
		return CUDA_ERROR_INVALID_VALUE;
	r = function_find(t, m, name, &f);
	if (!r)
		*func = (CUfunction)f;
	return r;
}

static CUresult function_count(enum mp_call call, struct mp_module *m, unsigned int *count)
{
	struct mp_thread *t;
	struct mp_func *f;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	for (*count = 0, f = server_side(m)->funcs; f; f = f->next)
		++*count;
	return CUDA_SUCCESS;
}

static CUresult function_list(enum mp_call call, struct mp_module *m, void **list, unsigned int n)
{
	struct mp_thread *t;
	struct mp_func *f;
	unsigned i = 0;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	if (n && !list)
		return CUDA_ERROR_INVALID_VALUE;
	for (f = server_side(m)->funcs; f && i < n && !r; f = f->next) {
		r = function_name(t, f);
		list[i++] = f;
	}
	return r;
}

CUresult mp_shim_cuModuleGetFunctionCount(unsigned int *count, CUmodule module)
{
	return function_count(MP_CALL_cuModuleGetFunctionCount, mp_object(module, MP_KIND_module),
			      count);
}

CUresult mp_shim_cuModuleEnumerateFunctions(CUfunction *list, unsigned int n, CUmodule module)
{
	return function_list(MP_CALL_cuModuleEnumerateFunctions, mp_object(module, MP_KIND_module),
			     (void **)list, n);
}

CUresult mp_module_kernel(struct mp_module *m, size_t i, CUfunction *ret)
{
	struct mp_thread *t = mp_thread_get();
	struct mp_func *f;

	for (f = server_side(m)->funcs; f && i; f = f->next)
		i--;
	if (!f || !t)
		return CUDA_ERROR_NOT_FOUND;
	*ret = (CUfunction)f;
	return function_name(t, f);
}

/* The module is there: from its answer, or asked for when it was loaded before there was a context. */
static CUresult variable_place(struct mp_thread *t, enum mp_call call, struct mp_module *m,
			       const char *name, uint64_t *ret_at, uint64_t *ret_size)
{
	struct mp_msg_library_variable q = {.library = m->head.id, .name = name};
	const struct mp_rep_module_load *have = &m->load->reply;
	struct mp_rep_library_variable reply;
	struct mp_answer a;
	struct mp_out o;
	CUresult r;
	uint32_t i;

	for (i = 0; i < have->variables_count; i++) {
		uint32_t at = have->variables[i].name;

		if (at >= have->names_len ||
		    strncmp((const char *)have->names + at, name, have->names_len - at))
			continue;
		*ret_at = have->variables[i].address;
		*ret_size = have->variables[i].size;
		return CUDA_SUCCESS;
	}
	if (m->ctx || !t->ctx)
		return CUDA_ERROR_NOT_FOUND;
	r = MP_PUT(&o, t, MP_REC_library_variable, library_variable, &q, t->ctx->head.id);
	if (r)
		return r;
	o.call = call;
	r = mp_out_ask(&o, &a);
	if (!r && mp_get_rep_library_variable(a.own_data, a.size, &reply))
		r = CUDA_ERROR_UNKNOWN;
	free(a.own_data);
	if (r)
		return r;
	*ret_at = reply.address;
	*ret_size = reply.size;
	pthread_mutex_lock(&loads);
	low = *ret_at < low ? *ret_at : low;
	high = *ret_at + *ret_size > high ? *ret_at + *ret_size : high;
	pthread_mutex_unlock(&loads);
	return CUDA_SUCCESS;
}

CUresult mp_func_global(struct mp_thread *t, enum mp_call call, struct mp_module *m,
			const char *name, CUdeviceptr *dptr, size_t *bytes)
{
	const struct mp_load *l;
	uint64_t at, size;
	CUresult r;
	size_t i;

	if (!name || (!dptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	m = server_side(m);
	l = m->load;
	for (i = 0; i < l->contents.nvariables && strcmp(l->contents.variables[i].name, name); i++)
		;
	if (i == l->contents.nvariables)
		return CUDA_ERROR_NOT_FOUND;
	r = mp_module_wait(t, call, m);
	if (r)
		return r;
	r = variable_place(t, call, m, name, &at, &size);
	if (!r && l->contents.variables[i].space == MP_SPACE_MANAGED)
		r = mp_mirror_variable(t, t->ctx, at, size);
	if (r)
		return r;
	if (dptr)
		*dptr = at;
	if (bytes)
		*bytes = size;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule module,
				      const char *name)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = mp_enter(MP_CALL_cuModuleGetGlobal_v2, &t);

	if (r)
		return r;
	m = mp_object(module, MP_KIND_module);
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	return mp_func_global(t, MP_CALL_cuModuleGetGlobal_v2, m, name, dptr, bytes);
}

CUresult mp_shim_cuModuleGetGlobal(CUdeviceptr_v1 *dptr, unsigned int *bytes, CUmodule module,
				   const char *name)
{
	return mp_refused(MP_CALL_cuModuleGetGlobal); /* addresses have 64 bits */
}

/* ---- Libraries ---- */

static bool preserved(CUlibraryOption *opt, void **val, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (opt[i] == CU_LIBRARY_BINARY_IS_PRESERVED && val && val[i])
			return true;
	return false;
}

static CUresult library_load(enum mp_call call, CUlibrary *library, const void *code, size_t limit,
			     CUjit_option *jit, void **jit_val, unsigned njit, CUlibraryOption *opt,
			     void **val, unsigned n)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = mp_enter_init(call, &t);

	if (!r && t->ctx && t->ctx->live)
		r = mp_ctx_error(t->ctx);
	if (r)
		return r;
	if (!library || !code || (njit && (!jit || !jit_val)) || (n && !opt))
		return CUDA_ERROR_INVALID_VALUE;
	r = load(t, call, NULL, code, limit, njit, jit, jit_val, preserved(opt, val, n), &m);
	if (!r)
		*library = (CUlibrary)m;
	return r;
}

CUresult mp_shim_cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit,
				   void **jit_val, unsigned int njit, CUlibraryOption *opt,
				   void **val, unsigned int n)
{
	return library_load(MP_CALL_cuLibraryLoadData, library, code, 0, jit, jit_val, njit, opt, val,
			    n);
}

CUresult mp_shim_cuLibraryLoadFromFile(CUlibrary *library, const char *name, CUjit_option *jit,
				       void **jit_val, unsigned int njit, CUlibraryOption *opt,
				       void **val, unsigned int n)
{
	char *p;
	size_t size;
	CUresult r;

	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	if (atomic_load(&mp_shim.state) != MP_STATE_READY)
		return mp_state_error();
	r = file_read(name, &p, &size);
	if (r)
		return r;
	r = library_load(MP_CALL_cuLibraryLoadFromFile, library, p, size, jit, jit_val, njit, NULL,
			 NULL, 0);
	free(p);
	return r;
}

static CUresult library_get(enum mp_call call, CUlibrary library, struct mp_thread **t,
			    struct mp_module **ret)
{
	CUresult r = mp_enter_init(call, t);

	if (r)
		return r;
	*ret = mp_object(library, MP_KIND_library);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult mp_shim_cuLibraryUnload(CUlibrary library)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = library_get(MP_CALL_cuLibraryUnload, library, &t, &m);

	if (r)
		return r;
	r = mp_module_unload(t, m);
	if (!r)
		mp_module_gone(m);
	return r;
}

CUresult mp_shim_cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
	struct mp_thread *t;
	struct mp_module *m;
	struct mp_func *f;
	CUresult r = library_get(MP_CALL_cuLibraryGetKernel, library, &t, &m);

	if (r)
		return r;
	if (!kernel || !name)
		return CUDA_ERROR_INVALID_VALUE;
	r = function_find(t, m, name, &f);
	if (!r)
		*kernel = (CUkernel)f;
	return r;
}

CUresult mp_shim_cuLibraryGetKernelCount(unsigned int *count, CUlibrary library)
{
	return function_count(MP_CALL_cuLibraryGetKernelCount, mp_object(library, MP_KIND_library),
			      count);
}

CUresult mp_shim_cuLibraryEnumerateKernels(CUkernel *list, unsigned int n, CUlibrary library)
{
	return function_list(MP_CALL_cuLibraryEnumerateKernels, mp_object(library, MP_KIND_library),
			     (void **)list, n);
}

/* The library seen as a module of the current context: the same server object. */
CUresult mp_shim_cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = library_get(MP_CALL_cuLibraryGetModule, library, &t, &m);

	if (!r)
		r = mp_enter_slow(t->ctx);
	if (r)
		return r;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&loads);
	if (!m->as_module && (m->as_module = mp_slot_new(MP_KIND_module))) {
		m->as_module->of_library = m;
		m->as_module->load = m->load;
	}
	pthread_mutex_unlock(&loads);
	*module = (CUmodule)m->as_module;
	return m->as_module ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_shim_cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library,
				    const char *name)
{
	struct mp_thread *t;
	struct mp_module *m;
	CUresult r = library_get(MP_CALL_cuLibraryGetGlobal, library, &t, &m);

	if (!r)
		r = mp_enter_slow(t->ctx);
	return r ? r : mp_func_global(t, MP_CALL_cuLibraryGetGlobal, m, name, dptr, bytes);
}

CUresult mp_shim_cuLibraryGetManaged(CUdeviceptr *dptr, size_t *bytes, CUlibrary library,
				     const char *name)
{
	const struct mp_contents *c;
	struct mp_thread *t;
	struct mp_module *m;
	size_t i;
	CUresult r = library_get(MP_CALL_cuLibraryGetManaged, library, &t, &m);

	if (r)
		return r;
	if (!name || (!dptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	c = &m->load->contents;
	for (i = 0; i < c->nvariables; i++)
		if (c->variables[i].space == MP_SPACE_MANAGED && !strcmp(c->variables[i].name, name))
			return mp_func_global(t, MP_CALL_cuLibraryGetManaged, m, name, dptr, bytes);
	return CUDA_ERROR_NOT_FOUND;
}

CUresult mp_shim_cuKernelGetLibrary(CUlibrary *library, CUkernel kernel)
{
	struct mp_func *f = mp_object(kernel, MP_KIND_kernel);
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuKernelGetLibrary, &t);

	if (r)
		return r;
	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!library)
		return CUDA_ERROR_INVALID_VALUE;
	*library = (CUlibrary)f->module;
	return CUDA_SUCCESS;
}

/* A launch takes either handle, so that the kernel is its own function in every context. */
CUresult mp_shim_cuKernelGetFunction(CUfunction *func, CUkernel kernel)
{
	struct mp_func *f = mp_object(kernel, MP_KIND_kernel);
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuKernelGetFunction, &t);

	if (r)
		return r;
	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!func)
		return CUDA_ERROR_INVALID_VALUE;
	*func = (CUfunction)f;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuFuncGetModule(CUmodule *module, CUfunction func)
{
	struct mp_func *f = mp_func_get(func);
	struct mp_thread *t;
	CUresult r = mp_enter(MP_CALL_cuFuncGetModule, &t);

	if (r)
		return r;
	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	if (!f->module->ctx)
		return mp_shim_cuLibraryGetModule(module, (CUlibrary)f->module);
	*module = (CUmodule)f->module;
	return CUDA_SUCCESS;
}
