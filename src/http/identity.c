/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates: the pool's own authority and a server's certificate under it.
 *
 * EC P-256 keys; ten years for the authority, one for a server, both dated one
 * hour back, since clocks of a pool differ.  Keys are written 0600, and every
 * file by rename, so that a crash leaves the old one or the new one.
 */
#include "http/http.h"
#include "http/name.h"
#include "http/pair.h"
#include "base/buf.h"
#include "base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKDATE  (-3600L)
#define DAY	  86400L
#define PATH_SIZE 4096
#define PEM_MAX   65536

void mp_pair_fini(struct mp_pair *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	p->cert = NULL;
	p->key = NULL;
}

static bool extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool good;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	good = e && X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
	return good;
}

static bool cert_begin(X509 *cert, EVP_PKEY *key, const char *cn, long days)
{
	unsigned char serial[16];
	BIGNUM *bn;
	X509_NAME *name;
	bool good;

	if (!key || !cert || RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] &= 0x7f;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	good = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	name = X509_get_subject_name(cert);
	return good && X509_set_version(cert, X509_VERSION_3) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), BACKDATE) &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY) &&
	       X509_set_pubkey(cert, key) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0);
}

/* An authority may stand under the one that it replaces, so one more level is allowed. */
static bool authority_finish(X509 *cert, X509 *issuer, EVP_PKEY *by)
{
	return X509_set_issuer_name(cert, X509_get_subject_name(issuer)) &&
	       extension_add(cert, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:1") &&
	       extension_add(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       extension_add(cert, issuer, NID_subject_key_identifier, "hash") &&
	       X509_sign(cert, by, EVP_sha256()) > 0;
}

bool mp_pair_authority(struct mp_pair *p)
{
	unsigned char r[4];
	char cn[64];

	/* Two authorities of one pool have two names: a chain is found by names. */
	if (RAND_bytes(r, sizeof(r)) != 1)
		return false;
	snprintf(cn, sizeof(cn), "Motorpool authority %02x%02x%02x%02x", r[0], r[1], r[2], r[3]);
	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	return cert_begin(p->cert, p->key, cn, 3650) && authority_finish(p->cert, p->cert, p->key);
}

bool mp_pair_cross(X509 **ret, const struct mp_pair *ca, const struct mp_pair *by)
{
	X509 *c = X509_new();

	*ret = c;
	return c && cert_begin(c, ca->key, "x", 3650) &&
	       X509_set_subject_name(c, X509_get_subject_name(ca->cert)) &&
	       authority_finish(c, by->cert, by->key);
}

/* "DNS:a,IP:1.2.3.4,..." in the order given, the pool's fixed name first. */
char *mp_pair_names(const char *const *names, unsigned n)
{
	unsigned char addr[16];
	struct mp_buf b;
	unsigned i;

	mp_buf_init(&b, 65536);
	mp_buf_puts(&b, "DNS:" MP_HTTP_SERVER_NAME);
	for (i = 0; i < n; i++) {
		bool ip = inet_pton(AF_INET, names[i], addr) == 1 ||
			  inet_pton(AF_INET6, names[i], addr) == 1;

		/* A name with odd characters would be read as syntax of the extension. */
		if (!ip && names[i][strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
						     "STUVWXYZ0123456789.-_")])
			continue;
		mp_buf_printf(&b, ",%s:%s", ip ? "IP" : "DNS", names[i]);
	}
	return mp_buf_take(&b, NULL);
}

bool mp_pair_sign(X509 **ret, EVP_PKEY *key, const struct mp_pair *ca, const char *names)
{
	X509 *c = X509_new();

	*ret = c;
	return names && c && cert_begin(c, key, MP_HTTP_SERVER_NAME, 365) &&
	       X509_set_issuer_name(c, X509_get_subject_name(ca->cert)) &&
	       extension_add(c, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       extension_add(c, ca->cert, NID_key_usage, "critical,digitalSignature") &&
	       extension_add(c, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       extension_add(c, ca->cert, NID_subject_key_identifier, "hash") &&
	       extension_add(c, ca->cert, NID_authority_key_identifier, "keyid") &&
	       extension_add(c, ca->cert, NID_subject_alt_name, names) &&
	       X509_sign(c, ca->key, EVP_sha256()) > 0;
}

int mp_pem_write(const char *dir, const char *name, const char *text, mode_t mode, struct mp_fail *f)
{
	char path[PATH_SIZE], temp[PATH_SIZE];
	size_t n = strlen(text);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s/.%s.new", dir, name);
	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return mp_fail_set(f, errno, "cannot write %s: %s", temp, strerror(errno));
	if (write(fd, text, n) != (ssize_t)n || fsync(fd) < 0 || close(fd) < 0 || rename(temp, path) < 0) {
		unlink(temp);
		return mp_fail_set(f, errno, "cannot write %s: %s", path, strerror(errno));
	}
	return 0;
}

char *mp_pem_read(const char *dir, const char *name)
{
	char path[PATH_SIZE], *text = calloc(1, PEM_MAX + 1);
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && text)
		n = read(fd, text, PEM_MAX);
	if (fd >= 0)
		close(fd);
	if (n > 0)
		return text;
	free(text);
	return NULL;
}

static char *bio_text(BIO *own_bio)
{
	char *data, *text = NULL;
	long n = own_bio ? BIO_get_mem_data(own_bio, &data) : 0;

	if (n > 0)
		text = strndup(data, (size_t)n);
	BIO_free(own_bio);
	return text;
}

char *mp_pem_text(X509 *cert)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (b && PEM_write_bio_X509(b, cert) == 1)
		return bio_text(b);
	BIO_free(b);
	return NULL;
}

int mp_pair_write(const char *dir, const char *cert, const char *key, const struct mp_pair *p,
		  struct mp_fail *f)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *text = NULL;
	int rc = -1;

	if (b && PEM_write_bio_PrivateKey(b, p->key, NULL, NULL, 0, NULL, NULL) == 1)
		text = bio_text(b);
	if (text) {
		rc = mp_pem_write(dir, key, text, 0600, f);
		explicit_bzero(text, strlen(text));
	}
	free(text);
	text = rc || !cert ? NULL : mp_pem_text(p->cert);
	if (text)
		rc = mp_pem_write(dir, cert, text, 0644, f);
	free(text);
	return rc;
}

