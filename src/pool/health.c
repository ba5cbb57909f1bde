/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health of this server: named checks, each with what to do when it is not well.
 * A table; a check is one function that needs no other.
 */
#include "pool/peer.h"
#include "base/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum grade { GRADE_OK, GRADE_WARN, GRADE_FAIL };

struct finding {
	enum grade grade;
	char text[256];
};

static void MP_PRINTF(3, 4) say(struct finding *f, enum grade grade, const char *fmt, ...)
{
	va_list ap;

	f->grade = grade;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void check_devices(struct mp_pool *p, struct finding *f)
{
	unsigned i, good = 0;
	char bad[300] = "";

	for (i = 0; i < p->ndevices; i++) {
		const struct device *d = &p->devices[i];

		good += !d->disabled;
		if (d->condition != CONDITION_OK && strlen(bad) < 150)
			snprintf(bad + strlen(bad), sizeof(bad) - strlen(bad), "; device %u is %s: %s", d->index,
				 mp_condition_name(d), d->why);
	}
	say(f, bad[0] ? GRADE_FAIL : good ? GRADE_OK : GRADE_WARN, "%u of %u devices are offered%s", good, p->ndevices, bad);
}

static void check_store(struct mp_pool *p, struct finding *f)
{
	int rc = mp_store_put(p->store, "/health", "1");

	say(f, rc ? GRADE_FAIL : GRADE_OK, rc ? "the store cannot be written" : "the store can be written");
}

static void check_voters(struct mp_pool *p, struct finding *f)
{
	struct mp_store_voters v;
	char away[200] = "";
	unsigned i;

	mp_store_describe(p->store, &v);
	if (!v.shared) {
		say(f, GRADE_OK, "one server with its own store: it is the majority");
		return;
	}
	for (i = 0; i < v.n; i++)
		if (!v.voter[i].good)
			snprintf(away + strlen(away), sizeof(away) - strlen(away), "%s%.40s", away[0] ? ", " : "; away: ",
				 v.voter[i].name);
	say(f, !v.majority ? GRADE_FAIL : v.good < v.n ? GRADE_WARN : GRADE_OK, "%u of %u voters answer%s%.150s",
	    v.good, v.n, v.majority ? "" : ", which is no majority", away);
}

static int server_old(void *arg, const char *key, const char *value, int64_t revision)
{
	char *names = arg;

	(void)revision;
	if (!strstr(value, "\"version\":\"" MP_VERSION "\"") && strlen(names) < 150)
		snprintf(names + strlen(names), 200 - strlen(names), "%s%.40s", names[0] ? ", " : "",
			 key + strlen("/servers/"));
	return 0;
}

static void check_versions(struct mp_pool *p, struct finding *f)
{
	char names[200] = "";

	mp_store_list(p->store, "/servers/", server_old, names);
	say(f, names[0] ? GRADE_WARN : GRADE_OK, names[0] ? "other releases than " MP_VERSION " run on %s"
							  : "every server has this release%s", names);
}

static void check_servers(struct mp_pool *p, struct finding *f)
{
	struct peers all;
	char names[200] = "";
	unsigned i;

	if (mp_peers_load(p, &all) < 0)
		return;
	for (i = 0; i < all.n; i++)
		if (!all.peer[i].alive && strlen(names) < 150)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%.40s",
				 names[0] ? ", " : "", all.peer[i].name);
	say(f, names[0] ? GRADE_WARN : GRADE_OK, names[0] ? "lost: %s" : "every server of the pool is alive%s", names);
	mp_peers_free(&all);
}

static void check_worker(struct mp_pool *p, struct finding *f)
{
	bool good = access(p->worker, X_OK) == 0;

	say(f, good ? GRADE_OK : GRADE_FAIL, "%s %s", p->worker, good ? "can be started" : strerror(errno));
}

#define FULL (256u << 10) /* what SQLite and an account may need for one more lease */

