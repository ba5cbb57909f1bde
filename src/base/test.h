/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test harness: TAP on stdout, one line per test function.
 *
 *	MP_TEST(name) { MP_CHECK(cond); if (!root) { MP_SKIP("needs root"); return; } }
 *	MP_TEST_MAIN()
 *
 * Tests register themselves; `prog NAME...` runs only the named ones.
 */
#ifndef MP_BASE_TEST_H
#define MP_BASE_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mp_test {
	const char *name;
	void (*run)(void);
	struct mp_test *next;
};

static struct mp_test *mp_test_first, **mp_test_last = &mp_test_first;
static int mp_test_failures;
static const char *mp_test_skip;

#define MP_TEST(id)                                                                                \
	static void test_##id(void);                                                               \
	static struct mp_test mp_test_##id = {#id, test_##id, NULL};                               \
	__attribute__((constructor)) static void mp_test_add_##id(void)                            \
	{                                                                                          \
		*mp_test_last = &mp_test_##id;                                                     \
		mp_test_last = &mp_test_##id.next;                                                 \
	}                                                                                          \
	static void test_##id(void)

#define MP_CHECK(cond)                                                                             \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);                        \
			mp_test_failures++;                                                        \
		}                                                                                  \
	} while (0)

#define MP_CHECK_EQ(a, b)                                                                          \
	do {                                                                                       \
		long long mp_a = (long long)(a), mp_b = (long long)(b);                            \
		if (mp_a != mp_b) {                                                                \
			printf("# %s:%d: %s = %lld (0x%llx), expected %s = %lld (0x%llx)\n",       \
			       __FILE__, __LINE__, #a, mp_a, mp_a, #b, mp_b, mp_b);                \
			mp_test_failures++;                                                        \
		}                                                                                  \
	} while (0)

#define MP_CHECK_STR(a, b)                                                                         \
	do {                                                                                       \
		const char *mp_a = (a), *mp_b = (b);                                               \
		if (!mp_a || !mp_b || strcmp(mp_a, mp_b)) {                                        \
			printf("# %s:%d: %s = \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #a,  \
			       mp_a ? mp_a : "(null)", mp_b ? mp_b : "(null)");                    \
			mp_test_failures++;                                                        \
		}                                                                                  \
	} while (0)

#define MP_SKIP(why) (mp_test_skip = (why))

static int mp_test_run(int argc, char **argv)
{
	int n = 0, total = 0, bad = 0;
	struct mp_test *t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (t = mp_test_first; t; t = t->next)
		total++;
	for (t = mp_test_first; t; t = t->next) {
		int i, wanted = argc < 2;

		for (i = 1; i < argc; i++)
			wanted |= !strcmp(argv[i], t->name);
		if (!wanted)
			continue;
		mp_test_failures = 0;
		mp_test_skip = NULL;
		t->run();
		printf("%s %d - %s%s%s\n", mp_test_failures ? "not ok" : "ok", ++n, t->name,
		       mp_test_skip ? " # SKIP " : "", mp_test_skip ? mp_test_skip : "");
		bad += !!mp_test_failures;
	}
	printf("1..%d\n", n);
	return bad ? 1 : 0;
}

#define MP_TEST_MAIN()                                                                             \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return mp_test_run(argc, argv);                                                    \
	}

#endif
