/* SPDX-License-Identifier: Apache-2.0 */
/* What comes twice, late or out of order leaves the copy as the latest revision says. */
#include "store/copy.h"
#include "base/test.h"

#include <stdlib.h>

static void put(struct mp_copy *c, const char *key, const char *value, int64_t revision)
{
	struct mp_copy_change ch = {key, value, revision};

	MP_CHECK_EQ(mp_copy_apply(c, &ch, 1, 0), 0);
}

static const char *get(struct mp_copy *c, const char *key)
{
	static char text[64];
	int64_t revision;
	char *value = NULL;

	if (mp_copy_get(c, key, &value, &revision))
		return "-";
	snprintf(text, sizeof(text), "%s@%lld", value, (long long)revision);
	free(value);
	return text;
}

static int count(void *arg, const char *key, const char *value, int64_t revision)
{
	(void)key, (void)value, (void)revision;
	++*(int *)arg;
	return 0;
}

MP_TEST(latest_counts)
{
	struct mp_copy c;

	MP_CHECK_EQ(mp_copy_init(&c), 0);
	put(&c, "/a", "new", 7);
	put(&c, "/a", "old", 5);
	MP_CHECK_STR(get(&c, "/a"), "new@7");
	put(&c, "/a", NULL, 9);
	MP_CHECK_STR(get(&c, "/a"), "-");
	put(&c, "/a", "late", 8);
	MP_CHECK_STR(get(&c, "/a"), "-");
	MP_CHECK_EQ(c.n, 1);
	MP_CHECK_EQ(mp_copy_apply(&c, NULL, 0, 9), 0);
	MP_CHECK_EQ(c.n, 0);
	put(&c, "/a", "again", 10);
	MP_CHECK_STR(get(&c, "/a"), "again@10");
	mp_copy_fini(&c);
}

MP_TEST(reload_removes)
{
	struct mp_copy_change now[] = {{"/x/b", "2", 4}, {"/x/d", "4", 6}};
	struct mp_copy c;
	int n = 0;

	MP_CHECK_EQ(mp_copy_init(&c), 0);
	put(&c, "/x/a", "1", 3);
	put(&c, "/x/b", "2", 4);
	put(&c, "/x/c", "3", 9); /* newer than the listing: not in it, yet there */
	put(&c, "/y", "5", 2);
	MP_CHECK_EQ(mp_copy_reload(&c, "/x/", now, 2, 7), 0);
	mp_copy_list(&c, "/x/", count, &n);
	MP_CHECK_EQ(n, 3);
	MP_CHECK_STR(get(&c, "/x/a"), "-");
	MP_CHECK_STR(get(&c, "/x/c"), "3@9");
	MP_CHECK_STR(get(&c, "/x/d"), "4@6");
	MP_CHECK_STR(get(&c, "/y"), "5@2");
	MP_CHECK(mp_copy_wait(&c, "/y", 2, 0));
	MP_CHECK(!mp_copy_wait(&c, "/y", 3, 20));
	MP_CHECK(mp_copy_wait(&c, "/none", 0, 0));
	mp_copy_fini(&c);
}

MP_TEST_MAIN()
