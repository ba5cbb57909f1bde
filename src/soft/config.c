/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft devices' knobs: one table of environment variables.
 *
 * The table is the documentation: name, default, meaning, and the function that
 * reads it.  A bad value is logged and ignored, since a library has nobody to
 * complain to.
 */
#include "config.h"

#include "base/check.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef bool (*parse_fn)(struct mp_soft_config *c, const char *value);

static bool parse_number(const char *s, uint64_t lo, uint64_t hi, uint64_t *out)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 0);
	if (errno || *end || v < lo || v > hi)
		return false;
	*out = v;
	return true;
}

/* "8G", "512 MiB", "300M", plain bytes. */
static bool parse_bytes(const char *s, uint64_t *out)
{
	char *end;
	unsigned long long v;
	unsigned shift = 0;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 0);
	if (errno)
		return false;
	while (*end == ' ')
		end++;
	switch (tolower((unsigned char)*end)) {
	case 'k': shift = 10; break;
	case 'm': shift = 20; break;
	case 'g': shift = 30; break;
	case 't': shift = 40; break;
	case 0: break;
	default: return false;
	}
	if (shift) {
		end++;
		if (*end && strcasecmp(end, "b") && strcasecmp(end, "ib"))
			return false;
	}
	if (v > (UINT64_MAX >> 1) >> shift)
		return false;
	*out = (uint64_t)v << shift;
	return true;
}

static bool parse_bool(const char *s, bool *out)
{
	if (!strcmp(s, "1") || !strcasecmp(s, "yes") || !strcasecmp(s, "on"))
		*out = true;
	else if (!strcmp(s, "0") || !*s || !strcasecmp(s, "no") || !strcasecmp(s, "off"))
		*out = false;
	else
		return false;
	return true;
}

static bool parse_small(const char *s, unsigned lo, unsigned hi, unsigned *out)
{
	uint64_t v;

	if (!parse_number(s, lo, hi, &v))
		return false;
	*out = (unsigned)v;
	return true;
}

static bool set_devices(struct mp_soft_config *c, const char *s)
{
	return parse_small(s, 0, MP_SOFT_MAX_DEVICES, &c->devices);
}

static bool set_memory(struct mp_soft_config *c, const char *s)
{
	uint64_t v;

	/* A window slice of 256 GiB per device bounds it from above. */
	if (!parse_bytes(s, &v) || v < (16u << 20) || v > (200ull << 30))
		return false;
	c->memory = v;
	return true;
}

static bool set_context_memory(struct mp_soft_config *c, const char *s)
{
	return parse_bytes(s, &c->context_memory);
}

static bool set_model(struct mp_soft_config *c, const char *s)
{
	if (!*s || strlen(s) >= sizeof(c->model))
		return false;
	memcpy(c->model, s, strlen(s) + 1);
	return true;
}

static bool set_sms(struct mp_soft_config *c, const char *s)
{
	return parse_small(s, 1, 1024, &c->sms);
}

static bool set_capability(struct mp_soft_config *c, const char *s)
{
	unsigned major, minor;
	char rest;

	if (sscanf(s, "%u.%u%c", &major, &minor, &rest) != 2 || minor > 9)
		return false;
	if (major * 10 + minor < 75 || major * 10 + minor > 121)
		return false;
	c->major = major;
	c->minor = minor;
	return true;
}

static bool set_dirty(struct mp_soft_config *c, const char *s)
{
	return parse_bool(s, &c->dirty_memory);
}

static bool set_mode(struct mp_soft_config *c, const char *s)
{
	if (strcmp(s, "normal") && strcmp(s, "null"))
		return false;
	c->null_mode = !strcmp(s, "null");
	return true;
}

static bool set_jitter(struct mp_soft_config *c, const char *s)
{
	return parse_number(s, 0, UINT64_MAX, &c->jitter);
}

