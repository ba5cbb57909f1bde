/* SPDX-License-Identifier: Apache-2.0 */
/* Spinning is given up where it does not pay, tried again now and then, and taken up where it does. */
#include "base/spin.h"
#include "base/test.h"

/* How many of n waits spin, each of them in vain. */
static unsigned in_vain(struct mp_spin *s, unsigned n)
{
	unsigned spins = 0, i;

	for (i = 0; i < n; i++)
		if (mp_spin_may(s)) {
			spins++;
			mp_spin_over(s, false);
		}
	return spins;
}

MP_TEST(vain_spins_become_rare)
{
	struct mp_spin s = {0};

	MP_CHECK_EQ(in_vain(&s, 3), 1); /* and two that do not */
	MP_CHECK_EQ(in_vain(&s, 5), 1); /* and four */
	in_vain(&s, 1000);
	MP_CHECK(in_vain(&s, 1290) <= 10);
	MP_CHECK(in_vain(&s, 1290) >= 9); /* but never given up for good */
}

MP_TEST(one_that_pays_brings_all_back)
{
	struct mp_spin s = {0};
	unsigned i;

	in_vain(&s, 1000);
	while (!mp_spin_may(&s))
		;
	mp_spin_over(&s, true);
	for (i = 0; i < 100; i++) {
		MP_CHECK(mp_spin_may(&s));
		mp_spin_over(&s, true);
	}
}

MP_TEST_MAIN()
