/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User objects: things of the program that are counted, and that graphs keep
 * alive.  The server never hears of them: what counts is here, and so is the
 * function that ends one.  The references of an executable graph go behind its
 * latest launch.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

struct user_object {
	struct mp_head head;
	_Atomic uint32_t refs;
	void *ptr;
	CUhostFn destroy;
};
static_assert(sizeof(struct user_object) <= MP_SLOT_SIZE, "a user object fits its slot");

struct mp_user_use {
	struct mp_user_use *next;
	struct user_object *object;
	uint32_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the lists of graphs */

static void release(struct user_object *o, uint32_t n)
{
	uint32_t before = atomic_fetch_sub(&o->refs, n);
	struct mp_thread *t = mp_thread_get();
	bool nested = t && t->in_host_function;

	assert(before >= n);
	if (before != n)
		return;
	if (t)
		t->in_host_function = true; /* it may not call CUDA */
	o->destroy(o->ptr);
	if (t)
		t->in_host_function = nested;
	mp_slot_free(o);
}

/* n of the object; the lock is held. */
static int use_add(struct mp_user_use **list, struct user_object *o, uint32_t n)
{
	struct mp_user_use *u;

	for (u = *list; u && u->object != o; u = u->next)
		;
	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return -1;
		u->object = o;
		u->next = *list;
		*list = u;
	}
	u->count += n;
	return 0;
}

int mp_users_copy(struct mp_user_use **to, const struct mp_user_use *from)
{
	int e = 0;

	if (!from)
		return 0;
	pthread_mutex_lock(&lock);
	for (; from && !e; from = from->next) {
		e = use_add(to, from->object, from->count);
		if (!e)
			atomic_fetch_add(&from->object->refs, from->count);
	}
	pthread_mutex_unlock(&lock);
	return e;
}

static void drop(struct mp_user_use *u)
{
	struct mp_user_use *next;

	for (; u; u = next) {
		next = u->next;
		release(u->object, u->count);
		free(u);
	}
}

static void CUDA_CB drop_call(void *list)
{
	drop(list);
}

void mp_users_drop(struct mp_user_use **list)
{
	struct mp_user_use *u;

	if (!*list)
		return;
	pthread_mutex_lock(&lock);
	u = *list;
	*list = NULL;
	pthread_mutex_unlock(&lock);
	drop(u);
}

void mp_users_drop_after(struct mp_thread *t, struct mp_exec *x)
{
	struct mp_user_use *u = x->users;
	struct mp_stream *s = x->stream;

	x->users = NULL;
	if (!u)
		return;
	/* Of a stream that is gone nobody can say where it is: all of the context is waited for. */
	if (s && (atomic_load(&s->head.kind) != MP_KIND_stream || s->head.generation != x->stream_generation))
		(void)mp_ctx_wait(t, MP_CALL_cuGraphExecDestroy, t->ctx);
	else if (s && !mp_stream_over(s, x->ticket) && !atomic_load(&s->capture) &&
		 !mp_hostcall_send(t, s, drop_call, u))
		return;
	drop(u);
}

/* ---- The calls ---- */

static CUresult object_of(enum mp_call call, CUuserObject h, unsigned count, struct user_object **ret)
{
	struct mp_thread *t;
	CUresult r = mp_enter_init(call, &t);

	if (r)
		return r;
	*ret = mp_object(h, MP_KIND_userobject);
	return *ret && count && count <= INT32_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mp_shim_cuUserObjectCreate(CUuserObject *ret, void *ptr, CUhostFn destroy, unsigned int count,
				    unsigned int flags)
{
	struct user_object *o;
	struct mp_thread *t;
	CUresult r = mp_enter_init(MP_CALL_cuUserObjectCreate, &t);

	if (r)
		return r;
	if (!ret || !destroy || !count || count > INT32_MAX || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
		return CUDA_ERROR_INVALID_VALUE;
	o = mp_slot_new(MP_KIND_userobject);
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_store(&o->refs, count);
	o->ptr = ptr;
	o->destroy = destroy;
	*ret = (CUuserObject)o;
	return CUDA_SUCCESS;
}

CUresult mp_shim_cuUserObjectRetain(CUuserObject h, unsigned int count)
{
	struct user_object *o;
	CUresult r = object_of(MP_CALL_cuUserObjectRetain, h, count, &o);

	if (!r)
		atomic_fetch_add(&o->refs, count);
	return r;
}

CUresult mp_shim_cuUserObjectRelease(CUuserObject h, unsigned int count)
{
	struct user_object *o;
	CUresult r = object_of(MP_CALL_cuUserObjectRelease, h, count, &o);

	if (!r && count > atomic_load(&o->refs))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		release(o, count);
	return r;
}

CUresult mp_shim_cuGraphRetainUserObject(CUgraph graph, CUuserObject h, unsigned int count,
					 unsigned int flags)
{
	struct mp_graph *g = mp_graph_get(graph);
	struct user_object *o;
	CUresult r = object_of(MP_CALL_cuGraphRetainUserObject, h, count, &o);

	if (!r && (!g || flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE))
		r = CUDA_ERROR_INVALID_VALUE;
	if (r)
		return r;
	pthread_mutex_lock(&lock);
	if (use_add(&g->users, o, count))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	else if (!(flags & CU_GRAPH_USER_OBJECT_MOVE))
		atomic_fetch_add(&o->refs, count);
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult mp_shim_cuGraphReleaseUserObject(CUgraph graph, CUuserObject h, unsigned int count)
{
	struct mp_graph *g = mp_graph_get(graph);
	struct mp_user_use **p, *u;
	struct user_object *o;
	CUresult r = object_of(MP_CALL_cuGraphReleaseUserObject, h, count, &o);

	if (!r && !g)
		r = CUDA_ERROR_INVALID_VALUE;
	if (r)
		return r;
	pthread_mutex_lock(&lock);
	for (p = &g->users; (u = *p) && u->object != o; p = &u->next)
		;
	if (!u || u->count < count) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else if (!(u->count -= count)) {
		*p = u->next;
		free(u);
	}
	pthread_mutex_unlock(&lock);
	if (!r)
		release(o, count);
	return r;
}
