/* SPDX-License-Identifier: Apache-2.0 */
/* Guards hold, transactions are whole, and a file is found again. */
#include "store/store.h"
#include "base/check.h"
#include "base/test.h"

#include <pthread.h>
#include <unistd.h>

static struct mp_store *open_at(const char *path)
{
	struct mp_store *s = NULL;
	struct mp_fail f = {0};

	if (mp_store_open_sqlite(path, &s, &f) < 0)
		printf("# %s\n", f.text);
	MP_CHECK(s != NULL);
	return s;
}

static int count(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)value, (void)revision;
	++*(int *)arg;
	return 0;
}

MP_TEST(guards_hold)
{
	struct mp_store *s = open_at(":memory:");
	struct mp_store_guard absent = {"/a", 0}, at;
	struct mp_store_change two[] = {{"/a", "1"}, {"/b", "2"}}, gone = {"/a", NULL};
	int64_t r1, r2;
	char *value;
	int n = 0;

	MP_CHECK_EQ(mp_store_commit(s, &absent, 1, two, 2, &r1), MP_STORE_OK);
	MP_CHECK_EQ(mp_store_commit(s, &absent, 1, two, 2, &r2), MP_STORE_CONFLICT);
	at.key = "/a";
	at.revision = r1;
	two[0].value = "3";
	two[1].value = NULL;
	MP_CHECK_EQ(mp_store_commit(s, &at, 1, two, 2, &r2), MP_STORE_OK);
	MP_CHECK(r2 > r1);
	MP_CHECK_EQ(mp_store_commit(s, &at, 1, two, 2, NULL), MP_STORE_CONFLICT);
	MP_CHECK_EQ(mp_store_get(s, "/a", &value, &r1), MP_STORE_OK);
	MP_CHECK_STR(value, "3");
	MP_CHECK_EQ(r1, r2);
	free(value);
	MP_CHECK_EQ(mp_store_get(s, "/b", &value, &r1), MP_STORE_NONE);
	MP_CHECK_EQ(mp_store_put(s, "/leases/x", "1"), 0);
	MP_CHECK_EQ(mp_store_put(s, "/leases/y_%", "1"), 0);
	MP_CHECK_EQ(mp_store_put(s, "/leasesz", "1"), 0);
	MP_CHECK_EQ(mp_store_list(s, "/leases/", count, &n), 0);
	MP_CHECK_EQ(n, 2);
	MP_CHECK_EQ(mp_store_commit(s, NULL, 0, &gone, 1, NULL), 0);
	MP_CHECK_EQ(mp_store_get(s, "/a", &value, &r1), MP_STORE_NONE);
	mp_store_break(s, 0);
	MP_CHECK(mp_store_put(s, "/a", "1") < 0);
	MP_CHECK(mp_store_get(s, "/a", &value, &r1) < 0);
	mp_store_break(s, -1);
	MP_CHECK_EQ(mp_store_put(s, "/a", "1"), 0);
	mp_store_close(s);
}

MP_TEST(file_is_found_again)
{
	char dir[] = "/tmp/mp-store-XXXXXX", path[64], wal[80];
	struct mp_store *s;
	int64_t r;
	char *value;

	MP_CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/store.db", dir);
	s = open_at(path);
	MP_CHECK_EQ(mp_store_put(s, "/a", "kept"), 0);
	mp_store_close(s);
	s = open_at(path);
	MP_CHECK_EQ(mp_store_get(s, "/a", &value, &r), 0);
	MP_CHECK_STR(value, "kept");
	free(value);
	mp_store_close(s);
	unlink(path);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	unlink(wal);
	snprintf(wal, sizeof(wal), "%s-shm", path);
	unlink(wal);
	MP_CHECK_EQ(rmdir(dir), 0);
}

/* Eight threads raise one number under guard: no raise is lost. */
static void *raise_number(void *arg)
{
	struct mp_store *s = arg;
	struct mp_store_guard g = {"/n", 0};
	struct mp_store_change c = {"/n", NULL};
	char text[16], *value;
	int i;

	for (i = 0; i < 100;) {
		MP_CHECK_EQ(mp_store_get(s, "/n", &value, &g.revision), 0);
		snprintf(text, sizeof(text), "%d", atoi(value) + 1);
		free(value);
		c.value = text;
		i += mp_store_commit(s, &g, 1, &c, 1, NULL) == MP_STORE_OK;
	}
	return NULL;
}

MP_TEST(guarded_raise_loses_nothing)
{
	struct mp_store *s = open_at(":memory:");
	pthread_t t[8];
	int64_t r;
	char *value;
	size_t i;

	MP_CHECK_EQ(mp_store_put(s, "/n", "0"), 0);
	for (i = 0; i < MP_ARRAY_LEN(t); i++)
		MP_CHECK_EQ(pthread_create(&t[i], NULL, raise_number, s), 0);
	for (i = 0; i < MP_ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	MP_CHECK_EQ(mp_store_get(s, "/n", &value, &r), 0);
	MP_CHECK_STR(value, "800");
	free(value);
	mp_store_close(s);
}

MP_TEST(front_exchanges)
{
	struct mp_store *front = NULL, *one = open_at(":memory:"), *two = open_at(":memory:");
	struct mp_fail f = {0};
	int64_t revision;
	char *value;

	MP_CHECK_EQ(mp_store_open_front(one, &front, &f), 0);
	MP_CHECK_EQ(mp_store_put(front, "/a", "1"), 0);
	MP_CHECK_EQ(mp_store_put(two, "/a", "2"), 0);
	MP_CHECK(mp_store_switch(front, two) == one);
	MP_CHECK_EQ(mp_store_get(front, "/a", &value, &revision), 0);
	MP_CHECK_STR(value, "2");
	free(value);
	MP_CHECK(mp_store_writable(front));
	mp_store_close(one);
	mp_store_close(front);
}

MP_TEST_MAIN()
