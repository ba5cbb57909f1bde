/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: primary ones, created ones, and what is current in a thread.
 *
 * A primary context's object is made at its first mention and stays; `active`
 * says whether somebody retains it, so its handle can be current before that,
 * as the CUDA runtime wants it.  A created context's object goes with it.
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define DRAIN_MS  10000 /* what a context that goes waits for its work */
#define CANCEL_MS 5000	/* and then for cancelled work to notice */
#define EXIT_MS	  10000	/* what exit() waits for all queued work */
#define HEAP_FREE ((size_t)8 << 20) /* device malloc's heap that a context's cost includes */

static __thread struct {
	CUcontext *stack;
	unsigned depth, cap;
} current;
__thread bool mp_in_callback;

static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t next_id = 1;
static struct CUctx_st *open_contexts MP_GUARDED_BY(state);

static void thread_exit(void *unused)
{
	(void)unused;
	mp_context_thread_exit();
	free(current.stack);
	current.stack = NULL;
	current.depth = current.cap = 0;
}

static void exit_key_make(void)
{
	pthread_key_create(&exit_key, thread_exit);
}

static bool stack_push(CUcontext ctx)
{
	if (current.depth == current.cap) {
		unsigned cap = current.cap ? current.cap * 2 : 8;
		CUcontext *p = realloc(current.stack, cap * sizeof(*p));

		if (!p)
			return false;
		current.stack = p;
		current.cap = cap;
		pthread_once(&exit_once, exit_key_make);
		pthread_setspecific(exit_key, &current);
	}
	current.stack[current.depth++] = ctx;
	return true;
}

CUcontext mp_context_top(void)
{
	return current.depth ? current.stack[current.depth - 1] : NULL;
}

bool mp_context_live(CUcontext ctx)
{
	return mp_handle_live(MP_CONTEXT, ctx);
}

