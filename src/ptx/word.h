/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of PTX: opcodes, the words after their dots (types, state
 * spaces, modifiers), and special registers.  One table each; whatever a text
 * says that is not here is kept as "unknown" and refused when it is decoded.
 */
#ifndef MP_PTX_WORD_H
#define MP_PTX_WORD_H

#include <stddef.h>
#include <stdint.h>

/* Chapter 9.7, in its order. */
#define MP_PTX_OPS(X)                                                                              \
	X(ADD, "add") X(SUB, "sub") X(MUL, "mul") X(MAD, "mad") X(MUL24, "mul24")                  \
	X(MAD24, "mad24") X(SAD, "sad") X(DIV, "div") X(REM, "rem") X(ABS, "abs") X(NEG, "neg")    \
	X(MIN, "min") X(MAX, "max") X(POPC, "popc") X(CLZ, "clz") X(BFIND, "bfind")                \
	X(FNS, "fns") X(BREV, "brev") X(BFE, "bfe") X(BFI, "bfi") X(SZEXT, "szext")                \
	X(BMSK, "bmsk") X(DP4A, "dp4a") X(DP2A, "dp2a")                                            \
	X(ADDC, "addc") X(SUBC, "subc") X(MADC, "madc")                                            \
	X(TESTP, "testp") X(COPYSIGN, "copysign") X(FMA, "fma") X(RCP, "rcp") X(SQRT, "sqrt")      \
	X(RSQRT, "rsqrt") X(SIN, "sin") X(COS, "cos") X(LG2, "lg2") X(EX2, "ex2") X(TANH, "tanh")  \
	X(SET, "set") X(SETP, "setp") X(SELP, "selp") X(SLCT, "slct")                              \
	X(AND, "and") X(OR, "or") X(XOR, "xor") X(NOT, "not") X(CNOT, "cnot") X(LOP3, "lop3")      \
	X(SHF, "shf") X(SHL, "shl") X(SHR, "shr")                                                  \
	X(MOV, "mov") X(SHFL, "shfl") X(PRMT, "prmt") X(LD, "ld") X(LDU, "ldu") X(ST, "st")        \
	X(ST_ASYNC, "st_async") X(MULTIMEM, "multimem") X(PREFETCH, "prefetch")                    \
	X(PREFETCHU, "prefetchu") X(APPLYPRIORITY, "applypriority") X(DISCARD, "discard")          \
	X(CREATEPOLICY, "createpolicy") X(ISSPACEP, "isspacep") X(CVTA, "cvta") X(CVT, "cvt")      \
	X(MAPA, "mapa") X(GETCTARANK, "getctarank") X(CP, "cp")                                    \
	X(TENSORMAP, "tensormap") X(TEX, "tex") X(TLD4, "tld4") X(TXQ, "txq")                      \
	X(ISTYPEP, "istypep") X(SULD, "suld") X(SUST, "sust") X(SURED, "sured") X(SUQ, "suq")      \
	X(BRA, "bra") X(BRX, "brx") X(CALL, "call") X(RET, "ret") X(EXIT, "exit")                  \
	X(BAR, "bar") X(BARRIER, "barrier") X(MEMBAR, "membar") X(FENCE, "fence")                  \
	X(ATOM, "atom") X(RED, "red") X(VOTE, "vote") X(MATCH, "match")                            \
	X(ACTIVEMASK, "activemask") X(REDUX, "redux") X(GRIDDEPCONTROL, "griddepcontrol")          \
	X(ELECT, "elect") X(MBARRIER, "mbarrier") X(CLUSTERLAUNCHCONTROL, "clusterlaunchcontrol")  \
	X(WMMA, "wmma") X(MMA, "mma") X(LDMATRIX, "ldmatrix") X(STMATRIX, "stmatrix")              \
	X(MOVMATRIX, "movmatrix") X(WGMMA, "wgmma") X(TCGEN05, "tcgen05")                          \
	X(STACKSAVE, "stacksave") X(STACKRESTORE, "stackrestore") X(ALLOCA, "alloca")              \
	X(VADD, "vadd") X(VSUB, "vsub") X(VABSDIFF, "vabsdiff") X(VMIN, "vmin") X(VMAX, "vmax")    \
	X(VSHL, "vshl") X(VSHR, "vshr") X(VMAD, "vmad") X(VSET, "vset")                            \
	X(VADD2, "vadd2") X(VSUB2, "vsub2") X(VAVRG2, "vavrg2") X(VABSDIFF2, "vabsdiff2")          \
	X(VMIN2, "vmin2") X(VMAX2, "vmax2") X(VSET2, "vset2")                                      \
	X(VADD4, "vadd4") X(VSUB4, "vsub4") X(VAVRG4, "vavrg4") X(VABSDIFF4, "vabsdiff4")          \
	X(VMIN4, "vmin4") X(VMAX4, "vmax4") X(VSET4, "vset4")                                      \
	X(BRKPT, "brkpt") X(NANOSLEEP, "nanosleep") X(PMEVENT, "pmevent") X(TRAP, "trap")          \
	X(SETMAXNREG, "setmaxnreg")

