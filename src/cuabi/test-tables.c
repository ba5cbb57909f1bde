/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private tables as a CUDA runtime sees them: sizes, slots, codes; MD2 against the
 * vectors of RFC 1319; the integrity answer against an observed vector.
 */
#include "cuabi/cuabi.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/test.h"
#include "cuabi/internal.h"

#define CTX(n) ((CUcontext)(uintptr_t)(0x1000 + 16 * (n)))

static CUcontext current;
static int devices;

static CUcontext current_context(void)
{
	return current;
}

static bool context_live(CUcontext ctx)
{
	return ctx == CTX(0) || ctx == CTX(1);
}

static CUresult primary_context(CUdevice dev, CUcontext *ret)
{
	if (dev < 0 || dev >= devices)
		return CUDA_ERROR_INVALID_DEVICE;
	*ret = CTX(dev);
	return CUDA_SUCCESS;
}

static CUresult context_id(CUcontext ctx, uint64_t *ret)
{
	*ret = (uintptr_t)ctx;
	return CUDA_SUCCESS;
}

static CUresult stream_token(CUcontext ctx, CUstream s, bool per_thread, void **ret)
{
	if (s == (CUstream)99)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = (char *)0x4000 + per_thread;
	return CUDA_SUCCESS;
}

static CUresult stream_id(CUcontext ctx, void *token, uint64_t *ret)
{
	*ret = (uintptr_t)token + 1;
	return CUDA_SUCCESS;
}

static CUresult module_kernel(CUcontext ctx, CUmodule m, size_t i, CUfunction *ret)
{
	if (m != (CUmodule)0x77)
		return CUDA_ERROR_INVALID_HANDLE;
	if (i >= 3)
		return CUDA_ERROR_NOT_FOUND;
	*ret = (CUfunction)(0x100 + i);
	return CUDA_SUCCESS;
}

static int device_count(void)
{
	return devices;
}

static CUresult device_identity(int i, CUuuid *u, int32_t *d, int32_t *b, int32_t *v)
{
	memset(u->bytes, i + 1, sizeof(u->bytes));
	*d = i;
	*b = 2 * i;
	*v = 3 * i;
	return CUDA_SUCCESS;
}

static int driver_version(void)
{
	return 13000;
}

static const struct mp_cuabi_ops ops = {primary_context, current_context, context_live,
					context_id,	 stream_token,	  stream_id,
					module_kernel,	 device_count,	  device_identity,
					driver_version};

static const char *const uuids[] = {
	"6bd5fb6c5bf4e74a8987d93912fd9df9", "a094798c2e742e7493f20800200c0a66",
	"42d85a8123f6cb478298f6e78a3aecdc", "c693336e1121df11a8c368f355d89593",
	"263e88607cd2614392f6bbd5006dfa7e", "d4082055bde6704b8d34ba123c66e1f2",
	"21318c60971432488ca641ff7324c8f2", "6e163fbeb958444d835ce182aff1991e",
	"1734dc26800d47458726c0f1e7dd8bca",
};
enum { CUDART, HOOKS, TLS, LOCAL, CHECKS, INTEGRITY, CONTEXT, MODULE, CLUSTER };

static void **table_of(int which)
{
	const void *t = NULL;
	const char *s = uuids[which];
	CUuuid id;
	int i;

	for (i = 0; i < 16; i++) {
		unsigned v;

		sscanf(s + 2 * i, "%2x", &v);
		id.bytes[i] = (char)v;
	}
	MP_CHECK_EQ(mp_export_table(&t, &id), CUDA_SUCCESS);
	if (!t)
		abort();
	return (void **)t;
}

