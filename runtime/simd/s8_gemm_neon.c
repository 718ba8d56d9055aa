/* SPDX-License-Identifier: Apache-2.0
 * 16 sums, eight vectors of activations and the weights in 32 registers. */
#define MR 8
#include "s8_gemm_neon.inc"

const rlt_s8_gemm rlt_s8_gemm_8x8__neon = {"rlt_s8_gemm_8x8__neon", MR, NR, KR, 0, run, RLT_SUMS(run_s32)};
