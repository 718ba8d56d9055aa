/* SPDX-License-Identifier: Apache-2.0
 * Eight sums, four vectors of activations and the weights in 16 registers. */
#define MR 4
#include "s8_gemm_neon.inc"

const rlt_s8_gemm rlt_s8_gemm_4x8__armv7 = {"rlt_s8_gemm_4x8__armv7", MR, NR, KR, 0, run, RLT_SUMS(run_s32)};
