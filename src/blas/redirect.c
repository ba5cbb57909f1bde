/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An auditor for the dynamic linker (LD_AUDIT, rtld-audit(7)) that answers where
 * libcublas and libcublasLt lie: in the folders beside it.
 *
 * It is asked for every name before it is looked for, with its path or without,
 * by DT_NEEDED or dlopen: so it comes before DT_RPATH and before absolute
 * paths, which LD_LIBRARY_PATH and LD_PRELOAD do not.  It lives in a namespace of
 * its own and must do nothing else.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define API __attribute__((visibility("default")))

static const char *const names[] = {"libcublas.so.12", "libcublasLt.so.12", "libcublas.so.13", "libcublasLt.so.13"};
#define NAMES (sizeof(names) / sizeof(*names))

static char paths[NAMES][4096]; /* empty: it is not there, and nothing is answered */

API unsigned int la_version(unsigned int version)
{
	Dl_info self;
	const char *end;
	size_t i;

	if (!dladdr(paths, &self) || !self.dli_fname || !(end = strrchr(self.dli_fname, '/')))
		return version < LAV_CURRENT ? version : LAV_CURRENT;
	for (i = 0; i < NAMES; i++) {
		const char *major = strrchr(names[i], '.') + 1;
		int n = snprintf(paths[i], sizeof(paths[i]), "%.*s/%s/%s", (int)(end - self.dli_fname),
				 self.dli_fname, major, names[i]);
		FILE *f = n > 0 && (size_t)n < sizeof(paths[i]) ? fopen(paths[i], "re") : NULL;

		if (f)
			fclose(f);
		else
			paths[i][0] = 0;
	}
	return version < LAV_CURRENT ? version : LAV_CURRENT;
}

API char *la_objsearch(const char *name, uintptr_t *cookie, unsigned int flag)
{
	const char *base = strrchr(name, '/');
	size_t i;

	base = base ? base + 1 : name;
	for (i = 0; i < NAMES; i++)
		if (!strcmp(base, names[i]) && paths[i][0])
			return paths[i];
	return (char *)name;
}
