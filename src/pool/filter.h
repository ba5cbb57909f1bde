/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: which servers and devices a request accepts.  Pure, and fuzzed.
 *
 *	KEY OP VALUE		device.memory>=8GiB  server.hostname=gpu*
 *	KEY:WORD:VALUE		device.memory:ge:8GiB (nothing for a shell to eat)
 *
 * Different keys are ANDed, several filters of one key are ORed.  `=` on a name
 * matches a part of it, or the whole when it has a glob; `=` on server.addr
 * takes an address, a CIDR prefix or a range A-B.
 */
#ifndef MP_POOL_FILTER_H
#define MP_POOL_FILTER_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_FILTERS_MAX 32

enum mp_filter_key {
	MP_FILTER_SERVER_ADDR, MP_FILTER_SERVER_HOSTNAME, MP_FILTER_SERVER_RDMA,
	MP_FILTER_SERVER_CUDA, MP_FILTER_SERVER_DRIVER, MP_FILTER_DEVICE_ID,
	MP_FILTER_DEVICE_NAME, MP_FILTER_DEVICE_MEMORY, MP_FILTER_DEVICE_CAPABILITY,
	MP_FILTER_KEYS
};

enum mp_filter_op {
	MP_FILTER_EQ, MP_FILTER_NE, MP_FILTER_LT, MP_FILTER_LE, MP_FILTER_GT, MP_FILTER_GE,
	MP_FILTER_OPS
};

struct mp_filter {
	enum mp_filter_key key;
	enum mp_filter_op op;
	uint64_t number;  /* of a size: bytes; of a version: a.b.c as 20 bits each */
	char text[128];	  /* the value as it was written */
};

struct mp_filters {
	unsigned n;
	struct mp_filter filter[MP_FILTERS_MAX];
};

/* What a device and its server are. */
struct mp_filter_facts {
	const char *address, *hostname, *cuda_version, *driver_version;
	const char *uuid, *name, *capability;
	unsigned index;
	uint64_t memory;
	bool has_rdma;
};

/* Adds one; -1 with a sentence. */
int mp_filter_parse(struct mp_filters *to, const char *text, struct mp_fail *f);
bool mp_filter_match(const struct mp_filters *filters, const struct mp_filter_facts *facts);
/* As it could be written: KEY OP VALUE. */
const char *mp_filter_print(const struct mp_filter *x, char *to, size_t size);
/* Does any filter name this key? */
bool mp_filter_has(const struct mp_filters *filters, enum mp_filter_key key);
/* For documents: false past the end. */
bool mp_filter_key_text(unsigned i, const char **name, const char **text);

#endif
