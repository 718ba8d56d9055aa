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

/* One load; compilers would turn the sign of four bytes first and spread them by a shuffle then, which takes twice as
 * long. */
static inline __attribute__((always_inline)) __m512i broadcast4(const int8_t *row) {
  __m512i four;
  __asm__("vpbroadcastd %1, %0" : "=v"(four) : "m"(*(const int8_t (*)[4])row));
  return four;
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
  return (__mmask16)(n >= 16 ? 0xffffu : 0xffffu >> (16 - n));
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

/* rlt_requantize of a row's 16 or 32 sums. The upper bound is applied to floats, where it keeps the conversion in
 * range; below, packing saturates at each step and the lower bound is applied to bytes. */
static inline __attribute__((always_inline)) __m512i words_of(const int V, const __m512i *sum, const __m512 *scale,
                                                              __m512 hi, __m512i zero) {
  __m512i low = _mm512_cvtps_epi32(_mm512_min_ps(hi, _mm512_mul_ps(_mm512_cvtepi32_ps(sum[0]), scale[0])));
  __m512i high = low;
  if (V > 1) high = _mm512_cvtps_epi32(_mm512_min_ps(hi, _mm512_mul_ps(_mm512_cvtepi32_ps(sum[1]), scale[1])));
  return _mm512_adds_epi16(_mm512_packs_epi32(low, high), zero);
}

static inline __attribute__((always_inline)) void tile_s8(const int M, const int V, int32_t m, int32_t n, int32_t k,
                                                          const int8_t *const *a, const void *panel, int8_t *c,
                                                          size_t c_stride, const rlt_requant *q) {
  __m512i sum[MR][2];
  sums(M, V, m, k, a, panel, sum);
  if (q->rows) {
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      __m512i row = _mm512_set1_epi32(q->rows[i < m ? i : m - 1]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = _mm512_add_epi32(sum[i][v], row);
    }
  }
  const __m512 hi = _mm512_set1_ps((float)(q->hi - q->zero));
  const int32_t less = q->is_unsigned ? 128 : 0; /* packing saturates to int8 */
  const __m512i zero = _mm512_set1_epi16((int16_t)(q->zero - less)), lo = _mm512_set1_epi8((char)(q->lo - less));
  const __m512i turn = _mm512_set1_epi8((char)less);
  /* after packing, each 128-bit lane holds four bytes of each vector of each row */
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512 scale[2];
#pragma GCC unroll 2
  for (int v = 0; v < V; v++) scale[v] = _mm512_load_ps((const float *)panel + NR + 16 * v);
  const __mmask32 inside = 0xffffffffu >> (NR - n);
#pragma GCC unroll 16
  for (int i = 0; i < M; i += 2) {
    const int next = i + 1 < M ? i + 1 : i;
    __m512i first = words_of(V, sum[i], scale, hi, zero), second = words_of(V, sum[next], scale, hi, zero);
    __m512i bytes = _mm512_max_epi8(lo, _mm512_packs_epi16(first, second));
    bytes = _mm512_xor_si512(_mm512_permutexvar_epi32(order, bytes), turn);
    int8_t *to = c + (size_t)i * c_stride;
    if (i < m) _mm256_mask_storeu_epi8(to, inside, _mm512_castsi512_si256(bytes));
    if (i + 1 < m) _mm256_mask_storeu_epi8(to + c_stride, inside, _mm512_extracti64x4_epi64(bytes, 1));
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

const rlt_s8_gemm rlt_s8_gemm_12x32__avx512 = {"rlt_s8_gemm_12x32__avx512", MR, NR, KR, 128, run, RLT_SUMS(run_s32)};
