/* SPDX-License-Identifier: Apache-2.0
 * SDOT adds four products of signed bytes to 32 bits, exactly: 16 sums, eight vectors of activations and the weights
 * in 32 registers. */
#define MR 8
#include "neon.h"

/* From here on the functions may use what only some CPUs have; select.c looks before it offers this loop. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

enum { NR = 8, KR = 4 };

typedef int32x4_t neon_sums[MR][2];

/* sum + four bytes of every column . the same four activations */
static inline int32x4_t dot(int32x4_t sum, int8x16_t w, int32_t four) {
  return vdotq_s32(sum, w, vreinterpretq_s8_s32(vdupq_n_s32(four)));
}

/* The last one to four activations of a row, zeros past them. */
static inline int32_t last_four(const int8_t *row, int32_t rest) {
  int32_t four = 0;
  if (rest >= KR) __builtin_memcpy(&four, row, KR);
  else __builtin_memcpy(&four, (int8_t[KR]){row[0], rest > 1 ? row[1] : 0, rest > 2 ? row[2] : 0}, KR);
  return four;
}

/* M rows, known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void sums(const int M, int32_t k, const int8_t *const *a,
                                                       const void *panel, neon_sums sum) {
  const int8_t *row[MR];
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
    row[i] = a[i];
    sum[i][0] = vld1q_s32((const int32_t *)panel);
    sum[i][1] = vld1q_s32((const int32_t *)panel + 4);
  }
  const int8_t *w = (const int8_t *)panel + 2 * sizeof(int32_t) * NR;
  int32_t x = 0;
  for (; x + 4 * KR <= k; x += 4 * KR) {
    int32x4_t ax[MR];
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) ax[i] = vreinterpretq_s32_s8(vld1q_s8(row[i] + x));
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; lane++, w += KR * NR) {
      int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16);
#pragma GCC unroll 8
      for (int i = 0; i < M; i++) {
        sum[i][0] = dot(sum[i][0], w0, ax[i][lane]);
        sum[i][1] = dot(sum[i][1], w1, ax[i][lane]);
      }
    }
  }
  for (; x < k; x += KR, w += KR * NR) {
    int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
      int32_t four = last_four(row[i] + x, k - x);
      sum[i][0] = dot(sum[i][0], w0, four);
      sum[i][1] = dot(sum[i][1], w1, four);
    }
  }
}
#include "s8_gemm_neon_tiles.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif

const rlt_s8_gemm rlt_s8_gemm_8x8__neon_dot = {"rlt_s8_gemm_8x8__neon_dot", MR, NR, KR, 0, run, RLT_SUMS(run_s32)};
