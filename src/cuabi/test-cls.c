/* SPDX-License-Identifier: Apache-2.0 */
/* Context-local storage: codes, many keys, destructors, and readers beside writers. */
#include "cuabi/cuabi.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/test.h"

#define CTX(n) ((CUcontext)(uintptr_t)(0x1000 + 16 * (n)))
#define KEY(n) ((void *)(uintptr_t)(0x500000 + 8 * (n)))

static _Thread_local CUcontext current;

static CUcontext current_context(void)
{
	return current;
}

static bool context_live(CUcontext ctx)
{
	return ctx >= CTX(0) && ctx < CTX(100);
}

static CUresult primary_context(CUdevice dev, CUcontext *ret)
{
	*ret = CTX(dev);
	return CUDA_SUCCESS;
}

static int device_count(void)
{
	return 0;
}

static CUresult device_identity(int i, CUuuid *u, int32_t *d, int32_t *b, int32_t *v)
{
	return CUDA_ERROR_INVALID_DEVICE;
}

static int driver_version(void)
{
	return 13000;
}

static const struct mp_cuabi_ops ops = {
	.primary_context = primary_context,
	.current_context = current_context,
	.context_live = context_live,
	.device_count = device_count,
	.device_identity = device_identity,
	.driver_version = driver_version,
};

MP_TEST(codes)
{
	void *v = NULL;

	MP_CHECK_EQ(mp_cls_get(&v, NULL, KEY(0)), CUDA_ERROR_NOT_INITIALIZED);
	mp_cuabi_init(&ops);
	MP_CHECK_EQ(mp_cls_get(&v, NULL, KEY(0)), CUDA_ERROR_INVALID_CONTEXT);
	MP_CHECK_EQ(mp_cls_put(NULL, KEY(0), &v, NULL), CUDA_ERROR_INVALID_CONTEXT);
	MP_CHECK_EQ(mp_cls_put(CTX(100), KEY(0), &v, NULL), CUDA_ERROR_INVALID_CONTEXT);
	MP_CHECK_EQ(mp_cls_get(&v, CTX(100), KEY(0)), CUDA_ERROR_INVALID_CONTEXT);
	current = CTX(1);
	MP_CHECK_EQ(mp_cls_get(&v, NULL, KEY(0)), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(mp_cls_get(NULL, NULL, KEY(0)), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_cls_delete(NULL, KEY(0)), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(mp_cls_put(NULL, KEY(0), &current, NULL), CUDA_SUCCESS);
	MP_CHECK_EQ(mp_cls_get(&v, CTX(1), KEY(0)), CUDA_SUCCESS);
	MP_CHECK(v == &current);
	MP_CHECK_EQ(mp_cls_get(&v, CTX(2), KEY(0)), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(mp_cls_put(CTX(1), KEY(0), &v, NULL), CUDA_SUCCESS);
	MP_CHECK_EQ(mp_cls_get(&v, NULL, KEY(0)), CUDA_SUCCESS);
	MP_CHECK(v == &v);
	MP_CHECK_EQ(mp_cls_delete(NULL, KEY(0)), CUDA_SUCCESS);
	MP_CHECK_EQ(mp_cls_get(&v, NULL, KEY(0)), CUDA_ERROR_INVALID_HANDLE);
	current = NULL;
}

static int destroyed;

static void destroy(CUcontext ctx, void *key, void *value)
{
	void *v;

	MP_CHECK(ctx == CTX(3) && value == (char *)key + 1);
	destroyed++;
	/* May call back: the key itself is gone, another can still be put and goes as well. */
	MP_CHECK_EQ(mp_cls_get(&v, ctx, key), CUDA_ERROR_INVALID_HANDLE);
	if (key == KEY(7))
		MP_CHECK_EQ(mp_cls_put(ctx, KEY(5000), (char *)KEY(5000) + 1, destroy), 0);
}

MP_TEST(context_gone)
{
	void *v;
	int i;

	for (i = 0; i < 200; i++) {
		MP_CHECK_EQ(mp_cls_put(CTX(3), KEY(i), (char *)KEY(i) + 1, destroy), 0);
		MP_CHECK_EQ(mp_cls_put(CTX(4), KEY(i), KEY(i), destroy), 0);
	}
	mp_cls_context_gone(CTX(3));
	MP_CHECK_EQ(destroyed, 201);
	for (i = 0; i < 200; i++) {
		MP_CHECK_EQ(mp_cls_get(&v, CTX(3), KEY(i)), CUDA_ERROR_INVALID_HANDLE);
		MP_CHECK_EQ(mp_cls_get(&v, CTX(4), KEY(i)), CUDA_SUCCESS);
		MP_CHECK(v == KEY(i));
		MP_CHECK_EQ(mp_cls_delete(CTX(4), KEY(i)), CUDA_SUCCESS);
	}
	mp_cls_context_gone(CTX(4));
	mp_cls_context_gone(NULL);
	MP_CHECK_EQ(destroyed, 201);
}

MP_TEST(many_generations)
{
	uint64_t t;
	void *v;
	int i, round;

	/* Contexts that come and go must not wear the table out. */
	for (round = 0; round < 20000; round++) {
		CUcontext ctx = CTX(round % 90);

		for (i = 0; i < 3; i++)
			MP_CHECK_EQ(mp_cls_put(ctx, KEY(round * 3 + i), &v, NULL), 0);
		MP_CHECK_EQ(mp_cls_get(&v, ctx, KEY(round * 3)), 0);
		mp_cls_context_gone(ctx);
	}
	MP_CHECK_EQ(mp_cls_put(CTX(5), KEY(1), KEY(2), NULL), 0);
	current = CTX(5);
	t = mp_now_ns();
	for (i = 0; i < 1000000; i++)
		mp_cls_get(&v, NULL, KEY(1));
	printf("# mp_cls_get: %.1f ns\n", (double)(mp_now_ns() - t) / 1e6);
	MP_CHECK(v == KEY(2));
	current = NULL;
}

static _Atomic bool stop;

/* Keys 0..3 of context 6 stay; their values must always read as one of the two that are put. */
static void *reader(void *arg)
{
	long bad = 0;

	while (!stop) {
		void *v = NULL;
		int k = rand() % 4;
		CUresult rc = mp_cls_get(&v, CTX(6), KEY(k));

		bad += rc || (v != KEY(k) && v != (char *)KEY(k) + 1);
	}
	return (void *)bad;
}

MP_TEST(readers_beside_writers)
{
	pthread_t t[2];
	void *bad;
	int i;

	for (i = 0; i < 4; i++)
		MP_CHECK_EQ(mp_cls_put(CTX(6), KEY(i), KEY(i), NULL), 0);
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, reader, NULL);
	for (i = 0; i < 200000; i++) {
		mp_cls_put(CTX(6), KEY(i % 4), (char *)KEY(i % 4) + (i & 1), NULL);
		mp_cls_put(CTX(7), KEY(i % 3000), &t, NULL);
		mp_cls_delete(CTX(7), KEY((i * 7) % 3000));
	}
	stop = true;
	for (i = 0; i < 2; i++) {
		pthread_join(t[i], &bad);
		MP_CHECK_EQ((intptr_t)bad, 0);
	}
}

MP_TEST_MAIN()
