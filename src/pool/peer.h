/* SPDX-License-Identifier: Apache-2.0 */
/* Servers of the pool as the store tells them; private to the room. */
#ifndef MP_POOL_PEER_H
#define MP_POOL_PEER_H

#include "pool/state.h"

struct peer {
	char name[65], address[64], version[32], driver_version[32], cuda_version[16];
	json_t *record;
	bool self, alive, draining, has_rdma;
	struct device *devices; /* charged with what their leases' records say */
	unsigned ndevices;
	json_t *leases; /* records, each with its id */
};

struct peers {
	struct peer *peer;
	unsigned n;
	bool failed;
};

int mp_peers_load(struct mp_pool *p, struct peers *ret);
void mp_peers_free(struct peers *all);
struct peer *mp_peer_find(struct peers *all, const char *name, size_t n);
/* The memory of the pool's largest device. */
uint64_t mp_peers_largest(const struct peers *all);
int mp_peer_place(const struct peer *e, const struct mp_lease_request *q, bool spread,
		  struct placement *at, struct mp_fail *f);
const char *mp_peer_state(const struct peer *e);
json_t *mp_device_json(const struct device *d);
/* Where a request may be put to this server. */
json_t *mp_peer_offer_json(const struct peer *e);
json_t *mp_peer_json(const struct peer *e);
json_t *mp_peer_lease_json(const struct peer *e, const json_t *record);

#endif