CUresult mp_context_current(struct CUctx_st **ret)
{
	struct CUctx_st *ctx;
	CUresult r = mp_soft_ready();

	if (MP_UNLIKELY(r))
		return r;
	ctx = mp_context_top();
	if (MP_UNLIKELY(!ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	if (MP_UNLIKELY(!mp_handle_live(MP_CONTEXT, ctx) || !ctx->active))
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	*ret = ctx;
	return CUDA_SUCCESS;
}

CUresult mp_context_enter(struct CUctx_st **ret)
{
	CUresult r = mp_context_current(ret);

	if (MP_UNLIKELY(r))
		return r;
	r = (CUresult)(*ret)->error;
	if (MP_UNLIKELY(r)) /* what was printed before the fault is shown with it */
		mp_print_flush(*ret);
	return r;
}

void mp_context_fail(struct CUctx_st *ctx, CUresult error)
{
	int none = 0;

	assert(error);
	if (!atomic_compare_exchange_strong(&ctx->error, &none, (int)error))
		return;
	__atomic_store_n(&ctx->cancel, 1, __ATOMIC_RELEASE);
	mp_log(MP_LOG_ERROR, "soft", "context-failed", "context=%llu error=%s",
	       (unsigned long long)ctx->id, mp_error_name(error));
}

/* ---- Coming and going ---- */

static CUresult heap_set(struct CUctx_st *ctx, size_t size)
{
	uint64_t addr = 0;
	CUresult r;

	if (size) {
		r = mp_memory_alloc(ctx, ctx->device, size, MP_GRANULE, MP_RANGE_MODULE,
				    size > HEAP_FREE, &addr);
		if (r)
			return r;
		mp_memory_lock();
		mp_range_find(addr)->hidden = true;
		mp_memory_unlock();
	}
	if (ctx->space.heap_base)
		mp_exec_heap_forget(ctx->space.heap_base);
	if (ctx->space.heap_base)
		mp_memory_release(ctx->space.heap_base, MP_RANGE_MODULE);
	ctx->space.heap_base = addr;
	ctx->space.heap_size = size;
	return CUDA_SUCCESS;
}

/* State lock held. */
static CUresult context_open(struct CUctx_st *ctx, unsigned flags)
{
	CUresult r;

	if (!mp_soft_account_charge(ctx->device->account, mp_soft.config.context_memory))
		return CUDA_ERROR_OUT_OF_MEMORY;
	ctx->charged = mp_soft.config.context_memory;
	ctx->flags = flags;
	ctx->id = next_id++;
	ctx->api_version = 3020;
	ctx->error = 0;
	ctx->cancel = 0;
	ctx->peers = 0;
	memset(ctx->limits, 0, sizeof(ctx->limits));
	ctx->limits[CU_LIMIT_STACK_SIZE] = 1024;
	ctx->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
	ctx->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = HEAP_FREE;
	ctx->limits[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
	ctx->limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
	ctx->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
	ctx->space = (struct mp_exec_space){
		.condition = mp_condition_set,
		.base = MP_SOFT_WINDOW_BASE,
		.size = MP_SOFT_WINDOW_SIZE,
		.extra = mp_memory_extra,
		.print = mp_print_add,
		.print_error = mp_print_error,
		.arg = ctx,
		.texture = mp_texture_find,
		.block = mp_memory_block,
	};
	pthread_mutex_init(&ctx->print.lock, NULL);
	r = heap_set(ctx, HEAP_FREE);
	if (!r && !(ctx->legacy = mp_stream_new(ctx, CU_STREAM_DEFAULT, 0)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (r) {
		heap_set(ctx, 0);
		mp_soft_account_release(ctx->device->account, ctx->charged);
		return r;
	}
	ctx->legacy->legacy = true;
	ctx->active = true;
	ctx->next_open = open_contexts;
	open_contexts = ctx;
	return CUDA_SUCCESS;
}

static void open_remove(struct CUctx_st *ctx)
{
	struct CUctx_st **at;

	pthread_mutex_lock(&mp_soft.state);
	for (at = &open_contexts; *at && *at != ctx; at = &(*at)->next_open)
		;
	if (*at)
		*at = ctx->next_open;
	pthread_mutex_unlock(&mp_soft.state);
}

/*
 * A process that exits with work queued: finite work ends, endless work is
 * ended.  Afterwards nothing is freed, since threads of the program may still
 * be about; the kernel takes it all, and the account is reaped.
 */
void mp_context_exit(void)
{
	struct CUctx_st *ctx;
	uint64_t until = mp_now_ns() + EXIT_MS * 1000000ull, now;

	if (mp_soft.ready != 1 || mp_in_callback)
		return;
	for (ctx = open_contexts; ctx; ctx = ctx->next_open) {
		now = mp_now_ns();
		if (!ctx->error && mp_queue_drain(ctx, now < until ? (unsigned)((until - now) / 1000000)
								   : 0))
			continue;
		__atomic_store_n(&ctx->cancel, 1, __ATOMIC_RELEASE);
		mp_queue_drain(ctx, 1000);
	}
	mp_soft.exiting = true;
}

/* Ends everything of the context. State lock not held: destructors and host functions may call. */
static void context_close(struct CUctx_st *ctx)
{
	bool idle;

	mp_cls_context_gone(ctx);
	open_remove(ctx);
	if (mp_soft.exiting) {
		mp_print_flush(ctx);
		ctx->active = false;
		return;
	}
	idle = mp_queue_drain(ctx, ctx->error ? 0 : DRAIN_MS);
	if (!idle) {
		__atomic_store_n(&ctx->cancel, 1, __ATOMIC_RELEASE);
		idle = mp_queue_drain(ctx, CANCEL_MS);
	}
	mp_print_flush(ctx);
	ctx->active = false;
	while (ctx->streams)
		mp_stream_free(ctx->streams);
	ctx->legacy = NULL;
	if (!idle) {
		/* Something still runs in there: its memory and code must stay. */
		mp_log(MP_LOG_ERROR, "soft", "context-stuck", "context=%llu pending=%zu",
		       (unsigned long long)ctx->id, mp_queue_pending(ctx));
		return;
	}
	mp_library_context_gone(ctx);
	while (ctx->modules)
		mp_module_drop(ctx->modules);
	heap_set(ctx, 0);
	mp_texture_context_gone(ctx);
	mp_array_context_gone(ctx);
	mp_memory_context_gone(ctx);
	mp_soft_account_release(ctx->device->account, ctx->charged);
	ctx->charged = 0;
	free(ctx->print.text);
	memset(&ctx->print, 0, sizeof(ctx->print));
	free(ctx->orphans);
	ctx->orphans = NULL;
	ctx->norphans = ctx->orphan_cap = 0;
}

/* The primary context's object. State lock held. */
static struct CUctx_st *primary_of(struct mp_device *d)
{
	if (!d->primary) {
		d->primary = mp_handle_new(MP_CONTEXT, sizeof(*d->primary));
		if (d->primary) {
			d->primary->device = d;
			d->primary->primary = true;
		}
	}
	return d->primary;
}

static CUresult flags_check(unsigned flags)
{
	unsigned sched = flags & CU_CTX_SCHED_MASK;

	if (flags & ~(unsigned)CU_CTX_FLAGS_MASK)
		return CUDA_ERROR_INVALID_VALUE;
	return sched == 0 || sched == 1 || sched == 2 || sched == 4 ? CUDA_SUCCESS
								    : CUDA_ERROR_INVALID_VALUE;
}

#define DEVICE(d, dev)                                                                             \
	struct mp_device *d;                                                                       \
	do {                                                                                       \
		CUresult mp_r = mp_soft_ready();                                                   \
		if (mp_r)                                                                          \
			return mp_r;                                                               \
		d = mp_device_find(dev);                                                           \
		if (!d)                                                                            \
			return CUDA_ERROR_INVALID_DEVICE;                                          \
	} while (0)

CUresult cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
	struct CUctx_st *ctx;
	CUresult r = CUDA_SUCCESS;
	DEVICE(d, dev);

	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&mp_soft.state);
	ctx = primary_of(d);
	if (!ctx)
		r = CUDA_ERROR_OUT_OF_MEMORY;
	else if (!ctx->active)
		r = context_open(ctx, ctx->flags);
	if (!r) {
		ctx->refs++;
		*pctx = ctx;
	}
	pthread_mutex_unlock(&mp_soft.state);
	return r;
}

static CUresult primary_close(struct mp_device *d, bool reset)
{
	struct CUctx_st *ctx, *close = NULL;
	CUresult r = CUDA_SUCCESS;

	pthread_mutex_lock(&mp_soft.state);
	ctx = d->primary;
	if (!ctx || !ctx->active || !ctx->refs) {
		r = reset ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
	} else {
		ctx->refs = reset ? 0 : ctx->refs - 1;
		if (!ctx->refs)
			close = ctx;
	}
	pthread_mutex_unlock(&mp_soft.state);
	if (close)
		context_close(close);
	return r;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
	DEVICE(d, dev);
	return primary_close(d, false);
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
	return cuDevicePrimaryCtxRelease_v2(dev);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
	DEVICE(d, dev);
	return primary_close(d, true);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
	return cuDevicePrimaryCtxReset_v2(dev);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
	DEVICE(d, dev);
	if (!flags && !active)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&mp_soft.state);
	if (flags)
		*flags = d->primary ? d->primary->flags : 0;
	if (active)
		*active = d->primary && d->primary->active;
	pthread_mutex_unlock(&mp_soft.state);
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
	CUresult r = flags_check(flags);
	DEVICE(d, dev);

	if (r)
		return r;
	pthread_mutex_lock(&mp_soft.state);
	if (primary_of(d))
		d->primary->flags = flags;
	else
		r = CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_unlock(&mp_soft.state);
	return r;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
	return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

CUresult cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
	struct CUctx_st *ctx;
	CUresult r = flags_check(flags);
	DEVICE(d, dev);

	if (!pctx || r)
		return CUDA_ERROR_INVALID_VALUE;
	ctx = mp_handle_new(MP_CONTEXT, sizeof(*ctx));
	if (!ctx)
		return CUDA_ERROR_OUT_OF_MEMORY;
	ctx->device = d;
	pthread_mutex_lock(&mp_soft.state);
	r = context_open(ctx, flags);
	pthread_mutex_unlock(&mp_soft.state);
	if (!r && !stack_push(ctx)) {
		context_close(ctx);
		r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (r)
		mp_handle_free(MP_CONTEXT, ctx);
	else
		*pctx = ctx;
	return r;
}

CUresult cuCtxCreate(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
	return cuCtxCreate_v2(pctx, flags, dev);
}

CUresult cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *paramsArray, int numParams,
			unsigned int flags, CUdevice dev)
{
	if (numParams < 0 || (numParams && !paramsArray))
		return CUDA_ERROR_INVALID_VALUE;
	if (numParams)
		return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
	return cuCtxCreate_v2(pctx, flags, dev);
}

CUresult cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned int flags,
			CUdevice dev)
{
	if (ctxCreateParams && ctxCreateParams->cigParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	return cuCtxCreate_v3(pctx, ctxCreateParams ? ctxCreateParams->execAffinityParams : NULL,
			      ctxCreateParams ? ctxCreateParams->numExecAffinityParams : 0, flags,
			      dev);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mp_handle_live(MP_CONTEXT, ctx) || ctx->primary)
		return CUDA_ERROR_INVALID_CONTEXT;
	context_close(ctx);
	if (mp_context_top() == ctx)
		current.depth--;
	if (!ctx->pending)
		mp_handle_free(MP_CONTEXT, ctx);
	return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext ctx)
{
	return cuCtxDestroy_v2(ctx);
}

CUresult cuCtxAttach(CUcontext *pctx, unsigned int flags)
{
	struct CUctx_st *ctx;
	CUresult r = mp_context_current(&ctx);

	if (r)
		return r;
	if (!pctx || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&mp_soft.state);
	ctx->refs++;
	pthread_mutex_unlock(&mp_soft.state);
	*pctx = ctx;
	return CUDA_SUCCESS;
}

CUresult cuCtxDetach(CUcontext ctx)
{
	bool last;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!mp_handle_live(MP_CONTEXT, ctx) || ctx->primary)
		return CUDA_ERROR_INVALID_CONTEXT;
	pthread_mutex_lock(&mp_soft.state);
	last = !ctx->refs;
	if (!last)
		ctx->refs--;
	pthread_mutex_unlock(&mp_soft.state);
	return last ? cuCtxDestroy_v2(ctx) : CUDA_SUCCESS;
}

