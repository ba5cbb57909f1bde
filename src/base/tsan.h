/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the thread sanitizer cannot know; nothing without it.
 *
 * Bytes that are sent stay as they are until their answer is there, which
 * comes by way of another process: reads between these two words are not to be
 * compared with what is written later.
 */
#ifndef MP_BASE_TSAN_H
#define MP_BASE_TSAN_H

#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define MP_TSAN_READS_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define MP_TSAN_READS_END()   AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define MP_TSAN_READS_BEGIN() ((void)0)
#define MP_TSAN_READS_END()   ((void)0)
#endif

#endif
