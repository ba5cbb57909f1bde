/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever shows wrong tokens waits for the answer: ten a minute are free, then
 * each waits longer, up to ten seconds.  Counted by source: an IPv4 address, or
 * the upper half of an IPv6 one.  The token is looked at first, so a good request
 * from the same address is never touched.
 *
 * A table of fixed size; a source that has been silent longest makes room.
 */
#include "rest/throttle.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#define SOURCES	  4096
#define SLOTS	  8 /* that one source may be in */
#define FREE	  10
#define MINUTE_NS (60ull * 1000000000)
#define FIRST_MS  100
#define MOST_MS	  10000

struct source {
	uint8_t address[8];
	uint64_t last, since;
	unsigned wrong; /* in this minute */
	unsigned delay;
};

static struct {
	pthread_mutex_t sources;
	struct source source[SOURCES];
	uint64_t held;
} throttle = {.sources = PTHREAD_MUTEX_INITIALIZER};

static void address_take(const char *peer, uint8_t to[8])
{
	uint8_t six[16] = {0};
	struct in_addr four;

	memset(to, 0, 8);
	if (inet_pton(AF_INET, peer, &four) == 1) {
		to[0] = 4;
		memcpy(to + 1, &four, 4);
	} else if (inet_pton(AF_INET6, peer, six) == 1) {
		memcpy(to, six, 8);
	}
}

static struct source *source_find(const uint8_t address[8], uint64_t now)
{
	uint64_t h = 0xcbf29ce484222325ull;
	struct source *s, *oldest = NULL;
	unsigned i;

	for (i = 0; i < 8; i++)
		h = (h ^ address[i]) * 0x100000001b3ull;
	for (i = 0; i < SLOTS; i++) {
		s = &throttle.source[(h + i) % SOURCES];
		if (s->last && !memcmp(s->address, address, 8))
			return s;
		if (!oldest || s->last < oldest->last)
			oldest = s;
	}
	memset(oldest, 0, sizeof(*oldest));
	memcpy(oldest->address, address, 8);
	oldest->since = now;
	return oldest;
}

unsigned mp_throttle_wrong(const char *peer)
{
	uint64_t now = mp_now_ns();
	uint8_t address[8];
	struct source *s;
	unsigned delay = 0;

	address_take(peer, address);
	pthread_mutex_lock(&throttle.sources);
	s = source_find(address, now);
	if (now - s->since > MINUTE_NS) {
		/* A quiet minute forgives; a loud one is only counted anew. */
		if (s->wrong <= FREE)
			s->delay = 0;
		s->wrong = 0;
		s->since = now;
	}
	s->last = now;
	if (++s->wrong > FREE) {
		s->delay = s->delay ? s->delay * 2 : FIRST_MS;
		if (s->delay > MOST_MS)
			s->delay = MOST_MS;
	}
	delay = s->delay;
	throttle.held += delay != 0;
	pthread_mutex_unlock(&throttle.sources);
	return delay;
}

uint64_t mp_throttle_count(void)
{
	uint64_t n;

	pthread_mutex_lock(&throttle.sources);
	n = throttle.held;
	pthread_mutex_unlock(&throttle.sources);
	return n;
}
