/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables behind the pool's door, shared by the files of this room.
 *
 * Everything here is guarded by mp_pool.lock.  Functions named *_locked want it
 * held.
 */
#ifndef MP_POOL_STATE_H
#define MP_POOL_STATE_H

#include "pool/pool.h"
#include "base/account.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sha256.h"

#include <pthread.h>
#include <sys/types.h>

#define SHA256_BYTES 32
#define SESSION_BYTES 16
#define LISTENERS    4

struct device {
	unsigned index;
	char uuid[64], name[96], capability[16], pci[32], code[16]; /* code: "machine", or "ptx" alone */
	uint64_t memory; /* to lend: without the reserve */
	uint64_t context_memory, reserve;
	uint64_t charged; /* sum of the slices on it */
	unsigned leases;
	bool exclusive; /* lent whole */
	bool unoffered; /* by this server's configuration */
	bool disabled;	/* not offered, for whatever reason */
	enum { CONDITION_OK, CONDITION_FAULTY, CONDITION_FOREIGN } condition;
	char why[96];	 /* of a condition that is not ok */
	unsigned grants; /* leases on it so far: was one given while it was looked at? */
};

/* One client process, served by one worker. */
struct session {
	struct session *next;
	struct lease *lease;
	uint8_t id[SESSION_BYTES];
	pid_t worker;
	uint64_t worker_start; /* names the process for ever, see mp_process_start() */
	int pidfd, control;    /* control -1: adopted from a former daemon */
	uint32_t pid, uid;     /* of the program: claims */
	char comm[17];
};

/* offered is the client's state: it holds nothing here. */
enum lease_state { LEASE_GRANTED, LEASE_ATTACHED, LEASE_ENDING, LEASE_GONE, LEASE_STATES };

struct slice {
	unsigned device; /* index into pool.devices */
	uint64_t bytes;
};

struct lease {
	struct lease *next;
	enum lease_state state;
	char id[MP_LEASE_DIGITS + 1];
	char secret[2 * MP_SECRET_BYTES + 1]; /* empty after a restart: only the hash is kept */
	uint8_t secret_hash[SHA256_BYTES];
	char token[16], request_id[64], client[64], user[64], host[64], program[64];
	unsigned n;
	struct slice slice[MP_ACCOUNT_DEVICES];
	uint32_t fraction;
	bool whole, holder_lease, bytes_asked;
	int64_t idle_s;	  /* ends after so long without work; 0: never */
	int64_t linger_s; /* without a holder: ends so long after the last process left */
	int64_t ttl_s;	  /* 0: none */
	bool warned;
	struct mp_account *account;
	int account_fd;
	struct session *sessions;
	unsigned nsessions;
	uint64_t used_told; /* sum of used memory when the store was told last */
	struct mp_holder *holder;
	uint64_t holder_deadline; /* ns: ends when nobody holds it by then; 0: none */
	uint64_t kill_deadline;	  /* ns: SIGKILL follows SIGTERM */
	int64_t created;	  /* wall clock, for people */
	uint64_t created_ns, attached_ns, busy_ns;
	uint64_t unused_ns; /* since when no process is attached; 0: one is */
	char why[128];
};

struct listener {
	int fd;
	uint16_t port; /* TCP */
	bool local; /* loopback: what passes does not leave the machine */
	bool always; /* encrypted even so, whatever the pool is set to */
	char text[128]; /* as told to clients: ":PORT" for a wildcard, ADDR:PORT, unix:PATH */
};

/* A secret with which a lane may be measured. */
struct perf {
	uint8_t secret[MP_SECRET_BYTES];
	uint64_t until; /* ns; 0: none */
};
#define MP_PERF_LANE_FD 3
enum { MP_WATCH_PERF = 5 }; /* beside those of data.c */

struct half_open {
	struct half_open *next;
	int fd;
	bool must_encrypt, may_encrypt;
	uint64_t deadline;
};

