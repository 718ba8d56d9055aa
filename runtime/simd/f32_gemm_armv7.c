/* SPDX-License-Identifier: Apache-2.0
 * 12 sums, two weight vectors and one broadcast activation in 16 registers;
 * the fused form has no lanes here. */
#define MR 6
#define LANES 1
#include "f32_gemm_neon.inc"

const rlt_f32_gemm rlt_f32_gemm_6x8__armv7 = {"rlt_f32_gemm_6x8__armv7", MR, NR, run};
