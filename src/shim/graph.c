/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs. */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

void *mp_graph_new(void)
{
	return mp_slot_new(MP_KIND_graph);
}

void mp_graph_destroy_quiet(struct mp_thread *t, struct mp_head *g)
{
	struct mp_msg_cuGraphDestroy m = {.hGraph = g->id};
	struct mp_out o;

	(void)MP_SEND(&o, t, MP_CALL_cuGraphDestroy, cuGraphDestroy, &m, t->ctx->head.id);
	mp_slot_free(g);
}

void mp_graph_captured(struct mp_head *g)
{
}
