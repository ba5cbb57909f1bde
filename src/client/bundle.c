/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token bundle: found, read and checked; never written.
 *
 * A token that others can read is refused, unless root owns it: a Kubernetes
 * Secret is mounted 0644 and owned by root.
 */
#include "client/client.h"
#include "base/pem.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool mp_bundle_home(char *dir, size_t size)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (xdg && xdg[0] == '/')
		n = snprintf(dir, size, "%s/motorpool", xdg);
	else if (home && home[0] == '/')
		n = snprintf(dir, size, "%s/.config/motorpool", home);
	else
		return false;
	return n > 0 && (size_t)n < size;
}

static bool has_token(const char *dir)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/token", dir);
	return access(path, F_OK) == 0;
}

static int dir_find(const char *dir, struct mp_bundle *b, struct mp_fail *f)
{
	const char *env = getenv(MP_ENV_BUNDLE);

	if (!dir && env && *env)
		dir = env;
	if (dir) {
		if (strlen(dir) >= sizeof(b->dir) || !has_token(dir))
			return mp_fail_set(f, MP_CODE_CONFIG,
					   "there is no token bundle in %s (a directory with ca.crt, "
					   "token and servers)", dir);
		snprintf(b->dir, sizeof(b->dir), "%s", dir);
		return 0;
	}
	if (mp_bundle_home(b->dir, sizeof(b->dir)) && has_token(b->dir))
		return 0;
	snprintf(b->dir, sizeof(b->dir), "/etc/motorpool");
	if (has_token(b->dir))
		return 0;
	return mp_fail_set(f, MP_CODE_CONFIG,
			   "no pool configured: put the token bundle of your pool into "
			   "~/.config/motorpool, or start a pool on this machine with "
			   "'motorpoold --demo'");
}

/* The whole of a small file, NUL-terminated, the caller's to free. */
static char *file_read(const char *path, bool secret, struct mp_fail *f)
{
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		mp_fail_set(f, MP_CODE_CONFIG, "cannot read %s: %s", path, strerror(errno));
	} else if (secret && st.st_uid != 0 && (st.st_mode & 077)) {
		mp_fail_set(f, MP_CODE_CONFIG, "%s can be read by others: chmod 600 %s", path, path);
	} else if (st.st_size > 65536) {
		mp_fail_set(f, MP_CODE_CONFIG, "%s is too long to be what it should be", path);
	} else {
		text = calloc(1, 65537);
		n = text ? read(fd, text, 65536) : -1;
		if (n < 0) {
			mp_fail_set(f, MP_CODE_CONFIG, "cannot read %s: %s", path, strerror(errno));
			free(text);
			text = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static int servers_read(struct mp_bundle *b, const char *path, struct mp_fail *f)
{
	char *text = file_read(path, false, f), *save = NULL, *line;
	size_t n;

	if (!text)
		return -1;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t\r");
		n = strcspn(line, " \t\r#");
		line[n] = 0;
		if (!n)
			continue;
		if (!strchr(line, ':') || b->nservers == MP_SERVERS_MAX) {
			mp_fail_set(f, MP_CODE_CONFIG, "'%s' in %s is not HOST:PORT, or the list is "
						       "longer than %d", line, path, MP_SERVERS_MAX);
			free(text);
			return -1;
		}
		b->servers[b->nservers] = strdup(line);
		b->nservers += b->servers[b->nservers] != NULL;
	}
	free(text);
	return b->nservers ? 0
			   : mp_fail_set(f, MP_CODE_CONFIG, "%s names no server: one HOST:PORT per "
							    "line", path);
}

int mp_bundle_open(const char *dir, struct mp_bundle *ret, struct mp_fail *f)
{
	struct mp_bundle *b = ret;
	char path[4200], *token;
	int rc;

	memset(b, 0, sizeof(*b));
	if (dir_find(dir, b, f) < 0)
		return -1;
	snprintf(b->ca_file, sizeof(b->ca_file), "%s/ca.crt", b->dir);
	if (access(b->ca_file, R_OK) < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot read %s: %s", b->ca_file,
				   strerror(errno));
	token = file_read(b->ca_file, false, f);
	if (token)
		mp_pem_mark(token, b->authority);
	free(token);
	snprintf(path, sizeof(path), "%s/token", b->dir);
	token = file_read(path, true, f);
	if (!token)
		return -1;
	token[strcspn(token, " \t\r\n")] = 0;
	rc = *token && strlen(token) < sizeof(b->token)
		     ? 0
		     : mp_fail_set(f, MP_CODE_CONFIG, "%s holds no token", path);
	if (!rc)
		memcpy(b->token, token, strlen(token) + 1);
	free(token);
	snprintf(path, sizeof(path), "%s/servers", b->dir);
	if (!rc)
		rc = servers_read(b, path, f);
	if (rc < 0)
		mp_bundle_close(b);
	return rc;
}

void mp_bundle_close(struct mp_bundle *b)
{
	unsigned i;

	for (i = 0; i < b->nservers; i++)
		free(b->servers[i]);
	memset(b, 0, sizeof(*b));
}
