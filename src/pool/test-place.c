/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: fractions, minimums, whole devices, models, and sentences when nothing fits. */
#include "pool/state.h"
#include "base/test.h"

#define GIB (1ull << 30)

static struct device devices[4];
static bool mixed; /* what place() passes */

static void device_set(unsigned i, const char *name, uint64_t memory, uint64_t charged)
{
	memset(&devices[i], 0, sizeof(devices[i]));
	devices[i].index = i;
	snprintf(devices[i].name, sizeof(devices[i].name), "%s", name);
	devices[i].memory = memory;
	devices[i].charged = charged;
	devices[i].leases = charged ? 1 : 0;
}

static int place(unsigned ndev, unsigned n, uint32_t fraction, uint64_t bytes, bool spread,
		 struct placement *at, struct mp_fail *f)
{
	struct mp_want w = {n, fraction, bytes};

	f->text[0] = 0;
	return mp_place(devices, ndev, &w, spread, mixed, "s1", at, f);
}

MP_TEST(halves)
{
	struct placement at;
	struct mp_fail f;

	device_set(0, "A", 16 * GIB, 0);
	device_set(1, "A", 16 * GIB, 8 * GIB);
	MP_CHECK_EQ(place(2, 1, 500000, 0, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 8 * GIB);
	MP_CHECK_EQ(at.device[0], 1); /* packed */
	MP_CHECK_EQ(place(2, 1, 500000, 0, true, &at, &f), 0);
	MP_CHECK_EQ(at.device[0], 0); /* spread */
	MP_CHECK_EQ(place(2, 2, 500000, 0, false, &at, &f), 0);
	MP_CHECK_EQ(place(2, 2, 750000, 0, false, &at, &f), -1);
	MP_CHECK_EQ(f.code, MP_CODE_BUSY);
	MP_CHECK_STR(f.text, "nothing fits now: 2 devices with 12 GiB free wanted; nearest is s1 "
			     "with 1 such, and 16 GiB free on device 0 (A)");
	MP_CHECK_EQ(place(2, 3, 500000, 0, false, &at, &f), -1);
	MP_CHECK_EQ(f.code, MP_CODE_NEVER);
	MP_CHECK_EQ(place(2, 1, 0, 17 * GIB, false, &at, &f), -1);
	MP_CHECK_EQ(f.code, MP_CODE_NEVER);
	MP_CHECK(strstr(f.text, "17 GiB") && strstr(f.text, "16 GiB"));
}

MP_TEST(pieces_fill_a_device)
{
	struct placement at;
	struct mp_fail f;
	int i;

	/* Any fraction, as often as it goes in, never passes the device. */
	device_set(0, "A", 16 * GIB + 12345, 0);
	for (i = 0; place(1, 1, 333333, 0, false, &at, &f) == 0; i++) {
		devices[0].charged += at.bytes;
		devices[0].leases++;
	}
	MP_CHECK_EQ(i, 3);
	MP_CHECK(devices[0].charged <= devices[0].memory);
	device_set(0, "A", 16 * GIB, 0);
	MP_CHECK_EQ(place(1, 1, 1, 0, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 2ull << 20);
	MP_CHECK_EQ(place(1, 1, 250000, 6 * GIB, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 6 * GIB); /* a fraction with a minimum */
	MP_CHECK_EQ(place(1, 1, 500000, 6 * GIB, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 8 * GIB);
}

MP_TEST(whole_is_exclusive)
{
	struct placement at;
	struct mp_fail f;

	device_set(0, "A", 16 * GIB, 1 * GIB);
	device_set(1, "A", 16 * GIB, 0);
	MP_CHECK_EQ(place(2, 1, 0, 0, false, &at, &f), 0);
	MP_CHECK(at.whole);
	MP_CHECK_EQ(at.device[0], 1);
	MP_CHECK_EQ(at.bytes, 16 * GIB);
	devices[1].exclusive = true;
	devices[1].leases = 1;
	MP_CHECK_EQ(place(2, 1, 0, 0, false, &at, &f), -1);
	MP_CHECK_STR(f.text, "nothing fits now: 1 whole device is wanted; nearest is s1 with 0 of 2 "
			     "unused");
	MP_CHECK_EQ(place(2, 1, 0, 1 * GIB, false, &at, &f), 0);
	MP_CHECK_EQ(at.device[0], 0);
}

MP_TEST(models)
{
	struct placement at;
	struct mp_fail f;

	device_set(0, "A", 16 * GIB, 0);
	device_set(1, "B", 32 * GIB, 0);
	device_set(2, "A", 16 * GIB, 0);
	MP_CHECK_EQ(place(3, 2, 0, 4 * GIB, false, &at, &f), 0);
	MP_CHECK_EQ(at.device[0], 0);
	MP_CHECK_EQ(at.device[1], 2);
	/* Three need both models; the fraction is of the smallest. */
	MP_CHECK_EQ(place(3, 3, 500000, 0, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 8 * GIB);
	/* Whole devices of mixed models: not without a filter. */
	MP_CHECK_EQ(place(3, 3, 0, 0, false, &at, &f), -1);
	mixed = true;
	MP_CHECK_EQ(place(3, 3, 0, 0, false, &at, &f), 0);
	MP_CHECK_EQ(at.bytes, 16 * GIB); /* each shows the smallest's memory */
	mixed = false;
	MP_CHECK_EQ(place(3, 1, 0, 20 * GIB, false, &at, &f), 0);
	MP_CHECK_EQ(at.device[0], 1);
}

MP_TEST_MAIN()
