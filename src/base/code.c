/* SPDX-License-Identifier: Apache-2.0 */
/* The table of failure words, HTTP statuses and exit codes. */
#include "base/code.h"
#include "base/check.h"

#include <string.h>

static const struct mp_code_row table[MP_CODE_COUNT] = {
	[MP_CODE_OK] = {"ok", 200, 0, "all went well; `run` returns the program's own status"},
	[MP_CODE_FAILED] = {"failed", 500, 125, "Motorpool itself failed"},
	[MP_CODE_USAGE] = {"usage", 400, 2, "the command line or the request makes no sense"},
	[MP_CODE_NOT_FOUND] = {"not-found", 404, 66, "no such lease, token, client or server"},
	[MP_CODE_UNREACHABLE] = {"unreachable", 0, 69, "no server could be reached"},
	[MP_CODE_BUSY] = {"busy", 409, 75, "nothing fits now (with --timeout 0)"},
	[MP_CODE_TOKEN] = {"token-refused", 401, 77, "the token is missing, unknown or wrong"},
	[MP_CODE_CONFIG] = {"configuration", 0, 78, "no pool configured, or a bad configuration"},
	[MP_CODE_EXPIRED] = {"token-expired", 401, 79, "the token has expired"},
	[MP_CODE_REVOKED] = {"token-revoked", 401, 80, "the token was revoked"},
	[MP_CODE_INACTIVE] = {"token-inactive", 403, 81, "the token or its client is deactivated"},
	[MP_CODE_LIMIT] = {"over-limit", 403, 82, "over the limit of the client or of the pool"},
	[MP_CODE_FORBIDDEN] = {"forbidden", 403, 83, "the token's role does not allow this"},
	[MP_CODE_NEVER] = {"never-fits", 422, 84, "more than any server of the pool has"},
	[MP_CODE_QUORUM] = {"no-quorum", 503, 85, "the pool's store cannot be written now"},
	[MP_CODE_ELSEWHERE] = {"elsewhere", 421, 125, "another server has it (commands follow by themselves)"},
	[MP_CODE_LOST] = {"server-lost", 410, 87, "the server that has the lease is lost"},
	[MP_CODE_UNHEALTHY] = {"unhealthy", 0, 86, "a check of `health` failed"},
	[MP_CODE_TIMEOUT] = {"timed-out", 0, 124, "waited as long as --timeout allows"},
	[MP_CODE_NOT_EXECUTABLE] = {"not-executable", 0, 126, "the program cannot be executed"},
	[MP_CODE_NO_PROGRAM] = {"no-program", 0, 127, "the program was not found"},
};

const struct mp_code_row *mp_code_row(enum mp_code code)
{
	assert(code < MP_CODE_COUNT);
	return &table[code];
}

enum mp_code mp_code_find(const char *word)
{
	int i;

	for (i = 0; word && i < MP_CODE_COUNT; i++)
		if (!strcmp(table[i].word, word))
			return (enum mp_code)i;
	return MP_CODE_FAILED;
}