enum mp_ptx_op {
#define X(id, name) MP_PTX_OP_##id,
	MP_PTX_OPS(X)
#undef X
	MP_PTX_OP_UNKNOWN
};

/* Types come first, so that `word < MP_PTX_TYPES_END` says "is a type"; 5.2. */
#define MP_PTX_TYPES(X)                                                                            \
	X(PRED, "pred", 0) X(B1, "b1", 0) X(B4, "b4", 0) X(U4, "u4", 0) X(S4, "s4", 0)             \
	X(B8, "b8", 1) X(U8, "u8", 1) X(S8, "s8", 1)                                               \
	X(B16, "b16", 2) X(U16, "u16", 2) X(S16, "s16", 2)                                         \
	X(B32, "b32", 4) X(U32, "u32", 4) X(S32, "s32", 4)                                         \
	X(B64, "b64", 8) X(U64, "u64", 8) X(S64, "s64", 8) X(B128, "b128", 16)                     \
	X(F16, "f16", 2) X(F16X2, "f16x2", 4) X(BF16, "bf16", 2) X(BF16X2, "bf16x2", 4)            \
	X(TF32, "tf32", 4) X(F32, "f32", 4) X(F64, "f64", 8) X(F32X2, "f32x2", 8)                  \
	X(U16X2, "u16x2", 4) X(S16X2, "s16x2", 4)                                                  \
	X(E4M3, "e4m3", 1) X(E5M2, "e5m2", 1) X(E4M3X2, "e4m3x2", 2) X(E5M2X2, "e5m2x2", 2)        \
	X(E4M3X4, "e4m3x4", 4) X(E5M2X4, "e5m2x4", 4)                                              \
	X(E2M1, "e2m1", 1) X(E2M3, "e2m3", 1) X(E3M2, "e3m2", 1) X(E2M1X2, "e2m1x2", 1)            \
	X(E2M3X2, "e2m3x2", 2) X(E3M2X2, "e3m2x2", 2) X(UE8M0X2, "ue8m0x2", 2)                     \
	X(TEXREF, "texref", 8) X(SAMPLERREF, "samplerref", 8) X(SURFREF, "surfref", 8)

