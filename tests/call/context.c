/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: the stack, primary and own ones, flags, limits, one per thread, what a destroyed one leaves. */
#include "call.h"

#include <pthread.h>

static void *other_thread(void *arg)
{
	CUcontext c = (CUcontext)1;
	CUdeviceptr p;

	SAY(cuCtxGetCurrent(&c));
	call_line("none: %d", c == NULL);
	SAY(cuMemAlloc(&p, 16));
	SAY(cuCtxSetCurrent(arg));
	SAY(cuMemAlloc(&p, 16));
	SAY(cuMemFree(p));
	return NULL;
}

int main(void)
{
	CUcontext a, b, c, primary, again;
	CUdevice dev;
	CUdeviceptr p = 0, q = 0;
	unsigned flags = 0, version = 0, word = 0;
	int active = -1, n = -1, driver = 0;
	unsigned long long id = 0, other = 0;
	size_t value = 0;
	pthread_t t;
	char name[64] = "";

	SAY(cuDeviceGetCount(&n)); /* before cuInit */
	SAY(cuInit(0));
	SAY(cuInit(1));
	SAY(cuDriverGetVersion(&driver));
	call_line("driver %d", driver);
	SAY(cuDeviceGetCount(&n));
	call_line("devices %d", n);
	SAY(cuDeviceGet(&dev, 0));
	SAY(cuDeviceGet(&dev, 99));
	MUST(cuDeviceGet(&dev, 0));
	SAY(cuDeviceGetName(name, sizeof(name), dev));
	call_line("named: %d", *name != 0);
	SAY(cuCtxGetCurrent(&c));
	call_line("none: %d", c == NULL);
	SAY(cuMemAlloc(&p, 16));
	SAY(cuCtxSynchronize());
	SAY(cuCtxCreate(&a, CU_CTX_SCHED_SPIN, dev));
	SAY(cuCtxCreate(&b, CU_CTX_SCHED_BLOCKING_SYNC, dev));
	SAY(cuCtxGetCurrent(&c));
	call_line("the newest is current: %d", c == b);
	SAY(cuCtxGetFlags(&flags));
	call_line("flags %u", flags & CU_CTX_SCHED_MASK);
	SAY(cuCtxPopCurrent(&c));
	call_line("popped the newest: %d", c == b);
	SAY(cuCtxGetCurrent(&c));
	call_line("the older is current: %d", c == a);
	SAY(cuCtxGetId(a, &id));
	SAY(cuCtxGetId(b, &other));
	call_line("ids differ: %d", id != other);
	SAY(cuCtxGetApiVersion(a, &version));
	call_line("version %u", version);
	SAY(cuCtxGetDevice(&dev));
	call_line("device %d", dev);
	SAY(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
	call_line("stack %d", value > 0);
	SAY(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
	SAY(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
	call_line("stack %zu", value);
	SAY(cuCtxGetLimit(&value, (CUlimit)77));
	SAY(cuCtxGetCacheConfig((CUfunc_cache *)&n));
	/* Memory of one context, used while another is current: addresses are unified. */
	SAY(cuMemAlloc(&p, 4096));
	SAY(cuCtxPushCurrent(b));
	SAY(cuMemAlloc(&q, 4096));
	SAY(cuMemsetD32(q, 7, 1024));
	SAY(cuMemcpyDtoD(p, q, 4096));
	SAY(cuMemcpyDtoH(&word, p + 400, 4));
	call_line("word %u", word);
	SAY(cuCtxDestroy(b));
	SAY(cuCtxGetCurrent(&c));
	call_line("the older is current again: %d", c == a);
	SAY(cuMemcpyDtoH(&word, p + 400, 4));
	call_line("word %u", word);
	/* The primary context. */
	SAY(cuDevicePrimaryCtxGetState(dev, &flags, &active));
	call_line("flags %u active %d", flags, active);
	SAY(cuDevicePrimaryCtxRetain(&primary, dev));
	SAY(cuDevicePrimaryCtxRetain(&again, dev));
	call_line("one and the same: %d", primary == again);
	SAY(cuCtxSetCurrent(primary));
	SAY(cuMemAlloc(&q, 100));
	SAY(cuDevicePrimaryCtxGetState(dev, &flags, &active));
	call_line("active %d", active);
	SAY(cuDevicePrimaryCtxRelease(dev));
	SAY(cuDevicePrimaryCtxRelease(dev));
	SAY(cuDevicePrimaryCtxRelease(dev));
	SAY(cuDevicePrimaryCtxGetState(dev, &flags, &active));
	call_line("active %d", active);
	SAY(cuCtxSetCurrent(a));
	if (pthread_create(&t, NULL, other_thread, a))
		exit(1);
	pthread_join(t, NULL);
	SAY(cuCtxPushCurrent(a));
	SAY(cuCtxPopCurrent(&c));
	SAY(cuCtxSetCurrent(NULL));
	SAY(cuCtxPopCurrent(&c));
	SAY(cuMemAlloc(&q, 100));
	SAY(cuCtxPushCurrent(NULL));
	SAY(cuCtxDestroy(a));
	SAY(cuCtxDestroy(NULL));
	call_line("end");
	return 0;
}
