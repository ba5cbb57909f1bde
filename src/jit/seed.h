/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrong code on purpose.  A comparison of the tiers is worth what it finds, so a
 * test can make the emitter err in one of these ways and count how many a number
 * of random programs shows.  Nothing but a test sets mp_jit_seeded.
 */
#ifndef MP_JIT_SEED_H
#define MP_JIT_SEED_H

#define MP_JIT_SEEDS(X)                                                                            \
	X(NAN_KEPT) X(GUARD_IGNORED) X(GUARD_SCALAR_IGNORED) X(MASK_IGNORED) X(STRIDE_LOST)        \
	X(ONE_GROUP) X(SPILL_NEGATED) X(RELOAD_LOST) X(LEAVE_REGISTER)            \
	X(PENDING_REPLACED) X(BRANCH_SWAPPED) X(BRANCH_ALL) X(EXIT_ALL) X(SWITCH_OFF)              \
	X(ENTER_KEEPS) X(BARRIER_SKIPPED) X(LOAD_SIGN) X(STORE_FIRST) X(STORE_UNMASKED)            \
	X(OFFSET_LOST) X(COVER_OFFSET) X(INTERLEAVE) X(LOAD_SAME_LANE) X(SHIFT_CLAMP)              \
	X(SHIFT_SIGN) X(SHIFT_RIGHT_CLAMP) X(DIVIDE_ZERO) X(REMAINDER) X(DIVIDE_OVERFLOW)          \
	X(HIGH_SIGN) X(WIDE_SIGN) X(MINMAX_SIGN) X(MAD_ADDEND) X(BFE_LENGTH) X(BFE_SIGN)           \
	X(BFI_POSITION) X(FUNNEL_WRAP) X(LOP3_ORDER) X(PRMT_SIGN) X(CONVERT_SIGN) X(PACK_ORDER)    \
	X(UNPACK_SHIFT) X(FLUSH_LOST) X(FLUSH_SIGN) X(SATURATE_LOST) X(MIN_NAN) X(MIN_ZERO)        \
	X(COMPARE_ORDERED) X(COMPARE_SECOND) X(COMPARE_THIRD) X(TO_INT_ROUNDS) X(FROM_INT_SIGN)    \
	X(ROUND_MODE) X(SELECT_SWAPPED) X(SHUFFLE_CLAMP) X(SHUFFLE_FOUND) X(VOTE_NEGATED)          \
	X(BALLOT_ALL) X(WRAP_UNGUARDED) X(TID_GROUP) X(SAD_SIGN) X(ABS_SIGN) X(COPYSIGN_SWAPPED)   \
	X(FMA_TWICE) X(LIVE_LOST) X(STRIDE_SIGN) X(CLEAN_NAN)

enum mp_jit_seed {
	SEED_NONE,
#define X(name) SEED_##name,
	MP_JIT_SEEDS(X)
#undef X
	SEED_COUNT,
	SEED_BREAKDOWN, /* not of the emitter: LLVM faults */
};

extern enum mp_jit_seed mp_jit_seeded;
extern unsigned mp_jit_seed_met; /* how often the emitter came by the place in question */

#define SEEDED(name) (mp_jit_seeded == SEED_##name && ++mp_jit_seed_met)

#endif