#define MP_PTX_WORDS(X)                                                                            \
	/* state spaces, 5.1 */                                                                    \
	X(GLOBAL, "global") X(SHARED, "shared") X(SHARED_CTA, "shared::cta")                       \
	X(SHARED_CLUSTER, "shared::cluster") X(LOCAL, "local") X(CONST, "const")                   \
	X(PARAM, "param") X(PARAM_ENTRY, "param::entry") X(PARAM_FUNC, "param::func")              \
	X(REGSPACE, "reg") X(SREGSPACE, "sreg") X(TEXSPACE, "tex")                                 \
	/* rounding, saturation */                                                                 \
	X(RN, "rn") X(RZ, "rz") X(RM, "rm") X(RP, "rp") X(RNA, "rna") X(RS, "rs") X(RNI, "rni")    \
	X(RZI, "rzi") X(RMI, "rmi") X(RPI, "rpi") X(FTZ, "ftz") X(SAT, "sat")                      \
	X(SATFINITE, "satfinite") X(RELU, "relu") X(APPROX, "approx") X(FULL, "full")              \
	X(NAN, "NaN") X(XORSIGN, "xorsign") X(OOB, "oob") X(NOFTZ, "noftz")                        \
	/* integer */                                                                              \
	X(LO, "lo") X(HI, "hi") X(WIDE, "wide") X(CC, "cc") X(SHIFTAMT, "shiftamt")                \
	X(CLAMP, "clamp") X(WRAP, "wrap") X(L, "l") X(R, "r")                                      \
	/* comparison and testp */                                                                 \
	X(EQ, "eq") X(NE, "ne") X(LT, "lt") X(LE, "le") X(GT, "gt") X(GE, "ge") X(LS, "ls")        \
	X(HS, "hs") X(EQU, "equ") X(NEU, "neu") X(LTU, "ltu") X(LEU, "leu") X(GTU, "gtu")          \
	X(GEU, "geu") X(NUM, "num") X(NANCMP, "nan") X(AND, "and") X(OR, "or") X(XOR, "xor")       \
	X(POPC, "popc") X(FINITE, "finite") X(INFINITE, "infinite") X(NUMBER, "number")            \
	X(NOTANUMBER, "notanumber") X(NORMAL, "normal") X(SUBNORMAL, "subnormal")                  \
	/* prmt, shfl, vote, match, redux */                                                       \
	X(F4E, "f4e") X(B4E, "b4e") X(RC8, "rc8") X(ECL, "ecl") X(ECR, "ecr") X(RC16, "rc16")      \
	X(UP, "up") X(DOWN, "down") X(BFLY, "bfly") X(IDX, "idx") X(SYNC, "sync")                  \
	X(ALL, "all") X(ANY, "any") X(UNI, "uni") X(BALLOT, "ballot") X(ABS, "abs")                \
	/* memory */                                                                               \
	X(V2, "v2") X(V4, "v4") X(V8, "v8") X(VOLATILE, "volatile") X(WEAK, "weak")                \
	X(RELAXED, "relaxed") X(ACQUIRE, "acquire") X(RELEASE, "release") X(ACQ_REL, "acq_rel")    \
	X(SC, "sc") X(MMIO, "mmio") X(CTA, "cta") X(CLUSTER, "cluster") X(GPU, "gpu")              \
	X(SYS, "sys") X(GL, "gl") X(NC, "nc") X(CA, "ca") X(CG, "cg") X(CS, "cs") X(LU, "lu")      \
	X(CV, "cv") X(WB, "wb") X(WT, "wt") X(L1, "L1") X(L2, "L2")                                \
	X(L1_EVICT_NORMAL, "L1::evict_normal") X(L1_EVICT_UNCHANGED, "L1::evict_unchanged")        \
	X(L1_EVICT_FIRST, "L1::evict_first") X(L1_EVICT_LAST, "L1::evict_last")                    \
	X(L1_NO_ALLOCATE, "L1::no_allocate") X(L2_CACHE_HINT, "L2::cache_hint")                    \
	X(L2_64B, "L2::64B") X(L2_128B, "L2::128B") X(L2_256B, "L2::256B")                         \
	X(L2_EVICT_LAST, "L2::evict_last") X(L2_EVICT_NORMAL, "L2::evict_normal")                  \
	X(L2_EVICT_FIRST, "L2::evict_first") X(UNIFIED, "unified") X(TO, "to")                     \
	X(L2_EVICT_UNCHANGED, "L2::evict_unchanged") X(FRACTIONAL, "fractional")                   \
	/* barriers, fences, atomics */                                                            \
	X(ALIGNED, "aligned") X(ARRIVE, "arrive") X(RED, "red") X(WARP, "warp") X(WAIT, "wait")    \
	X(PROXY, "proxy") X(ALIAS, "alias") X(ASYNC, "async") X(ASYNC_GLOBAL, "async.global")      \
	X(ASYNC_SHARED_CTA, "async.shared::cta") X(TENSORMAP, "tensormap::generic")                \
	X(MBARRIER_INIT, "mbarrier_init") X(SYNC_RESTRICT, "sync_restrict")                        \
	X(ADD, "add") X(MIN, "min") X(MAX, "max") X(INC, "inc") X(DEC, "dec") X(EXCH, "exch")      \
	X(CAS, "cas")                                                                              \
	/* cp.async, mbarrier, clusters, programmatic launch */                                    \
	X(COMMIT_GROUP, "commit_group") X(WAIT_GROUP, "wait_group") X(WAIT_ALL, "wait_all")        \
	X(MBARRIER, "mbarrier") X(NOINC, "noinc") X(BULK, "bulk") X(TENSOR, "tensor")              \
	X(REDUCE, "reduce") X(INIT, "init") X(INVAL, "inval") X(EXPECT_TX, "expect_tx")            \
	X(COMPLETE_TX, "complete_tx") X(TEST_WAIT, "test_wait") X(TRY_WAIT, "try_wait")            \
	X(PARITY, "parity") X(ARRIVE_DROP, "arrive_drop") X(PENDING_COUNT, "pending_count")        \
	X(NOCOMPLETE, "noComplete") X(B, "b") X(MBARRIER_CTX, "mbarrier::complete_tx::bytes")      \
	X(BULK_GROUP, "bulk_group") X(READ, "read") X(MULTICAST, "multicast::cluster")             \
	X(LAUNCH_DEPENDENTS, "launch_dependents") X(PREFETCHW, "prefetch") X(TILE, "tile")         \
	X(IM2COL, "im2col") X(CP_MASK, "cp_mask") X(IGNORE_SRC, "ignore-src")                      \
	/* matrices, 9.7.14 */                                                                     \
	X(LOAD, "load") X(STORE, "store") X(MMA, "mma") X(A, "a") X(C, "c") X(D, "d")              \
	X(ROW, "row") X(COL, "col") X(M16N16K16, "m16n16k16") X(M32N8K16, "m32n8k16")              \
	X(M8N32K16, "m8n32k16") X(M8N8K4, "m8n8k4") X(M16N8K4, "m16n8k4")                          \
	X(M16N8K8, "m16n8k8") X(M16N8K16, "m16n8k16") X(M16N8K32, "m16n8k32")                      \
	X(M16N8K64, "m16n8k64") X(M16N8K128, "m16n8k128") X(M16N8K256, "m16n8k256")                \
	X(M8N8K16, "m8n8k16") X(M8N8K32, "m8n8k32") X(M8N8K128, "m8n8k128")                        \
	X(M16N16K8, "m16n16k8") X(M8N8, "m8n8") X(M16N16, "m16n16") X(M16N8, "m16n8")              \
	X(M8N16, "m8n16") X(X1, "x1") X(X2, "x2") X(X4, "x4") X(TRANS, "trans")                    \
	/* textures, 9.7.9 */                                                                      \
	X(D1, "1d") X(D2, "2d") X(D3, "3d") X(A1D, "a1d") X(A2D, "a2d") X(CUBE, "cube")            \
	X(ACUBE, "acube") X(LEVEL, "level") X(GRAD, "grad") X(TRAP, "trap") X(ZERO, "zero")        \
	X(G, "g") X(P, "p") X(WIDTH, "width") X(HEIGHT, "height") X(DEPTH, "depth")                \
	X(D2MS, "2dms") X(A2DMS, "a2dms") X(BASE, "base") X(ARRAY_SIZE, "array_size")              \
	X(CHANNEL_TYPE, "channel_data_type") X(CHANNEL_ORDER, "channel_order")                     \
	X(NORMALIZED, "normalized_coords") X(LEVELS, "num_mipmap_levels")                          \
	X(SAMPLES, "num_samples") X(FORCE_UNNORMAL, "force_unnormalized_coords")                   \
	X(LAYOUT, "memory_layout")                                                                 \
	/* call, bra, video */                                                                     \
	X(RED_ASYNC, "red_async") X(XA, "b0") X(B1W, "b2") X(B3W, "b3") X(H0, "h0") X(H1, "h1")    \
	X(GEOM2, "pack")

