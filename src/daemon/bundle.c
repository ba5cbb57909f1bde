/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a token bundle for the user of --demo. */
#include "daemon/bundle.h"
#include "client/client.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdir -p, private. */
static int dirs_make(const char *dir, struct mp_fail *f)
{
	char path[4096];
	size_t i;

	snprintf(path, sizeof(path), "%s", dir);
	for (i = 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		path[i] = 0;
		mkdir(path, 0700);
		path[i] = '/';
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot make %s: %s", path, strerror(errno));
	return 0;
}

int mp_dir_make(const char *dir, struct mp_fail *f)
{
	return dirs_make(dir, f);
}

static int file_put(const char *dir, const char *name, const char *text, mode_t mode,
		    struct mp_fail *f)
{
	char path[4200], temp[4200];
	size_t n = strlen(text);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s/.%s.new", dir, name);
	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n || close(fd) < 0 || rename(temp, path) < 0)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

static char *file_get(const char *dir, const char *name)
{
	char path[4200], *text = calloc(1, 65536);
	int fd;
	ssize_t n = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && text)
		n = read(fd, text, 65535);
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	return text;
}

bool mp_bundle_foreign(const char *dir, const char *state_dir)
{
	char *theirs = file_get(dir, "ca.crt"), *ours = file_get(state_dir, "ca.crt");
	char *token = file_get(dir, "token");
	bool foreign = token && (!theirs || !ours || strcmp(theirs, ours));

	free(theirs);
	free(ours);
	free(token);
	return foreign;
}

int mp_bundle_write(const char *dir, const char *state_dir, const char *token, const char *server,
		    struct mp_fail *f)
{
	char *ca = file_get(state_dir, "ca.crt"), line[256];
	int rc;

	if (!ca)
		return mp_fail_set(f, MP_CODE_CONFIG, "cannot read %s/ca.crt", state_dir);
	rc = dirs_make(dir, f);
	snprintf(line, sizeof(line), "%s\n", server);
	if (!rc)
		rc = file_put(dir, "ca.crt", ca, 0644, f);
	if (!rc)
		rc = file_put(dir, "servers", line, 0644, f);
	snprintf(line, sizeof(line), "%s\n", token);
	if (!rc)
		rc = file_put(dir, "token", line, 0600, f);
	free(ca);
	return rc;
}
