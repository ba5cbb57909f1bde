/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous copies and the barriers that wait for them (9.7.9.25, 9.7.13.15).
 * A copy is finished when its instruction is: that is one of the times at which
 * the ISA lets it finish, so groups need no bookkeeping.
 */
#include "exec/access.h"

OPS_FILE(async);

/* cp.async (9.7.9.25.3): o describes the destination, o->ref the source; size bytes, of which b are read */
HANDLER("cp.async")
{
	const struct op *from = o->ref;
	u32 all = w->mask, some = 0, n = o->size;
	struct access to, src;

	access_prepare(w, o, &to, n, SP_SHARED, true);
	for (int l = 0; l < LANES; l++)
		if (o->b == SLOT_NONE || ((const u32 *)slot(w, o->b))[l])
			some |= 1u << l;
	some &= all;
	if (some) {
		mask_set(w, some);
		access_prepare(w, from, &src, n, SP_GENERIC, false);
		mask_set(w, all);
	}
	for (int l = 0; l < LANES; l++) {
		u32 take = o->b == SLOT_NONE ? n : ((const u32 *)slot(w, o->b))[l];
		char *d;

		if (!(all >> l & 1))
			continue;
		d = access_place(&to, l, n);
		if (take > n)
			take = n;
		if (some >> l & 1)
			memcpy(d, access_place(&src, l, n), take);
		memset(d + take, 0, n - take);
	}
}

/*
 * mbarrier: 64 bits of our own layout in shared memory.  0..19 arrivals still
 * due, 20..39 arrivals a phase, 40..61 bytes still due (signed), 62 phase.
 */
#define DUE(v)	((u32)((v) & 0xfffff))
#define EACH_PHASE(v) ((u32)((v) >> 20 & 0xfffff))
#define BYTES(v) ((s32)((s64)((v) << 2) >> 42))
#define PHASE(v) ((u32)((v) >> 62 & 1))
static inline u64 mbar(u32 due, u32 each, s32 bytes, u32 phase)
{
	return (u64)(due & 0xfffff) | (u64)(each & 0xfffff) << 20 | (u64)((u32)bytes & 0x3fffff) << 40 |
	       (u64)(phase & 1) << 62;
}

static inline u64 settle(u64 v)
{
	if (!DUE(v) && !BYTES(v))
		return mbar(EACH_PHASE(v), EACH_PHASE(v), 0, PHASE(v) ^ 1);
	return v;
}

enum { MB_INIT, MB_ARRIVE, MB_DROP, MB_TEST, MB_PARITY, MB_EXPECT, MB_COMPLETE, MB_ARRIVE_EXPECT, MB_COUNT };

/* x = MB_*; b = count, bytes, state or parity; d = state or predicate, or SLOT_NONE; n = space */
HANDLER("mbarrier")
{
	struct access x;
	u32 result = 0;

	access_prepare(w, o, &x, 8, (enum space)o->n, true);
	if (o->e == MB_TEST || o->e == MB_PARITY) {
		w->spins += 8;
		w->polls += 8;
	}
	for (int l = 0; l < LANES; l++) {
		u64 *p, v, b;

		if (!(w->mask >> l & 1))
			continue;
		p = (u64 *)access_place(&x, l, 8);
		v = *p;
		b = o->e == MB_TEST ? ((const u64 *)slot(w, o->b))[l]
				    : o->b == SLOT_NONE ? 1 : ((const u32 *)slot(w, o->b))[l];
		switch (o->e) {
		case MB_INIT:
			*p = mbar((u32)b, (u32)b, 0, 0);
			continue;
		case MB_TEST: result |= (u32)(PHASE(v) != PHASE(b)) << l; continue;
		/* waits for the phase of this parity to end: true when another one runs */
		case MB_PARITY: result |= (u32)(PHASE(v) != (b & 1)) << l; continue;
		case MB_EXPECT: *p = mbar(DUE(v), EACH_PHASE(v), BYTES(v) + (s32)b, PHASE(v)); continue;
		case MB_COMPLETE: *p = settle(mbar(DUE(v), EACH_PHASE(v), BYTES(v) - (s32)b, PHASE(v))); continue;
		}
		if (o->d != SLOT_NONE)
			((u64 *)slot(w, o->d))[l] = v;
		if (o->e == MB_ARRIVE_EXPECT) {
			v = mbar(DUE(v), EACH_PHASE(v), BYTES(v) + (s32)b, PHASE(v));
			b = 1;
		}
		if (DUE(v) < b)
			warp_fault(w, (u32)l, MP_EXEC_ILLEGAL_INSTRUCTION, (u64)(uintptr_t)p);
		*p = settle(mbar(DUE(v) - (u32)b, EACH_PHASE(v) - (o->e == MB_DROP ? (u32)b : 0), BYTES(v), PHASE(v)));
	}
	if (o->e == MB_TEST || o->e == MB_PARITY)
		pred_write(w, o->d, result);
}
OP1("mbarrier.pending_count", u32, u64, DUE(x))

/*
 * cp.async.bulk (9.7.9.25.4): a thread copies a run of bytes.  o describes the
 * destination, o->ref the source, c the size; e = slot of the mbarrier's
 * generic address or SLOT_NONE.
 */
HANDLER("cp.bulk")
{
	const struct op *from = o->ref;
	const u32 *size = slot(w, o->c);
	u64 d[LANES], s[LANES];

	addresses(w, o, d);
	addresses(w, from, s);
	for (int l = 0; l < LANES; l++) {
		u64 to = d[l], src = s[l];

		if (!(w->mask >> l & 1))
			continue;
		if (o->n == SP_SHARED)
			to = (to & (GENERIC_SPAN - 1)) | GENERIC_SHARED;
		if (from->n == SP_SHARED)
			src = (src & (GENERIC_SPAN - 1)) | GENERIC_SHARED;
		if ((to | src | size[l]) & 15)
			warp_fault(w, (u32)l, MP_EXEC_MISALIGNED, to);
		if (size[l])
			memcpy(warp_translate(w, (u32)l, to, size[l], true),
			       warp_translate(w, (u32)l, src, size[l], false), size[l]);
		if (o->e != SLOT_NONE) {
			u64 at = (((const u32 *)slot(w, o->e))[l] & (GENERIC_SPAN - 1)) | GENERIC_SHARED, v;
			u64 *p = (u64 *)warp_translate(w, (u32)l, at, 8, true);

			v = *p;
			*p = settle(mbar(DUE(v), EACH_PHASE(v), BYTES(v) - (s32)size[l], PHASE(v)));
		}
	}
}
