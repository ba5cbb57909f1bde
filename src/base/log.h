/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event: time, level, room, event, key=value.
 *
 * Silent unless mp_log_open() was called or MOTORPOOL_LOG names a level
 * (error, warn, info, debug) or level:FILE.  Never writes to stdout.  Any thread.
 */
#ifndef MP_BASE_LOG_H
#define MP_BASE_LOG_H

enum mp_log_level { MP_LOG_NONE, MP_LOG_ERROR, MP_LOG_WARN, MP_LOG_INFO, MP_LOG_DEBUG };

/* Read MOTORPOOL_LOG; `fallback` applies when it is not set. Call once, before threads. */
void mp_log_open(enum mp_log_level fallback);
/* Keep the last lines in memory, for mp_log_tail(); before there are threads. */
void mp_log_keep(void);
/* The last n of them, the oldest first; `each` must not log. */
void mp_log_tail(unsigned n, void (*each)(void *arg, const char *line), void *arg);
/* The level in force, for callers that would build costly arguments. */
enum mp_log_level mp_log_level(void);
/* `room` and `event` are single words; `fmt` gives key=value pairs. */
void mp_log(enum mp_log_level level, const char *room, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
