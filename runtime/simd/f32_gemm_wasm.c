/* SPDX-License-Identifier: Apache-2.0
 * Eight sums, two weight vectors and one broadcast activation: engines have 16 registers on x86. */
#include "wasm.h"

enum { MR = 4, NR = 8 };

/* M rows by V vectors, both known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const int M, const int V, int32_t n, int32_t k,
                                                       const float *const *a, const float *panel, float *c,
                                                       size_t c_stride, v128_t lo, v128_t hi) {
  v128_t sum[MR][2];
  const float *row[MR];
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
    row[i] = a[i];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = wasm_v128_load(panel + 4 * v);
  }
  const float *w = panel + NR;
  for (int32_t x = 0; x < k; x++, w += NR) {
    v128_t wx[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) wx[v] = wasm_v128_load(w + 4 * v);
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) {
      v128_t ax = wasm_v128_load32_splat(row[i] + x);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = wasm_f32x4_add(sum[i][v], wasm_f32x4_mul(ax, wx[v]));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      wasm_store_part(c + (size_t)i * c_stride + 4 * v, wasm_clamp(sum[i][v], lo, hi),
                      (n - 4 * v) * (int32_t)sizeof(float));
  }
}

static void run(int32_t m, int32_t n, int32_t k, const float *const *a, const float *panel, float *c, size_t c_stride,
                float lo, float hi) {
  v128_t vlo = wasm_f32x4_splat(lo), vhi = wasm_f32x4_splat(hi);
#define ROWS(M)                                                   \
  case M:                                                         \
    if (n > 4) tile(M, 2, n, k, a, panel, c, c_stride, vlo, vhi); \
    else tile(M, 1, n, k, a, panel, c, c_stride, vlo, vhi);       \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) }
#undef ROWS
}

const rlt_f32_gemm rlt_f32_gemm_4x8__wasm = {"rlt_f32_gemm_4x8__wasm", MR, NR, run};
