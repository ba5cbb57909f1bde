/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server's store: a table of keys in SQLite.
 *
 * Write-ahead log and synchronous FULL: what a commit answered is on the disk.
 * One connection and one lock, since a server makes a few commits per second.
 * PRAGMA user_version is the schema's number; a newer one is refused, so that a
 * downgrade cannot garble it.
 */
#include "store/kind.h"
#include "base/check.h"
#include "base/log.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA 1

struct sqlite {
	struct mp_store head;
	sqlite3 *db;
	pthread_mutex_t lock;
	sqlite3_stmt *get, *list, *put, *del, *last, *bump MP_GUARDED_BY(lock);
	void (*changed)(void *arg);
	void *changed_arg;
	void (*made)(void *arg, const struct mp_store_change *changes, size_t n, int64_t revision)
		MP_GUARDED_BY(lock);
	void *made_arg MP_GUARDED_BY(lock);
};

static struct sqlite *sqlite_of(struct mp_store *s)
{
	return MP_CONTAINER_OF(s, struct sqlite, head);
}

static void sqlite_close(struct mp_store *own_store)
{
	struct sqlite *s = sqlite_of(own_store);
	sqlite3_stmt *all[] = {s->get, s->list, s->put, s->del, s->last, s->bump};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(all); i++)
		sqlite3_finalize(all[i]);
	sqlite3_close(s->db);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Lock held; 0 or MP_STORE_NONE, negative on trouble. */
