/* SPDX-License-Identifier: Apache-2.0 */
/* A short name for the first certificate of a PEM text, the same for whoever has it. */
#ifndef MP_BASE_PEM_H
#define MP_BASE_PEM_H

#include "base/sha256.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* 16 hexadecimal digits of the SHA-256 of its base64 text without line breaks; false without one. */
static inline bool mp_pem_mark(const char *pem, char ret[17])
{
	const char *at = strstr(pem, "-----BEGIN CERTIFICATE-----"), *end;
	char body[8192];
	uint8_t hash[32];
	size_t n = 0;
	int i;

	at = at ? at + 27 : NULL;
	end = at ? strstr(at, "-----END") : NULL;
	if (!end)
		return false;
	for (; at < end && n < sizeof(body); at++)
		if ((unsigned char)*at > 32)
			body[n++] = *at;
	mp_sha256(body, n, hash);
	for (i = 0; i < 8; i++)
		snprintf(ret + 2 * i, 3, "%02x", hash[i]);
	return true;
}

#endif
