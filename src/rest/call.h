/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the API while it is served; private to the room. */
#ifndef MP_REST_CALL_H
#define MP_REST_CALL_H

#include "rest/rest.h"
#include "base/log.h"

struct mp_rest_call;

struct mp_rest_row {
	const char *method, *path;
	enum mp_role role; /* the least that may; MP_ROLE_COUNT: anyone */
	void (*serve)(struct mp_rest_call *c);
	const char *text;
};

struct mp_rest_call {
	struct mp_pool *pool;
	struct mp_http_request *request;
	struct mp_identity caller;
	const struct mp_rest_row *row;
	json_t *body; /* an object */
	char id[64];  /* the path's variable part */
	const char *refused; /* the word of the error that was answered */
};

/* Answers an error; f->code is an mp_code. */
void mp_rest_refuse(struct mp_rest_call *c, const struct mp_fail *f);

/* The same, where *f may say that another server must be asked; takes the reference. */
void mp_rest_elsewhere(struct mp_rest_call *c, const struct mp_fail *f, json_t *own_api);

void mp_rest_offers(struct mp_rest_call *c);
void mp_rest_line_wait(struct mp_rest_call *c);
void mp_rest_server_drain(struct mp_rest_call *c);
void mp_rest_server_remove(struct mp_rest_call *c);
void mp_rest_device_change(struct mp_rest_call *c);
void mp_rest_ca(struct mp_rest_call *c);
void mp_rest_ca_csr(struct mp_rest_call *c);
void mp_rest_ca_change(struct mp_rest_call *c);
void mp_rest_join_create(struct mp_rest_call *c);
void mp_rest_join(struct mp_rest_call *c);
void mp_rest_renew(struct mp_rest_call *c);
/* The store's own language, for servers that have none of their own. */
bool mp_rest_store(struct mp_pool *p, struct mp_http_request *r);
void mp_rest_store_move(struct mp_rest_call *c);
/* Remembers by which authority a token's holder knows this pool. */
void mp_rest_seen(struct mp_rest_call *c);
json_t *mp_rest_authority_check(struct mp_pool *p);
json_t *mp_rest_certificate_check(struct mp_pool *p);
void mp_rest_backup(struct mp_rest_call *c);
void mp_rest_restore(struct mp_rest_call *c);
void mp_rest_logs(struct mp_rest_call *c);
void mp_rest_netperf_lane(struct mp_rest_call *c);
void mp_rest_netperf(struct mp_rest_call *c);
void mp_rest_setting_list(struct mp_rest_call *c);
void mp_rest_setting_set(struct mp_rest_call *c);
void mp_rest_version(struct mp_rest_call *c);
void mp_rest_pool(struct mp_rest_call *c);
void mp_rest_whoami(struct mp_rest_call *c);
void mp_rest_lease_grant(struct mp_rest_call *c);
void mp_rest_lease_show(struct mp_rest_call *c);
void mp_rest_lease_hold(struct mp_rest_call *c);
void mp_rest_lease_end(struct mp_rest_call *c);
void mp_rest_limit_list(struct mp_rest_call *c);
void mp_rest_limit_set(struct mp_rest_call *c);
void mp_rest_client_list(struct mp_rest_call *c);
void mp_rest_client_change(struct mp_rest_call *c);
void mp_rest_health(struct mp_rest_call *c);
void mp_rest_stats(struct mp_rest_call *c);
void mp_rest_audit(struct mp_rest_call *c);
void mp_rest_token_list(struct mp_rest_call *c);
void mp_rest_token_create(struct mp_rest_call *c);
void mp_rest_token_reissue(struct mp_rest_call *c);
void mp_rest_token_change(struct mp_rest_call *c);

#endif
