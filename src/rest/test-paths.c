/* SPDX-License-Identifier: Apache-2.0 */
/* The table of paths and its page in docs/admin/api.md say the same. */
#include "rest/rest.h"
#include "base/test.h"

MP_TEST(page_has_every_path)
{
	const char *method, *path, *text;
	char row[256], page[65536];
	enum mp_role role;
	unsigned i, lines = 0;
	size_t n;
	FILE *in = fopen(getenv("MP_TEST_PAGE") ? getenv("MP_TEST_PAGE") : "docs/admin/api.md", "r");
	char *at;

	MP_CHECK(in != NULL);
	if (!in)
		return;
	n = fread(page, 1, sizeof(page) - 1, in);
	fclose(in);
	page[n] = 0;
	for (i = 0; mp_rest_path(i, &method, &path, &role, &text); i++) {
		snprintf(row, sizeof(row), "| %s | `%s` | %s |", method, path,
			 role == MP_ROLE_COUNT ? "anyone" : mp_role_name(role));
		if (!strstr(page, row))
			printf("# missing: %s\n", row);
		MP_CHECK(strstr(page, row) != NULL);
	}
	for (at = page; (at = strstr(at, "` | ")); at++)
		lines++;
	MP_CHECK_EQ(lines, i);
}

MP_TEST_MAIN()
