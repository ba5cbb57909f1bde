/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the library given in MOTORPOOL_TEST_LIBRARY, linked against the stubs of an old glibc,
 * and runs it: names and versions that the stubs promise must be those of the system.
 */
#include <dlfcn.h>

#include "base/test.h"

MP_TEST(library_runs)
{
	const char *path = getenv("MOTORPOOL_TEST_LIBRARY");
	int (*probe)(void);
	void *lib;

	if (!path) {
		MP_SKIP("MOTORPOOL_TEST_LIBRARY is not set");
		return;
	}
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		printf("# %s\n", dlerror());
	MP_CHECK(lib);
	if (!lib)
		return;
	probe = (int (*)(void))dlsym(lib, "floor_probe");
	MP_CHECK(probe);
	if (probe)
		MP_CHECK_EQ(probe(), 0);
}

MP_TEST_MAIN()
