/* SPDX-License-Identifier: Apache-2.0
 * vpdpbusd multiplies unsigned by signed bytes, four at a time: activations get 128 added (one exclusive or), which the
 * packed bias takes back. Its sums do not saturate. */
#include <immintrin.h>

#include "ukernels.h"

enum { MR = 12, NR = 32, KR = 4 };

/* sum + a . w, four bytes at a time */
static inline __attribute__((always_inline)) __m512i dot(__m512i sum, __m512i a, __m512i w) {
#if defined(__clang__)
  return _mm512_dpbusd_epi32(sum, a, w);
#else /* gcc copies every sum before and after the intrinsic, which halves the speed */
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
  return sum;
#endif
}

static inline __attribute__((always_inline)) __m512i broadcast4(const int8_t *row) {
  int32_t four;
  __builtin_memcpy(&four, row, 4);
  return _mm512_set1_epi32(four);
}

/* The last one to three activations of a row: what stands past them meets zero weights. */
static inline __attribute__((always_inline)) __m512i broadcast_rest(const int8_t *row, int32_t rest) {
  uint32_t four = (uint8_t)row[0];
  if (rest > 1) four |= (uint32_t)(uint8_t)row[1] << 8;
  if (rest > 2) four |= (uint32_t)(uint8_t)row[2] << 16;
  return _mm512_set1_epi32((int32_t)four);
}

/* Mask of the first n of sixteen. */
static inline __mmask16 columns(int32_t n) {
  if (n <= 0) return 0;
  return n >= 16 ? 0xffff : (__mmask16)(0xffffu >> (16 - n));
}

/* M rows by V vectors, both known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void sums(const int M, const int V, int32_t m, int32_t k,
                                                       const int8_t *const *a, const void *panel, __m512i sum[MR][2]) {
  const __m512i sign = _mm512_set1_epi8((char)0x80);
  const int8_t *row[MR];
#pragma GCC unroll 16
  for (int i = 0; i < M; i++) {
    row[i] = a[i < m ? i : m - 1];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = _mm512_load_si512((const int32_t *)panel + 16 * v);
  }
  const int8_t *w = (const int8_t *)panel + 2 * sizeof(int32_t) * NR;
  int32_t x = 0;
  for (; x + KR <= k; x += KR, w += KR * NR) {
    __m512i wx[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) wx[v] = _mm512_load_si512(w + 64 * v);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      __m512i ax = _mm512_xor_si512(broadcast4(row[i] + x), sign);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = dot(sum[i][v], ax, wx[v]);
    }
  }
  if (x == k) return;
#pragma GCC unroll 16
  for (int i = 0; i < M; i++) {
    __m512i ax = _mm512_xor_si512(broadcast_rest(row[i] + x, k - x), sign);
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = dot(sum[i][v], ax, _mm512_load_si512(w + 64 * v));
  }
}

static inline __attribute__((always_inline)) void tile_s8(const int M, const int V, int32_t m, int32_t n, int32_t k,
                                                          const int8_t *const *a, const void *panel, int8_t *c,
                                                          size_t c_stride, const rlt_requant *q) {
  __m512i sum[MR][2];
  sums(M, V, m, k, a, panel, sum);
  const __m512 lo = _mm512_set1_ps((float)(q->lo - q->zero)), hi = _mm512_set1_ps((float)(q->hi - q->zero));
  const __m512i zero = _mm512_set1_epi32(q->zero);
  const float *scale = (const float *)panel + NR;
#pragma GCC unroll 16
  for (int i = 0; i < M && i < m; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][v]), _mm512_load_ps(scale + 16 * v));
      __m512i r = _mm512_cvtps_epi32(_mm512_min_ps(hi, _mm512_max_ps(lo, y)));
      _mm512_mask_cvtepi32_storeu_epi8(c + (size_t)i * c_stride + 16 * v, columns(n - 16 * v),
                                       _mm512_add_epi32(r, zero));
    }
  }
}

static inline __attribute__((always_inline)) void tile_s32(const int M, const int V, int32_t m, int32_t n, int32_t k,
                                                           const int8_t *const *a, const void *panel, int32_t *c,
                                                           size_t c_stride) {
  __m512i sum[MR][2];
  sums(M, V, m, k, a, panel, sum);
#pragma GCC unroll 16
  for (int i = 0; i < M && i < m; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      _mm512_mask_storeu_epi32(c + (size_t)i * c_stride + 16 * v, columns(n - 16 * v), sum[i][v]);
  }
}

/* Loops exist for a few numbers of rows; m rows run on the next larger, which computes the last row again and again
 * and stores it once. */
static void run(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int8_t *c, size_t c_stride,
                const rlt_requant *q) {
#define ROWS(M)                                                   \
  if (m <= (M)) {                                                 \
    if (n > 16) tile_s8(M, 2, m, n, k, a, panel, c, c_stride, q); \
    else tile_s8(M, 1, m, n, k, a, panel, c, c_stride, q);        \
    return;                                                       \
  }
  ROWS(1) ROWS(2) ROWS(4) ROWS(6) ROWS(8) ROWS(10) ROWS(12)
#undef ROWS
}

static void run_s32(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int32_t *c,
                    size_t c_stride) {
  if (m == 1) tile_s32(1, 2, m, n, k, a, panel, c, c_stride);
  else if (m <= 4) tile_s32(4, 2, m, n, k, a, panel, c, c_stride);
  else tile_s32(12, 2, m, n, k, a, panel, c, c_stride);
}

const rlt_s8_gemm rlt_s8_gemm_12x32__avx512 = {"rlt_s8_gemm_12x32__avx512", MR, NR, KR, 128, run, run_s32};
