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

struct pair {
	X509 *cert;
	EVP_PKEY *key;
};

static void pair_fini(struct pair *p)
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

static bool cert_begin(struct pair *p, const char *cn, long days)
{
	unsigned char serial[16];
	BIGNUM *bn;
	X509_NAME *name;
	bool good;

	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	if (!p->key || !p->cert || RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] &= 0x7f;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	good = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(p->cert));
	BN_free(bn);
	name = X509_get_subject_name(p->cert);
	return good && X509_set_version(p->cert, X509_VERSION_3) &&
	       X509_gmtime_adj(X509_getm_notBefore(p->cert), BACKDATE) &&
	       X509_gmtime_adj(X509_getm_notAfter(p->cert), days * DAY) &&
	       X509_set_pubkey(p->cert, p->key) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0);
}

static bool authority_make(struct pair *p)
{
	return cert_begin(p, "Motorpool authority", 3650) &&
	       X509_set_issuer_name(p->cert, X509_get_subject_name(p->cert)) &&
	       extension_add(p->cert, p->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       extension_add(p->cert, p->cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       extension_add(p->cert, p->cert, NID_subject_key_identifier, "hash") &&
	       X509_sign(p->cert, p->key, EVP_sha256()) > 0;
}

/* "DNS:a,IP:1.2.3.4,..." in the order given, the pool's fixed name first. */
static void names_print(struct mp_buf *b, const char *const *names, unsigned n)
{
	unsigned char addr[16];
	unsigned i;

	mp_buf_puts(b, "DNS:" MP_HTTP_SERVER_NAME);
	for (i = 0; i < n; i++) {
		bool ip = inet_pton(AF_INET, names[i], addr) == 1 ||
			  inet_pton(AF_INET6, names[i], addr) == 1;

		/* A name with odd characters would be read as syntax of the extension. */
		if (!ip && names[i][strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
						     "STUVWXYZ0123456789.-_")])
			continue;
		mp_buf_printf(b, ",%s:%s", ip ? "IP" : "DNS", names[i]);
	}
}

static bool server_make(struct pair *p, struct pair *ca, const char *names)
{
	return cert_begin(p, MP_HTTP_SERVER_NAME, 365) &&
	       X509_set_issuer_name(p->cert, X509_get_subject_name(ca->cert)) &&
	       extension_add(p->cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       extension_add(p->cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
	       extension_add(p->cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       extension_add(p->cert, ca->cert, NID_subject_key_identifier, "hash") &&
	       extension_add(p->cert, ca->cert, NID_authority_key_identifier, "keyid") &&
	       extension_add(p->cert, ca->cert, NID_subject_alt_name, names) &&
	       X509_sign(p->cert, ca->key, EVP_sha256()) > 0;
}

static int file_write(const char *dir, const char *name, BIO *text, mode_t mode, struct mp_fail *f)
{
	char path[PATH_SIZE], temp[PATH_SIZE];
	char *p;
	long n = BIO_get_mem_data(text, &p);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s/.%s.new", dir, name);
	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return mp_fail_set(f, errno, "cannot write %s: %s", temp, strerror(errno));
	if (write(fd, p, (size_t)n) != n || fsync(fd) < 0 || close(fd) < 0 ||
	    rename(temp, path) < 0) {
		unlink(temp);
		return mp_fail_set(f, errno, "cannot write %s: %s", path, strerror(errno));
	}
	return 0;
}

static int pair_write(const char *dir, const char *cert, const char *key, struct pair *p,
		      struct mp_fail *f)
{
	BIO *b = BIO_new(BIO_s_mem());
	int rc = -1;

	if (b && PEM_write_bio_PrivateKey(b, p->key, NULL, NULL, 0, NULL, NULL) == 1)
		rc = file_write(dir, key, b, 0600, f);
	BIO_free(b);
	b = BIO_new(BIO_s_mem());
	if (!rc)
		rc = b && PEM_write_bio_X509(b, p->cert) == 1 ? file_write(dir, cert, b, 0644, f)
							      : -1;
	BIO_free(b);
	return rc;
}

/* 1 read, 0 not there, -1 there but unusable. */
static int pair_read(const char *dir, const char *cert, const char *key, struct pair *p,
		     struct mp_fail *f)
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

static bool server_good(struct pair *p, struct pair *ca, const char *const *names, unsigned n)
{
	unsigned i;
	time_t soon = time(NULL) + 30 * DAY;

	if (X509_verify(p->cert, ca->key) != 1 ||
	    X509_cmp_time(X509_get0_notAfter(p->cert), &soon) <= 0)
		return false;
	for (i = 0; i < n; i++)
		if (X509_check_host(p->cert, names[i], 0, 0, NULL) != 1 &&
		    X509_check_ip_asc(p->cert, names[i], 0) != 1)
			return false;
	return X509_check_host(p->cert, MP_HTTP_SERVER_NAME, 0, 0, NULL) == 1;
}

/* The texts that the HTTPS server takes: certificate chain and key. */
static int texts_make(struct pair *p, struct pair *ca, char **ret_cert, char **ret_key)
{
	BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
	bool good;
	char *data;
	long n;

	good = c && k && PEM_write_bio_X509(c, p->cert) == 1 &&
	       PEM_write_bio_X509(c, ca->cert) == 1 &&
	       PEM_write_bio_PrivateKey(k, p->key, NULL, NULL, 0, NULL, NULL) == 1;
	*ret_cert = *ret_key = NULL;
	if (good) {
		n = BIO_get_mem_data(c, &data);
		*ret_cert = strndup(data, (size_t)n);
		n = BIO_get_mem_data(k, &data);
		*ret_key = strndup(data, (size_t)n);
	}
	BIO_free(c);
	BIO_free(k);
	return *ret_cert && *ret_key ? 0 : -1;
}

int mp_http_identity(const char *dir, const char *const *names, unsigned n, char **ret_cert,
		     char **ret_key, struct mp_fail *f)
{
	struct pair ca = {0}, server = {0};
	struct mp_buf alt;
	int rc, have;

	mp_buf_init(&alt, 65536);
	names_print(&alt, names, n);
	rc = pair_read(dir, "ca.crt", "ca.key", &ca, f);
	if (!rc) {
		rc = authority_make(&ca) ? pair_write(dir, "ca.crt", "ca.key", &ca, f)
					 : mp_fail_set(f, EIO, "cannot make a certificate authority");
	}
	if (rc < 0)
		goto out;
	have = pair_read(dir, "server.crt", "server.key", &server, f);
	if (have != 1 || !server_good(&server, &ca, names, n)) {
		pair_fini(&server);
		rc = !alt.failed && server_make(&server, &ca, alt.data)
			     ? pair_write(dir, "server.crt", "server.key", &server, f)
			     : mp_fail_set(f, EIO, "cannot make the server's certificate");
		if (rc < 0)
			goto out;
	}
	rc = texts_make(&server, &ca, ret_cert, ret_key);
	if (rc < 0)
		mp_fail_set(f, ENOMEM, "out of memory for certificates");
out:
	pair_fini(&ca);
	pair_fini(&server);
	mp_buf_fini(&alt);
	return rc < 0 ? -1 : 0;
}
