/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's authority at work: requests of other servers, their certificates,
 * and its own replacement.
 *
 * One server of a pool has ca.key.  ca.crt may hold several authorities, the one
 * that signs first; bundles carry it whole.
 */
#include "http/http.h"
#include "http/name.h"
#include "http/pair.h"
#include "http/trust.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool mp_http_has_authority(const char *dir)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/ca.key", dir);
	return access(path, F_OK) == 0;
}

char *mp_http_authority(const char *dir)
{
	return mp_pem_read(dir, "ca.crt");
}

char *mp_http_cross(const char *dir)
{
	return mp_pem_read(dir, "ca-cross.crt");
}

int mp_http_csr(const char *dir, char **ret_csr, struct mp_fail *f)
{
	struct mp_pair p = {.key = EVP_EC_gen("P-256")};
	X509_REQ *r = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	char *data;
	long n;

	*ret_csr = NULL;
	if (p.key && r && b && X509_REQ_set_pubkey(r, p.key) && X509_REQ_sign(r, p.key, EVP_sha256()) > 0 &&
	    PEM_write_bio_X509_REQ(b, r) == 1 && mp_pair_write(dir, NULL, "server.key.new", &p, f) == 0) {
		n = BIO_get_mem_data(b, &data);
		*ret_csr = strndup(data, (size_t)n);
	}
	BIO_free(b);
	X509_REQ_free(r);
	mp_pair_fini(&p);
	return *ret_csr ? 0 : mp_fail_set(f, EIO, "cannot make a key for this server in %s", dir);
}

int mp_http_sign(const char *dir, const char *csr, const char *const *names, unsigned n, char **ret_cert,
		 struct mp_fail *f)
{
	BIO *b = BIO_new_mem_buf(csr, -1);
	X509_REQ *r = b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = r ? X509_REQ_get_pubkey(r) : NULL;
	char *alt = mp_pair_names(names, n);
	struct mp_pair ca = {0};
	X509 *cert = NULL;

	*ret_cert = NULL;
	if (!key || X509_REQ_verify(r, key) != 1)
		mp_fail_set(f, EINVAL, "that is no request for a certificate");
	else if (mp_pair_read(dir, "ca.crt", "ca.key", &ca, f) == 1 && mp_pair_sign(&cert, key, &ca, alt))
		*ret_cert = mp_pem_text(cert);
	else
		mp_fail_set(f, EIO, "this server cannot sign");
	X509_free(cert);
	EVP_PKEY_free(key);
	X509_REQ_free(r);
	BIO_free(b);
	mp_pair_fini(&ca);
	free(alt);
	return *ret_cert ? 0 : -1;
}

int mp_http_install(const char *dir, const char *ca, const char *cross, const char *cert,
		    struct mp_fail *f)
{
	char from[4200], to[4200];

	snprintf(from, sizeof(from), "%s/server.key.new", dir);
	snprintf(to, sizeof(to), "%s/server.key", dir);
	if (mp_pem_write(dir, "ca.crt", ca, 0644, f) < 0 || mp_pem_write(dir, "server.crt", cert, 0644, f) < 0 ||
	    (cross && mp_pem_write(dir, "ca-cross.crt", cross, 0644, f) < 0))
		return -1;
	if (rename(from, to) < 0)
		return mp_fail_set(f, errno, "cannot write %s: %s", to, strerror(errno));
	if (!cross) {
		snprintf(to, sizeof(to), "%s/ca-cross.crt", dir);
		unlink(to);
	}
	return 0;
}

/* Another authority signs from now on; who trusts the one before believes it by a bridge. */
static int authority_replace(const char *dir, const struct mp_pair *new, struct mp_fail *f)
{
	char path[4200], *before = mp_pem_read(dir, "ca.crt"), *now = mp_pem_text(new->cert), *bridge = NULL, *both = NULL;
	struct mp_pair old = {0};
	X509 *cross = NULL;
	int rc = -1;

	if (!before || mp_pair_read(dir, "ca.crt", "ca.key", &old, f) != 1)
		mp_fail_set(f, EINVAL, "this server has not the pool's authority");
	else if (!mp_pair_cross(&cross, new, &old) || !now || !(bridge = mp_pem_text(cross)) ||
		 asprintf(&both, "%s%s", now, before) < 0)
		mp_fail_set(f, EIO, "cannot make a certificate authority");
	else if (mp_pem_write(dir, "ca-cross.crt", bridge, 0644, f) == 0 &&
		 mp_pair_write(dir, NULL, "ca.key", new, f) == 0 &&
		 mp_pem_write(dir, "ca.crt", both, 0644, f) == 0)
		rc = 0;
	if (!rc) {
		snprintf(path, sizeof(path), "%s/server.crt", dir);
		unlink(path);
	}
	X509_free(cross);
	mp_pair_fini(&old);
	free(before);
	free(now);
	free(bridge);
	free(both);
	return rc;
}

