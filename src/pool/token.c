/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: who may ask.  "mpt_ID_SECRET", 12 and 43 characters of base 62.
 *
 * The store has /tokens/ID with the SHA-256 of the secret, which is 256 random
 * bits and needs no slow hash.  An unknown id and a wrong secret get the same
 * answer, after the same comparison.
 */
#include "pool/state.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_CHARS     12
#define SECRET_CHARS 43
#define YEAR_S	     (365 * 86400ll)

static const char *const role_name[MP_ROLE_COUNT] = {"read", "use", "operate", "admin"};

void mp_random(void *to, size_t n)
{
	/* Without randomness there are no secrets: nothing can go on. */
	if (RAND_bytes(to, (int)n) != 1)
		abort();
}

void mp_hex_print(const uint8_t *p, size_t n, char *to)
{
	size_t i;

	for (i = 0; i < n; i++)
		snprintf(to + 2 * i, 3, "%02x", p[i]);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool mp_hex_parse(const char *text, uint8_t *to, size_t n)
{
	size_t i;

	if (strlen(text) != 2 * n)
		return false;
	for (i = 0; i < n; i++) {
		if (digit(text[2 * i]) < 0 || digit(text[2 * i + 1]) < 0)
			return false;
		to[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
	}
	return true;
}

const char *mp_role_name(enum mp_role role)
{
	assert(role < MP_ROLE_COUNT);
	return role_name[role];
}

enum mp_role mp_role_find(const char *name)
{
	int i;

	for (i = 0; name && i < MP_ROLE_COUNT; i++)
		if (!strcmp(name, role_name[i]))
			return (enum mp_role)i;
	return MP_ROLE_COUNT;
}

static void base62(char *to, size_t n)
{
	static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint8_t b;
	size_t i = 0;

	while (i < n) {
		mp_random(&b, 1);
		/* 248 = 4 * 62: the rest would favour the first letters. */
		if (b < 248)
			to[i++] = set[b % 62];
	}
	to[n] = 0;
}

bool mp_client_name_good(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	/* These two are words of `limit`. */
	return n && n < 64 && strcmp(s, "default") && strcmp(s, "pool") &&
	       !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@")];
}

static void hash_print(const char *secret, char hex[2 * SHA256_BYTES + 1])
{
	uint8_t hash[SHA256_BYTES];

	mp_sha256(secret, strlen(secret), hash);
	mp_hex_print(hash, sizeof(hash), hex);
}

static int token_put(struct mp_pool *p, const char *id, json_t *j, int64_t revision)
{
	char key[32], *text = json_dumps(j, JSON_COMPACT);
	struct mp_store_guard g = {key, revision};
	struct mp_store_change c = {key, text};
	int rc;

	snprintf(key, sizeof(key), "/tokens/%s", id);
	rc = text ? mp_store_commit(p->store, &g, 1, &c, 1, NULL) : -1;
	free(text);
	return rc;
}

int mp_token_create(struct mp_pool *p, const char *client, enum mp_role role, unsigned priority,
		    int64_t lifetime_s, char ret_text[MP_TOKEN_TEXT], struct mp_fail *f)
{
	char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], hex[2 * SHA256_BYTES + 1];
	int64_t now = (int64_t)time(NULL);
	json_t *j;
	int rc;

	if (!mp_client_name_good(client))
		return mp_fail_set(f, MP_CODE_USAGE, "a client's name has 1 to 63 letters, digits "
						     "and .-_@, and is not 'default' "
						     "or 'pool'");
	if (role >= MP_ROLE_COUNT || lifetime_s < 0)
		return mp_fail_set(f, MP_CODE_USAGE, "a token has a role (read, use, operate, "
						     "admin) and a lifetime");
	if (priority >= MP_PRIORITIES)
		return mp_fail_set(f, MP_CODE_USAGE, "a token's priority is low, normal or high");
	base62(id, ID_CHARS);
	base62(secret, SECRET_CHARS);
	hash_print(secret, hex);
	j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "hash", hex, "client", client, "role",
		      role_name[role], "priority", mp_priority_name(priority), "created",
		      (json_int_t)now, "expires",
		      (json_int_t)(now + (lifetime_s ? lifetime_s : YEAR_S)), "state", "active");
	rc = token_put(p, id, j, 0);
	json_decref(j);
	if (rc)
		return mp_store_refuse(p, f);
	snprintf(ret_text, MP_TOKEN_TEXT, "mpt_%s_%s", id, secret);
	OPENSSL_cleanse(secret, sizeof(secret));
	mp_log(MP_LOG_INFO, "pool", "token-created", "id=%s client=%s role=%s", id, client,
	       role_name[role]);
	return 0;
}