/* ---- What is current ---- */

CUresult cuCtxGetCurrent(CUcontext *pctx)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!pctx)
		return CUDA_ERROR_INVALID_VALUE;
	*pctx = mp_context_top();
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext ctx)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ctx) {
		if (current.depth)
			current.depth--;
		return CUDA_SUCCESS;
	}
	if (!mp_handle_live(MP_CONTEXT, ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	if (current.depth)
		current.stack[current.depth - 1] = ctx;
	else if (!stack_push(ctx))
		return CUDA_ERROR_OUT_OF_MEMORY;
	return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ctx)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_CONTEXT, ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	return stack_push(ctx) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuCtxPushCurrent(CUcontext ctx)
{
	return cuCtxPushCurrent_v2(ctx);
}

CUresult cuCtxPopCurrent_v2(CUcontext *pctx)
{
	CUcontext top;
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	top = mp_context_top();
	if (!top)
		return CUDA_ERROR_INVALID_CONTEXT;
	current.depth--;
	if (pctx)
		*pctx = top;
	return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *pctx)
{
	return cuCtxPopCurrent_v2(pctx);
}

/* ---- Questions and settings ---- */

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ctx)
		ctx = mp_context_top();
	if (!mp_handle_live(MP_CONTEXT, ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	*device = ctx->device->ordinal;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
	return cuCtxGetDevice_v2(device, NULL);
}

CUresult cuCtxGetFlags(unsigned int *flags)
{
	struct CUctx_st *ctx;
	CUresult r = mp_context_current(&ctx);

	if (!r && !flags)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*flags = ctx->flags;
	return r;
}

CUresult cuCtxSetFlags(unsigned int flags)
{
	struct CUctx_st *ctx;
	CUresult r = mp_context_current(&ctx);

	if (!r)
		r = flags_check(flags);
	if (!r)
		ctx->flags = flags;
	return r;
}

CUresult cuCtxGetId(CUcontext ctx, unsigned long long *ctxId)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!ctxId)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ctx)
		ctx = mp_context_top();
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!mp_handle_live(MP_CONTEXT, ctx) || !ctx->active)
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	*ctxId = ctx->id;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
	CUresult r = mp_soft_ready();

	if (r)
		return r;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	if (!ctx)
		ctx = mp_context_top();
	if (!mp_handle_live(MP_CONTEXT, ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	*version = 3020;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t *pvalue, CUlimit limit)
{
	struct CUctx_st *ctx;
	CUresult r = mp_context_current(&ctx);

	if (r)
		return r;
	if (!pvalue)
		return CUDA_ERROR_INVALID_VALUE;
	if ((unsigned)limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE)
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	*pvalue = ctx->limits[limit];
	return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
	CUresult r = CUDA_SUCCESS;
	MP_ENTER(ctx);

	switch ((int)limit) {
	case CU_LIMIT_STACK_SIZE:
		if (value > (512u << 10))
			return CUDA_ERROR_INVALID_VALUE;
		value = mp_align_up(value, 16);
		break;
	case CU_LIMIT_MALLOC_HEAP_SIZE:
		/* A heap that kernels may use cannot move under them. */
		if (mp_queue_pending(ctx))
			mp_queue_join(ctx);
		value = value ? mp_align_up(value, MP_GRANULE) : MP_GRANULE;
		r = value == ctx->space.heap_size ? CUDA_SUCCESS : heap_set(ctx, value);
		break;
	case CU_LIMIT_PRINTF_FIFO_SIZE:
	case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH:
	case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT: break;
	case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
		if (value > 128)
			return CUDA_ERROR_INVALID_VALUE;
		break;
	case CU_LIMIT_PERSISTING_L2_CACHE_SIZE: {
		size_t most = (size_t)ctx->device->attributes
				      [CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE];

		if (!most)
			return CUDA_ERROR_UNSUPPORTED_LIMIT;
		value = value > most ? most : value;
		break;
	}
	default: return CUDA_ERROR_UNSUPPORTED_LIMIT;
	}
	if (!r)
		ctx->limits[limit] = value;
	return r;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *pconfig)
{
	MP_ENTER(ctx);
	if (!pconfig)
		return CUDA_ERROR_INVALID_VALUE;
	*pconfig = (CUfunc_cache)ctx->cache_config;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
	MP_ENTER(ctx);
	if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL)
		return CUDA_ERROR_INVALID_VALUE;
	ctx->cache_config = (int)config;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig *pConfig)
{
	MP_ENTER(ctx);
	if (!pConfig)
		return CUDA_ERROR_INVALID_VALUE;
	*pConfig = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
	(void)ctx;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	MP_ENTER(ctx);
	(void)ctx;
	return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
		       ? CUDA_ERROR_INVALID_VALUE
		       : CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *leastPriority, int *greatestPriority)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (leastPriority)
		*leastPriority = 0;
	if (greatestPriority)
		*greatestPriority = -5;
	return CUDA_SUCCESS;
}