int mp_http_rotate(const char *dir, struct mp_fail *f)
{
	struct mp_pair new = {0};
	int rc = -1;

	if (!mp_pair_authority(&new))
		mp_fail_set(f, EIO, "cannot make a certificate authority");
	else
		rc = authority_replace(dir, &new, f);
	mp_pair_fini(&new);
	return rc;
}

/* ---- An authority that another one, somewhere else, has certified ---- */

static bool request_extend(X509_REQ *r)
{
	static const struct {
		int nid;
		const char *value;
	} wants[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:1"},
		     {NID_key_usage, "critical,keyCertSign,cRLSign"}};
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	bool good = list != NULL;
	size_t i;

	for (i = 0; good && i < 2; i++) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, wants[i].nid, wants[i].value);

		good = e && sk_X509_EXTENSION_push(list, e) > 0;
	}
	good = good && X509_REQ_add_extensions(r, list);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	return good;
}

int mp_http_authority_csr(const char *dir, char **ret_csr, struct mp_fail *f)
{
	struct mp_pair p = {.key = EVP_EC_gen("P-256")};
	X509_REQ *r = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	char *data;
	long n;

	*ret_csr = NULL;
	if (!mp_http_has_authority(dir))
		mp_fail_set(f, EINVAL, "this server has not the pool's authority");
	else if (p.key && r && b && X509_REQ_set_pubkey(r, p.key) &&
		 X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(r), "CN", MBSTRING_UTF8,
					    (const unsigned char *)"Motorpool authority", -1, -1, 0) &&
		 request_extend(r) && X509_REQ_sign(r, p.key, EVP_sha256()) > 0 && PEM_write_bio_X509_REQ(b, r) == 1 &&
		 mp_pair_write(dir, NULL, "ca.key.new", &p, f) == 0) {
		n = BIO_get_mem_data(b, &data);
		*ret_csr = strndup(data, (size_t)n);
	} else {
		mp_fail_set(f, EIO, "cannot make a key for the authority in %s", dir);
	}
	BIO_free(b);
	X509_REQ_free(r);
	mp_pair_fini(&p);
	return *ret_csr ? 0 : -1;
}

int mp_http_authority_import(const char *dir, const char *pem, struct mp_fail *f)
{
	BIO *b = BIO_new_mem_buf(pem, -1), *k;
	char path[4200], *key = mp_pem_read(dir, "ca.key.new");
	struct mp_pair new = {.cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL};
	int rc = -1;

	k = key ? BIO_new_mem_buf(key, -1) : NULL;
	new.key = k ? PEM_read_bio_PrivateKey(k, NULL, NULL, NULL) : NULL;
	if (!new.key)
		mp_fail_set(f, EINVAL, "there is no request that this could answer: 'motorpool ca csr' makes one");
	else if (!new.cert)
		mp_fail_set(f, EINVAL, "that is no certificate: its file begins with BEGIN CERTIFICATE");
	else if (X509_check_private_key(new.cert, new.key) != 1)
		mp_fail_set(f, EINVAL, "that certificate is not of the last request: 'motorpool ca csr' makes another");
	else if (!X509_check_ca(new.cert))
		mp_fail_set(f, EINVAL, "that certificate may not sign others: it needs basicConstraints CA:TRUE");
	else if (X509_cmp_current_time(X509_get0_notBefore(new.cert)) > 0 ||
		 X509_cmp_current_time(X509_get0_notAfter(new.cert)) < 0)
		mp_fail_set(f, EINVAL, "that certificate is not valid now");
	else
		rc = authority_replace(dir, &new, f);
	if (!rc) {
		snprintf(path, sizeof(path), "%s/ca.key.new", dir);
		unlink(path);
	}
	mp_pair_fini(&new);
	BIO_free(b);
	BIO_free(k);
	free(key);
	return rc;
}

