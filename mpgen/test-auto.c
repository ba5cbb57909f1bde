/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generated bodies at work: the exports of sample.api, above a client that
 * keeps one record, a worker that applies it at once, and a driver of a few
 * functions that remember how they were called.
 */
#include "mp-drv.h"
#include "mp-entry.h"
#include "mp-job.h"
#include "mp-msg.h"

#include "base/check.h"
#include "base/test.h"

/* ---- The client: ids are 100 + an index, handles their addresses. ---- */

static char handles[16];
static unsigned invented, gone, begun, refusals, per_thread_seen;
static CUresult begin_result;
static uint32_t sent_call, sent_stream;
static _Alignas(8) uint8_t record[4096], reply[4096], scratch[4096];
static size_t record_n, reply_n, scratch_n;
static CUresult applied;

CUresult mp_refused(enum mp_call call)
{
	refusals++;
	return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult mp_shim_begin(enum mp_call call)
{
	begun++;
	scratch_n = 0;
	return begin_result;
}

CUresult mp_shim_id(enum mp_kind kind, const void *handle, uint32_t *ret_id)
{
	const char *h = handle;

	if (handle == CU_STREAM_PER_THREAD) {
		per_thread_seen++;
		*ret_id = 99;
		return CUDA_SUCCESS;
	}
	if (!h) {
		*ret_id = 0;
		return kind == MP_KIND_stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
	}
	if (h < handles || h >= handles + sizeof(handles))
		return CUDA_ERROR_INVALID_HANDLE;
	*ret_id = 100 + (uint32_t)(h - handles);
	return CUDA_SUCCESS;
}

CUresult mp_shim_device(CUdevice dev, int32_t *ret)
{
	*ret = dev + 10;
	return dev < 2 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult mp_shim_new(enum mp_kind kind, uint32_t *ret_id, void **ret_handle)
{
	*ret_handle = &handles[invented];
	*ret_id = 100 + invented++;
	return CUDA_SUCCESS;
}

void mp_shim_gone(enum mp_kind kind, const void *handle)
{
	gone++;
}

void *mp_shim_handle(enum mp_kind kind, uint32_t id)
{
	return &handles[id - 100];
}

static void *take_scratch(size_t n)
{
	void *p = scratch + scratch_n;

	if (n > sizeof(scratch) - scratch_n)
		return NULL;
	scratch_n += mp_align_up(n, 8);
	return p;
}

void *mp_shim_scratch(size_t n)
{
	return take_scratch(n);
}

CUresult mp_shim_reserve(struct mp_shim_slot *s, enum mp_call call, size_t size, uint32_t stream_id)
{
	MP_CHECK(size <= sizeof(record) && size % 8 == 0);
	*s = (struct mp_shim_slot){.payload = record, .size = size, .call = call};
	sent_stream = stream_id;
	return CUDA_SUCCESS;
}

CUresult mp_shim_commit(struct mp_shim_slot *s)
{
	sent_call = s->call;
	record_n = s->size;
	reply_n = 0;
	MP_CHECK_EQ(mp_job_dispatch(NULL, s->call, record, record_n, &applied), 0);
	return CUDA_SUCCESS;
}

CUresult mp_shim_ask(struct mp_shim_slot *s, const uint8_t **ret, size_t *ret_n)
{
	mp_shim_commit(s);
	*ret = reply;
	*ret_n = reply_n;
	return CUDA_SUCCESS;
}

void mp_shim_ask_done(struct mp_shim_slot *s)
{
	memset(reply, 0xee, sizeof(reply));
}

/* ---- The worker: ids map to driver handles 0x1000 + id. ---- */

static struct mp_drv drv;
static uint32_t bound, unbound;
static void *bound_handle;

const struct mp_drv *mp_job_drv(struct mp_job *job)
{
	return &drv;
}

CUresult mp_job_get(struct mp_job *job, enum mp_kind kind, uint32_t id, void **ret)
{
	if (id == 115)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = id ? (void *)(uintptr_t)(0x1000 + id) : NULL;
	return CUDA_SUCCESS;
}

CUresult mp_job_device(struct mp_job *job, int32_t device, CUdevice *ret)
{
	*ret = device + 20;
	return CUDA_SUCCESS;
}

CUresult mp_job_bind(struct mp_job *job, enum mp_kind kind, uint32_t id, void *handle)
{
	bound = id;
	bound_handle = handle;
	return CUDA_SUCCESS;
}

void mp_job_unbind(struct mp_job *job, enum mp_kind kind, uint32_t id)
{
	unbound = id;
}

void *mp_job_scratch(struct mp_job *job, size_t n)
{
	return take_scratch(n);
}

uint8_t *mp_job_reply(struct mp_job *job, size_t n)
{
	MP_CHECK(n <= sizeof(reply));
	reply_n = n;
	return reply;
}

/* ---- The driver. ---- */

static char driver_name[32];
static unsigned driver_flags, driver_runs, driver_ndeps, driver_tag;
static uintptr_t driver_deps[4], driver_f, driver_stream;
static CUmemLocation driver_where;
static const int *driver_tags;
static int driver_device;

static CUresult drv_create(CUstream *phThing, unsigned int flags, const char *name)
{
	driver_flags = flags;
	snprintf(driver_name, sizeof(driver_name), "%s", name ? name : "(null)");
	*phThing = (CUstream)0x7777;
	return flags == 13 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult drv_destroy(CUstream hThing)
{
	driver_stream = (uintptr_t)hThing;
	return CUDA_SUCCESS;
}

static CUresult drv_run(CUfunction f, const CUgraphNode *dependencies, size_t numDependencies,
			const int *tags, const CUmemLocation *where, CUstream hStream)
{
	driver_runs++;
	driver_f = (uintptr_t)f;
	driver_ndeps = (unsigned)numDependencies;
	for (size_t i = 0; i < numDependencies && i < 4; i++)
		driver_deps[i] = (uintptr_t)dependencies[i];
	driver_tags = tags;
	driver_tag = tags ? (unsigned)tags[numDependencies - 1] : 0;
	driver_where = *where;
	driver_stream = (uintptr_t)hStream;
	return CUDA_SUCCESS;
}

static CUresult drv_ask(size_t *size, float *ratio, CUstream hThing, CUdevice dev)
{
	driver_device = dev;
	*size = 1ull << 40;
	*ratio = 0.5f;
	return hThing == (CUstream)0x1065 ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}

static void open_driver(void)
{
	drv.cuThingCreate_v2 = drv_create;
	drv.cuThingDestroy = drv_destroy;
	drv.cuThingRun = drv_run;
	drv.cuThingAsk = drv_ask;
	begin_result = CUDA_SUCCESS;
	begun = invented = gone = driver_runs = 0;
}

/* ---- The tests. ---- */

MP_TEST(new_and_gone)
{
	CUstream s = NULL;

	open_driver();
	MP_CHECK_EQ(cuThingCreate_v2(&s, 5, "north"), CUDA_SUCCESS);
	MP_CHECK(s == (CUstream)&handles[0]);
	MP_CHECK_EQ(sent_call, MP_CALL_cuThingCreate_v2);
	MP_CHECK_STR(driver_name, "north");
	MP_CHECK_EQ(driver_flags, 5);
	MP_CHECK_EQ(bound, 100);
	MP_CHECK(bound_handle == (void *)0x7777);
	MP_CHECK_EQ(cuThingDestroy(s), CUDA_SUCCESS);
	MP_CHECK_EQ(unbound, 100);
	MP_CHECK_EQ(driver_stream, 0x1000 + 100);
	MP_CHECK_EQ(gone, 1);
}

MP_TEST(refused_at_once)
{
	CUstream s = NULL;
	size_t size;
	float ratio;

	open_driver();
	MP_CHECK_EQ(cuThingCreate_v2(NULL, 0, "x"), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(cuThingCreate_v2(&s, 0, NULL), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(cuThingDestroy((CUstream)0x5555), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(cuThingAsk(&size, NULL, NULL, 0), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(invented, 0); /* nothing was invented for a call that failed */
	begin_result = CUDA_ERROR_DEINITIALIZED;
	MP_CHECK_EQ(cuThingAsk(&size, &ratio, NULL, 0), CUDA_ERROR_DEINITIALIZED);
	MP_CHECK_EQ(begun, 5);
}

MP_TEST(late_errors_stay_with_the_worker)
{
	CUstream s = NULL;

	open_driver();
	bound = 0;
	MP_CHECK_EQ(cuThingCreate_v2(&s, 13, "x"), CUDA_SUCCESS);
	MP_CHECK_EQ(applied, CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(bound, 0);
	MP_CHECK_EQ(cuThingDestroy((CUstream)&handles[15]), CUDA_SUCCESS);
	MP_CHECK_EQ(applied, CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(cuThingCreate(&s, 0), CUDA_SUCCESS); /* the driver lacks it */
	MP_CHECK_EQ(applied, CUDA_ERROR_NOT_SUPPORTED);
}

MP_TEST(arrays)
{
	CUgraphNode deps[3] = {(CUgraphNode)&handles[1], (CUgraphNode)&handles[2],
			       (CUgraphNode)&handles[3]};
	CUmemLocation where = {CU_MEM_LOCATION_TYPE_HOST, 6};
	int tags[3] = {7, 8, -9};

	open_driver();
	MP_CHECK_EQ(
		cuThingRun((CUfunction)&handles[4], deps, 3, tags, &where, (CUstream)&handles[5]),
		0);
	MP_CHECK_EQ(driver_runs, 1);
	MP_CHECK_EQ(driver_f, 0x1000 + 104);
	MP_CHECK(driver_ndeps == 3 && driver_deps[0] == 0x1065 && driver_deps[2] == 0x1067);
	MP_CHECK_EQ((int)driver_tag, -9);
	MP_CHECK(driver_where.type == where.type && driver_where.id == 6);
	MP_CHECK_EQ(sent_stream, 105);
	/* An optional array that is not there stays away; one without elements is none. */
	MP_CHECK_EQ(cuThingRun((CUfunction)&handles[4], deps, 3, NULL, &where, NULL), 0);
	MP_CHECK(driver_runs == 2 && !driver_tags && driver_ndeps == 3 && !driver_stream);
	MP_CHECK_EQ(cuThingRun((CUfunction)&handles[4], NULL, 0, NULL, &where, NULL), 0);
	MP_CHECK(driver_runs == 3 && driver_ndeps == 0);
	MP_CHECK_EQ(cuThingRun((CUfunction)&handles[4], NULL, 2, NULL, &where, NULL),
		    CUDA_ERROR_INVALID_VALUE);
	deps[1] = NULL;
	MP_CHECK_EQ(cuThingRun((CUfunction)&handles[4], deps, 3, NULL, &where, NULL),
		    CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(driver_runs, 3);
}

MP_TEST(a_peer_that_lies)
{
	struct mp_msg_cuThingRun m = {.f = 1,
				      .numDependencies = 3,
				      .dependencies = (uint32_t[]){1, 2, 3},
				      .tags_count = 2,
				      .tags = (int32_t[]){1, 2}};
	CUresult r;

	open_driver();
	mp_put_cuThingRun(record, &m);
	MP_CHECK_EQ(mp_job_dispatch(NULL, MP_CALL_cuThingRun, record, mp_size_cuThingRun(&m), &r),
		    0);
	MP_CHECK_EQ(r, CUDA_ERROR_INVALID_VALUE); /* the driver would read three tags */
	m.dependencies = (uint32_t[]){1, 115, 3};
	m.tags_count = 0;
	mp_put_cuThingRun(record, &m);
	MP_CHECK_EQ(mp_job_dispatch(NULL, MP_CALL_cuThingRun, record, mp_size_cuThingRun(&m), &r),
		    0);
	MP_CHECK_EQ(r, CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(mp_job_dispatch(NULL, MP_CALL_cuThingRun, record, 8, &r), -1);
	MP_CHECK_EQ(mp_job_dispatch(NULL, MP_CALL_cuInit, record, 8, &r), -1);
	MP_CHECK_EQ(mp_job_dispatch(NULL, 0xffffffff, record, 8, &r), -1);
	MP_CHECK_EQ(driver_runs, 0);
}

MP_TEST(answers)
{
	size_t size = 1;
	float ratio = 2;

	open_driver();
	MP_CHECK_EQ(cuThingAsk(&size, &ratio, (CUstream)&handles[2], 1), CUDA_SUCCESS);
	MP_CHECK(size == 1ull << 40 && ratio == 0.5f);
	MP_CHECK_EQ(driver_device, 31); /* 1 is 11 on the wire, and that is 31 in the driver */
	MP_CHECK_EQ(cuThingAsk(&size, &ratio, (CUstream)&handles[2], 5), CUDA_ERROR_INVALID_DEVICE);
	size = 1;
	MP_CHECK_EQ(cuThingAsk(&size, &ratio, (CUstream)&handles[1], 1), CUDA_ERROR_NOT_FOUND);
	MP_CHECK_EQ(size, 1); /* a failed call writes nothing */
}

MP_TEST(hand_written_and_refused)
{
	unsigned n = refusals;
	CUresult r;

	MP_CHECK_EQ(cuInit(0), CUDA_ERROR_NOT_SUPPORTED);
	MP_CHECK_EQ(cuThingCopy(NULL, 0, 0), CUDA_ERROR_NOT_SUPPORTED);
	MP_CHECK_EQ(cuThingOld(1), CUDA_ERROR_NOT_SUPPORTED);
	MP_CHECK_EQ(refusals - n, 3);
	memset(record, 0, 16);
	MP_CHECK_EQ(mp_job_dispatch(NULL, MP_CALL_cuThingCopy, record, 16, &r), 0);
	MP_CHECK_EQ(r, CUDA_ERROR_NOT_SUPPORTED);
}

/* A strong definition takes the place of the weak default. */
CUresult mp_shim_cuThingCopy(void *dst, CUdeviceptr src, size_t n)
{
	MP_CHECK_EQ(mp_default_stream, src);
	return mp_refused(MP_CALL_cuThingCopy);
}

MP_TEST(per_thread_variants)
{
	CUmemLocation where = {0};

	open_driver();
	per_thread_seen = 0;
	MP_CHECK_EQ(cuThingRun_ptsz((CUfunction)&handles[4], NULL, 0, NULL, &where, NULL), 0);
	MP_CHECK_EQ(per_thread_seen, 1);
	MP_CHECK_EQ(sent_stream, 99);
	MP_CHECK_EQ(cuThingRun_ptsz((CUfunction)&handles[4], NULL, 0, NULL, &where,
				    (CUstream)&handles[2]),
		    0);
	MP_CHECK_EQ(per_thread_seen, 1);
	MP_CHECK_EQ(cuThingCopy_ptds(NULL, 1, 0), CUDA_ERROR_NOT_SUPPORTED);
	MP_CHECK_EQ(cuThingCopy(NULL, 0, 0), CUDA_ERROR_NOT_SUPPORTED);
	MP_CHECK_EQ(mp_default_stream, 0);
}

MP_TEST_MAIN()
