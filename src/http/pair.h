/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates with their keys, and the files that hold them; private to the room. */
#ifndef MP_HTTP_PAIR_H
#define MP_HTTP_PAIR_H

#include "base/fail.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <sys/types.h>

struct mp_pair {
	X509 *cert;
	EVP_PKEY *key;
};

void mp_pair_fini(struct mp_pair *p);
/* 1 read, 0 not there, -1 there but unusable. */
int mp_pair_read(const char *dir, const char *cert, const char *key, struct mp_pair *p, struct mp_fail *f);
int mp_pair_write(const char *dir, const char *cert, const char *key, const struct mp_pair *p,
		  struct mp_fail *f);
bool mp_pair_authority(struct mp_pair *p);
/* A server's certificate for that public key. */
bool mp_pair_sign(X509 **ret, EVP_PKEY *key, const struct mp_pair *ca, const char *names);
/* The authority's name and key, vouched for by another: who trusts that one trusts this. */
bool mp_pair_cross(X509 **ret, const struct mp_pair *ca, const struct mp_pair *by);
/* "DNS:motorpool-server,IP:..."; the caller frees it. */
char *mp_pair_names(const char *const *names, unsigned n);
/* Whole files, written by rename. */
int mp_pem_write(const char *dir, const char *name, const char *text, mode_t mode, struct mp_fail *f);
char *mp_pem_read(const char *dir, const char *name);
char *mp_pem_text(X509 *cert);

#endif