enum mp_ptx_word {
#define X(id, name, size) MP_PTX_T_##id,
	MP_PTX_TYPES(X)
#undef X
	MP_PTX_TYPES_END,
	MP_PTX_WORD_DUMMY = MP_PTX_TYPES_END - 1,
#define X(id, name) MP_PTX_W_##id,
	MP_PTX_WORDS(X)
#undef X
	MP_PTX_WORDS_END
};
_Static_assert(MP_PTX_WORDS_END <= 320, "a word fits mp_ptx_insn.set");

/* Chapter 10. */
#define MP_PTX_SREGS(X)                                                                            \
	X(TID, "%tid") X(NTID, "%ntid") X(LANEID, "%laneid") X(WARPID, "%warpid")                  \
	X(NWARPID, "%nwarpid") X(CTAID, "%ctaid") X(NCTAID, "%nctaid") X(SMID, "%smid")            \
	X(NSMID, "%nsmid") X(GRIDID, "%gridid") X(IS_EXPLICIT_CLUSTER, "%is_explicit_cluster")     \
	X(CLUSTERID, "%clusterid") X(NCLUSTERID, "%nclusterid")                                    \
	X(CLUSTER_CTAID, "%cluster_ctaid") X(CLUSTER_NCTAID, "%cluster_nctaid")                    \
	X(CLUSTER_CTARANK, "%cluster_ctarank") X(CLUSTER_NCTARANK, "%cluster_nctarank")            \
	X(LANEMASK_EQ, "%lanemask_eq") X(LANEMASK_LE, "%lanemask_le")                              \
	X(LANEMASK_LT, "%lanemask_lt") X(LANEMASK_GE, "%lanemask_ge")                              \
	X(LANEMASK_GT, "%lanemask_gt") X(CLOCK, "%clock") X(CLOCK_HI, "%clock_hi")                 \
	X(CLOCK64, "%clock64") X(GLOBALTIMER, "%globaltimer")                                      \
	X(GLOBALTIMER_LO, "%globaltimer_lo") X(GLOBALTIMER_HI, "%globaltimer_hi")                  \
	X(DYNAMIC_SMEM_SIZE, "%dynamic_smem_size") X(TOTAL_SMEM_SIZE, "%total_smem_size")          \
	X(AGGR_SMEM_SIZE, "%aggr_smem_size") X(CURRENT_GRAPH_EXEC, "%current_graph_exec")          \
	X(RESERVED_SMEM_BEGIN, "%reserved_smem_offset_begin")                                      \
	X(RESERVED_SMEM_END, "%reserved_smem_offset_end")                                          \
	X(RESERVED_SMEM_CAP, "%reserved_smem_offset_cap")                                          \
	X(RESERVED_SMEM_0, "%reserved_smem_offset_0") X(RESERVED_SMEM_1, "%reserved_smem_offset_1")

enum mp_ptx_sreg {
#define X(id, name) MP_PTX_S_##id,
	MP_PTX_SREGS(X)
#undef X
	MP_PTX_S_ENVREG0, /* %envreg0 .. %envreg31, then %pm0 .. %pm7 */
	MP_PTX_S_PM0 = MP_PTX_S_ENVREG0 + 32,
	MP_PTX_S_END = MP_PTX_S_PM0 + 8
};

/* Look-ups by text that is not NUL-terminated; -1 when there is none. */
int mp_ptx_op_find(const char *s, size_t n);
int mp_ptx_word_find(const char *s, size_t n); /* without the leading dot */
int mp_ptx_sreg_find(const char *s, size_t n);
const char *mp_ptx_op_name(unsigned op);
const char *mp_ptx_word_name(unsigned word);

#endif