bool mp_disk_full(struct mp_pool *p)
{
	struct statvfs v;

	return statvfs(p->state_dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < FULL;
}

int mp_disk_refuse(struct mp_pool *p, struct mp_fail *f)
{
	return mp_fail_set(f, MP_CODE_FAILED, "the disk of the server %s is full, so nothing new is given; running "
					      "programs are not touched; free space under %s", p->name, p->state_dir);
}

int mp_store_refuse(struct mp_pool *p, struct mp_fail *f)
{
	return !p->shared && mp_disk_full(p) ? mp_disk_refuse(p, f) : mp_fail_set(f, MP_CODE_QUORUM, MP_NO_QUORUM);
}

static void check_disk(struct mp_pool *p, struct finding *f)
{
	struct statvfs v;
	uint64_t left;
	char text[32];

	if (statvfs(p->state_dir, &v) < 0) {
		say(f, GRADE_FAIL, "%s: %s", p->state_dir, strerror(errno));
		return;
	}
	left = (uint64_t)v.f_bavail * v.f_frsize;
	say(f, left < 64ull << 20 ? GRADE_FAIL : left < 1ull << 30 ? GRADE_WARN : GRADE_OK,
	    "%s free for %s", mp_bytes_print(left, text), p->state_dir);
}

static void check_files(struct mp_pool *p, struct finding *f)
{
	struct rlimit r = {0};

	(void)p;
	getrlimit(RLIMIT_NOFILE, &r);
	say(f, r.rlim_cur < 4096 ? GRADE_WARN : GRADE_OK, "%llu files may be open at once",
	    (unsigned long long)r.rlim_cur);
}

static void check_locks(struct mp_pool *p, struct finding *f)
{
	struct rlimit r = {0};
	char text[32];

	(void)p;
	getrlimit(RLIMIT_MEMLOCK, &r);
	if (r.rlim_cur == RLIM_INFINITY)
		say(f, GRADE_OK, "any amount of memory may be locked");
	else
		say(f, r.rlim_cur < 64ull << 20 ? GRADE_WARN : GRADE_OK, "%s of memory may be locked; pinned memory and RDMA "
		    "want more", mp_bytes_print(r.rlim_cur, text));
}

static void check_memory(struct mp_pool *p, struct finding *f)
{
	struct sysinfo si = {0};
	uint64_t host, devices = 0;
	char a[32], b[32];
	unsigned i;

	sysinfo(&si);
	host = (uint64_t)si.totalram * si.mem_unit;
	for (i = 0; i < p->ndevices; i++)
		devices += p->devices[i].memory;
	say(f, host < devices ? GRADE_WARN : GRADE_OK, "%s of host memory for %s of device memory",
	    mp_bytes_print(host, a), mp_bytes_print(devices, b));
}

/* Is the port in a comma-separated list of numbers and ranges? */
static bool port_in(const char *list, unsigned port)
{
	const char *at;
	unsigned lo, hi;
	int n;

	for (at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		n = sscanf(at, "%u-%u", &lo, &hi);
		if ((n == 2 && port >= lo && port <= hi) || (n == 1 && port == lo))
			return true;
	}
	return false;
}

static bool line_read(const char *path, char *text, size_t size)
{
	FILE *in = fopen(path, "re");
	bool good = in && fgets(text, (int)size, in);

	if (in)
		fclose(in);
	return good;
}

static void check_ports(struct mp_pool *p, struct finding *f)
{
	unsigned port = mp_pool_data_port(p), lo = 0, hi = 0;
	char text[4096];

	if (!line_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) ||
	    sscanf(text, "%u %u", &lo, &hi) != 2 || port < lo || port > hi) {
		say(f, GRADE_OK, "the data port %u is not taken by outgoing connections", port);
		return;
	}
	if (line_read("/proc/sys/net/ipv4/ip_local_reserved_ports", text, sizeof(text)) &&
	    port_in(text, port))
		say(f, GRADE_OK, "the data port %u is reserved", port);
	else
		say(f, GRADE_WARN, "an outgoing connection may take the data port %u while the server is "
				   "down", port);
}