struct mp_pool {
	pthread_mutex_t lock;
	struct mp_store *store;
	struct mp_journal *journal;
	char *name, *state_dir, *worker, *driver, *store_url, *old_url;
	char id[17]; /* of the state directory: the same name elsewhere is another server */
	json_t *api; /* addresses of the API, as told to clients */
	bool shared; /* the store serves several servers */
	bool spread;
	unsigned liveness_ms;
	char driver_version[32], cuda_version[16];
	struct device *devices;
	unsigned ndevices;
	struct lease *leases;
	struct listener listeners[LISTENERS];
	unsigned nlisteners;
	struct half_open *half_open; /* this and epoll: the data thread alone */
	unsigned nhalf_open;
	int epoll, wake;
	char *gate;	  /* path of motorpool-gate */
	/* Both were opened at the start, and these name what was opened: an upgrade does not change a running server. */
	char run_worker[32], run_gate[32];
	int worker_fd, gate_fd;
	int gate_control; /* -1: it does not run */
	pid_t gate_pid;
	bool stopping, detached, thread_runs, look_runs;
	pthread_t thread, look_thread;
	pthread_cond_t look_wake;
	unsigned look_ms; /* between two looks at idle devices; 0: never */
	/* keep.c: agreeing with the store */
	bool announced, draining, writable, authority;
	bool dirty;    /* the store has not heard of everything */
	bool moved;    /* atomic: it has changed since it was looked at */
	const char *frozen; /* no leases are given, for this reason (a static text) */
	uint64_t refreshed, published, line_due;
	int64_t limits_seen;
	uint64_t freed_ns; /* when memory last became free here */
	struct waiter *waiters;
	struct perf perf[8];
	uint64_t bad_hellos, bad_tokens, granted, refused, workers_started;
};

/* device.c */
int mp_device_probe(struct mp_pool *p, const char *offer, uint64_t reserve, struct mp_fail *f);
/* A thread of its own looks at devices that nobody has a lease on. */
int mp_device_look_start(struct mp_pool *p, struct mp_fail *f);
void mp_device_look_stop(struct mp_pool *p);
const char *mp_condition_name(const struct device *d);
struct device *mp_device_find_locked(struct mp_pool *p, const char *uuid);

/* place.c: pure; the tables are not changed. */
struct placement {
	unsigned device[MP_ACCOUNT_DEVICES];
	uint64_t bytes;
	bool whole;
};
/*
 * mixed: whole devices may be of several models.  0, or -1 with MP_CODE_NEVER or
 * MP_CODE_BUSY in f->code and what came nearest.
 */
int mp_place(const struct device *devices, unsigned n, const struct mp_want *want, bool spread,
	     bool mixed, const char *server, struct placement *ret, struct mp_fail *f);
struct mp_lease_request;
/* The same among the devices that the request's filters let through. */
int mp_place_filtered(const struct device *devices, unsigned n, const struct mp_filter_facts *server,
		      const struct mp_lease_request *q, bool spread, const char *name,
		      struct placement *ret, struct mp_fail *f);
/* What this server is to filters. */
void mp_facts_own(struct mp_pool *p, struct mp_filter_facts *ret);
/* "1.5 GiB", "300 MiB", "17 B". */
const char *mp_bytes_print(uint64_t bytes, char text[32]);

/* lease.c */
struct lease *mp_lease_find_locked(struct mp_pool *p, const char *id);
struct lease *mp_lease_find_secret_locked(struct mp_pool *p, const uint8_t secret[MP_SECRET_BYTES]);
void mp_lease_end_locked(struct mp_pool *p, struct lease *l, const char *why);
/* Ends every lease that this token asked for. */
void mp_lease_end_token(struct mp_pool *p, const char *token);
/* Deadlines; called by the data thread. Returns ms until it wants to be called again. */
int mp_lease_tick_locked(struct mp_pool *p, uint64_t now);
/* A worker came or went. */
void mp_lease_attached_locked(struct mp_pool *p, struct lease *l);
void mp_lease_left_locked(struct mp_pool *p, struct lease *l);
void mp_lease_adopt(struct mp_pool *p);
void mp_lease_free_all(struct mp_pool *p);
void mp_lease_store_locked(struct mp_pool *p, struct lease *l);
/* Its keys in the store, and its record (JSON text, the caller's to free). */
void mp_lease_keys_locked(struct mp_pool *p, const struct lease *l, char key[256], char use[256]);
char *mp_lease_record_locked(struct mp_pool *p, const struct lease *l);

#define MP_POOL_SCHEMA 1
#define MP_NO_QUORUM \
	"the pool's store has lost its majority, so nothing new is given; running programs are not " \
	"touched"

