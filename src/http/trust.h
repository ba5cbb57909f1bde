/* SPDX-License-Identifier: Apache-2.0 */
/* Who is a server of the pool; private to the room. */
#ifndef MP_HTTP_TRUST_H
#define MP_HTTP_TRUST_H

#include <stdbool.h>
#include <stddef.h>

/* Is this certificate (DER) a server's, under what the directory's ca.crt holds? */
bool mp_http_trusts(const char *dir, const unsigned char *der, size_t n);

#endif
