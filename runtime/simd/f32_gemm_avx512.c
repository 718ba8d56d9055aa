/* SPDX-License-Identifier: Apache-2.0
 * 28 sums, two weight vectors and one broadcast activation fill the 32 registers. */
#include <immintrin.h>

#include "ukernels.h"

enum { MR = 14, NR = 32 };

/* M rows by V vectors, both known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const int M, const int V, int32_t n, int32_t k,
                                                       const float *const *a, const float *panel, float *c,
                                                       size_t c_stride, __m512 lo, __m512 hi) {
  __m512 sum[MR][2];
  const float *row[MR];
#pragma GCC unroll 16
  for (int i = 0; i < M; i++) {
    row[i] = a[i];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = _mm512_load_ps(panel + 16 * v);
  }
  const float *w = panel + NR;
  for (int32_t x = 0; x < k; x++, w += NR) {
    __m512 wx[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) wx[v] = _mm512_load_ps(w + 16 * v);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      __m512 ax = _mm512_set1_ps(row[i][x]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = _mm512_fmadd_ps(ax, wx[v], sum[i][v]);
    }
  }
  __mmask16 last = (__mmask16)(0xffffu >> (16 * V - n));
#pragma GCC unroll 16
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) { /* the operand order lets NaN pass */
      __m512 y = _mm512_min_ps(hi, _mm512_max_ps(lo, sum[i][v]));
      _mm512_mask_storeu_ps(c + (size_t)i * c_stride + 16 * v, v == V - 1 ? last : (__mmask16)0xffff, y);
    }
  }
}

static void run(int32_t m, int32_t n, int32_t k, const float *const *a, const float *panel, float *c, size_t c_stride,
                float lo, float hi) {
  __m512 vlo = _mm512_set1_ps(lo), vhi = _mm512_set1_ps(hi);
#define ROWS(M)                                                    \
  case M:                                                          \
    if (n > 16) tile(M, 2, n, k, a, panel, c, c_stride, vlo, vhi); \
    else tile(M, 1, n, k, a, panel, c, c_stride, vlo, vhi);        \
    return;
  switch (m) {
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) ROWS(13) ROWS(14)
  }
#undef ROWS
}

const rlt_f32_gemm rlt_f32_gemm_14x32__avx512 = {"rlt_f32_gemm_14x32__avx512", MR, NR, run};
