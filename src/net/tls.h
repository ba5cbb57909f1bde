/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 around a data lane, in a process of its own beside the program's or the
 * worker's: plain bytes on one descriptor, records on the other.
 *
 * Not a part of libmp-net: a drop-in needs libc alone.  One thread per lane.
 */
#ifndef MP_NET_TLS_H
#define MP_NET_TLS_H

#include "base/fail.h"

struct mp_tls; /* certificates and rules, shared by lanes */

/* The server is believed when this authority says that it is one of its servers. */
int mp_tls_client(const char *ca_file, const char *server_name, struct mp_tls **ret, struct mp_fail *f);
int mp_tls_server(const char *cert_file, const char *key_file, struct mp_tls **ret, struct mp_fail *f);
void mp_tls_free(struct mp_tls *own_tls);

struct mp_tls_lane;

/* The handshake, at most timeout_ms; takes the socket, also when it fails. */
struct mp_tls_lane *mp_tls_open(struct mp_tls *t, int own_tcp, int timeout_ms, struct mp_fail *f);
/* Carries bytes both ways until both sides have ended or one is gone; takes both. */
void mp_tls_pump(struct mp_tls_lane *own_lane, int own_plain);

#endif