/* ---- Joining ---- */

int mp_join_create(struct mp_pool *p, int64_t lifetime_s, char ret_text[MP_JOIN_TEXT], struct mp_fail *f)
{
	char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], hex[2 * SHA256_BYTES + 1], key[32], value[128];
	struct mp_store_change c = {.key = key, .value = value};

	base62(id, ID_CHARS);
	base62(secret, SECRET_CHARS);
	hash_print(secret, hex);
	snprintf(key, sizeof(key), "/joins/%s", id);
	snprintf(value, sizeof(value), "%lld %s", (long long)time(NULL) + (lifetime_s ? lifetime_s : 3600), hex);
	if (mp_store_commit(p->store, NULL, 0, &c, 1, NULL))
		return mp_store_refuse(p, f);
	snprintf(ret_text, MP_JOIN_TEXT, "mpj_%s_%s", id, secret);
	OPENSSL_cleanse(secret, sizeof(secret));
	return 0;
}

static bool token_split(const char *text, const char *prefix, char id[ID_CHARS + 1],
			char secret[SECRET_CHARS + 1]);

int mp_join_redeem(struct mp_pool *p, const char *text, const char *name, struct mp_fail *f)
{
	char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], hex[2 * SHA256_BYTES + 1], key[128], *value = NULL;
	struct mp_store_guard g[2] = {{.key = key}, {0}};
	struct mp_store_change c = {.key = key};
	char server[128], *hash;
	int64_t expires = 0;
	bool good;

	if (!mp_client_name_good(name))
		return mp_fail_set(f, MP_CODE_USAGE, "a server's name has 1 to 63 letters, digits and .-_@");
	if (token_split(text, "mpj_", id, secret)) {
		hash_print(secret, hex);
		snprintf(key, sizeof(key), "/joins/%s", id);
		if (mp_store_get(p->store, key, &value, &g[0].revision) == MP_STORE_OK)
			expires = strtoll(value, &hash, 10);
	}
	good = value && *hash == ' ' && strlen(hash + 1) == 2 * SHA256_BYTES &&
	       !CRYPTO_memcmp(hash + 1, hex, 2 * SHA256_BYTES) && expires > (int64_t)time(NULL);
	free(value);
	if (!good)
		return mp_fail_set(f, MP_CODE_TOKEN, "the join token was refused: it is wrong, used or more "
						     "than an hour old; make one with 'motorpool server add'");
	/* The name must be free still when the token is used up. */
	snprintf(server, sizeof(server), "/servers/%s", name);
	g[1].key = server;
	switch (mp_store_commit(p->store, g, 2, &c, 1, NULL)) {
	case MP_STORE_OK: return 0;
	case MP_STORE_CONFLICT:
		return mp_fail_set(f, MP_CODE_CONFIG, "the pool has a server of the name %s already: give "
						      "this one its own --name", name);
	default: return mp_store_refuse(p, f);
	}
}

