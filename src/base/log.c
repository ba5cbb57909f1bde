/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: each line is built in one buffer and leaves in one write(2), so
 * that lines of several threads and processes do not mix.
 */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_name[] = {"none", "error", "warn", "info", "debug"};
static enum mp_log_level log_level;
static int log_fd = 2;

#define KEPT	  2000
#define KEPT_SIZE 512

static struct {
	pthread_mutex_t lines;
	char (*line)[KEPT_SIZE]; /* NULL: nothing is kept */
	uint64_t next;
} kept = {.lines = PTHREAD_MUTEX_INITIALIZER};

void mp_log_keep(void)
{
	kept.line = calloc(KEPT, sizeof(*kept.line));
}

static void line_keep(const char *line)
{
	pthread_mutex_lock(&kept.lines);
	snprintf(kept.line[kept.next++ % KEPT], KEPT_SIZE, "%.*s", KEPT_SIZE - 1, line);
	pthread_mutex_unlock(&kept.lines);
}

void mp_log_tail(unsigned n, void (*each)(void *arg, const char *line), void *arg)
{
	uint64_t i;

	pthread_mutex_lock(&kept.lines);
	i = kept.next > KEPT ? kept.next - KEPT : 0;
	if (kept.next - i > n)
		i = kept.next - n;
	for (; kept.line && i < kept.next; i++)
		each(arg, kept.line[i % KEPT]);
	pthread_mutex_unlock(&kept.lines);
}

void mp_log_open(enum mp_log_level fallback)
{
	const char *env = getenv("MOTORPOOL_LOG");
	size_t n;
	int i;

	log_level = fallback;
	if (!env || !*env)
		return;
	n = strcspn(env, ":");
	for (i = MP_LOG_NONE; i <= MP_LOG_DEBUG; i++)
		if (strlen(level_name[i]) == n && !strncmp(env, level_name[i], n))
			log_level = (enum mp_log_level)i;
	if (env[n] == ':') {
		int fd = open(env + n + 1, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		if (fd >= 0)
			log_fd = fd;
	}
}

enum mp_log_level mp_log_level(void)
{
	return log_level;
}

void mp_log(enum mp_log_level level, const char *room, const char *event, const char *fmt, ...)
{
	char line[1024];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;
	int w;

	if (level > log_level || level == MP_LOG_NONE)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s %s ", ts.tv_nsec / 1000000,
			      level_name[level], room, event);
	va_start(ap, fmt);
	w = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (w > 0)
		n += (size_t)w < sizeof(line) - n - 1 ? (size_t)w : sizeof(line) - n - 2;
	line[n++] = '\n';
	line[n] = 0;
	if (kept.line)
		line_keep(line);
	while (write(log_fd, line, n) < 0)
		break;
}
