/* SPDX-License-Identifier: Apache-2.0 */
/* User objects: reference-counted things of the program that graphs keep alive. */
#include "graph.h"

#include <stdlib.h>

struct CUuserObject_st {
	struct mp_object object;
	_Atomic unsigned refs;
	void *ptr;
	CUhostFn destroy;
};

void mp_user_retain(struct CUuserObject_st *o, unsigned n)
{
	o->refs += n;
}

void mp_user_release(struct CUuserObject_st *o, unsigned n)
{
	unsigned before = atomic_fetch_sub(&o->refs, n);
	bool nested = mp_in_callback;

	assert(before >= n);
	if (before != n)
		return;
	mp_in_callback = true; /* a destructor may not call CUDA */
	o->destroy(o->ptr);
	mp_in_callback = nested;
	mp_handle_free(MP_USER_OBJECT, o);
}

CUresult cuUserObjectCreate(CUuserObject *object_out, void *ptr, CUhostFn destroy,
			    unsigned int initialRefcount, unsigned int flags)
{
	struct CUuserObject_st *o;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!object_out || !destroy || !initialRefcount || initialRefcount > INT32_MAX ||
	    flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
		return CUDA_ERROR_INVALID_VALUE;
	o = mp_handle_new(MP_USER_OBJECT, sizeof(*o));
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	o->refs = initialRefcount;
	o->ptr = ptr;
	o->destroy = destroy;
	*object_out = o;
	return CUDA_SUCCESS;
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mp_handle_live(MP_USER_OBJECT, object) || !count)
		return CUDA_ERROR_INVALID_VALUE;
	mp_user_retain(object, count);
	return CUDA_SUCCESS;
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mp_handle_live(MP_USER_OBJECT, object) || !count || count > object->refs)
		return CUDA_ERROR_INVALID_VALUE;
	mp_user_release(object, count);
	return CUDA_SUCCESS;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count,
				 unsigned int flags)
{
	CUresult r = mp_soft_ready();
	size_t i;

	if (r)
		return r;
	if (!mp_handle_live(MP_GRAPH, graph) || !mp_handle_live(MP_USER_OBJECT, object) || !count ||
	    flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE)
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	for (i = 0; i < graph->nusers && graph->users[i].object != object; i++)
		;
	if (i == graph->nusers) {
		struct mp_user_ref *p = realloc(graph->users, (i + 1) * sizeof(*p));

		if (!p) {
			mp_graph_unlock();
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		graph->users = p;
		graph->users[graph->nusers++] = (struct mp_user_ref){object, 0};
	}
	graph->users[i].count += count;
	if (!(flags & CU_GRAPH_USER_OBJECT_MOVE))
		mp_user_retain(object, count);
	mp_graph_unlock();
	return CUDA_SUCCESS;
}

CUresult cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
	CUresult r = mp_soft_ready();
	size_t i;

	if (r)
		return r;
	if (!mp_handle_live(MP_GRAPH, graph) || !mp_handle_live(MP_USER_OBJECT, object) || !count)
		return CUDA_ERROR_INVALID_VALUE;
	mp_graph_lock();
	for (i = 0; i < graph->nusers && graph->users[i].object != object; i++)
		;
	if (i == graph->nusers || graph->users[i].count < count) {
		r = CUDA_ERROR_INVALID_VALUE;
	} else {
		graph->users[i].count -= count;
		if (!graph->users[i].count)
			graph->users[i] = graph->users[--graph->nusers];
		mp_user_release(object, count);
	}
	mp_graph_unlock();
	return r;
}