static void check_encryption(struct mp_pool *p, struct finding *f)
{
	unsigned i, open_to_all = 0;

	for (i = 0; i < p->nlisteners; i++)
		open_to_all += p->listeners[i].port && !p->listeners[i].local &&
			       !mp_listener_encrypted(p, &p->listeners[i]);
	say(f, open_to_all ? GRADE_WARN : GRADE_OK,
	    open_to_all ? "programs' data crosses the network unencrypted"
			: "programs' data does not leave this machine unencrypted");
}

static int soonest(void *arg, const char *key, const char *value, int64_t revision)
{
	json_t *j = json_loads(value, 0, NULL);
	int64_t *best = arg, expires = json_integer_value(json_object_get(j, "expires"));
	const char *state = json_string_value(json_object_get(j, "state"));

	(void)key, (void)revision;
	if (state && !strcmp(state, "active") && expires < *best)
		*best = expires;
	json_decref(j);
	return 0;
}

static void check_tokens(struct mp_pool *p, struct finding *f)
{
	int64_t best = INT64_MAX, days;

	mp_store_list(p->store, "/tokens/", soonest, &best);
	days = best == INT64_MAX ? 9999 : (best - (int64_t)time(NULL)) / 86400;
	say(f, days < 30 ? GRADE_WARN : GRADE_OK, days < 0 ? "an active token has expired"
		: days < 30 ? "an active token expires within 30 days" : "no active token expires soon");
}

static void check_strangers(struct mp_pool *p, struct finding *f)
{
	say(f, GRADE_OK, "%llu wrong tokens and %llu wrong hellos since the start",
	    (unsigned long long)p->bad_tokens, (unsigned long long)p->bad_hellos);
}

static const struct {
	const char *name, *remedy;
	void (*check)(struct mp_pool *p, struct finding *f);
} checks[] = {
	{"devices", "end what uses them, repair the driver or the device, enable them, or take them off 'offer' in "
		    "the configuration", check_devices},
	{"store", "free the disk, or repair its permissions; running programs are not touched", check_store},
	{"voters", "start the store's other members; what runs goes on, nothing new is given without a majority",
	 check_voters},
	{"servers", "start it, or 'motorpool server remove'", check_servers},
	{"versions", "install one release on all servers", check_versions},
	{"worker", "install the package again", check_worker},
	{"disk", "free space under the state directory", check_disk},
	{"open-files", "raise LimitNOFILE of the service", check_files},
	{"locked-memory", "raise LimitMEMLOCK of the service", check_locks},
	{"host-memory", "lend less device memory, or add host memory", check_memory},
	{"reserved-ports", "add it to the sysctl net.ipv4.ip_local_reserved_ports", check_ports},
	{"encryption", "motorpool setting set encryption on", check_encryption},
	{"tokens", "motorpool token extend TOKEN", check_tokens},
	{"strangers", "", check_strangers},
};

json_t *mp_pool_health(struct mp_pool *p)
{
	static const char *const word[] = {"ok", "warn", "fail"};
	json_t *rows = json_array();
	struct finding f;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(checks); i++) {
		memset(&f, 0, sizeof(f));
		/* These ask others, which takes time. */
		if (checks[i].check == check_voters || checks[i].check == check_store) {
			checks[i].check(p, &f);
		} else {
			pthread_mutex_lock(&p->lock);
			checks[i].check(p, &f);
			pthread_mutex_unlock(&p->lock);
		}
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", checks[i].name,
						"where", p->name, "state", word[f.grade], "text",
						f.text, "remedy",
						f.grade == GRADE_OK ? "" : checks[i].remedy));
	}
	return json_pack("{s:i, s:I, s:o}", "schema_version", 1, "time", (json_int_t)time(NULL),
			 "checks", rows);
}
