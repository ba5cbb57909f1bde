/* SPDX-License-Identifier: Apache-2.0 */
/* Fractions, sizes and durations as people write them. */
#include "base/words.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A plain decimal number; no exponents, signs, hexadecimal or "inf". */
static bool decimal_parse(const char *text, double *ret, const char **ret_end)
{
	size_t n = strspn(text, "0123456789."), dots = 0, i;
	char copy[32];

	for (i = 0; i < n; i++)
		dots += text[i] == '.';
	if (!n || n >= sizeof(copy) || dots > 1 || n == dots)
		return false;
	memcpy(copy, text, n);
	copy[n] = 0;
	*ret = strtod(copy, NULL);
	*ret_end = text + n;
	return true;
}

bool mp_fraction_parse(const char *text, uint32_t *ret_millionths)
{
	const char *end;
	double v;

	if (!decimal_parse(text, &v, &end))
		return false;
	if (!strcmp(end, "%"))
		v /= 100;
	else if (*end)
		return false;
	if (v <= 0 || v > 1)
		return false;
	/* Rounded up, but 0.3 is not 300001 for being 0.30000000000000004. */
	*ret_millionths = (uint32_t)ceil(v * 1e6 - 1e-6);
	return *ret_millionths > 0;
}

bool mp_size_parse(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *unit;
		double bytes;
	} units[] = {{"", 1 << 20}, {"B", 1}, {"K", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20},
		     {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {"T", 1ull << 40},
		     {"TiB", 1ull << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}};
	const char *end;
	double v;
	size_t i;

	if (!decimal_parse(text, &v, &end))
		return false;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcasecmp(end, units[i].unit))
			continue;
		v *= units[i].bytes;
		if (v < 1 || v >= 9e18)
			return false;
		*ret_bytes = (uint64_t)v;
		return true;
	}
	return false;
}

bool mp_duration_parse(const char *text, int64_t *ret_seconds)
{
	int64_t sum = 0, v, unit;
	int digits;

	if (!*text)
		return false;
	while (*text) {
		for (v = 0, digits = 0; isdigit((unsigned char)*text) && digits < 9; digits++)
			v = v * 10 + (*text++ - '0');
		if (!digits || isdigit((unsigned char)*text))
			return false;
		switch (*text) {
		case 0:
		case 's': unit = 1; break;
		case 'm': unit = 60; break;
		case 'h': unit = 3600; break;
		case 'd': unit = 86400; break;
		default: return false;
		}
		/* A bare number is seconds, and stands alone. */
		if (!*text && sum)
			return false;
		sum += v * unit;
		text += *text != 0;
	}
	*ret_seconds = sum;
	return true;
}