int mp_http_retire(const char *dir, struct mp_fail *f)
{
	char path[4200], *now = NULL;
	struct mp_pair ca = {0};
	int rc = -1;

	if (mp_pair_read(dir, "ca.crt", "ca.key", &ca, f) == 1 && (now = mp_pem_text(ca.cert)))
		rc = mp_pem_write(dir, "ca.crt", now, 0644, f);
	else
		mp_fail_set(f, EINVAL, "this server has not the pool's authority");
	snprintf(path, sizeof(path), "%s/ca-cross.crt", dir);
	if (!rc)
		unlink(path);
	mp_pair_fini(&ca);
	free(now);
	return rc;
}

static X509 *cert_read(const char *dir, const char *name)
{
	char *text = mp_pem_read(dir, name);
	BIO *b = text ? BIO_new_mem_buf(text, -1) : NULL;
	X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;

	BIO_free(b);
	free(text);
	return c;
}

int mp_http_days_left(const char *dir)
{
	X509 *c = cert_read(dir, "server.crt");
	int days = 0, seconds;

	/* One that begins later is none now: the clock was ahead when it was made. */
	if (c && X509_cmp_current_time(X509_get0_notBefore(c)) < 0)
		ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(c));
	X509_free(c);
	return days;
}

bool mp_http_fingerprint(const char *pem, char ret[17])
{
	BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n = 0, i;

	if (c && X509_digest(c, EVP_sha256(), hash, &n) == 1)
		for (i = 0; i < 8; i++)
			snprintf(ret + 2 * i, 3, "%02x", hash[i]);
	X509_free(c);
	BIO_free(b);
	return n >= 8;
}

bool mp_http_trusts(const char *dir, const unsigned char *der, size_t n)
{
	X509 *c = d2i_X509(NULL, &der, (long)n), *one;
	char *text = mp_pem_read(dir, "ca.crt");
	BIO *b = text ? BIO_new_mem_buf(text, -1) : NULL;
	X509_STORE *trusted = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	bool good = false;

	while (b && trusted && (one = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		X509_STORE_add_cert(trusted, one);
		X509_free(one);
	}
	/* What ca.crt names is believed, whoever signed it. */
	if (trusted)
		X509_STORE_set_flags(trusted, X509_V_FLAG_PARTIAL_CHAIN);
	if (c && trusted && check && X509_STORE_CTX_init(check, trusted, c, NULL) == 1)
		good = X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_CLIENT) == 1 &&
		       X509_verify_cert(check) == 1 &&
		       X509_check_host(c, MP_HTTP_SERVER_NAME, 0, 0, NULL) == 1;
	X509_STORE_CTX_free(check);
	X509_STORE_free(trusted);
	BIO_free(b);
	X509_free(c);
	free(text);
	return good;
}

int mp_http_seal(const char *dir, const char *passphrase, char **ret_pem, struct mp_fail *f)
{
	struct mp_pair ca = {0};
	BIO *b = BIO_new(BIO_s_mem());
	char *data;
	long n;

	*ret_pem = NULL;
	if (strlen(passphrase) < 8)
		mp_fail_set(f, EINVAL, "a passphrase has at least 8 characters");
	else if (mp_pair_read(dir, "ca.crt", "ca.key", &ca, f) != 1)
		mp_fail_set(f, EINVAL, "this server has not the pool's authority");
	else if (b && PEM_write_bio_PKCS8PrivateKey(b, ca.key, EVP_aes_256_cbc(), (char *)(uintptr_t)passphrase,
						    (int)strlen(passphrase), NULL, NULL) == 1) {
		n = BIO_get_mem_data(b, &data);
		*ret_pem = strndup(data, (size_t)n);
	}
	BIO_free(b);
	mp_pair_fini(&ca);
	return *ret_pem ? 0 : -1;
}

int mp_http_unseal(const char *dir, const char *ca, const char *pem, const char *passphrase,
		   struct mp_fail *f)
{
	BIO *b = BIO_new_mem_buf(pem, -1), *c = BIO_new_mem_buf(ca, -1);
	struct mp_pair p = {0};
	int rc = -1;

	p.key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t)passphrase) : NULL;
	p.cert = c ? PEM_read_bio_X509(c, NULL, NULL, NULL) : NULL;
	if (!p.key || !p.cert || X509_check_private_key(p.cert, p.key) != 1)
		mp_fail_set(f, EINVAL, "the passphrase is wrong, or that is no authority");
	else if (mp_pair_write(dir, NULL, "ca.key", &p, f) == 0)
		rc = mp_pem_write(dir, "ca.crt", ca, 0644, f);
	mp_pair_fini(&p);
	BIO_free(b);
	BIO_free(c);
	return rc;
}
