/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers: threads for driver calls that may block.  First come, first served. */
#include "worker/inside.h"

#include <stdlib.h>

struct help {
	struct help *next;
	void (*fn)(void *arg);
	void *arg;
};

int mp_help(struct mp_worker *w, void (*fn)(void *), void *arg)
{
	struct help *h = malloc(sizeof(*h));

	if (!h)
		return -1;
	*h = (struct help){.fn = fn, .arg = arg};
	pthread_mutex_lock(&w->help_lock);
	*w->help_tail = h;
	w->help_tail = &h->next;
	pthread_cond_signal(&w->help_wake);
	pthread_mutex_unlock(&w->help_lock);
	return 0;
}

/* One piece of help, if any waits; false: there was none. */
bool mp_help_one(struct mp_worker *w, bool wait)
{
	struct help *h;

	pthread_mutex_lock(&w->help_lock);
	while (!(h = w->help_first) && wait && !atomic_load(&w->ended))
		pthread_cond_wait(&w->help_wake, &w->help_lock);
	if (h) {
		w->help_first = h->next;
		if (!w->help_first)
			w->help_tail = &w->help_first;
	}
	pthread_mutex_unlock(&w->help_lock);
	if (!h)
		return false;
	h->fn(h->arg);
	free(h);
	return true;
}

void *mp_help_main(void *worker)
{
	struct mp_worker *w = worker;

	while (mp_help_one(w, true) || !atomic_load(&w->ended))
		;
	return NULL;
}