int mp_pair_read(const char *dir, const char *cert, const char *key, struct mp_pair *p, struct mp_fail *f)
{
	char path[PATH_SIZE];
	BIO *b;

	snprintf(path, sizeof(path), "%s/%s", dir, cert);
	b = BIO_new_file(path, "r");
	if (!b)
		return 0;
	p->cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
	BIO_free(b);
	snprintf(path, sizeof(path), "%s/%s", dir, key);
	b = BIO_new_file(path, "r");
	p->key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
	BIO_free(b);
	if (!p->cert || !p->key || X509_check_private_key(p->cert, p->key) != 1)
		return mp_fail_set(f, EINVAL, "%s/%s and %s are not a certificate and its key", dir,
				   cert, key);
	return 1;
}

static bool server_good(const struct mp_pair *p, const struct mp_pair *ca, const char *const *names, unsigned n)
{
	unsigned i;
	time_t soon = time(NULL) + 30 * DAY;

	if (X509_verify(p->cert, ca->key) != 1 || X509_cmp_current_time(X509_get0_notBefore(p->cert)) > 0 ||
	    X509_cmp_time(X509_get0_notAfter(p->cert), &soon) <= 0)
		return false;
	for (i = 0; i < n; i++)
		if (X509_check_host(p->cert, names[i], 0, 0, NULL) != 1 &&
		    X509_check_ip_asc(p->cert, names[i], 0) != 1)
			return false;
	return X509_check_host(p->cert, MP_HTTP_SERVER_NAME, 0, 0, NULL) == 1;
}

/*
 * The texts that the HTTPS server takes, certificate chain and key; the chain is
 * also kept as a file for encrypted lanes.  Between the authority that signs and
 * the one before it stands the cross certificate, while both are trusted.
 */
static int texts_make(const char *dir, const struct mp_pair *p, char **ret_cert, char **ret_key,
		      struct mp_fail *f)
{
	char *own = mp_pem_text(p->cert), *cross = mp_pem_read(dir, "ca-cross.crt");
	int rc = -1;

	*ret_cert = NULL;
	*ret_key = mp_pem_read(dir, "server.key");
	if (own && asprintf(ret_cert, "%s%s", own, cross ? cross : "") < 0)
		*ret_cert = NULL;
	if (*ret_cert && *ret_key)
		rc = mp_pem_write(dir, "chain.crt", *ret_cert, 0644, f);
	else
		mp_fail_set(f, ENOMEM, "out of memory for certificates");
	free(own);
	free(cross);
	return rc;
}

/* With an authority of its own, this server signs for itself. */
static int identity_own(const char *dir, const struct mp_pair *ca, const char *const *names, unsigned n,
			struct mp_pair *server, struct mp_fail *f)
{
	char *alt;
	int rc;

	if (mp_pair_read(dir, "server.crt", "server.key", server, f) == 1 && server_good(server, ca, names, n))
		return 0;
	mp_pair_fini(server);
	alt = mp_pair_names(names, n);
	server->key = EVP_EC_gen("P-256");
	rc = server->key && mp_pair_sign(&server->cert, server->key, ca, alt)
		     ? mp_pair_write(dir, "server.crt", "server.key", server, f)
		     : mp_fail_set(f, EIO, "cannot make the server's certificate");
	free(alt);
	return rc;
}

int mp_http_identity(const char *dir, const char *const *names, unsigned n, char **ret_cert,
		     char **ret_key, struct mp_fail *f)
{
	struct mp_pair ca = {0}, server = {0};
	char path[PATH_SIZE];
	int rc;

	snprintf(path, sizeof(path), "%s/ca.key", dir);
	if (access(path, F_OK) < 0) {
		/* Of a pool that this server has joined. */
		rc = mp_pair_read(dir, "server.crt", "server.key", &server, f);
		if (rc)
			goto out;
	}
	rc = mp_pair_read(dir, "ca.crt", "ca.key", &ca, f);
	if (!rc)
		rc = mp_pair_authority(&ca) ? mp_pair_write(dir, "ca.crt", "ca.key", &ca, f)
					    : mp_fail_set(f, EIO, "cannot make a certificate authority");
	if (rc >= 0)
		rc = identity_own(dir, &ca, names, n, &server, f);
out:
	if (rc >= 0)
		rc = texts_make(dir, &server, ret_cert, ret_key, f);
	mp_pair_fini(&ca);
	mp_pair_fini(&server);
	return rc < 0 ? -1 : 0;
}
