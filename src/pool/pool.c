/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and showing the pool of one server. */
#include "pool/peer.h"
#include "store/journal.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIVENESS_MS 30000

static void pool_free(struct mp_pool *p)
{
	mp_line_free_all(p);
	mp_lease_free_all(p);
	json_decref(p->api);
	mp_journal_close(p->journal);
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->wake >= 0)
		close(p->wake);
	if (p->worker_fd >= 0)
		close(p->worker_fd);
	if (p->gate_fd >= 0)
		close(p->gate_fd);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->look_wake);
	free(p->devices);
	free(p->name);
	free(p->state_dir);
	free(p->worker);
	free(p->driver);
	free(p->gate);
	free(p->store_url);
	free(p->old_url);
	free(p);
}

/* Above the numbers that what is started gets: its descriptors do not cover this one. */
static int program_open(const char *path, int *ret_fd, char name[32], struct mp_fail *f)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	*ret_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 16);
	if (fd >= 0)
		close(fd);
	snprintf(name, 32, "/proc/self/fd/%d", *ret_fd);
	return *ret_fd < 0 ? mp_fail_set(f, MP_CODE_CONFIG, "cannot open %s: %s", path, strerror(errno)) : 0;
}

int mp_pool_open(const struct mp_pool_config *config, struct mp_store *store,
		 struct mp_pool **ret_pool, struct mp_fail *f)
{
	struct mp_pool *p = calloc(1, sizeof(*p));
	pthread_condattr_t steady;
	char path[4096];

	if (!p)
		return mp_fail_set(f, ENOMEM, "out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->epoll = p->wake = p->worker_fd = p->gate_fd = -1;
	p->store = store;
	p->name = strdup(config->name);
	p->state_dir = strdup(config->state_dir);
	p->worker = strdup(config->worker);
	p->driver = config->driver ? strdup(config->driver) : NULL;
	p->store_url = config->store_url ? strdup(config->store_url) : NULL;
	p->gate = config->gate ? strdup(config->gate) : NULL;
	p->gate_control = -1;
	p->look_ms = config->look_ms;
	pthread_condattr_init(&steady);
	pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
	pthread_cond_init(&p->look_wake, &steady);
	pthread_condattr_destroy(&steady);
	p->spread = config->spread;
	p->writable = true;
	p->liveness_ms = config->liveness_ms ? config->liveness_ms : LIVENESS_MS;
	if (!p->name || !p->state_dir || !p->worker || (config->driver && !p->driver)) {
		pool_free(p);
		return mp_fail_set(f, ENOMEM, "out of memory");
	}
	snprintf(path, sizeof(path), "%s/leases", p->state_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		mp_fail_set(f, errno, "cannot make %s: %s", path, strerror(errno));
		pool_free(p);
		return -1;
	}
	if (program_open(p->worker, &p->worker_fd, p->run_worker, f) < 0 ||
	    (p->gate && program_open(p->gate, &p->gate_fd, p->run_gate, f) < 0)) {
		pool_free(p);
		return -1;
	}
	if (mp_history_open(p, f) < 0 || (p->driver && mp_device_probe(p, config->offer, config->reserve, f) < 0) ||
	     mp_data_open(p, config->data, f) < 0) {
		mp_data_stop(p);
		pool_free(p);
		return -1;
	}
	{
		struct mp_store_voters voters;

		mp_store_describe(p->store, &voters);
		p->shared = voters.shared;
	}
	mp_lease_adopt(p);
	if (mp_data_start(p, f) < 0 || mp_device_look_start(p, f) < 0) {
		mp_data_stop(p);
		pool_free(p);
		return -1;
	}
	*ret_pool = p;
	return 0;
}

unsigned mp_pool_liveness_ms(const struct mp_pool *p)
{
	return p->liveness_ms;
}

void mp_pool_end_all(struct mp_pool *p, const char *why)
{
	uint64_t until = mp_now_ns() + 2000000000ull;
	struct lease *l, *next;
	bool left = true;

	pthread_mutex_lock(&p->lock);
	for (l = p->leases; l; l = next) {
		next = l->next;
		mp_lease_end_locked(p, l, why);
	}
	pthread_mutex_unlock(&p->lock);
	while (left && mp_now_ns() < until) {
		pthread_mutex_lock(&p->lock);
		left = p->leases != NULL;
		pthread_mutex_unlock(&p->lock);
		if (left)
			usleep(10000);
	}
}

void mp_pool_detach(struct mp_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->detached = true;
	pthread_mutex_unlock(&p->lock);
}

void mp_pool_close(struct mp_pool *own_pool)
{
	if (!own_pool)
		return;
	mp_device_look_stop(own_pool);
	mp_data_stop(own_pool);
	pool_free(own_pool);
}

/* ---- Showing ---- */

static const char *state_word(const struct lease *l)
{
	static const char *const word[] = {"granted", "attached", "ending", "gone"};

	return word[l->state];
}

static json_t *session_json(const struct lease *l, const struct session *s)
{
	struct mp_account_entry e;
	json_int_t used = 0;
	unsigned i, d;

	for (i = 0; mp_account_entry(l->account, i, &e); i++)
		for (d = 0; e.pid == s->worker && d < l->n; d++)
			used += (json_int_t)e.used[d];
	return json_pack("{s:s, s:i, s:i, s:I}", "program", s->comm, "pid", (int)s->pid, "worker",
			 (int)s->worker, "used", used);
}

static json_t *lease_json(struct mp_pool *p, const struct lease *l)
{
	json_t *devices = json_array(), *processes = json_array();
	const struct session *s;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		const struct device *d = &p->devices[l->slice[i].device];

		json_array_append_new(devices,
				      json_pack("{s:i, s:s, s:s, s:I, s:I}", "index", (int)d->index,
						"uuid", d->uuid, "code", d->code, "bytes",
						(json_int_t)l->slice[i].bytes, "used",
						(json_int_t)mp_account_used(l->account, i)));
	}
	for (s = l->sessions; s; s = s->next)
		json_array_append_new(processes, session_json(l, s));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:o, s:o}", "id", l->id,
			 "server", p->name, "state", state_word(l), "client", l->client, "user",
			 l->user, "host", l->host, "program", l->program, "whole", l->whole,
			 "created", (json_int_t)l->created, "devices", devices, "processes",
			 processes);
}