static bool set_threads(struct mp_soft_config *c, const char *s)
{
	return parse_small(s, 0, 1024, &c->threads);
}

static bool set_dir(struct mp_soft_config *c, const char *s)
{
	if (!*s || strlen(s) >= sizeof(c->dir))
		return false;
	memcpy(c->dir, s, strlen(s) + 1);
	return true;
}

/* exec reads these two itself, for its tests run without us; here they are judged. */
static bool set_tier(struct mp_soft_config *c, const char *s)
{
	(void)c;
	return !strcmp(s, "auto") || !strcmp(s, "1") || !strcmp(s, "2");
}

static bool set_cache(struct mp_soft_config *c, const char *s)
{
	(void)c;
	return strlen(s) < 256;
}

static bool set_loading(struct mp_soft_config *c, const char *s)
{
	c->eager = !strcasecmp(s, "EAGER");
	return c->eager || !strcasecmp(s, "LAZY") || !strcasecmp(s, "DEFAULT");
}

static bool set_blocking(struct mp_soft_config *c, const char *s)
{
	return parse_bool(s, &c->launch_blocking);
}

static bool set_check(struct mp_soft_config *c, const char *s)
{
	static const struct {
		const char *name;
		unsigned bits;
	} words[] = {{"memory", MP_SOFT_CHECK_MEMORY}, {"init", MP_SOFT_CHECK_INIT}, {"race", MP_SOFT_CHECK_RACE},
		     {"all", 7}, {"none", 0}, {"0", 0}};
	unsigned bits = 0;
	size_t n, i;

	for (; *s; s += n + (s[n] == ',')) {
		n = strcspn(s, ",");
		for (i = 0; i < MP_ARRAY_LEN(words); i++)
			if (strlen(words[i].name) == n && !strncasecmp(s, words[i].name, n))
				break;
		if (i == MP_ARRAY_LEN(words))
			return false;
		bits |= words[i].bits;
	}
	c->check = bits;
	return true;
}

static bool set_check_exit(struct mp_soft_config *c, const char *s)
{
	uint64_t n;

	if (!parse_number(s, 0, 255, &n))
		return false;
	c->check_exit = (int)n;
	return true;
}

static bool set_check_limit(struct mp_soft_config *c, const char *s)
{
	return parse_number(s, 0, UINT64_MAX, &c->check_limit);
}

static const struct {
	const char *name, *fallback, *meaning;
	parse_fn set;
} variables[] = {
	{"MOTORPOOL_SOFT_DEVICES", "1", "number of devices, 0 to 16", set_devices},
	{"MOTORPOOL_SOFT_MEMORY", "8GiB", "memory of each device; virtual, pages cost when used",
	 set_memory},
	{"MOTORPOOL_SOFT_CONTEXT_MEMORY", "300MiB", "device memory that each context costs",
	 set_context_memory},
	{"MOTORPOOL_SOFT_MODEL", "Motorpool Soft GPU", "device name", set_model},
	{"MOTORPOOL_SOFT_SMS", "16", "number of multiprocessors", set_sms},
	{"MOTORPOOL_SOFT_CAPABILITY", "12.1", "compute capability, 7.5 to 12.1", set_capability},
	{"MOTORPOOL_SOFT_DIRTY_MEMORY", "0",
	 "1: fresh memory holds old bytes instead of zeroes, to prove that users scrub", set_dirty},
	{"MOTORPOOL_SOFT_MODE", "normal",
	 "normal, or null: launches, copies and memsets complete at once and do nothing", set_mode},
	{"MOTORPOOL_SOFT_JITTER", "0",
	 "seed of random delays (up to 0.5 ms) before every queued operation; 0 = none", set_jitter},
	{"MOTORPOOL_SOFT_THREADS", "0", "host threads that run kernels; 0 = one per core",
	 set_threads},
	{"MOTORPOOL_SOFT_DIR", "", "directory of the per-host device accounts; default "
	 "$XDG_RUNTIME_DIR/motorpool-soft, else /dev/shm/motorpool-soft-UID", set_dir},
	{"MOTORPOOL_SOFT_TIER", "1", "1: kernels are interpreted; 2: compiled at their first launch, which "
	 "waits; auto: hot ones are compiled beside the program, if there is a libLLVM", set_tier},
	{"MOTORPOOL_SOFT_CACHE", "", "directory that keeps compiled code between processes; empty for none",
	 set_cache},
	{"CUDA_MODULE_LOADING", "LAZY", "EAGER: kernels are decoded at module load", set_loading},
	{"MOTORPOOL_SOFT_CHECK", "none",
	 "look at accesses of kernels: memory, init, race, or all; reports on standard error", set_check},
	{"MOTORPOOL_SOFT_CHECK_EXIT", "0", "the status with which a process ends that had errors; 0: its own",
	 set_check_exit},
	{"MOTORPOOL_SOFT_CHECK_LIMIT", "100", "reports that are printed", set_check_limit},
	{"CUDA_LAUNCH_BLOCKING", "0", "1: every launch waits for its kernel", set_blocking},
};

