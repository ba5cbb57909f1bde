/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codecs of the real descriptions: frozen bytes of a few messages, every
 * decoder with good and with lying bytes, and the table of calls.
 */
#include "mp-convert.h"
#include "mp-fuzz.h"
#include "mp-msg.h"
#include "mp-trace.h"

#include "base/check.h"
#include "base/test.h"

static _Alignas(8) uint8_t buf[1 << 16], out[1 << 17];

MP_TEST(launch_bytes)
{
	static const char params[12] = "abcdefghijkl";
	struct mp_msg_cuLaunchKernel m = {.f = 7,
					  .gridDimX = 1,
					  .gridDimY = 2,
					  .gridDimZ = 3,
					  .blockDimX = 4,
					  .blockDimY = 5,
					  .blockDimZ = 6,
					  .sharedMemBytes = 8,
					  .hStream = 9,
					  .params_len = 12,
					  .params = params},
				     r;
	static const uint8_t want[64] = {
		7,   0,   0,   0,   1,   0,   0,   0,   2,   0,   0,   0,   3, 0, 0, 0,
		4,   0,   0,   0,   5,   0,   0,   0,   6,   0,   0,   0,   8, 0, 0, 0,
		9,   0,   0,   0,   0,   0,   0,   0,   12,  0,   0,   0,   0, 0, 0, 0,
		'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 0, 0, 0, 0};

	MP_CHECK_EQ(mp_size_cuLaunchKernel(&m), 64);
	memset(buf, 0xee, sizeof(buf));
	mp_put_cuLaunchKernel(buf, &m);
	MP_CHECK(!memcmp(buf, want, 64));
	MP_CHECK_EQ(buf[64], 0xee);
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 64, &r), 0);
	MP_CHECK(r.params == buf + 48 && r.params_len == 12 && r.blockDimZ == 6 && r.hStream == 9);
	/* Cut, longer, a count too high, padding that is not zero: each is refused. */
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 56, &r), -1);
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 72, &r), -1);
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 63, &r), -1);
	buf[63] = 1;
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 64, &r), -1);
	buf[63] = 0;
	buf[47] = 0x80;
	MP_CHECK_EQ(mp_get_cuLaunchKernel(buf, 64, &r), -1);
}

MP_TEST(strings)
{
	struct mp_msg_function m = {.module = 1, .function = 2, .name = "kernel7"}, r;
	size_t n = mp_size_function(&m);

	MP_CHECK_EQ(n, 24);
	mp_put_function(buf, &m);
	MP_CHECK_EQ(mp_get_function(buf, n, &r), 0);
	MP_CHECK_STR(r.name, "kernel7");
	buf[n - 4] = 0; /* a NUL inside */
	MP_CHECK_EQ(mp_get_function(buf, n, &r), -1);
	buf[n - 4] = 'e';
	buf[n - 1] = 'x'; /* no NUL at the end */
	MP_CHECK_EQ(mp_get_function(buf, n, &r), -1);
	m.name = NULL;
	MP_CHECK_EQ(mp_size_function(&m), 16);
	mp_put_function(buf, &m);
	MP_CHECK_EQ(mp_get_function(buf, 16, &r), 0);
	MP_CHECK(!r.name);
}

MP_TEST(arrays_of_structs)
{
	struct mp_launch_attr attr[3] = {
		{.id = 4, .value = {2, 0, 0, 0, 1}}, {.id = 7, .event = 5}, {.id = 8}};
	struct mp_msg_cuLaunchKernelEx m = {.call = {.func = 3, .params_len = 5, .params = "12345"},
					    .hStream = 1,
					    .attrs_count = 3,
					    .attrs = attr},
				       r;
	size_t n = mp_size_cuLaunchKernelEx(&m);

	MP_CHECK_EQ(n, 48 + 8 + 3 * 72);
	mp_put_cuLaunchKernelEx(buf, &m);
	MP_CHECK_EQ(mp_get_cuLaunchKernelEx(buf, n, &r), 0);
	MP_CHECK_EQ(r.attrs_count, 3);
	MP_CHECK(!memcmp(r.attrs, attr, sizeof(attr)));
	MP_CHECK(!memcmp(r.call.params, "12345", 5));
	memset(buf + 44, 0xff, 4); /* 2^32 - 1 attributes */
	MP_CHECK_EQ(mp_get_cuLaunchKernelEx(buf, n, &r), -1);
}

