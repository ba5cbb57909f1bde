/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions of graphs: values that device code sets, and the conditional nodes
 * that go by them.
 *
 * A handle is a place in a table and a generation, so that device code may use
 * any number without harm.  A conditional node is an op that starts one of its
 * bodies, as ops of their own, and looks at the value again when they are over.
 */
#include "graph-node.h"

#include <stdlib.h>
#include <string.h>

#define MOST 65536u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mp_condition *_Atomic table[MOST]; /* once made they stay, and are used again */

struct mp_condition *mp_condition_find(uint64_t handle)
{
	uint32_t i = (uint32_t)handle - 1;
	struct mp_condition *c = i < MOST ? table[i] : NULL;

	return c && __atomic_load_n(&c->handle, __ATOMIC_ACQUIRE) == handle ? c : NULL;
}

static struct mp_condition *take(void)
{
	struct mp_condition *c = NULL;
	uint32_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MOST && !c; i++) {
		c = table[i];
		if (c && c->refs) {
			c = NULL;
			continue;
		}
		if (!c) {
			c = calloc(1, sizeof(*c));
			if (!c)
				break;
			c->handle = i + 1;
		}
		c->refs = 1;
		c->value = 0;
		c->used = false;
		__atomic_store_n(&c->handle, c->handle + (1ull << 32), __ATOMIC_RELEASE);
		table[i] = c;
	}
	pthread_mutex_unlock(&lock);
	return c;
}

void mp_condition_ref(struct mp_condition *c)
{
	c->refs++;
}

void mp_condition_unref(struct mp_condition *c)
{
	assert(c->refs);
	c->refs--;
}

void mp_condition_set(void *ctx, uint64_t handle, uint32_t value)
{
	struct mp_condition *c = mp_condition_find(handle);

	(void)ctx;
	if (c)
		c->value = value;
}

void mp_condition_defaults(const struct mp_work *w)
{
	unsigned i;

	for (i = 0; i < w->defaults.n; i++)
		w->defaults.own_list[i]->value = w->defaults.own_list[i]->default_value;
}

bool mp_conditions_unused(const struct CUgraph_st *g)
{
	size_t i;

	for (i = 0; i < g->nconditions; i++)
		if (!g->conditions[i]->used)
			return true;
	return false;
}

CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle *pHandle_out, CUgraph hGraph, CUcontext ctx,
					unsigned int defaultLaunchValue, unsigned int flags)
{
	struct mp_condition *c, **p;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!pHandle_out || !mp_handle_live(MP_GRAPH, hGraph) || flags & ~(unsigned)CU_GRAPH_COND_ASSIGN_DEFAULT)
		return CUDA_ERROR_INVALID_VALUE;
	if (ctx && !mp_context_live(ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	mp_graph_lock();
	p = realloc(hGraph->conditions, (hGraph->nconditions + 1) * sizeof(*p));
	if (p)
		hGraph->conditions = p;
	c = p ? take() : NULL;
	if (c) {
		c->graph = hGraph;
		c->default_value = defaultLaunchValue;
		c->assign_default = flags & CU_GRAPH_COND_ASSIGN_DEFAULT;
		p[hGraph->nconditions++] = c;
		*pHandle_out = c->handle;
	}
	mp_graph_unlock();
	return c ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult mp_make_condition(CUgraph g, const CUDA_CONDITIONAL_NODE_PARAMS *p, struct mp_work *w)
{
	struct mp_condition *c = mp_condition_find(p->handle);
	unsigned most = p->type == CU_GRAPH_COND_TYPE_IF ? 2 : p->type == CU_GRAPH_COND_TYPE_WHILE ? 1 : 1024;
	CUresult r = CUDA_SUCCESS;
	unsigned i;

	memset(w, 0, sizeof(*w));
	if (!mp_handle_live(MP_GRAPH, g) || !c || c->graph != g || c->used ||
	    (unsigned)p->type > CU_GRAPH_COND_TYPE_SWITCH || !p->size || p->size > most)
		return CUDA_ERROR_INVALID_VALUE;
	if (p->ctx && !mp_context_live(p->ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	w->ctx = p->ctx;
	if (!w->ctx)
		r = mp_context_current(&w->ctx);
	if (r)
		return r;
	w->cond.type = p->type;
	w->cond.size = p->size;
	w->cond.own_bodies = calloc(p->size, sizeof(*w->cond.own_bodies));
	for (i = 0; w->cond.own_bodies && i < p->size; i++)
		if (!(w->cond.own_bodies[i] = mp_graph_new()))
			break;
	if (i < p->size) {
		while (i)
			mp_graph_free(w->cond.own_bodies[--i]);
		free(w->cond.own_bodies);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	w->cond.condition = c;
	mp_condition_ref(c);
	w->kind = MP_WORK_CONDITION;
	return CUDA_SUCCESS;
}

/* ---- Running ---- */

static struct CUgraph_st *body_of(struct mp_work *w)
{
	uint32_t v = w->cond.condition->value;
	bool first = !w->cond.ran;

	w->cond.ran = true;
	switch (w->cond.type) {
	case CU_GRAPH_COND_TYPE_IF:
		if (!first || (!v && w->cond.size < 2))
			return NULL;
		return w->cond.own_bodies[!v];
	case CU_GRAPH_COND_TYPE_WHILE: return v ? w->cond.own_bodies[0] : NULL;
	case CU_GRAPH_COND_TYPE_SWITCH: return first && v < w->cond.size ? w->cond.own_bodies[v] : NULL;
	}
	return NULL;
}

/*
 * A body that is over before the call that started it returns comes back here
 * in the same thread: it only leaves a note, so that a long loop is one.
 */
static __thread struct {
	const struct mp_op *op;
	bool again;
} here;

void mp_condition_step(void *arg)
{
	struct mp_op *op = arg;
	struct CUctx_st *ctx = op->work.ctx;
	const struct mp_op *outer = here.op;
	bool outer_again = here.again;

	if (here.op == op) {
		here.again = true;
		return;
	}
	here.op = op;
	do {
		struct CUgraph_st *body = ctx->error || ctx->cancel ? NULL : body_of(&op->work);
		CUresult r;

		here.again = false;
		if (!body) {
			mp_op_finish(op, (CUresult)ctx->error);
			break;
		}
		r = mp_graph_body_start(ctx, body, mp_condition_step, op);
		if (r) {
			mp_context_fail(ctx, r);
			here.again = true;
		}
	} while (here.again);
	here.op = outer;
	here.again = outer_again;
}
