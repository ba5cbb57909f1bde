/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request, use, release: a lease that outlives the command that asked for it.
 *
 * What is needed to use it is in a file of the user's runtime directory, mode
 * 0600; the server ends the lease when nobody has used it for a while.
 */
#include "cli/cli.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory, made when it is missing; it must be ours alone. */
static int dir_open(char *dir, size_t size, struct mp_fail *f)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (xdg && xdg[0] == '/')
		snprintf(dir, size, "%s/motorpool", xdg);
	else
		snprintf(dir, size, "/tmp/motorpool-%u", (unsigned)getuid());
	mkdir(dir, 0700);
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
	    (st.st_mode & 077))
		return mp_fail_set(f, MP_CODE_CONFIG, "%s must be a directory of yours that nobody else "
						      "can read", dir);
	return 0;
}

static int state_path(const struct mp_cli *c, char *path, size_t size, struct mp_fail *f)
{
	char dir[4096];

	if (dir_open(dir, sizeof(dir), f) < 0)
		return -1;
	snprintf(path, size, "%s/%s.json", dir, c->name ? c->name : "default");
	return 0;
}

static json_t *state_read(const struct mp_cli *c, struct mp_fail *f)
{
	char path[4200];
	json_t *j;

	if (state_path(c, path, sizeof(path), f) < 0)
		return NULL;
	j = json_load_file(path, 0, NULL);
	if (!j)
		mp_fail_set(f, MP_CODE_NOT_FOUND, "there is no requested lease '%s'; ask for one with "
						  "'motorpool request'", c->name ? c->name : "default");
	return j;
}

static int state_write(const char *path, const json_t *j, struct mp_fail *f)
{
	char *text = json_dumps(j, JSON_INDENT(2));
	int fd, rc = -1;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && text)
		rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	if (fd >= 0 && close(fd) < 0)
		rc = -1;
	free(text);
	return rc < 0 ? mp_fail_set(f, MP_CODE_CONFIG, "cannot write %s: %s", path, strerror(errno))
		      : 0;
}

static void env_print(const json_t *s)
{
	printf("export %s='%s'\nexport %s='%s'\nexport %s='%s'\nexport %s='%s'\nexport %s=%lld\n",
	       MP_ENV_DATA, mp_cli_text(s, "data"), MP_ENV_SECRET, mp_cli_text(s, "secret"),
	       MP_ENV_LEASE, mp_cli_text(s, "lease"), MP_ENV_SERVER, mp_cli_text(s, "server"),
	       MP_ENV_DEVICES, mp_cli_number(s, "devices"));
}

static json_t *state_make(const struct mp_held *h)
{
	const json_t *l = mp_held_lease(h);

	return json_pack("{s:s, s:s, s:s, s:s, s:I}", "lease", mp_cli_text(l, "id"), "server",
			 mp_held_server(h), "data", mp_held_data(h), "secret",
			 mp_cli_text(l, "secret"), "devices",
			 (json_int_t)json_array_size(json_object_get(l, "devices")));
}

static int lease_exists(struct mp_cli *c, const char *path)
{
	struct mp_fail f = {0};

	if (access(path, F_OK) < 0)
		return 0;
	mp_fail_set(&f, MP_CODE_USAGE, "there is a requested lease '%s' already: release it, or give "
				       "this one a --name", c->name ? c->name : "default");
	return mp_cli_fail(&f);
}

int mp_cli_request(struct mp_cli *c)
{
	struct mp_ask ask = {.n = c->n, .fraction = c->fraction, .bytes = c->bytes,
			     .timeout_s = c->timeout_s, .server = c->server, .program = "request",
			     .filters = c->filters, .nfilters = c->nfilters, .progress = isatty(2),
			     .priority = c->priority, .placement = c->placement,
			     .requested = true, .ttl_s = c->ttl_s, .linger_s = c->linger_s};
	struct mp_fail f = {0};
	struct mp_bundle b;
	struct mp_held *h;
	char path[4200];
	json_t *s;
	int rc;

	if (state_path(c, path, sizeof(path), &f) < 0)
		return mp_cli_fail(&f);
	rc = lease_exists(c, path);
	if (rc)
		return rc;
	if (mp_bundle_open(c->bundle, &b, &f) < 0)
		return mp_cli_fail(&f);
	if (mp_client_ask(&b, &ask, NULL, &h, &f) < 0) {
		mp_bundle_close(&b);
		return mp_cli_fail(&f);
	}
	s = state_make(h);
	if (state_write(path, s, &f) < 0)
		rc = mp_cli_fail(&f);
	if (c->print_env)
		env_print(s);
	else if (c->json)
		rc = mp_cli_print_json(s);
	else
		printf("lease %s on %s; it ends when nobody uses it for %lld s, or by 'motorpool release"
		       "%s%s'\n", mp_cli_text(s, "lease"), mp_cli_text(s, "server"),
		       (long long)(c->linger_s ? c->linger_s : 600), c->name ? " --name " : "",
		       c->name ? c->name : "");
	json_decref(s);
	mp_held_leave(h);
	mp_bundle_close(&b);
	return rc;
}

int mp_cli_use(struct mp_cli *c)
{
	struct mp_fail f = {0};
	json_t *s = state_read(c, &f), *lease, *devices;
	char path[128];
	int rc;

	if (!s)
		return mp_cli_fail(&f);
	/* A lease that is over is told here, not as a missing device in the program. */
	snprintf(path, sizeof(path), "/v1/leases/%.32s", mp_cli_text(s, "lease"));
	c->server = mp_cli_text(s, "server");
	lease = mp_cli_call(c, "GET", path, NULL, &rc);
	if (!lease) {
		json_decref(s);
		return rc;
	}
	devices = json_object_get(lease, "devices");
	json_object_set(s, "id", json_object_get(s, "lease"));
	json_object_set(s, "devices", devices);
	if (mp_cli_environment(s, mp_cli_text(s, "data"), mp_cli_text(s, "server"), &f) < 0)
		return mp_cli_fail(&f);
	return mp_cli_join(c, mp_cli_text(s, "data"));
}

int mp_cli_release(struct mp_cli *c)
{
	struct mp_fail f = {0};
	json_t *s = state_read(c, &f), *answer;
	struct mp_http_target t = {0};
	struct mp_http_client *client;
	struct mp_bundle b;
	char path[4200], url[128], header[160];
	int status = 0, rc = 0;

	if (!s || state_path(c, path, sizeof(path), &f) < 0 || mp_bundle_open(c->bundle, &b, &f) < 0) {
		json_decref(s);
		return mp_cli_fail(&f);
	}
	t.address = mp_cli_text(s, "server");
	t.ca_file = b.ca_file;
	t.token = b.token;
	client = mp_http_client_new(&t);
	snprintf(url, sizeof(url), "/v1/leases/%.32s", mp_cli_text(s, "lease"));
	snprintf(header, sizeof(header), "Motorpool-Lease-Secret: %.64s", mp_cli_text(s, "secret"));
	mp_http_client_header(client, header);
	if (mp_http_call(client, "DELETE", url, NULL, 30000, &status, &answer, &f) != MP_HTTP_OK) {
		f.code = MP_CODE_UNREACHABLE;
		rc = mp_cli_fail(&f);
	} else if (status != 200 && status != 404) {
		mp_client_refusal(status, answer, &f);
		rc = mp_cli_fail(&f);
	} else {
		/* Over already is as good as released. */
		unlink(path);
		if (c->json)
			rc = mp_cli_print_json(answer);
	}
	json_decref(answer);
	json_decref(s);
	mp_http_client_free(client);
	mp_bundle_close(&b);
	return rc;
}