bool mp_soft_config_variable(unsigned i, const char **name, const char **fallback,
			     const char **meaning)
{
	if (i >= MP_ARRAY_LEN(variables))
		return false;
	*name = variables[i].name;
	*fallback = variables[i].fallback;
	*meaning = variables[i].meaning;
	return true;
}

static void default_dir(char *out, size_t n)
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (run && *run == '/' && !access(run, W_OK) && strlen(run) + 16 < n)
		snprintf(out, n, "%s/motorpool-soft", run);
	else
		snprintf(out, n, "/dev/shm/motorpool-soft-%u", (unsigned)getuid());
}

void mp_soft_config_dir(char *out, size_t n)
{
	const char *dir = getenv("MOTORPOOL_SOFT_DIR");

	if (dir && *dir && strlen(dir) < n)
		memcpy(out, dir, strlen(dir) + 1);
	else
		default_dir(out, n);
	if (mkdir(out, 0700) && errno != EEXIST)
		mp_log(MP_LOG_ERROR, "soft", "account-dir", "dir=%s error=\"%s\"", out,
		       strerror(errno));
}

void mp_soft_config_read(struct mp_soft_config *c)
{
	unsigned i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < MP_ARRAY_LEN(variables); i++) {
		const char *value = getenv(variables[i].name);

		if (*variables[i].fallback) {
			bool good = variables[i].set(c, variables[i].fallback);

			assert(good);
			(void)good;
		}
		if (value && !variables[i].set(c, value))
			mp_log(MP_LOG_WARN, "soft", "bad-setting", "%s=\"%s\" used=\"%s\"",
			       variables[i].name, value, variables[i].fallback);
	}
	mp_soft_config_dir(c->dir, sizeof(c->dir));
}

/* FNV-1a: the host's identity need only be stable and different from its neighbours'. */
static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3ull;
	return h;
}

void mp_soft_config_uuid(unsigned index, unsigned char uuid[16])
{
	char id[HOST_NAME_MAX + 65] = "";
	uint64_t a, b;
	FILE *f = fopen("/etc/machine-id", "re");

	if (f) {
		if (!fgets(id, 64, f))
			id[0] = 0;
		fclose(f);
	}
	if (!gethostname(id + strlen(id), HOST_NAME_MAX))
		id[sizeof(id) - 1] = 0;
	a = hash_bytes(0xcbf29ce484222325ull, id, strlen(id));
	b = hash_bytes(a ^ 0x9e3779b97f4a7c15ull, &index, sizeof(index));
	a = hash_bytes(b, id, strlen(id));
	memcpy(uuid, &a, 8);
	memcpy(uuid + 8, &b, 8);
	uuid[6] = (uuid[6] & 0x0f) | 0x40; /* RFC 4122: version 4, variant 1 */
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}
