/* SPDX-License-Identifier: Apache-2.0 */
/* A small library that uses what drop-ins use and glibc renamed or moved; see test-floor.c. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

static _Thread_local int per_thread;
static sem_t ready;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static int state;

static void *thread(void *arg)
{
	per_thread = 7;
	pthread_mutex_lock(&lock);
	state = per_thread;
	pthread_cond_signal(&woken);
	pthread_mutex_unlock(&lock);
	sem_post(&ready);
	return arg;
}

int floor_probe(void);
/* 0, or the number of the step that failed. */
MP_EXPORT int floor_probe(void)
{
	pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
	pthread_key_t key;
	struct timespec ts;
	struct stat st;
	sigset_t set;
	char byte[8];
	pthread_t t;
	int fd;

	if (sem_init(&ready, 0, 0) || pthread_create(&t, NULL, thread, NULL))
		return 1;
	pthread_mutex_lock(&lock);
	while (!state)
		pthread_cond_wait(&woken, &lock);
	pthread_mutex_unlock(&lock);
	sem_wait(&ready);
	if (pthread_join(t, NULL) || state != 7 || per_thread)
		return 2;
	if (stat("/", &st) || !S_ISDIR(st.st_mode) || lstat("/", &st) || stat("/none/such", &st) != -1 ||
	    errno != ENOENT)
		return 3;
	fd = memfd_create("probe", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 4096) || fstat(fd, &st) || st.st_size != 4096)
		return 4;
	if (fcntl(fd, F_GETFD) != FD_CLOEXEC || fcntl(fd, F_SETFD, 0) || fcntl(fd, F_GETFD))
		return 5;
	close(fd);
	if (getrandom(byte, sizeof(byte), 0) != sizeof(byte))
		return 6;
	if (clock_gettime(CLOCK_MONOTONIC, &ts) || strtol("12", NULL, 10) != 12)
		return 7;
	if (pthread_key_create(&key, free) || pthread_rwlock_rdlock(&rw) || pthread_rwlock_unlock(&rw))
		return 8;
	sigfillset(&set);
	if (pthread_sigmask(SIG_BLOCK, NULL, &set))
		return 9;
	if (!dlsym(RTLD_DEFAULT, "malloc") || dlopen("libnone-such.so", RTLD_NOW) || !dlerror())
		return 10;
	if (pow((double)ts.tv_sec * 0 + 2, 10) != 1024 || gettid() != getpid())
		return 11;
	/* A room of the tree, built as it always is. */
	mp_log(MP_LOG_DEBUG, "base", "probe", "done=%d", 1);
	return 0;
}
