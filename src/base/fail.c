/* SPDX-License-Identifier: Apache-2.0 */
/* The sentence of a failure: formatted once, where the failure is understood. */
#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>

int mp_fail_set(struct mp_fail *f, int code, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return -1;
	f->code = code;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return -1;
}
