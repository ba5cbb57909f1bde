/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: parsing and matching. */
#include "pool/filter.h"
#include "base/code.h"
#include "base/check.h"
#include "base/words.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum kind { KIND_NAME, KIND_ADDRESS, KIND_BOOL, KIND_VERSION, KIND_SIZE };

static const struct {
	const char *name;
	enum mp_filter_key key;
	enum kind kind;
	const char *text;
} keys[] = {
	{"server.addr", MP_FILTER_SERVER_ADDR, KIND_ADDRESS, "address, CIDR prefix or range A-B"},
	{"server.hostname", MP_FILTER_SERVER_HOSTNAME, KIND_NAME, "the server's name"},
	{"server.has-rdma", MP_FILTER_SERVER_RDMA, KIND_BOOL, "true or false"},
	{"server.cuda-version", MP_FILTER_SERVER_CUDA, KIND_VERSION, "CUDA release of the driver"},
	{"server.driver-version", MP_FILTER_SERVER_DRIVER, KIND_VERSION, "release of the driver"},
	{"device.id", MP_FILTER_DEVICE_ID, KIND_NAME, "index on its server, or UUID"},
	{"device.name", MP_FILTER_DEVICE_NAME, KIND_NAME, "the model"},
	{"device.memory", MP_FILTER_DEVICE_MEMORY, KIND_SIZE, "total memory: MiB or with a unit"},
	{"device.phy-memory", MP_FILTER_DEVICE_MEMORY, KIND_SIZE, "the same as device.memory"},
	{"device.capability", MP_FILTER_DEVICE_CAPABILITY, KIND_VERSION, "compute capability"},
};

static const struct {
	const char *sign, *word;
	enum mp_filter_op op;
} ops[] = {
	/* Two characters before their first one alone. */
	{"!=", "ne", MP_FILTER_NE}, {"<=", "le", MP_FILTER_LE}, {">=", "ge", MP_FILTER_GE},
	{"=", "eq", MP_FILTER_EQ},  {"<", "lt", MP_FILTER_LT},	{">", "gt", MP_FILTER_GT},
};

bool mp_filter_key_text(unsigned i, const char **name, const char **text)
{
	if (i >= MP_ARRAY_LEN(keys))
		return false;
	*name = keys[i].name;
	*text = keys[i].text;
	return true;
}

static enum kind kind_of(enum mp_filter_key key)
{
	size_t i;

	for (i = 0; keys[i].key != key; i++)
		assert(i < MP_ARRAY_LEN(keys));
	return keys[i].kind;
}

/* "12.4", "535.104.05": up to three parts, 20 bits each; false when it is none. */
static bool version_parse(const char *text, uint64_t *ret)
{
	unsigned long part[3] = {0};
	char *end;
	int i;

	for (i = 0; i < 3; i++) {
		if (*text < '0' || *text > '9')
			return false;
		part[i] = strtoul(text, &end, 10);
		if (part[i] >= 1ul << 20)
			return false;
		text = end + 1;
		if (*end != '.')
			break;
	}
	*ret = (uint64_t)part[0] << 40 | (uint64_t)part[1] << 20 | part[2];
	return !*end;
}

/* An address as 16 bytes, IPv4 mapped; *ret_bits 128 or 32. */
static bool address_parse(const char *text, uint8_t to[16], int *ret_bits)
{
	memset(to, 0, 16);
	*ret_bits = 128;
	if (inet_pton(AF_INET6, text, to) == 1)
		return true;
	to[10] = to[11] = 0xff;
	*ret_bits = 32;
	return inet_pton(AF_INET, text, to + 12) == 1;
}

