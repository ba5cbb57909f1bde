/* SPDX-License-Identifier: Apache-2.0 */
/* The seam with libraries that are no driver, and with a small one that is. */
#include "drv/drv.h"

#include "base/test.h"

MP_TEST(no_such_library)
{
	struct mp_fail f = {0};
	struct mp_drv drv;

	MP_CHECK_EQ(mp_drv_open("/nonexistent/libcuda.so.1", &drv, &f), -1);
	MP_CHECK(strstr(f.text, "/nonexistent/libcuda.so.1"));
	MP_CHECK(!drv.lib);
}

MP_TEST(library_without_cuinit)
{
	struct mp_fail f = {0};
	struct mp_drv drv;

	MP_CHECK_EQ(mp_drv_open("libc.so.6", &drv, &f), -1);
	MP_CHECK(strstr(f.text, "no cuInit"));
	MP_CHECK(!drv.lib && !drv.cuInit);
}

MP_TEST(small_driver)
{
	const char *path = getenv("MP_TEST_DRIVER"), *names[2] = {0};
	struct mp_fail f = {0};
	struct mp_drv drv;
	int version = 0;

	if (!path) {
		MP_SKIP("MP_TEST_DRIVER does not name the test driver");
		return;
	}
	MP_CHECK_EQ(mp_drv_open(path, &drv, &f), 0);
	MP_CHECK_STR(f.text, "");
	if (!drv.lib)
		return;
	MP_CHECK_EQ(drv.cuInit(7), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(drv.cuDriverGetVersion(&version), CUDA_SUCCESS);
	MP_CHECK_EQ(version, 13000);
	MP_CHECK(!drv.cuLaunchKernel);
	MP_CHECK_EQ(mp_drv_missing(&drv, names, 2), MP_DRV_EXPORTS - 2);
	MP_CHECK(names[0] && names[1] && strcmp(names[0], names[1]));
	mp_drv_close(&drv);
	MP_CHECK(!drv.lib && !drv.cuInit);
}

MP_TEST_MAIN()