CUresult cuCtxResetPersistingL2Cache(void)
{
	MP_ENTER(ctx);
	(void)ctx;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetExecAffinity(CUexecAffinityParam *pExecAffinity, CUexecAffinityType type)
{
	MP_ENTER(ctx);
	(void)ctx;
	if (!pExecAffinity || (unsigned)type >= CU_EXEC_AFFINITY_TYPE_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
}

CUresult cuCtxSynchronize_v2(CUcontext ctx)
{
	struct CUctx_st *here;
	CUresult r;

	if (ctx) {
		r = mp_soft_ready();
		if (r)
			return r;
		if (!mp_handle_live(MP_CONTEXT, ctx))
			return CUDA_ERROR_INVALID_CONTEXT;
		if (!ctx->active)
			return CUDA_ERROR_CONTEXT_IS_DESTROYED;
		if (ctx->error)
			return (CUresult)ctx->error;
		here = ctx;
	} else {
		r = mp_context_enter(&here);
		if (r)
			return r;
	}
	r = mp_capture_unsafe();
	if (r)
		return r;
	r = mp_queue_join(here);
	mp_pool_settle(here);
	mp_print_flush(here);
	return r ? r : (CUresult)here->error;
}

CUresult cuCtxSynchronize(void)
{
	return cuCtxSynchronize_v2(NULL);
}

/* ---- Peers ---- */

CUresult cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags)
{
	uint32_t bit;
	CUresult r = CUDA_SUCCESS;
	MP_ENTER(ctx);

	if (Flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!mp_handle_live(MP_CONTEXT, peerContext) || !peerContext->active || peerContext == ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (peerContext == ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (peerContext->device == ctx->device)
		return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
	bit = 1u << peerContext->device->ordinal;
	pthread_mutex_lock(&mp_soft.state);
	if (ctx->peers & bit)
		r = CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
	ctx->peers |= bit;
	pthread_mutex_unlock(&mp_soft.state);
	return r;
}

CUresult cuCtxDisablePeerAccess(CUcontext peerContext)
{
	uint32_t bit;
	CUresult r = CUDA_SUCCESS;
	MP_ENTER(ctx);

	if (!mp_handle_live(MP_CONTEXT, peerContext) || !peerContext->active)
		return CUDA_ERROR_INVALID_CONTEXT;
	bit = 1u << peerContext->device->ordinal;
	pthread_mutex_lock(&mp_soft.state);
	if (!(ctx->peers & bit))
		r = CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
	ctx->peers &= ~bit;
	pthread_mutex_unlock(&mp_soft.state);
	return r;
}

/* ---- What cuabi asks ---- */

static CUresult ask_primary(CUdevice dev, CUcontext *ret)
{
	struct mp_device *d = mp_device_find(dev);

	if (mp_soft.ready != 1)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&mp_soft.state);
	*ret = primary_of(d);
	pthread_mutex_unlock(&mp_soft.state);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult ask_id(CUcontext ctx, uint64_t *ret)
{
	unsigned long long id = 0;
	CUresult r = cuCtxGetId(ctx, &id);

	*ret = id;
	return r;
}

static CUresult ask_stream(CUcontext ctx, CUstream stream, bool per_thread, void **ret)
{
	struct CUstream_st *s;
	CUresult r;

	if (!ctx)
		ctx = mp_context_top();
	if (!mp_handle_live(MP_CONTEXT, ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!stream && per_thread)
		stream = CU_STREAM_PER_THREAD;
	r = mp_stream_find(ctx, stream, &s);
	if (!r)
		*ret = s;
	return r;
}

static CUresult ask_stream_id(CUcontext ctx, void *token, uint64_t *ret)
{
	(void)ctx;
	if (!mp_handle_live(MP_STREAM, token))
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = ((struct CUstream_st *)token)->id;
	return CUDA_SUCCESS;
}

static CUresult ask_kernel(CUcontext ctx, CUmodule module, size_t i, CUfunction *ret)
{
	(void)ctx;
	if (!mp_handle_live(MP_MODULE, module))
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = mp_module_function(module, i);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

static int ask_count(void)
{
	return (int)mp_soft.ndevices;
}

static CUresult ask_identity(int ordinal, CUuuid *uuid, int32_t *domain, int32_t *bus,
			     int32_t *device)
{
	const struct mp_device *d = mp_device_find(ordinal);

	if (!d)
		return CUDA_ERROR_INVALID_DEVICE;
	*uuid = d->uuid;
	*domain = d->attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID];
	*bus = d->attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID];
	*device = d->attributes[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID];
	return CUDA_SUCCESS;
}

static int ask_version(void)
{
	return MP_SOFT_DRIVER_VERSION;
}

static const struct mp_cuabi_ops cuabi_ops = {
	.primary_context = ask_primary,
	.current_context = mp_context_top,
	.context_live = mp_context_live,
	.context_id = ask_id,
	.stream_token = ask_stream,
	.stream_id = ask_stream_id,
	.module_kernel = ask_kernel,
	.device_count = ask_count,
	.device_identity = ask_identity,
	.driver_version = ask_version,
};

__attribute__((constructor)) static void cuabi_open(void)
{
	mp_cuabi_init(&cuabi_ops);
}