/* Is `addr` in "A", "A/N" or "A-B"?  *ret_valid: is it one of these at all? */
static bool address_in(const char *set, const char *addr, bool *ret_valid)
{
	uint8_t a[16], lo[16], hi[16];
	char copy[128], *cut, *end;
	int bits, bits2;
	bool have = address_parse(addr, a, &bits), in = true;
	long prefix = 128;
	int i;

	*ret_valid = false;
	snprintf(copy, sizeof(copy), "%s", set);
	cut = strpbrk(copy, "/-");
	if (cut && *cut == '-') {
		*cut = 0;
		*ret_valid = address_parse(copy, lo, &bits) && address_parse(cut + 1, hi, &bits2) &&
			     bits == bits2 && memcmp(lo, hi, 16) <= 0;
		return have && *ret_valid && memcmp(lo, a, 16) <= 0 && memcmp(a, hi, 16) <= 0;
	}
	if (cut)
		*cut = 0;
	if (!address_parse(copy, lo, &bits))
		return false;
	if (cut) {
		prefix = strtol(cut + 1, &end, 10);
		if (end == cut + 1 || *end || prefix < 0 || prefix > bits)
			return false;
		prefix += 128 - bits;
	}
	*ret_valid = true;
	for (i = 0; i < 128 && i < prefix; i++)
		in = in && !((a[i / 8] ^ lo[i / 8]) & (0x80 >> i % 8));
	return have && in;
}

static int value_take(struct mp_filter *x, const char *key, const char *value, struct mp_fail *f)
{
	enum kind kind = kind_of(x->key);
	bool good = *value && strlen(value) < sizeof(x->text), valid;

	snprintf(x->text, sizeof(x->text), "%s", value);
	if (kind == KIND_SIZE)
		good = good && mp_size_parse(value, &x->number);
	else if (kind == KIND_VERSION)
		good = good && version_parse(value, &x->number);
	else if (kind == KIND_BOOL)
		good = good && (!strcmp(value, "true") || !strcmp(value, "false"));
	else if (kind == KIND_ADDRESS) {
		address_in(value, "0.0.0.0", &valid);
		good = good && valid;
	}
	if (!good)
		return mp_fail_set(f, MP_CODE_USAGE, "the filter key %s does not take '%.100s'", key,
				   value);
	if (x->op > MP_FILTER_NE && kind != KIND_SIZE && kind != KIND_VERSION)
		return mp_fail_set(f, MP_CODE_USAGE, "the filter key %s can be compared with = and != "
						     "only", key);
	return 0;
}

/* Where the operator is: its row and the ends of key and value; false without one. */
static bool op_find(const char *text, size_t *ret_key, size_t *ret_value, enum mp_filter_op *ret_op)
{
	size_t n = strcspn(text, "!<>=:"), i, len;

	for (i = 0; i < MP_ARRAY_LEN(ops); i++) {
		len = strlen(ops[i].sign);
		if (!strncmp(text + n, ops[i].sign, len))
			break;
		if (text[n] == ':' && !strncmp(text + n + 1, ops[i].word, 2) && text[n + 3] == ':') {
			len = 4;
			break;
		}
	}
	if (i == MP_ARRAY_LEN(ops))
		return false;
	*ret_key = n;
	*ret_value = n + len;
	*ret_op = ops[i].op;
	return true;
}

int mp_filter_parse(struct mp_filters *to, const char *text, struct mp_fail *f)
{
	struct mp_filter x = {0};
	size_t n, at, i;
	char key[64];

	if (to->n == MP_FILTERS_MAX)
		return mp_fail_set(f, MP_CODE_USAGE, "at most %d filters", MP_FILTERS_MAX);
	if (!op_find(text, &n, &at, &x.op))
		return mp_fail_set(f, MP_CODE_USAGE,
				   "the filter '%.100s' has no operator: quote it, a shell takes > and "
				   "< for itself ('device.memory>=8GiB' or device.memory:ge:8GiB)",
				   text);
	while (n && text[n - 1] == ' ')
		n--;
	at += strspn(text + at, " ");
	snprintf(key, sizeof(key), "%.*s", (int)(n < 63 ? n : 63), text);
	for (i = 0; i < MP_ARRAY_LEN(keys) && strcmp(keys[i].name, key); i++)
		;
	if (i == MP_ARRAY_LEN(keys))
		return mp_fail_set(f, MP_CODE_USAGE, "there is no filter key '%s': there are server.addr, "
						     "server.hostname, server.has-rdma, "
						     "server.cuda-version, server.driver-version, "
						     "device.id, device.name, device.memory, "
						     "device.capability", key);
	x.key = keys[i].key;
	if (value_take(&x, key, text + at, f) < 0)
		return -1;
	to->filter[to->n++] = x;
	return 0;
}