json_t *mp_lease_show(struct mp_pool *p, const char *id)
{
	struct lease *l;
	json_t *j = NULL;

	pthread_mutex_lock(&p->lock);
	l = mp_lease_find_locked(p, id);
	if (l) {
		j = lease_json(p, l);
		json_object_set_new(j, "data", mp_data_json(p));
	}
	pthread_mutex_unlock(&p->lock);
	return j;
}

static json_t *own_server_locked(struct mp_pool *p, const struct peer *e)
{
	json_t *devices = json_array(), *server;
	unsigned i;

	for (i = 0; i < p->ndevices; i++)
		json_array_append_new(devices, mp_device_json(&p->devices[i]));
	server = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O?, s:o}", "name", p->name, "state",
			   e ? mp_peer_state(e) : "ok", "version", MP_VERSION, "driver_version",
			   p->driver_version, "cuda_version", p->cuda_version, "api", p->api,
			   "devices", devices);
	json_object_set_new(server, "counters",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "granted",
				      (json_int_t)p->granted, "refused", (json_int_t)p->refused,
				      "workers", (json_int_t)p->workers_started, "bad_hellos",
				      (json_int_t)p->bad_hellos, "bad_tokens",
				      (json_int_t)p->bad_tokens, "store_commits",
				      (json_int_t)mp_store_commits(p->store)));
	return server;
}

/* This server from its own tables, the others from the store. */
json_t *mp_pool_list(struct mp_pool *p)
{
	json_t *servers = json_array(), *leases = json_array(), *one;
	struct peers all = {0};
	struct lease *l;
	unsigned i;
	size_t k;

	mp_peers_load(p, &all);
	pthread_mutex_lock(&p->lock);
	if (!mp_peer_find(&all, p->name, strlen(p->name)))
		json_array_append_new(servers, own_server_locked(p, NULL));
	for (i = 0; i < all.n; i++)
		json_array_append_new(servers, all.peer[i].self ? own_server_locked(p, &all.peer[i])
								: mp_peer_json(&all.peer[i]));
	for (l = p->leases; l; l = l->next)
		json_array_insert_new(leases, 0, lease_json(p, l));
	pthread_mutex_unlock(&p->lock);
	for (i = 0; i < all.n; i++)
		if (!all.peer[i].self)
			json_array_foreach(all.peer[i].leases, k, one)
				json_array_append_new(leases, mp_peer_lease_json(&all.peer[i], one));
	mp_peers_free(&all);
	return json_pack("{s:i, s:o, s:o, s:o}", "schema_version", 1, "servers", servers, "leases",
			 leases, "line", mp_line_json(p));
}
