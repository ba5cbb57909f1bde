/* SPDX-License-Identifier: Apache-2.0 */
/* What motorpoold was asked to do. */
#ifndef MP_DAEMON_OPTIONS_H
#define MP_DAEMON_OPTIONS_H

#include "base/fail.h"

#include <stdbool.h>
#include <stdint.h>

struct mp_options {
	const char *api, *data;		/* NULL: the default */
	const char *state, *bundle, *driver, *name, *offer, *log, *announce, *store, *join;
	uint64_t reserve;
	int64_t liveness_s, orphan_s, look_s;
	unsigned devices;		/* soft GPUs of --demo and --soft; 0: their own default */
	uint64_t device_memory;
	bool demo, soft, spread, check;
};

void mp_options_fini(struct mp_options *o);
/* 0 go on, 1 all was said (help, version), -1 with a sentence. */
int mp_options_parse(int argc, char **argv, struct mp_options *ret, struct mp_fail *f);

#endif
