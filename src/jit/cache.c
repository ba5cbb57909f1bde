/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object code in a directory.  A file is named by the SHA-256 of all that its
 * code depends on; it holds a header, the object's SHA-256 and the object.  It is
 * believed only when it and its directory belong to this user and nobody else
 * may write to them, since it becomes code.
 */
#include "jit/cache.h"

#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/sha256.h"

#define FORMAT	 3 /* goes up with every change of what code is made */
#define MAX_FILE (64u << 20)
#define MAX_DIR	 (256u << 20) /* then the oldest go */

struct file_header {
	char magic[8];
	uint32_t format, waits;
	uint64_t len;
	uint8_t digest[32];
};

static void add32(struct mp_sha256 *s, uint32_t v)
{
	mp_sha256_add(s, &v, sizeof(v));
}

/* The processor as the code generator sees it. */
static void add_cpu(struct mp_sha256 *s, bool plain)
{
	unsigned r[4];

	add32(s, plain);
	if (plain)
		return;
	if (__get_cpuid(1, &r[0], &r[1], &r[2], &r[3])) {
		add32(s, r[0]);
		add32(s, r[2]);
		add32(s, r[3]);
	}
	if (__get_cpuid_count(7, 0, &r[0], &r[1], &r[2], &r[3])) {
		add32(s, r[1]);
		add32(s, r[2]);
		add32(s, r[3]);
	}
}

/* A constant, or an address that was made relative. */
static void add_value(struct mp_sha256 *s, const struct mp_jit_kernel *k, uint64_t v)
{
	add32(s, v - k->data < k->data_bytes);
	if (v - k->data < k->data_bytes)
		v -= k->data;
	mp_sha256_add(s, &v, sizeof(v));
}

static void add_slot(struct mp_sha256 *s, const struct mp_jit_kernel *k, uint32_t slot)
{
	uint64_t v;

	if (!(slot & MP_JIT_CONST)) {
		add32(s, slot);
		return;
	}
	assert((slot & ~MP_JIT_CONST) + 8 <= k->pool_bytes);
	memcpy(&v, k->pool + (slot & ~MP_JIT_CONST), 8);
	add32(s, MP_JIT_CONST);
	add_value(s, k, v);
}

static unsigned ext_words(const struct mp_jit_op *o)
{
	if (!o->ext)
		return 0;
	if (o->kind == MP_JIT_BRX)
		return o->x;
	if (o->name && (!strncmp(o->name, "ld.", 3) || !strncmp(o->name, "st.", 3) || !strcmp(o->name, "pack") ||
			!strcmp(o->name, "unpack")))
		return 3u + o->n;
	return 1;
}

void cache_key(const struct mp_jit_kernel *k, const struct mp_jit_options *o, struct cache_key *ret)
{
	struct mp_sha256 s;
	uint8_t digest[32];
	uint32_t i, j;

	mp_sha256_init(&s);
	add32(&s, FORMAT);
	add32(&s, o->group);
	add32(&s, (uint32_t)sizeof(struct mp_jit_context));
	add_cpu(&s, o->plain_isa);
	for (i = 0; i < k->nops; i++) {
		const struct mp_jit_op *p = &k->ops[i];
		const uint32_t slots[] = {p->d, p->a, p->b, p->c, p->e, p->d2, p->guard};

		mp_sha256_add(&s, p->name ? p->name : "-", p->name ? strlen(p->name) + 1 : 2);
		for (j = 0; j < MP_ARRAY_LEN(slots); j++)
			add_slot(&s, k, slots[j]);
		add_value(&s, k, p->imm);
		add32(&s, p->x);
		add32(&s, p->insn);
		add32(&s, p->kind | (uint32_t)p->guard_negated << 8 | (uint32_t)p->n << 16 | (uint32_t)p->size << 24);
		for (j = 0; j < ext_words(p); j++)
			j < 3 || p->kind == MP_JIT_BRX ? add32(&s, p->ext[j]) : add_slot(&s, k, p->ext[j]);
	}
	for (i = 0; i < k->nblocks; i++) {
		const struct mp_jit_block *b = &k->blocks[i];

		add32(&s, b->first);
		add32(&s, b->n);
		add32(&s, b->target);
		add32(&s, b->next);
	}
	for (i = 0; i < k->nregs; i++) {
		add32(&s, k->regs[i].size | (uint32_t)k->regs[i].temp << 8);
		add32(&s, k->regs[i].home);
	}
	for (i = 0; i < k->ninsns; i++) {
		add32(&s, k->insns[i].nreads);
		add32(&s, k->insns[i].nwrites);
		add32(&s, k->insns[i].kills);
	}
	mp_sha256_add(&s, k->uses, (size_t)k->nuses * sizeof(*k->uses));
	mp_sha256_done(&s, digest);
	for (i = 0; i < 32; i++)
		snprintf(ret->name + 2 * i, 3, "%02x", digest[i]);
}

