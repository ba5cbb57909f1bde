/* SPDX-License-Identifier: Apache-2.0 */
/* Judging a hello frame. */
#include "pool/hello.h"

#include <string.h>

const char *mp_hello_refusal(const struct mp_hello *h)
{
	if (memcmp(h->magic, MP_HELLO_MAGIC, sizeof(h->magic)))
		return "this is Motorpool's data port, and that was no hello of its protocol";
	if (h->major != MP_PROTO_MAJOR)
		return "the client and the server speak different versions of the protocol: install "
		       "the same release on both";
	if (h->lane != MP_LANE_COMMAND && h->lane != MP_LANE_BULK)
		return "the hello names a lane that does not exist";
	return NULL;
}

void mp_hello_clean(char *comm)
{
	/* ASCII alone: it goes into JSON and onto terminals. */
	for (; *comm; comm++)
		if ((unsigned char)*comm < 32 || (unsigned char)*comm >= 127)
			*comm = '?';
}
