/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest: the HTTP API over the pool.  docs/admin/api.md lists the paths.
 *
 * Every answer of an error is {"error": {"code": WORD, "text": SENTENCE}}, WORD
 * from base/code.h.  Threads: the handler runs on the HTTP server's threads.
 */
#ifndef MP_REST_H
#define MP_REST_H

#include "http/http.h"
#include "pool/pool.h"

/* For mp_http_config.handle; `arg` is the pool. */
void mp_rest_handle(void *arg, struct mp_http_request *r);

/* The path table, for documents and tests: false past the end. */
bool mp_rest_path(unsigned i, const char **method, const char **path, enum mp_role *role,
		  const char **text);

#endif
