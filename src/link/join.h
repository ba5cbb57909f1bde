/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that belong together share one lease; private to the room. */
#ifndef MP_LINK_JOIN_H
#define MP_LINK_JOIN_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>

struct mp_join;

/*
 * Whoever has the same key, asks for the same and comes second gets what the
 * first was told: *ret_text (the caller's) then is not NULL, and the place is kept
 * by *ret_member until that is closed.  The first gets NULL and a join that it
 * serves.  -1: no place for a socket; the program has a lease of its own.
 */
int mp_join_enter(const char *key, struct mp_join **ret_join, char **ret_text, int *ret_member);
/* What later ones are told; from now on they come in. NULL: there is no lease after all. */
void mp_join_tell(struct mp_join *j, const char *text);
/* The listening socket, for waiting. */
int mp_join_fd(const struct mp_join *j);
/* Takes in who came, drops who left; how many there are. */
unsigned mp_join_serve(struct mp_join *j);
/* Has anybody ever joined? */
bool mp_join_any(const struct mp_join *j);
void mp_join_close(struct mp_join *own_join);
/*
 * The key of this process: MOTORPOOL_LEASE_KEY, the pod, the Slurm step, else the
 * process session; with what is asked for.  *ret_explicit: not the last.
 */
void mp_join_key(char *to, size_t size, bool *ret_explicit);

#endif
