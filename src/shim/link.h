/* SPDX-License-Identifier: Apache-2.0 */
/* A lease without a launcher, through motorpool-link; private to the room. */
#ifndef MP_SHIM_LINK_H
#define MP_SHIM_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* Is there no lease in the environment, but a wish for one (MOTORPOOL_GPUS, MOTORPOOL_GPU_MEMORY)? */
bool mp_link_wanted(void);
/* Waits for a lease as long as MOTORPOOL_TIMEOUT says; its variables are in the environment then. */
bool mp_link_ask(void);

#endif
