/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers and arenas: ceilings hold, failures stick, contents survive growth. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/fail.h"
#include "base/test.h"

MP_TEST(buf_grows_and_terminates)
{
	struct mp_buf b;
	int i;

	mp_buf_init(&b, 1 << 20);
	for (i = 0; i < 1000; i++)
		MP_CHECK_EQ(mp_buf_printf(&b, "%d,", i), 0);
	MP_CHECK_EQ(b.len, strlen(b.data));
	MP_CHECK(!strncmp(b.data, "0,1,2,", 6));
	mp_buf_fini(&b);
}

MP_TEST(buf_ceiling_sticks)
{
	struct mp_buf b;

	mp_buf_init(&b, 8);
	MP_CHECK_EQ(mp_buf_puts(&b, "12345678"), 0);
	MP_CHECK_EQ(mp_buf_puts(&b, "9"), -1);
	MP_CHECK_EQ(mp_buf_add(&b, "", 0), -1);
	MP_CHECK_STR(b.data, "12345678");
	mp_buf_fini(&b);
}

MP_TEST(arena_zeroes_and_refuses)
{
	struct mp_arena a;
	size_t i;
	char *p;

	mp_arena_init(&a, 100000);
	p = mp_arena_alloc(&a, 70000);
	MP_CHECK(p != NULL);
	for (i = 0; p && i < 70000; i++)
		if (p[i])
			break;
	MP_CHECK_EQ(i, 70000);
	MP_CHECK(mp_arena_alloc(&a, 70000) == NULL);
	MP_CHECK(mp_arena_array(&a, (size_t)-1, 16) == NULL);
	MP_CHECK(mp_arena_alloc(&a, (size_t)-1) == NULL);
	MP_CHECK_STR(mp_arena_strndup(&a, "abcdef", 3), "abc");
	mp_arena_fini(&a);
}

MP_TEST(fail_is_one_sentence)
{
	struct mp_fail f = {0};

	MP_CHECK_EQ(mp_fail_set(&f, 78, "port %d is taken; choose another", 1), -1);
	MP_CHECK_STR(f.text, "port 1 is taken; choose another");
	MP_CHECK_EQ(f.code, 78);
	MP_CHECK_EQ(mp_fail_set(NULL, 1, "x"), -1);
}

MP_TEST_MAIN()
