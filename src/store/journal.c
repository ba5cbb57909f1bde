/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal, a table in SQLite.  Synchronous NORMAL: a crash of the machine
 * may lose its last second, never the file.
 */
#include "store/journal.h"
#include "base/check.h"
#include "base/log.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>

struct mp_journal {
	sqlite3 *db;
	pthread_mutex_t lock;
	sqlite3_stmt *add, *list, *trim MP_GUARDED_BY(lock);
};

void mp_journal_close(struct mp_journal *own_journal)
{
	struct mp_journal *j = own_journal;

	if (!j)
		return;
	sqlite3_finalize(j->add);
	sqlite3_finalize(j->list);
	sqlite3_finalize(j->trim);
	sqlite3_close(j->db);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

static bool prepare(struct mp_journal *j)
{
	static const char text[] =
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
		"CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
		" time INTEGER NOT NULL, data TEXT NOT NULL) STRICT;"
		"CREATE INDEX IF NOT EXISTS event_by_kind ON event (kind, time)";

	return sqlite3_exec(j->db, text, NULL, NULL, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v3(j->db, "INSERT INTO event (kind, time, data) VALUES (?1, ?2, ?3)",
				  -1, SQLITE_PREPARE_PERSISTENT, &j->add, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v3(j->db,
				  "SELECT time, data FROM event WHERE kind = ?1 AND time >= ?2"
				  " ORDER BY seq DESC LIMIT ?3",
				  -1, SQLITE_PREPARE_PERSISTENT, &j->list, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v3(j->db, "DELETE FROM event WHERE time < ?1", -1,
				  SQLITE_PREPARE_PERSISTENT, &j->trim, NULL) == SQLITE_OK;
}

int mp_journal_open(const char *path, struct mp_journal **ret_journal, struct mp_fail *f)
{
	struct mp_journal *j = calloc(1, sizeof(*j));

	if (!j)
		return mp_fail_set(f, 0, "out of memory");
	pthread_mutex_init(&j->lock, NULL);
	if (sqlite3_open_v2(path, &j->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK || !prepare(j)) {
		mp_fail_set(f, 0, "the journal %s is unusable: %s", path, sqlite3_errmsg(j->db));
		mp_journal_close(j);
		return -1;
	}
	*ret_journal = j;
	return 0;
}

void mp_journal_add(struct mp_journal *j, const char *kind, int64_t time, const char *data)
{
	pthread_mutex_lock(&j->lock);
	sqlite3_bind_text(j->add, 1, kind, -1, SQLITE_STATIC);
	sqlite3_bind_int64(j->add, 2, time);
	sqlite3_bind_text(j->add, 3, data, -1, SQLITE_STATIC);
	if (sqlite3_step(j->add) != SQLITE_DONE)
		mp_log(MP_LOG_ERROR, "store", "journal", "why=\"%s\"", sqlite3_errmsg(j->db));
	sqlite3_reset(j->add);
	pthread_mutex_unlock(&j->lock);
}

int mp_journal_list(struct mp_journal *j, const char *kind, int64_t since, int64_t limit,
		    int (*each)(void *arg, int64_t time, const char *data), void *arg)
{
	int rc;

	pthread_mutex_lock(&j->lock);
	sqlite3_bind_text(j->list, 1, kind, -1, SQLITE_STATIC);
	sqlite3_bind_int64(j->list, 2, since);
	sqlite3_bind_int64(j->list, 3, limit);
	while ((rc = sqlite3_step(j->list)) == SQLITE_ROW)
		if (each(arg, sqlite3_column_int64(j->list, 0),
			 (const char *)sqlite3_column_text(j->list, 1)))
			break;
	sqlite3_reset(j->list);
	pthread_mutex_unlock(&j->lock);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

void mp_journal_trim(struct mp_journal *j, int64_t before)
{
	pthread_mutex_lock(&j->lock);
	sqlite3_bind_int64(j->trim, 1, before);
	if (sqlite3_step(j->trim) != SQLITE_DONE)
		mp_log(MP_LOG_ERROR, "store", "journal", "why=\"%s\"", sqlite3_errmsg(j->db));
	sqlite3_reset(j->trim);
	pthread_mutex_unlock(&j->lock);
}