const char *mp_filter_print(const struct mp_filter *x, char *to, size_t size)
{
	size_t i, k;

	for (i = 0; i + 1 < MP_ARRAY_LEN(keys) && keys[i].key != x->key; i++)
		;
	for (k = 0; k + 1 < MP_ARRAY_LEN(ops) && ops[k].op != x->op; k++)
		;
	snprintf(to, size, "%s%s%s", keys[i].name, ops[k].sign, x->text);
	return to;
}

/* A part of it in any case of letters; with a glob, the whole. */
static bool name_match(const char *pattern, const char *name)
{
	if (strpbrk(pattern, "*?["))
		return fnmatch(pattern, name, FNM_CASEFOLD) == 0;
	return strcasestr(name, pattern) != NULL;
}

static bool number_match(enum mp_filter_op op, uint64_t have, uint64_t want)
{
	switch (op) {
	case MP_FILTER_EQ: return have == want;
	case MP_FILTER_NE: return have != want;
	case MP_FILTER_LT: return have < want;
	case MP_FILTER_LE: return have <= want;
	case MP_FILTER_GT: return have > want;
	case MP_FILTER_GE: return have >= want;
	case MP_FILTER_OPS: break;
	}
	return false;
}

static bool version_match(const struct mp_filter *x, const char *version)
{
	uint64_t have;

	return version_parse(version, &have) && number_match(x->op, have, x->number);
}

static bool id_match(const struct mp_filter *x, const struct mp_filter_facts *facts)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", facts->index);
	return !strcmp(x->text, index) || !strcasecmp(x->text, facts->uuid);
}

static bool one_match(const struct mp_filter *x, const struct mp_filter_facts *facts)
{
	bool equal = false, valid;

	switch (x->key) {
	case MP_FILTER_DEVICE_MEMORY: return number_match(x->op, facts->memory, x->number);
	case MP_FILTER_DEVICE_CAPABILITY: return version_match(x, facts->capability);
	case MP_FILTER_SERVER_CUDA: return version_match(x, facts->cuda_version);
	case MP_FILTER_SERVER_DRIVER: return version_match(x, facts->driver_version);
	case MP_FILTER_DEVICE_NAME: equal = name_match(x->text, facts->name); break;
	case MP_FILTER_SERVER_HOSTNAME: equal = name_match(x->text, facts->hostname); break;
	case MP_FILTER_DEVICE_ID: equal = id_match(x, facts); break;
	case MP_FILTER_SERVER_RDMA: equal = (*x->text == 't') == facts->has_rdma; break;
	case MP_FILTER_SERVER_ADDR: equal = address_in(x->text, facts->address, &valid); break;
	case MP_FILTER_KEYS: break;
	}
	return equal == (x->op == MP_FILTER_EQ);
}

bool mp_filter_has(const struct mp_filters *filters, enum mp_filter_key key)
{
	unsigned i;

	for (i = 0; i < filters->n; i++)
		if (filters->filter[i].key == key)
			return true;
	return false;
}

bool mp_filter_match(const struct mp_filters *filters, const struct mp_filter_facts *facts)
{
	bool any[MP_FILTER_KEYS] = {false};
	unsigned i;

	for (i = 0; i < filters->n; i++)
		any[filters->filter[i].key] |= one_match(&filters->filter[i], facts);
	for (i = 0; i < filters->n; i++)
		if (!any[filters->filter[i].key])
			return false;
	return true;
}
