/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 against the examples that NIST publishes with FIPS 180, and against its own pieces. */
#include "base/sha256.h"

#include "base/test.h"

static void hex(const uint8_t d[32], char out[65])
{
	int i;

	for (i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", d[i]);
}

static void check(const char *text, const char *want)
{
	uint8_t d[32];
	char got[65];

	mp_sha256(text, strlen(text), d);
	hex(d, got);
	MP_CHECK_STR(got, want);
}

MP_TEST(vectors)
{
	check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	check("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
	      "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
	      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

MP_TEST(million_a)
{
	struct mp_sha256 s;
	char block[1000], got[65];
	uint8_t d[32];
	int i;

	memset(block, 'a', sizeof(block));
	mp_sha256_init(&s);
	for (i = 0; i < 1000; i++)
		mp_sha256_add(&s, block, sizeof(block));
	mp_sha256_done(&s, d);
	hex(d, got);
	MP_CHECK_STR(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

MP_TEST(any_pieces)
{
	uint8_t data[300], whole[32], parts[32];
	struct mp_sha256 s;
	size_t n, cut;

	for (n = 0; n < sizeof(data); n++)
		data[n] = (uint8_t)(n * 37);
	for (n = 0; n < sizeof(data); n += 7) {
		mp_sha256(data, n, whole);
		for (cut = 0; cut <= n; cut += 5) {
			mp_sha256_init(&s);
			mp_sha256_add(&s, data, cut);
			mp_sha256_add(&s, data + cut, n - cut);
			mp_sha256_done(&s, parts);
			MP_CHECK(!memcmp(whole, parts, sizeof(whole)));
		}
	}
}

MP_TEST_MAIN()
