/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of a client: what its ids name.
 *
 * One table per kind; ids are dense, so a table is an array in pages that are
 * made when first used.  A page costs memory, so an id far beyond the number
 * of live objects is refused: a client that invents dense ids never sends one.
 * Executor only.
 */
#include "worker/inside.h"

#include <stdlib.h>

#define PAGE  256u
#define SLACK 8192u /* threads invent ids in another order than their records arrive */
/* A client numbers every kernel of an image and names those that it uses: of big libraries, a few. */
#define FUNCTION_SLACK (256u << 10)

static struct object *slot(struct mp_worker *w, enum mp_kind kind, uint32_t id, bool make)
{
	struct object_table *t = &w->table[kind];
	struct object **page;

	assert(kind > MP_KIND_none && kind < MP_KINDS);
	if (!id || id / PAGE >= MP_ARRAY_LEN(t->page))
		return NULL;
	page = &t->page[id / PAGE];
	if (!*page) {
		if (!make || id > 2 * t->live + (kind == MP_KIND_function ? FUNCTION_SLACK : SLACK))
			return NULL;
		*page = calloc(PAGE, sizeof(**page));
		if (!*page)
			return NULL;
	}
	return &(*page)[id % PAGE];
}

struct object *mp_object_slot(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	return slot(w, kind, id, false);
}

struct object *mp_object_find(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	struct object *o = slot(w, kind, id, false);

	return o && o->state != OBJECT_FREE ? o : NULL;
}

struct object *mp_object_make(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	struct object *o = slot(w, kind, id, true);

	if (!o || o->state != OBJECT_FREE)
		return NULL;
	w->table[kind].live++;
	o->state = OBJECT_LIVE;
	o->handle = o->own = NULL;
	o->generation++;
	return o;
}

void mp_object_drop(struct mp_worker *w, enum mp_kind kind, uint32_t id)
{
	struct object *o = mp_object_find(w, kind, id);

	if (!o)
		return;
	if (kind == MP_KIND_node)
		mp_node_drop(w, o);
	assert(w->table[kind].live);
	w->table[kind].live--;
	o->state = OBJECT_FREE;
	o->handle = o->own = NULL;
}

void mp_object_fini(struct mp_worker *w)
{
	unsigned k, i;

	for (k = 0; k < MP_KINDS; k++)
		for (i = 0; i < MP_ARRAY_LEN(w->table[k].page); i++)
			free(w->table[k].page[i]);
}