static json_t *token_get(struct mp_pool *p, const char *id, int64_t *ret_revision)
{
	char key[32], *text;
	json_t *j = NULL;

	snprintf(key, sizeof(key), "/tokens/%s", id);
	if (mp_store_get(p->store, key, &text, ret_revision) == MP_STORE_OK)
		j = json_loads(text, 0, NULL);
	free(text);
	return j;
}

static bool token_split(const char *text, const char *prefix, char id[ID_CHARS + 1],
			char secret[SECRET_CHARS + 1])
{
	size_t i;

	if (!text || strlen(text) != 4 + ID_CHARS + 1 + SECRET_CHARS || strncmp(text, prefix, 4) ||
	    text[4 + ID_CHARS] != '_')
		return false;
	memcpy(id, text + 4, ID_CHARS);
	memcpy(secret, text + 5 + ID_CHARS, SECRET_CHARS);
	id[ID_CHARS] = secret[SECRET_CHARS] = 0;
	for (i = 0; i < ID_CHARS; i++)
		if (id[i] == '/' || (unsigned char)id[i] <= 32)
			return false;
	return true;
}

static int wrong(struct mp_pool *p, struct mp_fail *f)
{
	pthread_mutex_lock(&p->lock);
	p->bad_tokens++;
	pthread_mutex_unlock(&p->lock);
	return mp_fail_set(f, MP_CODE_TOKEN, "the token was refused: it is not known to this pool; "
					     "ask the pool's administrator for a new bundle");
}

static bool client_disabled(struct mp_pool *p, const char *client)
{
	char key[128], *text;
	int64_t revision;
	bool disabled;

	snprintf(key, sizeof(key), "/clients/%s", client);
	disabled = mp_store_get(p->store, key, &text, &revision) == MP_STORE_OK;
	free(text);
	return disabled;
}

int mp_client_disable(struct mp_pool *p, const char *client, bool disable, struct mp_fail *f)
{
	char key[128];
	struct mp_store_change c = {key, disable ? "{\"disabled\":true}" : NULL};

	if (!mp_client_name_good(client))
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no client '%.64s'", client);
	snprintf(key, sizeof(key), "/clients/%s", client);
	if (mp_store_commit(p->store, NULL, 0, &c, 1, NULL))
		return mp_store_refuse(p, f);
	return 0;
}

static unsigned priority_of(const json_t *j)
{
	unsigned priority = mp_priority_find(json_string_value(json_object_get(j, "priority")));

	return priority < MP_PRIORITIES ? priority : MP_PRIORITY_NORMAL;
}

int mp_token_check(struct mp_pool *p, const char *text, struct mp_identity *ret, struct mp_fail *f)
{
	char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], hex[2 * SHA256_BYTES + 1];
	const char *hash, *state, *client;
	int64_t revision;
	bool good;
	json_t *j;
	int rc = 0;

	if (!text)
		return mp_fail_set(f, MP_CODE_TOKEN, "no token was shown; it belongs in the file "
						     "'token' of the bundle");
	if (!token_split(text, "mpt_", id, secret))
		return wrong(p, f);
	hash_print(secret, hex);
	j = token_get(p, id, &revision);
	hash = json_string_value(json_object_get(j, "hash"));
	good = hash && strlen(hash) == 2 * SHA256_BYTES && !CRYPTO_memcmp(hash, hex, strlen(hex));
	state = json_string_value(json_object_get(j, "state"));
	client = json_string_value(json_object_get(j, "client"));
	if (!good || !state || !client)
		rc = wrong(p, f);
	else if (!strcmp(state, "revoked"))
		rc = mp_fail_set(f, MP_CODE_REVOKED, "the token %s of %s was revoked", id, client);
	else if (strcmp(state, "active"))
		rc = mp_fail_set(f, MP_CODE_INACTIVE, "the token %s of %s is deactivated", id,
				 client);
	else if (client_disabled(p, client))
		rc = mp_fail_set(f, MP_CODE_INACTIVE, "the client %s is disabled", client);
	else if (json_integer_value(json_object_get(j, "expires")) <= (json_int_t)time(NULL))
		rc = mp_fail_set(f, MP_CODE_EXPIRED, "the token %s of %s has expired", id, client);
	if (!rc) {
		snprintf(ret->token, sizeof(ret->token), "%s", id);
		snprintf(ret->client, sizeof(ret->client), "%s", client);
		ret->role = mp_role_find(json_string_value(json_object_get(j, "role")));
		if (ret->role >= MP_ROLE_COUNT)
			ret->role = MP_ROLE_READ;
		ret->priority = priority_of(j);
	}
	json_decref(j);
	return rc;
}

