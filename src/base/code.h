/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a request failed: one table of words, HTTP statuses and exit codes.
 *
 * The API answers the word and the status, the command exits with the code, and
 * the manual prints the table.  A new reason is a new row here, nowhere else.
 */
#ifndef MP_BASE_CODE_H
#define MP_BASE_CODE_H

enum mp_code {
	MP_CODE_OK,
	MP_CODE_FAILED,		/* Motorpool itself failed */
	MP_CODE_USAGE,		/* the command line or the request makes no sense */
	MP_CODE_NOT_FOUND,	/* no such lease, token, client */
	MP_CODE_UNREACHABLE,	/* no server of the bundle answers */
	MP_CODE_BUSY,		/* nothing fits now */
	MP_CODE_TOKEN,		/* token missing, unknown or wrong */
	MP_CODE_CONFIG,		/* configuration or bundle */
	MP_CODE_EXPIRED,	/* token expired */
	MP_CODE_REVOKED,	/* token revoked */
	MP_CODE_INACTIVE,	/* token deactivated, client disabled */
	MP_CODE_LIMIT,		/* over the client's or the pool's limit */
	MP_CODE_FORBIDDEN,	/* the token's role does not allow it */
	MP_CODE_NEVER,		/* more than any server of the pool has */
	MP_CODE_QUORUM,		/* the store has lost its majority */
	MP_CODE_ELSEWHERE,	/* another server must be asked; the answer names it */
	MP_CODE_LOST,		/* the server that has it is lost */
	MP_CODE_UNHEALTHY,	/* health: a check failed */
	MP_CODE_TIMEOUT,	/* waited as long as was asked */
	MP_CODE_NOT_EXECUTABLE, /* run: the program is not executable */
	MP_CODE_NO_PROGRAM,	/* run: the program was not found */
	MP_CODE_COUNT
};

struct mp_code_row {
	const char *word; /* in the API's answers */
	int http;	  /* status of the API's answer; 0: never an answer */
	int exit;
	const char *text; /* for the manual */
};

const struct mp_code_row *mp_code_row(enum mp_code code);
/* The code of an API answer's word; MP_CODE_FAILED for a word that is not known. */
enum mp_code mp_code_find(const char *word);

#endif
