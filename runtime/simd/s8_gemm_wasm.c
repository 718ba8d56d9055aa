/* SPDX-License-Identifier: Apache-2.0
 * i32x4.dot_i16x8 on bytes widened to 16 bits is exact. Activations are widened DEPTH at a time into a buffer on the
 * stack, weights as they are loaded. */
#include "wasm.h"

enum { MR = 4, NR = 8, KR = 2, DEPTH = 512 };

static void widen(int32_t count, const int8_t *from, int16_t *to) {
  int32_t x = 0;
  for (; x + 8 <= count; x += 8) wasm_v128_store(to + x, wasm_i16x8_load8x8(from + x));
  for (; x < count; x++) to[x] = from[x];
  if (count % KR) to[count] = 0;
}

/* M rows, known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void sums(const int M, int32_t k, const int8_t *const *a,
                                                       const void *panel, v128_t sum[MR][2]) {
  int16_t wide[MR][DEPTH] __attribute__((aligned(16)));
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
    sum[i][0] = wasm_v128_load(panel);
    sum[i][1] = wasm_v128_load((const int32_t *)panel + 4);
  }
  const int8_t *w = (const int8_t *)panel + 2 * sizeof(int32_t) * NR;
  for (int32_t start = 0; start < k; start += DEPTH) {
    int32_t depth = k - start < DEPTH ? k - start : DEPTH;
    for (int i = 0; i < M; i++) widen(depth, a[i] + start, wide[i]);
    for (int32_t x = 0; x < depth; x += KR, w += KR * NR) {
      v128_t low = wasm_i16x8_load8x8(w), high = wasm_i16x8_load8x8(w + 8);
#pragma GCC unroll 4
      for (int i = 0; i < M; i++) {
        v128_t ax = wasm_v128_load32_splat(&wide[i][x]);
        sum[i][0] = wasm_i32x4_add(sum[i][0], wasm_i32x4_dot_i16x8(ax, low));
        sum[i][1] = wasm_i32x4_add(sum[i][1], wasm_i32x4_dot_i16x8(ax, high));
      }
    }
  }
}

static inline __attribute__((always_inline)) void tile_s8(const int M, int32_t n, int32_t k, const int8_t *const *a,
                                                          const void *panel, int8_t *c, size_t c_stride,
                                                          const rlt_requant *q) {
  v128_t sum[MR][2];
  sums(M, k, a, panel, sum);
  if (q->rows) {
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) {
      v128_t row = wasm_v128_load32_splat(q->rows + i);
      sum[i][0] = wasm_i32x4_add(sum[i][0], row);
      sum[i][1] = wasm_i32x4_add(sum[i][1], row);
    }
  }
  const wasm_requant rule = wasm_requant_start(q);
  const float *scale = (const float *)panel + NR;
#pragma GCC unroll 4
  for (int i = 0; i < M; i++)
    wasm_store_part(c + (size_t)i * c_stride, wasm_requant_eight(&rule, sum[i][0], sum[i][1], scale), n < NR ? n : NR);
}

static inline __attribute__((always_inline)) void tile_s32(const int M, int32_t n, int32_t k, const int8_t *const *a,
                                                           const void *panel, int32_t *c, size_t c_stride) {
  v128_t sum[MR][2];
  sums(M, k, a, panel, sum);
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++)
      wasm_store_part(c + (size_t)i * c_stride + 4 * v, sum[i][v], (n - 4 * v) * (int32_t)sizeof(int32_t));
  }
}

static void run(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int8_t *c, size_t c_stride,
                const rlt_requant *q) {
#define ROWS(M)                                 \
  case M:                                       \
    tile_s8(M, n, k, a, panel, c, c_stride, q); \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) }
#undef ROWS
}

static void run_s32(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int32_t *c,
                    size_t c_stride) {
#define ROWS(M)                               \
  case M:                                     \
    tile_s32(M, n, k, a, panel, c, c_stride); \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) }
#undef ROWS
}

const rlt_s8_gemm rlt_s8_gemm_4x8__wasm = {"rlt_s8_gemm_4x8__wasm", MR, NR, KR, 0, run, RLT_SUMS(run_s32)};