static int list_add(void *arg, const char *key, const char *value, int64_t revision)
{
	json_t *j = json_loads(value, 0, NULL);

	(void)revision;
	json_object_del(j, "hash");
	json_object_set_new(j, "id", json_string(key + strlen("/tokens/")));
	json_array_append_new(arg, j);
	return 0;
}

json_t *mp_token_list(struct mp_pool *p)
{
	json_t *a = json_array();

	mp_store_list(p->store, "/tokens/", list_add, a);
	return a;
}

int mp_token_change(struct mp_pool *p, const char *id, const char *verb, int64_t lifetime_s,
		    struct mp_fail *f)
{
	const char *state;
	int64_t revision = 0;
	json_t *j;
	int rc;

	j = strlen(id) == ID_CHARS ? token_get(p, id, &revision) : NULL;
	if (!j)
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no token %s: 'motorpool token list' has them", id);
	state = json_string_value(json_object_get(j, "state"));
	if (state && !strcmp(state, "revoked") && strcmp(verb, "revoke")) {
		json_decref(j);
		return mp_fail_set(f, MP_CODE_REVOKED, "the token %s was revoked, which is for ever: "
						       "create a new one", id);
	}
	if (!strcmp(verb, "extend"))
		json_object_set_new(j, "expires",
				    json_integer((json_int_t)time(NULL) +
						 (lifetime_s ? lifetime_s : YEAR_S)));
	else
		json_object_set_new(j, "state",
				    json_string(!strcmp(verb, "revoke")	    ? "revoked"
						: !strcmp(verb, "activate") ? "active"
									    : "inactive"));
	rc = token_put(p, id, j, revision);
	json_decref(j);
	if (rc)
		return mp_store_refuse(p, f);
	mp_log(MP_LOG_INFO, "pool", "token-changed", "id=%s verb=%s", id, verb);
	if (!strcmp(verb, "revoke"))
		mp_lease_end_token(p, id);
	return 0;
}

int mp_token_reissue(struct mp_pool *p, const char *id, int64_t overlap_s,
		     char ret_text[MP_TOKEN_TEXT], struct mp_fail *f)
{
	int64_t revision = 0, now = (int64_t)time(NULL), expires, left;
	char client[64] = "";
	enum mp_role role;
	json_t *j;
	int rc;

	j = strlen(id) == ID_CHARS ? token_get(p, id, &revision) : NULL;
	if (!j)
		return mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no token %s: 'motorpool token list' has them", id);
	expires = json_integer_value(json_object_get(j, "expires"));
	snprintf(client, sizeof(client), "%s", json_string_value(json_object_get(j, "client")));
	role = mp_role_find(json_string_value(json_object_get(j, "role")));
	left = expires - json_integer_value(json_object_get(j, "created"));
	/* The old one goes on for a while, so that bundles can be exchanged one by one. */
	if (expires > now + overlap_s)
		json_object_set_new(j, "expires", json_integer(now + overlap_s));
	rc = mp_token_create(p, client, role, priority_of(j), left > 0 ? left : 0, ret_text, f);
	if (!rc && token_put(p, id, j, revision))
		rc = mp_fail_set(f, MP_CODE_QUORUM, "the token %s cannot be changed now; the new one "
						    "holds beside it", id);
	json_decref(j);
	return rc;
}
