/* SPDX-License-Identifier: Apache-2.0 */
/* Fractions, sizes, durations; and bundles that are not ones. */
#include "client/client.h"
#include "base/test.h"

#include <sys/stat.h>
#include <unistd.h>

MP_TEST(fractions)
{
	uint32_t m;

	MP_CHECK(mp_fraction_parse("0.5", &m));
	MP_CHECK_EQ(m, 500000);
	MP_CHECK(mp_fraction_parse("50%", &m));
	MP_CHECK_EQ(m, 500000);
	MP_CHECK(mp_fraction_parse("0.3", &m));
	MP_CHECK_EQ(m, 300000);
	MP_CHECK(mp_fraction_parse("0.3333333", &m));
	MP_CHECK_EQ(m, 333334);
	MP_CHECK(mp_fraction_parse("1", &m));
	MP_CHECK_EQ(m, 1000000);
	MP_CHECK(!mp_fraction_parse("1.1", &m));
	MP_CHECK(!mp_fraction_parse("0", &m));
	MP_CHECK(!mp_fraction_parse("-1", &m));
	MP_CHECK(!mp_fraction_parse("", &m));
	MP_CHECK(!mp_fraction_parse("nan", &m));
	MP_CHECK(!mp_fraction_parse("0.5x", &m));
	MP_CHECK(!mp_fraction_parse(".", &m));
}

MP_TEST(sizes)
{
	uint64_t b;

	MP_CHECK(mp_size_parse("2048", &b));
	MP_CHECK_EQ(b, 2048ull << 20);
	MP_CHECK(mp_size_parse("1.5GiB", &b));
	MP_CHECK_EQ(b, 1536ull << 20);
	MP_CHECK(mp_size_parse("2g", &b));
	MP_CHECK_EQ(b, 2ull << 30);
	MP_CHECK(mp_size_parse("17B", &b));
	MP_CHECK_EQ(b, 17);
	MP_CHECK(mp_size_parse("1GB", &b));
	MP_CHECK_EQ(b, 1000000000);
	MP_CHECK(!mp_size_parse("0", &b));
	MP_CHECK(!mp_size_parse("1X", &b));
	MP_CHECK(!mp_size_parse("-5", &b));
	MP_CHECK(!mp_size_parse("99999999999T", &b));
}

MP_TEST(durations)
{
	int64_t s;

	MP_CHECK(mp_duration_parse("90", &s));
	MP_CHECK_EQ(s, 90);
	MP_CHECK(mp_duration_parse("30m", &s));
	MP_CHECK_EQ(s, 1800);
	MP_CHECK(mp_duration_parse("1h30m", &s));
	MP_CHECK_EQ(s, 5400);
	MP_CHECK(mp_duration_parse("0", &s));
	MP_CHECK_EQ(s, 0);
	MP_CHECK(!mp_duration_parse("", &s));
	MP_CHECK(!mp_duration_parse("1h5", &s));
	MP_CHECK(!mp_duration_parse("5w", &s));
	MP_CHECK(!mp_duration_parse("99999999999", &s));
}

static void file_put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	out = fopen(path, "w");
	MP_CHECK(out != NULL);
	if (!out)
		return;
	fputs(text, out);
	fclose(out);
	chmod(path, mode);
}

static int file_drop(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return unlink(path);
}

MP_TEST(bundles)
{
	char dir[] = "/tmp/mp-bundle-XXXXXX";
	struct mp_bundle b;
	struct mp_fail f;

	MP_CHECK(mkdtemp(dir) != NULL);
	MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), -1);
	MP_CHECK_EQ(f.code, MP_CODE_CONFIG);
	file_put(dir, "token", "mpt_x\n", 0600);
	MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), -1);
	file_put(dir, "ca.crt", "x", 0644);
	file_put(dir, "servers", "# none\n", 0644);
	MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), -1);
	MP_CHECK(strstr(f.text, "names no server") != NULL);
	file_put(dir, "servers", "# seeds\n 10.0.0.1:56001 # first\n\nhost:1\n", 0644);
	MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), 0);
	MP_CHECK_EQ(b.nservers, 2);
	MP_CHECK_STR(b.servers[0], "10.0.0.1:56001");
	MP_CHECK_STR(b.token, "mpt_x");
	mp_bundle_close(&b);
	file_put(dir, "servers", "nonsense\n", 0644);
	MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), -1);
	if (getuid()) {
		file_put(dir, "token", "mpt_x\n", 0644);
		MP_CHECK_EQ(mp_bundle_open(dir, &b, &f), -1);
		MP_CHECK(strstr(f.text, "chmod 600") != NULL);
	}
	file_put(dir, "token", "", 0600);
	MP_CHECK_EQ(file_drop(dir, "token") | file_drop(dir, "ca.crt") | file_drop(dir, "servers"), 0);
	MP_CHECK_EQ(rmdir(dir), 0);
}

MP_TEST_MAIN()
