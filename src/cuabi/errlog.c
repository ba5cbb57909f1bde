/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of errors that cuLogs* hand out: the last hundred lines, and whom to
 * tell of new ones.  Filled with what a code alone does not say: the kernel and
 * the instruction of a fault, a call that is not carried.
 */
#include "base/check.h"
#include "cuabi/cuabi.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LINES 100u
#define WIDTH 512u

struct CUlogsCallbackEntry_st {
	struct CUlogsCallbackEntry_st *next;
	CUlogsCallback fn;
	void *data;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[LINES][WIDTH] MP_GUARDED_BY(lock);
static uint32_t count MP_GUARDED_BY(lock); /* lines ever written: the iterator of the end */
/* Calling them holds no other lock, and this one against unregistering. */
static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER;
static struct CUlogsCallbackEntry_st *entries MP_GUARDED_BY(callers);
static __thread bool telling;

void mp_errlog_add(CUlogLevel level, const char *format, ...)
{
	struct CUlogsCallbackEntry_st *e;
	char text[WIDTH - 64], *line;
	struct timespec now;
	struct tm tm;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	pthread_mutex_lock(&lock);
	line = ring[count++ % LINES];
	snprintf(line, WIDTH, "[%02d:%02d:%02d.%03ld][%ld][CUDA][%c] %s", tm.tm_hour, tm.tm_min, tm.tm_sec,
		 now.tv_nsec / 1000000, (long)syscall(SYS_gettid), level == CU_LOG_LEVEL_ERROR ? 'E' : 'W', text);
	pthread_mutex_unlock(&lock);
	if (telling) /* a callback that causes an error */
		return;
	telling = true;
	pthread_mutex_lock(&callers);
	for (e = entries; e; e = e->next)
		e->fn(e->data, level, text, strlen(text));
	pthread_mutex_unlock(&callers);
	telling = false;
}

CUresult mp_errlog_current(CUlogIterator *ret, unsigned flags)
{
	if (!ret || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	*ret = count;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

/* The first line from the iterator on that is still there; lock held. */
static uint32_t first_of(const CUlogIterator *iterator)
{
	uint32_t oldest = count > LINES ? count - LINES : 0;

	return iterator && *iterator > oldest ? *iterator : oldest;
}

CUresult mp_errlog_file(CUlogIterator *iterator, const char *path, unsigned flags)
{
	FILE *f;
	uint32_t i;

	if (!path || flags)
		return CUDA_ERROR_INVALID_VALUE;
	f = fopen(path, "we");
	if (!f)
		return CUDA_ERROR_OPERATING_SYSTEM;
	pthread_mutex_lock(&lock);
	for (i = first_of(iterator); i < count; i++)
		fprintf(f, "%s\n", ring[i % LINES]);
	if (iterator)
		*iterator = count;
	pthread_mutex_unlock(&lock);
	return fclose(f) ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}

CUresult mp_errlog_memory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned flags)
{
	static const char cut[] = "(older lines do not fit)\n";
	size_t room, used = 0, all = 0;
	uint32_t i, first;

	if (!buffer || !size || !*size || flags)
		return CUDA_ERROR_INVALID_VALUE;
	room = *size - 1;
	pthread_mutex_lock(&lock);
	first = first_of(iterator);
	for (i = first; i < count; i++)
		all += strlen(ring[i % LINES]) + 1;
	if (all > room && room >= sizeof(cut) - 1) {
		memcpy(buffer, cut, sizeof(cut) - 1);
		used = sizeof(cut) - 1;
	}
	/* The newest are kept. */
	for (; first < count && all > room - used; first++)
		all -= strlen(ring[first % LINES]) + 1;
	for (i = first; i < count; i++) {
		size_t n = strlen(ring[i % LINES]);

		memcpy(buffer + used, ring[i % LINES], n);
		buffer[used + n] = '\n';
		used += n + 1;
	}
	if (iterator)
		*iterator = count;
	pthread_mutex_unlock(&lock);
	buffer[used] = 0;
	*size = used;
	return CUDA_SUCCESS;
}

CUresult mp_errlog_register(CUlogsCallback fn, void *data, CUlogsCallbackHandle *ret)
{
	struct CUlogsCallbackEntry_st *e;

	if (!fn || !ret)
		return CUDA_ERROR_INVALID_VALUE;
	if (telling)
		return CUDA_ERROR_NOT_PERMITTED;
	e = malloc(sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_lock(&callers);
	*e = (struct CUlogsCallbackEntry_st){entries, fn, data};
	entries = *ret = e;
	pthread_mutex_unlock(&callers);
	return CUDA_SUCCESS;
}

CUresult mp_errlog_unregister(CUlogsCallbackHandle h)
{
	struct CUlogsCallbackEntry_st **p, *e;

	if (telling)
		return CUDA_ERROR_NOT_PERMITTED;
	pthread_mutex_lock(&callers);
	for (p = &entries; (e = *p) && e != h; p = &e->next)
		;
	if (e)
		*p = e->next;
	pthread_mutex_unlock(&callers);
	if (!e)
		return CUDA_ERROR_INVALID_VALUE;
	free(e);
	return CUDA_SUCCESS;
}
