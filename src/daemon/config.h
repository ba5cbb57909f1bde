/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: a strict subset of YAML. Fuzzed. */
#ifndef MP_DAEMON_CONFIG_H
#define MP_DAEMON_CONFIG_H

#include "base/fail.h"

#include <stddef.h>

/*
 * Calls `set` for every key of the text, in order: a mapping of keys to scalars,
 * or to lists of scalars, which arrive joined by commas.  Anything else of YAML
 * (nesting, anchors, tags, several documents), a key that comes twice and an
 * error from `set` end it with "FILE:LINE: sentence".
 */
int mp_config_parse(const char *file, const char *text, size_t n,
		    int (*set)(void *arg, const char *key, const char *value, struct mp_fail *f),
		    void *arg, struct mp_fail *f);

#endif
