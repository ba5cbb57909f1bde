/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor's sleep and wake, tried in every order.
 *
 * A model of mp_exec_leave() and mp_exec_kick() (exec.c), one shared access per
 * step, of one thread that is the executor and two that have left it something.
 * All interleavings are visited; in none may a step be left undone when everybody
 * has gone.  Two models with a flaw show that the search would find one.
 */
#include "base/test.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum step { BEGIN, PUT, KICK, TRY, CLEAR, DRAIN, UNLOCK, LOOK, AGAIN, GONE };
enum flaw { NONE, NO_LOOK, CLEAR_LATE };
#define THREADS 3

struct state {
	uint8_t at[THREADS]; /* enum step */
	uint8_t work, kicked, locked;
};

static unsigned visited, lost;
static bool seen[1 << 22];

static uint32_t key(const struct state *s)
{
	return (uint32_t)(s->at[0] | s->at[1] << 4 | s->at[2] << 8 | s->work << 12 | s->kicked << 14 | s->locked << 15);
}

/* The executor clears the wish before it looks at the work; the flaw has it the other way round. */
static enum step first(enum flaw flaw)
{
	return flaw == CLEAR_LATE ? DRAIN : CLEAR;
}

static void step(struct state *s, unsigned t, enum flaw flaw)
{
	switch ((enum step)s->at[t]) {
	case BEGIN: /* thread 0 holds the lock from the start */
		s->at[t] = t ? PUT : (uint8_t)first(flaw);
		break;
	case PUT:
		s->work++;
		s->at[t] = KICK;
		break;
	case KICK:
		s->kicked = 1;
		s->at[t] = TRY;
		break;
	case TRY:
	case AGAIN:
		s->at[t] = s->locked ? GONE : (uint8_t)first(flaw);
		s->locked = 1;
		break;
	case CLEAR:
		s->kicked = 0;
		s->at[t] = flaw == CLEAR_LATE ? UNLOCK : DRAIN;
		break;
	case DRAIN:
		s->work = 0;
		s->at[t] = flaw == CLEAR_LATE ? CLEAR : UNLOCK;
		break;
	case UNLOCK:
		s->locked = 0;
		s->at[t] = flaw == NO_LOOK ? GONE : LOOK;
		break;
	case LOOK:
		s->at[t] = s->kicked ? AGAIN : GONE;
		break;
	case GONE:
		break;
	}
}

static void visit(struct state s, enum flaw flaw)
{
	bool moved = false;
	unsigned t;

	if (seen[key(&s)])
		return;
	seen[key(&s)] = true;
	visited++;
	for (t = 0; t < THREADS; t++) {
		struct state next = s;

		if (s.at[t] == GONE)
			continue;
		moved = true;
		step(&next, t, flaw);
		visit(next, flaw);
	}
	if (!moved && s.work)
		lost++;
}

static unsigned search(enum flaw flaw)
{
	memset(seen, 0, sizeof(seen));
	visited = lost = 0;
	visit((struct state){.locked = 1}, flaw);
	return lost;
}

MP_TEST(nothing_is_left_behind)
{
	MP_CHECK_EQ(search(NONE), 0);
	MP_CHECK(visited > 500);
}

MP_TEST(the_search_finds_flaws)
{
	MP_CHECK(search(NO_LOOK) > 0);
	MP_CHECK(search(CLEAR_LATE) > 0);
}

MP_TEST_MAIN()