static bool own_alone(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static int dir_open(const char *dir, bool make)
{
	char path[512];
	size_t i;
	int fd;

	for (i = 1; make && i <= strlen(dir) && i < sizeof(path); i++)
		if (!dir[i] || dir[i] == '/') {
			memcpy(path, dir, i);
			path[i] = 0;
			mkdir(path, 0700); /* what cannot be made cannot be opened */
		}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && !own_alone(fd, S_IFDIR)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool read_all(int fd, void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t k = read(fd, at, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

static bool write_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t k = write(fd, at, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

char *cache_get(const char *dir, const struct cache_key *key, size_t *ret_len, bool *ret_waits)
{
	struct file_header h;
	uint8_t digest[32];
	char *object = NULL;
	int d = dir_open(dir, false), fd;

	if (d < 0)
		return NULL;
	fd = openat(d, key->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	close(d);
	if (fd < 0)
		return NULL;
	if (own_alone(fd, S_IFREG) && read_all(fd, &h, sizeof(h)) && !memcmp(h.magic, "mpjit\n\0", 8) &&
	    h.format == FORMAT && h.len && h.len <= MAX_FILE)
		object = malloc(h.len);
	if (object) {
		bool good = read_all(fd, object, h.len);

		if (good)
			mp_sha256(object, h.len, digest);
		if (!good || memcmp(digest, h.digest, 32)) {
			free(object);
			object = NULL;
		}
	}
	close(fd);
	if (!object)
		return NULL;
	*ret_len = h.len;
	*ret_waits = h.waits;
	return object;
}

/* The oldest file goes until the rest has room. */
static void make_room(int d)
{
	for (;;) {
		struct dirent *e;
		struct stat st;
		char oldest[80] = "";
		time_t when = 0;
		uint64_t sum = 0;
		int fd = openat(d, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

		if (!dir)
			return;
		while ((e = readdir(dir))) {
			if (fstatat(d, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
				continue;
			sum += (uint64_t)st.st_size;
			if (strlen(e->d_name) == 64 && (!oldest[0] || st.st_mtime < when)) {
				memcpy(oldest, e->d_name, 65);
				when = st.st_mtime;
			}
		}
		closedir(dir);
		if (sum <= MAX_DIR || !oldest[0] || unlinkat(d, oldest, 0))
			return;
	}
}

void cache_put(const char *dir, const struct cache_key *key, const char *object, size_t len, bool waits)
{
	struct file_header h = {.magic = "mpjit\n", .format = FORMAT, .waits = waits, .len = len};
	char tmp[96];
	int d, fd;
	bool good;

	if (len > MAX_FILE)
		return;
	d = dir_open(dir, true);
	if (d < 0)
		return;
	mp_sha256(object, len, h.digest);
	snprintf(tmp, sizeof(tmp), "%.40s.%ld.new", key->name, (long)getpid());
	fd = openat(d, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		good = write_all(fd, &h, sizeof(h)) && write_all(fd, object, len);
		good = close(fd) == 0 && good;
		if (!good || renameat(d, tmp, d, key->name))
			unlinkat(d, tmp, 0);
		make_room(d);
	}
	close(d);
}
