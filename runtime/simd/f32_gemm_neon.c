/* SPDX-License-Identifier: Apache-2.0
 * 16 sums, eight vectors of activations and the weights in 32 registers. */
#define MR 8
#define LANES 4
#include "f32_gemm_neon.inc"

const rlt_f32_gemm rlt_f32_gemm_8x8__neon = {"rlt_f32_gemm_8x8__neon", MR, NR, run};
