/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: a table of texts, and whether a certain device passes. */
#include "pool/filter.h"
#include "base/check.h"
#include "base/test.h"

static const struct mp_filter_facts facts = {
	.address = "10.1.2.3", .hostname = "gpu-07.example", .cuda_version = "12.4",
	.driver_version = "550.54.15", .uuid = "GPU-aaaa", .name = "Tesla V100-SXM2",
	.capability = "7.0", .index = 1, .memory = 16ull << 30,
};

static const struct {
	const char *text; /* filters, parted by | */
	int expect;	  /* 1 passes, 0 does not, -1 is no filter */
} rows[] = {
	{"device.name=tesla", 1},
	{"device.name=V100", 1},
	{"device.name=A100", 0},
	{"device.name!=A100", 1},
	{"device.name=Tesla*", 1},
	{"device.name=V100*", 0}, /* a glob is for the whole */
	{"device.name=A100|device.name=V100", 1},
	{"device.name=V100|device.memory>16GiB", 0},
	{"device.name=V100|device.memory>=16GiB", 1},
	{"device.memory>=16384", 1},
	{"device.phy-memory:ge:16384", 1},
	{"device.memory:lt:16384", 0},
	{"device.memory > 8GiB", 1},
	{"device.capability>=7.0", 1},
	{"device.capability>7", 0},
	{"device.capability<10.0", 1}, /* not as text */
	{"device.id=1", 1},
	{"device.id=gpu-AAAA", 1},
	{"device.id!=1", 0},
	{"server.hostname=gpu-07", 1},
	{"server.hostname=gpu-0[1-5]*", 0},
	{"server.addr=10.1.2.3", 1},
	{"server.addr=10.1.0.0/16", 1},
	{"server.addr=10.2.0.0/16", 0},
	{"server.addr=0.0.0.0/0", 1},
	{"server.addr=10.1.2.1-10.1.2.9", 1},
	{"server.addr!=10.1.2.1-10.1.2.9", 0},
	{"server.addr=fd00::/8", 0},
	{"server.has-rdma=false", 1},
	{"server.has-rdma=true", 0},
	{"server.cuda-version>=12.2", 1},
	{"server.cuda-version>12.4", 0},
	{"server.driver-version>=535", 1},
	{"device.memory", -1},
	{"device.memory=", -1},
	{"device.memory=abc", -1},
	{"device.name>V100", -1},
	{"device.colour=red", -1},
	{"server.addr=10.0.0.0/33", -1},
	{"server.addr=10.0.0.9-10.0.0.1", -1},
	{"server.has-rdma=maybe", -1},
	{"=", -1},
	{"", -1},
};

MP_TEST(table)
{
	struct mp_filters set;
	struct mp_fail f;
	char copy[256], *save, *one;
	size_t i;
	int got;

	for (i = 0; i < MP_ARRAY_LEN(rows); i++) {
		set.n = 0;
		got = 0;
		snprintf(copy, sizeof(copy), "%s", rows[i].text);
		one = *copy ? strtok_r(copy, "|", &save) : copy;
		for (; one && !got; one = *copy ? strtok_r(NULL, "|", &save) : NULL)
			got = mp_filter_parse(&set, one, &f);
		if (!got)
			got = mp_filter_match(&set, &facts);
		if (got != rows[i].expect)
			printf("# %s: %d, expected %d\n", rows[i].text, got, rows[i].expect);
		MP_CHECK_EQ(got, rows[i].expect);
	}
}

MP_TEST(sentences)
{
	struct mp_filters set = {0};
	struct mp_fail f;

	MP_CHECK_EQ(mp_filter_parse(&set, "device.memory", &f), -1);
	MP_CHECK(strstr(f.text, "quote it") != NULL);
	MP_CHECK_EQ(mp_filter_parse(&set, "a.b=c", &f), -1);
	MP_CHECK(strstr(f.text, "device.capability") != NULL);
}

MP_TEST_MAIN()