static int row_get(struct sqlite *s, const char *key, char **ret_value, int64_t *ret_revision)
{
	int rc;

	sqlite3_bind_text(s->get, 1, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(s->get);
	if (rc == SQLITE_ROW) {
		*ret_revision = sqlite3_column_int64(s->get, 1);
		if (ret_value)
			*ret_value = strdup((const char *)sqlite3_column_text(s->get, 0));
		rc = ret_value && !*ret_value ? -1 : MP_STORE_OK;
	} else {
		rc = rc == SQLITE_DONE ? MP_STORE_NONE : -1;
	}
	sqlite3_reset(s->get);
	return rc;
}

static int sqlite_get(struct mp_store *store, const char *key, char **ret_value,
		      int64_t *ret_revision)
{
	struct sqlite *s = sqlite_of(store);
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = row_get(s, key, ret_value, ret_revision);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int sqlite_list(struct mp_store *store, const char *prefix,
		       int (*each)(void *arg, const char *key, const char *value, int64_t revision),
		       void *arg)
{
	struct sqlite *s = sqlite_of(store);
	int rc;

	pthread_mutex_lock(&s->lock);
	sqlite3_bind_text(s->list, 1, prefix, -1, SQLITE_STATIC);
	while ((rc = sqlite3_step(s->list)) == SQLITE_ROW)
		if (each(arg, (const char *)sqlite3_column_text(s->list, 0),
			 (const char *)sqlite3_column_text(s->list, 1),
			 sqlite3_column_int64(s->list, 2)))
			break;
	sqlite3_reset(s->list);
	pthread_mutex_unlock(&s->lock);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? MP_STORE_OK : -1;
}

static int step_done(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

/* Lock held, inside a transaction. */
static int changes_make(struct sqlite *s, const struct mp_store_guard *guards, size_t nguards,
			const struct mp_store_change *changes, size_t nchanges,
			int64_t *ret_revision)
{
	int64_t have;
	size_t i;
	int rc;

	for (i = 0; i < nguards; i++) {
		have = 0;
		rc = row_get(s, guards[i].key, NULL, &have);
		if (rc < 0)
			return rc;
		if (have != guards[i].revision)
			return MP_STORE_CONFLICT;
	}
	if (step_done(s->bump) < 0 || sqlite3_step(s->last) != SQLITE_ROW)
		return -1;
	*ret_revision = sqlite3_column_int64(s->last, 0);
	sqlite3_reset(s->last);
	for (i = 0; i < nchanges; i++) {
		sqlite3_stmt *st = changes[i].value ? s->put : s->del;

		sqlite3_bind_text(st, 1, changes[i].key, -1, SQLITE_STATIC);
		if (changes[i].value) {
			sqlite3_bind_text(st, 2, changes[i].value, -1, SQLITE_STATIC);
			sqlite3_bind_int64(st, 3, *ret_revision);
		}
		if (step_done(st) < 0)
			return -1;
	}
	return MP_STORE_OK;
}

static int sqlite_commit(struct mp_store *store, const struct mp_store_guard *guards,
			 size_t nguards, const struct mp_store_change *changes, size_t nchanges,
			 int64_t *ret_revision)
{
	struct sqlite *s = sqlite_of(store);
	char why[160];
	int rc = -1;

	pthread_mutex_lock(&s->lock);
	if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK) {
		rc = changes_make(s, guards, nguards, changes, nchanges, ret_revision);
		if (rc == MP_STORE_OK &&
		    sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
			rc = -1;
		/* Undoing, which some errors have done already, has a word of its own. */
		snprintf(why, sizeof(why), "%s", sqlite3_errmsg(s->db));
		if (rc != MP_STORE_OK)
			sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		else if (s->made)
			s->made(s->made_arg, changes, nchanges, *ret_revision);
	} else {
		snprintf(why, sizeof(why), "%s", sqlite3_errmsg(s->db));
	}
	if (rc < 0)
		mp_log(MP_LOG_ERROR, "store", "commit-failed", "why=\"%s\"", why);
	pthread_mutex_unlock(&s->lock);
	if (rc == MP_STORE_OK && s->changed)
		s->changed(s->changed_arg);
	return rc;
}

/* Before the store has other users. */
static void sqlite_watch(struct mp_store *store, void (*changed)(void *arg), void *arg)
{
	struct sqlite *s = sqlite_of(store);

	s->changed = changed;
	s->changed_arg = arg;
}

static void sqlite_follow(struct mp_store *store,
			  void (*made)(void *arg, const struct mp_store_change *changes, size_t n,
				       int64_t revision),
			  void *arg)
{
	struct sqlite *s = sqlite_of(store);

	pthread_mutex_lock(&s->lock);
	s->made_arg = arg;
	s->made = made;
	pthread_mutex_unlock(&s->lock);
}

static int64_t sqlite_revision(struct mp_store *store)
{
	struct sqlite *s = sqlite_of(store);
	int64_t n = 0;

	pthread_mutex_lock(&s->lock);
	if (sqlite3_step(s->last) == SQLITE_ROW)
		n = sqlite3_column_int64(s->last, 0);
	sqlite3_reset(s->last);
	pthread_mutex_unlock(&s->lock);
	return n;
}

static const struct mp_store_kind sqlite_kind = {
	.close = sqlite_close,
	.get = sqlite_get,
	.list = sqlite_list,
	.commit = sqlite_commit,
	.watch = sqlite_watch,
	.follow = sqlite_follow,
	.revision = sqlite_revision,
};

static int64_t schema_read(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

static const char schema_text[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT NOT NULL,"
	" revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1),"
	" revision INTEGER NOT NULL) STRICT;"
	"INSERT OR IGNORE INTO counter VALUES (1, 0);"
	"PRAGMA user_version = 1;"
	"COMMIT";

static bool prepare(struct sqlite *s)
{
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} all[] = {
		{&s->get, "SELECT value, revision FROM entry WHERE key = ?1"},
		{&s->list, "SELECT key, value, revision FROM entry"
			   " WHERE substr(key, 1, length(?1)) = ?1 AND key >= ?1 ORDER BY key"},
		{&s->put, "INSERT INTO entry VALUES (?1, ?2, ?3) ON CONFLICT (key)"
			  " DO UPDATE SET value = ?2, revision = ?3"},
		{&s->del, "DELETE FROM entry WHERE key = ?1"},
		{&s->last, "SELECT revision FROM counter"},
		{&s->bump, "UPDATE counter SET revision = revision + 1"},
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(all); i++)
		if (sqlite3_prepare_v3(s->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st,
				       NULL) != SQLITE_OK)
			return false;
	return true;
}

int mp_store_open_sqlite(const char *path, struct mp_store **ret_store, struct mp_fail *f)
{
	struct sqlite *s = calloc(1, sizeof(*s));
	int64_t schema;

	if (!s)
		return mp_fail_set(f, 0, "out of memory");
	s->head.kind = &sqlite_kind;
	pthread_mutex_init(&s->lock, NULL);
	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK) {
		mp_fail_set(f, 0, "cannot open the store %s: %s", path, sqlite3_errmsg(s->db));
		goto fail;
	}
	sqlite3_busy_timeout(s->db, 2000);
	sqlite3_exec(s->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL,
		     NULL);
	schema = schema_read(s->db);
	if (schema > SCHEMA) {
		mp_fail_set(f, 0, "the store %s is of a newer release (schema %lld, this one knows "
				  "%d): install that release again", path, (long long)schema, SCHEMA);
		goto fail;
	}
	if (schema < 0 ||
	    (schema == 0 && sqlite3_exec(s->db, schema_text, NULL, NULL, NULL) != SQLITE_OK) ||
	    !prepare(s)) {
		mp_fail_set(f, 0, "the store %s is unusable: %s", path, sqlite3_errmsg(s->db));
		goto fail;
	}
	*ret_store = &s->head;
	return 0;
fail:
	sqlite_close(&s->head);
	return -1;
}