MP_TEST(converters)
{
	CUmemAllocationProp p = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
				 .location = {CU_MEM_LOCATION_TYPE_DEVICE, 3},
				 .allocFlags = {.usage = 9}},
			    q;
	struct mp_mem_prop w;

	mp_from_mem_prop(&w, &p);
	MP_CHECK_EQ(w.location.id, 3);
	MP_CHECK_EQ(w.usage, 9);
	mp_to_mem_prop(&q, &w);
	MP_CHECK(q.type == p.type && q.location.type == p.location.type && q.allocFlags.usage == 9);
}

/* Whatever a decoder takes, it encodes to something that it takes again, and that is stable. */
static int lie(const struct mp_fuzz *z, size_t n, int *taken)
{
	size_t n1, n2;
	int r = z->run(buf, n, out, sizeof(out) / 2, &n1);

	if (r)
		return r == -1 ? 0 : 1;
	++*taken;
	memcpy(buf, out, n1);
	if (n1 != n || z->run(buf, n1, out, sizeof(out) / 2, &n2) || n2 != n1 ||
	    memcmp(buf, out, n1))
		return 1;
	return 0;
}

MP_TEST(lying_bytes)
{
	uint32_t seed = 1;
	int taken = 0;

	MP_CHECK(mp_fuzz_count > 120);
	for (size_t i = 0; i < mp_fuzz_count; i++) {
		const struct mp_fuzz *z = &mp_fuzz_table[i];
		char text[600];

		memset(buf, 0, z->fixed);
		MP_CHECK_EQ(lie(z, z->fixed, &taken), 0); /* all zeros is a message without tails */
		MP_CHECK_EQ(mp_trace_line(text, sizeof(text), z->number, z->reply, buf, z->fixed),
			    0);
		MP_CHECK(!strncmp(text, z->name, strlen(z->name)));
		if (z->fixed)
			MP_CHECK_EQ(z->run(buf, z->fixed - 8, out, sizeof(out), &(size_t){0}), -1);
		for (int round = 0; round < 200; round++) {
			size_t n = z->fixed + (size_t)(round % 9) * 8;

			for (size_t k = 0; k < n; k++) {
				seed = seed * 1664525 + 1013904223;
				buf[k] = seed >> 28 ? 0 : (uint8_t)(seed >> 20);
			}
			MP_CHECK_EQ(lie(z, n, &taken), 0);
		}
	}
	MP_CHECK(taken > (int)mp_fuzz_count);
}

MP_TEST(table)
{
	size_t served = 0, calls = 0, exports = 0;

	for (size_t i = 0; i < mp_call_count; i++) {
		const struct mp_call_info *c = &mp_call_table[i];

		MP_CHECK(mp_call_find(c->number) == c);
		MP_CHECK(!i || c[-1].number < c->number);
		MP_CHECK(c->stream_at == MP_NO_STREAM || c->stream_at + 4u <= c->fixed);
		for (int k = 0; k < c->ids; k++)
			MP_CHECK(c->id[k].kind && c->id[k].kind < MP_KINDS &&
				 c->id[k].offset + 4u <= c->fixed);
		if (c->class == MP_CLASS_RECORD)
			continue;
		calls++;
		exports += 1 + c->ptds + c->ptsz;
		served += c->class != MP_CLASS_REFUSED;
	}
	MP_CHECK_EQ(exports, 637);
	MP_CHECK_EQ(calls, 540);
	MP_CHECK(served >= 230);
	MP_CHECK(!mp_call_find(0) && !mp_call_find(MP_CALL_NUMBER_MAX + 1) &&
		 !mp_call_find(UINT32_MAX));
	MP_CHECK_STR(mp_call_find(MP_CALL_cuMemcpyHtoDAsync_v2)->base, "cuMemcpyHtoDAsync");
	MP_CHECK(mp_call_find(MP_CALL_cuMemcpyHtoDAsync_v2)->ptsz);
	MP_CHECK_EQ(mp_trace_line(NULL, 0, UINT32_MAX, false, buf, 0), -1);
}

MP_TEST_MAIN()
