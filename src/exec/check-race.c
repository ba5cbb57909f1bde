/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory in checked runs: who wrote and read each byte last, and what
 * orders it.
 *
 * Each warp has a clock, and knows of every other warp's the newest time that
 * lies before what it does now: a barrier hands these on from those that came
 * to those that wait, an atomic or a flag through the word that it touches.
 * Two accesses of different warps, one of them a write, that no such chain
 * orders are a race, whatever their order was in this run.  Lanes of one warp
 * are taken to be in step, except within one instruction.
 */
#include "exec/check.h"

#include <stdlib.h>
#include <string.h>

#define WARPS	   32u
#define BARRIERS   17u /* the last is the cluster's */
#define WORDS	   64u /* that warps meet at, by a hash: two words in one place order more than there is */
#define PAGE	   256u
#define PAGES	   ((256u << 10) / PAGE)

struct mark {
	uint32_t clock; /* 0: none */
	uint16_t thread;
	uint8_t warp, access;
	bool strong;
	const struct code *code;
	const struct op *op;
};

struct byte {
	struct mark w, r[2];
	uint32_t step;
	uint8_t value;
	bool known, has; /* the value; contents at all */
};

typedef uint32_t clocks[WARPS];

struct check_cta {
	struct check_cta *next;
	const struct cta *cta;
	uint64_t serial, linear;
	uint32_t step;
	clocks now[WARPS]; /* now[w][v]: what w knows of v; now[w][w] is its own */
	struct {
		uint32_t phase, lanes[WARPS];
		clocks sum[2]; /* by the parity of the phase */
	} bar[BARRIERS];
	struct { bool wait; uint8_t id; uint32_t phase; } pending[WARPS];
	clocks word[WORDS];
	struct byte *page[PAGES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct check_cta *all[256] MP_GUARDED_BY(lock);
static __thread struct check_cta *latest;

/* Pairs of operations that were reported; once a launch is enough. */
static struct pair { const struct op *a, *b; uint64_t serial; } told[1024] MP_GUARDED_BY(lock);
static uint32_t ntold MP_GUARDED_BY(lock);

static bool is_new(const struct warp *w, const struct op *a, const struct op *b)
{
	uint64_t serial = w->cta->grid->serial;
	uint32_t i, n;

	pthread_mutex_lock(&lock);
	n = ntold < MP_ARRAY_LEN(told) ? ntold : MP_ARRAY_LEN(told);
	for (i = 0; i < n && !(told[i].a == a && told[i].b == b && told[i].serial == serial); i++)
		;
	if (i == n)
		told[ntold++ % MP_ARRAY_LEN(told)] = (struct pair){a, b, serial};
	pthread_mutex_unlock(&lock);
	return i == n;
}

static void reset(struct check_cta *s, const struct cta *c)
{
	uint32_t i;

	for (i = 0; i < PAGES; i++)
		free(s->page[i]);
	memset((char *)s + offsetof(struct check_cta, step), 0, sizeof(*s) - offsetof(struct check_cta, step));
	for (i = 0; i < WARPS; i++)
		s->now[i][i] = 1;
	s->serial = c->grid->serial;
	s->linear = c->linear;
}

struct check_cta *check_cta(struct cta *c)
{
	struct check_cta *s = latest, **list;

	if (!s || s->cta != c) {
		list = &all[(uintptr_t)c / 64 % MP_ARRAY_LEN(all)];
		pthread_mutex_lock(&lock);
		for (s = *list; s && s->cta != c; s = s->next)
			;
		if (!s && (s = calloc(1, sizeof(*s)))) {
			s->cta = c;
			s->next = *list;
			*list = s;
			s->serial = ~0ull;
		}
		pthread_mutex_unlock(&lock);
		latest = s;
	}
	if (s && (s->serial != c->grid->serial || s->linear != c->linear))
		reset(s, c);
	return s;
}

static void join(clocks to, const clocks from)
{
	for (uint32_t i = 0; i < WARPS; i++)
		if (from[i] > to[i])
			to[i] = from[i];
}

/*
 * What a barrier that the warp has passed orders.  Lanes that have not come to
 * it yet get here too; that only orders more than there is.
 */
static void passed(struct check_cta *s, uint32_t w)
{
	if (s->pending[w].wait)
		join(s->now[w], s->bar[s->pending[w].id].sum[s->pending[w].phase & 1]);
}

/* A warp comes to barrier id; those that come again, or find their lanes there, begin its next phase. */
static void come(struct check_cta *s, uint32_t w, uint32_t id, uint32_t m, bool waits)
{
	passed(s, w);
	s->pending[w].wait &= !waits;
	if (s->bar[id].lanes[w] & m) {
		s->bar[id].phase++;
		memset(s->bar[id].lanes, 0, sizeof(s->bar[id].lanes));
		memset(s->bar[id].sum[s->bar[id].phase & 1], 0, sizeof(clocks));
	}
	s->bar[id].lanes[w] |= m;
	join(s->bar[id].sum[s->bar[id].phase & 1], s->now[w]);
	s->now[w][w]++;
	if (waits) {
		s->pending[w].wait = true;
		s->pending[w].id = (uint8_t)id;
		s->pending[w].phase = s->bar[id].phase;
	}
}

void check_barrier(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t id = ((const uint32_t *)slot(w, o->a))[__builtin_ctz(m)];
	struct check_cta *s;

	if (m & w->released || id >= BARRIERS - 1 || w->index >= WARPS)
		return; /* it goes on: passed() when it next matters */
	s = check_cta(w->cta);
	if (s)
		come(s, w->index, id, m, o->x != 1);
}

void check_cluster(struct warp *w, uint32_t m)
{
	struct check_cta *s = w->index < WARPS ? check_cta(w->cta) : NULL;

	if (s)
		come(s, w->index, BARRIERS - 1, m, true);
}

void check_meet(struct check_cta *s, const struct warp *w, uint64_t addr)
{
	uint32_t *word, i = w->index;

	if (i >= WARPS)
		return;
	passed(s, i);
	word = s->word[addr / 4 % WORDS];
	join(s->now[i], word);
	join(word, s->now[i]);
	s->now[i][i]++;
}

void check_shared_step(struct check_cta *s)
{
	s->step++;
}

static struct byte *byte_at(struct check_cta *s, uint32_t at)
{
	if (at / PAGE >= PAGES)
		return NULL;
	if (!s->page[at / PAGE])
		s->page[at / PAGE] = calloc(PAGE, sizeof(struct byte));
	return s->page[at / PAGE] ? &s->page[at / PAGE][at % PAGE] : NULL;
}

void check_shared_wrote(struct check_cta *s, uint32_t at, uint32_t n)
{
	struct byte *b;

	for (; n; n--, at++)
		if ((b = byte_at(s, at)))
			b->has = true;
}

static bool before(const struct check_cta *s, uint32_t w, const struct mark *m)
{
	return !m->clock || m->warp == w || s->now[w][m->warp] >= m->clock;
}

static void tell(struct warp *w, const struct op *o, uint32_t lane, enum check_access a,
		 const struct mark *m, uint32_t at)
{
	struct check_place first = {m->code, m->op, {0}, (enum check_access)m->access};
	struct check_place second = check_place_of(w, o, lane, a);
	const uint32_t *b = w->cta->grid->g.block;

	if (!is_new(w, m->op, o))
		return;
	first.thread[0] = m->thread % b[0];
	first.thread[1] = m->thread / b[0] % b[1];
	first.thread[2] = m->thread / b[0] / b[1];
	check_report_race(w, &first, &second, at);
}

/* One byte; returns whether it has contents. */
static bool access(struct check_cta *s, struct warp *w, const struct op *o, uint32_t lane, uint32_t at,
		   enum check_access a, bool strong, const uint8_t *value)
{
	struct byte *b = byte_at(s, at);
	struct mark m = {s->now[w->index][w->index], (uint16_t)(w->index * LANES + lane), (uint8_t)w->index, (uint8_t)a,
			 strong, w->frame->code, o};
	bool had, same;
	int i;

	if (!b)
		return true;
	had = b->has;
	same = value && b->known && b->value == *value;
	if (a == CHECK_READ) {
		if (!before(s, w->index, &b->w) && !(strong && b->w.strong))
			tell(w, o, lane, a, &b->w, at);
		i = before(s, w->index, &b->r[0]) ? 0 : 1;
		b->r[i] = m;
		return had;
	}
	if (!same && !before(s, w->index, &b->w) && !(strong && b->w.strong))
		tell(w, o, lane, a, &b->w, at);
	/* Two lanes of one instruction: which of the values stays is anyone's guess. */
	if (a == CHECK_WRITE && value && !same && b->w.op == o && b->step == s->step && b->w.thread != m.thread)
		tell(w, o, lane, a, &b->w, at);
	for (i = 0; i < 2; i++)
		if (!before(s, w->index, &b->r[i]) && !(strong && b->r[i].strong))
			tell(w, o, lane, a, &b->r[i], at);
	b->w = m;
	b->r[0].clock = b->r[1].clock = 0;
	b->step = s->step;
	b->known = value;
	b->value = value ? *value : 0;
	b->has = true;
	return had;
}

void check_shared(struct check_cta *s, struct warp *w, const struct op *o, uint32_t lane, uint32_t at, uint32_t n,
		  enum check_access a, bool strong, const uint8_t *value)
{
	bool race = check_on & MP_EXEC_CHECK_RACE && w->index < WARPS && w->cta->grid->lanes == LANES, had = true;
	struct byte *b;
	uint32_t i;

	if (race)
		passed(s, w->index);
	for (i = 0; i < n; i++) {
		if (race) {
			had &= access(s, w, o, lane, at + i, a, strong, value ? value + i : NULL);
		} else if ((b = byte_at(s, at + i))) {
			had &= b->has;
			b->has |= a != CHECK_READ;
		}
	}
	if (a != CHECK_WRITE && !had && check_on & MP_EXEC_CHECK_INIT) {
		struct check_place p = check_place_of(w, o, lane, a);

		if (is_new(w, o, NULL))
			check_report_init(w, &p, true, at, n, NULL);
	}
}