/* keep.c */
/* Looks at what others want when the store has changed; ms until it wants to be called again. */
/* What this server is and has, anew. */
void mp_pool_tell_locked(struct mp_pool *p);
int mp_pool_refresh_locked(struct mp_pool *p, uint64_t now);
void mp_lease_strays_end(struct mp_pool *p);

/* Says why the store cannot be written: no majority, or this server's disk is full. Always -1. */
int mp_store_refuse(struct mp_pool *p, struct mp_fail *f);
bool mp_disk_full(struct mp_pool *p);
int mp_disk_refuse(struct mp_pool *p, struct mp_fail *f);

/* line.c */
/* Is somebody ahead of this request? -1 with MP_CODE_BUSY. */
int mp_line_yield_locked(struct mp_pool *p, const struct mp_lease_request *q, struct mp_fail *f);
void mp_line_refresh_locked(struct mp_pool *p, uint64_t now);
void mp_line_free_all(struct mp_pool *p);
json_t *mp_line_json(struct mp_pool *p);

/* setting.c */
bool mp_setting_is(struct mp_pool *p, const char *name, const char *value);
int64_t mp_setting_seconds(struct mp_pool *p, const char *name);

/* limit.c */
enum { MP_LIMIT_OVER = 100 };
/*
 * Writes a new lease, bounded by the limits, in one transaction: 0, MP_LIMIT_OVER
 * with a sentence, or -1 when the store cannot be written.
 */
int mp_limit_enter_locked(struct mp_pool *p, const struct lease *l, const char *lease_key,
			  const char *record, struct mp_fail *f);
/* For a request that does not fit now: would it be over the client's limit anyway? -1 with a sentence. */
int mp_limit_check(struct mp_pool *p, const char *client, const struct mp_want *w, uint64_t largest,
		   struct mp_fail *f);
int mp_limit_leave_locked(struct mp_pool *p, const struct lease *l, const char *lease_key);
/* What a lease costs, in millionths of a device. */
int64_t mp_limit_cost_locked(struct mp_pool *p, const struct lease *l);
/* Seconds, 0: none. */
int64_t mp_limit_idle_locked(struct mp_pool *p, const char *client);
bool mp_client_name_good(const char *name);

/* history.c */
int mp_history_open(struct mp_pool *p, struct mp_fail *f);
void mp_history_lease_locked(struct mp_pool *p, const struct lease *l);

/* session.c: workers */
int mp_session_lane_locked(struct mp_pool *p, struct lease *l, const uint8_t id[SESSION_BYTES],
			   int own_fd, uint32_t pid, uint32_t uid, const char *comm);
void mp_session_reaped_locked(struct mp_pool *p, struct session *s);
void mp_session_signal(struct session *s, int sig);
void mp_session_free(struct mp_pool *p, struct session *own_session);
int mp_session_adopt_locked(struct mp_pool *p, struct lease *l, pid_t worker, uint64_t start,
			    const uint8_t id[SESSION_BYTES], uint32_t pid, const char *comm);
/* SIGKILL to what still works for a lease that is over. */
void mp_session_end_strays(struct mp_pool *p, const char *id, const char *account);
/* Workers that have joined the account but that no session names: a daemon died while it started them. */
void mp_session_adopt_strays_locked(struct mp_pool *p, struct lease *l);

/* perf.c: for the data thread */
/* A worker for this lane, if the secret is one of measuring; the lane stays the caller's. */
bool mp_perf_lane_locked(struct mp_pool *p, const uint8_t secret[MP_SECRET_BYTES], int fd);
void mp_perf_ended(int own_pidfd);

/* data.c: the data port's thread */
int mp_data_open(struct mp_pool *p, const char *listeners, struct mp_fail *f);
/* Where programs connect, as clients are told: "tls:" before what is encrypted. */
json_t *mp_data_json(struct mp_pool *p);
/* Is what comes in here encrypted? */
bool mp_listener_encrypted(struct mp_pool *p, const struct listener *l);
int mp_data_start(struct mp_pool *p, struct mp_fail *f);
void mp_data_stop(struct mp_pool *p);
void mp_data_wake(struct mp_pool *p);

/* token.c */
void mp_random(void *to, size_t n);
void mp_hex_print(const uint8_t *p, size_t n, char *to);
bool mp_hex_parse(const char *text, uint8_t *to, size_t n);

#endif