MP_TEST(served_and_refused)
{
	static const int words[] = {13, 7, 4, -1, 15, 3, 95, 92, 16};
	CUuuid other = {{(char)0xf8, (char)0xcf, (char)0xf9, 0x51}};
	const void *t = &other;
	int i, w;

	MP_CHECK_EQ(mp_export_table(&t, &other), CUDA_ERROR_NOT_INITIALIZED);
	mp_cuabi_init(&ops);
	MP_CHECK_EQ(mp_export_table(&t, &other), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK(t == &other);
	MP_CHECK_EQ(mp_export_table(NULL, &other), CUDA_ERROR_INVALID_VALUE);
	MP_CHECK_EQ(mp_export_table(&t, NULL), CUDA_ERROR_INVALID_VALUE);
	for (i = 0; i < (int)MP_ARRAY_LEN(uuids); i++) {
		void **p = table_of(i);

		MP_CHECK(p == table_of(i));
		if (i == LOCAL) {
			MP_CHECK(p[0] && p[1] && p[2] && !p[3]);
			continue;
		}
		MP_CHECK_EQ((uintptr_t)p[0], words[i] * 8);
		for (w = 1; w < words[i]; w++)
			MP_CHECK(p[w] && p[w] != p[w - 1]);
	}
}

MP_TEST(spare_slots_refuse)
{
	CUresult (*f)(void);
	void *p;

	f = (CUresult(*)(void))table_of(CONTEXT)[94];
	MP_CHECK_EQ(f(), CUDA_ERROR_NOT_SUPPORTED);
	f = (CUresult(*)(void))table_of(CUDART)[1];
	MP_CHECK_EQ(f(), CUDA_ERROR_NOT_SUPPORTED);
	p = table_of(MODULE)[8];
	MP_CHECK(p != table_of(CONTEXT)[8]);
}

MP_TEST(contexts)
{
	CUresult (*primary)(CUcontext *, CUdevice) = table_of(CUDART)[2];
	CUresult (*tls)(CUcontext *) = table_of(TLS)[2];
	CUresult (*check)(CUcontext, uint32_t *, const void **) = table_of(CHECKS)[2];
	uint32_t (*process)(void) = table_of(CHECKS)[3];
	CUresult (*id)(CUcontext, uint64_t *) = table_of(CONTEXT)[4];
	const void *untouched = &ops;
	CUcontext c = NULL;
	uint32_t out = 5;
	uint64_t n = 0;

	devices = 2;
	MP_CHECK_EQ(primary(&c, 1), CUDA_SUCCESS);
	MP_CHECK(c == CTX(1));
	MP_CHECK_EQ(primary(&c, 2), CUDA_ERROR_INVALID_DEVICE);
	MP_CHECK_EQ(primary(NULL, 0), CUDA_ERROR_INVALID_VALUE);
	current = CTX(0);
	MP_CHECK_EQ(tls(&c), CUDA_SUCCESS);
	MP_CHECK(c == CTX(0));
	MP_CHECK_EQ(check(c, &out, &untouched), CUDA_SUCCESS);
	MP_CHECK_EQ(out, 0);
	MP_CHECK(untouched == &ops);
	MP_CHECK_EQ(process(), 0);
	MP_CHECK_EQ(id(CTX(1), &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, (uintptr_t)CTX(1));
	MP_CHECK_EQ(id(NULL, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, (uintptr_t)CTX(0));
	current = NULL;
	MP_CHECK_EQ(id(NULL, &n), CUDA_ERROR_INVALID_CONTEXT);
}

MP_TEST(profiler_buffers)
{
	void (*runtime)(void **, size_t *) = table_of(HOOKS)[2];
	void (*resource)(void **, size_t *) = table_of(HOOKS)[6];
	size_t n = 0, i;
	void *p = NULL;

	runtime(&p, &n);
	MP_CHECK_EQ(n, 1024);
	for (i = 0; p && i < 4096; i++)
		MP_CHECK_EQ(((char *)p)[i], 0);
	resource(&p, &n);
	MP_CHECK_EQ(n, 14);
	for (i = 0; p && i < 64; i++)
		MP_CHECK_EQ(((char *)p)[i], 0);
}

MP_TEST(streams)
{
	CUresult (*token)(CUcontext, CUstream, void **, int) = table_of(CONTEXT)[51];
	CUresult (*identity)(CUcontext, void *, uint64_t *) = table_of(CONTEXT)[39];
	uint64_t n = 0;
	void *p = NULL;

	MP_CHECK_EQ(token(CTX(0), NULL, &p, 1), CUDA_SUCCESS);
	MP_CHECK(p == (char *)0x4001);
	MP_CHECK_EQ(identity(CTX(0), p, &n), CUDA_SUCCESS);
	MP_CHECK_EQ(n, 0x4002);
	MP_CHECK_EQ(token(CTX(0), (CUstream)99, &p, 0), CUDA_ERROR_INVALID_HANDLE);
}

struct seen {
	CUfunction last;
	int n, stop_after;
};

static int see(void *user, CUfunction f)
{
	struct seen *s = user;

	s->last = f;
	return ++s->n != s->stop_after;
}

MP_TEST(module_kernels)
{
	int (*each)(CUcontext, CUmodule, int (*)(void *, CUfunction), void *) =
		table_of(MODULE)[7];
	CUresult (*cluster)(int *, void *) = table_of(CLUSTER)[4];
	struct seen s = {NULL, 0, 1};
	int a = 7;

	MP_CHECK_EQ(each(CTX(0), (CUmodule)0x77, see, &s), 1);
	MP_CHECK(s.n == 1 && s.last == (CUfunction)0x100);
	s = (struct seen){NULL, 0, 99};
	MP_CHECK_EQ(each(CTX(0), (CUmodule)0x77, see, &s), 0);
	MP_CHECK(s.n == 3 && s.last == (CUfunction)0x102);
	MP_CHECK_EQ(each(CTX(0), (CUmodule)0x78, see, &s), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(cluster(&a, NULL), CUDA_SUCCESS);
	MP_CHECK_EQ(a, 0);
}

MP_TEST(local_storage)
{
	CUresult (*put)(CUcontext, void *, void *, mp_cls_destroy) = table_of(LOCAL)[0];
	CUresult (*del)(CUcontext, void *) = table_of(LOCAL)[1];
	CUresult (*get)(void **, CUcontext, void *) = table_of(LOCAL)[2];
	void *v = NULL;

	MP_CHECK_EQ(get(&v, NULL, (void *)&ops), CUDA_ERROR_INVALID_CONTEXT);
	current = CTX(0);
	MP_CHECK_EQ(get(&v, NULL, (void *)&ops), CUDA_ERROR_INVALID_HANDLE);
	MP_CHECK_EQ(put(NULL, (void *)&ops, &v, NULL), CUDA_SUCCESS);
	MP_CHECK_EQ(get(&v, CTX(0), (void *)&ops), CUDA_SUCCESS);
	MP_CHECK(v == &v);
	MP_CHECK_EQ(del(CTX(0), (void *)&ops), CUDA_SUCCESS);
	current = NULL;
}

static void md2_check(const char *text, const char *want)
{
	struct mp_md2 m;
	uint8_t d[16];
	char got[33];
	int i;

	mp_md2_init(&m);
	mp_md2_add(&m, text, strlen(text));
	mp_md2_done(&m, d);
	for (i = 0; i < 16; i++)
		snprintf(got + 2 * i, 3, "%02x", d[i]);
	MP_CHECK_STR(got, want);
}

/* RFC 1319, appendix A.5. */
MP_TEST(md2_vectors)
{
	md2_check("", "8350e5a3e24c153df2275c9f80692773");
	md2_check("a", "32ec01ec4a6dac72c0ab96fb34c0b5d1");
	md2_check("abc", "da853b0d3f88d99b30283a69e6ded6bb");
	md2_check("message digest", "ab4f496bfb2a530b219ff33031fe06b0");
	md2_check("abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b");
	md2_check("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		  "da33def2a42df13975352846c30338cd");
	md2_check("1234567890123456789012345678901234567890123456789012345678901234567890"
		  "1234567890",
		  "d5976f79d83d3a0dc9806c3c66f3efd8");
}

/* 48 zero bytes hash to the observed value only with version 0, whose answer is a constant. */
MP_TEST(integrity_vector)
{
	static const uint8_t key[16] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
					0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};
	static const uint8_t want[16] = {0x35, 0x5e, 0xdb, 0x3c, 0xc5, 0xdb, 0xe4, 0x0c,
					 0x2c, 0x90, 0xde, 0x17, 0x1b, 0x57, 0x2d, 0x41};
	uint8_t zero[48] = {0}, d[16];
	struct mp_md2 m;

	mp_md2_hmac_init(&m, key);
	mp_md2_add(&m, zero, sizeof(zero));
	mp_md2_hmac_done(&m, key, d);
	MP_CHECK(!memcmp(d, want, sizeof(d)));
}

MP_TEST(integrity_answers)
{
	CUresult (*ask)(uint32_t, uint64_t, uint64_t[2]) = table_of(INTEGRITY)[1];
	uint64_t a[2], b[2];
	struct mp_integrity in = {13000, 13002, (uint32_t)getpid(),
				  (uint32_t)(uintptr_t)pthread_self(),
				  (uintptr_t)table_of(CUDART), (uintptr_t)table_of(INTEGRITY),
				  (uintptr_t)ask, 1700000000};
	struct mp_integrity_device dev[2] = {{{0}, 0, 0, 0}, {{0}, 1, 2, 3}};
	int pipes[2], i;

	MP_CHECK_EQ(ask(13000, 1, a), CUDA_SUCCESS);
	MP_CHECK(a[0] == 0x3341181C03CB675Cu && a[1] == 0x8ED383AA1F4CD1E8u);
	MP_CHECK_EQ(ask(13001, 1, a), CUDA_SUCCESS);
	MP_CHECK(a[0] == 0x1841181C03CB675Cu && a[1] == 0x8ED383AA1F4CD1E8u);

	devices = 2;
	for (i = 0; i < 2; i++)
		memset(dev[i].uuid, i + 1, 16);
	mp_integrity_answer(&in, dev, 2, b);
	MP_CHECK_EQ(ask(13002, 1700000000, a), CUDA_SUCCESS);
	MP_CHECK(!memcmp(a, b, sizeof(a)));
	MP_CHECK_EQ(ask(13002, 1700000001, b), CUDA_SUCCESS);
	MP_CHECK(memcmp(a, b, sizeof(a)));

	/* A forked child is another process. */
	MP_CHECK_EQ(pipe(pipes), 0);
	if (!fork()) {
		ask(13002, 1700000000, b);
		_exit(write(pipes[1], b, sizeof(b)) != sizeof(b));
	}
	MP_CHECK_EQ(read(pipes[0], b, sizeof(b)), (int)sizeof(b));
	wait(NULL);
	MP_CHECK(memcmp(a, b, sizeof(a)));
}

MP_TEST(errors_named)
{
	int i, n = 0;

	MP_CHECK_STR(mp_error_name(CUDA_SUCCESS), "CUDA_SUCCESS");
	MP_CHECK_STR(mp_error_name(CUDA_ERROR_UNKNOWN), "CUDA_ERROR_UNKNOWN");
	MP_CHECK_STR(mp_error_name(CUDA_ERROR_ILLEGAL_ADDRESS), "CUDA_ERROR_ILLEGAL_ADDRESS");
	for (i = -2; i < 1100; i++) {
		const char *name = mp_error_name((CUresult)i), *text = mp_error_string((CUresult)i);

		MP_CHECK_EQ(!name, !text);
		if (!name)
			continue;
		n++;
		MP_CHECK(!strncmp(name, "CUDA_", 5) && strlen(text) > 5);
	}
	MP_CHECK_EQ(n, 101); /* as many as CUDA 13.0's header has */
	MP_CHECK(!mp_error_name((CUresult)998));
}

MP_TEST_MAIN()
