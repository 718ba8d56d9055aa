/* SPDX-License-Identifier: Apache-2.0
 * 12 sums, two weight vectors and one broadcast activation in 16 registers. */
#include <immintrin.h>

#include "ukernels.h"

enum { MR = 6, NR = 16 };

/* M rows by V vectors, both known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const int M, const int V, int32_t n, int32_t k,
                                                       const float *const *a, const float *panel, float *c,
                                                       size_t c_stride, __m256 lo, __m256 hi) {
  __m256 sum[MR][2];
  const float *row[MR];
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
    row[i] = a[i];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = _mm256_load_ps(panel + 8 * v);
  }
  const float *w = panel + NR;
  for (int32_t x = 0; x < k; x++, w += NR) {
    __m256 wx[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) wx[v] = _mm256_load_ps(w + 8 * v);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
      __m256 ax = _mm256_broadcast_ss(row[i] + x);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = _mm256_fmadd_ps(ax, wx[v], sum[i][v]);
    }
  }
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i last = _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * (V - 1)), lane);
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) { /* the operand order lets NaN pass */
      __m256 y = _mm256_min_ps(hi, _mm256_max_ps(lo, sum[i][v]));
      float *to = c + (size_t)i * c_stride + 8 * v;
      if (v < V - 1) _mm256_storeu_ps(to, y);
      else _mm256_maskstore_ps(to, last, y);
    }
  }
}

static void run(int32_t m, int32_t n, int32_t k, const float *const *a, const float *panel, float *c, size_t c_stride,
                float lo, float hi) {
  __m256 vlo = _mm256_set1_ps(lo), vhi = _mm256_set1_ps(hi);
#define ROWS(M)                                                   \
  case M:                                                         \
    if (n > 8) tile(M, 2, n, k, a, panel, c, c_stride, vlo, vhi); \
    else tile(M, 1, n, k, a, panel, c, c_stride, vlo, vhi);       \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) }
#undef ROWS
}

const rlt_f32_gemm rlt_f32_gemm_6x16__avx2 = {"rlt_f32_gemm_6x16__avx2", MR, NR, run};
