/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuGetProcAddress: the rules on a small table with every kind of entry.  Where a
 * driver library's own table is linked in, that library's tests walk it whole.
 */
#include "cuabi/cuabi.h"

#include "base/check.h"
#include "base/test.h"

static char at[16]; /* one address per entry */

const struct mp_proc mp_proc_table[] = {
	{"cuCtxCreate", 2000, 0, "cuCtxCreate", &at[0]},
	{"cuCtxCreate", 3020, 0, "cuCtxCreate_v2", &at[1]},
	{"cuCtxCreate", 11040, 0, "cuCtxCreate_v3", &at[2]},
	{"cuCtxCreate", 12050, 0, "cuCtxCreate_v4", &at[3]},
	{"cuCtxCreateX", 2000, 0, "cuCtxCreateX", &at[4]},
	{"cuMemcpy", 4000, 0, "cuMemcpy", &at[5]},
	{"cuMemcpy", 7000, 'd', "cuMemcpy_ptds", &at[6]},
	{"cuStreamGetCaptureInfo", 10010, 0, "cuStreamGetCaptureInfo", &at[7]},
	{"cuStreamGetCaptureInfo", 11030, 0, "cuStreamGetCaptureInfo_v2", &at[8]},
	{"cuStreamGetCaptureInfo", 12030, 0, "cuStreamGetCaptureInfo_v3", &at[9]},
	{"cuStreamGetCaptureInfo", 10010, 'z', "cuStreamGetCaptureInfo_ptsz", &at[10]},
	{"cuStreamGetCaptureInfo", 11030, 'z', "cuStreamGetCaptureInfo_v2_ptsz", &at[11]},
	{"cuStreamGetCaptureInfo", 12030, 'z', "cuStreamGetCaptureInfo_v3_ptsz", &at[12]},
};
const size_t mp_proc_count = MP_ARRAY_LEN(mp_proc_table);

/* Index into `at`, or -1 for NULL. */
static int ask(const char *name, int version, cuuint64_t flags)
{
	CUdriverProcAddressQueryResult status = 77;
	void *p = &status;

	MP_CHECK_EQ(mp_proc_address(name, &p, version, flags, &status, true), CUDA_SUCCESS);
	MP_CHECK_EQ(!p, status != CU_GET_PROC_ADDRESS_SUCCESS);
	return p ? (int)((char *)p - at) : -1;
}

static int status_of(const char *name, int version)
{
	CUdriverProcAddressQueryResult status = 77;
	void *p;

	MP_CHECK_EQ(mp_proc_address(name, &p, version, 0, &status, true), CUDA_SUCCESS);
	return status;
}

MP_TEST(highest_not_above)
{
	MP_CHECK_EQ(ask("cuCtxCreate", 2000, 0), 0);
	MP_CHECK_EQ(ask("cuCtxCreate", 3019, 0), 0);
	MP_CHECK_EQ(ask("cuCtxCreate", 3020, 0), 1);
	MP_CHECK_EQ(ask("cuCtxCreate", 11040, 0), 2);
	MP_CHECK_EQ(ask("cuCtxCreate", 12049, 0), 2);
	MP_CHECK_EQ(ask("cuCtxCreate", 13000, 0), 3);
	MP_CHECK_EQ(ask("cuCtxCreate", 99999, 1), 3);
	MP_CHECK_EQ(ask("cuCtxCreateX", 13000, 0), 4);
}

MP_TEST(per_thread_stream)
{
	MP_CHECK_EQ(ask("cuMemcpy", 7000, 0), 5);
	MP_CHECK_EQ(ask("cuMemcpy", 7000, 1), 5);
	MP_CHECK_EQ(ask("cuMemcpy", 7000, 2), 6);
	MP_CHECK_EQ(ask("cuMemcpy", 4000, 2), 5); /* the variant came later */
	MP_CHECK_EQ(ask("cuCtxCreate", 13000, 2), 3); /* has none */
	MP_CHECK_EQ(ask("cuStreamGetCaptureInfo", 11040, 2), 11);
	MP_CHECK_EQ(ask("cuStreamGetCaptureInfo", 11040, 0), 8);
	MP_CHECK_EQ(ask("cuStreamGetCaptureInfo", 13000, 3), 12);
}

MP_TEST(not_found)
{
	void *p = at;

	MP_CHECK_EQ(status_of("cuNoSuchCall", 13000), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	MP_CHECK_EQ(status_of("", 0), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	MP_CHECK_EQ(status_of("cuCtxCreate_v2", 13000), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	MP_CHECK_EQ(status_of("cuCtxCreat", 13000), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	MP_CHECK_EQ(status_of("zzz", 13000), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	MP_CHECK_EQ(status_of("cuMemcpy", 3999), CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
	MP_CHECK_EQ(status_of("cuMemcpy", -1), CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);

	/* v2 without a status still succeeds and clears the pointer; v1 fails and leaves it. */
	MP_CHECK_EQ(mp_proc_address("nope", &p, 13000, 0, NULL, true), CUDA_SUCCESS);
	MP_CHECK(!p);
	p = at;
	MP_CHECK_EQ(mp_proc_address("nope", &p, 13000, 0, NULL, false), CUDA_ERROR_NOT_FOUND);
	MP_CHECK(p == at);
	MP_CHECK_EQ(mp_proc_address("cuMemcpy", &p, 3000, 0, NULL, false), CUDA_ERROR_NOT_FOUND);
	MP_CHECK_EQ(mp_proc_address("cuMemcpy", &p, 4000, 0, NULL, false), CUDA_SUCCESS);
	MP_CHECK(p == &at[5]);
}

MP_TEST(bad_arguments)
{
	void *p;

	MP_CHECK_EQ(mp_proc_address(NULL, &p, 1, 0, NULL, true), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_proc_address("cuMemcpy", NULL, 1, 0, NULL, true), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_proc_address("cuMemcpy", &p, 1, 8, NULL, true), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_proc_address("cuMemcpy", &p, 1, 4, NULL, false), CUDA_ERROR_INVALID_VALUE);
}

MP_TEST(limit)
{
	mp_proc_limit(11080);
	MP_CHECK_EQ(ask("cuCtxCreate", 13000, 0), 2);
	MP_CHECK_EQ(ask("cuStreamGetCaptureInfo", 13000, 2), 11);
	mp_proc_limit(6050);
	MP_CHECK_EQ(ask("cuMemcpy", 13000, 2), 5);
	/* All versions are newer than the driver: it has never heard of the name. */
	MP_CHECK_EQ(status_of("cuStreamGetCaptureInfo", 13000),
		    CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
	mp_proc_limit(13000);
	MP_CHECK_EQ(ask("cuCtxCreate", 13000, 0), 3);
}

MP_TEST_MAIN()
